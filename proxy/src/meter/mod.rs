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
        Ok(Passage { meters: self.clone(), receipt })
    }

    fn settle(&self, receipt: &Receipt, charges: impl Iterator<Item = Charge> + Clone) {
        self.counters.settle(receipt, charges, self.clock.now_ms());
    }
}

/// What was asked before the body was read: one of those under way at once, until it is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    meters: Arc<Meters>,
    receipt: Receipt,
}

impl Passage {
    /// What the meters said.
    pub(crate) fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.meters.settle(&self.receipt, std::iter::empty());
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
    settled: Vec<Charge>,
}

impl Held {
    /// Holds a reservation. Until something is sent, nothing is used.
    pub(crate) fn new(meters: Arc<Meters>, reservation: Reservation) -> Self {
        Self { meters, reservation, attempt: None, settled: Vec::new() }
    }

    /// What the meters said.
    pub(crate) fn receipt(&self) -> &Receipt {
        self.reservation.receipt()
    }

    /// Another target is tried. What the one before used is used.
    pub(crate) fn begin(&mut self, target: &AuthorisedTarget) {
        let before = self.attempt.replace((self.reservation.tariff(target), Usage::default()));
        self.settled.extend(before.map(charge).filter(|charge| !charge.is_nothing()));
    }

    /// A provider has the prompt: from now on it costs at least that.
    pub(crate) fn sent(&mut self) {
        let prompt_tokens = self.reservation.prompt_tokens();
        if let Some((_, used)) = &mut self.attempt {
            used.prompt_tokens = used.prompt_tokens.max(prompt_tokens);
        }
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

    /// What the exchange cost so far, in billionths of dollars; none if an attempt used what has no price.
    pub(crate) fn cost(&self) -> Option<u64> {
        charges(self.attempt, &self.settled)
            .filter(|charge| !charge.is_nothing())
            .try_fold(0, |sum: u64, charge| Some(sum.saturating_add(charge.nanos?)))
    }
}

fn charge((tariff, used): (Tariff, Usage)) -> Charge {
    tariff.charge(used)
}

fn charges(attempt: Option<(Tariff, Usage)>, settled: &[Charge]) -> impl Iterator<Item = Charge> + Clone {
    settled.iter().copied().chain(attempt.map(charge))
}

impl Drop for Held {
    fn drop(&mut self) {
        self.meters.settle(self.reservation.receipt(), charges(self.attempt, &self.settled));
    }
}

#[cfg(test)]
mod tests;
