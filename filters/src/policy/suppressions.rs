//! Which findings does an organisation want nothing done about? The address of its support, the number of its tests.
//!
//! What is suppressed does not meet the organisation's chain. The floor's it meets all the same: no document of an
//! organisation loosens that. It is still a finding, and its event says that it was suppressed.

use crate::dlp::{Detection, Found};
use crate::documents::detection::SuppressDocument;
use crate::names::matches;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::Arc;

/// Suppressions that an organisation may have, and values of one of them.
const SUPPRESSIONS_MAX: usize = 100;
const VALUES_MAX: usize = 1000;

/// What an organisation wants nothing done about. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suppressions(Arc<[Suppression]>);

#[derive(Debug)]
struct Suppression {
    detectors: HashSet<u16>,
    /// Hashes of values; none: every value.
    values: HashSet<[u8; 32]>,
    expires_ms: Option<u64>,
}

impl Suppressions {
    pub(super) fn compile(documents: &[SuppressDocument], detection: &Detection) -> Result<Self, String> {
        if documents.len() > SUPPRESSIONS_MAX {
            return Err(format!("`dlp.suppress`: at most {SUPPRESSIONS_MAX} entries"));
        }
        let compiled = documents.iter().map(|document| {
            Suppression::compile(document, detection)
                .map_err(|problem| format!("`dlp.suppress` of `{}`: {problem}", document.rules.join("`, `")))
        });
        Ok(Self(compiled.collect::<Result<_, _>>()?))
    }

    /// Whether nothing is to be done about this value, found by this rule, at this time.
    pub(crate) fn hold(&self, found: &Found, value: &[u8], now_ms: u64) -> bool {
        self.0.iter().any(|suppression| {
            suppression.expires_ms.is_none_or(|end| now_ms < end)
                && suppression.detectors.contains(&found.rule)
                && (suppression.values.is_empty() || suppression.values.contains(&hash(value)))
        })
    }
}

impl Suppression {
    fn compile(document: &SuppressDocument, detection: &Detection) -> Result<Self, String> {
        if document.rules.is_empty() {
            return Err("`rules` is empty; name the rules whose findings are meant".to_owned());
        }
        if document.reason.trim().is_empty() {
            return Err("`reason` is empty; say why, for those who read it later".to_owned());
        }
        if document.values.len() > VALUES_MAX {
            return Err(format!("`values` has at most {VALUES_MAX} entries"));
        }
        let mut detectors = HashSet::new();
        for pattern in &document.rules {
            let before = detectors.len();
            for (number, detector) in (0u16..).zip(detection.detectors()) {
                if !matches(pattern, &detector.id) {
                    continue;
                }
                if detector.mandatory {
                    return Err(format!(
                        "`rules`: `{pattern}` names `{}`, which is mandatory and cannot be suppressed; name others",
                        detector.id
                    ));
                }
                detectors.insert(number);
            }
            if detectors.len() == before {
                return Err(format!("`rules`: `{pattern}` names no rule; `palisade rules list` shows them"));
            }
        }
        let values = document.values.iter().map(|value| read(value));
        Ok(Self { detectors, values: values.collect::<Result<_, _>>()?, expires_ms: document.expires })
    }
}

/// A value as it is written, or `sha256:` and its hash, where the value is nobody's business.
fn read(value: &str) -> Result<[u8; 32], String> {
    if value.is_empty() {
        return Err("`values` holds an empty text; leave it out".to_owned());
    }
    match value.strip_prefix("sha256:") {
        None => Ok(hash(value.as_bytes())),
        Some(digits) => super::compile::decode_hex(digits)
            .ok_or_else(|| "`values`: behind `sha256:` stand 64 hexadecimal digits".to_owned()),
    }
}

fn hash(value: &[u8]) -> [u8; 32] {
    Sha256::digest(value).into()
}
