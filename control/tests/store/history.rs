//! Whoever writes at once, and whoever gives up halfway: is there one history, and does the feed show exactly it?

use crate::world::{World, document, groups, id, organisation};
use palisade_control::store::{
    Accepted, Change, FeedEvent, OrganisationId, Owner, ResourceId, Store, StoreError, Write,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Histories for each engine.
const CASES: u32 = 24;
/// Few, so that writers meet.
const ORGANISATIONS: usize = 2;
const RESOURCES: usize = 3;

/// What a writer does next.
#[derive(Clone, Debug)]
enum Step {
    /// Reads, then writes what it read.
    Put { organisation: usize, resource: usize },
    /// Writes without having read.
    Stale { organisation: usize, resource: usize, expected: Option<u64> },
    /// Reads, then deletes what it read.
    Delete { organisation: usize, resource: usize },
    /// Reads two, then writes both at once.
    Both { organisation: usize },
    /// Writes, and is cancelled after some microseconds.
    Cancelled { organisation: usize, resource: usize, micros: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0..ORGANISATIONS, 0..RESOURCES);
    prop_oneof![
        4 => place.clone().prop_map(|(organisation, resource)| Step::Put { organisation, resource }),
        1 => (place.clone(), prop::option::of(0..5_u64)).prop_map(|((organisation, resource), expected)| {
            Step::Stale { organisation, resource, expected }
        }),
        2 => place.clone().prop_map(|(organisation, resource)| Step::Delete { organisation, resource }),
        1 => (0..ORGANISATIONS).prop_map(|organisation| Step::Both { organisation }),
        2 => (place, 0..4_000_u64).prop_map(|((organisation, resource), micros)| {
            Step::Cancelled { organisation, resource, micros }
        }),
    ]
}

#[test]
fn writers_at_once_make_one_history_in_files() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one_history(&runtime, World::sqlite());
}

#[test]
fn writers_at_once_make_one_history_in_a_database() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one_history(&runtime, World::postgres());
}

fn one_history(runtime: &tokio::runtime::Runtime, world: impl Future<Output = World>) {
    let world = runtime.block_on(world);
    let store = Arc::new(runtime.block_on(world.open()));
    let writers = prop::collection::vec(prop::collection::vec(step(), 1..8), 2..6);
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
    let outcome = TestRunner::new(config).run(&writers, |writers| {
        runtime.block_on(holds(&store, writers));
        Ok(())
    });
    outcome.unwrap();
}

/// Whose write became which revision.
type Log = Vec<(usize, Accepted)>;

async fn holds(store: &Arc<Store>, writers: Vec<Vec<Step>>) {
    static CASE: AtomicU32 = AtomicU32::new(0);
    let case = CASE.fetch_add(1, Ordering::Relaxed);
    let ids: Vec<OrganisationId> =
        (0..ORGANISATIONS).map(|at| organisation(&format!("case{case}-{at}"))).collect();
    let before = store.feed(0, 1, Duration::ZERO).await.unwrap().end;
    for id in &ids {
        store.create_organisation(id).await.unwrap();
    }
    let ids = Arc::new(ids);
    let tasks: Vec<_> =
        writers.into_iter().map(|steps| tokio::spawn(write(store.clone(), ids.clone(), steps))).collect();
    let mut accepted = Log::new();
    for task in tasks {
        accepted.extend(task.await.unwrap());
    }
    let told = feed(store, before).await;
    for (at, id) in ids.iter().enumerate() {
        let history = history(store, id).await;
        let own: Vec<&Accepted> =
            accepted.iter().filter(|(owner, _)| *owner == at).map(|(_, accepted)| accepted).collect();
        for accepted in own {
            let versions: Vec<u64> = history
                .iter()
                .filter(|change| change.revision == accepted.revision)
                .map(|change| change.version)
                .collect();
            assert_eq!(versions, accepted.versions, "what was accepted is in the history, once");
        }
        replays(store, id, &history).await;
        let last = history.last().map_or(0, |change| change.revision);
        let in_feed: Vec<(u64, FeedEvent)> = told
            .iter()
            .filter(|(owner, ..)| *owner == Owner::Organisation(id.clone()))
            .map(|(_, revision, event)| (*revision, *event))
            .collect();
        let created = std::iter::once((0, FeedEvent::Created));
        let expected: Vec<_> =
            created.chain((1..=last).map(|revision| (revision, FeedEvent::Changed))).collect();
        assert_eq!(in_feed, expected, "the feed shows the history, in order and without gaps");
    }
}

async fn write(store: Arc<Store>, ids: Arc<Vec<OrganisationId>>, steps: Vec<Step>) -> Log {
    let mut log = Log::new();
    for step in steps {
        let (at, outcome) = match step {
            Step::Put { organisation, resource } => {
                let expected = version(&store, &ids[organisation], resource).await;
                let put = put(resource, expected);
                (organisation, store.tenant(&ids[organisation]).apply(&[put]).await)
            }
            Step::Stale { organisation, resource, expected } => {
                (organisation, store.tenant(&ids[organisation]).apply(&[put(resource, expected)]).await)
            }
            Step::Delete { organisation, resource } => {
                let expected = version(&store, &ids[organisation], resource).await.unwrap_or(1);
                let delete = Write::Delete { kind: groups(), id: name(resource), expected };
                (organisation, store.tenant(&ids[organisation]).apply(&[delete]).await)
            }
            Step::Both { organisation } => {
                let mut writes = Vec::new();
                for resource in [0, 1] {
                    writes.push(put(resource, version(&store, &ids[organisation], resource).await));
                }
                (organisation, store.tenant(&ids[organisation]).apply(&writes).await)
            }
            Step::Cancelled { organisation, resource, micros } => {
                let expected = version(&store, &ids[organisation], resource).await;
                let (tenant, put) = (store.tenant(&ids[organisation]), [put(resource, expected)]);
                let attempt = tokio::time::timeout(Duration::from_micros(micros), tenant.apply(&put)).await;
                // Whether it was kept, nobody knows: the history says so.
                let Ok(outcome) = attempt else { continue };
                (organisation, outcome)
            }
        };
        match outcome {
            Ok(accepted) => log.push((at, accepted)),
            Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
            Err(failed) => panic!("{failed}"),
        }
    }
    log
}

fn name(resource: usize) -> ResourceId {
    id(&format!("r{resource}"))
}

fn put(resource: usize, expected: Option<u64>) -> Write {
    let document = document(&format!("{}", expected.unwrap_or(0)));
    Write::Put { kind: groups(), id: name(resource), expected, document }
}

async fn version(store: &Store, organisation: &OrganisationId, resource: usize) -> Option<u64> {
    let found = store.tenant(organisation).get(&groups(), &name(resource)).await.unwrap();
    found.map(|found| found.version)
}

/// All changes, page by page: revisions without gaps, each resource's versions without gaps.
async fn history(store: &Store, organisation: &OrganisationId) -> Vec<Change> {
    let tenant = store.tenant(organisation);
    let (mut history, mut versions) = (Vec::<Change>::new(), BTreeMap::new());
    loop {
        let after = history.last().map_or(0, |change| change.revision);
        let page = tenant.changes(after, 3).await.unwrap();
        if page.changes.is_empty() {
            assert_eq!(after, page.revision, "the last change is the last revision");
            return history;
        }
        for change in page.changes {
            let last = history.last().map_or(0, |change| change.revision);
            assert!([last, last + 1].contains(&change.revision), "revisions have no gaps");
            let version = versions.entry(change.id.clone()).or_insert(0);
            *version += 1;
            assert_eq!(change.version, *version, "versions have no gaps");
            history.push(change);
        }
    }
}

/// What the history says is there, is there.
async fn replays(store: &Store, organisation: &OrganisationId, history: &[Change]) {
    let mut expected = BTreeMap::new();
    for change in history {
        if change.deleted {
            expected.remove(&change.id);
        } else {
            expected.insert(change.id.clone(), (change.version, change.revision));
        }
    }
    let page = store.tenant(organisation).list(&groups(), None, 100).await.unwrap();
    let found: BTreeMap<_, _> =
        page.resources.into_iter().map(|found| (found.id, (found.version, found.revision))).collect();
    assert_eq!(found, expected);
}

/// Everything the feed tells, in pages; positions have no gaps.
async fn feed(store: &Store, mut after: u64) -> Vec<(Owner, u64, FeedEvent)> {
    let mut told = Vec::new();
    loop {
        let page = store.feed(after, 7, Duration::ZERO).await.unwrap();
        for entry in &page.entries {
            after += 1;
            assert_eq!(entry.position, after, "positions have no gaps");
            told.push((entry.owner.clone(), entry.revision, entry.event));
        }
        if page.entries.is_empty() {
            return told;
        }
    }
}
