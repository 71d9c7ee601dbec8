//! An answer in one piece: held, then read once by its dialect, and redacted by splice.

use super::anthropic;
use super::openai;
use super::{AnswerFault, Report, WHOLE_BYTES_MAX};
use crate::dialect::Dialect;
use crate::dlp::Judge;
use crate::prompt::Head;

#[derive(Debug)]
pub(super) struct Whole {
    body: Vec<u8>,
    head: Head,
}

impl Whole {
    pub(super) fn new(head: &Head) -> Self {
        Self { body: Vec::new(), head: head.clone() }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.body.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), AnswerFault> {
        if self.body.len() + bytes.len() > WHOLE_BYTES_MAX {
            return Err(AnswerFault::TooLarge);
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        judge: &Judge<'_>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<(), AnswerFault> {
        let body = std::mem::take(&mut self.body);
        if body.trim_ascii().is_empty() {
            return Err(AnswerFault::Empty);
        }
        *out = match self.head.surface.dialect() {
            Dialect::OpenAi => openai::whole::read(judge, &self.head, body, report)?,
            Dialect::Anthropic => anthropic::whole::read(judge, &self.head, body, report)?,
        };
        Ok(())
    }
}
