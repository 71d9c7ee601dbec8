//! Connections: who listens, and how a connection becomes requests.
//!
//! Each worker is a single-threaded runtime with its own listener (`SO_REUSEPORT`), its own service and its own pool
//! of upstream connections: nothing on a request's way is shared between threads but the house. Listeners are bound
//! by us, before anything is announced; Pingora adopts them.

use crate::admin::Desk;
use crate::body;
use crate::drain::Bells;
use crate::edge::Connection;
use crate::front::{Front, Host, Rules};
use crate::house::House;
use crate::listen::{self, Address, Listen, Mode, SocketFile};
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::record::Record;
use crate::tls::Certificates;
use crate::upgrade::{Inherited, Spare, Spares};
use crate::upstream::Upstreams;
use crate::{arrival, reply, serve};
use anyhow::{Context, Result};
use parking_lot::Mutex;
use pingora_core::apps::{HttpPersistentSettings, HttpServerOptions, ReusedHttpStream};
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::{Fds, ShutdownWatch};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_runtime::Runtime;
use socket2::Socket;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Streams on one HTTP/2 connection of a client.
const STREAMS_MAX: u32 = 256;
/// What HTTP/2 header lists may take.
const H2_HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// Read and write buffers of a client's connection. A larger read buffer costs memory on every idle stream.
const READ_BUFFER_BYTES: usize = 8 * 1024;
const WRITE_BUFFER_BYTES: usize = 1460;
/// For the end of a connection, whose client may not read any more.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// Listeners and the threads that serve them.
pub(crate) struct Server {
    runtimes: Vec<Runtime>,
    /// The workers' listeners; the desks stay open until the end.
    doors: Vec<tokio::task::JoinHandle<()>>,
    /// Unix sockets go when the server does.
    files: Vec<SocketFile>,
    /// Every listening socket once more, for a process that takes over.
    spares: Spares,
    /// None, if this process serves no applications.
    pub(crate) proxy: Option<Address>,
    pub(crate) admin: Address,
    pub(crate) metrics: Address,
    pub(crate) api: Option<Address>,
    pub(crate) feed: Option<Address>,
    /// Bound, and nobody accepts there yet.
    api_door: Option<Bound>,
    feed_door: Option<Bound>,
}

/// What to listen on.
pub(crate) struct Plan<'a> {
    pub(crate) workers: usize,
    /// Where applications connect, if they do here.
    pub(crate) proxy: Option<&'a Listen>,
    pub(crate) admin: &'a Listen,
    pub(crate) metrics: &'a Listen,
    /// The admin API, if this process has it.
    pub(crate) api: Option<&'a Listen>,
    /// Where proxies come that are elsewhere, with the certificates of that door.
    pub(crate) feed: Option<(Listen, Arc<Certificates>)>,
}

/// Where a door's threads are, and what tells them to end.
struct Place<'a> {
    /// What its threads are called, or the runtime that it shares with others.
    threads: Threads<'a>,
    rules: Rules,
    house: &'a Arc<House>,
    stop: &'a ShutdownWatch,
    close: &'a ShutdownWatch,
}

/// On which threads a door is served.
enum Threads<'a> {
    /// One for each listener.
    Own(&'static str),
    /// Those of a runtime.
    Of(&'a Handle),
}

/// A bound address: one listener for each thread that accepts there.
struct Bound {
    door: &'static str,
    address: Address,
    mode: Mode,
    listeners: Vec<Socket>,
    certificates: Option<Arc<Certificates>>,
}

impl Server {
    /// Binds everything, then serves. The desks, where health and metrics are asked for, stay open while exchanges
    /// finish.
    pub(crate) fn start(
        plan: &Plan<'_>,
        house: &Arc<House>,
        bells: &Bells,
        inherited: &mut Inherited,
    ) -> Result<Self> {
        let mut opening = Opening { inherited, files: Vec::new(), spares: Vec::new() };
        let proxy = plan.proxy.map(|listen| opening.open("proxy", listen, plan.workers)).transpose()?;
        let admin = opening.open("admin", plan.admin, 1)?;
        let metrics = opening.open("metrics", plan.metrics, 1)?;
        let api = plan.api.map(|listen| opening.open("api", listen, 1)).transpose()?;
        let feed = plan.feed.as_ref().map(|(listen, certificates)| {
            let bound = opening.open("feed", listen, 1)?;
            anyhow::Ok(Bound { certificates: Some(certificates.clone()), ..bound })
        });
        let feed = feed.transpose()?;
        let Opening { files, spares, .. } = opening;
        let mut server = Self {
            runtimes: Vec::new(),
            doors: Vec::new(),
            files,
            spares: Arc::new(Mutex::new(spares)),
            proxy: proxy.as_ref().map(|proxy| proxy.address.clone()),
            admin: admin.address.clone(),
            metrics: metrics.address.clone(),
            api: api.as_ref().map(|api| api.address.clone()),
            feed: feed.as_ref().map(|feed| feed.address.clone()),
            api_door: api,
            feed_door: feed,
        };
        let (stop, close, end) = (bells.stop.subscribe(), bells.close.subscribe(), bells.end.subscribe());
        let place =
            |name, rules, stop, close| Place { threads: Threads::Own(name), rules, house, stop, close };
        let workers = place("palisade-worker", Rules::DataPlane, &stop, &close);
        if let Some(proxy) = proxy {
            server.doors = server.run(proxy, || Arc::new(Door::new(house.clone())), &workers)?;
        }
        let desk = place("palisade-admin", Rules::None, &end, &end);
        server.run(admin, || Arc::new(Desk::admin(house.clone())), &desk)?;
        let desk = place("palisade-metrics", Rules::None, &end, &end);
        server.run(metrics, || Arc::new(Desk::metrics(house.clone())), &desk)?;
        Ok(server)
    }

    /// Serves the admin API and the feed, on the threads of the control plane. They close when the workers do.
    pub(crate) fn serve_plane(&mut self, plane: &Plane, house: &Arc<House>, bells: &Bells) -> Result<()> {
        let (stop, close) = (&bells.stop.subscribe(), &bells.close.subscribe());
        let place = |rules| Place { threads: Threads::Of(plane.threads()), rules, house, stop, close };
        if let Some(bound) = self.api_door.take() {
            let desk = plane.desk();
            let serving = self.run(bound, || desk.clone(), &place(desk.rules()))?;
            self.doors.extend(serving);
        }
        if let (Some(bound), Some(desk)) = (self.feed_door.take(), plane.feed_desk()) {
            let serving = self.run(bound, || desk.clone(), &place(desk.rules()))?;
            self.doors.extend(serving);
        }
        Ok(())
    }

    /// Serves a bound address, each of its listeners with a host of its own.
    fn run<A: Host>(
        &mut self,
        bound: Bound,
        host: impl Fn() -> Arc<A>,
        place: &Place<'_>,
    ) -> Result<Vec<tokio::task::JoinHandle<()>>> {
        let mut serving = Vec::with_capacity(bound.listeners.len());
        let mut watched = bound.certificates.clone();
        for listener in bound.listeners {
            // Pingora knows an adopted listener by its address, and does not set this itself.
            listener.set_nonblocking(true)?;
            let (key, config) = match &bound.address {
                Address::Inet(address) => (address.to_string(), ListenerConfig::tcp(address.to_string())),
                Address::Unix(path) => {
                    let path = path.to_str().context("a socket's path is not UTF-8")?.to_owned();
                    (path.clone(), ListenerConfig::uds(path).permissions(bound.mode.permissions()))
                }
            };
            let front = Front {
                host: host(),
                house: place.house.clone(),
                certificates: bound.certificates.clone(),
                rules: place.rules.clone(),
                close: place.close.clone(),
            };
            let mut service = Service::new(bound.door.to_owned(), front);
            service
                .add_listener(config.l4_buffer(L4BufferSettings::new(READ_BUFFER_BYTES, WRITE_BUFFER_BYTES)));
            let mut adopted = Fds::new();
            adopted.add(key, listener.into_raw_fd());
            let adopted = Arc::new(Mutex::new(adopted));
            let threads = match &place.threads {
                Threads::Of(threads) => (*threads).clone(),
                Threads::Own(name) => {
                    let runtime = Runtime::new_no_steal(1, name);
                    let handle = runtime.get_handle().clone();
                    self.runtimes.push(runtime);
                    handle
                }
            };
            let stop = place.stop.clone();
            let served = async move { service.start_service(Some(adopted), stop, 1).await };
            serving.push(threads.spawn(served));
            // One of them is enough.
            if let Some(certificates) = watched.take() {
                threads.spawn(certificates.watch());
            }
        }
        Ok(serving)
    }

    /// The sockets, for a process that takes over.
    pub(crate) fn spares(&self) -> Spares {
        self.spares.clone()
    }

    /// Unix sockets that were handed over go with this process from now on, whose predecessor has heard that it serves.
    pub(crate) fn own_files(&mut self) {
        self.files.iter_mut().for_each(SocketFile::own);
    }

    /// Leaves unix sockets where they are: a process that took over listens there.
    pub(crate) fn leave_files(&mut self) {
        self.files.drain(..).for_each(SocketFile::leave);
    }

    /// Waits until no worker accepts any more; the stop must have been said.
    pub(crate) async fn closed(&mut self) {
        // A socket that is open anywhere goes on taking connections, and these nobody would serve.
        self.spares.lock().clear();
        for service in self.doors.drain(..) {
            if let Err(error) = service.await {
                tracing::error!(%error, "a listener ended early");
            }
        }
    }

    /// Ends the threads; not from within a runtime.
    pub(crate) fn end(self) {
        for runtime in self.runtimes {
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
    }
}

/// What is at hand while doors are opened, and what comes of it besides listeners.
struct Opening<'a> {
    inherited: &'a mut Inherited,
    files: Vec<SocketFile>,
    spares: Vec<Spare>,
}

impl Opening<'_> {
    /// Binds a door, or takes what was handed over for it.
    fn open(&mut self, door: &'static str, listen: &Listen, threads: usize) -> Result<Bound> {
        let mode = listen.mode.unwrap_or_default();
        let certificates = listen.tls.as_ref().map(Certificates::load).transpose()?.map(Arc::new);
        let named = listen.address.to_string();
        let mut listeners: Vec<Socket> =
            self.inherited.take(door, &named).into_iter().map(Socket::from).collect();
        let is_new = listeners.is_empty();
        let address = match &listen.address {
            Address::Unix(path) if is_new => {
                let (socket, file) = listen::bind_unix(path, mode)?;
                self.files.push(file);
                listeners.push(socket);
                listen.address.clone()
            }
            Address::Unix(path) => {
                self.files.push(SocketFile::lent(path)?);
                listen.address.clone()
            }
            Address::Inet(address) => {
                if is_new {
                    bind_all(*address, threads, &mut listeners)?;
                }
                let first = listeners.first().context("a door without a listener")?;
                Address::Inet(first.local_addr()?.as_socket().context("a port without an address")?)
            }
        };
        for listener in &listeners {
            let socket = listener.try_clone()?.into();
            self.spares.push(Spare { door, listen: named.clone(), socket });
        }
        // Where there are more threads than sockets, several accept from one. Where there are fewer, there will be as
        // many: each socket has its own queue, and one that nobody accepts from loses it.
        while let Some(listener) = listeners.first().filter(|_| listeners.len() < threads) {
            listeners.push(listener.try_clone()?);
        }
        Ok(Bound { door, address, mode, listeners, certificates })
    }
}

/// Binds a port for each thread.
fn bind_all(mut address: SocketAddr, threads: usize, listeners: &mut Vec<Socket>) -> Result<()> {
    // Shared ports never clash: without this, a second process would quietly take a share of the connections.
    if threads > 1 {
        drop(listen::bind(address, false)?);
    }
    for _ in 0..threads {
        // The first thread may be given a free port; the others join it there.
        let socket = listen::bind(address, threads > 1)?;
        address = socket.local_addr()?.as_socket().context("a port without an address")?;
        listeners.push(socket);
    }
    Ok(())
}

/// Where applications connect: one worker's side of it.
struct Door {
    house: Arc<House>,
    upstreams: Upstreams,
    options: HttpServerOptions,
}

impl Door {
    fn new(house: Arc<House>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(house.limits().header_timeout);
        Self { house, upstreams: Upstreams::new(), options }
    }

    async fn exchange(&self, down: &mut ServerSession, from: &Connection) -> Result<(), crate::fault::Fault> {
        let id = arrival::client_request_id(down);
        let mut record = Record::new(self.house.clone(), arrival::dialect(down), id);
        match Box::pin(serve::serve(&self.house, &self.upstreams, down, from, &mut record)).await {
            Ok(()) => Ok(()),
            Err(stop) => {
                record.stopped(&stop);
                stop.log(&record.id());
                if !reply::has_begun(down) && !body::drain(down).await {
                    down.set_keepalive(None);
                }
                reply::stop(down, &mut record, &stop).await
            }
        }
    }
}

impl Host for Door {
    async fn receive(
        &self,
        mut down: ServerSession,
        from: &Connection,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let limit = self.house.limits().header_timeout;
        if !read_head(&mut down, &self.house.metrics, shutdown, limit).await {
            return None;
        }
        let _in_flight = self.house.enter();
        down.set_write_timeout(Some(self.house.limits().write_timeout));
        let done = self.exchange(&mut down, from).await;
        finish(down, done.is_ok(), shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(h2_options(STREAMS_MAX))
    }
}

/// HTTP/2 with so many streams on one connection.
pub(crate) fn h2_options(streams: u32) -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(streams);
    options.max_header_list_size(H2_HEADER_LIST_BYTES_MAX);
    options
}

/// Reads a head within one deadline, which defeats a head that comes byte by byte; an idle connection ends with the
/// process.
pub(crate) async fn read_head(
    down: &mut ServerSession,
    metrics: &Metrics,
    shutdown: &ShutdownWatch,
    limit: Duration,
) -> bool {
    down.set_pipelining_enabled(true);
    let mut stop = shutdown.clone();
    let read = tokio::select! { biased;
        read = pingora_timeout::timeout(limit, down.read_request()) => read,
        _ = stop.wait_for(|stop| *stop) => return false,
    };
    match read {
        Ok(Ok(is_there)) => is_there,
        Ok(Err(error)) => {
            if matches!(error.etype(), pingora_core::ErrorType::InvalidHTTPHeader) {
                // Nobody is known yet, and the rest of the connection cannot be trusted.
                metrics.malformed_head();
                reply::malformed_head(down).await;
            }
            close(down).await;
            false
        }
        Err(_) => false,
    }
}

/// Ends a connection. What was not sent yet is sent before, and whoever does not read is not waited for: they would
/// hold the exchange, and the end of the process, for as long as they like.
async fn close(down: &mut ServerSession) {
    let _ = pingora_timeout::timeout(CLOSED_WITHIN, down.shutdown()).await;
}

/// Hands a connection on to its next request, if it may have one.
pub(crate) async fn finish(
    mut down: ServerSession,
    is_whole: bool,
    shutdown: &ShutdownWatch,
) -> Option<ReusedHttpStream> {
    if !is_whole {
        close(&mut down).await;
        return None;
    }
    if *shutdown.borrow() {
        down.set_keepalive(None);
    }
    let settings = HttpPersistentSettings::for_session(&down);
    let reusable = down.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
}
