//! How does what owners have become the policy that is enforced, one change after the other?
//!
//! Needs what an owner has whenever it changes; proves that what cannot be used changes nothing: its owner keeps the
//! last good state, and the problem is said once. It asks no origin and waits for nobody.

use super::origin::{Pieces, Reading};
use crate::ahead::{self, Cores};
use crate::attachments::Attached;
use crate::folder::Folder;
use crate::resources::{compose_organisation, compose_platform};
use crate::sources::provider_secrets;
use crate::store::{Kind, OrganisationId, ResourceId};
use palisade_filters::Policy;
use palisade_filters::dlp::Scanner;
use palisade_filters::documents::{OrganisationDocument, PlatformDocument, ProviderSecrets};
use palisade_filters::policy::compile::{CompileError, Grounds, Source};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Organisations with a problem that are tried again at each change, as one can be right because another changed. Those
/// beyond are read again after a while.
const RETRIED_MAX: usize = 256;

/// So many organisations are brought under another platform at once, which takes some tens of milliseconds; then
/// whoever changed meanwhile comes first.
const BROUGHT_AT_ONCE: usize = 4_096;

/// The kind of what is switched off.
const KILL_SWITCHES: &str = "kill-switches";
/// How errors name what the platform has.
pub(super) const PLATFORM: &str = "the platform";

/// A policy in the making, with what its next change needs.
pub(super) struct Assembly {
    folder: Folder,
    scanner: Arc<Scanner>,
    secrets: ProviderSecrets,
    policy: Option<Policy>,
    /// Whether everything was read once: until then, nobody is served who could wait for a core.
    is_begun: bool,
    /// A fingerprint of what the platform has switched off.
    switches: Option<u64>,
    /// Organisations that are to be brought under the platform of this moment.
    left: Vec<Arc<str>>,
    /// Organisations whose documents could not be used, to be tried again.
    refused: BTreeMap<OrganisationId, Source<OrganisationDocument>>,
    /// What is wrong now, by what it is wrong with.
    standing: BTreeMap<String, String>,
    /// What is newly wrong, until somebody says it.
    news: Vec<CompileError>,
}

impl Assembly {
    pub(super) fn new(folder: Folder, scanner: Arc<Scanner>) -> Self {
        Self {
            folder,
            scanner,
            secrets: ProviderSecrets::new(),
            policy: None,
            is_begun: false,
            switches: None,
            left: Vec::new(),
            refused: BTreeMap::new(),
            standing: BTreeMap::new(),
            news: Vec::new(),
        }
    }

    /// The policy of this moment; none until the platform's resources could be used once.
    pub(super) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Everything was read once.
    pub(super) fn begun(&mut self) {
        self.is_begun = true;
    }

    /// What is newly wrong since this was asked the last time.
    pub(super) fn news(&mut self) -> Vec<CompileError> {
        std::mem::take(&mut self.news)
    }

    /// Brings some organisations under the platform of this moment. Once that is done with all of them: those that do
    /// not fit there, or could not be used before, and are to be read again.
    pub(super) fn bring(&mut self) -> Option<BTreeSet<OrganisationId>> {
        let some = self.left.split_off(self.left.len().saturating_sub(BROUGHT_AT_ONCE));
        if !some.is_empty() {
            self.policy = self.policy.take().map(|policy| policy.bringing(&some));
        }
        if !self.left.is_empty() {
            return None;
        }
        // What could not be used may fit now.
        let mut again: BTreeSet<_> = self.take(Vec::new()).into_iter().collect();
        let unfit = self.policy.iter().flat_map(Policy::left);
        again.extend(unfit.filter_map(|id| OrganisationId::new(&id).ok()));
        Some(again)
    }

    /// Takes what the platform has now. If it is another one, all organisations are to be brought under it.
    pub(super) fn platform(&mut self, reading: &Reading) {
        match reading {
            Reading::There(pieces) => self.platform_of(pieces),
            Reading::Gone => self.platform_of(&Pieces::default()),
            Reading::Lost(problem) | Reading::Unread(problem) => self.say(PLATFORM, Some(problem.clone())),
        }
    }

    fn platform_of(&mut self, pieces: &Pieces) {
        let document = compose_platform(borrowed(pieces)).map_err(|problem| problem.to_string());
        let resolved = document.as_ref().map(|document| provider_secrets(document, self.folder.path()));
        let (secrets, problems) = resolved.unwrap_or_default();
        let mut by_name: Vec<_> = secrets.iter().collect();
        by_name.sort_unstable_by_key(|(name, _)| *name);
        let mut grounds = texts(pieces, |kind| kind.as_str() != KILL_SWITCHES);
        grounds
            .extend(by_name.iter().flat_map(|(name, secret)| [name.as_bytes(), secret.expose().as_bytes()]));
        // What is switched off is no ground of any organisation, and holds at once.
        let switches = self.folder.fingerprint(&texts(pieces, |kind| kind.as_str() == KILL_SWITCHES));
        let fingerprint = self.folder.fingerprint(&grounds);
        let mut problems: Vec<String> = problems.into_iter().map(|error| error.problem).collect();
        let is_under = self.policy.as_ref().is_some_and(|policy| policy.is_under(fingerprint));
        if !is_under || self.switches != Some(switches) {
            let source: Source<PlatformDocument> =
                Source { name: PLATFORM.to_owned(), fingerprint, document };
            match Policy::under(self.policy.as_ref(), &source, &self.grounds(&secrets)) {
                Ok(policy) => {
                    if !is_under {
                        self.left = policy.left();
                    }
                    self.policy = Some(policy);
                    self.secrets = secrets;
                    self.switches = Some(switches);
                }
                Err(error) => problems.push(error.problem),
            }
        }
        self.say(PLATFORM, (!problems.is_empty()).then(|| problems.join("; ")));
    }

    /// Takes what some organisations have now. Those that are given back cannot be used and are not tried again here.
    pub(super) fn take(&mut self, readings: Vec<(OrganisationId, Reading)>) -> Vec<OrganisationId> {
        let Some(policy) = self.policy.clone() else {
            return readings.into_iter().map(|(id, _)| id).collect();
        };
        let (mut asked, mut gone) = (std::mem::take(&mut self.refused), Vec::new());
        for (id, reading) in readings {
            match reading {
                Reading::There(pieces) => {
                    // Of its namesake before, nothing stays, also if nothing of its own can be used.
                    if pieces.hash_secret.as_ref().is_some_and(|own| !policy.is_keyed_from(id.as_str(), own))
                    {
                        gone.push(id.clone());
                    }
                    asked.insert(id.clone(), self.source(&id, &pieces));
                }
                Reading::Gone => {
                    self.say(&name(&id), None);
                    asked.remove(&id);
                    gone.push(id);
                }
                Reading::Lost(problem) => {
                    self.say(&name(&id), Some(problem));
                    asked.remove(&id);
                    gone.push(id);
                }
                Reading::Unread(problem) => {
                    self.say(&name(&id), Some(problem));
                    // What it had before may be what is wrong with another one.
                    asked.remove(&id);
                }
            }
        }
        gone.retain(|id| policy.knows(id.as_str()));
        self.compile(policy, asked, &gone)
    }

    fn compile(
        &mut self,
        policy: Policy,
        asked: BTreeMap<OrganisationId, Source<OrganisationDocument>>,
        gone: &[OrganisationId],
    ) -> Vec<OrganisationId> {
        let is_gone = |id: &OrganisationId| gone.contains(id);
        let (known, asked): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .partition(|(id, source)| !is_gone(id) && policy.is_in_force(id.as_str(), source.fingerprint));
        for (id, _) in known {
            self.say(&name(&id), None);
        }
        if asked.is_empty() && gone.is_empty() {
            return Vec::new();
        }
        let (ids, sources): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let leaving: Vec<&str> = gone.iter().map(OrganisationId::as_str).collect();
        let mut policy = policy;
        let cores = if self.is_begun { Cores::Half } else { Cores::All };
        let known = ahead::compile(&policy.unknown(&sources), &self.scanner, cores);
        policy.know(&known);
        let (next, errors) = policy.with(&sources, &leaving, &self.grounds(&self.secrets));
        let errors = errors.into_iter().map(|error| (error.document, error.problem));
        let mut problems: HashMap<String, String> = errors.collect();
        let (mut is_new, mut beyond) = (!gone.is_empty(), Vec::new());
        for (id, source) in ids.into_iter().zip(sources) {
            let problem = problems.remove(&source.name);
            self.say(&source.name, problem.clone());
            if problem.is_none() {
                is_new = true;
            } else if self.refused.len() < RETRIED_MAX {
                self.refused.insert(id, source);
            } else {
                beyond.push(id);
            }
        }
        if is_new {
            self.policy = Some(next);
        }
        beyond
    }

    fn source(&self, id: &OrganisationId, pieces: &Pieces) -> Source<OrganisationDocument> {
        let mut attached = Attached::default();
        let composed = compose_organisation(id, borrowed(pieces)).map_err(|problem| problem.to_string());
        let document = composed.and_then(|mut document| {
            // Whose documents they are, and from what its hashes are keyed, is not theirs to say.
            if document.id != id.as_str() {
                return Err(format!("its documents say that they are those of `{}`", document.id));
            }
            document.hash_secret.clone_from(&pieces.hash_secret);
            if document.hash_secret.is_none() {
                return Err("the secret that its hashes are keyed from is missing".to_owned());
            }
            let read = self.folder.attach(&mut document, &mut attached);
            read.map_err(|unread| unread.to_problem()).map(|()| document)
        });
        let mut texts = texts(pieces, |_| true);
        texts.extend(pieces.hash_secret.iter().map(|secret| secret.expose().as_bytes()));
        texts.extend(attached.contents.iter().map(Vec::as_slice));
        Source { name: name(id), fingerprint: self.folder.fingerprint(&texts), document }
    }

    fn grounds<'a>(&'a self, secrets: &'a ProviderSecrets) -> Grounds<'a> {
        Grounds { scanner: self.scanner.clone(), secrets, hash_secret: self.folder.hash_secret() }
    }

    /// Remembers what is wrong with a document now, if anything is; what was not said of it before is news.
    fn say(&mut self, document: &str, problem: Option<String>) {
        let before = self.standing.remove(document);
        let Some(problem) = problem else { return };
        if before.as_ref() != Some(&problem) {
            self.news.push(CompileError { document: document.to_owned(), problem: problem.clone() });
        }
        self.standing.insert(document.to_owned(), problem);
    }
}

/// How errors name what an organisation has.
fn name(id: &OrganisationId) -> String {
    format!("organisation `{id}`")
}

fn borrowed(pieces: &Pieces) -> impl Iterator<Item = (&Kind, &ResourceId, &RawValue)> {
    pieces.resources.iter().map(|(kind, id, document)| (kind, id, &**document))
}

/// What a fingerprint is made of: any other piece of these kinds makes another one.
fn texts(pieces: &Pieces, is_of: impl Fn(&Kind) -> bool) -> Vec<&[u8]> {
    borrowed(pieces)
        .filter(|(kind, ..)| is_of(kind))
        .flat_map(|(kind, id, document)| [kind.as_str(), id.as_str(), document.get()].map(str::as_bytes))
        .collect()
}
