//! What is done with resources, whatever their kind?
//!
//! The document is the body, its version the `ETag`; lists hold both. Where a permission holds for one's own or one's
//! groups' resources, a change is asked for twice: of what is there, and of what would be. Rights that a key gets from
//! its user count as the key's own.

use super::Api;
use super::answer::Answer;
use super::bodies;
use super::guard::{Admitted, Whose};
use super::problem::{Name, Problem};
use super::routes::Operation;
use crate::access::{Reach, Verb};
use crate::resources::{Edit, Expected, KindRow, NewApiKey, Side, View, Views, kind, merge};
use crate::store::{Owner, ResourceId};
use serde_json::{Value, json};
use std::time::Duration;

/// Whose secrets are made here and not by callers.
const KEYS: &str = "api-keys";

impl Api {
    /// One operation on a resource.
    pub(super) async fn on_resource(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        operation: Operation,
        body: Value,
    ) -> Result<Answer, Problem> {
        match operation {
            Operation::List => self.list(call, row).await,
            Operation::Read => self.read(call, row).await,
            Operation::Put => self.put(call, row, body).await,
            Operation::Patch => self.patch(call, row, body).await,
            Operation::Delete => self.delete(call, row).await,
            Operation::CreateKey => self.create_key(call, &body).await,
            Operation::RotateKey => self.rotate_key(call, row, &body).await,
        }
    }

    async fn list(&self, call: &Admitted<'_>, row: &'static KindRow) -> Result<Answer, Problem> {
        let part = call.head.part()?;
        let mut views = self.control.list(&call.owner, row, part.after.as_ref(), part.most).await?;
        if call.reach != Reach::All {
            let mine = |view: &View| {
                call.may(row.permission, Verb::Read, &Whose::of(row.name, &view.id, &view.document)).is_ok()
            };
            views.resources.retain(mine);
        }
        Ok(Answer::of(&page(&views)))
    }

    async fn read(&self, call: &Admitted<'_>, row: &'static KindRow) -> Result<Answer, Problem> {
        let view = self.seen(call, row, &call.id()?).await?;
        if call.head.has(view.version) {
            return Ok(Answer::unchanged(view.version));
        }
        Ok(written(&view))
    }

    async fn put(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        document: Value,
    ) -> Result<Answer, Problem> {
        let (id, expected) = (call.id()?, call.expected.unwrap_or(Expected::New));
        if call.reach != Reach::All {
            if row.name == KEYS {
                return Err(forged());
            }
            if expected == Expected::New {
                self.may(call, row, Verb::Create, &id, &document).await?;
            } else {
                self.may_change(call, row, &id, &document).await?;
            }
        }
        let view = self.edit(call, Edit::Put { kind: row, id, expected, document }).await;
        // That it is there already is a precondition that does not hold (RFC 9110, 13.1.2).
        let view = view.map_err(|problem| match (problem.name, expected) {
            (Name::Conflict, Expected::New) => Problem { name: Name::Stale, ..problem },
            _ => problem,
        })?;
        Ok(written(&view))
    }

    async fn patch(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        patch: Value,
    ) -> Result<Answer, Problem> {
        let (id, expected) = (call.id()?, Expected::Version(call.version()?));
        if call.reach != Reach::All {
            if row.name == KEYS && patch.get("sha256").is_some() {
                return Err(forged());
            }
            let mut after = self.seen(call, row, &id).await?.document;
            merge(&mut after, &patch);
            self.may_change(call, row, &id, &after).await?;
        }
        let view = self.edit(call, Edit::Patch { kind: row, id, expected, patch }).await?;
        Ok(written(&view))
    }

    async fn delete(&self, call: &Admitted<'_>, row: &'static KindRow) -> Result<Answer, Problem> {
        let (id, expected) = (call.id()?, Expected::Version(call.version()?));
        if call.reach != Reach::All {
            let before = self.seen(call, row, &id).await?;
            self.may(call, row, Verb::Delete, &id, &before.document).await?;
        }
        self.control.delete(&call.owner, row, &id, expected, &call.actor()?).await?;
        Ok(Answer::done())
    }

    async fn create_key(&self, call: &Admitted<'_>, body: &Value) -> Result<Answer, Problem> {
        let asked: bodies::NewKey = bodies::read(body)?;
        let expires = asked.expires.as_deref().map(|text| bodies::moment("/expires", text)).transpose()?;
        let own = (call.reach == Reach::Own).then(|| call.principal().map(|who| who.user().to_owned()));
        let user = asked.user.or(own.transpose()?);
        let new = NewApiKey { name: asked.name, user, groups: asked.groups, models: asked.models, expires };
        let whose = Whose { user: new.user.clone(), groups: new.groups.clone() };
        self.may_of(call, Verb::Create, whose).await?;
        let made = self.control.create_key(call.organisation()?, &new, &call.actor()?).await?;
        let (key, view) = made;
        let made = bodies::MadeKey { key: bodies::shown(&key), id: view.id, document: view.document };
        Ok(Answer::created(&made).tagged(view.version))
    }

    async fn rotate_key(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        body: &Value,
    ) -> Result<Answer, Problem> {
        let (id, expected) = (call.id()?, Expected::Version(call.version()?));
        let asked: bodies::Rotate = bodies::read(body)?;
        let grace = asked.grace.as_deref().map(|text| bodies::duration("/grace", text)).transpose()?;
        let before = self.seen(call, row, &id).await?;
        self.may(call, row, Verb::Update, &id, &before.document).await?;
        let (organisation, grace) = (call.organisation()?, grace.unwrap_or(Duration::ZERO));
        let (key, view) = self.control.rotate_key(organisation, &id, expected, grace, &call.actor()?).await?;
        let made = bodies::MadeKey { key: bodies::shown(&key), id: view.id, document: view.document };
        Ok(Answer::of(&made).tagged(view.version))
    }

    /// A resource, if it may be looked at. What may not is not there.
    async fn seen(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        id: &ResourceId,
    ) -> Result<View, Problem> {
        let view = self.control.get(&call.owner, row, id).await?;
        let whose = Whose::of(row.name, &view.id, &view.document);
        match call.may(row.permission, Verb::Read, &whose) {
            Ok(()) => Ok(view),
            Err(problem) if call.reach == Reach::All => Err(problem),
            Err(_) => Err(Problem::not_found()),
        }
    }

    /// Whether a resource may be changed, and become this.
    async fn may_change(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        id: &ResourceId,
        after: &Value,
    ) -> Result<(), Problem> {
        let before = self.seen(call, row, id).await?;
        self.may(call, row, Verb::Update, id, &before.document).await?;
        self.may(call, row, Verb::Update, id, after).await
    }

    async fn may(
        &self,
        call: &Admitted<'_>,
        row: &'static KindRow,
        verb: Verb,
        id: &ResourceId,
        document: &Value,
    ) -> Result<(), Problem> {
        let whose = Whose::of(row.name, id.as_str(), document);
        if row.name == KEYS {
            return self.may_of(call, verb, whose).await;
        }
        call.may(row.permission, verb, &whose)
    }

    /// Whether this may be done with a key of these. A key has its user's groups besides its own.
    async fn may_of(&self, call: &Admitted<'_>, verb: Verb, mut whose: Whose) -> Result<(), Problem> {
        if let (Reach::Groups, Some(user)) = (call.reach, &whose.user)
            && let (Some(users), Ok(id)) = (kind(Side::of(&call.owner), "users"), ResourceId::new(user))
        {
            let stored = self.stored(&call.owner, users, &id).await?;
            whose.groups.extend(
                stored.map(|user| Whose::of(users.name, id.as_str(), &user)).unwrap_or_default().groups,
            );
        }
        call.may(KEYS, verb, &whose)
    }

    /// What is stored, if it is there.
    async fn stored(
        &self,
        owner: &Owner,
        row: &'static KindRow,
        id: &ResourceId,
    ) -> Result<Option<Value>, Problem> {
        match self.control.get(owner, row, id).await.map_err(Problem::from) {
            Ok(view) => Ok(Some(view.document)),
            Err(problem) if problem.name == Name::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    async fn edit(&self, call: &Admitted<'_>, edit: Edit) -> Result<View, Problem> {
        let made = self.control.apply(&call.owner, &[edit], &call.actor()?).await?;
        made.views.into_iter().flatten().next().ok_or_else(Problem::not_found)
    }
}

/// A resource as an answer.
fn written(view: &View) -> Answer {
    Answer::of(&view.document).tagged(view.version).with("palisade-revision", view.revision.to_string())
}

/// A page of them.
pub(super) fn page(views: &Views) -> Value {
    json!({ "items": views.resources, "next": views.next, "revision": views.revision })
}

/// Who reaches their own keys makes no secrets: one that is chosen can be guessed.
fn forged() -> Problem {
    let detail = "keys are made and rotated here, so that nobody chooses their secrets; use `POST`, and `PATCH` without \
                  `sha256`";
    Problem::new(Name::Forbidden, detail)
}
