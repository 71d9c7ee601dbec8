//! How much does a side answer when callers never rest? The closed loop, for capacity and for cost.
//!
//! Needs a side's address and a request. Proves its count: only answers that [`answer`](crate::answer)
//! finds right are counted, and a wrong one is kept to be shown. Each caller has a connection of its own,
//! waits for its answer, and asks again at once; so it says nothing about latency, which is what
//! [`latency`](crate::latency) is for.

use crate::answer::{Expected, Inbox, Wrong};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Callers at once.
pub(crate) const CALLERS: usize = 32;
/// Rest of a caller after a wrong answer, so that a side that is down is not asked a million times.
const REST: Duration = Duration::from_millis(20);

/// One request, ready to send again and again.
#[derive(Clone)]
pub(crate) struct Shot {
    pub(crate) address: SocketAddr,
    pub(crate) expected: Expected,
    request: Arc<[u8]>,
}

impl Shot {
    /// The request as an SDK would send it.
    pub(crate) fn new(address: SocketAddr, key: &str, body: &str, expected: Expected) -> Self {
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: application/json\r\nuser-agent: palisade-bench\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { address, expected, request: request.into_bytes().into() }
    }

    /// Opens a connection for it.
    pub(crate) async fn connect(&self) -> Result<TcpStream, Wrong> {
        let stream = TcpStream::connect(self.address).await.map_err(Wrong::Connection)?;
        stream.set_nodelay(true).map_err(Wrong::Connection)?;
        Ok(stream)
    }

    /// Sends it and checks the answer.
    pub(crate) async fn fire(&self, stream: &mut TcpStream, inbox: &mut Inbox) -> Result<(), Wrong> {
        stream.write_all(&self.request).await.map_err(Wrong::Connection)?;
        inbox.next(stream, self.expected).await
    }

    /// Sends it once on a connection of its own; the body of an answer with status 200.
    pub(crate) async fn once(&self) -> Result<Vec<u8>, Wrong> {
        let mut stream = self.connect().await?;
        stream.write_all(&self.request).await.map_err(Wrong::Connection)?;
        Inbox::default().receive(&mut stream).await.map(<[u8]>::to_vec)
    }
}

/// What all callers count together.
#[derive(Default)]
pub(crate) struct Tally {
    answered: AtomicU64,
    wrong: AtomicU64,
    first_wrong: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl Tally {
    pub(crate) fn right(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    pub(crate) fn wrong(&self, wrong: &Wrong) {
        self.wrong.fetch_add(1, Relaxed);
        let mut first = self.first_wrong.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| wrong.to_string());
    }

    /// How many were wrong, and the first of them.
    pub(crate) fn mistakes(&self) -> Mistakes {
        let first = self.first_wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Mistakes { count: self.wrong.load(Relaxed), first }
    }
}

/// Wrong answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mistakes {
    pub(crate) count: u64,
    pub(crate) first: Option<String>,
}

impl Mistakes {
    pub(crate) fn add(&mut self, other: Mistakes) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }
}

/// What happened between two readings of the clocks.
pub(crate) struct Closed<T> {
    pub(crate) before: T,
    pub(crate) after: T,
    pub(crate) answered: u64,
    pub(crate) elapsed: Duration,
    pub(crate) mistakes: Mistakes,
}

/// Lets all callers ask for `warm_up`, then for `window`, and reads the clocks at both ends of the window:
/// what is under way at its beginning stands for what is under way at its end.
pub(crate) async fn closed<T>(
    shot: &Shot,
    warm_up: Duration,
    window: Duration,
    clocks: impl Fn() -> io::Result<T>,
) -> io::Result<Closed<T>> {
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(ask_until_over(shot.clone(), Arc::clone(&tally)));
    }
    tokio::time::sleep(warm_up).await;
    let (start, before, answered_before) = (Instant::now(), clocks()?, tally.answered.load(Relaxed));
    tokio::time::sleep(window).await;
    let (elapsed, after, answered_after) = (start.elapsed(), clocks()?, tally.answered.load(Relaxed));
    tally.is_over.store(true, Relaxed);
    while callers.join_next().await.is_some() {}
    let answered = answered_after - answered_before;
    Ok(Closed { before, after, answered, elapsed, mistakes: tally.mistakes() })
}

async fn ask_until_over(shot: Shot, tally: Arc<Tally>) {
    while !tally.is_over.load(Relaxed) {
        let Err(wrong) = ask_while_right(&shot, &tally).await else { return };
        tally.wrong(&wrong);
        tokio::time::sleep(REST).await;
    }
}

async fn ask_while_right(shot: &Shot, tally: &Tally) -> Result<(), Wrong> {
    let mut stream = shot.connect().await?;
    let mut inbox = Inbox::default();
    while !tally.is_over.load(Relaxed) {
        shot.fire(&mut stream, &mut inbox).await?;
        tally.right();
    }
    Ok(())
}
