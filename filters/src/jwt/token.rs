//! What does a JWT say? Its three parts, read strictly and in one way only (RFC 7515, RFC 7519, RFC 8725).
//!
//! Needs a credential; proves only its form. Whose it is, and whether any of it is true, is not known before its
//! signature is verified. Hints at keys (`jku`, `x5u`, `jwk`, `x5c`) are never read: whoever forges a JWT would point
//! at a key of their own.

use super::keys::KID_BYTES_MAX;
use crate::api_key;
use crate::documents::issuers::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::time::Duration;

/// Bytes of a JWT. One with two hundred groups has twelve thousand.
pub const JWT_BYTES_MAX: usize = 16 * 1024;
/// What a header may say that it is, in lower case.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
/// Members that ask for something which is not done here: to leave out what they say would be to read another JWT.
const NOT_DONE: [&str; 4] = ["crit", "b64", "zip", "enc"];

/// A JWT, unverified.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// Whether a credential could be a JWT. A key has no dot in it, and nothing that begins as one is anything else.
pub(super) fn is_shaped(credential: &str) -> bool {
    credential.len() <= JWT_BYTES_MAX
        && !credential.starts_with(api_key::PREFIX)
        && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Token<'a> {
    /// Reads a credential.
    pub(super) fn read(credential: &'a str) -> Option<Self> {
        if !is_shaped(credential) {
            return None;
        }
        let (signed, signature) = credential.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        // Neither padding nor bits that are left over: each text has one encoding.
        let object = |part: &str| crate::strict_json::object(&URL_SAFE_NO_PAD.decode(part).ok()?);
        let header = object(header)?;
        if NOT_DONE.iter().any(|name| header.contains_key(*name)) {
            return None;
        }
        let is_known_type = |kind: &Value| {
            kind.as_str().is_some_and(|kind| TYPES.contains(&kind.to_ascii_lowercase().as_str()))
        };
        if !header.get("typ").is_none_or(is_known_type) {
            return None;
        }
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= KID_BYTES_MAX)?.to_owned()),
        };
        let algorithm = Algorithm::named(header.get("alg")?.as_str()?)?;
        let claims = object(claims)?;
        let issuer = claims.get("iss")?.as_str()?.to_owned();
        let audiences = match claims.get("aud")? {
            Value::String(audience) => vec![audience.clone()],
            Value::Array(audiences) => {
                audiences.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).ok().filter(|signature| !signature.is_empty())?;
        Some(Self { algorithm, kid, issuer, audiences, claims, signed: signed.as_bytes(), signature })
    }
}

/// A claim by its name, or by a JSON pointer where it lies deeper: `/realm_access/roles`.
pub(super) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let (first, rest) = pointer.split_once('/').map_or((pointer, None), |(first, rest)| (first, Some(rest)));
    let value = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
    match rest {
        None => Some(value),
        Some(rest) => value.pointer(&format!("/{rest}")),
    }
}

/// A moment, in milliseconds since 1970 (RFC 7519 §2: seconds, with or without a fraction).
pub(super) fn moment_ms(value: &Value) -> Option<u64> {
    let since = match value.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(value.as_f64()?).ok()?,
    };
    Some(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
