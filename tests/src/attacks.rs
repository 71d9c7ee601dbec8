//! Do values get past the proxy? Attempts as data, in both directions, each with what becomes of it.
//!
//! `tests/attacks/*.toml` hold them, one file a kind of trick. Each says in a sentence what the attacker does, and
//! whether that is stopped, and how, or is a known miss, and why. It runs in memory and over the wire, under strict
//! policies. A stopped attempt that gets a value out fails, and so does a known miss that does not: the list stays
//! true. A value is out if half of it is, as any patient reader of [`left`] would put it together.

#[path = "attacks/disguise.rs"]
mod disguise;
#[path = "attacks/left.rs"]
mod left;

use crate::house::{House, Plan};
use crate::keys::key;
use crate::memory;
use crate::process::workspace;
use crate::provider::{Double, Said, Scripted};
use crate::scenario::{Case, Expect, Outcome, Request};
use crate::wire::{self, Providers};
use left::Left;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

/// Attempts that there must be.
const ATTACKS_MIN: usize = 200;
/// Bytes of a value below which a half of it says nothing.
const HALVED_BYTES_MIN: usize = 12;

/// One attempt.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    /// What is tried, as words in dashes.
    name: String,
    /// What the attacker does, as a sentence.
    does: String,
    /// Whose policy it runs under: a file of `organisations`.
    #[serde(default = "strict")]
    organisation: String,
    /// A text that carries values: it is sent as a prompt, and comes as an answer, whole and a character a time.
    text: Option<String>,
    /// Which of the three ways `text` goes, if not all.
    #[serde(default = "ways")]
    ways: Vec<Way>,
    /// Why it cannot run in memory: it is about heads.
    wire_only: Option<String>,
    /// What is sent, where that is no usual prompt.
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    /// What the provider answers in one piece.
    answer: Option<String>,
    /// How that is said, where not usually.
    status: Option<u16>,
    content_type: Option<String>,
    #[serde(default)]
    answer_headers: BTreeMap<String, String>,
    /// What it answers as a stream, one event's data each.
    events: Option<Vec<String>>,
    /// The same, as it goes over the wire, framing and all.
    stream: Option<String>,
    /// What must not leave, where that is not what the templates wrote. Given: all of them must be there for the
    /// value to be out, as it was cut.
    pieces: Option<Vec<String>>,
    /// How it is stopped.
    stopped: Option<Stopped>,
    /// Why it is not.
    known_miss: Option<String>,
}

fn strict() -> String {
    "strict".to_owned()
}

/// A way for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Prompt,
    Answer,
    Stream,
}

fn ways() -> Vec<Way> {
    vec![Way::Prompt, Way::Answer, Way::Stream]
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stopped {
    /// A label stands in its place.
    Redacted,
    /// What it found blocks the request, or ends the answer.
    Blocked,
    /// The request is refused for its form, or for what it asks.
    Refused,
    /// The answer cannot be read, and is not passed on.
    Broken,
    /// What it is in does not travel.
    Dropped,
}

/// An attempt on one way, ready to run.
struct Attempt {
    name: String,
    case: Case,
    /// A value is out if each part of one of these is.
    values: Vec<Vec<String>>,
    stopped: Option<Stopped>,
    is_answer: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    attack: Vec<Attack>,
}

fn all() -> Vec<Attack> {
    let folder = workspace().join("tests/attacks");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.is_file()).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.attack
    };
    paths.into_iter().flat_map(read).collect()
}

/// The document of an organisation, with its key.
fn organisation(id: &str) -> String {
    let path = workspace().join(format!("tests/attacks/organisations/{id}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
    format!("{text}\n{}\n", key(id).table)
}

fn chat(content: &str, is_stream: bool, model: &str) -> String {
    json!({"model": model, "stream": is_stream, "messages": [{"role": "user", "content": content}]})
        .to_string()
}

/// A stream of chat chunks, whatever their data.
fn framed(events: &[String]) -> String {
    events.iter().flat_map(|event| ["data: ", event, "\n\n"]).collect()
}

impl Attack {
    /// Every way this one goes.
    fn attempts(&self) -> Vec<Attempt> {
        if self.text.is_none() {
            return vec![self.attempt(None)];
        }
        self.ways.iter().map(|way| self.attempt(Some(*way))).collect()
    }

    fn attempt(&self, way: Option<Way>) -> Attempt {
        let mut hidden = Vec::new();
        let mut fill = |template: &str, is_json: bool| {
            let mut filled = disguise::fill(template, is_json);
            hidden.append(&mut filled.hidden);
            filled.text
        };
        let text = fill(self.text.as_deref().unwrap_or_default(), false);
        let body = self.body.as_ref().map(|body| fill(body, true));
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), fill(value, false))).collect();
        let path = self.path.as_ref().map(|path| fill(path, false));
        let said = match way {
            None => self.said(&mut fill),
            Some(Way::Prompt) => None,
            Some(Way::Answer) => Some(Said::new("application/json", &answer(&text))),
            Some(Way::Stream) => Some(Said::new("text/event-stream", &streamed(&text))),
        };
        let is_answer = said.is_some();
        let is_stream = self.stream.is_some() || self.events.is_some() || way == Some(Way::Stream);
        let path = path.unwrap_or_else(|| "/v1/chat/completions".to_owned());
        let is_anthropic = path.starts_with("/v1/messages");
        let asked = || match way {
            Some(Way::Prompt) => chat(&text, false, "mock"),
            _ if is_anthropic => message(is_stream),
            _ => chat("hello", is_stream, "scripted"),
        };
        let values = match &self.pieces {
            Some(pieces) => vec![pieces.iter().map(|piece| disguise::fill(piece, false).text).collect()],
            None => hidden.into_iter().map(|one| vec![one]).collect(),
        };
        let said = said.or_else(|| is_anthropic.then(|| Said::new("application/json", MESSAGE)));
        let request = Request {
            method: "POST".to_owned(),
            path,
            headers,
            body: body.unwrap_or_else(asked),
            is_latin1: false,
        };
        Attempt {
            name: way.map_or_else(|| self.name.clone(), |way| format!("{} ({way:?})", self.name)),
            case: Case {
                wire_only: self.wire_only.clone(),
                answers: said.into_iter().collect(),
                ..case(&self.organisation, request)
            },
            values,
            stopped: self.stopped,
            is_answer,
        }
    }

    /// What the provider says, if that matters.
    fn said(&self, fill: &mut impl FnMut(&str, bool) -> String) -> Option<Said> {
        let events: Vec<String> = self.events.iter().flatten().map(|event| fill(event, true)).collect();
        let mut said = match (&self.answer, &self.stream) {
            (Some(answer), _) => Said::new("application/json", &fill(answer, true)),
            (None, Some(stream)) => Said::new("text/event-stream", &fill(stream, true)),
            (None, None) if events.is_empty() => return None,
            (None, None) => Said::new("text/event-stream", &framed(&events)),
        };
        said.status = self.status.unwrap_or(said.status);
        said.content_type = self.content_type.clone().unwrap_or(said.content_type);
        let headers = self.answer_headers.iter();
        said.headers = headers.map(|(name, value)| (name.clone(), fill(value, false))).collect();
        Some(said)
    }
}

/// A scenario of an organisation that expects nothing: an attack judges by itself.
fn case(organisation: &str, request: Request) -> Case {
    Case {
        name: organisation.to_owned(),
        wire_only: None,
        address: None,
        platform: String::new(),
        organisation: String::new(),
        key: String::new(),
        config: String::new(),
        reported: Vec::new(),
        before: 0,
        request,
        answers: Vec::new(),
        expect: Expect::default(),
    }
}

/// An answer in one piece.
fn answer(text: &str) -> String {
    let message = json!({"role": "assistant", "content": text});
    json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string()
}

/// An answer as a stream, a character an event.
fn streamed(text: &str) -> String {
    let event = |letter: char| {
        let delta = json!({"content": letter.to_string()});
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}).to_string()
    };
    let last =
        [r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#, "[DONE]"].map(str::to_owned);
    framed(&text.chars().map(event).chain(last).collect::<Vec<_>>())
}

/// What is asked of a provider that speaks Anthropic's dialect, and what it says where that does not matter.
fn message(is_stream: bool) -> String {
    let messages = json!([{"role": "user", "content": "hello"}]);
    json!({"model": "claude", "max_tokens": 64, "stream": is_stream, "messages": messages}).to_string()
}

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;

impl Attempt {
    /// What is not as the attack says.
    fn judge(&self, outcome: &Outcome) -> Option<String> {
        let left: Vec<&str> = if self.is_answer {
            outcome.answer.iter().map(|answer| std::str::from_utf8(&answer.body).unwrap()).collect()
        } else {
            outcome.forwarded.iter().map(String::as_str).collect()
        };
        let read = Left::of(&left);
        let out = self.values.iter().find(|value| is_out(&read, value));
        let shown = left.join("\n");
        let told = &read.joined();
        match (self.stopped, out) {
            (None, Some(_)) => None,
            (None, None) => Some(format!("is a known miss, and is stopped: {told}")),
            (Some(_), Some(value)) => Some(format!("lets {value:?} out: {told}")),
            (Some(stopped), None) => {
                let ended = ended(self, outcome, &shown);
                (ended != stopped).then(|| format!("is {ended:?}, not {stopped:?}: {told}"))
            }
        }
    }
}

/// Whether a value is out: all of its pieces, or a half of it where it is in one piece.
fn is_out(left: &Left, pieces: &[String]) -> bool {
    match pieces {
        [whole] if whole.chars().count() >= HALVED_BYTES_MIN => {
            let middle = whole.char_indices().nth(whole.chars().count() / 2).map_or(0, |(at, _)| at);
            let (one, other) = whole.split_at(middle);
            left.holds(&[one]) || left.holds(&[other])
        }
        pieces => left.holds(&pieces.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

fn ended(attempt: &Attempt, outcome: &Outcome, shown: &str) -> Stopped {
    let Some(answer) = outcome.answer.as_ref().filter(|_| attempt.is_answer || outcome.forwarded.is_empty())
    else {
        return if holds_label(shown) { Stopped::Redacted } else { Stopped::Dropped };
    };
    let text = answer.text();
    let code = serde_json::from_slice(&answer.body).map(|body: Value| body["error"]["code"].clone());
    match answer.status {
        200 if text.contains("upstream_unavailable") => Stopped::Broken,
        200 if ENDS_BY_POLICY.iter().any(|end| text.contains(end)) => Stopped::Blocked,
        200 if holds_label(shown) => Stopped::Redacted,
        200 => Stopped::Dropped,
        502 => Stopped::Broken,
        _ if attempt.is_answer && holds_label(shown) => Stopped::Redacted,
        _ if code.is_ok_and(|code| code == "content_blocked") => Stopped::Blocked,
        _ => Stopped::Refused,
    }
}

/// How an answer that policy ends says so, in both dialects.
const ENDS_BY_POLICY: &[&str] = &[r#""finish_reason":"content_filter""#, r#""stop_reason":"refusal""#];

/// Whether something was replaced: `[CREDIT_CARD]`.
fn holds_label(text: &str) -> bool {
    text.split('[').skip(1).any(|rest| {
        let label = rest.split(']').next().unwrap_or_default();
        label.len() >= 3
            && label != "DONE"
            && label.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    })
}

#[test]
fn every_attack_is_told_and_its_end_is_stated() {
    let attacks = all();
    let names: BTreeSet<&str> = attacks.iter().map(|attack| attack.name.as_str()).collect();
    assert_eq!(names.len(), attacks.len(), "two attacks have one name");
    assert!(attacks.len() >= ATTACKS_MIN, "there are {} attacks", attacks.len());
    for attack in &attacks {
        assert!(attack.does.ends_with('.') && attack.does.len() > 12, "{}: says what is done", attack.name);
        let (stopped, missed) = (attack.stopped.is_some(), attack.known_miss.is_some());
        assert!(stopped != missed, "{}: is either stopped or a known miss", attack.name);
        let is_reason = |reason: &String| reason.len() > 20;
        assert!(attack.known_miss.iter().all(is_reason), "{}: says why it is missed", attack.name);
        for attempt in attack.attempts() {
            assert!(!attempt.values.is_empty(), "{}: carries no value", attack.name);
        }
    }
}

#[test]
fn every_attack_ends_as_stated_in_memory() {
    let mut wrong = Vec::new();
    let mut policies = BTreeMap::new();
    let attempts = all().into_iter().filter(|attack| attack.wire_only.is_none());
    for attempt in attempts.flat_map(|attack| attack.attempts()) {
        let policy = policies.entry(attempt.case.name.clone()).or_insert_with_key(|id| {
            let nowhere = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
            memory::policy(&wire::platform(&attempt.case, nowhere), &[&organisation(id)])
        });
        let outcome = memory::run_under(&attempt.case, policy);
        wrong.extend(attempt.judge(&outcome).map(|problem| format!("{} {problem}", attempt.name)));
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_attack_ends_as_stated_over_the_wire() {
    let folder = TempDir::new().unwrap();
    let providers = Providers { double: Double::start(folder.path()), scripted: Scripted::start() };
    let addresses = [providers.double.address, providers.scripted.address];
    let attacks = all();
    let ids: BTreeSet<&String> = attacks.iter().map(|attack| &attack.organisation).collect();
    let organisations = ids.into_iter().map(|id| (id.clone(), organisation(id))).collect();
    let attempts: Vec<Attempt> = attacks.iter().flat_map(Attack::attempts).collect();
    let platform = wire::platform(&attempts.first().unwrap().case, addresses);
    let mut house = House::start(&Plan { platform, organisations, config: String::new() });
    let log = house.process.as_ref().unwrap().log();
    assert!(!log.contains("document not used"), "{log}");
    let mut wrong = Vec::new();
    for attempt in attempts {
        let (outcome, mut found) = wire::run(&house, &providers, &attempt.case);
        found.extend(attempt.judge(&outcome));
        wrong.extend(found.into_iter().map(|problem| format!("{} {problem}", attempt.name)));
    }
    house.stop();
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
