//! What of a change of rights stands in the journal?
//!
//! An entry of the same form as those of resources, in the same transaction as the change: neither is there without the
//! other, however a process ends. Before and after are told as they are [shown](super::AccountView) to whoever may look
//! at them, so that no hash, no secret of an authenticator and no text of a token can stand there. What happens too
//! often for this, signing in and trying to, stands among the [visits](super::Visit).

use super::error::AccessError;
use super::principal::Principal;
use super::{Access, AccessEvent};
use crate::resources::{Actor, Changed, entry_of};
use crate::store::{Accepted, Forgotten, Kind, Owner, ResourceId, Together, Write};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::SystemTime;

/// Who acts where nobody is signed in: whoever has the store and its master key.
pub(super) const ITSELF: &str = "palisade";

/// What somebody does to who may what.
#[derive(Clone, Debug)]
pub(super) struct Deed<'a> {
    pub(super) owner: &'a Owner,
    pub(super) actor: String,
    /// In a word: `token_created`.
    pub(super) action: &'static str,
    /// With what: its id.
    pub(super) object: &'a ResourceId,
    pub(super) at: SystemTime,
}

/// What it comes to.
#[derive(Debug, Default)]
pub(super) struct Effect {
    writes: Vec<Write>,
    changes: Vec<Changed>,
    forgotten: Vec<Forgotten>,
    /// What it was decided by, if nothing else of the owner may have changed since.
    read_at: Option<u64>,
}

impl Effect {
    /// For the owner as it was at this revision alone, if one is given.
    pub(super) fn read_at(mut self, revision: Option<u64>) -> Self {
        self.read_at = revision;
        self
    }

    /// With a write, and what it changes for whoever looks at it.
    pub(super) fn with(mut self, write: Write, before: Option<Value>, after: Option<Value>) -> Self {
        let (Write::Put { kind, id, .. } | Write::Delete { kind, id, .. }) = &write;
        self.changes.push(Changed { kind: kind.to_string(), id: id.to_string(), before, after });
        self.writes.push(write);
        self
    }

    /// With one that nobody looks at.
    pub(super) fn beside(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// With memos that end, without a word: it follows from what else is done.
    pub(super) fn forgetting(mut self, forgotten: impl IntoIterator<Item = Forgotten>) -> Self {
        self.forgotten.extend(forgotten);
        self
    }

    /// With something of this kind that ends and is no resource.
    pub(super) fn ending(
        mut self,
        kind: &Kind,
        id: &ResourceId,
        before: Value,
        forgotten: Forgotten,
    ) -> Self {
        let (kind, id) = (kind.to_string(), id.to_string());
        self.changes.push(Changed { kind, id, before: Some(before), after: None });
        self.forgotten.push(forgotten);
        self
    }
}

/// What is shown of it, without the version, which an entry knows anyway.
pub(super) fn shown<V: Serialize>(view: &V) -> Value {
    let mut shown = serde_json::to_value(view).unwrap_or_else(|_| json!({}));
    if let Some(members) = shown.as_object_mut() {
        members.remove("version");
    }
    shown
}

/// As the journal names somebody who is about to sign in, or just made their account.
pub(super) fn actor_of(owner: &Owner, account: &ResourceId) -> String {
    match owner {
        Owner::Platform => format!("account:{account}"),
        Owner::Organisation(id) => format!("account:{id}/{account}"),
    }
}

impl<'a> Deed<'a> {
    /// By somebody who proved who they are.
    pub(super) fn by(
        by: &Principal,
        owner: &'a Owner,
        action: &'static str,
        object: &'a ResourceId,
        at: SystemTime,
    ) -> Self {
        Self { owner, actor: by.actor(), action, object, at }
    }
}

impl Access {
    /// Does it, with its entry, or nothing at all. Gives the version of the first write.
    pub(super) async fn done(&self, deed: &Deed<'_>, effect: &Effect) -> Result<Accepted, AccessError> {
        let by = Actor { name: deed.actor.clone(), at: deed.at };
        let entry = |revision| entry_of(revision, &by, Some(deed.action), &effect.changes);
        let together = Together {
            writes: &effect.writes,
            read_at: effect.read_at,
            forgotten: &effect.forgotten,
            entry: Some(&entry),
        };
        let accepted = self.store.of(deed.owner).together(&together).await?;
        self.told(deed.at, deed.owner, deed.actor.clone(), deed.action, deed.object);
        Ok(accepted)
    }

    /// Says it to whoever keeps the log.
    pub(super) fn told(
        &self,
        at: SystemTime,
        owner: &Owner,
        actor: String,
        action: &'static str,
        object: impl fmt::Display,
    ) {
        (self.witness)(&AccessEvent { at, owner: owner.clone(), actor, action, object: object.to_string() });
    }
}

/// The version of what was written first.
pub(super) fn first_version(accepted: &Accepted) -> u64 {
    accepted.versions.first().copied().unwrap_or(0)
}
