//! Who writes? One thread, which takes what has gathered and writes it in one go.
//!
//! It is not woken for every event: that would cost each request a system call. It wakes by itself every
//! `flush_ms`, and early when many events have gathered, a flush is asked for, or the spool closes.
//! Needs: the locked directory and the receiving end of the queue. Proves: every event it takes from the
//! queue is counted once, as written or as dropped with its reason, and trouble is logged once when it begins
//! and once when it ends. Does not: retry an event; the next one tries the disk again.

use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::segment::{self, Segment};
use super::{Config, HEADROOM, QUEUE_EVENTS, Tally, frame, shelf};
use crate::event::Event;

/// Bytes gathered before they are written: large enough that the system call vanishes, small enough for the
/// cache.
const BATCH_BYTES: usize = 256 << 10;
/// How often a full spool looks whether segments were removed.
const RECOUNT_AFTER: Duration = Duration::from_secs(1);
/// The shortest nap between two writes; zero would spin.
const FLUSH_MS_MIN: u64 = 1;

/// What travels through the queue.
pub(super) enum Message {
    /// One event, boxed so that the queue's slots stay small.
    Event(Box<Event>),
    /// Write and sync everything before this, then answer.
    Flush(SyncSender<io::Result<()>>),
    /// Write and sync everything before this, then end.
    Close,
}

/// Whether the writer goes on.
#[derive(PartialEq, Eq)]
enum Then {
    Continue,
    End,
}

/// Something wrong that is said once when it begins and once when it ends, not for every event.
#[derive(Default)]
struct Trouble {
    lasts: bool,
}

impl Trouble {
    /// It is there; whether that is news.
    fn begins(&mut self) -> bool {
        !mem::replace(&mut self.lasts, true)
    }

    /// It is not there; whether that is news.
    fn ends(&mut self) -> bool {
        mem::take(&mut self.lasts)
    }
}

/// The writing end of the spool.
pub(super) struct Writer {
    config: Config,
    queue: Receiver<Message>,
    tally: Arc<Tally>,
    segment: Segment,
    /// Frames that are not written yet, and how many.
    frames: Vec<u8>,
    pending: u64,
    scratch: Vec<u8>,
    /// Bytes of all segments of the spool.
    used: u64,
    ledger: Ledger,
    organisation_full: Trouble,
    full: Trouble,
    recounted: Instant,
    failing: Trouble,
    unsynced: Trouble,
    unrotated: Trouble,
    overflowing: Trouble,
    overflow_seen: u64,
    /// The folder that is this writer's.
    shelf: PathBuf,
    /// Held for as long as the thread lives.
    lock: File,
}

impl Writer {
    /// Repairs the last segment and goes on after it.
    pub(super) fn resume(
        config: Config,
        (shelf, lock): (PathBuf, File),
        queue: Receiver<Message>,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        let last = segment::list(&shelf)?.last().map(|(first, _)| *first);
        let segment = Segment::resume(&shelf, last)?;
        let used = shelf::bytes(&config.directory)?;
        Ok(Self {
            config,
            queue,
            tally,
            segment,
            frames: Vec::with_capacity(BATCH_BYTES * 2),
            pending: 0,
            scratch: Vec::new(),
            used,
            ledger: Ledger::default(),
            organisation_full: Trouble::default(),
            full: Trouble::default(),
            recounted: Instant::now(),
            failing: Trouble::default(),
            unsynced: Trouble::default(),
            unrotated: Trouble::default(),
            overflowing: Trouble::default(),
            overflow_seen: 0,
            shelf,
            lock,
        })
    }

    /// Writes until the spool closes; the result is that of the last sync.
    pub(super) fn run(mut self) -> io::Result<()> {
        let nap = Duration::from_millis(self.config.flush_ms.max(FLUSH_MS_MIN));
        while self.drain() == Then::Continue {
            thread::park_timeout(nap);
        }
        self.commit();
        self.sync()
    }

    /// Takes what has gathered, and no more than one full queue, so that a flood cannot put off the sync for
    /// ever.
    fn drain(&mut self) -> Then {
        self.recount();
        for _ in 0..QUEUE_EVENTS {
            match self.queue.try_recv() {
                Ok(Message::Event(event)) => self.take(&event),
                Ok(Message::Flush(answer)) => {
                    self.commit();
                    let synced = self.sync();
                    // Whoever asked may have gone; the flush is done all the same.
                    let _gone = answer.send(synced);
                }
                Ok(Message::Close) | Err(TryRecvError::Disconnected) => return Then::End,
                Err(TryRecvError::Empty) => break,
            }
        }
        if self.commit() && self.config.fsync {
            // The failure is logged and the events are written; only the caller of a flush can do more.
            let _logged = self.sync();
        }
        self.report_overflow();
        Then::Continue
    }

    fn take(&mut self, event: &Event) {
        if self.full.lasts {
            self.tally.quota_full.fetch_add(1, Relaxed);
            return;
        }
        let before = self.frames.len();
        if let Err(error) = frame::encode(event, &mut self.scratch, &mut self.frames) {
            self.frames.truncate(before);
            self.tally.write_failed.fetch_add(1, Relaxed);
            tracing::error!(id = %event.id, %error, "audit spool: an event could not be written as JSON");
            return;
        }
        let used = self.used + self.frames.len() as u64;
        if used > self.config.quota_bytes {
            self.frames.truncate(before);
            self.tally.quota_full.fetch_add(1, Relaxed);
            self.fill();
            return;
        }
        if is_scarce(used, self.config.quota_bytes) && !self.tally.scarce.swap(true, Relaxed) {
            self.recounted = Instant::now();
        }
        if let Some(organisation) = &event.organisation
            && !self.enter(organisation, (self.frames.len() - before) as u64)
        {
            self.frames.truncate(before);
            return;
        }
        self.pending += 1;
        if self.frames.len() >= BATCH_BYTES || self.frames.len() as u64 >= self.config.segment_bytes {
            self.commit();
        }
    }

    /// Enters an event into its organisation's account; whether there was room.
    fn enter(&mut self, organisation: &Arc<str>, bytes: u64) -> bool {
        let quota = self.config.organisation_quota_bytes;
        let used = self.ledger.of(organisation) + bytes;
        if is_scarce(used, quota) {
            self.crowd(organisation);
        }
        if used > quota {
            self.tally.organisation_full.fetch_add(1, Relaxed);
            return false;
        }
        self.ledger.add(organisation, bytes);
        true
    }

    /// Little room is left for an organisation. It is said once for all of them, as they may be many.
    fn crowd(&mut self, organisation: &Arc<str>) {
        let mut crowded = self.tally.crowded.write().unwrap_or_else(PoisonError::into_inner);
        if crowded.insert(organisation.clone()) {
            self.tally.crowded_count.store(crowded.len() as u64, Relaxed);
            self.recounted = Instant::now();
        }
        drop(crowded);
        if self.organisation_full.begins() {
            tracing::error!(
                %organisation,
                quota_bytes = self.config.organisation_quota_bytes,
                "audit spool: an organisation has used up its quota; remove shipped segments or raise it"
            );
        }
    }

    /// Somebody may have removed the segment that is written to, or its folder: what is written there would be lost,
    /// and nobody would know.
    fn look(&mut self) -> io::Result<()> {
        if self.segment.is_there() {
            return Ok(());
        }
        let (gone, lock) = self.segment.replace()?;
        if let Some(lock) = lock {
            self.lock = lock;
        }
        self.tally.removed.fetch_add(gone, Relaxed);
        tracing::error!(
            folder = %self.shelf.display(),
            lost_events = gone,
            "audit spool: the segment that was written to is gone, with its events; a new one was begun. \
             Only finished segments may be removed, and never the last"
        );
        Ok(())
    }

    /// Writes what is pending; whether there was anything.
    fn commit(&mut self) -> bool {
        let pending = mem::take(&mut self.pending);
        if pending == 0 {
            return false;
        }
        let bytes = self.frames.len() as u64;
        if self.segment.bytes() > 0 && self.segment.bytes() + bytes > self.config.segment_bytes {
            self.rotate();
        }
        match self.look().and_then(|()| self.segment.append(&self.frames, pending)) {
            Ok(()) => {
                self.used += bytes;
                self.ledger.written(self.segment.first());
                self.tally.written.fetch_add(pending, Relaxed);
                if self.failing.ends() {
                    tracing::info!("audit spool: events are written again");
                }
            }
            Err(error) => {
                self.ledger.lost();
                self.tally.write_failed.fetch_add(pending, Relaxed);
                if self.failing.begins() {
                    tracing::error!(%error, "audit spool: events are lost, check the disk");
                }
            }
        }
        self.frames.clear();
        self.tally.unable.store(self.full.lasts || self.failing.lasts, Relaxed);
        true
    }

    /// Without a new segment the old one grows past its size, which loses nothing.
    fn rotate(&mut self) {
        match self.segment.rotate() {
            Ok(()) => {
                if self.unrotated.ends() {
                    tracing::info!("audit spool: segments are begun again");
                }
            }
            Err(error) => {
                if self.unrotated.begins() {
                    tracing::error!(%error, "audit spool: no new segment, check the disk");
                }
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.segment.sync();
        match &synced {
            Ok(()) => {
                if self.unsynced.ends() {
                    tracing::info!("audit spool: the disk confirms writes again");
                }
            }
            Err(error) => {
                if self.unsynced.begins() {
                    tracing::error!(%error, "audit spool: the disk does not confirm writes; check the disk");
                }
            }
        }
        synced
    }

    fn fill(&mut self) {
        self.recounted = Instant::now();
        self.tally.unable.store(true, Relaxed);
        if self.full.begins() {
            tracing::error!(
                used_bytes = self.used,
                quota_bytes = self.config.quota_bytes,
                "audit spool: the quota is used up, events are lost; remove shipped segments or raise it"
            );
        }
    }

    /// A full spool takes events again once segments were removed.
    fn recount(&mut self) {
        let is_short = self.full.lasts || self.organisation_full.lasts || self.tally.scarce.load(Relaxed);
        if !is_short || self.recounted.elapsed() < RECOUNT_AFTER {
            return;
        }
        self.recounted = Instant::now();
        let Ok(used) = shelf::bytes(&self.config.directory) else { return };
        self.tally.scarce.store(is_scarce(used, self.config.quota_bytes), Relaxed);
        self.recount_organisations();
        if used < self.used && self.full.ends() {
            self.tally.unable.store(self.failing.lasts, Relaxed);
            tracing::info!(
                used_bytes = used,
                quota_bytes = self.config.quota_bytes,
                "audit spool: there is room again"
            );
        }
        self.used = used;
    }

    fn recount_organisations(&mut self) {
        if !self.organisation_full.lasts {
            return;
        }
        let Ok(segments) = segment::list(&self.shelf) else { return };
        self.ledger.keep(&segments);
        let mut crowded = self.tally.crowded.write().unwrap_or_else(PoisonError::into_inner);
        let quota = self.config.organisation_quota_bytes;
        crowded.retain(|organisation| is_scarce(self.ledger.of(organisation), quota));
        self.tally.crowded_count.store(crowded.len() as u64, Relaxed);
        if crowded.is_empty() && self.organisation_full.ends() {
            tracing::info!("audit spool: every organisation has room again");
        }
    }

    fn report_overflow(&mut self) {
        let lost = self.tally.queue_full.load(Relaxed);
        if lost == mem::replace(&mut self.overflow_seen, lost) {
            if self.overflowing.ends() {
                tracing::info!(lost_events = lost, "audit spool: the queue has room again");
            }
        } else if self.overflowing.begins() {
            tracing::error!(
                lost_events = lost,
                "audit spool: the queue is full, events are lost; the disk is too slow for this load"
            );
        }
    }
}

/// Whether what is left is only enough for what is under way.
fn is_scarce(used: u64, quota: u64) -> bool {
    used > quota - quota / HEADROOM
}
