//! Who may say that a proxy is one of ours? A small certificate authority of the control plane's own.
//!
//! Its key is made once, and lies sealed among what the platform has in the store: every process of the control plane
//! has it, and nobody else. It signs two sorts of certificates: of proxies, which name what they may see, and of the
//! listener that they come to. Proves that a certificate says what was asked for here, for ninety days. It does not
//! keep what it signed.

use super::error::FeedError;
use super::scope::Scope;
use crate::store::{Kind, ResourceId, Store, StoreError};
use palisade_filters::api_key::hex;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use ring::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a certificate lives. It is renewed at about two thirds of that.
pub const LIFETIME: Duration = Duration::from_hours(24 * 90);
/// How long the authority does.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 3_650);
/// Clocks differ: a certificate holds from a while ago.
const CLOCKS_DIFFER: Duration = Duration::from_hours(1);
/// The kind of the authority's one resource.
pub(super) const KIND: &str = "feed-authority";
/// An uncompressed point of P-256 (SEC 1, 2.3.3).
const PUBLIC_KEY_BYTES: usize = 65;

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    sha256: [u8; 32],
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Authority({})", hex(&self.sha256))
    }
}

/// What a listener shows: its certificate with the authority's behind it, and its key, in PEM.
pub struct Identity {
    /// Certificates.
    pub chain: String,
    /// The key.
    pub key: String,
}

/// A certificate that was signed.
pub(super) struct Signed {
    pub(super) pem: String,
    /// Of its bytes, in hexadecimal digits.
    pub(super) sha256: String,
    pub(super) expires: SystemTime,
    /// For which key, in hexadecimal digits.
    pub(super) public_key: String,
}

/// How it stands in the store.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityDocument {
    certificate: String,
    sha256: String,
    key: String,
}

/// The public key of somebody else.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// The one that the store has; the first time, a new one.
    pub(super) async fn open(store: &Store, now: SystemTime) -> Result<Self, FeedError> {
        let (kind, only) = (Kind::new(KIND).map_err(StoreError::from)?, only()?);
        if let Some(found) = store.platform().get(&kind, &only).await? {
            return Self::read(found.document.get());
        }
        let document = to_raw_value(&made(now)?).map_err(FeedError::broken)?;
        match store.platform().put(&kind, &only, None, document).await {
            // Another process was faster; its authority is the one.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(failed) => return Err(failed.into()),
        }
        let found = store.platform().get(&kind, &only).await?;
        let found = found.ok_or_else(|| FeedError::broken("the authority is gone again"))?;
        Self::read(found.document.get())
    }

    fn read(text: &str) -> Result<Self, FeedError> {
        let document: AuthorityDocument = serde_json::from_str(text).map_err(FeedError::broken)?;
        let key = KeyPair::from_pem(&document.key).map_err(FeedError::broken)?;
        let mut sha256 = [0; 32];
        for (byte, pair) in sha256.iter_mut().zip(document.sha256.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(FeedError::broken)?;
            *byte = u8::from_str_radix(digits, 16).map_err(FeedError::broken)?;
        }
        // The same parameters name the same issuer.
        let issuer = Issuer::new(params(UNIX_EPOCH), key);
        Ok(Self { issuer, certificate: document.certificate, sha256 })
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The SHA-256 of its certificate: whoever has it from somewhere else needs no other trust.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What a listener shows that answers to these names and addresses.
    pub fn listener(&self, names: &[String], now: SystemTime) -> Result<Identity, FeedError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(FeedError::broken)?;
        let params = CertificateParams::new(names.to_vec()).map_err(|_| FeedError::Invalid {
            pointer: "/names",
            problem: "names are those of hosts, or addresses".to_owned(),
        })?;
        let mut params = leaf(params, "Palisade feed", now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(FeedError::broken)?;
        Ok(Identity { chain: format!("{}{}", certificate.pem(), self.certificate), key: key.serialize_pem() })
    }

    /// A proxy's certificate for its key, which says who it is and what it may see.
    pub(super) fn proxy(
        &self,
        id: &ResourceId,
        scope: &Scope,
        public_key: &[u8],
        now: SystemTime,
    ) -> Result<Signed, FeedError> {
        if public_key.len() != PUBLIC_KEY_BYTES || public_key.first() != Some(&4) || !is_on_curve(public_key)?
        {
            let problem = "a public key is an uncompressed point of P-256, as hexadecimal digits".to_owned();
            return Err(FeedError::Invalid { pointer: "/public_key", problem });
        }
        let mut params = leaf(CertificateParams::default(), id.as_str(), now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uris = std::iter::once(format!("palisade:proxy:{id}")).chain(scope.uris());
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().map_err(FeedError::broken)?));
        }
        let key = PublicKey(public_key.to_vec());
        let certificate = params.signed_by(&key, &self.issuer).map_err(FeedError::broken)?;
        Ok(Signed {
            pem: certificate.pem(),
            sha256: fingerprint(&certificate),
            expires: now + LIFETIME,
            public_key: hex(public_key),
        })
    }
}

fn made(now: SystemTime) -> Result<AuthorityDocument, FeedError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(FeedError::broken)?;
    let certificate = params(now).self_signed(&key).map_err(FeedError::broken)?;
    let sha256 = fingerprint(&certificate);
    Ok(AuthorityDocument { certificate: certificate.pem(), sha256, key: key.serialize_pem() })
}

/// Whether somebody could have the key of it: whoever agrees on a secret with a point has it looked at first.
fn is_on_curve(point: &[u8]) -> Result<bool, FeedError> {
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
    let own = own.map_err(|_| FeedError::broken("the system has no random bytes"))?;
    Ok(agreement::agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P256, point), |_| ()).is_ok())
}

fn fingerprint(certificate: &Certificate) -> String {
    hex(&Sha256::digest(certificate.der()))
}

/// What the authority says of itself.
fn params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Palisade feed authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - CLOCKS_DIFFER);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now + AUTHORITY_LIFETIME);
    params
}

/// What all certificates have that it signs.
fn leaf(mut params: CertificateParams, name: &str, now: SystemTime) -> Result<CertificateParams, FeedError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(StoreError::Random)?;
    // Positive, and of the same length always (RFC 5280, 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - CLOCKS_DIFFER);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now + LIFETIME);
    Ok(params)
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn only() -> Result<ResourceId, FeedError> {
    Ok(ResourceId::new("default").map_err(StoreError::from)?)
}
