//! Is a database a store for whole processes: made, missed while it is away, and followed again once it is back?

use super::elsewhere::{let_in, until_ready};
use super::failures::{WRITERS, nothing_is_half_done, writer};
use super::{Badge, PASSWORD, Site, chat, is, until_answered};
use crate::house::House;
use crate::http;
use crate::postgres::Server;
use crate::process::{Process, until};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Both roles of the service, and the one that owns the database.
const ROLES: &str = "CREATE ROLE palisade_owner LOGIN; CREATE ROLE palisade_service LOGIN; \
                     CREATE ROLE palisade_directory LOGIN";
const DATABASE: &str = "CREATE DATABASE palisade OWNER palisade_owner";

/// The tables of `[store]` for a server's database, with more lines.
fn in_database(server: &Server, more: &str) -> String {
    let url = |role| server.url(role, "palisade");
    format!(
        "[store]\nkind = \"postgresql\"\nurl = {:?}\ndirectory_url = {:?}\nmaster_key = {{ file = \"../master.key\" }}\n{more}",
        url("palisade_service"),
        url("palisade_directory"),
    )
}

/// A server with an empty database, and an installation that is to keep its store there.
fn empty(more: &str) -> (Server, House) {
    let server = Server::start("-c fsync=off");
    server.administer("postgres", ROLES);
    server.administer("postgres", DATABASE);
    let house = House::prepared(&in_database(&server, more));
    std::fs::write(house.folder.path().join("master.key"), "5e".repeat(32)).unwrap();
    (server, house)
}

/// Brings the database to the schema of this version, as the role that owns it.
fn migrate(server: &Server, house: &House) {
    let owner = format!("owner_url = {:?}\n", server.url("palisade_owner", "palisade"));
    let config = house.folder.path().join("migrate.toml");
    std::fs::write(&config, in_database(server, &owner)).unwrap();
    let data = house.data();
    let arguments =
        ["store", "migrate", "--config", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let mut migrate = Process::start("migrates", &arguments, house.folder.path());
    let status = migrate.ended();
    assert!(status.success(), "{}", migrate.log());
}

/// An installation that is to start over a database, which has the schema.
pub(super) fn prepared(more: &str) -> (Server, House) {
    let (server, house) = empty(more);
    migrate(&server, &house);
    (server, house)
}

#[test]
fn while_the_database_is_away_applications_are_served_and_the_api_says_when_to_come_back() {
    let (mut server, mut house) = empty("");
    let (status, log) = house.fail();
    assert!(!status.success() && log.contains("`palisade store migrate` with `store.owner_url`"), "{log}");
    migrate(&server, &house);
    house.launch();
    let site = Site::on(house);
    let (_, ann, (key, id)) = site.furnish();
    site.until_answered(&key, 200);
    let mut stream = site.stream(&key);

    server.stop();
    let told = is(site.get(&ann, "/orgs/acme/groups"), 503);
    assert_eq!(told.header("retry-after"), Some("1"), "{}", told.text());
    assert_eq!(told.header("content-type"), Some("application/problem+json"));
    is(site.make(&ann, "/orgs/acme/groups/dev", &json!({})), 503);
    assert_eq!(site.chat(&key).status, 200);
    assert!(stream.0.chunk(&mut stream.1), "streams go on");

    server.restart();
    until("the API works again", || (site.get(&ann, "/orgs/acme/groups").status == 200).then_some(()));
    is(site.make(&ann, "/orgs/acme/groups/dev", &json!({})), 200);
    is(site.patch(&ann, &format!("/orgs/acme/api-keys/{id}"), 1, &json!({ "enabled": false })), 200);
    site.until_answered(&key, 401);
    while stream.0.chunk(&mut stream.1) {}
    assert!(!stream.1.text().contains("[DONE]"));
}

/// Ends the database in the midst of writes; gives what was accepted.
fn in_the_midst_of_writes(
    site: &Site,
    badge: &Badge,
    numbers: &AtomicU32,
    end: impl FnOnce(),
) -> BTreeSet<String> {
    let (written, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let write = || writer(site, badge, numbers, &written, &is_over);
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        until("some are written", || (written.load(Ordering::Relaxed) > 8).then_some(()));
        end();
        is_over.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    })
}

#[test]
fn while_the_database_is_away_proxies_elsewhere_go_on_and_say_how_old_their_policy_is() {
    let (mut server, mut house) = prepared("[feed]\n");
    house.arguments[0] = "control".to_owned();
    house.launch();
    let site = Site::on(house);
    let (operator, ann, (key, id)) = site.furnish();
    let (goes_on, _) = let_in(&site, &operator, None, "");
    let (gives_up, _) = let_in(&site, &operator, None, "max_staleness = \"5s\"\n");
    for proxy in [&goes_on, &gives_up] {
        until_answered(proxy, &key, 200);
    }
    let numbers = AtomicU32::new(0);
    let mut accepted = in_the_midst_of_writes(&site, &ann, &numbers, || server.stop());

    // Everybody is told when to come back, and nobody more than that.
    let sign_in = json!({ "organisation": "acme", "name": "ann", "password": PASSWORD });
    let document = json!({ "document": { "id": "acme", "groups": [{ "name": "dev" }] } });
    for told in [
        site.get(&ann, "/orgs/acme/groups"),
        site.get(&operator, "/orgs"),
        site.make(&ann, "/orgs/acme/groups/dev", &json!({})),
        site.post(&ann, "/orgs/acme/apply", &document),
        site.post(&ann, "/orgs/acme/api-keys", &json!({ "name": "app" })),
        site.post(&operator, "/platform/enrolments", &json!({ "name": "a proxy" })),
        site.post(&Badge::default(), "/session", &sign_in),
    ] {
        let told = is(told, 503);
        assert_eq!(told.header("retry-after"), Some("1"), "{}", told.text());
        assert_eq!(told.json()["type"], "urn:palisade:problem:unavailable");
        assert!(!told.text().contains("postgres"), "{}", told.text());
    }
    // A proxy goes on by what it knows, for as long as it may.
    assert_eq!(chat(&gives_up, &key).status, 200);
    until_answered(&gives_up, &key, 503);
    assert_eq!(chat(&gives_up, &key).json()["error"]["code"], "policy_unavailable");
    assert!(until_ready(&gives_up, 503).contains("max_staleness"));
    assert_eq!(chat(&goes_on, &key).status, 200);
    until_ready(&goes_on, 200);
    let page = http::get(goes_on.metrics, "/metrics").text();
    let age = page.lines().find_map(|line| line.strip_prefix("palisade_policy_age_seconds ")).unwrap();
    assert!(age.parse::<f64>().unwrap() > 4.0, "it says how old its policy is: {age}");

    // Once it is back, everything goes on, and nobody was restarted.
    server.restart();
    until("the API works again", || (site.get(&ann, "/orgs/acme/groups").status == 200).then_some(()));
    nothing_is_half_done(&site, &ann, &accepted);
    until_answered(&gives_up, &key, 200);
    until_ready(&gives_up, 200);
    // Nor does a server that loses its power in the midst of writes leave half of one.
    accepted.extend(in_the_midst_of_writes(&site, &ann, &numbers, || server.crash()));
    until("the API works again", || (site.get(&ann, "/orgs/acme/groups").status == 200).then_some(()));
    nothing_is_half_done(&site, &ann, &accepted);
    let (new, _) = site.key(&ann, "acme");
    is(site.patch(&ann, &format!("/orgs/acme/api-keys/{id}"), 1, &json!({ "enabled": false })), 200);
    for proxy in [&goes_on, &gives_up] {
        until_answered(proxy, &new, 200);
        until_answered(proxy, &key, 401);
    }
}
