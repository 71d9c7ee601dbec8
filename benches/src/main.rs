//! What does a request cost, and how much of it is ours?
//!
//! Needs the release binary of `palisade` beside its own, and a machine that is otherwise quiet. Proves its
//! figures as far as it can: every answer is checked while it is timed, the baseline runs in the same
//! minutes, and what else the machine did is recorded. It judges nothing but the figures it was given to
//! hold, and it fails only when it could not measure.

mod answer;
mod corpus;
mod credint;
mod effect;
mod jwt;
mod ladder;
mod latency;
mod lists;
mod load;
mod own;
mod passthrough;
mod picture;
mod policy;
mod process;
mod recall;
mod report;
mod rungs;
mod scan;
mod site;
mod soak;
mod store;
mod streams;
mod tenants;

use clap::{Parser, Subcommand};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a request costs, beside a bare Pingora pass-through in the same run.
#[derive(Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ladder: ladder::Options,
    /// Folder of the records.
    #[arg(long, global = true, default_value = "benches/record", value_name = "FOLDER")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// The baseline: pingora-proxy without any logic, on one thread.
    Passthrough {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// Address of the provider.
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// The scanner alone: nanoseconds per byte, beside Hyperscan if built with the feature of that name.
    Scan,
    /// Lists of terms and tables of records: build time, memory, nanoseconds per byte.
    Lists,
    /// A JWT, the first time and again, beside an API key: nanoseconds.
    Jwt,
    /// Lists of leaked credentials: bits, nanoseconds, wrong answers.
    Credint {
        /// A filter built from the list that `--generate` writes.
        file: Option<PathBuf>,
        /// Write a list of so many synthetic `SHA1:count` to standard output instead.
        #[arg(long, value_name = "KEYS")]
        generate: Option<u64>,
    },
    /// From a change to its effect on two proxies that follow a control plane of many organisations.
    Effect(effect::Options),
    /// Rules of organisations: milliseconds to compile, memory to keep, microseconds on a text.
    Own {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        organisations: usize,
    },
    /// A policy of many organisations: all of them, and one that changes.
    Policy,
    /// What the detection rules find in labelled samples and in clean text.
    Recall(recall::Options),
    /// Half load for half an hour: does memory stay flat?
    Soak(soak::Options),
    /// The store of the control plane, on both of its engines.
    Store(store::Options),
    /// Organisations in a store, and one process that follows it: time, memory, and what callers notice.
    Tenants(tenants::Options),
    /// Ten thousand streams that rest: what does each cost?
    Streams(streams::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the record is what this program is started for")]
fn run(arguments: &Arguments) -> io::Result<()> {
    match &arguments.command {
        Some(Command::Passthrough { listen, upstream }) => passthrough::serve(*listen, *upstream),
        Some(Command::Credint { generate: Some(keys), .. }) => credint::generate(*keys, io::stdout().lock())?,
        Some(Command::Credint { file, generate: None }) => credint::run(file.as_deref(), &mut io::stdout())?,
        Some(Command::Lists) => lists::run(&mut io::stdout())?,
        Some(Command::Jwt) => jwt::run(&mut io::stdout())?,
        Some(Command::Policy) => policy::run(&mut io::stdout())?,
        Some(Command::Scan) => write_record(&arguments.out, "scan", &scan::run()?)?,
        Some(Command::Effect(options)) => write_record(&arguments.out, "effect", &effect::run(options)?)?,
        Some(Command::Own { organisations }) => {
            write_record(&arguments.out, "own", &own::run(*organisations)?)?;
        }
        Some(Command::Recall(options)) => {
            let text = recall::run(options, &mut io::stdout().lock())?;
            write_record(&arguments.out, "recall", &text)?;
        }
        Some(Command::Soak(options)) => write_record(&arguments.out, "soak", &soak::run(options)?)?,
        Some(Command::Store(options)) => write_record(&arguments.out, "store", &store::run(options)?)?,
        Some(Command::Tenants(options)) => write_record(&arguments.out, "tenants", &tenants::run(options)?)?,
        Some(Command::Streams(options)) => write_record(&arguments.out, "streams", &streams::run(options)?)?,
        None => {
            std::fs::create_dir_all(&arguments.out)?;
            let outcome = ladder::run(&arguments.ladder, &arguments.out.join("pictures"))?;
            let record = report::Record::new(&arguments.ladder, outcome);
            let file = arguments.out.join(record.file_name());
            let text = record.markdown();
            std::fs::write(&file, &text)?;
            println!("{text}\nwritten to `{}`", file.display());
        }
    }
    Ok(())
}

/// Prints a record and keeps it under today's date.
#[expect(clippy::print_stdout, reason = "the record is what this program is started for")]
fn write_record(folder: &Path, what: &str, text: &str) -> io::Result<()> {
    let file = folder.join(format!("{}-{what}.md", report::today()));
    std::fs::create_dir_all(folder)?;
    std::fs::write(&file, text)?;
    println!("{text}\nwritten to `{}`", file.display());
    Ok(())
}
