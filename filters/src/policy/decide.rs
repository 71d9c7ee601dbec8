//! From findings to one decision.
//!
//! Detection and decision are two things: only here is anything judged. Two chains are asked, the platform's floor
//! and the organisation's; what they say is joined, and the stricter wins, so the organisation can tighten and never
//! loosen. A decision carries the reasons it was made of.

use super::meets::Meets;
use crate::credint::{Bucket, Known};
use crate::dlp::lane::Action;
use crate::dlp::replacement::Mode;
use crate::dlp::{Detection, Detector, Found};
use crate::documents::detection::DlpMode;
use crate::documents::{
    Direction, FloorDocument, GroupDocument, PolicyAction, PolicyRuleDocument, ShippedFloor,
};
use crate::geoip::{Country, Disguises, Location};
use crate::names::matches;
use crate::tenant::Visitor;
use serde::Deserialize;
use std::sync::Arc;

static DEFAULT_FLOOR: &str = include_str!("../../../rules/floors/default.toml");

/// The compiled chains of one tenant.
#[derive(Debug)]
pub(crate) struct Chains {
    rules: Vec<ChainRule>,
    /// The policy rules that findings may meet, floor first, in order.
    meets: Meets,
}

#[derive(Debug)]
struct ChainRule {
    chain: Chain,
    name: Arc<str>,
    direction: Direction,
    groups: Vec<String>,
    /// Most rules hold wherever a caller is.
    whence: Option<Box<Whence>>,
    confidence_min: f32,
    /// The value must be known to be compromised, and this often.
    compromised_min: Option<Known>,
    action: PolicyAction,
    /// What a redaction leaves.
    mode: Mode,
    /// Without conditions on findings it is also asked about the request itself.
    about_request: bool,
    message: Option<String>,
    /// It is recorded only what it would have done.
    is_monitored: bool,
}

/// Conditions on where a caller is. What is not known does not hold: to refuse the unknown is `geo`'s.
#[derive(Debug)]
struct Whence {
    countries: Vec<Country>,
    asns: Vec<u32>,
    anonymous: Disguises,
}

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShippedFloorFile {
    rules: Vec<PolicyRuleDocument>,
}

impl Chains {
    pub(crate) fn compile(
        floor: &FloorDocument,
        (organisation, mode): (&[PolicyRuleDocument], DlpMode),
        groups: &[GroupDocument],
        detection: &Detection,
    ) -> Result<Self, String> {
        let shipped = match floor.shipped {
            ShippedFloor::None => Vec::new(),
            ShippedFloor::Default => {
                let file: ShippedFloorFile =
                    toml::from_str(DEFAULT_FLOOR).map_err(|error| error.to_string())?;
                file.rules
            }
        };
        let mut rules = Vec::new();
        let detectors: Vec<&Detector> = detection.detectors().map(|detector| &**detector).collect();
        let mut met = vec![Vec::new(); detectors.len()];
        let mut add = |chain, rule: &PolicyRuleDocument| -> Result<(), String> {
            let number = u16::try_from(rules.len()).map_err(|_| "too many policy rules".to_owned())?;
            let is_monitored = rule.monitor || (chain == Chain::Organisation && mode == DlpMode::Monitor);
            rules.push(ChainRule {
                is_monitored: is_monitored && acts(rule),
                ..ChainRule::compile(chain, rule, &detectors)?
            });
            for (detector, met) in detectors.iter().zip(&mut met) {
                if concerns(rule, detector) {
                    met.push(number);
                }
            }
            Ok(())
        };
        for rule in floor.rules.iter().chain(&shipped) {
            if !rule.groups.is_empty() {
                return Err(format!("policy rule `{}`: the floor knows no groups", rule.name));
            }
            if rule.monitor {
                return Err(format!(
                    "policy rule `{}`: the floor is never monitored; leave `monitor` out",
                    rule.name
                ));
            }
            add(Chain::Floor, rule)?;
        }
        for rule in organisation {
            refuse_output_of_services(rule, detection)?;
            for group in &rule.groups {
                if !groups.iter().any(|known| known.name == *group) {
                    return Err(format!(
                        "policy rule `{}`: the group `{group}` is not in `groups`",
                        rule.name
                    ));
                }
            }
            add(Chain::Organisation, rule)?;
        }
        Ok(Self { rules, meets: Meets::new(met) })
    }

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
        let met = self.meets.of(found.rule).iter();
        let mut met = met.filter_map(|number| self.rules.get(usize::from(*number)));
        if met.any(|rule| rule.is_monitored && counts(rule)) {
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
        let met = self.meets.of(found.rule).iter();
        for rule in met.filter_map(|number| self.rules.get(usize::from(*number))) {
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
        self.rules.iter().any(|rule| rule.direction == Direction::Both || rule.direction == way)
    }

    /// Whether anything could be redacted or blocked in answers.
    pub(crate) fn acts_on_output(&self) -> bool {
        self.rules.iter().any(|rule| {
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
        for rule in self.rules.iter().filter(|rule| rule.about_request && counts(rule)) {
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

/// Whether a rule changes or refuses anything.
fn acts(rule: &PolicyRuleDocument) -> bool {
    matches!(rule.action, PolicyAction::Redact | PolicyAction::Block)
}

/// What a rule's redactions leave.
fn mode_of(rule: &PolicyRuleDocument) -> Result<Mode, String> {
    match (rule.mode, rule.action) {
        (None, _) => Ok(Mode::default()),
        (Some(mode), PolicyAction::Redact) => Ok(mode),
        (Some(_), PolicyAction::Allow | PolicyAction::Log | PolicyAction::Block) => Err(format!(
            "policy rule `{}`: `mode` says what a redaction leaves; give it `action = \"redact\"`, or leave `mode` out",
            rule.name
        )),
    }
}

/// Whether findings of a detection rule can meet a policy rule.
fn concerns(rule: &PolicyRuleDocument, detector: &Detector) -> bool {
    let one_of =
        |list: &[String], test: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|text| test(text));
    one_of(&rule.rules, &|pattern| matches(pattern, &detector.id))
        && one_of(&rule.entities, &|entity| *entity == *detector.entity)
        && (rule.categories.is_empty() || rule.categories.contains(&detector.category))
}

/// A rule that names what only services find says nothing about answers, and must not look as if it did.
fn refuse_output_of_services(rule: &PolicyRuleDocument, detection: &Detection) -> Result<(), String> {
    let is_named = !rule.rules.is_empty() || !rule.entities.is_empty();
    if !is_named || rule.direction == Direction::Input {
        return Ok(());
    }
    let mut met =
        detection.detectors().enumerate().filter(|(_, detector)| concerns(rule, detector)).peekable();
    if met.peek().is_none() || met.any(|(number, _)| !detection.is_of_service(number)) {
        return Ok(());
    }
    Err(format!(
        "policy rule `{}`: what it names is found by a detector, which is asked of prompts only; write \
         `direction = \"input\"`",
        rule.name
    ))
}

impl ChainRule {
    fn compile(chain: Chain, rule: &PolicyRuleDocument, detectors: &[&Detector]) -> Result<Self, String> {
        for (kind, wanted, known) in [
            ("rule", &rule.rules, (|one, text| matches(text, &one.id)) as fn(&Detector, &str) -> bool),
            ("entity", &rule.entities, |one, text| *one.entity == *text),
        ] {
            for text in wanted {
                if !detectors.iter().any(|one| known(one, text)) {
                    return Err(format!(
                        "policy rule `{}`: no detection {kind} is named `{text}`",
                        rule.name
                    ));
                }
            }
        }
        if rule.monitor && !acts(rule) {
            return Err(format!(
                "policy rule `{}`: `monitor` is for `redact` and `block`; this one changes nothing, leave it out",
                rule.name
            ));
        }
        let compromised_min = rule.compromised_min.map(|least| {
            Bucket::beginning_with(least).map(Known::Listed).ok_or_else(|| {
                format!(
                    "policy rule `{}`: `compromised_min` is 1, 2, 10, 100 or 1000, not {least}",
                    rule.name
                )
            })
        });
        Ok(Self {
            chain,
            name: rule.name.as_str().into(),
            direction: rule.direction,
            groups: rule.groups.clone(),
            whence: Whence::of(rule),
            confidence_min: rule.confidence_min.unwrap_or(0.0),
            compromised_min: compromised_min.transpose()?,
            action: rule.action,
            mode: mode_of(rule)?,
            about_request: rule.rules.is_empty()
                && rule.entities.is_empty()
                && rule.categories.is_empty()
                && rule.confidence_min.is_none()
                && rule.compromised_min.is_none(),
            message: rule.message.clone(),
            is_monitored: false,
        })
    }

    fn applies(&self, way: Direction, visitor: &Visitor) -> bool {
        let groups = &visitor.key().groups;
        (self.direction == Direction::Both || self.direction == way)
            && (self.groups.is_empty() || self.groups.iter().any(|group| groups.contains(group)))
            && self.whence.as_ref().is_none_or(|whence| whence.holds(visitor.location()))
    }

    fn reason(&self) -> Reason {
        Reason {
            chain: self.chain,
            rule: self.name.clone(),
            message: self.message.clone(),
            is_monitored: self.is_monitored,
        }
    }
}

impl Whence {
    fn of(rule: &PolicyRuleDocument) -> Option<Box<Self>> {
        let whence = Self {
            countries: rule.countries.clone(),
            asns: rule.asns.clone(),
            anonymous: rule.anonymous.iter().copied().collect(),
        };
        let asks = !whence.countries.is_empty() || !whence.asns.is_empty() || !whence.anonymous.is_empty();
        asks.then(|| Box::new(whence))
    }

    fn holds(&self, location: &Location) -> bool {
        let is_one_of = |is_empty: bool, holds: Option<bool>| is_empty || holds == Some(true);
        is_one_of(
            self.countries.is_empty(),
            location.country.map(|country| self.countries.contains(&country)),
        ) && is_one_of(self.asns.is_empty(), location.asn.map(|asn| self.asns.contains(&asn)))
            && is_one_of(self.anonymous.is_empty(), location.anonymous.map(|one| one.meets(self.anonymous)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_goes_with_a_redaction_only() {
        let rule = |action: &str| {
            let text = format!("name = \"mail\"\naction = \"{action}\"\nmode = \"tag\"");
            mode_of(&toml::from_str(&text).unwrap())
        };
        assert_eq!(rule("redact"), Ok(Mode::Tag));
        for action in ["allow", "log", "block"] {
            let problem = rule(action).unwrap_err();
            assert!(
                problem.contains("policy rule `mail`") && problem.contains("leave `mode` out"),
                "{problem}"
            );
        }
    }
}
