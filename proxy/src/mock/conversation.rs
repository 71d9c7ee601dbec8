//! What does the double remember of a conversation?
//!
//! Needs the `messages` array of a request, in either dialect. Keeps the last text that the user said as the JSON it
//! was, whether a tool's result came after it, and whether signed reasoning came back altered; everything else is
//! skipped without being built.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::seed;
use super::text::Text;

/// Words of 64 bits in a signature: long enough to be cut by any stream.
const SIGNATURE_WORDS: u64 = 12;

/// What the double remembers of a conversation.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    content: Option<&'a RawValue>,
    /// Whether the last message of all is a tool's result.
    pub tool_spoke_last: bool,
    /// Message and part of the first reasoning whose signature is not its own.
    pub forged: Option<(usize, usize)>,
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
    #[serde(borrow, rename = "type")]
    tag: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
}

impl<'a> Conversation<'a> {
    /// The user's last text: a string as it was spelt, or the text parts joined by line feeds.
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

    fn hear(&mut self, number: usize, message: &Message<'a>) {
        self.tool_spoke_last = message.role == "tool";
        match message.role.as_ref() {
            "user" => {
                // Only Anthropic's tools answer in a user message, whose parts may hold no word of the user.
                let parts = parts_with(message, "\"tool_result\"");
                self.tool_spoke_last = parts.iter().any(|part| part.tag.as_deref() == Some("tool_result"));
                if parts.is_empty() || parts.iter().any(|part| part.text.is_some()) {
                    self.content = message.content;
                }
            }
            "assistant" if self.forged.is_none() => {
                let parts = parts_with(message, "\"signature\"");
                self.forged = parts.iter().position(Part::is_forged).map(|part| (number, part));
            }
            _ => {}
        }
    }
}

impl Part<'_> {
    fn is_forged(&self) -> bool {
        let thinking = self.thinking.as_deref().unwrap_or_default();
        self.signature.as_deref().is_some_and(|presented| presented != signature(thinking))
    }
}

/// The parts of a message, if it has parts and holds the word; to look for the word is cheaper than to read them.
fn parts_with<'a>(message: &Message<'a>, word: &str) -> Vec<Part<'a>> {
    let content = message.content.map(RawValue::get).filter(|content| content.starts_with('['));
    let worth_reading = content.filter(|content| content.contains(word));
    worth_reading.and_then(|content| serde_json::from_str(content).ok()).unwrap_or_default()
}

/// The signature of a text of reasoning. It can be checked by whoever has the text, which is enough to notice that
/// somebody between altered it.
pub(super) fn signature(thinking: &str) -> String {
    let start = seed::of_text(thinking);
    let words = (0..SIGNATURE_WORDS).map(|index| seed::mixed(seed::nth(start, index)));
    STANDARD.encode(words.flat_map(u64::to_be_bytes).collect::<Vec<_>>())
}

impl<'de: 'a, 'a> Deserialize<'de> for Conversation<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Messages)
    }
}

struct Messages;

impl<'de> Visitor<'de> for Messages {
    type Value = Conversation<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut messages: A) -> Result<Conversation<'de>, A::Error> {
        let mut conversation = Conversation::default();
        let mut number = 0;
        while let Some(message) = messages.next_element::<Message<'de>>()? {
            conversation.hear(number, &message);
            number += 1;
        }
        Ok(conversation)
    }
}
