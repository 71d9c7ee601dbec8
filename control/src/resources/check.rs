//! Would it compile?
//!
//! Needs an owner's resources as they would be, and the platform's as they are; proves that the one compiler, which
//! every proxy runs, takes them. It runs on a thread of its own: a large list takes a while, and others wait for
//! answers.

use super::change::Snapshot;
use super::compose::{compose_organisation, compose_platform};
use super::error::ControlError;
use super::fields::{self, FieldError};
use super::kinds::{KindRow, Shape};
use crate::attachments::Attached;
use crate::folder::Folder;
use crate::sources;
use crate::store::{OrganisationId, ResourceId};
use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::documents::{PlatformDocument, ProviderSecrets};
use palisade_filters::policy::compile::{Grounds, Source};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What compiling needs besides resources.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) scanner: Arc<Scanner>,
    pub(super) folder: Folder,
}

/// The platform, compiled, without organisations.
#[derive(Debug)]
pub(super) struct Platform {
    policy: Policy,
    source: Source<PlatformDocument>,
    secrets: ProviderSecrets,
    /// Which resources it was made of.
    pub(super) made_of: Vec<(&'static str, ResourceId, u64)>,
}

impl Platform {
    /// Compiles the platform's resources.
    pub(super) fn compile(ground: &Ground, snapshot: &Snapshot) -> Result<Self, Vec<FieldError>> {
        let document = compose_platform(snapshot.borrowed())
            .map_err(|error| vec![FieldError::new("", error.to_string())])?;
        let (secrets, problems) = sources::provider_secrets(&document, ground.folder.path());
        let source = Source { name: String::new(), fingerprint: 1, document: Ok(document) };
        let (policy, errors) = Policy::compile(None, &source, &[], &ground.grounds(&secrets));
        let problems: Vec<String> = problems.into_iter().chain(errors).map(|error| error.problem).collect();
        match (policy, &problems[..]) {
            (Some(policy), []) => Ok(Self { policy, source, secrets, made_of: snapshot.versions() }),
            // Why a secret cannot be read comes before the complaint that it is missing.
            (_, [first, ..]) => Err(vec![FieldError::new("", first.clone())]),
            (None, []) => Err(vec![FieldError::new("", "the platform does not compile")]),
        }
    }

    /// What organisations may name: if all of it stays, none of them can break.
    pub(super) fn names(&self) -> BTreeSet<(&'static str, &str)> {
        let Ok(document) = &self.source.document else { return BTreeSet::new() };
        let providers = document.providers.iter().map(|provider| ("provider", provider.name.as_str()));
        providers.chain(document.detectors.iter().map(|one| ("detector", one.name.as_str()))).collect()
    }

    /// Whether an organisation compiles under it.
    pub(super) fn takes(
        &self,
        ground: &Ground,
        id: &OrganisationId,
        snapshot: &Snapshot,
    ) -> Result<(), Vec<FieldError>> {
        let whole = |problem: String| vec![FieldError::new("", problem)];
        let mut document =
            compose_organisation(id, snapshot.borrowed()).map_err(|error| whole(error.to_string()))?;
        let attached = ground.folder.attach(&mut document, &mut Attached::default());
        attached.map_err(|unread| whole(unread.to_problem()))?;
        let source = Source { name: String::new(), fingerprint: 1, document: Ok(document) };
        let grounds = ground.grounds(&self.secrets);
        let (_, errors) = Policy::compile(Some(&self.policy), &self.source, &[source], &grounds);
        if errors.is_empty() {
            return Ok(());
        }
        Err(errors.into_iter().map(|error| FieldError::new("", error.problem)).collect())
    }
}

/// Whether an organisation can name one of these. If none of its texts holds one, it does not, and need not be compiled
/// to know that it does not miss it.
pub(super) fn may_name(snapshot: &Snapshot, names: &BTreeSet<String>) -> bool {
    let holds = |text: &str| names.iter().any(|name| text.contains(name.as_str()));
    snapshot.borrowed().any(|(_, _, document)| {
        let text = document.get();
        if !text.contains('\\') {
            return holds(text);
        }
        // An escape may stand for any character.
        serde_json::from_str(text).map_or(true, |value: Value| any_text(&value, &holds))
    })
}

fn any_text(value: &Value, holds: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => holds(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, holds)),
        Value::Object(members) => members.iter().any(|(name, value)| holds(name) || any_text(value, holds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Ground {
    fn grounds<'a>(&'a self, secrets: &'a ProviderSecrets) -> Grounds<'a> {
        Grounds { scanner: self.scanner.clone(), secrets, hash_secret: self.folder.hash_secret() }
    }
}

/// Runs what takes a while on a thread of its own.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ControlError::Broken(Box::new(error)))
}

/// The compiler speaks of the document as a whole. If it names a field of the one resource that was written, or repeats
/// a value of it, that is where it is.
pub(super) fn placed(row: &KindRow, written: &Value, errors: Vec<FieldError>) -> Vec<FieldError> {
    let place = |error: FieldError| {
        if !error.pointer.is_empty() {
            return error;
        }
        let named: Vec<&str> = error.message.split('`').skip(1).step_by(2).collect();
        let fields = named.iter().filter_map(|name| pointer(row, name));
        let field = fields.into_iter().find(|at| written.pointer(at).is_some()).unwrap_or_default();
        let inside =
            written.pointer(&field).and_then(|value| named.iter().find_map(|text| find(value, text)));
        FieldError { pointer: format!("{field}{}", inside.unwrap_or_default()), ..error }
    };
    errors.into_iter().map(place).collect()
}

/// Where a text stands in a value.
fn find(value: &Value, text: &str) -> Option<String> {
    match value {
        Value::String(found) => (found == text).then(String::new),
        Value::Array(values) => {
            let mut found = values.iter().enumerate();
            found.find_map(|(at, value)| find(value, text).map(|rest| format!("/{at}{rest}")))
        }
        Value::Object(members) => {
            let mut found = members.iter();
            found.find_map(|(name, value)| {
                find(value, text).map(|rest| format!("/{}{rest}", fields::escaped(name)))
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Where a field of the owner's document stands in a resource: `dlp.threshold` is `/threshold`.
fn pointer(row: &KindRow, name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let is_field = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if !parts.iter().all(is_field) {
        return None;
    }
    let below = |place: &[&str]| -> Option<String> {
        let rest = parts.strip_prefix(place).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().fold(String::new(), |out, part| format!("{out}/{}", fields::escaped(part))))
    };
    match row.shape {
        Shape::Members(members) => members.iter().find_map(|(member, way)| {
            (parts == *way)
                .then(|| format!("/{member}"))
                .or_else(|| Some(format!("/{member}{}", below(way)?)))
        }),
        Shape::Whole { place, .. } => below(place).or_else(|| below(&[])),
        Shape::List { .. } | Shape::Beside { .. } => below(&[]),
    }
}
