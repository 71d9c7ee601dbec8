//! What does an error of a provider say?
//!
//! Needs what went wrong, and whose dialect the caller speaks. Proves that an error has the dialect's shape; the words
//! of each stand in `openai` and `anthropic`. It decides nothing: `routes` and the endpoints do.

use palisade_filters::Dialect;
use serde::Serialize;

use super::answer::Answer;
use super::script::Script;
use super::{anthropic, openai};

/// An error, whatever its shape.
#[derive(Debug)]
pub(super) struct Failure {
    /// Status code.
    pub status: u16,
    /// For people.
    pub message: String,
    /// The dialect's word for it.
    pub kind: &'static str,
    /// The member of the request that is meant; only OpenAI says.
    pub param: Option<&'static str>,
    /// For programs; only OpenAI has one.
    pub code: Option<&'static str>,
}

/// What an error may repeat of the request that met it, as real providers do.
pub(super) struct Culprit<'a> {
    /// The model asked for.
    pub model: &'a str,
    /// The caller's text.
    pub text: &'a str,
    /// The key presented.
    pub key: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

/// An error as it is spelt.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Spelling<'a> {
    OpenAi {
        error: OpenAiError<'a>,
    },
    Anthropic {
        #[serde(rename = "type")]
        tag: &'static str,
        error: AnthropicError<'a>,
        request_id: &'a str,
    },
}

#[derive(Serialize)]
pub(super) struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

impl Failure {
    /// A request that cannot be understood: both dialects use the same word.
    pub(super) fn invalid(status: u16, message: impl Into<String>) -> Self {
        Failure { status, message: message.into(), kind: "invalid_request_error", param: None, code: None }
    }

    /// A body that cannot be read.
    pub(super) fn unreadable(dialect: Dialect, error: &serde_json::Error) -> Self {
        match dialect {
            Dialect::OpenAi => openai::unreadable(error),
            Dialect::Anthropic => anthropic::unreadable(error),
        }
    }

    /// No model is named.
    pub(super) fn nameless(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi => Failure::invalid(400, "you must provide a model parameter"),
            Dialect::Anthropic => anthropic::missing("model"),
        }
    }

    /// No such model.
    pub(super) fn no_model(dialect: Dialect, model: &str) -> Self {
        match dialect {
            Dialect::OpenAi => openai::no_model(model),
            Dialect::Anthropic => anthropic::no_model(model),
        }
    }

    /// No key, or not the right one.
    pub(super) fn no_access(dialect: Dialect, key: Option<&str>) -> Self {
        match dialect {
            Dialect::OpenAi => openai::no_access(key),
            Dialect::Anthropic => anthropic::no_access(key),
        }
    }

    /// No such endpoint.
    pub(super) fn no_endpoint(dialect: Dialect, method: &str, path: &str) -> Self {
        match dialect {
            Dialect::OpenAi => Failure::invalid(404, format!("Invalid URL ({method} {path})")),
            Dialect::Anthropic => anthropic::no_endpoint(),
        }
    }

    /// The error that the provider sends with this status. Like theirs, it repeats the caller's text, key or model: a
    /// gateway that relays it raw gives them away.
    pub(super) fn of_status(dialect: Dialect, status: u16, culprit: &Culprit<'_>) -> Self {
        match dialect {
            Dialect::OpenAi => openai::of_status(status, culprit),
            Dialect::Anthropic => anthropic::of_status(status, culprit),
        }
    }

    /// The status whose error breaks off a stream: the usual one of this provider.
    pub(super) fn status_of_a_stream(dialect: Dialect) -> u16 {
        match dialect {
            Dialect::OpenAi => 500,
            Dialect::Anthropic => anthropic::OVERLOADED,
        }
    }

    /// The JSON that carries this error.
    pub(super) fn spelling<'a>(&'a self, dialect: Dialect, request_id: &'a str) -> Spelling<'a> {
        let Failure { message, kind, param, code, .. } = self;
        match dialect {
            Dialect::OpenAi => {
                Spelling::OpenAi { error: OpenAiError { message, kind, param: *param, code: *code } }
            }
            Dialect::Anthropic => {
                Spelling::Anthropic { tag: "error", error: AnthropicError { kind, message }, request_id }
            }
        }
    }

    /// The answer that carries this error.
    pub(super) fn answer(&self, dialect: Dialect, request_id: &str, script: &Script) -> Answer {
        Answer::json(self.status, &self.spelling(dialect, request_id), script)
    }
}
