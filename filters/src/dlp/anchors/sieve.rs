//! Where could one of a few windows stand? By what may stand at each of their places, where the processor has vectors.
//!
//! Needs windows of byte classes; proves that no place is left out at which all bytes of one are of its classes. What
//! passes is only a candidate. A window that goes on behind the end of a text sees zeros there.

use super::super::bytes::ByteSet;
use super::buckets::{Buckets, WINDOW};
use super::each_bit;
use super::paths::Path;
use std::ops::Range;

/// Windows, ready to be looked for.
#[derive(Debug)]
pub(in crate::dlp) struct Sieve {
    buckets: Buckets,
    path: Path,
}

impl Sieve {
    /// None: there are more windows than are looked up at once, or this processor has no vectors.
    pub(in crate::dlp) fn new(windows: &[[ByteSet; WINDOW]]) -> Option<Self> {
        let path = Path::all().next()?;
        Some(Self { buckets: Buckets::of_classes(windows)?, path })
    }

    /// The memory that it takes.
    pub(in crate::dlp) fn memory_bytes(&self) -> usize {
        self.buckets.memory_bytes()
    }

    /// Tells of each place at which a window may begin, in order.
    #[inline]
    pub(in crate::dlp) fn sweep(&self, text: &[u8], place: Range<usize>, mut each: impl FnMut(usize)) {
        self.path.sweep(&self.buckets, text, (place.start, place.end), |at, masks| {
            each_bit(masks.windows, |bit| each(at + bit));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_place_is_left_out_on_any_path(
            classes in prop::collection::vec(
                prop::array::uniform4("[a-f]{1,3}|[A-F0-9]{1,2}|[é~ ]|\u{0}-\u{ff}"),
                1..30,
            ),
            words in prop::collection::vec("[a-fA-F0-9é~ ]{1,40}", 0..20),
            from in any::<prop::sample::Index>(),
        ) {
            let class = |class: &String| -> ByteSet {
                if class.contains('\u{ff}') { (0..=255).collect() } else { class.bytes().collect() }
            };
            let windows: Vec<[ByteSet; WINDOW]> =
                classes.iter().map(|classes| std::array::from_fn(|place| class(&classes[place]))).collect();
            let text = words.concat();
            let (text, from) = (text.as_bytes(), from.index(text.len() + 1));
            for path in Path::all() {
                let sieve = Sieve { buckets: Buckets::of_classes(&windows).unwrap(), path };
                let mut places = Vec::new();
                sieve.sweep(text, from..text.len(), |at| places.push(at));
                prop_assert!(places.is_sorted());
                for at in from..text.len() {
                    let bytes = |place: usize| text.get(at + place).copied().unwrap_or(0);
                    let is_at = |window: &[ByteSet; WINDOW]| {
                        window.iter().enumerate().all(|(place, class)| class.contains(bytes(place)))
                    };
                    let is_any = windows.iter().any(is_at);
                    prop_assert!(!is_any || places.contains(&at), "{at}");
                }
            }
        }
    }
}
