//! Does a text hold a record of an organisation's table? At least so many of its cells, close together.
//!
//! The table is never here: its cells are keyed hashes in a file that `palisade exact build` made ([`layout`]
//! says what shows of it). Words of a text, the words that follow them, and groups of numbers are put into the
//! form that cells have ([`cells`]) and hashed with the same key; what is a cell becomes a [`rows::Hit`]. Cells
//! of one record within a window are findings, each where it stands. A cell of more than
//! [`layout::ROWS_OF_CELL_MAX`] records supports a rarer one and says nothing by itself, so no text makes this
//! slow. What a text says up to a place is decided at most one window behind it: so a stream is the whole,
//! however it was cut.

pub mod build;
mod cells;
mod layout;
mod rows;
#[cfg(test)]
mod tests;

pub use build::Builder;
pub use layout::{COLUMNS_MAX, ROWS_OF_CELL_MAX, SECRET_BYTES_MIN, Unusable};

use super::matcher::View;
use super::tokens::{self, Step, Sweep, Word};
use crate::secret::Secret;
use bytes::Bytes;
use layout::{File, beginning_bits, cell_bits};
use rows::{Hit, Hits, Wanted};
use std::ops::Range;

/// The window, where none is said.
pub const WITHIN_BYTES: usize = 200;
/// The widest window: with the last cell in it, a stream waits for less than 576 bytes.
pub const WITHIN_BYTES_MAX: usize = 400;
/// A cell takes no more of a text than this.
const SPAN_BYTES_MAX: usize = 160;
/// Longer words take a longer way.
const SHORT_BYTES: usize = 16;
/// Groups of a number.
const GROUPS_MAX: usize = 8;
/// Bytes between two of them.
const GROUP_GAP_BYTES_MAX: usize = 3;
/// How far around a place a text is read for what is found in it.
const REACH_BYTES: usize = WITHIN_BYTES_MAX + SPAN_BYTES_MAX + tokens::WORD_BYTES_MAX;

/// A table that can be asked.
#[derive(Clone, Debug)]
pub struct Table {
    file: File,
    wanted: Wanted,
}

/// How a table cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskProblem {
    /// One cell is no record.
    #[error("`columns_min` is at least 2 and at most the {0} columns of the table")]
    Columns(u32),
    /// The window is too wide, or nothing fits into it.
    #[error("`within_bytes` lies between 16 and {WITHIN_BYTES_MAX}")]
    Within,
}

/// The state of reading one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    sweep: Sweep,
    /// Words that may begin a cell which goes on in text to come.
    open: Vec<usize>,
    /// Bytes of the text that were let go of.
    dropped: usize,
    hits: Hits,
    reads: Vec<u8>,
}

impl Table {
    /// Opens a file. Any bytes may be given.
    pub fn open(file: Bytes, secret: &Secret) -> Result<Self, Unusable> {
        let wanted = Wanted { columns_min: 2, within: WITHIN_BYTES };
        Ok(Self { file: File::open(file, secret)?, wanted })
    }

    /// Finds records of which so many columns stand within so many bytes.
    pub fn asked(mut self, columns_min: usize, within_bytes: usize) -> Result<Self, AskProblem> {
        if !(2..=self.file.columns()).contains(&columns_min) {
            return Err(AskProblem::Columns(self.file.sizes.columns));
        }
        if !(16..=WITHIN_BYTES_MAX).contains(&within_bytes) {
            return Err(AskProblem::Within);
        }
        self.wanted = Wanted { columns_min, within: within_bytes };
        Ok(self)
    }

    /// Bytes that it takes up.
    pub fn bytes(&self) -> usize {
        self.file.bytes()
    }

    /// How many records it has.
    pub fn records(&self) -> u32 {
        self.file.sizes.rows
    }

    /// The cells of records in a whole text, in the order of their places.
    pub fn scan(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.scan_place(text, 0..text.len(), &mut found);
        found
    }

    /// Everything in a whole text that has to do with a place in it.
    pub(super) fn scan_place(&self, text: &[u8], place: Range<usize>, found: &mut Vec<Range<usize>>) {
        let start = place.start.saturating_sub(REACH_BYTES);
        let end = text.len().min(place.end.saturating_add(REACH_BYTES));
        let view = View { text: text.get(..end).unwrap_or_default(), complete: end == text.len() };
        let mut reading = Reading { sweep: Sweep::from(text, start), ..Reading::default() };
        let mut here = Vec::new();
        reading.advance(self, view, &mut here);
        here.sort_unstable_by_key(|span| (span.start, span.end));
        found.append(&mut here);
    }
}

impl Reading {
    /// Reads on. `view` is the text from some point on; what it held at the last call it still holds. Appends what is
    /// decided and returns the offset before which nothing can be found any more.
    pub(super) fn advance(&mut self, table: &Table, view: View<'_>, found: &mut Vec<Range<usize>>) -> usize {
        let Self { sweep, open, dropped, hits, reads } = self;
        let mut look = Look { table, view, reads, open: Vec::new(), dropped: *dropped, hits, found };
        for start in std::mem::take(open) {
            look.reads.clear();
            if let Step::Word(end) = tokens::word(view, start, look.reads) {
                look.ask(start, end);
            }
        }
        sweep.run(view, |word| look.word(word));
        *open = look.open;
        if view.complete {
            return view.text.len();
        }
        let (known, within) = (self.needed_from(), table.wanted.within);
        self.hits.forget(known + self.dropped, within);
        self.hits.undecided(known + self.dropped, within).saturating_sub(self.dropped)
    }

    /// The first byte that an open cell or the next word looks at.
    pub(super) fn needed_from(&self) -> usize {
        self.open.iter().copied().fold(self.sweep.at(), usize::min)
    }

    /// Whether nothing waits for more text.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.hits.is_empty()
    }

    /// The text now begins `by` bytes later.
    pub(super) fn forget(&mut self, by: usize) {
        self.sweep.forget(by);
        self.open.iter_mut().for_each(|start| *start -= by);
        self.dropped += by;
    }
}

/// Asks about words of one view.
struct Look<'a> {
    table: &'a Table,
    view: View<'a>,
    reads: &'a mut Vec<u8>,
    open: Vec<usize>,
    dropped: usize,
    hits: &'a mut Hits,
    found: &'a mut Vec<Range<usize>>,
}

impl Look<'_> {
    fn word(&mut self, word: Word<'_>) {
        if self.is_elsewhere(&word) {
            return;
        }
        self.reads.clear();
        if let Some(reads) = word.reads {
            self.reads.extend_from_slice(reads);
        } else {
            self.reads.extend_from_slice(self.view.text.get(word.start..word.end).unwrap_or_default());
            self.reads.make_ascii_lowercase();
        }
        self.ask(word.start, word.end);
    }

    /// Whether a short word of ASCII is told at once to begin no cell: nearly all of them are.
    #[inline]
    fn is_elsewhere(&self, word: &Word<'_>) -> bool {
        let bytes = word.end - word.start;
        let chunk = self.view.text.get(word.start..).and_then(|rest| rest.first_chunk::<SHORT_BYTES>());
        let Some(chunk) = chunk.filter(|_| word.reads.is_none() && bytes <= SHORT_BYTES) else {
            return false;
        };
        let lower = chunk.map(|byte| byte | 0x20);
        let Some(reads) = lower.get(..bytes) else { return false };
        let hash = self.table.file.hasher.hash(reads);
        let bits = self.table.file.filter(hash);
        let may_be = |wanted: u64| bits & wanted == wanted;
        let is_in_no_cell = !may_be(cell_bits(hash)) && !may_be(beginning_bits(hash));
        is_in_no_cell && !reads.iter().any(u8::is_ascii_digit)
    }

    /// All cells that begin with the word which `reads` holds.
    fn ask(&mut self, start: usize, end: usize) {
        let is_number = cells::is_part_of_number(self.reads);
        let hash = self.table.file.hasher.hash(self.reads);
        let bits = self.table.file.filter(hash);
        let is_cell = bits & cell_bits(hash) == cell_bits(hash);
        let goes_on = bits & beginning_bits(hash) == beginning_bits(hash);
        if !is_cell && !goes_on && !is_number {
            return;
        }
        let mut found = Vec::new();
        if let Some(cell) = is_cell.then(|| self.table.file.cell(hash)).flatten() {
            found.push((end, cell));
        }
        let word = self.reads.len();
        let is_open = (is_number && self.number(start, end, &mut found)) || {
            self.reads.truncate(word);
            goes_on && self.words(start, end, &mut found)
        };
        if is_open {
            // It is asked again with more text, for all of it.
            self.open.push(start);
            return;
        }
        let (dropped, wanted) = (self.dropped, self.table.wanted);
        let known = self.open.iter().copied().fold(start, usize::min) + dropped;
        self.hits.forget(known, wanted.within);
        for (end, cell) in found {
            let hit = Hit::new(&self.table.file, start + dropped..end + dropped, cell);
            self.hits.take(&self.table.file, hit, wanted, |span| {
                self.found.push(span.start.saturating_sub(dropped)..span.end.saturating_sub(dropped));
            });
        }
    }

    /// Cells of more words, from the end of the first one on. Says whether that depends on text to come.
    fn words(&mut self, start: usize, end: usize, found: &mut Vec<(usize, u32)>) -> bool {
        let mut at = end;
        loop {
            match tokens::step(self.view, at, self.reads) {
                Step::Word(next) if next - start <= SPAN_BYTES_MAX => at = next,
                Step::Word(_) | Step::No => return false,
                Step::Open => return self.view.text.len() - start <= SPAN_BYTES_MAX,
            }
            let hash = self.table.file.hasher.hash(self.reads);
            let bits = self.table.file.filter(hash);
            if bits & cell_bits(hash) == cell_bits(hash)
                && let Some(cell) = self.table.file.cell(hash)
            {
                found.push((at, cell));
            }
            if bits & beginning_bits(hash) != beginning_bits(hash) {
                return false;
            }
        }
    }

    /// Numbers that are written in groups, of which the first one ends there.
    fn number(&mut self, start: usize, end: usize, found: &mut Vec<(usize, u32)>) -> bool {
        let mut at = end;
        let mut between = Vec::new();
        for _ in 1..GROUPS_MAX {
            between.clear();
            let group = match tokens::between(self.view, at, &mut between) {
                Step::Word(group) => group,
                Step::Open => return self.view.text.len() - at <= GROUP_GAP_BYTES_MAX,
                Step::No => return false,
            };
            let is_gap = between.iter().all(|byte| cells::may_stand_in_number(*byte));
            if !is_gap || group - at > GROUP_GAP_BYTES_MAX || group == at {
                return false;
            }
            let before = self.reads.len();
            match tokens::word(self.view, group, self.reads) {
                Step::Word(end) if end - start <= SPAN_BYTES_MAX => at = end,
                Step::Word(_) | Step::No => return false,
                Step::Open => return self.view.text.len() - start <= SPAN_BYTES_MAX,
            }
            let is_group = cells::is_part_of_number(self.reads.get(before..).unwrap_or_default());
            // Lengths of numbers that the table has: this one, and longer ones.
            let lengths = self.table.file.lengths.checked_shr(self.reads.len() as u32).unwrap_or(0);
            if !is_group || lengths == 0 {
                return false;
            }
            if lengths & 1 == 0 {
                continue;
            }
            let hash = self.table.file.hasher.hash(self.reads);
            if self.table.file.filter(hash) & cell_bits(hash) == cell_bits(hash)
                && let Some(cell) = self.table.file.cell(hash)
            {
                found.push((at, cell));
            }
        }
        false
    }
}
