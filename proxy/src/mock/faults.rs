//! How does an answer go out, and how does it break?
//!
//! Needs an [`Answer`] and the connection. Proves, in what it returns, how many bytes the kernel took and
//! whether the caller stayed to the end. A whole answer without pauses is one write. It chooses nothing: the
//! script did.
//!
//! Limits of the trade: TCP may join what was cut, so `cut` also makes each cut an HTTP chunk of its own in
//! event streams; and a reset discards what the caller's window had no room for.

use std::num::NonZeroUsize;
use std::time::Duration;

use palisade_filters::Dialect;
use tokio::io::AsyncWriteExt;

use super::answer::{Answer, Kind};
use super::http::Connection;
use super::script::{Script, WAIT_MAX};

/// How an answer ends on the wire. Counts are bytes of content, without chunk framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// As HTTP wants it.
    #[default]
    Whole,
    /// RST instead of an answer.
    ResetBeforeHead,
    /// RST after half of the head.
    ResetInHead,
    /// RST after so many bytes.
    ResetAfter(usize),
    /// FIN after so many bytes.
    CloseAfter(usize),
    /// Silence instead of an answer, until the caller leaves.
    StallBeforeHead,
    /// Silence after so many bytes, until the caller leaves.
    StallAfter(usize),
}

/// How an answer goes out.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    end: End,
    slow_header: Option<Duration>,
    delay: Option<Duration>,
    cut: Option<NonZeroUsize>,
}

impl Delivery {
    /// The script's wishes that concern the wire.
    pub(super) fn of(script: &Script) -> Self {
        Delivery { end: script.end, slow_header: script.slow_header, delay: script.delay, cut: script.cut }
    }
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Delivered; the connection may go on if both sides want it.
    Whole,
    /// Ended by a fault after which a clean FIN follows.
    Cut,
    /// Ended by a reset.
    Reset,
    /// The caller left first.
    CallerLeft,
}

/// The caller is gone, so nothing more needs to be written.
struct Left;

/// Bytes on their way out, and how many have gone.
struct Outgoing<'a> {
    connection: &'a mut Connection,
    pending: Vec<u8>,
    cut: Option<NonZeroUsize>,
    sent: u64,
}

impl Connection {
    /// Delivers an answer, whole or as broken as its delivery says. Returns the bytes written, head included.
    pub(super) async fn deliver(
        &mut self,
        answer: Answer,
        request_id: &str,
        keep_alive: bool,
    ) -> (u64, Ended) {
        let cut = answer.delivery.cut;
        let mut outgoing = Outgoing { connection: self, pending: Vec::new(), cut, sent: 0 };
        let ended = match outgoing.deliver(answer, request_id, keep_alive).await {
            Ok(ended) => ended,
            Err(Left) => Ended::CallerLeft,
        };
        (outgoing.sent, ended)
    }

    /// Makes dropping this connection a reset: what is unsent is discarded, and the caller gets an RST.
    pub(super) fn reset(self) {
        // Refused only for a socket that is already dead, for which there is nothing left to reset.
        let _ = self.stream.set_zero_linger();
    }
}

impl Outgoing<'_> {
    async fn deliver(
        &mut self,
        mut answer: Answer,
        request_id: &str,
        keep_alive: bool,
    ) -> Result<Ended, Left> {
        let delivery = std::mem::take(&mut answer.delivery);
        if let Some(wait) = delivery.slow_header {
            self.pause(wait).await?;
        }
        self.pending = head(&answer, request_id, keep_alive);
        match delivery.end {
            End::ResetBeforeHead => return Ok(Ended::Reset),
            End::StallBeforeHead => return self.stall().await,
            End::ResetInHead => {
                self.pending.truncate(self.pending.len() / 2);
                self.flush().await?;
                return Ok(Ended::Reset);
            }
            End::Whole => self.content(&mut answer, &delivery, usize::MAX).await?,
            End::ResetAfter(bytes) | End::CloseAfter(bytes) | End::StallAfter(bytes) => {
                self.content(&mut answer, &delivery, bytes).await?;
            }
        }
        if delivery.end == End::Whole && answer.kind == Kind::Events {
            self.pending.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await?;
        match delivery.end {
            End::Whole => Ok(Ended::Whole),
            End::CloseAfter(_) => Ok(Ended::Cut),
            End::StallAfter(_) | End::StallBeforeHead => self.stall().await,
            End::ResetAfter(_) | End::ResetBeforeHead | End::ResetInHead => Ok(Ended::Reset),
        }
    }

    async fn content(&mut self, answer: &mut Answer, delivery: &Delivery, limit: usize) -> Result<(), Left> {
        if let (Some(size), Kind::Events) = (delivery.cut, answer.kind) {
            answer.parts.cut(size.get());
        }
        self.pending.reserve(answer.parts.len().min(limit));
        for (index, part) in answer.parts.iter(limit).enumerate() {
            if let (Some(delay), true) = (delivery.delay, index > 0) {
                self.flush().await?;
                self.pause(delay).await?;
            }
            match answer.kind {
                Kind::Json => self.pending.extend_from_slice(part),
                Kind::Events => frame(&mut self.pending, part),
            }
        }
        Ok(())
    }

    /// Writes what is pending: at once, or in cuts with a chance for others in between.
    async fn flush(&mut self) -> Result<(), Left> {
        let pending = std::mem::take(&mut self.pending);
        let size = self.cut.map_or(pending.len().max(1), NonZeroUsize::get);
        for mut piece in pending.chunks(size) {
            while !piece.is_empty() {
                match self.connection.stream.write(piece).await {
                    Ok(0) | Err(_) => return Err(Left),
                    Ok(written) => {
                        self.sent += written as u64;
                        piece = piece.get(written..).unwrap_or_default();
                    }
                }
            }
            if self.cut.is_some() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn pause(&mut self, wait: Duration) -> Result<(), Left> {
        if wait.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        match tokio::time::timeout(wait, self.connection.left()).await {
            Ok(()) => Err(Left),
            Err(_elapsed) => Ok(()),
        }
    }

    async fn stall(&mut self) -> Result<Ended, Left> {
        self.pause(WAIT_MAX).await?;
        Ok(Ended::Cut)
    }
}

/// One part in chunked framing. An empty chunk would end the body, so there is none.
fn frame(out: &mut Vec<u8>, part: &[u8]) {
    if part.is_empty() {
        return;
    }
    let digits = (usize::BITS - part.len().leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (part.len() >> (place * 4)) & 0xF;
        out.push(b"0123456789abcdef".get(digit).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

/// The head that the provider sends, as far as callers read it.
fn head(answer: &Answer, request_id: &str, keep_alive: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(answer.status.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(answer.status).as_bytes());
    out.extend_from_slice(match answer.dialect {
        Dialect::OpenAi => b"\r\nopenai-version: 2020-10-01\r\nx-request-id: ",
        Dialect::Anthropic => b"\r\nanthropic-organization-id: mock\r\nrequest-id: ".as_slice(),
    });
    out.extend_from_slice(request_id.as_bytes());
    if let Some(seconds) = answer.retry_after_seconds {
        out.extend_from_slice(b"\r\nretry-after: ");
        out.extend_from_slice(seconds.to_string().as_bytes());
    }
    if (300..400).contains(&answer.status) {
        // Somewhere to go, for callers that must not.
        out.extend_from_slice(b"\r\nlocation: /v1/models");
    }
    if !keep_alive {
        out.extend_from_slice(b"\r\nconnection: close");
    }
    if let Some(encoding) = &answer.encoding {
        out.extend_from_slice(b"\r\ncontent-encoding: ");
        out.extend_from_slice(encoding.as_bytes());
    }
    out.extend_from_slice(b"\r\ncontent-type: ");
    let own_type = match answer.kind {
        Kind::Json => "application/json",
        Kind::Events => "text/event-stream; charset=utf-8",
    };
    out.extend_from_slice(answer.content_type.as_deref().unwrap_or(own_type).as_bytes());
    match answer.kind {
        Kind::Json => {
            out.extend_from_slice(b"\r\ncontent-length: ");
            out.extend_from_slice(answer.parts.len().to_string().as_bytes());
        }
        Kind::Events => {
            out.extend_from_slice(b"\r\ncache-control: no-cache\r\ntransfer-encoding: chunked");
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Mock",
    }
}
