//! Is there budget left? Reserve before the call, settle after it.
//!
//! The core does not count: it says which counters to ask and by how much ([`Ask`]); whoever keeps the meters
//! answers, and only their receipt makes a [`Reservation`]. Blocked requests never come here, so they consume no
//! budget; rates are asked before the body is read, so they count there.

use crate::dlp::Cleared;
use crate::documents::{QuotaDocument, QuotaSubject};
use crate::model_access::Grant;
use crate::refusal::Refusal;
use crate::routing::Candidates;
use crate::tenant::Visitor;
use std::fmt;
use std::sync::Arc;

/// A prompt of this many bytes is reckoned at one token: the mean of English text and code is nearer four, so a
/// reservation is rarely too small.
const BYTES_PER_TOKEN: u64 = 3;
/// The most that one request can be reckoned at: an absurd limit must not overflow a counter.
const TOKENS_MAX: u64 = 1 << 40;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens of prompt and answer.
    Tokens,
}

/// Over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// The last sixty seconds.
    Minute,
    /// Since midnight UTC.
    Day,
}

/// One limit, with the counter it is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The organisation, group or key: unique across organisations.
    pub subject: Arc<str>,
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// The most.
    pub most: u64,
}

/// A limit that would be passed.
#[derive(Clone, Debug)]
pub struct LimitHit {
    /// Which.
    pub limit: Limit,
    /// When the same question could be answered otherwise; never, if it asks for more than the limit is.
    pub retry_after_ms: Option<u64>,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.limit.unit {
            Unit::Requests => "requests",
            Unit::Tokens => "tokens",
        };
        let window = match self.limit.window {
            Window::Minute => "minute",
            Window::Day => "day",
        };
        let subject = self.limit.subject.split_once('/').map_or("organisation", |(_, subject)| subject);
        write!(out, "`{subject}`: {} {unit} per {window}", self.limit.most)
    }
}

/// A question to the meters: add these amounts, all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Each limit with the amount to add.
    pub lines: Vec<(Limit, u64)>,
}

/// The meters' yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What was added.
    pub ask: Ask,
    /// For the tightest limit of each unit: limit, what is left, milliseconds to its reset.
    pub remaining: Vec<(Limit, u64, u64)>,
}

/// Budget that is put aside for one call. It is settled once, with what was used.
#[derive(Debug)]
pub struct Reservation {
    receipt: Receipt,
    tokens: u64,
    prompt_tokens: u64,
    output_limit: Option<u64>,
}

/// The limits of one key, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Asked before the body is read.
    pub(crate) rates: Vec<Limit>,
    /// Asked once the prompt is known.
    pub(crate) budgets: Vec<Limit>,
}

impl Limits {
    /// The limits that concern a key with these groups.
    pub(crate) fn of(organisation: &str, key: &str, groups: &[String], quotas: &[QuotaDocument]) -> Self {
        let mut limits = Self::default();
        for quota in quotas {
            let subject: Arc<str> = match (quota.subject, &quota.group) {
                (QuotaSubject::Organisation, _) => format!("{organisation}/organisation").into(),
                (QuotaSubject::Key, _) => format!("{organisation}/key {key}").into(),
                (QuotaSubject::Group, Some(group)) if groups.contains(group) => {
                    format!("{organisation}/group {group}").into()
                }
                (QuotaSubject::Group, _) => continue,
            };
            let limit = |unit, window, most: Option<u64>| {
                most.map(|most| Limit { subject: subject.clone(), unit, window, most })
            };
            limits.rates.extend(limit(Unit::Requests, Window::Minute, quota.requests_per_minute));
            limits.budgets.extend(limit(Unit::Requests, Window::Day, quota.requests_per_day));
            limits.budgets.extend(limit(Unit::Tokens, Window::Minute, quota.tokens_per_minute));
            limits.budgets.extend(limit(Unit::Tokens, Window::Day, quota.tokens_per_day));
        }
        limits
    }
}

/// What to ask before the body is read: blocked requests count in rates.
pub fn gate(visitor: &Visitor) -> Ask {
    Ask { lines: visitor.key().limits.rates.iter().map(|limit| (limit.clone(), 1)).collect() }
}

/// What to ask once the prompt is cleared and its targets are known: one request, and the worst case of tokens.
pub fn ask(visitor: &Visitor, cleared: &Cleared, _: &Grant, candidates: &Candidates) -> Estimate {
    let prompt_tokens = (cleared.body_bytes() as u64).div_ceil(BYTES_PER_TOKEN);
    let head = cleared.head();
    let output = head.output_tokens.unwrap_or(candidates.output_tokens_default()).min(TOKENS_MAX);
    let output = if head.has_output { output.saturating_mul(head.choices.max(1)) } else { 0 };
    let tokens = prompt_tokens.saturating_add(output).min(TOKENS_MAX);
    let amount = |limit: &Limit| if limit.unit == Unit::Tokens { tokens } else { 1 };
    let budgets = &visitor.key().limits.budgets;
    let counts_tokens = budgets.iter().any(|limit| limit.unit == Unit::Tokens);
    let unlimited = head.has_output && head.output_tokens.is_none() && counts_tokens;
    Estimate {
        ask: Ask { lines: budgets.iter().map(|limit| (limit.clone(), amount(limit))).collect() },
        tokens,
        prompt_tokens,
        output_limit: unlimited.then(|| candidates.output_tokens_default()),
    }
}

/// An ask with what it was reckoned from.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The question.
    pub ask: Ask,
    tokens: u64,
    prompt_tokens: u64,
    output_limit: Option<u64>,
}

/// Takes the meters' answer.
pub fn reserve(estimate: &Estimate, answer: Result<Receipt, MeterRefusal>) -> Result<Reservation, Refusal> {
    let receipt = answer.map_err(MeterRefusal::into_refusal)?;
    let Estimate { tokens, prompt_tokens, output_limit, .. } = *estimate;
    Ok(Reservation { receipt, tokens, prompt_tokens, output_limit })
}

/// The meters' no.
#[derive(Clone, Debug)]
pub enum MeterRefusal {
    /// A limit would be passed.
    Hit(LimitHit),
    /// They cannot say.
    Unavailable,
}

impl MeterRefusal {
    /// What the caller is told: a minute passes by itself, a day's budget does not.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Hit(hit) if hit.limit.window == Window::Minute => Refusal::RateLimited(hit),
            Self::Hit(hit) => Refusal::QuotaSpent(hit),
            Self::Unavailable => Refusal::QuotaUnavailable,
        }
    }
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, all of them: those of a cache are counted here too, whatever the dialect does.
    pub prompt_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: u64,
    /// Of these, written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
}

impl Reservation {
    /// What the meters said.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The limit that a target must be given, because the caller gave none and a budget counts tokens.
    pub fn output_limit(&self) -> Option<u64> {
        self.output_limit
    }

    /// The prompt's tokens as they were reckoned.
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }

    /// How far each counter is off, now that the usage is known: (limit, what to add, what to take back).
    pub fn corrections(&self, used: Usage) -> Vec<(Limit, u64, u64)> {
        let used = used.prompt_tokens.saturating_add(used.completion_tokens).min(TOKENS_MAX);
        let tokens = self.receipt.ask.lines.iter().filter(|(limit, _)| limit.unit == Unit::Tokens);
        tokens
            .map(|(limit, _)| {
                (limit.clone(), used.saturating_sub(self.tokens), self.tokens.saturating_sub(used))
            })
            .collect()
    }
}
