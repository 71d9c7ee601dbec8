//! An organisation comes whole, stops and goes on as it was, moves as it is, and goes for good.

use super::{Room, acme, by, id, of, row, wrong};
use crate::world::World;
use palisade_control::resources::{
    ControlError, Export, ExportedResource, NewApiKey, Provision, Side, compose_organisation, policy_kinds,
};
use palisade_control::store::{Owner, StoreError, WRITES_MAX};
use serde_json::json;

on_both! {
    a_suspended_organisation_lets_nobody_in_and_comes_back_as_it_was
    what_was_exported_is_what_is_imported
    an_import_of_any_size_is_whole_or_nothing
    an_erased_organisation_is_gone
    organisations_are_listed
}

async fn document(room: &Room, name: &str) -> palisade_filters::documents::OrganisationDocument {
    let all = room.control.store().tenant(&of(name)).all(&policy_kinds(Side::Organisation)).await.unwrap();
    let all = all.resources.iter().map(|(kind, one)| (kind, &one.id, &*one.document));
    compose_organisation(&of(name), all).unwrap()
}

async fn a_suspended_organisation_lets_nobody_in_and_comes_back_as_it_was(world: World) {
    let room = Room::with_acme(world).await;
    room.put(&acme(), "groups", "red", json!({})).await.unwrap();
    let before = room.control.export(&of("acme"), &by("ann")).await.unwrap();
    assert_eq!(
        (document(&room, "acme").await.suspended, room.control.is_suspended(&of("acme")).await.unwrap()),
        (false, false)
    );
    for _ in 0..2 {
        room.control.suspend(&of("acme"), &by("op")).await.unwrap();
    }
    assert_eq!(
        (document(&room, "acme").await.suspended, room.control.is_suspended(&of("acme")).await.unwrap()),
        (true, true)
    );
    assert!(room.control.organisation(&of("acme")).await.unwrap().suspended);
    room.control.resume(&of("acme"), &by("op")).await.unwrap();
    assert_eq!(room.control.export(&of("acme"), &by("ann")).await.unwrap(), before);
    let nobody = room.control.suspend(&of("nobody"), &by("op")).await;
    assert!(matches!(nobody, Err(ControlError::NotFound(_))));
}

async fn what_was_exported_is_what_is_imported(world: World) {
    let room = Room::with_acme(world).await;
    for (kind, name, document) in [
        ("groups", "red", json!({})),
        ("groups", "data", json!({ "name": "Data Science" })),
        ("users", "ann", json!({ "groups": ["red"] })),
        (
            "policy-chain",
            "default",
            json!({ "rules": [{ "name": "a", "groups": ["Data Science"], "action": "log" }] }),
        ),
        (
            "dictionaries",
            "own.x",
            json!({ "entity": "X", "category": "business", "terms": ["Aurora"], "confidence": 0.7 }),
        ),
        ("quotas", "all", json!({ "subject": "organisation", "dollars_per_day": "12.50" })),
        ("geo-policy", "default", json!({ "deny": { "countries": ["RU"] } })),
    ] {
        room.put(&acme(), kind, name, document).await.unwrap();
    }
    room.control
        .create_key(&of("acme"), &NewApiKey { name: "k".to_owned(), ..NewApiKey::default() }, &by("ann"))
        .await
        .unwrap();
    let said = format!("{:?}", document(&room, "acme").await);
    let export = room.control.export(&of("acme"), &by("ann")).await.unwrap();
    let text = serde_json::to_string(&export).unwrap();
    assert!(!format!("{export:?}").contains("sha256"), "what is logged of it holds nothing of it");
    let told = room.journal(&acme()).await.pop().unwrap();
    assert_eq!((&told["action"], &told["actor"]), (&json!("exported"), &json!("ann")));
    assert_eq!(told["changes"][0]["after"]["resources"], export.resources.len());
    assert!(!told.to_string().contains("sha256"));

    // As long as the first is there, its key is not another's.
    let read: Export = serde_json::from_str(&text).unwrap();
    let copy = room.control.import(&of("copy"), read.clone(), &by("op")).await;
    assert!(matches!(copy, Err(ControlError::Refused(_))), "{copy:?}");
    assert!(matches!(room.control.organisation(&of("copy")).await, Err(ControlError::NotFound(_))));
    assert!(matches!(
        room.control.import(&of("acme"), read.clone(), &by("op")).await,
        Err(ControlError::Exists(_))
    ));

    room.control.suspend(&of("acme"), &by("op")).await.unwrap();
    room.control.erase(&of("acme"), &by("op")).await.unwrap();
    room.control.import(&of("acme"), read, &by("op")).await.unwrap();
    assert_eq!(room.control.export(&of("acme"), &by("ann")).await.unwrap(), export);
    assert_eq!(format!("{:?}", document(&room, "acme").await), said);
}

fn resource(kind: &str, name: &str, document: serde_json::Value) -> ExportedResource {
    ExportedResource { kind: kind.to_owned(), id: name.to_owned(), document }
}

async fn an_import_of_any_size_is_whole_or_nothing(world: World) {
    let room = Room::with_acme(world).await;
    let many = WRITES_MAX + 200;
    let mut resources: Vec<_> =
        (0..many).map(|at| resource("groups", &format!("g{at}"), json!({}))).collect();
    let rule = json!({ "rules": [{ "name": "a", "groups": ["g1199"], "action": "log" }] });
    resources.push(resource("policy-chain", "default", rule));
    resources.push(resource("status", "default", json!({ "suspended": false })));
    let export = |resources| Export { format: 1, organisation: "big".to_owned(), resources };
    room.control.import(&of("big"), export(resources.clone()), &by("op")).await.unwrap();
    let whole = document(&room, "big").await;
    assert_eq!((whole.groups.len(), whole.suspended), (many, false));

    let rule = json!({ "rules": [{ "name": "a", "groups": ["none"], "action": "log" }] });
    resources.push(resource("model-access", "default", rule));
    wrong(room.control.import(&of("other"), export(resources), &by("op")).await);
    assert!(matches!(room.control.organisation(&of("other")).await, Err(ControlError::NotFound(_))));
    let unknown = export(vec![resource("providers", "p", json!({}))]);
    assert_eq!(wrong(room.control.import(&of("other"), unknown, &by("op")).await)[0].0, "/resources/0/kind");
    let newer = Export { format: 2, ..export(Vec::new()) };
    assert_eq!(wrong(room.control.import(&of("other"), newer, &by("op")).await)[0].0, "/format");
}

async fn an_erased_organisation_is_gone(world: World) {
    let room = Room::with_acme(world).await;
    let served = room.control.erase(&of("acme"), &by("op")).await.unwrap_err();
    assert!(matches!(&served, ControlError::Refused(told) if told.contains("suspend it first")), "{served}");
    assert!(room.control.organisation(&of("acme")).await.is_ok());
    room.control.suspend(&of("acme"), &by("op")).await.unwrap();
    room.control.erase(&of("acme"), &by("op")).await.unwrap();
    assert!(matches!(room.get(&acme(), "settings", "default").await, Err(ControlError::NotFound(_))));
    assert!(matches!(room.control.export(&of("acme"), &by("ann")).await, Err(ControlError::NotFound(_))));
    assert!(matches!(room.control.erase(&of("acme"), &by("op")).await, Err(ControlError::NotFound(_))));
    let groups = row(&acme(), "groups").stored();
    let raw = room.control.store().tenant(&of("acme")).get(&groups, &id("x")).await;
    assert!(matches!(raw, Err(StoreError::NoOrganisation(_))));
    let told: Vec<_> = room
        .journal(&Owner::Platform)
        .await
        .into_iter()
        .map(|entry| entry["changes"][0]["after"].clone())
        .collect();
    assert!(told.contains(&json!({ "begun": "erase" })), "that it was is known: {told:?}");
    // Another one may have the name, and finds nothing.
    room.provision("acme").await;
    assert_eq!(room.journal(&acme()).await.len(), 1);
}

async fn organisations_are_listed(world: World) {
    let room = Room::new(world).await;
    for name in ["b", "a", "c"] {
        room.provision(name).await;
    }
    room.control.suspend(&of("b"), &by("op")).await.unwrap();
    let listed = room.control.organisations(None, 2).await.unwrap();
    let shown: Vec<_> =
        listed.iter().map(|one| (one.id.as_str(), one.name.as_str(), one.suspended)).collect();
    assert_eq!(shown, [("a", "a itself", false), ("b", "b itself", true)]);
    assert_eq!(room.control.organisations(Some(&of("b")), 2).await.unwrap().len(), 1);
    let again = room.control.provision(&of("a"), &Provision::default(), &by("op")).await;
    assert!(matches!(again, Err(ControlError::Exists(_))));
    assert!(room.control.organisation(&of("a")).await.is_ok(), "and the first is still there");
}
