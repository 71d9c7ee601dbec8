//! Which literals could begin here? Their rarest four bytes, case folded, in a filter and a small table.
//!
//! Needs literals with their numbers; proves that none is missed whose window begins at a place that is asked about.

use super::super::rules::LITERAL_BYTES_MIN;
use super::buckets::Buckets;
use super::{Hit, Kind, commonness};
use std::collections::BTreeMap;

/// Bits in the filter that most positions fail, as a power of two: at most 8 KiB, which stay in the first-level cache,
/// and at 500 windows let less than one position in a hundred through.
const FILTER_BITS_MAX: u32 = 16;
const FILTER_BITS_MIN: u32 = 10;
/// So many bits for each window, if they are few.
const FILTER_BITS_OF_WINDOW: usize = 128;
/// Places of the table behind it, as a power of two; at most half of them are taken.
const TABLE_BITS_MIN: u32 = 8;

/// The windows of literals.
#[derive(Debug)]
pub(super) struct Windows {
    filter: Box<[u64]>,
    filter_bits: u32,
    /// Open addressing: (window, first of its entries and how many).
    table: Vec<(u32, u32, u32)>,
    table_bits: u32,
    /// Literals with the offset of their window, grouped by window.
    entries: Vec<(u16, u16)>,
    /// What the vector paths look them up in.
    pub(super) buckets: Buckets,
}

/// Folds the case of four bytes; other characters fold too, alike in text and table.
pub(super) fn fold(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes) | 0x2020_2020
}

fn hash(window: u32, bits: u32) -> u32 {
    window.wrapping_mul(0x9E37_79B1) >> (32 - bits)
}

impl Windows {
    /// Prepares literals, each with its number.
    pub(super) fn new<'a>(literals: impl Iterator<Item = (u16, &'a str)>) -> Self {
        let mut by_window: BTreeMap<u32, Vec<(u16, u16)>> = BTreeMap::new();
        let mut windows = Vec::new();
        for (number, literal) in literals {
            if let Some((offset, window)) = rarest(literal.as_bytes()) {
                by_window.entry(fold(window)).or_default().push((number, offset as u16));
                windows.push(window.map(|byte| byte.to_ascii_lowercase()));
            }
        }
        let table_bits = (by_window.len() * 2).next_power_of_two().trailing_zeros().max(TABLE_BITS_MIN);
        let filter_bits = (by_window.len() * FILTER_BITS_OF_WINDOW).next_power_of_two().trailing_zeros();
        let filter_bits = filter_bits.clamp(FILTER_BITS_MIN, FILTER_BITS_MAX);
        let mut all = Self {
            filter: vec![0; 1 << (filter_bits - 6)].into(),
            filter_bits,
            table: vec![(0, 0, 0); 1 << table_bits],
            table_bits,
            entries: Vec::new(),
            buckets: Buckets::new(windows, commonness::of_byte),
        };
        for (window, entries) in by_window {
            let bit = hash(window, filter_bits);
            if let Some(word) = all.filter.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
            let free = all.probe(window).find(|place| all.table.get(*place).is_some_and(|row| row.2 == 0));
            if let Some(row) = free.and_then(|place| all.table.get_mut(place)) {
                *row = (window, all.entries.len() as u32, entries.len() as u32);
            }
            all.entries.extend(entries);
        }
        all
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let tables = size_of_val(&*self.filter) + size_of_val(&*self.table) + size_of_val(&*self.entries);
        tables + self.buckets.memory_bytes()
    }

    /// Appends the literals whose window begins at a place.
    #[inline]
    pub(super) fn verify_at(&self, literals: &[Box<[u8]>], text: &[u8], at: usize, hits: &mut Vec<Hit>) {
        let bytes = text.get(at..).and_then(|rest| rest.first_chunk::<LITERAL_BYTES_MIN>());
        if let Some(bytes) = bytes {
            self.verify(literals, text, (at, *bytes), hits);
        }
    }

    /// The same of a place where these bytes stand.
    #[inline]
    pub(super) fn verify(
        &self,
        literals: &[Box<[u8]>],
        text: &[u8],
        (at, bytes): (usize, [u8; LITERAL_BYTES_MIN]),
        hits: &mut Vec<Hit>,
    ) {
        let window = fold(bytes);
        if self.may_be(window) {
            self.look_up(literals, text, (at, window), hits);
        }
    }

    /// Whether the table has to be asked.
    #[inline]
    fn may_be(&self, window: u32) -> bool {
        let bit = hash(window, self.filter_bits);
        self.filter.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }

    fn probe(&self, window: u32) -> impl Iterator<Item = usize> + use<> {
        let (first, mask) = (hash(window, self.table_bits) as usize, self.table.len() - 1);
        (0..=mask).map(move |step| (first + step) & mask)
    }

    #[cold]
    fn look_up(&self, literals: &[Box<[u8]>], text: &[u8], (at, window): (usize, u32), hits: &mut Vec<Hit>) {
        let rows = self.probe(window).map_while(|place| self.table.get(place).filter(|row| row.2 > 0));
        let Some((_, first, count)) = rows.into_iter().find(|row| row.0 == window) else { return };
        let entries = self.entries.get(*first as usize..(first + count) as usize).unwrap_or_default();
        for (number, offset) in entries {
            let Some(start) = at.checked_sub(usize::from(*offset)) else { continue };
            let Some(literal) = literals.get(usize::from(*number)) else { continue };
            let here = text.get(start..start + literal.len());
            if here.is_some_and(|here| here.eq_ignore_ascii_case(literal)) {
                hits.push(Hit { at: start, kind: Kind::Literal(*number) });
            }
        }
    }
}

fn rarest(literal: &[u8]) -> Option<(usize, [u8; LITERAL_BYTES_MIN])> {
    let windows = literal.array_windows::<LITERAL_BYTES_MIN>().enumerate();
    let costs = windows.map(|(offset, window)| (commonness::of_window(*window), offset, *window));
    let rarest = costs.min_by(|(one, ..), (other, ..)| one.total_cmp(other));
    rarest.map(|(_, offset, window)| (offset, window))
}
