//! How is a store kept in files, one an organisation, and lose nothing whenever the process ends?
//!
//! What an organisation has, and its revision, are in its own file, changed in one transaction. The feed is in the
//! platform's file: first the organisation's file is written, then the feed. A process that ends in between leaves the
//! organisation ahead of the feed; the next one finds that at its start and catches up ([`Sqlite::recover`]). So the
//! feed is never ahead of what it tells of. One process at a time has a store open, by a lock; it is meant for one
//! machine and up to about 5 000 organisations.
//!
//! Whoever needs two locks takes an organisation's file first, then the platform's.

mod files;
mod organisations;

use super::SCHEMA;
use super::error::StoreError;
use super::feed::{self, Feed};
use super::names::{OrganisationId, Owner};
use super::seal::KeyId;
use super::sql::{Argument, Row, Transaction, failed};
use files::{Database, Handle, Lock, Open};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// What an owner has, the same tables in every file: from each schema to the next, beginning with none.
const TENANT_STEPS: [&str; SCHEMA as usize] = [
    concat!(include_str!("../migrations/tenant.sql"), "PRAGMA user_version = 1;"),
    concat!(include_str!("../migrations/tenant_2.sql"), "PRAGMA user_version = 2;"),
];
/// What the platform's file has besides.
const PLATFORM_SCHEMA: &str = include_str!("../migrations/platform.sql");
/// Files of organisations that are open at once, unless the place says otherwise: each has three descriptors.
const OPEN_FILES: usize = 64;
/// A file of the store, unless the place says otherwise.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// Where the files are.
#[derive(Clone, Debug)]
pub struct SqlitePlace {
    /// The store's folder.
    pub folder: PathBuf,
    /// The folder of wrapped keys: backed up apart from the store, or deleting an organisation would not end its
    /// documents in backups.
    pub keys: PathBuf,
    /// Files of organisations that are open at once.
    pub open_files: usize,
    /// The largest that one file may grow; then its owner's writes are refused, and nobody else's.
    pub file_bytes_max: u64,
}

impl SqlitePlace {
    /// Two folders, and the limits that hold unless others are set.
    pub fn new(folder: PathBuf, keys: PathBuf) -> Self {
        Self { folder, keys, open_files: OPEN_FILES, file_bytes_max: FILE_BYTES_MAX }
    }
}

/// A store in files.
#[derive(Debug)]
pub(super) struct Sqlite {
    place: SqlitePlace,
    platform: Arc<AsyncMutex<Database>>,
    files: Open,
    permits: Arc<Semaphore>,
    /// Organisations whose file may be ahead of the feed.
    owed: Mutex<BTreeSet<OrganisationId>>,
    /// One organisation at a time is made or deleted.
    changing: AsyncMutex<()>,
    _lock: Lock,
}

/// One owner's file, held.
#[derive(Debug)]
pub(super) enum Room {
    Platform(OwnedMutexGuard<Database>),
    Organisation(OwnedMutexGuard<Handle>, #[expect(dead_code, reason = "it counts")] OwnedSemaphorePermit),
}

impl Room {
    fn database(&mut self) -> Result<&mut Database, StoreError> {
        match self {
            Self::Platform(database) => Ok(database),
            Self::Organisation(handle, _) => match &mut **handle {
                Handle::Open(database) => Ok(database),
                Handle::Closed | Handle::Gone => Err(StoreError::Away("its file was closed".to_owned())),
            },
        }
    }

    pub(super) async fn read(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.database()?.read().await
    }

    pub(super) async fn write(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.database()?.write().await
    }
}

/// Makes or updates the files.
pub(super) async fn migrate(place: &SqlitePlace) -> Result<(), StoreError> {
    place.make_folders()?;
    let _lock = place.lock()?;
    let path = place.platform_file();
    if !path.exists() {
        SqlitePlace::make_file(&path)?;
    }
    let mut connection = place.connect(&path).await?;
    let found = files::version(&mut connection).await?;
    if found > SCHEMA {
        return Err(files::schema(&path, found));
    }
    if found > 0 && found < SCHEMA {
        // The platform's file is the last one: until then, the store is of the old schema for whoever opens it.
        organisations::migrate(place, &mut connection).await?;
    }
    let mut transaction = connection.begin().await.map_err(failed)?;
    if found == 0 {
        sqlx::raw_sql(PLATFORM_SCHEMA).execute(&mut *transaction).await.map_err(failed)?;
    }
    tenant_steps(&mut transaction, found).await?;
    transaction.commit().await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    files::sync(&place.folder)
}

/// Brings an owner's tables from a schema to this version's.
async fn tenant_steps(connection: &mut SqliteConnection, found: u64) -> Result<(), StoreError> {
    for step in TENANT_STEPS.iter().skip(found as usize) {
        sqlx::raw_sql(*step).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

impl Sqlite {
    pub(super) async fn open(place: SqlitePlace) -> Result<Self, StoreError> {
        let path = place.platform_file();
        if !path.is_file() {
            return Err(StoreError::NotMigrated(format!("`{}`", place.folder.display())));
        }
        let lock = place.lock()?;
        let platform = Database::open(&place, path).await?;
        let open_files = place.open_files.max(1);
        Ok(Self {
            platform: Arc::new(AsyncMutex::new(platform)),
            files: Open::new(open_files),
            permits: Arc::new(Semaphore::new(open_files)),
            owed: Mutex::default(),
            changing: AsyncMutex::default(),
            place,
            _lock: lock,
        })
    }

    pub(super) async fn close(self) {
        self.files.close().await;
        if let Some(database) = Arc::into_inner(self.platform) {
            database.into_inner().close().await;
        }
    }

    /// One owner's file; an organisation's is opened if it is not.
    pub(super) async fn enter(&self, owner: &Owner) -> Result<Room, StoreError> {
        let id = match owner {
            Owner::Platform => return Ok(Room::Platform(self.platform.clone().lock_owned().await)),
            Owner::Organisation(id) => id,
        };
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|closed| StoreError::Away(closed.to_string()))?;
        let mut handle = self.files.slot(id).await.lock_owned().await;
        match &*handle {
            Handle::Open(_) => {}
            Handle::Gone => return Err(StoreError::NoOrganisation(id.clone())),
            Handle::Closed => {
                let state = self.state(id).await?.filter(|state| state.name == "active");
                let state = state.ok_or_else(|| StoreError::NoOrganisation(id.clone()))?;
                *handle = Handle::Open(
                    Database::open(&self.place, self.place.organisation_file(id, state.key)).await?,
                );
            }
        }
        Ok(Room::Organisation(handle, permit))
    }

    /// Keeps a change, then tells the feed.
    pub(super) async fn commit(
        &self,
        owner: &Owner,
        mut transaction: Transaction<'_>,
        revision: u64,
    ) -> Result<(), StoreError> {
        let id = match owner {
            Owner::Platform => {
                log_next(&mut transaction, owner, revision, "changed").await?;
                return transaction.commit().await;
            }
            Owner::Organisation(id) => id,
        };
        // From here on the file may be ahead of the feed, whatever becomes of this task.
        self.owed().insert(id.clone());
        transaction.commit().await?;
        // The change is kept: if the feed cannot be told now, its next reader sees to it, and has the error.
        if self.log(id, revision).await.is_ok() {
            self.owed().remove(id);
        }
        Ok(())
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, BTreeSet<OrganisationId>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the feed of an organisation's revisions up to this one; whoever calls holds the organisation's file.
    async fn log(&self, id: &OrganisationId, revision: u64) -> Result<(), StoreError> {
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.write().await?;
        let named = [Argument::Text(id.as_str())];
        let query = "SELECT logged FROM organisations WHERE organisation = $1";
        let Some(row) = transaction.row(query, &named).await? else { return Ok(()) };
        let (logged, owner) = (row.number(0)?, Owner::Organisation(id.clone()));
        if revision == logged {
            return Ok(());
        }
        if revision < logged {
            log_next(&mut transaction, &owner, revision, "restored").await?;
        }
        for revision in logged + 1..=revision {
            log_next(&mut transaction, &owner, revision, "changed").await?;
        }
        let query = "UPDATE organisations SET logged = $2 WHERE organisation = $1";
        transaction.rows(query, &[Argument::Text(id.as_str()), Argument::Number(revision)]).await?;
        transaction.commit().await
    }

    /// Tells the feed what it was not told.
    async fn settle(&self) -> Result<(), StoreError> {
        let owed = self.owed().clone();
        for id in owed {
            let owner = Owner::Organisation(id.clone());
            // One organisation whose file cannot be read does not hold up the others; it is tried again next time.
            match self.revision(&owner).await {
                Ok((revision, _room)) => {
                    self.log(&id, revision).await?;
                    self.owed().remove(&id);
                }
                Err(StoreError::NoOrganisation(_)) => drop(self.owed().remove(&id)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The revision that an owner's file is at, and the file, held.
    async fn revision(&self, owner: &Owner) -> Result<(u64, Room), StoreError> {
        let mut room = self.enter(owner).await?;
        let mut transaction = room.read().await?;
        let query = "SELECT revision FROM heads WHERE organisation = $1";
        let row = transaction.row(query, &[Argument::Text(owner.column())]).await?;
        let revision = row.map(|row| row.number(0)).transpose()?;
        drop(transaction);
        match (revision, owner) {
            (Some(revision), _) => Ok((revision, room)),
            (None, Owner::Organisation(id)) => Err(without_head(id)),
            (None, Owner::Platform) => Ok((0, room)),
        }
    }

    pub(super) async fn feed(&self, after: u64, most: u64) -> Result<Feed, StoreError> {
        self.settle().await?;
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.read().await?;
        let end = transaction.row("SELECT position FROM feed_end", &[]).await?;
        let end = end.as_ref().map_or(Ok(0), |row| row.number(0))?;
        if after > end {
            return Err(StoreError::AheadOfFeed { after, last: end });
        }
        let query = "SELECT position, organisation, revision, event FROM log WHERE position > $1 \
                     ORDER BY position LIMIT $2";
        let rows = transaction.rows(query, &[Argument::Number(after), Argument::Number(most)]).await?;
        let entries: Result<Vec<_>, StoreError> = rows.iter().map(feed::entry).collect();
        Ok(Feed { entries: entries?, end })
    }

    pub(super) fn wrapped_key(&self, owner: &Owner, key: KeyId) -> Result<Option<Vec<u8>>, StoreError> {
        self.place.read_key(owner, key)
    }

    /// The key of the platform; none: there never was one.
    pub(super) async fn platform_key(&self) -> Result<Option<KeyId>, StoreError> {
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.read().await?;
        let query = "SELECT key_id FROM heads WHERE organisation = $1";
        let row = transaction.row(query, &[Argument::Text(Owner::Platform.column())]).await?;
        row.map(|row| key_id(&row, 0)).transpose()
    }

    /// Gives the platform its key.
    pub(super) async fn create_platform(&self, key: KeyId, wrapped: &[u8]) -> Result<(), StoreError> {
        self.place.write_key(&Owner::Platform, key, wrapped)?;
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.write().await?;
        head(&mut transaction, &Owner::Platform, key).await?;
        log_next(&mut transaction, &Owner::Platform, 0, "created").await?;
        transaction.commit().await
    }
}

/// A file that does not know its organisation.
pub(super) fn without_head(id: &OrganisationId) -> StoreError {
    StoreError::Inconsistent {
        place: format!("file of `{id}`"),
        what: "what another organisation has, or nothing".to_owned(),
    }
}

fn key_id(row: &Row, at: usize) -> Result<KeyId, StoreError> {
    KeyId::new(&row.bytes(at)?).ok_or_else(|| StoreError::Inconsistent {
        place: "platform.db".to_owned(),
        what: "the id of no key".to_owned(),
    })
}

/// Begins an owner's revisions.
async fn head(transaction: &mut Transaction<'_>, owner: &Owner, key: KeyId) -> Result<(), StoreError> {
    let query = "INSERT INTO heads (organisation, revision, key_id) VALUES ($1, 0, $2)";
    transaction.rows(query, &[Argument::Text(owner.column()), Argument::Bytes(key.bytes())]).await.map(drop)
}

/// The next entry of the feed.
async fn log_next(
    transaction: &mut Transaction<'_>,
    owner: &Owner,
    revision: u64,
    event: &str,
) -> Result<(), StoreError> {
    let query = "UPDATE feed_end SET position = position + 1 WHERE one = 1 RETURNING position";
    let Some(row) = transaction.row(query, &[]).await? else {
        let (place, what) = ("platform.db".to_owned(), "no end of the feed".to_owned());
        return Err(StoreError::Inconsistent { place, what });
    };
    let query = "INSERT INTO log (position, organisation, revision, event) VALUES ($1, $2, $3, $4)";
    let entry = [
        Argument::Number(row.number(0)?),
        Argument::Text(owner.column()),
        Argument::Number(revision),
        Argument::Text(event),
    ];
    transaction.rows(query, &entry).await.map(drop)
}
