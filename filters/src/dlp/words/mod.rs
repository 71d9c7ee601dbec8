//! Does a word that makes a finding likelier stand near it?
//!
//! Needs the words of a rule and a window of the text on either side of a match; compares without regard to case, as
//! whole words. It knows no grammar: a word counts wherever it stands in its window. Many rules ask about the same
//! places, so all their words are looked for at once, and what was seen is kept ([`Nearby`]).

mod lexicon;
mod nearby;

pub(super) use lexicon::Lexicon;
pub(super) use nearby::Nearby;

use super::matcher::View;
use super::rules::Context;
use super::shadow;
use std::ops::Range;

/// The context of a rule.
#[derive(Debug)]
pub(super) struct Words {
    /// As they are looked for, in lower case.
    forms: Vec<Box<[u8]>>,
    before_bytes: usize,
    pub(super) after_bytes: usize,
    pub(super) required: bool,
}

/// What is known of the words around matches, while one text is read.
pub(super) struct Around<'a> {
    pub(super) lexicon: &'a Lexicon,
    pub(super) nearby: &'a mut Nearby,
    /// The rule that asks.
    pub(super) rule: u16,
}

impl Words {
    /// Prepares the words of a rule.
    pub(super) fn compile(context: &Context) -> Self {
        // As they are written, in capitals (the text keeps the case of other scripts), and as they read where
        // characters are folded.
        let mut words: Vec<Box<[u8]>> = context
            .words
            .iter()
            .flat_map(|word| cases(word))
            .chain(context.words.iter().map(|word| shadow::fold_text(word).to_ascii_lowercase()))
            .map(|word| word.into_bytes().into())
            .collect();
        words.sort_unstable();
        words.dedup();
        Self {
            forms: words,
            before_bytes: context.before_bytes,
            after_bytes: context.after_bytes,
            required: context.required,
        }
    }

    /// The words, in every form that is looked for.
    pub(super) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        self.forms.iter().map(|word| &**word)
    }

    /// Lets go of the words themselves, once a lexicon has them.
    pub(super) fn shrink(&mut self) {
        self.forms = Vec::new();
    }

    /// Whether one of the words is near; `None`: the text must go on first.
    pub(super) fn is_near(
        &self,
        view: View<'_>,
        whole: &Range<usize>,
        around: &mut Around<'_>,
    ) -> Option<bool> {
        let before = whole.start.saturating_sub(self.before_bytes)..whole.start;
        if around.nearby.holds(around.lexicon, view.text, before, around.rule) {
            return Some(true);
        }
        let reach = whole.end + self.after_bytes;
        if view.text.len() < reach && !view.complete && self.after_bytes > 0 {
            return None;
        }
        let after = whole.end..reach.min(view.text.len());
        Some(around.nearby.holds(around.lexicon, view.text, after, around.rule))
    }
}

/// Words in lower case, with the first or each of them capitalised, and in capitals, of which ASCII is always lower.
fn cases(words: &str) -> [String; 4] {
    let lower = words.to_lowercase();
    let each: Vec<String> = lower.split(' ').map(capitalised).collect();
    [capitalised(&lower), each.join(" "), words.to_uppercase(), lower].map(|form| form.to_ascii_lowercase())
}

fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
