//! Is this a JWT of somebody whom one of our organisations believes?
//!
//! Needs a credential and the keys of issuers; proves what an API key proves: an organisation, a user, groups, an end.
//! The organisation is found by `iss` and `aud`, which are one organisation's alone; the key among those of that issuer
//! only; the algorithm is the key's. Every failure is the same to the caller, and an unknown issuer costs the same work
//! as a known one. Does not: fetch keys, which is the proxy's (`Policy::key_sources` says from where), and never reads
//! an address out of a JWT.

mod address;
mod checked;
mod issuer;
mod keys;
mod token;

#[cfg(test)]
mod tests;

pub(crate) use address::private_hosts;
pub use address::{Address, KeySource};
pub use issuer::{Bearer, ISSUERS_MAX, Issuer};
pub use keys::{KEYS_MAX, KeySet, SET_BYTES_MAX};
pub use token::JWT_BYTES_MAX;

use crate::policy::{KeyEntry, Policy, Tenant};
use crate::strict_json;
use crate::tenant::Knock;
use checked::{Checked, Verified};
use issuer::Keys;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use token::Token;

/// The keys of issuers at one moment, as far as they were fetched, and what was verified already.
#[derive(Clone, Default)]
pub struct Trust {
    fetched: HashMap<Arc<KeySource>, Arc<KeySet>>,
    checked: Arc<Checked>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "keys of {} issuers", self.fetched.len())
    }
}

impl Trust {
    /// Nobody's keys yet. What is remembered of JWTs is hashed under this key, which nobody else knows.
    pub fn new(key: [u8; 32]) -> Self {
        Self { fetched: HashMap::new(), checked: Arc::new(Checked::new(key)) }
    }

    /// The same, with these keys of a source.
    #[must_use]
    pub fn with(&self, source: Arc<KeySource>, set: Arc<KeySet>) -> Self {
        let mut next = self.clone();
        next.fetched.insert(source, set);
        next
    }

    /// The same, without sources that nobody wants any more.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&KeySource) -> bool) -> Self {
        let mut next = self.clone();
        next.fetched.retain(|source, _| is_wanted(source));
        next
    }

    /// The keys that were fetched from a source.
    pub fn fetched(&self, source: &KeySource) -> Option<&Arc<KeySet>> {
        self.fetched.get(source)
    }

    fn keys_of<'a>(&'a self, issuer: &'a Issuer) -> Option<&'a Arc<KeySet>> {
        match &issuer.keys {
            Keys::Written(set) => Some(set),
            Keys::Fetched(source) => self.fetched.get(source),
        }
    }
}

/// What a credential amounts to, if it is a JWT that is believed.
pub(crate) fn recognize(policy: &Policy, trust: &Trust, credential: &str, now_ms: u64) -> Option<KeyEntry> {
    if !policy.has_issuers() || !token::is_shaped(credential) {
        return None;
    }
    let digest = trust.checked.digest(credential);
    if let Some(Verified { entry, set }) = trust.checked.find(policy, &digest) {
        let issuer = entry.1.bearer.as_ref().map(|bearer| &bearer.issuer)?;
        if trust.keys_of(issuer).is_some_and(|now| Arc::ptr_eq(now, &set)) {
            return Some(entry);
        }
    }
    let token = Token::read(credential)?;
    let known = find(policy, &token)
        .filter(|(_, issuer)| issuer.terms.admits(token.algorithm))
        .and_then(|(tenant, issuer)| trust.keys_of(issuer).map(|set| (tenant, issuer, set)));
    let Some((tenant, issuer, set)) = known else {
        keys::in_vain(token.algorithm, token.signed, &token.signature);
        return None;
    };
    let thumbprint = set.verify(token.kid.as_deref(), token.algorithm, token.signed, &token.signature)?;
    let key = issuer.accept(tenant, &token, thumbprint, now_ms)?;
    let entry = (tenant.clone(), Arc::new(key));
    trust.checked.remember(policy, digest, Verified { entry: entry.clone(), set: set.clone() });
    Some(entry)
}

/// The one issuer that a JWT could be of. One that is for two of them at once is for neither: who it is must not
/// depend on which is looked at first.
fn find<'a>(policy: &'a Policy, token: &Token<'_>) -> Option<(&'a Arc<Tenant>, &'a Arc<Issuer>)> {
    let known = policy.issuers(token.issuer.as_str())?;
    let mut found = token.audiences.iter().filter_map(|audience| known.get(audience.as_str()));
    let (owner, first) = found.next()?;
    let is_only = found.all(|(_, other)| Arc::ptr_eq(other, first));
    is_only.then_some((policy.tenant(owner)?, first))
}

/// The organisation of a JWT that was believed once, if it still is under this policy and with these keys: the issuer
/// is still believed on the same terms, and still has the key.
pub(crate) fn still_believed<'a>(
    policy: &'a Policy,
    trust: &Trust,
    bearer: &Bearer,
) -> Option<&'a Arc<Tenant>> {
    let before = &bearer.issuer;
    let (owner, issuer) = policy.issuers(&before.name)?.get(&before.audience)?;
    let is_same = issuer.terms == before.terms && issuer.terms.admits(bearer.algorithm);
    (is_same && trust.keys_of(issuer)?.holds(&bearer.thumbprint)).then_some(policy.tenant(owner)?)
}

/// Where a key would have to be fetched for a credential that was refused: a JWT of an issuer that is known, signed
/// with a key that is not. Nothing is verified here: whoever asks does so rarely.
pub fn missing_key(policy: &Policy, trust: &Trust, knock: &Knock<'_>) -> Option<Arc<KeySource>> {
    let [credential] = knock.credentials else { return None };
    if !policy.has_issuers() {
        return None;
    }
    let token = Token::read(credential)?;
    let (_, issuer) = find(policy, &token)?;
    let is_known = |set: &Arc<KeySet>| token.kid.as_deref().is_none_or(|kid| set.knows(kid));
    issuer.source().filter(|_| !trust.keys_of(issuer).is_some_and(is_known)).cloned()
}

/// Where an issuer's keys are, by what it says of itself (`OpenID` Connect Discovery §4): only what is said of the very
/// issuer counts.
pub fn read_discovery(bytes: &[u8], issuer: &str) -> Result<Address, String> {
    let object = strict_json::object(bytes).ok_or("it is no JSON object")?;
    if object.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err("its `issuer` is another one".to_owned());
    }
    let url = object.get("jwks_uri").and_then(Value::as_str).ok_or("it has no `jwks_uri`")?;
    Address::read(url).map_err(|problem| format!("its `jwks_uri`: {problem}"))
}
