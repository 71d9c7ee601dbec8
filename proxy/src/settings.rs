//! What of the process's set-up can change while it runs? `palisade.toml`, read again.
//!
//! Needs what the process was started with. Limits, the log's level and the times of a stop come into force at once;
//! what else changed is named in the log, with both values, and waits for a restart or an upgrade. A file that cannot
//! be used changes nothing, and is named once for each change of it. Does not: read documents, which are `control`'s.

use crate::config::{Config, Flags, LogFormat};
use crate::house::House;
use crate::watched::Facts;
use anyhow::{Context, Result};
use std::path::Path;
use tracing_subscriber::EnvFilter;

/// What comes into force without a restart; everything else of the effective configuration does not.
const LIVE: &[&str] = &["limits.", "log.level ", "drain_"];

/// The log, whose level can be changed.
pub(crate) struct Log {
    set: Box<dyn Fn(EnvFilter) -> Result<()> + Send>,
}

impl Log {
    /// Starts it. Pingora's own lines come through it too.
    pub(crate) fn start(config: &Config) -> Result<Self> {
        let filter = log_filter(config)?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // A line that cannot be written, to a full disk, would be complained of at the same place, and that panics.
        let log = log.log_internal_errors(false);
        let failed = |error| anyhow::anyhow!("the log cannot be started: {error}");
        Ok(match config.log.format {
            LogFormat::Text => {
                let log = log.with_filter_reloading();
                let handle = log.reload_handle();
                log.try_init().map_err(failed)?;
                Self { set: Box::new(move |filter| Ok(handle.reload(filter)?)) }
            }
            LogFormat::Json => {
                let log = log.json().with_filter_reloading();
                let handle = log.reload_handle();
                log.try_init().map_err(failed)?;
                Self { set: Box::new(move |filter| Ok(handle.reload(filter)?)) }
            }
        })
    }
}

/// What is logged.
pub(crate) fn log_filter(config: &Config) -> Result<EnvFilter> {
    let filter = EnvFilter::try_new(&config.log.level)
        .with_context(|| format!("`log.level` `{}` is no level and no filter", config.log.level))?;
    Ok(filter.add_directive("pingora_core=warn".parse()?))
}

/// The set-up of this process, as it is in force.
pub(crate) struct Settings {
    pub(crate) config: Config,
    flags: Flags,
    facts: Option<Facts>,
    log: Log,
}

impl Settings {
    pub(crate) fn new(config: Config, flags: Flags, log: Log) -> Self {
        let facts = flags.config.as_deref().and_then(Facts::of);
        Self { config, flags, facts, log }
    }

    /// Where to write the URLs once requests are served.
    pub(crate) fn ready_file(&self) -> Option<&Path> {
        self.flags.ready_file.as_deref()
    }

    /// Reads the file again, if it changed or if somebody asks.
    pub(crate) fn refresh(&mut self, house: &House, is_ordered: bool) {
        // Without a file there are flags and defaults, and neither changes.
        let Some(path) = self.flags.config.as_deref() else { return };
        let facts = Facts::of(path);
        if facts == self.facts && !is_ordered {
            return;
        }
        self.facts = facts;
        let read = Config::load(&self.flags).map_err(anyhow::Error::from);
        match read.and_then(|config| log_filter(&config).map(|filter| (config, filter))) {
            Ok((config, filter)) => self.adopt(house, config, filter),
            Err(error) => {
                tracing::error!(%error, "configuration not used; the last one stays in force");
            }
        }
    }

    fn adopt(&mut self, house: &House, config: Config, filter: EnvFilter) {
        let changes = changes(&self.config, &config);
        for Change { name, before, after } in &changes {
            if is_live(name) {
                tracing::info!("{name}= {after} is in force; it was {before}");
            } else {
                tracing::warn!("{name}= {after} needs a restart or an upgrade; {before} stays in force");
            }
        }
        if changes.iter().any(|change| change.name.starts_with("log.level "))
            && let Err(error) = (self.log.set)(filter)
        {
            tracing::error!(%error, "the log's level cannot be changed");
        }
        house.set_limits(config.limits.clone());
        let Config { limits, drain_grace, drain_timeout, log, .. } = config;
        self.config.limits = limits;
        self.config.log.level = log.level;
        (self.config.drain_grace, self.config.drain_timeout) = (drain_grace, drain_timeout);
    }
}

/// One value that is not what it was.
struct Change {
    name: String,
    before: String,
    after: String,
}

fn is_live(name: &str) -> bool {
    LIVE.iter().any(|live| name.starts_with(live))
}

/// What differs between two configurations, by their effective values: one a line, `name = value`.
fn changes(before: &Config, after: &Config) -> Vec<Change> {
    let (before, after) = (before.to_string(), after.to_string());
    let pairs = before.lines().zip(after.lines()).filter(|(before, after)| before != after);
    let split = |line: &str| {
        let (name, value) = line.split_once("= ").unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    pairs
        .map(|(before, after)| {
            let ((name, before), (_, after)) = (split(before), split(after));
            Change { name, before, after }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_named_with_both_values_and_only_some_are_live() {
        let (before, mut after) = (Config::default(), Config::default());
        after.workers = before.workers + 1;
        after.limits.coding_ratio = 7;
        after.drain_grace = std::time::Duration::from_secs(77);
        after.log.level = "debug".to_owned();
        let found = changes(&before, &after);
        let names: Vec<(&str, bool)> =
            found.iter().map(|change| (change.name.trim(), is_live(&change.name))).collect();
        assert_eq!(
            names,
            [("workers", false), ("limits.coding_ratio", true), ("log.level", true), ("drain_grace", true)]
        );
        assert_eq!((found[1].before.as_str(), found[1].after.as_str()), ("100", "7"));
        assert!(changes(&before, &before.clone()).is_empty());
    }
}
