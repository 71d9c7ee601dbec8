//! What does a change of one organisation cost among many, and what one of the platform?
//!
//! Makes organisations with keys, a route and a policy rule of their own, compiles them all, then changes one after the
//! other, and lets each policy go that is followed by another. Then the platform has another provider, and then another
//! floor, and all are brought under it in parts. No detection rules are compiled, as those are the platform's.

use crate::process;
use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::documents::{OrganisationDocument, PlatformDocument};
use palisade_filters::policy::compile::{CompileError, Grounds, Source};
use palisade_filters::secret::Secret;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHANGES: usize = 1_000;
const KEYS: usize = 10;
/// Organisations that are brought under another platform at once, as a follower does.
const PART: usize = 4_096;

/// What was seen with so many organisations.
struct Seen {
    all: Duration,
    bytes_each: u64,
    one: [Duration; 2],
    dropped: Duration,
    provider: Duration,
    floor: Duration,
}

/// Prints a table.
pub(crate) fn run(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>14} {:>10} {:>11} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "organisations", "all", "bytes each", "one, p50", "one, p99", "dropped", "provider", "floor"
    )?;
    for organisations in [1_000, 10_000, 100_000] {
        let Seen { all, bytes_each, one: [p50, p99], dropped, provider, floor } = measure(organisations)?;
        writeln!(
            out,
            "{organisations:>14} {all:>10.0?} {bytes_each:>11} {p50:>12.1?} {p99:>12.1?} {dropped:>12.1?} \
             {provider:>12.1?} {floor:>12.1?}"
        )?;
    }
    Ok(())
}

fn measure(organisations: usize) -> io::Result<Seen> {
    let (secrets, hash_secret) = (HashMap::new(), Secret::new("00".repeat(32)));
    let scanner = Arc::new(Scanner::new(Vec::new()));
    let grounds = Grounds { scanner, secrets: &secrets, hash_secret: &hash_secret };
    let resident_kib = || process::memory(std::process::id()).map(|memory| memory.resident_kib);
    let (before_kib, begin) = (resident_kib()?, Instant::now());
    let mut policy = Policy::under(None, &platform(0, "")?, &grounds).map_err(io::Error::other)?;
    for first in (0..organisations).step_by(1_000) {
        let sources: Result<Vec<_>, _> = (first..first + 1_000).map(|at| source(at, 0)).collect();
        let (next, errors) = policy.with(&sources?, &[], &grounds);
        none(&errors)?;
        policy = next;
    }
    let all = begin.elapsed();
    let bytes_each = resident_kib()?.saturating_sub(before_kib) * 1024 / organisations as u64;
    let (mut times, mut dropped) = (Vec::with_capacity(CHANGES), Duration::ZERO);
    for change in 0..CHANGES {
        let sources = [source(change * 7_919 % organisations, 1)?];
        let begin = Instant::now();
        let (next, errors) = policy.clone().with(&sources, &[], &grounds);
        times.push(begin.elapsed());
        none(&errors)?;
        let begin = Instant::now();
        policy = next;
        dropped = dropped.max(begin.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times.get(CHANGES * share / 100).copied().unwrap_or_default();
    let another = "[[providers]]\nname = 'q'\nbase_url = 'https://q.example'\nmodels = ['*']\n";
    let provider = bring(&mut policy, &platform(1, another)?, &grounds)?;
    let stricter = "[[floor.rules]]\nname = 'secrets'\ncategories = ['secret']\naction = 'block'\n";
    let floor = bring(&mut policy, &platform(2, stricter)?, &grounds)?;
    Ok(Seen { all, bytes_each, one: [at(50), at(99)], dropped, provider, floor })
}

fn none(errors: &[CompileError]) -> io::Result<()> {
    errors.first().map_or(Ok(()), |error| Err(io::Error::other(error.to_string())))
}

/// How long it takes until all are under another platform.
fn bring(
    policy: &mut Policy,
    platform: &Source<PlatformDocument>,
    grounds: &Grounds<'_>,
) -> io::Result<Duration> {
    let begin = Instant::now();
    *policy = Policy::under(Some(policy), platform, grounds).map_err(io::Error::other)?;
    for part in policy.left().chunks(PART) {
        *policy = policy.clone().bringing(part);
    }
    let took = begin.elapsed();
    if policy.left().is_empty() { Ok(took) } else { Err(io::Error::other("somebody was left")) }
}

fn platform(version: u64, more: &str) -> io::Result<Source<PlatformDocument>> {
    let text = format!(
        "floor.shipped = 'none'\n[[providers]]\nname = 'p'\nbase_url = 'https://p.example'\nmodels = ['*']\n{more}"
    );
    let document = toml::from_str(&text).map_err(io::Error::other)?;
    Ok(Source { name: "platform".to_owned(), fingerprint: version, document: Ok(document) })
}

fn source(at: usize, version: u64) -> io::Result<Source<OrganisationDocument>> {
    let key = |key: usize| format!("[[keys]]\nid = 'key-{at}-{key}'\nsha256 = '{:064x}'\n", at * KEYS + key);
    let said = format!(
        "id = 'org-{at}'\n[[routes]]\nname = 'r'\nmodels = ['*']\ntargets = ['p']\n\
         [[policy]]\nname = 'people'\ncategories = ['identity']\naction = 'redact'\n"
    );
    let text = (0..KEYS).fold(said, |text, at| text + &key(at));
    let document = toml::from_str(&text).map_err(io::Error::other)?;
    Ok(Source { name: format!("org-{at}"), fingerprint: version, document: Ok(document) })
}
