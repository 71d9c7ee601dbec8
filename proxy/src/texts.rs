//! What an operator tries on a text: what would be found in it, and what would be left of it?

use crate::run;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use palisade_filters::dlp::Detection;
use palisade_filters::dlp::lane::{Action, Lane, Syntax};
use palisade_filters::dlp::replacement::{Key, Mode};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// A line of `scan --jsonl` may have this many bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// `redact` reads so much at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Flags of `palisade scan`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScanFlags {
    /// Each line is a JSON object
    #[arg(long)]
    jsonl: bool,
    /// The member that holds the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    field: String,
    /// Findings less sure than this are not printed
    #[arg(long, default_value_t = 0.5, value_name = "0..1")]
    threshold: f32,
    /// The file to read; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
}

/// Flags of `palisade redact`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RedactFlags {
    /// The text is JSON, and stays JSON: a number that is replaced becomes a string. What is no JSON stays that, and
    /// names of members are redacted as values are
    #[arg(long)]
    json: bool,
    /// What is left of what is found: `label`, `mask`, `hash`, `tag`, `synthetic`, `keep_last`
    #[arg(long, default_value = "label", value_parser = mode)]
    mode: Mode,
    /// A file with a secret that hashes, tags and synthetic values are made with; without it they differ each time
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Findings less sure than this stay
    #[arg(long, default_value_t = 0.5, value_name = "0..1")]
    threshold: f32,
    /// The file to read; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
}

fn mode(name: &str) -> Result<Mode, String> {
    // Nothing comes back that a value could be put back into.
    let mut modes = Mode::ALL.into_iter().filter(|mode| *mode != Mode::Reversible);
    modes
        .find(|mode| mode.name() == name)
        .ok_or_else(|| "it is one of `label`, `mask`, `hash`, `tag`, `synthetic`, `keep_last`".to_owned())
}

fn key(flags: &RedactFlags) -> Result<Key> {
    let Some(file) = &flags.secret_file else {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| anyhow!("no random bits: {error}"))?;
        return Ok(Key::derived_from(&secret));
    };
    let secret = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    if secret.trim_ascii().is_empty() {
        bail!("`{}` is empty; write a secret into it", file.display());
    }
    Ok(Key::derived_from(secret.trim_ascii()))
}

fn open(file: &Path) -> Result<Box<dyn Read>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file);
    Ok(Box::new(opened.with_context(|| format!("cannot read `{}`", file.display()))?))
}

/// Runs `palisade scan`: places of what is found, line by line, never the text.
pub(crate) fn scan(flags: &ScanFlags) -> Result<()> {
    let detection = Detection::new(run::scanner()?, None);
    let mut input = BufReader::new(open(&flags.file)?);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let read = (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_BYTES_MAX {
            bail!("line {number} is longer than {LINE_BYTES_MAX} bytes");
        }
        let text = line.trim_ascii_end();
        if flags.jsonl {
            let object: serde_json::Value = serde_json::from_slice(text)
                .with_context(|| format!("line {number} is not a JSON object"))?;
            let member = object.get(&flags.field).and_then(serde_json::Value::as_str);
            let text =
                member.with_context(|| format!("line {number} has no text member `{}`", flags.field))?;
            write_findings(&detection, number, text.as_bytes(), flags.threshold, &mut out)?;
        } else {
            write_findings(&detection, number, text, flags.threshold, &mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn write_findings(
    detection: &Detection,
    line: u64,
    text: &[u8],
    threshold: f32,
    out: &mut impl Write,
) -> Result<()> {
    let found = detection.scan(text);
    let sure = found.iter().filter(|found| found.confidence >= threshold);
    let findings: Vec<_> = sure
        .filter_map(|found| {
            let detector = detection.detector(found.rule)?;
            Some(serde_json::json!({
                "rule": detector.id,
                "entity": detector.entity,
                "start": found.span.start,
                "end": found.span.end,
                "confidence": (f64::from(found.confidence) * 1_000.0).round() / 1_000.0,
                "validated": found.validated,
            }))
        })
        .collect();
    writeln!(out, "{}", serde_json::json!({"line": line, "findings": findings}))?;
    Ok(())
}

/// Runs `palisade redact`: the text, with what is found replaced. It goes through the lane that answers go through, so
/// a text of any length takes little memory.
pub(crate) fn redact(flags: &RedactFlags) -> Result<()> {
    let detection = Detection::new(run::scanner()?, None);
    let mut input = open(&flags.file)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut lane = Lane::new(if flags.json { Syntax::Json } else { Syntax::Plain }, key(flags)?);
    let mut judge = |found: &mut palisade_filters::dlp::Found, _: &str| {
        let mode = detection.mode(found.rule, flags.mode);
        if found.confidence >= flags.threshold { Action::Redact(mode) } else { Action::Pass }
    };
    let (mut bytes, mut ready, mut offset) = (Vec::new(), String::new(), 0);
    loop {
        let read = (&mut input).take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
        let (text, used) = whole_characters(&bytes, read == 0)
            .with_context(|| format!("the text is not UTF-8 behind byte {offset}"))?;
        lane.push(&detection, text, &mut judge, &mut ready);
        offset += used;
        bytes.drain(..used);
        if read == 0 {
            lane.finish(&detection, &mut judge, &mut ready);
        }
        out.write_all(ready.as_bytes())?;
        ready.clear();
        if read == 0 {
            break;
        }
    }
    out.flush()?;
    Ok(())
}

/// The text as far as its characters are whole; at the end they must be.
fn whole_characters(bytes: &[u8], is_end: bool) -> Option<(&str, usize)> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some((text, bytes.len())),
        Err(error) if error.error_len().is_none() && !is_end => {
            let text = std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?;
            Some((text, text.len()))
        }
        Err(_) => None,
    }
}
