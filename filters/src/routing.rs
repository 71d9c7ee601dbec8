//! Where does it go, and then where?
//!
//! Needs a grant; proves [`AuthorisedTarget`]s. Every candidate is authorised by itself, under the model and the
//! provider that would really be called: a chain cannot smuggle. The caller names models, never addresses.

use crate::documents::{GroupDocument, RouteDocument};
use crate::model_access::{self, Grant};
use crate::names::matches;
use crate::policy::Provider;
use crate::quota::Reservation;
use crate::refusal::Refusal;
use crate::tenant::Visitor;
use std::sync::Arc;

/// Targets of one request that are tried at most.
pub const TARGETS_MAX: usize = 8;

/// Compiled routes.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    name: String,
    models: Vec<String>,
    groups: Vec<String>,
    targets: Vec<(Arc<Provider>, Option<String>)>,
}

/// Targets that would do, each authorised, in the order in which they would be tried.
#[derive(Debug)]
pub struct Candidates {
    route: Option<String>,
    targets: Vec<(Arc<Provider>, String)>,
}

impl Candidates {
    /// The tokens that an answer without a limit is reckoned at: the most of any target.
    pub(crate) fn output_tokens_default(&self) -> u64 {
        let defaults = self.targets.iter().map(|(provider, _)| provider.document.output_tokens_default);
        defaults.max().unwrap_or(0)
    }
}

/// A target that this request may be sent to. Only [`choose`] makes one.
#[derive(Clone, Debug)]
pub struct AuthorisedTarget {
    provider: Arc<Provider>,
    model: String,
    output_limit: Option<u64>,
}

impl AuthorisedTarget {
    /// Who is called.
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// The model that is called there.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The limit that the answer is given, because the caller gave none and a budget counts tokens.
    pub fn output_limit(&self) -> Option<u64> {
        self.output_limit
    }
}

/// The way of one request: targets in order.
#[derive(Debug)]
pub struct Itinerary {
    /// The route's name, if one was written for the model.
    pub route: Option<String>,
    /// What is tried, in this order.
    pub targets: Vec<AuthorisedTarget>,
}

/// Finds the targets for a granted model.
pub fn candidates(visitor: &Visitor, grant: &Grant) -> Result<Candidates, Refusal> {
    let tenant = visitor.tenant();
    let model = grant.model();
    let route = tenant.routes.find(model, &visitor.key().groups);
    let mut targets: Vec<(Arc<Provider>, String)> = Vec::new();
    if let Some(route) = route {
        for (provider, served) in &route.targets {
            targets.push((provider.clone(), served.clone().unwrap_or_else(|| model.to_owned())));
        }
    } else {
        for provider in &tenant.platform.providers {
            let serves = |name: &str| provider.document.models.iter().any(|pattern| matches(pattern, name));
            let prefix = model.split_once('/').filter(|(name, _)| *name == provider.document.name);
            match prefix {
                Some((_, bare)) if serves(bare) => targets.push((provider.clone(), bare.to_owned())),
                Some(_) | None if serves(model) => targets.push((provider.clone(), model.to_owned())),
                Some(_) | None => {}
            }
        }
    }
    targets.retain(|(provider, served)| model_access::authorises(visitor, provider, served));
    targets.truncate(TARGETS_MAX);
    if targets.is_empty() {
        return Err(Refusal::ModelNotFound(model.to_owned()));
    }
    Ok(Candidates { route: route.map(|route| route.name.clone()), targets })
}

/// Turns candidates into targets, now that there is budget for them.
pub fn choose(_: &Grant, reservation: &Reservation, candidates: Candidates) -> Itinerary {
    let output_limit = reservation.output_limit();
    let target = |(provider, model)| AuthorisedTarget { provider, model, output_limit };
    Itinerary { route: candidates.route, targets: candidates.targets.into_iter().map(target).collect() }
}

impl Routes {
    pub(crate) fn compile(
        documents: &[RouteDocument],
        groups: &[GroupDocument],
        providers: &[Arc<Provider>],
    ) -> Result<Self, String> {
        let mut routes = Vec::with_capacity(documents.len());
        for document in documents {
            let fail = |problem: String| format!("route `{}`: {problem}", document.name);
            if document.targets.is_empty() || document.targets.len() > TARGETS_MAX {
                return Err(fail(format!("give 1 to {TARGETS_MAX} `targets`")));
            }
            if let Some(group) =
                document.groups.iter().find(|group| !groups.iter().any(|known| known.name == **group))
            {
                return Err(fail(format!("the group `{group}` is not in `groups`; add it there")));
            }
            let mut targets = Vec::with_capacity(document.targets.len());
            for target in &document.targets {
                let (name, model) = match target.split_once('/') {
                    Some((name, model)) => (name, Some(model.to_owned())),
                    None => (target.as_str(), None),
                };
                let provider = providers.iter().find(|provider| provider.document.name == name);
                let provider = provider.ok_or_else(|| fail(format!("no provider is named `{name}`")))?;
                targets.push((provider.clone(), model));
            }
            routes.push(Route {
                name: document.name.clone(),
                models: document.models.clone(),
                groups: document.groups.clone(),
                targets,
            });
        }
        Ok(Self { routes })
    }

    fn find(&self, model: &str, groups: &[String]) -> Option<&Route> {
        self.routes
            .iter()
            .find(|route| route.concerns(groups) && route.models.iter().any(|name| matches(name, model)))
    }

    pub(crate) fn named_models(&self, groups: &[String]) -> impl Iterator<Item = (&str, &[String])> {
        let concerned = self.routes.iter().filter(|route| route.concerns(groups));
        concerned.map(|route| (route.name.as_str(), route.models.as_slice()))
    }
}

impl Route {
    fn concerns(&self, groups: &[String]) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|group| groups.contains(group))
    }
}
