//! Who guesses has to wait: how long, and who is it?
//!
//! Two counters for each attempt. One is of the account's name, whether there is such an account or not; or, where the
//! account signed in before from this address, of both: so nobody who guesses from elsewhere keeps its owner out. The
//! other one is of the address, over all organisations. An attempt is counted before it is looked at, so that a hundred
//! at once are a hundred. Past its free attempts a counter makes everybody wait twice as long each time; what comes
//! meanwhile is refused without a look. It is a delay and no lock: nobody is shut out for good.
//!
//! A counter's name is a hash; counters of names are at most 2²⁰, whatever names are tried.

use super::error::AccessError;
use super::{Access, credential, joined};
use crate::store::{NewMemo, Owner, ResourceId, StoreError};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// Attempts of an account before anybody waits.
const FREE_ACCOUNT: u32 = 5;
/// Of an address: many people can share one.
const FREE_ADDRESS: u32 = 20;
/// The longest that anybody waits.
const DELAY_MAX_SECONDS: u64 = 15 * 60;
/// After so long without an attempt, a counter begins anew.
const KEPT_SECONDS: u64 = 24 * 60 * 60;
/// An address from which an account signed in is known for so long.
const KNOWN_SECONDS: u64 = 30 * 24 * 60 * 60;
/// Whoever is overtaken so often at one counter is one of very many.
const TRIES: usize = 16;
/// Memos that ended are swept as new ones are made.
const SWEPT_AT_ONCE: usize = 50;
/// Hexadecimal digits of a name's counter.
const NAME_DIGITS: usize = 5;
/// And of all others.
const DIGITS: usize = 32;

/// What counts attempts.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    id: ResourceId,
    free: u32,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    failed: u32,
    last: u64,
}

impl Counter {
    fn new(mark: &str, digits: usize, free: u32, of: &[&str]) -> Result<Self, AccessError> {
        let hash = credential::hashed(&format!("{mark} {}", joined(of)));
        let id = format!("{mark}-{}", hash.get(..digits).unwrap_or(&hash));
        Ok(Self { id: ResourceId::new(&id).map_err(StoreError::from)?, free })
    }

    pub(super) fn of_address(address: IpAddr) -> Result<Self, AccessError> {
        Self::new("address", DIGITS, FREE_ADDRESS, &[&network(address)])
    }

    pub(super) fn of_session(id: &ResourceId) -> Result<Self, AccessError> {
        Self::new("session", DIGITS, FREE_ACCOUNT, &[id.as_str()])
    }

    fn of_name(owner: &Owner, name: &str) -> Result<Self, AccessError> {
        Self::new("name", NAME_DIGITS, FREE_ACCOUNT, &[&owner.to_string(), name])
    }

    fn of_known(owner: &Owner, name: &str, address: IpAddr) -> Result<Self, AccessError> {
        Self::new("known", DIGITS, FREE_ACCOUNT, &[&owner.to_string(), name, &network(address)])
    }
}

/// One line's addresses are one: of version 6 it has 2⁶⁴ of them.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

impl Access {
    /// The counter of an account's name, as seen from an address.
    pub(super) async fn counter_of(
        &self,
        owner: &Owner,
        account: Option<&ResourceId>,
        name: &str,
        address: IpAddr,
        now: u64,
    ) -> Result<Counter, AccessError> {
        let known = Counter::of_known(owner, name, address)?;
        let by_name = Counter::of_name(owner, name)?;
        let Some(account) = account else { return Ok(by_name) };
        let memo = match self.store.memos(owner).get(&self.kinds.known, &known.id).await {
            Err(error) if error.is_of_the_gone() => None,
            found => found?,
        };
        let is_known = memo.is_some_and(|memo| memo.about == *account && memo.expires > now);
        Ok(if is_known { known } else { by_name })
    }

    /// From now on the account is known at this address.
    pub(super) async fn remember(
        &self,
        owner: &Owner,
        account: &ResourceId,
        address: IpAddr,
        now: u64,
    ) -> Result<(), AccessError> {
        let id = Counter::of_known(owner, account.as_str(), address)?.id;
        let memos = self.store.memos(owner);
        let found = memos.get(&self.kinds.known, &id).await?.map(|memo| memo.version);
        let expires = now.saturating_add(KNOWN_SECONDS);
        let memo = NewMemo { kind: &self.kinds.known, id: &id, about: account, expires, text: b"" };
        // Who was overtaken is known as well.
        memos.put(&memo, found).await?;
        Ok(())
    }

    /// Counts an attempt, unless it is too early for one.
    pub(super) async fn begin(&self, counter: &Counter, now: u64) -> Result<(), AccessError> {
        self.count(counter, now, |count| {
            let over = count.failed.saturating_sub(counter.free);
            let delay =
                if count.failed < counter.free { 0 } else { 1_u64.checked_shl(over).unwrap_or(u64::MAX) };
            // A clock that was set back makes nobody wait for ever.
            let passed = now.checked_sub(count.last).unwrap_or(u64::MAX);
            let wait = delay.min(DELAY_MAX_SECONDS).saturating_sub(passed);
            if wait > 0 {
                Err(AccessError::Wait { seconds: wait })
            } else {
                Ok(count.failed.saturating_add(1))
            }
        })
        .await
    }

    /// Takes one attempt back. Not all: who knows one right answer could try wrong ones in between for ever.
    pub(super) async fn take_back(&self, counter: &Counter, now: u64) -> Result<(), AccessError> {
        self.count(counter, now, |count| Ok(count.failed.saturating_sub(1))).await
    }

    /// It was them.
    pub(super) async fn forget(&self, counter: &Counter) -> Result<(), AccessError> {
        self.store.memos(&Owner::Platform).delete(&self.kinds.attempts, &counter.id).await?;
        Ok(())
    }

    async fn count(
        &self,
        counter: &Counter,
        now: u64,
        next: impl Fn(Count) -> Result<u32, AccessError>,
    ) -> Result<(), AccessError> {
        let (memos, kind) = (self.store.memos(&Owner::Platform), &self.kinds.attempts);
        for _ in 0..TRIES {
            let found = memos.get(kind, &counter.id).await?;
            let version = found.as_ref().map(|memo| memo.version);
            let alive = found.filter(|memo| memo.expires > now);
            let count = alive.and_then(|memo| serde_json::from_slice(&memo.text).ok()).unwrap_or_default();
            let count = Count { failed: next(count)?, last: now };
            let text =
                serde_json::to_vec(&count).map_err(|error| AccessError::Internal(error.to_string()))?;
            let expires = now.saturating_add(KEPT_SECONDS);
            let memo = NewMemo { kind, id: &counter.id, about: &counter.id, expires, text: &text };
            if memos.put(&memo, version).await? {
                if version.is_none() {
                    memos.sweep(now, SWEPT_AT_ONCE).await?;
                }
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_address_and_names_share_few_counters() {
        let of = |address: &str| Counter::of_address(address.parse().unwrap()).unwrap().id;
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        let name = Counter::of_name(&Owner::Platform, "anything that is typed \u{0}").unwrap();
        assert_eq!(name.id.as_str().len(), "name-".len() + NAME_DIGITS);
    }
}
