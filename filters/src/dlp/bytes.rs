//! Which bytes belong to a class? A set of bytes as four words, written as in a regex class.

use regex_syntax::hir::{Class, HirKind};

/// A set of byte values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// Reads `A-Za-z0-9_`, the inside of a bracket expression; an empty text is the empty set.
    pub fn parse(class: &str) -> Result<Self, String> {
        if class.is_empty() {
            return Ok(Self::default());
        }
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(&format!("[{class}]"))
            .map_err(|error| format!("`{class}` is not a class of bytes: {error}"))?;
        match hir.kind() {
            HirKind::Class(Class::Bytes(bytes)) => {
                Ok(bytes.ranges().iter().flat_map(|range| range.start()..=range.end()).collect())
            }
            HirKind::Literal(literal) => Ok(literal.0.iter().copied().collect()),
            HirKind::Class(Class::Unicode(_))
            | HirKind::Empty
            | HirKind::Look(_)
            | HirKind::Repetition(_)
            | HirKind::Capture(_)
            | HirKind::Concat(_)
            | HirKind::Alternation(_) => Err(format!("`{class}` is not a class of ASCII bytes")),
        }
    }

    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    /// The bytes of both sets.
    pub(super) fn or(self, other: Self) -> Self {
        let mut both = self;
        both.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
        both
    }

    /// Whether `byte` is in the set.
    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
    }
}

impl FromIterator<u8> for ByteSet {
    fn from_iter<T: IntoIterator<Item = u8>>(bytes: T) -> Self {
        let mut set = Self::default();
        bytes.into_iter().for_each(|byte| set.insert(byte));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_it_names() {
        let set = ByteSet::parse(r"A-Za-z0-9+/=\s_-").unwrap();
        assert!(b"AZaz09+/= \n_-".iter().all(|byte| set.contains(*byte)));
        assert!(!set.contains(b'.') && !set.contains(0x80));
        assert!(ByteSet::parse("-").unwrap().contains(b'-'));
        assert!(ByteSet::parse("[").is_err());
    }
}
