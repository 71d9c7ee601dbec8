//! Is nothing changed that was not read, and does each mistake say what it is?

use super::{Badge, Desk};
use crate::world::World;
use serde_json::{Value, json};

on_both! {
    a_change_is_of_the_version_that_was_read
    pages_follow_each_other
    each_mistake_says_what_it_is
    a_whole_document_is_applied_told_and_pruned
    a_dry_run_says_why_it_would_be_refused
    a_dry_run_knows_whose_a_key_is
    suspending_is_one_thing_however_it_is_written
    a_document_may_bring_its_secrets
    what_is_written_wrong_is_named_by_its_field
}

const GROUPS: &str = "/api/v1/orgs/acme/groups";

async fn a_change_is_of_the_version_that_was_read(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let bob = "/api/v1/orgs/acme/users/bob";
    let made = desk.make(&ann, bob, &json!({ "name": "Bob" })).await.is(200);
    assert_eq!((made.header("etag"), made.json()), (Some("\"1\""), json!({ "name": "Bob" })));
    desk.make(&ann, bob, &json!({})).await.is(412);
    let body = b"{}";
    let typed = ann.with("content-type", "application/json");
    let told = desk.send(&typed, "PUT", bob, body).await.is(428);
    assert_eq!(told.json()["type"], "urn:palisade:problem:precondition-required");
    let told = desk.send(&typed.with("if-match", "\"7\""), "PUT", bob, body).await.is(412);
    assert_eq!(told.json()["version"], 1);
    desk.send(&typed.with("if-match", "\"1\""), "PUT", bob, body).await.is(200);
    let told = desk.patch(&ann, bob, 2, &json!({ "enabled": false })).await.is(200);
    assert_eq!(told.header("etag"), Some("\"3\""));
    desk.patch(&ann, bob, 2, &json!({ "enabled": null })).await.is(412);
    let read = desk.get(&ann.with("if-none-match", "\"3\""), bob).await.is(304);
    assert_eq!((read.header("etag"), read.text().as_str()), (Some("\"3\""), "304 "));
    desk.get(&ann.with("if-none-match", "\"2\""), bob).await.is(200);
    desk.send(&ann, "DELETE", bob, b"").await.is(428);
    desk.delete(&ann, bob, 2).await.is(412);
    desk.delete(&ann, bob, 3).await.is(204);
    desk.delete(&ann, bob, 3).await.is(404);
    // Whoever still holds the version of the former one does not change its namesake.
    let made = desk.make(&ann, bob, &json!({})).await.is(200);
    assert_eq!(made.header("etag"), Some("\"5\""));
    // Of a kind that has one, the kind is its place.
    desk.make(&ann, "/api/v1/orgs/acme/ip-allowlist", &json!({ "addresses": ["192.0.2.0/24"] }))
        .await
        .is(200);
    desk.get(&ann, "/api/v1/orgs/acme/ip-allowlist").await.is(200);
    desk.get(&ann, "/api/v1/orgs/acme/ip-allowlist/default").await.is(404);
}

async fn pages_follow_each_other(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    for name in ["a", "b", "c", "d", "e"] {
        desk.make(&ann, &format!("{GROUPS}/{name}"), &json!({})).await.is(200);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = desk.get(&ann, &format!("{GROUPS}?limit=2{after}")).await.is(200).json();
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    for query in ["limit=0", "limit=1001", "limit=x", "after=", "after=%2e%2e", "page=2", "limit=1&limit=2"] {
        desk.get(&ann, &format!("{GROUPS}?{query}")).await.is(400);
    }
    desk.get(&ann, &format!("{GROUPS}/a?x=1")).await.is(400);
}

async fn each_mistake_says_what_it_is(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let dev = format!("{GROUPS}/dev");
    let new = ann.with("if-none-match", "*");
    let json = new.with("content-type", "application/json");
    let told = desk.send(&json, "PUT", &dev, br#"{"name":"a","name":"b"}"#).await.is(400);
    assert_eq!(told.json()["errors"][0]["pointer"], "/name");
    let deep = "[".repeat(50) + &"]".repeat(50);
    desk.send(&json, "PUT", &dev, format!("{{\"name\":{deep}}}").as_bytes()).await.is(400);
    for body in [&b""[..], b"{", b"{}{}", b"\xff", b"\xef\xbb\xbf{}", b"{\"a\":NaN}"] {
        desk.send(&json, "PUT", &dev, body).await.is(400);
    }
    for body in [&b"[]"[..], b"7", b"null", b"\"x\""] {
        desk.send(&json, "PUT", &dev, body).await.is(422);
    }
    for media_type in [
        "text/plain",
        "application/merge-patch+json",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded",
    ] {
        desk.send(&new.with("content-type", media_type), "PUT", &dev, b"{}").await.is(415);
    }
    desk.send(&new, "PUT", &dev, b"{}").await.is(415);
    desk.send(&json.with("content-encoding", "gzip"), "PUT", &dev, b"{}").await.is(415);
    let told = desk.send(&ann.with("if-match", "\"1\""), "PATCH", &dev, b"{}").await.is(415);
    assert_eq!(told.header("accept-patch"), Some("application/merge-patch+json"));
    let told = desk
        .post(&ann, "/api/v1/session", &json!({ "name": "x".repeat(70_000), "password": "" }))
        .await
        .is(413);
    assert_eq!(told.json()["type"], "urn:palisade:problem:too-large");
    let told = desk.post(&ann, &dev, &json!({})).await.is(405);
    assert_eq!(told.header("allow"), Some("GET, PUT, PATCH, DELETE, HEAD"));
    for method in ["OPTIONS", "TRACE", "PURGE"] {
        desk.send(&ann, method, GROUPS, b"").await.is(405);
    }
    desk.send(&ann, "HEAD", GROUPS, b"").await.is(200);
    for nowhere in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/me",
        "/api/v1/orgs/acme/",
        "/api/v1/orgs/acme/nothing",
        "/api/v1/orgs/acme/providers",
        "/api/v1/orgs/acme/groups/",
        "/api/v1/orgs/acme/groups/..",
        "/api/v1/orgs/acme/groups/%2e%2e",
        "/api/v1/orgs/acme/groups/a%2fb",
        "/api/v1/orgs/acme/groups/a/b",
        "/api/v1/orgs/acme/../other/groups",
        "/api/v1/orgs/ACME/groups",
        "/api/v1/orgs/%00/groups",
        "/api/v1/orgs/@platform/groups",
        "//api/v1/me",
        "/api/v1/me/",
        "/api/v1/orgs/acme/groups/%ff",
    ] {
        desk.get(&ann, nowhere).await.is(404);
    }
    let told = desk.make(&ann, &format!("{GROUPS}/-x"), &json!({})).await.is(422);
    assert!(told.json()["detail"].as_str().unwrap().contains("begins with a letter"));
}

async fn what_is_written_wrong_is_named_by_its_field(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let told = desk.make(&ann, &format!("{GROUPS}/dev"), &json!({ "nme": "" })).await.is(422);
    assert_eq!(told.json()["errors"][0]["pointer"], "/nme");
    // What would not compile is not stored.
    let unknown = json!({ "groups": ["nobody"] });
    let told = desk.make(&ann, "/api/v1/orgs/acme/users/bob", &unknown).await.is(422);
    assert!(told.text().contains("nobody"), "{}", told.text());
    for (target, body, pointer) in [
        ("/api/v1/orgs/acme/api-keys", json!({ "name": "x", "expires": "soon" }), "/expires"),
        ("/api/v1/orgs/acme/api-keys", json!({ "name": 7 }), "/name"),
        ("/api/v1/orgs/acme/api-keys", json!({}), "/name"),
        ("/api/v1/orgs/acme/api-tokens", json!({ "name": "x", "lifetime": "90" }), "/lifetime"),
        (
            "/api/v1/orgs/acme/api-tokens",
            json!({ "name": "x", "lifetime": "9d", "permissions": ["groups.read", "all"] }),
            "/permissions/1",
        ),
        ("/api/v1/orgs/acme/invitations", json!({ "name": "x", "role": "king" }), "/role"),
    ] {
        let told = desk.post(&ann, target, &body).await.is(422);
        assert_eq!(told.json()["errors"][0]["pointer"], pointer, "{}", told.text());
    }
    for (body, pointer) in [
        (json!({ "id": "Acme" }), "/id"),
        (json!({ "id": "b", "admin": "Ann" }), "/admin"),
        (json!({ "id": "b", "template": "/" }), "/template"),
    ] {
        let told = desk.post(&operator, "/api/v1/orgs", &body).await.is(422);
        assert_eq!(told.json()["errors"][0]["pointer"], pointer, "{}", told.text());
    }
    desk.post(&operator, "/api/v1/orgs", &json!({ "id": "acme" })).await.is(409);
    // A password in the wrong place is not repeated.
    let body = json!({ "name": "ann", "password": ["hunter2hunter2hunter2hunter2"] });
    let told = desk.post(&Badge::nobody(), "/api/v1/session", &body).await.is(422);
    assert!(!told.text().contains("hunter2"), "{}", told.text());
}

async fn a_whole_document_is_applied_told_and_pruned(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let apply = "/api/v1/orgs/acme/apply";
    let document = json!({ "id": "acme", "name": "Acme", "groups": [{ "name": "dev" }, { "name": "ops" }] });
    let dry = json!({ "document": document, "dry_run": true });
    let told = desk.post(&ann, apply, &dry).await.is(200).json();
    assert_eq!(told["revision"], Value::Null);
    let verbs = |told: &Value| -> Vec<String> {
        let changes = told["changes"].as_array().unwrap().iter();
        changes.map(|one| format!("{} {}/{}", one["verb"], one["kind"], one["id"]).replace('"', "")).collect()
    };
    assert!(verbs(&told).contains(&"create groups/dev".to_owned()), "{told}");
    desk.get(&ann, &format!("{GROUPS}/dev")).await.is(404);
    let told = desk.post(&ann, apply, &json!({ "document": document })).await.is(200).json();
    assert!(told["revision"].is_u64());
    desk.get(&ann, &format!("{GROUPS}/dev")).await.is(200);
    let told = desk.post(&ann, apply, &json!({ "document": document })).await.is(200).json();
    assert_eq!((verbs(&told), &told["revision"]), (Vec::new(), &Value::Null), "{told}");
    let fewer = json!({ "id": "acme", "name": "Acme!", "groups": [{ "name": "ops" }] });
    let told = desk.post(&ann, apply, &json!({ "document": fewer })).await.is(200).json();
    assert_eq!(verbs(&told), ["update settings/default"]);
    assert_eq!(
        (&told["changes"][0]["members"], &told["unnamed"][0]["id"]),
        (&json!(["name"]), &json!("dev"))
    );
    let told = desk.post(&ann, apply, &json!({ "document": fewer, "prune": true })).await.is(200).json();
    assert_eq!(verbs(&told), ["delete groups/dev"]);
    desk.get(&ann, &format!("{GROUPS}/dev")).await.is(404);
    let wrong = json!({ "document": { "id": "acme", "groups": [{ "nme": "dev" }] } });
    let told = desk.post(&ann, apply, &wrong).await.is(422).json();
    assert_eq!(told["errors"][0]["pointer"], "/document/groups/0/nme", "{told}");
    let mia = desk.joined(&ann, "acme", "mia", "member", &[]).await;
    let elsewhere = json!({ "document": { "id": "other" }, "prune": true });
    let told = desk.post(&ann, apply, &elsewhere).await.is(422).json();
    assert_eq!(told["errors"][0]["pointer"], "/document/id", "{told}");
    desk.post(&mia, apply, &dry).await.is(403);
    desk.post(&operator, apply, &dry).await.is(403);
    // A token of the settings alone cannot change groups.
    let new = json!({ "name": "ci", "lifetime": "9d", "permissions": ["settings.update"] });
    let token = desk.post(&ann, "/api/v1/orgs/acme/api-tokens", &new).await.is(201).json();
    let told = desk.post(&Badge::bearer(token["secret"].as_str().unwrap()), apply, &dry).await.is(403).json();
    assert_eq!(told["permission"], "groups.create");
}

async fn a_dry_run_says_why_it_would_be_refused(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let routes = json!([{ "name": "r", "models": ["m"], "targets": ["nowhere"] }]);
    let document = json!({ "id": "acme", "routes": routes });
    let apply = "/api/v1/orgs/acme/apply";
    let told = desk.post(&ann, apply, &json!({ "document": document, "dry_run": true })).await.is(200).json();
    assert!(told["problems"][0]["message"].as_str().unwrap().contains("`nowhere`"), "{told}");
    assert_eq!((&told["changes"][0]["kind"], &told["revision"]), (&json!("routes"), &Value::Null));
    desk.get(&ann, "/api/v1/orgs/acme/routes").await.is(404);
    let told = desk.post(&ann, apply, &json!({ "document": document })).await.is(422);
    assert!(told.text().contains("`nowhere`"), "{}", told.text());
    let fine = json!({ "document": { "id": "acme", "groups": [{ "name": "dev" }] }, "dry_run": true });
    let told = desk.post(&ann, apply, &fine).await.is(200).json();
    assert_eq!((&told["problems"], &told["changes"][0]["id"]), (&json!([]), &json!("dev")));
}

async fn a_dry_run_knows_whose_a_key_is(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let other = desk.provisioned(&operator, "other").await;
    let key = json!({ "id": "0123456789", "name": "chat", "sha256": "ab".repeat(32) });
    let document = |id: &str| json!({ "id": id, "keys": [key] });
    let ask = |id: &str, dry_run: bool| json!({ "document": document(id), "dry_run": dry_run });
    let told = desk.post(&ann, "/api/v1/orgs/acme/apply", &ask("acme", true)).await.is(200).json();
    assert_eq!(told["problems"], json!([]));
    desk.post(&ann, "/api/v1/orgs/acme/apply", &ask("acme", false)).await.is(200);
    let dry = desk.post(&other, "/api/v1/orgs/other/apply", &ask("other", true)).await.is(200).json();
    let real = desk.post(&other, "/api/v1/orgs/other/apply", &ask("other", false)).await.is(409).json();
    assert_eq!(dry["problems"], json!([{ "pointer": "", "message": real["detail"] }]));
    assert!(real["detail"].as_str().unwrap().contains("another organisation"), "{real}");
    assert!(!dry.to_string().contains("acme"), "nobody is told whose: {dry}");
}

async fn suspending_is_one_thing_however_it_is_written(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let mut ann = desk.provisioned(&operator, "acme").await;
    let status = "/api/v1/orgs/acme/status";
    for way in ["suspend", "put", "patch"] {
        desk.get(&ann, "/api/v1/orgs/acme/groups").await.is(200);
        let version = desk.get(&operator, status).await.is(200);
        let version = version.header("etag").unwrap().to_owned();
        let matching = operator.with("if-match", &version);
        match way {
            "suspend" => desk.send(&operator, "POST", "/api/v1/orgs/acme/suspend", b"").await.is(204),
            "put" => {
                let badge = matching.with("content-type", "application/json");
                desk.send(&badge, "PUT", status, br#"{"suspended":true}"#).await.is(200)
            }
            _ => {
                let badge = matching.with("content-type", "application/merge-patch+json");
                desk.send(&badge, "PATCH", status, br#"{"suspended":true}"#).await.is(200)
            }
        };
        desk.get(&ann, "/api/v1/orgs/acme/groups").await.is(401);
        desk.send(&operator, "POST", "/api/v1/orgs/acme/resume", b"").await.is(204);
        // Sessions of before stay ended; whoever signs in again is in.
        desk.get(&ann, "/api/v1/orgs/acme/groups").await.is(401);
        ann = desk.signed_in(Some("acme"), "ann").await;
    }
}

async fn a_document_may_bring_its_secrets(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let provider = |key: &Value| json!({ "name": "p", "base_url": "https://p.example", "models": ["*"], "api_key": key });
    let apply = "/api/v1/platform/apply";
    let with = |key: Value| json!({ "document": { "providers": [provider(&key)] } });
    let told = desk.post(&operator, apply, &with(json!({ "value": "sk-a-long-secret" }))).await.is(200);
    assert!(!told.text().contains("sk-a-long"), "{}", told.text());
    let told =
        desk.post(&operator, apply, &with(json!({ "value": "sk-a-long-secret" }))).await.is(200).json();
    assert_eq!((&told["changes"], &told["revision"]), (&json!([]), &Value::Null));
    let told = desk.post(&operator, apply, &with(json!({ "value": "sk-another" }))).await.is(200).json();
    assert_eq!(told["changes"][0]["members"], json!(["api_key"]));
    for wrong in [
        json!({ "value": 7 }),
        json!({ "value": "" }),
        json!({ "value": "sk-a-long-secret", "env": "A_API_KEY" }),
    ] {
        let told = desk.post(&operator, apply, &with(wrong)).await.is(422);
        assert_eq!(told.json()["errors"][0]["pointer"], "/document/providers/0/api_key");
        assert!(!told.text().contains("sk-a-long"), "{}", told.text());
    }
}
