//! What does a JSON text consist of, byte by byte?
//!
//! One strict pass (RFC 8259) without a tree: tokens with their spans, nothing decoded, nothing copied. A body
//! is valid UTF-8 before it comes here. What two parsers could read in two ways is refused: lone surrogates,
//! control characters in strings, anything after the value.
//!
//! It does not know what a field means; `dlp::projection` does.

use std::ops::Range;

/// How deep objects and arrays may nest. Kept in one machine word, one bit a level.
pub const DEPTH_MAX: u32 = 128;

/// One token. Spans of strings lie inside the quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// `{`
    ObjectOpen,
    /// `}`
    ObjectClose,
    /// `[`
    ArrayOpen,
    /// `]`
    ArrayClose,
    /// The name of a member.
    Key(Text),
    /// A string value.
    String(Text),
    /// A number, as it was written.
    Number(Range<usize>),
    /// `true`, `false` or `null`.
    Literal(Literal),
}

/// A string as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The bytes between the quotes.
    pub raw: Range<usize>,
    /// Whether a backslash occurs, so that raw and meaning differ.
    pub escaped: bool,
}

/// The three words of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// Why a text is not JSON that everyone reads alike, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    /// The offset of the first byte that does not fit.
    pub at: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The ways in which a text fails to be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Another byte was needed here.
    #[error("unexpected character")]
    Unexpected,
    /// The text ends inside a value.
    #[error("unexpected end")]
    End,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// A control character that must be escaped.
    #[error("unescaped control character in a string")]
    Control,
    /// An unknown escape.
    #[error("invalid escape in a string")]
    Escape,
    /// Half of a surrogate pair: parsers disagree on its meaning.
    #[error("lone surrogate in a string")]
    Surrogate,
    /// Not a JSON number.
    #[error("invalid number")]
    Number,
    /// Something follows the value.
    #[error("text after the end of the value")]
    Trailing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrClose,
    KeyOrClose,
    Key,
    CommaOrClose,
    End,
}

/// Reads a text token by token.
pub struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// Bit set: the level is an object.
    objects: u128,
    expect: Expect,
}

impl<'a> Tokens<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0, objects: 0, expect: Expect::Value }
    }

    /// How many objects and arrays are open.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The offset right behind the last token.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The next token; `None` after the value and nothing but white space.
    pub fn next_token(&mut self) -> Result<Option<Token>, JsonError> {
        loop {
            self.skip_white_space();
            let Some(&byte) = self.text.get(self.at) else {
                return if self.expect == Expect::End { Ok(None) } else { Err(self.fail(Problem::End)) };
            };
            match (self.expect, byte) {
                (Expect::End, _) => return Err(self.fail(Problem::Trailing)),
                (Expect::CommaOrClose, b',') => {
                    self.at += 1;
                    self.expect = if self.in_object() { Expect::Key } else { Expect::Value };
                }
                (Expect::CommaOrClose | Expect::KeyOrClose, b'}') if self.in_object() => {
                    return Ok(Some(self.close(Token::ObjectClose)));
                }
                (Expect::CommaOrClose | Expect::ValueOrClose, b']') if !self.in_object() => {
                    return Ok(Some(self.close(Token::ArrayClose)));
                }
                (Expect::Key | Expect::KeyOrClose, b'"') => {
                    let key = self.string()?;
                    self.skip_white_space();
                    if self.text.get(self.at) != Some(&b':') {
                        return Err(self.fail(Problem::Unexpected));
                    }
                    self.at += 1;
                    self.expect = Expect::Value;
                    return Ok(Some(Token::Key(key)));
                }
                (Expect::Value | Expect::ValueOrClose, _) => return self.value(byte).map(Some),
                (Expect::CommaOrClose | Expect::Key | Expect::KeyOrClose, _) => {
                    return Err(self.fail(Problem::Unexpected));
                }
            }
        }
    }

    fn value(&mut self, byte: u8) -> Result<Token, JsonError> {
        let token = match byte {
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b'"' => Token::String(self.string()?),
            b't' => self.literal(b"true", Literal::True)?,
            b'f' => self.literal(b"false", Literal::False)?,
            b'n' => self.literal(b"null", Literal::Null)?,
            b'-' | b'0'..=b'9' => Token::Number(self.number()?),
            _ => return Err(self.fail(Problem::Unexpected)),
        };
        self.after_value();
        Ok(token)
    }

    fn open(&mut self, object: bool) -> Result<Token, JsonError> {
        if self.depth >= DEPTH_MAX {
            return Err(self.fail(Problem::Depth));
        }
        self.at += 1;
        self.objects = (self.objects << 1) | u128::from(object);
        self.depth += 1;
        self.expect = if object { Expect::KeyOrClose } else { Expect::ValueOrClose };
        Ok(if object { Token::ObjectOpen } else { Token::ArrayOpen })
    }

    fn close(&mut self, token: Token) -> Token {
        self.at += 1;
        self.objects >>= 1;
        self.depth -= 1;
        self.after_value();
        token
    }

    fn after_value(&mut self) {
        self.expect = if self.depth == 0 { Expect::End } else { Expect::CommaOrClose };
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn fail(&self, problem: Problem) -> JsonError {
        JsonError { at: self.at, problem }
    }

    #[inline]
    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &[u8], literal: Literal) -> Result<Token, JsonError> {
        if self.text.get(self.at..self.at + word.len()) == Some(word) {
            self.at += word.len();
            Ok(Token::Literal(literal))
        } else {
            Err(self.fail(Problem::Unexpected))
        }
    }

    fn number(&mut self) -> Result<Range<usize>, JsonError> {
        let start = self.at;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        if let Some(b'0'..=b'9') = self.text.get(self.at) {
            return Err(self.fail(Problem::Number));
        }
        Ok(start..self.at)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        if self.at == start { Err(self.fail(Problem::Number)) } else { Ok(()) }
    }

    /// Reads a string whose opening quote is at the cursor.
    fn string(&mut self) -> Result<Text, JsonError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(stop) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(self.fail(Problem::End));
            };
            let (plain, special) = rest.split_at_checked(stop).unwrap_or((rest, &[]));
            // A fold instead of `any`: without an early exit the compiler makes it SIMD.
            if plain.iter().fold(0, |bad, byte| bad | u8::from(*byte < 0x20)) != 0 {
                self.at += plain.iter().position(|byte| *byte < 0x20).unwrap_or(0);
                return Err(self.fail(Problem::Control));
            }
            self.at += stop;
            if special.first() == Some(&b'"') {
                let raw = start..self.at;
                self.at += 1;
                return Ok(Text { raw, escaped });
            }
            escaped = true;
            match unescape(special) {
                Ok((_, length)) => self.at += length,
                Err(problem) => return Err(self.fail(problem)),
            }
        }
    }
}

/// The character that an escape at the start of `text` stands for, and the length of the escape.
fn unescape(text: &[u8]) -> Result<(char, usize), Problem> {
    let character = match text.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unicode(text),
        Some(_) => return Err(Problem::Escape),
        None => return Err(Problem::End),
    };
    Ok((character, 2))
}

fn unescape_unicode(text: &[u8]) -> Result<(char, usize), Problem> {
    let unit = code_unit(text)?;
    if !(0xd800..0xe000).contains(&unit) {
        return char::from_u32(unit).map(|character| (character, 6)).ok_or(Problem::Escape);
    }
    let low = text.get(6..).ok_or(Problem::Surrogate)?;
    if unit >= 0xdc00 || !low.starts_with(b"\\u") {
        return Err(Problem::Surrogate);
    }
    let low = code_unit(low)?;
    if !(0xdc00..0xe000).contains(&low) {
        return Err(Problem::Surrogate);
    }
    let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    char::from_u32(code).map(|character| (character, 12)).ok_or(Problem::Surrogate)
}

fn code_unit(text: &[u8]) -> Result<u32, Problem> {
    let digits = text.get(2..6).ok_or(Problem::End)?;
    digits.iter().try_fold(0u32, |unit, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(Problem::Escape)?;
        Ok(unit * 16 + value)
    })
}

/// Appends the meaning of a raw string (one that [`Tokens`] accepted) to `out`.
pub fn decode(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(stop) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(stop).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Ok((character, length)) = unescape(escape) else { return };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escape.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Follows a raw string and its meaning together, forwards only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    raw: usize,
    decoded: usize,
}

impl Cursor {
    /// Where in the raw string the unit begins that the decoded byte `wanted` comes from: an escape is never cut.
    pub fn start_of(&mut self, raw: &[u8], wanted: usize) -> usize {
        while let Some((length, meaning)) = self.unit(raw) {
            if self.decoded + meaning > wanted {
                break;
            }
            (self.raw, self.decoded) = (self.raw + length, self.decoded + meaning);
        }
        self.raw
    }

    /// Where the unit ends that the decoded byte before `wanted` comes from.
    pub fn end_of(&mut self, raw: &[u8], wanted: usize) -> usize {
        while self.decoded < wanted
            && let Some((length, meaning)) = self.unit(raw)
        {
            (self.raw, self.decoded) = (self.raw + length, self.decoded + meaning);
        }
        self.raw
    }

    /// The lengths of the unit at the cursor, raw and decoded.
    fn unit(&self, raw: &[u8]) -> Option<(usize, usize)> {
        let rest = raw.get(self.raw..)?;
        match rest.first()? {
            b'\\' => unescape(rest).ok().map(|(character, length)| (length, character.len_utf8())),
            _ => Some((1, 1)),
        }
    }
}

/// Appends `text` to `out` as the inside of a JSON string.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// The JSON pointer (RFC 6901) of what stands at `offset`. Only for messages: it reads the text once more, and
/// stops where the text stops being JSON.
pub fn pointer(text: &[u8], offset: usize) -> String {
    let mut tokens = Tokens::new(text);
    let mut path: Vec<Step> = Vec::new();
    while tokens.offset() <= offset {
        let Ok(Some(token)) = tokens.next_token() else { break };
        if tokens.offset() > offset && matches!(token, Token::ObjectClose | Token::ArrayClose) {
            break;
        }
        if !matches!(token, Token::ArrayClose | Token::ObjectClose | Token::Key(_))
            && let Some(Step::Index(index)) = path.last_mut()
        {
            *index = index.wrapping_add(1);
        }
        match token {
            Token::Key(key) => {
                let mut name = Vec::new();
                decode(text.get(key.raw).unwrap_or_default(), &mut name);
                if let Some(step) = path.last_mut() {
                    *step = Step::Name(String::from_utf8_lossy(&name).into_owned());
                }
            }
            Token::ObjectOpen => path.push(Step::Name(String::new())),
            Token::ArrayOpen => path.push(Step::Index(usize::MAX)),
            Token::ObjectClose | Token::ArrayClose => drop(path.pop()),
            Token::String(_) | Token::Number(_) | Token::Literal(_) => {}
        }
    }
    let mut out = String::new();
    for step in path {
        out.push('/');
        match step {
            Step::Name(name) => out.push_str(&name.replace('~', "~0").replace('/', "~1")),
            Step::Index(usize::MAX) => out.push('0'),
            Step::Index(index) => out.push_str(&index.to_string()),
        }
    }
    out
}

enum Step {
    Name(String),
    Index(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> Result<(), JsonError> {
        let mut tokens = Tokens::new(text.as_bytes());
        while tokens.next_token()?.is_some() {}
        Ok(())
    }

    #[test]
    fn what_serde_accepts_is_accepted_and_what_it_refuses_is_refused() {
        let cases = [
            "{}",
            "[]",
            "0",
            "-0",
            "1e400",
            "-1.5E+3",
            r#""a\u00e9\ud83d\ude00""#,
            " [1 , 2]\n",
            "true",
            "null",
            r#"{"a":{"b":[1,{"c":"d"}]}}"#,
            "",
            "{",
            "[1,]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "nul",
            "tru",
            "[1 2]",
            "{}{}",
            r#""\x""#,
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            "\"a\nb\"",
            r#""\u12""#,
            "]",
            "[}",
            "{]",
            "{1:2}",
            "\u{feff}{}",
        ];
        for case in cases {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(case).is_ok()
                && !case.contains(r"\ud800")
                && !case.contains(r"\udc00");
            assert_eq!(accepts(case).is_ok(), theirs, "{case}");
        }
    }

    #[test]
    fn depth_has_a_limit() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(accepts(&deep(128)).is_ok());
        assert_eq!(accepts(&deep(129)).unwrap_err().problem, Problem::Depth);
    }

    #[test]
    fn offsets_of_escapes_map_back_to_whole_units() {
        let raw = r#"a\u0034é\"z"#.as_bytes();
        let mut text = Vec::new();
        decode(raw, &mut text);
        assert_eq!(text, "a4é\"z".as_bytes());
        let mut cursor = Cursor::default();
        assert_eq!(cursor.start_of(raw, 1), 1);
        assert_eq!(cursor.end_of(raw, 2), 7);
        assert_eq!(cursor.end_of(raw, text.len()), raw.len());
    }

    #[test]
    fn a_place_is_named_by_its_pointer() {
        let text = br#"{"messages":[{"a":1},{"content":["x","y"]}],"k/":2}"#;
        let place = |needle: &[u8]| pointer(text, memchr::memmem::find(text, needle).unwrap());
        assert_eq!(place(b"y"), "/messages/1/content/1");
        assert_eq!(place(b"2"), "/k~1");
    }
}
