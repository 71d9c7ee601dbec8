//! Why was it refused, in words that help who may be helped and tell nobody else anything?

use super::permissions::Permission;
use super::principal::Refused;
use crate::store::StoreError;

/// Why somebody was not let in, or something was not done. What it displays is the public message, but of a store's
/// failure: that is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No session or token that holds.
    #[error("this needs a session or an API token that is valid; sign in again")]
    Unauthenticated,
    /// Name, password or code: it is not said which, and not whether there is such an account.
    #[error("name, password or code is wrong")]
    Wrong,
    /// The password is right, and a second factor is asked for.
    #[error("a code of the authenticator, or a recovery code, is needed besides")]
    SecondFactor,
    /// Too many attempts failed.
    #[error("too many attempts failed; try again in {seconds} s")]
    Wait {
        /// From then on an attempt is looked at again.
        seconds: u64,
    },
    /// As many as can be are checked already.
    #[error("too many sign in at once; try again in a moment")]
    Busy,
    /// A right is missing, or it is another organisation's.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The organisation is suspended.
    #[error("the organisation is suspended")]
    Suspended,
    /// An invitation that does not hold.
    #[error("this invitation is not valid (any more); ask for a new one")]
    Invitation,
    /// What was asked for is not there.
    #[error("there is no such {what}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
    },
    /// What should be made is there already.
    #[error("there is such {what} already")]
    Exists {
        /// What should be made, with its article.
        what: &'static str,
    },
    /// Something written is wrong.
    #[error("{problem}")]
    Invalid {
        /// Where, as a JSON pointer.
        pointer: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Only people do that.
    #[error("an API token cannot do this; sign in")]
    NotByToken,
    /// What should work does not: for the operator.
    #[error("{0}")]
    Internal(String),
    /// The store refused or failed. A conflict is the caller's, all else is not for them.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> Self {
        if error.is_of_the_gone() {
            return Self::Refused(Refused::NotFound);
        }
        Self::Store(error)
    }
}

impl AccessError {
    pub(super) fn invalid(pointer: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { pointer, problem: problem.into() }
    }

    pub(super) fn missing(permission: Permission) -> Self {
        Self::Refused(Refused::Missing { permission, reach: super::permissions::Reach::Nothing })
    }
}
