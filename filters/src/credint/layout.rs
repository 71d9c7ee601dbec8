//! How does a filter file look?
//!
//! Head: magic, version, sizes, date, number of keys of each layer, the text that names its source, and a directory
//! with one entry for each shard and layer; a CRC-32 of all that closes it. Behind it stand the fingerprints, section
//! after section in the order of the directory, each with its own CRC-32. All numbers are little-endian. No offset is
//! written down: the places of the sections follow from their sizes, so that no two of them can disagree.
//!
//! A section is a binary fuse filter with three places for each key (Graf and Lemire, "Binary Fuse Filters", 2022, as
//! the crate `xorf` builds it). This file knows bytes and sizes; what is asked of them stands in `base`.

use super::Bucket;
use std::ops::Range;

/// What every filter file begins with.
pub(super) const MAGIC: [u8; 8] = *b"PALCRED\0";
/// The version of this layout; another one is refused.
pub(super) const VERSION: u32 = 1;
/// Bytes before the source text.
const FIXED_BYTES: usize = 88;
/// Bytes of a directory entry.
const ENTRY_BYTES: usize = 24;
/// Bytes of the checksum that closes the head.
const CRC_BYTES: usize = 4;
/// The longest source text.
pub const SOURCE_BYTES_MAX: usize = 4096;
/// At most 2^16 shards: far beyond every list there is, and a directory of at most 8 MiB.
pub const SHARD_BITS_MAX: u8 = 16;
/// Layers: all keys, and nested in them those seen at least 2, 10, 100, 1 000 times.
pub(super) const LAYERS: usize = Bucket::ALL.len();
/// Bytes of a fingerprint, by layer. The nested ones are asked only after a hit, so one byte is enough.
pub(super) const FINGERPRINT_BYTES: [usize; LAYERS] = [2, 1, 1, 1, 1];

/// What a filter file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Where its lists came from, for people.
    pub source: String,
    /// When it was built, in seconds since 1970.
    pub built_s: u64,
    /// How many keys were seen at least so often, by [`Bucket`].
    pub keys: [u64; LAYERS],
}

/// One filter within the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    pub(super) seed: u64,
    /// A power of two; zero if there is no key.
    pub(super) segment_length: u32,
    /// A multiple of `segment_length`.
    pub(super) segment_count_length: u32,
    pub(super) keys: u32,
    pub(super) crc: u32,
}

impl Section {
    /// How many keys it was made of.
    pub fn keys(&self) -> u32 {
        self.keys
    }

    /// Fingerprints: two segments more than a first place can be in.
    fn slots(&self) -> usize {
        self.segment_count_length as usize + 2 * self.segment_length as usize
    }

    /// Whether every place that a key can have lies within the section.
    fn is_sound(&self) -> bool {
        if self.segment_length == 0 {
            return *self == Self::default();
        }
        self.segment_length.is_power_of_two()
            && self.segment_count_length > 0
            && self.segment_count_length.is_multiple_of(self.segment_length)
            && u32::try_from(self.slots()).is_ok()
    }
}

/// A section and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) section: Section,
    pub(super) bytes: Range<usize>,
}

/// The head of a file, read and proven.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) about: About,
    pub(super) shard_bits: u8,
    /// The sections of each shard.
    pub(super) shards: Vec<[Placed; LAYERS]>,
}

/// Why a file is no filter that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Something else.
    #[error("this is no credential filter; `palisade credint build` makes one")]
    Foreign,
    /// Made by another version.
    #[error("this credential filter has layout {0}, and {VERSION} is read; build it again")]
    Version(u32),
    /// Not all of it is there, or more than it.
    #[error("the file has {there} bytes and should have {expected}; copy it again")]
    Length {
        /// What it has.
        there: u64,
        /// What its head says.
        expected: u64,
    },
    /// The head is not what was written.
    #[error("the head is damaged; copy the file again, or build it again")]
    Head,
    /// Fingerprints are not what was written.
    #[error("shard {shard} is damaged; copy the file again, or build it again")]
    Shard {
        /// Which one.
        shard: usize,
    },
}

/// The head's size for so many shards.
pub fn head_bytes(source: &str, shard_bits: u8) -> usize {
    FIXED_BYTES + source.len() + (LAYERS << shard_bits) * ENTRY_BYTES + CRC_BYTES
}

/// Writes a head. `shards` holds the sections of each shard, in their order.
pub fn write_head(about: &About, shard_bits: u8, shards: &[[Section; LAYERS]]) -> Vec<u8> {
    let head = head_bytes(&about.source, shard_bits);
    let sections: u64 = shards.iter().map(|layers| sections_bytes(layers) as u64).sum();
    let mut out = Vec::with_capacity(head);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((head as u32).to_le_bytes());
    out.extend((head as u64 + sections).to_le_bytes());
    out.extend(about.built_s.to_le_bytes());
    out.extend(u64::from(shard_bits).to_le_bytes());
    for keys in about.keys {
        out.extend(keys.to_le_bytes());
    }
    out.extend((about.source.len() as u64).to_le_bytes());
    out.extend(about.source.as_bytes());
    for section in shards.iter().flatten() {
        out.extend(section.seed.to_le_bytes());
        for number in [section.segment_length, section.segment_count_length, section.keys, section.crc] {
            out.extend(number.to_le_bytes());
        }
    }
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out
}

fn sections_bytes(layers: &[Section; LAYERS]) -> usize {
    layers.iter().zip(FINGERPRINT_BYTES).map(|(section, width)| section.slots() * width).sum()
}

/// Reads the head of a whole file and proves that every section lies within it.
pub(super) fn read_head(file: &[u8]) -> Result<Head, Unusable> {
    let mut fields = Fields { bytes: file };
    if fields.take() != Some(MAGIC) {
        return Err(Unusable::Foreign);
    }
    let version = fields.u32().ok_or(Unusable::Head)?;
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    let head = fields.u32().ok_or(Unusable::Head)? as usize;
    let expected = fields.u64().ok_or(Unusable::Head)?;
    let there = file.len() as u64;
    if there != expected {
        return Err(Unusable::Length { there, expected });
    }
    let (body, crc) = file.get(..head).and_then(<[u8]>::split_last_chunk).ok_or(Unusable::Head)?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
        return Err(Unusable::Head);
    }
    read_rest(&mut fields, head, file.len()).ok_or(Unusable::Head)
}

fn read_rest(fields: &mut Fields<'_>, head: usize, file_bytes: usize) -> Option<Head> {
    let built_s = fields.u64()?;
    let shard_bits = u8::try_from(fields.u64()?).ok().filter(|bits| *bits <= SHARD_BITS_MAX)?;
    let mut keys = [0; LAYERS];
    for count in &mut keys {
        *count = fields.u64()?;
    }
    let source_bytes = usize::try_from(fields.u64()?).ok().filter(|bytes| *bytes <= SOURCE_BYTES_MAX)?;
    let source = std::str::from_utf8(fields.slice(source_bytes)?).ok()?.to_owned();
    if head != head_bytes(&source, shard_bits) {
        return None;
    }
    let mut at = head;
    let mut shards = Vec::with_capacity(1 << shard_bits);
    for _ in 0..1u32 << shard_bits {
        let mut layers = [const { Placed { section: Section::NONE, bytes: 0..0 } }; LAYERS];
        for (placed, width) in layers.iter_mut().zip(FINGERPRINT_BYTES) {
            let section = fields.section().filter(Section::is_sound)?;
            let end = at.checked_add(section.slots().checked_mul(width)?)?;
            *placed = Placed { section, bytes: at..end };
            at = end;
        }
        shards.push(layers);
    }
    (at == file_bytes).then_some(Head { about: About { source, built_s, keys }, shard_bits, shards })
}

impl Section {
    /// The section of no key.
    const NONE: Self = Self { seed: 0, segment_length: 0, segment_count_length: 0, keys: 0, crc: 0 };
}

/// Reads numbers one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*field)
    }

    fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.bytes.split_at_checked(bytes)?;
        self.bytes = rest;
        Some(slice)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn section(&mut self) -> Option<Section> {
        Some(Section {
            seed: self.u64()?,
            segment_length: self.u32()?,
            segment_count_length: self.u32()?,
            keys: self.u32()?,
            crc: self.u32()?,
        })
    }
}
