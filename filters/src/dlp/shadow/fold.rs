//! Which ASCII would a reader take this character for?
//!
//! Digits of all scripts, compatibility forms (full width, mathematical, circled: NFKC), look-alikes (Unicode's
//! confusables, UTS #39), spaces, dashes and quotes. What cannot be seen folds to nothing. The answer is of single
//! characters, so it does not depend on what stands around them. Answers are kept by pages of 256 characters, each
//! made when a text first needs it.

use regex_syntax::hir::{Class, HirKind};
use std::sync::{LazyLock, OnceLock};
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// The longest text that a character folds to, such as `(10)`.
pub(super) const FOLDED_BYTES_MAX: usize = 4;

/// Bytes of a tag in UTF-8.
pub(super) const TAG_BYTES: usize = 4;

const PAGE: usize = 256;
/// The first two planes; what lies beyond is ideographs, private, or invisible.
const PAGES: usize = 0x2_0000 / PAGE;
const SAME: u32 = 0;
const NOTHING: u32 = u32::MAX;

/// What a character reads as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// Itself.
    Same,
    /// Nothing: it cannot be seen.
    Nothing,
    /// These bytes of ASCII, filled up with zeros.
    Ascii([u8; FOLDED_BYTES_MAX]),
}

static TABLE: [OnceLock<Box<[u32; PAGE]>>; PAGES] = [const { OnceLock::new() }; PAGES];

/// What a character reads as.
pub(super) fn fold(character: char) -> Folded {
    let code = u32::from(character) as usize;
    let word = match TABLE.get(code / PAGE) {
        Some(page) => page.get_or_init(|| make_page(code / PAGE)).get(code % PAGE).copied().unwrap_or(SAME),
        None if (0xe_0000..0xe_1000).contains(&code) => NOTHING,
        None => SAME,
    };
    match word {
        SAME => Folded::Same,
        NOTHING => Folded::Nothing,
        word => Folded::Ascii(word.to_le_bytes()),
    }
}

/// The letter that a tag is (Unicode, 23.9): characters that no eye sees, and that models read.
pub(super) fn tag(character: char) -> Option<u8> {
    let letter = u32::from(character).checked_sub(0xe_0000)?;
    u8::try_from(letter).ok().filter(|letter| matches!(letter, b' '..=b'~'))
}

/// A whole text as it reads: so are the words of rules in other scripts found in texts that were folded.
pub(in crate::dlp) fn fold_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match fold(character) {
            Folded::Same => out.push(character),
            Folded::Nothing => {}
            Folded::Ascii(bytes) => {
                out.extend(bytes.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)));
            }
        }
    }
    out
}

fn make_page(page: usize) -> Box<[u32; PAGE]> {
    let mut words = Box::new([SAME; PAGE]);
    for (word, code) in words.iter_mut().zip((page * PAGE) as u32..) {
        if let Some(character) = char::from_u32(code).filter(|character| !character.is_ascii()) {
            *word = make(character);
        }
    }
    words
}

fn make(character: char) -> u32 {
    if is_invisible(character) {
        return NOTHING;
    }
    if let Some(byte) = single(character) {
        return u32::from(byte);
    }
    let mut bytes = Vec::new();
    for part in std::iter::once(character).nfkc() {
        if part.is_ascii() {
            bytes.push(part as u8);
        } else if let Some(byte) = single(part) {
            bytes.push(byte);
        } else if let Some(alike) = look_alike(part) {
            bytes.extend(alike.bytes());
        } else if !is_invisible(part) {
            return SAME;
        }
    }
    let mut word = [0; FOLDED_BYTES_MAX];
    match word.get_mut(..bytes.len()) {
        Some(place) if !bytes.is_empty() => place.copy_from_slice(&bytes),
        Some(_) | None => return SAME,
    }
    u32::from_le_bytes(word)
}

/// What has no width: Unicode's default ignorable characters (zero-width, soft hyphen, direction, variation, tags), and
/// marks that are drawn over the character before.
fn is_invisible(character: char) -> bool {
    let is_mark = matches!(character,
        '\u{0300}'..='\u{036f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' | '\u{fff9}'..='\u{fffb}' | '\u{0080}'..='\u{0084}' | '\u{0086}'..='\u{009f}');
    is_mark || skeleton(character.encode_utf8(&mut [0; 4])).next().is_none()
}

/// Digits, and what Unicode's tables leave apart or answer in another way than a reader of ids and keys would.
fn single(character: char) -> Option<u8> {
    let counted = |first: char, digit: u8| Some(digit + (u32::from(character) - u32::from(first)) as u8);
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2e3a}' | '\u{2e3b}' | '\u{fe58}' => {
            Some(b'-')
        }
        '\u{00b4}' | '\u{2018}'..='\u{201b}' | '\u{2032}' => Some(b'\''),
        '\u{00ab}' | '\u{00bb}' | '\u{201c}'..='\u{201f}' | '\u{2033}' => Some(b'"'),
        '\u{1680}' | '\u{2800}' => Some(b' '),
        '\u{0085}' | '\u{2028}' | '\u{2029}' => Some(b'\n'),
        '\u{3007}' | '\u{24ff}' => Some(b'0'),
        '\u{2776}'..='\u{277e}' => counted('\u{2776}', b'1'),
        '\u{2780}'..='\u{2788}' => counted('\u{2780}', b'1'),
        '\u{278a}'..='\u{2792}' => counted('\u{278a}', b'1'),
        '\u{24f5}'..='\u{24fd}' => counted('\u{24f5}', b'1'),
        '\u{1f150}'..='\u{1f169}' => counted('\u{1f150}', b'A'),
        '\u{1f170}'..='\u{1f189}' => counted('\u{1f170}', b'A'),
        character => small_capital(character).or_else(|| decimal(character)),
    }
}

/// Letters drawn as small capitals, and the small `k` of Cyrillic and Greek, which is drawn so: Unicode's list has it
/// alike to another small capital only.
fn small_capital(character: char) -> Option<u8> {
    let letter = match character {
        'ᴀ' => b'a',
        'ʙ' => b'b',
        'ᴄ' => b'c',
        'ᴅ' => b'd',
        'ᴇ' => b'e',
        'ꜰ' => b'f',
        'ɢ' => b'g',
        'ʜ' => b'h',
        'ɪ' => b'i',
        'ᴊ' => b'j',
        'ᴋ' | 'ĸ' | 'к' | 'κ' => b'k',
        'ʟ' => b'l',
        'ᴍ' => b'm',
        'ɴ' => b'n',
        'ᴏ' => b'o',
        'ᴘ' => b'p',
        'ʀ' => b'r',
        'ꜱ' => b's',
        'ᴛ' => b't',
        'ᴜ' => b'u',
        'ᴠ' => b'v',
        'ᴡ' => b'w',
        'ʏ' => b'y',
        'ᴢ' => b'z',
        _ => return None,
    };
    Some(letter)
}

/// The value of a decimal digit of any script. Unicode gives each script ten in a row, from zero.
fn decimal(character: char) -> Option<u8> {
    static RANGES: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
        if let Ok(hir) = regex_syntax::parse(r"\d")
            && let HirKind::Class(Class::Unicode(digits)) = hir.kind()
        {
            return digits.iter().map(|range| (range.start(), range.end())).collect();
        }
        Vec::new()
    });
    let range = RANGES.get(RANGES.partition_point(|(_, last)| *last < character))?;
    let offset = u32::from(character).checked_sub(u32::from(range.0))?;
    Some(b'0' + (offset % 10) as u8)
}

/// The ASCII that Unicode lists a character as confusable with.
fn look_alike(character: char) -> Option<String> {
    // Scripts whose letters join are not read as Latin ones: their bars and rings would be an `l` and an `o`.
    if matches!(character, '\u{0590}'..='\u{08ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}') {
        return None;
    }
    let mut alike = String::new();
    for part in skeleton(character.encode_utf8(&mut [0; 4])) {
        if !part.is_ascii() || part.is_ascii_control() {
            return None;
        }
        alike.push(part);
    }
    // The list takes one of those that are alike in ASCII, too: `l` for `I`, `rn` for `m`.
    match alike.as_str() {
        "l" if character.is_uppercase() => Some("I".to_owned()),
        "rn" => Some("m".to_owned()),
        "O" if character.is_lowercase() => Some("o".to_owned()),
        "" => None,
        _ => Some(alike),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_read_as_what_they_look_like() {
        let cases = [
            ("４１１１ ＡＫＩＡ＠．－", "4111 AKIA@.-"),
            ("٤١ ۴۱ ४१ ๔๑ 𝟒𝟏 ⁴¹ ④❶ ⓿", "41 41 41 41 41 41 41 0"),
            ("АВЕКМНОРСТХІЅЈ аеорсухіѕј", "ABEKMHOPCTXISJ aeopcyxisj"),
            ("ΑΒΕΖΗΙΚΜΝΟΡΤΧ οκ", "ABEZHIKMNOPTX ok"),
            ("ᴛᴏᴋᴇɴ ѕк-р", "token sk-p"),
            ("𝐚𝒷𝕔 ⓐ ㎏ ﬁ Ⅷ 🄰🅰", "abc a kg fi VIII AA"),
            ("a\u{200b}b\u{ad}c\u{202e}d\u{fe0f}e\u{e0041}f\u{34f}\u{feff}4\u{fe0f}\u{20e3}", "abcdef4"),
            ("–—−‑“”‘’\u{a0}\u{3000}\u{2028}…", "----\"\"''  \n..."),
            ("größe 身份证 Україна سلام क", "größe 身份证 Ykpaїнa سلام क"),
        ];
        for (text, expected) in cases {
            assert_eq!(fold_text(text), expected, "{text}");
        }
    }

    #[test]
    fn every_character_folds_to_visible_ascii_or_white_space() {
        for character in '\u{80}'..=char::MAX {
            if let Folded::Ascii(bytes) = fold(character) {
                let text: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).collect();
                let fine = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
                assert!(!text.is_empty() && text.iter().all(fine), "{character:?}: {text:?}");
            }
        }
    }
}
