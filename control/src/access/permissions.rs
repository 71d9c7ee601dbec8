//! Which role may do what? One table: roles by kind and verb.
//!
//! A [`Permission`] is a kind and a verb, written `api-keys.create`. How far a role has it, [`Reach`] says. What stands
//! in no row may nobody. `docs/access.md` shows the same table to people, and a test compares both.

use crate::store::Owner;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Look at it.
    Read,
    /// Make a new one.
    Create,
    /// Change it.
    Update,
    /// Take it away.
    Delete,
}

impl Verb {
    /// All of them, in the order of the table's cells.
    pub const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Update, Self::Delete];

    /// As permissions write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Of whose resources a permission holds; each holds of all that the one before holds of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Of nobody's.
    Nothing,
    /// Of one's own.
    Own,
    /// Of one's own, and of those of one's groups.
    Groups,
    /// Of all of the owner's.
    All,
}

/// The reaches of the four verbs.
pub(super) type Cell = [Reach; 4];

/// Roles that come with the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Operator,
    OrgAdmin,
    GroupManager,
    Auditor,
    Member,
}

impl Role {
    pub(super) const ALL: [Self; 5] =
        [Self::Operator, Self::OrgAdmin, Self::GroupManager, Self::Auditor, Self::Member];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::OrgAdmin => "org_admin",
            Self::GroupManager => "group_manager",
            Self::Auditor => "auditor",
            Self::Member => "member",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A row: what the operator may do with the platform's own resources of a kind, and what each role may with an
/// organisation's.
struct Row {
    kind: &'static str,
    platform: Cell,
    operator: Cell,
    org_admin: Cell,
    group_manager: Cell,
    auditor: Cell,
    member: Cell,
}

const N: Reach = Reach::Nothing;
const O: Reach = Reach::Own;
const G: Reach = Reach::Groups;
const A: Reach = Reach::All;
const NONE: Cell = [N; 4];
const READ: Cell = [A, N, N, N];
const FULL: Cell = [A; 4];
/// Made by itself, and by nobody for somebody else; read and taken away by whoever looks after all.
const OWN_MADE: Cell = [A, O, N, A];

const fn row(kind: &'static str, platform: Cell, operator: Cell, of: [Cell; 4]) -> Row {
    let [org_admin, group_manager, auditor, member] = of;
    Row { kind, platform, operator, org_admin, group_manager, auditor, member }
}

/// An organisation's configuration: its admin writes it, its auditor reads it, and the operator does not see it.
const fn configuration(kind: &'static str) -> Row {
    row(kind, NONE, NONE, [FULL, NONE, READ, NONE])
}

/// What the platform alone has.
const fn platform(kind: &'static str) -> Row {
    row(kind, FULL, NONE, [NONE; 4])
}

#[rustfmt::skip]
static TABLE: &[Row] = &[
    //                     the operator's:   on platform  on organisations   org_admin   group_manager  auditor  member
    // Organisations themselves; figures without content.
    row("organisations",                     FULL,        FULL,             [READ,       READ,          READ,    READ]),
    row("usage",                             READ,        READ,             [READ,       [G, N, N, N],  READ,    [O, N, N, N]]),
    row("health",                            READ,        READ,             [READ,       NONE,          READ,    NONE]),
    // What happened: events of requests with their findings, and changes of the configuration.
    row("audit",                             NONE,        NONE,             [READ,       NONE,          READ,    NONE]),
    row("journal",                           READ,        NONE,             [READ,       NONE,          READ,    NONE]),
    // All of an organisation in one document, with its secrets.
    row("exports",                           FULL,        NONE,             [FULL,       NONE,          NONE,    NONE]),
    // People and their keys.
    row("users",                             NONE,        NONE,             [FULL,       [G, N, G, N],  READ,    [O, N, N, N]]),
    row("groups",                            NONE,        NONE,             [FULL,       [G, N, G, N],  READ,    [G, N, N, N]]),
    row("api-keys",                          NONE,        NONE,             [FULL,       [G, G, G, G],  READ,    [O, O, O, O]]),
    // Who may what.
    row("accounts",                          FULL,        NONE,             [FULL,       NONE,          READ,    NONE]),
    row("sessions",                          [A, N, N, A], NONE,            [[A, N, N, A], NONE,        READ,    NONE]),
    row("invitations",                       FULL,        NONE,             [FULL,       NONE,          READ,    NONE]),
    row("api-tokens",                        OWN_MADE,    NONE,             [OWN_MADE,   [O, O, N, O],  [A, O, N, O], [O, O, N, O]]),
    row("roles",                             NONE,        NONE,             [FULL,       NONE,          READ,    NONE]),
    row("grants",                            NONE,        NONE,             [FULL,       NONE,          READ,    NONE]),
    // What an organisation configures.
    configuration("settings"),
    configuration("ip-allowlist"),
    configuration("geo-policy"),
    configuration("dlp-settings"),
    configuration("dlp-rules"),
    configuration("dlp-suppressions"),
    configuration("dictionaries"),
    configuration("exact-match"),
    configuration("credint"),
    configuration("policy-chain"),
    configuration("model-access"),
    configuration("quotas"),
    configuration("routes"),
    configuration("jwt-issuers"),
    row("kill-switches",                     FULL,        NONE,             [FULL,       NONE,          READ,    NONE]),
    // What the platform configures.
    platform("floor"),
    platform("providers"),
    platform("detectors"),
    platform("models"),
    platform("templates"),
    platform("jwt"),
    platform("enrolments"),
];

/// Something that may be allowed: a kind and a verb.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    row: usize,
    verb: Verb,
}

impl Permission {
    /// The permission to do this with resources of this kind; none: no row has the kind, and nobody may.
    pub fn new(kind: &str, verb: Verb) -> Option<Self> {
        TABLE.iter().position(|row| row.kind == kind).map(|row| Self { row, verb })
    }

    /// Reads `api-keys.create`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, verb) = text.rsplit_once('.')?;
        Self::new(kind, Verb::ALL.into_iter().find(|known| known.name() == verb)?)
    }

    /// All there are, row by row.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).flat_map(|row| Verb::ALL.map(|verb| Self { row, verb }))
    }

    /// Its kind.
    pub fn kind(self) -> &'static str {
        TABLE.get(self.row).map_or("", |row| row.kind)
    }

    /// Its verb.
    pub fn verb(self) -> Verb {
        self.verb
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.kind(), self.verb.name())
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Self::parse(&text).ok_or_else(|| {
            let known = "a permission is a kind and a verb, such as `api-keys.create`";
            serde::de::Error::custom(format!("there is no permission `{}`; {known}", text.escape_debug()))
        })
    }
}

/// How far somebody has each permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights(Vec<Cell>);

impl Rights {
    pub(super) fn none() -> Self {
        Self(vec![NONE; TABLE.len()])
    }

    /// Those of a role over what is this owner's. Roles of organisations have none over the platform, and the
    /// operator's are others there than over organisations.
    pub(super) fn of_role(role: Role, over: &Owner) -> Self {
        let cell = |row: &Row| match (role, over) {
            (Role::Operator, Owner::Platform) => row.platform,
            (Role::Operator, Owner::Organisation(_)) => row.operator,
            (_, Owner::Platform) => NONE,
            (Role::OrgAdmin, Owner::Organisation(_)) => row.org_admin,
            (Role::GroupManager, Owner::Organisation(_)) => row.group_manager,
            (Role::Auditor, Owner::Organisation(_)) => row.auditor,
            (Role::Member, Owner::Organisation(_)) => row.member,
        };
        Self(TABLE.iter().map(cell).collect())
    }

    /// Those of a role of the platform over any organisation.
    pub(super) fn over_any_organisation(role: Role) -> Self {
        match role {
            Role::Operator => Self(TABLE.iter().map(|row| row.operator).collect()),
            Role::OrgAdmin | Role::GroupManager | Role::Auditor | Role::Member => Self::none(),
        }
    }

    pub(super) fn reach(&self, permission: Permission) -> Reach {
        let cell = self.0.get(permission.row).copied().unwrap_or(NONE);
        let [read, create, update, delete] = cell;
        match permission.verb {
            Verb::Read => read,
            Verb::Create => create,
            Verb::Update => update,
            Verb::Delete => delete,
        }
    }

    /// Those of them that are listed, as far as they are had.
    pub(super) fn only(&self, listed: &[Permission]) -> Self {
        let kept = |permission: Permission| {
            if listed.contains(&permission) { self.reach(permission) } else { N }
        };
        Self((0..TABLE.len()).map(|row| Verb::ALL.map(|verb| kept(Permission { row, verb }))).collect())
    }

    /// Without the means to let oneself or others in for longer than one was let in: who is let in for a while makes no
    /// accounts, tokens and grants, makes and rotates no key of applications, and takes no copy of everything. Keys,
    /// and issuers that are as good, they may take away, as somebody may have to.
    pub(super) fn for_a_while(&self) -> Self {
        let kept = |permission: Permission| {
            let lasts = ["accounts", "sessions", "invitations", "api-tokens", "roles", "grants"];
            let opens = ["api-keys", "jwt-issuers"];
            let (kind, verb) = (permission.kind(), permission.verb());
            let is_lasting = match verb {
                Verb::Read => false,
                Verb::Create | Verb::Update => lasts.contains(&kind) || opens.contains(&kind),
                Verb::Delete => lasts.contains(&kind),
            };
            if is_lasting || kind == "exports" { N } else { self.reach(permission) }
        };
        Self((0..TABLE.len()).map(|row| Verb::ALL.map(|verb| kept(Permission { row, verb }))).collect())
    }

    /// What either of both has.
    pub(super) fn or(&self, other: &Self) -> Self {
        let most = |permission: Permission| self.reach(permission).max(other.reach(permission));
        Self((0..TABLE.len()).map(|row| Verb::ALL.map(|verb| most(Permission { row, verb }))).collect())
    }

    /// All that are had, with their reach.
    pub(super) fn list(&self) -> Vec<(Permission, Reach)> {
        let all = Permission::all().map(|permission| (permission, self.reach(permission)));
        all.filter(|(_, reach)| *reach > Reach::Nothing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OrganisationId;

    /// A cell as people read it: `R` of all, `CUD own`; verbs of one reach together.
    fn shown(rights: &Rights, kind: &str) -> String {
        let reaches = [(Reach::All, ""), (Reach::Groups, " groups"), (Reach::Own, " own")];
        let letters = |reach: Reach| -> String {
            let has = |verb: &Verb| rights.reach(Permission::new(kind, *verb).unwrap()) == reach;
            let verbs = Verb::ALL.into_iter().filter(has);
            verbs.filter_map(|verb| verb.name().to_uppercase().chars().next()).collect()
        };
        let parts: Vec<String> = reaches
            .into_iter()
            .map(|(reach, words)| (letters(reach), words))
            .filter(|(letters, _)| !letters.is_empty())
            .map(|(letters, words)| format!("{letters}{words}"))
            .collect();
        if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
    }

    #[test]
    fn the_page_for_people_shows_this_very_table() {
        let acme = Owner::Organisation(OrganisationId::new("acme").unwrap());
        let mut columns = vec![Rights::of_role(Role::Operator, &Owner::Platform)];
        columns.extend(Role::ALL.map(|role| Rights::of_role(role, &acme)));
        let rows = TABLE.iter().fold(String::new(), |rows, row| {
            let cells: Vec<String> = columns.iter().map(|rights| shown(rights, row.kind)).collect();
            rows + &format!("| `{}` | {} |\n", row.kind, cells.join(" | "))
        });
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access.md")).unwrap();
        assert!(page.contains(&rows), "docs/access.md should hold these rows, and no others:\n{rows}");
        assert_eq!(page.matches("\n| `").count(), TABLE.len() + 5, "rows of the table, and of the roles");
    }

    #[test]
    fn the_operator_sees_no_content_and_roles_of_organisations_nothing_of_the_platform() {
        let acme = Owner::Organisation(OrganisationId::new("acme").unwrap());
        let operator = Rights::of_role(Role::Operator, &acme);
        let kinds: Vec<&str> = operator.list().into_iter().map(|(permission, _)| permission.kind()).collect();
        assert!(kinds.iter().all(|kind| ["organisations", "usage", "health"].contains(kind)), "{kinds:?}");
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Operator) {
            assert_eq!(Rights::of_role(role, &Owner::Platform).list(), []);
        }
    }

    #[test]
    fn nobody_in_an_organisation_may_more_than_its_admin() {
        let acme = Owner::Organisation(OrganisationId::new("acme").unwrap());
        let admin = Rights::of_role(Role::OrgAdmin, &acme);
        for role in [Role::GroupManager, Role::Auditor, Role::Member] {
            assert_eq!(Rights::of_role(role, &acme).or(&admin), admin, "{role:?}");
        }
        for permission in admin.list().into_iter().map(|(permission, _)| permission) {
            assert!(permission.kind() != "organisations" || permission.verb() == Verb::Read);
        }
    }

    #[test]
    fn a_permission_is_read_as_it_is_written() {
        for permission in Permission::all() {
            assert_eq!(Permission::parse(&permission.to_string()), Some(permission));
        }
        for text in
            ["", "api-keys", "api-keys.", ".read", "api-keys.write", "keys.read", "api-keys.read ", "*.read"]
        {
            assert_eq!(Permission::parse(text), None, "{text}");
        }
        let kinds: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.kind).collect();
        assert_eq!(kinds.len(), TABLE.len(), "a kind has one row");
        let told = serde_json::from_str::<Permission>("\"all\"").unwrap_err().to_string();
        assert!(told.contains("there is no permission `all`; a permission is a kind and a verb"), "{told}");
    }
}
