//! What does one owner have, and how does it change?
//!
//! [`Resources`] is one owner's view: every query of this file names its owner's column, runs in a transaction that the
//! engine opened for that owner alone, and gives back documents that were sealed for the very place they are found at.
//! Every accepted change takes the owner's next revision, together with the documents: so revisions have no gaps, and
//! what stands in the feed is what was written. It does not know what a document means.

use super::Store;
use super::error::StoreError;
use super::names::{Kind, Owner, ResourceId};
use super::seal::{Key, KeyId, Place};
use super::sql::{Argument, Row, Transaction};
use super::together::Together;
use palisade_filters::secret::Secret;
use serde_json::value::RawValue;

/// A document: as large as one that is read from a file may be.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Writes of one change: an organisation can be provisioned at once.
pub const WRITES_MAX: usize = 1_000;
/// Documents of one change together: they are sealed and held in memory.
pub const CHANGE_BYTES_MAX: usize = 64 << 20;
/// What an owner's documents may take up when they are read at once: four changes of the largest size.
pub const ALL_BYTES_MAX: u64 = 256 << 20;
/// Rows that one call gives back, whatever it asks for.
pub const PAGE_MAX: usize = 1_000;
/// Kinds that one query asks for.
const KINDS_AT_ONCE: usize = 24;

/// A query of some kinds of an owner.
macro_rules! kinds_query {
    ($select:literal, $order:literal) => {
        concat!(
            $select,
            " WHERE organisation = $1 AND kind IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
             $17, $18, $19, $20, $21, $22, $23, $24, $25)",
            $order
        )
    };
}

/// Which of the secrets that are derived from an owner's key hashes are keyed from.
const HASHES: &[u8] = b"hashes";

/// A document in its place.
#[derive(Debug)]
pub struct Resource {
    /// Which one of its kind.
    pub id: ResourceId,
    /// Counts its changes, from 1, beyond deletion: the one to expect in the next write.
    pub version: u64,
    /// The owner's revision that last changed it.
    pub revision: u64,
    /// What was written.
    pub document: Box<RawValue>,
}

/// Some of the resources of a kind, in the order of their ids.
#[derive(Debug)]
pub struct Page {
    /// They.
    pub resources: Vec<Resource>,
    /// Where to go on; none: there are no more.
    pub next: Option<ResourceId>,
    /// The owner's revision that this was read at: pages of one revision fit together.
    pub revision: u64,
}

/// Resources of several kinds, as they were at one moment.
#[derive(Debug)]
pub struct All {
    /// They, in the order of the kinds that were asked for, then of ids.
    pub resources: Vec<(Kind, Resource)>,
    /// The owner's revision.
    pub revision: u64,
    /// From which hashes of what the owner's texts hold are keyed: the same everywhere, as long as the owner is there.
    pub hash_secret: Secret,
}

/// One resource of an accepted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The owner's revision; writes that were accepted together have one.
    pub revision: u64,
    /// Which kind.
    pub kind: Kind,
    /// Which one.
    pub id: ResourceId,
    /// Its version from there on.
    pub version: u64,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// Accepted changes, in their order.
#[derive(Debug)]
pub struct Changes {
    /// Whole revisions: what was accepted together is here together.
    pub changes: Vec<Change>,
    /// The owner's revision at the time of reading; there is more, if the last change has a lower one.
    pub revision: u64,
}

/// One write of a change.
#[derive(Debug)]
pub enum Write {
    /// Create, or replace.
    Put {
        /// Which kind.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The version that is replaced; none: it must not be there.
        expected: Option<u64>,
        /// What is written.
        document: Box<RawValue>,
    },
    /// Delete.
    Delete {
        /// Which kind.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The version that is deleted.
        expected: u64,
    },
}

impl Write {
    pub(super) fn name(&self) -> (&Kind, &ResourceId) {
        match self {
            Self::Put { kind, id, .. } | Self::Delete { kind, id, .. } => (kind, id),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put { document, .. } => document.get().len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The owner's revision that it is.
    pub revision: u64,
    /// The versions of what was written, in the order of the writes.
    pub versions: Vec<u64>,
}

/// What one owner has: [`Store::tenant`], [`Store::platform`].
#[derive(Debug)]
pub struct Resources<'s> {
    pub(super) store: &'s Store,
    pub(super) owner: Owner,
}

impl<'s> Resources<'s> {
    pub(super) fn new(store: &'s Store, owner: Owner) -> Self {
        Self { store, owner }
    }

    /// One resource, if it is there.
    pub async fn get(&self, kind: &Kind, id: &ResourceId) -> Result<Option<Resource>, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.read().await?;
        let head = self.head(&mut transaction).await?;
        let query = "SELECT id, version, revision, sealed FROM resources \
                     WHERE organisation = $1 AND kind = $2 AND id = $3";
        let named = [self.column(), Argument::Text(kind.as_str()), Argument::Text(id.as_str())];
        let Some(row) = transaction.row(query, &named).await? else { return Ok(None) };
        let key = self.store.key(&self.owner, head.key).await?;
        Ok(Some(self.opened(&row, kind, &key)?))
    }

    /// The resources of a kind behind an id, in the order of ids.
    pub async fn list(
        &self,
        kind: &Kind,
        after: Option<&ResourceId>,
        most: usize,
    ) -> Result<Page, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.read().await?;
        let head = self.head(&mut transaction).await?;
        let (kind_named, after) = (Argument::Text(kind.as_str()), after.map_or("", ResourceId::as_str));
        let most = most.clamp(1, PAGE_MAX);
        let query = "SELECT id, CAST(length(sealed) AS BIGINT) FROM resources \
                     WHERE organisation = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT $4";
        // One more than is given back says whether there are more.
        let found = [self.column(), kind_named, Argument::Text(after), Argument::Number(most as u64 + 1)];
        let found = transaction.rows(query, &found).await?;
        let fitting = fitting(&found, most)?;
        let Some(last) = fitting.checked_sub(1).and_then(|last| found.get(last)) else {
            return Ok(Page { resources: Vec::new(), next: None, revision: head.revision });
        };
        let last = last.text(0)?;
        let query = "SELECT id, version, revision, sealed FROM resources \
                     WHERE organisation = $1 AND kind = $2 AND id > $3 AND id <= $4 ORDER BY id";
        let between = [self.column(), kind_named, Argument::Text(after), Argument::Text(&last)];
        let rows = transaction.rows(query, &between).await?;
        let key = self.store.key(&self.owner, head.key).await?;
        let resources: Result<Vec<Resource>, StoreError> =
            rows.iter().map(|row| self.opened(row, kind, &key)).collect();
        let next = if found.len() > fitting { Some(stored_id(&last)?) } else { None };
        Ok(Page { resources: resources?, next, revision: head.revision })
    }

    /// All resources of some kinds at one moment; too much of them for memory is an error. One question for how much it
    /// is and one for all of it, however many kinds there are.
    pub async fn all(&self, kinds: &[Kind]) -> Result<All, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.read().await?;
        let head = self.head(&mut transaction).await?;
        let key = self.store.key(&self.owner, head.key).await?;
        let mut resources = Vec::new();
        let mut bytes = 0;
        for kinds in kinds.chunks(KINDS_AT_ONCE) {
            let named = self.named(kinds);
            let size =
                kinds_query!("SELECT CAST(coalesce(sum(length(sealed)), 0) AS BIGINT) FROM resources", "");
            bytes += transaction.row(size, &named).await?.map_or(Ok(0), |row| row.number(0))?;
            if bytes > ALL_BYTES_MAX {
                let what = format!("the bytes of all resources of {}", self.owner);
                return Err(StoreError::TooLarge { what, found: bytes, max: ALL_BYTES_MAX });
            }
            if bytes == 0 {
                continue;
            }
            let query =
                kinds_query!("SELECT id, version, revision, sealed, kind FROM resources", " ORDER BY id");
            let rows = transaction.rows(query, &named).await?;
            let mut of_kinds: Vec<Vec<Resource>> = kinds.iter().map(|_| Vec::new()).collect();
            for row in rows {
                let kind = row.text(4)?;
                let at = kinds.iter().position(|one| one.as_str() == kind);
                let Some((at, kind)) = at.and_then(|at| Some((at, kinds.get(at)?))) else { continue };
                let resource = self.opened(&row, kind, &key)?;
                if let Some(of_kind) = of_kinds.get_mut(at) {
                    of_kind.push(resource);
                }
            }
            for (kind, of_kind) in kinds.iter().zip(of_kinds) {
                resources.extend(of_kind.into_iter().map(|resource| (kind.clone(), resource)));
            }
        }
        Ok(All { resources, revision: head.revision, hash_secret: key.secret(HASHES)? })
    }

    /// The owner, and kinds, with as many that are none behind them as a query has places left.
    fn named<'a>(&'a self, kinds: &'a [Kind]) -> Vec<Argument<'a>> {
        let kinds = kinds.iter().map(Kind::as_str).chain(std::iter::repeat(""));
        let kinds = kinds.take(KINDS_AT_ONCE).map(Argument::Text);
        std::iter::once(self.column()).chain(kinds).collect()
    }

    /// What was accepted after a revision, in order. Whole revisions, so a page may be longer than asked for.
    pub async fn changes(&self, after: u64, most: usize) -> Result<Changes, StoreError> {
        let mut room = self.store.enter(&self.owner).await?;
        let mut transaction = room.read().await?;
        let head = self.head(&mut transaction).await?;
        let query = "SELECT revision, kind, id, version, deleted FROM changes \
                     WHERE organisation = $1 AND revision > $2 AND revision <= ( \
                       SELECT max(revision) FROM (SELECT revision FROM changes \
                         WHERE organisation = $1 AND revision > $2 ORDER BY revision, place LIMIT $3) page) \
                     ORDER BY revision, place";
        let most = Argument::Number(most.clamp(1, PAGE_MAX) as u64);
        let rows = transaction.rows(query, &[self.column(), Argument::Number(after), most]).await?;
        let changes: Result<Vec<Change>, StoreError> = rows.iter().map(change).collect();
        Ok(Changes { changes: changes?, revision: head.revision })
    }

    /// Creates a resource, or replaces the version that is expected.
    pub async fn put(
        &self,
        kind: &Kind,
        id: &ResourceId,
        expected: Option<u64>,
        document: Box<RawValue>,
    ) -> Result<Accepted, StoreError> {
        self.apply(&[Write::Put { kind: kind.clone(), id: id.clone(), expected, document }]).await
    }

    /// Deletes the version that is expected.
    pub async fn delete(&self, kind: &Kind, id: &ResourceId, expected: u64) -> Result<Accepted, StoreError> {
        self.apply(&[Write::Delete { kind: kind.clone(), id: id.clone(), expected }]).await
    }

    /// Makes all of these writes, or none: one revision.
    pub async fn apply(&self, writes: &[Write]) -> Result<Accepted, StoreError> {
        self.together(&Together { writes, ..Together::default() }).await
    }

    /// The same, if the owner is still at this revision: what was read then is what is changed.
    pub async fn apply_at(&self, revision: u64, writes: &[Write]) -> Result<Accepted, StoreError> {
        self.together(&Together { writes, read_at: Some(revision), ..Together::default() }).await
    }

    pub(super) fn column(&self) -> Argument<'_> {
        Argument::Text(self.owner.column())
    }

    /// The owner's key, as it stands in this transaction.
    pub(super) async fn key(&self, transaction: &mut Transaction<'_>) -> Result<Key, StoreError> {
        let head = self.head(transaction).await?;
        self.store.key(&self.owner, head.key).await
    }

    async fn head(&self, transaction: &mut Transaction<'_>) -> Result<Head, StoreError> {
        let query = "SELECT revision, key_id FROM heads WHERE organisation = $1";
        self.head_in(transaction.row(query, &[self.column()]).await?)
    }

    pub(super) fn head_in(&self, row: Option<Row>) -> Result<Head, StoreError> {
        let unfit = |what: &str| StoreError::Inconsistent {
            place: format!("heads, of {}", self.owner),
            what: what.to_owned(),
        };
        let row = match (row, &self.owner) {
            (Some(row), _) => row,
            (None, Owner::Platform) => return Err(unfit("no head")),
            (None, Owner::Organisation(id)) => return Err(self.store.without_head(id)),
        };
        let key = KeyId::new(&row.bytes(1)?).ok_or_else(|| unfit("the id of no key"))?;
        Ok(Head { revision: row.number(0)?, key })
    }

    /// A row with its document, if it is what was written there.
    fn opened(&self, row: &Row, kind: &Kind, key: &Key) -> Result<Resource, StoreError> {
        let id = stored_id(&row.text(0)?)?;
        let (version, revision) = (row.number(1)?, row.number(2)?);
        let place = Place::Document { owner: &self.owner, kind, id: &id, version, revision };
        let document = key
            .open(&place, &row.bytes(3)?)
            .and_then(|text| serde_json::from_slice::<Box<RawValue>>(&text).ok())
            .ok_or_else(|| StoreError::Damaged {
                owner: self.owner.clone(),
                kind: kind.clone(),
                id: id.clone(),
            })?;
        Ok(Resource { id, version, revision, document })
    }
}

/// How far an owner is, and its key.
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) key: KeyId,
}

/// An id from a row. One that is none was not written here.
pub(super) fn stored_id(text: &str) -> Result<ResourceId, StoreError> {
    ResourceId::new(text).map_err(|_| StoreError::Inconsistent {
        place: "resources".to_owned(),
        what: format!("the id `{}`", text.escape_debug()),
    })
}

fn change(row: &Row) -> Result<Change, StoreError> {
    let kind = Kind::new(&row.text(1)?).map_err(|_| StoreError::Inconsistent {
        place: "changes".to_owned(),
        what: "a kind that is none".to_owned(),
    })?;
    Ok(Change {
        revision: row.number(0)?,
        kind,
        id: stored_id(&row.text(2)?)?,
        version: row.number(3)?,
        deleted: row.number(4)? != 0,
    })
}

/// How many of these rows of (id, bytes) are given back at once: at least one, and no more than memory is meant for.
fn fitting(rows: &[Row], most: usize) -> Result<usize, StoreError> {
    let mut bytes = 0;
    for (at, row) in rows.iter().take(most).enumerate() {
        bytes += row.number(1)?;
        if bytes > CHANGE_BYTES_MAX as u64 && at > 0 {
            return Ok(at);
        }
    }
    Ok(rows.len().min(most))
}
