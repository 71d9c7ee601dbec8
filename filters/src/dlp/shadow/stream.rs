//! What do the shadows of a text say while it streams?
//!
//! A stream's shadow is read with its text, and scanned by itself once it says something else: the scan then begins
//! with what the one before it knows, as both read the same so far. It ends when nothing but the same is left of it.
//! The text is scanned as far as its shadow is settled, so that all of them stand at the same place.

use super::super::detection::{Detection, Reading};
use super::super::matcher::View;
use super::super::rules::CONTEXT_BEFORE_BYTES_MAX;
use super::super::scanner::Found;
use super::map::Map;
use super::{DEPTH, Runs, Shadow};

/// The shadows of one text.
#[derive(Debug, Default)]
pub(in crate::dlp) struct Shadows {
    folded: Shadow,
    /// While it says anything else than the text.
    folded_scan: Option<Reading>,
    /// While it says anything else than the folded one.
    decoded: Option<(Box<Shadow>, Reading)>,
}

impl Shadows {
    /// Reads on in a text, of which `plain` knows what was settled before. Returns how much of it is settled now.
    pub(in crate::dlp) fn read(&mut self, text: &[u8], complete: bool, plain: &Reading) -> usize {
        self.folded.read(text, complete);
        if self.folded_scan.is_none() && self.folded.differs() {
            self.folded_scan = Some(plain.clone());
        }
        if let Some(decoded) = self.folded.decoded.take() {
            let scan = self.folded_scan.as_ref().unwrap_or(plain).clone();
            self.decoded = Some((decoded, scan));
        }
        let (_, mut settled) = self.folded.settled();
        if let Some((decoded, _)) = &mut self.decoded {
            decoded.read(text, complete);
            settled = settled.min(decoded.settled().1);
        }
        settled
    }

    /// Whether any shadow says something else than the text.
    pub(in crate::dlp) fn differ(&self) -> bool {
        self.folded_scan.is_some() || self.decoded.is_some()
    }

    /// Scans what is settled: appends what is found, at its place in the text, and returns the offset in the text
    /// before which nothing can be found any more.
    pub(in crate::dlp) fn advance(
        &mut self,
        detection: &Detection,
        text: &[u8],
        complete: bool,
        found: &mut Vec<Found>,
    ) -> usize {
        let mut decided = text.len();
        let folded = self.folded_scan.as_mut().map(|scan| (&self.folded, scan));
        let decoded = self.decoded.as_mut().map(|(shadow, scan)| (&**shadow, scan));
        for (shadow, scan) in [folded, decoded].into_iter().flatten() {
            let (end, text_end) = shadow.settled();
            let view = View { text: shadow.text.get(..end).unwrap_or_default(), complete };
            let mut here = Vec::new();
            let at = scan.advance(detection, view, &mut here);
            decided = decided.min(if at < end { shadow.span_of(&(at..at)).start } else { text_end });
            found.extend(here.into_iter().map(|one| shadow.found(one, text)));
        }
        decided
    }

    /// The text, of which `plain` knows, lets go of its first bytes and was released up to an offset.
    pub(in crate::dlp) fn forget(&mut self, by: usize, released: usize, text: &[u8], plain: &Reading) {
        if let Some((shadow, scan)) = &mut self.decoded {
            shadow.forget(by, released, scan);
            let before = self.folded_scan.as_ref().unwrap_or(plain);
            let is_over = shadow.decoded_until <= shadow.dropped && shadow.reads_as(&self.folded);
            if is_over && scan.is_idle() && before.is_idle() {
                self.decoded = None;
                self.folded.runs = Runs::Watched(DEPTH);
            }
        }
        let Some(scan) = &mut self.folded_scan else { return self.folded.drop_first(by, by) };
        self.folded.forget(by, released, scan);
        if self.decoded.is_none() && self.folded.is_same() && scan.is_idle() && plain.is_idle() {
            self.folded_scan = None;
            self.folded.become_text(text);
        }
    }
}

impl Shadow {
    /// Lets go of what no context reaches any more; `released` counts from where the text began until now.
    fn forget(&mut self, by: usize, released: usize, scan: &mut Reading) {
        let released = self.map.before(released + self.text_dropped).saturating_sub(self.dropped);
        let unneeded = released.saturating_sub(CONTEXT_BEFORE_BYTES_MAX + 1).min(scan.needed_from());
        scan.forget(unneeded);
        self.drop_first(unneeded, by);
    }

    fn drop_first(&mut self, bytes: usize, text_bytes: usize) {
        self.text.drain(..bytes.min(self.text.len()));
        self.dropped += bytes;
        self.text_dropped += text_bytes;
        self.map.forget(self.dropped);
    }

    /// Whether both go on alike: nothing that this one only sees is under way, be it tags, or a run over lines.
    fn reads_as(&self, other: &Self) -> bool {
        let place = |shadow: &Self| (shadow.read, shadow.run, shadow.padding);
        let is_under_way = self.is_joined || !self.joint.is_empty() || self.tags_until == self.read;
        place(self) == place(other) && !is_under_way
    }

    /// Whether what is left of it is the text, up to where that was read.
    fn is_same(&self) -> bool {
        self.map.is_same() && self.map.end_of(self.end()) == self.read
    }

    /// Begins again as the text.
    fn become_text(&mut self, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(text.get(..self.read - self.text_dropped).unwrap_or_default());
        self.dropped = self.text_dropped;
        self.map = Map::default();
        self.map.same(self.dropped, self.dropped);
    }
}
