//! Which rules could begin with these digits?
//!
//! Needs the shapes of all rules that digits anchor; proves that a rule which is left out cannot match there, or could
//! not be sure enough. Sets of rules are bits, so that a place is asked about once for all of them. What is left, the
//! rules' own automata decide.

pub(super) mod eights;
mod forward;
mod shapes;

pub(super) use shapes::Shapes;

use super::anchors::BURIED_BYTES;
use super::detector::Detector;
use super::matcher::{View, ends_with_escape};
use super::rules::{CONTEXT_BEFORE_BYTES_MAX, DIGITS_LEAD_BYTES_MAX, Rule};
use super::words::{Lexicon, Nearby};
use crate::credint::CredentialForm;
use forward::{Forward, Member};
use shapes::{After, Before, FIRST_RUN_MAX, SECOND_RUN_MAX, Second, WORD_MAX, is_word, kinds};
use std::collections::BTreeMap;

/// More digits than any anchor asks for need not be counted.
const DIGITS_COUNTED_MAX: usize = 20;
/// Within so many bytes they are counted: with a separator before each.
const COUNTED_BYTES_MAX: usize = DIGITS_COUNTED_MAX * 2;
/// How far before digits the context of a match can begin.
const CONTEXT_REACH_BYTES: usize = DIGITS_LEAD_BYTES_MAX + CONTEXT_BEFORE_BYTES_MAX;
/// A rule whose match and context may reach further behind the first digit is asked wherever its context stands.
const CONTEXT_AHEAD_BYTES_MAX: usize = 160;

/// A rule that digits anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DigitRule {
    /// Digits needed.
    least: usize,
    /// Bytes of the match before them.
    pub(super) before: usize,
    pub(super) rule: u16,
    /// How sure a finding is without a context word; nothing is less sure than what must have one.
    alone: f32,
}

const _: () = assert!(BURIED_BYTES == WORD_MAX, "no more bytes of a word are told apart");

/// Words of bits in a block of rules.
const SET_WORDS: usize = 4;
/// Rules of a block.
const BLOCK_RULES: usize = SET_WORDS * 64;

/// Some of the rules of a block.
type Set = [u64; SET_WORDS];

/// What stands around digits, told apart as far as it tells rules apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// Where the first of them stands.
    at: usize,
    /// The number of the sets for what stands from there on, and for what stands behind it.
    forward: usize,
    shape: usize,
    before: Before,
    /// How many bytes of a word stand before it, and whether the first of those is the letter of an escape.
    words: usize,
    is_escape: bool,
    /// How many there are, with separators between them.
    count: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Digits {
    /// In the order in which they are asked: the bits of sets are their numbers here.
    rules: Vec<DigitRule>,
    /// How many blocks there are: sets have one part for each.
    blocks: usize,
    /// What most digits of a text fail: all rules at once, walked over what stands there.
    forward: Forward,
    /// The sets that its numbers are of; the first one is empty.
    forward_sets: Vec<Set>,
    /// Sets by what stands behind the first digit: their numbers, for each length, [`After`] and [`Second`].
    behind: Vec<u16>,
    /// The sets that those are.
    sets: Vec<Set>,
    /// The number of those of which all are empty.
    nothing: u16,
    /// Sets by what stands before it, for each [`Before`].
    before: Vec<Set>,
    /// Sets by the letters of a word before it, for each count.
    words: Vec<Set>,
    /// Sets by context word: the rules that it is one of.
    by_word: Vec<Set>,
    /// How sure rules are without a context word, in order, and for each the set of those that are as sure.
    levels: Vec<f32>,
    alone: Vec<Set>,
    /// Sets by how many digits there are: the rules that ask for no more.
    counts: Vec<Set>,
    /// How far behind the first digit a context word may end.
    ahead_bytes: usize,
}

impl Digits {
    /// Puts the rules of a set together that digits anchor.
    pub(super) fn new(rules: &[Rule], lexicon: &Lexicon) -> Self {
        let numbered = (0u16..).zip(rules);
        let mut all: Vec<(DigitRule, &Rule, &Shapes)> = numbered
            .filter_map(|(number, rule)| {
                let (shapes, _) = rule.matcher.shapes().zip(rule.matcher.fast())?;
                let least = rule.document.anchor.digits?.min(DIGITS_COUNTED_MAX);
                let before = rule.document.anchor.before;
                Some((DigitRule { least, before, rule: number, alone: alone(rule) }, rule, shapes))
            })
            .collect();
        all.sort_by_key(|(digit, ..)| (digit.least, digit.before, digit.rule));
        let blocks = all.len().div_ceil(BLOCK_RULES);
        if blocks == 0 {
            return Self::default();
        }
        let mut digits = Self { blocks, ..Self::default() };
        let set = |has: &dyn Fn(&Shapes) -> bool| {
            let mut set = vec![Set::default(); blocks];
            let having = (0..).zip(&all).filter(|(_, (.., shapes))| has(shapes));
            having.for_each(|(at, _)| insert(&mut set, at));
            set
        };
        let mut known: BTreeMap<Vec<Set>, u16> = BTreeMap::new();
        for place in 0..(FIRST_RUN_MAX + 2) * After::COUNT {
            for second in 0..Second::COUNT {
                let may =
                    |shapes: &Shapes| shapes.behind.get(place).is_some_and(|set| set >> second & 1 == 1);
                let number = known.len() as u16;
                digits.behind.push(*known.entry(set(&may)).or_insert(number));
            }
        }
        digits.nothing = known.get(&vec![Set::default(); blocks]).copied().unwrap_or(u16::MAX);
        let mut sets: Vec<_> = known.into_iter().collect();
        sets.sort_unstable_by_key(|(_, number)| *number);
        digits.sets = sets.into_iter().flat_map(|(set, _)| set).collect();
        digits.before =
            (0..Before::COUNT).flat_map(|before| set(&|shapes| shapes.before >> before & 1 == 1)).collect();
        digits.words =
            (0..=WORD_MAX).flat_map(|words| set(&|shapes| shapes.words >> words & 1 == 1)).collect();
        digits.counts = (0..=DIGITS_COUNTED_MAX)
            .flat_map(|count| {
                let mut set = vec![Set::default(); blocks];
                let asking = (0..).zip(&all).filter(|(_, (digit, ..))| digit.least <= count);
                asking.for_each(|(at, _)| insert(&mut set, at));
                set
            })
            .collect();
        digits.levels = all.iter().map(|(digit, ..)| digit.alone).collect();
        digits.levels.sort_unstable_by(f32::total_cmp);
        digits.levels.dedup();
        for level in &digits.levels {
            let mut set = vec![Set::default(); blocks];
            let sure = (0..).zip(&all).filter(|(_, (digit, ..))| digit.alone >= *level);
            sure.for_each(|(at, _)| insert(&mut set, at));
            digits.alone.append(&mut set);
        }
        digits.read_context(&all, lexicon);
        digits.read_automata(&all);
        digits.rules = all.into_iter().map(|(digit, ..)| digit).collect();
        digits
    }

    fn read_automata(&mut self, all: &[(DigitRule, &Rule, &Shapes)]) {
        let members: Vec<Member<'_>> = all
            .iter()
            .filter_map(|(digit, rule, _)| {
                let matcher = &rule.matcher;
                Some(Member { automaton: matcher.fast()?, matcher, lead: digit.before })
            })
            .collect();
        let behind = |before: usize| {
            let may = |shapes: &Shapes| before == Before::COUNT || shapes.before >> before & 1 == 1;
            (0..).zip(all).filter(|(_, (.., shapes))| may(shapes)).map(|(at, _)| at).collect()
        };
        let starts: Vec<Vec<usize>> = (0..=Before::COUNT).map(behind).collect();
        let (forward, sets) = Forward::new(&members, &starts);
        self.forward = forward;
        self.forward_sets = sets
            .iter()
            .flat_map(|rules| {
                let mut set = vec![Set::default(); self.blocks];
                for at in rules {
                    insert(&mut set, *at);
                }
                set
            })
            .collect();
    }

    fn read_context(&mut self, all: &[(DigitRule, &Rule, &Shapes)], lexicon: &Lexicon) {
        self.by_word = vec![Set::default(); lexicon.len() * self.blocks];
        let by_rule: BTreeMap<u16, usize> =
            (0..).zip(all).map(|(at, (digit, ..))| (digit.rule, at)).collect();
        for (word, row) in (0u16..).zip(self.by_word.chunks_exact_mut(self.blocks.max(1))) {
            let owners = lexicon.rules_of(word).iter().filter_map(|rule| by_rule.get(rule));
            owners.for_each(|at| insert(row, *at));
        }
        let ahead = all.iter().filter(|(digit, ..)| digit.alone < f32::INFINITY);
        self.ahead_bytes = ahead.map(|(_, rule, _)| ahead_bytes(rule)).max().unwrap_or(0);
    }

    /// The fewest digits, at once, that may begin a match in the midst of a long word.
    pub(super) fn least_behind_word(&self) -> usize {
        let numbers = self.behind.chunks(After::COUNT * Second::COUNT);
        let behind_word = self.words.get(WORD_MAX * self.blocks..).unwrap_or_default();
        let may = |number: &u16| {
            let from = usize::from(*number) * self.blocks;
            let sets = self.sets.get(from..from + self.blocks).unwrap_or_default();
            sets.iter().zip(behind_word).any(|(set, other)| !is_empty(both(*set, *other)))
        };
        numbers.into_iter().position(|numbers| numbers.iter().any(may)).unwrap_or(usize::MAX)
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let sets = [
            &self.forward_sets,
            &self.sets,
            &self.before,
            &self.words,
            &self.by_word,
            &self.alone,
            &self.counts,
        ];
        let sets: usize = sets.into_iter().map(|sets| size_of_val(&**sets)).sum();
        sets + self.forward.memory_bytes()
            + size_of_val(&*self.rules)
            + size_of_val(&*self.behind)
            + size_of_val(&*self.levels)
    }

    /// The blocks of rules.
    pub(super) fn blocks(&self) -> std::ops::Range<usize> {
        0..self.blocks
    }

    /// Those of a block that are in this set, in order.
    pub(super) fn members(&self, block: usize, set: Set) -> impl Iterator<Item = &DigitRule> {
        let rules = self.rules.get(block * BLOCK_RULES..).unwrap_or_default();
        set.into_iter().zip(rules.chunks(64)).flat_map(|(mut bits, rules)| {
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
                rules.get(bit)
            })
        })
    }

    /// What stands around the digits at `at`; none, if no rule could begin with them.
    pub(super) fn around(&self, view: View<'_>, at: usize) -> Option<Around> {
        let (earlier, from_here) = view.text.split_at_checked(at)?;
        let forward = usize::from(self.forward.walk(from_here, start(earlier)));
        if forward == 0 {
            return None;
        }
        let shape = self.behind.get(shape(view, at)).copied().unwrap_or(0);
        if shape == self.nothing {
            return None;
        }
        let (before, words, is_escape) = before(view.text, at);
        let count = count(view.text, at).0.min(DIGITS_COUNTED_MAX);
        Some(Around { at, forward, shape: usize::from(shape), before, words, is_escape, count })
    }

    /// The rules of a block that these digits could begin, by what stands around them and at this threshold.
    pub(super) fn candidates(
        &self,
        block: usize,
        view: View<'_>,
        around: &Around,
        threshold: f32,
        (lexicon, nearby): (&Lexicon, &mut Nearby),
    ) -> Set {
        let part =
            |sets: &[Set], number: usize| sets.get(number * self.blocks + block).copied().unwrap_or_default();
        let Around { at, forward, shape, before, words, is_escape, count } = *around;
        let mut set = both(part(&self.sets, shape), part(&self.counts, count));
        set = both(set, part(&self.forward_sets, forward));
        if is_escape {
            set = both(set, either(part(&self.words, words), part(&self.words, words - 1)));
        } else {
            set = both(set, part(&self.words, words));
        }
        if !is_escape || words != 1 {
            // The letter of an escape such as `\n` may be anything.
            set = both(set, part(&self.before, before as usize));
        }
        if is_empty(set) {
            return set;
        }
        let level = self.levels.partition_point(|level| *level < threshold);
        let alone = part(&self.alone, level);
        let needing: u32 = set.iter().zip(alone).map(|(bits, alone)| (bits & !alone).count_ones()).sum();
        let reach = at.saturating_sub(CONTEXT_REACH_BYTES)..at + self.ahead_bytes;
        let is_known = view.complete || view.text.len() >= reach.end;
        if is_known && nearby.is_worth(needing as usize, at, &reach) {
            let near = nearby.sets(lexicon, view.text, reach, (&self.by_word, self.blocks));
            set = both(set, either(alone, near.get(block).copied().unwrap_or_default()));
        }
        set
    }
}

fn both(one: Set, other: Set) -> Set {
    std::array::from_fn(|word| one.get(word).unwrap_or(&0) & other.get(word).unwrap_or(&0))
}

fn either(one: Set, other: Set) -> Set {
    std::array::from_fn(|word| one.get(word).unwrap_or(&0) | other.get(word).unwrap_or(&0))
}

fn is_empty(set: Set) -> bool {
    set == Set::default()
}

/// The number of the shape behind the first digit at `at`.
fn shape(view: View<'_>, at: usize) -> usize {
    let rest = view.text.get(at..).unwrap_or_default();
    let first = run(rest, FIRST_RUN_MAX + 1);
    let after = rest.get(first).map_or(After::End, |byte| kinds(*byte).after);
    let behind = rest.get(first + 1..).unwrap_or_default();
    let second = match behind.first().map(|byte| kinds(*byte).second) {
        _ if after == After::End || first > FIRST_RUN_MAX => Second::Any,
        Some(Second::Digits(_)) => match run(behind, SECOND_RUN_MAX) {
            count if count == behind.len() && !view.complete => Second::Any,
            count => Second::Digits(count),
        },
        Some(second) => second,
        None if view.complete => Second::End,
        None => Second::Any,
    };
    (first * After::COUNT + after as usize) * Second::COUNT + second.number()
}

/// How many digits a text begins with, as far as that is asked.
fn run(text: &[u8], most: usize) -> usize {
    let mut known = 0;
    while let Some(eight) = text.get(known..).and_then(|rest| rest.first_chunk()).filter(|_| known < most) {
        let digits =
            (!eights::digits(u64::from_le_bytes(*eight)) & eights::HIGH).trailing_zeros() as usize / 8;
        known += digits;
        if digits < 8 {
            return known.min(most);
        }
    }
    let rest = text.get(known..).unwrap_or_default();
    (known + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()).min(most)
}

/// The way in which a walk begins behind this text: one for each [`Before`], and one for the letter of an escape, which
/// may be anything.
fn start(earlier: &[u8]) -> usize {
    match earlier.last() {
        None => Before::Nothing as usize,
        Some(_) if ends_with_escape(earlier) => Before::COUNT,
        Some(last) => kinds(*last).before as usize,
    }
}

/// What stands before the first digit at `at`, how many bytes of a word do, and whether the first of those is the
/// letter of an escape.
fn before(text: &[u8], at: usize) -> (Before, usize, bool) {
    let (earlier, _) = text.split_at_checked(at).unwrap_or_default();
    let Some(last) = earlier.last() else { return (Before::Nothing, 0, false) };
    if !is_word(*last) {
        return (kinds(*last).before, 0, false);
    }
    let mut words = 0;
    while let Some((_, eight)) =
        earlier.get(..at - words).and_then(|rest| rest.split_last_chunk()).filter(|_| words < WORD_MAX)
    {
        let here = (!eights::words(u64::from_le_bytes(*eight)) & eights::HIGH).leading_zeros() as usize / 8;
        words += here;
        if here < 8 {
            break;
        }
    }
    let rest = earlier.get(..at - words).unwrap_or_default();
    words += rest.iter().rev().take(WORD_MAX).take_while(|byte| is_word(**byte)).count();
    let words = words.min(WORD_MAX);
    let (behind_escape, _) = earlier.split_at_checked(at + 1 - words).unwrap_or_default();
    (kinds(*last).before, words, ends_with_escape(behind_escape))
}

/// Whether more text could make more of the digits at `at`: then it is too early to ask.
pub(super) fn may_go_on(view: View<'_>, at: usize) -> bool {
    let is_near_the_end = view.text.len() < at + COUNTED_BYTES_MAX;
    !view.complete && is_near_the_end && !count(view.text, at).1
}

/// How many digits follow with single separators between them, as far as anchors ask, and whether that is final.
pub(super) fn count(text: &[u8], at: usize) -> (usize, bool) {
    let rest = text.get(at..).unwrap_or_default();
    let longest = FIRST_RUN_MAX + 1;
    let first = run(rest, longest);
    if first >= DIGITS_COUNTED_MAX && (first == longest || rest.len() > first) {
        return (first, true);
    }
    let (mut count, mut separated) = (first, false);
    for byte in rest.iter().skip(first) {
        match byte {
            b'0'..=b'9' => {
                (count, separated) = (count + 1, false);
                if count >= DIGITS_COUNTED_MAX {
                    return (count, true);
                }
            }
            b' ' | b'-' | b'.' | b'/' if !separated => separated = true,
            _ => return (count, true),
        }
    }
    (count, false)
}

fn alone(rule: &Rule) -> f32 {
    let context = rule.matcher.context();
    if ahead_bytes(rule) > CONTEXT_AHEAD_BYTES_MAX {
        f32::INFINITY
    } else if context.is_some_and(|context| context.required) {
        f32::NEG_INFINITY
    } else if Detector::of(&rule.document).credential == CredentialForm::None {
        rule.matcher.sure_alone()
    } else {
        // It may turn out to be known.
        f32::INFINITY
    }
}

/// How far behind the first digit a context word of a match can end.
fn ahead_bytes(rule: &Rule) -> usize {
    rule.matcher.context().map_or(0, |context| rule.document.width_bytes_max + context.after_bytes)
}

fn insert(set: &mut [Set], at: usize) {
    let word = set.get_mut(at / BLOCK_RULES).and_then(|block| block.get_mut(at % BLOCK_RULES / 64));
    if let Some(word) = word {
        *word |= 1 << (at % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::Verdict;
    use super::super::tests::{PLATFORM, shipped};
    use super::super::words::Around;
    use super::*;
    use proptest::prelude::*;

    /// Every rule that finds something at `at`, by asking all of them.
    fn naive(view: View<'_>, at: usize, threshold: f32) -> Vec<u16> {
        let (scanner, mut nearby) = (PLATFORM.platform(), Nearby::default());
        let (count, _) = count(view.text, at);
        let mut finding: Vec<u16> = scanner
            .digits()
            .rules
            .iter()
            .filter(|rule| rule.least <= count)
            .filter_map(|rule| {
                let start = at.checked_sub(rule.before)?;
                let mut around = Around { lexicon: scanner.lexicon(), nearby: &mut nearby, rule: rule.rule };
                let credential = scanner.detector(rule.rule)?.credential;
                match scanner.matcher(rule.rule)?.at(view, start, at, &mut around) {
                    Verdict::Found(found) if found.confidence >= threshold => Some(rule.rule),
                    Verdict::Found(_) if credential != CredentialForm::None => Some(rule.rule),
                    Verdict::Found(_) | Verdict::No | Verdict::Open => None,
                }
            })
            .collect();
        finding.sort_unstable();
        finding
    }

    fn candidates(view: View<'_>, at: usize, threshold: f32) -> Vec<u16> {
        let (scanner, mut nearby) = (PLATFORM.platform(), Nearby::default());
        let digits = scanner.digits();
        let Some(around) = digits.around(view, at) else { return Vec::new() };
        let blocks = digits.blocks().flat_map(|block| {
            let set = digits.candidates(block, view, &around, threshold, (scanner.lexicon(), &mut nearby));
            digits.members(block, set).map(|rule| rule.rule).collect::<Vec<_>>()
        });
        blocks.collect()
    }

    #[test]
    fn most_numbers_of_ordinary_texts_begin_nothing() {
        let digits = PLATFORM.platform().digits();
        let texts = ["we saw 3 timeouts", "in week 18. I would", "of 12 percent", "it took 40 ms more"];
        let begins = texts.map(|text| {
            let view = View { text: text.as_bytes(), complete: true };
            let at = text.find(|letter: char| letter.is_ascii_digit());
            digits.around(view, at.unwrap()).is_some()
        });
        assert_eq!(begins, [false; 4]);
    }

    proptest! {
        #[test]
        fn no_rule_is_left_out_that_finds_something(
            parts in prop::collection::vec(
                (any::<prop::sample::Index>(), "[ A-Za-z0-9_./:\\\\-]{0,6}|\\\\n|[0-9]{1,12}[ .-]", any::<bool>()), 1..6
            ),
            threshold in prop::sample::select(vec![0.0, 0.5, 0.7]),
        ) {
            let rules: Vec<_> = shipped().iter().filter(|rule| rule.anchor.digits.is_some()).collect();
            let text: String = parts
                .iter()
                .map(|(pick, noise, is_example)| {
                    let example = &pick.get(&rules).examples[0];
                    if *is_example { example.clone() + noise } else { noise.clone() }
                })
                .collect();
            let view = View { text: text.as_bytes(), complete: true };
            let is_digit = |at: usize| view.text[at].is_ascii_digit();
            for at in (0..text.len()).filter(|at| is_digit(*at) && (*at == 0 || !is_digit(at - 1))) {
                let candidates = candidates(view, at, threshold);
                for rule in naive(view, at, threshold) {
                    prop_assert!(candidates.contains(&rule), "{rule} at {at} of {text:?}");
                }
            }
        }
    }
}
