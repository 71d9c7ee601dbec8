//! How is a store kept in PostgreSQL, with the database itself between organisations?
//!
//! The service has two roles, each with a pool of its own. With the first, it reads and writes what organisations own:
//! row-level security is forced, each transaction says at its beginning whose it is, and without that there are no
//! rows. With the second, it calls named functions, and can do nothing else: which organisations there are, their
//! wrapped keys, the feed. A third role owns the tables, and is used for migrations only. Who waits for the feed looks
//! at its end from time to time: one query for all of them, which works through connection poolers and misses nothing
//! over a reconnection, as notifications would.

mod migrate;

use super::SCHEMA;
use super::error::StoreError;
use super::feed::{self, Feed};
use super::names::{OrganisationId, Owner};
use super::seal::KeyId;
use super::sql::{Argument, NO_ORGANISATION, ORGANISATION_EXISTS, Row, Transaction, code, failed, postgres};
use palisade_filters::secret::Secret;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgExecutor, PgPool, PgPoolOptions, Postgres as Driver};
use sqlx::{ConnectOptions, Connection};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

pub use migrate::PostgresOwner;
pub(super) use migrate::migrate;

/// How often the end of the feed is looked at while somebody waits: a change is to be in effect within a second.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Connections of the first role, unless the place says otherwise.
const CONNECTIONS: u32 = 8;
/// For a connection, and for a lock that another writer has.
const PATIENCE: Duration = Duration::from_secs(5);
/// The database ends what takes longer, in case this process no longer can.
const LIMITS: [(&str, &str); 5] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("synchronous_commit", "on"),
    ("row_security", "on"),
];
/// The oldest version that is tested.
const SERVER_MIN: u64 = 15;
/// The tables with row-level security.
const TENANT_TABLES: u64 = 4;

/// Where the database is: two roles of it.
#[derive(Clone, Debug)]
pub struct PostgresPlace {
    /// `postgres://…` as the role that works with what organisations own.
    pub service: Secret,
    /// `postgres://…` as the role that calls the directory's functions.
    pub directory: Secret,
    /// Connections of each role at most.
    pub connections: u32,
}

impl PostgresPlace {
    /// Two roles, and the limits that hold unless others are set.
    pub fn new(service: Secret, directory: Secret) -> Self {
        Self { service, directory, connections: CONNECTIONS }
    }
}

/// A store in a database.
#[derive(Debug)]
pub(super) struct Postgres {
    service: PgPool,
    directory: PgPool,
    /// The end of the feed, and when it was looked at.
    end: AsyncMutex<Option<(Instant, u64)>>,
}

/// One owner's rows.
#[derive(Debug)]
pub(super) struct Room {
    connection: PoolConnection<Driver>,
    owner: Owner,
}

impl Room {
    pub(super) async fn read(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    pub(super) async fn write(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.begin("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// Whose rows a transaction sees is said in it, and ends with it.
    async fn begin(&mut self, begin: &'static str) -> Result<Transaction<'_>, StoreError> {
        let transaction = self.connection.begin_with(begin).await.map_err(failed)?;
        let mut transaction = Transaction::Postgres(transaction);
        let query = "SELECT set_config('palisade.org', $1, true), \
                     set_config('search_path', 'palisade, pg_temp', true)";
        transaction.rows(query, &[Argument::Text(self.owner.column())]).await?;
        Ok(transaction)
    }
}

/// Where to connect to, and within which limits.
fn options(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    // What is wrong with it is not repeated: it holds a password.
    let options = url.expose().parse::<PgConnectOptions>();
    let options = options.map_err(|_| StoreError::Away("its address is not `postgres://…`".to_owned()))?;
    Ok(options.application_name("palisade").options(LIMITS).disable_statement_logging())
}

impl Postgres {
    pub(super) async fn open(place: &PostgresPlace) -> Result<Self, StoreError> {
        let pool = |url: &Secret| -> Result<PgPool, StoreError> {
            let most =
                PgPoolOptions::new().max_connections(place.connections.max(1)).acquire_timeout(PATIENCE);
            Ok(most.connect_lazy_with(options(url)?))
        };
        let opened = Self {
            service: pool(&place.service)?,
            directory: pool(&place.directory)?,
            end: AsyncMutex::default(),
        };
        opened.check().await?;
        Ok(opened)
    }

    pub(super) async fn close(self) {
        self.service.close().await;
        self.directory.close().await;
    }

    /// Whether the database is the one, and lets the service do what it must and nothing else.
    async fn check(&self) -> Result<(), StoreError> {
        let number = "SELECT current_setting('server_version_num')::bigint / 10000";
        let found = one(&rows(&self.service, number, &[]).await?)?.number(0)?;
        if found < SERVER_MIN {
            return Err(StoreError::ServerTooOld { found, needed: SERVER_MIN });
        }
        let role = unprivileged(&self.service, None).await?;
        if unprivileged(&self.directory, None).await? == role {
            let problem = "is both the role of the service and that of the directory".to_owned();
            return Err(StoreError::Privileged { role, problem });
        }
        let place = || "the database".to_owned();
        let there = rows(&self.service, "SELECT 1 FROM pg_namespace WHERE nspname = 'palisade'", &[]).await?;
        if there.is_empty() {
            return Err(StoreError::NotMigrated(place()));
        }
        let version = "SELECT coalesce(max(version), 0) FROM palisade.schema_version";
        let found = one(&rows(&self.service, version, &[]).await?)?.number(0)?;
        if found != SCHEMA {
            return Err(StoreError::Schema { place: place(), found, needed: SCHEMA });
        }
        let forced = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                      WHERE n.nspname = 'palisade' AND c.relname IN ('heads', 'resources', 'changes', 'memos') \
                      AND c.relrowsecurity AND c.relforcerowsecurity";
        if one(&rows(&self.service, forced, &[]).await?)?.number(0)? != TENANT_TABLES {
            let what = "row-level security that is not forced".to_owned();
            return Err(StoreError::Inconsistent { place: "schema palisade".to_owned(), what });
        }
        Ok(())
    }

    pub(super) async fn enter(&self, owner: &Owner) -> Result<Room, StoreError> {
        Ok(Room { connection: self.service.acquire().await.map_err(failed)?, owner: owner.clone() })
    }

    /// Keeps a change; its place in the feed is taken last, as it is held until the end.
    pub(super) async fn commit(
        &self,
        mut transaction: Transaction<'_>,
        revision: u64,
    ) -> Result<(), StoreError> {
        let place = transaction.rows("SELECT palisade.append($1)", &[Argument::Number(revision)]).await?;
        transaction.commit().await?;
        self.ended(one(&place)?.number(0)?).await;
        Ok(())
    }

    pub(super) async fn create(&self, owner: &str, key: KeyId, wrapped: &[u8]) -> Result<(), StoreError> {
        let query = "SELECT palisade_directory.create_organisation($1, $2, $3)";
        let named = [Argument::Text(owner), Argument::Bytes(key.bytes()), Argument::Bytes(wrapped)];
        self.call(query, &named, owner).await
    }

    pub(super) async fn delete(&self, id: &OrganisationId) -> Result<(), StoreError> {
        let query = "SELECT palisade_directory.delete_organisation($1)";
        self.call(query, &[Argument::Text(id.as_str())], id.as_str()).await
    }

    /// A function that gives back a place in the feed, and says itself what is wrong with an organisation.
    async fn call(
        &self,
        query: &'static str,
        arguments: &[Argument<'_>],
        owner: &str,
    ) -> Result<(), StoreError> {
        match postgres(query, arguments).fetch_one(&self.directory).await {
            Ok(row) => {
                self.ended(Row::Postgres(row).number(0)?).await;
                Ok(())
            }
            Err(error) => Err(match (code(&error).as_deref(), OrganisationId::new(owner)) {
                (Some(NO_ORGANISATION), Ok(id)) => StoreError::NoOrganisation(id),
                (Some(ORGANISATION_EXISTS), Ok(id)) => StoreError::OrganisationExists(id),
                (Some(_) | None, _) => failed(error),
            }),
        }
    }

    pub(super) async fn organisations(
        &self,
        after: &str,
        most: u64,
    ) -> Result<Vec<OrganisationId>, StoreError> {
        let query = "SELECT organisation FROM palisade_directory.organisations($1, $2)";
        let rows = rows(&self.directory, query, &[Argument::Text(after), Argument::Number(most)]).await?;
        rows.iter().map(feed::organisation).collect()
    }

    pub(super) async fn wrapped_key(&self, owner: &Owner, key: KeyId) -> Result<Option<Vec<u8>>, StoreError> {
        let query = "SELECT palisade_directory.wrapped_key($1, $2)";
        let named = [Argument::Text(owner.column()), Argument::Bytes(key.bytes())];
        rows(&self.directory, query, &named).await?.first().map(|row| row.bytes(0)).transpose()
    }

    /// The key of the platform; none: there never was one.
    pub(super) async fn platform_key(&self) -> Result<Option<KeyId>, StoreError> {
        let mut room = self.enter(&Owner::Platform).await?;
        let mut transaction = room.read().await?;
        let query = "SELECT key_id FROM heads WHERE organisation = $1";
        let row = transaction.row(query, &[Argument::Text(Owner::Platform.column())]).await?;
        let bytes = row.map(|row| row.bytes(0)).transpose()?;
        Ok(bytes.and_then(|bytes| KeyId::new(&bytes)))
    }

    /// What stands behind a position. A look that is not the first of its caller may be answered by what another caller
    /// saw a moment ago.
    pub(super) async fn feed(&self, after: u64, most: u64, is_first: bool) -> Result<Feed, StoreError> {
        let end = self.end(after, is_first).await?;
        if after > end {
            return Err(StoreError::AheadOfFeed { after, last: end });
        }
        if after == end {
            return Ok(Feed { entries: Vec::new(), end });
        }
        let query = "SELECT at, organisation, revision, event FROM palisade_directory.feed($1, $2)";
        let rows = rows(&self.directory, query, &[Argument::Number(after), Argument::Number(most)]).await?;
        let entries: Result<Vec<_>, StoreError> = rows.iter().map(feed::entry).collect();
        Ok(Feed { entries: entries?, end })
    }

    async fn end(&self, after: u64, is_first: bool) -> Result<u64, StoreError> {
        // Held while asking: who waits is answered by whoever asked before.
        let mut seen = self.end.lock().await;
        if let Some((at, end)) = *seen
            && (end > after || (end == after && !is_first && at.elapsed() < LOOK_EVERY / 2))
        {
            return Ok(end);
        }
        let rows = rows(&self.directory, "SELECT palisade_directory.feed_end()", &[]).await?;
        let end = one(&rows)?.number(0)?;
        *seen = Some((Instant::now(), end));
        Ok(end)
    }

    /// The feed is at least this long, by what this process itself wrote.
    async fn ended(&self, position: u64) {
        let mut seen = self.end.lock().await;
        if seen.is_none_or(|(_, end)| end < position) {
            *seen = Some((Instant::now(), position));
        }
    }
}

async fn rows(
    pool: &PgPool,
    query: &'static str,
    arguments: &[Argument<'_>],
) -> Result<Vec<Row>, StoreError> {
    let rows = postgres(query, arguments).fetch_all(pool).await.map_err(failed)?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

fn one(rows: &[Row]) -> Result<&Row, StoreError> {
    rows.first().ok_or_else(|| StoreError::Database("a row is missing".to_owned()))
}

/// A role that could pass by row-level security, or give itself the right to, is not used. Without a name, it is the
/// role that is connected; what it is called is given back.
async fn unprivileged(executor: impl PgExecutor<'_>, role: Option<&str>) -> Result<String, StoreError> {
    let query = "SELECT rolname::text, \
        CASE WHEN current_user <> session_user THEN 'acts as another' \
             WHEN rolsuper THEN 'is a superuser' \
             WHEN rolbypassrls THEN 'has BYPASSRLS' \
             WHEN rolcreaterole THEN 'has CREATEROLE' \
             WHEN rolreplication THEN 'has REPLICATION' \
             WHEN EXISTS (SELECT 1 FROM pg_namespace n WHERE n.nspname LIKE 'palisade%' AND n.nspowner = r.oid) \
               THEN 'owns the store' \
             WHEN EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid) THEN 'is a member of another role' \
             ELSE '' END \
        FROM pg_roles r WHERE rolname = coalesce($1, current_user)";
    let row =
        sqlx::query(query).bind(role).fetch_optional(executor).await.map_err(failed)?.map(Row::Postgres);
    let Some(row) = row else {
        let problem = "does not exist".to_owned();
        return Err(StoreError::Privileged { role: role.unwrap_or_default().to_owned(), problem });
    };
    let (role, problem) = (row.text(0)?, row.text(1)?);
    if problem.is_empty() { Ok(role) } else { Err(StoreError::Privileged { role, problem }) }
}
