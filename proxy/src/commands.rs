//! What an operator types besides `serve`: keys, check, scan.

use crate::config::{Config, Flags};
use crate::geoip::Geo;
use crate::{run, settings, tls};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use palisade_control::{Folder, Live, keys};
use palisade_filters::dlp::Scanner;
use palisade_filters::geoip::{Continent, Disguise, Disguises, is_local};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

/// A line of `scan --jsonl` may have this many bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// `palisade keys …`
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum KeyCommand {
    /// Make a key; it is shown once
    Create {
        /// The organisation
        #[arg(long, value_name = "ID")]
        org: String,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// A group of its owner; may be given several times
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// When it ends: `90d`, or a moment such as `2030-01-31T00:00:00Z`
        #[arg(long, value_name = "TIME", value_parser = moment)]
        expires: Option<SystemTime>,
    },
    /// List keys, without their secrets
    List {
        /// Only this organisation's
        #[arg(long, value_name = "ID")]
        org: Option<String>,
    },
    /// Disable a key at once
    Revoke {
        /// Its public id
        id: String,
    },
}

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

fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(after) = humantime::parse_duration(text) {
        return SystemTime::now().checked_add(after).ok_or_else(|| format!("`{text}` is too far away"));
    }
    humantime::parse_rfc3339(text).map_err(|_| {
        format!("`{text}` is neither a duration such as `90d` nor a moment such as `2030-01-31T00:00:00Z`")
    })
}

/// Runs `palisade keys`.
pub(crate) fn keys(flags: &Flags, command: KeyCommand) -> Result<()> {
    let config = Config::load(flags)?;
    let folder = Folder::open(&config.data_dir)?;
    let mut out = std::io::stdout().lock();
    match command {
        KeyCommand::Create { org, name, groups, expires } => {
            let new = keys::create(&folder, &org, &name, &groups, expires)?;
            writeln!(out, "{}", new.key.expose())?;
            eprintln_line(&format!(
                "key `{}` of `{org}`: shown once, keep it; in force within a second",
                new.id
            ));
        }
        KeyCommand::List { org } => {
            writeln!(
                out,
                "{:<12}  {:<20}  {:<8}  {:<24}  {:<24}  groups",
                "id", "organisation", "state", "expires", "name"
            )?;
            for row in keys::list(&folder, org.as_deref())? {
                let expires = row.expires.map(|end| humantime::format_rfc3339_seconds(end).to_string());
                writeln!(
                    out,
                    "{:<12}  {:<20}  {:<8}  {:<24}  {:<24}  {}",
                    row.id,
                    row.organisation,
                    if row.enabled { "enabled" } else { "disabled" },
                    expires.unwrap_or_else(|| "never".to_owned()),
                    row.name,
                    row.groups.join(", ")
                )?;
            }
        }
        KeyCommand::Revoke { id } => {
            let row = keys::revoke(&folder, &id)?;
            writeln!(
                out,
                "key `{}` of `{}` is disabled; in force within a second",
                row.id, row.organisation
            )?;
        }
    }
    Ok(())
}

fn eprintln_line(text: &str) {
    // A closed standard error is nobody's loss.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs `palisade check`: would this configuration and these documents be used?
pub(crate) fn check(flags: &Flags) -> Result<()> {
    let config = Config::load(flags)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{config}")?;
    settings::log_filter(&config)?;
    for listen in [&config.proxy, &config.admin, &config.metrics] {
        listen.tls.as_ref().map(tls::Certificates::load).transpose()?;
    }
    for (kind, database) in Geo::open(&config.geoip)?.in_use() {
        let built = humantime::format_rfc3339_seconds(database.built());
        writeln!(out, "geoip.{}: `{}`, built {built}", kind.name(), database.name())?;
    }
    let folder = Folder::open(&config.data_dir)?;
    let (live, errors) = Live::load(folder, run::scanner()?)?;
    for error in &errors {
        writeln!(out, "error: {error}")?;
    }
    let policy = live.policy();
    writeln!(out, "{} organisations, {} providers", policy.tenant_count(), policy.providers().len())?;
    if errors.is_empty() { Ok(()) } else { bail!("{} documents cannot be used as they are", errors.len()) }
}

/// Runs `palisade geoip`: what the databases say of an address, as JSON; what they do not know is null.
pub(crate) fn geoip(flags: &Flags, address: IpAddr) -> Result<()> {
    let geo = Geo::open(&Config::load(flags)?.geoip)?;
    let location = geo.find(address);
    let disguises = |all: Disguises| all.iter().map(Disguise::name).collect::<Vec<_>>();
    let facts = serde_json::json!({
        "address": address,
        "country": location.country.map(|country| country.as_str().to_owned()),
        "continent": location.continent.map(Continent::code),
        "asn": location.asn,
        "network": geo.network_name(address),
        "anonymous": location.anonymous.map(disguises),
        "private": is_local(address),
    });
    writeln!(std::io::stdout(), "{facts}")?;
    Ok(())
}

/// Runs `palisade scan`: what would be found in this text?
pub(crate) fn scan(flags: &ScanFlags) -> Result<()> {
    let scanner = run::scanner()?;
    let input: Box<dyn Read> = if flags.file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let opened = std::fs::File::open(&flags.file);
        Box::new(opened.with_context(|| format!("cannot read `{}`", flags.file.display()))?)
    };
    let mut input = BufReader::new(input);
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
            write_findings(&scanner, number, text.as_bytes(), flags.threshold, &mut out)?;
        } else {
            write_findings(&scanner, number, text, flags.threshold, &mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn write_findings(
    scanner: &Scanner,
    line: u64,
    text: &[u8],
    threshold: f32,
    out: &mut impl Write,
) -> Result<()> {
    let found = scanner.scan(text);
    let sure = found.iter().filter(|found| found.confidence >= threshold);
    let findings: Vec<_> = sure
        .filter_map(|found| {
            let document = &scanner.rule(found.rule)?.document;
            Some(serde_json::json!({
                "rule": document.id,
                "entity": document.entity,
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
