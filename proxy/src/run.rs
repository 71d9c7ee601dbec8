//! The life of the process: build, announce, serve, drain.

use crate::config::Config;
use crate::credint;
use crate::descriptors;
use crate::drain::{Bells, Leaving, Order, Signals, leave};
use crate::edge::Edge;
use crate::geoip::GeoWatch;
use crate::house::House;
use crate::issuers::Following;
use crate::listen::Address;
use crate::meter::Kept;
use crate::metrics::Metrics;
use crate::server::{Plan, Server};
use crate::settings::Settings;
use crate::systemd;
use crate::upgrade::{self, Inherited, Post};
use crate::watched::{self, LOOKED_AT_EVERY};
use anyhow::{Context, Result, bail};
use palisade_audit::Spool;
use palisade_control::{Folder, Live, Reloaded};
use palisade_filters::Policy;
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::secret::Secret;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// What a demo prints and writes besides.
pub(crate) struct Demo {
    pub(crate) key: Secret,
    pub(crate) organisation: String,
    /// Whether somebody answers in Anthropic's dialect.
    pub(crate) has_anthropic: bool,
}

/// The detection rules that come with the product.
pub(crate) fn scanner() -> Result<Arc<Scanner>> {
    Ok(Arc::new(Scanner::new(rules::shipped().context("the detection rules cannot be used")?)))
}

/// Serves until SIGTERM or SIGINT, then lets what is under way finish.
pub(crate) fn run(settings: Settings, folder: Folder, is_upgrade: bool, demo: Option<&Demo>) -> Result<()> {
    let config = &settings.config.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Asked for before anything else, so that no signal finds the process without an answer.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    tracing::info!("effective configuration:\n{config}");
    // As it was found at the start: the file may be another one by the time it is asked for.
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let seats = descriptors::enough_for_connections(config.limits.connections);
    let mut inherited =
        if is_upgrade { Inherited::from_predecessor(&config.data_dir)? } else { Inherited::from_systemd()? };
    let spool = open_spool(config, inherited.has_predecessor())?;
    let (live, errors) = Live::load(folder, scanner()?).context("there is no policy to start with")?;
    let geo = GeoWatch::open(&config.geoip)?;
    let credentials = credint::Files::open(&config.data_dir, config.credint.base.as_deref())?;
    let metrics = Metrics::new()?;
    let edge = Edge::new(&config.proxy, seats, metrics.connections.clone()).map_err(anyhow::Error::msg)?;
    let (mut memory_key, mut jwt_key) = ([0; 16], [0; 32]);
    for key in [&mut memory_key[..], &mut jwt_key] {
        getrandom::fill(key).context("the system has no random bytes")?;
    }
    let keys = (memory_key, jwt_key);
    let house = House::new(metrics, spool, geo.geo().clone(), config.limits.clone(), edge, keys);
    let house = Arc::new(house);
    runtime.spawn(watched::keep_looking(geo, GeoWatch::look));
    house.intelligence.store(credentials.intelligence());
    house.enforce(live.policy().clone());
    report(&house, live.policy().revision(), &errors);
    let following = runtime.block_on(Following::begin(&house));

    let kept = Kept::restore(house.meters.clone(), config.data_dir.join("meters"))?;
    let bells = Bells::new();
    let plan = Plan {
        workers: config.workers,
        proxy: &config.proxy,
        admin: &config.admin,
        metrics: &config.metrics,
    };
    let mut server = Server::start(&plan, &house, &bells, &mut inherited)?;
    // Not before the doors are open: a process that cannot start must take nothing over from one that runs.
    let keeper = kept.keep()?;
    announce(config, &server, settings.ready_file(), demo)?;
    inherited.serving();
    server.own_files();
    systemd::serving();
    let successor = Successor { program, relieved: Arc::new(Notify::new()) };
    let post = Post::open(&config.data_dir, server.spares(), successor.relieved.clone());
    if let Err(error) = &post {
        tracing::warn!(%error, "no new process will be able to take over from this one");
    }

    let settings = Arc::new(Mutex::new(settings));
    runtime.block_on(async {
        tokio::spawn(following.keep());
        tokio::spawn(watched::keep_looking((credentials, house.clone()), credint::look));
        let why = serve(&house, live, &settings, &mut signals, &successor).await;
        if let (Ok(post), true) = (&post, why != Leaving::Relieved) {
            post.close();
        }
        let config = settings.lock().config.clone();
        leave(why, &config, &house, &mut server, &bells, &mut signals).await;
    });
    server.end();
    // After the last exchange is settled. Neither keeps the other from its end.
    let kept = keeper.finish().context("counters of budgets cannot be written to their end");
    let counts = house.spool.close().context("events cannot be written to their end")?;
    kept?;
    tracing::info!(events = counts.written, "stopped");
    Ok(())
}

/// Who comes after this process.
struct Successor {
    program: PathBuf,
    /// Rings once it serves.
    relieved: Arc<Notify>,
}

/// Keeps documents and configuration up to date until the process is to leave.
async fn serve(
    house: &Arc<House>,
    live: Live,
    settings: &Arc<Mutex<Settings>>,
    signals: &mut Signals,
    successor: &Successor,
) -> Leaving {
    let reloading = reload(house, live, settings);
    tokio::pin!(reloading);
    loop {
        tokio::select! {
            order = signals.next() => match order {
                Order::Reload => house.reload.notify_one(),
                Order::Upgrade => if let Err(error) = upgrade::start_successor(&successor.program) {
                    tracing::error!(%error, "no upgrade; this process goes on");
                },
                Order::Leave(why) => return why,
            },
            () = successor.relieved.notified() => return Leaving::Relieved,
            never = &mut reloading => match never {},
        }
    }
}

fn open_spool(config: &Config, is_shared: bool) -> Result<Spool> {
    let mut spool = palisade_audit::Config::new(config.data_dir.join("spool"));
    spool.flush_ms = config.audit.flush.as_millis() as u64;
    spool.quota_bytes = config.audit.quota.as_u64();
    spool.organisation_quota_bytes = config.audit.organisation_quota();
    spool.fsync = config.audit.fsync;
    spool.is_shared = is_shared;
    Spool::open(spool).context("events cannot be kept")
}

/// Keeps the policy up to date, for ever. Reading and compiling happen on another thread.
async fn reload(house: &Arc<House>, live: Live, settings: &Arc<Mutex<Settings>>) -> Infallible {
    let mut live = Some(live);
    loop {
        let is_ordered = tokio::select! {
            () = house.reload.notified() => true,
            () = tokio::time::sleep(LOOKED_AT_EVERY) => false,
        };
        let Some(mut taken) = live.take() else { return std::future::pending().await };
        let (house_of, settings) = (house.clone(), settings.clone());
        let looked = tokio::task::spawn_blocking(move || {
            settings.lock().refresh(&house_of, is_ordered);
            let reloaded = if is_ordered { Some(taken.reload()) } else { taken.refresh() };
            (taken, reloaded)
        });
        match looked.await {
            Ok((kept, reloaded)) => {
                live = Some(kept);
                if let Some(Reloaded { policy, errors, changed }) = reloaded {
                    report(house, policy.revision(), &errors);
                    if changed {
                        tracing::info!(revision = policy.revision(), "policy in force");
                        retire(house.enforce(policy));
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "the documents cannot be read any more; the last policy stays in force");
                return std::future::pending().await;
            }
        }
    }
}

/// Lets a policy go that another one follows: when no request looks anything up in it any more, and on a thread where
/// nobody waits for it, as one of a hundred thousand organisations takes a while.
fn retire(before: Option<Arc<Policy>>) {
    let Some(mut before) = before else { return };
    tokio::spawn(async move {
        loop {
            match Arc::try_unwrap(before) {
                Ok(policy) => return drop(tokio::task::spawn_blocking(move || drop(policy))),
                Err(in_use) => before = in_use,
            }
            tokio::time::sleep(LOOKED_AT_EVERY).await;
        }
    });
}

fn report(house: &House, revision: u64, errors: &[palisade_filters::policy::compile::CompileError]) {
    house.metrics.revision.with_label_values(&["loaded"]).set(i64::try_from(revision).unwrap_or(i64::MAX));
    if !errors.is_empty() {
        house
            .metrics
            .revision
            .with_label_values(&["refused"])
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
    }
    for error in errors {
        tracing::error!(document = %error.document, problem = %error.problem, "document not used; its last good state stays");
    }
}

fn announce(config: &Config, server: &Server, ready_file: Option<&Path>, demo: Option<&Demo>) -> Result<()> {
    let url = |address: &Address, tls: bool| match address {
        Address::Inet(address) => format!("{}://{address}", if tls { "https" } else { "http" }),
        Address::Unix(_) => address.to_string(),
    };
    let proxy = url(&server.proxy, config.proxy.tls.is_some());
    let admin = url(&server.admin, config.admin.tls.is_some());
    let metrics = url(&server.metrics, config.metrics.tls.is_some());
    tracing::info!(%proxy, %admin, %metrics, "serving");
    if let Some(path) = ready_file {
        let mut ready = serde_json::json!({
            "proxy": proxy, "admin": admin, "metrics": metrics, "process": std::process::id(),
        });
        if let (Some(demo), Some(ready)) = (demo, ready.as_object_mut()) {
            let seeded = serde_json::json!({"key": demo.key.expose(), "org": demo.organisation});
            ready.insert("demo".to_owned(), seeded);
        }
        write_whole(path, &ready.to_string())?;
    }
    if let Some(demo) = demo {
        crate::demo::print(&proxy, demo);
    }
    Ok(())
}

/// Whoever waits for the file finds it whole.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        bail!("`--ready-file` `{}` names no file", path.display());
    };
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    std::fs::write(&beside, text).with_context(|| format!("cannot write `{}`", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write `{}`", path.display()))
}
