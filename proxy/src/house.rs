//! What do all requests share? The policy, the meters, the spool, the metrics, the limits. Nothing of a request.

use crate::config::Limits;
use crate::health::Health;
use crate::meter::Meters;
use crate::metrics::Metrics;
use arc_swap::ArcSwapOption;
use palisade_audit::Spool;
use palisade_filters::{Policy, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// What all requests share.
pub(crate) struct House {
    policy: ArcSwapOption<Policy>,
    /// Changes whenever the policy does: exchanges under way ask again whether they are still welcome.
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) meters: Arc<Meters>,
    /// How the targets are doing.
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) spool: Spool,
    pub(crate) limits: Limits,
    /// Flips first when the process is asked to stop.
    pub(crate) is_stopping: AtomicBool,
    bodies_bytes: AtomicU64,
    in_flight: AtomicUsize,
    is_idle: Notify,
    /// An operator asks for a reload now.
    pub(crate) reload: Notify,
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

impl House {
    pub(crate) fn new(metrics: Metrics, spool: Spool, limits: Limits) -> Self {
        Self {
            policy: ArcSwapOption::empty(),
            revision: watch::Sender::new(0),
            meters: Arc::new(Meters::new()),
            health: Health::new(),
            metrics,
            spool,
            limits,
            is_stopping: AtomicBool::new(false),
            bodies_bytes: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            is_idle: Notify::new(),
            reload: Notify::new(),
        }
    }

    /// The policy of this moment. A request asks once.
    pub(crate) fn policy(&self) -> Result<Arc<Policy>, Refusal> {
        self.policy.load_full().ok_or(Refusal::PolicyUnavailable)
    }

    /// Puts a policy in force.
    pub(crate) fn enforce(&self, policy: Arc<Policy>) {
        let revision = policy.revision();
        self.policy.store(Some(policy));
        self.revision.send_replace(revision);
    }

    /// Whether requests can be judged and are wanted.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Acquire) && self.policy.load().is_some()
    }

    /// Sets memory aside for a body.
    pub(crate) fn hold_body(self: &Arc<Self>, bytes: u64) -> Result<BodyShare, Refusal> {
        let limit = self.limits.bodies_in_memory.as_u64();
        let before = self.bodies_bytes.fetch_add(bytes, Ordering::AcqRel);
        let share = BodyShare { house: self.clone(), bytes };
        if before.saturating_add(bytes) > limit { Err(Refusal::Overloaded) } else { Ok(share) }
    }

    /// Counts an exchange until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.metrics.in_flight.inc();
        InFlight(self.clone())
    }

    /// Waits until no exchange is under way.
    pub(crate) async fn drained(&self) {
        loop {
            let idle = self.is_idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// How many exchanges are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// Memory that a body takes up.
pub(crate) struct BodyShare {
    house: Arc<House>,
    bytes: u64,
}

impl BodyShare {
    /// Takes more, for a body whose length was not said.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let mut more = self.house.hold_body(bytes)?;
        self.bytes += std::mem::take(&mut more.bytes);
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.house.bodies_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// An exchange under way.
pub(crate) struct InFlight(Arc<House>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.is_idle.notify_waiters();
        }
    }
}
