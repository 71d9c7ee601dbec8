//! How does a proxy that is elsewhere keep its policy up to date? It follows the feed, and starts from what it kept.
//!
//! Needs an [`Identity`](super::identity::Identity); proves that there is a policy as soon as there was one before on
//! this machine, that a change is in force soon after it is heard of, and that a proxy whose enrolment was withdrawn
//! serves nobody and keeps nothing. How long it may go on unheard, the house knows.

use super::client::Client;
use super::identity::{Identity, Papers};
use super::kept::{Kept, Recalled, Unusable};
use crate::house::House;
use crate::source::{put_in_force, retire};
use anyhow::Result;
use arc_swap::ArcSwap;
use palisade_control::Folder;
use palisade_control::feed::wire;
use palisade_control::follow::{FollowError, Follower, Heard, News, Origin, OriginError, Reading};
use palisade_control::store::{OrganisationId, Owner};
use palisade_control::usage::Batch;
use palisade_filters::dlp::Scanner;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The feed that has nothing new says so after this long; a change is told at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// What was noted is in the files no later than this.
const KEPT_WITHIN: Duration = Duration::from_secs(1);
/// How often it is kept that nothing is new.
const KEPT_EVERY: Duration = Duration::from_secs(30);
/// Of so many owners, what was noted is not held in memory any longer.
const NOTED_MAX: usize = 4_096;
/// After what did not work, it is tried again.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Whoever was shown the door comes back no more often than this: somebody may enroll it anew.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The feed, and what was kept of it.
pub(crate) struct Far {
    data_dir: PathBuf,
    client: ArcSwap<Client>,
    kept: Kept,
    /// What was kept, while a policy is made of that and nobody is asked.
    recalled: Mutex<Option<Recalled>>,
}

/// An origin that many hold.
#[derive(Clone)]
struct FarOrigin(Arc<Far>);

/// Follows the feed for one house.
struct Following {
    house: Arc<House>,
    far: Arc<Far>,
    folder: Folder,
    scanner: Arc<Scanner>,
    /// None, as long as there is no policy.
    follower: Option<Follower<FarOrigin>>,
    is_away: bool,
    /// What is on the disk, and since when.
    kept: (u64, Instant),
}

impl Far {
    pub(crate) fn open(data_dir: &Path) -> Result<Arc<Self>> {
        let identity = Identity::load(data_dir)?;
        let kept = Kept::new(data_dir, &identity.key);
        let client = ArcSwap::from_pointee(Client::new(identity)?);
        Ok(Arc::new(Self { data_dir: data_dir.to_owned(), client, kept, recalled: Mutex::default() }))
    }

    /// Goes on as whoever the identity on the disk says.
    fn introduce(&self) -> Result<()> {
        let identity = Identity::load(&self.data_dir)?;
        self.kept.set_key(&identity.key);
        self.client.store(Arc::new(Client::new(identity)?));
        Ok(())
    }

    /// Who this proxy is, and whom it follows.
    pub(crate) fn describe(&self) -> String {
        let client = self.client.load();
        let home = &client.identity().home;
        let sees =
            home.organisations.as_ref().map_or("all organisations".to_owned(), |named| named.join(", "));
        format!("`{}` at `{}`, for {sees}", home.id, home.url)
    }

    /// Another certificate, if it is time.
    async fn renew(&self) {
        let client = self.client.load_full();
        if SystemTime::now() < client.identity().renew_at {
            return;
        }
        match self.renewed(&client).await {
            Ok(()) => tracing::info!("the certificate of this proxy is renewed"),
            Err(error) => tracing::warn!("the certificate of this proxy is not renewed yet: {error:#}"),
        }
    }

    async fn renewed(&self, client: &Client) -> Result<()> {
        let identity = client.identity();
        // For the same key: what is kept is sealed under it.
        let asked = wire::Renew { public_key: identity.home.public_key.clone() };
        let told: wire::Renewed = client.post("renew", &asked).await?;
        let papers = Papers { certificate: told.certificate, ..identity.papers.clone() };
        papers.keep_certificate(&self.data_dir)?;
        self.introduce()
    }

    /// Brings what was counted; which of it is not to be brought again.
    pub(crate) async fn bring(&self, batches: Vec<Batch>) -> Result<wire::Settled, OriginError> {
        self.client.load_full().post("usage", &wire::Usage { batches }).await
    }

    /// Writes what was noted, on a thread where that holds up nobody.
    async fn flush(self: &Arc<Self>, whole: Option<u64>) -> Result<(), String> {
        let far = self.clone();
        let written = tokio::task::spawn_blocking(move || far.kept.flush(whole, SystemTime::now()));
        written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// Follows the feed for as long as the process goes on.
pub(crate) async fn follow(house: Arc<House>, far: Arc<Far>, folder: Folder, scanner: Arc<Scanner>) {
    let kept = (0, Instant::now());
    let mut following = Following { house, far, folder, scanner, follower: None, is_away: false, kept };
    following.recall().await;
    loop {
        following.far.renew().await;
        match following.next().await {
            Ok(heard) => following.heard(heard).await,
            Err(FollowError::Origin(OriginError::Refused(why))) => following.turned_out(&why).await,
            Err(FollowError::Ended) => {
                // Compiling panicked once and would again: the last policy stays until it is too old.
                tracing::error!("the feed is not followed any more; start the process again");
                return;
            }
            Err(error) => following.held_up(&error).await,
        }
    }
}

impl Following {
    /// Puts in force what was kept, if it can be used: so a proxy serves before anybody answers.
    async fn recall(&mut self) {
        let far = self.far.clone();
        let recalled = tokio::task::spawn_blocking(move || far.kept.recall()).await;
        let recalled = match recalled.unwrap_or(Err(Unusable::Nothing)) {
            Ok(recalled) => recalled,
            Err(Unusable::Nothing) => return,
            Err(error) => return not_used(&error),
        };
        let heard = UNIX_EPOCH + Duration::from_secs(recalled.place.heard);
        *self.far.recalled.lock() = Some(recalled);
        let started = self.start().await;
        *self.far.recalled.lock() = None;
        match started {
            Ok(_) => self.house.freshness.heard_at(heard, SystemTime::now()),
            Err(error) => not_used(&error),
        }
    }

    /// Reads everything for the first time, and puts it in force.
    async fn start(&mut self) -> Result<Option<Heard>, FollowError> {
        let origin = FarOrigin(self.far.clone());
        let (follower, errors) = Follower::start(origin, self.folder.clone(), self.scanner.clone()).await?;
        put_in_force(&self.house, follower.policy().clone(), &errors, true);
        self.follower = Some(follower);
        Ok(None)
    }

    async fn next(&mut self) -> Result<Option<Heard>, FollowError> {
        let is_to_be_kept = self.far.kept.pending() > 0;
        match &mut self.follower {
            Some(follower) => {
                let patience =
                    if is_to_be_kept { KEPT_WITHIN } else { self.house.freshness.patience(PATIENCE) };
                follower.next(patience).await.map(Some)
            }
            None => self.start().await,
        }
    }

    /// Something was said, if only that nothing is new.
    async fn heard(&mut self, heard: Option<Heard>) {
        if std::mem::replace(&mut self.is_away, false) {
            tracing::info!("the control plane answers again, and is followed");
        }
        self.house.freshness.heard();
        let Some(heard) = heard else { return };
        put_in_force(&self.house, heard.policy, &heard.errors, heard.changed);
        self.house.metrics.feed_behind.set(i64::try_from(heard.behind).unwrap_or(i64::MAX));
        let (position, since) = self.kept;
        let is_new = heard.position != position || self.far.kept.pending() > 0;
        if since.elapsed() < if is_new { KEPT_WITHIN } else { KEPT_EVERY } {
            return;
        }
        // Of a part that is not whole, the position of before is true.
        let whole = heard.is_whole.then_some(heard.position);
        self.kept = (whole.unwrap_or(position), Instant::now());
        if let Err(error) = self.far.flush(whole).await {
            tracing::error!(error, "what was heard of cannot be kept; it is tried again");
        }
    }

    /// The enrolment was withdrawn, or has ended.
    async fn turned_out(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) || self.follower.is_some() {
            tracing::error!(why, "this proxy was shown the door: it serves nobody, and keeps nothing");
        }
        self.follower = None;
        retire(self.house.withdraw());
        if let Err(error) = self.far.kept.forget() {
            tracing::error!(%error, "what was kept cannot be removed");
        }
        tokio::time::sleep(REFUSED_AGAIN_AFTER).await;
        // Somebody may have enrolled it anew meanwhile.
        if let Err(error) = self.far.introduce() {
            tracing::error!("this proxy's identity cannot be read: {error:#}");
        }
    }

    async fn held_up(&mut self, error: &FollowError) {
        if !std::mem::replace(&mut self.is_away, true) {
            let so_far =
                if self.follower.is_some() { "the last policy stays in force" } else { "there is no policy" };
            tracing::error!(%error, "the control plane cannot be followed; {so_far}");
        }
        tokio::time::sleep(TRIED_AGAIN_AFTER).await;
    }
}

fn not_used(error: &dyn std::fmt::Display) {
    tracing::error!(%error, "what was kept is not used; there is no policy until the control plane answers");
}

impl Origin for FarOrigin {
    async fn end(&self) -> Result<u64, OriginError> {
        if let Some(recalled) = self.0.recalled.lock().as_ref() {
            return Ok(recalled.place.position);
        }
        self.0.client.load_full().end().await
    }

    async fn news(&self, after: u64, patience: Duration) -> Result<News, OriginError> {
        self.0.client.load_full().news(after, patience).await
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        if let Some(recalled) = self.0.recalled.lock().as_ref() {
            return Ok(recalled.organisations(after));
        }
        self.0.client.load_full().organisations(after).await
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        if let Some(recalled) = self.0.recalled.lock().as_mut() {
            return recalled.take(owners).map_err(|error| OriginError::Away(error.to_string()));
        }
        let readings = self.0.client.load_full().read(owners).await?;
        self.0.kept.note(&readings);
        if self.0.kept.pending() >= NOTED_MAX
            && let Err(error) = self.0.flush(None).await
        {
            tracing::error!(error, "what was read cannot be kept; it is tried again");
        }
        Ok(readings)
    }
}
