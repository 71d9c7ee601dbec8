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
        let mut set = Self::default();
        match hir.kind() {
            HirKind::Class(Class::Bytes(bytes)) => {
                for range in bytes.ranges() {
                    (range.start()..=range.end()).for_each(|byte| set.insert(byte));
                }
            }
            HirKind::Literal(literal) => literal.0.iter().for_each(|byte| set.insert(*byte)),
            HirKind::Class(Class::Unicode(_))
            | HirKind::Empty
            | HirKind::Look(_)
            | HirKind::Repetition(_)
            | HirKind::Capture(_)
            | HirKind::Concat(_)
            | HirKind::Alternation(_) => return Err(format!("`{class}` is not a class of ASCII bytes")),
        }
        Ok(set)
    }

    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    /// Whether `byte` is in the set.
    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
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
