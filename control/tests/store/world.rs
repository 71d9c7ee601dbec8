//! A store of a test's own, on either engine, and the ways behind its back that a test needs.

use crate::server::Server;
use palisade_control::store::{
    Kind, MasterKey, OrganisationId, Owner, Place, PostgresOwner, PostgresPlace, ResourceId, SqlitePlace,
    Store, StoreError,
};
use palisade_filters::secret::Secret;
use serde_json::value::RawValue;
use sqlx::{ConnectOptions, Row};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_mins(1);
/// The roles of all databases here.
const ROLES: &str = "CREATE ROLE palisade_owner LOGIN; CREATE ROLE palisade_service LOGIN; \
                     CREATE ROLE palisade_directory LOGIN";

/// One server for all tests of this process. A crash here is the end of processes, not of power: it need not wait for
/// disks.
static SERVER: LazyLock<Server> = LazyLock::new(|| prepared(Server::start("-c fsync=off")));

/// Gives a server the roles of the product.
pub(crate) fn prepared(server: Server) -> Server {
    server.administer("postgres", ROLES);
    server
}

/// Where a store is.
pub(crate) enum World {
    /// In a folder, which goes with it unless it is another process's.
    Sqlite(PathBuf, #[expect(dead_code, reason = "it is removed when dropped")] Option<TempDir>),
    /// In a database of the server.
    Postgres(String),
}

impl World {
    /// A store in files, migrated.
    pub(crate) async fn sqlite() -> Self {
        let room = tempfile::tempdir().unwrap();
        let world = Self::Sqlite(room.path().to_owned(), Some(room));
        Store::migrate_sqlite(&world.place()).await.unwrap();
        world
    }

    /// A store in a database, migrated.
    pub(crate) async fn postgres() -> Self {
        let name = database(&SERVER);
        Store::migrate_postgres(&owner(&SERVER, &name)).await.unwrap();
        Self::Postgres(name)
    }

    /// The place of a store in files.
    pub(crate) fn place(&self) -> SqlitePlace {
        let Self::Sqlite(room, _) = self else { panic!("it has no files") };
        SqlitePlace::new(room.join("store"), room.join("keys"))
    }

    /// The file of an organisation.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        let folder = std::fs::read_dir(self.place().folder.join("orgs")).unwrap();
        let mut files = folder.map(|entry| entry.unwrap().path());
        let is_its = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.strip_suffix(".db").is_some_and(|name| name.starts_with(&format!("{id}.")))
        };
        files.find(is_its).unwrap()
    }

    pub(crate) async fn try_open(&self, master: MasterKey) -> Result<Store, StoreError> {
        let place = match self {
            Self::Sqlite(..) => Place::Sqlite(self.place()),
            Self::Postgres(name) => Place::Postgres(place(&SERVER, name)),
        };
        Store::open(place, master).await
    }

    /// Opens it. A child that this process just starts, for another test, has a lock that was given back until it runs.
    pub(crate) async fn open(&self) -> Store {
        let started = Instant::now();
        loop {
            match self.try_open(master()).await {
                Err(StoreError::InUse(_)) if started.elapsed() < PATIENCE => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    }

    /// Brings it to this version's schema.
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(..) => Store::migrate_sqlite(&self.place()).await,
            Self::Postgres(name) => Store::migrate_postgres(&owner(&SERVER, name)).await,
        }
    }

    /// One value by a statement behind the store's back: as the server's administrator, or in the file of an owner.
    pub(crate) async fn raw(&self, owner: &Owner, statement: &str) -> String {
        match self {
            Self::Sqlite(..) => {
                let file = match owner {
                    Owner::Platform => self.place().folder.join("platform.db"),
                    Owner::Organisation(id) => self.file(id.as_str()),
                };
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).foreign_keys(false);
                let mut connection = options.connect().await.unwrap();
                let query = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()));
                let row = query.fetch_optional(&mut connection).await.unwrap();
                sqlx::Connection::close(connection).await.unwrap();
                row.map_or(String::new(), |row| row.try_get(0).unwrap())
            }
            Self::Postgres(name) => {
                let path = "SET search_path = palisade, palisade_directory; SET session_replication_role = replica; ";
                SERVER.administer(name, &format!("{path}{statement}"))
            }
        }
    }

    /// The sealed bytes of a resource, as they stand there, in hexadecimal digits.
    pub(crate) async fn sealed(&self, owner: &Owner, id: &str) -> String {
        let digits = match self {
            Self::Sqlite(..) => "hex(sealed)",
            Self::Postgres(_) => "encode(sealed, 'hex')",
        };
        let column = column(owner);
        let statement =
            format!("SELECT {digits} FROM resources WHERE organisation = '{column}' AND id = '{id}'");
        self.raw(owner, &statement).await
    }

    /// Puts sealed bytes in the place of others.
    pub(crate) async fn put_sealed(&self, owner: &Owner, id: &str, digits: &str) {
        let bytes = match self {
            Self::Sqlite(..) => format!("x'{digits}'"),
            Self::Postgres(_) => format!("'\\x{digits}'"),
        };
        let column = column(owner);
        let statement =
            format!("UPDATE resources SET sealed = {bytes} WHERE organisation = '{column}' AND id = '{id}'");
        self.raw(owner, &statement).await;
    }
}

fn column(owner: &Owner) -> &str {
    match owner {
        Owner::Platform => "@platform",
        Owner::Organisation(id) => id.as_str(),
    }
}

/// A new, empty database of a server.
pub(crate) fn database(server: &Server) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("store{}", MADE.fetch_add(1, Ordering::Relaxed));
    server.administer("postgres", &format!("CREATE DATABASE {name} OWNER palisade_owner"));
    name
}

pub(crate) fn owner(server: &Server, database: &str) -> PostgresOwner {
    PostgresOwner {
        owner: Secret::new(server.url("palisade_owner", database)),
        service: "palisade_service".to_owned(),
        directory: "palisade_directory".to_owned(),
    }
}

pub(crate) fn place(server: &Server, database: &str) -> PostgresPlace {
    let url = |role| Secret::new(server.url(role, database));
    PostgresPlace { connections: 4, ..PostgresPlace::new(url("palisade_service"), url("palisade_directory")) }
}

/// The server of all tests.
pub(crate) fn server() -> &'static Server {
    &SERVER
}

pub(crate) fn master() -> MasterKey {
    MasterKey::new(&"5e".repeat(32)).unwrap()
}

pub(crate) fn organisation(id: &str) -> OrganisationId {
    OrganisationId::new(id).unwrap()
}

pub(crate) fn owned(id: &str) -> Owner {
    Owner::Organisation(organisation(id))
}

pub(crate) fn groups() -> Kind {
    Kind::new("groups").unwrap()
}

pub(crate) fn id(text: &str) -> ResourceId {
    ResourceId::new(text).unwrap()
}

pub(crate) fn document(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}
