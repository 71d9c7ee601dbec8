//! What does it take, and what does it cost? Codings, bombs, heads, chunks, slow readers, many streams, memory.
//!
//! Every limit is met by a process that must answer the next request as if nothing had been, with the memory it had.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer, Connection, Told};
use crate::keys::key;
use crate::process::until;
use crate::processes::{PROMPT, SOON, Site, site};
use crate::provider::{Double, flood};
use palisade_audit::event::Ended;
use std::io::{Read, Write};
use std::time::Instant;
use tempfile::TempDir;

/// What a bomb or a flood may add to the memory of a process, in KiB.
const FLAT_KIB: u64 = 64 * 1024;
const GIB: u64 = 1 << 30;

#[derive(Clone, Copy, Debug)]
enum Coding {
    Gzip,
    Zlib,
    Deflate,
    Brotli,
    Zstd,
}

const CODINGS: [Coding; 5] = [Coding::Gzip, Coding::Zlib, Coding::Deflate, Coding::Brotli, Coding::Zstd];

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib | Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn encode(self, mut text: impl Read) -> Vec<u8> {
        let level = flate2::Compression::fast();
        let mut out = Vec::new();
        match self {
            Self::Gzip => copy(&mut text, flate2::write::GzEncoder::new(&mut out, level)),
            Self::Zlib => copy(&mut text, flate2::write::ZlibEncoder::new(&mut out, level)),
            Self::Deflate => copy(&mut text, flate2::write::DeflateEncoder::new(&mut out, level)),
            Self::Brotli => copy(&mut text, brotli::CompressorWriter::new(&mut out, 64 * 1024, 1, 22)),
            Self::Zstd => {
                copy(&mut text, zstd::stream::write::Encoder::new(&mut out, 1).unwrap().auto_finish());
            }
        }
        out
    }

    fn request(self, body: &[u8]) -> Vec<u8> {
        let bearer = format!("Bearer {}", key("acme").secret);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("content-encoding", self.name()),
        ];
        http::request("POST", "/v1/chat/completions", &headers, body)
    }
}

fn copy(text: &mut impl Read, mut encoder: impl Write) {
    std::io::copy(text, &mut encoder).unwrap();
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

fn is_well(site: &Site) {
    let answer = site.house.chat("acme", PROMPT);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("one two [CREDIT_CARD]"), "{}", answer.text());
}

#[test]
fn every_coding_is_undone_and_what_leaves_has_none() {
    let mut site = site("");
    for coding in CODINGS {
        site.double.forget();
        let answer = http::ask(site.house.proxy, &coding.request(&coding.encode(PROMPT.as_bytes())));
        assert_eq!(answer.status, 200, "{coding:?}: {}", answer.text());
        let received = site.double.received().pop().unwrap();
        assert_eq!(received.header("content-encoding"), None);
        assert_eq!(received.body, PROMPT.replace("4111 1111 1111 1111", "[CREDIT_CARD]"), "{coding:?}");
    }
    let words = "what is said at length ".repeat(100_000);
    let long = format!(r#"{{"model":"mock@bytes:1","messages":[{{"role":"user","content":"{words}"}}]}}"#);
    let bits = noise(400_000);
    let hard = format!(r#"{{"model":"mock@bytes:1","messages":[{{"role":"user","content":"{bits}"}}]}}"#);
    for coding in CODINGS {
        // More than is decoded in place, out of little and out of much.
        for body in [&hard, &long] {
            let encoded = coding.encode(body.as_bytes());
            let answer = http::ask(site.house.proxy, &coding.request(&encoded));
            let is_too_much = body.len() > 100 * encoded.len();
            let expected = if is_too_much { 413 } else { 200 };
            assert_eq!(answer.status, expected, "{coding:?}: {}", answer.text());
        }
    }
    site.house.stop();
}

/// Letters that nobody can press: the same ones each time.
fn noise(bytes: usize) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEF"[(state >> 40) as usize % 32])
    };
    std::iter::repeat_with(letter).take(bytes).collect()
}

#[test]
fn what_is_not_the_whole_of_a_coding_is_refused() {
    let site = site("");
    let invalid = (400, "invalid_encoding".to_owned());
    for coding in CODINGS {
        let encoded = coding.encode(PROMPT.as_bytes());
        let mut client = Connection::open(site.house.proxy);
        let mut refused = |body: &[u8], what: &str| {
            client.send(&coding.request(body));
            assert_eq!(code(&client.answer()), invalid, "{coding:?}: {what}");
        };
        for end in 0..encoded.len() {
            refused(&encoded[..end], &format!("cut at {end} of {}", encoded.len()));
        }
        refused(&[&encoded[..], b"\n"].concat(), "a byte after the end");
        refused(&[&encoded[..], &encoded[..]].concat(), "a second body after the first");
        refused(PROMPT.as_bytes(), "no coding at all");
    }
    is_well(&site);
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let site = site("");
    is_well(&site);
    let process = site.house.process.as_ref().unwrap();
    let before = process.peak_kib();
    for coding in CODINGS {
        let bomb = coding.encode(std::io::repeat(0).take(GIB));
        let thrown = Instant::now();
        let answer = http::ask(site.house.proxy, &coding.request(&bomb));
        let (status, code) = code(&answer);
        assert_eq!(status, 413, "{coding:?} of {} bytes: {}", bomb.len(), answer.text());
        assert!(["request_too_large", "encoding_ratio_exceeded"].contains(&code.as_str()), "{code}");
        assert!(thrown.elapsed() < SOON, "{coding:?} took {:?}", thrown.elapsed());
        is_well(&site);
    }
    let added = process.peak_kib() - before;
    assert!(added < FLAT_KIB + 32 * 1024, "{added} KiB were added at the peak");
    // A window that alone would take 128 MiB and more.
    let mut frame = b"\x28\xB5\x2F\xFD\x00".to_vec();
    frame.extend([(27 - 10) << 3, 1, 0, 0]);
    let answer = http::ask(site.house.proxy, &Coding::Zstd.request(&frame));
    assert_eq!(code(&answer), (400, "invalid_encoding".to_owned()));
}

#[test]
fn the_limit_of_bodies_is_the_limit_of_what_comes_out() {
    let site = site("[limits]\nbody_bytes = \"100KiB\"\ncoding_ratio = 1000");
    for coding in CODINGS {
        for (more, expected) in [(0, 200), (1, 413)] {
            let head = r#"{"model":"mock@bytes:1","messages":[{"role":"user","content":""#;
            let tail = r#""}]}"#;
            let room = 100 * 1024 + more - head.len() - tail.len();
            let body = format!("{head}{}{tail}", noise(1000) + &"x".repeat(room - 1000));
            let answer = http::ask(site.house.proxy, &coding.request(&coding.encode(body.as_bytes())));
            assert_eq!(answer.status, expected, "{coding:?}: {}", answer.text());
        }
    }
}

/// A number on the metrics page.
fn gauge(house: &House, name: &str) -> u64 {
    let page = http::get(house.metrics, "/metrics").text();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("`{name}` is not on the page:\n{page}")).parse().unwrap()
}

/// A request whose body of so many bytes never comes to its end.
fn hold(house: &House, organisation: &str, bytes: usize) -> Connection {
    let mut client = Connection::open(house.proxy);
    let whole = http::chat(&key(organisation).secret, &" ".repeat(bytes + 1));
    client.send(&whole[..whole.len() - 1]);
    client
}

#[test]
fn memory_for_bodies_is_shared_out_fairly_and_given_back() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![organisation("acme", ""), organisation("other", "")],
        config: "[limits]\nbodies_in_memory = \"600KiB\"\nbodies_per_organisation = \"400KiB\"".to_owned(),
    });
    let overloaded = (503, "overloaded".to_owned());
    let ask = |organisation: &str| {
        let padded = PROMPT.replace("one", &"one ".repeat(16 * 1024));
        house.chat(organisation, &padded)
    };
    let is_held = |bytes: u64| {
        until("the bodies are there", || (gauge(&house, "palisade_body_bytes") == bytes).then_some(()));
    };
    let held = hold(&house, "acme", 380 * 1024);
    is_held(380 * 1024);
    let refused = ask("acme");
    assert_eq!((code(&refused), refused.header("retry-after")), (overloaded.clone(), Some("1")));
    assert_eq!(ask("other").status, 200, "what others may have is as much as before");
    let more = hold(&house, "other", 180 * 1024);
    is_held(560 * 1024);
    assert_eq!(code(&ask("other")), overloaded);
    drop((held, more));
    is_held(0);
    assert_eq!([ask("acme").status, ask("other").status], [200, 200]);
}

#[test]
fn a_client_that_does_not_read_is_left_and_costs_no_memory() {
    let mut site = site("[limits]\nwrite_timeout = \"300ms\"");
    is_well(&site);
    site.double.forget();
    let before = site.house.process.as_ref().unwrap().resident_kib();
    let flood = r#"{"model":"mock@bytes:60000000@chunk:1000","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::chat(&key("acme").secret, flood));
    let received = site.double.until("the double is left", |received| received.done);
    assert!(received.client_left);
    let added = site.house.process.as_ref().unwrap().resident_kib().saturating_sub(before);
    assert!(added < FLAT_KIB, "{added} KiB were added");
    is_well(&site);
    site.house.stop();
    let (events, _) = site.house.events();
    assert_eq!(events[1].answer.unwrap().ended, Some(Ended::ClientLeft));
    drop(client);
}

#[test]
fn heads_that_are_too_large_too_many_or_no_text_are_answered_and_counted() {
    let site = site("");
    let long = "x".repeat(100 * 1024);
    let huge = "x".repeat(3 * 1024 * 1024);
    let line = |value: &str| {
        http::request("POST", "/v1/chat/completions", &[("x-long", value), ("content-length", "0")], b"")
    };
    let many: Vec<(String, String)> = (0..5000).map(|at| (format!("x-{at}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let many = http::request("POST", "/v1/chat/completions", &many, b"");
    for (what, request, expected) in [
        ("100 KiB", line(&long), &[431][..]),
        ("3 MiB", line(&huge), &[0, 400, 431]),
        ("5 000 headers", many, &[0, 400, 431]),
        ("a NUL", line("a\0b"), &[400]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\r\n\r\n".to_vec(), &[400]),
    ] {
        let answer = http::ask(site.house.proxy, &request);
        assert!(expected.contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        is_well(&site);
    }
    let counted = |code: &str| {
        gauge(&site.house, &format!("palisade_refusals_total{{code=\"{code}\",stage=\"arrival\"}}"))
    };
    assert_eq!(counted("header_too_large"), 1);
    assert!(counted("invalid_http") >= 2);
}

#[test]
fn chunks_that_are_none_end_with_an_answer_and_their_connection() {
    let mut site = site("");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        key("acme").secret
    );
    let whole = format!("{:x}\r\n{PROMPT}\r\n0\r\n\r\n", PROMPT.len());
    let answer = http::ask(site.house.proxy, format!("{head}{whole}").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let extended = format!("{:x};name=value\r\n{PROMPT}\r\n0\r\n\r\n", PROMPT.len());
    let answer = http::ask(site.house.proxy, format!("{head}{extended}").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let smuggled = "GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n";
    let broken = [
        format!("zz\r\n{PROMPT}\r\n0\r\n\r\n"),
        format!("{:x}\r\n{PROMPT}XX0\r\n\r\n{smuggled}", PROMPT.len()),
        format!("ffffffffffffffffff\r\n{PROMPT}\r\n0\r\n\r\n"),
        format!("-1\r\n{PROMPT}\r\n0\r\n\r\n"),
        format!("5\r\nhello\r\nno size\r\n{smuggled}"),
    ];
    for body in &broken {
        let mut client = Connection::open(site.house.proxy);
        client.send(format!("{head}{body}").as_bytes());
        let answer = client.answer();
        assert_eq!(code(&answer), (400, "invalid_request".to_owned()), "{body}");
        assert_eq!(answer.header("connection"), Some("close"), "{body}");
        assert!(!client.more(), "nothing of what follows is a request: {body}");
    }
    is_well(&site);
    site.house.stop();
    let refused = |event: &&palisade_audit::Event| event.refusal.is_some();
    assert_eq!(site.house.events().0.iter().filter(refused).count(), broken.len());
}

#[test]
fn many_silent_streams_cost_little_and_leave_nothing() {
    const STREAMS: u64 = 500;
    let mut site = site("");
    is_well(&site);
    let process = site.house.process.as_ref().unwrap();
    let before = process.resident_kib();
    // A first part that is passed on, then silence.
    let prompt = r#"{"model":"mock@bytes:4000@chunk:20@stall:2000","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = http::chat(&key("acme").secret, prompt);
    let mut streams: Vec<Connection> = (0..STREAMS).map(|_| Connection::open(site.house.proxy)).collect();
    for stream in &mut streams {
        stream.send(&request);
    }
    for stream in &mut streams {
        let mut answer = stream.head();
        assert_eq!(answer.status, 200);
        assert!(stream.chunk(&mut answer));
    }
    let in_flight = || gauge(&site.house, "palisade_requests_in_flight");
    assert_eq!(in_flight(), STREAMS);
    let each = process.resident_kib().saturating_sub(before) / STREAMS;
    assert!(each < 160, "{each} KiB a stream");
    is_well(&site);
    drop(streams);
    until("all streams are over", || (in_flight() == 0).then_some(()));
    site.house.stop();
    let (events, damages) = site.house.events();
    assert_eq!((events.len() as u64, damages), (STREAMS + 2, 0));
}

#[test]
fn a_stream_of_silence_is_ended_by_the_provider_s_limits_and_told() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", "idle_timeout = \"200ms\""),
        organisations: vec![organisation("acme", "")],
        config: String::new(),
    });
    let prompt = r#"{"model":"mock@bytes:4000@chunk:20@stall:2000","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = house.chat("acme", prompt);
    let told = Told::read(&answer.body);
    assert!(answer.is_whole && told.has_error && !told.is_done, "{}", answer.text());
}

#[test]
fn a_provider_that_never_pauses_has_no_more_time_than_others() {
    let words = "word ".repeat(400);
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{words}\"}}}}]}}\n\n");
    // More than anybody scans in this time.
    let flood = flood(&event, GIB as usize);
    let house = House::start(&Plan {
        platform: provider("flood", flood, "flood", "total_timeout = \"300ms\""),
        organisations: vec![organisation("acme", "")],
        config: String::new(),
    });
    let asked = Instant::now();
    let prompt = PROMPT.replace("mock", "flood").replacen('{', r#"{"stream":true,"#, 1);
    let answer = house.chat("acme", &prompt);
    let took = asked.elapsed();
    assert!(took.as_millis() >= 300 && took < SOON, "it took {took:?}");
    let told = Told::read(&answer.body);
    assert!(answer.is_whole && told.has_error && !told.is_done, "{:?}", told.finish);
    assert!(told.lane("0.content").starts_with("word word "));
    assert_eq!(house.event_of(&answer).answer.unwrap().ended, Some(Ended::UpstreamBroken));
}
