//! What changes so often that revisions and the feed would be full of it?
//!
//! Sessions, failed attempts, the last code that was used: a [`Memo`] is a small sealed note of an owner, about
//! somebody, with an end. It has no history, nobody follows it, and it goes with its owner. What it shares with
//! resources: it is written under the version that was read, sealed for its place, and seen by no other owner.
//!
//! A version is a random number, new with each write: who still holds the version of a memo that was deleted does not
//! replace the next one of that name. It does not read a clock: a memo that has ended is there until it is swept.

use super::Store;
use super::error::StoreError;
use super::names::{Kind, Owner, ResourceId};
use super::resources::{PAGE_MAX, Resources, stored_id};
use super::seal::{Key, Place};
use super::sql::{Argument, Row, Transaction};
use zeroize::Zeroizing;

/// The text of a memo.
pub const MEMO_BYTES_MAX: usize = 16 << 10;

/// When a memo ends that does not: the last moment that both databases can write.
pub const NEVER: u64 = u64::MAX >> 1;

/// A memo as it stands there.
#[derive(Debug)]
pub struct Memo {
    /// Its id among those of its kind.
    pub id: ResourceId,
    /// Whom it is about.
    pub about: ResourceId,
    /// For the next write.
    pub version: u64,
    /// Seconds since 1970 from which on it may be swept.
    pub expires: u64,
    /// What it says.
    pub text: Zeroizing<Vec<u8>>,
}

/// A memo to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewMemo<'a> {
    /// Which kind.
    pub kind: &'a Kind,
    /// Which one.
    pub id: &'a ResourceId,
    /// Whom it is about.
    pub about: &'a ResourceId,
    /// Seconds since 1970 from which on it may be swept.
    pub expires: u64,
    /// What it says.
    pub text: &'a [u8],
}

/// One of several memos that are written together.
#[derive(Clone, Copy, Debug)]
pub enum MemoWrite<'a> {
    /// In place of the version that was read; none: it must not be there.
    Put {
        /// What is written.
        memo: NewMemo<'a>,
        /// The version that is replaced.
        expected: Option<u64>,
    },
    /// It goes.
    Delete {
        /// Which kind.
        kind: &'a Kind,
        /// Which one.
        id: &'a ResourceId,
        /// The version that was read, which must be there; none: whichever it is, if it is there at all.
        expected: Option<u64>,
    },
}

/// The memos of one owner: [`Store::memos`].
#[derive(Debug)]
pub struct Memos<'s> {
    store: &'s Store,
    owner: Owner,
    resources: Resources<'s>,
}

impl<'s> Memos<'s> {
    pub(super) fn new(store: &'s Store, owner: Owner) -> Self {
        let resources = Resources::new(store, owner.clone());
        Self { store, owner, resources }
    }

    /// One memo, if it is there.
    pub async fn get(&self, kind: &Kind, id: &ResourceId) -> Result<Option<Memo>, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.read().await?;
        let key = self.resources.key(&mut transaction).await?;
        let query = "SELECT id, about, version, expires, sealed FROM memos \
                     WHERE organisation = $1 AND kind = $2 AND id = $3";
        let row = transaction.row(query, &self.named(kind, id)).await?;
        row.map(|row| self.opened(&row, kind, &key)).transpose()
    }

    /// The memos about somebody behind an id, in the order of ids.
    pub async fn about(
        &self,
        kind: &Kind,
        about: &ResourceId,
        after: Option<&ResourceId>,
        most: usize,
    ) -> Result<Vec<Memo>, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.read().await?;
        let key = self.resources.key(&mut transaction).await?;
        let query = "SELECT id, about, version, expires, sealed FROM memos \
                     WHERE organisation = $1 AND kind = $2 AND about = $3 AND id > $4 ORDER BY id LIMIT $5";
        let [owner, kind_named, about] = self.named(kind, about);
        let after = Argument::Text(after.map_or("", ResourceId::as_str));
        let most = Argument::Number(most.clamp(1, PAGE_MAX) as u64);
        let rows = transaction.rows(query, &[owner, kind_named, about, after, most]).await?;
        rows.iter().map(|row| self.opened(row, kind, &key)).collect()
    }

    /// Writes a memo in place of the version that was read; none: it must not be there. False: somebody else was
    /// faster, and nothing was written.
    pub async fn put(&self, memo: &NewMemo<'_>, expected: Option<u64>) -> Result<bool, StoreError> {
        self.change(&[MemoWrite::Put { memo: *memo, expected }]).await
    }

    /// Makes all of these writes, or none. False: somebody else was faster at one of them.
    pub async fn change(&self, writes: &[MemoWrite<'_>]) -> Result<bool, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.write().await?;
        let key = self.resources.key(&mut transaction).await?;
        for write in writes {
            let is_done = match write {
                MemoWrite::Put { memo, expected } => {
                    self.put_in(&mut transaction, &key, memo, *expected).await?
                }
                MemoWrite::Delete { kind, id, expected: None } => {
                    let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 AND id = $3";
                    transaction.rows(query, &self.named(kind, id)).await?;
                    true
                }
                MemoWrite::Delete { kind, id, expected: Some(expected) } => {
                    let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 AND id = $3 \
                                 AND version = $4 RETURNING version";
                    let [owner, kind, id] = self.named(kind, id);
                    transaction.row(query, &[owner, kind, id, Argument::Number(*expected)]).await?.is_some()
                }
            };
            if !is_done {
                return Ok(false);
            }
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn put_in(
        &self,
        transaction: &mut Transaction<'_>,
        key: &Key,
        memo: &NewMemo<'_>,
        expected: Option<u64>,
    ) -> Result<bool, StoreError> {
        let NewMemo { kind, id, about, expires, text } = *memo;
        if text.len() > MEMO_BYTES_MAX {
            let (found, max) = (text.len() as u64, MEMO_BYTES_MAX as u64);
            return Err(StoreError::TooLarge {
                what: format!("the bytes of a memo of `{kind}`"),
                found,
                max,
            });
        }
        let version = random_version()?;
        let place = Place::Memo { owner: &self.owner, kind, id, about, version, expires };
        let sealed = key.seal(&place, text)?;
        let [owner, kind, id] = self.named(kind, id);
        let (about, version) = (Argument::Text(about.as_str()), Argument::Number(version));
        let row = [owner, kind, id, about, version, Argument::Number(expires), Argument::Bytes(&sealed)];
        let written = match expected {
            None => {
                let query = "INSERT INTO memos (organisation, kind, id, about, version, expires, sealed) \
                             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING version";
                transaction.row(query, &row).await?
            }
            Some(expected) => {
                let query = "UPDATE memos SET about = $4, version = $5, expires = $6, sealed = $7 \
                             WHERE organisation = $1 AND kind = $2 AND id = $3 AND version = $8 \
                             RETURNING version";
                let row: Vec<_> = row.into_iter().chain([Argument::Number(expected)]).collect();
                transaction.row(query, &row).await?
            }
        };
        Ok(written.is_some())
    }

    /// Deletes a memo, whichever version it has. False: it was not there.
    pub async fn delete(&self, kind: &Kind, id: &ResourceId) -> Result<bool, StoreError> {
        let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 AND id = $3 RETURNING id";
        Ok(self.removed(query, &self.named(kind, id)).await? > 0)
    }

    /// Deletes all memos of a kind about somebody; how many there were.
    pub async fn delete_about(&self, kind: &Kind, about: &ResourceId) -> Result<u64, StoreError> {
        let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 AND about = $3 RETURNING id";
        self.removed(query, &self.named(kind, about)).await
    }

    /// Deletes all memos of a kind; how many there were.
    pub async fn delete_all(&self, kind: &Kind) -> Result<u64, StoreError> {
        let query = "DELETE FROM memos WHERE organisation = $1 AND kind = $2 RETURNING id";
        self.removed(query, &[self.resources.column(), Argument::Text(kind.as_str())]).await
    }

    /// Deletes some of the memos that ended before a moment, in seconds since 1970; how many.
    pub async fn sweep(&self, before: u64, most: usize) -> Result<u64, StoreError> {
        let query = "DELETE FROM memos WHERE organisation = $1 AND (kind, id) IN ( \
                       SELECT kind, id FROM memos WHERE organisation = $1 AND expires < $2 \
                       ORDER BY expires LIMIT $3) AND expires < $2 RETURNING id";
        let most = Argument::Number(most.clamp(1, PAGE_MAX) as u64);
        self.removed(query, &[self.resources.column(), Argument::Number(before), most]).await
    }

    async fn removed(&self, query: &'static str, arguments: &[Argument<'_>]) -> Result<u64, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.write().await?;
        // Who asks for an organisation that is not there is told so.
        self.resources.key(&mut transaction).await?;
        let rows = transaction.rows(query, arguments).await?;
        transaction.commit().await?;
        Ok(rows.len() as u64)
    }

    fn named<'a>(&'a self, kind: &'a Kind, id: &'a ResourceId) -> [Argument<'a>; 3] {
        [self.resources.column(), Argument::Text(kind.as_str()), Argument::Text(id.as_str())]
    }

    /// A row with its text, if it is what was written there.
    fn opened(&self, row: &Row, kind: &Kind, key: &Key) -> Result<Memo, StoreError> {
        let (id, about) = (stored_id(&row.text(0)?)?, stored_id(&row.text(1)?)?);
        let (version, expires) = (row.number(2)?, row.number(3)?);
        let place = Place::Memo { owner: &self.owner, kind, id: &id, about: &about, version, expires };
        let Some(text) = key.open(&place, &row.bytes(4)?) else {
            return Err(StoreError::Damaged { owner: self.owner.clone(), kind: kind.clone(), id });
        };
        Ok(Memo { id, about, version, expires, text })
    }
}

/// Both databases count to 2⁶³.
fn random_version() -> Result<u64, StoreError> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(StoreError::Random)?;
    Ok(u64::from_be_bytes(bits) >> 1)
}
