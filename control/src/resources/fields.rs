//! Which field of what an admin wrote is wrong, and how is that said without repeating a secret?
//!
//! Needs a JSON value; proves that it reads as the type that is asked for, or names the place by a JSON pointer
//! (RFC 6901). A message repeats short words of the value, which help to find a typing mistake, and nothing longer:
//! that may be a credential in the wrong place.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::fmt;

/// Longer texts are not repeated in errors; what is shorter is no credential. As for documents in files.
const SHOWN_BYTES_MAX: usize = 20;
/// A longer name of a field is repeated if it is made of letters as ours are.
const NAME_BYTES_MAX: usize = 40;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where, as a JSON pointer; empty: in the document as a whole.
    pub pointer: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl FieldError {
    pub(super) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return out.write_str(&self.message);
        }
        write!(out, "`{}`: {}", self.pointer, self.message)
    }
}

/// Reads a text as JSON.
pub(super) fn parse(text: &[u8]) -> Result<Value, FieldError> {
    serde_json::from_slice(text).map_err(|error| FieldError::new("", format!("it is not JSON: {error}")))
}

/// Reads a value as what it should be.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        let mut pointer = pointer(error.path());
        // The way leads to where something is missing, not to what is.
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        if let Some(name) = missing {
            pointer = format!("{pointer}/{}", escaped(name));
        }
        FieldError { message: without_values(message, value), pointer }
    })
}

/// The way to a value, as far as its names can be repeated.
fn pointer(path: &Path) -> String {
    let mut parts = Vec::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => parts.push(format!("/{index}")),
            // A variant's name stands in the document as a member's name.
            Segment::Map { key: name } | Segment::Enum { variant: name } if is_shown(name) => {
                parts.push(format!("/{}", escaped(name)));
            }
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    parts.concat()
}

/// A name as a part of a pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn is_shown(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    name.len() <= SHOWN_BYTES_MAX || (name.len() <= NAME_BYTES_MAX && is_word)
}

/// Takes long texts of a value out of a message about it.
fn without_values(mut message: String, value: &Value) -> String {
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        match value {
            Value::String(text) => message = without(message, text),
            Value::Array(values) => rest.extend(values),
            Value::Object(members) => {
                for (name, value) in members {
                    if !is_shown(name) {
                        message = without(message, name);
                    }
                    rest.push(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    message
}

fn without(message: String, text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return message;
    }
    // Messages of serde repeat a text as Rust would write it.
    let written = format!("{text:?}");
    message.replace(written.trim_matches('"'), "…").replace(text, "…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::documents::{KeyDocument, ProviderDocument};
    use serde_json::json;

    fn wrong<T: DeserializeOwned>(value: &Value) -> (String, String) {
        let error = read::<T>(value).err().unwrap();
        (error.pointer, error.message)
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let provider = |change: Value| {
            let mut value = json!({ "name": "p", "base_url": "http://x", "models": ["*"] });
            for (name, member) in change.as_object().unwrap() {
                value[name] = member.clone();
            }
            wrong::<ProviderDocument>(&value)
        };
        let (place, message) = provider(json!({ "modles": [] }));
        assert_eq!(place, "/modles");
        assert!(
            message.starts_with("unknown field `modles`, expected one of `name`, `base_url`"),
            "{message}"
        );
        assert_eq!(provider(json!({ "models": ["a", 7] })).0, "/models/1");
        assert_eq!(provider(json!({ "breaker": { "window": "soon" } })).0, "/breaker/window");
        assert_eq!(provider(json!({ "breaker": { "failures": -1 } })).0, "/breaker/failures");
        assert_eq!(provider(json!({ "breaker": { "failure": 1 } })).0, "/breaker/failure");
        assert_eq!(provider(json!({ "http": "3" })).0, "/http");
        let (place, message) = wrong::<KeyDocument>(&json!({ "id": "a" }));
        assert_eq!((place.as_str(), message.as_str()), ("/sha256", "missing field `sha256`"));
    }

    #[test]
    fn no_message_repeats_what_may_be_a_credential() {
        let secret = "sk-live-\"9f8e7d6c5b4a39281706f5e4d3c2b1a0";
        for value in [
            json!({ "name": "p", "base_url": "x", "models": secret }),
            json!({ "name": "p", "base_url": "x", "models": [], "api_key": secret }),
            json!({ "name": "p", "base_url": "x", "models": [], "api_key": { secret: "x" } }),
            json!({ "name": "p", "base_url": "x", "models": [], "http": secret }),
            json!({ "name": "p", "base_url": "x", "models": [], "connect_timeout": secret }),
            json!({ secret: "p" }),
            json!(secret),
        ] {
            let error = read::<ProviderDocument>(&value).err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("9f8e7d6c5b4a"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_json_is_said_without_its_text() {
        let error = parse(b"{ sk-live-9f8e7d6c5b4a39281706f5e4d3c2b1a0 }").unwrap_err();
        assert_eq!(error.pointer, "");
        assert!(error.message.starts_with("it is not JSON: ") && error.message.contains("line 1 column 3"));
        assert!(!error.message.contains("9f8e7d"), "{error}");
    }
}
