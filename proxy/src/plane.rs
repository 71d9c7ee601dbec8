//! The control plane in this process: the store, who may change what it holds, and the API over both.
//!
//! Needs `[store]`; proves a store that is open, and a desk for the API. It has threads of its own: hashing a password,
//! compiling an organisation and waiting for a database hold up no request of an application.

use crate::api_desk::ApiDesk;
use crate::config::Config;
use crate::feed::{FeedConfig, FeedDesk};
use crate::house::House;
use crate::listen::{Address, Listen};
use crate::source::StoreFollower;
use crate::tls::{Certificates, Made};
use crate::usage::{self, Bringing, Destination};
use anyhow::{Context, Result};
use palisade_control::Folder;
use palisade_control::access::{Access, AccessEvent, Cost, Link};
use palisade_control::api::Api;
use palisade_control::feed::{Feed, LIFETIME};
use palisade_control::follow::Follower;
use palisade_control::resources::Control;
use palisade_control::store::{Store, Sweep};
use palisade_filters::dlp::Scanner;
use palisade_filters::policy::compile::CompileError;
use pingora_runtime::Runtime;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// Threads of the control plane.
const THREADS: usize = 2;
/// What is under way when the process ends has this long.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// The control plane.
pub(crate) struct Plane {
    runtime: Runtime,
    folder: Folder,
    store: Arc<Store>,
    access: Arc<Access>,
    api: Arc<Api>,
    desk: Arc<ApiDesk>,
    feed: Option<FeedDoor>,
    usage: Arc<Bringing>,
}

/// Where proxies come that are elsewhere.
struct FeedDoor {
    desk: Arc<FeedDesk>,
    listen: Listen,
    certificates: Arc<Certificates>,
}

impl Plane {
    /// Opens it, if this process has one.
    pub(crate) fn open(config: &Config, house: &Arc<House>, scanner: &Arc<Scanner>) -> Result<Option<Self>> {
        let Some(store) = &config.store else { return Ok(None) };
        warn_of_plain_text(&config.api);
        let folder = Folder::open(&config.data_dir)?;
        if folder.has_documents() {
            tracing::warn!(
                folder = %config.data_dir.display(),
                "the documents in the data folder are not in force: the store is, which is changed over the admin API"
            );
        }
        let runtime = Runtime::new_steal(THREADS, "palisade-control");
        let store = Arc::new(runtime.get_handle().block_on(store.open(config, &folder))?);
        let control = Arc::new(Control::new(store.clone(), scanner.clone(), folder.clone()));
        let asked = house.clone();
        let is_compromised = move |password: &[u8]| asked.intelligence.load().ask(password).is_some();
        let access = Access::new(store.clone(), Cost::OWASP, Arc::new(is_compromised), Arc::new(witness));
        let access = Arc::new(access.context("accounts cannot be kept")?);
        let mut api = Api::new(control, access.clone());
        let feed = match &config.feed {
            None => None,
            Some(config) => {
                let opened = runtime.get_handle().block_on(Feed::open(store.clone(), SystemTime::now()));
                let feed = Arc::new(opened.context("proxies elsewhere cannot be let in")?);
                api = api.with_feed(feed.clone());
                Some(FeedDoor::open(house, feed, config)?)
            }
        };
        let api = Arc::new(api);
        let desk = ApiDesk::new(house.clone(), api.clone(), &config.api).map_err(anyhow::Error::msg)?;
        let usage = usage::begin(house, Destination::Store(store.clone()))?;
        let kept = usage.clone();
        runtime.get_handle().spawn(async move { kept.keep().await });
        runtime.get_handle().spawn(Sweep::keep(store.clone(), |owner, problem| {
            tracing::warn!(owner = owner.map(tracing::field::display), %problem, "what ended is not taken away");
        }));
        Ok(Some(Self { runtime, folder, store, access, api, desk: Arc::new(desk), feed, usage }))
    }

    /// Where its tasks run.
    pub(crate) fn threads(&self) -> &Handle {
        self.runtime.get_handle()
    }

    /// The API, for whoever is in this process.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Who may what.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Where the API is heard.
    pub(crate) fn desk(&self) -> &Arc<ApiDesk> {
        &self.desk
    }

    /// Where the feed is heard, if it is.
    pub(crate) fn feed_desk(&self) -> Option<&Arc<FeedDesk>> {
        self.feed.as_ref().map(|door| &door.desk)
    }

    /// And by whom that is listened to, with which certificates.
    pub(crate) fn feed_listen(&self) -> Option<(Listen, Arc<Certificates>)> {
        self.feed.as_ref().map(|door| (door.listen.clone(), door.certificates.clone()))
    }

    /// Reads all of the store once, and can then follow it.
    pub(crate) fn follow(&self, scanner: &Arc<Scanner>) -> Result<(StoreFollower, Vec<CompileError>)> {
        let started = Follower::start(self.store.clone(), self.folder.clone(), scanner.clone());
        self.threads().block_on(started).context("there is no policy to start with")
    }

    /// The invitation of the first operator, at the very first start.
    pub(crate) fn first_operator(&self) -> Result<Option<Link>> {
        let invited = self.threads().block_on(self.access.bootstrap(SystemTime::now()));
        invited.context("the first operator cannot be invited")
    }

    /// Ends its threads; not from within a runtime. What was accepted is on the disk by then.
    pub(crate) fn end(self) {
        self.threads().block_on(self.usage.finish());
        self.runtime.shutdown_timeout(ENDS_WITHIN);
    }
}

impl FeedDoor {
    fn open(house: &Arc<House>, feed: Arc<Feed>, config: &FeedConfig) -> Result<Self> {
        let listen = config.listen();
        let desk = FeedDesk::new(house.clone(), feed.clone(), &listen).map_err(anyhow::Error::msg)?;
        let names = config.names().to_vec();
        let maker = move |now| {
            let made = feed.authority().listener(&names, now)?;
            let authority = feed.authority().certificate().to_owned();
            Ok(Made { chain: made.chain, key: made.key, authority, renew_at: now + LIFETIME * 2 / 3 })
        };
        let certificates = Arc::new(Certificates::made_by(Box::new(maker))?);
        Ok(Self { desk: Arc::new(desk), listen, certificates })
    }
}

/// What happened to accounts goes to the log; it holds no secret.
pub(crate) fn witness(event: &AccessEvent) {
    let AccessEvent { owner, actor, action, object, .. } = event;
    tracing::info!(%owner, %actor, action, %object, "access");
}

/// Passwords and tokens come over this door.
fn warn_of_plain_text(listen: &Listen) {
    if let Address::Inet(address) = &listen.address
        && !address.ip().is_loopback()
        && listen.tls.is_none()
    {
        tracing::warn!(
            %address,
            "the admin API is served without TLS on an address that others reach: set `api.tls`, unless a proxy on this \
             host ends TLS"
        );
    }
}
