//! Does a word that makes a finding likelier stand near it?
//!
//! Needs the words of a rule and a window of the text on either side of a match; compares without regard to case, as
//! whole words. It knows no grammar: a word counts wherever it stands in its window.

use super::matcher::View;
use super::rules::{CONTEXT_BEFORE_BYTES_MAX, Context};
use super::shadow;
use memchr::memmem::Finder;
use std::ops::Range;

/// Context words, ready to be looked for.
pub(super) struct Words {
    finders: Vec<Finder<'static>>,
    before_bytes: usize,
    after_bytes: usize,
    pub(super) required: bool,
}

impl Words {
    /// Prepares the words of a rule.
    pub(super) fn compile(context: &Context) -> Self {
        // As they are written, in capitals (the text keeps the case of other scripts), and as they read where
        // characters are folded.
        let mut words: Vec<Vec<u8>> =
            context.words.iter().flat_map(|word| cases(word)).map(String::into_bytes).collect();
        words.extend(
            context.words.iter().map(|word| shadow::fold_text(word).to_ascii_lowercase().into_bytes()),
        );
        for word in &mut words {
            join(word);
        }
        words.sort_unstable();
        words.dedup();
        Self {
            finders: words.iter().map(|word| Finder::new(word).into_owned()).collect(),
            before_bytes: context.before_bytes,
            after_bytes: context.after_bytes,
            required: context.required,
        }
    }

    /// Whether one of the words is near; `None`: the text must go on first.
    pub(super) fn is_near(&self, view: View<'_>, whole: &Range<usize>) -> Option<bool> {
        let before = view.text.get(whole.start.saturating_sub(self.before_bytes)..whole.start);
        if self.holds(before.unwrap_or_default()) {
            return Some(true);
        }
        let reach = whole.end + self.after_bytes;
        if view.text.len() < reach && !view.complete && self.after_bytes > 0 {
            return None;
        }
        Some(self.holds(view.text.get(whole.end..reach.min(view.text.len())).unwrap_or_default()))
    }

    fn holds(&self, window: &[u8]) -> bool {
        let mut lower = [0; CONTEXT_BEFORE_BYTES_MAX];
        let Some(lower) = lower.get_mut(..window.len()) else { return false };
        lower.copy_from_slice(window);
        lower.make_ascii_lowercase();
        join(lower);
        let lower = &*lower;
        let is_letter =
            |at: Option<usize>| at.and_then(|at| lower.get(at)).is_some_and(u8::is_ascii_alphabetic);
        self.finders.iter().any(|finder| {
            let word = finder.needle();
            let starts_word = word.first().is_some_and(u8::is_ascii_alphanumeric);
            let ends_word = word.last().is_some_and(u8::is_ascii_alphanumeric);
            finder.find_iter(lower).any(|at| {
                let touches_left = starts_word && is_letter(at.checked_sub(1));
                let touches_right = ends_word && is_letter(Some(at + word.len()));
                !touches_left && !touches_right
            })
        })
    }
}

/// A word in lower case, capitalised and in capitals, of which ASCII is always lower.
fn cases(word: &str) -> [String; 3] {
    let lower = word.to_lowercase();
    let mut letters = lower.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let capitalised: String = first.chain(letters).collect();
    [lower, capitalised, word.to_uppercase()].map(|form| form.to_ascii_lowercase())
}

/// `national_id` and `national-id` are the same words as `national id`.
fn join(text: &mut [u8]) {
    for byte in text {
        if matches!(byte, b'_' | b'-') {
            *byte = b' ';
        }
    }
}
