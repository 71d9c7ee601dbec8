//! How does a sequence of JSON values become an event stream?
//!
//! Needs the values, one after the other. Proves that every event is one part of the answer, so that pacing,
//! cutting and truncating happen at known places. It does not know what the events mean.
//! Format: WHATWG HTML, "Server-sent events".

use serde::Serialize;

use super::answer::Parts;
use super::script::Script;

/// An event stream under construction.
pub(super) struct Events {
    parts: Parts,
    line_end: &'static [u8],
    comments: bool,
}

impl Events {
    /// An empty stream, in the line ends that the script wants.
    pub(super) fn new(script: &Script) -> Self {
        Events {
            parts: Parts::default(),
            line_end: if script.crlf { b"\r\n" } else { b"\n" },
            comments: script.comments,
        }
    }

    /// Adds one event without a name, as OpenAI's are.
    pub(super) fn push<T: Serialize>(&mut self, value: &T) {
        self.begin();
        self.parts.extend_json(value);
        self.end();
    }

    /// Adds one event with a name, as Anthropic's are.
    pub(super) fn push_named<T: Serialize>(&mut self, name: &str, value: &T) {
        self.comment();
        self.parts.extend(b"event: ");
        self.parts.extend(name.as_bytes());
        self.parts.extend(self.line_end);
        self.parts.extend(b"data: ");
        self.parts.extend_json(value);
        self.end();
    }

    /// Adds the event with which OpenAI's streams end.
    pub(super) fn push_done(&mut self) {
        self.begin();
        self.parts.extend(b"[DONE]");
        self.end();
    }

    /// The stream.
    pub(super) fn finish(self) -> Parts {
        self.parts
    }

    fn comment(&mut self) {
        if self.comments {
            self.parts.extend(b": mock keep-alive");
            self.parts.extend(self.line_end);
            self.parts.extend(self.line_end);
        }
    }

    fn begin(&mut self) {
        self.comment();
        self.parts.extend(b"data: ");
    }

    fn end(&mut self) {
        self.parts.extend(self.line_end);
        self.parts.extend(self.line_end);
        self.parts.close();
    }
}
