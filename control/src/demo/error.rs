//! Why is there no demo, and what is to be done?

use crate::access::AccessError;
use crate::folder::FolderError;
use std::error::Error;
use std::path::PathBuf;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The address is none.
    #[error("the upstream `{0}` begins with neither `https://` nor `http://`")]
    Upstream(String),
    /// Somebody's documents, such as those of the demo of an earlier version.
    #[error(
        "`{0}` holds documents, and the demo keeps what it makes in a store: serve them as they are with `palisade serve \
         --data-dir {0}`, or give the demo another `--data-dir`"
    )]
    Documents(PathBuf),
    /// Somebody's store.
    #[error(
        "`{0}` has a store that no demo made, and a demo would put accounts there whose passwords lie in a file: give it \
         another `--data-dir`"
    )]
    NotOurs(PathBuf),
    /// What was kept cannot be read.
    #[error("`{0}` is not what the demo wrote there: {1}")]
    Kept(PathBuf, String),
    /// An account has another password by now, or a second factor.
    #[error("the demo's own `{0}` is not let in any more with the password that the demo kept")]
    LockedOut(&'static str),
    /// The API would not.
    #[error("`{asked}` was refused ({status}): {detail}")]
    Refused {
        /// What was asked.
        asked: String,
        /// The status of the answer.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// Accounts cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Something of ours broke.
    #[error("the demo cannot be made: {0}")]
    Broken(Box<dyn Error + Send + Sync>),
}

impl SeedError {
    pub(super) fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken(error.into())
    }
}
