//! What of each text of a streamed answer may go on, and what of everything around the texts?
//!
//! Shared by the streams of all dialects: lanes under their names, with what they release; and the judgement of what
//! an event says besides its texts. It does not know how an event is laid out.

use super::{AnswerFault, Report};
use crate::dlp::lane::{Action, Flow, Lane, Syntax};
use crate::dlp::projection::{Meaning, Part, Projection};
use crate::dlp::redact::{self, Redacted};
use crate::dlp::splice::Edit;
use crate::dlp::{FINDINGS_MAX, Found, Judge};
use crate::json;
use std::borrow::Cow;
use std::ops::Range;

/// Lanes of one stream: choices times fields and tool calls.
pub(super) const LANES_MAX: usize = 256;

/// Names a lane of a stream.
pub(super) trait LaneName: Copy + PartialEq {
    /// The place as it would be in an answer in one piece.
    fn place(self) -> String;
    /// Whether the text is itself JSON.
    fn syntax(self) -> Syntax;
}

/// The texts of one stream.
pub(super) struct Lanes<N> {
    entries: Vec<Entry<N>>,
    bytes: u64,
    released: String,
}

struct Entry<N> {
    name: N,
    lane: Lane,
    /// Whether some of its text was replaced.
    is_redacted: bool,
}

impl<N: LaneName> Lanes<N> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), bytes: 0, released: String::new() }
    }

    /// Bytes of all texts so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn names(&self) -> impl Iterator<Item = N> + '_ {
        self.entries.iter().map(|entry| entry.name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a lane holds something back.
    pub(super) fn holds(&self, name: N) -> bool {
        self.entries.iter().any(|entry| entry.name == name && !entry.lane.is_drained())
    }

    /// Whether some of a lane's text was replaced.
    pub(super) fn is_redacted(&self, name: N) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.is_redacted)
    }

    /// Forgets all lanes: their texts are complete, and new ones may have their names.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Moves one delta through its lane; with `ends`, it is the last one. What may leave is kept for
    /// [`Lanes::released`]. A new lane begins after `context`, which is judged elsewhere.
    pub(super) fn push(
        &mut self,
        judge: &Judge<'_>,
        name: N,
        [context, delta]: [&str; 2],
        ends: bool,
        report: &mut Report,
    ) -> Result<Flow, AnswerFault> {
        self.bytes += delta.len() as u64;
        self.released.clear();
        let at = match self.entries.iter().position(|entry| entry.name == name) {
            Some(at) => at,
            None if self.entries.len() >= LANES_MAX => return Err(AnswerFault::TooLarge),
            None => {
                let lane = Lane::after(context, name.syntax(), *judge.replacements());
                self.entries.push(Entry { name, lane, is_redacted: false });
                self.entries.len() - 1
            }
        };
        let Some(entry) = self.entries.get_mut(at) else { return Err(AnswerFault::Events) };
        if !judge.looks() {
            self.released.push_str(delta);
            return Ok(Flow::Open);
        }
        let Entry { lane, is_redacted, .. } = entry;
        let mut judged = judged(judge, name, report, is_redacted);
        let flow = lane.push(judge.detection(), delta, &mut judged, &mut self.released);
        if ends && flow == Flow::Open {
            return Ok(lane.finish(judge.detection(), &mut judged, &mut self.released));
        }
        Ok(flow)
    }

    /// What the last delta released.
    pub(super) fn released(&self) -> &str {
        &self.released
    }

    /// The edit that puts what was released in the place of the delta, if they differ.
    pub(super) fn edit(&self, delta: &str, raw: &Range<usize>) -> Option<Edit> {
        if self.released == delta {
            return None;
        }
        let mut with = Vec::with_capacity(self.released.len() + 8);
        json::escape(&self.released, &mut with);
        Some(Edit { raw: raw.clone(), with: Cow::Owned(with) })
    }

    /// Ends the lanes that are meant and hands what they still held to `each`. Names the one that policy ended.
    pub(super) fn drain(
        &mut self,
        judge: &Judge<'_>,
        is_meant: impl Fn(N) -> bool,
        report: &mut Report,
        each: &mut dyn FnMut(N, &str),
    ) -> Option<N> {
        for Entry { name, lane, is_redacted } in &mut self.entries {
            if !is_meant(*name) || lane.is_drained() {
                continue;
            }
            self.released.clear();
            let mut judged = judged(judge, *name, report, is_redacted);
            let flow = lane.finish(judge.detection(), &mut judged, &mut self.released);
            drop(judged);
            each(*name, &self.released);
            if flow == Flow::Blocked {
                return Some(*name);
            }
        }
        None
    }
}

/// Asks the judge and keeps what is remembered.
fn judged<'a, N: LaneName + 'a>(
    judge: &'a Judge<'_>,
    name: N,
    report: &'a mut Report,
    is_redacted: &'a mut bool,
) -> impl FnMut(&mut Found, &str) -> Action + 'a {
    move |found, value| {
        if !judge.weigh(found, value.as_bytes()) {
            return Action::Pass;
        }
        if report.findings.len() > FINDINGS_MAX {
            // A text with more was made to have them.
            return Action::Block;
        }
        let judgement = judge.judge(found);
        let action = judgement.action;
        *is_redacted |= matches!(action, Action::Redact(_));
        report.findings.extend(judge.remember(found, judgement, value.as_bytes(), name.place()));
        action
    }
}

/// What events say besides their texts. They repeat it: ids, names, kinds.
#[derive(Default)]
pub(super) struct Outside {
    /// Of the event at hand.
    this: Vec<u8>,
    /// Of the last event in which nothing was found: it is not scanned again.
    clean: Vec<u8>,
}

impl Outside {
    /// Judges what of an event `reach` does not leave to the lanes.
    pub(super) fn judge<R: Meaning>(
        &mut self,
        judge: &Judge<'_>,
        data: &[u8],
        projection: &Projection<R>,
        reach: impl Fn(&Part<R>) -> Range<usize>,
    ) -> Result<Redacted, AnswerFault> {
        self.this.clear();
        for part in &projection.parts {
            self.this.extend_from_slice(projection.text.get(reach(part)).unwrap_or_default());
            // No text holds this byte: two parts never read as one.
            self.this.push(0xff);
        }
        if self.this == self.clean {
            return Ok(Redacted::default());
        }
        let redacted = redact::redact(judge, data, projection, reach).map_err(|_| AnswerFault::ScanLimit)?;
        if redacted.findings.is_empty() {
            std::mem::swap(&mut self.clean, &mut self.this);
        }
        Ok(redacted)
    }
}
