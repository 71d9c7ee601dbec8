//! Which rules could go on with what stands here? One automaton for all rules that digits anchor.
//!
//! Needs the automata of the rules; proves that none of them matches which is not in the set that a walk ends with. It
//! tells bytes apart as far as [`SYMBOLS`] kinds do, all digits being one, and knows as many states as are likeliest to
//! be met in ordinary texts: where it knows no further, what is still possible is in the set. Most numbers of a text
//! end after a few bytes, with none.

use super::super::anchors::commonness;
use super::super::automaton::Fast;
use super::super::matcher::Matcher;
use regex_automata::util::primitives::StateID;
use std::collections::{BTreeMap, BinaryHeap};

/// Kinds of bytes.
pub(super) const SYMBOLS: usize = 64;
/// So many states are known for each rule beyond a few, which are asked sooner than a table is made; and so many of
/// all.
const STATES_OF_RULE: usize = 16;
pub(super) const FEW_RULES: usize = 64;
const STATES_MAX: usize = 4096;
/// And no more different sets.
const SETS_MAX: usize = 4096;
/// Marks the number of a set, where others are those of states.
const SET: State = 1 << 15;

/// The number of a state, or that of a set.
pub(super) type State = u16;
/// The set of no rules: the first one.
pub(super) const OVER: State = SET;

pub(super) const DIGIT: u8 = 0;
const SMALL: u8 = 1;
const CAPITAL: u8 = 27;
const SPACE: u8 = 53;
const BLANK: u8 = 60;
const BEYOND_ASCII: u8 = 63;
/// Signs that separate numbers, each a kind of its own, behind [`SPACE`].
const SIGNS: &[u8] = b"-./:,_";
const QUOTE: u8 = 61;
const OTHER: u8 = 62;

/// How often a sign is this one, in a hundred.
fn share(symbol: u8) -> f32 {
    match symbol {
        SPACE => 70.0,
        54 | 55 | 58 => 5.0,
        BLANK => 4.0,
        BEYOND_ASCII => 0.5,
        _ => 2.0,
    }
}

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
static SYMBOL: [u8; 256] = {
    let mut symbols = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let of = byte as u8;
        symbols[byte] = match of {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' => SMALL + (of - b'a'),
            b'A'..=b'Z' => CAPITAL + (of - b'A'),
            b' ' => SPACE,
            b'\t' | b'\r' | b'\n' => BLANK,
            b'"' | b'\'' => QUOTE,
            0x80.. => BEYOND_ASCII,
            _ => OTHER,
        };
        byte += 1;
    }
    let mut sign = 0;
    while sign < SIGNS.len() {
        symbols[SIGNS[sign] as usize] = SPACE + 1 + sign as u8;
        sign += 1;
    }
    symbols
};

pub(super) fn symbol(byte: u8) -> u8 {
    SYMBOL.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// A rule of this number in its order, in a state of its automaton; without one, whatever follows.
type Place = (usize, Option<StateID>);

/// Where a symbol leads to; to no state where a match may have ended.
type Step = (u8, Option<StateID>);

/// A rule as it is put in.
pub(super) struct Member<'a> {
    pub(super) automaton: &'a Fast,
    pub(super) matcher: &'a Matcher,
    /// Bytes of a match before its digits.
    pub(super) lead: usize,
}

/// The automaton of all.
#[derive(Debug, Default)]
pub(super) struct Forward {
    /// For each state and symbol the next state, or the number of a set.
    table: Vec<[u16; SYMBOLS]>,
    /// For each state the set of rules that are possible in it.
    sets: Vec<u16>,
    /// Where walks begin.
    starts: Vec<u16>,
}

impl Forward {
    /// Puts rules together. Walks begin in one of several ways, each with some of the rules, by their numbers. Returns,
    /// beside it, the sets of rules that its numbers are of; the first one is empty.
    pub(super) fn new(members: &[Member<'_>], starts: &[Vec<usize>]) -> (Self, Vec<Vec<usize>>) {
        let mut maker = Maker {
            members,
            states: vec![Vec::new()],
            numbers: BTreeMap::from([(Vec::new(), 0)]),
            likely: vec![0.0],
            steps: BTreeMap::new(),
        };
        let starts: Vec<usize> = starts.iter().map(|rules| maker.start(rules)).collect();
        maker.make(&starts)
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.table) + size_of_val(&*self.sets) + size_of_val(&*self.starts)
    }

    /// Whether it knows no state, as there are few rules.
    pub(super) fn is_trivial(&self) -> bool {
        self.table.is_empty()
    }

    /// Where walks begin, in the order of the ways.
    pub(super) fn starts(&self) -> impl Iterator<Item = State> {
        self.starts.iter().copied()
    }

    /// Where a byte of a kind leads to. Beyond what is known nothing changes.
    pub(super) fn step(&self, from: State, symbol: u8) -> State {
        let row = self.table.get(usize::from(from));
        row.and_then(|row| row.get(usize::from(symbol))).copied().unwrap_or(from)
    }

    /// The number of the set of rules that could match digits that a text begins with.
    #[inline]
    pub(super) fn walk(&self, text: &[u8], start: usize) -> u16 {
        let mut at = self.starts.get(start).copied().unwrap_or(SET);
        for byte in text {
            let Some(row) = self.table.get(usize::from(at)) else { return at ^ SET };
            at = row.get(usize::from(symbol(*byte))).copied().unwrap_or(SET);
        }
        self.sets.get(usize::from(at)).copied().unwrap_or(at ^ SET)
    }
}

/// What is known while it is put together.
struct Maker<'a> {
    members: &'a [Member<'a>],
    states: Vec<Vec<Place>>,
    numbers: BTreeMap<Vec<Place>, usize>,
    /// How likely a walk comes to each.
    likely: Vec<f32>,
    /// Where each state of a rule's automaton leads to, by symbol.
    steps: BTreeMap<(usize, StateID), Vec<Step>>,
}

impl Member<'_> {
    /// Where a state leads to.
    fn steps(&self, state: StateID) -> Vec<Step> {
        let step = |byte| {
            let next = self.automaton.next(state, byte)?;
            let may_end = self.automaton.is_match(next) && self.matcher.ends_before(byte);
            Some((symbol(byte), Some(next).filter(|_| !may_end)))
        };
        let mut steps: Vec<_> = (0..=u8::MAX).filter_map(step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

impl Maker<'_> {
    fn number(&mut self, mut places: Vec<Place>) -> usize {
        places.sort_unstable();
        places.dedup();
        // Of a rule that is possible whatever follows, nothing else matters.
        let mut any = None;
        places.retain(|(rule, state)| {
            any = if state.is_none() { Some(*rule) } else { any };
            state.is_none() || any != Some(*rule)
        });
        let next = self.states.len();
        let number = *self.numbers.entry(places.clone()).or_insert(next);
        if number == next {
            self.states.push(places);
            self.likely.push(0.0);
        }
        number
    }

    fn start(&mut self, rules: &[usize]) -> usize {
        let mut places: Vec<Place> = Vec::new();
        for rule in rules {
            let Some(member) = self.members.get(*rule) else { continue };
            let mut states = vec![member.automaton.start()];
            for _ in 0..member.lead {
                let next = |byte| states.iter().filter_map(move |state| member.automaton.next(*state, byte));
                let mut behind: Vec<StateID> = (0..=u8::MAX).flat_map(next).collect();
                behind.sort_unstable();
                behind.dedup();
                states = behind;
            }
            places.extend(states.into_iter().map(|state| (*rule, Some(state))));
        }
        self.number(places)
    }

    /// The states behind one, by symbol.
    fn behind(&mut self, number: usize) -> [usize; SYMBOLS] {
        let places = self.states.get(number).cloned().unwrap_or_default();
        let mut behind: [Vec<Place>; SYMBOLS] = std::array::from_fn(|_| Vec::new());
        for (rule, state) in places {
            let Some((member, state)) = self.members.get(rule).zip(state) else {
                for behind in &mut behind {
                    behind.push((rule, None));
                }
                continue;
            };
            let steps = self.steps.entry((rule, state)).or_insert_with(|| member.steps(state));
            for (symbol, next) in steps {
                if let Some(behind) = behind.get_mut(usize::from(*symbol)) {
                    behind.push((rule, *next));
                }
            }
        }
        behind.map(|places| self.number(places))
    }

    /// Whether there is anything to tell behind a state.
    fn goes_on(&self, number: usize) -> bool {
        self.states.get(number).is_some_and(|places| places.iter().any(|(_, state)| state.is_some()))
    }

    fn make(mut self, starts: &[usize]) -> (Forward, Vec<Vec<usize>>) {
        let most = STATES_MAX.min(self.members.len().saturating_sub(FEW_RULES) * STATES_OF_RULE);
        let mut rows: Vec<(usize, [usize; SYMBOLS])> = Vec::new();
        let mut known: BTreeMap<usize, u16> = BTreeMap::new();
        let symbols = 0..SYMBOLS as u8;
        let follow = |first: u8| symbols.clone().map(|second| follows(first, second)).collect();
        let follow: Vec<Vec<f32>> = symbols.clone().map(follow).collect();
        let mut open = BinaryHeap::new();
        for start in starts {
            open.push(Open { likely: 1.0, number: *start, symbol: DIGIT });
        }
        while let Some(Open { likely, number, symbol: before }) = open.pop().filter(|_| rows.len() < most) {
            if known.contains_key(&number) || !self.goes_on(number) {
                continue;
            }
            known.insert(number, rows.len() as u16);
            let behind = self.behind(number);
            let follow = follow.get(usize::from(before)).map(Vec::as_slice).unwrap_or_default();
            for ((symbol, next), follows) in (0..).zip(behind).zip(follow) {
                if let Some(sum) = self.likely.get_mut(next) {
                    *sum += likely * follows;
                    open.push(Open { likely: *sum, number: next, symbol });
                }
            }
            rows.push((number, behind));
        }
        self.lay_out(&rows, &known, starts)
    }

    fn lay_out(
        &self,
        rows: &[(usize, [usize; SYMBOLS])],
        known: &BTreeMap<usize, u16>,
        starts: &[usize],
    ) -> (Forward, Vec<Vec<usize>>) {
        let mut sets: BTreeMap<Vec<usize>, u16> = BTreeMap::from([(Vec::new(), 0)]);
        let all: Vec<usize> = (0..self.members.len()).collect();
        let mut set = |number: usize| {
            let places = self.states.get(number).map(Vec::as_slice).unwrap_or_default();
            let mut rules: Vec<usize> = places.iter().map(|(rule, _)| *rule).collect();
            rules.dedup();
            if sets.len() >= SETS_MAX && !sets.contains_key(&rules) {
                rules.clone_from(&all);
            }
            let next = sets.len() as u16;
            *sets.entry(rules).or_insert(next)
        };
        let mut to = |number: usize| known.get(&number).copied().unwrap_or_else(|| set(number) | SET);
        let forward = Forward {
            starts: starts.iter().map(|start| to(*start)).collect(),
            table: rows.iter().map(|(_, behind)| behind.map(&mut to)).collect(),
            sets: rows.iter().map(|(number, _)| set(*number)).collect(),
        };
        let mut sets: Vec<(Vec<usize>, u16)> = sets.into_iter().collect();
        sets.sort_unstable_by_key(|(_, number)| *number);
        (forward, sets.into_iter().map(|(rules, _)| rules).collect())
    }
}

/// How likely one symbol follows another in ordinary texts.
fn follows(first: u8, second: u8) -> f32 {
    let letters = usize::from(CAPITAL - SMALL);
    let class = |symbol: u8| match symbol {
        DIGIT => letters,
        SMALL..CAPITAL => usize::from(symbol - SMALL),
        CAPITAL..SPACE => usize::from(symbol - CAPITAL),
        _ => letters + 1,
    };
    let part = match second {
        DIGIT => 1.0,
        SMALL..CAPITAL => 0.85,
        CAPITAL..SPACE => 0.15,
        _ => share(second) / 100.0,
    };
    commonness::of_next(class(first), class(second)) * part
}

/// A state that could be looked behind.
#[derive(Clone, Copy)]
struct Open {
    likely: f32,
    number: usize,
    /// What led to it.
    symbol: u8,
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.likely.total_cmp(&other.likely).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Open {}
