//! What is in the spool? Every event in order, and every damaged place by name.
//!
//! Needs: the directory; no lock, so it also reads behind a running writer and sees what was there when it
//! came.
//! Proves: an [`Entry`] is byte for byte what was written; a line that is not is a [`Damage`] with segment,
//! offset and length, and reading goes on at the next line; events missing between two segments are noticed.
//! Does not: notice whole events missing from the end (the chain's checkpoints do), follow the writer, or
//! repair anything.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::frame::{self, Flaw, Line, READ_BYTES};
use super::{segment, shelf};
use crate::event::{Event, SCHEMA};

/// One event as it stands in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The shelf: 0, unless a process wrote beside another one while it took over.
    pub shelf: u32,
    /// The segment, by the number of its first event.
    pub segment: u64,
    /// Where its frame begins in the segment, in bytes.
    pub offset: u64,
    /// Its number on the shelf; none after damage in the same segment, where lines can no longer be counted on.
    pub sequence: Option<u64>,
    /// The event's JSON, as it was written.
    pub payload: Vec<u8>,
}

impl Entry {
    /// The event itself.
    ///
    /// # Errors
    /// The payload is of another schema than this program's, or not an event.
    pub fn event(&self) -> Result<Event, NotAnEvent> {
        let event: Event = serde_json::from_slice(&self.payload)?;
        if event.schema == SCHEMA { Ok(event) } else { Err(NotAnEvent::Schema(event.schema)) }
    }
}

/// A sound payload that this program cannot read.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    /// Written by another version.
    #[error(
        "the event has schema {0}, this program reads schema {SCHEMA}; read it with the version that wrote it"
    )]
    Schema(u16),
    /// Not the JSON of an event.
    #[error("the payload is not an event: {0}")]
    Shape(#[from] serde_json::Error),
}

/// A place where the spool is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("segment `{}`, offset {offset}, {bytes} bytes: {flaw}", shelf::path(*.shelf, *.segment).display())]
pub struct Damage {
    /// The shelf.
    pub shelf: u32,
    /// The segment, by the number of its first event.
    pub segment: u64,
    /// Where the damage begins in the segment, in bytes.
    pub offset: u64,
    /// How many bytes were passed over.
    pub bytes: u64,
    /// What is wrong.
    #[source]
    pub flaw: Flaw,
}

/// Reads the segments that were there when it was opened.
pub struct Reader {
    directory: PathBuf,
    /// Shelves and segments still to be read, the next one last.
    ahead: Vec<(u32, u64)>,
    open: Option<Open>,
    line: Vec<u8>,
    unfinished: u64,
}

/// The segment that is being read.
struct Open {
    lines: BufReader<File>,
    shelf: u32,
    segment: u64,
    offset: u64,
    /// The number of the next line, if no line was damaged so far.
    sequence: u64,
    damaged: bool,
}

impl Reader {
    /// Lists the segments of a spool.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = directory.as_ref().to_owned();
        let mut ahead = Vec::new();
        for shelf in shelf::all(&directory) {
            let segments = segment::list(&shelf::directory(&directory, shelf))?;
            ahead.extend(segments.into_iter().map(|(first, _)| (shelf, first)));
        }
        ahead.reverse();
        Ok(Self { directory, ahead, open: None, line: Vec::new(), unfinished: 0 })
    }

    /// Bytes after the last line end of the last segment of each shelf, known once that was reached: an event that
    /// is being written just now, or that a crash left half written. It is not damage; the next writer cuts it off.
    #[must_use]
    pub fn unfinished_bytes(&self) -> u64 {
        self.unfinished
    }

    fn open_next(&mut self) -> Option<Result<Open, Damage>> {
        let (shelf, segment) = self.ahead.pop()?;
        let file = match File::open(self.directory.join(shelf::path(shelf, segment))) {
            Ok(file) => file,
            Err(error) => {
                return Some(Err(Damage { shelf, segment, offset: 0, bytes: 0, flaw: error.into() }));
            }
        };
        let lines = BufReader::with_capacity(READ_BYTES, file);
        Some(Ok(Open { lines, shelf, segment, offset: 0, sequence: segment, damaged: false }))
    }

    /// The next line of the open segment; none at its end.
    fn step(&mut self) -> Option<Result<Entry, Damage>> {
        let open = self.open.as_mut()?;
        let (shelf, segment, offset) = (open.shelf, open.segment, open.offset);
        let (bytes, read) = match frame::next_line(&mut open.lines, &mut self.line) {
            Ok(Line::Whole(bytes)) => (bytes, frame::payload(&self.line)),
            Ok(Line::TooLong(bytes)) => (bytes, Err(Flaw::TooLong)),
            Ok(Line::Unfinished(bytes)) => return self.end(bytes),
            Ok(Line::End) => return self.end(0),
            Err(error) => {
                // A file that cannot be read here will not be readable further on; the next one may be.
                self.open = None;
                return Some(Err(Damage { shelf, segment, offset, bytes: 0, flaw: error.into() }));
            }
        };
        let sequence = if open.damaged { None } else { Some(open.sequence) };
        open.offset += bytes;
        open.sequence += 1;
        open.damaged |= read.is_err();
        Some(match read {
            Ok(payload) => Ok(Entry { shelf, segment, offset, sequence, payload: payload.to_vec() }),
            Err(flaw) => Err(Damage { shelf, segment, offset, bytes, flaw }),
        })
    }

    /// Leaves the open segment, of which `bytes` without a line end are left, and compares it with the next
    /// one.
    fn end(&mut self, bytes: u64) -> Option<Result<Entry, Damage>> {
        let open = self.open.take()?;
        let next = self.ahead.last().filter(|(shelf, _)| *shelf == open.shelf);
        let Some((_, next)) = next.copied() else {
            self.unfinished += bytes;
            return None;
        };
        // A torn line was an event once, so it counts towards the number the next segment begins with.
        let expected = open.sequence + u64::from(bytes > 0);
        let flaw = if bytes > 0 {
            Flaw::Torn
        } else if next != expected {
            Flaw::Gap { expected, found: next }
        } else {
            return None;
        };
        let Open { shelf, segment, offset, .. } = open;
        Some(Err(Damage { shelf, segment, offset, bytes, flaw }))
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.step() {
                return Some(item);
            }
            match self.open_next()? {
                Ok(open) => self.open = Some(open),
                Err(damage) => return Some(Err(damage)),
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reader").field("directory", &self.directory).finish_non_exhaustive()
    }
}
