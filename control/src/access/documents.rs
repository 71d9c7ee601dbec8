//! How do the documents of this room stand in the store?
//!
//! They are resources of kinds of their own, written here alone: they hold hashes that no generic way may show or set.

use super::error::AccessError;
use super::{Access, permissions::Permission};
use crate::store::{Kind, MemoWrite, NewMemo, Owner, ResourceId, StoreError, Write};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The kinds whose resources are written here alone, as the store names them.
pub const KINDS: [&str; 6] = ["accounts", "api-tokens", "roles", "invitations", "grants", "bootstrap"];

/// The kind of sessions, which are memos.
pub(crate) const SESSIONS: &str = "sessions";

/// Kinds of resources, and of memos.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) accounts: Kind,
    pub(super) tokens: Kind,
    pub(super) roles: Kind,
    pub(super) invitations: Kind,
    pub(super) grants: Kind,
    /// That there was a first operator.
    pub(super) bootstrap: Kind,
    /// Whether an organisation is suspended; written elsewhere.
    pub(super) status: Kind,
    /// The id where there is one of a kind.
    pub(super) only: ResourceId,
    /// Memos: sessions, by their id, about accounts.
    pub(super) sessions: Kind,
    /// Memos: attempts that failed.
    pub(super) attempts: Kind,
    /// Memos: addresses that accounts signed in from.
    pub(super) known: Kind,
    /// Memos: the last step whose code was taken, of each account.
    pub(super) steps: Kind,
    /// Memos: secrets of authenticators that were offered.
    pub(super) offers: Kind,
    /// Memos: when tokens were used.
    pub(super) uses: Kind,
    /// Memos: who signed in, and who tried to.
    pub(super) visits: Kind,
}

impl Kinds {
    pub(super) fn new() -> Result<Self, AccessError> {
        let kind = |name| Kind::new(name).map_err(StoreError::from);
        let [accounts, tokens, roles, invitations, grants, bootstrap] = KINDS;
        Ok(Self {
            accounts: kind(accounts)?,
            tokens: kind(tokens)?,
            roles: kind(roles)?,
            invitations: kind(invitations)?,
            grants: kind(grants)?,
            bootstrap: kind(bootstrap)?,
            status: kind("status")?,
            only: ResourceId::new("default").map_err(StoreError::from)?,
            sessions: kind(SESSIONS)?,
            attempts: kind("attempts")?,
            known: kind("known-addresses")?,
            steps: kind("totp-steps")?,
            offers: kind("totp-offers")?,
            uses: kind("token-uses")?,
            visits: kind("visits")?,
        })
    }
}

/// Somebody who signs in here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountDocument {
    pub(super) role: String,
    pub(super) groups: Vec<String>,
    /// Whose keys are its own.
    pub(super) user: String,
    pub(super) enabled: bool,
    /// Random: another account of the same name is another one.
    pub(super) born: String,
    /// The hash, in PHC's form.
    pub(super) password: String,
    /// The secret of its authenticator, base 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp: Option<String>,
    /// SHA-256 of recovery codes that were not taken yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) recovery: Vec<String>,
}

/// A program's way in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenDocument {
    pub(super) name: String,
    pub(super) creator: String,
    pub(super) creator_born: String,
    pub(super) sha256: String,
    /// None: all of its creator's.
    pub(super) permissions: Option<Vec<Permission>>,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) expires: u64,
}

/// A role of an organisation's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleDocument {
    pub(super) permissions: Vec<Permission>,
}

/// A link with which somebody makes their account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InvitationDocument {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) groups: Vec<String>,
    pub(super) sha256: String,
    /// The account whose rights it is given with; none: the product itself.
    pub(super) inviter: Option<Inviter>,
    pub(super) created: u64,
    pub(super) expires: u64,
}

/// Whose rights an invitation is given with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inviter {
    pub(super) account: String,
    pub(super) born: String,
}

/// That somebody of the platform may do something in an organisation for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantDocument {
    pub(super) operator: String,
    pub(super) operator_born: String,
    pub(super) role: String,
    pub(super) reason: String,
    pub(super) granted_by: String,
    pub(super) created: u64,
    pub(super) expires: u64,
}

/// A document as it stands there.
#[derive(Clone, Debug)]
pub(super) struct Stored<D> {
    pub(super) id: ResourceId,
    pub(super) version: u64,
    pub(super) document: D,
}

/// Some of what there is, in the order of ids.
#[derive(Clone, Debug, Serialize)]
pub struct Page<V> {
    /// They.
    pub items: Vec<V>,
    /// Where to go on, if there are more.
    pub next: Option<String>,
}

impl Access {
    pub(super) async fn read<D: DeserializeOwned>(
        &self,
        owner: &Owner,
        kind: &Kind,
        id: &ResourceId,
    ) -> Result<Option<Stored<D>>, AccessError> {
        let found = self.store.of(owner).get(kind, id).await?;
        found.map(|found| stored(owner, kind, found)).transpose()
    }

    pub(super) async fn page<D: DeserializeOwned, V>(
        &self,
        owner: &Owner,
        kind: &Kind,
        after: Option<&str>,
        most: usize,
        view: impl Fn(Stored<D>) -> V,
    ) -> Result<Page<V>, AccessError> {
        let after = after.map(ResourceId::new).transpose().map_err(StoreError::from)?;
        let page = self.store.of(owner).list(kind, after.as_ref(), most).await?;
        let items: Result<Vec<V>, AccessError> =
            page.resources.into_iter().map(|found| stored(owner, kind, found).map(&view)).collect();
        Ok(Page { items: items?, next: page.next.map(|next| next.to_string()) })
    }

    /// All of a kind.
    pub(super) async fn all<D: DeserializeOwned>(
        &self,
        owner: &Owner,
        kind: &Kind,
    ) -> Result<Vec<Stored<D>>, AccessError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page =
                self.page(owner, kind, after.as_deref(), crate::store::PAGE_MAX, |found| found).await?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}

pub(super) fn put<D: Serialize>(
    kind: &Kind,
    id: &ResourceId,
    expected: Option<u64>,
    document: &D,
) -> Result<Write, AccessError> {
    let document = serde_json::value::to_raw_value(document);
    let document = document.map_err(|error| AccessError::Internal(error.to_string()))?;
    Ok(Write::Put { kind: kind.clone(), id: id.clone(), expected, document })
}

/// What takes a version of one away.
pub(super) fn delete(kind: &Kind, id: &ResourceId, expected: u64) -> Write {
    Write::Delete { kind: kind.clone(), id: id.clone(), expected }
}

/// A memo in place of the version that was read.
pub(super) fn put_memo<'a>(
    kind: &'a Kind,
    id: &'a ResourceId,
    about: &'a ResourceId,
    expires: u64,
    text: &'a [u8],
    expected: Option<u64>,
) -> MemoWrite<'a> {
    MemoWrite::Put { memo: NewMemo { kind, id, about, expires, text }, expected }
}

fn stored<D: DeserializeOwned>(
    owner: &Owner,
    kind: &Kind,
    found: crate::store::Resource,
) -> Result<Stored<D>, AccessError> {
    let Ok(document) = serde_json::from_str(found.document.get()) else {
        // It is sealed, so it is what was written; but not by this version of the product.
        let (owner, kind) = (owner.clone(), kind.clone());
        return Err(AccessError::Store(StoreError::Damaged { owner, kind, id: found.id }));
    };
    Ok(Stored { id: found.id, version: found.version, document })
}

/// Random characters that nobody guesses.
pub(super) fn random_name() -> Result<String, AccessError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(StoreError::Random)?;
    Ok(palisade_filters::api_key::hex(&bits))
}
