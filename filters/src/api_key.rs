//! What does an API key look like? `pk_live_<public id>_<secret><checksum>`.
//!
//! The checksum (CRC-32 in base 62) lets a typing error fail before any lookup, and lets secret scanners tell a key
//! from noise. The public id is shown in lists. Of the secret, 256 random bits in base 62, only the SHA-256 is kept.

use crate::secret::Secret;
use sha2::{Digest, Sha256};

/// What every key begins with.
pub const PREFIX: &str = "pk_live_";
/// Characters of the public id.
pub const ID_CHARS: usize = 12;
/// Characters that 256 bits take in base 62.
const SECRET_CHARS: usize = 43;
/// Characters that 32 bits take in base 62.
const CHECKSUM_CHARS: usize = 6;
/// Bytes of the whole key.
pub const KEY_BYTES: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key whose form and checksum are right. Whether it exists is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WellFormed<'a> {
    /// Its public id.
    pub id: &'a str,
    /// The hash that is compared with the stored one.
    pub sha256: [u8; 32],
}

/// A new key, shown once.
#[derive(Debug)]
pub struct NewKey {
    /// Its public id.
    pub id: String,
    /// The whole key.
    pub key: Secret,
    /// What is stored of it, in hexadecimal.
    pub sha256: String,
}

/// Makes a key out of random bytes that the caller brings.
pub fn create(id_bits: [u8; 9], secret_bits: [u8; 32]) -> NewKey {
    let id = base62(&id_bits, ID_CHARS);
    let secret = base62(&secret_bits, SECRET_CHARS);
    let body = format!("{PREFIX}{id}_{secret}");
    let key = format!("{body}{}", checksum(body.as_bytes()));
    let sha256 = hex(&Sha256::digest(secret.as_bytes()));
    NewKey { id, key: Secret::new(key), sha256 }
}

/// Reads a key as a caller presents it.
pub fn parse(key: &str) -> Option<WellFormed<'_>> {
    let rest = key.strip_prefix(PREFIX)?;
    let (id, rest) = rest.split_once('_')?;
    let (secret, sum) = rest.split_at_checked(SECRET_CHARS)?;
    let base62_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if id.len() != ID_CHARS || !base62_only(id) || !base62_only(secret) {
        return None;
    }
    let body = key.get(..key.len() - CHECKSUM_CHARS)?;
    if sum != checksum(body.as_bytes()) {
        return None;
    }
    Some(WellFormed { id, sha256: Sha256::digest(secret.as_bytes()).into() })
}

fn checksum(body: &[u8]) -> String {
    base62(&crc32fast::hash(body).to_be_bytes(), CHECKSUM_CHARS)
}

/// Bytes in hexadecimal, as hashes are written everywhere.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

/// A big-endian number in base 62, padded to `width`.
pub fn base62(number: &[u8], width: usize) -> String {
    let mut number = number.to_vec();
    let mut out = vec![b'0'; width];
    for place in out.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *place = DIGITS.get(remainder as usize).copied().unwrap_or(b'0');
    }
    out.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_parses_and_no_changed_character_does() {
        let new = create([7; 9], [0xf3; 32]);
        let key = new.key.expose();
        assert_eq!(key.len(), KEY_BYTES);
        let parsed = parse(key).unwrap();
        assert_eq!((parsed.id, hex(&parsed.sha256)), (new.id.as_str(), new.sha256.clone()));
        for at in 0..key.len() {
            let mut other = key.to_owned().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            assert!(parse(std::str::from_utf8(&other).unwrap()).is_none(), "changed at {at}");
        }
        assert!(parse(&format!("{key}0")).is_none());
    }
}
