//! What do the members of an answer mean? The position table of OpenAI's answers, whole and streamed.

use crate::answer::lanes::Restoring;
use crate::answer::values::{TOKENS_MAX, number};
use crate::dlp::lane::Syntax;
use crate::dlp::projection::{Mark, Meaning, Positions};
use crate::quota::Usage;

/// What members of an answer mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Root,
    Id,
    Object,
    Created,
    Model,
    Error,
    Usage,
    PromptTokens,
    PromptDetails,
    CachedTokens,
    CompletionTokens,
    Choices,
    Choice,
    ChoiceIndex,
    FinishReason,
    LogProbs,
    Message,
    ToolCalls,
    ToolCall,
    ToolIndex,
    /// `function` of a tool call; an `index` in it is nobody's.
    CallFunction,
    Function,
    Data,
    DataItem,
    Embedding,
    Lane(Field),
    /// Inside a choice, and not in the table.
    Aside,
    /// Inside a choice, an id or a name.
    Named,
    /// The name of a tool whose arguments are in this field.
    Tool(Field),
    Other,
}

impl Meaning for Role {
    const OTHER: Self = Self::Other;

    fn skips_numbers(self) -> bool {
        self == Self::Embedding
    }

    fn holds_json(self) -> bool {
        matches!(self, Self::Lane(field) if field.syntax() == Syntax::Json)
    }
}

/// The text fields of a choice. Each is a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Content,
    Refusal,
    Reasoning,
    ReasoningContent,
    /// `text` of legacy completions.
    Text,
    /// Arguments of a tool call.
    Arguments,
    /// Arguments of the older `function_call`.
    FunctionArguments,
    /// A text that the table does not know, told apart by a hash of its path.
    Unknown(u64),
}

impl Field {
    pub(super) fn syntax(self) -> Syntax {
        match self {
            Self::Content
            | Self::Refusal
            | Self::Reasoning
            | Self::ReasoningContent
            | Self::Text
            | Self::Unknown(_) => Syntax::Plain,
            Self::Arguments | Self::FunctionArguments => Syntax::Json,
        }
    }

    /// Whether values are put back into it.
    pub(super) fn restoring(self) -> Restoring {
        match self {
            Self::Content | Self::Refusal | Self::Text => Restoring::Always,
            Self::Arguments | Self::FunctionArguments => Restoring::IfListed,
            Self::Reasoning | Self::ReasoningContent | Self::Unknown(_) => Restoring::Never,
        }
    }
}

const MEMBERS: &[(Role, &str, Role)] = &[
    (Role::Root, "id", Role::Id),
    (Role::Root, "object", Role::Object),
    (Role::Root, "created", Role::Created),
    (Role::Root, "model", Role::Model),
    (Role::Root, "error", Role::Error),
    (Role::Root, "usage", Role::Usage),
    (Role::Usage, "prompt_tokens", Role::PromptTokens),
    (Role::Usage, "prompt_tokens_details", Role::PromptDetails),
    (Role::PromptDetails, "cached_tokens", Role::CachedTokens),
    (Role::Usage, "completion_tokens", Role::CompletionTokens),
    (Role::Root, "choices", Role::Choices),
    (Role::Choice, "index", Role::ChoiceIndex),
    (Role::Choice, "finish_reason", Role::FinishReason),
    (Role::Choice, "logprobs", Role::LogProbs),
    (Role::Choice, "text", Role::Lane(Field::Text)),
    (Role::Choice, "message", Role::Message),
    (Role::Choice, "delta", Role::Message),
    (Role::Message, "content", Role::Lane(Field::Content)),
    (Role::Message, "refusal", Role::Lane(Field::Refusal)),
    (Role::Message, "reasoning", Role::Lane(Field::Reasoning)),
    (Role::Message, "reasoning_content", Role::Lane(Field::ReasoningContent)),
    (Role::Message, "tool_calls", Role::ToolCalls),
    (Role::Message, "function_call", Role::Function),
    (Role::ToolCall, "index", Role::ToolIndex),
    (Role::ToolCall, "function", Role::CallFunction),
    (Role::ToolCall, "arguments", Role::Lane(Field::Arguments)),
    (Role::CallFunction, "arguments", Role::Lane(Field::Arguments)),
    (Role::Function, "arguments", Role::Lane(Field::FunctionArguments)),
    (Role::CallFunction, "name", Role::Tool(Field::Arguments)),
    (Role::Function, "name", Role::Tool(Field::FunctionArguments)),
    (Role::Root, "data", Role::Data),
    (Role::DataItem, "embedding", Role::Embedding),
];

/// Names and kinds inside a choice: whole in every event that has them, so they are never held back for more. Clients
/// join the pieces of all but `type`; a second, different piece is refused.
const NAMES: &[&str] = &[
    "id",
    "name",
    "role",
    "format",
    "object",
    "status",
    "native_finish_reason",
    "stop_reason",
    "matched_stop",
];

/// The table.
#[derive(Debug)]
pub(super) struct AnswerPositions;

impl Positions for AnswerPositions {
    type Role = Role;

    fn member(parent: Role, key: &[u8]) -> Role {
        if parent == Role::Other {
            return Role::Other;
        }
        let row = MEMBERS.iter().find(|(from, name, _)| *from == parent && name.as_bytes() == key);
        if let Some((_, _, role)) = row {
            return *role;
        }
        let is_choice = matches!(
            parent,
            Role::Choice
                | Role::Message
                | Role::ToolCall
                | Role::CallFunction
                | Role::Function
                | Role::Aside
                | Role::Lane(_)
        );
        match is_choice {
            true if NAMES.iter().any(|name| name.as_bytes() == key) => Role::Named,
            true if key != b"type" => Role::Aside,
            true | false => Role::Other,
        }
    }

    fn element(parent: Role) -> Role {
        match parent {
            Role::Choices => Role::Choice,
            Role::ToolCalls => Role::ToolCall,
            Role::Data => Role::DataItem,
            // The numbers of a vector are no text.
            Role::Embedding => Role::Embedding,
            // A text may be a list of parts; each streams by itself.
            Role::Aside | Role::Lane(_) => Role::Aside,
            Role::Root
            | Role::Id
            | Role::Object
            | Role::Created
            | Role::Model
            | Role::Error
            | Role::Usage
            | Role::PromptTokens
            | Role::PromptDetails
            | Role::CachedTokens
            | Role::CompletionTokens
            | Role::Choice
            | Role::ChoiceIndex
            | Role::FinishReason
            | Role::LogProbs
            | Role::Message
            | Role::ToolCall
            | Role::ToolIndex
            | Role::CallFunction
            | Role::Function
            | Role::DataItem
            | Role::Named
            | Role::Tool(_)
            | Role::Other => Role::Other,
        }
    }
}

/// The usage that an answer states, if it does.
pub(super) fn usage(body: &[u8], marks: &[Mark<Role>]) -> Option<Usage> {
    let tokens = |role| marks.iter().find(|mark| mark.role == role).and_then(|mark| number(body, mark));
    let prompt_tokens = tokens(Role::PromptTokens)?;
    let completion_tokens = tokens(Role::CompletionTokens).unwrap_or(0);
    let is_credible = prompt_tokens.max(completion_tokens) <= TOKENS_MAX;
    // A part is not larger than its whole, whoever says so.
    let cached_tokens = tokens(Role::CachedTokens).unwrap_or(0).min(prompt_tokens);
    is_credible.then_some(Usage { prompt_tokens, cached_tokens, cache_write_tokens: 0, completion_tokens })
}
