//! How long does a caller wait when the machine is half busy? The open loop, at a fixed rate.
//!
//! Needs a side, a rate, and a time. Proves that waiting is not hidden: requests are released by a clock of
//! their own, whether or not earlier ones are answered, and their time counts from the release, with the
//! wait for a free connection in it. The same loop against the double itself gives what the loop and the
//! machine cost; only the difference of two quantiles is the gateway's.

use crate::answer::{Inbox, Wrong};
use crate::load::{CALLERS, Mistakes, Shot, Tally};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Share of the requests, one of so many, that only warm up.
const WARM_UP_SHARE: usize = 10;

/// What was waited, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) median: f64,
    pub(crate) percentile_99: f64,
    /// How many waits these are taken from.
    pub(crate) count: usize,
    pub(crate) mistakes: Mistakes,
}

/// Releases `per_second` requests a second for `time`, and waits for all answers.
pub(crate) async fn open(shot: &Shot, per_second: f64, time: Duration) -> Result<Waits, Wrong> {
    let (release, released) = mpsc::unbounded_channel();
    let released = Arc::new(Mutex::new(released));
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        // Connections are opened, and each used once, before the clock starts.
        let (mut stream, mut inbox) = (shot.connect().await?, Inbox::default());
        shot.fire(&mut stream, &mut inbox).await?;
        callers.spawn(answer_releases(
            shot.clone(),
            stream,
            inbox,
            Arc::clone(&released),
            Arc::clone(&tally),
        ));
    }
    // A thread, because the runtime's own timer knows only milliseconds.
    let clock = thread::spawn(move || tick(&release, per_second, time));
    let mut waits: Vec<(Instant, Duration)> = Vec::new();
    while let Some(joined) = callers.join_next().await {
        waits.extend(joined.unwrap_or_default());
    }
    // It ended before its channel did, or nobody would have stopped waiting.
    let _ = clock.join();
    waits.sort_unstable_by_key(|(released, _)| *released);
    let mut waits: Vec<Duration> =
        waits.split_off(waits.len() / WARM_UP_SHARE).into_iter().map(|(_, wait)| wait).collect();
    waits.sort_unstable();
    Ok(Waits {
        median: micros_at(&waits, 0.5),
        percentile_99: micros_at(&waits, 0.99),
        count: waits.len(),
        mistakes: tally.mistakes(),
    })
}

/// Sends a release for each moment that is due. A late clock releases at once what it missed, and the waits
/// of those count from then: its lateness is the machine's, not the side's.
fn tick(release: &mpsc::UnboundedSender<Instant>, per_second: f64, time: Duration) {
    let start = Instant::now();
    for number in 0u32.. {
        let due = Duration::from_secs_f64(f64::from(number) / per_second.max(1.0));
        if due >= time {
            return;
        }
        if let Some(early) = due.checked_sub(start.elapsed()) {
            thread::sleep(early);
        }
        if release.send(Instant::now()).is_err() {
            return;
        }
    }
}

async fn answer_releases(
    shot: Shot,
    mut stream: TcpStream,
    mut inbox: Inbox,
    released: Arc<Mutex<mpsc::UnboundedReceiver<Instant>>>,
    tally: Arc<Tally>,
) -> Vec<(Instant, Duration)> {
    let mut waits = Vec::new();
    loop {
        let next = released.lock().await.recv().await;
        let Some(at) = next else { return waits };
        match shot.fire(&mut stream, &mut inbox).await {
            Ok(()) => waits.push((at, at.elapsed())),
            Err(wrong) => {
                tally.wrong(&wrong);
                let Ok(again) = shot.connect().await else { return waits };
                (stream, inbox) = (again, Inbox::default());
            }
        }
    }
}

/// The wait that this share of all did not exceed.
fn micros_at(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round().max(0.0);
    #[expect(clippy::cast_sign_loss, reason = "it is between zero and the last index")]
    let wait = sorted.get(at as usize).copied().unwrap_or_default();
    wait.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_waits_that_happened() {
        let waits: Vec<Duration> = (1..=101).map(Duration::from_micros).collect();
        for (share, micros) in [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 101.0)] {
            assert!((micros_at(&waits, share) - micros).abs() < 1e-6, "{share}");
        }
        assert!(micros_at(&[], 0.5).abs() < 1e-6);
    }
}
