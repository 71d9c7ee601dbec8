//! A client of HTTP/1.1 that can misbehave: it sends the bytes it is given, and sees how an answer ended.
//!
//! It is no client library: it reads what a proxy may answer (a length, chunks, or the connection's end) and refuses
//! everything else, so that a malformed answer fails a test.

use crate::process::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Tail of an answer's head is at most this far away.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection with what was read ahead.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

/// An answer, or as much of it as came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether it ended as HTTP says it should.
    pub(crate) is_whole: bool,
}

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in `{}`", self.text()))
    }
}

/// A request with these headers, of which `host` and `content-length` come by themselves.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nhost: palisade.test\r\n");
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    let has_length = headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
    });
    if !has_length && (!body.is_empty() || method == "POST") {
        out += &format!("content-length: {}\r\n", body.len());
    }
    out += "\r\n";
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}

/// A prompt to `/v1/chat/completions`.
pub(crate) fn chat(key: &str, body: &str) -> Vec<u8> {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    request("POST", "/v1/chat/completions", &headers, body.as_bytes())
}

/// A prompt to `/v1/messages`.
pub(crate) fn messages(key: &str, body: &str) -> Vec<u8> {
    let headers =
        [("x-api-key", key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    request("POST", "/v1/messages", &headers, body.as_bytes())
}

/// Sends one request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = Connection::open(address);
    connection.send(request);
    connection.answer()
}

/// A `GET` without a key.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &request("GET", path, &[("connection", "close")], b""))
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    /// None if nobody listens there.
    pub(crate) fn try_open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self { stream, ahead: Vec::new() })
    }

    /// Sends bytes. A peer that has closed already is seen when its answer is read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads an answer to its end, or to where it broke off.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.status == 0 {
            return answer;
        }
        while answer.status == 100 {
            answer = self.head();
        }
        match length(&answer) {
            Length::Bytes(bytes) => {
                while self.ahead.len() < bytes && self.more() {}
                answer.is_whole = self.ahead.len() >= bytes;
                answer.body = self.take(bytes);
            }
            Length::Chunked => while self.chunk(&mut answer) {},
            Length::UntilClose => {
                while self.more() {}
                answer.body = std::mem::take(&mut self.ahead);
                answer.is_whole = true;
            }
        }
        answer
    }

    /// Reads the head of an answer; status 0 if none came.
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert!(self.ahead.len() < HEAD_BYTES_MAX, "a head without an end");
            if !self.more() {
                return Answer::default();
            }
        };
        let head = String::from_utf8(self.take(end + 4)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: `{line}`"));
            (name.to_owned(), value.trim().to_owned())
        });
        Answer { status, headers: headers.collect(), ..Answer::default() }
    }

    /// Reads the next chunk of a chunked body; false at its end.
    pub(crate) fn chunk(&mut self, answer: &mut Answer) -> bool {
        let Some(line) = self.line() else { return false };
        let bytes =
            usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no size of a chunk: `{line}`"));
        while self.ahead.len() < bytes + 2 && self.more() {}
        if self.ahead.len() < bytes + 2 {
            return false;
        }
        let chunk = self.take(bytes);
        assert_eq!(self.take(2), b"\r\n");
        answer.body.extend_from_slice(&chunk);
        answer.is_whole = bytes == 0;
        bytes > 0
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|window| window == b"\r\n") {
                let line = self.take(end + 2);
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads so many bytes; none if the connection ends before.
    pub(crate) fn bytes(&mut self, bytes: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < bytes && self.more() {}
        (self.ahead.len() >= bytes).then(|| self.take(bytes))
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(bytes.min(self.ahead.len()));
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads what is there; false at the end of the connection. Silence is a failure.
    pub(crate) fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(bytes) => {
                self.ahead.extend_from_slice(&buffer[..bytes]);
                bytes > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came within {PATIENCE:?}; so far: {}", String::from_utf8_lossy(&self.ahead))
            }
            Err(_) => false,
        }
    }
}

fn length(answer: &Answer) -> Length {
    let is_chunked = answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    match answer.header("content-length") {
        Some(_) if is_chunked => panic!("an answer with both a length and chunks"),
        Some(bytes) => Length::Bytes(bytes.parse().unwrap()),
        None if is_chunked => Length::Chunked,
        None if matches!(answer.status, 204 | 304) => Length::Bytes(0),
        None => Length::UntilClose,
    }
}

/// Each event of a stream: its name, empty where it has none, and its data.
pub(crate) fn events(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let event = |block: &str| {
        let named = block.strip_prefix("event: ").and_then(|rest| rest.split_once('\n'));
        let (name, rest) = named.unwrap_or(("", block));
        let data = rest.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: `{block}`"));
        (name.to_owned(), data.to_owned())
    };
    text.split("\n\n").filter(|block| !block.is_empty()).map(event).collect()
}

/// What a client of a stream has read in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// For each choice and field, its text: `0.content`, `0.tool_calls[0]`; of Anthropic's, for each block:
    /// `0.text`, `1.partial_json`.
    pub(crate) lanes: std::collections::BTreeMap<String, String>,
    /// For each choice, how it ended; Anthropic's have one.
    pub(crate) finish: std::collections::BTreeMap<u64, String>,
    pub(crate) has_usage: bool,
    pub(crate) has_error: bool,
    pub(crate) is_done: bool,
}

impl Told {
    /// Reads a stream's body as an SDK would.
    pub(crate) fn read(body: &[u8]) -> Self {
        let mut told = Self::default();
        let events = events(body);
        if events.iter().any(|(name, _)| !name.is_empty()) {
            return crate::messages::told(&events);
        }
        for (_, event) in events {
            assert!(!told.is_done, "an event after `[DONE]`: {event}");
            if event == "[DONE]" {
                told.is_done = true;
                continue;
            }
            let event: serde_json::Value =
                serde_json::from_str(&event).unwrap_or_else(|error| panic!("{error} in `{event}`"));
            told.has_error |= event.get("error").is_some();
            told.has_usage |= event.get("usage").is_some_and(|usage| !usage.is_null());
            for choice in event["choices"].as_array().into_iter().flatten() {
                told.choice(choice);
            }
        }
        told
    }

    fn choice(&mut self, choice: &serde_json::Value) {
        let index = choice["index"].as_u64().unwrap_or(0);
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish.insert(index, reason.to_owned());
        }
        let mut add = |name: String, text: &serde_json::Value| {
            if let Some(text) = text.as_str() {
                self.lanes.entry(format!("{index}.{name}")).or_default().push_str(text);
            }
        };
        add("text".to_owned(), &choice["text"]);
        for name in ["content", "refusal", "reasoning", "reasoning_content"] {
            add(name.to_owned(), &choice["delta"][name]);
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            add(format!("tool_calls[{}]", call["index"]), &call["function"]["arguments"]);
        }
    }

    /// The text of one lane.
    pub(crate) fn lane(&self, name: &str) -> &str {
        self.lanes.get(name).map_or("", String::as_str)
    }
}
