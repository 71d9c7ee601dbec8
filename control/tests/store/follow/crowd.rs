//! Many organisations: a change of what holds for all reaches all, and nobody else waits behind it.

use super::thresholds;
use crate::resources::SCANNER;
use crate::world::{document, id, organisation, owned};
use palisade_control::folder::Folder;
use palisade_control::follow::{Follower, News, Origin, OriginError, Pieces, READ_MAX, Reading};
use palisade_control::store::{Kind, OrganisationId, Owner};
use palisade_filters::secret::Secret;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const ORGANISATIONS: usize = 1_000;

/// So many organisations, without a store.
#[derive(Clone, Default)]
struct Crowd(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    provider: &'static str,
    thresholds: BTreeMap<Owner, u8>,
    news: VecDeque<Owner>,
    told: u64,
    /// Those that cannot be used.
    broken: BTreeSet<Owner>,
}

impl Crowd {
    fn change(&self, owner: Owner, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state);
        state.news.push_back(owner);
    }

    fn set(&self, owner: &Owner, tenths: u8) {
        self.change(owner.clone(), |state| {
            state.thresholds.insert(owner.clone(), tenths);
        });
    }
}

impl Origin for Crowd {
    async fn end(&self) -> Result<u64, OriginError> {
        Ok(self.0.lock().unwrap().told)
    }

    async fn news(&self, _: u64, _: Duration) -> Result<News, OriginError> {
        let mut state = self.0.lock().unwrap();
        let owners: BTreeSet<Owner> = state.news.drain(..).collect();
        state.told += owners.len() as u64;
        Ok(News { owners, position: state.told, end: state.told })
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        let all = (0..ORGANISATIONS).map(|at| organisation(&format!("org-{at:04}")));
        Ok(all.filter(|id| after.is_none_or(|after| id > after)).take(100).collect())
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        assert!(owners.len() <= READ_MAX);
        let state = self.0.lock().unwrap();
        let piece = |kind: &str, name: &str, value: Value| {
            (Kind::new(kind).unwrap(), id(name), document(&value.to_string()))
        };
        let read = |owner: &Owner| {
            let pieces = match owner {
                Owner::Platform => {
                    let provider =
                        json!({ "name": state.provider, "base_url": "https://a.example", "models": ["*"] });
                    Pieces { resources: vec![piece("providers", "p", provider)], hash_secret: None }
                }
                Owner::Organisation(_) => {
                    let tenths = state.thresholds.get(owner).copied().unwrap_or(5);
                    let tenths = if state.broken.contains(owner) { 20 } else { tenths };
                    let settings = json!({ "threshold": f32::from(tenths) / 10.0 });
                    let hash_secret = Some(Secret::new("5e".repeat(32)));
                    Pieces { resources: vec![piece("dlp-settings", "default", settings)], hash_secret }
                }
            };
            (owner.clone(), Reading::There(pieces))
        };
        Ok(owners.iter().map(read).collect())
    }
}

async fn followed(crowd: &Crowd) -> (Follower<Crowd>, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::open(data.path()).unwrap();
    (Follower::start(crowd.clone(), folder, SCANNER.clone()).await.unwrap().0, data)
}

#[tokio::test]
async fn a_change_of_the_platform_reaches_all_and_nobody_waits_behind_it() {
    let crowd = Crowd::default();
    crowd.0.lock().unwrap().provider = "p0";
    let (mut follower, _data) = followed(&crowd).await;
    assert_eq!(follower.policy().tenant_count(), ORGANISATIONS);
    crowd.change(Owner::Platform, |state| state.provider = "p1");
    let heard = follower.next(Duration::ZERO).await.unwrap();
    assert!(heard.changed && !heard.is_whole, "all of them at once would take long");
    assert_eq!(heard.policy.providers()[0].document.name, "p1", "what holds for all holds at once");
    // The last of all, in the middle of that.
    let last = owned("org-0999");
    crowd.set(&last, 7);
    let heard = follower.next(Duration::ZERO).await.unwrap();
    assert!(!heard.is_whole, "others are still to come");
    assert_eq!(thresholds(&heard.policy)["org-0999"], 7);
    let mut parts = 2;
    while !follower.next(Duration::ZERO).await.unwrap().is_whole {
        parts += 1;
    }
    assert!(parts <= ORGANISATIONS / READ_MAX + 2, "{parts} parts");
    let platforms: BTreeSet<u64> =
        follower.policy().tenants().map(|tenant| tenant.fingerprints()[0]).collect();
    assert!(platforms.len() == 1 && follower.policy().is_under(*platforms.first().unwrap()));
}

#[tokio::test]
async fn those_who_can_wait_do_not_wait_forever() {
    let crowd = Crowd::default();
    crowd.0.lock().unwrap().provider = "p0";
    let (mut follower, _data) = followed(&crowd).await;
    crowd.change(Owner::Platform, |state| state.provider = "p1");
    // Somebody changes each time.
    for turn in 0..ORGANISATIONS {
        let one = owned("org-0000");
        crowd.set(&one, (turn % 9) as u8);
        if follower.next(Duration::ZERO).await.unwrap().is_whole {
            return;
        }
    }
    panic!("there is no end to it");
}

#[tokio::test]
async fn any_number_that_cannot_be_used_is_tried_again_and_keeps_what_it_had() {
    let crowd = Crowd::default();
    crowd.0.lock().unwrap().provider = "p0";
    let (mut follower, _data) = followed(&crowd).await;
    let broken: Vec<Owner> = (0..600).map(|at| owned(&format!("org-{at:04}"))).collect();
    for owner in &broken {
        crowd.change(owner.clone(), |state| {
            state.broken.insert(owner.clone());
        });
    }
    let mut said = 0;
    while said < broken.len() {
        said += follower.next(Duration::ZERO).await.unwrap().errors.len();
    }
    assert_eq!((said, follower.policy().tenant_count()), (600, ORGANISATIONS));
    crowd.0.lock().unwrap().broken.clear();
    for owner in &broken {
        crowd.set(owner, 2);
    }
    while thresholds(follower.policy()).values().filter(|tenths| **tenths == 2).count() < broken.len() {
        assert_eq!(follower.next(Duration::ZERO).await.unwrap().errors, []);
    }
}
