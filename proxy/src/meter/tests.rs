//! What holds for every order of questions and ends, on any clock: no hard limit is passed, and at rest every counter
//! has what was used and nothing else.

use super::counters::Counters;
use super::snapshot::{Files, Flaw, SnapshotError};
use super::{Kept, Meters};
use palisade_filters::quota::{
    Ask, Charge, CounterId, DAY_MS, Limit, LimitHit, MINUTE_MS, MeterRefusal, Receipt, Unit, Window,
};
use proptest::prelude::*;
use std::sync::Arc;

const ALL: u64 = u64::MAX;

/// A counter of its own for each kind and organisation.
fn limit(window: Window, unit: Unit, hard: Option<u64>) -> Limit {
    let counter = CounterId { organisation: 7, counter: (window as u64) << 8 | unit as u64 };
    Limit { counter, subject: "key k".into(), model: None, unit, window, hard, soft: None }
}

fn ask(limits: &[Limit], tokens: u64) -> Ask {
    Ask::new(limits.to_vec().into(), tokens, tokens * 1_000)
}

fn hit(answer: Result<Receipt, MeterRefusal>) -> LimitHit {
    match answer {
        Err(MeterRefusal::Hit(hit)) => *hit,
        other => panic!("no limit was hit: {other:?}"),
    }
}

/// What counters hold, by their ids, the empty ones left out.
fn held(counters: &Counters, now_ms: u64) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    counters.sweep(now_ms, |id, counter| {
        let current = if counter.window == counter.over.index(now_ms) { counter.current } else { 0 };
        all.push((id.counter, current));
    });
    all.retain(|(_, current)| *current > 0);
    all.sort_unstable();
    all
}

fn settle(counters: &Counters, receipt: &Receipt, tokens: u64, now_ms: u64) {
    let charge = Charge { mask: ALL, tokens, nanos: Some(tokens * 1_000) };
    counters.settle(receipt, std::iter::once(charge), now_ms);
}

#[test]
fn all_or_none_is_added() {
    let counters = Counters::new();
    let requests = limit(Window::Day, Unit::Requests, Some(10));
    let tokens = limit(Window::Day, Unit::Tokens, Some(100));
    let both = [requests.clone(), tokens.clone()];
    assert_eq!(hit(counters.reserve(&ask(&both, 101), 0)).limit, tokens);
    assert_eq!(held(&counters, 0), []);
    let receipt = counters.reserve(&ask(&both, 90), 0).unwrap();
    let left: Vec<Option<u64>> =
        receipt.nearest.iter().map(|nearest| nearest.map(|nearest| nearest.left)).collect();
    assert_eq!(left, [Some(9), Some(10), None]);
}

#[test]
fn the_limit_that_bites_longest_is_told() {
    let counters = Counters::new();
    let limits = [
        limit(Window::Minute, Unit::Tokens, Some(50)),
        limit(Window::Month, Unit::Tokens, Some(50)),
        limit(Window::Day, Unit::Tokens, Some(50)),
    ];
    counters.reserve(&ask(&limits, 50), 5).unwrap();
    let told = hit(counters.reserve(&ask(&limits, 1), 6));
    assert_eq!((told.limit.window, told.left, told.resets_ms), (Window::Month, 0, 31 * DAY_MS));
    assert_eq!(told.retry_after_ms, Some(31 * DAY_MS - 6));
    // What can never be is worse than what can be later.
    let minute =
        [limit(Window::Minute, Unit::Tokens, Some(50)), limit(Window::Month, Unit::Tokens, Some(999))];
    assert_eq!(hit(counters.reserve(&ask(&minute, 51), 7)).retry_after_ms, None);
}

#[test]
fn a_soft_limit_refuses_nothing_and_says_that_it_is_passed() {
    let counters = Counters::new();
    let mut both = limit(Window::Day, Unit::Requests, Some(4));
    both.soft = Some(2);
    let question = ask(&[both], 0);
    let passed: Vec<u64> = (0..4).map(|_| counters.reserve(&question, 0).unwrap().passed).collect();
    assert_eq!(passed, [0, 0, 1, 1]);
    assert!(counters.reserve(&question, 0).is_err(), "the hard bound of the same counter holds besides");
    let mut soft = limit(Window::Day, Unit::Tokens, None);
    soft.soft = Some(1);
    assert_eq!(counters.reserve(&ask(&[soft], 1_000_000), 0).unwrap().passed, 1);
}

#[test]
fn a_minute_slides_and_a_day_ends_at_midnight() {
    let counters = Counters::new();
    let minute = limit(Window::Minute, Unit::Tokens, Some(10));
    let day = limit(Window::Day, Unit::Tokens, Some(10));
    assert!(counters.reserve(&ask(&[minute.clone(), day.clone()], 10), DAY_MS - 1).is_ok());
    let one = ask(&[minute], 1);
    assert!(counters.reserve(&one, DAY_MS + 1).is_err(), "a second later the minute is not over");
    assert!(counters.reserve(&one, DAY_MS + 30_000).is_ok(), "half of it is");
    assert!(counters.reserve(&ask(&[day], 10), DAY_MS + 30_000).is_ok());
}

#[test]
fn a_month_ends_with_its_last_day() {
    let leap = 1_835_395_200_000; // 2028-02-29T00:00:00Z
    let counters = Counters::new();
    let month = ask(&[limit(Window::Month, Unit::Tokens, Some(10))], 10);
    assert!(counters.reserve(&month, leap - DAY_MS).is_ok());
    let told = hit(counters.reserve(&month, leap + DAY_MS - 1));
    assert_eq!((told.resets_ms, told.retry_after_ms), (leap + DAY_MS, Some(1)));
    assert!(counters.reserve(&month, leap + DAY_MS).is_ok());
}

#[test]
fn who_waits_as_long_as_told_is_admitted_and_not_much_sooner() {
    for (most, at) in [(1, 0), (1, 59_999), (7, 12_345), (100, 31_000)] {
        let counters = Counters::new();
        let question = |amount| ask(&[limit(Window::Minute, Unit::Tokens, Some(most))], amount);
        assert!(counters.reserve(&question(most), at).is_ok());
        let wait = hit(counters.reserve(&question(1), at + 1)).retry_after_ms.unwrap();
        assert!(counters.reserve(&question(1), at + 1 + wait).is_ok(), "{most} at {at}: {wait} ms");
        assert!(wait <= 2 * MINUTE_MS);
    }
}

#[test]
fn slots_are_given_back_and_are_in_no_window() {
    let counters = Counters::new();
    let question = ask(&[limit(Window::AtOnce, Unit::Requests, Some(2))], 0);
    let slots: Vec<Receipt> = (0..2).map(|_| counters.reserve(&question, 0).unwrap()).collect();
    let told = hit(counters.reserve(&question, 400 * DAY_MS));
    assert_eq!((told.limit.window, told.retry_after_ms), (Window::AtOnce, Some(1_000)));
    counters.settle(&slots[0], std::iter::empty(), 400 * DAY_MS);
    assert!(counters.reserve(&question, 400 * DAY_MS).is_ok());
    assert!(counters.reserve(&question, 400 * DAY_MS).is_err());
}

#[test]
fn what_is_taken_back_was_never_anothers() {
    let counters = Counters::new();
    let question = |amount| ask(&[limit(Window::Minute, Unit::Tokens, Some(20_000))], amount);
    let first = counters.reserve(&question(15_000), 0).unwrap();
    let later = 2 * MINUTE_MS + 1;
    assert!(counters.reserve(&question(15_000), later).is_ok());
    settle(&counters, &first, 2, later + 1);
    assert!(counters.reserve(&question(6_000), later + 2).is_err());
}

#[test]
fn a_charge_counts_only_in_the_limits_that_it_concerns() {
    let counters = Counters::new();
    let limits = [limit(Window::Day, Unit::Tokens, None), limit(Window::Month, Unit::Tokens, None)];
    let receipt = counters.reserve(&ask(&limits, 100), 0).unwrap();
    let charges =
        [Charge { mask: 0b01, tokens: 30, nanos: None }, Charge { mask: 0b11, tokens: 5, nanos: None }];
    counters.settle(&receipt, charges.into_iter(), 1);
    let id = |window| limit(window, Unit::Tokens, None).counter.counter;
    assert_eq!(held(&counters, 1), [(id(Window::Day), 35), (id(Window::Month), 5)]);
}

#[tokio::test]
async fn a_passage_ends_even_by_a_panic() {
    let meters = Arc::new(Meters::new());
    let question = ask(&[limit(Window::AtOnce, Unit::Requests, Some(1))], 0);
    let passage = meters.enter(&question).await.unwrap();
    assert!(meters.enter(&question).await.is_err());
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _passage = passage;
        panic!("on purpose");
    }));
    assert!(broken.is_err());
    assert!(meters.enter(&question).await.is_ok());
}

/// One step of a story: a question, or the end of an exchange that is under way.
#[derive(Clone, Debug)]
enum Step {
    Ask { tokens: u64 },
    End { which: prop::sample::Index, used: u64 },
    Pass { ms: u64 },
    SetBack { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..400_u64).prop_map(|tokens| Step::Ask { tokens }),
        3 => (any::<prop::sample::Index>(), 0..600_u64).prop_map(|(which, used)| Step::End { which, used }),
        2 => (0..DAY_MS * 2 / 3).prop_map(|ms| Step::Pass { ms }),
        1 => (0..DAY_MS * 3).prop_map(|ms| Step::SetBack { ms }),
    ];
    prop::collection::vec(step, 1..120)
}

fn six() -> [Limit; 6] {
    [
        limit(Window::Day, Unit::Tokens, Some(1_500)),
        limit(Window::Month, Unit::Tokens, Some(6_000)),
        limit(Window::Day, Unit::Dollars, Some(1_400_000)),
        limit(Window::Month, Unit::Requests, Some(40)),
        limit(Window::Minute, Unit::Tokens, Some(1_000)),
        limit(Window::AtOnce, Unit::Requests, Some(4)),
    ]
}

proptest! {
    /// Reserved, settled, abandoned in any order, under a clock that jumps either way: an accepted question never
    /// leads past a hard limit, and at rest the day's counters hold exactly what was used in the day.
    #[test]
    fn no_story_passes_a_limit_and_nothing_stays_reserved(steps in steps()) {
        let counters = Counters::new();
        let limits = six();
        let (mut now, mut latest) = (40 * DAY_MS, 40 * DAY_MS);
        let mut under_way: Vec<(Receipt, u64)> = Vec::new();
        // (day, tokens) as they are settled: what was put aside counts in its own day, what came on top in the last. The
        // counters know of a moment when they are asked in it.
        let mut log: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Ask { tokens } => {
                    latest = latest.max(now);
                    if let Ok(receipt) = counters.reserve(&ask(&limits, tokens), now) {
                        prop_assert!(under_way.len() < 4);
                        under_way.push((receipt, tokens));
                        for limit in limits.iter().filter(|limit| limit.window != Window::Minute) {
                            let used = held(&counters, latest).into_iter().find(|(id, _)| *id == limit.counter.counter);
                            prop_assert!(used.is_none_or(|(_, used)| used <= limit.hard.unwrap()), "{limit:?}");
                        }
                    }
                }
                Step::End { which, used } if !under_way.is_empty() => {
                    latest = latest.max(now);
                    let (receipt, reserved) = under_way.swap_remove(which.index(under_way.len()));
                    settle(&counters, &receipt, used, now);
                    log.push((Window::Day.index(receipt.at_ms), used.min(reserved)));
                    log.push((Window::Day.index(latest), used.saturating_sub(reserved)));
                }
                Step::End { .. } => {}
                Step::Pass { ms } => now += ms,
                Step::SetBack { ms } => now -= ms.min(now),
            }
        }
        for (receipt, _) in under_way.drain(..) {
            counters.settle(&receipt, std::iter::empty(), now);
        }
        latest = latest.max(now);
        let today = Window::Day.index(latest);
        let used: u64 = log.iter().filter(|(day, _)| *day == today).map(|(_, tokens)| tokens).sum();
        let at_rest = held(&counters, latest);
        let count = |window, unit| {
            let id = limit(window, unit, None).counter.counter;
            at_rest.iter().find(|(known, _)| *known == id).map_or(0, |(_, count)| *count)
        };
        prop_assert_eq!(count(Window::Day, Unit::Tokens), used);
        prop_assert_eq!(count(Window::Day, Unit::Dollars), used * 1_000);
        prop_assert_eq!(count(Window::AtOnce, Unit::Requests), 0);
    }

    /// What is written reads the same, and any changed byte is noticed.
    #[test]
    fn a_changed_file_is_no_state(at in any::<prop::sample::Index>(), change in 1..=255_u8, amount in 1..500_u64) {
        let room = tempfile::tempdir().unwrap();
        let meters = Arc::new(Meters::new());
        meters.counters.reserve(&ask(&six(), amount), meters.clock.now_ms()).unwrap();
        Kept::restore(meters.clone(), room.path().to_owned()).unwrap().keep().unwrap().finish().unwrap();
        std::fs::remove_file(room.path().join("counters.before")).unwrap();
        let path = room.path().join("counters");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        std::fs::write(&path, &bytes).unwrap();
        let files = Files::open(room.path().to_owned()).unwrap();
        let damaged = matches!(files.load(), Err(SnapshotError::Damaged { .. }));
        prop_assert!(damaged, "byte {at}");
    }
}

#[test]
fn threads_together_never_pass_a_limit_and_leave_what_they_used() {
    let counters = Counters::new();
    let limits =
        [limit(Window::Day, Unit::Tokens, Some(1_000)), limit(Window::AtOnce, Unit::Requests, Some(3))];
    let accepted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u64)
            .map(|thread| {
                let (counters, limits) = (&counters, &limits);
                scope.spawn(move || {
                    let mut accepted = 0;
                    for turn in 0..500 {
                        let Ok(receipt) = counters.reserve(&ask(limits, 90), DAY_MS + turn) else { continue };
                        let used = (thread + turn) % 7;
                        settle(counters, &receipt, used, DAY_MS + turn);
                        accepted += used;
                    }
                    accepted
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    assert!((500..=1_000).contains(&accepted), "{accepted}");
    let id = limit(Window::Day, Unit::Tokens, None).counter.counter;
    assert_eq!(held(&counters, DAY_MS), [(id, accepted)]);
}

/// A process that ends, and one that begins, on the same folder.
fn restarted(folder: &std::path::Path) -> Arc<Meters> {
    let meters = Arc::new(Meters::new());
    Kept::restore(meters.clone(), folder.to_owned()).unwrap();
    meters
}

#[test]
fn budgets_and_rates_outlive_the_process_and_slots_do_not() {
    let room = tempfile::tempdir().unwrap();
    let meters = restarted(room.path());
    let keeper = Kept::restore(meters.clone(), room.path().to_owned()).unwrap().keep().unwrap();
    let now = meters.clock.now_ms();
    meters.counters.reserve(&ask(&six(), 300), now).unwrap();
    keeper.finish().unwrap();
    let after = restarted(room.path());
    let mut before = held(&meters.counters, now);
    before.retain(|(id, _)| id >> 8 != Window::AtOnce as u64);
    assert_eq!(before.len(), 5);
    assert_eq!(held(&after.counters, now), before);
}

#[test]
fn a_damaged_file_gives_way_to_the_one_before_and_is_kept_aside() {
    let room = tempfile::tempdir().unwrap();
    let meters = restarted(room.path());
    let keeper = Kept::restore(meters.clone(), room.path().to_owned()).unwrap().keep().unwrap();
    let now = meters.clock.now_ms();
    meters.counters.reserve(&ask(&six(), 300), now).unwrap();
    keeper.finish().unwrap();
    // A second process without a change: both files have the state.
    Kept::restore(restarted(room.path()), room.path().to_owned()).unwrap().keep().unwrap().finish().unwrap();
    std::fs::write(room.path().join("counters"), b"PALMETER, but not").unwrap();
    let after = restarted(room.path());
    assert_eq!(held(&after.counters, now).len(), 5);
    let names: Vec<String> = std::fs::read_dir(room.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("counters.damaged.")), "{names:?}");
}

#[test]
fn without_a_whole_file_no_process_begins() {
    let room = tempfile::tempdir().unwrap();
    std::fs::write(room.path().join("counters"), b"").unwrap();
    let error = Kept::restore(Arc::new(Meters::new()), room.path().to_owned()).unwrap_err();
    assert!(error.to_string().contains("move it away"), "{error}");
    assert!(room.path().join("counters").exists(), "it stays where it is");
    let SnapshotError::Damaged { flaw, .. } = error else { panic!("{error}") };
    assert_eq!(flaw, Flaw::Kind);
}

#[test]
fn what_a_crash_left_half_written_is_removed() {
    let room = tempfile::tempdir().unwrap();
    let left = room.path().join(".counters.0193a1f0-0000-7000-8000-000000000000");
    let others = [room.path().join(".counters.of-mine"), room.path().join("counters.damaged.x")];
    for path in others.iter().chain([&left]) {
        std::fs::write(path, b"half").unwrap();
    }
    let kept = Kept::restore(Arc::new(Meters::new()), room.path().to_owned()).unwrap();
    kept.keep().unwrap().finish().unwrap();
    assert!(!left.exists());
    assert!(others.iter().all(|path| path.exists()), "what is not ours stays");
}

#[test]
fn a_second_process_takes_over_and_the_first_writes_no_more() {
    let room = tempfile::tempdir().unwrap();
    let first = restarted(room.path());
    let keeper = Kept::restore(first.clone(), room.path().to_owned()).unwrap().keep().unwrap();
    let second = restarted(room.path());
    let successor = Kept::restore(second.clone(), room.path().to_owned()).unwrap().keep().unwrap();
    first.counters.reserve(&ask(&six(), 300), first.clock.now_ms()).unwrap();
    match keeper.finish() {
        // It noticed by itself, or with its last state.
        Ok(()) | Err(SnapshotError::TakenOver(_)) => {}
        Err(error) => panic!("{error}"),
    }
    successor.finish().unwrap();
    assert_eq!(held(&restarted(room.path()).counters, second.clock.now_ms()), []);
}

#[test]
fn a_clock_that_was_set_back_between_processes_opens_no_budget() {
    let counters = Counters::new();
    let day = limit(Window::Day, Unit::Tokens, Some(1_000));
    counters.reserve(&ask(std::slice::from_ref(&day), 700), 5 * DAY_MS).unwrap();
    counters.reserve(&ask(std::slice::from_ref(&day), 200), 6 * DAY_MS).unwrap();
    let after = Counters::new();
    let yesterday = 6 * DAY_MS - 1;
    counters.sweep(6 * DAY_MS, |id, counter| after.restore(id, *counter, yesterday));
    let told = hit(after.reserve(&ask(std::slice::from_ref(&day), 101), yesterday));
    assert_eq!(told.left, 100, "the day is the one before, and both its parts count");
    let long_ago = Counters::new();
    counters.sweep(6 * DAY_MS, |id, counter| long_ago.restore(id, *counter, DAY_MS));
    assert_eq!(hit(long_ago.reserve(&ask(&[day], 801), DAY_MS)).left, 800);
}
