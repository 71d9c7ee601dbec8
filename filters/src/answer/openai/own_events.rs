//! How does an event of our own look? Like the provider's: what a lane held back goes out in the same envelope, and an
//! answer that policy ends ends as the provider would end it.
//!
//! Needs the first event of the stream, and for texts that the table does not know the event that they came in. It
//! decides nothing.

use super::positions::{Field, Role};
use crate::answer::AnswerFault;
use crate::answer::events::write_event;
use crate::answer::lanes::{LaneName, Restoring};
use crate::dlp::lane::Syntax;
use crate::dlp::projection::Mark;
use crate::dlp::splice::{self, Edit};
use crate::json;
use crate::prompt::Surface;
use std::borrow::Cow;
use std::ops::Range;

/// Longer values of the envelope are left out of it.
const ENVELOPE_VALUE_BYTES_MAX: usize = 256;

/// An event that holds texts the table does not know is kept while they are held; larger ones are refused.
const MOULD_BYTES_MAX: usize = 16 * 1024;
/// And so many of them.
const MOULDS_MAX: usize = 32;

/// What is needed to write events of our own.
pub(super) struct OwnEvents {
    surface: Surface,
    /// `{"id":…,"object":…,"created":…,"model":…,"choices":[`, from the first event.
    envelope: Vec<u8>,
    /// For lanes that the table does not know and that hold something: the event that they came in, without texts,
    /// and where theirs belongs.
    moulds: Vec<(LaneId, Vec<u8>, usize)>,
}

/// Which text of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneId {
    pub(super) choice: u32,
    pub(super) field: Field,
    pub(super) tool: u32,
}

impl LaneName for LaneId {
    fn syntax(self) -> Syntax {
        self.field.syntax()
    }

    fn restoring(self) -> Restoring {
        self.field.restoring()
    }

    fn place(self) -> String {
        let choice = self.choice;
        match self.field {
            Field::Content => format!("choices[{choice}].message.content"),
            Field::Refusal => format!("choices[{choice}].message.refusal"),
            Field::Reasoning => format!("choices[{choice}].message.reasoning"),
            Field::ReasoningContent => format!("choices[{choice}].message.reasoning_content"),
            Field::Text => format!("choices[{choice}].text"),
            Field::Arguments => {
                format!("choices[{choice}].message.tool_calls[{}].function.arguments", self.tool)
            }
            Field::FunctionArguments => format!("choices[{choice}].message.function_call.arguments"),
            Field::Unknown(_) => format!("choices[{choice}].message.*"),
        }
    }
}

impl OwnEvents {
    pub(super) fn new(surface: Surface) -> Self {
        Self { surface, envelope: Vec::new(), moulds: Vec::new() }
    }

    /// The last events of an answer that policy ends, as OpenAI ends one that its own filter stops.
    pub(super) fn write_end(&self, choice: u32, out: &mut Vec<u8>) {
        let empty = if self.surface == Surface::Completions { r#""text":"""# } else { r#""delta":{}"# };
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.envelope);
        let end =
            format!(r#"{{"index":{choice},{empty},"logprobs":null,"finish_reason":"content_filter"}}]}}"#);
        out.extend_from_slice(end.as_bytes());
        out.extend_from_slice(b"\n\ndata: [DONE]\n\n");
    }

    /// An event of our own with what a lane released.
    pub(super) fn write_lane(&self, id: LaneId, released: &str, out: &mut Vec<u8>) {
        if released.is_empty() {
            return;
        }
        if let Some((_, mould, at)) = self.moulds.iter().find(|(known, ..)| *known == id) {
            let mut with = Vec::with_capacity(released.len() + 8);
            json::escape(released, &mut with);
            write_event(None, mould, vec![Edit { raw: *at..*at, with: Cow::Owned(with) }], out);
            return;
        }
        let member = match id.field {
            Field::Content => r#""delta":{"content":""#.to_owned(),
            Field::Refusal => r#""delta":{"refusal":""#.to_owned(),
            Field::Reasoning => r#""delta":{"reasoning":""#.to_owned(),
            Field::ReasoningContent => r#""delta":{"reasoning_content":""#.to_owned(),
            Field::Text => r#""text":""#.to_owned(),
            Field::Arguments => {
                format!(r#""delta":{{"tool_calls":[{{"index":{},"function":{{"arguments":""#, id.tool)
            }
            Field::FunctionArguments => r#""delta":{"function_call":{"arguments":""#.to_owned(),
            // Without its mould there is no place for it.
            Field::Unknown(_) => return,
        };
        let close = match id.field {
            Field::Content | Field::Refusal | Field::Reasoning | Field::ReasoningContent => r#""}"#,
            Field::Text | Field::Unknown(_) => r#"""#,
            Field::Arguments => r#""}}]}"#,
            Field::FunctionArguments => r#""}}"#,
        };
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.envelope);
        out.extend_from_slice(format!(r#"{{"index":{},"#, id.choice).as_bytes());
        out.extend_from_slice(member.as_bytes());
        json::escape(released, out);
        out.extend_from_slice(close.as_bytes());
        out.extend_from_slice(br#","logprobs":null,"finish_reason":null}]}"#);
        out.extend_from_slice(b"\n\n");
    }

    /// What is redacted in an event stays out of the events of our own.
    pub(super) fn remember(&mut self, data: &[u8], marks: &[Mark<Role>], is_changed: bool) {
        if !self.envelope.is_empty() {
            return;
        }
        self.envelope.push(b'{');
        if is_changed {
            self.envelope.extend_from_slice(br#""id":"chatcmpl-redacted","object":"chat.completion.chunk","#);
            self.envelope.extend_from_slice(br#""created":0,"model":"redacted","choices":["#);
            return;
        }
        for (role, name) in
            [(Role::Id, "id"), (Role::Object, "object"), (Role::Created, "created"), (Role::Model, "model")]
        {
            let mark = marks.iter().find(|mark| mark.role == role);
            let is_plain = |raw: &&[u8]| raw.len() <= ENVELOPE_VALUE_BYTES_MAX;
            if let Some(raw) = mark.and_then(|mark| data.get(mark.raw.clone())).filter(is_plain) {
                self.envelope.extend_from_slice(format!("\"{name}\":").as_bytes());
                self.envelope.extend_from_slice(raw);
                self.envelope.push(b',');
            }
        }
        self.envelope.extend_from_slice(br#""choices":["#);
    }

    /// Forgets the event that a text came in before.
    pub(super) fn forget_mould(&mut self, id: LaneId) {
        self.moulds.retain(|(known, ..)| *known != id);
    }

    /// Keeps the event that a text came in, without what its edits replace.
    pub(super) fn remember_mould(
        &mut self,
        id: LaneId,
        data: &[u8],
        edits: Vec<Edit>,
        text: &Range<usize>,
    ) -> Result<(), AnswerFault> {
        if data.len() > MOULD_BYTES_MAX || self.moulds.len() >= MOULDS_MAX {
            return Err(AnswerFault::TooLarge);
        }
        let before = edits.iter().filter(|edit| edit.raw.end <= text.start).cloned().collect();
        let place = splice::splice(data.get(..text.start).unwrap_or_default(), before).len();
        self.moulds.push((id, splice::splice(data, edits), place));
        Ok(())
    }
}
