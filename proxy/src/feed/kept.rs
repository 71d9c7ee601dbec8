//! What does a proxy know when it starts and nobody answers? What it read last, sealed on its disk.
//!
//! Owners lie in 256 files by a hash of their names, each sealed whole (AES-256-GCM under a key that HKDF-SHA256
//! derives from the proxy's private key for the file and a salt of its own) and replaced by renaming. The position of
//! the feed is written last, once all that was heard of up to there is in the files: it never says more than they hold.
//! With it stands when that was so.
//!
//! Needs the proxy's key; proves that what is opened is what this proxy once wrote in that file. What it does not: hide
//! how much there is, or notice that all files were put back to an earlier moment; how old that may be,
//! `max_staleness` says.

use palisade_control::feed::wire;
use palisade_control::follow::Reading;
use palisade_control::store::{OrganisationId, Owner};
use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// The folder's name in the data folder.
const FOLDER: &str = "state";
/// The file that is locked while others are written.
const LOCK: &str = "lock";
/// The file that says how far the others are.
const POSITION: &str = "position";
/// Files that owners are spread over.
const SHARDS: usize = 256;
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Keeps what is derived here apart from what anybody else may derive from the same key.
const CONTEXT: &[u8] = b"palisade state of a proxy 1";

/// Why there is no state to start from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// There never was one.
    #[error("nothing was kept yet")]
    Nothing,
    /// It is another proxy's, or was changed.
    #[error("`{0}` was not written by this proxy, or was changed since; it is not used")]
    Foreign(PathBuf),
    /// The system refused.
    #[error("`{0}`: {1}")]
    Io(PathBuf, io::Error),
}

/// How far the files are, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) position: u64,
    /// Seconds since 1970.
    pub(crate) heard: u64,
}

type Shard = BTreeMap<String, wire::There>;

/// The state on the disk.
pub(crate) struct Kept {
    folder: PathBuf,
    key: Mutex<Zeroizing<Vec<u8>>>,
    /// What was read and is not in the files yet; nothing: it is gone. Held while files are written.
    pending: Mutex<BTreeMap<String, Option<wire::There>>>,
}

/// What was kept, in memory.
pub(crate) struct Recalled {
    pub(crate) place: Place,
    owners: Shard,
}

impl Kept {
    pub(crate) fn new(data_dir: &Path, key: &[u8]) -> Self {
        let (folder, key) = (data_dir.join(FOLDER), Mutex::new(Zeroizing::new(key.to_vec())));
        Self { folder, key, pending: Mutex::default() }
    }

    /// From now on, it is this proxy's.
    pub(crate) fn set_key(&self, key: &[u8]) {
        *self.key.lock() = Zeroizing::new(key.to_vec());
    }

    /// All of it.
    pub(crate) fn recall(&self) -> Result<Recalled, Unusable> {
        let text = self.open(POSITION)?.ok_or(Unusable::Nothing)?;
        let foreign = |name: &str| Unusable::Foreign(self.folder.join(name));
        let place = serde_json::from_slice(&text).map_err(|_| foreign(POSITION))?;
        let mut owners = Shard::new();
        for at in 0..SHARDS {
            owners.append(&mut self.shard(at)?);
        }
        Ok(Recalled { place, owners })
    }

    /// Takes note of what was read; it is in the files with the next [`flush`](Self::flush).
    pub(crate) fn note(&self, readings: &[(Owner, Reading)]) {
        let mut pending = self.pending.lock();
        for (owner, reading) in readings {
            let name = wire::owner_name(owner);
            match wire::Owned::from((owner.clone(), reading.clone())).found {
                wire::Found::There(there) => drop(pending.insert(name, Some(there))),
                wire::Found::Gone | wire::Found::Lost { .. } => drop(pending.insert(name, None)),
                // What it had before is its last good state.
                wire::Found::Unread { .. } => {}
            }
        }
    }

    /// How many owners were noted and are not in the files yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.lock().len()
    }

    /// Writes what was noted, and then, if all up to there is noted, the position. What fails is tried the next time.
    pub(crate) fn flush(&self, whole: Option<u64>, at: SystemTime) -> Result<(), Unusable> {
        let mut pending = self.pending.lock();
        // While one process takes over from another, both write.
        let _turn = self.turn()?;
        let mut by_shard: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
        for name in pending.keys() {
            by_shard.entry(shard(name)).or_default().push(name);
        }
        for (at, names) in by_shard {
            let mut known = self.shard(at)?;
            for name in names {
                match pending.get(name) {
                    Some(Some(there)) => drop(known.insert(name.clone(), there.clone())),
                    Some(None) | None => drop(known.remove(name)),
                }
            }
            let text = Zeroizing::new(serde_json::to_vec(&known).unwrap_or_default());
            self.seal(&file(at), &text)?;
        }
        // On the disk before the position is that says so.
        sync(&self.folder)?;
        pending.clear();
        let Some(position) = whole else { return Ok(()) };
        let heard = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = serde_json::to_vec(&Place { position, heard }).unwrap_or_default();
        self.seal(POSITION, &text)?;
        sync(&self.folder)
    }

    /// Destroys everything: this proxy was shown the door.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.pending.lock().clear();
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn turn(&self) -> Result<std::fs::File, Unusable> {
        let path = self.folder.join(LOCK);
        let failed = |error| Unusable::Io(path.clone(), error);
        make_folder(&self.folder).map_err(failed)?;
        let file = std::fs::File::options().create(true).append(true).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn shard(&self, at: usize) -> Result<Shard, Unusable> {
        let Some(text) = self.open(&file(at))? else { return Ok(Shard::new()) };
        serde_json::from_slice(&text).map_err(|_| Unusable::Foreign(self.folder.join(file(at))))
    }

    fn seal(&self, name: &str, text: &[u8]) -> Result<(), Unusable> {
        let path = self.folder.join(name);
        let failed = |error| Unusable::Io(path.clone(), error);
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| failed(io::Error::other(error)))?;
        let broken = |_| failed(io::Error::other("it cannot be sealed"));
        let (key, nonce) = self.derive(&salt).map_err(broken)?;
        let mut sealed = text.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut sealed).map_err(broken)?;
        write_whole(&self.folder, &path, &[&salt, &sealed]).map_err(failed)
    }

    fn open(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Unusable> {
        let path = self.folder.join(name);
        let sealed = match std::fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unusable::Io(path, error)),
        };
        let opened = sealed.split_at_checked(SALT_BYTES).and_then(|(salt, secret)| {
            let (key, nonce) = self.derive(salt).ok()?;
            let mut text = Zeroizing::new(secret.to_vec());
            let length = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text).ok()?.len();
            text.truncate(length);
            Some(text)
        });
        opened.map(Some).ok_or(Unusable::Foreign(path))
    }

    fn derive(&self, salt: &[u8]) -> Result<(LessSafeKey, Nonce), ring::error::Unspecified> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES + NONCE_BYTES]);
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.key.lock());
        root.expand(&[CONTEXT], Derived)?.fill(bytes.as_mut())?;
        let (key, nonce) = bytes.split_at(KEY_BYTES);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
        Ok((key, Nonce::try_assume_unique_for_key(nonce)?))
    }
}

/// How much is derived at once.
struct Derived;

impl hkdf::KeyType for Derived {
    fn len(&self) -> usize {
        KEY_BYTES + NONCE_BYTES
    }
}

fn shard(owner: &str) -> usize {
    Sha256::digest(owner.as_bytes()).first().copied().map_or(0, usize::from) % SHARDS
}

fn file(at: usize) -> String {
    format!("{at:02x}")
}

fn sync(path: &Path) -> Result<(), Unusable> {
    let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| Unusable::Io(path.to_owned(), error))
}

/// A folder for its owner alone.
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Replaces a file by one that is whole, and on the disk; the folder's own entry is so once the folder is synced.
pub(super) fn write_whole(folder: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    make_folder(folder)?;
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

impl Recalled {
    /// Its organisations behind an id: all of them at once.
    pub(crate) fn organisations(&self, after: Option<&OrganisationId>) -> Vec<OrganisationId> {
        let is_behind = |id: &OrganisationId| after.is_none_or(|after| id > after);
        let all = self.owners.keys().filter_map(|name| OrganisationId::new(name).ok());
        all.filter(is_behind).collect()
    }

    /// What owners have. It is taken out, as it is read once.
    pub(crate) fn take(&mut self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, wire::Nonsense> {
        let taken = owners.iter().map(|owner| {
            let name = wire::owner_name(owner);
            let found = self.owners.remove(&name).map_or(wire::Found::Gone, wire::Found::There);
            wire::Owned { owner: name, found }.try_into()
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_control::follow::Pieces;
    use palisade_filters::secret::Secret;

    fn owner(name: &str) -> Owner {
        Owner::Organisation(OrganisationId::new(name).unwrap())
    }

    fn there(secret: &str) -> Reading {
        Reading::There(Pieces { resources: Vec::new(), hash_secret: Some(Secret::new(secret.to_owned())) })
    }

    fn secret(reading: &Reading) -> Option<String> {
        let Reading::There(pieces) = reading else { return None };
        pieces.hash_secret.as_ref().map(|secret| secret.expose().to_owned())
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_kept_is_what_is_found_by_the_same_proxy_alone() {
        let room = tempfile::tempdir().unwrap();
        let kept = Kept::new(room.path(), b"the key of this proxy");
        assert!(matches!(kept.recall(), Err(Unusable::Nothing)));
        let names: Vec<String> = (0..600).map(|at| format!("org-{at}")).collect();
        let readings: Vec<_> = names.iter().map(|name| (owner(name), there(name))).collect();
        kept.note(&readings);
        kept.flush(None, at(1)).unwrap();
        assert!(matches!(kept.recall(), Err(Unusable::Nothing)), "it is not whole yet");
        kept.note(&[
            (owner("org-7"), Reading::Gone),
            (owner("org-8"), Reading::Lost("its key is gone".to_owned())),
            (owner("org-9"), Reading::Unread("it is broken".to_owned())),
        ]);
        assert_eq!(kept.pending(), 2);
        kept.flush(Some(42), at(7)).unwrap();
        assert_eq!(kept.pending(), 0);
        let again = Kept::new(room.path(), b"the key of this proxy");
        let mut recalled = again.recall().unwrap();
        assert_eq!(recalled.place, Place { position: 42, heard: 7 });
        let all = recalled.organisations(None);
        assert_eq!(all.len(), 598);
        assert_eq!(recalled.organisations(all.last()), []);
        let asked = ["org-7", "org-8", "org-9", "org-10"].map(owner);
        let read = recalled.take(&asked.into_iter().collect()).unwrap();
        let found: BTreeMap<String, Option<String>> =
            read.iter().map(|(owner, reading)| (wire::owner_name(owner), secret(reading))).collect();
        assert_eq!(found["org-7"], None);
        assert_eq!(found["org-8"], None);
        assert_eq!(found["org-9"].as_deref(), Some("org-9"), "its last good state");
        assert_eq!(found["org-10"].as_deref(), Some("org-10"));
        let other = Kept::new(room.path(), b"the key of another one");
        assert!(matches!(other.recall(), Err(Unusable::Foreign(_))));
        again.forget().unwrap();
        assert!(matches!(again.recall(), Err(Unusable::Nothing)));
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let room = tempfile::tempdir().unwrap();
        let kept = Kept::new(room.path(), b"the key of this proxy");
        kept.note(&[(owner("acme"), there("secret")), (owner("beta"), there("other"))]);
        kept.flush(Some(1), at(0)).unwrap();
        let (one, two) = (kept.folder.join(file(shard("acme"))), kept.folder.join(file(shard("beta"))));
        assert_ne!(one, two);
        for path in [kept.folder.join(POSITION), one.clone()] {
            let whole = std::fs::read(&path).unwrap();
            for word in [&b"position"[..], b"secret", b"acme"] {
                assert!(!whole.windows(word.len()).any(|part| part == word));
            }
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                std::fs::write(&path, &changed).unwrap();
                assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))), "byte {at}");
                std::fs::write(&path, &whole[..at]).unwrap();
                assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))), "cut at {at}");
            }
            std::fs::write(&path, &whole).unwrap();
        }
        assert!(kept.recall().is_ok());
        // A file in the place of another one.
        std::fs::copy(&one, &two).unwrap();
        assert!(matches!(kept.recall(), Err(Unusable::Foreign(_))));
    }

    #[test]
    fn what_cannot_be_written_is_written_later() {
        let room = tempfile::tempdir().unwrap();
        let kept = Kept::new(room.path(), b"the key of this proxy");
        // A file where the folder is to be.
        std::fs::write(room.path().join(FOLDER), "").unwrap();
        kept.note(&[(owner("acme"), there("secret"))]);
        assert!(matches!(kept.flush(Some(1), at(0)), Err(Unusable::Io(..))));
        assert_eq!(kept.pending(), 1);
        std::fs::remove_file(room.path().join(FOLDER)).unwrap();
        kept.flush(Some(2), at(0)).unwrap();
        assert_eq!(kept.recall().unwrap().place.position, 2);
    }
}
