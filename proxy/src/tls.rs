//! With which certificate do we speak, and whose do we believe? One listener's TLS, renewed while it serves.
//!
//! Needs the files that the operator named, or an authority of ours that makes what is shown. Files are read again
//! every second; what changed and can be used is in force for the next handshake, what cannot be used is said once and
//! changes nothing. Client certificates are verified against their authority by rustls. It does not ask whether a
//! certificate was revoked: short lives and an authority of one's own are the answer.

use crate::listen::{ClientCertificates, Tls};
use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use palisade_audit::event;
use palisade_filters::api_key;
use parking_lot::Mutex;
use pingora_core::listeners::tls::Acceptor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How often the files are looked at. Certificates are renewed every few weeks.
pub(crate) const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// What could not be made is tried again.
const MADE_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// A clock that was set back by more than this was wrong before.
const SET_BACK: Duration = Duration::from_mins(10);
/// A file of certificates is not larger.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a listener speaks TLS with.
pub(crate) struct Certificates {
    source: Source,
    acceptor: ArcSwap<Acceptor>,
}

/// Where they come from.
enum Source {
    /// Files, with a hash of those that were tried last.
    Files(Tls, AtomicU64),
    /// Whoever makes them, and when they are to be made anew.
    Made(Maker, Mutex<Turn>),
}

/// When what is shown was made, and when it is made anew.
struct Turn {
    made_at: SystemTime,
    renew_at: SystemTime,
}

impl Turn {
    fn is_due(&self, now: SystemTime) -> bool {
        // It was made by a clock that was ahead and is right again: it may not hold yet.
        now >= self.renew_at || now + SET_BACK < self.made_at
    }
}

/// Makes what a listener shows now.
pub(crate) type Maker = Box<dyn Fn(SystemTime) -> Result<Made> + Send + Sync>;

/// What was made, in PEM.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// Whose certificates clients may show; they need none.
    pub(crate) authority: String,
    /// When others are made.
    pub(crate) renew_at: SystemTime,
}

/// The contents of the files.
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    authority: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(tls: &Tls) -> Result<Self> {
        let files = Files::read(tls)?;
        let acceptor = Acceptor::from_server_config(Arc::new(files.server_config(tls)?));
        let source = Source::Files(tls.clone(), AtomicU64::new(files.hash()));
        Ok(Self { source, acceptor: ArcSwap::from_pointee(acceptor) })
    }

    /// Has them made for the first time.
    pub(crate) fn made_by(maker: Maker) -> Result<Self> {
        let made_at = SystemTime::now();
        let made = maker(made_at)?;
        let acceptor = Acceptor::from_server_config(Arc::new(made.server_config()?));
        let source = Source::Made(maker, Mutex::new(Turn { made_at, renew_at: made.renew_at }));
        Ok(Self { source, acceptor: ArcSwap::from_pointee(acceptor) })
    }

    /// For the next handshake.
    pub(crate) fn acceptor(&self) -> Arc<Acceptor> {
        self.acceptor.load_full()
    }

    /// Takes what changed.
    fn refresh(&self) {
        let (name, config) = match &self.source {
            Source::Files(tls, tried) => {
                // A file that is just being replaced is looked at again.
                let Ok(files) = Files::read(tls) else { return };
                if tried.swap(files.hash(), Ordering::AcqRel) == files.hash() {
                    return;
                }
                (tls.certificate.display().to_string(), files.server_config(tls))
            }
            Source::Made(maker, turn) => {
                let (now, mut turn) = (SystemTime::now(), turn.lock());
                if !turn.is_due(now) {
                    return;
                }
                let made = maker(now);
                let renew_at = made.as_ref().map_or(now + MADE_AGAIN_AFTER, |made| made.renew_at);
                *turn = Turn { made_at: now, renew_at };
                ("made here".to_owned(), made.and_then(|made| made.server_config()))
            }
        };
        match config {
            Ok(config) => {
                self.acceptor.store(Arc::new(Acceptor::from_server_config(Arc::new(config))));
                tracing::info!(certificate = name, "certificates are renewed");
            }
            Err(error) => {
                tracing::error!(
                    certificate = name,
                    "new certificates are not used, the last ones stay: {error:#}"
                );
            }
        }
    }

    /// Keeps the certificates up to date, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            let this = self.clone();
            if tokio::task::spawn_blocking(move || this.refresh()).await.is_err() {
                tracing::error!("certificates cannot be looked at any more; the last ones stay in force");
                return;
            }
        }
    }
}

impl Made {
    fn server_config(&self) -> Result<ServerConfig> {
        let nowhere = PathBuf::from("made here");
        let tls = Tls {
            certificate: nowhere.clone(),
            key: nowhere.clone(),
            client_ca: Some(nowhere),
            client_certificates: Some(ClientCertificates::Optional),
        };
        let bytes = |text: &String| text.as_bytes().to_vec();
        let (chain, key, authority) = (bytes(&self.chain), bytes(&self.key), Some(bytes(&self.authority)));
        Files { chain, key, authority }.server_config(&tls)
    }
}

impl Files {
    fn read(tls: &Tls) -> Result<Self> {
        let read = |path: &Path| -> Result<Vec<u8>> {
            let bytes = std::fs::metadata(path).map(|file| file.len());
            if bytes.as_ref().is_ok_and(|bytes| *bytes > FILE_BYTES_MAX) {
                bail!("`{}` is larger than {FILE_BYTES_MAX} bytes", path.display());
            }
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let authority = tls.client_ca.as_deref().map(read).transpose()?;
        Ok(Self { chain: read(&tls.certificate)?, key: read(&tls.key)?, authority })
    }

    fn hash(&self) -> u64 {
        let mut all = Sha256::new();
        for part in [&self.chain, &self.key, self.authority.as_ref().unwrap_or(&Vec::new())] {
            all.update((part.len() as u64).to_be_bytes());
            all.update(part);
        }
        all.finalize().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
    }

    fn server_config(&self, tls: &Tls) -> Result<ServerConfig> {
        let provider: Arc<CryptoProvider> = ring::default_provider().into();
        let chain = certificates(&self.chain, &tls.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("`{}` holds no private key in PEM", tls.key.display()))?;
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match (&self.authority, &tls.client_ca) {
            (Some(authority), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(authority, path)? {
                    let added = roots.add(certificate);
                    added.with_context(|| {
                        format!("`{}` holds a certificate that cannot be used", path.display())
                    })?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match tls.client_certificates {
                    Some(ClientCertificates::Required) | None => verifier,
                    Some(ClientCertificates::Optional) => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build()?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).with_context(|| {
            format!("the certificate `{}` and its key do not go together", tls.certificate.display())
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.with_context(|| format!("`{}` is not PEM", path.display()))?;
    if read.is_empty() {
        bail!("`{}` holds no certificate in PEM", path.display());
    }
    Ok(read)
}

/// Reads a client's certificate that was verified: what events say of it, and its SHA-256.
pub(crate) fn read_client(der: &[u8]) -> (event::Certificate, [u8; 32]) {
    let subject = x509_parser::parse_x509_certificate(der);
    let subject = subject.map_or_else(|_| String::new(), |(_, parsed)| parsed.subject().to_string());
    let sha256: [u8; 32] = Sha256::digest(der).into();
    let fingerprint = format!("sha256:{}", api_key::hex(&sha256));
    (event::Certificate { subject: subject.into(), fingerprint: fingerprint.into() }, sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_that_was_ahead_made_is_made_anew() {
        let (made_at, day) = (SystemTime::now(), Duration::from_hours(24));
        let turn = Turn { made_at, renew_at: made_at + 60 * day };
        for (now, due) in [
            (made_at, false),
            (made_at + 60 * day, true),
            (made_at - Duration::from_secs(5), false),
            (made_at - day, true),
        ] {
            assert_eq!(turn.is_due(now), due);
        }
    }
}
