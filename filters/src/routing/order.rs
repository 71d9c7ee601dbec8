//! In which order are the targets of one request tried?
//!
//! Needs the targets, what is known of their state, and a random number; gives places in the list, first to last.
//! Deterministic: the same arguments give the same order. Who may be called at all is not asked here.

use super::breaker::BreakerState;
use crate::documents::routes::Strategy;
use std::time::Duration;

/// What is known of one target at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetState {
    /// Whether it may be tried.
    pub breaker: BreakerState,
    /// How long its answers usually take to begin; unknown if nobody asked for long.
    pub first_byte: Option<Duration>,
}

/// What is known of the targets of one request, in the order in which it names them, and chance.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// One for each target; a missing one is well.
    pub states: Vec<TargetState>,
    /// Any number, each as likely as the others.
    pub random: u64,
    /// How many requests had their turn before this one, where [`super::Candidates::takes_turns`].
    pub turn: u64,
}

/// How one request shares out its targets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) strategy: Strategy,
    /// What a sticky route sticks to, or whose turns are counted, as a number.
    pub(super) affinity: u64,
    pub(super) latency_max: Option<Duration>,
}

/// A target as far as its place in the order goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Of its name, the same in every process.
    pub(super) hash: u64,
    pub(super) weight: u32,
}

/// Why a target that would do is not tried, or not in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// An operator switched it off.
    SwitchedOff,
    /// Its breaker is open.
    Open,
    /// It is slow: it goes behind the others.
    Slow,
}

/// The order, and what was passed over for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) tried: Vec<usize>,
    pub(super) passed: Vec<(usize, Passed)>,
}

/// Puts targets in order: those that are well by the strategy, then the slow ones by the strategy. Open ones are
/// passed over; if there is nothing else, the one that closes first is tried alone, because what others saw of it is
/// no reason to refuse this request.
pub(super) fn order(plan: Plan, shares: &[Share], outlook: &Outlook) -> Order {
    let state = |place: usize| outlook.states.get(place).copied().unwrap_or_default();
    let mut order = Order::default();
    let (mut fast, mut slow) = (Vec::with_capacity(shares.len()), Vec::new());
    let mut soonest: Option<(u64, usize)> = None;
    for place in 0..shares.len() {
        let TargetState { breaker, first_byte } = state(place);
        if let Some(until_ms) = breaker.closed_until_ms() {
            soonest = Some(soonest.map_or((until_ms, place), |other| other.min((until_ms, place))));
            order.passed.push((place, Passed::Open));
        } else if plan.latency_max.is_some_and(|most| first_byte.is_some_and(|usual| usual > most)) {
            slow.push(place);
        } else {
            fast.push(place);
        }
    }
    if !fast.is_empty() {
        order.passed.extend(slow.iter().map(|place| (*place, Passed::Slow)));
    }
    for mut places in [fast, slow] {
        arrange(plan, shares, outlook, &mut places);
        order.tried.append(&mut places);
    }
    if order.tried.is_empty()
        && let Some((_, place)) = soonest
    {
        order.passed.retain(|(passed, _)| *passed != place);
        order.tried.push(place);
    }
    order
}

fn arrange(plan: Plan, shares: &[Share], outlook: &Outlook, places: &mut [usize]) {
    match plan.strategy {
        Strategy::Fallback => {}
        Strategy::Weighted => by_weight(outlook.random, shares, places),
        Strategy::Sticky => by_weight(plan.affinity, shares, places),
        Strategy::LeastLatency => by_latency(outlook, places),
        Strategy::RoundRobin => {
            // Among those that are left: who is passed over gives its turns to all others alike.
            let next = outlook.turn.checked_rem(places.len() as u64).unwrap_or(0);
            places.rotate_left(next as usize);
        }
    }
}

/// Weighted rendezvous hashing: each target draws a number from the seed and its own name alone, so that one that goes
/// takes along nobody's place but its own. With a random seed it is drawing lots by weight, without putting back.
fn by_weight(seed: u64, shares: &[Share], places: &mut [usize]) {
    let lot = |place: &usize| {
        let Some(share) = shares.get(*place) else { return f64::INFINITY };
        // 53 random bits, from 0 excluded to 1 included.
        let drawn = ((mixed(seed ^ mixed(share.hash)) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        // When the first of as many clocks as the weight says would ring; a weight of 0 never does.
        -drawn.ln() / f64::from(share.weight)
    };
    let mut lots: Vec<(f64, usize)> = places.iter().map(|place| (lot(place), *place)).collect();
    lots.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    places.iter_mut().zip(lots).for_each(|(place, (_, drawn))| *place = drawn);
}

/// The power of two choices: the better one of two by chance, then the others as they are written. The best of all
/// would be overrun by everybody at once.
fn by_latency(outlook: &Outlook, places: &mut [usize]) {
    let count = places.len() as u64;
    if count < 2 {
        return;
    }
    let drawn = mixed(outlook.random);
    let one = drawn % count;
    let other = (one + 1 + (drawn >> 32) % (count - 1)) % count;
    let usual = |at: u64| {
        let state = places.get(at as usize).and_then(|place| outlook.states.get(*place));
        // Nothing is known of it: then it is time to know.
        state.and_then(|state| state.first_byte).unwrap_or_default()
    };
    let best = if usual(other) < usual(one) { other } else { one };
    if let Some(upto_best) = places.get_mut(..=best as usize) {
        upto_best.rotate_right(1);
    }
}

/// Spreads a number over all 64 bits (the finaliser of `SplitMix64`, Steele, Lea and Flood 2014).
pub(super) fn mixed(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number for a text, the same in every process and version (FNV-1a).
pub(super) fn hashed(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().chain(&[0xff]));
    mixed(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}
