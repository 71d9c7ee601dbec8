//! From findings to one decision.
//!
//! Detection and decision are two things: only here is anything judged. Two chains are asked, the platform's floor
//! and the organisation's; what they say is joined, and the stricter wins, so the organisation can tighten and never
//! loosen. A decision carries the reasons it was made of.

use super::chains::{ChainRule, Chains};
use crate::dlp::Found;
use crate::dlp::lane::Action;
use crate::documents::{Direction, PolicyAction};
use crate::tenant::Visitor;
use std::sync::Arc;

/// Who wrote a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// The platform.
    Floor,
    /// The organisation.
    Organisation,
}

impl Chain {
    /// The name it has in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Organisation => "organisation",
        }
    }
}

/// A rule that had a part in a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its chain.
    pub chain: Chain,
    /// Its name.
    pub rule: Arc<str>,
    /// What it says to a refused caller.
    pub message: Option<String>,
    /// Whether it had no effect: it is recorded what it would have done.
    pub is_monitored: bool,
}

/// What is to be done about one finding, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What.
    pub action: Action,
    /// Every rule that said something; the strictest first, those without effect last.
    pub reasons: Vec<Reason>,
    /// What would have been done if no rule were monitored, where that is stricter.
    pub would: Option<Action>,
    /// Whether the organisation wants nothing done about it.
    pub is_suppressed: bool,
}

/// What is to be done about the request as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// A rule lets it pass.
    Allowed,
    /// No rule says anything.
    Silent,
    /// A rule refuses it.
    Blocked(Reason),
}

impl Chains {
    /// What the chains say about a finding: within a chain the first rule that ends it, across chains the strictest.
    /// Of what is suppressed, the floor alone says something.
    pub(crate) fn judge(
        &self,
        found: &Found,
        is_suppressed: bool,
        way: Direction,
        visitor: &Visitor,
    ) -> Judgement {
        let counts = |rule: &ChainRule| !is_suppressed || rule.chain == Chain::Floor;
        let mut judgement = self.say(found, way, visitor, &|rule| counts(rule) && !rule.is_monitored);
        judgement.is_suppressed = is_suppressed;
        if self.met_by(found.rule).any(|rule| rule.is_monitored && counts(rule)) {
            let asked = self.say(found, way, visitor, &counts);
            judgement.would = (asked.action > judgement.action).then_some(asked.action);
            judgement.reasons.extend(asked.reasons.into_iter().filter(|reason| reason.is_monitored));
        }
        judgement
    }

    /// What those rules say that count.
    fn say(
        &self,
        found: &Found,
        way: Direction,
        visitor: &Visitor,
        counts: &dyn Fn(&ChainRule) -> bool,
    ) -> Judgement {
        let mut judgement =
            Judgement { action: Action::Pass, reasons: Vec::new(), would: None, is_suppressed: false };
        let mut ended = None;
        for rule in self.met_by(found.rule) {
            if !counts(rule)
                || ended == Some(rule.chain)
                || !rule.applies(way, visitor)
                || found.confidence < rule.confidence_min
                || found.known < rule.compromised_min
            {
                continue;
            }
            let action = match rule.action {
                PolicyAction::Allow | PolicyAction::Log => Action::Pass,
                PolicyAction::Redact => Action::Redact(rule.mode),
                PolicyAction::Block => Action::Block,
            };
            if matches!(rule.action, PolicyAction::Allow | PolicyAction::Block) {
                ended = Some(rule.chain);
            }
            let stricter = action > judgement.action;
            judgement.reasons.insert(if stricter { 0 } else { judgement.reasons.len() }, rule.reason());
            if stricter {
                judgement.action = action;
            }
        }
        judgement
    }

    /// Whether any rule could say something about a finding that goes this way.
    pub(crate) fn looks_at(&self, way: Direction) -> bool {
        self.rules().any(|rule| rule.direction == Direction::Both || rule.direction == way)
    }

    /// Whether anything could be redacted or blocked in answers.
    pub(crate) fn acts_on_output(&self) -> bool {
        self.rules().any(|rule| {
            rule.direction != Direction::Input
                && !rule.is_monitored
                && matches!(rule.action, PolicyAction::Redact | PolicyAction::Block)
        })
    }

    /// What the chains say about a request, whatever it holds.
    pub(crate) fn gate(&self, visitor: &Visitor) -> Gate {
        self.say_of_request(visitor, &|rule| !rule.is_monitored)
    }

    /// The monitored rule that would have refused a request, whatever it holds, if no other did.
    pub(crate) fn would_block(&self, visitor: &Visitor) -> Option<Reason> {
        match self.say_of_request(visitor, &|_| true) {
            Gate::Blocked(reason) => Some(reason).filter(|reason| reason.is_monitored),
            Gate::Allowed | Gate::Silent => None,
        }
    }

    fn say_of_request(&self, visitor: &Visitor, counts: &dyn Fn(&ChainRule) -> bool) -> Gate {
        let mut gate = Gate::Silent;
        let mut ended = None;
        for rule in self.rules().filter(|rule| rule.about_request && counts(rule)) {
            if ended == Some(rule.chain) || !rule.applies(Direction::Input, visitor) {
                continue;
            }
            match rule.action {
                PolicyAction::Block => return Gate::Blocked(rule.reason()),
                PolicyAction::Allow => {
                    ended = Some(rule.chain);
                    if rule.chain == Chain::Organisation {
                        gate = Gate::Allowed;
                    }
                }
                PolicyAction::Log | PolicyAction::Redact => {}
            }
        }
        gate
    }
}
