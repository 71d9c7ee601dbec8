//! How does a large file get into memory? It does not: it is mapped, read-only, and the kernel fetches the pages that
//! are looked at. Opening takes microseconds whatever its size, processes share the pages, and a file that was
//! replaced stays readable until nobody holds it any more.
//!
//! This is one of the two modules of ours with `unsafe` in it, so here is the argument. A mapping is sound as long as
//! its bytes do not change, and Rust cannot keep another process from changing them. What holds here:
//!
//! - **We never write to a mapped file**, and hold no descriptor that could.
//! - **Files are replaced, not written into**: who updates one writes a new file beside it and renames it over the old
//!   (`mv`, which is what download tools and `palisade credint build` do). The mapping keeps the old file's inode, so
//!   its bytes stay; [`crate::watched`] sees the new inode and the file is mapped anew.
//! - **Bytes are only ever parsed**, with every offset checked against the length of the mapping. Nobody keeps a
//!   reference into it beyond a look-up, and none is taken for valid text or a valid structure on the strength of an
//!   earlier look.
//! - **Who may write the file is trusted**: it is the operator's, like the documents beside it, and whoever can write
//!   those has won anyway (threat model).
//!
//! What if somebody does write into one? *Overwritten in place* (`cp new old`): look-ups in that moment see a mixture,
//! and answer wrongly or with an error, which refuses where a policy asks; the change is seen within a second, said in
//! the log, and the file is read again. *Truncated*: the kernel has no page to give for what is gone, and the first
//! look at it ends the process with `SIGBUS`. Nothing is answered wrongly, and a supervisor starts it again; but
//! exchanges under way are lost. Hence the rule, which the documentation states beside every setting that names such a
//! file: **replace by rename**.
//!
//! Needs a path and the sizes that make sense; proves bytes of a regular file of such a size. It does not check what
//! they say.

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

/// The bytes of a file, without a copy. Mapped until it is dropped.
#[derive(Debug)]
pub(crate) struct Mapped {
    map: Mmap,
}

/// Why a file is not mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MapError {
    /// It is not there, or not ours to read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// A folder, a pipe or a device.
    #[error("it is no regular file")]
    NotAFile,
    /// Of a size that none of its kind has: empty, cut off, or something else altogether.
    #[error("it has {bytes} bytes; between {least} and {most} make sense")]
    Size {
        /// The file's.
        bytes: u64,
        /// The smallest that makes sense.
        least: u64,
        /// The largest.
        most: u64,
    },
}

impl From<io::Error> for MapError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl Mapped {
    /// Maps a file whose size in bytes lies within `sizes`.
    pub(crate) fn open(path: &Path, sizes: RangeInclusive<u64>) -> Result<Self, MapError> {
        // Asked before opening: a pipe that nobody writes to would be waited for, for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(MapError::NotAFile);
        }
        let file = File::open(path)?;
        // And of what was opened: the name may mean another file by now.
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(MapError::NotAFile);
        }
        let (bytes, least, most) = (metadata.len(), *sizes.start(), *sizes.end());
        if !sizes.contains(&bytes) {
            return Err(MapError::Size { bytes, least, most });
        }
        let length = usize::try_from(bytes).map_err(|_| MapError::Size { bytes, least, most })?;
        #[expect(unsafe_code, reason = "the head of this file argues why the bytes stay as they are")]
        // SAFETY: the mapping is private to this type, read-only and of the length that the file has now; that nobody
        // changes the file under it is what the head of this file rests on.
        let map = unsafe { MmapOptions::new().len(length).map(&file)? };
        Ok(Self { map })
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_replaced_stays_what_it_was() {
        let room = tempfile::tempdir().unwrap();
        let (path, beside) = (room.path().join("data"), room.path().join("data.new"));
        fs::write(&path, "first").unwrap();
        let mapped = Mapped::open(&path, 1..=16).unwrap();
        fs::write(&beside, "second").unwrap();
        fs::rename(&beside, &path).unwrap();
        assert_eq!(mapped.as_ref(), b"first");
        assert_eq!(Mapped::open(&path, 1..=16).unwrap().as_ref(), b"second");
        fs::remove_file(&path).unwrap();
        assert_eq!(mapped.as_ref(), b"first");
    }

    #[test]
    fn what_is_no_file_of_a_sane_size_is_not_mapped() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("data");
        let refused = |path: &Path| Mapped::open(path, 2..=4).unwrap_err().to_string();
        assert!(refused(&path).starts_with("it cannot be read: "));
        assert_eq!(refused(room.path()), "it is no regular file");
        assert_eq!(refused(Path::new("/dev/null")), "it is no regular file");
        for bytes in ["", "1", "12345"] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(refused(&path), format!("it has {} bytes; between 2 and 4 make sense", bytes.len()));
        }
        fs::write(&path, "1234").unwrap();
        assert_eq!(Mapped::open(&path, 2..=4).unwrap().as_ref(), b"1234");
        let pipe = room.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(refused(&pipe), "it is no regular file");
    }

    #[test]
    fn it_is_shared_between_threads() {
        fn shared<T: AsRef<[u8]> + Send + Sync>() {}
        shared::<Mapped>();
    }
}
