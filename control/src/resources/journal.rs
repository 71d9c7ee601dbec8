//! Who changed what, and what was there before?
//!
//! An entry is a resource of the owner that was changed, written in the change's own transaction: a change without its
//! entry is not accepted, and an entry without its change does not exist. Secrets are masked, and long documents stand
//! there by their length and hash. Nothing changes an entry. What [`access`](crate::access) changes has entries of the
//! same form, made there.

use super::control::Actor;
use super::error::ControlError;
use super::kinds::KindRow;
use super::secrets;
use crate::store::{Kind, ResourceId, StoreError, Write};
use palisade_filters::api_key::hex;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The kind of entries. No route changes one.
pub const JOURNAL: &str = "journal";
/// A longer document stands in an entry by its length and hash.
const SHOWN_BYTES_MAX: usize = 16 << 10;

/// What became of one resource.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Its kind, as the store names it.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// What it said; none: it was not there. Without secrets.
    pub before: Option<Value>,
    /// What it says; none: it is deleted. Without secrets.
    pub after: Option<Value>,
}

impl Changed {
    /// Of a kind of the table.
    pub(super) fn of(row: &KindRow, id: &ResourceId, before: Option<&Value>, after: Option<&Value>) -> Self {
        let masked = |document: Option<&Value>| {
            document.cloned().map(|mut document| {
                secrets::mask(row, &mut document);
                document
            })
        };
        Self {
            kind: row.name.to_owned(),
            id: id.as_str().to_owned(),
            before: masked(before),
            after: masked(after),
        }
    }
}

/// The kind of entries, as the store names it.
pub(super) fn kind() -> Result<Kind, ControlError> {
    Ok(Kind::new(JOURNAL)?)
}

/// The entry of a change that becomes this revision of its owner: it is one of the writes of the change itself.
pub fn entry(revision: u64, by: &Actor, changes: &[Changed]) -> Result<Write, StoreError> {
    entry_of(revision, by, None, changes)
}

/// The same, with what was done in a word, where what there was before and after does not tell it.
pub fn entry_of(
    revision: u64,
    by: &Actor,
    action: Option<&str>,
    changes: &[Changed],
) -> Result<Write, StoreError> {
    let changes: Vec<Value> = changes
        .iter()
        .map(|change| {
            let verb = match (&change.before, &change.after) {
                (None, Some(_)) => "create",
                (Some(_), Some(_)) => "update",
                (Some(_) | None, None) => "delete",
            };
            json!({ "kind": change.kind, "id": change.id, "verb": verb,
                    "before": shown(change.before.as_ref()), "after": shown(change.after.as_ref()) })
        })
        .collect();
    let at = humantime::format_rfc3339_millis(by.at).to_string();
    let mut document = json!({ "at": at, "actor": by.name, "revision": revision, "changes": changes });
    if let (Some(action), Some(members)) = (action, document.as_object_mut()) {
        members.insert("action".to_owned(), action.into());
    }
    Ok(Write::Put {
        kind: Kind::new(JOURNAL)?,
        // So many digits that entries are listed in the order of revisions.
        id: ResourceId::new(&format!("{revision:020}"))?,
        expected: None,
        document: to_raw_value(&document).map_err(|error| StoreError::Database(error.to_string()))?,
    })
}

fn shown(document: Option<&Value>) -> Value {
    let Some(document) = document else { return Value::Null };
    let text = document.to_string();
    if text.len() <= SHOWN_BYTES_MAX {
        return document.clone();
    }
    json!({ "bytes": text.len(), "sha256": hex(&Sha256::digest(text.as_bytes())) })
}
