//! Does an admin get what was asked for, or an error that says why not, and does nobody get anything else?
//!
//! The same on both engines. The detection rules are the shipped ones, as the shipped floor names them.

mod changes;
mod keys;
mod organisations;
mod platform;
mod secrets;

use crate::world::{World, organisation};
use palisade_control::folder::Folder;
use palisade_control::resources::{
    Actor, Control, ControlError, Edit, Expected, KindRow, Provision, Side, View, compose_organisation,
    compose_platform, kind, policy_kinds,
};
use palisade_control::sources::provider_secrets;
use palisade_control::store::{OrganisationId, Owner, ResourceId};
use palisade_filters::Policy;
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::policy::compile::{Grounds, Source};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

pub(crate) static SCANNER: LazyLock<Arc<Scanner>> =
    LazyLock::new(|| Arc::new(Scanner::new(rules::shipped().unwrap())));

/// A control plane of a test's own.
pub(crate) struct Room {
    pub(crate) control: Control,
    pub(crate) folder: Folder,
    pub(crate) world: World,
    _data: TempDir,
}

impl Room {
    pub(crate) async fn new(world: World) -> Self {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::open(data.path()).unwrap();
        let store = Arc::new(world.open().await);
        Self { control: Control::new(store, SCANNER.clone(), folder.clone()), folder, world, _data: data }
    }

    /// With an organisation and a provider.
    pub(crate) async fn with_acme(world: World) -> Self {
        let room = Self::new(world).await;
        room.provision("acme").await;
        let provider = json!({ "base_url": "https://a.example", "models": ["*"] });
        room.put(&Owner::Platform, "providers", "p", provider).await.unwrap();
        room
    }

    /// What changes the same store without knowing of the first, as another process would.
    pub(crate) fn second(&self) -> Control {
        Control::new(self.control.store().clone(), SCANNER.clone(), self.folder.clone())
    }

    pub(crate) async fn provision(&self, id: &str) {
        let asked = Provision { name: format!("{id} itself"), template: None };
        self.control.provision(&organisation(id), &asked, &by("ann")).await.unwrap();
    }

    /// Creates or replaces, whatever is there.
    pub(crate) async fn put(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        document: Value,
    ) -> Result<View, ControlError> {
        self.write(owner, kind, id, Expected::Any, document).await
    }

    pub(crate) async fn write(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        expected: Expected,
        document: Value,
    ) -> Result<View, ControlError> {
        let body = document.to_string();
        self.control.put(owner, row(owner, kind), &self::id(id), expected, body.as_bytes(), &by("ann")).await
    }

    pub(crate) async fn get(&self, owner: &Owner, kind: &str, id: &str) -> Result<View, ControlError> {
        self.control.get(owner, row(owner, kind), &self::id(id)).await
    }

    /// What a proxy would make of it.
    pub(crate) async fn policy(&self) -> Policy {
        let store = self.control.store();
        let platform = store.platform().all(&policy_kinds(Side::Platform)).await.unwrap();
        let platform = platform.resources.iter().map(|(kind, one)| (kind, &one.id, &*one.document));
        let platform = compose_platform(platform).unwrap();
        let (secrets, problems) = provider_secrets(&platform, self.folder.path());
        assert_eq!(problems, []);
        let mut sources = Vec::new();
        for id in store.organisations(None, 100).await.unwrap() {
            let all = store.tenant(&id).all(&policy_kinds(Side::Organisation)).await.unwrap();
            let all = all.resources.iter().map(|(kind, one)| (kind, &one.id, &*one.document));
            let document = Ok(compose_organisation(&id, all).unwrap());
            sources.push(Source { name: id.to_string(), fingerprint: 1, document });
        }
        let grounds =
            Grounds { scanner: SCANNER.clone(), secrets: &secrets, hash_secret: self.folder.hash_secret() };
        let platform = Source { name: "platform".to_owned(), fingerprint: 1, document: Ok(platform) };
        let (policy, errors) = Policy::compile(None, &platform, &sources, &grounds);
        assert_eq!(errors, []);
        policy.unwrap()
    }

    /// All entries of an owner's journal.
    pub(crate) async fn journal(&self, owner: &Owner) -> Vec<Value> {
        let journal = self.control.journal(owner, None, 1_000).await.unwrap();
        journal.resources.into_iter().map(|entry| entry.document).collect()
    }
}

pub(crate) fn by(name: &str) -> Actor {
    Actor { name: name.to_owned(), at: moment(1) }
}

/// So many days after the first of 2030.
pub(crate) fn moment(days: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_893_456_000 + days * 86_400)
}

pub(crate) fn acme() -> Owner {
    Owner::Organisation(organisation("acme"))
}

pub(crate) fn row(owner: &Owner, name: &str) -> &'static KindRow {
    kind(Side::of(owner), name).unwrap()
}

pub(crate) fn id(text: &str) -> ResourceId {
    ResourceId::new(text).unwrap()
}

pub(crate) fn put(owner: &Owner, kind: &str, name: &str, expected: Expected, document: Value) -> Edit {
    Edit::Put { kind: row(owner, kind), id: id(name), expected, document }
}

/// Where it is wrong, and what is said of it.
pub(crate) fn wrong<T: std::fmt::Debug>(result: Result<T, ControlError>) -> Vec<(String, String)> {
    let Err(ControlError::Invalid(errors)) = result else { panic!("{result:?}") };
    errors.into_iter().map(|error| (error.pointer, error.message)).collect()
}

pub(crate) fn of(id: &str) -> OrganisationId {
    organisation(id)
}
