//! How does an event of our own look? As Anthropic would write it: what a lane held back is a delta of its block, and
//! an answer that policy ends is a refusal.

use super::positions::Field;
use crate::answer::lanes::{LaneName, Restoring};
use crate::dlp::lane::Syntax;
use crate::json;
use serde_json::{Value, json};

/// Which text of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneId {
    /// The index of its block.
    pub(super) block: u32,
    pub(super) field: Field,
}

impl LaneName for LaneId {
    fn place(self) -> String {
        let block = self.block;
        match self.field {
            Field::Text => format!("content[{block}].text"),
            Field::Thinking => format!("content[{block}].thinking"),
            Field::PartialJson => format!("content[{block}].input"),
        }
    }

    fn syntax(self) -> Syntax {
        self.field.syntax()
    }

    fn restoring(self) -> Restoring {
        self.field.restoring()
    }
}

/// A delta with what a lane released.
pub(super) fn write_delta(id: LaneId, released: &str, out: &mut Vec<u8>) {
    if released.is_empty() {
        return;
    }
    let (member, kind) = id.field.names();
    let start = format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{},\
         \"delta\":{{\"type\":\"{kind}\",\"{member}\":\"",
        id.block
    );
    out.extend_from_slice(start.as_bytes());
    json::escape(released, out);
    out.extend_from_slice(b"\"}}\n\n");
}

/// Nothing happens.
pub(super) fn write_ping(out: &mut Vec<u8>) {
    write(&json!({"type": "ping"}), out);
}

/// The begin of a message of which policy lets nothing begin.
pub(super) fn write_begin(model: &str, out: &mut Vec<u8>) {
    write(
        &json!({
            "type": "message_start",
            "message": {
                "id": "msg_blocked", "type": "message", "role": "assistant", "model": model, "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        }),
        out,
    );
}

/// The last events of an answer that policy ends, as Anthropic ends one that its own filter stops. A block that is
/// open is closed.
pub(super) fn write_end(open: Option<u32>, output_tokens: u64, out: &mut Vec<u8>) {
    if let Some(index) = open {
        write(&json!({"type": "content_block_stop", "index": index}), out);
    }
    write(
        &json!({
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_sequence": null},
            "usage": {"output_tokens": output_tokens},
        }),
        out,
    );
    write(&json!({"type": "message_stop"}), out);
}

fn write(event: &Value, out: &mut Vec<u8>) {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    out.extend_from_slice(format!("event: {name}\ndata: {event}\n\n").as_bytes());
}
