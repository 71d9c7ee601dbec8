//! Does anything stay behind? Many exchanges of every kind at once, and then a process that rests as it did before.
//!
//! Which exchange comes next is drawn from a fixed seed: answers in one piece and in events, refusals, providers that
//! break in every way, clients that leave at every point, bytes that are no HTTP. Afterwards no exchange is under way,
//! no budget is reserved, no connection is held, every known caller's request has its event, and memory is back.
//! `PALISADE_EXCHANGES=100000` makes it as long as one likes.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Connection};
use crate::keys::key;
use crate::process::until;
use crate::provider::Double;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Enough that each kind meets each other kind.
const EXCHANGES: usize = 3_000;
/// Clients at once.
const CLIENTS: usize = 12;
/// What each request reserves: a single reservation that stays behind is more than all exchanges use together.
const RESERVED: u64 = 1_000_000_000;
/// Requests before memory is read for the first time: pools, buffers and caches are as large as they get.
const WARM_UP: usize = 500;
/// What the process may keep beyond that, in KiB: the allocator's own unevenness.
const KEPT_KIB_MAX: u64 = 16 * 1024;
/// Connections to providers that may rest in the pool, and whatever else the process opens in its life.
const DESCRIPTORS_MORE_MAX: usize = 64;

const ORGANISATION: &str = r#"
policy = [
  { name = "cards stay", entities = ["CREDIT_CARD"], direction = "input", action = "block" },
  { name = "mail stays", entities = ["EMAIL_ADDRESS"], action = "redact" },
]
[[quotas]]
subject = "organisation"
tokens_per_day = 9_000_000_000_000_000
requests_per_minute = 1_000_000_000
[[routes]]
name = "chain"
models = ["chain"]
targets = ["double/mock@status:503", "double/mock@reset:header", "double/mock@reset:connect", "double/mock"]
"#;

/// How providers fail, as models that the double knows.
const FAULTS: &[&str] = &[
    "mock@status:429@retry_after:1",
    "mock@status:500",
    "mock@status:401",
    "mock@reset:connect",
    "mock@reset:header",
    "mock@reset:body:40",
    "mock@close:60",
    "mock@malformed",
    "mock@empty",
    "mock@no_usage",
    "mock@no_done",
    "mock@cut:1",
];

/// Those whose answers cannot be used. In one piece, each is charged all that was put aside, which would look like a
/// reservation that stayed behind.
const UNUSABLE: &[&str] = &["mock@malformed", "mock@empty"];

/// A generator of numbers that are the same in every run (xorshift64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

fn body(model: &str, text: &str, is_stream: bool) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!(
        r#"{{"model":"{model}","stream":{is_stream},"max_completion_tokens":{RESERVED},"messages":[{{"role":"user","content":{text}}}]}}"#
    )
}

/// One exchange of some kind. Says whether a known caller's request was sent whole, so that an event must follow.
fn exchange(proxy: SocketAddr, secret: &str, draw: &mut Draw) -> bool {
    let is_stream = draw.below(2) == 0;
    let fault = FAULTS[draw.below(FAULTS.len())];
    let chat = |model: &str, text: &str| {
        let is_stream = is_stream || UNUSABLE.contains(&model);
        http::chat(secret, &body(model, text, is_stream))
    };
    match draw.below(12) {
        0 | 1 => drop(http::ask(proxy, &chat("mock", "Good morning, all is well."))),
        2 => drop(http::ask(proxy, &chat("mock", "write to jane.doe@example.org, please"))),
        3 => drop(http::ask(proxy, &chat("mock", "my card is 4111 1111 1111 1111"))),
        4 | 5 => drop(http::ask(proxy, &chat(fault, "anybody there?"))),
        6 => drop(http::ask(proxy, &chat("chain", "try them all"))),
        7 => drop(http::ask(proxy, &http::chat(secret, r#"{"model":"mock","messages":[}"#))),
        8 => {
            http::ask(proxy, &http::chat("pk_live_nobody", &body("mock", "hello", is_stream)));
            return false;
        }
        9 => {
            // Leaves in the middle of its request.
            let request = chat("mock", "this will never be sent whole");
            let at = draw.below(request.len());
            Connection::open(proxy).send(&request[..at]);
            return false;
        }
        10 => {
            // Leaves while the provider thinks, or in the middle of its answer.
            let model = ["mock@slow_header:5s", "mock@chunk:1@delay:20ms", "mock@stall:900"][draw.below(3)];
            let mut connection = Connection::open(proxy);
            connection.send(&http::chat(secret, &body(model, "a long story of many words", true)));
            if model != "mock@slow_header:5s" {
                connection.head();
            }
        }
        _ => {
            Connection::open(proxy).send(b"\x16\x03\x01 this is no HTTP\r\n\r\n");
            return false;
        }
    }
    true
}

struct Rest {
    resident_kib: u64,
    descriptors: usize,
}

fn rest(id: u32) -> Rest {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kib = line.trim().trim_end_matches(" kB").parse().unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    Rest { resident_kib, descriptors }
}

fn gauge(house: &House, name: &str) -> f64 {
    let page = http::get(house.metrics, "/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("`/metrics` has no `{name}`")).parse().unwrap()
}

/// All clients together; how many events must follow at least.
fn storm(house: &House, exchanges: usize, seed: u64) -> usize {
    let (proxy, secret) = (house.proxy, key("acme").secret);
    let (left, known) = (AtomicUsize::new(exchanges), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (secret, left, known) = (&secret, &left, &known);
            scope.spawn(move || {
                let mut draw = Draw(seed + 0x9e37_79b9 * (client as u64 + 1));
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    known.fetch_add(usize::from(exchange(proxy, secret, &mut draw)), Ordering::Relaxed);
                }
            });
        }
    });
    until("every exchange is over", || (gauge(house, "palisade_requests_in_flight") < 0.5).then_some(()));
    known.into_inner()
}

#[test]
fn nothing_stays_behind() {
    let exchanges = std::env::var("PALISADE_EXCHANGES").map_or(EXCHANGES, |number| number.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let mut house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![organisation("acme", ORGANISATION)],
        config: "workers = 2\n[limits]\nbody_timeout = \"2s\"\nheader_timeout = \"2s\"".to_owned(),
    });
    let id = house.process.as_ref().unwrap().id();
    let mut known = storm(&house, WARM_UP, 1);
    let before = rest(id);
    known += storm(&house, exchanges, 2);
    until("connections and memory are given back", || {
        let now = rest(id);
        let is_back = now.resident_kib <= before.resident_kib + KEPT_KIB_MAX
            && now.descriptors <= before.descriptors + DESCRIPTORS_MORE_MAX;
        is_back.then_some(())
    });
    let probe = house.chat("acme", &body("mock", "what is left?", false));
    assert_eq!(probe.status, 200, "{}", probe.text());
    let remaining: u64 = probe.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
    // The probe's own reservation stands while its head is written.
    let used = 9_000_000_000_000_000 - remaining - RESERVED;
    assert!(used < RESERVED, "{used} tokens are still put aside");
    house.stop();
    let (events, damages) = house.events();
    assert_eq!(damages, 0);
    assert!(events.len() > known, "{} events of {known} requests and the probe", events.len());
}
