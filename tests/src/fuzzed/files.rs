//! What must hold for any file of detection rules, any list of leaked credentials and any table of exact data.

use bytes::Bytes;
use palisade_filters::credint::{Base, Key};
use palisade_filters::dlp::exact::{Builder, Table};
use palisade_filters::dlp::{Detection, Scanner, rules};
use palisade_filters::secret::Secret;
use std::sync::LazyLock;

/// A file of detection rules, as an operator writes them: an error or rules, and rules make a scanner, which finds
/// what lies in its text.
pub(crate) fn rule_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match rules::load(&[("fuzzed.toml", text)]) {
        Ok(rules) => {
            for found in Detection::from(Scanner::new(rules)).scan(data) {
                assert!(data.get(found.span.clone()).is_some_and(|value| !value.is_empty()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Where the numbers of a filter file stand: see `filters/src/credint/layout.rs`.
const MAGIC: &[u8] = b"PALCRED\0\x01\0\0\0";
const SHARD_BITS: usize = 32;
const SOURCE_BYTES: usize = 80;
const FIXED_BYTES: usize = 88;
const ENTRY_BYTES: usize = 24;
const WIDTHS: [usize; 5] = [2, 1, 1, 1, 1];

/// A list of leaked credentials: any question has an answer, and a file with any byte changed or missing is refused.
/// Sizes and checksums are put right first, since no fuzzer guesses them.
pub(crate) fn credint_file(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let _refused = Base::open(Bytes::copy_from_slice(rest));
    let file = mended([MAGIC, rest].concat());
    let Ok(base) = Base::open(Bytes::from(file.clone())) else { return };
    assert_eq!(base.verify(), Ok(()));
    assert_eq!(base.bytes(), file.len());
    assert!(base.layer_bytes().iter().sum::<u64>() < file.len() as u64);
    for number in 0..64u64 {
        let key = Key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert!(key.shard(file[SHARD_BITS]) < base.shards());
        base.ask(key);
    }
    let mut damaged = file.clone();
    let at = usize::from(*which) * 31 % damaged.len();
    damaged[at] ^= 1 << (which % 8);
    assert!(Base::open(Bytes::from(damaged)).is_err(), "byte {at} was changed");
    assert!(Base::open(Bytes::copy_from_slice(&file[..file.len() - 1])).is_err());
}

/// With its own size, the size of its head, and every checksum, as far as it has a place for them.
fn mended(mut file: Vec<u8>) -> Vec<u8> {
    let length = file.len() as u64;
    if file.len() < FIXED_BYTES {
        return file;
    }
    let shard_bits = file[SHARD_BITS] & 3;
    let entries = 5usize << shard_bits;
    file[SHARD_BITS..SHARD_BITS + 8].copy_from_slice(&u64::from(shard_bits).to_le_bytes());
    let source = file[SOURCE_BYTES] % 32;
    file[SOURCE_BYTES..FIXED_BYTES].copy_from_slice(&u64::from(source).to_le_bytes());
    let directory = FIXED_BYTES + usize::from(source);
    let crc = directory + entries * ENTRY_BYTES;
    file[12..16].copy_from_slice(&(crc as u32 + 4).to_le_bytes());
    file[16..24].copy_from_slice(&length.to_le_bytes());
    if file.len() < crc + 4 {
        return file;
    }
    let mut at = crc + 4;
    for entry in 0..entries {
        let place = directory + entry * ENTRY_BYTES;
        let number =
            |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize;
        let slots = number(place + 12) + 2 * number(place + 8);
        let end = (at + slots * WIDTHS[entry % 5]).min(file.len());
        let sum = crc32fast::hash(&file[at..end]);
        file[place + 20..place + 24].copy_from_slice(&sum.to_le_bytes());
        at = end;
    }
    let sum = crc32fast::hash(&file[..crc]);
    file[crc..crc + 4].copy_from_slice(&sum.to_le_bytes());
    file
}

static EXACT_SECRET: LazyLock<Secret> = LazyLock::new(|| Secret::new("0123456789abcdef".repeat(2)));

/// Cells that are alone, shared, common, of several words, numbers, and missing.
static EXACT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut builder = Builder::new(&EXACT_SECRET, [9; 16], 3).unwrap();
    for number in 0..80u32 {
        let record =
            [format!("name {number} or other"), format!("{:06}", number / 3), "everywhere".to_owned()];
        builder.push(record.iter().map(String::as_str)).unwrap();
    }
    builder.push(["", "", "alone"].into_iter()).unwrap();
    builder.finish().bytes
});

/// A table of exact data in which bytes were changed: it is refused, or every text has an answer that lies in it. The
/// checksum is put right, since no fuzzer guesses it. Any other bytes are refused.
pub(crate) fn exact_file(data: &[u8]) {
    assert!(Table::open(Bytes::copy_from_slice(data), &EXACT_SECRET).is_err(), "nobody guesses its checksum");
    let mut file = EXACT.clone();
    let (changes, _) = data.as_chunks::<3>();
    for [low, high, value] in changes {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % file.len();
        file[at] ^= value;
    }
    let damaged = Table::open(Bytes::from(file.clone()), &EXACT_SECRET);
    assert!(damaged.is_err() || file == *EXACT, "a changed byte shows");
    let crc = file.len() - 4;
    let sum = crc32fast::hash(&file[..crc]);
    file[crc..].copy_from_slice(&sum.to_le_bytes());
    let Ok(table) = Table::open(Bytes::from(file), &EXACT_SECRET) else { return };
    for columns in 2..=3 {
        let Ok(table) = table.clone().asked(columns, 200) else { continue };
        let text = "name 7 or other 000002 everywhere alone, name 8 or other: 00 00 02 everywhere ".repeat(9);
        for found in table.scan(text.as_bytes()) {
            assert!(text.get(found).is_some_and(|cell| !cell.is_empty()));
        }
    }
}
