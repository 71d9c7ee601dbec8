//! Which route is a model's? Routes as an admin wrote them, compiled.

use super::TARGETS_MAX;
use super::order::Plan;
use super::times::Times;
use crate::documents::GroupDocument;
use crate::documents::routes::{RouteDocument, StickyBy, Strategy};
use crate::names::matches;
use crate::policy::Provider;
use crate::prompt::Surface;
use crate::tenant::Visitor;
use std::sync::Arc;

/// The largest share of a target, so that sums of shares stay exact.
const WEIGHT_MAX: u32 = 1_000_000;

/// Compiled routes.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// What sticky routes stick to, each once.
    sticky_by: Vec<StickyBy>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(super) name: String,
    pub(super) models: Vec<String>,
    groups: Vec<String>,
    endpoints: Vec<String>,
    times: Times,
    pub(super) targets: Vec<RouteTarget>,
    pub(super) plan: Plan,
    pub(super) by: Option<StickyBy>,
}

/// A target, of which the model may be left open.
#[derive(Clone, Debug)]
pub(super) struct RouteTarget {
    pub(super) provider: Arc<Provider>,
    pub(super) model: Option<String>,
    pub(super) weight: u32,
}

impl Routes {
    pub(crate) fn compile(
        documents: &[RouteDocument],
        groups: &[GroupDocument],
        providers: &[Arc<Provider>],
    ) -> Result<Self, String> {
        let routes = documents.iter().map(|document| {
            Route::compile(document, groups, providers)
                .map_err(|problem| format!("route `{}`: {problem}", document.name))
        });
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let mut sticky_by = Vec::new();
        for by in routes.iter().filter_map(|route| route.by) {
            if !sticky_by.contains(&by) {
                sticky_by.push(by);
            }
        }
        Ok(Self { routes, sticky_by })
    }

    /// The same to the providers that there are now; none if a target's is not among them any more.
    pub(crate) fn under(&self, providers: &[Arc<Provider>]) -> Option<Self> {
        let mut next = self.clone();
        for target in next.routes.iter_mut().flat_map(|route| &mut route.targets) {
            let name = &target.provider.document.name;
            target.provider = providers.iter().find(|provider| provider.document.name == *name)?.clone();
        }
        Some(next)
    }

    /// The first route for a model, asked for in this way by this visitor.
    pub(super) fn find(&self, model: &str, visitor: &Visitor, surface: Surface) -> Option<&Route> {
        self.concerning(visitor).find(|route| {
            (route.endpoints.is_empty() || route.endpoints.iter().any(|name| name == surface.name()))
                && route.models.iter().any(|name| matches(name, model))
        })
    }

    /// The routes that concern a visitor, at the time at which it came.
    pub(super) fn concerning<'a>(&'a self, visitor: &Visitor) -> impl Iterator<Item = &'a Route> {
        let (groups, came_ms) = (&visitor.key().groups, visitor.came_ms());
        self.routes.iter().filter(move |route| {
            let is_theirs =
                route.groups.is_empty() || route.groups.iter().any(|group| groups.contains(group));
            is_theirs && route.times.hold(came_ms)
        })
    }

    /// Where they lead.
    #[cfg(test)]
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.routes.iter().flat_map(|route| &route.targets).map(|target| &target.provider)
    }

    /// What any route sticks to: what none does need not be looked for in a prompt.
    pub(crate) fn sticky_by(&self) -> &[StickyBy] {
        &self.sticky_by
    }
}

impl Route {
    fn compile(
        document: &RouteDocument,
        groups: &[GroupDocument],
        providers: &[Arc<Provider>],
    ) -> Result<Self, String> {
        if document.targets.is_empty() || document.targets.len() > TARGETS_MAX {
            return Err(format!("give 1 to {TARGETS_MAX} `targets`"));
        }
        if let Some(group) =
            document.groups.iter().find(|group| !groups.iter().any(|known| known.name == **group))
        {
            return Err(format!("the group `{group}` is not in `groups`; add it there"));
        }
        let is_endpoint = |name: &&String| Surface::ALL.iter().any(|surface| surface.name() == **name);
        if let Some(name) = document.endpoints.iter().find(|name| !is_endpoint(name)) {
            let known: Vec<&str> = Surface::ALL.iter().map(|surface| surface.name()).collect();
            return Err(format!("no endpoint is named `{name}`; there are {}", known.join(", ")));
        }
        let shares = matches!(document.strategy, Strategy::Weighted | Strategy::Sticky);
        match (document.strategy, document.by) {
            (Strategy::Sticky, None) => {
                return Err("a sticky route says `by` what: `user`, `key` or `conversation`".to_owned());
            }
            (Strategy::Sticky, Some(_)) | (_, None) => {}
            (
                Strategy::Fallback | Strategy::Weighted | Strategy::LeastLatency | Strategy::RoundRobin,
                Some(_),
            ) => {
                return Err("`by` belongs to `strategy = \"sticky\"`".to_owned());
            }
        }
        check_weights(document, shares)?;
        if document.latency_max.is_some_and(|most| most.is_zero()) {
            return Err("no answer begins within a `latency_max` of 0; write `2s`, say".to_owned());
        }
        let target = |(place, target): (usize, &String)| {
            let (name, model) = match target.split_once('/') {
                Some((name, model)) => (name, Some(model.to_owned())),
                None => (target.as_str(), None),
            };
            let provider = providers.iter().find(|provider| provider.document.name == name);
            let provider = provider.ok_or_else(|| format!("no provider is named `{name}`"))?.clone();
            Ok(RouteTarget { provider, model, weight: document.weights.get(place).copied().unwrap_or(1) })
        };
        Ok(Self {
            name: document.name.clone(),
            models: document.models.clone(),
            groups: document.groups.clone(),
            endpoints: document.endpoints.clone(),
            times: Times::compile(document)?,
            targets: document.targets.iter().enumerate().map(target).collect::<Result<_, String>>()?,
            plan: Plan { strategy: document.strategy, affinity: 0, latency_max: document.latency_max },
            by: document.by,
        })
    }
}

fn check_weights(document: &RouteDocument, shares: bool) -> Result<(), String> {
    let weights = &document.weights;
    if weights.is_empty() {
        return Ok(());
    }
    if !shares {
        return Err("`weights` belong to the strategies `weighted` and `sticky`".to_owned());
    }
    if weights.len() != document.targets.len() {
        let (given, wanted) = (weights.len(), document.targets.len());
        return Err(format!("{given} `weights` for {wanted} `targets`; give each one, in their order"));
    }
    if weights.iter().all(|weight| *weight == 0) || weights.iter().any(|weight| *weight > WEIGHT_MAX) {
        return Err(format!("`weights` are at most {WEIGHT_MAX}, and one of them is more than 0"));
    }
    Ok(())
}
