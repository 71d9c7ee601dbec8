//! One document over `https`, from a host that an organisation named, off every request's way.
//!
//! Needs an address; proves that what came is from a host whose certificate is right, at an address on the Internet or
//! one that the operator listed, in bounded time and bounded size, without having been sent elsewhere. Does not: know
//! what it fetches.

use crate::upstream::{self, NoAddress};
use palisade_filters::jwt::{Address, KeySource, SET_BYTES_MAX};
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use std::net::IpAddr;
use std::time::Duration;

/// For one document, from resolving its host's name to its last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A document.
pub(crate) struct Fetched {
    pub(crate) body: Vec<u8>,
    /// How long it is good for, as its host says.
    pub(crate) fresh_for: Option<Duration>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// Its host's name does not resolve.
    #[error("its host has no address: {0}")]
    Unresolved(NoAddress),
    /// It lies in our own network.
    #[error(
        "its address {0} is loopback, link-local, private or reserved; \
         list its host in `jwt.private_hosts` of `platform.toml` if that is meant"
    )]
    Forbidden(IpAddr),
    /// No connection, no TLS, or it broke.
    #[error("it cannot be fetched: {0}")]
    Broken(String),
    /// It takes too long.
    #[error("it did not come within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// Another answer than 200. Redirects are not followed: the address that was checked is the one that counts.
    #[error("its host answers with status {0}; write the address that answers with 200")]
    Status(u16),
    /// More bytes than any such document has.
    #[error("it is larger than {SET_BYTES_MAX} bytes")]
    TooLarge,
    /// It came compressed though nobody asked for that.
    #[error("it came with a `content-encoding` that was not asked for")]
    Encoded,
    /// It came, and says nothing usable.
    #[error("it cannot be used: {0}")]
    Unusable(String),
}

impl From<Box<pingora_core::Error>> for Failed {
    fn from(error: Box<pingora_core::Error>) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Fetches a document of this source.
pub(crate) async fn fetch(
    connector: &Connector,
    source: &KeySource,
    address: &Address,
) -> Result<Fetched, Failed> {
    let fetched = tokio::time::timeout(TIMEOUT, get(connector, source, address));
    fetched.await.unwrap_or(Err(Failed::TimedOut))
}

async fn get(connector: &Connector, source: &KeySource, address: &Address) -> Result<Fetched, Failed> {
    let Address { host, port, path } = address;
    let may_be_private = source.may_be_private(address);
    let socket = upstream::resolve(host, *port, may_be_private).await.map_err(|why| match why {
        NoAddress::Forbidden(address) => Failed::Forbidden(address),
        NoAddress::Unresolved(_) | NoAddress::TimedOut | NoAddress::Empty => Failed::Unresolved(why),
    })?;
    // An empty SNI would switch the certificate's check off; the reader of addresses refuses an empty host.
    let mut peer = HttpPeer::new(socket, true, host.clone());
    peer.options.connection_timeout = Some(TIMEOUT);
    peer.options.total_connection_timeout = Some(TIMEOUT);
    let (mut up, _) = connector.get_http_session(&peer).await?;
    up.set_read_timeout(Some(TIMEOUT));
    up.set_write_timeout(Some(TIMEOUT));
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(4))?;
    let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let authority = if *port == 443 { shown } else { format!("{shown}:{port}") };
    request.insert_header("host", authority)?;
    request.insert_header("accept", "application/json")?;
    request.insert_header("accept-encoding", "identity")?;
    request.insert_header("connection", "close")?;
    up.write_request_header(Box::new(request)).await?;
    up.finish_request_body().await?;
    up.read_response_header().await?;
    while up.response_header().is_some_and(|head| head.status.is_informational()) {
        up.read_response_header().await?;
    }
    let head = up.response_header().ok_or(Failed::Status(0))?;
    if head.status.as_u16() != 200 {
        return Err(Failed::Status(head.status.as_u16()));
    }
    if head.headers.get("content-encoding").is_some_and(|coding| coding != "identity") {
        return Err(Failed::Encoded);
    }
    let fresh_for = fresh_for(head);
    let mut body = Vec::new();
    while let Some(chunk) = up.read_response_body().await? {
        if body.len() + chunk.len() > SET_BYTES_MAX {
            return Err(Failed::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { body, fresh_for })
}

/// How long a document is good for (RFC 9111 §5.2.2).
fn fresh_for(head: &ResponseHeader) -> Option<Duration> {
    let values = head.headers.get_all("cache-control").iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let mut least = None::<Duration>;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => 0,
            "max-age" => match value.trim_matches('"').parse() {
                Ok(seconds) => seconds,
                Err(_) => continue,
            },
            _ => continue,
        };
        let told = Duration::from_secs(seconds);
        least = Some(least.map_or(told, |least| least.min(told)));
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_good_for_as_long_as_its_host_says() {
        let told = |values: &[&'static str]| {
            let mut head = ResponseHeader::build(200, None).unwrap();
            for value in values {
                head.append_header("cache-control", *value).unwrap();
            }
            fresh_for(&head).map(|time| time.as_secs())
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["public, max-age=21600, must-revalidate"]), Some(21_600));
        assert_eq!(told(&["Max-Age=\"60\"", "max-age=30"]), Some(30));
        assert_eq!(told(&["private, no-cache, max-age=600"]), Some(0));
        assert_eq!(told(&["max-age=soon, s-maxage=1"]), None);
    }
}
