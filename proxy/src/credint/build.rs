//! From lists of any size to one filter file, in bounded memory.
//!
//! Three passes. Lists are read once and their keys put into 256 temporary files by the first byte of the hash, so that
//! each file is sorted by itself; equal keys become one and their counts are added; then shard after shard is built
//! and written. What is held at once is one of the 256 files, then the keys of one shard and its filters: at a hundred
//! million keys about 100 MB, whatever the order of the lists. Temporary files take 12 bytes a key. The file is
//! written beside its place and renamed into it: a proxy that has the old one mapped keeps it until it sees the new.

use super::lists::{self, Layout};
use super::progress::Progress;
use anyhow::{Context, Result, bail};
use palisade_filters::credint::build::{self, SHARD_KEYS_MAX, Seen};
use palisade_filters::credint::{About, Key, layout};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Temporary files: one for each first byte of a hash.
const PARTS: usize = 256;
/// Bits of that byte.
const PART_BITS: u8 = 8;
/// Of each temporary file, held until written.
const BUFFER_BYTES: usize = 64 * 1024;
/// A key and its count in a temporary file.
const RECORD_BYTES: usize = 12;
/// How often progress is told, in keys.
const TOLD_EVERY: u64 = 1 << 16;

/// What to build.
pub(crate) struct Plan<'a> {
    pub(crate) lists: Vec<(&'a Path, Layout)>,
    pub(crate) out: &'a Path,
    pub(crate) source: String,
    pub(crate) built_s: u64,
}

/// What was built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Built {
    /// Lines that named a credential.
    pub(crate) lines: u64,
    /// Different credentials among them.
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

/// Builds a filter file.
pub(crate) fn build(plan: &Plan<'_>) -> Result<Built> {
    if plan.source.len() > layout::SOURCE_BYTES_MAX {
        bail!("`--source` has at most {} bytes", layout::SOURCE_BYTES_MAX);
    }
    let Some(name) = plan.out.file_name().and_then(|name| name.to_str()) else {
        bail!("`--out` `{}` names no file", plan.out.display());
    };
    let room = Room::make(plan.out.with_file_name(format!(".{name}.{}.parts", std::process::id())))?;
    let mut progress = Progress::new();
    let lines = divide(plan, &room, &mut progress)?;
    let keys = sort(&room, &mut progress)?;
    if keys == 0 {
        bail!("the lists name no credential; nothing is built");
    }
    let beside = room.path.join("filter");
    let bytes = write(plan, &room, keys, &beside, &mut progress)?;
    std::fs::rename(&beside, plan.out).with_context(|| format!("cannot write `{}`", plan.out.display()))?;
    progress.end();
    Ok(Built { lines, keys, bytes })
}

/// A folder of temporary files, gone when dropped.
struct Room {
    path: PathBuf,
}

impl Room {
    fn make(path: PathBuf) -> Result<Self> {
        std::fs::create_dir(&path).with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        Ok(Self { path })
    }

    fn part(&self, part: usize) -> PathBuf {
        self.path.join(format!("{part:02x}"))
    }

    /// The keys of a part; none if no key begins with its byte.
    fn read(&self, part: usize) -> Result<Vec<Seen>> {
        let path = self.part(part);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        };
        let keys = usize::try_from(file.metadata()?.len())? / RECORD_BYTES;
        if keys > SHARD_KEYS_MAX {
            bail!(
                "{keys} hashes begin with the byte {part:02x}; at most {SHARD_KEYS_MAX} can: this is no list of hashes"
            );
        }
        let mut seen = Vec::with_capacity(keys);
        let mut buffer = vec![0; BUFFER_BYTES / RECORD_BYTES * RECORD_BYTES];
        loop {
            let read = fill(&mut file, &mut buffer)?;
            let (records, _) = buffer.get(..read).unwrap_or_default().as_chunks::<RECORD_BYTES>();
            seen.extend(records.iter().map(unpack));
            if read < buffer.len() {
                return Ok(seen);
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What cannot be removed is left; its name says what it was.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn pack(seen: &Seen) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let (key, count) = record.split_at_mut(8);
    key.copy_from_slice(&seen.key.0.to_le_bytes());
    count.copy_from_slice(&seen.count.to_le_bytes());
    record
}

fn unpack(record: &[u8; RECORD_BYTES]) -> Seen {
    let key = record.first_chunk().map_or(0, |key| u64::from_le_bytes(*key));
    let count = record.last_chunk().map_or(0, |count| u32::from_le_bytes(*count));
    Seen { key: Key(key), count }
}

/// Reads the lists and divides their keys.
fn divide(plan: &Plan<'_>, room: &Room, progress: &mut Progress) -> Result<u64> {
    let mut parts: Vec<Option<BufWriter<File>>> = (0..PARTS).map(|_| None).collect();
    let mut lines = 0;
    for (path, layout) in &plan.lists {
        lists::read(path, *layout, &mut |seen| {
            lines += 1;
            if lines % TOLD_EVERY == 0 {
                progress.tell("reading", lines, None);
            }
            let part = seen.key.shard(PART_BITS);
            let Some(slot) = parts.get_mut(part) else { return Ok(()) };
            let writer = match slot {
                Some(writer) => writer,
                None => slot.insert(BufWriter::with_capacity(BUFFER_BYTES, File::create(room.part(part))?)),
            };
            writer.write_all(&pack(&seen))
        })?;
    }
    for writer in parts.iter_mut().flatten() {
        writer.flush().context("cannot write a temporary file")?;
    }
    Ok(lines)
}

/// Sorts each part and makes one of equal keys; returns how many there are.
fn sort(room: &Room, progress: &mut Progress) -> Result<u64> {
    let mut keys = 0;
    for part in 0..PARTS {
        progress.tell("sorting", part as u64, Some(PARTS as u64));
        let mut seen = room.read(part)?;
        if seen.is_empty() {
            continue;
        }
        seen.sort_unstable();
        seen.dedup_by(|next, kept| {
            let is_same = next.key == kept.key;
            if is_same {
                kept.count = kept.count.saturating_add(next.count);
            }
            is_same
        });
        keys += seen.len() as u64;
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, File::create(room.part(part))?);
        for one in &seen {
            writer.write_all(&pack(one)).context("cannot write a temporary file")?;
        }
        writer.flush().context("cannot write a temporary file")?;
    }
    Ok(keys)
}

/// Builds shard after shard; the head, which knows them all, comes last.
fn write(plan: &Plan<'_>, room: &Room, keys: u64, path: &Path, progress: &mut Progress) -> Result<u64> {
    let cannot = || format!("cannot write `{}`", path.display());
    let shard_bits = build::shard_bits(keys);
    let mut out = OpenOptions::new().create_new(true).write(true).open(path).with_context(cannot)?;
    let head_bytes = layout::head_bytes(&plan.source, shard_bits) as u64;
    out.seek(SeekFrom::Start(head_bytes)).with_context(cannot)?;
    let mut shards = Vec::with_capacity(1 << shard_bits);
    let mut about = About { source: plan.source.clone(), built_s: plan.built_s, keys: [0; 5] };
    let mut bytes = head_bytes;
    let mut waiting: Vec<Seen> = Vec::new();
    let (mut next_part, total) = (0, 1u64 << shard_bits);
    for shard in 0..total {
        progress.tell("building", shard, Some(total));
        // A shard is several parts, or a piece of one.
        let parts_until = ((shard as usize + 1) << PART_BITS).div_ceil(1 << shard_bits);
        while next_part < parts_until {
            waiting.extend(room.read(next_part)?);
            next_part += 1;
        }
        let end = waiting.partition_point(|seen| seen.key.shard(shard_bits) <= shard as usize);
        let built = build::shard(waiting.get(..end).unwrap_or_default())?;
        waiting.drain(..end);
        for (sum, section) in about.keys.iter_mut().zip(&built.sections) {
            *sum += u64::from(section.keys());
        }
        out.write_all(&built.bytes).with_context(cannot)?;
        bytes += built.bytes.len() as u64;
        shards.push(built.sections);
    }
    out.seek(SeekFrom::Start(0)).with_context(cannot)?;
    out.write_all(&layout::write_head(&about, shard_bits, &shards)).with_context(cannot)?;
    out.sync_all().with_context(cannot)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::credint::{Base, Bucket};

    fn build_from(hashes: &str, plain: &str) -> (Vec<u8>, Built) {
        let room = tempfile::tempdir().unwrap();
        let (one, two, out) = (room.path().join("one"), room.path().join("two"), room.path().join("out"));
        std::fs::write(&one, hashes).unwrap();
        std::fs::write(&two, plain).unwrap();
        let lists = vec![(one.as_path(), Layout::Hashes), (two.as_path(), Layout::Plain)];
        let built = build(&Plan { lists, out: &out, source: "test".to_owned(), built_s: 7 }).unwrap();
        assert_eq!(std::fs::read_dir(room.path()).unwrap().count(), 3, "nothing is left beside the file");
        (std::fs::read(&out).unwrap(), built)
    }

    #[test]
    fn duplicates_are_merged_and_the_order_of_lists_does_not_show() {
        let hashes = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:7\n";
        let (file, built) = build_from(hashes, "password\t3\nonce\npassword\t90\n");
        assert_eq!((built.lines, built.keys, built.bytes), (4, 2, file.len() as u64));
        let (other, _) = build_from("", "password\t90\nonce\npassword\t10\n");
        assert_eq!(file, other);
        let base = Base::open(file.into()).unwrap();
        assert_eq!(base.ask(Key::of(b"password")), Some(Bucket::Hundreds));
        assert_eq!(base.ask(Key::of(b"once")), Some(Bucket::Once));
        assert_eq!(base.ask(Key::of(b"never")), None);
        assert_eq!(base.about().keys, [2, 1, 1, 1, 0]);
    }

    #[test]
    fn no_key_is_lost_between_parts_and_shards() {
        // Without a filter: what `write` gives to each shard, for fewer and more shards than parts.
        for bits in [0u8, 3, 8, 11] {
            let mut next = 0;
            for shard in 0..1usize << bits {
                let until = ((shard + 1) << PART_BITS).div_ceil(1 << bits);
                while next < until {
                    next += 1;
                }
                let last_key = Key((((shard as u64 + 1) << (63 - bits)) - 1) << 1 | 1);
                assert!(last_key.shard(PART_BITS) < next, "{bits} bits: shard {shard} lacks a part");
            }
            assert_eq!(next, PARTS);
        }
    }
}
