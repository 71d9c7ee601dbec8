//! An answer in pieces: each event read and passed on by its dialect, each text released as far as it is decided.
//!
//! What all dialects share is here and in `lanes`: events are read strictly, counted and bounded. What an event means,
//! and how one of our own looks, the dialect's stream knows.

use super::anthropic;
use super::events::Events;
use super::openai;
use super::{AnswerFault, BYTES_PER_TOKEN, Flow, Report};
use crate::dialect::Dialect;
use crate::dlp::{FINDINGS_MAX, Judge};
use crate::prompt::Head;

pub(super) struct Stream {
    events: Events,
    form: Form,
}

enum Form {
    OpenAi(openai::stream::Stream),
    Anthropic(anthropic::stream::Stream),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Stream")
    }
}

impl Stream {
    pub(super) fn new(head: &Head) -> Self {
        let form = match head.surface.dialect() {
            Dialect::OpenAi => Form::OpenAi(openai::stream::Stream::new(head)),
            Dialect::Anthropic => Form::Anthropic(anthropic::stream::Stream::new(head)),
        };
        Self { events: Events::new(), form }
    }

    pub(super) fn push(
        &mut self,
        judge: &Judge<'_>,
        bytes: &[u8],
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<Flow, AnswerFault> {
        let form = &mut self.form;
        let result = self.events.push(bytes, &mut |event| {
            report.events += 1;
            let flow = match form {
                Form::OpenAi(stream) => stream.event(judge, event.data, report, out),
                Form::Anthropic(stream) => stream.event(judge, event, report, out),
            };
            Ok(flow? == Flow::Open)
        });
        let lane_bytes = match &self.form {
            Form::OpenAi(stream) => stream.lane_bytes(),
            Form::Anthropic(stream) => stream.lane_bytes(),
        };
        report.counted_tokens = lane_bytes.div_ceil(BYTES_PER_TOKEN);
        if report.findings.len() > FINDINGS_MAX {
            return Err(AnswerFault::ScanLimit);
        }
        result.map(|goes_on| if goes_on { Flow::Open } else { Flow::Ended })
    }

    pub(super) fn finish(
        &mut self,
        judge: &Judge<'_>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<(), AnswerFault> {
        let is_done = match &self.form {
            Form::OpenAi(stream) => stream.is_done(),
            Form::Anthropic(stream) => stream.is_done(),
        };
        if is_done {
            return Ok(());
        }
        if report.events == 0 {
            return Err(AnswerFault::Empty);
        }
        if !self.events.is_complete() {
            return Err(AnswerFault::Truncated);
        }
        match &mut self.form {
            Form::OpenAi(stream) => stream.finish(judge, report, out),
            // There is one way to end.
            Form::Anthropic(_) => Err(AnswerFault::Truncated),
        }
    }
}
