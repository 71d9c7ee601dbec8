//! What holds when something fails: the process in the midst of writes, the database, the disk.

use super::{Badge, SQLITE, Site, asked, is};
use crate::house::House;
use crate::http::Connection;
use crate::postgres::Server;
use crate::process::{Process, until};
use crate::processes::SOON;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Clients that change something at once.
const WRITERS: usize = 3;
/// Both roles of the service, and the one that owns the database.
const ROLES: &str = "CREATE ROLE palisade_owner LOGIN; CREATE ROLE palisade_service LOGIN; \
                     CREATE ROLE palisade_directory LOGIN";
const DATABASE: &str = "CREATE DATABASE palisade OWNER palisade_owner";

/// What there is of a kind.
fn ids(site: &Site, badge: &Badge, kind: &str) -> BTreeSet<String> {
    let listed = is(site.get(badge, &format!("/orgs/acme/{kind}?limit=1000")), 200).json();
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Writes as long as it is answered; gives the numbers of what was accepted.
fn writer(site: &Site, badge: &Badge, numbers: &AtomicU32, written: &AtomicU32) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        let id = format!("n{}", numbers.fetch_add(1, Ordering::Relaxed));
        // Two groups: neither without the other.
        let groups = json!([{ "name": format!("one-{id}") }, { "name": format!("two-{id}") }]);
        let document = json!({ "id": "acme", "groups": groups });
        let request = asked(badge, "POST", "/api/v1/orgs/acme/apply", Some(&json!({ "document": document })));
        let Some(mut connection) = Connection::try_open(site.house.api()) else { return accepted };
        connection.send(&request);
        let answer = connection.answer();
        if !answer.is_whole {
            return accepted;
        }
        is(answer, 200);
        accepted.push(id);
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_nothing_half_done() {
    let (mut site, _, ann, (key, _)) = Site::furnished(SQLITE);
    let (numbers, mut accepted) = (AtomicU32::new(0), BTreeSet::new());
    for _ in 0..3 {
        let process = site.house.process.take().unwrap();
        let written = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let write = || writer(&site, &ann, &numbers, &written);
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            until("some are written", || (written.load(Ordering::Relaxed) > 8).then_some(()));
            process.crash();
            accepted.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
        });
        site.house.launch();
        let groups = ids(&site, &ann, "groups");
        let named = |end: &str| -> BTreeSet<String> {
            groups.iter().filter_map(|group| group.strip_prefix(end)).map(str::to_owned).collect()
        };
        assert_eq!(named("one-"), named("two-"));
        assert!(named("one-").is_superset(&accepted), "what was accepted is there");
    }
    assert_eq!(site.chat(&key).status, 200);
}

/// The tables of `[store]` for a server's database, with more lines.
fn in_database(server: &Server, more: &str) -> String {
    let url = |role| server.url(role, "palisade");
    format!(
        "[store]\nkind = \"postgresql\"\nurl = {:?}\ndirectory_url = {:?}\nmaster_key = {{ file = \"../master.key\" }}\n{more}",
        url("palisade_service"),
        url("palisade_directory"),
    )
}

#[test]
fn while_the_database_is_away_applications_are_served_and_the_api_says_when_to_come_back() {
    let mut server = Server::start("-c fsync=off");
    server.administer("postgres", ROLES);
    server.administer("postgres", DATABASE);
    let mut house = House::prepared(&in_database(&server, ""));
    std::fs::write(house.folder.path().join("master.key"), "5e".repeat(32)).unwrap();
    let (status, log) = house.fail();
    assert!(!status.success() && log.contains("`palisade store migrate` with `store.owner_url`"), "{log}");
    let with_owner =
        in_database(&server, &format!("owner_url = {:?}\n", server.url("palisade_owner", "palisade")));
    let config = house.folder.path().join("migrate.toml");
    std::fs::write(&config, with_owner).unwrap();
    let data = house.data();
    let arguments =
        ["store", "migrate", "--config", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let mut migrate = Process::start("migrates", &arguments, house.folder.path());
    let status = migrate.ended();
    assert!(status.success(), "{}", migrate.log());
    house.launch();
    let site = Site::on(house);
    let operator = site.operator();
    site.provide(&operator);
    let ann = site.admin_of(&operator, "acme");
    let (key, id) = site.key(&ann, "acme");
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

#[test]
fn while_the_disk_is_full_nothing_is_lost_and_applications_are_served() {
    let mut site = Site::start(SQLITE);
    site.house.stop();
    // What a full disk does to a write, a limit of a file's size does too, if its signal is not heard.
    site.house.launch_by("trap '' XFSZ; exec \"$0\" \"$@\"");
    let operator = site.operator();
    site.provide(&operator);
    let ann = site.admin_of(&operator, "acme");
    let (key, _) = site.key(&ann, "acme");
    site.until_answered(&key, 200);
    let process = Pid::from_raw(i32::try_from(site.house.process.as_ref().unwrap().id()).unwrap());
    let limit = |bytes| prlimit(process, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    limit(Some(1));
    let told = is(site.make(&ann, "/orgs/acme/groups/dev", &json!({})), 503);
    assert_eq!(told.header("retry-after"), Some("1"), "{}", told.text());
    assert_eq!(site.chat(&key).status, 200);
    is(site.get(&ann, "/orgs/acme"), 200);
    limit(None);
    let since = Instant::now();
    is(site.get(&ann, "/orgs/acme/groups/dev"), 404);
    is(site.make(&ann, "/orgs/acme/groups/dev", &json!({})), 200);
    let (new, _) = site.key(&ann, "acme");
    site.until_answered(&new, 200);
    assert!(since.elapsed() < 2 * SOON, "{:?}", since.elapsed());
    site.house.stop();
    site.house.launch();
    assert_eq!(ids(&site, &ann, "groups"), BTreeSet::from(["dev".to_owned()]));
    assert_eq!(site.chat(&new).status, 200);
}
