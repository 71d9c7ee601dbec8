//! Connections: who listens, and how a connection becomes requests.
//!
//! Each worker is a single-threaded runtime with its own listener (`SO_REUSEPORT`), its own service and its own pool
//! of upstream connections: nothing on a request's way is shared between threads but the house. Listeners are bound
//! by us, before anything is announced; Pingora adopts them.

use crate::admin::Desk;
use crate::body;
use crate::config::{Listen, Tls};
use crate::drain::Bells;
use crate::house::House;
use crate::metrics::Metrics;
use crate::record::Record;
use crate::upstream::Upstreams;
use crate::{arrival, reply, serve};
use anyhow::{Context, Result};
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::apps::{
    HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp,
};
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::{Fds, ShutdownWatch};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_runtime::Runtime;
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Streams on one HTTP/2 connection of a client.
const STREAMS_MAX: u32 = 256;
/// What HTTP/2 header lists may take.
const H2_HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// Read and write buffers of a client's connection. A larger read buffer costs memory on every idle stream.
const READ_BUFFER_BYTES: usize = 8 * 1024;
const WRITE_BUFFER_BYTES: usize = 1460;
/// A connection may rest this long between requests; the head's own deadline holds besides.
const KEEPALIVE_SECONDS: u64 = 60;

/// Listeners and the threads that serve them.
pub(crate) struct Server {
    runtimes: Vec<Runtime>,
    /// The workers' listeners; the desks stay open until the end.
    doors: Vec<tokio::task::JoinHandle<()>>,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// What to listen on.
pub(crate) struct Plan<'a> {
    pub(crate) workers: usize,
    pub(crate) proxy: &'a Listen,
    pub(crate) admin: &'a Listen,
    pub(crate) metrics: &'a Listen,
}

impl Server {
    /// Binds everything, then serves. The desks, where health and metrics are asked for, stay open while exchanges
    /// finish.
    pub(crate) fn start(plan: &Plan<'_>, house: &Arc<House>, bells: &Bells) -> Result<Self> {
        let mut server = Self {
            runtimes: Vec::new(),
            doors: Vec::new(),
            proxy: plan.proxy.listen,
            admin: plan.admin.listen,
            metrics: plan.metrics.listen,
        };
        // Shared ports never clash: without this, a second process would quietly take a share of the connections.
        drop(bind(server.proxy, false)?);
        let mut bound = Vec::with_capacity(plan.workers);
        for worker in 0..plan.workers {
            // The first worker may be given a free port; the others join it there.
            let listener = bind(server.proxy, true)?;
            if worker == 0 {
                server.proxy = listener.local_addr()?;
            }
            bound.push(listener);
        }
        let (admin, metrics) = (bind(server.admin, false)?, bind(server.metrics, false)?);
        (server.admin, server.metrics) = (admin.local_addr()?, metrics.local_addr()?);
        let patience = house.limits().header_timeout;
        let (stop, close, end) = (bells.stop.subscribe(), bells.close.subscribe(), bells.end.subscribe());
        for listener in bound {
            let door = Door::new(house.clone());
            let serving = server.run(
                "palisade-worker",
                Arc::new(door),
                listener,
                plan.proxy.tls.as_ref(),
                patience,
                [&stop, &close],
            )?;
            server.doors.push(serving);
        }
        for (name, listener, listen, desk) in [
            ("palisade-admin", admin, plan.admin, Desk::admin(house.clone())),
            ("palisade-metrics", metrics, plan.metrics, Desk::metrics(house.clone())),
        ] {
            server.run(name, Arc::new(desk), listener, listen.tls.as_ref(), patience, [&end, &end])?;
        }
        Ok(server)
    }

    fn run<A: HttpServerApp + Send + Sync + 'static>(
        &mut self,
        name: &str,
        app: Arc<A>,
        listener: TcpListener,
        tls: Option<&Tls>,
        header_timeout: Duration,
        [stop, close]: [&ShutdownWatch; 2],
    ) -> Result<tokio::task::JoinHandle<()>> {
        // Pingora knows an adopted listener by its address, and does not set this itself.
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let mut config = ListenerConfig::tcp(&address)
            .l4_buffer(L4BufferSettings::new(READ_BUFFER_BYTES, WRITE_BUFFER_BYTES));
        if let Some(tls) = tls {
            config = config.tls(tls_settings(tls)?);
        }
        let front = Front { app, is_plain: tls.is_none(), header_timeout, close: close.clone() };
        let mut service = Service::new(name.to_owned(), front);
        service.add_listener(config);
        let mut adopted = Fds::new();
        adopted.add(address, listener.into_raw_fd());
        let adopted = Arc::new(Mutex::new(adopted));
        let runtime = Runtime::new_no_steal(1, name);
        let stop = stop.clone();
        let serving = async move { service.start_service(Some(adopted), stop, 1).await };
        let serving = runtime.get_handle().spawn(serving);
        self.runtimes.push(runtime);
        Ok(serving)
    }

    /// Waits until no worker accepts any more; the stop must have been said.
    pub(crate) async fn closed(&mut self) {
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

fn bind(address: SocketAddr, is_shared: bool) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    let bound = socket.bind(&address.into());
    bound.with_context(|| format!("cannot listen on {address}; is another process there?"))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn tls_settings(tls: &Tls) -> Result<TlsSettings> {
    let path = |path: &std::path::Path| -> Result<String> {
        // Pingora panics on files it cannot read.
        std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(path.to_str().with_context(|| format!("`{}` is not a UTF-8 path", path.display()))?.to_owned())
    };
    let mut settings =
        TlsSettings::intermediate(&path(&tls.certificate)?, &path(&tls.key)?).map_err(|error| {
            anyhow::anyhow!("the certificate `{}` cannot be used: {error}", tls.certificate.display())
        })?;
    settings.enable_h2();
    Ok(settings)
}

/// Every connection's first moment. Cleartext HTTP/2 announces itself by a preface (RFC 9113 §3.4), for which Pingora
/// waits without a limit, and until it has all 24 bytes. Its first three tell it from every method of HTTP/1; the limit
/// is here.
struct Front<A> {
    app: Arc<A>,
    is_plain: bool,
    header_timeout: Duration,
    /// Tells idle connections to end, which is later than the end of accepting.
    close: ShutdownWatch,
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let shutdown = &self.close;
        if !self.is_plain {
            return self.app.process_new(stream, shutdown).await;
        }
        let mut first = [0; 3];
        let mut stop = shutdown.clone();
        tokio::select! { biased;
            peeked = pingora_timeout::timeout(self.header_timeout, stream.try_peek(&mut first)) => {
                peeked.ok()?.ok()?;
            }
            _ = stop.wait_for(|stop| *stop) => return None,
        }
        if first == *b"PRI" {
            return self.app.process_new(stream, shutdown).await;
        }
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(KEEPALIVE_SECONDS));
        let mut next = self.app.process_new_http(session, shutdown).await;
        while let Some((stream, settings)) = next.map(ReusedHttpStream::consume) {
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            next = self.app.process_new_http(session, shutdown).await;
        }
        None
    }
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

    async fn exchange(&self, down: &mut ServerSession) -> Result<(), crate::fault::Fault> {
        let id = arrival::client_request_id(down);
        let (address, dialect) = (arrival::address(down), arrival::dialect(down));
        let mut record = Record::new(self.house.clone(), address, dialect, id);
        match Box::pin(serve::serve(&self.house, &self.upstreams, down, &mut record)).await {
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

#[async_trait]
impl HttpServerApp for Door {
    async fn process_new_http(
        self: &Arc<Self>,
        mut down: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let limit = self.house.limits().header_timeout;
        if !read_head(&mut down, &self.house.metrics, shutdown, limit).await {
            return None;
        }
        let _in_flight = self.house.enter();
        down.set_write_timeout(Some(self.house.limits().write_timeout));
        let done = self.exchange(&mut down).await;
        finish(down, done.is_ok(), shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_concurrent_streams(STREAMS_MAX);
        options.max_header_list_size(H2_HEADER_LIST_BYTES_MAX);
        Some(options)
    }
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
            down.shutdown().await;
            false
        }
        Err(_) => false,
    }
}

/// Hands a connection on to its next request, if it may have one.
pub(crate) async fn finish(
    mut down: ServerSession,
    is_whole: bool,
    shutdown: &ShutdownWatch,
) -> Option<ReusedHttpStream> {
    if !is_whole {
        down.shutdown().await;
        return None;
    }
    if *shutdown.borrow() {
        down.set_keepalive(None);
    }
    let settings = HttpPersistentSettings::for_session(&down);
    let reusable = down.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
}
