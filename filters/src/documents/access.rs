//! What does an admin write of models, tools and features? Enforced by `model_access`.

use super::DefaultAction;
use schemars::JsonSchema;
use serde::Deserialize;

/// Who may use which model.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelAccessDocument {
    /// For models no rule names.
    #[serde(default)]
    pub default: DefaultAction,
    /// Rules; a denial wins over a permission.
    #[serde(default)]
    pub rules: Vec<ModelRuleDocument>,
    /// Features besides an answer that may be asked for.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Unfinished features of a provider's API that may be asked for, by name; `*` matches any part.
    #[serde(default)]
    pub betas: Vec<String>,
}

/// What a request may ask of a provider besides an answer. All of it is refused unless it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Files in the request that are neither text nor images, and are not scanned.
    Files,
    /// Tools that the provider runs.
    ServerTools,
    /// The provider's search of the web.
    WebSearch,
    /// URLs that the provider fetches.
    RemoteUrls,
    /// Servers of tools that the provider connects to.
    McpServers,
    /// What a provider keeps under an id that others could guess.
    ProviderObjects,
    /// Keeping the answer with the provider.
    Store,
    /// Models that answer in the place of the one that was asked for.
    FallbackModels,
    /// Who pays.
    Billing,
}

impl Capability {
    /// The name it has in documents and refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::ServerTools => "server_tools",
            Self::WebSearch => "web_search",
            Self::RemoteUrls => "remote_urls",
            Self::McpServers => "mcp_servers",
            Self::ProviderObjects => "provider_objects",
            Self::Store => "store",
            Self::FallbackModels => "fallback_models",
            Self::Billing => "billing",
        }
    }
}

/// Permissions of some groups.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRuleDocument {
    /// Whom it concerns; none: everyone.
    #[serde(default)]
    pub groups: Vec<String>,
    /// `gpt-4o`, `openai/*`.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The same.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Tools that a request may bring, by name; once any rule allows some, all others are refused.
    #[serde(default)]
    pub allow_tools: Vec<String>,
    /// Tools that it may not bring.
    #[serde(default)]
    pub deny_tools: Vec<String>,
}
