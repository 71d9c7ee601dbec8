//! What does somebody need besides a password, and what if they lose it?
//!
//! An authenticator's secret is offered, and becomes the account's once a code of it was shown. With it come ten
//! recovery codes, shown once and kept as hashes; each can be used once. A code of a step is taken once: the last
//! step is kept, and of several who bring it at once, one is first.

use super::accounts::view;
use super::credential::hashed;
use super::documents::{AccountDocument, Stored, put};
use super::entries::{Deed, Effect, actor_of, shown};
use super::error::AccessError;
use super::principal::Who;
use super::sessions::Signed;
use super::{Access, seconds, totp};
use crate::store::{Accepted, Forgotten, NewMemo, Owner, ResourceId, StoreError};
use palisade_filters::secret::Secret;
use std::time::SystemTime;

/// Recovery codes of an account.
const CODES: usize = 10;
/// Random bits of one: nobody guesses 80 of them, so a plain hash keeps them.
const CODE_BYTES: usize = 10;
/// An offer is good for so long.
const OFFER_SECONDS: u64 = 15 * 60;
/// The last step is kept until no code of it can be shown any more, whatever clocks do.
const STEP_KEPT_SECONDS: u64 = 24 * 60 * 60;
/// Whoever is overtaken so often is one of very many.
const TRIES: usize = 16;

/// The secret of an authenticator, shown once.
#[derive(Debug)]
pub struct TotpOffer {
    /// For typing.
    pub secret: Secret,
    /// For a picture that the authenticator reads.
    pub uri: Secret,
}

impl Access {
    /// Offers a secret for one's authenticator; it is not in use before [`Access::confirm_totp`].
    pub async fn begin_totp(
        &self,
        signed: &Signed,
        password: &str,
        at: SystemTime,
    ) -> Result<TotpOffer, AccessError> {
        let (owner, now) = (signed.principal.home(), seconds(at));
        let account = self.again(signed, password, at).await?;
        if account.document.totp.is_some() {
            return Err(AccessError::Exists { what: "an authenticator" });
        }
        let mut secret = [0; totp::SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(StoreError::Random)?;
        let whose = match owner {
            Owner::Platform => account.id.to_string(),
            Owner::Organisation(id) => format!("{id}:{}", account.id),
        };
        let (text, uri) = totp::shown(&secret, &whose);
        let (kind, expires) = (&self.kinds.offers, now.saturating_add(OFFER_SECONDS));
        let memos = self.store.memos(owner);
        let found = memos.get(kind, &account.id).await?.map(|memo| memo.version);
        let memo = NewMemo { kind, id: &account.id, about: &account.id, expires, text: text.as_bytes() };
        if !memos.put(&memo, found).await? {
            return Err(AccessError::Busy);
        }
        Ok(TotpOffer { secret: Secret::new(text), uri: Secret::new(uri) })
    }

    /// Puts the offered secret to use, by a code of it. The recovery codes are shown once; all sessions end.
    pub async fn confirm_totp(
        &self,
        signed: &Signed,
        code: &str,
        at: SystemTime,
    ) -> Result<Vec<Secret>, AccessError> {
        let (owner, Who::Account(id)) = (signed.principal.home(), signed.principal.who()) else {
            return Err(AccessError::NotByToken);
        };
        let now = seconds(at);
        let memos = self.store.memos(owner);
        let offer = memos.get(&self.kinds.offers, id).await?.filter(|memo| memo.expires > now);
        let offer = offer.ok_or(AccessError::NotFound { what: "offer of an authenticator; begin anew" })?;
        let text = String::from_utf8_lossy(&offer.text).into_owned();
        let Some(step) = step_of(&text, code, now) else { return Err(AccessError::Wrong) };
        let account: Option<Stored<AccountDocument>> = self.read(owner, &self.kinds.accounts, id).await?;
        let mut account = account.ok_or(AccessError::Unauthenticated)?;
        // Who was handed the offer had given the password; another one since then makes it void.
        if account.document.totp.is_some() || !memos.delete(&self.kinds.offers, id).await? {
            return Err(AccessError::Exists { what: "an authenticator" });
        }
        if !self.take_step(owner, id, step, now).await? {
            return Err(AccessError::Wrong);
        }
        let codes: Result<Vec<Secret>, AccessError> = (0..CODES).map(|_| recovery_code()).collect();
        let codes = codes?;
        let before = account.clone();
        account.document.totp = Some(text);
        account.document.recovery = codes.iter().map(|code| hashed(&plain(code.expose()))).collect();
        self.altered(&Deed::by(&signed.principal, owner, "totp_added", id, at), before, &account, true)
            .await?;
        Ok(codes)
    }

    /// Takes the second factor off one's account; all sessions end.
    pub async fn remove_totp(
        &self,
        signed: &Signed,
        password: &str,
        code: &str,
        at: SystemTime,
    ) -> Result<(), AccessError> {
        let owner = signed.principal.home();
        let account = self.again(signed, password, at).await?;
        if account.document.totp.is_none() {
            return Err(AccessError::NotFound { what: "authenticator" });
        }
        if !self.take_code(owner, account.clone(), code, at).await? {
            return Err(AccessError::Wrong);
        }
        // A recovery code changed the account.
        let account: Option<Stored<AccountDocument>> =
            self.read(owner, &self.kinds.accounts, &account.id).await?;
        let mut account = account.ok_or(AccessError::Unauthenticated)?;
        let before = account.clone();
        (account.document.totp, account.document.recovery) = (None, Vec::new());
        let deed = Deed::by(&signed.principal, owner, "totp_removed", &before.id, at);
        self.altered(&deed, before.clone(), &account, true).await?;
        Ok(())
    }

    /// Writes an account in place of what was read of it, and ends its sessions where it is another one now.
    pub(super) async fn altered(
        &self,
        deed: &Deed<'_>,
        before: Stored<AccountDocument>,
        after: &Stored<AccountDocument>,
        ends: bool,
    ) -> Result<Accepted, AccessError> {
        let write = put(&self.kinds.accounts, &after.id, Some(before.version), &after.document)?;
        let ended = ends.then(|| Forgotten::About(self.kinds.sessions.clone(), after.id.clone()));
        let effect =
            Effect::default().with(write, Some(shown(&view(before))), Some(shown(&view(after.clone()))));
        self.done(deed, &effect.forgetting(ended)).await
    }

    /// Takes a code of the authenticator, or a recovery code; false: it is none, or was taken before.
    pub(super) async fn take_code(
        &self,
        owner: &Owner,
        account: Stored<AccountDocument>,
        code: &str,
        at: SystemTime,
    ) -> Result<bool, AccessError> {
        let (code, now) = (plain(code), seconds(at));
        let secret = account.document.totp.as_deref().unwrap_or_default();
        if let Some(step) = step_of(secret, &code, now) {
            return self.take_step(owner, &account.id, step, now).await;
        }
        self.take_recovery(owner, account, &hashed(&code), at).await
    }

    /// Takes a step, unless it or a later one was taken.
    async fn take_step(
        &self,
        owner: &Owner,
        id: &ResourceId,
        step: u64,
        now: u64,
    ) -> Result<bool, AccessError> {
        let (memos, kind) = (self.store.memos(owner), &self.kinds.steps);
        for _ in 0..TRIES {
            let found = memos.get(kind, id).await?;
            let version = found.as_ref().map(|memo| memo.version);
            let last = found.and_then(|memo| Some(u64::from_be_bytes(memo.text.as_slice().try_into().ok()?)));
            // A step from the future was taken under another clock.
            let last = last.filter(|last| *last <= now / totp::STEP_SECONDS + 2);
            if last.is_some_and(|last| last >= step) {
                return Ok(false);
            }
            let (text, expires) = (step.to_be_bytes(), now.saturating_add(STEP_KEPT_SECONDS));
            if memos.put(&NewMemo { kind, id, about: id, expires, text: &text }, version).await? {
                return Ok(true);
            }
        }
        Err(AccessError::Busy)
    }

    /// Takes a recovery code out of its account.
    async fn take_recovery(
        &self,
        owner: &Owner,
        mut account: Stored<AccountDocument>,
        sha256: &str,
        at: SystemTime,
    ) -> Result<bool, AccessError> {
        for _ in 0..TRIES {
            let stored = account.clone();
            let before = account.document.recovery.len();
            account.document.recovery.retain(|kept| kept != sha256);
            if account.document.recovery.len() == before {
                return Ok(false);
            }
            let (actor, action) = (actor_of(owner, &account.id), "recovery_code_used");
            let deed = Deed { owner, actor, action, object: &stored.id, at };
            match self.altered(&deed, stored.clone(), &account, false).await {
                Ok(_) => return Ok(true),
                Err(AccessError::Store(StoreError::Conflict { .. })) => {}
                Err(failed) => return Err(failed),
            }
            let Some(again) = self.read(owner, &self.kinds.accounts, &account.id).await? else {
                return Ok(false);
            };
            account = again;
        }
        Err(AccessError::Busy)
    }
}

fn step_of(secret: &str, code: &str, now: u64) -> Option<u64> {
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).ok()?;
    totp::step_of(&secret, code, now)
}

/// A code without what people put between its characters.
fn plain(code: &str) -> String {
    let kept = |symbol: &char| !symbol.is_whitespace() && *symbol != '-';
    code.chars().filter(kept).map(|symbol| symbol.to_ascii_uppercase()).collect()
}

/// Sixteen characters, in fours.
fn recovery_code() -> Result<Secret, AccessError> {
    let mut bits = [0; CODE_BYTES];
    getrandom::fill(&mut bits).map_err(StoreError::Random)?;
    let text = data_encoding::BASE32_NOPAD.encode(&bits);
    let mut out = String::with_capacity(text.len() + 3);
    for (at, symbol) in text.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            out.push('-');
        }
        out.push(symbol);
    }
    Ok(Secret::new(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_is_read_however_it_is_typed() {
        let code = recovery_code().unwrap();
        let text = code.expose();
        assert_eq!(text.len(), 19);
        for typed in [text.to_lowercase(), text.replace('-', " "), text.replace('-', "")] {
            assert_eq!(plain(&typed), plain(text));
        }
        assert_ne!(recovery_code().unwrap(), code);
    }
}
