//! What holds of a store, whichever engine keeps it.

use crate::world::{World, document, groups, id, master, organisation, owned};
use palisade_control::store::{
    DOCUMENT_BYTES_MAX, FeedEntry, FeedEvent, Kind, MasterKey, NewMemo, Owner, Store, StoreError, WRITES_MAX,
    Write,
};
use std::time::Duration;

/// Nobody waits.
const AT_ONCE: Duration = Duration::ZERO;
/// Only a failing test waits so long.
const LONG: Duration = Duration::from_mins(1);

on_both! {
    a_document_is_put_read_replaced_and_deleted
    a_stale_writer_is_told_the_version
    a_version_never_comes_twice
    a_change_is_made_whole_or_not_at_all
    what_is_read_at_once_is_of_one_moment_and_can_be_written_for_it_alone
    what_is_too_large_is_refused
    a_document_is_given_back_letter_by_letter
    a_list_goes_on_where_it_ended
    changes_are_whole_revisions
    organisations_come_and_go
    owners_do_not_see_each_other
    the_feed_tells_of_all_in_order
    the_feed_wakes_who_waits
    what_was_accepted_is_there_after_a_restart
    a_wrong_master_key_opens_nothing
    another_schema_is_refused
    a_second_migration_changes_nothing
    a_store_of_the_first_schema_is_migrated
}

async fn with_acme(world: &World) -> Store {
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    store
}

async fn a_document_is_put_read_replaced_and_deleted(world: World) {
    let store = with_acme(&world).await;
    let (acme, red) = (store.tenant(&organisation("acme")), id("red"));
    assert!(acme.get(&groups(), &red).await.unwrap().is_none());
    let made = acme.put(&groups(), &red, None, document("{\"a\":1}")).await.unwrap();
    assert_eq!((made.revision, made.versions), (1, vec![1]));
    let found = acme.get(&groups(), &red).await.unwrap().unwrap();
    assert_eq!((&found.id, found.version, found.revision, found.document.get()), (&red, 1, 1, "{\"a\":1}"));
    let replaced = acme.put(&groups(), &red, Some(1), document("2")).await.unwrap();
    assert_eq!((replaced.revision, replaced.versions), (2, vec![2]));
    assert_eq!(acme.get(&groups(), &red).await.unwrap().unwrap().document.get(), "2");
    // The same id of another kind is another resource.
    let other = Kind::new("users").unwrap();
    assert!(acme.get(&other, &red).await.unwrap().is_none());
    assert_eq!(acme.delete(&groups(), &red, 2).await.unwrap().revision, 3);
    assert!(acme.get(&groups(), &red).await.unwrap().is_none());
}

async fn a_stale_writer_is_told_the_version(world: World) {
    let store = with_acme(&world).await;
    let (acme, red) = (store.tenant(&organisation("acme")), id("red"));
    let missing = acme.put(&groups(), &red, Some(1), document("1")).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing}");
    assert!(matches!(acme.delete(&groups(), &red, 1).await, Err(StoreError::NotFound { .. })));
    acme.put(&groups(), &red, None, document("1")).await.unwrap();
    acme.put(&groups(), &red, Some(1), document("2")).await.unwrap();
    for stale in [None, Some(1), Some(3), Some(u64::MAX)] {
        let told = acme.put(&groups(), &red, stale, document("9")).await.unwrap_err();
        assert!(
            matches!(told, StoreError::Conflict { current: 2, expected, .. } if expected == stale),
            "{told}"
        );
    }
    let told = acme.delete(&groups(), &red, 1).await.unwrap_err();
    assert!(told.to_string().contains("has the version 2, not 1; read it again"), "{told}");
    // What was refused left no trace.
    let found = acme.get(&groups(), &red).await.unwrap().unwrap();
    assert_eq!((found.document.get(), found.revision), ("2", 2));
    assert_eq!(acme.changes(0, 100).await.unwrap().changes.len(), 2);
}

async fn a_version_never_comes_twice(world: World) {
    let store = with_acme(&world).await;
    let (acme, red) = (store.tenant(&organisation("acme")), id("red"));
    acme.put(&groups(), &red, None, document("1")).await.unwrap();
    acme.delete(&groups(), &red, 1).await.unwrap();
    let again = acme.put(&groups(), &red, None, document("2")).await.unwrap();
    assert_eq!(again.versions, [3]);
    // Who still holds the version of the first one does not replace the second.
    let stale = acme.put(&groups(), &red, Some(1), document("3")).await;
    assert!(matches!(stale, Err(StoreError::Conflict { current: 3, .. })));
}

async fn a_change_is_made_whole_or_not_at_all(world: World) {
    let store = with_acme(&world).await;
    let acme = store.tenant(&organisation("acme"));
    let put =
        |name: &str, expected| Write::Put { kind: groups(), id: id(name), expected, document: document("1") };
    let made = acme.apply(&[put("a", None), put("b", None), put("c", None)]).await.unwrap();
    assert_eq!((made.revision, made.versions), (1, vec![1, 1, 1]));
    let late =
        [put("a", Some(1)), Write::Delete { kind: groups(), id: id("b"), expected: 1 }, put("c", Some(7))];
    assert!(matches!(acme.apply(&late).await, Err(StoreError::Conflict { current: 1, .. })));
    let page = acme.list(&groups(), None, 10).await.unwrap();
    let versions: Vec<_> = page.resources.iter().map(|found| (found.id.as_str(), found.version)).collect();
    assert_eq!((versions, page.revision), (vec![("a", 1), ("b", 1), ("c", 1)], 1));
}

async fn what_is_read_at_once_is_of_one_moment_and_can_be_written_for_it_alone(world: World) {
    let store = with_acme(&world).await;
    let acme = store.tenant(&organisation("acme"));
    let users = Kind::new("users").unwrap();
    let put = |kind: &Kind, name: &str| Write::Put {
        kind: kind.clone(),
        id: id(name),
        expected: None,
        document: document("1"),
    };
    acme.apply(&[put(&groups(), "b"), put(&groups(), "a"), put(&users, "c")]).await.unwrap();
    acme.apply(&[put(&Kind::new("other").unwrap(), "x")]).await.unwrap();
    let all = acme.all(&[users.clone(), groups()]).await.unwrap();
    let named: Vec<_> = all.resources.iter().map(|(kind, one)| (kind.as_str(), one.id.as_str())).collect();
    assert_eq!((named, all.revision), (vec![("users", "c"), ("groups", "a"), ("groups", "b")], 2));
    assert_eq!(acme.apply_at(2, &[put(&users, "d")]).await.unwrap().revision, 3);
    for read_at in [2, 4] {
        let late = acme.apply_at(read_at, &[put(&users, "e")]).await.unwrap_err();
        assert!(matches!(late, StoreError::Moved { read, current: 3, .. } if read == read_at), "{late}");
    }
    assert!(acme.get(&users, &id("e")).await.unwrap().is_none());
    assert_eq!(acme.changes(0, 100).await.unwrap().revision, 3, "what was refused took no revision");
}

async fn what_is_too_large_is_refused(world: World) {
    let store = with_acme(&world).await;
    let acme = store.tenant(&organisation("acme"));
    let text = format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 2));
    let made = acme.put(&groups(), &id("fits"), None, document(&text)).await.unwrap();
    assert_eq!(acme.get(&groups(), &id("fits")).await.unwrap().unwrap().document.get(), text);
    let larger = document(&format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 1)));
    let told = acme.put(&groups(), &id("larger"), None, larger).await.unwrap_err();
    assert!(told.to_string().contains("16777217, at most 16777216"), "{told}");
    let put =
        |name: String| Write::Put { kind: groups(), id: id(&name), expected: None, document: document("1") };
    let many: Vec<Write> = (0..=WRITES_MAX).map(|at| put(format!("r{at}"))).collect();
    assert!(matches!(acme.apply(&many).await, Err(StoreError::TooLarge { found: 1001, max: 1000, .. })));
    assert!(matches!(acme.apply(&[]).await, Err(StoreError::Empty)));
    let twice = [put("a".to_owned()), put("a".to_owned())];
    assert!(matches!(acme.apply(&twice).await, Err(StoreError::Twice { .. })));
    let five: Vec<Write> = (0..5)
        .map(|at| Write::Put {
            kind: groups(),
            id: id(&format!("{at}")),
            expected: None,
            document: document(&text),
        })
        .collect();
    assert!(matches!(acme.apply(&five).await, Err(StoreError::TooLarge { max: 67_108_864, .. })));
    assert_eq!(acme.changes(0, 10).await.unwrap().revision, made.revision);
}

async fn a_document_is_given_back_letter_by_letter(world: World) {
    let store = with_acme(&world).await;
    let acme = store.tenant(&organisation("acme"));
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let texts = [
        "{ \"b\" : 1,\n\t\"a\" : 2 , \"a\": 3 }",
        "123456789012345678901234567890.10e5",
        "\"\\u0000\\ud83d\\ude00 ä \u{2028} \u{10ffff}\"",
        "null",
        &deep,
    ];
    for (at, text) in texts.into_iter().enumerate() {
        let name = id(&format!("{at}"));
        acme.put(&groups(), &name, None, document(text)).await.unwrap();
        assert_eq!(acme.get(&groups(), &name).await.unwrap().unwrap().document.get(), text);
    }
}

async fn a_list_goes_on_where_it_ended(world: World) {
    let store = with_acme(&world).await;
    let acme = store.tenant(&organisation("acme"));
    let mut names = ["b", "B", "a", "_", "a.b", "a-b", "a0", "Z", "z", "9", "a@b", "a+b", "ab"];
    for name in names {
        acme.put(&groups(), &id(name), None, document("1")).await.unwrap();
    }
    acme.put(&Kind::new("users").unwrap(), &id("c"), None, document("1")).await.unwrap();
    // By bytes, on every engine and in every locale.
    names.sort_unstable();
    for most in [1, 2, 5, 12, 13, 14, 5000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = acme.list(&groups(), after.as_ref(), most).await.unwrap();
            assert!((1..=most).contains(&page.resources.len()));
            assert_eq!(page.revision, 14);
            found.extend(page.resources.into_iter().map(|resource| resource.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, names.map(id));
    }
    let behind = acme.list(&groups(), Some(&id("zz")), 5).await.unwrap();
    assert!(behind.resources.is_empty() && behind.next.is_none());
    let text = format!("\"{}\"", "x".repeat(15 << 20));
    let large = Kind::new("large").unwrap();
    for name in 0..6 {
        acme.put(&large, &id(&format!("{name}")), None, document(&text)).await.unwrap();
    }
    let page = acme.list(&large, None, 6).await.unwrap();
    assert_eq!((page.resources.len(), page.next), (4, Some(id("3"))), "a page fits into memory");
}

async fn changes_are_whole_revisions(world: World) {
    let store = with_acme(&world).await;
    let acme = store.tenant(&organisation("acme"));
    let put =
        |name: &str| Write::Put { kind: groups(), id: id(name), expected: None, document: document("1") };
    acme.apply(&[put("z"), put("a")]).await.unwrap();
    acme.put(&groups(), &id("b"), None, document("1")).await.unwrap();
    acme.delete(&groups(), &id("a"), 1).await.unwrap();
    let told = |changes: Vec<palisade_control::store::Change>| -> Vec<(u64, String, u64, bool)> {
        changes
            .into_iter()
            .map(|change| (change.revision, change.id.to_string(), change.version, change.deleted))
            .collect()
    };
    let all = acme.changes(0, 1000).await.unwrap();
    assert_eq!(all.revision, 3);
    let first = [(1, "z".to_owned(), 1, false), (1, "a".to_owned(), 1, false)];
    let then = [(2, "b".to_owned(), 1, false), (3, "a".to_owned(), 2, true)];
    assert_eq!(told(all.changes), [first.clone(), then.clone()].concat());
    assert_eq!(told(acme.changes(0, 1).await.unwrap().changes), first, "a revision is not cut");
    assert_eq!(told(acme.changes(1, 1).await.unwrap().changes), then[..1]);
    assert_eq!(told(acme.changes(3, 1).await.unwrap().changes), []);
}

async fn organisations_come_and_go(world: World) {
    let store = world.open().await;
    let ids: Vec<_> = ["a", "acme", "b-2", "platform"].map(organisation).to_vec();
    for id in ids.iter().rev() {
        store.create_organisation(id).await.unwrap();
    }
    assert_eq!(store.organisations(None, 10).await.unwrap(), ids);
    assert_eq!(store.organisations(Some(&ids[0]), 2).await.unwrap(), ids[1..3]);
    let again = store.create_organisation(&ids[1]).await.unwrap_err();
    assert!(again.to_string().contains("there is an organisation `acme` already"), "{again}");
    let acme = store.tenant(&ids[1]);
    acme.put(&groups(), &id("red"), None, document("1")).await.unwrap();
    store.delete_organisation(&ids[1]).await.unwrap();
    assert_eq!(store.organisations(None, 10).await.unwrap().len(), 3);
    let gone = [
        acme.get(&groups(), &id("red")).await.err(),
        acme.list(&groups(), None, 1).await.err(),
        acme.changes(0, 1).await.err(),
        acme.put(&groups(), &id("red"), None, document("1")).await.err(),
        acme.delete(&groups(), &id("red"), 1).await.err(),
        store.delete_organisation(&ids[1]).await.err(),
        store.tenant(&organisation("never")).get(&groups(), &id("red")).await.err(),
        store.delete_organisation(&organisation("never")).await.err(),
    ];
    for told in gone {
        assert!(matches!(told, Some(StoreError::NoOrganisation(_))), "{told:?}");
    }
    // A new one of that id has nothing of the old one, and starts anew.
    store.create_organisation(&ids[1]).await.unwrap();
    assert!(acme.get(&groups(), &id("red")).await.unwrap().is_none());
    assert_eq!(acme.put(&groups(), &id("red"), None, document("2")).await.unwrap().versions, [1]);
    assert_eq!(acme.get(&groups(), &id("red")).await.unwrap().unwrap().document.get(), "2");
}

async fn owners_do_not_see_each_other(world: World) {
    let store = with_acme(&world).await;
    let (acme, other) = (organisation("acme"), organisation("other"));
    store.create_organisation(&other).await.unwrap();
    store.tenant(&acme).put(&groups(), &id("red"), None, document("\"acme\"")).await.unwrap();
    store.platform().put(&groups(), &id("red"), None, document("\"platform\"")).await.unwrap();
    assert!(store.tenant(&other).get(&groups(), &id("red")).await.unwrap().is_none());
    assert!(store.tenant(&other).list(&groups(), None, 10).await.unwrap().resources.is_empty());
    assert!(store.tenant(&other).changes(0, 10).await.unwrap().changes.is_empty());
    let told = store.tenant(&other).delete(&groups(), &id("red"), 1).await;
    assert!(matches!(told, Err(StoreError::NotFound { .. })));
    store.tenant(&other).put(&groups(), &id("red"), None, document("\"other\"")).await.unwrap();
    for (resources, text) in [
        (store.tenant(&acme), "\"acme\""),
        (store.tenant(&other), "\"other\""),
        (store.platform(), "\"platform\""),
    ] {
        let found = resources.get(&groups(), &id("red")).await.unwrap().unwrap();
        assert_eq!((found.document.get(), found.version, found.revision), (text, 1, 1));
    }
}

async fn the_feed_tells_of_all_in_order(world: World) {
    let store = world.open().await;
    let (acme, other) = (organisation("acme"), organisation("other"));
    store.create_organisation(&acme).await.unwrap();
    store.tenant(&acme).put(&groups(), &id("a"), None, document("1")).await.unwrap();
    store.create_organisation(&other).await.unwrap();
    store.platform().put(&groups(), &id("a"), None, document("1")).await.unwrap();
    store.tenant(&acme).put(&groups(), &id("b"), None, document("1")).await.unwrap();
    let _ = store.tenant(&acme).put(&groups(), &id("b"), None, document("1")).await.unwrap_err();
    store.delete_organisation(&acme).await.unwrap();
    let entry = |position, owner: &Owner, revision, event| FeedEntry {
        position,
        owner: owner.clone(),
        revision,
        event,
    };
    let (acme, other) = (owned("acme"), owned("other"));
    let expected = [
        entry(1, &Owner::Platform, 0, FeedEvent::Created),
        entry(2, &acme, 0, FeedEvent::Created),
        entry(3, &acme, 1, FeedEvent::Changed),
        entry(4, &other, 0, FeedEvent::Created),
        entry(5, &Owner::Platform, 1, FeedEvent::Changed),
        entry(6, &acme, 2, FeedEvent::Changed),
        entry(7, &acme, 2, FeedEvent::Deleted),
    ];
    let all = store.feed(0, 100, AT_ONCE).await.unwrap();
    assert_eq!((all.entries.as_slice(), all.end), (expected.as_slice(), 7));
    assert_eq!(store.feed(3, 2, LONG).await.unwrap().entries, expected[3..5]);
    assert!(store.feed(7, 2, AT_ONCE).await.unwrap().entries.is_empty());
    let ahead = store.feed(8, 2, LONG).await.unwrap_err();
    assert!(matches!(ahead, StoreError::AheadOfFeed { after: 8, last: 7 }), "{ahead}");
}

async fn the_feed_wakes_who_waits(world: World) {
    let store = std::sync::Arc::new(with_acme(&world).await);
    for round in 0..20 {
        let end = store.feed(0, 1, AT_ONCE).await.unwrap().end;
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.feed(end, 10, LONG).await.unwrap() })
            })
            .collect();
        tokio::task::yield_now().await;
        let acme = store.tenant(&organisation("acme"));
        acme.put(&groups(), &id(&format!("r{round}")), None, document("1")).await.unwrap();
        for waiter in waiters {
            let woken = waiter.await.unwrap();
            assert_eq!((woken.entries.len(), woken.end), (1, end + 1));
        }
    }
    let quiet = store.feed(22, 10, Duration::from_millis(300)).await.unwrap();
    assert!(quiet.entries.is_empty() && quiet.end == 22);
}

async fn what_was_accepted_is_there_after_a_restart(world: World) {
    let store = with_acme(&world).await;
    store.tenant(&organisation("acme")).put(&groups(), &id("red"), None, document("1")).await.unwrap();
    let before = store.feed(0, 10, AT_ONCE).await.unwrap();
    store.close().await;
    let store = world.open().await;
    let acme = store.tenant(&organisation("acme"));
    assert_eq!(acme.get(&groups(), &id("red")).await.unwrap().unwrap().document.get(), "1");
    assert_eq!(acme.put(&groups(), &id("red"), Some(1), document("2")).await.unwrap().revision, 2);
    let after = store.feed(0, 10, AT_ONCE).await.unwrap();
    assert_eq!(after.entries[..3], before.entries);
}

async fn a_wrong_master_key_opens_nothing(world: World) {
    let store = with_acme(&world).await;
    store.tenant(&organisation("acme")).put(&groups(), &id("red"), None, document("1")).await.unwrap();
    store.close().await;
    let wrong = MasterKey::new(&"0f".repeat(32)).unwrap();
    let (given, stored) = (wrong.id().to_string(), master().id().to_string());
    let told = world.try_open(wrong).await.unwrap_err().to_string();
    assert!(told.contains(&given) && told.contains(&stored) && !told.contains("5e5e"), "{told}");
    assert!(told.contains("give the one it was made with"), "{told}");
    let store = world.open().await;
    assert!(store.tenant(&organisation("acme")).get(&groups(), &id("red")).await.unwrap().is_some());
}

async fn another_schema_is_refused(world: World) {
    world.open().await.close().await;
    for (found, advice) in
        [(3, "run the version that migrated it"), (1, "migrate the store"), (0, "migrate the store")]
    {
        let statement = match world {
            World::Sqlite(..) => format!("PRAGMA user_version = {found}"),
            World::Postgres(_) => {
                format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({found})")
            }
        };
        world.raw(&Owner::Platform, &statement).await;
        let told = world.try_open(master()).await.unwrap_err();
        assert!(matches!(told, StoreError::Schema { needed: 2, found: f, .. } if f == found), "{told}");
        assert!(told.to_string().contains(advice), "{told}");
    }
}

async fn a_second_migration_changes_nothing(world: World) {
    let store = with_acme(&world).await;
    store.tenant(&organisation("acme")).put(&groups(), &id("red"), None, document("1")).await.unwrap();
    store.close().await;
    world.migrate().await.unwrap();
    let store = world.open().await;
    assert!(store.tenant(&organisation("acme")).get(&groups(), &id("red")).await.unwrap().is_some());
}

async fn a_store_of_the_first_schema_is_migrated(world: World) {
    let store = with_acme(&world).await;
    store.tenant(&organisation("acme")).put(&groups(), &id("red"), None, document("1")).await.unwrap();
    store.close().await;
    let owners = match world {
        World::Sqlite(..) => vec![Owner::Platform, owned("acme")],
        World::Postgres(_) => vec![Owner::Platform],
    };
    for owner in &owners {
        world.raw(owner, "DROP TABLE memos").await;
        let back = match world {
            World::Sqlite(..) => "PRAGMA user_version = 1",
            World::Postgres(_) => "DELETE FROM schema_version WHERE version > 1",
        };
        world.raw(owner, back).await;
    }
    assert!(matches!(world.try_open(master()).await, Err(StoreError::Schema { found: 1, needed: 2, .. })));
    world.migrate().await.unwrap();
    let store = world.open().await;
    assert!(store.tenant(&organisation("acme")).get(&groups(), &id("red")).await.unwrap().is_some());
    let memo = NewMemo { kind: &groups(), id: &id("a"), about: &id("b"), expires: 1, text: b"" };
    for owner in [Owner::Platform, owned("acme")] {
        assert!(store.memos(&owner).put(&memo, None).await.unwrap());
    }
    store.delete_organisation(&organisation("acme")).await.unwrap();
}
