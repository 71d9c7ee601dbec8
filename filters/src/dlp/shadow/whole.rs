//! What is found in a whole text and in its shadow?
//!
//! The plain text is scanned first and wins: a finding of a shadow counts if the same rule did not find as much there
//! already.

use super::super::detection::Detection;
use super::super::matcher::RUN_PIECE_BYTES;
use super::super::rules::{
    CONTEXT_AFTER_BYTES_MAX, CONTEXT_BEFORE_BYTES_MAX, LEAD_BYTES_MAX, LITERAL_BYTES_MAX, WIDTH_BYTES_MAX,
};
use super::super::scanner::{Found, Wanted};
use super::{Shadow, need};
use crate::credint::CredentialForm;
use std::ops::Range;

/// How far before a difference the anchor of a match may stand that it reaches: a match, and what is waited for.
const BEFORE_BYTES: usize = WIDTH_BYTES_MAX + CONTEXT_AFTER_BYTES_MAX + LITERAL_BYTES_MAX;
/// How far behind it: what stands before an anchor, and before that as context.
const BEHIND_BYTES: usize = LEAD_BYTES_MAX + CONTEXT_BEFORE_BYTES_MAX + LITERAL_BYTES_MAX;
/// How far before a finding another one may begin that covers it.
const REACH_BYTES: usize = RUN_PIECE_BYTES + WIDTH_BYTES_MAX;

impl Detection {
    /// Everything in a whole text, in the order of its places.
    pub fn scan(&self, text: &[u8]) -> Vec<Found> {
        self.scan_for(text, 0.0)
    }

    /// Everything in a whole text that is at least so sure, in the order of its places; and of credentials also what is
    /// less sure, as it may be known to be compromised.
    pub fn scan_for(&self, text: &[u8], threshold: f32) -> Vec<Found> {
        let credential =
            |rule| self.detector(rule).is_some_and(|detector| detector.credential != CredentialForm::None);
        let counts = |found: &mut Found, _: &[u8]| found.confidence >= threshold || credential(found.rule);
        let wanted = Wanted { threshold, counts: &counts, most: usize::MAX };
        let whole = 0..text.len();
        self.scan_parts(text, &[whole], &wanted).unwrap_or_default()
    }

    /// What is wanted of a whole text that consists of parts; no finding reaches over the border of a part. `parts` are
    /// in order; bytes between them belong to none. `None`: there is more of it than is wanted.
    pub(in crate::dlp) fn scan_parts(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let whole = 0..text.len();
        let mut found = self.scan_as_written(text, parts, &[whole], wanted)?;
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
            let by_rule = ByRule::of(plain);
            let known = revealed.len();
            for shadow in Shadow::all_of(here) {
                let earlier = ByRule::of(revealed.get(known..).unwrap_or_default());
                let mut more = self.scan_shadow(&shadow, plain, part.start, wanted)?;
                more.retain_mut(|one| {
                    shadow.place(one, here, part.start);
                    !self.covers(by_rule.near(one), one) && !self.covers(earlier.near(one), one)
                });
                revealed.append(&mut more);
            }
            if found.len() + revealed.len() > wanted.most {
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
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let endless = plain.iter().filter(|found| self.is_endless(found.rule));
        let endless: Vec<_> = endless.map(|found| found.span.start - start..found.span.end - start).collect();
        let whole = 0..shadow.text.len();
        self.scan_as_written(&shadow.text, &[whole], &shadow.places(&endless), wanted)
    }
}

/// Findings by rule, and of a rule in their order: a text may be full of those of others.
struct ByRule<'a>(Vec<&'a Found>);

impl<'a> ByRule<'a> {
    fn of(found: &'a [Found]) -> Self {
        let mut by_rule: Vec<&Found> = found.iter().collect();
        by_rule.sort_by_key(|found| found.rule);
        Self(by_rule)
    }

    /// Those that may cover another one.
    fn near(&self, other: &Found) -> impl Iterator<Item = &'a Found> {
        let floor = other.span.start.saturating_sub(REACH_BYTES);
        let from = self.0.partition_point(|found| (found.rule, found.span.start) < (other.rule, floor));
        let to =
            self.0.partition_point(|found| (found.rule, found.span.start) <= (other.rule, other.span.start));
        self.0.get(from..to).unwrap_or_default().iter().copied()
    }
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
    /// context reach, and so far behind. What has no end begins where the text had it begin: at `endless`, in order.
    fn places(&self, endless: &[Range<usize>]) -> Vec<Range<usize>> {
        let differences = self.map.differences(self.text.len());
        let endless = endless.iter().map(|run| self.map.before(run.start)..self.map.before(run.end));
        let mut places = places_around(differences, endless);
        if let Some(last) = places.last_mut() {
            last.end = last.end.min(self.text.len());
        }
        places
    }
}

fn around(range: Range<usize>) -> Range<usize> {
    range.start.saturating_sub(BEFORE_BYTES)..range.end + BEHIND_BYTES
}

/// What is around differences, and around those of the endless findings that reach there or to one that does. Both are
/// in order. A text can have a million of the first and ten thousand of the second, so no pair of them is compared.
fn places_around(
    differences: impl Iterator<Item = Range<usize>>,
    endless: impl DoubleEndedIterator<Item = Range<usize>>,
) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    differences.for_each(|difference| join(&mut places, around(difference)));
    let mut reaching: Vec<Range<usize>> = Vec::new();
    // From the last one on: all that were taken begin behind the one at hand, so the one before it begins first.
    for run in endless.rev() {
        let next = places.get(places.partition_point(|place| place.end < run.start));
        if next.into_iter().chain(reaching.last()).any(|place| place.start <= run.end) {
            reaching.push(around(run));
        }
    }
    if reaching.is_empty() {
        return places;
    }
    places.append(&mut reaching);
    places.sort_unstable_by_key(|place| place.start);
    let mut joined = Vec::with_capacity(places.len());
    for place in places {
        join(&mut joined, place);
    }
    joined
}

/// Appends a place that begins no earlier than those before it; those that touch become one.
fn join(places: &mut Vec<Range<usize>>, place: Range<usize>) {
    match places.last_mut() {
        Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
        Some(_) | None => places.push(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, by comparing every finding with every place.
    fn naive(differences: &[Range<usize>], endless: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut places: Vec<_> = differences.iter().cloned().map(around).collect();
        for run in endless.iter().rev() {
            if places.iter().any(|place| place.start <= run.end && run.start <= place.end) {
                places.push(around(run.clone()));
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        let mut joined = Vec::new();
        for place in places {
            join(&mut joined, place);
        }
        joined
    }

    /// Ranges of a text, in order, some of them around [`BEFORE_BYTES`] and [`BEHIND_BYTES`] apart.
    fn ranges(lengths: Range<usize>) -> impl Strategy<Value = Vec<Range<usize>>> {
        let gap = prop_oneof![0..4usize, 200..1_200usize, 5_000..9_000usize];
        prop::collection::vec((gap, lengths), 0..24).prop_map(|all| {
            let starts = all.iter().scan(0, |at, (gap, _)| {
                *at += gap;
                Some(*at)
            });
            starts.zip(&all).map(|(start, (_, length))| start..start + length).collect()
        })
    }

    proptest! {
        #[test]
        fn places_are_those_that_comparing_each_with_each_finds(
            differences in ranges(0..40),
            endless in ranges(0..6_000),
        ) {
            let fast = places_around(differences.iter().cloned(), endless.iter().cloned());
            prop_assert_eq!(fast, naive(&differences, &endless));
        }
    }
}
