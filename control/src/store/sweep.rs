//! What ended by itself, and whose organisation does nothing: who takes it away?
//!
//! Memos have an end: counts of usage, sign-ins, sessions. Whoever writes one sweeps some that ended, so an
//! organisation that writes none would keep its last ones for good. A [`Sweep`] goes through all owners, some at a
//! time, again and again. What it takes away nobody would have read any more, so it does not matter how often it comes
//! by, nor how many processes do it at once. A step reads no clock: the time is an argument.

use super::{OrganisationId, Owner, PAGE_MAX, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Organisations that one step looks at.
const STEP: usize = 64;
/// Between two steps: ten thousand organisations take three hours, a hundred thousand a day.
const STEP_EVERY: Duration = Duration::from_mins(1);
/// Pages of memos that are taken from one owner in a step; the rest is the next round's.
const PAGES_MAX: usize = 16;

/// A way through all owners.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Where to go on; none: with the platform, which is the first.
    after: Option<OrganisationId>,
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Memos that are gone.
    pub memos: u64,
    /// Owners whose memos could not be swept, and why; the next round tries again.
    pub problems: Vec<(Owner, StoreError)>,
    /// Whether all owners had their turn.
    pub is_round: bool,
}

impl Sweep {
    /// Sweeps what ended before this moment from some owners. An error says that the store does not answer: the next
    /// step begins at the same place.
    pub async fn step(&mut self, store: &Store, now: SystemTime) -> Result<Swept, StoreError> {
        let before = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut swept = Swept::default();
        if self.after.is_none() {
            sweep(store, Owner::Platform, before, &mut swept).await?;
        }
        let ids = store.organisations(self.after.as_ref(), STEP).await?;
        swept.is_round = ids.len() < STEP;
        let last = ids.last().cloned();
        for id in ids {
            sweep(store, Owner::Organisation(id), before, &mut swept).await?;
        }
        self.after = last.filter(|_| !swept.is_round);
        Ok(swept)
    }

    /// Sweeps for as long as the process lives; what it cannot is told.
    pub async fn keep(store: Arc<Store>, told: impl Fn(Option<&Owner>, &StoreError) + Send) {
        let mut way = Self::default();
        loop {
            tokio::time::sleep(STEP_EVERY).await;
            match way.step(&store, SystemTime::now()).await {
                Ok(swept) => swept.problems.iter().for_each(|(owner, why)| told(Some(owner), why)),
                Err(away) => told(None, &away),
            }
        }
    }
}

async fn sweep(store: &Store, owner: Owner, before: u64, swept: &mut Swept) -> Result<(), StoreError> {
    for _ in 0..PAGES_MAX {
        match store.memos(&owner).sweep(before, PAGE_MAX).await {
            Ok(gone) => {
                swept.memos += gone;
                if gone < PAGE_MAX as u64 {
                    break;
                }
            }
            // Gone since it was listed.
            Err(StoreError::NoOrganisation(_)) => break,
            Err(away @ StoreError::Away(_)) => return Err(away),
            Err(problem) => {
                swept.problems.push((owner, problem));
                break;
            }
        }
    }
    Ok(())
}
