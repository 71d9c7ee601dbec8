//! What is found in a whole text and in its shadow?
//!
//! The plain text is scanned first and wins: a finding of a shadow counts if the same rule did not find as much there
//! already.

use super::super::matcher::RUN_PIECE_BYTES;
use super::super::rules::{
    CONTEXT_AFTER_BYTES_MAX, CONTEXT_BEFORE_BYTES_MAX, LEAD_BYTES_MAX, LITERAL_BYTES_MAX, WIDTH_BYTES_MAX,
};
use super::super::scanner::{Found, Scanner};
use super::{Shadow, need};
use crate::credint::CredentialForm;
use std::ops::Range;

/// How far before a difference the anchor of a match may stand that it reaches: a match, and what is waited for.
const BEFORE_BYTES: usize = WIDTH_BYTES_MAX + CONTEXT_AFTER_BYTES_MAX + LITERAL_BYTES_MAX;
/// How far behind it: what stands before an anchor, and before that as context.
const BEHIND_BYTES: usize = LEAD_BYTES_MAX + CONTEXT_BEFORE_BYTES_MAX + LITERAL_BYTES_MAX;
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
        let whole = 0..text.len();
        let mut found = self.scan_as_written(text, parts, &[whole], counts, most)?;
        if !need::is_needed(text) {
            return Some(found);
        }
        let mut revealed = Vec::new();
        for part in parts {
            let here = text.get(part.clone()).unwrap_or_default();
            if parts.len() > 1 && !need::is_needed(here) {
                continue;
            }
            let from = found.partition_point(|found| found.span.start < part.start);
            let to = found.partition_point(|found| found.span.start < part.end);
            let plain = found.get(from..to).unwrap_or_default();
            let known = revealed.len();
            for shadow in Shadow::all_of(here) {
                let folded = known..revealed.len();
                for mut one in self.scan_shadow(&shadow, plain, part.start, counts, most)? {
                    shadow.place(&mut one, here, part.start);
                    let earlier = revealed.get(folded.clone()).unwrap_or_default();
                    if !self.covers(near(plain, &one), &one) && !self.covers(near(earlier, &one), &one) {
                        revealed.push(one);
                    }
                }
            }
            if found.len() + revealed.len() > most {
                return None;
            }
        }
        found.append(&mut revealed);
        found.sort_by_key(Found::order);
        Some(found)
    }

    /// Everything in a shadow that its text, from `start` on, does not say alike. `plain` was found in the text.
    fn scan_shadow(
        &self,
        shadow: &Shadow,
        plain: &[Found],
        start: usize,
        counts: &dyn Fn(&mut Found, &[u8]) -> bool,
        most: usize,
    ) -> Option<Vec<Found>> {
        let is_endless =
            |found: &&Found| self.rule(found.rule).is_some_and(|rule| rule.document.continues.is_some());
        let endless = plain.iter().filter(is_endless);
        let endless = endless.map(|found| found.span.start - start..found.span.end - start).collect();
        let whole = 0..shadow.text.len();
        self.scan_as_written(&shadow.text, &[whole], &shadow.places(endless), counts, most)
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
    /// Puts a finding of this shadow where it stands in a text whose part from `start` on this is the shadow of.
    fn place(&self, found: &mut Found, part: &[u8], start: usize) {
        *found = self.found(found.clone(), part);
        found.span = found.span.start + start..found.span.end + start;
    }

    /// A finding of this shadow, at its place in the text.
    pub(super) fn found(&self, mut found: Found, text: &[u8]) -> Found {
        let reads = self.text.get(found.span.clone()).unwrap_or_default();
        found.span = self.span_of(&found.span);
        if text.get(found.span.clone()) != Some(reads) {
            found.revealed = Some(reads.into());
        }
        found
    }

    /// Where anchors of findings can be that the text does not have: so far before what differs as a match and its
    /// context reach, and so far behind. What has no end begins where the text had it begin: at `endless`.
    fn places(&self, endless: Vec<Range<usize>>) -> Vec<Range<usize>> {
        let around = |range: Range<usize>| range.start.saturating_sub(BEFORE_BYTES)..range.end + BEHIND_BYTES;
        let mut places: Vec<_> = self.map.differences(self.text.len()).map(around).collect();
        for run in endless.into_iter().rev() {
            let run = self.map.before(run.start)..self.map.before(run.end);
            let reaches = |place: &Range<usize>| place.start <= run.end && run.start <= place.end;
            if places.iter().any(reaches) {
                places.push(around(run));
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for place in places {
            match merged.last_mut() {
                Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
                Some(_) | None => merged.push(place),
            }
        }
        if let Some(last) = merged.last_mut() {
            last.end = last.end.min(self.text.len());
        }
        merged
    }
}
