//! Which organisations look for the same? Equal detectors are compiled once, and shared while anybody has them.

use super::shards::Shards;
use crate::dlp::rules::RuleDocument;
use crate::dlp::{Own, Scanner};
use crate::documents::DlpDocument;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Weak};

/// New detectors before those that nobody has are looked for: few, and never more than there are, so that the looking
/// is a small part of the compiling.
const NEW_MIN: usize = 64;

/// Detectors of all organisations, by a hash of what they were made of.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    by_content: Shards<Weak<Own>>,
    /// How many are new since those that nobody has were looked for.
    new: usize,
}

/// Detectors that an organisation has and nobody was compiled for yet.
#[derive(Debug)]
pub struct Unknown<'a> {
    content: Arc<str>,
    rules: &'a [RuleDocument],
}

/// What came of it. It is known as long as somebody has this, or a tenant with it.
#[derive(Debug)]
pub struct Known {
    content: Arc<str>,
    own: Arc<Own>,
}

impl Unknown<'_> {
    /// Compiles it, on whichever thread; nothing, if it cannot be used, which is said of its organisation in time.
    pub fn compile(&self, platform: &Arc<Scanner>) -> Option<Known> {
        let own = Own::compile(self.rules, platform).ok()?;
        Some(Known { content: self.content.clone(), own })
    }
}

impl Default for Owned {
    fn default() -> Self {
        Self { by_content: Shards::new(), new: 0 }
    }
}

impl Owned {
    /// What an organisation looks for by itself; none if it does not.
    pub(super) fn compile(
        &mut self,
        document: &DlpDocument,
        platform: &Arc<Scanner>,
    ) -> Result<Option<Arc<Own>>, String> {
        if document.rules.is_empty() {
            return Ok(None);
        }
        let content = content(&document.rules);
        if let Some(known) = self.by_content.get(&content).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let own = Own::compile(&document.rules, platform)?;
        self.by_content.insert(content.into(), Arc::downgrade(&own));
        self.new += 1;
        Ok(Some(own))
    }

    /// Which of these are to be compiled, each once.
    pub(super) fn unknown<'a>(&self, documents: impl Iterator<Item = &'a DlpDocument>) -> Vec<Unknown<'a>> {
        let mut seen = HashSet::new();
        let with_rules = documents.filter(|document| !document.rules.is_empty());
        let all = with_rules.map(|document| (Arc::<str>::from(content(&document.rules)), &document.rules));
        all.filter(|(content, _)| {
            self.by_content.get(content).is_none_or(|own| own.strong_count() == 0)
                && seen.insert(content.clone())
        })
        .map(|(content, rules)| Unknown { content, rules })
        .collect()
    }

    /// Takes what was compiled elsewhere.
    pub(super) fn know(&mut self, known: &[Known]) {
        for Known { content, own } in known {
            self.by_content.insert(content.clone(), Arc::downgrade(own));
        }
        self.new += known.len();
    }

    /// Lets go of what nobody has any more, if that may be as much as what somebody has.
    pub(super) fn forget_unused(&mut self) {
        if self.new < NEW_MIN.max(self.by_content.len() / 2) {
            return;
        }
        let unused = self.by_content.iter().filter(|(_, own)| own.strong_count() == 0);
        let unused: Vec<Arc<str>> = unused.map(|(content, _)| content.clone()).collect();
        for content in unused {
            self.by_content.remove(&content);
        }
        self.new = 0;
    }
}

/// A hash of everything that rules say.
fn content(rules: &[RuleDocument]) -> String {
    struct Hash(Sha256);
    impl Write for Hash {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.update(text);
            Ok(())
        }
    }
    let mut hash = Hash(Sha256::new());
    // Texts are quoted and escaped there, so different rules write differently. Hashing cannot fail.
    let _ = write!(hash, "{rules:?}");
    hash.0.finalize().iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlp::rules;

    #[test]
    fn equal_rules_are_compiled_once_and_forgotten_with_the_last_who_has_them() {
        let document = |width: usize| -> DlpDocument {
            let rule = format!(
                "[[rules]]\nid = 'own.badge'\nentity = 'BADGE'\ncategory = 'identity'\ntitle = 'Badge'\nwhy = 'doors'\n\
                 severity = 'low'\npattern = 'BADGE-[0-9]{{4}}'\nconfidence = {{ base = 0.9 }}\n\
                 width_bytes_max = {width}\nexamples = ['BADGE-1234']\ncounterexamples = ['BADGE']\nreferences = []\n"
            );
            toml::from_str(&rule).unwrap()
        };
        let platform = Arc::new(Scanner::new(rules::load(&[]).unwrap()));
        let mut owned = Owned::default();
        let [one, same, other] =
            [10, 10, 11].map(|width| owned.compile(&document(width), &platform).unwrap().unwrap());
        // What is compiled elsewhere is what is found here.
        let documents = [document(10), document(12), document(12)];
        let unknown = owned.unknown(documents.iter());
        assert_eq!(unknown.len(), 1, "one is known, and one stands there twice");
        let known: Vec<Known> = unknown.iter().filter_map(|unknown| unknown.compile(&platform)).collect();
        owned.know(&known);
        assert!(owned.unknown(documents.iter()).is_empty());
        let found = owned.compile(&documents[1], &platform).unwrap().unwrap();
        assert!(Arc::ptr_eq(&found, &known[0].own));
        drop((known, found));
        assert_eq!(owned.unknown(documents.iter()).len(), 1);
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, other));
        owned.new = NEW_MIN;
        owned.forget_unused();
        assert_eq!(owned.by_content.len(), 1);
        drop(same);
        owned.forget_unused();
        assert_eq!(owned.by_content.len(), 1, "not looked for yet");
        owned.new = NEW_MIN;
        owned.forget_unused();
        assert_eq!(owned.by_content.len(), 0);
        assert!(owned.compile(&DlpDocument::default(), &platform).unwrap().is_none());
    }
}
