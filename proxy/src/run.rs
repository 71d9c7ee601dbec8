//! The life of the process: build, announce, serve, drain.

use crate::announce::{News, announce};
use crate::backing::Backing;
use crate::config::Config;
use crate::credint;
use crate::demo::Seeding;
use crate::descriptors;
use crate::drain::{Bells, Leaving, Order, Signals, leave};
use crate::edge::Edge;
use crate::geoip::GeoWatch;
use crate::house::House;
use crate::issuers::Following;
use crate::meter::Kept;
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::server::{Plan, Server};
use crate::settings::Settings;
use crate::source::{self, Source};
use crate::systemd;
use crate::upgrade::{self, Inherited, Post};
use crate::watched;
use anyhow::{Context, Result};
use palisade_audit::Spool;
use palisade_filters::dlp::{Scanner, rules};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// The detection rules that come with the product.
pub(crate) fn scanner() -> Result<Arc<Scanner>> {
    Ok(Arc::new(Scanner::new(rules::shipped().context("the detection rules cannot be used")?)))
}

/// What a process is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It serves applications and, with a store, has the control plane.
    Everything,
    /// It has the control plane alone: it judges nothing, and holds no policy.
    Control,
    /// It serves applications, and follows a control plane elsewhere.
    Proxy,
}

/// What serves applications, before the doors open.
struct DataPlane {
    source: Source,
    following: Following,
    kept: Kept,
}

impl DataPlane {
    fn open(
        config: &Config,
        house: &Arc<House>,
        backing: &Backing,
        scanner: &Arc<Scanner>,
        runtime: &Runtime,
        is_upgrade: bool,
    ) -> Result<Self> {
        let source = backing.source(config, house, scanner, is_upgrade)?;
        let following = runtime.block_on(Following::begin(house));
        let kept = Kept::restore(house.meters.clone(), config.data_dir.join("meters"))?;
        Ok(Self { source, following, kept })
    }
}

/// Serves until SIGTERM or SIGINT, then lets what is under way finish.
pub(crate) fn run(settings: Settings, role: Role, is_upgrade: bool, seeding: Option<Seeding>) -> Result<()> {
    let config = &settings.config.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Asked for before anything else, so that no signal finds the process without an answer.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    tracing::info!("effective configuration:\n{config}");
    // As it was found at the start: the file may be another one by the time it is asked for.
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let mut inherited =
        if is_upgrade { Inherited::from_predecessor(&config.data_dir)? } else { Inherited::from_systemd()? };
    let (house, credentials) = furnish(config, &runtime, role, inherited.has_predecessor())?;

    let scanner = scanner()?;
    let backing = Backing::open(config, &house, &scanner, role)?;
    let demo = match (seeding, backing.plane()) {
        (Some(seeding), Some(plane)) => Some(seeding.sow(plane)?),
        (_, _) => None,
    };
    let data = (role != Role::Control)
        .then(|| DataPlane::open(config, &house, &backing, &scanner, &runtime, inherited.has_predecessor()))
        .transpose()?;

    let bells = Bells::new();
    let plan = Plan {
        workers: config.workers,
        proxy: data.as_ref().map(|_| &config.proxy),
        admin: &config.admin,
        metrics: &config.metrics,
        api: backing.plane().map(|_| &config.api),
        feed: backing.plane().and_then(Plane::feed_listen),
    };
    let mut server = Server::start(&plan, &house, &bells, &mut inherited)?;
    let mut first_operator = None;
    if let Some(plane) = backing.plane() {
        server.serve_plane(plane, &house, &bells)?;
        first_operator = plane.first_operator()?;
    }
    // Not before the doors are open: a process that cannot start must take nothing over from one that runs.
    let (source, following, keeper) = match data {
        Some(DataPlane { source, following, kept }) => (Some(source), Some(following), Some(kept.keep()?)),
        None => (None, None, None),
    };
    announce(config, &server, settings.ready_file(), &News { demo: demo.as_ref(), first_operator })?;
    inherited.serving();
    server.own_files();
    systemd::serving();
    let successor = Successor { program, relieved: Arc::new(Notify::new()) };
    let post = successor.awaited(config, &server);

    let settings = Arc::new(Mutex::new(settings));
    runtime.block_on(async {
        if let Some(following) = following {
            tokio::spawn(following.keep());
        }
        tokio::spawn(watched::keep_looking((credentials, house.clone()), credint::look));
        let why = serve(&house, source::keep(source, &house, &settings), &mut signals, &successor).await;
        if let (Some(post), true) = (&post, why != Leaving::Relieved) {
            post.close();
        }
        let config = settings.lock().config.clone();
        leave(why, &config, &house, &mut server, &bells, &mut signals).await;
    });
    server.end();
    backing.end();
    // After the last exchange is settled. Neither keeps the other from its end.
    let kept = match keeper {
        Some(keeper) => keeper.finish().context("counters of budgets cannot be written to their end"),
        None => Ok(()),
    };
    let counts = house.spool.close().context("events cannot be written to their end")?;
    kept?;
    tracing::info!(events = counts.written, "stopped");
    Ok(())
}

/// Makes what all requests share, without a policy yet.
fn furnish(
    config: &Config,
    runtime: &Runtime,
    role: Role,
    is_shared: bool,
) -> Result<(Arc<House>, credint::Files)> {
    let seats = descriptors::enough_for_connections(config.limits.connections);
    let spool = open_spool(config, is_shared)?;
    let geo = GeoWatch::open(&config.geoip)?;
    let credentials = credint::Files::open(&config.data_dir, config.credint.base.as_deref())?;
    let metrics = Metrics::new()?;
    let edge = Edge::new(&config.proxy, seats, metrics.connections.clone()).map_err(anyhow::Error::msg)?;
    let (mut memory_key, mut jwt_key) = ([0; 16], [0; 32]);
    for key in [&mut memory_key[..], &mut jwt_key] {
        getrandom::fill(key).context("the system has no random bytes")?;
    }
    let keys = (memory_key, jwt_key);
    let mut house = House::new(metrics, spool, geo.geo().clone(), config.limits.clone(), edge, keys);
    house.judges = role != Role::Control;
    runtime.spawn(watched::keep_looking(geo, GeoWatch::look));
    house.intelligence.store(credentials.intelligence());
    Ok((Arc::new(house), credentials))
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

/// Who comes after this process.
struct Successor {
    program: PathBuf,
    /// Rings once it serves.
    relieved: Arc<Notify>,
}

impl Successor {
    /// Waits for it from now on.
    fn awaited(&self, config: &Config, server: &Server) -> Option<Post> {
        let post = Post::open(&config.data_dir, server.spares(), self.relieved.clone());
        post.inspect_err(
            |error| tracing::warn!(%error, "no new process will be able to take over from this one"),
        )
        .ok()
    }
}

/// Goes on until the process is to leave.
async fn serve(
    house: &House,
    keeping: impl Future<Output = Infallible>,
    signals: &mut Signals,
    successor: &Successor,
) -> Leaving {
    tokio::pin!(keeping);
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
            never = &mut keeping => match never {},
        }
    }
}
