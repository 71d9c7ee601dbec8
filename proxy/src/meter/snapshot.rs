//! What was used before this process began? The counters in a file, written whole and read back at the start.
//!
//! Two files: the newest state and the one before it. Each is written beside its place, brought to the disk, and
//! renamed, so that a crash leaves one of them whole. A damaged one is never read as nothing: the one before stands in
//! for it, and where there is none, the process does not start, because budgets that are spent would be open again.
//!
//! The layout, all numbers little-endian: `PALMETER`, version (4 bytes), owner (16), number of counters (8), then for
//! each its organisation, counter, window's kind (8 bytes each), window, current, previous (8 each), and the CRC-32
//! of everything before it (4).

use super::counters::Counter;
use palisade_filters::quota::{CounterId, Window};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"PALMETER";
const VERSION: u32 = 1;
/// What the name of a file begins with while it is written; its writer follows.
const UNFINISHED: &str = ".counters.";
/// Magic, version, owner, number.
const HEAD_BYTES: usize = 8 + 4 + 16 + 8;
const COUNTER_BYTES: usize = 6 * 8;
const CHECKSUM_BYTES: usize = 4;

/// Where counters are kept.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// Who writes: a second process on the same folder takes over, and the first one notices.
    owner: Uuid,
}

/// Why counters cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The system would not let it.
    #[error("`{0}`: {1}")]
    System(PathBuf, io::Error),
    /// What is there is not what was written, and there is nothing else.
    #[error(
        "the counters of budgets in `{path}` cannot be used: {flaw}; restore the file, or move it away to let all \
         budgets of this day and month begin at zero"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// Another process writes here now.
    #[error("another process has taken over the counters in `{0}`")]
    TakenOver(PathBuf),
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// Too short, or of another kind.
    #[error("it is no file of counters")]
    Kind,
    /// From the future.
    #[error("it was written by another version ({0})")]
    Version(u32),
    /// Cut off, or longer than it says.
    #[error("it has {found} bytes instead of {stated}")]
    Length {
        /// Bytes that its head announces.
        stated: u64,
        /// Bytes that are there.
        found: usize,
    },
    /// Changed.
    #[error("its checksum does not match")]
    Checksum,
    /// A window that does not exist.
    #[error("it counts over an unknown time")]
    Window,
}

/// Counters as a file holds them.
pub(super) type Rows = Vec<(CounterId, Counter)>;

impl Files {
    /// The files of a folder, which is made if it is not there.
    pub(super) fn open(folder: PathBuf) -> Result<Self, SnapshotError> {
        fs::create_dir_all(&folder).map_err(|error| SnapshotError::System(folder.clone(), error))?;
        Ok(Self { folder, owner: Uuid::now_v7() })
    }

    /// Removes what others began to write and did not finish: they crashed, or write here no more.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let owner = name.and_then(|name| name.strip_prefix(UNFINISHED)).map(Uuid::parse_str);
            if matches!(owner, Some(Ok(owner)) if owner != self.owner) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn newest(&self) -> PathBuf {
        self.folder.join("counters")
    }

    fn before(&self) -> PathBuf {
        self.folder.join("counters.before")
    }

    /// Reads the newest state that is whole; a damaged one before it is set aside. Says what was set aside.
    pub(super) fn load(&self) -> Result<(Rows, Option<SnapshotError>), SnapshotError> {
        let mut damaged = None;
        for path in [self.newest(), self.before()] {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(SnapshotError::System(path, error)),
            };
            match decode(&bytes) {
                Ok((_, rows)) => {
                    self.set_aside(damaged.as_ref())?;
                    return Ok((rows, damaged));
                }
                Err(flaw) => damaged = damaged.or(Some(SnapshotError::Damaged { path, flaw })),
            }
        }
        damaged.map_or_else(|| Ok((Vec::new(), None)), Err)
    }

    /// Moves a damaged file out of the way, so that it can be looked at and is not written over.
    fn set_aside(&self, damaged: Option<&SnapshotError>) -> Result<(), SnapshotError> {
        let Some(SnapshotError::Damaged { path, .. }) = damaged else { return Ok(()) };
        let aside = self.folder.join(format!("counters.damaged.{}", self.owner));
        fs::rename(path, aside).map_err(|error| SnapshotError::System(path.clone(), error))
    }

    /// Writes a state in the place of the former.
    pub(super) fn save(&self, rows: &Rows, is_first: bool) -> Result<(), SnapshotError> {
        let (newest, before) = (self.newest(), self.before());
        if !is_first && !self.is_ours()? {
            return Err(SnapshotError::TakenOver(newest));
        }
        if is_first && let Err(error) = self.remove_unfinished() {
            tracing::warn!(%error, folder = %self.folder.display(), "what a crash left is not removed");
        }
        let beside = self.folder.join(format!("{UNFINISHED}{}", self.owner));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&encode(self.owner, rows))?;
            file.sync_data()
        });
        written.map_err(|error| SnapshotError::System(beside.clone(), error))?;
        match fs::rename(&newest, &before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SnapshotError::System(newest, error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::rename(&beside, &newest).map_err(|error| SnapshotError::System(newest, error))
    }

    /// Whether the state that is there is this process's own; one that is gone is nobody's.
    fn is_ours(&self) -> Result<bool, SnapshotError> {
        let path = self.newest();
        let mut head = [0; HEAD_BYTES];
        let read = File::open(&path).and_then(|mut file| io::Read::read_exact(&mut file, &mut head));
        match read {
            Ok(()) => Ok(head.get(12..28) == Some(self.owner.as_bytes().as_slice())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(SnapshotError::System(path, error)),
        }
    }
}

fn encode(owner: Uuid, rows: &Rows) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + rows.len() * COUNTER_BYTES + CHECKSUM_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(owner.as_bytes());
    out.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    for (id, counter) in rows {
        let kind = match counter.over {
            Window::AtOnce => 0,
            Window::Minute => 1,
            Window::Day => 2,
            Window::Month => 3,
        };
        let Counter { window, current, previous, .. } = *counter;
        for number in [id.organisation, id.counter, kind, window, current, previous] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

fn decode(bytes: &[u8]) -> Result<(Uuid, Rows), Flaw> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Flaw::Kind)?;
    let (magic, head) = head.split_first_chunk::<8>().ok_or(Flaw::Kind)?;
    let (version, head) = head.split_first_chunk::<4>().ok_or(Flaw::Kind)?;
    let (owner, count) = head.split_first_chunk::<16>().ok_or(Flaw::Kind)?;
    let count = count.first_chunk::<8>().map(|count| u64::from_le_bytes(*count)).ok_or(Flaw::Kind)?;
    if magic != MAGIC {
        return Err(Flaw::Kind);
    }
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(Flaw::Version(version));
    }
    let stated =
        count.saturating_mul(COUNTER_BYTES as u64).saturating_add((HEAD_BYTES + CHECKSUM_BYTES) as u64);
    if bytes.len() as u64 != stated {
        return Err(Flaw::Length { stated, found: bytes.len() });
    }
    let (counters, checksum) = rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Flaw::Kind)?;
    let summed = bytes.get(..bytes.len() - CHECKSUM_BYTES).unwrap_or_default();
    if crc32fast::hash(summed) != u32::from_le_bytes(*checksum) {
        return Err(Flaw::Checksum);
    }
    let rows = counters.as_chunks::<COUNTER_BYTES>().0.iter().map(counter).collect::<Result<_, _>>()?;
    Ok((Uuid::from_bytes(*owner), rows))
}

fn counter(bytes: &[u8; COUNTER_BYTES]) -> Result<(CounterId, Counter), Flaw> {
    let mut numbers = bytes.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
    let mut next = || numbers.next().ok_or(Flaw::Kind);
    let id = CounterId { organisation: next()?, counter: next()? };
    let over = match next()? {
        0 => Window::AtOnce,
        1 => Window::Minute,
        2 => Window::Day,
        3 => Window::Month,
        _ => return Err(Flaw::Window),
    };
    Ok((id, Counter { over, window: next()?, current: next()?, previous: next()? }))
}
