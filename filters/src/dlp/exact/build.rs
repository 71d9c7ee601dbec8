//! From records to a table file: each cell hashed, each row as the numbers of its cells.
//!
//! Needs records in any order, a secret and a salt; yields the bytes of a file, the same for the same. It reads no
//! files, and it keeps no cell: only hashes, from its first record on.

use super::cells::{Form, Unfit};
use super::layout::{
    COLUMNS_MAX, COMMON, Hasher, LIST, MAGIC, NO_CELL, ROWS_OF_CELL_MAX, SALT_BYTES, Sizes, Unusable,
    VERSION, beginning_bits, cell_bits, share,
};
use crate::secret::Secret;
use std::collections::HashSet;

/// Records of one table.
pub const ROWS_MAX: usize = 10_000_000;
/// Bits of the filter for each cell and each beginning.
const FILTER_BITS: usize = 10;
/// Cells of a bucket, on average.
const BUCKET_CELLS: usize = 4;

/// Makes a table of records.
#[derive(Debug)]
pub struct Builder {
    hasher: Hasher,
    salt: [u8; SALT_BYTES],
    columns: Vec<ColumnReport>,
    rows: u32,
    rows_twice: u64,
    /// Which records there were.
    known: HashSet<u64>,
    cells: Vec<Cell>,
    beginnings: Vec<u64>,
    lengths: u64,
}

/// A cell of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    hash: u64,
    row: u32,
    column: u32,
}

/// What became of the cells of one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnReport {
    /// Looked for.
    pub taken: u64,
    /// Of these, in so many rows that they only support others.
    pub common: u64,
    /// Left out: nothing is in them.
    pub empty: u64,
    /// Left out: they would be found everywhere.
    pub short: u64,
    /// Left out: longer than is looked for.
    pub long: u64,
}

/// A table and what became of its records.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file.
    pub bytes: Vec<u8>,
    /// Records that are in it.
    pub rows: u32,
    /// Records that said what another one did.
    pub rows_twice: u64,
    /// Different cells.
    pub cells: u32,
    /// By column.
    pub columns: Vec<ColumnReport>,
}

/// Why a record cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// It has other columns.
    #[error("it has {there} columns where {wanted} were named")]
    Columns {
        /// That it has.
        there: usize,
        /// That were named.
        wanted: usize,
    },
    /// There are too many.
    #[error("a table takes at most {ROWS_MAX} records; make two of it")]
    Rows,
}

impl Builder {
    /// For records of so many columns. The salt is random.
    pub fn new(secret: &Secret, salt: [u8; SALT_BYTES], columns: usize) -> Result<Self, Unusable> {
        let hasher = Hasher::new(secret, salt)?;
        Ok(Self {
            hasher,
            salt,
            columns: vec![ColumnReport::default(); columns.clamp(1, COLUMNS_MAX)],
            rows: 0,
            rows_twice: 0,
            known: HashSet::new(),
            cells: Vec::new(),
            beginnings: Vec::new(),
            lengths: 0,
        })
    }

    /// Takes a record, by column.
    pub fn push<'a>(&mut self, record: impl ExactSizeIterator<Item = &'a str>) -> Result<(), BuildError> {
        if record.len() != self.columns.len() {
            return Err(BuildError::Columns { there: record.len(), wanted: self.columns.len() });
        }
        if self.rows as usize == ROWS_MAX {
            return Err(BuildError::Rows);
        }
        let first = self.cells.len();
        for (column, (cell, report)) in record.zip(&mut self.columns).enumerate() {
            let form = match Form::of(cell) {
                Ok(form) => form,
                Err(Unfit::Empty) => {
                    report.empty += 1;
                    continue;
                }
                Err(Unfit::Short) => {
                    report.short += 1;
                    continue;
                }
                Err(Unfit::Long) => {
                    report.long += 1;
                    continue;
                }
            };
            report.taken += 1;
            if form.is_number() {
                self.lengths |= 1 << form.reads.len();
            }
            let (_, beginnings) = form.ends.split_last().unwrap_or((&0, &[]));
            for end in beginnings {
                self.beginnings.push(self.hasher.hash(form.reads.get(..*end as usize).unwrap_or_default()));
            }
            self.cells.push(Cell {
                hash: self.hasher.hash(&form.reads),
                row: self.rows,
                column: column as u32,
            });
        }
        let mut whole = Vec::new();
        for cell in self.cells.get(first..).unwrap_or_default() {
            whole.extend(cell.hash.to_le_bytes());
            whole.push(cell.column as u8);
        }
        if self.known.insert(self.hasher.hash(&whole)) {
            self.rows += 1;
        } else {
            self.rows_twice += 1;
            self.cells.truncate(first);
        }
        // So many are beginnings of many cells that they are thinned out before they take memory.
        if self.beginnings.len() > 4_000_000 && self.beginnings.len() == self.beginnings.capacity() {
            self.beginnings.sort_unstable();
            self.beginnings.dedup();
        }
        Ok(())
    }

    /// The table of all of them.
    pub fn finish(mut self) -> Built {
        self.known = HashSet::new();
        self.beginnings.sort_unstable();
        self.beginnings.dedup();
        let mut cells = std::mem::take(&mut self.cells);
        let buckets = (cells.len() / BUCKET_CELLS).max(1);
        // What the file tells apart; the order of its cells.
        let key = |cell: &Cell| (share(cell.hash, buckets), cell.hash as u32);
        cells.sort_unstable_by_key(|cell| (key(cell), cell.row, cell.column));
        let width = self.columns.len();
        let mut parts = Parts {
            bucket_ends: vec![0; buckets + 1],
            rows: vec![NO_CELL; self.rows as usize * width],
            ..Parts::default()
        };
        for same in cells.chunk_by(|one, next| key(one) == key(next)) {
            let is_common = parts.put(same, width, buckets);
            for column in same.iter().filter(|_| is_common).map(|cell| cell.column as usize) {
                if let Some(report) = self.columns.get_mut(column) {
                    report.common += 1;
                }
            }
        }
        // An empty bucket ends where the one before it does.
        parts.bucket_ends.iter_mut().fold(0, |before, end| {
            *end = before.max(*end);
            *end
        });
        let count = parts.prints.len() as u32;
        let filter = ((count as usize + self.beginnings.len()) * FILTER_BITS / 64).max(1);
        let mut bits = vec![0u64; filter];
        let mut set = |hash: u64, these: u64| {
            if let Some(word) = bits.get_mut(share(hash, filter)) {
                *word |= these;
            }
        };
        for cell in &cells {
            set(cell.hash, cell_bits(cell.hash));
        }
        for hash in &self.beginnings {
            set(*hash, beginning_bits(*hash));
        }
        drop(cells);
        let sizes = Sizes {
            columns: width as u32,
            rows: self.rows,
            cells: count,
            lists: parts.lists.len() as u32,
            buckets: buckets as u32,
            filter: filter as u32,
        };
        let bytes = self.write(sizes, &bits, &parts);
        Built { bytes, rows: self.rows, rows_twice: self.rows_twice, cells: count, columns: self.columns }
    }

    fn write(&self, sizes: Sizes, filter: &[u64], parts: &Parts) -> Vec<u8> {
        let length = sizes.file_bytes();
        let mut out = Vec::with_capacity(length as usize);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(sizes.columns.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(self.salt);
        out.extend(self.hasher.check);
        for size in [sizes.rows, sizes.cells, sizes.lists, sizes.buckets, sizes.filter, 0] {
            out.extend(size.to_le_bytes());
        }
        out.extend(self.lengths.to_le_bytes());
        out.extend(filter.iter().flat_map(|word| word.to_le_bytes()));
        for part in [&parts.bucket_ends, &parts.prints, &parts.values, &parts.lists, &parts.rows] {
            out.extend(part.iter().flat_map(|number| number.to_le_bytes()));
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }
}

/// What stands in the file behind its filter.
#[derive(Debug, Default)]
struct Parts {
    bucket_ends: Vec<u32>,
    prints: Vec<u32>,
    values: Vec<u32>,
    lists: Vec<u32>,
    rows: Vec<u32>,
}

impl Parts {
    /// Puts a cell that stands in these rows; says whether it is common.
    fn put(&mut self, same: &[Cell], width: usize, buckets: usize) -> bool {
        let Some(first) = same.first() else { return false };
        let number = self.prints.len() as u32;
        self.prints.push(first.hash as u32);
        let bucket = share(first.hash, buckets);
        if let Some(end) = self.bucket_ends.get_mut(bucket + 1) {
            *end = number + 1;
        }
        for cell in same {
            let place = cell.row as usize * width + cell.column as usize;
            if let Some(place) = self.rows.get_mut(place) {
                *place = number;
            }
        }
        let mut rows: Vec<u32> = same.iter().map(|cell| cell.row).collect();
        rows.dedup();
        let value = match rows.as_slice() {
            [row] => *row,
            rows if rows.len() > ROWS_OF_CELL_MAX => COMMON,
            rows => {
                let place = self.lists.len() as u32;
                self.lists.push(rows.len() as u32);
                self.lists.extend_from_slice(rows);
                place | LIST
            }
        };
        self.values.push(value);
        value == COMMON
    }
}
