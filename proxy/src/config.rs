//! How is this process set up? One TOML file, flags over it, unknown fields refused, values with units.
//!
//! It says where to listen and what the limits are; what is *enforced* stands in the documents of the data folder.

use crate::feed::FeedConfig;
use crate::geoip::Kind;
use crate::listen::{Address, Listen};
use crate::store::StoreConfig;
use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// That nothing is new is not heard of every moment.
const STALENESS_MIN: Duration = Duration::from_secs(5);

/// Flags that stand over the configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Flags {
    /// Configuration file (TOML); without one, the defaults hold
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where applications connect
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) proxy_listen: Option<Address>,
    /// Where health is asked and a reload is ordered
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<Address>,
    /// Where Prometheus scrapes
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<Address>,
    /// Where the admin API is served, if there is a store
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) api_listen: Option<Address>,
    /// Where proxies come that are elsewhere, if there is a store
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) feed_listen: Option<Address>,
    /// Folder of documents and state
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Write the URLs as JSON to this file once requests are served
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Worker threads, each with its own listener and connections
    #[arg(long, global = true, value_name = "N")]
    pub(crate) workers: Option<usize>,
}

/// The effective configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Folder of documents and state.
    pub(crate) data_dir: PathBuf,
    /// Worker threads; each has its own listener and upstream connections.
    pub(crate) workers: usize,
    /// The data plane.
    pub(crate) proxy: Listen,
    /// Health and reload.
    pub(crate) admin: Listen,
    /// Prometheus.
    pub(crate) metrics: Listen,
    /// The admin API, which there is with a store.
    pub(crate) api: Listen,
    /// Where resources are kept; without it, the folder of documents is what is believed.
    pub(crate) store: Option<StoreConfig>,
    /// Where proxies come that are elsewhere; without it, none do.
    pub(crate) feed: Option<FeedConfig>,
    /// How long a policy is in force that is followed, and of which nothing was heard any more.
    #[serde(deserialize_with = "duration")]
    pub(crate) max_staleness: Duration,
    /// Limits of one request and of all.
    pub(crate) limits: Limits,
    /// Databases of countries and networks.
    pub(crate) geoip: GeoFiles,
    /// Compromised credentials.
    pub(crate) credint: Credint,
    /// Events.
    pub(crate) audit: Audit,
    /// Logs.
    pub(crate) log: Log,
    /// How long connections are still taken after SIGTERM: until nobody sends new ones here.
    #[serde(deserialize_with = "duration")]
    pub(crate) drain_grace: Duration,
    /// How long exchanges may go on after that.
    #[serde(deserialize_with = "duration")]
    pub(crate) drain_timeout: Duration,
}

/// Limits; each has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// A request's head: larger ones are refused with 431.
    pub(crate) header_bytes: ByteSize,
    /// A request's body: larger ones are refused with 413.
    pub(crate) body_bytes: ByteSize,
    /// A body may grow so many times its size when its coding is undone.
    pub(crate) coding_ratio: u32,
    /// Bodies in memory at once, all together: past it, 503.
    pub(crate) bodies_in_memory: ByteSize,
    /// Those of one organisation; without it, half of all.
    pub(crate) bodies_per_organisation: Option<ByteSize>,
    /// What is remembered of findings in long texts, so that a conversation sent again is not scanned again.
    pub(crate) remembered_findings: ByteSize,
    /// Open connections, all together: past them, new ones are closed.
    pub(crate) connections: usize,
    /// And those of one client's address.
    pub(crate) connections_per_address: usize,
    /// Wrong keys of one client's address: past them, 429 instead of 401.
    pub(crate) bad_keys_per_minute: u32,
    /// For what comes before the first request: the PROXY protocol and TLS.
    #[serde(deserialize_with = "duration")]
    pub(crate) handshake_timeout: Duration,
    /// From the connection, or the last answer, to the end of the head.
    #[serde(deserialize_with = "duration")]
    pub(crate) header_timeout: Duration,
    /// For the whole body.
    #[serde(deserialize_with = "duration")]
    pub(crate) body_timeout: Duration,
    /// For one write to a client that does not read.
    #[serde(deserialize_with = "duration")]
    pub(crate) write_timeout: Duration,
    /// For an answer to begin, over all targets: once it is over, no further one is tried.
    #[serde(deserialize_with = "duration")]
    pub(crate) answer_timeout: Duration,
}

/// Files in MaxMind's format; replaced by renaming a new one over the old.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GeoFiles {
    /// Countries; without it, the database that comes with the product.
    pub(crate) country: Option<PathBuf>,
    /// Networks by number.
    pub(crate) asn: Option<PathBuf>,
    /// Networks that hide who uses them.
    pub(crate) anonymous: Option<PathBuf>,
}

impl GeoFiles {
    /// The file for one kind of question.
    fn path(&self, kind: Kind) -> Option<&PathBuf> {
        match kind {
            Kind::Country => self.country.as_ref(),
            Kind::Asn => self.asn.as_ref(),
            Kind::Anonymous => self.anonymous.as_ref(),
        }
    }

    /// The files that are named.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (Kind, &PathBuf)> {
        Kind::ALL.into_iter().filter_map(|kind| Some((kind, self.path(kind)?)))
    }
}

/// What is known of compromised credentials.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Credint {
    /// A filter that `palisade credint build` made; without one, `credint/base.credint` in the data folder or, if there
    /// is none, the list that comes with the product.
    pub(crate) base: Option<PathBuf>,
}

/// Settings of the spool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    /// A crash loses at most the events of this long.
    #[serde(deserialize_with = "duration")]
    pub(crate) flush: Duration,
    /// The spool's disk space.
    pub(crate) quota: ByteSize,
    /// One organisation's part of it; without it, half.
    pub(crate) organisation_quota: Option<ByteSize>,
    /// Whether each flush waits for the disk.
    pub(crate) fsync: bool,
}

/// Settings of logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or a filter such as `palisade=debug`.
    pub(crate) level: String,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./palisade-data"),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            proxy: Listen::local(8080),
            admin: Listen::local(8081),
            metrics: Listen::local(9090),
            api: Listen::local(8082),
            store: None,
            feed: None,
            max_staleness: Duration::from_hours(1),
            limits: Limits::default(),
            geoip: GeoFiles::default(),
            credint: Credint::default(),
            audit: Audit::default(),
            log: Log::default(),
            drain_grace: Duration::from_secs(5),
            drain_timeout: Duration::from_mins(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: ByteSize::kib(64),
            body_bytes: ByteSize::mib(32),
            coding_ratio: 100,
            bodies_in_memory: ByteSize::mib(1024),
            bodies_per_organisation: None,
            remembered_findings: ByteSize::mib(16),
            connections: 65_536,
            connections_per_address: 16_384,
            bad_keys_per_minute: 60,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_mins(1),
            // One target that does not answer, and another's fair chance.
            answer_timeout: Duration::from_mins(4),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            flush: Duration::from_millis(50),
            quota: ByteSize::gib(10),
            organisation_quota: None,
            fsync: false,
        }
    }
}

impl Limits {
    /// The share of one organisation, in bytes.
    pub(crate) fn bodies_per_organisation(&self) -> u64 {
        let half = self.bodies_in_memory.as_u64() / 2;
        self.bodies_per_organisation.map_or(half, |bytes| bytes.as_u64())
    }
}

impl Audit {
    /// One organisation's part of the spool, in bytes.
    pub(crate) fn organisation_quota(&self) -> u64 {
        self.organisation_quota.map_or(self.quota.as_u64() / 2, |bytes| bytes.as_u64())
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{0}`: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file is not what it should be.
    #[error("the configuration `{0}` is not valid: line {1}: {2}")]
    Parse(PathBuf, usize, String),
    /// A value is out of its range.
    #[error("the configuration is not valid: {0}")]
    Value(String),
}

impl Config {
    /// Reads the file, if one is named, and puts the flags over it.
    pub(crate) fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let mut config = match &flags.config {
            None => Self::default(),
            Some(path) => Self::read(path)?,
        };
        for (name, listen, flag) in [
            ("proxy", &mut config.proxy, &flags.proxy_listen),
            ("admin", &mut config.admin, &flags.admin_listen),
            ("metrics", &mut config.metrics, &flags.metrics_listen),
            ("api", &mut config.api, &flags.api_listen),
        ] {
            if let Some(address) = flag {
                listen.address.clone_from(address);
            }
            listen.check(name).map_err(ConfigError::Value)?;
        }
        if let Some(store) = &config.store {
            store.check().map_err(ConfigError::Value)?;
        }
        config.feed = FeedConfig::of(config.feed, flags.feed_listen.as_ref(), config.store.is_some())
            .map_err(ConfigError::Value)?;
        if config.max_staleness < STALENESS_MIN {
            return Err(ConfigError::Value(
                "`max_staleness` is at least `5s`: that nothing is new is not heard of every moment"
                    .to_owned(),
            ));
        }
        if let Some(data_dir) = &flags.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        config.workers = flags.workers.unwrap_or(config.workers);
        if !(1..=256).contains(&config.workers) {
            return Err(ConfigError::Value("`workers` lies between 1 and 256".to_owned()));
        }
        if config.limits.body_bytes > ByteSize::gib(1) {
            return Err(ConfigError::Value("`limits.body_bytes` is at most 1GiB".to_owned()));
        }
        let limits = &config.limits;
        if limits.coding_ratio == 0 {
            return Err(ConfigError::Value("`limits.coding_ratio` is at least 1".to_owned()));
        }
        let times = [
            limits.handshake_timeout,
            limits.header_timeout,
            limits.body_timeout,
            limits.write_timeout,
            limits.answer_timeout,
        ];
        if times.iter().any(Duration::is_zero) {
            return Err(ConfigError::Value(
                "a timeout of 0 lets nothing through; write `1s` or more".to_owned(),
            ));
        }
        if [limits.connections, limits.connections_per_address].contains(&0)
            || limits.bad_keys_per_minute == 0
        {
            return Err(ConfigError::Value(
                "a limit of 0 lets nothing through; write the most that you allow".to_owned(),
            ));
        }
        Ok(config)
    }

    /// Where this process listens.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&'static str, &Listen)> {
        let api = self.store.as_ref().map(|_| ("api", &self.api));
        [("proxy", &self.proxy), ("admin", &self.admin), ("metrics", &self.metrics)].into_iter().chain(api)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.bytes().filter(|byte| *byte == b'\n').count();
            // Without the line itself, which may hold the password of a database.
            let name =
                text.lines().nth(line).and_then(|line| line.split('=').next()).unwrap_or_default().trim();
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-[]".contains(&byte);
            let place = if name.bytes().all(is_name) { format!("`{name}`: ") } else { String::new() };
            ConfigError::Parse(path.to_owned(), line + 1, place + error.message())
        })
    }
}

impl fmt::Display for Config {
    /// The effective values, one a line. Secrets are not among them: they are named by file or variable only.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = |listen: &Listen| match &listen.tls {
            None => "off".to_owned(),
            Some(tls) => format!("{} (key ***)", tls.certificate.display()),
        };
        writeln!(out, "data_dir = {}", self.data_dir.display())?;
        writeln!(out, "workers = {}", self.workers)?;
        for (name, listen) in self.listeners().chain(self.store.is_none().then_some(("api", &self.api))) {
            writeln!(out, "{name}.listen = {}, tls {}", listen.address, tls(listen))?;
        }
        match &self.store {
            None => writeln!(out, "store = none; the documents of the data folder are in force")?,
            Some(store) => writeln!(out, "store = {store}")?,
        }
        match &self.feed {
            None => writeln!(out, "feed = off")?,
            Some(feed) => writeln!(out, "feed = {feed}")?,
        }
        writeln!(out, "max_staleness = {:?}", self.max_staleness)?;
        writeln!(out, "proxy.client_address = {}", self.proxy.client_address.name())?;
        writeln!(out, "proxy.trusted_proxies = {:?}", self.proxy.trusted_proxies)?;
        let limits = &self.limits;
        writeln!(out, "limits.header_bytes = {}", limits.header_bytes)?;
        writeln!(out, "limits.body_bytes = {}", limits.body_bytes)?;
        writeln!(out, "limits.coding_ratio = {}", limits.coding_ratio)?;
        writeln!(out, "limits.bodies_in_memory = {}", limits.bodies_in_memory)?;
        let share = ByteSize(limits.bodies_per_organisation());
        writeln!(out, "limits.bodies_per_organisation = {share}")?;
        writeln!(out, "limits.remembered_findings = {}", limits.remembered_findings)?;
        writeln!(out, "limits.connections = {}", limits.connections)?;
        writeln!(out, "limits.connections_per_address = {}", limits.connections_per_address)?;
        writeln!(out, "limits.bad_keys_per_minute = {}", limits.bad_keys_per_minute)?;
        writeln!(out, "limits.handshake_timeout = {:?}", limits.handshake_timeout)?;
        writeln!(out, "limits.header_timeout = {:?}", limits.header_timeout)?;
        writeln!(out, "limits.body_timeout = {:?}", limits.body_timeout)?;
        writeln!(out, "limits.write_timeout = {:?}", limits.write_timeout)?;
        writeln!(out, "limits.answer_timeout = {:?}", limits.answer_timeout)?;
        for kind in Kind::ALL {
            let none = if kind == Kind::Country { "shipped" } else { "none" };
            let path = self.geoip.path(kind).map_or(none.into(), |path| path.to_string_lossy());
            writeln!(out, "geoip.{} = {path}", kind.name())?;
        }
        match &self.credint.base {
            None => writeln!(out, "credint.base = the data folder's, or the shipped one")?,
            Some(base) => writeln!(out, "credint.base = {}", base.display())?,
        }
        writeln!(out, "audit.flush = {:?}", self.audit.flush)?;
        writeln!(out, "audit.quota = {}", self.audit.quota)?;
        writeln!(out, "audit.organisation_quota = {}", ByteSize(self.audit.organisation_quota()))?;
        writeln!(out, "audit.fsync = {}", self.audit.fsync)?;
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        writeln!(out, "log.format = {format}")?;
        writeln!(out, "log.level = {}", self.log.level)?;
        writeln!(out, "drain_grace = {:?}", self.drain_grace)?;
        write!(out, "drain_timeout = {:?}", self.drain_timeout)
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!("`{text}` is not a duration such as `30s`: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_values_without_units_are_refused() {
        for text in [
            "wrokers = 2",
            "drain_timeout = 30",
            "[limits]\nbody_byte = \"1MiB\"",
            "drain_timeout = \"soon\"",
        ] {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
        let config: Config =
            toml::from_str("[limits]\nbody_bytes = \"1MiB\"\n[proxy]\nlisten = \"[::1]:1\"").unwrap();
        assert_eq!(config.limits.body_bytes, ByteSize::mib(1));
        assert_eq!(config.limits.body_timeout, Duration::from_secs(30));
    }
}
