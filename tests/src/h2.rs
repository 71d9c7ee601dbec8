//! A client of HTTP/2 (RFC 9113) that sees every frame: what `curl` keeps to itself is tested with it.
//!
//! It speaks with prior knowledge, compresses nothing, and takes at most a window of answers on one connection.

use crate::http::Connection;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A frame's type, as far as this client knows them (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Of a ping and of settings: it is the answer to one.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection, and what has come of it so far.
pub(crate) struct Client {
    connection: Connection,
    /// For each stream, its body.
    pub(crate) bodies: BTreeMap<u32, Vec<u8>>,
    /// Streams that ended as they should, in that order; with what else happened between them.
    pub(crate) story: Vec<Event>,
}

/// What a client has to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The connection takes no further request; with the reason, which is 0 if nothing is wrong.
    GoAway(u32),
    /// A stream is over and whole.
    Ended(u32),
}

impl Client {
    /// The preface, and settings that ask for nothing (RFC 9113 §3.4, §6.5).
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut connection = Connection::open(address);
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut client = Self { connection, bodies: BTreeMap::new(), story: Vec::new() };
        client.send(SETTINGS, 0, 0, b"");
        client
    }

    /// Asks for a chat completion on this stream.
    pub(crate) fn chat(&mut self, stream: u32, key: &str, body: &str) {
        let bearer = format!("Bearer {key}");
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/v1/chat/completions"),
            (":authority", "palisade.test"),
            ("authorization", &bearer),
            ("content-type", "application/json"),
        ] {
            // A literal that is not indexed, with a new name (RFC 7541 §6.2.2); 127 and more take a second byte.
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "too long for this client: `{text}`");
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.send(HEADERS, END_HEADERS, stream, &block);
        self.send(DATA, END_STREAM, stream, body.as_bytes());
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.connection.send(&frame);
    }

    /// Reads a frame; false at the end of the connection.
    pub(crate) fn frame(&mut self) -> bool {
        let Some(head) = self.connection.bytes(9) else { return false };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
        let (kind, flags, stream) = (head[3], head[4], number(&head[5..]));
        let Some(payload) = self.connection.bytes(number(&head[..3]) as usize) else { return false };
        match kind {
            DATA => self.bodies.entry(stream).or_default().extend_from_slice(&payload),
            SETTINGS | PING if flags & ACK == 0 => {
                let echoed: &[u8] = if kind == PING { &payload } else { b"" };
                self.send(kind, ACK, 0, echoed);
            }
            GOAWAY => self.story.push(Event::GoAway(number(&payload[4..8]))),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.story.push(Event::Ended(stream));
        }
        true
    }
}
