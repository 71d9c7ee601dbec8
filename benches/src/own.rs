//! What do an organisation's own rules cost: to compile, to keep, and on each text?
//!
//! Fifty rules of ten kinds for each organisation, no two alike, as many organisations as are asked for. Memory is what
//! the process grew by.

use crate::{corpus, process};
use palisade_filters::dlp::rules::{self, RuleDocument, RuleError};
use palisade_filters::dlp::{Detection, Own, Scanner};
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rules of one organisation.
const RULES: usize = 50;
/// A text is scanned for so long.
const TIME: Duration = Duration::from_millis(400);

/// Kinds of rules: anchored by a text, by digits with a word near them, and by nothing. `{n}` is a number of its own.
const KINDS: [(&str, &str, &str); 10] = [
    ("pattern = 'EMP{n}-[0-9]{6}'", "EMP{n}-204518", ""),
    ("pattern = '(?i)project{n} ?[a-z]{3,12}'", "Project{n} harbour", ""),
    ("pattern = 'CUST{n}[A-Z]{2}[0-9]{4,8}'", "CUST{n}DE20451", ""),
    ("pattern = 'inv{n}/[0-9]{2}/[0-9]{5}'", "inv{n}/24/20451", ""),
    ("pattern = '(?:alpha{n}|bravo{n}|charlie{n})-[0-9a-f]{8}'", "bravo{n}-0a1b2c3d", ""),
    ("pattern = '[0-9]{7,9}(?:{n})?'", "number{n} 20451877", "number{n}"),
    ("pattern = '[A-Z]{3}[0-9]{8}(?:X{n})?'", "policy{n} ABC20451877", "policy{n}"),
    ("pattern = 'tok{n}_[A-Za-z0-9]{24,40}'", "tok{n}_a1B2c3D4e5F6g7H8i9J0k1L2", ""),
    ("pattern = 'badge{n}:[0-9]{4}-[0-9]{4}'", "badge{n}:2045-1877", ""),
    ("pattern = 'case{n}#[A-Z0-9]{10}'", "case{n}#A1B2C3D4E5", ""),
];

/// Compiles so many organisations and says what that cost.
pub(crate) fn run(organisations: usize) -> io::Result<String> {
    let shipped = rules::shipped().map_err(io::Error::other)?;
    let platform = Arc::new(Scanner::new(shipped));
    let before = process::memory(std::process::id())?.resident_kib;
    let (mut slowest, mut all, mut kept) = (Duration::ZERO, Duration::ZERO, Vec::new());
    for organisation in 0..organisations {
        let documents = documents(organisation).map_err(io::Error::other)?;
        let start = Instant::now();
        kept.push(Own::compile(&documents, &platform).map_err(io::Error::other)?);
        let took = start.elapsed();
        (slowest, all) = (slowest.max(took), all + took);
    }
    let grown = process::memory(std::process::id())?.resident_kib.saturating_sub(before);
    let mut text = format!(
        "{organisations} organisations, {RULES} rules each: {:.2} ms each to compile, {:.2} ms the slowest; \
         {:.1} KiB each, {:.0} MiB for 10 000\n\n\
         | text | bytes | µs without | µs with own rules | times |\n|---|---:|---:|---:|---:|\n",
        all.as_secs_f64() * 1e3 / organisations.max(1) as f64,
        slowest.as_secs_f64() * 1e3,
        grown as f64 / organisations.max(1) as f64,
        grown as f64 / organisations.max(1) as f64 * 10_000.0 / 1024.0,
    );
    let without = Detection::new(platform.clone(), None);
    let with = Detection::new(platform, kept.first().cloned());
    for kib in [2, 16, 128] {
        let body = corpus::body(kib * 1024, 0, corpus::Reply::Document);
        let micros = |detection: &Detection| {
            let start = Instant::now();
            let mut best = Duration::MAX;
            while start.elapsed() < TIME {
                let start = Instant::now();
                std::hint::black_box(detection.scan(body.as_bytes()));
                best = best.min(start.elapsed());
            }
            best.as_secs_f64() * 1e6
        };
        let (one, other) = (micros(&without), micros(&with));
        let _ = writeln!(text, "| chat body | {} | {one:.2} | {other:.2} | {:.2} |", body.len(), other / one);
    }
    Ok(text)
}

fn documents(organisation: usize) -> Result<Vec<RuleDocument>, RuleError> {
    let mut file = String::new();
    for (number, (pattern, example, word)) in KINDS.iter().cycle().take(RULES).enumerate() {
        let own = (organisation * RULES + number).to_string();
        let context = match *word {
            "" => String::new(),
            word => format!("context = {{ words = ['{word}'], before_bytes = 40, required = true }}\n"),
        };
        let rule = format!(
            "[[rule]]\nid = 'own.rule_{number}'\nentity = 'THING_{number}'\ncategory = 'business'\ntitle = 'A thing'\n\
             why = 'it is ours'\nseverity = 'medium'\n{pattern}\n{context}confidence = {{ base = 0.9 }}\n\
             width_bytes_max = 80\nexamples = ['{example}']\ncounterexamples = ['nothing']\nreferences = []\n"
        );
        file.push_str(&rule.replace("{n}", &own));
    }
    let read = rules::read(&[("own", &file)])?;
    Ok(read.into_iter().map(|(_, document)| document).collect())
}
