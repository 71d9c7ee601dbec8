//! How does a whole document become an owner's resources? For folders of documents under version control.
//!
//! The document is taken apart, compared with what is stored at one moment, and the difference is one change, or is
//! only told, with why it would not be accepted. What the document does not name stays, unless whoever applies says
//! that it is all there is. Whoever applies needs each permission of the difference, for all of the owner's.

use super::Api;
use super::answer::Answer;
use super::bodies::{self, Applied, Changed};
use super::guard::Admitted;
use super::problem::Problem;
use crate::access::{Permission, Reach, Refused, Verb};
use crate::resources::{
    ComposeError, ControlError, Edit, Expected, FieldError, KINDS, KindRow, Piece, Side,
    decompose_organisation, decompose_platform,
};
use crate::store::{Owner, ResourceId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Who is served is decided beside the documents, and never by leaving it out of them.
const NOT_PRUNED: &str = "status";

/// What is stored of one resource.
struct Stored {
    version: u64,
    document: Value,
}

type Name = (&'static str, String);

impl Api {
    pub(super) async fn apply(&self, call: &Admitted<'_>, body: &Value) -> Result<Answer, Problem> {
        let asked: bodies::Apply = bodies::read(body)?;
        of_the_owner(&call.owner, asked.document.get("id"))?;
        let pieces = decompose(&call.owner, Value::Object(asked.document))?;
        let stored = self.all(&call.owner).await?;
        let named: BTreeSet<Name> =
            pieces.iter().map(|piece| (piece.kind.name, piece.id.to_string())).collect();
        let (mut changes, mut edits) = (Vec::new(), Vec::new());
        for piece in pieces {
            let before = stored.get(&(piece.kind.name, piece.id.to_string()));
            let Some((changed, edit)) = difference(piece, before.map(|(_, stored)| stored)) else { continue };
            changes.push(changed);
            edits.push(edit);
        }
        let mut unnamed = Vec::new();
        for ((name, id), (row, stored)) in stored {
            if named.contains(&(name, id.clone())) || name == NOT_PRUNED {
                continue;
            }
            let left = Changed { verb: "keep", kind: name, id: id.clone(), members: Vec::new() };
            if !asked.prune {
                unnamed.push(left);
                continue;
            }
            let resource = ResourceId::new(&id).map_err(|_| Problem::not_found())?;
            edits.push(Edit::Delete { kind: row, id: resource, expected: Expected::Version(stored.version) });
            changes.push(Changed { verb: "delete", ..left });
        }
        permitted(call, &changes)?;
        let (mut problems, mut revision) = (Vec::new(), None);
        if asked.dry_run {
            problems = self.problems(&call.owner, &edits).await?;
        } else if !edits.is_empty() {
            revision = Some(self.control.apply(&call.owner, &edits, &call.actor()?).await?.revision);
        }
        Ok(Answer::of(&Applied { changes, unnamed, problems, revision }))
    }

    /// Why this change would not be accepted as things are.
    async fn problems(&self, owner: &Owner, edits: &[Edit]) -> Result<Vec<bodies::Wrong>, Problem> {
        if edits.is_empty() {
            return Ok(Vec::new());
        }
        match self.control.check(owner, edits).await {
            Ok(()) => Ok(Vec::new()),
            Err(ControlError::Invalid(errors)) => {
                let wrong = |FieldError { pointer, message }| bodies::Wrong { pointer, message };
                Ok(errors.into_iter().map(wrong).collect())
            }
            Err(error @ (ControlError::Breaks { .. } | ControlError::Refused(_))) => {
                Ok(vec![bodies::Wrong { pointer: String::new(), message: error.to_string() }])
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// All resources of an owner that the table knows, at one moment.
    async fn all(&self, owner: &Owner) -> Result<BTreeMap<Name, (&'static KindRow, Stored)>, Problem> {
        let rows: Vec<&'static KindRow> = KINDS.iter().filter(|row| row.side == Side::of(owner)).collect();
        let kinds: Vec<_> = rows.iter().map(|row| row.stored()).collect();
        let store = self.control.store();
        let resources = match owner {
            Owner::Platform => store.platform(),
            Owner::Organisation(id) => store.tenant(id),
        };
        let mut all = BTreeMap::new();
        for (kind, resource) in resources.all(&kinds).await?.resources {
            let Some(row) = rows.iter().find(|row| row.name == kind.as_str()) else { continue };
            let document = serde_json::from_str(resource.document.get()).unwrap_or_default();
            let stored = Stored { version: resource.version, document };
            all.insert((row.name, resource.id.to_string()), (*row, stored));
        }
        Ok(all)
    }
}

/// A document that names another organisation is not this one's: it was sent to the wrong place.
fn of_the_owner(owner: &Owner, id: Option<&Value>) -> Result<(), Problem> {
    match (owner, id.and_then(Value::as_str)) {
        (Owner::Organisation(organisation), Some(id)) if id != organisation.as_str() => {
            let message = format!("it is the document of `{}`; send it there", id.escape_debug());
            Err(Problem::field("/document/id", message))
        }
        (Owner::Organisation(_) | Owner::Platform, _) => Ok(()),
    }
}

fn decompose(owner: &Owner, document: Value) -> Result<Vec<Piece>, Problem> {
    let pieces = match owner {
        Owner::Platform => decompose_platform(document),
        Owner::Organisation(_) => decompose_organisation(document),
    };
    pieces.map_err(|error: ComposeError| {
        let pointer = if error.kind.is_empty() { error.problem.pointer.clone() } else { String::new() };
        Problem::field(format!("/document{pointer}"), error.to_string())
    })
}

/// What makes a resource what a piece says; nothing, if it is that already.
fn difference(piece: Piece, before: Option<&Stored>) -> Option<(Changed, Edit)> {
    let Piece { kind, id, document } = piece;
    let (verb, expected) = match before {
        Some(before) if before.document == document => return None,
        Some(before) => ("update", Expected::Version(before.version)),
        None => ("create", Expected::New),
    };
    let members = differing(before.map(|before| &before.document), &document);
    let changed = Changed { verb, kind: kind.name, id: id.to_string(), members };
    Some((changed, Edit::Put { kind, id, expected, document }))
}

/// Which members are not the same. Their values may be secrets, and are not told.
fn differing(before: Option<&Value>, after: &Value) -> Vec<String> {
    let members = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let (before, after) = (members(before), members(Some(after)));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// Whether each of these changes may be made.
fn permitted(call: &Admitted<'_>, changes: &[Changed]) -> Result<(), Problem> {
    let principal = call.principal()?;
    for changed in changes {
        let verb = match changed.verb {
            "create" => Verb::Create,
            "delete" => Verb::Delete,
            _ => Verb::Update,
        };
        let row =
            crate::resources::kind(Side::of(&call.owner), changed.kind).ok_or_else(Problem::not_found)?;
        let permission = Permission::new(row.permission, verb).ok_or_else(Problem::not_found)?;
        let reach = principal.reach(permission, &call.owner)?;
        if reach != Reach::All {
            return Err(Refused::Missing { permission, reach }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_and_not_shown() {
        let before = json!({ "a": 1, "secret": "x", "gone": true });
        let after = json!({ "a": 1, "secret": "y", "new": [] });
        assert_eq!(differing(Some(&before), &after), ["gone", "new", "secret"]);
        assert_eq!(differing(None, &after), ["a", "new", "secret"]);
        assert!(differing(Some(&after), &after).is_empty());
    }
}
