//! Whose find is it? What a finding says of the rule, or of the list, that it comes from.
//!
//! However a thing is looked for, events, labels and policy rules ask the same of it.

use super::rules::{Category, RedactHints, RuleDocument, Severity};
use crate::credint::CredentialForm;
use std::sync::Arc;

/// Something that finds, by one name.
#[derive(Debug)]
pub struct Detector {
    /// Stable; appears in events.
    pub id: Arc<str>,
    /// The field's common name of the thing: `CREDIT_CARD`.
    pub entity: Arc<str>,
    /// Its kind.
    pub category: Category,
    /// How bad a leak is.
    pub severity: Severity,
    /// What replaces a finding: `[CREDIT_CARD]`.
    pub label: Arc<str>,
    /// What of a finding is asked of lists of compromised credentials.
    pub credential: CredentialForm,
    /// Whether organisations may not suppress it.
    pub mandatory: bool,
    /// Hints for redaction.
    pub redact: RedactHints,
}

impl Detector {
    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.entity.len() + self.label.len()
    }

    /// What a rule is to its findings.
    pub(super) fn of(rule: &RuleDocument) -> Self {
        let credential = rule.credential.unwrap_or(match rule.category {
            // What has no end is a key file or a signed statement, and in no list.
            Category::Secret if rule.continues.is_none() => CredentialForm::Plain,
            Category::Secret
            | Category::Payment
            | Category::Identity
            | Category::Contact
            | Category::Network
            | Category::Health
            | Category::Business => CredentialForm::None,
        });
        Self {
            id: rule.id.as_str().into(),
            entity: rule.entity.as_str().into(),
            category: rule.category,
            severity: rule.severity,
            label: format!("[{}]", rule.entity).into(),
            credential,
            mandatory: rule.mandatory,
            redact: rule.redact,
        }
    }
}
