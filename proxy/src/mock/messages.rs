//! What do `POST /v1/messages` and `POST /v1/messages/count_tokens` answer?
//!
//! Needs the request's body and a script. Proves Anthropic's order of a stream: `message_start`; for each block its
//! start, its deltas and its stop, with a `ping` in the first; `message_delta` with the reason and the usage;
//! `message_stop`. Reasoning is signed, and refused when it comes back altered, as there. Like `chat`, it checks no
//! types that it does not need.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::answer::{Answer, Stamp};
use super::anthropic::{self, Usage};
use super::ask::{self, Plan};
use super::conversation::{Conversation, signature};
use super::failure::Failure;
use super::messages_shape::{Block, Count, Delta, Event, Input, Message, RefusalDetails, Stop};
use super::script::{Lane, Script};
use super::sse::Events;
use super::text::{self, Text};

/// The fields of a message request that decide the answer.
#[derive(Deserialize)]
pub(super) struct Ask<'a> {
    /// The model asked for.
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    max_tokens: Option<u64>,
    #[serde(borrow)]
    messages: Option<Conversation<'a>>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<Choice<'a>>,
    #[serde(borrow)]
    thinking: Option<Choice<'a>>,
    stream: Option<bool>,
    temperature: Option<IgnoredAny>,
    top_p: Option<IgnoredAny>,
    top_k: Option<IgnoredAny>,
}

/// `tool_choice`, and `thinking`: a type, and sometimes whose.
#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, rename = "type")]
    tag: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

/// What the double says, and how: decided once, spelt as one document or as a stream.
struct Speech<'a> {
    lane: Lane,
    text: Text<'a>,
    tool: Cow<'a, str>,
    /// Of the reasoning, if there is any.
    signature: Option<String>,
    stop_reason: Cow<'a, str>,
    usage: Option<Usage>,
}

impl<'a> Ask<'a> {
    /// The last user message's text, for echoes.
    pub(super) fn text(&self) -> Text<'a> {
        self.messages.as_ref().map_or(Text::Plain(Cow::Borrowed("")), Conversation::text)
    }

    /// The message. `body_bytes` is the request's length, for its tokens.
    pub(super) fn answer(&self, script: &Script, stamp: Stamp, body_bytes: usize) -> Result<Answer, Failure> {
        self.check()?;
        if self.max_tokens.is_none() {
            return Err(anthropic::missing("max_tokens"));
        }
        let speech = self.speech(script, body_bytes);
        let model = self.model.as_deref().unwrap_or_default();
        if ask::wants_stream(self.stream) {
            Ok(speech.stream(script, stamp, model))
        } else {
            Ok(speech.document(script, stamp, model))
        }
    }

    /// How many tokens the message would take in, which needs no limit of its own.
    pub(super) fn count(&self, script: &Script, body_bytes: usize) -> Result<Answer, Failure> {
        self.check()?;
        let input_tokens = Usage::of(script, body_bytes, 0).map_or(0, Usage::input);
        Ok(Answer::json(200, &Count { input_tokens }, script))
    }

    /// Whether the request has nothing that this version of the API knows no longer.
    pub(super) fn check_version(&self, version: &str) -> Result<(), Failure> {
        let sampling = [("temperature", self.temperature), ("top_p", self.top_p), ("top_k", self.top_k)];
        match sampling.into_iter().find(|(_, value)| value.is_some()) {
            Some((field, _)) if version == anthropic::VERSION_WITHOUT_SAMPLING => {
                Err(anthropic::unknown(field))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let messages = self.messages.as_ref().ok_or_else(|| anthropic::missing("messages"))?;
        match messages.forged {
            Some((message, part)) => Err(anthropic::forged(message, part)),
            None => Ok(()),
        }
    }

    fn speech(&self, script: &Script, body_bytes: usize) -> Speech<'a> {
        let text = ask::said(script, || self.text());
        let wished = self.tool(&text);
        let lane = match (script.lane, &wished) {
            (Some(lane), _) => lane,
            (None, Some(_)) => Lane::Tool,
            (None, None) => Lane::Content,
        };
        let thinks = lane == Lane::Reasoning || is(self.thinking.as_ref(), "enabled");
        let said_bytes = text.bytes() * if thinks { 2 } else { 1 };
        let stop_reason = match (&script.stop, lane) {
            (Some(stop), _) => Cow::Owned(stop.as_ref().to_owned()),
            (None, Lane::Tool) => Cow::Borrowed("tool_use"),
            (None, Lane::Refusal) => Cow::Borrowed("refusal"),
            (None, Lane::Content | Lane::Reasoning) => Cow::Borrowed("end_turn"),
        };
        Speech {
            lane,
            tool: wished.or_else(|| self.first_tool()).unwrap_or(Cow::Borrowed(ask::TOOL_UNNAMED)),
            signature: thinks.then(|| signature(&text.plain())),
            stop_reason,
            usage: Usage::of(script, body_bytes, said_bytes),
            text,
        }
    }

    /// The tool that the request makes us call, by the rules that `chat` has.
    fn tool(&self, text: &Text<'_>) -> Option<Cow<'a, str>> {
        self.tools?;
        let choice = self.tool_choice.as_ref();
        if is(choice, "none") {
            return None;
        }
        if is(choice, "any") || is(choice, "tool") {
            return choice.and_then(|choice| choice.name.clone()).or_else(|| self.first_tool());
        }
        let after_tool = self.messages.as_ref().is_some_and(|messages| messages.tool_spoke_last);
        (!after_tool && text::says_tool(&text.plain())).then(|| self.first_tool()).flatten()
    }

    fn first_tool(&self) -> Option<Cow<'a, str>> {
        let tools: Vec<Tool<'a>> = serde_json::from_str(self.tools?.get()).ok()?;
        tools.into_iter().find_map(|tool| tool.name)
    }
}

fn is(choice: Option<&Choice<'_>>, tag: &str) -> bool {
    choice.is_some_and(|choice| choice.tag.as_deref() == Some(tag))
}

impl Speech<'_> {
    fn extra(&self, script: &Script) -> Option<&Text<'_>> {
        script.extra.then_some(&self.text)
    }

    fn stop_details(&self) -> Option<RefusalDetails> {
        let details = RefusalDetails { tag: "refusal", category: None, explanation: None };
        (self.stop_reason == "refusal").then_some(details)
    }

    fn document(&self, script: &Script, stamp: Stamp, model: &str) -> Answer {
        let tool_id = stamp.id("toolu_");
        let thinking =
            self.signature.as_deref().map(|signature| Block::Thinking { thinking: &self.text, signature });
        let spoken = match self.lane {
            Lane::Content | Lane::Refusal | Lane::Reasoning => {
                Block::Text { text: &self.text, mock_extra: self.extra(script) }
            }
            Lane::Tool => {
                Block::ToolUse { id: &tool_id, name: &self.tool, input: Input { input: Some(&self.text) } }
            }
        };
        let content: Vec<_> = thinking.into_iter().chain([spoken]).collect();
        let message = Message {
            model,
            id: &stamp.id("msg_"),
            tag: "message",
            role: "assistant",
            content: &content,
            stop_reason: Some(&self.stop_reason),
            stop_sequence: None,
            stop_details: self.stop_details(),
            usage: self.usage,
            mock_extra: self.extra(script),
        };
        Answer::json(200, &message, script)
    }

    fn stream(&self, script: &Script, stamp: Stamp, model: &str) -> Answer {
        let mut stream = Stream { events: Events::new(script), index: 0 };
        let message = Message {
            model,
            id: &stamp.id("msg_"),
            tag: "message",
            role: "assistant",
            content: &[],
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            usage: self.usage.map(Usage::at_start),
            mock_extra: self.extra(script),
        };
        stream.push(&Event::MessageStart { message });
        if let Some(text) = self.extra(script) {
            stream.push(&Event::Unknown { text });
        }
        self.blocks(&mut stream, script, stamp);
        let delta = Stop { reason: &self.stop_reason, sequence: None, details: self.stop_details() };
        stream.push(&Event::MessageDelta { delta, usage: self.usage.map(Usage::at_end) });
        if !script.no_done {
            stream.push(&Event::MessageStop {});
        }
        Answer::events(stream.events.finish(), script)
    }

    fn blocks(&self, stream: &mut Stream, script: &Script, stamp: Stamp) {
        let nothing = Text::Plain(Cow::Borrowed(""));
        let plan = Plan::of(script, 1);
        let plain = self.text.plain();
        if let Some(signature) = &self.signature {
            stream.open(Block::Thinking { thinking: &nothing, signature: "" });
            for thinking in plan.pieces(&plain) {
                stream.add(Delta::Thinking { thinking });
            }
            stream.add(Delta::Signature { signature });
            stream.close();
        }
        match self.lane {
            Lane::Content | Lane::Refusal | Lane::Reasoning => {
                stream.open(Block::Text { text: &nothing, mock_extra: None });
                for text in plan.pieces(&plain) {
                    stream.add(Delta::Text { text, mock_extra: script.extra.then_some(text) });
                }
            }
            Lane::Tool => {
                let id = stamp.id("toolu_");
                stream.open(Block::ToolUse { id: &id, name: &self.tool, input: Input { input: None } });
                // The first piece is always empty, as it is there.
                stream.add(Delta::InputJson { partial_json: "" });
                for partial_json in plan.pieces(&ask::arguments(&self.text)) {
                    stream.add(Delta::InputJson { partial_json });
                }
            }
        }
        stream.close();
    }
}

/// A stream, and the block that is open in it.
struct Stream {
    events: Events,
    index: usize,
}

impl Stream {
    fn push(&mut self, event: &Event<'_>) {
        self.events.push_named(event.name(), event);
    }

    fn open(&mut self, content_block: Block<'_>) {
        self.push(&Event::ContentBlockStart { index: self.index, content_block });
        if self.index == 0 {
            self.push(&Event::Ping {});
        }
    }

    fn add(&mut self, delta: Delta<'_>) {
        self.push(&Event::ContentBlockDelta { index: self.index, delta });
    }

    fn close(&mut self) {
        self.push(&Event::ContentBlockStop { index: self.index });
        self.index += 1;
    }
}
