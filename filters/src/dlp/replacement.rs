//! What stands where a value was?
//!
//! Needs the value, the detector that found it, the mode that policy chose and a key of the organisation; yields the
//! text that leaves instead. It depends on nothing else, so equal values read the same in every lane, turn and stream.
//! Every text that is written here is a counterexample of every rule. It does not know where it is put.

use super::detector::Detector;
use crate::policy::compile::keyed_hash;
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// Where nobody knows what was found.
const UNKNOWN: &str = "[REDACTED]";
/// What tags are written with: consonants, so that none reads as a word, a number or a token of any kind.
const SYMBOLS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Of 43 bits: among the most findings that one request may have, two tags are the same once in 200 000 requests. So
/// none is ever made longer, which would depend on what else was found, and in a stream on what came first.
const TAG_SYMBOLS: usize = 10;
/// Of 112 bits: nobody finds two values of one hash.
const HASH_SYMBOLS: usize = 26;
/// Characters that stay readable where a rule does not say how many.
const KEPT_LAST: usize = 4;
/// And of so many at most one.
const KEPT_ONE_OF: usize = 4;
/// A longer value is no number or address that somebody could have instead.
const SYNTHETIC_BYTES_MAX: usize = 128;

/// What a redaction leaves of a value. The order is the order of strictness, the mildest first: where several rules or
/// findings meet, the strictest of their modes is written.
///
/// | mode | leaves of the value | `jane.doe@corp.example` |
/// |---|---|---|
/// | `reversible` | which of them are equal; it comes back in the answer | `[EMAIL_ADDRESS_KDRQWZBTHM]` |
/// | `keep_last` | its last letters or digits, its length | `********************le` |
/// | `synthetic` | which are equal, how it is written | `person-kdrqwzbthm@example.invalid` |
/// | `tag` | which are equal | `[EMAIL_ADDRESS_KDRQWZBTHM]` |
/// | `hash` | the same, and more surely | `[EMAIL_ADDRESS_` and 26 letters |
/// | `mask` | its length, not its kind | `*********************` |
/// | `label` | its kind | `[EMAIL_ADDRESS]` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As a tag, with the value put back in the answer.
    Reversible,
    /// As a mask, but for the last few letters or digits.
    KeepLast,
    /// A value of the same form that nobody has.
    Synthetic,
    /// The kind, and a short name of the value.
    Tag,
    /// The kind, and a long name of the value.
    Hash,
    /// A star for each character.
    Mask,
    /// The kind.
    #[default]
    Label,
}

impl Mode {
    /// All of them, the mildest first.
    pub const ALL: [Self; 7] =
        [Self::Reversible, Self::KeepLast, Self::Synthetic, Self::Tag, Self::Hash, Self::Mask, Self::Label];

    /// The name it has in documents and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reversible => "reversible",
            Self::KeepLast => "keep_last",
            Self::Synthetic => "synthetic",
            Self::Tag => "tag",
            Self::Hash => "hash",
            Self::Mask => "mask",
            Self::Label => "label",
        }
    }
}

/// What an organisation's values are named by.
#[derive(Clone, Copy)]
pub struct Key([u8; 32]);

impl Key {
    /// A key for nothing but this, from one for several purposes.
    pub fn derived_from(secret: &[u8]) -> Self {
        Self(keyed_hash(secret, b"replacements of values"))
    }

    /// A number that stands for a value: for another purpose, kind or organisation it is another one.
    fn number(&self, purpose: Mode, kind: &str, value: &[u8]) -> u128 {
        let parts = [purpose.name().as_bytes(), kind.as_bytes(), value];
        let hash = keyed_hash(&self.0, &parts.join(&0));
        hash.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// What stands in the place of a value that a rule found.
pub(super) fn of<'a>(key: &Key, detector: Option<&'a Detector>, mode: Mode, value: &[u8]) -> Cow<'a, str> {
    let Some(detector) = detector else { return Cow::Borrowed(UNKNOWN) };
    let kind = &*detector.entity;
    match mode {
        Mode::Label => Cow::Borrowed(&*detector.label),
        Mode::Mask => Cow::Owned("*".repeat(String::from_utf8_lossy(value).chars().count())),
        Mode::KeepLast => Cow::Owned(keep_last(detector, value)),
        Mode::Hash => Cow::Owned(named(kind, key.number(mode, kind, value), HASH_SYMBOLS)),
        // What is put back is given its placeholder elsewhere; what cannot be is named.
        Mode::Tag | Mode::Reversible => {
            Cow::Owned(named(kind, key.number(Mode::Tag, kind, value), TAG_SYMBOLS))
        }
        Mode::Synthetic => {
            let number = key.number(mode, kind, value);
            let tag = || named(kind, key.number(Mode::Tag, kind, value), TAG_SYMBOLS);
            Cow::Owned(synthetic(kind, number, value).unwrap_or_else(tag))
        }
    }
}

/// What stands for a value that will be put back, and for nothing else: not even for an equal one that will not. Each
/// attempt makes another one.
pub(super) fn placeholder(key: &Key, detector: &Detector, value: &str, attempt: u32) -> String {
    let kind = &*detector.entity;
    let first = key.number(Mode::Reversible, kind, value.as_bytes());
    let number = match attempt {
        0 => first,
        _ => key.number(Mode::Reversible, kind, format!("{first} {attempt}").as_bytes()),
    };
    named(kind, number, TAG_SYMBOLS)
}

/// `[EMAIL_ADDRESS_KDRQWZBTHM]`
fn named(kind: &str, number: u128, symbols: usize) -> String {
    format!("[{kind}_{}]", spelled(number, symbols))
}

fn spelled(mut number: u128, symbols: usize) -> String {
    let base = SYMBOLS.len() as u128;
    let symbol = |_| {
        let at = (number % base) as usize;
        number /= base;
        SYMBOLS.get(at).map_or('B', |symbol| char::from(*symbol))
    };
    (0..symbols).map(symbol).collect()
}

/// Stars, and behind them the last letters or digits: as many as the rule says, and of four at most one.
fn keep_last(detector: &Detector, value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    let readable = value.bytes().filter(u8::is_ascii_alphanumeric).count();
    let kept = detector.redact.keep_last.unwrap_or(KEPT_LAST).min(readable / KEPT_ONE_OF);
    let tail = value.bytes().filter(u8::is_ascii_alphanumeric).skip(readable - kept).map(char::from);
    let mut out = "*".repeat(value.chars().count() - kept);
    out.extend(tail);
    out
}

/// A value of the same form out of a range that is nobody's, where there is one that no rule takes for a real one.
fn synthetic(kind: &str, number: u128, value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= SYNTHETIC_BYTES_MAX)?;
    match kind {
        "EMAIL_ADDRESS" => synthetic_email(number, value),
        "CREDIT_CARD" => synthetic_card(number, value),
        "IP_ADDRESS" => synthetic_address(number, value),
        "US_SSN" => synthetic_ssn(number, value),
        _ => None,
    }
}

/// In the top-level domain `invalid`, which never exists (RFC 6761 §6.4).
fn synthetic_email(number: u128, value: &str) -> Option<String> {
    let is_address = value.matches('@').count() == 1 && value.bytes().all(|byte| byte.is_ascii_graphic());
    let name = spelled(number, TAG_SYMBOLS).to_ascii_lowercase();
    is_address.then(|| format!("person-{name}@example.invalid"))
}

/// With the major industry identifier 9 and the country code 999, which no country has (ISO/IEC 7812-1 §4.1,
/// ISO 3166-1 §8.1.3), and a check digit that is right.
fn synthetic_card(number: u128, value: &str) -> Option<String> {
    let mut digits: Vec<u8> = drawn(number).take(value.bytes().filter(u8::is_ascii_digit).count()).collect();
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || b" -.".contains(&byte));
    if !is_number || digits.len() != 16 {
        return None;
    }
    digits.get_mut(..4)?.fill(9);
    let (check, payload) = digits.split_last_mut()?;
    let sum =
        |(place, digit): (usize, &u8)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { *digit };
    *check = (10 - payload.iter().rev().enumerate().map(sum).sum::<u8>() % 10) % 10;
    Some(rewritten(value, &digits))
}

/// Of the networks that documentation uses: RFC 5737 and RFC 3849.
fn synthetic_address(number: u128, value: &str) -> Option<String> {
    match value.parse().ok()? {
        std::net::IpAddr::V4(_) => {
            let network = ["192.0.2", "198.51.100", "203.0.113"].get((number % 3) as usize)?;
            Some(format!("{network}.{}", number / 3 % 254 + 1))
        }
        std::net::IpAddr::V6(_) => {
            let [one, two] = [number as u16, (number >> 16) as u16];
            Some(format!("2001:db8::{one:x}:{two:x}"))
        }
    }
}

/// Of the area 666, which is never assigned (SSA, POMS RM 10201.035).
fn synthetic_ssn(number: u128, value: &str) -> Option<String> {
    let is_grouped = value.len() == 11 && value.split('-').map(str::len).eq([3, 2, 4]);
    let mut digits: Vec<u8> = drawn(number).take(9).collect();
    digits.get_mut(..3)?.fill(6);
    is_grouped.then(|| rewritten(value, &digits))
}

/// Digits without end; those of a number first.
fn drawn(mut number: u128) -> impl Iterator<Item = u8> {
    std::iter::repeat_with(move || {
        let digit = (number % 10) as u8;
        number /= 10;
        digit
    })
}

/// A value with other digits.
fn rewritten(value: &str, digits: &[u8]) -> String {
    let mut digits = digits.iter();
    let digit = |one: char| digits.next().map_or(one, |digit| char::from(b'0' + digit));
    let mut digit = digit;
    value.chars().map(|one| if one.is_ascii_digit() { digit(one) } else { one }).collect()
}
