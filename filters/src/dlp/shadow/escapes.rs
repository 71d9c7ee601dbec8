//! Which character does an escape stand for?
//!
//! Percent encoding, HTML's references, and the backslash escapes of JSON, JavaScript and Python, also where they were
//! escaped once more (`\\u0034`, `%2534`, `&amp;#52;`); quoted-printable, where that is more than a sign of equality
//! before two digits. An escape has a longest form, so a stream knows after a few
//! bytes whether there is one.

use std::str;

/// Backslashes before one escape: JSON in JSON in JSON.
const BACKSLASHES_MAX: usize = 7;
/// How often an escape may have been escaped again by `%25` or `&amp;`.
const AGAIN_MAX: usize = 2;
/// Digits of a reference such as `&#00000052;`: browsers read any number of zeros.
const DIGITS_MAX: usize = 24;
/// How a byte is written in quoted-printable: `=34`.
pub(super) const QUOTED_BYTES: usize = 3;
/// Bytes of quoted-printable in a row before they are read as that.
const QUOTED_MIN: usize = 3;
/// Characters of what an escape spells, as far as it may be one of another kind.
const SPELT_MAX: usize = 16;
/// The longest name below.
const NAME_BYTES_MAX: usize = 16;

/// HTML's names of characters that stand in ids and keys or between them (HTML Living Standard, 13.5).
const NAMES: &[(&[u8], char)] = &[
    (b"AMP", '&'),
    (b"amp", '&'),
    (b"apos", '\''),
    (b"ast", '*'),
    (b"bsol", '\\'),
    (b"colon", ':'),
    (b"comma", ','),
    (b"commat", '@'),
    (b"dash", '-'),
    (b"dollar", '$'),
    (b"emsp", ' '),
    (b"ensp", ' '),
    (b"equals", '='),
    (b"excl", '!'),
    (b"grave", '`'),
    (b"GT", '>'),
    (b"gt", '>'),
    (b"hairsp", ' '),
    (b"Hat", '^'),
    (b"hyphen", '-'),
    (b"ic", '\u{2063}'),
    (b"InvisibleComma", '\u{2063}'),
    (b"InvisibleTimes", '\u{2062}'),
    (b"it", '\u{2062}'),
    (b"lbrace", '{'),
    (b"lbrack", '['),
    (b"lcub", '{'),
    (b"lowbar", '_'),
    (b"lpar", '('),
    (b"lrm", '\u{200e}'),
    (b"lsqb", '['),
    (b"LT", '<'),
    (b"lt", '<'),
    (b"mdash", '-'),
    (b"midast", '*'),
    (b"minus", '-'),
    (b"nbsp", ' '),
    (b"ndash", '-'),
    (b"NewLine", '\n'),
    (b"NoBreak", '\u{2060}'),
    (b"NonBreakingSpace", ' '),
    (b"num", '#'),
    (b"numsp", ' '),
    (b"percnt", '%'),
    (b"period", '.'),
    (b"plus", '+'),
    (b"puncsp", ' '),
    (b"quest", '?'),
    (b"QUOT", '"'),
    (b"quot", '"'),
    (b"rbrace", '}'),
    (b"rbrack", ']'),
    (b"rcub", '}'),
    (b"rlm", '\u{200f}'),
    (b"rpar", ')'),
    (b"rsqb", ']'),
    (b"semi", ';'),
    (b"shy", '\u{ad}'),
    (b"sol", '/'),
    (b"Tab", '\t'),
    (b"thinsp", ' '),
    (b"ThinSpace", ' '),
    (b"UnderBar", '_'),
    (b"verbar", '|'),
    (b"vert", '|'),
    (b"VerticalLine", '|'),
    (b"ZeroWidthSpace", '\u{200b}'),
    (b"zwj", '\u{200d}'),
    (b"zwnj", '\u{200c}'),
];

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// No escape.
    No,
    /// The text must go on first.
    Open,
    /// A character, in so many bytes.
    Of(char, usize),
}

/// Why nothing was read.
enum Stop {
    No,
    Open,
}

/// A value and where it ends.
type Read<T> = Result<(T, usize), Stop>;

/// Whether an escape can begin with this byte.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a look-up or a jump, which no vector does, takes ten times as long"
)]
pub(super) const fn may_begin(byte: u8) -> bool {
    (byte == b'\\') | (byte == b'%') | (byte == b'&')
}

/// Whether a byte is a control character that nobody sees: all but tabs and the ends of lines and pages.
pub(super) fn is_unseen(byte: u8) -> bool {
    is_low(byte) || byte == 0x7f
}

/// Those of them that stand before the blank.
#[inline]
pub(super) const fn is_low(byte: u8) -> bool {
    (byte < b'\t') | (byte.wrapping_sub(0x0e) < b' ' - 0x0e)
}

/// Where in the first `bytes` of a text something begins that is, or may become, quoted-printable; or `bytes`.
pub(super) fn quoted_from(text: &[u8], bytes: usize, complete: bool, goes_on: bool) -> usize {
    let signs = memchr::memchr_iter(b'=', text.get(..bytes).unwrap_or_default());
    let is_quoted = |at: &usize| {
        let text = text.get(*at..).unwrap_or_default();
        quoted(text, complete, goes_on && *at == 0) != Escape::No
    };
    signs.into_iter().find(is_quoted).unwrap_or(bytes)
}

/// Reads a character of quoted-printable (RFC 2045, 6.7) at the start of a text. Three bytes in a row begin it, then
/// each `goes_on` with it; so does the end of a line that is not meant.
pub(super) fn quoted(text: &[u8], complete: bool, goes_on: bool) -> Escape {
    let text = Text { bytes: text, complete };
    let begins = || (0..QUOTED_MIN).try_for_each(|number| text.quoted(number * QUOTED_BYTES).map(|_| ()));
    let character =
        || if goes_on { text.soft_break() } else { begins().and_then(|()| text.character(Text::quoted)) };
    match character() {
        Ok((character, end)) => Escape::Of(character, end),
        Err(Stop::No) => Escape::No,
        Err(Stop::Open) => Escape::Open,
    }
}

/// Reads the escape at the start of a text, which may go on unless it is `complete`.
pub(super) fn read(text: &[u8], complete: bool) -> Escape {
    let text = Text { bytes: text, complete };
    let read = match text.escape() {
        Ok((character, end)) if character.is_ascii() && may_begin(character as u8) => {
            text.respelt(character as u8, end)
        }
        read => read,
    };
    match read {
        Ok((character, end)) => Escape::Of(character, end),
        Err(Stop::No) => Escape::No,
        Err(Stop::Open) => Escape::Open,
    }
}

#[derive(Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    complete: bool,
}

impl Text<'_> {
    fn escape(self) -> Read<char> {
        match self.bytes.first() {
            Some(b'\\') => self.backslash(),
            Some(b'%') if matches!(self.at(1)?, b'u' | b'U') => self.code_unit(2),
            Some(b'%') => self.character(Text::percent),
            Some(b'&') => self.reference(1, 0),
            Some(_) | None => Err(Stop::No),
        }
    }

    /// What escapes spell may be an escape again, of any kind: `&#37;34`, `%26%23%35%32%3b`. The first of them spells
    /// this, and ends there.
    fn respelt(self, first: u8, end: usize) -> Read<char> {
        let (mut spelt, mut ends) = ([first; SPELT_MAX], [end; SPELT_MAX]);
        let (mut count, mut at, mut complete) = (1, end, true);
        for (place, place_end) in spelt.iter_mut().zip(&mut ends).skip(1) {
            let rest = Text { bytes: self.bytes.get(at..).unwrap_or_default(), ..self };
            let (character, bytes) = match (rest.escape(), rest.bytes.first()) {
                (Ok((character, bytes)), _) => (character, bytes),
                (Err(Stop::No), Some(byte)) => (char::from(*byte), 1),
                (Err(_), _) => {
                    complete = self.complete;
                    break;
                }
            };
            if !character.is_ascii() {
                break;
            }
            at += bytes;
            (*place, *place_end, count) = (character as u8, at, count + 1);
        }
        let text = Text { bytes: spelt.get(..count).unwrap_or_default(), complete };
        match text.escape() {
            Ok((character, bytes)) => Ok((character, ends.get(bytes - 1).copied().unwrap_or(end))),
            Err(Stop::No) => Ok((char::from(first), end)),
            Err(Stop::Open) => Err(Stop::Open),
        }
    }

    fn at(self, at: usize) -> Result<u8, Stop> {
        let end = if self.complete { Stop::No } else { Stop::Open };
        self.bytes.get(at).copied().ok_or(end)
    }

    /// Whether such a byte stands here: not at the end.
    fn has(self, at: usize, is: impl Fn(u8) -> bool) -> Result<bool, Stop> {
        match self.at(at) {
            Ok(byte) => Ok(is(byte)),
            Err(Stop::No) => Ok(false),
            Err(Stop::Open) => Err(Stop::Open),
        }
    }

    fn digits(self, at: usize, radix: u32, count: usize) -> Read<u32> {
        let mut value = 0;
        for place in at..at + count {
            value = value * radix + char::from(self.at(place)?).to_digit(radix).ok_or(Stop::No)?;
        }
        Ok((value, at + count))
    }

    /// As many digits as there are, up to a limit.
    fn some_digits(self, at: usize, radix: u32) -> Read<u32> {
        let (mut value, mut end) = (0u32, at);
        while end < at + DIGITS_MAX {
            let digit = match self.at(end) {
                Ok(byte) => char::from(byte).to_digit(radix),
                Err(Stop::No) => None,
                Err(Stop::Open) => return Err(Stop::Open),
            };
            let Some(digit) = digit else { break };
            (value, end) = (value.saturating_mul(radix).saturating_add(digit), end + 1);
        }
        if end == at { Err(Stop::No) } else { Ok((value, end)) }
    }

    /// A character of ASCII in one escaped byte, or another one in the bytes of its UTF-8.
    fn character(self, byte_at: fn(Self, usize) -> Read<u8>) -> Read<char> {
        let (first, mut end) = byte_at(self, 0)?;
        let count = match first {
            0..=0x7f => return Ok((char::from(first), end)),
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Err(Stop::No),
        };
        let mut bytes = [first, 0, 0, 0];
        for place in bytes.iter_mut().take(count).skip(1) {
            (*place, end) = byte_at(self, end)?;
        }
        let character = bytes.get(..count).and_then(|bytes| str::from_utf8(bytes).ok()?.chars().next());
        Ok((character.ok_or(Stop::No)?, end))
    }

    fn percent(self, at: usize) -> Read<u8> {
        if self.at(at)? != b'%' {
            return Err(Stop::No);
        }
        let mut from = at + 1;
        for _ in 0..AGAIN_MAX {
            if self.at(from)? != b'2' || self.at(from + 1)? != b'5' {
                break;
            }
            match self.digits(from + 2, 16, 2) {
                Ok(_) => from += 2,
                Err(Stop::No) => break,
                Err(Stop::Open) => return Err(Stop::Open),
            }
        }
        self.digits(from, 16, 2).map(|(value, end)| (value as u8, end))
    }

    fn quoted(self, at: usize) -> Read<u8> {
        if self.at(at)? != b'=' {
            return Err(Stop::No);
        }
        self.digits(at + 1, 16, 2).map(|(value, end)| (value as u8, end))
    }

    /// A character of quoted-printable, or the end of a line that is not meant, which reads as nothing.
    fn soft_break(self) -> Read<char> {
        match self.at(1)? {
            b'\n' => Ok(('\0', 2)),
            b'\r' if self.at(2)? == b'\n' => Ok(('\0', 3)),
            _ => self.character(Text::quoted),
        }
    }

    /// What follows an `&`.
    fn reference(self, at: usize, again: usize) -> Read<char> {
        match self.at(at)? {
            b'#' => self.numeric(at + 1),
            byte if byte.is_ascii_alphabetic() => {
                let mut end = at + 1;
                while end <= at + NAME_BYTES_MAX && self.at(end)?.is_ascii_alphabetic() {
                    end += 1;
                }
                if self.at(end)? != b';' {
                    return Err(Stop::No);
                }
                let name = self.bytes.get(at..end).unwrap_or_default();
                let known = NAMES.iter().find(|(known, _)| *known == name);
                let character = known.map(|(_, character)| *character).ok_or(Stop::No)?;
                if character == '&' && again < AGAIN_MAX {
                    match self.reference(end + 1, again + 1) {
                        Err(Stop::No) => {}
                        known => return known,
                    }
                }
                Ok((character, end + 1))
            }
            _ => Err(Stop::No),
        }
    }

    fn numeric(self, at: usize) -> Read<char> {
        let is_hexadecimal = self.at(at)?.eq_ignore_ascii_case(&b'x');
        let (value, end) =
            if is_hexadecimal { self.some_digits(at + 1, 16)? } else { self.some_digits(at, 10)? };
        let character = char::from_u32(value).filter(|_| value > 0).ok_or(Stop::No)?;
        // Browsers do without the semicolon.
        match self.at(end) {
            Ok(b';') => Ok((character, end + 1)),
            Ok(_) | Err(Stop::No) => Ok((character, end)),
            Err(Stop::Open) => Err(Stop::Open),
        }
    }

    fn backslash(self) -> Read<char> {
        let letter = self.backslashes(0)?;
        let after = letter + 1;
        match self.at(letter)? {
            b'u' => self.unicode(after),
            b'U' => {
                let (value, end) = self.digits(after, 16, 8)?;
                Ok((char::from_u32(value).ok_or(Stop::No)?, end))
            }
            b'x' if self.at(after)? == b'{' => self.braced(after + 1),
            b'x' => self.character(Text::hexadecimal),
            b'N' if self.at(after)? == b'{' && self.at(after + 1)? == b'U' && self.at(after + 2)? == b'+' => {
                self.braced(after + 3)
            }
            b'0' if self.is_long(letter)? => {
                // Of style sheets; a blank before the next one belongs to it.
                let (value, end) = self.digits(letter, 16, 6)?;
                let is_apart =
                    self.has(end, |byte| byte == b' ')? && self.has(end + 1, |byte| byte == b'\\')?;
                let end = end + usize::from(is_apart);
                Ok((char::from_u32(value).ok_or(Stop::No)?, end))
            }
            b'0'..=b'3' => self.character(Text::octal),
            b'n' => Ok(('\n', after)),
            b'r' => Ok(('\r', after)),
            b't' => Ok(('\t', after)),
            b'f' => Ok(('\x0c', after)),
            quote @ (b'"' | b'\'' | b'/') => Ok((char::from(quote), after)),
            _ => Err(Stop::No),
        }
    }

    /// Where the backslashes at a place end.
    fn backslashes(self, at: usize) -> Result<usize, Stop> {
        let mut end = at;
        while self.at(end)? == b'\\' {
            end += 1;
            if end - at > BACKSLASHES_MAX {
                return Err(Stop::No);
            }
        }
        if end == at { Err(Stop::No) } else { Ok(end) }
    }

    fn hexadecimal(self, at: usize) -> Read<u8> {
        let letter = self.backslashes(at)?;
        if self.at(letter)? != b'x' {
            return Err(Stop::No);
        }
        self.digits(letter + 1, 16, 2).map(|(value, end)| (value as u8, end))
    }

    fn octal(self, at: usize) -> Read<u8> {
        let (value, end) = self.digits(self.backslashes(at)?, 8, 3)?;
        Ok((u8::try_from(value).map_err(|_| Stop::No)?, end))
    }

    /// Whether six hexadecimal digits that begin with four zeros stand here.
    fn is_long(self, at: usize) -> Result<bool, Stop> {
        for place in at..at + 6 {
            let is_one = |byte: u8| if place < at + 4 { byte == b'0' } else { byte.is_ascii_hexdigit() };
            if !self.has(place, is_one)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What `%u` stands for (ECMAScript, B.2.1.2): a character of the first plane.
    fn code_unit(self, at: usize) -> Read<char> {
        let (value, end) = self.digits(at, 16, 4)?;
        Ok((char::from_u32(value).ok_or(Stop::No)?, end))
    }

    /// Digits, and a brace.
    fn braced(self, at: usize) -> Read<char> {
        let (value, end) = self.some_digits(at, 16)?;
        let character = char::from_u32(value).ok_or(Stop::No)?;
        if self.at(end)? == b'}' { Ok((character, end + 1)) } else { Err(Stop::No) }
    }

    /// What follows `\u`.
    fn unicode(self, at: usize) -> Read<char> {
        if self.at(at)? == b'{' {
            return self.braced(at + 1);
        }
        let (first, end) = self.digits(at, 16, 4)?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok((char::from_u32(first).ok_or(Stop::No)?, end));
        }
        let letter = self.backslashes(end)?;
        if self.at(letter)? != b'u' {
            return Err(Stop::No);
        }
        let (second, end) = self.digits(letter + 1, 16, 4)?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Stop::No);
        }
        let value = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Ok((char::from_u32(value).ok_or(Stop::No)?, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_characters() {
        let cases = [
            ("%34", '4'),
            ("%40", '@'),
            ("%2534", '4'),
            ("%252534", '4'),
            ("%EF%BC%94", '４'),
            ("&#52;", '4'),
            ("&#x34;", '4'),
            ("&#0000052;", '4'),
            ("&amp;#52;", '4'),
            ("&amp;", '&'),
            ("&commat;", '@'),
            (r"\u0034", '4'),
            (r"\\\\u0034", '4'),
            (r"\u{34}", '4'),
            (r"\U00000034", '4'),
            (r"\x34", '4'),
            (r"\x{34}", '4'),
            (r"\N{U+0034}", '4'),
            ("%u0034", '4'),
            ("&#000000000000052;", '4'),
            ("&ZeroWidthSpace;", '\u{200b}'),
            ("%25%33%34", '4'),
            ("&#37;34", '4'),
            ("%26%23%35%32%3b", '4'),
            (r"\u0026#52;", '4'),
            (r"\xef\xbc\x94", '４'),
            (r"\064", '4'),
            (r"\ud835\udfd2", '𝟒'),
            (r"\n", '\n'),
            ("\\\"", '"'),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text.as_bytes(), true), Escape::Of(expected, text.len()), "{text}");
            for end in 1..text.len() {
                let part = &text.as_bytes()[..end];
                assert_eq!(read(part, false), Escape::Open, "{text} up to {end}");
            }
        }
    }

    #[test]
    fn what_only_begins_like_an_escape_is_none() {
        for text in [
            "% 34",
            "%3g",
            "100%",
            "a",
            "&",
            "&&",
            "&foo;",
            "&#;",
            "&#xg",
            r"\q",
            r"\ud835",
            r"\u12",
            r"\x4",
            r"\\\\\\\\u0034",
        ] {
            assert_eq!(read(text.as_bytes(), true), Escape::No, "{text}");
        }
        assert_eq!(read(b"&#52 is four", true), Escape::Of('4', 4));
        assert_eq!(read(b"&amp;c", true), Escape::Of('&', 5));
    }
}
