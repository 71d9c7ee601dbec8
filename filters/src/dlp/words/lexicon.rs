//! Which context words are there, and which rules do they belong to?
//!
//! All words of all rules in one tree of bytes, so that a text is read once however many rules ask about it. The tree
//! is walked from where a word may begin; what it finds is a word of the list, whether it touches others is said.

use std::collections::{BTreeMap, VecDeque};

/// No word ends at this node.
const NONE: u16 = u16::MAX;
/// Words are told apart from others by so many of their first bytes, before the tree is walked.
const MARK_BYTES: usize = 3;
/// Bits of the filter, as a power of two: at most 8 KiB, which stay in the first-level cache.
const FILTER_BITS_MAX: u32 = 16;
const FILTER_BITS_MIN: u32 = 9;
/// So many bits for each word, if they are few.
const FILTER_BITS_OF_WORD: usize = 16;

/// The words of a rule set.
#[derive(Debug)]
pub(in crate::dlp) struct Lexicon {
    /// Level by level; the first one is the root.
    nodes: Vec<Node>,
    /// By a byte that a word may begin with, in either case, the node behind it; 0 is none.
    first: Box<[u32; 256]>,
    /// What most words of a text fail: a bit for each first [`MARK_BYTES`] of a word.
    filter: Box<[u64]>,
    filter_bits: u32,
    /// Whether a word begins with something of ASCII that is neither letter nor digit.
    begins_otherwise: bool,
    /// The rules of each word, in order.
    rules: Vec<Vec<u16>>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    byte: u8,
    children: u8,
    word: u16,
    first_child: u32,
}

/// The byte as it is compared: without case, and with `national_id` and `national-id` as `national id`.
fn fold(byte: u8) -> u8 {
    match byte {
        b'_' | b'-' => b' ',
        _ => byte.to_ascii_lowercase(),
    }
}

impl Lexicon {
    /// Puts words together, each with the number of its rule.
    pub(in crate::dlp) fn new<'a>(words: impl Iterator<Item = (&'a [u8], u16)>) -> Self {
        let mut by_word: BTreeMap<Vec<u8>, Vec<u16>> = BTreeMap::new();
        for (word, rule) in words.filter(|(word, _)| !word.is_empty()) {
            by_word.entry(word.iter().map(|byte| fold(*byte)).collect()).or_default().push(rule);
        }
        // Words are numbered in 16 bits; of more, the last ones are no context.
        let (words, mut rules): (Vec<_>, Vec<_>) = by_word.into_iter().take(usize::from(NONE)).unzip();
        for rules in &mut rules {
            rules.sort_unstable();
            rules.dedup();
        }
        let bits = (words.len() * FILTER_BITS_OF_WORD).next_power_of_two().trailing_zeros();
        let filter_bits = bits.clamp(FILTER_BITS_MIN, FILTER_BITS_MAX);
        let begins_otherwise = |word: &Vec<u8>| {
            word.first().is_some_and(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
        };
        let mut lexicon = Self {
            nodes: Vec::new(),
            first: Box::new([0; 256]),
            filter: vec![0; 1 << (filter_bits - 6)].into(),
            filter_bits,
            begins_otherwise: words.iter().any(begins_otherwise),
            rules,
        };
        for word in &words {
            lexicon.mark(word);
        }
        lexicon.grow(&words);
        let first = lexicon.first.clone();
        for (byte, node) in (0u8..=255).zip(lexicon.first.iter_mut()) {
            *node = first.get(usize::from(fold(byte))).copied().unwrap_or(0);
        }
        lexicon
    }

    /// Lets a word through the filter, whatever stands behind it if it is short, and however its spaces are written.
    fn mark(&mut self, word: &[u8]) {
        let forms = |place: usize| match word.get(place) {
            None => (0..=u8::MAX).collect(),
            Some(b' ') => vec![b' ', b'-', b'_'],
            Some(byte) => vec![*byte],
        };
        let [first, second, third] = std::array::from_fn(forms);
        for a in &first {
            for b in &second {
                for c in &third {
                    self.set(mark([*a, *b, *c]));
                }
            }
        }
    }

    fn set(&mut self, mark: u32) {
        let bit = hash(mark, self.filter_bits);
        set(self.filter.get_mut((bit >> 6) as usize), |word| *word |= 1 << (bit & 63));
    }

    fn grow(&mut self, words: &[Vec<u8>]) {
        self.nodes.push(Node { byte: 0, children: 0, word: NONE, first_child: 0 });
        let mut open = VecDeque::from([(0, 0..words.len(), 0)]);
        while let Some((node, range, depth)) = open.pop_front() {
            let mut range = range;
            // A word stands before those that go on with it.
            if words.get(range.start).is_some_and(|word| word.len() == depth) && !range.is_empty() {
                set(self.nodes.get_mut(node), |node| node.word = range.start as u16);
                range.start += 1;
            }
            let first_child = self.nodes.len();
            let group = words.get(range.clone()).unwrap_or_default();
            let mut from = range.start;
            for alike in group.chunk_by(|one, other| one.get(depth) == other.get(depth)) {
                let byte = alike.first().and_then(|word| word.get(depth)).copied().unwrap_or(0);
                open.push_back((self.nodes.len(), from..from + alike.len(), depth + 1));
                if depth == 0 {
                    set(self.first.get_mut(usize::from(byte)), |first| *first = self.nodes.len() as u32);
                }
                self.nodes.push(Node { byte, children: 0, word: NONE, first_child: 0 });
                from += alike.len();
            }
            let children = (self.nodes.len() - first_child) as u8;
            set(self.nodes.get_mut(node), |node| {
                (node.first_child, node.children) = (first_child as u32, children);
            });
        }
    }

    /// The memory that it takes.
    pub(in crate::dlp) fn memory_bytes(&self) -> usize {
        let rules: usize = self.rules.iter().map(|rules| size_of_val(rules) + size_of_val(&**rules)).sum();
        size_of_val(&*self.nodes) + size_of_val(&*self.first) + size_of_val(&*self.filter) + rules
    }

    /// How many words there are.
    pub(in crate::dlp) fn len(&self) -> usize {
        self.rules.len()
    }

    /// The rules that a word is a context word of, in order.
    pub(in crate::dlp) fn rules_of(&self, word: u16) -> &[u16] {
        self.rules.get(usize::from(word)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a word begins with something of ASCII that is neither letter nor digit.
    pub(super) fn begins_otherwise(&self) -> bool {
        self.begins_otherwise
    }

    /// Whether a text may begin with a word. It may say yes wrongly, never no.
    #[inline]
    pub(super) fn may_be(&self, text: &[u8]) -> bool {
        let Some(first) = text.first_chunk() else { return !text.is_empty() };
        let bit = hash(mark(*first), self.filter_bits);
        self.filter.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }

    /// Calls `each` with every word that a text begins with, and its length.
    pub(super) fn words_at(&self, text: &[u8], mut each: impl FnMut(u16, usize)) {
        let first = text.first().and_then(|byte| self.first.get(usize::from(*byte)));
        let mut node = first.filter(|node| **node > 0).and_then(|node| self.nodes.get(*node as usize));
        let mut length = 1;
        while let Some(here) = node {
            if here.word != NONE {
                each(here.word, length);
            }
            let from = here.first_child as usize;
            let children = self.nodes.get(from..from + usize::from(here.children)).unwrap_or_default();
            let byte = text.get(length).map(|byte| fold(*byte));
            node = byte.and_then(|byte| children.iter().find(|child| child.byte == byte));
            length += 1;
        }
    }
}

/// The first bytes of a word, without case; other characters fold too, alike in text and filter.
fn mark([a, b, c]: [u8; MARK_BYTES]) -> u32 {
    u32::from_le_bytes([a, b, c, 0]) | 0x2020_2020
}

fn hash(mark: u32, bits: u32) -> u32 {
    mark.wrapping_mul(0x9E37_79B1) >> (32 - bits)
}

fn set<T>(place: Option<&mut T>, change: impl FnOnce(&mut T)) {
    if let Some(place) = place {
        change(place);
    }
}
