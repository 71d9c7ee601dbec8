//! What holds for every stream of Anthropic's dialect, in memory: any framing and any chunking come to what the whole
//! comes to, and what is broken on the way leaks nothing. Its requests leave byte for byte where nothing is found.

use crate::memory::pushed;
use crate::properties::{VISITOR, cleared, damaged, fails_well, leaves, pieces, read_in_pieces, text, value};
use palisade_filters::Surface;
use proptest::prelude::*;
use serde_json::{Value, json};

/// How events are laid out.
#[derive(Clone, Copy, Debug)]
struct Framing {
    end: &'static str,
    has_comments: bool,
    is_spaced: bool,
    is_data_first: bool,
}

fn framing() -> impl Strategy<Value = Framing> {
    let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    (end, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(end, has_comments, is_spaced, is_data_first)| Framing {
            end,
            has_comments,
            is_spaced,
            is_data_first,
        },
    )
}

/// A stream with one block for each list of deltas: reasoning, text, the input of a tool.
fn stream(blocks: &[(&str, Vec<&str>)], framing: Framing) -> String {
    let mut events =
        vec![json!({"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}})];
    for (index, (field, deltas)) in blocks.iter().enumerate() {
        let (block, kind) = match *field {
            "thinking" => (json!({"type": "thinking", "thinking": "", "signature": ""}), "thinking_delta"),
            "text" => (json!({"type": "text", "text": ""}), "text_delta"),
            _ => (json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), "input_json_delta"),
        };
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        for delta in deltas {
            let delta = json!({"type": kind, *field: delta});
            events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({
        "type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3},
    }));
    events.push(json!({"type": "message_stop"}));
    events.iter().map(|event| laid_out(event, framing)).collect()
}

fn laid_out(event: &Value, framing: Framing) -> String {
    let Framing { end, has_comments, is_spaced, is_data_first } = framing;
    let space = if is_spaced { " " } else { "" };
    let comment = if has_comments { format!(": ping{end}retry: 7{end}") } else { String::new() };
    let name = format!("event:{space}{}{end}", event["type"].as_str().unwrap());
    let data = format!("data:{space}{event}{end}");
    let (one, two) = if is_data_first { (data, name) } else { (name, data) };
    format!("{comment}{one}{two}{end}")
}

/// What a client reads of the same text in one piece.
fn whole(text: &str) -> String {
    let body = json!({"type": "message", "content": [{"type": "text", "text": text}]}).to_string();
    let (out, fault) =
        pushed(&VISITOR, &cleared(Surface::Messages, false), "application/json", &[body.as_bytes()], false);
    assert_eq!(fault, None);
    let out: Value = serde_json::from_slice(&out).unwrap();
    out["content"][0]["text"].as_str().unwrap().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_framing_and_any_chunking_tell_what_the_whole_tells(
        texts in prop::collection::vec(text(), 1..4),
        deltas in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        framing in framing(),
    ) {
        let fields = ["text", "thinking", "text"];
        let blocks: Vec<(&str, Vec<&str>)> =
            texts.iter().zip(fields).map(|(text, field)| (field, pieces(text, &deltas))).collect();
        let stream = stream(&blocks, framing);
        let told = read_in_pieces(Surface::Messages, &stream, &cuts);
        for (at, (text, field)) in texts.iter().zip(fields).enumerate() {
            prop_assert_eq!(told.lane(&format!("{at}.{field}")), whole(text));
        }
    }

    #[test]
    fn the_input_of_a_tool_stays_json(
        before in "[a-zé\\\\\" ]{0,12}",
        after in "[a-zé\\\\\" ]{0,12}",
        deltas in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        framing in framing(),
    ) {
        let value = format!("{before} 4111 1111 1111 1111 {after}");
        let input = json!({"a": value, "n": 5_555_555_555_554_444_u64, "z": [after]}).to_string();
        let stream = stream(&[("partial_json", pieces(&input, &deltas))], framing);
        let told = read_in_pieces(Surface::Messages, &stream, &[]);
        let read: Value = serde_json::from_str(told.lane("0.partial_json")).unwrap();
        prop_assert_eq!(&read["a"], &format!("{before} [CREDIT_CARD] {after}"));
        prop_assert_eq!(&read["n"], "[CREDIT_CARD]");
    }

    #[test]
    fn a_stream_that_is_damaged_leaks_nothing(
        before in "[a-z ]{0,20}",
        place in any::<prop::sample::Index>(),
        damage in prop::sample::select(vec![
            "", "\n", "\"", "}", "{", "data: ", "\\", "\0", "\r\n\r\n", "event: ping\n", "\"text\":\"",
        ]),
        is_inserted in any::<bool>(),
        framing in framing(),
    ) {
        let card = "4111 1111 1111 1111";
        let found = format!("  {card}  ");
        let stream = stream(&[("text", vec![&before, &found, "end"])], framing);
        let out = damaged(Surface::Messages, &stream, damage, place, is_inserted);
        prop_assert!(!out.contains(&format!(" {card} ")), "{}", out);
    }

    #[test]
    fn where_nothing_is_found_every_byte_leaves(one in value(), two in value()) {
        let body = format!(
            "{{\"x\":{one} , \"model\" : \"claude\",\"max_tokens\":1,\"messages\":[{{\"content\":[{{\"y\":{two}}}]}}]}} "
        );
        let left = leaves(Surface::Messages, &body);
        prop_assert_eq!(left.unwrap(), body);
    }

    #[test]
    fn no_bytes_make_the_core_fail(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        fails_well(Surface::Messages, &bytes, cut);
    }
}
