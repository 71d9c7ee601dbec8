//! Is every route checked, against everybody, everywhere? The routes are those that are described; a new one is in here
//! by being there.

use super::{Badge, Desk};
use crate::world::World;
use palisade_control::access::Permission;
use palisade_control::api::openapi;
use serde_json::Value;
use std::collections::BTreeSet;

on_both! {
    every_route_asks_who_it_is
    every_route_of_an_organisation_is_its_own
    every_route_asks_for_its_permission
}

/// A route as it is described.
struct Described {
    method: String,
    path: String,
    permissions: Vec<String>,
    security: Vec<String>,
    media_type: Option<String>,
}

fn described() -> Vec<Described> {
    let document = openapi();
    let mut all = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let permissions = operation["x-permission"].as_str().unwrap_or_default();
            let security = operation["security"].as_array().unwrap().iter();
            let content = operation["requestBody"]["content"].as_object();
            all.push(Described {
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                permissions: permissions
                    .split(" or ")
                    .filter(|one| !one.is_empty())
                    .map(str::to_owned)
                    .collect(),
                security: security.flat_map(|one| one.as_object().unwrap().keys().cloned()).collect(),
                media_type: content.map(|content| content.keys().next().unwrap().clone()),
            });
        }
    }
    assert!(all.len() > 150, "{}", all.len());
    all
}

impl Described {
    fn at(&self, organisation: &str) -> String {
        let path = self.path.replace("{org}", organisation);
        path.replace("{id}", "nothing").replace("{account}", "nobody")
    }

    /// As somebody would send it who gets the form right.
    fn badge(&self, badge: &Badge) -> Badge {
        match &self.media_type {
            Some(media_type) => badge.with("content-type", media_type),
            None => badge.clone(),
        }
    }
}

#[test]
fn each_permission_is_in_the_table() {
    for route in described() {
        for permission in &route.permissions {
            assert!(Permission::parse(permission).is_some(), "{} {}: {permission}", route.method, route.path);
        }
    }
}

#[test]
fn routes_without_a_permission_are_known_by_name() {
    let known = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<BTreeSet<_>>();
    let with = |security: &[&str]| {
        let routes = described().into_iter().filter(|route| route.permissions.is_empty());
        let routes = routes.filter(|route| route.security == security);
        routes.map(|route| format!("{} {}", route.method, route.path)).collect::<BTreeSet<_>>()
    };
    let open = ["GET /api/v1/openapi.json", "POST /api/v1/invitations/accept", "POST /api/v1/session"];
    assert_eq!(with(&[]), known(&open));
    assert_eq!(with(&["token", "session"]), known(&["GET /api/v1/me"]));
    let own = [
        "DELETE /api/v1/session",
        "DELETE /api/v1/sessions/{id}",
        "GET /api/v1/session",
        "GET /api/v1/sessions",
        "POST /api/v1/session/totp",
        "POST /api/v1/session/totp/remove",
        "PUT /api/v1/session/password",
        "PUT /api/v1/session/totp",
    ];
    assert_eq!(with(&["session"]), known(&own));
    let all: BTreeSet<String> =
        described().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(all.len(), described().len());
}

#[test]
fn the_committed_description_is_the_current_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let current = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("PALISADE_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == current,
        "docs/openapi.json is not what the API is; write it anew: PALISADE_WRITE_OPENAPI=1 cargo test -p \
         palisade-control the_committed_description"
    );
}

async fn every_route_asks_who_it_is(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    desk.provisioned(&operator, "acme").await;
    for route in described().iter().filter(|route| !route.security.is_empty()) {
        let target = route.at("acme");
        for badge in [Badge::nobody(), Badge::bearer("pal_token_org_acme_x_y"), Badge::bearer("x")] {
            let told = desk.send(&route.badge(&badge), &route.method, &target, b"{}").await;
            assert_eq!(told.status, 401, "{} {target}: {}", route.method, told.text());
        }
    }
}

async fn every_route_of_an_organisation_is_its_own(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    desk.provisioned(&operator, "other").await;
    let mut people = vec![ann.clone()];
    for role in ["group_manager", "auditor", "member"] {
        people.push(desk.joined(&ann, "acme", &role.replace('_', "-"), role, &[]).await);
    }
    let token = serde_json::json!({ "name": "ci", "lifetime": "9d" });
    let token = desk.post(&ann, "/api/v1/orgs/acme/api-tokens", &token).await.is(201).json();
    people.push(Badge::bearer(token["secret"].as_str().unwrap()));
    for route in described().iter().filter(|route| route.path.contains("{org}")) {
        for badge in &people {
            let badge = route.badge(badge);
            let foreign = desk.send(&badge, &route.method, &route.at("other"), b"{}").await;
            let nobody = desk.send(&badge, &route.method, &route.at("nobody"), b"{}").await;
            // One cannot tell what is another's from what is not there.
            let place = format!("{} {}: {}", route.method, route.path, foreign.text());
            assert_eq!((foreign.status, foreign.text()), (404, nobody.text()), "{place}");
        }
    }
}

async fn every_route_asks_for_its_permission(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let mut people = vec![(operator, "operator")];
    for role in ["org_admin", "group_manager", "auditor", "member"] {
        people.push((desk.joined(&ann, "acme", &role.replace('_', "-"), role, &[]).await, role));
    }
    let (mut refused, mut passed) = (0, 0);
    for (badge, role) in &people {
        let me = desk.get(badge, "/api/v1/me").await.is(200).json();
        let has = |permission: &String| {
            let own = me["permissions"].as_array().unwrap();
            own.iter().any(|one| one["permission"] == permission.as_str())
        };
        for route in described().iter().filter(|route| !route.permissions.is_empty()) {
            let is_home = route.path.starts_with("/api/v1/orgs/{org}") == (*role != "operator");
            let told = desk.send(&route.badge(badge), &route.method, &route.at("acme"), b"{}").await;
            let place = format!("{role}: {} {}: {}", route.method, route.path, told.text());
            // What is asked for without a precondition is an update.
            let asked = route.permissions.last().unwrap();
            if is_home && has(asked) {
                assert!(![401, 403].contains(&told.status), "{place}");
                passed += 1;
            } else if *role == "operator" {
                // Over organisations it has other permissions than at home; none of them shows or changes content.
                let is_content = !asked.starts_with("organisations.") && !asked.starts_with("usage.");
                assert!(!is_content || told.status == 403, "{place}");
            } else {
                assert_eq!(
                    (told.status, &told.json()["permission"]),
                    (403, &Value::from(asked.as_str())),
                    "{place}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 200 && passed > 100, "{refused} were refused, {passed} were not");
}
