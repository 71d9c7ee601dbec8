//! Where could anything be? One sweep that finds every anchor of every rule at once.
//!
//! An anchor is the start of a digit run, an `@`, or a literal. Literals are recognised by their rarest four bytes,
//! case folded, looked up in a small table; what passes is compared in full. The sweep knows neither rules nor
//! findings, and depends on nothing before the last three bytes, so it can be continued in a stream.

use super::rules::LITERAL_BYTES_MIN;

/// Bits in the filter that most positions fail: 2 KiB, which stays in the first-level cache.
const FILTER_BITS: u32 = 14;
/// Bytes of English prose and code, commonest first; what is not listed is rarest.
const COMMONEST: &[u8] = b" etaoinsrhldcumfpgwybv,.k'\"-_()/:;=x01j2qz3456789";

/// An anchor in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    /// The offset of its first byte.
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// What was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The first digit of a run.
    Digits,
    /// An `@`.
    AtSign,
    /// The literal with this number.
    Literal(u16),
}

/// Everything that is looked for, ready for the sweep.
#[derive(Debug)]
pub(super) struct Anchors {
    filter: Vec<u64>,
    /// Sorted by window.
    windows: Vec<Window>,
    literals: Vec<Box<[u8]>>,
}

#[derive(Debug)]
struct Window {
    bytes: u32,
    literal: u16,
    offset: usize,
}

/// Folds the case of four bytes; other characters fold too, alike in text and table.
fn fold(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes) | 0x2020_2020
}

fn slot(window: u32) -> (usize, u32) {
    let bit = window.wrapping_mul(0x9E37_79B1) >> (32 - FILTER_BITS);
    ((bit >> 6) as usize, bit & 63)
}

impl Anchors {
    /// Prepares literals, which are numbered by their order.
    pub(super) fn new(literals: &[&str]) -> Self {
        let mut anchors = Self {
            filter: vec![0; 1 << (FILTER_BITS - 6)],
            windows: Vec::with_capacity(literals.len()),
            literals: literals.iter().map(|literal| literal.as_bytes().into()).collect(),
        };
        for (number, literal) in literals.iter().enumerate() {
            let Some((offset, bytes)) = rarest_window(literal.as_bytes()) else { continue };
            let (word, bit) = slot(bytes);
            if let Some(word) = anchors.filter.get_mut(word) {
                *word |= 1 << bit;
            }
            anchors.windows.push(Window { bytes, literal: number as u16, offset });
        }
        anchors.windows.sort_by_key(|window| window.bytes);
        anchors
    }

    /// Appends the anchors of `text` in no particular order: literals whose window begins at `from` or later, digit
    /// runs and `@` from `marks_from` on.
    pub(super) fn sweep(&self, text: &[u8], from: usize, marks_from: usize, hits: &mut Vec<Hit>) {
        let mut previous = marks_from.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or(0);
        for (offset, byte) in text.get(marks_from..).unwrap_or_default().iter().copied().enumerate() {
            if byte.is_ascii_digit() & !previous.is_ascii_digit() {
                hits.push(Hit { at: marks_from + offset, kind: Kind::Digits });
            } else if byte == b'@' {
                hits.push(Hit { at: marks_from + offset, kind: Kind::AtSign });
            }
            previous = byte;
        }
        for (offset, bytes) in text.get(from..).unwrap_or_default().array_windows::<4>().enumerate() {
            let window = fold(*bytes);
            let (word, bit) = slot(window);
            if self.filter.get(word).is_some_and(|word| word >> bit & 1 == 1) {
                self.verify(text, from + offset, window, hits);
            }
        }
    }

    /// The length of a literal.
    pub(super) fn literal_bytes(&self, number: u16) -> usize {
        self.literals.get(usize::from(number)).map_or(0, |literal| literal.len())
    }

    #[cold]
    fn verify(&self, text: &[u8], at: usize, bytes: u32, hits: &mut Vec<Hit>) {
        let first = self.windows.partition_point(|window| window.bytes < bytes);
        let candidates = self.windows.get(first..).unwrap_or_default();
        for window in candidates.iter().take_while(|window| window.bytes == bytes) {
            let Some(start) = at.checked_sub(window.offset) else { continue };
            let Some(literal) = self.literals.get(usize::from(window.literal)) else { continue };
            let here = text.get(start..start + literal.len());
            if here.is_some_and(|here| here.eq_ignore_ascii_case(literal)) {
                hits.push(Hit { at: start, kind: Kind::Literal(window.literal) });
            }
        }
    }
}

fn rarest_window(literal: &[u8]) -> Option<(usize, u32)> {
    let rarity = |byte: &u8| {
        let byte = byte.to_ascii_lowercase();
        COMMONEST.iter().position(|common| *common == byte).unwrap_or(COMMONEST.len())
    };
    literal
        .array_windows::<LITERAL_BYTES_MIN>()
        .enumerate()
        .max_by_key(|(_, window)| window.iter().map(rarity).sum::<usize>())
        .map(|(offset, window)| (offset, fold(*window)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn swept(anchors: &Anchors, text: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        anchors.sweep(text, 0, 0, &mut hits);
        hits.sort_unstable();
        hits
    }

    fn naive(literals: &[&str], text: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        for at in 0..text.len() {
            if text[at].is_ascii_digit() && (at == 0 || !text[at - 1].is_ascii_digit()) {
                hits.push(Hit { at, kind: Kind::Digits });
            }
            if text[at] == b'@' {
                hits.push(Hit { at, kind: Kind::AtSign });
            }
            for (number, literal) in literals.iter().enumerate() {
                let here = text.get(at..at + literal.len());
                if here.is_some_and(|here| here.eq_ignore_ascii_case(literal.as_bytes())) {
                    hits.push(Hit { at, kind: Kind::Literal(number as u16) });
                }
            }
        }
        hits.sort_unstable();
        hits
    }

    proptest! {
        #[test]
        fn the_sweep_finds_what_the_naive_search_finds(
            words in prop::collection::vec("[AKIakisp_@0-9 -]{1,9}|AKIA|sk-proj-|PASSWORD|é", 0..40)
        ) {
            let literals = ["AKIA", "sk-proj-", "password", "sk-p", "kiak"];
            let text = words.concat();
            prop_assert_eq!(swept(&Anchors::new(&literals), text.as_bytes()), naive(&literals, text.as_bytes()));
        }
    }
}
