//! How does a table file look, and what does it answer?
//!
//! Head: magic, version, number of columns, size, salt, a value that only the right key gives, and the sizes of what
//! follows: a filter of cells and of their beginnings; cells by the hash of their form, in buckets; for each cell its
//! row, or where its list of rows is, or that it has too many; those lists; and for each row its cells, by number. A
//! CRC-32 of all closes it. All numbers are little-endian. No offset is written down: places follow from sizes.
//!
//! Nothing in it can be read or guessed without the key: hashes are keyed, and so are the bits of the filter.
//! What shows is how many rows, columns and cells there are, how long its numbers are, and which rows share a
//! cell. Any bytes can be opened and asked: what is no table is refused, and a wrong number in one leads nowhere.

use crate::secret::Secret;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use std::ops::Range;

pub(super) const MAGIC: [u8; 8] = *b"PALEXCT\0";
/// The version of this layout; another one is refused.
pub(super) const VERSION: u32 = 1;
pub(super) const SALT_BYTES: usize = 16;
pub(super) const CHECK_BYTES: usize = 16;
/// Bytes before the filter.
pub(super) const HEAD_BYTES: usize = 88;
const CRC_BYTES: usize = 4;
/// Columns of a table.
pub const COLUMNS_MAX: usize = 16;
/// A cell of more rows is common: it says nothing by itself.
pub const ROWS_OF_CELL_MAX: usize = 64;
/// A secret that is shorter can be guessed.
pub const SECRET_BYTES_MIN: usize = 32;
/// Hashes fall into buckets evenly; there are four in one, and never so many.
const BUCKET_CELLS_MAX: usize = 64;
/// The value of a cell with too many rows.
pub(super) const COMMON: u32 = u32::MAX;
/// The bit of a value that says that it is the place of a list of rows, and not a row.
pub(super) const LIST: u32 = 1 << 31;
/// The cell of a row that has none in a column.
pub(super) const NO_CELL: u32 = u32::MAX;

/// Why a file is no table that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Something else.
    #[error("this is no table of exact data; `palisade exact build` makes one")]
    Foreign,
    /// Made by another version.
    #[error("this table has layout {0}, and {VERSION} is read; build it again")]
    Version(u32),
    /// Not all of it is there, or more than it.
    #[error("the file has {there} bytes and should have {expected}; copy it again")]
    Length {
        /// What it has.
        there: u64,
        /// What its head says.
        expected: u64,
    },
    /// It is not what was written.
    #[error("the file is damaged; copy it again, or build it again")]
    Damaged,
    /// It was made with another key.
    #[error("the key is not the one that the table was built with")]
    Key,
    /// The key is no key.
    #[error(
        "the key has fewer than {SECRET_BYTES_MIN} characters and could be guessed; `openssl rand -hex 32` makes one"
    )]
    Weak,
}

/// How the forms of cells are hashed: under a key of the file's own, made of the secret and its salt.
#[derive(Clone, Copy)]
pub(super) struct Hasher {
    sip: SipHasher24,
    pub(super) check: [u8; CHECK_BYTES],
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hasher(***)")
    }
}

impl Hasher {
    pub(super) fn new(secret: &Secret, salt: [u8; SALT_BYTES]) -> Result<Self, Unusable> {
        if secret.expose().len() < SECRET_BYTES_MIN {
            return Err(Unusable::Weak);
        }
        let derive = |purpose: &[u8]| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|_| Unusable::Weak)?;
            mac.update(purpose);
            mac.update(&salt);
            let whole: [u8; 32] = mac.finalize().into_bytes().into();
            whole.first_chunk().copied().ok_or(Unusable::Weak)
        };
        let key: [u8; 16] = derive(b"palisade exact cells")?;
        Ok(Self { sip: SipHasher24::new_with_key(&key), check: derive(b"palisade exact check")? })
    }

    /// The hash of a form or of its beginning.
    #[inline]
    pub(super) fn hash(&self, reads: &[u8]) -> u64 {
        self.sip.hash(reads)
    }
}

/// Bits of the filter for a cell, and others for a beginning of one.
pub(super) fn cell_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63)
}

pub(super) fn beginning_bits(hash: u64) -> u64 {
    1 << (hash >> 12 & 63) | 1 << (hash >> 18 & 63)
}

/// One of so many, by the first bits of a hash.
pub(super) fn share(hash: u64, of: usize) -> usize {
    ((u128::from(hash) * of as u128) >> 64) as usize
}

/// Sizes of the parts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) cells: u32,
    pub(super) lists: u32,
    pub(super) buckets: u32,
    pub(super) filter: u32,
}

impl Sizes {
    /// Where the parts begin, and where the last one ends.
    fn places(self) -> [u64; 7] {
        let [columns, rows, cells, lists, buckets, filter] =
            [self.columns, self.rows, self.cells, self.lists, self.buckets, self.filter].map(u64::from);
        let sizes = [filter * 8, (buckets + 1) * 4, cells * 4, cells * 4, lists * 4, rows * columns * 4];
        let mut at = HEAD_BYTES as u64;
        let mut places = [at; 7];
        for (place, size) in places.iter_mut().skip(1).zip(sizes) {
            // 2^32 rows of 16 columns are far from the end of 64 bits.
            at += size;
            *place = at;
        }
        places
    }

    pub(super) fn file_bytes(self) -> u64 {
        let [.., end] = self.places();
        end + CRC_BYTES as u64
    }
}

/// A table file that was opened.
#[derive(Clone, Debug)]
pub(super) struct File {
    bytes: Bytes,
    pub(super) sizes: Sizes,
    places: [usize; 7],
    /// Lengths of numbers, a bit each.
    pub(super) lengths: u64,
    pub(super) hasher: Hasher,
}

impl File {
    pub(super) fn open(bytes: Bytes, secret: &Secret) -> Result<Self, Unusable> {
        let number = |at: usize| {
            bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|four| u32::from_le_bytes(*four))
        };
        let long = |at: usize| {
            bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|eight| u64::from_le_bytes(*eight))
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(Unusable::Foreign);
        }
        let version = number(8).ok_or(Unusable::Damaged)?;
        if version != VERSION {
            return Err(Unusable::Version(version));
        }
        let expected = long(16).ok_or(Unusable::Damaged)?;
        let there = bytes.len() as u64;
        if there != expected {
            return Err(Unusable::Length { there, expected });
        }
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(Unusable::Damaged)?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
            return Err(Unusable::Damaged);
        }
        let read = || {
            let sizes = Sizes {
                columns: number(12)?,
                rows: number(56)?,
                cells: number(60)?,
                lists: number(64)?,
                buckets: number(68)?,
                filter: number(72)?,
            };
            let salt = *bytes.get(24..)?.first_chunk::<SALT_BYTES>()?;
            let check = *bytes.get(40..)?.first_chunk::<CHECK_BYTES>()?;
            Some((sizes, salt, check, long(80)?))
        };
        let (sizes, salt, check, lengths) = read().ok_or(Unusable::Damaged)?;
        let is_sound =
            (1..=COLUMNS_MAX as u32).contains(&sizes.columns) && sizes.buckets > 0 && sizes.filter > 0;
        if !is_sound || sizes.file_bytes() != there {
            return Err(Unusable::Damaged);
        }
        let hasher = Hasher::new(secret, salt)?;
        if hasher.check != check {
            return Err(Unusable::Key);
        }
        let places = sizes.places().map(|place| place as usize);
        Ok(Self { bytes, sizes, places, lengths, hasher })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn columns(&self) -> usize {
        self.sizes.columns as usize
    }

    fn number(&self, part: usize, index: usize) -> Option<u32> {
        let at = self.places.get(part)? + index * 4;
        Some(u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// The bits that the filter has for a hash.
    #[inline]
    pub(super) fn filter(&self, hash: u64) -> u64 {
        let [start, ..] = self.places;
        let at = start + share(hash, self.sizes.filter as usize) * 8;
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight))
    }

    /// The number of the cell with this hash.
    pub(super) fn cell(&self, hash: u64) -> Option<u32> {
        let bucket = share(hash, self.sizes.buckets as usize);
        let (from, to) = (self.number(1, bucket)?, self.number(1, bucket + 1)?);
        let is_it = |cell: &u32| self.number(2, *cell as usize) == Some(hash as u32);
        (from..to.min(self.sizes.cells)).take(BUCKET_CELLS_MAX).find(is_it)
    }

    /// The rows of a cell; of a common one, none.
    pub(super) fn rows(&self, cell: u32) -> impl Iterator<Item = u32> {
        let value = self.number(3, cell as usize).filter(|value| *value != COMMON);
        let (range, row) = match value {
            None => (0..0, None),
            Some(row) if row & LIST == 0 => (0..0, Some(row)),
            Some(place) => {
                let place = (place & !LIST) as usize;
                let count = self.number(4, place).unwrap_or(0) as usize;
                (place + 1..place + 1 + count.min(ROWS_OF_CELL_MAX), None)
            }
        };
        let listed = range.filter(|place| *place < self.sizes.lists as usize);
        let listed = listed.filter_map(|place| self.number(4, place));
        row.into_iter().chain(listed).filter(|row| *row < self.sizes.rows)
    }

    /// The cells of a row, by column.
    pub(super) fn row(&self, row: u32) -> impl Iterator<Item = u32> {
        let columns = self.columns();
        let start = row as usize * columns;
        let cells: Range<usize> = start..start + columns;
        cells.map(|place| self.number(5, place).unwrap_or(NO_CELL))
    }
}
