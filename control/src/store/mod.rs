//! Where is what we believe kept, so that no organisation sees another's, and every change is seen once, in order?
//!
//! A [`Store`] is SQLite, one file an organisation, or PostgreSQL, one table with row-level security; what it does is
//! the same, and one suite of tests proves it of both. What is stored is a *resource*: `(owner, kind, id)` with a JSON
//! document, a version, and the revision that last changed it. No query can be written without saying whose:
//! [`Store::tenant`] and [`Store::platform`] are the only ways to one.
//!
//! Needs a place, and the master key. Proves: a change is accepted whole or not at all, under the version that its
//! writer had read; each owner's revisions have no gaps; the [feed](Store::feed) tells of all of them in the order they
//! were accepted in; a document opens in its own place only; and once an organisation is deleted, nothing opens its
//! documents, backups included. Does not: know what a document means, who may write it, or HTTP.
//!
//! ```
//! use palisade_control::store::{Kind, MasterKey, OrganisationId, Place, ResourceId, SqlitePlace, Store};
//! use serde_json::value::to_raw_value;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::TempDir::new()?;
//! # let folder = home.path();
//! let place = SqlitePlace::new(folder.join("store"), folder.join("keys"));
//! Store::migrate_sqlite(&place).await?;
//! let store = Store::open(Place::Sqlite(place), MasterKey::new(&"5e".repeat(32))?).await?;
//!
//! let (acme, groups) = (OrganisationId::new("acme")?, Kind::new("groups")?);
//! store.create_organisation(&acme).await?;
//! let red = ResourceId::new("red")?;
//! let made = store.tenant(&acme).put(&groups, &red, None, to_raw_value(&["ann"])?).await?;
//! // A second writer who did not see the first is told so.
//! assert!(store.tenant(&acme).put(&groups, &red, None, to_raw_value(&["bob"])?).await.is_err());
//! let found = store.tenant(&acme).get(&groups, &red).await?.ok_or("it is gone")?;
//! assert_eq!((found.version, found.revision, found.document.get()), (1, made.revision, "[\"ann\"]"));
//! # Ok(())
//! # }
//! ```

mod error;
mod feed;
mod memos;
mod names;
mod postgres;
mod resources;
mod seal;
mod sql;
mod sqlite;
mod sweep;
mod together;

pub use error::StoreError;
pub use feed::{Feed, FeedEntry, FeedEvent};
pub use memos::{MEMO_BYTES_MAX, Memo, MemoWrite, Memos, NEVER, NewMemo};
pub use names::{Kind, NameError, OrganisationId, Owner, ResourceId};
pub use postgres::{PostgresOwner, PostgresPlace};
pub use resources::{
    ALL_BYTES_MAX, Accepted, All, CHANGE_BYTES_MAX, Change, Changes, DOCUMENT_BYTES_MAX, PAGE_MAX, Page,
    Resource, Resources, WRITES_MAX, Write,
};
pub use seal::{KeyId, MasterKey};
pub use sqlite::SqlitePlace;
pub use sweep::{Sweep, Swept};
pub use together::{EntryOf, Forgotten, Together};

use feed::Bell;
use lru::LruCache;
use postgres::Postgres;
use seal::Key;
use sql::Transaction;
use sqlite::Sqlite;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The schema that this version of the product works with.
const SCHEMA: u64 = 2;
/// Keys of owners that are kept in memory, so that not every request asks for one.
const KEYS_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Where a store is.
#[derive(Debug)]
pub enum Place {
    /// In files of this machine.
    Sqlite(SqlitePlace),
    /// In a database of PostgreSQL.
    Postgres(PostgresPlace),
}

/// What we believe.
#[derive(Debug)]
pub struct Store {
    engine: Engine,
    master: MasterKey,
    keys: Mutex<LruCache<(Owner, KeyId), Key>>,
    bell: Bell,
}

#[derive(Debug)]
enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Store {
    /// Makes a store in files, or brings one to this version's schema. No process may have it open.
    pub async fn migrate_sqlite(place: &SqlitePlace) -> Result<(), StoreError> {
        sqlite::migrate(place).await
    }

    /// Makes a store in a database, or brings one to this version's schema, as the role that owns it.
    pub async fn migrate_postgres(owner: &PostgresOwner) -> Result<(), StoreError> {
        postgres::migrate(owner).await
    }

    /// Opens a store that was migrated. The first time, the platform gets its key.
    pub async fn open(place: Place, master: MasterKey) -> Result<Self, StoreError> {
        let engine = match place {
            Place::Sqlite(place) => Engine::Sqlite(Sqlite::open(place).await?),
            Place::Postgres(place) => Engine::Postgres(Postgres::open(&place).await?),
        };
        let bell = Bell::default();
        let store = Self { engine, master, keys: Mutex::new(LruCache::new(KEYS_KEPT)), bell };
        store.open_platform().await?;
        if let Engine::Sqlite(sqlite) = &store.engine {
            sqlite.recover().await?;
        }
        Ok(store)
    }

    /// Closes all files and connections; whatever is under way is waited for.
    pub async fn close(self) {
        match self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Postgres(postgres) => postgres.close().await,
        }
    }

    /// What holds for everyone.
    pub fn platform(&self) -> Resources<'_> {
        Resources::new(self, Owner::Platform)
    }

    /// What an organisation has.
    pub fn tenant(&self, organisation: &OrganisationId) -> Resources<'_> {
        Resources::new(self, Owner::Organisation(organisation.clone()))
    }

    /// Makes an organisation, with a key of its own.
    pub async fn create_organisation(&self, id: &OrganisationId) -> Result<(), StoreError> {
        let key = Key::random()?;
        let wrapped = self.master.wrap(&Owner::Organisation(id.clone()), &key)?;
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.create(id, key.id(), &wrapped).await?,
            Engine::Postgres(postgres) => postgres.create(id.as_str(), key.id(), &wrapped).await?,
        }
        self.bell.ring();
        Ok(())
    }

    /// The organisations behind an id, in the order of ids.
    pub async fn organisations(
        &self,
        after: Option<&OrganisationId>,
        most: usize,
    ) -> Result<Vec<OrganisationId>, StoreError> {
        let after = after.map_or("", OrganisationId::as_str);
        let most = most.clamp(1, PAGE_MAX) as u64;
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.organisations(after, most).await,
            Engine::Postgres(postgres) => postgres.organisations(after, most).await,
        }
    }

    /// Deletes an organisation: its key first, so that no backup of its documents can be read, then all of it.
    pub async fn delete_organisation(&self, id: &OrganisationId) -> Result<(), StoreError> {
        let deleted = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.delete(id).await,
            Engine::Postgres(postgres) => postgres.delete(id).await,
        };
        // However it ended: what is still there is read again.
        let gone = Owner::Organisation(id.clone());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<_> =
            keys.iter().map(|(name, _)| name).filter(|(owner, _)| *owner == gone).cloned().collect();
        for name in known {
            keys.pop(&name);
        }
        drop(keys);
        self.bell.ring();
        deleted
    }

    /// What was accepted after a position of the feed, across all owners, in the order it was accepted in. If there is
    /// nothing yet, it is waited for, but no longer than `patience`.
    pub async fn feed(&self, after: u64, most: usize, patience: Duration) -> Result<Feed, StoreError> {
        let most = most.clamp(1, PAGE_MAX) as u64;
        match &self.engine {
            Engine::Sqlite(sqlite) => self.bell.wait(patience, None, |_| sqlite.feed(after, most)).await,
            Engine::Postgres(postgres) => {
                let look = |is_first| postgres.feed(after, most, is_first);
                self.bell.wait(patience, Some(postgres::LOOK_EVERY), look).await
            }
        }
    }

    /// What changes too often for revisions: an owner's memos.
    pub fn memos(&self, owner: &Owner) -> Memos<'_> {
        Memos::new(self, owner.clone())
    }

    /// What one owner has, whoever it is.
    pub fn of(&self, owner: &Owner) -> Resources<'_> {
        Resources::new(self, owner.clone())
    }

    /// A way to one owner's rows.
    async fn enter(&self, owner: &Owner) -> Result<Room, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.enter(owner).await.map(Room::Sqlite),
            Engine::Postgres(postgres) => postgres.enter(owner).await.map(Room::Postgres),
        }
    }

    /// Keeps a change, and puts it into the feed.
    async fn commit(
        &self,
        owner: &Owner,
        transaction: Transaction<'_>,
        revision: u64,
    ) -> Result<(), StoreError> {
        let ring = feed::RingLater(&self.bell);
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.commit(owner, transaction, revision).await?,
            Engine::Postgres(postgres) => postgres.commit(transaction, revision).await?,
        }
        drop(ring);
        Ok(())
    }

    /// An owner's key, from memory or from the key directory.
    async fn key(&self, owner: &Owner, id: KeyId) -> Result<Key, StoreError> {
        let name = (owner.clone(), id);
        let kept = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(key) = kept {
            return Ok(key);
        }
        let wrapped = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.wrapped_key(owner, id)?,
            Engine::Postgres(postgres) => postgres.wrapped_key(owner, id).await?,
        };
        let wrapped = wrapped.ok_or_else(|| StoreError::KeyMissing { owner: owner.clone(), key: id })?;
        let key = self.master.unwrap(owner, id, &wrapped)?;
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).put(name, key.clone());
        Ok(key)
    }

    /// The platform's key is the first thing that is sealed: with it a wrong master key is found at once.
    async fn open_platform(&self) -> Result<(), StoreError> {
        let key = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.platform_key().await?,
            Engine::Postgres(postgres) => postgres.platform_key().await?,
        };
        if let Some(id) = key {
            return self.key(&Owner::Platform, id).await.map(drop);
        }
        let key = Key::random()?;
        let wrapped = self.master.wrap(&Owner::Platform, &key)?;
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.create_platform(key.id(), &wrapped).await,
            Engine::Postgres(postgres) => {
                match postgres.create(Owner::Platform.column(), key.id(), &wrapped).await {
                    // Another process was faster; its key is the one.
                    Err(StoreError::OrganisationExists(_)) | Ok(()) => Ok(()),
                    Err(failed) => Err(failed),
                }
            }
        }
    }

    /// An organisation is not there, or its rows are not.
    fn without_head(&self, id: &OrganisationId) -> StoreError {
        match &self.engine {
            Engine::Sqlite(_) => sqlite::without_head(id),
            Engine::Postgres(_) => StoreError::NoOrganisation(id.clone()),
        }
    }
}

/// A way to one owner's rows, and to no others.
#[derive(Debug)]
enum Room {
    Sqlite(sqlite::Room),
    Postgres(postgres::Room),
}

impl Room {
    /// A view of one moment.
    async fn read(&mut self) -> Result<Transaction<'_>, StoreError> {
        match self {
            Self::Sqlite(room) => room.read().await,
            Self::Postgres(room) => room.read().await,
        }
    }

    /// A change.
    async fn write(&mut self) -> Result<Transaction<'_>, StoreError> {
        match self {
            Self::Sqlite(room) => room.write().await,
            Self::Postgres(room) => room.write().await,
        }
    }
}
