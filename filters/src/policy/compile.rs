//! From documents to policy: the one compiler, run before a change is accepted and before one is used.
//!
//! Here one document is compiled, the platform's or an organisation's, or has an error that says what to do. How
//! policies follow each other is told beside it, in `change`.

use super::chains::{Chains, Floor};
use super::owned::Owned;
use super::suppressions::Suppressions;
use super::{Platform, Provider, Tenant, TenantKey};
use crate::dialect::Dialect;
use crate::dlp::replacement::Key;
use crate::dlp::{Detection, Lists, Scanner};
use crate::documents::{
    DlpDocument, KeyDocument, OrganisationDocument, PlatformDocument, ProviderDocument, ProviderSecrets,
    QuotaDocument,
};
use crate::geoip::GeoRules;
use crate::jwt::{Issuer, private_hosts};
use crate::model_access::Access;
use crate::networks::Networks;
use crate::quota::{Catalogue, Limits, Whose};
use crate::routing::{KillSwitches, Routes};
use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::Arc;

/// What compiling needs besides documents.
#[derive(Debug)]
pub struct Grounds<'a> {
    /// The detection rules.
    pub scanner: Arc<Scanner>,
    /// Credentials of providers, by their names.
    pub secrets: &'a ProviderSecrets,
    /// The secret from which keyed hashes derive theirs, for organisations that have none of their own.
    pub hash_secret: &'a Secret,
}

/// A document as it was found.
#[derive(Clone, Debug)]
pub struct Source<D> {
    /// Where it was found: `orgs/acme.toml`.
    pub name: String,
    /// A hash of its text: equal text is not compiled again.
    pub fingerprint: u64,
    /// What it says, or why it cannot be read.
    pub document: Result<D, String>,
}

/// Something that kept a document from being used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{document}: {problem}")]
pub struct CompileError {
    /// Which document.
    pub document: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

pub(super) fn compile_platform(
    source: &Source<PlatformDocument>,
    before: Option<&Platform>,
    grounds: &Grounds<'_>,
) -> Result<Platform, String> {
    let document = source.document.as_ref().map_err(Clone::clone)?;
    let catalogue = Arc::new(Catalogue::compile(&document.models)?);
    if let Some(model) = document.models.iter().find(|model| !is_named(model.provider.as_ref(), document)) {
        return Err(format!("model `{}`: its `provider` is not in `providers`", model.name));
    }
    let mut providers: Vec<Arc<Provider>> = Vec::new();
    for provider in &document.providers {
        if providers.iter().any(|other| other.document.name == provider.name) {
            return Err(format!("two providers are named `{}`; names are unique", provider.name));
        }
        let compiled = compile_provider(provider, &catalogue, grounds.secrets)
            .map_err(|problem| format!("provider `{}`: {problem}", provider.name))?;
        providers.push(Arc::new(compiled));
    }
    let detectors = super::services::endpoints(&document.detectors, |provider| {
        compile_provider(provider, &catalogue, grounds.secrets)
    })?;
    let before = before.filter(|before| Arc::ptr_eq(&before.scanner, &grounds.scanner));
    let floor = Floor::compile(&document.floor, &grounds.scanner, before.map(|before| &before.floor))?;
    Ok(Platform {
        scanner: grounds.scanner.clone(),
        detectors,
        providers,
        floor,
        private_hosts: private_hosts(&document.jwt.private_hosts)?,
        fingerprint: source.fingerprint,
    })
}

fn is_named(provider: Option<&String>, platform: &PlatformDocument) -> bool {
    provider.is_none_or(|name| platform.providers.iter().any(|provider| provider.name == *name))
}

fn compile_provider(
    document: &ProviderDocument,
    catalogue: &Arc<Catalogue>,
    secrets: &ProviderSecrets,
) -> Result<Provider, String> {
    let base = &document.base_url;
    let (tls, rest) = match (base.strip_prefix("https://"), base.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => {
            return Err(format!("`base_url` `{base}` begins with neither `https://` nor `http://`"));
        }
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    if authority.contains('@') || path.contains(['?', '#']) {
        // Not quoted: it may hold a password.
        return Err("`base_url` may hold no user, query or fragment; use `api_key`".to_owned());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
            let port = port.parse().map_err(|_| format!("`base_url` `{base}` has no valid port"))?;
            (host, port)
        }
        Some(_) | None => (authority, if tls { 443 } else { 80 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(format!("`base_url` `{base}` names no host"));
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_~%:@+,=".contains(&byte);
    if !host.bytes().all(is_host) || !path.bytes().all(is_path) {
        return Err("`base_url` holds characters that no address has; write others as `%20`".to_owned());
    }
    if document.dialect == Dialect::Anthropic && path.trim_end_matches('/').ends_with("v1") {
        return Err(
            "`base_url` ends in `/v1`, which this dialect's paths begin with; leave it out".to_owned()
        );
    }
    if document.models.is_empty() {
        return Err("`models` is empty; name the models it serves, or `[\"*\"]` for any".to_owned());
    }
    if document.api_key.is_some() && !secrets.contains_key(&document.name) {
        return Err("its `api_key` cannot be read".to_owned());
    }
    Ok(Provider {
        api_key: secrets.get(&document.name).cloned(),
        tls,
        host: host.to_owned(),
        port,
        base_path: format!("/{path}").trim_end_matches('/').to_owned(),
        document: document.clone(),
        catalogue: catalogue.clone(),
    })
}

pub(super) fn compile_tenant(
    document: &OrganisationDocument,
    fingerprint: u64,
    platform: &Arc<Platform>,
    owned: &mut Owned,
    grounds: &Grounds<'_>,
) -> Result<Tenant, String> {
    let id = &document.id;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || id.len() > 64 || !id.bytes().all(is_name) {
        return Err(format!("`id` `{id}` may hold only `a-z`, `0-9` and `-`, at most 64 of them"));
    }
    if !(0.0..=1.0).contains(&document.dlp.threshold) {
        return Err("`dlp.threshold` lies between 0 and 1".to_owned());
    }
    if document.dlp.restore_in_tools.iter().any(String::is_empty) {
        return Err(
            "`dlp.restore_in_tools` has an empty name; name tools, such as `send_mail` or `crm_*`".to_owned()
        );
    }
    let keys = document.keys.iter().map(|key| {
        compile_key(key, document).map(Arc::new).map_err(|problem| format!("key `{}`: {problem}", key.id))
    });
    let keys = keys.collect::<Result<Arc<[_]>, _>>()?;
    let mut ids = HashSet::with_capacity(keys.len());
    if let Some(key) = keys.iter().find(|key| !ids.insert(&*key.id)) {
        return Err(format!("two keys have the id `{}`; ids are unique", key.id));
    }
    check_quotas(document)?;
    let detection = compile_detection(document, platform, owned, grounds)?;
    let (services, detection) =
        super::services::of_organisation(&document.dlp.detectors, &platform.detectors, detection)?;
    Ok(Tenant {
        id: id.as_str().into(),
        threshold: document.dlp.threshold,
        findings_header: document.dlp.findings_header,
        suspended: document.suspended,
        credint: document.credint,
        ip_allowlist: Networks::compile("ip_allowlist", &document.ip_allowlist)?,
        geo: GeoRules::compile(&document.geo)?,
        chains: Chains::compile(
            &platform.floor,
            (&document.policy, document.dlp.mode),
            &document.groups,
            &detection,
        )?,
        suppressions: Suppressions::compile(&document.dlp.suppress, &detection)?,
        detection,
        services,
        access: Access::compile(&document.model_access, &document.groups)?,
        routes: Routes::compile(&document.routes, &document.groups, &platform.providers)?,
        kill_switches: KillSwitches::compile(&document.kill_switches, &platform.providers)?,
        default_action: document.default_action,
        on_full: document.audit.on_full,
        platform: platform.clone(),
        restore_in_tools: document.dlp.restore_in_tools.as_slice().into(),
        replacements: Key::derived_from(&hash_key(document, grounds)),
        hash_key: hash_key(document, grounds),
        fingerprint,
        issuers: Issuer::compile_all(document, platform)?,
        keys,
    })
}

/// Each quota has its subject, and a limit of its own.
fn check_quotas(document: &OrganisationDocument) -> Result<(), String> {
    let known_group = |group: &String| document.groups.iter().any(|known| known.name == *group);
    for quota in &document.quotas {
        let is_group = quota.subject == crate::documents::QuotaSubject::Group;
        if is_group != quota.group.is_some() || quota.group.as_ref().is_some_and(|group| !known_group(group))
        {
            return Err("a quota with `subject = \"group\"`, and no other, names a known `group`".to_owned());
        }
    }
    for (at, quota) in document.quotas.iter().enumerate() {
        let is_same = |other: &&QuotaDocument| {
            other.subject == quota.subject && other.group == quota.group && other.model == quota.model
        };
        if document.quotas.iter().skip(at + 1).any(|other| is_same(&other) && other.states_what(quota)) {
            return Err("two quotas state the same limit of the same subject; keep one".to_owned());
        }
    }
    Ok(())
}

/// What the platform looks for, with an organisation's rules and lists.
fn compile_detection(
    document: &OrganisationDocument,
    platform: &Platform,
    owned: &mut Owned,
    grounds: &Grounds<'_>,
) -> Result<Detection, String> {
    let own = owned.compile(&document.dlp, &platform.scanner);
    let own = own.map_err(|problem| format!("`dlp.rules`: {problem}"))?;
    let detection = Detection::new(platform.scanner.clone(), own);
    let lists = compile_lists(&document.dlp, &detection, &hash_key(document, grounds))?;
    Ok(detection.with_lists(lists))
}

/// Keyword lists and tables, beside what is looked for already.
fn compile_lists(
    document: &DlpDocument,
    detection: &Detection,
    key: &[u8; 32],
) -> Result<Option<Arc<Lists>>, String> {
    let labels: Vec<&str> = detection.detectors().map(|detector| &*detector.label).collect();
    let seed = keyed_hash(key, b"dictionary").first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    let (keywords, exact) = (&document.keyword_lists, &document.exact_match);
    let lists = Lists::compile(keywords, exact, seed, &labels.join("\n"))
        .map_err(|problem| format!("`dlp`: {problem}"))?;
    let ids = lists.iter().flat_map(Lists::ids);
    if let Some(twice) = ids.into_iter().find(|id| detection.detectors().any(|other| *other.id == **id)) {
        return Err(format!("`dlp`: a list and a rule have the id `{twice}`; ids are unique"));
    }
    Ok(lists.map(Arc::new))
}

fn compile_key(key: &KeyDocument, organisation: &OrganisationDocument) -> Result<TenantKey, String> {
    for group in &key.groups {
        if !organisation.groups.iter().any(|known| known.name == *group) {
            return Err(format!("the group `{group}` is not in `groups`; add it there"));
        }
    }
    let sha256 = decode_hex(&key.sha256).ok_or_else(|| {
        "`sha256` is not 64 hexadecimal digits; `palisade keys create` writes them".to_owned()
    })?;
    let client_certificate = match key.client_certificate.as_deref() {
        None => None,
        Some(text) => Some(text.strip_prefix("sha256:").and_then(decode_hex).ok_or_else(|| {
            "`client_certificate` is not `sha256:` and 64 hexadecimal digits, as events show it".to_owned()
        })?),
    };
    let whose = Whose { key: &key.id, user: key.user.as_deref(), groups: &key.groups };
    Ok(TenantKey {
        id: key.id.as_str().into(),
        user: key.user.as_deref().map(Box::from),
        groups: key.groups.clone(),
        channel: key.channel,
        bearer: None,
        sha256,
        enabled: key.enabled,
        expires_ms: key.expires,
        client_certificate,
        ip_allowlist: Networks::compile("ip_allowlist", &key.ip_allowlist)?,
        models: key.models.clone(),
        limits: Limits::compile(&whose, &organisation.id, &organisation.quotas)?,
    })
}

pub(super) fn decode_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

fn hash_key(document: &OrganisationDocument, grounds: &Grounds<'_>) -> [u8; 32] {
    derive(document.hash_secret.as_ref().unwrap_or(grounds.hash_secret), &document.id)
}

/// A key of its own for each organisation, so that equal values of two organisations do not show as equal.
pub(super) fn derive(secret: &Secret, organisation: &str) -> [u8; 32] {
    keyed_hash(secret.expose().as_bytes(), organisation.as_bytes())
}

/// HMAC-SHA-256 (RFC 2104).
pub(crate) fn keyed_hash(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length; the error is the trait's, not the algorithm's.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}
