//! What stands in this text? The rules together: anchors, then candidates, then findings.
//!
//! [`Scan`] reads a text that may still grow. `advance` finds what is decided; a whole body is one `advance` with
//! nothing to follow. Both ways run the same lines, so a stream cut anywhere gives the findings of the whole.

use super::anchors::{Anchors, Hit, Kind};
use super::bytes::ByteSet;
use super::detector::Detector;
use super::digits::{self, Asked, Digits};
use super::endless::Endless;
use super::matcher::{Match, Matcher, Verdict, View, held_lead};
use super::parts;
use super::rules::{
    DIGITS_LEAD_BYTES_MAX, LEAD_BYTES_MAX, LITERAL_BYTES_MAX, LITERAL_BYTES_MIN, Rule, RuleDocument,
};
use super::streaks;
use super::words::{Around, Lexicon, Nearby};
use crate::credint::Known;
use std::ops::Range;
use std::sync::Arc;

/// The trailing word of a stream is held back up to this length: the longest lead of a match and its literal.
pub(super) const WORD_HELD_BYTES: usize = LEAD_BYTES_MAX + LITERAL_BYTES_MAX;
/// A body is swept in blocks of this size.
const BLOCK_BYTES: usize = 64 * 1024;

/// A rule set, ready to scan; shared by all who use it.
#[derive(Debug)]
pub struct Scanner {
    documents: Vec<RuleDocument>,
    detectors: Vec<Arc<Detector>>,
    matchers: Vec<Matcher>,
    anchors: Anchors,
    /// For each literal, the rules that it anchors.
    literal_rules: Vec<Vec<u16>>,
    digits: Digits,
    /// Context words of all rules.
    lexicon: Lexicon,
    at_sign_rules: Vec<u16>,
}

/// A finding: where, by which rule, how sure.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The number of what found it, among all that is looked for.
    pub rule: u16,
    /// The bytes of the text.
    pub span: Range<usize>,
    /// From 0 to 1.
    pub confidence: f32,
    /// Whether a checksum agreed.
    pub validated: bool,
    /// How the value is known to be compromised, once that was asked.
    pub known: Option<Known>,
    /// What the value reads as, if it is disguised.
    pub revealed: Option<Arc<[u8]>>,
    /// Whether it is remembered from a text that was sent before.
    pub is_repeated: bool,
}

/// Everything in these parts of a text; `None`: there is more than one text may hold.
pub(super) type ScanParts<'a> = dyn Fn(&[u8], &[Range<usize>]) -> Option<Vec<Found>> + 'a;

/// An anchor that waits for more text.
#[derive(Clone, Copy, Debug)]
enum Candidate {
    Digits { at: usize },
    Rule { rule: u16, start: usize, anchor: usize },
    Rest { rule: u16, from: usize, confidence: f32 },
}

impl Candidate {
    /// The earliest byte that the finding may cover.
    fn start(&self) -> usize {
        match self {
            Self::Digits { at } => at.saturating_sub(DIGITS_LEAD_BYTES_MAX),
            Self::Rule { start, .. } => *start,
            Self::Rest { from, .. } => *from,
        }
    }

    fn shift(&mut self, by: usize) {
        match self {
            Self::Digits { at } => *at -= by,
            Self::Rule { start, anchor, .. } => (*start, *anchor) = (*start - by, *anchor - by),
            Self::Rest { from, .. } => *from -= by,
        }
    }
}

/// What is wanted of a scan.
pub(super) struct Wanted<'a> {
    /// Findings that are less sure count for nothing, but for credentials, which may be known to be compromised.
    pub(super) threshold: f32,
    /// Asked about each finding with the text it covers; may make it surer first.
    pub(super) counts: &'a dyn Fn(&mut Found, &[u8]) -> bool,
    /// No more than so many.
    pub(super) most: usize,
}

impl Wanted<'_> {
    /// Of what was found `here`, in the part of a text that begins at `start`, takes what counts, at its place in the
    /// whole. `None`: there is more than is wanted.
    pub(super) fn take(
        &self,
        (part, start): (&[u8], usize),
        here: &mut Vec<Found>,
        found: &mut Vec<Found>,
    ) -> Option<()> {
        for mut one in here.drain(..) {
            let value = part.get(one.span.clone()).unwrap_or_default();
            if (self.counts)(&mut one, value) {
                one.span = one.span.start + start..one.span.end + start;
                found.push(one);
            }
        }
        (found.len() <= self.most).then_some(())
    }
}

/// The state of reading one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    open: Vec<Candidate>,
    hits: Vec<Hit>,
    /// Bytes whose anchors are known.
    swept: usize,
    nearby: Nearby,
    endless: Endless,
    /// The rules that digits are asked about.
    set: Vec<u64>,
    /// Findings that are less sure count for nothing.
    threshold: f32,
}

impl Scanner {
    /// Puts rules together.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut literals: Vec<&str> = Vec::new();
        let mut literal_rules: Vec<Vec<u16>> = Vec::new();
        let mut at_sign_rules = Vec::new();
        for (number, rule) in (0u16..).zip(&rules) {
            let anchor = &rule.document.anchor;
            for literal in &anchor.literals {
                let known = literals.iter().position(|known| known.eq_ignore_ascii_case(literal));
                if let Some(owners) = known.and_then(|known| literal_rules.get_mut(known)) {
                    owners.push(number);
                } else {
                    literals.push(literal);
                    literal_rules.push(vec![number]);
                }
            }
            if anchor.at_sign {
                at_sign_rules.push(number);
            }
        }
        let withins = streaks::of_literals(&rules, &literal_rules);
        let literals: Vec<(&str, Option<usize>)> = literals.into_iter().zip(withins).collect();
        let mut anchors = Anchors::new(&literals);
        let words = (0u16..).zip(&rules).filter_map(|(number, rule)| Some((number, rule.matcher.context()?)));
        let lexicon =
            Lexicon::new(words.flat_map(|(number, words)| words.forms().map(move |word| (word, number))));
        let digits = Digits::new(&rules, &lexicon);
        anchors.skip_short(digits.least(), digits.buried(&rules));
        let mut scanner = Self {
            documents: Vec::with_capacity(rules.len()),
            detectors: rules.iter().map(|rule| Arc::new(Detector::of(&rule.document))).collect(),
            matchers: Vec::with_capacity(rules.len()),
            anchors,
            literal_rules,
            digits,
            lexicon,
            at_sign_rules,
        };
        for Rule { document, matcher } in rules {
            scanner.documents.push(document);
            scanner.matchers.push(matcher);
        }
        scanner
    }

    /// The ways that this processor can look for anchors, best first: the one that is taken. They find the same.
    pub fn ways() -> Vec<&'static str> {
        Anchors::ways()
    }

    /// Takes another of those ways, to measure it.
    #[must_use]
    pub fn with_way(mut self, way: &str) -> Self {
        self.anchors.go(way);
        self
    }

    /// The same in less memory, and without the rules as they were written: it finds the same, some of it slower.
    #[must_use]
    pub(super) fn shrunk(mut self) -> Self {
        self.documents = Vec::new();
        self.matchers.iter_mut().for_each(Matcher::shrink);
        self
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let rules: usize = self.matchers.iter().map(Matcher::memory_bytes).sum();
        let detectors: usize = self.detectors.iter().map(|detector| detector.memory_bytes()).sum();
        let parts = self.anchors.memory_bytes() + self.digits.memory_bytes() + self.lexicon.memory_bytes();
        let literals: usize =
            self.literal_rules.iter().map(|rules| size_of_val(rules) + size_of_val(&**rules)).sum();
        rules + detectors + parts + literals + size_of_val(&*self.detectors)
    }

    /// The rules as they were written, in the order of their numbers.
    pub fn documents(&self) -> &[RuleDocument] {
        &self.documents
    }

    /// What is known of rules that digits anchor.
    #[cfg(test)]
    pub(super) fn digits(&self) -> &Digits {
        &self.digits
    }

    /// The context words of all rules.
    #[cfg(test)]
    pub(super) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// What the rules are to their findings, in the order of their numbers.
    pub fn detectors(&self) -> &[Arc<Detector>] {
        &self.detectors
    }

    /// The one with this number.
    pub fn detector(&self, number: u16) -> Option<&Arc<Detector>> {
        self.detectors.get(usize::from(number))
    }

    /// Whether what this rule finds may go on without end.
    pub(super) fn is_endless(&self, number: u16) -> bool {
        self.matcher(number).is_some_and(Matcher::is_endless)
    }

    pub(super) fn matcher(&self, number: u16) -> Option<&Matcher> {
        self.matchers.get(usize::from(number))
    }

    /// Everything in a whole text that consists of parts, without its shadow; no finding reaches over the border of a
    /// part. `parts` are in order; bytes between them belong to none. Anchors are looked for in `places`, in order.
    /// `None`: there are more than what is wanted.
    pub(super) fn scan_as_written(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        places: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let (mut found, mut here, mut hits) = (Vec::new(), Vec::new(), Vec::new());
        let mut scan = Scan::new(wanted.threshold);
        let mut part = 0..0;
        // In blocks, so that a text that is nothing but anchors does not become a list of them.
        let blocks = places.iter().flat_map(|place| {
            let starts = place.clone().step_by(BLOCK_BYTES);
            starts.map(|start| start..place.end.min(start + BLOCK_BYTES))
        });
        for block in blocks {
            self.anchors.sweep_whole(text, block, &mut hits);
            for hit in hits.drain(..) {
                // Most hits lie in the part of the one before.
                if !part.contains(&hit.at) {
                    let Some(next) = parts::at(parts, hit.at) else { continue };
                    part = next.clone();
                    scan.nearby.clear();
                    scan.endless.clear();
                }
                let view = View { text: text.get(part.clone()).unwrap_or_default(), complete: true };
                scan.candidates(self, view, Hit { at: hit.at - part.start, kind: hit.kind }, &mut here);
                while let Some(candidate) = scan.open.pop() {
                    scan.ask(self, view, candidate, &mut here);
                }
                if !here.is_empty() {
                    wanted.take((view.text, part.start), &mut here, &mut found)?;
                }
            }
        }
        found.sort_by_key(Found::order);
        Some(found)
    }
}

impl Found {
    /// A match of the rule with this number.
    pub(super) fn of(rule: u16, of: &Match) -> Self {
        let Match { confidence, validated, .. } = *of;
        let (known, revealed, is_repeated) = (None, None, false);
        Self { rule, span: of.span.clone(), confidence, validated, known, revealed, is_repeated }
    }

    /// The value that was found in this text, without its disguise.
    pub(super) fn value<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        self.revealed.as_deref().or_else(|| text.get(self.span.clone())).unwrap_or_default()
    }

    pub(super) fn order(&self) -> (usize, usize, u16) {
        (self.span.start, self.span.end, self.rule)
    }
}

impl Scan {
    /// A text before its first byte. Findings that are less sure than this may be left out, unless the value is a
    /// credential, which may be known to be compromised.
    pub(super) fn new(threshold: f32) -> Self {
        Self { threshold, ..Self::default() }
    }

    /// Reads on. `view` is the text from some point on; what it held at the last call it still holds. Appends
    /// what is decided and returns the offset before which nothing can be found any more.
    pub(super) fn advance(&mut self, scanner: &Scanner, view: View<'_>, found: &mut Vec<Found>) -> usize {
        self.nearby.clear();
        for candidate in std::mem::take(&mut self.open) {
            self.ask(scanner, view, candidate, found);
        }
        let mut hits = std::mem::take(&mut self.hits);
        let from = self.swept.saturating_sub(LITERAL_BYTES_MAX - 1);
        let end = view.text.len();
        scanner.anchors.sweep(view.text, from..end, self.swept, &mut hits);
        let swept = self.swept;
        for hit in hits.drain(..) {
            if !Self::was_known(scanner, hit, swept) {
                self.candidates(scanner, view, hit, found);
            }
        }
        self.hits = hits;
        self.swept = view.text.len();
        // A piece that was just completed may go on in what is already here.
        while view.complete && !self.open.is_empty() {
            for candidate in std::mem::take(&mut self.open) {
                self.ask(scanner, view, candidate, found);
            }
        }
        if view.complete { view.text.len() } else { self.frontier(view.text) }
    }

    /// The first byte that an open candidate or the next sweep looks at.
    pub(super) fn needed_from(&self) -> usize {
        self.open.iter().map(Candidate::start).fold(self.swept, usize::min)
    }

    /// Whether nothing waits for more text.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The text now begins `by` bytes later.
    pub(super) fn forget(&mut self, by: usize) {
        self.swept -= by;
        self.endless.forget(by);
        self.open.iter_mut().for_each(|candidate| candidate.shift(by));
    }

    /// A literal is seen again while the sweep overlaps; it was complete before if it ended before.
    fn was_known(scanner: &Scanner, hit: Hit, swept: usize) -> bool {
        match hit.kind {
            Kind::Digits | Kind::BuriedDigits | Kind::AtSign => false,
            Kind::Literal(number) => {
                let length = scanner.anchors.literal_bytes(number);
                hit.at + length <= swept
            }
        }
    }

    fn frontier(&self, text: &[u8]) -> usize {
        let tail_from = text.len().saturating_sub(WORD_HELD_BYTES);
        let tail = text.get(tail_from..).unwrap_or_default();
        let word =
            tail.iter().rposition(u8::is_ascii_whitespace).map_or(tail_from, |space| tail_from + space + 1);
        let word = word - held_lead(text.get(..word).unwrap_or_default());
        self.open.iter().map(Candidate::start).fold(word, usize::min)
    }

    fn candidates(&mut self, scanner: &Scanner, view: View<'_>, hit: Hit, found: &mut Vec<Found>) {
        let at = hit.at;
        match hit.kind {
            // Most hits are digits, and most of those are nothing.
            Kind::Digits if !scanner.digits.may_be(view.text, at) => {}
            Kind::BuriedDigits if !scanner.digits.may_be_buried(view.text, at) => {}
            Kind::Digits | Kind::BuriedDigits => self.ask_digits(scanner, view, at, found),
            Kind::AtSign => {
                for rule in scanner.at_sign_rules.iter().copied() {
                    let start = scanner.matcher(rule).map_or(at, |matcher| before_at(view.text, at, matcher));
                    if start < at {
                        self.ask(scanner, view, Candidate::Rule { rule, start, anchor: at }, found);
                    }
                }
            }
            Kind::Literal(literal) => {
                let owners = scanner.literal_rules.get(usize::from(literal));
                for rule in owners.into_iter().flatten().copied() {
                    let lead = scanner.matcher(rule).and_then(Matcher::lead);
                    let start = lead.map_or(at, |class| lead_start(view.text, at, class));
                    self.ask(scanner, view, Candidate::Rule { rule, start, anchor: at }, found);
                }
            }
        }
    }

    fn ask(&mut self, scanner: &Scanner, view: View<'_>, candidate: Candidate, found: &mut Vec<Found>) {
        let (number, verdict) = match candidate {
            Candidate::Digits { at } => return self.ask_digits(scanner, view, at, found),
            Candidate::Rule { rule, start, .. } if self.endless.holds(rule, start) => return,
            Candidate::Rule { rule, start, anchor } => {
                let Some(matcher) = scanner.matcher(rule) else { return };
                let mut around = Around { lexicon: &scanner.lexicon, nearby: &mut self.nearby, rule };
                (rule, matcher.at(view, start, anchor, &mut around))
            }
            Candidate::Rest { rule, from, confidence } => {
                let Some(matcher) = scanner.matcher(rule) else { return };
                (rule, matcher.resume(view, from, confidence))
            }
        };
        if let Some(matcher) = scanner.matcher(number).filter(|matcher| matcher.is_endless()) {
            let goes_on_from = if let Candidate::Rest { from, .. } = candidate { Some(from) } else { None };
            self.endless.follow(number, goes_on_from, &verdict, matcher.surest());
        }
        self.take(number, candidate, verdict, found);
    }

    /// Takes what a rule said of a candidate.
    fn take(&mut self, rule: u16, candidate: Candidate, verdict: Verdict, found: &mut Vec<Found>) {
        match verdict {
            Verdict::No => {}
            Verdict::Open => self.open.push(candidate),
            Verdict::Found(of) => {
                if of.unfinished {
                    self.open.push(Candidate::Rest { rule, from: of.span.end, confidence: of.confidence });
                }
                found.push(Found::of(rule, &of));
            }
        }
    }

    fn ask_digits(&mut self, scanner: &Scanner, view: View<'_>, at: usize, found: &mut Vec<Found>) {
        if digits::may_go_on(view, at) {
            self.open.push(Candidate::Digits { at });
            return;
        }
        let Some(around) = scanner.digits.around(view, at) else { return };
        let mut set = std::mem::take(&mut self.set);
        let context = (&scanner.lexicon, &mut self.nearby);
        scanner.digits.candidates(view, &around, self.threshold, context, &mut set);
        for Asked { rule, before, end } in scanner.digits.asked(&set, &around) {
            let Some((matcher, start)) = scanner.matcher(rule).zip(at.checked_sub(before)) else { continue };
            let mut around = Around { lexicon: &scanner.lexicon, nearby: &mut self.nearby, rule };
            let verdict = match end {
                Some(end) => matcher.of(view, start..end, &mut around),
                // What stands before the digits is seldom what a match begins with.
                None if view.text.get(start).is_none_or(|byte| !matcher.may_begin_with(*byte)) => continue,
                None => matcher.at(view, start, at, &mut around),
            };
            self.take(rule, Candidate::Rule { rule, start, anchor: at }, verdict, found);
        }
        self.set = set;
    }
}

/// Where the bytes of a class that touch `at` begin, at most as far before it as a match may begin.
fn lead_start(text: &[u8], at: usize, class: &ByteSet) -> usize {
    let floor = at.saturating_sub(LEAD_BYTES_MAX);
    let before = text.get(floor..at).unwrap_or_default();
    before.iter().rposition(|byte| !class.contains(*byte)).map_or(floor, |stop| floor + stop + 1)
}

/// Where a match of this rule begins that has its `@` at `at`: of the bytes before it that the rule takes, at the first
/// one that it can begin with.
fn before_at(text: &[u8], at: usize, matcher: &Matcher) -> usize {
    let Some(class) = matcher.lead() else { return local_part_start(text, at) };
    let start = lead_start(text, at, class);
    let lead = text.get(start..at).unwrap_or_default();
    start + lead.iter().position(|byte| matcher.may_begin_with(*byte)).unwrap_or(lead.len())
}

/// Where the local part of an e-mail address before `at` begins (RFC 5322 dot-atom, at most 64 bytes).
fn local_part_start(text: &[u8], at: usize) -> usize {
    let floor = at.saturating_sub(LEAD_BYTES_MAX);
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(byte);
    let before = text.get(floor..at).unwrap_or_default();
    before.iter().rposition(|byte| !local(byte)).map_or(floor, |stop| floor + stop + 1)
}

const _: () = assert!(LITERAL_BYTES_MIN == 4, "the sweep looks at windows of four bytes");
