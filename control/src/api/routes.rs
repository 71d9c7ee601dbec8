//! What can be asked of the API? One table: the router reads it, the guard reads it, and the `OpenAPI` document is
//! written from it. A route that is not here does not exist; one that is here has said who may use it.
//!
//! Routes of resources are made from the table of kinds, two for each kind: for its list and for one of it.

mod table;

pub(super) use table::routes;

use super::call::decoded;
use crate::access::Verb;
use crate::resources::KindRow;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// What all paths begin with.
pub(super) const ROOT: &str = "/api/v1";
/// What an organisation's paths begin with.
pub(super) const ORGANISATION: &str = "/api/v1/orgs/{org}";
/// What the platform's do.
pub(super) const PLATFORM: &str = "/api/v1/platform";

/// A body may be as large as a document that is stored.
const DOCUMENT_BYTES_MAX: usize = crate::store::DOCUMENT_BYTES_MAX;
/// One that is no document is a few names.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// A whole organisation is as large as what is stored at once.
const WHOLE_BYTES_MAX: usize = crate::store::CHANGE_BYTES_MAX;

/// One thing that can be asked.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// With `{name}` where a part is free.
    pub(super) path: String,
    pub(super) action: Action,
    pub(super) guard: Guard,
    pub(super) about: String,
    pub(super) takes: Takes,
    /// The status if it goes well, and what is answered.
    pub(super) gives: (u16, Form),
}

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Anybody: who signs in is not signed in.
    Open,
    /// Whoever is somebody: it is about themselves.
    Signed,
    /// And has a session: a token signs nobody out.
    Session,
    /// Whoever has this permission with the owner in the path.
    May(&'static str, Verb),
    /// Whoever may create what is new, or update what is there; the precondition says which.
    MayPut(&'static str),
}

/// What a route takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Nothing,
    /// Which part of a list, in the query.
    Part,
    /// These names in the query.
    Query(&'static [Queried]),
    /// The version that is meant.
    Version,
    /// A document in place of a version, or of nothing.
    Document(&'static KindRow),
    /// Changes of a version of a document.
    Patch,
    /// JSON of this form, and no version.
    Json(Form),
    /// JSON of this form in place of a version, or of nothing.
    Versioned(Form),
    /// Changes of this form to a version.
    Changes(Form),
    /// A whole owner.
    Whole(Form),
}

/// A name in a query.
#[derive(Debug)]
pub(super) struct Queried {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) of: Values,
}

/// What stands behind it.
#[derive(Debug)]
pub(super) enum Values {
    /// A day such as `2026-11-26`.
    Day,
    /// One of these.
    Words(&'static [&'static str]),
    /// An organisation's id.
    Organisation,
    /// A number from 1 to this.
    Number(usize),
}

/// How JSON looks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Nothing,
    /// A resource's document.
    Kind(&'static KindRow),
    /// A page of resources.
    Kinds(&'static KindRow),
    /// What a type says.
    Of(fn(&mut SchemaGenerator) -> Schema),
    /// An object, whose members its page of the documentation names.
    Object,
    /// A page of such.
    Objects,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Resource(&'static KindRow, Operation),
    Organisation(OrganisationAction),
    Session(SessionAction),
    Account(AccountAction),
    Right(RightAction),
    Usage(UsageAction),
    Enrolment(EnrolmentAction),
    OpenApi,
}

/// With a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    List,
    Read,
    Put,
    Patch,
    Delete,
    /// A key, whose secret is shown once.
    CreateKey,
    RotateKey,
}

/// With an owner as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) enum OrganisationAction {
    Provision,
    InviteAdmin,
    List,
    Read,
    Suspend,
    Resume,
    Erase,
    Export,
    Import,
    Apply,
    Journal,
    SignIns,
}

/// With one's own session.
#[derive(Clone, Copy, Debug)]
pub(super) enum SessionAction {
    SignIn,
    Accept,
    Read,
    SignOut,
    ChangePassword,
    BeginTotp,
    ConfirmTotp,
    RemoveTotp,
    Sessions,
    RevokeSession,
    Me,
}

/// With accounts.
#[derive(Clone, Copy, Debug)]
pub(super) enum AccountAction {
    List,
    Read,
    Update,
    Delete,
    Sessions,
    RevokeSessions,
    RevokeSession,
    Invite,
    Invitations,
    Withdraw,
}

/// With what gives rights.
#[derive(Clone, Copy, Debug)]
pub(super) enum RightAction {
    CreateToken,
    Tokens,
    DeleteToken,
    Roles,
    PutRole,
    DeleteRole,
    Grant,
    Grants,
    RevokeGrant,
}

/// With what was counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum UsageAction {
    Organisation,
    Platform,
}

/// With proxies that are let in.
#[derive(Clone, Copy, Debug)]
pub(super) enum EnrolmentAction {
    List,
    Read,
    Invite,
    Withdraw,
}

/// The names of the free parts of a path with what stands there.
pub(super) type Parts = Vec<(String, String)>;

impl Route {
    fn new(
        method: Method,
        path: impl Into<String>,
        action: Action,
        guard: Guard,
        about: impl Into<String>,
    ) -> Self {
        let (path, about) = (path.into(), about.into());
        Self { method, path, action, guard, about, takes: Takes::Nothing, gives: (200, Form::Object) }
    }

    fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    fn gives(self, status: u16, form: Form) -> Self {
        Self { gives: (status, form), ..self }
    }

    /// What stands in the free parts, if this path is meant. The path is taken apart before its escapes are undone.
    pub(super) fn parts(&self, path: &str) -> Option<Parts> {
        let (mut ours, mut theirs) = (self.path.split('/'), path.split('/'));
        let mut parts = Vec::new();
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Some(parts),
                (Some(our), Some(their)) => {
                    match our.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                        Some(name) => parts.push((name.to_owned(), decoded(their)?)),
                        None if our == their => {}
                        None => return None,
                    }
                }
                (_, _) => return None,
            }
        }
    }

    /// Whether an organisation stands in its path.
    pub(super) fn is_organisations(&self) -> bool {
        self.path.starts_with(ORGANISATION)
    }

    /// What its body may weigh.
    pub(super) fn body_bytes_max(&self) -> usize {
        match self.takes {
            Takes::Nothing | Takes::Part | Takes::Query(_) | Takes::Version => 0,
            Takes::Document(_) | Takes::Patch => DOCUMENT_BYTES_MAX,
            Takes::Json(_) | Takes::Versioned(_) | Takes::Changes(_) => SMALL_BYTES_MAX,
            Takes::Whole(_) => WHOLE_BYTES_MAX,
        }
    }
}

/// The form of a type.
const fn form<T: JsonSchema>() -> Form {
    Form::Of(SchemaGenerator::subschema_for::<T>)
}
