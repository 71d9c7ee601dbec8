//! Who has an account, and who may change it?
//!
//! Whoever changes an account must themselves have every right that it has, before and after: so nobody makes
//! themselves more, or takes an account over that may more. The last account that may everything stays.

use super::documents::{AccountDocument, Page, Stored, delete, put};
use super::entries::{Deed, Effect, first_version, shown};
use super::error::AccessError;
use super::permissions::{Rights, Role, Verb};
use super::principal::{Principal, Target, Who};
use super::{Access, joined, named, permission};
use crate::store::{Forgotten, Owner, ResourceId, StoreError};
use palisade_filters::api_key::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// How often a change is tried that is for all accounts as they are, while others change something of the owner.
const TRIES: usize = 8;
/// Groups of an account.
const GROUPS_MAX: usize = 100;

/// An account as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountView {
    /// How it is called.
    pub name: String,
    /// Its role: one that comes with the product, or one of the organisation's.
    pub role: String,
    /// The groups it belongs to; a `group_manager` looks after them.
    pub groups: Vec<String>,
    /// The user whose keys are its own.
    pub user: String,
    /// Whether it can be used.
    pub enabled: bool,
    /// Whether a second factor is asked for.
    pub totp: bool,
    /// Recovery codes that are left.
    pub recovery_codes: usize,
    /// For the next change.
    pub version: u64,
}

/// What is to be changed of an account; the rest stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// Another role.
    pub role: Option<String>,
    /// Other groups.
    pub groups: Option<Vec<String>>,
    /// Switched on or off.
    pub enabled: Option<bool>,
    /// `true`: the second factor is taken away, for somebody who lost it.
    #[serde(default)]
    pub remove_totp: bool,
}

impl AccountDocument {
    /// Changes when its password, role or second factor does, and when it is switched off: a session of another stamp
    /// does not work any more, however the change came about.
    pub(super) fn stamp(&self) -> String {
        let (totp, state) =
            (self.totp.as_deref().unwrap_or_default(), if self.enabled { "on" } else { "off" });
        let parts = [&*self.born, &*self.password, &*self.role, totp, state];
        hex(&Sha256::digest(joined(&parts).as_bytes()))
    }
}

pub(super) fn view(found: Stored<AccountDocument>) -> AccountView {
    let document = found.document;
    AccountView {
        name: found.id.to_string(),
        role: document.role,
        groups: document.groups,
        user: document.user,
        enabled: document.enabled,
        totp: document.totp.is_some(),
        recovery_codes: document.recovery.len(),
        version: found.version,
    }
}

impl Access {
    /// The accounts of an owner.
    pub async fn accounts(
        &self,
        by: &Principal,
        owner: &Owner,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<AccountView>, AccessError> {
        by.may(permission("accounts", Verb::Read)?, &Target::of(owner))?;
        self.page(owner, &self.kinds.accounts, after, most, view).await
    }

    /// One account.
    pub async fn account(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
    ) -> Result<AccountView, AccessError> {
        by.may(permission("accounts", Verb::Read)?, &Target::of(owner))?;
        self.found(owner, name).await.map(view)
    }

    /// Changes an account; its sessions end if it has another role, no second factor, or is switched off.
    pub async fn update_account(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
        expected: u64,
        change: &AccountChange,
        now: SystemTime,
    ) -> Result<AccountView, AccessError> {
        again_if_overtaken(|| self.account_updated(by, owner, name, expected, change, now)).await
    }

    async fn account_updated(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
        expected: u64,
        change: &AccountChange,
        now: SystemTime,
    ) -> Result<AccountView, AccessError> {
        by.may(permission("accounts", Verb::Update)?, &Target::of(owner))?;
        let mut found = self.found(owner, name).await?;
        let shown_before = shown(&view(found.clone()));
        self.covered(by, owner, &found.document.role, &found.document.groups).await?;
        let before = found.document.clone();
        let after = &mut found.document;
        if let Some(role) = &change.role {
            self.check_role(owner, role).await?;
            after.role.clone_from(role);
        }
        if let Some(groups) = &change.groups {
            check_groups(groups)?;
            after.groups.clone_from(groups);
        }
        after.enabled = change.enabled.unwrap_or(after.enabled);
        if change.remove_totp {
            (after.totp, after.recovery) = (None, Vec::new());
        }
        self.covered(by, owner, &after.role, &after.groups).await?;
        let is_one_less = is_admin(owner, &before) && !is_admin(owner, after);
        let read_at = if is_one_less { Some(self.keep_an_admin(owner, &found.id).await?) } else { None };
        let ends = after.stamp() != before.stamp();
        let write = put(&self.kinds.accounts, &found.id, Some(expected), &*after)?;
        let ended = ends.then(|| Forgotten::About(self.kinds.sessions.clone(), found.id.clone()));
        let effect = Effect::default()
            .with(write, Some(shown_before), Some(shown(&view(found.clone()))))
            .forgetting(ended)
            .read_at(read_at);
        let deed = Deed::by(by, owner, "account_changed", &found.id, now);
        found.version = first_version(&self.done(&deed, &effect).await?);
        Ok(view(found))
    }

    /// Deletes an account, with its sessions; its tokens do not work any more.
    pub async fn delete_account(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
        expected: u64,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        again_if_overtaken(|| self.account_deleted(by, owner, name, expected, now)).await
    }

    async fn account_deleted(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
        expected: u64,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        by.may(permission("accounts", Verb::Delete)?, &Target::of(owner))?;
        let found = self.found(owner, name).await?;
        self.covered(by, owner, &found.document.role, &found.document.groups).await?;
        let is_one_less = is_admin(owner, &found.document);
        let read_at = if is_one_less { Some(self.keep_an_admin(owner, &found.id).await?) } else { None };
        let its = [&self.kinds.sessions, &self.kinds.known, &self.kinds.steps, &self.kinds.offers];
        let ended = its.map(|kind| Forgotten::About(kind.clone(), found.id.clone()));
        let write = delete(&self.kinds.accounts, &found.id, expected);
        let effect = Effect::default()
            .with(write, Some(shown(&view(found.clone()))), None)
            .forgetting(ended)
            .read_at(read_at);
        self.done(&Deed::by(by, owner, "account_deleted", &found.id, now), &effect).await?;
        Ok(())
    }

    async fn found(&self, owner: &Owner, name: &str) -> Result<Stored<AccountDocument>, AccessError> {
        let id = named("/name", name)?;
        let found = self.read(owner, &self.kinds.accounts, &id).await?;
        found.ok_or(AccessError::NotFound { what: "account" })
    }

    /// Whoever gives a role has all of it.
    pub(super) async fn covered(
        &self,
        by: &Principal,
        owner: &Owner,
        role: &str,
        groups: &[String],
    ) -> Result<(), AccessError> {
        by.covers(owner, &self.rights(owner, role, owner).await?, groups)?;
        Ok(())
    }

    /// An account that may everything is left besides this one: at the revision that is given back, for which alone
    /// that holds. Of two who take each other the role, one is too late.
    async fn keep_an_admin(&self, owner: &Owner, but: &ResourceId) -> Result<u64, AccessError> {
        let read_at = self.store.of(owner).list(&self.kinds.accounts, None, 1).await?.revision;
        let all: Vec<Stored<AccountDocument>> = self.all(owner, &self.kinds.accounts).await?;
        if all.iter().any(|other| other.id != *but && is_admin(owner, &other.document)) {
            return Ok(read_at);
        }
        let role = admin_of(owner).name();
        Err(AccessError::invalid(
            "/role",
            format!("it is the last account with the role `{role}`; make another first"),
        ))
    }

    /// Somebody, with the rights they have now.
    pub(super) async fn principal(
        &self,
        who: Who,
        owner: &Owner,
        account: &AccountDocument,
    ) -> Result<Principal, AccessError> {
        let at_home = self.rights(owner, &account.role, owner).await?;
        let abroad = match (owner, Role::named(&account.role)) {
            (Owner::Platform, Some(role)) => Rights::over_any_organisation(role),
            (Owner::Platform, None) | (Owner::Organisation(_), _) => Rights::none(),
        };
        Ok(Principal {
            who,
            home: owner.clone(),
            born: account.born.clone(),
            user: account.user.clone(),
            groups: account.groups.clone(),
            at_home,
            abroad,
            support: None,
        })
    }
}

/// The role that may everything of an owner's.
pub(super) fn admin_of(owner: &Owner) -> Role {
    match owner {
        Owner::Platform => Role::Operator,
        Owner::Organisation(_) => Role::OrgAdmin,
    }
}

/// Does it anew, as long as something else of the owner is changed meanwhile.
async fn again_if_overtaken<T, F>(change: impl Fn() -> F) -> Result<T, AccessError>
where
    F: Future<Output = Result<T, AccessError>>,
{
    let mut done = change().await;
    for _ in 1..TRIES {
        if !matches!(done, Err(AccessError::Store(StoreError::Moved { .. }))) {
            break;
        }
        done = change().await;
    }
    done
}

fn is_admin(owner: &Owner, account: &AccountDocument) -> bool {
    account.enabled && account.role == admin_of(owner).name()
}

pub(super) fn check_groups(groups: &[String]) -> Result<(), AccessError> {
    if groups.len() > GROUPS_MAX || groups.iter().any(|group| group.is_empty() || group.len() > 128) {
        return Err(AccessError::invalid(
            "/groups",
            format!("at most {GROUPS_MAX} names of groups, none empty"),
        ));
    }
    Ok(())
}
