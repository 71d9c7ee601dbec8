//! What do all answers of OpenAI's dialect have in common?
//!
//! Identity, usage and the words of errors. Needs a serial number and a time. Proves nothing; it spells.
//! Source: OpenAI's API reference and its published description of it.

use serde::Serialize;

use super::failure::{Culprit, Failure};
use super::script::Script;
use super::text;

/// The fingerprint in every answer.
pub(super) const FINGERPRINT: &str = "fp_mock00000";
/// Characters of the caller's text that an error repeats.
const ECHO_CHARACTERS_MAX: usize = 200;
/// Characters of a presented key that an error shows at its start, and at its end.
const KEY_START_SHOWN: usize = 8;
const KEY_END_SHOWN: usize = 4;

/// Tokens, as an answer reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    #[serde(rename = "prompt_tokens")]
    prompt: u64,
    #[serde(rename = "completion_tokens")]
    completion: u64,
    #[serde(rename = "total_tokens")]
    total: u64,
    #[serde(rename = "prompt_tokens_details", skip_serializing_if = "Option::is_none")]
    prompt_details: Option<PromptDetails>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

/// `usage` in the chunks of a stream that was asked for it: null until the last.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum StreamUsage {
    /// The stream goes on.
    Pending,
    /// The stream's last chunk.
    Known(Usage),
}

impl Usage {
    /// What the script claims; else a quarter of the bytes. None when the script leaves usage out.
    pub(super) fn of(script: &Script, prompt_bytes: usize, completion_bytes: usize) -> Option<Self> {
        if script.no_usage {
            return None;
        }
        let (prompt, completion) =
            script.usage.unwrap_or((text::tokens(prompt_bytes), text::tokens(completion_bytes)));
        let total = prompt.saturating_add(completion);
        let prompt_details = script.cached.map(|(cached_tokens, _)| PromptDetails { cached_tokens });
        Some(Usage { prompt, completion, total, prompt_details })
    }
}

/// What an embedding reports: it has no completion.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct InputUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl From<Usage> for InputUsage {
    fn from(usage: Usage) -> Self {
        InputUsage { prompt_tokens: usage.prompt, total_tokens: usage.prompt }
    }
}

/// A body that cannot be read.
pub(super) fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::invalid(400, format!("We could not parse the JSON body of your request: {error}."))
}

/// A required field that is not there.
pub(super) fn missing(param: &'static str) -> Failure {
    Failure {
        param: Some(param),
        code: Some("missing_required_parameter"),
        ..Failure::invalid(400, format!("Missing required parameter: '{param}'."))
    }
}

/// No such model.
pub(super) fn no_model(model: &str) -> Failure {
    Failure {
        param: Some("model"),
        code: Some("model_not_found"),
        ..Failure::invalid(
            404,
            format!("The model `{model}` does not exist or you do not have access to it."),
        )
    }
}

/// No key, or not the right one.
pub(super) fn no_access(key: Option<&str>) -> Failure {
    match key {
        None => Failure::invalid(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header \
             using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        ),
        Some(key) => Failure {
            code: Some("invalid_api_key"),
            ..Failure::invalid(
                401,
                format!(
                    "Incorrect API key provided: {}. You can find your API key at \
                     https://platform.openai.com/account/api-keys.",
                    masked(key)
                ),
            )
        },
    }
}

/// The error that OpenAI sends with this status. Like theirs, it repeats the caller's text (400), key
/// (401) or model (404, 429): a gateway that relays it raw gives them away.
pub(super) fn of_status(status: u16, culprit: &Culprit<'_>) -> Failure {
    match status {
        400 => {
            let text: String = culprit.text.chars().take(ECHO_CHARACTERS_MAX).collect();
            Failure {
                param: Some("messages"),
                code: Some("invalid_value"),
                ..Failure::invalid(400, format!("Invalid value: '{text}'."))
            }
        }
        401 => no_access(Some(culprit.key)),
        403 => Failure {
            kind: "request_forbidden",
            code: Some("unsupported_country_region_territory"),
            ..Failure::invalid(403, "Country, region, or territory not supported")
        },
        404 => no_model(culprit.model),
        429 => Failure {
            kind: "requests",
            code: Some("rate_limit_exceeded"),
            ..Failure::invalid(
                429,
                format!(
                    "Rate limit reached for {} in organization org-mock on requests per min (RPM): \
                     Limit 3, Used 3, Requested 1. Please try again in 20s.",
                    culprit.model
                ),
            )
        },
        503 => Failure {
            kind: "service_unavailable_error",
            ..Failure::invalid(503, "The engine is currently overloaded, please try again later")
        },
        500..=599 => Failure {
            kind: "server_error",
            ..Failure::invalid(
                status,
                format!(
                    "The server had an error while processing your request. Sorry about that! You can \
                     retry your request, or contact us if the error persists. (Please include the \
                     request ID {} in your message.)",
                    culprit.request_id
                ),
            )
        },
        other => Failure::invalid(other, format!("The mock was asked for status {other}.")),
    }
}

/// A key as OpenAI's errors show it: both ends, and stars between.
fn masked(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let hidden = characters.len().saturating_sub(KEY_START_SHOWN + KEY_END_SHOWN);
    if hidden == 0 {
        return "*".repeat(characters.len());
    }
    let start = characters.iter().take(KEY_START_SHOWN);
    let end = characters.iter().skip(KEY_START_SHOWN + hidden);
    start.chain(std::iter::repeat_n(&'*', hidden)).chain(end).collect()
}
