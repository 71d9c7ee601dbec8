//! How does a change reach the policy that this process enforces?
//!
//! A [`Follower`] reads everything once, then waits for the news of its [`Origin`], and reads anew only what the owners
//! have that changed. Needs an origin; proves that every accepted change is in force soon after, that an organisation
//! that is deleted is gone with the next policy, and that what cannot be used leaves the last good state in force and
//! is said once. A change of the platform concerns every organisation: these are brought under it without being read,
//! for a moment at a time, and what else changes meanwhile comes first. Does not: judge, listen, or write.

mod assembly;
mod origin;

pub use origin::{News, Origin, OriginError, Pieces, READ_BYTES_MAX, READ_MAX, Reading};

use crate::folder::Folder;
use crate::store::{OrganisationId, Owner};
use assembly::{Assembly, PLATFORM};
use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::policy::compile::CompileError;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Organisations of a part: what else changes waits no longer than for so many.
const PART: usize = READ_MAX;
/// Of those who can wait, so many come along with those who cannot, so that they do not wait forever.
const BESIDE: usize = 32;
/// What was not answered is asked again after this long.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Who could not be read or used, without having changed, is read again after this long.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Why there is no policy, or no later one.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The origin does not answer.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// What holds for everyone cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Platform(Vec<CompileError>),
    /// Compiling ended early, now or before.
    #[error("documents are not compiled any more, since that ended early; start the process again")]
    Ended,
}

/// What was heard.
#[derive(Debug)]
pub struct Heard {
    /// What holds now.
    pub policy: Arc<Policy>,
    /// Problems that were not there before.
    pub errors: Vec<CompileError>,
    /// Whether the policy is another one than before.
    pub changed: bool,
    /// Up to where the feed was heard.
    pub position: u64,
    /// How many entries of the feed are known to be there and were not heard yet.
    pub behind: u64,
    /// Whether all that was heard of was read: whoever keeps what was read can go on from `position`.
    pub is_whole: bool,
}

/// Follows an origin.
pub struct Follower<O> {
    origin: O,
    /// Compiling is done on another thread.
    assembly: Arc<Mutex<Assembly>>,
    policy: Arc<Policy>,
    /// Up to where the feed was heard, and how far it is known to go.
    position: u64,
    end: u64,
    /// Whether there may be organisations that are not brought under the platform of this moment yet.
    is_bringing: bool,
    /// Who is to be read anew first, and who when there is time.
    soon: BTreeSet<Owner>,
    later: BTreeSet<OrganisationId>,
    /// Who could not be read or used, and when that is tried again.
    again: BTreeSet<Owner>,
    again_at: Option<Instant>,
    /// Whether the origin did not answer the last time: the next time is not at once.
    is_held_up: bool,
}

impl<O> std::fmt::Debug for Follower<O> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Follower({} of {})", self.position, self.end)
    }
}

impl<O: Origin> Follower<O> {
    /// Reads everything. What organisations cannot be used for is given besides; without the platform's there is none.
    pub async fn start(
        origin: O,
        folder: Folder,
        scanner: Arc<Scanner>,
    ) -> Result<(Self, Vec<CompileError>), FollowError> {
        // Before reading: what changes meanwhile is then heard of once more.
        let position = origin.end().await?;
        let reading = read_platform(&origin).await?;
        let assembly = Arc::new(Mutex::new(Assembly::new(folder, scanner)));
        let first = aside(&assembly, move |assembly| {
            assembly.platform(&reading);
            assembly.policy().cloned().ok_or_else(|| assembly.news())
        });
        let policy = Arc::new(first.await?.map_err(FollowError::Platform)?);
        let later = organisations(&origin).await?;
        let mut follower = Self {
            origin,
            assembly,
            policy,
            position,
            end: position,
            is_bringing: false,
            soon: BTreeSet::new(),
            later,
            again: BTreeSet::new(),
            again_at: None,
            is_held_up: false,
        };
        while !follower.later.is_empty() {
            follower.part().await?;
        }
        let (_, errors) = follower.publish();
        aside(&follower.assembly, Assembly::begun).await?;
        Ok((follower, errors))
    }

    /// What holds now.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whom it follows.
    pub fn origin(&self) -> &O {
        &self.origin
    }

    /// Waits for a change, but no longer than `patience`, and gives what came of it. An error says that the origin does
    /// not answer: the policy stays, and what was not heard or read is the next time. So is what was under way when
    /// whoever waits gives up.
    pub async fn next(&mut self, patience: Duration) -> Result<Heard, FollowError> {
        if self.is_held_up {
            tokio::time::sleep(ASKED_AGAIN_AFTER.min(patience)).await;
        }
        let done = self.step(patience).await;
        self.is_held_up = done.is_err();
        done?;
        let (changed, errors) = self.publish();
        Ok(Heard {
            policy: self.policy.clone(),
            errors,
            changed,
            position: self.position,
            behind: self.end.saturating_sub(self.position),
            is_whole: self.is_idle() && self.again.is_empty(),
        })
    }

    async fn step(&mut self, patience: Duration) -> Result<(), FollowError> {
        self.hear(patience).await?;
        if self.soon.contains(&Owner::Platform) {
            self.platform().await?;
        }
        self.part().await?;
        if self.is_bringing {
            self.bring().await?;
        }
        Ok(())
    }

    /// Whether nothing is to be done but to wait.
    fn is_idle(&self) -> bool {
        self.soon.is_empty() && self.later.is_empty() && !self.is_bringing
    }

    /// Takes note of whoever changed.
    async fn hear(&mut self, patience: Duration) -> Result<(), FollowError> {
        let until_again = |at: Instant| at.saturating_duration_since(Instant::now());
        let until = self.again_at.map_or(patience, |at| patience.min(until_again(at)));
        match self.origin.news(self.position, if self.is_idle() { until } else { Duration::ZERO }).await {
            Ok(news) => {
                self.soon.extend(news.owners);
                (self.position, self.end) = (news.position, news.end);
            }
            Err(OriginError::Behind) => self.anew().await?,
            Err(failed) => return Err(failed.into()),
        }
        if self.again_at.is_some_and(|at| at <= Instant::now()) {
            self.again_at = None;
            for owner in std::mem::take(&mut self.again) {
                match owner {
                    Owner::Platform => drop(self.soon.insert(Owner::Platform)),
                    Owner::Organisation(id) => drop(self.later.insert(id)),
                }
            }
        }
        Ok(())
    }

    /// The origin went back, or is another: nothing that is known of anybody need be so.
    async fn anew(&mut self) -> Result<(), FollowError> {
        let position = self.origin.end().await?;
        let there = organisations(&self.origin).await?;
        self.later.extend(there);
        let known = self.policy.tenants().filter_map(|tenant| OrganisationId::new(&tenant.id).ok());
        self.later.extend(known);
        self.soon.insert(Owner::Platform);
        (self.position, self.end) = (position, position);
        Ok(())
    }

    /// Takes what the platform has now; if it is another one, every organisation is to be brought under it.
    async fn platform(&mut self) -> Result<(), FollowError> {
        let reading = read_platform(&self.origin).await?;
        let is_read = !matches!(reading, Reading::Lost(_) | Reading::Unread(_));
        // Before waiting: whoever gives up meanwhile finds it the next time.
        self.is_bringing = true;
        aside(&self.assembly, move |assembly| assembly.platform(&reading)).await?;
        self.tried(Owner::Platform, is_read);
        Ok(())
    }

    /// Brings some organisations under the platform of this moment. Those that do not fit are read, to say why.
    async fn bring(&mut self) -> Result<(), FollowError> {
        if let Some(unfit) = aside(&self.assembly, Assembly::bring).await? {
            self.later.extend(unfit);
            self.is_bringing = false;
        }
        Ok(())
    }

    /// Reads some of those who are to be read anew, and compiles what they have.
    async fn part(&mut self) -> Result<(), FollowError> {
        let first = self.soon.iter().filter(|owner| **owner != Owner::Platform).take(PART);
        let mut asked: BTreeSet<Owner> = first.cloned().collect();
        let most = if asked.is_empty() { PART } else { PART.min(asked.len() + BESIDE) };
        let rest = self.later.iter().cloned().map(Owner::Organisation);
        asked.extend(rest.take(most.saturating_sub(asked.len())));
        let readings = if asked.is_empty() { Vec::new() } else { self.origin.read(&asked).await? };
        let (mut organisations, mut unread) = (Vec::new(), BTreeSet::new());
        for (owner, reading) in readings {
            let Owner::Organisation(id) = &owner else { continue };
            // What was not asked for is not taken.
            if !asked.remove(&owner) {
                continue;
            }
            if matches!(reading, Reading::Unread(_)) {
                unread.insert(owner.clone());
            }
            organisations.push((id.clone(), reading));
        }
        if organisations.is_empty() && !asked.is_empty() {
            let problem = "nothing was answered of what was asked for".to_owned();
            return Err(OriginError::Away(problem).into());
        }
        let read: Vec<Owner> = organisations.iter().map(|(id, _)| Owner::Organisation(id.clone())).collect();
        let beyond = aside(&self.assembly, move |assembly| assembly.take(organisations)).await?;
        unread.extend(beyond.into_iter().map(Owner::Organisation));
        for owner in read {
            let is_done = !unread.remove(&owner);
            self.tried(owner, is_done);
        }
        // Those that were tried again and do not fit any more.
        for owner in unread {
            self.tried(owner, false);
        }
        Ok(())
    }

    /// An owner was read anew; if that brought nothing that could be used, it is tried again.
    fn tried(&mut self, owner: Owner, is_done: bool) {
        self.soon.remove(&owner);
        if let Owner::Organisation(id) = &owner {
            self.later.remove(id);
        }
        if is_done {
            self.again.remove(&owner);
        } else {
            self.again.insert(owner);
            self.again_at.get_or_insert_with(|| Instant::now() + READ_AGAIN_AFTER);
        }
    }

    /// Puts into force what was compiled; whether that is new, and what is wrong.
    fn publish(&mut self) -> (bool, Vec<CompileError>) {
        // Held by a part that was given up on, if at all: then it is for the next time.
        let Ok(mut assembly) = self.assembly.try_lock() else { return (false, Vec::new()) };
        let errors = assembly.news();
        let next = assembly.policy().filter(|next| next.revision() != self.policy.revision());
        let next = next.map(|next| Arc::new(next.clone()));
        drop(assembly);
        let changed = next.is_some();
        if let Some(next) = next {
            self.policy = next;
        }
        (changed, errors)
    }
}

/// Does what takes a while on a thread of its own.
async fn aside<T: Send + 'static>(
    assembly: &Arc<Mutex<Assembly>>,
    work: impl FnOnce(&mut Assembly) -> T + Send + 'static,
) -> Result<T, FollowError> {
    let assembly = assembly.clone();
    let done = tokio::task::spawn_blocking(move || {
        // Poisoned: it ended early before, and nobody knows where.
        assembly.lock().map(|mut assembly| work(&mut assembly)).map_err(|_| FollowError::Ended)
    });
    done.await.unwrap_or(Err(FollowError::Ended))
}

async fn read_platform<O: Origin>(origin: &O) -> Result<Reading, OriginError> {
    let readings = origin.read(&BTreeSet::from([Owner::Platform])).await?;
    let platform = readings.into_iter().find(|(owner, _)| *owner == Owner::Platform);
    platform
        .map(|(_, reading)| reading)
        .ok_or_else(|| OriginError::Away(format!("nothing was answered of what {PLATFORM} has")))
}

/// All organisations there are.
async fn organisations<O: Origin>(origin: &O) -> Result<BTreeSet<OrganisationId>, OriginError> {
    let mut all = BTreeSet::<OrganisationId>::new();
    loop {
        let page = origin.organisations(all.last()).await?;
        let before = all.len();
        all.extend(page);
        // Whoever repeats itself has no more either.
        if all.len() == before {
            return Ok(all);
        }
    }
}
