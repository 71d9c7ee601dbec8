//! What becomes of JWTs that were believed when documents and keys change?

use super::{ACME, KEYS, NOW, OTHER, acme, believed, claims, identify, knock, other, visitor, with, world};
use crate::issuer::{Signer, key_set};
use crate::keys::key;
use crate::memory::policy;
use palisade_filters::jwt::{self, KeySet};
use palisade_filters::tenant::still_welcome;
use palisade_filters::{self as filters, Knock, Policy, Trust};
use std::sync::Arc;

#[test]
fn who_is_suspended_or_believed_by_nobody_has_no_jwts() {
    let token = KEYS.p256.token(&claims());
    let suspended = policy("", &[&format!("suspended = true\n{}", acme(""))]);
    assert!(believed(&suspended, &token).is_none());
    assert!(believed(&policy("", &[&other()]), &token).is_none());
    assert!(believed(&policy("", &["id = \"acme\""]), &token).is_none());
}

#[test]
fn what_was_verified_is_forgotten_with_the_policy_and_with_the_keys() {
    let trust = Trust::default();
    let token = KEYS.p256.token(&claims());
    for _ in 0..2 {
        assert!(identify(&world(""), &trust, &[&token]).is_ok());
        // The same revision of another line of policies, in which nothing of it holds.
        assert!(identify(&policy("", &[&other()]), &trust, &[&token]).is_err());
        assert!(identify(&world("algorithms = [\"RS256\"]"), &trust, &[&token]).is_err());
    }
    let (fetching, source) = fetching();
    let with = |signer: &Signer| {
        let set = KeySet::read(key_set(&[signer]).as_bytes()).unwrap();
        trust.with(source.clone(), Arc::new(set))
    };
    assert!(identify(&fetching, &trust, &[&token]).is_err(), "no key was fetched yet");
    let first = with(&KEYS.p256);
    assert!(identify(&fetching, &first, &[&token]).is_ok() && identify(&fetching, &first, &[&token]).is_ok());
    assert!(identify(&fetching, &with(&KEYS.forged), &[&token]).is_err(), "its key is gone");
    assert!(identify(&fetching, &trust, &[&token]).is_err());
    let over = [token];
    let knock = Knock { now_ms: (NOW + 660) * 1000, ..knock(&over) };
    assert!(filters::identify(&fetching, &first, &knock).is_err(), "it was remembered, and is over");
}

/// An organisation whose issuer's keys are fetched, and from where.
fn fetching() -> (Policy, Arc<jwt::KeySource>) {
    let fetching = policy(
        "",
        &[&format!(
            "id = \"acme\"\n[[jwt_issuers]]\nissuer = \"{ACME}\"\naudience = \"palisade\"\n\
             jwks_url = \"https://keys.acme.example/a?b=c\"\n"
        )],
    );
    let source = fetching.key_sources().into_iter().next().unwrap();
    assert_eq!(source.address.to_string(), "https://keys.acme.example/a?b=c");
    (fetching, source)
}

#[test]
fn who_began_with_a_jwt_goes_on_as_long_as_it_would_be_believed() {
    let (fetching, source) = fetching();
    let set = |signers: &[&Signer]| {
        let set = KeySet::read(key_set(signers).as_bytes()).unwrap();
        Trust::default().with(source.clone(), Arc::new(set))
    };
    let trust = set(&[&KEYS.p256]);
    let visitor = visitor(&fetching, &trust, &KEYS.p256.token(&claims()));
    let welcome = |policy: &Policy, trust: &Trust, at: u64| still_welcome(policy, trust, &visitor, at * 1000);
    assert!(welcome(&fetching, &trust, NOW) && welcome(&fetching, &trust, NOW + 659));
    assert!(!welcome(&fetching, &trust, NOW + 660), "it is over, with the leeway");
    assert_eq!(visitor.expires_ms(), Some((NOW + 660) * 1000));
    assert!(welcome(&fetching, &set(&[&KEYS.rsa, &KEYS.p256]), NOW), "its key is still there");
    for gone in [set(&[&KEYS.rsa]), set(&[&KEYS.forged]), set(&[]), Trust::default()] {
        assert!(!welcome(&fetching, &gone, NOW), "its key is gone");
    }
    let document = |settings: &str| {
        format!(
            "id = \"acme\"\n{settings}[[jwt_issuers]]\nissuer = \"{ACME}\"\naudience = \"palisade\"\n\
             jwks_url = \"https://keys.acme.example/a?b=c\"\n"
        )
    };
    for (settings, more, is_welcome) in [
        ("name = \"Acme\"\n", "", true),
        ("", "models = [\"gpt-*\"]\n", true),
        ("suspended = true\n", "", false),
        ("", "algorithms = [\"RS256\"]\n", false),
        ("", "claims = { tid = \"acme\" }\n", false),
        ("", "leeway = \"1s\"\n", false),
    ] {
        let now = policy("", &[&(document(settings) + more)]);
        assert_eq!(welcome(&now, &trust, NOW), is_welcome, "{settings}{more}");
    }
    let moved = document("").replace("palisade", "elsewhere");
    let taken = document("").replace("id = \"acme\"", "id = \"other\"");
    for gone in ["id = \"acme\"".to_owned(), moved, taken] {
        assert!(!welcome(&policy("", &[&gone]), &trust, NOW), "{gone}");
    }
}

#[test]
fn only_a_key_that_is_missing_is_asked_for() {
    let (fetching, source) = fetching();
    let set = KeySet::read(key_set(&[&KEYS.p256]).as_bytes()).unwrap();
    let trust = Trust::default().with(source.clone(), Arc::new(set));
    let missing = |trust: &Trust, token: String| jwt::missing_key(&fetching, trust, &knock(&[token]));
    assert_eq!(missing(&trust, KEYS.rsa.token(&claims())), Some(source.clone()));
    assert_eq!(missing(&Trust::default(), KEYS.p256.token(&claims())), Some(source));
    assert_eq!(missing(&trust, KEYS.forged.token(&claims())), None, "the key of this name is known");
    assert_eq!(missing(&trust, KEYS.rsa.token(&with("iss", OTHER))), None);
    assert_eq!(missing(&trust, KEYS.rsa.token(&with("aud", "another"))), None);
    assert_eq!(missing(&trust, key("acme").secret), None);
    let two = [KEYS.rsa.token(&claims()), String::new()];
    assert_eq!(jwt::missing_key(&fetching, &trust, &knock(&two)), None);
}
