//! Whose JWT is it? Every way in which somebody could make one that is not theirs, in memory against the pure core.
//!
//! One organisation believes one issuer with a key of each kind; another one believes another. What is refused is
//! refused in the same words as a wrong key.

mod attacks;
mod changes;
mod claims;
mod documents;

use crate::issuer::{Signer, key_set};
use crate::keys::key;
use crate::memory::policy;
use palisade_filters::policy::TenantKey;
use palisade_filters::{self as filters, Caller, Knock, Location, Policy, Refusal, Trust, Visitor};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;
const ACME: &str = "https://login.acme.example/realm";
const OTHER: &str = "https://login.other.example";

/// The keys of all issuers.
struct Keys {
    rsa: Signer,
    p256: Signer,
    p384: Signer,
    ed25519: Signer,
    /// Of the other organisation's issuer.
    other: Signer,
    /// Of nobody who is believed, called like one that is.
    forged: Signer,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: Signer::rsa("rsa"),
    p256: Signer::p256("p256"),
    p384: Signer::p384("p384"),
    ed25519: Signer::ed25519("ed25519"),
    other: Signer::p256("other"),
    forged: Signer::p256("p256"),
});

fn acme(more: &str) -> String {
    let Keys { rsa, p256, p384, ed25519, .. } = &*KEYS;
    let keys = key_set(&[rsa, p256, p384, ed25519]);
    format!(
        "id = \"acme\"\ngroups = [{{ name = \"engineers\" }}, {{ name = \"guests\" }}]\n{}\n[[jwt_issuers]]\n\
         issuer = \"{ACME}\"\naudience = \"palisade\"\njwks = '{keys}'\ngroups = [\"guests\"]\n{more}\n",
        key("acme").table
    )
}

fn other() -> String {
    let keys = key_set(&[&KEYS.other]);
    format!(
        "id = \"other\"\n[[jwt_issuers]]\nissuer = \"{OTHER}\"\naudience = \"palisade\"\njwks = '{keys}'\n"
    )
}

fn world(more: &str) -> Policy {
    policy("", &[&acme(more), &other()])
}

fn claims() -> Value {
    json!({"iss": ACME, "aud": "palisade", "sub": "ada", "iat": NOW - 60, "exp": NOW + 600, "jti": "7"})
}

/// The claims with this one changed, or taken away.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    if claims[name].is_null() {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims
}

fn knock(credentials: &[String]) -> Knock<'_> {
    Knock { credentials, address: None, certificate: None, now_ms: NOW * 1000 }
}

fn identify(policy: &Policy, trust: &Trust, credentials: &[&str]) -> Result<Caller, Refusal> {
    let credentials: Vec<String> = credentials.iter().map(|&text| text.to_owned()).collect();
    filters::identify(policy, trust, &knock(&credentials))
}

fn believed(policy: &Policy, token: &str) -> Option<Caller> {
    match identify(policy, &Trust::default(), &[token]) {
        Ok(caller) => Some(caller),
        Err(Refusal::InvalidApiKey) => None,
        Err(refusal) => panic!("{refusal:?} in place of the one answer"),
    }
}

fn groups(key: &TenantKey) -> Vec<&str> {
    key.groups.iter().map(String::as_str).collect()
}

/// The visitor that a token's bearer becomes.
fn visitor(policy: &Policy, trust: &Trust, token: &str) -> Visitor {
    let credentials = [token.to_owned()];
    let knock = knock(&credentials);
    let caller = filters::identify(policy, trust, &knock).unwrap();
    let located = filters::locate(caller, &knock, Location::default()).unwrap();
    filters::recognize(located, &knock, &Arc::default()).unwrap()
}
