//! Who changes something over the admin API, and who looks whether it holds? HTTP/1.1 on one connection, one at a time.

use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than anything takes that is asked for here.
const PATIENCE: Duration = Duration::from_mins(2);
/// A connection that rested longer may have been closed.
const RESTS_AT_MOST: Duration = Duration::from_secs(5);
const PASSWORD: &str = "correct horse battery staples";

/// A connection, and what is shown on it.
pub(super) struct Client {
    address: SocketAddr,
    stream: TcpStream,
    /// Header lines, each with its end.
    badge: String,
    used: Instant,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// Its body; an error, if the status is another one.
    pub(super) fn wanted(self, status: u16) -> io::Result<Value> {
        if self.status != status {
            let said = String::from_utf8_lossy(&self.body).into_owned();
            return Err(io::Error::other(format!("status {} and not {status}: {said}", self.status)));
        }
        if self.body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&self.body)?) }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A member of an answer, by its pointer.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Client {
    pub(super) fn open(address: SocketAddr, badge: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address, stream, badge: badge.to_owned(), used: Instant::now() })
    }

    /// Another connection of the same caller.
    pub(super) fn again(&self) -> io::Result<Self> {
        Self::open(self.address, &self.badge)
    }

    /// Makes an account of an invitation, and signs in.
    pub(super) fn arrive(
        address: SocketAddr,
        organisation: Option<&str>,
        name: &str,
        invitation: &str,
    ) -> io::Result<Self> {
        let mut client = Self::open(address, "")?;
        let accept = serde_json::json!({ "invitation": invitation, "password": PASSWORD });
        client.call("POST", "/api/v1/invitations/accept", "", Some(&accept))?.wanted(201)?;
        let asked = serde_json::json!({ "organisation": organisation, "name": name, "password": PASSWORD });
        let signed = client.call("POST", "/api/v1/session", "", Some(&asked))?;
        let cookie = signed.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.unwrap_or_default().to_owned();
        let told = signed.wanted(201)?;
        let csrf = text(&told, "/csrf");
        client.badge = format!("cookie: {cookie}\r\nx-csrf-token: {csrf}\r\n");
        Ok(client)
    }

    /// Sends a request and reads its answer.
    pub(super) fn call(
        &mut self,
        method: &str,
        path: &str,
        more: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        if self.used.elapsed() > RESTS_AT_MOST {
            *self = self.again()?;
        }
        self.used = Instant::now();
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if method == "PATCH" { "merge-patch+json" } else { "json" };
        write!(
            self.stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/{kind}\r\ncontent-length: {}\r\n\
             {}{more}\r\n{body}",
            self.address,
            body.len(),
            self.badge,
        )?;
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                break end + 4;
            }
            self.more(&mut read)?;
        };
        let head = String::from_utf8_lossy(read.get(..end).unwrap_or_default()).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        while length.is_some_and(|length| read.len() < end + length) {
            self.more(&mut read)?;
        }
        answer.body = read.split_off(end);
        // What comes in chunks is not read to its end: a look is for its status.
        let is_read = length.is_some() || status == 204;
        if !is_read || answer.header("connection").is_some_and(|said| said.eq_ignore_ascii_case("close")) {
            *self = self.again()?;
        }
        Ok(answer)
    }

    fn more(&mut self, read: &mut Vec<u8>) -> io::Result<()> {
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                read.extend_from_slice(part.get(..bytes).unwrap_or_default());
                Ok(())
            }
        }
    }
}
