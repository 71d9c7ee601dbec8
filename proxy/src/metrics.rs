//! What do operators watch? Counters and histograms with bounded labels; none names a tenant, user or key.

use crate::health::STATES;
use palisade_filters::Stage;
use prometheus::{
    CounterVec, Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// All metrics of this process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: IntCounterVec,
    pub(crate) refusals: IntCounterVec,
    /// One for each stage, in the order of [`Stage::ALL`]: looked up once.
    stages: Vec<Histogram>,
    stages_registered: HistogramVec,
    pub(crate) overhead: Histogram,
    pub(crate) upstream: HistogramVec,
    pub(crate) first_byte: HistogramVec,
    pub(crate) tokens: IntCounterVec,
    pub(crate) cost: CounterVec,
    pub(crate) quota_warnings: IntCounterVec,
    pub(crate) findings: IntCounterVec,
    pub(crate) revision: IntGaugeVec,
    /// Set when the page is read.
    pub(crate) policy_age: Gauge,
    pub(crate) feed_behind: IntGauge,
    pub(crate) spool_depth: IntGauge,
    pub(crate) dropped: IntGauge,
    pub(crate) in_flight: IntGauge,
    /// Targets of each provider in each state; set when the page is read.
    target_states: IntGaugeVec,
    pub(crate) breakers_opened: IntCounterVec,
    pub(crate) detector_requests: IntCounterVec,
    pub(crate) detector_failures: IntCounterVec,
    pub(crate) detector_duration: HistogramVec,
    pub(crate) body_bytes: IntGauge,
    pub(crate) issuer_fetches: IntCounterVec,
    /// Set when the page is read.
    issuer_keys: IntGaugeVec,
    pub(crate) usage_dropped: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) api_connections: IntGauge,
    pub(crate) feed_connections: IntGauge,
    pub(crate) turned_away: IntCounterVec,
}

/// From a microsecond to the longest scan.
const STAGE_BUCKETS: &[f64] =
    &[1e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1.0];
/// From a cache hit to a long reasoning.
const UPSTREAM_BUCKETS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

fn counter(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn dollars(name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, prometheus::Error> {
    CounterVec::new(Opts::new(name, help), labels)
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(buckets.to_vec())
}

fn histograms(name: &str, help: &str) -> Result<HistogramVec, prometheus::Error> {
    HistogramVec::new(histogram(name, help, UPSTREAM_BUCKETS), &["provider"])
}

fn detector_requests() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Questions to detectors, by how they ended.";
    counter("palisade_detector_requests_total", help, &["detector", "outcome"])
}

fn detector_failures() -> Result<IntCounterVec, prometheus::Error> {
    let help =
        "Prompts that a detector gave no usable answer about, by what their organisation says for that case.";
    counter("palisade_detector_failures_total", help, &["detector", "on_failure"])
}

fn detector_duration() -> Result<HistogramVec, prometheus::Error> {
    let seconds = histogram("palisade_detector_duration_seconds", "Time of a question.", UPSTREAM_BUCKETS);
    HistogramVec::new(seconds, &["detector"])
}

fn breakers_opened() -> Result<IntCounterVec, prometheus::Error> {
    let help = "How often a target of a provider began to be passed over.";
    counter("palisade_breakers_opened_total", help, &["provider"])
}

fn issuer_fetches() -> Result<IntCounterVec, prometheus::Error> {
    let help = "How often keys of issuers of JWTs were fetched, or were not.";
    counter("palisade_issuer_key_fetches_total", help, &["outcome"])
}

fn issuer_keys() -> Result<IntGaugeVec, prometheus::Error> {
    let help = "Places where issuers have their keys: fresh, kept from before while they fail, or none.";
    gauges("palisade_issuer_keys", help, &["state"])
}

fn turned_away() -> Result<IntCounterVec, prometheus::Error> {
    let help = "Connections closed before their first request, by reason.";
    counter("palisade_connections_turned_away_total", help, &["reason"])
}

fn policy_age() -> Result<Gauge, prometheus::Error> {
    let help = "How long ago something was heard of the policy, where it is followed.";
    Gauge::new("palisade_policy_age_seconds", help)
}

fn feed_behind() -> Result<IntGauge, prometheus::Error> {
    let help = "Changes that are known to be there and are not in force yet.";
    IntGauge::new("palisade_feed_behind", help)
}

fn feed_connections() -> Result<IntGauge, prometheus::Error> {
    IntGauge::new("palisade_feed_connections", "Open connections of proxies that are elsewhere.")
}

fn usage_dropped() -> Result<IntCounter, prometheus::Error> {
    IntCounter::new("palisade_usage_dropped_total", "Requests that are not counted in usage.")
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let stages = HistogramVec::new(
            histogram("palisade_stage_duration_seconds", "Time spent in a stage.", STAGE_BUCKETS),
            &["stage"],
        )?;
        let metrics = Self {
            registry: Registry::new(),
            requests: counter(
                "palisade_requests_total",
                "Requests by endpoint, decision and class of status.",
                &["endpoint", "decision", "status_class"],
            )?,
            refusals: counter("palisade_refusals_total", "Refusals by stage and code.", &["stage", "code"])?,
            stages: Stage::ALL.iter().map(|stage| stages.with_label_values(&[stage.name()])).collect(),
            stages_registered: stages,
            overhead: Histogram::with_opts(histogram(
                "palisade_request_overhead_seconds",
                "Time spent on a request before it was sent on.",
                STAGE_BUCKETS,
            ))?,
            upstream: histograms("palisade_upstream_duration_seconds", "Time of the exchange.")?,
            first_byte: histograms("palisade_time_to_first_byte_seconds", "Time to the answer's head.")?,
            tokens: counter("palisade_tokens_total", "Tokens by provider.", &["provider", "direction"])?,
            cost: dollars(
                "palisade_cost_dollars_total",
                "US dollars, where prices are known.",
                &["provider"],
            )?,
            quota_warnings: counter(
                "palisade_quota_warnings_total",
                "Requests that passed a soft limit.",
                &["unit", "window"],
            )?,
            findings: counter(
                "palisade_findings_total",
                "Findings by category and action.",
                &["category", "action"],
            )?,
            revision: gauges(
                "palisade_config_revision",
                "Policy revision: loaded, and documents refused by it.",
                &["state"],
            )?,
            policy_age: policy_age()?,
            feed_behind: feed_behind()?,
            spool_depth: IntGauge::new("palisade_audit_spool_depth", "Events waiting to be written.")?,
            dropped: IntGauge::new("palisade_audit_dropped_total", "Events that could not be written.")?,
            body_bytes: IntGauge::new("palisade_body_bytes", "Memory that bodies take up.")?,
            in_flight: IntGauge::new("palisade_requests_in_flight", "Exchanges under way.")?,
            target_states: gauges(
                "palisade_target_state",
                "Targets of a provider whose breaker is in this state.",
                &["provider", "state"],
            )?,
            breakers_opened: breakers_opened()?,
            detector_requests: detector_requests()?,
            detector_failures: detector_failures()?,
            detector_duration: detector_duration()?,
            issuer_fetches: issuer_fetches()?,
            issuer_keys: issuer_keys()?,
            usage_dropped: usage_dropped()?,
            connections: IntGauge::new("palisade_connections", "Open connections of applications.")?,
            api_connections: IntGauge::new("palisade_api_connections", "Open connections to the admin API.")?,
            feed_connections: feed_connections()?,
            turned_away: turned_away()?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let all: Vec<Box<dyn prometheus::core::Collector>> = vec![
            Box::new(self.requests.clone()),
            Box::new(self.refusals.clone()),
            Box::new(self.stages_registered.clone()),
            Box::new(self.overhead.clone()),
            Box::new(self.upstream.clone()),
            Box::new(self.first_byte.clone()),
            Box::new(self.tokens.clone()),
            Box::new(self.cost.clone()),
            Box::new(self.quota_warnings.clone()),
            Box::new(self.findings.clone()),
            Box::new(self.revision.clone()),
            Box::new(self.policy_age.clone()),
            Box::new(self.feed_behind.clone()),
            Box::new(self.spool_depth.clone()),
            Box::new(self.dropped.clone()),
            Box::new(self.in_flight.clone()),
            Box::new(self.target_states.clone()),
            Box::new(self.breakers_opened.clone()),
            Box::new(self.detector_requests.clone()),
            Box::new(self.detector_failures.clone()),
            Box::new(self.detector_duration.clone()),
            Box::new(self.body_bytes.clone()),
            Box::new(self.issuer_fetches.clone()),
            Box::new(self.issuer_keys.clone()),
            Box::new(self.usage_dropped.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.api_connections.clone()),
            Box::new(self.feed_connections.clone()),
            Box::new(self.turned_away.clone()),
        ];
        all.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// A stage took this long.
    pub(crate) fn stage(&self, stage: Stage, took: Duration) {
        if let Some(histogram) = self.stages.get(stage as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// How the targets of each provider are doing. Providers that are gone are on the page no more.
    pub(crate) fn targets(&self, counts: Vec<(String, [u64; 3])>) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.target_states.reset();
        for (provider, states) in counts {
            for (state, count) in STATES.iter().zip(states) {
                self.target_states.with_label_values(&[provider.as_str(), *state]).set(number(count));
            }
        }
    }

    /// How many places have keys that are fresh, that are kept, and none.
    pub(crate) fn issuers(&self, counts: [u64; 3]) {
        for (state, count) in ["fresh", "kept", "none"].into_iter().zip(counts) {
            self.issuer_keys.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Bytes came that are no head: a request of nobody, for nothing.
    pub(crate) fn malformed_head(&self) {
        self.requests.with_label_values(&["other", "refuse", "4xx"]).inc();
        self.refusals.with_label_values(&["arrival", "invalid_http"]).inc();
    }

    /// The page that Prometheus reads.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut page = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "metrics cannot be written");
        }
        page
    }
}
