//! Does the double answer, and fail, as its tables say?
//!
//! Over real loopback sockets on ports that the system chose. Waits are on the paused clock, so they take no
//! time and prove the pauses exactly.

#![expect(clippy::string_slice, reason = "texts here are ours, and a wrong slice fails the test")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::script::Script;
use super::settings::{SETTINGS, duration};
use super::text::{Share, pieces};
use super::{MockOptions, serve};

mod messages;

/// Virtual time after which silence counts as silence.
const SILENCE: Duration = Duration::from_mins(1);
/// Time after which an answer that does not end is a failure: longer than any pause that a test asks for.
const PATIENCE: Duration = Duration::from_secs(20);
const CHAT: &str = "/v1/chat/completions";

async fn start(options: MockOptions) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, options, std::future::pending()));
    address
}

async fn echo() -> SocketAddr {
    start(MockOptions::default()).await
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: mock\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// What a caller got on a connection: all bytes until the end, and how that end was.
struct Raw {
    bytes: Vec<u8>,
    reset: bool,
}

impl Raw {
    fn head(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.split("\r\n\r\n").next().unwrap().to_owned()
    }

    fn framed_body(&self) -> &[u8] {
        let at = self.bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        &self.bytes[at + 4..]
    }

    fn status(&self) -> u16 {
        self.head().split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The chunks of a chunked body, and whether the last chunk came.
    fn chunks(&self) -> (Vec<Vec<u8>>, bool) {
        let mut rest = self.framed_body();
        let mut chunks = Vec::new();
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if size == 0 {
                assert_eq!(rest, b"0\r\n\r\n");
                return (chunks, true);
            }
            chunks.push(rest[line + 2..line + 2 + size].to_vec());
            rest = &rest[line + 2 + size + 2..];
        }
        (chunks, false)
    }

    fn body(&self) -> Vec<u8> {
        if self.head().contains("transfer-encoding: chunked") {
            self.chunks().0.concat()
        } else {
            self.framed_body().to_vec()
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    /// The data of the events, without `[DONE]`, which must come last.
    fn events(&self) -> Vec<Value> {
        let text = self.text();
        let mut lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(lines.pop(), Some("[DONE]"));
        lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All texts at this place of the events, joined.
    fn joined(&self, pointer: &str) -> String {
        self.events().iter().filter_map(|event| event.pointer(pointer)?.as_str().map(str::to_owned)).collect()
    }
}

async fn read_all(stream: &mut TcpStream) -> Raw {
    let mut bytes = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    let reset = match end {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    };
    Raw { bytes, reset }
}

async fn send(address: SocketAddr, bytes: &[u8]) -> Raw {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_all(&mut stream).await
}

async fn post(address: SocketAddr, path: &str, body: &Value) -> Raw {
    send(address, request("POST", path, "connection: close\r\n", &body.to_string()).as_bytes()).await
}

async fn get(address: SocketAddr, path: &str) -> Raw {
    send(address, request("GET", path, "connection: close\r\n", "").as_bytes()).await
}

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn streamed(model: &str, text: &str) -> Value {
    let mut ask = chat(model, text);
    ask["stream"] = json!(true);
    ask
}

fn with_tools(model: &str, text: &str) -> Value {
    let mut ask = chat(model, text);
    ask["tools"] = json!([
        {"type": "function", "function": {"name": "look_up", "parameters": {}}},
        {"type": "function", "function": {"name": "send_mail", "parameters": {}}},
    ]);
    ask
}

/// Waits, in virtual time, until the record of the only request says that it is over.
async fn concluded(address: SocketAddr) -> Value {
    let waiting = async {
        loop {
            let record = get(address, "/__mock/requests").await.json()["requests"][0].clone();
            if record["done"] == json!(true) {
                return record;
            }
        }
    };
    timeout(SILENCE * 60, waiting).await.expect("the request is over")
}

// The tables.

#[test]
fn every_setting_is_in_the_documentation() {
    let documentation = include_str!("mod.rs");
    for setting in SETTINGS {
        let row = format!("//! | `{}` | {} |", setting.form.replace('|', "\\|"), setting.meaning);
        assert!(documentation.contains(&row), "no line {row}");
    }
    let rows = documentation.split("| setting |").nth(1).unwrap().matches("//! | `").count();
    assert_eq!(rows, SETTINGS.len());
}

#[test]
fn every_form_in_the_table_is_understood_and_has_an_effect() {
    for setting in SETTINGS {
        let form = setting.form.split('|').next().unwrap();
        // `lane=content` and `chunk=…` differ from the default too: unset is none.
        assert_ne!(form.parse::<Script>().unwrap(), Script::default(), "{form}");
        assert!(form.starts_with(setting.name));
    }
}

#[test]
fn the_spellings_agree() {
    let expected: Script = "status=429+retry_after=2+reset=body:5+usage=1/2+delay=1.5s".parse().unwrap();
    for model in [
        "mock+status=429+retry_after=2+reset=body:5+usage=1/2+delay=1500",
        "mock:status=429+retry_after=2+reset=body:5+usage=1/2+delay=1500ms",
        "mock@status:429@retry_after:2@reset:body:5@usage:1/2@delay:1.5s",
        "mock-echo@status:429@retry_after:2@reset:body:5@usage:1/2@delay:1500000us",
        r#"mock:{"status":429,"retry_after":2,"reset":"body:5","usage":"1/2","delay":"1.5s"}"#,
    ] {
        let mut script = Script::default();
        script.follow_model(model).unwrap();
        assert_eq!(script, expected, "{model}");
    }
    let mut script = Script::default();
    script.follow_header("Retry-After", "2").unwrap();
    script.follow_header("script", "status=429+reset=body:5+usage=1/2+delay=1.5s").unwrap();
    assert_eq!(script, expected);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (settings, part) in [
        ("chunks=3", "unknown setting `chunks`: use one of `status`"),
        ("status=200", "setting `status` cannot be `200`: write `status=429`"),
        ("status=304", "`304`"),
        ("chunk=0", "write `chunk=3` for characters per delta"),
        ("delay=61m", "`delay=20ms`"),
        ("delay=-1s", "`delay=20ms`"),
        ("answer=%zz", "`answer=hello%20there`"),
        ("crlf=perhaps", "`crlf`"),
        ("count=100001", "`count=64`"),
        ("bytes=67108865", "`bytes=1024`"),
        ("{\"status\":[]}", "is not a JSON object"),
        ("{", "is not a JSON object"),
    ] {
        let message = settings.parse::<Script>().unwrap_err().to_string();
        assert!(message.contains(part), "{settings}: {message}");
    }
}

#[test]
fn a_foreign_model_name_carries_no_settings() {
    for model in ["gpt-4o", "ft:gpt-4o:org+status=500", "mock", "mock-echo", "a+status=500"] {
        let mut script = Script::default();
        script.follow_model(model).unwrap();
        assert_eq!(script, Script::default(), "{model}");
    }
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
    assert_eq!(duration("20"), Some(Duration::from_millis(20)));
    assert_eq!(duration("0.5m"), Some(Duration::from_secs(30)));
    assert_eq!(duration("60m"), Some(Duration::from_hours(1)));
    for wrong in ["", "ms", "1h", "nan", "inf", "61m", "-1"] {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}

#[test]
fn the_command_line_is_understood() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: MockOptions,
    }
    let parse = |line: &[&str]| <Line as clap::Parser>::try_parse_from(line).map(|line| line.options);
    let plain = parse(&["mock"]).unwrap();
    assert_eq!(format!("{plain:?}"), format!("{:?}", MockOptions::default()));
    let line =
        ["mock", "--delay", "20ms", "--script", "status=503", "--record", "false", "--answer-bytes", "9"];
    let set = parse(&line).unwrap();
    assert_eq!(set.delay, Some(Duration::from_millis(20)));
    assert_eq!(set.script.unwrap().status, Some(503));
    assert_eq!((set.record, set.answer_bytes), (false, Some(9)));
    for wrong in [["--delay", "soon"], ["--script", "chunks=1"], ["--answer-bytes", "67108865"]] {
        assert!(parse(&["mock", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_joined_are_the_text(
        text in "\\PC{0,60}", size in 1..9_usize, by_count: bool, most in 1..30_usize,
    ) {
        let size = size.try_into().unwrap();
        let share = if by_count { Share::Deltas(size) } else { Share::Characters(size) };
        let pieces = pieces(&text, share, most);
        prop_assert_eq!(pieces.concat(), text.clone());
        prop_assert!(pieces.len() <= most);
        let characters = text.chars().count();
        if by_count {
            prop_assert_eq!(pieces.len(), size.get().min(characters).min(most));
        } else if characters.div_ceil(size.get()) <= most {
            prop_assert!(pieces.iter().all(|piece| piece.chars().count() <= size.get()));
        }
    }

    #[test]
    fn however_it_is_cut_the_caller_reads_the_same(
        text in "\\PC{0,40}", chunk in 1..7_usize, cut in 1..40_usize,
        crlf: bool, comments: bool, immediate: bool,
    ) {
        let mut model = format!("mock+chunk={chunk}+cut={cut}+crlf={crlf}+comments={comments}");
        if immediate {
            model.push_str("+delay=0ms");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let raw = runtime.block_on(async { post(echo().await, CHAT, &streamed(&model, &text)).await });
        prop_assert_eq!(raw.joined("/choices/0/delta/content"), text);
        let (chunks, complete) = raw.chunks();
        prop_assert!(complete);
        let (last, others) = chunks.split_last().unwrap();
        prop_assert!(others.iter().all(|chunk| chunk.len() == cut) && last.len() <= cut);
    }
}

// What it answers.

#[tokio::test]
async fn it_repeats_the_last_user_message() {
    let address = echo().await;
    let ask = json!({"model": "gpt-4o", "messages": [
        {"role": "user", "content": "first"},
        {"role": "user", "content": "with \"quotes\", \u{1F980} and\nlines"},
        {"role": "assistant", "content": "something else"},
    ]});
    let reply = post(address, CHAT, &ask).await;
    assert_eq!(reply.status(), 200);
    let answer = reply.json();
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "gpt-4o");
    let message = json!({"role": "assistant", "content": "with \"quotes\", \u{1F980} and\nlines",
        "refusal": null, "annotations": []});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
    assert_eq!(answer["choices"], json!([choice]));
    let usage = &answer["usage"];
    let total = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"].as_u64(), Some(total));
}

#[tokio::test]
async fn it_repeats_the_very_spelling_of_a_string() {
    let body = r#"{"messages":[{"content":"\u0041\ud83e\udd80 \/","role":"user"}],"model":"m"}"#;
    let raw = send(echo().await, request("POST", CHAT, "connection: close\r\n", body).as_bytes()).await;
    assert!(raw.text().contains(r#""content":"\u0041\ud83e\udd80 \/""#));
}

#[tokio::test]
async fn it_joins_text_parts_and_skips_others() {
    let mut ask = chat("m", "");
    ask["messages"][0]["content"] = json!([
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "text", "text": "two"},
    ]);
    let reply = post(echo().await, CHAT, &ask).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "one\ntwo");
}

#[tokio::test]
async fn a_stream_has_openais_order() {
    let mut ask = streamed("mock+chunk=3+usage=12/34", "abcdefgh");
    ask["stream_options"] = json!({"include_usage": true});
    let reply = post(echo().await, CHAT, &ask).await;
    assert!(reply.head().contains("content-type: text/event-stream"));
    let events = reply.events();
    let deltas: Vec<_> = events.iter().filter_map(|event| event.pointer("/choices/0/delta")).collect();
    assert_eq!(
        deltas,
        [
            &json!({"role": "assistant", "content": "", "refusal": null}),
            &json!({"content": "abc"}),
            &json!({"content": "def"}),
            &json!({"content": "gh"}),
            &json!({}),
        ]
    );
    let finishes: Vec<_> =
        events.iter().filter_map(|event| event.pointer("/choices/0/finish_reason")).collect();
    assert_eq!(finishes, [&json!(null), &json!(null), &json!(null), &json!(null), &json!("stop")]);
    let (last, others) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], json!({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}));
    assert!(others.iter().all(|event| event.get("usage") == Some(&Value::Null)));
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
}

#[tokio::test]
async fn usage_is_absent_from_a_stream_that_did_not_ask() {
    let events = post(echo().await, CHAT, &streamed("m", "hi")).await.events();
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn n_choices_are_all_answered() {
    let address = echo().await;
    let mut ask = chat("m", "hello");
    ask["n"] = json!(3);
    let choices = post(address, CHAT, &ask).await.json()["choices"].clone();
    assert_eq!(choices.as_array().unwrap().len(), 3);
    assert_eq!(choices[2]["index"], 2);
    ask["stream"] = json!(true);
    let events = post(address, CHAT, &ask).await.events();
    for index in 0..3 {
        let own = events.iter().filter(|event| event["choices"][0]["index"] == json!(index));
        let text: String = own.filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, "hello");
    }
    for (wrong, status) in [(0, 400), (129, 400), (128, 200)] {
        ask["n"] = json!(wrong);
        assert_eq!(post(address, CHAT, &ask).await.status(), status, "{wrong}");
    }
}

#[tokio::test]
async fn the_word_tool_calls_the_first_tool() {
    let address = echo().await;
    let text = "use a tool: \"x\"";
    let choice = post(address, CHAT, &with_tools("m", text)).await.json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("look_up")));
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({ "input": text }));
}

#[tokio::test]
async fn a_tool_call_is_streamed_in_pieces() {
    let mut ask = with_tools("mock+chunk=4", "use a Tool \u{1F980}");
    ask["stream"] = json!(true);
    let reply = post(echo().await, CHAT, &ask).await;
    let opening = &reply.events()[0]["choices"][0]["delta"];
    assert_eq!((&opening["role"], &opening["content"]), (&json!("assistant"), &Value::Null));
    let call = &opening["tool_calls"][0];
    assert_eq!((&call["index"], &call["type"]), (&json!(0), &json!("function")));
    assert_eq!(call["function"], json!({"name": "look_up", "arguments": ""}));
    let arguments = reply.joined("/choices/0/delta/tool_calls/0/function/arguments");
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"input": "use a Tool \u{1F980}"}));
    assert_eq!(reply.joined("/choices/0/finish_reason"), "tool_calls");
}

#[tokio::test]
async fn tool_choice_decides_over_the_word() {
    let address = echo().await;
    let named = json!({"type": "function", "function": {"name": "send_mail"}});
    for (choice, text, expected) in [
        (json!("auto"), "toolbox", Value::Null),
        (json!("none"), "a tool", Value::Null),
        (json!("required"), "hello", json!("look_up")),
        (named, "hello", json!("send_mail")),
    ] {
        let mut ask = with_tools("m", text);
        ask["tool_choice"] = choice.clone();
        let answer = post(address, CHAT, &ask).await.json();
        let name = answer.pointer("/choices/0/message/tool_calls/0/function/name").cloned();
        assert_eq!(name.unwrap_or_default(), expected, "{choice}");
    }
}

#[tokio::test]
async fn a_tools_result_ends_the_calling() {
    let mut ask = with_tools("m", "use a tool");
    ask["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "tool", "tool_call_id": "x", "content": "7"}));
    let choice = post(echo().await, CHAT, &ask).await.json()["choices"][0].clone();
    assert_eq!(choice["message"]["content"], "use a tool");
}

#[tokio::test]
async fn lanes_carry_the_text() {
    let address = echo().await;
    let message = |lane: &'static str| async move {
        post(address, CHAT, &chat(&format!("mock+lane={lane}"), "text")).await.json()["choices"][0]["message"]
            .clone()
    };
    let refusal = message("refusal").await;
    assert_eq!((&refusal["content"], &refusal["refusal"]), (&Value::Null, &json!("text")));
    let reasoning = message("reasoning").await;
    assert_eq!((&reasoning["content"], &reasoning["reasoning_content"]), (&json!("text"), &json!("text")));
    assert_eq!(message("tool").await["tool_calls"][0]["function"]["name"], "mock_tool");
    assert_eq!(message("content").await["content"], "text");

    let refused = post(address, CHAT, &streamed("mock+lane=refusal", "a long text")).await;
    assert_eq!(refused.joined("/choices/0/delta/refusal"), "a long text");
    assert_eq!(refused.joined("/choices/0/delta/content"), "");
    let reasoned = post(address, CHAT, &streamed("mock+lane=reasoning", "a long text")).await;
    assert_eq!(reasoned.joined("/choices/0/delta/reasoning_content"), "a long text");
    assert_eq!(reasoned.joined("/choices/0/delta/content"), "a long text");
}

#[tokio::test]
async fn log_probabilities_spell_the_text() {
    let address = echo().await;
    let answer = post(address, CHAT, &chat("mock+logprobs", "hello you")).await.json();
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    let text: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(text, "hello you");
    assert_eq!(tokens[0]["bytes"], json!(b"hell"));
    let mut ask = streamed("m", "hello you");
    ask["logprobs"] = json!(true);
    assert_eq!(post(address, CHAT, &ask).await.joined("/choices/0/logprobs/content/0/token"), "hello you");
}

#[tokio::test]
async fn answers_can_be_given_or_filled() {
    let address = start(MockOptions { answer_bytes: Some(10), ..MockOptions::default() }).await;
    let content = |model: &'static str| async move {
        let answer = post(address, CHAT, &chat(model, "hi")).await.json();
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    assert_eq!(content("m").await, "The river ");
    assert_eq!(content("mock+bytes=1024").await.len(), 1024);
    assert_eq!(content("mock+bytes=70000").await.len(), 70_000);
    assert_eq!(content("mock+answer=a%2Bb%20%E2%82%AC").await, "a+b \u{20AC}");
    let stream = post(address, CHAT, &streamed("mock+bytes=1000+count=64", "hi")).await;
    assert_eq!(stream.events().len(), 64 + 2);
}

#[tokio::test]
async fn legacy_completions_answer_every_prompt() {
    let address = echo().await;
    let path = "/v1/completions";
    let answer = post(address, path, &json!({"model": "m", "prompt": ["one", "two"], "n": 2})).await.json();
    assert_eq!(answer["object"], "text_completion");
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    let texts: Vec<_> = (0..4).map(|index| answer["choices"][index]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "one", "two", "two"]);
    let tokens = post(address, path, &json!({"model": "m", "prompt": [1, 2]})).await.json();
    assert_eq!(tokens["choices"][0]["text"], "[1,2]");
    let ask = json!({"model": "mock+usage=1/2", "prompt": "a longer prompt", "stream": true,
        "stream_options": {"include_usage": true}});
    let stream = post(address, path, &ask).await;
    assert_eq!(stream.joined("/choices/0/text"), "a longer prompt");
    assert_eq!(stream.joined("/choices/0/finish_reason"), "stop");
    assert_eq!(stream.events().last().unwrap()["usage"]["total_tokens"], 3);
    assert_eq!(post(address, path, &json!({"model": "m"})).await.json()["error"]["param"], "prompt");
}

#[tokio::test]
async fn embeddings_are_the_same_in_both_encodings() {
    let address = echo().await;
    let input = ["a", "b", "a"];
    let ask =
        |format: &str| json!({"model": "m", "input": input, "dimensions": 7, "encoding_format": format});
    let floats = post(address, "/v1/embeddings", &ask("float")).await.json();
    let vector = |index: usize| -> Vec<f32> {
        serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap()
    };
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    let length: f32 = vector(0).iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    let bytes: Vec<u8> = vector(0).iter().flat_map(|value| value.to_le_bytes()).collect();
    let base64 = post(address, "/v1/embeddings", &ask("base64")).await.json();
    assert_eq!(base64_decoded(base64["data"][0]["embedding"].as_str().unwrap()), bytes);
    assert_eq!(floats["usage"]["total_tokens"], floats["usage"]["prompt_tokens"]);
    let one = post(address, "/v1/embeddings", &json!({"model": "m", "input": [1, 2, 3]})).await.json();
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(one["data"][0]["embedding"].as_array().unwrap().len(), 1536);
    let wrong = json!({"model": "m", "input": "a", "dimensions": 3073});
    assert_eq!(post(address, "/v1/embeddings", &wrong).await.status(), 400);
}

/// Decodes the slow way, by looking every letter up, to check the encoder with something unlike it.
fn base64_decoded(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(text.len() % 4, 0);
    let letters = text.trim_end_matches('=');
    let bits: String = letters
        .chars()
        .flat_map(|letter| {
            let sextet = ALPHABET.find(letter).unwrap();
            (0..6).rev().map(move |place| if sextet >> place & 1 == 1 { '1' } else { '0' })
        })
        .collect();
    (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap()).collect()
}

#[tokio::test]
async fn models_and_health_answer_and_the_rest_is_not_found() {
    let address = echo().await;
    let models = get(address, "/v1/models?limit=2").await.json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("mock-echo")));
    assert_eq!(get(address, "/v1/models/mock-any").await.json()["id"], "mock-any");
    assert_eq!(get(address, "/v1/models/gpt-9").await.json()["error"]["code"], "model_not_found");
    assert_eq!(get(address, "/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(get(address, "http://mock/healthz").await.status(), 200);
    let missing = post(address, "/v1/images", &json!({})).await;
    assert_eq!(missing.status(), 404);
    let error = json!({"message": "Invalid URL (POST /v1/images)", "type": "invalid_request_error",
        "param": null, "code": null});
    assert_eq!(missing.json(), json!({ "error": error }));
    assert_eq!(get(address, CHAT).await.status(), 404);
}

#[tokio::test]
async fn requests_that_are_no_requests_are_refused() {
    let address = echo().await;
    for (body, part) in [
        ("{", "could not parse the JSON body"),
        (r#"{"messages":[]}"#, "you must provide a model"),
        (r#"{"model":"m"}"#, "Missing required parameter: 'messages'"),
        (r#"{"model":"mock+chunks=1","messages":[]}"#, "unknown setting `chunks`"),
    ] {
        let raw = send(address, request("POST", CHAT, "connection: close\r\n", body).as_bytes()).await;
        assert_eq!(raw.status(), 400);
        let message = raw.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{message}");
    }
    let unclear =
        request("POST", CHAT, "connection: close\r\nx-mock-chunks: 1\r\n", &chat("m", "").to_string());
    assert_eq!(send(address, unclear.as_bytes()).await.status(), 400);
}

#[tokio::test]
async fn a_key_is_checked_only_if_one_is_required() {
    let address =
        start(MockOptions { require_key: Some("right".to_owned()), ..MockOptions::default() }).await;
    let with = |header: &str| {
        request("POST", CHAT, &format!("connection: close\r\n{header}"), &chat("m", "").to_string())
    };
    assert_eq!(send(address, with("authorization: Bearer right\r\n").as_bytes()).await.status(), 200);
    let absent = send(address, with("").as_bytes()).await;
    assert_eq!((absent.status(), &absent.json()["error"]["code"]), (401, &Value::Null));
    let wrong = send(address, with("authorization: Bearer sk-proj-0123456789wxyz\r\n").as_bytes()).await;
    assert_eq!(wrong.json()["error"]["code"], "invalid_api_key");
    let message = wrong.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Incorrect API key provided: sk-proj-**********wxyz."), "{message}");
    assert_eq!(get(address, "/healthz").await.status(), 200);
}

// How it fails.

#[tokio::test]
async fn statuses_come_with_openais_errors() {
    let address = echo().await;
    for (status, field, value) in [
        (400, "message", "Invalid value: 'my secret'."),
        (401, "code", "invalid_api_key"),
        (403, "type", "request_forbidden"),
        (404, "code", "model_not_found"),
        (418, "message", "The mock was asked for status 418."),
        (429, "code", "rate_limit_exceeded"),
        (500, "type", "server_error"),
        (503, "type", "service_unavailable_error"),
    ] {
        let reply =
            post(address, CHAT, &streamed(&format!("mock+status={status}+retry_after=7"), "my secret")).await;
        assert_eq!(reply.status(), status);
        assert_eq!(reply.json()["error"][field], value);
        assert!(reply.head().contains("retry-after: 7\r\n") && reply.head().contains("x-request-id: req_"));
    }
    let moved = post(address, CHAT, &chat("mock+status=307", "")).await;
    assert!(moved.head().contains("\r\nlocation: /v1/models"));
}

#[tokio::test]
async fn headers_win_over_the_model_name() {
    let headers = "connection: close\r\nx-mock-status: 503\r\nX-Mock-Retry-After: 1\r\n";
    let ask = request("POST", CHAT, headers, &chat("mock+status=429", "").to_string());
    let reply = send(echo().await, ask.as_bytes()).await;
    assert_eq!(reply.status(), 503);
    assert!(reply.head().contains("retry-after: 1\r\n"));
}

#[tokio::test]
async fn faults_strike_a_number_of_times() {
    let address = echo().await;
    let status = |model: &'static str| async move { post(address, CHAT, &chat(model, "hi")).await.status() };
    for expected in [503, 503, 200, 200] {
        assert_eq!(status("mock+fail_times=2+name=a+status=503").await, expected);
    }
    assert_eq!(
        status("mock+fail_times=3+name=a").await,
        500,
        "the counter is the name's, whatever the model"
    );
    assert_eq!(status("mock+fail_times=1").await, 500, "without a fault it is a 500");
    assert_eq!(status("mock+fail_times=1").await, 200);
    assert!(post(address, CHAT, &chat("mock+fail_times=1+reset=connect", "hi")).await.reset);
    assert_eq!(status("mock+fail_times=1+reset=connect").await, 200);
    send(address, request("DELETE", "/__mock/requests", "connection: close\r\n", "").as_bytes()).await;
    assert_eq!(status("mock+fail_times=2+name=a+status=503").await, 503, "clearing forgets the counters");
}

#[tokio::test]
async fn resets_strike_where_they_should() {
    let address = echo().await;
    let before = post(address, CHAT, &chat("mock+reset=connect", "hi")).await;
    assert!(before.reset && before.bytes.is_empty());
    let inside = post(address, CHAT, &chat("mock+reset=header", "hi")).await;
    assert!(inside.reset && inside.bytes.starts_with(b"HTTP/1.1 200"));
    assert!(!inside.bytes.windows(4).any(|four| four == b"\r\n\r\n"));
    let after = post(address, CHAT, &chat("mock+reset=body:10", "hi")).await;
    assert!(after.reset);
    assert_eq!(after.framed_body().len(), 10);
    let stream = post(address, CHAT, &streamed("mock+reset=body:400", "hi")).await;
    assert!(stream.reset && !stream.chunks().1);
    assert_eq!(stream.body().len(), 400);
}

#[tokio::test]
async fn a_close_truncates_cleanly() {
    let address = echo().await;
    let document = post(address, CHAT, &chat("mock+close=10", "hi")).await;
    assert!(!document.reset && document.head().contains("content-length: "));
    assert!(!document.head().ends_with("content-length: 10"), "the length promises more");
    assert_eq!(document.framed_body().len(), 10);
    let stream = post(address, CHAT, &streamed("mock+close=400", "hi")).await;
    assert!(!stream.reset && !stream.chunks().1);
    assert_eq!(stream.body().len(), 400);
    let nothing = post(address, CHAT, &streamed("mock+close=0", "hi")).await;
    assert_eq!((nothing.status(), nothing.framed_body().len()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stall_lasts_until_the_caller_leaves() {
    for (settings, body_bytes) in [("stall=header", None), ("stall=0", Some(0)), ("stall=300", Some(300))] {
        let address = echo().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = request("POST", CHAT, "", &streamed(&format!("mock+{settings}"), "hi").to_string());
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // The clock stands still while anything can be read, so running out of time is silence.
        assert!(timeout(SILENCE, stream.read_to_end(&mut bytes)).await.is_err());
        let raw = Raw { bytes, reset: false };
        match body_bytes {
            None => assert!(raw.bytes.is_empty()),
            Some(expected) => assert_eq!(raw.body().len(), expected),
        }
        assert_eq!(get(address, "/__mock/requests").await.json()["requests"][0]["done"], false);
        let sent = raw.bytes.len();
        drop(stream);
        let record = concluded(address).await;
        assert_eq!(record["client_left"], true);
        assert_eq!(record["bytes_sent"], sent);
        assert_eq!(get(address, "/__mock/stats").await.json()["cancelled"], 1);
    }
}

#[tokio::test]
async fn spoilt_answers_do_not_parse() {
    let address = echo().await;
    let document = post(address, CHAT, &chat("mock+malformed", "hi")).await;
    assert_eq!(document.status(), 200);
    assert!(serde_json::from_slice::<Value>(&document.body()).is_err());
    let stream = post(address, CHAT, &streamed("mock+malformed", "a text of some length")).await.text();
    let data: Vec<_> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let broken = data.iter().filter(|data| serde_json::from_str::<Value>(data).is_err()).count();
    assert_eq!(broken, 2, "one event, and `[DONE]`, which is no JSON anyway");
}

#[tokio::test]
async fn empty_answers_have_no_body() {
    let address = echo().await;
    let document = post(address, CHAT, &chat("mock+empty", "hi")).await;
    assert!(document.head().ends_with("content-length: 0") && document.framed_body().is_empty());
    let stream = post(address, CHAT, &streamed("mock+empty", "hi")).await;
    assert_eq!(stream.framed_body(), b"0\r\n\r\n");
}

#[tokio::test]
async fn parts_can_be_left_out_or_added() {
    let address = echo().await;
    assert!(post(address, CHAT, &chat("mock+no_usage", "hi")).await.json().get("usage").is_none());
    let mut ask = streamed("mock+no_usage", "hi");
    ask["stream_options"] = json!({"include_usage": true});
    assert!(post(address, CHAT, &ask).await.events().iter().all(|event| event["choices"] != json!([])));
    assert!(!post(address, CHAT, &streamed("mock+no_done", "hi")).await.text().contains("[DONE]"));
    let commented = post(address, CHAT, &streamed("mock+comments", "hi")).await;
    assert_eq!(commented.text().matches(": mock keep-alive\n\n").count(), commented.events().len() + 1);
    let crlf = post(address, CHAT, &streamed("mock+crlf", "hi")).await.text();
    assert_eq!(crlf.matches('\n').count(), crlf.matches("\r\n").count());
    let usage = post(address, CHAT, &chat("mock+usage=5/7", "hi")).await.json()["usage"].clone();
    assert_eq!(usage, json!({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}));
}

#[tokio::test(start_paused = true)]
async fn pauses_take_their_time() {
    let address = echo().await;
    let started = Instant::now();
    // One opening, four deltas, one closing, one end: six pauses between seven events.
    post(address, CHAT, &streamed("mock+chunk=1+delay=500ms", "abcd")).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = request("POST", CHAT, "", &chat("mock+slow_header=2000", "hi").to_string());
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(1900), stream.read_exact(&mut byte)).await.is_err());
    assert!(timeout(Duration::from_millis(200), stream.read_exact(&mut byte)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_a_stream_is_noticed() {
    let address = echo().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = request("POST", CHAT, "", &streamed("mock+chunk=1+delay=10s", "abcdefgh").to_string());
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 100]).await.unwrap();
    let started = Instant::now();
    drop(stream);
    let record = concluded(address).await;
    assert_eq!((&record["client_left"], &record["status"]), (&json!(true), &json!(200)));
    assert!(started.elapsed() < Duration::from_secs(10), "before the next event was due");
}

// HTTP itself.

#[tokio::test]
async fn a_connection_carries_many_requests_even_at_once() {
    let one = request("POST", CHAT, "", &chat("m", "first").to_string());
    let two = request("POST", CHAT, "connection: close\r\n", &chat("m", "second").to_string());
    let raw = send(echo().await, format!("{one}{two}").as_bytes()).await;
    let text = String::from_utf8(raw.bytes).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    assert!(text.find("first").unwrap() < text.find("second").unwrap());
}

#[tokio::test]
async fn chunked_bodies_are_read_wherever_they_are_torn() {
    let address = echo().await;
    let body = chat("m", "in chunks").to_string();
    let (left, right) = body.split_at(20);
    let ask = format!(
        "POST {CHAT} HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x};x=y\r\n{left}\r\n\
         {:X}\r\n{right}\r\n0\r\ntrailer: yes\r\n\r\n",
        left.len(),
        right.len(),
    );
    for piece in [1, 7, ask.len()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for bytes in ask.as_bytes().chunks(piece) {
            stream.write_all(bytes).await.unwrap();
            tokio::task::yield_now().await;
        }
        let reply = read_all(&mut stream).await.json();
        assert_eq!(reply["choices"][0]["message"]["content"], "in chunks");
    }
}

#[tokio::test]
async fn a_caller_that_waits_is_told_to_continue() {
    let mut stream = TcpStream::connect(echo().await).await.unwrap();
    let body = chat("m", "patient").to_string();
    let ask = request("POST", CHAT, "expect: 100-continue\r\nconnection: close\r\n", &body);
    let (head, body) = ask.split_at(ask.len() - body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut interim)).await.expect("an interim answer").unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read_all(&mut stream).await.json()["choices"][0]["message"]["content"], "patient");
}

#[tokio::test]
async fn ambiguous_or_endless_requests_are_refused() {
    let address = echo().await;
    let many = "a: b\r\n".repeat(129);
    let large = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(100_000));
    for (ask, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: \r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(), 501),
        ("POST / HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n".to_owned(), 413),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        (large, 431),
    ] {
        let raw = send(address, ask.as_bytes()).await;
        assert_eq!(raw.status(), status, "{}", &ask[..ask.len().min(70)]);
        assert!(raw.head().contains("connection: close"));
        assert_eq!(raw.json()["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn a_caller_of_http_1_0_is_answered_once() {
    assert_eq!(send(echo().await, b"GET /healthz HTTP/1.0\r\n\r\n").await.status(), 200);
}

// What it remembers.

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let address = echo().await;
    let body = chat("m", "keep \u{1F980}").to_string();
    let ask = request("POST", "/v1/chat/completions?a=b", "X-Custom: Value\r\nconnection: close\r\n", &body);
    let sent = send(address, ask.as_bytes()).await.bytes.len();
    let record = get(address, "/__mock/requests").await.json();
    let seen = &record["requests"][0];
    assert_eq!((&seen["method"], &seen["path"]), (&json!("POST"), &json!("/v1/chat/completions?a=b")));
    assert_eq!(seen["headers"][1], json!(["x-custom", "Value"]));
    assert_eq!((&seen["body"], &seen["body_complete"]), (&json!(body), &json!(true)));
    assert_eq!(
        (&seen["bytes_sent"], &seen["client_left"], &seen["done"]),
        (&json!(sent), &json!(false), &json!(true))
    );
    assert_eq!(record["requests"].as_array().unwrap().len(), 1, "looking is not recorded");
    send(address, request("DELETE", "/__mock/requests", "connection: close\r\n", "").as_bytes()).await;
    assert_eq!(get(address, "/__mock/requests").await.json(), json!({"requests": []}));
    let stats = get(address, "/__mock/stats").await.json();
    assert_eq!((&stats["requests"], &stats["cancelled"]), (&json!(1), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_became_whole_is_kept_too() {
    let address = echo().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = format!("POST {CHAT} HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf a secret");
    stream.write_all(ask.as_bytes()).await.unwrap();
    drop(stream);
    let seen = timeout(SILENCE * 60, async {
        loop {
            let record = get(address, "/__mock/requests").await.json();
            if let Some(seen) = record["requests"].get(0) {
                return seen.clone();
            }
        }
    });
    let seen = seen.await.expect("the request is recorded");
    assert_eq!((&seen["body"], &seen["body_complete"]), (&json!("half a secret"), &json!(false)));
    assert_eq!((&seen["client_left"], &seen["status"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn only_the_last_thousand_are_kept_and_none_when_told_so() {
    let address = echo().await;
    let asks: String = (0..1005).map(|index| request("GET", &format!("/{index}"), "", "")).collect();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answers = Vec::new();
    let write = async {
        writing.write_all(asks.as_bytes()).await.unwrap();
        writing.shutdown().await.unwrap();
    };
    let ((), read) = tokio::join!(write, reading.read_to_end(&mut answers));
    read.unwrap();
    let seen = get(address, "/__mock/requests").await.json()["requests"].clone();
    assert_eq!(seen.as_array().unwrap().len(), 1000);
    assert_eq!((&seen[0]["path"], &seen[999]["path"]), (&json!("/5"), &json!("/1004")));
    assert_eq!(seen[999]["done"], true);

    let address = start(MockOptions { record: false, ..MockOptions::default() }).await;
    post(address, CHAT, &chat("m", "hi")).await;
    assert_eq!(get(address, "/__mock/requests").await.json(), json!({"requests": []}));
    assert_eq!(get(address, "/__mock/stats").await.json()["requests"], 1);
}

#[tokio::test]
async fn ids_follow_from_the_seed() {
    let id = |seed| async move {
        let address = start(MockOptions { seed, ..MockOptions::default() }).await;
        let first = post(address, CHAT, &chat("m", "hi")).await.json()["id"].clone();
        (first, post(address, CHAT, &chat("m", "hi")).await.json()["id"].clone())
    };
    let (first, second) = id(1).await;
    assert_ne!(first, second);
    assert_eq!(id(1).await, (first.clone(), second));
    assert_ne!(id(2).await.0, first);
}

#[tokio::test]
async fn stopping_ends_what_is_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, MockOptions::default(), async {
        stopped.await.unwrap();
    }));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(request("GET", "/healthz", "", "").as_bytes()).await.unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    read_all(&mut idle).await;
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
