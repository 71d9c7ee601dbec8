//! Could anything go on with these digits at all? Three bytes behind them say no to most numbers of a text.
//!
//! Needs the automaton of all rules that digits anchor; proves that it ends with no rule where this says no. Its tables
//! are an eighth as large, and it asks without a branch for each byte.

use super::around;
use super::eights::{self, HIGH};
use super::forward::{DIGIT, Forward, OVER, SYMBOLS, State, symbol};
use std::collections::BTreeMap;

/// Of more digits nothing is known. So many, and three bytes, are read at once.
const RUN_MAX: usize = 4;

/// What may stand behind digits, up to the third byte.
#[derive(Debug, Default)]
pub(super) struct Glance {
    /// For each way in which digits begin, how many there are and the kind of the first byte behind them, a row of
    /// `second`. Empty: nothing is known.
    first: Vec<u16>,
    /// For each kind of the second byte, a number in `third`.
    second: Vec<[u16; SYMBOLS]>,
    /// Which kinds the third byte can be, as bits.
    third: Vec<u64>,
}

impl Glance {
    /// What an automaton says of all that digits may begin with.
    pub(super) fn of(forward: &Forward) -> Self {
        let mut glance = Self::default();
        if forward.is_trivial() {
            return glance;
        }
        let (mut rows, mut masks) = (BTreeMap::new(), BTreeMap::new());
        for start in forward.starts() {
            let runs = std::iter::successors(Some(start), |state| Some(forward.step(*state, DIGIT)));
            for digits in runs.skip(1).take(RUN_MAX) {
                for symbol in 0..SYMBOLS as u8 {
                    let state = forward.step(digits, symbol);
                    let next = rows.len() as u16;
                    let row = *rows.entry(state).or_insert(next);
                    if row == next {
                        let row = glance.row(forward, state, &mut masks);
                        glance.second.push(row);
                    }
                    glance.first.push(row);
                }
            }
        }
        glance
    }

    fn row(&mut self, forward: &Forward, state: State, masks: &mut BTreeMap<State, u16>) -> [u16; SYMBOLS] {
        std::array::from_fn(|symbol| {
            let state = forward.step(state, symbol as u8);
            let next = masks.len() as u16;
            let number = *masks.entry(state).or_insert(next);
            if number == next {
                let goes_on = |symbol: &u8| forward.step(state, *symbol) != OVER;
                let mask = (0..SYMBOLS as u8).filter(goes_on).fold(0, |mask, symbol| mask | 1 << symbol);
                self.third.push(mask);
            }
            number
        })
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.first) + size_of_val(&*self.second) + size_of_val(&*self.third)
    }

    /// Whether a rule may match the digits at `at`. It may say yes wrongly, never no.
    #[inline]
    pub(super) fn may_be(&self, text: &[u8], at: usize) -> bool {
        let (earlier, from_here) = text.split_at_checked(at).unwrap_or_default();
        let Some(eight) = from_here.first_chunk().filter(|_| !self.first.is_empty()) else { return true };
        let eight = u64::from_le_bytes(*eight);
        let run = (!eights::digits(eight) & HIGH).trailing_zeros() as usize / 8;
        if run > RUN_MAX {
            return true;
        }
        let [first, second, third, ..] = (eight >> (run * 8)).to_le_bytes().map(symbol).map(usize::from);
        let place = (around::start(earlier) * RUN_MAX + run - 1) * SYMBOLS + first;
        let row = self.first.get(place).and_then(|row| self.second.get(usize::from(*row)));
        let mask = row.and_then(|row| row.get(second)).and_then(|mask| self.third.get(usize::from(*mask)));
        mask.is_none_or(|mask| mask >> third & 1 == 1)
    }
}
