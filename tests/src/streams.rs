//! Streams over the wire: however an answer is cut, the client reads the same text, and no break looks like an end.
//!
//! The organisation redacts answers only, so that the double's echo carries what must be found on the way back.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Answer, Told};
use crate::keys::key;
use crate::provider::Double;
use crate::wire::anthropic;
use tempfile::TempDir;

/// What the double says, and what of it may reach the client.
const SAID: &str = "Pay with 4111 1111 1111 1111 or 5555-5555-5555-4444; ask jané.doe at jane.doe@example.org — or \
                    send sk-admin-L7tWtxUET25f9Sr9fTGz8d17MuQYK28w2CzfJTMt 😀. Done.";
const TOLD: &str = "Pay with [CREDIT_CARD] or [CREDIT_CARD]; ask jané.doe at [EMAIL_ADDRESS] — or \
                    send [OPENAI_API_KEY] 😀. Done.";
const RULES: &str = "policy = [{ name = \"nothing comes back\", direction = \"output\", \
                     entities = [\"CREDIT_CARD\", \"EMAIL_ADDRESS\", \"OPENAI_API_KEY\"], action = \"redact\" }]";

struct Site {
    house: House,
    _double: Double,
    _folder: TempDir,
}

fn site() -> Site {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let platform = "[floor]\nshipped = \"none\"\n".to_owned()
        + &provider("double", double.address, "mock*", "")
        + &anthropic("claude", double.address, "mock*", "");
    let house = House::start(&Plan {
        platform,
        organisations: vec![organisation("acme", RULES)],
        config: String::new(),
    });
    Site { house, _double: double, _folder: folder }
}

fn prompt(model: &str, more: &str) -> String {
    let said = serde_json::to_string(SAID).unwrap();
    format!(r#"{{"model":"{model}","stream":true{more},"messages":[{{"role":"user","content":{said}}}]}}"#)
}

/// Every way to cut a stream of the double.
fn cuts() -> Vec<String> {
    let mut models: Vec<String> = (1..=40).map(|bytes| format!("mock@cut:{bytes}")).collect();
    models.extend((1..=7).map(|characters| format!("mock@chunk:{characters}@delay:0ms")));
    models.extend((1..=7).map(|deltas| format!("mock@count:{deltas}")));
    models.extend(["mock@crlf@comments@cut:3".to_owned(), "mock@comments@chunk:1".to_owned()]);
    models
}

fn assert_told(answer: &Answer, lane: &str, finish: &str, model: &str) {
    let told = Told::read(&answer.body);
    assert_eq!(told.lane(lane), TOLD, "{model}");
    assert!(answer.is_whole && told.is_done, "{model}: {}", answer.text());
    assert_eq!(told.finish[&0], finish, "{model}");
}

#[test]
fn every_cut_of_a_stream_tells_the_same() {
    let mut site = site();
    for model in cuts() {
        let answer = site.house.chat("acme", &prompt(&model, ""));
        assert_told(&answer, "0.content", "stop", &model);
        assert!(!Told::read(&answer.body).has_usage, "{model}: nobody asked for it");
    }
    site.house.stop();
}

#[test]
fn every_cut_of_a_message_tells_the_same() {
    let mut site = site();
    let message = |model: &str| http::messages(&key("acme").secret, &prompt(model, r#","max_tokens":500"#));
    for model in cuts() {
        let answer = http::ask(site.house.proxy, &message(&model));
        assert_told(&answer, "0.text", "end_turn", &model);
        assert!(Told::read(&answer.body).has_usage, "{model}: it is always there");
    }
    // Reasoning is a block of its own, and before the text.
    let answer = http::ask(site.house.proxy, &message("mock@lane:reasoning@cut:11"));
    assert_told(&answer, "1.text", "end_turn", "reasoning");
    assert_eq!(Told::read(&answer.body).lane("0.thinking"), TOLD);
    site.house.stop();
}

#[test]
fn every_lane_and_every_choice_tells_the_same() {
    let site = site();
    for (model, lanes) in [
        ("mock@lane:refusal@cut:11", vec!["0.refusal"]),
        ("mock@lane:reasoning@chunk:2", vec!["0.reasoning_content", "0.content"]),
        ("mock@logprobs@cut:13", vec!["0.content"]),
    ] {
        let answer = site.house.chat("acme", &prompt(model, ""));
        let told = Told::read(&answer.body);
        for lane in lanes {
            assert_eq!(told.lane(lane), TOLD, "{model} {lane}");
        }
        assert!(!answer.text().contains("1111 1111"), "{model}: {}", answer.text());
    }
    let told = Told::read(&site.house.chat("acme", &prompt("mock@chunk:2@cut:17", r#","n":3"#)).body);
    assert_eq!(told.lanes.len(), 3);
    assert!(told.lanes.values().all(|text| text == TOLD), "{told:?}");
    let tools = r#","tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#;
    let whole = site.house.chat("acme", &prompt("mock@lane:tool@bytes:1", tools));
    assert!(whole.text().contains("tool_calls"), "{}", whole.text());
    for cut in [1, 5, 19, 40] {
        let answer = site.house.chat("acme", &prompt(&format!("mock@lane:tool@chunk:3@cut:{cut}"), tools));
        let told = Told::read(&answer.body);
        let arguments: serde_json::Value = serde_json::from_str(told.lane("0.tool_calls[0]")).unwrap();
        assert!(arguments.to_string().contains("Pay with [CREDIT_CARD] or [CREDIT_CARD];"), "{arguments}");
    }
}

#[test]
fn wherever_a_provider_breaks_off_the_client_can_tell() {
    let site = site();
    let whole = site.house.chat("acme", &prompt("mock@chunk:20", "")).body.len();
    let (mut broken, mut bytes) = (0, 0);
    while bytes < whole + 400 {
        for fault in [format!("close:{bytes}"), format!("reset:body:{bytes}")] {
            let answer = site.house.chat("acme", &prompt(&format!("mock@chunk:20@{fault}"), ""));
            if answer.status == 502 {
                broken += 1;
                continue;
            }
            let told = Told::read(&answer.body);
            assert!(answer.is_whole, "{fault}: our own framing is sound");
            assert_ne!(told.is_done, told.has_error, "{fault}: {}", answer.text());
            assert!(TOLD.starts_with(told.lane("0.content")), "{fault}: {told:?}");
            if told.is_done {
                assert_eq!(told.lane("0.content"), TOLD, "{fault}");
            } else {
                broken += 1;
            }
        }
        bytes += 61;
    }
    assert!(broken > 20, "only {broken} answers broke");
}

#[test]
fn ten_streams_at_once_are_ten_streams() {
    let mut site = site();
    let proxy = site.house.proxy;
    let secret = key("acme").secret;
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let answer = http::ask(proxy, &http::chat(&secret, &prompt("mock@chunk:4@delay:2ms", "")));
                let told = Told::read(&answer.body);
                assert!(told.is_done && told.lane("0.content") == TOLD, "{}", answer.text());
            });
        }
    });
    site.house.stop();
    assert_eq!(site.house.events().0.len(), 10);
}
