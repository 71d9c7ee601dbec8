//! Could this text read as something else than it says?
//!
//! A cheap look at every text, so that plain ASCII pays next to nothing for shadows. It may say yes where nothing
//! comes of it, never no where something would.

use super::runs::{self, RUN_BYTES_MAX};
use super::{SHADOW_GAP, escapes};

/// Bytes looked at together: a loop that compilers turn into vectors.
const CHUNK_BYTES: usize = 32;

/// Whether a text, or one of several with a byte 0xff between them, needs a shadow.
pub(super) fn is_needed(text: &[u8]) -> bool {
    plain_bytes(text) < text.len() || holds_quoted(text) || holds_run(text)
}

/// How many bytes there are before the first one that begins an escape, is not seen, or belongs to a character outside
/// of ASCII.
pub(super) fn plain_bytes(text: &[u8]) -> usize {
    // What is not seen ends at 0x7f, where what is no ASCII begins: one comparison for both.
    let is_high = |byte: u8| byte.wrapping_sub(0x7f) < SHADOW_GAP - 0x7f;
    let is_mark = |byte: u8| escapes::may_begin(byte) | escapes::is_low(byte) | is_high(byte);
    let (chunks, _) = text.as_chunks::<CHUNK_BYTES>();
    let holds_mark = |chunk: &[u8; CHUNK_BYTES]| chunk.iter().fold(false, |any, byte| any | is_mark(*byte));
    let from = chunks.iter().position(holds_mark).unwrap_or(chunks.len()) * CHUNK_BYTES;
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| is_mark(*byte)).unwrap_or(rest.len())
}

/// Whether something is quoted-printable. Only where two of its signs stand as far apart as they must it looks closer.
fn holds_quoted(text: &[u8]) -> bool {
    (0..text.len()).step_by(CHUNK_BYTES).any(|from| {
        let rest = text.get(from..).unwrap_or_default();
        let here = rest.len().min(CHUNK_BYTES);
        let is_suspect = match rest.first_chunk::<{ CHUNK_BYTES + escapes::QUOTED_BYTES }>() {
            Some(chunk) => escapes::holds_signs(chunk),
            None => escapes::holds_signs(rest),
        };
        is_suspect && escapes::quoted_from(rest, here, true, false) < here
    })
}

/// Whether a run hides text. Only around bytes that turn from one kind to another it looks for runs at all.
fn holds_run(text: &[u8]) -> bool {
    let mut known = 0;
    for from in (0..text.len()).step_by(CHUNK_BYTES) {
        let end = text.len().min(from + CHUNK_BYTES);
        let is_suspect = match text.get(from..).and_then(|rest| rest.first_chunk::<{ CHUNK_BYTES + 1 }>()) {
            Some(chunk) => runs::holds_turn(chunk),
            None => runs::holds_turn(text.get(from..).unwrap_or_default()),
        };
        if !is_suspect || end <= known {
            continue;
        }
        let from = from.max(known);
        let from = from - runs::members_at_end(text.get(known..from).unwrap_or_default());
        known = end + members(text.get(end..).unwrap_or_default());
        if holds_run_here(text.get(from..known).unwrap_or_default()) {
            return true;
        }
    }
    false
}

/// The same, of a text in which every run is whole.
fn holds_run_here(text: &[u8]) -> bool {
    let mut at = runs::next(text, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let run = rest.get(..members(rest)).unwrap_or_default();
        if run.chunks(RUN_BYTES_MAX).any(|piece| runs::decode(piece).is_some()) {
            return true;
        }
        at = runs::next(text, at + run.len());
    }
    false
}

/// How many bytes of a run a text begins with.
fn members(text: &[u8]) -> usize {
    text.iter().position(|byte| !runs::is_member(*byte)).unwrap_or(text.len())
}
