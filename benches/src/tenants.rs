//! How many organisations does one process follow, and what do their callers notice when all of them change?
//!
//! Fills a store with organisations that have rules and keys of their own, starts a follower on it as `palisade serve`
//! does, and looks at what that took. Then somebody presents keys all the time, about eight thousand a second, while a
//! change of the platform concerns every organisation, and while single keys are written. The detection rules are the
//! shipped ones. The database runs on the same machine, and takes its share of it.

use crate::store::Database;
use crate::{own, process, report};
use futures::future::try_join_all;
use palisade_control::Folder;
use palisade_control::follow::Follower;
use palisade_control::store::{
    Kind, MasterKey, OrganisationId, Place, ResourceId, SqlitePlace, Store, Write,
};
use palisade_filters::api_key::{self, NewKey};
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::{Knock, Policy, Trust, identify};
use serde_json::json;
use serde_json::value::to_raw_value;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Keys of an organisation.
const KEYS: usize = 10;
/// Organisations that are made at once.
const WRITERS: usize = 8;
/// Single writes whose way into effect is timed, while nothing else happens.
const WRITES: usize = 100;
/// Between two keys that are presented.
const PAUSE: Duration = Duration::from_micros(100);
/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(10);
const THREADS: usize = 2;

type Failed = Box<dyn Error + Send + Sync>;

/// How many.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Organisations in files; 0: no files.
    #[arg(long, default_value_t = 5_000)]
    sqlite: usize,
    /// Organisations in a database; 0: no database.
    #[arg(long, default_value_t = 10_000)]
    postgres: usize,
    /// Rules of each organisation, a tenth of them without an anchor.
    #[arg(long, default_value_t = 50)]
    rules: usize,
}

/// What was seen on one engine.
struct Seen {
    engine: String,
    organisations: usize,
    filled: Duration,
    start: Duration,
    before_kib: u64,
    after_kib: u64,
    reload: Duration,
    peak_kib: u64,
    quiet: Vec<Duration>,
    meanwhile: Vec<Duration>,
    writes: Vec<Duration>,
    writes_meanwhile: Vec<Duration>,
}

/// A row of the record: what it is called, and what it shows.
type Row = (&'static str, fn(&Seen) -> String);

/// Measures, and writes the record.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let seen = runtime.block_on(all(options)).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(record(options, &seen))
}

async fn all(options: &Options) -> Result<Vec<Seen>, Failed> {
    let mut seen = Vec::new();
    if options.sqlite > 0 {
        let home = tempfile::tempdir()?;
        let files = SqlitePlace::new(home.path().join("store"), home.path().join("keys"));
        Store::migrate_sqlite(&files).await?;
        let place = || Place::Sqlite(files.clone());
        seen.push(measure("SQLite".to_owned(), options.sqlite, options.rules, place).await?);
    }
    if options.postgres > 0 {
        let database = Database::start().await?;
        let place = || Place::Postgres(database.place.clone());
        seen.push(measure(database.engine.clone(), options.postgres, options.rules, place).await?);
    }
    Ok(seen)
}

async fn measure(
    engine: String,
    organisations: usize,
    rules: usize,
    place: impl Fn() -> Place,
) -> Result<Seen, Failed> {
    let master = || MasterKey::new(&"5e".repeat(32));
    let store = Store::open(place(), master()?).await?;
    let begin = Instant::now();
    fill(&store, organisations, rules).await?;
    let filled = begin.elapsed();
    store.close().await;

    let store = Arc::new(Store::open(place(), master()?).await?);
    let scanner = Arc::new(Scanner::new(rules::shipped()?));
    let home = tempfile::tempdir()?;
    let folder = Folder::open(home.path())?;
    let before_kib = memory()?.resident_kib;
    let begin = Instant::now();
    let (mut follower, errors) = Follower::start(store.clone(), folder, scanner).await?;
    let start = begin.elapsed();
    let after_kib = memory()?.resident_kib;
    if let Some(error) = errors.first() {
        return Err(error.to_string().into());
    }
    let door = Arc::new(Door::new(follower.policy().clone(), organisations));
    let writes = single(&store, &mut follower, &door).await?;
    let asking = door.clone();
    let asked = std::thread::spawn(move || asking.ask());
    tokio::time::sleep(PATIENCE).await;
    door.is_reloading.store(true, Ordering::Release);
    let begin = Instant::now();
    let writes_meanwhile = reload(&store, &mut follower, &door).await?;
    let reload = begin.elapsed();
    door.is_over.store(true, Ordering::Release);
    let [quiet, meanwhile] = asked.join().map_err(|_| "who presents keys ended early")??;
    let peak_kib = memory()?.peak_kib;
    Ok(Seen {
        engine,
        organisations,
        filled,
        start,
        before_kib,
        after_kib,
        reload,
        peak_kib,
        quiet,
        meanwhile,
        writes,
        writes_meanwhile,
    })
}

fn memory() -> io::Result<process::Memory> {
    process::memory(std::process::id())
}

/// The key of an organisation with this number.
fn key(organisation: usize, number: usize) -> NewKey {
    let (mut id, mut secret) = ([0; 9], [0; 32]);
    let at = (organisation as u64) << 24 | number as u64;
    for (to, from) in id.iter_mut().zip(at.to_be_bytes()) {
        *to = from;
    }
    for (to, from) in secret.iter_mut().zip(at.to_be_bytes()) {
        *to = from;
    }
    api_key::create(id, secret)
}

fn id(organisation: usize) -> Result<OrganisationId, Failed> {
    Ok(OrganisationId::new(&format!("organisation-{organisation}"))?)
}

fn new_key(key: &NewKey) -> Result<Write, Failed> {
    let document = to_raw_value(&json!({ "name": "chat", "sha256": key.sha256 }))?;
    Ok(Write::Put { kind: Kind::new("api-keys")?, id: ResourceId::new(&key.id)?, expected: None, document })
}

/// Makes organisations with their rules and keys, each in one change.
async fn fill(store: &Store, organisations: usize, rules: usize) -> Result<(), Failed> {
    let make = async |organisation: usize| -> Result<(), Failed> {
        let id = id(organisation)?;
        store.create_organisation(&id).await?;
        let mut writes = Vec::with_capacity(rules + KEYS);
        for rule in own::written(organisation, [rules - rules / 10, rules / 10])? {
            let name = rule.get("id").and_then(serde_json::Value::as_str).ok_or("a rule without an id")?;
            let (kind, id) = (Kind::new("dlp-rules")?, ResourceId::new(name)?);
            writes.push(Write::Put { kind, id, expected: None, document: to_raw_value(&rule)? });
        }
        for number in 0..KEYS {
            writes.push(new_key(&key(organisation, number))?);
        }
        store.tenant(&id).apply(&writes).await?;
        Ok(())
    };
    let writer = async |first: usize| -> Result<(), Failed> {
        for organisation in (first..organisations).step_by(WRITERS) {
            make(organisation).await?;
        }
        Ok(())
    };
    try_join_all((0..WRITERS).map(writer)).await?;
    Ok(())
}

/// Where keys are presented.
struct Door {
    policy: Mutex<Arc<Policy>>,
    organisations: usize,
    is_reloading: AtomicBool,
    is_over: AtomicBool,
}

impl Door {
    fn new(policy: Arc<Policy>, organisations: usize) -> Self {
        let (is_reloading, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { policy: Mutex::new(policy), organisations, is_reloading, is_over }
    }

    fn enforce(&self, policy: &Arc<Policy>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy.clone();
    }

    fn knows(&self, key: &NewKey) -> bool {
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let credentials = [key.key.expose().to_owned()];
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms };
        identify(&policy, &Trust::default(), &knock).is_ok()
    }

    /// Presents keys until it is over: how long each took, before and while all are brought under another platform.
    fn ask(&self) -> Result<[Vec<Duration>; 2], Failed> {
        let (mut quiet, mut meanwhile) = (Vec::new(), Vec::new());
        let mut turn = 0;
        while !self.is_over.load(Ordering::Acquire) {
            turn += 1;
            let key = key(turn * 7_919 % self.organisations, turn % KEYS);
            let is_reloading = self.is_reloading.load(Ordering::Acquire);
            let begin = Instant::now();
            let known = self.knows(&key);
            let took = begin.elapsed();
            if !known {
                return Err(format!("a key was not known in turn {turn}").into());
            }
            if is_reloading {
                meanwhile.push(took);
            } else {
                quiet.push(took);
            }
            std::thread::sleep(PAUSE);
        }
        Ok([quiet, meanwhile])
    }
}

/// Writes new keys one after the other: how long each took from the beginning of the write to being known.
async fn single(
    store: &Arc<Store>,
    follower: &mut Follower<Arc<Store>>,
    door: &Door,
) -> Result<Vec<Duration>, Failed> {
    let mut took = Vec::with_capacity(WRITES);
    for turn in 0..WRITES {
        let organisation = turn * 104_729 % door.organisations;
        let key = key(organisation, KEYS + turn);
        let begin = Instant::now();
        store.tenant(&id(organisation)?).apply(&[new_key(&key)?]).await?;
        while !door.knows(&key) {
            let heard = follower.next(PATIENCE).await?;
            door.enforce(&heard.policy);
        }
        took.push(begin.elapsed());
    }
    Ok(took)
}

/// Has every organisation brought under another platform, and writes a key whenever the one before is known.
async fn reload(
    store: &Arc<Store>,
    follower: &mut Follower<Arc<Store>>,
    door: &Door,
) -> Result<Vec<Duration>, Failed> {
    let provider = to_raw_value(&json!({ "base_url": "https://provider.example", "models": ["*"] }))?;
    store.platform().put(&Kind::new("providers")?, &ResourceId::new("another")?, None, provider).await?;
    let (mut took, mut turn) = (Vec::new(), 0);
    let mut written: Option<(Instant, NewKey)> = None;
    loop {
        let heard = follower.next(PATIENCE).await?;
        door.enforce(&heard.policy);
        if let Some(error) = heard.errors.first() {
            return Err(error.to_string().into());
        }
        if written.as_ref().is_some_and(|(_, key)| door.knows(key)) {
            took.extend(written.take().map(|(begin, _)| begin.elapsed()));
        }
        if heard.is_whole && written.is_none() {
            return Ok(took);
        }
        if written.is_none() && !heard.is_whole {
            let organisation = turn * 104_729 % door.organisations;
            let key = key(organisation, KEYS + WRITES + turn);
            let begin = Instant::now();
            store.tenant(&id(organisation)?).apply(&[new_key(&key)?]).await?;
            written = Some((begin, key));
            turn += 1;
        }
    }
}

/// The one that so many of a thousand are not beyond.
fn share(times: &[Duration], of_thousand: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * of_thousand / 1_000).copied().unwrap_or_default()
}

/// Median, 99th percentile and the longest.
fn spread(times: &[Duration]) -> String {
    let [median, most, all] = [500, 990, 1_000].map(|of| share(times, of));
    format!("{median:.1?}, {most:.1?}, {all:.1?} of {}", times.len())
}

fn record(options: &Options, seen: &[Seen]) -> String {
    let mut out = report::title("Organisations that one process follows");
    let Options { sqlite, postgres, rules } = options;
    let _ = write!(
        out,
        "`bench tenants --sqlite {sqlite} --postgres {postgres} --rules {rules}`: {rules} rules and {KEYS} keys an \
         organisation, the database on the same machine. Times with three figures are the median, the 99th \
         percentile and the longest.\n\n|"
    );
    for one in seen {
        let _ = write!(out, " | {}", one.engine);
    }
    let _ = write!(out, " |\n|---{}|", "|---:".repeat(seen.len()));
    let rows: [Row; 10] = [
        ("organisations", |of| of.organisations.to_string()),
        ("to fill the store", |of| format!("{:.1?}", of.filled)),
        ("to read and compile all", |of| format!("{:.1?}", of.start)),
        ("memory for it, MiB", |of| {
            format!("{:.0}", of.after_kib.saturating_sub(of.before_kib) as f64 / 1024.0)
        }),
        ("a key is recognised in", |of| spread(&of.quiet)),
        ("a new key is in force after", |of| spread(&of.writes)),
        ("a change of the platform is everywhere after", |of| format!("{:.1?}", of.reload)),
        ("meanwhile, a key is recognised in", |of| spread(&of.meanwhile)),
        ("meanwhile, a new key is in force after", |of| spread(&of.writes_meanwhile)),
        ("memory at its highest, MiB", |of| format!("{:.0}", of.peak_kib as f64 / 1024.0)),
    ];
    for (what, figure) in rows {
        let cells: Vec<String> = seen.iter().map(figure).collect();
        let _ = write!(out, "\n| {what} | {} |", cells.join(" | "));
    }
    out.push('\n');
    out
}
