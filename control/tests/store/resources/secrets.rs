//! A secret goes in and comes out nowhere: not in answers, lists, errors or the journal, and to no other address.

use super::{Room, by, id, row, wrong};
use crate::world::World;
use palisade_control::resources::Expected;
use palisade_control::store::Owner;
use palisade_filters::api_key::hex;
use serde_json::{Value, json};

on_both! {
    a_providers_credential_is_used_and_never_shown
    a_kept_credential_goes_nowhere_else
    no_error_repeats_a_credential
}

const SECRET: &str = "sk-proj-3b9f0c77d1e84a52";

#[expect(clippy::needless_pass_by_value, reason = "its callers write it in place")]
fn provider(url: &str, key: Value) -> Value {
    json!({ "base_url": url, "models": ["*"], "api_key": key })
}

async fn a_providers_credential_is_used_and_never_shown(world: World) {
    let room = Room::new(world).await;
    let given = provider("https://a.example", json!({ "value": SECRET }));
    let made = room.put(&Owner::Platform, "providers", "p", given).await.unwrap();
    let masked = provider("https://a.example", json!({ "value": "***" }));
    assert_eq!(made.document, masked);
    let in_use =
        |policy: palisade_filters::Policy| policy.providers()[0].api_key.clone().unwrap().expose().to_owned();
    assert_eq!(in_use(room.policy().await), SECRET);

    // What was read can be written back.
    let again =
        room.write(&Owner::Platform, "providers", "p", Expected::Version(1), masked.clone()).await.unwrap();
    assert_eq!((again.version, &again.document), (2, &masked));
    let providers = row(&Owner::Platform, "providers");
    let (name, op) = (id("p"), by("op"));
    let patched =
        room.control.patch(&Owner::Platform, providers, &name, Expected::Version(2), br#"{"http":"2"}"#, &op);
    patched.await.unwrap();
    assert_eq!(in_use(room.policy().await), SECRET);

    let listed = room.control.list(&Owner::Platform, providers, None, 10).await.unwrap();
    let journal = room.journal(&Owner::Platform).await;
    let shown =
        format!("{made:?} {listed:?} {journal:?} {:?}", room.get(&Owner::Platform, "providers", "p").await);
    assert!(shown.contains("***") && !shown.contains(SECRET), "{shown}");
    assert!(!room.world.sealed(&Owner::Platform, "p").await.to_lowercase().contains(&hex(SECRET.as_bytes())));
}

async fn a_kept_credential_goes_nowhere_else(world: World) {
    let room = Room::new(world).await;
    room.put(&Owner::Platform, "providers", "p", provider("https://a.example", json!({ "value": SECRET })))
        .await
        .unwrap();
    let providers = row(&Owner::Platform, "providers");
    for text in [r#"{"base_url":"https://evil.example"}"#, r#"{"allow_private_addresses":true}"#] {
        let told = room
            .control
            .patch(&Owner::Platform, providers, &id("p"), Expected::Any, text.as_bytes(), &by("op"))
            .await;
        let told = wrong(told);
        assert_eq!(told[0].0, "/api_key/value", "{told:?}");
        assert!(told[0].1.contains("give the secret again"), "{told:?}");
    }
    let masked = provider("https://evil.example", json!({ "value": "***" }));
    assert_eq!(
        wrong(room.put(&Owner::Platform, "providers", "p", masked.clone()).await)[0].0,
        "/api_key/value"
    );
    assert_eq!(wrong(room.put(&Owner::Platform, "providers", "q", masked).await)[0].0, "/api_key/value");
    let given = provider("https://b.example", json!({ "value": "sk-new" }));
    room.put(&Owner::Platform, "providers", "p", given).await.unwrap();
}

async fn no_error_repeats_a_credential(world: World) {
    let room = Room::with_acme(world).await;
    for document in [
        provider("https://a.example", json!(SECRET)),
        provider("https://a.example", json!({ "env": SECRET })),
        provider("https://a.example", json!({ "file": SECRET })),
        provider("https://a.example", json!({ SECRET: 1 })),
        provider("https://a.example", json!({ "value": SECRET, "env": "X_API_KEY" })),
        provider("https://a.example", json!({ "value": [SECRET] })),
        provider("https://a.example", json!({ "value": format!("{SECRET}\nsecond line") })),
        json!({ "base_url": "https://a.example", "models": ["*"], "api_key": { "value": SECRET }, "http": "9" }),
        json!({ "base_url": format!("https://user:{SECRET}@a.example"), "models": ["*"] }),
    ] {
        let told = room.put(&Owner::Platform, "providers", "x", document.clone()).await.unwrap_err();
        let shown = format!("{told} {told:?}");
        assert!(!shown.contains(SECRET), "{shown}");
    }
    let exact = json!({ "entity": "X", "category": "business", "file": "lists/acme/t", "key": { "file": "secrets/hash.key" } });
    let told = wrong(room.put(&super::acme(), "exact-match", "own.x", exact).await);
    assert_eq!(told[0].0, "/key", "an organisation names no file of the machine's: {told:?}");
}
