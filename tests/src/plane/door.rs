//! What somebody who is not let in can do at the admin API's door: nothing, and not for long.

use super::{Badge, PASSWORD, SQLITE, Site, asked, is};
use crate::http::{self, Connection};
use crate::process::until;
use serde_json::json;
use std::net::Shutdown;

/// Connections that one address may have at the door.
const CONNECTIONS_PER_ADDRESS: usize = 64;

#[test]
fn whoever_fills_the_door_is_turned_away_and_applications_are_served() {
    let (site, operator, _, (key, _)) = Site::furnished(SQLITE);
    let counts = |line: &str| {
        until(line, || http::get(site.house.metrics, "/metrics").text().contains(line).then_some(()));
    };
    counts("palisade_api_connections 0\n");
    // Each began a request, and goes no further.
    let mut held: Vec<Connection> = Vec::new();
    until("the door is full for this address", || {
        let mut connection = Connection::open(site.house.api());
        connection.send(b"POST /api/v1/session HTTP/1.1\r\nhost: x\r\ncontent-ty");
        held.push(connection);
        (held.len() > CONNECTIONS_PER_ADDRESS).then_some(())
    });
    let mut last = held.pop().unwrap();
    assert!(!last.more(), "past its seats, a connection is closed without a word");
    assert_eq!(site.chat(&key).status, 200);
    let page = http::get(site.house.metrics, "/metrics").text();
    assert!(page.contains("palisade_api_connections 64"), "{page}");
    assert!(
        page.contains("palisade_connections_turned_away_total{reason=\"connections_per_address\"} 1"),
        "{page}"
    );
    drop(held);
    until("seats are given back", || {
        let mut connection = Connection::open(site.house.api());
        connection.send(&asked(&operator, "GET", "/api/v1/orgs", None));
        (connection.answer().status == 200).then_some(())
    });
}

#[test]
fn slow_bodies_hold_nobody_up() {
    let (site, operator, ann, _) = Site::furnished(SQLITE);
    // Of strangers, who sign in, and of somebody who is known.
    let slow = |badge: &Badge, method: &str, path: &str, bytes: usize| {
        let badge = badge.with("content-type", "application/json").with("content-length", &bytes.to_string());
        let mut connection = Connection::open(site.house.api());
        connection.send(&asked(&badge, method, path, None));
        connection.send(b"{");
        connection
    };
    let nobody = Badge::default();
    let strangers: Vec<_> = (0..24).map(|_| slow(&nobody, "POST", "/api/v1/session", 1000)).collect();
    let known = ann.with("if-none-match", "*");
    let path = "/api/v1/orgs/acme/groups/slow";
    let known: Vec<_> = (0..24).map(|_| slow(&known, "PUT", path, 1_000_000)).collect();
    let sign_in = json!({ "name": "operator", "password": PASSWORD });
    is(site.post(&nobody, "/session", &sign_in), 201);
    is(
        site.make(
            &operator,
            "/platform/kill-switches/mock",
            &json!({ "model": "other", "reason": "an incident" }),
        ),
        200,
    );
    drop((strangers, known));
}

#[test]
fn large_bodies_are_refused_before_they_come() {
    let (site, _, ann, _) = Site::furnished(SQLITE);
    let nobody = Badge::default();
    for (badge, path, bytes) in [
        (&nobody, "/api/v1/session", 64 * 1024 + 1),
        (&nobody, "/api/v1/invitations/accept", usize::MAX),
        (&ann, "/api/v1/orgs/acme/api-keys", 1 << 40),
    ] {
        let badge = badge.with("content-type", "application/json").with("content-length", &bytes.to_string());
        let answer = http::ask(site.house.api(), &asked(&badge, "POST", path, None));
        assert!([400, 413].contains(&is_problem(&answer)), "{path}: {}", answer.text());
    }
    // One that does not say how much it is.
    let chunked = nobody.with("content-type", "application/json").with("transfer-encoding", "chunked");
    let mut connection = Connection::open(site.house.api());
    connection.send(&asked(&chunked, "POST", "/api/v1/session", None));
    for _ in 0..5 {
        connection.send(format!("4000\r\n{}\r\n", "x".repeat(0x4000)).as_bytes());
    }
    assert_eq!(is_problem(&connection.answer()), 413);
}

/// The status of an answer that is a problem in the API's own form.
fn is_problem(answer: &http::Answer) -> u16 {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.status
}

#[test]
fn a_page_of_somebody_elses_does_nothing_with_a_session() {
    let (site, operator, _, _) = Site::furnished(SQLITE);
    let cookie = operator.0.iter().find(|(name, _)| name == "cookie").unwrap().1.clone();
    let bare = Badge::default().with("cookie", &cookie);
    let foreign = bare.with("origin", "https://evil.example").with("sec-fetch-site", "cross-site");
    for badge in [&bare, &foreign, &foreign.with("x-csrf-token", "guessed")] {
        is(site.call(badge, "POST", "/orgs/acme/suspend", None), 403);
    }
    // What a form can send without asking is no JSON, and is not read.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let form = Badge::default().with("content-type", kind);
        let body = json!({ "name": "operator", "password": PASSWORD }).to_string();
        let headers: Vec<(&str, &str)> =
            form.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = http::request("POST", "/api/v1/session", &headers, body.as_bytes());
        assert_eq!(is_problem(&http::ask(site.house.api(), &request)), 415, "{kind}");
    }
    // And nobody's page is told that it may send or read.
    let asks = foreign.with("access-control-request-method", "PUT");
    for answer in [site.call(&asks, "OPTIONS", "/orgs", None), site.get(&foreign, "/orgs")] {
        assert!(answer.header("access-control-allow-origin").is_none(), "{:?}", answer.headers);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(site.get(&operator, "/orgs/acme").json()["suspended"], false);
}

#[test]
fn what_is_no_request_is_not_one() {
    let (site, _, _, (key, _)) = Site::furnished(SQLITE);
    let api = site.house.api();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /api/v1/me\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST /api/v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = Connection::open(api);
        connection.send(nonsense);
        connection.stream.shutdown(Shutdown::Write).unwrap();
        let answer = connection.answer();
        assert!([0, 400, 401, 501, 505].contains(&answer.status), "{nonsense:?}: {}", answer.text());
        assert_ne!(answer.status, 200);
    }
    // A path is what it is: nothing in it leads elsewhere.
    for path in
        ["/api/v1/orgs/../platform/providers", "/api/v1//orgs", "/api/v1/orgs/acme%2fgroups", "/", "/livez"]
    {
        let answer = http::get(api, path);
        assert!([401, 404].contains(&is_problem(&answer)), "{path}: {}", answer.text());
    }
    // A key for applications opens nothing here, and the API's paths are not where applications connect.
    assert_eq!(is_problem(&site.get(&Badge::bearer(&key), "/orgs/acme/groups")), 401);
    assert_eq!(http::get(site.house.proxy, "/api/v1/me").status, 404);
    assert_eq!(http::get(site.house.admin, "/api/v1/me").status, 404);
}

#[test]
fn who_hangs_up_halfway_is_answered_or_forgotten() {
    let (site, operator, _, _) = Site::furnished(SQLITE);
    let api = site.house.api();
    // Half-closed after a whole request: it is answered.
    let mut connection = Connection::open(api);
    connection.send(&asked(&operator, "GET", "/api/v1/orgs", None));
    connection.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.answer().status, 200);
    // And in the midst of a body: nothing is done.
    let half = operator.with("content-type", "application/json").with("content-length", "100");
    let mut connection = Connection::open(api);
    connection.send(&asked(&half, "POST", "/api/v1/orgs", None));
    connection.send(b"{\"id\": \"half\"}");
    connection.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.answer().status, 0);
    is(site.get(&operator, "/orgs/half"), 404);
}
