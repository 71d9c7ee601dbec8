//! Is this the answer that was asked for? An error is not a fast request.
//!
//! Needs a connection with a request on it. Proves of every answer: status 200, whole framing, the expected
//! type, its end, its usage, its finish reason and its number of events; and of one in [`SAMPLE_EVERY`],
//! that it parses and holds the text that the double says. It reads HTTP/1.1 as far as these servers write
//! it, and nothing else.

use crate::corpus::{ANSWER_BYTES, DELTAS};
use memchr::memmem;
use serde_json::Value;
use std::io;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// One answer of so many is parsed; the first of every connection is.
const SAMPLE_EVERY: u64 = 64;
/// Events besides the deltas: the role, the finish reason, the usage, the end.
const EVENTS_BESIDES: usize = 4;
/// A longer head is none of these servers'.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is expected of a side's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// One JSON document.
    Document,
    /// A stream. A side that holds back a word may send it in an event of its own.
    Events {
        /// Events that may be added.
        added_max: usize,
    },
}

/// What is wrong with an answer.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// The connection failed or ended.
    Connection(io::Error),
    /// Not 200; with the beginning of the body.
    Status(String),
    /// The bytes are no HTTP/1.1 answer.
    Framing(&'static str),
    /// The body is not what was asked for.
    Body(&'static str),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(error) => write!(out, "the connection failed: {error}"),
            Self::Status(head) => write!(out, "the status is not 200: `{head}`"),
            Self::Framing(what) => write!(out, "the framing is broken: {what}"),
            Self::Body(what) => write!(out, "the body is wrong: {what}"),
        }
    }
}

/// What was read of one connection and not used yet, and the body of the last answer.
#[derive(Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    at: usize,
    body: Vec<u8>,
    answers: u64,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Inbox {
    /// Reads one answer and checks it.
    pub(crate) async fn next(&mut self, stream: &mut TcpStream, expected: Expected) -> Result<(), Wrong> {
        self.receive(stream).await?;
        let sampled = self.answers.is_multiple_of(SAMPLE_EVERY);
        self.answers += 1;
        match expected {
            Expected::Document => document(&self.body, sampled),
            Expected::Events { added_max } => events(&self.body, added_max, sampled),
        }
    }

    /// Reads one answer of status 200, whatever it says.
    pub(crate) async fn receive(&mut self, stream: &mut TcpStream) -> Result<&[u8], Wrong> {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.body.clear();
        let head_end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(Wrong::Framing("the head does not end"));
            }
            self.fill(stream).await?;
        };
        let head = self.buffer.get(..head_end).unwrap_or_default();
        let is_ok = head.starts_with(b"HTTP/1.1 200 ");
        let framing = framing(head)?;
        let status = if is_ok { String::new() } else { line(head) };
        self.at = head_end;
        match framing {
            Framing::Length(length) => self.exactly(stream, length).await?,
            Framing::Chunked => self.chunks(stream).await?,
        }
        if is_ok {
            Ok(&self.body)
        } else {
            let body = self.body.get(..self.body.len().min(300)).unwrap_or_default();
            Err(Wrong::Status(format!("{status} {}", String::from_utf8_lossy(body))))
        }
    }

    async fn fill(&mut self, stream: &mut TcpStream) -> Result<(), Wrong> {
        self.buffer.reserve(16 * 1024);
        match stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Wrong::Connection(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Wrong::Connection(error)),
        }
    }

    /// Moves the next bytes to the body.
    async fn exactly(&mut self, stream: &mut TcpStream, length: usize) -> Result<(), Wrong> {
        while self.buffer.len() < self.at + length {
            self.fill(stream).await?;
        }
        self.body.extend_from_slice(self.buffer.get(self.at..self.at + length).unwrap_or_default());
        self.at += length;
        Ok(())
    }

    async fn chunks(&mut self, stream: &mut TcpStream) -> Result<(), Wrong> {
        loop {
            let line_end = loop {
                let rest = self.buffer.get(self.at..).unwrap_or_default();
                if let Some(end) = memchr::memchr(b'\n', rest) {
                    break self.at + end;
                }
                self.fill(stream).await?;
            };
            let size = self.buffer.get(self.at..line_end).and_then(|line| std::str::from_utf8(line).ok());
            let size = size.and_then(|size| usize::from_str_radix(size.trim_end(), 16).ok());
            let size = size.ok_or(Wrong::Framing("a chunk has no size"))?;
            self.at = line_end + 1;
            self.exactly(stream, size).await?;
            // The line end behind a chunk, or behind the last, empty one.
            while self.buffer.len() < self.at + 2 {
                self.fill(stream).await?;
            }
            if self.buffer.get(self.at..self.at + 2) != Some(b"\r\n") {
                return Err(Wrong::Framing("a chunk is longer than its size"));
            }
            self.at += 2;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

fn line(head: &[u8]) -> String {
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    String::from_utf8_lossy(head.get(..end).unwrap_or_default()).into_owned()
}

fn framing(head: &[u8]) -> Result<Framing, Wrong> {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, b""));
        let value = std::str::from_utf8(value.get(1..).unwrap_or_default()).unwrap_or_default().trim();
        if name.eq_ignore_ascii_case(b"content-length") {
            return value
                .parse()
                .map(Framing::Length)
                .map_err(|_| Wrong::Framing("content-length is no number"));
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Ok(Framing::Chunked);
        }
    }
    Err(Wrong::Framing("neither content-length nor chunks"))
}

fn document(body: &[u8], sampled: bool) -> Result<(), Wrong> {
    let has = |marker: &[u8]| memmem::find(body, marker).is_some();
    if body.len() < ANSWER_BYTES || !body.starts_with(b"{") || !body.ends_with(b"}") {
        return Err(Wrong::Body("it is no document of the expected length"));
    }
    if !has(b"\"usage\":{") {
        return Err(Wrong::Body("it has no usage"));
    }
    if !has(b"\"finish_reason\":\"stop\"") {
        return Err(Wrong::Body("it did not stop by itself"));
    }
    if !sampled {
        return Ok(());
    }
    let parsed: Value = serde_json::from_slice(body).map_err(|_| Wrong::Body("it is not JSON"))?;
    let text = parsed.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default();
    said(text.len(), &parsed)
}

fn events(body: &[u8], added_max: usize, sampled: bool) -> Result<(), Wrong> {
    if !body.ends_with(b"data: [DONE]\n\n") {
        return Err(Wrong::Body("the stream does not end with `[DONE]`"));
    }
    let count = memmem::find_iter(body, b"data: ").count();
    let least = DELTAS + EVENTS_BESIDES;
    if !(least..=least + added_max).contains(&count) {
        return Err(Wrong::Body("the number of events is wrong"));
    }
    if memmem::find(body, b"\"finish_reason\":\"stop\"").is_none() {
        return Err(Wrong::Body("the stream did not stop by itself"));
    }
    if memmem::find(body, b"\"usage\":{").is_none() {
        return Err(Wrong::Body("the stream has no usage"));
    }
    if !sampled {
        return Ok(());
    }
    let (mut bytes, mut last) = (0, Value::Null);
    let text = std::str::from_utf8(body).map_err(|_| Wrong::Body("it is not UTF-8"))?;
    for data in
        text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|data| *data != "[DONE]")
    {
        let event: Value = serde_json::from_str(data).map_err(|_| Wrong::Body("an event is not JSON"))?;
        let delta = event.pointer("/choices/0/delta/content").and_then(Value::as_str).unwrap_or_default();
        bytes += delta.len();
        last = event;
    }
    said(bytes, &last)
}

fn said(bytes: usize, with_usage: &Value) -> Result<(), Wrong> {
    let tokens = with_usage.pointer("/usage/total_tokens").and_then(Value::as_u64).unwrap_or(0);
    match (bytes == ANSWER_BYTES, tokens > 0) {
        (true, true) => Ok(()),
        (false, _) => Err(Wrong::Body("the text has another length")),
        (true, false) => Err(Wrong::Body("usage counts no tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(deltas: usize, text_bytes: usize) -> String {
        let event = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        let mut body = event("{\"role\":\"assistant\"}");
        for _ in 0..deltas {
            body += &event(&format!("{{\"content\":\"{}\"}}", "x".repeat(text_bytes / deltas)));
        }
        body += "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        body + "data: {\"choices\":[],\"usage\":{\"total_tokens\":7}}\n\ndata: [DONE]\n\n"
    }

    #[test]
    fn a_whole_stream_passes_and_a_lesser_one_does_not() {
        let good = stream(DELTAS, ANSWER_BYTES);
        assert!(events(good.as_bytes(), 0, true).is_ok());
        let bad = [
            good.replace("[DONE]", "[GONE]"),
            good.replace("usage", "usages"),
            good.replace("\"stop\"", "\"content_filter\""),
            good.replacen('x', "", 1),
            good.replacen("{\"content\"", "{content\"", 1),
            good.replacen("_tokens\":7", "_tokens\":0", 1),
            stream(DELTAS - 1, ANSWER_BYTES),
            stream(DELTAS * 2, ANSWER_BYTES),
        ];
        for body in bad {
            assert!(events(body.as_bytes(), 0, true).is_err(), "{body}");
        }
    }

    #[test]
    fn a_whole_document_passes_and_a_lesser_one_does_not() {
        let text = "x".repeat(ANSWER_BYTES);
        let choice = format!(r#"{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}"#);
        let good = format!(r#"{{"choices":[{choice}],"usage":{{"total_tokens":7}}}}"#);
        assert!(document(good.as_bytes(), true).is_ok());
        for (from, to) in
            [("x", ""), ("\"stop\"", "\"length\""), ("usage", "usages"), ("choices\":", "choices\"")]
        {
            assert!(document(good.replacen(from, to, 1).as_bytes(), true).is_err(), "{from}");
        }
    }

    #[test]
    fn framing_is_read_in_any_case_and_never_guessed() {
        assert!(matches!(framing(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"), Ok(Framing::Length(12))));
        assert!(matches!(
            framing(b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"),
            Ok(Framing::Chunked)
        ));
        assert!(framing(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(framing(b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\n").is_err());
    }
}
