//! What do the POST endpoints read and decide alike?
//!
//! Needs a body. Proves that an [`Ask`] is well-formed JSON of the endpoint's shape and names a model.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use palisade_filters::Dialect;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Stamp};
use super::failure::Failure;
use super::script::{ANSWER_BYTES_MAX, DELTAS_MAX, Script};
use super::text::{self, Share, Text};
use super::{chat, completions, embeddings, messages};

/// Most choices in one answer, as in OpenAI's reference.
pub(super) const CHOICES_MAX: usize = 128;
/// Characters per delta when nobody says: about one token.
pub(super) const CHUNK_DEFAULT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// The tool that is called when the request offers none and the script wants a tool call.
pub(super) const TOOL_UNNAMED: &str = "mock_tool";

/// One of the endpoints that take a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/messages`
    Messages,
    /// `/v1/messages/count_tokens`
    CountTokens,
}

impl Endpoint {
    fn dialect(self) -> Dialect {
        match self {
            Endpoint::Chat | Endpoint::Completions | Endpoint::Embeddings => Dialect::OpenAi,
            Endpoint::Messages | Endpoint::CountTokens => Dialect::Anthropic,
        }
    }
}

/// A request that was read.
pub(super) enum Ask<'a> {
    /// For a chat completion.
    Chat(chat::Ask<'a>),
    /// For a legacy completion.
    Completion(completions::Ask<'a>),
    /// For embeddings.
    Embedding(embeddings::Ask<'a>),
    /// For a message.
    Message(messages::Ask<'a>),
    /// For the size of a message.
    Count(messages::Ask<'a>),
}

/// `stream_options`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct StreamOptions {
    include_usage: Option<bool>,
}

impl<'a> Ask<'a> {
    /// Reads a body.
    pub(super) fn read(endpoint: Endpoint, body: &'a [u8]) -> Result<Self, Failure> {
        let ask = match endpoint {
            Endpoint::Chat => serde_json::from_slice(body).map(Ask::Chat),
            Endpoint::Completions => serde_json::from_slice(body).map(Ask::Completion),
            Endpoint::Embeddings => serde_json::from_slice(body).map(Ask::Embedding),
            Endpoint::Messages => serde_json::from_slice(body).map(Ask::Message),
            Endpoint::CountTokens => serde_json::from_slice(body).map(Ask::Count),
        };
        let ask = ask.map_err(|error| Failure::unreadable(endpoint.dialect(), &error))?;
        match ask.model_field() {
            Some(_) => Ok(ask),
            None => Err(Failure::nameless(endpoint.dialect())),
        }
    }

    /// The model asked for.
    pub(super) fn model(&self) -> &str {
        self.model_field().unwrap_or_default()
    }

    /// The text that an echo repeats.
    pub(super) fn text(&self) -> Text<'_> {
        match self {
            Ask::Chat(ask) => ask.text(),
            Ask::Completion(ask) => ask.text(),
            Ask::Embedding(ask) => ask.text(),
            Ask::Message(ask) | Ask::Count(ask) => ask.text(),
        }
    }

    /// Whether the version of the API that was asked for has all that the request has.
    pub(super) fn check_version(&self, version: &str) -> Result<(), Failure> {
        match self {
            Ask::Chat(_) | Ask::Completion(_) | Ask::Embedding(_) => Ok(()),
            Ask::Message(ask) | Ask::Count(ask) => ask.check_version(version),
        }
    }

    /// The answer to it. `body_bytes` is the request's length, for its tokens.
    pub(super) fn answer(&self, script: &Script, stamp: Stamp, body_bytes: usize) -> Result<Answer, Failure> {
        match self {
            Ask::Chat(ask) => ask.answer(script, stamp, body_bytes),
            Ask::Completion(ask) => ask.answer(script, stamp, body_bytes),
            Ask::Embedding(ask) => ask.answer(script, body_bytes),
            Ask::Message(ask) => ask.answer(script, stamp, body_bytes),
            Ask::Count(ask) => ask.count(script, body_bytes),
        }
    }

    fn model_field(&self) -> Option<&str> {
        match self {
            Ask::Chat(ask) => ask.model.as_deref(),
            Ask::Completion(ask) => ask.model.as_deref(),
            Ask::Embedding(ask) => ask.model.as_deref(),
            Ask::Message(ask) | Ask::Count(ask) => ask.model.as_deref(),
        }
    }
}

/// What is said: the script's own words, its filler, or the echo.
pub(super) fn said<'a>(script: &Script, echo: impl FnOnce() -> Text<'a>) -> Text<'a> {
    match (&script.answer, script.bytes) {
        (Some(answer), _) => Text::Plain(Cow::Owned(answer.as_ref().to_owned())),
        (None, Some(bytes)) => Text::filler(bytes),
        (None, None) => echo(),
    }
}

/// The arguments of a tool call: JSON, which then travels as a JSON string, or in pieces of one.
pub(super) fn arguments(text: &Text<'_>) -> String {
    #[derive(Serialize)]
    struct Arguments<'a> {
        input: &'a Text<'a>,
    }
    serde_json::to_string(&Arguments { input: text }).unwrap_or_default()
}

/// The finish reason that the script claims, or the answer's own.
pub(super) fn finish_reason<'s>(script: &'s Script, own: &'static str) -> &'s str {
    script.stop.as_deref().unwrap_or(own)
}

/// How many choices there will be, if they are not too many or too much to keep.
pub(super) fn choices(wanted: Option<usize>, text_bytes: usize) -> Result<usize, Failure> {
    match wanted.unwrap_or(1) {
        0 => Err(Failure::invalid(400, "Invalid 'n': expected a value >= 1, but got 0 instead.")),
        count if count > CHOICES_MAX => {
            let message = format!("Invalid 'n': expected a value <= {CHOICES_MAX}, but got {count} instead.");
            Err(Failure::invalid(400, message))
        }
        count if count.saturating_mul(text_bytes) > ANSWER_BYTES_MAX => {
            Err(Failure::invalid(400, "the mock keeps answers in memory: ask for fewer choices or less text"))
        }
        count => Ok(count),
    }
}

/// Whether the answer is a stream.
pub(super) fn wants_stream(stream: Option<bool>) -> bool {
    stream == Some(true)
}

/// Whether a stream ends with its usage.
pub(super) fn wants_usage(options: Option<StreamOptions>) -> bool {
    options.and_then(|options| options.include_usage) == Some(true)
}

/// How a stream shares out its text.
pub(super) struct Plan {
    share: Share,
    pieces_max: usize,
}

impl Plan {
    /// What the script says, within [`DELTAS_MAX`] over all choices.
    pub(super) fn of(script: &Script, choices: usize) -> Self {
        let share = match (script.count, script.chunk) {
            (Some(count), _) => Share::Deltas(count),
            (None, chunk) => Share::Characters(chunk.unwrap_or(CHUNK_DEFAULT)),
        };
        Plan { share, pieces_max: DELTAS_MAX / choices.max(1) }
    }

    /// The text, shared out.
    pub(super) fn pieces<'t>(&self, text: &'t str) -> Vec<&'t str> {
        text::pieces(text, self.share, self.pieces_max)
    }
}
