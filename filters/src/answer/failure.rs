//! What may be said of a provider's error? Its body is parsed, masked and rewritten, never relayed: error bodies echo
//! keys and prompts.

use crate::dlp::{Judge, redact};
use crate::documents::Direction;
use crate::tenant::Visitor;
use serde::Deserialize;

/// An error body that is read at all.
pub const FAILURE_BYTES_MAX: usize = 64 * 1024;
/// A message is cut after this many characters.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// An upstream error, fit to be passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// What it says, masked.
    pub message: Option<String>,
    /// Its `type`, if it is a name.
    pub kind: Option<String>,
    /// Its `code`, if it is a name.
    pub code: Option<String>,
    /// Its `param`, if it is a name.
    pub param: Option<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<&'a serde_json::value::RawValue>,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    message: Option<serde_json::Value>,
    #[serde(rename = "type")]
    kind: Option<serde_json::Value>,
    code: Option<serde_json::Value>,
    param: Option<serde_json::Value>,
}

/// Reads an error body.
pub fn read(visitor: &Visitor, body: &[u8]) -> Failure {
    let Ok(Body { error: Some(error) }) = serde_json::from_slice::<Body<'_>>(body) else {
        return Failure::default();
    };
    let error: ErrorBody = serde_json::from_str(error.get()).unwrap_or_default();
    let judge = Judge::new(visitor, Direction::Output);
    let message = error.message.as_ref().and_then(|message| message.as_str()).map(|message| {
        // Masked before it is cut: half a value is not found.
        redact::mask(&judge, message).chars().take(MESSAGE_CHARS_MAX).collect()
    });
    let name = |value: Option<serde_json::Value>| {
        let text = value.as_ref().and_then(|value| value.as_str())?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@-[]".contains(&byte);
        let fits = text.len() <= 128 && text.bytes().all(is_name);
        fits.then(|| redact::mask(&judge, text))
    };
    Failure { message, kind: name(error.kind), code: name(error.code), param: name(error.param) }
}
