//! What does an organisation look for besides what everybody's texts are searched for?
//!
//! Every kind of detector of its own is a member here, with its state in [`OwnReading`]. Each finds by itself, so none
//! can hide or shorten what another one finds, or what the platform does. Equal ones are shared by organisations.

mod background;
mod compile;
mod inner;
mod leading;
mod table;
#[cfg(test)]
mod tests;
mod unanchored;
mod whole;

pub use compile::NAMESPACE;

use super::detector::Detector;
use super::matcher::View;
use super::scanner::{Found, Scan, Scanner, Wanted};
use std::ops::Range;
use std::sync::Arc;
use unanchored::{Unanchored, UnanchoredReading};

/// An organisation's own detectors, numbered from 0 in the order of its members.
#[derive(Debug)]
pub struct Own {
    rules: Scanner,
    unanchored: Option<Unanchored>,
    detectors: Box<[Arc<Detector>]>,
}

/// The state of reading one text with them.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnReading {
    rules: Scan,
    /// None until there is a text and a rule without an anchor.
    unanchored: Option<UnanchoredReading>,
}

impl Own {
    /// All of them, in the order of their numbers.
    pub(super) fn detectors(&self) -> &[Arc<Detector>] {
        &self.detectors
    }

    /// The memory that it takes, as far as it grows with rules.
    pub fn memory_bytes(&self) -> usize {
        self.rules.memory_bytes() + self.unanchored.as_ref().map_or(0, Unanchored::memory_bytes)
    }

    /// Whether what this one finds may go on without end.
    pub(super) fn is_endless(&self, number: u16) -> bool {
        self.rules.is_endless(number)
    }

    /// The number of the first rule that has no anchor.
    fn first_unanchored(&self) -> u16 {
        self.rules.detectors().len() as u16
    }

    /// As [`Scanner::scan_as_written`].
    pub(super) fn scan_as_written(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        places: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let mut found = self.rules.scan_as_written(text, parts, places, wanted)?;
        if let Some(unanchored) = &self.unanchored {
            let counts = |found: &mut Found, value: &[u8]| {
                found.rule += self.first_unanchored();
                (wanted.counts)(found, value)
            };
            found.append(&mut unanchored.scan(
                text,
                parts,
                places,
                &Wanted { counts: &counts, ..*wanted },
            )?);
        }
        Some(found)
    }
}

impl OwnReading {
    /// As [`Scan::advance`].
    pub(super) fn advance(&mut self, own: &Own, view: View<'_>, found: &mut Vec<Found>) -> usize {
        let decided = self.rules.advance(&own.rules, view, found);
        let Some(unanchored) = &own.unanchored else { return decided };
        let before = found.len();
        let decided = decided.min(self.unanchored.get_or_insert_default().advance(unanchored, view, found));
        found.iter_mut().skip(before).for_each(|found| found.rule += own.first_unanchored());
        decided
    }

    /// As [`Scan::needed_from`].
    pub(super) fn needed_from(&self) -> usize {
        let unanchored = self.unanchored.as_ref().map(UnanchoredReading::needed_from);
        unanchored.into_iter().fold(self.rules.needed_from(), usize::min)
    }

    /// As [`Scan::is_idle`].
    pub(super) fn is_idle(&self) -> bool {
        self.rules.is_idle() && self.unanchored.as_ref().is_none_or(UnanchoredReading::is_idle)
    }

    /// As [`Scan::forget`].
    pub(super) fn forget(&mut self, by: usize) {
        self.rules.forget(by);
        if let Some(unanchored) = &mut self.unanchored {
            unanchored.forget(by);
        }
    }
}
