//! How much memory do bodies take, and whose are they? One budget for all, and a share of it for each organisation.
//!
//! Needs what is held to be said as it grows. Proves that all bodies together stay within `bodies_in_memory`, that one
//! organisation's stay within `bodies_per_organisation`, and that what is dropped is given back. Without locks: an
//! organisation is counted in one of many buckets, by a hash that nobody can foresee. Two may meet in one, and then
//! share a share; that costs them room, and never anything else.

use crate::house::House;
use palisade_filters::Refusal;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many that two busy organisations seldom meet: 32 KiB of counters.
const BUCKETS: usize = 4096;

/// The counters.
pub(crate) struct Bodies {
    bytes: AtomicU64,
    buckets: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Bodies {
    pub(crate) fn new() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { bytes: AtomicU64::new(0), buckets, hasher: RandomState::new() }
    }

    /// All of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn bucket(&self, organisation: &str) -> usize {
        // The remainder fits a `usize` of any size.
        (self.hasher.hash_one(organisation) % BUCKETS as u64) as usize
    }

    fn of(&self, bucket: usize) -> Option<&AtomicU64> {
        self.buckets.get(bucket)
    }

    fn add(&self, bucket: usize, bytes: u64) -> (u64, u64) {
        let all = self.bytes.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        let own =
            self.of(bucket).map_or(0, |own| own.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes));
        (all, own)
    }

    fn take(&self, bucket: usize, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if let Some(own) = self.of(bucket) {
            own.fetch_sub(bytes, Ordering::AcqRel);
        }
    }
}

/// Memory that a body takes up, given back when it is dropped.
pub(crate) struct BodyShare {
    house: Arc<House>,
    bucket: usize,
    bytes: u64,
}

impl BodyShare {
    /// Nothing yet.
    pub(crate) fn of(house: &Arc<House>, organisation: &str) -> Self {
        Self { house: house.clone(), bucket: house.bodies.bucket(organisation), bytes: 0 }
    }

    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let (all, own) = self.house.bodies.add(self.bucket, bytes);
        let limits = self.house.limits();
        if all > limits.bodies_in_memory.as_u64() || own > limits.bodies_per_organisation() {
            self.house.bodies.take(self.bucket, bytes);
            return Err(Refusal::Overloaded);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives some of it back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.house.bodies.take(self.bucket, bytes);
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.house.bodies.take(self.bucket, self.bytes);
    }
}
