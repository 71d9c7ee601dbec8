//! What is this character to a word? A part of it, a word of its own, something between words, or nothing.
//!
//! Characters are read in lower case and then as what they look like, so that the words of a list meet those of texts
//! in whatever form both are written. Answers outside of ASCII are kept by pages of 256 characters, each made when a
//! text first needs it. The answer is of single characters and does not depend on what stands around them.

use super::super::shadow::fold_text;
use std::sync::OnceLock;
use unicode_normalization::UnicodeNormalization;

/// The longest text that a character reads as.
const READS_BYTES_MAX: usize = 4;
const PAGE: usize = 256;
/// All planes.
const PAGES: usize = 0x11_0000 / PAGE;

/// What a character is to words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    /// It cannot be seen.
    Nothing,
    /// It stands between words: white space, `_`, `-` and `.`, which are all alike.
    Space,
    /// It stands between words and is not like another one.
    Sign(Reads),
    /// A part of a word.
    Part(Reads),
    /// A word by itself: scripts without spaces have no other ones.
    Alone(Reads),
}

/// What a character reads as, filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reads([u8; READS_BYTES_MAX]);

impl Reads {
    const fn byte(byte: u8) -> Self {
        Self([byte, 0, 0, 0])
    }

    /// If it is short enough.
    fn of(text: &str) -> Option<Self> {
        let mut reads = [0; READS_BYTES_MAX];
        reads.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(reads))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(READS_BYTES_MAX);
        self.0.get(..end).unwrap_or_default()
    }
}

/// What stands where no text does: the border of a part, a byte that is no character.
pub(super) const BORDER: Letter = Letter::Sign(Reads::byte(0xff));

/// What a character of ASCII is.
pub(super) fn ascii(byte: u8) -> Letter {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' => Letter::Part(Reads::byte(byte)),
        b'A'..=b'Z' => Letter::Part(Reads::byte(byte | 0x20)),
        b'_' | b'-' | b'.' | 0..=b' ' | 0x7f => Letter::Space,
        _ => Letter::Sign(Reads::byte(byte)),
    }
}

static PAGES_MADE: [OnceLock<Box<[Letter; PAGE]>>; PAGES] = [const { OnceLock::new() }; PAGES];

/// What a character is.
pub(super) fn letter(character: char) -> Letter {
    let code = u32::from(character) as usize;
    let page = PAGES_MADE.get(code / PAGE).map(|page| page.get_or_init(|| make_page(code / PAGE)));
    page.and_then(|page| page.get(code % PAGE)).copied().unwrap_or(BORDER)
}

/// Whether a character may be one with the character before it, as decomposed texts write `é` and `が`.
pub(super) fn may_join(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{1161}'..='\u{11c2}' | '\u{3099}' | '\u{309a}')
}

fn make_page(page: usize) -> Box<[Letter; PAGE]> {
    let mut letters = Box::new([BORDER; PAGE]);
    for (letter, code) in letters.iter_mut().zip((page * PAGE) as u32..) {
        if let Some(character) = char::from_u32(code) {
            *letter = if character.is_ascii() { ascii(character as u8) } else { make(character) };
        }
    }
    letters
}

fn make(character: char) -> Letter {
    // Twice, since what a character is another form of may be a capital.
    let reads = read(&read(&character.to_string()));
    let Some(first) = reads.chars().next() else { return Letter::Nothing };
    let is_single = reads.chars().count() == 1;
    let folded = Reads::of(&reads).filter(|_| reads.is_ascii() || is_single);
    let mut own = [0; READS_BYTES_MAX];
    let own = Reads::of(character.encode_utf8(&mut own)).unwrap_or(Reads::byte(0xff));
    if reads.is_ascii() {
        let reads = folded.unwrap_or(own);
        let kinds = || reads.bytes().iter().map(|byte| ascii(*byte));
        return if kinds().all(|kind| matches!(kind, Letter::Part(_))) {
            Letter::Part(reads)
        } else if kinds().all(|kind| kind == Letter::Space) {
            Letter::Space
        } else {
            Letter::Sign(reads)
        };
    }
    let (first, reads) = folded.map_or((character, own), |folded| (first, folded));
    if is_alone(first) {
        Letter::Alone(reads)
    } else if regex_syntax::try_is_word_character(first).unwrap_or(true) {
        Letter::Part(reads)
    } else if first.is_whitespace() {
        Letter::Space
    } else {
        Letter::Sign(reads)
    }
}

fn read(text: &str) -> String {
    let reads: String = fold_text(&text.to_lowercase()).nfkc().collect();
    reads.to_ascii_lowercase()
}

/// Letters of scripts that put no spaces between words, or (Korean) write endings right behind names: Thai, Lao,
/// Tibetan, Burmese, Khmer, kana, bopomofo, Hangul, Han.
fn is_alone(character: char) -> bool {
    matches!(character,
        '\u{0e01}'..='\u{0eff}' | '\u{0f00}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{303c}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{3105}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_parts_of_words_or_stand_between_them() {
        let reads = |text: &str| -> Vec<Letter> { text.chars().map(letter).collect() };
        let part = |text: &str| Letter::Part(Reads::of(text).unwrap());
        assert_eq!(reads("aÉﬁⅧＡ"), [part("a"), part("é"), part("fi"), part("viii"), part("a")]);
        assert_eq!(reads("Вв"), [part("в"), part("в")], "lower case comes before looks");
        assert_eq!(reads("Аа"), [part("a"), part("a")]);
        assert_eq!(reads("王かﾂ한ก"), {
            ["王", "か", "ツ", "한", "ก"].map(|text| Letter::Alone(Reads::of(text).unwrap()))
        });
        assert_eq!(reads(" \n_-.—\u{a0}\u{3000}"), [Letter::Space; 8]);
        assert_eq!(reads("\u{200b}\u{ad}\u{301}"), [Letter::Nothing; 3]);
        assert_eq!(reads("&’，"), ["&", "'", ","].map(|text| Letter::Sign(Reads::of(text).unwrap())));
        assert!(reads("。」«").iter().all(|letter| matches!(letter, Letter::Sign(_))));
        assert_eq!(reads("कि"), [part("क"), part("ि")], "signs of vowels belong to their word");
    }

    #[test]
    fn every_character_reads_as_something_that_reads_the_same() {
        for character in '\u{0}'..=char::MAX {
            let (Letter::Part(reads) | Letter::Alone(reads)) = letter(character) else { continue };
            let text = std::str::from_utf8(reads.bytes()).unwrap();
            assert!(!text.is_empty(), "{character:?}");
            let again: Vec<u8> = text
                .chars()
                .flat_map(|part| match letter(part) {
                    Letter::Part(reads) | Letter::Alone(reads) => reads.bytes().to_vec(),
                    Letter::Nothing | Letter::Space | Letter::Sign(_) => Vec::new(),
                })
                .collect();
            assert_eq!(again, text.as_bytes(), "{character:?}");
        }
    }
}
