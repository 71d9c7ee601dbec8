//! How does somebody come by an account, the first one of all included?
//!
//! By a link: whoever has it chooses a password, and the account is made and the invitation gone in one change, so
//! that it is used once. It gives no more than its inviter has when it is used. The very first operator is invited at
//! the first start, and never again; the first admin of an organisation when it is provisioned, while nobody has an
//! account there.

use super::accounts::{self, AccountView, admin_of, check_groups};
use super::credential::{self, Purpose};
use super::documents::{
    AccountDocument, InvitationDocument, Inviter, Page, Stored, delete, put, random_name,
};
use super::entries::{Deed, Effect, ITSELF, actor_of, first_version, shown};
use super::error::AccessError;
use super::permissions::Verb;
use super::principal::{Principal, Target, Who};
use super::{Access, named, password, permission, seconds};
use crate::store::{OrganisationId, Owner, ResourceId, StoreError};
use palisade_filters::secret::Secret;
use serde::Serialize;
use std::time::SystemTime;

/// An invitation can be used for a week.
const LIFETIME_SECONDS: u64 = 7 * 24 * 60 * 60;
/// The account of the first start.
const FIRST: &str = "operator";

/// Who is to be invited.
#[derive(Clone, Debug)]
pub struct Invite {
    /// How the account will be called: a name, or an address of mail.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its groups.
    pub groups: Vec<String>,
}

/// An invitation as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvitationView {
    /// Its public id.
    pub id: String,
    /// How the account will be called.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Who invited; none: the product itself.
    pub inviter: Option<String>,
    /// Seconds since 1970.
    pub created: u64,
    /// Until when it can be used.
    pub expires: u64,
    /// For withdrawing it.
    pub version: u64,
}

/// An invitation, with what is shown once.
#[derive(Debug)]
pub struct Link {
    /// What is given to who is invited.
    pub text: Secret,
    /// The invitation.
    pub invitation: InvitationView,
}

fn view(found: Stored<InvitationDocument>) -> InvitationView {
    let document = found.document;
    InvitationView {
        id: found.id.to_string(),
        name: document.name,
        role: document.role,
        groups: document.groups,
        inviter: document.inviter.map(|inviter| inviter.account),
        created: document.created,
        expires: document.expires,
        version: found.version,
    }
}

impl Access {
    /// At the first start: an invitation for the first operator, to be shown once. Ever after: none, whether it was
    /// used or not.
    pub async fn bootstrap(&self, at: SystemTime) -> Result<Option<Link>, AccessError> {
        let owner = Owner::Platform;
        let platform = self.store.platform();
        if platform.get(&self.kinds.bootstrap, &self.kinds.only).await?.is_some()
            || !platform.list(&self.kinds.accounts, None, 1).await?.resources.is_empty()
        {
            return Ok(None);
        }
        let (secret, id, document) =
            invitation(&owner, FIRST, admin_of(&owner).name(), &[], None, seconds(at))?;
        let done = put(
            &self.kinds.bootstrap,
            &self.kinds.only,
            None,
            &serde_json::json!({ "at": document.created }),
        )?;
        let write = put(&self.kinds.invitations, &id, None, &document)?;
        let invitation = view(Stored { id: id.clone(), version: 1, document });
        let effect = Effect::default().beside(done).with(write, None, Some(shown(&invitation)));
        let actor = ITSELF.to_owned();
        let deed = Deed { owner: &owner, actor, action: "bootstrapped", object: &id, at };
        match self.done(&deed, &effect).await {
            Ok(_) => Ok(Some(Link { text: secret, invitation })),
            // Another process was faster, and shows its own.
            Err(AccessError::Store(StoreError::Conflict { .. })) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// An invitation for another operator, by whoever has the store and its master key: where all operators are gone.
    pub async fn recover_operator(&self, at: SystemTime) -> Result<Link, AccessError> {
        let name = format!("{FIRST}-{}", random_name()?.get(..8).unwrap_or_default());
        let (owner, actor) = (Owner::Platform, ITSELF.to_owned());
        self.invited(&owner, &name, admin_of(&owner).name(), &[], None, actor, at).await
    }

    /// Invites the first admin of an organisation, on behalf of who provisions it; once somebody has an account there,
    /// that is its own admins' business. The journal names who it is.
    pub async fn invite_first_admin(
        &self,
        organisation: &OrganisationId,
        name: &str,
        by: &str,
        at: SystemTime,
    ) -> Result<Link, AccessError> {
        let owner = Owner::Organisation(organisation.clone());
        if !self.store.of(&owner).list(&self.kinds.accounts, None, 1).await?.resources.is_empty() {
            return Err(AccessError::Exists {
                what: "an account of this organisation; its admins invite others",
            });
        }
        self.invited(&owner, name, admin_of(&owner).name(), &[], None, by.to_owned(), at).await
    }

    /// Invites somebody to an account with no more rights than one's own.
    pub async fn invite(
        &self,
        by: &Principal,
        owner: &Owner,
        invite: &Invite,
        at: SystemTime,
    ) -> Result<Link, AccessError> {
        by.may(permission("invitations", Verb::Create)?, &Target::of(owner))?;
        // Only who has an account there has rights there that can be looked up when the invitation is used.
        let Who::Account(account) = by.who() else { return Err(AccessError::NotByToken) };
        if by.home() != owner {
            return Err(AccessError::missing(permission("invitations", Verb::Create)?));
        }
        self.check_role(owner, &invite.role).await?;
        check_groups(&invite.groups)?;
        self.covered(by, owner, &invite.role, &invite.groups).await?;
        let inviter = Inviter { account: account.to_string(), born: by.born.clone() };
        self.invited(owner, &invite.name, &invite.role, &invite.groups, Some(inviter), by.actor(), at).await
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the invitation")]
    async fn invited(
        &self,
        owner: &Owner,
        name: &str,
        role: &str,
        groups: &[String],
        inviter: Option<Inviter>,
        actor: String,
        at: SystemTime,
    ) -> Result<Link, AccessError> {
        let account = named("/name", name)?;
        if self.store.of(owner).get(&self.kinds.accounts, &account).await?.is_some() {
            return Err(AccessError::Exists { what: "an account" });
        }
        let (text, id, document) = invitation(owner, name, role, groups, inviter, seconds(at))?;
        let write = put(&self.kinds.invitations, &id, None, &document)?;
        let mut invitation = view(Stored { id: id.clone(), version: 0, document });
        let effect = Effect::default().with(write, None, Some(shown(&invitation)));
        let deed = Deed { owner, actor, action: "invited", object: &id, at };
        invitation.version = first_version(&self.done(&deed, &effect).await?);
        Ok(Link { text, invitation })
    }

    /// Makes the account of whoever has the link, with the password they chose. They sign in then.
    pub async fn accept(
        &self,
        text: &str,
        password: &str,
        at: SystemTime,
    ) -> Result<AccountView, AccessError> {
        let presented = credential::parse(Purpose::Invite, text).ok_or(AccessError::Invitation)?;
        let owner = &presented.owner;
        let invitation = self.alive(owner, &presented, seconds(at)).await?;
        password::check(password, &invitation.document.name, &self.is_compromised)?;
        let account = named("/name", &invitation.document.name)?;
        let document = AccountDocument {
            role: invitation.document.role.clone(),
            groups: invitation.document.groups.clone(),
            user: invitation.document.name.clone(),
            enabled: true,
            born: random_name()?,
            password: self.hashing.hash(password).await?,
            totp: None,
            recovery: Vec::new(),
        };
        let mut made = accounts::view(Stored { id: account.clone(), version: 0, document: document.clone() });
        let mut effect = Effect::default();
        if let (Owner::Organisation(_), None) = (owner, &invitation.document.inviter) {
            // The first account is one: who could have invited to it twice does not come in later by the second link.
            let at = serde_json::json!({ "at": seconds(at) });
            effect = effect.beside(put(&self.kinds.bootstrap, &self.kinds.only, None, &at)?);
        }
        let (id, version) = (invitation.id.clone(), invitation.version);
        let effect = effect
            .with(delete(&self.kinds.invitations, &id, version), Some(shown(&view(invitation))), None)
            .with(put(&self.kinds.accounts, &account, None, &document)?, None, Some(shown(&made)));
        let (actor, action) = (actor_of(owner, &account), "account_made");
        let deed = Deed { owner, actor, action, object: &account, at };
        let accepted = self.done(&deed, &effect).await.map_err(|error| {
            let AccessError::Store(store) = &error else { return error };
            if matches!(store, StoreError::Conflict { kind, .. } if *kind == self.kinds.accounts) {
                return AccessError::Exists { what: "an account" };
            }
            // Somebody else used it at the same moment.
            let is_used = matches!(store, StoreError::NotFound { .. } | StoreError::Conflict { .. });
            if is_used { AccessError::Invitation } else { error }
        })?;
        made.version = accepted.versions.last().copied().unwrap_or(0);
        Ok(made)
    }

    /// An invitation that can be used: it is the one, in time, and its inviter still has what it gives.
    async fn alive(
        &self,
        owner: &Owner,
        presented: &credential::WellFormed,
        now: u64,
    ) -> Result<Stored<InvitationDocument>, AccessError> {
        let found = match self.store.of(owner).get(&self.kinds.invitations, &presented.id).await {
            Err(error) if error.is_of_the_gone() => None,
            found => found?,
        };
        if found.is_none() {
            return Err(AccessError::Invitation);
        }
        let found: Option<Stored<InvitationDocument>> =
            self.read(owner, &self.kinds.invitations, &presented.id).await?;
        let found = found.filter(|found| presented.is_that_of(&found.document.sha256));
        let found = found.filter(|found| now < found.document.expires).ok_or(AccessError::Invitation)?;
        if self.is_suspended(owner).await? {
            return Err(AccessError::Suspended);
        }
        if let Some(inviter) = &found.document.inviter {
            let id = ResourceId::new(&inviter.account).map_err(StoreError::from)?;
            let account: Option<Stored<AccountDocument>> =
                self.read(owner, &self.kinds.accounts, &id).await?;
            let account = account.map(|account| account.document);
            let account = account.filter(|account| account.enabled && account.born == inviter.born);
            let account = account.ok_or(AccessError::Invitation)?;
            let inviter = self.principal(Who::Account(id), owner, &account).await?;
            inviter
                .may(permission("invitations", Verb::Create)?, &Target::of(owner))
                .map_err(|_| AccessError::Invitation)?;
            self.covered(&inviter, owner, &found.document.role, &found.document.groups)
                .await
                .map_err(|_| AccessError::Invitation)?;
        }
        Ok(found)
    }

    /// The invitations that were not used, those included whose time is over.
    pub async fn invitations(
        &self,
        by: &Principal,
        owner: &Owner,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<InvitationView>, AccessError> {
        by.may(permission("invitations", Verb::Read)?, &Target::of(owner))?;
        self.page(owner, &self.kinds.invitations, after, most, view).await
    }

    /// Withdraws an invitation.
    pub async fn withdraw_invitation(
        &self,
        by: &Principal,
        owner: &Owner,
        id: &str,
        expected: u64,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        by.may(permission("invitations", Verb::Delete)?, &Target::of(owner))?;
        let id = ResourceId::new(id).map_err(StoreError::from)?;
        let before: Option<Stored<InvitationDocument>> =
            self.read(owner, &self.kinds.invitations, &id).await?;
        let write = delete(&self.kinds.invitations, &id, expected);
        let effect = Effect::default().with(write, before.map(|before| shown(&view(before))), None);
        self.done(&Deed::by(by, owner, "invitation_withdrawn", &id, now), &effect).await?;
        Ok(())
    }
}

fn invitation(
    owner: &Owner,
    name: &str,
    role: &str,
    groups: &[String],
    inviter: Option<Inviter>,
    now: u64,
) -> Result<(Secret, ResourceId, InvitationDocument), AccessError> {
    let new = credential::create(Purpose::Invite, owner)?;
    let document = InvitationDocument {
        name: name.to_owned(),
        role: role.to_owned(),
        groups: groups.to_vec(),
        sha256: new.sha256,
        inviter,
        created: now,
        expires: now.saturating_add(LIFETIME_SECONDS),
    };
    Ok((new.text, new.id, document))
}
