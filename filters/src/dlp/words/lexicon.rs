//! Which context words are there, and which rules do they belong to?
//!
//! All words of all rules in one tree of bytes, so that a text is read once however many rules ask about it. The tree
//! is walked from where a word may begin; what it finds is a word of the list, whether it touches others is said.

use std::collections::{BTreeMap, VecDeque};

/// No word ends at this node.
const NONE: u16 = u16::MAX;

/// The words of a rule set.
#[derive(Debug)]
pub(in crate::dlp) struct Lexicon {
    /// Level by level; the first one is the root.
    nodes: Vec<Node>,
    /// By a byte that a word may begin with, in either case, the node behind it; 0 is none.
    first: Box<[u32; 256]>,
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
        let mut lexicon = Self { nodes: Vec::new(), first: Box::new([0; 256]), rules };
        lexicon.grow(&words);
        let first = lexicon.first.clone();
        for (byte, node) in (0u8..=255).zip(lexicon.first.iter_mut()) {
            *node = first.get(usize::from(fold(byte))).copied().unwrap_or(0);
        }
        lexicon
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
        size_of_val(&*self.nodes) + size_of_val(&*self.first) + rules
    }

    /// How many words there are.
    pub(in crate::dlp) fn len(&self) -> usize {
        self.rules.len()
    }

    /// The rules that a word is a context word of, in order.
    pub(in crate::dlp) fn rules_of(&self, word: u16) -> &[u16] {
        self.rules.get(usize::from(word)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether any word begins with this byte.
    #[inline]
    pub(super) fn may_begin(&self, byte: u8) -> bool {
        self.first.get(usize::from(byte)).is_some_and(|node| *node > 0)
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

fn set<T>(place: Option<&mut T>, change: impl FnOnce(&mut T)) {
    if let Some(place) = place {
        change(place);
    }
}
