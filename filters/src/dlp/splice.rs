//! How does a body change, and nothing else of it?
//!
//! Edits of raw byte ranges, in order, applied in one copy. Everything outside an edit stays byte for byte.

use std::borrow::Cow;
use std::ops::Range;

/// One replacement. An empty range inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that go.
    pub raw: Range<usize>,
    /// What comes in their place.
    pub with: Cow<'static, [u8]>,
}

/// Applies edits. They are sorted here; where two overlap, the later one yields what is gone already.
pub fn splice(body: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.raw.start, edit.raw.end));
    let growth: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut out = Vec::with_capacity(body.len() + growth);
    let mut at = 0;
    for edit in edits {
        if edit.raw.start < at {
            at = at.max(edit.raw.end);
            continue;
        }
        out.extend_from_slice(body.get(at..edit.raw.start).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        at = edit.raw.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out
}
