//! Who is really there? What is known of a connection, and the address of the client behind it.
//!
//! Needs the operator's word on whom to believe; proves an address that somebody trusted saw. One source, never two:
//! the socket, one header, or the PROXY protocol. A client's own word on itself is never read. Does not: refuse by
//! address, which is the core's.

use crate::connections::{Connections, Seat};
use crate::guesses::Guesses;
use crate::listen::{ClientAddress, Listen};
use palisade_audit::event;
use palisade_filters::forwarded::{self, TrustedProxies, Unreadable};
use palisade_filters::{Knock, Refusal};
use pingora_http::RequestHeader;
use prometheus::IntGauge;
use std::net::IpAddr;
use std::sync::Arc;

/// What holds at the edge for all connections of the data plane.
pub(crate) struct Edge {
    source: ClientAddress,
    trusted: TrustedProxies,
    pub(crate) connections: Arc<Connections>,
    pub(crate) guesses: Guesses,
}

/// A connection that may ask.
pub(crate) struct Connection {
    /// The other end of the socket; none for a unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// Whom the peer speaks for, as the PROXY protocol named it; otherwise the peer itself.
    pub(crate) client: Option<IpAddr>,
    /// The certificate that the peer proved to own, and its SHA-256.
    pub(crate) certificate: Option<(event::Certificate, [u8; 32])>,
    /// Counted as long as it is open.
    pub(crate) seat: Option<Seat>,
    /// And once more, where those who show no certificate have few.
    pub(crate) strangers_seat: Option<Seat>,
}

impl Edge {
    /// An edge with so many seats at most, whatever the limits say.
    pub(crate) fn new(listen: &Listen, seats: usize, open: IntGauge) -> Result<Self, String> {
        Ok(Self {
            source: listen.client_address,
            trusted: TrustedProxies::compile(&listen.trusted_proxies)?,
            connections: Arc::new(Connections::new(seats, open)),
            guesses: Guesses::new(),
        })
    }

    /// Whether a connection must begin with a header of the PROXY protocol.
    pub(crate) fn expects_header(&self) -> bool {
        self.source == ClientAddress::ProxyProtocol
    }

    /// Whether this peer may say whom it speaks for.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.trusted.trusts(peer)
    }

    /// Whether a peer's connections are many clients': a proxy's, which names the client with each request.
    pub(crate) fn is_shared(&self, peer: Option<IpAddr>) -> bool {
        self.header().is_some() && self.trusts(peer)
    }

    /// The address that a request comes from; none if nobody knows it. A trusted peer that names no client leaves it
    /// unknown: it may have been made to drop the header (`Connection: x-forwarded-for`), and its own address would
    /// open what is open to it.
    pub(crate) fn client(&self, from: &Connection, head: &RequestHeader) -> Result<Option<IpAddr>, Refusal> {
        let Some(header) = self.header().filter(|_| self.trusts(from.peer)) else { return Ok(from.client) };
        let lines = || {
            let lines: Vec<&[u8]> =
                head.headers.get_all(header).iter().map(http::HeaderValue::as_bytes).collect();
            lines.into_iter()
        };
        let client = match self.source {
            ClientAddress::XForwardedFor => forwarded::x_forwarded_for(lines(), &self.trusted),
            ClientAddress::Forwarded => forwarded::forwarded(lines(), &self.trusted),
            ClientAddress::Socket | ClientAddress::ProxyProtocol => Ok(from.client),
        };
        client.map_err(|Unreadable| Refusal::AddressUnreadable(header))
    }

    /// What a wrong key is answered: that it is wrong, or, past so many a minute, that it is time to wait. Who sends
    /// no key guesses none.
    pub(crate) fn refuse_key(&self, refusal: Refusal, knock: &Knock<'_>, a_minute: u32) -> Refusal {
        if !matches!(refusal, Refusal::InvalidApiKey) || knock.credentials.is_empty() {
            return refusal;
        }
        let counted = self.guesses.count(knock.address, a_minute, knock.now_ms);
        counted.map_or_else(Refusal::TooManyBadKeys, |()| refusal)
    }

    fn header(&self) -> Option<&'static str> {
        match self.source {
            ClientAddress::XForwardedFor => Some("x-forwarded-for"),
            ClientAddress::Forwarded => Some("forwarded"),
            ClientAddress::Socket | ClientAddress::ProxyProtocol => None,
        }
    }
}
