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

    /// Adds one event.
    pub(super) fn push<T: Serialize>(&mut self, value: &T) {
        self.begin();
        self.parts.extend_json(value);
        self.end();
    }

    /// Adds the event with which OpenAI's streams end, unless the script leaves it out.
    pub(super) fn finish(mut self, script: &Script) -> Parts {
        if !script.no_done {
            self.begin();
            self.parts.extend(b"[DONE]");
            self.end();
        }
        self.parts
    }

    fn begin(&mut self) {
        if self.comments {
            self.parts.extend(b": mock keep-alive");
            self.end();
        }
        self.parts.extend(b"data: ");
    }

    fn end(&mut self) {
        self.parts.extend(self.line_end);
        self.parts.extend(self.line_end);
        self.parts.close();
    }
}
