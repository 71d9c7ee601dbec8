//! What is a connection's first moment? Counted, asked for whom it speaks, encrypted, and then handed to its host.
//!
//! Needs an accepted socket; proves a [`Connection`]. Everything before the first request happens here, in this order,
//! within one deadline. Who is turned away is told nothing: nothing of it is known, and a plain close is what every
//! client and balancer understands. Metrics count the reasons.

use crate::edge::{Connection, Edge};
use crate::handshakes::Handshakes;
use crate::house::House;
use crate::tls::{self, Certificates};
use async_trait::async_trait;
use palisade_filters::proxy_protocol::{self, Client, HEADER_BYTES_MAX, Malformed};
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::protocols::tls::TlsStream;
use pingora_core::protocols::{GetSocketDigest as _, Ssl as _, Stream};
use pingora_core::server::ShutdownWatch;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;

/// A connection may rest this long between requests; the head's own deadline holds besides.
const KEEPALIVE_SECONDS: u64 = 60;

/// Who serves the requests of a connection: the door or a desk.
pub(crate) trait Host: Send + Sync + 'static {
    /// Serves one request.
    fn receive(
        &self,
        down: ServerSession,
        from: &Connection,
        shutdown: &ShutdownWatch,
    ) -> impl Future<Output = Option<ReusedHttpStream>> + Send;

    /// Whether a connection may go on, once it is known who is there.
    fn welcomes(&self, _: &mut Connection) -> bool {
        true
    }

    /// How connections are treated.
    fn server_options(&self) -> Option<&HttpServerOptions> {
        None
    }

    /// How HTTP/2 is spoken.
    fn h2_options(&self) -> Option<H2Options> {
        None
    }
}

/// Where all connections of a listener come in.
pub(crate) struct Front<A> {
    pub(crate) host: Arc<A>,
    pub(crate) house: Arc<House>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) rules: Rules,
    /// Tells idle connections to end, which is later than the end of accepting.
    pub(crate) close: ShutdownWatch,
}

/// Whose rules and limits hold for connections.
#[derive(Clone)]
pub(crate) enum Rules {
    /// The data plane's, whose limits can change while the process runs.
    DataPlane,
    /// Those of another door that strangers may come to, with so many seats, and so many of one client; and how many
    /// may be at their handshake, if that is bounded apart.
    Own(Arc<Edge>, usize, Option<Arc<Handshakes>>),
    /// Nobody's: a desk that only its operator reaches.
    None,
}

/// The edge of a listener, with how many connections it takes, and how many of one client.
struct Limits<'a> {
    edge: &'a Edge,
    all: usize,
    each: usize,
}

/// Why a connection was turned away.
enum Turned {
    /// All seats are taken.
    Full,
    /// All of this client's are.
    FullForClient,
    /// Only trusted proxies connect here.
    Untrusted,
    /// The PROXY protocol was not kept.
    Header(Malformed),
    /// TLS was not agreed on.
    Tls(Box<pingora_core::Error>),
    /// It took too long, or left.
    Gone,
}

/// A connection and the host of its requests.
struct Guest<A> {
    host: Arc<A>,
    connection: Connection,
}

#[async_trait]
impl<A: Host> HttpServerApp for Guest<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        down: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.host.receive(down, &self.connection, shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.host.server_options()
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.host.h2_options()
    }
}

#[async_trait]
impl<A: Host> ServerApp for Front<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let shutdown = &self.close;
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        let peer = socket.get_socket_digest();
        let peer = peer.as_ref().and_then(|digest| digest.peer_addr()?.as_inet());
        let peer = peer.map(|address| address.ip().to_canonical());
        let limit = self.house.limits().handshake_timeout;
        let mut stop = shutdown.clone();
        let greeted = tokio::select! { biased;
            greeted = pingora_timeout::timeout(limit, self.greet(*socket, peer)) => {
                greeted.unwrap_or(Err(Turned::Gone))
            }
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        match greeted {
            Ok((stream, connection)) => {
                let guest = Arc::new(Guest { host: self.host.clone(), connection });
                self.serve(&guest, stream, shutdown).await;
            }
            Err(turned) => self.turn_away(peer, &turned),
        }
        None
    }
}

impl<A: Host> Front<A> {
    /// Who is it, and may it come in?
    async fn greet(&self, mut socket: Socket, peer: Option<IpAddr>) -> Result<(Stream, Connection), Turned> {
        let mut connection =
            Connection { peer, client: peer, certificate: None, seat: None, strangers_seat: None };
        if let Some(limits) = self.limits() {
            seat(&limits, &mut socket, &mut connection).await?;
        }
        let Some(certificates) = &self.certificates else { return Ok((Box::new(socket), connection)) };
        let encrypted = self.encrypt(certificates, socket, &connection).await?;
        let certificate = encrypted.get_ssl().and_then(|tls| tls.peer_certificate_der());
        connection.certificate = certificate.map(tls::read_client);
        if !self.host.welcomes(&mut connection) {
            return Err(Turned::Full);
        }
        Ok((Box::new(encrypted), connection))
    }

    /// Agrees on TLS, unless others begin so many handshakes meanwhile that this one has to make room.
    async fn encrypt(
        &self,
        certificates: &Certificates,
        socket: Socket,
        connection: &Connection,
    ) -> Result<TlsStream<Socket>, Turned> {
        let acceptor = certificates.acceptor();
        let agreed = acceptor.tls_handshake(socket);
        let Rules::Own(edge, _, Some(handshakes)) = &self.rules else {
            return agreed.await.map_err(Turned::Tls);
        };
        let mut handshake = handshakes.begin(connection.client.filter(|_| !edge.is_shared(connection.peer)));
        tokio::select! { biased;
            agreed = agreed => agreed.map_err(Turned::Tls),
            () = handshake.makes_room() => Err(Turned::Gone),
        }
    }

    fn limits(&self) -> Option<Limits<'_>> {
        match &self.rules {
            Rules::DataPlane => {
                let limits = self.house.limits();
                let (all, each) = (limits.connections, limits.connections_per_address);
                Some(Limits { edge: &self.house.edge, all, each })
            }
            // The edge has as many seats as there are.
            Rules::Own(edge, each, _) => Some(Limits { edge, all: usize::MAX, each: *each }),
            Rules::None => None,
        }
    }

    /// Hands requests to the host. Cleartext HTTP/2 announces itself by a preface (RFC 9113 §3.4), for which Pingora
    /// waits without a limit, and until it has all 24 bytes. Its first three tell it from every method of HTTP/1; the
    /// limit is here.
    async fn serve(&self, guest: &Arc<Guest<A>>, mut stream: Stream, shutdown: &ShutdownWatch) {
        if self.certificates.is_some() {
            guest.process_new(stream, shutdown).await;
            return;
        }
        let mut first = [0; 3];
        let mut stop = shutdown.clone();
        tokio::select! { biased;
            peeked = pingora_timeout::timeout(self.house.limits().header_timeout, stream.try_peek(&mut first)) => {
                if !matches!(peeked, Ok(Ok(_))) {
                    return;
                }
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if first == *b"PRI" {
            guest.process_new(stream, shutdown).await;
            return;
        }
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(KEEPALIVE_SECONDS));
        let mut next = guest.process_new_http(session, shutdown).await;
        while let Some((stream, settings)) = next.map(ReusedHttpStream::consume) {
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            next = guest.process_new_http(session, shutdown).await;
        }
    }

    /// Closes, and counts why. The log is not a stranger's to fill.
    fn turn_away(&self, peer: Option<IpAddr>, turned: &Turned) {
        let reason = match turned {
            Turned::Full => "connections",
            Turned::FullForClient => "connections_per_address",
            Turned::Untrusted => "untrusted_peer",
            Turned::Header(_) => "proxy_protocol",
            Turned::Tls(_) => "tls",
            Turned::Gone => "unfinished_handshake",
        };
        let cause = match turned {
            Turned::Header(problem) => Some(problem.to_string()),
            Turned::Tls(problem) => Some(problem.to_string()),
            Turned::Full | Turned::FullForClient | Turned::Untrusted | Turned::Gone => None,
        };
        self.house.metrics.turned_away.with_label_values(&[reason]).inc();
        tracing::debug!(?peer, reason, cause, "a connection was turned away");
    }
}

/// Counts the connection, and learns whose it is.
async fn seat(limits: &Limits<'_>, socket: &mut Socket, connection: &mut Connection) -> Result<(), Turned> {
    let edge = limits.edge;
    let mut seat = edge.connections.enter(limits.all).ok_or(Turned::Full)?;
    if edge.expects_header() {
        connection.client = announced(edge, socket, connection.peer).await?;
    }
    if let Some(client) = connection.client.filter(|_| !edge.is_shared(connection.peer))
        && !seat.of(client, limits.each)
    {
        return Err(Turned::FullForClient);
    }
    connection.seat = Some(seat);
    Ok(())
}

/// Whom a trusted proxy announces. What it read too far is put back.
async fn announced(edge: &Edge, socket: &mut Socket, peer: Option<IpAddr>) -> Result<Option<IpAddr>, Turned> {
    if !edge.trusts(peer) {
        return Err(Turned::Untrusted);
    }
    let mut buffer = [0; HEADER_BYTES_MAX];
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        match socket.read(room).await {
            Ok(0) | Err(_) => return Err(Turned::Gone),
            Ok(bytes) => filled += bytes,
        }
        let read = buffer.get(..filled).unwrap_or_default();
        let Some(header) = proxy_protocol::read(read).map_err(Turned::Header)? else { continue };
        socket.rewind(read.get(header.bytes..).unwrap_or_default());
        return Ok(match header.client {
            Client::Sender => peer,
            Client::Address(address) => Some(address),
            Client::Unknown => None,
        });
    }
}
