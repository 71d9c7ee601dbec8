//! How does a proxy ask the control plane? HTTPS with its own certificate, believing one authority alone.
//!
//! Needs an [`Identity`]; proves that whoever answered has a certificate of the authority that the proxy was let in
//! by, for the name that is asked, and that answers are bounded in time and size. It gives what they say, and judges
//! none of it.

use super::identity::Identity;
use anyhow::Context;
use palisade_control::feed::wire;
use palisade_control::follow::{News, Origin, OriginError, READ_BYTES_MAX, Reading};
use palisade_control::store::{OrganisationId, Owner};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::time::Duration;

/// For a connection, and for each part of an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole answer, beyond the wait for news.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Connections that are kept: one for news, one besides.
const POOL_CONNECTIONS: usize = 4;
/// An answer may hold what is read at once, or one owner that is larger, quoted.
const ANSWER_BYTES_MAX: usize = READ_BYTES_MAX * 10;

/// Asks.
pub(crate) struct Client {
    identity: Identity,
    connector: Connector,
    host: String,
    port: u16,
}

impl Client {
    pub(crate) fn new(identity: Identity) -> anyhow::Result<Self> {
        let (host, port) = place(&identity.home.url)?;
        let mut options = ConnectorOptions::new(POOL_CONNECTIONS);
        let authority = identity.authority();
        // Without a file, everybody's authorities would be believed.
        let file = authority
            .to_str()
            .with_context(|| format!("`{}` is not UTF-8; choose another data folder", authority.display()))?;
        options.ca_file = Some(file.to_owned());
        Ok(Self { identity, connector: Connector::new(Some(options)), host, port })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn get<T: DeserializeOwned>(&self, target: &str, patience: Duration) -> Result<T, OriginError> {
        self.ask("GET", target, Vec::new(), patience).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, OriginError> {
        let body = serde_json::to_vec(body).map_err(|error| OriginError::Away(error.to_string()))?;
        self.ask("POST", target, body, Duration::ZERO).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, OriginError> {
        let away = |why: String| {
            OriginError::Away(format!(
                "the control plane at `{}` does not answer: {why}",
                self.identity.home.url
            ))
        };
        let exchange = self.exchange(method, target, body, patience);
        let exchanged = tokio::time::timeout(patience + ANSWER_TIMEOUT, exchange).await;
        let exchanged = exchanged.map_err(|_| away(format!("not whole within {ANSWER_TIMEOUT:?}")))?;
        let (status, answer) = exchanged.map_err(|error| away(error.to_string()))?;
        if status == 200 {
            return serde_json::from_slice(&answer).map_err(|error| {
                OriginError::Away(format!("what the control plane answered cannot be read: {error}"))
            });
        }
        let problem = serde_json::from_slice(&answer).unwrap_or_else(|_| wire::Problem {
            name: String::new(),
            detail: format!("it answers with status {status}"),
        });
        Err(match status {
            410 => OriginError::Behind,
            401 => OriginError::Refused(format!("the control plane refuses: {}", problem.detail)),
            _ => OriginError::Away(format!("the control plane does not do it: {}", problem.detail)),
        })
    }

    async fn exchange(
        &self,
        method: &str,
        target: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> pingora_core::Result<(u16, Vec<u8>)> {
        let (mut up, peer) = self.connected().await?;
        up.set_read_timeout(Some(patience + TIMEOUT));
        up.set_write_timeout(Some(TIMEOUT));
        let mut request =
            RequestHeader::build(method, format!("{}{target}", wire::ROOT).as_bytes(), Some(4))?;
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        request.insert_header("host", format!("{host}:{}", self.port))?;
        request.insert_header("content-type", "application/json")?;
        request.insert_header("content-length", body.len())?;
        up.write_request_header(Box::new(request)).await?;
        if !body.is_empty() {
            up.write_request_body(body.into(), true).await?;
        }
        up.finish_request_body().await?;
        up.read_response_header().await?;
        let status = up.response_header().map_or(0, |head| head.status.as_u16());
        let mut answer = Vec::new();
        while let Some(chunk) = up.read_response_body().await? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                let what = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
                return Err(pingora_core::Error::explain(pingora_core::ErrorType::ReadError, what));
            }
            answer.extend_from_slice(&chunk);
        }
        self.connector.release_http_session(up, &peer, Some(TIMEOUT)).await;
        Ok((status, answer))
    }

    /// A connection to one of the addresses that its name has. It was named by whoever let this proxy in, and may be in
    /// our own network.
    async fn connected(&self) -> pingora_core::Result<(HttpSession, HttpPeer)> {
        let failed = |what: String| pingora_core::Error::explain(pingora_core::ErrorType::ConnectError, what);
        let found =
            tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let found = found.map_err(|_| failed("the name does not resolve in time".to_owned()))?;
        let found = found.map_err(|error| failed(format!("the name does not resolve: {error}")))?;
        let mut last = failed("the name resolves to no address".to_owned());
        for address in found.take(ADDRESSES_MAX) {
            let mut peer = HttpPeer::new(address, true, self.host.clone());
            peer.client_cert_key = Some(self.identity.shown.clone());
            peer.options.connection_timeout = Some(TIMEOUT);
            peer.options.total_connection_timeout = Some(TIMEOUT);
            match self.connector.get_http_session(&peer).await {
                Ok((up, _)) => return Ok((up, peer)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Host and port of a URL without a path.
pub(super) fn place(url: &str) -> anyhow::Result<(String, u16)> {
    let wrong = || {
        anyhow::anyhow!(
            "`{url}` is not `https://` with a host and a port, such as `https://control.example:8443`"
        )
    };
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        Some(_) | None => (rest, 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_fit) { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

impl Origin for Client {
    async fn end(&self) -> Result<u64, OriginError> {
        Ok(self.get::<wire::End>("end", Duration::ZERO).await?.end)
    }

    async fn news(&self, after: u64, patience: Duration) -> Result<News, OriginError> {
        let target = format!("news?after={after}&patience_ms={}", patience.as_millis());
        let told: wire::Changed = self.get(&target, patience).await?;
        told.try_into().map_err(|error: wire::Nonsense| OriginError::Away(error.to_string()))
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        let after = after.map_or(String::new(), |after| format!("?after={after}"));
        let told: wire::Organisations = self.get(&format!("organisations{after}"), Duration::ZERO).await?;
        let read: Result<Vec<_>, _> = told.organisations.iter().map(|id| OrganisationId::new(id)).collect();
        read.map_err(|error| OriginError::Away(error.to_string()))
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        let owners = owners.iter().map(wire::owner_name).collect();
        let told: wire::Readings = self.post("read", &wire::Read { owners }).await?;
        let read: Result<Vec<_>, wire::Nonsense> = told.readings.into_iter().map(TryInto::try_into).collect();
        read.map_err(|error| OriginError::Away(error.to_string()))
    }
}
