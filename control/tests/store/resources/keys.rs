//! A key is shown once, works as long as it should, and is one organisation's.

use super::{Room, acme, by, id, moment, of, row, wrong};
use crate::world::World;
use palisade_control::resources::{Actor, ControlError, Expected, NewApiKey};
use palisade_control::store::Owner;
use palisade_filters::secret::Secret;
use palisade_filters::{Knock, Trust, identify};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

on_both! {
    a_new_key_is_recognised_and_its_secret_is_nowhere
    a_rotated_key_goes_on_for_a_while
    a_key_can_be_switched_off_and_ended
    a_key_is_one_organisations
    a_new_key_is_no_change_of_the_platform
    an_issuer_is_one_organisations_as_long_as_it_names_it
    a_users_keys_end_with_the_user
}

async fn a_new_key_is_no_change_of_the_platform(world: World) {
    let room = Room::with_acme(world).await;
    let store = room.control.store();
    let before = store.platform().changes(0, 1).await.unwrap().revision;
    let from = store.feed(0, 1, Duration::ZERO).await.unwrap().end;
    let (_, view) = room.control.create_key(&of("acme"), &named("ci"), &by("ann")).await.unwrap();
    room.control
        .delete(&acme(), row(&acme(), "api-keys"), &id(&view.id), Expected::Any, &by("ann"))
        .await
        .unwrap();
    assert_eq!(store.platform().changes(0, 1).await.unwrap().revision, before);
    let heard = store.feed(from, 10, Duration::ZERO).await.unwrap().entries;
    assert!(heard.len() == 2 && heard.iter().all(|entry| entry.owner == acme()), "{heard:?}");
}

/// Whose key it is, so many days after the first of 2030.
async fn known(room: &Room, key: &Secret, days: u64) -> Option<String> {
    let policy = room.policy().await;
    let credentials = [key.expose().to_owned()];
    let now_ms = moment(days).duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms };
    identify(&policy, &Trust::default(), &knock).ok().map(|caller| caller.tenant().id.to_string())
}

fn named(name: &str) -> NewApiKey {
    NewApiKey { name: name.to_owned(), ..NewApiKey::default() }
}

async fn a_new_key_is_recognised_and_its_secret_is_nowhere(world: World) {
    let room = Room::with_acme(world).await;
    room.put(&acme(), "groups", "red", json!({})).await.unwrap();
    let asked = NewApiKey {
        user: Some("ann".to_owned()),
        groups: vec!["red".to_owned()],
        models: vec!["gpt-*".to_owned()],
        expires: Some(moment(30)),
        ..named("ci")
    };
    let (key, view) = room.control.create_key(&of("acme"), &asked, &by("ann")).await.unwrap();
    assert_eq!(
        view.document,
        json!({ "name": "ci", "user": "ann", "groups": ["red"], "models": ["gpt-*"], "sha256": "***",
                "expires": "2030-01-31T00:00:00Z" })
    );
    assert!(key.expose().starts_with(&format!("pk_live_{}_", view.id)));
    assert_eq!(known(&room, &key, 29).await.as_deref(), Some("acme"));
    assert_eq!(known(&room, &key, 31).await, None);
    let secret = key.expose().rsplit('_').next().unwrap();
    let shown = format!(
        "{view:?} {:?} {:?}",
        room.journal(&acme()).await,
        room.get(&acme(), "api-keys", &view.id).await
    );
    assert!(!shown.contains(secret), "{shown}");

    let unknown = NewApiKey { groups: vec!["blue".to_owned()], ..named("x") };
    wrong(room.control.create_key(&of("acme"), &unknown, &by("ann")).await);
    let past = NewApiKey { expires: Some(moment(0)), ..named("x") };
    assert_eq!(wrong(room.control.create_key(&of("acme"), &past, &by("ann")).await)[0].0, "/expires");
    assert_eq!(wrong(room.control.create_key(&of("acme"), &named("a\nb"), &by("ann")).await)[0].0, "/name");
}

async fn a_rotated_key_goes_on_for_a_while(world: World) {
    let room = Room::with_acme(world).await;
    let (old, view) = room.control.create_key(&of("acme"), &named("ci"), &by("ann")).await.unwrap();
    let day = Duration::from_hours(24);
    let rotate = |expected, grace| {
        let (room, name) = (&room, id(&view.id));
        async move { room.control.rotate_key(&of("acme"), &name, expected, grace, &by("ann")).await }
    };
    assert!(matches!(rotate(Expected::Version(9), day).await, Err(ControlError::Stale { current: 1 })));
    assert_eq!(wrong(rotate(Expected::Any, day * 365).await)[0].0, "/grace");
    let (new, made) = rotate(Expected::Version(1), day * 2).await.unwrap();
    assert_eq!(made.document, json!({ "name": "ci", "sha256": "***" }));
    for (days, old_works) in [(2, true), (4, false)] {
        assert_eq!(known(&room, &old, days).await.is_some(), old_works, "after {days} days");
        assert_eq!(known(&room, &new, days).await.as_deref(), Some("acme"));
    }
    // It would end in two days; a longer grace does not bring it back.
    rotate(Expected::Any, day * 30).await.unwrap();
    assert_eq!(known(&room, &old, 4).await, None);
    // At once.
    rotate(Expected::Any, Duration::ZERO).await.unwrap();
    assert_eq!(known(&room, &old, 2).await, None);
}

async fn a_key_can_be_switched_off_and_ended(world: World) {
    let room = Room::with_acme(world).await;
    let (key, view) = room.control.create_key(&of("acme"), &named("ci"), &by("ann")).await.unwrap();
    let (acme, keys, name) = (acme(), row(&acme(), "api-keys"), id(&view.id));
    let patch = |text: Value| {
        let (room, acme, name) = (&room, &acme, &name);
        async move {
            let text = text.to_string();
            room.control.patch(acme, keys, name, Expected::Any, text.as_bytes(), &by("ann")).await.unwrap()
        }
    };
    let off = patch(json!({ "enabled": false })).await;
    assert_eq!(off.document["sha256"], json!("***"), "what is not named stays, and stays hidden");
    assert_eq!(known(&room, &key, 2).await, None);
    let off = room.control.rotate_key(&of("acme"), &name, Expected::Any, Duration::ZERO, &by("ann")).await;
    assert!(matches!(off, Err(ControlError::Refused(_))));
    patch(json!({ "enabled": true, "expires": "2030-01-10T00:00:00Z" })).await;
    assert_eq!((known(&room, &key, 8).await.as_deref(), known(&room, &key, 10).await), (Some("acme"), None));
}

async fn a_key_is_one_organisations(world: World) {
    let room = Room::with_acme(world).await;
    room.provision("beta").await;
    let beta = Owner::Organisation(of("beta"));
    let (key, view) = room.control.create_key(&of("acme"), &named("ci"), &by("ann")).await.unwrap();
    let export = room.control.export(&of("acme"), &by("ann")).await.unwrap();
    let stolen = export.resources.iter().find(|one| one.kind == "api-keys").unwrap();
    let with_id = {
        let mut document = stolen.document.clone();
        document["id"] = view.id.clone().into();
        document["sha256"] = document["sha256"].as_str().unwrap().to_uppercase().into();
        document
    };
    for (name, document) in [(view.id.as_str(), &stolen.document), ("another", &with_id)] {
        let told = room.put(&beta, "api-keys", name, document.clone()).await.unwrap_err();
        let expected =
            format!("the key `{}` belongs to another organisation; bring one of your own", view.id);
        assert_eq!(told.to_string(), expected);
    }
    assert_eq!(known(&room, &key, 2).await.as_deref(), Some("acme"));
    // Its public id alone proves nothing, and takes nothing away.
    room.put(&beta, "api-keys", &view.id, json!({ "sha256": "ab".repeat(32) })).await.unwrap();
    assert_eq!(known(&room, &key, 2).await.as_deref(), Some("acme"));
    // Deleted and written again, it is the same organisation's.
    let keys = row(&acme(), "api-keys");
    room.control.delete(&acme(), keys, &id(&view.id), Expected::Any, &by("ann")).await.unwrap();
    let theirs = room.put(&beta, "api-keys", &view.id, stolen.document.clone()).await;
    assert!(matches!(theirs, Err(ControlError::Refused(_))), "{theirs:?}");
    room.put(&acme(), "api-keys", &view.id, stolen.document.clone()).await.unwrap();
    assert_eq!(known(&room, &key, 2).await.as_deref(), Some("acme"));
    // Until that is gone.
    room.control.suspend(&of("acme"), &by("op")).await.unwrap();
    room.control.erase(&of("acme"), &by("op")).await.unwrap();
    room.put(&beta, "api-keys", &view.id, stolen.document.clone()).await.unwrap();
    assert_eq!(known(&room, &key, 2).await.as_deref(), Some("beta"));
}

async fn an_issuer_is_one_organisations_as_long_as_it_names_it(world: World) {
    let room = Room::with_acme(world).await;
    room.provision("beta").await;
    let beta = Owner::Organisation(of("beta"));
    let issuer = |audience: &str| {
        let keys =
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        json!({ "issuer": "https://login.example", "audience": audience, "jwks": keys })
    };
    let (one, two) = (issuer("one"), issuer("two"));
    room.put(&acme(), "jwt-issuers", "login", one.clone()).await.unwrap();
    room.put(&acme(), "jwt-issuers", "login", one.clone()).await.unwrap();
    let taken = room.put(&beta, "jwt-issuers", "mine", one.clone()).await.unwrap_err();
    assert_eq!(
        taken.to_string(),
        "the issuer `https://login.example` with the audience `one` belongs to another organisation; bring one of \
         your own"
    );
    room.put(&beta, "jwt-issuers", "mine", two.clone()).await.unwrap();
    room.policy().await;
    // Whoever changes to another gives up the former.
    let theirs = room.put(&acme(), "jwt-issuers", "login", two.clone()).await;
    assert!(matches!(theirs, Err(ControlError::Refused(_))), "{theirs:?}");
    room.put(&acme(), "jwt-issuers", "login", issuer("three")).await.unwrap();
    room.put(&beta, "jwt-issuers", "more", one.clone()).await.unwrap();
    let issuers = row(&beta, "jwt-issuers");
    room.control.delete(&beta, issuers, &id("mine"), Expected::Any, &by("ann")).await.unwrap();
    room.put(&acme(), "jwt-issuers", "second", two).await.unwrap();
    assert!(matches!(room.put(&acme(), "jwt-issuers", "third", one).await, Err(ControlError::Refused(_))));
    room.policy().await;
}

async fn a_users_keys_end_with_the_user(world: World) {
    let room = Room::with_acme(world).await;
    let asked = NewApiKey { user: Some("ann@example.org".to_owned()), ..named("ci") };
    let (key, _) = room
        .control
        .create_key(&of("acme"), &asked, &Actor { name: "op".to_owned(), at: moment(1) })
        .await
        .unwrap();
    room.put(&acme(), "users", "ann@example.org", json!({ "name": "Ann" })).await.unwrap();
    assert!(known(&room, &key, 2).await.is_some());
    room.put(&acme(), "users", "ann@example.org", json!({ "enabled": false })).await.unwrap();
    assert_eq!(known(&room, &key, 2).await, None);
    let told = wrong(room.put(&acme(), "users", "bob", json!({ "groups": ["none"] })).await);
    assert!(told[0].1.contains("there is no group `none`"), "{told:?}");
}
