//! From the first start to a key, and what each may do with it.

use super::{Badge, Desk, PASSWORD};
use crate::world::World;
use serde_json::{Value, json};

on_both! {
    what_happened_is_read_by_whom_it_concerns
    from_the_first_start_to_a_key
    a_member_has_their_own_keys_and_no_others
    a_manager_of_groups_gets_no_further_through_somebody_elses_groups
    a_session_a_token_and_a_key_are_not_each_other
    a_suspended_organisation_is_at_rest_and_resumes_as_it_was
    an_organisation_is_exported_imported_and_erased
}

async fn from_the_first_start_to_a_key(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let me = desk.get(&ann, "/api/v1/me").await.is(200).json();
    assert_eq!((&me["organisation"], &me["is_token"]), (&json!("acme"), &json!(false)));
    desk.make(&ann, "/api/v1/orgs/acme/groups/dev", &json!({})).await.is(200);
    let new = json!({ "name": "app", "groups": ["dev"], "expires": "2035-01-31T00:00:00Z" });
    let made = desk.post(&ann, "/api/v1/orgs/acme/api-keys", &new).await.is(201);
    let (key, id) =
        (made.json()["key"].as_str().unwrap().to_owned(), made.json()["id"].as_str().unwrap().to_owned());
    assert!(key.contains(&id), "{id}");
    let place = format!("/api/v1/orgs/acme/api-keys/{id}");
    let read = desk.get(&ann, &place).await.is(200);
    assert_eq!(read.json()["name"], "app");
    let secret = key.rsplit('_').next().unwrap();
    assert!(!read.text().contains(secret) && read.json()["sha256"] == "***", "{}", read.text());
    let list = desk.get(&ann, "/api/v1/orgs/acme/api-keys").await.is(200).json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["id"]), (1, &json!(id)));
    let rotate = ann.with("if-match", "\"1\"");
    let rotated =
        desk.post(&rotate, &format!("{place}/rotate"), &json!({ "grace": "24h" })).await.is(200).json();
    assert!(rotated["key"] != json!(key) && rotated["id"] != json!(id));
    assert_eq!(desk.get(&ann, &place).await.is(200).json()["expires"], "2027-01-16T08:00:00Z");
    desk.patch(&ann, &place, 2, &json!({ "enabled": false })).await.is(200);
    desk.delete(&ann, &place, 3).await.is(204);
    desk.get(&ann, &place).await.is(404);
    let journal = desk.get(&ann, "/api/v1/orgs/acme/journal?limit=1000").await.is(200);
    assert!(
        !journal.text().contains(secret) && journal.text().contains("account:acme/ann"),
        "{}",
        journal.text()
    );
    // Who runs the platform sees that it is there, and nothing of what is in it.
    desk.get(&operator, "/api/v1/orgs/acme").await.is(200);
    for what in ["groups", "api-keys", "journal", "policy-chain", "accounts", "export"] {
        let told = desk.get(&operator, &format!("/api/v1/orgs/acme/{what}")).await.is(403);
        assert!(told.json()["permission"].is_string(), "{}", told.text());
    }
}

async fn a_member_has_their_own_keys_and_no_others(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let keys = "/api/v1/orgs/acme/api-keys";
    desk.make(&ann, "/api/v1/orgs/acme/groups/dev", &json!({})).await.is(200);
    desk.make(&ann, "/api/v1/orgs/acme/groups/boss", &json!({})).await.is(200);
    let mia = desk.joined(&ann, "acme", "mia", "member", &["dev"]).await;
    let others = desk.post(&ann, keys, &json!({ "name": "others" })).await.is(201).json();
    let own = desk.post(&mia, keys, &json!({ "name": "own", "groups": ["dev"] })).await.is(201).json();
    assert_eq!(own["document"]["user"], "mia");
    let seen = desk.get(&mia, keys).await.is(200).json();
    assert_eq!((seen["items"].as_array().unwrap().len(), &seen["items"][0]["id"]), (1, &own["id"]));
    let others = format!("{keys}/{}", others["id"].as_str().unwrap());
    let own = format!("{keys}/{}", own["id"].as_str().unwrap());
    desk.get(&mia, &own).await.is(200);
    // What is somebody else's is not there.
    desk.get(&mia, &others).await.is(404);
    desk.patch(&mia, &others, 1, &json!({ "enabled": false })).await.is(404);
    desk.delete(&mia, &others, 1).await.is(404);
    desk.post(&mia.with("if-match", "\"1\""), &format!("{others}/rotate"), &json!({})).await.is(404);
    // And what is their own does not become a way to more.
    for more in [
        json!({ "name": "x", "user": "ann" }),
        json!({ "name": "x", "groups": ["boss"] }),
        json!({ "name": "x", "user": "mia", "groups": ["dev", "boss"] }),
    ] {
        let told = desk.post(&mia, keys, &more).await.is(403);
        assert_eq!(told.json()["permission"], "api-keys.create", "{more}");
    }
    for more in
        [json!({ "groups": ["boss"] }), json!({ "user": "ann" }), json!({ "sha256": "ab".repeat(32) })]
    {
        desk.patch(&mia, &own, 1, &more).await.is(403);
    }
    let forged = json!({ "name": "x", "user": "mia", "sha256": "ab".repeat(32) });
    desk.make(&mia, &format!("{keys}/Forged123456"), &forged).await.is(403);
    desk.patch(&mia, &own, 1, &json!({ "name": "renamed" })).await.is(200);
    desk.delete(&mia, &own, 2).await.is(204);
}

async fn a_manager_of_groups_gets_no_further_through_somebody_elses_groups(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let keys = "/api/v1/orgs/acme/api-keys";
    for group in ["dev", "boss"] {
        desk.make(&ann, &format!("/api/v1/orgs/acme/groups/{group}"), &json!({})).await.is(200);
    }
    desk.make(&ann, "/api/v1/orgs/acme/users/bob", &json!({ "groups": ["boss"] })).await.is(200);
    desk.make(&ann, "/api/v1/orgs/acme/users/dora", &json!({ "groups": ["dev"] })).await.is(200);
    let greta = desk.joined(&ann, "acme", "greta", "group_manager", &["dev"]).await;
    desk.post(&greta, keys, &json!({ "name": "x", "groups": ["dev"] })).await.is(201);
    desk.post(&greta, keys, &json!({ "name": "x", "groups": ["dev"], "user": "dora" })).await.is(201);
    // The key would have the groups of its user.
    desk.post(&greta, keys, &json!({ "name": "x", "groups": ["dev"], "user": "bob" })).await.is(403);
    let bobs =
        desk.post(&ann, keys, &json!({ "name": "x", "groups": ["dev"], "user": "bob" })).await.is(201).json();
    let bobs = format!("{keys}/{}", bobs["id"].as_str().unwrap());
    desk.get(&greta, &bobs).await.is(200);
    desk.post(&greta.with("if-match", "\"1\""), &format!("{bobs}/rotate"), &json!({})).await.is(403);
    let users = desk.get(&greta, "/api/v1/orgs/acme/users").await.is(200).json();
    let users: Vec<_> = users["items"].as_array().unwrap().iter().map(|user| &user["id"]).collect();
    assert_eq!(users, [&json!("dora")]);
    desk.patch(&greta, "/api/v1/orgs/acme/users/dora", 1, &json!({ "groups": ["boss"] })).await.is(403);
}

async fn a_session_a_token_and_a_key_are_not_each_other(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let new = json!({ "name": "ci", "lifetime": "90d", "permissions": ["groups.read"] });
    let made = desk.post(&ann, "/api/v1/orgs/acme/api-tokens", &new).await.is(201).json();
    let token = made["secret"].as_str().unwrap();
    let key = desk.post(&ann, "/api/v1/orgs/acme/api-keys", &json!({ "name": "app" })).await.is(201).json();
    let key = key["key"].as_str().unwrap();
    let groups = "/api/v1/orgs/acme/groups";
    desk.get(&Badge::bearer(token), groups).await.is(200);
    let told = desk.get(&Badge::bearer(token), "/api/v1/orgs/acme/users").await.is(403);
    assert_eq!(told.json()["permission"], "users.read");
    let cookie = |text: &str| Badge::nobody().with("cookie", &format!("__Host-palisade={text}"));
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.";
    let session = ann.0.iter().find(|(name, _)| *name == "cookie").unwrap().1.clone();
    let session = session.strip_prefix("__Host-palisade=").unwrap();
    for badge in [
        Badge::bearer(key),
        Badge::bearer(jwt),
        Badge::bearer(session),
        cookie(token),
        cookie(key),
        cookie(""),
    ] {
        let told = desk.get(&badge, groups).await.is(401);
        assert!(told.header("www-authenticate").is_some());
    }
    desk.get(&Badge::nobody().with("x-api-key", key), groups).await.is(401);
    desk.get(&ann.with("authorization", &format!("Bearer {token}")), groups).await.is(401);
    // A session changes nothing without its token; and a token needs none.
    let bare = ann.without("x-csrf-token");
    desk.get(&bare, groups).await.is(200);
    for badge in [bare.clone(), bare.with("x-csrf-token", "x"), bare.with("x-csrf-token", "")] {
        desk.make(&badge, &format!("{groups}/dev"), &json!({})).await.is(403);
    }
    desk.make(&ann, &format!("{groups}/dev"), &json!({})).await.is(200);
    // A token signs nobody out, and makes no other tokens.
    desk.send(&Badge::bearer(token), "DELETE", "/api/v1/session", b"").await.is(403);
    let id = made["token"]["id"].as_str().unwrap();
    desk.send(&ann, "DELETE", &format!("/api/v1/orgs/acme/api-tokens/{id}"), b"").await.is(204);
    desk.get(&Badge::bearer(token), groups).await.is(401);
    let told = desk.send(&ann, "DELETE", "/api/v1/session", b"").await.is(204);
    assert!(told.header("set-cookie").unwrap().contains("Max-Age=0"));
    desk.get(&ann, groups).await.is(401);
    let wrong = json!({ "organisation": "acme", "name": "ann", "password": "wrong wrong wrong" });
    let nobody = json!({ "organisation": "nobody", "name": "ann", "password": PASSWORD });
    let told = desk.post(&Badge::nobody(), "/api/v1/session", &wrong).await.is(401);
    let same = desk.post(&Badge::nobody(), "/api/v1/session", &nobody).await.is(401);
    assert_eq!(told.json(), same.json());
}

async fn a_suspended_organisation_is_at_rest_and_resumes_as_it_was(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let new = json!({ "name": "ci", "lifetime": "90d" });
    let token = desk.post(&ann, "/api/v1/orgs/acme/api-tokens", &new).await.is(201).json();
    let token = Badge::bearer(token["secret"].as_str().unwrap());
    desk.post(&operator, "/api/v1/orgs/acme/suspend", &json!(null)).await.is(413);
    desk.send(&operator, "POST", "/api/v1/orgs/acme/suspend", b"").await.is(204);
    assert_eq!(desk.get(&operator, "/api/v1/orgs/acme").await.is(200).json()["suspended"], true);
    assert!([401, 403].contains(&desk.get(&token, "/api/v1/orgs/acme/groups").await.status));
    assert!([401, 403].contains(&desk.get(&ann, "/api/v1/orgs/acme/groups").await.status));
    desk.send(&operator, "POST", "/api/v1/orgs/acme/resume", b"").await.is(204);
    desk.get(&token, "/api/v1/orgs/acme/groups").await.is(200);
}

async fn an_organisation_is_exported_imported_and_erased(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    desk.make(&ann, "/api/v1/orgs/acme/groups/dev", &json!({})).await.is(200);
    let export = desk.get(&ann, "/api/v1/orgs/acme/export").await.is(200).json();
    desk.get(&operator, "/api/v1/orgs/acme/export").await.is(403);
    desk.post(&ann, "/api/v1/orgs/acme2/import", &export).await.is(404);
    desk.post(&operator, "/api/v1/orgs/acme2/import", &export).await.is(204);
    desk.post(&operator, "/api/v1/orgs/acme2/import", &export).await.is(409);
    let link = desk
        .post(&operator, "/api/v1/orgs/acme2/first-admin", &json!({ "name": "eve" }))
        .await
        .is(201)
        .json();
    let eve = desk.arrive(Some("acme2"), "eve", link["text"].as_str().unwrap()).await;
    desk.get(&eve, "/api/v1/orgs/acme2/groups/dev").await.is(200);
    desk.post(&operator, "/api/v1/orgs/acme2/first-admin", &json!({ "name": "eva" })).await.is(409);
    desk.send(&operator, "DELETE", "/api/v1/orgs/acme2", b"").await.is(409);
    desk.send(&operator, "POST", "/api/v1/orgs/acme2/suspend", b"").await.is(204);
    desk.send(&operator, "DELETE", "/api/v1/orgs/acme2", b"").await.is(204);
    desk.get(&operator, "/api/v1/orgs/acme2").await.is(404);
    desk.get(&eve, "/api/v1/me").await.is(401);
    desk.get(&ann, "/api/v1/orgs/acme/groups/dev").await.is(200);
}

async fn what_happened_is_read_by_whom_it_concerns(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let eve = desk.joined(&ann, "acme", "eve", "auditor", &[]).await;
    let bob = desk.joined(&ann, "acme", "bob", "member", &[]).await;
    let wrong = json!({ "organisation": "acme", "name": "bob", "password": "wrong" });
    desk.post(&Badge::nobody(), "/api/v1/session", &wrong).await.is(401);
    let (journal, sign_ins) = ("/api/v1/orgs/acme/journal", "/api/v1/orgs/acme/sign-ins");
    for reader in [&ann, &eve] {
        let page = desk.get(reader, &format!("{journal}?limit=2")).await.is(200).json();
        let next = page["next"].as_str().unwrap().to_owned();
        let rest = desk.get(reader, &format!("{journal}?after={next}")).await.is(200).json();
        let entries: Vec<Value> =
            [page, rest].iter().flat_map(|page| page["items"].as_array().unwrap().clone()).collect();
        let told: Vec<&str> =
            entries.iter().filter_map(|entry| entry["document"]["action"].as_str()).collect();
        let joined = ["invited", "account_made"];
        assert_eq!(told, [joined, joined, joined].concat());
        let revisions: Vec<u64> = entries.iter().map(|entry| entry["revision"].as_u64().unwrap()).collect();
        assert!(revisions.is_sorted(), "the newest is the last: {revisions:?}");
        // Who invited the first admin is named, though it was somebody of the platform.
        let by = entries.iter().find(|entry| entry["document"]["action"] == "invited").unwrap();
        assert_eq!(by["document"]["actor"], "account:operator");
        let told = desk.get(reader, sign_ins).await.is(200).json();
        let row = |account: &str, of: &str| {
            let mut rows = told["items"].as_array().unwrap().iter().filter(|row| row["account"] == account);
            rows.find_map(|row| row[of].as_u64().filter(|count| *count > 0))
        };
        assert_eq!(
            (row("bob", "signed_in"), row("bob", "refused"), row("ann", "refused")),
            (Some(1), Some(1), None)
        );
        assert_eq!(
            desk.get(reader, &format!("{sign_ins}?day={}", told["day"].as_str().unwrap()))
                .await
                .is(200)
                .json(),
            told
        );
        let before = desk.get(reader, &format!("{sign_ins}?day=2020-01-31")).await.is(200).json();
        assert_eq!(before["items"], json!([]));
        for query in ["day=today", "day=2020-1-31", "from=2020-01-31", "day=2020-01-31&day=2020-01-31"] {
            desk.get(reader, &format!("{sign_ins}?{query}")).await.is(400);
        }
        for elsewhere in ["/api/v1/platform/journal", "/api/v1/platform/sign-ins"] {
            desk.get(reader, elsewhere).await.is(403);
        }
    }
    for nobody in [&bob, &operator] {
        desk.get(nobody, journal).await.is(403);
        desk.get(nobody, sign_ins).await.is(403);
    }
    let told = desk.get(&operator, "/api/v1/platform/journal").await.is(200).json();
    assert_eq!(told["items"][0]["document"]["action"], "bootstrapped");
    assert!(!told.to_string().contains("eve"), "people of organisations are none of the platform's: {told}");
    desk.get(&operator, "/api/v1/platform/sign-ins").await.is(200);
}
