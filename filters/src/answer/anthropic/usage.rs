//! How many tokens does an answer say it used? Anthropic says it twice in a stream: at its begin for the prompt, at its
//! end for all of it, and what comes later replaces what came before.

use super::positions::{Role, find};
use crate::answer::values::{TOKENS_MAX, number};
use crate::dlp::projection::Mark;
use crate::quota::Usage;

/// What was said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    output: Option<u64>,
}

impl Told {
    /// Takes what an answer or an event says.
    pub(super) fn take(&mut self, data: &[u8], marks: &[Mark<Role>]) {
        for (role, slot) in [
            (Role::InputTokens, &mut self.input),
            (Role::CacheReadTokens, &mut self.cache_read),
            (Role::CacheWriteTokens, &mut self.cache_write),
            (Role::OutputTokens, &mut self.output),
        ] {
            let stated = find(marks, role).and_then(|mark| number(data, mark));
            *slot = stated.filter(|tokens| *tokens <= TOKENS_MAX).or(*slot);
        }
    }

    /// As all dialects count: the prompt's tokens with those of the cache. An answer that is not at its end used at
    /// least what was `counted` of it.
    pub(super) fn usage(&self, counted: u64) -> Option<Usage> {
        let (cached_tokens, cache_write_tokens) =
            (self.cache_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        Some(Usage {
            prompt_tokens: self.input? + cached_tokens + cache_write_tokens,
            cached_tokens,
            cache_write_tokens,
            completion_tokens: self.output.unwrap_or(0).max(counted),
        })
    }
}
