//! The life of the process: build, announce, serve, drain.

use crate::config::{Config, LogFormat};
use crate::house::House;
use crate::metrics::Metrics;
use crate::server::{Plan, Server};
use crate::watched::LOOKED_AT_EVERY;
use anyhow::{Context, Result, bail};
use palisade_audit::Spool;
use palisade_control::{Folder, Live, Reloaded};
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::secret::Secret;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// What a demo prints and writes besides.
pub(crate) struct Demo {
    pub(crate) key: Secret,
    pub(crate) organisation: String,
}

/// Starts the log. Pingora's own lines come through it too.
pub(crate) fn start_log(config: &Config) -> Result<()> {
    let filter = log_filter(config)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// What is logged.
pub(crate) fn log_filter(config: &Config) -> Result<EnvFilter> {
    let filter = EnvFilter::try_new(&config.log.level)
        .with_context(|| format!("`log.level` `{}` is no level and no filter", config.log.level))?;
    Ok(filter.add_directive("pingora_core=warn".parse()?))
}

/// The detection rules that come with the product.
pub(crate) fn scanner() -> Result<Arc<Scanner>> {
    Ok(Arc::new(Scanner::new(rules::shipped().context("the detection rules cannot be used")?)))
}

/// Serves until SIGTERM or SIGINT, then lets what is under way finish.
pub(crate) fn run(
    config: &Config,
    folder: Folder,
    ready_file: Option<&Path>,
    demo: Option<&Demo>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Asked for before anything else, so that no signal finds the process without an answer.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    tracing::info!("effective configuration:\n{config}");
    let spool = open_spool(config)?;
    let (live, errors) = Live::load(folder, scanner()?).context("there is no policy to start with")?;
    let house = Arc::new(House::new(Metrics::new()?, spool, config.limits.clone()));
    house.enforce(live.policy().clone());
    report(&house, live.policy().revision(), &errors);

    let (stop, stopped) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let plan = Plan {
        workers: config.workers,
        proxy: &config.proxy,
        admin: &config.admin,
        metrics: &config.metrics,
    };
    let mut server = Server::start(&plan, &house, &stopped, &ended)?;
    announce(config, &server, ready_file, demo)?;

    runtime.block_on(async {
        let reloading = reload(&house, live);
        tokio::pin!(reloading);
        tokio::select! {
            () = signals.stop() => {}
            () = &mut reloading => {}
        }
        tracing::info!(in_flight = house.in_flight(), "stopping: nothing is accepted any more");
        house.is_stopping.store(true, Ordering::Release);
        let _ = stop.send(true);
        server.closed().await;
        if tokio::time::timeout(config.drain_timeout, house.drained()).await.is_err() {
            tracing::warn!(in_flight = house.in_flight(), "exchanges are cut off: `drain_timeout` is over");
        }
        let _ = end.send(true);
    });
    server.end();
    let counts = house.spool.close().context("events cannot be written to their end")?;
    tracing::info!(events = counts.written, "stopped");
    Ok(())
}

fn open_spool(config: &Config) -> Result<Spool> {
    let mut spool = palisade_audit::Config::new(config.data_dir.join("spool"));
    spool.flush_ms = config.audit.flush.as_millis() as u64;
    spool.quota_bytes = config.audit.quota.as_u64();
    spool.fsync = config.audit.fsync;
    Spool::open(spool).context("events cannot be kept")
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Keeps the policy up to date, for ever. Reading and compiling happen on another thread.
async fn reload(house: &Arc<House>, live: Live) {
    let mut live = Some(live);
    loop {
        let is_ordered = tokio::select! {
            () = house.reload.notified() => true,
            () = tokio::time::sleep(LOOKED_AT_EVERY) => false,
        };
        let Some(mut taken) = live.take() else { return };
        let looked = tokio::task::spawn_blocking(move || {
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
                        house.enforce(policy);
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
    let url = |address: SocketAddr, tls: bool| format!("{}://{address}", if tls { "https" } else { "http" });
    let proxy = url(server.proxy, config.proxy.tls.is_some());
    let admin = url(server.admin, config.admin.tls.is_some());
    let metrics = url(server.metrics, config.metrics.tls.is_some());
    tracing::info!(%proxy, %admin, %metrics, "serving");
    if let Some(path) = ready_file {
        let mut ready = serde_json::json!({"proxy": proxy, "admin": admin, "metrics": metrics});
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
