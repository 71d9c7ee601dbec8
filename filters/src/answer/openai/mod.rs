//! How does OpenAI lay out its answers? Its position table, its stream, and the events that are our own.

mod own_events;
mod positions;
pub(super) mod stream;
pub(super) mod whole;
