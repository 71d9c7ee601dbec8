//! We said no: every way in which the core refuses a request, and what the caller is told.
//!
//! A refusal is a value, not an error. It knows its stage, status, type, code and public message; only the proxy's
//! `reply` writes it, in the caller's dialect. No text of a prompt, key or match is in any of them.

use crate::dialect::Dialect;
use crate::dlp::Finding;
use crate::dlp::projection::Unreadable;
use crate::quota::LimitHit;
use crate::routing::Disabled;

/// Why a request goes no further.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Unknown, malformed, expired or disabled key, or a suspended organisation: one answer for all, so that
    /// nobody learns which.
    InvalidApiKey,
    /// The caller's address is not on the organisation's or the key's list.
    IpNotAllowed,
    /// The caller's address is not known, and the organisation or the key has a list.
    AddressUnknown,
    /// The header that must name the client's address, and does not.
    AddressUnreadable(&'static str),
    /// The key is bound to a client certificate, and the connection was not made with it.
    CertificateRequired,
    /// Too many wrong keys came from the caller's address; in how many milliseconds it may try again.
    TooManyBadKeys(u64),
    /// The country of the caller's address is not allowed.
    CountryNotAllowed,
    /// The network of the caller's address is not allowed.
    NetworkNotAllowed,
    /// The presented key is known to be compromised.
    CredentialCompromised,
    /// No extractor reads this endpoint, so it is not forwarded.
    UnsupportedEndpoint,
    /// A WebSocket or another upgrade, which would pass unscanned.
    UpgradeRequired,
    /// The head is larger than the limit.
    HeaderTooLarge,
    /// The body is larger than the limit, in bytes.
    BodyTooLarge(u64),
    /// The body did not come in time.
    ReadTimeout,
    /// A content coding that is not read.
    UnsupportedEncoding,
    /// A body that is not what its content coding says.
    InvalidEncoding,
    /// A body that grows more in decoding than any text does, in times its size.
    EncodingRatio(u64),
    /// Another content type than JSON.
    UnsupportedMediaType,
    /// Too many bodies in memory at once.
    Overloaded,
    /// The body cannot be read.
    Unreadable(Unreadable),
    /// A member is missing or of the wrong kind.
    InvalidRequest {
        /// The member, unless it is the whole body.
        param: Option<&'static str>,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// A feature that is not allowed, such as a reference to an object kept by the provider.
    CapabilityNotAllowed {
        /// The member that asks for it.
        param: &'static str,
        /// The feature's name.
        capability: &'static str,
    },
    /// A finding that may not leave.
    ContentBlocked(Box<Blocked>),
    /// More findings than one request may have.
    ScanLimit,
    /// A detector that must be asked gave no usable answer.
    DetectorUnavailable,
    /// No rule allows it, and the organisation's default is to deny.
    NotPermitted,
    /// Unknown to us or denied to the caller: one answer for both.
    ModelNotFound(String),
    /// The caller may use the model, but nobody serves it in the caller's dialect.
    DialectNotServed {
        /// The model that was asked for.
        model: String,
        /// The dialect that it was asked in.
        dialect: Dialect,
    },
    /// A tool that the caller may not use.
    ToolNotAllowed(String),
    /// Everything that could serve the model is switched off.
    ModelDisabled(Box<Disabled>),
    /// Too many at once.
    ConcurrencyReached(Box<LimitHit>),
    /// Too fast.
    RateLimited(Box<LimitHit>),
    /// A budget is spent.
    QuotaSpent(Box<LimitHit>),
    /// Dollars are limited, and nobody knows what this model costs.
    ModelUnpriced(String),
    /// The meters cannot be asked.
    QuotaUnavailable,
    /// No usable policy.
    PolicyUnavailable,
    /// What happens cannot be recorded, and must be.
    AuditUnavailable,
}

/// The evidence of a blocked prompt.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// Where the first blocked finding stands: `messages[2].content`.
    pub place: String,
    /// The detection rules that found what is blocked.
    pub rules: Vec<String>,
    /// What the policy rule tells the caller.
    pub message: Option<String>,
}

/// Where in the way of a request something happened. The order is the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Head and connection.
    Arrival,
    /// Whose key?
    Tenant,
    /// From where?
    IpAllowlist,
    /// From which country and network?
    GeoIp,
    /// Is its credential burned?
    CredInt,
    /// What body?
    Prompt,
    /// What does it hold?
    Dlp,
    /// May it leave?
    Policy,
    /// Which model?
    ModelAccess,
    /// Is there budget?
    Quota,
    /// Where to?
    Routing,
    /// The exchange with the provider.
    Relay,
    /// What came back.
    Answer,
}

impl Stage {
    /// All stages, in the order of the way.
    pub const ALL: [Self; 13] = [
        Self::Arrival,
        Self::Tenant,
        Self::IpAllowlist,
        Self::GeoIp,
        Self::CredInt,
        Self::Prompt,
        Self::Dlp,
        Self::Policy,
        Self::ModelAccess,
        Self::Quota,
        Self::Routing,
        Self::Relay,
        Self::Answer,
    ];

    /// The name it has in events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::Tenant => "tenant",
            Self::IpAllowlist => "ip_allowlist",
            Self::GeoIp => "geoip",
            Self::CredInt => "credint",
            Self::Prompt => "prompt",
            Self::Dlp => "dlp",
            Self::Policy => "policy",
            Self::ModelAccess => "model_access",
            Self::Quota => "quota",
            Self::Routing => "routing",
            Self::Relay => "relay",
            Self::Answer => "answer",
        }
    }
}

/// OpenAI's `type` of an error, which its SDKs turn into exception classes together with the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The caller must change the request.
    InvalidRequest,
    /// The caller may not.
    Permission,
    /// Later.
    RateLimit,
    /// Not until the budget is renewed.
    InsufficientQuota,
    /// Not the caller's doing.
    Server,
}

impl ErrorType {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Permission => "permission_error",
            Self::RateLimit => "rate_limit_error",
            Self::InsufficientQuota => "insufficient_quota",
            Self::Server => "server_error",
        }
    }
}

/// A row of the error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// Where it is said.
    pub stage: Stage,
    /// The HTTP status.
    pub status: u16,
    /// The `type`.
    pub kind: ErrorType,
    /// The `code`.
    pub code: &'static str,
    /// `x-should-retry`, where the status alone would mislead an SDK.
    pub should_retry: Option<bool>,
}

const fn row(stage: Stage, status: u16, kind: ErrorType, code: &'static str) -> ErrorRow {
    ErrorRow { stage, status, kind, code, should_retry: None }
}

const fn final_row(stage: Stage, status: u16, kind: ErrorType, code: &'static str) -> ErrorRow {
    ErrorRow { stage, status, kind, code, should_retry: Some(false) }
}

impl Refusal {
    /// The row of the error table: status is behaviour, SDKs retry 408, 409, 429 and 5xx on their own.
    pub fn row(&self) -> ErrorRow {
        use ErrorType::{InsufficientQuota, InvalidRequest, Permission, RateLimit, Server};
        match self {
            Self::InvalidApiKey => row(Stage::Tenant, 401, InvalidRequest, "invalid_api_key"),
            Self::IpNotAllowed | Self::AddressUnknown => {
                row(Stage::IpAllowlist, 403, Permission, "ip_not_allowed")
            }
            Self::AddressUnreadable(_) => row(Stage::Arrival, 400, InvalidRequest, "invalid_client_address"),
            Self::CertificateRequired => row(Stage::Tenant, 403, Permission, "certificate_required"),
            Self::TooManyBadKeys(_) => row(Stage::Tenant, 429, RateLimit, "too_many_bad_keys"),
            Self::CountryNotAllowed => row(Stage::GeoIp, 403, Permission, "country_not_allowed"),
            Self::NetworkNotAllowed => row(Stage::GeoIp, 403, Permission, "network_not_allowed"),
            Self::CredentialCompromised => row(Stage::CredInt, 403, Permission, "credential_compromised"),
            Self::UnsupportedEndpoint => row(Stage::Arrival, 404, InvalidRequest, "unsupported_endpoint"),
            Self::UpgradeRequired => row(Stage::Arrival, 426, InvalidRequest, "upgrade_required"),
            Self::HeaderTooLarge => row(Stage::Arrival, 431, InvalidRequest, "header_too_large"),
            Self::BodyTooLarge(_) => row(Stage::Prompt, 413, InvalidRequest, "request_too_large"),
            Self::ReadTimeout => final_row(Stage::Prompt, 408, InvalidRequest, "read_timeout"),
            Self::UnsupportedEncoding => row(Stage::Prompt, 415, InvalidRequest, "unsupported_encoding"),
            Self::InvalidEncoding => row(Stage::Prompt, 400, InvalidRequest, "invalid_encoding"),
            Self::EncodingRatio(_) => row(Stage::Prompt, 413, InvalidRequest, "encoding_ratio_exceeded"),
            Self::UnsupportedMediaType => row(Stage::Prompt, 415, InvalidRequest, "unsupported_media_type"),
            Self::Overloaded => row(Stage::Prompt, 503, Server, "overloaded"),
            Self::Unreadable(_) => row(Stage::Prompt, 400, InvalidRequest, "invalid_json"),
            Self::InvalidRequest { .. } => row(Stage::Prompt, 400, InvalidRequest, "invalid_request"),
            Self::CapabilityNotAllowed { .. } => {
                row(Stage::ModelAccess, 403, Permission, "capability_not_allowed")
            }
            Self::ContentBlocked(_) => row(Stage::Policy, 400, InvalidRequest, "content_blocked"),
            Self::ScanLimit => row(Stage::Dlp, 400, InvalidRequest, "scan_limit"),
            Self::NotPermitted => row(Stage::Policy, 403, Permission, "not_permitted"),
            Self::ModelNotFound(_) => row(Stage::ModelAccess, 404, InvalidRequest, "model_not_found"),
            Self::DialectNotServed { .. } => row(Stage::Routing, 400, InvalidRequest, "dialect_not_served"),
            Self::ToolNotAllowed(_) => row(Stage::ModelAccess, 403, Permission, "tool_not_allowed"),
            Self::ModelDisabled(_) => final_row(Stage::Routing, 503, Server, "model_disabled"),
            Self::ConcurrencyReached(_) => row(Stage::Quota, 429, RateLimit, "concurrency_limit_exceeded"),
            Self::RateLimited(hit) => ErrorRow {
                should_retry: hit.retry_after_ms.is_none().then_some(false),
                ..row(Stage::Quota, 429, RateLimit, "rate_limit_exceeded")
            },
            Self::QuotaSpent(_) => final_row(Stage::Quota, 429, InsufficientQuota, "insufficient_quota"),
            Self::ModelUnpriced(_) => row(Stage::Quota, 403, Permission, "model_unpriced"),
            Self::QuotaUnavailable => row(Stage::Quota, 503, Server, "quota_unavailable"),
            Self::PolicyUnavailable => row(Stage::Arrival, 503, Server, "policy_unavailable"),
            Self::AuditUnavailable => row(Stage::Tenant, 503, Server, "audit_unavailable"),
            Self::DetectorUnavailable => row(Stage::Dlp, 503, Server, "detector_unavailable"),
        }
    }

    /// What the caller reads: what is wrong, and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::InvalidApiKey => {
                "the API key is not valid; send one key of your organisation as `Authorization: Bearer pk_live_…`".into()
            }
            Self::IpNotAllowed => "requests from this address are not allowed; ask your organisation's admin".into(),
            Self::AddressUnknown => {
                "requests are admitted by address here, and the address of this one is not known; ask the operator to configure `client_address`".into()
            }
            Self::AddressUnreadable(header) => format!(
                "the client's address in `{header}` cannot be read; the proxy before this one must write an IP address there"
            ),
            Self::CertificateRequired => {
                "this key is bound to a client certificate; connect with that certificate".into()
            }
            Self::TooManyBadKeys(_) => {
                "too many requests with a wrong key came from this address; wait, and check the key".into()
            }
            Self::CountryNotAllowed => {
                "requests from this country are not allowed; ask your organisation's admin".into()
            }
            Self::NetworkNotAllowed => {
                "requests from this network are not allowed; ask your organisation's admin".into()
            }
            Self::CredentialCompromised => {
                "this API key is known to be compromised and is refused; ask your organisation's admin for a new one".into()
            }
            Self::UnsupportedEndpoint => {
                "this endpoint is not served; chat completions, completions, embeddings, messages and models are".into()
            }
            Self::UpgradeRequired => "upgraded connections cannot be scanned and are refused; use HTTP".into(),
            Self::HeaderTooLarge => "the request's head is too large; send fewer or shorter headers".into(),
            Self::BodyTooLarge(limit) => {
                format!("the request body is larger than {limit} bytes; send less text at once")
            }
            Self::ReadTimeout => "the request body did not arrive in time; send it without pauses".into(),
            Self::UnsupportedEncoding => {
                "this `content-encoding` is not read; send the body in one of gzip, deflate, br, zstd, or without one".into()
            }
            Self::InvalidEncoding => {
                "the body is not what its `content-encoding` says; send it again, or without one".into()
            }
            Self::EncodingRatio(times) => format!(
                "the body grows to more than {times} times its size in decoding; send it without a `content-encoding`"
            ),
            Self::UnsupportedMediaType => {
                "the body must be `application/json` in UTF-8; set the `content-type` header".into()
            }
            Self::Overloaded => "too many requests are being read at once; try again shortly".into(),
            Self::Unreadable(error) => error.to_string(),
            Self::InvalidRequest { message, .. } => message.clone(),
            Self::CapabilityNotAllowed { capability, .. } => {
                format!("`{capability}` is not allowed here; leave it out of the request")
            }
            Self::ContentBlocked(blocked) => match &blocked.message {
                Some(message) => message.clone(),
                None => format!(
                    "the request holds content that may not leave ({}); remove it and send again",
                    blocked.rules.join(", ")
                ),
            },
            Self::ScanLimit => "the request holds more findings than can be judged; send it in parts".into(),
            Self::NotPermitted => "no rule of your organisation permits this request; ask its admin".into(),
            Self::ModelNotFound(model) => {
                format!("the model `{model}` does not exist or you do not have access to it")
            }
            Self::DialectNotServed { model, dialect: Dialect::OpenAi } => {
                format!("the model `{model}` is not served in OpenAI's dialect; ask for it at `/v1/messages`")
            }
            Self::DialectNotServed { model, dialect: Dialect::Anthropic } => format!(
                "the model `{model}` is not served in Anthropic's dialect; ask for it at `/v1/chat/completions`"
            ),
            Self::ToolNotAllowed(tool) => {
                format!("the tool `{tool}` is not allowed here; leave it out of the request")
            }
            Self::ModelDisabled(disabled) => {
                let model = &disabled.model;
                format!("the model `{model}` is switched off for now; use another one, or try again later")
            }
            Self::ConcurrencyReached(hit) => {
                format!("too many requests at once for {hit}; wait for one to end and try again")
            }
            Self::RateLimited(hit) if hit.retry_after_ms.is_none() => {
                format!("this request alone is larger than the rate limit for {hit}; ask for fewer tokens")
            }
            Self::RateLimited(hit) => format!("rate limit reached for {hit}; slow down and try again"),
            Self::QuotaSpent(hit) if hit.retry_after_ms.is_none() => {
                format!("this request alone is larger than the quota for {hit}; ask for fewer tokens")
            }
            Self::QuotaSpent(hit) => format!(
                "quota spent for {hit}, until {}; wait, or ask your organisation's admin",
                hit.resets()
            ),
            Self::ModelUnpriced(model) => format!(
                "dollars are limited here, and the model `{model}` has no price; use another one, or ask your \
                 organisation's admin for its price"
            ),
            Self::QuotaUnavailable => "quotas cannot be checked right now; try again shortly".into(),
            Self::PolicyUnavailable => "no policy is loaded yet; try again shortly".into(),
            Self::DetectorUnavailable => {
                "a detector that your organisation requires cannot be asked about this request right now; try again shortly, or send less text".into()
            }
            Self::AuditUnavailable => {
                "requests cannot be recorded right now, and none goes on unrecorded; try again shortly".into()
            }
        }
    }

    /// The limit that would have been passed.
    pub fn limit_hit(&self) -> Option<&LimitHit> {
        if let Self::ConcurrencyReached(hit) | Self::RateLimited(hit) | Self::QuotaSpent(hit) = self {
            Some(hit)
        } else {
            None
        }
    }

    /// The part of the request that is meant.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::ContentBlocked(blocked) => {
                Some(&blocked.place).filter(|place| !place.is_empty()).map(|place| &**place)
            }
            Self::InvalidRequest { param, .. } => *param,
            Self::CapabilityNotAllowed { param, .. } => Some(param),
            Self::ModelNotFound(_)
            | Self::ModelDisabled(_)
            | Self::ModelUnpriced(_)
            | Self::DialectNotServed { .. } => Some("model"),
            Self::ToolNotAllowed(_) => Some("tools"),
            Self::InvalidApiKey
            | Self::IpNotAllowed
            | Self::AddressUnknown
            | Self::AddressUnreadable(_)
            | Self::CertificateRequired
            | Self::TooManyBadKeys(_)
            | Self::CountryNotAllowed
            | Self::NetworkNotAllowed
            | Self::CredentialCompromised
            | Self::UnsupportedEndpoint
            | Self::UpgradeRequired
            | Self::HeaderTooLarge
            | Self::BodyTooLarge(_)
            | Self::ReadTimeout
            | Self::UnsupportedEncoding
            | Self::InvalidEncoding
            | Self::EncodingRatio(_)
            | Self::UnsupportedMediaType
            | Self::Overloaded
            | Self::Unreadable(_)
            | Self::ScanLimit
            | Self::DetectorUnavailable
            | Self::NotPermitted
            | Self::ConcurrencyReached(_)
            | Self::RateLimited(_)
            | Self::QuotaSpent(_)
            | Self::QuotaUnavailable
            | Self::PolicyUnavailable
            | Self::AuditUnavailable => None,
        }
    }
}
