//! What does a change of one organisation cost among many?
//!
//! Makes organisations with keys of their own, compiles them all, then changes one after the other, and lets each
//! policy go that is followed by another. Prints the times of both; no rules are compiled, as those are the platform's.

use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::documents::{OrganisationDocument, PlatformDocument};
use palisade_filters::policy::compile::{Grounds, Source};
use palisade_filters::secret::Secret;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHANGES: usize = 1_000;
const KEYS: usize = 10;

/// Prints a table.
pub(crate) fn run(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>14} {:>10} {:>12} {:>12} {:>12}",
        "organisations", "all", "one, p50", "one, p99", "dropped"
    )?;
    for organisations in [1_000, 10_000, 100_000] {
        let [all, p50, p99, dropped] = measure(organisations)?;
        writeln!(out, "{organisations:>14} {all:>10.0?} {p50:>12.1?} {p99:>12.1?} {dropped:>12.1?}")?;
    }
    Ok(())
}

/// The time for all, those for one, and the longest in which a policy was let go.
fn measure(organisations: usize) -> io::Result<[Duration; 4]> {
    let (secrets, hash_secret) = (HashMap::new(), Secret::new("00".repeat(32)));
    let scanner = Arc::new(Scanner::new(Vec::new()));
    let grounds = Grounds { scanner, secrets: &secrets, hash_secret: &hash_secret };
    let platform = PlatformDocument {
        floor: toml::from_str("shipped = 'none'").map_err(io::Error::other)?,
        ..PlatformDocument::default()
    };
    let platform = Source { name: "platform".to_owned(), fingerprint: 0, document: Ok(platform) };
    let begin = Instant::now();
    let mut policy = Policy::under(None, &platform, &grounds).map_err(io::Error::other)?;
    for first in (0..organisations).step_by(1_000) {
        let sources: Result<Vec<_>, _> = (first..first + 1_000).map(|at| source(at, 0)).collect();
        policy = policy.with(&sources?, &[], &grounds).0;
    }
    let all = begin.elapsed();
    let (mut times, mut dropped) = (Vec::with_capacity(CHANGES), Duration::ZERO);
    for change in 0..CHANGES {
        let sources = [source(change * 7_919 % organisations, 1)?];
        let begin = Instant::now();
        let (next, errors) = policy.clone().with(&sources, &[], &grounds);
        times.push(begin.elapsed());
        if let Some(error) = errors.first() {
            return Err(io::Error::other(error.to_string()));
        }
        let begin = Instant::now();
        policy = next;
        dropped = dropped.max(begin.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times.get(CHANGES * share / 100).copied().unwrap_or_default();
    Ok([all, at(50), at(99), dropped])
}

fn source(at: usize, version: u64) -> io::Result<Source<OrganisationDocument>> {
    let key = |key: usize| format!("[[keys]]\nid = 'key-{at}-{key}'\nsha256 = '{:064x}'\n", at * KEYS + key);
    let text = (0..KEYS).fold(format!("id = 'org-{at}'\n"), |text, at| text + &key(at));
    let document = toml::from_str(&text).map_err(io::Error::other)?;
    Ok(Source { name: format!("org-{at}"), fingerprint: version, document: Ok(document) })
}
