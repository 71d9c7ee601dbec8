//! What is a scenario? One request, what the documents say, what the provider answers, and what must come of it.
//!
//! `tests/scenarios/*.toml` hold them, one file a question. The same case runs in memory (`memory`) and over the wire
//! (`wire`); both hand an [`Outcome`] to the one judge here. Unknown fields are refused: an expectation that is
//! misspelt would hold for ever.

use crate::http::{Answer, Told};
use crate::keys::key;
use crate::process::workspace;
use crate::provider::{Received, Said};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What holds, as a sentence in dashes. It is the organisation's id too.
    pub(crate) name: String,
    /// Why it cannot run in memory, if it cannot: it is about heads, bytes, sockets or time.
    pub(crate) wire_only: Option<String>,
    /// Where the caller comes from, in the small world of `world`; not given: loopback, which is nowhere.
    pub(crate) address: Option<IpAddr>,
    /// Members of `platform.toml` besides the providers.
    #[serde(default)]
    pub(crate) platform: String,
    /// Members of the organisation's document besides its id and its key.
    #[serde(default)]
    pub(crate) organisation: String,
    /// Settings of the key.
    #[serde(default)]
    pub(crate) key: String,
    /// `palisade.toml`.
    #[serde(default)]
    pub(crate) config: String,
    /// Credentials that leak reports name; `{key}` is the caller's.
    #[serde(default)]
    pub(crate) reported: Vec<String>,
    /// How often the request is sent before the time that counts.
    #[serde(default)]
    pub(crate) before: usize,
    pub(crate) request: Request,
    /// What the provider `scripted` says, one answer an attempt.
    #[serde(default)]
    pub(crate) answers: Vec<Said>,
    pub(crate) expect: Expect,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    #[serde(default = "post")]
    pub(crate) method: String,
    #[serde(default = "chat_completions")]
    pub(crate) path: String,
    /// Over those that are sent anyway; an empty value takes one away. `{key}` is the caller's key, `{typo}` the
    /// same with another last character, `{stranger}` a sound key that nobody has.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    /// Each character is one byte, so that a case can hold what is not UTF-8.
    #[serde(default)]
    pub(crate) is_latin1: bool,
}

fn post() -> String {
    "POST".to_owned()
}

fn chat_completions() -> String {
    "/v1/chat/completions".to_owned()
}

/// What must come of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: u16,
    pub(crate) code: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) param: Option<String>,
    pub(crate) message: Option<String>,
    /// `*` means that it is there, an empty value that it is not.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// The body, as JSON.
    pub(crate) json: Option<String>,
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    /// Lanes of a stream with their whole text.
    #[serde(default)]
    pub(crate) lanes: BTreeMap<String, String>,
    /// How choice 0 of a stream ended.
    pub(crate) finish: Option<String>,
    /// Whether the stream said `[DONE]`; otherwise it must have said an error.
    pub(crate) is_done: Option<bool>,
    pub(crate) has_usage: Option<bool>,
    /// The body that the provider received last, byte for byte.
    pub(crate) forwarded: Option<String>,
    #[serde(default)]
    pub(crate) forwarded_contains: Vec<String>,
    #[serde(default)]
    pub(crate) forwarded_lacks: Vec<String>,
    /// Headers that the provider received last, as in `headers`; the wire's alone.
    #[serde(default)]
    pub(crate) forwarded_headers: BTreeMap<String, String>,
    /// Models that were tried, in their order; empty: nothing left.
    pub(crate) attempts: Option<Vec<String>>,
    /// JSON pointers into the event; `*` means that something is there, an empty text that nothing is.
    #[serde(default)]
    pub(crate) event: BTreeMap<String, toml::Value>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// None where nobody answered: in memory there is no double.
    pub(crate) answer: Option<Answer>,
    /// Bodies that reached providers, in the order of attempts.
    pub(crate) forwarded: Vec<String>,
    pub(crate) event: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// Every case of every file.
pub(crate) fn all() -> Vec<Case> {
    let folder = workspace().join("tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        cases.extend(file.case);
    }
    cases
}

impl Case {
    /// The organisation's document.
    pub(crate) fn organisation_text(&self) -> String {
        format!("id = \"{}\"\n{}\n{}{}\n", self.name, self.organisation, key(&self.name).table, self.key)
    }

    /// What leak reports name.
    pub(crate) fn reported(&self) -> Vec<String> {
        let secret = key(&self.name).secret;
        self.reported.iter().map(|text| text.replace("{key}", &secret)).collect()
    }

    /// The request's headers.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let secret = key(&self.name).secret;
        let mut headers = BTreeMap::from([
            ("authorization".to_owned(), "Bearer {key}".to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ]);
        if self.request.path.starts_with("/v1/messages") {
            headers.insert("anthropic-version".to_owned(), "2023-06-01".to_owned());
        }
        headers.extend(self.request.headers.clone());
        headers.retain(|_, value| !value.is_empty());
        let last = if secret.ends_with('0') { "1" } else { "0" };
        let typo = format!("{}{last}", &secret[..secret.len() - 1]);
        let stranger = key("nobody").secret;
        let filled = |value: String| {
            value.replace("{key}", &secret).replace("{typo}", &typo).replace("{stranger}", &stranger)
        };
        headers.into_iter().map(|(name, value)| (name, filled(value))).collect()
    }

    /// The request's body.
    pub(crate) fn body(&self) -> Vec<u8> {
        if self.request.is_latin1 {
            self.request.body.chars().map(|one| u8::try_from(u32::from(one)).unwrap()).collect()
        } else {
            self.request.body.clone().into_bytes()
        }
    }

    /// What of this outcome is not as it must be.
    pub(crate) fn judge(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(answer) = &outcome.answer {
            self.judge_answer(answer, &mut wrong);
            self.judge_stream(answer, &mut wrong);
        }
        self.judge_forwarded(&outcome.forwarded, &mut wrong);
        for (pointer, expected) in &self.expect.event {
            let Some(event) = &outcome.event else { break };
            let there = event.pointer(pointer).cloned().unwrap_or(Value::Null);
            let expected = serde_json::to_value(expected).unwrap();
            // An empty text stands for what is not written: TOML has no null.
            let same = there == expected
                || match expected.as_str() {
                    Some("") => there.is_null(),
                    Some("*") => !there.is_null(),
                    Some(_) | None => false,
                };
            if !same {
                wrong.push(format!("event{pointer} is {there}, not {expected}"));
            }
        }
        wrong
    }

    fn judge_answer(&self, answer: &Answer, wrong: &mut Vec<String>) {
        let expect = &self.expect;
        let text = answer.text();
        if answer.status != expect.status {
            wrong.push(format!("status {}, not {}: {text}", answer.status, expect.status));
            return;
        }
        let error = |member: &str| {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            body["error"][member].clone()
        };
        for (member, expected) in [
            ("code", &expect.code),
            ("type", &expect.kind),
            ("param", &expect.param),
            ("message", &expect.message),
        ] {
            let there = error(member);
            if expected.as_ref().is_some_and(|expected| there != expected.as_str()) {
                wrong.push(format!("error.{member} is {there}, not {expected:?}"));
            }
        }
        if let Some(json) = &expect.json {
            let expected: Value = serde_json::from_str(json).unwrap();
            let there: Value = serde_json::from_str(&text).unwrap_or_default();
            if there != expected {
                wrong.push(format!("the body is {text}, not {expected}"));
            }
        }
        for part in expect.contains.iter().filter(|part| !text.contains(*part)) {
            wrong.push(format!("the answer lacks `{part}`: {text}"));
        }
        for part in expect.lacks.iter().filter(|part| text.contains(*part)) {
            wrong.push(format!("the answer contains `{part}`: {text}"));
        }
    }

    /// Headers are the wire's; the core knows none.
    pub(crate) fn judge_headers(&self, answer: &Answer, received: Option<&Received>) -> Vec<String> {
        let mut wrong = Vec::new();
        let of_answer = self.expect.headers.iter().map(|row| (row, answer.header(row.0)));
        let header = |name: &str| received.and_then(|received| received.header(name));
        let of_request = self.expect.forwarded_headers.iter().map(|row| (row, header(row.0)));
        for ((name, expected), there) in of_answer.chain(of_request) {
            let same = match expected.as_str() {
                "*" => there.is_some(),
                "" => there.is_none(),
                value => there == Some(value),
            };
            if !same {
                wrong.push(format!("header `{name}` is {there:?}, not `{expected}`"));
            }
        }
        wrong
    }

    fn judge_stream(&self, answer: &Answer, wrong: &mut Vec<String>) {
        let expect = &self.expect;
        let Some(is_done) = expect.is_done else { return };
        let told = Told::read(&answer.body);
        if told.is_done != is_done || told.has_error == is_done {
            wrong.push(format!("done {}, error {}: {}", told.is_done, told.has_error, answer.text()));
        }
        for (lane, expected) in &expect.lanes {
            if told.lane(lane) != expected {
                wrong.push(format!("lane {lane} is `{}`, not `{expected}`", told.lane(lane)));
            }
        }
        let finish = told.finish.get(&0);
        if expect.finish.is_some() && expect.finish.as_ref() != finish {
            wrong.push(format!("it ended by {finish:?}, not {:?}", expect.finish));
        }
        if expect.has_usage.is_some_and(|expected| expected != told.has_usage) {
            wrong.push(format!("usage was told: {}", told.has_usage));
        }
    }

    fn judge_forwarded(&self, forwarded: &[String], wrong: &mut Vec<String>) {
        let expect = &self.expect;
        let last = forwarded.last().map_or("", String::as_str);
        if expect.forwarded.as_ref().is_some_and(|expected| expected != last) {
            wrong.push(format!("forwarded was\n{last}\nnot\n{}", expect.forwarded.as_deref().unwrap()));
        }
        for part in expect.forwarded_contains.iter().filter(|part| !last.contains(*part)) {
            wrong.push(format!("forwarded lacks `{part}`: {last}"));
        }
        for part in &expect.forwarded_lacks {
            for body in forwarded.iter().filter(|body| body.contains(part)) {
                wrong.push(format!("forwarded contains `{part}`: {body}"));
            }
        }
        let Some(expected) = &expect.attempts else { return };
        let models: Vec<String> = forwarded
            .iter()
            .map(|body| {
                let body: Value = serde_json::from_str(body).unwrap();
                body["model"].as_str().unwrap().to_owned()
            })
            .collect();
        if models != *expected {
            wrong.push(format!("attempts were {models:?}, not {expected:?}"));
        }
    }
}
