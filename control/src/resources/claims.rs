//! Whose is a key, whose is an issuer?
//!
//! A proxy finds an organisation by what a caller presents: a key, or a JWT of an issuer, of two organisations would
//! bring one's prompts to the other. So a key, by its id and its hash together, and an issuer with its audience, is
//! claimed before it is written. The id of a claim is a hash, which says nothing of what is claimed. A claim without a
//! resource hinders nobody but others who would bring the same. Claims are memos of the platform that never end: no
//! policy is made of them, so a new key wakes nobody but who follows its organisation.
//!
//! A key stays its organisation's until that is erased: who has one that was deleted must not be led to another
//! organisation by it. An issuer's name is no secret, and may move: it is given up with the last resource that names
//! it. Its claim is then only taken away at the version that it had before: whoever claims again makes a new one.

use super::change::{Edit, Edited, Snapshot, parsed};
use super::error::ControlError;
use super::kinds::{KindRow, Named, Shape};
use crate::store::{
    Kind, Memo, MemoWrite, NEVER, NewMemo, OrganisationId, Owner, ResourceId, Store, StoreError, WRITES_MAX,
};
use palisade_filters::api_key::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The kind of claims. No route shows one.
const CLAIMS: &str = "key-claims";
/// The kind of keys.
pub(super) const KEYS: &str = "api-keys";
/// The kind of issuers.
pub(super) const ISSUERS: &str = "jwt-issuers";

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    id: ResourceId,
    /// For messages.
    what: String,
}

/// A claim that may be given up, if it is still the one.
#[derive(Debug)]
pub(super) struct Leaving {
    id: ResourceId,
    version: u64,
}

/// What these edits bring.
pub(super) fn new(edits: &[Edit], edited: &[Edited]) -> Vec<Claim> {
    let all = edits.iter().zip(edited).filter_map(|(edit, edited)| {
        let (row, id) = edit.name();
        let claim = claim_of(row, id, edited.after.as_ref()?)?;
        let former = edited.before.as_ref().and_then(|before| claim_of(row, id, before));
        (former.as_ref() != Some(&claim)).then_some(claim)
    });
    all.collect()
}

/// Which issuers these edits take away, where nothing else names them.
pub(super) fn gone(edits: &[Edit], edited: &[Edited], next: &Snapshot) -> Result<Vec<Claim>, ControlError> {
    let issuers = edits.iter().zip(edited).filter(|(edit, _)| edit.name().0.name == ISSUERS);
    let before = issuers.filter_map(|(edit, edited)| {
        let (row, id) = edit.name();
        claim_of(row, id, edited.before.as_ref()?)
    });
    let before: BTreeSet<Claim> = before.collect();
    if before.is_empty() {
        return Ok(Vec::new());
    }
    let stay = of(next)?;
    Ok(before.into_iter().filter(|claim| !stay.contains(claim)).collect())
}

/// All that an organisation has a claim to.
pub(super) fn of(snapshot: &Snapshot) -> Result<Vec<Claim>, ControlError> {
    let mut all = Vec::new();
    for name in [KEYS, ISSUERS] {
        let row = super::organisations::known(name)?;
        for (id, document) in snapshot.of(row) {
            all.extend(claim_of(row, id, &parsed(document)?));
        }
    }
    Ok(all)
}

/// The claim of a resource, if it is of a kind that is claimed.
fn claim_of(row: &KindRow, id: &ResourceId, document: &Value) -> Option<Claim> {
    let text = |member: &str| document.get(member).and_then(Value::as_str);
    match (row.name, row.shape) {
        (KEYS, Shape::List { named: Named::By(member), .. }) => {
            let key = text(member).unwrap_or(id.as_str());
            let sha256 = text("sha256")?.to_ascii_lowercase();
            claimed("key", [key, &sha256], format!("the key `{key}` belongs"))
        }
        (ISSUERS, _) => {
            let (issuer, audience) = (text("issuer")?, text("audience")?);
            let what = format!("the issuer `{issuer}` with the audience `{audience}` belongs");
            claimed("issuer", [issuer, audience], what)
        }
        _ => None,
    }
}

fn claimed(what: &str, parts: [&str; 2], told: String) -> Option<Claim> {
    let mut hash = Sha256::new_with_prefix(format!("palisade claim of a {what}"));
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Some(Claim { id: ResourceId::new(&hex(&hash.finalize())).ok()?, what: told })
}

/// Claims for an organisation, or says what is another's.
pub(super) async fn claim(
    store: &Store,
    owner: &OrganisationId,
    claims: &[Claim],
) -> Result<(), ControlError> {
    let (memos, kind) = (store.memos(&Owner::Platform), Kind::new(CLAIMS)?);
    for some in claims.chunks(WRITES_MAX) {
        let new = |claim| MemoWrite::Put { memo: memo(&kind, claim, owner), expected: None };
        if memos.change(&some.iter().map(new).collect::<Vec<_>>()).await? {
            continue;
        }
        // Some are there already.
        for claim in some {
            let there = memos.get(&kind, &claim.id).await?;
            let expected = there.as_ref().map(|there| there.version);
            if let Some(there) = there {
                free(store, owner, claim, &there).await?;
            }
            // Also if it is ours: whoever is about to give it up finds another version.
            if !memos.put(&memo(&kind, claim, owner), expected).await? {
                return Err(taken(claim));
            }
        }
    }
    Ok(())
}

/// Whether all of them could be claimed as things are. Nothing is written.
pub(super) async fn check(
    store: &Store,
    owner: &OrganisationId,
    claims: &[Claim],
) -> Result<(), ControlError> {
    let (memos, kind) = (store.memos(&Owner::Platform), Kind::new(CLAIMS)?);
    for claim in claims {
        if let Some(there) = memos.get(&kind, &claim.id).await? {
            free(store, owner, claim, &there).await?;
        }
    }
    Ok(())
}

/// Claims as they are before what they stand for goes.
pub(super) async fn leaving(
    store: &Store,
    owner: &OrganisationId,
    claims: &[Claim],
) -> Result<Vec<Leaving>, ControlError> {
    let (memos, kind) = (store.memos(&Owner::Platform), Kind::new(CLAIMS)?);
    let mut leaving = Vec::new();
    for claim in claims {
        let Some(there) = memos.get(&kind, &claim.id).await? else { continue };
        if *there.text == *owner.as_str().as_bytes() {
            leaving.push(Leaving { id: claim.id.clone(), version: there.version });
        }
    }
    Ok(leaving)
}

/// Gives claims up, once what they stood for is gone.
pub(super) async fn release(store: &Store, leaving: Vec<Leaving>) -> Result<(), ControlError> {
    let (memos, kind) = (store.memos(&Owner::Platform), Kind::new(CLAIMS)?);
    for Leaving { id, version } in leaving {
        // If not, somebody claimed it again.
        memos.change(&[MemoWrite::Delete { kind: &kind, id: &id, expected: Some(version) }]).await?;
    }
    Ok(())
}

fn memo<'a>(kind: &'a Kind, claim: &'a Claim, owner: &'a OrganisationId) -> NewMemo<'a> {
    let text = owner.as_str().as_bytes();
    NewMemo { kind, id: &claim.id, about: &claim.id, expires: NEVER, text }
}

/// Whether what is claimed is this organisation's, or of one that is no longer there.
async fn free(
    store: &Store,
    owner: &OrganisationId,
    claim: &Claim,
    there: &Memo,
) -> Result<(), ControlError> {
    let holder = std::str::from_utf8(&there.text).ok().and_then(|holder| OrganisationId::new(holder).ok());
    let holder = holder.ok_or_else(|| ControlError::Broken("a claim of no organisation".into()))?;
    if holder != *owner && is_there(store, &holder).await? { Err(taken(claim)) } else { Ok(()) }
}

fn taken(claim: &Claim) -> ControlError {
    // Not to whom: that is nobody's business.
    ControlError::Refused(format!("{} to another organisation; bring one of your own", claim.what))
}

async fn is_there(store: &Store, organisation: &OrganisationId) -> Result<bool, ControlError> {
    match store.tenant(organisation).changes(0, 1).await {
        Ok(_) => Ok(true),
        Err(StoreError::NoOrganisation(_)) => Ok(false),
        Err(failed) => Err(failed.into()),
    }
}
