//! What are the fingerprints of these keys?
//!
//! Needs the keys of one shard, sorted, each once, with how often they were seen; yields its sections and their bytes.
//! Reading lists, sorting and writing are others' work. The same keys always give the same bytes.

use super::layout::{FINGERPRINT_BYTES, LAYERS, Section};
use super::{Bucket, Key};
use xorf::{BinaryFuse8, BinaryFuse16, Descriptor};

/// A shard has about this many keys, up to twice as many: a filter of fewer needs more bits a key, and building one of
/// many more takes memory, 27 bytes for each.
pub const SHARD_KEYS: u64 = 1_000_000;
/// The most keys that one shard may have.
pub const SHARD_KEYS_MAX: usize = 64_000_000;

/// A key and how often it was seen; more than four billion times is as good as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The key.
    pub key: Key,
    /// How often.
    pub count: u32,
}

/// The sections of one shard and what they hold, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    /// Entries of the directory.
    pub sections: [Section; LAYERS],
    /// Fingerprints.
    pub bytes: Vec<u8>,
}

/// Keys that no filter can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Too many share their first bits, which hashes do not.
    #[error("{0} keys of one shard; at most {SHARD_KEYS_MAX} can be: the hashes are not evenly spread")]
    TooMany(usize),
    /// Equal keys, or keys out of order.
    #[error("the keys of a shard are not sorted, or not unique")]
    Unsorted,
    /// A thousand seeds did not do.
    #[error("no filter was found for {0} keys")]
    NotFound(usize),
}

/// Into how many shards so many keys go, as a power of two.
pub fn shard_bits(keys: u64) -> u8 {
    (keys / SHARD_KEYS).checked_ilog2().map_or(0, |bits| (bits as u8).min(super::layout::SHARD_BITS_MAX))
}

/// Builds one shard.
pub fn shard(seen: &[Seen]) -> Result<Shard, BuildError> {
    if seen.len() > SHARD_KEYS_MAX {
        return Err(BuildError::TooMany(seen.len()));
    }
    if !seen.is_sorted_by(|one, next| one.key < next.key) {
        return Err(BuildError::Unsorted);
    }
    let mut shard = Shard::default();
    let parts = shard.sections.iter_mut().zip(Bucket::ALL).zip(FINGERPRINT_BYTES);
    for ((section, bucket), width) in parts {
        let often = seen.iter().filter(|seen| u64::from(seen.count) >= bucket.least() || width == 2);
        let keys: Vec<u64> = often.map(|seen| seen.key.0).collect();
        if keys.is_empty() {
            continue;
        }
        let from = shard.bytes.len();
        let descriptor = if width == 2 {
            let filter = BinaryFuse16::try_from(&keys).map_err(|_| BuildError::NotFound(keys.len()))?;
            shard.bytes.extend(filter.fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
            filter.descriptor
        } else {
            let filter = BinaryFuse8::try_from(&keys).map_err(|_| BuildError::NotFound(keys.len()))?;
            shard.bytes.extend_from_slice(&filter.fingerprints);
            filter.descriptor
        };
        let crc = crc32fast::hash(shard.bytes.get(from..).unwrap_or_default());
        let Descriptor { seed, segment_length, segment_count_length, .. } = descriptor;
        *section = Section { seed, segment_length, segment_count_length, keys: keys.len() as u32, crc };
    }
    Ok(shard)
}
