//! Which keys do issuers of JWTs have now? Fetched in the background, never while a request waits.
//!
//! Needs the policy, which says from where; proves that keys which an issuer took back are gone within its own time,
//! that the last good ones stay while it cannot be asked, and that nobody's requests can make it be asked more than
//! once a minute. Whose keys were never fetched has no valid JWTs. Each source is followed by a task of its own, so
//! that one that is dead holds up no other.

use crate::fetch::{self, Failed};
use crate::house::House;
use arc_swap::{ArcSwap, Guard};
use futures::FutureExt as _;
use palisade_filters::jwt::{self, KeySet, KeySource};
use palisade_filters::{Knock, Policy, Trust};
use parking_lot::Mutex;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long keys are good for, whatever their host says.
const FRESH_FOR_MIN: Duration = Duration::from_mins(1);
const FRESH_FOR_MAX: Duration = Duration::from_hours(1);
/// And if it says nothing.
const FRESH_FOR: Duration = Duration::from_mins(10);
/// After a failure, twice as long after each.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const AGAIN_AFTER_MAX: Duration = Duration::from_mins(2);
/// A JWT with a key that is not known makes its issuer be asked, but not more often than this.
const NUDGED_EVERY: Duration = Duration::from_mins(1);
/// Before the doors open, first answers are waited for as long as this.
const FIRST_WITHIN: Duration = Duration::from_secs(3);
/// Sources that are fetched from at once.
const AT_ONCE: usize = 64;

/// What all requests share of issuers.
pub(crate) struct Issuers {
    trust: ArcSwap<Trust>,
    followed: Mutex<HashMap<Arc<KeySource>, Followed>>,
}

/// A source that is followed.
#[derive(Default)]
struct Followed {
    /// Rings when somebody came with a key that is not known.
    bell: Arc<Notify>,
    is_failing: bool,
}

impl Issuers {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { trust: ArcSwap::from_pointee(Trust::new(key)), followed: Mutex::default() }
    }

    /// The keys of this moment.
    pub(crate) fn trust(&self) -> Guard<Arc<Trust>> {
        self.trust.load()
    }

    /// After a credential was refused: if it only lacks a key, its issuer is to be asked.
    pub(crate) fn missed(&self, policy: &Policy, knock: &Knock<'_>) {
        let Some(source) = jwt::missing_key(policy, &self.trust.load(), knock) else { return };
        if let Some(followed) = self.followed.lock().get(&source) {
            followed.bell.notify_one();
        }
    }

    /// How many sources have keys that are fresh, keys that are kept while they fail, and none.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let (trust, mut counts) = (self.trust.load(), [0; 3]);
        for (source, followed) in self.followed.lock().iter() {
            let [fresh, kept, none] = &mut counts;
            match (trust.fetched(source), followed.is_failing) {
                (Some(_), false) => *fresh += 1,
                (Some(_), true) => *kept += 1,
                (None, _) => *none += 1,
            }
        }
        counts
    }
}

/// Everybody who is followed.
pub(crate) struct Following {
    house: Arc<House>,
    tasks: HashMap<Arc<KeySource>, JoinHandle<()>>,
    /// Made when there is somebody to ask: it reads the system's certificates.
    connector: Option<Arc<Connector>>,
    seats: Arc<Semaphore>,
}

impl Following {
    /// Begins with whom the policy names, and waits a moment for their first answers.
    pub(crate) async fn begin(house: &Arc<House>) -> Self {
        let mut following = Self {
            house: house.clone(),
            tasks: HashMap::new(),
            connector: None,
            seats: Arc::new(Semaphore::new(AT_ONCE)),
        };
        let first = following.adopt();
        let all = async {
            for answer in first {
                // Whatever became of it.
                let _ = answer.await;
            }
        };
        if tokio::time::timeout(FIRST_WITHIN, all).await.is_err() {
            tracing::warn!("some issuers of JWTs did not answer yet; theirs are refused until they do");
        }
        following
    }

    /// Follows the policy, for ever.
    pub(crate) async fn keep(mut self) {
        let mut revision = self.house.revision.subscribe();
        // What changed between the beginning and now is not lost.
        loop {
            drop(self.adopt());
            if revision.changed().await.is_err() {
                return;
            }
        }
    }

    /// Follows whom the policy names now, and nobody else.
    fn adopt(&mut self) -> Vec<oneshot::Receiver<()>> {
        let Some(policy) = self.house.last_policy() else { return Vec::new() };
        let wanted = policy.key_sources();
        let issuers = &self.house.issuers;
        let gone: Vec<_> = self.tasks.keys().filter(|source| !wanted.contains(*source)).cloned().collect();
        if !gone.is_empty() {
            for source in &gone {
                if let Some(task) = self.tasks.remove(source) {
                    task.abort();
                }
            }
            issuers.followed.lock().retain(|source, _| wanted.contains(source));
            issuers.trust.rcu(|trust| trust.only(|source| wanted.contains(source)));
        }
        let mut first = Vec::new();
        for source in wanted.into_iter().filter(|source| !self.tasks.contains_key(source)).collect::<Vec<_>>()
        {
            let connector = self.connector.get_or_insert_with(|| {
                // No connection is kept: keys are fetched a few times an hour.
                Arc::new(Connector::new(Some(ConnectorOptions::new(1))))
            });
            let bell = issuers.followed.lock().entry(source.clone()).or_default().bell.clone();
            let follower = Follower {
                house: self.house.clone(),
                connector: connector.clone(),
                seats: self.seats.clone(),
                source: source.clone(),
                bell,
                last: None,
            };
            let (tell, told) = oneshot::channel();
            first.push(told);
            self.tasks.insert(source, tokio::spawn(follower.follow(tell)));
        }
        first
    }
}

/// Whoever follows one source.
struct Follower {
    house: Arc<House>,
    connector: Arc<Connector>,
    seats: Arc<Semaphore>,
    source: Arc<KeySource>,
    bell: Arc<Notify>,
    /// What was read last: the same text changes nothing.
    last: Option<[u8; 32]>,
}

impl Follower {
    async fn follow(mut self, first: oneshot::Sender<()>) {
        let (mut first, mut failures, mut nudged) = (Some(first), 0u32, None::<Instant>);
        loop {
            let asked = self.ask().await;
            // Whoever came before that has been answered by it.
            let _ = self.bell.notified().now_or_never();
            let outcome = if asked.is_ok() { "ok" } else { "failed" };
            self.house.metrics.issuer_fetches.with_label_values(&[outcome]).inc();
            if let Some(followed) = self.house.issuers.followed.lock().get_mut(&self.source) {
                followed.is_failing = asked.is_err();
            }
            let again = match asked {
                Ok(fresh_for) => {
                    failures = 0;
                    fresh_for
                }
                Err(why) => {
                    failures = failures.saturating_add(1);
                    let address = &self.source.address;
                    tracing::warn!(%address, %why, "keys of an issuer of JWTs are not fetched; the last ones stay, if there are any");
                    AGAIN_AFTER.saturating_mul(1 << (failures - 1).min(16)).min(AGAIN_AFTER_MAX)
                }
            };
            if let Some(first) = first.take() {
                // Nobody may be waiting any more.
                let _ = first.send(());
            }
            let is_nudged = async {
                loop {
                    self.bell.notified().await;
                    if failures == 0 && nudged.is_none_or(|before| before.elapsed() >= NUDGED_EVERY) {
                        return;
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(again) => {}
                () = is_nudged => nudged = Some(Instant::now()),
            }
        }
    }

    /// Asks once, and puts in force what came; how long it is good for.
    async fn ask(&mut self) -> Result<Duration, Failed> {
        // It is never closed.
        let _seat = self.seats.acquire().await;
        let mut fetched = fetch::fetch(&self.connector, &self.source, &self.source.address).await?;
        if let Some(issuer) = &self.source.discovery_of {
            let keys = jwt::read_discovery(&fetched.body, issuer).map_err(Failed::Unusable)?;
            fetched = fetch::fetch(&self.connector, &self.source, &keys).await?;
        }
        let fresh_for = fetched.fresh_for.unwrap_or(FRESH_FOR).clamp(FRESH_FOR_MIN, FRESH_FOR_MAX);
        let text: [u8; 32] = Sha256::digest(&fetched.body).into();
        if self.last != Some(text) {
            let set = Arc::new(KeySet::read(&fetched.body).map_err(Failed::Unusable)?);
            tracing::info!(address = %self.source.address, keys = set.len(), "keys of an issuer of JWTs in force");
            // While it was asked it may have become nobody's, and nobody would take its keys out again.
            let followed = self.house.issuers.followed.lock();
            if followed.contains_key(&self.source) {
                self.house.issuers.trust.rcu(|trust| trust.with(self.source.clone(), set.clone()));
            }
            drop(followed);
            self.last = Some(text);
            // Exchanges under way ask again whether they are still welcome.
            self.house.revision.send_modify(|_| ());
        }
        Ok(fresh_for)
    }
}
