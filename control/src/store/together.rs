//! What is accepted together, or not at all?
//!
//! Resources under their versions, memos that go with them, and an entry that says who did it: one transaction, and
//! one revision of their owner. The entry is made once the revision is known, and while nobody else can take it: so a
//! change cannot be there without its entry, nor the other way round, however a process ends.

use super::error::StoreError;
use super::names::{Kind, ResourceId};
use super::resources::{Accepted, CHANGE_BYTES_MAX, DOCUMENT_BYTES_MAX, Resources, WRITES_MAX, Write};
use super::seal::{Key, Place};
use super::sql::{Argument, Transaction};
use std::collections::BTreeSet;
use std::fmt;

/// What is accepted together, or not at all.
#[derive(Clone, Copy, Default)]
pub struct Together<'a> {
    /// Resources, in their order.
    pub writes: &'a [Write],
    /// The owner's revision that was read, if the change is for what was read then.
    pub read_at: Option<u64>,
    /// Memos that end with it.
    pub forgotten: &'a [Forgotten],
    /// What is written last: made of the revision that all of it becomes.
    pub entry: Option<&'a EntryOf<'a>>,
}

/// Makes what is written last.
pub type EntryOf<'a> = dyn Fn(u64) -> Result<Write, StoreError> + Send + Sync + 'a;

/// Memos that end with a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// One.
    One(Kind, ResourceId),
    /// All of a kind about somebody.
    About(Kind, ResourceId),
    /// All of a kind.
    All(Kind),
}

impl fmt::Debug for Together<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Together({} writes, {} forgotten)", self.writes.len(), self.forgotten.len())
    }
}

impl Resources<'_> {
    /// Makes all of it, or nothing: one revision.
    pub async fn together(&self, asked: &Together<'_>) -> Result<Accepted, StoreError> {
        limits(asked)?;
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.write().await?;
        // Locks the head: the owner's writers take turns from here on.
        let query =
            "UPDATE heads SET revision = revision + 1 WHERE organisation = $1 RETURNING revision, key_id";
        let head = self.head_in(transaction.row(query, &[self.column()]).await?)?;
        if let Some(read) = asked.read_at.filter(|read| read + 1 != head.revision) {
            return Err(StoreError::Moved { owner: self.owner.clone(), read, current: head.revision - 1 });
        }
        let key = self.store.key(&self.owner, head.key).await?;
        let mut versions = Vec::with_capacity(asked.writes.len());
        for (place, write) in asked.writes.iter().enumerate() {
            versions.push(self.write(&mut transaction, write, place as u64, head.revision, &key).await?);
        }
        for forgotten in asked.forgotten {
            self.forget(&mut transaction, forgotten).await?;
        }
        if let Some(entry) = asked.entry {
            let entry = entry(head.revision)?;
            fits(&entry)?;
            self.write(&mut transaction, &entry, asked.writes.len() as u64, head.revision, &key).await?;
        }
        // The room is held until this is in the feed: so its next writer comes behind it there, too.
        self.store.commit(&self.owner, transaction, head.revision).await?;
        drop(room);
        Ok(Accepted { revision: head.revision, versions })
    }

    async fn forget(
        &self,
        transaction: &mut Transaction<'_>,
        forgotten: &Forgotten,
    ) -> Result<(), StoreError> {
        let kind_only = "DELETE FROM memos WHERE organisation = $1 AND kind = $2";
        let done = match forgotten {
            Forgotten::One(kind, id) => {
                let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 AND id = $3";
                let named = [self.column(), Argument::Text(kind.as_str()), Argument::Text(id.as_str())];
                transaction.rows(query, &named).await
            }
            Forgotten::About(kind, about) => {
                let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 AND about = $3";
                let named = [self.column(), Argument::Text(kind.as_str()), Argument::Text(about.as_str())];
                transaction.rows(query, &named).await
            }
            Forgotten::All(kind) => {
                transaction.rows(kind_only, &[self.column(), Argument::Text(kind.as_str())]).await
            }
        };
        done.map(drop)
    }

    async fn write(
        &self,
        transaction: &mut Transaction<'_>,
        write: &Write,
        place: u64,
        revision: u64,
        key: &Key,
    ) -> Result<u64, StoreError> {
        let (kind, id) = write.name();
        let named = [self.column(), Argument::Text(kind.as_str()), Argument::Text(id.as_str())];
        let current = "SELECT version FROM resources WHERE organisation = $1 AND kind = $2 AND id = $3";
        let current = transaction.row(current, &named).await?.map(|row| row.number(0)).transpose()?;
        self.check(write, current)?;
        // Beyond a deletion, versions go on: whoever still holds the version of a former resource of that name does
        // not replace the new one by mistake.
        let last = "SELECT version FROM changes WHERE organisation = $1 AND kind = $2 AND id = $3 \
                    ORDER BY version DESC LIMIT 1";
        let last = transaction.row(last, &named).await?.map(|row| row.number(0)).transpose()?;
        let version = last.unwrap_or(0) + 1;
        let [owner, kind_named, id_named] = named;
        let (numbered, at) = (Argument::Number(version), Argument::Number(revision));
        let deleted = match write {
            Write::Put { document, .. } => {
                let place = Place::Document { owner: &self.owner, kind, id, version, revision };
                let sealed = key.seal(&place, document.get().as_bytes())?;
                let query = "INSERT INTO resources (organisation, kind, id, version, revision, sealed) \
                             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organisation, kind, id) \
                             DO UPDATE SET version = $4, revision = $5, sealed = $6";
                let row = [owner, kind_named, id_named, numbered, at, Argument::Bytes(&sealed)];
                transaction.rows(query, &row).await?;
                0
            }
            Write::Delete { .. } => {
                let query = "DELETE FROM resources WHERE organisation = $1 AND kind = $2 AND id = $3";
                transaction.rows(query, &named).await?;
                1
            }
        };
        let query = "INSERT INTO changes (organisation, revision, place, kind, id, version, deleted) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (place, deleted) = (Argument::Number(place), Argument::Number(deleted));
        transaction.rows(query, &[owner, at, place, kind_named, id_named, numbered, deleted]).await?;
        Ok(version)
    }

    /// Whether a write is for what is there.
    fn check(&self, write: &Write, current: Option<u64>) -> Result<(), StoreError> {
        let (expected, (kind, id)) = match write {
            Write::Put { expected, .. } => (*expected, write.name()),
            Write::Delete { expected, .. } => (Some(*expected), write.name()),
        };
        let (owner, kind, id) = (self.owner.clone(), kind.clone(), id.clone());
        match current {
            Some(current) if expected != Some(current) => {
                Err(StoreError::Conflict { owner, kind, id, expected, current })
            }
            None if expected.is_some() => Err(StoreError::NotFound { owner, kind, id }),
            Some(_) | None => Ok(()),
        }
    }
}

/// What one change may hold.
fn limits(asked: &Together<'_>) -> Result<(), StoreError> {
    let (writes, entries) = (asked.writes, usize::from(asked.entry.is_some()));
    if writes.len() + entries == 0 {
        return Err(StoreError::Empty);
    }
    if writes.len() + entries > WRITES_MAX {
        return Err(too_large("the writes of a change".to_owned(), writes.len() + entries, WRITES_MAX));
    }
    let mut names = BTreeSet::new();
    for write in writes {
        let (kind, id) = write.name();
        fits(write)?;
        if !names.insert((kind, id)) {
            return Err(StoreError::Twice { kind: kind.clone(), id: id.clone() });
        }
    }
    let bytes = writes.iter().map(Write::bytes).sum();
    if bytes > CHANGE_BYTES_MAX {
        return Err(too_large("the bytes of a change".to_owned(), bytes, CHANGE_BYTES_MAX));
    }
    Ok(())
}

/// Whether a document may be stored.
fn fits(write: &Write) -> Result<(), StoreError> {
    if write.bytes() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    let (kind, id) = write.name();
    Err(too_large(format!("the bytes of `{id}` among the `{kind}`"), write.bytes(), DOCUMENT_BYTES_MAX))
}

fn too_large(what: String, found: usize, max: usize) -> StoreError {
    StoreError::TooLarge { what, found: found as u64, max: max as u64 }
}
