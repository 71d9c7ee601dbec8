//! What has reached the double?
//!
//! Needs each request as it is read, and later what became of its answer. Proves to a test what left the
//! proxy, byte for byte, including requests whose body never became whole. Bounded in requests and in bytes:
//! the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::faults::Ended;
use super::http::Request;

/// Most requests kept.
pub(super) const REQUESTS_MAX: usize = 1000;
/// Most bytes of bodies kept, over all requests.
pub(super) const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most counters of `fail_times`.
pub(super) const COUNTERS_MAX: usize = 10_000;

/// Everything the double remembers.
#[derive(Default)]
pub(super) struct Ledger {
    pages: Mutex<Pages>,
    failures: Mutex<HashMap<String, u32>>,
    connections_open: AtomicU64,
    connections: AtomicU64,
    requests: AtomicU64,
    cancelled: AtomicU64,
}

#[derive(Default)]
struct Pages {
    seen: VecDeque<Seen>,
    next: u64,
    body_bytes: usize,
}

/// One request, as tests see it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seen {
    serial: u64,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    /// False: the caller left, or broke the framing, inside the body.
    body_complete: bool,
    status: Option<u16>,
    bytes_sent: u64,
    /// Whether the answer is over, in one way or another.
    done: bool,
    client_left: bool,
}

/// The counts, as tests see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stats {
    connections_open: u64,
    connections: u64,
    requests: u64,
    cancelled: u64,
}

/// One open connection; dropping it is how it is counted off.
pub(super) struct OpenConnection<'a>(&'a Ledger);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ledger {
    /// Counts a connection for as long as the guard lives.
    pub(super) fn open(&self) -> OpenConnection<'_> {
        self.connections_open.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self)
    }

    /// Counts a request, and returns how many came before it.
    pub(super) fn count(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a request. The number is for [`Ledger::conclude`].
    pub(super) fn record(&self, request: &Request, body_complete: bool) -> u64 {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let mut pages = unpoisoned(&self.pages);
        let serial = pages.next;
        pages.next += 1;
        pages.body_bytes += body.len();
        pages.seen.push_back(Seen {
            serial,
            method: request.method.clone(),
            path: request.target.clone(),
            headers: request.headers.clone(),
            body,
            body_complete,
            status: None,
            bytes_sent: 0,
            done: false,
            client_left: false,
        });
        while pages.seen.len() > REQUESTS_MAX || (pages.body_bytes > KEPT_BYTES_MAX && pages.seen.len() > 1) {
            let oldest = pages.seen.pop_front().map_or(0, |seen| seen.body.len());
            pages.body_bytes -= oldest;
        }
        serial
    }

    /// Notes what became of a recorded request, if it is still kept.
    pub(super) fn conclude(&self, serial: u64, status: Option<u16>, bytes_sent: u64, ended: Ended) {
        let mut pages = unpoisoned(&self.pages);
        let first = pages.seen.front().map_or(0, |seen| seen.serial);
        let place = serial.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(seen) = place.and_then(|place| pages.seen.get_mut(place)) {
            seen.status = status;
            seen.bytes_sent = bytes_sent;
            seen.done = true;
            seen.client_left = ended == Ended::CallerLeft;
        }
    }

    /// Counts a caller that left before its answer, or its own body, was over.
    pub(super) fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    /// The requests kept, oldest first.
    pub(super) fn seen(&self) -> Vec<Seen> {
        unpoisoned(&self.pages).seen.iter().cloned().collect()
    }

    /// Forgets requests and failure counters. Numbers go on, so a late [`Ledger::conclude`] finds nothing.
    pub(super) fn clear(&self) {
        let mut pages = unpoisoned(&self.pages);
        pages.seen.clear();
        pages.body_bytes = 0;
        drop(pages);
        unpoisoned(&self.failures).clear();
    }

    /// The counts since the start.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            connections_open: self.connections_open.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
        }
    }

    /// Whether the counter `name` has a failure left of `times`. None: there are too many counters.
    pub(super) fn fails(&self, name: &str, times: u32) -> Option<bool> {
        let mut failures = unpoisoned(&self.failures);
        if !failures.contains_key(name) && failures.len() >= COUNTERS_MAX {
            return None;
        }
        let spent = failures.entry(name.to_owned()).or_insert(0);
        let fails = *spent < times;
        if fails {
            *spent += 1;
        }
        Some(fails)
    }
}

/// A panic elsewhere leaves counts and records that are still worth showing.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
