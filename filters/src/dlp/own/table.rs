//! Where does a match of one of many patterns end? Their automaton, in half the memory of the one it is made of.
//!
//! Needs the automaton of all patterns, built whole; keeps for each of its states and each kind of bytes the next
//! state, and the states in such an order that one comparison says what kind of a state it is.

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use std::collections::{BTreeMap, BTreeSet};

/// States in which no match is under way, as far as they are told apart; in others, more is held than need be.
const IDLE_MAX: usize = 8;

/// A state, by the place of its first cell.
pub(super) type State = u16;
/// Patterns, one bit for each.
pub(super) type Patterns = u32;

/// The automaton of at most 32 patterns.
#[derive(Debug)]
pub(super) struct Table {
    /// Kinds of bytes, which no pattern tells apart.
    kinds: Box<[u8; 256]>,
    /// For each state, one cell for each kind of bytes: the next state.
    cells: Box<[State]>,
    cells_of_state: usize,
    start: State,
    /// States before this one have no match under way.
    idle_end: State,
    /// From this one on, matches ended before the byte that led there:
    first_match: State,
    /// of these patterns, for each such state.
    ended: Box<[Patterns]>,
    /// For each state, the patterns of which a match ends there if the text does.
    ends: Box<[Patterns]>,
}

impl Table {
    /// The same as `automaton`, read from the begin of a text on. `begins` says of a byte whether a match can begin
    /// with it; with `needs_free`, none begins right behind a letter. None: it has too many states.
    pub(super) fn of(
        automaton: &dense::DFA<Vec<u32>>,
        needs_free: bool,
        begins: impl Fn(u8) -> bool,
    ) -> Option<Self> {
        let classes = automaton.byte_classes();
        let kinds: [u8; 256] = std::array::from_fn(|byte| classes.get(byte as u8));
        let cells_of_state = usize::from(kinds.iter().copied().max()?) + 1;
        let one_of_each: Vec<u8> = (0..cells_of_state)
            .filter_map(|kind| kinds.iter().position(|other| usize::from(*other) == kind))
            .map(|byte| byte as u8)
            .collect();
        let at_start = start::Config::new().anchored(Anchored::No);
        let start = automaton.start_state(&at_start).ok()?;
        let idle = idle(automaton, needs_free, begins);
        let order = in_order(automaton, start, &one_of_each, &idle);
        let before = |states: usize| State::try_from(states * cells_of_state).ok();
        let numbered = order.iter().zip(0..).map(|(state, number)| Some((*state, before(number)?)));
        let places: BTreeMap<StateID, State> = numbered.collect::<Option<_>>()?;
        let next = |state: &StateID| {
            let state = *state;
            one_of_each.iter().map(move |byte| automaton.next_state(state, *byte))
        };
        let cells =
            order.iter().flat_map(next).map(|next| places.get(&next).copied()).collect::<Option<_>>()?;
        let matching = order.iter().filter(|state| automaton.is_match_state(**state));
        let ended: Box<[Patterns]> = matching.map(|state| patterns(automaton, *state)).collect();
        let at_end = order.iter().map(|state| automaton.next_eoi_state(*state));
        let is_idle = |state: &&StateID| idle.contains(*state);
        Some(Self {
            kinds: Box::new(kinds),
            cells,
            cells_of_state,
            start: *places.get(&start)?,
            idle_end: before(order.iter().take_while(is_idle).count())?,
            first_match: before(order.len() - ended.len())?,
            ended,
            ends: at_end.map(|state| patterns(automaton, state)).collect(),
        })
    }

    /// The state before the first byte of a text.
    pub(super) fn start(&self) -> State {
        self.start
    }

    /// The state behind a byte.
    #[inline]
    pub(super) fn next(&self, state: State, byte: u8) -> State {
        let cell = usize::from(state) + usize::from(self.kind(byte));
        self.cells.get(cell).copied().unwrap_or_default()
    }

    /// The kind of a byte: no pattern tells it from others of its kind.
    #[inline]
    pub(super) fn kind(&self, byte: u8) -> u8 {
        self.kinds.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Whether no match is under way.
    #[inline]
    pub(super) fn is_idle(&self, state: State) -> bool {
        state < self.idle_end
    }

    /// Whether a match ended before the byte that led to this state.
    #[inline]
    pub(super) fn is_match(&self, state: State) -> bool {
        state >= self.first_match
    }

    /// The patterns of which a match ended before the byte that led to this state.
    #[inline]
    pub(super) fn ended(&self, state: State) -> Patterns {
        let Some(from) = state.checked_sub(self.first_match) else { return 0 };
        self.ended.get(usize::from(from) / self.cells_of_state).copied().unwrap_or_default()
    }

    /// The patterns of which a match ends at this state if the text does.
    pub(super) fn ends(&self, state: State) -> Patterns {
        self.ends.get(usize::from(state) / self.cells_of_state).copied().unwrap_or_default()
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let cells = size_of_val(&*self.cells) + size_of_val(&*self.kinds);
        cells + size_of_val(&*self.ended) + size_of_val(&*self.ends)
    }
}

fn patterns(automaton: &dense::DFA<Vec<u32>>, state: StateID) -> Patterns {
    let count = if automaton.is_match_state(state) { automaton.match_len(state) } else { 0 };
    (0..count).fold(0, |set, at| set | 1 << automaton.match_pattern(state, at).as_usize())
}

/// All states that a text leads to: those in which nothing is under way, others, and those behind a match.
fn in_order(
    automaton: &dense::DFA<Vec<u32>>,
    start: StateID,
    bytes: &[u8],
    idle: &[StateID],
) -> Vec<StateID> {
    let (mut known, mut all) = (BTreeSet::from([start]), vec![start]);
    let mut at = 0;
    while let Some(state) = all.get(at).copied() {
        let next = bytes.iter().map(|byte| automaton.next_state(state, *byte));
        all.extend(next.filter(|next| known.insert(*next)));
        at += 1;
    }
    all.sort_by_key(|state| (automaton.is_match_state(*state), !idle.contains(state)));
    all
}

/// The states in which nothing is under way: those that bytes lead to with which no pattern begins.
fn idle(automaton: &dense::DFA<Vec<u32>>, needs_free: bool, begins: impl Fn(u8) -> bool) -> Vec<StateID> {
    let within = start::Config::new().anchored(Anchored::No).look_behind(Some(b'a'));
    let Ok(within) = automaton.start_state(&within) else { return Vec::new() };
    let mut idle: Vec<StateID> = Vec::new();
    let add = |state: StateID, idle: &mut Vec<StateID>| {
        if idle.len() < IDLE_MAX && !automaton.is_match_state(state) && !idle.contains(&state) {
            idle.push(state);
        }
    };
    // Within a text, a pattern that has to stand behind a free byte begins only behind the first one.
    for byte in (0..=255).filter(|byte| needs_free || !begins(*byte)) {
        add(automaton.next_state(within, byte), &mut idle);
    }
    let mut next = 0;
    while let Some(state) = idle.get(next).copied() {
        for byte in (0..=255).filter(|byte| !begins(*byte)) {
            add(automaton.next_state(state, byte), &mut idle);
        }
        next += 1;
    }
    idle
}
