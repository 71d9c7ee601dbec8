//! Where does this process keep what it believes? `[store]` of `palisade.toml`: files of its own, or a database.
//!
//! Needs what the operator wrote, and the data folder; proves a store that is open and of this version's schema. Files
//! are brought to it at once. A database is somebody's who may not want that: it is migrated by a serving process only
//! if the role that owns it is named there, and otherwise the error says what to run. What is kept is worthless without
//! the master key; for files it is made at the first start.

use crate::config::Config;
use crate::master_key::MasterKeySource;
use anyhow::{Context, Result, anyhow, bail};
use palisade_control::store::{
    MasterKey, Place, PostgresOwner, PostgresPlace, SqlitePlace, Store, StoreError,
};
use palisade_control::{Folder, sources};
use palisade_filters::documents::SecretRef;
use palisade_filters::secret::Secret;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// The folder of files, in the data folder.
const FOLDER: &str = "store";
/// What the name of the folder of keys ends with; it lies beside the one of files, for backups of its own.
const KEYS: &str = "-keys";

/// `[store]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// Which engine.
    kind: Engine,
    /// The folder of files; a relative one lies in the data folder.
    path: Option<PathBuf>,
    /// The database, as the role that works with what organisations own.
    #[serde(default, deserialize_with = "credential")]
    url: Option<SecretRef>,
    /// The same database, as the role that calls the directory's functions.
    #[serde(default, deserialize_with = "credential")]
    directory_url: Option<SecretRef>,
    /// The same database, as the role that owns it: for migrations alone.
    #[serde(default, deserialize_with = "credential")]
    owner_url: Option<SecretRef>,
    /// Connections of each role at most.
    connections: Option<u32>,
    /// The key over all keys; without it, one in the data folder that is made at the first start.
    master_key: Option<MasterKeySource>,
}

/// What keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Engine {
    /// Files of this machine.
    Sqlite,
    /// A database.
    Postgresql,
}

/// A secret of the process's own configuration: where it is kept or, unlike in documents, itself.
fn credential<'de, D: Deserializer<'de>>(input: D) -> Result<Option<SecretRef>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "it is a text, `{ env = \"NAME\" }` or `{ file = \"path\" }`")]
    enum Written {
        Kept(SecretRef),
        Itself(String),
    }
    Ok(Some(match Written::deserialize(input)? {
        Written::Kept(reference) => reference,
        Written::Itself(text) => SecretRef::Given(Secret::new(text)),
    }))
}

impl fmt::Display for StoreConfig {
    /// One line. Addresses hold passwords: it is said where they are from, and no more.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |reference: &Option<SecretRef>| match reference {
            None => "none".to_owned(),
            Some(SecretRef::Env(name)) => format!("of the variable {name}"),
            Some(SecretRef::File(path)) => format!("of the file {}", path.display()),
            Some(SecretRef::Given(_)) => "***".to_owned(),
        };
        match self.kind {
            Engine::Sqlite => {
                let path = self.path.as_deref().unwrap_or(Path::new(FOLDER));
                write!(out, "sqlite, path {}", path.display())?;
            }
            Engine::Postgresql => write!(
                out,
                "postgresql, url {}, directory_url {}, owner_url {}",
                named(&self.url),
                named(&self.directory_url),
                named(&self.owner_url)
            )?,
        }
        match &self.master_key {
            None => write!(out, ", master_key made at the first start"),
            Some(source) => write!(out, ", master_key {source}"),
        }
    }
}

impl StoreConfig {
    /// In files of the data folder.
    pub(crate) fn in_files() -> Self {
        Self {
            kind: Engine::Sqlite,
            path: None,
            url: None,
            directory_url: None,
            owner_url: None,
            connections: None,
            master_key: None,
        }
    }

    /// Whether something is kept in its files already.
    pub(crate) fn is_sealed(&self, config: &Config) -> bool {
        self.files(config).is_sealed()
    }

    /// What of it cannot be meant.
    pub(crate) fn check(&self) -> Result<(), String> {
        let of_databases = [
            ("url", self.url.is_some()),
            ("directory_url", self.directory_url.is_some()),
            ("owner_url", self.owner_url.is_some()),
            ("connections", self.connections.is_some()),
        ];
        let named = of_databases.iter().find(|(_, is_there)| *is_there);
        match (self.kind, named) {
            (Engine::Sqlite, Some((name, _))) => {
                Err(format!("`store.{name}` is for `kind = \"postgresql\"`; leave it out"))
            }
            (Engine::Postgresql, _) if self.path.is_some() => {
                Err("`store.path` is for `kind = \"sqlite\"`; a database is named with `url`".to_owned())
            }
            (Engine::Postgresql, _) if self.url.is_none() || self.directory_url.is_none() => Err(
                "`kind = \"postgresql\"` needs `store.url` and `store.directory_url`: the database as two roles"
                    .to_owned(),
            ),
            (Engine::Postgresql, _) if self.master_key.is_none() => Err(
                "`kind = \"postgresql\"` needs `store.master_key`, the same one for all processes: make it with \
                 `openssl rand -hex 32`, and say where it is, `{ file = \"…\" }`, `{ env = \"…\" }` or \
                 `{ command = […] }`"
                    .to_owned(),
            ),
            (Engine::Postgresql, _) if self.connections == Some(0) => {
                Err("`store.connections` is at least 1".to_owned())
            }
            (Engine::Sqlite, None) | (Engine::Postgresql, _) => Ok(()),
        }
    }

    /// Makes a store, or brings one to this version's schema.
    pub(crate) async fn migrate(&self, config: &Config) -> Result<()> {
        match (self.kind, &self.owner_url) {
            (Engine::Sqlite, _) => Ok(Store::migrate_sqlite(&self.files(config)).await?),
            (Engine::Postgresql, Some(owner)) => {
                let owner = secret("owner_url", owner, config)?;
                Ok(Store::migrate_postgres(&PostgresOwner::of(owner, &self.database(config)?)?).await?)
            }
            (Engine::Postgresql, None) => {
                bail!("`store.owner_url` is needed to migrate: the database as the role that owns it")
            }
        }
    }

    /// Opens the store for a process that is to serve; it is migrated before, if that is this process's to do.
    pub(crate) async fn open(&self, config: &Config, folder: &Folder) -> Result<Store> {
        if self.kind == Engine::Sqlite || self.owner_url.is_some() {
            self.migrate(config).await.context("the store cannot be migrated")?;
        }
        self.open_as_it_is(config, folder).await
    }

    /// Opens a store that is there.
    pub(crate) async fn open_as_it_is(&self, config: &Config, folder: &Folder) -> Result<Store> {
        let master = self.master_key(config, folder)?;
        let place = match self.kind {
            Engine::Sqlite => Place::Sqlite(self.files(config)),
            Engine::Postgresql => Place::Postgres(self.database(config)?),
        };
        Store::open(place, master).await.map_err(|error| match (&error, self.kind) {
            (StoreError::NotMigrated(_) | StoreError::Schema { .. }, Engine::Sqlite) => {
                anyhow!("{error}; `palisade serve` does at its start, and `palisade store migrate` without serving")
            }
            (StoreError::NotMigrated(_) | StoreError::Schema { .. }, Engine::Postgresql) => {
                anyhow!("{error}; `palisade store migrate` with `store.owner_url` does, before this process starts")
            }
            _ => anyhow!(error).context("the store cannot be opened"),
        })
    }

    fn files(&self, config: &Config) -> SqlitePlace {
        let path = config.data_dir.join(self.path.as_deref().unwrap_or(Path::new(FOLDER)));
        let mut keys = path.clone().into_os_string();
        keys.push(KEYS);
        SqlitePlace::new(path, PathBuf::from(keys))
    }

    fn database(&self, config: &Config) -> Result<PostgresPlace> {
        let (Some(url), Some(directory)) = (&self.url, &self.directory_url) else {
            bail!("`store.url` and `store.directory_url` are both needed");
        };
        let service = secret("url", url, config)?;
        let mut place = PostgresPlace::new(service, secret("directory_url", directory, config)?);
        place.connections = self.connections.unwrap_or(place.connections);
        Ok(place)
    }

    /// One that is not named is made while nothing was sealed yet, and never again: another one would open nothing.
    fn master_key(&self, config: &Config, folder: &Folder) -> Result<MasterKey> {
        let digits = match &self.master_key {
            Some(source) => source.read(&config.data_dir)?,
            None => folder.master_key(!self.files(config).is_sealed())?,
        };
        Ok(MasterKey::new(digits.expose())?)
    }
}

fn secret(name: &str, reference: &SecretRef, config: &Config) -> Result<Secret> {
    sources::secret(reference, &config.data_dir).map_err(|problem| anyhow!("`store.{name}`: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StoreConfig, String> {
        let config: StoreConfig = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config.check().map(|()| config)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_do() {
        let both = "url = 'postgres://a'\ndirectory_url = 'postgres://b'\n";
        for (text, said) in [
            ("kind = 'sqlite'\nurl = 'postgres://a'", "leave it out"),
            ("kind = 'sqlite'\nmaster_key = 'hunter2'", "not the key itself"),
            ("kind = 'sqlite'\nfolder = 'x'", "unknown field `folder`"),
            ("kind = 'mysql'", "`sqlite` or `postgresql`"),
            ("path = 'x'", "missing field `kind`"),
            ("kind = 'postgresql'\nurl = 'postgres://a'", "`store.directory_url`"),
            (&format!("kind = 'postgresql'\n{both}"), "openssl rand -hex 32"),
            (&format!("kind = 'postgresql'\npath = 'x'\n{both}"), "`store.path` is for"),
            ("kind = 'postgresql'\nurl = { value = 'x' }", "`{ env = \"NAME\" }`"),
        ] {
            let error = read(text).err().unwrap_or_else(|| panic!("taken: {text}"));
            assert!(error.contains(said) && !error.contains("hunter2"), "{text}: {error}");
        }
        for text in [
            "kind = 'sqlite'".to_owned(),
            "kind = 'sqlite'\npath = '/srv/store'\nmaster_key = { file = 'secrets/m.key' }".to_owned(),
            format!("kind = 'postgresql'\n{both}master_key = {{ env = 'M' }}\nowner_url = {{ file = 'o' }}"),
        ] {
            read(&text).unwrap();
        }
    }

    #[test]
    fn no_password_is_shown() {
        let text = "kind = 'postgresql'\nurl = 'postgres://a:hunter2@h/d'\ndirectory_url = { file = 'dir.url' }\n\
                    master_key = { env = 'PALISADE_MASTER_KEY' }";
        let config = read(text).unwrap();
        let shown = format!("{config} {config:?}");
        assert!(
            !shown.contains("hunter2") && shown.contains("url ***") && shown.contains("dir.url"),
            "{shown}"
        );
    }
}
