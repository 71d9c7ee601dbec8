//! How are those resources written that are no document of the core's by themselves?
//!
//! Most kinds are a part of a document and have its type. These here are gathered from several places of one, or stand
//! beside it.

use palisade_filters::documents::routes::RouteDocument;
use palisade_filters::documents::{AuditDocument, DefaultAction, PolicyRuleDocument};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an organisation is called, and what holds where nothing else is said.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to be checked; it is stored as it was written")]
pub(super) struct SettingsDocument {
    /// For people.
    #[serde(default)]
    name: String,
    /// What happens to a request that no rule allowed or refused.
    #[serde(default)]
    default_action: DefaultAction,
    /// What is remembered.
    #[serde(default)]
    audit: AuditDocument,
}

/// Whether an organisation is served.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusDocument {
    /// Whether nobody gets in.
    #[serde(default)]
    pub(super) suspended: bool,
}

/// Addresses that an organisation's callers may come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to be checked; it is stored as it was written")]
pub(super) struct AddressesDocument {
    /// Networks, addresses and ranges; none: every address.
    #[serde(default)]
    addresses: Vec<String>,
}

/// An organisation's chain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to be checked; it is stored as it was written")]
pub(super) struct PolicyChainDocument {
    /// Its rules, in the order in which they are asked.
    #[serde(default)]
    rules: Vec<PolicyRuleDocument>,
}

/// Where models are found.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to be checked; it is stored as it was written")]
pub(super) struct RoutesDocument {
    /// Routes, in the order in which they are asked.
    #[serde(default)]
    routes: Vec<RouteDocument>,
}

/// A person who owns keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserDocument {
    /// For people.
    #[serde(default)]
    #[expect(dead_code, reason = "read to be checked; it is stored as it was written")]
    name: String,
    /// Groups, which each of the user's keys has besides its own.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// Whether the user's keys work.
    #[serde(default = "enabled")]
    pub(super) enabled: bool,
}

fn enabled() -> bool {
    true
}

/// What a new organisation begins with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateDocument {
    /// For people.
    #[serde(default)]
    #[expect(dead_code, reason = "read to be checked; it is stored as it was written")]
    name: String,
    /// An organisation's document, as `orgs/<id>.toml` has it, without `id`, `name`, `suspended` and `keys`.
    pub(super) organisation: Map<String, Value>,
}
