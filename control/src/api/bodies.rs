//! What is written to the API, and what comes back, where it is no resource's document.
//!
//! Times are RFC 3339, durations have units (`90d`). What is a secret is one here as well: it is sent once, in the one
//! answer that is for whoever asked for it.

use super::problem::Problem;
use crate::usage::Counts;
use palisade_filters::secret::Secret;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Reads a body as what it should be.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    crate::resources::read(value).map_err(|error| Problem::invalid(vec![error]))
}

/// Whoever signs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// Its organisation; none: the platform's operators.
    pub(super) organisation: Option<String>,
    /// Its account.
    pub(super) name: String,
    /// Its password.
    pub(super) password: String,
    /// A code of its second factor, or one of its recovery codes.
    pub(super) code: Option<String>,
}

/// A session. The cookie is in the header.
#[derive(Serialize, JsonSchema)]
pub(super) struct SignedIn {
    /// What goes into `X-CSRF-Token` with everything that changes something.
    pub(super) csrf: String,
    /// The session.
    pub(super) session: Value,
}

/// An invitation that is accepted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    /// Its text.
    pub(super) invitation: String,
    /// The password that the account gets.
    pub(super) password: String,
}

/// Another password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword {
    /// The one that holds.
    pub(super) current: String,
    /// The one that is to hold.
    pub(super) new: String,
}

/// The password once more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Password {
    /// It.
    pub(super) password: String,
}

/// A code of a second factor.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    /// It.
    pub(super) code: String,
}

/// Both factors.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordAndCode {
    /// The password.
    pub(super) password: String,
    /// A code.
    pub(super) code: String,
}

/// A second factor, before it is confirmed.
#[derive(Serialize, JsonSchema)]
pub(super) struct Totp {
    /// For typing (base32).
    pub(super) secret: String,
    /// For a QR code.
    pub(super) uri: String,
}

/// Codes that serve once each in place of the second factor.
#[derive(Serialize, JsonSchema)]
pub(super) struct RecoveryCodes {
    /// They.
    pub(super) recovery_codes: Vec<String>,
}

/// A proxy that is to be let in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEnrolment {
    /// For people.
    pub(super) name: String,
    /// The organisations that it may see; none: all.
    pub(super) organisations: Option<Vec<String>>,
    /// How long its token lets it in, such as `1h`, which it is if it is not said; at most `7d`.
    pub(super) lifetime: Option<String>,
}

/// A token that lets a proxy in.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeEnrolment {
    /// The token, for `palisade enroll --token`. It is not shown again.
    pub(super) token: String,
    /// What became of it so far.
    pub(super) enrolment: Value,
}

/// Some proxies.
#[derive(Serialize, JsonSchema)]
pub(super) struct Enrolments {
    /// They.
    pub(super) items: Vec<Value>,
    /// What comes next, if there is more.
    pub(super) next: Option<String>,
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
pub(super) struct Me {
    /// As the journal names it.
    pub(super) actor: String,
    /// Whether it is a token, and no session.
    pub(super) is_token: bool,
    /// Its organisation; none: the platform.
    pub(super) organisation: Option<String>,
    /// Its account.
    pub(super) user: String,
    /// Its groups.
    pub(super) groups: Vec<String>,
    /// What it may do at home, and how far: `all`, `groups` or `own`.
    pub(super) permissions: Vec<Permitted>,
}

/// A permission.
#[derive(Serialize, JsonSchema)]
pub(super) struct Permitted {
    /// Such as `api-keys.create`.
    pub(super) permission: String,
    /// How far.
    pub(super) reach: &'static str,
}

/// A new organisation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Provision {
    /// `a-z`, `0-9` and `-`.
    pub(super) id: String,
    /// For people.
    #[serde(default)]
    pub(super) name: String,
    /// What it begins with: one of the platform's templates.
    pub(super) template: Option<String>,
    /// The account of its first admin, who is invited.
    pub(super) admin: Option<String>,
}

/// Who is to administer an organisation that nobody administers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstAdmin {
    /// The account.
    pub(super) name: String,
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Provisioned {
    /// It.
    pub(super) organisation: Organisation,
    /// The invitation of its first admin, shown once.
    pub(super) invitation: Option<Invited>,
}

/// An organisation.
#[derive(Serialize, JsonSchema)]
pub(super) struct Organisation {
    /// Its id.
    pub(super) id: String,
    /// For people.
    pub(super) name: String,
    /// Whether nobody gets in.
    pub(super) suspended: bool,
    /// Whether nothing of it can be read, as its key is gone: it was erased, and came back with a backup.
    pub(super) unreadable: bool,
}

/// A page of them.
#[derive(Serialize, JsonSchema)]
pub(super) struct Organisations {
    /// They.
    pub(super) items: Vec<Organisation>,
    /// What `after` is for the next page, if there is one.
    pub(super) next: Option<String>,
}

/// A whole document that is to hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// As `orgs/<id>.toml` or `platform.toml` has it, in JSON.
    pub(super) document: serde_json::Map<String, Value>,
    /// Whether what it does not name is deleted.
    #[serde(default)]
    pub(super) prune: bool,
    /// Whether it is only said what would change.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Applied {
    /// What changed, or would.
    pub(super) changes: Vec<Changed>,
    /// What is there and not named, and stays because `prune` is not set.
    pub(super) unnamed: Vec<Changed>,
    /// With `dry_run`: why it would not be accepted as things are.
    pub(super) problems: Vec<Wrong>,
    /// The revision of the change; none: nothing was changed.
    pub(super) revision: Option<u64>,
}

/// Something that would not be accepted.
#[derive(Serialize, JsonSchema)]
pub(super) struct Wrong {
    /// Where in a resource's document, if that is known.
    pub(super) pointer: String,
    /// What.
    pub(super) message: String,
}

/// One resource of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Changed {
    /// `create`, `update`, `delete`, or `keep`.
    pub(super) verb: &'static str,
    /// Its kind.
    pub(super) kind: &'static str,
    /// Its id.
    pub(super) id: String,
    /// Which of its members differ.
    pub(super) members: Vec<String>,
}

/// Who signed in on a day, and who tried to.
#[derive(Serialize, JsonSchema)]
pub(super) struct SignIns {
    /// The day, in UTC.
    pub(super) day: String,
    /// What was counted, by account and address.
    pub(super) items: Vec<SignInsItem>,
}

/// What was counted of one account at one address.
#[derive(Serialize, JsonSchema)]
pub(super) struct SignInsItem {
    /// The account; none: what was typed is none. `other`: of those that had no room.
    pub(super) account: Option<String>,
    /// From where; or `other`.
    pub(super) address: String,
    /// How often somebody signed in.
    pub(super) signed_in: u64,
    /// How often somebody signed out.
    pub(super) signed_out: u64,
    /// How often name, password or code was wrong.
    pub(super) refused: u64,
    /// How often the password was right, and the code that is needed besides was not there.
    pub(super) without_code: u64,
    /// The first time, in seconds since 1970.
    pub(super) first: u64,
    /// The last time.
    pub(super) last: u64,
}

/// How much of an organisation's was used.
#[derive(Serialize, JsonSchema)]
pub(super) struct Usage {
    /// The first day.
    pub(super) from: String,
    /// The last.
    pub(super) to: String,
    /// Sums, by what was asked for; none, if nothing was.
    pub(super) items: Vec<UsageItem>,
    /// All together.
    pub(super) total: UsageItem,
}

/// How much organisations used.
#[derive(Serialize, JsonSchema)]
pub(super) struct OrganisationsUsage {
    /// The first day.
    pub(super) from: String,
    /// The last.
    pub(super) to: String,
    /// Each by its id.
    pub(super) items: Vec<UsageItem>,
    /// What `after` is for the next page, if there is one.
    pub(super) next: Option<String>,
}

/// A sum.
#[derive(Serialize, JsonSchema)]
pub(super) struct UsageItem {
    /// Of what: a day, the id of a key (`jwt` for callers without one), a model, a user, a group, an organisation.
    /// `none`: of what has no such name; `other`: of names that had no room.
    pub(super) name: Option<String>,
    /// Requests that came to an end.
    pub(super) requests: u64,
    /// Those that a policy rule refused, or ended.
    pub(super) blocked: u64,
    /// Those that something was taken out of.
    pub(super) redacted: u64,
    /// Tokens of prompts.
    pub(super) tokens_in: u64,
    /// Tokens of answers.
    pub(super) tokens_out: u64,
    /// What they cost, in millionths of US dollars, as far as prices are known.
    pub(super) cost_microdollars: u64,
    /// Findings, by category.
    pub(super) findings: BTreeMap<String, u64>,
}

impl UsageItem {
    pub(super) fn new(name: Option<String>, counts: &Counts) -> Self {
        Self {
            name,
            requests: counts.requests,
            blocked: counts.blocked,
            redacted: counts.redacted,
            tokens_in: counts.tokens_in,
            tokens_out: counts.tokens_out,
            cost_microdollars: counts.nanodollars / 1_000,
            findings: counts.findings.clone(),
        }
    }
}

/// A new key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// What it is for.
    pub(super) name: String,
    /// Whose it is.
    pub(super) user: Option<String>,
    /// Its groups.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// Models that it may use; none: what its organisation may.
    #[serde(default)]
    pub(super) models: Vec<String>,
    /// When it ends (RFC 3339); none: when it is disabled.
    pub(super) expires: Option<String>,
}

/// A key with its secret, once.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeKey {
    /// It: the one thing that applications need. It cannot be read again.
    pub(super) key: String,
    /// Its public id.
    pub(super) id: String,
    /// What is kept of it.
    pub(super) document: Value,
}

/// Another secret for a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    /// How long the secret before still serves: `24h`. None: it ends at once.
    #[serde(default)]
    pub(super) grace: Option<String>,
}

/// Somebody new.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Invite {
    /// The account.
    pub(super) name: String,
    /// Its role.
    pub(super) role: String,
    /// Its groups.
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

/// An invitation with its text, once.
#[derive(Serialize, JsonSchema)]
pub(super) struct Invited {
    /// What is sent to whom it is for: `POST /api/v1/invitations/accept`.
    pub(super) text: String,
    /// What is kept of it.
    pub(super) invitation: Value,
}

/// What changes of an account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountChange {
    /// Another role.
    pub(super) role: Option<String>,
    /// Other groups.
    pub(super) groups: Option<Vec<String>>,
    /// Whether it may sign in.
    pub(super) enabled: Option<bool>,
    /// `true`: the second factor is taken away, for somebody who lost it.
    #[serde(default)]
    pub(super) remove_totp: bool,
}

/// A new token.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is for.
    pub(super) name: String,
    /// Some of one's own permissions; none: all of them.
    pub(super) permissions: Option<Vec<String>>,
    /// How long it serves: `90d`.
    pub(super) lifetime: String,
}

/// A token, once.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeToken {
    /// It.
    pub(super) secret: String,
    /// What is kept of it.
    pub(super) token: Value,
}

/// A role.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    /// Some of an admin's permissions, such as `api-keys.create`.
    pub(super) permissions: Vec<String>,
}

/// Help for a time.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// The operator's account.
    pub(super) operator: String,
    /// The role that it has here meanwhile.
    pub(super) role: String,
    /// For how long: `4h`.
    pub(super) lifetime: String,
    /// Why, for the journal.
    pub(super) reason: String,
}

/// A duration with a unit.
pub(super) fn duration(pointer: &str, text: &str) -> Result<Duration, Problem> {
    let refuse = |_| Problem::field(pointer, "this is no duration with a unit, such as `90d` or `4h`");
    humantime::parse_duration(text).map_err(refuse)
}

/// A moment.
pub(super) fn moment(pointer: &str, text: &str) -> Result<SystemTime, Problem> {
    let refuse = |_| Problem::field(pointer, "this is no moment such as `2030-01-31T00:00:00Z`");
    humantime::parse_rfc3339(text).map_err(refuse)
}

/// A secret that is shown in this one answer.
pub(super) fn shown(secret: &Secret) -> String {
    secret.expose().to_owned()
}

/// What somebody else wrote as JSON.
pub(super) fn value(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}
