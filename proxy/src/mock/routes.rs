//! Which answer belongs to this request?
//!
//! Needs a complete request and the double. The whole surface is the match in [`answer`]; what is not there
//! is a 404 in OpenAI's shape. It decides and spells; it does not write to the socket.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Double;
use super::answer::Answer;
use super::ask::{Ask, Endpoint};
use super::http::Request;
use super::ledger::{Seen, Stats};
use super::openai::{Culprit, Failure, Stamp};
use super::script::Script;
use super::seed;

/// The models that `GET /v1/models` lists. Any other name is served too.
const MODELS: &[&str] = &["mock-echo", "mock-small", "mock-large", "mock-embedding"];
/// When the models were made: a fixed time, so that answers compare.
const MODELS_CREATED: u64 = 1_700_000_000;

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct Models {
    object: &'static str,
    data: Vec<Model<'static>>,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Record {
    requests: Vec<Seen>,
}

/// The answer about the double itself, if the request is about it. Such requests are neither counted nor
/// kept.
pub(super) fn inspection(double: &Double, request: &Request) -> Option<Answer> {
    let plain = Script::default();
    let ledger = double.ledger();
    match (request.method.as_str(), path(request)) {
        ("GET", "/__mock/requests") => Some(Answer::json(200, &Record { requests: ledger.seen() }, &plain)),
        ("DELETE", "/__mock/requests") => {
            ledger.clear();
            Some(Answer::json(200, &Record { requests: Vec::new() }, &plain))
        }
        ("GET", "/__mock/stats") => Some(Answer::json::<Stats>(200, &ledger.stats(), &plain)),
        ("GET", "/healthz") => Some(Answer::json(200, &Health { status: "ok" }, &plain)),
        _ => None,
    }
}

/// The answer to a caller's request.
pub(super) fn answer(double: &Double, request: &Request, stamp: Stamp) -> Answer {
    let answer = match (request.method.as_str(), path(request)) {
        _ if !double.admits(request.bearer.as_deref()) => Err(Failure::no_access(request.bearer.as_deref())),
        ("POST", "/v1/chat/completions") => asked(double, request, stamp, Endpoint::Chat),
        ("POST", "/v1/completions") => asked(double, request, stamp, Endpoint::Completions),
        ("POST", "/v1/embeddings") => asked(double, request, stamp, Endpoint::Embeddings),
        ("GET", "/v1/models") => listed(double, request, stamp, None),
        ("GET", other) => match other.strip_prefix("/v1/models/") {
            Some(id) => listed(double, request, stamp, Some(id)),
            None => Err(no_such_url(request)),
        },
        _ => Err(no_such_url(request)),
    };
    answer.unwrap_or_else(|failure| failure.answer(&Script::default()))
}

/// The stamp of the request that `before` others came before.
pub(super) fn stamp(double: &Double, before: u64) -> Stamp {
    // A clock before 1970 is no reason not to answer.
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Stamp { serial: seed::mixed(seed::nth(double.seed(), before + 1)), created }
}

fn asked(double: &Double, request: &Request, stamp: Stamp, endpoint: Endpoint) -> Result<Answer, Failure> {
    let ask = Ask::read(endpoint, &request.body)?;
    let script = script(double, request, ask.model())?;
    match failure(&script, request, stamp, ask.model(), || ask.text().plain().into_owned()) {
        Some(failure) => Ok(failure.answer(&script)),
        None => ask.answer(&script, stamp, request.body.len()),
    }
}

fn listed(double: &Double, request: &Request, stamp: Stamp, id: Option<&str>) -> Result<Answer, Failure> {
    let script = script(double, request, "")?;
    if let Some(failure) = failure(&script, request, stamp, id.unwrap_or_default(), String::new) {
        return Ok(failure.answer(&script));
    }
    match id {
        None => {
            let data = MODELS.iter().map(|id| model(id)).collect();
            Ok(Answer::json(200, &Models { object: "list", data }, &script))
        }
        Some(id) if id.starts_with("mock") => Ok(Answer::json(200, &model(id), &script)),
        Some(id) => Err(Failure::no_model(id)),
    }
}

/// The script of a request: the double's own, then the model name's, then the headers'.
fn script(double: &Double, request: &Request, model: &str) -> Result<Script, Failure> {
    let unclear = |error: super::script::ScriptError| Failure::invalid(400, error.to_string());
    let mut script = double.script().clone();
    script.follow_model(model).map_err(unclear)?;
    for (name, value) in &request.control {
        script.follow_header(name, value).map_err(unclear)?;
    }
    let Some(times) = script.fail_times else {
        return Ok(script);
    };
    let counter = script.name.as_deref().unwrap_or(model);
    match double.ledger().fails(counter, times) {
        Some(true) if script.has_fault() => Ok(script),
        Some(true) => Ok(Script { status: Some(500), ..script }),
        Some(false) => Ok(script.without_faults()),
        None => Err(Failure::invalid(400, "too many counters: clear them with `DELETE /__mock/requests`")),
    }
}

fn failure(
    script: &Script,
    request: &Request,
    stamp: Stamp,
    model: &str,
    text: impl FnOnce() -> String,
) -> Option<Failure> {
    let culprit = Culprit {
        model,
        text: &script.status.map(|_| text())?,
        key: request.bearer.as_deref().unwrap_or_default(),
        request_id: &stamp.id("req_"),
    };
    script.status.map(|status| Failure::of_status(status, &culprit))
}

fn model(id: &str) -> Model<'_> {
    Model { id, object: "model", created: MODELS_CREATED, owned_by: "palisade-mock" }
}

fn no_such_url(request: &Request) -> Failure {
    Failure::invalid(404, format!("Invalid URL ({} {})", request.method, path(request)))
}

/// The path without query; an absolute target (RFC 9112, 3.2.2) loses its origin.
fn path(request: &Request) -> &str {
    let target = match request.target.split_once("://") {
        Some((_, rest)) if !request.target.starts_with('/') => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        Some(_) | None => &request.target,
    };
    target.split_once('?').map_or(target, |(path, _)| path)
}
