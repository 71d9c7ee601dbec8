//! Where does a second writer write, while the first one is still at it? In a folder beside it, of the same spool.
//!
//! ```text
//! spool/                  the first shelf: segments and a lock
//! spool/beside-1/         the second, used while a process hands over to the next
//! ```
//!
//! Needs the spool's directory. Proves that each shelf has one writer, by its lock, and that the shelves of a spool
//! are found again by whoever reads or measures it. Numbers of events count within a shelf. Does not: move events
//! from one to another.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::segment;

/// Shelves beside the first: processes that may drain at the same time.
const BESIDE_MAX: u32 = 8;
const PREFIX: &str = "beside-";

/// Name of a shelf below the spool's directory; the first one is the directory itself.
pub(super) fn name(shelf: u32) -> String {
    if shelf == 0 { String::new() } else { format!("{PREFIX}{shelf}") }
}

/// Its folder.
pub(super) fn directory(spool: &Path, shelf: u32) -> PathBuf {
    if shelf == 0 { spool.to_owned() } else { spool.join(name(shelf)) }
}

/// Takes the first shelf that nobody writes to; only the first of all, unless the spool is shared.
pub(super) fn take(spool: &Path, is_shared: bool) -> Result<(PathBuf, File), TryLockError> {
    let last = if is_shared { BESIDE_MAX } else { 0 };
    for shelf in 0..=last {
        let directory = directory(spool, shelf);
        segment::make_directory(&directory).map_err(TryLockError::Error)?;
        match segment::lock(&directory) {
            Ok(lock) => return Ok((directory, lock)),
            Err(TryLockError::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Err(TryLockError::WouldBlock)
}

/// The shelves that are there.
pub(super) fn all(spool: &Path) -> impl Iterator<Item = u32> + use<'_> {
    (0..=BESIDE_MAX).filter(|shelf| *shelf == 0 || directory(spool, *shelf).is_dir())
}

/// Bytes of all segments on all shelves.
pub(super) fn bytes(spool: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for shelf in all(spool) {
        bytes += segment::list(&directory(spool, shelf))?.iter().map(|(_, bytes)| bytes).sum::<u64>();
    }
    Ok(bytes)
}

/// Path of a segment below the spool's directory.
pub(super) fn path(shelf: u32, first: u64) -> PathBuf {
    Path::new(&name(shelf)).join(segment::name(first))
}
