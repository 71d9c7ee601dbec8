//! How does an organisation come, stop, go on, move and go?
//!
//! Whether it is served is one resource, `status`, which every proxy asks when it recognises a key: suspending changes
//! nothing else, so resuming restores exactly what was. An organisation that is to go is suspended first, and as long
//! as it is only that, it can come back; then its key is destroyed, and with it whatever was written, backups too.
//! What the platform did to organisations stands in the platform's journal, before it is done.

use super::change::{Edit, Expected, Snapshot, parsed};
use super::claims;
use super::compose::{ComposeError, Piece, decompose_organisation};
use super::control::{Actor, Control};
use super::error::ControlError;
use super::fields;
use super::journal::{self, Changed};
use super::kinds::{KindRow, ONLY, STATUS, Side, kind};
use super::shapes::{StatusDocument, TemplateDocument};
use crate::store::{DOCUMENT_BYTES_MAX, OrganisationId, Owner, ResourceId, StoreError, Together, WRITES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The version of what an export looks like.
const FORMAT: u64 = 1;
/// Resources of one change; the journal's entry comes on top.
const AT_ONCE: usize = WRITES_MAX - 1;
/// What a template cannot say, as each organisation has its own.
const NOT_OF_TEMPLATES: [&str; 4] = ["id", "name", "suspended", "keys"];

/// What a new organisation begins with.
#[derive(Clone, Debug, Default)]
pub struct Provision {
    /// For people.
    pub name: String,
    /// One of the platform's templates.
    pub template: Option<ResourceId>,
}

/// An organisation, as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrganisationView {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whether nobody gets in.
    pub suspended: bool,
    /// Whether nothing of it can be read, since its key is gone: then nobody gets in either.
    pub unreadable: bool,
}

/// All resources of an organisation, to be kept or moved. It holds secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The version of this form.
    pub format: u64,
    /// Whose they were.
    pub organisation: String,
    /// They.
    pub resources: Vec<ExportedResource>,
}

/// One of them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedResource {
    /// Its kind.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// What it says, with its secrets.
    pub document: Value,
}

impl Export {
    /// What a document of an organisation says, as `orgs/<id>.toml` has it.
    pub fn of_document(id: &OrganisationId, document: Value) -> Result<Self, ComposeError> {
        let pieces = decompose_organisation(document)?.into_iter();
        let resources = pieces.map(|piece| ExportedResource {
            kind: piece.kind.name.to_owned(),
            id: piece.id.to_string(),
            document: piece.document,
        });
        Ok(Self { format: FORMAT, organisation: id.to_string(), resources: resources.collect() })
    }

    /// Without what only one organisation can have: its keys, and the issuers it believes.
    #[must_use]
    pub fn without_claimed(mut self) -> Self {
        self.resources.retain(|resource| !["api-keys", "jwt-issuers"].contains(&resource.kind.as_str()));
        self
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Export({}, {} resources)", self.organisation, self.resources.len())
    }
}

impl std::fmt::Debug for ExportedResource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ExportedResource({} {})", self.kind, self.id)
    }
}

impl Control {
    /// Makes an organisation. If it cannot be what is asked for, there is none.
    pub async fn provision(
        &self,
        id: &OrganisationId,
        asked: &Provision,
        by: &Actor,
    ) -> Result<(), ControlError> {
        let mut document = match &asked.template {
            Some(template) => self.template(template).await?,
            None => Map::new(),
        };
        document.insert("id".to_owned(), id.as_str().into());
        document.insert("name".to_owned(), asked.name.clone().into());
        document.insert("suspended".to_owned(), false.into());
        let pieces = decompose_organisation(Value::Object(document))?;
        self.create(id, pieces, "provision", by).await
    }

    /// The organisations behind an id, in the order of ids.
    pub async fn organisations(
        &self,
        after: Option<&OrganisationId>,
        most: usize,
    ) -> Result<Vec<OrganisationView>, ControlError> {
        let mut views = Vec::new();
        for id in self.store.organisations(after, most).await? {
            match self.organisation(&id).await {
                Ok(view) => views.push(view),
                // Gone since it was listed.
                Err(ControlError::NotFound(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
        Ok(views)
    }

    /// One organisation.
    pub async fn organisation(&self, id: &OrganisationId) -> Result<OrganisationView, ControlError> {
        let id_text = id.to_string();
        let settings = match self.stored(id, "settings").await {
            Err(ControlError::Store(StoreError::KeyMissing { .. })) => {
                let name = String::new();
                return Ok(OrganisationView { id: id_text, name, suspended: true, unreadable: true });
            }
            settings => settings?.unwrap_or_default(),
        };
        let name = settings.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let suspended = self.is_suspended(id).await?;
        Ok(OrganisationView { id: id_text, name, suspended, unreadable: false })
    }

    /// Whether nobody gets in.
    pub async fn is_suspended(&self, id: &OrganisationId) -> Result<bool, ControlError> {
        let Some(status) = self.stored(id, STATUS).await? else { return Ok(false) };
        Ok(fields::read::<StatusDocument>(&status)?.suspended)
    }

    /// Lets nobody in, until it is resumed.
    pub async fn suspend(&self, id: &OrganisationId, by: &Actor) -> Result<(), ControlError> {
        self.set_suspended(id, true, by).await
    }

    /// Lets everybody in again who could come in before.
    pub async fn resume(&self, id: &OrganisationId, by: &Actor) -> Result<(), ControlError> {
        self.set_suspended(id, false, by).await
    }

    /// All that an organisation has, as it can be imported, with its secrets: its accounts and its journal aside. Who
    /// takes it stands in the journal before it is given.
    pub async fn export(&self, id: &OrganisationId, by: &Actor) -> Result<Export, ControlError> {
        let snapshot = Snapshot::read(&self.store.tenant(id), Side::Organisation).await?;
        let mut resources = Vec::with_capacity(snapshot.len());
        for (kind, id, document) in snapshot.borrowed() {
            let document = parsed(document)?;
            resources.push(ExportedResource { kind: kind.to_string(), id: id.to_string(), document });
        }
        let what = Changed {
            kind: "exports".to_owned(),
            id: id.to_string(),
            before: None,
            after: Some(json!({ "resources": resources.len(), "revision": snapshot.revision })),
        };
        let changes = [what];
        let entry = |revision| journal::entry_of(revision, by, Some("exported"), &changes);
        self.store.tenant(id).together(&Together { entry: Some(&entry), ..Together::default() }).await?;
        Ok(Export { format: FORMAT, organisation: id.to_string(), resources })
    }

    /// Makes an organisation out of an export. Until all of it is there, nobody gets in; if it cannot be, there is
    /// none.
    pub async fn import(&self, id: &OrganisationId, export: Export, by: &Actor) -> Result<(), ControlError> {
        if export.format != FORMAT {
            let message = format!("this version reads exports of the format {FORMAT}, not {}", export.format);
            return Err(ControlError::invalid("/format", message));
        }
        let mut pieces = Vec::with_capacity(export.resources.len());
        for (at, resource) in export.resources.into_iter().enumerate() {
            let row = kind(Side::Organisation, &resource.kind).ok_or_else(|| {
                ControlError::invalid(&format!("/resources/{at}/kind"), "an organisation has no such kind")
            })?;
            pieces.push(Piece { kind: row, id: ResourceId::new(&resource.id)?, document: resource.document });
        }
        self.create(id, pieces, "import", by).await
    }

    /// Erases a suspended organisation, for good; or what came back of an erased one with a backup.
    pub async fn erase(&self, id: &OrganisationId, by: &Actor) -> Result<(), ControlError> {
        let owner = Owner::Organisation(id.clone());
        let _turn = self.turn(&owner).await;
        let leaving = match Snapshot::read(&self.store.tenant(id), Side::Organisation).await {
            // Nobody is served there, and what it claimed nobody knows any more.
            Err(ControlError::Store(StoreError::KeyMissing { .. })) => Vec::new(),
            Err(failed) => return Err(failed),
            Ok(snapshot) => {
                if snapshot.len() > 0 && !self.is_suspended(id).await? {
                    let message =
                        format!("`{id}` is served; suspend it first, and erase it once nobody misses it");
                    return Err(ControlError::Refused(message));
                }
                claims::leaving(&self.store, id, &claims::of(&snapshot)?).await?
            }
        };
        self.record("erase", id, by).await?;
        self.store.delete_organisation(id).await?;
        claims::release(&self.store, leaving).await
    }

    async fn set_suspended(
        &self,
        id: &OrganisationId,
        suspended: bool,
        by: &Actor,
    ) -> Result<(), ControlError> {
        let document = serde_json::to_value(StatusDocument { suspended });
        let document = document.map_err(|error| ControlError::Broken(Box::new(error)))?;
        let edit = put(known(STATUS)?, ResourceId::new(ONLY)?, Expected::Any, document);
        self.apply(&Owner::Organisation(id.clone()), &[edit], by).await.map(drop)
    }

    async fn template(&self, id: &ResourceId) -> Result<Map<String, Value>, ControlError> {
        let row = kind(Side::Platform, "templates").ok_or_else(|| missing("templates"))?;
        let found = self.store.platform().get(&row.stored(), id).await?;
        let found = found
            .ok_or_else(|| ControlError::invalid("/template", format!("there is no template `{id}`")))?;
        let template: TemplateDocument = fields::read(&parsed(&found.document)?)?;
        match NOT_OF_TEMPLATES.iter().find(|name| template.organisation.contains_key(**name)) {
            Some(name) => Err(ControlError::invalid(
                "/template",
                format!(
                    "the template `{id}` says `{name}`, which each \
                                                                     organisation has its own of; take it out"
                ),
            )),
            None => Ok(template.organisation),
        }
    }

    async fn stored(&self, id: &OrganisationId, name: &str) -> Result<Option<Value>, ControlError> {
        let found = self.store.tenant(id).get(&known(name)?.stored(), &ResourceId::new(ONLY)?).await?;
        found.map(|found| parsed(&found.document)).transpose()
    }

    /// Makes an organisation with these resources. In the order of the table they stand on what came before.
    async fn create(
        &self,
        id: &OrganisationId,
        pieces: Vec<Piece>,
        verb: &'static str,
        by: &Actor,
    ) -> Result<(), ControlError> {
        self.record(verb, id, by).await?;
        self.store.create_organisation(id).await?;
        let made = self.fill(id, pieces, by).await;
        if made.is_err() {
            // Also what is left of it; if that fails, it is suspended or has nothing.
            self.store.delete_organisation(id).await?;
        }
        made
    }

    async fn fill(
        &self,
        id: &OrganisationId,
        mut pieces: Vec<Piece>,
        by: &Actor,
    ) -> Result<(), ControlError> {
        let owner = Owner::Organisation(id.clone());
        let rank = |piece: &Piece| super::KINDS.iter().position(|row| row == piece.kind);
        pieces.sort_by(|one, other| (rank(one), &one.id).cmp(&(rank(other), &other.id)));
        let status = known(STATUS)?;
        let is_one_change = pieces.len() <= AT_ONCE && bytes(&pieces) <= DOCUMENT_BYTES_MAX;
        let mut last = None;
        if !is_one_change {
            last = pieces.iter().position(|piece| piece.kind == status).map(|at| pieces.remove(at));
            self.suspend(id, by).await?;
        }
        for some in parts(pieces) {
            self.apply(&owner, &some, by).await?;
        }
        if !is_one_change {
            let document = last.map_or_else(|| json!({ "suspended": false }), |piece| piece.document);
            let edit = put(status, ResourceId::new(ONLY)?, Expected::Any, document);
            self.apply(&owner, &[edit], by).await?;
        }
        Ok(())
    }

    /// An entry of the platform's journal about an organisation.
    async fn record(&self, verb: &'static str, id: &OrganisationId, by: &Actor) -> Result<(), ControlError> {
        let what = Changed {
            kind: "organisations".to_owned(),
            id: id.to_string(),
            before: None,
            after: Some(json!({ "begun": verb })),
        };
        let changes = [what];
        let entry = |revision| journal::entry(revision, by, &changes);
        let alone = Together { entry: Some(&entry), ..Together::default() };
        self.store.platform().together(&alone).await?;
        Ok(())
    }
}

fn put(kind: &'static KindRow, id: ResourceId, expected: Expected, document: Value) -> Edit {
    Edit::Put { kind, id, expected, document }
}

fn bytes(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.document.to_string().len()).sum()
}

/// Changes that are small enough, one after the other.
fn parts(pieces: Vec<Piece>) -> Vec<Vec<Edit>> {
    let (mut parts, mut room) = (Vec::<Vec<Edit>>::new(), 0);
    for piece in pieces {
        let size = piece.document.to_string().len();
        let fits = size <= room && parts.last().is_some_and(|part| part.len() < AT_ONCE);
        if !fits {
            parts.push(Vec::new());
            room = DOCUMENT_BYTES_MAX;
        }
        room = room.saturating_sub(size);
        if let Some(part) = parts.last_mut() {
            part.push(put(piece.kind, piece.id, Expected::New, piece.document));
        }
    }
    parts
}

/// A kind that this room itself knows.
pub(super) fn known(name: &str) -> Result<&'static KindRow, ControlError> {
    kind(Side::Organisation, name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ControlError {
    ControlError::Broken(format!("there is no kind `{name}`").into())
}
