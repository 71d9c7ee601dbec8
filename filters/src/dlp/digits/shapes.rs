//! What may stand around the digits that a match of a rule begins with?
//!
//! Needs the automaton of a rule; proves, by walking it over every byte that could stand there, around which digits it
//! cannot match at all. Most anchors in a text fail here, before anything of a rule runs. What is known of a place is
//! how many digits stand there, what follows them, what follows that, and what stands before.

use super::super::automaton::Fast;
use super::super::matcher::Matcher;
use super::around::BehindWord;
use regex_automata::util::alphabet::ByteClasses;
use regex_automata::util::primitives::StateID;
use std::collections::{BTreeMap, BTreeSet};

/// Runs of digits are told apart up to this length.
pub(super) const FIRST_RUN_MAX: usize = 24;
/// And those behind them up to this one.
pub(super) const SECOND_RUN_MAX: usize = 6;
/// Letters before digits are counted up to one more than a match may have there.
pub(super) const WORD_MAX: usize = super::super::rules::DIGITS_LEAD_BYTES_MAX + 1;

/// What stands after a run of digits, told apart as far as it tells rules apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    End,
    Space,
    Hyphen,
    Dot,
    Slash,
    Colon,
    HexLetter,
    Letter,
    Digit,
    Other,
}

impl After {
    pub(super) const COUNT: usize = Self::Other as usize + 1;

    /// All that stand behind a run of digits.
    const BEHIND: [Self; 8] = [
        Self::Space,
        Self::Hyphen,
        Self::Dot,
        Self::Slash,
        Self::Colon,
        Self::HexLetter,
        Self::Letter,
        Self::Other,
    ];

    const fn of(byte: u8) -> Self {
        match byte {
            b' ' => Self::Space,
            b'-' => Self::Hyphen,
            b'.' => Self::Dot,
            b'/' => Self::Slash,
            b':' => Self::Colon,
            b'a'..=b'f' | b'A'..=b'F' => Self::HexLetter,
            b'g'..=b'z' | b'G'..=b'Z' => Self::Letter,
            b'0'..=b'9' => Self::Digit,
            _ => Self::Other,
        }
    }
}

/// What stands behind the byte after a run of digits: as many digits, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Second {
    Digits(usize),
    End,
    Space,
    Capital,
    Letter,
    Other,
    /// It is not known, or does not matter.
    Any,
}

impl Second {
    pub(super) const COUNT: usize = SECOND_RUN_MAX + 6;

    const fn of(byte: u8) -> Self {
        match byte {
            b'0'..=b'9' => Self::Digits(1),
            b' ' => Self::Space,
            b'A'..=b'Z' => Self::Capital,
            b'a'..=b'z' => Self::Letter,
            _ => Self::Other,
        }
    }

    /// Whether this is the kind of one byte that has this number; how many digits there are, one does not say.
    fn is_one_of(self, number: usize) -> bool {
        match self {
            Self::Digits(_) => (1..=SECOND_RUN_MAX).contains(&number),
            Self::End | Self::Space | Self::Capital | Self::Letter | Self::Other | Self::Any => {
                self.number() == number
            }
        }
    }

    pub(super) fn number(self) -> usize {
        match self {
            Self::Any => 0,
            Self::Digits(count) => count.clamp(1, SECOND_RUN_MAX),
            Self::End => SECOND_RUN_MAX + 1,
            Self::Space => SECOND_RUN_MAX + 2,
            Self::Capital => SECOND_RUN_MAX + 3,
            Self::Letter => SECOND_RUN_MAX + 4,
            Self::Other => SECOND_RUN_MAX + 5,
        }
    }
}

/// What stands right before a run of digits, told apart as far as it tells rules apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    Space,
    Hyphen,
    Dot,
    Letter,
    Other,
}

impl Before {
    pub(super) const COUNT: usize = Self::Other as usize + 1;

    const fn of(byte: u8) -> Self {
        match byte {
            b' ' => Self::Space,
            b'-' => Self::Hyphen,
            b'.' => Self::Dot,
            b'a'..=b'z' | b'A'..=b'Z' => Self::Letter,
            _ => Self::Other,
        }
    }
}

/// What a byte is to digits before it, before those, and behind it: looked up, as it is asked at every number.
#[derive(Clone, Copy)]
pub(super) struct Kinds {
    pub(super) after: After,
    pub(super) second: Second,
    pub(super) before: Before,
}

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
static KINDS: [Kinds; 256] = {
    let mut kinds = [Kinds { after: After::Other, second: Second::Other, before: Before::Other }; 256];
    let mut byte = 0;
    while byte < 256 {
        let of = byte as u8;
        kinds[byte] = Kinds { after: After::of(of), second: Second::of(of), before: Before::of(of) };
        byte += 1;
    }
    kinds
};

/// The kinds of a byte.
pub(super) fn kinds(byte: u8) -> Kinds {
    const NONE: Kinds = Kinds { after: After::Other, second: Second::Other, before: Before::Other };
    KINDS.get(usize::from(byte)).copied().unwrap_or(NONE)
}

/// Whether a byte goes on a word.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Decimal digits.
const DIGITS: usize = 10;
/// First two digits that are told apart; one by itself is told from them.
pub(super) const PAIRS: usize = DIGITS * (DIGITS + 1);

/// The number of the first two digits that a text begins with.
pub(super) fn pair(text: &[u8]) -> usize {
    let digit = |place: usize| match text.get(place) {
        Some(byte) if byte.is_ascii_digit() => usize::from(byte - b'0'),
        Some(_) | None => DIGITS,
    };
    digit(0) * (DIGITS + 1) + digit(1)
}

/// Sets of what may stand around the digits of one rule, as bits.
#[derive(Debug)]
pub(in crate::dlp) struct Shapes {
    /// For each length of the first run and each [`After`], which [`Second`]; the first bit is of any of them.
    pub(super) behind: Box<[u16]>,
    /// The same, of what makes it certain that a match begins with the digits and ends with them, whatever they are
    /// behind the first two; empty where that is never so.
    pub(super) certain: Box<[u16]>,
    /// For each first digit, which second ones; one bit more is of anything else.
    pairs: [u16; DIGITS],
    /// Which [`Before`].
    pub(super) before: u8,
    /// How many bytes of a word may stand before them.
    pub(super) words: u32,
    /// Bytes of the match before them.
    lead: usize,
    /// For each byte, which ones may stand behind it, where both are in the midst of a long word and right before them;
    /// empty if no match is there.
    behind_word: Box<[u128]>,
}

impl Shapes {
    /// What may stand around the digits of a match that has `lead` bytes before them. The automaton of the rule tells
    /// no two bytes of a class apart.
    pub(in crate::dlp) fn of(
        automaton: &Fast,
        matcher: &Matcher,
        classes: &ByteClasses,
        lead: usize,
    ) -> Self {
        let mut walker = Walker::new(automaton, matcher, classes);
        Self {
            behind: walker.behind(lead),
            certain: if lead == 0 { walker.certain() } else { Box::default() },
            pairs: walker.pairs(lead),
            before: walker.before(lead),
            words: walker.words(lead),
            lead,
            behind_word: walker.behind_word(lead),
        }
    }

    /// Whether a match may be in the midst of a long word: behind so many bytes of one as are told apart, or one less,
    /// where that is the letter of an escape.
    pub(super) fn may_be_buried(&self) -> bool {
        let is_long = self.lead + 1 == WORD_MAX && self.words >> self.lead & 1 == 1;
        is_long || self.words >> WORD_MAX & 1 == 1
    }

    /// What of this may be there.
    pub(super) fn behind_word(&self) -> BehindWord<'_> {
        let lengths = self.behind.as_chunks::<{ After::COUNT }>().0;
        let least = lengths.iter().position(|after| after.iter().any(|seconds| *seconds != 0));
        BehindWord { behind: &self.behind_word, least: least.unwrap_or(usize::MAX).min(FIRST_RUN_MAX) as u8 }
    }

    /// Whether a match may have these first two digits, by their number.
    pub(super) fn may_begin_with(&self, pair: usize) -> bool {
        let seconds = self.pairs.get(pair / (DIGITS + 1));
        seconds.is_some_and(|seconds| seconds >> (pair % (DIGITS + 1)) & 1 == 1)
    }
}

/// Walks the automaton of one rule.
struct Walker<'a> {
    automaton: &'a Fast,
    matcher: &'a Matcher,
    /// Bytes that differ for this rule, one of each kind.
    bytes: Vec<u8>,
    /// What may follow a state: known for those that were asked about.
    known: BTreeMap<StateID, [u16; After::COUNT]>,
}

impl<'a> Walker<'a> {
    fn new(automaton: &'a Fast, matcher: &'a Matcher, classes: &ByteClasses) -> Self {
        let kind = |byte: u8| {
            let borders = (matcher.ends_before(byte), matcher.begins_after(byte));
            let ours =
                (After::of(byte) as u8, Second::of(byte).number(), Before::of(byte) as u8, is_word(byte));
            (classes.get(byte), borders, ours)
        };
        let kinds: BTreeMap<_, u8> = (0..=255).map(|byte| (kind(byte), byte)).collect();
        Self { automaton, matcher, bytes: kinds.into_values().collect(), known: BTreeMap::new() }
    }

    fn behind(&mut self, lead: usize) -> Box<[u16]> {
        let mut states = BTreeSet::from([self.automaton.start()]);
        for _ in 0..lead {
            states = self.step(&states, |_| true);
        }
        let mut behind = vec![0; (FIRST_RUN_MAX + 2) * After::COUNT];
        let (lengths, _) = behind.as_chunks_mut::<{ After::COUNT }>();
        for (length, after) in lengths.iter_mut().enumerate().skip(1) {
            states = self.step(&states, |byte| byte.is_ascii_digit());
            if length > FIRST_RUN_MAX {
                // Longer runs: whatever is still possible.
                *after = if states.is_empty() { *after } else { [u16::MAX; After::COUNT] };
                continue;
            }
            for state in &states {
                let here = self.after(*state);
                after.iter_mut().zip(here).for_each(|(after, here)| *after |= here);
            }
        }
        behind.into()
    }

    fn certain(&self) -> Box<[u16]> {
        let mut certain = vec![0; (FIRST_RUN_MAX + 2) * After::COUNT];
        let (lengths, _) = certain.as_chunks_mut::<{ After::COUNT }>();
        let mut states = BTreeSet::from([self.automaton.start()]);
        for (length, kinds) in lengths.iter_mut().enumerate().skip(1) {
            // The first two digits are looked at by themselves; of others, each must do.
            let others: BTreeSet<u8> = self.bytes.iter().copied().filter(u8::is_ascii_digit).collect();
            let ends = |state: &StateID| others.iter().any(|byte| self.next(*state, *byte).is_none());
            if length > FIRST_RUN_MAX || (length > 2 && states.iter().any(ends)) {
                break;
            }
            states = self.step(&states, |byte| byte.is_ascii_digit());
            for kind in After::BEHIND {
                if let Some(set) = kinds.get_mut(kind as usize) {
                    *set = self.certainly(&states, kind);
                }
            }
        }
        certain.into()
    }

    /// What makes it certain that a match ends at all of these states, whichever byte of this kind follows.
    fn certainly(&self, states: &BTreeSet<StateID>, kind: After) -> u16 {
        let of_kind = || self.bytes.iter().copied().filter(|byte| After::of(*byte) == kind);
        let mut behind = BTreeSet::new();
        for (state, byte) in states.iter().flat_map(|state| of_kind().map(move |byte| (*state, byte))) {
            match self.next(state, byte) {
                Some(next) if self.automaton.is_match(next) => behind.insert(next),
                Some(_) | None => return 0,
            };
        }
        let goes_on = |second: usize| {
            let mut bytes = self.bytes.iter().copied().filter(|byte| Second::of(*byte).is_one_of(second));
            bytes.any(|byte| behind.iter().any(|state| self.next(*state, byte).is_some()))
        };
        let may_end = behind.iter().any(|state| self.automaton.may_end(*state));
        let seconds = (0..Second::COUNT).filter(|second| match *second {
            second if second == Second::Any.number() || behind.is_empty() => false,
            second if second == Second::End.number() => !may_end,
            second => !goes_on(second),
        });
        seconds.fold(0, |set, second| set | 1 << second)
    }

    fn pairs(&self, lead: usize) -> [u16; DIGITS] {
        let mut states = BTreeSet::from([self.automaton.start()]);
        for _ in 0..lead {
            states = self.step(&states, |_| true);
        }
        let digit = |place: usize| b'0' + place as u8;
        std::array::from_fn(|first| {
            let behind: Vec<StateID> =
                states.iter().filter_map(|state| self.next(*state, digit(first))).collect();
            let may = |second: usize| behind.iter().any(|state| self.next(*state, digit(second)).is_some());
            let seconds = (0..DIGITS).filter(|second| may(*second));
            let alone = u16::from(!behind.is_empty()) << DIGITS;
            seconds.fold(alone, |set, second| set | 1 << second)
        })
    }

    /// What may follow digits that end at this state.
    fn after(&mut self, state: StateID) -> [u16; After::COUNT] {
        if let Some(known) = self.known.get(&state) {
            return *known;
        }
        let mut after = [0; After::COUNT];
        if self.automaton.may_end(state)
            && let Some(end) = after.get_mut(After::End as usize)
        {
            *end = u16::MAX;
        }
        // No digit: the run is as long as it is said to be.
        for byte in self.bytes.clone().into_iter().filter(|byte| !byte.is_ascii_digit()) {
            let Some(next) = self.next(state, byte).filter(|_| self.may_follow(state, byte)) else {
                continue;
            };
            let ends = self.automaton.is_match(next) && self.matcher.ends_before(byte);
            if let Some(after) = after.get_mut(After::of(byte) as usize) {
                *after |= if ends { u16::MAX } else { self.second(next) };
            }
        }
        self.known.insert(state, after);
        after
    }

    /// What may stand behind the byte that led to this state.
    fn second(&self, state: StateID) -> u16 {
        let bit = |second: Second| 1u16 << second.number();
        let mut set = if self.automaton.may_end(state) { bit(Second::End) } else { 0 };
        for byte in self.bytes.iter().copied().filter(|byte| !byte.is_ascii_digit()) {
            if self.may_follow(state, byte) {
                set |= bit(Second::of(byte));
            }
        }
        let mut states = BTreeSet::from([state]);
        for count in 1..=SECOND_RUN_MAX {
            let ends = |state: &StateID| {
                let digits = self.bytes.iter().filter(|byte| byte.is_ascii_digit());
                digits.copied().any(|byte| {
                    self.matcher.ends_before(byte)
                        && self.next(*state, byte).is_some_and(|next| self.automaton.is_match(next))
                })
            };
            if states.iter().any(ends) {
                // The match may end among the digits: what is behind them does not matter.
                return set
                    | (count..=SECOND_RUN_MAX).fold(0, |set, count| set | bit(Second::Digits(count)))
                    | 1;
            }
            states = self.step(&states, |byte| byte.is_ascii_digit());
            let goes_on = |state: &StateID| {
                let others = self.bytes.iter().filter(|byte| !byte.is_ascii_digit());
                self.automaton.may_end(*state) || others.copied().any(|byte| self.may_follow(*state, byte))
            };
            if states.iter().any(goes_on) || (count == SECOND_RUN_MAX && !states.is_empty()) {
                set |= bit(Second::Digits(count));
            }
        }
        // If it is not known what stands there, it may be any of them.
        if set == 0 { 0 } else { set | 1 }
    }

    /// Which bytes may stand right before the digits.
    fn before(&self, lead: usize) -> u8 {
        let mut states = BTreeSet::from([self.automaton.start()]);
        for _ in 1..lead {
            states = self.step(&states, |_| true);
        }
        let may = |byte: u8| match lead {
            0 => self.matcher.begins_after(byte),
            _ => states.iter().any(|state| self.next(*state, byte).is_some()),
        };
        let bytes = self.bytes.iter().copied().filter(|byte| may(*byte));
        bytes.fold(1 << Before::Nothing as u8, |set, byte| set | 1 << Before::of(byte) as u8)
    }

    /// How many bytes of a word may stand right before the digits, behind one that is of no word.
    fn words(&self, lead: usize) -> u32 {
        let bounded = (0..=255).filter(|byte| is_word(*byte)).all(|byte| !self.matcher.begins_after(byte));
        (0..=WORD_MAX)
            .filter(|words| self.may_be_behind(lead, *words, bounded))
            .fold(0, |set, words| set | 1 << words)
    }

    /// Which two bytes of a word may stand right before the digits.
    fn behind_word(&self, lead: usize) -> Box<[u128]> {
        let words = || (0..128).filter(|byte| is_word(*byte));
        let begins = |byte: u8| self.matcher.begins_after(byte);
        let mut states = BTreeSet::from([self.automaton.start()]);
        for _ in 2..lead {
            states = self.step(&states, is_word);
        }
        let goes_on = |states: &BTreeSet<StateID>, byte: u8| -> BTreeSet<StateID> {
            states.iter().filter_map(|state| self.next(*state, byte)).collect()
        };
        let seconds = |first: u8| -> u128 {
            let may: Box<dyn Fn(u8) -> bool> = match lead {
                0 => Box::new(begins),
                1 if !begins(first) => return 0,
                1 => Box::new(|byte| !goes_on(&states, byte).is_empty()),
                _ => {
                    let states = goes_on(&states, first);
                    Box::new(move |byte| !goes_on(&states, byte).is_empty())
                }
            };
            words().filter(|second| may(*second)).fold(0, |set, second| set | 1 << second)
        };
        (0..128).map(|first| if is_word(first) { seconds(first) } else { 0 }).collect()
    }

    fn may_be_behind(&self, lead: usize, words: usize, bounded: bool) -> bool {
        let Some(others) = lead.checked_sub(words) else { return !bounded };
        let mut states = BTreeSet::from([self.automaton.start()]);
        for place in 0..lead {
            states = self.step(&states, |byte| match place + 1 {
                place if place < others => true,
                place if place == others => !is_word(byte),
                _ => is_word(byte),
            });
        }
        !states.is_empty()
    }

    fn step(&self, states: &BTreeSet<StateID>, is_meant: impl Fn(u8) -> bool) -> BTreeSet<StateID> {
        let bytes = self.bytes.iter().copied().filter(|byte| is_meant(*byte));
        bytes.flat_map(|byte| states.iter().filter_map(move |state| self.next(*state, byte))).collect()
    }

    fn next(&self, state: StateID, byte: u8) -> Option<StateID> {
        self.automaton.next(state, byte)
    }

    /// Whether a match can go on with this byte, or end before it.
    fn may_follow(&self, state: StateID, byte: u8) -> bool {
        let Some(next) = self.next(state, byte) else { return false };
        self.matcher.ends_before(byte) || self.bytes.iter().any(|byte| self.next(next, *byte).is_some())
    }
}
