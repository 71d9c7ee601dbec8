//! Which context words stand around here? What was seen of one text, so that the next question is answered from it.
//!
//! Needs questions about places that lie roughly together, as those of anchors do; others cost a second look and change
//! no answer. Whoever reads another text, or the same one further, clears it first.

use super::super::digits::Sets;
use super::super::digits::eights::{self, HIGH};
use super::lexicon::Lexicon;
use std::ops::Range;

/// Bytes between what was seen and a place that is asked about, which are seen with it: as wide as most matches, as a
/// question about what stands behind one follows that about what stands before it.
const GAP_BYTES: usize = 64;
/// A rule that needs context is asked in the time in which so many bytes are searched for it.
const BYTES_PER_RULE: usize = 16;
/// Where digits stand so close to those before them, what is searched will be of use again.
const CLOSE_BYTES: usize = 24;
/// And soon enough if so many rules need it, or so many digits stood close to each other.
const NEEDING_MANY: usize = 4;
const CLOSE_MANY: usize = 4;
/// Words that are kept before those behind are let go of.
const KEPT_MAX: usize = 512;

/// The words of a part of a text.
#[derive(Clone, Debug, Default)]
pub(in crate::dlp) struct Nearby {
    /// Where the part begins and ends in which all words are known that begin there.
    from: usize,
    until: usize,
    words: Vec<Seen>,
    /// The last answer to `sets`, and the words that it is of.
    set: Vec<u64>,
    set_of: Range<usize>,
    /// Where digits stood that rules were asked about last, and how many before them that each stood close to others.
    asked_at: usize,
    close: usize,
}

/// A word in a text.
#[derive(Clone, Copy, Debug)]
struct Seen {
    start: usize,
    end: usize,
    word: u16,
    /// Whether a letter stands right behind its last one: then it is a part of a word.
    goes_on: bool,
}

impl Nearby {
    /// Forgets the text.
    pub(in crate::dlp) fn clear(&mut self) {
        (self.asked_at, self.close) = (0, 0);
        self.begin(0);
    }

    /// Whether a context word of a rule stands in a window: whole, as far as the window shows, and not as the end of a
    /// longer word that began before it.
    pub(super) fn holds(&mut self, lexicon: &Lexicon, text: &[u8], window: Range<usize>, rule: u16) -> bool {
        if window.is_empty() {
            return false;
        }
        let is_of = |word: u16| lexicon.rules_of(word).binary_search(&rule).is_ok();
        self.cover(lexicon, text, window.clone());
        let first = self.words.partition_point(|seen| seen.start < window.start);
        let here = self.words.get(first..).unwrap_or_default().iter();
        let mut here = here.take_while(|seen| seen.start < window.end);
        here.any(|seen| {
            seen.end <= window.end && (!seen.goes_on || seen.end == window.end) && is_of(seen.word)
        })
    }

    /// Whether it takes less time to look for words in a part, around digits at `at`, than to ask so many rules that
    /// need one there.
    pub(in crate::dlp) fn is_worth(&mut self, rules: usize, at: usize, part: &Range<usize>) -> bool {
        let is_close = at.abs_diff(std::mem::replace(&mut self.asked_at, at)) <= CLOSE_BYTES;
        self.close = if is_close { self.close + 1 } else { 0 };
        let unknown = if self.is_near(part) {
            self.from.saturating_sub(part.start) + part.end.saturating_sub(self.until)
        } else {
            part.len()
        };
        unknown <= rules * BYTES_PER_RULE || is_close && rules >= NEEDING_MANY || self.close >= CLOSE_MANY
    }

    /// The sets of all words that begin in a part of a text, put together; `of_words` has them.
    pub(in crate::dlp) fn sets(
        &mut self,
        lexicon: &Lexicon,
        text: &[u8],
        part: Range<usize>,
        of_words: &Sets,
    ) -> &[u64] {
        self.cover(lexicon, text, part.clone());
        let first = self.words.partition_point(|seen| seen.start < part.start);
        let behind = self.words.get(first..).unwrap_or_default();
        let here = behind.partition_point(|seen| seen.start < part.end);
        let places = first..first + here;
        if self.set.len() != of_words.width() || self.set_of != places {
            self.set.clear();
            self.set.resize(of_words.width(), 0);
            let mut last = None;
            for seen in behind.get(..here).unwrap_or_default() {
                if last.replace(seen.word) != Some(seen.word) {
                    let of_word = of_words.get(usize::from(seen.word));
                    self.set.iter_mut().zip(of_word).for_each(|(bits, more)| *bits |= more);
                }
            }
            self.set_of = places;
        }
        &self.set
    }

    /// Knows nothing, from a place on.
    fn begin(&mut self, place: usize) {
        (self.from, self.until) = (place, place);
        self.words.clear();
        self.set.clear();
    }

    /// Whether a part touches what is known, or nearly so.
    fn is_near(&self, part: &Range<usize>) -> bool {
        self.from < self.until && part.start <= self.until + GAP_BYTES && self.from <= part.end + GAP_BYTES
    }

    /// Sees to it that all words are known that begin in this part.
    pub(in crate::dlp) fn cover(&mut self, lexicon: &Lexicon, text: &[u8], part: Range<usize>) {
        if !self.is_near(&part) {
            self.begin(part.start);
        }
        if part.start < self.from {
            let known = self.words.len();
            self.search(lexicon, text, part.start..self.from);
            self.words.rotate_left(known);
            self.from = part.start;
            self.set.clear();
        }
        if part.end > self.until {
            self.keep_few(part.start);
            self.search(lexicon, text, self.until..part.end);
            self.until = part.end;
        }
    }

    /// Lets go of what stands before a place, once it is much.
    fn keep_few(&mut self, place: usize) {
        if self.words.len() > KEPT_MAX {
            self.from = place.clamp(self.from, self.until);
            let unneeded = self.words.partition_point(|seen| seen.start < self.from);
            self.words.drain(..unneeded);
            self.set.clear();
        }
    }

    /// Adds all words that begin in a part, in their order.
    fn search(&mut self, lexicon: &Lexicon, text: &[u8], part: Range<usize>) {
        let end = part.end.min(text.len());
        let mut is_behind_letter = u64::from(is_letter(text, part.start.checked_sub(1)));
        let (eights, rest) = text.get(part.start..end).unwrap_or_default().as_chunks::<8>();
        let mut at = part.start;
        for eight in eights {
            let eight = u64::from_le_bytes(*eight);
            let letters = eights::letters(eight);
            let alphanumeric = letters | eights::digits(eight);
            // What stands behind a letter goes on its word.
            let goes_on = (letters << 8 | is_behind_letter << 7) & alphanumeric;
            is_behind_letter = letters >> 63;
            let others = if lexicon.begins_otherwise() { HIGH } else { eight & HIGH };
            let mut begins = (alphanumeric | others) & !goes_on;
            while begins != 0 {
                self.look(lexicon, text, at + begins.trailing_zeros() as usize / 8);
                begins &= begins - 1;
            }
            at += 8;
        }
        let mut is_behind_letter = is_behind_letter == 1;
        for byte in rest {
            if !(is_behind_letter && byte.is_ascii_alphanumeric()) {
                self.look(lexicon, text, at);
            }
            is_behind_letter = byte.is_ascii_alphabetic();
            at += 1;
        }
    }

    /// Adds the words that begin here.
    #[inline]
    fn look(&mut self, lexicon: &Lexicon, text: &[u8], at: usize) {
        let rest = text.get(at..).unwrap_or_default();
        if !lexicon.may_be(rest) {
            return;
        }
        lexicon.words_at(rest, |word, length| {
            let end = at + length;
            let last = end.checked_sub(1).and_then(|at| text.get(at));
            let goes_on = last.is_some_and(u8::is_ascii_alphanumeric) && is_letter(text, Some(end));
            self.words.push(Seen { start: at, end, word, goes_on });
        });
    }
}

fn is_letter(text: &[u8], at: Option<usize>) -> bool {
    at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&[&str]; 3] =
        [&["tax", "tax id", "id", "n.i.f"], &["id card", "身份", "card number"], &["tax", "2fa", "é"]];

    fn lexicon() -> Lexicon {
        let numbered = (0u16..).zip(WORDS);
        Lexicon::new(numbered.flat_map(|(rule, words)| words.iter().map(move |word| (word.as_bytes(), rule))))
    }

    /// Whether a word stands in a window as the naive search finds it.
    fn naive(text: &[u8], window: Range<usize>, words: &[&str]) -> bool {
        let folded: Vec<u8> = text
            .iter()
            .map(|byte| if matches!(byte, b'_' | b'-') { b' ' } else { byte.to_ascii_lowercase() })
            .collect();
        window.clone().any(|at| {
            words.iter().any(|word| {
                let (word, end) = (word.as_bytes(), at + word.len());
                let is_behind_letter = at > 0 && text[at - 1].is_ascii_alphabetic();
                let goes_on = end < window.end && text[end].is_ascii_alphabetic();
                end <= window.end
                    && folded[at..end] == *word
                    && !(word[0].is_ascii_alphanumeric() && is_behind_letter)
                    && !(word[word.len() - 1].is_ascii_alphanumeric() && goes_on)
            })
        })
    }

    proptest! {
        #[test]
        fn words_are_seen_whatever_was_asked_before(
            parts in prop::collection::vec("tax|TAX|id|card|number|n\\.i\\.f|身份|2fa|é|[ _-]|[a-z]|[0-9]{1,90}", 0..60),
            questions in prop::collection::vec((any::<prop::sample::Index>(), 0..200usize, 0..3u16), 1..20),
        ) {
            let (lexicon, text) = (lexicon(), parts.concat());
            let (text, mut nearby) = (text.as_bytes(), Nearby::default());
            for (from, length, rule) in questions {
                let from = from.index(text.len() + 1);
                let window = from..text.len().min(from + length);
                let expected = naive(text, window.clone(), WORDS[usize::from(rule)]);
                prop_assert_eq!(nearby.holds(&lexicon, text, window, rule), expected);
            }
        }
    }
}
