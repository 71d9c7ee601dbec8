//! What did this process count, and what of it does the store have?
//!
//! Counts of an organisation's day are held until a batch of them is known to be kept. While it is on its way, it
//! stays as it is, under its number; what is counted meanwhile waits for the next one. It waits for nobody and knows
//! no clock.

use super::page::{Counts, Row};
use super::{BATCH_ROWS_MAX, Batch, Day};
use std::collections::HashMap;
use std::sync::Arc;

/// Days of organisations that are held at once, while a store is away.
const HELD_MAX: usize = 20_000;
/// Rows of one of them, those for the rest included.
const ROWS_MAX: usize = BATCH_ROWS_MAX / 2;

/// What a row is called.
type Name = (String, Option<String>, Option<String>);

/// What one process counted.
#[derive(Debug)]
pub struct Gathering {
    writer: String,
    sequence: u64,
    held: HashMap<(Arc<str>, Day), Held>,
    dropped: u64,
}

/// Of one organisation and day.
#[derive(Debug, Default)]
struct Held {
    rows: HashMap<Name, Row>,
    /// What is being brought.
    under_way: Option<Batch>,
}

impl Gathering {
    /// Of a process that is called so: by some random characters, as no other one ever was.
    pub fn new(writer: String) -> Self {
        Self { writer, sequence: 0, held: HashMap::new(), dropped: 0 }
    }

    /// Counts something.
    pub fn count(&mut self, organisation: &Arc<str>, day: Day, row: Row) {
        let place = (organisation.clone(), day);
        if self.held.len() >= HELD_MAX && !self.held.contains_key(&place) {
            self.dropped = self.dropped.saturating_add(row.counts.requests);
            return;
        }
        let held = self.held.entry(place).or_default();
        let mut row = row.fitting();
        let name = |row: &Row| (row.key.clone(), row.user.clone(), row.model.clone());
        let mut its = name(&row);
        if held.rows.len() >= ROWS_MAX && !held.rows.contains_key(&its) {
            row = Row { counts: row.counts, ..Row::rest() };
            its = name(&row);
        }
        let known = held.rows.entry(its).or_insert_with(|| Row { counts: Counts::default(), ..row.clone() });
        known.groups = row.groups;
        known.counts.add(&row.counts);
    }

    /// What is to be brought now: what was under way is brought again, as it was.
    pub fn batches(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for ((organisation, day), held) in &mut self.held {
            if held.under_way.is_none() && !held.rows.is_empty() {
                self.sequence += 1;
                held.under_way = Some(Batch {
                    organisation: organisation.to_string(),
                    day: *day,
                    writer: self.writer.clone(),
                    sequence: self.sequence,
                    rows: held.rows.drain().map(|(_, row)| row).collect(),
                });
            }
            batches.extend(held.under_way.clone());
        }
        batches
    }

    /// A batch is kept, or its organisation is gone.
    pub fn settled(&mut self, batch: &Batch) {
        let place = (Arc::from(batch.organisation.as_str()), batch.day);
        let Some(held) = self.held.get_mut(&place) else { return };
        held.under_way.take_if(|under_way| under_way.sequence == batch.sequence);
        if held.under_way.is_none() && held.rows.is_empty() {
            self.held.remove(&place);
        }
    }

    /// Requests that were not counted, as too many organisations were held, since the last time.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str) -> Row {
        let counts = Counts { requests: 1, ..Counts::default() };
        Row { key: key.to_owned(), counts, ..Row::default() }
    }

    fn requests(batches: &[Batch]) -> u64 {
        batches.iter().flat_map(|batch| &batch.rows).map(|row| row.counts.requests).sum()
    }

    #[test]
    fn a_batch_stays_as_it_is_until_it_is_kept() {
        let (acme, day) = (Arc::from("acme"), "2026-11-26".parse().unwrap());
        let mut gathering = Gathering::new("w".to_owned());
        for _ in 0..3 {
            gathering.count(&acme, day, row("k"));
        }
        let first = gathering.batches();
        assert_eq!((first.len(), requests(&first), first[0].sequence), (1, 3, 1));
        gathering.count(&acme, day, row("k"));
        assert_eq!(gathering.batches(), first, "it is brought again as it was");
        gathering.settled(&first[0]);
        let second = gathering.batches();
        assert_eq!((requests(&second), second[0].sequence), (1, 2));
        // An answer that comes late is not about this one.
        gathering.settled(&first[0]);
        assert_eq!(gathering.batches(), second);
        gathering.settled(&second[0]);
        assert!(gathering.batches().is_empty() && gathering.held.is_empty());
    }

    #[test]
    fn what_is_held_is_bounded_and_counted() {
        let (acme, day) = (Arc::from("acme"), "2026-11-26".parse().unwrap());
        let mut gathering = Gathering::new("w".to_owned());
        for key in 0..5_000 {
            gathering.count(&acme, day, row(&format!("k{key}")));
        }
        let batches = gathering.batches();
        assert_eq!(requests(&batches), 5_000);
        assert!(batches[0].rows.len() <= BATCH_ROWS_MAX);
        for organisation in 0..HELD_MAX {
            gathering.count(&Arc::from(organisation.to_string()), day, row("k"));
        }
        assert_eq!(gathering.take_dropped(), 1);
        assert_eq!(gathering.take_dropped(), 0);
    }
}
