//! What does `POST /v1/completions`, the legacy endpoint, answer?
//!
//! Needs the request's body and a script. One choice per prompt and `n`, each echoing its prompt. A prompt of
//! token numbers is echoed as the JSON it was, so that a test still sees it. It has one lane: `lane` is
//! ignored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{Answer, Stamp};
use super::ask::{self, Plan, StreamOptions};
use super::failure::Failure;
use super::openai::{self, FINGERPRINT, StreamUsage, Usage};
use super::script::Script;
use super::sse::Events;
use super::text::Text;

/// The fields of a completion request that decide the answer.
#[derive(Deserialize)]
pub(super) struct Ask<'a> {
    /// The model asked for.
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<usize>,
}

/// A document and a chunk have the same shape here, and the same object name.
#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<StreamUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mock_extra: Option<&'a Text<'a>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: Text<'a>,
    index: usize,
    logprobs: Option<()>,
    finish_reason: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// All prompts, for echoes.
    pub(super) fn text(&self) -> Text<'a> {
        self.prompt.map_or(Text::Plain(Cow::Borrowed("")), Text::of)
    }

    fn prompts(&self) -> Result<Vec<Text<'a>>, Failure> {
        let prompt = self.prompt.ok_or_else(|| openai::missing("prompt"))?;
        match serde_json::from_str::<Vec<&'a RawValue>>(prompt.get()) {
            // Strings and token arrays are several prompts; numbers are one prompt of tokens.
            Ok(several) if several.iter().all(|one| one.get().starts_with(['"', '['])) => {
                Ok(several.into_iter().map(Text::of).collect())
            }
            Ok(_) | Err(_) => Ok(vec![Text::of(prompt)]),
        }
    }

    /// The answer. `body_bytes` is the request's length, for its tokens.
    pub(super) fn answer(&self, script: &Script, stamp: Stamp, body_bytes: usize) -> Result<Answer, Failure> {
        let mut texts = Vec::new();
        for prompt in self.prompts()? {
            let text = ask::said(script, || prompt);
            let count = ask::choices(self.n, text.bytes())?;
            texts.extend(std::iter::repeat_n(text, count));
        }
        let said_bytes = texts.iter().map(Text::bytes).sum();
        ask::choices(Some(texts.len()), said_bytes / texts.len().max(1))?;
        let usage = Usage::of(script, body_bytes, said_bytes);
        let id = stamp.id("cmpl-");
        let envelope = Completion {
            id: &id,
            object: "text_completion",
            created: stamp.created,
            model: self.model.as_deref().unwrap_or_default(),
            system_fingerprint: FINGERPRINT,
            choices: &[],
            usage: None,
            mock_extra: texts.first().filter(|_| script.extra),
        };
        if ask::wants_stream(self.stream) {
            Ok(stream(script, &envelope, &texts, usage.filter(|_| ask::wants_usage(self.stream_options))))
        } else {
            let finish_reason = ask::finish_reason(script, "stop");
            let whole = |(index, text): (usize, &Text<'a>)| Choice {
                text: text.clone(),
                index,
                logprobs: None,
                finish_reason: Some(finish_reason),
            };
            let choices: Vec<_> = texts.iter().enumerate().map(whole).collect();
            Ok(Answer::json(
                200,
                &Completion { choices: &choices, usage: usage.map(StreamUsage::Known), ..envelope },
                script,
            ))
        }
    }
}

fn stream(script: &Script, envelope: &Completion<'_>, texts: &[Text<'_>], usage: Option<Usage>) -> Answer {
    let mut events = Events::new(script);
    let mut push = |choices: &[Choice<'_>], last_usage: StreamUsage| {
        // As in chat: null in every chunk but the last, and absent unless asked for.
        events.push(&Completion { choices, usage: usage.map(|_| last_usage), ..*envelope });
    };
    let plan = Plan::of(script, texts.len());
    for (index, text) in texts.iter().enumerate() {
        for piece in plan.pieces(&text.plain()) {
            let text = Text::Plain(Cow::Borrowed(piece));
            push(&[Choice { text, index, logprobs: None, finish_reason: None }], StreamUsage::Pending);
        }
        let text = Text::Plain(Cow::Borrowed(""));
        let finish_reason = Some(ask::finish_reason(script, "stop"));
        push(&[Choice { text, index, logprobs: None, finish_reason }], StreamUsage::Pending);
    }
    if let Some(usage) = usage {
        push(&[], StreamUsage::Known(usage));
    }
    if !script.no_done {
        events.push_done();
    }
    Answer::events(events.finish(), script)
}
