//! Where is the key over all keys? In a file, in a variable, or with whoever a program asks for it, such as a KMS.
//!
//! Needs what the operator wrote; proves nothing of the key but that somebody gave it. A program is run once, at the
//! start, and what it writes to its standard output is the key. Neither that nor its arguments are ever shown.

use anyhow::{Context, Result, bail};
use palisade_control::sources;
use palisade_filters::documents::SecretRef;
use palisade_filters::secret::Secret;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A program that takes longer is not waited for.
const WITHIN: Duration = Duration::from_secs(30);
/// No key is as long.
const SAID_BYTES_MAX: u64 = 4 * 1024;

/// `store.master_key`.
#[derive(Clone)]
pub(crate) enum MasterKeySource {
    Kept(SecretRef),
    /// A program and its arguments.
    Asked(Vec<String>),
}

impl<'de> Deserialize<'de> for MasterKeySource {
    /// What is written in the place of where it is kept is not repeated: it may be the key.
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Program {
            command: Vec<String>,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "it is `{ env = \"NAME\" }`, `{ file = \"path\" }` or `{ command = [\"program\"] }`, \
                         and not the key itself"
        )]
        enum Written {
            Kept(SecretRef),
            Asked(Program),
        }
        Ok(match Written::deserialize(input)? {
            Written::Kept(reference) => Self::Kept(reference),
            Written::Asked(Program { command }) => Self::Asked(command),
        })
    }
}

impl fmt::Display for MasterKeySource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(SecretRef::Env(name)) => write!(out, "of the variable {name}"),
            Self::Kept(SecretRef::File(path)) => write!(out, "of the file {}", path.display()),
            Self::Kept(SecretRef::Given(_)) => out.write_str("***"),
            Self::Asked(command) => {
                write!(out, "of the program {}", command.first().map_or("", String::as_str))
            }
        }
    }
}

impl fmt::Debug for MasterKeySource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl MasterKeySource {
    /// The key, in digits. Relative files lie in this folder.
    pub(crate) fn read(&self, folder: &Path) -> Result<Secret> {
        match self {
            Self::Kept(reference) => sources::secret(reference, folder)
                .map_err(|problem| anyhow::anyhow!("`store.master_key`: {problem}")),
            Self::Asked(command) => asked(command, WITHIN),
        }
    }
}

/// What a program says, as far as it does within this time.
fn asked(command: &[String], within: Duration) -> Result<Secret> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("`store.master_key`: `command` names no program: `command = [\"/usr/local/bin/unwrap-key\"]`");
    };
    let of = || format!("`store.master_key`: the program `{program}`");
    let mut run = Command::new(program);
    run.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = run.spawn().with_context(|| format!("{} cannot be run", of()))?;
    let said = child.stdout.take().with_context(|| format!("{} has no output", of()))?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = said.take(SAID_BYTES_MAX).read_to_string(&mut text);
        // Whoever does not wait any more does not want it.
        let _ = sender.send(read.map(|_| Secret::new(text.trim().to_owned())));
    });
    let Ok(key) = receiver.recv_timeout(within) else {
        let _ = child.kill();
        let _ = child.wait();
        bail!("{} did not end within {within:?}", of());
    };
    let status = child.wait().with_context(|| format!("{} cannot be waited for", of()))?;
    let key = key.with_context(|| format!("{} wrote what cannot be read", of()))?;
    if !status.success() {
        bail!("{} failed ({status}); what it complains of stands above", of());
    }
    if key.expose().is_empty() {
        bail!("{} wrote nothing to its standard output, where the key belongs", of());
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_a_program_writes_is_the_key() {
        let key = "5e".repeat(32);
        let source: MasterKeySource =
            serde_json::from_value(serde_json::json!({ "command": shell(&format!("echo {key}")) })).unwrap();
        assert_eq!(source.read(Path::new("/")).unwrap().expose(), key);
        let shown = format!("{source} {source:?}");
        assert_eq!(shown, "of the program sh of the program sh", "arguments may hold anything");
    }

    #[test]
    fn a_program_that_gives_no_key_is_named() {
        for (command, said) in [
            (vec![], "names no program"),
            (vec!["/nowhere/unwrap-key".to_owned()], "cannot be run"),
            (shell("echo hunter2; exit 3"), "failed"),
            (shell("true"), "wrote nothing"),
            (shell("printf '\\377'"), "cannot be read"),
        ] {
            let error = format!("{:#}", asked(&command, WITHIN).err().unwrap());
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
        let waits = ["tail", "-f", "/dev/null"].map(str::to_owned);
        let error = asked(&waits, Duration::from_millis(20)).err().unwrap().to_string();
        assert!(error.contains("did not end within"), "{error}");
    }
}
