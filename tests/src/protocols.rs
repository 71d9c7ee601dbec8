//! Which ways of speaking HTTP come to the same? HTTP/1.1 with all its habits, HTTP/2 with prior knowledge, TLS.
//!
//! HTTP/2 and TLS are spoken by `curl`, a client that is not of our making; a build of it with HTTP/2 must be there.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Connection, Told};
use crate::keys::key;
use crate::processes::{ENDLESS, PROMPT, SOON, Site, site};
use crate::provider::Double;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

pub(crate) const STREAM: &str = r#"{"model":"mock@chunk:3","stream":true,"messages":[{"role":"user","content":"one two 4111 1111 1111 1111"}]}"#;

/// A `curl` that asks for a chat completion, prints the body, then the protocol and the status in a last line.
pub(crate) fn curl(url: &str, body: &str, more: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--no-buffer", "--noproxy", "*"])
        .args(["--write-out", "\n%{http_version} %{http_code}"])
        .args(["--header", "content-type: application/json"])
        .args(["--header", &format!("authorization: Bearer {}", key("acme").secret)])
        .args(["--data-binary", body])
        .args(more)
        .arg(format!("{url}/v1/chat/completions"));
    curl
}

/// Its answer: body, protocol and status.
pub(crate) fn asked(mut curl: Command) -> (String, String) {
    let output = curl.output().expect("these tests need `curl` with HTTP/2");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (body, last) = text.rsplit_once('\n').unwrap();
    (body.to_owned(), last.to_owned())
}

fn assert_redacted(body: &str) {
    let told = Told::read(body.as_bytes());
    assert!(told.is_done && told.lane("0.content") == "one two [CREDIT_CARD]", "{body}");
}

#[test]
fn http_2_with_prior_knowledge_is_spoken() {
    let mut site = site("[limits]\nbody_bytes = \"1KiB\"");
    let url = format!("http://{}", site.house.proxy);
    let http2 = ["--http2-prior-knowledge"];
    let (body, last) = asked(curl(&url, STREAM, &http2));
    assert_eq!(last, "2 200");
    assert_redacted(&body);
    let (body, last) = asked(curl(&url, &"x".repeat(2_000), &http2));
    assert_eq!(last, "2 413", "{body}");
    let (body, last) = asked(curl(&url, r#"{"model":"gpt-9","messages":[]}"#, &http2));
    assert!(last == "2 404" && body.contains("model_not_found"), "{body}");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_redacted(&asked(curl(&url, STREAM, &http2)).0));
        }
    });
    site.house.stop();
    assert_eq!(site.house.events().0.len(), 7);
}

#[test]
fn a_stream_of_http_2_that_is_reset_leaves_the_provider() {
    let site = site("");
    let url = format!("http://{}", site.house.proxy);
    let mut client = curl(&url, ENDLESS, &["--http2-prior-knowledge"]).stdout(Stdio::null()).spawn().unwrap();
    site.double.until("the stream begins", |_| true);
    let left = Instant::now();
    client.kill().unwrap();
    client.wait().unwrap();
    let received = site.double.until("the double is left", |received| received.done);
    assert!(received.client_left && left.elapsed() < SOON, "it took {:?}", left.elapsed());
}

#[test]
fn tls_speaks_http_2_and_http_1() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "[proxy]\nlisten = \"127.0.0.1:0\"\ntls = {{ certificate = \"{}\", key = \"{}\" }}",
        path("cert.pem"),
        path("key.pem")
    );
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![organisation("acme", "")],
        config,
    });
    let url = format!("https://{}", house.proxy);
    let authority = path("cert.pem");
    for (protocol, expected) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let (body, last) = asked(curl(&url, STREAM, &[protocol, "--cacert", &authority]));
        assert_eq!(last, expected);
        assert_redacted(&body);
    }
    let log = house.process.as_ref().unwrap().log();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    let ready = std::fs::read_to_string(house.folder.path().join("ready.json")).unwrap();
    assert!(ready.contains("\"proxy\":\"https://127.0.0.1:"), "{ready}");
}

fn content(answer: &http::Answer) -> String {
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

fn prompt(text: &str, model: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    http::chat(&key("acme").secret, &body)
}

#[test]
fn requests_on_one_connection_are_answered_in_their_order() {
    let site = site("");
    let mut client = Connection::open(site.house.proxy);
    let both = [prompt("first", "mock@slow_header:50"), prompt("second", "mock")].concat();
    client.send(&both);
    assert_eq!(content(&client.answer()), "first");
    assert_eq!(content(&client.answer()), "second");
    // The next one comes while the answer before it is awaited: that is no leaving.
    client.send(&prompt("third", "mock@slow_header:300"));
    site.double.until("the third is under way", |received| received.body.contains("third"));
    client.send(&prompt("fourth", "mock"));
    assert_eq!(content(&client.answer()), "third");
    assert_eq!(content(&client.answer()), "fourth");
}

#[test]
fn a_refusal_leaves_the_connection_usable() {
    let site = site("");
    let mut client = Connection::open(site.house.proxy);
    for _ in 0..3 {
        client.send(&http::chat("pk_live_nobody", PROMPT));
        assert_eq!(client.answer().status, 401);
        client.send(&prompt("after", "mock"));
        assert_eq!(content(&client.answer()), "after");
    }
}

#[test]
fn a_body_in_chunks_is_a_body() {
    let site = site("[limits]\nbody_bytes = \"1KiB\"");
    let bearer = format!("Bearer {}", key("acme").secret);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
    ];
    let chunked = |body: &str| {
        let (one, two) = body.split_at(body.len() / 2);
        let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
        chunk(one) + &chunk(two) + "0\r\n\r\n"
    };
    let ask = |site: &Site, body: &str| {
        let body = chunked(body);
        http::ask(site.house.proxy, &http::request("POST", "/v1/chat/completions", &headers, body.as_bytes()))
    };
    assert_eq!(content(&ask(&site, PROMPT)), "one two [CREDIT_CARD]");
    let answer = ask(&site, &"x".repeat(1_025));
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (413, Some("request_too_large")));
}

#[test]
fn who_waits_to_be_told_to_continue_is_told() {
    let site = site("");
    let request = prompt("patient", "mock");
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut client = Connection::open(site.house.proxy);
    client.send(&request[..end]);
    client.send(b"\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send(&request[end + 4..]);
    assert_eq!(content(&client.answer()), "patient");
}

#[test]
fn a_request_that_two_could_read_in_two_ways_is_not_read_twice() {
    let site = site("");
    let bearer = format!("Bearer {}", key("acme").secret);
    let smuggled = String::from_utf8(prompt("smuggled", "mock")).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\ncontent-type: application/json\r\n"
    );
    for (lengths, body) in [
        (format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", 5 + smuggled.len()), "0\r\n\r\n"),
        ("content-length: 0\r\ncontent-length: 5\r\n".to_owned(), ""),
        ("transfer-encoding: chunked, identity\r\n".to_owned(), "0\r\n\r\n"),
        ("content-length: +5\r\n".to_owned(), ""),
    ] {
        site.double.forget();
        let mut client = Connection::open(site.house.proxy);
        client.send(format!("{head}{lengths}\r\n{body}{smuggled}").as_bytes());
        let answer = client.answer();
        assert!(matches!(answer.status, 0 | 400..=499), "{lengths}: {}", answer.text());
        assert_eq!(client.answer().status, 0, "{lengths}: the rest was read as a request");
        assert!(site.double.received().is_empty(), "{lengths}");
    }
}

#[test]
fn a_head_without_a_body_is_answered_without_one() {
    let site = site("");
    let bearer = format!("Bearer {}", key("acme").secret);
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::request("HEAD", "/v1/models", &[("authorization", &bearer)], b""));
    let answer = client.head();
    assert_eq!(answer.status, 404);
    assert!(answer.header("content-length").is_some_and(|length| length != "0"));
    // Nothing of a body stands before the next answer.
    client.send(&prompt("after", "mock"));
    assert_eq!(content(&client.answer()), "after");
}

#[test]
fn a_connection_of_http_2_that_rests_is_closed() {
    let site = site("[limits]\nheader_timeout = \"1s\"");
    let mut client = Connection::open(site.house.proxy);
    // The preface, and settings that ask for nothing (RFC 9113 §3.4, §6.5).
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    let opened = Instant::now();
    while client.more() {}
    assert!(opened.elapsed() < SOON, "it took {:?}", opened.elapsed());
}
