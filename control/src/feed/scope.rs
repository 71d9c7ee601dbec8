//! What may a proxy see? All organisations, or some.
//!
//! An organisation is meant as it was when the proxy was let in: one that is made later under the same name, after the
//! first was deleted, is another, and the proxy sees nothing of it.

use super::error::FeedError;
use crate::follow::{Pieces, Reading};
use crate::resources::{KINDS, Side};
use crate::store::{OrganisationId, Owner, Store, StoreError};
use palisade_filters::api_key::hex;
use palisade_filters::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_raw_value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Organisations of one certificate: it names each.
pub const ORGANISATIONS_MAX: usize = 64;

/// What a proxy may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    /// All there are, also those that come later.
    All,
    /// These, each with what tells it from a later one of its name.
    Some(BTreeMap<String, String>),
}

impl Scope {
    /// The organisations that are named; none named: all.
    pub(super) async fn named(store: &Store, organisations: Option<&[String]>) -> Result<Self, FeedError> {
        let Some(named) = organisations else { return Ok(Self::All) };
        let wrong = |problem: String| FeedError::Invalid { pointer: "/organisations", problem };
        if named.is_empty() || named.len() > ORGANISATIONS_MAX {
            let problem = format!("name 1 to {ORGANISATIONS_MAX} organisations, or leave it out for all");
            return Err(wrong(problem));
        }
        let mut some = BTreeMap::new();
        for name in named {
            let unknown = || wrong(format!("there is no organisation `{}`", name.escape_debug()));
            let id = OrganisationId::new(name).map_err(|_| unknown())?;
            match store.tenant(&id).all(&[]).await {
                Ok(found) => drop(some.insert(name.clone(), mark(&found.hash_secret))),
                Err(error) if error.is_of_the_gone() => return Err(unknown()),
                Err(failed) => return Err(failed.into()),
            }
        }
        Ok(Self::Some(some))
    }

    /// The names; none: all.
    pub(super) fn organisations(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Some(some) => Some(some.keys().cloned().collect()),
        }
    }

    /// As a certificate says it.
    pub(super) fn uris(&self) -> Vec<String> {
        match self {
            Self::All => vec!["palisade:organisations:all".to_owned()],
            Self::Some(some) => some.keys().map(|name| format!("palisade:organisation:{name}")).collect(),
        }
    }

    /// Whether it may know of somebody.
    pub(super) fn has(&self, owner: &Owner) -> bool {
        match (self, owner) {
            (Self::All, _) | (_, Owner::Platform) => true,
            (Self::Some(some), Owner::Organisation(id)) => some.contains_key(id.as_str()),
        }
    }

    /// Whether an organisation that is there is one that it is for, and not a later one of its name.
    pub(super) async fn means(&self, store: &Store, id: &OrganisationId) -> Result<bool, StoreError> {
        let Self::Some(some) = self else { return Ok(true) };
        let Some(meant) = some.get(id.as_str()) else { return Ok(false) };
        match store.tenant(id).all(&[]).await {
            Ok(found) => Ok(mark(&found.hash_secret) == *meant),
            Err(error) if error.is_of_the_gone() => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// What it may see of what was read of somebody that it may know of.
    pub(super) fn seen(&self, owner: &Owner, reading: Reading) -> Result<Reading, FeedError> {
        let Self::Some(some) = self else { return Ok(reading) };
        let Reading::There(pieces) = reading else { return Ok(reading) };
        let Owner::Organisation(id) = owner else { return without_secrets(pieces).map(Reading::There) };
        let is_meant =
            pieces.hash_secret.as_ref().is_some_and(|own| some.get(id.as_str()) == Some(&mark(own)));
        Ok(if is_meant { Reading::There(pieces) } else { Reading::Gone })
    }
}

/// What tells an organisation from a later one of its name, and says nothing else.
fn mark(hash_secret: &Secret) -> String {
    let mut hash = Sha256::new_with_prefix(b"palisade organisation of a proxy\0");
    hash.update(hash_secret.expose());
    hex(&hash.finalize())
}

/// The platform's resources without the secrets that stand in them: who runs a proxy for some organisations is not who
/// runs the platform. What only refers to a secret stays: it is looked up where the proxy runs.
fn without_secrets(pieces: Pieces) -> Result<Pieces, FeedError> {
    let mut seen = Vec::with_capacity(pieces.resources.len());
    for (kind, id, document) in pieces.resources {
        let row = KINDS.iter().find(|row| row.side == Side::Platform && row.name == kind.as_str());
        let secrets = row.map_or(&[][..], |row| row.secrets);
        if secrets.is_empty() {
            seen.push((kind, id, document));
            continue;
        }
        let mut value: Value = serde_json::from_str(document.get()).map_err(FeedError::broken)?;
        for secret in secrets {
            // `/api_key/value` is all of `api_key`.
            let member = secret.trim_start_matches('/').split('/').next().unwrap_or_default();
            if value.pointer(secret).is_some()
                && let Some(members) = value.as_object_mut()
            {
                members.remove(member);
            }
        }
        seen.push((kind, id, to_raw_value(&value).map_err(FeedError::broken)?));
    }
    Ok(Pieces { resources: seen, hash_secret: None })
}
