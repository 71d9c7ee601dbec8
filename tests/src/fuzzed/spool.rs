//! What must hold for whatever stands in the segments of an audit spool.

use palisade_audit::{Config, Entry, Event, Reader, Spool};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// Segments with a zero byte between them, in which a line that begins with `#` is framed as the writer would: every
/// byte of them is an entry's, a damage's or unfinished; an entry stands in its segment as it was given; and a spool
/// that is opened there goes on behind it.
pub(crate) fn spool(data: &[u8]) {
    let Some((gap, data)) = data.split_first() else { return };
    let home = TempDir::new().unwrap();
    let mut segments = BTreeMap::new();
    let mut first = 1;
    for text in data.splitn(3, |byte| *byte == 0) {
        let bytes = framed(text);
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').count() as u64;
        std::fs::write(home.path().join(format!("{first:020}.spool")), &bytes).unwrap();
        segments.insert(first, bytes);
        first += lines + u64::from(*gap == 7) + u64::from(lines == 0);
    }
    let (entries, unfinished, damages) = read(home.path());
    let mut bytes = unfinished + damages;
    for entry in &entries {
        let frame = frame(&entry.payload);
        assert!(segments[&entry.segment][entry.offset as usize..].starts_with(&frame), "{entry:?}");
        bytes += frame.len() as u64;
        if let Ok(event) = entry.event() {
            let written = serde_json::to_vec(&event).unwrap();
            assert_eq!(serde_json::from_slice::<Event>(&written).unwrap(), event);
        }
    }
    assert_eq!(bytes, segments.values().map(|segment| segment.len() as u64).sum::<u64>());

    let event = Event { status: Some(404), ..Event::default() };
    let spool = Spool::open(Config::new(home.path())).unwrap();
    assert!(spool.record(event.clone()));
    assert_eq!(spool.close().unwrap().written, 1);
    let (mut later, unfinished, damages_later) = read(home.path());
    let last = later.pop().unwrap();
    assert_eq!((last.event().unwrap().status, unfinished), (event.status, 0));
    assert_eq!((later, damages_later), (entries, damages));
}

/// Entries, unfinished bytes and damaged bytes.
fn read(home: &Path) -> (Vec<Entry>, u64, u64) {
    let mut reader = Reader::open(home).unwrap();
    let (mut entries, mut damaged) = (Vec::new(), 0);
    for one in reader.by_ref() {
        match one {
            Ok(entry) => entries.push(entry),
            Err(damage) => damaged += damage.bytes,
        }
    }
    (entries, reader.unfinished_bytes(), damaged)
}

fn framed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"#").and_then(|line| line.strip_suffix(b"\n")) {
            Some(payload) => out.extend(frame(payload)),
            None => out.extend(line),
        }
    }
    out
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let head = format!("{:08x} {} ", crc32fast::hash(payload), payload.len());
    [head.as_bytes(), payload, b"\n"].concat()
}
