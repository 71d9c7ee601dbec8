//! What changes in a whole body?
//!
//! Finds, judges and plans: the edits that redact, where the first thing stands that may not leave at all, and what
//! is remembered. The same for prompts and for answers that came in one piece; streams go by `lane`.

use super::lane::Action;
use super::originals::Taken;
use super::projection::{Form, Meaning, Part, Projection};
use super::quotes::{self, Quotes};
use super::regions;
use super::replacement::{self, Mode};
use super::scanner::Found;
use super::splice::Edit;
use super::{Finding, Judge};
use crate::json;
use crate::refusal::Refusal;
use std::borrow::Cow;
use std::ops::Range;

/// What a body needs before it goes on.
#[derive(Debug, Default)]
pub struct Redacted {
    /// Replacements of raw bytes.
    pub edits: Vec<Edit>,
    /// Where the first blocked finding stands.
    pub blocked: Option<String>,
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// What may be put back.
    pub(super) taken: Taken,
}

/// Finds and judges in a body that was read, as far as `reach` says for each part: all of its text, or less.
pub fn redact<R: Meaning>(
    judge: &Judge<'_>,
    body: &[u8],
    projection: &Projection<R>,
    reach: impl Fn(&Part<R>) -> Range<usize>,
) -> Result<Redacted, Refusal> {
    let found = find(judge, body, projection, reach)?;
    Ok(plan(judge, body, projection, &found))
}

/// Everything that counts, in the order of its places.
pub(super) fn find<R: Meaning>(
    judge: &Judge<'_>,
    body: &[u8],
    projection: &Projection<R>,
    reach: impl Fn(&Part<R>) -> Range<usize>,
) -> Result<Vec<Found>, Refusal> {
    let ranges: Vec<Range<usize>> = projection.parts.iter().map(reach).collect();
    let mut found = judge.scan_parts(&projection.text, &ranges).ok_or(Refusal::ScanLimit)?;
    judge.scan_seams(body, projection, &mut found).ok_or(Refusal::ScanLimit)?;
    Ok(found)
}

/// What is to be done about what was found, in the order of its places.
pub(super) fn plan<R: Meaning>(
    judge: &Judge<'_>,
    body: &[u8],
    projection: &Projection<R>,
    mut found: &[Found],
) -> Redacted {
    let mut out = Redacted::default();
    for part in &projection.parts {
        let here = found.partition_point(|found| found.span.start < part.text.end);
        let (inside, later) = found.split_at_checked(here).unwrap_or((found, &[]));
        found = later;
        if !inside.is_empty() {
            redact_part(judge, body, projection, part, inside, &mut out);
        }
    }
    out
}

fn redact_part<R: Meaning>(
    judge: &Judge<'_>,
    body: &[u8],
    projection: &Projection<R>,
    part: &Part<R>,
    found: &[Found],
    out: &mut Redacted,
) {
    let place = projection.place(body, part);
    let mut redacted = Vec::new();
    let found =
        if part.role.holds_json() { behind_escapes(projection, part, found) } else { Cow::Borrowed(found) };
    for found in &*found {
        let value = found.value(&projection.text);
        let judgement = judge.judge(found, value);
        // A key cannot be replaced without changing what the object means.
        let in_key = found.span.start < part.value || part.form == Form::Key;
        let is_blocked = judgement.action == Action::Block || (in_key && judgement.action != Action::Pass);
        if is_blocked && out.blocked.is_none() {
            out.blocked = Some(place.clone());
        }
        if let Action::Redact(mode) = judgement.action
            && !in_key
        {
            redacted.push((found.clone(), mode));
        }
        out.findings.extend(judge.remember(found, judgement, value, place.clone()));
    }
    let text = projection.text.get(part.value..part.text.end).unwrap_or_default();
    let mut quotes = Walk { text: String::from_utf8_lossy(text), quotes: Quotes::default(), at: 0 };
    let mut cursor = json::Cursor::default();
    for region in regions::all(judge.detection(), &redacted) {
        let detector = judge.detection().detector(region.rule).map(AsRef::as_ref);
        let value = projection.text.get(region.span.clone()).unwrap_or_default();
        let placeholder = detector.filter(|_| region.mode == Mode::Reversible).and_then(|detector| {
            out.taken.placeholder(judge.replacements(), detector, value, &projection.text)
        });
        let text = placeholder
            .map_or_else(|| replacement::of(judge.replacements(), detector, region.mode, value), Cow::Owned);
        let mut span = region.span;
        let with: Cow<'static, [u8]> = match part.form {
            Form::Number => Cow::Owned(format!("\"{text}\"").into_bytes()),
            Form::Plain | Form::Escaped | Form::Key if part.role.holds_json() => {
                let inside = span.start - part.value..span.end - part.value;
                let Some((inside, written)) = quotes.write(inside, &text) else { continue };
                span = inside.start + part.value..inside.end + part.value;
                Cow::Owned(written)
            }
            Form::Plain | Form::Escaped | Form::Key => Cow::Owned(text.into_owned().into_bytes()),
        };
        let raw = part.raw_span(body, &span, &mut cursor);
        let is_repeat = part.form == Form::Number && out.edits.last().is_some_and(|edit| edit.raw == raw);
        if !is_repeat {
            out.edits.push(Edit { raw, with });
        }
    }
}

/// Findings in a part that holds JSON, each behind the escape that it begins in, once more in their order. The same
/// value is found once.
fn behind_escapes<'a, R: Meaning>(
    projection: &Projection<R>,
    part: &Part<R>,
    found: &'a [Found],
) -> Cow<'a, [Found]> {
    let text = projection.text.get(..part.text.end).unwrap_or_default();
    if memchr::memchr(b'\\', text.get(part.value..).unwrap_or_default()).is_none() {
        return Cow::Borrowed(found);
    }
    let mut found = found.to_vec();
    for found in found.iter_mut().filter(|found| found.span.start >= part.value) {
        found.begin_behind_escape(text);
    }
    // What is known of a credential stands first.
    found.sort_by_key(|found| (found.order(), found.known.is_none()));
    found.dedup_by(|next, kept| next.order() == kept.order() && next.revealed == kept.revealed);
    Cow::Owned(found)
}

/// Follows the quotes of a JSON text from one region to the next.
struct Walk<'a> {
    text: Cow<'a, str>,
    quotes: Quotes,
    at: usize,
}

impl Walk<'_> {
    /// What is written for which part of the text; nothing for a region in a number that was replaced as a whole.
    fn write(&mut self, mut region: Range<usize>, text: &str) -> Option<(Range<usize>, Vec<u8>)> {
        if region.start < self.at {
            return None;
        }
        let from = quotes::number_from(&self.text, region.start).max(self.at);
        self.quotes.pass(self.text.get(self.at..from).unwrap_or_default());
        if self.quotes.is_in_string() {
            self.quotes.pass(self.text.get(from..region.start).unwrap_or_default());
        } else {
            region = from..quotes::number_until(&self.text, region.end);
        }
        let mut written = String::new();
        self.quotes.replace(self.text.get(region.clone()).unwrap_or_default(), text, &mut written);
        self.at = region.end;
        let mut out = Vec::with_capacity(written.len() + 4);
        json::escape(&written, &mut out);
        Some((region, out))
    }
}

/// The whole of `text`, with everything replaced that was found at all: for texts that are not the caller's own,
/// such as a provider's error message.
pub fn mask(judge: &Judge<'_>, text: &str) -> String {
    let mut found = judge.detection().scan(text.as_bytes());
    found.retain_mut(|found| {
        let value = found.value(text.as_bytes()).to_vec();
        judge.weigh(found, &value)
    });
    let found: Vec<(Found, Mode)> = found.into_iter().map(|found| (found, Mode::Label)).collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for region in regions::all(judge.detection(), &found) {
        out.push_str(text.get(at..region.span.start).unwrap_or_default());
        let detector = judge.detection().detector(region.rule).map(AsRef::as_ref);
        out.push_str(&replacement::of(judge.replacements(), detector, region.mode, &[]));
        at = region.span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
