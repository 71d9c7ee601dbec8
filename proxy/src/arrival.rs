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

/// The table of endpoints.
const ENDPOINTS: &[(&str, &str, Endpoint)] = &[
    ("POST", "/v1/chat/completions", Endpoint::Prompt(Surface::ChatCompletions)),
    ("POST", "/v1/completions", Endpoint::Prompt(Surface::Completions)),
    ("POST", "/v1/embeddings", Endpoint::Prompt(Surface::Embeddings)),
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
    let is_anthropic = head
        .uri
        .path()
        .strip_prefix("/v1/messages")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || head.headers.contains_key("anthropic-version");
    if is_anthropic { Dialect::Anthropic } else { Dialect::OpenAi }
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
