//! Whose key is this, or whose JWT?
//!
//! Needs the head of the request; proves [`Visitor`]. The tenant comes from the credential alone, never from a
//! header or body. Unknown, malformed, expired and disabled keys and suspended organisations get one and the same
//! answer, and an unknown id costs the same work as a known one.

use crate::api_key;
use crate::credint::{self, Intelligence, Vouched};
use crate::geoip::{self, Location};
use crate::ip_allowlist::{self, Origin};
use crate::jwt::{self, Trust};
use crate::policy::{Policy, Provider, Tenant, TenantKey};
use crate::refusal::Refusal;
use crate::routing::KillSwitches;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known before a byte of the body is read.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    /// Every credential that was presented, in any of the headers that carry one.
    pub credentials: &'a [String],
    /// The client's address, unless nobody knows it.
    pub address: Option<IpAddr>,
    /// SHA-256 of the certificate that the client proved to own.
    pub certificate: Option<[u8; 32]>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Someone we know. Where from is not asked yet.
#[derive(Clone, Debug)]
pub struct Caller {
    revision: u64,
    came_ms: u64,
    tenant: Arc<Tenant>,
    key: Arc<TenantKey>,
    /// What the platform has switched off when it came.
    kill_switches: Arc<KillSwitches>,
}

impl Caller {
    /// The policy revision that judges this request.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The organisation.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The key.
    pub fn key(&self) -> &TenantKey {
        &self.key
    }
}

/// Someone we know, from where they may come from. Whether their key is burned is not asked yet.
#[derive(Debug)]
pub struct Located {
    caller: Caller,
    origin: Origin,
    location: Location,
}

/// The same, with a key that nobody else is known to have.
#[derive(Clone, Debug)]
pub struct Visitor {
    caller: Caller,
    origin: Origin,
    location: Location,
    vouched: Vouched,
}

impl Visitor {
    /// The organisation.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.caller.tenant
    }

    /// The key.
    pub fn key(&self) -> &TenantKey {
        &self.caller.key
    }

    /// The policy revision that judges this request.
    pub fn revision(&self) -> u64 {
        self.caller.revision
    }

    /// Why the platform or the organisation has switched a model of a provider off, if one has.
    pub(crate) fn switched_off_because(&self, provider: &Provider, model: &str) -> Option<&Arc<str>> {
        let platform = self.caller.kill_switches.reason(provider, model);
        platform.or_else(|| self.caller.tenant.kill_switches.reason(provider, model))
    }

    /// When it knocked, in milliseconds since 1970.
    pub(crate) fn came_ms(&self) -> u64 {
        self.caller.came_ms
    }

    /// When the key ends by itself, in milliseconds since 1970.
    pub fn expires_ms(&self) -> Option<u64> {
        self.caller.key.expires_ms
    }

    /// The address, admitted.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Where the address is, as far as anybody knows.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The same, as it is shared.
    pub(crate) fn shared_intelligence(&self) -> &Arc<Intelligence> {
        self.vouched.shared()
    }

    /// What was known of compromised credentials when the exchange began.
    pub fn intelligence(&self) -> &Intelligence {
        self.vouched.intelligence()
    }
}

/// Recognises a key or a JWT, and nothing else yet.
pub(crate) fn identify(policy: &Policy, trust: &Trust, knock: &Knock<'_>) -> Result<Caller, Refusal> {
    // Two credentials could be read as one by us and as the other by the next reader.
    let [credential] = knock.credentials else { return Err(Refusal::InvalidApiKey) };
    let known = match api_key::parse(credential) {
        Some(presented) => policy.key(presented.id, &presented.sha256),
        // What is a key is no JWT: there is no dot in one, and two in the other.
        None => jwt::recognize(policy, trust, credential, knock.now_ms),
    };
    match known {
        Some((tenant, key)) if is_alive(&tenant, &key, knock.now_ms) => {
            let (revision, kill_switches) = (policy.revision(), policy.kill_switches.clone());
            Ok(Caller { revision, came_ms: knock.now_ms, tenant, key, kill_switches })
        }
        Some(_) | None => Err(Refusal::InvalidApiKey),
    }
}

/// Lets a caller in with the certificate it must have, from the address that it comes from, and from where that is.
pub(crate) fn locate(caller: Caller, knock: &Knock<'_>, location: Location) -> Result<Located, Refusal> {
    let is_bound_elsewhere = |bound: &[u8; 32]| knock.certificate.as_ref() != Some(bound);
    if caller.key.client_certificate.as_ref().is_some_and(is_bound_elsewhere) {
        return Err(Refusal::CertificateRequired);
    }
    let lists = [&caller.tenant.ip_allowlist, &caller.key.ip_allowlist];
    let origin = ip_allowlist::admit(knock.address, lists)?; // may it come from there?
    let location = geoip::locate(&caller.tenant, origin, location)?; // from that country, that network?
    Ok(Located { caller, origin, location })
}

/// And with a key that is not known to be burned.
pub(crate) fn admit(
    located: Located,
    knock: &Knock<'_>,
    intelligence: &Arc<Intelligence>,
) -> Result<Visitor, Refusal> {
    let Located { caller, origin, location } = located;
    let vouched = credint::vouch(&caller, knock, intelligence)?;
    Ok(Visitor { caller, origin, location, vouched })
}

/// Whether a credential that was recognised once still is, under another policy or with other keys of its issuer: asked
/// when either changes while an exchange goes on.
pub fn still_welcome(policy: &Policy, trust: &Trust, visitor: &Visitor, now_ms: u64) -> bool {
    let Caller { tenant: known, key: presented, .. } = &visitor.caller;
    match &presented.bearer {
        None => policy
            .key(&presented.id, &presented.sha256)
            .is_some_and(|(tenant, key)| tenant.id == known.id && is_alive(&tenant, &key, now_ms)),
        Some(bearer) => jwt::still_believed(policy, trust, bearer)
            .is_some_and(|tenant| tenant.id == known.id && is_alive(tenant, presented, now_ms)),
    }
}

fn is_alive(tenant: &Tenant, key: &TenantKey, now_ms: u64) -> bool {
    !tenant.suspended && key.enabled && key.expires_ms.is_none_or(|end| now_ms < end)
}
