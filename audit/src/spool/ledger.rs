//! Whose are the bytes of the spool? Counted by organisation, so that none can crowd out the others.
//!
//! Needs to be told what was written into which segment, and which segments are still there. Proves that an
//! organisation's bytes are those that this writer wrote for it and that nobody has shipped yet. Does not: know what
//! a process before this one wrote; that counts in the quota of the whole spool alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes by organisation.
type Bytes = HashMap<Arc<str>, u64>;

/// The books.
#[derive(Default)]
pub(super) struct Ledger {
    /// Framed, not yet written.
    pending: Bytes,
    segments: BTreeMap<u64, Bytes>,
    /// Sums of both.
    sums: Bytes,
}

impl Ledger {
    /// Bytes of an organisation.
    pub(super) fn of(&self, organisation: &str) -> u64 {
        self.sums.get(organisation).copied().unwrap_or(0)
    }

    /// An event was framed.
    pub(super) fn add(&mut self, organisation: &Arc<str>, bytes: u64) {
        *self.pending.entry(organisation.clone()).or_default() += bytes;
        *self.sums.entry(organisation.clone()).or_default() += bytes;
    }

    /// What was framed is in this segment now.
    pub(super) fn written(&mut self, segment: u64) {
        let into = self.segments.entry(segment).or_default();
        for (organisation, bytes) in self.pending.drain() {
            *into.entry(organisation).or_default() += bytes;
        }
    }

    /// What was framed could not be written.
    pub(super) fn lost(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.subtract(&pending);
    }

    /// Only these segments are still there.
    pub(super) fn keep(&mut self, segments: &[(u64, u64)]) {
        let is_there = |segment: &u64| segments.binary_search_by_key(segment, |(first, _)| *first).is_ok();
        let gone: Vec<Bytes> =
            self.segments.extract_if(.., |segment, _| !is_there(segment)).map(|gone| gone.1).collect();
        for bytes in &gone {
            self.subtract(bytes);
        }
    }

    fn subtract(&mut self, bytes: &Bytes) {
        for (organisation, bytes) in bytes {
            if let Some(sum) = self.sums.get_mut(organisation) {
                *sum = sum.saturating_sub(*bytes);
            }
        }
        self.sums.retain(|_, sum| *sum > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_with_their_segment() {
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        let mut ledger = Ledger::default();
        ledger.add(&one, 10);
        ledger.add(&two, 1);
        ledger.written(1);
        ledger.add(&one, 100);
        ledger.written(5);
        ledger.add(&one, 1_000);
        assert_eq!((ledger.of("one"), ledger.of("two")), (1_110, 1));
        ledger.lost();
        assert_eq!(ledger.of("one"), 110);
        ledger.keep(&[(5, 100)]);
        assert_eq!((ledger.of("one"), ledger.of("two"), ledger.sums.len()), (100, 0, 1));
    }
}
