//! What does one event look like on disk? One line: checksum, length, JSON.
//!
//! ```text
//! 1c291ca3 612 {"schema":1,"id":"0193…", … }\n
//! ```
//!
//! CRC-32 (ISO-HDLC, as in gzip) of the payload in eight lower-case hex digits, its length in decimal, the
//! payload. JSON escapes line ends, so a frame is exactly one line, and after damage the next line is the
//! next frame.
//! Proves: a frame with any one byte changed does not parse: each part has one spelling, and the checksum
//! covers the rest. Does not: guard against somebody who recomputes the checksum; the chain does.

use std::io::{self, BufRead, Read, Write};

use crate::event::Event;

/// Bytes of one payload. A bounded event with every text escaped to six times its size stays below.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of a line without its end: checksum, length of at most seven digits, two spaces, payload.
const LINE_BYTES_MAX: usize = 8 + 1 + 7 + 1 + FRAME_BYTES_MAX;
/// Bytes read at once.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Why a line is not a frame, or a segment not what its neighbours say it is.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// No checksum and length at the start of the line.
    #[error("the line does not start with a checksum and a length")]
    NoHeader,
    /// The payload is shorter or longer than its header says.
    #[error("the payload has {found} bytes instead of {stated}")]
    Length {
        /// Bytes the header announces.
        stated: usize,
        /// Bytes before the end of the line.
        found: usize,
    },
    /// The payload is not what was written.
    #[error("the checksum of the payload does not match")]
    Checksum,
    /// A line longer than any frame.
    #[error("the line is longer than any event")]
    TooLong,
    /// A segment that is not the last ends in the middle of a line.
    #[error("the segment ends in the middle of a line")]
    Torn,
    /// The next segment begins later or earlier than this one ended.
    #[error("the next event should be number {expected}, but the next segment begins with {found}")]
    Gap {
        /// The number after the last line of this segment.
        expected: u64,
        /// The number in the next segment's name.
        found: u64,
    },
    /// The system would not let it be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Appends the event's frame to `lines`; `scratch` is only there to be reused.
pub(super) fn encode(event: &Event, scratch: &mut Vec<u8>, lines: &mut Vec<u8>) -> io::Result<()> {
    scratch.clear();
    serde_json::to_writer(&mut *scratch, event)?;
    if scratch.len() > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the event is longer than a frame may be"));
    }
    write!(lines, "{:08x} {} ", crc32fast::hash(scratch), scratch.len())?;
    lines.extend_from_slice(scratch);
    lines.push(b'\n');
    Ok(())
}

/// The payload of a line, which is given without its end.
pub(super) fn payload(line: &[u8]) -> Result<&[u8], Flaw> {
    let (checksum, rest) = header(line).ok_or(Flaw::NoHeader)?;
    let (stated, payload) = length(rest).ok_or(Flaw::NoHeader)?;
    if payload.len() != stated {
        return Err(Flaw::Length { stated, found: payload.len() });
    }
    if crc32fast::hash(payload) != checksum {
        return Err(Flaw::Checksum);
    }
    Ok(payload)
}

/// Eight lower-case hex digits and a space. Upper case is a flipped bit, so the standard parser is too kind.
fn header(line: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = line.split_at_checked(8)?;
    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let checksum = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((checksum, rest.strip_prefix(b" ")?))
}

/// A decimal number without sign or leading zero, and a space.
fn length(rest: &[u8]) -> Option<(usize, &[u8])> {
    let space = rest.iter().take(8).position(|byte| *byte == b' ')?;
    let (digits, payload) = rest.split_at_checked(space)?;
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let stated = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((stated, payload.strip_prefix(b" ")?))
}

/// What stands at the reading position of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line of so many bytes, its end included; the line is in the buffer, without its end.
    Whole(u64),
    /// A line of so many bytes that is too long to be a frame; the buffer holds only its beginning.
    TooLong(u64),
    /// The last so many bytes of the segment, which no line end follows.
    Unfinished(u64),
    /// The end of the segment, after a whole line.
    End,
}

/// Reads up to the next line end, keeping no more than a frame can have.
pub(super) fn next_line(segment: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let kept = segment.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)? as u64;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Line::Whole(kept));
    }
    if kept == 0 {
        return Ok(Line::End);
    }
    let (skipped, ended) = skip_line(segment)?;
    Ok(if ended { Line::TooLong(kept + skipped) } else { Line::Unfinished(kept + skipped) })
}

/// Passes over the rest of a line: how many bytes, and whether it had an end.
fn skip_line(segment: &mut impl BufRead) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let ahead = segment.fill_buf()?;
        if ahead.is_empty() {
            return Ok((skipped, false));
        }
        let end = ahead.iter().position(|byte| *byte == b'\n');
        let step = end.map_or(ahead.len(), |at| at + 1);
        segment.consume(step);
        skipped += step as u64;
        if end.is_some() {
            return Ok((skipped, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(event: &Event) -> Vec<u8> {
        let mut line = Vec::new();
        encode(event, &mut Vec::new(), &mut line).unwrap();
        line
    }

    #[test]
    fn a_frame_is_one_line_and_gives_its_payload_back() {
        let event = Event { client_request_id: Some("a\nb".to_owned()), ..Event::default() };
        let line = line_of(&event);
        let (end, frame) = line.split_last().unwrap();
        assert_eq!(*end, b'\n');
        assert!(!frame.contains(&b'\n'));
        let read: Event = serde_json::from_slice(payload(frame).unwrap()).unwrap();
        assert_eq!(read, event);
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert!(matches!(payload(b"cbf43926 9 123456789"), Ok(b"123456789")));
    }

    #[test]
    fn every_part_has_one_spelling() {
        for line in [
            &b""[..],
            b"cbf43926",
            b"cbf43926 9",
            b"cbf43926 9 12345678",
            b"cbf43926 8 123456789",
            b"cbf43926 09 123456789",
            b"cbf43926 +9 123456789",
            b"cbf43926  9 123456789",
            b"CBF43926 9 123456789",
            b"+bf43926 9 123456789",
            b"cbf43926 99999999 123456789",
            b"cbf43927 9 123456789",
            b"cbf43926 9 123456780",
            b"00000000  ",
        ] {
            assert!(payload(line).is_err(), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn lines_are_bounded_and_counted_to_the_byte() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 9];
        text.extend_from_slice(b"\nshort\n");
        text.extend(std::iter::repeat_n(0, LINE_BYTES_MAX + 5));
        let mut segment = io::BufReader::new(text.as_slice());
        let mut line = Vec::new();
        assert_eq!(next_line(&mut segment, &mut line).unwrap(), Line::TooLong(LINE_BYTES_MAX as u64 + 10));
        assert_eq!(next_line(&mut segment, &mut line).unwrap(), Line::Whole(6));
        assert_eq!(line, b"short");
        assert_eq!(next_line(&mut segment, &mut line).unwrap(), Line::Unfinished(LINE_BYTES_MAX as u64 + 5));
        assert_eq!(next_line(&mut segment, &mut line).unwrap(), Line::End);
    }
}
