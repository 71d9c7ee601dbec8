//! What would a patient reader put together of what left?
//!
//! What left is read as it stands, and as JSON: every string, number and key, in JSON within strings too; a stream's
//! texts are joined, each along its path through the events. Each reading is searched as it is, and once more with its
//! letters and digits alone.

use serde_json::Value;
use std::collections::BTreeMap;

/// JSON in JSON in JSON.
const DEPTH_MAX: usize = 4;
/// Letters and digits below which they say nothing without what stands between them.
const LETTERS_MIN: usize = 6;

/// The readings of what left.
pub(super) struct Left(Vec<String>);

impl Left {
    /// All readings of bodies.
    pub(super) fn of(bodies: &[&str]) -> Self {
        let mut readings = Vec::new();
        for body in bodies {
            readings.push((*body).to_owned());
            let mut paths = BTreeMap::new();
            if let Ok(value) = serde_json::from_str::<Value>(body) {
                collect(&value, "", DEPTH_MAX, &mut paths);
            } else {
                let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
                for event in data.filter_map(|data| serde_json::from_str::<Value>(data).ok()) {
                    collect(&event, "", DEPTH_MAX, &mut paths);
                }
            }
            readings.push(paths.values().cloned().collect());
            readings.extend(paths.into_values());
        }
        let letters: Vec<String> = readings.iter().map(|reading| letters_of(reading)).collect();
        readings.extend(letters);
        Self(readings)
    }

    /// All that was said, in one line.
    pub(super) fn joined(&self) -> &str {
        self.0.get(1).map_or("", String::as_str)
    }

    /// Whether one of the readings has all of these pieces, in this order.
    pub(super) fn holds(&self, pieces: &[&str]) -> bool {
        let letters: Vec<String> = pieces.iter().map(|piece| letters_of(piece)).collect();
        let is_said = letters.iter().map(String::len).sum::<usize>() >= LETTERS_MIN;
        self.0.iter().any(|reading| {
            let letters = letters.iter().map(String::as_str);
            in_order(reading, pieces.iter().copied()) || (is_said && in_order(reading, letters))
        })
    }
}

fn in_order<'a>(mut reading: &str, pieces: impl Iterator<Item = &'a str>) -> bool {
    for piece in pieces {
        let Some(at) = reading.find(piece) else { return false };
        reading = &reading[at + piece.len()..];
    }
    true
}

fn letters_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Joins every scalar and key to what stands at its path already.
fn collect(value: &Value, path: &str, depth: usize, paths: &mut BTreeMap<String, String>) {
    let mut add = |text: &str| paths.entry(path.to_owned()).or_default().push_str(text);
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => add(&number.to_string()),
        Value::String(text) => {
            add(text);
            let inner = serde_json::from_str::<Value>(text).ok().filter(|_| depth > 0);
            if let Some(inner) = inner {
                collect(&inner, &format!("{path}/json"), depth - 1, paths);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                collect(item, &format!("{path}/{number:04}"), depth, paths);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}/{name}");
                paths.entry(format!("{path} key")).or_insert_with(|| name.clone());
                collect(member, &path, depth, paths);
            }
        }
    }
}
