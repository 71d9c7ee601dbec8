//! The end and the change of a process, as an orchestrator and an operator bring it about.

use crate::h2::{self, Event};
use crate::http::{self, Connection, Told};
use crate::keys::key;
use crate::process::until;
use crate::processes::{ENDLESS, PROMPT, SOON, site};
use palisade_audit::event::Ended;
use std::path::Path;
use std::time::Instant;

#[test]
fn readiness_goes_first_and_the_doors_stay_open_meanwhile() {
    let mut site = site("drain_grace = \"60s\"");
    let mut resting = Connection::open(site.house.proxy);
    let request = http::chat(&key("acme").secret, PROMPT);
    resting.send(&request);
    let answer = resting.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    assert_eq!(http::get(site.house.admin, "/readyz").status, 200);
    let mut process = site.house.process.take().unwrap();
    process.terminate();
    until("it is not ready any more", || {
        (http::get(site.house.admin, "/readyz").status == 503).then_some(())
    });
    assert_eq!(http::get(site.house.metrics, "/readyz").status, 503);
    assert_eq!(http::get(site.house.admin, "/livez").status, 200, "it lives");
    // Who has not heard of it yet is served, and told to go elsewhere.
    let answer = http::ask(site.house.proxy, &request);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    resting.send(&request);
    let answer = resting.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(!resting.more(), "the connection ended with its answer");
    // Told again, it waits no longer.
    let told = Instant::now();
    process.terminate();
    let status = process.ended();
    assert!(status.success() && told.elapsed() < SOON, "{status} after {:?}", told.elapsed());
    assert!(Connection::try_open(site.house.proxy).is_none());
    assert_eq!(site.house.events().0.len(), 3);
}

#[test]
fn http_2_is_told_to_go_away_and_its_streams_end_whole() {
    let mut site = site("");
    let stream = |bytes: u32| ENDLESS.replace("bytes:60000@chunk:1@", &format!("bytes:{bytes}@chunk:10@"));
    let mut client = h2::Client::open(site.house.proxy);
    client.chat(1, &key("acme").secret, &stream(300));
    client.chat(3, &key("acme").secret, &stream(600));
    while client.bodies.len() < 2 {
        assert!(client.frame());
    }
    let mut resting = h2::Client::open(site.house.proxy);
    resting.chat(1, &key("acme").secret, PROMPT);
    while resting.story.is_empty() {
        assert!(resting.frame());
    }
    let mut process = site.house.process.take().unwrap();
    process.terminate();
    for connection in [&mut resting, &mut client] {
        while connection.frame() {}
    }
    // First all streams that could still come, then, once that was heard, no more than there are (RFC 9113 §6.8).
    let gone = Event::GoAway(0);
    assert_eq!(client.story, [gone, gone, Event::Ended(1), Event::Ended(3)]);
    assert_eq!(resting.story, [Event::Ended(1), gone, gone]);
    for (stream, bytes) in [(1, 300), (3, 600)] {
        let told = Told::read(&client.bodies[&stream]);
        assert!(told.is_done && told.lane("0.content").len() == bytes, "{told:?}");
    }
    assert!(process.ended().success());
    let (events, _) = site.house.events();
    assert!(events.iter().all(|event| event.answer.unwrap().ended == Some(Ended::Complete)));
    assert_eq!(events.len(), 3);
}

#[test]
fn interrupted_at_a_terminal_it_does_not_wait() {
    let mut site = site("drain_grace = \"60s\"");
    let mut process = site.house.process.take().unwrap();
    let told = Instant::now();
    process.signal(rustix::process::Signal::INT);
    let status = process.ended();
    assert!(status.success() && told.elapsed() < SOON, "{status} after {:?}", told.elapsed());
}

#[test]
fn what_outlasts_the_drain_is_told_so() {
    let mut site = site("drain_timeout = \"200ms\"");
    let silent = r#"{"model":"mock@stall:header","messages":[{"role":"user","content":"hi"}]}"#;
    let mut waiting = Connection::open(site.house.proxy);
    waiting.send(&http::chat(&key("acme").secret, silent));
    site.double.until("the request arrives", |_| true);
    let mut stream = Connection::open(site.house.proxy);
    stream.send(&http::chat(&key("acme").secret, ENDLESS));
    let mut answer = stream.head();
    stream.chunk(&mut answer);
    site.house.stop();
    while stream.chunk(&mut answer) {}
    let told = Told::read(&answer.body);
    assert!(answer.is_whole && told.has_error && !told.is_done, "{}", answer.text());
    assert!(answer.text().contains("\"stopping\""), "{}", answer.text());
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("stopping")));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
    let (events, _) = site.house.events();
    assert!(events.iter().all(|event| event.answer.unwrap().ended == Some(Ended::Stopped)));
    assert_eq!(events.len(), 2);
}

/// Puts another configuration in the place of the former, in one step.
pub(crate) fn rewrite(folder: &Path, text: &str) {
    let beside = folder.join("palisade.new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, folder.join("palisade.toml")).unwrap();
}

#[test]
fn limits_and_the_log_s_level_change_while_it_runs() {
    let mut site = site("[limits]\nbody_bytes = \"1MiB\"");
    let long = PROMPT.replace("one", &"one ".repeat(1_000));
    let status = |site: &crate::processes::Site| site.house.chat("acme", &long).status;
    assert_eq!(status(&site), 200);
    let folder = site.house.folder.path().to_owned();
    let write = |text: &str| rewrite(&folder, &format!("drain_grace = \"0s\"\n{text}"));
    write("workers = 7\n[limits]\nbody_bytes = \"1KiB\"\n[log]\nlevel = \"debug\"");
    until("the smaller limit holds", || (status(&site) == 413).then_some(()));
    until("what is debugged is logged", || {
        site.house.chat("acme", PROMPT);
        site.house.process.as_ref().unwrap().log().contains("exchange").then_some(())
    });
    let log = site.house.process.as_ref().unwrap().log();
    assert!(log.contains("workers = 7 needs a restart"), "{log}");
    // What is broken changes nothing, and is named.
    write("[limits]\nbody_bytes = \"a lot\"");
    site.house.process.as_mut().unwrap().until("the problem is named", || {
        let log = std::fs::read_to_string(site.house.folder.path().join("serve.log")).unwrap();
        log.contains("configuration not used").then_some(())
    });
    assert_eq!(status(&site), 413);
    write("[limits]\nbody_bytes = \"1MiB\"");
    site.house.process.as_ref().unwrap().signal(rustix::process::Signal::HUP);
    until("the larger limit holds", || (status(&site) == 200).then_some(()));
    site.house.stop();
}
