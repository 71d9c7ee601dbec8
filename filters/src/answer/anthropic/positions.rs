//! What do the members of an answer mean? The position table of Anthropic's answers, whole and streamed.

use crate::answer::lanes::Restoring;
use crate::dlp::lane::Syntax;
use crate::dlp::projection::{Mark, Meaning, Positions, Value};

/// What members of an answer mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Root,
    /// What kind of event this is.
    Kind,
    Error,
    Model,
    Usage,
    InputTokens,
    CacheReadTokens,
    CacheWriteTokens,
    OutputTokens,
    Message,
    Content,
    Block,
    Index,
    Delta,
    DeltaKind,
    Lane(Field),
    /// What kind of block this is.
    BlockKind,
    /// The name of a tool.
    Tool,
    /// What a tool is called with, in an answer in one piece.
    Input,
    /// What a provider signs its reasoning with.
    Signature,
    /// Inside a delta, and not in the table.
    Aside,
    Other,
}

/// The texts of a block. Each is a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Text,
    Thinking,
    /// The input of a tool, in pieces of its JSON.
    PartialJson,
}

impl Field {
    pub(super) fn syntax(self) -> Syntax {
        match self {
            Self::Text | Self::Thinking => Syntax::Plain,
            Self::PartialJson => Syntax::Json,
        }
    }

    /// Whether values are put back into it.
    pub(super) fn restoring(self) -> Restoring {
        match self {
            Self::Text => Restoring::Always,
            Self::PartialJson => Restoring::IfListed,
            Self::Thinking => Restoring::Never,
        }
    }

    /// The member that carries it, and the kind of delta that does.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text", "text_delta"),
            Self::Thinking => ("thinking", "thinking_delta"),
            Self::PartialJson => ("partial_json", "input_json_delta"),
        }
    }
}

impl Meaning for Role {
    const OTHER: Self = Self::Other;

    fn skips_numbers(self) -> bool {
        false
    }

    fn holds_json(self) -> bool {
        matches!(self, Self::Lane(field) if field.syntax() == Syntax::Json)
    }
}

const MEMBERS: &[(Role, &str, Role)] = &[
    (Role::Root, "type", Role::Kind),
    (Role::Root, "error", Role::Error),
    (Role::Root, "model", Role::Model),
    (Role::Root, "usage", Role::Usage),
    (Role::Root, "content", Role::Content),
    (Role::Root, "message", Role::Message),
    (Role::Message, "model", Role::Model),
    (Role::Message, "usage", Role::Usage),
    (Role::Message, "content", Role::Content),
    (Role::Usage, "input_tokens", Role::InputTokens),
    (Role::Usage, "cache_read_input_tokens", Role::CacheReadTokens),
    (Role::Usage, "cache_creation_input_tokens", Role::CacheWriteTokens),
    (Role::Usage, "output_tokens", Role::OutputTokens),
    (Role::Root, "index", Role::Index),
    (Role::Root, "content_block", Role::Block),
    (Role::Block, "text", Role::Lane(Field::Text)),
    (Role::Block, "thinking", Role::Lane(Field::Thinking)),
    (Role::Block, "signature", Role::Signature),
    (Role::Block, "type", Role::BlockKind),
    (Role::Block, "name", Role::Tool),
    (Role::Block, "input", Role::Input),
    (Role::Root, "delta", Role::Delta),
    (Role::Delta, "type", Role::DeltaKind),
    (Role::Delta, "text", Role::Lane(Field::Text)),
    (Role::Delta, "thinking", Role::Lane(Field::Thinking)),
    (Role::Delta, "partial_json", Role::Lane(Field::PartialJson)),
    (Role::Delta, "signature", Role::Signature),
    // Each citation comes in one piece.
    (Role::Delta, "citation", Role::Other),
];

/// A block that calls a tool of the caller's. Others are run by the provider, and were when they are told of.
pub(super) const CALLERS_TOOL: &[u8] = b"tool_use";

/// The table.
#[derive(Debug)]
pub(super) struct AnswerPositions;

impl Positions for AnswerPositions {
    type Role = Role;

    fn member(parent: Role, key: &[u8]) -> Role {
        let row = MEMBERS.iter().find(|(from, name, _)| *from == parent && name.as_bytes() == key);
        match row {
            Some((_, _, role)) => *role,
            None if parent == Role::Input => Role::Input,
            None if matches!(parent, Role::Delta | Role::Aside | Role::Lane(_)) => Role::Aside,
            None => Role::Other,
        }
    }

    fn element(parent: Role) -> Role {
        match parent {
            Role::Content => Role::Block,
            Role::Aside | Role::Lane(_) => Role::Aside,
            Role::Input => Role::Input,
            Role::Root
            | Role::Kind
            | Role::Error
            | Role::Model
            | Role::Usage
            | Role::InputTokens
            | Role::CacheReadTokens
            | Role::CacheWriteTokens
            | Role::OutputTokens
            | Role::Message
            | Role::Block
            | Role::Index
            | Role::Delta
            | Role::DeltaKind
            | Role::Signature
            | Role::BlockKind
            | Role::Tool
            | Role::Other => Role::Other,
        }
    }
}

/// The first value with a role.
pub(super) fn find(marks: &[Mark<Role>], role: Role) -> Option<&Mark<Role>> {
    marks.iter().find(|mark| mark.role == role)
}

/// The raw text of a string, without its quotes.
pub(super) fn raw_string<'a>(data: &'a [u8], mark: &Mark<Role>) -> Option<&'a [u8]> {
    if mark.value != Value::String {
        return None;
    }
    data.get(mark.raw.start + 1..mark.raw.end - 1)
}
