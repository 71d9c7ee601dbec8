//! Budgets of a process: how many are under way, what a restart keeps, what a crash may lose, and what is left when all
//! is over.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer, Connection};
use crate::keys::key;
use crate::process::until;
use crate::processes::{ENDLESS, SOON};
use crate::provider::Double;
use palisade_audit::event::{TokenSource, Tokens};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROMPT: &str = r#"{"model":"mock","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
const STALLED: &str =
    r#"{"model":"mock@stall:header","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
/// More than any test asks.
const MANY: u64 = 1_000_000;

struct Site {
    house: House,
    double: Double,
    _folder: TempDir,
}

fn site(quotas: &str) -> Site {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![organisation("acme", quotas)],
        config: "drain_timeout = \"10s\"".to_owned(),
    });
    Site { house, double, _folder: folder }
}

fn left(answer: &Answer, unit: &str) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header(&format!("x-ratelimit-remaining-{unit}")).expect("what is left is said").parse().unwrap()
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn one_too_many_at_once_is_refused_until_another_ends() {
    let site = site("quotas = [{ subject = \"key\", requests_at_once = 2 }]");
    let mut waiting: Vec<Connection> = (0..2).map(|_| Connection::open(site.house.proxy)).collect();
    for (at, client) in waiting.iter_mut().enumerate() {
        client.send(&http::chat(&key("acme").secret, STALLED));
        until("the double has it", || (site.double.received().len() == at + 1).then_some(()));
    }
    let refused = site.house.chat("acme", PROMPT);
    assert_eq!((refused.status, code(&refused).as_str()), (429, "concurrency_limit_exceeded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // One leaves while it waits, and one in the middle of a stream.
    drop(waiting.pop());
    until("its slot is free", || (site.house.chat("acme", PROMPT).status == 200).then_some(()));
    // The slot of an answer is free when its client has read it.
    for _ in 0..20 {
        assert_eq!(site.house.chat("acme", PROMPT).status, 200);
    }
    let mut stream = Connection::open(site.house.proxy);
    stream.send(&http::chat(&key("acme").secret, ENDLESS));
    let mut answer = stream.head();
    assert_eq!(answer.status, 200);
    stream.chunk(&mut answer);
    assert_eq!(code(&site.house.chat("acme", PROMPT)), "concurrency_limit_exceeded");
    drop(stream);
    until("its slot is free", || (site.house.chat("acme", PROMPT).status == 200).then_some(()));
    // A body that never comes holds a slot too, and gives it back.
    let mut dawdling = Connection::open(site.house.proxy);
    let bearer = format!("Bearer {}", key("acme").secret);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("expect", "100-continue"),
    ];
    let request = http::request("POST", "/v1/chat/completions", &headers, PROMPT.as_bytes());
    dawdling.send(&request[..request.len() - 10]);
    assert_eq!(dawdling.head().status, 100, "it is told to go on when it is counted");
    assert_eq!(code(&site.house.chat("acme", PROMPT)), "concurrency_limit_exceeded");
    drop(dawdling);
    until("its slot is free", || (site.house.chat("acme", PROMPT).status == 200).then_some(()));
}

#[test]
fn who_leaves_before_an_answer_is_charged_what_was_put_aside() {
    let quotas = format!("[[quotas]]\nsubject = \"key\"\ntokens_per_month = {MANY}\nrequests_at_once = 1");
    let mut site = site(&quotas);
    let ask = || left(&site.house.chat("acme", PROMPT), "tokens");
    let (first, second) = (ask(), ask());
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::chat(&key("acme").secret, STALLED));
    until("the double has it", || (site.double.received().len() == 3).then_some(()));
    drop(client);
    let after = until("its slot is free", || {
        Some(site.house.chat("acme", PROMPT)).filter(|answer| answer.status == 200)
    });
    let charged = second - left(&after, "tokens") - (first - second);
    let prompt = (STALLED.len() as u64).div_ceil(3);
    assert_eq!(charged, 100 + prompt);
    site.house.stop();
    let tokens = site.house.events().0.into_iter().filter_map(|event| event.tokens);
    let told: Vec<Tokens> = tokens.filter(|tokens| tokens.source == TokenSource::Reserved).collect();
    assert_eq!(told.iter().map(|told| (told.prompt, told.completion)).collect::<Vec<_>>(), [(prompt, 100)]);
}

#[test]
fn who_leaves_while_a_refusal_is_read_is_charged_nothing_and_frees_the_slot() {
    let quotas = format!("[[quotas]]\nsubject = \"key\"\ntokens_per_month = {MANY}\nrequests_at_once = 1");
    let site = site(&quotas);
    let ask = || left(&site.house.chat("acme", PROMPT), "tokens");
    let (first, second) = (ask(), ask());
    let refused = PROMPT.replace("\"mock\"", "\"mock@status:400@stall:10\"");
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::chat(&key("acme").secret, &refused));
    until("the double has it", || (site.double.received().len() == 3).then_some(()));
    drop(client);
    let after = until("its slot is free", || {
        Some(site.house.chat("acme", PROMPT)).filter(|answer| answer.status == 200)
    });
    assert_eq!(second - left(&after, "tokens"), first - second);
}

#[test]
fn another_target_is_tried_only_with_budget_for_both() {
    let hasty = "first_byte_timeout = \"500ms\"\nbreaker = { failures = 0, retry_after_max = \"0s\" }";
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let worst = 100 + (STALLED.len() as u64).div_ceil(3);
    let quota =
        |times: u64| format!("quotas = [{{ subject = \"key\", tokens_per_day = {} }}]", worst * times + 99);
    let house = House::start(&Plan {
        platform: provider("one", double.address, "mock*", hasty)
            + &provider("two", double.address, "mock*", hasty),
        organisations: vec![organisation("short", &quota(1)), organisation("long", &quota(2))],
        config: String::new(),
    });
    // What an attempt used that was not waited for is gone: the next needs as much again, and no budget is passed.
    let refused = house.chat("short", STALLED);
    assert_eq!((refused.status, code(&refused).as_str()), (429, "insufficient_quota"), "{}", refused.text());
    assert_eq!(double.received().len(), 1);
    assert_eq!(house.chat("long", STALLED).status, 504);
    assert_eq!(double.received().len(), 3);
    let probe = r#"{"model":"mock@usage:0/0","max_tokens":1,"messages":[]}"#;
    for organisation in ["short", "long"] {
        let left = left(&house.chat(organisation, probe), "tokens");
        assert_eq!(left, 99 - 1 - (probe.len() as u64).div_ceil(3), "{organisation}");
    }
}

#[test]
fn a_restart_keeps_every_count_and_nothing_stays_reserved() {
    let quotas =
        format!("quotas = [{{ subject = \"key\", requests_per_day = {MANY}, tokens_per_month = {MANY} }}]");
    let mut site = site(&quotas);
    let mut tokens = Vec::new();
    for _ in 0..7 {
        tokens.push(left(&site.house.chat("acme", PROMPT), "tokens"));
    }
    let each = tokens[0] - tokens[1];
    assert!(tokens.windows(2).all(|pair| pair[0] - pair[1] == each), "{tokens:?}");
    assert!(each < 100, "the answer is settled at what it used, not at its limit: {each}");
    // One leaves in the middle: it is charged what it is known to have used.
    let mut stream = Connection::open(site.house.proxy);
    stream.send(&http::chat(&key("acme").secret, ENDLESS));
    let mut answer = stream.head();
    stream.chunk(&mut answer);
    drop(stream);
    site.double.until("the double is left", |received| received.client_left);
    until("it is settled", || {
        let now = left(&site.house.chat("acme", PROMPT), "tokens");
        (tokens[6] - now < 4_000).then_some(())
    });
    let before = site.house.chat("acme", PROMPT);
    site.house.stop();
    site.house.launch();
    let after = site.house.chat("acme", PROMPT);
    assert_eq!(left(&after, "requests"), left(&before, "requests") - 1);
    assert_eq!(left(&after, "tokens"), left(&before, "tokens") - each);
}

#[test]
fn a_crash_loses_less_than_a_second() {
    let quotas = format!("quotas = [{{ subject = \"organisation\", requests_per_day = {MANY} }}]");
    let mut site = site(&quotas);
    let started = Instant::now();
    let mut answered = Vec::new();
    while started.elapsed() < SOON + Duration::from_secs(1) {
        left(&site.house.chat("acme", PROMPT), "requests");
        answered.push(Instant::now());
    }
    let crashed = Instant::now();
    site.house.process.take().unwrap().crash();
    site.house.launch();
    let counted = MANY - left(&site.house.chat("acme", PROMPT), "requests") - 1;
    // A second is the promise; this machine may be busy.
    let sure = answered.iter().filter(|at| crashed - **at > SOON).count();
    assert!(sure > 0 && counted >= sure as u64, "{counted} of {} counted, {sure} are sure", answered.len());
    assert!(counted <= answered.len() as u64);
}

#[test]
fn after_a_crash_what_was_put_aside_is_spent() {
    let mut site = site("quotas = [{ subject = \"key\", tokens_per_day = 150, requests_at_once = 1 }]");
    let mut waiting = Connection::open(site.house.proxy);
    waiting.send(&http::chat(&key("acme").secret, STALLED));
    site.double.until("the request arrives", |_| true);
    let counters = site.house.data().join("meters/counters");
    let arrived = std::time::SystemTime::now();
    until("it is written down", || {
        (std::fs::metadata(&counters).and_then(|file| file.modified()).ok()? > arrived).then_some(())
    });
    site.house.process.take().unwrap().crash();
    site.house.launch();
    let answer = site.house.chat("acme", PROMPT);
    // Nobody knows what it would have used; and nobody is under way.
    assert_eq!((answer.status, code(&answer).as_str()), (429, "insufficient_quota"), "{}", answer.text());
}

#[test]
fn damaged_counters_keep_a_process_from_starting() {
    let mut site = site("quotas = [{ subject = \"key\", requests_per_day = 1 }]");
    site.house.chat("acme", PROMPT);
    site.house.stop();
    for name in ["counters", "counters.before"] {
        let path = site.house.data().join("meters").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let (status, log) = site.house.fail();
    assert!(!status.success());
    assert!(log.contains("its checksum does not match") && log.contains("move it away"), "{log}");
    std::fs::remove_dir_all(site.house.data().join("meters")).unwrap();
    site.house.launch();
    assert_eq!(site.house.chat("acme", PROMPT).status, 200);
}

#[test]
fn what_is_warned_of_and_what_it_costs_are_metrics_without_names() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let models = "[[models]]\nname = \"mock\"\nprice = { input = \"1000\", output = \"1000\" }\n";
    let house = House::start(&Plan {
        platform: format!("{models}{}", provider("double", double.address, "mock*", "")),
        organisations: vec![organisation(
            "acme",
            "quotas = [{ subject = \"key\", enforce = \"soft\", dollars_per_day = \"0.001\" }]",
        )],
        config: String::new(),
    });
    for _ in 0..2 {
        assert_eq!(house.chat("acme", PROMPT).status, 200);
    }
    // An answer is paid for once its client has it.
    let page = until("the cost of two answers", || {
        let page = http::get(house.metrics, "/metrics").text();
        let mut costs = page
            .lines()
            .filter_map(|line| line.strip_prefix("palisade_cost_dollars_total{provider=\"double\"} "));
        let is_paid = costs.any(|cost| cost.parse::<f64>().unwrap() > 0.001);
        is_paid.then_some(page)
    });
    assert!(page.contains("palisade_quota_warnings_total{unit=\"dollars\",window=\"day\"} 2"), "{page}");
    assert!(!page.contains("acme"));
}
