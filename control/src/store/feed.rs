//! How does a follower hear of every accepted change, once, in order, and soon?
//!
//! A feed says which owner is at which revision; what changed there, its [changes](super::Resources::changes) say.
//! Positions are given in commit order and have no gaps, so a follower that remembers its last position misses
//! nothing. Who waits is woken by a [`Bell`]: at once by writers of its own process; where other processes write, too,
//! it looks again from time to time.

use super::error::StoreError;
use super::names::{OrganisationId, Owner};
use super::sql::Row;
use std::future::Future;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What happened to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// It is new.
    Created,
    /// It has a new revision.
    Changed,
    /// It is gone.
    Deleted,
    /// It went back to an earlier state, from a backup: what is known of it must be read anew.
    Restored,
}

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its place: one more than that of the entry before.
    pub position: u64,
    /// Whose.
    pub owner: Owner,
    /// The owner's revision.
    pub revision: u64,
    /// What happened.
    pub event: FeedEvent,
}

/// Entries of the feed in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// They; none, if nothing happened in the time.
    pub entries: Vec<FeedEntry>,
    /// The last position there is.
    pub end: u64,
}

/// The columns of an entry: position, owner, revision, event.
pub(super) fn entry(row: &Row) -> Result<FeedEntry, StoreError> {
    let wrong = |what: &str| StoreError::Inconsistent { place: "log".to_owned(), what: what.to_owned() };
    let event = match row.text(3)?.as_str() {
        "created" => FeedEvent::Created,
        "changed" => FeedEvent::Changed,
        "deleted" => FeedEvent::Deleted,
        "restored" => FeedEvent::Restored,
        _ => return Err(wrong("an event that is none")),
    };
    let owner = Owner::from_column(&row.text(1)?).map_err(|_| wrong("an organisation's id that is none"))?;
    Ok(FeedEntry { position: row.number(0)?, owner, revision: row.number(2)?, event })
}

/// An organisation's id from a row.
pub(super) fn organisation(row: &Row) -> Result<OrganisationId, StoreError> {
    OrganisationId::new(&row.text(0)?).map_err(|_| StoreError::Inconsistent {
        place: "organisations".to_owned(),
        what: "an organisation's id that is none".to_owned(),
    })
}

/// Wakes who waits for the feed.
#[derive(Debug, Default)]
pub(super) struct Bell(Notify);

impl Bell {
    /// Something may have happened.
    pub(super) fn ring(&self) {
        self.0.notify_waiters();
    }

    /// Looks until there is something, or patience ends. Rings count from before each look, so that none is missed.
    pub(super) async fn wait<F: Future<Output = Result<Feed, StoreError>>>(
        &self,
        patience: Duration,
        look_every: Option<Duration>,
        look: impl Fn(bool) -> F,
    ) -> Result<Feed, StoreError> {
        let end = Instant::now() + patience;
        let mut is_first = true;
        loop {
            let mut ring = std::pin::pin!(self.0.notified());
            ring.as_mut().enable();
            let feed = look(is_first).await?;
            is_first = false;
            let now = Instant::now();
            if !feed.entries.is_empty() || now >= end {
                return Ok(feed);
            }
            let next = look_every.map_or(end, |every| end.min(now + every));
            // That nobody rang in this time is no error: it is time to look again, or to go.
            let _ = timeout_at(next, ring).await;
        }
    }
}

/// Rings when it is dropped: also when a writer was cancelled after its change was kept.
pub(super) struct RingLater<'b>(pub(super) &'b Bell);

impl Drop for RingLater<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}
