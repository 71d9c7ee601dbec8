//! What do all requests share? The policy, the meters, the spool, the metrics, the limits. Nothing of a request.

use crate::bodies::Bodies;
use crate::config::Limits;
use crate::detectors::Detectors;
use crate::edge::Edge;
use crate::freshness::Freshness;
use crate::geoip::Geo;
use crate::health::Health;
use crate::issuers::Issuers;
use crate::meter::Meters;
use crate::metrics::Metrics;
use crate::usage::Usage;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use palisade_audit::Spool;
use palisade_filters::credint::Intelligence;
use palisade_filters::documents::OnFull;
use palisade_filters::policy::Tenant;
use palisade_filters::{Memory, Policy, Refusal};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// What all requests share.
pub(crate) struct House {
    policy: ArcSwapOption<Policy>,
    /// How long ago something was heard of it.
    pub(crate) freshness: Freshness,
    /// Changes whenever the policy does: exchanges under way ask again whether they are still welcome.
    pub(crate) revision: watch::Sender<u64>,
    /// What is known of compromised credentials. A request takes it once.
    pub(crate) intelligence: ArcSwap<Intelligence>,
    /// The keys of issuers of JWTs.
    pub(crate) issuers: Issuers,
    pub(crate) meters: Arc<Meters>,
    /// How the targets are doing.
    pub(crate) health: Health,
    /// How the services are doing that prompts are asked of.
    pub(crate) detectors: Detectors,
    pub(crate) metrics: Metrics,
    pub(crate) spool: Spool,
    pub(crate) geo: Arc<Geo>,
    limits: ArcSwap<Limits>,
    pub(crate) edge: Edge,
    /// Flips first when the process is asked to stop.
    pub(crate) is_stopping: AtomicBool,
    pub(crate) bodies: Bodies,
    /// What was found in texts that were sent before.
    pub(crate) memory: Memory,
    /// The drain is over: what is still under way ends now.
    is_cut: AtomicBool,
    /// Whether requests are judged here; if not, no policy is needed.
    pub(crate) judges: bool,
    in_flight: AtomicUsize,
    is_idle: Notify,
    /// Where usage is counted, if somebody keeps it.
    pub(crate) usage: OnceLock<Usage>,
    /// An operator asks for a reload now.
    pub(crate) reload: Notify,
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

impl House {
    /// A house with secrets of its own: the key of what is remembered of texts, and the one of JWTs.
    pub(crate) fn new(
        metrics: Metrics,
        spool: Spool,
        geo: Arc<Geo>,
        limits: Limits,
        edge: Edge,
        (memory_key, jwt_key): ([u8; 16], [u8; 32]),
    ) -> Self {
        Self {
            issuers: Issuers::new(jwt_key),
            memory: Memory::new(memory_key, limits.remembered_findings.as_u64() as usize),
            policy: ArcSwapOption::empty(),
            freshness: Freshness::new(),
            revision: watch::Sender::new(0),
            intelligence: ArcSwap::default(),
            meters: Arc::new(Meters::new()),
            health: Health::new(),
            detectors: Detectors::new(),
            metrics,
            spool,
            geo,
            limits: ArcSwap::from_pointee(limits),
            edge,
            is_stopping: AtomicBool::new(false),
            bodies: Bodies::new(),
            is_cut: AtomicBool::new(false),
            judges: true,
            in_flight: AtomicUsize::new(0),
            is_idle: Notify::new(),
            usage: OnceLock::new(),
            reload: Notify::new(),
        }
    }

    /// The policy of this moment, unless nothing was heard of it for too long. A request asks once.
    pub(crate) fn policy(&self) -> Result<Arc<Policy>, Refusal> {
        self.last_policy().filter(|_| !self.freshness.is_stale()).ok_or(Refusal::PolicyUnavailable)
    }

    /// The last policy, however old it is: what is under way goes on by it.
    pub(crate) fn last_policy(&self) -> Option<Arc<Policy>> {
        self.policy.load_full()
    }

    /// Puts a policy in force, and gives back the one before.
    pub(crate) fn enforce(&self, policy: Arc<Policy>) -> Option<Arc<Policy>> {
        let revision = policy.revision();
        let before = self.policy.swap(Some(policy));
        self.revision.send_replace(revision);
        before
    }

    /// Nothing is judged here any more, and what is under way ends.
    pub(crate) fn withdraw(&self) -> Option<Arc<Policy>> {
        let before = self.policy.swap(None);
        self.revision.send_modify(|_| ());
        before
    }

    /// Refuses an organisation that does not want to go on unrecorded, while its events cannot be kept.
    pub(crate) fn remembers(&self, tenant: &Tenant) -> Result<(), Refusal> {
        match tenant.on_full {
            OnFull::Refuse if !self.spool.has_room_for(&tenant.id) => Err(Refusal::AuditUnavailable),
            OnFull::Refuse | OnFull::Count => Ok(()),
        }
    }

    /// Puts other limits in force, for what begins from now on.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.memory.set_bytes_max(limits.remembered_findings.as_u64() as usize);
        self.limits.store(Arc::new(limits));
    }

    /// Ends every exchange that waits for a provider. They hear of it as of a change of policy.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.revision.send_modify(|_| ());
    }

    /// Whether the drain is over.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Whether the process was asked to stop: connections end with their next answer.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Whether requests can be judged, where they are, and are wanted.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stopping() && (!self.judges || self.policy().is_ok())
    }

    /// The limits of this moment: they can be changed while the process runs.
    pub(crate) fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// Counts an exchange until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.metrics.in_flight.inc();
        let mut entered = self.attend();
        entered.is_exchange = true;
        entered
    }

    /// Counts what else is to end before the process does: a request to the admin API.
    pub(crate) fn attend(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight { house: self.clone(), is_exchange: false }
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

/// An exchange under way, or another request.
pub(crate) struct InFlight {
    house: Arc<House>,
    is_exchange: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.is_exchange {
            self.house.metrics.in_flight.dec();
        }
        if self.house.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.house.is_idle.notify_waiters();
        }
    }
}
