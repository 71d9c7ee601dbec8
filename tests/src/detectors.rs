//! Do services find what has no form, and does nothing get worse where they fail?
//!
//! The service is one that says exactly the bytes a test gives it, or nothing at all; what Presidio itself says is for
//! `tests/clients`. What its answers mean is tested in memory, for any bytes.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer};
use crate::keys::key;
use crate::memory;
use crate::provider::{Double, Said, Scripted};
use bytes::Bytes;
use palisade_filters::{self as filters, Memory, Policy, Surface};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::sync::LazyLock;
use tempfile::TempDir;

const RULES: &str = r#"
[[policy]]
name = "people"
direction = "input"
entities = ["PERSON"]
action = "redact"
"#;

/// An organisation's settings: what happens on failure, and more of them.
fn settings(on_failure: &str, more: &str) -> String {
    format!(
        "[[dlp.detectors]]\nname = \"presidio\"\nentities = [\"PERSON\", \"US_SSN\"]\non_failure = \"{on_failure}\"\n{more}\n{RULES}"
    )
}

/// The platform's table of a service.
fn detector(address: SocketAddr, more: &str) -> String {
    format!("\n[[detectors]]\nname = \"presidio\"\nurl = \"http://{address}\"\n{more}\n")
}

const PRIVATE: &str = "allow_private_addresses = true\ntimeout = \"5s\"\nbreaker = { failures = 0 }";

/// A house that asks a service, for two organisations: one that refuses without it, one that goes on.
struct Site {
    house: House,
    double: Double,
    _folder: TempDir,
}

impl Site {
    fn new(address: SocketAddr, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let double = Double::start(folder.path());
        let platform = provider("double", double.address, "mock*", "") + &detector(address, more);
        let organisations = vec![
            organisation("strict", &settings("refuse", "")),
            organisation("lenient", &settings("allow", "")),
            organisation("brief", &settings("refuse", "text_bytes_max = 20")),
            organisation("without", ""),
        ];
        let house = House::start(&Plan { platform, organisations, config: String::new() });
        let log = house.process.as_ref().unwrap().log();
        assert!(!log.contains("document not used"), "{log}");
        Self { house, double, _folder: folder }
    }

    /// What becomes of this text, and what of it reached the provider.
    fn ask(&self, who: &str, text: &str) -> (Answer, Option<String>) {
        self.double.forget();
        let body = json!({"model": "mock", "messages": [{"role": "user", "content": text}]}).to_string();
        let answer = http::ask(self.house.proxy, &http::chat(&key(who).secret, &body));
        (answer, self.double.received().pop().map(|received| received.body))
    }

    /// That nothing leaves of an organisation that refuses, and all of one that goes on.
    fn fails(&self, why: &str) {
        let (answer, forwarded) = self.ask("strict", "I met Jane Doe");
        assert_eq!((answer.status, forwarded), (503, None), "{why}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "detector_unavailable", "{why}");
        self.tells(&answer, why, "refuse");
        let (answer, forwarded) = self.ask("lenient", "I met Jane Doe");
        assert_eq!(answer.status, 200, "{why}: {}", answer.text());
        assert!(forwarded.unwrap().contains("I met Jane Doe"), "{why}");
        self.tells(&answer, why, "allow");
        let page = http::get(self.house.metrics, "/metrics").text();
        let line = format!("palisade_detector_requests_total{{detector=\"presidio\",outcome=\"{why}\"}}");
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

impl Site {
    /// That the event of a request says which service failed, and what followed by whose word; and the metrics, too.
    fn tells(&self, answer: &Answer, why: &str, on_failure: &str) {
        let event = serde_json::to_value(self.house.event_of(answer)).unwrap();
        let expected = json!([{"detector": "presidio", "why": why, "on_failure": on_failure}]);
        assert_eq!(event["detector_failures"], expected);
        let page = http::get(self.house.metrics, "/metrics").text();
        let line =
            "palisade_detector_failures_total{detector=\"presidio\",on_failure=\"".to_owned() + on_failure;
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

fn found(entity: &str, start: usize, end: usize) -> Value {
    json!({"entity_type": entity, "start": start, "end": end, "score": 0.85, "analysis_explanation": null})
}

fn said(findings: &[Value]) -> Said {
    Said::new("application/json", &json!(findings).to_string())
}

#[test]
fn a_person_is_redacted_in_characters_of_any_width() {
    let service = Scripted::start();
    let site = Site::new(service.address, PRIVATE);
    // The four bytes of an emoji are one character to a service, the two of an umlaut too.
    service.prepare(&[said(&[found("PERSON", 11, 19), found("LOCATION", 0, 5)])]);
    let (answer, forwarded) = site.ask("strict", "Grüße 😀 an Jane Doe aus Köln");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(forwarded.unwrap().contains("Grüße 😀 an [PERSON] aus Köln"));
    let asked = service.received().pop().unwrap();
    let question: Value = serde_json::from_str(&asked.body).unwrap();
    let expected = json!({
        "text": "Grüße 😀 an Jane Doe aus Köln", "language": "en", "entities": ["PERSON", "US_SSN"],
        "score_threshold": 0.5,
    });
    assert_eq!(question, expected, "nothing but the text is asked about");
    let event = serde_json::to_value(site.house.event_of(&answer)).unwrap();
    assert_eq!(event["findings"][0]["rule"], "detector.presidio.PERSON");
    assert_eq!(event["findings"][0]["action"], "redact");
    assert_eq!(event["detector_failures"], Value::Null, "it did not fail");
    // Who has no detector asks none.
    let (answer, _) = site.ask("without", "Jane Doe");
    assert_eq!((answer.status, service.received().len()), (200, 1));
}

#[test]
fn what_no_service_says_rightly_is_a_failure() {
    let service = Scripted::start();
    let site = Site::new(service.address, PRIVATE);
    let huge = format!("[{}]", vec![found("PERSON", 0, 1).to_string(); 60_000].join(","));
    let many = format!("[{}]", vec![found("PERSON", 0, 1).to_string(); 20_000].join(","));
    let cases = [
        ("status", Said { status: 500, ..said(&[]) }),
        ("status", Said { status: 302, ..said(&[]) }),
        ("unusable", said(&[found("PERSON", 6, 15)])),
        ("unusable", said(&[found("PERSON", 6, 6)])),
        ("unusable", said(&[found("PERSON", 7, 6)])),
        ("unusable", Said::new("application/json", &many)),
        ("unusable", Said::new("application/json", "{\"error\":\"no\"}")),
        (
            "unusable",
            Said::new(
                "application/json",
                "[{\"entity_type\":\"PERSON\",\"start\":-1,\"end\":4,\"score\":1}]",
            ),
        ),
        (
            "unusable",
            Said::new("application/json", "[{\"entity_type\":\"PERSON\",\"start\":0,\"end\":4,\"score\":2}]"),
        ),
        ("unusable", Said::new("application/json", "")),
        ("too_large", Said::new("application/json", &huge)),
        ("broken", Said { cut: Some(3), ..said(&[found("PERSON", 6, 14)]) }),
    ];
    for (why, case) in cases {
        service.prepare(&[case.clone(), case]);
        site.fails(why);
    }
}

#[test]
fn a_service_that_is_not_there_is_a_failure() {
    // Port 1 is nobody's: connections to it are refused.
    Site::new(([127, 0, 0, 1], 1).into(), PRIVATE).fails("unreachable");
    // Our own network, unless the operator says so.
    let service = Scripted::start();
    let site = Site::new(service.address, "timeout = \"5s\"\nbreaker = { failures = 0 }");
    site.fails("unreachable");
    assert_eq!(service.received().len(), 0);
}

#[test]
fn a_service_that_says_nothing_is_waited_for_no_longer_than_its_time() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let more = "allow_private_addresses = true\ntimeout = \"300ms\"\nbreaker = { failures = 0 }";
    Site::new(silent.local_addr().unwrap(), more).fails("timed_out");
}

#[test]
fn a_text_that_is_too_long_is_not_asked_about() {
    let service = Scripted::start();
    let site = Site::new(service.address, PRIVATE);
    service.prepare(&[said(&[])]);
    let (answer, _) = site.ask("brief", "twenty-one characters");
    assert_eq!((answer.status, service.received().len()), (503, 0));
    let (answer, _) = site.ask("brief", "twenty characters ok");
    assert_eq!((answer.status, service.received().len()), (200, 1));
}

#[test]
fn a_service_that_keeps_failing_is_not_asked_for_a_while() {
    let service = Scripted::start();
    let more = "allow_private_addresses = true\nbreaker = { failures = 2, open_for = \"1h\" }";
    let site = Site::new(service.address, more);
    service.prepare(&[Said { status: 500, ..said(&[]) }, Said { status: 500, ..said(&[]) }]);
    for asked in [1, 2, 2, 2] {
        assert_eq!(site.ask("strict", "I met Jane Doe").0.status, 503);
        assert_eq!(service.received().len(), asked);
    }
    site.fails("skipped");
}

fn compile(organisation: &str) -> String {
    let (_, errors) = memory::compile(
        &detector(([127, 0, 0, 1], 1).into(), PRIVATE),
        &[&format!("id = \"acme\"\n{organisation}\n{}", key("acme").table)],
    );
    errors.into_iter().map(|error| error.problem).collect()
}

#[test]
fn documents_that_ask_for_what_cannot_be_are_refused() {
    assert_eq!(compile(&settings("refuse", "")), "");
    for (settings, problem) in [
        (settings("refuse", "").replace("presidio", "other"), "no detector of this name"),
        (settings("refuse", "").replace("direction = \"input\"", ""), "write `direction = \"input\"`"),
        (settings("refuse", "").replace("\"input\"", "\"output\""), "write `direction = \"input\"`"),
        (settings("refuse", "").replace("\"US_SSN\"", "\"ssn\""), "may hold only"),
        (settings("refuse", "score_min = 2.0"), "`score_min`"),
        (settings("refuse", "text_bytes_max = 0"), "`text_bytes_max`"),
        (settings("refuse", "language = \"\""), "`language`"),
        (
            settings("refuse", "")
                + "[[dlp.detectors]]\nname = \"presidio\"\nentities = [\"X\"]\non_failure = \"allow\"",
            "twice",
        ),
        (RULES.to_owned(), "no detection entity is named `PERSON`"),
    ] {
        let told = compile(&settings);
        assert!(told.contains(problem), "`{told}` is not `{problem}`");
    }
    let platform = detector(([127, 0, 0, 1], 1).into(), "timeout = \"1h\"");
    let (_, errors) = memory::compile(&platform, &[]);
    assert!(errors[0].problem.contains("`timeout`"), "{errors:?}");
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let platform = detector(([127, 0, 0, 1], 1).into(), PRIVATE)
        + &provider("double", ([127, 0, 0, 1], 2).into(), "mock", "");
    memory::policy(&platform, &[&organisation("acme", &settings("refuse", "")).1])
});
static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory::new(*b"no secret at all", 1 << 16));

proptest! {
    /// Whatever a service says, either it is refused or what is replaced are whole characters of a prose text.
    #[test]
    fn any_answer_is_read_in_bounds_or_not_at_all(
        texts in prop::collection::vec("[a-zé😀 \"\\\\]{1,12}", 1..4),
        places in prop::collection::vec((0usize..30, 0usize..30), 0..4),
    ) {
        let visitor = memory::visitor(&POLICY, &key("acme").secret);
        let parts: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        let body = json!({"model": "mock", "messages": [{"role": "user", "content": parts}]}).to_string();
        let prompt = filters::read(&visitor, Surface::ChatCompletions, Bytes::from(body)).unwrap();
        let scanned = filters::scan(&visitor, &MEMORY, prompt).unwrap();
        let all: Vec<Value> = places.iter().map(|(start, end)| found("PERSON", *start, *end)).collect();
        let answer = json!(all).to_string();
        let told: Vec<_> =
            scanned.questions().iter().map(|question| question.read(answer.as_bytes()).ok()).collect();
        let prose = texts.iter().filter(|text| !text.trim().is_empty());
        let laid_out = prose.map(String::as_str).collect::<Vec<_>>().join("\n\n").chars().count();
        let fits = places.iter().all(|(start, end)| start < end && *end <= laid_out);
        prop_assert_eq!(told.iter().all(Option::is_some), fits || laid_out == 0);
        match filters::decide(&visitor, scanned, told) {
            Ok(cleared) => {
                prop_assert!(fits || laid_out == 0);
                prop_assert!(cleared.findings().iter().all(|one| &*one.detector.entity == "PERSON"));
            }
            Err(refusal) => prop_assert_eq!(refusal.row().code, "detector_unavailable"),
        }
    }
}
