//! Does every accepted change reach whoever follows, whatever fails in between?

mod crowd;
mod faults;
mod property;

use crate::resources::SCANNER;
use crate::world::{World, document, id, organisation};
use palisade_control::folder::Folder;
use palisade_control::follow::{Follower, News, Origin, OriginError, Reading};
use palisade_control::store::{Kind, OrganisationId, Owner, Resources, Store};
use palisade_filters::Policy;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A store that sometimes does not answer, as its follower sees it.
#[derive(Clone)]
struct Flaky {
    store: Arc<Mutex<Option<Arc<Store>>>>,
    /// So many of the next questions are not answered.
    failures: Arc<AtomicU32>,
    /// The next time, the feed seems to have gone back.
    is_behind: Arc<AtomicBool>,
}

impl Flaky {
    fn new(store: &Arc<Store>) -> Self {
        let store = Arc::new(Mutex::new(Some(store.clone())));
        Self { store, failures: Arc::default(), is_behind: Arc::default() }
    }

    fn store(&self) -> Result<Arc<Store>, OriginError> {
        let less = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Err(OriginError::Away("it does not answer".to_owned()));
        }
        self.store.lock().unwrap().clone().ok_or(OriginError::Away("it is closed".to_owned()))
    }
}

impl Origin for Flaky {
    async fn end(&self) -> Result<u64, OriginError> {
        self.store()?.end().await
    }

    async fn news(&self, after: u64, patience: Duration) -> Result<News, OriginError> {
        let after = if self.is_behind.swap(false, Ordering::Relaxed) { u64::MAX >> 1 } else { after };
        self.store()?.news(after, patience).await
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        let store = self.store()?;
        Origin::organisations(&store, after).await
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        let mut readings = self.store()?.read(owners).await?;
        // Less than was asked for is an answer, too.
        readings.truncate(2);
        Ok(readings)
    }
}

/// A store with somebody who follows it.
struct Followed {
    world: World,
    store: Arc<Store>,
    origin: Flaky,
    folder: Folder,
    follower: Follower<Flaky>,
    _data: TempDir,
}

impl Followed {
    async fn new(world: World) -> Self {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::open(data.path()).unwrap();
        let store = Arc::new(world.open().await);
        let origin = Flaky::new(&store);
        let follower = Follower::start(origin.clone(), folder.clone(), SCANNER.clone()).await;
        let (follower, errors) = follower.unwrap();
        assert_eq!(errors, []);
        Self { world, store, origin, folder, follower, _data: data }
    }

    /// Follows until nothing is left to be read; what was said to be wrong on the way.
    async fn settle(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..10_000 {
            let Ok(heard) = self.follower.next(Duration::ZERO).await else { continue };
            said.extend(heard.errors.iter().map(ToString::to_string));
            if heard.is_whole && heard.behind == 0 {
                return said;
            }
        }
        panic!("there is no end to it: {:?}", self.follower);
    }

    fn thresholds(&self) -> BTreeMap<String, u8> {
        thresholds(self.follower.policy())
    }
}

/// What tells the states of organisations apart here: their thresholds, in tenths.
fn thresholds(policy: &Policy) -> BTreeMap<String, u8> {
    let is_near = |of: f32, tenths: u8| (of * 10.0 - f32::from(tenths)).abs() < 0.5;
    let threshold = |of: f32| (0..=10).find(|tenths| is_near(of, *tenths)).unwrap();
    policy.tenants().map(|tenant| (tenant.id.to_string(), threshold(tenant.threshold))).collect()
}

/// Replaces a resource, whatever was there, without asking whether it can be used.
async fn put(resources: &Resources<'_>, kind: &str, name: &str, value: &Value) {
    let (kind, name) = (Kind::new(kind).unwrap(), id(name));
    let expected = resources.get(&kind, &name).await.unwrap().map(|found| found.version);
    resources.put(&kind, &name, expected, document(&value.to_string())).await.unwrap();
}

async fn set_threshold(store: &Store, name: &str, tenths: u8) {
    let value = json!({ "threshold": f32::from(tenths) / 10.0 });
    put(&store.tenant(&organisation(name)), "dlp-settings", "default", &value).await;
}

/// What reads well and does not compile.
async fn break_it(store: &Store, name: &str) {
    put(&store.tenant(&organisation(name)), "dlp-settings", "default", &json!({ "threshold": 2.0 })).await;
}

async fn set_provider(store: &Store, name: &str) {
    let value = json!({ "name": name, "base_url": "https://a.example", "models": ["*"] });
    put(&store.platform(), "providers", "p", &value).await;
}
