//! Why is somebody not let in, or not answered?

use crate::access::AccessError;
use crate::follow::OriginError;
use crate::store::StoreError;

/// Why it was not done. What is shown says nothing of the inside.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Nobody whom we know.
    #[error("{0}")]
    Stranger(&'static str),
    /// Somebody, but not for that.
    #[error("the certificate is not for {0}")]
    Forbidden(String),
    /// What was written cannot be meant.
    #[error("`{pointer}`: {problem}")]
    Invalid {
        /// Where.
        pointer: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Another certificate is signed later.
    #[error("the newest certificate of this proxy is too young to be renewed; ask again after {0}")]
    TooSoon(String),
    /// More bytes than anything has that is asked here.
    #[error("the body has more bytes than is read of such a request")]
    TooLarge,
    /// Its bytes did not come.
    #[error("the body did not come in time")]
    TooSlow,
    /// The feed is not as far as its follower.
    #[error("the feed ends before that; read all anew")]
    Behind,
    /// Others write all the time.
    #[error("others write all the time; repeat it")]
    Contended,
    /// The store did not do it.
    #[error("the store does not answer")]
    Store(#[from] StoreError),
    /// Nor did it answer.
    #[error("the store does not answer")]
    Away(String),
    /// Something else is broken on this side.
    #[error("something is broken on this side")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl FeedError {
    pub(super) fn broken(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken(cause.into())
    }

    /// The status of HTTP, and the word that programs tell it by.
    pub fn name(&self) -> (u16, &'static str) {
        match self {
            Self::Stranger(_) => (401, "stranger"),
            Self::Forbidden(_) => (403, "forbidden"),
            Self::Invalid { .. } => (422, "invalid"),
            Self::NotFound(_) => (404, "not_found"),
            Self::TooSoon(_) => (429, "too_soon"),
            Self::TooLarge => (413, "too_large"),
            Self::TooSlow => (408, "too_slow"),
            Self::Behind => (410, "behind"),
            Self::Contended | Self::Store(_) | Self::Away(_) => (503, "unavailable"),
            Self::Broken(_) => (500, "broken"),
        }
    }

    /// What is for the log alone.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Store(cause) => Some(cause.to_string()),
            Self::Broken(cause) => Some(cause.to_string()),
            Self::Away(cause) => Some(cause.clone()),
            Self::Stranger(_)
            | Self::Forbidden(_)
            | Self::Invalid { .. }
            | Self::NotFound(_)
            | Self::TooSoon(_)
            | Self::TooLarge
            | Self::TooSlow
            | Self::Behind
            | Self::Contended => None,
        }
    }
}

impl From<AccessError> for FeedError {
    fn from(error: AccessError) -> Self {
        let said = error.to_string();
        if let AccessError::Store(failed) = error { Self::Store(failed) } else { Self::broken(said) }
    }
}

impl From<OriginError> for FeedError {
    fn from(error: OriginError) -> Self {
        match error {
            OriginError::Behind => Self::Behind,
            OriginError::Away(cause) | OriginError::Refused(cause) => Self::Away(cause),
        }
    }
}
