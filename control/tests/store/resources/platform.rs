//! What holds for everyone changes only so that everyone can still be served.

use super::{Room, acme, by, id, row, wrong};
use crate::world::World;
use palisade_control::resources::{ControlError, Expected, Provision};
use palisade_control::store::{Kind, Owner};
use serde_json::json;

on_both! {
    what_organisations_name_stays
    a_name_that_goes_and_one_that_comes_into_use_are_never_both_accepted
    providers_stand_in_the_order_that_is_asked_for
    a_platform_that_does_not_compile_is_refused
    an_organisation_begins_with_a_template
}

async fn what_organisations_name_stays(world: World) {
    let room = Room::with_acme(world).await;
    room.provision("beta").await;
    let providers = row(&Owner::Platform, "providers");
    let route = json!({ "routes": [{ "name": "r", "models": ["*"], "targets": ["p"] }] });
    room.put(&acme(), "routes", "default", route).await.unwrap();
    let gone = room
        .control
        .delete(&Owner::Platform, providers, &id("p"), Expected::Any, &by("op"))
        .await
        .unwrap_err();
    assert_eq!(
        gone.to_string(),
        "1 organisations still use what would be gone: `acme`; change those first, or use a kill switch"
    );
    let renamed = json!({ "name": "q", "base_url": "https://a.example", "models": ["*"] });
    assert!(matches!(
        room.put(&Owner::Platform, "providers", "p", renamed).await,
        Err(ControlError::Breaks { count: 1, .. })
    ));
    // However it is written that one is named.
    let store = room.control.store();
    let (kind, only) = (Kind::new("routes").unwrap(), id("default"));
    let found = store.of(&acme()).get(&kind, &only).await.unwrap().unwrap();
    let escaped = found.document.get().replace("[\"p\"]", "[\"\\u0070/gpt\"]");
    assert_ne!(escaped, found.document.get());
    let escaped = serde_json::value::RawValue::from_string(escaped).unwrap();
    store.of(&acme()).put(&kind, &only, Some(found.version), escaped).await.unwrap();
    let gone = room.control.delete(&Owner::Platform, providers, &id("p"), Expected::Any, &by("op")).await;
    assert!(matches!(gone, Err(ControlError::Breaks { count: 1, .. })), "{gone:?}");
    // What else becomes of it is the platform's own.
    let moved = json!({ "base_url": "https://b.example", "models": ["gpt-*"], "connect_timeout": "1s" });
    room.put(&Owner::Platform, "providers", "p", moved).await.unwrap();
    room.put(&acme(), "routes", "default", json!({})).await.unwrap();
    room.control.delete(&Owner::Platform, providers, &id("p"), Expected::Any, &by("op")).await.unwrap();
    room.policy().await;
}

async fn a_name_that_goes_and_one_that_comes_into_use_are_never_both_accepted(world: World) {
    let room = Room::with_acme(world).await;
    let providers = row(&Owner::Platform, "providers");
    let (mut kept, mut gone) = (0, 0);
    for turn in 0..8 {
        let provider = json!({ "base_url": "https://a.example", "models": ["*"] });
        room.put(&Owner::Platform, "providers", "q", provider).await.unwrap();
        let name = id("q");
        let switch = json!({ "provider": "q", "reason": "test" });
        let owner = acme();
        let use_it = room.put(&owner, "kill-switches", "s", switch);
        let delete_it = room.control.delete(&Owner::Platform, providers, &name, Expected::Any, &ANN);
        let (used, deleted) = if turn % 2 == 0 {
            tokio::join!(use_it, delete_it)
        } else {
            let (deleted, used) = tokio::join!(delete_it, use_it);
            (used, deleted)
        };
        assert!(used.is_ok() != deleted.is_ok(), "{used:?} {deleted:?}");
        kept += usize::from(used.is_ok());
        gone += usize::from(deleted.is_ok());
        room.policy().await;
        if used.is_ok() {
            let switches = row(&acme(), "kill-switches");
            room.control.delete(&acme(), switches, &id("s"), Expected::Any, &ANN).await.unwrap();
        }
    }
    assert_eq!(kept + gone, 8);
}

static ANN: std::sync::LazyLock<palisade_control::resources::Actor> = std::sync::LazyLock::new(|| by("ann"));

async fn providers_stand_in_the_order_that_is_asked_for(world: World) {
    let room = Room::new(world).await;
    for (name, position) in [("a", 2), ("b", 1), ("c", 0)] {
        let provider = json!({ "base_url": "https://a.example", "models": ["*"], "position": position });
        room.put(&Owner::Platform, "providers", name, provider).await.unwrap();
    }
    let policy = room.policy().await;
    let names: Vec<&str> =
        policy.providers().iter().map(|provider| provider.document.name.as_str()).collect();
    assert_eq!(names, ["c", "b", "a"]);
    let provider = json!({ "base_url": "https://a.example", "models": ["*"], "position": -1 });
    let told = wrong(room.put(&Owner::Platform, "providers", "d", provider).await);
    assert_eq!(told, [("/position".to_owned(), "a whole number from 0 to 4294967295".to_owned())]);
}

async fn a_platform_that_does_not_compile_is_refused(world: World) {
    let room = Room::with_acme(world).await;
    for (kind, name, document, place) in [
        ("providers", "x", json!({ "base_url": "ftp://x", "models": ["*"] }), "/base_url"),
        ("providers", "x", json!({ "base_url": "https://x", "models": [] }), "/models"),
        ("providers", "x", json!({ "name": "p", "base_url": "https://x", "models": ["*"] }), "/name"),
        (
            "providers",
            "x",
            json!({ "base_url": "https://x", "models": ["*"], "api_key": { "env": "NOT_SET_API_KEY" } }),
            "/api_key/env",
        ),
        ("models", "m", json!({ "name": "m", "provider": "nobody" }), "/provider"),
        ("kill-switches", "k", json!({ "provider": "nobody", "reason": "x" }), "/provider"),
        (
            "floor",
            "default",
            json!({ "rules": [{ "name": "r", "groups": ["g"], "action": "log" }] }),
            "/rules/0/name",
        ),
    ] {
        let told = wrong(room.put(&Owner::Platform, kind, name, document.clone()).await);
        assert!(told[0].0 == place, "{document}: {told:?}");
        assert!(matches!(room.get(&Owner::Platform, kind, name).await, Err(ControlError::NotFound(_))));
    }
    assert_eq!(room.policy().await.providers().len(), 1);
}

async fn an_organisation_begins_with_a_template(world: World) {
    let room = Room::with_acme(world).await;
    let template = json!({ "name": "Strict", "organisation": {
        "default_action": "deny", "groups": [{ "name": "staff" }],
        "quotas": [{ "subject": "organisation", "requests_per_day": 100 }],
    } });
    room.put(&Owner::Platform, "templates", "strict", template).await.unwrap();
    let asked = |template| Provision { name: "Beta".to_owned(), template: Some(id(template)) };
    room.control.provision(&super::of("beta"), &asked("strict"), &by("op")).await.unwrap();
    let beta = Owner::Organisation(super::of("beta"));
    let settings = room.get(&beta, "settings", "default").await.unwrap().document;
    assert_eq!(settings, json!({ "name": "Beta", "default_action": "deny" }));
    assert!(room.get(&beta, "groups", "staff").await.is_ok());
    assert!(room.get(&beta, "quotas", "organisation").await.is_ok());

    let broken =
        json!({ "organisation": { "policy": [{ "name": "a", "groups": ["none"], "action": "log" }] } });
    room.put(&Owner::Platform, "templates", "broken", broken).await.unwrap();
    let named = json!({ "organisation": { "keys": [] } });
    room.put(&Owner::Platform, "templates", "named", named).await.unwrap();
    for template in ["broken", "named", "missing"] {
        wrong(room.control.provision(&super::of("gamma"), &asked(template), &by("op")).await);
        let gamma = room.control.organisation(&super::of("gamma")).await;
        assert!(matches!(gamma, Err(ControlError::NotFound(_))), "{template} leaves nothing behind");
    }
}
