//! How does a database become a store, and by whom?
//!
//! By the role that owns it, in one explicit call: the service has no right to change a table. The roles of the service
//! are made before, by whoever runs the database, and are given here what they need.

use super::{PostgresPlace, options, unprivileged};
use crate::store::SCHEMA;
use crate::store::error::StoreError;
use crate::store::sql::failed;
use palisade_filters::secret::Secret;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

/// From each schema to the next, beginning with none.
const STEPS: [&str; SCHEMA as usize] =
    [include_str!("../migrations/postgres.sql"), include_str!("../migrations/postgres_2.sql")];
/// Two migrations at once would meet here; the number is ours by chance.
const TURN: i64 = 0x5041_4c49;
/// PostgreSQL cuts longer names off.
const ROLE_BYTES_MAX: usize = 63;

/// Who migrates, and for whom.
#[derive(Clone, Debug)]
pub struct PostgresOwner {
    /// `postgres://…` as the role that owns the store.
    pub owner: Secret,
    /// The name of the role that works with what organisations own.
    pub service: String,
    /// The name of the role that calls the directory's functions.
    pub directory: String,
}

impl PostgresOwner {
    /// For the roles that a place connects as.
    pub fn of(owner: Secret, place: &PostgresPlace) -> Result<Self, StoreError> {
        let role = |url: &Secret| Ok::<_, StoreError>(options(url)?.get_username().to_owned());
        Ok(Self { owner, service: role(&place.service)?, directory: role(&place.directory)? })
    }
}

/// Makes or updates the schema, all of it or nothing.
pub(in crate::store) async fn migrate(place: &PostgresOwner) -> Result<(), StoreError> {
    if place.service == place.directory {
        let problem = "cannot be both the role of the service and that of the directory".to_owned();
        return Err(StoreError::Privileged { role: place.service.clone(), problem });
    }
    let (service, directory) = (quoted(&place.service)?, quoted(&place.directory)?);
    let mut connection = options(&place.owner)?.connect().await.map_err(failed)?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let turn = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(TURN);
    turn.execute(&mut *transaction).await.map_err(failed)?;
    for role in [&place.service, &place.directory] {
        unprivileged(&mut *transaction, Some(role)).await?;
    }
    let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = 'palisade'");
    let there = there.fetch_optional(&mut *transaction).await.map_err(failed)?;
    let mut found = 0;
    if there.is_some() {
        let version = sqlx::query("SELECT coalesce(max(version), 0) FROM palisade.schema_version");
        let version = version.fetch_one(&mut *transaction).await.map_err(failed)?;
        found = version.try_get::<i64, _>(0).map_err(failed)?.unsigned_abs();
        // A schema of that name which says nothing of itself is not ours to change.
        if found == 0 || found > SCHEMA {
            let place = "the database".to_owned();
            return Err(StoreError::Schema { place, found, needed: SCHEMA });
        }
    }
    for step in STEPS.iter().skip(found as usize) {
        let step = step.replace("{service}", &service).replace("{directory}", &directory);
        // The names are checked; everything else is a text of the program.
        sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// A role's name as it stands in a statement.
fn quoted(role: &str) -> Result<String, StoreError> {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if role.is_empty() || role.len() > ROLE_BYTES_MAX || !role.bytes().all(is_fit) {
        let problem = "has no name of `a-z`, `0-9` and `_`".to_owned();
        return Err(StoreError::Privileged { role: role.escape_debug().to_string(), problem });
    }
    Ok(format!("\"{role}\""))
}
