//! What do the documents say, and what is wrong with those that say nothing usable?
//!
//! Needs a folder; proves that every document was either understood or has an error that names its place, and
//! that no error repeats the value of a credential, nor a text that may be one in the wrong place. (Names of
//! variables and paths of files are repeated.) It resolves the providers' credentials, because the core reads
//! no files. It does not judge whether documents make sense: compiling does.

use crate::attachments::Attached;
use crate::folder::{Folder, FolderError, Listed, platform_name};
use palisade_filters::documents::{OrganisationDocument, PlatformDocument, ProviderSecrets, SecretRef};
use palisade_filters::policy::compile::{CompileError, Source};
use palisade_filters::secret::Secret;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A document. A key takes about 200 bytes, so this is some 80 000 of them.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// A provider's credential: far longer than any, and no upstream takes a longer header.
pub const SECRET_BYTES_MAX: u64 = 16 << 10;
/// Longer values are not repeated in errors, as they may be credentials. The words of the format are shorter.
const VALUE_BYTES_SHOWN_MAX: usize = 20;
/// The name of an environment variable, in bytes.
const VARIABLE_BYTES_MAX: usize = 128;

/// Everything that a policy is compiled from.
#[derive(Debug)]
pub struct Sources {
    /// `platform.toml`; without one, the empty document. Its fingerprint covers the credentials it refers to.
    pub platform: Source<PlatformDocument>,
    /// `orgs/*.toml`, in the order of their names.
    pub organisations: Vec<Source<OrganisationDocument>>,
    /// The providers' credentials that could be read.
    pub secrets: ProviderSecrets,
    /// The files that credentials are kept in: they belong into the next stamp.
    pub secret_files: Vec<PathBuf>,
    /// The files that organisations' documents refer to: so do they.
    pub attached_files: Vec<PathBuf>,
    /// Why credentials could not be read.
    pub problems: Vec<CompileError>,
    /// Whether the system failed to read something that is there. Nothing need change for it to succeed
    /// next time.
    pub is_incomplete: bool,
}

/// Why a file gave no text.
#[derive(Debug)]
pub(crate) enum Unread {
    Missing,
    Failed(io::Error),
    Unfit(String),
}

impl Folder {
    /// Reads everything. Fails only if it cannot be known which organisations there are.
    pub fn read(&self) -> Result<Sources, FolderError> {
        let listed = self.list()?;
        let mut sources = self.read_platform();
        self.tables().begin();
        for file in listed {
            match self.read_organisation(&file, &mut sources) {
                Ok(source) => sources.organisations.push(source),
                // Gone since it was listed: as if it had been gone before.
                Err(Unread::Missing) => {}
                Err(unread) => {
                    sources.is_incomplete |= matches!(unread, Unread::Failed(_));
                    let document = Err(unread.to_problem());
                    sources.organisations.push(Source { name: file.name(), fingerprint: 0, document });
                }
            }
        }
        Ok(sources)
    }

    fn read_organisation(
        &self,
        file: &Listed,
        sources: &mut Sources,
    ) -> Result<Source<OrganisationDocument>, Unread> {
        let text = read_text(&file.path, DOCUMENT_BYTES_MAX)?;
        let mut attached = Attached::default();
        let document = parse_organisation(&file.id, &text).and_then(|mut document| {
            self.attach(&mut document, &mut attached).map_err(|unread| {
                sources.is_incomplete |= matches!(unread, Unread::Failed(_));
                unread.to_problem()
            })?;
            Ok(document)
        });
        // Another list makes another document.
        let mut parts = vec![text.as_bytes()];
        parts.extend(attached.contents.iter().map(Vec::as_slice));
        let fingerprint = self.fingerprint(&parts);
        sources.attached_files.append(&mut attached.files);
        Ok(Source { name: file.name(), fingerprint, document })
    }

    fn read_platform(&self) -> Sources {
        let (text, unread) = match read_text(&self.platform_path(), DOCUMENT_BYTES_MAX) {
            Ok(text) => (text, None),
            Err(Unread::Missing) => (String::new(), None),
            Err(unread) => (String::new(), Some(unread)),
        };
        let document = match &unread {
            Some(unread) => Err(unread.to_problem()),
            None => parse::<PlatformDocument>(&text),
        };
        let mut sources = Sources {
            platform: Source { name: platform_name(), fingerprint: 0, document },
            organisations: Vec::new(),
            secrets: ProviderSecrets::new(),
            secret_files: Vec::new(),
            attached_files: Vec::new(),
            problems: Vec::new(),
            is_incomplete: matches!(unread, Some(Unread::Failed(_))),
        };
        self.resolve_secrets(&mut sources);
        let mut parts = vec![text.as_bytes()];
        let mut secrets: Vec<_> = sources.secrets.iter().collect();
        secrets.sort_unstable_by_key(|(name, _)| *name);
        parts.extend(secrets.iter().flat_map(|(name, secret)| [name.as_bytes(), secret.expose().as_bytes()]));
        sources.platform.fingerprint = self.fingerprint(&parts);
        sources
    }

    fn resolve_secrets(&self, sources: &mut Sources) {
        let Ok(document) = &sources.platform.document else { return };
        for provider in &document.providers {
            let secret = match &provider.api_key {
                None => continue,
                Some(SecretRef::Given(secret)) => usable(secret.expose()),
                Some(SecretRef::Env(variable)) => read_variable(variable),
                Some(SecretRef::File(path)) => {
                    let path = self.path().join(path);
                    sources.secret_files.push(path.clone());
                    read_secret(&path).map_err(|unread| {
                        sources.is_incomplete |= matches!(unread, Unread::Failed(_));
                        format!("the file `{}`: {}", path.display(), unread.to_problem())
                    })
                }
            };
            match secret {
                Ok(secret) => drop(sources.secrets.insert(provider.name.clone(), secret)),
                Err(problem) => {
                    sources.problems.push(unreadable(
                        sources.platform.name.clone(),
                        &provider.name,
                        &problem,
                    ));
                }
            }
        }
    }

    /// Keyed, so that a fingerprint in a log is no way to test guesses of a credential; each part with
    /// its length, so that no two lists of parts run together.
    pub(crate) fn fingerprint(&self, parts: &[&[u8]]) -> u64 {
        let mut hash = Sha256::new_with_prefix(self.hash_secret().expose());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(8).fold(0, |out, byte| out << 8 | u64::from(*byte))
    }
}

/// The credentials of providers, wherever they are kept, and why some cannot be read.
pub fn provider_secrets(document: &PlatformDocument, root: &Path) -> (ProviderSecrets, Vec<CompileError>) {
    let (mut secrets, mut problems) = (ProviderSecrets::new(), Vec::new());
    for provider in &document.providers {
        let Some(reference) = &provider.api_key else { continue };
        match secret(reference, root) {
            Ok(secret) => drop(secrets.insert(provider.name.clone(), secret)),
            Err(problem) => problems.push(unreadable(platform_name(), &provider.name, &problem)),
        }
    }
    (secrets, problems)
}

fn unreadable(document: String, provider: &str, problem: &str) -> CompileError {
    let problem = format!("provider `{provider}`: its `api_key` cannot be read: {problem}");
    CompileError { document, problem }
}

/// Reads an organisation's document whose file is named after `id`.
pub(crate) fn parse_organisation(id: &str, text: &str) -> Result<OrganisationDocument, String> {
    let document: OrganisationDocument = parse(text)?;
    if document.id == id {
        Ok(document)
    } else {
        Err(format!("its `id` is `{}`, but its file is named after `{id}`; make them the same", document.id))
    }
}

/// Reads the text of a document that is to be changed.
pub(crate) fn read_document(path: &Path) -> Result<Option<String>, String> {
    match read_text(path, DOCUMENT_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(Unread::Missing) => Ok(None),
        Err(unread) => Err(unread.to_problem()),
    }
}

/// Reads a document of any kind.
pub(crate) fn parse<D: DeserializeOwned>(text: &str) -> Result<D, String> {
    toml::from_str(text).map_err(|error| explain(text, error.span(), error.message()))
}

/// Says where and what, without the line itself, which `Display` would show: it may hold a pasted credential.
pub(crate) fn explain(text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> String {
    let Some(span) = span else { return message.to_owned() };
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    let place = format!("line {line}, column {column}");
    let rest = text.get(line_start..).unwrap_or_default();
    if rest.lines().next().is_some_and(|line| line.contains("api_key")) {
        let forms = "`{ env = \"NAME\" }` or `{ file = \"path\" }`";
        return format!("{place}: `api_key` says where the credential is kept, {forms}, and never holds it");
    }
    let value = text.get(span).unwrap_or_default().trim_matches(['"', '\'']);
    if value.len() > VALUE_BYTES_SHOWN_MAX && message.contains(value) {
        return format!("{place}: {}", message.replace(value, "…"));
    }
    format!("{place}: {}", message.trim_end())
}

pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, Unread> {
    let read = || {
        let mut bytes = Vec::new();
        // A pipe would be waited for at its opening already.
        if !std::fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    let bytes = match read() {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(Unread::Unfit("it is not a regular file".to_owned())),
        Err(cause) => return Err(Unread::of(cause)),
    };
    if bytes.len() as u64 > bytes_max {
        return Err(Unread::Unfit(format!("it is larger than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Unread::Unfit("it is not UTF-8".to_owned()))
}

/// The file that a secret is kept in, if it is one.
pub(crate) fn secret_file(reference: &SecretRef, root: &Path) -> Option<PathBuf> {
    match reference {
        SecretRef::Env(_) | SecretRef::Given(_) => None,
        SecretRef::File(path) => Some(root.join(path)),
    }
}

/// Reads a secret from where it is kept; a path that is not absolute begins in `root`.
pub fn secret(reference: &SecretRef, root: &Path) -> Result<Secret, String> {
    match reference {
        SecretRef::Given(secret) => usable(secret.expose()),
        SecretRef::Env(variable) => read_variable(variable),
        SecretRef::File(path) => {
            let path = root.join(path);
            read_secret(&path)
                .map_err(|unread| format!("the file `{}`: {}", path.display(), unread.to_problem()))
        }
    }
}

fn read_secret(path: &Path) -> Result<Secret, Unread> {
    let text = read_text(path, SECRET_BYTES_MAX)?;
    usable(text.trim_ascii_end()).map_err(Unread::Unfit)
}

fn read_variable(name: &str) -> Result<Secret, String> {
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > VARIABLE_BYTES_MAX || !name.bytes().all(is_name) {
        // Not repeated: what looks like no name may be the credential itself.
        return Err("`env` takes the name of a variable, of `A-Z`, `0-9` and `_`".to_owned());
    }
    let fail = |problem: String| format!("the environment variable `{name}`: {problem}");
    let value = match std::env::var(name) {
        Ok(value) => value,
        Err(std::env::VarError::NotPresent) => {
            return Err(fail("it is not set; set it and restart".to_owned()));
        }
        Err(std::env::VarError::NotUnicode(_)) => return Err(fail("it is not UTF-8".to_owned())),
    };
    usable(value.trim_ascii_end()).map_err(fail)
}

/// A credential travels in a header: RFC 9110 §5.5 allows visible characters and spaces, and a line end
/// would let it write headers of its own.
fn usable(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err("it holds characters that no header may carry; is there more than one line?".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

impl Unread {
    pub(crate) fn of(cause: io::Error) -> Self {
        if cause.kind() == ErrorKind::NotFound { Self::Missing } else { Self::Failed(cause) }
    }

    /// The same, with what it is said of.
    pub(crate) fn said_of(self, what: &str) -> Self {
        match self {
            Self::Failed(cause) => Self::Failed(io::Error::new(cause.kind(), format!("{what}: {cause}"))),
            Self::Missing | Self::Unfit(_) => Self::Unfit(format!("{what}: {}", self.to_problem())),
        }
    }

    pub(crate) fn to_problem(&self) -> String {
        match self {
            Self::Missing => "there is no such file".to_owned(),
            Self::Failed(cause) => format!("it cannot be read: {cause}"),
            Self::Unfit(problem) => problem.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const OPENAI: &str =
        "[[providers]]\nname = 'openai'\nbase_url = 'https://api.openai.com/v1'\nmodels = ['*']\n";

    fn folder() -> (tempfile::TempDir, Folder) {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        (room, folder)
    }

    fn with_platform(text: &str) -> (tempfile::TempDir, Folder, Sources) {
        let (room, folder) = folder();
        fs::write(folder.platform_path(), text).unwrap();
        let sources = folder.read().unwrap();
        (room, folder, sources)
    }

    #[test]
    fn an_empty_folder_is_an_empty_platform() {
        let (_room, folder) = folder();
        let sources = folder.read().unwrap();
        assert!(sources.platform.document.unwrap().providers.is_empty());
        assert!(sources.organisations.is_empty() && sources.problems.is_empty() && !sources.is_incomplete);
    }

    #[test]
    fn organisations_come_sorted_and_are_named_after_their_files() {
        let (_room, folder) = folder();
        for id in ["b", "a", "c"] {
            fs::write(folder.organisation_path(id), format!("id = '{}'", id.replace('c', "x"))).unwrap();
        }
        let sources = folder.read().unwrap();
        let names: Vec<_> = sources.organisations.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["orgs/a.toml", "orgs/b.toml", "orgs/c.toml"]);
        let error = sources.organisations[2].document.as_ref().unwrap_err();
        assert!(error.contains("`x`") && error.contains("`c`"), "{error}");
    }

    #[test]
    fn an_unknown_field_names_its_line_and_column() {
        let (_room, folder) = folder();
        fs::write(folder.organisation_path("a"), "id = 'a'\n\n[dlp]\n  treshold = 0.5\n").unwrap();
        let sources = folder.read().unwrap();
        let error = sources.organisations[0].document.as_ref().unwrap_err();
        assert!(error.starts_with("line 4, column 3: unknown field `treshold`"), "{error}");
    }

    #[test]
    fn unreadable_files_are_errors_of_their_own() {
        let (_room, folder) = folder();
        fs::write(folder.organisation_path("bytes"), b"id = '\xff'").unwrap();
        let large = File::create(folder.organisation_path("large")).unwrap();
        large.set_len(DOCUMENT_BYTES_MAX + 1).unwrap();
        fs::write(folder.organisation_path("well"), "id = 'well'").unwrap();
        let sources = folder.read().unwrap();
        let errors: Vec<_> =
            sources.organisations.iter().map(|source| source.document.as_ref().err()).collect();
        assert!(errors[0].unwrap().contains("UTF-8"));
        assert!(errors[1].unwrap().contains("larger than 16777216 bytes"));
        assert_eq!(errors[2], None);
    }

    #[test]
    fn credentials_come_from_files_and_variables_and_show_nowhere() {
        let text = OPENAI.to_owned()
            + "api_key = { file = 'keys/openai' }\n"
            + &OPENAI.replace("'openai'", "'other'");
        // A variable that every test run has.
        let text = text + "api_key = { env = 'CARGO_PKG_NAME' }\n";
        let (room, folder) = folder();
        fs::create_dir(room.path().join("keys")).unwrap();
        fs::write(room.path().join("keys/openai"), "sk-first-secret \r\n").unwrap();
        fs::write(folder.platform_path(), text).unwrap();
        let first = folder.read().unwrap();
        assert_eq!(first.secrets["openai"].expose(), "sk-first-secret");
        assert_eq!(first.secrets["other"].expose(), "palisade-control");
        assert_eq!(first.secret_files, [room.path().join("keys/openai")]);
        assert!(first.problems.is_empty());
        let shown = format!("{first:?}");
        assert!(!shown.contains("sk-first-secret") && !shown.contains("palisade-control"), "{shown}");

        assert_eq!(first.platform.fingerprint, folder.read().unwrap().platform.fingerprint);
        fs::write(room.path().join("keys/openai"), "sk-other-secret").unwrap();
        assert_ne!(first.platform.fingerprint, folder.read().unwrap().platform.fingerprint);
    }

    #[test]
    fn an_unreadable_credential_says_which_and_why() {
        let cases: [(&str, &[u8], &str); 6] = [
            ("{ env = 'PALISADE_TEST_NOT_SET' }", b"", "variable `PALISADE_TEST_NOT_SET`: it is not set"),
            ("{ env = 'sk-live-4321' }", b"", "`env` takes the name of a variable"),
            ("{ file = 'missing' }", b"", "missing`: there is no such file"),
            ("{ file = 'key' }", b" \n", "key`: it is empty"),
            (
                "{ file = 'key' }",
                b"sk-live-4321\nx-other: 1",
                "key`: it holds characters that no header may carry",
            ),
            ("{ file = 'orgs' }", b"", "orgs`: it is not a regular file"),
        ];
        for (reference, secret, wanted) in cases {
            let (room, folder) = folder();
            fs::write(room.path().join("key"), secret).unwrap();
            fs::write(folder.platform_path(), format!("{OPENAI}api_key = {reference}\n")).unwrap();
            let sources = folder.read().unwrap();
            let error = sources.problems[0].to_string();
            assert!(
                error.starts_with("platform.toml: provider `openai`: its `api_key` cannot be read: "),
                "{error}"
            );
            assert!(error.contains(wanted) && !error.contains("4321"), "{error}");
            assert!(!sources.secrets.contains_key("openai"));
        }
    }

    #[test]
    fn a_credential_pasted_into_a_document_is_not_repeated() {
        let long = "pk_live_ABCDEFGHIJKL_0123456789012345678901234567890123456789";
        for text in [
            format!("{OPENAI}api_key = '9876054321'\n"),
            format!("{OPENAI}api_key = \"9876054321\"\n"),
            format!("{OPENAI}api_key = sk-9876054321\n"),
            format!("{OPENAI}api_key = {{ key = '9876054321' }}\n"),
            format!("{OPENAI}api_key = 9876054321\n"),
            format!("{OPENAI}http = '{long}-9876054321'\n"),
            format!("{OPENAI}idle_timeout = '{long}-9876054321'\n"),
            format!("{OPENAI}allow_private_addresses = '{long}-9876054321'\n"),
            format!("{OPENAI}output_tokens_default = \"{long}-9876054321\"\n"),
        ] {
            let (_room, _folder, sources) = with_platform(&text);
            let shown = format!("{sources:?}");
            let error = sources.platform.document.unwrap_err();
            assert!(error.starts_with("line 5, column "), "{error}");
            assert!(!shown.contains("9876054321") && !error.contains("9876054321"), "{shown}");
        }
    }

    #[test]
    fn a_short_wrong_value_is_repeated_with_what_would_be_right() {
        let (_room, folder) = folder();
        fs::write(folder.organisation_path("a"), "id = 'a'\ndefault_action = 'permit'\n").unwrap();
        let sources = folder.read().unwrap();
        let error = sources.organisations[0].document.as_ref().unwrap_err();
        for part in ["line 2, column 18", "`permit`", "`allow`", "`deny`"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
