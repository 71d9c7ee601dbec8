//! Public keys of an issuer, and what they verify.
//!
//! Needs a JWK set (RFC 7517); proves that a signature was made with one of its keys, by an algorithm that the key is
//! for. Keys that are for something else, too weak, secret or of a kind that is not known are none of them: a secret
//! shared with an issuer would let every reader of it issue.

use crate::documents::issuers::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Usable keys of one set. Issuers have two or three.
pub const KEYS_MAX: usize = 64;
/// Bytes of a set.
pub const SET_BYTES_MAX: usize = 512 * 1024;
/// Keys that one JWT is tried against.
const TRIED_MAX: usize = 4;
/// A longer id of a key is somebody's text.
pub(super) const KID_BYTES_MAX: usize = 256;
/// Shorter moduli are within reach of attackers, longer ones cost a request milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The exponent of nearly all keys has three.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// The keys of an issuer at one moment.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

/// One key.
struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that it is for, if it says so.
    only: Option<Algorithm>,
    material: Material,
    /// Which key it is, whatever it is called.
    thumbprint: [u8; 32],
}

/// What a key is made of.
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl fmt::Debug for KeySet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys", self.keys.len())
    }
}

impl KeySet {
    /// Reads a set. What of it cannot be used is left out; nothing of its text is in an error.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > SET_BYTES_MAX {
            return Err(format!("it is larger than {SET_BYTES_MAX} bytes"));
        }
        let object = crate::strict_json::object(bytes).ok_or("it is no JSON object")?;
        let Some(Value::Array(listed)) = object.get("keys") else {
            return Err("it has no list `keys`".to_owned());
        };
        let keys: Vec<PublicKey> =
            listed.iter().filter_map(Value::as_object).filter_map(PublicKey::read).collect();
        if keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        Ok(Self { keys })
    }

    /// How many of its keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none can.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key has this id.
    pub(super) fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Whether this key is one of them.
    pub(super) fn holds(&self, thumbprint: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.thumbprint == *thumbprint)
    }

    /// The key that made a signature. One that the JWT does not name is looked for among the first few that it could
    /// be; where none could be, the same work is done in vain.
    pub(super) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Option<[u8; 32]> {
        let could_be =
            |key: &&PublicKey| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)) && key.is_for(algorithm);
        let mut tried = self.keys.iter().filter(could_be).take(TRIED_MAX).peekable();
        if tried.peek().is_none() {
            in_vain(algorithm, signed, signature);
        }
        tried.find(|key| key.material.verifies(algorithm, signed, signature)).map(|key| key.thumbprint)
    }
}

/// The generators of the curves that have points: anybody's public key.
const P256: [u8; 65] = *b"\x04\
    \x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\
    \x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\
    \x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\
    \x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
const P384: [u8; 97] = *b"\x04\
    \xaa\x87\xca\x22\xbe\x8b\x05\x37\x8e\xb1\xc7\x1e\xf3\x20\xad\x74\
    \x6e\x1d\x3b\x62\x8b\xa7\x9b\x98\x59\xf7\x41\xe0\x82\x54\x2a\x38\
    \x55\x02\xf2\x5d\xbf\x55\x29\x6c\x3a\x54\x5e\x38\x72\x76\x0a\xb7\
    \x36\x17\xde\x4a\x96\x26\x2c\x6f\x5d\x9e\x98\xbf\x92\x92\xdc\x29\
    \xf8\xf4\x1d\xbd\x28\x9a\x14\x7c\xe9\xda\x31\x13\xb5\xf0\xb8\xc0\
    \x0a\x60\xb1\xce\x1d\x7e\x81\x9d\x7a\x43\x1d\x7c\x90\xea\x0e\x5f";
const ED25519: [u8; 32] = *b"\x58fffffffffffffffffffffffffffffff";

/// The generator of an algorithm's curve, if it has one; RSA has none.
pub(super) fn generator(algorithm: Algorithm) -> Option<&'static [u8]> {
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => None,
        Algorithm::Es256 => Some(&P256),
        Algorithm::Es384 => Some(&P384),
        Algorithm::EdDsa => Some(&ED25519),
    }
}

/// The work of verifying, for those whose issuer or key is not known: how long a refusal takes does not tell them from
/// others.
pub(super) fn in_vain(algorithm: Algorithm, signed: &[u8], signature: &[u8]) {
    let point = generator(algorithm).map(<[u8]>::to_vec);
    let material = match (algorithm, point) {
        (Algorithm::Es256, Some(point)) => Material::P256(point),
        (Algorithm::Es384, Some(point)) => Material::P384(point),
        (Algorithm::EdDsa, Some(point)) => Material::Ed25519(point),
        // A modulus need not be a product of primes for the arithmetic to be done.
        (_, _) => Material::Rsa { n: vec![0xff; 256], e: vec![1, 0, 1] },
    };
    let _ = std::hint::black_box(material.verifies(algorithm, signed, signature));
}

impl PublicKey {
    /// Reads a key that verifies signatures.
    fn read(key: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        // What is there must be understood: a key with a use that is no text is not for everything.
        let is_text_or_absent = |name: &str| key.get(name).is_none_or(Value::is_string);
        if !["kid", "use", "alg"].into_iter().all(is_text_or_absent) {
            return None;
        }
        let verifies = match key.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
            Some(_) => false,
        };
        // Who publishes the private half has no secret any more.
        if !verifies || text("use").is_some_and(|for_what| for_what != "sig") || key.contains_key("d") {
            return None;
        }
        let kid = text("kid").map(str::to_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let point = |width: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == width && y.len() == width).then(|| [&[4], &*x, &*y].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            (_, _) => return None,
        };
        let only = match text("alg") {
            None => None,
            Some(name) => Some(Algorithm::named(name).filter(|only| material.fits(*only))?),
        };
        let thumbprint = material.thumbprint();
        Some(Self { kid, only, material, thumbprint })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.material.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}

/// A modulus and an exponent, without the zeros that some write before them.
fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
    let trimmed = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number.get(zeros..).unwrap_or_default().to_vec()
    };
    let (n, e) = (trimmed(n), trimmed(e));
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    // With an exponent of 1 everybody signs; of others, all that are in use are odd and short.
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let is_exponent = is_odd(&e) && e != [1] && e.len() <= RSA_EXPONENT_BYTES_MAX;
    (RSA_BITS.contains(&bits) && is_odd(&n) && is_exponent).then_some(Material::Rsa { n, e })
}

impl Material {
    /// Whether this algorithm is one of this kind of key.
    fn fits(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self, Self::Rsa { .. }),
            Algorithm::Es256 => matches!(self, Self::P256(_)),
            Algorithm::Es384 => matches!(self, Self::P384(_)),
            Algorithm::EdDsa => matches!(self, Self::Ed25519(_)),
        }
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let by_rsa = |parameters: &RsaParameters| match self {
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            Self::P256(_) | Self::P384(_) | Self::Ed25519(_) => false,
        };
        let by_point = |with: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(with, point).verify(signed, signature).is_ok()
        };
        match (algorithm, self) {
            (Algorithm::Rs256, _) => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Rs384, _) => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::Rs512, _) => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            (Algorithm::Ps256, _) => by_rsa(&signature::RSA_PSS_2048_8192_SHA256),
            (Algorithm::Ps384, _) => by_rsa(&signature::RSA_PSS_2048_8192_SHA384),
            (Algorithm::Ps512, _) => by_rsa(&signature::RSA_PSS_2048_8192_SHA512),
            (Algorithm::Es256, Self::P256(point)) => by_point(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Algorithm::Es384, Self::P384(point)) => by_point(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Algorithm::EdDsa, Self::Ed25519(point)) => by_point(&signature::ED25519, point),
            (Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa, _) => false,
        }
    }

    fn thumbprint(&self) -> [u8; 32] {
        let parts: [&[u8]; 3] = match self {
            Self::Rsa { n, e } => [b"RSA", n, e],
            Self::P256(point) => [b"P-256", point, b""],
            Self::P384(point) => [b"P-384", point, b""],
            Self::Ed25519(point) => [b"Ed25519", point, b""],
        };
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}
