//! Whom of the platform does an organisation let in, as what, and until when?
//!
//! A grant gives one person of the platform a role in the organisation for a while. It stands among the organisation's
//! own resources: its admin sees it, and can end it at any moment; it is looked up with each request. It gives no more
//! than its giver has, and nothing that would outlast it: no accounts, tokens or grants, and no copy of everything.

use super::documents::{AccountDocument, GrantDocument, Page, Stored, delete, put, random_name};
use super::entries::{Deed, Effect, shown};
use super::error::AccessError;
use super::permissions::{Rights, Verb};
use super::principal::{Principal, Target};
use super::{Access, named, permission, seconds};
use crate::store::{OrganisationId, Owner, ResourceId, StoreError};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The longest that somebody is let in at once.
const LIFETIME_MAX: Duration = Duration::from_hours(7 * 24);
/// Why, in bytes.
const REASON_BYTES_MAX: usize = 500;
/// Grants of an organisation at once.
const GRANTS_MAX: usize = 100;

/// A grant to be made.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// The account of the platform.
    pub operator: String,
    /// A role of this organisation.
    pub role: String,
    /// Why, for whoever reads it later.
    pub reason: String,
    /// For how long.
    pub lifetime: Duration,
}

/// A grant as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// Who is let in.
    pub operator: String,
    /// As what.
    pub role: String,
    /// Why.
    pub reason: String,
    /// By whom.
    pub granted_by: String,
    /// Seconds since 1970.
    pub created: u64,
    /// When it ends.
    pub expires: u64,
}

fn view(found: Stored<GrantDocument>) -> GrantView {
    let document = found.document;
    GrantView {
        id: found.id.to_string(),
        operator: document.operator,
        role: document.role,
        reason: document.reason,
        granted_by: document.granted_by,
        created: document.created,
        expires: document.expires,
    }
}

impl Access {
    /// What an organisation lets somebody of the platform do now; none: nothing.
    pub(super) async fn supported(
        &self,
        organisation: &OrganisationId,
        account: &ResourceId,
        born: &str,
        now: u64,
    ) -> Result<Option<Rights>, AccessError> {
        let owner = Owner::Organisation(organisation.clone());
        let grants: Vec<Stored<GrantDocument>> = self.all(&owner, &self.kinds.grants).await?;
        let mut rights: Option<Rights> = None;
        for grant in grants.into_iter().map(|found| found.document) {
            let is_theirs = grant.operator == account.as_str() && grant.operator_born == born;
            if is_theirs && now < grant.expires {
                let given = self.rights(&owner, &grant.role, &owner).await?.for_a_while();
                rights = Some(rights.map_or(given.clone(), |rights| rights.or(&given)));
            }
        }
        Ok(rights)
    }

    /// Lets somebody of the platform in for a while.
    pub async fn grant_support(
        &self,
        by: &Principal,
        owner: &Owner,
        new: &NewGrant,
        at: SystemTime,
    ) -> Result<GrantView, AccessError> {
        by.may(permission("grants", Verb::Create)?, &Target::of(owner))?;
        let operator = named("/operator", &new.operator)?;
        let is_fit =
            (1..=REASON_BYTES_MAX).contains(&new.reason.len()) && !new.reason.chars().any(char::is_control);
        if !is_fit {
            let problem = format!("say why, in 1 to {REASON_BYTES_MAX} bytes without control characters");
            return Err(AccessError::invalid("/reason", problem));
        }
        if new.lifetime.is_zero() || new.lifetime > LIFETIME_MAX {
            return Err(AccessError::invalid(
                "/expires",
                "support is let in for seven days at most; it can be renewed",
            ));
        }
        self.check_role(owner, &new.role).await?;
        self.covered(by, owner, &new.role, &[]).await?;
        let account: Option<Stored<AccountDocument>> =
            self.read(&Owner::Platform, &self.kinds.accounts, &operator).await?;
        let account = account.filter(|account| account.document.enabled);
        let account =
            account.ok_or_else(|| AccessError::invalid("/operator", "the platform has no such account"))?;
        let now = seconds(at);
        let all: Vec<Stored<GrantDocument>> = self.all(owner, &self.kinds.grants).await?;
        let (ended, alive): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|found| found.document.expires <= now);
        if alive.len() >= GRANTS_MAX {
            let problem = format!("an organisation has at most {GRANTS_MAX} grants at once; revoke one");
            return Err(AccessError::invalid("/operator", problem));
        }
        let document = GrantDocument {
            operator: operator.to_string(),
            operator_born: account.document.born,
            role: new.role.clone(),
            reason: new.reason.clone(),
            granted_by: by.actor(),
            created: now,
            expires: now.saturating_add(new.lifetime.as_secs().max(1)),
        };
        let id = ResourceId::new(&random_name()?).map_err(StoreError::from)?;
        let kind = &self.kinds.grants;
        let write = put(kind, &id, None, &document)?;
        let made = view(Stored { id: id.clone(), version: 1, document });
        let effect = ended.into_iter().fold(
            Effect::default().with(write, None, Some(shown(&made))),
            |effect, found| {
                let write = delete(kind, &found.id, found.version);
                effect.with(write, Some(shown(&view(found))), None)
            },
        );
        self.done(&Deed::by(by, owner, "support_granted", &id, at), &effect).await?;
        Ok(made)
    }

    /// Whom an organisation lets in, and let in.
    pub async fn grants(
        &self,
        by: &Principal,
        owner: &Owner,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<GrantView>, AccessError> {
        by.may(permission("grants", Verb::Read)?, &Target::of(owner))?;
        self.page(owner, &self.kinds.grants, after, most, view).await
    }

    /// Ends a grant at once.
    pub async fn revoke_grant(
        &self,
        by: &Principal,
        owner: &Owner,
        id: &str,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        by.may(permission("grants", Verb::Delete)?, &Target::of(owner))?;
        let id = ResourceId::new(id).map_err(StoreError::from)?;
        let found: Option<Stored<GrantDocument>> = self.read(owner, &self.kinds.grants, &id).await?;
        let found = found.ok_or(AccessError::NotFound { what: "grant" })?;
        let write = delete(&self.kinds.grants, &id, found.version);
        let effect = Effect::default().with(write, Some(shown(&view(found))), None);
        self.done(&Deed::by(by, owner, "support_revoked", &id, now), &effect).await?;
        Ok(())
    }
}
