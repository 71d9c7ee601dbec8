//! How are the targets doing? What every worker has seen of each provider's models, in one place.
//!
//! The core decides what it means (`filters::routing`); here it is kept, bounded, and told: to each request as an
//! [`Outlook`], to operators as a page and as metrics. A target that is well costs a request two look-ups and a few
//! relaxed reads and writes; only one that is not takes a lock of its own.

use palisade_filters::documents::routes::BreakerDocument;
use palisade_filters::routing::breaker::{Breaker, BreakerState};
use palisade_filters::routing::{Candidates, Outlook, TargetState};
use palisade_filters::{AuthorisedTarget, Policy};
use serde::Serialize;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Targets are kept in this many parts, so that a new one holds up few requests.
const SHARDS: usize = 16;
/// Targets of one part. Callers name models, so their number has a limit: past it, one that is well and was not heard
/// of for the longest is forgotten.
const SHARD_TARGETS_MAX: usize = 256;
/// Routes whose turns are counted; past it, all of them begin anew.
const TURNS_MAX: usize = 4096;
/// What was seen of a target's speed is asked for anew after this long: by one request, lest all of them find out.
const SPEED_KEPT_FOR: Duration = Duration::from_secs(10);
/// A new sample weighs this much less than what is known, as in TCP's round-trip times (RFC 6298).
const SPEED_WEIGHT: u64 = 8;
/// And this much, if what is known is older than [`SPEED_KEPT_FOR`].
const SPEED_WEIGHT_STALE: u64 = 2;

/// The state of every target.
#[derive(Debug)]
pub(crate) struct Health {
    shards: Vec<RwLock<HashMap<u64, Arc<Target>>>>,
    /// Requests of each route whose targets take turns.
    turns: Mutex<HashMap<u64, u64>>,
    hasher: RandomState,
    started: Instant,
}

#[derive(Debug)]
struct Target {
    provider: String,
    model: String,
    breaker: Mutex<Breaker>,
    /// Whether there is nothing to remember in `breaker`.
    is_well: AtomicBool,
    /// Of answers in one piece, and of streams, which begin sooner.
    speed: [Speed; 2],
    heard_of_ms: AtomicU64,
    opened: AtomicU64,
}

/// How soon answers begin: an exponentially weighted mean in the upper half, in tens of microseconds, and when it was
/// last added to, in tenths of a second, in the lower. Two samples at once may lose one: it is a mean.
#[derive(Debug, Default)]
struct Speed {
    packed: AtomicU64,
    /// When a request was last sent to find out.
    asked_ms: AtomicU64,
}

/// One attempt at a target, until it is known how it ended. Dropped before, it says nothing.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// None, if the target is not to be remembered.
    target: Option<Arc<Target>>,
    began_ms: u64,
    /// Whether this is the one request that tries a half-open target.
    is_probe: bool,
    /// Whether its speed is known.
    has_head: bool,
}

/// A target, for operators.
#[derive(Debug, Serialize)]
pub(crate) struct TargetRow {
    provider: String,
    model: String,
    state: &'static str,
    /// How long it is still passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
    failures_in_a_row: u32,
    opened_total: u64,
    /// Means of how soon answers begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_stream_ms: Option<f64>,
    heard_of_ago_ms: u64,
}

impl Health {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, turns: Mutex::default(), hasher: RandomState::new(), started: Instant::now() }
    }

    /// Milliseconds of a clock that does not go back.
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// What is known of a request's targets.
    pub(crate) fn outlook(&self, candidates: &Candidates) -> Outlook {
        let now_ms = self.now_ms();
        let asks_latency = candidates.asks_latency();
        let state = |(provider, model): (&str, &str)| {
            let Some(target) = self.find(provider, model) else { return TargetState::default() };
            let first_byte =
                if asks_latency { target.speed(candidates.is_stream()).usual(now_ms) } else { None };
            TargetState { breaker: target.state(now_ms), first_byte }
        };
        // Each new `RandomState` has other keys: chance without a lock and without a generator of our own.
        let random = RandomState::new().hash_one(0);
        let turn = candidates.takes_turns().map_or(0, |route| self.turn(route));
        Outlook { states: candidates.names().map(state).collect(), random, turn }
    }

    /// How many requests a route had before this one, which is counted.
    fn turn(&self, route: u64) -> u64 {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= TURNS_MAX && !turns.contains_key(&route) {
            turns.clear();
        }
        let next = turns.entry(route).or_default();
        std::mem::replace(next, next.wrapping_add(1))
    }

    /// Begins an attempt. None: the target is half-open and somebody else is trying it; unless it `must` be tried.
    pub(crate) fn begin(&self, target: &AuthorisedTarget, is_shown: bool, must: bool) -> Option<Trial> {
        let began_ms = self.now_ms();
        let target = self.find_or_add(&target.provider().document.name, target.model(), is_shown);
        let mut is_probe = false;
        if let Some(target) = &target {
            target.heard_of_ms.store(began_ms, Ordering::Relaxed);
            if !target.is_well.load(Ordering::Acquire) {
                let mut breaker = target.lock();
                is_probe = breaker.probe(began_ms);
                let is_free = is_probe || breaker.state(began_ms).closed_until_ms().is_none();
                if !is_free && !must {
                    return None;
                }
            }
        }
        Some(Trial { target, began_ms, is_probe, has_head: false })
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<HashMap<u64, Arc<Target>>>> {
        self.shards.get(hash as usize % SHARDS)
    }

    fn find(&self, provider: &str, model: &str) -> Option<Arc<Target>> {
        let hash = self.hasher.hash_one((provider, model));
        let shard = self.shard(hash)?.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&hash).filter(|target| target.provider == provider && target.model == model).cloned()
    }

    fn find_or_add(&self, provider: &str, model: &str, is_shown: bool) -> Option<Arc<Target>> {
        if let Some(target) = self.find(provider, model) {
            return Some(target);
        }
        // What must not be shown is not kept.
        let hash = self.hasher.hash_one((provider, model));
        let mut shard =
            self.shard(hash).filter(|_| is_shown)?.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= SHARD_TARGETS_MAX && !shard.contains_key(&hash) {
            let forgotten = shard.iter().min_by_key(|(_, target)| {
                (!target.is_well.load(Ordering::Relaxed), target.heard_of_ms.load(Ordering::Relaxed))
            });
            let forgotten = forgotten.map(|(hash, _)| *hash)?;
            shard.remove(&forgotten);
        }
        let added = || Arc::new(Target::new(provider.to_owned(), model.to_owned()));
        let target = shard.entry(hash).or_insert_with(added);
        // Two names with one hash of 64 bits: the second is not remembered.
        (target.provider == provider && target.model == model).then(|| target.clone())
    }

    /// Every target that was tried, by name.
    pub(crate) fn rows(&self) -> Vec<TargetRow> {
        let now_ms = self.now_ms();
        let mut rows = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            rows.extend(shard.values().map(|target| target.row(now_ms)));
        }
        rows.sort_by(|one, other| (&one.provider, &one.model).cmp(&(&other.provider, &other.model)));
        rows
    }

    /// How many targets of each provider are in which state.
    pub(crate) fn counts(&self, policy: &Policy) -> Vec<(String, [u64; 3])> {
        let rows = self.rows();
        let of = |provider: &str| {
            let mut states = [0; 3];
            for row in rows.iter().filter(|row| row.provider == provider) {
                for (state, count) in STATES.iter().zip(&mut states) {
                    *count += u64::from(row.state == *state);
                }
            }
            states
        };
        let names = policy.providers().iter().map(|provider| provider.document.name.as_str());
        names.map(|name| (name.to_owned(), of(name))).collect()
    }
}

/// The names of states, in the order of [`Health::counts`].
pub(crate) const STATES: [&str; 3] = ["closed", "half_open", "open"];

impl Target {
    fn new(provider: String, model: String) -> Self {
        Self {
            provider,
            model,
            breaker: Mutex::default(),
            is_well: AtomicBool::new(true),
            speed: Default::default(),
            heard_of_ms: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, now_ms: u64) -> BreakerState {
        if self.is_well.load(Ordering::Acquire) { BreakerState::Closed } else { self.lock().state(now_ms) }
    }

    /// Changes what is remembered.
    fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.lock();
        let result = change(&mut breaker);
        self.is_well.store(breaker.is_well(), Ordering::Release);
        result
    }

    fn speed(&self, is_stream: bool) -> &Speed {
        let [whole, stream] = &self.speed;
        if is_stream { stream } else { whole }
    }

    fn row(&self, now_ms: u64) -> TargetRow {
        let breaker = *self.lock();
        let state = breaker.state(now_ms);
        let mean = |is_stream| {
            let (mean_us, at_ms) = self.speed(is_stream).read();
            (at_ms > 0).then_some(mean_us as f64 / 1_000.0)
        };
        TargetRow {
            provider: self.provider.clone(),
            model: self.model.clone(),
            state: state.name(),
            retry_in_ms: state.closed_until_ms().map(|until_ms| until_ms.saturating_sub(now_ms)),
            failures_in_a_row: breaker.failures(),
            opened_total: self.opened.load(Ordering::Relaxed),
            first_byte_ms: mean(false),
            first_byte_stream_ms: mean(true),
            heard_of_ago_ms: now_ms.saturating_sub(self.heard_of_ms.load(Ordering::Relaxed)),
        }
    }
}

impl Speed {
    /// Mean in microseconds, and when it was last added to; 0: never.
    fn read(&self) -> (u64, u64) {
        let packed = self.packed.load(Ordering::Relaxed);
        ((packed >> 32) * 10, (packed & 0xffff_ffff) * 100)
    }

    fn mean(&self) -> Duration {
        Duration::from_micros(self.read().0)
    }

    /// What is known, unless this request is to find out.
    fn usual(&self, now_ms: u64) -> Option<Duration> {
        let (mean_us, at_ms) = self.read();
        if at_ms == 0 {
            return None;
        }
        let asked_ms = self.asked_ms.load(Ordering::Relaxed);
        let kept_ms = SPEED_KEPT_FOR.as_millis() as u64;
        let is_due = now_ms.saturating_sub(at_ms.max(asked_ms)) >= kept_ms
            && self.asked_ms.compare_exchange(asked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        (!is_due).then(|| Duration::from_micros(mean_us))
    }

    fn add(&self, took: Duration, now_ms: u64) {
        let (mean_us, at_ms) = self.read();
        let sample_us = took.as_micros().min(u128::from(u32::MAX)) as u64;
        let is_stale = now_ms.saturating_sub(at_ms) >= SPEED_KEPT_FOR.as_millis() as u64;
        let weight = if is_stale { SPEED_WEIGHT_STALE } else { SPEED_WEIGHT };
        let mean_us = if at_ms == 0 { sample_us } else { (mean_us * (weight - 1) + sample_us) / weight };
        // 100 ms of the process's life stand for none at all; 2^32 tenths of a second are thirteen years.
        let packed = (mean_us / 10) << 32 | ((now_ms / 100).max(1) & 0xffff_ffff);
        self.packed.store(packed, Ordering::Relaxed);
    }
}

impl Trial {
    /// The answer's head is there.
    pub(crate) fn head(&mut self, health: &Health, took: Duration, is_stream: bool) {
        self.has_head = true;
        if let Some(target) = &self.target {
            target.speed(is_stream).add(took, health.now_ms());
        }
    }

    /// Nobody waits any longer: an answer would have taken longer still. That counts if it is long for this target, or
    /// one that is slower than its callers are patient would never be found slow.
    pub(crate) fn waited(&self, health: &Health, for_time: Duration, is_stream: bool) {
        if let Some(target) = self.target.as_ref().filter(|_| !self.has_head) {
            let speed = target.speed(is_stream);
            if for_time > speed.mean() {
                speed.add(for_time, health.now_ms());
            }
        }
    }

    /// Something of the answer can be passed on.
    pub(crate) fn answers(&mut self, health: &Health) {
        self.change(|breaker, began_ms| breaker.answers(began_ms, health.now_ms()));
        self.give_back();
    }

    /// The answer was whole.
    pub(crate) fn succeeded(&mut self, health: &Health) {
        self.change(|breaker, began_ms| breaker.succeeded(began_ms, health.now_ms()));
        self.give_back();
    }

    /// There is nothing to change where there is nothing to forget.
    fn change(&self, change: impl FnOnce(&mut Breaker, u64)) {
        if let Some(target) = self.target.as_ref().filter(|target| !target.is_well.load(Ordering::Acquire)) {
            target.change(|breaker| change(breaker, self.began_ms));
        }
    }

    /// It failed by the target's doing. Says whether the target is passed over from now on.
    pub(crate) fn failed(
        &mut self,
        health: &Health,
        retry_after: Option<Duration>,
        settings: &BreakerDocument,
    ) -> bool {
        let Some(target) = &self.target else { return false };
        let retry_after_ms = retry_after.map(|after| after.as_millis() as u64);
        let opened =
            target.change(|breaker| breaker.failed(self.began_ms, health.now_ms(), retry_after_ms, settings));
        target.opened.fetch_add(u64::from(opened), Ordering::Relaxed);
        self.give_back();
        opened
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.is_probe)
            && let Some(target) = &self.target
        {
            target.change(Breaker::probe_ended);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn trial(target: Option<Arc<Target>>, is_probe: bool) -> Trial {
        Trial { target, began_ms: 0, is_probe, has_head: false }
    }

    #[test]
    fn a_mean_follows_its_samples_and_faster_after_a_pause() {
        let speed = Speed::default();
        assert_eq!(speed.usual(5_000), None, "nothing is known");
        speed.add(800 * MS, 5_000);
        assert_eq!(speed.usual(5_000), Some(800 * MS));
        speed.add(1_600 * MS, 5_100);
        assert_eq!(speed.usual(5_100), Some(900 * MS), "an eighth of the way");
        speed.add(100 * MS, 16_000);
        assert_eq!(speed.mean(), 500 * MS, "half of it");
    }

    #[test]
    fn what_is_old_is_found_out_by_one_request_at_a_time() {
        let speed = Speed::default();
        speed.add(800 * MS, 5_000);
        assert_eq!(speed.usual(14_999), Some(800 * MS));
        assert_eq!(speed.usual(15_000), None, "this one finds out");
        assert!((15_000..25_000).all(|moment| speed.usual(moment).is_some()), "and nobody else");
        assert_eq!(speed.usual(25_000), None, "unless it did not");
    }

    #[test]
    fn a_target_that_outlasts_its_callers_patience_is_found_slow() {
        let health = Health::new();
        let target = health.find_or_add("p", "m", true);
        let trial = trial(target.clone(), false);
        trial.waited(&health, 3_000 * MS, true);
        trial.waited(&health, MS, true);
        let target = target.unwrap();
        assert_eq!(target.speed(true).mean(), 3_000 * MS, "who left at once says nothing");
        assert_eq!(target.speed(false).usual(0), None);
    }

    #[test]
    fn the_table_has_an_end_and_forgets_what_is_well_first() {
        let health = Health::new();
        let ill = health.find_or_add("p", "ill", true).unwrap();
        let settings = BreakerDocument { failures: 1, ..BreakerDocument::default() };
        let mut trial = trial(Some(ill), false);
        assert!(trial.failed(&health, None, &settings));
        for number in 0..2 * SHARDS * SHARD_TARGETS_MAX {
            assert!(health.find_or_add("p", &format!("m{number}"), true).is_some());
        }
        assert!(health.rows().len() <= SHARDS * SHARD_TARGETS_MAX);
        assert!(matches!(health.find("p", "ill").unwrap().state(0), BreakerState::Open { .. }));
        assert!(health.find_or_add("p", "not to be shown", false).is_none());
    }

    #[test]
    fn a_probe_that_is_dropped_gives_its_place_back() {
        let health = Health::new();
        let target = health.find_or_add("p", "m", true).unwrap();
        target.change(|breaker| breaker.failed(0, 0, Some(1), &BreakerDocument::default()));
        assert!(target.change(|breaker| breaker.probe(1)));
        let trial = trial(Some(target.clone()), true);
        assert_eq!(target.state(1), BreakerState::HalfOpen { is_probed: true });
        drop(trial);
        assert_eq!(target.state(1), BreakerState::HalfOpen { is_probed: false });
    }
}
