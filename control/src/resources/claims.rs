//! Whose is a key, whose is an issuer?
//!
//! A proxy finds an organisation by what a caller presents: a key, or a JWT of an issuer, of two organisations would
//! bring one's prompts to the other. So a key, by its id and its hash together, and an issuer with its audience, is
//! claimed among the platform's resources before it is written. The id of a claim is a hash, which says nothing of what
//! is claimed. A claim without a resource hinders nobody but others who would bring the same.
//!
//! A key stays its organisation's until that is erased: who has one that was deleted must not be led to another
//! organisation by it. An issuer's name is no secret, and may move: it is given up with the last resource that names
//! it. Its claim is then only taken away at the version that it had before: whoever claims again makes a new one.

use super::change::{Edit, Edited, Snapshot, parsed};
use super::error::ControlError;
use super::kinds::{KindRow, Named, Shape};
use crate::store::{Kind, OrganisationId, ResourceId, Store, StoreError, WRITES_MAX, Write};
use palisade_filters::api_key::hex;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
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
    let (platform, kind) = (store.platform(), Kind::new(CLAIMS)?);
    let document = to_raw_value(&json!({ "organisation": owner.as_str() }));
    let document = document.map_err(|error| ControlError::Broken(Box::new(error)))?;
    for some in claims.chunks(WRITES_MAX) {
        let new = |claim: &Claim| put(&kind, claim, None, &document);
        match platform.apply(&some.iter().map(new).collect::<Vec<_>>()).await {
            Ok(_) => continue,
            // Some are there already.
            Err(StoreError::Conflict { .. } | StoreError::Twice { .. }) => {}
            Err(failed) => return Err(failed.into()),
        }
        for claim in some {
            let there = platform.get(&kind, &claim.id).await?;
            let expected = there.as_ref().map(|there| there.version);
            if let Some(there) = there {
                let of = holder(&there.document)?;
                if of != owner.as_str() && is_there(store, &of).await? {
                    return Err(taken(claim));
                }
            }
            // Also if it is ours: whoever is about to give it up finds another version.
            match platform.apply(&[put(&kind, claim, expected, &document)]).await {
                Ok(_) => {}
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => return Err(taken(claim)),
                Err(failed) => return Err(failed.into()),
            }
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
    let (platform, kind) = (store.platform(), Kind::new(CLAIMS)?);
    let mut leaving = Vec::new();
    for claim in claims {
        let Some(there) = platform.get(&kind, &claim.id).await? else { continue };
        if holder(&there.document)? == owner.as_str() {
            leaving.push(Leaving { id: claim.id.clone(), version: there.version });
        }
    }
    Ok(leaving)
}

/// Gives claims up, once what they stood for is gone.
pub(super) async fn release(store: &Store, leaving: Vec<Leaving>) -> Result<(), ControlError> {
    let (platform, kind) = (store.platform(), Kind::new(CLAIMS)?);
    for claim in leaving {
        match platform.delete(&kind, &claim.id, claim.version).await {
            // Somebody claimed it again.
            Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
            Err(failed) => return Err(failed.into()),
        }
    }
    Ok(())
}

fn holder(document: &RawValue) -> Result<String, ControlError> {
    let document = parsed(document)?;
    Ok(document.get("organisation").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn put(kind: &Kind, claim: &Claim, expected: Option<u64>, document: &RawValue) -> Write {
    Write::Put { kind: kind.clone(), id: claim.id.clone(), expected, document: document.to_owned() }
}

fn taken(claim: &Claim) -> ControlError {
    // Not to whom: that is nobody's business.
    ControlError::Refused(format!("{} to another organisation; bring one of your own", claim.what))
}

async fn is_there(store: &Store, organisation: &str) -> Result<bool, ControlError> {
    let Ok(id) = OrganisationId::new(organisation) else { return Ok(false) };
    match store.tenant(&id).changes(0, 1).await {
        Ok(_) => Ok(true),
        Err(StoreError::NoOrganisation(_)) => Ok(false),
        Err(failed) => Err(failed.into()),
    }
}
