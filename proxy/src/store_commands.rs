//! What an operator types about a store: migrate it, invite an operator where all are gone, look whether it is well.

use crate::announce;
use crate::config::{Config, Flags};
use crate::plane;
use crate::run;
use crate::store::StoreConfig;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use palisade_control::Folder;
use palisade_control::access::{Access, Cost};
use palisade_control::follow::Follower;
use palisade_control::store::StoreError;
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

/// `palisade store …`
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum StoreCommand {
    /// Make the store, or bring it to the schema of this version
    Migrate,
}

/// `palisade operator …`
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum OperatorCommand {
    /// Print an invitation for another operator, where all operators are gone
    Invite,
}

/// Runs `palisade store`.
pub(crate) fn store(flags: &Flags, command: &StoreCommand) -> Result<()> {
    let config = Config::load(flags)?;
    let store = configured(&config)?;
    match command {
        StoreCommand::Migrate => {
            // The folder is made with rights for its owner alone.
            Folder::open(&config.data_dir)?;
            on_a_runtime(store.migrate(&config))?.context("the store cannot be migrated")?;
            writeln!(std::io::stdout(), "the store has the schema of this version")?;
        }
    }
    Ok(())
}

/// Runs `palisade operator`.
pub(crate) fn operator(flags: &Flags, command: &OperatorCommand) -> Result<()> {
    let config = Config::load(flags)?;
    let store = configured(&config)?;
    match command {
        OperatorCommand::Invite => {
            let folder = Folder::open(&config.data_dir)?;
            let link = on_a_runtime(async {
                let store = Arc::new(store.open_as_it_is(&config, &folder).await?);
                // Nobody chooses a password here.
                let access = Access::new(store, Cost::OWASP, Arc::new(|_| false), Arc::new(plane::witness))?;
                anyhow::Ok(access.recover_operator(SystemTime::now()).await?)
            })??;
            let scheme = if config.api.tls.is_some() { "https" } else { "http" };
            announce::print_invitation(&format!("{scheme}://{}", config.api.address), &link)
        }
    }
}

/// Whether what a store holds would be in force.
pub(crate) fn check(config: &Config, store: &StoreConfig) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let folder = Folder::open(&config.data_dir)?;
    if folder.has_documents() {
        writeln!(out, "the documents in `{}` are not in force: the store is", config.data_dir.display())?;
    }
    let scanner = run::scanner()?;
    let followed = on_a_runtime(async {
        let store = Arc::new(store.open_as_it_is(config, &folder).await?);
        anyhow::Ok(Follower::start(store, folder.clone(), scanner).await?)
    })?;
    let (follower, errors) = match followed {
        Ok(followed) => followed,
        Err(error) if is_in_use(&error) => {
            writeln!(
                out,
                "the store is in use by another process, which says in its log what it cannot use of it"
            )?;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for error in &errors {
        writeln!(out, "error: {error}")?;
    }
    let policy = follower.policy();
    writeln!(out, "{} organisations, {} providers", policy.tenant_count(), policy.providers().len())?;
    if errors.is_empty() {
        Ok(())
    } else {
        bail!("{} problems; what they name is not used as it is", errors.len())
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::InUse(_))))
}

fn configured(config: &Config) -> Result<&StoreConfig> {
    config
        .store
        .as_ref()
        .context("there is no store in this configuration; name one with `[store]` in the file of `--config`")
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}
