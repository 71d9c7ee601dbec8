//! Scenarios over the wire: the real binary, the provider double, sockets in between.
//!
//! Scenarios that share a platform and a configuration share a process, each as an organisation of its own; they run
//! one after the other, so that what the providers received is one scenario's. Each must leave its event behind.

use crate::house::{House, Plan, provider};
use crate::http;
use crate::provider::{Double, Scripted};
use crate::scenario::{Case, Outcome, all};
use crate::world;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tempfile::TempDir;

/// Longer than an answer takes to begin, shorter than a test may take.
const HASTY: &str = "first_byte_timeout = \"400ms\"\nbreaker = { failures = 0 }";
/// What this provider's targets did is not remembered, so that no scenario depends on another.
const FORGOTTEN: &str = "breaker = { failures = 0, retry_after_max = \"0s\" }";
/// What this one's did is remembered soon and for long.
const FRAIL: &str = "first_byte_timeout = \"400ms\"\nbreaker = { failures = 2, open_for = \"1h\" }";

/// The platform of a scenario: its own members, and the providers that scenarios know.
pub(crate) fn platform(case: &Case, [double, scripted]: [SocketAddr; 2]) -> String {
    // Port 1 is nobody's: connections to it are refused.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut text = case.platform.clone();
    text += &provider("double", double, "mock*", FORGOTTEN);
    text += &provider("frail", double, "frail*", FRAIL);
    text += &provider("gone", nobody, "gone*", FRAIL);
    text += &provider("scripted", scripted, "scripted*", &format!("idle_timeout = \"5s\"\n{FORGOTTEN}"));
    text += &anthropic("claude", scripted, "claude*", FORGOTTEN);
    text += &anthropic("double-claude", double, "mock-claude*", FORGOTTEN);
    text += &provider("hasty", double, "hasty*", HASTY);
    text += &provider("dead", nobody, "dead*", FORGOTTEN);
    text
}

/// The test is a proxy that may name its clients.
pub(crate) const BELIEVED: &str = r#"
[proxy]
listen = "127.0.0.1:0"
client_address = "x_forwarded_for"
trusted_proxies = ["127.0.0.1"]
"#;

/// A provider's table, if it speaks Anthropic's dialect.
pub(crate) fn anthropic(name: &str, address: SocketAddr, models: &str, more: &str) -> String {
    format!(
        "\n[[providers]]\nname = \"{name}\"\ndialect = \"anthropic\"\nbase_url = \"http://{address}\"\n\
         models = [\"{models}\"]\nallow_private_addresses = true\n{more}\n"
    )
}

/// The providers that scenarios know.
pub(crate) struct Providers {
    pub(crate) double: Double,
    pub(crate) scripted: Scripted,
}

/// Sends one scenario's request, and says what came of it, and what no scenario may do.
pub(crate) fn run(house: &House, providers: &Providers, case: &Case) -> (Outcome, Vec<String>) {
    let mut headers = case.headers();
    headers.extend(case.address.map(|address| ("x-forwarded-for".to_owned(), address.to_string())));
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = http::request(&case.request.method, &case.request.path, &headers, &case.body());
    for _ in 0..case.before {
        http::ask(house.proxy, &request);
    }
    providers.double.forget();
    providers.scripted.prepare(&case.answers);
    let answer = http::ask(house.proxy, &request);
    let received = providers.double.received().into_iter().chain(providers.scripted.received());
    let forwarded: Vec<_> = received.collect();
    let mut wrong = case.judge_headers(&answer, forwarded.last());
    if !answer.is_whole {
        wrong.push("the answer has no end".to_owned());
    }
    for leak in forwarded.iter().flat_map(|received| &received.headers) {
        if leak.1.contains("pk_live_") {
            wrong.push(format!("a provider received the caller's key in `{}`", leak.0));
        }
    }
    let event =
        (!case.expect.event.is_empty()).then(|| serde_json::to_value(house.event_of(&answer)).unwrap());
    let forwarded = forwarded.into_iter().map(|received| received.body).collect();
    (Outcome { answer: Some(answer), forwarded, event }, wrong)
}

#[test]
fn every_scenario_holds_over_the_wire() {
    let folder = TempDir::new().unwrap();
    let providers = Providers { double: Double::start(folder.path()), scripted: Scripted::start() };
    let addresses = [providers.double.address, providers.scripted.address];
    let mut groups: BTreeMap<(String, String), Vec<Case>> = BTreeMap::new();
    world::write(folder.path());
    for case in all() {
        let mut config = case.config.clone();
        if case.address.is_some() {
            // Only a proxy that is believed can say that a caller comes from elsewhere.
            config += BELIEVED;
            config += &world::config(folder.path());
        }
        groups.entry((platform(&case, addresses), config)).or_default().push(case);
    }
    let mut wrong = Vec::new();
    for ((platform, config), cases) in groups {
        let organisations = cases.iter().map(|case| (case.name.clone(), case.organisation_text())).collect();
        let reported: Vec<String> = cases.iter().flat_map(Case::reported).collect();
        let mut house = House::start_with_report(&Plan { platform, organisations, config }, &reported);
        let log = house.process.as_ref().unwrap().log();
        assert!(!log.contains("document not used"), "{log}");
        for case in cases {
            let (outcome, mut found) = run(&house, &providers, &case);
            found.extend(case.judge(&outcome));
            wrong.extend(found.into_iter().map(|problem| format!("{}: {problem}", case.name)));
        }
        house.stop();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
