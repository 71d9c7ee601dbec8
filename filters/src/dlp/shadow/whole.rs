//! What is found in a whole text and in its shadow?
//!
//! The plain text is scanned first and wins: a finding of a shadow counts if the same rule did not find as much there
//! already.

use super::super::matcher::RUN_PIECE_BYTES;
use super::super::rules::WIDTH_BYTES_MAX;
use super::super::scanner::{Found, Scanner};
use super::{Shadow, need};
use crate::credint::CredentialForm;
use std::ops::Range;

/// How far before a finding another one may begin that covers it.
const REACH_BYTES: usize = RUN_PIECE_BYTES + WIDTH_BYTES_MAX;

impl Scanner {
    /// Everything in a whole text, in the order of its places.
    pub fn scan(&self, text: &[u8]) -> Vec<Found> {
        let whole = 0..text.len();
        self.scan_parts(text, &[whole], &|_, _| true, usize::MAX).unwrap_or_default()
    }

    /// Everything in a whole text that consists of parts; no finding reaches over the border of a part. `parts` are
    /// in order; bytes between them belong to none. `counts` is asked about each finding with the text it covers, and
    /// may make it surer first. `None`: there are more than `most`.
    pub(in crate::dlp) fn scan_parts(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        counts: &dyn Fn(&mut Found, &[u8]) -> bool,
        most: usize,
    ) -> Option<Vec<Found>> {
        let mut found = self.scan_as_written(text, parts, counts, most)?;
        if !need::is_needed(text) {
            return Some(found);
        }
        let mut revealed = Vec::new();
        for part in parts {
            let here = text.get(part.clone()).unwrap_or_default();
            if parts.len() > 1 && !need::is_needed(here) {
                continue;
            }
            let mut known = revealed.len()..revealed.len();
            for shadow in Shadow::all_of(here) {
                let whole = 0..shadow.text.len();
                for one in self.scan_as_written(&shadow.text, &[whole], counts, most)? {
                    let mut one = shadow.found(one, here);
                    one.span = one.span.start + part.start..one.span.end + part.start;
                    let earlier = revealed.get(known.clone()).unwrap_or_default();
                    if !self.covers(near(&found, &one), &one) && !self.covers(near(earlier, &one), &one) {
                        revealed.push(one);
                    }
                }
                known.end = revealed.len();
            }
            if found.len() + revealed.len() > most {
                return None;
            }
        }
        found.append(&mut revealed);
        found.sort_by_key(Found::order);
        Some(found)
    }

    /// Whether one of these findings says all that another one of the same place says.
    pub(in crate::dlp) fn covers(&self, known: &[Found], other: &Found) -> bool {
        // A credential that reads differently may be known to be leaked.
        let is_asked = self.rule(other.rule).is_some_and(|rule| rule.credential != CredentialForm::None);
        known.iter().any(|known| {
            let reads_alike = known.span == other.span && known.revealed == other.revealed;
            known.rule == other.rule
                && known.span.start <= other.span.start
                && other.span.end <= known.span.end
                && known.confidence >= other.confidence
                && (reads_alike || !is_asked)
        })
    }
}

/// Those of all findings, in their order, that may cover another one.
fn near<'a>(found: &'a [Found], other: &Found) -> &'a [Found] {
    let floor = other.span.start.saturating_sub(REACH_BYTES);
    let from = found.partition_point(|found| found.span.start < floor);
    let to = found.partition_point(|found| found.span.start <= other.span.start);
    found.get(from..to).unwrap_or_default()
}

impl Shadow {
    /// A finding of this shadow, at its place in the text.
    pub(super) fn found(&self, mut found: Found, text: &[u8]) -> Found {
        let reads = self.text.get(found.span.clone()).unwrap_or_default();
        found.span = self.span_of(&found.span);
        if text.get(found.span.clone()) != Some(reads) {
            found.revealed = Some(reads.into());
        }
        found
    }
}
