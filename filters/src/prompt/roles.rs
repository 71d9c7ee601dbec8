//! What do members of a request mean? The words that the position tables of all dialects share.
//!
//! A table says what a member is; what follows from it, `prompt` and `model_access` say.

use crate::dlp::projection::{Meaning, Value};
use crate::documents::Capability;
use crate::json::{self, Literal};
use crate::names::is_same_name;

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
    /// It asks for a feature.
    Asks(Wish),
    Media,
    MediaUrl,
    /// Sound that a message holds, or refers to.
    Audio,
    /// Where an image or a document comes from.
    Source,
    SourceUrl,
    SourceType,
    Tools,
    Tool,
    ToolType,
    /// What holds a tool's name.
    ToolBody,
    ToolName,
    /// Tools of an older kind.
    Functions,
    /// Names of the caller's own choosing: they mean nothing to a provider.
    Free,
    /// A name that only a lenient parser reads.
    Misspelt,
    Other,
}

impl Role {
    /// What the elements of a list in this place mean.
    pub(super) fn element(self) -> Self {
        self.follows().0
    }

    /// What a member here may ask for.
    pub(super) fn wish(self) -> Option<Wish> {
        self.follows().1
    }

    /// Everything that follows from a role alone: what its elements mean, and what it may ask for.
    fn follows(self) -> (Self, Option<Wish>) {
        match self {
            Self::Texts => (Self::TextItem, None),
            Self::TextItem => (Self::TextItemItem, None),
            Self::Tools => (Self::Tool, None),
            Self::Functions => (Self::ToolBody, None),
            Self::Free => (Self::Free, None),
            Self::Source => (Self::Source, None),
            Self::Asks(wish) => (Self::Other, Some(wish)),
            Self::Media | Self::MediaUrl => (Self::Other, Some(Wish::RemoteMedia)),
            Self::SourceUrl => (Self::Other, Some(Wish::SourceUrl)),
            Self::SourceType => (Self::Other, Some(Wish::SourceFile)),
            Self::ToolType => (Self::Other, Some(Wish::ServerTool)),
            Self::Root
            | Self::Model
            | Self::Stream
            | Self::StreamOptions
            | Self::IncludeUsage
            | Self::MaxTokens
            | Self::MaxCompletionTokens
            | Self::Choices
            | Self::TextItemItem
            | Self::Arguments
            | Self::Audio
            | Self::Tool
            | Self::ToolBody
            | Self::ToolName
            | Self::Misspelt
            | Self::Other => (Self::Other, None),
        }
    }
}

impl Meaning for Role {
    const OTHER: Self = Self::Other;

    fn skips_numbers(self) -> bool {
        false
    }

    fn holds_json(self) -> bool {
        self == Self::Arguments
    }
}

/// What a request asks of a provider besides an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Store,
    WebSearch,
    FileId,
    FileData,
    RemoteMedia,
    ServerTool,
    McpServers,
    Container,
    Thread,
    PreviousMessage,
    CreditToken,
    Fallbacks,
    Billing,
    SourceUrl,
    SourceFile,
    /// Something that the provider keeps, by the member that refers to it: it may be another's.
    Kept(&'static str),
}

impl Wish {
    /// Whether a member with this value asks for it.
    pub(super) fn is_asked(self, value: Value, raw: &[u8]) -> bool {
        match self {
            Self::Store => value == Value::Literal(Literal::True),
            Self::WebSearch
            | Self::McpServers
            | Self::Container
            | Self::Thread
            | Self::PreviousMessage
            | Self::CreditToken
            | Self::Fallbacks
            | Self::Billing
            | Self::Kept(_) => value != Value::Literal(Literal::Null),
            Self::FileId | Self::FileData | Self::ServerTool => value == Value::String,
            Self::RemoteMedia | Self::SourceUrl => value == Value::String && is_remote(raw),
            Self::SourceFile => value == Value::String && !is_scannable(raw),
        }
    }

    /// The member that asks for it.
    pub(crate) fn param(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::WebSearch => "web_search_options",
            Self::FileId => "file_id",
            Self::FileData => "file_data",
            Self::RemoteMedia => "image_url",
            Self::ServerTool => "tools",
            Self::McpServers => "mcp_servers",
            Self::Container => "container",
            Self::Thread => "thread",
            Self::PreviousMessage => "previous_message_id",
            Self::CreditToken => "fallback_credit_token",
            Self::Fallbacks => "fallbacks",
            Self::Billing => "billing_policy",
            Self::SourceUrl | Self::SourceFile => "source",
            Self::Kept(member) => member,
        }
    }

    /// The feature.
    pub(crate) fn capability(self) -> Capability {
        match self {
            Self::Store => Capability::Store,
            Self::WebSearch => Capability::WebSearch,
            Self::FileId
            | Self::Container
            | Self::Thread
            | Self::PreviousMessage
            | Self::CreditToken
            | Self::Kept(_) => Capability::ProviderObjects,
            Self::FileData | Self::SourceFile => Capability::Files,
            Self::RemoteMedia | Self::SourceUrl => Capability::RemoteUrls,
            Self::ServerTool => Capability::ServerTools,
            Self::McpServers => Capability::McpServers,
            Self::Fallbacks => Capability::FallbackModels,
            Self::Billing => Capability::Billing,
        }
    }
}

/// Looks a member up: first among those of its parent, then among keys that mean the same everywhere.
pub(super) fn look_up(
    members: &[(Role, &str, Role)],
    anywhere: &[(&str, Role)],
    parent: Role,
    key: &[u8],
) -> Role {
    if parent == Role::Free {
        return Role::Free;
    }
    let row = members.iter().find(|(from, name, _)| *from == parent && is_same_name(key, name));
    if let Some((_, name, role)) = row {
        // Providers differ in what they make of `Store` beside `store`; nobody needs it.
        return if name.as_bytes() == key { *role } else { Role::Misspelt };
    }
    let anywhere = anywhere.iter().find(|(name, _)| is_same_name(key, name));
    anywhere.map_or(Role::Other, |(_, role)| *role)
}

/// Whether data of this media type are text, or an image, of which no more is asked.
fn is_scannable(raw: &[u8]) -> bool {
    let kind = string(raw).to_ascii_lowercase();
    kind.starts_with("image/") || kind.starts_with("text/")
}

/// What a string says. `raw` has its quotes, and a body is valid UTF-8.
pub(crate) fn string(raw: &[u8]) -> String {
    let mut text = Vec::new();
    json::decode(raw.get(1..raw.len() - 1).unwrap_or_default(), &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Whether a media URL would be fetched by the provider; `data:` is not.
fn is_remote(raw: &[u8]) -> bool {
    let url = string(raw);
    !url.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}
