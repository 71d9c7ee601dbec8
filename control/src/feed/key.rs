//! What does a proxy bring of its own? A key, and what its token says of whom to believe.

use super::error::FeedError;
use palisade_filters::api_key::hex;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

/// Bytes of a hash.
const PIN_BYTES: usize = 32;

/// A key of a proxy's own. It shows no more than its public half.
pub struct Key {
    public: String,
    pem: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Key({})", self.public)
    }
}

impl Key {
    /// A new one, of P-256.
    pub fn generate() -> Result<Self, FeedError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(FeedError::broken)?;
        Ok(Self { public: hex(pair.public_key_raw()), pem: pair.serialize_pem() })
    }

    /// One that was made before, from PEM; none: it is none of P-256.
    pub fn read(pem: &str) -> Option<Self> {
        let pair = KeyPair::from_pem(pem).ok()?;
        let is_ours = pair.algorithm() == &PKCS_ECDSA_P256_SHA256;
        is_ours.then(|| Self { public: hex(pair.public_key_raw()), pem: pair.serialize_pem() })
    }

    /// The public half, in hexadecimal digits: what is sent.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The key itself, in PEM: what is never sent.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// The hash of the authority that a token names; none: it is no token.
pub fn pin_of(token: &str) -> Option<[u8; PIN_BYTES]> {
    let (_, pin) = token.trim().rsplit_once('.')?;
    let mut out = [0_u8; PIN_BYTES];
    for digit in pin.bytes() {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => return None,
        };
        let mut carry = u32::from(digit);
        for byte in out.iter_mut().rev() {
            carry += u32::from(*byte) * 62;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    (!pin.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::api_key::base62;

    #[test]
    fn a_key_that_was_kept_is_the_same_key() {
        let key = Key::generate().unwrap();
        let again = Key::read(key.pem()).unwrap();
        assert_eq!((again.public(), again.pem()), (key.public(), key.pem()));
        for none in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(Key::read(none).is_none());
        }
    }

    #[test]
    fn a_token_names_the_hash_that_it_was_made_with() {
        for pin in [[0; 32], [0xff; 32], std::array::from_fn(|at| at as u8)] {
            let token = format!("pal_enroll_platform_x_y.{}", base62(&pin, 43));
            assert_eq!(pin_of(&token), Some(pin));
        }
        for wrong in ["", "pal_enroll_platform_x_y", "a.", "a.-", &format!("a.{}", "z".repeat(44))] {
            assert_eq!(pin_of(wrong), None, "{wrong}");
        }
    }
}
