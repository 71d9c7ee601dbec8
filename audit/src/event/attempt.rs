//! What was tried? Each call to a provider, and how it ended.
//!
//! Needs the names that the route gives; proves nothing. Does not: hold what a provider said, which can be anything.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One try at one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The target's name in the route.
    pub target: Arc<str>,
    /// Its provider.
    pub provider: Arc<str>,
    /// The model asked of it.
    pub model: Arc<str>,
    /// How it ended, with the provider's status where there was one.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// From the connection to this outcome (for an answer: to its head), in microseconds.
    pub latency_us: u32,
}

/// How an attempt ended. In JSON: `"outcome":"answered","status":200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Its answer went to the caller.
    Answered {
        /// The provider's HTTP status.
        status: u16,
    },
    /// Its answer was one the route falls through on.
    RefusedStatus {
        /// The provider's HTTP status.
        status: u16,
    },
    /// No connection.
    ConnectFailed,
    /// A connection, but not to whom it should be.
    TlsFailed,
    /// A time limit passed.
    TimedOut,
    /// The connection broke.
    Reset,
    /// An answer that could not be understood, or an empty one.
    Malformed,
    /// The caller left first.
    ClientLeft,
}
