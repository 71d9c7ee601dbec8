//! Is this key in the list, and how often was it seen?
//!
//! Needs the bytes of a filter file, mapped or in memory; proves at once that its head is whole and that no question
//! can leave it. Answers in a few dozen nanoseconds. A key of the list is always found; another one is taken for one of
//! it once in 65 536, and then nearly always for the lowest bucket. Fingerprints are checked against their checksums
//! only by [`Base::verify`], and when the file is small: a list of all known passwords has 2 GB, which nobody wants to
//! read before the first request.

use super::layout::{self, About, Head, Placed, Section, Unusable};
use super::{Bucket, Key};
use bytes::Bytes;

/// Files up to this size are verified whole when they are opened, which takes a few milliseconds.
pub const VERIFIED_AT_OPEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A list of keys that is asked and never changed.
#[derive(Clone, Debug)]
pub struct Base {
    file: Bytes,
    head: Head,
}

impl Base {
    /// Opens a filter file.
    pub fn open(file: Bytes) -> Result<Self, Unusable> {
        let head = layout::read_head(&file)?;
        let base = Self { file, head };
        if base.file.len() <= VERIFIED_AT_OPEN_BYTES_MAX {
            base.verify()?;
        }
        Ok(base)
    }

    /// Reads everything and compares it with its checksums.
    pub fn verify(&self) -> Result<(), Unusable> {
        for (shard, layers) in self.head.shards.iter().enumerate() {
            for Placed { section, bytes } in layers {
                let there = self.file.get(bytes.clone()).unwrap_or_default();
                if crc32fast::hash(there) != section.crc {
                    return Err(Unusable::Shard { shard });
                }
            }
        }
        Ok(())
    }

    /// What the file says about itself.
    pub fn about(&self) -> &About {
        &self.head.about
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.file.len()
    }

    /// Into how many parts its keys are divided.
    pub fn shards(&self) -> usize {
        self.head.shards.len()
    }

    /// Bytes of fingerprints, by layer: all keys, and nested in them those of the higher buckets.
    pub fn layer_bytes(&self) -> [u64; layout::LAYERS] {
        let mut sums = [0; layout::LAYERS];
        for layers in &self.head.shards {
            for (sum, placed) in sums.iter_mut().zip(layers) {
                *sum += placed.bytes.len() as u64;
            }
        }
        sums
    }

    /// The bucket of a key, if it is in the list.
    pub fn ask(&self, key: Key) -> Option<Bucket> {
        let [all, nested @ ..] = self.head.shards.get(key.shard(self.head.shard_bits))?;
        if !self.holds::<2>(all, key) {
            return None;
        }
        // Nested: a key seen a hundred times is in the layers for two and for ten as well.
        let higher = nested.iter().take_while(|layer| self.holds::<1>(layer, key)).count();
        Bucket::ALL.get(higher).copied()
    }

    fn holds<const BYTES: usize>(&self, placed: &Placed, key: Key) -> bool {
        let Placed { section, bytes } = placed;
        let Some(file) = self.file.get(bytes.clone()).filter(|file| !file.is_empty()) else { return false };
        let (hash, places) = places(section, key);
        let at = |place: usize| {
            let fingerprint = file.get(place * BYTES..)?.first_chunk::<BYTES>()?;
            Some(fingerprint.iter().rev().fold(0, |number: u16, byte| number << 8 | u16::from(*byte)))
        };
        let [Some(first), Some(second), Some(third)] = places.map(at) else { return false };
        let unused_bits = 16 - 8 * BYTES as u32;
        ((hash ^ hash >> 32) as u16 ^ first ^ second ^ third) << unused_bits == 0
    }
}

/// The hash of a key in a section and its three places there: one in each of three neighbouring segments.
fn places(section: &Section, key: Key) -> (u64, [usize; 3]) {
    let hash = mix(key.0.wrapping_add(section.seed));
    let length = section.segment_length as usize;
    let mask = (length as u64).wrapping_sub(1);
    let first = ((u128::from(hash) * u128::from(section.segment_count_length)) >> 64) as usize;
    let second = (first + length) ^ (hash >> 18 & mask) as usize;
    let third = (first + 2 * length) ^ (hash & mask) as usize;
    (hash, [first, second, third])
}

/// The finalizer of `MurmurHash3`, as `xorf` uses it.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
