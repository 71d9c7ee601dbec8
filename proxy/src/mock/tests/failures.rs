//! Does the double fail, and take its time, as it is told?

use super::*;
use tokio::time::Instant;

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
