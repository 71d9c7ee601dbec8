//! Does the double speak OpenAI's dialect as its tables say?

use super::*;

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
