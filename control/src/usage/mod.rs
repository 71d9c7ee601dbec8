//! Who used how much, of which model, on which day? Counts without content, for months.
//!
//! Each process that serves [gathers](Gathering) what it counts and brings it, every few seconds, as a [`Batch`] under
//! its own number. A day of an organisation is some [pages](page), kept as memos: small sealed notes of that
//! organisation, without revisions and feed. A page remembers the last number of each writer, so a batch that is
//! brought twice counts once, whichever of its parts were written before something broke; and it is written under the
//! version that was read, so no writer overwrites another.
//!
//! What is lost: what a process counted and had not brought when it was killed. What is bounded: rows of a page, and
//! so of a day; what is beyond counts as [`OTHER`]. It knows no request: who counts decides what a request was.

mod bounded;
mod day;
mod gathering;
mod page;

pub(crate) use bounded::bounded;
pub use day::{Day, NotADay};
pub use gathering::Gathering;
pub use page::{Counts, OTHER, Row};

use crate::store::{
    Kind, NameError, NewMemo, OrganisationId, Owner, PAGE_MAX, ResourceId, Store, StoreError,
};
use page::{PAGES, Page};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Days that counts are kept for.
pub const KEPT_DAYS: u32 = 92;
/// Rows of one batch.
pub const BATCH_ROWS_MAX: usize = 1_024;
/// How often a page is tried that others are writing.
const TRIES: usize = 64;
/// Memos that ended, taken away whenever a day begins.
const SWEPT_AT_ONCE: usize = 1_000;
/// A writer's name is a few random characters.
const WRITER_BYTES_MAX: usize = 16;

/// What a writer brings. It may be newer than who reads it: what is not known here is passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Whose requests they were.
    pub organisation: String,
    /// On which day they ended.
    pub day: Day,
    /// Which process counted.
    pub writer: String,
    /// The number among its batches; higher than that of each before, and the same when it is brought again.
    pub sequence: u64,
    /// What it counted.
    #[serde(deserialize_with = "rows")]
    pub rows: Vec<Row>,
}

fn rows<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Row>, D::Error> {
    bounded(input, |rows: &[Row]| rows.len() <= BATCH_ROWS_MAX)
}

/// Why counts were not kept, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// It is none of ours.
    #[error("a batch cannot be used: {0}")]
    Unfit(&'static str),
    /// Others write the same page all the time.
    #[error("others are counting the same all the time; bring it again")]
    Busy,
    /// What was kept is not what was written.
    #[error("a page of usage cannot be read: {0}")]
    Damaged(String),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NameError> for UsageError {
    fn from(_: NameError) -> Self {
        Self::Unfit("a name in it is none")
    }
}

/// Adds what a batch has, once, however often it is brought.
pub async fn add(store: &Store, batch: &Batch, now: SystemTime) -> Result<(), UsageError> {
    let Batch { organisation, day, writer, sequence, rows } = batch;
    let today = Day::of(now);
    // Clocks differ, and a store may be away for a while.
    if *day > today.after(1) || today.since(*day) > KEPT_DAYS {
        return Err(UsageError::Unfit("its day is not one that is counted now"));
    }
    if rows.len() > BATCH_ROWS_MAX {
        return Err(UsageError::Unfit("it has too many rows"));
    }
    if writer.is_empty()
        || writer.len() > WRITER_BYTES_MAX
        || !writer.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(UsageError::Unfit("its writer has no name"));
    }
    let owner = Owner::Organisation(OrganisationId::new(organisation)?);
    let mut pages: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let row = row.clone().fitting();
        pages.entry(row.page()).or_default().push(row);
    }
    for (number, rows) in pages {
        add_to_page(store, &owner, (*day, number), (writer, *sequence), &rows, today).await?;
    }
    Ok(())
}

async fn add_to_page(
    store: &Store,
    owner: &Owner,
    (day, number): (Day, usize),
    (writer, sequence): (&str, u64),
    rows: &[Row],
    today: Day,
) -> Result<(), UsageError> {
    let (memos, kind) = (store.memos(owner), kind()?);
    let (id, about) = (page_id(day, number)?, ResourceId::new(&day.month())?);
    for _ in 0..TRIES {
        let found = memos.get(&kind, &id).await?;
        let version = found.as_ref().map(|memo| memo.version);
        let mut page = found.map_or_else(|| Ok(Page::default()), |memo| read_page(&memo.text))?;
        if page.has(writer, sequence) {
            return Ok(());
        }
        page.add(writer, sequence, rows);
        let text = page.text().map_err(|error| UsageError::Damaged(error.to_string()))?;
        let expires = day.after(KEPT_DAYS + 1).seconds();
        let memo = NewMemo { kind: &kind, id: &id, about: &about, expires, text: &text };
        if memos.put(&memo, version).await? {
            if version.is_none() {
                memos.sweep(today.seconds(), SWEPT_AT_ONCE).await?;
            }
            return Ok(());
        }
    }
    Err(UsageError::Busy)
}

/// What was counted for an organisation from one day to another, both included.
pub async fn read(
    store: &Store,
    organisation: &OrganisationId,
    from: Day,
    to: Day,
) -> Result<Vec<(Day, Row)>, UsageError> {
    let owner = Owner::Organisation(organisation.clone());
    let (memos, kind) = (store.memos(&owner), kind()?);
    let mut rows = Vec::new();
    let (mut day, mut month) = (from, None);
    while day <= to {
        let its = day.month();
        day = day.after(1);
        if month.as_ref() == Some(&its) {
            continue;
        }
        let about = ResourceId::new(&its)?;
        let mut after: Option<ResourceId> = None;
        loop {
            let found = memos.about(&kind, &about, after.as_ref(), PAGE_MAX).await?;
            for memo in &found {
                let of = memo.id.as_str().split('.').next().and_then(|text| text.parse::<Day>().ok());
                let of = of.ok_or_else(|| UsageError::Damaged(format!("`{}` is no page's name", memo.id)))?;
                if from <= of && of <= to {
                    rows.extend(read_page(&memo.text)?.rows().map(|row| (of, row)));
                }
            }
            after = found.last().map(|memo| memo.id.clone());
            if found.len() < PAGE_MAX {
                break;
            }
        }
        month = Some(its);
    }
    Ok(rows)
}

fn kind() -> Result<Kind, NameError> {
    Kind::new("usage")
}

fn page_id(day: Day, number: usize) -> Result<ResourceId, NameError> {
    debug_assert!(number < PAGES);
    ResourceId::new(&format!("{day}.{number:02}"))
}

fn read_page(text: &[u8]) -> Result<Page, UsageError> {
    // What stands there names keys and users, and is not repeated.
    serde_json::from_slice(text)
        .map_err(|error| UsageError::Damaged(format!("line {}, column {}", error.line(), error.column())))
}
