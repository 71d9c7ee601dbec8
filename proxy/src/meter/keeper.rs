//! Who keeps the counters over a restart? One thread, that writes them down twice a second if anything changed.
//!
//! What a crash loses is what was counted since: less than a second. What was put aside for calls under way is in the
//! file as used, and stays so if nobody settles it any more; how many were under way at once is not, since they died
//! with the process. A file that cannot be written is said once, and tried again.

use super::Meters;
use super::snapshot::{Files, Rows, SnapshotError};
use palisade_filters::quota::Window;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Twice in the second that a crash may lose.
const SAVED_EVERY: Duration = Duration::from_millis(500);

/// Counters that were read and will be written.
#[derive(Debug)]
pub(crate) struct Kept {
    meters: Arc<Meters>,
    files: Files,
    is_failing: bool,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Result<(), SnapshotError>>,
}

impl Kept {
    /// Gives the meters what was kept of them.
    pub(crate) fn restore(meters: Arc<Meters>, folder: PathBuf) -> Result<Self, SnapshotError> {
        let files = Files::open(folder)?;
        let (rows, damaged) = files.load()?;
        if let Some(damaged) = damaged {
            tracing::error!(%damaged, "it is set aside, and the state before it is used");
        }
        let now_ms = meters.clock.now_ms();
        tracing::debug!(counters = rows.len(), "counters of budgets read");
        for (id, counter) in rows {
            meters.counters.restore(id, counter, now_ms);
        }
        Ok(Self { meters, files, is_failing: false })
    }

    /// Keeps them from now on: here, and by no process before this one.
    pub(crate) fn keep(mut self) -> Result<Keeper, SnapshotError> {
        self.files.save(&self.rows(), true)?;
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("palisade-meters".to_owned());
        let thread = thread.spawn(move || {
            while stopped.recv_timeout(SAVED_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Err(taken_over @ SnapshotError::TakenOver(_)) = self.save() {
                    tracing::warn!(%taken_over, "they are not written here any more");
                    return Ok(());
                }
            }
            self.save()
        });
        let thread =
            thread.map_err(|error| SnapshotError::System(PathBuf::from("palisade-meters"), error))?;
        Ok(Keeper { stop, thread })
    }

    fn save(&mut self) -> Result<(), SnapshotError> {
        // What failed was not written, changed since or not.
        if !self.meters.counters.take_changed() && !self.is_failing {
            return Ok(());
        }
        let saved = self.files.save(&self.rows(), false);
        match &saved {
            Ok(()) if self.is_failing => tracing::info!("counters of budgets are written again"),
            Err(error) if !self.is_failing => {
                tracing::error!(%error, "counters of budgets cannot be written");
            }
            Ok(()) | Err(_) => {}
        }
        self.is_failing = saved.is_err();
        saved
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        self.meters.counters.sweep(self.meters.clock.now_ms(), |id, counter| {
            if counter.over != Window::AtOnce {
                rows.push((id, *counter));
            }
        });
        rows
    }
}

impl Keeper {
    /// Writes the last state. Everything must be settled.
    pub(crate) fn finish(self) -> Result<(), SnapshotError> {
        // A thread that has ended does not listen.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or(Ok(()))
    }
}
