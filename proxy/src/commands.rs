//! What an operator types besides `serve`: keys, check, geoip.

use crate::config::{Config, Flags};
use crate::geoip::Geo;
use crate::{run, settings, store_commands, tls};
use anyhow::{Result, bail};
use clap::Subcommand;
use palisade_control::{Folder, Live, keys};
use palisade_filters::geoip::{Continent, Disguise, Disguises, is_local};
use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

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
    if config.store.is_some() {
        bail!(
            "keys are kept in the store, and made over the admin API: `POST /api/v1/orgs/{{org}}/api-keys` with \
             {{\"name\": \"…\"}}; a PATCH of one with {{\"enabled\": false}} revokes it"
        );
    }
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
    for (_, listen) in config.listeners() {
        listen.tls.as_ref().map(tls::Certificates::load).transpose()?;
    }
    for (kind, database) in Geo::open(&config.geoip)?.in_use() {
        let built = humantime::format_rfc3339_seconds(database.built());
        writeln!(out, "geoip.{}: `{}`, built {built}", kind.name(), database.name())?;
    }
    if let Some(store) = &config.store {
        drop(out);
        return store_commands::check(&config, store);
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
