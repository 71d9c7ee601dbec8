//! What is enforced: documents, compiled. Immutable, fast, shared.
//!
//! A request loads one policy and is judged by it to its end. A change of one tenant copies its own small part of the
//! directories, and the pointers above; everything else is shared with the policy before it.

mod chains;
mod change;
pub mod compile;
pub mod decide;
mod meets;
mod owned;
mod services;
mod shards;
mod suppressions;
#[cfg(test)]
mod tests;
mod under;

use crate::dlp::replacement::Key;
use crate::dlp::service::{Endpoint, Service};
use crate::dlp::{Detection, Scanner};
use crate::documents::routes::KillSwitchDocument;
use crate::documents::{Channel, CredintDocument, DefaultAction, OnFull, ProviderDocument};
use crate::geoip::GeoRules;
use crate::jwt::{Bearer, Issuer, KeySource};
use crate::model_access::Access;
use crate::networks::Networks;
use crate::quota::{Catalogue, KnownModel, Limits};
use crate::routing::{KillSwitches, Routes};
use crate::secret::Secret;
use chains::{Chains, Floor};
use owned::Owned;
pub use owned::{Known, Unknown};
use shards::Shards;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use suppressions::Suppressions;

/// Everything that judges requests at one moment.
#[derive(Clone, Debug)]
pub struct Policy {
    revision: u64,
    pub(crate) platform: Arc<Platform>,
    /// What the platform has switched off. No organisation is compiled from it, so that it holds at once for all.
    pub(crate) kill_switches: Arc<KillSwitches>,
    tenants: Shards<Arc<Tenant>>,
    owned: Owned,
    /// Whose a key is, the name of an organisation says: another state of it is one for all of its keys at once.
    keys: Shards<Arc<[OwnedKey]>>,
    /// Who believes whom, by the name of the issuer.
    issuers: Shards<Arc<IssuersByAudience>>,
}

/// A key, with the name of its organisation.
type OwnedKey = (Arc<str>, Arc<TenantKey>);

/// A key of a caller, with its organisation.
pub(crate) type KeyEntry = (Arc<Tenant>, Arc<TenantKey>);

/// Looked up, not searched: a JWT may name thousands of audiences, and thousands of organisations share an issuer.
type IssuersByAudience = HashMap<Box<str>, (Arc<str>, Arc<Issuer>)>;

/// What all tenants share.
#[derive(Debug)]
pub struct Platform {
    /// Detection rules.
    pub scanner: Arc<Scanner>,
    /// Services that find in prompts what has no form.
    pub detectors: Vec<Arc<Endpoint>>,
    /// Upstreams, in the order of the document.
    pub providers: Vec<Arc<Provider>>,
    pub(crate) floor: Arc<Floor>,
    /// Hosts and ports of our own network that issuers may keep their keys on.
    pub(crate) private_hosts: Arc<[(String, u16)]>,
    pub(crate) fingerprint: u64,
}

/// An upstream, compiled.
#[derive(Debug)]
pub struct Provider {
    /// As it was written.
    pub document: ProviderDocument,
    /// The credential that replaces the caller's.
    pub api_key: Option<Secret>,
    /// `https` or not.
    pub tls: bool,
    /// The host, for the name check and the `host` header.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What comes before `/chat/completions` or `/v1/messages`.
    pub base_path: String,
    pub(crate) catalogue: Arc<Catalogue>,
}

impl Provider {
    /// What is known of a model there.
    pub fn known(&self, model: &str) -> Option<&KnownModel> {
        self.catalogue.find(&self.document.name, model)
    }
}

/// An organisation, compiled. What of it is not the platform's is shared by its clones.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: Arc<str>,
    /// Findings less sure than this do not count.
    pub threshold: f32,
    /// Whether answers carry `x-palisade-findings`.
    pub findings_header: bool,
    /// What happens to its requests while their events cannot be kept.
    pub on_full: OnFull,
    pub(crate) suspended: bool,
    pub(crate) credint: CredintDocument,
    pub(crate) ip_allowlist: Networks,
    pub(crate) geo: Option<Arc<GeoRules>>,
    pub(crate) keys: Arc<[Arc<TenantKey>]>,
    pub(crate) detection: Detection,
    pub(crate) services: Arc<[Arc<Service>]>,
    pub(crate) suppressions: Suppressions,
    pub(crate) issuers: Arc<[Arc<Issuer>]>,
    pub(crate) chains: Chains,
    pub(crate) access: Access,
    pub(crate) routes: Routes,
    pub(crate) kill_switches: KillSwitches,
    pub(crate) default_action: DefaultAction,
    pub(crate) platform: Arc<Platform>,
    pub(crate) hash_key: [u8; 32],
    pub(crate) replacements: Key,
    /// Names of tools, as patterns.
    pub(crate) restore_in_tools: Arc<[String]>,
    pub(crate) fingerprint: u64,
}

/// A key, compiled, or what a JWT amounts to.
#[derive(Debug)]
pub struct TenantKey {
    /// Its public id; of a JWT, the same for all of one user.
    pub id: Arc<str>,
    /// Who owns it, if it is a person's.
    pub user: Option<Box<str>>,
    /// The names of its groups.
    pub groups: Vec<String>,
    /// How it is used.
    pub channel: Channel,
    /// What is kept of the JWT, if it is one.
    pub bearer: Option<Box<Bearer>>,
    pub(crate) sha256: [u8; 32],
    pub(crate) enabled: bool,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) client_certificate: Option<[u8; 32]>,
    pub(crate) ip_allowlist: Networks,
    pub(crate) models: Vec<String>,
    pub(crate) limits: Limits,
}

impl Tenant {
    /// Hashes of the documents that it was compiled from: the platform's and its own.
    pub fn fingerprints(&self) -> [u64; 2] {
        [self.platform.fingerprint, self.fingerprint]
    }

    /// What is looked for in this organisation's texts.
    pub fn detection(&self) -> &Detection {
        &self.detection
    }
}

impl Policy {
    /// Which state of what we believe this is; grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many organisations it knows.
    pub fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// Its organisations, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.iter().map(|(_, tenant)| tenant)
    }

    /// Whether it knows an organisation.
    pub fn knows(&self, id: &str) -> bool {
        self.tenants.get(id).is_some()
    }

    /// Whether the platform's document is the one with this fingerprint.
    pub fn is_under(&self, fingerprint: u64) -> bool {
        self.platform.fingerprint == fingerprint
    }

    /// Whether an organisation was compiled from the document with this fingerprint, under the platform of this moment.
    pub fn is_in_force(&self, id: &str, fingerprint: u64) -> bool {
        let tenant = self.tenants.get(id);
        tenant.is_some_and(|tenant| tenant.fingerprint == fingerprint && self.is_under_this(tenant))
    }

    /// Whether the hashes of an organisation are keyed from this secret of its own. If not, it is another organisation
    /// of the same name.
    pub fn is_keyed_from(&self, id: &str, hash_secret: &Secret) -> bool {
        self.tenants.get(id).is_some_and(|tenant| tenant.hash_key == compile::derive(hash_secret, id))
    }

    /// What is switched off for everyone.
    pub fn kill_switches(&self) -> impl Iterator<Item = &KillSwitchDocument> {
        self.kill_switches.documents()
    }

    /// The providers.
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.platform.providers
    }

    /// The key with this public id and this hash of its secret. Hashes are compared in constant time, and an unknown id
    /// costs a comparison too.
    pub(crate) fn key(&self, id: &str, sha256: &[u8; 32]) -> Option<KeyEntry> {
        let known = self.keys.get(id).map_or(&[][..], |known| known);
        if known.is_empty() {
            let _ = std::hint::black_box(sha256.ct_eq(&[0; 32]));
        }
        let (owner, key) = known.iter().find(|(_, key)| bool::from(key.sha256.ct_eq(sha256)))?;
        Some((self.tenants.get(owner)?.clone(), key.clone()))
    }

    /// An organisation.
    pub(crate) fn tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    /// Whether anybody believes an issuer.
    pub(crate) fn has_issuers(&self) -> bool {
        self.issuers.len() > 0
    }

    /// The names of those who believe an issuer of this name, by audience.
    pub(crate) fn issuers(&self, name: &str) -> Option<&IssuersByAudience> {
        self.issuers.get(name).map(|audiences| &**audiences)
    }

    /// Where keys of issuers are to be fetched.
    pub fn key_sources(&self) -> HashSet<Arc<KeySource>> {
        let issuers = self.issuers.iter().flat_map(|(_, audiences)| audiences.values());
        issuers.filter_map(|(_, issuer)| issuer.source()).cloned().collect()
    }
}
