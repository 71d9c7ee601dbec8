//! In which order is what measured? Every case on both sides, in turn, in rounds.
//!
//! Needs a [`Site`]. Proves that two figures that stand side by side were taken in the same seconds: bare,
//! rungs, whole, bare, rungs, whole. A round in which others used more than [`FOREIGN_SHARE_MAX`] of its cores is
//! thrown away and repeated; when that does not help, the calmest attempt stays and says how calm it was. It does
//! not interpret: that is the report's.

use crate::corpus::{self, Reply};
use crate::latency::{self, Waits};
use crate::load::{self, Mistakes, Shot};
use crate::picture::{self, Watch};
use crate::process::{self, Memory};
use crate::site::{Pinning, Side, Site};
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Others may use this share of the cores that a run uses.
pub(crate) const FOREIGN_SHARE_MAX: f64 = 0.15;
/// A disturbed window is repeated so many times.
const REPEATS_MAX: u32 = 3;
/// All repeats together, for each window that counts: on a busy machine a run takes twice its time, and no
/// more.
const REPEATS_PER_WINDOW: usize = 1;
/// Windows of a round besides the rungs: bare, whole, and the waits.
const WINDOWS_PER_ROUND: usize = 3;
/// Share of a window that callers run before it.
const WARM_UP_SHARE: f64 = 0.25;
/// Windows, in seconds: long enough that a tick of 10 ms is a percent of one.
const WINDOW_SECONDS: f64 = 1.0;
/// A picture is taken for this long, in seconds.
const PICTURE_SECONDS: f64 = 3.0;
const QUICK_WINDOW_SECONDS: f64 = 0.4;

const KIB: usize = 1024;
/// The exchange that is drawn: large enough that the stages show beside the sockets.
const PICTURE_BYTES: usize = 16 * KIB;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Short windows and no repeats: whether it runs, not what it costs.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of every case.
    #[arg(long, default_value_t = 3, value_name = "ROUNDS")]
    pub(crate) rounds: usize,
    /// The binary to measure; unless given, the `palisade` beside this one.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
    /// Only cases whose name contains this, such as `16 KiB` or `stream`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// With what was found in texts remembered, as in a conversation that is sent again with each turn; by default,
    /// every text is scanned.
    #[arg(long)]
    pub(crate) remembered: bool,
    /// Draw a flame graph of each rung as well; needs `perf`.
    #[arg(long)]
    pub(crate) pictures: bool,
}

impl Options {
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { QUICK_WINDOW_SECONDS } else { WINDOW_SECONDS })
    }
}

/// One row of the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) bytes: usize,
    pub(crate) reply: Reply,
    pub(crate) findings: usize,
}

impl std::fmt::Display for Case {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reply = match self.reply {
            Reply::Document | Reply::Echo => "JSON",
            Reply::Events => "stream",
            Reply::EventsApart => "stream, a write per event",
        };
        let findings = match self.findings {
            0 => "clean".to_owned(),
            1 => "1 finding".to_owned(),
            more => format!("{more} findings"),
        };
        write!(out, "{} KiB, {reply}, {findings}", self.bytes / KIB)
    }
}

/// All cases, in the order of the record.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for bytes in [2 * KIB, 16 * KIB, 128 * KIB] {
        for reply in [Reply::Document, Reply::Events] {
            for findings in [0, 1, 100] {
                cases.push(Case { bytes, reply, findings });
            }
        }
    }
    // Providers write event by event. Here that makes the double the limit, so one such case is enough.
    cases.push(Case { bytes: 2 * KIB, reply: Reply::EventsApart, findings: 0 });
    cases
}

/// One window of the closed loop.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// CPU of the side for one answer, in microseconds.
    pub(crate) cpu_micros: f64,
    /// CPU of the double for one answer.
    pub(crate) double_micros: f64,
    /// CPU of the callers for one answer.
    pub(crate) load_micros: f64,
    pub(crate) per_second: f64,
    /// Share of its one core that the side used.
    pub(crate) busy_share: f64,
    pub(crate) mistakes: Mistakes,
}

/// The waits of one round: directly, through the pass-through, through the whole path.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    pub(crate) direct: Waits,
    pub(crate) bare: Waits,
    pub(crate) whole: Waits,
}

/// The calmest of some attempts.
#[derive(Clone, Debug)]
pub(crate) struct Calm<T> {
    pub(crate) value: T,
    /// What others used of our cores.
    pub(crate) foreign_share: f64,
    /// Attempts that were thrown away.
    pub(crate) discarded: u32,
}

/// All rounds of a case.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) bare: Vec<Calm<Sample>>,
    pub(crate) whole: Vec<Calm<Sample>>,
    /// Each rung of the ladder, in the order of [`Outcome::rungs`].
    pub(crate) rungs: Vec<Vec<Calm<Sample>>>,
    /// Requests a second of the open loop.
    pub(crate) open_per_second: f64,
    pub(crate) latency: Vec<Calm<Latency>>,
}

/// Memory of one side.
pub(crate) struct Footprint {
    pub(crate) name: &'static str,
    pub(crate) idle: Memory,
    pub(crate) after: Memory,
}

/// Everything that was measured.
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    /// What each rung adds.
    pub(crate) rungs: Vec<&'static str>,
    /// Files of the pictures, in the order of the rungs and then of the whole path.
    pub(crate) pictures: Vec<PathBuf>,
    pub(crate) memory: Vec<Footprint>,
    /// Audit events that the whole path lost; none may be.
    pub(crate) events_lost: u64,
    pub(crate) pinned: Option<Pinning>,
    pub(crate) cores: usize,
    pub(crate) elapsed: Duration,
}

/// Measures all cases.
pub(crate) fn run(options: &Options, pictures: &Path) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(climb(options, pictures))
}

async fn climb(options: &Options, folder: &Path) -> io::Result<Outcome> {
    let start = Instant::now();
    let all_cores = process::cores()?;
    let beside = std::env::current_exe()?.with_file_name("palisade");
    let site = Site::open(options.palisade.as_ref().unwrap_or(&beside), options.remembered).await?;
    let wanted = |case: &Case| options.only.as_ref().is_none_or(|text| case.to_string().contains(text));
    let cases: Vec<Case> = cases().into_iter().filter(wanted).collect();
    let repeats = if options.quick { 0 } else { REPEATS_PER_WINDOW };
    let windows = WINDOWS_PER_ROUND + site.rungs.len();
    let repeats_left = Cell::new(cases.len() * options.rounds * windows * repeats);
    let cores = site.pinned.map_or_else(|| all_cores.clone(), Pinning::cores);
    let bench = Bench { site: &site, options, cores, repeats_left };
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{:>5.0} s  {case}", start.elapsed().as_secs_f64());
        rows.push(bench.row(case).await?);
        site.ship_events()?;
    }
    let pictures = if options.pictures { bench.pictures(folder).await? } else { Vec::new() };
    let footprint = |side: &Side| {
        let after = process::memory(side.process.id())?;
        io::Result::Ok(Footprint { name: side.name, idle: side.memory_idle, after })
    };
    Ok(Outcome {
        rows,
        rungs: site.rungs.iter().map(|rung| rung.name).collect(),
        pictures,
        memory: vec![footprint(&site.bare)?, footprint(&site.whole)?, footprint(&site.ladder)?],
        events_lost: site.events_lost().await?,
        pinned: site.pinned,
        cores: all_cores.len(),
        elapsed: start.elapsed(),
    })
}

/// Readings of all clocks at one moment, in microseconds.
struct Clocks {
    side: u64,
    double: u64,
    load: u64,
    /// All five processes.
    ours: u64,
    machine: u64,
    at: Instant,
}

struct Bench<'a> {
    site: &'a Site,
    options: &'a Options,
    /// The cores that this run uses.
    cores: Vec<usize>,
    repeats_left: Cell<usize>,
}

impl Bench<'_> {
    async fn row(&self, case: Case) -> io::Result<Row> {
        let (mut bare, mut whole, mut latency) = (Vec::new(), Vec::new(), Vec::new());
        let body = corpus::body(case.bytes, case.findings, case.reply);
        let site = self.site;
        let of = |side| site.shot(side, &body, case.reply);
        let mut rungs: Vec<Vec<_>> = site.rungs.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.options.rounds {
            bare.push(self.calmest(async || self.sample(&site.bare, &of(&site.bare)).await).await?);
            for (rung, samples) in site.rungs.iter().zip(&mut rungs) {
                let shot = site.rung_shot(rung, &body, case.reply);
                samples.push(self.calmest(async || self.sample(&site.ladder, &shot).await).await?);
            }
            whole.push(self.calmest(async || self.sample(&site.whole, &of(&site.whole)).await).await?);
        }
        let per_second = median(whole.iter().map(|sample| sample.value.per_second));
        let open_per_second = per_second / 2.0;
        for _ in 0..self.options.rounds {
            latency.push(self.calmest(async || self.latency(case, open_per_second).await).await?);
        }
        Ok(Row { case, bare, whole, rungs, open_per_second, latency })
    }

    /// Repeats what was disturbed, and keeps the calmest.
    async fn calmest<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> io::Result<(f64, T)>,
    ) -> io::Result<Calm<T>> {
        let (foreign_share, value) = attempt().await?;
        let mut calmest = Calm { value, foreign_share, discarded: 0 };
        while calmest.foreign_share > FOREIGN_SHARE_MAX && calmest.discarded < REPEATS_MAX {
            let Some(left) = self.repeats_left.get().checked_sub(1) else { break };
            self.repeats_left.set(left);
            let (foreign_share, value) = attempt().await?;
            calmest.discarded += 1;
            if foreign_share < calmest.foreign_share {
                (calmest.foreign_share, calmest.value) = (foreign_share, value);
            }
        }
        Ok(calmest)
    }

    async fn sample(&self, side: &Side, shot: &Shot) -> io::Result<(f64, Sample)> {
        let window = self.options.window();
        let run = load::closed(shot, window.mul_f64(WARM_UP_SHARE), window, || self.clocks(side)).await?;
        let (before, after) = (&run.before, &run.after);
        // One, so that a side that answers nothing costs its whole window and not infinity.
        let answered = run.answered.max(1) as f64;
        let used = |clock: fn(&Clocks) -> u64| clock(after).saturating_sub(clock(before)) as f64;
        let seconds = run.elapsed.as_secs_f64();
        let sample = Sample {
            cpu_micros: used(|clocks| clocks.side) / answered,
            double_micros: used(|clocks| clocks.double) / answered,
            load_micros: used(|clocks| clocks.load) / answered,
            per_second: run.answered as f64 / seconds,
            busy_share: used(|clocks| clocks.side) / (seconds * 1e6),
            mistakes: run.mistakes,
        };
        Ok((self.foreign_share(before, after), sample))
    }

    async fn latency(&self, case: Case, per_second: f64) -> io::Result<(f64, Latency)> {
        let body = corpus::body(case.bytes, case.findings, case.reply);
        let waits = async |side: &Side| {
            let shot = self.site.shot(side, &body, case.reply);
            let waits = latency::open(&shot, per_second, self.options.window()).await;
            waits.map_err(|wrong| io::Error::other(format!("{}, {case}: {wrong}", side.name)))
        };
        let before = self.clocks(&self.site.double)?;
        let direct = waits(&self.site.double).await?;
        let bare = waits(&self.site.bare).await?;
        let whole = waits(&self.site.whole).await?;
        let after = self.clocks(&self.site.double)?;
        Ok((self.foreign_share(&before, &after), Latency { direct, bare, whole }))
    }

    /// A flame graph of each rung and of the whole path, all of the same clean exchange.
    async fn pictures(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        if !picture::can_take() {
            return Err(io::Error::other("`--pictures` needs `perf`: install linux-perf"));
        }
        std::fs::create_dir_all(folder)?;
        let (bytes, reply) = (PICTURE_BYTES, Reply::Document);
        let body = corpus::body(bytes, 0, reply);
        let rungs = self
            .site
            .rungs
            .iter()
            .map(|rung| (&self.site.ladder, rung.name, self.site.rung_shot(rung, &body, reply)));
        let whole = (&self.site.whole, "everything on", self.site.shot(&self.site.whole, &body, reply));
        let mut files = Vec::new();
        for (number, (side, name, shot)) in rungs.chain([whole]).enumerate() {
            let watched = self.site.scratch("perf.data");
            let file = folder.join(format!("{}.svg", number + 1));
            let watch = Watch::begin(side.process.id(), &watched)?;
            let window = Duration::from_secs_f64(PICTURE_SECONDS);
            load::closed(&shot, Duration::ZERO, window, || Ok(())).await?;
            watch.end()?;
            picture::draw(&watched, &format!("{name}: {} KiB of JSON, clean", bytes / KIB), &file)?;
            files.push(file);
        }
        Ok(files)
    }

    fn clocks(&self, side: &Side) -> io::Result<Clocks> {
        let of = |side: &Side| process::cpu_micros(side.process.id());
        let (double, load) = (of(&self.site.double)?, process::cpu_micros(std::process::id())?);
        let proxies = of(&self.site.bare)? + of(&self.site.whole)? + of(&self.site.ladder)?;
        let ours = double + load + proxies;
        Ok(Clocks {
            side: of(side)?,
            double,
            load,
            ours,
            machine: process::machine_micros(&self.cores)?,
            at: Instant::now(),
        })
    }

    /// The share of our cores that went to processes that are not ours.
    fn foreign_share(&self, before: &Clocks, after: &Clocks) -> f64 {
        let machine = after.machine.saturating_sub(before.machine);
        let ours = after.ours.saturating_sub(before.ours);
        let all = after.at.duration_since(before.at).as_secs_f64() * 1e6 * self.cores.len() as f64;
        machine.saturating_sub(ours) as f64 / all
    }
}

/// The middle of some figures; of an even number, the upper one of the two in the middle.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = cases().iter().map(Case::to_string).collect();
        assert_eq!(names.len(), 19);
    }

    #[test]
    fn a_median_ignores_one_wild_round() {
        assert!((median([3.0, 900.0, 2.0].into_iter()) - 3.0).abs() < f64::EPSILON);
        assert!(median(std::iter::empty()).is_nan());
    }
}
