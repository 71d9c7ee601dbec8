//! Which files are the spool, and how does the last of them go on after a crash?
//!
//! A segment is `<number of its first event, 20 digits>.spool`, so that names sort in the order of events,
//! and the name of the next segment says how many events this one must hold.
//! Needs: the directory, and the lock on it. Proves: an existing byte is never written over; a tail without a
//! line end, which only a crash leaves, is cut off and reported; whole lines stay, damaged ones too, because
//! they are evidence. Does not: read events, or remove segments: whoever
//! has shipped them does, all but the last, which the writer holds and whose name keeps the count.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::{self, Line, READ_BYTES};

const SUFFIX: &str = ".spool";
/// Digits of `u64::MAX`.
const NAME_DIGITS: usize = 20;
/// Events say who asked what: nobody but the proxy's own user reads them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LOCK_NAME: &str = "lock";

/// The number of the first event of an empty spool.
pub(super) const FIRST: u64 = 1;

/// The file name of the segment that begins with event `first`.
pub(super) fn name(first: u64) -> String {
    format!("{first:0NAME_DIGITS$}{SUFFIX}")
}

/// First event and bytes of every segment, in order. Other files are none of our business.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Some(first) = entry.file_name().to_str().and_then(first_of) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) => segments.push((first, metadata.len())),
            // Shipped and removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

fn first_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Makes the directory if it is missing.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Takes the directory for one writer, until the file is dropped or the process ends, however it ends.
pub(super) fn lock(directory: &Path) -> Result<File, fs::TryLockError> {
    let mut options = OpenOptions::new();
    let file =
        options.create(true).truncate(false).write(true).mode(FILE_MODE).open(directory.join(LOCK_NAME));
    let file = file.map_err(fs::TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    directory: PathBuf,
    file: File,
    first: u64,
    /// Lines in it, so that `first + lines` is the number of the next event.
    lines: u64,
    /// Bytes of whole lines. What a failed write left behind them is cut off before the next one.
    bytes: u64,
    tail_unsure: bool,
    /// Device and inode: whether the name still leads to this file.
    identity: (u64, u64),
}

impl Segment {
    /// The last segment, repaired, or the first one of an empty spool.
    pub(super) fn resume(directory: &Path, last: Option<u64>) -> io::Result<Self> {
        match last {
            Some(first) => Self::recover(directory, first),
            None => Self::create(directory, FIRST),
        }
    }

    fn create(directory: &Path, first: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let path = directory.join(name(first));
        let file = options.append(true).create_new(true).mode(FILE_MODE).open(&path)?;
        // Without this a power cut can forget the name of a file whose bytes are safe.
        if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
            // The segment before it goes on then, so its number would soon be wrong.
            fs::remove_file(&path)?;
            return Err(error);
        }
        Self::of(directory, file, first, (0, 0))
    }

    fn recover(directory: &Path, first: u64) -> io::Result<Self> {
        let path = directory.join(name(first));
        let mut reader = BufReader::with_capacity(READ_BYTES, File::open(&path)?);
        let file = OpenOptions::new().append(true).open(&path)?;
        let (mut lines, mut bytes, mut damaged, mut line) = (0, 0, 0, Vec::new());
        let torn = loop {
            let (length, sound) = match frame::next_line(&mut reader, &mut line)? {
                Line::Whole(length) => (length, frame::payload(&line).is_ok()),
                Line::TooLong(length) => (length, false),
                Line::Unfinished(torn) => break torn,
                Line::End => break 0,
            };
            lines += 1;
            bytes += length;
            damaged += u64::from(!sound);
        };
        if torn > 0 {
            file.set_len(bytes)?;
            file.sync_all()?;
            tracing::warn!(
                segment = name(first),
                torn_bytes = torn,
                kept_bytes = bytes,
                kept_events = lines,
                "audit spool: cut off an event that a crash left half written"
            );
        }
        if damaged > 0 {
            tracing::warn!(
                segment = name(first),
                damaged_lines = damaged,
                "audit spool: the last segment is damaged; it is kept as it is, and written on after it"
            );
        }
        Self::of(directory, file, first, (lines, bytes))
    }

    fn of(directory: &Path, file: File, first: u64, (lines, bytes): (u64, u64)) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        Ok(Self { directory: directory.to_owned(), file, first, lines, bytes, tail_unsure: false, identity })
    }

    /// Whether the name still leads to the file. Somebody may have removed it, or the whole folder.
    pub(super) fn is_there(&self) -> bool {
        let found = fs::metadata(self.directory.join(name(self.first)));
        found.is_ok_and(|found| identity(&found) == self.identity)
    }

    /// Begins the next segment in the place of one that is gone, with its folder if need be; how many events went
    /// with it, and a new lock on the folder.
    pub(super) fn replace(&mut self) -> io::Result<(u64, Option<File>)> {
        make_directory(&self.directory)?;
        let lock = match lock(&self.directory) {
            Ok(lock) => Some(lock),
            // The folder and its lock were left where they are: the lock is ours already.
            Err(fs::TryLockError::WouldBlock) => None,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        };
        let gone = self.lines;
        *self = Self::create(&self.directory, self.first + self.lines)?;
        Ok((gone, lock))
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends whole lines: all of them, or none.
    pub(super) fn append(&mut self, frames: &[u8], lines: u64) -> io::Result<()> {
        if self.tail_unsure {
            self.file.set_len(self.bytes)?;
            self.tail_unsure = false;
        }
        if let Err(error) = self.file.write_all(frames) {
            self.tail_unsure = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.lines += lines;
        self.bytes += frames.len() as u64;
        Ok(())
    }

    /// Waits until everything appended is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Begins the next segment. This one is synced first, so that only the last one can ever be torn.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        if self.tail_unsure {
            self.file.set_len(self.bytes)?;
        }
        self.sync()?;
        *self = Self::create(&self.directory, self.first + self.lines)?;
        Ok(())
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_write_left_is_cut_off_before_the_next() {
        let home = tempfile::TempDir::new().unwrap();
        let mut segment = Segment::resume(home.path(), None).unwrap();
        segment.append(b"first\n", 1).unwrap();
        let path = home.path().join(name(FIRST));
        let disk =
            std::mem::replace(&mut segment.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert_eq!(segment.append(b"second\n", 1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"sec").unwrap();
        segment.file = disk;
        segment.append(b"third\n", 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first\nthird\n");
        assert_eq!((segment.lines, segment.bytes), (2, 12));
    }

    #[test]
    fn only_the_owner_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::TempDir::new().unwrap();
        let directory = home.path().join("a/b");
        make_directory(&directory).unwrap();
        Segment::resume(&directory, None).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join(name(FIRST)))), (DIRECTORY_MODE, FILE_MODE));
    }

    #[test]
    fn a_segment_is_never_begun_twice() {
        let home = tempfile::TempDir::new().unwrap();
        Segment::resume(home.path(), None).unwrap();
        let again = Segment::resume(home.path(), None).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
