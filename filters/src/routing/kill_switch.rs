//! What is switched off? An operator's word against a provider or a model, in force with the next policy.
//!
//! The platform's switches hold for everyone, an organisation's for itself. They speak of what would really be called,
//! never of the name that was asked for: no alias leads round them.

use crate::documents::routes::KillSwitchDocument;
use crate::names::matches;
use crate::policy::Provider;
use std::sync::Arc;

/// Switches of one document that are compiled at most: an operator reads them all in an emergency.
const SWITCHES_MAX: usize = 1_000;

/// The switches of one document, compiled. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct KillSwitches(Arc<[KillSwitch]>);

#[derive(Debug)]
struct KillSwitch {
    document: KillSwitchDocument,
    reason: Arc<str>,
}

impl KillSwitches {
    pub(crate) fn compile(
        documents: &[KillSwitchDocument],
        providers: &[Arc<Provider>],
    ) -> Result<Self, String> {
        if documents.len() > SWITCHES_MAX {
            return Err(format!("more than {SWITCHES_MAX} `kill_switches`; use patterns"));
        }
        let mut switches = Vec::with_capacity(documents.len());
        for document in documents {
            let is_known = |name: &String| providers.iter().any(|one| one.document.name == *name);
            match (&document.provider, &document.model) {
                (None, None) => {
                    return Err("a kill switch names a `provider`, a `model`, or both".to_owned());
                }
                (Some(name), _) if !is_known(name) => {
                    return Err(format!("a kill switch names the provider `{name}`, and there is none"));
                }
                (Some(_), _) | (None, Some(_)) => {}
            }
            if document.reason.trim().is_empty() {
                return Err(
                    "a kill switch gives its `reason`: who finds it in force wants to know".to_owned()
                );
            }
            let reason = document.reason.as_str().into();
            switches.push(KillSwitch { document: document.clone(), reason });
        }
        Ok(Self(switches.into()))
    }

    /// The same over the providers that there are now; none if one that is named is not among them any more.
    pub(crate) fn under(&self, providers: &[Arc<Provider>]) -> Option<Self> {
        let is_known = |name: &String| providers.iter().any(|one| one.document.name == *name);
        let mut named = self.0.iter().filter_map(|switch| switch.document.provider.as_ref());
        named.all(is_known).then(|| self.clone())
    }

    /// Why a model of a provider is off, if it is.
    pub(crate) fn reason(&self, provider: &Provider, model: &str) -> Option<&Arc<str>> {
        let name = provider.document.name.as_str();
        // A switch may name the model alone or with its provider, as rules of model access do.
        let is_model = |pattern: &String| {
            let bare = model.strip_prefix(name).and_then(|rest| rest.strip_prefix('/'));
            matches(pattern, model)
                || bare.is_some_and(|bare| matches(pattern, bare))
                || (pattern.contains('/') && matches(pattern, &format!("{name}/{model}")))
        };
        let found = self.0.iter().find(|switch| {
            switch.document.provider.as_ref().is_none_or(|named| named == name)
                && switch.document.model.as_ref().is_none_or(is_model)
        });
        found.map(|switch| &switch.reason)
    }

    /// As they were written.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &KillSwitchDocument> {
        self.0.iter().map(|switch| &switch.document)
    }
}
