//! One organisation's trouble is nobody else's; what is gone is gone; and who waits is woken.

use super::{Followed, break_it, put, set_provider, set_threshold, thresholds};
use crate::resources::SCANNER;
use crate::world::{World, document, id, organisation, owned};
use palisade_control::folder::Folder;
use palisade_control::follow::{FollowError, Follower};
use palisade_control::store::{Kind, Store, Write};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

on_both! {
    what_cannot_be_used_keeps_its_last_good_state_and_is_said_once
    what_cannot_be_read_is_its_own_organisations_trouble
    a_namesake_has_nothing_of_the_organisation_that_was_deleted
    who_waits_is_woken_by_a_change
    hashes_are_keyed_alike_wherever_a_store_is_followed
    a_key_passes_to_an_organisation_that_asked_for_it_too_early
    a_platform_that_cannot_be_used_stops_nothing_but_itself
}

async fn what_cannot_be_used_keeps_its_last_good_state_and_is_said_once(world: World) {
    let mut followed = Followed::new(world).await;
    for name in ["acme", "beta"] {
        followed.store.create_organisation(&organisation(name)).await.unwrap();
        set_threshold(&followed.store, name, 3).await;
    }
    assert_eq!(followed.settle().await, [""; 0]);
    break_it(&followed.store, "acme").await;
    let said = followed.settle().await;
    assert_eq!(said, ["organisation `acme`: `dlp.threshold` lies between 0 and 1"]);
    // Also with the next change of it, of another one and of the platform.
    break_it(&followed.store, "acme").await;
    set_threshold(&followed.store, "beta", 4).await;
    set_provider(&followed.store, "p1").await;
    assert_eq!(followed.settle().await, [""; 0]);
    let both = |acme, beta| BTreeMap::from([("acme".to_owned(), acme), ("beta".to_owned(), beta)]);
    assert_eq!(followed.thresholds(), both(3, 4));
    set_threshold(&followed.store, "acme", 7).await;
    assert_eq!(followed.settle().await, [""; 0]);
    assert_eq!(followed.thresholds(), both(7, 4));
    break_it(&followed.store, "acme").await;
    assert_eq!(followed.settle().await.len(), 1, "it is said anew once it was well");
}

async fn what_cannot_be_read_is_its_own_organisations_trouble(world: World) {
    let mut followed = Followed::new(world).await;
    for name in ["acme", "beta"] {
        followed.store.create_organisation(&organisation(name)).await.unwrap();
        set_threshold(&followed.store, name, 3).await;
    }
    followed.settle().await;
    followed.world.put_sealed(&owned("acme"), "default", "00ff").await;
    // It changes in another place, so that it is read anew.
    put(&followed.store.tenant(&organisation("acme")), "groups", "red", &json!({})).await;
    set_threshold(&followed.store, "beta", 4).await;
    let mut said = Vec::new();
    while followed.thresholds()["beta"] != 4 || said.is_empty() {
        let heard = followed.follower.next(Duration::ZERO).await.unwrap();
        assert!(!heard.is_whole || said.is_empty(), "what was not read is not read");
        said.extend(heard.errors.iter().map(ToString::to_string));
    }
    assert_eq!(said.len(), 1);
    let expected =
        "organisation `acme`: `default` among the `dlp-settings` of the organisation `acme` is not what";
    assert!(said[0].starts_with(expected), "{said:?}");
    assert_eq!(followed.thresholds()["acme"], 3);
    // It is put right by a change, like anything.
    set_threshold_anew(&followed.store, "acme", 8).await;
    assert_eq!(followed.settle().await, [""; 0]);
    assert_eq!(followed.thresholds()["acme"], 8);
}

/// Replaces a resource that cannot be read.
async fn set_threshold_anew(store: &Store, name: &str, tenths: u8) {
    let (resources, kind) = (store.tenant(&organisation(name)), Kind::new("dlp-settings").unwrap());
    let value = document(&json!({ "threshold": f32::from(tenths) / 10.0 }).to_string());
    let write = Write::Put { kind, id: id("default"), expected: Some(1), document: value };
    resources.apply(&[write]).await.unwrap();
}

async fn a_namesake_has_nothing_of_the_organisation_that_was_deleted(world: World) {
    let mut followed = Followed::new(world).await;
    let acme = organisation("acme");
    followed.store.create_organisation(&acme).await.unwrap();
    set_threshold(&followed.store, "acme", 3).await;
    followed.settle().await;
    assert_eq!(followed.thresholds()["acme"], 3);
    followed.store.delete_organisation(&acme).await.unwrap();
    followed.store.create_organisation(&acme).await.unwrap();
    break_it(&followed.store, "acme").await;
    assert_eq!(followed.settle().await.len(), 1);
    assert!(followed.thresholds().is_empty(), "it cannot be used, and there was no state of it before");
    followed.store.delete_organisation(&acme).await.unwrap();
    assert_eq!(followed.settle().await, [""; 0]);
    assert!(followed.thresholds().is_empty());
}

async fn who_waits_is_woken_by_a_change(world: World) {
    let mut followed = Followed::new(world).await;
    followed.store.create_organisation(&organisation("acme")).await.unwrap();
    followed.settle().await;
    let (store, begun) = (followed.store.clone(), Instant::now());
    let writes = tokio::spawn(async move { set_threshold(&store, "acme", 9).await });
    let heard = followed.follower.next(PATIENCE).await.unwrap();
    assert!(heard.changed && heard.is_whole && begun.elapsed() < PATIENCE);
    assert_eq!(thresholds(&heard.policy)["acme"], 9);
    writes.await.unwrap();
}

async fn hashes_are_keyed_alike_wherever_a_store_is_followed(world: World) {
    let mut followed = Followed::new(world).await;
    for name in ["acme", "beta"] {
        followed.store.create_organisation(&organisation(name)).await.unwrap();
    }
    followed.settle().await;
    // Another node, with another folder.
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::open(data.path()).unwrap();
    assert_ne!(folder.hash_secret(), followed.folder.hash_secret());
    let other = Follower::start(followed.store.clone(), folder, SCANNER.clone()).await.unwrap().0;
    let mut secrets = Vec::new();
    for name in ["acme", "beta"] {
        let secret = followed.store.tenant(&organisation(name)).all(&[]).await.unwrap().hash_secret;
        for policy in [followed.follower.policy(), other.policy()] {
            assert!(policy.is_keyed_from(name, &secret));
        }
        assert_eq!(other.policy().is_keyed_from("beta", &secret), name == "beta");
        secrets.push(secret);
    }
    assert_ne!(secrets[0], secrets[1]);
}

async fn a_key_passes_to_an_organisation_that_asked_for_it_too_early(world: World) {
    let mut followed = Followed::new(world).await;
    let key = json!({ "sha256": "ab".repeat(32) });
    for name in ["acme", "beta"] {
        followed.store.create_organisation(&organisation(name)).await.unwrap();
        set_threshold(&followed.store, name, 3).await;
    }
    put(&followed.store.tenant(&organisation("acme")), "api-keys", "k", &key).await;
    followed.settle().await;
    put(&followed.store.tenant(&organisation("beta")), "api-keys", "k", &key).await;
    set_threshold(&followed.store, "beta", 4).await;
    let said = followed.settle().await;
    assert_eq!(said, ["organisation `beta`: the key `k` belongs to the organisation `acme`"]);
    assert_eq!(followed.thresholds()["beta"], 3);
    followed.store.delete_organisation(&organisation("acme")).await.unwrap();
    assert_eq!(followed.settle().await, [""; 0]);
    assert_eq!(followed.thresholds(), BTreeMap::from([("beta".to_owned(), 4)]));
}

async fn a_platform_that_cannot_be_used_stops_nothing_but_itself(world: World) {
    let mut followed = Followed::new(world).await;
    followed.store.create_organisation(&organisation("acme")).await.unwrap();
    set_provider(&followed.store, "p1").await;
    followed.settle().await;
    let broken = json!({ "base_url": "ftp://a.example", "models": ["*"] });
    put(&followed.store.platform(), "providers", "p", &broken).await;
    set_threshold(&followed.store, "acme", 6).await;
    let said = followed.settle().await;
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("the platform: provider `p`: `base_url` `ftp://a.example`"), "{said:?}");
    assert_eq!(followed.thresholds()["acme"], 6);
    assert_eq!(followed.follower.policy().providers()[0].document.name, "p1");
    let folder = followed.folder.clone();
    let fresh = Follower::start(followed.store.clone(), folder, SCANNER.clone()).await;
    assert!(matches!(fresh, Err(FollowError::Platform(errors)) if errors.len() == 1), "there is none before");
}

/// Files are put back by hand, so only files can be.
#[tokio::test]
async fn an_organisation_that_is_put_back_is_what_it_was() {
    let mut followed = Followed::new(World::sqlite().await).await;
    followed.store.create_organisation(&organisation("acme")).await.unwrap();
    set_threshold(&followed.store, "acme", 3).await;
    followed.settle().await;
    let backup = followed.close_and(|file| std::fs::read(file).unwrap()).await;
    set_threshold(&followed.store, "acme", 4).await;
    followed.settle().await;
    assert_eq!(followed.thresholds()["acme"], 4);
    followed.close_and(|file| std::fs::write(file, &backup).unwrap()).await;
    followed.settle().await;
    assert_eq!(followed.thresholds()["acme"], 3);
}

impl Followed {
    /// Closes the store, does something to the organisation's file, and opens it again.
    async fn close_and<T>(&mut self, act: impl FnOnce(&std::path::Path) -> T) -> T {
        self.origin.store.lock().unwrap().take();
        let placeholder = World::sqlite().await;
        let store = std::mem::replace(&mut self.store, Arc::new(placeholder.open().await));
        Arc::into_inner(store).unwrap().close().await;
        let done = act(&self.world.file("acme"));
        self.store = Arc::new(self.world.open().await);
        *self.origin.store.lock().unwrap() = Some(self.store.clone());
        done
    }
}
