//! What does the demo know of its former starts? The passwords of its accounts, and what it handed out.
//!
//! Stores keep hashes of keys and tokens, so what is to be shown again is kept beside: in one file that its owner alone
//! reads. A store without such a file is no demo's, and is left alone.

use super::error::SeedError;
use crate::folder::{Folder, random};
use crate::write;
use palisade_filters::api_key::hex;
use palisade_filters::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The file, in the data folder.
const FILE: &str = "demo.json";
/// Random bytes of a password, which is written in hexadecimal digits.
const PASSWORD_BYTES: usize = 16;

/// What is kept.
pub struct Kept {
    folder: Folder,
    text: Text,
}

/// As it is written. It holds secrets, and is shown to nobody.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Text {
    operator: Account,
    admin: Account,
    key: Option<KeptKey>,
    token: Option<String>,
}

/// An account of the demo's.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeptKey {
    id: String,
    key: String,
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Kept")
    }
}

impl Kept {
    /// Reads what is kept in a folder; in one where nothing is yet, passwords are chosen.
    pub fn open(folder: &Folder, has_store: bool) -> Result<Self, SeedError> {
        let path = folder.path().join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => {
                // Where it is wrong, not what stands there.
                serde_json::from_slice(&text).map_err(|error| {
                    SeedError::Kept(path, format!("line {}, column {}", error.line(), error.column()))
                })?
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                if folder.has_documents() {
                    return Err(SeedError::Documents(folder.path().to_owned()));
                }
                if has_store {
                    return Err(SeedError::NotOurs(folder.path().to_owned()));
                }
                let (operator, admin) = (Account::new("operator")?, Account::new("admin")?);
                let kept =
                    Self { folder: folder.clone(), text: Text { operator, admin, key: None, token: None } };
                kept.write()?;
                return Ok(kept);
            }
            Err(cause) => return Err(SeedError::Kept(path, cause.to_string())),
        };
        Ok(Self { folder: folder.clone(), text })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    pub(super) fn operator(&self) -> &Account {
        &self.text.operator
    }

    pub(super) fn admin(&self) -> &Account {
        &self.text.admin
    }

    pub(super) fn key(&self) -> Option<(String, Secret)> {
        self.text.key.as_ref().map(|kept| (kept.id.clone(), Secret::new(kept.key.clone())))
    }

    pub(super) fn token(&self) -> Option<Secret> {
        self.text.token.clone().map(Secret::new)
    }

    /// What the operator's account is called; it may not be there yet.
    pub(super) fn call_operator(&mut self, name: &str) -> Result<(), SeedError> {
        name.clone_into(&mut self.text.operator.name);
        self.write()
    }

    pub(super) fn keep_key(&mut self, id: &str, key: &str) -> Result<(), SeedError> {
        self.text.key = Some(KeptKey { id: id.to_owned(), key: key.to_owned() });
        self.write()
    }

    pub(super) fn keep_token(&mut self, token: &str) -> Result<(), SeedError> {
        self.text.token = Some(token.to_owned());
        self.write()
    }

    fn write(&self) -> Result<(), SeedError> {
        let text = serde_json::to_string_pretty(&self.text).map_err(SeedError::broken)?;
        let lock = self.folder.lock()?;
        Ok(write::replace(&lock, &self.path(), &(text + "\n"))?)
    }
}

impl Account {
    fn new(name: &str) -> Result<Self, SeedError> {
        Ok(Self { name: name.to_owned(), password: hex(&random::<PASSWORD_BYTES>()?) })
    }
}
