//! What was taken out of a prompt to be put back into its answer?
//!
//! Placeholders of one exchange, each with the value it stands for. They live as long as the exchange, in memory, and
//! are neither shown nor written anywhere. Where one may be put back, `answer::restore` decides.

use super::detector::Detector;
use super::replacement::{self, Key};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A longer value is not put back: a model could make an answer very large with a few words.
const VALUE_BYTES_MAX: usize = 512;
/// So often another placeholder is made where one is taken.
const ATTEMPTS_MAX: u32 = 8;

/// The placeholders of one exchange.
#[derive(Default)]
pub(crate) struct Originals {
    /// In the order of placeholders.
    pairs: Vec<(String, String)>,
}

impl fmt::Debug for Originals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} originals", self.pairs.len())
    }
}

/// What a text that may go on begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning<'a> {
    /// No placeholder.
    Nothing,
    /// What is there of a placeholder.
    Part,
    /// A placeholder of so many bytes, and its value.
    Whole(usize, &'a str),
}

impl Originals {
    /// Placeholders with their values.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let mut pairs: Vec<_> =
            pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect();
        pairs.sort();
        Self { pairs }
    }

    /// Whether there is nothing to put back.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What `text` begins with, if it goes on or not.
    pub(crate) fn beginning(&self, text: &str) -> Beginning<'_> {
        let at = self.pairs.partition_point(|(placeholder, _)| placeholder.as_str() < text);
        // A placeholder that the text begins with is less than the text, and none is the beginning of another.
        let is_begun = |pair: &&(String, String)| text.starts_with(&*pair.0);
        let before = at.checked_sub(1).and_then(|before| self.pairs.get(before));
        let here = self.pairs.get(at);
        if let Some((placeholder, value)) = before.filter(is_begun).or(here.filter(is_begun)) {
            return Beginning::Whole(placeholder.len(), value);
        }
        if here.is_some_and(|(placeholder, _)| placeholder.starts_with(text)) {
            return Beginning::Part;
        }
        Beginning::Nothing
    }
}

/// Placeholders that are being made for one prompt.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// What already has the form of a placeholder in the caller's own text: it stays what it is.
    callers: Option<HashSet<Box<[u8]>>>,
    originals: HashMap<String, String>,
}

impl Taken {
    /// A placeholder for a value in `text`, which is all of the prompt. `None`: this value is not put back.
    pub(super) fn placeholder(
        &mut self,
        key: &Key,
        detector: &Detector,
        value: &[u8],
        text: &[u8],
    ) -> Option<String> {
        let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= VALUE_BYTES_MAX)?;
        let callers = self.callers.get_or_insert_with(|| of_their_form(text));
        for attempt in 0..ATTEMPTS_MAX {
            let placeholder = replacement::placeholder(key, detector, value, attempt);
            if callers.contains(placeholder.as_bytes()) {
                continue;
            }
            let known = self.originals.entry(placeholder.clone()).or_insert_with(|| value.to_owned());
            if known == value {
                return Some(placeholder);
            }
        }
        None
    }

    pub(super) fn into_originals(self) -> Originals {
        let mut pairs: Vec<(String, String)> = self.originals.into_iter().collect();
        pairs.sort_unstable();
        Originals { pairs }
    }
}

/// Everything in a text that has the form of a placeholder.
fn of_their_form(text: &[u8]) -> HashSet<Box<[u8]>> {
    let in_one = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let starts = memchr::memchr_iter(b'[', text);
    let candidate = |start: usize| {
        let rest = text.get(start + 1..)?;
        let inside = rest.iter().take_while(|byte| in_one(byte)).count();
        (rest.get(inside) == Some(&b']')).then(|| text.get(start..start + inside + 2)).flatten()
    };
    starts.filter_map(candidate).map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_told_from_a_whole_and_from_nothing() {
        let originals = Originals::of(&[("[A_BB]", "[a_bb]"), ("[A_BC]", "[a_bc]"), ("[AB_C]", "[ab_c]")]);
        for text in ["[A_BB]", "[A_BB]x", "[A_BB]]"] {
            assert_eq!(originals.beginning(text), Beginning::Whole(6, "[a_bb]"), "{text}");
        }
        for text in ["[", "[A", "[A_", "[A_BC", "[AB_"] {
            assert_eq!(originals.beginning(text), Beginning::Part, "{text}");
        }
        for text in ["x", "[B", "[A_BD]", "[A_BB ]", "[A_bb]", "[A_BBx"] {
            assert_eq!(originals.beginning(text), Beginning::Nothing, "{text}");
        }
        assert_eq!(format!("{originals:?}"), "3 originals");
    }
}
