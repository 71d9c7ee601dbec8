//! Which text did the user say last?
//!
//! Needs the `messages` array of a chat request. Keeps the last user message's content as the JSON it was,
//! and whether a tool's result came after it; everything else is skipped without being built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::text::Text;

/// What the double remembers of a conversation.
pub(super) struct LastUser<'a> {
    content: Option<&'a RawValue>,
    /// Whether the last message of all is a tool's result.
    pub tool_spoke_last: bool,
}

#[derive(serde::Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

impl<'a> LastUser<'a> {
    /// The text: a string as it was spelt, or the text parts joined by line feeds.
    pub(super) fn text(&self) -> Text<'a> {
        let Some(content) = self.content else {
            return Text::Plain(Cow::Borrowed(""));
        };
        if !content.get().starts_with('[') {
            return Text::of(content);
        }
        match serde_json::from_str::<Vec<Part<'a>>>(content.get()) {
            Ok(parts) => {
                let texts: Vec<_> = parts.into_iter().filter_map(|part| part.text).collect();
                Text::Plain(Cow::Owned(texts.join("\n")))
            }
            // Parts of an unknown shape are shown as they were spelt: a double hides nothing.
            Err(_) => Text::of(content),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for LastUser<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Messages)
    }
}

struct Messages;

impl<'de> Visitor<'de> for Messages {
    type Value = LastUser<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<LastUser<'de>, A::Error> {
        let mut last = LastUser { content: None, tool_spoke_last: false };
        while let Some(message) = messages.next_element::<Message<'de>>()? {
            last.tool_spoke_last = message.role == "tool";
            if message.role == "user" {
                last.content = message.content;
            }
        }
        Ok(last)
    }
}
