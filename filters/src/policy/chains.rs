//! The chains of rules that findings and requests are held against, compiled: the platform's floor, the organisation's.
//!
//! The floor is compiled once, and shared by all. What an organisation detects by itself is put under it when the
//! organisation is compiled, and again when the floor is another one.

use super::decide::{Chain, Reason};
use super::meets::Meets;
use crate::credint::{Bucket, Known};
use crate::dlp::replacement::Mode;
use crate::dlp::{Detection, Detector, Scanner};
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

/// The compiled chains of one tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Chains {
    floor: Arc<Floor>,
    /// Which of the floor's rules findings of the organisation's own detectors may meet, the first of them first.
    own_under_floor: Arc<Meets>,
    organisation: Arc<Rules>,
}

/// The platform's chain.
#[derive(Debug)]
pub(crate) struct Floor {
    /// As they were written, with those that are shipped behind them.
    documents: Vec<PolicyRuleDocument>,
    /// What findings of the platform's detectors may meet.
    rules: Rules,
    /// How many these are.
    detectors: u16,
}

/// Rules of one author in their order, and which of them the findings of each detector may meet.
#[derive(Debug)]
struct Rules {
    rules: Box<[ChainRule]>,
    meets: Meets,
}

#[derive(Debug)]
pub(super) struct ChainRule {
    pub(super) chain: Chain,
    name: Arc<str>,
    pub(super) direction: Direction,
    groups: Vec<String>,
    /// Most rules hold wherever a caller is.
    whence: Option<Box<Whence>>,
    pub(super) confidence_min: f32,
    /// The value must be known to be compromised, and this often.
    pub(super) compromised_min: Option<Known>,
    pub(super) action: PolicyAction,
    /// What a redaction leaves.
    pub(super) mode: Mode,
    /// Without conditions on findings it is also asked about the request itself.
    pub(super) about_request: bool,
    message: Option<String>,
    /// It is recorded only what it would have done.
    pub(super) is_monitored: bool,
}

/// Conditions on where a caller is. What is not known does not hold: to refuse the unknown is `geo`'s.
#[derive(Debug)]
struct Whence {
    countries: Vec<Country>,
    asns: Vec<u32>,
    anonymous: Disguises,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShippedFloorFile {
    rules: Vec<PolicyRuleDocument>,
}

impl Floor {
    /// The rules of a platform, over what it detects; `before`, if they are the same.
    pub(super) fn compile(
        document: &FloorDocument,
        scanner: &Arc<Scanner>,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, String> {
        let mut documents = document.rules.clone();
        match document.shipped {
            ShippedFloor::None => {}
            ShippedFloor::Default => {
                let file: ShippedFloorFile =
                    toml::from_str(DEFAULT_FLOOR).map_err(|error| error.to_string())?;
                documents.extend(file.rules);
            }
        }
        if let Some(before) = before.filter(|before| before.documents == documents) {
            return Ok(before.clone());
        }
        for rule in &documents {
            if !rule.groups.is_empty() {
                return Err(format!("policy rule `{}`: the floor knows no groups", rule.name));
            }
            if rule.monitor {
                return Err(format!(
                    "policy rule `{}`: the floor is never monitored; leave `monitor` out",
                    rule.name
                ));
            }
        }
        let detectors: Vec<&Detector> = scanner.detectors().iter().map(|detector| &**detector).collect();
        let rules = Rules::compile(Chain::Floor, &documents, DlpMode::Enforce, &detectors)?;
        Ok(Arc::new(Self { documents, rules, detectors: detectors.len() as u16 }))
    }

    /// What findings of an organisation's own detectors meet of it.
    fn over_own(&self, detection: &Detection) -> Arc<Meets> {
        let own = detection.detectors().skip(usize::from(self.detectors));
        Arc::new(Meets::new(own.map(|detector| concerning(&self.documents, detector)).collect()))
    }
}

impl Rules {
    fn compile(
        chain: Chain,
        documents: &[PolicyRuleDocument],
        mode: DlpMode,
        detectors: &[&Detector],
    ) -> Result<Self, String> {
        if documents.len() > usize::from(u16::MAX) {
            return Err("too many policy rules".to_owned());
        }
        let rules = documents.iter().map(|rule| {
            let is_monitored = rule.monitor || (chain == Chain::Organisation && mode == DlpMode::Monitor);
            let compiled = ChainRule::compile(chain, rule, detectors)?;
            Ok(ChainRule { is_monitored: is_monitored && acts(rule), ..compiled })
        });
        let rules = rules.collect::<Result<_, String>>()?;
        // Most organisations have none.
        let detectors = if documents.is_empty() { &[] } else { detectors };
        let met = detectors.iter().map(|detector| concerning(documents, detector)).collect();
        Ok(Self { rules, meets: Meets::new(met) })
    }

    fn of<'a>(&'a self, meets: &'a Meets, detector: u16) -> impl Iterator<Item = &'a ChainRule> {
        meets.of(detector).iter().filter_map(|number| self.rules.get(usize::from(*number)))
    }
}

impl Chains {
    pub(super) fn compile(
        floor: &Arc<Floor>,
        (organisation, mode): (&[PolicyRuleDocument], DlpMode),
        groups: &[GroupDocument],
        detection: &Detection,
    ) -> Result<Self, String> {
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
        }
        let detectors: Vec<&Detector> = detection.detectors().map(|detector| &**detector).collect();
        let organisation = Rules::compile(Chain::Organisation, organisation, mode, &detectors)?;
        let (floor, own_under_floor) = (floor.clone(), floor.over_own(detection));
        Ok(Self { floor, own_under_floor, organisation: Arc::new(organisation) })
    }

    /// The same under another floor.
    pub(super) fn under(&self, floor: &Arc<Floor>, detection: &Detection) -> Self {
        if Arc::ptr_eq(&self.floor, floor) {
            return self.clone();
        }
        let (floor, own_under_floor) = (floor.clone(), floor.over_own(detection));
        Self { floor, own_under_floor, organisation: self.organisation.clone() }
    }

    /// The rules that findings of a detector may meet, floor first, in order.
    pub(super) fn met_by(&self, detector: u16) -> impl Iterator<Item = &ChainRule> {
        let (meets, number) = match detector.checked_sub(self.floor.detectors) {
            None => (&self.floor.rules.meets, detector),
            Some(number) => (&*self.own_under_floor, number),
        };
        let floor = self.floor.rules.of(meets, number);
        floor.chain(self.organisation.of(&self.organisation.meets, detector))
    }

    /// All rules, floor first, in order.
    pub(super) fn rules(&self) -> impl Iterator<Item = &ChainRule> {
        self.floor.rules.rules.iter().chain(&self.organisation.rules)
    }
}

/// The numbers of the rules that findings of a detector can meet.
fn concerning(rules: &[PolicyRuleDocument], detector: &Detector) -> Vec<u16> {
    let numbered = (0_u16..).zip(rules);
    numbered.filter(|(_, rule)| concerns(rule, detector)).map(|(number, _)| number).collect()
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

    pub(super) fn applies(&self, way: Direction, visitor: &Visitor) -> bool {
        let groups = &visitor.key().groups;
        (self.direction == Direction::Both || self.direction == way)
            && (self.groups.is_empty() || self.groups.iter().any(|group| groups.contains(group)))
            && self.whence.as_ref().is_none_or(|whence| whence.holds(visitor.location()))
    }

    pub(super) fn reason(&self) -> Reason {
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
