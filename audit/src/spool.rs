//! Where does an event go so that no request waits for it and no crash loses it?
//!
//! Request task → bounded queue → one writer thread → append-only segment files. There is one queue and no
//! second one to spill into: a second bounded queue would only be a longer first one.
//! Needs: a directory of its own on a local disk. Proves: [`Spool::record`] never blocks and makes no system
//! call but an occasional wake-up; every event is counted as written or as dropped with its reason; two
//! writers cannot share a shelf; no organisation takes more than its quota; after [`Spool::close`] everything
//! accepted is on disk. Does not: fsync before a request leaves unless told to (a process crash loses at most
//! about `flush_ms`, a power cut what the system had not written yet), or remove what was shipped: whoever does
//! must leave the last segment of each shelf alone.

mod frame;
mod ledger;
mod reader;
mod segment;
mod shelf;
mod writer;

use std::collections::HashSet;
use std::fs::TryLockError;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle, Thread};

pub use frame::{FRAME_BYTES_MAX, Flaw};
pub use reader::{Damage, Entry, NotAnEvent, Reader};

use crate::event::Event;
use writer::{Message, Writer};

/// Events between request tasks and the writer: three seconds of a disk that stands still under 10 000
/// requests per second, and about 32 MiB of ordinary events.
pub const QUEUE_EVENTS: usize = 32_768;
/// The writer is woken early each time so many events were accepted: often enough that a flood never fills
/// the queue, seldom enough that the wake-up costs an event next to nothing.
const WAKE_EVENTS: u64 = 1_024;
/// Bytes of a segment, unless configured: small enough to scan in a blink after a crash.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes of all segments, unless configured: about an hour of 5 000 requests per second that nobody ships.
const QUOTA_BYTES: u64 = 10 << 30;
/// Of a quota, one part in so many is kept for what is under way when the rest is used up.
const HEADROOM: u64 = 16;
/// Milliseconds an event may wait for the writer, unless configured.
const FLUSH_MS: u64 = 50;

/// How a spool is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The spool's own directory; made if missing.
    pub directory: PathBuf,
    /// A segment is closed before it grows past this; it holds at least one event.
    pub segment_bytes: u64,
    /// All segments together never grow past this.
    pub quota_bytes: u64,
    /// Those events of one organisation that this process writes never grow past this.
    pub organisation_quota_bytes: u64,
    /// Milliseconds between two writes.
    pub flush_ms: u64,
    /// Wait for the disk after every write.
    pub fsync: bool,
    /// Another process may write there still: a shelf beside it is taken then.
    pub is_shared: bool,
}

impl Config {
    /// The defaults: segments of 64 MiB, 10 GiB together, half of it for one organisation, a write every 50 ms,
    /// without waiting for the disk, alone.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            segment_bytes: SEGMENT_BYTES,
            quota_bytes: QUOTA_BYTES,
            organisation_quota_bytes: QUOTA_BYTES / 2,
            flush_ms: FLUSH_MS,
            fsync: false,
            is_shared: false,
        }
    }
}

/// Why a spool cannot be opened, flushed or closed. For the operator; never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory cannot be made or opened.
    #[error("cannot use `{}` as audit spool, name a writable directory: {source}", directory.display())]
    Directory {
        /// The spool's directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes there.
    #[error(
        "another process writes the audit spool `{}`, give each proxy a directory of its own",
        directory.display()
    )]
    Locked {
        /// The spool's directory.
        directory: PathBuf,
    },
    /// The last segment cannot be read or repaired.
    #[error("cannot go on after the last segment in `{}`, move it away: {source}", directory.display())]
    Recovery {
        /// The spool's directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread for the writer.
    #[error("cannot start the audit writer: {0}")]
    Thread(io::Error),
    /// The disk does not confirm what was written.
    #[error("cannot confirm that audit events are on disk, check the disk: {0}")]
    Sync(io::Error),
    /// The writer has ended.
    #[error("the audit spool is closed")]
    Closed,
}

/// What became of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken into the queue.
    pub accepted: u64,
    /// Handed to the system, in order.
    pub written: u64,
    /// Still in the queue or in the writer's hands.
    pub depth: u64,
    /// Lost.
    pub dropped: Dropped,
}

/// Lost events, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Never accepted: the queue was full.
    pub queue_full: u64,
    /// Accepted, but the spool's quota was used up.
    pub quota_full: u64,
    /// Accepted, but their organisation's quota was used up.
    pub organisation_full: u64,
    /// Accepted, but the system would not write them.
    pub write_failed: u64,
    /// Written, but the file was removed before it was finished.
    pub removed: u64,
    /// Recorded while the spool closed or after.
    pub closed: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let refused = self.queue_full + self.quota_full + self.organisation_full;
        refused + self.write_failed + self.removed + self.closed
    }
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
struct Tally {
    accepted: AtomicU64,
    written: AtomicU64,
    queue_full: AtomicU64,
    quota_full: AtomicU64,
    organisation_full: AtomicU64,
    write_failed: AtomicU64,
    removed: AtomicU64,
    closed: AtomicU64,
    /// The quota is used up, or the last write failed.
    unable: AtomicBool,
    /// Little is left of the quota.
    scarce: AtomicBool,
    /// Organisations of whose quota little is left; how many, so that asking costs nothing while there are none.
    crowded: RwLock<HashSet<Arc<str>>>,
    crowded_count: AtomicU64,
    /// The writer has ended; what it has not counted by now is lost.
    ended: AtomicBool,
}

impl Tally {
    fn counts(&self) -> Counts {
        let ended = self.ended.load(Acquire);
        let (written, quota_full, write_failed) =
            (self.written.load(Relaxed), self.quota_full.load(Relaxed), self.write_failed.load(Relaxed));
        let (organisation_full, removed) = (self.organisation_full.load(Relaxed), self.removed.load(Relaxed));
        let accepted = self.accepted.load(Relaxed);
        // An event can be written before its acceptance is counted.
        let open = accepted.saturating_sub(written + quota_full + organisation_full + write_failed);
        let (depth, behind_close) = if ended { (0, open) } else { (open, 0) };
        let queue_full = self.queue_full.load(Relaxed);
        let closed = self.closed.load(Relaxed) + behind_close;
        let dropped = Dropped { queue_full, quota_full, organisation_full, write_failed, removed, closed };
        Counts { accepted, written, depth, dropped }
    }
}

/// The open spool; shared by all request tasks. Dropping it closes it.
pub struct Spool {
    queue: SyncSender<Message>,
    tally: Arc<Tally>,
    thread: Thread,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl Spool {
    /// Locks the directory, cuts off what a crash left half written, and starts the writer after it.
    ///
    /// # Errors
    /// The directory cannot be used or belongs to another writer, or its last segment cannot be read.
    pub fn open(config: Config) -> Result<Self, SpoolError> {
        let directory = config.directory.clone();
        let taken = shelf::take(&directory, config.is_shared).map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::Locked { directory: directory.clone() },
            TryLockError::Error(source) => SpoolError::Directory { directory: directory.clone(), source },
        })?;
        let tally = Arc::new(Tally::default());
        let (queue, receiver) = mpsc::sync_channel(QUEUE_EVENTS);
        let writer = Writer::resume(config, taken, receiver, Arc::clone(&tally))
            .map_err(|source| SpoolError::Recovery { directory, source })?;
        let thread = thread::Builder::new().name("audit-spool".to_owned());
        let writer = thread.spawn(|| writer.run()).map_err(SpoolError::Thread)?;
        Ok(Self { queue, tally, thread: writer.thread().clone(), writer: Mutex::new(Some(writer)) })
    }

    /// Hands an event over, bounded to its limits. Never blocks: `false` means it was dropped, which is
    /// counted.
    pub fn record(&self, mut event: Event) -> bool {
        event.bound();
        match self.queue.try_send(Message::Event(Box::new(event))) {
            Ok(()) => {
                let before = self.tally.accepted.fetch_add(1, Relaxed);
                if before % WAKE_EVENTS == WAKE_EVENTS - 1 {
                    self.thread.unpark();
                }
                true
            }
            Err(TrySendError::Full(_)) => {
                self.tally.queue_full.fetch_add(1, Relaxed);
                self.thread.unpark();
                false
            }
            Err(TrySendError::Disconnected(_)) => {
                self.tally.closed.fetch_add(1, Relaxed);
                false
            }
        }
    }

    /// The spool cannot keep events now: its quota is used up, or the last write failed. It ends once segments
    /// were removed, or a write succeeds.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tally.unable.load(Relaxed)
    }

    /// Whether an event that this organisation causes from now on will be kept. It says no while there is still
    /// room for what is under way: a sixteenth of each quota, and half of the queue.
    #[must_use]
    pub fn has_room_for(&self, organisation: &str) -> bool {
        let tally = &self.tally;
        if tally.unable.load(Relaxed) || tally.scarce.load(Relaxed) {
            return false;
        }
        // Without the lock while there is no such organisation, which is nearly always.
        let is_crowded = tally.crowded_count.load(Relaxed) > 0
            && tally.crowded.read().unwrap_or_else(PoisonError::into_inner).contains(organisation);
        !is_crowded && self.counts().depth < (QUEUE_EVENTS / 2) as u64
    }

    /// What became of the events so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Waits until every event recorded before is on disk or counted as dropped. It blocks: not for request
    /// tasks.
    ///
    /// # Errors
    /// The disk does not confirm, or the spool is closed.
    pub fn flush(&self) -> Result<(), SpoolError> {
        let (answer, synced) = mpsc::sync_channel(1);
        self.queue.send(Message::Flush(answer)).map_err(|_| SpoolError::Closed)?;
        self.thread.unpark();
        synced.recv().map_err(|_| SpoolError::Closed)?.map_err(SpoolError::Sync)
    }

    /// Writes and syncs every event recorded before, and ends the writer. A second call finds nothing to do.
    ///
    /// # Errors
    /// The disk does not confirm, or the writer ended before its time.
    pub fn close(&self) -> Result<Counts, SpoolError> {
        let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(self.counts());
        };
        // A writer that is already gone cannot be told; joining it says why.
        let _gone = self.queue.send(Message::Close);
        self.thread.unpark();
        let synced = writer.join();
        self.tally.ended.store(true, Release);
        synced.map_err(|_| SpoolError::Closed)?.map_err(SpoolError::Sync)?;
        Ok(self.counts())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "audit spool: closed with an error");
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Spool").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writer stands still while it answers a flush that nobody takes: the queue fills to the last slot,
    /// and what does not fit is counted, event by event.
    #[test]
    fn a_full_queue_counts_every_event_it_cannot_take() {
        const TOO_MANY: u64 = 1_000;
        let home = tempfile::TempDir::new().unwrap();
        let spool = Spool::open(Config::new(home.path())).unwrap();
        let (answer, synced) = mpsc::sync_channel(0);
        spool.queue.send(Message::Flush(answer)).unwrap();
        spool.thread.unpark();
        let full = QUEUE_EVENTS as u64;
        let mut refused = 0;
        while spool.counts().accepted < full {
            refused += u64::from(!spool.record(Event::default()));
        }
        for _ in 0..TOO_MANY {
            assert!(!spool.record(Event::default()));
        }
        refused += TOO_MANY;
        let counts = spool.counts();
        assert_eq!((counts.accepted, counts.written, counts.depth), (full, 0, full));
        assert_eq!(counts.dropped, Dropped { queue_full: refused, ..Dropped::default() });

        synced.recv().unwrap().unwrap();
        let counts = spool.close().unwrap();
        assert_eq!((counts.written, counts.depth, counts.dropped.total()), (full, 0, refused));
        assert_eq!(Reader::open(home.path()).unwrap().flatten().count() as u64, full);
    }
}
