//! Does it stay as it is? Half load for a long time, and memory, descriptors and waits looked at again and again.
//!
//! Needs a [`Site`]. Proves that the process of the last quarter is the process of the second: its memory at rest in
//! the noise, no wrong answer, no lost event. What is asked changes with every window, documents and events, clean and
//! with findings, so that every buffer is used at every size. The first quarter is left out: pools fill in it.

use crate::corpus::{self, Reply};
use crate::ladder::median;
use crate::load::{self, Shot};
use crate::process::{self, Memory};
use crate::site::Site;
use crate::{latency, report};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Capacity is found in this time.
const CAPACITY_WINDOW: Duration = Duration::from_secs(3);
/// One kind of exchange is asked for so long before the next.
const WINDOW: Duration = Duration::from_secs(15);
/// Memory may differ by this share between the second quarter and the last: pages of an allocator under load.
const GROWTH_MAX: f64 = 0.1;

/// How long, and of what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Minutes of load.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Share of the capacity that is asked for.
    #[arg(long, default_value_t = 0.5)]
    share: f64,
    /// The binary to measure; unless given, the `palisade` beside this one.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
}

/// One window of the soak.
struct Look {
    at: Duration,
    memory: Memory,
    descriptors: usize,
    median_micros: f64,
    percentile_99_micros: f64,
    answered: usize,
    wrong: u64,
}

/// What is asked for, in turn.
fn kinds() -> Vec<(usize, usize, Reply)> {
    let mut kinds = Vec::new();
    for bytes in [2 * 1024, 16 * 1024, 128 * 1024] {
        for findings in [0, 1, 100] {
            kinds.extend([(bytes, findings, Reply::Document), (bytes, findings, Reply::Events)]);
        }
    }
    kinds
}

/// Soaks, and writes the record.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(soak(options))
}

async fn soak(options: &Options) -> io::Result<String> {
    let beside = std::env::current_exe()?.with_file_name("palisade");
    let site = Site::open(options.palisade.as_ref().unwrap_or(&beside), true).await?;
    let shots: Vec<Shot> = kinds()
        .into_iter()
        .map(|(bytes, findings, reply)| site.shot(&site.whole, &corpus::body(bytes, findings, reply), reply))
        .collect();
    let mut rates = Vec::with_capacity(shots.len());
    for shot in &shots {
        let run = load::closed(shot, Duration::ZERO, CAPACITY_WINDOW, || Ok(())).await?;
        rates.push(run.answered as f64 / run.elapsed.as_secs_f64() * options.share);
    }
    let (start, whole) = (Instant::now(), Duration::from_secs_f64(options.minutes * 60.0));
    let mut looks = Vec::new();
    for (shot, rate) in shots.iter().zip(rates).cycle() {
        if start.elapsed() >= whole {
            break;
        }
        let waits = latency::open(shot, rate, WINDOW).await;
        let waits = waits.map_err(|wrong| io::Error::other(format!("the whole path: {wrong}")))?;
        let id = site.whole.process.id();
        looks.push(Look {
            at: start.elapsed(),
            memory: process::memory(id)?,
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd"))?.count(),
            median_micros: waits.median,
            percentile_99_micros: waits.percentile_99,
            answered: waits.count,
            wrong: waits.mistakes.count,
        });
        site.ship_events()?;
    }
    let lost = site.events_lost().await?;
    Ok(record(options, &looks, lost))
}

fn record(options: &Options, looks: &[Look], lost: u64) -> String {
    let quarter = looks.len() / 4;
    let resident = |looks: &[Look]| median(looks.iter().map(|look| look.memory.resident_kib as f64));
    let second = resident(looks.get(quarter..quarter * 2).unwrap_or_default());
    let last = resident(looks.get(quarter * 3..).unwrap_or_default());
    let growth = last / second - 1.0;
    let answered: usize = looks.iter().map(|look| look.answered).sum();
    let wrong: u64 = looks.iter().map(|look| look.wrong).sum();
    let mut out = report::title("Soak");
    let _ = writeln!(
        out,
        "{:.1} minutes at {:.0} % of capacity, all policies on, one worker; every {:.0} s another body (2, 16, 128 \
         KiB), findings (0, 1, 100) and shape (document, events) in turn. {answered} answers were checked.\n\n\
         - memory, median of the second quarter {:.1} MiB, of the last {:.1} MiB: {:+.1} %, {}\n\
         - wrong answers: {wrong}\n- events lost: {lost}\n\n\
         | minute | resident, MiB | highest, MiB | descriptors | p50, µs | p99, µs |\n|---:|---:|---:|---:|---:|---:|",
        options.minutes,
        options.share * 100.0,
        WINDOW.as_secs_f64(),
        second / 1024.0,
        last / 1024.0,
        growth * 100.0,
        if growth.abs() <= GROWTH_MAX { "flat" } else { "**not flat**" },
    );
    for look in looks {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let _ = writeln!(
            out,
            "| {:.1} | {:.1} | {:.1} | {} | {:.0} | {:.0} |",
            look.at.as_secs_f64() / 60.0,
            mib(look.memory.resident_kib),
            mib(look.memory.peak_kib),
            look.descriptors,
            look.median_micros,
            look.percentile_99_micros,
        );
    }
    out
}
