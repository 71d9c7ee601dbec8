//! Where do values come back that were taken out of the prompt?
//!
//! Needs the placeholders of the exchange and a text that was scanned already; yields the text with values in the place
//! of placeholders, escaped as deep as they stand. Text from `[` on waits as long as it may still be a placeholder, and
//! a placeholder for the two characters behind it; nothing else waits. What a model altered, invented, or put into an
//! address stays as it is. Values are not scanned again.

#[cfg(test)]
mod tests;

use super::nesting::Level;
use super::surroundings::{self, Surroundings};
use crate::dlp::Judge;
use crate::dlp::lane::Syntax;
use crate::dlp::originals::{Beginning, Originals};
use crate::dlp::projection::{self, Form, Part, Positions, Projection, Unreadable};
use crate::dlp::splice::{self, Edit};
use crate::json;
use std::borrow::Cow;

/// In one answer, values of so many bytes are put back: a model cannot fill the memory with few words.
pub(super) const RESTORED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// In deeper strings nothing is put back: each level doubles what escapes take.
const DEPTH_MAX: usize = 8;
/// What a block of code in Markdown begins with.
const FENCE_TICKS: u32 = 3;

/// An answer in one piece, which was scanned, with values put back into the parts that have a `restorer`.
pub(super) fn whole<P: Positions>(
    judge: &Judge<'_>,
    body: Vec<u8>,
    restorer: impl Fn(&[u8], &Projection<P::Role>, &Part<P::Role>) -> Option<Restorer>,
) -> Result<Vec<u8>, Unreadable> {
    let Some(originals) = judge.originals() else { return Ok(body) };
    let projection = projection::project::<P>(&body)?;
    let (mut edits, mut left) = (Vec::new(), RESTORED_BYTES_MAX);
    for part in projection.parts.iter().filter(|part| matches!(part.form, Form::Plain | Form::Escaped)) {
        let Some(mut restorer) = restorer(&body, &projection, part) else { continue };
        let (mut at, mut cursor) = (part.value, json::Cursor::default());
        let text = projection.value(part);
        restorer.push(originals, &text, true, &mut left, &mut |piece| match piece {
            Piece::Same(text) => at += text.len(),
            Piece::Value(length, value) => {
                let raw = part.raw_span(&body, &(at..at + length), &mut cursor);
                let mut with = Vec::with_capacity(value.len() + 8);
                json::escape(value, &mut with);
                edits.push(Edit { raw, with: Cow::Owned(with) });
                at += length;
            }
        });
    }
    Ok(if edits.is_empty() { body } else { splice::splice(&body, edits) })
}

/// One text of an answer.
#[derive(Debug)]
pub(super) struct Restorer {
    held: String,
    syntax: Syntax,
    surroundings: Surroundings,
    level: Level,
    /// Ticks at the begin of this line, as long as there is nothing else.
    ticks: Option<u32>,
    has_fences: bool,
    /// The line began as that of a fence.
    is_fence: bool,
    /// Nothing more is put back.
    is_stopped: bool,
}

/// A part of what may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// As it was said.
    Same(&'a str),
    /// Instead of so many bytes.
    Value(usize, &'a str),
}

impl Restorer {
    /// For a text before its first byte.
    pub(super) fn new(syntax: Syntax) -> Self {
        Self {
            held: String::new(),
            syntax,
            surroundings: Surroundings::default(),
            level: Level::default(),
            ticks: Some(0),
            has_fences: syntax == Syntax::Plain,
            is_fence: false,
            is_stopped: false,
        }
    }

    /// For a string of JSON that was taken out of it.
    pub(super) fn of_a_string() -> Self {
        let surroundings = Surroundings::of_a_string();
        Self { surroundings, has_fences: false, ..Self::new(Syntax::Plain) }
    }

    /// From here on everything stays as it is.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Whether nothing waits.
    pub(super) fn is_drained(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes more of the text and hands on what is decided; `left` is how much may still be put back. With
    /// `is_complete`, nothing follows.
    pub(super) fn push(
        &mut self,
        originals: &Originals,
        text: &str,
        is_complete: bool,
        left: &mut usize,
        each: &mut dyn FnMut(Piece<'_>),
    ) {
        let mut held = std::mem::take(&mut self.held);
        let text = if held.is_empty() {
            text
        } else {
            held.push_str(text);
            &held
        };
        let mut rest = text;
        while !rest.is_empty() {
            let same = rest.find('[').unwrap_or(rest.len());
            let (before, from) = rest.split_at_checked(same).unwrap_or((rest, ""));
            self.pass(before, each);
            rest = from;
            let (length, value) = match originals.beginning(rest) {
                Beginning::Part if !is_complete => break,
                Beginning::Part | Beginning::Nothing => (usize::from(!rest.is_empty()), None),
                Beginning::Whole(length, value) => {
                    let behind = rest.get(length..).unwrap_or_default();
                    match surroundings::ends_before(behind, self.level.depth() > 0, is_complete) {
                        None => break,
                        Some(stands_alone) => (length, Some(value).filter(|_| stands_alone)),
                    }
                }
            };
            let (here, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            let value = value.filter(|_| self.may_restore()).map(|value| self.escaped(value));
            if let Some(value) = value.filter(|value| value.len() <= *left) {
                *left -= value.len();
                self.read(&value);
                each(Piece::Value(length, &value));
            } else {
                self.pass(here, each);
            }
            rest = behind;
        }
        self.held = String::from(rest);
    }

    fn may_restore(&self) -> bool {
        let is_inside = match self.syntax {
            Syntax::Plain => self.surroundings.are_safe(),
            Syntax::Json => self.level.depth() > 0,
        };
        is_inside && !self.is_stopped && self.level.depth() <= DEPTH_MAX && self.level.is_safe()
    }

    fn escaped(&self, value: &str) -> String {
        let mut text = value.to_owned();
        for _ in 0..self.level.depth() {
            let mut deeper = Vec::with_capacity(text.len() + 8);
            json::escape(&text, &mut deeper);
            text = String::from_utf8(deeper).unwrap_or_default();
        }
        text
    }

    fn pass(&mut self, text: &str, each: &mut dyn FnMut(Piece<'_>)) {
        if !text.is_empty() {
            self.read(text);
            each(Piece::Same(text));
        }
    }

    /// Reads what leaves: a value may be the begin of an address, too.
    fn read(&mut self, text: &str) {
        for one in text.chars() {
            self.level.read(one);
            if self.syntax == Syntax::Json {
                continue;
            }
            self.surroundings.read(one);
            match (one, self.ticks) {
                ('\n', _) => {
                    if std::mem::take(&mut self.is_fence) && self.has_fences {
                        // A block of code may be JSON though the text is not.
                        self.level = Level::default();
                    }
                    self.ticks = Some(0);
                }
                ('`', Some(ticks)) => {
                    self.ticks = Some(ticks + 1);
                    self.is_fence |= ticks + 1 >= FENCE_TICKS;
                }
                _ => self.ticks = None,
            }
        }
    }
}
