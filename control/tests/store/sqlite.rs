//! What holds of a store in files alone: locks, limits, and what a process that ended left behind.

use crate::world::{World, document, groups, id, master, organisation, owned};
use palisade_control::store::{FeedEvent, Owner, Place, SqlitePlace, Store, StoreError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

async fn open(place: SqlitePlace) -> Store {
    Store::open(Place::Sqlite(place), master()).await.unwrap()
}

#[tokio::test]
async fn a_store_that_was_never_made_is_not_made_by_opening_it() {
    let room = tempfile::tempdir().unwrap();
    let place = SqlitePlace::new(room.path().join("store"), room.path().join("keys"));
    let told = Store::open(Place::Sqlite(place), master()).await.unwrap_err();
    assert!(matches!(told, StoreError::NotMigrated(_)), "{told}");
    assert!(!room.path().join("store").exists());
}

#[tokio::test]
async fn one_process_at_a_time_has_it() {
    let world = World::sqlite().await;
    let store = world.open().await;
    let told = world.try_open(master()).await.unwrap_err();
    assert!(matches!(told, StoreError::InUse(_)), "{told}");
    assert!(matches!(Store::migrate_sqlite(&world.place()).await, Err(StoreError::InUse(_))));
    store.close().await;
    world.open().await;
}

#[tokio::test]
async fn nobody_else_may_look_inside() {
    let world = World::sqlite().await;
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    store.tenant(&organisation("acme")).put(&groups(), &id("a"), None, document("1")).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let place = world.place();
    for folder in [&place.folder, &place.folder.join("orgs"), &place.keys] {
        assert_eq!(mode(folder), 0o700);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir() || mode(&path) == 0o600, "{} {:o}", path.display(), mode(&path));
        }
    }
}

/// Organisations' databases that this process has open.
fn open_files(folder: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    files.filter(|file| file.starts_with(folder) && file.extension().is_some_and(|end| end == "db")).count()
}

#[tokio::test]
async fn few_files_are_open_however_many_organisations_there_are() {
    let world = World::sqlite().await;
    let store = Arc::new(open(SqlitePlace { open_files: 3, ..world.place() }).await);
    let ids: Vec<_> = (0..12).map(|at| organisation(&format!("o{at}"))).collect();
    for id in &ids {
        store.create_organisation(id).await.unwrap();
    }
    let folder = world.place().folder.join("orgs").canonicalize().unwrap();
    let tasks: Vec<_> = (0..48)
        .map(|at| {
            let (store, organisation, folder) = (store.clone(), ids[at * 7 % 12].clone(), folder.clone());
            tokio::spawn(async move {
                let name = id(&format!("r{at}"));
                store.tenant(&organisation).put(&groups(), &name, None, document("1")).await.unwrap();
                open_files(&folder)
            })
        })
        .collect();
    let mut most = 0;
    for task in tasks {
        most = most.max(task.await.unwrap());
    }
    assert!((1..=3).contains(&most), "{most} files were open");
    for id in &ids {
        assert_eq!(store.tenant(id).changes(0, 100).await.unwrap().revision, 4);
    }
}

#[tokio::test]
async fn a_full_file_stops_its_organisation_alone_and_loses_nothing() {
    let world = World::sqlite().await;
    let store = open(SqlitePlace { file_bytes_max: 1 << 20, ..world.place() }).await;
    let (acme, other) = (organisation("acme"), organisation("other"));
    store.create_organisation(&acme).await.unwrap();
    store.create_organisation(&other).await.unwrap();
    let text = format!("\"{}\"", "x".repeat(100_000));
    let mut kept = 0;
    let told = loop {
        let put = store.tenant(&acme).put(&groups(), &id(&format!("r{kept}")), None, document(&text)).await;
        match put {
            Ok(_) => kept += 1,
            Err(told) => break told,
        }
        assert!(kept < 20, "it is never full");
    };
    assert!(matches!(told, StoreError::DiskFull(_)) && told.to_string().contains("make room"), "{told}");
    store.tenant(&other).put(&groups(), &id("a"), None, document("1")).await.unwrap();
    let page = store.tenant(&acme).list(&groups(), None, 100).await.unwrap();
    assert_eq!((page.resources.len(), page.revision), (kept, kept as u64));
    assert!(page.resources.iter().all(|found| found.document.get() == text));
    // Room can be made.
    store.tenant(&acme).delete(&groups(), &id("r0"), 1).await.unwrap();
    store.tenant(&acme).put(&groups(), &id("again"), None, document(&text)).await.unwrap();
}

#[tokio::test]
async fn what_was_half_made_or_half_deleted_is_gone_after_a_restart() {
    let world = World::sqlite().await;
    for state in ["creating", "deleting"] {
        let store = world.open().await;
        store.create_organisation(&organisation("acme")).await.unwrap();
        store.create_organisation(&organisation("other")).await.unwrap();
        store.close().await;
        let file = world.file("acme");
        let half = format!("UPDATE organisations SET state = '{state}' WHERE organisation = 'acme'");
        world.raw(&Owner::Platform, &half).await;
        let store = world.open().await;
        assert_eq!(store.organisations(None, 10).await.unwrap(), [organisation("other")]);
        assert!(!file.exists());
        let keys = std::fs::read_dir(world.place().keys).unwrap();
        let keys =
            keys.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("acme."));
        assert_eq!(keys.count(), 0, "its key is destroyed");
        store.delete_organisation(&organisation("other")).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn a_feed_that_fell_behind_catches_up() {
    let world = World::sqlite().await;
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    for at in 0..5 {
        let name = id(&format!("r{at}"));
        store.tenant(&organisation("acme")).put(&groups(), &name, None, document("1")).await.unwrap();
    }
    let whole = store.feed(0, 100, Duration::ZERO).await.unwrap();
    store.close().await;
    // As if the process had ended before the feed heard of the last two.
    for statement in [
        "DELETE FROM log WHERE revision > 3",
        "UPDATE organisations SET logged = 3",
        "UPDATE feed_end SET position = position - 2",
    ] {
        world.raw(&Owner::Platform, statement).await;
    }
    let store = world.open().await;
    assert_eq!(store.feed(0, 100, Duration::ZERO).await.unwrap(), whole);
}

#[tokio::test]
async fn a_file_from_a_backup_is_announced() {
    let world = World::sqlite().await;
    let store = world.open().await;
    let acme = organisation("acme");
    store.create_organisation(&acme).await.unwrap();
    store.tenant(&acme).put(&groups(), &id("a"), None, document("1")).await.unwrap();
    store.close().await;
    let backup = std::fs::read(world.file("acme")).unwrap();
    let store = world.open().await;
    store.tenant(&acme).put(&groups(), &id("b"), None, document("1")).await.unwrap();
    let end = store.feed(0, 1, Duration::ZERO).await.unwrap().end;
    store.close().await;
    std::fs::write(world.file("acme"), backup).unwrap();
    let store = world.open().await;
    let told = store.feed(end, 10, Duration::ZERO).await.unwrap().entries;
    let told: Vec<_> = told.iter().map(|entry| (&entry.owner, entry.revision, entry.event)).collect();
    assert_eq!(told, [(&owned("acme"), 1, FeedEvent::Restored)]);
    assert_eq!(store.tenant(&acme).changes(0, 10).await.unwrap().revision, 1);
}

#[tokio::test]
async fn a_broken_file_is_its_own_organisations_trouble() {
    let world = World::sqlite().await;
    let store = world.open().await;
    for name in ["moved", "missing", "garbage", "well"] {
        store.create_organisation(&organisation(name)).await.unwrap();
        store.tenant(&organisation(name)).put(&groups(), &id("a"), None, document("1")).await.unwrap();
    }
    store.close().await;
    std::fs::copy(world.file("well"), world.file("moved")).unwrap();
    std::fs::remove_file(world.file("missing")).unwrap();
    std::fs::write(world.file("garbage"), "this is no database, however long one reads it".repeat(200))
        .unwrap();
    let store = world.open().await;
    for (name, says) in
        [("moved", "what another organisation has"), ("missing", "missing."), ("garbage", "not a database")]
    {
        let told = store.tenant(&organisation(name)).get(&groups(), &id("a")).await.unwrap_err();
        assert!(told.to_string().contains(says), "{told}");
    }
    assert!(store.tenant(&organisation("well")).get(&groups(), &id("a")).await.unwrap().is_some());
    store.tenant(&organisation("well")).put(&groups(), &id("b"), None, document("1")).await.unwrap();
    let told = store.feed(9, 10, Duration::ZERO).await.unwrap();
    assert_eq!(told.entries.len(), 1, "the feed goes on");
    // Even a broken one can be deleted.
    for name in ["moved", "missing", "garbage"] {
        store.delete_organisation(&organisation(name)).await.unwrap();
    }
    assert_eq!(store.organisations(None, 10).await.unwrap(), [organisation("well")]);
}
