//! Is it them, at this door, with this password and this code?
//!
//! Each attempt is counted first, then looked at. What is told apart: wrong (name, password or code, never which one),
//! that a code is needed besides (only after the right password), that it is too early, and that the organisation is
//! suspended (only to who would get in). An account that does not exist, or an organisation, costs the same work.

use super::attempts::Counter;
use super::documents::{AccountDocument, Stored};
use super::entries::{Deed, actor_of};
use super::error::AccessError;
use super::principal::Who;
use super::sessions::{SessionView, Signed};
use super::visits::{Happened, Moment};
use super::{Access, named, password, seconds};
use crate::store::{Owner, ResourceId, StoreError};
use core::net::IpAddr;
use palisade_filters::secret::Secret;
use std::time::SystemTime;

/// What somebody says at the door.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Whose account: an organisation's, or the platform's.
    pub owner: &'a Owner,
    /// How the account is called.
    pub name: &'a str,
    /// Its password.
    pub password: &'a str,
    /// The authenticator's code, or a recovery code.
    pub code: Option<&'a str>,
    /// Where from.
    pub address: IpAddr,
}

/// They are in.
#[derive(Debug)]
pub struct SignedIn {
    /// What the browser keeps, in a cookie that scripts cannot read.
    pub cookie: Secret,
    /// What its requests bring besides.
    pub csrf: Secret,
    /// The session.
    pub session: SessionView,
}

impl Access {
    /// Lets somebody in.
    pub async fn sign_in(&self, attempt: &Attempt<'_>, at: SystemTime) -> Result<SignedIn, AccessError> {
        let now = seconds(at);
        let id = named("/name", attempt.name).ok();
        let by_address = Counter::of_address(attempt.address)?;
        self.begin(&by_address, now).await?;
        let by_name = self.counter_of(attempt.owner, id.as_ref(), attempt.name, attempt.address, now).await?;
        if let Err(early) = self.begin(&by_name, now).await {
            // It was not looked at, so it was no guess.
            self.take_back(&by_address, now).await?;
            return Err(early);
        }
        let found = self.account_at(attempt.owner, id.as_ref()).await;
        let known = found.as_ref().ok().and_then(Option::as_ref).map(|account| account.id.clone());
        let outcome = match found {
            Ok(account) => self.looked_at(attempt, account, at).await,
            Err(failed) => Err(failed),
        };
        match &outcome {
            Ok(signed) => {
                self.forget(&by_name).await?;
                self.take_back(&by_address, now).await?;
                let actor = known.map(|id| actor_of(attempt.owner, &id)).unwrap_or_default();
                self.told(at, attempt.owner, actor, "signed_in", &signed.session.id);
            }
            Err(AccessError::Wrong) => {
                // What was typed as a name may be a password: it is not repeated, unless it is an account's name.
                let why = Happened::Refused;
                self.count_refused(attempt.owner, known.as_ref(), attempt.address, why, at).await?;
                self.told(at, attempt.owner, String::new(), "sign_in_refused", attempt.address);
            }
            // It says nothing of what was guessed, or needs the right password before.
            Err(failed) => {
                if matches!(failed, AccessError::SecondFactor) {
                    let why = Happened::WithoutCode;
                    self.count_refused(attempt.owner, known.as_ref(), attempt.address, why, at).await?;
                }
                self.take_back(&by_name, now).await?;
                self.take_back(&by_address, now).await?;
            }
        }
        outcome
    }

    async fn looked_at(
        &self,
        attempt: &Attempt<'_>,
        account: Option<Stored<AccountDocument>>,
        at: SystemTime,
    ) -> Result<SignedIn, AccessError> {
        let (owner, now) = (attempt.owner, seconds(at));
        let kept = account.as_ref().map(|account| account.document.password.as_str());
        let is_right = self.hashing.is_right(attempt.password, kept).await?;
        let account = account.filter(|account| is_right && account.document.enabled);
        let account = account.ok_or(AccessError::Wrong)?;
        if account.document.totp.is_some() {
            let code = attempt.code.ok_or(AccessError::SecondFactor)?;
            if !self.take_code(owner, account.clone(), code, at).await? {
                return Err(AccessError::Wrong);
            }
        }
        if self.is_suspended(owner).await? {
            return Err(AccessError::Suspended);
        }
        self.remember(owner, &account.id, attempt.address, now).await?;
        let (cookie, session) = self.begin_session(owner, &account, attempt.address, at).await?;
        Ok(SignedIn { csrf: Self::csrf(cookie.expose()), cookie, session })
    }

    async fn account_at(
        &self,
        owner: &Owner,
        id: Option<&ResourceId>,
    ) -> Result<Option<Stored<AccountDocument>>, AccessError> {
        let Some(id) = id else { return Ok(None) };
        match self.store.of(owner).get(&self.kinds.accounts, id).await {
            Ok(None) => Ok(None),
            Err(error) if error.is_of_the_gone() => Ok(None),
            Ok(Some(_)) => self.read(owner, &self.kinds.accounts, id).await,
            Err(failed) => Err(failed.into()),
        }
    }

    /// The account of a session, once its password was given again: what changes how somebody signs in asks for it.
    /// Whoever has a session and guesses waits as at the door.
    pub(super) async fn again(
        &self,
        signed: &Signed,
        password: &str,
        at: SystemTime,
    ) -> Result<Stored<AccountDocument>, AccessError> {
        let now = seconds(at);
        let (owner, Who::Account(id)) = (signed.principal.home(), signed.principal.who()) else {
            return Err(AccessError::NotByToken);
        };
        let session = ResourceId::new(&signed.session.id).map_err(StoreError::from)?;
        let counter = Counter::of_session(&session)?;
        self.begin(&counter, now).await?;
        let account: Option<Stored<AccountDocument>> = self.read(owner, &self.kinds.accounts, id).await?;
        let account = account.ok_or(AccessError::Unauthenticated)?;
        if !self.hashing.is_right(password, Some(&account.document.password)).await? {
            let (address, happened) = (&*signed.session.address, Happened::Refused);
            let moment = Moment { owner, account: Some(id), address, happened, at };
            self.count_visit(&moment, &[]).await?;
            return Err(AccessError::Wrong);
        }
        self.take_back(&counter, now).await?;
        Ok(account)
    }

    /// Gives one's account another password; all its sessions end, this one included. Its tokens stay.
    pub async fn change_password(
        &self,
        signed: &Signed,
        current: &str,
        new: &str,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        let owner = signed.principal.home();
        let mut account = self.again(signed, current, now).await?;
        password::check(new, account.id.as_str(), &self.is_compromised)?;
        let before = account.clone();
        account.document.password = self.hashing.hash(new).await?;
        let deed = Deed::by(&signed.principal, owner, "password_changed", &before.id, now);
        self.altered(&deed, before.clone(), &account, true).await?;
        Ok(())
    }
}
