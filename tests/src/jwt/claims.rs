//! What must a JWT say to be believed, and what does it come to?

use super::{ACME, KEYS, NOW, OTHER, acme, believed, claims, groups, knock, with, world};
use crate::issuer::{Signer, encoded, key_set};
use crate::memory::policy;
use palisade_filters::{self as filters, Knock, Location, Refusal, Trust};
use serde_json::{Value, json};

#[test]
fn claims_that_are_wrong_missing_or_of_another_kind_are_refused() {
    let world = world("leeway = \"60s\"");
    let refused = [
        with("iss", "https://login.acme.example/realm/"),
        with("iss", "https://login.acme.example"),
        with("iss", "HTTPS://login.acme.example/realm"),
        with("iss", "https://login.acme.example/realm\u{0}"),
        with("iss", "https://login.acme.example/realm\u{200b}"),
        with("iss", "https://login.аcme.example/realm"),
        with("iss", "https://login.acme.example/rea\u{13b}m"),
        with("iss", " https://login.acme.example/realm"),
        with("iss", json!([ACME])),
        with("iss", Value::Null),
        with("aud", "Palisade"),
        with("aud", "palisade "),
        with("aud", ""),
        with("aud", "pali"),
        with("aud", json!([])),
        with("aud", json!(["palisade", 7])),
        with("aud", json!({"palisade": true})),
        with("aud", Value::Null),
        with("exp", NOW - 60),
        with("exp", 0),
        with("exp", -1),
        with("exp", "2099-01-01T00:00:00Z"),
        with("exp", (NOW + 600).to_string()),
        with("exp", json!([NOW + 600])),
        with("exp", Value::Null),
        with("nbf", NOW + 61),
        with("nbf", true),
        with("nbf", 1e300),
        with("iat", NOW + 61),
        with("iat", "now"),
        with("sub", Value::Null),
        with("sub", ""),
        with("sub", 7),
        with("sub", json!(["ada"])),
        with("sub", "a".repeat(129)),
        with("sub", "a\nb"),
        with("jti", 7),
        with("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        with("cnf", json!({})),
        with("cnf", "x5t#S256"),
        with("cnf", json!({"x5t#S256": "AA"})),
        with("cnf", json!({"x5t#S256": encoded([1; 32]), "jkt": "a"})),
    ];
    for claims in refused {
        assert!(believed(&world, &KEYS.p256.token(&claims)).is_none(), "{claims}");
    }
    let believed_ones = [
        with("aud", json!(["someone else", "palisade"])),
        with("exp", NOW - 59),
        with("exp", NOW as f64 + 0.5),
        with("exp", 253_402_300_799u64),
        with("exp", u64::MAX),
        with("exp", 1e18),
        with("nbf", NOW + 60),
        with("nbf", 0),
        with("iat", NOW + 60),
        with("iat", Value::Null),
        with("jti", Value::Null),
        with("sub", "Ada Lovelace <ada@acme.example>"),
        with("anything", json!({"else": [1, {"deep": null}]})),
    ];
    for claims in believed_ones {
        assert!(believed(&world, &KEYS.p256.token(&claims)).is_some(), "{claims}");
    }
}

const MAPPED: &str = r#"
groups_claim = "groups"
group_map = { "4f1c" = "engineers", "admins" = "engineers", "visitors" = "guests" }
claims = { tid = "acme", ver = 2, email_verified = true }
max_age = "1h"
leeway = "0s"
channel = "interactive"
models = ["gpt-*"]
user_claim = "email"
"#;

fn mapped(groups: impl Into<Value>) -> Value {
    let mut claims = with("groups", groups);
    let more = json!({"tid": "acme", "ver": 2, "email_verified": true, "email": "ada@acme.example"});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[test]
fn claims_become_what_the_document_says() {
    let world = world(MAPPED);
    for (value, expected) in [
        (json!(["4f1c"]), vec!["engineers"]),
        (json!(["unknown", "admins", "4f1c"]), vec!["engineers"]),
        (json!(["visitors", "admins"]), vec!["engineers", "guests"]),
        (json!("admins"), vec!["engineers"]),
        (json!([]), vec!["guests"]),
        (json!(["engineers"]), vec!["guests"]),
        (Value::Null, vec!["guests"]),
    ] {
        let caller = believed(&world, &KEYS.p256.token(&mapped(value.clone()))).unwrap();
        assert_eq!(groups(caller.key()), expected, "{value}");
        assert_eq!(caller.key().user.as_deref(), Some("ada@acme.example"));
        assert_eq!(caller.key().channel, filters::documents::Channel::Interactive);
        let bearer = caller.key().bearer.as_ref().unwrap();
        assert_eq!(&*bearer.issuer.name, ACME);
        let shown = format!("{} {:?}", bearer.subject, bearer.id);
        assert!(!shown.contains("ada@") && bearer.subject.len() == 32, "{shown}");
    }
    for wrong in [json!(7), json!({"4f1c": true}), json!([["4f1c"]]), json!(["4f1c", null])] {
        assert!(believed(&world, &KEYS.p256.token(&mapped(wrong.clone()))).is_none(), "{wrong}");
    }
    let mut elsewhere = mapped(Value::Null);
    elsewhere["_claim_names"] = json!({"groups": "src1"});
    assert!(believed(&world, &KEYS.p256.token(&elsewhere)).is_none(), "the groups are not known");
    for (name, value) in [
        ("tid", json!("Acme")),
        ("tid", Value::Null),
        ("ver", json!("2")),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
    ] {
        let mut claims = mapped("admins");
        claims[name] = value.clone();
        assert!(believed(&world, &KEYS.p256.token(&claims)).is_none(), "{name}: {value}");
    }
    let mut listed = mapped("admins");
    listed["tid"] = json!(["x", "acme"]);
    assert!(believed(&world, &KEYS.p256.token(&listed)).is_some());
    // An hour after it was issued it is over, whatever it says; one that does not say when has no age.
    for (issued, is_over) in [(json!(NOW - 3599), false), (json!(NOW - 3600), true), (Value::Null, true)] {
        let mut claims = mapped("admins");
        claims["iat"] = issued.clone();
        if issued.is_null() {
            claims.as_object_mut().unwrap().remove("iat");
        }
        assert_eq!(believed(&world, &KEYS.p256.token(&claims)).is_none(), is_over, "{issued}");
    }
}

#[test]
fn a_claim_that_lies_deeper_is_found_by_its_pointer() {
    let more = "groups_claim = \"/realm_access/roles\"\ngroup_map = { dev = \"engineers\" }\nuser_claim = \"https://acme.example/name\"\n";
    let world = world(more);
    let mut claims = with("realm_access", json!({"roles": ["dev"]}));
    claims["https://acme.example/name"] = "ada".into();
    assert_eq!(groups(believed(&world, &KEYS.p256.token(&claims)).unwrap().key()), ["engineers"]);
    claims["realm_access"] = json!({"roles": {"dev": 1}});
    assert!(believed(&world, &KEYS.p256.token(&claims)).is_none());
}

#[test]
fn one_user_is_one_user_in_every_jwt_and_nobody_elses() {
    let id = |token: &str| believed(&world(""), token).unwrap().key().id.clone();
    let token = |name: &str, value: Value| KEYS.p256.token(&with(name, value));
    let ada = id(&token("exp", json!(NOW + 1)));
    assert_eq!(ada, id(&KEYS.rsa.token(&with("jti", "8"))));
    assert_ne!(ada, id(&token("sub", json!("bob"))));
    assert_ne!(ada, id(&KEYS.other.token(&with("iss", OTHER))), "of another issuer");
}

#[test]
fn a_jwt_bound_to_a_certificate_needs_it() {
    let world = world("");
    let token = [KEYS.p256.token(&with("cnf", json!({"x5t#S256": encoded([7; 32])})))];
    for (certificate, is_right) in [(Some([7; 32]), true), (Some([8; 32]), false), (None, false)] {
        let knock = Knock { certificate, ..knock(&token) };
        let caller = filters::identify(&world, &Trust::default(), &knock).unwrap();
        let located = filters::locate(caller, &knock, Location::default());
        match located {
            Ok(_) => assert!(is_right),
            Err(refusal) => {
                assert!(!is_right && matches!(refusal, Refusal::CertificateRequired), "{refusal:?}");
            }
        }
    }
}

#[test]
fn algorithms_can_be_fewer_by_the_issuer_and_by_the_key() {
    let few = world("algorithms = [\"PS256\", \"EdDSA\"]");
    let token = |signer: &Signer, algorithm: &str| {
        signer.token_as(&json!({"alg": algorithm, "kid": signer.kid}), &claims())
    };
    for (signer, algorithm, is_there) in [
        (&KEYS.rsa, "PS256", true),
        (&KEYS.rsa, "RS256", false),
        (&KEYS.rsa, "PS512", false),
        (&KEYS.p256, "ES256", false),
        (&KEYS.ed25519, "EdDSA", true),
    ] {
        assert_eq!(believed(&few, &token(signer, algorithm)).is_some(), is_there, "{algorithm}");
    }
    let mut jwk = KEYS.rsa.jwk();
    jwk["alg"] = "RS384".into();
    let document = acme("").replace(
        &key_set(&[&KEYS.rsa, &KEYS.p256, &KEYS.p384, &KEYS.ed25519]),
        &json!({"keys": [jwk]}).to_string(),
    );
    let only = policy("", &[&document]);
    assert!(believed(&only, &token(&KEYS.rsa, "RS384")).is_some());
    assert!(believed(&only, &token(&KEYS.rsa, "RS256")).is_none());
}
