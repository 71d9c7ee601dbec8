//! Which bytes are replaced, by whose label, in which mode?
//!
//! Findings that overlap become one region: their union, so that no byte of any of them stays, as what the strongest
//! found (validated, then confidence, then length, then the earlier rule), in the strictest mode of all. A region is
//! decided when nothing that is still open could reach into it, or when it has grown to its limit; both depend on the
//! text alone, not on how it was cut.

use super::detection::Detection;
use super::replacement::Mode;
use super::scanner::Found;
use std::ops::Range;

/// Longer chains of overlapping findings are cut here, so that a stream holds no more.
pub(super) const REGION_BYTES_MAX: usize = 32 * 1024;

/// A part of a text that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) span: Range<usize>,
    /// The rule that names what it is.
    pub(super) rule: u16,
    /// What is left of it.
    pub(super) mode: Mode,
}

/// The first region of `found`, which is in the order of places, and how many findings it takes up. `taken` is the
/// end of the region before; what lies before it is gone already.
pub(super) fn first(detection: &Detection, found: &[(Found, Mode)], taken: usize) -> Option<(Region, usize)> {
    let mut strongest: Option<&Found> = None;
    let mut span: Option<Range<usize>> = None;
    let mut mode = Mode::Reversible;
    let mut used = 0;
    for (next, asked) in found {
        let start = next.span.start.max(taken);
        match &mut span {
            None if next.span.end <= taken => {
                used += 1;
                continue;
            }
            None => {
                span = Some(start..next.span.end);
                strongest = Some(next);
            }
            Some(span) => {
                if start >= span.end || span.len() >= REGION_BYTES_MAX {
                    break;
                }
                span.end = span.end.max(next.span.end);
                if strongest.is_none_or(|strongest| is_stronger(next, strongest)) {
                    strongest = Some(next);
                }
            }
        }
        mode = mode.max(*asked);
        used += 1;
    }
    let (span, rule) = (span?, strongest?.rule);
    let kind = |rule: u16| detection.detector(rule).map(|detector| &*detector.entity);
    if span.len() >= REGION_BYTES_MAX {
        // It may go on: whatever it is, it is no value that anybody could name.
        mode = Mode::Label;
    } else if mode == Mode::Synthetic
        && found.iter().take(used).any(|(other, _)| other.span.end > taken && kind(other.rule) != kind(rule))
    {
        // Another value of the one kind could be one of the other, too.
        mode = Mode::Tag;
    }
    Some((Region { span, rule, mode }, used))
}

/// All regions of a whole text.
pub(super) fn all(detection: &Detection, mut found: &[(Found, Mode)]) -> Vec<Region> {
    let (mut regions, mut taken) = (Vec::new(), 0);
    while let Some((region, used)) = first(detection, found, taken) {
        taken = region.span.end;
        regions.push(region);
        found = found.get(used..).unwrap_or_default();
    }
    regions
}

fn is_stronger(one: &Found, other: &Found) -> bool {
    one.validated
        .cmp(&other.validated)
        .then(one.confidence.total_cmp(&other.confidence))
        .then(one.span.len().cmp(&other.span.len()))
        .then(other.rule.cmp(&one.rule))
        .is_gt()
}
