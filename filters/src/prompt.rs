//! What does it ask?
//!
//! Needs a whole body and the endpoint it came to; proves [`Prompt`]: strictly read once, its text laid out for the
//! scanner, and the few members that the stages need. It judges nothing.

use crate::dialect::Dialect;
use crate::dlp::projection::{self, Mark, Positions, Projection, Unreadable, Value};
use crate::dlp::splice::Edit;
use crate::json::{self, Literal};
use crate::names::is_same_name;
use crate::refusal::Refusal;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// Kinds of tools that the caller runs itself, as they are written; all others are the provider's.
const LOCAL_TOOLS: &[&[u8]] = &[br#""function""#, br#""custom""#];
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
}

impl Surface {
    /// The path below a provider's base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
        }
    }

    /// The name it has in events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }

    /// Whose API it belongs to.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings => Dialect::OpenAi,
        }
    }

    fn output_limit_member(self) -> Option<&'static str> {
        match self {
            Self::ChatCompletions => Some("max_completion_tokens"),
            Self::Completions => Some("max_tokens"),
            Self::Embeddings => None,
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
    /// How many answers.
    pub choices: u64,
    /// Whether there are answers at all; embeddings have none.
    pub has_output: bool,
    /// A feature that is refused, with the member that asks for it.
    pub(crate) refused_capability: Option<(&'static str, &'static str)>,
    pub(crate) model_raw: Range<usize>,
    stream_options: Option<StreamOptions>,
    /// A limit that is there and says nothing.
    null_limit: Option<Range<usize>>,
    first_member: usize,
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

/// What members of a request mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    Root,
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    MaxTokens,
    MaxCompletionTokens,
    Choices,
    /// `prompt` or `input`, which may be text or token ids.
    Texts,
    TextItem,
    TextItemItem,
    Arguments,
    Store,
    WebSearch,
    FileId,
    FileData,
    Media,
    MediaUrl,
    Tools,
    Tool,
    ToolType,
    /// Names of the caller's own choosing: they mean nothing to a provider.
    Free,
    /// A name that only a lenient parser reads.
    Misspelt,
    Other,
}

/// From the role of an object and a key to the role of the value.
const MEMBERS: &[(Role, &str, Role)] = &[
    (Role::Root, "model", Role::Model),
    (Role::Root, "stream", Role::Stream),
    (Role::Root, "stream_options", Role::StreamOptions),
    (Role::StreamOptions, "include_usage", Role::IncludeUsage),
    (Role::Root, "max_tokens", Role::MaxTokens),
    (Role::Root, "max_completion_tokens", Role::MaxCompletionTokens),
    (Role::Root, "n", Role::Choices),
    (Role::Root, "prompt", Role::Texts),
    (Role::Root, "input", Role::Texts),
    (Role::Root, "store", Role::Store),
    (Role::Root, "web_search_options", Role::WebSearch),
    (Role::Root, "search_parameters", Role::WebSearch),
    (Role::Root, "plugins", Role::WebSearch),
    (Role::Root, "metadata", Role::Free),
    (Role::Root, "tools", Role::Tools),
    (Role::Tool, "type", Role::ToolType),
    (Role::Media, "url", Role::MediaUrl),
];

/// Keys that mean the same wherever they stand.
const ANYWHERE: &[(&str, Role)] = &[
    ("arguments", Role::Arguments),
    ("file_id", Role::FileId),
    ("file_data", Role::FileData),
    ("image_url", Role::Media),
    ("video_url", Role::Media),
    ("audio_url", Role::Media),
    ("document_url", Role::Media),
    ("file_url", Role::Media),
    ("parameters", Role::Free),
    ("schema", Role::Free),
];

/// The position table of OpenAI's requests.
#[derive(Debug)]
pub(crate) struct RequestPositions;

impl Positions for RequestPositions {
    type Role = Role;

    fn member(parent: Role, key: &[u8]) -> Role {
        if parent == Role::Free {
            return Role::Free;
        }
        let row = MEMBERS.iter().find(|(from, name, _)| *from == parent && is_same_name(key, name));
        if let Some((_, name, role)) = row {
            // Providers differ in what they make of `Store` beside `store`; nobody needs it.
            return if name.as_bytes() == key { *role } else { Role::Misspelt };
        }
        let anywhere = ANYWHERE.iter().find(|(name, _)| is_same_name(key, name));
        anywhere.map_or(Role::Other, |(_, role)| *role)
    }

    fn element(parent: Role) -> Role {
        match parent {
            Role::Texts => Role::TextItem,
            Role::TextItem => Role::TextItemItem,
            Role::Tools => Role::Tool,
            Role::Free => Role::Free,
            Role::Root
            | Role::Model
            | Role::Stream
            | Role::StreamOptions
            | Role::IncludeUsage
            | Role::MaxTokens
            | Role::MaxCompletionTokens
            | Role::Choices
            | Role::TextItemItem
            | Role::Arguments
            | Role::Store
            | Role::WebSearch
            | Role::FileId
            | Role::FileData
            | Role::Media
            | Role::MediaUrl
            | Role::Tool
            | Role::ToolType
            | Role::Misspelt
            | Role::Other => Role::Other,
        }
    }

    fn other() -> Role {
        Role::Other
    }

    fn skips_numbers(_: Role) -> bool {
        false
    }

    fn holds_json(role: Role) -> bool {
        role == Role::Arguments
    }
}

/// Reads a body.
pub fn read(surface: Surface, body: Bytes) -> Result<Prompt, Refusal> {
    let projection = projection::project::<RequestPositions>(&body).map_err(|error| match error {
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
        wants_usage: false,
        output_tokens: None,
        choices: 1,
        has_output: surface != Surface::Embeddings,
        refused_capability: None,
        model_raw: 0..0,
        stream_options: None,
        null_limit: None,
        first_member,
    };
    for mark in &projection.marks {
        head.note(mark, &body)?;
    }
    if head.model_raw.is_empty() {
        return Err(invalid("model", "`model` is missing; name the model to use".to_owned()));
    }
    Ok(Prompt { body, projection, head })
}

fn invalid(param: &'static str, message: String) -> Refusal {
    Refusal::InvalidRequest { param: Some(param), message }
}

impl Prompt {
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
            Role::Misspelt => {
                let message =
                    "names of members are written in lower case; a provider could read this one otherwise";
                return Err(Refusal::InvalidRequest { param: None, message: message.to_owned() });
            }
            Role::MaxTokens | Role::MaxCompletionTokens => {
                let limit = whole_number(mark, raw).ok_or_else(|| not_a_number("max_tokens"))?;
                self.output_tokens = Some(self.output_tokens.map_or(limit, |other| other.max(limit)));
            }
            Role::Choices if !is_null => {
                self.choices = whole_number(mark, raw).ok_or_else(|| not_a_number("n"))?;
            }
            Role::TextItem | Role::TextItemItem if mark.value == Value::Number => {
                let message = "token ids cannot be scanned; send the text itself";
                return Err(invalid(self.texts_member(), message.to_owned()));
            }
            Role::Root
            | Role::Choices
            | Role::Tools
            | Role::Tool
            | Role::ToolType
            | Role::Free
            | Role::Texts
            | Role::TextItem
            | Role::TextItemItem
            | Role::Arguments
            | Role::Store
            | Role::WebSearch
            | Role::FileId
            | Role::FileData
            | Role::Media
            | Role::MediaUrl
            | Role::Other => self.note_capability(mark, raw),
        }
        Ok(())
    }

    /// What a request asks of a provider besides an answer. What could reach another's objects, or the network, is
    /// refused.
    fn note_capability(&mut self, mark: &Mark<Role>, raw: &[u8]) {
        let is_text = mark.value == Value::String;
        let is_null = mark.value == Value::Literal(Literal::Null);
        let refused = [
            (Role::Store, mark.value == Value::Literal(Literal::True), "store", "store"),
            (Role::WebSearch, !is_null, "web_search_options", "web_search"),
            (Role::FileId, is_text, "file_id", "provider_objects"),
            (Role::FileData, is_text, "file_data", "files"),
            (Role::Media, is_text && is_remote(raw), "image_url", "remote_urls"),
            (Role::MediaUrl, is_text && is_remote(raw), "image_url", "remote_urls"),
            (Role::ToolType, is_text && !LOCAL_TOOLS.contains(&raw), "tools", "server_tools"),
        ];
        let asked = refused.into_iter().find(|(role, is_asked, ..)| *role == mark.role && *is_asked);
        if let Some((.., param, capability)) = asked {
            self.refused_capability.get_or_insert((param, capability));
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
            Surface::Embeddings => false,
        }
    }

    fn texts_member(&self) -> &'static str {
        if self.surface == Surface::Embeddings { "input" } else { "prompt" }
    }

    fn stream_options(&mut self) -> &mut StreamOptions {
        let none = StreamOptions { raw: 0..0, include_usage: None, kind: OptionsKind::Null };
        self.stream_options.get_or_insert(none)
    }

    /// Asks a streaming provider for usage where the caller did not: budgets are settled with it. The extra event
    /// is removed from the answer.
    pub(crate) fn ask_for_usage(&self) -> Option<Edit> {
        if !self.stream || self.wants_usage || !self.has_output {
            return None;
        }
        Some(match &self.stream_options {
            Some(StreamOptions { include_usage: Some(raw), .. }) => {
                Edit { raw: raw.clone(), with: Cow::Borrowed(b"true") }
            }
            Some(StreamOptions { raw, kind, .. }) => match kind {
                OptionsKind::Null => {
                    Edit { raw: raw.clone(), with: Cow::Borrowed(br#"{"include_usage":true}"#) }
                }
                OptionsKind::Empty => inserted(raw.start + 1, br#""include_usage":true"#),
                OptionsKind::Filled => inserted(raw.start + 1, br#""include_usage":true,"#),
            },
            None => self.first_member(r#""stream_options":{"include_usage":true}"#),
        })
    }

    /// Gives the answer a limit where the caller gave none.
    pub(crate) fn limit_output(&self, tokens: u64) -> Option<Edit> {
        let member = self.surface.output_limit_member()?;
        if let Some(raw) = &self.null_limit {
            return Some(Edit { raw: raw.clone(), with: Cow::Owned(tokens.to_string().into_bytes()) });
        }
        Some(self.first_member(&format!(r#""{member}":{tokens}"#)))
    }

    /// A member before all others. There is one, `model`, so a comma always follows.
    fn first_member(&self, member: &str) -> Edit {
        let with = Cow::Owned(format!("{member},").into_bytes());
        Edit { raw: self.first_member..self.first_member, with }
    }
}

fn inserted(at: usize, with: &'static [u8]) -> Edit {
    Edit { raw: at..at, with: Cow::Borrowed(with) }
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

/// Whether a media URL would be fetched by the provider; `data:` is not.
fn is_remote(raw: &[u8]) -> bool {
    let mut url = Vec::new();
    json::decode(raw.get(1..raw.len() - 1).unwrap_or_default(), &mut url);
    !url.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"))
}
