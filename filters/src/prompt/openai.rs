//! How does OpenAI lay out a request? Its position table, and the edits that its own members need.

use super::roles::{Role, Wish, look_up};
use super::{Head, OptionsKind, StreamOptions, Surface};
use crate::dlp::projection::Positions;
use crate::dlp::splice::Edit;
use std::borrow::Cow;

/// Kinds of tools that the caller runs itself; all others are the provider's.
const LOCAL_TOOLS: &[&str] = &["function", "custom"];

/// From the role of an object and a key to the role of the value.
const MEMBERS: &[(Role, &str, Role)] = &[
    (Role::Root, "model", Role::Model),
    (Role::Root, "stream", Role::Stream),
    (Role::Root, "stream_options", Role::StreamOptions),
    (Role::StreamOptions, "include_usage", Role::IncludeUsage),
    (Role::Root, "max_tokens", Role::MaxTokens),
    (Role::Root, "max_completion_tokens", Role::MaxCompletionTokens),
    (Role::Root, "n", Role::Choices),
    (Role::Root, "best_of", Role::Choices),
    (Role::Root, "prompt", Role::Texts),
    (Role::Root, "input", Role::Texts),
    (Role::Root, "store", Role::Asks(Wish::Store)),
    (Role::Root, "web_search_options", Role::Asks(Wish::WebSearch)),
    (Role::Root, "search_parameters", Role::Asks(Wish::WebSearch)),
    (Role::Root, "plugins", Role::Asks(Wish::WebSearch)),
    (Role::Root, "previous_response_id", Role::Asks(Wish::Kept("previous_response_id"))),
    (Role::Root, "conversation", Role::Asks(Wish::Kept("conversation"))),
    (Role::Root, "container", Role::Asks(Wish::Container)),
    (Role::Root, "cachedContent", Role::Asks(Wish::Kept("cachedContent"))),
    (Role::Root, "cached_content", Role::Asks(Wish::Kept("cached_content"))),
    (Role::Texts, "id", Role::Asks(Wish::Kept("prompt"))),
    (Role::Audio, "id", Role::Asks(Wish::Kept("audio"))),
    (Role::Root, "metadata", Role::Free),
    (Role::Root, "tools", Role::Tools),
    (Role::Tool, "type", Role::ToolType),
    (Role::Tool, "name", Role::ToolName),
    (Role::Tool, "function", Role::ToolBody),
    (Role::Tool, "custom", Role::ToolBody),
    (Role::ToolBody, "name", Role::ToolName),
    (Role::Root, "functions", Role::Functions),
    (Role::Media, "url", Role::MediaUrl),
];

/// Keys that mean the same wherever they stand.
const ANYWHERE: &[(&str, Role)] = &[
    ("arguments", Role::Arguments),
    ("file_id", Role::Asks(Wish::FileId)),
    ("file_ids", Role::Asks(Wish::Kept("file_ids"))),
    ("vector_store_ids", Role::Asks(Wish::Kept("vector_store_ids"))),
    ("audio", Role::Audio),
    ("file_data", Role::Asks(Wish::FileData)),
    ("image_url", Role::Media),
    ("video_url", Role::Media),
    ("audio_url", Role::Media),
    ("document_url", Role::Media),
    ("file_url", Role::Media),
    ("parameters", Role::Free),
    ("schema", Role::Free),
];

/// The position table.
#[derive(Debug)]
pub(super) struct Requests;

impl Positions for Requests {
    type Role = Role;

    fn member(parent: Role, key: &[u8]) -> Role {
        look_up(MEMBERS, ANYWHERE, parent, key)
    }

    fn element(parent: Role) -> Role {
        parent.element()
    }
}

/// Whether the caller runs a tool of this kind itself.
pub(super) fn is_local_tool(kind: &str) -> bool {
    LOCAL_TOOLS.contains(&kind)
}

impl Surface {
    fn output_limit_member(self) -> Option<&'static str> {
        match self {
            Self::ChatCompletions => Some("max_completion_tokens"),
            Self::Completions => Some("max_tokens"),
            Self::Embeddings | Self::Messages | Self::CountTokens => None,
        }
    }
}

impl Head {
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
