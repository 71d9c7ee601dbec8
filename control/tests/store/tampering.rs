//! What can somebody do who writes in the files or rows, but has no key? Be noticed.

use crate::world::{World, document, groups, id, organisation, owned, server};
use palisade_control::store::{Kind, OrganisationId, Store, StoreError};
use std::path::Path;

on_both! {
    a_changed_bit_is_noticed
    a_document_opens_in_its_own_place_only
    a_row_that_was_never_written_is_noticed
    a_damaged_document_can_be_deleted
    a_changed_key_is_noticed
    a_backup_of_a_deleted_organisation_cannot_be_read
}

async fn with_two(world: &World) -> (Store, OrganisationId, OrganisationId) {
    let store = world.open().await;
    let (acme, other) = (organisation("acme"), organisation("other"));
    for organisation in [&acme, &other] {
        store.create_organisation(organisation).await.unwrap();
        for name in ["a", "b"] {
            let text = document(&format!("\"{organisation} {name}\""));
            store.tenant(organisation).put(&groups(), &id(name), None, text).await.unwrap();
        }
    }
    (store, acme, other)
}

/// Reading it is refused, by name; so is a list that holds it.
async fn is_damaged(store: &Store, organisation: &OrganisationId, kind: &Kind, name: &str) {
    let tenant = store.tenant(organisation);
    for told in [tenant.get(kind, &id(name)).await.err(), tenant.list(kind, None, 10).await.err()] {
        let Some(told @ StoreError::Damaged { .. }) = told else { panic!("{told:?}") };
        let expected =
            format!("`{name}` among the `{kind}` of the organisation `{organisation}` is not what");
        assert!(told.to_string().starts_with(&expected), "{told}");
    }
}

async fn a_changed_bit_is_noticed(world: World) {
    let (store, acme, _) = with_two(&world).await;
    let whole = world.sealed(&owned("acme"), "a").await;
    // One digit of each part: format, key, salt, text, tag; and what is cut, doubled or empty.
    let mut changed: Vec<String> = [0, 5, 40, whole.len() - 40, whole.len() - 1]
        .into_iter()
        .map(|at| {
            let digit = if whole.as_bytes()[at] == b'3' { "4" } else { "3" };
            format!("{}{digit}{}", &whole[..at], &whole[at + 1..])
        })
        .collect();
    changed.extend([whole[2..].to_owned(), whole[..60].to_owned(), format!("{whole}00"), String::new()]);
    for digits in changed {
        world.put_sealed(&owned("acme"), "a", &digits).await;
        is_damaged(&store, &acme, &groups(), "a").await;
    }
    assert!(store.tenant(&acme).get(&groups(), &id("b")).await.unwrap().is_some(), "others can be read");
    world.put_sealed(&owned("acme"), "a", &whole).await;
    assert!(store.tenant(&acme).get(&groups(), &id("a")).await.unwrap().is_some());
}

async fn a_document_opens_in_its_own_place_only(world: World) {
    let (store, acme, other) = with_two(&world).await;
    // Within one organisation.
    let own = owned("acme");
    let (a, b) = (world.sealed(&own, "a").await, world.sealed(&own, "b").await);
    world.put_sealed(&own, "a", &b).await;
    is_damaged(&store, &acme, &groups(), "a").await;
    // From another organisation, same kind, id, version and revision.
    let foreign = world.sealed(&owned("other"), "a").await;
    world.put_sealed(&own, "a", &foreign).await;
    is_damaged(&store, &acme, &groups(), "a").await;
    assert!(store.tenant(&other).get(&groups(), &id("a")).await.unwrap().is_some());
    // Renamed, renumbered.
    world.put_sealed(&own, "a", &a).await;
    let users = Kind::new("users").unwrap();
    for (change, back, kind, name) in [
        ("id = '_'", "id = 'a'", &groups(), "_"),
        ("kind = 'users'", "kind = 'groups'", &users, "a"),
        ("version = 2", "version = 1", &groups(), "a"),
        ("revision = 2", "revision = 1", &groups(), "a"),
    ] {
        let is_it = "organisation = 'acme' AND id IN ('a', '_')";
        world.raw(&own, &format!("UPDATE resources SET {change} WHERE {is_it}")).await;
        is_damaged(&store, &acme, kind, name).await;
        world.raw(&own, &format!("UPDATE resources SET {back} WHERE {is_it}")).await;
        assert!(store.tenant(&acme).get(&groups(), &id("a")).await.unwrap().is_some());
    }
}

async fn a_row_that_was_never_written_is_noticed(world: World) {
    let (store, acme, _) = with_two(&world).await;
    world
        .raw(&owned("acme"), "UPDATE resources SET id = '../b' WHERE organisation = 'acme' AND id = 'b'")
        .await;
    let told = store.tenant(&acme).list(&groups(), None, 10).await.unwrap_err();
    assert!(matches!(told, StoreError::Inconsistent { .. }) && told.to_string().contains("`../b`"), "{told}");
    world.raw(&owned("acme"), "UPDATE changes SET kind = '?' WHERE organisation = 'acme'").await;
    let told = store.tenant(&acme).changes(0, 10).await.unwrap_err();
    assert!(matches!(told, StoreError::Inconsistent { .. }), "{told}");
}

async fn a_damaged_document_can_be_deleted(world: World) {
    let (store, acme, _) = with_two(&world).await;
    world.put_sealed(&owned("acme"), "a", "00").await;
    is_damaged(&store, &acme, &groups(), "a").await;
    store.tenant(&acme).delete(&groups(), &id("a"), 1).await.unwrap();
    assert_eq!(store.tenant(&acme).list(&groups(), None, 10).await.unwrap().resources.len(), 1);
}

/// Changes the wrapped key of an organisation in the key directory; `from` another one, or by a bit.
fn change_key(world: &World, organisation: &str, from: Option<&str>) {
    match world {
        World::Sqlite(..) => {
            let keys = world.place().keys;
            let file = |organisation: &str| {
                let is_its = |name: &str| name.starts_with(&format!("{organisation}."));
                let mut files = std::fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path());
                files.find(|path| is_its(path.file_name().unwrap().to_str().unwrap())).unwrap()
            };
            let mut bytes = std::fs::read(file(from.unwrap_or(organisation))).unwrap();
            if from.is_none() {
                *bytes.last_mut().unwrap() ^= 1;
            }
            std::fs::write(file(organisation), bytes).unwrap();
        }
        World::Postgres(name) => {
            let wrapped = match from {
                Some(from) => {
                    format!("(SELECT wrapped FROM palisade_keys.keys WHERE organisation = '{from}')")
                }
                None => "set_byte(wrapped, 80, get_byte(wrapped, 80) # 1)".to_owned(),
            };
            let statement = format!(
                "UPDATE palisade_keys.keys SET wrapped = {wrapped} WHERE organisation = '{organisation}'"
            );
            server().administer(name, &statement);
        }
    }
}

async fn a_changed_key_is_noticed(world: World) {
    let (store, acme, other) = with_two(&world).await;
    store.close().await;
    for from in [None, Some("other")] {
        change_key(&world, "acme", from);
        let store = world.open().await;
        let told = store.tenant(&acme).get(&groups(), &id("a")).await.unwrap_err();
        assert!(matches!(told, StoreError::KeyDamaged { .. }), "{told}");
        let told = store.tenant(&acme).put(&groups(), &id("c"), None, document("1")).await.unwrap_err();
        assert!(matches!(told, StoreError::KeyDamaged { .. }), "nothing is sealed under another key: {told}");
        assert!(store.tenant(&other).get(&groups(), &id("a")).await.unwrap().is_some());
        store.close().await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

async fn a_backup_of_a_deleted_organisation_cannot_be_read(world: World) {
    let (store, acme, other) = with_two(&world).await;
    store.close().await;
    // All of the store, without the keys.
    match &world {
        World::Sqlite(room, _) => copy(&world.place().folder, &room.join("backup")),
        World::Postgres(name) => drop(server().administer(
            name,
            "CREATE SCHEMA backup; CREATE TABLE backup.heads AS SELECT * FROM palisade.heads; \
             CREATE TABLE backup.resources AS SELECT * FROM palisade.resources; \
             CREATE TABLE backup.organisations AS SELECT * FROM palisade_directory.organisations",
        )),
    }
    let store = world.open().await;
    store.delete_organisation(&acme).await.unwrap();
    store.close().await;
    match &world {
        World::Sqlite(room, _) => {
            std::fs::remove_dir_all(world.place().folder).unwrap();
            copy(&room.join("backup"), &world.place().folder);
        }
        World::Postgres(name) => drop(server().administer(
            name,
            "INSERT INTO palisade.heads SELECT * FROM backup.heads ON CONFLICT DO NOTHING; \
             INSERT INTO palisade.resources SELECT * FROM backup.resources ON CONFLICT DO NOTHING; \
             INSERT INTO palisade_directory.organisations SELECT * FROM backup.organisations ON CONFLICT DO NOTHING",
        )),
    }
    let store = world.open().await;
    for told in [
        store.tenant(&acme).get(&groups(), &id("a")).await.err(),
        store.tenant(&acme).list(&groups(), None, 10).await.err(),
        store.tenant(&acme).put(&groups(), &id("c"), None, document("1")).await.err(),
    ] {
        assert!(matches!(told, Some(StoreError::KeyMissing { .. })), "{told:?}");
    }
    assert!(store.tenant(&other).get(&groups(), &id("a")).await.unwrap().is_some());
    // It can be deleted once more, and then be made anew.
    store.delete_organisation(&acme).await.unwrap();
    store.create_organisation(&acme).await.unwrap();
    store.tenant(&acme).put(&groups(), &id("a"), None, document("1")).await.unwrap();
}
