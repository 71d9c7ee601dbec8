//! The way of a new operator: from an empty folder to an application's first answer, and what a restart leaves.

use super::{Badge, PASSWORD, SQLITE, Site, is};
use crate::house::{House, Plan};
use crate::http;
use crate::process::Process;
use crate::processes::SOON;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

#[test]
fn from_an_empty_folder_to_the_first_answer() {
    let site = Site::start(SQLITE);
    assert_eq!(http::get(site.house.admin, "/readyz").status, 200);
    assert_eq!(site.get(&Badge::default(), "/me").status, 401);
    let operator = site.operator();
    // It was used, and there is no other.
    let again = json!({ "invitation": site.printed_invitations()[0], "password": PASSWORD });
    assert_eq!(site.post(&Badge::default(), "/invitations/accept", &again).status, 422);
    site.provide(&operator);
    let shown = is(site.get(&operator, "/platform/providers/double"), 200);
    assert_eq!(shown.json()["api_key"], json!({ "value": "***" }), "{}", shown.text());

    let ann = site.admin_of(&operator, "acme");
    is(site.make(&ann, "/orgs/acme/groups/dev", &json!({})), 200);
    let access = json!({ "default": "deny", "rules": [{ "groups": ["dev"], "allow": ["mock*"] }] });
    is(site.make(&ann, "/orgs/acme/model-access", &access), 200);
    let new = json!({ "name": "chat", "groups": ["dev"] });
    let made = is(site.post(&ann, "/orgs/acme/api-keys", &new), 201).json();
    let (key, since) = (made["key"].as_str().unwrap(), Instant::now());
    site.until_answered(key, 200);
    assert!(since.elapsed() < SOON, "a key works within a second: {:?}", since.elapsed());
    let answer = site.chat(key);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "one two [CREDIT_CARD]");
    let received =
        site.double.until("the provider heard of it", |received| received.body.contains("one two"));
    assert_eq!(received.header("authorization"), Some("Bearer sk-of-the-platform"));
    let event = site.house.event_of(&answer);
    assert_eq!((event.organisation.as_deref(), event.provider.as_deref()), (Some("acme"), Some("double")));

    // Who runs the platform sees that it is there, and nothing of what is in it; who is of another does not see it.
    assert_eq!(is(site.get(&operator, "/orgs/acme"), 200).json()["suspended"], false);
    let told = is(site.get(&operator, "/orgs/acme/groups"), 403);
    assert_eq!(told.json()["permission"], "groups.read");
    let eve = site.admin_of(&operator, "other");
    is(site.get(&eve, "/orgs/acme/groups"), 404);
    is(site.get(&eve, "/orgs/acme"), 404);
    is(site.get(&ann, "/platform/providers"), 403);
}

#[test]
fn a_restart_keeps_everything_and_invites_nobody() {
    let (mut site, operator, ann, (key, _)) = Site::furnished(SQLITE);
    let token = json!({ "name": "ci", "lifetime": "90d" });
    let token = is(site.post(&ann, "/orgs/acme/api-tokens", &token), 201).json();
    let token = Badge::bearer(token["secret"].as_str().unwrap());
    site.house.stop();
    site.house.launch();
    // It is in force before the first request is taken.
    assert_eq!(site.chat(&key).status, 200);
    assert_eq!(site.printed_invitations().len(), 1, "nobody else is invited");
    for (badge, path) in [(&operator, "/orgs"), (&ann, "/orgs/acme/api-keys"), (&token, "/orgs/acme/groups")]
    {
        is(site.get(badge, path), 200);
    }
    let master = site.house.data().join("secrets/master.key");
    assert_eq!(master.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let log = site.house.process.as_ref().unwrap().log();
    assert!(!log.contains(PASSWORD) && !log.contains("sk-of-the-platform") && !log.contains(&key), "{log}");
}

#[test]
fn without_its_master_key_a_store_is_not_taken_for_a_new_one() {
    let mut site = Site::start(SQLITE);
    site.house.stop();
    let master = site.house.data().join("secrets/master.key");
    let kept = std::fs::read(&master).unwrap();
    std::fs::remove_file(&master).unwrap();
    let (status, log) = site.house.fail();
    assert!(!status.success() && log.contains("the master key") && log.contains("is gone"), "{log}");
    assert!(!master.exists(), "no other one is made");
    std::fs::write(&master, "5e".repeat(32)).unwrap();
    let (status, log) = site.house.fail();
    assert!(!status.success() && log.contains("give the one it was made with"), "{log}");
    std::fs::write(&master, kept).unwrap();
    site.house.launch();
    site.operator();
}

#[test]
fn where_all_operators_are_gone_whoever_has_the_store_invites_another() {
    let mut site = Site::start(SQLITE);
    let first = site.printed_invitations().remove(0);
    let config = site.house.folder.path().join("palisade.toml");
    let data = site.house.data();
    let arguments =
        ["operator", "invite", "--config", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let folder = site.house.folder.path().to_owned();
    let invite = |name: &str| {
        let mut process = Process::start(name, &arguments, &folder);
        (process.ended(), process.log())
    };
    let (status, log) = invite("while-it-serves");
    assert!(!status.success() && log.contains("another process uses the store"), "{log}");
    site.house.stop();
    let (status, log) = invite("invites");
    assert!(status.success(), "{log}");
    let second = log.split_whitespace().find(|word| word.starts_with("pal_invite_platform_")).unwrap();
    let name = log.split('`').find(|word| word.starts_with("operator-")).unwrap();
    assert_ne!(first, second);
    site.house.launch();
    let operator = site.arrive(None, name, second);
    is(site.get(&operator, "/orgs"), 200);
}

#[test]
fn the_control_plane_alone_serves_its_api_and_no_applications() {
    let mut house = House::prepared(SQLITE);
    house.arguments[0] = "control".to_owned();
    house.launch();
    assert_eq!(http::get(house.admin, "/readyz").status, 200, "it needs no policy");
    assert_eq!(house.proxy.port(), 0, "there is no door for applications");
    let mut site = Site::on(house);
    let operator = site.operator();
    site.provide(&operator);
    let ann = site.admin_of(&operator, "acme");
    let (key, _) = site.key(&ann, "acme");
    site.house.stop();
    // What it wrote is what a process with both planes serves.
    site.house.arguments[0] = "serve".to_owned();
    site.house.launch();
    assert_eq!(site.chat(&key).status, 200);
    site.house.stop();
    std::fs::write(site.house.folder.path().join("palisade.toml"), "").unwrap();
    site.house.arguments[0] = "control".to_owned();
    let (status, log) = site.house.fail();
    assert!(!status.success() && log.contains("the control plane needs `[store]`"), "{log}");
}

#[test]
fn documents_in_the_folder_are_said_not_to_be_in_force() {
    let organisations = vec![crate::house::organisation("acme", "")];
    let house = House::start(&Plan { config: SQLITE.to_owned(), organisations, ..Plan::default() });
    let log = house.process.as_ref().unwrap().log();
    assert!(log.contains("the documents in the data folder are not in force"), "{log}");
    assert_eq!(house.chat("acme", crate::processes::PROMPT).status, 401);
}
