//! What does `POST /v1/chat/completions` answer?
//!
//! Needs the request's body and a script. Proves OpenAI's order of a stream: a delta with the role, deltas
//! with the text, a chunk with the finish reason, the usage if asked for, `[DONE]`. The body is read once and
//! only where something is used: the last user message stays the JSON that it was, so an echo repeats exactly
//! what left the proxy. It checks no types that it does not need; it is a double, not a validator.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Stamp};
use super::ask::{self, Plan, StreamOptions};
use super::chat_shape::{
    Call, Choice, Chunk, ChunkChoice, Completion, Delta, Logprobs, Message, Probability, ToolCall,
    ToolCallDelta, ToolCallOpening,
};
use super::conversation::Conversation;
use super::failure::Failure;
use super::openai::{self, FINGERPRINT, StreamUsage, Usage};
use super::script::{Lane, Script};
use super::sse::Events;
use super::text::{self, Text};

/// The fields of a chat request that decide the answer.
#[derive(Deserialize)]
pub(super) struct Ask<'a> {
    /// The model asked for.
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<Conversation<'a>>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<usize>,
    logprobs: Option<bool>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// What the double says, and how: decided once, spelt as one document or as a stream.
struct Speech<'a> {
    lane: Lane,
    text: Text<'a>,
    tool: Cow<'a, str>,
    arguments: String,
    choices: usize,
    logprobs: bool,
    usage: Option<Usage>,
}

impl<'a> Ask<'a> {
    /// The last user message's text, for echoes.
    pub(super) fn text(&self) -> Text<'a> {
        self.messages.as_ref().map_or(Text::Plain(Cow::Borrowed("")), Conversation::text)
    }

    /// The answer. `body_bytes` is the request's length, for its tokens.
    pub(super) fn answer(&self, script: &Script, stamp: Stamp, body_bytes: usize) -> Result<Answer, Failure> {
        if self.messages.is_none() {
            return Err(openai::missing("messages"));
        }
        let speech = self.speech(script, body_bytes)?;
        let model = self.model.as_deref().unwrap_or_default();
        if ask::wants_stream(self.stream) {
            Ok(speech.stream(script, stamp, model, ask::wants_usage(self.stream_options)))
        } else {
            Ok(speech.document(script, stamp, model))
        }
    }

    fn speech(&self, script: &Script, body_bytes: usize) -> Result<Speech<'a>, Failure> {
        let text = ask::said(script, || self.text());
        let choices = ask::choices(self.n, text.bytes())?;
        let wished = self.tool(&text);
        let lane = match (script.lane, &wished) {
            (Some(lane), _) => lane,
            (None, Some(_)) => Lane::Tool,
            (None, None) => Lane::Content,
        };
        let arguments = match lane {
            Lane::Tool => ask::arguments(&text),
            Lane::Content | Lane::Refusal | Lane::Reasoning => String::new(),
        };
        let said_bytes = match lane {
            Lane::Reasoning => text.bytes() * 2,
            Lane::Content | Lane::Refusal | Lane::Tool => text.bytes(),
        };
        Ok(Speech {
            lane,
            text,
            tool: wished.or_else(|| self.first_tool()).unwrap_or(Cow::Borrowed(ask::TOOL_UNNAMED)),
            arguments,
            choices,
            logprobs: script.logprobs || self.logprobs == Some(true),
            usage: Usage::of(script, body_bytes, said_bytes * choices),
        })
    }

    /// The tool that the request makes us call, if it does: one that it names, or the first if it requires
    /// one or its user says the word. After a tool's result the word counts no more, or loops would never
    /// end.
    fn tool(&self, text: &Text<'_>) -> Option<Cow<'a, str>> {
        self.tools?;
        match self.tool_choice.map(RawValue::get) {
            Some("\"none\"") => None,
            Some("\"required\"") => self.first_tool(),
            Some(named) if named.starts_with('{') => {
                let named: Tool<'a> = serde_json::from_str(named).ok()?;
                named.function.map(|function| function.name).or_else(|| self.first_tool())
            }
            Some(_) | None => {
                let after_tool = self.messages.as_ref().is_some_and(|messages| messages.tool_spoke_last);
                (!after_tool && text::says_tool(&text.plain())).then(|| self.first_tool()).flatten()
            }
        }
    }

    fn first_tool(&self) -> Option<Cow<'a, str>> {
        let tools: Vec<Tool<'a>> = serde_json::from_str(self.tools?.get()).ok()?;
        tools.into_iter().find_map(|tool| tool.function).map(|function| function.name)
    }
}

impl Speech<'_> {
    fn finish_reason<'s>(&self, script: &'s Script) -> &'s str {
        let own = match self.lane {
            Lane::Tool => "tool_calls",
            Lane::Content | Lane::Refusal | Lane::Reasoning => "stop",
        };
        ask::finish_reason(script, own)
    }

    fn document(&self, script: &Script, stamp: Stamp, model: &str) -> Answer {
        let call_id = stamp.id("call_");
        let spoken = if self.logprobs { self.text.plain() } else { Cow::Borrowed("") };
        let choice = |index| Choice {
            index,
            message: self.message(&call_id, script),
            logprobs: self.logprobs.then(|| {
                let plan = Plan::of(script, self.choices);
                self.probabilities(&plan.pieces(&spoken))
            }),
            finish_reason: self.finish_reason(script),
        };
        let completion = Completion {
            id: &stamp.id("chatcmpl-"),
            object: "chat.completion",
            created: stamp.created,
            model,
            choices: (0..self.choices).map(choice).collect(),
            usage: self.usage,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
            mock_extra: script.extra.then_some(&self.text),
        };
        Answer::json(200, &completion, script)
    }

    fn message<'m>(&'m self, call_id: &'m str, script: &Script) -> Message<'m> {
        let text = Some(&self.text);
        let (content, reasoning_content, refusal, arguments) = match self.lane {
            Lane::Content => (text, None, None, None),
            Lane::Refusal => (None, None, text, None),
            Lane::Reasoning => (text, text, None, None),
            Lane::Tool => (None, None, None, Some(&self.arguments)),
        };
        let tool_calls = arguments.map(|arguments| [self.call(call_id, arguments)]);
        let mock_extra = text.filter(|_| script.extra);
        Message {
            role: "assistant",
            content,
            reasoning_content,
            refusal,
            tool_calls,
            annotations: [],
            mock_extra,
        }
    }

    fn call<'m>(&'m self, call_id: &'m str, arguments: &'m str) -> ToolCall<'m> {
        ToolCall { id: call_id, kind: "function", function: Call { name: Some(&self.tool), arguments } }
    }

    /// Choices take turns, delta by delta, as they do when they are generated at once.
    fn stream(&self, script: &Script, stamp: Stamp, model: &str, with_usage: bool) -> Answer {
        let plain = self.text.plain();
        let spoken = if self.lane == Lane::Tool { self.arguments.as_str() } else { &plain };
        let pieces = Plan::of(script, self.choices).pieces(spoken);
        let call_id = stamp.id("call_");
        let mut stream = Stream {
            events: Events::new(script),
            id: stamp.id("chatcmpl-"),
            created: stamp.created,
            model,
            usage: with_usage.then_some(StreamUsage::Pending),
            extra: script.extra,
            said: script.extra.then_some(&self.text),
        };
        self.turns(&mut stream, || self.opening(&call_id), None, None);
        if self.lane == Lane::Reasoning {
            for piece in &pieces {
                self.turns(&mut stream, || Delta::Reasoning { reasoning_content: piece }, None, None);
            }
        }
        for piece in &pieces {
            self.turns(&mut stream, || self.delta(piece), Some(*piece), None);
        }
        self.turns(&mut stream, || Delta::Closing {}, None, Some(self.finish_reason(script)));
        if with_usage && let Some(usage) = self.usage {
            stream.usage = Some(StreamUsage::Known(usage));
            stream.push(&[]);
        }
        if !script.no_done {
            stream.events.push_done();
        }
        Answer::events(stream.events.finish(), script)
    }

    /// The same delta for every choice.
    fn turns<'m>(
        &self,
        stream: &mut Stream<'_>,
        delta: impl Fn() -> Delta<'m>,
        piece: Option<&'m str>,
        finish_reason: Option<&str>,
    ) {
        for index in 0..self.choices {
            let logprobs = piece.filter(|_| self.logprobs).map(|token| self.probabilities(&[token]));
            let mock_extra = piece.filter(|_| stream.extra);
            stream.push(&[ChunkChoice { index, delta: delta(), logprobs, finish_reason, mock_extra }]);
        }
    }

    fn opening<'m>(&'m self, call_id: &'m str) -> Delta<'m> {
        let (content, tool_calls) = match self.lane {
            Lane::Tool => (None, Some([ToolCallOpening { index: 0, call: self.call(call_id, "") }])),
            Lane::Refusal => (None, None),
            Lane::Content | Lane::Reasoning => (Some(""), None),
        };
        Delta::Opening { role: "assistant", content, tool_calls, refusal: None }
    }

    fn delta<'m>(&self, piece: &'m str) -> Delta<'m> {
        match self.lane {
            Lane::Content | Lane::Reasoning => Delta::Content { content: piece },
            Lane::Refusal => Delta::Refusal { refusal: piece },
            Lane::Tool => {
                let function = Call { name: None, arguments: piece };
                Delta::Arguments { tool_calls: [ToolCallDelta { index: 0, function }] }
            }
        }
    }

    fn probabilities<'t>(&self, tokens: &[&'t str]) -> Logprobs<'t> {
        let tokens = tokens
            .iter()
            .map(|token| Probability { token, logprob: -0.01, bytes: token.as_bytes(), top_logprobs: [] })
            .collect();
        match self.lane {
            Lane::Refusal => Logprobs { content: None, refusal: Some(tokens) },
            Lane::Content | Lane::Reasoning => Logprobs { content: Some(tokens), refusal: None },
            Lane::Tool => Logprobs { content: None, refusal: None },
        }
    }
}

/// The envelope of a stream's chunks.
struct Stream<'a> {
    events: Events,
    id: String,
    created: u64,
    model: &'a str,
    usage: Option<StreamUsage>,
    extra: bool,
    /// The whole text, for the first chunk, if there is to be more than belongs there.
    said: Option<&'a Text<'a>>,
}

impl Stream<'_> {
    fn push(&mut self, choices: &[ChunkChoice<'_>]) {
        self.events.push(&Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
            choices,
            usage: self.usage,
            mock_extra: self.said.take(),
        });
    }
}
