//! What of each text of a streamed answer may go on, and what of everything around the texts?
//!
//! Shared by the streams of all dialects: lanes under their names, with what they release; and the judgement of what
//! an event says besides its texts. It does not know how an event is laid out.

use super::restore::{Piece, RESTORED_BYTES_MAX, Restorer};
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
    /// Whether values are put back into it.
    fn restoring(self) -> Restoring;
}

/// Into which texts of an answer values are put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restoring {
    /// Those that people read.
    Always,
    /// What a tool is called with, if the organisation lists it.
    IfListed,
    /// What is no answer: reasoning, which is signed, and what no table knows.
    Never,
}

/// The texts of one stream.
pub(super) struct Lanes<N> {
    entries: Vec<Entry<N>>,
    bytes: u64,
    /// What the scan lets go, before values are put back.
    scanned: String,
    released: String,
    /// Of lanes that carry what tools are called with, whether all names that were said are listed.
    tools: Vec<(N, bool)>,
    /// How much may still be put back.
    left: usize,
}

struct Entry<N> {
    name: N,
    lane: Lane,
    /// Whether some of its text was replaced.
    is_redacted: bool,
    restorer: Option<Restorer>,
}

impl<N> Entry<N> {
    fn is_drained(&self) -> bool {
        self.lane.is_drained() && self.restorer.as_ref().is_none_or(Restorer::is_drained)
    }
}

impl<N: LaneName> Lanes<N> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            bytes: 0,
            scanned: String::new(),
            released: String::new(),
            tools: Vec::new(),
            left: RESTORED_BYTES_MAX,
        }
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
        self.entries.iter().any(|entry| entry.name == name && !entry.is_drained())
    }

    /// Whether some of a lane's text was replaced.
    pub(super) fn is_redacted(&self, name: N) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.is_redacted)
    }

    /// Forgets all lanes: their texts are complete, and new ones may have their names.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.tools.clear();
    }

    /// Notes what the tool is called whose arguments a lane carries. One that also goes by a name that is not listed
    /// gets no values.
    pub(super) fn name_tool(&mut self, judge: &Judge<'_>, name: N, tool: &str) {
        if judge.originals().is_none() {
            return;
        }
        let is_listed = judge.restores_in_tool(tool);
        if let Some((_, all)) = self.tools.iter_mut().find(|(known, _)| *known == name) {
            *all &= is_listed;
        } else if self.tools.len() < LANES_MAX {
            self.tools.push((name, is_listed));
        }
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name && !is_listed)
            && let Some(restorer) = &mut entry.restorer
        {
            restorer.stop();
        }
    }

    /// What puts values back into a lane that begins.
    fn restorer(&self, judge: &Judge<'_>, name: N) -> Option<Restorer> {
        judge.originals()?;
        let is_meant = match name.restoring() {
            Restoring::Always => true,
            Restoring::IfListed => self.tools.contains(&(name, true)),
            Restoring::Never => false,
        };
        is_meant.then(|| Restorer::new(name.syntax()))
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
        self.scanned.clear();
        let at = match self.entries.iter().position(|entry| entry.name == name) {
            Some(at) => at,
            None if self.entries.len() >= LANES_MAX => return Err(AnswerFault::TooLarge),
            None => {
                let lane = Lane::after(context, name.syntax(), *judge.replacements());
                let restorer = self.restorer(judge, name);
                self.entries.push(Entry { name, lane, is_redacted: false, restorer });
                self.entries.len() - 1
            }
        };
        let Some(entry) = self.entries.get_mut(at) else { return Err(AnswerFault::Events) };
        let Entry { lane, is_redacted, restorer, .. } = entry;
        let scanned = if restorer.is_some() { &mut self.scanned } else { &mut self.released };
        let mut flow = Flow::Open;
        if judge.looks() {
            let mut judged = judged(judge, name, report, is_redacted);
            flow = lane.push(judge.detection(), delta, &mut judged, scanned);
            if ends && flow == Flow::Open {
                flow = lane.finish(judge.detection(), &mut judged, scanned);
            }
        } else {
            scanned.push_str(delta);
        }
        let is_complete = ends || flow == Flow::Blocked;
        restore(judge, restorer, &self.scanned, is_complete, &mut self.left, &mut self.released);
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
        for entry in &mut self.entries {
            if !is_meant(entry.name) || entry.is_drained() {
                continue;
            }
            let Entry { name, lane, is_redacted, restorer } = entry;
            self.released.clear();
            self.scanned.clear();
            let scanned = if restorer.is_some() { &mut self.scanned } else { &mut self.released };
            let mut judged = judged(judge, *name, report, is_redacted);
            let flow = lane.finish(judge.detection(), &mut judged, scanned);
            drop(judged);
            restore(judge, restorer, &self.scanned, true, &mut self.left, &mut self.released);
            each(*name, &self.released);
            if flow == Flow::Blocked {
                return Some(*name);
            }
        }
        None
    }
}

/// Puts values back into what was scanned.
fn restore(
    judge: &Judge<'_>,
    restorer: &mut Option<Restorer>,
    scanned: &str,
    is_complete: bool,
    left: &mut usize,
    out: &mut String,
) {
    if let (Some(restorer), Some(originals)) = (restorer, judge.originals()) {
        restorer.push(originals, scanned, is_complete, left, &mut |piece| match piece {
            Piece::Same(text) | Piece::Value(_, text) => out.push_str(text),
        });
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
        let judgement = judge.judge(found, value.as_bytes());
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
