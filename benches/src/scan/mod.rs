//! What does the scanner cost by itself, and can a text make it slow?
//!
//! Needs the shipped rules. Writes nanoseconds per byte for clean prose of several sizes, each way of the sweep that
//! this processor has, texts that are built to hurt, and streams; and, built with the feature `hyperscan`, beside each
//! what Hyperscan needs for the rules' patterns in the same run. The best of many runs counts, because whatever else a
//! machine does only ever adds. It measures one core and warm caches; findings count from the confidence that an
//! organisation without settings has.

#[cfg(feature = "hyperscan")]
mod hyperscan;
mod texts;

use crate::corpus::{self, Reply};
use crate::{process, report};
use palisade_filters::dlp::lane::{Action, Lane, Syntax};
use palisade_filters::dlp::replacement::Key;
use palisade_filters::dlp::{Detection, Scanner, rules};
use palisade_filters::{Surface, prompt};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};
use texts::KIB;

/// Time spent on one text, by each of those who read it.
const TIME: Duration = Duration::from_millis(300);
/// Runs of one text at least, however slow.
const RUNS_MIN: usize = 3;
/// From here on findings count, unless an organisation says otherwise.
const THRESHOLD: f32 = 0.5;
const DELTA_BYTES: usize = 100;

/// Reads a text and says how much it found.
type ScanText = dyn Fn(&[u8]) -> usize;

/// Another engine, to stand beside.
struct Peer {
    /// What was said of it when it was made.
    about: String,
    scan: Box<ScanText>,
}

/// Measures everything and returns the record.
pub(crate) fn run() -> io::Result<String> {
    let mut text = report::title("What the scanner costs");
    let before = process::memory(std::process::id())?.resident_kib;
    let start = Instant::now();
    let rules = shipped()?;
    let read = start.elapsed();
    let start = Instant::now();
    let scanner = Scanner::new(rules);
    let together = start.elapsed();
    let after = process::memory(std::process::id())?.resident_kib;
    let literals: usize = scanner.documents().iter().map(|rule| rule.anchor.literals.len()).sum();
    let _ = writeln!(
        text,
        "{} rules with {literals} literals: read and compiled in {:.0} ms, put together in {:.1} ms more; {:.1} MiB \
         of memory. Threshold {THRESHOLD}. The best of the runs of {:.1} s each.\n",
        scanner.documents().len(),
        read.as_secs_f64() * 1e3,
        together.as_secs_f64() * 1e3,
        after.saturating_sub(before) as f64 / 1024.0,
        TIME.as_secs_f64(),
    );
    let peer = peer(&scanner)?;
    text.push_str(&peer.about);
    let hurting = texts::hurting(&scanner);
    let detection = Detection::from(scanner);
    clean(&detection, &peer, &mut text)?;
    ways(&mut text)?;
    let _ = write!(text, "\n## Texts that are built to hurt\n\n{}", head("text | bytes | findings"));
    for (name, hurting) in &hurting {
        let findings = detection.scan_for(hurting.as_bytes(), THRESHOLD).len();
        let ours = best_of(|| detection.scan_for(hurting.as_bytes(), THRESHOLD).len());
        row(&mut text, &format!("{name} | {} | {findings}", hurting.len()), hurting.as_bytes(), ours, &peer);
    }
    streams(&detection, &mut text);
    Ok(text)
}

fn shipped() -> io::Result<Vec<rules::Rule>> {
    rules::shipped().map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(feature = "hyperscan")]
fn peer(scanner: &Scanner) -> io::Result<Peer> {
    hyperscan::peer(scanner)
}

#[cfg(not(feature = "hyperscan"))]
#[expect(clippy::unnecessary_wraps, reason = "the other one can fail")]
fn peer(_: &Scanner) -> io::Result<Peer> {
    let about = "Built without the feature `hyperscan`: nobody to stand beside.\n".to_owned();
    Ok(Peer { about, scan: Box::new(|_| 0) })
}

fn head(columns: &str) -> String {
    let count = columns.matches('|').count();
    let peer = if cfg!(feature = "hyperscan") { " Hyperscan ns per byte | ratio |" } else { "" };
    let rules = if cfg!(feature = "hyperscan") { "---:|---:|" } else { "" };
    format!(
        "| {columns} | ns per byte | GB/s | µs |{peer}\n|---|{}---:|---:|---:|{rules}\n",
        "---:|".repeat(count)
    )
}

fn row(text: &mut String, columns: &str, bytes: &[u8], ours: Duration, peer: &Peer) {
    let per_byte = |time: Duration| time.as_secs_f64() * 1e9 / bytes.len() as f64;
    let (nanos, micros) = (per_byte(ours), ours.as_secs_f64() * 1e6);
    let _ = write!(text, "| {columns} | {nanos:.2} | {:.2} | {micros:.1} |", 1.0 / nanos);
    if cfg!(feature = "hyperscan") {
        let theirs = per_byte(best_of(|| (peer.scan)(bytes)));
        let _ = write!(text, " {theirs:.2} | {:.1} |", theirs / nanos);
    }
    text.push('\n');
}

/// Clean text as such, and in a chat request that is read first.
fn clean(detection: &Detection, peer: &Peer, text: &mut String) -> io::Result<()> {
    let _ = write!(text, "\n## Clean prose\n\n{}", head("text | bytes"));
    for kib in [1, 4, 64, 1024] {
        let prose = corpus::prose(kib * KIB);
        let ours = best_of(|| detection.scan_for(prose.as_bytes(), THRESHOLD).len());
        row(text, &format!("prose | {}", prose.len()), prose.as_bytes(), ours, peer);
    }
    for kib in [1, 4, 64, 1024] {
        let body = bytes::Bytes::from(corpus::body(kib * KIB, 0, Reply::Document));
        let value: serde_json::Value = serde_json::from_slice(&body)?;
        let mut said = String::new();
        strings(&value, &mut said);
        let ours = best_of(|| {
            let is_read = prompt::read(Surface::ChatCompletions, body.clone()).is_ok();
            usize::from(is_read) + detection.scan_for(said.as_bytes(), THRESHOLD).len()
        });
        row(text, &format!("chat request, read and scanned | {}", body.len()), &body, ours, peer);
    }
    Ok(())
}

/// All text of a document, one after another.
fn strings(value: &serde_json::Value, out: &mut String) {
    match value {
        serde_json::Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| strings(value, out)),
        serde_json::Value::Object(all) => all.values().for_each(|value| strings(value, out)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn ways(text: &mut String) -> io::Result<()> {
    text.push_str("\n## Ways of the sweep\n\n| way | bytes | ns per byte | GB/s |\n|---|---:|---:|---:|\n");
    for way in Scanner::ways() {
        let detection = Detection::from(Scanner::new(shipped()?).with_way(way));
        for kib in [4, 1024] {
            let prose = corpus::prose(kib * KIB);
            let ours = best_of(|| detection.scan_for(prose.as_bytes(), THRESHOLD).len());
            let nanos = ours.as_secs_f64() * 1e9 / prose.len() as f64;
            let _ = writeln!(text, "| {way} | {} | {nanos:.2} | {:.2} |", prose.len(), 1.0 / nanos);
        }
    }
    Ok(())
}

fn streams(detection: &Detection, text: &mut String) {
    let _ = write!(
        text,
        "\n## Streams, in deltas of {DELTA_BYTES} bytes\n\n| text | deltas | ns per delta |\n|---|---:|---:|\n"
    );
    let key = Key::derived_from(b"names nothing");
    let prose = corpus::prose(64 * KIB);
    let curly = prose.replace(". ", ".” “");
    for (name, prose) in [("prose", prose), ("prose with curly quotes", curly)] {
        let deltas: Vec<&str> = deltas(&prose).collect();
        let best = best_of(|| {
            let (mut lane, mut out) = (Lane::new(Syntax::Plain, key), String::with_capacity(prose.len()));
            for delta in &deltas {
                lane.push(detection, delta, &mut |_, _| Action::Pass, &mut out);
            }
            lane.finish(detection, &mut |_, _| Action::Pass, &mut out);
            out.len()
        });
        let nanos = best.as_secs_f64() * 1e9 / deltas.len() as f64;
        let _ = writeln!(text, "| {name} | {} | {nanos:.0} |", deltas.len());
    }
}

/// A text in pieces of so many bytes, or a few more where a character ends later.
fn deltas(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (delta, rest) = text.split_at_checked(text.ceil_char_boundary(DELTA_BYTES))?;
        text = rest;
        Some(delta).filter(|delta| !delta.is_empty())
    })
}

fn best_of(work: impl Fn() -> usize) -> Duration {
    let (start, mut best, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < RUNS_MIN || start.elapsed() < TIME {
        let one = Instant::now();
        black_box(work());
        best = best.min(one.elapsed());
        runs += 1;
    }
    best
}
