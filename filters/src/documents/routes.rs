//! What does an admin write about where requests go? Routes, breakers, kill switches.

use super::{duration, optional_duration};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// Where some models are found.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteDocument {
    /// Appears in events.
    pub name: String,
    /// The models asked for; `*` matches any part.
    pub models: Vec<String>,
    /// Whom it concerns; none: everyone.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What is asked of them, such as `chat_completions`; none: anything.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// On which days of the week, in UTC; none: on every day.
    #[serde(default)]
    pub days: Vec<Day>,
    /// In which hours, in UTC, such as `08:00-18:00`; none: in all of them.
    pub hours: Option<String>,
    /// `provider/model`; `provider` alone keeps the model that was asked for.
    pub targets: Vec<String>,
    /// Which target is the first; the others follow it as fallbacks.
    #[serde(default)]
    pub strategy: Strategy,
    /// What sticks to a target, with the strategy `sticky`.
    pub by: Option<StickyBy>,
    /// Shares of the targets, in their order; none: equal ones.
    #[serde(default)]
    pub weights: Vec<u32>,
    /// A target whose answers usually begin later than this goes behind the others.
    #[serde(default, with = "optional_duration")]
    #[schemars(with = "Option<String>")]
    pub latency_max: Option<Duration>,
}

/// Which target is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The one that is written first.
    #[default]
    Fallback,
    /// By chance, each by its weight.
    Weighted,
    /// Always the same one for the same caller or conversation, shared out by weight.
    Sticky,
    /// Of two by chance, the one whose answers begin sooner.
    LeastLatency,
    /// Each in its turn.
    RoundRobin,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];
}

/// What sticks to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    /// The end user that the request names, or else the key.
    User,
    /// The API key.
    Key,
    /// The conversation: everything up to its first word from a user, or the cache key that the request names.
    Conversation,
}

/// When a target is passed over for its failures.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerDocument {
    /// Failures in a row that open it; 0: none ever do.
    pub failures: u32,
    /// All of them within this time.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// How long it stays open; then one request at a time tries whether the target is well again.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub open_for: Duration,
    /// The longest that a target's own `retry-after` is heeded; `0s`: not at all.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub retry_after_max: Duration,
}

impl Default for BreakerDocument {
    fn default() -> Self {
        Self {
            // In a row, so that neither much nor little traffic opens it by itself.
            failures: 5,
            window: Duration::from_secs(30),
            // An outage lasts minutes; an overload is over sooner, and says so by `retry-after`.
            open_for: Duration::from_secs(15),
            retry_after_max: Duration::from_mins(5),
        }
    }
}

/// What is switched off, at once and until the switch is taken away.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KillSwitchDocument {
    /// A provider by name; none: all.
    pub provider: Option<String>,
    /// Models, as the provider calls them; `*` matches any part; none: all.
    pub model: Option<String>,
    /// Why: for the event and for operators, not for callers.
    pub reason: String,
}
