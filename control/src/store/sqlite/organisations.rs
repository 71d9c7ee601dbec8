//! How does an organisation come to be, and cease to be, in several files at once?
//!
//! Its row in the platform's file says how far it is: `creating`, `active`, `deleting`. Both ways go through states
//! that a process which ends leaves behind; the next one finishes them ([`Sqlite::recover`]). What is not `active`
//! does not exist for anybody.

use super::files::Handle;
use super::{Sqlite, SqlitePlace, files, head, key_id, log_next, tenant_steps};
use crate::store::SCHEMA;
use crate::store::error::StoreError;
use crate::store::feed;
use crate::store::names::{OrganisationId, Owner};
use crate::store::seal::KeyId;
use crate::store::sql::{Argument, Row, Transaction, failed};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;

/// Rows that are read at once while all organisations are looked at.
const PAGE: u64 = 500;

/// How far an organisation is.
pub(super) struct State {
    pub(super) name: String,
    pub(super) key: KeyId,
    logged: u64,
}

/// Brings the files of all organisations to this version's schema, each by itself: what was interrupted goes on where
/// it was. A file that cannot be read holds up nobody else; its own users have the error.
pub(super) async fn migrate(place: &SqlitePlace, platform: &mut SqliteConnection) -> Result<(), StoreError> {
    let query = "SELECT organisation, key_id FROM organisations WHERE state = 'active'";
    let rows = sqlx::query(query).fetch_all(platform).await.map_err(failed)?;
    for row in rows.into_iter().map(Row::Sqlite) {
        let path = place.organisation_file(&feed::organisation(&row)?, key_id(&row, 1)?);
        match migrate_file(place, &path).await {
            Ok(()) | Err(StoreError::Inconsistent { .. } | StoreError::Io { .. }) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

async fn migrate_file(place: &SqlitePlace, path: &Path) -> Result<(), StoreError> {
    let mut connection = place.connect(path).await?;
    let found = files::version(&mut connection).await?;
    if found == 0 || found > SCHEMA {
        return Err(files::schema(path, found));
    }
    let mut transaction = connection.begin().await.map_err(failed)?;
    tenant_steps(&mut transaction, found).await?;
    transaction.commit().await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

impl Sqlite {
    pub(super) async fn state(&self, id: &OrganisationId) -> Result<Option<State>, StoreError> {
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.read().await?;
        let query = "SELECT state, key_id, logged FROM organisations WHERE organisation = $1";
        let row = transaction.row(query, &[Argument::Text(id.as_str())]).await?;
        row.map(|row| Ok(State { name: row.text(0)?, key: key_id(&row, 1)?, logged: row.number(2)? }))
            .transpose()
    }

    pub(in crate::store) async fn create(
        &self,
        id: &OrganisationId,
        key: KeyId,
        wrapped: &[u8],
    ) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        match self.state(id).await? {
            Some(state) if state.name == "active" => {
                return Err(StoreError::OrganisationExists(id.clone()));
            }
            // Somebody began, and did not end.
            Some(state) => self.erase(id, state.key).await?,
            None => {}
        }
        let query =
            "INSERT INTO organisations (organisation, state, key_id, logged) VALUES ($1, 'creating', $2, 0)";
        self.change(query, &[Argument::Text(id.as_str()), Argument::Bytes(key.bytes())], None).await?;
        if let Err(failed) = self.make(id, key, wrapped).await {
            // If this fails, too, what is left is found by its state.
            let _ = self.erase(id, key).await;
            return Err(failed);
        }
        let query = "UPDATE organisations SET state = 'active' WHERE organisation = $1";
        let event = Some((Owner::Organisation(id.clone()), 0, "created"));
        self.change(query, &[Argument::Text(id.as_str())], event).await
    }

    /// The key, then the file.
    async fn make(&self, id: &OrganisationId, key: KeyId, wrapped: &[u8]) -> Result<(), StoreError> {
        let owner = Owner::Organisation(id.clone());
        self.place.write_key(&owner, key, wrapped)?;
        let path = self.place.organisation_file(id, key);
        SqlitePlace::make_file(&path)?;
        let mut connection = self.place.connect(&path).await?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        tenant_steps(&mut transaction, 0).await?;
        let mut transaction = Transaction::Sqlite(transaction);
        head(&mut transaction, &owner, key).await?;
        transaction.commit().await?;
        connection.close().await.map_err(failed)?;
        files::sync(&self.place.organisations_folder())
    }

    pub(in crate::store) async fn delete(&self, id: &OrganisationId) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        self.settle().await?;
        let slot = self.files.slot(id).await;
        // Whoever writes has written; whoever comes finds nobody.
        let mut handle = slot.lock().await;
        let state = match self.state(id).await? {
            Some(state) if state.name == "active" => state,
            Some(state) => {
                self.erase(id, state.key).await?;
                return Err(StoreError::NoOrganisation(id.clone()));
            }
            None => return Err(StoreError::NoOrganisation(id.clone())),
        };
        let query = "UPDATE organisations SET state = 'deleting' WHERE organisation = $1";
        let event = Some((Owner::Organisation(id.clone()), state.logged, "deleted"));
        self.change(query, &[Argument::Text(id.as_str())], event).await?;
        self.files.forget(id);
        if let Handle::Open(database) = std::mem::replace(&mut *handle, Handle::Gone) {
            database.close().await;
        }
        self.erase(id, state.key).await
    }

    /// Destroys the key, then the rest.
    async fn erase(&self, id: &OrganisationId, key: KeyId) -> Result<(), StoreError> {
        self.place.destroy_key(&Owner::Organisation(id.clone()), key)?;
        self.place.remove_files(id, key)?;
        let query = "DELETE FROM organisations WHERE organisation = $1";
        self.change(query, &[Argument::Text(id.as_str())], None).await
    }

    /// One statement on the platform's file, with what the feed is told of it.
    async fn change(
        &self,
        query: &'static str,
        arguments: &[Argument<'_>],
        event: Option<(Owner, u64, &str)>,
    ) -> Result<(), StoreError> {
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.write().await?;
        transaction.rows(query, arguments).await?;
        if let Some((owner, revision, event)) = event {
            log_next(&mut transaction, &owner, revision, event).await?;
        }
        transaction.commit().await
    }

    pub(in crate::store) async fn organisations(
        &self,
        after: &str,
        most: u64,
    ) -> Result<Vec<OrganisationId>, StoreError> {
        let query = "SELECT organisation FROM organisations WHERE state = 'active' AND organisation > $1 \
                     ORDER BY organisation LIMIT $2";
        self.ids(query, after, most).await
    }

    async fn ids(
        &self,
        query: &'static str,
        after: &str,
        most: u64,
    ) -> Result<Vec<OrganisationId>, StoreError> {
        let mut platform = self.platform.lock().await;
        let mut transaction = platform.read().await?;
        let rows = transaction.rows(query, &[Argument::Text(after), Argument::Number(most)]).await?;
        rows.iter().map(feed::organisation).collect()
    }

    /// What a process that ended left half done: organisations that were being made or deleted are erased, and the feed
    /// is told what it was not told. An organisation whose file cannot be read keeps nobody else from starting: it is
    /// tried again by readers of the feed, and its own users have the error.
    pub(in crate::store) async fn recover(&self) -> Result<(), StoreError> {
        let half = "SELECT organisation FROM organisations WHERE state <> 'active' AND organisation > $1 \
                    ORDER BY organisation LIMIT $2";
        for id in self.ids(half, "", PAGE).await? {
            if let Some(state) = self.state(&id).await? {
                self.erase(&id, state.key).await?;
            }
        }
        let mut after = String::new();
        loop {
            let page = self.organisations(&after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.as_str().to_owned();
            self.owed().extend(page);
            self.settle().await?;
        }
    }
}
