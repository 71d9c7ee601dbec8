//! Many organisations: a change of what holds for all reaches all, and nobody else waits behind it.

use super::thresholds;
use crate::resources::SCANNER;
use crate::world::{document, id, organisation, owned};
use palisade_control::folder::Folder;
use palisade_control::follow::{Follower, News, Origin, OriginError, Pieces, READ_MAX, Reading};
use palisade_control::store::{Kind, OrganisationId, Owner};
use palisade_filters::Policy;
use palisade_filters::secret::Secret;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const ORGANISATIONS: usize = 1_000;

/// Many organisations, without a store.
#[derive(Clone)]
struct Crowd(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    organisations: usize,
    provider: &'static str,
    thresholds: BTreeMap<Owner, u8>,
    news: VecDeque<Owner>,
    told: u64,
    /// Those that cannot be used.
    broken: BTreeSet<Owner>,
    /// Those with a route to the provider `p0`.
    routed: BTreeSet<Owner>,
    /// How many organisations were read.
    read: usize,
    /// The next time, the feed seems to have gone back.
    is_behind: bool,
}

impl Crowd {
    fn of(organisations: usize) -> Self {
        Self(Arc::new(Mutex::new(State { organisations, provider: "p0", ..State::default() })))
    }

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
        if std::mem::take(&mut state.is_behind) {
            return Err(OriginError::Behind);
        }
        let owners: BTreeSet<Owner> = state.news.drain(..).collect();
        state.told += owners.len() as u64;
        Ok(News { owners, position: state.told, end: state.told })
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        let all = (0..self.0.lock().unwrap().organisations).map(|at| organisation(&format!("org-{at:04}")));
        Ok(all.filter(|id| after.is_none_or(|after| id > after)).take(100).collect())
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        assert!(owners.len() <= READ_MAX);
        let mut state = self.0.lock().unwrap();
        state.read += owners.iter().filter(|owner| **owner != Owner::Platform).count();
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
                    let mut resources = vec![piece("dlp-settings", "default", settings)];
                    if state.routed.contains(owner) {
                        let routes =
                            json!({ "routes": [{ "name": "r", "models": ["*"], "targets": ["p0"] }] });
                        resources.push(piece("routes", "default", routes));
                    }
                    Pieces { resources, hash_secret: Some(Secret::new("5e".repeat(32))) }
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
    let (follower, errors) = Follower::start(crowd.clone(), folder, SCANNER.clone()).await.unwrap();
    assert_eq!(errors, []);
    (follower, data)
}

/// For how many organisations each of the platforms is in force.
fn platforms(policy: &Policy) -> BTreeMap<u64, usize> {
    let platforms = policy.tenants().map(|tenant| tenant.fingerprints()[0]);
    platforms.fold(BTreeMap::new(), |mut counts, platform| {
        *counts.entry(platform).or_default() += 1;
        counts
    })
}

fn is_under_the_newest(policy: &Policy, name: &str) -> bool {
    let tenant = policy.tenants().find(|tenant| *tenant.id == *name).unwrap();
    policy.is_under(tenant.fingerprints()[0])
}

#[tokio::test]
async fn a_change_of_the_platform_reaches_all_unread_and_nobody_waits_behind_it() {
    let crowd = Crowd::of(9_000);
    let (mut follower, _data) = followed(&crowd).await;
    assert_eq!(follower.policy().tenant_count(), 9_000);
    crowd.0.lock().unwrap().read = 0;
    crowd.change(Owner::Platform, |state| state.provider = "p1");
    let heard = follower.next(Duration::ZERO).await.unwrap();
    assert!(heard.changed && !heard.is_whole, "all of them at once would take long");
    assert_eq!(heard.policy.providers()[0].document.name, "p1", "what holds for all holds at once");
    // One of them, in the middle of that.
    crowd.set(&owned("org-0999"), 7);
    let heard = follower.next(Duration::ZERO).await.unwrap();
    assert!(!heard.is_whole, "others are still to come");
    assert_eq!(thresholds(&heard.policy)["org-0999"], 7);
    let mut parts = 2;
    while !follower.next(Duration::ZERO).await.unwrap().is_whole {
        parts += 1;
    }
    assert!(parts <= 3, "{parts} parts");
    let platforms = platforms(follower.policy());
    assert!(platforms.len() == 1 && follower.policy().is_under(*platforms.first_key_value().unwrap().0));
    assert_eq!(crowd.0.lock().unwrap().read, 1, "the one that changed");
}

#[tokio::test]
async fn who_does_not_fit_under_another_platform_is_named_and_keeps_what_it_had_until_it_does() {
    let crowd = Crowd::of(40);
    for at in 3..5 {
        crowd.0.lock().unwrap().routed.insert(owned(&format!("org-{at:04}")));
    }
    let (mut follower, _data) = followed(&crowd).await;
    // Its newest document cannot be used; what it had before is held against the newest platform all the same.
    let broken = owned("org-0007");
    crowd.change(broken.clone(), |state| {
        state.broken.insert(broken.clone());
    });
    assert_eq!(follower.next(Duration::ZERO).await.unwrap().errors.len(), 1);
    crowd.change(Owner::Platform, |state| state.provider = "p1");
    let mut errors = Vec::new();
    for _ in 0..4 {
        errors.extend(follower.next(Duration::ZERO).await.unwrap().errors);
    }
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let unknown = "route `r`: no provider is named `p0`";
    assert_eq!(
        said,
        ["3", "4"].map(|at| format!("organisation `org-000{at}`: {unknown}")),
        "nobody else, and each once"
    );
    assert_eq!(platforms(follower.policy()).into_values().sum::<usize>(), 40);
    let is_there = |name: &str| is_under_the_newest(follower.policy(), name);
    assert_eq!(["org-0003", "org-0004", "org-0005", "org-0007"].map(is_there), [false, false, true, true]);
    // One is changed so that it fits, for the other the platform is.
    crowd.change(owned("org-0003"), |state| {
        state.routed.remove(&owned("org-0003"));
    });
    assert_eq!(follower.next(Duration::ZERO).await.unwrap().errors, []);
    assert!(is_under_the_newest(follower.policy(), "org-0003"));
    crowd.change(Owner::Platform, |state| state.provider = "p0");
    crowd.0.lock().unwrap().read = 0;
    for _ in 0..4 {
        assert_eq!(follower.next(Duration::ZERO).await.unwrap().errors, []);
    }
    assert!(follower.policy().is_under(*platforms(follower.policy()).first_key_value().unwrap().0));
    assert_eq!((platforms(follower.policy()).len(), crowd.0.lock().unwrap().read), (1, 0));
    // What is no problem any more is one again if it comes back.
    crowd.change(Owner::Platform, |state| state.provider = "p1");
    let mut errors = Vec::new();
    for _ in 0..4 {
        errors.extend(follower.next(Duration::ZERO).await.unwrap().errors);
    }
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[tokio::test]
async fn those_who_can_wait_do_not_wait_forever() {
    let crowd = Crowd::of(ORGANISATIONS);
    let (mut follower, _data) = followed(&crowd).await;
    let all: Vec<Owner> = (0..ORGANISATIONS).map(|at| owned(&format!("org-{at:04}"))).collect();
    // All are read anew, and somebody changes each time.
    {
        let mut state = crowd.0.lock().unwrap();
        state.thresholds.extend(all.into_iter().map(|owner| (owner, 3)));
        state.is_behind = true;
    }
    for turn in 0..ORGANISATIONS {
        crowd.set(&owned("org-0000"), (turn % 9) as u8);
        if follower.next(Duration::ZERO).await.unwrap().is_whole {
            assert_eq!(thresholds(follower.policy())["org-0999"], 3);
            return;
        }
    }
    panic!("there is no end to it");
}

#[tokio::test]
async fn any_number_that_cannot_be_used_is_tried_again_and_keeps_what_it_had() {
    let crowd = Crowd::of(ORGANISATIONS);
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
