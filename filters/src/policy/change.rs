//! From one policy to the next: what changed is compiled, everything else is shared.
//!
//! A document that does not compile changes nothing: its tenant keeps the last state that did, or refuses if there
//! was none. [`Policy::compile`] is given all documents there are; [`Policy::with`] those that changed, and costs as
//! much: of a hundred thousand organisations it touches none but these.

use super::compile::{CompileError, Grounds, Source, compile_platform, compile_tenant};
use super::owned::{Known, Owned, Unknown};
use super::shards::Shards;
use super::{Policy, Tenant};
use crate::documents::{OrganisationDocument, PlatformDocument};
use crate::routing::KillSwitches;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Policy {
    /// Compiles all documents there are into the policy that follows `before`, with what could not be used.
    pub fn compile(
        before: Option<&Self>,
        platform: &Source<PlatformDocument>,
        organisations: &[Source<OrganisationDocument>],
        grounds: &Grounds<'_>,
    ) -> (Option<Self>, Vec<CompileError>) {
        Self::compile_ahead(before, platform, organisations, grounds, |_| Vec::new())
    }

    /// The same for whoever has several threads: `ahead` is given the detectors that would have to be compiled one
    /// after the other, and gives what it compiled of them.
    pub fn compile_ahead(
        before: Option<&Self>,
        platform: &Source<PlatformDocument>,
        organisations: &[Source<OrganisationDocument>],
        grounds: &Grounds<'_>,
        ahead: impl FnOnce(&[Unknown<'_>]) -> Vec<Known>,
    ) -> (Option<Self>, Vec<CompileError>) {
        let mut errors = Vec::new();
        let mut next = match Self::under(before, platform, grounds) {
            Ok(next) => next,
            Err(error) => {
                errors.push(error);
                let Some(before) = before else { return (None, errors) };
                before.following()
            }
        };
        next.drop_missing(organisations);
        next.bring(&next.left());
        let known = ahead(&next.unknown(organisations));
        next.know(&known);
        next.take(organisations, grounds, &mut errors);
        (Some(next), errors)
    }

    /// The policy that follows `before` under a platform's document. Its organisations stay what they were under the
    /// platform before, until they are brought under this one ([`Policy::bringing`]). What is switched off for everyone
    /// is so at once, also where the document is otherwise the one of before, by its fingerprint.
    pub fn under(
        before: Option<&Self>,
        platform: &Source<PlatformDocument>,
        grounds: &Grounds<'_>,
    ) -> Result<Self, CompileError> {
        let same = before.filter(|before| before.is_under(platform.fingerprint));
        let compiled = if let Some(same) = same {
            Ok(same.platform.clone())
        } else {
            compile_platform(platform, before.map(|before| &*before.platform), grounds).map(Arc::new)
        };
        let compiled = compiled.and_then(|shared| {
            let document = platform.document.as_ref().map_err(Clone::clone)?;
            let kill_switches = KillSwitches::compile(&document.kill_switches, &shared.providers)?;
            Ok((shared, Arc::new(kill_switches)))
        });
        let (shared, kill_switches) =
            compiled.map_err(|problem| CompileError { document: platform.name.clone(), problem })?;
        Ok(match before {
            Some(before) => Self { platform: shared, kill_switches, ..before.following() },
            None => Self {
                revision: 1,
                platform: shared,
                kill_switches,
                tenants: Shards::new(),
                owned: Owned::default(),
                keys: Shards::new(),
                issuers: Shards::new(),
            },
        })
    }

    /// The policy that follows this one if nothing changed but these organisations, and those are gone; with what could
    /// not be used. It is what [`Policy::compile`] makes of all documents, if those that had errors before are among
    /// the changed: one can be right because another changed. Whoever needs the one before gives a copy, which shares
    /// all that did not change; otherwise nothing is copied.
    pub fn with(
        self,
        changed: &[Source<OrganisationDocument>],
        gone: &[&str],
        grounds: &Grounds<'_>,
    ) -> (Self, Vec<CompileError>) {
        let (mut next, mut errors) = (Self { revision: self.revision + 1, ..self }, Vec::new());
        for id in gone {
            next.forget(id);
        }
        next.take(changed, grounds, &mut errors);
        (next, errors)
    }

    /// Detectors of these organisations that [`Policy::with`] would have to compile. Whoever has several threads
    /// compiles them there first.
    pub fn unknown<'a>(&self, changed: &'a [Source<OrganisationDocument>]) -> Vec<Unknown<'a>> {
        let readable = changed.iter().filter_map(|source| Some((source, source.document.as_ref().ok()?)));
        let asked = readable.filter(|(source, document)| !self.is_in_force(&document.id, source.fingerprint));
        self.owned.unknown(asked.map(|(_, document)| &document.dlp))
    }

    /// Takes what was compiled of them.
    pub fn know(&mut self, known: &[Known]) {
        self.owned.know(known);
    }

    fn following(&self) -> Self {
        Self { revision: self.revision + 1, ..self.clone() }
    }

    fn take(
        &mut self,
        organisations: &[Source<OrganisationDocument>],
        grounds: &Grounds<'_>,
        errors: &mut Vec<CompileError>,
    ) {
        self.owned.forget_unused();
        let mut fail = |source: &Source<_>, problem| {
            errors.push(CompileError { document: source.name.clone(), problem });
        };
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let mut waiting = Vec::new();
        for source in organisations {
            let document = match &source.document {
                Ok(document) => document,
                Err(problem) => {
                    fail(source, problem.clone());
                    continue;
                }
            };
            if let Some(other) = seen.insert(&document.id, &source.name) {
                let id = &document.id;
                fail(source, format!("the organisation `{id}` is described in `{other}` already"));
                continue;
            }
            if self.is_in_force(&document.id, source.fingerprint) {
                continue;
            }
            let (platform, owned) = (&self.platform, &mut self.owned);
            match compile_tenant(document, source.fingerprint, platform, owned, grounds).map(Arc::new) {
                Ok(tenant) if self.refuse_foreign_credentials(&tenant).is_ok() => self.put(&tenant),
                // A key can go from one of these organisations to another, whichever is read first.
                Ok(tenant) => waiting.push((source, tenant)),
                Err(problem) => fail(source, problem),
            }
        }
        self.put_waiting(waiting, fail);
    }

    /// Puts organisations in their places whose keys others have or had, as long as one of them makes room for another:
    /// a key can go on from one to the next while that passes on its own.
    fn put_waiting<'a>(
        &mut self,
        mut waiting: Vec<(&'a Source<OrganisationDocument>, Arc<Tenant>)>,
        mut fail: impl FnMut(&'a Source<OrganisationDocument>, String),
    ) {
        let mut before = usize::MAX;
        while waiting.len() < before {
            before = waiting.len();
            waiting.retain(|(_, tenant)| {
                let may_have = self.refuse_foreign_credentials(tenant).is_ok();
                if may_have {
                    self.put(tenant);
                }
                !may_have
            });
        }
        for (source, tenant) in waiting {
            if let Err(problem) = self.refuse_foreign_credentials(&tenant) {
                fail(source, problem);
            }
        }
    }

    /// Forgets organisations whose documents are gone. One that cannot be read is kept: which it was, only the name
    /// of its document says, `orgs/<id>.toml`.
    fn drop_missing(&mut self, organisations: &[Source<OrganisationDocument>]) {
        let there: HashSet<&str> = organisations
            .iter()
            .map(|source| match &source.document {
                Ok(document) => document.id.as_str(),
                Err(_) => file_stem(&source.name),
            })
            .collect();
        let ids = self.tenants.iter().map(|(id, _)| id);
        let gone: Vec<Arc<str>> = ids.filter(|id| !there.contains(&***id)).cloned().collect();
        for id in &gone {
            self.forget(id);
        }
    }

    /// A key is one organisation's. Its id alone proves nothing, since it is public: who writes another's id with a
    /// hash of their own gets a key of their own. So are an issuer and an audience together.
    fn refuse_foreign_credentials(&self, tenant: &Tenant) -> Result<(), String> {
        for key in tenant.keys.iter() {
            if let Some((owner, _)) =
                self.key(&key.id, &key.sha256).filter(|(owner, _)| owner.id != tenant.id)
            {
                return Err(format!("the key `{}` belongs to the organisation `{}`", key.id, owner.id));
            }
        }
        for issuer in tenant.issuers.iter() {
            let other = self.issuers(&issuer.name).and_then(|audiences| audiences.get(&issuer.audience));
            if let Some((owner, _)) = other.filter(|(owner, _)| *owner != tenant.id) {
                return Err(format!(
                    "issuer `{}`: with this audience it belongs to the organisation `{owner}`; give each organisation \
                     an audience of its own",
                    issuer.name
                ));
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, tenant: &Arc<Tenant>) {
        if let Some(before) = self.tenants.insert(tenant.id.clone(), tenant.clone()) {
            self.forget_credentials(&before);
        }
        for key in tenant.keys.iter() {
            let known = self.keys.get(&key.id).into_iter().flat_map(|known| known.iter().cloned());
            let entries = known.chain([(tenant.id.clone(), key.clone())]).collect();
            self.keys.insert(key.id.clone(), entries);
        }
        for issuer in tenant.issuers.iter() {
            let mut audiences = self.issuers.remove(&issuer.name).unwrap_or_default();
            let entry = (tenant.id.clone(), issuer.clone());
            Arc::make_mut(&mut audiences).insert(issuer.audience.clone(), entry);
            self.issuers.insert(issuer.name.clone(), audiences);
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(tenant) = self.tenants.remove(id) {
            self.forget_credentials(&tenant);
        }
    }

    fn forget_credentials(&mut self, tenant: &Tenant) {
        for key in tenant.keys.iter() {
            let known = self.keys.remove(&key.id);
            let known = known.iter().flat_map(|known| known.iter());
            let others: Arc<[_]> = known.filter(|(owner, _)| *owner != tenant.id).cloned().collect();
            if !others.is_empty() {
                self.keys.insert(key.id.clone(), others);
            }
        }
        for issuer in tenant.issuers.iter() {
            let Some(mut audiences) = self.issuers.remove(&issuer.name) else { continue };
            let others = Arc::make_mut(&mut audiences);
            others.retain(|_, (owner, _)| *owner != tenant.id);
            if !others.is_empty() {
                self.issuers.insert(issuer.name.clone(), audiences);
            }
        }
    }
}

fn file_stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.strip_suffix(".toml").unwrap_or(file)
}
