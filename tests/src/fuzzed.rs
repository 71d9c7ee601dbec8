//! What must hold for any bytes at all? One function a parser of foreign bytes, for the fuzzer and for the cases it
//! found.
//!
//! `tests/fuzz` calls these with bytes of its own making; the test at the end calls them with every file of
//! `tests/fuzz/cases`. Each asserts more than that nothing panics: what was accepted reads the same again, however a
//! stream was cut it says the same, and what was redacted has nothing more to redact.

#[path = "fuzzed/answers.rs"]
mod answers;
#[path = "fuzzed/callers.rs"]
mod callers;
#[path = "fuzzed/documents.rs"]
mod documents;
#[path = "fuzzed/files.rs"]
mod files;
#[path = "fuzzed/heads.rs"]
mod heads;
#[path = "fuzzed/jwts.rs"]
mod jwts;
#[path = "fuzzed/normalisation.rs"]
mod normalisation;
#[path = "fuzzed/prompts.rs"]
mod prompts;
#[path = "fuzzed/services.rs"]
mod services;
#[path = "fuzzed/spool.rs"]
mod spool;

pub(crate) use answers::{answer, events, failure};
pub(crate) use documents::documents;
pub(crate) use files::{credint_file, exact_file, rule_file};
pub(crate) use heads::{forwarded_for, key, proxy_header};
pub(crate) use jwts::jwt;
pub(crate) use normalisation::normalisation;
pub(crate) use prompts::{projection, splicing};
pub(crate) use services::service;
pub(crate) use spool::spool;

/// What a target does with bytes.
#[cfg(test)]
type Target = fn(&[u8]);

/// The targets, by their names and those of their folders of cases.
#[cfg(test)]
const TARGETS: &[(&str, Target)] = &[
    ("projection", projection),
    ("events", events),
    ("normalisation", normalisation),
    ("answer", answer),
    ("failure", failure),
    ("splicing", splicing),
    ("key", key),
    ("jwt", jwt),
    ("proxy_header", proxy_header),
    ("forwarded_for", forwarded_for),
    ("rule_file", rule_file),
    ("credint_file", credint_file),
    ("exact_file", exact_file),
    ("documents", documents),
    ("service", service),
    ("spool", spool),
];

#[cfg(test)]
mod tests {
    use super::{TARGETS, answer, events, projection};
    use crate::process::workspace;

    /// How many callers `picked` knows, and targets that ask it, with how many things each tells apart.
    const MODES: u8 = 7;
    const PICKING: [(&str, super::Target, u8); 3] =
        [("projection", projection, 5), ("events", events, 4), ("answer", answer, 5)];

    #[test]
    fn what_the_fuzzer_found_stays_found_in_every_mode() {
        for (name, target, things) in PICKING {
            let folder = workspace().join("tests/fuzz/cases").join(name);
            for file in std::fs::read_dir(&folder).unwrap() {
                let mut case = std::fs::read(file.unwrap().path()).unwrap();
                let Some(kind) = case.first().copied().filter(|kind| *kind < 0x80) else { continue };
                for mode in 0..MODES {
                    case[0] = kind % things + mode * things;
                    target(&case);
                }
            }
        }
    }

    #[test]
    fn what_the_fuzzer_found_stays_found() {
        let mut held = 0;
        for (name, target) in TARGETS {
            let folder = workspace().join("tests/fuzz/cases").join(name);
            for file in
                std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("`{}` is gone", folder.display()))
            {
                target(&std::fs::read(file.unwrap().path()).unwrap());
                held += 1;
            }
            let target_file = workspace().join(format!("tests/fuzz/fuzz_targets/{name}.rs"));
            assert!(target_file.exists(), "`{name}` is fuzzed");
        }
        assert!(held >= TARGETS.len(), "each target has a case at least");
    }
}
