//! Which limits hold for a key? Quotas of an organisation's document, compiled to counters with their bounds.
//!
//! A counter is one subject's use of one unit in one window. What it may reach is no part of it: a limit that is
//! changed, or turns from soft to hard, goes on with what was counted.

use super::Dollars;
use super::windows::{self, Window};
use crate::documents::{Enforcement, QuotaDocument, QuotaSubject};
use crate::names::matches;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// Limits that may hold for one key before the body is read, and again after: a question to the meters is a set of
/// so many bits.
pub const LIMITS_MAX: usize = 64;
/// A longer name of a user is somebody's text.
const USER_BYTES_MAX: usize = 128;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens of prompt and answer.
    Tokens,
    /// Billionths of US dollars.
    Dollars,
}

impl Unit {
    /// All units.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Dollars];

    /// The name it has in headers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Dollars => "dollars",
        }
    }

    /// An amount as people read it.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Requests | Self::Tokens => amount.to_string(),
            Self::Dollars => Dollars::from_nanos(amount).to_string(),
        }
    }
}

/// Which counter: equal where the same is counted, in every process and every revision. Nothing of a name can be read
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId {
    /// Of the organisation: all of its counters are asked together.
    pub organisation: u64,
    /// Among the organisation's.
    pub counter: u64,
}

/// A counter and what it may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The counter that it is held against.
    pub counter: CounterId,
    /// The organisation, group, user or key.
    pub subject: Box<str>,
    /// The models whose requests count; none: all.
    pub model: Option<Box<str>>,
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// What it never passes.
    pub hard: Option<u64>,
    /// What is told when it is passed.
    pub soft: Option<u64>,
}

impl Limit {
    /// Whether it counts a request for `asked` that is served as `served` by `provider`.
    pub(super) fn concerns(&self, asked: &str, provider: &str, served: &str) -> bool {
        let Some(pattern) = &self.model else { return true };
        matches(pattern, asked)
            || matches(pattern, served)
            || (pattern.contains('/') && matches(pattern, &format!("{provider}/{served}")))
    }

    /// As people read it, with this bound.
    pub(super) fn described(&self, most: u64) -> Described<'_> {
        Described { limit: self, most }
    }

    /// As people read it, with its soft bound.
    pub fn warning(&self) -> String {
        self.described(self.soft.unwrap_or(0)).to_string()
    }
}

pub(super) struct Described<'a> {
    limit: &'a Limit,
    most: u64,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { subject, model, unit, window, .. } = self.limit;
        write!(out, "`{subject}`")?;
        if let Some(model) = model {
            write!(out, " and models `{model}`")?;
        }
        write!(out, ": {} {} {}", unit.amount(self.most), unit.name(), window.phrase())
    }
}

/// A limit that would be passed.
#[derive(Clone, Debug)]
pub struct LimitHit {
    /// Which.
    pub limit: Limit,
    /// What is left of it.
    pub left: u64,
    /// When the same question could be answered otherwise; never, if it asks for more than the limit is. What is under
    /// way does not say when it ends: soon.
    pub retry_after_ms: Option<u64>,
    /// When a budget begins anew, in milliseconds since 1970.
    pub resets_ms: u64,
}

impl LimitHit {
    /// When a budget begins anew, as people read it.
    pub(crate) fn resets(&self) -> String {
        windows::moment(self.resets_ms)
    }
}

impl fmt::Display for LimitHit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limit.described(self.limit.hard.unwrap_or(0)).fmt(out)
    }
}

/// Whose requests are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    /// The id of the key.
    pub(crate) key: &'a str,
    /// Who owns it, if somebody does.
    pub(crate) user: Option<&'a str>,
    /// Its groups.
    pub(crate) groups: &'a [String],
}

/// The limits of one key, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Asked before the body is read.
    pub(super) gate: Arc<[Limit]>,
    /// Asked once the prompt is known: what it costs, and everything about a model.
    pub(super) budgets: Arc<[Limit]>,
    /// Whether any of them is about some models only.
    pub(super) names_models: bool,
}

impl Limits {
    /// The limits that concern a key.
    pub(crate) fn compile(
        whose: &Whose<'_>,
        organisation: &str,
        quotas: &[QuotaDocument],
    ) -> Result<Self, String> {
        let is_user = |user: &str| {
            !user.is_empty() && user.len() <= USER_BYTES_MAX && !user.chars().any(char::is_control)
        };
        if !whose.user.is_none_or(is_user) {
            return Err(format!("`user` has 1 to {USER_BYTES_MAX} bytes and no control characters"));
        }
        let mut all: Vec<Limit> = Vec::new();
        for quota in quotas {
            let Some(subject) = subject(whose, quota) else { continue };
            for (unit, window, most) in quota.limits() {
                put(&mut all, limit(organisation, &subject, quota, unit, window), quota.enforce, most);
            }
        }
        let is_gate = |limit: &Limit| {
            limit.unit == Unit::Requests
                && matches!(limit.window, Window::AtOnce | Window::Minute)
                && limit.model.is_none()
        };
        let names_models = all.iter().any(|limit| limit.model.is_some());
        let (gate, budgets): (Vec<Limit>, Vec<Limit>) = all.into_iter().partition(is_gate);
        if gate.len().max(budgets.len()) > LIMITS_MAX {
            return Err(format!("more than {LIMITS_MAX} limits hold for it; give it fewer groups or quotas"));
        }
        Ok(Self { gate: gate.into(), budgets: budgets.into(), names_models })
    }
}

/// Whose use counts, if this key's does.
fn subject(whose: &Whose<'_>, quota: &QuotaDocument) -> Option<String> {
    match (quota.subject, &quota.group) {
        (QuotaSubject::Organisation, _) => Some("organisation".to_owned()),
        (QuotaSubject::Group, Some(group)) => whose.groups.contains(group).then(|| format!("group {group}")),
        (QuotaSubject::Group, None) => None,
        // A key that nobody owns is a user by itself: it must not pass by what holds for everyone.
        (QuotaSubject::User, _) => {
            let owner = whose.user.map(|user| format!("user {user}"));
            Some(owner.unwrap_or_else(|| format!("unowned key {}", whose.key)))
        }
        (QuotaSubject::Key, _) => Some(format!("key {}", whose.key)),
    }
}

fn limit(organisation: &str, subject: &str, quota: &QuotaDocument, unit: Unit, window: Window) -> Limit {
    let mut hash = Sha256::new();
    // Lengths first: no two lists of names read the same.
    for part in [organisation, subject, quota.model.as_deref().unwrap_or(""), unit.name(), window.name()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let first = |digest: &[u8]| digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let counter =
        CounterId { organisation: first(&Sha256::digest(organisation)), counter: first(&hash.finalize()) };
    let model = quota.model.as_deref().map(Box::from);
    Limit { counter, subject: subject.into(), model, unit, window, hard: None, soft: None }
}

/// Two bounds of one counter are one limit.
fn put(all: &mut Vec<Limit>, limit: Limit, enforce: Enforcement, most: u64) {
    let at = all.iter().position(|known| known.counter == limit.counter).unwrap_or(all.len());
    if at == all.len() {
        all.push(limit);
    }
    if let Some(limit) = all.get_mut(at) {
        match enforce {
            Enforcement::Hard => limit.hard = Some(most),
            Enforcement::Soft => limit.soft = Some(most),
        }
    }
}
