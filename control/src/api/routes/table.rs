//! The rows of the table: those of each kind, made from the table of kinds, and those that are there besides.

use super::{
    AccountAction, Action, EnrolmentAction, Form, Guard, ORGANISATION, Operation, OrganisationAction,
    PLATFORM, Queried, ROOT, RightAction, Route, SessionAction, Takes, UsageAction, Values, form,
};
use crate::access::Verb;
use crate::api::bodies;
use crate::api::usage::PAGE_MAX as USAGE_PAGE_MAX;
use crate::resources::{KINDS, KindRow, Side};
use http::Method;

const FROM: Queried = Queried {
    name: "from",
    about: "the first day; 29 days before the last, if it is not said",
    of: Values::Day,
};
const TO: Queried = Queried { name: "to", about: "the last day; today, if it is not said", of: Values::Day };
const DAY: &[Queried] =
    &[Queried { name: "day", about: "in UTC; today, if it is not said", of: Values::Day }];
const USAGE: &[Queried] = &[
    FROM,
    TO,
    Queried {
        name: "by",
        about: "what sums are made by",
        of: Values::Words(&["day", "key", "model", "user", "group"]),
    },
];
const USAGE_OF_ALL: &[Queried] = &[
    FROM,
    TO,
    Queried { name: "after", about: "the `next` of the page before", of: Values::Organisation },
    Queried { name: "limit", about: "organisations of a page at most", of: Values::Number(USAGE_PAGE_MAX) },
];

/// All routes.
pub(in crate::api) fn routes() -> Vec<Route> {
    let mut all = sign_in();
    all.extend(organisations());
    for (side, base) in [(Side::Organisation, ORGANISATION), (Side::Platform, PLATFORM)] {
        all.extend(owner(side, base));
        all.push(usage(side, base));
        all.extend(accounts(base));
        all.extend(invitations(base));
        all.extend(rights(side, base));
        for row in KINDS.iter().filter(|row| row.side == side) {
            all.extend(kind(row, &format!("{base}/{}", row.name)));
        }
    }
    all.extend(enrolments());
    let about = "this document";
    all.push(Route::new(Method::GET, format!("{ROOT}/openapi.json"), Action::OpenApi, Guard::Open, about));
    all
}

/// Who am I, and how do I get in?
fn sign_in() -> Vec<Route> {
    use SessionAction as Do;
    let session = format!("{ROOT}/session");
    let of = |method, path: &str, what, guard, about: &str| {
        Route::new(method, format!("{ROOT}{path}"), Action::Session(what), guard, about)
    };
    vec![
        Route::new(
            Method::POST,
            &session,
            Action::Session(Do::SignIn),
            Guard::Open,
            "sign in; the answer sets the cookie",
        )
        .takes(Takes::Json(form::<bodies::SignIn>()))
        .gives(201, form::<bodies::SignedIn>()),
        of(Method::GET, "/session", Do::Read, Guard::Session, "the session that asks")
            .gives(200, form::<bodies::SignedIn>()),
        of(Method::DELETE, "/session", Do::SignOut, Guard::Session, "sign out").gives(204, Form::Nothing),
        of(
            Method::PUT,
            "/session/password",
            Do::ChangePassword,
            Guard::Session,
            "another password; ends all sessions",
        )
        .takes(Takes::Json(form::<bodies::ChangePassword>()))
        .gives(204, Form::Nothing),
        of(Method::POST, "/session/totp", Do::BeginTotp, Guard::Session, "offer a second factor")
            .takes(Takes::Json(form::<bodies::Password>()))
            .gives(201, form::<bodies::Totp>()),
        of(
            Method::PUT,
            "/session/totp",
            Do::ConfirmTotp,
            Guard::Session,
            "confirm the second factor by a code of it",
        )
        .takes(Takes::Json(form::<bodies::Code>()))
        .gives(200, form::<bodies::RecoveryCodes>()),
        of(Method::POST, "/session/totp/remove", Do::RemoveTotp, Guard::Session, "give the second factor up")
            .takes(Takes::Json(form::<bodies::PasswordAndCode>()))
            .gives(204, Form::Nothing),
        of(Method::GET, "/sessions", Do::Sessions, Guard::Session, "where one is signed in")
            .gives(200, Form::Objects),
        of(Method::DELETE, "/sessions/{id}", Do::RevokeSession, Guard::Session, "sign out elsewhere")
            .gives(204, Form::Nothing),
        of(
            Method::POST,
            "/invitations/accept",
            Do::Accept,
            Guard::Open,
            "accept an invitation with a password",
        )
        .takes(Takes::Json(form::<bodies::Accept>()))
        .gives(201, Form::Object),
        of(Method::GET, "/me", Do::Me, Guard::Signed, "who asks, and what it may do at home")
            .gives(200, form::<bodies::Me>()),
    ]
}

/// Proxies that are let in.
fn enrolments() -> Vec<Route> {
    use EnrolmentAction as Do;
    let (all, one) = (format!("{PLATFORM}/enrolments"), format!("{PLATFORM}/enrolments/{{id}}"));
    let of = |method, path: &str, what, verb, about: &str| {
        Route::new(method, path, Action::Enrolment(what), Guard::May("enrolments", verb), about)
    };
    vec![
        of(Method::GET, &all, Do::List, Verb::Read, "proxies that were let in, or are about to be")
            .takes(Takes::Part)
            .gives(200, form::<bodies::Enrolments>()),
        of(Method::POST, &all, Do::Invite, Verb::Create, "a token that lets one proxy in, once; shown once")
            .takes(Takes::Json(form::<bodies::NewEnrolment>()))
            .gives(201, form::<bodies::MadeEnrolment>()),
        of(Method::GET, &one, Do::Read, Verb::Read, "one of them").gives(200, Form::Object),
        of(Method::DELETE, &one, Do::Withdraw, Verb::Delete, "end its token or its certificates, at once")
            .gives(204, Form::Nothing),
    ]
}

/// Organisations as such.
fn organisations() -> Vec<Route> {
    use OrganisationAction as Do;
    let guard = |verb| Guard::May("organisations", verb);
    let all = format!("{ROOT}/orgs");
    let of = |method, path: &str, what, verb, about: &str| {
        Route::new(method, format!("{ORGANISATION}{path}"), Action::Organisation(what), guard(verb), about)
    };
    let route = |method, what, verb, about: &str| {
        Route::new(method, &all, Action::Organisation(what), guard(verb), about)
    };
    vec![
        route(Method::GET, Do::List, Verb::Read, "all organisations")
            .takes(Takes::Part)
            .gives(200, form::<bodies::Organisations>()),
        route(
            Method::POST,
            Do::Provision,
            Verb::Create,
            "a new organisation, with an invitation for its first admin",
        )
        .takes(Takes::Json(form::<bodies::Provision>()))
        .gives(201, form::<bodies::Provisioned>()),
        of(Method::GET, "", Do::Read, Verb::Read, "one organisation")
            .gives(200, form::<bodies::Organisation>()),
        of(Method::DELETE, "", Do::Erase, Verb::Delete, "erase a suspended organisation, and its key")
            .gives(204, Form::Nothing),
        of(
            Method::POST,
            "/suspend",
            Do::Suspend,
            Verb::Update,
            "nobody of it gets in, and nothing of it is served",
        )
        .gives(204, Form::Nothing),
        of(Method::POST, "/resume", Do::Resume, Verb::Update, "it is served again, as it was")
            .gives(204, Form::Nothing),
        of(
            Method::POST,
            "/first-admin",
            Do::InviteAdmin,
            Verb::Update,
            "invite an admin where there is no account yet",
        )
        .takes(Takes::Json(form::<bodies::FirstAdmin>()))
        .gives(201, form::<bodies::Invited>()),
        Route::new(
            Method::GET,
            format!("{ORGANISATION}/export"),
            Action::Organisation(Do::Export),
            Guard::May("exports", Verb::Read),
            "everything that can be imported, with its secrets",
        ),
        of(Method::POST, "/import", Do::Import, Verb::Create, "a new organisation from an export")
            .takes(Takes::Whole(Form::Object))
            .gives(204, Form::Nothing),
    ]
}

/// An owner as a whole.
fn owner(side: Side, base: &str) -> Vec<Route> {
    use OrganisationAction as Do;
    let of = |method, path: &str, what, guard, about: &str| {
        Route::new(method, format!("{base}{path}"), Action::Organisation(what), guard, about)
    };
    let document = match side {
        Side::Organisation => "settings",
        Side::Platform => "floor",
    };
    vec![
        of(
            Method::POST,
            "/apply",
            Do::Apply,
            Guard::May(document, Verb::Update),
            "make the resources what a whole document says, or say what would change",
        )
        .takes(Takes::Whole(form::<bodies::Apply>()))
        .gives(200, form::<bodies::Applied>()),
        of(
            Method::GET,
            "/journal",
            Do::Journal,
            Guard::May("journal", Verb::Read),
            "who changed what, oldest first",
        )
        .takes(Takes::Part)
        .gives(200, Form::Objects),
        of(
            Method::GET,
            "/sign-ins",
            Do::SignIns,
            Guard::May("journal", Verb::Read),
            "who signed in and out on a day, and who was refused, by account and address",
        )
        .takes(Takes::Query(DAY))
        .gives(200, form::<bodies::SignIns>()),
    ]
}

/// How much was used.
fn usage(side: Side, base: &str) -> Route {
    let (what, takes, form, about) = match side {
        Side::Organisation => (
            UsageAction::Organisation,
            USAGE,
            form::<bodies::Usage>(),
            "requests, findings, tokens and dollars; names of keys, users, groups and models need `api-keys.read`",
        ),
        Side::Platform => (
            UsageAction::Platform,
            USAGE_OF_ALL,
            form::<bodies::OrganisationsUsage>(),
            "requests, findings, tokens and dollars of each organisation",
        ),
    };
    let guard = Guard::May("usage", Verb::Read);
    Route::new(Method::GET, format!("{base}/usage"), Action::Usage(what), guard, about)
        .takes(Takes::Query(takes))
        .gives(200, form)
}

/// People who administer.
fn accounts(base: &str) -> Vec<Route> {
    use AccountAction as Do;
    let of = |method, path: &str, what, kind, verb, about: &str| {
        Route::new(method, format!("{base}/{path}"), Action::Account(what), Guard::May(kind, verb), about)
    };
    let one = "accounts/{account}";
    let sessions = "accounts/{account}/sessions";
    vec![
        of(Method::GET, "accounts", Do::List, "accounts", Verb::Read, "people who administer")
            .takes(Takes::Part)
            .gives(200, Form::Objects),
        of(Method::GET, one, Do::Read, "accounts", Verb::Read, "one of them"),
        of(
            Method::PATCH,
            one,
            Do::Update,
            "accounts",
            Verb::Update,
            "another role, other groups, or disabled",
        )
        .takes(Takes::Changes(form::<bodies::AccountChange>())),
        of(Method::DELETE, one, Do::Delete, "accounts", Verb::Delete, "one fewer")
            .takes(Takes::Version)
            .gives(204, Form::Nothing),
        of(Method::GET, sessions, Do::Sessions, "sessions", Verb::Read, "where somebody is signed in")
            .gives(200, Form::Objects),
        of(
            Method::DELETE,
            sessions,
            Do::RevokeSessions,
            "sessions",
            Verb::Delete,
            "end all of somebody's sessions",
        )
        .gives(204, Form::Nothing),
        of(
            Method::DELETE,
            "accounts/{account}/sessions/{id}",
            Do::RevokeSession,
            "sessions",
            Verb::Delete,
            "end one of somebody's sessions",
        )
        .gives(204, Form::Nothing),
    ]
}

/// People who are to become accounts.
fn invitations(base: &str) -> Vec<Route> {
    use AccountAction as Do;
    let of = |method, path: &str, what, kind, verb, about: &str| {
        Route::new(method, format!("{base}/{path}"), Action::Account(what), Guard::May(kind, verb), about)
    };
    vec![
        of(
            Method::GET,
            "invitations",
            Do::Invitations,
            "invitations",
            Verb::Read,
            "who was invited and has not come",
        )
        .takes(Takes::Part)
        .gives(200, Form::Objects),
        of(
            Method::POST,
            "invitations",
            Do::Invite,
            "invitations",
            Verb::Create,
            "invite somebody; the link is shown once",
        )
        .takes(Takes::Json(form::<bodies::Invite>()))
        .gives(201, form::<bodies::Invited>()),
        of(
            Method::DELETE,
            "invitations/{id}",
            Do::Withdraw,
            "invitations",
            Verb::Delete,
            "take an invitation back",
        )
        .takes(Takes::Version)
        .gives(204, Form::Nothing),
    ]
}

/// What gives rights.
fn rights(side: Side, base: &str) -> Vec<Route> {
    use RightAction as Do;
    let of = |method, path: &str, what, kind, verb, about: &str| {
        Route::new(method, format!("{base}/{path}"), Action::Right(what), Guard::May(kind, verb), about)
    };
    let mut all = vec![
        of(Method::GET, "api-tokens", Do::Tokens, "api-tokens", Verb::Read, "tokens for this API")
            .takes(Takes::Part)
            .gives(200, Form::Objects),
        of(
            Method::POST,
            "api-tokens",
            Do::CreateToken,
            "api-tokens",
            Verb::Create,
            "a token; it is shown once",
        )
        .takes(Takes::Json(form::<bodies::NewToken>()))
        .gives(201, form::<bodies::MadeToken>()),
        of(Method::DELETE, "api-tokens/{id}", Do::DeleteToken, "api-tokens", Verb::Delete, "revoke a token")
            .gives(204, Form::Nothing),
        of(Method::GET, "roles", Do::Roles, "roles", Verb::Read, "roles of one's own")
            .takes(Takes::Part)
            .gives(200, Form::Objects),
        Route::new(
            Method::PUT,
            format!("{base}/roles/{{id}}"),
            Action::Right(Do::PutRole),
            Guard::MayPut("roles"),
            "a role: some of an admin's permissions",
        )
        .takes(Takes::Versioned(form::<bodies::Role>())),
        of(Method::DELETE, "roles/{id}", Do::DeleteRole, "roles", Verb::Delete, "give a role up")
            .takes(Takes::Version)
            .gives(204, Form::Nothing),
    ];
    if side == Side::Organisation {
        all.extend([
            of(
                Method::GET,
                "grants",
                Do::Grants,
                "grants",
                Verb::Read,
                "operators who may help, and until when",
            )
            .takes(Takes::Part)
            .gives(200, Form::Objects),
            of(
                Method::POST,
                "grants",
                Do::Grant,
                "grants",
                Verb::Create,
                "give an operator a role for a time",
            )
            .takes(Takes::Json(form::<bodies::NewGrant>()))
            .gives(201, Form::Object),
            of(Method::DELETE, "grants/{id}", Do::RevokeGrant, "grants", Verb::Delete, "take it back")
                .gives(204, Form::Nothing),
        ]);
    }
    all
}

/// One kind of resources.
fn kind(row: &'static KindRow, all: &str) -> Vec<Route> {
    let one = if row.is_one() { all.to_owned() } else { format!("{all}/{{id}}") };
    let may = |verb| Guard::May(row.permission, verb);
    let of = |method, path: &str, what, guard, about: String| {
        Route::new(method, path, Action::Resource(row, what), guard, about)
    };
    let about = row.about;
    let mut routes = Vec::new();
    if !row.is_one() {
        let list = of(Method::GET, all, Operation::List, may(Verb::Read), about.to_owned());
        routes.push(list.takes(Takes::Part).gives(200, Form::Kinds(row)));
    }
    routes.extend([
        of(Method::GET, &one, Operation::Read, may(Verb::Read), format!("read: {about}"))
            .gives(200, Form::Kind(row)),
        of(
            Method::PUT,
            &one,
            Operation::Put,
            Guard::MayPut(row.permission),
            format!("create or replace: {about}"),
        )
        .takes(Takes::Document(row))
        .gives(200, Form::Kind(row)),
        of(Method::PATCH, &one, Operation::Patch, may(Verb::Update), format!("change: {about}"))
            .takes(Takes::Patch)
            .gives(200, Form::Kind(row)),
        of(Method::DELETE, &one, Operation::Delete, may(Verb::Delete), format!("delete: {about}"))
            .takes(Takes::Version)
            .gives(204, Form::Nothing),
    ]);
    if row.name == "api-keys" {
        let create = "a key of an application; its secret is shown once".to_owned();
        let rotate = "another secret; the one before still serves for a while".to_owned();
        routes.extend([
            of(Method::POST, all, Operation::CreateKey, may(Verb::Create), create)
                .takes(Takes::Json(form::<bodies::NewKey>()))
                .gives(201, form::<bodies::MadeKey>()),
            of(Method::POST, &format!("{one}/rotate"), Operation::RotateKey, may(Verb::Update), rotate)
                .takes(Takes::Versioned(form::<bodies::Rotate>()))
                .gives(200, form::<bodies::MadeKey>()),
        ]);
    }
    routes
}
