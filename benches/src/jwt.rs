//! What does a JWT cost, the first time and again, beside an API key?
//!
//! Needs nothing. Prints nanoseconds to recognise a caller: by a key; by a JWT of each common algorithm that is
//! verified, and that was verified before; and to refuse a JWT of an issuer that nobody knows. It measures one core
//! with warm caches, and the core of the proxy alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palisade_filters::dlp::Scanner;
use palisade_filters::policy::compile::{Grounds, Source};
use palisade_filters::secret::Secret;
use palisade_filters::{Knock, Policy, Trust, api_key, identify};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

/// The key of the tests' issuer; it signs nothing else.
const RSA: &[u8] = include_bytes!("../../tests/src/issuer/rsa.der");
const ISSUER: &str = "https://login.acme.example/realms/staff";
/// 2030-01-01.
const NOW: u64 = 1_893_456_000;
/// How often each is done.
const TIMES: u32 = 2_000;

/// Prints the figures.
pub(crate) fn run(out: &mut impl Write) -> io::Result<()> {
    let fail = |error: &dyn std::fmt::Debug| io::Error::other(format!("{error:?}"));
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::from_der(RSA).map_err(|error| fail(&error))?;
    let made =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|e| fail(&e))?;
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
    let p256 = p256.map_err(|error| fail(&error))?;
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|error| fail(&error))?;
    let code = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(rsa.public());
    let (x, y) = p256.public_key().as_ref().split_at(1).1.split_at(32);
    let keys = json!({"keys": [
        {"kty": "RSA", "kid": "RS256", "n": code(&public.n), "e": code(&public.e)},
        {"kty": "EC", "kid": "ES256", "crv": "P-256", "x": code(x), "y": code(y)},
        {"kty": "OKP", "kid": "EdDSA", "crv": "Ed25519", "x": code(ed25519.public_key().as_ref())},
    ]});
    let own = api_key::create([7; 9], [9; 32]);
    let policy = policy(&keys.to_string(), &own).map_err(io::Error::other)?;
    let token = |algorithm: &str, issuer: &str, sign: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
        let header = json!({"alg": algorithm, "kid": algorithm, "typ": "JWT"}).to_string();
        let groups: Vec<String> = (0..8).map(|n| format!("00000000-0000-0000-0000-{n:012}")).collect();
        let claims = json!({"iss": issuer, "aud": "palisade", "sub": "ada@acme.example", "iat": NOW, "exp": NOW + 600,
                            "jti": "0e1c7a52", "groups": groups, "name": "Ada Lovelace", "scope": "chat"});
        let signed = format!("{}.{}", code(header.as_bytes()), code(claims.to_string().as_bytes()));
        let signature = sign(signed.as_bytes()).unwrap_or_default();
        format!("{signed}.{}", code(&signature))
    };
    let by_rsa = |text: &[u8]| {
        let mut made = vec![0; rsa.public().modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut made).ok().map(|()| made)
    };
    let by_p256 = |text: &[u8]| p256.sign(&random, text).ok().map(|made| made.as_ref().to_vec());
    let by_ed25519 = |text: &[u8]| Some(ed25519.sign(text).as_ref().to_vec());

    let took = recognised(&policy, own.key.expose(), false)?;
    writeln!(out, "API key: {took} ns")?;
    for (algorithm, sign) in
        [("RS256", &by_rsa as &dyn Fn(&[u8]) -> Option<Vec<u8>>), ("ES256", &by_p256), ("EdDSA", &by_ed25519)]
    {
        let own = token(algorithm, ISSUER, sign);
        let (first, again) = (recognised(&policy, &own, true)?, recognised(&policy, &own, false)?);
        let stranger = token(algorithm, "https://login.nobody.example", sign);
        let refused = refused(&policy, &stranger);
        writeln!(
            out,
            "{algorithm}, {} bytes: {first} ns verified, {again} ns again, {refused} ns of an unknown issuer",
            own.len()
        )?;
    }
    Ok(())
}

fn policy(keys: &str, own: &api_key::NewKey) -> Result<Policy, String> {
    fn source<D: DeserializeOwned>(name: &str, text: &str) -> Result<Source<D>, String> {
        let document = toml::from_str(text).map_err(|error| error.to_string())?;
        Ok(Source { name: name.to_owned(), fingerprint: 1, document: Ok(document) })
    }
    let acme = format!(
        "id = \"acme\"\ngroups = [{{ name = \"staff\" }}]\n[[keys]]\nid = \"{}\"\nsha256 = \"{}\"\n[[quotas]]\n\
         subject = \"user\"\nrequests_per_minute = 60\n[[jwt_issuers]]\nissuer = \"{ISSUER}\"\naudience = \"palisade\"\n\
         jwks = '{keys}'\ngroups_claim = \"groups\"\ngroup_map = {{ \"00000000-0000-0000-0000-000000000003\" = \"staff\" }}\n",
        own.id, own.sha256
    );
    let (secrets, hash_secret) = (std::collections::HashMap::new(), Secret::new("00".repeat(32)));
    let scanner = Arc::new(Scanner::new(Vec::new()));
    let grounds = Grounds { scanner, secrets: &secrets, hash_secret: &hash_secret };
    let platform = source("platform.toml", "[floor]\nshipped = \"none\"\n")?;
    let (policy, errors) = Policy::compile(None, &platform, &[source("orgs/acme.toml", &acme)?], &grounds);
    policy.filter(|_| errors.is_empty()).ok_or_else(|| format!("{errors:?}"))
}

/// Nanoseconds to recognise a caller, who must be recognised; each time as if it were the first, or not.
fn recognised(policy: &Policy, credential: &str, is_first: bool) -> io::Result<u128> {
    let credentials = [credential.to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: NOW * 1000 };
    let kept = Trust::default();
    let trusts: Vec<Trust> =
        (0..TIMES).map(|_| if is_first { Trust::default() } else { kept.clone() }).collect();
    let _ = identify(policy, &kept, &knock);
    let started = Instant::now();
    for trust in &trusts {
        black_box(identify(policy, trust, &knock))
            .map_err(|_| io::Error::other("a caller is not recognised"))?;
    }
    Ok(started.elapsed().as_nanos() / u128::from(TIMES))
}

fn refused(policy: &Policy, credential: &str) -> u128 {
    let credentials = [credential.to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: NOW * 1000 };
    let trust = Trust::default();
    let started = Instant::now();
    for _ in 0..TIMES {
        let _ = black_box(identify(policy, &trust, &knock));
    }
    started.elapsed().as_nanos() / u128::from(TIMES)
}
