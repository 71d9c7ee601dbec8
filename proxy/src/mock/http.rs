//! Which request stands on this connection?
//!
//! Needs an accepted socket. Proves that an [`Arrival::Request`] is complete and unambiguous: one framing,
//! one length, its whole body in memory. It bounds bytes, not time: a caller that wants to hold a connection
//! open may, because holding connections is one of the things the double is there to try. HTTP/1.1 by RFC
//! 9112; the parts a provider's caller uses, and no others: no upgrades, no ranges, no HTTP/2.

use bytes::{Buf, Bytes, BytesMut};
use std::mem::MaybeUninit;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::anthropic::VERSION_HEADER;

/// Largest request head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields in one request.
pub(super) const HEADERS_MAX: usize = 128;
/// Largest request body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room asked for before each read: a usual request in one system call.
const READ_BYTES: usize = 16 * 1024;
/// How long a closed connection is drained, so that the kernel's reset for unread bytes does not overtake the
/// last bytes of the answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// One accepted connection: the socket and what was read ahead from it.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    buffer: BytesMut,
}

/// What a connection brought.
pub(super) enum Arrival {
    /// A complete request.
    Request(Request),
    /// A request whose caller left, or broke the framing, inside the body.
    Partial(Request),
    /// Bytes that are no request: answer this status and close.
    Malformed(u16, &'static str),
    /// The caller closed between two requests.
    Gone,
}

/// A request.
pub(super) struct Request {
    /// Method, as sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// The token behind `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// `x-api-key`.
    pub api_key: Option<String>,
    /// `anthropic-version`.
    pub anthropic_version: Option<String>,
    /// `x-mock-…` headers, without that prefix.
    pub control: Vec<(String, String)>,
    /// All headers in order, names in lower case; empty when nobody records them.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Bytes,
}

enum Framing {
    Length(usize),
    Chunked,
}

/// A head with the two facts that only reading the body needs.
struct Head {
    request: Request,
    framing: Framing,
    expects_continue: bool,
}

/// Why a body could not be read to its end; the bytes that had come are kept for the record.
struct Torn(Bytes);

impl Connection {
    /// Takes over an accepted socket.
    pub(super) fn new(stream: TcpStream) -> Self {
        Connection { stream, buffer: BytesMut::new() }
    }

    /// Waits for the next request. `keep_headers` asks for all headers, for the record.
    pub(super) async fn next(&mut self, keep_headers: bool) -> Arrival {
        let head = loop {
            match parse_head(&self.buffer, keep_headers) {
                Ok(Some((head, head_bytes))) => {
                    self.buffer.advance(head_bytes);
                    break head;
                }
                Ok(None) if self.buffer.len() > HEAD_BYTES_MAX => {
                    return Arrival::Malformed(431, "the request head is too large");
                }
                Ok(None) => {}
                Err((status, reason)) => return Arrival::Malformed(status, reason),
            }
            if !self.fill().await {
                return Arrival::Gone;
            }
        };
        let mut request = head.request;
        if head.expects_continue && self.buffer.is_empty() {
            // A caller that has gone by now is noticed by the read that follows.
            let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let body = match head.framing {
            Framing::Length(length) if length > BODY_BYTES_MAX => {
                return Arrival::Malformed(413, "the request body is too large");
            }
            Framing::Length(length) => self.take(length).await,
            Framing::Chunked => self.take_chunks().await,
        };
        match body {
            Ok(body) => {
                request.body = body;
                Arrival::Request(request)
            }
            Err(Torn(body)) => {
                request.body = body;
                Arrival::Partial(request)
            }
        }
    }

    /// Resolves when the caller closes its side. What it sends instead is kept for the next request.
    pub(super) async fn left(&mut self) {
        while self.buffer.len() <= HEAD_BYTES_MAX {
            if !self.fill().await {
                return;
            }
        }
        // A caller that pipelines this much is not watched any longer: reading on would need memory.
        std::future::pending::<()>().await;
    }

    /// Closes cleanly: FIN, then a short wait for the caller's.
    pub(super) async fn farewell(mut self) {
        if self.stream.shutdown().await.is_ok() {
            let drained = async {
                self.buffer.clear();
                while self.fill().await {
                    self.buffer.clear();
                }
            };
            // Whether the caller closed in time or not, the connection ends here.
            let _ = tokio::time::timeout(FAREWELL, drained).await;
        }
    }

    /// Reads once. False: the caller closed or the connection broke.
    async fn fill(&mut self) -> bool {
        self.buffer.reserve(READ_BYTES);
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }

    /// Reads until `length` bytes are buffered, and takes them.
    async fn take(&mut self, length: usize) -> Result<Bytes, Torn> {
        if length > self.buffer.len() {
            self.buffer.reserve(length - self.buffer.len());
        }
        while self.buffer.len() < length {
            if !self.fill().await {
                return Err(Torn(self.buffer.split().freeze()));
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn take_chunks(&mut self) -> Result<Bytes, Torn> {
        let mut body = BytesMut::new();
        loop {
            match self.take_chunk(&mut body).await {
                Some(0) => return Ok(body.freeze()),
                Some(_) => {}
                None => return Err(Torn(body.freeze())),
            }
        }
    }

    /// Takes one chunk, and behind the last one (of size 0) the trailer. None: broken, too large, or gone.
    async fn take_chunk(&mut self, body: &mut BytesMut) -> Option<usize> {
        let size = loop {
            match httparse::parse_chunk_size(&self.buffer).ok()? {
                httparse::Status::Complete((line_bytes, size)) => {
                    self.buffer.advance(line_bytes);
                    break usize::try_from(size).ok()?;
                }
                httparse::Status::Partial if self.buffer.len() > HEAD_BYTES_MAX => return None,
                httparse::Status::Partial => self.fill().await.then_some(())?,
            }
        };
        if size == 0 {
            return self.skip_trailer().await.then_some(0);
        }
        if size > BODY_BYTES_MAX - body.len() {
            return None;
        }
        match self.take(size).await {
            Ok(data) => body.extend_from_slice(&data),
            Err(Torn(data)) => {
                body.extend_from_slice(&data);
                return None;
            }
        }
        let line_end = self.take(2).await.ok()?;
        (line_end.as_ref() == b"\r\n").then_some(size)
    }

    async fn skip_trailer(&mut self) -> bool {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
            match httparse::parse_headers(&self.buffer, &mut fields) {
                Ok(httparse::Status::Complete((trailer_bytes, _))) => {
                    self.buffer.advance(trailer_bytes);
                    return true;
                }
                Ok(httparse::Status::Partial) if self.buffer.len() <= HEAD_BYTES_MAX => {}
                Ok(httparse::Status::Partial) | Err(_) => return false,
            }
            if !self.fill().await {
                return false;
            }
        }
    }
}

/// Reads a head from the start of `bytes`; none if it is not complete yet.
fn parse_head(bytes: &[u8], keep_headers: bool) -> Result<Option<(Head, usize)>, (u16, &'static str)> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let head_bytes = match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err((431, "the request has too many header fields")),
        Err(_) => return Err((400, "the request head cannot be parsed")),
    };
    let mut head = Head {
        request: Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            // HTTP/1.0 closes unless asked otherwise, and nobody who asks is worth supporting.
            keep_alive: parsed.version == Some(1),
            bearer: None,
            api_key: None,
            anthropic_version: None,
            control: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        },
        framing: Framing::Length(0),
        expects_continue: false,
    };
    let mut length = None;
    let mut chunked = false;
    for field in parsed.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(field.value).ok().and_then(content_length);
            let value = value.ok_or((400, "the content length is not a number"))?;
            if length.is_some_and(|earlier| earlier != value) {
                return Err((400, "the request has two content lengths"));
            }
            length = Some(value);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err((501, "the only transfer encoding is `chunked`"));
            }
            chunked = true;
        } else {
            note_field(&mut head, field);
        }
        if keep_headers {
            let value = String::from_utf8_lossy(field.value).into_owned();
            head.request.headers.push((field.name.to_ascii_lowercase(), value));
        }
    }
    head.framing = match (length, chunked) {
        (Some(_), true) => return Err((400, "the request has a content length and a transfer encoding")),
        (None, true) => Framing::Chunked,
        (length, false) => Framing::Length(length.unwrap_or(0)),
    };
    Ok(Some((head, head_bytes)))
}

fn note_field(head: &mut Head, field: &httparse::Header<'_>) {
    let value = field.value;
    if field.name.eq_ignore_ascii_case("connection") {
        head.request.keep_alive &= !value.eq_ignore_ascii_case(b"close");
    } else if field.name.eq_ignore_ascii_case("expect") {
        head.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
    } else if field.name.eq_ignore_ascii_case("authorization") {
        head.request.bearer = std::str::from_utf8(value)
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::to_owned);
    } else if field.name.eq_ignore_ascii_case("x-api-key") {
        head.request.api_key = std::str::from_utf8(value).ok().map(str::to_owned);
    } else if field.name.eq_ignore_ascii_case(VERSION_HEADER) {
        head.request.anthropic_version = Some(String::from_utf8_lossy(value).into_owned());
    } else if let Some((prefix, name)) = field.name.split_at_checked("x-mock-".len())
        && prefix.eq_ignore_ascii_case("x-mock-")
    {
        head.request.control.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    }
}

/// Digits only: `str::parse` alone would also take a plus sign, and two readers of one length are a
/// smuggler's tool.
fn content_length(value: &str) -> Option<usize> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}
