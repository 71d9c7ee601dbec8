//! What is an answer before it meets the wire?
//!
//! Needs nothing. An [`Answer`] is a status, a kind of content and the content in [`Parts`]; how it is
//! delivered, whole or broken, is its [`Delivery`]. It proves nothing about the wire: `faults` writes it.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use palisade_filters::Dialect;
use serde::Serialize;

use super::failure::Failure;
use super::faults::Delivery;
use super::script::Script;
use super::sse::Events;

/// Room for a usual document, so that writing it does not move it from allocation to allocation.
const DOCUMENT_BYTES: usize = 2048;

/// What makes one answer this answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Differs for every request of one double; the same sequence for the same seed.
    pub serial: u64,
    /// Unix time in seconds.
    pub created: u64,
}

impl Stamp {
    /// An id like a provider's, such as `chatcmpl-0000mock1f83d9abfb41bd6b`.
    pub(super) fn id(self, prefix: &str) -> String {
        format!("{prefix}0000mock{:016x}", self.serial)
    }
}

/// An answer, ready to be delivered.
pub(super) struct Answer {
    /// Whose headers it has.
    pub dialect: Dialect,
    /// Status code.
    pub status: u16,
    /// What the content is.
    pub kind: Kind,
    /// `retry-after`, in seconds.
    pub retry_after_seconds: Option<u32>,
    /// What it claims to be instead.
    pub content_type: Option<Arc<str>>,
    /// `content-encoding`.
    pub encoding: Option<Arc<str>>,
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
            dialect: Dialect::default(),
            status,
            kind,
            retry_after_seconds: script.retry_after_seconds,
            content_type: script.content_type.clone(),
            encoding: script.encoding.clone(),
            parts,
            delivery: Delivery::of(script),
        }
    }
}

impl Answer {
    /// Breaks off a stream after so many events, and at the latest in place of its last one, with an error. A document
    /// becomes the error, and keeps its status.
    pub(super) fn break_off(&mut self, events: usize, failure: &Failure, request_id: &str, script: &Script) {
        let spelling = failure.spelling(self.dialect, request_id);
        match (self.kind, self.dialect) {
            (Kind::Json, Dialect::OpenAi | Dialect::Anthropic) => {
                self.parts = Parts::default();
                self.parts.extend_json(&spelling);
                self.parts.close();
            }
            (Kind::Events, dialect) => {
                self.parts.keep(events);
                let mut error = Events::new(script);
                match dialect {
                    Dialect::OpenAi => error.push(&spelling),
                    Dialect::Anthropic => error.push_named("error", &spelling),
                }
                self.parts.append(&error.finish());
            }
        }
    }

    /// Does what the answer's coding promises, if it is gzip: all in one part.
    pub(super) fn encode(&mut self) {
        if self.encoding.as_deref() != Some("gzip") {
            return;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // A vector takes every byte.
        let encoded = encoder.write_all(&self.parts.bytes).and_then(|()| encoder.finish());
        if let Ok(bytes) = encoded {
            self.parts = Parts { ends: vec![bytes.len()], bytes };
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

    /// Forgets all parts but the first ones, and the last one in any case.
    fn keep(&mut self, parts: usize) {
        self.ends.truncate(parts.min(self.ends.len().saturating_sub(1)));
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn append(&mut self, other: &Parts) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| before + end));
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
