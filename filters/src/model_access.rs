//! May this caller use this model, and what the request asks of it?
//!
//! Needs a cleared prompt; proves [`Grant`]. A denial wins over a permission; where no rule speaks, the
//! organisation's default does. Denied and unknown models get the same answer, so that nobody can list what exists.

use crate::dialect::Dialect;
use crate::dlp::Cleared;
use crate::documents::{Capability, DefaultAction, GroupDocument, ModelAccessDocument, ModelRuleDocument};
use crate::names::matches;
use crate::policy::{Provider, Tenant, TenantKey};
use crate::prompt::Wish;
use crate::refusal::Refusal;
use crate::routing;
use crate::tenant::Visitor;
use std::sync::Arc;

/// Compiled permissions. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    document: Arc<ModelAccessDocument>,
}

/// The caller may use the model it asked for.
#[derive(Debug)]
pub struct Grant {
    model: String,
    dialect: Dialect,
}

impl Grant {
    /// The model that was asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The dialect that it was asked in.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }
}

/// Grants the model that a cleared prompt asks for.
pub fn grant(visitor: &Visitor, cleared: &Cleared) -> Result<Grant, Refusal> {
    let access = &visitor.tenant().access.document;
    let head = cleared.head();
    let is_denied = |wish: &&Wish| !access.capabilities.contains(&wish.capability());
    if let Some(wish) = head.wishes.iter().find(is_denied) {
        let (param, capability) = (wish.param(), wish.capability().name());
        return Err(Refusal::CapabilityNotAllowed { param, capability });
    }
    if head.betas.iter().any(|beta| !access.betas.iter().any(|pattern| matches(pattern, beta))) {
        return Err(Refusal::CapabilityNotAllowed { param: "anthropic-beta", capability: "betas" });
    }
    if let Some(tool) = visitor.tenant().access.denied_tool(&visitor.key().groups, cleared.tools()) {
        return Err(Refusal::ToolNotAllowed(tool));
    }
    let model = head.model.clone();
    if is_allowed(visitor.tenant(), visitor.key(), &[&model]) {
        Ok(Grant { model, dialect: head.surface.dialect() })
    } else {
        Err(Refusal::ModelNotFound(model))
    }
}

/// Whether a model that would really be called is allowed, under its own name and its provider's.
pub(crate) fn authorises(visitor: &Visitor, provider: &Provider, model: &str) -> bool {
    let qualified = format!("{}/{model}", provider.document.name);
    is_allowed(visitor.tenant(), visitor.key(), &[model, &qualified])
}

fn is_allowed(tenant: &Tenant, key: &TenantKey, names: &[&str]) -> bool {
    let in_key_scope = key.models.is_empty() || any_matches(&key.models, names);
    in_key_scope && tenant.access.allows(&key.groups, names)
}

fn any_matches(patterns: &[String], names: &[&str]) -> bool {
    patterns.iter().any(|pattern| names.iter().any(|name| matches(pattern, name)))
}

impl Access {
    pub(crate) fn compile(document: &ModelAccessDocument, groups: &[GroupDocument]) -> Result<Self, String> {
        for group in document.rules.iter().flat_map(|rule| &rule.groups) {
            if !groups.iter().any(|known| known.name == *group) {
                return Err(format!("model access: the group `{group}` is not in `groups`; add it there"));
            }
        }
        if let Some(capability) =
            document.capabilities.iter().find(|capability| !can_be_allowed(**capability))
        {
            let name = capability.name();
            return Err(format!("model access: the capability `{name}` is refused always; take it out"));
        }
        Ok(Self { document: Arc::new(document.clone()) })
    }

    fn rules<'a>(&'a self, groups: &'a [String]) -> impl Iterator<Item = &'a ModelRuleDocument> {
        let concerns = |rule: &&ModelRuleDocument| {
            rule.groups.is_empty() || rule.groups.iter().any(|group| groups.contains(group))
        };
        self.document.rules.iter().filter(concerns)
    }

    /// The first of these tools that may not be used. A denial wins; once a rule allows some, only those are.
    fn denied_tool(&self, groups: &[String], mut tools: impl Iterator<Item = String>) -> Option<String> {
        let rules = || self.rules(groups);
        let is_closed = rules().any(|rule| !rule.allow_tools.is_empty());
        if !is_closed && rules().all(|rule| rule.deny_tools.is_empty()) {
            return None;
        }
        tools.find(|tool| {
            let names = [tool.as_str()];
            rules().any(|rule| any_matches(&rule.deny_tools, &names))
                || (is_closed && !rules().any(|rule| any_matches(&rule.allow_tools, &names)))
        })
    }

    fn allows(&self, groups: &[String], names: &[&str]) -> bool {
        let rules = || self.rules(groups);
        if rules().any(|rule| any_matches(&rule.deny, names)) {
            return false;
        }
        self.document.default == DefaultAction::Allow || rules().any(|rule| any_matches(&rule.allow, names))
    }
}

/// Whether an organisation can allow it. The others would reach objects that callers share a credential for, addresses
/// that nobody checked, models and bills that nobody granted.
fn can_be_allowed(capability: Capability) -> bool {
    match capability {
        Capability::Files | Capability::ServerTools | Capability::WebSearch => true,
        Capability::RemoteUrls
        | Capability::McpServers
        | Capability::ProviderObjects
        | Capability::Store
        | Capability::FallbackModels
        | Capability::Billing => false,
    }
}

/// A model that a caller may use, with who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// What to ask for.
    pub id: String,
    /// The provider's name, or the route's.
    pub owned_by: String,
}

/// The models that have a name, that this caller may use, and that somebody serves in its dialect at the moment, each
/// once.
pub fn list(visitor: &Visitor, dialect: Dialect) -> Vec<ListedModel> {
    let tenant = visitor.tenant();
    let served = tenant.platform.providers.iter().flat_map(|provider| &provider.document.models);
    let mut out: Vec<ListedModel> = Vec::new();
    for id in routing::named_models(visitor).chain(served) {
        if !id.contains('*') && !out.iter().any(|known| known.id == *id) {
            out.extend(find(visitor, id, dialect));
        }
    }
    out
}

/// One model by name, if the caller may use it and somebody serves it in its dialect at the moment.
pub fn find(visitor: &Visitor, model: &str, dialect: Dialect) -> Result<ListedModel, Refusal> {
    let server = routing::server_of(visitor, model, dialect);
    server
        .filter(|_| is_allowed(visitor.tenant(), visitor.key(), &[model]))
        .map(|owned_by| ListedModel { id: model.to_owned(), owned_by: owned_by.to_owned() })
        .ok_or_else(|| Refusal::ModelNotFound(model.to_owned()))
}
