//! How is a document kept so that only its place, and only with its organisation's key, gives it back?
//!
//! It is sealed ([`sealing`]) with its organisation's key. What a document is bound to, its owner, kind, id, version,
//! revision and key, is authenticated with it: moved or renumbered, it does not open. The organisations' keys are
//! sealed the same way under the master key.
//!
//! It does not hide how long a document is, what it is called, or that one was put back as it was before.

use super::error::StoreError;
use super::names::{Kind, Owner, ResourceId};
use crate::sealing::{self, Unsealable};
use crate::sources;
use palisade_filters::documents::SecretRef;
use palisade_filters::secret::Secret;
use ring::hkdf;
use std::fmt::{self, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// The layout of sealed bytes; another one gets another number.
const FORMAT: u8 = 1;
/// AES-256.
const KEY_BYTES: usize = 32;
/// Names a key; random, so that no two have one.
const KEY_ID_BYTES: usize = 16;
/// Format and key id.
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES;
/// Keeps what is derived here apart from what anybody else may derive from the same key.
const CONTEXT: &[u8] = b"palisade store 1";

/// The name of a key: it says which one is needed, and nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KEY_ID_BYTES]);

impl KeyId {
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// A key in memory, overwritten when it is dropped.
#[derive(Clone)]
pub(super) struct Key {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl Key {
    /// A new one.
    pub(super) fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let mut id = [0; KEY_ID_BYTES];
        getrandom::fill(bytes.as_mut()).map_err(StoreError::Random)?;
        getrandom::fill(&mut id).map_err(StoreError::Random)?;
        Ok(Self { id: KeyId(id), bytes })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// Seals a text for one place.
    pub(super) fn seal(&self, place: &Place<'_>, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let head = [&[FORMAT], &self.id.0[..]].concat();
        let sealed = sealing::seal(self.bytes.as_ref(), CONTEXT, &place.bound(self.id), &head, text);
        sealed.map_err(|why| match why {
            Unsealable::Random(error) => StoreError::Random(error),
            Unsealable::TooLong => {
                StoreError::Inconsistent { place: "memory".to_owned(), what: Unsealable::TooLong.to_string() }
            }
        })
    }

    /// Opens what was sealed for this place with this key; none: it was not.
    pub(super) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (head, rest) = sealed.split_at_checked(HEAD_BYTES)?;
        if head.strip_prefix(&[FORMAT])? != self.id.0 {
            return None;
        }
        sealing::open(self.bytes.as_ref(), CONTEXT, &place.bound(self.id), rest)
    }

    /// A secret of the owner for what is not sealed here, 64 hexadecimal digits; another purpose has another one. It
    /// says nothing of the key, and ends with it.
    pub(super) fn secret(&self, purpose: &[u8]) -> Result<Secret, StoreError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let root =
            hkdf::Salt::new(hkdf::HKDF_SHA256, b"palisade secret of an owner").extract(self.bytes.as_ref());
        let derived = root.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|out| out.fill(bytes.as_mut()));
        derived.map_err(|_| StoreError::Inconsistent {
            place: "memory".to_owned(),
            what: "a key that nothing is derived from".to_owned(),
        })?;
        Ok(Secret::new(bytes.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })))
    }
}

/// The key that sealed bytes name; none: they are no sealed bytes.
pub(super) fn key_of(sealed: &[u8]) -> Option<KeyId> {
    KeyId::new(sealed.strip_prefix(&[FORMAT])?.get(..KEY_ID_BYTES)?)
}

/// What sealed bytes are bound to.
pub(super) enum Place<'a> {
    /// The key of an owner.
    Key(&'a Owner, KeyId),
    /// A document.
    Document { owner: &'a Owner, kind: &'a Kind, id: &'a ResourceId, version: u64, revision: u64 },
    /// A memo.
    Memo {
        owner: &'a Owner,
        kind: &'a Kind,
        id: &'a ResourceId,
        about: &'a ResourceId,
        version: u64,
        expires: u64,
    },
}

impl Place<'_> {
    /// Texts with their lengths, so that no two places read the same.
    fn bound(&self, key: KeyId) -> Vec<u8> {
        let mut out = vec![FORMAT];
        let mut text = |part: &[u8]| {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part);
        };
        text(&key.0);
        match self {
            Place::Key(owner, id) => {
                text(b"key");
                text(owner.column().as_bytes());
                text(&id.0);
            }
            Place::Document { owner, kind, id, version, revision } => {
                text(b"document");
                text(owner.column().as_bytes());
                text(kind.as_str().as_bytes());
                text(id.as_str().as_bytes());
                text(&version.to_be_bytes());
                text(&revision.to_be_bytes());
            }
            Place::Memo { owner, kind, id, about, version, expires } => {
                text(b"memo");
                text(owner.column().as_bytes());
                text(kind.as_str().as_bytes());
                text(id.as_str().as_bytes());
                text(about.as_str().as_bytes());
                text(&version.to_be_bytes());
                text(&expires.to_be_bytes());
            }
        }
        out
    }
}

/// The key over all keys. It is read from a file or the environment, and never stored.
pub struct MasterKey(Key);

impl fmt::Debug for MasterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "MasterKey({})", self.0.id)
    }
}

impl MasterKey {
    /// Takes 64 hexadecimal digits. Its id is derived from it, so that the wrong one is recognised.
    pub fn new(digits: &str) -> Result<Self, StoreError> {
        let wrong = || {
            let asked = "it is not 64 hexadecimal digits; make one with `openssl rand -hex 32`";
            StoreError::MasterKey(asked.to_owned())
        };
        let digits = digits.as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return Err(wrong());
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let mut value = 0;
            for digit in pair {
                value = value << 4 | char::from(*digit).to_digit(16).ok_or_else(wrong)?;
            }
            *byte = value as u8;
        }
        let mut id = [0; 32];
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"palisade master key id").extract(bytes.as_ref());
        let named = root.expand(&[CONTEXT], hkdf::HKDF_SHA256).and_then(|named| named.fill(&mut id));
        named.map_err(|_| wrong())?;
        let id = id.first_chunk().copied().ok_or_else(wrong)?;
        Ok(Self(Key { id: KeyId(id), bytes }))
    }

    /// Reads it where an admin keeps it; a file's path is relative to `folder`.
    pub fn read(from: &SecretRef, folder: &Path) -> Result<Self, StoreError> {
        let secret = sources::secret(from, folder).map_err(StoreError::MasterKey)?;
        Self::new(secret.expose())
    }

    /// Its name, which says nothing of it.
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// Seals an owner's key.
    pub(super) fn wrap(&self, owner: &Owner, key: &Key) -> Result<Vec<u8>, StoreError> {
        self.0.seal(&Place::Key(owner, key.id), key.bytes.as_ref())
    }

    /// Opens an owner's key.
    pub(super) fn unwrap(&self, owner: &Owner, id: KeyId, wrapped: &[u8]) -> Result<Key, StoreError> {
        let damaged = || StoreError::KeyDamaged { owner: owner.clone(), key: id };
        let stored = key_of(wrapped).ok_or_else(damaged)?;
        if stored != self.0.id {
            return Err(StoreError::WrongMasterKey { stored, given: self.0.id });
        }
        let opened = self.0.open(&Place::Key(owner, id), wrapped).ok_or_else(damaged)?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if opened.len() != bytes.len() {
            return Err(damaged());
        }
        bytes.copy_from_slice(&opened);
        Ok(Key { id, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::OrganisationId;
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner::Organisation(OrganisationId::new(name).unwrap())
    }

    fn place<'a>(owner: &'a Owner, kind: &'a Kind, id: &'a ResourceId) -> Place<'a> {
        Place::Document { owner, kind, id, version: 1, revision: 1 }
    }

    #[test]
    fn any_bit_that_changes_is_noticed() {
        let key = Key::random().unwrap();
        let (acme, kind, id) = (owner("acme"), Kind::new("groups").unwrap(), ResourceId::new("a").unwrap());
        let sealed = key.seal(&place(&acme, &kind, &id), b"{\"secret\":1}").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(key.open(&place(&acme, &kind, &id), &sealed).unwrap().as_slice(), b"{\"secret\":1}");
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(key.open(&place(&acme, &kind, &id), &changed).is_none(), "bit {at}");
        }
        for cut in 0..sealed.len() {
            assert!(key.open(&place(&acme, &kind, &id), &sealed[..cut]).is_none(), "cut at {cut}");
        }
    }

    /// Made by another implementation: what stores hold already has this form.
    #[test]
    fn what_stands_in_stores_still_opens() {
        let digits = "010b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e\
                      1f1a440caefdf2ca13576a16a2ea9d9bd6cecbcd829e4bdd9d65e3585a";
        let digits = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let sealed: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let key = Key { id: KeyId([11; KEY_ID_BYTES]), bytes: Zeroizing::new([7; KEY_BYTES]) };
        let (acme, kind, id) = (owner("acme"), Kind::new("groups").unwrap(), ResourceId::new("a").unwrap());
        assert_eq!(key.open(&place(&acme, &kind, &id), &sealed).unwrap().as_slice(), b"{\"name\":\"a\"}");
    }

    #[test]
    fn what_was_sealed_for_one_place_opens_in_no_other() {
        let key = Key::random().unwrap();
        let (acme, ab, b) = (owner("acme"), Kind::new("ab").unwrap(), ResourceId::new("b").unwrap());
        let sealed = key.seal(&place(&acme, &ab, &b), b"1").unwrap();
        let (a, bb, other) = (Kind::new("a").unwrap(), ResourceId::new("bb").unwrap(), owner("other"));
        assert!(key.open(&place(&acme, &a, &bb), &sealed).is_none(), "the border of kind and id is bound");
        assert!(key.open(&place(&other, &ab, &b), &sealed).is_none());
        for (version, revision) in [(2, 1), (1, 2)] {
            let moved = Place::Document { owner: &acme, kind: &ab, id: &b, version, revision };
            assert!(key.open(&moved, &sealed).is_none());
        }
        assert!(Key::random().unwrap().open(&place(&acme, &ab, &b), &sealed).is_none());
    }

    #[test]
    fn a_wrong_master_key_is_told_from_a_damaged_key() {
        let (one, two) =
            (MasterKey::new(&"1a".repeat(32)).unwrap(), MasterKey::new(&"2b".repeat(32)).unwrap());
        let (acme, key) = (owner("acme"), Key::random().unwrap());
        let wrapped = one.wrap(&acme, &key).unwrap();
        assert!(one.unwrap(&acme, key.id, &wrapped).is_ok_and(|again| again.bytes == key.bytes));
        let wrong = two.unwrap(&acme, key.id, &wrapped).err().unwrap();
        assert!(
            matches!(wrong, StoreError::WrongMasterKey { stored, given } if (stored, given) == (one.id(), two.id()))
        );
        let swapped = one.unwrap(&owner("other"), key.id, &wrapped).err().unwrap();
        assert!(matches!(swapped, StoreError::KeyDamaged { .. }), "{swapped}");
        for text in ["", "1a", &"1g".repeat(32), &"1a".repeat(33)] {
            assert!(MasterKey::new(text).unwrap_err().to_string().contains("openssl rand -hex 32"));
        }
    }
}
