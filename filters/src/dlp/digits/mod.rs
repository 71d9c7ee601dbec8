//! Which rules could begin with these digits?
//!
//! Needs the shapes of all rules that digits anchor; proves that a rule which is left out cannot match there, or could
//! not be sure enough. Sets of rules are bits, so that a place is asked about once for all of them. What is left, the
//! rules' own automata decide.

mod around;
pub(super) mod eights;
mod forward;
mod glance;
mod sets;
mod shapes;

pub(super) use around::may_go_on;
pub(super) use sets::Sets;
pub(super) use shapes::Shapes;

use super::anchors::{BURIED_BYTES, Buried, NEVER};
use super::detector::Detector;
use super::matcher::View;
use super::rules::{CONTEXT_BEFORE_BYTES_MAX, DIGITS_LEAD_BYTES_MAX, Rule};
use super::words::{Lexicon, Nearby};
use crate::credint::CredentialForm;
use around::DIGITS_COUNTED_MAX;
use forward::{FEW_RULES, Forward, Member};
use glance::Glance;
use shapes::{After, Before, FIRST_RUN_MAX, PAIRS, Second, WORD_MAX};
use std::collections::BTreeMap;

/// How far before digits the context of a match can begin.
const CONTEXT_REACH_BYTES: usize = DIGITS_LEAD_BYTES_MAX + CONTEXT_BEFORE_BYTES_MAX;
/// Most rules' context begins no further before digits than this, and ends no further behind the first of them.
const NEAR_BEFORE_BYTES: usize = DIGITS_LEAD_BYTES_MAX + 64;
const NEAR_AHEAD_BYTES: usize = 76;
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

/// What stands around digits, told apart as far as it tells rules apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// Where the first of them stands.
    at: usize,
    /// The number of the set for what stands from there on, and of the shape behind it.
    forward: usize,
    shape: usize,
    /// The first two of them.
    pair: usize,
    before: Before,
    /// How many bytes of a word stand before it, and whether the first of those is the letter of an escape.
    words: usize,
    is_escape: bool,
    /// How many there are at once, and with separators between them.
    run: usize,
    count: usize,
}

/// A rule to ask, and where its match ends if that is certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) rule: u16,
    /// Bytes of the match before the digits.
    pub(super) before: usize,
    pub(super) end: Option<usize>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Digits {
    /// In the order in which they are asked: the bits of sets are their numbers here.
    rules: Vec<DigitRule>,
    /// What most digits of a text fail: three bytes behind them.
    glance: Glance,
    /// What most others do: all rules at once, walked over what stands there.
    forward: Forward,
    /// The sets that its numbers are of; the first one is empty.
    forward_sets: Sets,
    /// The numbers of `shapes`, by what stands behind the first digit: for each length, [`After`] and [`Second`].
    behind: Vec<u16>,
    /// The same of the rules of which it is certain that their match ends with the digits; none, if they are few.
    certain: Vec<u16>,
    /// The sets that those are.
    shapes: Sets,
    /// The number of the empty one.
    nothing: u16,
    /// Sets by the first two digits.
    pairs: Sets,
    /// Sets by what stands before the first one, for each [`Before`], and last the set of all.
    before: Sets,
    /// Sets by the letters of a word before it, for each count.
    words: Sets,
    /// The one set of rules that may match in the midst of a long word.
    behind_word: Sets,
    /// Sets by context word: the rules that it is one of.
    by_word: Sets,
    /// How sure rules are without a context word, in order, and for each the set of those that are as sure.
    levels: Vec<f32>,
    alone: Sets,
    /// Sets by how many digits there are: the rules that ask for no more.
    counts: Sets,
    /// The one set of rules whose context reaches further than that of most.
    far: Sets,
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
        if all.is_empty() {
            return Self::default();
        }
        all.sort_by_key(|(digit, ..)| (digit.least, digit.before, digit.rule));
        let mut digits = Self::default();
        digits.read_shapes(&all);
        digits.read_surroundings(&all);
        digits.read_context(&all, lexicon);
        digits.read_automata(&all);
        digits.rules = all.into_iter().map(|(digit, ..)| digit).collect();
        digits
    }

    fn read_shapes(&mut self, all: &[(DigitRule, &Rule, &Shapes)]) {
        let mut known: BTreeMap<Vec<usize>, u16> = BTreeMap::from([(Vec::new(), self.nothing)]);
        let mut number = |has: &dyn Fn(&Shapes) -> bool| {
            let next = known.len() as u16;
            *known.entry(having(all, has)).or_insert(next)
        };
        let is_in = |sets: &[u16], place: usize, second: usize| {
            sets.get(place).is_some_and(|set| set >> second & 1 == 1)
        };
        for place in 0..(FIRST_RUN_MAX + 2) * After::COUNT {
            for second in 0..Second::COUNT {
                self.behind.push(number(&|shapes| is_in(&shapes.behind, place, second)));
                if all.len() >= FEW_RULES {
                    self.certain.push(number(&|shapes| is_in(&shapes.certain, place, second)));
                }
            }
        }
        let mut sets: Vec<_> = known.into_iter().collect();
        sets.sort_unstable_by_key(|(_, number)| *number);
        self.shapes = Sets::new(all.len());
        for (set, _) in sets {
            self.shapes.push(set);
        }
    }

    fn read_surroundings(&mut self, all: &[(DigitRule, &Rule, &Shapes)]) {
        let sets = || Sets::new(all.len());
        (self.pairs, self.before, self.words, self.counts, self.alone) =
            (sets(), sets(), sets(), sets(), sets());
        for pair in 0..PAIRS {
            self.pairs.push(having(all, &|shapes| shapes.may_begin_with(pair)));
        }
        for before in 0..Before::COUNT {
            self.before.push(having(all, &|shapes| shapes.before >> before & 1 == 1));
        }
        self.before.push(0..all.len());
        for words in 0..=WORD_MAX {
            self.words.push(having(all, &|shapes| shapes.words >> words & 1 == 1));
        }
        self.behind_word = sets();
        self.behind_word.push(having(all, &Shapes::may_be_buried));
        let of_digits = |is_in: &dyn Fn(&DigitRule) -> bool| -> Vec<usize> {
            (0..).zip(all).filter(|(_, (digit, ..))| is_in(digit)).map(|(at, _)| at).collect()
        };
        for count in 0..=DIGITS_COUNTED_MAX {
            self.counts.push(of_digits(&|digit| digit.least <= count));
        }
        self.levels = all.iter().map(|(digit, ..)| digit.alone).collect();
        self.levels.sort_unstable_by(f32::total_cmp);
        self.levels.dedup();
        for level in &self.levels {
            self.alone.push(of_digits(&|digit| digit.alone >= *level));
        }
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
            having(all, &|shapes| before == Before::COUNT || shapes.before >> before & 1 == 1)
        };
        let starts: Vec<Vec<usize>> = (0..=Before::COUNT).map(behind).collect();
        let (forward, sets) = Forward::new(&members, &starts);
        self.glance = Glance::of(&forward);
        self.forward = forward;
        self.forward_sets = Sets::new(all.len());
        for set in sets {
            self.forward_sets.push(set);
        }
    }

    fn read_context(&mut self, all: &[(DigitRule, &Rule, &Shapes)], lexicon: &Lexicon) {
        let by_rule: BTreeMap<u16, usize> =
            (0..).zip(all).map(|(at, (digit, ..))| (digit.rule, at)).collect();
        self.by_word = Sets::new(all.len());
        for word in (0u16..).take(lexicon.len()) {
            self.by_word.push(lexicon.rules_of(word).iter().filter_map(|rule| by_rule.get(rule).copied()));
        }
        let asking = (0..).zip(all).filter(|(_, (digit, ..))| digit.alone < f32::INFINITY);
        self.ahead_bytes = asking.clone().map(|(_, (_, rule, _))| ahead_bytes(rule)).max().unwrap_or(0);
        self.far = Sets::new(all.len());
        self.far.push(asking.filter(|(_, (_, rule, _))| reaches_far(rule)).map(|(at, _)| at));
    }

    /// How many digits, at once, begin a match in the midst of a long word at least, behind each two bytes of it. None:
    /// no rule of these is anchored by digits.
    pub(super) fn buried(&self, rules: &[Rule]) -> Option<Buried> {
        let behind = |member: usize| {
            let rule = rules.get(usize::from(self.rules.get(member)?.rule))?;
            rule.matcher.shapes().map(Shapes::behind_word)
        };
        let rules: Vec<_> = sets::members(self.behind_word.get(0)).filter_map(behind).collect();
        let least = |before: [u8; 2]| {
            let of_those = rules.iter().filter(|rule| rule.may_be_behind(before)).map(|rule| rule.least);
            of_those.min().unwrap_or(NEVER)
        };
        (!self.rules.is_empty()).then(|| Buried::of(least))
    }

    /// The fewest digits, at once, that may begin a match.
    pub(super) fn least(&self) -> usize {
        let numbers = self.behind.chunks(After::COUNT * Second::COUNT);
        let is_any = |numbers: &[u16]| numbers.iter().any(|number| *number != self.nothing);
        numbers.into_iter().position(is_any).unwrap_or(usize::MAX)
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let sets = [
            &self.forward_sets,
            &self.shapes,
            &self.pairs,
            &self.before,
            &self.words,
            &self.behind_word,
            &self.by_word,
            &self.alone,
            &self.counts,
            &self.far,
        ];
        let sets: usize = sets.into_iter().map(Sets::memory_bytes).sum();
        sets + self.glance.memory_bytes()
            + self.forward.memory_bytes()
            + size_of_val(&*self.rules)
            + size_of_val(&*self.behind)
            + size_of_val(&*self.certain)
            + size_of_val(&*self.levels)
    }

    /// Whether a rule may begin with the digits at `at`: it takes no time to ask, and most of the time it is no.
    #[inline]
    pub(super) fn may_be(&self, text: &[u8], at: usize) -> bool {
        self.glance.may_be(text, at)
    }

    /// The same of digits in the midst of a long word.
    #[inline]
    pub(super) fn may_be_buried(&self, text: &[u8], at: usize) -> bool {
        if !self.glance.may_be(text, at) {
            return false;
        }
        let (earlier, from_here) = text.split_at_checked(at).unwrap_or_default();
        let forward = usize::from(self.forward.walk(from_here, around::start(earlier)));
        !sets::are_apart(self.forward_sets.get(forward), self.behind_word.get(0))
    }

    /// What stands around the digits at `at`; none, if no rule could begin with them.
    pub(super) fn around(&self, view: View<'_>, at: usize) -> Option<Around> {
        let (earlier, from_here) = view.text.split_at_checked(at)?;
        let forward = usize::from(self.forward.walk(from_here, around::start(earlier)));
        if forward == 0 {
            return None;
        }
        let (shape, run) = around::shape(view, at);
        if self.behind.get(shape).is_none_or(|number| *number == self.nothing) {
            return None;
        }
        let (before, words, is_escape) = around::before(view.text, at);
        let count = around::count(view.text, at).0.min(DIGITS_COUNTED_MAX);
        let pair = shapes::pair(from_here);
        Some(Around { at, forward, shape, pair, before, words, is_escape, run, count })
    }

    /// Puts into `set` the rules that these digits could begin, by what stands around them and at this threshold.
    pub(super) fn candidates(
        &self,
        view: View<'_>,
        around: &Around,
        threshold: f32,
        (lexicon, nearby): (&Lexicon, &mut Nearby),
        set: &mut Vec<u64>,
    ) {
        let Around { at, forward, shape, pair, before, words, is_escape, count, .. } = *around;
        let shape = self.behind.get(shape).copied().unwrap_or(self.nothing);
        // The letter of an escape such as `\n` may be part of a word, or not; and anything before digits.
        let fewer = if is_escape { words - 1 } else { words };
        let before = if is_escape && words == 1 { Before::COUNT } else { before as usize };
        let possible = self.forward_sets.get(forward).iter().zip(self.shapes.get(usize::from(shape)));
        let others = [self.pairs.get(pair), self.before.get(before), self.counts.get(count)];
        let behind_words = [self.words.get(words), self.words.get(fewer)];
        set.clear();
        for (number, (one, other)) in possible.enumerate() {
            let word = |set: &[u64]| set.get(number).copied().unwrap_or(0);
            let mut bits = one & other;
            // Few words have any bits left.
            if bits != 0 {
                bits = others.iter().fold(bits, |bits, other| bits & word(other));
                bits &= behind_words.iter().fold(0, |either, set| either | word(set));
            }
            set.push(bits);
        }
        if set.iter().any(|bits| *bits != 0) {
            self.ask_context(view, at, threshold, (lexicon, nearby), set);
        }
    }

    /// Leaves out what needs a context word where none is.
    fn ask_context(
        &self,
        view: View<'_>,
        at: usize,
        threshold: f32,
        (lexicon, nearby): (&Lexicon, &mut Nearby),
        set: &mut [u64],
    ) {
        let level = self.levels.iter().filter(|level| **level < threshold).count();
        let alone = Alone { sure: self.alone.get(level), far: self.far.get(0) };
        let needing = alone.needing(set);
        let reach = at.saturating_sub(CONTEXT_REACH_BYTES)..at + self.ahead_bytes;
        let is_known = view.complete || view.text.len() >= reach.end;
        if needing == 0 || !is_known || !nearby.is_worth(needing, at, &reach) {
            return;
        }
        nearby.cover(lexicon, view.text, reach.clone());
        let near = at.saturating_sub(NEAR_BEFORE_BYTES)..at + NEAR_AHEAD_BYTES.min(self.ahead_bytes);
        alone.keep_near(set, nearby.sets(lexicon, view.text, near, &self.by_word));
        if alone.is_far(set) {
            alone.keep(set, nearby.sets(lexicon, view.text, reach, &self.by_word));
        }
    }

    /// The rules of a set, in the order in which they are asked.
    pub(super) fn asked(&self, set: &[u64], around: &Around) -> impl Iterator<Item = Asked> {
        let certain = self.certain.get(around.shape).copied().unwrap_or(self.nothing);
        let certain = self.shapes.get(usize::from(certain));
        let end = around.at + around.run;
        sets::members(set).filter_map(move |member| {
            let DigitRule { rule, before, .. } = *self.rules.get(member)?;
            Some(Asked { rule, before, end: sets::holds(certain, member).then_some(end) })
        })
    }
}

/// How rules of a set are without context.
#[derive(Clone, Copy)]
struct Alone<'a> {
    /// Those that are sure enough.
    sure: &'a [u64],
    /// Those whose context reaches further than that of most.
    far: &'a [u64],
}

impl Alone<'_> {
    /// How many need context.
    fn needing(self, set: &[u64]) -> usize {
        let needing = set.iter().zip(self.sure).map(|(bits, sure)| bits & !sure);
        needing.filter(|bits| *bits != 0).map(|bits| bits.count_ones() as usize).sum()
    }

    /// Whether one that needs it may have it far away.
    fn is_far(self, set: &[u64]) -> bool {
        let all = set.iter().zip(self.sure).zip(self.far);
        all.into_iter().any(|((bits, sure), far)| bits & !sure & far != 0)
    }

    /// Keeps those that have context here, or need none.
    fn keep(self, set: &mut [u64], here: &[u64]) {
        let all = set.iter_mut().zip(self.sure).zip(here);
        all.for_each(|((bits, sure), here)| *bits &= sure | here);
    }

    /// The same, where only the context of most is looked at.
    fn keep_near(self, set: &mut [u64], here: &[u64]) {
        let all = set.iter_mut().zip(self.sure).zip(self.far).zip(here);
        all.for_each(|(((bits, sure), far), here)| *bits &= sure | far | here);
    }
}

/// The numbers of those whose shapes have something.
fn having(all: &[(DigitRule, &Rule, &Shapes)], has: &dyn Fn(&Shapes) -> bool) -> Vec<usize> {
    (0..).zip(all).filter(|(_, (.., shapes))| has(shapes)).map(|(at, _)| at).collect()
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

/// Whether context of a rule may stand further away than that of most.
fn reaches_far(rule: &Rule) -> bool {
    let context = rule.document.context.as_ref();
    context.is_some_and(|context| context.before_bytes > NEAR_BEFORE_BYTES - DIGITS_LEAD_BYTES_MAX)
        || ahead_bytes(rule) > NEAR_AHEAD_BYTES
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
        let (count, _) = around::count(view.text, at);
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
        let mut set = Vec::new();
        digits.candidates(view, &around, threshold, (scanner.lexicon(), &mut nearby), &mut set);
        digits.asked(&set, &around).map(|asked| asked.rule).collect()
    }

    /// What rules say of which it is certain where a match ends, and what they say when they are asked for it.
    fn certain(view: View<'_>, at: usize) -> Vec<(Verdict, Verdict)> {
        let (scanner, mut nearby) = (PLATFORM.platform(), Nearby::default());
        let digits = scanner.digits();
        let Some(around) = digits.around(view, at) else { return Vec::new() };
        let mut set = Vec::new();
        digits.candidates(view, &around, 0.0, (scanner.lexicon(), &mut nearby), &mut set);
        let certain = digits.asked(&set, &around).filter_map(|asked| {
            let (rule, matcher) = (asked.rule, scanner.matcher(asked.rule)?);
            let mut around = Around { lexicon: scanner.lexicon(), nearby: &mut nearby, rule };
            Some((matcher.of(view, at..asked.end?, &mut around), matcher.at(view, at, at, &mut around)))
        });
        certain.collect()
    }

    #[test]
    fn where_a_match_of_plain_digits_ends_is_certain() {
        let text = "my tax id is 123456789 as you know";
        let view = View { text: text.as_bytes(), complete: true };
        assert!(certain(view, 13).len() > 4);
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
                let digits = PLATFORM.platform().digits();
                prop_assert!(digits.may_be(view.text, at) || digits.around(view, at).is_none(), "{at} of {text:?}");
                let candidates = candidates(view, at, threshold);
                for rule in naive(view, at, threshold) {
                    prop_assert!(candidates.contains(&rule), "{rule} at {at} of {text:?}");
                }
            }
        }

        #[test]
        fn what_is_certain_is_what_asking_says(
            parts in prop::collection::vec("[0-9]{1,16}[ .,:/a-zA-Z_-]{1,2}|tax id |VAT |NIF ", 1..8),
            complete in any::<bool>(),
        ) {
            let text = parts.concat();
            let view = View { text: text.as_bytes(), complete };
            let is_digit = |at: usize| view.text[at].is_ascii_digit();
            for at in (0..text.len()).filter(|at| is_digit(*at) && (*at == 0 || !is_digit(at - 1))) {
                for (of, asked) in certain(view, at) {
                    prop_assert_eq!(of, asked, "at {} of {:?}", at, &text);
                }
            }
        }
    }
}
