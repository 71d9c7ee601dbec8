//! Where does one event of a stream end? Server-sent events (WHATWG HTML §9.2), read strictly, for any chunking.
//!
//! Comments, `retry` and `id` are dropped: no dialect served here says anything in them, and what is not passed on
//! need not be scanned. A line that is no field at all is refused.

use super::{AnswerFault, EVENT_BYTES_MAX};
use crate::dlp::splice::{self, Edit};

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// What it is called; nothing, where it is not said.
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
}

/// Bytes of a stream become its events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// Name and data of the event that is not complete yet.
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_return: bool,
    is_first_line: bool,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { is_first_line: true, ..Self::default() }
    }

    /// Takes bytes; hands each complete event to `each`, until it says no.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(Event<'_>) -> Result<bool, AnswerFault>,
    ) -> Result<bool, AnswerFault> {
        if self.after_return && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            self.after_return = false;
        }
        while let Some(stop) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at_checked(stop).unwrap_or((bytes, &[]));
            let is_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if is_return {
                match bytes.first() {
                    Some(b'\n') => bytes = bytes.get(1..).unwrap_or_default(),
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            let goes_on = if self.line.is_empty() {
                self.take_line(line, each)?
            } else {
                self.line.extend_from_slice(line);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, each)?
            };
            if !goes_on {
                return Ok(false);
            }
        }
        self.line.extend_from_slice(bytes);
        self.check_size()?;
        Ok(true)
    }

    /// Nothing follows. An event without its blank line is not an event.
    pub(super) fn is_complete(&self) -> bool {
        self.line.is_empty() && !self.has_data
    }

    fn take_line(
        &mut self,
        line: &[u8],
        each: &mut dyn FnMut(Event<'_>) -> Result<bool, AnswerFault>,
    ) -> Result<bool, AnswerFault> {
        let mark = if std::mem::take(&mut self.is_first_line) { &b"\xef\xbb\xbf"[..] } else { b"" };
        let line = line.strip_prefix(mark).unwrap_or(line);
        if line.is_empty() {
            let goes_on = if std::mem::take(&mut self.has_data) {
                each(Event { name: &self.name, data: &self.data })
            } else {
                Ok(true)
            };
            self.name.clear();
            self.data.clear();
            return goes_on;
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        match name {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.check_size()?;
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.check_size()?;
            }
            b"" | b"id" | b"retry" => {}
            _ => return Err(AnswerFault::Events),
        }
        Ok(true)
    }

    fn check_size(&self) -> Result<(), AnswerFault> {
        let bytes = self.line.len() + self.name.len() + self.data.len();
        if bytes > EVENT_BYTES_MAX { Err(AnswerFault::TooLarge) } else { Ok(()) }
    }
}

/// Writes an event, under its name if it has one, with its edits.
pub(super) fn write_event(name: Option<&[u8]>, data: &[u8], edits: Vec<Edit>, out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name);
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    let start = out.len();
    if edits.is_empty() {
        out.extend_from_slice(data);
    } else {
        out.extend_from_slice(&splice::splice(data, edits));
    }
    // JSON may be laid out over lines; an event's data may not.
    for byte in out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Result<Vec<String>, AnswerFault> {
        let mut events = Events::new();
        let mut out = Vec::new();
        for chunk in chunks {
            events.push(chunk, &mut |event| {
                let text = [event.name, event.data].join(&b'|');
                out.push(String::from_utf8(text).unwrap());
                Ok(true)
            })?;
        }
        Ok(out)
    }

    #[test]
    fn every_cut_and_every_line_end_gives_the_same_events() {
        for end in ["\n", "\r\n", "\r"] {
            let text = "\u{feff}data: {\"é\":1}\n\n: comment\nid: 7\nevent: no\nevent: e\ndata:a\ndata: b\nretry: 5\n\n\n\ndata\n\n\
                 event: lost\n\ndata: c\nevent:\n\n";
            let text = text.replace('\n', end);
            let whole = read(&[text.as_bytes()]).unwrap();
            assert_eq!(whole, ["|{\"é\":1}", "e|a\nb", "|", "|c"]);
            for cut in 0..text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(read(&[one, two]).unwrap(), whole, "cut at {cut} with {end:?}");
            }
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&single).unwrap(), whole);
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        assert_eq!(read(&[b"{\"error\":1}\n"]), Err(AnswerFault::Events));
        assert_eq!(read(&[&vec![b'x'; EVENT_BYTES_MAX + 1]]), Err(AnswerFault::TooLarge));
    }
}
