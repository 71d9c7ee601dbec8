//! How long ago was anything heard of the policy, and is that too long?
//!
//! Only a policy that is followed can be too old: a folder of documents is what it is. Ages are measured on a clock
//! that nobody sets; only what was kept over a restart is as old as the wall clock says.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Nothing is followed, or nothing was heard yet.
const NEVER: i64 = i64::MIN;
/// What was written down later than now was written by a clock that was wrong, or is now. Clocks that are put right
/// differ by less.
const CLOCKS_DIFFER: Duration = Duration::from_mins(1);

/// When something was heard last.
pub(crate) struct Freshness {
    begun: Instant,
    /// In milliseconds since then; what was heard before is negative.
    heard: AtomicI64,
    /// None, if nothing is followed.
    max: OnceLock<Duration>,
}

impl Freshness {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), heard: AtomicI64::new(NEVER), max: OnceLock::new() }
    }

    /// A policy is followed from now on: it holds for so long after something was heard of it.
    pub(crate) fn follow(&self, max: Duration) {
        // A process has one source.
        let _ = self.max.set(max);
    }

    /// How long news is waited for, of what is to be heard of more often than it may grow old.
    pub(crate) fn patience(&self, most: Duration) -> Duration {
        self.max.get().map_or(most, |max| most.min(*max / 3))
    }

    /// The control plane said something just now.
    pub(crate) fn heard(&self) {
        self.heard_before(Duration::ZERO);
    }

    /// It said something then, as the wall clock says; what was later than now is of no use.
    pub(crate) fn heard_at(&self, then: SystemTime, now: SystemTime) {
        match now.duration_since(then) {
            Ok(age) => self.heard_before(age),
            Err(ahead) if ahead.duration() <= CLOCKS_DIFFER => self.heard(),
            Err(_) => self.heard_before(Duration::MAX),
        }
    }

    fn heard_before(&self, age: Duration) {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.heard.store(millis(self.begun.elapsed()).saturating_sub(millis(age)), Ordering::Release);
    }

    /// How long ago that was; none, if nothing is followed or was heard.
    pub(crate) fn age(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Acquire);
        let now = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let age = u64::try_from(now.saturating_sub(heard)).unwrap_or(0);
        (heard != NEVER).then(|| Duration::from_millis(age))
    }

    /// Whether it is too long ago.
    pub(crate) fn is_stale(&self) -> bool {
        self.max.get().is_some_and(|max| self.age().is_none_or(|age| age > *max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn only_what_is_followed_grows_old() {
        let freshness = Freshness::new();
        assert!(!freshness.is_stale(), "a folder is what it is");
        freshness.follow(HOUR);
        assert!(freshness.is_stale(), "nothing was heard yet");
        freshness.heard();
        assert!(!freshness.is_stale());
        assert!(freshness.age().unwrap() < HOUR);
    }

    #[test]
    fn what_was_kept_is_as_old_as_it_is() {
        let (freshness, now) = (Freshness::new(), SystemTime::now());
        freshness.follow(HOUR);
        for (then, is_stale) in [
            (now - HOUR / 2, false),
            (now - HOUR * 2, true),
            (now, false),
            (now + CLOCKS_DIFFER, false),
            // Else whoever sets a clock would have a policy that never grows old.
            (now + CLOCKS_DIFFER * 2, true),
            (SystemTime::UNIX_EPOCH, true),
        ] {
            freshness.heard_at(then, now);
            assert_eq!(freshness.is_stale(), is_stale, "{then:?}");
        }
        freshness.heard();
        assert!(!freshness.is_stale());
    }
}
