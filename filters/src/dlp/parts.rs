//! Which parts of a text lie here? They are in order, and bytes between them belong to none.

use std::ops::Range;

/// The part in which a place lies.
pub(super) fn at(parts: &[Range<usize>], place: usize) -> Option<&Range<usize>> {
    from(parts, place).first().filter(|part| part.start <= place)
}

/// Those that reach into a stretch.
pub(super) fn within<'a>(
    parts: &'a [Range<usize>],
    stretch: &Range<usize>,
) -> impl Iterator<Item = &'a Range<usize>> + use<'a> {
    let end = stretch.end;
    from(parts, stretch.start).iter().take_while(move |part| part.start < end)
}

/// Those that end behind a place.
fn from(parts: &[Range<usize>], place: usize) -> &[Range<usize>] {
    parts.get(parts.partition_point(|part| part.end <= place)..).unwrap_or_default()
}
