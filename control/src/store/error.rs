//! Why did the store not do it, and what is to be done?
//!
//! One enum for both engines: a caller tells a conflict from a full disk without knowing which database is behind.
//! No message holds a document, a key, or the password of a database.

use super::names::{Kind, NameError, OrganisationId, Owner, ResourceId};
use super::seal::KeyId;
use std::io;
use std::path::PathBuf;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nobody is called that, or no longer.
    #[error("there is no organisation `{0}`")]
    NoOrganisation(OrganisationId),
    /// Ids of organisations are unique.
    #[error("there is an organisation `{0}` already; choose another id")]
    OrganisationExists(OrganisationId),
    /// What should be replaced or deleted is not there.
    #[error("there is no `{id}` among the `{kind}` of {owner}")]
    NotFound {
        /// Whose.
        owner: Owner,
        /// Which kind.
        kind: Kind,
        /// Which one.
        id: ResourceId,
    },
    /// Somebody else was faster.
    #[error(
        "`{id}` among the `{kind}` of {owner} has the version {current}, not {}; read it again and repeat the change",
        .expected.map_or("none".to_owned(), |version| version.to_string())
    )]
    Conflict {
        /// Whose.
        owner: Owner,
        /// Which kind.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// What the writer expected; none: that it is not there.
        expected: Option<u64>,
        /// What it is.
        current: u64,
    },
    /// Something else of the owner was changed.
    #[error("{owner} is at revision {current}, not {read}; read it again and repeat the change")]
    Moved {
        /// Whose.
        owner: Owner,
        /// What the writer had read.
        read: u64,
        /// What it is.
        current: u64,
    },
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is a limit.
    #[error("{what}: {found}, at most {max} are stored at once; make it smaller, or write it in parts")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A revision says that something changed.
    #[error("a change without a write is none; write something")]
    Empty,
    /// Two writes of one change would not be one.
    #[error("`{id}` among the `{kind}` is written twice in one change; write it once")]
    Twice {
        /// Which kind.
        kind: Kind,
        /// Which one.
        id: ResourceId,
    },
    /// The master key cannot be had.
    #[error("the master key: {0}")]
    MasterKey(String),
    /// Another master key.
    #[error(
        "the store was made with the master key {stored}, this is {given}; give the one it was made with"
    )]
    WrongMasterKey {
        /// The id of the one that is needed.
        stored: KeyId,
        /// The id of the one that was given.
        given: KeyId,
    },
    /// The key of an organisation is gone.
    #[error(
        "the key {key} of {owner} is not in the key directory: the organisation was deleted, which destroys it, or a \
         backup was restored without its keys; nothing sealed under it can be read"
    )]
    KeyMissing {
        /// Whose.
        owner: Owner,
        /// Which one.
        key: KeyId,
    },
    /// The key of an organisation is there and is none.
    #[error(
        "the key {key} of {owner} was changed in the key directory; restore it from a backup of the keys"
    )]
    KeyDamaged {
        /// Whose.
        owner: Owner,
        /// Which one.
        key: KeyId,
    },
    /// A row does not hold what was written there.
    #[error(
        "`{id}` among the `{kind}` of {owner} is not what was stored there: its row was changed or moved from \
         outside; restore it from a backup, or delete it"
    )]
    Damaged {
        /// Whose.
        owner: Owner,
        /// Which kind.
        kind: Kind,
        /// Which one.
        id: ResourceId,
    },
    /// A row that holds no document is not what was written.
    #[error("the store's `{place}` holds what was never written there: {what}; restore it from a backup")]
    Inconsistent {
        /// A table, a file.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// No schema at all.
    #[error("there is no store at {0}; make one")]
    NotMigrated(String),
    /// The schema is of another time.
    #[error(
        "the schema of {place} is {found}, this version of the product needs {needed}; {}",
        if found < needed { "migrate the store" } else { "run the version that migrated it" }
    )]
    Schema {
        /// Which store or file.
        place: String,
        /// What is there.
        found: u64,
        /// What is needed.
        needed: u64,
    },
    /// A database of the wrong make.
    #[error("the database server is version {found}; at least {needed} is needed")]
    ServerTooOld {
        /// What it is.
        found: u64,
        /// What is needed.
        needed: u64,
    },
    /// The service could do more than it may.
    #[error(
        "the database role `{role}` {problem}; connect as a role that is nothing but granted by the migration"
    )]
    Privileged {
        /// Which role.
        role: String,
        /// What it could do.
        problem: String,
    },
    /// No room.
    #[error("there is no room left for {0}; nothing was written, make room and repeat it")]
    DiskFull(String),
    /// Somebody else holds what is needed, for longer than anybody should.
    #[error("the database is busy: {0}; repeat it")]
    Busy(String),
    /// The database does not answer.
    #[error("the database cannot be reached: {0}; repeat it once it is back")]
    Away(String),
    /// Another process has the folder.
    #[error("another process uses the store in `{0}`; one process at a time has an embedded store")]
    InUse(PathBuf),
    /// A follower of another store, or of a later state of this one.
    #[error(
        "the feed ends at {last}, nothing follows {after}: the store is another or was restored; read all anew"
    )]
    AheadOfFeed {
        /// What the follower has.
        after: u64,
        /// What there is.
        last: u64,
    },
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
    /// No key can be made.
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// What the database says besides.
    #[error("the database failed: {0}")]
    Database(String),
}

impl StoreError {
    /// Whether there is no such organisation any more: it is not in the store, or came back to it with a backup and
    /// without its key, so that nothing of it can be read.
    pub fn is_of_the_gone(&self) -> bool {
        matches!(self, Self::NoOrganisation(_) | Self::KeyMissing { owner: Owner::Organisation(_), .. })
    }

    /// What the system said of a file.
    pub(super) fn io(doing: &'static str, path: &std::path::Path, cause: io::Error) -> Self {
        if matches!(
            cause.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ) {
            return Self::DiskFull(format!("`{}`", path.display()));
        }
        Self::Io { doing, path: path.to_owned(), cause }
    }
}
