//! What becomes of an exchange when its provider fails? Every fault of the double, at every moment, in every dialect,
//! as a document and as events: what the client reads, what it is charged, what its event says.
//!
//! `tests/faults/matrix.toml` is the matrix. Each cell is an organisation of its own, so that what it was charged can
//! be read from what it has left.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer};
use crate::keys::key;
use crate::process::workspace;
use crate::provider::Double;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Mutex;
use tempfile::TempDir;

/// A budget that nothing here spends.
const BUDGET: u64 = 1_000_000_000;
/// What the caller lets an answer have.
const OUTPUT: u64 = 1_000;
/// Stalls end here: longer than an answer takes to begin, shorter than a test may take.
/// Health is not remembered: one cell's fault must not pass another's target over.
const HASTY: &str = "first_byte_timeout = \"2s\"\nidle_timeout = \"2s\"\n\
                     breaker = { failures = 0, retry_after_max = \"0s\" }";
/// Organisations to which nothing happened, for each dialect.
const FRESH: [&str; 2] = ["fresh-openai", "fresh-anthropic"];
/// Cells that are tried at once: most of them wait.
const CELLS_AT_ONCE: usize = 8;
/// Bytes of a body that one token is reckoned at.
const BYTES_PER_TOKEN: u64 = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    fault: Vec<Fault>,
}

/// A row of the matrix.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// The fault as a sentence.
    name: String,
    /// When it strikes.
    moment: Moment,
    /// The model that makes the double fail so.
    model: String,
    /// As a document.
    json: Expect,
    /// As events.
    stream: Expect,
    /// As Anthropic's events, where those end otherwise.
    anthropic_stream: Option<Expect>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Moment {
    /// Before a connection stands.
    Connect,
    /// Until the answer's head is there.
    Header,
    /// Until the client has something of the answer.
    FirstByte,
    /// After that.
    MidStream,
}

/// What must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    client: Client,
    charged: Charged,
    /// How the attempt ended, in the event.
    outcome: String,
    /// How the answer ended, in the event.
    ended: String,
}

/// What the client reads.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Client {
    /// All of it.
    Whole,
    /// All of it, but for the last word of the stream, which the provider left out.
    WholeWithoutEnd,
    /// 502, and nothing of the answer.
    Unavailable,
    /// 504, and nothing of the answer.
    Timeout,
    /// 200, some events, an error event, and nothing that looks like an end.
    BrokenStream,
    /// The provider's status and its error, rewritten.
    ItsError,
}

/// What is charged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Charged {
    Nothing,
    /// The prompt as it was reckoned: the provider had it, and broke off.
    Prompt,
    /// What was put aside: the provider was not waited for any longer, and may have worked all the time.
    Reserved,
    /// The prompt as it was reckoned, and the text that came.
    Counted,
    /// What the provider stated of the prompt when it began, and the text that came.
    Begun,
    /// What the provider stated.
    Stated,
}

#[derive(Clone, Copy, Debug)]
enum Dialect {
    OpenAi,
    Anthropic,
}

/// One request of a dialect.
struct Request {
    dialect: Dialect,
    body: String,
}

impl Request {
    fn new(dialect: Dialect, model: &str, is_stream: bool) -> Self {
        let limit = match dialect {
            Dialect::OpenAi => "max_completion_tokens",
            Dialect::Anthropic => "max_tokens",
        };
        let text = "Tell me about the weather in the mountains, at length and in order.";
        let body = format!(
            r#"{{"model":"{model}","stream":{is_stream},"{limit}":{OUTPUT},"messages":[{{"role":"user","content":"{text}"}}]}}"#
        );
        Self { dialect, body }
    }

    fn send(&self, house: &House, organisation: &str) -> Answer {
        let secret = key(organisation).secret;
        let request = match self.dialect {
            Dialect::OpenAi => http::chat(&secret, &self.body),
            Dialect::Anthropic => {
                let headers = [
                    ("x-api-key", secret.as_str()),
                    ("anthropic-version", "2023-06-01"),
                    ("content-type", "application/json"),
                ];
                http::request("POST", "/v1/messages", &headers, self.body.as_bytes())
            }
        };
        http::ask(house.proxy, &request)
    }

    fn prompt_tokens(&self) -> u64 {
        (self.body.len() as u64).div_ceil(BYTES_PER_TOKEN)
    }
}

/// What an organisation has left, by a request that states its usage.
fn left(house: &House, dialect: Dialect, organisation: &str) -> u64 {
    let probe = Request::new(dialect, "mock@usage:0/0", false).send(house, organisation);
    assert_eq!(probe.status, 200, "{}", probe.text());
    probe.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap()
}

fn matrix() -> Vec<Fault> {
    let text = std::fs::read_to_string(workspace().join("tests/faults/matrix.toml")).unwrap();
    toml::from_str::<Matrix>(&text).unwrap().fault
}

fn judge_client(answer: &Answer, client: Client, is_stream: bool, dialect: Dialect) -> Option<String> {
    let text = answer.text();
    let end = match dialect {
        Dialect::OpenAi => "data: [DONE]",
        Dialect::Anthropic => "\"message_stop\"",
    };
    let (has_end, has_error) = (text.contains(end), text.contains("\"error\":{"));
    let is_right = match client {
        Client::Whole => answer.status == 200 && !has_error && has_end == is_stream,
        Client::WholeWithoutEnd => answer.status == 200 && !has_error && !has_end,
        Client::Unavailable => answer.status == 502 && text.contains("upstream_unavailable"),
        Client::Timeout => answer.status == 504 && text.contains("upstream_timeout"),
        Client::BrokenStream => answer.status == 200 && has_error && !has_end,
        Client::ItsError => answer.status == 400 && has_error,
    };
    (!is_right || !answer.is_whole)
        .then(|| format!("the client read {}, not {client:?}: {text}", answer.status))
}

fn judge_charge(charged: u64, expected: Charged, prompt: u64) -> Option<String> {
    let is_right = match expected {
        Charged::Nothing => charged == 0,
        Charged::Prompt => charged == prompt,
        Charged::Reserved => charged == prompt + OUTPUT,
        Charged::Counted => charged > prompt && charged < prompt + OUTPUT,
        Charged::Begun => charged > 0 && charged != prompt && charged < OUTPUT,
        Charged::Stated => charged == 120,
    };
    (!is_right).then(|| format!("{charged} tokens are charged, not {expected:?} (the prompt: {prompt})"))
}

/// What is wrong with one cell.
fn cell(house: &House, fault: &Fault, dialect: Dialect, is_stream: bool, full: u64) -> Vec<String> {
    let expect = match (dialect, &fault.anthropic_stream) {
        (Dialect::Anthropic, Some(expect)) if is_stream => expect,
        _ if is_stream => &fault.stream,
        _ => &fault.json,
    };
    let organisation = organisation_name(fault, dialect, is_stream);
    let request = Request::new(dialect, &fault.model, is_stream);
    let answer = request.send(house, &organisation);
    let event = serde_json::to_value(house.event_of(&answer)).unwrap();
    let charged = full - left(house, dialect, &organisation);
    let mut wrong: Vec<String> =
        judge_client(&answer, expect.client, is_stream, dialect).into_iter().collect();
    wrong.extend(judge_charge(charged, expect.charged, request.prompt_tokens()));
    let outcome = event.pointer("/route/0/outcome").and_then(|outcome| outcome.as_str()).unwrap_or_default();
    let ended = event.pointer("/answer/ended").and_then(|ended| ended.as_str()).unwrap_or_default();
    if outcome != expect.outcome || ended != expect.ended {
        wrong.push(format!("the event says {outcome}, {ended}, not {}, {}", expect.outcome, expect.ended));
    }
    wrong.into_iter().map(|problem| format!("{organisation}: {problem}")).collect()
}

fn organisation_name(fault: &Fault, dialect: Dialect, is_stream: bool) -> String {
    let (dialect, shape) = (format!("{dialect:?}").to_lowercase(), if is_stream { "stream" } else { "json" });
    format!("{}-{dialect}-{shape}", fault.name)
}

#[test]
fn every_fault_is_told_charged_and_recorded() {
    let matrix = matrix();
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let quota = format!("[[quotas]]\nsubject = \"organisation\"\ntokens_per_day = {BUDGET}");
    let cells = || {
        matrix.iter().flat_map(|fault| {
            [Dialect::OpenAi, Dialect::Anthropic]
                .into_iter()
                .flat_map(move |dialect| [false, true].map(move |is_stream| (fault, dialect, is_stream)))
        })
    };
    let mut organisations: Vec<_> = cells()
        .map(|(fault, dialect, is_stream)| {
            organisation(&organisation_name(fault, dialect, is_stream), &quota)
        })
        .collect();
    // One for each: what another probe put aside may not be settled yet.
    organisations.extend(FRESH.map(|fresh| organisation(fresh, &quota)));
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let anthropic = format!("dialect = \"anthropic\"\n{HASTY}");
    let platform = provider("double", double.address, "mock*", HASTY)
        + &provider("dead", nobody, "dead*", "")
        + &provider("double-a", double.address, "mock*", &anthropic).replace("/v1\"", "\"")
        + &provider("dead-a", nobody, "dead*", "dialect = \"anthropic\"").replace("/v1\"", "\"");
    let mut house = House::start(&Plan { platform, organisations, config: String::new() });
    let full =
        [Dialect::OpenAi, Dialect::Anthropic].map(|dialect| left(&house, dialect, FRESH[dialect as usize]));
    let (left_to_do, wrong) = (Mutex::new(cells()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CELLS_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = left_to_do.lock().unwrap().next();
                    let Some((fault, dialect, is_stream)) = next else { break };
                    let found = cell(&house, fault, dialect, is_stream, full[dialect as usize]);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    house.stop();
}

#[test]
fn the_matrix_has_a_fault_for_every_moment() {
    let moments: BTreeSet<Moment> = matrix().iter().map(|fault| fault.moment).collect();
    assert_eq!(moments.len(), 4, "{moments:?}");
}
