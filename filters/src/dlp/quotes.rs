//! Where in a JSON text that is redacted as text does a part of it stand?
//!
//! The arguments of a tool's call are JSON, and come in pieces: they are scanned as they are written, and must be JSON
//! once something in them was replaced. So the least is followed that this needs: whether the cursor is in a string,
//! and in an escape. And an escape is one character to whoever reads the JSON: of `\njane@corp.example` the address
//! begins with its `j`, whatever letters a rule takes for its own.

use super::rules::CONTEXT_BEFORE_BYTES_MAX;
use super::scanner::Found;

/// The longest escape, and then as many backslashes as are counted: so far before a finding is looked.
const ESCAPE_BYTES_MAX: usize = 12;
const BACKSLASHES_MAX: usize = 19;
const _: () =
    assert!(ESCAPE_BYTES_MAX + BACKSLASHES_MAX < CONTEXT_BEFORE_BYTES_MAX, "a lane has so much at hand");
/// Digits of `\u0041`.
const DIGITS: usize = 4;
/// A character beyond the first plane, `\ud83e\udd80`, from behind its first backslash.
const PAIR_BYTES: usize = 11;
/// What stands in a number before digits that are found is shorter.
const NUMBER_BYTES_MAX: usize = 32;
/// What becomes of an escape whose digits are cut: a blank, as far as the digits are free.
const BLANK: &str = "0020";

/// Where a cursor stands in a JSON text: the least that must be known to replace a part and keep it JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quotes {
    in_string: bool,
    escape: Escape,
    /// The character before is the first half of a surrogate pair.
    after_high: bool,
    /// What stands here belongs to a number that was replaced.
    is_replaced: bool,
}

/// How much of an escape was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    /// The cursor is in none.
    #[default]
    None,
    /// Its backslash.
    Begun,
    /// `\u`, and so many of its digits.
    Code(usize, [u8; DIGITS]),
}

impl Quotes {
    /// Goes on to behind this text, and returns what is left of it: not the rest of a number that was replaced.
    pub(super) fn pass<'a>(&mut self, text: &'a str) -> &'a str {
        let text = if self.is_replaced { text.trim_start_matches(of_number) } else { text };
        self.is_replaced &= text.is_empty();
        self.read(text);
        text
    }

    /// Whether the cursor is in a string.
    pub(super) fn is_in_string(self) -> bool {
        self.in_string
    }

    /// Goes on to behind this text.
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            self.take(byte);
        }
    }

    fn take(&mut self, byte: u8) {
        match self.escape {
            Escape::Begun if byte == b'u' => self.escape = Escape::Code(0, [0; DIGITS]),
            Escape::Begun => (self.escape, self.after_high) = (Escape::None, false),
            Escape::Code(known, mut digits) if byte.is_ascii_hexdigit() => {
                if let Some(digit) = digits.get_mut(known) {
                    *digit = byte.to_ascii_lowercase();
                }
                self.escape = Escape::Code(known + 1, digits);
                if known + 1 == DIGITS {
                    self.escape = Escape::None;
                    self.after_high = !self.after_high && is_surrogate(&digits, b"89ab");
                }
            }
            Escape::Code(..) => {
                // No JSON, and whoever takes it for some reads on.
                (self.escape, self.after_high) = (Escape::None, false);
                self.take(byte);
            }
            Escape::None => match byte {
                b'\\' if self.in_string => self.escape = Escape::Begun,
                b'"' => (self.in_string, self.after_high) = (!self.in_string, false),
                _ => self.after_high = false,
            },
        }
    }

    /// Writes `with` for `text` so that what was a string stays one, and what was a number becomes one.
    pub(super) fn replace(&mut self, text: &str, with: &str, out: &mut String) {
        if std::mem::replace(&mut self.is_replaced, !self.in_string) {
            return;
        }
        self.close_escape(out);
        if !self.in_string {
            out.push('"');
        }
        out.push_str(with);
        self.read(text);
        self.open_escape(out);
        if !self.in_string {
            out.push('"');
        }
    }

    /// Ends the character that is under way: what follows it is gone.
    fn close_escape(self, out: &mut String) {
        match self.escape {
            Escape::None if self.after_high => out.push_str("\\udc00"),
            Escape::None => {}
            Escape::Begun if self.after_high => out.push_str("udc00"),
            Escape::Begun => out.push('\\'),
            Escape::Code(known, digits) => {
                let digits = digits.get(..known).unwrap_or_default();
                let is_high = is_surrogate(digits, b"89ab");
                let rest = match digits {
                    _ if self.after_high => "dc00",
                    [b'd', ..] => "d000",
                    _ => BLANK,
                };
                out.push_str(rest.get(known..).unwrap_or_default());
                if is_high && !self.after_high {
                    out.push_str("\\udc00");
                }
            }
        }
    }

    /// Begins the character that is under way: what came before it is gone.
    fn open_escape(self, out: &mut String) {
        if self.after_high {
            out.push_str("\\ud800");
        }
        match self.escape {
            Escape::None => {}
            Escape::Begun => out.push('\\'),
            Escape::Code(known, digits) => {
                out.push_str("\\u");
                out.extend(digits.iter().take(known).map(|digit| char::from(*digit)));
            }
        }
    }
}

/// Where a number begins that digits at a place may be a part of: it is replaced as a whole.
pub(super) fn number_from(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(at.saturating_sub(NUMBER_BYTES_MAX)..at).unwrap_or_default();
    at - before.iter().rev().take_while(|byte| of_number(char::from(**byte))).count()
}

/// Where such a number ends.
pub(super) fn number_until(text: &str, at: usize) -> usize {
    text.get(at..).map_or(at, |behind| at + behind.len() - behind.trim_start_matches(of_number).len())
}

/// Whether a character belongs to a JSON number.
fn of_number(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '-' | '+' | '.' | 'e' | 'E')
}

/// Whether digits of an escape begin with `d` and one of these.
fn is_surrogate(digits: &[u8], second: &[u8]) -> bool {
    matches!(digits, [b'd', digit, ..] if second.contains(digit))
}

impl Found {
    /// Lets a finding in a JSON text begin behind the escape that it begins in: its letter, or its digits, belong to
    /// another character. What lies wholly in an escape stays, as nobody says who reads it.
    pub(super) fn begin_behind_escape(&mut self, text: &[u8]) {
        let start = behind_escape(text, self.span.start);
        let Some(before) = text.get(self.span.start..start).filter(|before| !before.is_empty()) else {
            return;
        };
        if start >= self.span.end {
            return;
        }
        if let Some(revealed) = self.revealed.as_ref().and_then(|revealed| revealed.strip_prefix(before)) {
            self.revealed = Some(revealed.into());
        }
        self.span.start = start;
    }
}

/// Where the escape ends that a place stands in, or the place.
fn behind_escape(text: &[u8], at: usize) -> usize {
    let floor = at.saturating_sub(ESCAPE_BYTES_MAX);
    let before = text.get(floor..at).unwrap_or_default();
    let Some(backslash) = before.iter().rposition(|byte| *byte == b'\\').map(|place| floor + place) else {
        return at;
    };
    let run = text.get(backslash.saturating_sub(BACKSLASHES_MAX)..=backslash).unwrap_or_default();
    if run.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 {
        // Each of them stands for one.
        return at;
    }
    let escape = text.get(backslash + 1..).unwrap_or_default();
    let end = backslash
        + 1
        + match escape {
            [b'n' | b'r' | b't' | b'b' | b'f', ..] => 1,
            [b'u', ..] => code_bytes(escape),
            _ => 0,
        };
    end.max(at)
}

/// How many bytes `u0041` has, or both halves of a pair, with the second one's backslash.
fn code_bytes(escape: &[u8]) -> usize {
    let is_code =
        |code: &[u8]| matches!(code, [b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
    let lower = |code: &[u8]| code.to_ascii_lowercase();
    let Some(first) = escape.get(..=DIGITS).filter(|code| is_code(code)).map(lower) else { return 0 };
    let second = escape.get(DIGITS + 1..PAIR_BYTES).and_then(|pair| pair.strip_prefix(b"\\"));
    let second = second.filter(|code| is_code(code)).map(lower);
    let is_half = |code: &[u8], second: &[u8]| is_surrogate(code.get(1..).unwrap_or_default(), second);
    let is_pair = is_half(&first, b"89ab") && second.is_some_and(|second| is_half(&second, b"cdef"));
    if is_pair { PAIR_BYTES } else { first.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn what_begins_in_an_escape_begins_behind_it() {
        for (text, from, begins) in [
            (r"x\njane", "njane", "jane"),
            (r"x\u00e9jane", "u00e9jane", "jane"),
            (r"x\u00e9jane", "9jane", "jane"),
            (r"x\ud83e\udd80jane", "ud83e", "jane"),
            (r"x\ud83e\udd80jane", "d80jane", "jane"),
            (r"x\ud83ejane", "3ejane", "jane"),
            (r"\\\njane", "njane", "jane"),
            // A backslash, and a name.
            (r"x\\nina", "nina", "nina"),
            (r"x\\u00e9jane", "u00e9jane", "u00e9jane"),
            // An escape that is none, and those that stand for themselves.
            (r"x\u00jane", "u00jane", "u00jane"),
            (r"x\qjane", "qjane", "qjane"),
            (r"x\/jane", "/jane", "/jane"),
            ("njane", "njane", "njane"),
        ] {
            let at = text.find(from).unwrap();
            assert_eq!(text.get(behind_escape(text.as_bytes(), at)..), Some(begins), "{from} in {text}");
        }
    }

    #[test]
    fn what_lies_in_an_escape_stays_and_what_it_reads_as_goes_along() {
        let found = |span, revealed: Option<&[u8]>| Found {
            rule: 0,
            span,
            confidence: 1.0,
            validated: true,
            known: None,
            revealed: revealed.map(Into::into),
            is_repeated: false,
        };
        let mut inside = found(2..5, None);
        inside.begin_behind_escape(br"\u1234 and on");
        assert_eq!(inside.span, 2..5);
        let mut disguised = found(1..8, Some(b"njane"));
        disguised.begin_behind_escape(br"\nja%6Ee");
        assert_eq!((disguised.span, disguised.revealed.as_deref()), (2..8, Some(&b"jane"[..])));
    }

    /// Pieces of a string as JSON writes it.
    const PIECES: &[&str] = &[
        "a",
        "7",
        " ",
        "é",
        r"\n",
        r"\\",
        r#"\""#,
        r"\/",
        r"\u00e9",
        r"\u0041",
        r"\ud83e\udd80",
        r"\uD834\uDD1E",
        "🦀",
    ];

    proptest! {
        #[test]
        fn a_number_of_which_a_part_is_replaced_becomes_a_string(
            numbers in prop::collection::vec("-?[1-9][0-9]{0,4}([.][0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", 1..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 2..8),
        ) {
            let text = format!("[{},\"-1\"]", numbers.join(","));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.sort_unstable();
            let part = |from: usize, to: usize| text.get(from..to).unwrap();
            let is_in_number = |from: usize, to: usize| from < to && part(from, to).chars().all(of_number);
            let (mut quotes, mut out, mut at) = (Quotes::default(), String::new(), 0);
            for pair in cuts.chunks_exact(2).filter(|pair| is_in_number(pair[0], pair[1])) {
                let from = number_from(&text, pair[0]).max(at);
                out.push_str(quotes.pass(part(at, from)));
                if quotes.is_in_string() {
                    out.push_str(quotes.pass(part(from, pair[0])));
                }
                quotes.replace(part(pair[0], pair[1]), "[A_LABEL]", &mut out);
                at = pair[1];
            }
            out.push_str(quotes.pass(part(at, text.len())));
            let read: Result<Vec<Value>, _> = serde_json::from_str(&out);
            prop_assert!(read.is_ok(), "{out} of {text}");
            prop_assert_eq!(read.unwrap().len(), numbers.len() + 1);
        }

        #[test]
        fn a_string_with_any_parts_replaced_is_a_string(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 1..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let inside = pieces.concat();
            let text = format!("{{\"a\":\"{inside}\"}}");
            let within = 6..text.len() - 2;
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| within.start + cut.index(within.len() + 1)).collect();
            cuts.retain(|cut| text.is_char_boundary(*cut));
            cuts.sort_unstable();
            let part = |from: usize, to: usize| text.get(from..to).unwrap();
            let (mut quotes, mut out, mut at) = (Quotes::default(), String::new(), 0);
            for pair in cuts.chunks_exact(2).filter(|pair| pair[0] < pair[1]) {
                out.push_str(quotes.pass(part(at, pair[0])));
                quotes.replace(part(pair[0], pair[1]), "[A_LABEL]", &mut out);
                at = pair[1];
            }
            out.push_str(part(at, text.len()));
            let read: Result<Value, _> = serde_json::from_str(&out);
            prop_assert!(read.is_ok(), "{out} of {text}");
            let labels = cuts.chunks_exact(2).filter(|pair| pair[0] < pair[1]).count();
            prop_assert_eq!(read.unwrap()["a"].as_str().unwrap().matches("[A_LABEL]").count(), labels);
        }
    }
}
