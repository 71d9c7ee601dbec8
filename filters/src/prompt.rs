//! What does it ask?
//!
//! Needs a whole body and the endpoint it came to; proves [`Prompt`]: strictly read once, its text laid out for the
//! scanner, and the few members that the stages need. It judges nothing.

mod anthropic;
mod openai;
mod roles;

use crate::dialect::Dialect;
use crate::dlp::projection::{self, Mark, Projection, Unreadable, Value};
use crate::json::{self, Literal};
use crate::refusal::Refusal;
use bytes::Bytes;
use roles::Role;
pub(crate) use roles::{Wish, string};
use std::ops::Range;

/// Longer names of models are somebody's text.
const MODEL_BYTES_MAX: usize = 128;

/// The endpoints that have an extractor; nothing else is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
}

impl Surface {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ChatCompletions, Self::Completions, Self::Embeddings, Self::Messages, Self::CountTokens];

    /// The path below a provider's base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
        }
    }

    /// The name it has in events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
        }
    }

    /// Whose API it belongs to.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => Dialect::OpenAi,
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
        }
    }
}

/// A body, read.
#[derive(Debug)]
pub struct Prompt {
    pub(crate) body: Bytes,
    pub(crate) projection: Projection<Role>,
    pub(crate) head: Head,
}

/// What is asked for, besides text.
#[derive(Clone, Debug)]
pub struct Head {
    /// The endpoint.
    pub surface: Surface,
    /// The model.
    pub model: String,
    /// Whether the answer shall stream.
    pub stream: bool,
    /// Whether the caller wants usage at the end of a stream.
    pub wants_usage: bool,
    /// The most tokens that an answer may have, if the caller said so.
    pub output_tokens: Option<u64>,
    /// How many answers are made, at most: for each text of a list, and with those that the provider drops again.
    pub choices: u64,
    /// Whether there are answers at all; embeddings have none.
    pub has_output: bool,
    /// Features that are asked for, each once.
    pub(crate) wishes: Vec<Wish>,
    /// The version of the dialect that the request's head names.
    pub version: Option<&'static str>,
    /// Unfinished features that the request's head asks for, by their names.
    pub betas: Vec<String>,
    /// Where the names of tools stand.
    pub(crate) tools: Vec<Range<usize>>,
    pub(crate) model_raw: Range<usize>,
    stream_options: Option<StreamOptions>,
    /// A limit that is there and says nothing.
    null_limit: Option<Range<usize>>,
    first_member: usize,
    /// Texts of a list.
    texts: u64,
}

#[derive(Clone, Debug)]
struct StreamOptions {
    raw: Range<usize>,
    include_usage: Option<Range<usize>>,
    kind: OptionsKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OptionsKind {
    Null,
    Empty,
    Filled,
}

/// Reads a body.
pub fn read(surface: Surface, body: Bytes) -> Result<Prompt, Refusal> {
    let projected = match surface.dialect() {
        Dialect::OpenAi => projection::project::<openai::Requests>(&body),
        Dialect::Anthropic => projection::project::<anthropic::Requests>(&body),
    };
    let projection = projected.map_err(|error| match error {
        Unreadable::Parts => Refusal::ScanLimit,
        Unreadable::Utf8(_)
        | Unreadable::Json { .. }
        | Unreadable::DuplicateKey(_)
        | Unreadable::Members(_) => Refusal::Unreadable(error),
    })?;
    let root = projection.marks.last().filter(|mark| mark.role == Role::Root && mark.value == Value::Object);
    let first_member = root.map(|root| root.raw.start + 1);
    let Some(first_member) = first_member else {
        let message = "the body is not a JSON object".to_owned();
        return Err(Refusal::InvalidRequest { param: None, message });
    };
    let mut head = Head {
        surface,
        model: String::new(),
        stream: false,
        // Only OpenAI's streams have to be asked.
        wants_usage: surface.dialect() != Dialect::OpenAi,
        output_tokens: None,
        choices: 1,
        has_output: !matches!(surface, Surface::Embeddings | Surface::CountTokens),
        wishes: Vec::new(),
        version: None,
        betas: Vec::new(),
        tools: Vec::new(),
        model_raw: 0..0,
        stream_options: None,
        null_limit: None,
        first_member,
        texts: 0,
    };
    for mark in &projection.marks {
        head.note(mark, &body)?;
    }
    if surface == Surface::Completions {
        head.choices = head.choices.saturating_mul(head.texts.max(1));
    }
    if head.model_raw.is_empty() {
        return Err(invalid("model", "`model` is missing; name the model to use".to_owned()));
    }
    if surface == Surface::Messages && head.output_tokens.is_none() {
        let message = "`max_tokens` is missing; say how many tokens the answer may have at most";
        return Err(invalid("max_tokens", message.to_owned()));
    }
    Ok(Prompt { body, projection, head })
}

fn invalid(param: &'static str, message: String) -> Refusal {
    Refusal::InvalidRequest { param: Some(param), message }
}

impl Prompt {
    /// The same, with what the request's head says of the dialect: its version, and the unfinished features that are
    /// asked for.
    #[must_use]
    pub fn with_version(mut self, version: Option<&'static str>, betas: Vec<String>) -> Self {
        self.head.version = version;
        self.head.betas = betas;
        self
    }

    /// What is asked for, besides text.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

impl Head {
    fn note(&mut self, mark: &Mark<Role>, body: &[u8]) -> Result<(), Refusal> {
        let raw = body.get(mark.raw.clone()).unwrap_or_default();
        let is_true = mark.value == Value::Literal(Literal::True);
        let is_null = mark.value == Value::Literal(Literal::Null);
        match mark.role {
            Role::Model => self.note_model(mark, raw)?,
            Role::Stream => match mark.value {
                Value::Literal(_) => self.stream = is_true,
                Value::String | Value::Number | Value::Object | Value::Array => {
                    return Err(invalid("stream", "`stream` is `true` or `false`".to_owned()));
                }
            },
            Role::IncludeUsage => {
                self.wants_usage = is_true;
                self.stream_options().include_usage = Some(mark.raw.clone());
            }
            Role::StreamOptions => {
                let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
                let kind = match mark.value {
                    Value::Object if inside.trim_ascii().is_empty() => OptionsKind::Empty,
                    Value::Object => OptionsKind::Filled,
                    Value::String | Value::Number | Value::Literal(_) | Value::Array => OptionsKind::Null,
                };
                let options = self.stream_options();
                (options.raw, options.kind) = (mark.raw.clone(), kind);
            }
            Role::MaxTokens | Role::MaxCompletionTokens if is_null => {
                if self.is_output_limit(mark.role) {
                    self.null_limit = Some(mark.raw.clone());
                }
            }
            Role::Misspelt => return Err(misspelt()),
            Role::MaxTokens | Role::MaxCompletionTokens => {
                let limit = whole_number(mark, raw).ok_or_else(|| not_a_number("max_tokens"))?;
                self.output_tokens = Some(self.output_tokens.map_or(limit, |other| other.max(limit)));
            }
            Role::Choices if !is_null => {
                self.choices = whole_number(mark, raw).ok_or_else(|| not_a_number("n"))?.max(self.choices);
            }
            Role::TextItem if mark.value == Value::String => self.texts += 1,
            Role::TextItem | Role::TextItemItem if mark.value == Value::Number => {
                let message = "token ids cannot be scanned; send the text itself";
                return Err(invalid(self.texts_member(), message.to_owned()));
            }
            Role::Root
            | Role::Choices
            | Role::Tools
            | Role::Tool
            | Role::ToolType
            | Role::ToolBody
            | Role::ToolName
            | Role::Functions
            | Role::Source
            | Role::Free
            | Role::Texts
            | Role::TextItem
            | Role::TextItemItem
            | Role::Arguments
            | Role::Asks(_)
            | Role::Media
            | Role::MediaUrl
            | Role::Audio
            | Role::SourceUrl
            | Role::SourceType
            | Role::Other => self.note_feature(mark, raw),
        }
        Ok(())
    }

    /// What is asked for besides an answer; whether it may be, `model_access` says.
    fn note_feature(&mut self, mark: &Mark<Role>, raw: &[u8]) {
        let is_string = mark.value == Value::String;
        let is_foreign = || is_string && !self.is_local_tool(&string(raw));
        if mark.role == Role::ToolType && !is_foreign() {
            return;
        }
        if is_string && matches!(mark.role, Role::ToolName | Role::ToolType) {
            self.tools.push(mark.raw.clone());
        }
        let Some(wish) = mark.role.wish() else { return };
        if wish.is_asked(mark.value, raw) && !self.wishes.contains(&wish) {
            self.wishes.push(wish);
        }
    }

    fn is_local_tool(&self, kind: &str) -> bool {
        match self.surface.dialect() {
            Dialect::OpenAi => openai::is_local_tool(kind),
            Dialect::Anthropic => anthropic::is_local_tool(kind),
        }
    }

    fn note_model(&mut self, mark: &Mark<Role>, raw: &[u8]) -> Result<(), Refusal> {
        let mut name = Vec::new();
        if mark.value == Value::String {
            json::decode(raw.get(1..raw.len() - 1).unwrap_or_default(), &mut name);
        }
        let is_id = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\<>{}`".contains(byte);
        match String::from_utf8(name) {
            Ok(name)
                if !name.is_empty()
                    && name.len() <= MODEL_BYTES_MAX
                    && name.bytes().all(|byte| is_id(&byte)) =>
            {
                (self.model, self.model_raw) = (name, mark.raw.clone());
                Ok(())
            }
            Ok(_) | Err(_) => Err(invalid(
                "model",
                format!("`model` is a name of visible ASCII characters, at most {MODEL_BYTES_MAX} of them"),
            )),
        }
    }

    fn is_output_limit(&self, role: Role) -> bool {
        match self.surface {
            Surface::ChatCompletions => role == Role::MaxCompletionTokens,
            Surface::Completions => role == Role::MaxTokens,
            Surface::Embeddings | Surface::Messages | Surface::CountTokens => false,
        }
    }

    fn texts_member(&self) -> &'static str {
        if self.surface == Surface::Embeddings { "input" } else { "prompt" }
    }

    fn stream_options(&mut self) -> &mut StreamOptions {
        let none = StreamOptions { raw: 0..0, include_usage: None, kind: OptionsKind::Null };
        self.stream_options.get_or_insert(none)
    }
}

fn misspelt() -> Refusal {
    let message = "names of members are written in lower case; a provider could read this one otherwise";
    Refusal::InvalidRequest { param: None, message: message.to_owned() }
}

fn not_a_number(param: &'static str) -> Refusal {
    invalid(param, format!("`{param}` is a whole number"))
}

fn whole_number(mark: &Mark<Role>, raw: &[u8]) -> Option<u64> {
    if mark.value != Value::Number {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}
