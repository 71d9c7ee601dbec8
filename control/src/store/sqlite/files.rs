//! Which files are open, and how?
//!
//! ```text
//! store/platform.db        what the platform has, which organisations there are, and the feed
//! store/orgs/<id>.<key>.db what one organisation has; with it `-wal` and `-shm` while it is open
//! store/.lock              held by the one process that has the store open
//! keys/<id>.<key>.key      its key, sealed under the master key; never in the same backup as its documents
//! ```
//!
//! A file is named after its key, too: so no file ever has the name of one that was deleted, which somebody may be
//! closing still.
//!
//! At most so many organisations' files are open at once as the place says: the one used longest ago is closed first.
//! An organisation's file has one connection, so its readers and writers take turns.

use super::SqlitePlace;
use crate::store::SCHEMA;
use crate::store::error::StoreError;
use crate::store::names::{OrganisationId, Owner};
use crate::store::seal::KeyId;
use crate::store::sql::{Transaction, failed};
use lru::LruCache;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;

/// Only the owner of the process reads or writes.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Another connection of this process may be closing a file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of SQLite, unless a file was made with others.
const PAGE_BYTES: u64 = 4096;
/// This room has about a dozen statements.
const STATEMENTS_KEPT: usize = 32;
/// A wrapped key is far smaller.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// The store's lock; given back when dropped, or by the system when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _held: File,
}

/// A database file, open.
#[derive(Debug)]
pub(in crate::store) struct Database {
    connection: SqliteConnection,
    place: SqlitePlace,
    path: PathBuf,
}

impl Database {
    /// Opens a file of this version's schema.
    pub(super) async fn open(place: &SqlitePlace, path: PathBuf) -> Result<Self, StoreError> {
        let connection = checked(place, &path).await?;
        Ok(Self { connection, place: place.clone(), path })
    }

    /// A view of one moment.
    pub(super) async fn read(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.begin("BEGIN").await
    }

    /// A change. The right to write is taken at the beginning: a reader that became a writer halfway could fail.
    pub(super) async fn write(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.begin("BEGIN IMMEDIATE").await
    }

    async fn begin(&mut self, begin: &'static str) -> Result<Transaction<'_>, StoreError> {
        if self.connection.is_in_transaction() {
            // The one before was given up, and may be about to end: what is asked now is answered after that.
            self.connection.ping().await.map_err(failed)?;
        }
        if self.connection.is_in_transaction() {
            // SQLite itself ends a transaction when the disk is full, and the driver does not learn of it.
            let connection = checked(&self.place, &self.path).await?;
            let _ = std::mem::replace(&mut self.connection, connection).close().await;
        }
        Ok(Transaction::Sqlite(self.connection.begin_with(begin).await.map_err(failed)?))
    }

    pub(super) async fn close(self) {
        // All that was accepted is on the disk already; what cannot be tidied up now is at the next opening.
        let _ = self.connection.close().await;
    }
}

async fn checked(place: &SqlitePlace, path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = place.connect(path).await?;
    match version(&mut connection).await? {
        SCHEMA => Ok(connection),
        found => Err(schema(path, found)),
    }
}

/// The schema of a file.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("PRAGMA user_version").fetch_one(connection).await.map_err(failed)?;
    // SQLite gives it as a number of 32 bits.
    let version: i32 = sqlx::Row::try_get(&row, 0).map_err(failed)?;
    Ok(u64::from(version.unsigned_abs()))
}

/// A schema of another time.
pub(super) fn schema(path: &Path, found: u64) -> StoreError {
    StoreError::Schema { place: format!("`{}`", path.display()), found, needed: SCHEMA }
}

/// An organisation's file.
#[derive(Debug)]
pub(in crate::store) enum Handle {
    /// Not looked at yet, or not there.
    Closed,
    /// In use.
    Open(Database),
    /// Its organisation was deleted: who waited for it finds nothing.
    Gone,
}

/// An organisation's file, for whoever holds the lock.
pub(super) type Slot = Arc<AsyncMutex<Handle>>;

/// The files that are open.
#[derive(Debug)]
pub(super) struct Open {
    slots: Mutex<LruCache<OrganisationId, Slot>>,
    most: usize,
}

impl Open {
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Mutex::new(LruCache::unbounded()), most }
    }

    /// The slot of an organisation; to make room for it, others are closed that nobody uses.
    pub(super) async fn slot(&self, id: &OrganisationId) -> Slot {
        let (slot, idle) = self.find(id);
        for slot in idle {
            close(slot).await;
        }
        slot
    }

    fn find(&self, id: &OrganisationId) -> (Slot, Vec<Slot>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(id) {
            return (slot.clone(), Vec::new());
        }
        let mut idle = Vec::new();
        while slots.len() >= self.most {
            // Clones are made under this lock alone: one that only stands here is used by nobody.
            let longest = slots.iter().rev().find(|(_, slot)| Arc::strong_count(slot) == 1);
            let Some(longest) = longest.map(|(id, _)| id.clone()) else { break };
            idle.extend(slots.pop(&longest));
        }
        let slot = Slot::new(AsyncMutex::new(Handle::Closed));
        slots.put(id.clone(), slot.clone());
        (slot, idle)
    }

    /// Forgets the slot of an organisation that is gone.
    pub(super) fn forget(&self, id: &OrganisationId) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop(id);
    }

    /// Closes all.
    pub(super) async fn close(&self) {
        let all: Vec<Slot> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            std::iter::from_fn(|| slots.pop_lru()).map(|(_, slot)| slot).collect()
        };
        for slot in all {
            close(slot).await;
        }
    }
}

async fn close(slot: Slot) {
    let handle = std::mem::replace(&mut *slot.lock().await, Handle::Closed);
    if let Handle::Open(database) = handle {
        database.close().await;
    }
}

impl SqlitePlace {
    /// Whether something was sealed already, so that only one master key opens it.
    pub fn is_sealed(&self) -> bool {
        std::fs::read_dir(&self.keys).is_ok_and(|mut keys| keys.next().is_some())
    }

    pub(super) fn platform_file(&self) -> PathBuf {
        self.folder.join("platform.db")
    }

    pub(super) fn organisations_folder(&self) -> PathBuf {
        self.folder.join("orgs")
    }

    /// An organisation's id is made of letters, digits and dashes: it stays in its folder.
    pub(super) fn organisation_file(&self, id: &OrganisationId, key: KeyId) -> PathBuf {
        self.organisations_folder().join(format!("{id}.{key}.db"))
    }

    fn key_file(&self, owner: &Owner, key: KeyId) -> PathBuf {
        self.keys.join(format!("{}.{key}.key", owner.column()))
    }

    /// Makes what is missing of the folders.
    pub(super) fn make_folders(&self) -> Result<(), StoreError> {
        for folder in [&self.folder, &self.organisations_folder(), &self.keys] {
            let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
            made.map_err(|cause| StoreError::io("create the folder", folder, cause))?;
        }
        Ok(())
    }

    /// Takes the store for this process.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.folder.join(".lock");
        let fail = |cause| StoreError::io("lock", &path, cause);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&path);
        let file = file.map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _held: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(self.folder.clone())),
            Err(TryLockError::Error(cause)) => Err(fail(cause)),
        }
    }

    /// Opens a database file, which must be there.
    pub(super) async fn connect(&self, path: &Path) -> Result<SqliteConnection, StoreError> {
        let pages = (self.file_bytes_max / PAGE_BYTES).clamp(1, u64::from(u32::MAX) - 1);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // What was accepted is on the disk: a power cut takes nothing back that somebody was told of.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS_KEPT)
            .pragma("max_page_count", pages.to_string())
            // A file that somebody else wrote may hold views and triggers; they may call nothing.
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging();
        if !path.is_file() {
            let missing = std::io::Error::from(ErrorKind::NotFound);
            return Err(StoreError::io("open", path, missing));
        }
        options.connect().await.map_err(failed)
    }

    /// The key of an owner, sealed; none: there is no such key.
    pub(super) fn read_key(&self, owner: &Owner, key: KeyId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.key_file(owner, key);
        let fail = |cause| StoreError::io("read", &path, cause);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(fail(cause)),
        };
        let mut wrapped = Vec::new();
        file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut wrapped).map_err(fail)?;
        Ok(Some(wrapped))
    }

    /// Keeps a sealed key; after this a power cut does not take it away.
    pub(super) fn write_key(&self, owner: &Owner, key: KeyId, wrapped: &[u8]) -> Result<(), StoreError> {
        let path = self.key_file(owner, key);
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(&path)?;
            file.write_all(wrapped)?;
            file.sync_all()?;
            File::open(&self.keys)?.sync_all()
        };
        write().map_err(|cause| StoreError::io("write", &path, cause))
    }

    /// Destroys a key: overwritten, then removed. A file system that copies on write may keep the old blocks for a
    /// while; they hold the key under the master key only.
    pub(super) fn destroy_key(&self, owner: &Owner, key: KeyId) -> Result<(), StoreError> {
        let path = self.key_file(owner, key);
        let overwrite = || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            let length = file.metadata()?.len().min(KEY_FILE_BYTES_MAX);
            file.write_all(&vec![0; length as usize])?;
            file.sync_all()
        };
        match overwrite() {
            Ok(()) => {}
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(StoreError::io("overwrite", &path, cause)),
        }
        remove(&path)?;
        sync(&self.keys)
    }

    /// Makes an empty file for an organisation's database.
    pub(super) fn make_file(path: &Path) -> Result<(), StoreError> {
        let made = OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path);
        made.map(drop).map_err(|cause| StoreError::io("create", path, cause))
    }

    /// Removes an organisation's database.
    pub(super) fn remove_files(&self, id: &OrganisationId, key: KeyId) -> Result<(), StoreError> {
        let path = self.organisation_file(id, key);
        for end in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(end);
            remove(Path::new(&name))?;
        }
        sync(&self.organisations_folder())
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(StoreError::io("remove", path, cause)),
    }
}

/// Names are in a folder's own blocks: without this a power cut may bring old ones back.
pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|cause| StoreError::io("sync", folder, cause))
}
