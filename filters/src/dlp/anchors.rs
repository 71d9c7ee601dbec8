//! Where could anything be? One sweep that finds every anchor of every rule at once.
//!
//! An anchor is the start of a digit run, an `@`, or a literal. Literals are recognised by their rarest four bytes,
//! case folded, looked up in a small table; what passes is compared in full. Where the processor has vectors, `paths`
//! leaves few positions to look at; the hits are the same on every path. The sweep knows neither rules nor findings,
//! and depends on nothing before the last three bytes, so it can be continued in a stream.

mod buckets;
pub(super) mod commonness;
mod paths;

pub(super) use paths::widely;

use super::rules::LITERAL_BYTES_MIN;
use buckets::Buckets;
use paths::{Masks, Path};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bits in the filter that most positions fail, as a power of two: at most 8 KiB, which stay in the first-level cache,
/// and at 500 windows let less than one position in a hundred through.
const FILTER_BITS_MAX: u32 = 16;
const FILTER_BITS_MIN: u32 = 10;
/// So many bits for each window, if they are few.
const FILTER_BITS_OF_WINDOW: usize = 128;
/// Places of the table behind it, as a power of two; at most half of them are taken.
const TABLE_BITS_MIN: u32 = 8;
/// So many bytes of a word stand before what is in the midst of it.
pub(super) const BURIED_BYTES: usize = 17;
/// So many digits are many.
const LONG_DIGITS: usize = 4;
/// The way without vectors.
const PORTABLE: &str = "portable";

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
    filter: Box<[u64]>,
    filter_bits: u32,
    /// Open addressing: (window, first of its entries and how many).
    table: Vec<(u32, u32, u32)>,
    table_bits: u32,
    /// Literals with the offset of their window, grouped by window.
    entries: Vec<(u16, u16)>,
    literals: Vec<Box<[u8]>>,
    buckets: Buckets,
    /// Whether digits in the midst of a long word are no anchor unless there are [`LONG_DIGITS`] of them.
    skips_buried: bool,
    /// How the sweep goes; none is the portable way.
    path: Option<Path>,
}

/// Folds the case of four bytes; other characters fold too, alike in text and table.
fn fold(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes) | 0x2020_2020
}

fn hash(window: u32, bits: u32) -> u32 {
    window.wrapping_mul(0x9E37_79B1) >> (32 - bits)
}

impl Anchors {
    /// Prepares literals, which are numbered by their order.
    pub(super) fn new(literals: &[&str]) -> Self {
        let mut by_window: BTreeMap<u32, Vec<(u16, u16)>> = BTreeMap::new();
        for (number, literal) in (0u16..).zip(literals) {
            if let Some((offset, window)) = rarest_window(literal.as_bytes()) {
                by_window.entry(window).or_default().push((number, offset as u16));
            }
        }
        let windows = literals.iter().filter_map(|literal| window_bytes(literal.as_bytes())).collect();
        let table_bits = (by_window.len() * 2).next_power_of_two().trailing_zeros().max(TABLE_BITS_MIN);
        let filter_bits = (by_window.len() * FILTER_BITS_OF_WINDOW).next_power_of_two().trailing_zeros();
        let filter_bits = filter_bits.clamp(FILTER_BITS_MIN, FILTER_BITS_MAX);
        let mut anchors = Self {
            filter: vec![0; 1 << (filter_bits - 6)].into(),
            filter_bits,
            table: vec![(0, 0, 0); 1 << table_bits],
            table_bits,
            entries: Vec::with_capacity(literals.len()),
            literals: literals.iter().map(|literal| literal.as_bytes().into()).collect(),
            buckets: Buckets::new(windows, commonness::of_byte),
            skips_buried: false,
            path: Path::all().first().copied(),
        };
        for (window, entries) in by_window {
            let bit = hash(window, filter_bits);
            if let Some(word) = anchors.filter.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
            let free =
                anchors.probe(window).find(|place| anchors.table.get(*place).is_some_and(|row| row.2 == 0));
            if let Some(row) = free.and_then(|place| anchors.table.get_mut(place)) {
                *row = (window, anchors.entries.len() as u32, entries.len() as u32);
            }
            anchors.entries.extend(entries);
        }
        anchors
    }

    /// From now on digits behind [`BURIED_BYTES`] bytes of a word may be left out, unless there are so many of them.
    pub(super) fn skip_buried(&mut self, least: usize) {
        self.skips_buried = least >= LONG_DIGITS;
    }

    /// The ways that this processor can sweep, best first.
    pub(super) fn ways() -> Vec<&'static str> {
        Path::all().into_iter().map(Path::name).chain([PORTABLE]).collect()
    }

    /// Sweeps in one of those ways from now on.
    pub(super) fn go(&mut self, way: &str) {
        self.path = Path::all().into_iter().find(|path| path.name() == way);
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let literals: usize = self.literals.iter().map(|literal| size_of_val(literal) + literal.len()).sum();
        let tables = size_of_val(&*self.filter) + size_of_val(&*self.table) + size_of_val(&*self.entries);
        tables + literals + self.buckets.memory_bytes()
    }

    /// The length of a literal.
    pub(super) fn literal_bytes(&self, number: u16) -> usize {
        self.literals.get(usize::from(number)).map_or(0, |literal| literal.len())
    }

    /// Appends the anchors of `text` in no particular order: literals whose window begins in `windows`, and digit runs
    /// and `@` from `marks_from` on.
    pub(super) fn sweep(&self, text: &[u8], windows: Range<usize>, marks_from: usize, hits: &mut Vec<Hit>) {
        let Some(path) = self.path else {
            mark(text, marks_from..windows.end, hits);
            return self.sweep_portably(text, windows, hits);
        };
        let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        let mut after_digit = u64::from(windows.start.checked_sub(1).is_some_and(is_digit));
        let mut words_before = 0;
        let end = windows.end;
        path.sweep(&self.buckets, text, (windows.start, end), |at, masks| {
            let Masks { windows, digits, ats, words } = masks;
            let mut starts = digits & !(digits << 1 | after_digit);
            after_digit = digits >> 63;
            if self.skips_buried && starts != 0 {
                starts &= !buried(words, words_before) | long(digits | behind(end - at));
            }
            words_before = words;
            // Before `marks_from`, digits and `@` are known.
            let known = u32::try_from(marks_from.saturating_sub(at)).unwrap_or(u32::MAX);
            let marks = u64::MAX.checked_shl(known).unwrap_or(0);
            each_bit(starts & marks, |bit| hits.push(Hit { at: at + bit, kind: Kind::Digits }));
            each_bit(ats & marks, |bit| hits.push(Hit { at: at + bit, kind: Kind::AtSign }));
            each_bit(windows, |bit| self.verify(text, at + bit, hits));
        });
    }

    fn sweep_portably(&self, text: &[u8], windows: Range<usize>, hits: &mut Vec<Hit>) {
        let end = text.len().min(windows.end + LITERAL_BYTES_MIN - 1);
        let read = text.get(windows.start..end).unwrap_or_default();
        for (offset, bytes) in read.array_windows::<LITERAL_BYTES_MIN>().enumerate() {
            if self.may_be(fold(*bytes)) {
                self.look_up(text, windows.start + offset, fold(*bytes), hits);
            }
        }
    }

    /// Whether the table has to be asked.
    fn may_be(&self, window: u32) -> bool {
        let bit = hash(window, self.filter_bits);
        self.filter.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }

    /// Appends the literals whose window begins here.
    fn verify(&self, text: &[u8], at: usize, hits: &mut Vec<Hit>) {
        let bytes = text.get(at..).and_then(|rest| rest.first_chunk::<LITERAL_BYTES_MIN>());
        if let Some(window) = bytes.map(|bytes| fold(*bytes)).filter(|window| self.may_be(*window)) {
            self.look_up(text, at, window, hits);
        }
    }

    fn probe(&self, window: u32) -> impl Iterator<Item = usize> + use<> {
        let (first, mask) = (hash(window, self.table_bits) as usize, self.table.len() - 1);
        (0..=mask).map(move |step| (first + step) & mask)
    }

    #[cold]
    fn look_up(&self, text: &[u8], at: usize, window: u32, hits: &mut Vec<Hit>) {
        let rows = self.probe(window).map_while(|place| self.table.get(place).filter(|row| row.2 > 0));
        let Some((_, first, count)) = rows.into_iter().find(|row| row.0 == window) else { return };
        let entries = self.entries.get(*first as usize..(first + count) as usize).unwrap_or_default();
        for (number, offset) in entries {
            let Some(start) = at.checked_sub(usize::from(*offset)) else { continue };
            let Some(literal) = self.literals.get(usize::from(*number)) else { continue };
            let here = text.get(start..start + literal.len());
            if here.is_some_and(|here| here.eq_ignore_ascii_case(literal)) {
                hits.push(Hit { at: start, kind: Kind::Literal(*number) });
            }
        }
    }
}

/// Where [`BURIED_BYTES`] bytes of words stand right before, in this block and the one before it.
fn buried(words: u64, before: u64) -> u64 {
    let all = u128::from(words) << 64 | u128::from(before);
    let two = all & all << 1;
    let four = two & two << 2;
    let eight = four & four << 4;
    let sixteen = eight & eight << 8;
    ((sixteen & all << 16) >> 63) as u64
}

/// What lies behind so many bytes of a block. It may be anything: a text goes on there, or its next part.
fn behind(bytes: usize) -> u64 {
    u32::try_from(bytes).ok().and_then(|bytes| u64::MAX.checked_shl(bytes)).unwrap_or(0)
}

/// Where [`LONG_DIGITS`] digits may begin: what is behind the block may be any.
fn long(digits: u64) -> u64 {
    digits & (digits >> 1 | 1 << 63) & (digits >> 2 | 3 << 62) & (digits >> 3 | 7 << 61)
}

/// Appends the starts of digit runs, and `@`.
fn mark(text: &[u8], place: Range<usize>, hits: &mut Vec<Hit>) {
    let mut at = place.start;
    let mut previous = at.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or(0);
    let (eights, rest) = text.get(place).unwrap_or_default().as_chunks::<8>();
    for eight in eights {
        if may_hold_marks(u64::from_le_bytes(*eight)) {
            mark_each(eight, at, previous, hits);
        }
        [.., previous] = *eight;
        at += 8;
    }
    mark_each(rest, at, previous, hits);
}

fn mark_each(bytes: &[u8], mut at: usize, mut previous: u8, hits: &mut Vec<Hit>) {
    for byte in bytes {
        if byte.is_ascii_digit() && !previous.is_ascii_digit() {
            hits.push(Hit { at, kind: Kind::Digits });
        } else if *byte == b'@' {
            hits.push(Hit { at, kind: Kind::AtSign });
        }
        previous = *byte;
        at += 1;
    }
}

/// Whether any of eight bytes could be a digit or an `@`. It may say yes for bytes beyond ASCII, never no wrongly.
fn may_hold_marks(eight: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    // 0x30..=0x3f: the high half equals 3. Colons and their like are sorted out byte by byte.
    let upper_half = (eight >> 4) & (LOW * 0x0f);
    has_zero(upper_half ^ (LOW * 3)) | has_zero(eight ^ (LOW * 0x40)) != 0
}

fn each_bit(mut bits: u64, mut each: impl FnMut(usize)) {
    while bits != 0 {
        each(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

fn rarest_window(literal: &[u8]) -> Option<(usize, u32)> {
    let (offset, window) = rarest(literal)?;
    Some((offset, fold(window)))
}

fn window_bytes(literal: &[u8]) -> Option<[u8; LITERAL_BYTES_MIN]> {
    rarest(literal).map(|(_, window)| window.map(|byte| byte.to_ascii_lowercase()))
}

fn rarest(literal: &[u8]) -> Option<(usize, [u8; LITERAL_BYTES_MIN])> {
    let windows = literal.array_windows::<LITERAL_BYTES_MIN>().enumerate();
    let costs = windows.map(|(offset, window)| (commonness::of_window(*window), offset, *window));
    let rarest = costs.min_by(|(one, ..), (other, ..)| one.total_cmp(other));
    rarest.map(|(_, offset, window)| (offset, window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlp::rules::LITERAL_BYTES_MAX;
    use proptest::prelude::*;

    /// On every path of this processor: all at once, and cut in two, the second part seeing a little of the first.
    fn swept(literals: &[&str], text: &[u8], cut: usize) -> Vec<Vec<Hit>> {
        let mut anchors = Anchors::new(literals);
        let paths: Vec<Option<Path>> = Path::all().into_iter().map(Some).chain([None]).collect();
        let mut all = Vec::new();
        for path in paths {
            anchors.path = path;
            let mut whole = Vec::new();
            anchors.sweep(text, 0..text.len(), 0, &mut whole);
            let (mut parts, again) = (Vec::new(), cut.saturating_sub(LITERAL_BYTES_MAX - 1));
            anchors.sweep(&text[..cut], 0..cut, 0, &mut parts);
            anchors.sweep(text, again..text.len(), cut, &mut parts);
            for mut hits in [whole, parts] {
                hits.sort_unstable();
                hits.dedup();
                all.push(hits);
            }
        }
        all
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
        fn digits_are_left_out_in_the_midst_of_long_words_alone(
            words in prop::collection::vec("[a-zA-Z_]{1,30}|[0-9]{1,6}|[ .é-]", 0..60),
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            is_stream in any::<bool>(),
        ) {
            let text = words.concat();
            let text = text.as_bytes();
            let mut places: Vec<usize> = places.iter().map(|place| place.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let mut anchors = Anchors::new(&["AKIA"]);
            anchors.skip_buried(LONG_DIGITS);
            for way in Anchors::ways() {
                anchors.go(way);
                let mut hits = Vec::new();
                for place in places.windows(2) {
                    let known = &text[..if is_stream { place[1] } else { text.len() }];
                    anchors.sweep(known, place[0]..place[1], place[0], &mut hits);
                }
                for hit in naive(&["AKIA"], text) {
                    let before = text[..hit.at].iter().rev();
                    let words = before.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                    let digits = text[hit.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let may_lack = words >= BURIED_BYTES && digits < LONG_DIGITS;
                    prop_assert!(may_lack || hits.contains(&hit), "{way}: {hit:?}");
                }
            }
        }

        #[test]
        fn every_path_finds_what_the_naive_search_finds(
            words in prop::collection::vec("[AKIakisp_@0-9 -]{1,9}|AKIA|sk-proj-|PASSWORD|é|[\\[{_\u{7f}]", 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let literals = ["AKIA", "sk-proj-", "password", "sk-p", "kiak", "[{_@", "éé"];
            let text = words.concat();
            let expected = naive(&literals, text.as_bytes());
            for hits in swept(&literals, text.as_bytes(), cut.index(text.len() + 1)) {
                prop_assert_eq!(&hits, &expected);
            }
        }

        #[test]
        fn many_literals_are_found_on_every_path(
            literals in prop::collection::hash_set("[ -~]{4,12}", 1..300),
            noise in "[ -~]{0,200}",
        ) {
            let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
            let text = literals.concat() + &noise;
            let expected = naive(&literals, text.as_bytes());
            for hits in swept(&literals, text.as_bytes(), text.len() / 2) {
                prop_assert_eq!(&hits, &expected);
            }
        }
    }
}
