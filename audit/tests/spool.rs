//! Does the spool keep its promises to whoever reads it later: every event once, in order, and no damage
//! unnoticed?
//!
//! Crashes are made by cutting files, damage by flipping bytes: at any place, not at chosen ones.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use palisade_audit::{Config, Damage, Dropped, Entry, Event, Flaw, Reader, Spool, SpoolError, Time};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

/// A nap that does not end within a test.
const NEVER_MS: u64 = 3_600_000;
/// How long a test waits for another thread on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The event with number `n`, of a size that depends on it.
fn event(n: u64) -> Event {
    let padding = "p".repeat(usize::try_from(n % 7).unwrap() * 10);
    let id = Uuid::from_u128(u128::from(n));
    Event { client_request_id: Some(padding), ..Event::new(id, Time::from_unix_ms(n)) }
}

fn number(entry: &Entry) -> u64 {
    u64::try_from(entry.event().unwrap().id.as_u128()).unwrap()
}

/// A spool directory with the events of `numbers`, and segments of about `segment_bytes`.
fn written(directory: &Path, segment_bytes: u64, numbers: std::ops::Range<u64>) {
    let spool = Spool::open(Config { segment_bytes, ..Config::new(directory) }).unwrap();
    for n in numbers.clone() {
        assert!(spool.record(event(n)));
    }
    assert_eq!(spool.close().unwrap().written, numbers.end - numbers.start);
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "spool")).collect();
    segments.sort();
    segments
}

/// What a reader finds: entries, damage, and the bytes of an unfinished tail.
fn read(directory: &Path) -> (Vec<Entry>, Vec<Damage>, u64) {
    let (mut entries, mut damage) = (Vec::new(), Vec::new());
    let mut reader = Reader::open(directory).unwrap();
    for item in reader.by_ref() {
        match item {
            Ok(entry) => entries.push(entry),
            Err(place) => damage.push(place),
        }
    }
    (entries, damage, reader.unfinished_bytes())
}

/// Asserts that the directory holds exactly the events of `numbers`, in order and numbered from 1.
fn assert_sound(directory: &Path, numbers: impl Iterator<Item = u64>) {
    let (entries, damage, unfinished) = read(directory);
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(unfinished, 0);
    let read: Vec<_> = entries.iter().map(|entry| (entry.sequence, number(entry))).collect();
    let expected: Vec<_> = (1..).zip(numbers).map(|(sequence, n)| (Some(sequence), n)).collect();
    assert_eq!(read, expected);
}

#[test]
fn events_come_back_as_they_were_recorded() {
    let home = TempDir::new().unwrap();
    written(home.path(), 64 << 20, 0..100);
    let (entries, _, _) = read(home.path());
    let read: Vec<_> = entries.iter().map(|entry| entry.event().unwrap()).collect();
    assert_eq!(read, (0..100).map(event).collect::<Vec<_>>());
}

#[test]
fn segments_rotate_and_are_named_after_their_first_event() {
    let home = TempDir::new().unwrap();
    written(home.path(), 4_096, 0..200);
    let paths = segments(home.path());
    assert!(paths.len() > 5, "{paths:?}");
    for path in &paths {
        let first = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(first.len(), 20);
        let (entries, _, _) = read(home.path());
        let begins = entries.iter().find(|entry| entry.segment == first.parse::<u64>().unwrap()).unwrap();
        assert_eq!((begins.sequence, begins.offset), (Some(begins.segment), 0));
        // One frame more than the batch that no longer fitted.
        assert!(fs::metadata(path).unwrap().len() < 4_096 + 400);
    }
    assert_sound(home.path(), 0..200);
}

#[test]
fn a_second_writer_is_told_so_until_the_first_has_closed() {
    let home = TempDir::new().unwrap();
    let first = Spool::open(Config::new(home.path())).unwrap();
    let refused = Spool::open(Config::new(home.path())).unwrap_err();
    assert!(matches!(refused, SpoolError::Locked { .. }), "{refused}");
    first.close().unwrap();
    Spool::open(Config::new(home.path())).unwrap();
}

#[test]
fn eight_threads_lose_nothing_and_repeat_nothing() {
    const THREADS: u64 = 8;
    const EVENTS: u64 = 10_000;
    let home = TempDir::new().unwrap();
    let spool = Spool::open(Config { segment_bytes: 1 << 20, ..Config::new(home.path()) }).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let spool = &spool;
            scope.spawn(move || {
                for n in 0..EVENTS {
                    assert!(spool.record(event(thread * EVENTS + n)));
                    // Eight threads never have more in the queue than it holds.
                    if n % 2_048 == 0 {
                        spool.flush().unwrap();
                    }
                }
            });
        }
    });
    let counts = spool.close().unwrap();
    assert_eq!((counts.accepted, counts.written, counts.depth), (THREADS * EVENTS, THREADS * EVENTS, 0));
    assert_eq!(counts.dropped, Dropped::default());
    let (entries, damage, _) = read(home.path());
    assert!(damage.is_empty(), "{damage:?}");
    let numbers: Vec<u64> = entries.iter().map(number).collect();
    assert_eq!(numbers.len() as u64, THREADS * EVENTS);
    assert_eq!(numbers.iter().collect::<HashSet<_>>().len() as u64, THREADS * EVENTS);
    for thread in 0..THREADS {
        let own = numbers.iter().filter(|n| **n / EVENTS == thread);
        assert!(own.is_sorted(), "events of one thread keep their order");
    }
}

#[test]
fn a_flushed_event_is_readable_while_the_writer_runs() {
    let home = TempDir::new().unwrap();
    let spool = Spool::open(Config { flush_ms: NEVER_MS, ..Config::new(home.path()) }).unwrap();
    for n in 0..10 {
        spool.record(event(n));
    }
    spool.flush().unwrap();
    assert_sound(home.path(), 0..10);
    assert_eq!(spool.counts().depth, 0);
}

#[test]
fn an_event_is_written_without_a_flush() {
    let home = TempDir::new().unwrap();
    let spool = Spool::open(Config { flush_ms: 1, fsync: true, ..Config::new(home.path()) }).unwrap();
    spool.record(event(0));
    until(|| spool.counts().written == 1);
    assert_sound(home.path(), 0..1);
}

/// Waits for what another thread will do, for as long as a slow machine may need.
fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}

#[test]
fn after_close_events_are_counted_as_lost() {
    let home = TempDir::new().unwrap();
    let spool = Spool::open(Config::new(home.path())).unwrap();
    assert!(spool.record(event(0)));
    spool.close().unwrap();
    assert!(!spool.record(event(1)));
    let counts = spool.close().unwrap();
    assert_eq!((counts.accepted, counts.written, counts.dropped.closed), (1, 1, 1));
    assert!(matches!(spool.flush(), Err(SpoolError::Closed)));
    assert_sound(home.path(), 0..1);
}

#[test]
fn a_used_up_quota_counts_the_lost_and_room_ends_it() {
    const QUOTA: u64 = 10_000;
    let home = TempDir::new().unwrap();
    let config = Config { segment_bytes: 3_000, quota_bytes: QUOTA, ..Config::new(home.path()) };
    let spool = Spool::open(config.clone()).unwrap();
    for n in 0..500 {
        assert!(spool.record(event(n)));
    }
    spool.flush().unwrap();
    assert!(spool.is_full());
    let counts = spool.counts();
    assert_eq!(counts.written + counts.dropped.quota_full, 500);
    assert_eq!(counts.dropped.total(), counts.dropped.quota_full);
    let bytes: u64 = segments(home.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= QUOTA && bytes > QUOTA - 400, "{bytes}");
    assert_sound(home.path(), 0..counts.written);

    fs::remove_file(segments(home.path()).first().unwrap()).unwrap();
    until(|| !spool.is_full());
    assert!(spool.record(event(500)));
    assert_eq!(spool.close().unwrap().written, counts.written + 1);
    let (entries, damage, _) = read(home.path());
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(
        entries.last().map(|entry| (entry.sequence, number(entry))),
        Some((Some(counts.written + 1), 500))
    );

    let bytes: u64 = segments(home.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let spool = Spool::open(Config { quota_bytes: bytes + 10, ..config }).unwrap();
    spool.record(event(501));
    assert_eq!(spool.close().unwrap().dropped.quota_full, 1, "what is there already counts");
}

#[test]
fn a_missing_segment_is_a_gap_with_numbers() {
    let home = TempDir::new().unwrap();
    written(home.path(), 2_000, 0..100);
    let removed = segments(home.path()).remove(1);
    let after = segments(home.path()).remove(2);
    let first = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    fs::remove_file(&removed).unwrap();
    let (_, damage, _) = read(home.path());
    let [Damage { segment: 1, bytes: 0, flaw: Flaw::Gap { expected, found }, .. }] = damage.as_slice() else {
        panic!("{damage:?}")
    };
    assert_eq!((*expected, *found), (first(&removed), first(&after)));
}

#[test]
fn a_shortened_segment_in_the_middle_is_not_taken_for_a_crash() {
    let home = TempDir::new().unwrap();
    written(home.path(), 2_000, 0..100);
    let path = segments(home.path()).remove(1);
    let bytes = fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes - 1).unwrap();
    let (entries, damage, _) = read(home.path());
    assert_eq!(entries.len(), 99);
    assert!(matches!(damage.as_slice(), [Damage { flaw: Flaw::Torn, .. }]), "{damage:?}");
}

#[test]
fn foreign_files_are_left_alone() {
    let home = TempDir::new().unwrap();
    for name in ["notes.txt", "1.spool", "+0000000000000000001.spool", "99999999999999999999.spool"] {
        fs::write(home.path().join(name), "mine").unwrap();
    }
    written(home.path(), 64 << 20, 0..3);
    assert_sound(home.path(), 0..3);
    assert_eq!(fs::read_to_string(home.path().join("1.spool")).unwrap(), "mine");
}

#[test]
fn a_damaged_line_says_where_it_is_and_reading_goes_on() {
    let home = TempDir::new().unwrap();
    written(home.path(), 64 << 20, 0..5);
    let (sound, _, _) = read(home.path());
    let path = segments(home.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(sound[2].offset).unwrap() + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (entries, damage, _) = read(home.path());
    assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), [0, 1, 3, 4]);
    assert_eq!(
        entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(),
        [Some(1), Some(2), None, None]
    );
    let place = damage.first().unwrap();
    assert_eq!((place.offset, place.bytes), (sound[2].offset, sound[3].offset - sound[2].offset));
    let message = format!(
        "segment `{}`, offset {}, {} bytes: the checksum of the payload does not match",
        "00000000000000000001.spool", place.offset, place.bytes
    );
    assert_eq!(place.to_string(), message);
    // A writer goes on after it, and keeps it as evidence.
    written(home.path(), 64 << 20, 5..7);
    let (entries, damage, _) = read(home.path());
    assert_eq!((entries.len(), damage.len()), (6, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a crash cut the last segment: the whole lines before it are there, and writing goes on after
    /// them.
    #[test]
    fn any_crash_point_leaves_the_complete_prefix(
        events in 1..40_u64,
        more in 0..10_u64,
        segment_bytes in prop_oneof![Just(1_500_u64), Just(64 << 20)],
        cut in any::<prop::sample::Index>(),
    ) {
        let home = TempDir::new().unwrap();
        written(home.path(), segment_bytes, 0..events);
        let last = segments(home.path()).pop().unwrap();
        let bytes = fs::read(&last).unwrap();
        let kept = cut.index(bytes.len() + 1);
        OpenOptions::new().write(true).open(&last).unwrap().set_len(kept as u64).unwrap();

        let lines = |bytes: &[u8]| {
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            lines.filter(|line| line.ends_with(b"\n")).count() as u64
        };
        let whole = events - lines(&bytes) + lines(&bytes[..kept]);
        let tail = kept - bytes[..kept].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (entries, damage, unfinished) = read(home.path());
        prop_assert!(damage.is_empty(), "{:?}", damage);
        prop_assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), (0..whole).collect::<Vec<_>>());
        prop_assert_eq!(unfinished, tail as u64);

        written(home.path(), segment_bytes, 1_000..1_000 + more);
        assert_sound(home.path(), (0..whole).chain(1_000..1_000 + more));
    }

    /// Whichever byte is changed: the reader says so, gives back only what was written, and loses two events
    /// at most.
    #[test]
    fn any_changed_byte_is_detected(
        events in 1..40_u64,
        segment_bytes in prop_oneof![Just(1_500_u64), Just(64 << 20)],
        segment in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let home = TempDir::new().unwrap();
        written(home.path(), segment_bytes, 0..events);
        let (sound, _, _) = read(home.path());
        let paths = segments(home.path());
        let path = segment.get(&paths);
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        fs::write(path, &bytes).unwrap();

        let (entries, damage, unfinished) = read(home.path());
        prop_assert!(!damage.is_empty() || unfinished > 0);
        prop_assert!(entries.len() < sound.len() && entries.len() + 2 >= sound.len());
        let place = |entry: &Entry| (entry.segment, entry.offset, entry.payload.clone());
        let places: HashSet<_> = sound.iter().map(place).collect();
        for entry in &entries {
            prop_assert!(places.contains(&place(entry)));
            let twin = sound.iter().find(|twin| twin.payload == entry.payload).unwrap();
            prop_assert!(entry.sequence.is_none() || entry.sequence == twin.sequence);
        }
    }
}

#[test]
fn a_second_writer_writes_beside_the_first_and_readers_find_both() {
    let home = TempDir::new().unwrap();
    let config = Config::new(home.path());
    let shared = Config { is_shared: true, ..config.clone() };
    let first = Spool::open(config.clone()).unwrap();
    let second = Spool::open(shared.clone()).unwrap();
    first.record(event(0));
    second.record(event(1));
    first.close().unwrap();
    second.record(event(2));
    // The first shelf is free again, and goes on where it was.
    let third = Spool::open(shared).unwrap();
    third.record(event(3));
    second.close().unwrap();
    third.close().unwrap();
    let (entries, damage, _) = read(home.path());
    let found: Vec<_> = entries.iter().map(|entry| (entry.shelf, entry.sequence, number(entry))).collect();
    assert_eq!(found, [(0, Some(1), 0), (0, Some(2), 3), (1, Some(1), 1), (1, Some(2), 2)]);
    assert!(damage.is_empty(), "{damage:?}");
}

#[test]
fn an_organisation_has_a_quota_of_its_own_and_room_comes_back() {
    let home = TempDir::new().unwrap();
    let config =
        Config { segment_bytes: 2_000, organisation_quota_bytes: 10_000, ..Config::new(home.path()) };
    let spool = Spool::open(config).unwrap();
    let of = |organisation: &str, n: u64| Event { organisation: Some(organisation.into()), ..event(n) };
    assert!(spool.has_room_for("busy"));
    for n in 0..500 {
        spool.record(of("busy", n));
    }
    spool.flush().unwrap();
    assert!(!spool.has_room_for("busy") && spool.has_room_for("quiet") && !spool.is_full());
    spool.record(of("quiet", 500));
    spool.flush().unwrap();
    let counts = spool.counts();
    assert_eq!(counts.dropped.total(), counts.dropped.organisation_full);
    assert_eq!(counts.written + counts.dropped.organisation_full, 501);
    for shipped in segments(home.path()).iter().rev().skip(1) {
        fs::remove_file(shipped).unwrap();
    }
    until(|| spool.has_room_for("busy"));
    spool.record(of("busy", 501));
    assert_eq!(spool.close().unwrap().written, counts.written + 1);
}

#[test]
fn a_folder_that_is_removed_is_begun_again_and_its_events_are_counted() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("spool");
    let spool = Spool::open(Config::new(&folder)).unwrap();
    spool.record(event(0));
    spool.record(event(1));
    spool.flush().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    spool.record(event(2));
    spool.flush().unwrap();
    let counts = spool.counts();
    assert_eq!((counts.dropped.removed, counts.dropped.total()), (2, 2));
    let (entries, damage, _) = read(&folder);
    assert_eq!((entries.len(), number(&entries[0]), damage.len()), (1, 2, 0));
    // It is locked as before.
    assert!(matches!(Spool::open(Config::new(&folder)), Err(SpoolError::Locked { .. })));
}
