//! With which bytes does every match of a pattern begin?
//!
//! Needs the syntax of a pattern; proves of each of its first places which bytes can stand there. From that follows
//! what a rule can be anchored by, if nobody said.

use super::super::rules::{
    Anchor, DIGITS_LEAD_BYTES_MAX, LITERAL_BYTES_MAX, LITERAL_BYTES_MIN, RuleDocument, word_bytes,
};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind};
use std::collections::BTreeSet;

/// More beginnings than that are no anchor.
const LITERALS_MAX: usize = 32;
/// Places that are looked at: a lead, and more digits than anybody asks for.
const PLACES_MAX: usize = DIGITS_LEAD_BYTES_MAX + 32;

/// The first places of a match, as far as they are the same in each.
#[derive(Debug, Default)]
pub(super) struct Leading {
    places: Vec<Place>,
    /// Whether digits may go on behind the last of them.
    goes_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Digit,
    NoDigit,
    Either,
}

impl Leading {
    fn of(pattern: &str) -> Option<Self> {
        let mut leading = Self::default();
        let goes_on = leading.read(&parse(pattern)?);
        Some(Self { goes_on, ..leading })
    }

    /// Adds what `hir` begins with; returns whether what follows is not known.
    fn read(&mut self, hir: &Hir) -> bool {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => false,
            HirKind::Literal(literal) => {
                self.places.extend(literal.0.iter().map(|byte| place(*byte, *byte)));
                false
            }
            HirKind::Class(class) => match class_place(class) {
                Some(place) => {
                    self.places.push(place);
                    false
                }
                None => true,
            },
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(parts) => {
                parts.iter().any(|part| self.places.len() > PLACES_MAX || self.read(part))
            }
            HirKind::Repetition(repetition) => {
                let is_open =
                    (0..repetition.min).any(|_| self.places.len() > PLACES_MAX || self.read(&repetition.sub));
                is_open || repetition.max != Some(repetition.min)
            }
            HirKind::Alternation(_) => true,
        }
    }

    /// Where the first digits of a match stand, and how many they are at least.
    fn digits(&self) -> Option<(usize, usize)> {
        let before = self.places.iter().position(|place| *place != Place::NoDigit)?;
        let rest = self.places.get(before..)?;
        let digits = rest.iter().take_while(|place| **place == Place::Digit).count();
        (digits > 0).then_some((before, digits))
    }
}

/// What the first run of digits of a rule's matches can be: `before` bytes into the match, so many digits at least, and
/// at most.
pub(super) fn first_run(rule: &RuleDocument, before: usize) -> (usize, usize) {
    let Some(leading) = Leading::of(&rule.pattern) else { return (1, usize::MAX) };
    let rest = leading.places.get(before..).unwrap_or_default();
    let digits = rest.iter().take_while(|place| **place == Place::Digit).count().max(1);
    let is_known = rest.len() > digits && rest.get(digits) == Some(&Place::NoDigit);
    let is_last = rest.len() == digits && !leading.goes_on && rule.boundary.right == word_bytes();
    (digits, if is_known || is_last { digits } else { usize::MAX })
}

/// What a rule without an anchor can be anchored by: each of its matches begins there.
pub(super) fn anchor(rule: &RuleDocument) -> Option<Anchor> {
    if let Some(literals) = literals(&rule.pattern) {
        return Some(Anchor { literals, ..Anchor::default() });
    }
    let (before, digits) = Leading::of(&rule.pattern)?.digits()?;
    // Without a byte of its own before its digits, a match could begin within a longer number.
    let is_group = before > 0 || rule.boundary.left == word_bytes();
    (is_group && before <= DIGITS_LEAD_BYTES_MAX).then(|| Anchor {
        digits: Some(digits),
        before,
        ..Anchor::default()
    })
}

/// The texts that matches begin with, in lower case, if they are few and long enough to be looked for.
fn literals(pattern: &str) -> Option<Vec<String>> {
    let mut extractor = Extractor::new();
    // Letters in either case are told apart, and wider classes end a literal.
    extractor.kind(ExtractKind::Prefix).limit_class(2).limit_total(64);
    let seq = extractor.extract(&parse(pattern)?);
    let mut literals = BTreeSet::new();
    for literal in seq.literals()? {
        let visible =
            literal.as_bytes().iter().take(LITERAL_BYTES_MAX).take_while(|byte| byte.is_ascii_graphic());
        let text: String = visible.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
        if text.len() < LITERAL_BYTES_MIN {
            return None;
        }
        literals.insert(text);
    }
    (1..=LITERALS_MAX).contains(&literals.len()).then(|| literals.into_iter().collect())
}

fn parse(pattern: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()
}

fn class_place(class: &Class) -> Option<Place> {
    let Class::Bytes(bytes) = class else { return None };
    let mut places = bytes.ranges().iter().map(|range| place(range.start(), range.end()));
    let first = places.next()?;
    Some(if places.all(|place| place == first) { first } else { Place::Either })
}

fn place(from: u8, to: u8) -> Place {
    if from.is_ascii_digit() && to.is_ascii_digit() {
        Place::Digit
    } else if to < b'0' || from > b'9' {
        Place::NoDigit
    } else {
        Place::Either
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor_of(pattern: &str) -> String {
        if let Some(literals) = literals(pattern) {
            return literals.join(" ");
        }
        let digits = Leading::of(pattern).and_then(|leading| leading.digits());
        digits.map_or_else(|| "none".to_owned(), |(before, digits)| format!("{digits} behind {before}"))
    }

    #[test]
    fn a_pattern_is_anchored_by_what_all_its_matches_begin_with() {
        for (pattern, expected) in [
            ("EMP-[0-9]{6}", "emp-"),
            ("(?i)lighthouse", "lighth"),
            ("(?:alpha|bravo)[0-9]", "alpha bravo"),
            ("(?:alpha|bra)[0-9]", "none"),
            ("[0-9]{6}(-[0-9]{2})?", "6 behind 0"),
            ("[A-Z]{2}[0-9]{3,9}", "3 behind 2"),
            ("[A-Z]{1,2}[0-9]{6}", "none"),
            ("[A-Z0-9]{8}", "none"),
            ("(?:ab|[0-9])[0-9]{6}", "none"),
            ("(?:[0-9]{2}){3}x", "6 behind 0"),
        ] {
            assert_eq!(anchor_of(pattern), expected, "{pattern}");
        }
    }
}
