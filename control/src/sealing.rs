//! How is a text sealed, so that only its place, and only with its key, gives it back?
//!
//! AES-256-GCM under a key and nonce that are derived (HKDF-SHA256, RFC 5869) for each sealing from somebody's key and
//! 256 random bits: so no nonce comes twice under a key, and nobody has to count uses. A *purpose* keeps apart what is
//! derived of one key for different ends; what a text is *bound* to is authenticated with it: moved elsewhere, it does
//! not open. Does not: hide how long a text is, or notice that one was put back as it was before.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use zeroize::Zeroizing;

/// As many random bits as the derived key has.
const SALT_BYTES: usize = 32;
/// AES-256.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum Unsealable {
    /// The system has no random bytes.
    #[error("the system has no random bytes: {0}")]
    Random(getrandom::Error),
    /// No cipher takes so much.
    #[error("a text is too long to be sealed")]
    TooLong,
}

/// Seals a text behind a head that is not secret: the head, the salt, and what only `open` reads.
pub fn seal(
    key: &[u8],
    purpose: &[u8],
    bound: &[u8],
    head: &[u8],
    text: &[u8],
) -> Result<Vec<u8>, Unsealable> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(Unsealable::Random)?;
    let mut sealed = Vec::with_capacity(head.len() + SALT_BYTES + text.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(head);
    sealed.extend_from_slice(&salt);
    let begin = sealed.len();
    sealed.extend_from_slice(text);
    let (key, nonce) = derive(key, purpose, &salt).map_err(|_| Unsealable::TooLong)?;
    let secret = sealed.get_mut(begin..).unwrap_or_default();
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(bound), secret);
    sealed.extend_from_slice(tag.map_err(|_| Unsealable::TooLong)?.as_ref());
    Ok(sealed)
}

/// Opens what was sealed, without its head; none: it was not, or with another key, for another purpose or place.
pub fn open(key: &[u8], purpose: &[u8], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, secret) = sealed.split_at_checked(SALT_BYTES)?;
    let (key, nonce) = derive(key, purpose, salt).ok()?;
    let mut text = Zeroizing::new(secret.to_vec());
    let length = key.open_in_place(nonce, Aad::from(bound), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn derive(key: &[u8], purpose: &[u8], salt: &[u8]) -> Result<(LessSafeKey, Nonce), ring::error::Unspecified> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES + NONCE_BYTES]);
    let root = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    root.expand(&[purpose], Derived)?.fill(bytes.as_mut())?;
    let (key, nonce) = bytes.split_at(KEY_BYTES);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    Ok((key, Nonce::try_assume_unique_for_key(nonce)?))
}

/// How much is derived at once.
struct Derived;

impl hkdf::KeyType for Derived {
    fn len(&self) -> usize {
        KEY_BYTES + NONCE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"somebody's key";

    #[test]
    fn what_was_sealed_opens_with_its_key_for_its_purpose_in_its_place_and_unchanged() {
        let sealed = seal(KEY, b"notes", b"here", b"head", b"secret").unwrap();
        let (head, rest) = sealed.split_at(4);
        assert_eq!(head, b"head");
        assert_eq!(open(KEY, b"notes", b"here", rest).unwrap().as_slice(), b"secret");
        assert!(open(b"another", b"notes", b"here", rest).is_none());
        assert!(open(KEY, b"other notes", b"here", rest).is_none());
        assert!(open(KEY, b"notes", b"there", rest).is_none());
        for bit in 0..rest.len() * 8 {
            let mut changed = rest.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(KEY, b"notes", b"here", &changed).is_none(), "bit {bit}");
        }
        for cut in 0..rest.len() {
            assert!(open(KEY, b"notes", b"here", &rest[..cut]).is_none(), "cut at {cut}");
        }
        assert_ne!(seal(KEY, b"notes", b"here", b"head", b"secret").unwrap(), sealed, "no salt comes twice");
    }

    /// Made by another implementation of RFC 5869 and of AES-256-GCM: what lies on disks already has this form.
    #[test]
    fn what_was_sealed_before_still_opens() {
        let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f160e03bbb0e0895a557851beccc22194\
                      d2d930b331cd0c1775d6f3b2c37a05dcd96209ff6231";
        let sealed: Vec<u8> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let text = open(&[7; 32], b"palisade store 1", b"a place", &sealed).unwrap();
        assert_eq!(text.as_slice(), b"what was sealed before");
    }
}
