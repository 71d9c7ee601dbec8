//! Does the double speak Anthropic's dialect, and fail in it, as its tables say?

use super::*;

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";
const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

fn message(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}]})
}

fn events(model: &str, text: &str) -> Value {
    let mut ask = message(model, text);
    ask["stream"] = json!(true);
    ask
}

fn offering_tools(model: &str, text: &str) -> Value {
    let mut ask = message(model, text);
    ask["tools"] = json!([
        {"name": "look_up", "input_schema": {"type": "object"}},
        {"name": "send_mail", "input_schema": {"type": "object"}},
    ]);
    ask
}

async fn send_with(address: SocketAddr, path: &str, headers: &str, body: &Value) -> Raw {
    let headers = format!("connection: close\r\n{headers}");
    send(address, request("POST", path, &headers, &body.to_string()).as_bytes()).await
}

async fn ask(address: SocketAddr, body: &Value) -> Raw {
    send_with(address, MESSAGES, VERSION, body).await
}

/// The events of a stream: every name is its data's type.
fn named(raw: &Raw) -> Vec<Value> {
    let text = raw.text().replace("\r\n", "\n");
    let mut events = Vec::new();
    for event in text.split_terminator("\n\n").filter(|event| !event.starts_with(':')) {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        events.push(data);
    }
    events
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// All texts at this place of the events, joined.
fn spoken(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_message_is_the_last_user_message() {
    let body = json!({"model": "claude-any", "max_tokens": 9, "system": "be brief", "messages": [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "one \u{1F980}"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "something else"},
    ]});
    let reply = ask(echo().await, &body).await;
    assert_eq!(reply.status(), 200);
    assert!(reply.head().contains("\r\nrequest-id: req_") && !reply.head().contains("openai"));
    let answer = reply.json();
    assert!(answer["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!((&answer["type"], &answer["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(answer["model"], "claude-any");
    assert_eq!(answer["content"], json!([{"type": "text", "text": "one \u{1F980}\ntwo"}]));
    assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("end_turn"), &Value::Null));
    assert!(answer.get("stop_details").is_none());
    let usage = &answer["usage"];
    assert!(usage["input_tokens"].as_u64() > Some(0) && usage["output_tokens"].as_u64() > Some(0));
    assert_eq!(usage["cache_read_input_tokens"], 0);
}

#[tokio::test]
async fn a_stream_has_anthropics_order() {
    let reply = ask(echo().await, &events("mock+chunk=3+usage=12/34+cached=5/6", "abcdefgh")).await;
    assert!(reply.head().contains("content-type: text/event-stream"));
    let events = named(&reply);
    assert_eq!(
        types(&events),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let start = &events[0]["message"];
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &Value::Null));
    let usage = json!({"input_tokens": 12, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 6,
        "cache_creation": {"ephemeral_5m_input_tokens": 6, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1, "service_tier": "standard"});
    assert_eq!(start["usage"], usage);
    assert_eq!(events[1]["content_block"], json!({"type": "text", "text": ""}));
    assert_eq!(
        events[3],
        json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": "abc"}})
    );
    assert_eq!(events[6], json!({"type": "content_block_stop", "index": 0}));
    let usage = json!({"input_tokens": 12, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 6,
        "output_tokens": 34});
    assert_eq!(
        events[7],
        json!({"type": "message_delta", "usage": usage,
        "delta": {"stop_reason": "end_turn", "stop_sequence": null}})
    );
}

#[tokio::test]
async fn a_tool_is_used_with_an_object_and_streamed_as_pieces_of_one() {
    let address = echo().await;
    let text = "use a tool: \"x\" \u{1F980}";
    let answer = ask(address, &offering_tools("m", text)).await.json();
    assert_eq!(answer["stop_reason"], "tool_use");
    let call = &answer["content"][0];
    assert!(call["id"].as_str().unwrap().starts_with("toolu_"));
    assert_eq!((&call["type"], &call["name"]), (&json!("tool_use"), &json!("look_up")));
    assert_eq!(call["input"], json!({ "input": text }));
    let mut body = offering_tools("mock+chunk=4", text);
    body["stream"] = json!(true);
    let events = named(&ask(address, &body).await);
    let opening = &events[1]["content_block"];
    assert_eq!((&opening["type"], &opening["input"]), (&json!("tool_use"), &json!({})));
    assert_eq!(events[3]["delta"], json!({"type": "input_json_delta", "partial_json": ""}));
    let arguments = spoken(&events, "/delta/partial_json");
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({ "input": text }));
    assert_eq!(spoken(&events, "/delta/stop_reason"), "tool_use");
}

#[tokio::test]
async fn tool_choice_decides_over_the_word_here_too() {
    let address = echo().await;
    for (choice, text, expected) in [
        (json!({"type": "auto"}), "toolbox", Value::Null),
        (json!({"type": "none"}), "a tool", Value::Null),
        (json!({"type": "any"}), "hello", json!("look_up")),
        (json!({"type": "tool", "name": "send_mail"}), "hello", json!("send_mail")),
    ] {
        let mut body = offering_tools("m", text);
        body["tool_choice"] = choice.clone();
        let answer = ask(address, &body).await.json();
        assert_eq!(answer["content"][0].get("name").cloned().unwrap_or_default(), expected, "{choice}");
    }
}

#[tokio::test]
async fn a_tools_result_is_no_word_of_the_user_and_ends_the_calling() {
    let mut body = offering_tools("m", "use a tool");
    let result = json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": "seven"});
    body["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": [result]}));
    let answer = ask(echo().await, &body).await.json();
    assert_eq!(answer["content"], json!([{"type": "text", "text": "use a tool"}]));
    body["messages"][1]["content"].as_array_mut().unwrap().push(json!({"type": "text", "text": "go on"}));
    let answer = ask(echo().await, &body).await.json();
    assert_eq!(answer["content"][0]["text"], "go on");
}

#[tokio::test]
async fn thinking_is_signed_and_comes_back_unaltered_or_not_at_all() {
    let address = echo().await;
    let mut body = message("m", "a thought");
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let content = ask(address, &body).await.json()["content"].clone();
    let signature = content[0]["signature"].as_str().unwrap().to_owned();
    assert_eq!(content[0], json!({"type": "thinking", "thinking": "a thought", "signature": signature}));
    assert_eq!(content[1], json!({"type": "text", "text": "a thought"}));

    let events = named(&ask(address, &events("mock+lane=reasoning+chunk=4", "a thought")).await);
    assert_eq!(spoken(&events, "/delta/thinking"), "a thought");
    assert_eq!(spoken(&events, "/delta/signature"), signature);
    assert_eq!(spoken(&events, "/delta/text"), "a thought");
    assert_eq!(types(&events).iter().filter(|kind| **kind == "ping").count(), 1);
    let indexes: Vec<_> = events.iter().filter_map(|event| event["index"].as_u64()).collect();
    assert!(indexes.is_sorted() && indexes.last() == Some(&1));

    let say_again = json!({"role": "assistant", "content": content});
    let go_on = json!({"role": "user", "content": "go on"});
    body["messages"].as_array_mut().unwrap().extend([say_again, go_on]);
    assert_eq!(ask(address, &body).await.status(), 200);
    body["messages"][1]["content"][0]["thinking"] = json!("another thought");
    let refused = ask(address, &body).await;
    let message = "messages.1.content.0: Invalid `signature` in `thinking` block";
    assert_eq!((refused.status(), &refused.json()["error"]["message"]), (400, &json!(message)));
}

#[tokio::test]
async fn reasons_to_stop_are_the_lanes_or_claimed() {
    let address = echo().await;
    let refused = ask(address, &message("mock+lane=refusal", "no")).await.json();
    assert_eq!((&refused["stop_reason"], &refused["content"][0]["text"]), (&json!("refusal"), &json!("no")));
    assert_eq!(refused["stop_details"], json!({"type": "refusal", "category": null, "explanation": null}));
    let cut = named(&ask(address, &events("mock+stop=max_tokens", "no")).await);
    assert_eq!(spoken(&cut, "/delta/stop_reason"), "max_tokens");
    let cut = post(address, CHAT, &chat("mock+stop=length", "no")).await.json();
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert_eq!(
        post(address, CHAT, &streamed("mock+stop=length", "x")).await.joined("/choices/0/finish_reason"),
        "length"
    );
}

#[tokio::test]
async fn tokens_are_counted_and_models_listed() {
    let address = echo().await;
    let mut body = message("mock+usage=77/0", "how long?");
    body.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(send_with(address, COUNT, VERSION, &body).await.json(), json!({"input_tokens": 77}));
    let listing = |path: &'static str| async move {
        send(address, request("GET", path, &format!("connection: close\r\n{VERSION}"), "").as_bytes()).await
    };
    let page = listing("/v1/models?limit=20").await.json();
    assert_eq!((&page["has_more"], &page["first_id"]), (&json!(false), &json!("mock-echo")));
    assert_eq!((&page["data"][0]["type"], &page["data"][0]["id"]), (&json!("model"), &json!("mock-echo")));
    assert_eq!(page["data"][0]["created_at"], "2023-11-14T22:13:20Z");
    assert_eq!(listing("/v1/models/mock-any").await.json()["display_name"], "mock-any");
    let missing = listing("/v1/models/claude-9").await;
    assert_eq!(missing.json()["error"], json!({"type": "not_found_error", "message": "model: claude-9"}));
    let missing = listing("/v1/files").await;
    assert_eq!((missing.status(), &missing.json()["error"]["type"]), (404, &json!("not_found_error")));
}

#[tokio::test]
async fn a_key_comes_in_either_header() {
    let address =
        start(MockOptions { require_key: Some("right".to_owned()), ..MockOptions::default() }).await;
    let with = |header: &'static str| async move {
        send_with(address, MESSAGES, &format!("{VERSION}{header}"), &message("m", "hi")).await
    };
    assert_eq!(with("x-api-key: right\r\n").await.status(), 200);
    assert_eq!(with("authorization: Bearer right\r\n").await.status(), 200);
    for (header, message) in
        [("", "x-api-key header is required"), ("x-api-key: wrong\r\n", "invalid x-api-key")]
    {
        let refused = with(header).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.json()["error"], json!({"type": "authentication_error", "message": message}));
    }
    let foreign = send_with(address, CHAT, "x-api-key: right\r\n", &chat("m", "hi")).await;
    assert_eq!(foreign.status(), 401, "OpenAI knows only bearers");
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_anthropics_words() {
    let address = echo().await;
    let whole = message("m", "hi");
    for field in ["model", "max_tokens", "messages"] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(field);
        let refused = ask(address, &body).await;
        assert_eq!(refused.status(), 400);
        let request_id = refused.json()["request_id"].as_str().unwrap().to_owned();
        assert!(refused.head().contains(&format!("\r\nrequest-id: {request_id}\r\n")));
        let error = json!({"type": "invalid_request_error", "message": format!("{field}: Field required")});
        assert_eq!(refused.json(), json!({"type": "error", "error": error, "request_id": request_id}));
    }
    for (version, part) in
        [("", "header is required"), ("anthropic-version: 2031-01-01\r\n", "not a valid version")]
    {
        let refused = send_with(address, MESSAGES, version, &whole).await;
        assert_eq!(refused.status(), 400);
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains(part));
    }
    let mut sampled = whole.clone();
    sampled["top_p"] = json!(1.0);
    assert_eq!(ask(address, &sampled).await.status(), 200);
    let refused = send_with(address, MESSAGES, "anthropic-version: 2026-10-21\r\n", &sampled).await;
    assert_eq!(refused.json()["error"]["message"], "top_p: Extra inputs are not permitted");
    let unreadable = send_with(address, MESSAGES, VERSION, &json!({"model": 7})).await;
    assert!(unreadable.text().contains("not valid JSON"));
    assert_eq!(ask(address, &message("mock+chunks=1", "hi")).await.status(), 400);
}

#[tokio::test]
async fn statuses_come_with_anthropics_errors() {
    let address = echo().await;
    for (status, kind, part) in [
        (400, "invalid_request_error", "\"my secret\""),
        (401, "authentication_error", "invalid x-api-key"),
        (402, "billing_error", "credit balance"),
        (403, "permission_error", "permission"),
        (404, "not_found_error", "model: mock+status=404"),
        (413, "request_too_large", "maximum size"),
        (418, "invalid_request_error", "status 418"),
        (429, "rate_limit_error", "rate limit"),
        (500, "api_error", "Internal server error"),
        (504, "timeout_error", "timed out"),
        (529, "overloaded_error", "Overloaded"),
    ] {
        let reply = ask(address, &events(&format!("mock+status={status}+retry_after=7"), "my secret")).await;
        assert_eq!(reply.status(), status);
        let error = &reply.json()["error"];
        assert_eq!(error["type"], kind);
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
        assert!(reply.head().contains("retry-after: 7\r\n"));
    }
}

/// What a caller can do with a dialect: ask for a document or a stream, and read the text of either.
struct Speaker {
    path: &'static str,
    ask: fn(&str, &str) -> Value,
    text: fn(&Value) -> Option<&str>,
    delta: fn(&Value) -> Option<&str>,
    last: &'static str,
}

const SPEAKERS: [Speaker; 2] = [
    Speaker {
        path: CHAT,
        ask: chat,
        text: |answer| answer.pointer("/choices/0/message/content")?.as_str(),
        delta: |event| event.pointer("/choices/0/delta/content")?.as_str(),
        last: "data: [DONE]",
    },
    Speaker {
        path: MESSAGES,
        ask: message,
        text: |answer| answer.pointer("/content/0/text")?.as_str(),
        delta: |event| event.pointer("/delta/text")?.as_str(),
        last: "event: message_stop",
    },
];

impl Speaker {
    async fn says(&self, address: SocketAddr, settings: &str, stream: bool) -> Raw {
        let mut body = (self.ask)(&format!("mock+{settings}"), "a text of some length");
        body["stream"] = json!(stream);
        send_with(address, self.path, VERSION, &body).await
    }

    /// What can be read of a stream, however broken.
    fn heard(&self, raw: &Raw) -> String {
        let text = String::from_utf8_lossy(&raw.body()).into_owned();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| (self.delta)(&serde_json::from_str(data).ok()?).map(str::to_owned)).collect()
    }
}

#[tokio::test]
async fn every_way_to_break_is_the_same_in_both_dialects() {
    for speaker in SPEAKERS {
        let address = echo().await;
        let says = |settings: &'static str, stream| speaker.says(address, settings, stream);
        let whole = says("chunk=3", false).await.json();
        assert_eq!((speaker.text)(&whole), Some("a text of some length"));
        for stream in [false, true] {
            let connect = says("reset=connect", stream).await;
            assert!(connect.reset && connect.bytes.is_empty());
            let header = says("reset=header", stream).await;
            assert!(header.reset && header.bytes.starts_with(b"HTTP/1.1 200"));
            for settings in ["reset=body:90", "close=90"] {
                let torn = says(settings, stream).await;
                assert_eq!((torn.body().len(), torn.reset), (90, settings.starts_with("reset")));
            }
            let empty = says("empty", stream).await;
            assert_eq!((empty.status(), empty.body().len()), (200, 0));
            let again = says(
                if stream { "fail_times=1+name=s+status=503" } else { "fail_times=1+status=503" },
                stream,
            );
            assert_eq!(again.await.status(), 503);
            assert!(says("lane=tool", stream).await.text().contains("mock_tool"));
            assert!(!says("no_usage", stream).await.text().contains("\"usage\":"));
            let odd = says("content_type=text/html", stream).await;
            assert!(odd.head().contains("\r\ncontent-type: text/html\r\n"));
            let claimed = says("encoding=br", stream).await;
            assert!(claimed.head().contains("\r\ncontent-encoding: br\r\n") && claimed.text().contains('{'));
        }
        assert!(serde_json::from_slice::<Value>(&says("malformed", false).await.body()).is_err());
        assert_ne!(speaker.heard(&says("malformed+chunk=1", true).await), "a text of some length");
        assert_eq!(says("no_done", true).await.text().matches(speaker.last).count(), 0);
        let stream = says("count=5+crlf+comments+cut=7+delay=0ms", true).await;
        assert_eq!(speaker.heard(&stream), "a text of some length");
        assert_eq!(stream.text().matches('\n').count(), stream.text().matches("\r\n").count());
        assert_eq!(stream.text().matches(speaker.last).count(), 1);
        assert_eq!(
            stream.text().matches(": mock keep-alive").count(),
            stream.text().matches("data: ").count()
        );
        assert_eq!((speaker.text)(&says("bytes=1024", false).await.json()).unwrap().len(), 1024);
        assert_eq!(speaker.heard(&says("answer=given", true).await), "given");
    }
}

#[tokio::test]
async fn an_error_breaks_into_a_stream_and_takes_the_place_of_a_document() {
    for (speaker, kind) in SPEAKERS.iter().zip(["server_error", "overloaded_error"]) {
        let address = echo().await;
        let document = speaker.says(address, "error_event=0", false).await;
        assert_eq!((document.status(), &document.json()["error"]["type"]), (200, &json!(kind)));
        for (settings, events) in [("chunk=3+error_event=4", 4), ("chunk=30+error_event=900", 900)] {
            let stream = speaker.says(address, settings, true).await;
            let text = stream.text();
            let (before, last) = text.trim_end().rsplit_once("\n\n").unwrap();
            let data: Value =
                serde_json::from_str(last.lines().last().unwrap().strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["error"]["type"], kind);
            assert_eq!(last.starts_with("event: error\n"), speaker.path == MESSAGES);
            assert!(before.split("\n\n").count() <= events && !text.contains(speaker.last));
        }
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_there() {
    for speaker in SPEAKERS {
        let address = echo().await;
        for stream in [false, true] {
            let packed = speaker.says(address, "encoding=gzip", stream).await;
            assert!(packed.head().contains("\r\ncontent-encoding: gzip\r\n"));
            let mut plain = String::new();
            let body = packed.body();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(body.as_slice()), &mut plain)
                .unwrap();
            assert_eq!(plain.matches(speaker.last).count(), usize::from(stream));
        }
        let document = speaker.says(address, "extra", false).await;
        assert_eq!(document.json()["mock_extra"], "a text of some length");
        assert!(document.text().matches("mock_extra").count() > 1);
        let stream = speaker.says(address, "extra+chunk=3", true).await;
        assert!(stream.text().matches("mock_extra").count() > 5);
        assert_eq!(stream.text().contains("event: mock_event"), speaker.path == MESSAGES);
        assert_eq!(speaker.heard(&stream), "a text of some length");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_a_message_is_noticed() {
    for settings in ["mock+stall=header", "mock+stall=300", "mock+chunk=1+delay=10s"] {
        let address = echo().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = request("POST", MESSAGES, VERSION, &events(settings, "abcdefgh").to_string());
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // The clock stands still while anything can be read, so running out of time is silence.
        assert!(timeout(Duration::from_secs(9), stream.read_to_end(&mut bytes)).await.is_err());
        drop(stream);
        assert_eq!(concluded(address).await["client_left"], true);
    }
}
