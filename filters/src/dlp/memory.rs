//! Was this text scanned before? Chat clients send the whole conversation again with every turn.
//!
//! Of each long text it is remembered what was found in it, under a keyed hash of the text, of the caller's key and of
//! everything that the scan was made by: documents, rules, leak reports. No text is kept, and one caller cannot learn
//! from the time an answer takes what another has sent. What is remembered is judged anew.

use super::scanner::{Found, ScanParts};
use crate::credint::{Intelligence, Known};
use crate::tenant::Visitor;
use polyval::universal_hash::UniversalHash;
use polyval::{Block, Polyval};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Shorter texts are scanned as fast as they are looked up.
const TEXT_BYTES_MIN: usize = 1024;
/// A text with more findings is scanned anew.
const FINDINGS_MAX: usize = 64;
/// What an entry takes besides its findings: its hash, and its place in a table that is not full.
const ENTRY_BYTES: usize = 64;
const SHARDS: usize = 16;

/// What was found in long texts. Made once; shared by all requests.
#[derive(Debug)]
pub struct Memory {
    /// With its key, before any text.
    hash: Polyval,
    bytes_max: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
    /// The leak reports that were asked last, and how many there were before them.
    reports: Mutex<(u64, Option<Arc<Intelligence>>)>,
}

/// Entries that were asked for lately, and those before: forgotten as one when the others are too many.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<u128, Box<[Remembered]>>,
    old: HashMap<u128, Box<[Remembered]>>,
    young_bytes: usize,
}

/// A finding, counted from the beginning of its text.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    rule: u16,
    start: u32,
    end: u32,
    confidence: f32,
    validated: bool,
    known: Option<Known>,
}

/// What texts of one caller are remembered under.
pub(super) struct Recollection<'a> {
    memory: &'a Memory,
    /// With everything besides the text.
    hash: Polyval,
}

impl Memory {
    /// A memory of so many bytes, with a key that nobody else knows.
    pub fn new(key: [u8; 16], bytes_max: usize) -> Self {
        Self {
            hash: Polyval::new(&key.into()),
            bytes_max: AtomicUsize::new(bytes_max),
            shards: std::array::from_fn(|_| Mutex::default()),
            reports: Mutex::default(),
        }
    }

    /// From now on it may take so many bytes; none: nothing is remembered.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// What this caller's texts are remembered under, if any of them are.
    pub(super) fn of(&self, visitor: &Visitor, texts: &[Range<usize>]) -> Option<Recollection<'_>> {
        let is_long = texts.iter().any(|text| text.len() >= TEXT_BYTES_MIN);
        if !is_long || self.bytes_max.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let [platform, tenant] = visitor.tenant().fingerprints();
        let mut whose = [0; 64];
        let reports = self.reports(visitor.shared_intelligence());
        let numbers = [platform, tenant, reports].map(u64::to_le_bytes);
        let bytes = numbers.as_flattened().iter().chain(&visitor.key().sha256);
        whose.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let mut hash = self.hash.clone();
        hash.update_padded(&whose);
        Some(Recollection { memory: self, hash })
    }

    /// The number of a state of leak reports: another one for each.
    fn reports(&self, now: &Arc<Intelligence>) -> u64 {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if !reports.1.as_ref().is_some_and(|last| Arc::ptr_eq(last, now)) {
            *reports = (reports.0 + 1, Some(now.clone()));
        }
        reports.0
    }

    fn shard(&self, digest: u128) -> Option<&Mutex<Shard>> {
        self.shards.get(digest as usize % SHARDS)
    }

    fn recall(&self, digest: u128) -> Option<Box<[Remembered]>> {
        let mut shard = self.shard(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.young.get(&digest) {
            return Some(known.clone());
        }
        let known = shard.old.remove(&digest)?;
        shard.keep(digest, known.clone(), self.bytes_max.load(Ordering::Relaxed) / SHARDS);
        Some(known)
    }

    fn keep(&self, digest: u128, found: Box<[Remembered]>) {
        if let Some(shard) = self.shard(digest) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.keep(digest, found, self.bytes_max.load(Ordering::Relaxed) / SHARDS);
        }
    }
}

impl Shard {
    fn keep(&mut self, digest: u128, found: Box<[Remembered]>, bytes_max: usize) {
        let bytes = ENTRY_BYTES + size_of_val(&*found);
        if self.young_bytes + bytes > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if bytes <= bytes_max / 2 && self.young.insert(digest, found).is_none() {
            self.young_bytes += bytes;
        }
    }
}

impl Recollection<'_> {
    /// Everything in a text of parts, of which those that are known are not scanned; `None`: more than `most`.
    pub(super) fn scan(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        most: usize,
        scan: &ScanParts<'_>,
    ) -> Option<Vec<Found>> {
        let (mut found, mut new, mut run) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let digest = (part.len() >= TEXT_BYTES_MIN)
                .then(|| self.digest(text.get(part.clone()).unwrap_or_default()));
            match digest.and_then(|digest| self.memory.recall(digest)) {
                Some(known) => {
                    self.scan_run(text, &mut run, &mut new, &mut found, scan)?;
                    found.extend(known.iter().map(|known| known.found_from(part.start)));
                }
                None => run.push((part.clone(), digest)),
            }
        }
        self.scan_run(text, &mut run, &mut new, &mut found, scan)?;
        (found.len() <= most).then_some(found)
    }

    /// Scans parts that follow one another, and remembers what is in those that are long.
    fn scan_run(
        &self,
        text: &[u8],
        run: &mut Vec<(Range<usize>, Option<u128>)>,
        parts: &mut Vec<Range<usize>>,
        found: &mut Vec<Found>,
        scan: &ScanParts<'_>,
    ) -> Option<()> {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Some(()) };
        let whole = first.start..last.end;
        parts.clear();
        parts.extend(run.iter().map(|(part, _)| part.start - whole.start..part.end - whole.start));
        let mut here = scan(text.get(whole.clone()).unwrap_or_default(), parts)?;
        for one in &mut here {
            one.span = one.span.start + whole.start..one.span.end + whole.start;
        }
        for (part, digest) in run.drain(..) {
            let from = here.partition_point(|one| one.span.start < part.start);
            let to = here.partition_point(|one| one.span.start < part.end);
            let inside = here.get(from..to).unwrap_or_default();
            if let Some(digest) = digest.filter(|_| inside.len() <= FINDINGS_MAX) {
                let all: Option<Box<[_]>> =
                    inside.iter().map(|one| Remembered::of(one, part.start)).collect();
                if let Some(all) = all {
                    self.memory.keep(digest, all);
                }
            }
        }
        found.append(&mut here);
        Some(())
    }

    fn digest(&self, text: &[u8]) -> u128 {
        let mut hash = self.hash.clone();
        hash.update_padded(text);
        // What is padded must not pass for what is not.
        let length = (text.len() as u128).to_le_bytes();
        hash.update(&[Block::from(length)]);
        u128::from_le_bytes(hash.finalize().into())
    }
}

impl Remembered {
    /// A finding in a text that begins there; none if its value is disguised: what it reads as would be text.
    fn of(found: &Found, start: usize) -> Option<Self> {
        let Found { rule, confidence, validated, known, .. } = *found;
        let place = |at: usize| u32::try_from(at - start).ok();
        let (start, end) = (place(found.span.start)?, place(found.span.end)?);
        found.revealed.is_none().then_some(Self { rule, start, end, confidence, validated, known })
    }

    fn found_from(self, start: usize) -> Found {
        let Self { rule, confidence, validated, known, .. } = self;
        let span = start + self.start as usize..start + self.end as usize;
        Found { rule, span, confidence, validated, known, revealed: None, is_repeated: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_lately_stays_and_the_rest_is_forgotten() {
        let memory = Memory::new([7; 16], SHARDS * 100 * ENTRY_BYTES);
        let first = 0;
        memory.keep(first, Box::default());
        for digest in 1..10_000 {
            memory.keep(digest, Box::default());
            assert!(memory.recall(first).is_some(), "asked for between any two others");
        }
        let kept: usize = memory
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap();
                shard.young.len() + shard.old.len()
            })
            .sum();
        assert!((SHARDS * 50..=SHARDS * 101).contains(&kept), "{kept}");
        memory.set_bytes_max(0);
        memory.keep(first + SHARDS as u128 * 77_777, Box::default());
        assert!(memory.recall(first + SHARDS as u128 * 77_777).is_none());
    }
}
