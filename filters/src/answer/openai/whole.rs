//! An answer of OpenAI's in one piece: what of it may go on, and what is said in its place where policy ends it.

use super::positions::{self, AnswerPositions, Field, Role};
use crate::answer::lanes::Restoring;
use crate::answer::restore::{self, Restorer};
use crate::answer::values::string;
use crate::answer::{AnswerFault, BYTES_PER_TOKEN, Report};
use crate::dlp::projection::{self, Part, Projection, Value};
use crate::dlp::splice::{self, Edit};
use crate::dlp::{Judge, redact};
use crate::prompt::{Head, Surface};
use serde_json::json;
use std::borrow::Cow;

/// An embedding in base64 is at least this long: 64 dimensions of four bytes.
const VECTOR_BYTES_MIN: usize = 340;

/// What a client may have of an answer.
pub(in crate::answer) fn read(
    judge: &Judge<'_>,
    head: &Head,
    body: Vec<u8>,
    report: &mut Report,
) -> Result<Vec<u8>, AnswerFault> {
    let projection = projection::project::<AnswerPositions>(&body)?;
    if projection.marks.iter().any(|mark| mark.role == Role::Error && mark.value == Value::Object) {
        return Err(AnswerFault::Reported);
    }
    let is_embeddings = head.surface == Surface::Embeddings;
    let reach = |part: &Part<Role>| {
        let is_exempt = is_embeddings && is_vector(&projection, part);
        if is_exempt { part.text.start..part.text.start } else { part.text.clone() }
    };
    let redacted = redact::redact(judge, &body, &projection, reach).map_err(|_| AnswerFault::ScanLimit)?;
    report.usage = positions::usage(&body, &projection.marks);
    report.counted_tokens = lane_bytes(&projection).div_ceil(BYTES_PER_TOKEN);
    let model = projection.marks.iter().find(|mark| mark.role == Role::Model);
    report.model = model.and_then(|mark| string(&body, mark));
    report.findings = redacted.findings;
    report.is_blocked = redacted.blocked.is_some();
    if report.is_blocked {
        return Ok(blocked(head, report));
    }
    let mut edits = redacted.edits;
    if judge.redacts_output() {
        edits.extend(without_logprobs(&projection));
    }
    let body = if edits.is_empty() { body } else { splice::splice(&body, edits) };
    Ok(restore::whole::<AnswerPositions>(judge, body, |_, projection, part| {
        let Role::Lane(field) = part.role else { return None };
        let is_meant = match field.restoring() {
            Restoring::Always => true,
            Restoring::IfListed => is_listed(judge, projection, part, field),
            Restoring::Never => false,
        };
        is_meant.then(|| Restorer::new(field.syntax()))
    })?)
}

/// Whether the tool that is called with a part is listed, under every name that it goes by.
fn is_listed(judge: &Judge<'_>, projection: &Projection<Role>, part: &Part<Role>, field: Field) -> bool {
    let is_its = |other: &&Part<Role>| other.role == Role::Tool(field) && other.indices == part.indices;
    let mut names = projection.parts.iter().filter(is_its).peekable();
    names.peek().is_some() && names.all(|name| judge.restores_in_tool(&projection.value(name)))
}

/// Whether a part is a long text that can be nothing but the numbers of an embedding in base64.
fn is_vector(projection: &Projection<Role>, part: &Part<Role>) -> bool {
    let text = projection.text.get(part.value..part.text.end).unwrap_or_default();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    part.role == Role::Embedding && text.len() >= VECTOR_BYTES_MIN && text.iter().all(is_base64)
}

fn lane_bytes(projection: &Projection<Role>) -> u64 {
    let lanes = projection.parts.iter().filter(|part| matches!(part.role, Role::Lane(_)));
    lanes.map(|part| (part.text.end - part.value) as u64).sum()
}

/// A blocked answer is made anew: nothing that the provider wrote is in it, wherever it stood.
fn blocked(head: &Head, report: &Report) -> Vec<u8> {
    let usage = report.usage.unwrap_or_default();
    let usage = json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
    });
    let message = json!({"role": "assistant", "content": "", "refusal": null});
    let model = &head.model;
    let answer = match head.surface {
        Surface::ChatCompletions => json!({
            "id": "chatcmpl-blocked", "object": "chat.completion", "created": 0, "model": model, "usage": usage,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "content_filter"}],
        }),
        Surface::Completions => json!({
            "id": "cmpl-blocked", "object": "text_completion", "created": 0, "model": model, "usage": usage,
            "choices": [{"index": 0, "text": "", "logprobs": null, "finish_reason": "content_filter"}],
        }),
        Surface::Embeddings | Surface::Messages | Surface::CountTokens => {
            json!({"object": "list", "data": [], "model": model, "usage": usage})
        }
    };
    answer.to_string().into_bytes()
}

/// Log probabilities spell the text out once more, token by token.
pub(super) fn without_logprobs(projection: &Projection<Role>) -> impl Iterator<Item = Edit> {
    let is_filled = |value: Value| matches!(value, Value::Object | Value::Array);
    let marks =
        projection.marks.iter().filter(move |mark| mark.role == Role::LogProbs && is_filled(mark.value));
    marks.map(|mark| Edit { raw: mark.raw.clone(), with: Cow::Borrowed(b"null") })
}
