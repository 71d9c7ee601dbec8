//! Whose API does the caller speak?
//!
//! What differs between dialects besides the layout of prompts and answers: how an error looks. Status, code, message
//! and what an SDK does by itself are the same in all of them.

use crate::refusal::{ErrorRow, ErrorType};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Whose API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `/v1/chat/completions` and its neighbours: what is spoken where nothing else is asked for.
    #[default]
    OpenAi,
    /// `/v1/messages`.
    Anthropic,
}

/// What an error says.
#[derive(Clone, Copy, Debug)]
pub struct ErrorText<'a> {
    /// For people.
    pub message: &'a str,
    /// The dialect's own word for the kind of error.
    pub kind: &'a str,
    /// Stable, for programs; the same in every dialect.
    pub code: Option<&'a str>,
    /// The part of the request that is meant.
    pub param: Option<&'a str>,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::OpenAi, Self::Anthropic];

    /// The name it has in documents, events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The `type` of an error, which SDKs turn into exception classes together with the status.
    pub fn error_type(self, row: ErrorRow) -> &'static str {
        match self {
            Self::OpenAi => row.kind.name(),
            Self::Anthropic => anthropic_type(row),
        }
    }

    /// The body of an error. Anthropic's has no `code` and no `param` of its own; its SDKs pass on what they do not
    /// know, and programs need them.
    pub fn error_body(self, text: &ErrorText<'_>, request_id: &str) -> Value {
        let ErrorText { message, kind, code, param } = *text;
        match self {
            Self::OpenAi => {
                json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
            }
            Self::Anthropic => json!({
                "type": "error",
                "error": {"type": kind, "message": message, "code": code, "param": param},
                "request_id": request_id,
            }),
        }
    }

    /// The `type` of an upstream error that states none.
    pub fn kind_of_status(self, status: u16) -> &'static str {
        match self {
            Self::OpenAi => ErrorType::InvalidRequest.name(),
            Self::Anthropic => anthropic_status(status).unwrap_or("invalid_request_error"),
        }
    }

    /// The header in which the dialect's SDKs look for the id of a request.
    pub fn request_id_header(self) -> &'static str {
        match self {
            Self::OpenAi => "x-request-id",
            Self::Anthropic => "request-id",
        }
    }
}

/// Anthropic's words, by status (docs.claude.com/en/api/errors).
fn anthropic_type(row: ErrorRow) -> &'static str {
    let other = if row.kind == ErrorType::Server { "api_error" } else { "invalid_request_error" };
    anthropic_status(row.status).unwrap_or(other)
}

fn anthropic_status(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => return None,
    })
}
