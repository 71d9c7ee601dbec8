//! How much was used? Counters in memory, asked all or none.
//!
//! Organisations share a number of locks; all counters of one are under one lock, so that a question takes one, holds
//! it for nanoseconds, and what it adds is exact. Minutes slide: the last minute's count weighs in by the part of it
//! that is still within sixty seconds. Days and months are the calendar's, in UTC. What is under way at once has no
//! window.

use palisade_filters::quota::{
    Ask, Charge, Correction, CounterId, Limit, LimitHit, MINUTE_MS, MeterRefusal, Nearest, Receipt, Unit,
    Window,
};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Organisations share this many locks.
const SHARDS: usize = 64;
/// How long a client waits that found too many under way: nobody knows when one of them ends.
const SOON_MS: u64 = 1_000;

/// Counters of this process, of all organisations.
#[derive(Debug)]
pub(super) struct Counters {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    counters: HashMap<CounterId, Counter, BuildHasherDefault<IdHasher>>,
    /// The latest moment that anything was asked at: threads that read the clock one after the other come in any order.
    latest_ms: u64,
    is_changed: bool,
}

/// Ids are parts of a SHA-256 already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(32) ^ number;
    }
}

/// One count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) over: Window,
    /// Which window `current` counts.
    pub(super) window: u64,
    pub(super) current: u64,
    pub(super) previous: u64,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Adds all amounts, or none if a hard limit would be passed. Of several, the one that bites longest is told.
    pub(super) fn reserve(&self, ask: &Ask, now_ms: u64) -> Result<Receipt, MeterRefusal> {
        let Some((_, first, _)) = ask.lines().next() else { return Ok(Receipt::default()) };
        let mut shard = self.shard(first.counter).ok_or(MeterRefusal::Unavailable)?;
        let now_ms = shard.tick(now_ms);
        let mut receipt = Receipt { at_ms: now_ms, ..Receipt::default() };
        let mut hit: Option<LimitHit> = None;
        for (at, limit, amount) in ask.lines() {
            let counter = shard.counter(limit);
            let after = counter.used(now_ms).saturating_add(amount);
            if limit.hard.is_some_and(|most| after > most) {
                let refused = counter.refuse(limit, amount, now_ms);
                let waits = |hit: &LimitHit| hit.retry_after_ms.unwrap_or(u64::MAX);
                if hit.as_ref().is_none_or(|known| waits(&refused) > waits(known)) {
                    hit = Some(refused);
                }
            }
            note(&mut receipt, at, limit, after, now_ms);
        }
        if let Some(hit) = hit {
            return Err(MeterRefusal::Hit(Box::new(hit)));
        }
        for (_, limit, amount) in ask.lines() {
            let empty = Counter::new(limit.window);
            shard.counters.entry(limit.counter).or_insert(empty).add(now_ms, amount);
        }
        shard.is_changed = true;
        drop(shard);
        receipt.ask = ask.clone();
        Ok(receipt)
    }

    /// Settles: what was used beyond the reservation counts now, what was not used is taken back from the window that
    /// it was reserved in.
    pub(super) fn settle(
        &self,
        receipt: &Receipt,
        charges: impl Iterator<Item = Charge> + Clone,
        now_ms: u64,
    ) {
        let mut corrections = receipt.corrections(charges).peekable();
        let Some((first, _)) = corrections.peek() else { return };
        let Some(mut shard) = self.shard(first.counter) else { return };
        let now_ms = shard.tick(now_ms);
        for (limit, Correction { add, take }) in corrections {
            let empty = Counter::new(limit.window);
            let counter = shard.counters.entry(limit.counter).or_insert(empty);
            counter.add(now_ms, add);
            counter.take(limit.window.index(receipt.at_ms), take);
        }
        shard.is_changed = true;
    }

    fn shard(&self, id: CounterId) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get(id.organisation as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anything was counted since this was asked last.
    pub(super) fn take_changed(&self) -> bool {
        self.shards.iter().fold(false, |any, shard| {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut shard.is_changed) || any
        })
    }

    /// Shows every counter whose window is not over, and forgets the others.
    pub(super) fn sweep(&self, now_ms: u64, mut show: impl FnMut(CounterId, &Counter)) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let now_ms = shard.tick(now_ms);
            shard.counters.retain(|_, counter| counter.is_live(now_ms));
            shard.counters.iter().for_each(|(id, counter)| show(*id, counter));
        }
    }

    /// Puts a counter back that another process kept. What it counted in a window that has not begun here, because
    /// the clock was set back, counts in the one that has: a budget is not opened again.
    pub(super) fn restore(&self, id: CounterId, mut counter: Counter, now_ms: u64) {
        let index = counter.over.index(now_ms);
        if counter.window == index + 1 {
            counter.current = counter.current.saturating_add(counter.previous);
            counter.previous = 0;
        }
        counter.window = counter.window.min(index);
        if let Some(mut shard) = self.shard(id) {
            shard.counters.insert(id, counter);
        }
    }
}

/// Notes how near a limit is, and whether its soft bound is passed.
fn note(receipt: &mut Receipt, at: usize, limit: &Limit, after: u64, now_ms: u64) {
    if limit.soft.is_some_and(|most| after > most) {
        receipt.passed |= 1 << at;
    }
    let Some(most) = limit.hard.filter(|_| limit.window != Window::AtOnce) else { return };
    let left = most.saturating_sub(after);
    let place = match limit.unit {
        Unit::Requests => 0,
        Unit::Tokens => 1,
        Unit::Dollars => 2,
    };
    if let Some(nearest) = receipt.nearest.get_mut(place)
        && nearest.is_none_or(|nearest| left < nearest.left)
    {
        *nearest = Some(Nearest { at, left, reset_ms: limit.window.ends_ms(now_ms) - now_ms });
    }
}

impl Shard {
    fn tick(&mut self, now_ms: u64) -> u64 {
        self.latest_ms = self.latest_ms.max(now_ms);
        self.latest_ms
    }

    fn counter(&self, limit: &Limit) -> Counter {
        self.counters.get(&limit.counter).copied().unwrap_or(Counter::new(limit.window))
    }
}

impl Counter {
    fn new(over: Window) -> Self {
        Self { over, window: 0, current: 0, previous: 0 }
    }

    fn roll(&mut self, now_ms: u64) {
        let index = self.over.index(now_ms);
        if index == self.window + 1 {
            *self = Self { window: index, current: 0, previous: self.current, ..*self };
        } else if index > self.window {
            *self = Self { window: index, current: 0, previous: 0, ..*self };
        }
    }

    fn used(mut self, now_ms: u64) -> u64 {
        self.roll(now_ms);
        match self.over {
            Window::AtOnce | Window::Day | Window::Month => self.current,
            Window::Minute => {
                let left = u128::from(MINUTE_MS - now_ms % MINUTE_MS);
                // Rounded up: a limit is kept rather than passed by one.
                let weighs = (u128::from(self.previous) * left).div_ceil(u128::from(MINUTE_MS));
                self.current.saturating_add(u64::try_from(weighs).unwrap_or(u64::MAX))
            }
        }
    }

    fn refuse(mut self, limit: &Limit, amount: u64, now_ms: u64) -> LimitHit {
        self.roll(now_ms);
        let most = limit.hard.unwrap_or(u64::MAX);
        LimitHit {
            limit: limit.clone(),
            left: most.saturating_sub(self.used(now_ms)),
            retry_after_ms: most.checked_sub(amount).map(|room| self.fits_after(room, now_ms)),
            resets_ms: self.over.ends_ms(now_ms),
        }
    }

    /// In how many milliseconds this counter leaves the room that is wanted, if nothing is added until then.
    fn fits_after(self, room: u64, now_ms: u64) -> u64 {
        let to_end = self.over.ends_ms(now_ms) - now_ms;
        match self.over {
            Window::AtOnce => SOON_MS,
            Window::Day | Window::Month => to_end,
            // What weighs on this minute decays to its end; what is counted now decays in the next one.
            Window::Minute if self.current <= room => {
                to_end.saturating_sub(decayed_at(self.previous, room - self.current))
            }
            Window::Minute => to_end + MINUTE_MS - decayed_at(self.current, room),
        }
    }

    fn add(&mut self, now_ms: u64, amount: u64) {
        self.roll(now_ms);
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

    /// Whether it still counts for anything.
    fn is_live(&self, now_ms: u64) -> bool {
        let index = self.over.index(now_ms);
        match self.over {
            Window::AtOnce => self.current > 0,
            Window::Minute => self.window + 1 >= index,
            // Of the window before, a reservation may still be taken back; that changes nothing any more.
            Window::Day | Window::Month => self.window >= index,
        }
    }
}

/// How many milliseconds before the end of a minute a count of the minute before weighs no more than `room`.
fn decayed_at(count: u64, room: u64) -> u64 {
    let left = (u128::from(room) * u128::from(MINUTE_MS)).checked_div(u128::from(count));
    left.and_then(|left| u64::try_from(left).ok()).map_or(MINUTE_MS, |left| left.min(MINUTE_MS))
}
