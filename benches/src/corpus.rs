//! What do the callers send? Conversations like real ones, of an exact length, the same in every run.
//!
//! Needs a size and a number of findings. Proves by its tests that a clean conversation is clean and that
//! the others hold exactly as many findings as they say: card numbers of the 4111… test range with a right
//! check digit, all in the last user message, which the double can echo. It is English prose and code with
//! numbers in it; it says nothing about other scripts.

use std::fmt::Write as _;

/// Bytes of the text of every answer.
pub(crate) const ANSWER_BYTES: usize = 1024;
/// Deltas of every streamed answer.
pub(crate) const DELTAS: usize = 64;

/// How the double answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// One JSON document.
    Document,
    /// A stream whose events arrive in few writes.
    Events,
    /// A stream whose events arrive in a write each.
    EventsApart,
    /// One JSON document that repeats the last user message: shows what left the proxy.
    Echo,
}

impl Reply {
    /// Whether it is asked for as a stream.
    pub(crate) fn is_stream(self) -> bool {
        match self {
            Self::Document | Self::Echo => false,
            Self::Events | Self::EventsApart => true,
        }
    }

    /// The model name that makes the double answer so.
    fn model(self) -> String {
        match self {
            Self::Document => format!("mock@bytes:{ANSWER_BYTES}"),
            Self::Events => format!("mock@bytes:{ANSWER_BYTES}@count:{DELTAS}"),
            Self::EventsApart => format!("mock@bytes:{ANSWER_BYTES}@count:{DELTAS}@delay:0ms"),
            Self::Echo => "mock".to_owned(),
        }
    }
}

const PROSE: &[&str] = &[
    "The release went out on Tuesday and the queue was empty by noon.",
    "We saw 3 timeouts in the first hour, all of them from the old region.",
    "Please summarise the discussion below and list what is still open.",
    "The meeting of 14 March moved the deadline by two weeks, to week 18.",
    "Our invoice total was 1,284.50 after the discount of 12 percent.",
    "Most customers never notice, but the ones that do write long letters.",
    "Version 2.14.3 fixed the leak; version 2.15 made start-up 40 ms slower.",
    "I would rather keep the table small and ask twice than ask once and guess.",
    "Nobody could say why the second shard had twice the load of the first.",
    "A good answer names the trade-off before it names the winner.",
    "She measured 7 runs, dropped the slowest, and wrote the rest on the board.",
    "If the import fails again, keep the file and tell me the line it stopped at.",
];

const CODE: &str = r#"```rust
fn mean(samples: &[f64]) -> Option<f64> {
    let count = samples.len();
    if count == 0 {
        return None; // nothing to divide by
    }
    Some(samples.iter().sum::<f64>() / count as f64)
}
```
```json
{"retries": 3, "timeout_ms": 2500, "hosts": ["alpha", "beta"], "ratio": 0.75}
```
"#;

const SYSTEM: &str = "You are a careful assistant for an engineering team. Answer briefly, cite the file and \
    line you mean, and say so when you do not know.";

/// Bytes of one turn of the conversation before the last message.
const TURN_BYTES: usize = 1500;
/// Share of the conversation that the last message has, if its findings need no more: one of so many.
const LAST_SHARE: usize = 4;
/// Room that a finding takes with its space.
const CARD_BYTES: usize = 17;

/// A chat request of exactly `bytes` bytes with `findings` card numbers in its last message.
pub(crate) fn body(bytes: usize, findings: usize, reply: Reply) -> String {
    let head = format!(r#"{{"model":"{}","messages":[{{"role":"system","content":"#, reply.model());
    let options =
        if reply.is_stream() { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    let tail = format!(r#"],"max_tokens":512{options}}}"#);
    let system = SYSTEM.get(..SYSTEM.len().min(bytes / 32)).unwrap_or(SYSTEM);
    let mut out = format!("{head}{}}}", quoted(system));
    let last_bytes = (findings * CARD_BYTES).max(bytes / LAST_SHARE);
    let opening = r#",{"role":"user","content":"#;
    // Turns fill the room in front of the last message; what is left over lengthens that message.
    let room = bytes.saturating_sub(last_bytes + opening.len() + tail.len() + "\"\"}".len());
    let mut turn = 0;
    loop {
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        let message = format!(r#",{{"role":"{role}","content":{}}}"#, quoted(&turn_text(turn)));
        if out.len() + message.len() > room {
            break;
        }
        out.push_str(&message);
        turn += 1;
    }
    out.push_str(opening);
    let left = bytes.saturating_sub(out.len() + tail.len() + "\"\"}".len());
    // Plain ASCII without quotes or line ends: as long in JSON as it is.
    let _ = write!(out, "\"{}\"}}", last_text(left, findings));
    out.push_str(&tail);
    out
}

/// Clean prose of exactly `bytes` bytes.
pub(crate) fn prose(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 128);
    let mut at = 0;
    while text.len() < bytes {
        text.push_str(sentence(at));
        text.push(' ');
        at += 1;
    }
    text.truncate(bytes);
    text
}

/// The card number with this index: 411111, nine digits, a check digit.
pub(crate) fn card(index: usize) -> String {
    let digits = format!("411111{:09}", (index * 7_919 + 104_729) % 1_000_000_000);
    let sum: u32 = (0..)
        .zip(digits.bytes().rev())
        .map(|(place, digit)| (place, u32::from(digit - b'0')))
        .map(|(place, digit)| match (place % 2 == 0, digit * 2) {
            (true, doubled) if doubled > 9 => doubled - 9,
            (true, doubled) => doubled,
            (false, _) => digit,
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// A sentence by number; the sequence repeats late, so that no two turns are alike.
fn sentence(at: usize) -> &'static str {
    let mixed = at.wrapping_mul(0x9E37_79B9).rotate_right(7) ^ at;
    PROSE.get(mixed % PROSE.len()).copied().unwrap_or_default()
}

fn turn_text(turn: usize) -> String {
    let mut text = String::with_capacity(TURN_BYTES + CODE.len());
    let mut at = turn * 31;
    while text.len() < TURN_BYTES - CODE.len() {
        text.push_str(sentence(at));
        text.push(if at % 5 == 4 { '\n' } else { ' ' });
        at += 1;
    }
    text.push_str(CODE);
    text
}

/// Prose with the findings spread evenly over it.
fn last_text(bytes: usize, findings: usize) -> String {
    let words = prose(bytes.saturating_sub(findings * CARD_BYTES));
    let step = words.len() / (findings + 1);
    let mut text = String::with_capacity(bytes);
    let mut rest = words.as_str();
    for index in 0..findings {
        // At a space, so that a number never touches a word.
        let at = rest.get(step..).and_then(|tail| tail.find(' ')).map_or(0, |space| step + space + 1);
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        text.push_str(before);
        text.push_str(&card(index));
        text.push(' ');
        rest = after;
    }
    text.push_str(rest);
    text
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::dlp::{Detection, Scanner, rules};

    #[test]
    fn bodies_have_their_length_their_findings_and_no_others() {
        let detection = Detection::from(Scanner::new(rules::shipped().unwrap()));
        for bytes in [2048, 16 * 1024, 128 * 1024] {
            for findings in [0, 1, 100] {
                for reply in [Reply::Document, Reply::Events, Reply::EventsApart, Reply::Echo] {
                    let body = body(bytes, findings, reply);
                    assert_eq!(body.len(), bytes, "{findings} findings, {reply:?}");
                    let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
                    let messages = parsed["messages"].as_array().unwrap();
                    let texts = messages.iter().map(|message| message["content"].as_str().unwrap());
                    let found = texts.flat_map(|text| detection.scan(text.as_bytes()));
                    let rules: Vec<_> = found
                        .filter(|found| found.confidence >= 0.5)
                        .map(|found| detection.detector(found.rule).unwrap().id.clone())
                        .collect();
                    assert_eq!(
                        rules,
                        vec!["payment.card_number".into(); findings],
                        "{bytes} bytes, {reply:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn card_numbers_differ() {
        let all: std::collections::HashSet<_> = (0..100).map(card).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|card| card.len() == 16));
    }
}
