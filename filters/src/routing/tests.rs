//! The breaker under any sequence of outcomes, and the order of targets under every state of theirs.

use super::breaker::{Breaker, BreakerState};
use super::order::{Order, Outlook, Passed, Plan, Share, TargetState, hashed, order};
use crate::documents::routes::{BreakerDocument, Strategy};
use proptest::prelude::*;
use std::time::Duration;

const SETTINGS: BreakerDocument = BreakerDocument {
    failures: 3,
    window: Duration::from_secs(10),
    open_for: Duration::from_secs(5),
    retry_after_max: Duration::from_mins(1),
};
const OPEN_MS: u64 = 5_000;

#[test]
fn it_opens_after_failures_in_a_row_and_closes_when_one_request_finds_it_well() {
    let mut breaker = Breaker::default();
    assert!(!breaker.failed(0, 10, None, &SETTINGS));
    assert!(!breaker.failed(0, 20, None, &SETTINGS));
    assert_eq!(breaker.state(20), BreakerState::Closed);
    assert!(breaker.failed(0, 30, None, &SETTINGS), "the third in a row");
    assert_eq!(breaker.state(31), BreakerState::Open { until_ms: 30 + OPEN_MS });
    assert!(!breaker.probe(31));
    let later = 30 + OPEN_MS;
    assert!(breaker.probe(later) && !breaker.probe(later), "one at a time");
    assert!(breaker.failed(later, later + 1, None, &SETTINGS), "one failure is enough now");
    breaker.probe_ended();
    let later = later + 1 + OPEN_MS;
    assert!(breaker.probe(later));
    breaker.answers(later, later + 1);
    breaker.probe_ended();
    assert_eq!((breaker.state(later + 1), breaker.failures()), (BreakerState::Closed, 0));
}

#[test]
fn a_success_between_or_too_much_time_between_and_it_stays_closed() {
    let mut breaker = Breaker::default();
    for moment in 0..50 {
        assert!(!breaker.failed(moment, moment, None, &SETTINGS));
        assert!(!breaker.failed(moment, moment, None, &SETTINGS));
        breaker.succeeded(moment, moment);
    }
    for moment in (1..50).map(|step| step * 6_000) {
        assert!(!breaker.failed(moment, moment, None, &SETTINGS), "two of them in ten seconds");
    }
    let never = BreakerDocument { failures: 0, ..SETTINGS };
    assert!((0..50).all(|moment| !breaker.failed(moment, moment, None, &never)));
}

#[test]
fn an_answer_that_begins_is_no_answer_that_ends() {
    let mut breaker = Breaker::default();
    for moment in 0..2 {
        breaker.answers(moment, moment);
        assert!(!breaker.failed(moment, moment, None, &SETTINGS));
    }
    breaker.answers(3, 3);
    assert!(breaker.failed(3, 3, None, &SETTINGS), "streams that all break off are an outage");
}

#[test]
fn what_a_target_says_of_its_own_future_is_heeded_within_bounds() {
    let mut breaker = Breaker::default();
    assert!(breaker.failed(0, 100, Some(2_000), &SETTINGS), "at the first failure");
    assert_eq!(breaker.state(200), BreakerState::Open { until_ms: 2_100 });
    breaker.succeeded(50, 300);
    assert_eq!(breaker.state(301), BreakerState::Open { until_ms: 2_100 }, "that one began before");
    assert!(!breaker.failed(400, 400, Some(86_400_000), &SETTINGS), "longer, but open already");
    assert_eq!(breaker.state(500), BreakerState::Open { until_ms: 60_400 });
    breaker.succeeded(600, 700);
    assert_eq!(breaker.state(701), BreakerState::Closed, "who tried it all the same found it well");
    let deaf = BreakerDocument { retry_after_max: Duration::ZERO, ..SETTINGS };
    assert!(!breaker.failed(800, 800, Some(2_000), &deaf));
}

#[test]
fn old_news_changes_nothing() {
    let mut breaker = Breaker::default();
    let opened = (0..3).filter(|_| breaker.failed(0, 1_000, None, &SETTINGS)).count();
    assert_eq!(opened, 1);
    let after = 1_000 + OPEN_MS;
    assert!(breaker.probe(after));
    breaker.succeeded(after, after + 10);
    breaker.probe_ended();
    // Fifty requests from before the outage time out now.
    assert!((0..50).all(|_| !breaker.failed(500, after + 20, None, &SETTINGS)));
    assert!(breaker.is_well());
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Begin,
    Fail(usize, Option<u64>),
    Succeed(usize),
    Leave(usize),
}

fn step() -> impl Strategy_<Value = Step> {
    prop_oneof![
        3 => (0..4_000u64).prop_map(Step::Pass),
        4 => Just(Step::Begin),
        4 => (any::<usize>(), proptest::option::weighted(0.2, 0..100_000u64))
            .prop_map(|(which, after)| Step::Fail(which, after)),
        2 => any::<usize>().prop_map(Step::Succeed),
        1 => any::<usize>().prop_map(Step::Leave),
    ]
}

use proptest::strategy::Strategy as Strategy_;

proptest! {
    /// Whatever happens when: at most one probe is under way, and only while it is half-open or was; it is never open
    /// for longer than the settings allow; and once everyone has left and time has passed, one request may try.
    #[test]
    fn any_sequence_of_outcomes_keeps_the_breaker_honest(steps in prop::collection::vec(step(), 1..200)) {
        let (mut breaker, mut now) = (Breaker::default(), 0u64);
        let mut under_way: Vec<(u64, bool)> = Vec::new();
        let (mut failures_ever, mut was_asked) = (0u32, false);
        for step in steps {
            match step {
                Step::Pass(millis) => now += millis,
                Step::Begin => {
                    let before = breaker.state(now);
                    let is_probe = breaker.probe(now);
                    prop_assert_eq!(is_probe, before == BreakerState::HalfOpen { is_probed: false });
                    under_way.push((now, is_probe));
                }
                Step::Fail(which, after) if !under_way.is_empty() => {
                    let (began, is_probe) = under_way.swap_remove(which % under_way.len());
                    failures_ever += 1;
                    was_asked |= after.is_some();
                    let was = breaker.state(now);
                    let opened = breaker.failed(began, now, after, &SETTINGS);
                    let is_open = matches!(breaker.state(now), BreakerState::Open { .. });
                    prop_assert_eq!(opened, is_open && !matches!(was, BreakerState::Open { .. }));
                    prop_assert!(!opened || failures_ever >= 3 || was_asked);
                    if is_probe {
                        breaker.probe_ended();
                    }
                }
                Step::Succeed(which) if !under_way.is_empty() => {
                    let (began, is_probe) = under_way.swap_remove(which % under_way.len());
                    breaker.succeeded(began, now);
                    if is_probe {
                        breaker.probe_ended();
                    }
                }
                Step::Leave(which) if !under_way.is_empty() => {
                    let (_, is_probe) = under_way.swap_remove(which % under_way.len());
                    if is_probe {
                        breaker.probe_ended();
                    }
                }
                Step::Fail(..) | Step::Succeed(_) | Step::Leave(_) => {}
            }
            prop_assert!(under_way.iter().filter(|(_, is_probe)| *is_probe).count() <= 1);
            if let BreakerState::Open { until_ms } = breaker.state(now) {
                prop_assert!(until_ms - now <= 60_000, "open for {} ms", until_ms - now);
            }
        }
        for (_, is_probe) in under_way {
            if is_probe {
                breaker.probe_ended();
            }
        }
        now += 60_001;
        prop_assert!(breaker.state(now).closed_until_ms().is_none(), "nobody is locked out for ever");
        if breaker.probe(now) {
            breaker.succeeded(now, now);
            breaker.probe_ended();
        }
        prop_assert_eq!(breaker.state(now), BreakerState::Closed);
    }
}

fn shares(weights: &[u32]) -> Vec<Share> {
    let share = |(place, weight): (usize, &u32)| Share {
        hash: hashed(&[b"provider", &[place as u8]]),
        weight: *weight,
    };
    weights.iter().enumerate().map(share).collect()
}

fn plan(strategy: Strategy) -> Plan {
    Plan { strategy, ..Plan::default() }
}

fn tried(plan: Plan, weights: &[u32], outlook: &Outlook) -> Vec<usize> {
    order(plan, &shares(weights), outlook).tried
}

fn state() -> impl Strategy_<Value = TargetState> {
    let breaker = prop_oneof![
        3 => Just(BreakerState::Closed),
        1 => any::<bool>().prop_map(|is_probed| BreakerState::HalfOpen { is_probed }),
        2 => (1..9u64).prop_map(|until_ms| BreakerState::Open { until_ms }),
    ];
    let speed = proptest::option::of((0..4_000u64).prop_map(Duration::from_millis));
    (breaker, speed).prop_map(|(breaker, first_byte)| TargetState { breaker, first_byte })
}

fn strategy() -> impl Strategy_<Value = Strategy> {
    prop::sample::select(vec![
        Strategy::Fallback,
        Strategy::Weighted,
        Strategy::Sticky,
        Strategy::LeastLatency,
        Strategy::RoundRobin,
    ])
}

proptest! {
    /// Every order is some of the targets, each once, never none; open ones are in it only if nothing else is; slow ones
    /// come after all others; the same question has the same answer.
    #[test]
    fn an_order_is_sound_whatever_the_state(
        strategy in strategy(),
        weights in prop::collection::vec(0..5u32, 1..9),
        states in prop::collection::vec(state(), 0..9),
        (random, affinity) in any::<(u64, u64)>(),
        latency_max in proptest::option::of((0..4_000u64).prop_map(Duration::from_millis)),
    ) {
        let plan = Plan { strategy, affinity, latency_max };
        let outlook = Outlook { states, random, turn: random };
        let Order { tried, passed } = order(plan, &shares(&weights), &outlook);
        let mut once = tried.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), tried.len(), "{:?}", tried);
        prop_assert!(!tried.is_empty() && tried.iter().all(|place| *place < weights.len()));
        let at = |place: &usize| outlook.states.get(*place).copied().unwrap_or_default();
        let is_open = |place: &usize| at(place).breaker.closed_until_ms().is_some();
        let is_slow = |place: &usize| {
            latency_max.is_some_and(|most| at(place).first_byte.is_some_and(|usual| usual > most))
        };
        let usable = (0..weights.len()).filter(|place| !is_open(place)).count();
        if usable > 0 {
            prop_assert_eq!(tried.len(), usable);
            prop_assert!(!tried.iter().any(is_open));
        } else {
            let soonest = (0..weights.len()).min_by_key(|place| at(place).breaker.closed_until_ms());
            prop_assert_eq!(&tried, &[soonest.unwrap()]);
        }
        prop_assert!(tried.iter().map(is_slow).is_sorted(), "slow ones last: {:?}", tried);
        for (place, why) in &passed {
            match why {
                Passed::Open => prop_assert!(is_open(place) && !tried.contains(place)),
                Passed::Slow => prop_assert!(is_slow(place) && tried.contains(place)),
                Passed::SwitchedOff => prop_assert!(false, "the order knows no switches"),
            }
        }
        prop_assert_eq!(order(plan, &shares(&weights), &outlook), Order { tried, passed });
    }

    /// Any weights, with numbers that only count up: shares of the first place come out as written, within what chance
    /// does to so many draws.
    #[test]
    fn shares_converge_to_their_weights(weights in prop::collection::vec(0..20u32, 2..6), from in any::<u64>()) {
        const DRAWS: u64 = 4_000;
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let mut firsts = vec![0u32; weights.len()];
        for draw in 0..DRAWS {
            let outlook = Outlook { states: Vec::new(), random: from.wrapping_add(draw), turn: 0 };
            firsts[tried(plan(Strategy::Weighted), &weights, &outlook)[0]] += 1;
        }
        for (first, weight) in firsts.iter().zip(&weights) {
            let share = f64::from(*weight) / f64::from(total);
            let deviation = (share * (1.0 - share) / DRAWS as f64).sqrt();
            let seen = f64::from(*first) / DRAWS as f64;
            prop_assert!((seen - share).abs() <= 6.0 * deviation, "{seen} instead of {share}: {firsts:?}");
        }
    }

    /// A target that is passed over takes along only what stuck to it; the rest stays, and comes back when it does.
    #[test]
    fn a_target_that_goes_moves_its_own_share_alone(
        weights in prop::collection::vec(1..6u32, 2..9),
        gone in any::<prop::sample::Index>(),
        affinity in any::<u64>(),
    ) {
        let plan = Plan { strategy: Strategy::Sticky, affinity, latency_max: None };
        let before = tried(plan, &weights, &Outlook::default());
        let gone = gone.index(weights.len());
        let mut outlook = Outlook { states: vec![TargetState::default(); weights.len()], ..Outlook::default() };
        outlook.states[gone].breaker = BreakerState::Open { until_ms: 9 };
        let without: Vec<usize> = before.iter().copied().filter(|place| *place != gone).collect();
        prop_assert_eq!(tried(plan, &weights, &outlook), without);
    }
}

#[test]
fn sticky_places_are_the_same_in_every_version() {
    let firsts = |by: &[u8]| {
        let plan = Plan { strategy: Strategy::Sticky, affinity: hashed(&[by]), latency_max: None };
        tried(plan, &[1, 1, 1], &Outlook::default())
    };
    // A change of these moves every conversation of every installation to another target, once.
    assert_eq!([firsts(b"alice"), firsts(b"dave"), firsts(b"erin")], [[0, 1, 2], [1, 0, 2], [2, 1, 0]]);
}

#[test]
fn of_two_by_chance_the_faster_is_first_and_no_one_is_starved() {
    let millis = |millis: u64| TargetState {
        first_byte: Some(Duration::from_millis(millis)),
        ..TargetState::default()
    };
    let mut firsts = [0; 3];
    for random in 0..3_000 {
        let outlook = Outlook { states: vec![millis(900), millis(100), millis(500)], random, turn: 0 };
        let tried = tried(plan(Strategy::LeastLatency), &[1, 1, 1], &outlook);
        firsts[tried[0]] += 1;
    }
    assert_eq!(firsts[0], 0, "the slowest loses against either");
    assert!(firsts[1] > 1_800 && firsts[2] > 800, "{firsts:?}");
    let unknown = Outlook { states: vec![millis(1), TargetState::default()], ..Outlook::default() };
    assert_eq!(tried(plan(Strategy::LeastLatency), &[1, 1], &unknown), [1, 0], "it is time to know");
}

#[test]
fn turns_go_round_and_pass_over_who_is_not_well() {
    let turns = |states: &[TargetState]| -> Vec<Vec<usize>> {
        let outlook = |turn| Outlook { states: states.to_vec(), turn, ..Outlook::default() };
        (0..4).map(|turn| tried(plan(Strategy::RoundRobin), &[1, 1, 1], &outlook(turn))).collect()
    };
    assert_eq!(turns(&[]), [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    let open = TargetState { breaker: BreakerState::Open { until_ms: 9 }, first_byte: None };
    let well = TargetState::default();
    assert_eq!(turns(&[well, open, well]), [[0, 2], [2, 0], [0, 2], [2, 0]]);
    assert_eq!(turns(&[open, open, open]), [[0]; 4]);
}
