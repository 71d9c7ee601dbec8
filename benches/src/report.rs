//! What does the record say? Markdown, for people who were not there.
//!
//! Needs an [`Outcome`]. Proves nothing by itself; it shows the median of the rounds, says which rounds
//! were disturbed and which answers were wrong, and holds the figures of the first path up to what was
//! measured, both as they stand and in proportion to the baseline of this machine. It names no host.

use crate::corpus::Reply;
use crate::ladder::{Calm, Case, FOREIGN_SHARE_MAX, Latency, Options, Outcome, Row, Sample, median};
use crate::load::{CALLERS, Mistakes};
use crate::process;
use std::fmt::Write as _;
use std::time::SystemTime;

/// A side that used less of its core than this was waiting for its callers or for the double.
const BUSY_SHARE_MIN: f64 = 0.9;

/// A figure of the first path: the CPU of the whole path for a clean JSON exchange, where the bare
/// pass-through takes so much, both in microseconds.
struct Figure {
    bytes: usize,
    whole_micros: f64,
    bare_micros: f64,
}

const FIGURES: [Figure; 3] = [
    Figure { bytes: 2 * 1024, whole_micros: 60.0, bare_micros: 33.0 },
    Figure { bytes: 16 * 1024, whole_micros: 100.0, bare_micros: 48.0 },
    Figure { bytes: 128 * 1024, whole_micros: 400.0, bare_micros: 98.0 },
];

/// What is written down.
pub(crate) struct Record<'a> {
    options: &'a Options,
    outcome: Outcome,
    date: String,
    processor: String,
}

impl<'a> Record<'a> {
    pub(crate) fn new(options: &'a Options, outcome: Outcome) -> Self {
        Self { options, outcome, date: today(), processor: process::processor() }
    }

    /// `2030-01-31-amd-epyc-2-cores.md`. A run that is quick or partial never takes the place of a whole one.
    pub(crate) fn file_name(&self) -> String {
        let quick = if self.options.quick { "-quick" } else { "" };
        let part = match (self.options.remembered, self.options.only.is_some()) {
            (true, _) => "-remembered",
            (false, true) => "-part",
            (false, false) => "",
        };
        format!("{}-{}-{}-cores{quick}{part}.md", self.date, slug(&self.processor), self.outcome.cores)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        self.cost(&mut out);
        self.ladder(&mut out);
        self.figures(&mut out);
        self.waiting(&mut out);
        self.memory(&mut out);
        self.disturbances(&mut out);
        out
    }

    fn head(&self, out: &mut String) {
        let Outcome { cores, pinned, elapsed, .. } = &self.outcome;
        let pinning = match pinned {
            Some(on) if on.load == on.double => {
                format!(
                    "Both proxies are pinned to core {}, the callers and the double to core {}.",
                    on.proxies, on.load
                )
            }
            Some(on) => format!(
                "Both proxies are pinned to core {}, the callers to core {}, the double to core {}.",
                on.proxies, on.load, on.double
            ),
            None => "Nothing is pinned: there is one core, or no `taskset`.".to_owned(),
        };
        let command = std::env::args().skip(1).fold(String::from("bench"), |all, one| {
            if one.contains(' ') { format!("{all} '{one}'") } else { format!("{all} {one}") }
        });
        let (kernel, date, processor) = (process::kernel(), &self.date, &self.processor);
        let (minutes, rounds) = (elapsed.as_secs_f64() / 60.0, self.options.rounds);
        let (seconds, foreign) = (self.options.window().as_secs_f64(), FOREIGN_SHARE_MAX * 100.0);
        let _ = writeln!(out, "# Measured on {date}: {processor}, {cores} cores, Linux {kernel}\n");
        if self.options.quick {
            out.push_str("**A quick run: it shows that everything runs, not what it costs.**\n\n");
        }
        let _ = writeln!(out, "`{command}`, {minutes:.1} minutes, {rounds} rounds of {seconds} s.\n");
        let _ = writeln!(
            out,
            "## Method\n\n\
             1. *Bare* is a pass-through on pingora-proxy 0.9.1 without any logic, one thread; *whole* is \
             `palisade serve` with one worker; the *rungs* of the ladder are organisations of a second such \
             process, whose platform has no floor.\n\
             2. *Whole* has everything on: key, three allowlist entries, the default floor, redaction of \
             payment, identity and secrets both ways, model access, quotas a minute and a day, the audit \
             spool. That it redacts is proved before the first figure.\n\
             3. {pinning}\n\
             4. Both ask the same double, a process of its own on the loopback interface; the answer is 1 \
             KiB of prose, as JSON or as 64 deltas.\n\
             5. Rounds alternate: bare, rungs, whole, bare, rungs, whole. Figures are medians of the rounds.\n\
             6. CPU is user and system time of the proxy's process, all threads, by correct answers; \
             {CALLERS} callers who never rest.\n\
             7. Every answer is checked: status, framing, usage, finish reason, number of events, end; \
             one in 64 is parsed and its text counted.\n\
             8. Latency is an open loop at half of what *whole* answered, timed from the release of each \
             request; *added* is a quantile less the same quantile without a proxy at the same rate.\n\
             9. A window in which others used more than {foreign:.0} % of the cores of this run is \
             repeated, up to three times and while repeats are left; the calmest counts.\n\
             10. Requests a second marked `*` were limited by the callers or the double: the proxy used \
             less than {busy:.0} % of its core.\n",
            busy = BUSY_SHARE_MIN * 100.0,
        );
    }

    fn cost(&self, out: &mut String) {
        out.push_str("## Cost\n\n");
        out.push_str(
            "| case | bare, CPU µs | whole, CPU µs | ratio | difference, µs | bare, requests/s \
             | whole, requests/s | double, CPU µs | callers, CPU µs |\n",
        );
        out.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        for row in &self.outcome.rows {
            let (bare, whole) = (cpu(&row.bare), cpu(&row.whole));
            let _ = writeln!(
                out,
                "| {} | {bare:.1} | {whole:.1} | {:.2} | {:+.1} | {} | {} | {:.1} | {:.1} |",
                row.case,
                whole / bare,
                whole - bare,
                rate(&row.bare),
                rate(&row.whole),
                of(&row.whole, |sample| sample.double_micros),
                of(&row.whole, |sample| sample.load_micros),
            );
        }
        out.push('\n');
    }

    fn ladder(&self, out: &mut String) {
        out.push_str(
            "## The ladder\n\nCPU µs of a request, each rung with everything of the rungs before it; what a rung \
             adds is in brackets, as far as the noise lets it be seen. Answers are scanned as soon as a rule looks \
             at them.\n\n| case | bare |",
        );
        let names = &self.outcome.rungs;
        for name in names {
            let _ = write!(out, " {name} |");
        }
        let _ = writeln!(out, " everything on |\n|---|---:|---:|{}", "---:|".repeat(names.len()));
        for row in &self.outcome.rows {
            let mut before = cpu(&row.bare);
            let _ = write!(out, "| {} | {before:.1} |", row.case);
            for samples in row.rungs.iter().chain([&row.whole]) {
                let here = cpu(samples);
                let _ = write!(out, " {here:.1} ({:+.1}) |", here - before);
                before = here;
            }
            out.push('\n');
        }
        out.push('\n');
        for (file, name) in self.outcome.pictures.iter().zip(names.iter().chain([&"everything on"])) {
            let file = file.file_name().and_then(|file| file.to_str()).unwrap_or_default();
            let _ = writeln!(out, "- [{name}](pictures/{file}), a flame graph");
        }
        out.push('\n');
    }

    fn figures(&self, out: &mut String) {
        out.push_str("## The figures of the first path\n\n");
        out.push_str(
            "Clean JSON exchanges. *As it stands* compares microseconds; *in proportion* compares the ratio \
             to this machine's own baseline.\n\n",
        );
        out.push_str(
            "| body | at most, µs | measured | as it stands | at most, × bare | measured | in proportion |\n\
             |---|---:|---:|---|---:|---:|---|\n",
        );
        for figure in &FIGURES {
            let is_its = |case: &Case| {
                case.bytes == figure.bytes && case.reply == Reply::Document && case.findings == 0
            };
            let kib = figure.bytes / 1024;
            let limit = figure.whole_micros / figure.bare_micros;
            let Some(row) = self.outcome.rows.iter().find(|row| is_its(&row.case)) else {
                let _ = writeln!(
                    out,
                    "| {kib} KiB | {:.0} | not measured | | {limit:.2} | not measured | |",
                    figure.whole_micros
                );
                continue;
            };
            let (bare, whole) = (cpu(&row.bare), cpu(&row.whole));
            let is_valid = mistakes(row).next().is_none();
            let _ = writeln!(
                out,
                "| {kib} KiB | {:.0} | {whole:.1} | {} | {limit:.2} | {:.2} | {} |",
                figure.whole_micros,
                verdict(is_valid && whole <= figure.whole_micros),
                whole / bare,
                verdict(is_valid && whole / bare <= limit),
            );
        }
        out.push('\n');
    }

    fn waiting(&self, out: &mut String) {
        out.push_str("## Added latency at half load\n\n");
        out.push_str(
            "| case | requests/s | waits | direct p50, µs | direct p99 | bare adds p50 | bare adds p99 \
             | whole adds p50 | whole adds p99 |\n",
        );
        out.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        for row in &self.outcome.rows {
            let over =
                |figure: fn(&Latency) -> f64| median(row.latency.iter().map(|round| figure(&round.value)));
            let _ = writeln!(
                out,
                "| {} | {:.0} | {} | {:.0} | {:.0} | {:+.0} | {:+.0} | {:+.0} | {:+.0} |",
                row.case,
                row.open_per_second,
                row.latency.iter().map(|round| round.value.whole.count).sum::<usize>(),
                over(|waits| waits.direct.median),
                over(|waits| waits.direct.percentile_99),
                over(|waits| waits.bare.median - waits.direct.median),
                over(|waits| waits.bare.percentile_99 - waits.direct.percentile_99),
                over(|waits| waits.whole.median - waits.direct.median),
                over(|waits| waits.whole.percentile_99 - waits.direct.percentile_99),
            );
        }
        out.push('\n');
    }

    fn memory(&self, out: &mut String) {
        out.push_str(
            "## Memory\n\n| side | idle, MiB | after all cases, MiB | at its highest, MiB |\n\
             |---|---:|---:|---:|\n",
        );
        for side in &self.outcome.memory {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let [idle, after, peak] =
                [side.idle.resident_kib, side.after.resident_kib, side.after.peak_kib].map(mib);
            let _ = writeln!(out, "| {} | {idle:.1} | {after:.1} | {peak:.1} |", side.name);
        }
        out.push('\n');
    }

    fn disturbances(&self, out: &mut String) {
        out.push_str("## What else was going on\n\n");
        let shares = || self.outcome.rows.iter().flat_map(windows);
        let all = shares().count();
        let noisy = shares().filter(|(share, _)| *share > FOREIGN_SHARE_MAX).count();
        let discarded: u32 = shares().map(|(_, discarded)| discarded).sum();
        let highest = shares().map(|(share, _)| share).fold(0.0, f64::max) * 100.0;
        let middle = median(shares().map(|(share, _)| share)) * 100.0;
        let _ = writeln!(
            out,
            "Others used {middle:.1} % of the cores in the median window and {highest:.1} % in the worst \
             that counts. {discarded} windows were thrown away and repeated; {noisy} of the {all} that count \
             were still disturbed."
        );
        for row in &self.outcome.rows {
            let shares: Vec<f64> =
                windows(row).map(|(share, _)| share).filter(|share| *share > FOREIGN_SHARE_MAX).collect();
            if !shares.is_empty() {
                let highest = shares.iter().copied().fold(0.0, f64::max) * 100.0;
                let _ =
                    writeln!(out, "- {}: {} disturbed windows, up to {highest:.0} %", row.case, shares.len());
            }
        }
        out.push_str("\n## Wrong answers and lost events\n\n");
        let mut none = true;
        for row in &self.outcome.rows {
            for (side, count, first) in mistakes(row) {
                none = false;
                let _ = writeln!(
                    out,
                    "- **{}, {side}: {count} wrong answers; its figures do not count.** The first: {first}",
                    row.case
                );
            }
        }
        if none {
            out.push_str("No answer was wrong.\n");
        }
        match self.outcome.events_lost {
            0 => out.push_str("No audit event was lost.\n"),
            lost => {
                let _ = writeln!(
                    out,
                    "**{lost} audit events were lost: the whole path did less than it should.**"
                );
            }
        }
    }
}

/// The day, in UTC.
pub(crate) fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// The first lines of a record: what, when, and on what.
pub(crate) fn title(what: &str) -> String {
    format!("# {what}, {}: {}, Linux {}\n\n", today(), process::processor(), process::kernel())
}

fn of(samples: &[Calm<Sample>], figure: fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(|sample| figure(&sample.value)))
}

fn cpu(samples: &[Calm<Sample>]) -> f64 {
    of(samples, |sample| sample.cpu_micros)
}

fn rate(samples: &[Calm<Sample>]) -> String {
    let is_limited = of(samples, |sample| sample.busy_share) < BUSY_SHARE_MIN;
    format!("{:.0}{}", of(samples, |sample| sample.per_second), if is_limited { " *" } else { "" })
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "**does not hold**" }
}

/// Foreign share and repeats of every window of a row.
fn windows(row: &Row) -> impl Iterator<Item = (f64, u32)> {
    let closed = row
        .bare
        .iter()
        .chain(&row.whole)
        .chain(row.rungs.iter().flatten())
        .map(|calm| (calm.foreign_share, calm.discarded));
    closed.chain(row.latency.iter().map(|calm| (calm.foreign_share, calm.discarded)))
}

/// Sides with wrong answers: how many, and the first of them.
fn mistakes(row: &Row) -> impl Iterator<Item = (&'static str, u64, String)> {
    let closed = |samples: &[Calm<Sample>]| {
        samples.iter().fold(Mistakes::default(), |mut all, sample| {
            all.add(sample.value.mistakes.clone());
            all
        })
    };
    let (mut direct, mut bare, mut whole) = (Mistakes::default(), closed(&row.bare), closed(&row.whole));
    let ladder = row.rungs.iter().fold(Mistakes::default(), |mut all, samples| {
        all.add(closed(samples));
        all
    });
    for round in &row.latency {
        direct.add(round.value.direct.mistakes.clone());
        bare.add(round.value.bare.mistakes.clone());
        whole.add(round.value.whole.mistakes.clone());
    }
    let sides = [("direct", direct), ("bare", bare), ("whole", whole), ("ladder", ladder)];
    let wrong = sides.into_iter().filter(|(_, mistakes)| mistakes.count > 0);
    wrong.map(|(side, mistakes)| (side, mistakes.count, mistakes.first.unwrap_or_default()))
}

fn slug(name: &str) -> String {
    let mut out = String::new();
    for letter in name.to_ascii_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            out.push(letter);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_s_name_becomes_a_file_s() {
        assert_eq!(slug("AMD EPYC"), "amd-epyc");
        assert_eq!(slug("Intel(R) Xeon(R) CPU @ 2.20GHz"), "intel-r-xeon-r-cpu-2-20ghz");
    }
}
