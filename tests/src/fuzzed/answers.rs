//! What must hold for whatever a provider answers: in one piece, as a stream, or as an error.

use super::callers::{
    CREDENTIAL, is_beside, is_explained, labelled, masked, picked, widened, without_labels,
};
use bytes::Bytes;
use palisade_filters::answer::{Answer, AnswerFault, Flow, failure as failures};
use palisade_filters::dlp::lane::Action;
use palisade_filters::{self as filters, Cleared, Memory, Surface, Visitor};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

const STREAMS: [(Surface, &str); 4] = [
    (Surface::ChatCompletions, r#"{"model":"m","stream":true,"n":3,"messages":[]}"#),
    (Surface::Messages, r#"{"model":"m","stream":true,"max_tokens":9,"messages":[]}"#),
    (
        Surface::ChatCompletions,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
    ),
    (Surface::Completions, r#"{"model":"m","stream":true,"prompt":"p"}"#),
];

const WHOLES: [(Surface, &str); 5] = [
    (Surface::ChatCompletions, r#"{"model":"m","messages":[]}"#),
    (Surface::Messages, r#"{"model":"m","max_tokens":9,"messages":[]}"#),
    (Surface::Completions, r#"{"model":"m","prompt":"p"}"#),
    (Surface::Embeddings, r#"{"model":"m","input":"i"}"#),
    (Surface::CountTokens, r#"{"model":"m","messages":[]}"#),
];

static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory::new(*b"no secret at all", 1 << 16));
static STREAM_PROMPTS: LazyLock<Vec<Cleared>> = LazyLock::new(|| STREAMS.map(cleared).into());
static WHOLE_PROMPTS: LazyLock<Vec<Cleared>> = LazyLock::new(|| WHOLES.map(cleared).into());

fn cleared((surface, body): (Surface, &str)) -> Cleared {
    let prompt = filters::read(labelled(), surface, Bytes::from(body.to_owned())).unwrap();
    filters::clear(labelled(), &MEMORY, prompt).unwrap()
}

/// What came of an answer. Two of them are the same, however the answer was cut.
#[derive(Debug, PartialEq)]
struct Told {
    out: String,
    fault: Option<AnswerFault>,
    findings: Vec<(Arc<str>, Action)>,
    counted: String,
    is_blocked: bool,
}

impl Told {
    fn has_redacted(&self) -> bool {
        self.findings.iter().any(|(_, found)| matches!(found, Action::Redact(_)))
    }

    fn is_clean(&self) -> bool {
        !self.has_redacted() && !self.is_blocked
    }
}

/// Nothing in what left is redacted or blocked once more. But what is shorter than the value in whose place it stands
/// brings words nearer to what stands behind it, and a number that was none may be one beside them: where as much
/// stands in the place of values as they were, there is nothing, or it stands beside one and ends at it.
fn assert_clean(visitor: &Visitor, cleared: &Cleared, media_type: &str, said: &[u8], whole: &Told) {
    let sent = without_labels(&whole.out);
    let again = pushed(visitor, cleared, media_type, &[sent.as_bytes()]);
    assert_eq!(again.fault, None, "what ended well ends well again");
    if again.is_clean() || is_explained(&sent, &again.out) {
        return;
    }
    let kept = pushed(masked(), cleared, media_type, &[said]);
    let kept = widened(&String::from_utf8_lossy(said), &kept.out);
    let kept_again = pushed(masked(), cleared, media_type, &[kept.as_bytes()]);
    assert!(
        kept_again.is_clean() || !kept_again.is_blocked && is_beside(&kept, &kept_again.out),
        "it has more to redact: {again:?} of {whole:?}, and {kept_again:?} of {kept:?}"
    );
}

/// A provider's stream: in one piece and in pieces it comes to the same, text, end, fault and report. What left of one
/// that ended well ends well again, and nothing in it is redacted or blocked.
pub(crate) fn events(data: &[u8]) {
    let [kind, size, stream @ ..] = data else { return };
    let (visitor, which) = picked(*kind, STREAMS.len());
    let cleared = &STREAM_PROMPTS[which];
    let media_type = "text/event-stream";
    let whole = pushed(visitor, cleared, media_type, &[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(pushed(visitor, cleared, media_type, &pieces), whole, "in pieces of {size}");
    if whole.fault.is_none() {
        assert_clean(visitor, cleared, media_type, stream, &whole);
    }
}

/// A provider's answer in one piece: what leaves is JSON with nothing left to redact, and without a redaction the
/// provider's own bytes, but for the pieces of tokens, which no rule can read.
pub(crate) fn answer(data: &[u8]) {
    let [kind, size, body @ ..] = data else { return };
    let (visitor, which) = picked(*kind, WHOLES.len());
    let cleared = &WHOLE_PROMPTS[which];
    let media_type = "application/json";
    let whole = pushed(visitor, cleared, media_type, &[body]);
    let pieces: Vec<&[u8]> = body.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(pushed(visitor, cleared, media_type, &pieces), whole, "in pieces of {size}");
    if whole.fault.is_some() {
        return assert_eq!(whole.out, "", "nothing leaves of what cannot be read");
    }
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&whole.out).is_ok(), "what leaves is JSON");
    let is_changed = whole.has_redacted() || whole.is_blocked;
    if !is_changed && whole.out.as_bytes() != body {
        assert_eq!(unscanned(whole.out.as_bytes()), unscanned(body), "nothing else goes");
    }
    assert_clean(visitor, cleared, media_type, body, &whole);
}

/// A body without the pieces of its tokens.
fn unscanned(body: &[u8]) -> Option<Value> {
    fn forget(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(forget),
            Value::Object(members) => {
                members.remove("logprobs");
                members.values_mut().for_each(forget);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut body = serde_json::from_slice(body).ok()?;
    forget(&mut body);
    Some(body)
}

fn pushed(visitor: &Visitor, cleared: &Cleared, media_type: &str, chunks: &[&[u8]]) -> Told {
    let mut out = Vec::new();
    let mut answer = Answer::begin(visitor, cleared, Some(media_type)).unwrap();
    let mut push = || {
        for chunk in chunks {
            if answer.push(chunk, &mut out)? == Flow::Ended {
                return Ok(());
            }
        }
        answer.finish(&mut out)
    };
    let fault = push().err();
    let report = answer.into_report();
    let findings = report.findings.iter().map(|found| (found.detector.label.clone(), found.action)).collect();
    let counted = format!("{:?} {} {:?}", report.usage, report.counted_tokens, report.model);
    let out = String::from_utf8(out).expect("what leaves is UTF-8");
    Told { out, fault, findings, counted, is_blocked: report.is_blocked }
}

/// A provider's error: no credential is told, wherever it stands, and what is told has nothing more to mask.
pub(crate) fn failure(data: &[u8]) {
    let visitor = labelled();
    let told = failures::read(visitor, data);
    assert!(told.message.as_ref().is_none_or(|message| message.chars().count() <= 1_000));
    let mut body = serde_json::json!({ "error": {
        "message": told.message, "type": told.kind, "code": told.code, "param": told.param,
    } });
    // What is cut may end in the beginning of another value.
    if told.message.as_ref().is_none_or(|message| message.chars().count() < 1_000) {
        let clean = without_labels(&body.to_string());
        let again = failures::read(visitor, clean.as_bytes());
        let again = serde_json::json!({ "error": {
            "message": again.message, "type": again.kind, "code": again.code, "param": again.param,
        } });
        let clean: Value = serde_json::from_str(&clean).unwrap();
        // A label without its word is no name of a type any more.
        assert_eq!(again["error"]["message"], clean["error"]["message"], "nothing more to mask");
    }
    let text = String::from_utf8_lossy(data);
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = text.split_at(half);
    for member in ["message", "type", "code", "param"] {
        body["error"][member] = format!("{before}{CREDENTIAL}{after}").into();
    }
    let told = failures::read(visitor, body.to_string().as_bytes());
    for text in [told.message, told.kind, told.code, told.param].into_iter().flatten() {
        assert!(!text.contains(CREDENTIAL), "{text}");
    }
}
