//! Who signed in, from where, and who tried to?
//!
//! Each of it is counted: too often for the journal, whose entries stay for good and wake who follows. A row is an
//! account and an address on one day, with how often and between when; rows stand on pages, which are memos of the
//! organisation. Signing in is counted in the transaction that begins the session, and signing out in the one that ends
//! it. Pages are bounded: what has no room adds to a row for the rest, and those who came in and those who were refused
//! stand apart, so that nobody who guesses pushes out who came in.
//!
//! What was typed as a name may be a password: a name that is no account's is not repeated.

use super::documents::put_memo;
use super::error::AccessError;
use super::permissions::Verb;
use super::principal::{Principal, Target};
use super::{Access, permission, seconds};
use crate::store::{MemoWrite, Owner, PAGE_MAX, ResourceId, StoreError};
use crate::usage::{Day, KEPT_DAYS};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// Pages of one day for those who came in: five thousand rows, as many as people sign in at one organisation.
const PAGES_IN: u8 = 128;
/// And for those who were refused: strangers fill them.
const PAGES_REFUSED: u8 = 16;
/// Rows of a page: all of them fit a memo.
const ROWS_MAX: usize = 40;
/// How often a page is tried that others are writing.
const TRIES: usize = 64;
/// What stands for accounts and addresses that had no room.
const OTHER: &str = "other";

/// What was counted of one account at one address on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// The account; none: what was typed is none. `other`: there was no room.
    pub account: Option<String>,
    /// From where.
    pub address: String,
    /// How often somebody signed in.
    pub signed_in: u64,
    /// How often somebody signed out.
    pub signed_out: u64,
    /// How often name, password or code was wrong.
    pub refused: u64,
    /// How often the password was right, and the code that is needed besides was not there.
    pub without_code: u64,
    /// The first time, in seconds since 1970.
    pub first: u64,
    /// The last time.
    pub last: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    SignedIn,
    SignedOut,
    Refused,
    WithoutCode,
}

/// One of the things that happened.
#[derive(Clone, Debug)]
pub(super) struct Moment<'a> {
    pub(super) owner: &'a Owner,
    pub(super) account: Option<&'a ResourceId>,
    pub(super) address: &'a str,
    pub(super) happened: Happened,
    pub(super) at: SystemTime,
}

impl Moment<'_> {
    /// Its page of its day.
    fn page(&self) -> Result<ResourceId, AccessError> {
        let (mark, pages, of) = match self.happened {
            Happened::SignedIn | Happened::SignedOut => {
                ("in", PAGES_IN, self.account.map_or("", ResourceId::as_str))
            }
            Happened::Refused | Happened::WithoutCode => ("refused", PAGES_REFUSED, self.address),
        };
        let hash = Sha256::digest(of.as_bytes());
        let number = hash.first().map_or(0, |first| first % pages);
        let id = format!("{}.{mark}.{number:03}", Day::of(self.at));
        Ok(ResourceId::new(&id).map_err(StoreError::from)?)
    }

    fn add_to(&self, rows: &mut Vec<Visit>) {
        let account = self.account.map(ToString::to_string);
        let now = seconds(self.at);
        let at = row_of(rows, account, self.address, now);
        let Some(row) = rows.get_mut(at) else { return };
        let counter = match self.happened {
            Happened::SignedIn => &mut row.signed_in,
            Happened::SignedOut => &mut row.signed_out,
            Happened::Refused => &mut row.refused,
            Happened::WithoutCode => &mut row.without_code,
        };
        *counter = counter.saturating_add(1);
        row.first = row.first.min(now);
        row.last = row.last.max(now);
    }
}

/// Where in these rows it is counted.
fn row_of(rows: &mut Vec<Visit>, account: Option<String>, address: &str, now: u64) -> usize {
    let find = |rows: &[Visit], account: &Option<String>, address: &str| {
        rows.iter().position(|row| row.account == *account && row.address == address)
    };
    if let Some(known) = find(rows, &account, address) {
        return known;
    }
    let (account, address) =
        if rows.len() + 1 < ROWS_MAX { (account, address) } else { (Some(OTHER.to_owned()), OTHER) };
    find(rows, &account, address).unwrap_or_else(|| {
        let address = address.to_owned();
        rows.push(Visit { account, address, first: now, last: now, ..Visit::default() });
        rows.len() - 1
    })
}

impl Access {
    /// Counts it, together with these writes of memos of the same owner, or does neither.
    pub(super) async fn count_visit(
        &self,
        moment: &Moment<'_>,
        together: &[MemoWrite<'_>],
    ) -> Result<(), AccessError> {
        let (memos, kind) = (self.store.memos(moment.owner), &self.kinds.visits);
        let (id, day) = (moment.page()?, Day::of(moment.at));
        let about = ResourceId::new(&day.to_string()).map_err(StoreError::from)?;
        let expires = day.after(KEPT_DAYS + 1).seconds();
        for _ in 0..TRIES {
            let found = memos.get(kind, &id).await?;
            let expected = found.as_ref().map(|memo| memo.version);
            let mut rows = found.map_or_else(|| Ok(Vec::new()), |memo| read(&memo.text))?;
            moment.add_to(&mut rows);
            let text = serde_json::to_vec(&rows).map_err(|error| AccessError::Internal(error.to_string()))?;
            let page = put_memo(kind, &id, &about, expires, &text, expected);
            let writes: Vec<MemoWrite<'_>> = together.iter().copied().chain([page]).collect();
            if memos.change(&writes).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// Counts somebody who was not let in, and why: where there is no such organisation, with the platform.
    pub(super) async fn count_refused(
        &self,
        owner: &Owner,
        account: Option<&ResourceId>,
        address: IpAddr,
        happened: Happened,
        at: SystemTime,
    ) -> Result<(), AccessError> {
        let address = address.to_string();
        let moment = Moment { owner, account, address: &address, happened, at };
        match self.count_visit(&moment, &[]).await {
            Err(AccessError::Refused(super::Refused::NotFound)) => {
                let nobodys = Moment { owner: &Owner::Platform, account: None, ..moment };
                self.count_visit(&nobodys, &[]).await
            }
            counted => counted,
        }
    }

    /// Who signed in on a day, and who tried to, for whoever may read the journal.
    pub async fn visits(&self, by: &Principal, owner: &Owner, day: Day) -> Result<Vec<Visit>, AccessError> {
        by.may(permission("journal", Verb::Read)?, &Target::of(owner))?;
        let about = ResourceId::new(&day.to_string()).map_err(StoreError::from)?;
        let pages = self.store.memos(owner).about(&self.kinds.visits, &about, None, PAGE_MAX).await?;
        let mut all = Vec::new();
        for page in &pages {
            all.extend(read(&page.text)?);
        }
        all.sort_by(|one, other| {
            (one.first, &one.account, &one.address).cmp(&(other.first, &other.account, &other.address))
        });
        Ok(all)
    }
}

fn read(text: &[u8]) -> Result<Vec<Visit>, AccessError> {
    // What stands there names accounts, and is not repeated.
    serde_json::from_slice(text)
        .map_err(|_| AccessError::Internal("a page of visits cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MEMO_BYTES_MAX, OrganisationId};
    use std::collections::BTreeSet;
    use std::time::{Duration, UNIX_EPOCH};

    fn moment<'a>(
        owner: &'a Owner,
        account: &'a ResourceId,
        address: &'a str,
        happened: Happened,
        second: u64,
    ) -> Moment<'a> {
        let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second);
        Moment { owner, account: Some(account), address, happened, at }
    }

    #[test]
    fn a_page_is_bounded_and_no_count_is_lost() {
        let owner = Owner::Organisation(OrganisationId::new("acme").unwrap());
        let account = ResourceId::new(&"a".repeat(128)).unwrap();
        let mut rows = Vec::new();
        for at in 0..1_000_u64 {
            let address = format!("2001:0db8:85a3:0000:0000:8a2e:0370:{at:04x}");
            moment(&owner, &account, &address, Happened::Refused, at).add_to(&mut rows);
        }
        assert_eq!(rows.len(), ROWS_MAX);
        assert_eq!(rows.iter().map(|row| row.refused).sum::<u64>(), 1_000);
        for row in &mut rows {
            (row.signed_in, row.signed_out) = (u64::MAX, u64::MAX);
            (row.refused, row.without_code) = (u64::MAX, u64::MAX);
            (row.first, row.last) = (u64::MAX, u64::MAX);
        }
        assert!(serde_json::to_vec(&rows).unwrap().len() <= MEMO_BYTES_MAX);
    }

    #[test]
    fn who_guesses_pushes_nobody_out_who_came_in() {
        let owner = Owner::Platform;
        let ann = ResourceId::new("ann").unwrap();
        let came = moment(&owner, &ann, "192.0.2.1", Happened::SignedIn, 0).page().unwrap();
        for at in 0..200 {
            let address = format!("192.0.2.{at}");
            let guessed = moment(&owner, &ann, &address, Happened::Refused, at).page().unwrap();
            assert_ne!(guessed, came);
        }
        assert_eq!(moment(&owner, &ann, "192.0.2.9", Happened::SignedOut, 5).page().unwrap(), came);
        // Strangers fill no more than so many pages, whatever they come from and call themselves.
        let strangers: BTreeSet<ResourceId> = (0..2_000)
            .map(|at| {
                let address = format!("2001:db8::{at:x}");
                moment(&owner, &ann, &address, Happened::Refused, 9).page().unwrap()
            })
            .collect();
        assert_eq!(strangers.len(), usize::from(PAGES_REFUSED));
    }
}
