//! From the target's answer to the client's: read, scanned, written as it comes.

use crate::bodies::BodyShare;
use crate::fault::{Fault, Stop};
use crate::health::Trial;
use crate::house::{House, now_ms};
use crate::meter::{Held, Passage};
use crate::record::Record;
use crate::relay::{Next, interrupted, is_welcome};
use crate::reply;
use crate::serve::SCANNED_IN_PLACE_BYTES;
use bytes::Bytes;
use futures::FutureExt;
use palisade_audit::event::{Outcome, TokenSource, Tokens};
use palisade_filters::answer::failure::{self, FAILURE_BYTES_MAX};
use palisade_filters::answer::{Answer, AnswerFault, Flow};
use palisade_filters::quota::{Receipt, Usage};
use palisade_filters::{AuthorisedTarget, Cleared, Dialect, Visitor};
use pingora_core::ErrorType;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::client::HttpSession;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Timers end so much too early or too late: in less time nobody answers.
const TICK: Duration = Duration::from_millis(10);
/// Chunks that are there already are put together up to this size: one write instead of many.
const COALESCED_BYTES: usize = 16 * 1024;
/// Answer headers of a provider that travel on, by its dialect. Anthropic's tell of limits and organisations that are
/// not the caller's.
fn passed_headers(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::OpenAi => &["openai-processing-ms", "openai-version"],
        Dialect::Anthropic => &[],
    }
}

/// Everything that one exchange is made of.
pub(crate) struct Exchange<'a> {
    pub(crate) house: &'a Arc<House>,
    pub(crate) down: &'a mut ServerSession,
    pub(crate) visitor: &'a Visitor,
    pub(crate) cleared: &'a Cleared,
    pub(crate) record: &'a mut Record,
    pub(crate) held: Held,
    /// One of those under way at once; it ends after its budget is settled.
    pub(crate) passage: Passage,
    /// What the meters said, before and after the body was read.
    pub(crate) receipts: [Receipt; 2],
    pub(crate) revision: watch::Receiver<u64>,
    /// When the first target was turned to.
    pub(crate) began: Instant,
    /// Whether that target is still being tried.
    pub(crate) is_first: bool,
    /// What the attempt under way tells of its target.
    pub(crate) trial: Trial,
}

impl Exchange<'_> {
    /// How long an answer may still take to begin. The first target has all the time that is its own; those after it
    /// share what is left of everyone's.
    pub(crate) fn time_left(&self, target: &AuthorisedTarget) -> Duration {
        let own = target.provider().document.first_byte_timeout;
        if self.is_first { own } else { own.min(self.time_left_for_all()) }
    }

    /// Whether the client waited too long for another target to be turned to.
    pub(crate) fn is_late(&self) -> bool {
        self.time_left_for_all() <= TICK
    }

    /// Why the exchange has to end now, if it has: asked between two waits, for where there is always something to do
    /// nobody waits for [`interrupted`].
    pub(crate) fn end(&mut self) -> Option<Fault> {
        if self.house.is_cut() {
            return Some(Fault::Stopping);
        }
        let is_changed = self.revision.has_changed().unwrap_or(false);
        if is_changed {
            self.revision.mark_unchanged();
        }
        let is_expired = || self.visitor.expires_ms().is_some_and(|end| end <= now_ms());
        let is_over = is_changed && !is_welcome(self.house, self.visitor) || is_expired();
        is_over.then_some(Fault::Revoked)
    }

    /// All is known: what was used is charged, and another may come. It is done before the last byte is sent, so that
    /// who has read an answer finds its slot free.
    fn settle(&mut self) {
        self.held.settle();
        self.passage.end();
    }

    fn time_left_for_all(&self) -> Duration {
        self.house.limits().answer_timeout.saturating_sub(self.began.elapsed())
    }
}

/// What came from upstream at once.
struct Burst {
    chunks: Vec<Bytes>,
    is_end: bool,
    is_broken: bool,
}

/// Passes an answer on. Says whether the upstream connection can serve again.
pub(crate) async fn answer(
    exchange: &mut Exchange<'_>,
    up: &mut HttpSession,
    target: &AuthorisedTarget,
    started: Instant,
) -> Result<bool, Next> {
    let latency = started.elapsed();
    exchange.trial.head(&exchange.house.health, latency, exchange.cleared.head().stream);
    let mut answer = begin(exchange, up).map_err(|fault| malformed(&fault))?;
    let result = pass(exchange, up, &mut answer, (target, latency)).await;
    let was_begun = reply::has_begun(exchange.down);
    // A target whose answer never began may be followed by another; its text is scanned and charged there.
    if !exchange.held.is_settled() && (was_begun || !matches!(result, Err(Next::Target(..)))) {
        settle(exchange, &answer, (target, latency), false);
    }
    result
}

fn begin(exchange: &Exchange<'_>, up: &HttpSession) -> Result<Answer, AnswerFault> {
    let head = up.response_header().ok_or(AnswerFault::Empty)?;
    // None was asked for; what is encoded cannot be read.
    let is_plain = head.headers.get("content-encoding").is_none_or(|coding| coding == "identity");
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok());
    Answer::begin(exchange.visitor, exchange.cleared, content_type.filter(|_| is_plain))
}

fn malformed(fault: &AnswerFault) -> Next {
    tracing::warn!(%fault, "answer cannot be read");
    Next::Target(Outcome::Malformed, None)
}

async fn pass(
    exchange: &mut Exchange<'_>,
    up: &mut HttpSession,
    answer: &mut Answer,
    from: (&AuthorisedTarget, Duration),
) -> Result<bool, Next> {
    let document = &from.0.provider().document;
    up.set_read_timeout(Some(document.idle_timeout));
    let mut out = Vec::new();
    let mut share = BodyShare::of(exchange.house, &exchange.visitor.tenant().id);
    loop {
        if let Some(fault) = exchange.end() {
            return Err(fault.into());
        }
        let left = document.total_timeout.saturating_sub(exchange.began.elapsed());
        if left.is_zero() {
            // Asked here too: where there is always something to read, nobody waits until a wait is over.
            return Err(broken(exchange, Outcome::TimedOut, None));
        }
        let burst = tokio::select! { biased;
            burst = pingora_timeout::timeout(left, read(up)) => burst,
            fault = interrupted(exchange.down, &mut exchange.revision, exchange.house, exchange.visitor) => {
                return Err(fault.into());
            }
        };
        let burst = match burst {
            Ok(Ok(burst)) => burst,
            Ok(Err(outcome)) => return Err(broken(exchange, outcome, None)),
            Err(_) => return Err(broken(exchange, Outcome::TimedOut, None)),
        };
        out.clear();
        if !answer.is_stream() {
            // An answer in one piece is held like a prompt.
            share.grow(burst.chunks.iter().map(|chunk| chunk.len() as u64).sum())?;
        }
        match feed(answer, &burst, &mut out) {
            Ok(Flow::Open) if burst.is_end => {
                match finish(exchange, answer, &mut out).await {
                    Ok(()) => {
                        settle(exchange, answer, from, true);
                        write_end(exchange, answer, up, &mut out).await?;
                    }
                    Err(fault) => {
                        write(exchange, answer, up, &mut out).await?;
                        return Err(broken(exchange, Outcome::Malformed, Some(fault)));
                    }
                }
                return Ok(true);
            }
            Ok(Flow::Open) if burst.is_broken => {
                write(exchange, answer, up, &mut out).await?;
                return Err(broken(exchange, Outcome::Reset, None));
            }
            Ok(Flow::Open) => write(exchange, answer, up, &mut out).await?,
            Ok(Flow::Ended) => {
                settle(exchange, answer, from, true);
                write_end(exchange, answer, up, &mut out).await?;
                return Ok(burst.is_end || has_ended(up));
            }
            Err(fault) => {
                write(exchange, answer, up, &mut out).await?;
                return Err(broken(exchange, Outcome::Malformed, Some(fault)));
            }
        }
    }
}

/// Reads what is held. A large answer is scanned on a thread of its own, as a large prompt is.
async fn finish(exchange: &Exchange<'_>, answer: &mut Answer, out: &mut Vec<u8>) -> Result<(), AnswerFault> {
    if answer.held_bytes() <= SCANNED_IN_PLACE_BYTES {
        return answer.finish(out);
    }
    let empty = Answer::begin(exchange.visitor, exchange.cleared, Some("application/json"))?;
    let mut moved = std::mem::replace(answer, empty);
    let work = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let result = moved.finish(&mut out);
        (moved, out, result)
    });
    let (read, written, result) = work.await.map_err(|_| AnswerFault::ScanLimit)?;
    (*answer, *out) = (read, written);
    result
}

fn feed(answer: &mut Answer, burst: &Burst, out: &mut Vec<u8>) -> Result<Flow, AnswerFault> {
    for chunk in &burst.chunks {
        if answer.push(chunk, out)? == Flow::Ended {
            return Ok(Flow::Ended);
        }
    }
    Ok(Flow::Open)
}

/// The answer cannot go on: another target, if the client has nothing of it yet.
fn broken(exchange: &Exchange<'_>, outcome: Outcome, fault: Option<AnswerFault>) -> Next {
    if reply::has_begun(exchange.down) {
        Next::Stop(Stop::Failed(Fault::Broken(fault)))
    } else {
        Next::Target(outcome, None)
    }
}

/// Reads what is there, waiting only for the first chunk.
async fn read(up: &mut HttpSession) -> Result<Burst, Outcome> {
    let mut burst = Burst { chunks: Vec::new(), is_end: false, is_broken: false };
    let mut bytes = 0;
    match up.read_response_body().await {
        Ok(Some(chunk)) => {
            bytes += chunk.len();
            burst.chunks.push(chunk);
        }
        Ok(None) => burst.is_end = true,
        Err(error) if *error.etype() == ErrorType::ReadTimedout => return Err(Outcome::TimedOut),
        Err(_) => return Err(Outcome::Reset),
    }
    while bytes < COALESCED_BYTES && !burst.is_end && !burst.is_broken {
        // Unconstrained, because the runtime's own fairness would answer "not yet" though bytes are there.
        match tokio::task::unconstrained(up.read_response_body()).now_or_never() {
            Some(Ok(Some(chunk))) => {
                bytes += chunk.len();
                burst.chunks.push(chunk);
            }
            Some(Ok(None)) => burst.is_end = true,
            Some(Err(_)) => burst.is_broken = true,
            None => break,
        }
    }
    Ok(burst)
}

/// Whether nothing but the end of the body is left.
fn has_ended(up: &mut HttpSession) -> bool {
    matches!(tokio::task::unconstrained(up.read_response_body()).now_or_never(), Some(Ok(None)))
}

async fn write(
    exchange: &mut Exchange<'_>,
    answer: &Answer,
    up: &HttpSession,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    if out.is_empty() {
        return Ok(());
    }
    if !reply::has_begun(exchange.down) {
        write_head(exchange, answer, up, None).await?;
    }
    exchange.record.sent(out.len());
    let bytes = Bytes::from(std::mem::take(out));
    exchange.down.write_response_body(bytes, false).await.map_err(|_| Fault::ClientLeft)
}

async fn write_end(
    exchange: &mut Exchange<'_>,
    answer: &Answer,
    up: &HttpSession,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    if !reply::has_begun(exchange.down) {
        let length = (!answer.is_stream()).then_some(out.len());
        write_head(exchange, answer, up, length).await?;
    }
    exchange.record.sent(out.len());
    if !out.is_empty() {
        let bytes = Bytes::from(std::mem::take(out));
        exchange.down.write_response_body(bytes, false).await.map_err(|_| Fault::ClientLeft)?;
    }
    exchange.down.finish_body().await.map_err(|_| Fault::ClientLeft)?;
    exchange.record.completed();
    Ok(())
}

async fn write_head(
    exchange: &mut Exchange<'_>,
    answer: &Answer,
    up: &HttpSession,
    length: Option<usize>,
) -> Result<(), Fault> {
    exchange.trial.answers(&exchange.house.health);
    let mut head = reply::head(exchange.record, 200)?;
    let kind = if answer.is_stream() { "text/event-stream; charset=utf-8" } else { "application/json" };
    reply::insert(&mut head, "content-type", kind.to_owned())?;
    let is_redacted = exchange.cleared.is_redacted();
    reply::insert(&mut head, "x-palisade-decision", if is_redacted { "redact" } else { "allow" }.to_owned())?;
    if exchange.visitor.tenant().findings_header {
        reply::insert_findings(&mut head, exchange.cleared.findings())?;
    }
    reply::insert_rate_limits(&mut head, &exchange.receipts)?;
    for name in passed_headers(exchange.cleared.head().surface.dialect()) {
        let value = up.response_header().and_then(|head| head.headers.get(*name)?.to_str().ok());
        // Durations and dates: whatever else stands there is not passed on.
        let is_plain = |value: &&str| {
            value.len() <= 16
                && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
                && !is_long_number(value)
        };
        if let Some(value) = value.filter(is_plain) {
            reply::insert(&mut head, name, value.to_owned())?;
        }
    }
    if let Some(length) = length {
        reply::insert(&mut head, "content-length", length.to_string())?;
    } else {
        reply::insert(&mut head, "cache-control", "no-cache".to_owned())?;
        if !exchange.down.is_http2() && exchange.down.req_header().version == http::Version::HTTP_11 {
            reply::insert(&mut head, "transfer-encoding", "chunked".to_owned())?;
        }
    }
    exchange.record.answered(200, answer.is_stream());
    reply::write_head(exchange.down, exchange.record, head).await
}

/// Nothing that takes so many digits is a duration in milliseconds.
fn is_long_number(value: &str) -> bool {
    value.bytes().filter(u8::is_ascii_digit).count() > 8
}

/// Charges what was used: as the provider counted it, or else as its text was counted. What it says on the way is not
/// all of it: an answer that broke off used at least what came. Of one in one piece that did not come whole, nobody
/// knows anything.
fn settle(
    exchange: &mut Exchange<'_>,
    answer: &Answer,
    (target, latency): (&AuthorisedTarget, Duration),
    is_whole: bool,
) {
    exchange.record.attempted(target, Outcome::Answered { status: 200 }, latency);
    if !is_whole && !answer.is_stream() {
        return;
    }
    let report = answer.report();
    let counted = || Usage {
        prompt_tokens: exchange.held.prompt_tokens(),
        completion_tokens: report.counted_tokens,
        ..Usage::default()
    };
    let source = if report.usage.is_some() { TokenSource::Provider } else { TokenSource::Counted };
    let mut usage = report.usage.unwrap_or_else(counted);
    // A stream that policy ended is not whole either.
    if !is_whole || (report.is_blocked && answer.is_stream()) {
        usage.completion_tokens = usage.completion_tokens.max(report.counted_tokens);
    }
    exchange.held.used(usage);
    let tokens = Tokens {
        prompt: usage.prompt_tokens,
        cached: usage.cached_tokens,
        cache_write: usage.cache_write_tokens,
        completion: usage.completion_tokens,
        source,
    };
    exchange.record.reported(report, tokens);
    exchange.settle();
}

/// Passes on an upstream error about the caller's own request, rewritten.
pub(crate) async fn pass_failure(
    exchange: &mut Exchange<'_>,
    up: &mut HttpSession,
    status: u16,
) -> Result<(), Fault> {
    // It refuses, whatever it says of it.
    exchange.held.used(Usage::default());
    let mut body = Vec::new();
    let limit = exchange.house.limits().body_timeout;
    let read = pingora_timeout::timeout(limit, async {
        while let Ok(Some(chunk)) = up.read_response_body().await {
            body.extend_from_slice(&chunk);
            if body.len() > FAILURE_BYTES_MAX {
                break;
            }
        }
    });
    tokio::select! { biased;
        // What did not come in time is not needed: the status says the most.
        _ = read => {}
        fault = interrupted(exchange.down, &mut exchange.revision, exchange.house, exchange.visitor) => {
            return Err(fault);
        }
    }
    let failure = failure::read(exchange.visitor, &body);
    exchange.settle();
    reply::failure(exchange.down, exchange.record, status, &failure).await?;
    exchange.record.completed();
    Ok(())
}
