//! What may an admin, and an issuer, write?

use super::{ACME, KEYS, OTHER, believed, with};
use crate::issuer::{encoded, key_set};
use crate::memory::{compile, policy};
use palisade_filters as filters;
use palisade_filters::jwt::{self, KeySet};
use serde_json::{Value, json};

#[test]
fn keys_that_are_no_keys_for_this_are_not_there() {
    let usable = |change: &dyn Fn(&mut Value)| {
        let mut jwk = KEYS.p256.jwk();
        change(&mut jwk);
        KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap().len()
    };
    assert_eq!(usable(&|_| ()), 1);
    assert_eq!(usable(&|jwk| jwk["key_ops"] = json!(["verify"])), 1);
    assert_eq!(usable(&|jwk| jwk["x5c"] = json!(["MII="])), 1);
    for change in [
        |jwk: &mut Value| jwk["use"] = "enc".into(),
        |jwk: &mut Value| jwk["use"] = 7.into(),
        |jwk: &mut Value| jwk["key_ops"] = json!(["sign"]),
        |jwk: &mut Value| jwk["key_ops"] = "verify".into(),
        |jwk: &mut Value| jwk["alg"] = "ES384".into(),
        |jwk: &mut Value| jwk["alg"] = "HS256".into(),
        |jwk: &mut Value| jwk["d"] = "AA".into(),
        |jwk: &mut Value| jwk["crv"] = "P-521".into(),
        |jwk: &mut Value| jwk["x"] = "AA".into(),
        |jwk: &mut Value| jwk["kty"] = "RSA".into(),
        |jwk: &mut Value| *jwk = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "p256"}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xff; 128]), "e": "AQAB"}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xff; 1024]), "e": "AQAB"}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xff; 256]), "e": "AQ"}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xff; 256]), "e": "Ag"}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xff; 256]), "e": ""}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xff; 256]), "e": encoded([0xff; 256])}),
        |jwk: &mut Value| *jwk = json!({"kty": "RSA", "n": encoded([0xfe; 256]), "e": "AQAB"}),
        |jwk: &mut Value| *jwk = json!("a key"),
    ] {
        assert_eq!(usable(&change), 0);
    }
    for text in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[]}x"] {
        assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
    }
    let many = json!({"keys": vec![KEYS.p256.jwk(); jwt::KEYS_MAX + 1]}).to_string();
    assert!(KeySet::read(many.as_bytes()).unwrap_err().contains("64"));
    assert!(KeySet::read(&vec![b' '; jwt::SET_BYTES_MAX + 1]).is_err());
}

#[test]
fn what_an_issuer_says_of_itself_counts_for_itself_only() {
    let page = |issuer: &str, keys: &str| json!({"issuer": issuer, "jwks_uri": keys}).to_string();
    let read = |text: &str| jwt::read_discovery(text.as_bytes(), ACME);
    let keys = "https://keys.acme.example/v1";
    assert_eq!(read(&page(ACME, keys)).unwrap().to_string(), keys);
    for text in [
        page("https://login.acme.example/realm/", keys),
        page(OTHER, keys),
        page(ACME, "http://keys.acme.example/v1"),
        page(ACME, "https://user@keys.acme.example/v1"),
        json!({"issuer": ACME}).to_string(),
        format!("{{\"issuer\":\"{ACME}\",\"jwks_uri\":\"{keys}\",\"jwks_uri\":\"https://evil.example/\"}}"),
        "not json".to_owned(),
    ] {
        assert!(read(&text).is_err(), "{text}");
    }
}

#[test]
fn what_an_admin_writes_wrong_is_said() {
    let keys = key_set(&[&KEYS.p256]);
    let issuer = |settings: &str| {
        format!("id = \"acme\"\ngroups = [{{ name = \"known\" }}]\n[[jwt_issuers]]\n{settings}\n")
    };
    let named = |more: &str| issuer(&format!("issuer = \"{ACME}\"\naudience = \"a\"\n{more}"));
    let written = |more: &str| named(&format!("jwks = '{keys}'\n{more}"));
    assert_eq!(compile("", &[&written("")]).1, []);
    let bare =
        |issuer_name: &str| issuer(&format!("issuer = \"{issuer_name}\"\naudience = \"a\"\njwks = '{keys}'"));
    for (document, problem) in [
        (bare("http://login.acme.example"), "https://"),
        (bare("https://login.acme.example?a=b"), "no query"),
        (bare("https://Login.acme.example"), "small letters"),
        (issuer(&format!("issuer = \"{ACME}\"\naudience = \"\"\njwks = '{keys}'")), "1 to 512 bytes"),
        (named(""), "in one way"),
        (named("jwks_url = \"https://a.example/\"\ndiscovery = true"), "in one way"),
        (named("jwks_url = \"http://a.example/\""), "`jwks_url`: it does not begin with `https://`"),
        (named("jwks_file = \"acme.json\""), "cannot be read"),
        (named("jwks = '{\"keys\":[]}'"), "no key that can be used"),
        (named("jwks = 'keys'"), "no JSON object"),
        (written("leeway = \"6m\""), "at most `5m`"),
        (written("max_age = \"0s\""), "`1s` or more"),
        (written("user_claim = \"\""), "leave it out for `sub`"),
        (written("claims = { aud = \"a\" }"), "`aud` is looked at anyway"),
        (written("groups = [\"unknown\"]"), "add it there"),
        (written("groups_claim = \"groups\""), "go together"),
        (written("group_map = { a = \"known\" }"), "go together"),
        (written("groups_claim = \"g\"\ngroup_map = { a = \"unknown\" }"), "`unknown` is not in `groups`"),
        (written("ip_allowlist = [\"everywhere\"]"), "not an address"),
        (
            written("")
                + &written("")
                    .split_once("[[jwt_issuers]]")
                    .map(|(_, more)| format!("[[jwt_issuers]]{more}"))
                    .unwrap(),
            "twice",
        ),
        (
            format!(
                "id = \"acme\"\n{}",
                written("")
                    .split_once("[[jwt")
                    .unwrap()
                    .1
                    .replace("_issuers]]", "[[jwt_issuers]]")
                    .repeat(17)
            ),
            "at most 16",
        ),
    ] {
        let (_, errors) = compile("", &[&document]);
        let told = errors.first().map(ToString::to_string).unwrap_or_default();
        assert!(told.contains(problem), "`{told}` does not say `{problem}`:\n{document}");
    }
}

#[test]
fn algorithms_that_prove_nothing_and_hosts_that_are_none_cannot_be_written() {
    let written = |more: &str| {
        let keys = key_set(&[&KEYS.p256]);
        format!(
            "id = \"acme\"\n[[jwt_issuers]]\nissuer = \"{ACME}\"\naudience = \"a\"\njwks = '{keys}'\n{more}\n"
        )
    };
    for wrong in ["none", "NONE", "HS256", "hs512", "ES512", "rs256"] {
        let told = toml::from_str::<filters::documents::OrganisationDocument>(&written(&format!(
            "algorithms = [\"{wrong}\"]"
        )));
        let told = told.unwrap_err().to_string();
        let is_secret = wrong.to_uppercase() == "NONE" || wrong.to_uppercase().starts_with("HS");
        assert_eq!(told.contains("never accepted"), is_secret, "{told}");
        assert!(told.contains("`RS256`"), "{told}");
    }
    for host in
        ["http://a.example", "a.example/", "A.example", "", "a.example:0", "user@a.example", "*.a.example"]
    {
        let (policy, errors) = compile(&format!("[jwt]\nprivate_hosts = [\"{host}\"]"), &[]);
        assert!(policy.is_none() && errors[0].problem.contains("private_hosts"), "{host}: {errors:?}");
    }
}

#[test]
fn two_organisations_cannot_claim_the_same_jwts() {
    let document = |id: &str, audience: &str| {
        let keys = key_set(&[&KEYS.p256]);
        format!(
            "id = \"{id}\"\n[[jwt_issuers]]\nissuer = \"{ACME}\"\naudience = \"{audience}\"\njwks = '{keys}'\n"
        )
    };
    let (policy, errors) = compile("", &[&document("a", "x"), &document("b", "x"), &document("c", "y")]);
    assert_eq!(errors.len(), 1);
    let told = errors[0].to_string();
    assert!(
        told.starts_with("orgs/1.toml") && told.contains("organisation `a`") && told.contains(ACME),
        "{told}"
    );
    let of = |audience: &str| believed(policy.as_ref().unwrap(), &KEYS.p256.token(&with("aud", audience)));
    assert_eq!((&*of("x").unwrap().tenant().id, &*of("y").unwrap().tenant().id), ("a", "c"));
}

#[test]
fn only_listed_hosts_of_our_own_network_are_asked() {
    let document = |url: &str| {
        format!(
            "id = \"acme\"\n[[jwt_issuers]]\nissuer = \"{ACME}\"\naudience = \"a\"\njwks_url = \"{url}\"\n"
        )
    };
    let platform = "[jwt]\nprivate_hosts = [\"keys.internal\", \"10.0.0.7:8443\", \"[::1]:1\"]\n";
    for (url, is_listed) in [
        ("https://keys.internal/a", true),
        ("https://keys.internal:443/a", true),
        ("https://keys.internal:444/a", false),
        ("https://10.0.0.7:8443/", true),
        ("https://10.0.0.7/", false),
        ("https://[::1]:1/", true),
        ("https://evil.keys.internal/", false),
        ("https://keys.example/", false),
    ] {
        let policy = policy(platform, &[&document(url)]);
        let source = policy.key_sources().into_iter().next().unwrap();
        assert_eq!(source.may_be_private(&source.address), is_listed, "{url}");
    }
}
