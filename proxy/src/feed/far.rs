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
use anyhow::{Context, Result};
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
/// Whether it was renewed or not, no certificate is asked for again before.
const RENEWED_AGAIN_AFTER: Duration = Duration::from_mins(10);
/// Who takes over from another process reads everything within this time.
const FIRST_WITHIN: Duration = Duration::from_mins(1);
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
pub(crate) struct Following {
    house: Arc<House>,
    far: Arc<Far>,
    folder: Folder,
    scanner: Arc<Scanner>,
    /// None, as long as there is no policy.
    follower: Option<Follower<FarOrigin>>,
    is_away: bool,
    /// What is on the disk, and since when.
    kept: (u64, Instant),
    /// Whether it was said that nothing can be kept.
    is_unkept: bool,
    /// When a certificate was asked for the last time.
    renewed: Option<Instant>,
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
        self.client.store(Arc::new(Client::new(Identity::load(&self.data_dir)?)?));
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

    async fn renewed(&self, client: &Client) -> Result<()> {
        let identity = client.identity();
        // For the same key: what is kept is sealed under it.
        let asked = wire::Renew { public_key: identity.home.public_key.clone() };
        let told: wire::Renewed = client.post("renew", &asked).await?;
        let papers = Papers { certificate: told.certificate, ..identity.papers.clone() };
        // Meanwhile it may have become another one.
        anyhow::ensure!(!identity.is_replaced(), "this proxy was enrolled anew");
        papers.keep_certificate(&self.data_dir)?;
        self.introduce()
    }

    /// Brings what was counted; which of it is not to be brought again.
    pub(crate) async fn bring(&self, batches: Vec<Batch>) -> Result<wire::Settled, OriginError> {
        self.client.load_full().post("usage", &wire::Usage { batches }).await
    }

    /// Does what waits for the disk on a thread where that holds up nobody.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Unusable> {
        let far = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&far)).await;
        done.map_err(|ended| Unusable::Io(self.data_dir.clone(), std::io::Error::other(ended)))
    }

    /// Writes what was noted.
    async fn flush(self: &Arc<Self>, whole: Option<u64>) -> Result<(), Unusable> {
        self.aside(move |far| far.kept.flush(whole, SystemTime::now())).await?
    }
}

impl Following {
    /// Puts in force what was kept, if it can be used: so a proxy serves before anybody answers. Who takes over from a
    /// process that serves does not do so without a policy, and waits for the control plane.
    pub(crate) async fn begin(
        (house, far): (Arc<House>, Arc<Far>),
        (folder, scanner): (Folder, Arc<Scanner>),
        is_upgrade: bool,
    ) -> Result<Self> {
        let (kept, follower) = ((0, Instant::now()), None);
        let (is_away, is_unkept, renewed) = (false, false, None);
        let mut this = Self { house, far, folder, scanner, follower, is_away, kept, is_unkept, renewed };
        this.recall().await;
        if is_upgrade && this.follower.is_none() {
            let started = tokio::time::timeout(FIRST_WITHIN, this.start()).await;
            let started = started.map_err(|_| anyhow::anyhow!("not within {FIRST_WITHIN:?}"));
            started.and_then(|started| Ok(started?)).context("there is no policy to take over with")?;
            this.house.freshness.heard();
        }
        Ok(this)
    }

    /// Follows the feed for as long as the process goes on.
    pub(crate) async fn keep(mut self) {
        loop {
            self.renew().await;
            match self.next().await {
                Ok(heard) => self.heard(heard).await,
                Err(FollowError::Origin(OriginError::Refused(why))) => self.turned_out(&why).await,
                Err(FollowError::Ended) => {
                    // Compiling panicked once and would again: the last policy stays until it is too old.
                    tracing::error!("the feed is not followed any more; start the process again");
                    return;
                }
                Err(error) => self.held_up(&error).await,
            }
        }
    }

    async fn recall(&mut self) {
        let recalled = self.far.aside(|far| far.kept.recall()).await;
        let recalled = match recalled.and_then(|recalled| recalled) {
            Ok(recalled) => recalled,
            Err(Unusable::Nothing) => return,
            Err(error) => return not_used(&error),
        };
        let heard = UNIX_EPOCH + Duration::from_secs(recalled.place.heard);
        *self.far.recalled.lock() = Some(recalled);
        let started = self.follow().await;
        *self.far.recalled.lock() = None;
        match started {
            Ok(()) => self.house.freshness.heard_at(heard, SystemTime::now()),
            Err(error) => not_used(&error),
        }
    }

    /// Reads everything that the control plane has, and puts it in force. Nothing is kept of before.
    async fn start(&mut self) -> Result<(), FollowError> {
        let client = self.far.client.load_full();
        // Not before it answers: until then, what is there may be of use to another version of the product.
        client.end().await?;
        let key = client.identity().key.clone();
        let begun = self.far.aside(move |far| far.kept.begin(&key)).await;
        let begun = begun.and_then(|begun| begun);
        self.say_kept(begun);
        self.follow().await
    }

    async fn follow(&mut self) -> Result<(), FollowError> {
        let origin = FarOrigin(self.far.clone());
        let (follower, errors) = Follower::start(origin, self.folder.clone(), self.scanner.clone()).await?;
        put_in_force(&self.house, follower.policy().clone(), &errors, true);
        self.follower = Some(follower);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Heard>, FollowError> {
        let is_to_be_kept = self.far.kept.pending() > 0;
        match &mut self.follower {
            Some(follower) => {
                let patience =
                    if is_to_be_kept { KEPT_WITHIN } else { self.house.freshness.patience(PATIENCE) };
                follower.next(patience).await.map(Some)
            }
            None => self.start().await.map(|()| None),
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
        let flushed = self.far.flush(whole).await;
        if matches!(flushed, Err(Unusable::Foreign(_))) {
            // Of what is not there any more, not even the rest is of use: all is read anew.
            self.follower = None;
        }
        self.say_kept(flushed);
    }

    /// Says once that nothing can be kept, and once that it can again.
    fn say_kept(&mut self, done: Result<(), Unusable>) {
        let was_unkept = std::mem::replace(&mut self.is_unkept, done.is_err());
        match done {
            Ok(()) if was_unkept => tracing::info!("what is heard of is kept again"),
            Err(error) if !was_unkept => {
                tracing::error!(%error, "what is heard of cannot be kept: without the control plane, this proxy would \
                                         not start");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Another certificate, if it is time, or another identity, if somebody enrolled this proxy anew.
    async fn renew(&mut self) {
        let client = self.far.client.load_full();
        if client.identity().is_replaced() {
            match self.far.introduce() {
                Ok(()) => {
                    tracing::info!("this proxy was enrolled anew: it is {}", self.far.describe());
                    self.follower = None;
                }
                Err(error) => tracing::error!("another identity lies there and cannot be used: {error:#}"),
            }
            return;
        }
        let is_early = self.renewed.is_some_and(|last| last.elapsed() < RENEWED_AGAIN_AFTER);
        if SystemTime::now() < client.identity().renew_at || is_early {
            return;
        }
        self.renewed = Some(Instant::now());
        match self.far.renewed(&client).await {
            Ok(()) => tracing::info!("the certificate of this proxy is renewed"),
            Err(error) => tracing::warn!(
                "the certificate of this proxy is not renewed yet, which is tried again in {RENEWED_AGAIN_AFTER:?}: \
                 {error:#}"
            ),
        }
    }

    /// The enrolment was withdrawn, or has ended.
    async fn turned_out(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) || self.follower.is_some() {
            tracing::error!(why, "this proxy was shown the door: it serves nobody, and keeps nothing");
        }
        self.follower = None;
        retire(self.house.withdraw());
        if let Ok(Err(error)) = self.far.aside(|far| far.kept.forget()).await {
            tracing::error!(%error, "what was kept cannot be removed");
        }
        // Somebody may enroll it anew meanwhile.
        tokio::time::sleep(REFUSED_AGAIN_AFTER).await;
    }

    async fn held_up(&mut self, error: &FollowError) {
        if !std::mem::replace(&mut self.is_away, true) {
            let what = match (self.house.last_policy(), self.house.freshness.is_stale()) {
                (None, _) => "there is no policy",
                (Some(_), true) => "the last policy is older than `max_staleness`, and not in force",
                (Some(_), false) => "the last policy stays in force",
            };
            tracing::error!(%error, "the control plane cannot be followed; {what}");
            if self.far.client.load().identity().ends <= SystemTime::now() {
                tracing::error!("the certificate of this proxy has ended: enroll it again");
            }
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
        if self.0.kept.pending() >= NOTED_MAX {
            // If it fails, whoever reads says so with the next change.
            let _ = self.0.flush(None).await;
        }
        Ok(readings)
    }
}
