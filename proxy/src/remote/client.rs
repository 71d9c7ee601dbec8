//! One request to a control plane, and what it says to that.
//!
//! Needs an address and a token; proves that the token was sent to that address alone, that an answer was read within
//! its time and size, and that it is an answer of the admin API. Nothing is followed anywhere and nothing is repeated.
//! The relay's own connector is used, so there is no second stack of HTTP and TLS in the build.

use super::address::Address;
use super::problem::Failed;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use palisade_filters::secret::Secret;
use pingora_core::ErrorType;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::WrappedX509;
use pingora_http::RequestHeader;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// For a connection, its TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A file of certificates is not larger.
const AUTHORITY_BYTES_MAX: u64 = 4 << 20;
/// An answer that is not an export: what changed, of a thousand resources.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A control plane, as it is asked.
pub(super) struct Client {
    connector: Connector,
    pub(super) address: Address,
    /// The only authorities that are believed; none: those of this machine.
    authorities: Option<Arc<[WrappedX509]>>,
    timeout: Duration,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    /// Behind the address.
    pub(super) path: String,
    pub(super) token: &'a Secret,
    /// JSON.
    pub(super) body: Option<Bytes>,
    pub(super) answer_bytes_max: usize,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: impl Into<String>, token: &'a Secret) -> Self {
        let (method, path) = ("GET", path.into());
        Self { method, path, token, body: None, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    pub(super) fn post(path: impl Into<String>, token: &'a Secret, body: Bytes) -> Self {
        Self { method: "POST", body: Some(body), ..Self::get(path, token) }
    }
}

impl Client {
    pub(super) fn new(address: Address, authority: Option<&Path>, timeout: Duration) -> Result<Self> {
        let authorities = authority.map(authorities).transpose()?;
        let connector = Connector::new(Some(ConnectorOptions::new(1)));
        Ok(Self { connector, address, authorities, timeout })
    }

    /// Asks, and reads what is answered as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, Failed> {
        let body = self.ask(ask).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Failed::Strange(format!("its answer cannot be read: {error}")))
    }

    /// Asks, and gives what is answered if it was done.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Vec<u8>, Failed> {
        let addresses = self.address.resolve().await.map_err(Failed::Unreachable)?;
        let mut failed = Failed::Unreachable("it has no address".to_owned());
        for address in addresses {
            match self.connect(address).await {
                Ok(up) => {
                    let exchanged = tokio::time::timeout(self.timeout, self.exchange(up, ask)).await;
                    return exchanged.unwrap_or_else(|_| {
                        Err(Failed::Lost(format!("it did not answer within {:?}", self.timeout)))
                    });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn connect(&self, address: SocketAddr) -> Result<HttpSession, Failed> {
        // An empty name would switch the certificate's check off; the reader of addresses refuses an empty host.
        let mut peer = HttpPeer::new(address, self.address.is_tls, self.address.host.clone());
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.total_connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.ca.clone_from(&self.authorities);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connector.get_http_session(&peer)).await;
        let connected = connected
            .map_err(|_| Failed::Unreachable(format!("no connection within {CONNECT_TIMEOUT:?}")))?;
        let (up, _) = connected.map_err(|error| Failed::Unreachable(said(&error)))?;
        Ok(up)
    }

    async fn exchange(&self, mut up: HttpSession, ask: &Ask<'_>) -> Result<Vec<u8>, Failed> {
        let lost = |error: Box<pingora_core::Error>| Failed::Lost(format!("the connection broke: {error}"));
        up.write_request_header(Box::new(self.head(ask).map_err(lost)?)).await.map_err(lost)?;
        if let Some(body) = &ask.body
            && up.write_request_body(body.clone(), true).await.is_ok()
        {
            // Whoever refuses a body does not read it to its end, and its answer is the one that counts.
            let _ = up.finish_request_body().await;
        }
        up.read_response_header().await.map_err(lost)?;
        while up.response_header().is_some_and(|head| head.status.is_informational()) {
            up.read_response_header().await.map_err(lost)?;
        }
        let head = up.response_header().ok_or_else(|| Failed::Lost("there is no head".to_owned()))?;
        let status = head.status.as_u16();
        let value =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (media_type, coding) = (value("content-type"), value("content-encoding"));
        if (300..400).contains(&status) {
            return Err(Failed::Redirected(status));
        }
        if coding.is_some_and(|coding| coding != "identity") {
            return Err(Failed::Strange("its answer is encoded, and nobody asked for that".to_owned()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = up.read_response_body().await.map_err(lost)? {
            if body.len() + chunk.len() > ask.answer_bytes_max {
                let most = ask.answer_bytes_max;
                return Err(Failed::Lost(format!("its answer is larger than {most} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(Failed::of(status, media_type.as_deref(), &body))
        }
    }

    fn head(&self, ask: &Ask<'_>) -> pingora_core::Result<RequestHeader> {
        let target = format!("{}{}", self.address.prefix, ask.path);
        let mut head = RequestHeader::build(ask.method, target.as_bytes(), Some(8))?;
        head.insert_header("host", self.address.authority())?;
        head.insert_header("user-agent", concat!("palisade/", env!("CARGO_PKG_VERSION")))?;
        head.insert_header("authorization", format!("Bearer {}", ask.token.expose()))?;
        head.insert_header("accept", "application/json")?;
        head.insert_header("accept-encoding", "identity")?;
        head.insert_header("connection", "close")?;
        if let Some(body) = &ask.body {
            head.insert_header("content-type", "application/json")?;
            head.insert_header("content-length", body.len())?;
        }
        Ok(head)
    }
}

/// Why there is no connection, for whoever types commands.
fn said(error: &pingora_core::Error) -> String {
    let of_tls = [ErrorType::TLSHandshakeFailure, ErrorType::TLSHandshakeTimedout, ErrorType::InvalidCert];
    if *error.etype() == ErrorType::ConnectTimedout {
        format!("no connection within {CONNECT_TIMEOUT:?}")
    } else if *error.etype() == ErrorType::ConnectRefused {
        "nobody listens there".to_owned()
    } else if of_tls.contains(error.etype()) {
        format!(
            "TLS failed: {error}; if its certificate is of an authority of your own, name that with `--ca`"
        )
    } else {
        error.to_string()
    }
}

fn authorities(path: &Path) -> Result<Arc<[WrappedX509]>> {
    let shown = path.display();
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read `{shown}`"))?.len();
    if bytes > AUTHORITY_BYTES_MAX {
        bail!("`{shown}` is larger than {AUTHORITY_BYTES_MAX} bytes");
    }
    let pem = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.with_context(|| format!("`{shown}` is not PEM"))?;
        let parsed = WrappedX509::try_new(certificate.to_vec(), |der| {
            X509Certificate::from_der(der).map(|(_, parsed)| parsed)
        });
        authorities
            .push(parsed.with_context(|| format!("`{shown}` holds a certificate that cannot be used"))?);
    }
    if authorities.is_empty() {
        bail!("`{shown}` holds no certificate in PEM");
    }
    Ok(authorities.into())
}
