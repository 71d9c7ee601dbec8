//! What do services say about a prompt? Asks them, within their limits.
//!
//! A service has a time, places for so many questions at once, a breaker, and a bound on what it may say; the address
//! it has is checked as a provider's is, and no redirect is followed. What it says the core reads: an answer that
//! cannot be used is a failure like silence. What a failure means for the request is the organisation's word.

use crate::house::House;
use crate::record::Record;
use crate::upstream::{Upstreams, authority};
use bytes::Bytes;
use palisade_filters::dlp::service::{Endpoint, Question, Told};
use palisade_filters::documents::DetectorDocument;
use palisade_filters::policy::Provider;
use palisade_filters::routing::breaker::{Breaker, BreakerState};
use pingora_core::protocols::http::client::HttpSession;
use pingora_http::RequestHeader;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// What a service may say about one prompt: ten thousand findings with their explanations.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How all services are doing.
pub(crate) struct Detectors {
    began: Instant,
    states: Mutex<HashMap<String, Arc<State>>>,
}

struct State {
    at_once: u32,
    places: Semaphore,
    breaker: Mutex<Breaker>,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// There is more text than it is to be asked of.
    TooLong,
    /// It failed too often of late.
    Skipped,
    /// It has no address, or cannot be connected to.
    Unreachable,
    /// The connection broke.
    Broken,
    /// Its time was over.
    TimedOut,
    /// It answered with another status than 200.
    Status,
    /// It said more than it may.
    TooLarge,
    /// It said what cannot be used.
    Unusable,
}

impl Failure {
    /// The name it has in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Skipped => "skipped",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::TimedOut => "timed_out",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::Unusable => "unusable",
        }
    }
}

/// Asks all that is to be asked; an answer each, unless there is none: then that is noted.
pub(crate) async fn ask(
    house: &House,
    upstreams: &Upstreams,
    questions: &[Question],
    record: &mut Record,
) -> Vec<Option<Told>> {
    let mut all = Vec::with_capacity(questions.len());
    for question in questions {
        let name = &question.service.endpoint.document.name;
        let began = Instant::now();
        let told = house.detectors.ask(upstreams, question).await;
        let outcome = told.as_ref().map_or_else(|failure| failure.name(), |_| "answered");
        house.metrics.detector_requests.with_label_values(&[name.as_str(), outcome]).inc();
        let took = house.metrics.detector_duration.with_label_values(&[name]);
        took.observe(began.elapsed().as_secs_f64());
        if let Err(failure) = &told {
            record.undetected(name, failure.name(), question.service.on_failure);
            tracing::warn!(detector = %name, ?failure, "a detector gave no usable answer");
        }
        all.push(told.ok());
    }
    all
}

impl Detectors {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), states: Mutex::default() }
    }

    async fn ask(&self, upstreams: &Upstreams, question: &Question) -> Result<Told, Failure> {
        let endpoint = &question.service.endpoint;
        let body = question.body.as_ref().ok_or(Failure::TooLong)?;
        let state = self.state(&endpoint.document);
        let turn = Turn::take(&state, self.now_ms()).ok_or(Failure::Skipped)?;
        let asked = async {
            let _place = state.places.acquire().await.map_err(|_| Failure::Broken)?;
            exchange(upstreams, endpoint, body).await
        };
        let said = pingora_timeout::timeout(endpoint.document.timeout, asked).await;
        let told = said.unwrap_or(Err(Failure::TimedOut)).and_then(|answer| {
            question.read(&answer).map_err(|error| {
                tracing::warn!(detector = %endpoint.document.name, %error, "a detector's answer is no answer");
                Failure::Unusable
            })
        });
        turn.ended(told.is_ok(), self.now_ms(), &endpoint.document);
        told
    }

    /// What is remembered of a service. One that may be asked by more at once than before begins anew.
    fn state(&self, document: &DetectorDocument) -> Arc<State> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get(&document.name).filter(|state| state.at_once == document.at_once) {
            return state.clone();
        }
        let places = Semaphore::new(document.at_once as usize);
        let state = Arc::new(State { at_once: document.at_once, places, breaker: Mutex::default() });
        states.insert(document.name.clone(), state.clone());
        state
    }

    /// Of a clock that does not go back.
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// One question's turn at a service, as its breaker allows. Given back however the question ends.
struct Turn<'a> {
    state: &'a State,
    began_ms: u64,
    is_probe: bool,
}

impl<'a> Turn<'a> {
    fn take(state: &'a State, now_ms: u64) -> Option<Self> {
        let mut breaker = state.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let is_probe = breaker.probe(now_ms);
        let may = is_probe || breaker.state(now_ms) == BreakerState::Closed;
        may.then_some(Self { state, began_ms: now_ms, is_probe })
    }

    fn ended(self, is_well: bool, now_ms: u64, document: &DetectorDocument) {
        let mut breaker = self.state.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if is_well {
            breaker.succeeded(self.began_ms, now_ms);
        } else if breaker.failed(self.began_ms, now_ms, None, &document.breaker) {
            tracing::warn!(detector = %document.name, "a detector is not asked for a while");
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.state.breaker.lock().unwrap_or_else(PoisonError::into_inner).probe_ended();
        }
    }
}

/// Asks once, and once more where a connection that was kept had gone stale.
async fn exchange(upstreams: &Upstreams, endpoint: &Endpoint, body: &Bytes) -> Result<Vec<u8>, Failure> {
    let peer = upstreams.peer(&endpoint.provider).await.map_err(|error| {
        tracing::error!(detector = %endpoint.document.name, %error, "detector cannot be reached");
        Failure::Unreachable
    })?;
    loop {
        let session = upstreams.connector.get_http_session(&*peer).await;
        let (mut up, is_reused) = session.map_err(|_| Failure::Unreachable)?;
        match question(&mut up, &endpoint.provider, body).await {
            Err(Failure::Broken) if is_reused => {}
            Ok(answer) => {
                upstreams.connector.release_http_session(up, &*peer, peer.options.idle_timeout).await;
                return Ok(answer);
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn question(up: &mut HttpSession, provider: &Provider, body: &Bytes) -> Result<Vec<u8>, Failure> {
    let broken = |_| Failure::Broken;
    let head = request_head(provider, body.len()).map_err(broken)?;
    up.write_request_header(head).await.map_err(broken)?;
    up.write_request_body(body.clone(), true).await.map_err(broken)?;
    up.finish_request_body().await.map_err(broken)?;
    up.read_response_header().await.map_err(broken)?;
    if up.response_header().is_none_or(|head| head.status != 200) {
        return Err(Failure::Status);
    }
    let mut answer = Vec::new();
    while let Some(chunk) = up.read_response_body().await.map_err(broken)? {
        if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::TooLarge);
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn request_head(provider: &Provider, length: usize) -> pingora_core::Result<Box<RequestHeader>> {
    let path = format!("{}/analyze", provider.base_path);
    let mut request = RequestHeader::build("POST", path.as_bytes(), Some(5))?;
    request.insert_header("host", authority(provider))?;
    request.insert_header("content-type", "application/json")?;
    request.insert_header("content-length", length)?;
    request.insert_header("accept", "application/json")?;
    request.insert_header("user-agent", concat!("palisade/", env!("CARGO_PKG_VERSION")))?;
    Ok(Box::new(request))
}
