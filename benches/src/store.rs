//! How many organisations does the store hold, and how fast is a change accepted and heard of?
//!
//! Needs a disk whose syncs are real, and PostgreSQL's programs for its half; the server is made here, with its own
//! defaults for durability. Both engines do the same work in the same order, on one thread, beside whatever the
//! database does in its own. It proves nothing about a database on another machine, whose round trips it does not have.

// The tests' own server: no second way to start one.
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot go on ends, and crashes are for tests"
)]
#[path = "../../control/tests/store/server.rs"]
pub(crate) mod server;

use crate::ladder::median;
use crate::report;
use futures::future::try_join_all;
use palisade_control::store::{
    Kind, MasterKey, OrganisationId, Place, PostgresOwner, PostgresPlace, ResourceId, SqlitePlace, Store,
    StoreError,
};
use palisade_filters::secret::Secret;
use serde_json::value::RawValue;
use server::Server;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

/// Writers at once, where there are several.
const WRITERS: usize = 8;
/// Entries of the feed that are read at once.
const PAGE: usize = 1000;
/// A document of an ordinary size.
const DOCUMENT_BYTES: usize = 1024;
/// Changes whose way to a waiting follower is timed.
const WAKES: usize = 200;

/// How much.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Organisations that are made.
    #[arg(long, default_value_t = 10_000)]
    organisations: usize,
    /// Changes that are written, by one writer and then by eight.
    #[arg(long, default_value_t = 4_000)]
    puts: usize,
}

/// A row of the record: what it is called, and which figure it shows.
type Row = (&'static str, fn(&Figures) -> f64);

/// One engine's figures.
struct Figures {
    engine: String,
    created_per_second: f64,
    puts_per_second: f64,
    puts_per_second_at_once: f64,
    feed_per_second: f64,
    open: Duration,
    gets_per_second: f64,
    wake_micros: f64,
    deleted_per_second: f64,
}

/// Measures both engines, and writes the record.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(both(options)).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(record(options, &figures))
}

async fn both(options: &Options) -> Result<[Figures; 2], Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let files = SqlitePlace::new(home.path().join("store"), home.path().join("keys"));
    Store::migrate_sqlite(&files).await?;
    let sqlite = measure(options, "SQLite".to_owned(), || Place::Sqlite(files.clone())).await?;
    let database = Database::start().await?;
    let postgres =
        measure(options, database.engine.clone(), || Place::Postgres(database.place.clone())).await?;
    Ok([sqlite, postgres])
}

/// A database of a server of its own, migrated; both go with it.
pub(crate) struct Database {
    /// Where it is.
    pub(crate) place: PostgresPlace,
    /// What it is called in a record.
    pub(crate) engine: String,
    _server: Server,
}

impl Database {
    pub(crate) async fn start() -> Result<Self, StoreError> {
        let server = Server::start("");
        server.administer(
            "postgres",
            "CREATE ROLE palisade_owner LOGIN; CREATE ROLE palisade_service LOGIN; \
             CREATE ROLE palisade_directory LOGIN",
        );
        server.administer("postgres", "CREATE DATABASE store OWNER palisade_owner");
        let url = |role: &str| Secret::new(server.url(role, "store"));
        let owner = PostgresOwner {
            owner: url("palisade_owner"),
            service: "palisade_service".to_owned(),
            directory: "palisade_directory".to_owned(),
        };
        Store::migrate_postgres(&owner).await?;
        let place = PostgresPlace::new(url("palisade_service"), url("palisade_directory"));
        let version = server.administer("postgres", "SHOW server_version");
        let engine = format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default());
        Ok(Self { place, engine, _server: server })
    }
}

fn per_second(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

async fn measure(
    options: &Options,
    engine: String,
    place: impl Fn() -> Place,
) -> Result<Figures, Box<dyn Error>> {
    let master = || MasterKey::new(&"5e".repeat(32));
    let ids: Result<Vec<_>, _> =
        (0..options.organisations).map(|at| OrganisationId::new(&format!("organisation-{at}"))).collect();
    let (ids, kind) = (ids?, Kind::new("groups")?);
    let store = Store::open(place(), master()?).await?;

    let start = Instant::now();
    for id in &ids {
        store.create_organisation(id).await?;
    }
    let created_per_second = per_second(ids.len(), start);
    let document = RawValue::from_string(format!("\"{}\"", "x".repeat(DOCUMENT_BYTES)))?;
    let start = Instant::now();
    write(&store, &ids, &kind, &document, 0..options.puts).await?;
    let puts_per_second = per_second(options.puts, start);
    let start = Instant::now();
    let share = options.puts.div_ceil(WRITERS);
    let writers = (1..=WRITERS).map(|writer| {
        let turns = options.puts + (writer - 1) * share..options.puts + writer * share;
        write(&store, &ids, &kind, &document, turns)
    });
    try_join_all(writers).await?;
    let puts_per_second_at_once = per_second(share * WRITERS, start);

    store.close().await;
    let start = Instant::now();
    let store = Store::open(place(), master()?).await?;
    let open = start.elapsed();
    let start = Instant::now();
    let entries = read_feed(&store).await?;
    let feed_per_second = per_second(entries, start);
    let expected = 1 + ids.len() + options.puts + share * WRITERS;
    if entries != expected {
        return Err(format!("the feed has {entries} entries, {expected} were written").into());
    }
    let start = Instant::now();
    for turn in 0..options.puts {
        let (id, name) = named(&ids, turn)?;
        store.tenant(id).get(&kind, &name).await?.ok_or("a document is missing")?;
    }
    let gets_per_second = per_second(options.puts, start);
    let wake_micros = wake(&store, &ids, &kind, &document, options.puts * 3).await?;
    let start = Instant::now();
    let few = ids.len().min(500);
    for id in ids.iter().take(few) {
        store.delete_organisation(id).await?;
    }
    let deleted_per_second = per_second(few, start);
    store.close().await;
    Ok(Figures {
        engine,
        created_per_second,
        puts_per_second,
        puts_per_second_at_once,
        feed_per_second,
        open,
        gets_per_second,
        wake_micros,
        deleted_per_second,
    })
}

/// The organisation and the resource of a turn: turns next to each other are of organisations far apart.
fn named(ids: &[OrganisationId], turn: usize) -> Result<(&OrganisationId, ResourceId), Box<dyn Error>> {
    let id = ids.get(turn * 7919 % ids.len()).ok_or("there are no organisations")?;
    Ok((id, ResourceId::new(&format!("r{turn}"))?))
}

async fn write(
    store: &Store,
    ids: &[OrganisationId],
    kind: &Kind,
    document: &RawValue,
    turns: std::ops::Range<usize>,
) -> Result<(), Box<dyn Error>> {
    for turn in turns {
        let (id, name) = named(ids, turn)?;
        store.tenant(id).put(kind, &name, None, document.to_owned()).await?;
    }
    Ok(())
}

async fn read_feed(store: &Store) -> Result<usize, StoreError> {
    let mut after = 0;
    loop {
        let page = store.feed(after, PAGE, Duration::ZERO).await?;
        match page.entries.last() {
            Some(last) => after = last.position,
            None => return Ok(after as usize),
        }
    }
}

/// From the beginning of a change to its arrival at a follower that waits, in microseconds: the median.
async fn wake(
    store: &Store,
    ids: &[OrganisationId],
    kind: &Kind,
    document: &RawValue,
    from: usize,
) -> Result<f64, Box<dyn Error>> {
    let mut end = store.feed(0, 1, Duration::ZERO).await?.end;
    let mut waits = Vec::with_capacity(WAKES);
    for turn in from..from + WAKES {
        let start = Instant::now();
        let follow = async { Ok(store.feed(end, PAGE, Duration::from_mins(1)).await?.end) };
        let (told, ()) =
            futures::future::try_join(follow, write(store, ids, kind, document, turn..turn + 1)).await?;
        waits.push(start.elapsed().as_secs_f64() * 1e6);
        end = told;
    }
    Ok(median(waits.into_iter()))
}

fn record(options: &Options, figures: &[Figures; 2]) -> String {
    let mut out = report::title("Store of the control plane");
    let [one, two] = figures;
    let _ = writeln!(
        out,
        "`bench store --organisations {} --puts {}`: documents of {DOCUMENT_BYTES} bytes, everything synced to the \
         disk before it is accepted; the database on the same machine, over a unix socket. Turns next to each other \
         are of other organisations, so that files are opened and closed all the time.\n\n\
         | | {} | {} |\n|---|---:|---:|",
        options.organisations, options.puts, one.engine, two.engine
    );
    let rows: [Row; 8] = [
        ("organisations made per second", |of| of.created_per_second),
        ("changes per second, one writer", |of| of.puts_per_second),
        ("changes per second, eight writers", |of| of.puts_per_second_at_once),
        ("documents read per second", |of| of.gets_per_second),
        ("entries of the feed read per second", |of| of.feed_per_second),
        ("opening it, ms", |of| of.open.as_secs_f64() * 1e3),
        ("from a change's beginning to a waiting follower, median, µs", |of| of.wake_micros),
        ("organisations deleted per second", |of| of.deleted_per_second),
    ];
    for (what, figure) in rows {
        let _ = writeln!(out, "| {what} | {:.0} | {:.0} |", figure(one), figure(two));
    }
    out
}
