//! What must hold for any bytes in the place of a JWT, of an issuer's keys, and of what it says of itself; and for any
//! header and claims that an issuer did sign.

use super::callers::SCANNER;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palisade_filters::policy::compile::{Grounds, Source};
use palisade_filters::secret::Secret;
use palisade_filters::{self as filters, Caller, Knock, Policy, Trust, jwt};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;
const ISSUER: &str = "https://login.acme.example";

static SIGNER: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

/// One organisation that believes one issuer with one key.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    fn source<D: DeserializeOwned>(name: &str, text: &str) -> Source<D> {
        Source { name: name.to_owned(), fingerprint: 1, document: Ok(toml::from_str(text).unwrap()) }
    }
    let x = URL_SAFE_NO_PAD.encode(SIGNER.public_key());
    let acme = format!(
        "id = \"acme\"\ngroups = [{{ name = \"known\" }}]\n[[jwt_issuers]]\nissuer = \"{ISSUER}\"\n\
         audience = \"palisade\"\nleeway = \"0s\"\ngroups_claim = \"groups\"\ngroup_map = {{ a = \"known\" }}\n\
         claims = {{ tid = \"acme\" }}\n\
         jwks = '{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"fuzzed\",\"x\":\"{x}\"}}]}}'\n"
    );
    let (secrets, hash_secret) = (HashMap::new(), Secret::new("00".repeat(32)));
    let grounds = Grounds { scanner: SCANNER.clone(), secrets: &secrets, hash_secret: &hash_secret };
    let (platform, acme) = (source("platform.toml", ""), source("orgs/acme.toml", &acme));
    let (policy, errors) = Policy::compile(None, &platform, &[acme], &grounds);
    assert_eq!(errors, []);
    policy.unwrap()
});

fn believed(trust: &Trust, token: &str) -> Option<Caller> {
    let credentials = [token.to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: NOW * 1000 };
    let _ = jwt::missing_key(&POLICY, trust, &knock);
    filters::identify(&POLICY, trust, &knock).ok()
}

/// Bytes as a JWT, which nobody signed; as keys and as a page of an issuer; and, up to their first zero byte and after
/// it, as header and claims that the issuer did sign.
pub(crate) fn jwt(data: &[u8]) {
    let trust = Trust::default();
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(believed(&trust, text).is_none(), "nobody signed it");
    }
    if let Ok(set) = jwt::KeySet::read(data) {
        assert!(set.len() <= jwt::KEYS_MAX);
    }
    if let Ok(address) = jwt::read_discovery(data, ISSUER) {
        assert_eq!(jwt::Address::read(&address.to_string()), Ok(address));
    }
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (header, claims) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = SIGNER.sign(signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let caller = believed(&trust, &token);
    let again = believed(&trust, &token);
    let id = |caller: &Option<Caller>| caller.as_ref().map(|caller| caller.key().id.clone());
    assert_eq!(id(&caller), id(&again), "what is remembered is what was verified");
    assert!(believed(&trust, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode([1; 64]))).is_none());
    let Some(caller) = caller else { return };
    let object = |text: &[u8]| -> Value { serde_json::from_slice(text).expect("what is believed is JSON") };
    let (header, claims) = (object(header), object(claims));
    assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519");
    assert!(header.get("crit").is_none() && header["kid"].as_str().is_none_or(|kid| kid == "fuzzed"));
    assert_eq!(
        (&claims["iss"], &claims["tid"] == "acme" || claims["tid"].is_array()),
        (&ISSUER.into(), true)
    );
    let is_ours = |audience: &Value| audience == "palisade";
    assert!(is_ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|list| list.iter().any(is_ours)));
    assert!(claims["exp"].as_f64().is_some_and(|end| end > NOW as f64));
    assert!(
        claims.get("nbf").is_none_or(|begin| begin.as_f64().is_some_and(|begin| begin < NOW as f64 + 1.0))
    );
    assert_eq!(caller.key().user.as_deref(), claims["sub"].as_str());
}
