//! How is a resource read and changed?
//!
//! A change reads its owner as it is, makes the edits, has the whole compiled, and is written only if the owner is
//! still what was read: so two changes that are each well, and together are not, are never both accepted. Whoever lost
//! such a race is tried again, as long as the versions of its own resources stay. Writers of one owner take turns in
//! one process, so that trying again is rare; what keeps them apart is the store.
//!
//! What organisations name of the platform must stay while they do: a change of the platform that takes a name away
//! has every organisation compiled, and their writers wait meanwhile.

use super::change::{Edit, Edited, Expected, Snapshot, parsed};
use super::check::{Ground, Platform, aside, may_name, placed};
use super::claims;
use super::error::{ControlError, NAMED_MAX};
use super::fields;
use super::journal;
use super::kinds::{KindRow, STATUS, Side};
use super::secrets;
use crate::access::SESSIONS;
use crate::folder::Folder;
use crate::store::{
    CHANGE_BYTES_MAX, DOCUMENT_BYTES_MAX, Forgotten, Kind, OrganisationId, Owner, PAGE_MAX, Resource,
    ResourceId, Resources, Store, StoreError, Together,
};
use palisade_filters::dlp::Scanner;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::{Mutex as AsyncMutex, RwLock};

/// How often a change is tried that others overtake.
const ATTEMPTS_MAX: usize = 8;
/// Owners whose writers take turns by themselves; more of them share turns.
const TURNS: usize = 64;
/// What the resources of an owner may take up together: each change reads all of them, and so does every proxy. As much
/// as can be exported and imported as one, and far less than what is still read: who comes here can go back.
const OWNER_BYTES_MAX: usize = CHANGE_BYTES_MAX;
/// Organisations that are looked at in one go.
const PAGE: usize = 500;

/// Who changes something, and when.
#[derive(Clone, Debug)]
pub struct Actor {
    /// As the journal names it.
    pub name: String,
    /// When.
    pub at: SystemTime,
}

/// A resource as it is shown: without secrets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Which one of its kind.
    pub id: String,
    /// The one to expect in the next write.
    pub version: u64,
    /// The owner's revision that last changed it.
    pub revision: u64,
    /// What it says.
    pub document: Value,
}

/// Some resources of a kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Views {
    /// They, in the order of their ids.
    pub resources: Vec<View>,
    /// Where to go on; none: there are no more.
    pub next: Option<String>,
    /// The owner's revision that this was read at.
    pub revision: u64,
}

/// A change that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The owner's revision that it is.
    pub revision: u64,
    /// What was written, in the order of the edits; none: it was deleted.
    pub views: Vec<Option<View>>,
}

/// Who changes what we believe.
#[derive(Debug)]
pub struct Control {
    pub(super) store: Arc<Store>,
    ground: Arc<Ground>,
    /// The platform as it was last compiled.
    platform: Mutex<Option<Arc<Platform>>>,
    /// Written by a change that could break organisations, read by their writers.
    names: RwLock<()>,
    turns: Vec<AsyncMutex<()>>,
    hasher: RandomState,
}

impl Control {
    /// Changes what a store holds. Files that resources name lie in the folder.
    pub fn new(store: Arc<Store>, scanner: Arc<Scanner>, folder: Folder) -> Self {
        Self {
            store,
            ground: Arc::new(Ground { scanner, folder }),
            platform: Mutex::default(),
            names: RwLock::default(),
            turns: (0..TURNS).map(|_| AsyncMutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Where it is kept.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// One resource.
    pub async fn get(
        &self,
        owner: &Owner,
        kind: &'static KindRow,
        id: &ResourceId,
    ) -> Result<View, ControlError> {
        let found = self.of(owner).get(&kind.stored(), id).await?;
        let found = found
            .ok_or_else(|| ControlError::NotFound(format!("there is no `{id}` among the `{}`", kind.name)))?;
        view(Some(kind), &found)
    }

    /// Resources of a kind behind an id, in the order of ids.
    pub async fn list(
        &self,
        owner: &Owner,
        kind: &'static KindRow,
        after: Option<&ResourceId>,
        most: usize,
    ) -> Result<Views, ControlError> {
        self.views(owner, &kind.stored(), Some(kind), after, most).await
    }

    /// Who changed what of an owner, the oldest first.
    pub async fn journal(
        &self,
        owner: &Owner,
        after: Option<&ResourceId>,
        most: usize,
    ) -> Result<Views, ControlError> {
        self.views(owner, &journal::kind()?, None, after, most).await
    }

    /// Creates a resource, or replaces one, by what a caller sent.
    pub async fn put(
        &self,
        owner: &Owner,
        kind: &'static KindRow,
        id: &ResourceId,
        expected: Expected,
        body: &[u8],
        by: &Actor,
    ) -> Result<View, ControlError> {
        let edit = Edit::Put { kind, id: id.clone(), expected, document: read(body)? };
        self.one(owner, edit, by).await
    }

    /// Changes what a merge patch names.
    pub async fn patch(
        &self,
        owner: &Owner,
        kind: &'static KindRow,
        id: &ResourceId,
        expected: Expected,
        patch: &[u8],
        by: &Actor,
    ) -> Result<View, ControlError> {
        let edit = Edit::Patch { kind, id: id.clone(), expected, patch: read(patch)? };
        self.one(owner, edit, by).await
    }

    /// Deletes a resource. Gives the owner's revision.
    pub async fn delete(
        &self,
        owner: &Owner,
        kind: &'static KindRow,
        id: &ResourceId,
        expected: Expected,
        by: &Actor,
    ) -> Result<u64, ControlError> {
        let edit = Edit::Delete { kind, id: id.clone(), expected };
        Ok(self.apply(owner, &[edit], by).await?.revision)
    }

    /// Makes all of these edits, or none.
    pub async fn apply(&self, owner: &Owner, edits: &[Edit], by: &Actor) -> Result<Made, ControlError> {
        let side = Side::of(owner);
        let mut names = BTreeSet::new();
        for edit in edits {
            let (kind, id) = edit.name();
            if kind.side != side {
                return Err(ControlError::NotFound(format!("{owner} has no `{}`", kind.name)));
            }
            if !names.insert((kind.name, id)) {
                let message =
                    format!("`{id}` among the `{}` is written twice in one change; write it once", kind.name);
                return Err(ControlError::invalid("", message));
            }
        }
        let _turn = self.turn(owner).await;
        for _ in 0..ATTEMPTS_MAX {
            let made = match side {
                Side::Platform => {
                    let _alone = self.names.write().await;
                    self.attempt(owner, edits, by).await
                }
                Side::Organisation => {
                    let _together = self.names.read().await;
                    self.attempt(owner, edits, by).await
                }
            };
            match made {
                Err(ControlError::Store(StoreError::Moved { .. })) => {}
                made => return made,
            }
        }
        Err(ControlError::Contended)
    }

    /// Whether these edits would be accepted as things are, keys and issuers that are another organisation's included.
    /// Nothing is written.
    pub async fn check(&self, owner: &Owner, edits: &[Edit]) -> Result<(), ControlError> {
        let mut next = Snapshot::read(&self.of(owner), Side::of(owner)).await?;
        let edited = edited(&mut next, edits)?;
        match owner {
            Owner::Platform => self.check_platform(next).await,
            Owner::Organisation(id) => {
                self.check_organisation(id, next).await?;
                claims::check(&self.store, id, &claims::new(edits, &edited)).await
            }
        }
    }

    async fn attempt(&self, owner: &Owner, edits: &[Edit], by: &Actor) -> Result<Made, ControlError> {
        let resources = self.of(owner);
        let mut next = Snapshot::read(&resources, Side::of(owner)).await?;
        let read_at = next.revision;
        let edited = edited(&mut next, edits)?;
        let gone = claims::gone(edits, &edited, &next)?;
        let checked = match owner {
            Owner::Platform => self.check_platform(next).await,
            Owner::Organisation(id) => self.check_organisation(id, next).await,
        };
        checked.map_err(|error| match (error, edits, &edited[..]) {
            (ControlError::Invalid(errors), [edit], [Edited { after: Some(written), .. }]) => {
                ControlError::Invalid(placed(edit.name().0, written, errors))
            }
            (error, ..) => error,
        })?;
        let mut leaving = Vec::new();
        if let Owner::Organisation(id) = owner {
            claims::claim(&self.store, id, &claims::new(edits, &edited)).await?;
            leaving = claims::leaving(&self.store, id, &gone).await?;
        }
        let forgotten = forgotten(edits, &edited)?;
        let (mut writes, mut changes, mut afters) = (Vec::new(), Vec::new(), Vec::new());
        for one in edited {
            writes.push(one.write);
            changes.push(one.changed);
            afters.push(one.after);
        }
        let entry = |revision| journal::entry(revision, by, &changes);
        let together =
            Together { writes: &writes, read_at: Some(read_at), forgotten: &forgotten, entry: Some(&entry) };
        let accepted = resources.together(&together).await?;
        // The change stands. A claim that is not given up now stays, and can be taken over by nobody else.
        let _ = claims::release(&self.store, leaving).await;
        let written = edits.iter().zip(afters).zip(&accepted.versions);
        let views = written.map(|((edit, after), version)| {
            let (kind, id) = edit.name();
            let mut document = after?;
            secrets::mask(kind, &mut document);
            Some(View { id: id.to_string(), version: *version, revision: accepted.revision, document })
        });
        Ok(Made { revision: accepted.revision, views: views.collect() })
    }

    async fn check_organisation(&self, id: &OrganisationId, next: Snapshot) -> Result<(), ControlError> {
        let (platform, ground, id) = (self.compiled().await?, self.ground.clone(), id.clone());
        aside(move || platform.takes(&ground, &id, &next)).await?.map_err(ControlError::Invalid)
    }

    async fn check_platform(&self, next: Snapshot) -> Result<(), ControlError> {
        let ground = self.ground.clone();
        let compiled = aside(move || Platform::compile(&ground, &next)).await?;
        let next = Arc::new(compiled.map_err(ControlError::Invalid)?);
        // One that does not compile now, since a file of it is gone, has no names that could go.
        let now = match self.compiled().await {
            Ok(now) => Some(now),
            Err(ControlError::Invalid(_)) => None,
            Err(failed) => return Err(failed),
        };
        let gone = now.as_ref().map(|now| {
            let (now, next) = (now.names(), next.names());
            now.difference(&next).map(|(_, name)| (*name).to_owned()).collect::<BTreeSet<_>>()
        });
        if gone.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        self.check_all(now, next, gone.as_ref()).await
    }

    /// Whether every organisation that compiles does so with another platform. If it is known which names go, those who
    /// can name none of them do.
    async fn check_all(
        &self,
        now: Option<Arc<Platform>>,
        next: Arc<Platform>,
        gone: Option<&BTreeSet<String>>,
    ) -> Result<(), ControlError> {
        let (mut broken, mut count, mut after) = (Vec::new(), 0, None);
        loop {
            let ids = self.store.organisations(after.as_ref(), PAGE).await?;
            for id in &ids {
                let snapshot = match Snapshot::read(&self.store.tenant(id), Side::Organisation).await {
                    Ok(snapshot) => snapshot,
                    // Gone since it was listed, or without its key: nobody is served there, so nothing breaks.
                    Err(ControlError::NotFound(_) | ControlError::Store(StoreError::KeyMissing { .. })) => {
                        continue;
                    }
                    Err(failed) => return Err(failed),
                };
                if gone.is_some_and(|gone| !may_name(&snapshot, gone)) {
                    continue;
                }
                let (now, next, ground, its) = (now.clone(), next.clone(), self.ground.clone(), id.clone());
                let breaks = aside(move || {
                    next.takes(&ground, &its, &snapshot).is_err()
                        && now.is_none_or(|now| now.takes(&ground, &its, &snapshot).is_ok())
                });
                if breaks.await? {
                    count += 1;
                    if broken.len() < NAMED_MAX {
                        broken.push(id.clone());
                    }
                }
            }
            match ids.last() {
                Some(last) if ids.len() == PAGE => after = Some(last.clone()),
                Some(_) | None => break,
            }
        }
        if count > 0 { Err(ControlError::Breaks { organisations: broken, count }) } else { Ok(()) }
    }

    /// The platform as it is, compiled once for each of its states.
    async fn compiled(&self) -> Result<Arc<Platform>, ControlError> {
        let snapshot = Snapshot::read(&self.store.platform(), Side::Platform).await?;
        let known = self.platform.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.made_of == snapshot.versions()) {
            return Ok(known);
        }
        let ground = self.ground.clone();
        let compiled = aside(move || Platform::compile(&ground, &snapshot)).await?.map_err(|errors| {
            let first = errors.into_iter().map(|error| error.message).next().unwrap_or_default();
            ControlError::invalid("", format!("the platform itself does not compile now: {first}"))
        })?;
        let compiled = Arc::new(compiled);
        *self.platform.lock().unwrap_or_else(PoisonError::into_inner) = Some(compiled.clone());
        Ok(compiled)
    }

    pub(super) async fn one(&self, owner: &Owner, edit: Edit, by: &Actor) -> Result<View, ControlError> {
        let made = self.apply(owner, &[edit], by).await?;
        let written = made.views.into_iter().next().flatten();
        written.ok_or_else(|| ControlError::Broken("a write without what was written".into()))
    }

    pub(super) fn of(&self, owner: &Owner) -> Resources<'_> {
        match owner {
            Owner::Platform => self.store.platform(),
            Owner::Organisation(id) => self.store.tenant(id),
        }
    }

    pub(super) async fn turn(&self, owner: &Owner) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let turn = self.turns.get(self.hasher.hash_one(owner) as usize % TURNS)?;
        Some(turn.lock().await)
    }

    async fn views(
        &self,
        owner: &Owner,
        stored: &Kind,
        kind: Option<&'static KindRow>,
        after: Option<&ResourceId>,
        most: usize,
    ) -> Result<Views, ControlError> {
        let page = self.of(owner).list(stored, after, most.min(PAGE_MAX)).await?;
        let resources: Result<Vec<View>, ControlError> =
            page.resources.iter().map(|one| view(kind, one)).collect();
        Ok(Views { resources: resources?, next: page.next.map(|id| id.to_string()), revision: page.revision })
    }
}

/// Makes the edits, unless they would make too much of the owner. Whether it is served can be changed in any case.
fn edited(next: &mut Snapshot, edits: &[Edit]) -> Result<Vec<Edited>, ControlError> {
    let before = next.bytes();
    let mut edited = Vec::with_capacity(edits.len());
    for edit in edits {
        edited.push(next.edit(edit).map_err(|error| said_of(edit, edits.len(), error))?);
    }
    let after = next.bytes();
    let is_of_status = edits.iter().all(|edit| edit.name().0.name == STATUS);
    if after > OWNER_BYTES_MAX.max(before) && !is_of_status {
        return Err(ControlError::TooLarge(format!(
            "all resources together would take up {after} bytes, at most {OWNER_BYTES_MAX} are kept; delete some first"
        )));
    }
    Ok(edited)
}

/// What ends with these edits: an organisation that is suspended, however that is written, has no sessions any more.
fn forgotten(edits: &[Edit], edited: &[Edited]) -> Result<Vec<Forgotten>, ControlError> {
    let is_suspended = |edited: &Edited| {
        edited.after.as_ref().and_then(|after| after.get("suspended")).and_then(Value::as_bool) == Some(true)
    };
    let mut pairs = edits.iter().zip(edited);
    let suspends = pairs.any(|(edit, edited)| edit.name().0.name == STATUS && is_suspended(edited));
    Ok(if suspends { vec![Forgotten::All(Kind::new(SESSIONS)?)] } else { Vec::new() })
}

/// A resource of the store as it is shown.
fn view(kind: Option<&KindRow>, resource: &Resource) -> Result<View, ControlError> {
    let mut document = parsed(&resource.document)?;
    if let Some(kind) = kind {
        secrets::mask(kind, &mut document);
    }
    Ok(View { id: resource.id.to_string(), version: resource.version, revision: resource.revision, document })
}

/// What a caller sent.
fn read(body: &[u8]) -> Result<Value, ControlError> {
    if body.len() > DOCUMENT_BYTES_MAX {
        let message =
            format!("the document has {} bytes, at most {DOCUMENT_BYTES_MAX} are stored", body.len());
        return Err(ControlError::TooLarge(message));
    }
    Ok(fields::parse(body)?)
}

/// Of several edits, it is said which one is wrong.
fn said_of(edit: &Edit, edits: usize, error: ControlError) -> ControlError {
    let ControlError::Invalid(mut errors) = error else { return error };
    if edits > 1 {
        let (kind, id) = edit.name();
        for error in &mut errors {
            error.message = format!("`{id}` among the `{}`: {}", kind.name, error.message);
        }
    }
    ControlError::Invalid(errors)
}
