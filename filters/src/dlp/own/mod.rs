//! What does an organisation look for besides what everybody's texts are searched for?
//!
//! Every kind of detector of its own is a member here, with its state in [`OwnReading`]. Each finds by itself, so none
//! can hide or shorten what another one finds, or what the platform does. Equal ones are shared by organisations.

#[cfg(test)]
mod tests;

use super::detector::Detector;
use super::matcher::View;
use super::rules::Rule;
use super::scanner::{Found, Scan, Scanner, Wanted};
use std::ops::Range;
use std::sync::Arc;

/// An organisation's own detectors, numbered from 0 in the order of its members.
#[derive(Debug)]
pub struct Own {
    rules: Scanner,
}

/// The state of reading one text with them.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnReading {
    rules: Scan,
}

impl Own {
    /// Puts an organisation's rules together.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: Scanner::new(rules) }
    }

    /// All of them, in the order of their numbers.
    pub(super) fn detectors(&self) -> impl Iterator<Item = &Arc<Detector>> {
        self.rules.detectors().iter()
    }

    pub(super) fn detector(&self, number: u16) -> Option<&Arc<Detector>> {
        self.rules.detector(number)
    }

    /// Whether what this one finds may go on without end.
    pub(super) fn is_endless(&self, number: u16) -> bool {
        self.rules.is_endless(number)
    }

    /// As [`Scanner::scan_as_written`].
    pub(super) fn scan_as_written(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        places: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        self.rules.scan_as_written(text, parts, places, wanted)
    }
}

impl OwnReading {
    /// As [`Scan::advance`].
    pub(super) fn advance(&mut self, own: &Own, view: View<'_>, found: &mut Vec<Found>) -> usize {
        self.rules.advance(&own.rules, view, found)
    }

    /// As [`Scan::needed_from`].
    pub(super) fn needed_from(&self) -> usize {
        self.rules.needed_from()
    }

    /// As [`Scan::is_idle`].
    pub(super) fn is_idle(&self) -> bool {
        self.rules.is_idle()
    }

    /// As [`Scan::forget`].
    pub(super) fn forget(&mut self, by: usize) {
        self.rules.forget(by);
    }
}
