//! A control plane with many organisations, and proxies that follow it, each a process of its own.

use super::client::{Client, text};
use super::{Engine, Options};
use crate::process::{self, Process};
use crate::store::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The organisation that is looked at: it comes last wherever organisations stand in their order.
pub(super) const LAST: &str = "zz-last";
/// What each organisation begins with.
const TEMPLATE: &str = "ordinary";
/// Who makes organisations at once.
const MAKERS: usize = 4;
const START_MAX: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A process, and where it is heard.
pub(super) struct Side {
    pub(super) process: Process,
    ready: Value,
    /// From its start until it was ready.
    pub(super) started: Duration,
}

impl Side {
    fn start(palisade: &Path, room: &Path, command: &str, name: &str, config: &Path) -> io::Result<Self> {
        let (data, ready) = (room.join(name), room.join(format!("{name}.json")));
        let (data, file) = (data.display().to_string(), ready.display().to_string());
        let config = config.display().to_string();
        let mut arguments = vec![command, "--config", &config, "--data-dir", &data, "--ready-file", &file];
        arguments.extend([
            "--workers",
            "1",
            "--proxy-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        arguments.extend(["--metrics-listen", "127.0.0.1:0"]);
        if command == "control" {
            arguments.extend(["--api-listen", "127.0.0.1:0", "--feed-listen", "127.0.0.1:0"]);
        }
        let since = Instant::now();
        let process = Process::start(palisade, &arguments, None, room.join(format!("{name}.log")))?;
        let text = until("a process serves", || fs::read_to_string(&ready).ok())?;
        let mut side = Self { process, ready: serde_json::from_str(&text)?, started: Duration::ZERO };
        let mut admin = Client::open(side.address("admin")?, "")?;
        until("a process is ready", || {
            admin.call("GET", "/readyz", "", None).ok().filter(|answer| answer.status == 200)
        })?;
        side.started = since.elapsed();
        Ok(side)
    }

    pub(super) fn address(&self, door: &str) -> io::Result<SocketAddr> {
        let url = self.ready.get(door).and_then(Value::as_str).and_then(|url| url.split_once("://"));
        url.and_then(|(_, address)| address.parse().ok())
            .ok_or_else(|| io::Error::other(format!("there is no `{door}`")))
    }
}

/// All of them.
pub(super) struct Site {
    pub(super) control: Side,
    pub(super) proxies: Vec<Side>,
    pub(super) operator: Client,
    pub(super) admin: Client,
    pub(super) key: String,
    pub(super) key_id: String,
    /// To make all organisations.
    pub(super) made: Duration,
    _double: Process,
    _server: Option<Server>,
    _room: TempDir,
}

impl Site {
    pub(super) fn open(options: &Options) -> io::Result<Self> {
        let home = TempDir::new()?;
        let room = home.path();
        let beside = std::env::current_exe()?.with_file_name("palisade");
        let palisade = options.palisade.as_ref().unwrap_or(&beside);
        let (server, store) = store(options.engine, room)?;
        let (control_file, proxy_file) = (room.join("control.toml"), room.join("proxy.toml"));
        fs::write(&control_file, format!("drain_grace = \"0s\"\n{store}[feed]\n"))?;
        fs::write(&proxy_file, "drain_grace = \"0s\"\n[limits]\nremembered_findings = \"0 B\"\n")?;
        let double_at = process::free_address()?;
        let arguments = ["mock", "--listen", &double_at.to_string(), "--record", "false"];
        let double = Process::start(palisade, &arguments, None, room.join("double.log"))?;
        let control = Side::start(palisade, room, "control", "control", &control_file)?;
        let api = control.address("api")?;
        let log = fs::read_to_string(room.join("control.log"))?;
        let invitation = log.split_whitespace().find(|word| word.starts_with("pal_invite_platform_"));
        let mut operator = Client::arrive(api, None, "operator", invitation.unwrap_or_default())?;
        furnish(&mut operator, double_at, options.rules)?;
        let since = Instant::now();
        make(&operator, options.organisations)?;
        let made = since.elapsed();
        let asked = json!({ "id": LAST, "admin": "ann", "template": TEMPLATE });
        let told = operator.call("POST", "/api/v1/orgs", "", Some(&asked))?.wanted(201)?;
        let mut admin = Client::arrive(api, Some(LAST), "ann", text(&told, "/invitation/text"))?;
        let path = format!("/api/v1/orgs/{LAST}/api-keys");
        let key = admin.call("POST", &path, "", Some(&json!({ "name": "app" })))?.wanted(201)?;
        let (key, key_id) = (text(&key, "/key").to_owned(), text(&key, "/id").to_owned());
        let mut proxies = Vec::new();
        for name in ["proxy-1", "proxy-2"] {
            enroll(palisade, room, name, control.address("feed")?, &mut operator)?;
            proxies.push(Side::start(palisade, room, "proxy", name, &proxy_file)?);
        }
        Ok(Self {
            control,
            proxies,
            operator,
            admin,
            key,
            key_id,
            made,
            _double: double,
            _server: server,
            _room: home,
        })
    }
}

/// `[store]` of an engine, with the server that it is in.
fn store(engine: Engine, room: &Path) -> io::Result<(Option<Server>, String)> {
    if engine == Engine::Sqlite {
        return Ok((None, "[store]\nkind = \"sqlite\"\n".to_owned()));
    }
    fs::write(room.join("master.key"), "5e".repeat(32))?;
    let server = Server::start("");
    for role in ["palisade_owner", "palisade_service", "palisade_directory"] {
        server.administer("postgres", &format!("CREATE ROLE {role} LOGIN"));
    }
    server.administer("postgres", "CREATE DATABASE store OWNER palisade_owner");
    let url = |role| server.url(role, "store");
    let text = format!(
        "[store]\nkind = \"postgresql\"\nurl = {:?}\ndirectory_url = {:?}\nowner_url = {:?}\n\
         master_key = {{ file = \"../master.key\" }}\n",
        url("palisade_service"),
        url("palisade_directory"),
        url("palisade_owner"),
    );
    Ok((Some(server), text))
}

/// A provider, and what organisations begin with.
fn furnish(operator: &mut Client, double: SocketAddr, rules: usize) -> io::Result<()> {
    let provider = json!({
        "base_url": format!("http://{double}/v1"),
        "models": ["mock*"],
        "allow_private_addresses": true,
        "api_key": { "value": "sk-of-the-platform" },
    });
    let make = "if-none-match: *\r\n";
    operator.call("PUT", "/api/v1/platform/providers/double", make, Some(&provider))?.wanted(200)?;
    let rule = |at: usize| {
        json!({
            "id": format!("own.number_{at}"),
            "entity": "OWN_NUMBER",
            "category": "identity",
            "title": "A number",
            "why": "it opens doors",
            "severity": "medium",
            "pattern": format!("EMP{at}-[0-9]{{6}}"),
            "confidence": { "base": 0.6 },
            "width_bytes_max": 12,
            "examples": [format!("ask EMP{at}-204518 about it")],
            "counterexamples": [format!("EMP{at}-20451")],
            "references": [],
        })
    };
    let rules: Vec<Value> = (0..rules).map(rule).collect();
    let template = json!({ "name": "ordinary", "organisation": { "dlp": { "rules": rules } } });
    let path = format!("/api/v1/platform/templates/{TEMPLATE}");
    operator.call("PUT", &path, make, Some(&template))?.wanted(200)?;
    Ok(())
}

/// Makes organisations, several at once.
fn make(operator: &Client, organisations: usize) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let maker = || {
            let mut client = operator.again()?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= organisations {
                    return io::Result::Ok(());
                }
                let asked = json!({ "id": format!("org-{number}"), "admin": "ann", "template": TEMPLATE });
                client.call("POST", "/api/v1/orgs", "", Some(&asked))?.wanted(201)?;
            }
        };
        let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(maker)).collect();
        let ended = |maker: thread::ScopedJoinHandle<'_, io::Result<()>>| {
            maker.join().unwrap_or_else(|_| Err(io::Error::other("a maker ended early")))
        };
        makers.into_iter().try_for_each(ended)
    })
}

fn enroll(
    palisade: &Path,
    room: &Path,
    name: &str,
    feed: SocketAddr,
    operator: &mut Client,
) -> io::Result<()> {
    let asked = json!({ "name": name });
    let told = operator.call("POST", "/api/v1/platform/enrolments", "", Some(&asked))?.wanted(201)?;
    let data: PathBuf = room.join(name);
    let enrolled = Command::new(palisade)
        .args(["enroll", "--url", &format!("https://{feed}"), "--data-dir"])
        .arg(data)
        .env("PALISADE_ENROLL_TOKEN", text(&told, "/token"))
        .output()?;
    if enrolled.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&enrolled.stderr).into_owned()))
    }
}

/// Asks until the answer is there.
pub(super) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> io::Result<T> {
    let since = Instant::now();
    while since.elapsed() < START_MAX {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        thread::sleep(LOOK_EVERY);
    }
    Err(io::Error::other(format!("waited in vain: {what}")))
}
