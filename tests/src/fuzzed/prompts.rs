//! What must hold for any body of a request, and for any edits of one.

use super::callers::{is_beside, is_explained, masked, picked, widened, without_labels};
use bytes::Bytes;
use palisade_filters::dlp::lane::Action;
use palisade_filters::dlp::splice::{self, Edit};
use palisade_filters::quota::Receipt;
use palisade_filters::{self as filters, Cleared, Memory, Refusal, Surface, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// What was found in the texts before.
static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory::new(*b"no secret at all", 1 << 16));

/// What was let through.
struct Left {
    sent: Bytes,
    is_redacted: bool,
    is_stream: bool,
}

/// A request's body: what is let through is JSON of the same members that is let through again, and nothing is
/// left in it to redact; without a redaction it is the caller's own bytes; and what is refused says why.
pub(crate) fn projection(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let (visitor, which) = picked(*kind, Surface::ALL.len());
    let surface = Surface::ALL[which];
    let left = match leaves(visitor, surface, body) {
        Ok(left) => left,
        Err(refusal) => return assert!(!refusal.message().is_empty(), "{refusal:?}"),
    };
    // Usage is asked for in streams of this dialect.
    let is_ours = left.is_stream && surface.dialect() == filters::Dialect::OpenAi;
    if !left.is_redacted && !is_ours {
        assert_eq!(left.sent, body, "where nothing is redacted, every byte leaves");
    }
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&left.sent).is_ok(), "what leaves is JSON");
    if let (false, Ok(told), Ok(sent)) = (is_ours, read(body), read(&left.sent)) {
        assert!(is_alike(&told, &sent), "a redaction replaces texts and numbers, and nothing else");
    }
    let sent = without_labels(text(&left));
    let again = leaves(visitor, surface, sent.as_bytes()).expect("what left once may leave again");
    if again.is_redacted && !is_explained(&sent, text(&again)) {
        // As in answers: it may be that a word came nearer, or what a value ends at was replaced, and only that.
        let kept = leaves(masked(), surface, body).expect("who blocks nothing lets it leave");
        let kept = widened(&String::from_utf8_lossy(body), text(&kept));
        let kept_again = leaves(masked(), surface, kept.as_bytes()).expect("what left once may leave again");
        let is_beside = is_beside(&kept, text(&kept_again));
        assert!(
            !kept_again.is_redacted || is_beside,
            "it has more to redact: {} of {sent}, and {} of {kept}",
            text(&again),
            text(&kept_again)
        );
    }
}

fn text(left: &Left) -> &str {
    std::str::from_utf8(&left.sent).expect("what leaves is UTF-8")
}

fn leaves(visitor: &Visitor, surface: Surface, body: &[u8]) -> Result<Left, Refusal> {
    let prompt = filters::read(visitor, surface, Bytes::copy_from_slice(body))?;
    let cleared = filters::clear(visitor, &MEMORY, prompt)?;
    let redacted = cleared.findings().iter().any(|finding| matches!(finding.action, Action::Redact(_)));
    assert_eq!(cleared.is_redacted(), redacted, "what is redacted was found");
    Ok(Left {
        sent: sent(visitor, &cleared)?,
        is_redacted: cleared.is_redacted(),
        is_stream: cleared.head().stream,
    })
}

/// What a provider is sent of a prompt.
pub(super) fn sent(visitor: &Visitor, cleared: &Cleared) -> Result<Bytes, Refusal> {
    let application = filters::apply(visitor, cleared)?;
    let receipt = Receipt { ask: application.ask().clone(), ..Receipt::default() };
    let admission = filters::admit(application, Ok(receipt), &filters::Outlook::default())?;
    Ok(cleared.for_target(&admission.itinerary.targets[0]))
}

fn read(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(json)
}

/// Whether two values differ in nothing but in texts, and in numbers that have become texts.
pub(super) fn is_alike(told: &Value, sent: &Value) -> bool {
    match (told, sent) {
        (Value::String(_) | Value::Number(_), Value::String(_)) => true,
        (Value::Array(told), Value::Array(sent)) => {
            told.len() == sent.len() && told.iter().zip(sent).all(|(told, sent)| is_alike(told, sent))
        }
        (Value::Object(told), Value::Object(sent)) => {
            told.len() == sent.len()
                && told.iter().all(|(name, told)| sent.get(name).is_some_and(|sent| is_alike(told, sent)))
        }
        _ => told == sent,
    }
}

/// Edits: every byte outside of them stays, in its order, and what replaces others stands in their place, once.
pub(crate) fn splicing(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(*count % 16);
    let Some((places, body)) = rest.split_at_checked(count * 2) else { return };
    // What replaces is told from what stays by its first bit.
    let body: Vec<u8> = body.iter().map(|byte| byte & 0x7f).collect();
    let mut edits = Vec::new();
    let mut kept = vec![true; body.len()];
    for (at, place) in places.chunks_exact(2).enumerate() {
        let start = usize::from(place[0]).min(body.len());
        let end = (start + usize::from(place[1] % 32)).min(body.len());
        kept[start..end].fill(false);
        edits.push(Edit {
            raw: start..end,
            with: Cow::Owned(vec![0x80 | at as u8; usize::from(place[1] >> 6)]),
        });
    }
    let out = splice::splice(&body, edits.clone());
    let is_kept = |range: std::ops::Range<usize>| {
        let places = body.iter().zip(&kept).take(range.end).skip(range.start);
        places.filter(|(_, kept)| **kept).map(|(byte, _)| *byte).collect::<Vec<u8>>()
    };
    let stayed: Vec<u8> = out.iter().copied().filter(|byte| *byte < 0x80).collect();
    assert_eq!(stayed, is_kept(0..body.len()));
    for (at, edit) in edits.iter().enumerate() {
        let mark = 0x80 | at as u8;
        let marks: Vec<usize> = (0..out.len()).filter(|place| out[*place] == mark).collect();
        let is_alone = edits.iter().enumerate().all(|(other, edit_other)| {
            other == at || edit_other.raw.end <= edit.raw.start || edit.raw.end <= edit_other.raw.start
        });
        assert!(marks.len() == edit.with.len() || marks.is_empty() && !is_alone, "edit {at} is made once");
        if let Some(first) = marks.first() {
            let before: Vec<u8> = out[..*first].iter().copied().filter(|byte| *byte < 0x80).collect();
            assert_eq!(before, is_kept(0..edit.raw.start), "edit {at} stands in its place");
        }
    }
}
