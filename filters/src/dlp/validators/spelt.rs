//! Is this the number of a card, spelt apart: a digit at a time, in odd groups, in words? Needs the span; proves one
//! separator throughout, a network's first digits with as many as it issues, and the check digit. A number in the
//! groups that are printed on cards is another rule's.

use super::payment::payment_card;

/// How the groups of a card are printed.
const PRINTED: &[&[usize]] = &[&[4, 4, 4, 4], &[4, 6, 5], &[4, 4, 4, 3]];
/// Between which separators.
const PRINTED_BETWEEN: &[&[u8]] = &[b" ", b"-", b"."];
const WORDS: [&[u8]; 10] =
    [b"zero", b"one", b"two", b"three", b"four", b"five", b"six", b"seven", b"eight", b"nine"];
/// As zero is read out, too.
const OTHER_ZEROS: [&[u8]; 2] = [b"oh", b"nought"];

/// A card number whose digits one separator parts, however they are grouped.
pub(super) fn spelt_card(span: &[u8]) -> bool {
    let groups: Vec<&[u8]> = runs(span, u8::is_ascii_digit).collect();
    let mut between = runs(span, |byte| !byte.is_ascii_digit());
    let Some(separator) = between.next() else { return false };
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let is_printed = PRINTED.contains(&lengths.as_slice()) && PRINTED_BETWEEN.contains(&separator);
    !is_printed && between.all(|other| other == separator) && is_card(&groups.concat())
}

/// A card number in English words for its digits.
pub(super) fn spelt_card_in_words(span: &[u8]) -> bool {
    let lower = span.to_ascii_lowercase();
    let digit = |word: &[u8]| {
        let zero = OTHER_ZEROS.contains(&word).then_some(0);
        zero.or_else(|| WORDS.iter().position(|known| *known == word)).map(|digit| b'0' + digit as u8)
    };
    let digits: Option<Vec<u8>> = runs(&lower, u8::is_ascii_alphabetic).map(digit).collect();
    digits.is_some_and(|digits| is_card(&digits))
}

/// The parts of a span whose bytes are all of a kind.
fn runs(span: &[u8], is_meant: impl Fn(&u8) -> bool) -> impl Iterator<Item = &[u8]> {
    span.split(move |byte| !is_meant(byte)).filter(|run| !run.is_empty())
}

/// The first digits of the large networks and their length (ISO/IEC 7812-1, the networks' own tables), and the check.
fn is_card(digits: &[u8]) -> bool {
    let issued = match digits {
        [b'3', b'4' | b'7', ..] => 15,
        [b'4', ..]
        | [b'5', b'1'..=b'5', ..]
        | [b'2', b'2'..=b'7', ..]
        | [b'6', b'0' | b'2' | b'4' | b'5', ..]
        | [b'3', b'5', ..] => 16,
        _ => return false,
    };
    digits.len() == issued && payment_card(digits)
}
