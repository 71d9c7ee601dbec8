//! What targets did is remembered: breakers that open and close again, switches, and what sticks to a target. Time
//! passes by itself here, so every setting is short and every test asks until it is so.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer};
use crate::process::until;
use crate::processes::SOON;
use crate::provider::Double;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BEST: &str = r#"{"model":"best","messages":[{"role":"user","content":"hi"}]}"#;

struct Site {
    house: House,
    double: Double,
    _folder: TempDir,
}

/// A house with a provider `frail`, set up like this, and one that is well; both are the double.
fn site(breaker: &str, settings: &str) -> Site {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let platform =
        provider("frail", double.address, "mock*", breaker) + &provider("well", double.address, "mock*", "");
    let house = House::start(&Plan {
        platform,
        organisations: vec![organisation("acme", settings)],
        config: "workers = 2".to_owned(),
    });
    Site { house, double, _folder: folder }
}

fn chain(targets: &[&str], more: &str) -> String {
    format!("[[routes]]\nname = \"chain\"\nmodels = [\"best\"]\ntargets = {targets:?}\n{more}")
}

impl Site {
    /// The models that one request was sent to, in their order. The double forgets its failures with its requests, so
    /// it is not told to.
    fn tried(&self) -> Vec<String> {
        let before = self.double.received().len();
        assert_eq!(self.house.chat("acme", BEST).status, 200);
        let body = |received: crate::provider::Received| {
            let body: Value = serde_json::from_str(&received.body).unwrap();
            body["model"].as_str().unwrap().to_owned()
        };
        self.double.received().into_iter().skip(before).map(body).collect()
    }
}

fn targets(house: &House) -> Value {
    http::get(house.admin, "/targets").json()
}

fn state_of(house: &House, model: &str) -> Value {
    let page = targets(house);
    let target = page["targets"].as_array().unwrap().iter().find(|target| target["model"] == model);
    target.unwrap_or_else(|| panic!("`{model}` is not on the page: {page}"))["state"].clone()
}

fn metric(house: &House, line: &str) -> bool {
    http::get(house.metrics, "/metrics").text().lines().any(|known| known == line)
}

#[test]
fn a_breaker_opens_for_all_workers_and_closes_again() {
    // It fails three times: twice to open, once when it is tried too early.
    let frail = "mock@status:500@fail_times:3";
    let breaker = "breaker = { failures = 2, open_for = \"400ms\" }";
    let site = site(breaker, &chain(&[&format!("frail/{frail}"), "well/mock"], ""));
    let before = Instant::now();
    assert_eq!([site.tried(), site.tried()], [[frail, "mock"], [frail, "mock"]]);
    let (mut passed_over, mut probes) = (0, 0);
    until("it is found well again", || {
        let tried = site.tried();
        match tried.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["mock"] => {
                passed_over += 1;
                None
            }
            [one, "mock"] if *one == frail => {
                probes += 1;
                None
            }
            [one] if *one == frail => Some(()),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(probes, 1, "the third failure was a probe's");
    assert!(passed_over > 0 && before.elapsed() >= Duration::from_millis(800), "two pauses");
    assert_eq!(state_of(&site.house, frail), "closed");
    assert_eq!(site.tried(), [frail]);
    assert!(metric(&site.house, "palisade_target_state{provider=\"frail\",state=\"closed\"} 1"));
    assert!(metric(&site.house, "palisade_breakers_opened_total{provider=\"frail\"} 2"));
}

#[test]
fn an_open_breaker_is_seen_by_operators() {
    let frail = "mock@status:503@retry_after:200";
    let site = site("", &chain(&[&format!("frail/{frail}"), "well/mock"], ""));
    assert_eq!([site.tried(), site.tried()], [vec![frail, "mock"], vec!["mock"]]);
    assert_eq!(state_of(&site.house, frail), "open");
    let page = targets(&site.house);
    let row = page["targets"].as_array().unwrap().iter().find(|row| row["model"] == frail).unwrap();
    let retry_in = row["retry_in_ms"].as_u64().unwrap();
    assert!((100_000..=200_000).contains(&retry_in), "{row}");
    assert_eq!((&row["failures_in_a_row"], &row["opened_total"]), (&json!(1), &json!(1)));
    let well = page["targets"].as_array().unwrap().iter().find(|row| row["provider"] == "well").unwrap();
    assert!(well["first_byte_ms"].as_f64().unwrap() > 0.0 && well["state"] == "closed", "{well}");
    assert!(metric(&site.house, "palisade_target_state{provider=\"frail\",state=\"open\"} 1"));
    assert!(metric(&site.house, "palisade_target_state{provider=\"well\",state=\"open\"} 0"));
    assert!(!page.to_string().contains("acme"), "no tenant is on the page");
}

#[test]
fn however_many_ask_one_at_a_time_finds_out() {
    let silent = "mock@stall:header";
    let breaker = "first_byte_timeout = \"150ms\"\nbreaker = { failures = 1, open_for = \"50ms\" }";
    let site = site(breaker, &chain(&[&format!("frail/{silent}"), "well/mock"], ""));
    assert_eq!(site.tried(), [silent, "mock"]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(site.house.chat("acme", BEST).status, 200);
                }
            });
        }
        until("it was tried five times", || {
            let received = site.double.received();
            let trials: Vec<_> = received.iter().filter(|one| one.body.contains(silent)).collect();
            let under_way = trials.iter().filter(|one| !one.done).count();
            assert!(under_way <= 1, "{under_way} at once");
            (trials.len() >= 5).then_some(())
        });
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(state_of(&site.house, "mock"), "closed");
}

#[test]
fn a_name_that_is_somebodys_text_is_on_no_page() {
    let site = site("", "");
    let body = BEST.replace("best", "mock-4111111111111111");
    let answer = site.house.chat("acme", &body);
    let event = site.house.event_of(&answer);
    assert_eq!((event.route.len(), &*event.route[0].model), (1, "*"));
    let page = targets(&site.house).to_string();
    assert!(!page.contains("4111") && !page.contains("mock-"), "{page}");
}

#[test]
fn a_retry_after_is_over_when_it_says() {
    let frail = "mock@status:429@retry_after:1@fail_times:1";
    let site = site("", &chain(&[&format!("frail/{frail}"), "well/mock"], ""));
    assert_eq!(site.tried(), [frail, "mock"]);
    let asked = Instant::now();
    assert_eq!(site.tried(), ["mock"]);
    until("it is tried again", || (site.tried() == [frail]).then_some(()));
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_millis(900) && waited < SOON, "{waited:?}");
}

fn write_platform(house: &House, text: &str) {
    let beside = house.data().join(".platform.new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, house.data().join("platform.toml")).unwrap();
}

#[test]
fn a_switch_ends_new_requests_within_a_second_and_begins_them_again() {
    let site = site("", &chain(&["frail/mock"], ""));
    let before = std::fs::read_to_string(site.house.data().join("platform.toml")).unwrap();
    assert_eq!(site.house.chat("acme", BEST).status, 200);
    let switched = Instant::now();
    let switch = "[[kill_switches]]\nprovider = \"frail\"\nreason = \"incident 7\"\n";
    write_platform(&site.house, &format!("{before}\n{switch}"));
    let refused: Answer =
        until("it is refused", || Some(site.house.chat("acme", BEST)).filter(|answer| answer.status == 503));
    assert!(switched.elapsed() < SOON, "{:?}", switched.elapsed());
    assert_eq!(refused.json()["error"]["code"], "model_disabled");
    assert!(!refused.text().contains("incident"));
    let event = site.house.event_of(&refused);
    assert_eq!(event.passed_over[0].reason.as_deref(), Some("incident 7"));
    assert!(event.route.is_empty());
    assert_eq!(targets(&site.house)["kill_switches"][0]["reason"], "incident 7");
    write_platform(&site.house, &before);
    until("it is served again", || (site.house.chat("acme", BEST).status == 200).then_some(()));
}

/// A turn of a conversation that began with these words.
fn turn(first: &str, later: usize) -> String {
    let mut messages =
        vec![json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": first})];
    for number in 0..later {
        messages.push(json!({"role": "assistant", "content": "Yes."}));
        messages.push(json!({"role": "user", "content": format!("And {number}?")}));
    }
    json!({"model": "best", "messages": messages}).to_string()
}

#[test]
fn a_conversation_stays_with_its_target_over_turns_and_restarts() {
    let three = ["frail/mock-a", "well/mock-b", "well/mock-c"];
    let settings = chain(&three, "strategy = \"sticky\"\nby = \"conversation\"");
    let mut site = site("", &settings);
    let served = |site: &Site, first: &str, later: usize| {
        site.double.forget();
        assert_eq!(site.house.chat("acme", &turn(first, later)).status, 200);
        let body: Value = serde_json::from_str(&site.double.received()[0].body).unwrap();
        body["model"].as_str().unwrap().to_owned()
    };
    let firsts: Vec<String> = (0..12).map(|number| format!("Tell me about {number}.")).collect();
    let places: Vec<String> = firsts.iter().map(|first| served(&site, first, 0)).collect();
    for model in ["mock-a", "mock-b", "mock-c"] {
        assert!(places.iter().any(|place| place == model), "{model} has no part in {places:?}");
    }
    for (number, (first, place)) in firsts.iter().zip(&places).enumerate() {
        assert_eq!(served(&site, first, 1 + number % 4), *place, "a later turn");
    }
    site.house.stop();
    site.house.launch();
    let after: Vec<String> = firsts.iter().map(|first| served(&site, first, 2)).collect();
    assert_eq!(after, places);
}

#[test]
fn what_sticks_to_a_user_follows_the_user() {
    let settings =
        chain(&["frail/mock-a", "well/mock-b", "well/mock-c"], "strategy = \"sticky\"\nby = \"user\"");
    let site = site("", &settings);
    let served = |user: &str, text: &str| {
        site.double.forget();
        let body = json!({"model": "best", "user": user, "messages": [{"role": "user", "content": text}]});
        assert_eq!(site.house.chat("acme", &body.to_string()).status, 200);
        let body: Value = serde_json::from_str(&site.double.received()[0].body).unwrap();
        body["model"].as_str().unwrap().to_owned()
    };
    let mut places = Vec::new();
    for number in 0..8 {
        let user = format!("user-{number}");
        let place = served(&user, "one");
        assert_eq!(served(&user, "something else"), place);
        places.push(place);
    }
    places.sort();
    places.dedup();
    assert!(places.len() > 1, "{places:?}");
}

/// A provider that takes its time before it answers anything.
fn dawdler(pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (_never, waited) = mpsc::channel::<()>();
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let _ = waited.recv_timeout(pause);
            let body = r#"{"choices":[{"index":0,"message":{"content":"late"},"finish_reason":"stop"}]}"#;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_slow_target_goes_behind_the_others_and_stays_a_fallback() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let platform = provider("slow", dawdler(Duration::from_millis(300)), "mock*", "")
        + &provider("quick", double.address, "mock*", "");
    let mut settings = chain(&["slow/mock", "quick/mock"], "latency_max = \"150ms\"\n");
    settings += "[[routes]]\nname = \"rest\"\nmodels = [\"rest\"]\nlatency_max = \"150ms\"\n";
    settings += "targets = [\"quick/mock@status:500\", \"slow/mock\"]\n";
    let organisations = vec![organisation("acme", &settings)];
    let house = House::start(&Plan { platform, organisations, config: String::new() });
    let first = house.chat("acme", BEST);
    assert!(first.text().contains("late"), "nothing was known of it: {}", first.text());
    let second = house.chat("acme", BEST);
    assert!(second.text().contains("\"hi\""), "{}", second.text());
    let event = serde_json::to_value(house.event_of(&second)).unwrap();
    assert_eq!((&event["passed_over"][0]["why"], &event["route"][1]), (&json!("slow"), &Value::Null));
    let rest = house.chat("acme", &BEST.replace("best", "rest"));
    assert!(rest.text().contains("late"), "slow is better than nothing: {}", rest.text());
}
