//! What stands beside what? The double, the bare pass-through and the whole path, each a process of its own.
//!
//! Needs the release binary of `palisade`. Proves, before anything is timed, that each side answers as
//! expected and that the whole path does its work: a request with card numbers is sent to a double that
//! echoes, and no number comes back through the whole path while all of them come back through the
//! pass-through. The organisation has everything on that a first day has: an allowlist, groups, model
//! access, quotas, redaction both ways, the audit spool.

use crate::answer::{Expected, Inbox, Wrong};
use crate::corpus::{self, Reply};
use crate::load::Shot;
use crate::process::{self, Memory, Process};
use crate::rungs::{self, Rung};
use palisade_filters::api_key;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Time for a side to answer for the first time.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to reach a side that starts.
const START_STEP: Duration = Duration::from_millis(50);
/// The request that proves redaction: its size and its card numbers.
const PROOF_BYTES: usize = 16 * 1024;
const PROOF_CARDS: usize = 5;

/// The folders of documents and state.
const DATA: &str = "data";
const LADDER_DATA: &str = "ladder";
/// The counter of events that could not be written.
const EVENTS_LOST: &str = "palisade_audit_dropped_total";

/// A process that answers.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Events that it may add to a stream.
    events_added_max: usize,
    /// Its memory before the first request of a measurement.
    pub(crate) memory_idle: Memory,
}

/// All sides, and the folder they live in.
pub(crate) struct Site {
    pub(crate) double: Side,
    pub(crate) bare: Side,
    pub(crate) whole: Side,
    /// The process that all rungs of the ladder live in.
    pub(crate) ladder: Side,
    pub(crate) rungs: Vec<Rung>,
    pub(crate) pinned: Option<Pinning>,
    key: String,
    /// Where the whole path and the ladder count.
    metrics: [SocketAddr; 2],
    folder: tempfile::TempDir,
}

/// Who runs on which core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning {
    pub(crate) proxies: usize,
    pub(crate) load: usize,
    pub(crate) double: usize,
}

impl Pinning {
    /// The cores, each once.
    pub(crate) fn cores(self) -> Vec<usize> {
        let mut cores = vec![self.proxies, self.load, self.double];
        cores.dedup();
        cores
    }
}

impl Site {
    /// Starts all sides. Callers send the same texts again and again: `remembers` says whether what was found in them
    /// may be remembered, or each is to be scanned.
    pub(crate) async fn open(palisade: &Path, remembers: bool) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let pinned = pin()?;
        let folder_of = |name: &str| folder.path().join(name);
        let log = |name: &str| folder_of(&format!("{name}.log"));
        let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 6];
        for address in &mut addresses {
            *address = process::free_address()?;
        }
        let [double_at, bare_at, whole_at, ladder_at, whole_counts_at, ladder_counts_at] = addresses;
        let (double_on, bare_on) = (double_at.to_string(), bare_at.to_string());
        let key = write_documents(&folder_of(DATA), &double_on)?;
        let rungs = write_ladder(&folder_of(LADDER_DATA), &double_on)?;
        let config = folder_of("palisade.toml");
        fs::write(&config, CONFIG.replace("{remembered}", if remembers { "16 MiB" } else { "0 B" }))?;
        let proxies = pinned.map(|pinning| pinning.proxies);

        let arguments = ["mock", "--listen", &double_on, "--record", "false"];
        let double =
            Process::start(palisade, &arguments, pinned.map(|pinning| pinning.double), log("double"))?;
        let own = std::env::current_exe()?;
        let arguments = ["passthrough", "--listen", &bare_on, "--upstream", &double_on];
        let bare = Process::start(&own, &arguments, proxies, log("passthrough"))?;
        let serve = |name: &str, data: &str, at: SocketAddr, counts_at: SocketAddr| {
            let (config, data) = (config.display().to_string(), folder_of(data).display().to_string());
            let (at, counts_at) = (at.to_string(), counts_at.to_string());
            let mut arguments = vec!["serve", "--config", &config, "--data-dir", &data, "--workers", "1"];
            arguments.extend(["--proxy-listen", &at, "--metrics-listen", &counts_at]);
            arguments.extend(["--admin-listen", "127.0.0.1:0"]);
            Process::start(palisade, &arguments, proxies, log(name))
        };
        let whole = serve("whole", DATA, whole_at, whole_counts_at)?;
        let ladder = serve("ladder", LADDER_DATA, ladder_at, ladder_counts_at)?;

        let mut site = Self {
            double: Side::new("double", double, double_at, 0),
            bare: Side::new("bare pass-through", bare, bare_at, 0),
            whole: Side::new("whole path", whole, whole_at, 1),
            ladder: Side::new("ladder", ladder, ladder_at, 1),
            rungs,
            pinned,
            key,
            metrics: [whole_counts_at, ladder_counts_at],
            folder,
        };
        let first = corpus::body(2048, 0, Reply::Document);
        for side in [&site.double, &site.bare, &site.whole] {
            side.ready(&site.shot(side, &first, Reply::Document)).await?;
        }
        for rung in &site.rungs {
            site.ladder.ready(&site.rung_shot(rung, &first, Reply::Document)).await?;
        }
        site.prove_redaction().await?;
        for side in [&mut site.double, &mut site.bare, &mut site.whole, &mut site.ladder] {
            side.memory_idle = process::memory(side.process.id())?;
        }
        Ok(site)
    }

    /// A request to one of the sides.
    pub(crate) fn shot(&self, side: &Side, body: &str, reply: Reply) -> Shot {
        Self::shot_with(side, &self.key, body, reply)
    }

    /// A request of a rung's caller.
    pub(crate) fn rung_shot(&self, rung: &Rung, body: &str, reply: Reply) -> Shot {
        Self::shot_with(&self.ladder, &rung.key, body, reply)
    }

    /// The key of the whole path's caller.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn shot_with(side: &Side, key: &str, body: &str, reply: Reply) -> Shot {
        let expected = if reply.is_stream() {
            Expected::Events { added_max: side.events_added_max }
        } else {
            Expected::Document
        };
        Shot::new(side.address, key, body, expected)
    }

    /// Removes the finished segments of the spools, as whoever ships them would.
    pub(crate) fn ship_events(&self) -> io::Result<()> {
        for data in [DATA, LADDER_DATA] {
            let spool = self.folder.path().join(data).join("spool");
            let entries = fs::read_dir(&spool)?.collect::<io::Result<Vec<_>>>()?;
            let mut segments: Vec<PathBuf> =
                entries.iter().map(fs::DirEntry::path).filter(|file| is_segment(file)).collect();
            segments.sort();
            // The last one is being written.
            segments.pop();
            segments.iter().try_for_each(fs::remove_file)?;
        }
        Ok(())
    }

    /// Events that were lost, by the processes' own count.
    pub(crate) async fn events_lost(&self) -> io::Result<u64> {
        let mut all = 0;
        for metrics in self.metrics {
            let page = metrics_page(metrics).await;
            let page = page.map_err(|wrong| io::Error::other(format!("`/metrics`: {wrong}")))?;
            let lost =
                page.lines().find_map(|line| line.strip_prefix(EVENTS_LOST)?.trim().parse::<u64>().ok());
            all += lost.ok_or_else(|| io::Error::other(format!("`/metrics` has no `{EVENTS_LOST}`")))?;
        }
        Ok(all)
    }

    /// A file that goes with the site.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn prove_redaction(&self) -> io::Result<()> {
        let body = corpus::body(PROOF_BYTES, PROOF_CARDS, Reply::Echo);
        let cards: Vec<String> = (0..PROOF_CARDS).map(corpus::card).collect();
        for (side, wanted) in [(&self.bare, PROOF_CARDS), (&self.whole, 0)] {
            let answer = self.shot(side, &body, Reply::Echo).once().await;
            let answer = answer.map_err(|wrong| io::Error::other(format!("{}: {wrong}", side.name)))?;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let seen = cards.iter().filter(|card| answer.contains(*card)).count();
            if seen != wanted {
                let name = side.name;
                return Err(io::Error::other(format!(
                    "{name}: {seen} of {PROOF_CARDS} card numbers came back, not {wanted}; nothing is timed"
                )));
            }
        }
        Ok(())
    }
}

impl Side {
    fn new(name: &'static str, process: Process, address: SocketAddr, events_added_max: usize) -> Self {
        Self { name, process, address, events_added_max, memory_idle: Memory::default() }
    }

    /// Waits until it answers.
    async fn ready(&self, shot: &Shot) -> io::Result<()> {
        let start = Instant::now();
        loop {
            let Err(wrong) = shot.once().await else { return Ok(()) };
            if start.elapsed() > START_MAX {
                let (name, words) = (self.name, self.process.last_words());
                return Err(io::Error::other(format!(
                    "the {name} does not answer: {wrong}\nit wrote: {words}"
                )));
            }
            tokio::time::sleep(START_STEP).await;
        }
    }
}

async fn metrics_page(address: SocketAddr) -> Result<String, Wrong> {
    let mut stream = TcpStream::connect(address).await.map_err(Wrong::Connection)?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(Wrong::Connection)?;
    let mut inbox = Inbox::default();
    inbox.receive(&mut stream).await.map(|page| String::from_utf8_lossy(page).into_owned())
}

/// Segments are named by the number of their first event; the lock is not.
fn is_segment(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(|first: char| first.is_ascii_digit())
}

/// Puts the proxies on the first core and the load on the second, with the double on a third if there is one.
fn pin() -> io::Result<Option<Pinning>> {
    let cores = process::cores()?;
    let [proxies, load, rest @ ..] = cores.as_slice() else { return Ok(None) };
    if !process::can_pin() {
        return Ok(None);
    }
    process::pin_self(*load)?;
    Ok(Some(Pinning { proxies: *proxies, load: *load, double: rest.first().copied().unwrap_or(*load) }))
}

/// Writes what the whole path believes, and returns the key of its one caller.
fn write_documents(data: &Path, double: &str) -> io::Result<String> {
    // Fixed bits: nobody else can reach this address, and a run is like the one before.
    let new = api_key::create([0x5A; 9], [0xA5; 32]);
    let organisation = ORGANISATION.replace("{id}", &new.id).replace("{sha256}", &new.sha256);
    let files: [(PathBuf, String); 2] = [
        (data.join("platform.toml"), PLATFORM.replace("{double}", double)),
        (data.join("orgs").join("acme.toml"), organisation),
    ];
    fs::create_dir_all(data.join("orgs"))?;
    for (file, text) in files {
        fs::write(file, text)?;
    }
    Ok(new.key.expose().to_owned())
}

/// Writes what the ladder believes: the same provider, no floor, an organisation a rung.
fn write_ladder(data: &Path, double: &str) -> io::Result<Vec<Rung>> {
    let rungs = rungs::all();
    fs::create_dir_all(data.join("orgs"))?;
    let platform = PLATFORM.replace("{double}", double).replace("\"default\"", "\"none\"");
    fs::write(data.join("platform.toml"), platform)?;
    for rung in &rungs {
        fs::write(data.join(format!("orgs/{}.toml", rung.organisation)), &rung.document)?;
    }
    Ok(rungs)
}

/// Room for the events of a long run: segments are removed between cases, but the spool counts what it wrote.
const CONFIG: &str = r#"
[audit]
quota = "1 TiB"

[limits]
remembered_findings = "{remembered}"
"#;

const PLATFORM: &str = r#"
[floor]
shipped = "default"

[[providers]]
name = "double"
base_url = "http://{double}/v1"
models = ["mock*"]
allow_private_addresses = true
"#;

/// Budgets too large to bite, so that they are counted and never met.
const ORGANISATION: &str = r#"
id = "acme"
name = "Acme"
ip_allowlist = ["127.0.0.0/8", "10.0.0.0/8", "203.0.113.10-20"]

[[policy]]
name = "what never leaves"
direction = "both"
categories = ["payment", "identity", "secret"]
action = "redact"

[[groups]]
name = "engineering"

[[keys]]
id = "{id}"
sha256 = "{sha256}"
name = "bench"
groups = ["engineering"]

[model_access]
default = "deny"

[[model_access.rules]]
groups = ["engineering"]
allow = ["mock*", "double/*"]
deny = ["*-preview"]

[[quotas]]
subject = "organisation"
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000_000_000
requests_per_day = 1_000_000_000_000
tokens_per_day = 1_000_000_000_000_000

[[quotas]]
subject = "key"
requests_per_minute = 1_000_000_000
tokens_per_day = 1_000_000_000_000_000

[[routes]]
name = "everything"
models = ["mock*"]
targets = ["double"]
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::documents::{OrganisationDocument, PlatformDocument};

    #[test]
    fn the_documents_are_documents() {
        let folder = tempfile::tempdir().unwrap();
        let key = write_documents(folder.path(), "127.0.0.1:1").unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let platform: PlatformDocument = toml::from_str(&read("platform.toml")).unwrap();
        let organisation: OrganisationDocument = toml::from_str(&read("orgs/acme.toml")).unwrap();
        assert_eq!(platform.providers[0].base_url, "http://127.0.0.1:1/v1");
        assert_eq!(organisation.keys[0].id, api_key::parse(&key).unwrap().id);
    }
}
