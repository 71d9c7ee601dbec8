//! Is this session one, and whose?
//!
//! A session is a memo about its account: what the browser holds is a random text, what the store holds is its hash.
//! It ends after an hour without use, after twelve in any case, when it is revoked, and when its account is another
//! one than it was at sign-in: other password, role or second factor, switched off, or born anew. The token against
//! requests that other sites forge is a keyed hash of the session's own secret: it belongs to this session, and
//! nobody else can make it.

use super::credential::{self, Purpose};
use super::documents::{AccountDocument, Stored, put_memo};
use super::entries::{Deed, Effect, shown};
use super::error::AccessError;
use super::permissions::Verb;
use super::principal::{Principal, Target, Who};
use super::visits::{Happened, Moment};
use super::{Access, permission, seconds};
use crate::store::{Forgotten, Memo, MemoWrite, NewMemo, Owner, PAGE_MAX, ResourceId, StoreError};
use hmac::{Hmac, KeyInit, Mac};
use palisade_filters::api_key::hex;
use palisade_filters::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;
use std::time::SystemTime;
use subtle::ConstantTimeEq;

/// Without use, a session ends after this.
pub(super) const IDLE_SECONDS: u64 = 60 * 60;
/// In any case it ends after this.
pub(super) const WHOLE_SECONDS: u64 = 12 * 60 * 60;
/// That it was used is written no more often than this.
const WRITTEN_EVERY_SECONDS: u64 = 60;
/// An account has no more at once: the one unused for longest ends.
const SESSIONS_MAX: usize = 50;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SessionDocument {
    sha256: String,
    stamp: String,
    /// Where it was begun from.
    address: String,
    created: u64,
    used: u64,
}

/// A session as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Its public id.
    pub id: String,
    /// Whose.
    pub account: String,
    /// The address it was begun from.
    pub address: String,
    /// Seconds since 1970.
    pub created: u64,
    /// When it was used last, to the minute.
    pub used: u64,
    /// When it ends, used or not.
    pub ends: u64,
}

/// Somebody in a session.
#[derive(Debug)]
pub struct Signed {
    /// Who, with their rights.
    pub principal: Principal,
    /// Their session.
    pub session: SessionView,
    /// What a request that changes something must bring besides the cookie.
    pub csrf: Secret,
}

fn view(id: &ResourceId, account: &ResourceId, document: &SessionDocument) -> SessionView {
    SessionView {
        id: id.to_string(),
        account: account.to_string(),
        address: document.address.clone(),
        created: document.created,
        used: document.used,
        ends: document.created.saturating_add(WHOLE_SECONDS),
    }
}

/// When it ends, unless it is used before.
fn end(document: &SessionDocument) -> u64 {
    let whole = document.created.saturating_add(WHOLE_SECONDS);
    whole.min(document.used.saturating_add(IDLE_SECONDS))
}

fn read(memo: &Memo, now: u64) -> Option<SessionDocument> {
    let document = serde_json::from_slice::<SessionDocument>(&memo.text).ok()?;
    // One from the future was begun under another clock.
    (document.created <= now.saturating_add(IDLE_SECONDS) && now < end(&document)).then_some(document)
}

impl Access {
    /// The token that belongs to a session: what an unsafe request brings in a header, besides the cookie.
    pub fn csrf(cookie: &str) -> Secret {
        // HMAC takes keys of every length; what is no session has no token that is right.
        let mac = Hmac::<Sha256>::new_from_slice(cookie.as_bytes()).map(|mut mac| {
            mac.update(b"palisade csrf 1");
            hex(&mac.finalize().into_bytes())
        });
        Secret::new(mac.unwrap_or_default())
    }

    /// Whether the token is the session's.
    pub fn csrf_is_right(cookie: &str, token: &str) -> bool {
        Self::csrf(cookie).expose().as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Who a session is, with the rights they have now.
    pub async fn session(&self, cookie: &str, now: SystemTime) -> Result<Signed, AccessError> {
        let presented = credential::parse(Purpose::Session, cookie).ok_or(AccessError::Unauthenticated)?;
        let (owner, id, now) = (&presented.owner, &presented.id, seconds(now));
        let memos = self.store.memos(owner);
        let memo = match memos.get(&self.kinds.sessions, id).await {
            Err(error) if error.is_of_the_gone() => None,
            found => found?,
        };
        let memo = memo.ok_or(AccessError::Unauthenticated)?;
        let mut document = read(&memo, now).ok_or(AccessError::Unauthenticated)?;
        if !presented.is_that_of(&document.sha256) {
            return Err(AccessError::Unauthenticated);
        }
        let account: Option<Stored<AccountDocument>> =
            self.read(owner, &self.kinds.accounts, &memo.about).await?;
        let account = account.map(|account| account.document);
        let account = account.filter(|account| account.enabled && account.stamp() == document.stamp);
        let Some(account) = account else {
            memos.delete(&self.kinds.sessions, id).await?;
            return Err(AccessError::Unauthenticated);
        };
        if self.is_suspended(owner).await? {
            return Err(AccessError::Suspended);
        }
        if now >= document.used.saturating_add(WRITTEN_EVERY_SECONDS) {
            document.used = now;
            let written = self.keep(owner, id, &memo.about, Some(memo.version), &document).await?;
            // Somebody else wrote: that it was used, or that it was revoked.
            if !written && memos.get(&self.kinds.sessions, id).await?.is_none() {
                return Err(AccessError::Unauthenticated);
            }
        }
        let session = view(id, &memo.about, &document);
        let principal = self.principal(Who::Account(memo.about), owner, &account).await?;
        Ok(Signed { principal, session, csrf: Self::csrf(cookie) })
    }

    /// Begins one, and counts that somebody signed in; the text is the cookie's.
    pub(super) async fn begin_session(
        &self,
        owner: &Owner,
        account: &Stored<AccountDocument>,
        address: core::net::IpAddr,
        at: SystemTime,
    ) -> Result<(Secret, SessionView), AccessError> {
        let now = seconds(at);
        self.make_room(owner, &account.id).await?;
        let new = credential::create(Purpose::Session, owner)?;
        let document = SessionDocument {
            sha256: new.sha256,
            stamp: account.document.stamp(),
            address: address.to_string(),
            created: now,
            used: now,
        };
        let text = serde_json::to_vec(&document).map_err(|error| AccessError::Internal(error.to_string()))?;
        let session = put_memo(&self.kinds.sessions, &new.id, &account.id, end(&document), &text, None);
        let (address, happened) = (&*document.address, Happened::SignedIn);
        let moment = Moment { owner, account: Some(&account.id), address, happened, at };
        self.count_visit(&moment, &[session]).await?;
        Ok((new.text, view(&new.id, &account.id, &document)))
    }

    async fn keep(
        &self,
        owner: &Owner,
        id: &ResourceId,
        account: &ResourceId,
        version: Option<u64>,
        document: &SessionDocument,
    ) -> Result<bool, AccessError> {
        let text = serde_json::to_vec(document).map_err(|error| AccessError::Internal(error.to_string()))?;
        let expires = end(document);
        let memo = NewMemo { kind: &self.kinds.sessions, id, about: account, expires, text: &text };
        Ok(self.store.memos(owner).put(&memo, version).await?)
    }

    /// Ends the session unused for longest where there are too many.
    async fn make_room(&self, owner: &Owner, account: &ResourceId) -> Result<(), AccessError> {
        let memos = self.store.memos(owner);
        let mut all = memos.about(&self.kinds.sessions, account, None, PAGE_MAX).await?;
        all.sort_by_key(|memo| memo.expires);
        let many = (all.len() + 1).saturating_sub(SESSIONS_MAX);
        for memo in all.iter().take(many) {
            memos.delete(&self.kinds.sessions, &memo.id).await?;
        }
        Ok(())
    }

    /// The sessions of an account: one's own, or with the permission `sessions.read`.
    pub async fn sessions(
        &self,
        by: &Principal,
        owner: &Owner,
        account: &str,
        now: SystemTime,
    ) -> Result<Vec<SessionView>, AccessError> {
        let account = of_account(by, owner, account, Verb::Read)?;
        let memos = self.store.memos(owner).about(&self.kinds.sessions, &account, None, PAGE_MAX).await?;
        let now = seconds(now);
        Ok(memos.iter().filter_map(|memo| Some(view(&memo.id, &account, &read(memo, now)?))).collect())
    }

    /// Ends a session: one's own, or with the permission `sessions.delete`.
    pub async fn revoke_session(
        &self,
        by: &Principal,
        owner: &Owner,
        account: &str,
        id: &str,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        let account = of_account(by, owner, account, Verb::Delete)?;
        let id = ResourceId::new(id).map_err(StoreError::from)?;
        let memos = self.store.memos(owner);
        let found = memos.get(&self.kinds.sessions, &id).await?.filter(|memo| memo.about == account);
        let found = found.ok_or(AccessError::NotFound { what: "session" })?;
        // One of another version of the product is ended as well.
        let before = serde_json::from_slice(&found.text).ok().map(|document| view(&id, &account, &document));
        let before = before.map(|before| shown(&before)).unwrap_or_default();
        let ended = Forgotten::One(self.kinds.sessions.clone(), id.clone());
        let effect = Effect::default().ending(&self.kinds.sessions, &id, before, ended);
        self.done(&Deed::by(by, owner, "session_revoked", &id, now), &effect).await?;
        Ok(())
    }

    /// Ends all sessions of an account.
    pub async fn revoke_sessions(
        &self,
        by: &Principal,
        owner: &Owner,
        account: &str,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        let account = of_account(by, owner, account, Verb::Delete)?;
        let ended = Forgotten::About(self.kinds.sessions.clone(), account.clone());
        let before = json!({ "account": account.as_str(), "sessions": "all" });
        let effect = Effect::default().ending(&self.kinds.sessions, &account, before, ended);
        self.done(&Deed::by(by, owner, "sessions_revoked", &account, now), &effect).await?;
        Ok(())
    }

    /// Ends one's own session.
    pub async fn sign_out(&self, signed: &Signed, now: SystemTime) -> Result<(), AccessError> {
        let owner = signed.principal.home();
        let id = ResourceId::new(&signed.session.id).map_err(StoreError::from)?;
        let (account, address) = (Some(signed.principal.account()), &*signed.session.address);
        let moment = Moment { owner, account, address, happened: Happened::SignedOut, at: now };
        let ended = MemoWrite::Delete { kind: &self.kinds.sessions, id: &id, expected: None };
        self.count_visit(&moment, &[ended]).await?;
        self.told(now, owner, signed.principal.actor(), "signed_out", &id);
        Ok(())
    }
}

/// One's own are everybody's right, in a session: a token is not its creator.
fn of_account(by: &Principal, owner: &Owner, account: &str, verb: Verb) -> Result<ResourceId, AccessError> {
    let id = ResourceId::new(account).map_err(StoreError::from)?;
    if by.home() != owner || *by.who() != Who::Account(id.clone()) {
        by.may(permission("sessions", verb)?, &Target::of(owner))?;
    }
    Ok(id)
}
