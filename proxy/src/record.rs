//! What is remembered of one exchange? Filled in on the way, written exactly once, when it is dropped: whatever way an
//! exchange ends, and even if it panics.

use crate::arrival::Arrival;
use crate::edge::Connection;
use crate::fault::{Fault, Stop};
use crate::house::{House, now_ms};
use palisade_audit::event::{self, Attempt, Ended, Event, Outcome, Time, TokenSource, Tokens};
use palisade_filters::answer::Report;
use palisade_filters::dlp::lane::Action;
use palisade_filters::documents::{Channel, Direction, OnFailure};
use palisade_filters::geoip::{Disguise, Disguises};
use palisade_filters::policy::decide::{Chain, Reason};
use palisade_filters::quota::{Limit, Usage};
use palisade_filters::routing::{Passed, PassedOver};
use palisade_filters::{AuthorisedTarget, Caller, Cleared, Dialect, Finding, Location, Refusal, Stage};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// The memory of one exchange.
pub(crate) struct Record {
    house: Arc<House>,
    event: Event,
    dialect: Dialect,
    started: Instant,
    lap: Instant,
    is_known: bool,
    hides_model: bool,
    client_request_id: Option<String>,
    /// Whose key it is, if it is a person's.
    user: Option<Box<str>>,
}

impl Record {
    /// Begins when a head was read.
    pub(crate) fn new(house: Arc<House>, dialect: Dialect, client_request_id: Option<String>) -> Self {
        let id = Uuid::now_v7();
        let mut event = Event::new(id, Time::from_unix_ms(now_ms()));
        event.dialect = Cow::Borrowed(dialect.name());
        let now = Instant::now();
        let (is_known, hides_model) = (false, false);
        Self {
            house,
            event,
            dialect,
            started: now,
            lap: now,
            is_known,
            hides_model,
            client_request_id,
            user: None,
        }
    }

    /// Whose API the caller speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the connection is to end with this answer: the process is being stopped.
    pub(crate) fn is_last(&self) -> bool {
        self.house.is_stopping()
    }

    /// Our own id of the request.
    pub(crate) fn id(&self) -> String {
        self.event.id.to_string()
    }

    /// The caller's.
    pub(crate) fn client_request_id(&self) -> Option<&str> {
        self.client_request_id.as_deref()
    }

    /// A stage is done: its time is what passed since the last one.
    pub(crate) fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        let took = now - self.lap;
        self.lap = now;
        self.event.stages.push(stage.name(), took.as_micros() as u32);
        self.house.metrics.stage(stage, took);
    }

    /// Everything of our own is done: the rest is the provider's time.
    pub(crate) fn overhead(&mut self) {
        self.house.metrics.overhead.observe(self.started.elapsed().as_secs_f64());
    }

    pub(crate) fn arrived(&mut self, arrival: &Arrival, from: &Connection) {
        self.event.client_address = arrival.address;
        self.event.peer_address = from.peer.filter(|peer| arrival.address != Some(*peer));
        self.event.client_certificate = from.certificate.as_ref().map(|(certificate, _)| certificate.clone());
        self.event.endpoint = Cow::Borrowed(arrival.endpoint.name());
        self.event.method = Cow::Borrowed(arrival.method);
    }

    pub(crate) fn recognized(&mut self, caller: &Caller) {
        self.is_known = true;
        let is_clean = |id: &&String| {
            let found = caller.tenant().detection().scan(id.as_bytes());
            found.iter().all(|found| found.confidence < caller.tenant().threshold)
        };
        self.event.client_request_id = self.client_request_id.as_ref().filter(is_clean).cloned();
        self.user.clone_from(&caller.key().user);
        self.event.organisation = Some(caller.tenant().id.clone());
        match &caller.key().bearer {
            None => self.event.key_id = Some(caller.key().id.clone()),
            Some(bearer) => {
                let (issuer, subject) = (bearer.issuer.name.clone(), bearer.subject.clone());
                self.event.jwt = Some(event::Jwt { issuer, subject, id: bearer.id.clone() });
            }
        }
        self.event.channel = match caller.key().channel {
            Channel::Api => event::Channel::Api,
            Channel::Interactive => event::Channel::Interactive,
        };
        self.event.groups = caller.key().groups.iter().map(|group| Arc::from(group.as_str())).collect();
        self.event.policy.number = caller.revision();
        let [platform, organisation] = caller.tenant().fingerprints();
        self.event.policy.platform = format!("{platform:016x}").into();
        self.event.policy.organisation = format!("{organisation:016x}").into();
    }

    /// Where the address is. Noted before it is judged: where a refused caller came from is what one wants to know.
    pub(crate) fn located(&mut self, location: &Location) {
        let code = |text: &str| event::Code::read(text);
        self.event.geo = event::Geo {
            country: location.country.and_then(|country| code(country.as_str())),
            continent: location.continent.and_then(|continent| code(continent.code())),
            asn: location.asn,
            anonymous: location.anonymous.into_iter().flat_map(Disguises::iter).map(disguise).collect(),
        };
    }

    /// There is nothing to judge in it.
    pub(crate) fn allowed(&mut self) {
        self.event.decision = event::Decision::Allow;
    }

    pub(crate) fn asked(&mut self, model: &str, bytes: usize) {
        self.event.model_asked = Some(model.to_owned());
        self.event.body.bytes_in = bytes as u64;
    }

    pub(crate) fn cleared(&mut self, cleared: &Cleared) {
        let is_redacted = cleared.is_redacted();
        self.event.decision = if is_redacted { event::Decision::Redact } else { event::Decision::Allow };
        self.found(cleared.findings());
        if let Some(reason) = cleared.would_block() {
            self.because(reason, event::Action::Block, None);
        }
    }

    /// A service that was to look at the prompt gave no usable answer; what follows is the organisation's word.
    pub(crate) fn undetected(&mut self, detector: &str, why: &'static str, on_failure: OnFailure) {
        let (on_failure, name) = match on_failure {
            OnFailure::Refuse => (event::OnFailure::Refuse, "refuse"),
            OnFailure::Allow => (event::OnFailure::Allow, "allow"),
        };
        self.house.metrics.detector_failures.with_label_values(&[detector, name]).inc();
        let failure =
            event::DetectorFailure { detector: detector.into(), why: Cow::Borrowed(why), on_failure };
        self.event.detector_failures.push(failure);
    }

    /// A policy rule had a part in it, or would have had one.
    fn because(&mut self, reason: &Reason, action: event::Action, finding_rule: Option<Arc<str>>) {
        let reason = event::Reason {
            chain: match reason.chain {
                Chain::Floor => event::Chain::Floor,
                Chain::Organisation => event::Chain::Organisation,
            },
            pack: None,
            rule: reason.rule.clone(),
            sequence: 0,
            action,
            monitored: reason.is_monitored,
            finding_rule,
        };
        if !self.event.reasons.contains(&reason) {
            self.event.reasons.push(reason);
        }
    }

    fn found(&mut self, findings: &[Finding]) {
        for finding in findings {
            if finding.place == "model" {
                self.event.model_asked = None;
                self.hides_model = true;
            }
            let detector = &finding.detector;
            let told = |action| match action {
                Action::Pass => event::Action::Log,
                Action::Redact(_) => event::Action::Redact,
                Action::Block => event::Action::Block,
            };
            let (action, would) = (told(finding.action), finding.would.map(told));
            let name = match finding.action {
                Action::Pass => "log",
                Action::Redact(_) => "redact",
                Action::Block => "block",
            };
            let mode = match finding.action {
                Action::Redact(mode) => Some(Cow::Borrowed(mode.name())),
                Action::Pass | Action::Block => None,
            };
            self.house.metrics.findings.with_label_values(&[detector.category.name(), name]).inc();
            self.event.findings.push(event::Finding {
                rule: detector.id.clone(),
                entity: detector.entity.clone(),
                category: detector.category.name().into(),
                direction: match finding.direction {
                    Direction::Input | Direction::Both => event::Direction::Input,
                    Direction::Output => event::Direction::Output,
                },
                place: Cow::Owned(finding.place.clone()),
                length: finding.length as u32,
                confidence: finding.confidence,
                validated: finding.validated,
                repeated: finding.is_repeated,
                compromised: finding.known.map(|known| Cow::Borrowed(known.name())),
                action,
                would,
                suppressed: finding.is_suppressed,
                mode,
                hash: Some(palisade_filters::api_key::hex(&finding.hash)),
            });
            for reason in &finding.reasons {
                let action = if reason.is_monitored { would.unwrap_or(action) } else { action };
                self.because(reason, action, Some(detector.id.clone()));
            }
        }
    }

    pub(crate) fn attempted(
        &mut self,
        target: &AuthorisedTarget,
        outcome: Outcome,
        latency: std::time::Duration,
    ) {
        let provider: Arc<str> = target.provider().document.name.as_str().into();
        // A model's name that holds a finding is somebody's text.
        let model: Arc<str> = if self.hides_model { "*" } else { target.model() }.into();
        if let Outcome::Answered { .. } = outcome {
            self.event.provider = Some(provider.clone());
            self.event.model_served = Some(model.clone());
            self.house.metrics.first_byte.with_label_values(&[&provider]).observe(latency.as_secs_f64());
        }
        self.event.route.push(Attempt {
            target: format!("{provider}/{model}").into(),
            provider,
            model,
            outcome,
            latency_us: latency.as_micros() as u32,
        });
    }

    /// Whether the model's name may be shown: one that holds a finding is somebody's text.
    pub(crate) fn shows_model(&self) -> bool {
        !self.hides_model
    }

    /// A route says where it goes.
    pub(crate) fn routed(&mut self, route: Option<&str>) {
        self.event.route_name = route.map(Arc::from);
    }

    /// Targets that would have done, and are not tried or not in their turn.
    pub(crate) fn passed_over(&mut self, passed: &[PassedOver]) {
        let hides_model = self.hides_model;
        self.event.passed_over.extend(passed.iter().map(|passed| event::PassedOver {
            provider: passed.provider.as_str().into(),
            model: if hides_model { "*" } else { &passed.model }.into(),
            why: match passed.why {
                Passed::SwitchedOff => event::Passed::SwitchedOff,
                Passed::Open => event::Passed::Open,
                Passed::Slow => event::Passed::Slow,
            },
            reason: passed.reason.clone(),
        }));
    }

    /// Bytes go to a provider.
    pub(crate) fn forwarded(&mut self, bytes: usize) {
        self.event.body.bytes_out = bytes as u64;
    }

    /// A head goes to the caller.
    pub(crate) fn answered(&mut self, status: u16, is_stream: bool) {
        self.event.status = Some(status);
        let answer = self.event.answer.get_or_insert_default();
        answer.streamed = is_stream;
        answer.first_byte_us = self.started.elapsed().as_micros() as u32;
    }

    /// Bytes of a body go to the caller.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.event.answer.get_or_insert_default().bytes_out += bytes as u64;
    }

    /// The answer was read as far as it went.
    pub(crate) fn reported(&mut self, report: &Report, tokens: Tokens) {
        self.found(&report.findings);
        self.event.tokens = Some(tokens);
        let answer = self.event.answer.get_or_insert_default();
        answer.events = report.events as u32;
        if report.is_blocked {
            self.event.decision = event::Decision::Cancel;
            answer.ended = Some(Ended::Cancelled);
        }
        if let Some(provider) = &self.event.provider {
            let count = |direction: &str, tokens| {
                self.house.metrics.tokens.with_label_values(&[&**provider, direction]).inc_by(tokens);
            };
            count("input", tokens.prompt);
            count("output", tokens.completion);
        }
    }

    /// What is charged for an answer that nobody heard to its end, if this is one.
    pub(crate) fn unheard(&mut self, used: Usage) {
        let is_prompt_only = used.completion_tokens == 0;
        self.event.tokens.get_or_insert(Tokens {
            prompt: used.prompt_tokens,
            cached: used.cached_tokens,
            cache_write: used.cache_write_tokens,
            completion: used.completion_tokens,
            source: if is_prompt_only { TokenSource::Estimated } else { TokenSource::Reserved },
        });
    }

    /// What all attempts together cost, in billionths of dollars, if their prices are known.
    pub(crate) fn charged(&mut self, nanos: Option<u64>) {
        self.event.cost_nanodollars = nanos.filter(|nanos| *nanos > 0);
        if let (Some(nanos), Some(provider)) = (self.event.cost_nanodollars, &self.event.provider) {
            let dollars = self.house.metrics.cost.with_label_values(&[&**provider]);
            // For people to look at; budgets count in whole billionths.
            dollars.inc_by(nanos as f64 / 1e9);
        }
    }

    /// Soft limits are passed; nothing is refused for it.
    pub(crate) fn warned<'a>(&self, limits: impl Iterator<Item = &'a Limit>) {
        for limit in limits {
            let labels = [limit.unit.name(), limit.window.name()];
            self.house.metrics.quota_warnings.with_label_values(&labels).inc();
        }
    }

    /// All of the answer was sent.
    pub(crate) fn completed(&mut self) {
        let answer = self.event.answer.get_or_insert_default();
        answer.ended.get_or_insert(Ended::Complete);
    }

    /// It ended before.
    pub(crate) fn stopped(&mut self, stop: &Stop) {
        match stop {
            Stop::Refused(refusal) => {
                let row = refusal.row();
                if let Refusal::ContentBlocked(blocked) = refusal {
                    self.event.decision = event::Decision::Block;
                    self.found(&blocked.findings);
                } else {
                    self.event.decision = event::Decision::Refuse;
                }
                if let Refusal::ModelDisabled(disabled) = refusal {
                    self.passed_over(&disabled.switched_off);
                }
                self.refused(row.stage.name(), row.code);
            }
            Stop::Failed(fault) => {
                let row = fault.row();
                self.event.answer.get_or_insert_default().ended = Some(match fault {
                    Fault::ClientLeft => Ended::ClientLeft,
                    Fault::Revoked => Ended::Revoked,
                    Fault::Stopping => Ended::Stopped,
                    Fault::Unavailable { .. } | Fault::Timeout | Fault::Broken(_) | Fault::Internal(_) => {
                        Ended::UpstreamBroken
                    }
                });
                self.refused(row.stage.name(), row.code);
            }
        }
    }

    fn refused(&mut self, stage: &'static str, code: &'static str) {
        self.event.refusal = Some(event::Refusal { stage: Cow::Borrowed(stage), code: Cow::Borrowed(code) });
        self.house.metrics.refusals.with_label_values(&[stage, code]).inc();
    }
}

fn disguise(disguise: Disguise) -> event::Disguise {
    match disguise {
        Disguise::Vpn => event::Disguise::Vpn,
        Disguise::Proxy => event::Disguise::Proxy,
        Disguise::Tor => event::Disguise::Tor,
        Disguise::Hosting => event::Disguise::Hosting,
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.event.duration_us = self.started.elapsed().as_micros() as u64;
        let decision = match self.event.decision {
            event::Decision::Allow => "allow",
            event::Decision::Redact => "redact",
            event::Decision::RouteTo => "route_to",
            event::Decision::Override => "override",
            event::Decision::Prompt => "prompt",
            event::Decision::Cancel => "cancel",
            event::Decision::Block => "block",
            event::Decision::Refuse => "refuse",
        };
        let endpoint = if self.event.endpoint.is_empty() { "other" } else { &*self.event.endpoint };
        let class = match self.event.status {
            Some(200..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(500..) => "5xx",
            Some(_) | None => "none",
        };
        self.house.metrics.requests.with_label_values(&[endpoint, decision, class]).inc();
        if let Some(provider) = &self.event.provider {
            self.house
                .metrics
                .upstream
                .with_label_values(&[provider])
                .observe(self.started.elapsed().as_secs_f64());
        }
        tracing::debug!(
            request_id = %self.event.id,
            organisation = self.event.organisation.as_deref(),
            endpoint,
            decision,
            status = self.event.status,
            duration_us = self.event.duration_us,
            "exchange"
        );
        // Before a tenant is known, anyone could fill the disk: those are counted only.
        if self.is_known {
            if let Some(usage) = self.house.usage.get() {
                usage.count(&self.event, self.user.as_deref());
            }
            self.house.spool.record(std::mem::take(&mut self.event));
        }
    }
}
