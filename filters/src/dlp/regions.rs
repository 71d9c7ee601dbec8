//! Which bytes are replaced, and by whose label?
//!
//! Findings that overlap become one region: their union, so that no byte of any of them stays, under the label of
//! the strongest (validated, then confidence, then length, then the earlier rule). A region is decided when nothing
//! that is still open could reach into it, or when it has grown to its limit; both depend on the text alone, not
//! on how it was cut.

use super::scanner::Found;
use std::ops::Range;

/// Longer chains of overlapping findings are cut here, so that a stream holds no more.
pub(super) const REGION_BYTES_MAX: usize = 32 * 1024;

/// A part of a text that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) span: Range<usize>,
    /// The rule that names the label.
    pub(super) rule: u16,
}

/// The first region of `found`, which is in the order of places, and how many findings it takes up. `taken` is the
/// end of the region before; what lies before it is gone already.
pub(super) fn first(found: &[Found], taken: usize) -> Option<(Region, usize)> {
    let mut strongest: Option<&Found> = None;
    let mut span: Option<Range<usize>> = None;
    let mut used = 0;
    for next in found {
        let start = next.span.start.max(taken);
        match &mut span {
            None if next.span.end <= taken => {}
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
        used += 1;
    }
    Some((Region { span: span?, rule: strongest?.rule }, used))
}

/// All regions of a whole text.
pub(super) fn all(mut found: &[Found]) -> Vec<Region> {
    let (mut regions, mut taken) = (Vec::new(), 0);
    while let Some((region, used)) = first(found, taken) {
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
