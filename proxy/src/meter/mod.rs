//! What is counted of this process's exchanges, and who gives it back? Guards over counters in memory.
//!
//! Whatever is added is held by a guard: a slot among those under way ends with its exchange, a reservation is settled
//! with what is known to be used. A client that leaves, a panic and a timeout drop the guard as an end does.

mod clock;
mod counters;
mod keeper;
mod snapshot;

pub(crate) use keeper::Kept;

use clock::Clock;
use counters::Counters;
use palisade_filters::AuthorisedTarget;
use palisade_filters::quota::{Ask, Charge, MeterRefusal, Receipt, Reservation, Tariff, Usage};
use std::sync::Arc;

/// The meters of this process.
#[derive(Debug)]
pub(crate) struct Meters {
    counters: Counters,
    clock: Clock,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self { counters: Counters::new(), clock: Clock::new() }
    }

    /// Adds all amounts, or none if one of the limits would be passed. Asynchronous, as counters that are shared
    /// between replicas will be.
    #[expect(
        clippy::unused_async,
        reason = "the seam: meters of several replicas are asked over the network"
    )]
    pub(crate) async fn reserve(&self, ask: &Ask) -> Result<Receipt, MeterRefusal> {
        self.counters.reserve(ask, self.clock.now_ms())
    }

    /// The same, for what ends with the exchange and is charged nothing.
    pub(crate) async fn enter(self: &Arc<Self>, ask: &Ask) -> Result<Passage, MeterRefusal> {
        let receipt = self.reserve(ask).await?;
        Ok(Passage { meters: self.clone(), receipt, is_over: false })
    }

    fn settle(&self, receipt: &Receipt, charges: impl Iterator<Item = Charge> + Clone) {
        self.counters.settle(receipt, charges, self.clock.now_ms());
    }
}

/// What was asked before the body was read: one of those under way at once, until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    meters: Arc<Meters>,
    receipt: Receipt,
    is_over: bool,
}

impl Passage {
    /// What the meters said.
    pub(crate) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// It is under way no longer.
    pub(crate) fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.meters.settle(&self.receipt, std::iter::empty());
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.end();
    }
}

/// Budget that is put aside until it is settled. Dropped unsettled, by a client that left or a panic, it charges what
/// is known.
#[derive(Debug)]
pub(crate) struct Held {
    meters: Arc<Meters>,
    reservation: Reservation,
    /// The attempt under way.
    attempt: Option<(Tariff, Usage)>,
    /// Attempts before it, whose providers had the prompt.
    before: Vec<Charge>,
    /// What was put aside for the attempts after those.
    more: Vec<Receipt>,
    is_settled: bool,
}

impl Held {
    /// Holds a reservation. Until something is sent, nothing is used.
    pub(crate) fn new(meters: Arc<Meters>, reservation: Reservation) -> Self {
        Self { meters, reservation, attempt: None, before: Vec::new(), more: Vec::new(), is_settled: false }
    }

    /// What the meters said.
    pub(crate) fn receipt(&self) -> &Receipt {
        self.reservation.receipt()
    }

    /// Another target is tried. What the one before used is used, so as much is put aside again, or it is not tried.
    pub(crate) async fn begin(&mut self, target: &AuthorisedTarget) -> Result<(), MeterRefusal> {
        let before = self.attempt.take().map(charge).filter(|charge| !charge.is_nothing());
        if let Some(before) = before {
            self.before.push(before);
            if let Some(ask) = self.reservation.again() {
                self.more.push(self.meters.reserve(&ask).await?);
            }
        }
        self.attempt = Some((self.reservation.tariff(target), Usage::default()));
        Ok(())
    }

    /// A provider has the prompt. A stream shows what it uses as it comes; of an answer in one piece nobody learns
    /// anything until it is there, so until then it costs what was put aside.
    pub(crate) fn sent(&mut self, target: &AuthorisedTarget, is_stream: bool) {
        self.used(if is_stream { self.prompt() } else { self.reservation.worst(target) });
    }

    /// The provider had the prompt and broke off by itself.
    pub(crate) fn failed(&mut self) {
        let prompt = self.prompt();
        if let Some((_, used)) = self.attempt.as_mut().filter(|(_, used)| *used != Usage::default()) {
            *used = prompt;
        }
    }

    fn prompt(&self) -> Usage {
        Usage { prompt_tokens: self.prompt_tokens(), ..Usage::default() }
    }

    /// What the attempt under way is known to have used.
    pub(crate) fn used(&mut self, usage: Usage) {
        if let Some((_, used)) = &mut self.attempt {
            *used = usage;
        }
    }

    /// The prompt as it was reckoned, for an answer that does not state its usage.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.reservation.prompt_tokens()
    }

    /// Charges what was used, once: what becomes known later changes nothing. Each attempt is charged to what was put
    /// aside for it.
    pub(crate) fn settle(&mut self) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        let all = charges(self.attempt, &self.before);
        let first = if self.more.is_empty() { usize::MAX } else { 1 };
        self.meters.settle(self.reservation.receipt(), all.clone().take(first));
        for (at, receipt) in self.more.iter().enumerate() {
            self.meters.settle(receipt, all.clone().skip(at + 1).take(1));
        }
    }

    /// What the attempt under way is charged, if anything.
    pub(crate) fn charged(&self) -> Option<Usage> {
        self.attempt.map(|(_, used)| used).filter(|used| *used != Usage::default())
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// What the exchange cost so far, in billionths of dollars; none if an attempt used what has no price.
    pub(crate) fn cost(&self) -> Option<u64> {
        charges(self.attempt, &self.before)
            .filter(|charge| !charge.is_nothing())
            .try_fold(0, |sum: u64, charge| Some(sum.saturating_add(charge.nanos?)))
    }
}

fn charge((tariff, used): (Tariff, Usage)) -> Charge {
    tariff.charge(used)
}

fn charges(attempt: Option<(Tariff, Usage)>, before: &[Charge]) -> impl Iterator<Item = Charge> + Clone {
    before.iter().copied().chain(attempt.map(charge))
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests;
