//! How does Anthropic lay out a request? Its position table.
//!
//! Source: the Messages API (docs.claude.com/en/api/messages), version 2023-06-01. What the table does not know is
//! text, and scanned.

use super::roles::{Role, Wish, look_up};
use crate::dlp::projection::Positions;

/// From the role of an object and a key to the role of the value.
const MEMBERS: &[(Role, &str, Role)] = &[
    (Role::Root, "model", Role::Model),
    (Role::Root, "stream", Role::Stream),
    (Role::Root, "max_tokens", Role::MaxTokens),
    (Role::Root, "metadata", Role::Free),
    (Role::Root, "tools", Role::Tools),
    (Role::Tool, "type", Role::ToolType),
    (Role::Tool, "name", Role::ToolName),
    (Role::Root, "mcp_servers", Role::Asks(Wish::McpServers)),
    // What other requests left with the provider.
    (Role::Root, "container", Role::Asks(Wish::Container)),
    (Role::Root, "thread", Role::Asks(Wish::Thread)),
    (Role::Root, "fallback_credit_token", Role::Asks(Wish::CreditToken)),
    (Role::Root, "previous_message_id", Role::Asks(Wish::PreviousMessage)),
    // Models that nobody authorised.
    (Role::Root, "fallbacks", Role::Asks(Wish::Fallbacks)),
    // Somebody else's bill.
    (Role::Root, "billing_policy", Role::Asks(Wish::Billing)),
    (Role::Source, "url", Role::SourceUrl),
    (Role::Source, "media_type", Role::SourceType),
];

/// Keys that mean the same wherever they stand.
const ANYWHERE: &[(&str, Role)] = &[
    // Of an image or a document; of a search result it is a label.
    ("source", Role::Source),
    ("file_id", Role::Asks(Wish::FileId)),
    ("previous_message_id", Role::Asks(Wish::PreviousMessage)),
    ("input", Role::Free),
    ("input_schema", Role::Free),
    ("input_examples", Role::Free),
    ("schema", Role::Free),
];

/// Kinds of tools that the caller runs itself, without the date at their end; all others are the provider's.
const LOCAL_TOOLS: &[&str] =
    &["bash", "browser_toolset", "computer", "computer_toolset", "custom", "memory", "text_editor"];

/// The position table.
#[derive(Debug)]
pub(super) struct Requests;

impl Positions for Requests {
    type Role = Role;

    fn member(parent: Role, key: &[u8]) -> Role {
        look_up(MEMBERS, ANYWHERE, parent, key)
    }

    fn element(parent: Role) -> Role {
        parent.element()
    }
}

/// Whether the caller runs a tool of this kind itself: `bash_20250124`.
pub(super) fn is_local_tool(kind: &str) -> bool {
    let is_date = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let kind = match kind.rsplit_once('_') {
        Some((kind, date)) if is_date(date) => kind,
        Some(_) | None => kind,
    };
    LOCAL_TOOLS.contains(&kind)
}
