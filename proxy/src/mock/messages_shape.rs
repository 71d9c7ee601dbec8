//! How are messages spelt?
//!
//! The JSON of Anthropic's messages and of the events of their streams, as types. Needs values, proves nothing,
//! decides nothing: `messages` fills them.

use serde::Serialize;

use super::anthropic::{DeltaUsage, Usage};
use super::text::Text;

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub model: &'a str,
    pub id: &'a str,
    #[serde(rename = "type")]
    pub tag: &'static str,
    pub role: &'static str,
    pub content: &'a [Block<'a>],
    pub stop_reason: Option<&'a str>,
    pub stop_sequence: Option<()>,
    /// Only beside the stop reason `refusal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_details: Option<RefusalDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock_extra: Option<&'a Text<'a>>,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct RefusalDetails {
    #[serde(rename = "type")]
    pub tag: &'static str,
    pub category: Option<()>,
    pub explanation: Option<()>,
}

/// A block of content; in a stream, a block at its beginning.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Thinking {
        thinking: &'a Text<'a>,
        signature: &'a str,
    },
    Text {
        text: &'a Text<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mock_extra: Option<&'a Text<'a>>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Input<'a>,
    },
}

/// The arguments of a tool call: none yet when a stream's block begins.
#[derive(Serialize)]
pub(super) struct Input<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<&'a Text<'a>>,
}

/// An event of a stream. Its name is its `type`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    MessageStart {
        message: Message<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block<'a>,
    },
    Ping {},
    ContentBlockDelta {
        index: usize,
        delta: Delta<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: Stop<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<DeltaUsage>,
    },
    MessageStop {},
    /// One that no reference knows: callers must bear new ones.
    #[serde(rename = "mock_event")]
    Unknown {
        text: &'a Text<'a>,
    },
}

impl Event<'_> {
    /// The name on the event's first line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Event::MessageStart { .. } => "message_start",
            Event::ContentBlockStart { .. } => "content_block_start",
            Event::Ping {} => "ping",
            Event::ContentBlockDelta { .. } => "content_block_delta",
            Event::ContentBlockStop { .. } => "content_block_stop",
            Event::MessageDelta { .. } => "message_delta",
            Event::MessageStop {} => "message_stop",
            Event::Unknown { .. } => "mock_event",
        }
    }
}

/// What one event adds to its block.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        mock_extra: Option<&'a str>,
    },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

/// Why a stream stops.
#[derive(Serialize)]
pub(super) struct Stop<'a> {
    #[serde(rename = "stop_reason")]
    pub reason: &'a str,
    #[serde(rename = "stop_sequence")]
    pub sequence: Option<()>,
    #[serde(rename = "stop_details", skip_serializing_if = "Option::is_none")]
    pub details: Option<RefusalDetails>,
}

/// What `count_tokens` answers.
#[derive(Serialize)]
pub(super) struct Count {
    pub input_tokens: u64,
}
