//! What does the scanner cost by itself, and can a text make it slow?
//!
//! Needs the shipped rules. Prints nanoseconds per byte for clean prose of several sizes and for texts that
//! are built to hurt. The best of many runs counts, because whatever else a machine does only ever adds. It
//! measures one core and warm caches, and no JSON but in the rows that say so.

use crate::corpus::{self, Reply};
use palisade_filters::dlp::{Detection, Scanner, rules};
use palisade_filters::json::Tokens;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Time spent on one text.
const TIME: Duration = Duration::from_millis(400);
/// Runs of one text at least, however slow.
const RUNS_MIN: usize = 3;

const KIB: usize = 1024;

/// Prints the table.
pub(crate) fn run(out: &mut impl Write) -> io::Result<()> {
    let rules = rules::shipped().map_err(|error| io::Error::other(error.to_string()))?;
    let count = rules.len();
    let start = Instant::now();
    let scanner = Scanner::new(rules);
    writeln!(out, "{count} rules, put together in {:.1} ms\n", start.elapsed().as_secs_f64() * 1e3)?;
    writeln!(out, "| text | bytes | findings | ns per byte | µs |\n|---|---:|---:|---:|---:|")?;
    let texts = texts(&scanner);
    let detection = Detection::from(scanner);
    for (name, text) in texts {
        let findings = detection.scan(text.as_bytes()).len();
        let best = best_of(|| detection.scan(text.as_bytes()).len());
        row(out, &name, text.len(), Some(findings), best)?;
    }
    for kib in [2, 16, 128] {
        let body = corpus::body(kib * KIB, 0, Reply::Document);
        let best = best_of(|| tokens(body.as_bytes()));
        row(out, "JSON tokens of a chat request", body.len(), None, best)?;
    }
    Ok(())
}

fn row(
    out: &mut impl Write,
    name: &str,
    bytes: usize,
    findings: Option<usize>,
    best: Duration,
) -> io::Result<()> {
    let nanos = best.as_secs_f64() * 1e9;
    let findings = findings.map_or_else(String::new, |count| count.to_string());
    writeln!(out, "| {name} | {bytes} | {findings} | {:.2} | {:.1} |", nanos / bytes as f64, nanos / 1e3)
}

fn texts(scanner: &Scanner) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for kib in [1, 4, 64, 1024] {
        texts.push(("clean prose".to_owned(), corpus::prose(kib * KIB)));
    }
    let cards: String = (0..4_000).map(|index| corpus::card(index) + " ").collect();
    let digits =
        |count: usize| (0..count).map(|at| char::from(b'0' + (at * 7 % 10) as u8)).collect::<String>();
    let mut groups = digits(64 * KIB).into_bytes();
    groups.iter_mut().skip(4).step_by(5).for_each(|byte| *byte = b' ');
    let groups = String::from_utf8_lossy(&groups).into_owned();
    texts.push(("card numbers, each valid".to_owned(), cards));
    texts.push(("digits only".to_owned(), digits(64 * KIB)));
    texts.push(("digits in groups of four".to_owned(), groups));
    texts.push(("letters without a space".to_owned(), "aB3".repeat(64 * KIB / 3)));
    texts.push(("at signs".to_owned(), "a@b.".repeat(16 * KIB)));
    texts.push(("every anchor, one after another".to_owned(), anchors(scanner, " ", 64 * KIB)));
    texts.push(("every anchor, touching".to_owned(), anchors(scanner, "", 64 * KIB)));
    texts.push((
        "every anchor, with a long word behind".to_owned(),
        anchors(scanner, "0aZ9bY8cX7dW6eV5fU4gT3hS2 ", 64 * KIB),
    ));
    texts.push(("prose with curly quotes".to_owned(), corpus::prose(64 * KIB).replace(". ", ".” “")));
    texts.push(("base64 of prose".to_owned(), base64(corpus::prose(48 * KIB).as_bytes())));
    let noise: Vec<u8> =
        (0..48 * KIB as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    texts.push(("base64 of noise".to_owned(), base64(&noise)));
    texts.push(("full-width digits".to_owned(), "４１１１ ".repeat(64 * KIB / 13)));
    texts.push(("percent encoding".to_owned(), "%34%31%31%31%20".repeat(64 * KIB / 15)));
    texts
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() * 4 / 3);
    for [a, b, c] in bytes.as_chunks::<3>().0 {
        let group = u32::from_be_bytes([0, *a, *b, *c]);
        let letters = [18, 12, 6, 0].map(|shift| alphabet.get((group >> shift & 63) as usize));
        text.extend(letters.into_iter().flatten().map(|letter| char::from(*letter)));
    }
    text
}

/// The literals of all rules, over and over.
fn anchors(scanner: &Scanner, between: &str, bytes: usize) -> String {
    let literals: Vec<&String> = scanner.documents().iter().flat_map(|rule| &rule.anchor.literals).collect();
    let mut text = String::with_capacity(bytes + 64);
    for literal in literals.iter().cycle() {
        if text.len() >= bytes {
            break;
        }
        text.push_str(literal);
        text.push_str(between);
    }
    text
}

fn tokens(body: &[u8]) -> usize {
    let mut tokens = Tokens::new(body);
    let mut count = 0;
    while let Ok(Some(_)) = tokens.next_token() {
        count += 1;
    }
    count
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
