//! How does Anthropic lay out its answers? Its position table, its stream, and the events that are our own.
//!
//! Source: the Messages API and its streaming (docs.claude.com/en/api/messages-streaming), version 2023-06-01.

mod own_events;
mod positions;
pub(super) mod stream;
mod usage;
pub(super) mod whole;
