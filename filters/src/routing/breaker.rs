//! Is a target worth trying? What one remembers of it, as a state machine without a clock.
//!
//! *Closed*: it is tried. After so many failures in a row, or when the target itself says to come again later, it is
//! *open*: passed over, until a moment. Then it is *half-open*: one request at a time tries it, and how that ends
//! closes it or opens it anew. What an attempt says counts only if it began after the last change: fifty requests that
//! time out a minute after the outage is over are old news.
//!
//! Moments are milliseconds of any clock that does not go back; what is a failure, the relay decides.

use crate::documents::routes::BreakerDocument;

/// What is remembered of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// When the first of them was.
    first_failure_ms: u64,
    /// Open until then, and half-open after it.
    open_until_ms: Option<u64>,
    /// When it last opened or closed.
    changed_ms: u64,
    /// Whether somebody is trying it while it is half-open.
    is_probed: bool,
}

/// What a breaker says at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// The target may be tried.
    #[default]
    Closed,
    /// One request at a time may try it.
    HalfOpen {
        /// Whether one does already.
        is_probed: bool,
    },
    /// It is passed over.
    Open {
        /// Until then.
        until_ms: u64,
    },
}

impl BreakerState {
    /// The name it has in metrics and on the page of targets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen { .. } => "half_open",
            Self::Open { .. } => "open",
        }
    }

    /// When it may be tried, if not now.
    pub fn closed_until_ms(self) -> Option<u64> {
        match self {
            Self::Closed | Self::HalfOpen { is_probed: false } => None,
            Self::HalfOpen { is_probed: true } => Some(0),
            Self::Open { until_ms } => Some(until_ms),
        }
    }
}

impl Breaker {
    /// Whether there is nothing to remember.
    pub fn is_well(&self) -> bool {
        self.open_until_ms.is_none() && self.failures == 0
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What it says now.
    pub fn state(&self, now_ms: u64) -> BreakerState {
        match self.open_until_ms {
            None => BreakerState::Closed,
            Some(until_ms) if now_ms < until_ms => BreakerState::Open { until_ms },
            Some(_) => BreakerState::HalfOpen { is_probed: self.is_probed },
        }
    }

    /// Takes the one place of a half-open breaker, if it is free.
    pub fn probe(&mut self, now_ms: u64) -> bool {
        let is_free = self.state(now_ms) == BreakerState::HalfOpen { is_probed: false };
        self.is_probed |= is_free;
        is_free
    }

    /// Gives that place back, whatever came of it.
    pub fn probe_ended(&mut self) {
        self.is_probed = false;
    }

    /// An attempt that began then gets an answer. How it ends is not known yet: an open breaker closes, a run of
    /// failures goes on.
    pub fn answers(&mut self, began_ms: u64, now_ms: u64) {
        if self.open_until_ms.is_some() {
            self.succeeded(began_ms, now_ms);
        }
    }

    /// An attempt that began then found the target well.
    pub fn succeeded(&mut self, began_ms: u64, now_ms: u64) {
        if began_ms < self.changed_ms {
            return;
        }
        self.failures = 0;
        if self.open_until_ms.take().is_some() {
            self.changed_ms = now_ms;
        }
    }

    /// An attempt that began then failed by the target's doing, which may have said for how long to stay away. Says
    /// whether the breaker opened now.
    pub fn failed(
        &mut self,
        began_ms: u64,
        now_ms: u64,
        retry_after_ms: Option<u64>,
        settings: &BreakerDocument,
    ) -> bool {
        let millis = |time: std::time::Duration| time.as_millis() as u64;
        let was_open = self.open_until_ms.is_some_and(|until_ms| now_ms < until_ms);
        // What the target says of its own future is never old news.
        let asked = retry_after_ms.unwrap_or(0).min(millis(settings.retry_after_max));
        let mut until_ms = if asked > 0 { now_ms.saturating_add(asked) } else { 0 };
        if began_ms >= self.changed_ms {
            let is_run =
                self.failures > 0 && now_ms.saturating_sub(self.first_failure_ms) <= millis(settings.window);
            if !is_run {
                (self.failures, self.first_failure_ms) = (0, now_ms);
            }
            self.failures = self.failures.saturating_add(1);
            let is_enough = self.failures >= settings.failures || self.open_until_ms.is_some();
            if settings.failures > 0 && is_enough && !was_open {
                until_ms = until_ms.max(now_ms.saturating_add(millis(settings.open_for)));
            }
        }
        if until_ms <= self.open_until_ms.unwrap_or(0).max(now_ms) {
            return false;
        }
        (self.open_until_ms, self.changed_ms) = (Some(until_ms), now_ms);
        !was_open
    }
}
