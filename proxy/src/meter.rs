//! How much was used? Counters in memory, asked all or none.
//!
//! One lock for each organisation's counters: a question touches few, holds it for nanoseconds, and what it adds is
//! exact. Minutes slide: the last minute's count weighs in by the part of it that is still within sixty seconds. Days
//! are calendar days in UTC.

use palisade_filters::quota::{
    Ask, Limit, LimitHit, MeterRefusal, Receipt, Reservation, Unit, Usage, Window,
};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
/// Organisations share this many locks.
const SHARDS: usize = 64;
/// Counters of one shard; past it, those of windows that are over are dropped.
const COUNTERS_SWEPT_AT: usize = 16_384;

type CounterId = (Arc<str>, Unit, Window);

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// Which window `current` counts.
    window: u64,
    current: u64,
    previous: u64,
}

/// The counters of this process.
#[derive(Debug)]
pub(crate) struct Meters {
    shards: Vec<Mutex<HashMap<CounterId, Counter>>>,
    hasher: RandomState,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Adds all amounts, or none if one of the limits would be passed. Asynchronous, as counters that are shared
    /// between replicas will be.
    #[expect(
        clippy::unused_async,
        reason = "the seam: meters of several replicas are asked over the network"
    )]
    pub(crate) async fn reserve(&self, ask: &Ask, now_ms: u64) -> Result<Receipt, MeterRefusal> {
        let Some((first, _)) = ask.lines.first() else { return Ok(Receipt::default()) };
        let shard = self.shard(&first.subject).ok_or(MeterRefusal::Unavailable)?;
        let mut counters = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() > COUNTERS_SWEPT_AT {
            counters.retain(|(_, _, window), counter| counter.window + 1 >= window_index(*window, now_ms));
        }
        let mut remaining = Vec::new();
        for (limit, amount) in &ask.lines {
            let used = counters.get(&id(limit)).map_or(0, |counter| counter.used(limit.window, now_ms));
            let after = used.saturating_add(*amount);
            let reset_ms = reset_ms(limit.window, now_ms);
            if after > limit.most {
                let counter = counters.get(&id(limit)).copied().unwrap_or_default();
                let retry_after_ms = counter.fits_after(limit, *amount, now_ms);
                return Err(MeterRefusal::Hit(LimitHit { limit: limit.clone(), retry_after_ms }));
            }
            remaining.push((limit.clone(), limit.most - after, reset_ms));
        }
        for (limit, amount) in &ask.lines {
            counters.entry(id(limit)).or_default().add(limit.window, now_ms, *amount);
        }
        Ok(Receipt { ask: ask.clone(), remaining })
    }

    /// Settles: what was used beyond the reservation counts now, what was not used is taken back from the window that
    /// it was reserved in.
    fn correct(&self, corrections: &[(Limit, u64, u64)], reserved_ms: u64, now_ms: u64) {
        for (limit, add, take) in corrections {
            let Some(shard) = self.shard(&limit.subject) else { continue };
            let mut counters = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let counter = counters.entry(id(limit)).or_default();
            counter.add(limit.window, now_ms, *add);
            counter.take(window_index(limit.window, reserved_ms), *take);
        }
    }

    /// All subjects of one organisation live in one shard, so that a question needs one lock.
    fn shard(&self, subject: &str) -> Option<&Mutex<HashMap<CounterId, Counter>>> {
        let organisation = subject.split('/').next().unwrap_or(subject);
        self.shards.get(self.hasher.hash_one(organisation) as usize % SHARDS)
    }
}

fn id(limit: &Limit) -> CounterId {
    (limit.subject.clone(), limit.unit, limit.window)
}

fn window_ms(window: Window) -> u64 {
    match window {
        Window::Minute => MINUTE_MS,
        Window::Day => DAY_MS,
    }
}

fn window_index(window: Window, now_ms: u64) -> u64 {
    now_ms / window_ms(window)
}

fn reset_ms(window: Window, now_ms: u64) -> u64 {
    window_ms(window) - now_ms % window_ms(window)
}

/// How many milliseconds before the end of a minute a count of the minute before weighs no more than `room`.
fn decayed_at(count: u64, room: u64) -> u64 {
    (room.saturating_mul(MINUTE_MS)).checked_div(count).map_or(MINUTE_MS, |left| left.min(MINUTE_MS))
}

impl Counter {
    fn roll(&mut self, window: Window, now_ms: u64) {
        let index = window_index(window, now_ms);
        if index == self.window + 1 {
            *self = Self { window: index, current: 0, previous: self.current };
        } else if index > self.window {
            *self = Self { window: index, current: 0, previous: 0 };
        }
    }

    fn used(mut self, window: Window, now_ms: u64) -> u64 {
        self.roll(window, now_ms);
        match window {
            Window::Day => self.current,
            Window::Minute => {
                let left = MINUTE_MS - now_ms % MINUTE_MS;
                // Rounded up: a limit is kept rather than passed by one.
                self.current.saturating_add((self.previous.saturating_mul(left)).div_ceil(MINUTE_MS))
            }
        }
    }

    /// In how many milliseconds `amount` would fit, if nothing else is added until then.
    fn fits_after(mut self, limit: &Limit, amount: u64, now_ms: u64) -> Option<u64> {
        let room = limit.most.checked_sub(amount)?;
        let to_reset = reset_ms(limit.window, now_ms);
        self.roll(limit.window, now_ms);
        match limit.window {
            Window::Day => Some(to_reset),
            // What weighs on this minute decays to its end; what is counted now decays in the next one.
            Window::Minute if self.current <= room => {
                Some(to_reset.saturating_sub(decayed_at(self.previous, room - self.current)))
            }
            Window::Minute => Some(to_reset + MINUTE_MS - decayed_at(self.current, room)),
        }
    }

    fn add(&mut self, window: Window, now_ms: u64, amount: u64) {
        self.roll(window, now_ms);
        self.current = self.current.saturating_add(amount);
    }

    /// Takes back from a window, as long as it is remembered.
    fn take(&mut self, window: u64, amount: u64) {
        if window == self.window {
            self.current = self.current.saturating_sub(amount);
        } else if window + 1 == self.window {
            self.previous = self.previous.saturating_sub(amount);
        }
    }
}

/// Budget that is put aside until it is settled. Dropped unsettled, by a client that left or a panic, it charges what
/// is known.
#[derive(Debug)]
pub(crate) struct Held {
    meters: Arc<Meters>,
    reservation: Reservation,
    reserved_ms: u64,
    /// By the attempt under way.
    used: Usage,
    /// By attempts before it that broke off after the prompt was sent.
    lost_tokens: u64,
    now_ms: fn() -> u64,
}

impl Held {
    /// Holds a reservation. Until something is sent, nothing is used.
    pub(crate) fn new(meters: Arc<Meters>, reservation: Reservation, now_ms: fn() -> u64) -> Self {
        Self { meters, reservation, reserved_ms: now_ms(), used: Usage::default(), lost_tokens: 0, now_ms }
    }

    /// What the meters said.
    pub(crate) fn receipt(&self) -> &Receipt {
        self.reservation.receipt()
    }

    /// A provider has the prompt: from now on it costs at least that.
    pub(crate) fn sent(&mut self) {
        self.used.prompt_tokens = self.used.prompt_tokens.max(self.reservation.prompt_tokens());
    }

    /// What is known to be used.
    pub(crate) fn used(&mut self, usage: Usage) {
        self.used = usage;
    }

    /// The attempt broke off: what it used is used, and another begins.
    pub(crate) fn abandon(&mut self) {
        let used = std::mem::take(&mut self.used);
        let used = used.prompt_tokens.saturating_add(used.completion_tokens);
        self.lost_tokens = self.lost_tokens.saturating_add(used);
    }

    /// The prompt as it was reckoned, for an answer that does not state its usage.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.reservation.prompt_tokens()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut used = self.used;
        used.prompt_tokens = used.prompt_tokens.saturating_add(self.lost_tokens);
        let corrections = self.reservation.corrections(used);
        self.meters.correct(&corrections, self.reserved_ms, (self.now_ms)());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(window: Window, unit: Unit, most: u64) -> Limit {
        Limit { subject: "acme/organisation".into(), unit, window, most }
    }

    fn ask(lines: &[(Limit, u64)]) -> Ask {
        Ask { lines: lines.to_vec() }
    }

    #[tokio::test]
    async fn all_or_none_is_added() {
        let meters = Meters::new();
        let requests = limit(Window::Day, Unit::Requests, 10);
        let tokens = limit(Window::Day, Unit::Tokens, 100);
        let both = ask(&[(requests.clone(), 1), (tokens.clone(), 101)]);
        assert!(matches!(meters.reserve(&both, 0).await, Err(MeterRefusal::Hit(hit)) if hit.limit == tokens));
        let receipt = meters.reserve(&ask(&[(requests.clone(), 10)]), 0).await.unwrap();
        assert_eq!(receipt.remaining, [(requests, 0, DAY_MS)]);
    }

    #[tokio::test]
    async fn a_minute_slides_and_a_day_ends_at_midnight() {
        let meters = Meters::new();
        let minute = limit(Window::Minute, Unit::Requests, 10);
        let day = limit(Window::Day, Unit::Requests, 10);
        let ten = ask(&[(minute.clone(), 10), (day, 10)]);
        assert!(meters.reserve(&ten, DAY_MS - 1).await.is_ok());
        let one = ask(&[(minute, 1)]);
        assert!(meters.reserve(&one, DAY_MS + 1).await.is_err(), "a second later the minute is not over");
        assert!(meters.reserve(&one, DAY_MS + 30_000).await.is_ok(), "half of it is");
        assert!(meters.reserve(&ask(&[(limit(Window::Day, Unit::Requests, 10), 10)]), DAY_MS).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_as_long_as_told_is_admitted_and_not_much_sooner() {
        let one = |most, amount| ask(&[(limit(Window::Minute, Unit::Requests, most), amount)]);
        for (most, at) in [(1, 0), (1, 59_999), (7, 12_345), (100, 31_000)] {
            let meters = Meters::new();
            assert!(meters.reserve(&one(most, most), at).await.is_ok());
            let Err(MeterRefusal::Hit(hit)) = meters.reserve(&one(most, 1), at + 1).await else {
                panic!("admitted")
            };
            let wait = hit.retry_after_ms.unwrap();
            assert!(meters.reserve(&one(most, 1), at + 1 + wait).await.is_ok(), "{most} at {at}: {wait} ms");
            assert!(wait <= 2 * MINUTE_MS);
        }
        let Err(MeterRefusal::Hit(hit)) = Meters::new().reserve(&one(5, 6), 0).await else {
            panic!("admitted")
        };
        assert_eq!(hit.retry_after_ms, None);
    }

    #[tokio::test]
    async fn what_is_taken_back_was_never_anothers() {
        let meters = Meters::new();
        let tokens = limit(Window::Minute, Unit::Tokens, 20_000);
        assert!(meters.reserve(&ask(&[(tokens.clone(), 15_000)]), 0).await.is_ok());
        let later = 2 * MINUTE_MS + 1;
        assert!(meters.reserve(&ask(&[(tokens.clone(), 15_000)]), later).await.is_ok());
        meters.correct(&[(tokens.clone(), 0, 14_998)], 0, later + 1);
        assert!(meters.reserve(&ask(&[(tokens, 6_000)]), later + 2).await.is_err());
    }

    #[tokio::test]
    async fn concurrent_callers_never_pass_a_limit() {
        let meters = Arc::new(Meters::new());
        let question = ask(&[(limit(Window::Day, Unit::Tokens, 1_000), 7)]);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (meters, question) = (meters.clone(), question.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let accepted = |_| u64::from(runtime.block_on(meters.reserve(&question, 5)).is_ok());
                    (0..100).map(accepted).sum::<u64>()
                })
            })
            .collect();
        let accepted: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(accepted, 1_000 / 7);
    }
}
