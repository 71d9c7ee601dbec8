//! Where does a match of a pattern end? Its automaton, fast or small.
//!
//! Needs a bounded pattern that looks at nothing around it; proves where its leftmost match from one place ends. Rules
//! that everybody has are walked fast. An organisation has its rules for itself, and there are many organisations:
//! theirs are written down small, and find the same.

use super::matcher::{View, Walk};
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, MatchKind};
use std::collections::BTreeMap;

/// One rule's automaton may take this much memory; a pattern that needs more is refused.
const AUTOMATON_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Building it may take this much.
const DETERMINIZE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The automaton of one pattern.
pub(super) enum Automaton {
    /// A table: one look for a byte.
    Fast(Box<Fast>),
    /// Ranges of bytes: some comparisons for a byte.
    Small(Small),
}

/// An automaton as a table.
pub(super) struct Fast {
    table: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// An automaton as ranges of bytes.
#[derive(Debug)]
pub(super) struct Small {
    states: Box<[State]>,
    /// Of all states, in order: the last byte of a range, and the state that the bytes of the range lead to.
    ranges: Box<[(u8, [u8; 2])]>,
}

/// A state, numbered by its place; the first one is where a match begins.
#[derive(Clone, Copy, Debug)]
struct State {
    /// The first of its ranges, which cover every byte.
    ranges: u32,
    /// Whether a match ended before the byte that led here.
    is_match: bool,
    /// Whether a match ends here if the text does.
    may_end: bool,
}

/// The state that no match goes on from.
const DEAD: u16 = u16::MAX;

impl Automaton {
    pub(super) fn compile(nfa: &NFA) -> Result<Self, String> {
        Ok(Self::Fast(Box::new(Fast::compile(nfa)?)))
    }

    /// The same in less memory.
    pub(super) fn shrink(&mut self) {
        if let Self::Fast(fast) = self
            && let Some(small) = Small::of(fast)
        {
            *self = Self::Small(small);
        }
    }

    /// The memory of its table.
    pub(super) fn table_bytes(&self) -> usize {
        match self {
            Self::Fast(fast) => fast.table.memory_usage(),
            Self::Small(small) => small.table_bytes(),
        }
    }

    /// The memory that it takes besides itself.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Fast(fast) => size_of_val(&**fast) + fast.table.memory_usage(),
            Self::Small(small) => small.table_bytes(),
        }
    }

    /// Whether a match can begin with this byte.
    pub(super) fn may_begin_with(&self, byte: u8) -> bool {
        match self {
            Self::Fast(fast) => fast.next(fast.start, byte).is_some(),
            Self::Small(small) => small.next(0, byte) != DEAD,
        }
    }

    /// Runs from a place; the last match that is seen counts (leftmost-first semantics).
    #[inline]
    pub(super) fn walk(&self, view: View<'_>, from: usize) -> Walk {
        match self {
            Self::Fast(fast) => fast.walk(view, from),
            Self::Small(small) => small.walk(view, from),
        }
    }
}

impl Fast {
    fn compile(nfa: &NFA) -> Result<Self, String> {
        let table = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .match_kind(MatchKind::LeftmostFirst)
                    .accelerate(false)
                    .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                    .determinize_size_limit(Some(DETERMINIZE_BYTES_MAX)),
            )
            .build_from_nfa(nfa)
            .map_err(|error| format!("the pattern needs too large an automaton: {error}"))?;
        let start = table
            .universal_start_state(Anchored::Yes)
            .ok_or_else(|| "the pattern depends on what stands before it; use `boundary`".to_owned())?;
        Ok(Self { table, start })
    }

    /// The state that a match begins in.
    pub(super) fn start(&self) -> StateID {
        self.start
    }

    /// The state behind a byte; `None`: no match goes on so.
    pub(super) fn next(&self, state: StateID, byte: u8) -> Option<StateID> {
        Some(self.table.next_state(state, byte)).filter(|next| !self.table.is_dead_state(*next))
    }

    /// Whether a match ended before the byte that led to this state.
    pub(super) fn is_match(&self, state: StateID) -> bool {
        self.table.is_match_state(state)
    }

    /// Whether a match ends at this state if the text does.
    pub(super) fn may_end(&self, state: StateID) -> bool {
        self.table.is_match_state(self.table.next_eoi_state(state))
    }

    #[inline]
    fn walk(&self, view: View<'_>, from: usize) -> Walk {
        let (mut state, mut end) = (self.start, None);
        for (offset, byte) in view.text.get(from..).unwrap_or_default().iter().enumerate() {
            state = self.table.next_state(state, *byte);
            if self.table.is_special_state(state) {
                if self.table.is_match_state(state) {
                    end = Some(from + offset);
                } else if self.table.is_dead_state(state) {
                    return Walk::Ended(end);
                }
            }
        }
        if !view.complete {
            return Walk::Open;
        }
        Walk::Ended(if self.may_end(state) { Some(view.text.len()) } else { end })
    }
}

impl Small {
    /// The same automaton; none if it has too many states to be numbered.
    fn of(fast: &Fast) -> Option<Self> {
        let mut numbers = BTreeMap::from([(fast.start, 0u16)]);
        let mut order = vec![fast.start];
        let (mut states, mut ranges) = (Vec::new(), Vec::<(u8, [u8; 2])>::new());
        while let Some(of) = order.get(states.len()).copied() {
            let first = ranges.len();
            for byte in 0..=u8::MAX {
                let next = match fast.next(of, byte) {
                    None => DEAD,
                    Some(next) => *numbers.entry(next).or_insert_with(|| {
                        order.push(next);
                        u16::try_from(order.len() - 1).unwrap_or(DEAD)
                    }),
                };
                let next = next.to_le_bytes();
                match ranges.get_mut(first..).and_then(|ranges| ranges.last_mut()) {
                    Some((last, same)) if *same == next => *last = byte,
                    Some(_) | None => ranges.push((byte, next)),
                }
            }
            states.push(State {
                ranges: u32::try_from(first).ok()?,
                is_match: fast.is_match(of),
                may_end: fast.may_end(of),
            });
        }
        (states.len() < usize::from(DEAD)).then(|| Self { states: states.into(), ranges: ranges.into() })
    }

    fn table_bytes(&self) -> usize {
        size_of_val(&*self.states) + size_of_val(&*self.ranges)
    }

    fn next(&self, state: u16, byte: u8) -> u16 {
        let from = self.states.get(usize::from(state)).map_or(usize::MAX, |state| state.ranges as usize);
        let ranges = self.ranges.get(from..).unwrap_or_default();
        let range = ranges.iter().find(|(last, _)| byte <= *last);
        range.map_or(DEAD, |(_, next)| u16::from_le_bytes(*next))
    }

    fn walk(&self, view: View<'_>, from: usize) -> Walk {
        let (mut at, mut end) = (0, None);
        for (offset, byte) in view.text.get(from..).unwrap_or_default().iter().enumerate() {
            at = self.next(at, *byte);
            let Some(state) = self.states.get(usize::from(at)) else { return Walk::Ended(end) };
            if state.is_match {
                end = Some(from + offset);
            }
        }
        if !view.complete {
            return Walk::Open;
        }
        let may_end = self.states.get(usize::from(at)).is_some_and(|state| state.may_end);
        Walk::Ended(if may_end { Some(view.text.len()) } else { end })
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher;
    use super::*;
    use proptest::prelude::*;

    fn both(pattern: &str) -> (Fast, Small) {
        let fast = Fast::compile(&matcher::read(pattern, 512).unwrap()).unwrap();
        let small = Small::of(&fast).unwrap();
        (fast, small)
    }

    #[test]
    fn what_is_small_is_a_fraction_of_the_table() {
        for (pattern, most) in
            [("EMP-[0-9]{6}", 300), ("(?i)lighthouse(-[a-z]{2,12})?", 700), ("tok_[A-Za-z0-9]{24,40}", 1_500)]
        {
            let (fast, small) = both(pattern);
            let (table, bytes) = (fast.table.memory_usage(), small.table_bytes());
            assert!(bytes <= most && bytes * 2 < table, "{pattern}: {bytes} of {table}");
        }
    }

    proptest! {
        #[test]
        fn small_and_fast_end_at_the_same_place(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b?", "[^a]", "(?:ab|c)", "(?i)c", "(?:a|ab)(?:c|bc)?", "[a-c]{1,3}", "b{2}", "(?:c|)",
                ]),
                0..6,
            ),
            text in "[abcABC0-2é]{0,12}",
            from in 0usize..3,
            complete in any::<bool>(),
        ) {
            let (fast, small) = both(&format!("[abc]{{3}}{}", parts.concat()));
            let view = View { text: text.as_bytes(), complete };
            prop_assert_eq!(small.walk(view, from), fast.walk(view, from));
            for byte in 0..=u8::MAX {
                prop_assert_eq!(small.next(0, byte) != DEAD, fast.next(fast.start, byte).is_some());
            }
        }
    }
}
