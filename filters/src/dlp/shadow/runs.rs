//! Which text does a run of base64, base32 or hex hide?
//!
//! A run is a stretch of `A-Za-z0-9+/_-`, with up to two `=` behind it. It may begin anywhere in what was encoded, so
//! every alignment is tried. What comes out is shown as far as it is text; noise, as an image is, stays what it is.

use super::super::anchors::widely;
use super::SHADOW_GAP;
use super::alignments::{self, Coding};
use super::blocks::{BLOCK_BYTES, first_bits};

/// The shortest run that is decoded, padding included: it hides seven characters.
pub(super) const RUN_BYTES_MIN: usize = 12;
/// A run from this length on may hide text anywhere in it; a shorter one is text from end to end, or nothing.
pub(super) const LONG_RUN_BYTES: usize = 22;
/// Hex of ASCII has so many digits in a row, or a letter before one: of each two characters the first is a digit.
pub(super) const DIGITS_MANY: usize = 10;
/// Bytes of padding behind a run.
pub(super) const PADDING_BYTES_MAX: usize = 2;
/// A longer run is decoded, and replaced, in pieces of this many bytes. A multiple of four, so that pieces of one run
/// continue each other.
pub(super) const RUN_BYTES_MAX: usize = 16 * 1024;
/// Bytes in a row that must be text before a decoded run is believed: chance gives ten printable bytes once in thirty
/// thousand.
pub(super) const TEXT_BYTES_MIN: usize = 10;
/// Bytes beside letters and digits that a short run may hide, lest words of a language pass for encoded.
const SHORT_OTHERS_MAX: usize = 3;

/// So many bytes are looked at one by one, and so many together where more follow.
const FEW_BYTES: usize = 16;
const MANY_BYTES: usize = 32;

const OUTSIDE: u8 = 0xff;

/// The six bits of each byte of both base64 alphabets (RFC 4648, 4 and 5).
#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
static SEXTETS: [u8; 256] = {
    let mut table = [OUTSIDE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

fn sextet(byte: u8) -> u8 {
    SEXTETS.get(usize::from(byte)).copied().unwrap_or(OUTSIDE)
}

/// Whether a run goes on with this byte.
#[inline]
pub(super) fn is_member(byte: u8) -> bool {
    sextet(byte) != OUTSIDE
}

/// The same in the terms of vectors.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
#[expect(clippy::needless_bitwise_bool, reason = "no branch, so that many bytes are looked at at once")]
fn is_member_widely(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_sign = (byte == b'+') | (byte == b'/') | (byte == b'-') | (byte == b'_');
    is_letter | (byte.wrapping_sub(b'0') < 10) | is_sign
}

/// Whether a run has what those that hide text have and most words and numbers have not: a turn, or many digits at
/// once, as hex of digits is. One without is not decoded: among those of base64, that is one of the shortest in 250.
fn is_mixed(run: &[u8]) -> bool {
    run.array_windows().any(|[before, byte]| is_turn(*before, *byte)) || holds_digits(run)
}

/// Whether a run in a text may be so: a quick look.
pub(super) fn may_be_mixed(text: &[u8]) -> bool {
    let behind = text.get(1..).unwrap_or_default();
    text.iter().zip(behind).fold(false, |any, (before, byte)| any | may_be_turn(*before, *byte))
}

/// Whether a digit stands right behind a small letter, or a capital behind a digit or a small letter.
fn is_turn(before: u8, byte: u8) -> bool {
    may_be_turn(before, byte) && !(before.is_ascii_digit() && byte.is_ascii_digit())
}

/// Whether two bytes are such a turn, or two digits.
#[inline]
pub(super) fn may_be_turn(before: u8, byte: u8) -> bool {
    (byte.is_ascii_digit() | byte.is_ascii_uppercase())
        & (before.is_ascii_digit() | before.is_ascii_lowercase())
}

/// Whether a third byte is a digit, if two others are: in the terms of vectors.
#[inline]
pub(super) fn is_digit_behind_digits(before: u8, byte: u8, third: u8) -> bool {
    let digit = |byte: u8| byte.wrapping_sub(b'0').min(10);
    digit(before).max(digit(byte)).max(9) >= digit(third)
}

/// Whether [`DIGITS_MANY`] digits stand in a row.
fn holds_digits(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(row) = text.get(at..at + DIGITS_MANY) {
        let Some(other) = row.iter().rposition(|byte| !byte.is_ascii_digit()) else { return true };
        at += other + 1;
    }
    false
}

/// How many bytes at the end of a text may belong to a run.
pub(super) fn members_at_end(text: &[u8]) -> usize {
    text.iter().rev().take_while(|byte| is_member(**byte)).count()
}

/// With how many bytes of a run a text begins.
pub(super) fn members(text: &[u8]) -> usize {
    leading(text, is_member_widely)
}

/// With how many bytes of a kind a text begins: many are looked at together, once there have been some.
#[inline]
fn leading(text: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let few = text.iter().take(FEW_BYTES).take_while(|byte| is(**byte)).count();
    if few < FEW_BYTES {
        return few;
    }
    let rest = text.get(few..).unwrap_or_default();
    let are = |bytes: &&[u8; MANY_BYTES]| bytes.iter().fold(true, |all, byte| all & is(*byte));
    let many = rest.as_chunks().0.iter().take_while(are).count() * MANY_BYTES;
    let rest = rest.get(many..).unwrap_or_default();
    few + many + rest.iter().take_while(|byte| is(**byte)).count()
}

/// Where in ASCII the next run begins that is long enough or may go on behind the end; the end, if there is none.
pub(super) fn next(bytes: &[u8], at: usize) -> usize {
    widely(
        #[inline(always)]
        || next_widely(bytes, at),
    )
}

#[inline(always)]
fn next_widely(bytes: &[u8], mut at: usize) -> usize {
    const LEAST: u32 = (RUN_BYTES_MIN - PADDING_BYTES_MAX) as u32;
    // Bytes of a run right before the block at hand.
    let mut before = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let members = first_bits(rest, is_member_widely);
        let goes_on = members.trailing_ones();
        if before + goes_on >= LEAST {
            break;
        }
        let two = members & members >> 1;
        let four = two & two >> 2;
        let ten = four & four >> 4 & two >> (LEAST - 2);
        if ten != 0 {
            return at + ten.trailing_zeros() as usize;
        }
        let here = rest.len().min(BLOCK_BYTES) as u32;
        let at_end = (members << (u64::BITS - here)).leading_ones();
        before = if at_end == here { before + here } else { at_end };
        at += here as usize;
    }
    at - before as usize
}

/// Where the next bytes of a kind begin that are at least so many in a row, or reach the end; the end, if there are
/// none. Of each so many bytes it looks at one, and at more only where that is one of them.
#[inline]
fn next_of(bytes: &[u8], mut at: usize, least: usize, is: impl Fn(u8) -> bool) -> usize {
    let before = |at: usize, end: usize| {
        let bytes = bytes.get(at..end).unwrap_or_default();
        bytes.iter().rev().take_while(|byte| is(**byte)).count()
    };
    while let Some(probe) = bytes.get(at + least - 1) {
        let end = at + least;
        if !is(*probe) {
            at = end;
            continue;
        }
        let begins = end - before(at, end);
        if begins == at {
            return at;
        }
        at = begins;
    }
    bytes.len() - before(at, bytes.len())
}

/// What of a run may be hex.
fn parts_of_hex(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at = next_of(run, at, RUN_BYTES_MIN, |byte| byte.is_ascii_hexdigit());
        let rest = run.get(at..)?;
        let part = rest.get(..leading(rest, |byte| byte.is_ascii_hexdigit()))?;
        at += part.len();
        Some(part).filter(|part| part.len() >= RUN_BYTES_MIN)
    })
}

/// The text that a run hides.
pub(super) fn decode(run: &[u8]) -> Option<Vec<u8>> {
    if !is_mixed(run) {
        return None;
    }
    let run = run.strip_suffix(b"==").or_else(|| run.strip_suffix(b"=")).unwrap_or(run);
    let texts = parts_of_hex(run).filter_map(|part| Some((text_of(part, Coding::Hex)?, part.len())));
    let text = texts.max_by_key(|(text, _)| text.len());
    let in_base64 = || if may_be_base64(run) { text_of(run, Coding::Base64) } else { None };
    let is_base32 = || run.iter().all(|byte| quintet(*byte).is_some());
    match text {
        // A few digits beside it are not all that a run hides.
        Some((mut text, digits)) if digits * 2 < run.len() => {
            if let Some(more) = in_base64() {
                text.push(SHADOW_GAP);
                text.extend_from_slice(&more);
            }
            Some(text)
        }
        Some((text, _)) => Some(text),
        None => in_base64().or_else(|| if is_base32() { best_of_base32(run) } else { None }),
    }
}

/// Whether two groups in a row stand for ASCII at any alignment, or at the first one if the run is short: a quick look,
/// as most long words of prose and code are no base64.
fn may_be_base64(run: &[u8]) -> bool {
    let is_ascii = |group: Option<&[u8]>| match group {
        Some([a, b, c, _]) => sextet(*a) < 32 && sextet(*b) & 8 == 0 && sextet(*c) & 2 == 0,
        Some(_) | None => false,
    };
    let is_text = |at: usize| is_ascii(run.get(at..at + 4)) && is_ascii(run.get(at + 4..at + 8));
    if run.len() < LONG_RUN_BYTES { is_text(0) } else { (0..run.len() - 7).any(is_text) }
}

/// The text that a run hides if it is written so.
fn text_of(run: &[u8], coding: Coding) -> Option<Vec<u8>> {
    if run.len() < LONG_RUN_BYTES {
        short(run, |run| coding.decode(run))
    } else {
        alignments::best(run, coding)
    }
}

/// The text of a short run, which is text from end to end or nothing.
fn short(run: &[u8], decode: impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let mut stretches = Stretches { is_short: true, ..Stretches::default() };
    for byte in decode(run) {
        stretches.take(byte);
    }
    stretches.finish()
}

/// Decodes a run of base32 from each of the first offsets and takes what is text for the most part.
fn best_of_base32(run: &[u8]) -> Option<Vec<u8>> {
    if run.len() < LONG_RUN_BYTES {
        return short(run, base32);
    }
    let mut best: Option<Vec<u8>> = None;
    for offset in 0..8 {
        let run = run.get(offset..).unwrap_or_default();
        let bytes = base32(run);
        let text = text_in(&bytes).or_else(|| text_in(&narrow(&bytes)?));
        let Some(text) = text else { continue };
        if text.len() * 2 > run.len() {
            return Some(text);
        }
        if text.len() > best.as_ref().map_or(0, Vec::len) {
            best = Some(text);
        }
    }
    best
}

pub(super) fn base64(run: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(run.len() / 4 * 3 + 2);
    let (groups, rest) = run.as_chunks::<4>();
    for group in groups {
        let [a, b, c, d] = group.map(sextet);
        out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    match *rest {
        [a, b] => out.push(sextet(a) << 2 | sextet(b) >> 4),
        [a, b, c] => {
            let [a, b, c] = [a, b, c].map(sextet);
            out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2]);
        }
        _ => {}
    }
    out
}

/// The five bits of a byte of base32 (RFC 4648, 6).
fn quintet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'2'..=b'7' => Some(byte - b'2' + 26),
        _ => None,
    }
}

fn base32(run: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(run.len() / 8 * 5 + 4);
    let (mut held, mut bits) = (0_u32, 0);
    for quintet in run.iter().filter_map(|byte| quintet(*byte)) {
        (held, bits) = (held << 5 | u32::from(quintet), bits + 5);
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    out
}

pub(super) fn hexadecimal(run: &[u8]) -> Vec<u8> {
    let (pairs, _) = run.as_chunks::<2>();
    pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// The four bits of a hexadecimal digit, in either case.
fn digit(byte: u8) -> u8 {
    (byte & 15) + 9 * (byte >> 6)
}

/// Bytes of UTF-16 whose characters are ASCII, as Windows encodes commands: without the zeros between them. What is no
/// such character is a zero. `None`: few of them are.
pub(super) fn narrow(bytes: &[u8]) -> Option<Vec<u8>> {
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    // Zeros stand behind the characters, from the first byte on or from the second.
    let from = usize::from(zeros(0) > zeros(1));
    if zeros(1 - from) * 6 <= bytes.len() {
        return None;
    }
    let (pairs, last) = bytes.get(from..)?.as_chunks::<2>();
    let characters = pairs.iter().map(|[low, high]| if *high == 0 { *low } else { 0 });
    Some(characters.chain(last.iter().copied()).collect())
}

/// What of decoded bytes is text. Of noise most are not looked at: in a row of text any two neighbours can be ones, so
/// that it is enough to look at one place in ten, and from there back to where two cannot.
pub(super) fn text_in(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stretches = Stretches::default();
    let mut from = 0;
    while let Some(row) = bytes.get(from..from + TEXT_BYTES_MIN) {
        let broken = row.array_windows().rposition(|[one, other]| !may_neighbour(*one, *other));
        if let Some(broken) = broken {
            from += broken + 1;
            continue;
        }
        let rest = bytes.get(from..).unwrap_or_default();
        let broken = rest.array_windows().position(|[one, other]| !may_neighbour(*one, *other));
        let row = rest.get(..broken.map_or(rest.len(), |broken| broken + 1)).unwrap_or_default();
        stretches.take_row(row);
        from += row.len();
    }
    stretches.finish()
}

/// Whether one byte can stand before another one in a text in UTF-8 without control characters.
pub(super) fn may_neighbour(one: u8, other: u8) -> bool {
    match (kind(one), kind(other)) {
        (Byte::None, _) | (_, Byte::None) => false,
        (Byte::Ascii, other) => !matches!(other, Byte::Next),
        (Byte::First, other) => matches!(other, Byte::Next),
        (Byte::Next, Byte::Ascii | Byte::First | Byte::Next) => true,
    }
}

/// Whether all of this is ASCII without control characters, as text has it.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let is = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    bytes.iter().fold(true, |all, byte| all & is(*byte))
}

/// What a byte is to a text.
#[derive(Clone, Copy)]
enum Byte {
    None,
    Ascii,
    /// The first of a character.
    First,
    /// Another one of it.
    Next,
}

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
static BYTES: [Byte; 256] = {
    let mut kinds = [Byte::None; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b' '..=b'~' | b'\t' | b'\n' | b'\r' => Byte::Ascii,
            0x80..=0xbf => Byte::Next,
            0xc2..=0xf4 => Byte::First,
            _ => Byte::None,
        };
        byte += 1;
    }
    kinds
};

fn kind(byte: u8) -> Byte {
    BYTES.get(usize::from(byte)).copied().unwrap_or(Byte::None)
}

/// Keeps of decoded bytes what is text: UTF-8 without control characters, enough of it in a row.
#[derive(Default)]
pub(super) struct Stretches {
    text: Vec<u8>,
    /// Where in `text` the stretch at hand begins.
    from: usize,
    /// Bytes that the character at hand still needs, and how many it has.
    wanted: u8,
    given: u8,
    /// All of it must be text.
    is_short: bool,
    is_broken: bool,
}

impl Stretches {
    fn take(&mut self, byte: u8) {
        if self.wanted > 0 {
            if matches!(byte, 0x80..=0xbf) {
                (self.wanted, self.given) = (self.wanted - 1, self.given + 1);
                self.text.push(byte);
                return;
            }
            self.end();
        }
        (self.wanted, self.given) = match byte {
            b' '..=b'~' | b'\t' | b'\n' | b'\r' => (0, 1),
            0xc2..=0xdf => (1, 1),
            0xe0..=0xef => (2, 1),
            0xf0..=0xf4 => (3, 1),
            _ => return self.end(),
        };
        self.text.push(byte);
    }

    /// Takes bytes that are a stretch.
    pub(super) fn take_row(&mut self, row: &[u8]) {
        let (many, rest) = row.as_chunks::<MANY_BYTES>();
        for bytes in many {
            if self.wanted == 0 && is_plain(bytes) {
                self.text.extend_from_slice(bytes);
            } else {
                self.take_each(bytes);
            }
        }
        self.take_each(rest);
        self.end();
    }

    fn take_each(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.take(*byte);
        }
    }

    /// Ends the stretch at hand: it stays if it is long enough.
    fn end(&mut self) {
        self.is_broken = true;
        if self.wanted > 0 {
            self.text.truncate(self.text.len() - usize::from(self.given));
            self.wanted = 0;
        }
        let stretch = self.text.get(self.from..).unwrap_or_default();
        if stretch.len() < TEXT_BYTES_MIN || std::str::from_utf8(stretch).is_err() {
            self.text.truncate(self.from);
        } else {
            self.text.push(SHADOW_GAP);
            self.from = self.text.len();
        }
    }

    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.is_short {
            let others = self.text.iter().filter(|byte| !byte.is_ascii_alphanumeric()).count();
            return (!self.is_broken && others <= SHORT_OTHERS_MAX).then_some(self.text);
        }
        self.end();
        if self.text.last() == Some(&SHADOW_GAP) {
            self.text.pop();
        }
        (!self.text.is_empty()).then_some(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn shown(run: &str) -> Option<String> {
        decode(run.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_run_shows_the_text_it_hides_wherever_it_begins() {
        for text in ["4111111111111111", "card: 4111 1111 1111 1111?>", "größe 身份证 und mehr"] {
            let hex = text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"));
            for run in [STANDARD.encode(text), URL_SAFE_NO_PAD.encode(text), hex] {
                assert_eq!(shown(&run).as_deref(), Some(text), "{run}");
                for before in ["x", "x-", "key/"] {
                    let shown = shown(&format!("{before}{run}"));
                    assert!(shown.is_some_and(|shown| shown.contains(text)), "{before}{run}");
                }
            }
        }
    }

    #[test]
    fn text_in_sixteen_bits_is_shown_too() {
        let text = "card: 4111 1111 1111 1111";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let hex = little.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        for run in [STANDARD.encode(&little), STANDARD.encode(&big), hex] {
            assert!(shown(&run).is_some_and(|shown| shown.contains(text)), "{run}");
            assert!(
                shown(&format!("x{run}")).is_some_and(|shown| shown.contains("1111 1111 1111")),
                "x{run}"
            );
        }
    }

    #[test]
    fn a_run_of_base32_shows_its_text() {
        let (text, run) = (
            "nothing but words that somebody wrote",
            "NZXXI2DJNZTSAYTVOQQHO33SMRZSA5DIMF2CA43PNVSWE33EPEQHO4TPORSQ",
        );
        assert_eq!(shown(run).as_deref(), Some(text));
        assert!(shown(&format!("AB{run}")).is_some_and(|shown| shown.contains("words that somebody wrote")));
        assert_eq!(shown("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"), None, "the key of a one-time password");
    }

    #[test]
    fn words_ids_and_noise_hide_nothing() {
        let noise: Vec<u8> = (0..3_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for run in [
            "internationalization",
            "a_long_name_of_a_function",
            "incomprehensible",
            "node_modules/react-dom/src/client",
            "123e4567-e89b-12d3-a456-426614174000",
            "2026112523405512345678",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            &STANDARD.encode(noise),
        ] {
            assert_eq!(shown(run), None, "{run}");
        }
    }

    proptest! {
        #[test]
        fn text_is_found_in_noise_as_reading_every_byte_finds_it(
            parts in prop::collection::vec(
                prop_oneof![
                    "[ -~é身🦀]{0,14}".prop_map(String::into_bytes),
                    prop::collection::vec(any::<u8>(), 0..12),
                ],
                0..12,
            ),
        ) {
            let bytes = parts.concat();
            let mut stretches = Stretches::default();
            for byte in &bytes {
                stretches.take(*byte);
            }
            prop_assert_eq!(text_in(&bytes), stretches.finish());
        }

        #[test]
        fn a_run_begins_a_text_as_far_as_each_byte_says(text in "[a-zA-Z0-9+/_-]{0,150}[ -~é]{0,9}") {
            let expected = text.bytes().position(|byte| !is_member(byte)).unwrap_or(text.len());
            prop_assert_eq!(members(text.as_bytes()), expected);
        }

        #[test]
        fn the_next_run_is_the_one_that_counting_finds(text in "([a-zA-Z0-9/_+-]{0,14}[ .=,]{0,2}|\u{e9}){0,30}") {
            let bytes = text.as_bytes();
            let (mut expected, mut from) = (bytes.len(), 0);
            for part in bytes.split(|byte| !is_member(*byte)) {
                if (part.len() >= 10 || from + part.len() == bytes.len()) && expected == bytes.len() {
                    expected = from;
                }
                from += part.len() + 1;
            }
            prop_assert_eq!(next(bytes, 0), expected);
        }
    }
}
