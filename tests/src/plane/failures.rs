//! What holds when something fails: the process in the midst of writes, the disk.

use super::{Badge, SQLITE, Site, asked, is};
use crate::http::Connection;
use crate::process::until;
use crate::processes::SOON;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// Clients that change something at once.
pub(super) const WRITERS: usize = 3;
/// What there is of a kind.
pub(super) fn ids(site: &Site, badge: &Badge, kind: &str) -> BTreeSet<String> {
    let listed = is(site.get(badge, &format!("/orgs/acme/{kind}?limit=1000")), 200).json();
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Writes as long as it is answered and the store is there; gives the numbers of what was accepted.
pub(super) fn writer(
    site: &Site,
    badge: &Badge,
    numbers: &AtomicU32,
    written: &AtomicU32,
    is_over: &AtomicBool,
) -> Vec<String> {
    let mut accepted = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let id = format!("n{}", numbers.fetch_add(1, Ordering::Relaxed));
        // Two groups: neither without the other.
        let groups = json!([{ "name": format!("one-{id}") }, { "name": format!("two-{id}") }]);
        let document = json!({ "id": "acme", "groups": groups });
        let request = asked(badge, "POST", "/api/v1/orgs/acme/apply", Some(&json!({ "document": document })));
        let Some(mut connection) = Connection::try_open(site.house.api()) else { return accepted };
        connection.send(&request);
        let answer = connection.answer();
        // It was done or not: whoever asked does not know.
        if !answer.is_whole || answer.status == 503 {
            return accepted;
        }
        is(answer, 200);
        accepted.push(id);
        written.fetch_add(1, Ordering::Relaxed);
    }
    accepted
}

/// What writers wrote is there whole or not at all, and what was accepted is there.
pub(super) fn nothing_is_half_done(site: &Site, badge: &Badge, accepted: &BTreeSet<String>) {
    let groups = ids(site, badge, "groups");
    let named = |end: &str| -> BTreeSet<String> {
        groups.iter().filter_map(|group| group.strip_prefix(end)).map(str::to_owned).collect()
    };
    assert_eq!(named("one-"), named("two-"));
    assert!(named("one-").is_superset(accepted), "what was accepted is there");
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_nothing_half_done() {
    let (mut site, _, ann, (key, _)) = Site::furnished(SQLITE);
    let (numbers, mut accepted) = (AtomicU32::new(0), BTreeSet::new());
    for _ in 0..3 {
        let process = site.house.process.take().unwrap();
        let (written, never) = (AtomicU32::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let write = || writer(&site, &ann, &numbers, &written, &never);
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            until("some are written", || (written.load(Ordering::Relaxed) > 8).then_some(()));
            process.crash();
            accepted.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
        });
        site.house.launch();
        nothing_is_half_done(&site, &ann, &accepted);
    }
    assert_eq!(site.chat(&key).status, 200);
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
