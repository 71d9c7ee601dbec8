//! Who asks, in the targets that need a caller: one for whom everything found is redacted, and one for whom some of
//! it is blocked. Providers of both dialects serve them every model.

use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::policy::compile::{Grounds, Source};
use palisade_filters::secret::Secret;
use palisade_filters::{self as filters, Knock, Policy, Visitor, api_key};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

/// A provider's credential, which must never be told.
pub(super) const CREDENTIAL: &str = "correct.horse.battery";

pub(super) const PLATFORM: &str = r#"
[[providers]]
name = "o"
base_url = "http://127.0.0.1:1/v1"
models = ["*"]
[[providers]]
name = "a"
dialect = "anthropic"
base_url = "http://127.0.0.1:1"
models = ["*"]
"#;

const REDACTS: &str = r#"
policy = [{ name = "everything", action = "redact", categories = [
  "payment", "identity", "secret", "contact", "network", "health", "business",
] }]
"#;

const BLOCKS: &str = r#"
policy = [
  { name = "not at all", action = "block", categories = ["secret", "contact"] },
  { name = "not as it is", action = "redact", categories = ["payment", "identity", "network"] },
]
"#;

/// What stands in the place of a label.
const NO_LABEL: &str = "[#]";

/// The detection rules, read once: that costs more than everything else here.
pub(super) static SCANNER: LazyLock<Arc<Scanner>> =
    LazyLock::new(|| Arc::new(Scanner::new(rules::shipped().unwrap())));

/// Both callers.
pub(super) static VISITORS: LazyLock<[Visitor; 2]> = LazyLock::new(|| [REDACTS, BLOCKS].map(visitor));

fn visitor(rules: &str) -> Visitor {
    fn source<D: DeserializeOwned>(name: &str, text: &str) -> Source<D> {
        Source { name: name.to_owned(), fingerprint: 1, document: Ok(toml::from_str(text).unwrap()) }
    }
    let key = api_key::create([7; 9], [9; 32]);
    let acme = format!("id = \"acme\"\n{rules}[[keys]]\nid = \"{}\"\nsha256 = \"{}\"\n", key.id, key.sha256);
    let secrets = [("o".to_owned(), Secret::new(CREDENTIAL.to_owned()))].into();
    let hash_secret = Secret::new("00".repeat(32));
    let grounds = Grounds { scanner: SCANNER.clone(), secrets: &secrets, hash_secret: &hash_secret };
    let platform = source("platform.toml", PLATFORM);
    let (policy, errors) = Policy::compile(None, &platform, &[source("orgs/acme.toml", &acme)], &grounds);
    assert_eq!(errors, []);
    let credentials = [key.key.expose().to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 1 };
    let caller = filters::identify(&policy.unwrap(), &filters::Trust::default(), &knock).unwrap();
    let located = filters::locate(caller, &knock, filters::Location::default()).unwrap();
    filters::recognize(located, &knock, &Arc::default()).unwrap()
}

/// A text in whose place of every label stands one that says nothing: labels have words, and words are context for what
/// stands beside them.
pub(super) fn without_labels(text: &str) -> String {
    static LABELS: LazyLock<BTreeSet<Arc<str>>> =
        LazyLock::new(|| SCANNER.detectors().iter().map(|detector| detector.label.clone()).collect());
    LABELS.iter().fold(text.to_owned(), |text, label| text.replace(&**label, NO_LABEL))
}

/// Whether what was redacted in a text without labels is no more than what a label made possible by being shorter than
/// the value that it replaced: it went with what was found.
pub(super) fn is_explained(text: &str, redacted: &str) -> bool {
    redacted.matches(NO_LABEL).count() < text.matches(NO_LABEL).count()
}
