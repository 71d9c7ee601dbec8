//! What holds of memos, whichever engine keeps them.

use crate::world::{World, groups, id, organisation, owned};
use palisade_control::store::{Kind, MEMO_BYTES_MAX, NewMemo, Owner, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

on_both! {
    a_memo_is_written_under_the_version_that_was_read
    of_writers_at_once_one_is_first
    memos_about_somebody_go_together
    what_has_ended_is_swept_and_nothing_else
    memos_are_seen_by_no_other_owner_and_go_with_theirs
    memos_fill_neither_changes_nor_the_feed
    a_memo_that_was_changed_or_moved_does_not_open
}

async fn with_acme(world: &World) -> (Store, Owner) {
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    (store, owned("acme"))
}

/// Writes a memo that must not be there.
async fn make(store: &Store, owner: &Owner, kind: &Kind, name: &str, about: &str, expires: u64) {
    let memo = NewMemo { kind, id: &id(name), about: &id(about), expires, text: name.as_bytes() };
    assert!(store.memos(owner).put(&memo, None).await.unwrap());
}

async fn a_memo_is_written_under_the_version_that_was_read(world: World) {
    let (store, acme) = with_acme(&world).await;
    let (kind, a) = (groups(), id("a"));
    let memos = store.memos(&acme);
    assert!(memos.get(&kind, &a).await.unwrap().is_none());
    let new = |text| NewMemo { kind: &kind, id: &a, about: &a, expires: 9, text };
    assert!(!memos.put(&new(b"1"), Some(1)).await.unwrap(), "what is not there is not replaced");
    assert!(memos.get(&kind, &a).await.unwrap().is_none());
    assert!(memos.put(&new(b"1"), None).await.unwrap());
    assert!(!memos.put(&new(b"2"), None).await.unwrap());
    let first = memos.get(&kind, &a).await.unwrap().unwrap();
    assert_eq!((first.text.as_slice(), first.expires, &first.about), (b"1".as_slice(), 9, &a));
    assert!(memos.put(&new(b"2"), Some(first.version)).await.unwrap());
    assert!(!memos.put(&new(b"3"), Some(first.version)).await.unwrap());
    assert_eq!(memos.get(&kind, &a).await.unwrap().unwrap().text.as_slice(), b"2");
    assert!(memos.delete(&kind, &a).await.unwrap());
    assert!(!memos.delete(&kind, &a).await.unwrap());
    // Who still holds the version of the former one does not replace the next.
    assert!(memos.put(&new(b"4"), None).await.unwrap());
    assert!(!memos.put(&new(b"5"), Some(first.version)).await.unwrap());
    let large = vec![0; MEMO_BYTES_MAX + 1];
    assert!(matches!(memos.put(&new(&large), None).await, Err(StoreError::TooLarge { .. })));
}

async fn of_writers_at_once_one_is_first(world: World) {
    let (store, acme) = with_acme(&world).await;
    let store = Arc::new(store);
    let mut version = None;
    for _ in 0..8 {
        let tasks: Vec<_> = (0..6_u8)
            .map(|at| {
                let (store, acme) = (store.clone(), acme.clone());
                tokio::spawn(async move {
                    let (kind, a) = (groups(), id("a"));
                    let memo = NewMemo { kind: &kind, id: &a, about: &a, expires: 9, text: &[at] };
                    store.memos(&acme).put(&memo, version).await.unwrap().then_some(at)
                })
            })
            .collect();
        let mut first = Vec::new();
        for task in tasks {
            first.extend(task.await.unwrap());
        }
        let found = store.memos(&acme).get(&groups(), &id("a")).await.unwrap().unwrap();
        assert_eq!(first, found.text.as_slice(), "one was written, and one was told so");
        version = Some(found.version);
    }
}

async fn memos_about_somebody_go_together(world: World) {
    let (store, acme) = with_acme(&world).await;
    let other = Kind::new("other").unwrap();
    for (name, about) in [("c", "ann"), ("a", "ann"), ("b", "bob"), ("d", "ann")] {
        make(&store, &acme, &groups(), name, about, 9).await;
    }
    make(&store, &acme, &other, "a", "ann", 9).await;
    let memos = store.memos(&acme);
    let names = |found: Vec<palisade_control::store::Memo>| -> Vec<String> {
        found.into_iter().map(|memo| memo.id.to_string()).collect()
    };
    assert_eq!(names(memos.about(&groups(), &id("ann"), None, 10).await.unwrap()), ["a", "c", "d"]);
    assert_eq!(names(memos.about(&groups(), &id("ann"), Some(&id("a")), 1).await.unwrap()), ["c"]);
    assert_eq!(memos.delete_about(&groups(), &id("ann")).await.unwrap(), 3);
    assert_eq!(names(memos.about(&groups(), &id("ann"), None, 10).await.unwrap()), [""; 0]);
    assert!(memos.get(&groups(), &id("b")).await.unwrap().is_some());
    assert!(memos.get(&other, &id("a")).await.unwrap().is_some());
    assert_eq!(memos.delete_all(&groups()).await.unwrap(), 1);
    assert!(memos.get(&other, &id("a")).await.unwrap().is_some());
}

async fn what_has_ended_is_swept_and_nothing_else(world: World) {
    let (store, acme) = with_acme(&world).await;
    for (name, expires) in [("a", 10), ("b", 20), ("c", 30), ("d", 15)] {
        make(&store, &acme, &groups(), name, "ann", expires).await;
        make(&store, &Owner::Platform, &groups(), name, "ann", expires).await;
    }
    let memos = store.memos(&acme);
    assert_eq!(memos.sweep(20, 1).await.unwrap(), 1);
    assert!(memos.get(&groups(), &id("a")).await.unwrap().is_none(), "what ended first is swept first");
    assert_eq!(memos.sweep(20, 10).await.unwrap(), 1);
    assert_eq!(memos.sweep(20, 10).await.unwrap(), 0);
    let left = memos.about(&groups(), &id("ann"), None, 10).await.unwrap();
    assert_eq!(left.iter().map(|memo| memo.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    let others = store.memos(&Owner::Platform).about(&groups(), &id("ann"), None, 10).await.unwrap();
    assert_eq!(others.len(), 4, "only the own ones are swept");
}

async fn memos_are_seen_by_no_other_owner_and_go_with_theirs(world: World) {
    let (store, acme) = with_acme(&world).await;
    store.create_organisation(&organisation("other")).await.unwrap();
    make(&store, &acme, &groups(), "a", "ann", 9).await;
    for other in [owned("other"), Owner::Platform] {
        let memos = store.memos(&other);
        assert!(memos.get(&groups(), &id("a")).await.unwrap().is_none());
        assert!(memos.about(&groups(), &id("ann"), None, 9).await.unwrap().is_empty());
        assert!(!memos.delete(&groups(), &id("a")).await.unwrap());
        assert_eq!(memos.delete_about(&groups(), &id("ann")).await.unwrap(), 0);
        assert_eq!(memos.delete_all(&groups()).await.unwrap() + memos.sweep(99, 9).await.unwrap(), 0);
    }
    assert!(store.memos(&acme).get(&groups(), &id("a")).await.unwrap().is_some());
    store.delete_organisation(&organisation("acme")).await.unwrap();
    let memos = store.memos(&acme);
    let memo = NewMemo { kind: &groups(), id: &id("a"), about: &id("a"), expires: 9, text: b"" };
    for told in [
        memos.get(&groups(), &id("a")).await.err(),
        memos.put(&memo, None).await.err(),
        memos.delete(&groups(), &id("a")).await.err(),
        memos.sweep(99, 9).await.err(),
    ] {
        assert!(matches!(told, Some(StoreError::NoOrganisation(_))), "{told:?}");
    }
    store.create_organisation(&organisation("acme")).await.unwrap();
    assert!(memos.get(&groups(), &id("a")).await.unwrap().is_none());
}

async fn memos_fill_neither_changes_nor_the_feed(world: World) {
    let (store, acme) = with_acme(&world).await;
    let before = store.feed(0, 10, Duration::ZERO).await.unwrap();
    for name in ["a", "b", "c"] {
        make(&store, &acme, &groups(), name, "ann", 9).await;
        make(&store, &Owner::Platform, &groups(), name, "ann", 9).await;
    }
    store.memos(&acme).delete(&groups(), &id("a")).await.unwrap();
    assert_eq!(store.feed(0, 10, Duration::ZERO).await.unwrap(), before);
    assert_eq!(store.of(&acme).changes(0, 10).await.unwrap().revision, 0);
}

async fn a_memo_that_was_changed_or_moved_does_not_open(world: World) {
    let (store, acme) = with_acme(&world).await;
    store.close().await;
    for change in ["about = 'bob'", "expires = 10", "version = version - 1", "id = 'b'", "kind = 'users'"] {
        let store = world.open().await;
        make(&store, &acme, &groups(), "a", "ann", 9).await;
        store.close().await;
        world.raw(&acme, &format!("UPDATE memos SET {change} WHERE organisation = 'acme'")).await;
        let store = world.open().await;
        let (kind, name) = match change {
            "id = 'b'" => (groups(), id("b")),
            "kind = 'users'" => (Kind::new("users").unwrap(), id("a")),
            _ => (groups(), id("a")),
        };
        let told = store.memos(&acme).get(&kind, &name).await;
        assert!(matches!(told, Err(StoreError::Damaged { .. })), "{change}: {told:?}");
        store.memos(&acme).delete(&kind, &name).await.unwrap();
        store.close().await;
    }
}
