//! What holds of a store in PostgreSQL alone: what its roles cannot do, and what happens when the server is away.
//!
//! The attacks are statements on the service's own connection, as if injected into a query. A statement
//! that sets `palisade.org` itself is outside of what row-level security is for, and the documents say so.

use crate::server::Server;
use crate::world::{self, World, document, groups, id, master, organisation, owned, prepared, server};
use palisade_control::store::{Place, PostgresPlace, Store, StoreError};
use palisade_filters::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::time::Duration;

/// Only a failing test waits so long.
const LONG: Duration = Duration::from_mins(1);

/// A database with two organisations, and its name.
async fn with_two() -> (World, Store, String) {
    let world = World::postgres().await;
    let store = world.open().await;
    for name in ["acme", "other"] {
        store.create_organisation(&organisation(name)).await.unwrap();
        store.tenant(&organisation(name)).put(&groups(), &id("a"), None, document("1")).await.unwrap();
    }
    let World::Postgres(name) = &world else { panic!("it is a database") };
    let name = name.clone();
    (world, store, name)
}

async fn connect(role: &str, database: &str) -> PgConnection {
    server().url(role, database).parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// Runs a statement; the number of rows it gave back or changed, or the SQLSTATE.
async fn run(connection: &mut PgConnection, statement: &str) -> Result<u64, String> {
    let outcome = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await;
    outcome.map(|done| done.rows_affected()).map_err(|error| {
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
    })
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM palisade.{table}");
    sqlx::query(AssertSqlSafe(query)).fetch_one(connection).await.unwrap().get(0)
}

/// SQLSTATE of a refusal for want of a privilege, or by a policy.
const REFUSED: &str = "42501";

#[tokio::test]
async fn without_an_organisation_there_are_no_rows() {
    let (_world, _store, name) = with_two().await;
    let mut service = connect("palisade_service", &name).await;
    for organisation in [None, Some(""), Some("*"), Some("%"), Some("never")] {
        if let Some(organisation) = organisation {
            run(&mut service, &format!("SET palisade.org = '{organisation}'")).await.unwrap();
        }
        for table in ["heads", "resources", "changes", "memos"] {
            assert_eq!(count(&mut service, table).await, 0);
        }
        assert_eq!(run(&mut service, "UPDATE palisade.heads SET revision = 9").await, Ok(0));
        assert_eq!(run(&mut service, "UPDATE palisade.resources SET version = 9").await, Ok(0));
        assert_eq!(run(&mut service, "DELETE FROM palisade.resources").await, Ok(0));
    }
    run(&mut service, "RESET palisade.org").await.unwrap();
    for insert in [
        "INSERT INTO palisade.resources VALUES ('acme', 'groups', 'x', 1, 1, '')",
        "INSERT INTO palisade.memos VALUES ('acme', 'groups', 'x', 'x', 1, 1, '')",
    ] {
        assert_eq!(run(&mut service, insert).await, Err(REFUSED.to_owned()));
    }
    assert_eq!(run(&mut service, "SELECT palisade.append(1)").await, Err("PA001".to_owned()));
}

#[tokio::test]
async fn a_statement_within_one_organisation_does_not_reach_another() {
    let (_world, store, name) = with_two().await;
    let mut service = connect("palisade_service", &name).await;
    for (statement, expected) in [
        ("SELECT 1 FROM palisade.resources WHERE organisation = 'other'", Ok(0)),
        ("SELECT 1 FROM palisade.resources WHERE organisation = 'acme' OR true", Ok(1)),
        (
            "SELECT 1 FROM palisade.heads UNION ALL SELECT 1 FROM palisade.heads WHERE organisation = 'other'",
            Ok(1),
        ),
        ("UPDATE palisade.resources SET sealed = '' WHERE organisation = 'other'", Ok(0)),
        ("DELETE FROM palisade.resources WHERE organisation = 'other'", Ok(0)),
        ("UPDATE palisade.heads SET revision = 7 WHERE organisation = 'other'", Ok(0)),
        ("UPDATE palisade.resources SET organisation = 'other', id = 'b'", Err(REFUSED)),
        ("INSERT INTO palisade.resources VALUES ('other', 'groups', 'b', 1, 1, '')", Err(REFUSED)),
        ("INSERT INTO palisade.changes VALUES ('other', 2, 0, 'groups', 'b', 1, 0)", Err(REFUSED)),
        (
            "INSERT INTO palisade.resources VALUES ('other', 'groups', 'a', 1, 1, '') \
             ON CONFLICT (organisation, kind, id) DO UPDATE SET sealed = ''",
            Err(REFUSED),
        ),
        // A revision that is not the own one is not announced.
        ("SELECT palisade.append(2)", Err("PA001")),
    ] {
        let mut transaction = service.begin().await.unwrap();
        run(&mut transaction, "SELECT set_config('palisade.org', 'acme', true)").await.unwrap();
        assert_eq!(run(&mut transaction, statement).await, expected.map_err(str::to_owned), "{statement}");
        transaction.rollback().await.unwrap();
        // The setting ended with its transaction.
        assert_eq!(count(&mut service, "resources").await, 0);
    }
    assert!(store.tenant(&organisation("other")).get(&groups(), &id("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn the_service_cannot_give_itself_more() {
    let (_world, _store, name) = with_two().await;
    let mut service = connect("palisade_service", &name).await;
    for statement in [
        "ALTER TABLE palisade.resources DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE palisade.resources NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON palisade.resources",
        "CREATE POLICY all_rows ON palisade.resources USING (true)",
        "SET ROLE palisade_owner",
        "SET ROLE palisade_directory",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION palisade_owner",
        "SET session_replication_role = replica",
        "ALTER ROLE palisade_service BYPASSRLS",
        "GRANT palisade_owner TO palisade_service",
        "TRUNCATE palisade.resources",
        "DROP TABLE palisade.resources",
        "CREATE TABLE palisade.mine (a int)",
        "CREATE FUNCTION palisade.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TRIGGER mine BEFORE INSERT ON palisade.resources EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TABLE public.mine (a int)",
        "COPY palisade.resources TO PROGRAM 'cat'",
        "UPDATE palisade.heads SET key_id = ''",
        "UPDATE palisade.changes SET version = 9",
        "DELETE FROM palisade.changes",
        "SELECT * FROM palisade_keys.keys",
        "SELECT * FROM palisade_directory.log",
        "SELECT * FROM palisade_directory.organisations",
        "SELECT * FROM palisade_directory.feed(0, 10)",
        "SELECT palisade_directory.wrapped_key('other', '')",
        "SELECT palisade_directory.delete_organisation('other')",
        "SELECT palisade_directory.log_next('other', 9, 'changed')",
        "UPDATE palisade.schema_version SET version = 9",
    ] {
        assert_eq!(run(&mut service, statement).await, Err(REFUSED.to_owned()), "{statement}");
    }
    // This setting anybody may change: it turns rows that would be left out into an error, and shows none.
    run(&mut service, "SET row_security = off").await.unwrap();
    assert_eq!(run(&mut service, "SELECT * FROM palisade.resources").await, Err(REFUSED.to_owned()));
}

#[tokio::test]
async fn the_directory_calls_its_functions_and_nothing_else() {
    let (_world, _store, name) = with_two().await;
    let mut directory = connect("palisade_directory", &name).await;
    for statement in [
        "SELECT * FROM palisade.resources",
        "SELECT * FROM palisade.heads",
        "SELECT palisade.append(1)",
        "SELECT * FROM palisade_keys.keys",
        "SELECT * FROM palisade_directory.log",
        "UPDATE palisade_directory.feed_end SET position = 0",
        "SELECT palisade_directory.log_next('other', 9, 'changed')",
        "SET ROLE palisade_owner",
        "SET ROLE palisade_service",
    ] {
        assert_eq!(run(&mut directory, statement).await, Err(REFUSED.to_owned()), "{statement}");
    }
    assert_eq!(run(&mut directory, "SELECT * FROM palisade_directory.organisations('', 10)").await, Ok(2));
    let told = run(&mut directory, "SELECT palisade_directory.delete_organisation('@platform')").await;
    assert_eq!(told, Err("PA001".to_owned()));
}

#[tokio::test]
async fn a_functions_names_cannot_be_taken_by_its_caller() {
    let (_world, store, name) = with_two().await;
    let mut service = connect("palisade_service", &name).await;
    for statement in [
        "CREATE TEMP TABLE heads (organisation text, revision bigint)",
        "INSERT INTO pg_temp.heads VALUES ('other', 99)",
        "CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'other' $$",
        "SET search_path = pg_temp, palisade",
        "SET palisade.org = 'acme'",
    ] {
        run(&mut service, statement).await.unwrap();
    }
    let end = store.feed(0, 1, Duration::ZERO).await.unwrap().end;
    assert_eq!(run(&mut service, "SELECT palisade.append(99)").await, Err("PA001".to_owned()));
    run(&mut service, "SELECT palisade.append(1)").await.unwrap();
    let told = store.feed(end, 10, Duration::ZERO).await.unwrap().entries;
    assert_eq!((told.len(), &told[0].owner), (1, &owned("acme")), "it speaks of nobody else");
}

async fn opened(service: &str, directory: &str, name: &str) -> StoreError {
    let url = |role| Secret::new(server().url(role, name));
    let place = Place::Postgres(PostgresPlace::new(url(service), url(directory)));
    Store::open(place, master()).await.unwrap_err()
}

#[tokio::test]
async fn a_role_that_could_do_more_is_refused() {
    let (_world, _store, name) = with_two().await;
    server().administer(
        "postgres",
        "CREATE ROLE passes LOGIN BYPASSRLS; CREATE ROLE joins LOGIN IN ROLE palisade_owner; \
         CREATE ROLE makes LOGIN CREATEROLE",
    );
    for (role, problem) in [
        ("postgres", "is a superuser"),
        ("palisade_owner", "owns the store"),
        ("passes", "has BYPASSRLS"),
        ("joins", "is a member of another role"),
        ("makes", "has CREATEROLE"),
    ] {
        for (service, directory) in [(role, "palisade_directory"), ("palisade_service", role)] {
            let told = opened(service, directory, &name).await;
            assert!(matches!(told, StoreError::Privileged { .. }), "{told}");
            assert!(told.to_string().contains(&format!("`{role}` {problem}")), "{told}");
        }
        let mut owner = world::owner(server(), &name);
        role.clone_into(&mut owner.service);
        assert!(matches!(Store::migrate_postgres(&owner).await, Err(StoreError::Privileged { .. })));
    }
    let told = opened("palisade_service", "palisade_service", &name).await;
    assert!(told.to_string().contains("both"), "{told}");
    for role in ["never", "a\"; DROP SCHEMA palisade", ""] {
        let mut owner = world::owner(server(), &name);
        role.clone_into(&mut owner.directory);
        assert!(
            matches!(Store::migrate_postgres(&owner).await, Err(StoreError::Privileged { .. })),
            "{role}"
        );
    }
}

#[tokio::test]
async fn a_database_whose_rows_are_open_is_refused() {
    let (_world, _store, name) = with_two().await;
    server().administer(&name, "ALTER TABLE palisade.changes NO FORCE ROW LEVEL SECURITY");
    let told = opened("palisade_service", "palisade_directory", &name).await;
    assert!(told.to_string().contains("row-level security that is not forced"), "{told}");
}

#[tokio::test]
async fn a_database_that_was_never_migrated_is_not_a_store() {
    let name = world::database(server());
    let told = opened("palisade_service", "palisade_directory", &name).await;
    assert!(matches!(told, StoreError::NotMigrated(_)), "{told}");
}

#[tokio::test]
async fn what_another_process_writes_is_heard_of() {
    let (world, store, _) = with_two().await;
    let other = world.open().await;
    let end = store.feed(0, 1, Duration::ZERO).await.unwrap().end;
    let waits = async { store.feed(end, 10, LONG).await.unwrap() };
    let writes = async {
        other.tenant(&organisation("acme")).put(&groups(), &id("b"), None, document("2")).await.unwrap();
        // And an organisation that the first one knows is another one from now on.
        other.delete_organisation(&organisation("other")).await.unwrap();
        other.create_organisation(&organisation("other")).await.unwrap();
    };
    let (told, ()) = tokio::join!(waits, writes);
    assert_eq!(told.entries[0].owner, owned("acme"));
    let tenant = store.tenant(&organisation("other"));
    tenant.put(&groups(), &id("new"), None, document("3")).await.unwrap();
    let read = other.tenant(&organisation("other")).get(&groups(), &id("new")).await.unwrap();
    assert_eq!(read.unwrap().document.get(), "3", "it was sealed under the new key");
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_kept() {
    let (_world, store, name) = with_two().await;
    server().administer(
        &name,
        "CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT ON palisade.changes EXECUTE FUNCTION public.full()",
    );
    let acme = store.tenant(&organisation("acme"));
    let told = acme.put(&groups(), &id("b"), None, document("1")).await.unwrap_err();
    assert!(matches!(told, StoreError::DiskFull(_)), "{told}");
    assert!(acme.get(&groups(), &id("b")).await.unwrap().is_none());
    assert_eq!(acme.changes(0, 10).await.unwrap().revision, 1);
}

#[tokio::test]
async fn who_holds_a_row_for_long_holds_up_its_organisation_alone() {
    let (_world, store, name) = with_two().await;
    let mut service = connect("palisade_service", &name).await;
    let mut transaction = service.begin().await.unwrap();
    run(&mut transaction, "SELECT set_config('palisade.org', 'acme', true)").await.unwrap();
    run(&mut transaction, "UPDATE palisade.heads SET revision = revision").await.unwrap();
    store.tenant(&organisation("other")).put(&groups(), &id("b"), None, document("1")).await.unwrap();
    let told =
        store.tenant(&organisation("acme")).put(&groups(), &id("b"), None, document("1")).await.unwrap_err();
    assert!(matches!(told, StoreError::Busy(_)), "{told}");
    transaction.rollback().await.unwrap();
    store.tenant(&organisation("acme")).put(&groups(), &id("b"), None, document("1")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_by_nobody_and_found_again() {
    let mut server = prepared(Server::start("-c fsync=off"));
    let name = world::database(&server);
    Store::migrate_postgres(&world::owner(&server, &name)).await.unwrap();
    let store = Store::open(Place::Postgres(world::place(&server, &name)), master()).await.unwrap();
    let acme = organisation("acme");
    store.create_organisation(&acme).await.unwrap();
    server.stop();
    for told in [
        store.tenant(&acme).put(&groups(), &id("a"), None, document("1")).await.err(),
        store.feed(0, 1, LONG).await.err(),
        store.organisations(None, 1).await.err(),
    ] {
        assert!(matches!(told, Some(StoreError::Away(_))), "{told:?}");
    }
    let none = Store::open(Place::Postgres(world::place(&server, &name)), master()).await.unwrap_err();
    assert!(matches!(none, StoreError::Away(_)), "{none}");
    server.restart();
    store.tenant(&acme).put(&groups(), &id("a"), None, document("1")).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_is_not_repeated() {
    let place = PostgresPlace::new(Secret::new("sesame".to_owned()), Secret::new("postgres://".to_owned()));
    let told = Store::open(Place::Postgres(place), master()).await.unwrap_err().to_string();
    assert!(!told.contains("sesame") && told.contains("postgres://"), "{told}");
}
