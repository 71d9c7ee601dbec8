//! What stands around these digits?
//!
//! Needs a text and where digits begin in it; says how many there are, what follows and what stands before them, as far
//! as that tells rules apart. It knows no rule.

use super::super::matcher::{View, ends_with_escape};
use super::eights;
use super::shapes::{After, Before, FIRST_RUN_MAX, SECOND_RUN_MAX, Second, WORD_MAX, is_word, kinds};

/// More digits than any anchor asks for need not be counted.
pub(super) const DIGITS_COUNTED_MAX: usize = 20;
/// Within so many bytes they are counted: with a separator before each.
const COUNTED_BYTES_MAX: usize = DIGITS_COUNTED_MAX * 2;

/// What of a rule may be in the midst of a long word.
#[derive(Clone, Copy, Debug)]
pub(super) struct BehindWord<'a> {
    /// See [`super::shapes::Shapes`].
    pub(super) behind: &'a [u128],
    /// How many digits there are at least.
    pub(super) least: u8,
}

impl BehindWord<'_> {
    /// Whether they may stand behind these two bytes.
    pub(super) fn may_be_behind(self, [first, second]: [u8; 2]) -> bool {
        let seconds = self.behind.get(usize::from(first)).copied().unwrap_or(0);
        seconds >> (second & 0x7f) & 1 == 1
    }
}

/// The number of the shape behind the first digit at `at`, and how many digits stand there at once.
pub(super) fn shape(view: View<'_>, at: usize) -> (usize, usize) {
    let rest = view.text.get(at..).unwrap_or_default();
    let first = run(rest, FIRST_RUN_MAX + 1);
    let after = rest.get(first).map_or(After::End, |byte| kinds(*byte).after);
    let behind = rest.get(first + 1..).unwrap_or_default();
    let second = match behind.first().map(|byte| kinds(*byte).second) {
        _ if after == After::End || first > FIRST_RUN_MAX => Second::Any,
        Some(Second::Digits(_)) => match run(behind, SECOND_RUN_MAX) {
            count if count == behind.len() && !view.complete => Second::Any,
            count => Second::Digits(count),
        },
        Some(second) => second,
        None if view.complete => Second::End,
        None => Second::Any,
    };
    ((first * After::COUNT + after as usize) * Second::COUNT + second.number(), first)
}

/// How many digits a text begins with, as far as that is asked.
fn run(text: &[u8], most: usize) -> usize {
    let mut known = 0;
    while let Some(eight) = text.get(known..).and_then(|rest| rest.first_chunk()).filter(|_| known < most) {
        let digits =
            (!eights::digits(u64::from_le_bytes(*eight)) & eights::HIGH).trailing_zeros() as usize / 8;
        known += digits;
        if digits < 8 {
            return known.min(most);
        }
    }
    let rest = text.get(known..).unwrap_or_default();
    (known + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()).min(most)
}

/// The way in which a walk begins behind this text: one for each [`Before`], and one for the letter of an escape, which
/// may be anything.
pub(super) fn start(earlier: &[u8]) -> usize {
    match earlier.last() {
        None => Before::Nothing as usize,
        Some(_) if ends_with_escape(earlier) => Before::COUNT,
        Some(last) => kinds(*last).before as usize,
    }
}

/// What stands before the first digit at `at`, how many bytes of a word do, and whether the first of those is the
/// letter of an escape.
pub(super) fn before(text: &[u8], at: usize) -> (Before, usize, bool) {
    let (earlier, _) = text.split_at_checked(at).unwrap_or_default();
    let Some(last) = earlier.last() else { return (Before::Nothing, 0, false) };
    if !is_word(*last) {
        return (kinds(*last).before, 0, false);
    }
    let mut words = 0;
    while let Some((_, eight)) =
        earlier.get(..at - words).and_then(|rest| rest.split_last_chunk()).filter(|_| words < WORD_MAX)
    {
        let here = (!eights::words(u64::from_le_bytes(*eight)) & eights::HIGH).leading_zeros() as usize / 8;
        words += here;
        if here < 8 {
            break;
        }
    }
    let rest = earlier.get(..at - words).unwrap_or_default();
    words += rest.iter().rev().take(WORD_MAX).take_while(|byte| is_word(**byte)).count();
    let words = words.min(WORD_MAX);
    let (behind_escape, _) = earlier.split_at_checked(at + 1 - words).unwrap_or_default();
    (kinds(*last).before, words, ends_with_escape(behind_escape))
}

/// Whether more text could make more of the digits at `at`: then it is too early to ask.
pub(in crate::dlp) fn may_go_on(view: View<'_>, at: usize) -> bool {
    let is_near_the_end = view.text.len() < at + COUNTED_BYTES_MAX;
    !view.complete && is_near_the_end && !count(view.text, at).1
}

/// How many digits follow with single separators between them, as far as anchors ask, and whether that is final.
pub(super) fn count(text: &[u8], at: usize) -> (usize, bool) {
    let rest = text.get(at..).unwrap_or_default();
    let longest = FIRST_RUN_MAX + 1;
    let first = run(rest, longest);
    if first >= DIGITS_COUNTED_MAX && (first == longest || rest.len() > first) {
        return (first, true);
    }
    let (mut count, mut separated) = (first, false);
    for byte in rest.iter().skip(first) {
        match byte {
            b'0'..=b'9' => {
                (count, separated) = (count + 1, false);
                if count >= DIGITS_COUNTED_MAX {
                    return (count, true);
                }
            }
            b' ' | b'-' | b'.' | b'/' if !separated => separated = true,
            _ => return (count, true),
        }
    }
    (count, false)
}
