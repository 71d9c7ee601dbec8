//! Which services were to say what a prompt holds, and did not?

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorFailure {
    /// Its name in documents.
    pub detector: Arc<str>,
    /// How the question ended, as its metric calls it: `timed_out`.
    pub why: Cow<'static, str>,
    /// What the organisation says for that case.
    pub on_failure: OnFailure,
}

/// What follows where a service gives no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The request is refused.
    Refuse,
    /// It goes on with what the rules found.
    Allow,
}
