//! What does a client of Anthropic's dialect read of a stream? It holds the proxy to the protocol's order of events.

use crate::http::Told;
use serde_json::Value;

/// Reads the events of a stream as an SDK would, and stricter.
pub(crate) fn told(events: &[(String, String)]) -> Told {
    let mut reader = Reader::default();
    for (name, data) in events {
        let event: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in `{data}`"));
        assert_eq!(event["type"], name.as_str(), "an event goes by two names: {data}");
        reader.take(name, &event);
    }
    reader.told
}

#[derive(Default)]
struct Reader {
    told: Told,
    has_begun: bool,
    blocks: u64,
    open: Option<u64>,
}

impl Reader {
    fn take(&mut self, name: &str, event: &Value) {
        assert!(!self.told.is_done && !self.told.has_error, "an event after the end: {event}");
        match name {
            "error" => self.told.has_error = true,
            "message_start" => {
                assert!(!std::mem::replace(&mut self.has_begun, true), "a second begin: {event}");
                assert_eq!(event["message"]["content"], serde_json::json!([]));
            }
            _ => assert!(self.has_begun, "before the begin: {event}"),
        }
        let index = event["index"].as_u64();
        match name {
            "content_block_start" => {
                assert_eq!((self.open, index), (None, Some(self.blocks)), "{event}");
                (self.open, self.blocks) = (index, self.blocks + 1);
                for member in ["text", "thinking"] {
                    self.add(member, &event["content_block"][member]);
                }
            }
            "content_block_delta" => {
                assert!(index.is_some() && self.open == index, "no block is open: {event}");
                for member in ["text", "thinking", "partial_json", "signature"] {
                    self.add(member, &event["delta"][member]);
                }
            }
            "content_block_stop" => assert!(index.is_some() && self.open.take() == index, "{event}"),
            "message_delta" => {
                assert_eq!(self.open, None, "a block is open: {event}");
                self.told.has_usage = !event["usage"].is_null();
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    self.told.finish.insert(0, reason.to_owned());
                }
            }
            "message_stop" => {
                assert_eq!(self.open, None, "a block is open: {event}");
                self.told.is_done = true;
            }
            "message_start" | "ping" | "error" => {}
            other => panic!("an event that no table knows: {other}"),
        }
    }

    fn add(&mut self, member: &str, text: &Value) {
        if let (Some(block), Some(text)) = (self.open, text.as_str()) {
            self.told.lanes.entry(format!("{block}.{member}")).or_default().push_str(text);
        }
    }
}
