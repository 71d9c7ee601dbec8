//! What does the double remember of requests, and how does it end?

use super::*;

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
