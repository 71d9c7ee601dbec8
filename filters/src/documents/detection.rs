//! What does an organisation say about finding things in texts?

use super::SecretRef;
use super::detectors::DetectorUseDocument;
use crate::dlp::exact::WITHIN_BYTES;
use crate::dlp::rules::{Category, RuleDocument, Severity};
use crate::secret::Secret;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Settings of detection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DlpDocument {
    /// Findings less sure than this do not count.
    #[serde(default = "threshold")]
    pub threshold: f32,
    /// Whether answers carry `x-palisade-findings`.
    #[serde(default)]
    pub findings_header: bool,
    /// Services that prompts are asked of.
    #[serde(default)]
    pub detectors: Vec<DetectorUseDocument>,
    /// Tools into whose arguments values are put back that were taken out of the prompt; `*` matches any part of a
    /// name.
    #[serde(default)]
    pub restore_in_tools: Vec<String>,
    /// Terms that it looks for.
    #[serde(default)]
    pub keyword_lists: Vec<KeywordListDocument>,
    /// Records that it looks for.
    #[serde(default)]
    pub exact_match: Vec<ExactMatchDocument>,
    /// What it looks for besides what the platform does.
    #[serde(default)]
    pub rules: Vec<RuleDocument>,
    /// What of all that is found it wants nothing done about.
    #[serde(default)]
    pub suppress: Vec<SuppressDocument>,
    /// Whether its rules of policy act.
    #[serde(default)]
    pub mode: DlpMode,
}

/// Whether an organisation's chain acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DlpMode {
    /// It does.
    #[default]
    Enforce,
    /// It is recorded what it would have done.
    Monitor,
}

/// Findings that an organisation wants nothing done about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressDocument {
    /// Detection rules by id; `*` matches any part.
    pub rules: Vec<String>,
    /// Values as they are written, or `sha256:` and the hash of one; none: every value.
    #[serde(default)]
    pub values: Vec<String>,
    /// Why, for people.
    pub reason: String,
    /// The moment it ends, RFC 3339.
    #[serde(default, with = "super::timestamp")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<u64>,
}

fn threshold() -> f32 {
    0.5
}

impl Default for DlpDocument {
    fn default() -> Self {
        Self {
            threshold: threshold(),
            findings_header: false,
            detectors: Vec::new(),
            restore_in_tools: Vec::new(),
            keyword_lists: Vec::new(),
            exact_match: Vec::new(),
            rules: Vec::new(),
            suppress: Vec::new(),
            mode: DlpMode::Enforce,
        }
    }
}

/// Terms that are looked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeywordListDocument {
    /// Stable; appears in events. Begins with `own.`.
    pub id: String,
    /// The common name of what it finds, of which its label is made: `PROJECT_NAME`.
    pub entity: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// Its kind.
    pub category: Category,
    /// How bad a leak is.
    #[serde(default = "severity")]
    pub severity: Severity,
    /// The terms, if there is no `file`.
    #[serde(default)]
    pub terms: Vec<String>,
    /// A file with one term a line, in the data folder under `lists/<id of the organisation>/`.
    pub file: Option<PathBuf>,
    /// What stands in it, once it was read.
    #[serde(skip)]
    pub text: Option<ListText>,
    /// Whether `Aurora` is not `aurora`.
    #[serde(default)]
    pub case_sensitive: bool,
    /// How sure a finding is.
    #[serde(default = "list_confidence")]
    pub confidence: f32,
}

/// Records that are looked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExactMatchDocument {
    /// Stable; appears in events. Begins with `own.`.
    pub id: String,
    /// The common name of what it finds, of which its label is made: `CUSTOMER_DATA`.
    pub entity: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// Its kind.
    pub category: Category,
    /// How bad a leak is.
    #[serde(default = "severity")]
    pub severity: Severity,
    /// The table that `palisade exact build` made, in the data folder under `lists/<id of the organisation>/`.
    pub file: PathBuf,
    /// The key that it was built with.
    pub key: SecretRef,
    /// Table and key, once they were read.
    #[serde(skip)]
    pub read: Option<ExactData>,
    /// So many different columns of one record
    #[serde(default = "columns_min")]
    pub columns_min: usize,
    /// within so many bytes are findings.
    #[serde(default = "within_bytes")]
    pub within_bytes: usize,
    /// How sure a finding is.
    #[serde(default = "record_confidence")]
    pub confidence: f32,
}

/// The text of a list, which is not shown.
#[derive(Clone)]
pub struct ListText(pub Arc<str>);

impl std::fmt::Debug for ListText {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ListText({} bytes)", self.0.len())
    }
}

/// A table and its key.
#[derive(Clone)]
pub struct ExactData {
    /// The file.
    pub table: Bytes,
    /// What it was built with.
    pub key: Secret,
}

impl std::fmt::Debug for ExactData {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ExactData({} bytes)", self.table.len())
    }
}

fn severity() -> Severity {
    Severity::High
}

fn list_confidence() -> f32 {
    0.9
}

fn record_confidence() -> f32 {
    0.95
}

fn columns_min() -> usize {
    2
}

fn within_bytes() -> usize {
    WITHIN_BYTES
}

/// Of which credentials it is asked whether they are known to be compromised.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CredintDocument {
    /// The key that a caller presents: a leaked one is refused.
    pub presented_key: bool,
    /// Passwords and tokens in prompts and answers.
    pub text: bool,
}

impl Default for CredintDocument {
    fn default() -> Self {
        Self { presented_key: true, text: true }
    }
}
