//! Which cells that stand close together are of one record?
//!
//! Keeps the cells of the last few hundred bytes, and for each rare one its rows, with the columns of them that
//! were seen near it. Only a row of which enough columns were seen is counted in earnest. So the work for a cell
//! is bounded by the window and by the rows that a rare cell may have, however common other cells are. Offsets
//! count from the beginning of a text, also where that was let go of. The answer does not depend on the order in
//! which cells come.

use super::layout::{File, NO_CELL};
use std::collections::VecDeque;
use std::ops::Range;

/// A cell that was found in a text.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    span: Range<usize>,
    cell: u32,
    /// Its rows; none if it is common.
    rows: Box<[Row]>,
    /// All cells of its rows, row after row.
    cells: Box<[u32]>,
    is_told: bool,
}

/// A row of a rare cell.
#[derive(Clone, Copy, Debug)]
struct Row {
    number: u32,
    /// The columns that were seen near, a bit each.
    seen: u16,
}

/// What makes cells a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) columns_min: usize,
    pub(super) within: usize,
}

/// The cells of a window of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Hits(VecDeque<Hit>);

impl Hit {
    pub(super) fn new(file: &File, span: Range<usize>, cell: u32) -> Self {
        let rows: Box<[Row]> = file.rows(cell).map(|number| Row { number, seen: 0 }).collect();
        let cells = rows.iter().flat_map(|row| file.row(row.number)).collect();
        let mut hit = Self { span, cell, rows, cells, is_told: false };
        hit.see(cell, file.columns());
        hit
    }

    /// A cell stands near this one.
    fn see(&mut self, cell: u32, columns: usize) {
        if !self.holds(cell) {
            return;
        }
        for (row, cells) in self.rows.iter_mut().zip(self.cells.chunks(columns)) {
            // A cell is one column of its row, also where two are equal.
            if let Some(column) = cells.iter().position(|there| *there == cell) {
                row.seen |= 1 << column;
            }
        }
    }

    /// Whether any of its rows holds this cell: all of them looked at together.
    fn holds(&self, cell: u32) -> bool {
        let (blocks, rest) = self.cells.as_chunks::<16>();
        // Without a way out in between, so that a compiler compares many at once.
        let is_in = |block: &[u32; 16]| block.iter().fold(0, |any, there| any | u8::from(*there == cell)) > 0;
        blocks.iter().any(is_in) || rest.contains(&cell)
    }

    /// Its rows that hold this cell and of which enough columns were seen, with their cells.
    fn rows_with(&self, cell: u32, columns: usize, least: usize) -> impl Iterator<Item = (u32, &[u32])> {
        let rows = self.rows.iter().zip(self.cells.chunks(columns));
        let rows =
            rows.filter(move |(row, cells)| row.seen.count_ones() as usize >= least && cells.contains(&cell));
        rows.map(|(row, cells)| (row.number, cells))
    }
}

impl Hits {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All cells that begin before this are known: forgets those that no other one can be close to.
    pub(super) fn forget(&mut self, known: usize, within: usize) {
        while self.0.front().is_some_and(|hit| hit.span.start + within <= known) {
            self.0.pop_front();
        }
    }

    /// Where the first cell begins of which it is not known whether it is a finding; nowhere, if that is
    /// behind `known`.
    pub(super) fn undecided(&self, known: usize, within: usize) -> usize {
        let waits = self.0.iter().filter(|hit| !hit.is_told && hit.span.start + within > known);
        waits.map(|hit| hit.span.start).fold(known, usize::min)
    }

    /// Takes another cell, and tells all cells that are findings now and were not before.
    pub(super) fn take(
        &mut self,
        file: &File,
        mut hit: Hit,
        wanted: Wanted,
        mut tell: impl FnMut(Range<usize>),
    ) {
        let columns = file.columns();
        let around = hit.span.end.saturating_sub(wanted.within)..hit.span.start + wanted.within;
        let mut rows: Vec<(u32, Box<[u32]>)> = Vec::new();
        for other in self.0.iter_mut().filter(|other| other.is_in(&around)) {
            other.see(hit.cell, columns);
            hit.see(other.cell, columns);
            if other.holds(hit.cell) {
                let with = other.rows_with(hit.cell, columns, wanted.columns_min);
                rows.extend(with.map(|(row, cells)| (row, cells.into())));
            }
        }
        let own = hit.rows_with(hit.cell, columns, wanted.columns_min);
        rows.extend(own.map(|(row, cells)| (row, cells.into())));
        rows.sort_unstable_by_key(|(row, _)| *row);
        rows.dedup_by_key(|(row, _)| *row);
        self.0.push_back(hit);
        for (_, cells) in rows {
            self.count(&cells, &around, wanted, &mut tell);
        }
    }

    /// Tells the cells of one row that stand close together, around a place.
    fn count(
        &mut self,
        cells: &[u32],
        around: &Range<usize>,
        wanted: Wanted,
        tell: &mut impl FnMut(Range<usize>),
    ) {
        let column = |cell: u32| cells.iter().position(|there| *there == cell && cell != NO_CELL);
        let near = || self.0.iter().enumerate().filter(|(_, hit)| hit.is_in(around));
        if !near().any(|(_, hit)| !hit.is_told && column(hit.cell).is_some()) {
            return;
        }
        let of_row = near().filter_map(|(place, hit)| Some((hit.span.clone(), column(hit.cell)?, place)));
        let mut of_row: Vec<(Range<usize>, usize, usize)> = of_row.collect();
        of_row.sort_unstable_by_key(|(span, ..)| (span.start, std::cmp::Reverse(span.end)));
        // A first name within a whole name is no second cell.
        let mut reached = 0;
        of_row.retain(|(span, ..)| {
            let is_outer = span.end > reached;
            reached = reached.max(span.end);
            is_outer
        });
        for (from, (first, ..)) in of_row.iter().enumerate() {
            let last = first.start + wanted.within;
            let inside = || of_row.iter().skip(from).take_while(|(span, ..)| span.end <= last);
            let seen: u32 = inside().fold(0, |seen, (_, column, _)| seen | 1 << column);
            if (seen.count_ones() as usize) < wanted.columns_min {
                continue;
            }
            for (span, _, place) in inside() {
                if let Some(hit) = self.0.get_mut(*place).filter(|hit| !hit.is_told) {
                    hit.is_told = true;
                    tell(span.clone());
                }
            }
        }
    }
}

impl Hit {
    fn is_in(&self, place: &Range<usize>) -> bool {
        self.span.start >= place.start && self.span.end <= place.end
    }
}
