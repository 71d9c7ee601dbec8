//! Where does the policy come from, and how does it stay up to date? From a folder of documents, from a store, or from
//! a control plane elsewhere.
//!
//! Needs the house, which enforces what comes; proves that a change is in force within a second, and that what cannot
//! be used leaves the last good state in force and is said. Reading and compiling happen where nobody waits.

use crate::config::Config;
use crate::feed::{FarPlane, Following};
use crate::house::House;
use crate::plane::Plane;
use crate::settings::Settings;
use crate::watched::LOOKED_AT_EVERY;
use anyhow::{Context, Result};
use palisade_control::follow::{FollowError, Follower};
use palisade_control::store::Store;
use palisade_control::{Folder, Live, Reloaded};
use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::policy::compile::CompileError;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// A store that has nothing new says so after this long; a change is told at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows the store of this process.
pub(crate) type StoreFollower = Follower<Arc<Store>>;

/// What is believed, and followed.
pub(crate) enum Source {
    /// Documents that somebody edits.
    Folder(Box<Live>),
    /// Resources, and where their follower runs.
    Store(Box<StoreFollower>, Handle),
    /// Somebody else's, and where their follower runs. It may be that nothing of them is known yet.
    Far(Box<Following>, Handle),
}

impl Source {
    /// Documents, read for the first time and in force.
    pub(crate) fn folder(house: &House, data_dir: &Path, scanner: &Arc<Scanner>) -> Result<Self> {
        let loaded = Live::load(Folder::open(data_dir)?, scanner.clone());
        let (live, errors) = loaded.context("there is no policy to start with")?;
        begin(house, live.policy(), &errors);
        Ok(Self::Folder(Box::new(live)))
    }

    /// What this process's store holds, read for the first time and in force.
    pub(crate) fn store(house: &House, plane: &Plane, scanner: &Arc<Scanner>, max: Duration) -> Result<Self> {
        let (follower, errors) = plane.follow(scanner)?;
        house.freshness.follow(max);
        house.freshness.heard();
        begin(house, follower.policy(), &errors);
        Ok(Self::Store(Box::new(follower), plane.threads().clone()))
    }

    /// A control plane elsewhere. What is in force is known once it answers, or from before.
    pub(crate) fn far(
        house: &Arc<House>,
        plane: &FarPlane,
        config: &Config,
        scanner: &Arc<Scanner>,
        is_upgrade: bool,
    ) -> Result<Self> {
        let data_dir = &config.data_dir;
        let folder = Folder::open(data_dir)?;
        if folder.has_documents() {
            tracing::warn!(
                folder = %data_dir.display(),
                "the documents in the data folder are not in force: what the control plane says is"
            );
        }
        house.freshness.follow(config.max_staleness);
        let whose = (house.clone(), plane.far().clone());
        let begun = Following::begin(whose, (folder, scanner.clone()), is_upgrade);
        let following = plane.threads().block_on(begun)?;
        Ok(Self::Far(Box::new(following), plane.threads().clone()))
    }
}

/// Puts the first policy in force.
fn begin(house: &House, policy: &Arc<Policy>, errors: &[CompileError]) {
    report(house, policy.revision(), errors);
    house.enforce(policy.clone());
}

/// Keeps policy and configuration up to date, for ever; without a source, the configuration alone.
pub(crate) async fn keep(
    source: Option<Source>,
    house: &Arc<House>,
    settings: &Arc<Mutex<Settings>>,
) -> Infallible {
    match source {
        Some(Source::Folder(live)) => look(house, *live, settings).await,
        Some(Source::Store(follower, threads)) => {
            threads.spawn(follow(house.clone(), *follower));
            refresh(house, settings).await
        }
        Some(Source::Far(following, threads)) => {
            let following = threads.spawn(following.keep());
            tokio::spawn(async move {
                if let Err(error) = following.await {
                    tracing::error!(%error, "the feed is not followed any more; start the process again");
                }
            });
            refresh(house, settings).await
        }
        None => refresh(house, settings).await,
    }
}

/// Follows a store. While it does not answer, the last policy stays in force.
async fn follow(house: Arc<House>, mut follower: StoreFollower) {
    let mut is_away = false;
    loop {
        match follower.next(house.freshness.patience(PATIENCE)).await {
            Ok(heard) => {
                if std::mem::replace(&mut is_away, false) {
                    tracing::info!("the store answers again, and is followed");
                }
                house.freshness.heard();
                house.metrics.feed_behind.set(i64::try_from(heard.behind).unwrap_or(i64::MAX));
                put_in_force(&house, heard.policy, &heard.errors, heard.changed);
            }
            Err(error @ FollowError::Ended) => {
                tracing::error!(%error, "the store is not followed any more; the last policy stays in force");
                return;
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::error!(%error, "the store cannot be followed; the last policy stays in force");
                }
            }
        }
    }
}

/// Keeps the configuration alone up to date.
async fn refresh(house: &Arc<House>, settings: &Arc<Mutex<Settings>>) -> Infallible {
    loop {
        let is_ordered = tick(house).await;
        let (house, settings) = (house.clone(), settings.clone());
        let looked = tokio::task::spawn_blocking(move || settings.lock().refresh(&house, is_ordered));
        if let Err(error) = looked.await {
            tracing::error!(%error, "the configuration cannot be read any more; it stays as it is");
            return std::future::pending().await;
        }
    }
}

/// Waits until it is time to look, or somebody orders it.
async fn tick(house: &House) -> bool {
    tokio::select! {
        () = house.reload.notified() => true,
        () = tokio::time::sleep(LOOKED_AT_EVERY) => false,
    }
}

/// Keeps documents and configuration up to date. Reading and compiling happen on another thread.
async fn look(house: &Arc<House>, live: Live, settings: &Arc<Mutex<Settings>>) -> Infallible {
    let mut live = Some(live);
    loop {
        let is_ordered = tick(house).await;
        let Some(mut taken) = live.take() else { return std::future::pending().await };
        let (house_of, settings) = (house.clone(), settings.clone());
        let looked = tokio::task::spawn_blocking(move || {
            settings.lock().refresh(&house_of, is_ordered);
            let reloaded = if is_ordered { Some(taken.reload()) } else { taken.refresh() };
            (taken, reloaded)
        });
        match looked.await {
            Ok((kept, reloaded)) => {
                live = Some(kept);
                if let Some(Reloaded { policy, errors, changed }) = reloaded {
                    put_in_force(house, policy, &errors, changed);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the documents cannot be read any more; the last policy stays in force");
                return std::future::pending().await;
            }
        }
    }
}

/// Enforces what came, if it is new, and says what is wrong with it.
pub(crate) fn put_in_force(house: &House, policy: Arc<Policy>, errors: &[CompileError], is_new: bool) {
    report(house, policy.revision(), errors);
    if is_new {
        tracing::info!(revision = policy.revision(), "policy in force");
        retire(house.enforce(policy));
    }
}

/// Lets a policy go that another one follows: when no request looks anything up in it any more, and on a thread where
/// nobody waits for it, as one of a hundred thousand organisations takes a while.
pub(crate) fn retire(before: Option<Arc<Policy>>) {
    let Some(mut before) = before else { return };
    tokio::spawn(async move {
        loop {
            match Arc::try_unwrap(before) {
                Ok(policy) => return drop(tokio::task::spawn_blocking(move || drop(policy))),
                Err(in_use) => before = in_use,
            }
            tokio::time::sleep(LOOKED_AT_EVERY).await;
        }
    });
}

/// Says which revision is loaded, and what could not be used.
fn report(house: &House, revision: u64, errors: &[CompileError]) {
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    house.metrics.revision.with_label_values(&["loaded"]).set(revision);
    if !errors.is_empty() {
        house.metrics.revision.with_label_values(&["refused"]).set(revision);
    }
    for error in errors {
        tracing::error!(document = %error.document, problem = %error.problem, "document not used; its last good state stays");
    }
}
