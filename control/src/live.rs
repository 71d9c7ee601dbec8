//! Which policy holds now, and what keeps the documents from being it?
//!
//! Needs a folder and the detection rules; proves that there is always a policy, that a broken document
//! keeps its last good state, and that each problem is reported once until its document changes. It owns
//! no thread and no timer: whoever runs it asks [`Live::refresh`] as often as a change may wait to be
//! seen.

use crate::ahead::{self, Cores};
use crate::folder::{Folder, FolderError};
use crate::sources::Sources;
use crate::stamp::Stamp;
use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::policy::Unknown;
use palisade_filters::policy::compile::{CompileError, Grounds};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Why there is no first policy. Later, the last good one would stay.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What all organisations share does not compile.
    #[error("{}", lines(.0))]
    Platform(Vec<CompileError>),
}

fn lines(errors: &[CompileError]) -> String {
    errors.iter().enumerate().fold(String::new(), |mut out, (at, error)| {
        let _ = write!(out, "{}{error}", if at == 0 { "" } else { "\n" });
        out
    })
}

/// The policy of a folder, kept up to date.
#[derive(Debug)]
pub struct Live {
    folder: Folder,
    scanner: Arc<Scanner>,
    policy: Arc<Policy>,
    /// Which text of each document the policy was made of: not always the one that is there.
    in_force: BTreeMap<String, u64>,
    /// What is wrong now, each with the fingerprint of the text that it was said of.
    standing: Vec<(u64, CompileError)>,
    /// None if the last reading should be repeated, changed or not.
    stamp: Option<Stamp>,
    secret_files: Vec<PathBuf>,
    attached_files: Vec<PathBuf>,
}

/// What one reading brought.
#[derive(Debug)]
pub struct Reloaded {
    /// What holds now.
    pub policy: Arc<Policy>,
    /// Problems that were not there before, or whose document changed and still has them.
    pub errors: Vec<CompileError>,
    /// Whether the policy is another one than before.
    pub changed: bool,
}

impl Live {
    /// The first policy, with the errors of organisations that have none because of them.
    pub fn load(folder: Folder, scanner: Arc<Scanner>) -> Result<(Self, Vec<CompileError>), LoadError> {
        // Before reading: what changes meanwhile is then seen as a change.
        let stamp = folder.stamp(&[]);
        let sources = folder.read()?;
        let (policy, errors) = compile(None, &folder, &scanner, &sources);
        let Some(policy) = policy else { return Err(LoadError::Platform(errors)) };
        let mut live = Self {
            in_force: in_force(&BTreeMap::new(), &sources, &errors),
            standing: with_fingerprints(&sources, errors.clone()),
            policy: Arc::new(policy),
            stamp: None,
            secret_files: Vec::new(),
            attached_files: Vec::new(),
            folder,
            scanner,
        };
        live.remember(stamp, sources);
        Ok((live, errors))
    }

    /// Reads again if anything was changed; none if nothing was.
    pub fn refresh(&mut self) -> Option<Reloaded> {
        let is_same = self.stamp.as_ref() == Some(&self.folder.stamp(&self.watched()));
        (!is_same).then(|| self.reload())
    }

    /// Reads again.
    pub fn reload(&mut self) -> Reloaded {
        let stamp = self.folder.stamp(&self.watched());
        let sources = match self.folder.read() {
            Ok(sources) => sources,
            Err(error) => return self.without_sources(&error),
        };
        let (policy, errors) = compile(Some(&self.policy), &self.folder, &self.scanner, &sources);
        let in_force = in_force(&self.in_force, &sources, &errors);
        let changed = in_force != self.in_force;
        if let Some(policy) = policy.filter(|_| changed) {
            self.policy = Arc::new(policy);
            self.in_force = in_force;
        }
        let errors = self.report(with_fingerprints(&sources, errors));
        self.remember(stamp, sources);
        Reloaded { policy: self.policy.clone(), errors, changed }
    }

    /// What holds now.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Everything that is wrong now, reported before or not.
    pub fn errors(&self) -> impl Iterator<Item = &CompileError> {
        self.standing.iter().map(|(_, error)| error)
    }

    /// A folder that cannot be listed says nothing about any document: everything stays as it is.
    fn without_sources(&mut self, error: &FolderError) -> Reloaded {
        let document = self.folder.path().display().to_string();
        let errors = self.report(vec![(0, CompileError { document, problem: error.to_string() })]);
        self.stamp = None;
        Reloaded { policy: self.policy.clone(), errors, changed: false }
    }

    /// The stamp does not know files that only this reading brought to light; the next one then
    /// differs, and one reading too many is made.
    fn remember(&mut self, stamp: Stamp, sources: Sources) {
        self.stamp = (!sources.is_incomplete).then_some(stamp);
        // While the platform's document is broken, what it refers to is unknown.
        if sources.platform.document.is_ok() {
            self.secret_files = sources.secret_files;
        }
        self.attached_files = sources.attached_files;
    }

    /// Files besides documents that a change of counts.
    fn watched(&self) -> Vec<PathBuf> {
        [self.secret_files.as_slice(), &self.attached_files].concat()
    }

    /// Takes what is wrong now; gives what is new in it.
    fn report(&mut self, standing: Vec<(u64, CompileError)>) -> Vec<CompileError> {
        let before = std::mem::replace(&mut self.standing, standing);
        let new = self.standing.iter().filter(|error| !before.contains(error));
        new.map(|(_, error)| error.clone()).collect()
    }
}

fn compile(
    before: Option<&Policy>,
    folder: &Folder,
    scanner: &Arc<Scanner>,
    sources: &Sources,
) -> (Option<Policy>, Vec<CompileError>) {
    let grounds =
        Grounds { scanner: scanner.clone(), secrets: &sources.secrets, hash_secret: folder.hash_secret() };
    let cores = if before.is_some() { Cores::Half } else { Cores::All };
    let ahead = |unknown: &[Unknown<'_>]| ahead::compile(unknown, scanner, cores);
    let (policy, errors) =
        Policy::compile_ahead(before, &sources.platform, &sources.organisations, &grounds, ahead);
    // Why a credential cannot be read comes before the complaint that it is missing.
    (policy, sources.problems.iter().cloned().chain(errors).collect())
}

/// The texts that the policy is made of now: a document with an error leaves the text before it in force.
fn in_force(
    before: &BTreeMap<String, u64>,
    sources: &Sources,
    errors: &[CompileError],
) -> BTreeMap<String, u64> {
    let broken: std::collections::HashSet<&str> =
        errors.iter().map(|error| error.document.as_str()).collect();
    let found = fingerprints(sources).filter_map(|(name, fingerprint)| {
        let text = if broken.contains(name) { before.get(name).copied() } else { Some(fingerprint) };
        text.map(|text| (name.to_owned(), text))
    });
    found.collect()
}

fn fingerprints(sources: &Sources) -> impl Iterator<Item = (&str, u64)> {
    let organisations = sources.organisations.iter().map(|source| (source.name.as_str(), source.fingerprint));
    organisations.chain([(sources.platform.name.as_str(), sources.platform.fingerprint)])
}

fn with_fingerprints(sources: &Sources, errors: Vec<CompileError>) -> Vec<(u64, CompileError)> {
    let texts: BTreeMap<&str, u64> = fingerprints(sources).collect();
    let with = |error: CompileError| (texts.get(error.document.as_str()).copied().unwrap_or(0), error);
    errors.into_iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::dlp::rules;
    use std::fs;
    use std::sync::LazyLock;

    /// No rules: what they find is not asked here.
    static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::new(Vec::new())));
    const FLOOR: &str = "[floor]\nshipped = 'none'\n";

    struct Room {
        _room: tempfile::TempDir,
        folder: Folder,
    }

    impl Room {
        fn new() -> Self {
            let room = tempfile::tempdir().unwrap();
            let folder = Folder::open(room.path()).unwrap();
            let made = Self { _room: room, folder };
            made.platform(FLOOR);
            made
        }

        fn platform(&self, text: &str) {
            fs::write(self.folder.platform_path(), text).unwrap();
        }

        fn organisation(&self, id: &str, rest: &str) {
            fs::write(self.folder.organisation_path(id), format!("id = '{id}'\n{rest}")).unwrap();
        }

        fn load(&self) -> (Live, Vec<CompileError>) {
            Live::load(self.folder.clone(), SCANNER.clone()).unwrap()
        }
    }

    fn texts(errors: &[CompileError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_is_seen_once_and_nothing_is_read_without_one() {
        let room = Room::new();
        room.organisation("a", "");
        let (mut live, errors) = room.load();
        assert_eq!((live.policy().tenant_count(), texts(&errors)), (1, vec![]));
        assert!(live.refresh().is_none());
        room.organisation("b", "");
        let reloaded = live.refresh().unwrap();
        assert!(reloaded.changed && reloaded.errors.is_empty());
        assert_eq!((reloaded.policy.tenant_count(), reloaded.policy.revision()), (2, 2));
        assert!(live.refresh().is_none());
        fs::remove_file(room.folder.organisation_path("a")).unwrap();
        assert_eq!(live.refresh().unwrap().policy.tenant_count(), 1);
    }

    #[test]
    fn rules_of_many_organisations_are_compiled_and_a_broken_one_is_its_own_organisations() {
        let room = Room::new();
        let rule = |name: &str, pattern: &str| {
            format!(
                "[[dlp.rules]]\nid = 'own.badge'\nentity = 'BADGE'\ncategory = 'identity'\ntitle = 'Badge'\n\
                 why = 'doors'\nseverity = 'low'\npattern = '{pattern}'\nconfidence = {{ base = 0.9 }}\n\
                 width_bytes_max = 20\nexamples = ['BADGE{name}-1234']\ncounterexamples = ['BADGE']\n\
                 references = []\n"
            )
        };
        for name in ["a", "b", "c", "d", "e"] {
            let pattern = if name == "e" { "BADGEe-(" } else { &format!("BADGE{name}-[0-9]{{4}}") };
            room.organisation(name, &rule(name, pattern));
        }
        let (live, errors) = room.load();
        let [error] = &texts(&errors)[..] else { panic!("{errors:?}") };
        assert!(error.starts_with("orgs/e.toml: `dlp.rules`: rule `own.badge`"), "{error}");
        let found = live.policy().tenants().map(|tenant| tenant.detection().detectors().count());
        assert_eq!(found.collect::<Vec<_>>(), [1; 4]);
    }

    #[test]
    fn what_reads_the_same_is_no_change() {
        let room = Room::new();
        room.organisation("a", "");
        let (mut live, _) = room.load();
        let before = live.policy().clone();
        let reloaded = live.reload();
        assert!(!reloaded.changed && Arc::ptr_eq(&before, &reloaded.policy));
        room.organisation("a", "# a comment\n");
        let reloaded = live.refresh().unwrap();
        assert!(reloaded.changed && reloaded.policy.revision() == before.revision() + 1);
    }

    #[test]
    fn a_broken_document_keeps_its_last_good_state_and_is_reported_once_a_change() {
        let room = Room::new();
        room.organisation("a", "groups = [{ name = 'g' }]\n");
        room.organisation("b", "");
        let (mut live, _) = room.load();
        let good = live.policy().clone();

        room.organisation("a", "groups = [{ nam = 'g' }]\n");
        let broken = live.refresh().unwrap();
        assert!(!broken.changed && Arc::ptr_eq(&good, &broken.policy));
        let [error] = &texts(&broken.errors)[..] else { panic!("{:?}", broken.errors) };
        assert!(error.starts_with("orgs/a.toml: line 2, column ") && error.contains("`nam`"), "{error}");
        assert!(live.reload().errors.is_empty(), "the same is not said twice");
        assert_eq!(live.errors().count(), 1);

        room.organisation("b", "# the other goes on changing\n");
        let other = live.refresh().unwrap();
        assert!(other.changed && other.errors.is_empty() && other.policy.tenant_count() == 2);

        room.organisation("a", "groups = [{ nam = 'g' }]\n# saved again, still broken\n");
        assert_eq!(live.refresh().unwrap().errors.len(), 1);

        room.organisation("a", "groups = [{ name = 'g' }]\n# well again\n");
        let well = live.refresh().unwrap();
        assert!(well.changed && well.errors.is_empty() && live.errors().count() == 0);
    }

    #[test]
    fn a_document_that_reads_but_does_not_compile_keeps_its_last_good_state_too() {
        let room = Room::new();
        room.organisation("a", "");
        let (mut live, _) = room.load();
        room.organisation("a", "[[routes]]\nname = 'r'\nmodels = ['*']\ntargets = ['nobody']\n");
        let broken = live.refresh().unwrap();
        assert!(!broken.changed && broken.policy.tenant_count() == 1);
        assert!(texts(&broken.errors)[0].contains("no provider is named `nobody`"));
        // The platform gains the provider: now the unchanged document compiles.
        room.platform(&format!("{FLOOR}[[providers]]\nname='nobody'\nbase_url='http://x'\nmodels=['*']\n"));
        let well = live.refresh().unwrap();
        assert!(well.changed && well.errors.is_empty() && live.errors().count() == 0);
    }

    #[test]
    fn an_organisation_broken_from_the_start_does_not_exist_until_it_is_well() {
        let room = Room::new();
        room.organisation("a", "nonsense = 1\n");
        room.organisation("b", "");
        let (mut live, errors) = room.load();
        assert_eq!((live.policy().tenant_count(), errors.len()), (1, 1));
        assert!(live.reload().errors.is_empty());
        room.organisation("a", "");
        assert_eq!(live.refresh().unwrap().policy.tenant_count(), 2);
    }

    #[test]
    fn a_platform_broken_at_the_start_is_an_error_and_later_is_not() {
        let room = Room::new();
        room.platform("flor = {}\n");
        let error = Live::load(room.folder.clone(), SCANNER.clone()).unwrap_err().to_string();
        assert!(error.starts_with("platform.toml: line 1, column 1: unknown field `flor`"), "{error}");
        room.platform(FLOOR);
        let (mut live, _) = room.load();
        room.platform("[floor\n");
        let broken = live.refresh().unwrap();
        assert!(!broken.changed && broken.errors.len() == 1);
    }

    #[test]
    fn a_rotated_secret_file_reaches_the_provider_and_an_unreadable_one_keeps_the_former() {
        let room = Room::new();
        let provider = "[[providers]]\nname='p'\nbase_url='http://x'\nmodels=['*']\napi_key={file='p.key'}\n";
        room.platform(&format!("{FLOOR}{provider}"));
        let key = room.folder.path().join("p.key");
        let error = Live::load(room.folder.clone(), SCANNER.clone()).unwrap_err().to_string();
        assert!(error.contains("p.key`: there is no such file"), "{error}");

        let exposed = |policy: &Policy| policy.providers()[0].api_key.as_ref().unwrap().expose().to_owned();
        fs::write(&key, "one").unwrap();
        let (mut live, _) = room.load();
        assert_eq!(exposed(live.policy()), "one");
        fs::write(&key, "three").unwrap();
        let rotated = live.refresh().unwrap();
        assert!(rotated.changed && exposed(&rotated.policy) == "three");
        fs::remove_file(&key).unwrap();
        let kept = live.refresh().unwrap();
        assert!(!kept.changed && exposed(&kept.policy) == "three" && !kept.errors.is_empty());
        assert!(!format!("{live:?}").contains("three"));
        fs::write(&key, "three").unwrap();
        let back = live.refresh().unwrap();
        assert!(!back.changed && live.errors().count() == 0);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_changes_nothing() {
        let room = Room::new();
        room.organisation("a", "");
        let (mut live, _) = room.load();
        let (orgs, away) = (room.folder.path().join("orgs"), room.folder.path().join("away"));
        fs::rename(&orgs, &away).unwrap();
        let lost = live.refresh().unwrap();
        assert!(!lost.changed && lost.policy.tenant_count() == 1);
        assert!(texts(&lost.errors)[0].contains("cannot list"), "{:?}", lost.errors);
        assert!(live.refresh().unwrap().errors.is_empty());
        fs::rename(&away, &orgs).unwrap();
        let back = live.refresh().unwrap();
        assert!(!back.changed && live.errors().count() == 0 && live.refresh().is_none());
    }

    #[test]
    fn the_shipped_floor_holds_without_any_document() {
        let room = tempfile::tempdir().unwrap();
        let scanner = Arc::new(Scanner::new(rules::shipped().unwrap()));
        let (live, errors) = Live::load(Folder::open(room.path()).unwrap(), scanner).unwrap();
        assert!(errors.is_empty() && live.policy().tenant_count() == 0);
    }
}
