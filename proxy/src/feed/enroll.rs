//! `palisade enroll`: how does a proxy come to its certificate?
//!
//! Needs the address of the feed and a token. The token names the hash of the authority's certificate: whoever answers
//! must show a chain that ends there, before the token is sent. The key is made here and stays here.

use super::client::place;
use super::identity::{Home, Identity, Papers};
use crate::config::{Config, Flags};
use anyhow::{Context, Result, bail};
use clap::Args;
use palisade_control::Folder;
use palisade_control::feed::{pin_of, wire};
use palisade_filters::api_key::hex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// For each part of the exchange.
const TIMEOUT: Duration = Duration::from_secs(20);
/// An answer holds two certificates.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Headers of the answer.
const HEADERS_MAX: usize = 32;

/// What to do about an answer that did not arrive.
const AGAIN: &str = "run the command again: the key is kept, and the same token lets it in once more";

/// What `palisade enroll` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct EnrollFlags {
    /// Where the feed of the control plane is, such as `https://control.example:8443`
    #[arg(long, value_name = "URL")]
    url: String,
    /// The token that lets this proxy in, once. Others on this machine see arguments: prefer the variable, or a file
    #[arg(long, value_name = "TOKEN", env = "PALISADE_ENROLL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn enroll(flags: &Flags, asked: &EnrollFlags) -> Result<()> {
    let config = Config::load(flags)?;
    let token = asked.token()?;
    let pin = pin_of(&token).context(
        "this is no token of `POST /api/v1/platform/enrolments`; copy it whole, with what stands behind its dot",
    )?;
    // The data folder is for its owner alone, and what cannot be kept is not asked for.
    Folder::open(&config.data_dir)?;
    let key = Identity::prepare(&config.data_dir)?;
    let body = wire::Enroll { token, public_key: key.public().to_owned() };
    let answer = exchange(&asked.url, pin, &serde_json::to_vec(&body)?)?;
    let enrolled: wire::Enrolled =
        serde_json::from_slice(&answer).context("what the control plane answered cannot be read")?;
    let (url, public_key) = (asked.url.clone(), key.public().to_owned());
    let home = Home { url, id: enrolled.id, public_key, organisations: enrolled.organisations };
    let papers = Papers { certificate: enrolled.certificate, key: key.pem().to_owned() };
    Identity::keep(&config.data_dir, &home, &enrolled.authority, &papers).with_context(|| {
        format!("this proxy was let in, and that cannot be kept in `{}`", config.data_dir.display())
    })?;
    let sees = home.organisations.map_or("all organisations".to_owned(), |named| named.join(", "));
    let mut out = std::io::stdout().lock();
    writeln!(out, "let in as {}, for {sees}; start it with `palisade proxy`", home.id)?;
    Ok(())
}

impl EnrollFlags {
    fn token(&self) -> Result<String> {
        let token = match (&self.token, &self.token_file) {
            (_, Some(file)) => {
                let read = std::fs::read_to_string(file);
                read.with_context(|| format!("cannot read `{}`", file.display()))?
            }
            (Some(token), None) => token.clone(),
            (None, None) => bail!("give the token in `PALISADE_ENROLL_TOKEN` or with `--token-file`"),
        };
        Ok(token.trim().to_owned())
    }
}

/// The first address of a name that answers.
fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the name resolves to no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends the request to whoever shows the right chain, and gives what is answered with 200.
fn exchange(url: &str, pin: [u8; 32], body: &[u8]) -> Result<Vec<u8>> {
    let (host, port) = place(url)?;
    let provider: Arc<CryptoProvider> = ring::default_provider().into();
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
        .with_no_client_auth();
    let name =
        ServerName::try_from(host.clone()).with_context(|| format!("`{host}` is no name of a host"))?;
    let mut tls = ClientConnection::new(Arc::new(config), name)?;
    let mut socket = connect(&host, port).with_context(|| format!("nobody answers at `{url}`"))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let head = format!(
        "POST {}enroll HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        wire::ROOT,
        body.len()
    );
    let mut answer = Vec::new();
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    sent.with_context(|| {
        format!("`{url}` is not the control plane that the token is of, or does not answer")
    })?;
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    // A connection that is closed without a word after the whole answer is an end, too.
    if let Err(error) = read
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        let is_slow = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind());
        let what = if is_slow { "it does not answer in time" } else { "the answer broke off" };
        return Err(error).context(format!("{what}; {AGAIN}"));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(at) = response.parse(&answer).context("what is answered is no HTTP")?
    else {
        bail!("the answer broke off; {AGAIN}");
    };
    let status = response.code.unwrap_or(0);
    let body = answer.get(at..).unwrap_or_default().to_vec();
    if status == 200 {
        return Ok(body);
    }
    match serde_json::from_slice::<wire::Problem>(&body) {
        Ok(problem) => bail!("the control plane refuses: {}", problem.detail),
        Err(_) => bail!("the control plane answers with status {status}"),
    }
}

/// Believes whoever the authority with this hash has signed for, and the authority itself must be shown.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_meant = |shown: &&CertificateDer<'_>| <[u8; 32]>::from(Sha256::digest(shown)) == self.pin;
        let Some(authority) = intermediates.iter().find(is_meant) else {
            let shown = intermediates.last().map_or("none".to_owned(), |last| hex(&Sha256::digest(last)));
            tracing::debug!(shown, "another authority was shown than the token names");
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
