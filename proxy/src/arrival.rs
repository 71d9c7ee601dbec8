//! What has arrived? The head of a request, read strictly against one table.
//!
//! What is not in the table is refused, or never looked at: no header, query or path of the caller's travels on.

use crate::coding::Coding;
use crate::edge::Connection;
use crate::house::House;
use palisade_filters::{Dialect, Knock, Refusal, Surface};
use pingora_core::protocols::http::ServerSession;
use std::net::IpAddr;

/// Headers that carry a credential, in any dialect.
const CREDENTIAL_HEADERS: &[&str] = &["authorization", "x-api-key", "api-key", "x-goog-api-key"];
/// A caller's own request id is echoed up to this length.
const CLIENT_ID_BYTES_MAX: usize = 128;

/// The versions of Anthropic's API that are read. Messages, streams and errors look the same in both; what the newer
/// one refuses is the provider's to say.
const ANTHROPIC_VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];
/// Longer names of unfinished features are somebody's text.
const BETA_BYTES_MAX: usize = 64;
/// Unfinished features that one request asks for.
const BETAS_MAX: usize = 32;

/// The table of endpoints.
const ENDPOINTS: &[(&str, &str, Endpoint)] = &[
    ("POST", "/v1/chat/completions", Endpoint::Prompt(Surface::ChatCompletions)),
    ("POST", "/v1/completions", Endpoint::Prompt(Surface::Completions)),
    ("POST", "/v1/embeddings", Endpoint::Prompt(Surface::Embeddings)),
    ("POST", "/v1/messages", Endpoint::Prompt(Surface::Messages)),
    ("POST", "/v1/messages/count_tokens", Endpoint::Prompt(Surface::CountTokens)),
    ("GET", "/v1/models", Endpoint::Models),
];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Something with a prompt.
    Prompt(Surface),
    /// The models that the caller may use.
    Models,
    /// One of them.
    Model(String),
}

impl Endpoint {
    /// The name it has in events and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Prompt(surface) => surface.name(),
            Self::Models => "models",
            Self::Model(_) => "model",
        }
    }
}

/// A head, read.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: &'static str,
    pub(crate) address: Option<IpAddr>,
    certificate: Option<[u8; 32]>,
    pub(crate) dialect: Dialect,
    /// Unfinished features of the dialect that are asked for.
    betas: Option<Vec<String>>,
    /// Which version of the dialect is spoken, if it has versions and one was named.
    version: Option<String>,
    credentials: Vec<String>,
    is_json: bool,
    coding: Result<Option<Coding>, Refusal>,
}

impl Arrival {
    /// What the core needs to recognise the caller.
    pub(crate) fn knock(&self, now_ms: u64) -> Knock<'_> {
        Knock { credentials: &self.credentials, address: self.address, certificate: self.certificate, now_ms }
    }

    /// How the body is encoded, if it is of a kind that is read. Asked after the caller is known: strangers learn
    /// nothing.
    pub(crate) fn body_kind(&self) -> Result<Option<Coding>, Refusal> {
        let coding = self.coding.clone()?;
        if self.is_json { Ok(coding) } else { Err(Refusal::UnsupportedMediaType) }
    }

    /// The unfinished features of the dialect that are asked for. Asked after the caller is known.
    pub(crate) fn betas(&self) -> Result<Vec<String>, Refusal> {
        let refused = Refusal::CapabilityNotAllowed { param: "anthropic-beta", capability: "betas" };
        match self.dialect {
            Dialect::OpenAi => Ok(Vec::new()),
            Dialect::Anthropic => self.betas.clone().ok_or(refused),
        }
    }

    /// The version of the dialect that is spoken, if it has versions and this is one that is read. The oldest one
    /// lays out its streams otherwise.
    pub(crate) fn version(&self) -> Result<Option<&'static str>, Refusal> {
        match self.dialect {
            Dialect::OpenAi => return Ok(None),
            Dialect::Anthropic => {}
        }
        let asked = self.version.as_deref();
        let known = ANTHROPIC_VERSIONS.into_iter().find(|version| Some(*version) == asked);
        known.map(Some).ok_or_else(|| {
            let why = if asked.is_some() { "is not served" } else { "is missing" };
            let served = ANTHROPIC_VERSIONS.join("` or `");
            let message = format!("the header `anthropic-version` {why}; send `{served}`");
            Refusal::InvalidRequest { param: Some("anthropic-version"), message }
        })
    }
}

/// The caller's own request id, if it is fit to be shown.
pub(crate) fn client_request_id(down: &ServerSession) -> Option<String> {
    let id = down.get_header("x-request-id")?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@-".contains(&byte);
    (!id.is_empty() && id.len() <= CLIENT_ID_BYTES_MAX && id.bytes().all(is_plain)).then(|| id.to_owned())
}

/// Whose API the caller speaks: the path says so first, then the header that only one of them has.
pub(crate) fn dialect(down: &ServerSession) -> Dialect {
    let head = down.req_header();
    let path = head.uri.path();
    let surface = ENDPOINTS.iter().find_map(|(_, known, endpoint)| match endpoint {
        Endpoint::Prompt(surface) if *known == path => Some(*surface),
        Endpoint::Prompt(_) | Endpoint::Models | Endpoint::Model(_) => None,
    });
    let is_anthropic = path.starts_with("/v1/messages/") || head.headers.contains_key("anthropic-version");
    match surface {
        Some(surface) => surface.dialect(),
        None if is_anthropic => Dialect::Anthropic,
        None => Dialect::OpenAi,
    }
}

/// Reads a head.
pub(crate) fn read(down: &ServerSession, house: &House, from: &Connection) -> Result<Arrival, Refusal> {
    let head = down.req_header();
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if (bytes + head.raw_path().len()) as u64 > house.limits().header_bytes.as_u64() {
        return Err(Refusal::HeaderTooLarge);
    }
    if head.method == http::Method::CONNECT || down.is_upgrade_req() {
        return Err(Refusal::UpgradeRequired);
    }
    let (method, endpoint) = endpoint(head.method.as_str(), head.uri.path())?;
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = text("content-type");
    let mut parts = content_type.split(';').map(str::trim);
    let is_json_type = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return parameter.is_empty() };
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    Ok(Arrival {
        endpoint,
        method,
        address: house.edge.client(from, head)?,
        certificate: from.certificate.as_ref().map(|(_, sha256)| *sha256),
        dialect: dialect(down),
        betas: betas(head),
        version: head
            .headers
            .get("anthropic-version")
            .map(|value| value.to_str().unwrap_or_default().to_owned()),
        credentials: credentials(head),
        is_json: is_json_type && is_utf8 && head.headers.get_all("content-type").iter().count() == 1,
        coding: Coding::named(&head.headers),
    })
}

fn endpoint(method: &str, path: &str) -> Result<(&'static str, Endpoint), Refusal> {
    let row = ENDPOINTS.iter().find(|(allowed, known, _)| *allowed == method && *known == path);
    if let Some((method, _, endpoint)) = row {
        return Ok((method, endpoint.clone()));
    }
    // A model's name may hold slashes: `/v1/models/openai/gpt-4o`.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@+-".contains(&byte);
    match path.strip_prefix("/v1/models/") {
        Some(model)
            if method == "GET" && !model.is_empty() && model.len() <= 128 && model.bytes().all(is_name) =>
        {
            Ok(("GET", Endpoint::Model(model.to_owned())))
        }
        Some(_) | None => Err(Refusal::UnsupportedEndpoint),
    }
}

/// The unfinished features that a head asks for. Their names travel on, if somebody allowed them; where one is no name
/// there are none.
fn betas(head: &pingora_http::RequestHeader) -> Option<Vec<String>> {
    let mut betas = Vec::new();
    for value in head.headers.get_all("anthropic-beta") {
        for name in value.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
            if name.len() > BETA_BYTES_MAX || betas.len() >= BETAS_MAX || !name.bytes().all(is_name) {
                return None;
            }
            betas.push(name.to_owned());
        }
    }
    Some(betas)
}

/// Every credential in every header that carries one. One that is no text counts as a wrong one.
fn credentials(head: &pingora_http::RequestHeader) -> Vec<String> {
    let mut credentials = Vec::new();
    for name in CREDENTIAL_HEADERS {
        for value in head.headers.get_all(*name) {
            let value = value.to_str().unwrap_or_default().trim();
            let token = match value.split_once(' ') {
                Some((scheme, token))
                    if *name == "authorization" && scheme.eq_ignore_ascii_case("bearer") =>
                {
                    token
                }
                Some(_) | None if *name == "authorization" => "",
                Some(_) | None => value,
            };
            credentials.push(token.trim().to_owned());
        }
    }
    credentials
}
