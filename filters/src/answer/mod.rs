//! What comes back, and what of it may go on?
//!
//! Needs the visitor, what was asked and the answer's bytes as they arrive; yields bytes for the client. An answer in
//! one piece is held, read and redacted; a stream is read event by event and each of its lanes released as far as it
//! is decided. An answer that cannot be read fails closed: nothing of it is passed on unscanned.

mod anthropic;
mod events;
pub mod failure;
mod lanes;
mod nesting;
mod openai;
mod restore;
mod stream;
mod surroundings;
mod values;
mod whole;

use crate::dlp::originals::Originals;
use crate::dlp::projection::Unreadable;
use crate::dlp::{Cleared, Finding, Judge};
use crate::documents::Direction;
use crate::quota::Usage;
use crate::tenant::Visitor;
use std::sync::Arc;

/// An answer in one piece may have this many bytes; it is held in memory.
pub const WHOLE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// One event of a stream may have this many bytes.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// A character of an answer whose usage never came is reckoned at a quarter of a token, as for prompts.
const BYTES_PER_TOKEN: u64 = 4;

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More may come.
    Open,
    /// It was ended in the dialect's own way; what remains upstream is not wanted.
    Ended,
}

/// Why an answer cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Neither JSON nor a stream of events.
    #[error("the provider answered with an unknown content type")]
    ContentType,
    /// Not what its content type says.
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    /// A line that no event has.
    #[error("the provider's event stream cannot be read")]
    Events,
    /// The stream reports an error of its own.
    #[error("the provider reported an error in its stream")]
    Reported,
    /// Larger than can be held.
    #[error("the provider's answer is too large to be scanned")]
    TooLarge,
    /// More findings than one answer may have.
    #[error("the provider's answer holds more findings than can be judged")]
    ScanLimit,
    /// It ended before its end.
    #[error("the provider's answer ended early")]
    Truncated,
    /// Nothing came.
    #[error("the provider's answer is empty")]
    Empty,
}

/// What was seen, for the event and the settlement.
#[derive(Debug, Default)]
pub struct Report {
    /// Tokens as the provider counted them.
    pub usage: Option<Usage>,
    /// Tokens of the answer as its text was counted, for when the provider did not say.
    pub counted_tokens: u64,
    /// The model that answered, as it calls itself.
    pub model: Option<String>,
    /// Everything that was found.
    pub findings: Vec<Finding>,
    /// Events of the stream.
    pub events: u64,
    /// Whether policy ended it.
    pub is_blocked: bool,
}

/// An answer under way.
#[derive(Debug)]
pub struct Answer {
    visitor: Visitor,
    originals: Arc<Originals>,
    form: Form,
    report: Report,
}

#[derive(Debug)]
enum Form {
    Whole(Box<whole::Whole>),
    Stream(Box<stream::Stream>),
}

impl Answer {
    /// Begins to read an answer to this prompt, of this content type.
    pub fn begin(
        visitor: &Visitor,
        cleared: &Cleared,
        content_type: Option<&str>,
    ) -> Result<Self, AnswerFault> {
        let head = cleared.head();
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let form = if media_type.eq_ignore_ascii_case("application/json") {
            Form::Whole(Box::new(whole::Whole::new(head)))
        } else if media_type.eq_ignore_ascii_case("text/event-stream") && head.stream {
            Form::Stream(Box::new(stream::Stream::new(head)))
        } else {
            return Err(AnswerFault::ContentType);
        };
        Ok(Self {
            visitor: visitor.clone(),
            originals: cleared.originals().clone(),
            form,
            report: Report::default(),
        })
    }

    /// Whether the answer is passed on as it comes.
    pub fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream(_))
    }

    /// How many bytes it holds that were not read yet.
    pub fn held_bytes(&self) -> usize {
        match &self.form {
            Form::Whole(whole) => whole.held_bytes(),
            Form::Stream(_) => 0,
        }
    }

    /// Takes bytes; appends to `out` what may leave now.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Flow, AnswerFault> {
        match &mut self.form {
            Form::Whole(whole) => whole.push(bytes).map(|()| Flow::Open),
            Form::Stream(stream) => {
                let judge = Judge::new(&self.visitor, Direction::Output).with_originals(&self.originals);
                stream.push(&judge, bytes, &mut self.report, out)
            }
        }
    }

    /// The provider has said everything; appends the rest.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), AnswerFault> {
        let judge = Judge::new(&self.visitor, Direction::Output).with_originals(&self.originals);
        match &mut self.form {
            Form::Whole(whole) => whole.finish(&judge, &mut self.report, out),
            Form::Stream(stream) => stream.finish(&judge, &mut self.report, out),
        }
    }

    /// What was seen so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What was seen.
    pub fn into_report(self) -> Report {
        self.report
    }
}
