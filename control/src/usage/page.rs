//! What stands on one page of a day? Rows, and which batch of each writer they have.
//!
//! A row has one page of its day, by a hash of what it is: so each part of a batch goes to one page whatever is there
//! already. A page takes new rows only while all it has would fit a memo with the largest of numbers in them; what is
//! beyond is added to one row for the rest.

use palisade_filters::dlp::rules::Category;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What stands in the place of names that had no room.
pub const OTHER: &str = "other";
/// Pages of one day.
pub(super) const PAGES: usize = 64;
/// No number grows beyond: a billion billion.
const NUMBER_MAX: u64 = 999_999_999_999_999_999;
/// Bytes of the largest number, with what separates it from the next.
const NUMBER_BYTES: usize = 19;
/// Bytes of a row without names and numbers: brackets, letters of members.
const ROW_BYTES: usize = 80;
/// Names that a row keeps, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Groups that a row keeps.
const GROUPS_MAX: usize = 4;
/// Writers that a page remembers; of more, the ones that have been silent longest are forgotten.
const WRITERS_MAX: usize = 64;
/// Bytes of one of them.
const WRITER_BYTES: usize = 16 + 2 * NUMBER_BYTES + 8;
/// For rows, writers aside.
const ROWS_BYTES_MAX: usize = crate::store::MEMO_BYTES_MAX - WRITERS_MAX * WRITER_BYTES - 64;

/// What was counted. A newer version may count more: what is not known here is passed over, and not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests that came to an end.
    #[serde(rename = "n")]
    pub requests: u64,
    /// Those that a policy rule refused, or ended.
    #[serde(rename = "b", skip_serializing_if = "is_zero")]
    pub blocked: u64,
    /// Those that something was taken out of.
    #[serde(rename = "r", skip_serializing_if = "is_zero")]
    pub redacted: u64,
    /// Tokens of prompts.
    #[serde(rename = "i", skip_serializing_if = "is_zero")]
    pub tokens_in: u64,
    /// Tokens of answers.
    #[serde(rename = "o", skip_serializing_if = "is_zero")]
    pub tokens_out: u64,
    /// What they cost, in billionths of dollars, as far as prices are known.
    #[serde(rename = "c", skip_serializing_if = "is_zero")]
    pub nanodollars: u64,
    /// Findings, by category.
    #[serde(rename = "f", skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<String, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What was counted for one key, user and model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// The public id of a key, `jwt`, or [`OTHER`].
    #[serde(rename = "k")]
    pub key: String,
    /// Whose it is, if it is somebody's.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The groups it had, last.
    #[serde(rename = "g", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The model that answered, if one did.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was counted.
    #[serde(rename = "v")]
    pub counts: Counts,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// How often it was written.
    #[serde(rename = "t")]
    turn: u64,
    /// The last batch of each writer, and in which turn it came.
    #[serde(rename = "w")]
    writers: BTreeMap<String, (u64, u64)>,
    #[serde(rename = "r")]
    rows: Vec<Row>,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, more: &Self) {
        let sum = |one: &mut u64, more: u64| *one = one.saturating_add(more).min(NUMBER_MAX);
        sum(&mut self.requests, more.requests);
        sum(&mut self.blocked, more.blocked);
        sum(&mut self.redacted, more.redacted);
        sum(&mut self.tokens_in, more.tokens_in);
        sum(&mut self.tokens_out, more.tokens_out);
        sum(&mut self.nanodollars, more.nanodollars);
        for (category, count) in &more.findings {
            // What is no category of ours has no room here.
            if Category::ALL.iter().any(|known| known.name() == category) {
                sum(self.findings.entry(category.clone()).or_default(), *count);
            }
        }
    }
}

impl Row {
    /// What makes it this row, and no other.
    pub(super) fn name(&self) -> (&str, Option<&str>, Option<&str>) {
        (&self.key, self.user.as_deref(), self.model.as_deref())
    }

    /// A row for what has no room.
    pub(super) fn rest() -> Self {
        Self { key: OTHER.to_owned(), model: Some(OTHER.to_owned()), ..Self::default() }
    }

    /// With names that fit, and numbers that do.
    pub(super) fn fitting(mut self) -> Self {
        let fits = |name: &String| written(name) <= NAME_BYTES_MAX;
        if !fits(&self.key) {
            return Self { counts: self.counts, ..Self::rest() };
        }
        self.user = self.user.map(|user| if fits(&user) { user } else { OTHER.to_owned() });
        self.model = self.model.map(|model| if fits(&model) { model } else { OTHER.to_owned() });
        self.groups.retain(fits);
        self.groups.truncate(GROUPS_MAX);
        let mut counts = Counts::default();
        counts.add(&self.counts);
        Self { counts, ..self }
    }

    /// Its page.
    pub(super) fn page(&self) -> usize {
        let (key, user, model) = self.name();
        let mut hash = Sha256::new();
        for part in [Some(key), user, model] {
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.finalize().first().map_or(0, |first| usize::from(*first) % PAGES)
    }

    /// The most bytes that it will ever take.
    fn bytes_max(&self) -> usize {
        let names = [Some(&self.key), self.user.as_ref(), self.model.as_ref()];
        let names: usize = names.into_iter().flatten().map(written).sum();
        // Its groups may be others later.
        let groups = GROUPS_MAX * (NAME_BYTES_MAX + 1);
        let findings: usize = Category::ALL.iter().map(|known| known.name().len() + 3 + NUMBER_BYTES).sum();
        ROW_BYTES + names + groups + 6 * NUMBER_BYTES + findings
    }
}

/// A name's bytes as JSON has it.
fn written(name: &String) -> usize {
    serde_json::to_string(name).map_or(usize::MAX, |text| text.len())
}

impl Page {
    /// Whether it has this batch of a writer.
    pub(super) fn has(&self, writer: &str, sequence: u64) -> bool {
        self.writers.get(writer).is_some_and(|(last, _)| *last >= sequence)
    }

    /// Adds a batch's rows.
    pub(super) fn add(&mut self, writer: &str, sequence: u64, rows: &[Row]) {
        self.turn += 1;
        if !self.writers.contains_key(writer) && self.writers.len() >= WRITERS_MAX {
            let silent = self.writers.iter().min_by_key(|(_, (_, turn))| *turn).map(|(name, _)| name.clone());
            silent.and_then(|name| self.writers.remove(&name));
        }
        self.writers.insert(writer.to_owned(), (sequence, self.turn));
        for row in rows {
            self.add_row(row);
        }
    }

    fn add_row(&mut self, row: &Row) {
        if let Some(known) = self.rows.iter_mut().find(|known| known.name() == row.name()) {
            known.groups.clone_from(&row.groups);
            known.counts.add(&row.counts);
            return;
        }
        let rest = Row::rest();
        let taken: usize = self.rows.iter().map(Row::bytes_max).sum();
        let is_rest = row.name() == rest.name();
        // The row for the rest always has its place.
        if is_rest || taken + row.bytes_max() + rest.bytes_max() <= ROWS_BYTES_MAX {
            self.rows.push(row.clone());
            return;
        }
        self.add_row(&Row { counts: row.counts.clone(), ..rest });
    }

    /// As it is kept.
    pub(super) fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// What it has.
    pub(super) fn rows(self) -> impl Iterator<Item = Row> {
        self.rows.into_iter()
    }
}

#[cfg(test)]
mod tests;
