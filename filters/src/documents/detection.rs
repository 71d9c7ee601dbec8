//! What does an organisation say about finding things in texts?

use super::detectors::DetectorUseDocument;
use serde::Deserialize;

/// Settings of detection.
#[derive(Clone, Debug, Deserialize)]
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
        }
    }
}

/// Of which credentials it is asked whether they are known to be compromised.
#[derive(Clone, Copy, Debug, Deserialize)]
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
