//! Does a text hold a term of an organisation's lists? A hundred thousand of them cost about as much as one.
//!
//! Terms are compared as [`super::tokens`] reads them: in any case, whatever spaces, `_`, `-` and `.` stand
//! between their words, and as whole words. A hash says where a term may stand; then its words are compared with
//! those of the text, so nothing is found that is not there. At each word of a text a list finds its longest
//! term; terms that overlap are all found.

mod build;
mod table;
#[cfg(test)]
mod tests;

pub use build::{TERMS_MAX, Term, TermProblem};

use super::matcher::View;
use super::shadow;
use super::tokens::{self, Step, Sweep};
use std::ops::Range;
use table::Table;
use unicode_normalization::UnicodeNormalization;

/// A term with what stands between its words takes no more of a text than this.
const SPAN_BYTES_MAX: usize = 512;
/// How much of a text behind a word may be asked for: a term, and the word that follows it.
const REACH_BYTES: usize = SPAN_BYTES_MAX + tokens::WORD_BYTES_MAX;

/// Lists of terms, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Dictionary {
    table: Table,
    terms: Vec<Placed>,
    /// All terms as they read, one after the other.
    text: Vec<u8>,
    /// The lists of all terms, one after the other.
    owners: Vec<Owner>,
    /// Terms as they are written, where their case counts.
    cased: Vec<Box<str>>,
}

/// Where the text of a term begins, and its owners; both end where the next one's begin.
#[derive(Clone, Copy, Debug)]
struct Placed {
    text: u32,
    owners: u32,
}

/// A list that holds a term.
#[derive(Clone, Copy, Debug)]
struct Owner {
    list: u16,
    /// Its form in `cased`, from 1; 0: in any case.
    cased: u32,
}

/// A term that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The number of its list.
    pub list: u16,
    /// The bytes of the text.
    pub span: Range<usize>,
}

/// The state of reading one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    sweep: Sweep,
    /// Words that may begin a term which goes on in text to come.
    open: Vec<usize>,
    reads: Vec<u8>,
}

impl Dictionary {
    /// Everything in a whole text.
    pub fn scan(&self, text: &[u8]) -> Vec<Listed> {
        let mut found = Vec::new();
        self.scan_place(text, 0..text.len(), &mut found);
        found
    }

    /// Everything that begins in a place of a whole text.
    pub(super) fn scan_place(&self, text: &[u8], place: Range<usize>, found: &mut Vec<Listed>) {
        let end = text.len().min(place.end.saturating_add(REACH_BYTES));
        let view = View { text: text.get(..end).unwrap_or_default(), complete: end == text.len() };
        let mut reading = Reading { sweep: Sweep::from(text, place.start), ..Reading::default() };
        let before = found.len();
        reading.advance(self, view, found);
        // They are in the order of their beginnings.
        let here = found.get(before..).unwrap_or_default();
        found.truncate(before + here.partition_point(|one| one.span.start < place.end));
    }

    /// How many terms there are, in all forms.
    pub fn terms(&self) -> usize {
        self.terms.len().saturating_sub(1)
    }

    /// Bytes that it takes up.
    pub fn bytes(&self) -> usize {
        let cased: usize = self.cased.iter().map(|one| one.len() + size_of::<Box<str>>()).sum();
        let lists = size_of_val(&*self.terms) + size_of_val(&*self.owners);
        self.table.bytes() + lists + self.text.len() + cased
    }

    fn placed(&self, term: u32) -> Option<(&[u8], &[Owner])> {
        let (this, next) = (self.terms.get(term as usize)?, self.terms.get(term as usize + 1)?);
        let text = self.text.get(this.text as usize..next.text as usize)?;
        Some((text, self.owners.get(this.owners as usize..next.owners as usize)?))
    }
}

impl Reading {
    /// Reads on. `view` is the text from some point on; what it held at the last call it still holds. Appends what is
    /// decided and returns the offset before which nothing can be found any more.
    pub(super) fn advance(
        &mut self,
        dictionary: &Dictionary,
        view: View<'_>,
        found: &mut Vec<Listed>,
    ) -> usize {
        let Self { sweep, open, reads } = self;
        let mut look = Look { dictionary, view, reads, open: Vec::new(), found };
        for start in std::mem::take(open) {
            look.reads.clear();
            if let Step::Word(end) = tokens::word(view, start, look.reads) {
                look.ask(start, end, dictionary.table.word(look.reads));
            }
        }
        sweep.run(
            view,
            #[inline(always)]
            |word| {
                let key = match word.reads {
                    None => dictionary.table.ascii_word(view.text, word.start, word.end),
                    Some(reads) => dictionary.table.word(reads),
                };
                if dictionary.table.may_begin(key) {
                    look.ask(word.start, word.end, key);
                }
            },
        );
        *open = look.open;
        if view.complete { view.text.len() } else { self.needed_from() }
    }

    /// The first byte that an open term or the next word looks at.
    pub(super) fn needed_from(&self) -> usize {
        self.open.iter().copied().fold(self.sweep.at(), usize::min)
    }

    /// Whether nothing waits for more text.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The text now begins `by` bytes later.
    pub(super) fn forget(&mut self, by: usize) {
        self.sweep.forget(by);
        self.open.iter_mut().for_each(|start| *start -= by);
    }
}

/// Asks about words of one view.
struct Look<'a> {
    dictionary: &'a Dictionary,
    view: View<'a>,
    reads: &'a mut Vec<u8>,
    open: Vec<usize>,
    found: &'a mut Vec<Listed>,
}

impl Look<'_> {
    /// All terms that begin with a word of this hash.
    #[inline(never)]
    fn ask(&mut self, start: usize, end: usize, mut key: u64) {
        if !self.dictionary.table.may_end(key) && self.begins_none(start, end, key) {
            return;
        }
        let before = self.found.len();
        let mut at = end;
        for words in 1.. {
            let Some(beginning) = self.dictionary.table.get(key) else { return };
            if let Some(term) = beginning.term {
                self.confirm(term, start..at, before);
            }
            if !beginning.goes_on {
                return;
            }
            match self.step(at, &mut key) {
                Step::Word(next) if next - start <= SPAN_BYTES_MAX => at = next,
                Step::Word(_) | Step::No => return,
                Step::Open if self.view.text.len() - start > SPAN_BYTES_MAX => return,
                Step::Open => {
                    // What is found may become longer.
                    self.found.truncate(before);
                    self.open.push(start);
                    return;
                }
            }
            if words == 1 && !self.dictionary.table.may_begin(key) {
                return;
            }
        }
    }

    /// Whether no term begins with the word of this hash and the one that follows. That is told by the filter: the
    /// table is too large to be near.
    fn begins_none(&mut self, start: usize, end: usize, mut key: u64) -> bool {
        match self.step(end, &mut key) {
            Step::Word(next) => next - start > SPAN_BYTES_MAX || !self.dictionary.table.may_begin(key),
            Step::No => true,
            Step::Open => false,
        }
    }

    /// Goes on to the next word, and makes the hash one of a longer beginning.
    fn step(&mut self, at: usize, key: &mut u64) -> Step {
        let table = &self.dictionary.table;
        // Most words are ASCII behind a space.
        if self.view.text.get(at) == Some(&b' ')
            && let Some(end) = tokens::ascii_word(self.view, at + 1)
        {
            let word = table.ascii_word(self.view.text, at + 1, end);
            *key = table.longer(*key, b" ", word);
            return if end - at > tokens::ENTRY_BYTES_MAX { Step::No } else { Step::Word(end) };
        }
        self.reads.clear();
        let step = tokens::step(self.view, at, self.reads);
        if let Step::Word(_) = step {
            let (between, word) = tokens::unit(self.reads);
            *key = table.longer(*key, between, table.word(word));
        }
        step
    }

    /// A term was found, if its words are those of the text: for each of its lists, unless case speaks against it.
    fn confirm(&mut self, term: u32, span: Range<usize>, before: usize) {
        let Some((text, owners)) = self.dictionary.placed(term) else { return };
        self.reads.clear();
        let mut step = tokens::word(self.view, span.start, self.reads);
        while let Step::Word(at) = step
            && at < span.end
        {
            step = tokens::step(self.view, at, self.reads);
        }
        if text != *self.reads {
            return;
        }
        for owner in owners {
            if owner.cased > 0 && !self.is_cased(owner.cased, &span) {
                continue;
            }
            let here = self.found.get_mut(before..).unwrap_or_default();
            match here.iter_mut().find(|one| one.list == owner.list) {
                // Later ones are longer.
                Some(shorter) => shorter.span = span.clone(),
                None => self.found.push(Listed { list: owner.list, span: span.clone() }),
            }
        }
    }

    fn is_cased(&self, cased: u32, span: &Range<usize>) -> bool {
        let written = self.view.text.get(span.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let wanted = self.dictionary.cased.get(cased as usize - 1);
        written.zip(wanted).is_some_and(|(written, wanted)| case_of(written) == **wanted)
    }
}

/// The letters and digits of a text, in their case.
fn case_of(text: &str) -> String {
    let composed: String = text.nfc().collect();
    let mut letters = shadow::fold_text(&composed);
    letters.retain(char::is_alphanumeric);
    letters
}
