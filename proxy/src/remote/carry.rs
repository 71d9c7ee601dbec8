//! How does an organisation leave a control plane, and come into another one? As one file, with its secrets.

use super::client::Ask;
use super::problem::Failed;
use super::{Done, ExportCommand, ImportCommand, complain, waiting};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use palisade_control::resources::Export;
use palisade_control::store::{ALL_BYTES_MAX, CHANGE_BYTES_MAX};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Runs `palisade export`.
pub(super) fn export(command: &ExportCommand) -> Result<Done> {
    let (token, client) = (command.server.token()?, command.server.client()?);
    let ask = Ask {
        answer_bytes_max: ALL_BYTES_MAX as usize,
        ..Ask::get(format!("/api/v1/orgs/{}/export", command.org), &token)
    };
    let export: Export = waiting(async { client.json(&ask).await.map_err(|failed| refused(&failed)) })?;
    let text = serde_json::to_string_pretty(&export)? + "\n";
    match &command.output {
        Some(path) => write(path, &text).with_context(|| format!("cannot write `{}`", path.display()))?,
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(Done::All)
}

/// Runs `palisade import`.
pub(super) fn import(command: &ImportCommand) -> Result<Done> {
    let (token, client) = (command.server.token()?, command.server.client()?);
    let path = command.file.display();
    let bytes = std::fs::metadata(&command.file).with_context(|| format!("cannot read `{path}`"))?.len();
    if bytes > ALL_BYTES_MAX {
        bail!("`{path}` is larger than {ALL_BYTES_MAX} bytes");
    }
    let text = std::fs::read(&command.file).with_context(|| format!("cannot read `{path}`"))?;
    // What is wrong is not repeated: it may be a secret.
    let export: Export = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        anyhow::anyhow!("`{path}` is no export: line {line}, column {column} is not what one holds")
    })?;
    let export = if command.without_keys { export.without_claimed() } else { export };
    let body = serde_json::to_vec(&export)?;
    if body.len() > CHANGE_BYTES_MAX {
        bail!("`{path}` is larger than {CHANGE_BYTES_MAX} bytes, which is what an import takes");
    }
    let ask = Ask::post(format!("/api/v1/orgs/{}/import", command.org), &token, Bytes::from(body));
    match waiting(async { Ok(client.ask(&ask).await) })? {
        Ok(_) => Ok(Done::All),
        Err(failed) if failed.is_uncertain() => {
            complain(&format!("{:#}", refused(&failed)));
            Ok(Done::Part)
        }
        Err(failed) => Err(refused(&failed)),
    }
}

fn refused(failed: &Failed) -> anyhow::Error {
    let Failed::Refused(problem) = failed else { return anyhow::anyhow!("{failed}") };
    let mut text = problem.detail.clone();
    for wrong in &problem.errors {
        text = format!("{text}\n  `{}`: {}", wrong.pointer, wrong.message);
    }
    if let Some(permission) = &problem.permission {
        text = format!("{text} (`{permission}`)");
    }
    anyhow::anyhow!(text)
}

/// Whole, or not at all, and for its owner alone.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("export");
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // A file that is there already could be a link, or somebody's who reads what is written into it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
