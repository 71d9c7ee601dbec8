//! Which answer belongs to this request?
//!
//! Needs a complete request and the double. The whole surface is the match in [`answer`]; what is not there
//! is a 404 in the dialect's shape. It decides and spells; it does not write to the socket.

use std::time::{SystemTime, UNIX_EPOCH};

use palisade_filters::Dialect;
use serde::Serialize;

use super::answer::{Answer, Stamp};
use super::ask::{Ask, Endpoint};
use super::failure::{Culprit, Failure};
use super::http::Request;
use super::ledger::{Seen, Stats};
use super::script::Script;
use super::{Double, anthropic, models, seed};

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
    let dialect = dialect(request);
    let key = key(request, dialect);
    let answer = match (request.method.as_str(), path(request)) {
        _ if !double.admits(key) => Err(Failure::no_access(dialect, key)),
        ("POST", "/v1/chat/completions") => asked(double, request, stamp, Endpoint::Chat),
        ("POST", "/v1/completions") => asked(double, request, stamp, Endpoint::Completions),
        ("POST", "/v1/embeddings") => asked(double, request, stamp, Endpoint::Embeddings),
        ("POST", "/v1/messages") => asked(double, request, stamp, Endpoint::Messages),
        ("POST", "/v1/messages/count_tokens") => asked(double, request, stamp, Endpoint::CountTokens),
        ("GET", "/v1/models") => listed(double, request, stamp, None),
        ("GET", other) => match other.strip_prefix("/v1/models/") {
            Some(id) => listed(double, request, stamp, Some(id)),
            None => Err(Failure::no_endpoint(dialect, &request.method, other)),
        },
        (method, other) => Err(Failure::no_endpoint(dialect, method, other)),
    };
    let plain = Script::default();
    let mut answer = answer.unwrap_or_else(|failure| failure.answer(dialect, &stamp.id("req_"), &plain));
    answer.dialect = dialect;
    answer
}

/// The stamp of the request that `before` others came before.
pub(super) fn stamp(double: &Double, before: u64) -> Stamp {
    // A clock before 1970 is no reason not to answer.
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Stamp { serial: seed::mixed(seed::nth(double.seed(), before + 1)), created }
}

/// Whose API is meant: the path says, and where it is the same in both, the header that only one of them has.
fn dialect(request: &Request) -> Dialect {
    match path(request) {
        "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" => Dialect::OpenAi,
        "/v1/messages" | "/v1/messages/count_tokens" => Dialect::Anthropic,
        _ if request.anthropic_version.is_some() => Dialect::Anthropic,
        _ => Dialect::OpenAi,
    }
}

/// The key presented. Anthropic takes its own header, and a bearer's token too, which newer SDKs send.
fn key(request: &Request, dialect: Dialect) -> Option<&str> {
    let bearer = request.bearer.as_deref();
    match dialect {
        Dialect::OpenAi => bearer,
        Dialect::Anthropic => request.api_key.as_deref().or(bearer),
    }
}

fn asked(double: &Double, request: &Request, stamp: Stamp, endpoint: Endpoint) -> Result<Answer, Failure> {
    let dialect = dialect(request);
    check_version(request, dialect)?;
    let ask = Ask::read(endpoint, &request.body)?;
    ask.check_version(request.anthropic_version.as_deref().unwrap_or_default())?;
    let script = script(double, request, ask.model())?;
    let text = || ask.text().plain().into_owned();
    let body_bytes = request.body.len();
    dressed(&script, request, stamp, ask.model(), text, || ask.answer(&script, stamp, body_bytes))
}

fn listed(double: &Double, request: &Request, stamp: Stamp, id: Option<&str>) -> Result<Answer, Failure> {
    let dialect = dialect(request);
    check_version(request, dialect)?;
    let script = script(double, request, "")?;
    let model = id.unwrap_or_default();
    dressed(&script, request, stamp, model, String::new, || match id {
        None => Ok(models::list(dialect, &script)),
        Some(id) if id.starts_with("mock") => Ok(models::one(dialect, id, &script)),
        Some(id) => Err(Failure::no_model(dialect, id)),
    })
}

fn check_version(request: &Request, dialect: Dialect) -> Result<(), Failure> {
    match dialect {
        Dialect::OpenAi => Ok(()),
        Dialect::Anthropic => anthropic::check_version(request.anthropic_version.as_deref()),
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

/// The answer with the errors that the script wants in it, in its place or in its midst, and in its coding.
fn dressed(
    script: &Script,
    request: &Request,
    stamp: Stamp,
    model: &str,
    text: impl FnOnce() -> String,
    answer: impl FnOnce() -> Result<Answer, Failure>,
) -> Result<Answer, Failure> {
    let dialect = dialect(request);
    let failure = |status, text: &str| {
        let key = key(request, dialect).unwrap_or_default();
        let request_id = &stamp.id("req_");
        Failure::of_status(dialect, status, &Culprit { model, text, key, request_id })
    };
    let mut answer = match (script.status, script.error_event) {
        (Some(status), _) => failure(status, &text()).answer(dialect, &stamp.id("req_"), script),
        (None, None) => answer()?,
        (None, Some(events)) => {
            let failure = failure(Failure::status_of_a_stream(dialect), &text());
            let mut answer = answer()?;
            answer.dialect = dialect;
            answer.break_off(events, &failure, &stamp.id("req_"), script);
            answer
        }
    };
    answer.encode();
    Ok(answer)
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
