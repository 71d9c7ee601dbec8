//! What an operator types about compromised credentials: build a list, add to it, look at it, ask it.
//!
//! A credential is read from standard input, never from the command line, where every user of the machine could see it.

use super::build::{self, Plan};
use super::lists::{self, Layout};
use super::{ADDED, FOLDER, Files, open_base};
use crate::config::{Config, Flags};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use palisade_filters::credint::{About, Base, Bucket, Delta, Intelligence, Key, Known};
use sha1::{Digest, Sha1};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A credential that is asked or added may have this many bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;

/// `palisade credint …`
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum CredintCommand {
    /// Build a filter from lists of leaked credentials
    Build {
        /// A list of `SHA1:count`, as Have I Been Pwned publishes it; may be given several times; `-` is standard input
        #[arg(long = "hashes", value_name = "FILE")]
        hashes: Vec<PathBuf>,
        /// A list of credentials, one a line, with a count behind a tab if it has one; may be given several times
        #[arg(long = "plain", value_name = "FILE")]
        plain: Vec<PathBuf>,
        /// The filter file; written beside its place and renamed into it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Where the lists came from, for people; by default their file names
        #[arg(long, value_name = "TEXT")]
        source: Option<String>,
        /// The date that the filter carries; by default today's. Equal lists and dates give equal files
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
        date: Option<SystemTime>,
    },
    /// Report credentials as compromised: one a line, from standard input; in force within a second
    Add,
    /// Print what a filter file says about itself
    Info {
        /// The filter file
        file: PathBuf,
        /// Read all of it and compare it with its checksums
        #[arg(long)]
        verify: bool,
    },
    /// Say what is known of a credential, which is read from standard input
    Check {
        /// Ask this filter alone, instead of all that `serve` would ask
        #[arg(long, value_name = "FILE")]
        base: Option<PathBuf>,
    },
}

fn date(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339(&format!("{text}T00:00:00Z"))
        .map_err(|_| format!("`{text}` is no date such as `2026-11-25`"))
}

/// Runs `palisade credint`.
pub(crate) fn run(flags: &Flags, command: &CredintCommand) -> Result<()> {
    match command {
        CredintCommand::Build { hashes, plain, out, source, date } => {
            build(hashes, plain, out, source.as_deref(), date.unwrap_or_else(SystemTime::now))
        }
        CredintCommand::Add => add(&Config::load(flags)?.data_dir),
        CredintCommand::Info { file, verify } => info(file, *verify),
        CredintCommand::Check { base } => check(flags, base.as_deref()),
    }
}

fn build(
    hashes: &[PathBuf],
    plain: &[PathBuf],
    out: &Path,
    source: Option<&str>,
    date: SystemTime,
) -> Result<()> {
    let hashes = hashes.iter().map(|path| (path.as_path(), Layout::Hashes));
    let plain = plain.iter().map(|path| (path.as_path(), Layout::Plain));
    let lists: Vec<_> = hashes.chain(plain).collect();
    if lists.is_empty() {
        bail!("no list is given; name one with `--hashes FILE` or `--plain FILE`");
    }
    let names = lists.iter().filter_map(|(path, _)| path.file_name()?.to_str());
    let source = source.map_or_else(|| names.collect::<Vec<_>>().join(", "), str::to_owned);
    let since = date.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    // A day is as exact as a list is, and two builds of one day are equal.
    let built_s = since - since % (24 * 60 * 60);
    let built = build::build(&Plan { lists, out, source, built_s })?;
    let per_key = built.bytes as f64 * 8.0 / built.keys as f64;
    say(&format!(
        "`{}`: {} credentials from {} lines, {} bytes, {per_key:.2} bits each",
        out.display(),
        built.keys,
        built.lines,
        built.bytes
    ))
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

/// Credentials from standard input, one a line.
fn credentials() -> Result<Vec<[u8; 20]>> {
    let mut input = std::io::stdin().lock();
    let (mut hashes, mut line) = (Vec::new(), Vec::new());
    for number in 1u64.. {
        line.clear();
        let read = (&mut input).take(CREDENTIAL_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read as u64 == CREDENTIAL_BYTES_MAX {
            bail!("line {number} is longer than {CREDENTIAL_BYTES_MAX} bytes; this is no credential");
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            hashes.push(Sha1::digest(text).into());
        }
    }
    if hashes.is_empty() {
        bail!("nothing was read; write credentials to standard input, one a line");
    }
    Ok(hashes)
}

fn add(data_dir: &Path) -> Result<()> {
    let hashes = credentials()?;
    let folder = data_dir.join(FOLDER);
    let path = folder.join(ADDED);
    let cannot = || format!("cannot write `{}`", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(cannot)?;
    let mut file =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).with_context(cannot)?;
    let mut text = Vec::new();
    lists::write_hashes(&mut text, &hashes)?;
    // One write at the end of the file: two commands at once do not mix their lines.
    file.write_all(&text).and_then(|()| file.sync_all()).with_context(cannot)?;
    say(&format!("{} reported in `{}`; in force within a second", hashes.len(), path.display()))
}

fn info(path: &Path, verify: bool) -> Result<()> {
    let cannot = || format!("`{}`", path.display());
    let base = open_base(path).with_context(cannot)?;
    if verify {
        base.verify().with_context(cannot)?;
    }
    say(&described(&base, verify))
}

fn described(base: &Base, is_verified: bool) -> String {
    let About { source, built_s, keys } = base.about();
    let built = UNIX_EPOCH.checked_add(Duration::from_secs(*built_s)).unwrap_or(UNIX_EPOCH);
    let [all, ..] = *keys;
    let [bytes, ..] = base.layer_bytes();
    let mut lines = vec![
        format!("source       {source}"),
        format!("built        {}", humantime::format_rfc3339_seconds(built).to_string().split_at(10).0),
        format!("credentials  {all}"),
    ];
    for (bucket, at_least) in Bucket::ALL.iter().zip(keys).skip(1) {
        lines.push(format!("  {:>5}+ times {at_least}", bucket.least()));
    }
    lines.push(format!("shards       {}", base.shards()));
    lines.push(format!("bytes        {} ({:.2} bits a credential without buckets)", base.bytes(), {
        bytes as f64 * 8.0 / all.max(1) as f64
    }));
    let whole = is_verified || base.bytes() <= palisade_filters::credint::VERIFIED_AT_OPEN_BYTES_MAX;
    lines.push(format!(
        "checksums    {}",
        if whole { "all agree" } else { "head agrees; `--verify` reads the rest" }
    ));
    lines.join("\n")
}

fn check(flags: &Flags, base: Option<&Path>) -> Result<()> {
    let hashes = credentials()?;
    let known = if let Some(path) = base {
        let base = open_base(path).with_context(|| format!("`{}`", path.display()))?;
        Arc::new(Intelligence::new(Some(base), Delta::default()))
    } else {
        let config = Config::load(flags)?;
        Files::open(&config.data_dir, config.credint.base.as_deref())?.intelligence()
    };
    for sha1 in hashes {
        say(match known.ask_key(Key::of_sha1(sha1)) {
            None => "not known",
            Some(Known::Reported) => "reported",
            Some(Known::Listed(Bucket::Once)) => "seen once",
            Some(Known::Listed(Bucket::Few)) => "seen 2 to 9 times",
            Some(Known::Listed(Bucket::Tens)) => "seen 10 to 99 times",
            Some(Known::Listed(Bucket::Hundreds)) => "seen 100 to 999 times",
            Some(Known::Listed(Bucket::Thousands)) => "seen 1000 times or more",
        })?;
    }
    Ok(())
}
