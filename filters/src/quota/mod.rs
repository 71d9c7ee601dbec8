//! Is there budget left? Reserve before the call, settle after it.
//!
//! The core does not count: it says which counters to ask and by how much ([`Ask`]); whoever keeps the meters
//! answers, and only their receipt makes a [`Reservation`]. Blocked requests never come here, so they consume no
//! tokens and no dollars; rates and what is under way at once are asked before the body is read, so they count there.

mod catalogue;
mod dollars;
mod limits;
mod windows;

pub use catalogue::{Catalogue, KnownModel, ModelDocument, Price, shipped};
pub use dollars::Dollars;
pub use limits::{CounterId, LIMITS_MAX, Limit, LimitHit, Unit};
pub(crate) use limits::{Limits, Whose};
pub use windows::{DAY_MS, MINUTE_MS, Window};

use crate::dlp::Cleared;
use crate::model_access::Grant;
use crate::policy::Provider;
use crate::prompt::Head;
use crate::refusal::Refusal;
use crate::routing::{AuthorisedTarget, Candidates};
use crate::tenant::Visitor;
use std::sync::Arc;

/// A prompt of this many bytes is reckoned at one token: the mean of English text and code is nearer four, so a
/// reservation is rarely too small.
const BYTES_PER_TOKEN: u64 = 3;
/// The most that one request can be reckoned at: an absurd limit must not overflow a counter.
const TOKENS_MAX: u64 = 1 << 40;
/// Tokens that an answer without a limit is reckoned at, where nobody knows the model's.
const OUTPUT_TOKENS_DEFAULT: u64 = 4096;

/// A question to the meters: add these amounts, all or none.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    limits: Arc<[Limit]>,
    /// Which of the limits hold, as bits.
    mask: u64,
    tokens: u64,
    nanos: u64,
}

impl Ask {
    /// Asks all of these limits for one request with so many tokens and billionths of dollars.
    pub fn new(limits: Arc<[Limit]>, tokens: u64, nanos: u64) -> Self {
        Self { limits, mask: u64::MAX, tokens, nanos }
    }

    /// The limits that hold, each with its place and the amount to add.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &Limit, u64)> {
        let held = self.limits.iter().enumerate().filter(|(at, _)| self.mask >> at & 1 == 1);
        held.map(|(at, limit)| (at, limit, self.amount(limit.unit)))
    }

    /// The limit at a place.
    pub fn limit(&self, at: usize) -> Option<&Limit> {
        self.limits.get(at)
    }

    fn amount(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => 1,
            Unit::Tokens => self.tokens,
            Unit::Dollars => self.nanos,
        }
    }

    fn holds(&self, is_it: impl Fn(&Limit) -> bool) -> bool {
        self.lines().any(|(_, limit, _)| is_it(limit))
    }
}

/// The meters' yes.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// What was added.
    pub ask: Ask,
    /// When, by the meters' own clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// For each unit, in the order of [`Unit::ALL`], the hard limit that is nearest.
    pub nearest: [Option<Nearest>; 3],
    /// The limits whose soft bound is passed now, as bits.
    pub passed: u64,
}

/// How near a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The limit's place in the question.
    pub at: usize,
    /// What is left of it.
    pub left: u64,
    /// In how many milliseconds its window is over.
    pub reset_ms: u64,
}

impl Receipt {
    /// The limits whose soft bound is passed.
    pub fn warnings(&self) -> impl Iterator<Item = &Limit> {
        let passed = |at: &usize| self.passed >> at & 1 == 1;
        self.ask.lines().filter(move |(at, ..)| passed(at)).map(|(_, limit, _)| limit)
    }
}

/// Budget that is put aside for one call. It is settled once, with what was used.
#[derive(Debug)]
pub struct Reservation {
    receipt: Receipt,
    prompt_tokens: u64,
    output: Output,
    limits_output: bool,
    asked: Option<String>,
}

/// How long an answer may become, as far as its prompt says.
#[derive(Clone, Copy, Debug)]
struct Output {
    /// The caller's own limit.
    asked: Option<u64>,
    /// How many answers there will be; none where there is no text in it.
    choices: u64,
}

impl Output {
    fn of(head: &Head) -> Self {
        Self { asked: head.output_tokens, choices: if head.has_output { head.choices.max(1) } else { 0 } }
    }

    /// The most tokens that this target can answer with.
    fn most(self, provider: &Provider, served: &str) -> u64 {
        output_tokens(self.asked, provider, served).saturating_mul(self.choices).min(TOKENS_MAX)
    }
}

/// What to ask before the body is read: blocked requests count in rates, and in what is under way at once.
pub fn gate(visitor: &Visitor) -> Ask {
    let limits = &visitor.key().limits.gate;
    if limits.is_empty() { Ask::default() } else { Ask::new(limits.clone(), 0, 0) }
}

/// What to ask once the prompt is cleared and its targets are known: one request, and the worst case of tokens and
/// dollars over the targets. Where dollars are limited, targets that nobody knows the price of are no targets.
pub fn ask(
    visitor: &Visitor,
    cleared: &Cleared,
    grant: &Grant,
    candidates: &mut Candidates,
) -> Result<Estimate, Refusal> {
    let limits = &visitor.key().limits;
    let head = cleared.head();
    let prompt_tokens = (cleared.body_bytes() as u64).div_ceil(BYTES_PER_TOKEN);
    let output = Output::of(head);
    let mut estimate =
        Estimate { ask: Ask::default(), prompt_tokens, output, limits_output: false, asked: None };
    if limits.budgets.is_empty() {
        return Ok(estimate);
    }
    let held_by = |provider: &Provider, served: &str| {
        let concerns = |limit: &Limit| limit.concerns(grant.model(), &provider.document.name, served);
        mask(&limits.budgets, concerns)
    };
    let is_dollars = |limit: &Limit| limit.unit == Unit::Dollars && limit.hard.is_some();
    let dollars = mask(&limits.budgets, is_dollars);
    if dollars != 0 {
        let is_priced = |provider: &Provider, served: &str| {
            held_by(provider, served) & dollars == 0 || price(provider, served).is_some()
        };
        candidates.retain(is_priced);
    }
    let mut ask = Ask { limits: limits.budgets.clone(), ..Ask::default() };
    for (provider, served) in candidates.targets() {
        ask.mask |= held_by(provider, served);
        let output = output.most(provider, served);
        ask.tokens = ask.tokens.max(prompt_tokens.saturating_add(output).min(TOKENS_MAX));
        let worst = price(provider, served).map_or(0, |price| price.worst(prompt_tokens, output));
        ask.nanos = ask.nanos.max(worst);
    }
    if candidates.targets().len() == 0 {
        return Err(Refusal::ModelUnpriced(grant.model().to_owned()));
    }
    let counts_output = |limit: &Limit| limit.hard.is_some() && limit.unit != Unit::Requests;
    estimate.limits_output = head.has_output && head.output_tokens.is_none() && ask.holds(counts_output);
    estimate.asked = limits.names_models.then(|| grant.model().to_owned());
    estimate.ask = ask;
    Ok(estimate)
}

/// The limits for which something is so, as bits.
fn mask(limits: &[Limit], is_it: impl Fn(&Limit) -> bool) -> u64 {
    limits.iter().enumerate().fold(0, |mask, (at, limit)| mask | u64::from(is_it(limit)) << at)
}

fn price(provider: &Provider, served: &str) -> Option<Price> {
    provider.known(served).and_then(|known| known.price)
}

/// How many tokens an answer can have: what the caller allows, or what is given to it; never more than the model can.
fn output_tokens(asked: Option<u64>, provider: &Provider, served: &str) -> u64 {
    let possible = provider.known(served).and_then(|known| known.output_limit).unwrap_or(TOKENS_MAX);
    asked.unwrap_or_else(|| output_limit(provider, served)).min(possible)
}

/// The limit that is given to an answer which has none: what the platform says of the provider, or what the catalogue
/// says of the model.
pub(crate) fn output_limit(provider: &Provider, served: &str) -> u64 {
    let possible = provider.known(served).and_then(|known| known.output_limit);
    let wanted = provider.document.output_tokens_default.or(possible).unwrap_or(OUTPUT_TOKENS_DEFAULT);
    wanted.min(possible.unwrap_or(wanted))
}

/// An ask with what it was reckoned from.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The question.
    pub ask: Ask,
    prompt_tokens: u64,
    output: Output,
    limits_output: bool,
    asked: Option<String>,
}

/// Takes the meters' answer.
pub fn reserve(estimate: Estimate, answer: Result<Receipt, MeterRefusal>) -> Result<Reservation, Refusal> {
    let receipt = answer.map_err(MeterRefusal::into_refusal)?;
    let Estimate { prompt_tokens, output, limits_output, asked, .. } = estimate;
    Ok(Reservation { receipt, prompt_tokens, output, limits_output, asked })
}

/// The meters' no.
#[derive(Clone, Debug)]
pub enum MeterRefusal {
    /// A limit would be passed.
    Hit(Box<LimitHit>),
    /// They cannot say.
    Unavailable,
}

impl MeterRefusal {
    /// What the caller is told: a minute passes by itself, a budget does not.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Unavailable => Refusal::QuotaUnavailable,
            Self::Hit(hit) => match hit.limit.window {
                Window::AtOnce => Refusal::ConcurrencyReached(hit),
                Window::Minute => Refusal::RateLimited(hit),
                Window::Day | Window::Month => Refusal::QuotaSpent(hit),
            },
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

/// How one attempt is charged: to which limits, and at which price.
#[derive(Clone, Copy, Debug)]
pub struct Tariff {
    mask: u64,
    price: Option<Price>,
}

impl Tariff {
    /// What this usage is charged.
    pub fn charge(&self, used: Usage) -> Charge {
        let tokens = used.prompt_tokens.saturating_add(used.completion_tokens).min(TOKENS_MAX);
        Charge { mask: self.mask, tokens, nanos: self.price.map(|price| price.cost(used)) }
    }
}

/// What one attempt used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The limits that it counts in, as bits.
    pub mask: u64,
    /// Tokens of prompt and answer.
    pub tokens: u64,
    /// Billionths of dollars; none where nobody knows the price.
    pub nanos: Option<u64>,
}

impl Charge {
    /// Whether nothing was used.
    pub fn is_nothing(&self) -> bool {
        self.tokens == 0
    }
}

/// How far a counter is off, now that the usage is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// What was used beyond what was put aside.
    pub add: u64,
    /// What was put aside and not used.
    pub take: u64,
}

impl Receipt {
    /// What becomes of each counter, now that the exchange is over. A request was made, whatever came of it; it is
    /// under way no longer.
    pub fn corrections<'a>(
        &'a self,
        charges: impl Iterator<Item = Charge> + Clone + 'a,
    ) -> impl Iterator<Item = (&'a Limit, Correction)> {
        self.ask.lines().filter_map(move |(at, limit, reserved)| {
            let used = |of: fn(&Charge) -> u64| {
                let concerned = charges.clone().filter(|charge| charge.mask >> at & 1 == 1);
                concerned.fold(0, |sum: u64, charge| sum.saturating_add(of(&charge)))
            };
            let used = match (limit.window, limit.unit) {
                (Window::AtOnce, _) => 0,
                (_, Unit::Requests) => return None,
                (_, Unit::Tokens) => used(|charge| charge.tokens),
                (_, Unit::Dollars) => used(|charge| charge.nanos.unwrap_or(0)),
            };
            let correction =
                Correction { add: used.saturating_sub(reserved), take: reserved.saturating_sub(used) };
            (correction.add != correction.take).then_some((limit, correction))
        })
    }
}

impl Reservation {
    /// What the meters said.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Whether a target must be given a limit, because the caller gave none and a budget counts what comes back.
    pub(crate) fn limits_output(&self) -> bool {
        self.limits_output
    }

    /// The prompt's tokens as they were reckoned.
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }

    /// What to ask before another target is tried after one that used something: the same tokens and dollars again. It
    /// is still one request. None if nothing is counted but requests.
    pub fn again(&self) -> Option<Ask> {
        let ask = &self.receipt.ask;
        let counts = mask(&ask.limits, |limit| limit.unit != Unit::Requests) & ask.mask;
        (counts != 0).then(|| Ask { mask: counts, ..ask.clone() })
    }

    /// The most that this target can use, as it was put aside.
    pub fn worst(&self, target: &AuthorisedTarget) -> Usage {
        let completion_tokens = self.output.most(target.provider(), target.model());
        Usage { prompt_tokens: self.prompt_tokens, completion_tokens, ..Usage::default() }
    }

    /// How an attempt at this target is charged.
    pub fn tariff(&self, target: &AuthorisedTarget) -> Tariff {
        let provider = target.provider();
        let mask = match &self.asked {
            None => u64::MAX,
            Some(asked) => mask(&self.receipt.ask.limits, |limit| {
                limit.concerns(asked, &provider.document.name, target.model())
            }),
        };
        Tariff { mask, price: price(provider, target.model()) }
    }
}
