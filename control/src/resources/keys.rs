//! How does an organisation get a key, and how is one replaced?
//!
//! The secret exists in the value that is given back, and nowhere else: what is stored is its hash, as `palisade keys
//! create` writes it. A rotated key goes on for a while beside its successor; whoever forgets to change to the new one
//! is refused at a moment that is known. A key is switched off, or its end is set, by a patch like any other resource.

use super::change::{Edit, Expected, parsed};
use super::claims::KEYS;
use super::control::{Actor, Control, View};
use super::error::ControlError;
use super::organisations::known;
use crate::folder::random;
use crate::keys::NAME_BYTES_MAX;
use crate::store::{OrganisationId, Owner, ResourceId};
use palisade_filters::api_key::{self, NewKey};
use palisade_filters::secret::Secret;
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};

/// A former key goes on no longer than that.
pub const GRACE_MAX: Duration = Duration::from_hours(90 * 24);

/// What a new key is for.
#[derive(Clone, Debug, Default)]
pub struct NewApiKey {
    /// For people.
    pub name: String,
    /// Who owns it.
    pub user: Option<String>,
    /// Groups of its owner.
    pub groups: Vec<String>,
    /// Models it may use, narrower than the groups'.
    pub models: Vec<String>,
    /// When it ends.
    pub expires: Option<SystemTime>,
}

impl Control {
    /// Creates a key. Its secret is in what is given back, and cannot be had again.
    pub async fn create_key(
        &self,
        organisation: &OrganisationId,
        asked: &NewApiKey,
        by: &Actor,
    ) -> Result<(Secret, View), ControlError> {
        if asked.name.len() > NAME_BYTES_MAX || asked.name.chars().any(char::is_control) {
            let message =
                format!("a key's name has at most {NAME_BYTES_MAX} bytes and no control characters");
            return Err(ControlError::invalid("/name", message));
        }
        if asked.expires.is_some_and(|end| end <= by.at) {
            return Err(ControlError::invalid("/expires", "a key's end lies in the future"));
        }
        let mut document = Map::new();
        document.insert("name".to_owned(), asked.name.clone().into());
        let user = asked.user.clone().map(Value::from);
        let lists = [("groups", &asked.groups), ("models", &asked.models)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        document.extend(lists.map(|(name, list)| (name.to_owned(), json!(list))));
        document.extend(user.map(|user| ("user".to_owned(), user)));
        document.extend(asked.expires.map(|end| ("expires".to_owned(), moment(end))));
        let (new, edit) = written(document)?;
        let view = self.one(&Owner::Organisation(organisation.clone()), edit, by).await?;
        Ok((new.key, view))
    }

    /// Gives a key a successor that may do the same, and lets it go on for a while.
    pub async fn rotate_key(
        &self,
        organisation: &OrganisationId,
        id: &ResourceId,
        expected: Expected,
        grace: Duration,
        by: &Actor,
    ) -> Result<(Secret, View), ControlError> {
        if grace > GRACE_MAX {
            let message = format!("a rotated key goes on for at most {} days", GRACE_MAX.as_secs() / 86_400);
            return Err(ControlError::invalid("/grace", message));
        }
        let (owner, row) = (Owner::Organisation(organisation.clone()), known(KEYS)?);
        let missing = || ControlError::NotFound(format!("there is no `{id}` among the `{KEYS}`"));
        let former = self.of(&owner).get(&row.stored(), id).await?.ok_or_else(missing)?;
        match expected {
            Expected::Version(version) if version != former.version => {
                return Err(ControlError::Stale { current: former.version });
            }
            Expected::Any | Expected::New | Expected::Version(_) => {}
        }
        let Value::Object(mut document) = parsed(&former.document)? else { return Err(missing()) };
        if document.get("enabled") == Some(&false.into()) {
            return Err(ControlError::Refused("this key is switched off; create a new one".to_owned()));
        }
        document.remove("id");
        let end = by.at + grace;
        // One that ends sooner does not go on for longer.
        let own = document
            .get("expires")
            .and_then(Value::as_str)
            .and_then(|text| humantime::parse_rfc3339(text).ok());
        let ends = Edit::Patch {
            kind: row,
            id: id.clone(),
            expected: Expected::Version(former.version),
            patch: json!({ "expires": moment(own.map_or(end, |own| own.min(end))) }),
        };
        let (new, edit) = written(document)?;
        let made = self.apply(&owner, &[edit, ends], by).await?;
        let view = made.views.into_iter().next().flatten();
        let view = view.ok_or_else(|| ControlError::Broken("a key without what was written".into()))?;
        Ok((new.key, view))
    }
}

/// A new key, and the edit that writes it.
fn written(mut document: Map<String, Value>) -> Result<(NewKey, Edit), ControlError> {
    let failed = |error: crate::FolderError| ControlError::Broken(Box::new(error));
    let new = api_key::create(random().map_err(failed)?, random().map_err(failed)?);
    document.insert("sha256".to_owned(), new.sha256.clone().into());
    let edit = Edit::Put {
        kind: known(KEYS)?,
        id: ResourceId::new(&new.id)?,
        expected: Expected::New,
        document: Value::Object(document),
    };
    Ok((new, edit))
}

fn moment(time: SystemTime) -> Value {
    humantime::format_rfc3339_seconds(time).to_string().into()
}
