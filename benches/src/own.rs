//! What do organisations' own rules cost: to compile, to keep, and on each text?
//!
//! Fifty rules for each organisation, no two alike, as many organisations as are asked for: 45 with an anchor and five
//! without. Memory is what the process grew by, beside what is reckoned of it. Texts are scanned without them and with
//! them in turn, and the best time of each counts.

use crate::{corpus, process};
use palisade_filters::dlp::rules::{self, RuleDocument, RuleError};
use palisade_filters::dlp::{Detection, Own, Scanner};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rules of one organisation that have an anchor, and that have none.
const RULES: [usize; 2] = [45, 5];
/// A text is scanned for so long, with and without.
const TIME: Duration = Duration::from_millis(800);
const KIB: usize = 1024;

/// A kind of rules: its pattern, an example, and the word that has to stand near it, if any has to. `{n}` is a number
/// that no other rule has.
type Kind = (&'static str, &'static str, &'static str);

/// Rules that are anchored by a text, or by digits with a word near them.
const ANCHORED: [Kind; 10] = [
    ("EMP{n}-[0-9]{6}", "EMP{n}-204518", ""),
    ("(?i)project{n} ?[a-z]{3,12}", "Project{n} harbour", ""),
    ("CUST{n}[A-Z]{2}[0-9]{4,8}", "CUST{n}DE20451", ""),
    ("inv{n}/[0-9]{2}/[0-9]{5}", "inv{n}/24/20451", ""),
    ("(?:alpha{n}|bravo{n}|charlie{n})-[0-9a-f]{8}", "bravo{n}-0a1b2c3d", ""),
    ("[0-9]{7,9}(?:{n})?", "number{n} 20451877", "number{n}"),
    ("[A-Z]{3}[0-9]{8}(?:X{n})?", "policy{n} ABC20451877", "policy{n}"),
    ("tok{n}_[A-Za-z0-9]{24,40}", "tok{n}_a1B2c3D4e5F6g7H8i9J0k1L2", ""),
    ("badge{n}:[0-9]{4}-[0-9]{4}", "badge{n}:2045-1877", ""),
    ("case{n}#[A-Z0-9]{10}", "case{n}#A1B2C3D4E5", ""),
];

/// Rules that nothing anchors.
const FREE: [Kind; 4] = [
    ("[A-Z]{1,3}-[A-Z]{1,2} {n}[0-9]{1,4}", "M-AB {n}17", ""),
    ("[a-z]{2,8}-{n}\\.(?:north|south)\\.zz", "build-{n}.north.zz", ""),
    ("[A-F][0-9][A-F]{n}[0-9]{2}", "A1B{n}42", ""),
    ("[QXZ]{2,3}[0-9]{1,2}[A-Z]{3}{n}", "QX7ABC{n}", ""),
];

/// Compiles so many organisations and says what that cost.
pub(crate) fn run(organisations: usize) -> io::Result<String> {
    let platform = Arc::new(Scanner::new(rules::shipped().map_err(io::Error::other)?));
    // What the first one touches is no organisation's.
    compile(0, RULES, &platform)?;
    let before = process::memory(std::process::id())?.resident_kib;
    let (mut slowest, mut all, mut kept) = (Duration::ZERO, Duration::ZERO, Vec::new());
    for organisation in 0..organisations {
        let (own, took) = compile(organisation, RULES, &platform)?;
        kept.push(own);
        (slowest, all) = (slowest.max(took), all + took);
    }
    let grown = process::memory(std::process::id())?.resident_kib.saturating_sub(before);
    let reckoned: usize = kept.iter().map(|own| own.memory_bytes()).sum();
    let count = organisations.max(1) as f64;
    let mut text = format!(
        "{organisations} organisations, {} rules each, {} of them without an anchor.\n\n\
         - to compile: {:.2} ms each, {:.2} ms the slowest\n\
         - to keep: {:.1} KiB each, {:.0} MiB for 10 000 (reckoned: {:.1} KiB each)\n",
        RULES.iter().sum::<usize>(),
        RULES[1],
        all.as_secs_f64() * 1e3 / count,
        slowest.as_secs_f64() * 1e3,
        grown as f64 / count,
        grown as f64 / count * 10_000.0 / 1024.0,
        reckoned as f64 / count / 1024.0,
    );
    drop(kept);
    for (title, rules) in [
        ("50 rules, 5 of them without an anchor", RULES),
        ("50 rules with an anchor", [50, 0]),
        ("20 rules without an anchor", [0, 20]),
    ] {
        scan(&mut text, title, rules, &platform)?;
    }
    Ok(text)
}

/// What the rules of one organisation add to the time of a scan.
fn scan(text: &mut String, title: &str, of: [usize; 2], platform: &Arc<Scanner>) -> io::Result<()> {
    let (own, took) = compile(0, of, platform)?;
    let milliseconds = took.as_secs_f64() * 1e3;
    let _ = writeln!(
        text,
        "\n{title}: {milliseconds:.2} ms to compile, {:.1} KiB\n\n\
         | text | bytes | µs without | µs with | times | µs more per 4 KiB |\n|---|---:|---:|---:|---:|---:|",
        own.memory_bytes() as f64 / KIB as f64,
    );
    let without = Detection::new(platform.clone(), None);
    let with = Detection::new(platform.clone(), Some(own));
    for (name, body) in texts(of) {
        let [one, other] = best(&body, [&without, &with]);
        let more = (other - one) * 4096.0 / body.len() as f64;
        let (bytes, times) = (body.len(), other / one);
        let _ = writeln!(text, "| {name} | {bytes} | {one:.2} | {other:.2} | {times:.2} | {more:.2} |");
    }
    Ok(())
}

/// Ordinary texts; ones that hold what is looked for; and ones that hold only how that begins.
fn texts(of: [usize; 2]) -> Vec<(&'static str, String)> {
    let examples: Vec<String> = kinds(0, of).into_iter().map(|(_, example, _)| example).collect();
    let prose = corpus::prose(64 * KIB);
    let sentences = prose.split_inclusive(". ").zip(examples.iter().cycle());
    let holding: String = sentences.flat_map(|(sentence, example)| [sentence, example, " "]).collect();
    let begins = examples.iter().map(|example| example.get(..example.len().saturating_sub(3)));
    let begins: Vec<&str> = begins.flatten().cycle().take(64 * KIB / 12).collect();
    vec![
        ("chat body", corpus::body(4 * KIB, 0, corpus::Reply::Document)),
        ("chat body", corpus::body(64 * KIB, 0, corpus::Reply::Document)),
        ("prose", prose.clone()),
        ("prose, a value in each sentence", holding),
        ("nothing but what begins like a value", begins.join(" ")),
    ]
}

/// The best time of each, in microseconds.
fn best(text: &str, detections: [&Detection; 2]) -> [f64; 2] {
    let (start, mut best) = (Instant::now(), [Duration::MAX; 2]);
    while start.elapsed() < TIME {
        for (detection, best) in detections.iter().zip(&mut best) {
            let start = Instant::now();
            std::hint::black_box(detection.scan(text.as_bytes()));
            *best = start.elapsed().min(*best);
        }
    }
    best.map(|best| best.as_secs_f64() * 1e6)
}

/// An organisation's rules, ready for use, and how long that took.
fn compile(organisation: usize, of: [usize; 2], platform: &Arc<Scanner>) -> io::Result<(Arc<Own>, Duration)> {
    let documents = documents(organisation, of).map_err(io::Error::other)?;
    let start = Instant::now();
    let own = Own::compile(&documents, platform).map_err(io::Error::other)?;
    Ok((own, start.elapsed()))
}

/// Pattern, example and word of each of an organisation's rules.
fn kinds(organisation: usize, [anchored, free]: [usize; 2]) -> Vec<(String, String, String)> {
    let all = ANCHORED.iter().cycle().take(anchored).chain(FREE.iter().cycle().take(free));
    let first = organisation * (anchored + free);
    all.zip(first..)
        .map(|((pattern, example, word), number)| {
            let own = |text: &str| text.replace("{n}", &number.to_string());
            (own(pattern), own(example), own(word))
        })
        .collect()
}

fn documents(organisation: usize, of: [usize; 2]) -> Result<Vec<RuleDocument>, RuleError> {
    let read = rules::read(&[("own", &file(organisation, of))])?;
    Ok(read.into_iter().map(|(_, document)| document).collect())
}

/// An organisation's rules as they are stored.
pub(crate) fn written(organisation: usize, of: [usize; 2]) -> io::Result<Vec<Value>> {
    let file: BTreeMap<String, Vec<Value>> =
        toml::from_str(&file(organisation, of)).map_err(io::Error::other)?;
    Ok(file.into_values().flatten().collect())
}

fn file(organisation: usize, of: [usize; 2]) -> String {
    let mut file = String::new();
    for (number, (pattern, example, word)) in kinds(organisation, of).into_iter().enumerate() {
        let context = match &*word {
            "" => String::new(),
            word => format!("context = {{ words = ['{word}'], before_bytes = 40, required = true }}\n"),
        };
        let _ = write!(
            file,
            "[[rule]]\nid = 'own.rule_{number}'\nentity = 'THING_{number}'\ncategory = 'business'\ntitle = 'A thing'\n\
             why = 'it is ours'\nseverity = 'medium'\npattern = '{pattern}'\n{context}confidence = {{ base = 0.9 }}\n\
             width_bytes_max = 80\nexamples = ['{example}']\ncounterexamples = ['nothing']\nreferences = []\n"
        );
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_are_measured_may_be_published() {
        let platform = Arc::new(Scanner::new(Vec::new()));
        for organisation in [0, 7, 9_999] {
            for of in [RULES, [50, 0], [0, 20]] {
                compile(organisation, of, &platform).unwrap();
            }
        }
        // No more of them may have no anchor.
        assert!(compile(0, [0, 21], &platform).unwrap_err().to_string().contains("have no `anchor`"));
    }
}
