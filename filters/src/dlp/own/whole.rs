//! What stands in a whole text of rules without an anchor?
//!
//! If every match of each of them holds a few bytes that are rare, those are looked for, many places at a time, and the
//! rules are asked where such a match could begin. Otherwise, and on processors without vectors, their automaton reads
//! the text. Both ask at least wherever a match begins, and each rule at a place once.

use super::super::anchors::Sieve;
use super::super::matcher::View;
use super::super::parts;
use super::super::rules::CONTEXT_AFTER_BYTES_MAX;
use super::super::scanner::{Found, Wanted};
use super::inner::{self, Window};
use super::unanchored::{Unanchored, UnanchoredReading, WIDTH_BYTES_MAX};
use std::ops::Range;

/// Looking for windows may cost so much of what the automaton does.
const COST_MAX: f32 = 0.4;
/// Places are looked at in blocks of so many bytes.
const BLOCK_BYTES: usize = 8 * 1024;
/// If rules are to be asked at more places of one, it was made so: their automaton then takes less time.
const BEGINNINGS_MAX: usize = BLOCK_BYTES / 32;
/// How far behind the beginning of a match its rule may look.
const REACH_BYTES: usize = WIDTH_BYTES_MAX + CONTEXT_AFTER_BYTES_MAX + 1;
/// How far before it.
const BEFORE_BYTES: usize = 2;

/// The windows of all rules.
#[derive(Debug)]
pub(super) struct Windows {
    sieve: Sieve,
    /// Each with its rule.
    all: Box<[(u16, Window)]>,
    /// How far behind the beginning of a match a window may be.
    reach: usize,
}

impl Windows {
    /// The windows of rules with these patterns; none if their automaton takes less time.
    pub(super) fn of<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Self> {
        let of_rule = |(rule, pattern)| Some((rule, inner::windows(pattern)?));
        let of_rules = (0u16..).zip(patterns).map(of_rule).collect::<Option<Vec<_>>>()?;
        let all =
            of_rules.into_iter().flat_map(|(rule, windows)| windows.into_iter().map(move |one| (rule, one)));
        let all: Box<[(u16, Window)]> = all.collect();
        let cost: f32 = all.iter().map(|(_, window)| window.cost()).sum();
        if cost > COST_MAX {
            return None;
        }
        let classes: Vec<_> = all.iter().map(|(_, window)| window.classes).collect();
        let reach = all.iter().map(|(_, window)| window.most).max()?;
        Some(Self { sieve: Sieve::new(&classes)?, all, reach })
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.sieve.memory_bytes() + size_of_val(&*self.all)
    }

    /// Where in a place a match of which rule could begin, in order; none if there are too many.
    fn beginnings(
        &self,
        text: &[u8],
        place: &Range<usize>,
        mut beginnings: Vec<(usize, u16)>,
    ) -> Option<Vec<(usize, u16)>> {
        beginnings.clear();
        let end = text.len().min(place.end + self.reach);
        self.sieve.sweep(text, place.start..end, |at| {
            if beginnings.len() > BEGINNINGS_MAX {
                return;
            }
            let here = text.get(at..).unwrap_or_default();
            for (rule, window) in self.all.iter().filter(|(_, window)| window.is_at(here)) {
                let from = at.saturating_sub(window.most).max(place.start);
                let to = (at + 1).saturating_sub(window.least).min(place.end);
                beginnings.extend((from..to).map(|start| (start, *rule)));
            }
        });
        if beginnings.len() > BEGINNINGS_MAX {
            return None;
        }
        beginnings.sort_unstable();
        beginnings.dedup();
        Some(beginnings)
    }
}

impl Unanchored {
    /// Everything in a whole text that consists of parts; see [`super::super::Scanner::scan_as_written`]. Matches are
    /// looked for that begin in `places`.
    pub(super) fn scan(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        places: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let (mut found, mut here, mut beginnings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut reading, mut part) = (UnanchoredReading::default(), 0..0);
        for place in places.iter().flat_map(|place| self.blocks(place)) {
            let known = self
                .windows()
                .and_then(|windows| windows.beginnings(text, &place, std::mem::take(&mut beginnings)));
            let Some(known) = known else {
                self.scan_place(text, parts, &place, wanted, &mut found)?;
                continue;
            };
            for (start, rule) in &known {
                if !part.contains(start) {
                    let Some(next) = parts::at(parts, *start) else { continue };
                    part = next.clone();
                    reading = UnanchoredReading::default();
                }
                let view = View { text: text.get(part.clone()).unwrap_or_default(), complete: true };
                reading.ask(self, view, *rule, start - part.start, &mut here);
                if !here.is_empty() {
                    wanted.take((view.text, part.start), &mut here, &mut found)?;
                }
            }
            beginnings = known;
        }
        Some(found)
    }

    /// What of a place is looked at together: with the automaton, all of it.
    fn blocks(&self, place: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (end, step) = (place.end, if self.windows().is_some() { BLOCK_BYTES } else { usize::MAX });
        place.clone().step_by(step).map(move |start| start..end.min(start.saturating_add(step)))
    }

    /// Reads a place with the automaton.
    fn scan_place(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        place: &Range<usize>,
        wanted: &Wanted<'_>,
        found: &mut Vec<Found>,
    ) -> Option<()> {
        let mut here = Vec::new();
        for part in parts::within(parts, place) {
            let from = place.start.max(part.start) - part.start;
            let to = place.end.min(part.end) - part.start;
            let known = part.len().min(to + REACH_BYTES);
            let part = part.start..part.start + known;
            let view = View { text: text.get(part.clone()).unwrap_or_default(), complete: true };
            let read = from.saturating_sub(BEFORE_BYTES);
            UnanchoredReading::of_place(self, read, from..to).advance(self, view, &mut here);
            wanted.take((view.text, part.start), &mut here, found)?;
        }
        Some(())
    }
}
