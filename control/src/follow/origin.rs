//! Where does a follower hear of changes, and where does it read what owners have?
//!
//! From an [`Origin`]: the store of its own process, or a feed over the network. What is asked is the same of both, and
//! so small that neither can be wrong in a way of its own. A reading says what is there now, never what changed: so
//! whatever was missed, read twice, or read late is right once it is read.

use crate::resources::{Side, policy_kinds};
use crate::store::{FeedEntry, Kind, OrganisationId, Owner, PAGE_MAX, ResourceId, Store, StoreError};
use palisade_filters::secret::Secret;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Owners that are asked for at once.
pub const READ_MAX: usize = 256;
/// Documents that are in memory at once, in bytes: beyond, what is left is asked for again.
pub const READ_BYTES_MAX: usize = 64 << 20;
/// Reads of a store under way at once: half of the connections that it has for them.
const READS_AT_ONCE: usize = 4;

/// Who changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// They, each once.
    pub owners: BTreeSet<Owner>,
    /// Where to go on.
    pub position: u64,
    /// How far there is anything; beyond `position`, if there is more.
    pub end: u64,
}

/// What an owner has of the kinds that a policy is made of.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    /// Resources, in the order of kinds and ids.
    pub resources: Vec<(Kind, ResourceId, Box<RawValue>)>,
    /// From which an organisation's hashes are keyed. The platform has none.
    pub hash_secret: Option<Secret>,
}

impl Pieces {
    /// How large its documents are together.
    pub fn bytes(&self) -> usize {
        self.resources.iter().map(|(_, _, document)| document.get().len()).sum()
    }
}

/// What was read of an owner.
#[derive(Clone, Debug)]
pub enum Reading {
    /// This.
    There(Pieces),
    /// It is not there, or no longer.
    Gone,
    /// Its key is destroyed, which is the first thing when it is deleted.
    Lost(String),
    /// What it has cannot be read, and that is no reason to read nobody else.
    Unread(String),
}

/// Why an origin says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It is not as far as its follower: it is another one, or was put back to an earlier state.
    #[error("the feed ends before the place it was read to: it is another or was restored; all is read anew")]
    Behind,
    /// It does not answer, or not in a way that can be understood.
    #[error("{0}")]
    Away(String),
    /// It does not speak with us.
    #[error("{0}")]
    Refused(String),
}

/// Where policy comes from.
pub trait Origin: Send + Sync + 'static {
    /// The last position there is.
    fn end(&self) -> impl Future<Output = Result<u64, OriginError>> + Send;

    /// Who changed after a position. If nobody did, somebody is waited for, but no longer than `patience`.
    fn news(&self, after: u64, patience: Duration) -> impl Future<Output = Result<News, OriginError>> + Send;

    /// Organisations behind an id, in the order of ids; none: there are no more.
    fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> impl Future<Output = Result<Vec<OrganisationId>, OriginError>> + Send;

    /// What some of these owners have now, at most [`READ_MAX`]: of one at least.
    fn read(
        &self,
        owners: &BTreeSet<Owner>,
    ) -> impl Future<Output = Result<Vec<(Owner, Reading)>, OriginError>> + Send;
}

impl From<StoreError> for OriginError {
    fn from(error: StoreError) -> Self {
        // What a store says of a position is the one thing that it is told from.
        if matches!(error, StoreError::AheadOfFeed { .. }) {
            Self::Behind
        } else {
            Self::Away(error.to_string())
        }
    }
}

impl Origin for Arc<Store> {
    async fn end(&self) -> Result<u64, OriginError> {
        Ok(self.feed(0, 1, Duration::ZERO).await?.end)
    }

    async fn news(&self, after: u64, patience: Duration) -> Result<News, OriginError> {
        let feed = self.feed(after, PAGE_MAX, patience).await?;
        let position = feed.entries.last().map_or(after, |last: &FeedEntry| last.position);
        let owners = feed.entries.into_iter().map(|entry| entry.owner).collect();
        Ok(News { owners, position, end: feed.end.max(position) })
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        Ok(Store::organisations(self, after, PAGE_MAX).await?)
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        let (mut reads, mut all, mut bytes) = (JoinSet::new(), Vec::with_capacity(owners.len()), 0);
        let mut owners = owners.iter().take(READ_MAX);
        loop {
            while reads.len() < READS_AT_ONCE && bytes < READ_BYTES_MAX {
                let Some(owner) = owners.next().cloned() else { break };
                let store = self.clone();
                reads.spawn(async move { (read(&store, &owner).await, owner) });
            }
            let Some(done) = reads.join_next().await else { return Ok(all) };
            let (reading, owner) = done.map_err(|ended| OriginError::Away(ended.to_string()))?;
            let reading = reading?;
            if let Reading::There(pieces) = &reading {
                bytes += pieces.bytes();
            }
            all.push((owner, reading));
        }
    }
}

/// What one owner has. An error says that the store does not answer; the rest is said of the owner.
async fn read(store: &Store, owner: &Owner) -> Result<Reading, StoreError> {
    let side = Side::of(owner);
    match store.of(owner).all(&policy_kinds(side)).await {
        Ok(all) => {
            let pieces = all.resources.into_iter().map(|(kind, one)| (kind, one.id, one.document));
            let hash_secret = (side == Side::Organisation).then_some(all.hash_secret);
            Ok(Reading::There(Pieces { resources: pieces.collect(), hash_secret }))
        }
        Err(StoreError::NoOrganisation(_)) => Ok(Reading::Gone),
        Err(problem @ StoreError::KeyMissing { .. }) => Ok(Reading::Lost(problem.to_string())),
        Err(away @ StoreError::Away(_)) => Err(away),
        Err(problem) => Ok(Reading::Unread(problem.to_string())),
    }
}
