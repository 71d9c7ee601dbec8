//! An answer in one piece: held, read once, redacted by splice.

use super::positions::{self, AnswerPositions, Role};
use super::{AnswerFault, BYTES_PER_TOKEN, Report, WHOLE_BYTES_MAX};
use crate::dlp::projection::{self, Projection, Value};
use crate::dlp::splice::{self, Edit};
use crate::dlp::{Judge, redact};
use std::borrow::Cow;

#[derive(Debug)]
pub(super) struct Whole {
    body: Vec<u8>,
}

impl Whole {
    pub(super) fn new() -> Self {
        Self { body: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), AnswerFault> {
        if self.body.len() + bytes.len() > WHOLE_BYTES_MAX {
            return Err(AnswerFault::TooLarge);
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        judge: &Judge<'_>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<(), AnswerFault> {
        let body = std::mem::take(&mut self.body);
        if body.trim_ascii().is_empty() {
            return Err(AnswerFault::Empty);
        }
        let projection = projection::project::<AnswerPositions>(&body)?;
        if projection.marks.iter().any(|mark| mark.role == Role::Error && mark.value == Value::Object) {
            return Err(AnswerFault::Reported);
        }
        let redacted = redact::redact::<AnswerPositions>(judge, &body, &projection)
            .map_err(|_| AnswerFault::ScanLimit)?;
        report.usage = positions::usage(&body, &projection.marks);
        report.counted_tokens = lane_bytes(&projection).div_ceil(BYTES_PER_TOKEN);
        let model = projection.marks.iter().find(|mark| mark.role == Role::Model);
        report.model = model.and_then(|mark| positions::string(&body, mark));
        report.findings = redacted.findings;
        report.is_blocked = redacted.blocked.is_some();
        let mut edits = redacted.edits;
        if report.is_blocked {
            edits = emptied(&projection);
        }
        if judge.redacts_output() {
            edits.extend(without_logprobs(&projection));
        }
        if edits.is_empty() {
            *out = body;
        } else {
            *out = splice::splice(&body, edits);
        }
        Ok(())
    }
}

fn lane_bytes(projection: &Projection<Role>) -> u64 {
    let lanes = projection.parts.iter().filter(|part| matches!(part.role, Role::Lane(_)));
    lanes.map(|part| (part.text.end - part.value) as u64).sum()
}

/// A blocked answer: every text empty, every choice ended by the filter.
fn emptied(projection: &Projection<Role>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for mark in &projection.marks {
        let with: &'static [u8] = match mark.role {
            Role::Lane(_) if mark.value == Value::String => br#""""#,
            Role::FinishReason => br#""content_filter""#,
            Role::ToolCalls | Role::Function => b"null",
            Role::Root
            | Role::Id
            | Role::Object
            | Role::Created
            | Role::Model
            | Role::Error
            | Role::Usage
            | Role::PromptTokens
            | Role::CompletionTokens
            | Role::Choices
            | Role::Choice
            | Role::ChoiceIndex
            | Role::LogProbs
            | Role::Message
            | Role::ToolCall
            | Role::ToolIndex
            | Role::Data
            | Role::DataItem
            | Role::Embedding
            | Role::Lane(_)
            | Role::Other => continue,
        };
        edits.push(Edit { raw: mark.raw.clone(), with: Cow::Borrowed(with) });
    }
    edits
}

/// Log probabilities spell the text out once more, token by token.
pub(super) fn without_logprobs(projection: &Projection<Role>) -> impl Iterator<Item = Edit> {
    let is_filled = |value: Value| matches!(value, Value::Object | Value::Array);
    let marks =
        projection.marks.iter().filter(move |mark| mark.role == Role::LogProbs && is_filled(mark.value));
    marks.map(|mark| Edit { raw: mark.raw.clone(), with: Cow::Borrowed(b"null") })
}
