//! What do lists cost, and how large are they?
//!
//! Makes lists of its own: terms of one to three words that look like names, of which some begin like prose does.
//! Prints how long they take to build, the memory they take up, and the best time of many runs over prose without
//! and with their terms, beside texts that are built to hurt.

use crate::corpus;
use bytes::Bytes;
use palisade_filters::dlp::dictionary::{Dictionary, Term};
use palisade_filters::dlp::exact::{Builder, Table};
use palisade_filters::secret::Secret;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_millis(300);
const KIB: usize = 1024;
const SEED: u64 = 0x1234_5678_9abc_def0;

/// Prints the tables.
pub(crate) fn run(out: &mut impl Write) -> io::Result<()> {
    terms(out)?;
    for records in [10_000, 1_000_000] {
        table(out, records)?;
    }
    Ok(())
}

/// A name that no text holds by chance; the same for the same number.
fn name(number: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ka", "ro", "mi", "ten", "lor", "vi", "sha", "qua", "bel", "dra", "nov", "ist", "ume", "gar", "pol",
        "zet",
    ];
    let mut word = String::new();
    let mut left = number.wrapping_mul(2_654_435_761) & 0xf_ffff;
    for _ in 0..5 {
        word.push_str(SYLLABLES.get(left & 15).copied().unwrap_or_default());
        left >>= 4;
    }
    word
}

/// A third of one word, a third of two, a third of three; every tenth begins with one of these words.
fn list(terms: usize, words: &[&str]) -> Vec<String> {
    let make = |at: usize| {
        let first = match words.get(at / 10 % words.len().max(1)) {
            Some(word) if at.is_multiple_of(10) => format!("{word} {}", name(at)),
            Some(_) | None => name(at),
        };
        match at % 3 {
            0 => first,
            1 => format!("{first} {}", name(at / 7)),
            _ => format!("{first} {} {}", name(at / 7), name(at / 11)),
        }
    };
    (0..terms).map(make).collect()
}

fn terms(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "| terms | of these, begin as prose does | build ms | MB | text | bytes | found | ns per byte | µs |"
    )?;
    writeln!(out, "|---:|---:|---:|---:|---|---:|---:|---:|---:|")?;
    let prose = corpus::prose(KIB);
    let words: Vec<&str> = prose.split(' ').filter(|word| word.len() > 2).step_by(9).collect();
    for (count, words) in [(1_000, &[][..]), (100_000, &[]), (100_000, &words)] {
        let list = list(count, words);
        let terms: Vec<Term<'_>> = list.iter().map(|text| Term { list: 0, text, is_cased: false }).collect();
        let make = || Dictionary::compile(&terms, SEED);
        let dictionary = make().map_err(|(at, problem)| io::Error::other(format!("{at}: {problem}")))?;
        let build = best_of(|| make().is_ok().into()).as_secs_f64() * 1e3;
        let megabytes = dictionary.bytes() as f64 / 1e6;
        let alike = if words.is_empty() { 0 } else { count / 10 };
        for (name, text) in texts(&list) {
            let found = dictionary.scan(text.as_bytes()).len();
            let nanos = best_of(|| dictionary.scan(text.as_bytes()).len()).as_secs_f64() * 1e9;
            let bytes = text.len();
            writeln!(
                out,
                "| {count} | {alike} | {build:.1} | {megabytes:.1} | {name} | {bytes} | {found} | {:.2} | {:.1} |",
                nanos / bytes as f64,
                nanos / 1e3
            )?;
        }
    }
    Ok(())
}

/// A record: a name of which some are common, a number, an address, a birthday that many share.
fn record(number: usize) -> [String; 4] {
    let (first, last) = (name(number % 500), name(number % 30_011));
    let day = number.wrapping_mul(7_919) % 20_000;
    [
        format!("{first} {last}"),
        format!("{:010}", number.wrapping_mul(48_271) % 10_000_000_000),
        format!("{first}.{last}{number}@example.com"),
        format!("{}-{:02}-{:02}", 1950 + day / 366, day % 12 + 1, day % 28 + 1),
    ]
}

fn table(out: &mut impl Write, records: usize) -> io::Result<()> {
    let secret = Secret::new("0123456789abcdef".repeat(4));
    let fail = |problem: &dyn std::fmt::Display| io::Error::other(problem.to_string());
    let start = Instant::now();
    let mut builder = Builder::new(&secret, [7; 16], 4).map_err(|problem| fail(&problem))?;
    for number in 0..records {
        let record = record(number);
        builder.push(record.iter().map(String::as_str)).map_err(|problem| fail(&problem))?;
    }
    let built = builder.finish();
    let build = start.elapsed().as_secs_f64();
    let file = Bytes::from(built.bytes);
    let open = best_of(|| Table::open(file.clone(), &secret).is_ok().into()).as_secs_f64() * 1e3;
    let table = Table::open(file.clone(), &secret).map_err(|problem| fail(&problem))?;
    let megabytes = file.len() as f64 / 1e6;
    writeln!(
        out,
        "\n{records} records of 4 columns, {} cells: built in {build:.2} s, {megabytes:.1} MB, opened in \
         {open:.1} ms\n",
        built.cells
    )?;
    writeln!(out, "| text | bytes | found | ns per byte | µs |\n|---|---:|---:|---:|---:|")?;
    let rows: Vec<[String; 4]> = (0..records).step_by(97).take(100).map(record).collect();
    let whole: String = joined(rows.iter().map(|row| row.join(", ")), ", ");
    let days: String = joined(rows.iter().cycle().take(3_000).map(|[.., day]| day.clone()), " ");
    let names: String =
        joined(rows.iter().cycle().take(3_000).map(|[name, .., day]| format!("{day} {name}")), " ");
    let digits: String = joined((0..12_000).map(|group| (1_000 + group * 7 % 9_000).to_string()), " ");
    for (name, text) in [
        ("prose", corpus::prose(4 * KIB)),
        ("prose", corpus::prose(64 * KIB)),
        ("records, one after another", whole),
        ("cells of many rows, of no record", days),
        ("the same with names of other records", names),
        ("digits in groups of four", digits),
        ("Chinese prose", "我们在第一个小时内看到了三次超时，都来自旧区域。".repeat(60)),
    ] {
        let found = table.scan(text.as_bytes()).len();
        let nanos = best_of(|| table.scan(text.as_bytes()).len()).as_secs_f64() * 1e9;
        let bytes = text.len();
        writeln!(out, "| {name} | {bytes} | {found} | {:.2} | {:.1} |", nanos / bytes as f64, nanos / 1e3)?;
    }
    Ok(())
}

fn texts(list: &[String]) -> Vec<(&'static str, String)> {
    let mentions: String = joined(list.iter().step_by(97).take(300).cloned(), ", and ");
    let prose = corpus::prose(4 * KIB);
    let words = prose.split(' ').zip(list.iter().cycle().step_by(7)).enumerate();
    let crowded =
        words.map(|(at, (word, term))| if at % 10 == 0 { format!("{term} ") } else { format!("{word} ") });
    let crowded: String = crowded.collect();
    let firsts = list.iter().filter_map(|term| term.split(' ').next()).take(4_000);
    vec![
        ("prose", corpus::prose(4 * KIB)),
        ("prose", corpus::prose(64 * KIB)),
        ("prose with a term at every tenth word", crowded),
        ("terms, one after another", mentions),
        ("first words of terms", joined(firsts.map(str::to_owned), " ")),
        ("one word again and again", "a ".repeat(32 * KIB)),
        ("Russian prose", "Мы видели три сбоя за первый час, все из старого региона. ".repeat(40)),
        ("Chinese prose", "我们在第一个小时内看到了三次超时，都来自旧区域。".repeat(60)),
        ("marks over letters", "e\u{301}a\u{300} ".repeat(8 * KIB)),
    ]
}

fn joined(texts: impl Iterator<Item = String>, between: &str) -> String {
    texts.collect::<Vec<_>>().join(between)
}

/// The best time of many runs.
fn best_of(work: impl Fn() -> usize) -> Duration {
    let (start, mut best, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < 3 || start.elapsed() < TIME {
        let one = Instant::now();
        black_box(work());
        best = best.min(one.elapsed());
        runs += 1;
    }
    best
}
