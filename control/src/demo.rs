//! What does somebody see first? A small organisation that works at once, in files meant to be read.
//!
//! Needs a folder and what the demo can reach; gives a key of the organisation `demo`. Files that exist
//! are never written anew: only the address of the demo's own provider is brought up to date, and the key
//! named `demo` replaced, as its secret was shown once and is gone.

use crate::edit;
use crate::folder::{Folder, FolderError, platform_name};
use crate::keys::{self, KeyError};
use crate::sources::read_document;
use crate::write::{self, Lock};
use palisade_filters::api_key::NewKey;
use palisade_filters::policy::compile::CompileError;

/// The organisation, and the name of its key.
const DEMO: &str = "demo";
/// The group of the key: the one that may use every model.
const GROUP: &str = "developers";
/// The double as providers: each with what its base URL ends with.
const MOCKS: [(&str, &str); 2] = [("mock", "/v1"), ("mock-anthropic", "")];
const UPSTREAM: &str = "upstream";

/// What the demo can reach.
#[derive(Clone, Debug, Default)]
pub struct DemoProviders {
    /// Where the provider double is, such as `http://127.0.0.1:4001`, if one runs. An upstream takes its place.
    pub double: Option<String>,
    /// The base URL that the user gave.
    pub upstream: Option<String>,
    /// Whether the environment has `OPENAI_API_KEY`.
    pub openai: bool,
    /// Whether the environment has `ANTHROPIC_API_KEY`.
    pub anthropic: bool,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The address is none.
    #[error("the upstream `{0}` begins with neither `https://` nor `http://`")]
    Upstream(String),
    /// A former demo was made without one.
    #[error(
        "`platform.toml` has no provider `{UPSTREAM}`; add one, or remove the file to have it written anew"
    )]
    NoUpstream,
    /// The platform's document cannot be used.
    #[error(transparent)]
    Document(#[from] CompileError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Writes the documents of the demo where there are none, and gives a new key.
pub fn seed(folder: &Folder, providers: &DemoProviders) -> Result<NewKey, SeedError> {
    if let Some(url) = &providers.upstream
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        return Err(SeedError::Upstream(url.clone()));
    }
    let lock = folder.lock()?;
    seed_platform(folder, &lock, providers)?;
    let organisation = folder.organisation_path(DEMO);
    if !organisation.exists() {
        write::replace(&lock, &organisation, &organisation_text(providers))?;
    }
    drop(lock);
    Ok(keys::renew(folder, DEMO, DEMO, &[GROUP.to_owned()])?)
}

fn seed_platform(folder: &Folder, lock: &Lock, providers: &DemoProviders) -> Result<(), SeedError> {
    let broken = |problem| CompileError { document: platform_name(), problem };
    let path = folder.platform_path();
    let former = read_document(&path).map_err(broken)?;
    let text = former.clone().unwrap_or_else(|| platform_text(providers));
    let text = match (&providers.upstream, &providers.double) {
        (Some(url), _) => {
            let pointed = edit::set_base_url(&text, UPSTREAM, url).map_err(broken)?;
            pointed.ok_or(SeedError::NoUpstream)?
        }
        // Who took the double out of the document did so on purpose.
        (None, Some(url)) => MOCKS.iter().try_fold(text, |text, (mock, end)| {
            let pointed = edit::set_base_url(&text, mock, &format!("{url}{end}")).map_err(broken)?;
            Ok::<_, SeedError>(pointed.unwrap_or(text))
        })?,
        (None, None) => text,
    };
    if former.as_ref() != Some(&text) {
        write::replace(lock, &path, &text)?;
    }
    Ok(())
}

fn platform_text(providers: &DemoProviders) -> String {
    let parts = [
        (true, include_str!("demo/platform.toml")),
        (providers.upstream.is_some(), include_str!("demo/upstream.toml")),
        (has_double(providers), include_str!("demo/mock.toml")),
        (providers.openai, include_str!("demo/openai.toml")),
        (providers.anthropic, include_str!("demo/anthropic.toml")),
    ];
    joined(&parts)
}

fn organisation_text(providers: &DemoProviders) -> String {
    let parts = [
        (true, include_str!("demo/organisation.toml")),
        (has_double(providers), include_str!("demo/route_mock.toml")),
        (providers.openai, include_str!("demo/route_openai.toml")),
        (providers.anthropic, include_str!("demo/route_anthropic.toml")),
    ];
    joined(&parts)
}

fn has_double(providers: &DemoProviders) -> bool {
    providers.upstream.is_none() && providers.double.is_some()
}

fn joined(parts: &[(bool, &str)]) -> String {
    parts.iter().filter(|(wanted, _)| *wanted).map(|(_, text)| *text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::dlp::{Scanner, rules};
    use palisade_filters::policy::compile::Grounds;
    use palisade_filters::secret::Secret;
    use palisade_filters::{Knock, Policy, Trust, identify};
    use std::fs;
    use std::sync::Arc;

    fn room() -> (tempfile::TempDir, Folder) {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        (room, folder)
    }

    fn double(port: u16) -> DemoProviders {
        DemoProviders { double: Some(format!("http://127.0.0.1:{port}")), ..DemoProviders::default() }
    }

    /// Compiles the folder as if every variable were set.
    fn compile(folder: &Folder, scanner: &Arc<Scanner>) -> Policy {
        let mut sources = folder.read().unwrap();
        for name in ["openai", "anthropic"] {
            sources.secrets.insert(name.to_owned(), Secret::new("s".to_owned()));
        }
        let grounds = Grounds {
            scanner: scanner.clone(),
            secrets: &sources.secrets,
            hash_secret: folder.hash_secret(),
        };
        let (policy, errors) = Policy::compile(None, &sources.platform, &sources.organisations, &grounds);
        assert_eq!(errors, []);
        policy.unwrap()
    }

    #[test]
    fn every_kind_of_demo_compiles_and_recognises_its_key() {
        let scanner = Arc::new(Scanner::new(rules::shipped().unwrap()));
        for kinds in 0..16 {
            let has = |kind: u8| kinds & kind != 0;
            let providers = DemoProviders {
                double: has(1).then(|| "http://127.0.0.1:4001".to_owned()),
                upstream: has(2).then(|| "http://localhost:11434/v1".to_owned()),
                openai: has(4),
                anthropic: has(8),
            };
            let (_room, folder) = room();
            let new = seed(&folder, &providers).unwrap();
            let policy = compile(&folder, &scanner);
            let knock = Knock {
                credentials: &[new.key.expose().to_owned()],
                address: None,
                certificate: None,
                now_ms: 1,
            };
            assert_eq!(identify(&policy, &Trust::default(), &knock).unwrap().key().groups, [GROUP]);
            let names: Vec<_> =
                policy.providers().iter().map(|provider| provider.document.name.as_str()).collect();
            let is_double = has(1) && !has(2);
            let [mock, mock_anthropic] = MOCKS.map(|(name, _)| (is_double, name));
            let expected =
                [(has(2), UPSTREAM), mock, mock_anthropic, (has(4), "openai"), (has(8), "anthropic")];
            let expected: Vec<_> = expected.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_second_start_changes_the_address_and_the_key_and_nothing_else() {
        let (_room, folder) = room();
        let texts = || {
            [folder.platform_path(), folder.organisation_path(DEMO)].map(|p| fs::read_to_string(p).unwrap())
        };
        let first = seed(&folder, &double(4001)).unwrap();
        let [platform, organisation] = texts();
        let second = seed(&folder, &double(4002)).unwrap();
        assert_ne!(first.id, second.id);
        let replaced = organisation.replace(&first.id, &second.id).replace(&first.sha256, &second.sha256);
        assert_eq!(texts(), [platform.replace(":4001", ":4002"), replaced]);
        assert!(platform.contains("4001\" # set anew when the demo starts"), "{platform}");
        assert!(platform.contains("4001/v1\" # set anew when the demo starts"), "{platform}");
        let rows = keys::list(&folder, Some(DEMO)).unwrap();
        assert_eq!((rows.len(), &rows[0].id), (1, &second.id));
    }

    #[test]
    fn what_a_person_changed_stays() {
        let (_room, folder) = room();
        seed(&folder, &double(4001)).unwrap();
        let (platform, organisation) = (folder.platform_path(), folder.organisation_path(DEMO));
        fs::write(&platform, "# mine\n").unwrap();
        fs::write(&organisation, "id = 'demo' # mine\ngroups = [{ name = 'developers' }]\n").unwrap();
        seed(&folder, &double(4001)).unwrap();
        assert_eq!(fs::read_to_string(&platform).unwrap(), "# mine\n");
        assert!(fs::read_to_string(&organisation).unwrap().starts_with("id = 'demo' # mine\n"));
    }

    #[test]
    fn an_upstream_that_cannot_be_used_is_refused_before_anything_is_written() {
        let (_room, folder) = room();
        let upstream = |url: &str| DemoProviders { upstream: Some(url.to_owned()), ..double(4001) };
        let error = seed(&folder, &upstream("localhost:11434")).unwrap_err().to_string();
        assert!(error.contains("`localhost:11434` begins with neither"), "{error}");
        assert!(!folder.platform_path().exists());
        seed(&folder, &double(4001)).unwrap();
        let error = seed(&folder, &upstream("http://localhost:11434/v1")).unwrap_err().to_string();
        assert!(error.contains("has no provider `upstream`"), "{error}");
    }
}
