//! What time is it for the meters? Never earlier than it was.
//!
//! A clock that is set back would open a day's budget a second time, and would make a minute last an hour. So the
//! meters follow the system's clock when it goes ahead, and the time that really passed when it goes back: they stay
//! ahead of it by what it was set back, until the process starts anew.

use crate::house;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// A clock that only goes ahead.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// The system's clock less the time that passed since the start, at its greatest.
    base_ms: AtomicI64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), base_ms: AtomicI64::new(i64::MIN) }
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        self.read(house::now_ms(), self.started.elapsed().as_millis() as u64)
    }

    fn read(&self, system_ms: u64, passed_ms: u64) -> u64 {
        let (system, passed) = (system_ms.cast_signed(), passed_ms.cast_signed());
        let base = system.saturating_sub(passed);
        let mut greatest = self.base_ms.load(Ordering::Relaxed);
        // Written seldom: all workers read it for every request.
        if base > greatest {
            greatest = self.base_ms.fetch_max(base, Ordering::Relaxed).max(base);
        }
        greatest.saturating_add(passed).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_follows_ahead_and_does_not_follow_back() {
        let clock = Clock::new();
        assert_eq!(clock.read(1_000, 0), 1_000);
        assert_eq!(clock.read(1_500, 500), 1_500);
        assert_eq!(clock.read(60_000, 600), 60_000, "set ahead");
        assert_eq!(clock.read(2_000, 700), 60_100, "set back: time passes all the same");
        assert_eq!(clock.read(60_200, 750), 60_200, "the system has caught up");
    }

    proptest! {
        #[test]
        fn it_never_goes_back(steps in prop::collection::vec((0..5_000_u64, 0..2_000_u64), 1..50)) {
            let (clock, mut passed, mut before) = (Clock::new(), 0, 0);
            for (system, more) in steps {
                passed += more;
                let now = clock.read(system + passed, passed);
                prop_assert!(now >= before + more.min(now), "{now} after {before} and {more}");
                before = now;
            }
        }
    }
}
