//! What does the double say, and in which pieces?
//!
//! Needs a text or a number of bytes. Proves that pieces joined are the text, and that no piece splits a
//! character (only `cut` does that, on the wire). It knows no protocol.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::LazyLock;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Filler without anything that a scanner should find: no digits, no names, no addresses.
const PROSE: &str = "The river keeps its own time and does not ask the hills for leave. In the morning the \
                     mist lies low over the meadow, and the first light finds the reeds before it finds \
                     the road. ";

/// Length of the filler whose JSON spelling is kept ready: the answer length that benchmarks use.
const READY_BYTES: usize = 1024;

static READY: LazyLock<Option<Box<RawValue>>> =
    LazyLock::new(|| serde_json::value::to_raw_value(&prose(READY_BYTES)).ok());

/// A text, as JSON already spells it or as plain characters.
#[derive(Clone)]
pub(super) enum Text<'a> {
    /// A JSON string literal, passed on as it came: neither decoded nor escaped again.
    Literal(&'a RawValue),
    /// Characters.
    Plain(Cow<'a, str>),
}

impl<'a> Text<'a> {
    /// `bytes` bytes of filler prose.
    pub(super) fn filler(bytes: usize) -> Self {
        match READY.as_deref() {
            Some(ready) if bytes == READY_BYTES => Text::Literal(ready),
            _ => Text::Plain(Cow::Owned(prose(bytes))),
        }
    }

    /// The text that a JSON value stands for: a string's characters, or the value's own spelling.
    pub(super) fn of(value: &'a RawValue) -> Self {
        if value.get().starts_with('"') {
            Text::Literal(value)
        } else {
            Text::Plain(Cow::Borrowed(value.get()))
        }
    }

    /// The characters.
    pub(super) fn plain(&self) -> Cow<'_, str> {
        match self {
            // A lone surrogate escape is a JSON string and no text: it is then shown as it is spelt.
            Text::Literal(literal) => {
                serde_json::from_str(literal.get()).map_or_else(|_| Cow::Borrowed(literal.get()), Cow::Owned)
            }
            Text::Plain(plain) => Cow::Borrowed(plain),
        }
    }

    /// Length in bytes: exact for plain text, as spelt for a literal.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Text::Literal(literal) => literal.get().len().saturating_sub(2),
            Text::Plain(plain) => plain.len(),
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Text::Literal(literal) => literal.serialize(serializer),
            Text::Plain(plain) => serializer.serialize_str(plain),
        }
    }
}

fn prose(bytes: usize) -> String {
    let mut text = PROSE.repeat(bytes.div_ceil(PROSE.len()));
    text.truncate(bytes);
    text
}

/// Whether the word is said that makes the double call a tool.
pub(super) fn says_tool(text: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case("tool"))
}

/// The double's idea of a token: four bytes of text, and at least one for any text.
pub(super) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// How a text is shared out over deltas.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    /// So many characters in each; the last may have fewer.
    Characters(NonZeroUsize),
    /// So many deltas, as equal as possible; fewer only if the text has fewer characters.
    Deltas(NonZeroUsize),
}

/// Shares `text` out. At most `pieces_max` pieces: they grow rather than become more.
pub(super) fn pieces(text: &str, share: Share, pieces_max: usize) -> Vec<&str> {
    let characters = if text.is_ascii() { text.len() } else { text.chars().count() };
    let wanted = match share {
        Share::Characters(each) => characters.div_ceil(each.get()),
        Share::Deltas(count) => count.get().min(characters),
    };
    let count = wanted.clamp(1, pieces_max.max(1));
    let size_of = |index: usize| match share {
        Share::Characters(each) if count == wanted => each.get(),
        // Equal shares: the difference of neighbouring rounded-down borders.
        Share::Characters(_) | Share::Deltas(_) => {
            border(index + 1, characters, count) - border(index, characters, count)
        }
    };
    let mut rest = text;
    let mut pieces = Vec::with_capacity(count);
    for index in 0..count {
        let (piece, after) = split_characters(rest, size_of(index));
        if !piece.is_empty() {
            pieces.push(piece);
        }
        rest = after;
    }
    pieces
}

fn border(index: usize, characters: usize, count: usize) -> usize {
    // Both factors are bounded (64 MiB of text, 100 000 deltas), so the product fits 64 bits; saturation
    // keeps smaller machines from overflowing.
    index.saturating_mul(characters) / count
}

fn split_characters(text: &str, characters: usize) -> (&str, &str) {
    let at = match text.as_bytes().get(..characters) {
        Some(start) if start.is_ascii() => characters,
        Some(_) | None => text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at),
    };
    text.split_at_checked(at).unwrap_or((text, ""))
}
