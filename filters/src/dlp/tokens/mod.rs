//! Which words does a text consist of, as lists know words?
//!
//! A word is what stands between spaces and signs, in lower case and as it reads; in scripts without spaces each
//! character is one. Words of lists and words of texts are made here, so that both are the same. [`Sweep`] finds the
//! words of a text that may still grow; [`step`] reads on behind one of them. What a text says up to a place does not
//! depend on where it was cut.

mod letters;
#[cfg(test)]
mod tests;

use super::anchors::{self, Runs};
use super::matcher::View;
use letters::{BORDER, Letter, ascii, letter, may_join};
use std::ops::Range;
use unicode_normalization::char::compose;

/// Longer words are in no list. In bytes of the text, in which characters may hide that read as nothing.
pub(super) const WORD_BYTES_MAX: usize = 256;
/// What a list may hold: the words of one entry, as they read, with what stands between them.
pub(super) const ENTRY_BYTES_MAX: usize = 128;
/// More than this between two words keeps them apart: a line break and its indentation.
const BETWEEN_BYTES_MAX: usize = 16;
/// Bytes that are looked at together.
const BLOCK_BYTES: usize = 64;

/// A word of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// How it reads; none if it is ASCII, which only wants lower case.
    pub(super) reads: Option<&'a [u8]>,
}

/// How far the words of a text are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sweep {
    /// Where the next word may begin.
    at: usize,
    /// Whether a word that is too long goes on here.
    in_word: bool,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another word, up to here.
    Word(usize),
    /// That depends on text to come.
    Open,
    /// Nothing that belongs to it.
    No,
}

impl Sweep {
    /// The words from a place of a text on.
    pub(super) fn from(text: &[u8], at: usize) -> Self {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        Self { at, in_word: before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80) }
    }

    /// Before this place all words are known.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text now begins `by` bytes later.
    pub(super) fn forget(&mut self, by: usize) {
        self.at -= by;
    }

    /// Reads on to the end of what is there, and tells each word that is complete.
    #[inline]
    pub(super) fn run(&mut self, view: View<'_>, mut each: impl FnMut(Word<'_>)) {
        self.leave_word(view);
        let from = self.at;
        self.at = view.text.len();
        let mut reads = Vec::new();
        // The run that reaches the end of the last block: whether there is one, its beginning, and whether it is mixed.
        let (mut goes_on, mut begun, mut is_begun_mixed) = (0, from, false);
        anchors::runs(view.text, from, |here, Runs { runs, high }| {
            let before = runs << 1 | goes_on;
            let (mut starts, mut ends) = (runs & !before, before & !runs);
            if goes_on == 1 {
                if ends == 0 {
                    is_begun_mixed |= high != 0;
                    return;
                }
                let end = ends.trailing_zeros();
                ends &= ends - 1;
                let is_mixed = is_begun_mixed || high & !(u64::MAX << end) != 0;
                self.take(view, begun..here + end as usize, is_mixed, &mut reads, &mut each);
            }
            while ends != 0 {
                let (start, end) = (starts.trailing_zeros(), ends.trailing_zeros());
                (starts, ends) = (starts & (starts - 1), ends & (ends - 1));
                let is_mixed = high != 0 && high & !(u64::MAX << end) & u64::MAX << start != 0;
                self.take(view, here + start as usize..here + end as usize, is_mixed, &mut reads, &mut each);
            }
            goes_on = runs >> (BLOCK_BYTES - 1);
            if goes_on == 1 {
                let start = starts.trailing_zeros();
                (begun, is_begun_mixed) = (here + start as usize, high >> start != 0);
            }
        });
        if goes_on == 1 {
            self.last(view, begun, is_begun_mixed, &mut reads, &mut each);
        }
    }

    /// Takes a run.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is done for every word")]
    fn take(
        &mut self,
        view: View<'_>,
        run: Range<usize>,
        is_mixed: bool,
        reads: &mut Vec<u8>,
        each: &mut impl FnMut(Word<'_>),
    ) {
        let Range { start, end } = run;
        if end == view.text.len() {
            self.last(view, start, is_mixed, reads, each);
        } else if is_mixed {
            self.mixed(view, start, end, reads, each);
        } else if end - start <= ENTRY_BYTES_MAX {
            each(Word { start, end, reads: None });
        }
    }

    /// The run that reaches the end of what is there.
    #[cold]
    fn last(
        &mut self,
        view: View<'_>,
        start: usize,
        is_mixed: bool,
        reads: &mut Vec<u8>,
        each: &mut dyn FnMut(Word<'_>),
    ) {
        let end = view.text.len();
        match (is_mixed, view.complete) {
            (true, _) => self.mixed(view, start, end, reads, each),
            (false, true) if end - start <= ENTRY_BYTES_MAX => each(Word { start, end, reads: None }),
            (false, true) => {}
            (false, false) if end - start <= ENTRY_BYTES_MAX => self.at = start,
            (false, false) => self.in_word = true,
        }
    }

    /// Skips the rest of a word that is too long, as far as it is there.
    fn leave_word(&mut self, view: View<'_>) {
        while self.in_word {
            match next(view.text, self.at) {
                Next::Letter { letter: Letter::Part(_) | Letter::Nothing, bytes, .. } => self.at += bytes,
                Next::Letter { .. } => self.in_word = false,
                Next::Cut if view.complete => self.in_word = false,
                Next::Cut | Next::End => return,
            }
        }
    }

    /// Reads a run that is not all ASCII, character by character.
    fn mixed(
        &mut self,
        view: View<'_>,
        start: usize,
        end: usize,
        reads: &mut Vec<u8>,
        each: &mut dyn FnMut(Word<'_>),
    ) {
        let mut at = start;
        while at < end {
            match next(view.text, at) {
                Next::Letter { letter: Letter::Part(_) | Letter::Alone(_), .. } => {}
                Next::Letter { bytes, .. } => {
                    at += bytes;
                    continue;
                }
                Next::Cut if view.complete => {
                    at += 1;
                    continue;
                }
                Next::Cut | Next::End => {
                    self.at = at;
                    return;
                }
            }
            reads.clear();
            match word(view, at, reads) {
                Step::Word(to) => {
                    each(Word { start: at, end: to, reads: Some(reads) });
                    at = to;
                }
                Step::Open => {
                    self.at = at;
                    return;
                }
                Step::No => {
                    let mut long = Self { at, in_word: true };
                    long.leave_word(view);
                    // At least the character that it began with.
                    at = long.at.max(at + 1);
                    if long.in_word && at >= view.text.len() {
                        (self.at, self.in_word) = (at, !view.complete);
                        return;
                    }
                }
            }
        }
    }
}

/// The character at a place.
enum Next {
    Letter {
        letter: Letter,
        bytes: usize,
        character: char,
    },
    /// The beginning of one, of which the rest is not there.
    Cut,
    End,
}

fn next(text: &[u8], at: usize) -> Next {
    let Some(first) = text.get(at).copied() else { return Next::End };
    if first.is_ascii() {
        return Next::Letter { letter: ascii(first), bytes: 1, character: char::from(first) };
    }
    let whole = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if let Some(bytes) = text.get(at..at + whole) {
        let valid = std::str::from_utf8(bytes).ok().and_then(|valid| valid.chars().next());
        if let Some(character) = valid {
            return Next::Letter { letter: letter(character), bytes: whole, character };
        }
    } else if text.get(at + 1..).is_some_and(|rest| rest.iter().all(|byte| byte & 0xc0 == 0x80)) {
        return Next::Cut;
    }
    Next::Letter { letter: BORDER, bytes: 1, character: char::REPLACEMENT_CHARACTER }
}

/// The word that begins at a place, appended to `reads`. `No`: it is too long.
pub(super) fn word(view: View<'_>, start: usize, reads: &mut Vec<u8>) -> Step {
    if let Some(end) = ascii_word(view, start) {
        if end - start > ENTRY_BYTES_MAX {
            return Step::No;
        }
        let written = view.text.get(start..end).unwrap_or_default();
        reads.extend(written.iter().map(u8::to_ascii_lowercase));
        return Step::Word(end);
    }
    let (mut at, before) = (start, reads.len());
    let mut is_alone = false;
    // The character before, and where in `reads` it begins: a mark may join it.
    let mut last: Option<(char, usize)> = None;
    loop {
        let (found, bytes, character) = match next(view.text, at) {
            Next::Letter { letter, bytes, character } => (letter, bytes, character),
            Next::Cut | Next::End if view.complete => return Step::Word(at),
            Next::Cut | Next::End => return Step::Open,
        };
        let joined = last.filter(|_| may_join(character)).and_then(|(earlier, from)| {
            let joined = compose(earlier, character)?;
            Some((joined, from))
        });
        let found = if let Some((joined, from)) = joined {
            reads.truncate(from);
            last = Some((joined, from));
            letter(joined)
        } else {
            last = Some((character, reads.len()));
            found
        };
        match found {
            Letter::Nothing => {}
            Letter::Part(_) if is_alone && joined.is_none() => return Step::Word(at),
            Letter::Alone(_) if at > start && joined.is_none() => return Step::Word(at),
            Letter::Part(part) | Letter::Alone(part) => {
                is_alone = matches!(found, Letter::Alone(_));
                reads.extend_from_slice(part.bytes());
            }
            Letter::Space | Letter::Sign(_) => return Step::Word(at),
        }
        at += bytes;
        if at - start > WORD_BYTES_MAX || reads.len() - before > ENTRY_BYTES_MAX {
            return Step::No;
        }
    }
}

/// Where a word of ASCII ends: one that no other character touches.
#[inline]
pub(super) fn ascii_word(view: View<'_>, start: usize) -> Option<usize> {
    let rest = view.text.get(start..)?;
    let head = rest.get(..ENTRY_BYTES_MAX + 1).unwrap_or(rest);
    match head.iter().position(|byte| !byte.is_ascii_alphanumeric()) {
        Some(0) => None,
        Some(bytes) => rest.get(bytes).filter(|byte| byte.is_ascii()).map(|_| start + bytes),
        None => (view.complete && !rest.is_empty() && head.len() == rest.len()).then_some(view.text.len()),
    }
}

/// What stands between two words at a place, appended to `reads`: the signs, or a space if there is none.
pub(super) fn between(view: View<'_>, start: usize, reads: &mut Vec<u8>) -> Step {
    if let Some([b' ', b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z']) = view.text.get(start..start + 2) {
        reads.push(b' ');
        return Step::Word(start + 1);
    }
    let (mut at, before) = (start, reads.len());
    loop {
        match next(view.text, at) {
            Next::Letter { letter: Letter::Space | Letter::Nothing, bytes, .. } => at += bytes,
            Next::Letter { letter: Letter::Sign(sign), bytes, .. } => {
                reads.extend_from_slice(sign.bytes());
                at += bytes;
            }
            Next::Letter { letter: Letter::Part(_) | Letter::Alone(_), .. } => break,
            Next::Cut | Next::End if view.complete => return Step::No,
            Next::Cut | Next::End => return Step::Open,
        }
        if at - start > BETWEEN_BYTES_MAX {
            return Step::No;
        }
    }
    if reads.len() == before {
        reads.push(b' ');
    }
    Step::Word(at)
}

/// Reads on behind a word: what stands between, and the next word, are appended to `reads`.
pub(super) fn step(view: View<'_>, at: usize, reads: &mut Vec<u8>) -> Step {
    match between(view, at, reads) {
        Step::Word(start) => word(view, start, reads),
        other @ (Step::Open | Step::No) => other,
    }
}

/// All words of an entry of a list, each with what stands before it, appended to `reads`, and where each ends,
/// counted from there; spaces and signs around them are none of it. None: it is too long.
pub(super) fn entry(text: &str, reads: &mut Vec<u8>, ends: &mut Vec<u32>) -> Option<()> {
    let is_word = |letter| matches!(letter, Letter::Part(_) | Letter::Alone(_));
    let view = View { text: text.as_bytes(), complete: true };
    let before = reads.len();
    let mut chars = text.char_indices();
    let Some((mut at, _)) = chars.find(|(_, one)| is_word(letter(*one))) else { return Some(()) };
    let mut step_on = word(view, at, reads);
    loop {
        match step_on {
            Step::Word(end) => at = end,
            Step::Open | Step::No => return None,
        }
        ends.push((reads.len() - before) as u32);
        if !text.get(at..)?.chars().any(|one| is_word(letter(one))) {
            return Some(());
        }
        step_on = step(view, at, reads);
    }
}

/// What stands between in front of a word, and the word, of what [`step`] appends.
pub(super) fn unit(reads: &[u8]) -> (&[u8], &[u8]) {
    let text = std::str::from_utf8(reads).unwrap_or_default();
    let is_word = |one: char| matches!(letter(one), Letter::Part(_) | Letter::Alone(_));
    reads.split_at_checked(text.find(is_word).unwrap_or(0)).unwrap_or((&[], reads))
}
