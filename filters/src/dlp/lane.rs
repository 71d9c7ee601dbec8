//! What of this text may go on, now?
//!
//! One lane of an answer (a choice's content, a tool call's arguments) as it streams. Each `push` releases
//! everything whose fate is decided and holds the rest: the current word, and what an open candidate or an
//! undecided region covers. For every way of cutting the text, the concatenation of what is released is the same.

use super::detection::{Detection, Reading};
use super::matcher::View;
use super::quotes::{self, Quotes};
use super::regions::{self, REGION_BYTES_MAX, Region};
use super::replacement::{self, Key, Mode};
use super::rules::CONTEXT_BEFORE_BYTES_MAX;
use super::scanner::Found;
use super::shadow::Shadows;

/// A finding is compared with so many that were found last; one that is found again among more counts twice.
const KNOWN_MAX: usize = 64;

/// What is to be done about one finding, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It stays.
    Pass,
    /// It is replaced.
    Redact(Mode),
    /// Nothing from its first byte on may leave.
    Block,
}

/// Whether a lane goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More may come.
    Open,
    /// A finding ended it; nothing more leaves.
    Blocked,
}

/// Whether the text of a lane is itself JSON, whose syntax must survive a redaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Prose.
    Plain,
    /// The arguments of a tool call.
    Json,
}

/// The state of one lane. Empty until text comes.
#[derive(Debug)]
pub struct Lane {
    key: Key,
    scan: Reading,
    shadows: Shadows,
    /// Released text that is still context, then held text.
    text: String,
    /// How much of `text` was released.
    released: usize,
    /// Findings that are acted on, in the order of places.
    pending: Vec<(Found, Action)>,
    /// What was found while a shadow says something else than the text, lest it be found twice.
    known: Vec<Found>,
    quotes: Option<Quotes>,
}

impl Lane {
    /// A lane before its first byte. `key` names the values that are replaced.
    pub fn new(syntax: Syntax, key: Key) -> Self {
        let quotes = (syntax == Syntax::Json).then(Quotes::default);
        Self {
            key,
            scan: Reading::default(),
            shadows: Shadows::default(),
            text: String::new(),
            released: 0,
            pending: Vec::new(),
            known: Vec::new(),
            quotes,
        }
    }

    /// A lane that begins after a text which is context only: a key before its value.
    pub fn after(context: &str, syntax: Syntax, key: Key) -> Self {
        Self { text: context.to_owned(), released: context.len(), ..Self::new(syntax, key) }
    }

    /// Whether nothing is held.
    pub fn is_drained(&self) -> bool {
        self.released == self.text.len()
    }

    /// Takes the next text and appends to `out` what may leave. `judge` is asked once for each finding, with the
    /// text it covers, and may make it surer first.
    pub fn push(
        &mut self,
        detection: &Detection,
        text: &str,
        judge: &mut dyn FnMut(&mut Found, &str) -> Action,
        out: &mut String,
    ) -> Flow {
        self.text.push_str(text);
        self.step(detection, false, judge, out)
    }

    /// Releases the rest: nothing follows.
    pub fn finish(
        &mut self,
        detection: &Detection,
        judge: &mut dyn FnMut(&mut Found, &str) -> Action,
        out: &mut String,
    ) -> Flow {
        self.step(detection, true, judge, out)
    }

    fn step(
        &mut self,
        detection: &Detection,
        complete: bool,
        judge: &mut dyn FnMut(&mut Found, &str) -> Action,
        out: &mut String,
    ) -> Flow {
        let bytes = self.text.as_bytes();
        let settled = self.shadows.read(bytes, complete, &self.scan);
        let mut found = Vec::new();
        let view = View { text: bytes.get(..settled).unwrap_or_default(), complete };
        let mut decided = self.scan.advance(detection, view, &mut found);
        decided = decided.min(self.shadows.advance(detection, bytes, complete, &mut found));
        while !self.text.is_char_boundary(decided) {
            decided -= 1;
        }
        if self.quotes.is_some() && !complete {
            // What is found next may be a part of a number that begins before it.
            decided = quotes::number_from(&self.text, decided);
        }
        for mut found in found {
            // What an organisation looks for takes no room of what the platform found.
            let is_own = |found: &Found| detection.is_own(found.rule);
            if self.quotes.is_some() {
                found.begin_behind_escape(bytes);
            }
            let of_its_kind = self.known.iter().rev().filter(|known| is_own(known) == is_own(&found));
            if detection.covers(of_its_kind.take(KNOWN_MAX), &found) {
                continue;
            }
            let revealed = found.revealed.clone();
            let value = revealed.as_deref().or_else(|| bytes.get(found.span.clone())).unwrap_or_default();
            let action = judge(&mut found, &String::from_utf8_lossy(value));
            if self.shadows.differ() {
                self.known.push(found.clone());
            }
            if action != Action::Pass {
                self.pending.push((found, action));
            }
        }
        self.pending.sort_by(|(one, _), (other, _)| {
            (one.span.start, one.span.end, one.rule).cmp(&(other.span.start, other.span.end, other.rule))
        });
        let flow = self.release(detection, decided, out);
        self.forget();
        flow
    }

    /// Lets go of what is decided, region by region.
    fn release(&mut self, detection: &Detection, decided: usize, out: &mut String) -> Flow {
        let block = self.pending.iter().find(|(_, action)| *action == Action::Block);
        let block_from = block.map_or(usize::MAX, |(found, _)| found.span.start);
        let redacted: Vec<(Found, Mode)> = self
            .pending
            .iter()
            .filter_map(|(found, action)| match action {
                Action::Redact(mode) if found.span.start < block_from => Some((found.clone(), *mode)),
                Action::Redact(_) | Action::Pass | Action::Block => None,
            })
            .collect();
        let mut rest = redacted.as_slice();
        let flow = loop {
            let next = regions::first(detection, rest, self.released);
            let region_from = next.as_ref().map_or(usize::MAX, |(region, _)| self.from(region));
            self.let_pass(decided.min(block_from).min(region_from), out);
            let Some((region, used)) = next else {
                break if block_from <= decided { Flow::Blocked } else { Flow::Open };
            };
            if region.span.end > decided && region.span.len() < REGION_BYTES_MAX {
                break Flow::Open;
            }
            if region.span.end > block_from && block_from <= decided {
                break Flow::Blocked;
            }
            self.replace(detection, &region, out);
            rest = rest.get(used..).unwrap_or_default();
        };
        let released = self.released;
        self.known.retain(|found| found.span.end > released);
        self.pending.retain(|(found, action)| *action == Action::Block || found.span.end > released);
        flow
    }

    /// Where a region begins, or a number that it may be in.
    fn from(&self, region: &Region) -> usize {
        let start = region.span.start;
        if self.quotes.is_some() { quotes::number_from(&self.text, start).max(self.released) } else { start }
    }

    fn let_pass(&mut self, until: usize, out: &mut String) {
        if let Some(text) = self.text.get(self.released..until).filter(|text| !text.is_empty()) {
            out.push_str(self.quotes.as_mut().map_or(text, |quotes| quotes.pass(text)));
            self.released = until;
        }
    }

    fn replace(&mut self, detection: &Detection, region: &Region, out: &mut String) {
        if self.quotes.is_some_and(Quotes::is_in_string) {
            self.let_pass(region.span.start, out);
        }
        let text = self.text.get(region.span.clone()).unwrap_or_default();
        let detector = detection.detector(region.rule).map(AsRef::as_ref);
        let with = replacement::of(&self.key, detector, region.mode, text.as_bytes());
        match &mut self.quotes {
            None => out.push_str(&with),
            Some(quotes) => quotes.replace(text, &with, out),
        }
        self.released = region.span.end;
    }

    /// Drops what no context reaches any more.
    fn forget(&mut self) {
        // A region that was cut may be released beyond what is decided: candidates before its end are still open.
        let unneeded = self.released.saturating_sub(CONTEXT_BEFORE_BYTES_MAX + 1);
        let mut by = unneeded.min(self.scan.needed_from());
        while !self.text.is_char_boundary(by) {
            by -= 1;
        }
        // Moving a few bytes at every push would cost more than keeping them.
        if by < CONTEXT_BEFORE_BYTES_MAX {
            return;
        }
        let released = self.released;
        self.text.drain(..by);
        self.released -= by;
        self.scan.forget(by);
        self.shadows.forget(by, released, self.text.as_bytes(), &self.scan);
        let pending = self.pending.iter_mut().map(|(found, _)| found);
        for found in pending.chain(&mut self.known) {
            found.span = found.span.start.saturating_sub(by)..found.span.end.saturating_sub(by);
        }
    }
}
