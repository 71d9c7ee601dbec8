//! What do all answers of Anthropic's dialect have in common?
//!
//! Versions, usage and the words of errors. Needs numbers and the request that is answered. Proves nothing; it spells.
//! Source: Anthropic's API reference ("Errors", "Versions", "Messages") and the types of its published SDKs.

use serde::Serialize;

use super::failure::{Culprit, Failure};
use super::script::Script;
use super::text;

/// The header without which the API answers nothing but an error.
pub(super) const VERSION_HEADER: &str = "anthropic-version";
/// The versions that exist, besides the first, whose streams were others. Messages look the same in both.
const VERSIONS: &[&str] = &["2023-06-01", VERSION_WITHOUT_SAMPLING];
/// The version that knows `temperature` and its kin no longer, and says so.
pub(super) const VERSION_WITHOUT_SAMPLING: &str = "2026-10-21";
/// The status that only Anthropic has: the API is overloaded, for everybody.
pub(super) const OVERLOADED: u16 = 529;
/// Characters of the caller's text that an error repeats.
const ECHO_CHARACTERS_MAX: usize = 200;

/// Tokens, as a message reports them. `input_tokens` counts neither what was read from the cache nor what was written
/// to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreation,
    output_tokens: u64,
    service_tier: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

/// Tokens, as a stream's last but one event reports them: totals, not differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct DeltaUsage {
    #[serde(rename = "input_tokens")]
    input: u64,
    #[serde(rename = "cache_creation_input_tokens")]
    cache_creation: u64,
    #[serde(rename = "cache_read_input_tokens")]
    cache_read: u64,
    #[serde(rename = "output_tokens")]
    output: u64,
}

impl Usage {
    /// What the script claims; else a quarter of the bytes. None when the script leaves usage out.
    pub(super) fn of(script: &Script, input_bytes: usize, output_bytes: usize) -> Option<Self> {
        if script.no_usage {
            return None;
        }
        let (input_tokens, output_tokens) =
            script.usage.unwrap_or((text::tokens(input_bytes), text::tokens(output_bytes)));
        let (read, written) = script.cached.unwrap_or_default();
        Some(Usage {
            input_tokens,
            cache_creation_input_tokens: written,
            cache_read_input_tokens: read,
            cache_creation: CacheCreation {
                ephemeral_5m_input_tokens: written,
                ephemeral_1h_input_tokens: 0,
            },
            output_tokens,
            service_tier: "standard",
        })
    }

    /// What is known when a stream begins: the input, and a token that was sampled already.
    pub(super) fn at_start(self) -> Self {
        Usage { output_tokens: 1, ..self }
    }

    /// What is known when it ends.
    pub(super) fn at_end(self) -> DeltaUsage {
        DeltaUsage {
            input: self.input_tokens,
            cache_creation: self.cache_creation_input_tokens,
            cache_read: self.cache_read_input_tokens,
            output: self.output_tokens,
        }
    }

    /// What `count_tokens` reports.
    pub(super) fn input(self) -> u64 {
        self.input_tokens
    }
}

/// Whether the version is one that exists.
pub(super) fn check_version(version: Option<&str>) -> Result<(), Failure> {
    match version {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        Some(version) => {
            Err(Failure::invalid(400, format!("{VERSION_HEADER}: \"{version}\" is not a valid version")))
        }
        None => Err(Failure::invalid(400, format!("{VERSION_HEADER}: header is required"))),
    }
}

/// A body that cannot be read.
pub(super) fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::invalid(400, format!("The request body is not valid JSON: {error}"))
}

/// A required field that is not there.
pub(super) fn missing(field: &str) -> Failure {
    Failure::invalid(400, format!("{field}: Field required"))
}

/// A field that this version does not have.
pub(super) fn unknown(field: &str) -> Failure {
    Failure::invalid(400, format!("{field}: Extra inputs are not permitted"))
}

/// Reasoning that came back other than it was signed.
pub(super) fn forged(message: usize, part: usize) -> Failure {
    Failure::invalid(
        400,
        format!("messages.{message}.content.{part}: Invalid `signature` in `thinking` block"),
    )
}

/// No such model.
pub(super) fn no_model(model: &str) -> Failure {
    of(404, "not_found_error", format!("model: {model}"))
}

/// No such endpoint.
pub(super) fn no_endpoint() -> Failure {
    of(404, "not_found_error", "Not Found")
}

/// No key, or not the right one.
pub(super) fn no_access(key: Option<&str>) -> Failure {
    let message = if key.is_some() { "invalid x-api-key" } else { "x-api-key header is required" };
    of(401, "authentication_error", message)
}

/// The error that Anthropic sends with this status. Like theirs, it repeats the caller's text (400) or model (404,
/// 429), and never the key.
pub(super) fn of_status(status: u16, culprit: &Culprit<'_>) -> Failure {
    match status {
        400 => {
            let text: String = culprit.text.chars().take(ECHO_CHARACTERS_MAX).collect();
            Failure::invalid(
                400,
                format!("messages: Unexpected role \"{text}\". Allowed roles are \"user\" or \"assistant\""),
            )
        }
        401 => no_access(Some(culprit.key)),
        402 => of(402, "billing_error", "Your credit balance is too low to access the Anthropic API."),
        403 => {
            of(403, "permission_error", "Your API key does not have permission to use the specified resource")
        }
        404 => no_model(culprit.model),
        413 => of(413, "request_too_large", "Request exceeds the maximum size"),
        429 => of(
            429,
            "rate_limit_error",
            format!(
                "This request would exceed the rate limit for your organization (mock) of 50 requests per minute for \
                 {}. Please reduce the number of requests or contact sales to discuss a higher limit.",
                culprit.model
            ),
        ),
        504 => of(504, "timeout_error", "Request timed out"),
        OVERLOADED => of(OVERLOADED, "overloaded_error", "Overloaded"),
        500..=599 => of(status, "api_error", "Internal server error"),
        other => Failure::invalid(other, format!("The mock was asked for status {other}.")),
    }
}

fn of(status: u16, kind: &'static str, message: impl Into<String>) -> Failure {
    Failure { kind, ..Failure::invalid(status, message) }
}
