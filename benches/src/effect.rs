//! How soon does a change hold on proxies elsewhere, and does an application notice that it is taken in?
//!
//! Needs the binary of `palisade`, and PostgreSQL's programs unless the store is in files. A control plane, its
//! database, two proxies, a provider's double and whoever asks share this machine. Proves of each change that it holds
//! on both proxies, by what an application is answered; times count from the API's answer to whoever made the change,
//! and are as fine as the looks are frequent.

mod client;
mod site;

use crate::answer::Expected;
use crate::corpus::{self, Reply};
use crate::latency::{self, Waits};
use crate::load::Shot;
use crate::{process, report};
use client::Client;
use serde_json::{Value, json};
use site::{LAST, Side, Site};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a proxy.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A window of latency.
const WINDOW: Duration = Duration::from_secs(20);
/// Requests a second meanwhile.
const RATE: f64 = 200.0;
/// A prompt of an ordinary size.
const PROMPT_BYTES: usize = 2 * 1024;
/// Changes of the platform, each of which every organisation is compiled for.
const PLATFORM_CHANGES: usize = 6;

/// How much.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Organisations beside the one that is looked at.
    #[arg(long, default_value_t = 10_000)]
    organisations: usize,
    /// Rules of each.
    #[arg(long, default_value_t = 50)]
    rules: usize,
    /// Changes whose effect is timed.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// What keeps them.
    #[arg(long, value_enum, default_value_t = Engine::Postgresql)]
    engine: Engine,
    /// The binary to measure; unless given, the `palisade` beside this one.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
}

/// What keeps organisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// A database.
    Postgresql,
    /// Files.
    Sqlite,
}

/// What was measured of one kind of change: until it was accepted, and until it held on all proxies.
struct Changes {
    what: &'static str,
    accepted: Vec<Duration>,
    effect: Vec<Duration>,
}

/// Measures, and writes the record.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let mut site = Site::open(options)?;
    let keys = toggle_key(&mut site, options.changes)?;
    let switches = toggle_switch(&mut site)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let proxy = site.proxies.first().ok_or_else(|| io::Error::other("there is no proxy"))?;
    let body = corpus::body(PROMPT_BYTES, 0, Reply::Document);
    let shot = Shot::new(proxy.address("proxy")?, &site.key, &body, Expected::Document);
    let quiet = window(&runtime, &shot)?;
    let is_over = AtomicBool::new(false);
    let operator = &mut site.operator;
    let (busy, times) = thread::scope(|scope| {
        let changing = scope.spawn(|| change_until(operator, &is_over));
        let busy = window(&runtime, &shot);
        is_over.store(true, Ordering::Release);
        let times = changing.join().unwrap_or_else(|_| Err(io::Error::other("changes ended early")));
        Ok::<_, io::Error>((busy?, times?))
    })?;
    record(options, &site, &[keys, switches], (&quiet, &busy, times))
}

fn window(runtime: &tokio::runtime::Runtime, shot: &Shot) -> io::Result<Waits> {
    let waits = runtime.block_on(latency::open(shot, RATE, WINDOW));
    waits.map_err(|wrong| io::Error::other(format!("a proxy: {wrong}")))
}

/// Switches a key off and on.
fn toggle_key(site: &mut Site, times: usize) -> io::Result<Changes> {
    let mut changes = Changes::new("one key, switched off or on");
    let (path, admin) = (format!("/api/v1/orgs/{LAST}/api-keys/{}", site.key_id), &mut site.admin);
    for number in 0..times {
        let enabled = !number.is_multiple_of(2);
        let version = format!("if-match: \"{}\"\r\n", number + 1);
        let change =
            || admin.call("PATCH", &path, &version, Some(&json!({ "enabled": enabled })))?.wanted(200);
        let look = ("GET", "/v1/models", None, if enabled { 200 } else { 401 });
        changes.time(&site.proxies, &site.key, look, change)?;
    }
    Ok(changes)
}

/// Switches the provider off and on for everybody.
fn toggle_switch(site: &mut Site) -> io::Result<Changes> {
    let mut changes = Changes::new("a kill switch of the platform, for everybody");
    let operator = &mut site.operator;
    let prompt = json!({ "model": "mock", "messages": [{ "role": "user", "content": "hi" }] });
    for number in 0..PLATFORM_CHANGES {
        let is_off = number.is_multiple_of(2);
        let look = ("POST", "/v1/chat/completions", Some(&prompt), if is_off { 503 } else { 200 });
        changes.time(&site.proxies, &site.key, look, || switch(operator, is_off))?;
    }
    Ok(changes)
}

/// Puts a kill switch there, or takes it away.
fn switch(operator: &mut Client, is_off: bool) -> io::Result<Value> {
    let switch = json!({ "provider": "double", "model": "mock", "reason": "a measurement" });
    put(operator, "/api/v1/platform/kill-switches/measured", is_off.then_some(&switch))
}

/// Puts something there, or takes it away.
fn put(operator: &mut Client, path: &str, document: Option<&Value>) -> io::Result<Value> {
    if let Some(document) = document {
        return operator.call("PUT", path, "if-none-match: *\r\n", Some(document))?.wanted(200);
    }
    let found = operator.call("GET", path, "", None)?;
    let version = format!("if-match: {}\r\n", found.header("etag").unwrap_or_default());
    operator.call("DELETE", path, &version, None)?.wanted(204)
}

/// Changes the platform again and again, by a provider that nobody asks for: every organisation is read and compiled
/// anew for it. How often.
fn change_until(operator: &mut Client, is_over: &AtomicBool) -> io::Result<usize> {
    let spare = json!({
        "base_url": "http://127.0.0.1:9/v1",
        "models": ["spare*"],
        "allow_private_addresses": true,
        "api_key": { "value": "sk-of-nobody" },
    });
    let mut times: usize = 0;
    while !is_over.load(Ordering::Acquire) {
        let document = times.is_multiple_of(2).then_some(&spare);
        put(operator, "/api/v1/platform/providers/spare", document)?;
        times += 1;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(times)
}

impl Changes {
    fn new(what: &'static str) -> Self {
        Self { what, accepted: Vec::new(), effect: Vec::new() }
    }

    /// Makes a change while all proxies are looked at.
    fn time(
        &mut self,
        proxies: &[Side],
        key: &str,
        look: (&str, &str, Option<&Value>, u16),
        change: impl FnOnce() -> io::Result<Value>,
    ) -> io::Result<()> {
        let addresses: Result<Vec<SocketAddr>, _> =
            proxies.iter().map(|proxy| proxy.address("proxy")).collect();
        let (addresses, is_over) = (addresses?, AtomicBool::new(false));
        thread::scope(|scope| {
            let watch = |address| watch(address, key, look, &is_over);
            let watching: Vec<_> =
                addresses.iter().map(|address| scope.spawn(move || watch(*address))).collect();
            let sent = Instant::now();
            // Nobody waits for what is not changed.
            change().inspect_err(|_| is_over.store(true, Ordering::Release))?;
            let accepted = Instant::now();
            let mut latest = accepted;
            for watching in watching {
                let seen = watching.join().unwrap_or_else(|_| Err(io::Error::other("a look ended early")));
                latest = latest.max(seen?);
            }
            self.accepted.push(accepted - sent);
            self.effect.push(latest - accepted);
            Ok(())
        })
    }
}

/// Looks at a proxy until it answers so; when that was.
fn watch(
    address: SocketAddr,
    key: &str,
    (method, path, body, status): (&str, &str, Option<&Value>, u16),
    is_over: &AtomicBool,
) -> io::Result<Instant> {
    let mut client = Client::open(address, &format!("authorization: Bearer {key}\r\n"))?;
    site::until("a change holds", || {
        let answer = client.call(method, path, "", body).ok()?;
        // Who asks with a key that is none a thousand times a second is told to wait.
        let is_so = answer.status == status || (status, answer.status) == (401, 429);
        if is_so || is_over.load(Ordering::Acquire) {
            return Some(Instant::now());
        }
        thread::sleep(LOOK_EVERY);
        None
    })
}

fn record(
    options: &Options,
    site: &Site,
    changes: &[Changes],
    (quiet, busy, times): (&Waits, &Waits, usize),
) -> io::Result<String> {
    let mut out = report::title("Effect");
    let mib = |side: &Side| Ok::<_, io::Error>(process::memory(side.process.id())?.resident_kib / 1024);
    let _ = writeln!(
        out,
        "{} organisations with {} own rules each, {:?}, one control plane, two proxies (one worker each), all on this \
         machine.\n\n- made over the API, four at once, in {:.0} s: {:.0} a second\n- memory of the control plane {} MiB",
        options.organisations,
        options.rules,
        options.engine,
        site.made.as_secs_f64(),
        options.organisations as f64 / site.made.as_secs_f64(),
        mib(&site.control)?,
    );
    for proxy in &site.proxies {
        let (took, memory) = (proxy.started.as_secs_f64(), mib(proxy)?);
        let _ =
            writeln!(out, "- a proxy that knows nothing yet is ready after {took:.1} s; it has {memory} MiB");
    }
    let _ = writeln!(
        out,
        "\n| change | times | accepted p50, ms | p99 | then on both proxies p50, ms | p90 | p99 | longest |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|"
    );
    for change in changes {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            change.what,
            change.effect.len(),
            millis(&change.accepted, 0.5),
            millis(&change.accepted, 0.99),
            millis(&change.effect, 0.5),
            millis(&change.effect, 0.9),
            millis(&change.effect, 0.99),
            millis(&change.effect, 1.0),
        );
    }
    let _ = writeln!(
        out,
        "\n| requests of {PROMPT_BYTES} bytes to one proxy, {RATE} a second for {} s | p50, µs | p99, µs | wrong |\n\
         |---|---:|---:|---:|\n| nothing changes | {:.0} | {:.0} | {} |\n\
         | all organisations are brought under another platform, {times} times | {:.0} | {:.0} | {} |",
        WINDOW.as_secs(),
        quiet.median,
        quiet.percentile_99,
        quiet.mistakes.count,
        busy.median,
        busy.percentile_99,
        busy.mistakes.count,
    );
    Ok(out)
}

fn millis(times: &[Duration], share: f64) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_sign_loss, reason = "it is between zero and the last index")]
    let at = (last as f64 * share).round().max(0.0) as usize;
    sorted.get(at).map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
}
