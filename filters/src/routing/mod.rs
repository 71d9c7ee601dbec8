//! Where does it go, and then where?
//!
//! Needs a grant; proves [`AuthorisedTarget`]s. Every candidate is authorised by itself, under the model and the
//! provider that would really be called: a chain cannot smuggle. The caller names models, never addresses.
//!
//! How the targets are doing, the core does not know: it names them ([`Candidates::names`]), whoever calls them answers
//! ([`Outlook`]), and [`choose`] puts them in order.

pub(crate) mod affinity;
pub mod breaker;
mod kill_switch;
mod order;
mod routes;
#[cfg(test)]
mod tests;
mod times;

pub(crate) use kill_switch::KillSwitches;
pub use order::{Outlook, Passed, TargetState};
pub(crate) use routes::Routes;

use crate::dialect::Dialect;
use crate::dlp::Cleared;
use crate::documents::routes::Strategy;
use crate::model_access::{self, Grant};
use crate::names::matches;
use crate::policy::{Provider, Tenant};
use crate::quota::{self, Reservation};
use crate::refusal::Refusal;
use crate::tenant::Visitor;
use order::{Plan, Share, hashed};
use routes::Route;
use std::sync::Arc;

/// Targets of one request that are tried at most.
pub const TARGETS_MAX: usize = 8;

/// Targets that would do, each authorised, as they are written.
#[derive(Debug)]
pub struct Candidates {
    route: Option<String>,
    plan: Plan,
    is_stream: bool,
    targets: Vec<Candidate>,
    switched_off: Vec<PassedOver>,
}

#[derive(Debug)]
struct Candidate {
    provider: Arc<Provider>,
    model: String,
    weight: u32,
}

/// A target that would do and is not tried, or not in its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The provider's name.
    pub provider: String,
    /// The model that would be called there.
    pub model: String,
    /// Why.
    pub why: Passed,
    /// An operator's words, if it was one.
    pub reason: Option<Arc<str>>,
}

impl Candidates {
    /// Providers with the model that would be called there.
    pub(crate) fn targets(&self) -> impl ExactSizeIterator<Item = (&Provider, &str)> {
        self.targets.iter().map(|target| (&*target.provider, target.model.as_str()))
    }

    /// Drops targets that must not be tried after all.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&Provider, &str) -> bool) {
        self.targets.retain(|target| is_wanted(&target.provider, &target.model));
    }

    /// Provider and model of each, in the order in which an [`Outlook`] answers.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.targets.iter().map(|target| (target.provider.document.name.as_str(), target.model.as_str()))
    }

    /// Whether the order depends on how soon answers begin.
    pub fn asks_latency(&self) -> bool {
        self.plan.latency_max.is_some() || self.plan.strategy == Strategy::LeastLatency
    }

    /// Whose turns are counted, as a number, if targets take turns: one route of one organisation.
    pub fn takes_turns(&self) -> Option<u64> {
        (self.plan.strategy == Strategy::RoundRobin).then_some(self.plan.affinity)
    }

    /// Whether the answer will be a stream: whole ones begin when they end.
    pub fn is_stream(&self) -> bool {
        self.is_stream
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

    /// The same, when somebody else is finding out whether it is well again.
    pub fn passed_over(&self) -> PassedOver {
        let provider = self.provider.document.name.clone();
        PassedOver { provider, model: self.model.clone(), why: Passed::Open, reason: None }
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
    /// What is not.
    pub passed_over: Vec<PassedOver>,
}

/// Finds the targets for a granted model.
pub fn candidates(visitor: &Visitor, cleared: &Cleared, grant: &Grant) -> Result<Candidates, Refusal> {
    let tenant = visitor.tenant();
    let model = grant.model();
    let head = cleared.head();
    let route = tenant.routes.find(model, visitor, head.surface);
    let mut targets = route.map_or_else(|| served_by(tenant, model), |route| route.candidates(model));
    targets.retain(|target| model_access::authorises(visitor, &target.provider, &target.model));
    if targets.is_empty() {
        return Err(Refusal::ModelNotFound(model.to_owned()));
    }
    // The caller may use them and can list them: that they speak otherwise is no secret.
    targets.retain(|target| target.provider.document.dialect == grant.dialect());
    if targets.is_empty() {
        return Err(Refusal::DialectNotServed { model: model.to_owned(), dialect: grant.dialect() });
    }
    drop_repeated(&mut targets);
    targets.truncate(TARGETS_MAX);
    let switched_off = take_switched_off(visitor, &mut targets);
    if targets.is_empty() {
        return Err(Refusal::ModelDisabled(Box::new(Disabled { model: model.to_owned(), switched_off })));
    }
    let mut plan = route.map(|route| route.plan).unwrap_or_default();
    if let Some(by) = route.and_then(|route| route.by) {
        let own = cleared.affinity(by).unwrap_or_else(|| hashed(&[visitor.key().id.as_bytes()]));
        plan.affinity = hashed(&[tenant.id.as_bytes(), &own.to_le_bytes()]);
    }
    let route = route.map(|route| route.name.clone());
    if let (Strategy::RoundRobin, Some(name)) = (plan.strategy, &route) {
        plan.affinity = hashed(&[tenant.id.as_bytes(), name.as_bytes()]);
    }
    Ok(Candidates { route, plan, is_stream: head.stream, targets, switched_off })
}

/// Everything that could serve a model is switched off.
#[derive(Clone, Debug)]
pub struct Disabled {
    /// The model that was asked for.
    pub model: String,
    /// What would have served it.
    pub switched_off: Vec<PassedOver>,
}

/// Without a route: every provider that serves the model, in the order of the document.
fn served_by(tenant: &Tenant, model: &str) -> Vec<Candidate> {
    let mut targets = Vec::new();
    for provider in &tenant.platform.providers {
        let serves = |name: &str| provider.document.models.iter().any(|pattern| matches(pattern, name));
        let candidate =
            |model: &str| Candidate { provider: provider.clone(), model: model.to_owned(), weight: 1 };
        let prefix = model.split_once('/').filter(|(name, _)| *name == provider.document.name);
        match prefix {
            Some((_, bare)) if serves(bare) => targets.push(candidate(bare)),
            Some(_) | None if serves(model) => targets.push(candidate(model)),
            Some(_) | None => {}
        }
    }
    targets
}

impl Route {
    /// Its targets for a model.
    fn candidates(&self, model: &str) -> Vec<Candidate> {
        let candidate = |target: &routes::RouteTarget| Candidate {
            provider: target.provider.clone(),
            model: target.model.clone().unwrap_or_else(|| model.to_owned()),
            weight: target.weight,
        };
        self.targets.iter().map(candidate).collect()
    }
}

/// A target that failed would fail again: each is in a chain once.
fn drop_repeated(targets: &mut Vec<Candidate>) {
    let mut at = 1;
    while at < targets.len() {
        let (before, rest) = targets.split_at(at);
        let is_repeated = rest.first().is_some_and(|target| {
            before.iter().any(|one| one.model == target.model && Arc::ptr_eq(&one.provider, &target.provider))
        });
        if is_repeated {
            targets.remove(at);
        } else {
            at += 1;
        }
    }
}

fn take_switched_off(visitor: &Visitor, targets: &mut Vec<Candidate>) -> Vec<PassedOver> {
    let mut switched_off = Vec::new();
    targets.retain(|target| {
        let reason = visitor.switched_off_because(&target.provider, &target.model);
        let is_on = reason.is_none();
        switched_off
            .extend(reason.map(|reason| target.passed_over(Passed::SwitchedOff, Some(reason.clone()))));
        is_on
    });
    switched_off
}

/// Who would serve a model to this visitor in this dialect: the first that it may use and that is not switched off.
pub(crate) fn server_of<'a>(visitor: &'a Visitor, model: &str, dialect: Dialect) -> Option<&'a str> {
    let tenant = visitor.tenant();
    let mut routes = tenant.routes.concerning(visitor);
    let route = routes.find(|route| route.models.iter().any(|pattern| matches(pattern, model)));
    let targets = route.map_or_else(|| served_by(tenant, model), |route| route.candidates(model));
    let mut usable = targets.iter().filter(|target| {
        target.provider.document.dialect == dialect
            && model_access::authorises(visitor, &target.provider, &target.model)
            && visitor.switched_off_because(&target.provider, &target.model).is_none()
    });
    let first = usable.next()?;
    let provider = tenant.platform.providers.iter().find(|known| Arc::ptr_eq(known, &first.provider))?;
    Some(route.map_or(provider.document.name.as_str(), |route| route.name.as_str()))
}

/// Names that routes give to models, for this visitor.
pub(crate) fn named_models(visitor: &Visitor) -> impl Iterator<Item = &String> {
    visitor.tenant().routes.concerning(visitor).flat_map(|route| &route.models)
}

/// Turns candidates into targets, now that there is budget for them and it is known how they are doing.
pub fn choose(_: &Grant, reservation: &Reservation, candidates: Candidates, outlook: &Outlook) -> Itinerary {
    let Candidates { route, plan, targets, switched_off: mut passed_over, .. } = candidates;
    let shares: Vec<Share> = targets.iter().map(|target| target.share(plan)).collect();
    let order = order::order(plan, &shares, outlook);
    let passed =
        |(place, why): (usize, Passed)| targets.get(place).map(|target| target.passed_over(why, None));
    passed_over.extend(order.passed.into_iter().filter_map(passed));
    let mut targets: Vec<Option<Candidate>> = targets.into_iter().map(Some).collect();
    let authorised = order.tried.into_iter().filter_map(|place| {
        let Candidate { provider, model, .. } = targets.get_mut(place)?.take()?;
        let output_limit = reservation.limits_output().then(|| quota::output_limit(&provider, &model));
        Some(AuthorisedTarget { provider, model, output_limit })
    });
    Itinerary { route, targets: authorised.collect(), passed_over }
}

impl Candidate {
    /// Its part in drawing lots, where lots are drawn.
    fn share(&self, plan: Plan) -> Share {
        let hash = match plan.strategy {
            Strategy::Fallback | Strategy::LeastLatency | Strategy::RoundRobin => 0,
            Strategy::Weighted | Strategy::Sticky => {
                hashed(&[self.provider.document.name.as_bytes(), self.model.as_bytes()])
            }
        };
        Share { hash, weight: self.weight }
    }

    fn passed_over(&self, why: Passed, reason: Option<Arc<str>>) -> PassedOver {
        let provider = self.provider.document.name.clone();
        PassedOver { provider, model: self.model.clone(), why, reason }
    }
}
