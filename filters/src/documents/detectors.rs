//! What does an admin write of detectors: services that find in prompts what has no form?

use super::routes::BreakerDocument;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// A service that organisations may have their prompts asked of.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorDocument {
    /// How organisations name it; a part of the ids of what it finds.
    pub name: String,
    /// Where it is, without the path that its API adds: `http://presidio:3000`.
    pub url: String,
    /// Which API it speaks.
    #[serde(default)]
    pub api: DetectorApi,
    /// Whether its address may be loopback, link-local or private.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Time for a whole question, waiting for a place included.
    #[serde(default = "timeout", with = "super::duration")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Questions under way at once; others wait.
    #[serde(default = "at_once")]
    pub at_once: u32,
    /// When it is not asked any more.
    #[serde(default)]
    pub breaker: BreakerDocument,
}

/// The API of a detector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectorApi {
    /// `POST /analyze` of Microsoft Presidio's analyzer.
    #[default]
    Presidio,
}

/// How an organisation has its prompts asked of one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorUseDocument {
    /// The platform's name for it.
    pub name: String,
    /// What it is asked for, in its own names: `PERSON`.
    pub entities: Vec<String>,
    /// Findings less sure than this do not count.
    #[serde(default = "score_min")]
    pub score_min: f32,
    /// The language of the texts, as the service names it.
    #[serde(default = "language")]
    pub language: String,
    /// What happens to a request that it gave no usable answer to.
    pub on_failure: OnFailure,
    /// Bytes of text of one request that it is asked of; more is a failure.
    #[serde(default = "text_bytes_max")]
    pub text_bytes_max: u64,
}

/// What happens to a request that a detector could not be asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It goes on, with what else was found.
    Allow,
    /// It is refused.
    Refuse,
}

fn timeout() -> Duration {
    Duration::from_secs(2)
}
fn at_once() -> u32 {
    16
}
fn score_min() -> f32 {
    0.5
}
fn language() -> String {
    "en".to_owned()
}
fn text_bytes_max() -> u64 {
    64 * 1024
}
