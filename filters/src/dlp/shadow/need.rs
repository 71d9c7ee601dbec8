//! Could this text read as something else than it says?
//!
//! A cheap look at every text, so that plain ASCII pays next to nothing for shadows. It may say yes where nothing
//! comes of it, never no where something would.

use super::super::anchors::widely;
use super::blocks::{BLOCK_BYTES, first_bits};
use super::escapes::{self, Escape};
use super::fold::{self, Folded};
use super::runs::{self, DIGITS_MANY, RUN_BYTES_MAX};
use super::{SHADOW_GAP, character};

/// Bytes looked at together: a loop that compilers turn into vectors.
const CHUNK_BYTES: usize = 64;
/// With what stands behind them that is looked at with the last of them.
const SEEN_BYTES: usize = CHUNK_BYTES + DIGITS_MANY;

/// Whether a text, or one of several with a byte 0xff between them, needs a shadow.
pub(super) fn is_needed(text: &[u8]) -> bool {
    widely(
        #[inline(always)]
        || is_needed_widely(text),
    )
}

/// What a chunk may hold.
struct Signs {
    /// What begins an escape, is not seen, or belongs to a character outside of ASCII.
    mark: bool,
    /// Two signs of quoted-printable, as far apart as they must be.
    quoted: bool,
    /// A byte that turns from one kind to another, as in runs, or digits where many in a row have them.
    turn: bool,
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
fn is_needed_widely(text: &[u8]) -> bool {
    let mut known = 0;
    for from in (0..text.len()).step_by(CHUNK_BYTES) {
        let rest = text.get(from..).unwrap_or_default();
        let signs = match rest.first_chunk::<SEEN_BYTES>() {
            Some(seen) => Signs::of(seen),
            None => Signs::of(&padded(rest)),
        };
        let here = rest.len().min(CHUNK_BYTES);
        if signs.mark && any_differs(rest, here)
            || signs.quoted && escapes::quoted_from(rest, here, true, false) < here
        {
            return true;
        }
        if signs.turn && holds_run(text, from, from + here, &mut known) {
            return true;
        }
    }
    false
}

/// Whether one of the marks in the first bytes of a text reads as something else than it is.
#[inline(never)]
fn any_differs(text: &[u8], bytes: usize) -> bool {
    // Nothing that reads as something else begins with what goes on a character.
    let mut marks = first_bits(text, |byte| is_mark(byte) && byte & 0xc0 != 0x80);
    while marks != 0 {
        let at = marks.trailing_zeros() as usize;
        marks &= marks - 1;
        let Some(rest) = text.get(at..).filter(|_| at < bytes) else { return false };
        let differs = match rest {
            [byte, ..] if escapes::is_unseen(*byte) => true,
            [byte, ..] if byte.is_ascii() => escapes::read(rest, true) != Escape::No,
            _ => character(rest).is_some_and(|character| fold::fold(character) != Folded::Same),
        };
        if differs {
            return true;
        }
    }
    false
}

impl Signs {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
    #[expect(clippy::needless_bitwise_bool, reason = "no branch, so that many bytes are looked at at once")]
    fn of(seen: &[u8; SEEN_BYTES]) -> Self {
        let from = |place: usize| -> &[u8; CHUNK_BYTES] {
            seen.get(place..).and_then(|rest| rest.first_chunk()).unwrap_or(&[b' '; CHUNK_BYTES])
        };
        let (mut mark, mut quoted, mut turn) = (false, false, false);
        let two = from(0).iter().zip(from(1));
        let others = from(escapes::QUOTED_BYTES).iter().zip(from(DIGITS_MANY - 1));
        for ((byte, next), (third, last)) in two.zip(others) {
            mark |= is_mark(*byte);
            quoted |= (*byte == b'=') & (*third == b'=');
            turn |= runs::may_be_turn(*byte, *next) & runs::is_digit_behind_digits(*byte, *next, *last);
        }
        Self { mark, quoted, turn }
    }
}

#[cold]
fn padded(rest: &[u8]) -> [u8; SEEN_BYTES] {
    let mut seen = [b' '; SEEN_BYTES];
    for (byte, known) in seen.iter_mut().zip(rest) {
        *byte = *known;
    }
    seen
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
const fn is_mark(byte: u8) -> bool {
    // What is not seen ends at 0x7f, where what is no ASCII begins: one comparison for both.
    let is_high = byte.wrapping_sub(0x7f) < SHADOW_GAP - 0x7f;
    escapes::may_begin(byte) | escapes::is_low(byte) | is_high
}

/// How many bytes there are before the first one that begins an escape, is not seen, or belongs to a character outside
/// of ASCII.
pub(super) fn plain_bytes(text: &[u8]) -> usize {
    widely(
        #[inline(always)]
        || {
            let mut known = 0;
            while let Some(rest) = text.get(known..).filter(|rest| !rest.is_empty()) {
                let marks = first_bits(rest, is_mark);
                if marks != 0 {
                    return text.len().min(known + marks.trailing_zeros() as usize);
                }
                known += BLOCK_BYTES;
            }
            text.len()
        },
    )
}

/// Whether a run that touches a part of a text hides text. What lies before `known` was looked at.
fn holds_run(text: &[u8], from: usize, end: usize, known: &mut usize) -> bool {
    if end <= *known {
        return false;
    }
    let from = from.max(*known);
    let from = from - runs::members_at_end(text.get(*known..from).unwrap_or_default());
    *known = end + runs::members(text.get(end..).unwrap_or_default());
    holds_run_here(text.get(from..*known).unwrap_or_default())
}

/// The same, of a text in which every run is whole.
fn holds_run_here(text: &[u8]) -> bool {
    let mut at = runs::next(text, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let run = rest.get(..runs::members(rest)).unwrap_or_default();
        if run.chunks(RUN_BYTES_MAX).any(|piece| runs::decode(piece).is_some()) {
            return true;
        }
        at = runs::next(text, at + run.len());
    }
    false
}

const _: () = assert!(escapes::QUOTED_BYTES < DIGITS_MANY, "both are seen behind a chunk");
