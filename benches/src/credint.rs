//! What does a list of leaked credentials cost: bits, nanoseconds, and wrong answers?
//!
//! Needs nothing, or a filter file that `palisade credint build` made of [`generate`]'s list. Prints bits a key, false
//! positives among ten million keys that are not in the list, nanoseconds a question, and the same of a Bloom filter
//! made for the same rate. Keys are pseudo-random and the same in every run. It measures one core; the
//! processor's caches are warm for the small list and of little use for a large one.

use bloomfilter::Bloom;
use palisade_filters::credint::build::{self, Seen};
use palisade_filters::credint::layout::{self, About};
use palisade_filters::credint::{Base, Bucket, Key};
use std::hint::black_box;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

/// Keys of the list that is made here.
const KEYS: u64 = 1_000_000;
/// Keys that are in no list.
const ABSENT: u64 = 10_000_000;
/// The rate of a fingerprint of 16 bits.
const RATE: f64 = 1.0 / 65_536.0;
/// Where absent keys begin in the sequence: beyond every list.
const BEYOND: u64 = 1 << 40;
/// Its two halves seed two hashes, so they must differ.
const SEED: [u8; 32] = *b"a seed with two different halves";

/// The n-th key (`SplitMix64` by Vigna, in the public domain).
fn key(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How often the n-th key was seen: a tenth of the keys at each step up, as real lists have it roughly.
fn count(number: u64) -> u64 {
    [2, 10, 100, 1000].into_iter().enumerate().fold(1, |count, (step, least)| {
        if number.is_multiple_of(2 * 10u64.pow(step as u32)) { least } else { count }
    })
}

/// Writes a list of `SHA1:count`, whose hashes are the keys above.
pub(crate) fn generate(keys: u64, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for number in 0..keys {
        writeln!(out, "{:016X}{:024X}:{}", key(number), number, count(number))?;
    }
    out.flush()
}

/// Prints the figures; of this file too, if one is named.
pub(crate) fn run(file: Option<&Path>, out: &mut impl Write) -> io::Result<()> {
    let start = Instant::now();
    let mut seen: Vec<Seen> =
        (0..KEYS).map(|number| Seen { key: Key(key(number)), count: count(number) as u32 }).collect();
    seen.sort_unstable();
    let shard = build::shard(&seen).map_err(io::Error::other)?;
    let about = About { source: "bench".to_owned(), built_s: 0, keys: [KEYS; 5] };
    let bytes = [layout::write_head(&about, 0, &[shard.sections]), shard.bytes].concat();
    let built = start.elapsed();
    writeln!(out, "one shard of {KEYS} keys built in {:.2} s", built.as_secs_f64())?;
    base(&Base::open(bytes.into()).map_err(io::Error::other)?, KEYS, out)?;
    bloom(out)?;
    if let Some(path) = file {
        let bytes = std::fs::read(path)?;
        let start = Instant::now();
        let base_of_file = Base::open(bytes.into()).map_err(io::Error::other)?;
        let keys = base_of_file.about().keys[0];
        writeln!(out, "`{}` opened in {:.2} ms", path.display(), start.elapsed().as_secs_f64() * 1e3)?;
        let start = Instant::now();
        base_of_file.verify().map_err(io::Error::other)?;
        writeln!(out, "and verified in {:.0} ms", start.elapsed().as_secs_f64() * 1e3)?;
        base(&base_of_file, keys, out)?;
    }
    Ok(())
}

/// Nanoseconds a question, and how many were answered with yes.
fn asked(numbers: std::ops::Range<u64>, ask: impl Fn(u64) -> bool) -> (f64, u64) {
    let asked = numbers.end - numbers.start;
    let start = Instant::now();
    let yes = numbers.filter(|number| black_box(ask(black_box(key(*number))))).count();
    (start.elapsed().as_secs_f64() * 1e9 / asked as f64, yes as u64)
}

fn base(base: &Base, keys: u64, out: &mut impl Write) -> io::Result<()> {
    let [all, nested @ ..] = base.layer_bytes();
    let per_key = |bytes: u64| bytes as f64 * 8.0 / keys as f64;
    writeln!(out, "base of {keys} keys in {} shards:", base.shards())?;
    writeln!(out, "- {:.2} bits a key, {:.2} more for buckets", per_key(all), per_key(nested.iter().sum()))?;
    let present = keys.min(ABSENT);
    let (yes_ns, yes) = asked(0..present, |key| base.ask(Key(key)).is_some());
    writeln!(out, "- {yes} of {present} found, {yes_ns:.0} ns each with its bucket")?;
    let (no_ns, wrong) = asked(BEYOND..BEYOND + ABSENT, |key| base.ask(Key(key)).is_some());
    let rate = wrong as f64 / ABSENT as f64;
    writeln!(out, "- {wrong} of {ABSENT} absent keys taken for one of it: {rate:.2e}; {no_ns:.0} ns each")?;
    let (_, common) =
        asked(BEYOND..BEYOND + ABSENT, |key| base.ask(Key(key)).is_some_and(|bucket| bucket >= Bucket::Tens));
    let higher = (0..present)
        .filter(|number| base.ask(Key(key(*number))).is_some_and(|bucket| bucket.least() > count(*number)));
    let higher = higher.count() as f64 / present as f64;
    writeln!(out, "- {common} of them for a common one; {:.2} % of keys one bucket too high", higher * 1e2)?;
    // Each question waits for the answer of the one before: what one request sees.
    let mut last = 0;
    let start = Instant::now();
    for number in 0..present {
        last = u64::from(base.ask(Key(key(number ^ last))).is_none());
    }
    let alone = start.elapsed().as_secs_f64() * 1e9 / present as f64;
    writeln!(out, "- {alone:.0} ns each when one waits for the other (last {last})")
}

fn bloom(out: &mut impl Write) -> io::Result<()> {
    let start = Instant::now();
    let mut bloom = Bloom::new_for_fp_rate_with_seed(KEYS as usize, RATE, &SEED).map_err(io::Error::other)?;
    (0..KEYS).for_each(|number| bloom.set(&key(number)));
    writeln!(
        out,
        "Bloom filter of {KEYS} keys for the same rate, built in {:.2} s:",
        start.elapsed().as_secs_f64()
    )?;
    let (yes_ns, yes) = asked(0..KEYS, |key| bloom.check(&key));
    let (no_ns, wrong) = asked(BEYOND..BEYOND + ABSENT, |key| bloom.check(&key));
    let bits = bloom.len() as f64 / KEYS as f64;
    writeln!(out, "- {bits:.2} bits a key; {yes} found, {yes_ns:.0} ns each")?;
    let rate = wrong as f64 / ABSENT as f64;
    writeln!(out, "- {wrong} of {ABSENT} absent keys taken for one of it: {rate:.2e}; {no_ns:.0} ns each")
}
