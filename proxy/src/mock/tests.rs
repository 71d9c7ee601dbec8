//! Does the double answer, and fail, as its tables say?
//!
//! Over real loopback sockets on ports that the system chose. Waits are on the paused clock, so they take no
//! time and prove the pauses exactly.

#![expect(clippy::string_slice, reason = "texts here are ours, and a wrong slice fails the test")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{MockOptions, serve};

mod failures;
mod http;
mod ledger;
mod messages;
mod openai;
mod settings;

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
