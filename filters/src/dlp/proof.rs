//! Does every rule find what it says it finds? Its examples and counterexamples, through the scanner as it is.

use super::rules::{Rule, RuleError};
use super::{Found, Scanner};
use crate::credint::{self, Intelligence};

/// What is wrong with the rules of a scanner: examples that are not found with at least this confidence, and
/// counterexamples that are. `known` are compromised credentials, which make some candidates sure.
pub fn prove(scanner: &Scanner, known: &Intelligence, threshold: f32) -> Vec<RuleError> {
    let mut wrong = Vec::new();
    for rule in scanner.rules() {
        let finds = |text: &String| {
            let found = scanner.scan(text.as_bytes()).into_iter();
            found.filter(|found| is_of(scanner, found, rule)).any(|found| {
                let value = text.as_bytes().get(found.span.clone()).unwrap_or_default();
                let (_, confidence) = credint::weigh(known, value, rule.credential);
                found.confidence.max(confidence) >= threshold
            })
        };
        let place = || format!("rule `{}`", rule.document.id);
        for text in rule.document.examples.iter().filter(|text| !finds(text)) {
            let problem = format!(
                "does not find its example `{text}` at {threshold}; see `palisade scan --threshold 0`, then \
                 change the pattern, its context or the example"
            );
            wrong.push(RuleError { place: place(), problem });
        }
        for text in rule.document.counterexamples.iter().filter(|text| finds(text)) {
            let problem = format!("finds its counterexample `{text}` at {threshold}");
            wrong.push(RuleError { place: place(), problem });
        }
    }
    wrong
}

fn is_of(scanner: &Scanner, found: &Found, rule: &Rule) -> bool {
    scanner.rule(found.rule).is_some_and(|other| other.document.id == rule.document.id)
}
