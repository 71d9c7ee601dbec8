//! How much did each organisation use? Counted where an exchange ends, brought every few seconds, off the way of
//! requests, to whoever keeps it: the store of this process, or a control plane elsewhere.
//!
//! An exchange hands over a few names and numbers, and waits for nothing: a queue that is full loses them, and says
//! so. A process that is killed loses what it had not brought; one that is stopped brings it first.

use crate::feed::Far;
use crate::house::House;
use anyhow::{Context, Result};
use palisade_audit::event::{Decision, Event};
use palisade_control::store::{Store, StoreError};
use palisade_control::usage::{self, Batch, Counts, Day, Gathering, Row, UsageError};
use palisade_filters::api_key;
use parking_lot::Mutex;
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};

/// Exchanges that wait to be counted.
const QUEUE: usize = 65_536;
/// Between two times that counts are brought.
const BROUGHT_EVERY: Duration = Duration::from_secs(10);
/// For the last of them, when the process is stopped.
const LAST_WITHIN: Duration = Duration::from_secs(5);
/// Rows and batches of one request to a control plane elsewhere, which fit into what it reads of one.
const ROWS_TOGETHER: usize = 512;
const BATCHES_TOGETHER: usize = 128;
/// What stands for the key of a caller who has none.
const JWT: &str = "jwt";

/// Where exchanges are counted.
pub(crate) struct Usage {
    sender: mpsc::Sender<Counted>,
    dropped: IntCounter,
}

/// One exchange.
struct Counted {
    organisation: Arc<str>,
    at: SystemTime,
    row: Row,
}

/// Who keeps what was counted.
pub(crate) enum Destination {
    /// This process.
    Store(Arc<Store>),
    /// Whom it follows.
    Far(Arc<Far>),
}

/// Who brings what was counted.
pub(crate) struct Bringing {
    gathering: Mutex<Gathering>,
    receiver: AsyncMutex<mpsc::Receiver<Counted>>,
    destination: Destination,
    is_last: Notify,
    dropped: IntCounter,
}

/// Begins to count the exchanges of a house.
pub(crate) fn begin(house: &House, destination: Destination) -> Result<Arc<Bringing>> {
    let mut writer = [0; 8];
    getrandom::fill(&mut writer).context("the system has no random bytes")?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let dropped = house.metrics.usage_dropped.clone();
    let bringing = Bringing {
        gathering: Mutex::new(Gathering::new(api_key::hex(&writer))),
        receiver: AsyncMutex::new(receiver),
        destination,
        is_last: Notify::new(),
        dropped: dropped.clone(),
    };
    // A house is opened once.
    let _ = house.usage.set(Usage { sender, dropped });
    Ok(Arc::new(bringing))
}

impl Usage {
    /// Counts an exchange that ended.
    pub(crate) fn count(&self, event: &Event, user: Option<&str>) {
        let Some(organisation) = event.organisation.clone() else { return };
        let counted = Counted { organisation, at: SystemTime::now(), row: row(event, user) };
        if self.sender.try_send(counted).is_err() {
            self.dropped.inc();
        }
    }
}

/// What an event says of usage.
fn row(event: &Event, user: Option<&str>) -> Row {
    let decided = |decisions: &[Decision]| u64::from(decisions.contains(&event.decision));
    let mut counts = Counts {
        requests: 1,
        blocked: decided(&[Decision::Block, Decision::Cancel]),
        redacted: decided(&[Decision::Redact]),
        tokens_in: event.tokens.map_or(0, |tokens| tokens.prompt),
        tokens_out: event.tokens.map_or(0, |tokens| tokens.completion),
        nanodollars: event.cost_nanodollars.unwrap_or(0),
        ..Counts::default()
    };
    for finding in &event.findings {
        *counts.findings.entry(finding.category.to_string()).or_default() += 1;
    }
    let subject = event.jwt.as_ref().map(|jwt| jwt.subject.to_string());
    Row {
        key: event.key_id.as_deref().unwrap_or(JWT).to_owned(),
        user: user.map(str::to_owned).or(subject),
        groups: event.groups.iter().map(ToString::to_string).collect(),
        // What a caller only named may be anything.
        model: event.model_served.as_deref().map(str::to_owned),
        counts,
    }
}

impl Bringing {
    /// Gathers what is counted, and brings it, until it is the last time.
    pub(crate) async fn keep(&self) {
        let gather = async {
            let mut receiver = self.receiver.lock().await;
            while let Some(counted) = receiver.recv().await {
                self.gather(counted);
            }
        };
        let bring = async {
            loop {
                tokio::time::sleep(BROUGHT_EVERY).await;
                self.bring().await;
            }
        };
        // What is given up here while it is brought is brought again, and counts once.
        tokio::select! {
            () = self.is_last.notified() => {}
            () = gather => {}
            () = bring => {}
        }
    }

    /// Brings the last of it, after the last exchange.
    pub(crate) async fn finish(&self) {
        self.is_last.notify_one();
        let last = async {
            let mut receiver = self.receiver.lock().await;
            while let Ok(counted) = receiver.try_recv() {
                self.gather(counted);
            }
            self.bring().await;
        };
        if tokio::time::timeout(LAST_WITHIN, last).await.is_err() {
            tracing::error!("the last counts of usage could not be kept within {LAST_WITHIN:?}");
        }
    }

    fn gather(&self, counted: Counted) {
        self.gathering.lock().count(&counted.organisation, Day::of(counted.at), counted.row);
    }

    async fn bring(&self) {
        let batches = {
            let mut gathering = self.gathering.lock();
            self.dropped.inc_by(gathering.take_dropped());
            gathering.batches()
        };
        match &self.destination {
            Destination::Store(store) => self.bring_to_store(store, batches).await,
            Destination::Far(far) => self.bring_far(far, batches).await,
        }
    }

    async fn bring_to_store(&self, store: &Store, batches: Vec<Batch>) {
        for batch in batches {
            match usage::add(store, &batch, SystemTime::now()).await {
                // Of an organisation that is gone, nobody will ask any more.
                Ok(())
                | Err(UsageError::Store(StoreError::NoOrganisation(_) | StoreError::KeyMissing { .. })) => {}
                Err(error @ (UsageError::Unfit(_) | UsageError::Damaged(_))) => {
                    tracing::error!(organisation = %batch.organisation, %error, "usage is not counted");
                }
                Err(error @ (UsageError::Busy | UsageError::Store(_))) => {
                    tracing::warn!(%error, "usage is kept later");
                    // Whatever it is, it is not about this organisation alone.
                    return;
                }
            }
            self.gathering.lock().settled(&batch);
        }
    }

    async fn bring_far(&self, far: &Far, batches: Vec<Batch>) {
        let mut left = batches.as_slice();
        while !left.is_empty() {
            let (now, later) = left.split_at(sent_together(left));
            let settled = match far.bring(now.to_vec()).await {
                Ok(settled) => settled,
                Err(error) => {
                    tracing::warn!(%error, "usage is kept later");
                    return;
                }
            };
            for batch in now {
                if settled.refused.contains(&batch.sequence) {
                    tracing::error!(organisation = %batch.organisation, "usage is not counted: the control plane cannot use it");
                } else if !settled.settled.contains(&batch.sequence) {
                    tracing::warn!("the control plane keeps usage later");
                    return;
                }
                self.gathering.lock().settled(batch);
            }
            left = later;
        }
    }
}

/// How many of these go into one request, at least one.
fn sent_together(batches: &[Batch]) -> usize {
    let mut rows = 0;
    let fits = batches.iter().take_while(|batch| {
        rows += batch.rows.len();
        rows <= ROWS_TOGETHER
    });
    fits.count().clamp(1, BATCHES_TOGETHER).min(batches.len())
}
