//! What may a program do, and for how long?
//!
//! A token has some of its creator's permissions, or all; but what it may is found anew each time it is used, out of
//! what its creator has then. A right that the creator loses, the token loses; an account that is switched off,
//! deleted, or deleted and made again, takes its tokens with it. Only a person in a session makes one: a token that
//! could make tokens could make one with more.

use super::credential::{self, Purpose};
use super::documents::{AccountDocument, Page, Stored, TokenDocument, delete, put};
use super::entries::{Deed, Effect, shown};
use super::error::AccessError;
use super::permissions::{Permission, Reach, Verb};
use super::principal::{Principal, Target, Who};
use super::{Access, permission, seconds};
use crate::store::{Forgotten, Memo, NewMemo, Owner, ResourceId, StoreError};
use palisade_filters::secret::Secret;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The longest that a token lives.
const LIFETIME_MAX: Duration = Duration::from_hours(24 * 366);
/// A token's name, in bytes: it fits a line of a list.
const NAME_BYTES_MAX: usize = 100;
/// That it was used is written no more often than this.
const WRITTEN_EVERY_SECONDS: u64 = 10 * 60;
/// Tokens of one account.
const TOKENS_MAX: usize = 100;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// For people.
    pub name: String,
    /// What it may, of what its creator may; none: all of it.
    pub permissions: Option<Vec<Permission>>,
    /// How long it lives: every token ends.
    pub lifetime: Duration,
}

/// A token as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// Its public id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whose rights it has a part of.
    pub creator: String,
    /// Which part; none: all.
    pub permissions: Option<Vec<Permission>>,
    /// Seconds since 1970.
    pub created: u64,
    /// When it ends.
    pub expires: u64,
    /// When it was used last, to ten minutes.
    pub used: Option<u64>,
}

fn view(id: &ResourceId, document: TokenDocument, used: Option<u64>) -> TokenView {
    TokenView {
        id: id.to_string(),
        name: document.name,
        creator: document.creator,
        permissions: document.permissions,
        created: document.created,
        expires: document.expires,
        used,
    }
}

fn moment(memo: &Memo) -> Option<u64> {
    Some(u64::from_be_bytes(memo.text.as_slice().try_into().ok()?))
}

impl Access {
    /// Who a token is, with the rights it has now.
    pub async fn token(&self, bearer: &str, now: SystemTime) -> Result<Principal, AccessError> {
        let presented = credential::parse(Purpose::Token, bearer).ok_or(AccessError::Unauthenticated)?;
        let (owner, now) = (&presented.owner, seconds(now));
        let found = match self.store.of(owner).get(&self.kinds.tokens, &presented.id).await {
            Err(error) if error.is_of_the_gone() => None,
            found => found?,
        };
        if found.is_none() {
            return Err(AccessError::Unauthenticated);
        }
        let found: Option<Stored<TokenDocument>> =
            self.read(owner, &self.kinds.tokens, &presented.id).await?;
        let found = found.filter(|found| presented.is_that_of(&found.document.sha256));
        let found = found.filter(|found| now < found.document.expires);
        let Stored { id, document, .. } = found.ok_or(AccessError::Unauthenticated)?;
        let creator = ResourceId::new(&document.creator).map_err(StoreError::from)?;
        let account: Option<Stored<AccountDocument>> =
            self.read(owner, &self.kinds.accounts, &creator).await?;
        let account = account.map(|account| account.document);
        let account = account.filter(|account| account.enabled && account.born == document.creator_born);
        let account = account.ok_or(AccessError::Unauthenticated)?;
        if self.is_suspended(owner).await? {
            return Err(AccessError::Suspended);
        }
        let mut principal = self.principal(Who::Token { id: id.clone(), creator }, owner, &account).await?;
        if let Some(listed) = &document.permissions {
            principal.at_home = principal.at_home.only(listed);
            principal.abroad = principal.abroad.only(listed);
        }
        self.used(owner, &id, document.expires, now).await?;
        Ok(principal)
    }

    async fn used(&self, owner: &Owner, id: &ResourceId, expires: u64, now: u64) -> Result<(), AccessError> {
        let (memos, kind) = (self.store.memos(owner), &self.kinds.uses);
        let found = memos.get(kind, id).await?;
        let last = found.as_ref().and_then(moment);
        if last.is_some_and(|last| now < last.saturating_add(WRITTEN_EVERY_SECONDS) && last <= now) {
            return Ok(());
        }
        let text = now.to_be_bytes();
        let memo = NewMemo { kind, id, about: id, expires, text: &text };
        // Who was overtaken was used as well.
        memos.put(&memo, found.map(|memo| memo.version)).await?;
        Ok(())
    }

    /// Makes a token of one's own; its text is shown once.
    pub async fn create_token(
        &self,
        by: &Principal,
        new: &NewToken,
        at: SystemTime,
    ) -> Result<(Secret, TokenView), AccessError> {
        let Who::Account(creator) = by.who() else { return Err(AccessError::NotByToken) };
        let owner = by.home();
        let own = Target { owner, user: Some(by.user()), groups: &[] };
        by.may(permission("api-tokens", Verb::Create)?, &own)?;
        if new.name.is_empty() || new.name.len() > NAME_BYTES_MAX || new.name.chars().any(char::is_control) {
            let problem = format!("a token's name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
            return Err(AccessError::invalid("/name", problem));
        }
        if new.lifetime.is_zero() || new.lifetime > LIFETIME_MAX {
            return Err(AccessError::invalid("/expires", "a token ends, within 366 days"));
        }
        for permission in new.permissions.iter().flatten() {
            let most = by.at_home.reach(*permission).max(by.abroad.reach(*permission));
            if most == Reach::Nothing {
                return Err(AccessError::missing(*permission));
            }
        }
        let all: Vec<Stored<TokenDocument>> = self.all(owner, &self.kinds.tokens).await?;
        if all.iter().filter(|other| other.document.creator == creator.as_str()).count() >= TOKENS_MAX {
            let problem = format!("an account has at most {TOKENS_MAX} tokens; delete one that is not used");
            return Err(AccessError::invalid("/name", problem));
        }
        let (secret, now) = (credential::create(Purpose::Token, owner)?, seconds(at));
        let document = TokenDocument {
            name: new.name.clone(),
            creator: creator.to_string(),
            creator_born: by.born.clone(),
            sha256: secret.sha256,
            permissions: new.permissions.clone(),
            created: now,
            expires: now.saturating_add(new.lifetime.as_secs().max(1)),
        };
        let write = put(&self.kinds.tokens, &secret.id, None, &document)?;
        let made = view(&secret.id, document, None);
        let effect = Effect::default().with(write, None, Some(shown(&made)));
        self.done(&Deed::by(by, owner, "token_created", &secret.id, at), &effect).await?;
        Ok((secret.text, made))
    }

    /// The tokens that one may see: one's own, or all.
    pub async fn tokens(
        &self,
        by: &Principal,
        owner: &Owner,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<TokenView>, AccessError> {
        let reach = by.reach(permission("api-tokens", Verb::Read)?, owner)?;
        let page = self.page(owner, &self.kinds.tokens, after, most, |found| found).await?;
        let mut items = Vec::new();
        for Stored { id, document, .. } in page.items {
            let document: TokenDocument = document;
            if reach == Reach::All || (by.home() == owner && document.creator == by.account().as_str()) {
                let used = self.store.memos(owner).get(&self.kinds.uses, &id).await?;
                items.push(view(&id, document, used.as_ref().and_then(moment)));
            }
        }
        Ok(Page { items, next: page.next })
    }

    /// Takes a token away: one's own, or any.
    pub async fn delete_token(
        &self,
        by: &Principal,
        owner: &Owner,
        id: &str,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        let reach = by.reach(permission("api-tokens", Verb::Delete)?, owner)?;
        let id = ResourceId::new(id).map_err(StoreError::from)?;
        let found: Option<Stored<TokenDocument>> = self.read(owner, &self.kinds.tokens, &id).await?;
        let is_own = |found: &Stored<TokenDocument>| {
            by.home() == owner && found.document.creator == by.account().as_str()
        };
        // What is somebody else's is not there for who has only their own.
        let found = found.filter(|found| reach == Reach::All || is_own(found));
        let found = found.ok_or(AccessError::NotFound { what: "token" })?;
        let uses = [Forgotten::One(self.kinds.uses.clone(), id.clone())];
        let write = delete(&self.kinds.tokens, &id, found.version);
        let before = Some(shown(&view(&id, found.document, None)));
        let effect = Effect::default().with(write, before, None).forgetting(uses);
        self.done(&Deed::by(by, owner, "token_deleted", &id, now), &effect).await?;
        Ok(())
    }
}
