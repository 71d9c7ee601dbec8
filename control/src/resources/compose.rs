//! How do an owner's resources make one document, and how is a document taken apart?
//!
//! Both are the table's places, read in one direction or the other: an admin's JSON is moved, never rewritten, so what
//! was written comes back as it was. What a document leaves out, no resource says. Composing does not judge: it reads
//! what was accepted, also by an earlier version of the product.

use super::fields::{self, FieldError};
use super::kinds::{KINDS, KindRow, Named, ONLY, POSITION, Shape, Side, Way, kind, position};
use super::secrets;
use super::shapes::UserDocument;
use crate::store::{Kind, OrganisationId, ResourceId};
use palisade_filters::documents::{OrganisationDocument, PlatformDocument, SecretRef};
use palisade_filters::secret::Secret;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A made id is no longer, so that a number fits behind it.
const MADE_ID_BYTES_MAX: usize = 100;

/// Why resources make no document, or a document no resources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(.kind, .id.as_ref()))]
pub struct ComposeError {
    /// In a resource of which kind; empty: in the document as a whole.
    pub kind: &'static str,
    /// In which one.
    pub id: Option<ResourceId>,
    /// What.
    pub problem: FieldError,
}

fn place(kind: &str, id: Option<&ResourceId>) -> String {
    match (kind, id) {
        ("", _) => String::new(),
        (kind, Some(id)) => format!("`{id}` among the `{kind}`: "),
        (kind, None) => format!("among the `{kind}`: "),
    }
}

/// A resource that a document was taken apart into.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its kind.
    pub kind: &'static KindRow,
    /// Which one.
    pub id: ResourceId,
    /// What it says.
    pub document: Value,
}

/// An organisation's document. The resources may come in any order; those that no policy is made of are passed over.
pub fn compose_organisation<'a>(
    id: &OrganisationId,
    resources: impl IntoIterator<Item = (&'a Kind, &'a ResourceId, &'a RawValue)>,
) -> Result<OrganisationDocument, ComposeError> {
    let mut assembled = Assembled::of(Side::Organisation, resources)?;
    assembled.document.insert("id".to_owned(), id.as_str().into());
    let mut document: OrganisationDocument = whole(assembled.document)?;
    for table in &mut document.dlp.exact_match {
        if let Some(secret) = assembled.given.remove(&("exact-match", table.id.clone())) {
            table.key = SecretRef::Given(secret);
        }
    }
    let is_group = |name: &String| document.groups.iter().any(|group| group.name == *name);
    for (id, user) in &assembled.users {
        if let Some(name) = user.groups.iter().find(|name| !is_group(name)) {
            let problem =
                FieldError::new("/groups", format!("there is no group `{name}`; add it to `groups`"));
            return Err(ComposeError { kind: "users", id: ResourceId::new(id).ok(), problem });
        }
    }
    for key in &mut document.keys {
        let Some(user) = key.user.as_ref().and_then(|user| assembled.users.get(user)) else { continue };
        key.enabled &= user.enabled;
        let more =
            user.groups.iter().filter(|group| !key.groups.contains(group)).cloned().collect::<Vec<_>>();
        key.groups.extend(more);
    }
    Ok(document)
}

/// The platform's document. The resources may come in any order; those that no policy is made of are passed over.
pub fn compose_platform<'a>(
    resources: impl IntoIterator<Item = (&'a Kind, &'a ResourceId, &'a RawValue)>,
) -> Result<PlatformDocument, ComposeError> {
    let mut assembled = Assembled::of(Side::Platform, resources)?;
    let mut document: PlatformDocument = whole(assembled.document)?;
    for provider in &mut document.providers {
        if let Some(secret) = assembled.given.remove(&("providers", provider.name.clone())) {
            provider.api_key = Some(SecretRef::Given(secret));
        }
    }
    Ok(document)
}

/// Takes an organisation's document apart, as `orgs/<id>.toml` has it.
pub fn decompose_organisation(document: Value) -> Result<Vec<Piece>, ComposeError> {
    whole_of::<OrganisationDocument>(&readable(Side::Organisation, &document)?)?;
    let Value::Object(mut document) = document else { return Ok(Vec::new()) };
    document.remove("id");
    decompose(Side::Organisation, document)
}

/// Takes the platform's document apart, as `platform.toml` has it.
pub fn decompose_platform(document: Value) -> Result<Vec<Piece>, ComposeError> {
    whole_of::<PlatformDocument>(&readable(Side::Platform, &document)?)?;
    let Value::Object(document) = document else { return Ok(Vec::new()) };
    decompose(Side::Platform, document)
}

/// A document as its type reads it, which knows secrets by their places alone: of those that are given themselves, only
/// that they are texts counts here.
fn readable(side: Side, document: &Value) -> Result<Value, ComposeError> {
    let mut document = document.clone();
    for row in KINDS.iter().filter(|row| row.side == side && !row.secrets.is_empty()) {
        let Shape::List { place, .. } = row.shape else { continue };
        let way = place.iter().fold(String::new(), |way, name| way + "/" + name);
        let Some(Value::Array(elements)) = document.pointer_mut(&way) else { continue };
        for (at, element) in elements.iter_mut().enumerate() {
            secrets::take_given(row, element).map_err(|problem| {
                let pointer = format!("{way}/{at}{}", problem.pointer);
                ComposeError { kind: "", id: None, problem: FieldError { pointer, ..problem } }
            })?;
        }
    }
    Ok(document)
}

fn whole<T: DeserializeOwned>(document: Map<String, Value>) -> Result<T, ComposeError> {
    whole_of(&Value::Object(document))
}

fn whole_of<T: DeserializeOwned>(document: &Value) -> Result<T, ComposeError> {
    // The way to a mistake is looked for only if there is one.
    T::deserialize(document).or_else(|_| fields::read(document)).map_err(|problem| ComposeError {
        kind: "",
        id: None,
        problem,
    })
}

/// What resources make, before it is read.
#[derive(Default)]
struct Assembled {
    document: Map<String, Value>,
    /// Secrets that were given themselves, by kind and name.
    given: HashMap<(&'static str, String), Secret>,
    users: BTreeMap<String, UserDocument>,
}

/// An element of a list, with what decides its place.
type Element<'a> = (u32, &'a ResourceId, Value);

impl Assembled {
    fn of<'a>(
        side: Side,
        resources: impl IntoIterator<Item = (&'a Kind, &'a ResourceId, &'a RawValue)>,
    ) -> Result<Self, ComposeError> {
        let mut assembled = Self::default();
        let mut lists: BTreeMap<&'static str, (Way, Vec<Element<'a>>)> = BTreeMap::new();
        for (name, id, document) in resources {
            let Some(row) = kind(side, name.as_str()).filter(|row| row.shapes_policy()) else { continue };
            let wrong = |problem| ComposeError { kind: row.name, id: Some(id.clone()), problem };
            let mut document = fields::parse(document.get().as_bytes()).map_err(wrong)?;
            match row.shape {
                Shape::Members(members) => {
                    for (name, way) in members {
                        if let Some(member) = document.as_object_mut().and_then(|all| all.remove(*name)) {
                            put(&mut assembled.document, way, member);
                        }
                    }
                }
                Shape::Whole { place, .. } => put(&mut assembled.document, place, document),
                Shape::List { place, named, .. } => {
                    let at = position(row, &document).map_err(wrong)?;
                    let secret = secrets::take_given(row, &mut document).map_err(wrong)?;
                    row.complete(id, &mut document);
                    if let (Some(secret), Named::By(member)) = (secret, named) {
                        let name = document.get(member).and_then(Value::as_str).unwrap_or_default();
                        assembled.given.insert((row.name, name.to_owned()), secret);
                    }
                    lists.entry(row.name).or_insert((place, Vec::new())).1.push((at, id, document));
                }
                Shape::Beside { .. } => {
                    let user = fields::read(&document).map_err(wrong)?;
                    assembled.users.insert(id.as_str().to_owned(), user);
                }
            }
        }
        for (place, mut elements) in lists.into_values() {
            elements.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
            let elements = elements.into_iter().map(|(_, _, element)| element).collect();
            put(&mut assembled.document, place, Value::Array(elements));
        }
        Ok(assembled)
    }
}

/// Puts a value at its place; an object joins what is there.
fn put(document: &mut Map<String, Value>, way: Way, value: Value) {
    let Some((first, rest)) = way.split_first() else { return };
    if !rest.is_empty() {
        let inner = document.entry(*first).or_insert_with(|| Value::Object(Map::new()));
        if let Some(inner) = inner.as_object_mut() {
            put(inner, rest, value);
        }
        return;
    }
    match (document.get_mut(*first), value) {
        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
        (Some(_) | None, value) => drop(document.insert((*first).to_owned(), value)),
    }
}

/// Takes the value at a place out, if there is one.
fn take(document: &mut Map<String, Value>, way: Way) -> Option<Value> {
    let (first, rest) = way.split_first()?;
    if rest.is_empty() {
        document.remove(*first)
    } else {
        take(document.get_mut(*first)?.as_object_mut()?, rest)
    }
}

fn decompose(side: Side, mut document: Map<String, Value>) -> Result<Vec<Piece>, ComposeError> {
    let mut pieces = Vec::new();
    let rows = || KINDS.iter().filter(|row| row.side == side);
    // Lists first: some are inside of what is a resource by itself.
    for row in rows() {
        if let Shape::List { place, named, ordered } = row.shape
            && let Some(Value::Array(elements)) = take(&mut document, place)
        {
            pieces.extend(list(row, named, ordered, elements)?);
        }
    }
    for row in rows() {
        let found = match row.shape {
            Shape::Members(members) => {
                let taken = members.iter().filter_map(|(name, way)| {
                    take(&mut document, way).map(|value| ((*name).to_owned(), value))
                });
                Some(taken.collect::<Map<_, _>>()).filter(|members| !members.is_empty())
            }
            Shape::Whole { place, but } => match take(&mut document, place) {
                // With nothing in it but lists, it says nothing.
                Some(Value::Object(members)) => Some(members).filter(|all| but.is_empty() || !all.is_empty()),
                Some(_) | None => None,
            },
            Shape::List { .. } | Shape::Beside { .. } => None,
        };
        if let Some(members) = found {
            let wrong = |error: crate::store::NameError| broken(row, error.to_string());
            let id = ResourceId::new(ONLY).map_err(wrong)?;
            pieces.push(Piece { kind: row, id, document: Value::Object(members) });
        }
    }
    match document.keys().next() {
        None => Ok(pieces),
        Some(name) => {
            let problem = FieldError::new(format!("/{}", fields::escaped(name)), "there is no kind for this");
            Err(ComposeError { kind: "", id: None, problem })
        }
    }
}

fn broken(row: &'static KindRow, message: String) -> ComposeError {
    ComposeError { kind: row.name, id: None, problem: FieldError::new("", message) }
}

/// Elements of a list, each under an id of its own.
fn list(
    row: &'static KindRow,
    named: Named,
    ordered: bool,
    elements: Vec<Value>,
) -> Result<Vec<Piece>, ComposeError> {
    let name = |element: &Value| match named {
        Named::By(member) => element.get(member).and_then(Value::as_str).map(str::to_owned),
        Named::After(_) => None,
    };
    // Names that are ids have them; the others get what is left.
    let names: BTreeSet<String> =
        elements.iter().filter_map(name).filter(|name| ResourceId::new(name).is_ok()).collect();
    let (mut taken, mut pieces) = (BTreeSet::new(), Vec::with_capacity(elements.len()));
    for mut document in elements {
        let named_so = name(&document).filter(|name| names.contains(name) && !taken.contains(name));
        let id = match (named_so, named) {
            (Some(name), Named::By(member)) => {
                document.as_object_mut().map(|members| members.remove(member));
                name
            }
            (None, Named::By(member)) => made(row, &document, &[member], &names, &taken),
            (Some(_) | None, Named::After(members)) => made(row, &document, members, &names, &taken),
        };
        taken.insert(id.clone());
        let id = ResourceId::new(&id).map_err(|error| broken(row, error.to_string()))?;
        pieces.push(Piece { kind: row, id, document });
    }
    if ordered && !pieces.is_sorted_by(|one, other| one.id < other.id) {
        for (at, piece) in pieces.iter_mut().enumerate() {
            piece
                .document
                .as_object_mut()
                .map(|members| members.insert(POSITION.to_owned(), (at + 1).into()));
        }
    }
    Ok(pieces)
}

/// An id for what has no name that could be one: of its words, with a number if another one has it.
fn made(
    row: &KindRow,
    document: &Value,
    members: &[&str],
    names: &BTreeSet<String>,
    taken: &BTreeSet<String>,
) -> String {
    let words = members.iter().filter_map(|member| document.get(member)?.as_str());
    let mut id = String::new();
    for byte in words.collect::<Vec<_>>().join("-").bytes() {
        let is_fit = byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        match is_fit {
            true => id.push(char::from(byte)),
            false if !id.ends_with('-') => id.push('-'),
            false => {}
        }
    }
    id.truncate(MADE_ID_BYTES_MAX);
    let id = id.trim_matches(['-', '.']);
    let id = if id.is_empty() { row.name } else { id };
    let is_free = |id: &String| !names.contains(id) && !taken.contains(id);
    let numbered = (2_u32..).map(|number| format!("{id}-{number}"));
    std::iter::once(id.to_owned()).chain(numbered).find(is_free).unwrap_or_else(|| id.to_owned())
}

#[cfg(test)]
mod tests;
