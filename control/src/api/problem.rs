//! What is said when it was not done? Problem details (RFC 9457): one shape, one writer.
//!
//! A problem has a public half, which says what to do, and a private cause, which goes to the log of whoever runs the
//! API and never to its caller.

use crate::access::{AccessError, Refused};
use crate::resources::{ControlError, FieldError};
use crate::store::StoreError;
use crate::usage::UsageError;
use serde_json::{Map, Value};

/// What names of problems begin with. They are names, nothing is found there.
pub(super) const NAMES: &str = "urn:palisade:problem:";
/// How somebody can show who they are (RFC 9110, 11.6.1).
const CHALLENGE: &str = "Bearer realm=\"palisade\"";
/// When somebody may try again where nobody can tell better.
const SOON_SECONDS: u64 = 1;
/// What there is to say of an organisation whose key is gone.
const UNREADABLE: &str = "nothing of this organisation can be read: its key went when it was erased, or a backup was put \
                          back without its keys; put the keys back as well, or take it away with `DELETE`";
/// Organisations that are named in one problem.
const NAMED_MAX: usize = 20;

/// Why it was not done.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) name: Name,
    /// For whoever asked.
    pub(super) detail: String,
    /// What most do not have.
    pub(super) more: Box<More>,
}

/// What else there is to say.
#[derive(Debug, Default)]
pub(super) struct More {
    pub(super) errors: Vec<FieldError>,
    /// Headers besides.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Members besides, by their names.
    members: Map<String, Value>,
    /// For the log alone.
    pub(super) cause: Option<String>,
}

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    BadRequest,
    Unauthenticated,
    SecondFactor,
    Forbidden,
    Suspended,
    NotFound,
    Method,
    Conflict,
    Stale,
    TooLarge,
    MediaType,
    Invalid,
    PreconditionRequired,
    TooManyRequests,
    Internal,
    Unavailable,
}

impl Name {
    /// All of them, for the documentation.
    pub(super) const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::Unauthenticated,
        Self::SecondFactor,
        Self::Forbidden,
        Self::Suspended,
        Self::NotFound,
        Self::Method,
        Self::Conflict,
        Self::Stale,
        Self::TooLarge,
        Self::MediaType,
        Self::Invalid,
        Self::PreconditionRequired,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its status, its name, its title.
    pub(super) fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad-request", "the request cannot be understood"),
            Self::Unauthenticated => (401, "unauthenticated", "nobody is signed in"),
            Self::SecondFactor => (401, "second-factor", "a second factor is needed"),
            Self::Forbidden => (403, "forbidden", "this is not permitted"),
            Self::Suspended => (403, "suspended", "the organisation is suspended"),
            Self::NotFound => (404, "not-found", "there is no such thing"),
            Self::Method => (405, "method-not-allowed", "this cannot be done there"),
            Self::Conflict => (409, "conflict", "it does not fit what is there"),
            Self::Stale => (412, "stale", "somebody else was faster"),
            Self::TooLarge => (413, "too-large", "it is too large"),
            Self::MediaType => (415, "media-type", "the body is of another type"),
            Self::Invalid => (422, "invalid", "what was written cannot be accepted"),
            Self::PreconditionRequired => {
                (428, "precondition-required", "it is not said which version is meant")
            }
            Self::TooManyRequests => (429, "too-many-requests", "there were too many attempts"),
            Self::Internal => (500, "internal", "something is broken on this side"),
            Self::Unavailable => (503, "unavailable", "it cannot be done at the moment"),
        }
    }
}

impl Problem {
    pub(super) fn new(name: Name, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), more: Box::default() }
    }

    /// The same for what is not there, what is somebody else's, and what could never be there.
    pub(super) fn not_found() -> Self {
        Self::new(
            Name::NotFound,
            "there is no such organisation, kind or resource, or it is not yours to see",
        )
    }

    pub(super) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Name::Unauthenticated, detail).with("www-authenticate", CHALLENGE)
    }

    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => "one field is wrong: ".to_owned() + &one.message,
            all => format!("{} fields are wrong; each is named in `errors`", all.len()),
        };
        Self::new(Name::Invalid, detail).naming(errors)
    }

    /// A field of a body that is wrong.
    pub(super) fn field(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { pointer: pointer.into(), message: message.into() }])
    }

    fn internal(cause: String) -> Self {
        let detail = "the request was right; what went wrong stands in the log of the server";
        Self::new(Name::Internal, detail).caused(cause)
    }

    fn later(detail: &str, cause: String) -> Self {
        Self::new(Name::Unavailable, detail).with("retry-after", SOON_SECONDS.to_string()).caused(cause)
    }

    /// With these fields that are wrong.
    pub(super) fn naming(mut self, errors: Vec<FieldError>) -> Self {
        self.more.errors = errors;
        self
    }

    fn caused(mut self, cause: String) -> Self {
        self.more.cause = Some(cause);
        self
    }

    /// With a header besides.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.more.headers.push((name, value.into()));
        self
    }

    fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.members.insert(name.to_owned(), value.into());
        self
    }

    /// As it is written.
    pub(super) fn document(&self) -> Value {
        let (status, name, title) = self.name.row();
        let mut members = self.more.members.clone();
        members.insert("type".to_owned(), format!("{NAMES}{name}").into());
        members.insert("title".to_owned(), title.into());
        members.insert("status".to_owned(), status.into());
        members.insert("detail".to_owned(), self.detail.clone().into());
        if !self.more.errors.is_empty() {
            let errors = self
                .more
                .errors
                .iter()
                .map(|error| serde_json::json!({ "pointer": error.pointer, "message": error.message }));
            members.insert("errors".to_owned(), errors.collect());
        }
        Value::Object(members)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let said = error.to_string();
        match error {
            StoreError::NoOrganisation(_) | StoreError::NotFound { .. } | StoreError::Name(_) => {
                Self::not_found()
            }
            StoreError::OrganisationExists(_) => Self::new(Name::Conflict, said),
            StoreError::Conflict { current, .. } => Self::new(Name::Stale, said).member("version", current),
            StoreError::TooLarge { .. } => Self::new(Name::TooLarge, said),
            StoreError::KeyMissing { .. } => Self::new(Name::Conflict, UNREADABLE).caused(said),
            StoreError::Busy(_) | StoreError::Away(_) | StoreError::DiskFull(_) | StoreError::InUse(_) => {
                Self::later("the store cannot be written or read just now; repeat the request", said)
            }
            StoreError::Moved { .. } => {
                Self::later("others change the same all the time; repeat the request", said)
            }
            StoreError::Empty
            | StoreError::Twice { .. }
            | StoreError::MasterKey(_)
            | StoreError::WrongMasterKey { .. }
            | StoreError::KeyDamaged { .. }
            | StoreError::Damaged { .. }
            | StoreError::Inconsistent { .. }
            | StoreError::NotMigrated(_)
            | StoreError::Schema { .. }
            | StoreError::ServerTooOld { .. }
            | StoreError::Privileged { .. }
            | StoreError::AheadOfFeed { .. }
            | StoreError::Io { .. }
            | StoreError::Random(_)
            | StoreError::Database(_) => Self::internal(said),
        }
    }
}

impl From<UsageError> for Problem {
    fn from(error: UsageError) -> Self {
        let said = error.to_string();
        match error {
            UsageError::Store(error) => error.into(),
            UsageError::Unfit(_) | UsageError::Busy | UsageError::Damaged(_) => Self::internal(said),
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let said = error.to_string();
        match error {
            ControlError::NotFound(_) => Self::not_found(),
            ControlError::Invalid(errors) => Self::invalid(errors),
            ControlError::Stale { current } => Self::new(Name::Stale, said).member("version", current),
            ControlError::Exists(_) | ControlError::Refused(_) => Self::new(Name::Conflict, said),
            ControlError::Breaks { organisations, count } => {
                let named: Vec<Value> =
                    organisations.iter().take(NAMED_MAX).map(|id| id.as_str().into()).collect();
                Self::new(Name::Conflict, said).member("organisations", named).member("count", count)
            }
            ControlError::TooLarge(_) => Self::new(Name::TooLarge, said),
            ControlError::Contended => {
                Self::later("others change the same all the time; repeat the request", said)
            }
            ControlError::Store(error) => error.into(),
            ControlError::Broken(cause) => Self::internal(cause.to_string()),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let said = refused.to_string();
        match refused {
            Refused::NotFound => Self::not_found(),
            Refused::Missing { permission, .. } => {
                Self::new(Name::Forbidden, said).member("permission", permission.to_string())
            }
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let said = error.to_string();
        match error {
            AccessError::Unauthenticated | AccessError::Wrong => Self::unauthenticated(said),
            AccessError::SecondFactor => {
                Self::new(Name::SecondFactor, said).with("www-authenticate", CHALLENGE)
            }
            AccessError::Wait { seconds } => {
                Self::new(Name::TooManyRequests, said).with("retry-after", seconds.to_string())
            }
            AccessError::Busy => Self::later("too many are signing in just now; repeat the request", said),
            AccessError::Refused(refused) => refused.into(),
            AccessError::Suspended => Self::new(Name::Suspended, said),
            AccessError::Invitation => Self::field("/invitation", said),
            AccessError::NotFound { .. } => Self::not_found(),
            AccessError::Exists { .. } => Self::new(Name::Conflict, said),
            AccessError::Invalid { pointer, problem } => Self::field(pointer, problem),
            AccessError::NotByToken => Self::new(Name::Forbidden, said),
            AccessError::Internal(cause) => Self::internal(cause),
            AccessError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_stands_in_the_documentation() {
        let page = include_str!("../../../docs/api.md");
        for name in Name::ALL {
            let (status, name, title) = name.row();
            let row = page.lines().find(|line| line.starts_with(&format!("| {status} |")));
            assert!(row.is_some_and(|row| row.contains(&format!("`{name}`"))), "{status} {name}");
            assert!(!title.is_empty() && !title.ends_with('.'));
        }
    }

    #[test]
    fn a_cause_is_for_the_log_alone() {
        let problem = Problem::from(StoreError::Database("password=hunter2".to_owned()));
        assert!(!problem.document().to_string().contains("hunter2"));
        assert!(problem.more.cause.is_some_and(|cause| cause.contains("hunter2")));
        let problem = Problem::from(StoreError::Away("10.0.0.7:5432".to_owned()));
        assert!(problem.name == Name::Unavailable && !problem.document().to_string().contains("10.0.0.7"));
        assert!(problem.more.headers.iter().any(|(name, _)| *name == "retry-after"));
    }
}
