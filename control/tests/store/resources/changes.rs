//! A change is accepted whole, for what its writer had read, and only if all of it compiles.

use super::{Room, acme, by, id, of, organisation, put, row, wrong};
use crate::world::World;
use palisade_control::resources::{ControlError, Edit, Expected, KINDS, Provision, Side, kind};
use palisade_control::store::Owner;
use serde_json::json;

on_both! {
    a_resource_lives_by_its_versions
    what_is_wrong_is_said_with_its_place
    what_a_proxy_could_not_load_is_not_stored
    two_changes_that_do_not_fit_together_are_never_both_accepted
    writers_of_different_resources_all_get_through
    nobody_reaches_what_is_anothers
    each_change_is_in_the_journal_and_no_other
    several_edits_are_made_together_or_not_at_all
    what_an_owner_has_stays_small_enough_to_be_changed
}

async fn what_an_owner_has_stays_small_enough_to_be_changed(world: World) {
    let room = Room::with_acme(world).await;
    let (acme, groups) = (acme(), row(&acme(), "groups"));
    let large = |name: &str, megabytes: usize| Edit::Put {
        kind: groups,
        id: id(name),
        expected: Expected::New,
        document: json!({ "name": name.repeat(megabytes << 20) }),
    };
    let four = ["a", "b", "c", "d"].map(|name| large(name, 15));
    room.control.apply(&acme, &four, &ANN).await.unwrap();
    for more in [large("e", 8), large("f", 4)] {
        let told = room.control.apply(&acme, std::slice::from_ref(&more), &ANN).await.unwrap_err();
        assert!(
            matches!(&told, ControlError::TooLarge(said) if said.ends_with("delete some first")),
            "{told}"
        );
        let told = room.control.check(&acme, &[more]).await.unwrap_err();
        assert!(matches!(told, ControlError::TooLarge(_)), "a dry run says so too: {told}");
    }
    // Whoever is there can go back, and be stopped.
    room.control.suspend(&organisation("acme"), &ANN).await.unwrap();
    room.control.delete(&acme, groups, &id("a"), Expected::Version(1), &ANN).await.unwrap();
    room.control.apply(&acme, &[large("e", 1)], &ANN).await.unwrap();
}

async fn a_resource_lives_by_its_versions(world: World) {
    let room = Room::with_acme(world).await;
    let (acme, groups) = (acme(), row(&acme(), "groups"));
    let made = room.write(&acme, "groups", "red", Expected::New, json!({})).await.unwrap();
    assert_eq!((made.id.as_str(), made.version, &made.document), ("red", 1, &json!({})));
    let again = room.write(&acme, "groups", "red", Expected::New, json!({})).await.unwrap_err();
    assert_eq!(again.to_string(), "there is a `red` among the `groups` already");
    let stale = room.write(&acme, "groups", "red", Expected::Version(7), json!({})).await.unwrap_err();
    assert!(matches!(stale, ControlError::Stale { current: 1 }), "{stale}");
    let renamed = room
        .write(&acme, "groups", "red", Expected::Version(1), json!({ "name": "Red ones" }))
        .await
        .unwrap();
    assert_eq!(room.get(&acme, "groups", "red").await.unwrap(), renamed);
    assert_eq!(renamed.version, 2);

    let patch = |expected, patch: &'static str| {
        room.control.patch(&acme, groups, &RED, expected, patch.as_bytes(), &ANN)
    };
    let patched = patch(Expected::Version(2), r#"{"name":null}"#).await.unwrap();
    assert_eq!((patched.version, patched.document), (3, json!({})));
    let stale = patch(Expected::Version(2), r#"{"name":"x"}"#).await.unwrap_err();
    assert!(matches!(stale, ControlError::Stale { current: 3 }));

    for name in ["blue", "green"] {
        room.put(&acme, "groups", name, json!({})).await.unwrap();
    }
    let first = room.control.list(&acme, groups, None, 2).await.unwrap();
    let names = |views: &palisade_control::resources::Views| -> Vec<String> {
        views.resources.iter().map(|view| view.id.clone()).collect()
    };
    assert_eq!(
        (names(&first), first.next.as_deref()),
        (vec!["blue".to_owned(), "green".to_owned()], Some("green"))
    );
    let rest = room.control.list(&acme, groups, Some(&id("green")), 2).await.unwrap();
    assert_eq!((names(&rest), rest.next), (vec!["red".to_owned()], None));

    let delete = |expected| room.control.delete(&acme, groups, &RED, expected, &ANN);
    assert!(matches!(delete(Expected::Version(1)).await, Err(ControlError::Stale { current: 3 })));
    delete(Expected::Version(3)).await.unwrap();
    assert!(matches!(delete(Expected::Version(3)).await, Err(ControlError::NotFound(_))));
    assert!(matches!(room.get(&acme, "groups", "red").await, Err(ControlError::NotFound(_))));
}

static RED: std::sync::LazyLock<palisade_control::store::ResourceId> = std::sync::LazyLock::new(|| id("red"));
static ANN: std::sync::LazyLock<palisade_control::resources::Actor> = std::sync::LazyLock::new(|| by("ann"));

async fn what_is_wrong_is_said_with_its_place(world: World) {
    let room = Room::with_acme(world).await;
    let places = |errors: Vec<(String, String)>| -> Vec<String> {
        errors.into_iter().map(|(place, _)| place).collect()
    };
    for (kind, document, expected) in [
        ("groups", json!({ "nam": "x" }), vec!["/nam"]),
        ("groups", json!([]), vec![""]),
        ("api-keys", json!({ "name": "x" }), vec!["/sha256"]),
        ("api-keys", json!({ "sha256": "abc" }), vec!["/sha256"]),
        ("api-keys", json!({ "sha256": "0".repeat(64), "groups": ["none"] }), vec!["/groups/0"]),
        ("api-keys", json!({ "sha256": "0".repeat(64), "expires": "soon" }), vec!["/expires"]),
        ("quotas", json!({ "subject": "everyone" }), vec!["/subject"]),
        ("quotas", json!({ "subject": "key", "tokens_per_day": -1 }), vec!["/tokens_per_day"]),
    ] {
        let told = wrong(room.put(&acme(), kind, "x", document.clone()).await);
        assert_eq!(places(told), expected, "{kind} {document}");
    }
    for (kind, document, expected) in [
        ("dlp-settings", json!({ "threshold": 2 }), vec!["/threshold"]),
        ("dlp-settings", json!({ "keyword_lists": [], "treshold": 1 }), vec!["/keyword_lists", "/treshold"]),
        ("geo-policy", json!({ "deny": { "countries": ["DE", "UK"] } }), vec!["/deny/countries/1"]),
        ("policy-chain", json!({ "rules": [{ "name": "a", "action": "explode" }] }), vec!["/rules/0/action"]),
        ("ip-allowlist", json!({ "addresses": ["300.0.0.1"] }), vec!["/addresses/0"]),
    ] {
        let told = wrong(room.put(&acme(), kind, "default", document.clone()).await);
        assert_eq!(places(told), expected, "{kind} {document}");
    }
    let told = wrong(room.put(&acme(), "settings", "other", json!({})).await);
    assert_eq!(told[0].1, "there is one `settings`, and its id is `default`");
    let text = room.control.put(&acme(), row(&acme(), "groups"), &id("x"), Expected::New, b"{", &ANN).await;
    assert!(wrong(text)[0].1.starts_with("it is not JSON: "));
    let long = vec![b' '; palisade_control::store::DOCUMENT_BYTES_MAX + 1];
    let long = room.control.put(&acme(), row(&acme(), "groups"), &id("x"), Expected::New, &long, &ANN).await;
    assert!(matches!(long, Err(ControlError::TooLarge(_))));
    assert_eq!(room.control.list(&acme(), row(&acme(), "groups"), None, 9).await.unwrap().resources, []);
}

async fn what_a_proxy_could_not_load_is_not_stored(world: World) {
    let room = Room::with_acme(world).await;
    let route = |target: &str| json!({ "routes": [{ "name": "r", "models": ["*"], "targets": [target] }] });
    let told = wrong(room.put(&acme(), "routes", "default", route("nobody")).await);
    assert!(told[0].1.contains("no provider is named `nobody`"), "{told:?}");
    assert!(matches!(room.get(&acme(), "routes", "default").await, Err(ControlError::NotFound(_))));
    room.put(&acme(), "routes", "default", route("p")).await.unwrap();

    room.put(&acme(), "groups", "red", json!({})).await.unwrap();
    let rule = json!({ "rules": [{ "name": "a", "groups": ["red"], "action": "log" }] });
    room.put(&acme(), "policy-chain", "default", rule).await.unwrap();
    let gone = room.control.delete(&acme(), row(&acme(), "groups"), &RED, Expected::Any, &ANN).await;
    assert!(wrong(gone)[0].1.contains("`red`"));
    assert!(room.get(&acme(), "groups", "red").await.is_ok());
    let file = json!({ "entity": "X", "category": "business", "file": "lists/other/x" });
    let told = wrong(room.put(&acme(), "dictionaries", "own.x", file).await);
    assert!(told[0].1.contains("lies in the data folder under `lists/acme/`"), "{told:?}");
    let list = json!({ "entity": "PROJECT", "category": "business", "terms": ["Aurora Borealis"] });
    room.put(&acme(), "dictionaries", "own.projects", list).await.unwrap();
    assert_eq!(room.policy().await.tenant_count(), 1);
}

async fn two_changes_that_do_not_fit_together_are_never_both_accepted(world: World) {
    let room = Room::with_acme(world).await;
    let (mut deleted, mut used) = (0, 0);
    for turn in 0..12 {
        room.put(&acme(), "groups", "red", json!({})).await.unwrap();
        let rule = json!({ "rules": [{ "name": "a", "groups": ["red"], "action": "log" }] });
        let use_it = async { room.put(&acme(), "policy-chain", "default", rule).await };
        let (acme, groups) = (acme(), row(&acme(), "groups"));
        let delete_it = room.control.delete(&acme, groups, &RED, Expected::Any, &ANN);
        let (use_it, delete_it) = if turn % 2 == 0 {
            tokio::join!(use_it, delete_it)
        } else {
            let (delete_it, use_it) = tokio::join!(delete_it, use_it);
            (use_it, delete_it)
        };
        assert!(use_it.is_ok() != delete_it.is_ok(), "{use_it:?} {delete_it:?}");
        deleted += usize::from(delete_it.is_ok());
        used += usize::from(use_it.is_ok());
        room.policy().await;
        room.put(&acme, "policy-chain", "default", json!({})).await.unwrap();
    }
    assert_eq!(deleted + used, 12);
}

async fn writers_of_different_resources_all_get_through(world: World) {
    let room = Room::with_acme(world).await;
    // A second process, as far as turns are concerned, where the engine has room for one.
    let other = room.second();
    let acme = acme();
    let writes = (0..16).map(|at| {
        let control = if at % 2 == 0 { &room.control } else { &other };
        let acme = &acme;
        async move {
            let edit = put(acme, "groups", &format!("g{at}"), Expected::New, json!({}));
            control.apply(acme, &[edit], &ANN).await
        }
    });
    let mut made = Vec::new();
    for written in all(writes.collect()).await {
        match written {
            Ok(one) => made.push(one.revision),
            Err(ControlError::Contended) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let groups = room.control.list(&acme, row(&acme, "groups"), None, 100).await.unwrap().resources;
    assert_eq!(groups.len(), made.len(), "what was said to be accepted is there");
    assert!(made.len() >= 8, "writers of one process never starve: {}", made.len());
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), groups.len(), "each has a revision of its own");
}

/// All of them at once.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    futures.into_iter().map(|(_, output)| output.unwrap()).collect()
}

async fn nobody_reaches_what_is_anothers(world: World) {
    let room = Room::with_acme(world).await;
    room.provision("beta").await;
    let beta = Owner::Organisation(of("beta"));
    for row in KINDS.iter().filter(|row| row.side == Side::Organisation) {
        let name = id(if row.is_one() { "default" } else { "secret-plan" });
        let theirs = room.control.get(&beta, row, &name).await;
        if row.is_one() && theirs.is_ok() {
            continue;
        }
        assert!(matches!(theirs, Err(ControlError::NotFound(_))), "{}", row.name);
    }
    room.put(&acme(), "groups", "secret-plan", json!({})).await.unwrap();
    let groups = row(&beta, "groups");
    let plan = id("secret-plan");
    assert!(matches!(room.control.get(&beta, groups, &plan).await, Err(ControlError::NotFound(_))));
    let patched = room.control.patch(&beta, groups, &plan, Expected::Version(1), b"{}", &ANN).await;
    assert!(matches!(patched, Err(ControlError::NotFound(_))));
    let deleted = room.control.delete(&beta, groups, &plan, Expected::Any, &ANN).await;
    assert!(matches!(deleted, Err(ControlError::NotFound(_))));
    assert_eq!(room.control.list(&beta, groups, None, 100).await.unwrap().resources, []);

    // An organisation has no kinds of the platform, nor those of other rooms.
    let providers = row(&Owner::Platform, "providers");
    let provider = Edit::Put { kind: providers, id: id("x"), expected: Expected::New, document: json!({}) };
    assert!(matches!(room.control.apply(&acme(), &[provider], &ANN).await, Err(ControlError::NotFound(_))));
    for name in ["journal", "key-claims", "accounts", "api-tokens", "providers", ""] {
        assert!(kind(Side::Organisation, name).is_none(), "{name}");
    }
    let nobody = Owner::Organisation(of("nobody"));
    assert!(matches!(room.put(&nobody, "groups", "x", json!({})).await, Err(ControlError::NotFound(_))));
    assert!(matches!(room.control.journal(&nobody, None, 1).await, Err(ControlError::NotFound(_))));
}

async fn each_change_is_in_the_journal_and_no_other(world: World) {
    let room = Room::new(world).await;
    let asked = Provision { name: "Acme".to_owned(), template: None };
    room.control.provision(&of("acme"), &asked, &by("operator")).await.unwrap();
    room.put(&acme(), "groups", "red", json!({ "name": "one" })).await.unwrap();
    room.put(&acme(), "groups", "red", json!({ "name": "two" })).await.unwrap();
    room.put(&acme(), "groups", "red", json!({ "nam": "three" })).await.unwrap_err();
    room.write(&acme(), "groups", "red", Expected::Version(1), json!({})).await.unwrap_err();
    room.control.delete(&acme(), row(&acme(), "groups"), &RED, Expected::Any, &by("bob")).await.unwrap();
    let entries = room.journal(&acme()).await;
    let told: Vec<_> =
        entries.iter().skip(1).map(|entry| (entry["actor"].clone(), entry["changes"].clone())).collect();
    let change = |verb, before, after| json!([{ "kind": "groups", "id": "red", "verb": verb, "before": before, "after": after }]);
    let (one, two) = (json!({ "name": "one" }), json!({ "name": "two" }));
    assert_eq!(
        told,
        [
            (json!("ann"), change("create", json!(null), one.clone())),
            (json!("ann"), change("update", one, two.clone())),
            (json!("bob"), change("delete", two, json!(null))),
        ]
    );
    assert_eq!(entries[1]["at"], json!("2030-01-02T00:00:00.000Z"));
    let first = &entries[0]["changes"];
    assert_eq!((&first[0]["kind"], &first[1]["kind"]), (&json!("settings"), &json!("status")));
    // Each entry stands under the revision of its change, and all revisions have one.
    let changes = room.control.store().tenant(&of("acme")).changes(0, 1_000).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry["revision"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(changes.revision, 4);
    let platform = room.journal(&Owner::Platform).await;
    assert_eq!(platform[0]["changes"][0]["after"], json!({ "begun": "provision" }));
}

async fn several_edits_are_made_together_or_not_at_all(world: World) {
    let room = Room::with_acme(world).await;
    let key = |groups: &[&str]| json!({ "sha256": "ab".repeat(32), "groups": groups });
    let group = || put(&acme(), "groups", "red", Expected::New, json!({}));
    let edits = [group(), put(&acme(), "api-keys", "k", Expected::New, key(&["red", "blue"]))];
    let told = wrong(room.control.apply(&acme(), &edits, &ANN).await);
    assert!(told[0].1.contains("`blue`"), "{told:?}");
    assert!(matches!(room.get(&acme(), "groups", "red").await, Err(ControlError::NotFound(_))));
    let twice = wrong(room.control.apply(&acme(), &[group(), group()], &ANN).await);
    assert!(twice[0].1.contains("is written twice"));
    let told = wrong(
        room.control
            .apply(&acme(), &[group(), put(&acme(), "api-keys", "k", Expected::New, json!({}))], &ANN)
            .await,
    );
    assert_eq!(told, [("/sha256".to_owned(), "`k` among the `api-keys`: missing field `sha256`".to_owned())]);
    // The key comes first, and stands on the group all the same.
    let edits = [put(&acme(), "api-keys", "k", Expected::New, key(&["red"])), group()];
    let made = room.control.apply(&acme(), &edits, &ANN).await.unwrap();
    let revisions: Vec<u64> = made.views.iter().map(|view| view.as_ref().unwrap().revision).collect();
    assert_eq!(revisions, [made.revision, made.revision]);
}
