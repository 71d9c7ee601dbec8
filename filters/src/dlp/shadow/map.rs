//! Where in a text does each byte of its shadow come from?
//!
//! A list of pieces: stretches that are the same in both, and parts of the shadow that stand for a whole part of the
//! text, whichever of their bytes is meant. What the shadow leaves out lies between pieces. Offsets count from the
//! beginning of a text, also where its beginning was let go of.

use std::ops::Range;

/// A part of a shadow, up to the next piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Where it begins in the shadow.
    shadow: usize,
    /// Where it begins in the text.
    text: usize,
    /// Bytes of the text that it stands for as a whole; 0: byte for byte the same.
    whole: usize,
}

/// The map from a shadow to its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pieces: Vec<Piece>,
}

impl Map {
    /// From here on the shadow is the text.
    pub(super) fn same(&mut self, shadow: usize, text: usize) {
        let goes_on = self.pieces.last().is_some_and(|last| {
            last.whole == 0 && text.checked_sub(last.text) == shadow.checked_sub(last.shadow)
        });
        if !goes_on {
            self.pieces.push(Piece { shadow, text, whole: 0 });
        }
    }

    /// From here on the shadow stands for these bytes of the text.
    pub(super) fn whole(&mut self, shadow: usize, text: Range<usize>) {
        self.pieces.push(Piece { shadow, text: text.start, whole: text.len() });
    }

    /// Forgets what was said of the shadow from here on.
    pub(super) fn truncate(&mut self, shadow: usize) {
        let kept = self.pieces.partition_point(|piece| piece.shadow < shadow);
        self.pieces.truncate(kept);
    }

    /// Forgets what was said of the shadow before this.
    pub(super) fn forget(&mut self, shadow: usize) {
        let past = self.pieces.partition_point(|piece| piece.shadow <= shadow);
        self.pieces.drain(..past.saturating_sub(1));
    }

    /// Whether the shadow is the text from its beginning on.
    pub(super) fn is_identity(&self) -> bool {
        self.is_same() && self.pieces.iter().all(|piece| piece.shadow == piece.text)
    }

    /// Whether the shadow is the text, byte for byte, as far as it was not forgotten.
    pub(super) fn is_same(&self) -> bool {
        self.pieces.len() <= 1 && self.pieces.iter().all(|piece| piece.whole == 0)
    }

    /// The parts of a shadow of this length that differ from the text, and the places between which text is left out.
    pub(super) fn differences(&self, length: usize) -> impl Iterator<Item = Range<usize>> {
        let ends = self.pieces.iter().skip(1).map(|next| next.shadow).chain([length]);
        let all = self.pieces.iter().zip(ends).map(|(piece, end)| match piece.whole {
            0 => piece.shadow..piece.shadow,
            _ => piece.shadow..end,
        });
        // Something may be left out at the end, too.
        all.chain(std::iter::once(length..length))
    }

    /// Where in the text the byte at `shadow` begins.
    pub(super) fn start_of(&self, shadow: usize) -> usize {
        let past = self.pieces.partition_point(|piece| piece.shadow <= shadow);
        match past.checked_sub(1).and_then(|at| self.pieces.get(at)) {
            None => 0,
            Some(piece) if piece.whole > 0 => piece.text,
            Some(piece) => piece.text + (shadow - piece.shadow),
        }
    }

    /// Where in the text the byte before `shadow` ends.
    pub(super) fn end_of(&self, shadow: usize) -> usize {
        let past = self.pieces.partition_point(|piece| piece.shadow < shadow);
        match past.checked_sub(1).and_then(|at| self.pieces.get(at)) {
            None => 0,
            Some(piece) if piece.whole > 0 => piece.text + piece.whole,
            Some(piece) => piece.text + (shadow - piece.shadow),
        }
    }

    /// How much of the shadow comes from what stands before this place of the text.
    pub(super) fn before(&self, text: usize) -> usize {
        let past = self.pieces.partition_point(|piece| piece.text <= text);
        let next = self.pieces.get(past).map_or(usize::MAX, |piece| piece.shadow);
        match past.checked_sub(1).and_then(|at| self.pieces.get(at)) {
            None => 0,
            Some(piece) if piece.whole > 0 => piece.shadow,
            Some(piece) => next.min(piece.shadow + (text - piece.text)),
        }
    }
}
