//! Which targets would have done, and were not tried, or not in their turn?

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::is_default;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Its provider.
    pub provider: Arc<str>,
    /// The model that would have been asked of it.
    pub model: Arc<str>,
    /// Why.
    pub why: Passed,
    /// What the operator said who switched it off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: Option<Arc<str>>,
}

/// Why a target is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// An operator switched it off.
    SwitchedOff,
    /// Its breaker is open, or somebody else was trying it.
    Open,
    /// It is slow, and went behind the others.
    Slow,
}
