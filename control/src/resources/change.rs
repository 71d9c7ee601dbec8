//! What would an owner have after a change?
//!
//! Needs all its resources at one moment, and edits; proves that each edit is for the version that its writer had read,
//! that what it writes is a document of its kind, and that secrets that are not given stay. Gives the writes for the
//! store, and what the journal is to say. It asks nobody and writes nothing.

use super::error::ControlError;
use super::fields::{self, FieldError};
use super::journal::Changed;
use super::kinds::{KINDS, KindRow, Side};
use super::secrets;
use crate::store::{Kind, ResourceId, Resources, Write};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// What a resource takes up besides its id and its document: its versions, and what it is sealed with.
const RESOURCE_BYTES: usize = 128;

/// What a writer had read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// That there is none.
    New,
    /// This version.
    Version(u64),
    /// It does not matter: whatever is there is replaced.
    Any,
}

/// A wish to change one resource.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Create, or replace.
    Put {
        /// Its kind.
        kind: &'static KindRow,
        /// Which one.
        id: ResourceId,
        /// What is replaced.
        expected: Expected,
        /// What is written.
        document: Value,
    },
    /// Change what a merge patch names (RFC 7396).
    Patch {
        /// Its kind.
        kind: &'static KindRow,
        /// Which one.
        id: ResourceId,
        /// What is changed.
        expected: Expected,
        /// What becomes of it.
        patch: Value,
    },
    /// Delete.
    Delete {
        /// Its kind.
        kind: &'static KindRow,
        /// Which one.
        id: ResourceId,
        /// What is deleted.
        expected: Expected,
    },
}

impl Edit {
    /// What it is about.
    pub(super) fn name(&self) -> (&'static KindRow, &ResourceId) {
        match self {
            Self::Put { kind, id, .. } | Self::Patch { kind, id, .. } | Self::Delete { kind, id, .. } => {
                (kind, id)
            }
        }
    }

    fn expected(&self) -> Expected {
        match self {
            Self::Put { expected, .. } | Self::Patch { expected, .. } | Self::Delete { expected, .. } => {
                *expected
            }
        }
    }
}

/// A resource as it stands in the store, or would.
#[derive(Debug)]
struct Held {
    kind: Kind,
    version: u64,
    document: Box<RawValue>,
}

/// All resources of an owner at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The owner's revision at that moment.
    pub(super) revision: u64,
    held: BTreeMap<(&'static str, ResourceId), Held>,
}

/// What an edit comes to.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) write: Write,
    pub(super) changed: Changed,
    /// With its secrets.
    pub(super) before: Option<Value>,
    /// With its secrets.
    pub(super) after: Option<Value>,
}

impl Snapshot {
    /// Reads all that the table knows.
    pub(super) async fn read(resources: &Resources<'_>, side: Side) -> Result<Self, ControlError> {
        let rows: Vec<&KindRow> = KINDS.iter().filter(|row| row.side == side).collect();
        let kinds: Vec<Kind> = rows.iter().map(|row| row.stored()).collect();
        let all = resources.all(&kinds).await?;
        let mut held = BTreeMap::new();
        for (kind, resource) in all.resources {
            let Some(row) = rows.iter().find(|row| row.name == kind.as_str()) else { continue };
            let one = Held { kind, version: resource.version, document: resource.document };
            held.insert((row.name, resource.id), one);
        }
        Ok(Self { revision: all.revision, held })
    }

    /// As they are composed.
    pub(super) fn borrowed(&self) -> impl Iterator<Item = (&Kind, &ResourceId, &RawValue)> {
        self.held.iter().map(|((_, id), held)| (&held.kind, id, &*held.document))
    }

    /// Which ones there are.
    pub(super) fn versions(&self) -> Vec<(&'static str, ResourceId, u64)> {
        self.held.iter().map(|((kind, id), held)| (*kind, id.clone(), held.version)).collect()
    }

    /// One of them.
    pub(super) fn document(&self, kind: &KindRow, id: &ResourceId) -> Result<Option<Value>, ControlError> {
        let held = self.held.get(&(kind.name, id.clone()));
        held.map(|held| parsed(&held.document)).transpose()
    }

    /// All of a kind.
    pub(super) fn of(&self, kind: &KindRow) -> impl Iterator<Item = (&ResourceId, &RawValue)> {
        let of = self.held.iter().filter(|((name, _), _)| *name == kind.name);
        of.map(|((_, id), held)| (id, &*held.document))
    }

    /// What they take up, at most.
    pub(super) fn bytes(&self) -> usize {
        let size = |((_, id), held): (&(&'static str, ResourceId), &Held)| {
            RESOURCE_BYTES + id.as_str().len() + held.document.get().len()
        };
        self.held.iter().map(size).sum()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Makes an edit here.
    pub(super) fn edit(&mut self, edit: &Edit) -> Result<Edited, ControlError> {
        let (row, id) = edit.name();
        row.check_id(id)?;
        let name = (row.name, id.clone());
        let version = self.held.get(&name).map(|held| held.version);
        let missing = || ControlError::NotFound(format!("there is no `{id}` among the `{}`", row.name));
        match (edit.expected(), version) {
            (Expected::New, Some(_)) => {
                return Err(ControlError::Exists(format!(
                    "there is a `{id}` among the `{}` already",
                    row.name
                )));
            }
            (Expected::Version(expected), Some(current)) if expected != current => {
                return Err(ControlError::Stale { current });
            }
            (Expected::Version(_), None) => return Err(missing()),
            (Expected::Any | Expected::New | Expected::Version(_), _) => {}
        }
        let before = self.document(row, id)?;
        let after = match edit {
            Edit::Put { document, .. } => Some(document.clone()),
            Edit::Patch { patch, .. } => {
                let mut document = before.clone().ok_or_else(missing)?;
                // So that a patch is told from what was there already.
                secrets::mask(row, &mut document);
                merge(&mut document, patch);
                Some(document)
            }
            Edit::Delete { .. } if before.is_none() => return Err(missing()),
            Edit::Delete { .. } => None,
        };
        let after =
            after.map(|mut document| accepted(row, id, &mut document, before.as_ref()).map(|()| document));
        let after = after.transpose()?;
        let kind = row.stored();
        let write = if let Some(document) = &after {
            let document = to_raw_value(document).map_err(|error| ControlError::Broken(Box::new(error)))?;
            // Its version is known once it is written; nobody asks for it before.
            let held = Held { kind: kind.clone(), version: 0, document: document.clone() };
            self.held.insert(name, held);
            Write::Put { kind, id: id.clone(), expected: version, document }
        } else {
            self.held.remove(&name);
            Write::Delete { kind, id: id.clone(), expected: version.unwrap_or(0) }
        };
        let changed = Changed::of(row, id, before.as_ref(), after.as_ref());
        Ok(Edited { write, changed, before, after })
    }
}

/// Whether a document may be stored; with the secrets that stay.
fn accepted(
    row: &KindRow,
    id: &ResourceId,
    document: &mut Value,
    former: Option<&Value>,
) -> Result<(), ControlError> {
    secrets::keep(row, document, former)?;
    secrets::references(row, document)?;
    row.check(id, document).map_err(ControlError::Invalid)
}

/// A document of the store.
pub(super) fn parsed(document: &RawValue) -> Result<Value, ControlError> {
    fields::parse(document.get().as_bytes())
        .map_err(|error: FieldError| ControlError::Broken(error.message.into()))
}

/// Applies a merge patch: RFC 7396, section 2.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_rfc_7396_hold() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} {patch}");
        }
    }
}
