//! How soon does what somebody changes reach who is at work? Within a second, streams under way included.

use super::{SQLITE, Site, is};
use crate::http::{Answer, Connection};
use crate::processes::SOON;
use serde_json::json;
use std::time::Instant;

/// Reads a stream to where somebody ended it; it did not end as one that is complete.
pub(super) fn cut_off(stream: &mut (Connection, Answer)) {
    while stream.0.chunk(&mut stream.1) {}
    let text = stream.1.text();
    assert!(!text.contains("[DONE]"), "{text}");
}

#[test]
fn a_key_that_is_switched_off_is_refused_and_its_streams_end() {
    let (site, _, ann, (key, id)) = Site::furnished(SQLITE);
    let (other, _) = site.key(&ann, "acme");
    site.until_answered(&other, 200);
    let (mut ended, mut goes_on) = (site.stream(&key), site.stream(&other));
    is(site.patch(&ann, &format!("/orgs/acme/api-keys/{id}"), 1, &json!({ "enabled": false })), 200);
    let since = Instant::now();
    cut_off(&mut ended);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert_eq!(site.chat(&key).status, 401);
    assert!(goes_on.0.chunk(&mut goes_on.1), "another key's stream goes on");
    assert_eq!(site.chat(&other).status, 200);
}

#[test]
fn a_suspended_organisation_is_at_rest_and_resumes_as_it_was() {
    let (site, operator, ann, (key, _)) = Site::furnished(SQLITE);
    let eve = site.admin_of(&operator, "other");
    let (others, _) = site.key(&eve, "other");
    site.until_answered(&others, 200);
    let (mut one, mut two, mut foreign) = (site.stream(&key), site.stream(&key), site.stream(&others));
    is(site.call(&operator, "POST", "/orgs/acme/suspend", None), 204);
    let since = Instant::now();
    cut_off(&mut one);
    cut_off(&mut two);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert!([401, 403].contains(&site.chat(&key).status));
    assert!([401, 403].contains(&site.get(&ann, "/orgs/acme/groups").status));
    assert!(foreign.0.chunk(&mut foreign.1), "another organisation's stream goes on");
    is(site.call(&operator, "POST", "/orgs/acme/resume", None), 204);
    let since = Instant::now();
    site.until_answered(&key, 200);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[test]
fn a_change_of_the_platform_and_of_an_organisation_holds_within_a_second() {
    let (site, operator, ann, (key, _)) = Site::furnished(SQLITE);
    let off = json!({ "provider": "double", "reason": "an incident" });
    is(site.make(&operator, "/platform/kill-switches/double", &off), 200);
    let since = Instant::now();
    site.until_answered(&key, 503);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let gone = operator.with("if-match", "\"1\"");
    is(site.call(&gone, "DELETE", "/platform/kill-switches/double", None), 204);
    site.until_answered(&key, 200);
    is(site.make(&ann, "/orgs/acme/ip-allowlist", &json!({ "addresses": ["203.0.113.0/24"] })), 200);
    let since = Instant::now();
    site.until_answered(&key, 403);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    // What does not hold together is not taken, and changes nothing.
    let told =
        is(site.make(&ann, "/orgs/acme/geo-policy", &json!({ "deny": { "countries": ["Germany"] } })), 422);
    assert!(told.json()["errors"].is_array(), "{}", told.text());
}

#[test]
fn an_organisation_that_is_erased_is_gone_with_its_streams() {
    let (site, operator, _, (key, _)) = Site::furnished(SQLITE);
    let mut stream = site.stream(&key);
    is(site.call(&operator, "POST", "/orgs/acme/suspend", None), 204);
    cut_off(&mut stream);
    is(site.call(&operator, "DELETE", "/orgs/acme", None), 204);
    site.until_answered(&key, 401);
    is(site.get(&operator, "/orgs/acme"), 404);
}
