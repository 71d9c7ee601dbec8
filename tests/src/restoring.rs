//! What comes back of what was taken out of a prompt, whatever a model makes of it: in every dialect, whole and
//! streamed, for any cutting.

use crate::http::Told;
use crate::keys::key;
use crate::memory::{MEMORY, policy, pushed, visitor};
use bytes::Bytes;
use palisade_filters::quota::Receipt;
use palisade_filters::{self as filters, Cleared, Outlook, Policy, Surface, Visitor};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

const JANE: &str = "jane@corp.example.org";

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let platform = "[[providers]]\nname = \"p\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"*\"]\n\
                    [[providers]]\nname = \"a\"\ndialect = \"anthropic\"\nbase_url = \"http://127.0.0.1:1\"\n\
                    models = [\"*\"]";
    let acme = format!(
        "id = \"acme\"\ndlp = {{ restore_in_tools = [\"send_*\"] }}\n\
         policy = [{{ name = \"mail\", entities = [\"EMAIL_ADDRESS\"], action = \"redact\", \
         mode = \"reversible\" }}]\n{}",
        key("acme").table
    );
    policy(platform, &[&acme])
});

static VISITOR: LazyLock<Visitor> = LazyLock::new(|| visitor(&POLICY, &key("acme").secret));

/// A prompt that was let through, and what the provider is sent of its text.
fn asked(surface: Surface, is_stream: bool, text: &str) -> (Cleared, String) {
    let member = if surface == Surface::Completions { "prompt" } else { "messages" };
    let said = if surface == Surface::Completions {
        json!(text)
    } else {
        json!([{"role": "user", "content": text}])
    };
    let body = json!({"model": "m", "max_tokens": 9, "stream": is_stream, member: said}).to_string();
    let prompt = filters::read(&VISITOR, surface, Bytes::from(body)).unwrap();
    let cleared = filters::clear(&VISITOR, &MEMORY, prompt).unwrap();
    let application = filters::apply(&VISITOR, &cleared).unwrap();
    let receipt = Receipt { ask: application.ask().clone(), ..Receipt::default() };
    let admission = filters::admit(application, Ok(receipt), &Outlook::default()).unwrap();
    let sent: Value = serde_json::from_slice(&cleared.for_target(&admission.itinerary.targets[0])).unwrap();
    let sent =
        sent["prompt"].as_str().or_else(|| sent["messages"][0]["content"].as_str()).unwrap().to_owned();
    (cleared, sent)
}

/// Which text of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Chat,
    Tool,
    Completion,
    Message,
    MessageTool,
}

impl Place {
    const ALL: [Self; 5] = [Self::Chat, Self::Tool, Self::Completion, Self::Message, Self::MessageTool];

    fn surface(self) -> Surface {
        match self {
            Self::Chat | Self::Tool => Surface::ChatCompletions,
            Self::Completion => Surface::Completions,
            Self::Message | Self::MessageTool => Surface::Messages,
        }
    }

    fn is_tool(self) -> bool {
        matches!(self, Self::Tool | Self::MessageTool)
    }

    fn lane(self) -> &'static str {
        match self {
            Self::Chat => "0.content",
            Self::Tool => "0.tool_calls[0]",
            Self::Completion | Self::Message => "0.text",
            Self::MessageTool => "0.partial_json",
        }
    }

    /// An answer in one piece that says a text, with a call of this tool where it is one.
    fn whole(self, text: &str, tool: &str) -> Value {
        match self {
            Self::Chat => {
                json!({"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]})
            }
            Self::Tool => {
                json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls":
                [{"id": "c", "type": "function", "function": {"name": tool, "arguments": text}}]}}]})
            }
            Self::Completion => json!({"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}),
            Self::Message => json!({"type": "message", "content": [{"type": "text", "text": text}]}),
            Self::MessageTool => json!({"type": "message", "content":
                [{"type": "tool_use", "id": "t", "name": tool, "input": serde_json::from_str::<Value>(text).unwrap()}]}),
        }
    }

    /// The same as a stream, in these pieces.
    fn stream(self, pieces: &[&str], tool: &str) -> String {
        let mut out = String::new();
        let mut event = |data: Value| {
            if self.surface() == Surface::Messages {
                out.push_str(&format!("event: {}\n", data["type"].as_str().unwrap()));
            }
            out.push_str(&format!("data: {data}\n\n"));
        };
        let choice = |delta: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        match self {
            Self::Tool => event(choice(json!({"tool_calls": [{"index": 0, "id": "c", "type": "function",
                "function": {"name": tool, "arguments": ""}}]}))),
            Self::Message | Self::MessageTool => {
                event(json!({"type": "message_start", "message": {"type": "message", "content": [],
                    "usage": {"input_tokens": 1, "output_tokens": 1}}}));
                let block = if self.is_tool() {
                    json!({"type": "tool_use", "id": "t", "name": tool, "input": {}})
                } else {
                    json!({"type": "text", "text": ""})
                };
                event(json!({"type": "content_block_start", "index": 0, "content_block": block}));
            }
            Self::Chat | Self::Completion => {}
        }
        for piece in pieces {
            event(match self {
                Self::Chat => choice(json!({"content": piece})),
                Self::Tool => choice(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})),
                Self::Completion => json!({"choices": [{"index": 0, "text": piece, "finish_reason": null}]}),
                Self::Message => json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "text_delta", "text": piece}}),
                Self::MessageTool => json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": piece}}),
            });
        }
        if self.surface() == Surface::Messages {
            event(json!({"type": "content_block_stop", "index": 0}));
            event(
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": 1}}),
            );
            event(json!({"type": "message_stop"}));
            return out;
        }
        let rest = if self == Self::Completion { json!({"text": ""}) } else { json!({"delta": {}}) };
        let mut last = json!({"index": 0, "finish_reason": "stop"});
        last.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        event(json!({"choices": [last]}));
        out + "data: [DONE]\n\n"
    }

    /// What a client reads of the answer in one piece: for a tool, the input as JSON.
    fn read_whole(self, cleared: &Cleared, text: &str, tool: &str) -> String {
        let body = self.whole(text, tool).to_string();
        let (out, fault) = pushed(&VISITOR, cleared, "application/json", &[body.as_bytes()], false);
        assert_eq!(fault, None);
        let out: Value = serde_json::from_slice(&out).unwrap();
        let text = match self {
            Self::Chat => &out["choices"][0]["message"]["content"],
            Self::Tool => &out["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
            Self::Completion => &out["choices"][0]["text"],
            Self::Message => &out["content"][0]["text"],
            Self::MessageTool => return out["content"][0]["input"].to_string(),
        };
        text.as_str().unwrap().to_owned()
    }

    fn read_stream(self, cleared: &Cleared, chunks: &[&[u8]]) -> String {
        let (out, fault) = pushed(&VISITOR, cleared, "text/event-stream", chunks, false);
        assert_eq!(fault, None, "{}", String::from_utf8_lossy(&out));
        let told = Told::read(&out);
        assert!(told.is_done);
        told.lane(self.lane()).to_owned()
    }
}

/// A text in pieces, cut at these places.
fn cut<'a>(text: &'a str, places: &[usize]) -> Vec<&'a str> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (text.len() + 1)).collect();
    places.retain(|place| text.is_char_boundary(*place));
    places.sort_unstable();
    places.push(text.len());
    let mut from = 0;
    places.iter().map(|place| &text[std::mem::replace(&mut from, *place)..*place]).collect()
}

#[test]
fn what_the_caller_wrote_itself_is_never_turned_into_a_value() {
    let (_, placeholder) = asked(Surface::ChatCompletions, false, JANE);
    assert!(placeholder.starts_with("[EMAIL_ADDRESS_"), "{placeholder}");
    let (cleared, sent) =
        asked(Surface::ChatCompletions, false, &format!("{placeholder} is {JANE}, says {JANE}"));
    let other = sent.split(' ').nth(2).unwrap().trim_end_matches(',').to_owned();
    assert_eq!(sent, format!("{placeholder} is {other}, says {other}"));
    assert_ne!(other, placeholder);
    let read = Place::Chat.read_whole(&cleared, &format!("{placeholder} and {other}"), "");
    assert_eq!(read, format!("{placeholder} and {JANE}"));
    // Of another exchange, another organisation or nobody: no value.
    let (cleared, _) = asked(Surface::ChatCompletions, false, "john@corp.example.org");
    assert_eq!(Place::Chat.read_whole(&cleared, &placeholder, ""), placeholder);
}

#[test]
fn a_value_shows_nowhere_but_in_the_answer() {
    let (cleared, _) = asked(Surface::ChatCompletions, false, JANE);
    let shown = format!("{cleared:?}");
    assert!(shown.contains("1 originals"), "{shown}");
}

#[test]
fn a_tool_that_changes_its_name_gets_no_value() {
    let (cleared, placeholder) = asked(Surface::ChatCompletions, true, JANE);
    let arguments = json!({ "to": placeholder }).to_string();
    for (listed, tool) in [(true, "send_mail"), (false, "fetch_url"), (false, "resend_"), (false, "")] {
        for place in [Place::Tool, Place::MessageTool] {
            let (cleared, _) = asked(place.surface(), true, JANE);
            let expected = if listed { json!({ "to": JANE }).to_string() } else { arguments.clone() };
            assert_eq!(place.read_whole(&cleared, &arguments, tool), expected, "{tool}");
            let stream = place.stream(&cut(&arguments, &[3, 9, 17]), tool);
            assert_eq!(place.read_stream(&cleared, &[stream.as_bytes()]), expected, "{tool}");
        }
    }
    // The same call under a second name, where some client may look for it.
    let body = json!({"choices": [{"index": 0, "finish_reason": "tool_calls",
        "delta": {"tool_calls": [{"function": {"name": "send_mail"}}]},
        "message": {"tool_calls": [{"id": "c", "function": {"name": "fetch_url", "arguments": arguments}}]}}]});
    let body = body.to_string();
    let (out, _) = pushed(&VISITOR, &cleared, "application/json", &[body.as_bytes()], false);
    assert!(!String::from_utf8(out).unwrap().contains("jane"));
}

/// What a hostile model may say; `@` stands for the placeholder.
fn said() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "@",
        "@",
        "@",
        " ",
        ", ",
        ".",
        "[",
        "]",
        "](",
        "(",
        ")",
        "<",
        ">",
        "'",
        "`",
        "/",
        "//",
        "https://evil.example/?q=",
        "<img src='",
        "\n",
        "\n\n",
        "```json\n",
        "é",
        "\u{200b}",
        "[EMAIL_ADDRESS_",
        "BCDFGHJKLM]",
        "{",
        "}",
        ":",
        "&#46;",
        "word",
        "evil.example",
        "?",
        "<style>",
        "mailto:",
        "4111 1111 1111 1111",
        "john@else.example.org",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_gives_back_what_a_whole_answer_does(
        text in said(),
        place in prop::sample::select(&Place::ALL[..]),
        places in prop::collection::vec(any::<usize>(), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let (cleared, placeholder) = asked(place.surface(), true, JANE);
        let text = text.replace("john@", "john\u{0}").replace('@', &placeholder).replace('\u{0}', "@");
        let text = if place.is_tool() { json!({"a": text, "b": [text, 1]}).to_string() } else { text };
        let mut whole = place.read_whole(&cleared, &text, "send_mail");
        let stream = place.stream(&cut(&text, &places), "send_mail");
        let mut chunks: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        chunks.sort_unstable();
        chunks.push(stream.len());
        let mut from = 0;
        let chunks: Vec<&[u8]> =
            chunks.iter().map(|cut| &stream.as_bytes()[std::mem::replace(&mut from, *cut)..*cut]).collect();
        let mut streamed = place.read_stream(&cleared, &chunks);
        if place.is_tool() {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
            (whole, streamed) = (read(&whole), read(&streamed));
        }
        prop_assert_eq!(&streamed, &whole);
    }
}
