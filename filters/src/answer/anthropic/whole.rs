//! An answer of Anthropic's in one piece: what of it may go on, and what is said in its place where policy ends it.

use super::positions::{AnswerPositions, CALLERS_TOOL, Field, Role, find, raw_string};
use super::usage::Told;
use crate::answer::lanes::Restoring;
use crate::answer::restore::{self, Restorer};
use crate::answer::values::string;
use crate::answer::{AnswerFault, BYTES_PER_TOKEN, Report};
use crate::dlp::projection::{self, Mark, Part, Projection, Value};
use crate::dlp::splice::{self, Edit};
use crate::dlp::{Judge, redact};
use crate::prompt::{Head, Surface};
use crate::quota::Usage;
use serde_json::json;
use std::borrow::Cow;

/// What a client may have of an answer.
pub(in crate::answer) fn read(
    judge: &Judge<'_>,
    head: &Head,
    body: Vec<u8>,
    report: &mut Report,
) -> Result<Vec<u8>, AnswerFault> {
    let projection = projection::project::<AnswerPositions>(&body)?;
    if find(&projection.marks, Role::Error).is_some_and(|mark| mark.value == Value::Object) {
        return Err(AnswerFault::Reported);
    }
    let redacted = redact::redact(judge, &body, &projection, |part| part.text.clone())
        .map_err(|_| AnswerFault::ScanLimit)?;
    report.usage = if head.has_output {
        let mut told = Told::default();
        told.take(&body, &projection.marks);
        told.usage(0)
    } else {
        // Counting tokens uses none.
        Some(Usage::default())
    };
    report.counted_tokens = lane_bytes(&projection).div_ceil(BYTES_PER_TOKEN);
    report.model = find(&projection.marks, Role::Model).and_then(|mark| string(&body, mark));
    report.findings = redacted.findings;
    report.is_blocked = redacted.blocked.is_some();
    if report.is_blocked {
        return Ok(blocked(head, report));
    }
    let mut edits = redacted.edits;
    let unsigned: Vec<Edit> = unsigned(&projection, &edits).collect();
    edits.extend(unsigned);
    let body = if edits.is_empty() { body } else { splice::splice(&body, edits) };
    Ok(restore::whole::<AnswerPositions>(judge, body, |body, projection, part| {
        if let Role::Lane(field) = part.role {
            return (field.restoring() == Restoring::Always).then(|| Restorer::new(field.syntax()));
        }
        // A string of the input is no JSON any more.
        (part.role == Role::Input && is_listed(judge, body, projection, part)).then(Restorer::of_a_string)
    })?)
}

/// Whether a part is what a tool of the caller's is called with that is listed.
fn is_listed(judge: &Judge<'_>, body: &[u8], projection: &Projection<Role>, part: &Part<Role>) -> bool {
    let mark = |role| {
        let is_its = |mark: &&Mark<Role>| mark.role == role && mark.indices[0] == part.indices[0];
        let mut marks = projection.marks.iter().filter(is_its);
        marks.next().filter(|_| marks.next().is_none())
    };
    let kind = mark(Role::BlockKind).and_then(|mark| raw_string(body, mark));
    let name = mark(Role::Tool).and_then(|mark| string(body, mark));
    kind == Some(CALLERS_TOOL) && name.is_some_and(|name| judge.restores_in_tool(&name))
}

/// Reasoning that was redacted is not what its provider signed: its signature goes, so that nobody sends it back as if
/// it were.
fn unsigned<'a>(projection: &'a Projection<Role>, edits: &'a [Edit]) -> impl Iterator<Item = Edit> + 'a {
    let is_redacted = |part: &Part<Role>| {
        let is_thinking = part.role == Role::Lane(Field::Thinking);
        is_thinking && edits.iter().any(|edit| part.raw.contains(&edit.raw.start))
    };
    let redacted = projection.parts.iter().filter(move |part| is_redacted(part));
    let signature = |part: &Part<Role>| {
        let is_its = |mark: &&Mark<Role>| {
            mark.role == Role::Signature && mark.indices == part.indices && mark.value == Value::String
        };
        projection.marks.iter().find(is_its)
    };
    redacted
        .filter_map(signature)
        .map(|mark| Edit { raw: mark.raw.start + 1..mark.raw.end - 1, with: Cow::Borrowed(b"") })
}

fn lane_bytes(projection: &Projection<Role>) -> u64 {
    let lanes = projection.parts.iter().filter(|part| matches!(part.role, Role::Lane(_)));
    lanes.map(|part| (part.text.end - part.value) as u64).sum()
}

/// A blocked answer is made anew: nothing that the provider wrote is in it, wherever it stood.
fn blocked(head: &Head, report: &Report) -> Vec<u8> {
    let usage = report.usage.unwrap_or_default();
    let answer = match head.surface {
        Surface::CountTokens => json!({"input_tokens": 0}),
        Surface::Messages | Surface::ChatCompletions | Surface::Completions | Surface::Embeddings => json!({
            "id": "msg_blocked", "type": "message", "role": "assistant", "model": head.model, "content": [],
            "stop_reason": "refusal", "stop_sequence": null,
            "usage": {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens},
        }),
    };
    answer.to_string().into_bytes()
}
