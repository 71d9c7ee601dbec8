//! The life of the process: what a stop, a crash, a client that leaves and a client that dawdles come to.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer, Connection, Told};
use crate::keys::key;
use crate::process::until;
use crate::provider::Double;
use palisade_audit::event::Ended;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is promised to happen within a second may take this long on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(3);
/// Clients that ask without a pause.
const CLIENTS: usize = 6;

pub(crate) const PROMPT: &str =
    r#"{"model":"mock","messages":[{"role":"user","content":"one two 4111 1111 1111 1111"}]}"#;

/// A stream that lasts longer than any test, unless it is ended.
pub(crate) const ENDLESS: &str = r#"{"model":"mock@bytes:60000@chunk:1@delay:20ms","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// An installation with a double behind it and one organisation, `acme`.
pub(crate) struct Site {
    pub(crate) house: House,
    pub(crate) double: Double,
    _folder: TempDir,
}

pub(crate) fn site(config: &str) -> Site {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![organisation("acme", "")],
        config: config.to_owned(),
    });
    Site { house, double, _folder: folder }
}

/// Asks from several threads until told to stop or refused a connection; gives what was answered, whole or not.
fn hammer(house: &House, meanwhile: impl FnOnce(&AtomicUsize)) -> Vec<Answer> {
    let (answers, answered, is_over) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicBool::new(false));
    let request = http::chat(&key("acme").secret, PROMPT);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let Some(mut connection) = Connection::try_open(house.proxy) else { return };
                    connection.send(&request);
                    let answer = connection.answer();
                    answered.fetch_add(usize::from(answer.is_whole), Ordering::Relaxed);
                    answers.lock().unwrap().push(answer);
                }
            });
        }
        meanwhile(&answered);
        is_over.store(true, Ordering::Relaxed);
    });
    answers.into_inner().unwrap()
}

/// Every answer that has its end is the right one.
fn assert_right(answers: &[Answer]) -> usize {
    let whole: Vec<&Answer> = answers.iter().filter(|answer| answer.is_whole).collect();
    for answer in &whole {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "one two [CREDIT_CARD]");
    }
    whole.len()
}

#[test]
fn asked_to_stop_it_finishes_what_it_began_and_remembers_everything() {
    let mut site = site("drain_timeout = \"20s\"");
    let slow = r#"{"model":"mock@bytes:400@chunk:8@delay:10ms","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut streams: Vec<Connection> = (0..4).map(|_| Connection::open(site.house.proxy)).collect();
    for stream in &mut streams {
        stream.send(&http::chat(&key("acme").secret, slow));
    }
    let heads: Vec<Answer> = streams.iter_mut().map(Connection::head).collect();
    let process = site.house.process.take().unwrap();
    let answers = hammer(&site.house, |answered| {
        until("some are answered", || (answered.load(Ordering::Relaxed) > 40).then_some(()));
        assert_eq!(http::get(site.house.admin, "/readyz").status, 200);
        process.terminate();
        // Not ready is said in words or by a closed door.
        until("it is not ready any more", || {
            let answer = Connection::try_open(site.house.admin).map(|mut connection| {
                connection.send(&http::request("GET", "/readyz", &[("connection", "close")], b""));
                connection.answer().status
            });
            (answer != Some(200)).then_some(())
        });
    });
    for (stream, mut answer) in streams.iter_mut().zip(heads) {
        while stream.chunk(&mut answer) {}
        let told = Told::read(&answer.body);
        assert!(answer.is_whole && told.is_done && told.lane("0.content").len() == 400, "{}", answer.text());
    }
    let mut process = process;
    let status = process.ended();
    assert!(status.success(), "{status}: {}", process.log());
    let whole = assert_right(&answers);
    let (events, damages) = site.house.events();
    assert_eq!((events.len(), damages), (whole + 4, 0), "an event for each answer, and none besides");
    assert!(
        events.iter().all(|event| event.answer.is_some_and(|answer| answer.ended == Some(Ended::Complete)))
    );
}

#[test]
fn streams_that_outlast_the_drain_are_cut_off_visibly() {
    let mut site = site("drain_timeout = \"200ms\"");
    let mut stream = Connection::open(site.house.proxy);
    stream.send(&http::chat(&key("acme").secret, ENDLESS));
    let mut answer = stream.head();
    stream.chunk(&mut answer);
    site.house.stop();
    while stream.chunk(&mut answer) {}
    let text = answer.text();
    assert!(!answer.is_whole || text.contains("\"error\""), "{text}");
    assert!(!text.contains("[DONE]"));
    assert_eq!(site.house.events().0.len(), 1, "its event is written all the same");
}

#[test]
fn after_a_crash_the_spool_is_readable_and_no_answer_was_wrong() {
    let mut site = site("");
    let process = Mutex::new(site.house.process.take());
    let answers = hammer(&site.house, |answered| {
        until("some are answered", || (answered.load(Ordering::Relaxed) > 60).then_some(()));
        process.lock().unwrap().take().unwrap().crash();
    });
    let whole = assert_right(&answers);
    site.house.launch();
    assert_right(&[site.house.chat("acme", PROMPT)]);
    site.house.stop();
    let (events, damages) = site.house.events();
    assert_eq!(damages, 0);
    assert!(events.len() <= answers.len() + 1 && whole > 60, "{} events, {whole} answers", events.len());
    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "an event twice");
}

#[test]
fn when_a_client_leaves_the_provider_is_left_too() {
    let mut site = site("");
    let silent = r#"{"model":"mock@stall:header","messages":[{"role":"user","content":"hi"}]}"#;
    for (prompt, is_begun) in [(ENDLESS, true), (silent, false)] {
        site.double.forget();
        let mut client = Connection::open(site.house.proxy);
        client.send(&http::chat(&key("acme").secret, prompt));
        if is_begun {
            let mut answer = client.head();
            client.chunk(&mut answer);
        } else {
            site.double.until("the request arrives", |_| true);
        }
        let left = Instant::now();
        drop(client);
        let received = site.double.until("the double is left", |received| received.done);
        assert!(received.client_left);
        assert!(left.elapsed() < SOON, "it took {:?}", left.elapsed());
    }
    site.house.stop();
    let (events, _) = site.house.events();
    let ended: Vec<_> = events.iter().map(|event| event.answer.unwrap().ended).collect();
    assert_eq!(ended, [Some(Ended::ClientLeft); 2]);
    assert_eq!(events[1].status, None, "nobody was sent a status");
}

#[test]
fn a_head_that_dawdles_is_given_up() {
    let site = site("[limits]\nheader_timeout = \"200ms\"");
    let mut client = Connection::open(site.house.proxy);
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-slow: ");
    // Each byte comes before any pause would be too long: the deadline is for the whole head.
    let started = Instant::now();
    let (done, is_done) = mpsc::channel();
    let mut writer = client.stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        while is_done.recv_timeout(Duration::from_millis(20)).is_err() {
            if std::io::Write::write_all(&mut writer, b"a").is_err() {
                return;
            }
        }
    });
    let answer = client.answer();
    assert!(matches!(answer.status, 0 | 408), "{}", answer.status);
    assert!(started.elapsed() < SOON);
    let _ = done.send(());
    dripping.join().unwrap();
}

#[test]
fn a_body_that_dawdles_is_refused() {
    let mut site = site("[limits]\nbody_timeout = \"200ms\"");
    let mut client = Connection::open(site.house.proxy);
    let request = http::chat(&key("acme").secret, PROMPT);
    client.send(&request[..request.len() - 10]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (408, Some("read_timeout")));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    site.house.stop();
    assert_eq!(site.house.events().0[0].refusal.as_ref().unwrap().code, "read_timeout");
}

#[test]
fn every_metric_of_the_table_is_on_the_page() {
    let site = site("");
    site.house.chat("acme", PROMPT);
    site.house.chat("acme", r#"{"model":"gpt-9","messages":[]}"#);
    let names = [
        "palisade_requests_total{decision=\"redact\",endpoint=\"chat_completions\",status_class=\"2xx\"} 1",
        "palisade_refusals_total{code=\"model_not_found\",stage=\"model_access\"} 1",
        "palisade_stage_duration_seconds_count{stage=\"dlp\"}",
        "palisade_request_overhead_seconds_count 1",
        "palisade_upstream_duration_seconds_count{provider=\"double\"} 1",
        "palisade_time_to_first_byte_seconds_count{provider=\"double\"} 1",
        "palisade_tokens_total{direction=\"input\",provider=\"double\"}",
        "palisade_findings_total{action=\"redact\",category=\"payment\"}",
        "palisade_config_revision{state=\"loaded\"} 1",
        "palisade_audit_spool_depth",
        "palisade_audit_dropped_total 0",
    ];
    // What is counted when an exchange is over may come a moment after its answer.
    let page = until("every metric is on the page", || {
        let page = http::get(site.house.metrics, "/metrics").text();
        names.iter().all(|name| page.contains(name)).then_some(page)
    });
    assert!(!page.contains("acme"), "no label names a tenant");
}
