//! How does a secret get into a resource, and never out again?
//!
//! In the store a secret may be given itself, `{ "value": "sk-…" }`: the document is sealed, and it reads as [`MASK`].
//! Who writes the mask back keeps what is there. But a kept secret goes where its writer meant it to go: if the address
//! changes, it must be given again, or whoever may change addresses could have it sent to one of their own. For the
//! same reason a resource cannot name every variable or file of the machine.

use super::fields::FieldError;
use super::kinds::{KindRow, Side};
use palisade_filters::secret::Secret;
use serde_json::{Value, json};
use std::path::{Component, Path};

/// What stands for a secret in answers.
pub(super) const MASK: &str = "***";
/// The member that holds a secret itself.
const VALUE: &str = "/value";
/// Variables that a resource may name end so; ours, such as the master key's, do not.
const VARIABLE_END: &str = "_API_KEY";
/// Variables of ours.
const OURS: &str = "PALISADE_";
/// The folder, in the data folder, that files of credentials lie in.
const FOLDER: &str = "secrets";
/// Files there that are ours end so.
const OUR_FILES: &str = ".key";

/// Masks what is secret.
pub(super) fn mask(row: &KindRow, document: &mut Value) {
    for pointer in row.secrets {
        if let Some(secret) = document.pointer_mut(pointer) {
            *secret = MASK.into();
        }
    }
}

/// Puts secrets that are there already where a written document has the mask.
pub(super) fn keep(row: &KindRow, document: &mut Value, former: Option<&Value>) -> Result<(), FieldError> {
    for pointer in row.secrets {
        let Some(written) = document.pointer_mut(pointer).filter(|written| **written == MASK) else {
            continue;
        };
        let Some(kept) = former.and_then(|former| former.pointer(pointer)) else {
            let message = format!(
                "`{MASK}` stands for a secret that is kept, and there is none; give the secret itself"
            );
            return Err(FieldError::new(*pointer, message));
        };
        *written = kept.clone();
        let moved =
            |place: &&&str| former.and_then(|former| former.pointer(place)) != document.pointer(place);
        if let Some(place) = row.secrets_stay_with.iter().find(moved) {
            let message = format!(
                "`{place}` changed, and a secret is not sent elsewhere unseen; give the secret again"
            );
            return Err(FieldError::new(*pointer, message));
        }
    }
    Ok(())
}

/// Takes a secret that was given itself out of a document, and leaves what reads like the name of a place.
pub(super) fn take_given(row: &KindRow, document: &mut Value) -> Result<Option<Secret>, FieldError> {
    for place in places(row) {
        let Some(given) = document.pointer_mut(place) else { continue };
        if given.is_string() {
            // Nobody else is to complain about it: it would be repeated.
            *given = json!({ "env": "GIVEN" });
            let message = "a secret is no text by itself; write `{ \"value\": \"…\" }`";
            return Err(FieldError::new(place, message));
        }
        let Some(value) = given.as_object().and_then(|members| members.get("value")) else { continue };
        let is_alone = given.as_object().is_some_and(|members| members.len() == 1);
        let secret = value.as_str().filter(|value| is_alone && !value.is_empty());
        let secret = secret.map(|value| Secret::new(value.to_owned())).ok_or_else(|| {
            FieldError::new(
                place,
                "a secret is one of `value`, `env` and `file`, and a text that is not empty",
            )
        })?;
        *given = json!({ "env": "GIVEN" });
        return Ok(Some(secret));
    }
    Ok(None)
}

/// Whether a resource names a variable or file that it may name.
pub(super) fn references(row: &KindRow, document: &Value) -> Result<(), FieldError> {
    for place in places(row) {
        let Some(members) = document.pointer(place).and_then(Value::as_object) else { continue };
        let (variable, file) = (members.get("env"), members.get("file"));
        if row.side == Side::Organisation && (variable.is_some() || file.is_some()) {
            let message = "an organisation's secret is given itself, `{ \"value\": \"…\" }`; it is sealed";
            return Err(FieldError::new(place, message));
        }
        if let Some(name) = variable.and_then(Value::as_str)
            && (!name.ends_with(VARIABLE_END) || name.starts_with(OURS))
        {
            let message = format!(
                "a variable that a resource may name ends in `{VARIABLE_END}` and does not begin with `{OURS}`; \
                 rename it, or give the secret itself, `{{ \"value\": \"…\" }}`"
            );
            return Err(FieldError::new(format!("{place}/env"), message));
        }
        if let Some(path) = file.and_then(Value::as_str).filter(|path| !is_credential(Path::new(path))) {
            // Its length says enough: what looks like no path may be the secret.
            let message = format!(
                "a file that a resource may name is `{FOLDER}/<name>` in the data folder, and its name does not end in \
                 `{OUR_FILES}` (this one has {} bytes); move it there, or give the secret itself, `{{ \"value\": \"…\" }}`",
                path.len()
            );
            return Err(FieldError::new(format!("{place}/file"), message));
        }
    }
    Ok(())
}

fn is_credential(path: &Path) -> bool {
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| if let Component::Normal(part) = part { part.to_str() } else { None })
        .collect();
    matches!(parts.as_deref(), Some([FOLDER, name]) if !name.ends_with(OUR_FILES) && !name.starts_with('.'))
}

/// Where secrets stand that may be given themselves.
fn places(row: &KindRow) -> impl Iterator<Item = &'static str> {
    row.secrets.iter().filter_map(|pointer| pointer.strip_suffix(VALUE))
}

#[cfg(test)]
mod tests {
    use super::super::kinds::kind;
    use super::*;

    fn providers() -> &'static KindRow {
        kind(Side::Platform, "providers").unwrap()
    }

    #[test]
    fn a_kept_secret_is_not_sent_elsewhere() {
        let former = json!({ "base_url": "https://a", "api_key": { "value": "sk-1" } });
        let keep = |written: Value| {
            let mut written = written;
            keep(providers(), &mut written, Some(&former)).map(|()| written)
        };
        let mut masked = former.clone();
        mask(providers(), &mut masked);
        assert_eq!(masked, json!({ "base_url": "https://a", "api_key": { "value": "***" } }));
        assert_eq!(keep(masked), Ok(former.clone()));
        let moved = keep(json!({ "base_url": "https://evil", "api_key": { "value": "***" } })).unwrap_err();
        assert_eq!(moved.pointer, "/api_key/value");
        assert!(moved.message.contains("give the secret again") && !moved.message.contains("sk-1"));
        let inside = json!({ "base_url": "https://a", "allow_private_addresses": true, "api_key": { "value": "***" } });
        assert!(keep(inside).is_err(), "a name may be made to lead inside");
        let given = json!({ "base_url": "https://b", "api_key": { "value": "sk-2" } });
        assert_eq!(keep(given.clone()), Ok(given));
        let mut new = json!({ "base_url": "https://a", "api_key": { "value": "***" } });
        assert!(super::keep(providers(), &mut new, None).unwrap_err().message.contains("there is none"));
    }

    #[test]
    fn a_secret_without_its_name_is_not_repeated() {
        let mut document = json!({ "base_url": "https://a", "api_key": "sk-short" });
        let refused = take_given(providers(), &mut document).unwrap_err();
        assert_eq!(refused.pointer, "/api_key");
        assert!(refused.message.contains("`{ \"value\": \"…\" }`"), "{refused}");
        assert!(!format!("{refused:?} {document}").contains("sk-short"));
    }

    #[test]
    fn a_resource_names_no_secret_of_ours() {
        let asks =
            |key: Value| references(providers(), &json!({ "api_key": key })).map_err(|error| error.pointer);
        for fit in
            [json!({ "env": "OPENAI_API_KEY" }), json!({ "file": "secrets/openai" }), json!({ "value": "x" })]
        {
            assert_eq!(asks(fit.clone()), Ok(()), "{fit}");
        }
        for name in ["PALISADE_MASTER_KEY", "PALISADE_API_KEY", "DATABASE_URL", "HOME", ""] {
            assert_eq!(asks(json!({ "env": name })), Err("/api_key/env".to_owned()), "{name}");
        }
        for path in [
            "secrets/hash.key",
            "secrets/./hash.key",
            "/etc/passwd",
            "secrets/../secrets/hash.key",
            "keys/a",
            "secrets",
            "secrets/",
            "secrets/a/b",
            "secrets/hash.key/",
            "./secrets/hash.key",
            "secrets/.x",
            "",
        ] {
            assert_eq!(asks(json!({ "file": path })), Err("/api_key/file".to_owned()), "{path}");
        }
        let exact = kind(Side::Organisation, "exact-match").unwrap();
        let named = references(exact, &json!({ "key": { "env": "OPENAI_API_KEY" } })).unwrap_err();
        assert!(named.message.contains("`{ \"value\": \"…\" }`"), "{named}");
    }
}
