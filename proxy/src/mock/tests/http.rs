//! Does the double speak HTTP/1.1, however a request is cut?

use super::*;

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
