//! However a process ends: is everything there that somebody was told of, and does the feed show exactly what is there?
//!
//! A child writes and says of each change that it was accepted; it is killed at a moment nobody chose. What it said
//! must be there. The child is this very program, started for one test that does nothing unless it is told where.

use crate::resources::by;
use crate::server::Server;
use crate::world::{self, World, document, groups, id, master, organisation, prepared};
use palisade_control::resources::{JOURNAL, entry};
use palisade_control::store::{
    FeedEvent, OrganisationId, Owner, Place, SqlitePlace, Store, StoreError, Together, Write,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the child finds the store.
const PLACE: &str = "PALISADE_TEST_STORE";
/// Kills: each at another moment of a write.
const KILLS: usize = 40;
/// Crashes of a server, which takes longer to come back.
const CRASHES: usize = 4;
/// Organisations that stay.
const STAYING: usize = 4;
/// Before a line of the child that counts.
const KEPT: &str = "kept ";

fn child(place: &SqlitePlace, limits: &str) -> Child {
    let this = std::env::current_exe().unwrap();
    // A write past the limit is an error, not the end of the process.
    let script = format!("trap '' XFSZ; {limits} exec \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "child"]).arg(this);
    command
        .args(["--exact", "crash::a_child_writes", "--nocapture"])
        .env(PLACE, place.folder.parent().unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// The child's part; without a place there is nothing to do.
#[test]
fn a_child_writes() {
    let Some(room) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = World::Sqlite(room, None).open().await;
        for at in 0.. {
            match turn(&store, at).await {
                Ok(()) => {}
                Err(StoreError::DiskFull(_)) => return println!("full"),
                Err(told) => panic!("{told}"),
            }
        }
    });
}

/// One of those that stay is changed; and others come and go.
async fn turn(store: &Store, at: usize) -> Result<(), StoreError> {
    let staying = organisation(&format!("staying{}", at % STAYING));
    let revision = put(store, &staying, at).await?;
    println!("{KEPT}{staying} {revision}");
    if at.is_multiple_of(7) {
        let id = organisation(&format!("passing{}-{at}", std::process::id()));
        store.create_organisation(&id).await?;
        put(store, &id, 0).await?;
        store.delete_organisation(&id).await?;
    }
    Ok(())
}

/// Changes one of a few resources.
async fn put(store: &Store, organisation: &OrganisationId, at: usize) -> Result<u64, StoreError> {
    let name = id(&format!("r{}", at % 9));
    let expected = store.tenant(organisation).get(&groups(), &name).await?.map(|found| found.version);
    let text = document(&format!("\"{}\"", "x".repeat(1000)));
    let write = Write::Put { kind: groups(), id: name, expected, document: text };
    let entry = |revision| entry(revision, &by("child"), &[]);
    let together = Together { writes: &[write], entry: Some(&entry), ..Together::default() };
    Ok(store.tenant(organisation).together(&together).await?.revision)
}

/// The feed is without gaps, and says of each organisation that is there exactly what its changes say. Each change has
/// its entry.
async fn feed_is_exact(store: &Store) -> BTreeMap<OrganisationId, u64> {
    let (mut position, mut told) = (0, BTreeMap::<OrganisationId, u64>::new());
    loop {
        let page = store.feed(position, 1000, Duration::ZERO).await.unwrap();
        if page.entries.is_empty() {
            assert_eq!(position, page.end);
            break;
        }
        for entry in page.entries {
            position += 1;
            assert_eq!(entry.position, position);
            let Owner::Organisation(id) = entry.owner else { continue };
            match entry.event {
                FeedEvent::Created => assert_eq!((told.insert(id, 0), entry.revision), (None, 0)),
                FeedEvent::Changed => {
                    let last = told.get_mut(&id).unwrap();
                    *last += 1;
                    assert_eq!(*last, entry.revision);
                }
                FeedEvent::Deleted => assert_eq!(told.remove(&id), Some(entry.revision)),
                FeedEvent::Restored => panic!("nothing was restored"),
            }
        }
    }
    let there = store.organisations(None, 1000).await.unwrap();
    assert_eq!(there, told.keys().cloned().collect::<Vec<_>>());
    for (id, revision) in &told {
        let changes = store.tenant(id).changes(revision.saturating_sub(1), 1000).await.unwrap();
        assert_eq!(changes.revision, *revision);
        let kinds: Vec<&str> = changes.changes.iter().map(|change| change.kind.as_str()).collect();
        assert_eq!(kinds, if *revision == 0 { &[][..] } else { &["groups", JOURNAL] });
        store.tenant(id).list(&groups(), None, 100).await.unwrap();
    }
    told
}

async fn with_staying(store: &Store) {
    for at in 0..STAYING {
        store.create_organisation(&organisation(&format!("staying{at}"))).await.unwrap();
    }
}

/// Reads what the child says, until it has said so many lines; what it said of each organisation last.
fn listen(child: &mut Child, lines: usize) -> (BTreeMap<OrganisationId, u64>, Vec<String>) {
    let (mut kept, mut others) = (BTreeMap::new(), Vec::new());
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        // The first line stands behind what the test harness says.
        match line.split_once(KEPT).and_then(|(_, kept)| kept.split_once(' ')) {
            Some((organisation, revision)) => {
                kept.insert(world::organisation(organisation), revision.parse().unwrap());
                if kept.values().sum::<u64>() >= lines as u64 {
                    break;
                }
            }
            None => others.push(line),
        }
    }
    (kept, others)
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_told_of() {
    let world = World::sqlite().await;
    let store = world.open().await;
    with_staying(&store).await;
    store.close().await;
    let mut written = 0;
    for round in 0..KILLS {
        let mut child = child(&world.place(), "");
        // Sums of revisions, so each round hears a few more changes and stops in another place.
        let (told, _) = listen(&mut child, written + 1 + round * 5 % 23);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = world.open().await;
        let there = feed_is_exact(&store).await;
        for (id, revision) in &told {
            assert!(there[id] >= *revision, "round {round}: `{id}` was told to be at {revision}: {there:?}");
        }
        assert_eq!(there.len(), STAYING, "what was half made or half deleted is gone");
        written = there.values().sum::<u64>() as usize;
        store.close().await;
    }
    assert!(written > KILLS * 5, "the child wrote {written} changes only");
}

#[tokio::test]
async fn a_disk_that_fills_up_loses_nothing_that_was_told_of() {
    let world = World::sqlite().await;
    let store = world.open().await;
    with_staying(&store).await;
    store.close().await;
    // No file may grow past this many KiB: the same to SQLite as a disk that is full.
    let mut child = child(&world.place(), "ulimit -f 2000;");
    let (told, others) = listen(&mut child, usize::MAX);
    assert!(child.wait().unwrap().success());
    assert!(others.iter().any(|line| line.ends_with("full")), "{others:?}");
    let store = world.open().await;
    let there = feed_is_exact(&store).await;
    assert!(told.values().sum::<u64>() > 50, "{told:?}");
    for (id, revision) in &told {
        assert_eq!(there[id], *revision, "what was refused was not kept");
    }
    put(&store, &organisation("staying0"), 0).await.unwrap();
}

#[tokio::test]
async fn a_crashed_server_loses_nothing_that_was_told_of() {
    let mut server = prepared(Server::start("-c fsync=off"));
    let name = world::database(&server);
    Store::migrate_postgres(&world::owner(&server, &name)).await.unwrap();
    let place = || Place::Postgres(world::place(&server, &name));
    let store = Arc::new(Store::open(place(), master()).await.unwrap());
    with_staying(&store).await;
    for round in 0..CRASHES {
        let stopped = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..STAYING)
            .map(|writer| {
                let (store, stopped) = (store.clone(), stopped.clone());
                tokio::spawn(async move {
                    let id = organisation(&format!("staying{writer}"));
                    let mut told = 0;
                    for at in 0_usize.. {
                        match put(&store, &id, at).await {
                            Ok(revision) => told = revision,
                            Err(_) if stopped.load(Ordering::Acquire) => break,
                            Err(_) => tokio::task::yield_now().await,
                        }
                        if stopped.load(Ordering::Acquire) {
                            break;
                        }
                    }
                    (id, told)
                })
            })
            .collect();
        let end = store.feed(0, 1, Duration::ZERO).await.unwrap().end;
        store.feed(end + round as u64, 1, Duration::from_mins(1)).await.ok();
        server = tokio::task::spawn_blocking(move || {
            server.crash();
            server
        })
        .await
        .unwrap();
        stopped.store(true, Ordering::Release);
        let mut told = BTreeMap::new();
        for writer in writers {
            told.extend([writer.await.unwrap()]);
        }
        let there = feed_is_exact(&store).await;
        for (id, revision) in told {
            assert!(there[&id] >= revision, "`{id}` was told to be at {revision}: {there:?}");
        }
    }
}
