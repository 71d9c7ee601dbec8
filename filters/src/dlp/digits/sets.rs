//! Which rules? Sets of them as bits, so that a place is asked about once for all of them.

/// Bits of a word.
const WORD_BITS: usize = u64::BITS as usize;

/// Sets of the same rules, by number.
#[derive(Debug, Default)]
pub(in crate::dlp) struct Sets {
    /// Words of bits in each.
    width: usize,
    words: Vec<u64>,
}

impl Sets {
    /// No set yet, of so many rules.
    pub(super) fn new(rules: usize) -> Self {
        Self { width: rules.div_ceil(WORD_BITS), words: Vec::new() }
    }

    /// Appends a set that these are in.
    pub(super) fn push(&mut self, members: impl IntoIterator<Item = usize>) {
        let from = self.words.len();
        self.words.resize(from + self.width, 0);
        let set = self.words.get_mut(from..).unwrap_or_default();
        for member in members {
            if let Some(word) = set.get_mut(member / WORD_BITS) {
                *word |= 1 << (member % WORD_BITS);
            }
        }
    }

    /// The set of this number; nothing is in one that is not there.
    pub(in crate::dlp) fn get(&self, number: usize) -> &[u64] {
        let from = number * self.width;
        self.words.get(from..from + self.width).unwrap_or_default()
    }

    /// Words of bits in each.
    pub(in crate::dlp) fn width(&self) -> usize {
        self.width
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

/// The members of a set, in order.
pub(super) fn members(set: &[u64]) -> impl Iterator<Item = usize> {
    (0..).step_by(WORD_BITS).zip(set).flat_map(|(first, bits)| {
        let mut bits = *bits;
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros() as usize);
            bits &= bits.wrapping_sub(1);
            bit.map(|bit| first + bit)
        })
    })
}

/// Whether this one is in a set.
pub(super) fn holds(set: &[u64], member: usize) -> bool {
    set.get(member / WORD_BITS).is_some_and(|word| word >> (member % WORD_BITS) & 1 == 1)
}

/// Whether none of both sets is in the other one.
pub(super) fn are_apart(one: &[u64], other: &[u64]) -> bool {
    one.iter().zip(other).all(|(one, other)| one & other == 0)
}
