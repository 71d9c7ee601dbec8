//! Where are the documents, and what else is kept beside them?
//!
//! ```text
//! palisade-data/                 only its owner may look inside
//!   platform.toml                what holds for everyone; missing: nothing but the shipped floor
//!   orgs/<id>.toml               one organisation each
//!   lists/<id>/                  what an organisation's document names: lists of terms, tables of records,
//!                                keys of issuers
//!   secrets/hash.key             made once, from which the hashes of findings are keyed
//!   secrets/master.key           made once, if there is a store and its master key is not kept elsewhere
//! ```
//!
//! Needs a path it may write to, the first time; proves that the folder and its hash secret are there.
//! What the documents say is the question of `sources`, whether they changed that of `stamp`.

use crate::attachments::Tables;
use crate::write::{self, Lock};
use palisade_filters::secret::Secret;
use std::fmt::Write;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Organisations of one folder. A change reads all of them again: at this number about a second of work.
pub const ORGANISATIONS_MAX: usize = 10_000;
/// Random bytes of a secret of ours: as many as the hash they key.
const SECRET_BYTES: usize = 32;
const SECRETS: &str = "secrets";
const PLATFORM: &str = "platform.toml";
const ORGANISATIONS: &str = "orgs";
const EXTENSION: &str = ".toml";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("cannot {doing} `{path}`: {cause}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A link, a folder or a device stands where a file is written.
    #[error("`{0}` is not a regular file; change what it stands for instead")]
    NotAFile(PathBuf),
    /// What was sealed cannot be opened.
    #[error(
        "the master key `{0}` is gone, and what the store holds opens with no other; restore it from a backup, or \
         name the one there is with `store.master_key`"
    )]
    MasterKeyGone(PathBuf),
    /// The master key is damaged.
    #[error("`{0}` does not hold 64 hexadecimal digits; restore the master key from a backup")]
    MasterKeyDamaged(PathBuf),
    /// The hash secret is damaged.
    #[error(
        "`{0}` does not hold 64 hexadecimal digits; restore it from a backup, or remove it to get a new one, \
         under which hashes no longer equal those of former events"
    )]
    HashSecret(PathBuf),
    /// There is a limit.
    #[error("`{0}` holds more than {ORGANISATIONS_MAX} organisations; move some to another folder")]
    TooMany(PathBuf),
    /// No key can be made.
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// A folder of documents.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    hash_secret: Secret,
    /// What was read of tables: once for all that look into the folder.
    tables: Arc<Tables>,
}

/// A file that is an organisation's document by its place and name.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The organisation that its name speaks of.
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Listed {
    /// How errors name the document.
    pub(crate) fn name(&self) -> String {
        organisation_name(&self.id)
    }
}

/// How errors name an organisation's document.
pub(crate) fn organisation_name(id: &str) -> String {
    format!("{ORGANISATIONS}/{id}{EXTENSION}")
}

/// How errors name the platform's document.
pub(crate) fn platform_name() -> String {
    PLATFORM.to_owned()
}

impl Folder {
    /// Opens a folder; one that is missing is made, with a hash secret of its own.
    pub fn open(data_dir: &Path) -> Result<Self, FolderError> {
        write::folder(data_dir)?;
        write::folder(&data_dir.join(ORGANISATIONS))?;
        let hash_secret = HASH_SECRET.kept(data_dir)?;
        Ok(Self { root: data_dir.to_owned(), hash_secret, tables: Arc::default() })
    }

    /// A folder that is only looked at: nothing is written there. What is compiled of it keys its hashes by a secret
    /// that nobody keeps.
    pub fn look(data_dir: &Path) -> Result<Self, FolderError> {
        let hash_secret = Secret::new(hexadecimal(&random::<SECRET_BYTES>()?));
        Ok(Self { root: data_dir.to_owned(), hash_secret, tables: Arc::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Random bytes of the operating system, for what is kept in files.
    pub fn random<const BYTES: usize>() -> Result<[u8; BYTES], FolderError> {
        random()
    }

    /// From which the hashes of findings are keyed.
    pub fn hash_secret(&self) -> &Secret {
        &self.hash_secret
    }

    /// The key over all keys of a store whose operator names none: made if it may be, kept where the hash secret is.
    pub fn master_key(&self, may_be_made: bool) -> Result<Secret, FolderError> {
        match MASTER_KEY.read(&self.root)? {
            Some(kept) => Ok(kept),
            None if may_be_made => MASTER_KEY.kept(&self.root),
            None => Err(FolderError::MasterKeyGone(MASTER_KEY.path(&self.root))),
        }
    }

    /// Whether there are documents here that somebody may believe to be in force.
    pub fn has_documents(&self) -> bool {
        self.platform_path().exists() || self.list().is_ok_and(|listed| !listed.is_empty())
    }

    /// The ids of the organisations that have a document, in order.
    pub fn organisations(&self) -> Result<Vec<String>, FolderError> {
        Ok(self.list()?.into_iter().map(|listed| listed.id).collect())
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn platform_path(&self) -> PathBuf {
        self.root.join(PLATFORM)
    }

    pub(crate) fn organisation_path(&self, id: &str) -> PathBuf {
        self.root.join(organisation_name(id))
    }

    pub(crate) fn lock(&self) -> Result<Lock, FolderError> {
        write::lock(&self.root)
    }

    /// The organisations' files in the order of their names. Links are followed, as mounted configuration
    /// is made of them; what begins with a dot belongs to an editor or to a writer at work.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, FolderError> {
        let folder = self.root.join(ORGANISATIONS);
        let fail = |cause| FolderError::Io { doing: "list", path: folder.clone(), cause };
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            // A name that is no text is not a valid id either; the reader of its document will say so.
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(EXTENSION).filter(|_| !name.starts_with('.')) else { continue };
            let path = entry.path();
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => out.push(Listed { id: id.to_owned(), path, metadata }),
                Ok(_) => {}
                // Gone since it was listed.
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(FolderError::Io { doing: "look at", path, cause }),
            }
            if out.len() > ORGANISATIONS_MAX {
                return Err(FolderError::TooMany(folder));
            }
        }
        out.sort_by(|one, other| (&one.id, &one.path).cmp(&(&other.id, &other.path)));
        Ok(out)
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const BYTES: usize>() -> Result<[u8; BYTES], FolderError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(FolderError::Random)?;
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Random digits that are kept in a file of ours.
struct Digits {
    name: &'static str,
    /// What is said where they are damaged.
    damaged: fn(PathBuf) -> FolderError,
}

const HASH_SECRET: Digits = Digits { name: "hash.key", damaged: FolderError::HashSecret };
const MASTER_KEY: Digits = Digits { name: "master.key", damaged: FolderError::MasterKeyDamaged };

impl Digits {
    fn path(&self, root: &Path) -> PathBuf {
        root.join(SECRETS).join(self.name)
    }

    /// Reads them, or makes them if they never were. What is there is never written again: it would lose its meaning,
    /// and with the hash secret every hash of every former event.
    fn kept(&self, root: &Path) -> Result<Secret, FolderError> {
        if let Some(digits) = self.read(root)? {
            return Ok(digits);
        }
        write::folder(&root.join(SECRETS))?;
        let lock = write::lock(root)?;
        // Another process may have made them while this one waited for the lock.
        if let Some(digits) = self.read(root)? {
            return Ok(digits);
        }
        let digits = hexadecimal(&random::<SECRET_BYTES>()?);
        write::replace(&lock, &self.path(root), &format!("{digits}\n"))?;
        Ok(Secret::new(digits))
    }

    fn read(&self, root: &Path) -> Result<Option<Secret>, FolderError> {
        let path = self.path(root);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(FolderError::Io { doing: "read", path, cause }),
        };
        let digits = text.trim_ascii_end();
        let is_whole = digits.len() == 2 * SECRET_BYTES && digits.iter().all(u8::is_ascii_hexdigit);
        match std::str::from_utf8(digits) {
            Ok(digits) if is_whole => Ok(Some(Secret::new(digits.to_owned()))),
            Ok(_) | Err(_) => Err((self.damaged)(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_is_private_and_has_a_hash_secret_that_stays() {
        let room = tempfile::tempdir().unwrap();
        let data = room.path().join("palisade-data");
        let folder = Folder::open(&data).unwrap();
        for private in [&data, &data.join("orgs"), &data.join("secrets")] {
            assert_eq!(mode(private), 0o700, "{}", private.display());
        }
        assert_eq!(mode(&data.join("secrets/hash.key")), 0o600);
        let secret = folder.hash_secret().clone();
        assert_eq!(secret.expose().len(), 64);
        assert_eq!(Folder::open(&data).unwrap().hash_secret(), &secret);
        let other = Folder::open(&room.path().join("other")).unwrap();
        assert_ne!(other.hash_secret(), &secret);
        assert!(!format!("{folder:?}").contains(secret.expose()));
    }

    #[test]
    fn folders_opened_at_once_agree_on_the_hash_secret() {
        let room = tempfile::tempdir().unwrap();
        let open = || Folder::open(room.path()).unwrap().hash_secret().clone();
        let secrets: Vec<Secret> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_damaged_hash_secret_is_refused_and_not_replaced() {
        let room = tempfile::tempdir().unwrap();
        Folder::open(room.path()).unwrap();
        let path = room.path().join("secrets/hash.key");
        for damaged in ["", "abc123", "zz", &"0".repeat(63)] {
            std::fs::write(&path, damaged).unwrap();
            let error = Folder::open(room.path()).unwrap_err().to_string();
            assert!(error.contains("hash.key") && error.contains("backup"), "{error}");
            assert!(damaged.is_empty() || !error.contains(damaged), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_master_key_is_made_once_and_missed_when_it_is_gone() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        let path = room.path().join("secrets/master.key");
        let error = folder.master_key(false).unwrap_err().to_string();
        assert!(error.contains("master.key` is gone") && error.contains("`store.master_key`"), "{error}");
        assert!(!path.exists());
        let made = folder.master_key(true).unwrap();
        assert_eq!((mode(&path), made.expose().len()), (0o600, 64));
        assert_eq!(folder.master_key(true).unwrap(), made);
        assert_eq!(folder.master_key(false).unwrap(), made);
        assert_ne!(&made, folder.hash_secret());
        std::fs::write(&path, "5e5e").unwrap();
        for may_be_made in [true, false] {
            let error = folder.master_key(may_be_made).unwrap_err().to_string();
            assert!(error.contains("master key from a backup") && !error.contains("5e5e"), "{error}");
        }
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_a_clear_error() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("data");
        std::fs::write(&path, "").unwrap();
        let error = Folder::open(&path).unwrap_err().to_string();
        assert!(error.starts_with("cannot create the folder `") && error.contains("data"), "{error}");
    }

    #[test]
    fn only_regular_files_of_the_right_name_are_documents() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        let orgs = room.path().join("orgs");
        for name in ["b.toml", "a.toml", ".hidden.toml", ".a.toml.tmp", "a.toml~", "readme.md", "#a.toml#"] {
            std::fs::write(orgs.join(name), "").unwrap();
        }
        std::fs::create_dir(orgs.join("folder.toml")).unwrap();
        std::os::unix::fs::symlink(orgs.join("nowhere"), orgs.join("dangling.toml")).unwrap();
        std::os::unix::fs::symlink(orgs.join("a.toml"), orgs.join("mounted.toml")).unwrap();
        assert_eq!(folder.organisations().unwrap(), ["a", "b", "mounted"]);
    }
}
