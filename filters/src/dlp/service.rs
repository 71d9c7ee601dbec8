//! What is a service asked about a prompt, and what does its answer say?
//!
//! A service finds what has no form: names of people. The core writes the question and reads the answer; who asks is
//! the proxy's matter. All texts of a prompt are one question, apart by a blank line. An answer is a stranger's: it is
//! believed only where every place it names lies inside of the text, and it can add findings, never take one away.

use super::detector::Detector;
use super::projection::{Form, Projection};
use super::rules::{Category, RedactHints, Severity};
use super::scanner::Found;
use super::{Detection, FINDINGS_MAX};
use crate::credint::CredentialForm;
use crate::documents::{DetectorDocument, DetectorUseDocument, OnFailure};
use crate::policy::Provider;
use crate::prompt::Prompt;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Stands between texts of one question.
const BETWEEN: &str = "\n\n";
/// Entities that one organisation asks one service for.
const ENTITIES_MAX: usize = 64;
/// Bytes of an entity's name.
const ENTITY_BYTES_MAX: usize = 48;
/// Nobody waits longer for one request.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// A larger text takes a service longer than anybody waits.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Members whose strings are names of the API's, and no prose of anybody's.
const NAMES: &[&str] = &["model", "role", "type", "id", "tool_call_id", "tool_use_id"];

/// A service, compiled.
#[derive(Debug)]
pub struct Endpoint {
    /// As it was written.
    pub document: DetectorDocument,
    /// Where it is, under the same checks as a provider.
    pub provider: Arc<Provider>,
}

/// A service as one organisation uses it.
#[derive(Clone, Debug)]
pub struct Service {
    /// The service.
    pub endpoint: Arc<Endpoint>,
    /// What happens where it gives no usable answer.
    pub on_failure: OnFailure,
    score_min: f32,
    language: String,
    text_bytes_max: u64,
    /// What it is asked for, each with the number of its findings.
    entities: Vec<(String, u16)>,
}

/// What a service is to be asked.
#[derive(Debug)]
pub struct Question {
    /// Whom.
    pub service: Arc<Service>,
    /// The body of the request; none: there is more text than it is to be asked of.
    pub body: Option<Bytes>,
    laid_out: Arc<LaidOut>,
}

/// What a service said, read. Only [`Question::read`] makes it.
#[derive(Debug)]
pub struct Told(Vec<Found>);

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not the JSON that the API says.
    #[error("the answer is no list of findings")]
    Shape,
    /// It names places that the text does not have.
    #[error("the answer names places outside of the text")]
    Place,
    /// A score that is none.
    #[error("the answer holds a score that is not between 0 and 1")]
    Score,
    /// More findings than one request may have.
    #[error("the answer holds more than {FINDINGS_MAX} findings")]
    TooMany,
}

/// The texts of a prompt in a row, with where each comes from.
#[derive(Debug, Default)]
struct LaidOut {
    text: String,
    /// Where each begins in `text`, and its bytes in the projection.
    pieces: Vec<(usize, Range<usize>)>,
}

#[derive(Serialize)]
struct Ask<'a> {
    text: &'a str,
    language: &'a str,
    entities: Vec<&'a str>,
    score_threshold: f32,
}

#[derive(Deserialize)]
struct Said {
    entity_type: String,
    start: usize,
    end: usize,
    score: f64,
}

impl Endpoint {
    /// Checks what stands in a document besides the address.
    pub(crate) fn compile(document: &DetectorDocument, provider: Provider) -> Result<Self, String> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if document.name.is_empty() || document.name.len() > 32 || !document.name.bytes().all(is_name) {
            return Err("`name` may hold only `a-z`, `0-9`, `-` and `_`, at most 32 of them".to_owned());
        }
        if document.timeout.is_zero() || document.timeout > TIMEOUT_MAX {
            return Err(format!("`timeout` lies between 1ms and {}s", TIMEOUT_MAX.as_secs()));
        }
        if document.at_once == 0 {
            return Err("`at_once` is 0: it would never be asked".to_owned());
        }
        Ok(Self { document: document.clone(), provider: Arc::new(provider) })
    }
}

impl Service {
    /// What an organisation asks for, and what its findings are called. Their numbers are those from `first` on.
    pub(crate) fn compile(
        document: &DetectorUseDocument,
        endpoints: &[Arc<Endpoint>],
        platform: &Detection,
        first: usize,
    ) -> Result<(Self, Vec<Arc<Detector>>), String> {
        let name = &document.name;
        let known = endpoints.iter().find(|endpoint| endpoint.document.name == *name);
        let endpoint = known.ok_or("the platform has no detector of this name; ask its operator for one")?;
        let is_entity = |text: &String| {
            let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            !text.is_empty() && text.len() <= ENTITY_BYTES_MAX && text.bytes().all(is_plain)
        };
        if document.entities.is_empty() || document.entities.len() > ENTITIES_MAX {
            return Err(format!("`entities` names between 1 and {ENTITIES_MAX} of them, such as `PERSON`"));
        }
        if let Some(wrong) = document.entities.iter().find(|text| !is_entity(text)) {
            return Err(format!("the entity `{wrong}` may hold only `A-Z`, `0-9` and `_`"));
        }
        if !(0.0..=1.0).contains(&document.score_min) {
            return Err("`score_min` lies between 0 and 1".to_owned());
        }
        if document.text_bytes_max == 0 || document.text_bytes_max > TEXT_BYTES_MAX {
            return Err(format!("`text_bytes_max` lies between 1 and {TEXT_BYTES_MAX}"));
        }
        let is_language = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_';
        if document.language.is_empty() || !document.language.bytes().all(is_language) {
            return Err("`language` is a code such as `en`".to_owned());
        }
        let number =
            |at: usize| u16::try_from(first + at).map_err(|_| "there are too many entities".to_owned());
        let named = document.entities.iter().enumerate();
        let entities = named.map(|(at, entity)| Ok((entity.clone(), number(at)?)));
        let detectors = document.entities.iter().map(|entity| Arc::new(detector(name, entity, platform)));
        let service = Self {
            endpoint: endpoint.clone(),
            on_failure: document.on_failure,
            score_min: document.score_min,
            language: document.language.clone(),
            text_bytes_max: document.text_bytes_max,
            entities: entities.collect::<Result<_, String>>()?,
        };
        Ok((service, detectors.collect()))
    }

    /// The same of the services that there are now; none if there is none of this name any more.
    pub(crate) fn under(&self, endpoints: &[Arc<Endpoint>]) -> Option<Self> {
        let name = &self.endpoint.document.name;
        let endpoint = endpoints.iter().find(|endpoint| endpoint.document.name == *name)?;
        Some(Self { endpoint: endpoint.clone(), ..self.clone() })
    }

    fn question(self: &Arc<Self>, laid_out: &Arc<LaidOut>) -> Question {
        let ask = Ask {
            text: &laid_out.text,
            language: &self.language,
            entities: self.entities.iter().map(|(entity, _)| entity.as_str()).collect(),
            score_threshold: self.score_min,
        };
        let is_short = laid_out.text.len() as u64 <= self.text_bytes_max;
        let body = is_short.then(|| serde_json::to_vec(&ask).ok()).flatten().map(Bytes::from);
        Question { service: self.clone(), body, laid_out: laid_out.clone() }
    }
}

/// What findings of an entity are, as the platform's own rules have it; what they do not know is about a person.
fn detector(service: &str, entity: &str, platform: &Detection) -> Detector {
    let known = platform.detectors().find(|known| *known.entity == *entity);
    Detector {
        id: format!("detector.{service}.{entity}").into(),
        entity: entity.into(),
        category: known.map_or(Category::Identity, |known| known.category),
        severity: known.map_or(Severity::Medium, |known| known.severity),
        label: format!("[{entity}]").into(),
        credential: CredentialForm::None,
        mandatory: false,
        redact: RedactHints::default(),
    }
}

/// What services are to be asked about a prompt; nothing, if it holds no text.
pub(super) fn questions(services: &[Arc<Service>], prompt: &Prompt) -> Vec<Question> {
    if services.is_empty() {
        return Vec::new();
    }
    let laid_out = Arc::new(lay_out(prompt));
    if laid_out.pieces.is_empty() {
        return Vec::new();
    }
    services.iter().map(|service| service.question(&laid_out)).collect()
}

fn lay_out(prompt: &Prompt) -> LaidOut {
    let projection: &Projection<_> = &prompt.projection;
    let mut laid_out = LaidOut::default();
    for part in &projection.parts {
        let bytes = part.value..part.text.end;
        let is_string = matches!(part.form, Form::Plain | Form::Escaped);
        let text = projection.text.get(bytes.clone()).and_then(|text| str::from_utf8(text).ok());
        let Some(text) = text.filter(|text| is_string && !text.trim().is_empty()) else { continue };
        let place = projection.place(&prompt.body, part);
        let name = place.rsplit('.').next().unwrap_or_default();
        if NAMES.contains(&name) {
            continue;
        }
        if !laid_out.text.is_empty() {
            laid_out.text.push_str(BETWEEN);
        }
        laid_out.pieces.push((laid_out.text.len(), bytes));
        laid_out.text.push_str(text);
    }
    laid_out
}

impl Question {
    /// Reads an answer. Places are counted in characters of the text.
    pub fn read(&self, answer: &[u8]) -> Result<Told, Unusable> {
        let said: Vec<Said> = serde_json::from_slice(answer).map_err(|_| Unusable::Shape)?;
        if said.len() > FINDINGS_MAX {
            return Err(Unusable::TooMany);
        }
        let text = &self.laid_out.text;
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut found = Vec::new();
        for one in said {
            if !(0.0..=1.0).contains(&one.score) {
                return Err(Unusable::Score);
            }
            let (Some(start), Some(end)) = (starts.get(one.start), starts.get(one.end)) else {
                return Err(Unusable::Place);
            };
            if start >= end {
                return Err(Unusable::Place);
            }
            let asked = self.service.entities.iter().find(|(entity, _)| *entity == one.entity_type);
            let Some((_, number)) = asked.filter(|_| one.score as f32 >= self.service.score_min) else {
                continue;
            };
            found.extend(self.laid_out.places(&(*start..*end)).map(|span| Found {
                rule: *number,
                span,
                confidence: one.score as f32,
                validated: false,
                known: None,
                revealed: None,
                is_repeated: false,
            }));
        }
        Ok(Told(found))
    }
}

impl LaidOut {
    /// The bytes of the projection that a part of the text comes from: one stretch for each text that it reaches.
    fn places(&self, span: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = self.pieces.partition_point(|(start, bytes)| start + bytes.len() <= span.start);
        let pieces = self.pieces.iter().skip(first).take_while(|(start, _)| *start < span.end);
        pieces.filter_map(|(start, bytes)| {
            let from = span.start.saturating_sub(*start);
            let to = (span.end - start).min(bytes.len());
            (from < to).then(|| bytes.start + from..bytes.start + to)
        })
    }
}

impl Told {
    /// What was found, at its places.
    pub(super) fn into_found(self) -> Vec<Found> {
        self.0
    }
}
