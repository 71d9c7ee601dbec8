//! Where is a provider, and may we connect there?
//!
//! Names are resolved asynchronously and kept for a while; every address is checked before it is connected to, so
//! that no document and no DNS answer reaches our own network unless the operator said so. One connection pool for
//! each worker.

use palisade_filters::documents::HttpVersion;
use palisade_filters::policy::Provider;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Idle connections that one worker keeps.
const POOL_CONNECTIONS: usize = 1024;
/// Addresses of a provider are asked for again after this long.
const ADDRESS_KEPT_FOR: Duration = Duration::from_secs(30);
/// Streams on one HTTP/2 connection.
const STREAMS_PER_CONNECTION: usize = 100;
/// A write to a provider that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that nobody used is closed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The upstream side of one worker.
pub(crate) struct Upstreams {
    pub(crate) connector: Connector,
    peers: Mutex<HashMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    provider: Arc<Provider>,
    peer: Arc<HttpPeer>,
    asked: Instant,
}

/// Why a provider has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    /// Its name does not resolve.
    #[error("the name does not resolve: {0}")]
    Unresolved(std::io::Error),
    /// It resolves to an address of our own network.
    #[error(
        "the address {0} is loopback, link-local, private or reserved; \
         set `allow_private_addresses = true` if that is meant"
    )]
    Forbidden(IpAddr),
    /// Its name is not resolved in time.
    #[error("the name does not resolve within `connect_timeout`")]
    TimedOut,
    /// It resolves to nothing.
    #[error("the name resolves to no address")]
    Empty,
}

impl Upstreams {
    pub(crate) fn new() -> Self {
        let connector = Connector::new(Some(ConnectorOptions::new(POOL_CONNECTIONS)));
        Self { connector, peers: Mutex::default() }
    }

    /// Where to connect for a provider.
    pub(crate) async fn peer(&self, provider: &Arc<Provider>) -> Result<Arc<HttpPeer>, NoAddress> {
        let name = &provider.document.name;
        let known = self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(known) = known
            && Arc::ptr_eq(&known.provider, provider)
            && known.asked.elapsed() < ADDRESS_KEPT_FOR
        {
            return Ok(known.peer);
        }
        let may_be_private = provider.document.allow_private_addresses;
        let address = resolve(&provider.host, provider.port, may_be_private).await?;
        let peer = Arc::new(new_peer(provider, address));
        let known = Known { provider: provider.clone(), peer: peer.clone(), asked: Instant::now() };
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), known);
        Ok(peer)
    }
}

/// What a provider is called in the head of a request.
pub(crate) fn authority(provider: &Provider) -> String {
    let default_port = if provider.tls { 443 } else { 80 };
    let host =
        if provider.host.contains(':') { format!("[{}]", provider.host) } else { provider.host.clone() };
    if provider.port == default_port { host } else { format!("{host}:{}", provider.port) }
}

/// An address of a host that may be connected to.
pub(crate) async fn resolve(host: &str, port: u16, may_be_private: bool) -> Result<SocketAddr, NoAddress> {
    let found: Vec<SocketAddr> = if let Ok(address) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(address, port)]
    } else {
        tokio::net::lookup_host((host, port)).await.map_err(NoAddress::Unresolved)?.collect()
    };
    let allowed = |address: &&SocketAddr| may_be_private || is_public(address.ip());
    match (found.iter().find(allowed), found.first()) {
        (Some(address), _) => Ok(*address),
        (None, Some(forbidden)) => Err(NoAddress::Forbidden(forbidden.ip())),
        (None, None) => Err(NoAddress::Empty),
    }
}

fn new_peer(provider: &Provider, address: SocketAddr) -> HttpPeer {
    let document = &provider.document;
    // An empty SNI would switch the certificate's check off; the compiler of providers refuses an empty host.
    let mut peer = HttpPeer::new(address, provider.tls, provider.host.clone());
    peer.options.connection_timeout = Some(document.connect_timeout);
    peer.options.total_connection_timeout = Some(document.connect_timeout);
    peer.options.read_timeout = Some(document.first_byte_timeout);
    peer.options.write_timeout = Some(WRITE_TIMEOUT);
    peer.options.idle_timeout = Some(IDLE_TIMEOUT);
    if document.http == HttpVersion::Http2 {
        peer.options.set_http_version(2, if provider.tls { 1 } else { 2 });
        peer.options.max_h2_streams = STREAMS_PER_CONNECTION;
        peer.options.h2_ping_interval = Some(Duration::from_secs(30));
    }
    // What the pool's own key leaves out: connections of one provider never serve another.
    let mut hasher = std::hash::DefaultHasher::new();
    (&document.name, &document.base_url, document.http == HttpVersion::Http2).hash(&mut hasher);
    peer.group_key = hasher.finish();
    peer
}

/// Whether an address is anybody's on the Internet, and not our network's (IANA special-purpose registries).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b); // RFC 6598
    let is_special =
        a == 0 || a >= 240 || (a == 192 && b == 0 && c == 0) || (a == 198 && (18..20).contains(&b));
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || is_shared
        || is_special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address that they hold.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0, 0, 0, 0, 0, 0, high, low] => high != 0 && embedded(high, low),
        _ => {
            // Only 2000::/3 is global unicast; of it, 2001:db8::/32 is documentation and 2001::/23 is special.
            (0x2000..0x4000).contains(&first) && !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn our_own_network_is_not_the_internet_in_any_notation() {
        let own = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "2001:db8::1",
            "ff02::1",
            "198.18.0.1",
            "192.0.0.8",
            "2001::1",
        ];
        for address in own {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
