//! Whose word counts, and what does it mean? An issuer as an organisation believes it, and what a verified JWT of it
//! amounts to: the same as an API key, until it ends.

use super::address::{Address, KeySource};
use super::keys::KeySet;
use super::token::{Token, claim, moment_ms};
use crate::documents::issuers::{Algorithm, Channel, ClaimValue, JwtIssuerDocument};
use crate::documents::{OrganisationDocument, QuotaDocument};
use crate::networks::Networks;
use crate::policy::compile::keyed_hash;
use crate::policy::{Platform, Tenant, TenantKey};
use crate::quota::{Limits, Whose};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Issuers of one organisation.
pub const ISSUERS_MAX: usize = 16;
/// Clocks that differ by more are wrong, and not a little.
const LEEWAY_MAX: Duration = Duration::from_mins(5);
/// Bytes of the name of an issuer or of an audience.
const NAME_BYTES_MAX: usize = 512;
/// Claims that have a meaning of their own.
const RESERVED: [&str; 5] = ["iss", "aud", "exp", "nbf", "iat"];
/// Bytes of a hash in an event: nobody finds two users that share one.
const HASH_BYTES: usize = 16;

/// An issuer, compiled.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The `iss` of its JWTs.
    pub name: Arc<str>,
    /// What stands in their `aud`.
    pub(crate) audience: Box<str>,
    pub(super) keys: Keys,
    pub(super) terms: Terms,
    groups: GroupsOf,
    channel: Channel,
    models: Vec<String>,
    ip_allowlist: Networks,
    organisation: Box<str>,
    quotas: Arc<[QuotaDocument]>,
}

/// Where its keys are.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// Written in the document, or in a file of its own.
    Written(Arc<KeySet>),
    /// Fetched, by whoever may use the network.
    Fetched(Arc<KeySource>),
}

/// When a JWT of it is believed. What began under other terms ends with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) algorithms: Vec<Algorithm>,
    leeway_ms: u64,
    max_age_ms: Option<u64>,
    user_claim: String,
    claims: BTreeMap<String, ClaimValue>,
}

/// From claims to groups.
#[derive(Clone, Debug)]
struct GroupsOf {
    claim: Option<String>,
    map: BTreeMap<String, String>,
    otherwise: Vec<String>,
}

/// What is kept of a verified JWT.
#[derive(Debug)]
pub struct Bearer {
    /// Who issued it.
    pub issuer: Arc<Issuer>,
    /// A keyed hash of the user that it is of.
    pub subject: Arc<str>,
    /// A keyed hash of its own id, if it has one.
    pub id: Option<Arc<str>>,
    /// The key that it was signed with.
    pub(super) thumbprint: [u8; 32],
    pub(super) algorithm: Algorithm,
}

impl Issuer {
    /// Compiles an organisation's issuers.
    pub(crate) fn compile_all(
        organisation: &OrganisationDocument,
        platform: &Platform,
    ) -> Result<Arc<[Arc<Self>]>, String> {
        let documents = &organisation.jwt_issuers;
        if documents.len() > ISSUERS_MAX {
            return Err(format!(
                "`jwt_issuers` has {} entries; at most {ISSUERS_MAX} are read",
                documents.len()
            ));
        }
        let quotas: Arc<[QuotaDocument]> = organisation.quotas.clone().into();
        let mut issuers: Vec<Arc<Self>> = Vec::with_capacity(documents.len());
        for document in documents {
            let fail = |problem: String| format!("issuer `{}`: {problem}", shown(&document.issuer));
            let issuer = Self::compile(document, organisation, platform, &quotas).map_err(fail)?;
            if issuers.iter().any(|other| other.is_same_claim(&issuer)) {
                return Err(fail("it stands there twice with this audience; keep one".to_owned()));
            }
            issuers.push(Arc::new(issuer));
        }
        Ok(issuers.into())
    }

    fn compile(
        document: &JwtIssuerDocument,
        organisation: &OrganisationDocument,
        platform: &Platform,
        quotas: &Arc<[QuotaDocument]>,
    ) -> Result<Self, String> {
        let address = Address::read(&document.issuer).map_err(|problem| format!("`issuer`: {problem}"))?;
        if document.issuer.contains('?') {
            return Err("`issuer`: it may hold no query".to_owned());
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
        };
        if !is_name(&document.issuer) || !is_name(&document.audience) {
            return Err(format!(
                "`issuer` and `audience` have 1 to {NAME_BYTES_MAX} bytes and no control characters"
            ));
        }
        let groups = GroupsOf::compile(document, organisation)?;
        let issuer = Self {
            name: document.issuer.as_str().into(),
            audience: document.audience.as_str().into(),
            keys: Keys::compile(document, address, platform)?,
            terms: Terms::compile(document)?,
            groups,
            channel: document.channel,
            models: document.models.clone(),
            ip_allowlist: Networks::compile("ip_allowlist", &document.ip_allowlist)?,
            organisation: organisation.id.as_str().into(),
            quotas: quotas.clone(),
        };
        // A JWT with all groups at once must not be the first to find out.
        let mut all: Vec<String> =
            issuer.groups.map.values().chain(&issuer.groups.otherwise).cloned().collect();
        all.sort_unstable();
        all.dedup();
        issuer.limits("jwt", "user", &all)?;
        Ok(issuer)
    }

    /// The same if its keys may be on other hosts of our own network.
    pub(crate) fn under(self: &Arc<Self>, platform: &Platform) -> Arc<Self> {
        match &self.keys {
            Keys::Fetched(source) if source.private_hosts != platform.private_hosts => {
                let private_hosts = platform.private_hosts.clone();
                let keys = Keys::Fetched(Arc::new(KeySource { private_hosts, ..KeySource::clone(source) }));
                Arc::new(Self { keys, ..Self::clone(self) })
            }
            Keys::Fetched(_) | Keys::Written(_) => self.clone(),
        }
    }

    /// Whether both speak of the same JWTs.
    fn is_same_claim(&self, other: &Self) -> bool {
        self.name == other.name && self.audience == other.audience
    }

    /// Where its keys are fetched, if they are.
    pub(crate) fn source(&self) -> Option<&Arc<KeySource>> {
        match &self.keys {
            Keys::Written(_) => None,
            Keys::Fetched(source) => Some(source),
        }
    }

    fn limits(&self, key: &str, user: &str, groups: &[String]) -> Result<Limits, String> {
        Limits::compile(&Whose { key, user: Some(user), groups }, &self.organisation, &self.quotas)
    }

    /// What a JWT amounts to whose signature was made with this key of the issuer's; none if it is not, not yet or not
    /// any more to be believed.
    pub(super) fn accept(
        self: &Arc<Self>,
        tenant: &Tenant,
        token: &Token<'_>,
        thumbprint: [u8; 32],
        now_ms: u64,
    ) -> Option<TenantKey> {
        let claims = &token.claims;
        let expires_ms = self.terms.expires_ms(claims, now_ms)?;
        if !self
            .terms
            .claims
            .iter()
            .all(|(name, value)| claim(claims, name).is_some_and(|it| value.is_in(it)))
        {
            return None;
        }
        let user = claim(claims, &self.terms.user_claim)?.as_str()?;
        let groups = self.groups.of(claims)?;
        let hash = |what: &str, value: &str| {
            // Lengths first: no two lists of texts read the same.
            let parts = [what, &self.name, value]
                .map(|part| [&(part.len() as u64).to_le_bytes(), part.as_bytes()].concat());
            keyed_hash(&tenant.hash_key, &parts.concat())
        };
        let sha256 = hash("user of a JWT", user);
        let subject = hex(&sha256);
        let id = match claims.get("jti") {
            None => None,
            Some(id) => Some(hex(&hash("id of a JWT", id.as_str()?)).into()),
        };
        let key_id = format!("jwt-{subject}");
        let limits = self.limits(&key_id, user, &groups).ok()?;
        Some(TenantKey {
            id: key_id.into(),
            user: Some(user.into()),
            groups,
            channel: self.channel,
            bearer: Some(Box::new(Bearer {
                issuer: self.clone(),
                subject: subject.into(),
                id,
                thumbprint,
                algorithm: token.algorithm,
            })),
            sha256,
            enabled: true,
            expires_ms: Some(expires_ms),
            client_certificate: certificate(claims)?,
            ip_allowlist: self.ip_allowlist.clone(),
            models: self.models.clone(),
            limits,
        })
    }
}

/// A hash as events show it.
fn hex(hash: &[u8; 32]) -> String {
    crate::api_key::hex(hash.get(..HASH_BYTES).unwrap_or_default())
}

/// The beginning of a name, for messages.
fn shown(name: &str) -> &str {
    name.get(..name.floor_char_boundary(128)).unwrap_or_default()
}

/// The certificate that a JWT is bound to, if it is bound (RFC 8705 §3.1). One that is bound to something else cannot
/// be checked, and is not believed.
#[expect(clippy::option_option, reason = "no certificate is not the same as no belief")]
fn certificate(claims: &Map<String, Value>) -> Option<Option<[u8; 32]>> {
    let Some(confirmation) = claims.get("cnf") else { return Some(None) };
    let confirmation = confirmation.as_object().filter(|members| members.len() == 1)?;
    let thumbprint = URL_SAFE_NO_PAD.decode(confirmation.get("x5t#S256")?.as_str()?).ok()?;
    thumbprint.try_into().ok().map(Some)
}

impl Keys {
    fn compile(document: &JwtIssuerDocument, issuer: Address, platform: &Platform) -> Result<Self, String> {
        let fetched = |address: Address, discovery_of: Option<Arc<str>>| {
            let private_hosts = platform.private_hosts.clone();
            Ok(Self::Fetched(Arc::new(KeySource { address, discovery_of, private_hosts })))
        };
        let written = |what: &str, text: &str| {
            let set = KeySet::read(text.as_bytes()).map_err(|problem| format!("`{what}`: {problem}"))?;
            if set.is_empty() {
                return Err(format!(
                    "`{what}` holds no key that can be used: public ones of RSA with 2048 to 4096 bits, of P-256, \
                     of P-384 and of Ed25519 can, if they are for signatures"
                ));
            }
            Ok(Self::Written(Arc::new(set)))
        };
        match (&document.jwks_url, &document.jwks, &document.jwks_file, document.discovery) {
            (Some(url), None, None, false) => {
                let address = Address::read(url).map_err(|problem| format!("`jwks_url`: {problem}"))?;
                fetched(address, None)
            }
            (None, Some(text), None, false) => written("jwks", text),
            (None, None, Some(_), false) => match &document.jwks_file_text {
                Some(text) => written("jwks_file", text),
                None => Err("its `jwks_file` cannot be read".to_owned()),
            },
            (None, None, None, true) => {
                let path = format!("{}/.well-known/openid-configuration", issuer.path.trim_end_matches('/'));
                fetched(Address { path, ..issuer }, Some(document.issuer.as_str().into()))
            }
            (_, _, _, _) => Err(
                "say where its keys are, in one way: `jwks_url`, `jwks`, `jwks_file` or `discovery = true`"
                    .to_owned(),
            ),
        }
    }
}

impl Terms {
    fn compile(document: &JwtIssuerDocument) -> Result<Self, String> {
        if document.leeway > LEEWAY_MAX {
            return Err("`leeway` is at most `5m`; correct the clocks".to_owned());
        }
        if document.max_age.is_some_and(|age| age < Duration::from_secs(1)) {
            return Err("`max_age` is `1s` or more".to_owned());
        }
        if document.user_claim.is_empty() {
            return Err("`user_claim` is empty; leave it out for `sub`".to_owned());
        }
        if let Some(name) = document.claims.keys().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(format!("`claims`: `{name}` is looked at anyway; take it out"));
        }
        Ok(Self {
            algorithms: document.algorithms.clone(),
            leeway_ms: document.leeway.as_millis() as u64,
            max_age_ms: document.max_age.map(|age| age.as_millis() as u64),
            user_claim: document.user_claim.clone(),
            claims: document.claims.clone(),
        })
    }

    /// Whether its signatures may be of this algorithm.
    pub(super) fn admits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.is_empty() || self.algorithms.contains(&algorithm)
    }

    /// When a JWT ends, if it has begun and is not over. Clocks may differ by the leeway.
    fn expires_ms(&self, claims: &Map<String, Value>, now_ms: u64) -> Option<u64> {
        let moment = |name: &str| match claims.get(name) {
            None => Some(None),
            Some(value) => moment_ms(value).map(Some),
        };
        let (issued, begins) = (moment("iat")?, moment("nbf")?);
        let mut ends = moment("exp")??;
        if let Some(age) = self.max_age_ms {
            ends = ends.min(issued?.saturating_add(age));
        }
        let latest = now_ms.saturating_add(self.leeway_ms);
        let has_begun = [issued, begins].into_iter().flatten().all(|moment| moment <= latest);
        let ends = ends.saturating_add(self.leeway_ms);
        (has_begun && now_ms < ends).then_some(ends)
    }
}

impl ClaimValue {
    /// Whether a claim is this value, or a list that holds it.
    fn is_in(&self, claim: &Value) -> bool {
        let is = |value: &Value| match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Flag(flag) => value.as_bool() == Some(*flag),
            Self::Number(number) => value.as_i64() == Some(*number),
        };
        claim.as_array().map_or_else(|| is(claim), |values| values.iter().any(is))
    }
}

impl GroupsOf {
    fn compile(document: &JwtIssuerDocument, organisation: &OrganisationDocument) -> Result<Self, String> {
        if document.groups_claim.is_some() == document.group_map.is_empty() {
            return Err(
                "`groups_claim` and `group_map` go together: the claim that holds values, and from each \
                        value to a group"
                    .to_owned(),
            );
        }
        for group in document.group_map.values().chain(&document.groups) {
            if !organisation.groups.iter().any(|known| known.name == *group) {
                return Err(format!("the group `{group}` is not in `groups`; add it there"));
            }
        }
        Ok(Self {
            claim: document.groups_claim.clone(),
            map: document.group_map.clone(),
            otherwise: document.groups.clone(),
        })
    }

    /// The groups of a JWT; none if they cannot be known.
    fn of(&self, claims: &Map<String, Value>) -> Option<Vec<String>> {
        let Some(name) = &self.claim else { return Some(self.otherwise.clone()) };
        let values: Vec<&str> = match claim(claims, name) {
            // Some issuers name a place to ask instead when there are many groups; that is no reason to have none.
            None if is_elsewhere(claims, name) => return None,
            None => Vec::new(),
            Some(Value::String(value)) => vec![value],
            Some(Value::Array(values)) => values.iter().map(Value::as_str).collect::<Option<_>>()?,
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => return None,
        };
        let mut groups: Vec<String> =
            values.into_iter().filter_map(|value| self.map.get(value)).cloned().collect();
        groups.sort_unstable();
        groups.dedup();
        Some(if groups.is_empty() { self.otherwise.clone() } else { groups })
    }
}

/// Whether a claim is said to be found elsewhere (`_claim_names` of `OpenID` Connect Core §5.6.2).
fn is_elsewhere(claims: &Map<String, Value>, name: &str) -> bool {
    claims.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(name))
}
