//! What do the detection rules find, what do they miss, and what do they take for something it is not?
//!
//! Needs labelled samples, as `*.jsonl` or `*.jsonl.gz` files of one folder, and files that hold nothing to find.
//! A sample is an object with `source`, `rule` (the source's name for the thing), `text`, `expect`, and `span` or
//! `spans` where the place is known. Prints the recall of each source, by line and averaged over its rules, the
//! share of its negative lines that are hit, why lines are not as their source says, and findings per 100 KB of clean
//! text, e-mail addresses apart: most of those are true. It keeps no sample: the record holds figures alone, and the
//! lines themselves are shown only when asked for. What a file of clean text takes is the first look at it, with
//! whatever caches have by then.

mod classes;

use self::classes::{Classes, What};
use crate::report;
use clap::Args;
use flate2::read::GzDecoder;
use palisade_filters::dlp::{Detection, Found, Scanner, rules};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Findings below this count as none; an organisation's default.
const THRESHOLD: f32 = 0.5;
/// No larger file is read as clean text: what is larger is data.
const CLEAN_FILE_BYTES_MAX: u64 = 1 << 20;
/// What finds addresses of people and projects, which documentation and sources are full of.
const EMAIL: &str = "contact.email";
/// Bytes of a text that are shown.
const SHOWN_BYTES: usize = 240;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of labelled samples.
    samples: PathBuf,
    /// Folder or file without anything to find; may be given several times.
    #[arg(long, value_name = "PATH")]
    clean: Vec<PathBuf>,
    /// Read the rules from this folder, not from the program.
    #[arg(long, value_name = "FOLDER")]
    rules: Option<PathBuf>,
    /// Show missed lines, hit negative lines and findings in clean text.
    #[arg(long)]
    misses: bool,
}

#[derive(serde::Deserialize)]
struct Sample {
    source: String,
    rule: String,
    text: String,
    expect: bool,
    span: Option<[usize; 2]>,
    #[serde(default)]
    spans: Vec<[usize; 2]>,
}

/// What was found of a rule's lines, and of how many.
#[derive(Default)]
struct Share {
    found: usize,
    lines: usize,
}

impl Share {
    fn add(&mut self, is_found: bool) {
        self.lines += 1;
        self.found += usize::from(is_found);
    }

    fn value(&self) -> f64 {
        self.found as f64 / self.lines.max(1) as f64
    }
}

#[derive(Default)]
struct Source {
    rules: BTreeMap<String, Share>,
    negative: Share,
}

impl Source {
    fn lines(&self) -> Share {
        let each = self.rules.values();
        each.fold(Share::default(), |all, one| Share {
            found: all.found + one.found,
            lines: all.lines + one.lines,
        })
    }

    fn by_rule(&self) -> f64 {
        self.rules.values().map(Share::value).sum::<f64>() / self.rules.len().max(1) as f64
    }
}

/// Measures, prints what was asked for, and returns the record.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> io::Result<String> {
    let rules = match &options.rules {
        None => rules::shipped(),
        Some(folder) => {
            let mut files = Vec::new();
            walk(folder, &mut |path| {
                if path.extension().is_some_and(|extension| extension == "toml") {
                    files.push((path.display().to_string(), std::fs::read_to_string(path)?));
                }
                Ok(())
            })?;
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            rules::load(&files)
        }
    };
    let scanner = Scanner::new(rules.map_err(|error| io::Error::other(error.to_string()))?);
    let detection = Detection::from(scanner);
    let mut text = report::title("What the detection rules find");
    let _ = writeln!(text, "{} rules, threshold {THRESHOLD}.\n", detection.platform().documents().len());
    labelled(&detection, options, out, &mut text)?;
    if !options.clean.is_empty() {
        clean(&detection, options, out, &mut text)?;
    }
    Ok(text)
}

fn labelled(
    detection: &Detection,
    options: &Options,
    out: &mut impl Write,
    text: &mut String,
) -> io::Result<()> {
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    let mut classes = Classes::shipped()?;
    walk(&options.samples, &mut |path| {
        let file = BufReader::new(std::fs::File::open(path)?);
        let lines: Box<dyn BufRead> = match path.to_string_lossy() {
            name if name.ends_with(".jsonl.gz") => Box::new(BufReader::new(GzDecoder::new(file))),
            name if name.ends_with(".jsonl") => Box::new(file),
            _ => return Ok(()),
        };
        for line in lines.lines() {
            let sample: Sample = serde_json::from_str(&line?)?;
            let found = sure(detection, sample.text.as_bytes());
            let source = sources.entry(sample.source.clone()).or_default();
            let is_found = if sample.expect { hits(&sample, &found) } else { !found.is_empty() };
            if sample.expect {
                source.rules.entry(sample.rule.clone()).or_default().add(is_found);
            } else {
                source.negative.add(is_found);
            }
            if is_found != sample.expect {
                let (what, word) = if sample.expect { (What::Missed, "missed") } else { (What::Hit, "hit") };
                let class = classes.count(what, &sample);
                if options.misses {
                    let what = format!("{word} ({class}) {} {}", sample.source, sample.rule);
                    show(detection, out, &what, &sample.text, &found)?;
                }
            }
        }
        Ok(())
    })?;
    text.push_str(
        "| source | lines | found | recall | rules | recall by rule | negative lines | hit | share |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, source) in &sources {
        let (lines, negative) = (source.lines(), &source.negative);
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {:.3} | {} | {:.3} | {} | {} | {:.3} |",
            lines.lines,
            lines.found,
            lines.value(),
            source.rules.len(),
            source.by_rule(),
            negative.lines,
            negative.found,
            negative.value(),
        );
    }
    classes.table(text);
    Ok(())
}

fn clean(
    detection: &Detection,
    options: &Options,
    out: &mut impl Write,
    text: &mut String,
) -> io::Result<()> {
    text.push_str(
        "\n| clean text | files | KB | e-mail addresses | others | per 100 KB | rules that find most of them | ns per byte \
         |\n|---|---:|---:|---:|---:|---:|---|---:|\n",
    );
    for folder in &options.clean {
        let (mut files, mut bytes, mut by_rule) = (0, 0, BTreeMap::<&str, usize>::new());
        let mut time = Duration::ZERO;
        walk(folder, &mut |path| {
            let Some(content) = readable(path)? else { return Ok(()) };
            (files, bytes) = (files + 1, bytes + content.len());
            let start = Instant::now();
            let found = sure(detection, content.as_bytes());
            time += start.elapsed();
            for one in found {
                let Some(detector) = detection.detector(one.rule) else { continue };
                *by_rule.entry(&detector.id).or_default() += 1;
                if options.misses {
                    let line = around(&content, &one);
                    writeln!(out, "clean {} {}: {line}", detector.id, path.display())?;
                }
            }
            Ok(())
        })?;
        let emails = by_rule.remove(EMAIL).unwrap_or(0);
        let findings: usize = by_rule.values().sum();
        let mut most: Vec<_> = by_rule.into_iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let most: Vec<_> = most.iter().take(5).map(|(rule, count)| format!("{rule} {count}")).collect();
        let _ = writeln!(
            text,
            "| {} | {files} | {} | {emails} | {findings} | {:.2} | {} | {:.1} |",
            folder.file_name().unwrap_or(folder.as_os_str()).display(),
            bytes / 1000,
            findings as f64 * 100_000.0 / bytes.max(1) as f64,
            most.join(", "),
            time.as_secs_f64() * 1e9 / bytes.max(1) as f64,
        );
    }
    Ok(())
}

fn sure(detection: &Detection, text: &[u8]) -> Vec<Found> {
    let mut found = detection.scan_for(text, THRESHOLD);
    found.retain(|found| found.confidence >= THRESHOLD);
    found
}

/// Whether a finding covers part of what is there; of anything, where no place is known.
fn hits(sample: &Sample, found: &[Found]) -> bool {
    let mut places = sample.spans.iter().chain(&sample.span).peekable();
    if places.peek().is_none() {
        return !found.is_empty();
    }
    let overlaps =
        |start: usize, end: usize| found.iter().any(|found| found.span.start < end && start < found.span.end);
    places.any(|[start, end]| overlaps(*start, *end))
}

fn show(
    detection: &Detection,
    out: &mut impl Write,
    what: &str,
    text: &str,
    found: &[Found],
) -> io::Result<()> {
    let rules = found.iter().filter_map(|found| detection.detector(found.rule));
    let rules: Vec<&str> = rules.map(|detector| &*detector.id).collect();
    let shown = text.floor_char_boundary(SHOWN_BYTES);
    writeln!(out, "{what} {rules:?}: {:?}", text.get(..shown).unwrap_or_default())
}

/// The line of a finding, as far as it is short.
fn around<'a>(text: &'a str, found: &Found) -> &'a str {
    let from = text.floor_char_boundary(found.span.start.saturating_sub(SHOWN_BYTES / 4));
    let to = text.ceil_char_boundary(found.span.end + SHOWN_BYTES / 8);
    let (before, after) = (text.get(from..found.span.start), text.get(found.span.end..to));
    let start = before.unwrap_or_default().rfind('\n').map_or(from, |at| from + at + 1);
    let end = after.unwrap_or_default().find('\n').map_or(to, |at| found.span.end + at);
    text.get(start..end).unwrap_or_default()
}

/// The text of a file; nothing if it is large, or no text.
fn readable(path: &Path) -> io::Result<Option<String>> {
    if std::fs::metadata(path)?.len() > CLEAN_FILE_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).take(CLEAN_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        BufReader::new(file).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}

/// Calls `visit` with every file in a folder, in the order of their names; links are not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.symlink_metadata()?.is_symlink() {
        return Ok(());
    }
    if !path.is_dir() {
        return visit(path);
    }
    let mut inner: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    inner.sort();
    inner.iter().try_for_each(|path| walk(path, visit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(line: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("one.jsonl"), line).unwrap();
        let clean = folder.path().join("clean");
        std::fs::create_dir(&clean).unwrap();
        std::fs::write(clean.join("a.txt"), "write to app@example.com").unwrap();
        let options =
            Options { samples: folder.path().to_owned(), clean: vec![clean], rules: None, misses: false };
        run(&options, &mut io::sink()).unwrap()
    }

    #[test]
    fn a_line_counts_as_found_when_its_place_is() {
        let text = measured(
            "{\"source\":\"s\",\"rule\":\"card\",\"text\":\"pay 4111111111111111\",\"expect\":true,\"span\":[4,20]}\n\
             {\"source\":\"s\",\"rule\":\"card\",\"text\":\"pay 4111111111111111\",\"expect\":true,\"span\":[0,3]}\n\
             {\"source\":\"s\",\"rule\":\"other\",\"text\":\"pay 4111111111111111\",\"expect\":true}\n\
             {\"source\":\"s\",\"rule\":\"card\",\"text\":\"nothing\",\"expect\":false}\n",
        );
        assert!(text.contains("| s | 3 | 2 | 0.667 | 2 | 0.750 | 1 | 0 | 0.000 |"), "{text}");
        assert!(text.contains("| clean | 1 | 0 | 1 | 0 | 0.00 |  | "), "{text}");
        assert!(text.contains("| not explained | 1 |"), "{text}");
    }
}
