//! What is an answer before it meets the wire?
//!
//! Needs nothing. An [`Answer`] is a status, a kind of content and the content in [`Parts`]; how it is
//! delivered, whole or broken, is its [`Delivery`]. It proves nothing about the wire: `faults` writes it.

use serde::Serialize;

use super::faults::Delivery;
use super::script::Script;

/// Room for a usual document, so that writing it does not move it from allocation to allocation.
const DOCUMENT_BYTES: usize = 2048;

/// An answer, ready to be delivered.
pub(super) struct Answer {
    /// Status code.
    pub status: u16,
    /// What the content is.
    pub kind: Kind,
    /// `retry-after`, in seconds.
    pub retry_after_seconds: Option<u32>,
    /// The content.
    pub parts: Parts,
    /// How it goes out.
    pub delivery: Delivery,
}

/// What the content of an answer is; it decides content type and framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One JSON document of known length.
    Json,
    /// Events, in chunked framing, because a provider does not know the length when it begins.
    Events,
}

impl Answer {
    /// A JSON document, delivered as the script says.
    pub(super) fn json<T: Serialize>(status: u16, value: &T, script: &Script) -> Self {
        let mut parts = Parts { bytes: Vec::with_capacity(DOCUMENT_BYTES), ends: Vec::with_capacity(1) };
        parts.extend_json(value);
        parts.close();
        Answer::new(status, Kind::Json, parts, script)
    }

    /// An event stream, delivered as the script says.
    pub(super) fn events(parts: Parts, script: &Script) -> Self {
        Answer::new(200, Kind::Events, parts, script)
    }

    fn new(status: u16, kind: Kind, mut parts: Parts, script: &Script) -> Self {
        if script.malformed {
            parts.spoil();
        }
        if script.empty {
            parts = Parts::default();
        }
        Answer {
            status,
            kind,
            retry_after_seconds: script.retry_after_seconds,
            parts,
            delivery: Delivery::of(script),
        }
    }
}

/// Content in one allocation, with the places where one part ends and the next begins.
#[derive(Default)]
pub(super) struct Parts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Parts {
    /// Adds bytes to the open part.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a value as compact JSON to the open part.
    pub(super) fn extend_json<T: Serialize>(&mut self, value: &T) {
        let before = self.bytes.len();
        if serde_json::to_writer(&mut self.bytes, value).is_err() {
            // A vector takes every byte and our types have string keys only, so this is out of reach; a
            // half-written value would still be worse than a visible one.
            self.bytes.truncate(before);
            self.bytes.extend_from_slice(b"{\"error\":{\"message\":\"the double cannot spell its answer\"}}");
        }
    }

    /// Ends the open part.
    pub(super) fn close(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Number of content bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The parts, as far as `limit` bytes reach; the last may be shorter for it.
    pub(super) fn iter(&self, limit: usize) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, move |start, end| {
            let part = self.bytes.get(*start..(*end).min(limit)).filter(|part| !part.is_empty());
            *start = *end;
            part
        })
    }

    /// Replaces the borders: every part now has `size` bytes, the last one the rest.
    pub(super) fn cut(&mut self, size: usize) {
        let length = self.bytes.len();
        self.ends = (1..=length.div_ceil(size)).map(|index| index.saturating_mul(size).min(length)).collect();
    }

    /// Makes the middle part unparseable, and keeps every length: its last brace becomes a blank.
    fn spoil(&mut self) {
        let middle = self.ends.get(self.ends.len() / 2).copied().unwrap_or(0);
        let until_middle = self.bytes.get_mut(..middle).unwrap_or_default();
        if let Some(brace) = until_middle.iter_mut().rev().find(|byte| **byte == b'}') {
            *brace = b' ';
        }
    }
}
