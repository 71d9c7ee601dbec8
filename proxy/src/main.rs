//! Palisade: a policy and data-loss-prevention proxy for LLM traffic. Parse, build, announce, run, drain.

mod admin;
mod announce;
mod answering;
mod api_desk;
mod arrival;
mod backing;
mod bodies;
mod body;
mod coding;
mod commands;
mod config;
mod connections;
mod credint;
mod demo;
mod descriptors;
mod desk;
mod detection;
mod detectors;
mod drain;
mod edge;
mod exact;
mod fault;
mod feed;
mod fetch;
mod freshness;
mod front;
mod geoip;
mod guesses;
mod handshakes;
mod health;
mod house;
mod issuers;
mod listen;
mod mapped;
mod master_key;
mod meter;
mod metrics;
mod mock;
mod plane;
mod record;
mod relay;
mod remote;
mod reply;
mod run;
mod serve;
mod server;
mod settings;
mod source;
mod store;
mod store_commands;
mod systemd;
mod texts;
mod tls;
mod upgrade;
mod upstream;
mod usage;
mod watched;

use clap::{Parser, Subcommand};
use commands::KeyCommand;
use config::{Config, Flags};
use credint::CredintCommand;
use demo::DemoFlags;
use detection::RulesCommand;
use exact::ExactCommand;
use feed::EnrollFlags;
use mock::MockOptions;
use run::Role;
use settings::{Log, Settings};
use std::net::IpAddr;
use std::process::ExitCode;
use store_commands::{OperatorCommand, StoreCommand};
use texts::{RedactFlags, ScanFlags};

/// Memory falls back after a burst of large bodies.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Policy and data-loss-prevention proxy for LLM traffic
#[derive(Parser, Debug)]
#[command(name = "palisade", version)]
struct Palisade {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve: everything in one process
    Serve {
        #[command(flatten)]
        flags: Flags,
        /// Take over from the process that serves this data folder, without a connection refused
        #[arg(long)]
        upgrade: bool,
    },
    /// Serve the control plane alone: the store and its admin API, and no applications
    Control {
        #[command(flatten)]
        flags: Flags,
        /// Take over from the process that serves this data folder; the store must be a database
        #[arg(long)]
        upgrade: bool,
    },
    /// Serve applications alone, by the policy of a control plane elsewhere
    Proxy {
        #[command(flatten)]
        flags: Flags,
        /// Take over from the process that serves this data folder, without a connection refused
        #[arg(long)]
        upgrade: bool,
    },
    /// Have this machine let in by a control plane, with a token of an operator, so that it can serve as `proxy`
    Enroll {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        asked: EnrollFlags,
    },
    /// Serve a seeded organisation with a built-in provider double, to try it out
    Demo(DemoFlags),
    /// The provider double as a server of its own
    Mock(MockOptions),
    /// Make, list and revoke API keys
    Keys {
        #[command(flatten)]
        flags: Flags,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Read the configuration and the documents, and say what is wrong with them
    Check(Flags),
    /// The store of the control plane: migrate
    Store {
        #[command(flatten)]
        flags: Flags,
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Operators of the control plane: invite one where all are gone
    Operator {
        #[command(flatten)]
        flags: Flags,
        #[command(subcommand)]
        command: OperatorCommand,
    },
    /// Print what the detection rules find in a text
    Scan(ScanFlags),
    /// Print a text with what the detection rules find replaced
    Redact(RedactFlags),
    /// Detection rules: check, list, explain
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Print where an address is, as far as the databases know
    Geoip {
        #[command(flatten)]
        flags: Flags,
        /// IPv4 or IPv6
        address: IpAddr,
    },
    /// Compromised credentials: build, add, look, ask
    Credint {
        #[command(flatten)]
        flags: Flags,
        #[command(subcommand)]
        command: CredintCommand,
    },
    /// Exact data: build tables of records
    Exact {
        #[command(subcommand)]
        command: ExactCommand,
    },
    /// Make a control plane believe what a folder of documents says
    Apply(remote::ApplyCommand),
    /// Print what `apply` would change; the exit status is 1 if that is something
    Diff(remote::DiffCommand),
    /// Write an organisation of a control plane into a file, with its secrets
    Export(remote::ExportCommand),
    /// Make an organisation of what `export` wrote
    Import(remote::ImportCommand),
    /// Print the version
    Version,
}

fn main() -> anyhow::Result<ExitCode> {
    let done = match Palisade::parse().command {
        Command::Serve { flags, upgrade } => {
            let config = Config::load(&flags)?;
            let log = Log::start(&config)?;
            run::run(Settings::new(config, flags, log), Role::Everything, upgrade, None)
        }
        Command::Control { flags, upgrade } => {
            let config = Config::load(&flags)?;
            anyhow::ensure!(
                config.store.is_some(),
                "the control plane needs `[store]` in the file of `--config`"
            );
            let log = Log::start(&config)?;
            run::run(Settings::new(config, flags, log), Role::Control, upgrade, None)
        }
        Command::Proxy { flags, upgrade } => {
            let config = Config::load(&flags)?;
            anyhow::ensure!(
                config.store.is_none(),
                "`palisade proxy` follows a control plane elsewhere and has no `[store]`; `palisade serve` has one"
            );
            let log = Log::start(&config)?;
            run::run(Settings::new(config, flags, log), Role::Proxy, upgrade, None)
        }
        Command::Enroll { flags, asked } => feed::enroll(&flags, &asked),
        Command::Demo(flags) => demo::demo(flags),
        Command::Mock(options) => mock::run(options),
        Command::Keys { flags, command } => commands::keys(&flags, command),
        Command::Check(flags) => commands::check(&flags),
        Command::Store { flags, command } => store_commands::store(&flags, &command),
        Command::Operator { flags, command } => store_commands::operator(&flags, &command),
        Command::Scan(flags) => texts::scan(&flags),
        Command::Redact(flags) => texts::redact(&flags),
        Command::Rules { command } => detection::run(&command),
        Command::Geoip { flags, address } => commands::geoip(&flags, address),
        Command::Credint { flags, command } => credint::run(&flags, &command),
        Command::Exact { command } => exact::run(command),
        Command::Apply(command) => return Ok(remote::apply(&command)),
        Command::Diff(command) => return Ok(remote::diff(&command)),
        Command::Export(command) => return Ok(remote::export(&command)),
        Command::Import(command) => return Ok(remote::import(&command)),
        Command::Version => version(),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "what a user reads")]
#[expect(clippy::unnecessary_wraps, reason = "all commands have one shape")]
fn version() -> anyhow::Result<()> {
    println!("palisade {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}
