//! What do members of a request mean? The words that the position tables of all dialects share.
//!
//! A table says what a member is; what follows from it, `prompt` and `model_access` say.

use crate::dlp::projection::{Meaning, Value};
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
    Tools,
    Tool,
    ToolType,
    /// Names of the caller's own choosing: they mean nothing to a provider.
    Free,
    /// A name that only a lenient parser reads.
    Misspelt,
    Other,
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
}

impl Wish {
    /// Whether a member with this value asks for it.
    pub(super) fn is_asked(self, value: Value, raw: &[u8]) -> bool {
        match self {
            Self::Store => value == Value::Literal(Literal::True),
            Self::WebSearch => value != Value::Literal(Literal::Null),
            Self::FileId | Self::FileData | Self::ServerTool => value == Value::String,
            Self::RemoteMedia => value == Value::String && is_remote(raw),
        }
    }

    /// The member that asks for it, and the feature's name.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Store => ("store", "store"),
            Self::WebSearch => ("web_search_options", "web_search"),
            Self::FileId => ("file_id", "provider_objects"),
            Self::FileData => ("file_data", "files"),
            Self::RemoteMedia => ("image_url", "remote_urls"),
            Self::ServerTool => ("tools", "server_tools"),
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

/// Whether a media URL would be fetched by the provider; `data:` is not.
fn is_remote(raw: &[u8]) -> bool {
    let mut url = Vec::new();
    json::decode(raw.get(1..raw.len() - 1).unwrap_or_default(), &mut url);
    !url.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"))
}
