//! The exchange: one target after the other, until one answers.
//!
//! A target is given up while nothing of its answer has reached the client: no connection, no answer in time, a status
//! that is the provider's own doing, an answer that cannot be read. After the first byte there is no other target;
//! what breaks then is told to the client. While anything is awaited from upstream, the client's leaving and the
//! credential's end are awaited too. How each attempt ended is remembered of its target, for those who come after.

use crate::answering::{self, Exchange};
use crate::fault::{Fault, Stop};
use crate::health::Trial;
use crate::house::{House, now_ms};
use crate::meter::{Held, Passage};
use crate::record::Record;
use crate::upstream::{NoAddress, Upstreams, authority};
use bytes::Bytes;
use palisade_audit::event::Outcome;
use palisade_filters::answer::AnswerFault;
use palisade_filters::prompt::Head;
use palisade_filters::quota::{MeterRefusal, Receipt, Usage};
use palisade_filters::secret::Secret;
use palisade_filters::tenant::still_welcome;
use palisade_filters::{Admission, AuthorisedTarget, Cleared, Dialect, Itinerary, Policy, Visitor};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use pingora_http::RequestHeader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Of an answer that is not wanted, this much is read so that its connection can be used again.
const UNWANTED_BYTES_MAX: usize = 64 * 1024;
/// And for this long.
const UNWANTED_FOR: Duration = Duration::from_millis(200);

/// A provider that asks for more than a day, in seconds, is not believed.
const RETRY_AFTER_MAX: u32 = 86_400;

/// How an attempt ended that did not end the exchange.
pub(crate) enum Next {
    /// This target failed; another may do.
    Target(Outcome, Option<u32>),
    /// The exchange is over.
    Stop(Stop),
}

impl<E: Into<Stop>> From<E> for Next {
    fn from(stop: E) -> Self {
        Self::Stop(stop.into())
    }
}

/// Sends a cleared prompt to its targets, in their order, and the first answer to the client.
#[expect(clippy::too_many_arguments, reason = "the evidence of every stage meets here, once")]
pub(crate) async fn relay(
    house: &Arc<House>,
    upstreams: &Upstreams,
    down: &mut ServerSession,
    visitor: &Visitor,
    cleared: &Cleared,
    admission: Admission,
    passage: Passage,
    record: &mut Record,
) -> Result<(), Stop> {
    let held = Held::new(house.meters.clone(), admission.reservation);
    let receipts = [passage.receipt().clone(), held.receipt().clone()];
    record.warned(receipts.iter().flat_map(Receipt::warnings));
    let mut revision = house.revision.subscribe();
    let is_same = *revision.borrow() == visitor.revision();
    if !is_same || visitor.key().bearer.is_some() {
        // The policy changed while the body came, or the keys of an issuer may have: whether this caller is still
        // welcome was not asked then.
        revision.mark_changed();
    }
    let (began, is_first, trial) = (Instant::now(), true, Trial::default());
    let mut exchange = Exchange {
        house,
        down,
        visitor,
        cleared,
        record,
        held,
        passage,
        receipts,
        revision,
        began,
        is_first,
        trial,
    };
    let ended = try_targets(&mut exchange, upstreams, &admission.itinerary).await;
    if let Some(used) = exchange.held.charged() {
        exchange.record.unheard(used);
    }
    exchange.record.charged(exchange.held.cost());
    ended
}

async fn try_targets(
    exchange: &mut Exchange<'_>,
    upstreams: &Upstreams,
    itinerary: &Itinerary,
) -> Result<(), Stop> {
    let (mut timed_out, mut retry_after) = (false, None::<u32>);
    let Itinerary { targets, passed_over, route } = itinerary;
    exchange.record.routed(route.as_deref());
    exchange.record.passed_over(passed_over);
    for (at, target) in targets.iter().enumerate() {
        if let Some(fault) = exchange.end() {
            return Err(fault.into());
        }
        if !exchange.is_first && exchange.is_late() {
            timed_out = true;
            break;
        }
        // One target must be tried, whatever others saw of it.
        let must = exchange.is_first && at + 1 == targets.len();
        let shows_model = exchange.record.shows_model();
        let Some(trial) = exchange.house.health.begin(target, shows_model, must) else {
            exchange.record.passed_over(&[target.passed_over()]);
            continue;
        };
        exchange.trial = trial;
        exchange.held.begin(target).await.map_err(MeterRefusal::into_refusal)?;
        let started = Instant::now();
        let ended = attempt(exchange, upstreams, target, started).await;
        learn(exchange, target, started, &ended);
        exchange.is_first = false;
        match ended {
            Ok(()) => return Ok(()),
            Err(Next::Stop(stop)) => return Err(stop),
            Err(Next::Target(outcome, after)) => {
                charge(&mut exchange.held, outcome);
                timed_out = outcome == Outcome::TimedOut;
                retry_after = [retry_after, after].into_iter().flatten().min();
                tracing::warn!(target = %target.provider().document.name, ?outcome, "target failed");
                exchange.record.attempted(target, outcome, started.elapsed());
            }
        }
    }
    Err(if timed_out { Fault::Timeout } else { Fault::Unavailable { retry_after } }.into())
}

/// A provider that refuses charges nothing. One that breaks off had the prompt. One that was not waited for any longer,
/// or whose answer cannot be used, may have worked all the time.
fn charge(held: &mut Held, outcome: Outcome) {
    match outcome {
        Outcome::RefusedStatus { .. } => held.used(Usage::default()),
        Outcome::ConnectFailed | Outcome::TlsFailed | Outcome::Reset => held.failed(),
        Outcome::TimedOut | Outcome::Malformed | Outcome::ClientLeft | Outcome::Answered { .. } => {}
    }
}

/// Remembers of a target how an attempt at it ended. The caller's own errors, its leaving and our own time limits say
/// nothing about a target; a status that speaks of our credential or of an address says nothing that time would cure.
fn learn(exchange: &mut Exchange<'_>, target: &AuthorisedTarget, started: Instant, ended: &Result<(), Next>) {
    let document = &target.provider().document;
    let health = &exchange.house.health;
    let is_over = exchange.began.elapsed() >= document.total_timeout;
    let is_hurried = is_over || (!exchange.is_first && exchange.is_late());
    if let Err(Next::Target(Outcome::TimedOut, _) | Next::Stop(Stop::Failed(Fault::ClientLeft))) = ended {
        exchange.trial.waited(health, started.elapsed(), exchange.cleared.head().stream);
    }
    let asked = match ended {
        Ok(()) => return exchange.trial.succeeded(health),
        Err(Next::Target(Outcome::RefusedStatus { status: 429 | 503 }, after)) => {
            after.map(|seconds| Duration::from_secs(seconds.into()))
        }
        Err(Next::Target(Outcome::TimedOut, _)) if is_hurried => return,
        Err(Next::Target(
            Outcome::RefusedStatus { status: 408 | 500.. }
            | Outcome::ConnectFailed
            | Outcome::TlsFailed
            | Outcome::TimedOut
            | Outcome::Reset
            | Outcome::Malformed,
            _,
        )) => None,
        Err(Next::Stop(Stop::Failed(Fault::Broken(fault))))
            if !is_over && !matches!(fault, Some(AnswerFault::ScanLimit | AnswerFault::TooLarge)) =>
        {
            None
        }
        Err(
            Next::Target(Outcome::RefusedStatus { .. } | Outcome::Answered { .. } | Outcome::ClientLeft, _)
            | Next::Stop(_),
        ) => return,
    };
    if exchange.trial.failed(health, asked, &document.breaker) {
        let provider = &document.name;
        exchange.house.metrics.breakers_opened.with_label_values(&[provider]).inc();
        tracing::warn!(target = %provider, ?asked, "target is passed over for a while");
    }
}

async fn attempt(
    exchange: &mut Exchange<'_>,
    upstreams: &Upstreams,
    target: &AuthorisedTarget,
    started: Instant,
) -> Result<(), Next> {
    let provider = target.provider();
    let found = pingora_timeout::timeout(provider.document.connect_timeout, upstreams.peer(provider)).await;
    let peer = found.unwrap_or(Err(NoAddress::TimedOut)).map_err(|error| {
        tracing::error!(provider = %provider.document.name, %error, "provider cannot be reached");
        Next::Target(Outcome::ConnectFailed, None)
    })?;
    let body = exchange.cleared.for_target(target);
    exchange.record.forwarded(body.len());
    let mut up = send(exchange, upstreams, target, &peer, &body).await?;
    let status = up.response_header().map_or(0, |head| head.status.as_u16());
    let is_providers_doing = matches!(status, 0..200 | 300..=399 | 401 | 403 | 408 | 429 | 500..);
    if is_providers_doing {
        let after = up.response_header().and_then(retry_after);
        give_back(upstreams, &peer, up).await;
        return Err(Next::Target(Outcome::RefusedStatus { status }, after));
    }
    if status >= 400 {
        exchange.record.attempted(target, Outcome::Answered { status }, started.elapsed());
        return Ok(answering::pass_failure(exchange, &mut up, status).await?);
    }
    let is_reusable = answering::answer(exchange, &mut up, target, started).await?;
    if is_reusable {
        upstreams.connector.release_http_session(up, &*peer, peer.options.idle_timeout).await;
    }
    Ok(())
}

/// Connects, sends, and waits for the head. A pooled connection that had gone stale is tried once more: the provider
/// has not begun on it.
async fn send(
    exchange: &mut Exchange<'_>,
    upstreams: &Upstreams,
    target: &AuthorisedTarget,
    peer: &Arc<HttpPeer>,
    body: &Bytes,
) -> Result<HttpSession, Next> {
    let limit = exchange.time_left(target);
    let mut may_retry = true;
    loop {
        let head =
            request_head(exchange, target, body.len()).map_err(|error| Fault::Internal(error.to_string()))?;
        let mut reused = false;
        let has_begun = AtomicBool::new(false);
        let sending = async {
            let (mut up, is_reused) = upstreams.connector.get_http_session(&**peer).await?;
            reused = is_reused;
            up.set_read_timeout(peer.options.read_timeout);
            up.set_write_timeout(peer.options.write_timeout);
            has_begun.store(true, Ordering::Relaxed);
            let sent = async {
                up.write_request_header(head).await?;
                up.write_request_body(body.clone(), true).await?;
                up.finish_request_body().await
            }
            .await;
            // Even where the request could not be written whole, an early answer may be there.
            match (sent, up.read_response_header().await) {
                (_, Ok(())) => {}
                (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(error),
            }
            while up.response_header().is_some_and(|head| head.status.is_informational()) {
                up.read_response_header().await?;
            }
            Ok::<_, Box<Error>>(up)
        };
        let sent = tokio::select! { biased;
            sent = pingora_timeout::timeout(limit, sending) => Ok(sent),
            fault = interrupted(exchange.down, &mut exchange.revision, exchange.house, exchange.visitor) => {
                Err(fault)
            }
        };
        if has_begun.load(Ordering::Relaxed) {
            exchange.held.sent(target, exchange.cleared.head().stream);
        }
        match sent? {
            Ok(Ok(up)) => return Ok(up),
            Ok(Err(error)) if reused && may_retry && is_stale(&error) => may_retry = false,
            Ok(Err(error)) => return Err(Next::Target(outcome(&error), None)),
            Err(_) => return Err(Next::Target(Outcome::TimedOut, None)),
        }
    }
}

/// Ends when there is no one left to answer: the client is gone, or its credential is, or this process will be.
pub(crate) async fn interrupted(
    down: &mut ServerSession,
    revision: &mut watch::Receiver<u64>,
    house: &House,
    visitor: &Visitor,
) -> Fault {
    let ended = async {
        // A drain that was over before anybody listened is asked for first.
        while !house.is_cut() {
            if revision.changed().await.is_err() {
                return std::future::pending().await;
            }
            if !is_welcome(house, visitor) {
                return Fault::Revoked;
            }
        }
        Fault::Stopping
    };
    let expired = async {
        match visitor.expires_ms() {
            Some(end) => tokio::time::sleep(Duration::from_millis(end.saturating_sub(now_ms()))).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! { biased;
        fault = ended => fault,
        () = expired => Fault::Revoked,
        _ = down.read_body_or_idle(true) => Fault::ClientLeft,
    }
}

pub(crate) fn is_welcome(house: &House, visitor: &Visitor) -> bool {
    let is_welcome = |policy: Arc<Policy>| still_welcome(&policy, &house.issuers.trust(), visitor, now_ms());
    house.last_policy().is_some_and(is_welcome)
}

fn is_stale(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
fn outcome(error: &Error) -> Outcome {
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Outcome::TimedOut,
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError => Outcome::ConnectFailed,
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert => {
            Outcome::TlsFailed
        }
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::H2Error => Outcome::Malformed,
        // Pingora's errors are an open set: what is not told apart broke the connection.
        _ => Outcome::Reset,
    }
}

/// Nothing of the caller's head travels on: the target gets what it needs, from our own table.
fn request_head(
    exchange: &Exchange<'_>,
    target: &AuthorisedTarget,
    length: usize,
) -> pingora_core::Result<Box<RequestHeader>> {
    let provider = target.provider();
    let head = exchange.cleared.head();
    let path = format!("{}{}", provider.base_path, head.surface.path());
    let mut request = RequestHeader::build("POST", path.as_bytes(), Some(8))?;
    let authority = authority(provider);
    if provider.document.http == palisade_filters::documents::HttpVersion::Http2 {
        request.set_version(http::Version::HTTP_2);
        let scheme = if provider.tls { "https" } else { "http" };
        let uri =
            http::Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path).build();
        request.set_uri(uri.map_err(|error| {
            Error::explain(ErrorType::InternalError, format!("a provider's address is no URI: {error}"))
        })?);
    } else {
        request.insert_header("host", authority)?;
    }
    request.insert_header("content-type", "application/json")?;
    request.insert_header("content-length", length)?;
    request.insert_header("accept", if head.stream { "text/event-stream" } else { "application/json" })?;
    request.insert_header("user-agent", concat!("palisade/", env!("CARGO_PKG_VERSION")))?;
    insert_dialect(&mut request, target, head)?;
    Ok(Box::new(request))
}

/// What only providers of one dialect are sent.
fn insert_dialect(
    request: &mut RequestHeader,
    target: &AuthorisedTarget,
    head: &Head,
) -> pingora_core::Result<()> {
    let provider = target.provider();
    let key = provider.api_key.as_ref().map(Secret::expose);
    match provider.document.dialect {
        Dialect::OpenAi => {
            if let Some(key) = key {
                request.insert_header("authorization", format!("Bearer {key}"))?;
            }
        }
        Dialect::Anthropic => {
            if let Some(key) = key {
                request.insert_header("x-api-key", key)?;
            }
            if let Some(version) = head.version {
                request.insert_header("anthropic-version", version)?;
            }
            if !head.betas.is_empty() {
                request.insert_header("anthropic-beta", head.betas.join(","))?;
            }
        }
    }
    Ok(())
}

/// When a provider says to come again, in seconds. Dates are left alone: clocks differ.
fn retry_after(head: &pingora_http::ResponseHeader) -> Option<u32> {
    head.headers.get("retry-after")?.to_str().ok()?.parse().ok().filter(|seconds| *seconds <= RETRY_AFTER_MAX)
}

/// Reads a short unwanted answer to its end, so that its connection can serve again.
async fn give_back(upstreams: &Upstreams, peer: &Arc<HttpPeer>, mut up: HttpSession) {
    let drained = pingora_timeout::timeout(UNWANTED_FOR, async {
        let mut bytes = 0;
        loop {
            match up.read_response_body().await {
                Ok(None) => return true,
                Ok(Some(chunk)) if bytes + chunk.len() <= UNWANTED_BYTES_MAX => bytes += chunk.len(),
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    });
    if drained.await.unwrap_or(false) {
        upstreams.connector.release_http_session(up, &**peer, peer.options.idle_timeout).await;
    }
}
