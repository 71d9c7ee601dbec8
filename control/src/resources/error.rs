//! Why was a change not made, and what is to be done?
//!
//! What a caller may read is in the message; what only an operator may, the store's errors, is a source that whoever
//! answers logs and does not send.

use super::compose::ComposeError;
use super::fields::FieldError;
use crate::store::{NameError, OrganisationId, StoreError};
use std::fmt::Write;

/// Organisations that an error names.
pub(super) const NAMED_MAX: usize = 20;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none, or none that this owner has.
    #[error("{0}")]
    NotFound(String),
    /// What was written is wrong.
    #[error("{}", lines(.0))]
    Invalid(Vec<FieldError>),
    /// Somebody else changed it.
    #[error("it has the version {current} by now; read it again and repeat the change")]
    Stale {
        /// The version it has.
        current: u64,
    },
    /// It is there already.
    #[error("{0}")]
    Exists(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// A change of the platform under which organisations could not be used.
    #[error("{}", breaks(.organisations, *.count))]
    Breaks {
        /// Some of them.
        organisations: Vec<OrganisationId>,
        /// How many there are.
        count: usize,
    },
    /// There is a limit.
    #[error("{0}")]
    TooLarge(String),
    /// Others change the same owner all the time.
    #[error("others are changing this all the time; repeat it")]
    Contended,
    /// The store could not. Its words are for operators.
    #[error("the store cannot be used now; repeat it")]
    Store(#[source] StoreError),
    /// Something of ours broke. For operators, too.
    #[error("the change could not be checked; repeat it")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn lines(errors: &[FieldError]) -> String {
    errors.iter().enumerate().fold(String::new(), |mut out, (at, error)| {
        let _ = write!(out, "{}{error}", if at == 0 { "" } else { "; " });
        out
    })
}

fn breaks(organisations: &[OrganisationId], count: usize) -> String {
    let named: Vec<String> = organisations.iter().map(|id| format!("`{id}`")).collect();
    let more = if count > named.len() { format!(" and {} more", count - named.len()) } else { String::new() };
    format!(
        "{count} organisations still use what would be gone: {}{more}; change those first, or use a kill switch",
        named.join(", ")
    )
}

impl ControlError {
    pub(super) fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, message)])
    }
}

impl From<FieldError> for ControlError {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

impl From<NameError> for ControlError {
    fn from(error: NameError) -> Self {
        Self::invalid("", error.to_string())
    }
}

impl From<ComposeError> for ControlError {
    fn from(error: ComposeError) -> Self {
        let ComposeError { kind, id, problem } = &error;
        match (*kind, id) {
            ("", None) => Self::Invalid(vec![problem.clone()]),
            (_, Some(_) | None) => Self::invalid("", error.to_string()),
        }
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoOrganisation(id) => Self::NotFound(format!("there is no organisation `{id}`")),
            StoreError::OrganisationExists(id) => {
                Self::Exists(format!("there is an organisation `{id}` already; choose another id"))
            }
            StoreError::Conflict { current, .. } => Self::Stale { current },
            StoreError::NotFound { kind, id, .. } => {
                Self::NotFound(format!("there is no `{id}` among the `{kind}`"))
            }
            StoreError::TooLarge { what, found, max } => Self::TooLarge(format!(
                "{what}: {found}, at most {max}; make it smaller, or write it in parts"
            )),
            error @ (StoreError::Moved { .. }
            | StoreError::Name(_)
            | StoreError::Empty
            | StoreError::Twice { .. }
            | StoreError::MasterKey(_)
            | StoreError::WrongMasterKey { .. }
            | StoreError::KeyMissing { .. }
            | StoreError::KeyDamaged { .. }
            | StoreError::Damaged { .. }
            | StoreError::Inconsistent { .. }
            | StoreError::NotMigrated(_)
            | StoreError::Schema { .. }
            | StoreError::ServerTooOld { .. }
            | StoreError::Privileged { .. }
            | StoreError::DiskFull(_)
            | StoreError::Busy(_)
            | StoreError::Away(_)
            | StoreError::InUse(_)
            | StoreError::AheadOfFeed { .. }
            | StoreError::Io { .. }
            | StoreError::Random(_)
            | StoreError::Database(_)) => Self::Store(error),
        }
    }
}
