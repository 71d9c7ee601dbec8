//! What may be said of a provider's error? Its body is parsed, masked and rewritten, never relayed: error bodies echo
//! keys and prompts.
//!
//! Credentials are masked by what they are, not by what they look like: whatever rules there are and however sure an
//! organisation wants them to be, none of a provider's own and no key of ours is passed on.

use crate::api_key;
use crate::dlp::{Judge, redact};
use crate::documents::Direction;
use crate::secret::Secret;
use crate::tenant::Visitor;
use serde::Deserialize;
use std::ops::Range;

/// An error body that is read at all.
pub const FAILURE_BYTES_MAX: usize = 64 * 1024;
/// A message is cut after this many characters.
const MESSAGE_CHARS_MAX: usize = 1_000;
/// A shorter credential is none: what stands there is `none` or `local`, for a provider that asks for no key.
const CREDENTIAL_BYTES_MIN: usize = 8;
/// What stands in the place of a credential.
const CREDENTIAL_LABEL: &str = "[CREDENTIAL]";

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
        mask(visitor, &judge, message).chars().take(MESSAGE_CHARS_MAX).collect()
    });
    let name = |value: Option<serde_json::Value>| {
        let text = value.as_ref().and_then(|value| value.as_str())?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@-[]".contains(&byte);
        let fits = text.len() <= 128 && text.bytes().all(is_name);
        fits.then(|| mask(visitor, &judge, text))
    };
    Failure { message, kind: name(error.kind), code: name(error.code), param: name(error.param) }
}

/// Masks credentials first: a rule that knows half of one would hide it from being known whole.
fn mask(visitor: &Visitor, judge: &Judge<'_>, text: &str) -> String {
    let providers = &visitor.tenant().platform.providers;
    let of_providers = providers.iter().filter_map(|provider| provider.api_key.as_ref()).map(Secret::expose);
    let mut credentials: Vec<Range<usize>> = of_providers
        .filter(|credential| credential.len() >= CREDENTIAL_BYTES_MIN)
        .flat_map(|credential| text.match_indices(credential))
        .map(|(at, credential)| at..at + credential.len())
        .collect();
    let ours = text.match_indices(api_key::PREFIX).map(|(at, _)| at..at + api_key::KEY_BYTES);
    credentials.extend(ours.filter(|key| text.get(key.clone()).and_then(api_key::parse).is_some()));
    if credentials.is_empty() {
        return redact::mask(judge, text);
    }
    credentials.sort_unstable_by_key(|credential| credential.start);
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for Range { start, end } in credentials {
        // One may lie within another, or begin in it.
        if start >= at {
            masked.push_str(text.get(at..start).unwrap_or_default());
            masked.push_str(CREDENTIAL_LABEL);
        }
        at = at.max(end);
    }
    masked.push_str(text.get(at..).unwrap_or_default());
    redact::mask(judge, &masked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credint::Intelligence;
    use crate::dlp::Scanner;
    use crate::geoip::Location;
    use crate::policy::Policy;
    use crate::policy::compile::{Grounds, Source};
    use crate::tenant::{self, Knock};
    use std::sync::Arc;

    const CREDENTIAL: &str = "correct.horse.battery";

    fn source<D: serde::de::DeserializeOwned>(text: &str) -> Source<D> {
        Source { name: "a.toml".to_owned(), fingerprint: 1, document: Ok(toml::from_str(text).unwrap()) }
    }

    /// Someone with this key, where no rule finds anything.
    fn visitor(key: &api_key::NewKey) -> Visitor {
        let provider = |name: &str| {
            format!("[[providers]]\nname = \"{name}\"\nmodels = [\"*\"]\nbase_url = \"https://a.example\"\n")
        };
        let floor = "[floor]\nshipped = \"none\"\n";
        let platform = format!("{floor}{}{}{}", provider("a"), provider("b"), provider("c"));
        let keys = format!("id = \"acme\"\n[[keys]]\nid = \"{}\"\nsha256 = \"{}\"\n", key.id, key.sha256);
        let secrets = [("a", "local"), ("b", CREDENTIAL), ("c", "battery.staple")];
        let secrets = secrets.map(|(name, text)| (name.to_owned(), Secret::new(text.to_owned()))).into();
        let hash_secret = Secret::new("00".repeat(32));
        let scanner = Arc::new(Scanner::new(Vec::new()));
        let grounds = Grounds { scanner, secrets: &secrets, hash_secret: &hash_secret };
        let (policy, errors) = Policy::compile(None, &source(&platform), &[source(&keys)], &grounds);
        assert_eq!(errors, []);
        let credentials = [key.key.expose().to_owned()];
        let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 0 };
        let caller = tenant::identify(&policy.unwrap(), &crate::Trust::default(), &knock).unwrap();
        let located = tenant::locate(caller, &knock, Location::default()).unwrap();
        tenant::admit(located, &knock, &Arc::new(Intelligence::default())).unwrap()
    }

    #[test]
    fn no_credential_is_passed_on_though_no_rule_knows_it() {
        let key = api_key::create([7; 9], [0xf3; 32]);
        let (visitor, ours) = (visitor(&key), key.key.expose());
        for (said, passed) in [
            (format!("key {CREDENTIAL} is over its limit"), "key [CREDENTIAL] is over its limit"),
            (format!("Bearer {CREDENTIAL}{CREDENTIAL}"), "Bearer [CREDENTIAL][CREDENTIAL]"),
            ("correct.horse.battery.staple".to_owned(), "[CREDENTIAL]"),
            (format!("»{ours}« is no key of ours"), "»[CREDENTIAL]« is no key of ours"),
            (
                "pk_live_ is the beginning of a local key; ä".to_owned(),
                "pk_live_ is the beginning of a local key; ä",
            ),
        ] {
            let error =
                serde_json::json!({"message": said, "type": CREDENTIAL, "code": ours, "param": "model"});
            let body = serde_json::json!({ "error": error });
            let failure = read(&visitor, body.to_string().as_bytes());
            assert_eq!(failure.message.as_deref(), Some(passed), "{said}");
            let names = [failure.kind.as_deref(), failure.code.as_deref(), failure.param.as_deref()];
            assert_eq!(names, [Some("[CREDENTIAL]"), Some("[CREDENTIAL]"), Some("model")]);
        }
    }
}
