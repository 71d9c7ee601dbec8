//! What does a chain of rules say?

use crate::dlp::replacement::Mode;
use crate::dlp::rules::Category;
use crate::geoip::{Country, Disguise};
use schemars::JsonSchema;
use serde::Deserialize;

/// The mandatory chain.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorDocument {
    /// A floor that comes with the product, under the rules written here.
    #[serde(default)]
    pub shipped: ShippedFloor,
    /// Rules before those of the shipped floor.
    #[serde(default)]
    pub rules: Vec<PolicyRuleDocument>,
}

/// Floors that come with the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShippedFloor {
    /// Redacts payment cards, private keys, cloud and AI provider secrets; logs the rest.
    #[default]
    Default,
    /// Nothing.
    None,
}

/// One rule of a chain. Conditions of one kind are alternatives, kinds add up; none means always.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRuleDocument {
    /// Appears in events and refusals.
    pub name: String,
    /// Which way the text goes.
    #[serde(default)]
    pub direction: Direction,
    /// Detection rules by id; `*` matches any part.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Entities, such as `CREDIT_CARD`.
    #[serde(default)]
    pub entities: Vec<String>,
    /// Kinds, such as `payment`.
    #[serde(default)]
    pub categories: Vec<Category>,
    /// The least confidence of a finding.
    pub confidence_min: Option<f32>,
    /// Its value is known to be compromised, and was seen at least so often in leaks: 1, 2, 10, 100 or 1000.
    pub compromised_min: Option<u64>,
    /// Groups of the caller.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Countries the caller is in.
    #[serde(default)]
    pub countries: Vec<Country>,
    /// Autonomous systems it comes from.
    #[serde(default)]
    pub asns: Vec<u32>,
    /// How its network hides who uses it.
    #[serde(default)]
    pub anonymous: Vec<Disguise>,
    /// What to do.
    pub action: PolicyAction,
    /// What a redaction leaves of a value; a label, where it is not said.
    pub mode: Option<Mode>,
    /// What a refused caller reads.
    pub message: Option<String>,
    /// Whether it is recorded only what it would have done; for `redact` and `block`.
    #[serde(default)]
    pub monitor: bool,
}

/// Which way a text goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the caller.
    Input,
    /// To the caller.
    Output,
    /// Either way.
    #[default]
    Both,
}

/// What a policy rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyAction {
    /// Ends the chain: it may stay.
    Allow,
    /// Records it.
    Log,
    /// Replaces it and goes on.
    Redact,
    /// Ends the chain: the request is refused.
    Block,
}
