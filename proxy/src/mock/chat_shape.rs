//! How are chat completions spelt?
//!
//! The JSON of OpenAI's chat completions and their chunks, as types. Needs values, proves nothing, decides
//! nothing: `chat` fills them.

use serde::Serialize;

use super::openai::{StreamUsage, Usage};
use super::text::Text;

#[derive(Serialize)]
pub(super) struct Completion<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    pub service_tier: &'static str,
    pub system_fingerprint: &'static str,
    /// A member that no reference knows, only when asked for; so in other types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock_extra: Option<&'a Text<'a>>,
}

#[derive(Serialize)]
pub(super) struct Choice<'a> {
    pub index: usize,
    pub message: Message<'a>,
    pub logprobs: Option<Logprobs<'a>>,
    pub finish_reason: &'a str,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub role: &'static str,
    pub content: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a Text<'a>>,
    pub refusal: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[ToolCall<'a>; 1]>,
    pub annotations: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock_extra: Option<&'a Text<'a>>,
}

#[derive(Serialize)]
pub(super) struct ToolCall<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: Call<'a>,
}

#[derive(Serialize)]
pub(super) struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}

#[derive(Serialize)]
pub(super) struct Chunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub service_tier: &'static str,
    pub system_fingerprint: &'static str,
    pub choices: &'a [ChunkChoice<'a>],
    /// Absent unless asked for; then null in every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<StreamUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock_extra: Option<&'a Text<'a>>,
}

#[derive(Serialize)]
pub(super) struct ChunkChoice<'a> {
    pub index: usize,
    pub delta: Delta<'a>,
    pub logprobs: Option<Logprobs<'a>>,
    pub finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock_extra: Option<&'a str>,
}

/// What one chunk adds.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Delta<'a> {
    Opening {
        role: &'static str,
        content: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tool_calls: Option<[ToolCallOpening<'a>; 1]>,
        refusal: Option<()>,
    },
    Content {
        content: &'a str,
    },
    Refusal {
        refusal: &'a str,
    },
    Reasoning {
        reasoning_content: &'a str,
    },
    Arguments {
        tool_calls: [ToolCallDelta<'a>; 1],
    },
    Closing {},
}

#[derive(Serialize)]
pub(super) struct ToolCallOpening<'a> {
    pub index: usize,
    #[serde(flatten)]
    pub call: ToolCall<'a>,
}

#[derive(Serialize)]
pub(super) struct ToolCallDelta<'a> {
    pub index: usize,
    pub function: Call<'a>,
}

#[derive(Serialize)]
pub(super) struct Logprobs<'a> {
    pub content: Option<Vec<Probability<'a>>>,
    pub refusal: Option<Vec<Probability<'a>>>,
}

#[derive(Serialize)]
pub(super) struct Probability<'a> {
    pub token: &'a str,
    pub logprob: f64,
    pub bytes: &'a [u8],
    pub top_logprobs: [(); 0],
}
