//! What does `POST /v1/embeddings` answer?
//!
//! Needs the request's body. Proves that the same input has the same vector, of length one, in both
//! encodings:
//! `float`, and `base64` of little-endian 32-bit floats, which the official Python client asks for.
//! The vectors mean nothing; similar texts are not near each other.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::Answer;
use super::failure::Failure;
use super::openai::{self, InputUsage, Usage};
use super::script::Script;
use super::seed;
use super::text::Text;

/// Length of a vector when nobody says: that of text-embedding-3-small.
pub(super) const DIMENSIONS_DEFAULT: usize = 1536;
/// Longest vector: that of text-embedding-3-large.
pub(super) const DIMENSIONS_MAX: usize = 3072;
/// Most inputs in one request, as in OpenAI's reference.
pub(super) const INPUTS_MAX: usize = 2048;

/// The fields of an embedding request that decide the answer.
#[derive(Deserialize)]
pub(super) struct Ask<'a> {
    /// The model asked for.
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    dimensions: Option<usize>,
    #[serde(borrow)]
    encoding_format: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<InputUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mock_extra: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

impl<'a> Ask<'a> {
    /// The input, for echoes.
    pub(super) fn text(&self) -> Text<'a> {
        self.input.map_or(Text::Plain(Cow::Borrowed("")), Text::of)
    }

    /// The answer. `body_bytes` is the request's length, for its tokens.
    pub(super) fn answer(&self, script: &Script, body_bytes: usize) -> Result<Answer, Failure> {
        let input = self.input.ok_or_else(|| openai::missing("input"))?;
        let dimensions = self.dimensions.unwrap_or(DIMENSIONS_DEFAULT);
        if dimensions == 0 || dimensions > DIMENSIONS_MAX {
            let message = format!("'dimensions' must be between 1 and {DIMENSIONS_MAX}");
            return Err(Failure::invalid(400, message));
        }
        let base64 = match self.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                let message = format!("'encoding_format' must be 'float' or 'base64', not '{other}'");
                return Err(Failure::invalid(400, message));
            }
        };
        let inputs = inputs(input)?;
        let data = inputs
            .into_iter()
            .enumerate()
            .map(|(index, spelling)| {
                let vector = vector(spelling, dimensions);
                let embedding =
                    if base64 { Vector::Base64(encoded(&vector)) } else { Vector::Floats(vector) };
                Entry { object: "embedding", index, embedding }
            })
            .collect();
        let usage = Usage::of(script, body_bytes, 0).map(InputUsage::from);
        let model = self.model.as_deref().unwrap_or_default();
        let mock_extra = script.extra.then_some(input);
        Ok(Answer::json(200, &List { object: "list", data, model, usage, mock_extra }, script))
    }
}

/// The spellings of all inputs. An array of numbers is one input, of tokens.
fn inputs(input: &RawValue) -> Result<Vec<&str>, Failure> {
    let Ok(several) = serde_json::from_str::<Vec<&RawValue>>(input.get()) else {
        return Ok(vec![input.get()]);
    };
    if several.is_empty() || several.len() > INPUTS_MAX {
        let message = format!("'input' must have between 1 and {INPUTS_MAX} entries");
        return Err(Failure::invalid(400, message));
    }
    if several.iter().all(|one| one.get().starts_with(['"', '['])) {
        Ok(several.into_iter().map(RawValue::get).collect())
    } else {
        Ok(vec![input.get()])
    }
}

fn vector(spelling: &str, dimensions: usize) -> Vec<f32> {
    let mut state = seed::of_text(spelling);
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            state = seed::next(state);
            // The upper 16 bits fit a float exactly: a value in -1 .. 1.
            let upper = u16::try_from(seed::mixed(state) >> 48).unwrap_or(0);
            f32::from(upper) / 32_768.0 - 1.0
        })
        .collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut vector {
            *value /= length;
        }
    }
    vector
}

/// Base64 with padding (RFC 4648, section 4) of the little-endian floats.
fn encoded(vector: &[f32]) -> String {
    STANDARD.encode(vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}
