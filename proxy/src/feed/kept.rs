//! What does a proxy know when it starts and nobody answers? What it read last, sealed on its disk.
//!
//! Owners lie in 256 files by a hash of their names, each sealed whole with the proxy's private key
//! ([`palisade_control::sealing`]). A changed file is a new one, named by its own hash; then `position` is replaced,
//! which says which files are meant, and how far the feed was heard with them. So what is there is from one moment,
//! whenever the process ends, and nobody puts one of them back or takes one away.
//!
//! Needs the proxy's key; proves that what is opened is what this proxy once wrote in that file. What it does not: hide
//! how much there is, or notice that all files were put back to an earlier moment; how old that may be,
//! `max_staleness` says.

use palisade_control::feed::wire;
use palisade_control::follow::Reading;
use palisade_control::sealing;
use palisade_control::store::{OrganisationId, Owner};
use palisade_filters::api_key::hex;
use parking_lot::Mutex;
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
/// Files that are written at once: nothing is heard of meanwhile.
const SHARDS_AT_ONCE: usize = 8;
/// Keeps what is derived here apart from what anybody else may derive from the same key.
const CONTEXT: &[u8] = b"palisade state of a proxy 1";

/// Why nothing is kept, or there is no state to start from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// There never was one, or it was not whole yet.
    #[error("nothing was kept yet")]
    Nothing,
    /// It is another proxy's, or was changed.
    #[error("`{0}` was not written by this proxy, or was changed since; it is not used")]
    Foreign(PathBuf),
    /// Another process began anew there, or somebody took it away.
    #[error("what this process kept in `{0}` is not there any more")]
    Replaced(PathBuf),
    /// The system refused.
    #[error("`{0}`: {1}")]
    Io(PathBuf, io::Error),
}

/// How far what is kept goes, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: u64,
    /// Seconds since 1970.
    pub(crate) heard: u64,
}

/// What is meant of what lies there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Index {
    /// Who began it: what others began is not gone on with unread.
    begun: String,
    /// None, until everything was read once.
    position: Option<u64>,
    heard: u64,
    /// The SHA-256 of each file, which is part of its name.
    files: BTreeMap<usize, String>,
}

type Shard = BTreeMap<String, wire::There>;

/// The state on the disk.
pub(crate) struct Kept {
    folder: PathBuf,
    /// Held while files are written.
    state: Mutex<State>,
}

struct State {
    key: Zeroizing<Vec<u8>>,
    begun: String,
    /// Whether something of that was written.
    is_there: bool,
    /// What was read and is not in the files yet; nothing: it is gone.
    pending: BTreeMap<String, Option<wire::There>>,
}

/// What was kept, in memory.
pub(crate) struct Recalled {
    pub(crate) place: Place,
    owners: Shard,
}

impl Kept {
    pub(crate) fn new(data_dir: &Path, key: &[u8]) -> Self {
        let key = Zeroizing::new(key.to_vec());
        let state = State { key, begun: String::new(), is_there: false, pending: BTreeMap::new() };
        Self { folder: data_dir.join(FOLDER), state: Mutex::new(state) }
    }

    /// All of it, to go on with.
    pub(crate) fn recall(&self) -> Result<Recalled, Unusable> {
        let mut state = self.state.lock();
        let _turn = self.turn()?;
        let index = self.index(&state)?.ok_or(Unusable::Nothing)?;
        let position = index.position.ok_or(Unusable::Nothing)?;
        let mut owners = Shard::new();
        for at in 0..SHARDS {
            owners.append(&mut self.shard(&state, &index, at)?);
        }
        (state.begun, state.is_there) = (index.begun, true);
        Ok(Recalled { place: Place { position, heard: index.heard }, owners })
    }

    /// Everything is about to be read: nothing of before is kept, and what is there belongs to this key.
    pub(crate) fn begin(&self, key: &[u8]) -> Result<(), Unusable> {
        let mut state = self.state.lock();
        let mut begun = [0; 16];
        let unnamed = |error| Unusable::Io(self.folder.clone(), io::Error::other(error));
        getrandom::fill(&mut begun).map_err(unnamed)?;
        let key = Zeroizing::new(key.to_vec());
        *state = State { key, begun: hex(&begun), is_there: false, pending: BTreeMap::new() };
        let _turn = self.turn()?;
        remove(&self.folder, |name| name == LOCK)
    }

    /// Takes note of what was read; it is in the files with the next [`flush`](Self::flush).
    pub(crate) fn note(&self, readings: &[(Owner, Reading)]) {
        let pending = &mut self.state.lock().pending;
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
        self.state.lock().pending.len()
    }

    /// Writes as much of what was noted as does not take long, and with the last of it the position, if all up to there
    /// is noted. What is [`pending`](Self::pending) then, and what fails, is written the next time.
    pub(crate) fn flush(&self, whole: Option<u64>, at: SystemTime) -> Result<(), Unusable> {
        let mut state = self.state.lock();
        // While one process takes over from another, both write.
        let _turn = self.turn()?;
        let mut index = match self.index(&state)? {
            Some(index) if index.begun == state.begun => index,
            None if !state.is_there => {
                Index { begun: state.begun.clone(), position: None, heard: 0, files: BTreeMap::new() }
            }
            Some(_) | None => return Err(Unusable::Replaced(self.folder.clone())),
        };
        let mut by_shard: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for name in state.pending.keys() {
            by_shard.entry(shard(name)).or_default().push(name.clone());
        }
        let is_all = by_shard.len() <= SHARDS_AT_ONCE;
        let at_once: Vec<_> = by_shard.into_iter().take(SHARDS_AT_ONCE).collect();
        for (at, names) in &at_once {
            let mut known = self.shard(&state, &index, *at)?;
            for name in names {
                match state.pending.get(name) {
                    Some(Some(there)) => drop(known.insert(name.clone(), there.clone())),
                    Some(None) | None => drop(known.remove(name)),
                }
            }
            let text = Zeroizing::new(serde_json::to_vec(&known).unwrap_or_default());
            let sealed = self.seal(&state, &at.to_string(), &text)?;
            let sha256 = hex(&Sha256::digest(&sealed));
            self.write(&file(*at, &sha256), &sealed)?;
            index.files.insert(*at, sha256);
        }
        // On the disk before what names them is.
        sync(&self.folder)?;
        if whole.is_some() && is_all {
            index.position = whole;
            index.heard = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        }
        let sealed = self.seal(&state, POSITION, &serde_json::to_vec(&index).unwrap_or_default())?;
        self.write(POSITION, &sealed)?;
        sync(&self.folder)?;
        for name in at_once.iter().flat_map(|(_, names)| names) {
            state.pending.remove(name);
        }
        state.is_there = true;
        let meant: BTreeSet<String> = index.files.iter().map(|(at, sha256)| file(*at, sha256)).collect();
        remove(&self.folder, |name| [LOCK, POSITION].contains(&name) || meant.contains(name))
    }

    /// Destroys everything: this proxy was shown the door.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.pending.clear();
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn turn(&self) -> Result<std::fs::File, Unusable> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.folder.join(LOCK);
        let failed = |error| Unusable::Io(path.clone(), error);
        make_folder(&self.folder).map_err(failed)?;
        let mut options = std::fs::File::options();
        let file = options.create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn index(&self, state: &State) -> Result<Option<Index>, Unusable> {
        let Some(sealed) = self.read(POSITION)? else { return Ok(None) };
        let text = self.open(state, POSITION, POSITION, &sealed)?;
        let index = serde_json::from_slice(&text);
        index.map(Some).map_err(|_| Unusable::Foreign(self.folder.join(POSITION)))
    }

    fn shard(&self, state: &State, index: &Index, at: usize) -> Result<Shard, Unusable> {
        let Some(sha256) = index.files.get(&at) else { return Ok(Shard::new()) };
        let name = file(at, sha256);
        let foreign = || Unusable::Foreign(self.folder.join(&name));
        let sealed = self.read(&name)?.ok_or_else(foreign)?;
        if hex(&Sha256::digest(&sealed)) != *sha256 {
            return Err(foreign());
        }
        let text = self.open(state, &at.to_string(), &name, &sealed)?;
        serde_json::from_slice(&text).map_err(|_| foreign())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Unusable> {
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unusable::Io(path, error)),
        }
    }

    fn write(&self, name: &str, sealed: &[u8]) -> Result<(), Unusable> {
        let path = self.folder.join(name);
        write_whole(&self.folder, &path, &[sealed]).map_err(|error| Unusable::Io(path, error))
    }

    /// Seals a text for what it is of.
    fn seal(&self, state: &State, of: &str, text: &[u8]) -> Result<Vec<u8>, Unusable> {
        let sealed = sealing::seal(&state.key, CONTEXT, of.as_bytes(), &[], text);
        sealed.map_err(|error| Unusable::Io(self.folder.clone(), io::Error::other(error)))
    }

    fn open(
        &self,
        state: &State,
        of: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unusable> {
        let opened = sealing::open(&state.key, CONTEXT, of.as_bytes(), sealed);
        opened.ok_or_else(|| Unusable::Foreign(self.folder.join(name)))
    }
}

fn shard(owner: &str) -> usize {
    Sha256::digest(owner.as_bytes()).first().copied().map_or(0, usize::from) % SHARDS
}

/// What a file is called.
fn file(at: usize, sha256: &str) -> String {
    format!("{at:02x}-{}", sha256.get(..16).unwrap_or_default())
}

/// Removes files of a folder but those that are to stay.
fn remove(folder: &Path, stays: impl Fn(&str) -> bool) -> Result<(), Unusable> {
    let failed = |error| Unusable::Io(folder.to_owned(), error);
    for found in std::fs::read_dir(folder).map_err(failed)? {
        let found = found.map_err(failed)?;
        if !found.file_name().to_str().is_some_and(&stays) {
            std::fs::remove_file(found.path()).map_err(failed)?;
        }
    }
    Ok(())
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
mod tests;
