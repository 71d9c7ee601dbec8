//! Is this the beginning of a term, and of which? Hashes of all beginnings of all terms, in one flat table.
//!
//! A term of three words has three beginnings. The hash of one is made of the hash of the one before it and of
//! its last word, so each word of a text costs one question. Of first words it is asked in a filter that fits a
//! processor's cache, as hardly a word begins a term. Hashes are keyed, so that nobody can write words that meet
//! on purpose; what the table says is still only a guess, which the text of the term confirms.

/// Bits of the filter for each beginning of one word or two.
const FILTER_BITS: usize = 16;
const FILTER_WORDS_MIN: usize = 64;
/// A longer way to a free place means that the seed was unlucky.
const WAY_MAX: usize = 128;
/// The bit of a value that says that terms go on from here; the others are the number of a term, from 1.
const LONGER: u32 = 1 << 31;
/// Makes letters of ASCII lower case, and leaves digits as they are.
const LOWER: u64 = u64::from_le_bytes([0x20; 8]);

/// Ones for so many bytes.
#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
static FIRST_BYTES: [u128; 17] = {
    let mut bytes = [0; 17];
    let mut count = 1;
    while count <= 16 {
        bytes[count] = u128::MAX >> (128 - 8 * count);
        count += 1;
    }
    bytes
};

/// What terms begin with.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    seeds: [u64; 3],
    filter: Vec<u64>,
    keys: Vec<u64>,
    values: Vec<u32>,
}

/// What is known of a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The term that it is.
    pub(super) term: Option<u32>,
    /// Whether terms go on from here.
    pub(super) goes_on: bool,
}

impl Table {
    /// A table for so many beginnings at most, of which so many are one word or two.
    pub(super) fn new(seed: u64, beginnings: usize, first_words: usize) -> Self {
        let places = beginnings + beginnings * 2 / 5 + 1;
        let filter = (first_words * FILTER_BITS / 64).next_power_of_two().max(FILTER_WORDS_MIN);
        let seeds = [1, 2, 3].map(|number: u64| fold(seed ^ number.rotate_right(8), 0x9e37_79b9_7f4a_7c15));
        Self { seeds, filter: vec![0; filter], keys: vec![0; places], values: vec![0; places] }
    }

    /// The hash of a word of ASCII in any case, which is what a beginning of one word is known by.
    #[inline]
    pub(super) fn ascii_word(&self, text: &[u8], start: usize, end: usize) -> u64 {
        self.hash(text, start, end, LOWER)
    }

    /// The hash of a word as it reads.
    pub(super) fn word(&self, reads: &[u8]) -> u64 {
        self.hash(reads, 0, reads.len(), 0)
    }

    /// The hash of a beginning that is longer by what stands between and a word of this hash.
    #[inline]
    pub(super) fn longer(&self, key: u64, between: &[u8], word: u64) -> u64 {
        let [_, _, seed] = self.seeds;
        let key = if between == b" " { key } else { fold(key ^ seed.rotate_left(32), self.word(between)) };
        // Zero is a free place.
        fold(key ^ seed, word).max(1)
    }

    #[inline]
    fn hash(&self, text: &[u8], start: usize, end: usize, case: u64) -> u64 {
        let chunk = text.get(start..).and_then(|rest| rest.first_chunk());
        let Some((chunk, bytes)) = chunk.zip(FIRST_BYTES.get(end - start)) else {
            return self.hash_long(text, start, end, case);
        };
        let [hash, seed, _] = self.seeds;
        let case = u128::from(case) << 64 | u128::from(case);
        let chunk = (u128::from_le_bytes(*chunk) | case) & bytes;
        // Zero is a free place.
        fold(hash ^ chunk as u64, seed ^ (chunk >> 64) as u64).max(1)
    }

    /// The same of a long word, or one at the end of a text.
    #[inline(never)]
    fn hash_long(&self, text: &[u8], start: usize, end: usize, case: u64) -> u64 {
        let [mut hash, seed, _] = self.seeds;
        let mut at = start;
        loop {
            let left = end - at;
            let chunk = load(text, at);
            let low = (chunk as u64 | case) & first_bytes(left);
            let high = ((chunk >> 64) as u64 | case) & first_bytes(left.saturating_sub(8));
            hash = fold(hash ^ low, seed ^ high);
            if left <= 16 {
                return hash.max(1);
            }
            at += 16;
        }
    }

    /// Whether a word, or the first two, may begin a term. Nearly all others are told at once.
    #[inline]
    pub(super) fn may_begin(&self, key: u64) -> bool {
        let word = self.filter_word(key);
        word >> (key & 63) & word >> (key >> 6 & 63) & 1 == 1
    }

    /// Whether a word that may begin a term may be all of one.
    #[inline]
    pub(super) fn may_end(&self, key: u64) -> bool {
        self.filter_word(key) >> (key >> 58) & 1 == 1
    }

    #[inline]
    fn filter_word(&self, key: u64) -> u64 {
        self.filter.get(key as usize >> 12 & self.filter.len().wrapping_sub(1)).copied().unwrap_or(0)
    }

    /// What is known of a beginning, if it is one.
    pub(super) fn get(&self, key: u64) -> Option<Beginning> {
        let place = self
            .places(key)
            .find(|place| matches!(self.keys.get(*place), Some(0) | None) || self.is(*place, key))?;
        let value = self.values.get(place).copied().filter(|_| self.is(place, key))?;
        Some(Beginning { term: (value & !LONGER).checked_sub(1), goes_on: value & LONGER != 0 })
    }

    /// The place of a beginning, and whether it is new there. None: the way is too long.
    pub(super) fn put(&mut self, key: u64) -> Option<(usize, bool)> {
        let place = self.places(key).find(|place| self.is(*place, 0) || self.is(*place, key))?;
        let there = self.keys.get_mut(place)?;
        let is_new = *there == 0;
        *there = key;
        Some((place, is_new))
    }

    /// From now on this may begin a term.
    pub(super) fn begin(&mut self, key: u64) {
        let words = self.filter.len() - 1;
        if let Some(word) = self.filter.get_mut(key as usize >> 12 & words) {
            *word |= 1 << (key & 63) | 1 << (key >> 6 & 63);
        }
    }

    /// From now on this may be a term of one word.
    pub(super) fn end_first(&mut self, key: u64) {
        let words = self.filter.len() - 1;
        if let Some(word) = self.filter.get_mut(key as usize >> 12 & words) {
            *word |= 1 << (key >> 58);
        }
    }

    /// Terms go on from the beginning at this place.
    pub(super) fn go_on(&mut self, place: usize) {
        if let Some(value) = self.values.get_mut(place) {
            *value |= LONGER;
        }
    }

    /// The beginning at this place is a term: this one, unless it was one already.
    pub(super) fn end(&mut self, place: usize, term: u32) -> u32 {
        let Some(value) = self.values.get_mut(place) else { return term };
        if *value & !LONGER == 0 {
            *value |= term + 1;
        }
        (*value & !LONGER) - 1
    }

    /// How many places there are.
    pub(super) fn places_len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that it takes up.
    pub(super) fn bytes(&self) -> usize {
        self.filter.len() * 8 + self.keys.len() * 12
    }

    fn is(&self, place: usize, key: u64) -> bool {
        self.keys.get(place) == Some(&key)
    }

    fn places(&self, key: u64) -> impl Iterator<Item = usize> {
        let count = self.keys.len();
        let first = ((u128::from(key) * count as u128) >> 64) as usize;
        (first..first + WAY_MAX.min(count))
            .map(move |place| if place < count { place } else { place - count })
    }
}

/// Ones for so many bytes, at most eight.
#[inline]
fn first_bytes(count: usize) -> u64 {
    u64::MAX.checked_shr(64 - 8 * count.min(8) as u32).unwrap_or(0)
}

/// Sixteen bytes, with zeros behind the end.
#[inline]
fn load(text: &[u8], at: usize) -> u128 {
    match text.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => load_end(text, at),
    }
}

fn load_end(text: &[u8], at: usize) -> u128 {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take(16).rev().fold(0, |chunk, byte| chunk << 8 | u128::from(*byte))
}

/// Both halves of a product, in one word.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}
