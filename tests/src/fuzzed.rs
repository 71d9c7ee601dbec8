//! What must hold for any bytes at all? One function a parser of foreign bytes, for the fuzzer and for the cases it
//! found.
//!
//! `tests/fuzz` calls these with bytes of its own making; the test at the end calls them with every file of
//! `tests/fuzz/cases`. Each asserts more than that nothing panics: what was accepted reads the same again, and however
//! a stream was cut, it says the same.

use bytes::Bytes;
use palisade_filters::answer::{Answer, AnswerFault, Flow};
use palisade_filters::dlp::splice::{self, Edit};
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::forwarded::{self, TrustedProxies};
use palisade_filters::policy::compile::{Grounds, Source};
use palisade_filters::quota::Receipt;
use palisade_filters::secret::Secret;
use palisade_filters::{self as filters, Knock, Policy, Surface, Visitor, api_key, proxy_protocol};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

const PLATFORM: &str = r#"
[[providers]]
name = "p"
base_url = "http://127.0.0.1:1/v1"
models = ["*"]
"#;

const ORGANISATION: &str = r#"
id = "acme"
policy = [{ name = "everything", action = "redact", categories = [
  "payment", "identity", "secret", "contact", "network", "health", "business",
] }]
[[keys]]
id = "{id}"
sha256 = "{sha256}"
"#;

static VISITOR: LazyLock<Visitor> = LazyLock::new(|| {
    fn source<D: DeserializeOwned>(name: &str, text: &str) -> Source<D> {
        Source { name: name.to_owned(), fingerprint: 1, document: Ok(toml::from_str(text).unwrap()) }
    }
    let key = api_key::create([7; 9], [9; 32]);
    let acme = ORGANISATION.replace("{id}", &key.id).replace("{sha256}", &key.sha256);
    let (secrets, hash_secret) = (HashMap::new(), Secret::new("00".repeat(32)));
    let scanner = Arc::new(Scanner::new(rules::shipped().unwrap()));
    let grounds = Grounds { scanner, secrets: &secrets, hash_secret: &hash_secret };
    let platform = source("platform.toml", PLATFORM);
    let (policy, errors) = Policy::compile(None, &platform, &[source("orgs/acme.toml", &acme)], &grounds);
    assert_eq!(errors, []);
    let credentials = [key.key.expose().to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 1 };
    let caller = filters::identify(&policy.unwrap(), &knock).unwrap();
    let located = filters::locate(caller, &knock, filters::Location::default()).unwrap();
    filters::recognize(located, &knock, &Arc::default()).unwrap()
});

/// A request's body: what is let through is JSON that is let through again, and nothing in it is redacted twice.
pub(crate) fn projection(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let surfaces = [Surface::ChatCompletions, Surface::Completions, Surface::Embeddings];
    let surface = surfaces[usize::from(*first) % surfaces.len()];
    let Some(sent) = leaves(surface, body) else { return };
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&sent).is_ok(), "what leaves is JSON");
    let again = leaves(surface, &sent).expect("what left once may leave again");
    assert_eq!(again, sent, "and has nothing more to redact");
}

fn leaves(surface: Surface, body: &[u8]) -> Option<Bytes> {
    let prompt = filters::read(&VISITOR, surface, Bytes::copy_from_slice(body)).ok()?;
    let cleared = filters::clear(&VISITOR, prompt).ok()?;
    let application = filters::apply(&VISITOR, &cleared).ok()?;
    let receipt = Receipt { ask: application.ask().clone(), ..Receipt::default() };
    let admission = filters::admit(application, Ok(receipt), &filters::Outlook::default()).ok()?;
    Some(cleared.for_target(&admission.itinerary.targets[0]))
}

/// A provider's stream: in one piece and in pieces it comes to the same, text, end and fault.
pub(crate) fn events(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = pushed(&[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*size).max(1)).collect();
    assert_eq!(pushed(&pieces), whole, "in pieces of {size}");
}

/// The text that came out, lane by lane is the caller's business; here, whether it ended well and all of its bytes
/// outside of the framing.
fn pushed(chunks: &[&[u8]]) -> (String, Option<AnswerFault>) {
    let body = r#"{"model":"m","stream":true,"n":3,"messages":[]}"#;
    let prompt = filters::read(&VISITOR, Surface::ChatCompletions, Bytes::from(body)).unwrap();
    let mut out = Vec::new();
    let mut answer = Answer::begin(&VISITOR, prompt.head(), Some("text/event-stream")).unwrap();
    for chunk in chunks {
        match answer.push(chunk, &mut out) {
            Ok(Flow::Open) => {}
            Ok(Flow::Ended) => return (text(out), None),
            Err(fault) => return (text(out), Some(fault)),
        }
    }
    let fault = answer.finish(&mut out).err();
    (text(out), fault)
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("what leaves is UTF-8")
}

/// Edits: every byte outside of them stays, in its order.
pub(crate) fn splicing(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(*count % 16);
    let Some((places, body)) = rest.split_at_checked(count * 2) else { return };
    let mut edits = Vec::new();
    let mut kept = vec![true; body.len()];
    for place in places.chunks_exact(2) {
        let start = usize::from(place[0]).min(body.len());
        let end = (start + usize::from(place[1] % 32)).min(body.len());
        kept[start..end].fill(false);
        edits.push(Edit { raw: start..end, with: Cow::Borrowed(b"") });
    }
    let expected: Vec<u8> = body.iter().zip(kept).filter(|(_, kept)| *kept).map(|(byte, _)| *byte).collect();
    assert_eq!(splice::splice(body, edits), expected);
}

/// A presented key: what is read as one is one.
pub(crate) fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(key) = api_key::parse(text) {
        assert_eq!(text.len(), api_key::KEY_BYTES);
        assert!(text.contains(key.id));
    }
}

/// The start of a connection behind a balancer: what is read as a header is the same header with whatever follows, and
/// is none before its last byte.
pub(crate) fn proxy_header(data: &[u8]) {
    let Ok(Some(header)) = proxy_protocol::read(data) else { return };
    assert!(header.bytes <= proxy_protocol::HEADER_BYTES_MAX);
    let (own, _) = data.split_at(header.bytes);
    assert_eq!(proxy_protocol::read(own), Ok(Some(header)));
    let (_, short) = own.split_last().expect("a header has bytes");
    assert_eq!(proxy_protocol::read(short), Ok(None));
}

/// What a client writes before a proxy's own entry: it stays who it is, or is not read at all.
pub(crate) fn forwarded_for(data: &[u8]) {
    static TRUSTED: LazyLock<TrustedProxies> =
        LazyLock::new(|| TrustedProxies::compile(&["10.0.0.0/8".to_owned()]).unwrap());
    let real = Some([203, 0, 113, 7].into());
    let x = [data, b", 203.0.113.7, 10.0.0.1"].concat();
    assert_eq!(forwarded::x_forwarded_for([&x[..]].into_iter(), &TRUSTED), Ok(real));
    let own_line = [data, b"for=203.0.113.7, for=10.0.0.1"];
    assert_eq!(forwarded::forwarded(own_line.into_iter(), &TRUSTED), Ok(real));
    let same_line = [data, b", for=203.0.113.7, for=10.0.0.1"].concat();
    let told = forwarded::forwarded([&same_line[..]].into_iter(), &TRUSTED);
    assert!(told == Ok(real) || told.is_err(), "{told:?}");
}

/// A file of detection rules, as an operator writes them: an error or rules, and rules make a scanner.
pub(crate) fn rule_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(rules) = rules::load(&[("fuzzed.toml", text)]) {
        Scanner::new(rules).scan(data);
    }
}

/// What a target does with bytes.
#[cfg(test)]
type Target = fn(&[u8]);

/// The targets, by their names and those of their folders of cases.
#[cfg(test)]
const TARGETS: &[(&str, Target)] = &[
    ("projection", projection),
    ("events", events),
    ("splicing", splicing),
    ("key", key),
    ("rule_file", rule_file),
    ("proxy_header", proxy_header),
    ("forwarded_for", forwarded_for),
];

#[cfg(test)]
mod tests {
    use super::TARGETS;
    use crate::process::workspace;

    #[test]
    fn what_the_fuzzer_found_stays_found() {
        let mut held = 0;
        for (name, target) in TARGETS {
            let folder = workspace().join("tests/fuzz/cases").join(name);
            for file in
                std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("`{}` is gone", folder.display()))
            {
                target(&std::fs::read(file.unwrap().path()).unwrap());
                held += 1;
            }
            let target_file = workspace().join(format!("tests/fuzz/fuzz_targets/{name}.rs"));
            assert!(target_file.exists(), "`{name}` is fuzzed");
        }
        assert!(held >= TARGETS.len(), "each target has a case at least");
    }
}
