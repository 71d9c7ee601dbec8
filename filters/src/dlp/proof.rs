//! Does every rule find what it says it finds? Its examples and counterexamples, through detection as it is.

use super::rules::{RuleDocument, RuleError};
use super::{Detection, Found};
use crate::credint::{self, CredentialForm, Intelligence};

/// What is wrong with rules of a detection: examples that are not found with at least this confidence, and
/// counterexamples that are. `known` are compromised credentials, which make some candidates sure.
pub fn prove(
    detection: &Detection,
    rules: &[RuleDocument],
    known: &Intelligence,
    threshold: f32,
) -> Vec<RuleError> {
    let mut wrong = Vec::new();
    for rule in rules {
        let finds = |text: &String| {
            let found = detection.scan(text.as_bytes()).into_iter();
            found.filter_map(|found| of(detection, found, rule)).any(|(found, form)| {
                let value = text.as_bytes().get(found.span.clone()).unwrap_or_default();
                let (_, confidence) = credint::weigh(known, value, form);
                found.confidence.max(confidence) >= threshold
            })
        };
        let place = || format!("rule `{}`", rule.id);
        for text in rule.examples.iter().filter(|text| !finds(text)) {
            let problem = format!(
                "does not find its example `{text}` at {threshold}; see `palisade scan --threshold 0`, then \
                 change the pattern, its context or the example"
            );
            wrong.push(RuleError { place: place(), problem });
        }
        for text in rule.counterexamples.iter().filter(|text| finds(text)) {
            let problem = format!("finds its counterexample `{text}` at {threshold}");
            wrong.push(RuleError { place: place(), problem });
        }
    }
    wrong
}

/// A finding, if it is of this rule.
fn of(detection: &Detection, found: Found, rule: &RuleDocument) -> Option<(Found, CredentialForm)> {
    let detector = detection.detector(found.rule).filter(|detector| *detector.id == *rule.id)?;
    Some((found, detector.credential))
}
