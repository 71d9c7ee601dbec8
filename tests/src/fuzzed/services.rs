//! What must hold for whatever a service answers that prompts are asked of.

use super::callers::ASKING;
use super::prompts::{is_alike, sent};
use bytes::Bytes;
use palisade_filters::dlp::lane::Action;
use palisade_filters::{self as filters, Cleared, Finding, Memory, Refusal, Surface};
use serde_json::Value;
use std::sync::LazyLock;

/// With characters of all widths, escapes, several texts, and what rules find by themselves.
const PROMPTS: [(Surface, &str); 3] = [
    (
        Surface::ChatCompletions,
        r#"{"model":"m","messages":[{"role":"user","content":"Grüße 😀 an Jane \u0044oe,\n4111 1111 1111 1111"}]}"#,
    ),
    (
        Surface::ChatCompletions,
        r#"{"model":"m","messages":[{"role":"system","content":" "},{"role":"user","content":[{"type":"text","text":"Jane"},{"type":"text","text":"Doe \ud83e\udd80"}]}]}"#,
    ),
    (
        Surface::Messages,
        r#"{"model":"m","max_tokens":9,"system":"你好","messages":[{"role":"user","content":"jane@corp.example.org is Jane"}]}"#,
    ),
];

static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory::new(*b"no secret at all", 1 << 16));

/// A service's answer: it cannot be used, and says why, and the prompt is refused; or it can, and adds findings of what
/// was asked for, takes none away, and changes nothing but texts.
pub(crate) fn service(data: &[u8]) {
    let Some((kind, answer)) = data.split_first() else { return };
    let (surface, body) = PROMPTS[usize::from(*kind) % PROMPTS.len()];
    let (why, cleared) = asked(surface, body, answer);
    let cleared = match cleared {
        Ok(cleared) => cleared,
        Err(refusal) => {
            assert!(!why.is_empty() && matches!(refusal, Refusal::DetectorUnavailable), "{why}, {refusal:?}");
            return;
        }
    };
    let before = asked(surface, body, b"[]").1.expect("nothing found is an answer");
    let (ours, theirs): (Vec<_>, Vec<_>) =
        cleared.findings().iter().partition(|finding| !finding.detector.id.starts_with("detector."));
    let names = |findings: &[&Finding]| findings.iter().map(|one| name(one)).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&before.findings().iter().collect::<Vec<_>>()), "none is taken away");
    for finding in theirs {
        assert!(matches!(&*finding.detector.entity, "PERSON" | "LOCATION"), "nothing else was asked for");
        assert!((0.5..=1.0).contains(&finding.confidence) && finding.length > 0, "{finding:?}");
        assert!(matches!(finding.action, Action::Redact(_)));
    }
    let left = sent(&ASKING, &cleared).expect("nothing refuses it");
    let (told, left): (Value, Value) =
        (serde_json::from_str(body).unwrap(), serde_json::from_slice(&left).expect("what leaves is JSON"));
    assert!(is_alike(&told, &left), "a redaction replaces texts, and nothing else");
    assert_eq!(told["messages"][0]["role"], left["messages"][0]["role"], "names of the API's are no texts");
}

fn name(finding: &Finding) -> (String, String, usize) {
    (finding.detector.id.to_string(), finding.place.clone(), finding.length)
}

/// Why an answer cannot be used, if it cannot, and what becomes of the prompt.
fn asked(surface: Surface, body: &str, answer: &[u8]) -> (String, Result<Cleared, Refusal>) {
    let prompt = filters::read(&ASKING, surface, Bytes::from(body.to_owned())).unwrap();
    let scanned = filters::scan(&ASKING, &MEMORY, prompt).unwrap();
    let [question] = scanned.questions() else { panic!("one service is asked") };
    let told = question.read(answer);
    let why = told.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert_eq!(question.read(answer).err().map(|error| error.to_string()).unwrap_or_default(), why);
    (why, filters::decide(&ASKING, scanned, vec![told.ok()]))
}
