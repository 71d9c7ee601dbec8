//! What text does a long run of base64 or hex hide, wherever in what was encoded it begins?
//!
//! Needs a run of the alphabet; says the same as decoding it from each of its first bytes on and reading each byte of
//! that, which costs a decoded byte for each byte of the run and more. Instead, the bytes of all alignments are looked
//! at side by side, many at once, for places where ten in a row can be text. In noise there are few, and only what is
//! around them is decoded.

use super::super::anchors::widely;
use super::blocks::{BLOCK_BYTES, bits};
use super::runs::{Stretches, TEXT_BYTES_MIN, base64, hexadecimal, is_plain, may_neighbour, narrow};
use std::ops::Range;

/// Places that are looked at together, and with them the values that their bytes are made of.
const CHUNK: usize = BLOCK_BYTES;
const SEEN: usize = CHUNK + 48;
/// Values before the first one and behind the last one, which are no part of a text: they are the bytes 0xff.
const BEFORE: usize = 4;
const OUTSIDE: u8 = 0x3f;
/// Bytes that are decoded together.
const GROUP_BYTES: usize = 3;
/// So many times where they are plain: that is tried behind so many bytes.
const PLAIN_BYTES: usize = 32;
const GROUPS_AT_ONCE: usize = 16;

/// How a run is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Base64,
    Hex,
}

impl Coding {
    /// From so many bytes on it can begin, each of them another alignment.
    fn alignments(self) -> usize {
        match self {
            Self::Base64 => 4,
            Self::Hex => 2,
        }
    }

    /// How much of a run stands for [`GROUP_BYTES`].
    fn group(self) -> usize {
        match self {
            Self::Base64 => 4,
            Self::Hex => 6,
        }
    }

    pub(super) fn decode(self, run: &[u8]) -> Vec<u8> {
        match self {
            Self::Base64 => base64(run),
            Self::Hex => hexadecimal(run),
        }
    }

    /// The places of the first alignment in a chunk.
    fn bits(self) -> u64 {
        match self {
            Self::Base64 => 0x1111_1111_1111_1111,
            Self::Hex => 0x5555_5555_5555_5555,
        }
    }

    fn decoded_bytes(self, run: usize) -> usize {
        match self {
            Self::Base64 => run * 6 / 8,
            Self::Hex => run / 2,
        }
    }
}

/// A run, with the places where text may be.
struct Run<'a> {
    bytes: &'a [u8],
    coding: Coding,
    /// What each of its bytes stands for, behind [`BEFORE`] that are no part of it.
    values: Vec<u8>,
    /// As bits of chunks, where bytes begin that are in the midst of a row of text: some of each, and others.
    places: Vec<u64>,
    /// How many decoded bytes are zero, of all alignments together, and at most.
    zeros: usize,
}

/// Decodes from each of the first bytes on and takes what is text for the most part.
pub(super) fn best(run: &[u8], coding: Coding) -> Option<Vec<u8>> {
    let run = Run::of(run, coding);
    let mut best: Option<Vec<u8>> = None;
    for offset in 0..coding.alignments() {
        let Some(text) = run.text(offset).or_else(|| run.narrow_text(offset)) else { continue };
        if text.len() * 2 > run.bytes.len() - offset {
            return Some(text);
        }
        if text.len() > best.as_ref().map_or(0, Vec::len) {
            best = Some(text);
        }
    }
    best
}

impl<'a> Run<'a> {
    fn of(run: &'a [u8], coding: Coding) -> Self {
        let mut values = vec![OUTSIDE; BEFORE + run.len() + SEEN];
        let (mut places, mut zeros) = (Vec::with_capacity(run.len().div_ceil(CHUNK)), 0);
        widely(
            #[inline(always)]
            || {
                read(run, coding, values.get_mut(BEFORE..).unwrap_or_default());
                for from in (0..run.len()).step_by(CHUNK) {
                    let Some(seen) = values.get(from..).and_then(|rest| rest.first_chunk()) else { return };
                    let (rows, more_zeros) = match coding {
                        Coding::Base64 => base64_rows(seen),
                        Coding::Hex => hex_rows(seen),
                    };
                    zeros += usize::from(more_zeros);
                    let is_any = rows.iter().fold(false, |any, row| any | row);
                    places.push(if is_any { bits(&rows) } else { 0 });
                }
            },
        );
        Self { bytes: run, coding, values, places, zeros }
    }

    /// The first place from one on that is of an alignment.
    fn next_place(&self, from: usize, offset: usize) -> Option<usize> {
        let of_alignment = self.coding.bits() << offset;
        let not_before = u64::MAX << (from % CHUNK);
        let first = from / CHUNK;
        for (number, bits) in self.places.iter().enumerate().skip(first) {
            let bits = bits & of_alignment & if number == first { not_before } else { u64::MAX };
            if bits != 0 {
                return Some(number * CHUNK + bits.trailing_zeros() as usize);
            }
        }
        None
    }

    /// What of the bytes is text that are decoded from an offset on.
    fn text(&self, offset: usize) -> Option<Vec<u8>> {
        let mut stretches = Stretches::default();
        let (mut row, mut known, mut from) = (Vec::new(), 0, offset);
        while let Some(place) = self.next_place(from, offset) {
            let at = (place - offset) * GROUP_BYTES / self.coding.group();
            if at >= self.coding.decoded_bytes(self.bytes.len() - offset) {
                break;
            }
            known = self.row(offset, known..at, &mut row);
            from = offset + (known * self.coding.group()).div_ceil(GROUP_BYTES);
            if row.len() >= TEXT_BYTES_MIN {
                stretches.take_row(&row);
            }
        }
        stretches.finish()
    }

    /// Reads the row of bytes that may neighbour each other around one of them, which does not begin before another;
    /// returns where it ends.
    fn row(&self, offset: usize, Range { start: known, end: at }: Range<usize>, row: &mut Vec<u8>) -> usize {
        let bytes = self.coding.decoded_bytes(self.bytes.len() - offset);
        let byte = |at: usize| {
            let group = self.group(offset, at / GROUP_BYTES);
            group.get(at % GROUP_BYTES).copied().unwrap_or(u8::MAX)
        };
        let mut start = at;
        let mut first = byte(start);
        while start > known {
            let before = byte(start - 1);
            if !may_neighbour(before, first) {
                break;
            }
            (start, first) = (start - 1, before);
        }
        row.clear();
        row.push(first);
        let (mut at, mut last, mut plain_from) = (start + 1, first, start + PLAIN_BYTES);
        while at < bytes {
            if at >= plain_from && at % GROUP_BYTES == 0 && last.is_ascii() {
                let before = row.len();
                self.take_ascii(offset, at..bytes, row);
                at += row.len() - before;
                last = row.last().copied().unwrap_or(last);
                plain_from = at + PLAIN_BYTES;
            }
            let group = self.group(offset, at / GROUP_BYTES);
            let most = bytes - at;
            for byte in group.into_iter().skip(at % GROUP_BYTES).take(most) {
                if !may_neighbour(last, byte) {
                    return at;
                }
                row.push(byte);
                (at, last) = (at + 1, byte);
            }
        }
        at
    }

    /// Appends what is plain ASCII, as far as many groups of it stand together.
    fn take_ascii(&self, offset: usize, Range { start, end }: Range<usize>, row: &mut Vec<u8>) {
        for at in (start..)
            .step_by(GROUP_BYTES * GROUPS_AT_ONCE)
            .take((end - start) / (GROUP_BYTES * GROUPS_AT_ONCE))
        {
            let groups: [[u8; GROUP_BYTES]; GROUPS_AT_ONCE] =
                std::array::from_fn(|number| self.group(offset, at / GROUP_BYTES + number));
            let groups = groups.as_flattened();
            if !is_plain(groups) {
                return;
            }
            row.extend_from_slice(groups);
        }
    }

    /// The bytes of a group, of those that are decoded from an offset on.
    fn group(&self, offset: usize, number: usize) -> [u8; GROUP_BYTES] {
        let values = self.values.get(BEFORE + offset + number * self.coding.group()..).unwrap_or_default();
        let group = match self.coding {
            Coding::Base64 => {
                values.first_chunk().map(|[a, b, c, d]| [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d])
            }
            Coding::Hex => {
                let (bytes, _) = values.as_chunks();
                bytes.first_chunk().map(|bytes| bytes.map(|[high, low]| high << 4 | low))
            }
        };
        group.unwrap_or([u8::MAX; GROUP_BYTES])
    }

    /// The same of characters of two bytes.
    fn narrow_text(&self, offset: usize) -> Option<Vec<u8>> {
        let run = self.bytes.get(offset..)?;
        if self.zeros * 6 <= self.coding.decoded_bytes(run.len()) {
            return None;
        }
        super::runs::text_in(&narrow(&self.coding.decode(run))?)
    }
}

/// What the bytes of a run stand for. In the terms of vectors.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
fn read(run: &[u8], coding: Coding, values: &mut [u8]) {
    let base64 = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        _ => 63,
    };
    let hex = |byte: u8| (byte & 15) + if byte > b'9' { 9 } else { 0 };
    match coding {
        Coding::Base64 => values.iter_mut().zip(run).for_each(|(value, byte)| *value = base64(*byte)),
        Coding::Hex => values.iter_mut().zip(run).for_each(|(value, byte)| *value = hex(*byte)),
    }
}

/// Where, at each place of a chunk, text may be in the bytes of base64 from there on: two whole groups of it, and
/// before and behind them the rest of ten bytes. And how many bytes are zero.
#[inline(always)]
fn base64_rows(seen: &[u8; SEEN]) -> ([bool; CHUNK], u8) {
    const GROUPS: usize = CHUNK + 32;
    const PAIRS: usize = CHUNK + 16;
    let first: [u8; GROUPS] = each(|at| value(seen, at) << 2 | value(seen, at + 1) >> 4);
    let second: [u8; GROUPS] = each(|at| value(seen, at + 1) << 4 | value(seen, at + 2) >> 2);
    let third: [u8; GROUPS] = each(|at| value(seen, at + 2) << 6 | value(seen, at + 3));
    let one: [bool; PAIRS] = each(|at| may_be_text(value(&first, at), value(&second, at)));
    let two: [bool; PAIRS] = each(|at| may_be_text(value(&second, at), value(&third, at)));
    let three: [bool; PAIRS] = each(|at| may_be_text(value(&third, at), value(&first, at + 4)));
    let is = |pairs: &[bool; PAIRS], at: usize| pairs.get(at).copied().unwrap_or(false);
    let whole: [bool; PAIRS] = each(|at| is(&one, at) & is(&two, at) & is(&three, at));
    let rows = each(|at| {
        let around = is(&three, at) & is(&one, at + 12) & (is(&two, at) | is(&two, at + 12));
        is(&whole, at + 4) & is(&whole, at + 8) & (is(&whole, at + 12) | around)
    });
    let zero = |bytes: &[u8; GROUPS], at: usize| u8::from(value(bytes, at + BEFORE) == 0);
    let zeros = (0..CHUNK).map(|at| zero(&first, at) + zero(&second, at) + zero(&third, at));
    (rows, zeros.fold(0, u8::wrapping_add))
}

/// The same of hex: ten bytes from there on.
#[inline(always)]
fn hex_rows(seen: &[u8; SEEN]) -> ([bool; CHUNK], u8) {
    const PAIRS: usize = CHUNK + 16;
    let bytes: [u8; PAIRS + 2] = each(|at| value(seen, at + BEFORE) << 4 | value(seen, at + BEFORE + 1));
    let one: [bool; PAIRS + 1] = each(|at| may_be_text(value(&bytes, at), value(&bytes, at + 2)));
    let is = |pairs: &[bool], at: usize| pairs.get(at).copied().unwrap_or(false);
    let two: [bool; PAIRS - 2] = each(|at| is(&one, at) & is(&one, at + 2));
    let four: [bool; PAIRS - 6] = each(|at| is(&two, at) & is(&two, at + 4));
    let rows = each(|at| is(&four, at) & is(&four, at + 8) & is(&one, at + 16));
    let zeros = bytes.iter().take(CHUNK).map(|byte| u8::from(*byte == 0));
    (rows, zeros.fold(0, u8::wrapping_add))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
fn each<T, const N: usize>(of: impl Fn(usize) -> T) -> [T; N] {
    std::array::from_fn(of)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
fn value(values: &[u8], at: usize) -> u8 {
    values.get(at).copied().unwrap_or(OUTSIDE)
}

/// Whether one byte may stand before another one in a text: as [`may_neighbour`], but for some bytes that are in none.
/// In the terms of vectors.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
fn may_be_text(one: u8, other: u8) -> bool {
    let is_control = |byte: u8| (byte < b' ') & (byte.wrapping_sub(b'\t') > b'\r' - b'\t');
    let is_next = |byte: u8| byte & 0xc0 == 0x80;
    let wants_next = one >= 0xc0;
    let may_be_next = one >= 0x80;
    !is_control(one) & !is_control(other) & (!wants_next | is_next(other)) & (may_be_next | !is_next(other))
}

#[cfg(test)]
mod tests {
    use super::super::runs::text_in;
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use proptest::prelude::*;

    /// The same, by decoding all and reading each byte.
    fn naive(run: &[u8], coding: Coding) -> Option<Vec<u8>> {
        let mut best: Option<Vec<u8>> = None;
        for offset in 0..coding.alignments() {
            let run = &run[offset..];
            let bytes = coding.decode(run);
            let Some(text) = text_in(&bytes).or_else(|| text_in(&narrow(&bytes)?)) else { continue };
            if text.len() * 2 > run.len() {
                return Some(text);
            }
            if text.len() > best.as_ref().map_or(0, Vec::len) {
                best = Some(text);
            }
        }
        best
    }

    fn hidden() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[ -~é身🦀\n]{0,40}".prop_map(String::into_bytes),
            "[ -~]{6,60}".prop_map(|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(
                prop::sample::select(vec![b'a', b' ', 0xc3, 0xa9, 0x7f, 0xf5, 0x0b, 0xc1]),
                0..30
            ),
        ]
    }

    proptest! {
        #[test]
        fn text_is_what_decoding_all_alignments_finds(
            parts in prop::collection::vec((hidden(), "[A-Za-z0-9+/_-]{0,5}", "[a-fA-F0-9]{0,3}"), 1..8),
            long in 0..3usize,
        ) {
            let (mut run, mut hex) = (String::new(), String::new());
            for (hidden, between, digits) in parts.iter().cycle().take(parts.len() << (long * 2)) {
                run = run + &STANDARD_NO_PAD.encode(hidden) + between;
                hex = hidden.iter().fold(hex, |hex, byte| format!("{hex}{byte:02x}")) + digits;
            }
            for (run, coding) in [(&run, Coding::Base64), (&hex, Coding::Hex), (&hex, Coding::Base64)] {
                if run.len() >= 8 {
                    prop_assert_eq!(best(run.as_bytes(), coding), naive(run.as_bytes(), coding), "{}", run);
                }
            }
        }
    }
}
