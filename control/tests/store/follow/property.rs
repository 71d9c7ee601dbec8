//! Whatever happens to a store, and whatever does not work on the way: is what is followed what there is?

use super::{Followed, break_it, put, set_provider, set_threshold, thresholds};
use crate::resources::SCANNER;
use crate::world::{World, organisation};
use palisade_control::follow::{FollowError, Follower};
use palisade_control::store::{OrganisationId, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Histories for each engine.
const CASES: u32 = 16;
const ORGANISATIONS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Delete(usize),
    /// A state that can be used.
    Good(usize, u8),
    /// One that cannot.
    Broken(usize),
    /// None: one that cannot be used.
    Platform(Option<u8>),
    /// So many questions are not answered.
    Fails(u32),
    /// The feed seems to go back.
    Back,
    /// Whoever waits gives up after so many microseconds.
    GivenUp(u64),
    /// All is heard of.
    Settled,
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..ORGANISATIONS;
    prop_oneof![
        3 => at().prop_map(Step::Create),
        1 => at().prop_map(Step::Delete),
        4 => (at(), 1..10_u8).prop_map(|(at, state)| Step::Good(at, state)),
        2 => at().prop_map(Step::Broken),
        1 => prop::option::of(0..3_u8).prop_map(Step::Platform),
        2 => (1..5_u32).prop_map(Step::Fails),
        1 => Just(Step::Back),
        2 => (0..3_000_u64).prop_map(Step::GivenUp),
        3 => Just(Step::Settled),
    ]
}

/// What may be in force of somebody, when not every state need have been seen.
#[derive(Debug, Default)]
struct Expected {
    is_there: bool,
    /// None: it cannot be used.
    now: Option<u8>,
    /// States that can be the last good one; none among them: there was none.
    last: BTreeSet<Option<u8>>,
}

impl Expected {
    fn set(&mut self, state: Option<u8>) {
        self.now = state;
        self.last.extend(state.map(Some));
    }

    /// Checks what is in force, once all was heard of.
    fn check(&mut self, found: Option<u8>) -> Result<(), TestCaseError> {
        match (self.is_there, self.now) {
            (false, _) => prop_assert_eq!(found, None, "what is gone is gone"),
            (true, Some(now)) => prop_assert_eq!(found, Some(now)),
            (true, None) => prop_assert!(self.last.contains(&found), "{:?} of {:?}", found, self),
        }
        self.last = BTreeSet::from([found]);
        Ok(())
    }
}

struct Case {
    ids: Vec<OrganisationId>,
    organisations: Vec<Expected>,
    platform: Expected,
}

#[test]
fn following_is_reading_everything_anew_in_files() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    follows(&runtime, World::sqlite());
}

#[test]
fn following_is_reading_everything_anew_in_a_database() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    follows(&runtime, World::postgres());
}

fn follows(runtime: &tokio::runtime::Runtime, world: impl Future<Output = World>) {
    let followed = runtime.block_on(async { Followed::new(world.await).await });
    let followed = std::cell::RefCell::new((followed, 0));
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..24), |steps| {
        let (followed, case) = &mut *followed.borrow_mut();
        *case += 1;
        runtime.block_on(holds(followed, *case, steps))
    });
    outcome.unwrap();
}

async fn holds(followed: &mut Followed, case: u32, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let name = |at| organisation(&format!("case{case}-{at}"));
    let mut expected = Case {
        ids: (0..ORGANISATIONS).map(name).collect(),
        organisations: (0..ORGANISATIONS).map(|_| Expected::default()).collect(),
        platform: Expected { is_there: true, now: Some(0), last: BTreeSet::from([Some(0)]) },
    };
    set_provider(&followed.store, "p0").await;
    followed.origin.failures.store(0, Ordering::Relaxed);
    followed.settle().await;
    for step in steps.into_iter().chain([Step::Settled]) {
        take(followed, &mut expected, step).await?;
    }
    for (id, organisation) in expected.ids.iter().zip(&expected.organisations) {
        if organisation.is_there {
            followed.store.delete_organisation(id).await.unwrap();
        }
    }
    Ok(())
}

async fn take(followed: &mut Followed, case: &mut Case, step: Step) -> Result<(), TestCaseError> {
    let store = followed.store.clone();
    match step {
        Step::Create(at) if !case.organisations[at].is_there => {
            store.create_organisation(&case.ids[at]).await.unwrap();
            // What holds where nothing is said.
            case.organisations[at] =
                Expected { is_there: true, now: Some(5), last: BTreeSet::from([None, Some(5)]) };
        }
        Step::Delete(at) if case.organisations[at].is_there => {
            store.delete_organisation(&case.ids[at]).await.unwrap();
            case.organisations[at] = Expected::default();
        }
        Step::Good(at, state) if case.organisations[at].is_there => {
            set_threshold(&store, case.ids[at].as_str(), state).await;
            case.organisations[at].set(Some(state));
        }
        Step::Broken(at) if case.organisations[at].is_there => {
            break_it(&store, case.ids[at].as_str()).await;
            case.organisations[at].set(None);
        }
        Step::Platform(Some(state)) => {
            set_provider(&store, &format!("p{state}")).await;
            case.platform.set(Some(state));
        }
        Step::Platform(None) => {
            let broken = json!({ "name": "p9", "base_url": "https://a.example", "models": [] });
            put(&store.platform(), "providers", "p", &broken).await;
            case.platform.set(None);
        }
        Step::Fails(times) => followed.origin.failures.store(times, Ordering::Relaxed),
        Step::Back => followed.origin.is_behind.store(true, Ordering::Relaxed),
        Step::GivenUp(micros) => {
            let next = followed.follower.next(Duration::ZERO);
            let _ = tokio::time::timeout(Duration::from_micros(micros), next).await;
        }
        Step::Settled => {
            followed.settle().await;
            check(followed, case).await?;
        }
        Step::Create(_) | Step::Delete(_) | Step::Good(..) | Step::Broken(_) => {}
    }
    Ok(())
}

async fn check(followed: &Followed, case: &mut Case) -> Result<(), TestCaseError> {
    let policy = followed.follower.policy();
    let provider = policy.providers().first().map(|provider| &provider.document.name);
    let state = provider.and_then(|name| name.strip_prefix('p')).map(|state| state.parse().unwrap());
    case.platform.check(state)?;
    let found = thresholds(policy);
    for (id, organisation) in case.ids.iter().zip(&mut case.organisations) {
        organisation.check(found.get(id.as_str()).copied())?;
    }
    // Of those that can be used, there is exactly what somebody finds who was not there before.
    let anew = match anew(followed).await {
        Ok(anew) => anew,
        Err(FollowError::Platform(_)) => {
            prop_assert_eq!(case.platform.now, None);
            return Ok(());
        }
        Err(failed) => panic!("{failed}"),
    };
    let known: BTreeMap<_, _> =
        policy.tenants().map(|tenant| (tenant.id.clone(), tenant.fingerprints())).collect();
    for tenant in anew.policy().tenants() {
        prop_assert_eq!(known.get(&tenant.id), Some(&tenant.fingerprints()));
    }
    Ok(())
}

/// Somebody who was not there before, with the same folder.
async fn anew(followed: &Followed) -> Result<Follower<std::sync::Arc<Store>>, FollowError> {
    let (store, folder) = (followed.store.clone(), followed.folder.clone());
    Follower::start(store, folder, SCANNER.clone()).await.map(|(follower, _)| follower)
}
