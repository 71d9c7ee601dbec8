//! What holds for every body and every stream, in memory: any framing and any chunking come to what the whole comes
//! to; what is not redacted leaves byte for byte; what is broken on the way leaks nothing.

use crate::http::Told;
use crate::keys::key;
use crate::memory::{MEMORY, policy, pushed, visitor};
use bytes::Bytes;
use palisade_filters::quota::Receipt;
use palisade_filters::{self as filters, Cleared, Policy, Surface, Visitor};
use proptest::prelude::*;
use std::sync::LazyLock;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let platform = "[[providers]]\nname = \"p\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"*\"]\n\
                    [[providers]]\nname = \"a\"\ndialect = \"anthropic\"\nbase_url = \"http://127.0.0.1:1\"\n\
                    models = [\"claude\"]";
    let acme = format!(
        "id = \"acme\"\npolicy = [{{ name = \"mail\", direction = \"output\", entities = [\"EMAIL_ADDRESS\"], \
         action = \"redact\" }}]\n{}",
        key("acme").table
    );
    policy(platform, &[&acme])
});

pub(crate) static VISITOR: LazyLock<Visitor> = LazyLock::new(|| visitor(&POLICY, &key("acme").secret));

/// What leaves for the first target.
pub(crate) fn leaves(surface: Surface, body: &str) -> Result<String, String> {
    let refused = |refusal: filters::Refusal| refusal.message();
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let prompt = filters::read(&VISITOR, surface, bytes).map_err(refused)?;
    let cleared = filters::clear(&VISITOR, &MEMORY, prompt).map_err(refused)?;
    let application = filters::apply(&VISITOR, &cleared).map_err(refused)?;
    let receipt = Receipt { ask: application.ask().clone(), ..Receipt::default() };
    let admission =
        filters::admit(application, Ok(receipt), &filters::Outlook::default()).map_err(refused)?;
    Ok(String::from_utf8(cleared.for_target(&admission.itinerary.targets[0]).to_vec()).unwrap())
}

/// The smallest request there.
pub(crate) fn cleared(surface: Surface, is_stream: bool) -> Cleared {
    let body = format!(r#"{{"model":"m","max_tokens":1,"stream":{is_stream},"messages":[]}}"#);
    let prompt = filters::read(&VISITOR, surface, Bytes::from(body)).unwrap();
    filters::clear(&VISITOR, &MEMORY, prompt).unwrap()
}

/// What a client reads of a stream that comes in pieces, cut at these places.
pub(crate) fn read_in_pieces(surface: Surface, stream: &str, cuts: &[prop::sample::Index]) -> Told {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(stream.len());
    let mut from = 0;
    let chunks = cuts.iter().map(|cut| &stream.as_bytes()[std::mem::replace(&mut from, *cut)..*cut]);
    let chunks: Vec<&[u8]> = chunks.collect();
    let (out, fault) = pushed(&VISITOR, &cleared(surface, true), "text/event-stream", &chunks, false);
    assert_eq!(fault, None);
    let told = Told::read(&out);
    assert!(told.is_done);
    told
}

/// What a client gets of a stream with this in it: before one of its characters, or in that one's place.
pub(crate) fn damaged(
    surface: Surface,
    stream: &str,
    damage: &str,
    place: prop::sample::Index,
    is_inserted: bool,
) -> String {
    let mut at = place.index(stream.len());
    while !stream.is_char_boundary(at) {
        at += 1;
    }
    let after = if is_inserted { at } else { (at + 1).min(stream.len()) };
    let damaged = format!("{}{damage}{}", &stream[..at], &stream[after..]);
    let cleared = cleared(surface, true);
    let (out, _) = pushed(&VISITOR, &cleared, "text/event-stream", &[damaged.as_bytes()], false);
    String::from_utf8(out).unwrap()
}

/// Reads any bytes as a request and as an answer: what is none fails, and nothing of it is passed on.
pub(crate) fn fails_well(surface: Surface, bytes: &[u8], cut: prop::sample::Index) {
    let _ = filters::read(&VISITOR, surface, Bytes::copy_from_slice(bytes));
    let (one, two) = bytes.split_at(cut.index(bytes.len() + 1));
    for kind in ["text/event-stream", "application/json"] {
        let (out, fault) = pushed(&VISITOR, &cleared(surface, true), kind, &[one, two], false);
        assert!(fault.is_some() || out.is_empty() || kind == "application/json");
    }
}

/// Pieces of a text: words, and what is found.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-zé]{1,9}",
        2 => "[ ,.;:\n\"\\\\-]{1,3}",
        2 => Just("4111 1111 1111 1111".to_owned()),
        1 => Just("5555555555554444".to_owned()),
        2 => Just("jane.doe@example.org".to_owned()),
        1 => Just("😀".to_owned()),
        1 => "[0-9]{1,5}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.join(" "))
}

/// Cuts at these places, moved to the next character.
pub(crate) fn pieces<'a>(text: &'a str, places: &[prop::sample::Index]) -> Vec<&'a str> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(text.len() + 1)).collect();
    places.sort_unstable();
    let mut out = Vec::new();
    let mut rest = text;
    let mut passed = 0;
    for place in places {
        let mut at = place.saturating_sub(passed);
        while !rest.is_char_boundary(at) {
            at += 1;
        }
        let (piece, after) = rest.split_at(at);
        out.push(piece);
        (rest, passed) = (after, passed + at);
    }
    out.push(rest);
    out
}

/// An event stream that tells these deltas, in this framing.
fn stream(deltas: &[&str], end: &str, has_comments: bool, is_spaced: bool) -> String {
    let mut out = String::new();
    let mut event = |data: &str| {
        if has_comments {
            out.push_str(&format!(": ping{end}event: message{end}"));
        }
        out.push_str(&format!("data:{}{data}{end}{end}", if is_spaced { " " } else { "" }));
    };
    for delta in deltas {
        let delta = serde_json::to_string(delta).unwrap();
        event(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":{delta}}},"finish_reason":null}}]}}"#
        ));
    }
    event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#);
    event("[DONE]");
    out
}

/// What a client reads of the same text in one piece.
fn whole(text: &str) -> String {
    let content = serde_json::to_string(text).unwrap();
    let body =
        format!(r#"{{"choices":[{{"index":0,"message":{{"content":{content}}},"finish_reason":"stop"}}]}}"#);
    let (out, fault) = pushed(
        &VISITOR,
        &cleared(Surface::ChatCompletions, false),
        "application/json",
        &[body.as_bytes()],
        false,
    );
    assert_eq!(fault, None);
    let out: serde_json::Value = serde_json::from_slice(&out).unwrap();
    out["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// A JSON value in which nothing is found, laid out oddly.
pub(crate) fn value() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", " ", "\t", "\n  ", "\r\n"]);
    let number =
        prop::sample::select(vec!["0", "-0.0", "1e400", "1E+2", "7", "0.30000000000000004", "12E-7"]);
    let words = "[a-z ]{0,12}(\\\\n|\\\\u00e9|\\\\/|\\\\\"|é|\\\\ud83d\\\\ude00|)[a-z ]{0,6}";
    let leaf = prop_oneof![
        number.prop_map(str::to_owned),
        words.prop_map(|text| format!("\"{text}\"")),
        prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let list = (prop::collection::vec(inner.clone(), 0..4), space(), space());
        let object = (prop::collection::vec(inner, 0..4), space(), space());
        prop_oneof![
            list.prop_map(|(items, a, b)| format!("[{a}{}{b}]", items.join(&format!("{b},{a}")))),
            object.prop_map(|(items, a, b)| {
                let members: Vec<String> =
                    items.iter().enumerate().map(|(at, item)| format!("\"k{at}\"{a}:{b}{item}")).collect();
                format!("{{{a}{}{b}}}", members.join(&format!("{a},{b}")))
            }),
        ]
    })
}

/// A card as JSON may spell it: any character may be an escape.
fn spelt(card: &str, escaped: &[bool]) -> String {
    let spell = |(at, one): (usize, char)| {
        if escaped.get(at).copied().unwrap_or(false) {
            format!("\\u{:04x}", u32::from(one))
        } else {
            one.into()
        }
    };
    card.chars().enumerate().map(spell).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_framing_and_any_chunking_tell_what_the_whole_tells(
        text in text(),
        deltas in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        has_comments in any::<bool>(),
        is_spaced in any::<bool>(),
    ) {
        let stream = stream(&pieces(&text, &deltas), end, has_comments, is_spaced);
        let told = read_in_pieces(Surface::ChatCompletions, &stream, &cuts);
        prop_assert_eq!(told.lane("0.content"), whole(&text));
    }

    #[test]
    fn a_stream_that_is_damaged_leaks_nothing(
        before in "[a-z ]{0,20}",
        place in any::<prop::sample::Index>(),
        damage in prop::sample::select(vec!["", "\n", "\"", "}", "{", "data: ", "\\", "\0", "\r\n\r\n"]),
        is_inserted in any::<bool>(),
    ) {
        let card = "4111 1111 1111 1111";
        let stream = stream(&[&before, &format!("  {card}  "), "end"], "\n", false, true);
        let out = damaged(Surface::ChatCompletions, &stream, damage, place, is_inserted);
        // Damage beside the card may join it to a word, and then it is none.
        prop_assert!(!out.contains(&format!(" {card} ")), "{}", out);
    }

    #[test]
    fn where_nothing_is_found_every_byte_leaves(one in value(), two in value(), space in "[ \t\r\n]{0,3}") {
        let body = format!("{{\"x\":{one}{space},{space}\"model\"{space}:{space}\"m\",\"y\":{two}}}{space}");
        prop_assert_eq!(leaves(Surface::ChatCompletions, &body).unwrap(), body);
    }

    #[test]
    fn where_something_is_found_only_it_is_replaced(
        one in value(),
        two in value(),
        before in "([a-z]{1,8} |\\\\n|\\\\u00e9 ){0,3}",
        after in "( [a-z]{1,8}|\\\\t|, é){0,3}",
        escaped in prop::collection::vec(any::<bool>(), 19),
        is_number in any::<bool>(),
    ) {
        let (written, label) = if is_number {
            ("4111111111111111".to_owned(), "\"[CREDIT_CARD]\"".to_owned())
        } else {
            let card = spelt("4111 1111 1111 1111", &escaped);
            (format!("\"{before} {card}{after}\""), format!("\"{before} [CREDIT_CARD]{after}\""))
        };
        let body = |card: &str| format!("{{\"x\":{one} ,\"model\":\"m\",\"found\":[{card}],\"y\":{two} }}");
        prop_assert_eq!(leaves(Surface::ChatCompletions, &body(&written)).unwrap(), body(&label));
    }

    #[test]
    fn no_bytes_make_the_core_fail(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        fails_well(Surface::ChatCompletions, &bytes, cut);
    }
}
