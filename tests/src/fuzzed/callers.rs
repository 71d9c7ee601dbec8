//! Who asks, in the targets that need a caller: for each mode one for whom everything found is redacted so, one for
//! whom some of it is blocked, and one whose prompts a service is asked of. Providers of both dialects serve them every
//! model.

use palisade_filters::dlp::replacement::Mode;
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::policy::compile::{Grounds, Source};
use palisade_filters::secret::Secret;
use palisade_filters::{self as filters, Knock, Policy, Visitor, api_key};
use serde::de::DeserializeOwned;
use serde_json::Value;
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

/// A service that prompts can be asked of. Nobody does: what it says is the fuzzer's.
const SERVICE: &str = r#"
[[detectors]]
name = "service"
url = "http://127.0.0.1:1"
allow_private_addresses = true
"#;

const ASKS: &str = r#"
[[dlp.detectors]]
name = "service"
entities = ["PERSON", "LOCATION"]
on_failure = "refuse"
"#;

fn redacts(mode: Mode) -> String {
    let categories = r#"["payment", "identity", "secret", "contact", "network", "health", "business"]"#;
    let mode = mode.name();
    format!(
        "policy = [{{ name = \"everything\", action = \"redact\", mode = \"{mode}\", categories = {categories} }}]\n"
    )
}

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

/// For whom everything is redacted: one a mode, the strictest first, which is the label.
static REDACTING: LazyLock<Vec<Visitor>> =
    LazyLock::new(|| Mode::ALL.iter().rev().map(|mode| visitor(PLATFORM, &redacts(*mode))).collect());

static BLOCKING: LazyLock<Visitor> = LazyLock::new(|| visitor(PLATFORM, BLOCKS));

/// For whom everything is redacted by its label, once a service was asked.
pub(super) static ASKING: LazyLock<Visitor> =
    LazyLock::new(|| visitor(&format!("{PLATFORM}{SERVICE}"), &(redacts(Mode::Label) + ASKS)));

/// For whom everything is redacted by its label.
pub(super) fn labelled() -> &'static Visitor {
    &REDACTING[0]
}

/// For whom everything is redacted by as many stars as it has characters, and nothing otherwise: no floor.
pub(super) fn masked() -> &'static Visitor {
    static MASKED: LazyLock<Visitor> =
        LazyLock::new(|| visitor(&format!("floor.shipped = 'none'\n{PLATFORM}"), &redacts(Mode::Mask)));
    &MASKED
}

/// What the first byte of a case says: who asks, and which of so many things.
pub(super) fn picked(kind: u8, of: usize) -> (&'static Visitor, usize) {
    let number = usize::from(kind & 0x7f);
    let visitor = if kind >> 7 == 1 { &BLOCKING } else { &REDACTING[number / of % REDACTING.len()] };
    (visitor, number % of)
}

fn visitor(platform: &str, rules: &str) -> Visitor {
    fn source<D: DeserializeOwned>(name: &str, text: &str) -> Source<D> {
        Source { name: name.to_owned(), fingerprint: 1, document: Ok(toml::from_str(text).unwrap()) }
    }
    let key = api_key::create([7; 9], [9; 32]);
    let acme = format!("id = \"acme\"\n{rules}[[keys]]\nid = \"{}\"\nsha256 = \"{}\"\n", key.id, key.sha256);
    let secrets = [("o".to_owned(), Secret::new(CREDENTIAL.to_owned()))].into();
    let hash_secret = Secret::new("00".repeat(32));
    let grounds = Grounds { scanner: SCANNER.clone(), secrets: &secrets, hash_secret: &hash_secret };
    let platform = source("platform.toml", platform);
    let (policy, errors) = Policy::compile(None, &platform, &[source("orgs/acme.toml", &acme)], &grounds);
    assert_eq!(errors, []);
    let credentials = [key.key.expose().to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 1 };
    let caller = filters::identify(&policy.unwrap(), &filters::Trust::default(), &knock).unwrap();
    let located = filters::locate(caller, &knock, filters::Location::default()).unwrap();
    filters::recognize(located, &knock, &Arc::default()).unwrap()
}

/// A text in whose place of every label, tag and hash stands one that says nothing: they have words, and words are
/// context for what stands beside them.
pub(super) fn without_labels(text: &str) -> String {
    static LABELS: LazyLock<BTreeSet<Arc<str>>> =
        LazyLock::new(|| SCANNER.detectors().iter().map(|detector| detector.label.clone()).collect());
    let text = LABELS.iter().fold(text.to_owned(), |text, label| text.replace(&**label, NO_LABEL));
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('[') {
        out.push_str(before);
        let named = behind.split_once(']').filter(|(inside, _)| is_name(inside));
        (out, rest) = match named {
            Some((_, after)) => (out + NO_LABEL, after),
            None => (out + "[", behind),
        };
    }
    out + rest
}

/// A document as it was masked, and each mask as long as what it stands for: characters beyond ASCII take more than one
/// byte, and words are near by bytes.
pub(super) fn widened(told: &str, masked: &str) -> String {
    fn widen(told: &Value, masked: &Value) -> Value {
        match (told, masked) {
            (Value::String(told), Value::String(masked)) => widened(told, masked).into(),
            (Value::Array(told), Value::Array(masked)) => {
                told.iter().zip(masked).map(|(told, masked)| widen(told, masked)).collect()
            }
            (Value::Object(told), Value::Object(masked)) => {
                let members = masked.iter().map(|(name, masked)| {
                    (name.clone(), told.get(name).map_or_else(|| masked.clone(), |told| widen(told, masked)))
                });
                Value::Object(members.collect())
            }
            _ => masked.clone(),
        }
    }
    if let (Some(told), Some(masked)) = (document(told), document(masked)) {
        return widen(&told, &masked).to_string();
    }
    if told.chars().count() != masked.chars().count() {
        return masked.to_owned();
    }
    let bytes = |(told, masked): (char, char)| {
        let count = if masked == '*' { told.len_utf8() } else { 1 };
        std::iter::repeat_n(masked, count)
    };
    told.chars().zip(masked.chars()).flat_map(bytes).collect()
}

/// A text that is JSON, and does not read as itself.
fn document(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_object() || value.is_array() || value.is_string())
}

/// Whether all that was masked besides, the second time, stands beside what was replaced the first time: a rule may ask
/// what a value ends at, and digits that more of them follow are another number until those are replaced.
pub(super) fn is_beside(masked: &str, again: &str) -> bool {
    let mut pairs = Vec::new();
    is_paired(masked, again, &mut pairs)
        && pairs.iter().any(|(before, after)| before != after)
        && pairs.iter().all(|(before, after)| is_text_beside(before, after))
}

/// The texts of two documents or streams of them, as they read: a mask has as many stars as its value had characters,
/// and not as many as that was written with. Whether the two are of one shape.
fn is_paired(before: &str, after: &str, pairs: &mut Vec<(String, String)>) -> bool {
    fn is_walked(before: &Value, after: &Value, pairs: &mut Vec<(String, String)>) -> bool {
        match (before, after) {
            (Value::String(before), Value::String(after)) => is_paired(before, after, pairs),
            (Value::Array(before), Value::Array(after)) => {
                before.len() == after.len()
                    && before.iter().zip(after).all(|(before, after)| is_walked(before, after, pairs))
            }
            (Value::Object(before), Value::Object(after)) => {
                before.len() == after.len()
                    && before.iter().zip(after).all(|((name, before), (name_after, after))| {
                        name == name_after && is_walked(before, after, pairs)
                    })
            }
            (before, after) => {
                pairs.push((
                    before.to_string(),
                    after.as_str().map_or_else(|| after.to_string(), str::to_owned),
                ));
                true
            }
        }
    }
    if let (Some(before), Some(after)) = (document(before), document(after)) {
        return is_walked(&before, &after, pairs);
    }
    let is_stream = before.lines().any(|line| line.starts_with("data:"));
    if is_stream && before.lines().count() == after.lines().count() {
        let field = |line| str::strip_prefix(line, "data:").unwrap_or(line);
        return before
            .lines()
            .zip(after.lines())
            .all(|(before, after)| is_paired(field(before), field(after), pairs));
    }
    pairs.push((before.to_owned(), after.to_owned()));
    true
}

fn is_text_beside(before: &str, after: &str) -> bool {
    const BESIDE: usize = 4;
    // What is replaced outside of a string becomes one, in arguments.
    let [before, after] =
        [before, after].map(|text| text.chars().filter(|sign| *sign != '"').collect::<Vec<_>>());
    if before.len() != after.len() {
        return false;
    }
    let is_new = |at: usize| before[at] != after[at];
    let is_old = |at: usize| before[at] == '*';
    let mut at = 0;
    while let Some(start) = (at..before.len()).find(|at| is_new(*at)) {
        at = (start..before.len()).find(|at| !is_new(*at)).unwrap_or(before.len());
        if !(start.saturating_sub(BESIDE)..(at + BESIDE).min(before.len())).any(is_old) {
            return false;
        }
    }
    true
}

/// Whether this is what stands in the brackets of a tag or a hash: a kind, and consonants.
fn is_name(inside: &str) -> bool {
    static KINDS: LazyLock<BTreeSet<Arc<str>>> =
        LazyLock::new(|| SCANNER.detectors().iter().map(|detector| detector.entity.clone()).collect());
    inside.rsplit_once('_').is_some_and(|(kind, name)| {
        let is_symbol = |byte: u8| byte.is_ascii_uppercase() && !b"AEIOUY".contains(&byte);
        KINDS.contains(kind) && matches!(name.len(), 10 | 26) && name.bytes().all(is_symbol)
    })
}

/// Whether what was redacted in a text without labels is no more than what a label made possible by being shorter than
/// the value that it replaced: it went with what was found.
pub(super) fn is_explained(text: &str, redacted: &str) -> bool {
    redacted.matches(NO_LABEL).count() < text.matches(NO_LABEL).count()
}
