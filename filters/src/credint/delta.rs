//! Was this key reported since the base was built?
//!
//! A Bloom filter that keys are put into one by one. It is made anew from the reports whenever they change, so that a
//! report which is taken back is forgotten. It must not refuse an innocent key: one in ten million is taken for
//! another, which is far less than for the base, at 34 bits a key that nobody misses in so small a list.

use super::Key;
use bloomfilter::Bloom;
use std::fmt;

/// Keys that reports may name together: past it, a base is the better place. They take 43 MiB.
pub const DELTA_KEYS_MAX: usize = 10_000_000;
/// A filter of a few dozen bits takes one key in a few hundred for another, whatever it was made for: there is always
/// room for so many, in 4 KiB.
const KEYS_MIN: usize = 1_000;
/// How often a key is taken for another.
const FALSE_POSITIVES: f64 = 1e-7;
/// Keys are hashes already, and whoever writes reports is trusted: the seed need not be secret.
const SEED: [u8; 32] = *b"palisade credential intelligence";

/// Reported keys.
#[derive(Default)]
pub struct Delta {
    bloom: Option<Bloom<u64>>,
    keys: usize,
}

impl Delta {
    /// Room for so many keys, none of them in it yet.
    pub fn with_room_for(keys: usize) -> Self {
        let bloom = match keys {
            0 => None,
            _ => {
                Bloom::new_for_fp_rate_with_seed(keys.clamp(KEYS_MIN, DELTA_KEYS_MAX), FALSE_POSITIVES, &SEED)
                    .ok()
            }
        };
        Self { bloom, keys: 0 }
    }

    /// Puts a key in.
    pub fn insert(&mut self, key: Key) {
        if let Some(bloom) = &mut self.bloom {
            bloom.set(&key.0);
            self.keys += 1;
        }
    }

    /// Whether a key was reported.
    pub fn holds(&self, key: Key) -> bool {
        self.bloom.as_ref().is_some_and(|bloom| bloom.check(&key.0))
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// How many keys were put in.
    pub fn len(&self) -> usize {
        self.keys
    }
}

impl FromIterator<Key> for Delta {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let keys: Vec<Key> = keys.into_iter().collect();
        let mut delta = Self::with_room_for(keys.len());
        for key in keys {
            delta.insert(key);
        }
        delta
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Delta({} keys)", self.keys)
    }
}
