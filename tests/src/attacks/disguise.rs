//! How is a value written so that it does not look like one?
//!
//! Attacks are templates: `{{card|base64|lines:64}}` is the value `card`, written in base64, broken into lines. What a
//! template hides is told with it, so that an attack need not spell it a second time. In JSON it is escaped as a
//! string's text is, unless `raw` is the last word.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::fmt::Write as _;
use std::io::Write as _;

/// The values: of the right form, with right checksums, and nobody's.
const VALUES: &[(&str, &str)] = &[
    ("card", "4539578763621486"),
    ("card_spaced", "4539 5787 6362 1486"),
    ("iban", "DE89370400440532013000"),
    ("iban_spaced", "DE89 3704 0044 0532 0130 00"),
    ("ssn", "536-90-4399"),
    ("aws", "AKIA0J063O1BW72GHW8G"),
    ("github", "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"),
    ("email", "jane.doe@acme-health.com"),
    (
        "key",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIExampleOnlyExampleOnlyExampleOnlyExampleOnlyoAoGCCqGSM49\n-----END EC PRIVATE KEY-----",
    ),
    // Its card stands across the ends of lines of base64 of 64 and of 76 characters.
    ("note", "keep this to yourself, her numbers: 5105 1051 0510 5100 and no other"),
    (
        "record",
        "Jane pays with card 4539 5787 6362 1486, her SSN is 536-90-4399 and her mail jane.doe@acme-health.com",
    ),
];

/// A template, filled in.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) text: String,
    /// What must not leave: each value as it was written, and as it is.
    pub(super) hidden: Vec<String>,
}

/// Fills a template in.
pub(super) fn fill(template: &str, is_json: bool) -> Filled {
    let mut filled = Filled::default();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (words, after) = behind.split_once("}}").expect("a template ends");
        filled.text.push_str(before);
        let mut words = words.split('|');
        let name = words.next().unwrap();
        let value = VALUES.iter().find(|(known, _)| *known == name);
        let (_, value) = value.unwrap_or_else(|| panic!("`{name}` is no value"));
        let mut written = (*value).to_owned();
        let mut is_raw = false;
        for word in words {
            is_raw |= word == "raw";
            written = disguised(&written, word);
        }
        filled.text.push_str(&if is_json && !is_raw { escaped(&written) } else { written.clone() });
        filled.hidden.extend([written, (*value).to_owned()]);
        rest = after;
    }
    filled.text.push_str(rest);
    filled
}

/// As it stands in a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A text under one disguise, which may have a parameter behind a colon.
fn disguised(text: &str, word: &str) -> String {
    let (name, with) = word.split_once(':').unwrap_or((word, ""));
    let known = encoded(text, name, with).or_else(|| escaped_by(text, name));
    let known = known.or_else(|| in_characters(text, name, with)).or_else(|| laid_out(text, name, with));
    known.unwrap_or_else(|| panic!("`{word}` is no disguise"))
}

/// Bytes as letters or numbers.
fn encoded(text: &str, name: &str, with: &str) -> Option<String> {
    let encoded = match name {
        "raw" => text.to_owned(),
        "base64" => STANDARD.encode(text),
        "base64_bare" => STANDARD_NO_PAD.encode(text),
        "base64url" => URL_SAFE.encode(text),
        "base64url_bare" => URL_SAFE_NO_PAD.encode(text),
        "gzip" => latin1(&gzip(text)),
        "gzip_base64" => STANDARD.encode(gzip(text)),
        "zlib_base64" => STANDARD.encode(zlib(text)),
        "base32" => base32(text),
        "base58" => base58(text),
        "base85" => base85(text),
        "uuencode" => uuencode(text),
        "utf16_base64" => STANDARD.encode(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        "utf7" => {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            format!("+{}-", STANDARD_NO_PAD.encode(wide))
        }
        "hex" => bytes(text, |byte| format!("{byte:02x}")),
        "hex_upper" => bytes(text, |byte| format!("{byte:02X}")),
        "hex_marked" => join(text.bytes().map(|byte| format!("{with}{byte:02x}")), " "),
        "hex_0x" => bytes(text, |byte| format!("0x{byte:02x}, ")),
        "hex_between" => join(text.bytes().map(|byte| format!("{byte:02x}")), &separator(with)),
        "decimal" => join(text.bytes().map(|byte| byte.to_string()), &separator(with)),
        "octal" => join(text.bytes().map(|byte| format!("{byte:03o}")), &separator(with)),
        "binary" => join(text.bytes().map(|byte| format!("{byte:08b}")), &separator(with)),
        _ => return None,
    };
    Some(encoded)
}

/// Bytes as escapes.
fn escaped_by(text: &str, name: &str) -> Option<String> {
    let escaped = match name {
        "percent" => bytes(text, |byte| format!("%{byte:02X}")),
        "percent_u" => bytes(text, |byte| format!("%u{byte:04x}")),
        "twice_percent" => bytes(text, |byte| format!("%25{byte:02X}")),
        "quoted" => bytes(text, |byte| format!("={byte:02X}")),
        "html" => bytes(text, |byte| format!("&#{byte};")),
        "html_hex" => bytes(text, |byte| format!("&#x{byte:x};")),
        "html_padded" => bytes(text, |byte| format!("&#00000{byte};")),
        "html_twice" => bytes(text, |byte| format!("&amp;#{byte};")),
        "u" => bytes(text, |byte| format!("\\u{byte:04x}")),
        "u_braces" => bytes(text, |byte| format!("\\u{{{byte:x}}}")),
        "u_long" => bytes(text, |byte| format!("\\U{byte:08x}")),
        "x_braces" => bytes(text, |byte| format!("\\x{{{byte:x}}}")),
        "n_braces" => bytes(text, |byte| format!("\\N{{U+{byte:04X}}}")),
        "html_long" => bytes(text, |byte| format!("&#{byte:014};")),
        "x" => bytes(text, |byte| format!("\\x{byte:02x}")),
        "octal_escape" => bytes(text, |byte| format!("\\{byte:03o}")),
        "css" => bytes(text, |byte| format!("\\{byte:06x}")),
        "escape" => escaped(text),
        _ => return None,
    };
    Some(escaped)
}

/// Characters as others.
fn in_characters(text: &str, name: &str, with: &str) -> Option<String> {
    let others = match name {
        "rot13" => text.chars().map(rot13).collect(),
        "rot5" => each(text, '0'..='9', |offset| char::from(b'0' + (offset as u8 + 5) % 10)),
        "reversed" => text.chars().rev().collect(),
        "upper" => text.to_uppercase(),
        "swapped" => text.chars().map(swapped).collect(),
        "words" => join(text.chars().map(|letter| spelt(letter).to_owned()), " "),
        "nato" => join(text.chars().map(|letter| format!("{letter} as in {letter}")), ", "),
        "tags" => each(text, '\0'..='\u{7f}', |offset| shift(0xe_0000, offset)),
        "full_width" => each(text, '!'..='~', |offset| shift(0xff01, offset)),
        "digits" => {
            let zero = with.chars().next().expect("a zero");
            each(text, '0'..='9', |offset| shift(zero.into(), offset))
        }
        "circled" => each(text, '1'..='9', |offset| shift(0x2460, offset)).replace('0', "\u{24ea}"),
        "superscript" => replaced(text, "0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"),
        "keycaps" => bytes(text, |byte| format!("{}\u{fe0f}\u{20e3}", char::from(byte))),
        "alike" => replaced(text, "ABCEHIJKMOPSTXYaceijopsxyhdqwvgn", "АВСЕНІЈКМОРЅТХҮасеіјорѕхуһԁԛԝѵɡո"),
        "leet" => replaced(text, "013", "OlE"),
        "math" => each(text, 'a'..='z', |offset| shift(0x1d41a, offset)),
        "braille" => each(text, '1'..='9', |offset| shift(0x2801, offset)),
        "dashes" => text.replace('-', with),
        _ => return None,
    };
    Some(others)
}

/// The same characters, with something between them.
fn laid_out(text: &str, name: &str, with: &str) -> Option<String> {
    let many = || with.parse::<usize>().unwrap_or_else(|_| panic!("`{name}` needs a number"));
    let laid_out = match name {
        "around" => format!("{with}{text}{with}"),
        "between" => join(text.chars().map(String::from), &separator(with)),
        "every" => every(text, many(), " "),
        "lines" => every(text, many(), "\n"),
        "crlf" => every(text, many(), "\r\n"),
        "indented" => every(text, many(), "\n    "),
        "quoted_lines" => every(text, many(), "\n> "),
        "string_lines" => every(text, many(), "\" +\n    \""),
        "mark" => text.chars().flat_map(|letter| [Some(letter), with.chars().next()]).flatten().collect(),
        "emphasis" => bytes(text, |byte| format!("**{}**", char::from(byte))),
        "pieces" => every(text, 4, with),
        "tagged" => bytes(text, |byte| format!("<b>{}</b>", char::from(byte))),
        "cut" => text.chars().take(many()).collect(),
        "skip" => text.chars().skip(many()).collect(),
        _ => return None,
    };
    Some(laid_out)
}

/// A separator that a parameter names, or is.
fn separator(with: &str) -> String {
    let named = match with {
        "" | "space" => " ",
        "newline" => "\n",
        "tab" => "\t",
        "zero_width_reference" => "&ZeroWidthSpace;",
        "zero_width" => "\u{200b}",
        "joiner" => "\u{2060}",
        "soft_hyphen" => "\u{ad}",
        "bar" => "|",
        "comment" => "/**/",
        "comma" => ", ",
        with => with,
    };
    named.to_owned()
}

fn bytes(text: &str, write: impl Fn(u8) -> String) -> String {
    text.bytes().map(write).collect()
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

fn every(text: &str, many: usize, separator: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    join(letters.chunks(many).map(|chunk| chunk.iter().collect()), separator)
}

fn each(text: &str, of: std::ops::RangeInclusive<char>, to: impl Fn(u32) -> char) -> String {
    let change = |letter: char| {
        if of.contains(&letter) { to(u32::from(letter) - u32::from(*of.start())) } else { letter }
    };
    text.chars().map(change).collect()
}

fn shift(base: u32, offset: u32) -> char {
    char::from_u32(base + offset).unwrap()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    let change =
        |letter| from.chars().zip(to.chars()).find(|(one, _)| *one == letter).map_or(letter, |row| row.1);
    text.chars().map(change).collect()
}

fn rot13(letter: char) -> char {
    let base = match letter {
        'a'..='z' => b'a',
        'A'..='Z' => b'A',
        _ => return letter,
    };
    char::from(base + (letter as u8 - base + 13) % 26)
}

fn swapped(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}

fn spelt(letter: char) -> &'static str {
    const DIGITS: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    letter.to_digit(10).map_or("dash", |digit| DIGITS[digit as usize])
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// RFC 4648, 6.
fn base32(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = text.bytes().fold(String::new(), |mut bits, byte| {
        write!(bits, "{byte:08b}").unwrap();
        bits
    });
    let quintet = |chunk: &[u8]| {
        let value =
            chunk.iter().fold(0, |value, bit| value << 1 | usize::from(bit - b'0')) << (5 - chunk.len());
        char::from(ALPHABET[value])
    };
    bits.as_bytes().chunks(5).map(quintet).collect()
}

/// The digits that addresses of Bitcoin are written in.
fn base58(text: &str) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u32> = Vec::new();
    for byte in text.bytes() {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| char::from(ALPHABET[*digit as usize])).collect()
}

/// Ascii85, as in PDF files.
fn base85(text: &str) -> String {
    let group = |chunk: &[u8]| {
        let mut bytes = [0; 4];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let mut value = u32::from_be_bytes(bytes);
        let mut digits = ['!'; 5];
        for digit in digits.iter_mut().rev() {
            *digit = shift(u32::from('!'), value % 85);
            value /= 85;
        }
        digits[..=chunk.len()].iter().collect::<String>()
    };
    text.as_bytes().chunks(4).map(group).collect()
}

/// One line, without its frame.
fn uuencode(text: &str) -> String {
    let letter = |value: u8| char::from(if value == 0 { b'`' } else { value + b' ' });
    let mut line = String::from(letter(u8::try_from(text.len()).unwrap()));
    for chunk in text.as_bytes().chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| chunk.get(at).copied().unwrap_or(0));
        line.extend([a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63].map(letter));
    }
    line
}
