//! May this caller use this model, and what the request asks of it?
//!
//! Needs a cleared prompt; proves [`Grant`]. A denial wins over a permission; where no rule speaks, the
//! organisation's default does. Denied and unknown models get the same answer, so that nobody can list what exists.

use crate::dlp::Cleared;
use crate::documents::{DefaultAction, GroupDocument, ModelAccessDocument};
use crate::names::matches;
use crate::policy::{Provider, Tenant, TenantKey};
use crate::refusal::Refusal;
use crate::routing;
use crate::tenant::Visitor;

/// Compiled permissions.
#[derive(Debug)]
pub(crate) struct Access {
    document: ModelAccessDocument,
}

/// The caller may use the model it asked for.
#[derive(Debug)]
pub struct Grant {
    model: String,
}

impl Grant {
    /// The model that was asked for.
    pub fn model(&self) -> &str {
        &self.model
    }
}

/// Grants the model that a cleared prompt asks for.
pub fn grant(visitor: &Visitor, cleared: &Cleared) -> Result<Grant, Refusal> {
    if let Some(wish) = cleared.head().wishes.first() {
        let (param, capability) = wish.names();
        return Err(Refusal::CapabilityNotAllowed { param, capability });
    }
    let model = cleared.head().model.clone();
    if is_allowed(visitor.tenant(), visitor.key(), &[&model]) {
        Ok(Grant { model })
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
        Ok(Self { document: document.clone() })
    }

    fn allows(&self, groups: &[String], names: &[&str]) -> bool {
        let rules = || {
            let concerns = |rule: &&crate::documents::ModelRuleDocument| {
                rule.groups.is_empty() || rule.groups.iter().any(|group| groups.contains(group))
            };
            self.document.rules.iter().filter(concerns)
        };
        if rules().any(|rule| any_matches(&rule.deny, names)) {
            return false;
        }
        self.document.default == DefaultAction::Allow || rules().any(|rule| any_matches(&rule.allow, names))
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

/// The models that have a name, that this caller may use, and that somebody serves at the moment, each once.
pub fn list(visitor: &Visitor) -> Vec<ListedModel> {
    let tenant = visitor.tenant();
    let served = tenant.platform.providers.iter().flat_map(|provider| &provider.document.models);
    let mut out: Vec<ListedModel> = Vec::new();
    for id in routing::named_models(tenant, &visitor.key().groups).chain(served) {
        if !id.contains('*') && !out.iter().any(|known| known.id == *id) {
            out.extend(find(visitor, id));
        }
    }
    out
}

/// One model by name, if the caller may use it and somebody serves it at the moment.
pub fn find(visitor: &Visitor, model: &str) -> Result<ListedModel, Refusal> {
    let server = routing::server_of(visitor, model);
    server
        .filter(|_| is_allowed(visitor.tenant(), visitor.key(), &[model]))
        .map(|owned_by| ListedModel { id: model.to_owned(), owned_by: owned_by.to_owned() })
        .ok_or_else(|| Refusal::ModelNotFound(model.to_owned()))
}
