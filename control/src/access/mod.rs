//! Who may change what we believe, and how do they prove who they are?
//!
//! [`Access`] knows accounts, sessions, API tokens, roles, invitations and support grants, over the store. It answers
//! two questions: who is this ([`Access::session`], [`Access::token`]), and may they do that ([`Principal::may`]).
//! Rights are looked up with each request, never carried along: what is taken away is gone at once.
//!
//! Needs the store, and the time as an argument. Proves: a token and an invitation never give more than whoever made
//! them has at that moment; a session that was revoked, or whose account has another password, role or second factor,
//! never works again; a code is taken once, whoever tries it at once; who guesses waits longer and longer, and learns
//! neither which accounts there are nor which half was wrong; no change is made without its entry in the journal. Of
//! passwords, codes and tokens, hashes are kept.
//! Does not: know HTTP, cookies' attributes, or what the kinds of resources mean.

mod accounts;
mod attempts;
pub(crate) mod credential;
mod documents;
mod entries;
mod error;
mod grants;
mod invitations;
mod password;
mod permissions;
mod principal;
mod roles;
mod second_factor;
mod sessions;
mod sign_in;
mod tokens;
mod totp;
mod visits;

pub use accounts::{AccountChange, AccountView};
pub(crate) use documents::SESSIONS;
pub use documents::{KINDS, Page};
pub use error::AccessError;
pub use grants::{GrantView, NewGrant};
pub use invitations::{InvitationView, Invite, Link};
pub use password::Cost;
pub use permissions::{Permission, Reach, Verb};
pub use principal::{Principal, Refused, Target, Who};
pub use roles::RoleView;
pub use second_factor::TotpOffer;
pub use sessions::{SessionView, Signed};
pub use sign_in::{Attempt, SignedIn};
pub use tokens::{NewToken, TokenView};
pub use visits::Visit;

use crate::store::{Owner, ResourceId, Store};
use documents::Kinds;
use password::Hashing;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a password is in a list of leaked ones.
pub type Compromised = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;
/// Who is told of everything that happens here.
pub type Witness = Arc<dyn Fn(&AccessEvent) + Send + Sync>;

/// Something that happened, for the log. It holds no secret.
#[derive(Clone, Debug)]
pub struct AccessEvent {
    /// When.
    pub at: SystemTime,
    /// Whose account, token, grant it was about.
    pub owner: Owner,
    /// Who did it: [`Principal::actor`], or how an account is called that signs in.
    pub actor: String,
    /// What: `signed_in`, `token_created`.
    pub action: &'static str,
    /// With what: its id.
    pub object: String,
}

/// Accounts, sessions, tokens, roles, invitations and grants.
pub struct Access {
    store: Arc<Store>,
    kinds: Kinds,
    hashing: Hashing,
    is_compromised: Compromised,
    witness: Witness,
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Access")
    }
}

impl Access {
    /// Over a store; [`Cost::OWASP`] is what hashes of passwords cost.
    pub fn new(
        store: Arc<Store>,
        cost: Cost,
        is_compromised: Compromised,
        witness: Witness,
    ) -> Result<Self, AccessError> {
        Ok(Self { store, kinds: Kinds::new()?, hashing: Hashing::new(cost)?, is_compromised, witness })
    }

    /// Adds to a caller's rights what the organisation lets it do for a while: asked once for a request about an
    /// organisation's resources, before [`Principal::may`]. Only a person of the platform gets any, by a session.
    pub async fn enter(
        &self,
        principal: Principal,
        owner: &Owner,
        now: SystemTime,
    ) -> Result<Principal, AccessError> {
        let (Owner::Platform, Owner::Organisation(organisation)) = (&principal.home, owner) else {
            return Ok(principal);
        };
        let Who::Account(account) = &principal.who else { return Ok(principal) };
        let rights = self.supported(organisation, account, &principal.born, seconds(now)).await?;
        let support = rights.map(|rights| (organisation.clone(), rights));
        Ok(Principal { support, ..principal })
    }

    /// Whether an organisation is suspended. What cannot be read is.
    async fn is_suspended(&self, owner: &Owner) -> Result<bool, AccessError> {
        let Owner::Organisation(_) = owner else { return Ok(false) };
        let status = self.store.of(owner).get(&self.kinds.status, &self.kinds.only).await?;
        let Some(status) = status else { return Ok(false) };
        let document = serde_json::from_str::<serde_json::Value>(status.document.get()).ok();
        let suspended = document.and_then(|document| match document.as_object()?.get("suspended") {
            None => Some(false),
            Some(suspended) => suspended.as_bool(),
        });
        Ok(suspended.unwrap_or(true))
    }
}

/// Texts with their lengths, so that no two lists of them read the same.
fn joined(parts: &[&str]) -> String {
    parts.iter().fold(String::new(), |text, part| text + &part.len().to_string() + ":" + part)
}

/// Seconds since 1970.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A permission of the table.
fn permission(kind: &'static str, verb: Verb) -> Result<Permission, AccessError> {
    Permission::new(kind, verb)
        .ok_or_else(|| AccessError::Internal(format!("no row of the table has `{kind}`")))
}

/// How an account, a user, a role is called: an id without capitals, or `Ann` and `ann` would be two people.
fn named(pointer: &'static str, text: &str) -> Result<ResourceId, AccessError> {
    let id = ResourceId::new(text).map_err(|wrong| AccessError::invalid(pointer, wrong.to_string()))?;
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(AccessError::invalid(pointer, "a name is written in small letters"));
    }
    Ok(id)
}
