//! How does a document of a folder travel to a control plane?
//!
//! Needs a folder or one of its files, on the machine of whoever sends it; proves that a [`Parcel`] is a document of
//! its kind, and holds in itself what its places of secrets, lists and keys of issuers named: the other side has none
//! of these files. Tables of exact data stay where they are, as they may be larger than anything that is sent. Nothing
//! is written, and no error repeats a secret. Whether documents make sense together, compiling says.

use crate::folder::{Folder, organisation_name, platform_name};
use crate::sources::{self, DOCUMENT_BYTES_MAX, Unread};
use crate::store::{OrganisationId, Owner};
use palisade_filters::documents::{OrganisationDocument, PlatformDocument, SecretRef};
use palisade_filters::jwt::SET_BYTES_MAX;
use palisade_filters::policy::compile::CompileError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{Item, Value as Written};

/// A document on its way.
pub struct Parcel {
    /// As errors name it: `orgs/acme.toml`.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// What is sent. It holds secrets.
    pub document: Value,
    /// As it stands in its file.
    text: String,
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Parcel({})", self.name)
    }
}

impl Parcel {
    /// All documents of a folder, the platform's first; or what is wrong, of all of them.
    pub fn all(dir: &Path) -> Result<Vec<Self>, Vec<CompileError>> {
        let failed = |problem: String| vec![wrong(dir.display().to_string(), problem)];
        let folder = Folder::look(dir).map_err(|error| failed(error.to_string()))?;
        let mut ids = Vec::new();
        if dir.join("orgs").is_dir() {
            ids = folder.organisations().map_err(|error| failed(error.to_string()))?;
        }
        let platform = folder.platform_path();
        let platform = platform.exists().then(|| Self::platform(&folder, &platform, platform_name()));
        let organisations = ids.iter().map(|id| {
            let path = folder.organisation_path(id);
            Self::organisation(&folder, &path, organisation_name(id), Some(id))
        });
        let (mut parcels, mut errors) = (Vec::new(), Vec::new());
        for read in platform.into_iter().chain(organisations) {
            match read {
                Ok(parcel) => parcels.push(parcel),
                Err(error) => errors.push(error),
            }
        }
        match (parcels.is_empty(), errors.is_empty()) {
            (_, false) => Err(errors),
            (true, true) => Err(failed("there is neither `platform.toml` nor `orgs/<id>.toml`".to_owned())),
            (false, true) => Ok(parcels),
        }
    }

    /// One document: the platform's if its file is called so, otherwise an organisation's.
    pub fn one(path: &Path) -> Result<Self, CompileError> {
        let name = path.display().to_string();
        // As if it lay in its folder, which is where it names other files.
        let parent = path.parent().unwrap_or(Path::new(""));
        let is_listed = parent.file_name().is_some_and(|name| name == "orgs");
        let root = if is_listed { parent.parent().unwrap_or(Path::new("")) } else { parent };
        let folder = Folder::look(root).map_err(|error| wrong(name.clone(), error.to_string()))?;
        if path.file_name().is_some_and(|name| name == "platform.toml") {
            return Self::platform(&folder, path, name);
        }
        Self::organisation(&folder, path, name, None)
    }

    fn platform(folder: &Folder, path: &Path, name: String) -> Result<Self, CompileError> {
        let read = || {
            let text = text(path)?;
            let read: PlatformDocument = sources::parse(&text)?;
            let mut document = sources::parse::<Value>(&text)?;
            for (at, provider) in read.providers.iter().enumerate() {
                let of = |problem: String| format!("provider `{}`: `api_key`: {problem}", provider.name);
                if let Some(place) = document.pointer_mut(&format!("/providers/{at}/api_key")) {
                    give(provider.api_key.as_ref(), folder, place).map_err(of)?;
                }
            }
            Ok((text, document))
        };
        let (text, document) = read().map_err(|problem: String| wrong(name.clone(), problem))?;
        Ok(Self { name, owner: Owner::Platform, document, text })
    }

    fn organisation(
        folder: &Folder,
        path: &Path,
        name: String,
        id: Option<&str>,
    ) -> Result<Self, CompileError> {
        let read = || {
            let text = text(path)?;
            let read: OrganisationDocument = match id {
                Some(id) => sources::parse_organisation(id, &text)?,
                None => sources::parse(&text)?,
            };
            let id = OrganisationId::new(&read.id).map_err(|unfit| format!("`id`: {unfit}"))?;
            let mut document = sources::parse::<Value>(&text)?;
            enclose(folder, &read, &mut document)?;
            Ok((text, document, id))
        };
        let (text, document, id) = read().map_err(|problem: String| wrong(name.clone(), problem))?;
        Ok(Self { name, owner: Owner::Organisation(id), document, text })
    }

    /// In which line of its file a place stands, or as much of it as is there.
    pub fn line(&self, pointer: &str) -> Option<usize> {
        let parts: Vec<String> =
            pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        let parsed = toml_edit::Document::parse(self.text.as_str()).ok()?;
        let found = span_of_item(parsed.as_item(), &parts)?;
        let before = self.text.get(..found.start)?;
        Some(before.bytes().filter(|byte| *byte == b'\n').count() + 1)
    }
}

/// Puts what an organisation's document names into it.
fn enclose(folder: &Folder, read: &OrganisationDocument, document: &mut Value) -> Result<(), String> {
    let file = |path: &PathBuf, bytes_max: u64| {
        let found = folder.listed(&read.id, path).and_then(|path| sources::read_text(&path, bytes_max));
        found.map_err(|unread: Unread| format!("`{}`: {}", path.display(), unread.to_problem()))
    };
    for (at, list) in read.dlp.keyword_lists.iter().enumerate() {
        let Some(path) = &list.file else { continue };
        let text = file(path, DOCUMENT_BYTES_MAX)
            .map_err(|problem| format!("keyword list `{}`: {problem}", list.id))?;
        let terms = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
        let terms: Value = terms.collect();
        replace(document, &format!("/dlp/keyword_lists/{at}"), "file", "terms", terms);
    }
    for (at, issuer) in read.jwt_issuers.iter().enumerate() {
        let Some(path) = &issuer.jwks_file else { continue };
        let text = file(path, SET_BYTES_MAX as u64)
            .map_err(|problem| format!("issuer `{}`: `jwks_file`: {problem}", issuer.issuer))?;
        replace(document, &format!("/jwt_issuers/{at}"), "jwks_file", "jwks", text.into());
    }
    for (at, table) in read.dlp.exact_match.iter().enumerate() {
        if let Some(place) = document.pointer_mut(&format!("/dlp/exact_match/{at}/key")) {
            give(Some(&table.key), folder, place)
                .map_err(|problem| format!("exact match `{}`: `key`: {problem}", table.id))?;
        }
    }
    Ok(())
}

/// Puts a member in the place of another one.
fn replace(document: &mut Value, element: &str, former: &str, name: &str, value: Value) {
    if let Some(members) = document.pointer_mut(element).and_then(Value::as_object_mut) {
        members.remove(former);
        members.insert(name.to_owned(), value);
    }
}

/// Puts a secret itself where a document says where it is kept.
fn give(reference: Option<&SecretRef>, folder: &Folder, place: &mut Value) -> Result<(), String> {
    if let Some(reference) = reference {
        let secret = sources::secret(reference, folder.path())?;
        *place = json!({ "value": secret.expose() });
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, String> {
    sources::read_text(path, DOCUMENT_BYTES_MAX).map_err(|unread| unread.to_problem())
}

fn wrong(document: String, problem: String) -> CompileError {
    CompileError { document, problem }
}

/// Where a place stands in a text, or the last thing on the way to it.
fn span_of_item(item: &Item, way: &[String]) -> Option<std::ops::Range<usize>> {
    let inner = way.split_first().and_then(|(first, rest)| match item {
        Item::Value(value) => span_of_value(value, way),
        Item::Table(table) => table.get(first).and_then(|item| span_of_item(item, rest)),
        Item::ArrayOfTables(tables) => {
            let table = tables.get(first.parse().ok()?)?;
            rest.split_first()
                .and_then(|(name, rest)| table.get(name).and_then(|item| span_of_item(item, rest)))
                .or_else(|| table.span())
        }
        Item::None => None,
    });
    inner.or_else(|| item.span())
}

fn span_of_value(value: &Written, way: &[String]) -> Option<std::ops::Range<usize>> {
    let inner = way.split_first().and_then(|(first, rest)| {
        let inner = match value {
            Written::Array(values) => values.get(first.parse().ok()?),
            Written::InlineTable(table) => table.get(first),
            Written::String(_)
            | Written::Integer(_)
            | Written::Float(_)
            | Written::Boolean(_)
            | Written::Datetime(_) => None,
        };
        inner.and_then(|inner| span_of_value(inner, rest))
    });
    inner.or_else(|| value.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PLATFORM: &str = "[[providers]]\nname = 'a'\nbase_url = 'https://a.example'\nmodels = ['*']\n\
                            api_key = { file = 'secrets/a' }\n";

    fn folder() -> tempfile::TempDir {
        let room = tempfile::tempdir().unwrap();
        for folder in ["orgs", "secrets", "lists/acme"] {
            fs::create_dir_all(room.path().join(folder)).unwrap();
        }
        fs::write(room.path().join("platform.toml"), PLATFORM).unwrap();
        fs::write(room.path().join("secrets/a"), "sk-first-secret\n").unwrap();
        room
    }

    #[test]
    fn a_folder_is_read_and_left_as_it_was() {
        let room = folder();
        let path = |name: &str| room.path().join(name);
        fs::write(path("lists/acme/names.txt"), "\u{feff}one name\r\n\n  \nother\n").unwrap();
        fs::write(path("lists/acme/keys.json"), "{\"keys\":[]}").unwrap();
        let text = "id = 'acme'\n[[dlp.keyword_lists]]\nid = 'own.names'\nentity = 'NAME'\ncategory = 'business'\n\
                    file = 'lists/acme/names.txt'\n[[dlp.exact_match]]\nid = 'own.t'\nentity = 'T'\n\
                    category = 'business'\nfile = 'lists/acme/t'\nkey = { file = 'secrets/a' }\n\
                    [[jwt_issuers]]\nissuer = 'https://i'\naudience = 'a'\njwks_file = 'lists/acme/keys.json'\n";
        fs::write(path("orgs/acme.toml"), text).unwrap();
        let parcels = Parcel::all(room.path()).unwrap();
        let names: Vec<&str> = parcels.iter().map(|parcel| parcel.name.as_str()).collect();
        assert_eq!(names, ["platform.toml", "orgs/acme.toml"]);
        let [platform, acme] = &parcels[..] else { panic!() };
        assert_eq!(platform.document["providers"][0]["api_key"], json!({ "value": "sk-first-secret" }));
        assert_eq!(acme.document["dlp"]["keyword_lists"][0]["terms"], json!(["one name", "other"]));
        assert!(acme.document["dlp"]["keyword_lists"][0].get("file").is_none());
        assert_eq!(acme.document["jwt_issuers"][0]["jwks"], "{\"keys\":[]}");
        assert_eq!(acme.document["dlp"]["exact_match"][0]["key"], json!({ "value": "sk-first-secret" }));
        assert_eq!(acme.document["dlp"]["exact_match"][0]["file"], "lists/acme/t");
        assert!(!format!("{parcels:?}").contains("sk-first"));
        assert!(!path("secrets/hash.key").exists() && !path(".lock").exists());
        let alone = Parcel::one(&path("orgs/acme.toml")).unwrap();
        assert_eq!((alone.owner, alone.document), (acme.owner.clone(), acme.document.clone()));
    }

    #[test]
    fn every_document_that_is_wrong_is_named() {
        let room = folder();
        fs::remove_file(room.path().join("secrets/a")).unwrap();
        fs::write(room.path().join("orgs/acme.toml"), "id = 'acme'\nnme = 'x'\n").unwrap();
        fs::write(room.path().join("orgs/b.toml"), "id = 'c'\n").unwrap();
        fs::write(room.path().join("orgs/Caps.toml"), "id = 'Caps'\n").unwrap();
        let errors = Parcel::all(room.path()).unwrap_err();
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for (line, parts) in lines.iter().zip([
            ["platform.toml: provider `a`: `api_key`: ", "secrets/a`: there is no such file"],
            ["orgs/Caps.toml: `id`: ", "`a-z`"],
            ["orgs/acme.toml: line 2, column 1: ", "`nme`"],
            ["orgs/b.toml: ", "its file is named after `b`"],
        ]) {
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
        assert_eq!(lines.len(), 4);
        let empty = tempfile::tempdir().unwrap();
        assert!(Parcel::all(empty.path()).unwrap_err()[0].problem.contains("neither"));
        let missing = Parcel::one(&empty.path().join("x.toml")).unwrap_err();
        assert!(missing.to_string().contains("x.toml: there is no such file"), "{missing}");
    }

    #[test]
    fn places_stand_in_lines() {
        let text = "id = 'a'\n\n[dlp]\nthreshold = 0.5\n\n[[groups]]\nname = 'x'\n\n[[groups]]\nname = 'y'\n\
                    models = ['a',\n 'b']\n";
        let owner = Owner::Platform;
        let parcel = Parcel { name: String::new(), owner, document: Value::Null, text: text.to_owned() };
        for (pointer, line) in [
            ("/id", 1),
            ("/dlp/threshold", 4),
            ("/dlp/nothing", 3),
            ("/groups/1", 9),
            ("/groups/1/name", 10),
            ("/groups/1/models/1", 12),
            ("/groups/1/nothing/7", 9),
        ] {
            assert_eq!(parcel.line(pointer), Some(line), "{pointer}");
        }
    }
}
