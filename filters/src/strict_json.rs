//! Is this JSON that can only be read one way?
//!
//! Needs the bytes of a small text; proves a value in which no object has a name twice, and that is not nested deeper
//! than any document of ours. Parsers disagree on which of two members of one name counts: whoever was before us could
//! have checked the other one. No message repeats what was sent, but for the names of members that are on the way.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Arrays and objects in one another. Our documents have eight.
const DEPTH_MAX: usize = 32;
/// Longer names are not repeated: they may be a credential in the wrong place.
const NAME_SHOWN_BYTES_MAX: usize = 40;

/// What keeps a text from being read.
#[derive(Debug)]
pub struct Ambiguous {
    /// Where, as a JSON pointer; empty: the text as a whole.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// Reads a value, and nothing after it.
pub fn read(bytes: &[u8]) -> Result<Value, Ambiguous> {
    let mut way = Vec::new();
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { way: &mut way }.deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    read.map_err(|error| Ambiguous {
        pointer: pointer(&way),
        message: format!("it is not JSON as it is read here: {error}"),
    })
}

/// Reads an object, and nothing after it.
pub fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let Ok(Value::Object(object)) = read(bytes) else { return None };
    Some(object)
}

/// One value, of which it is known where it stands.
struct Strict<'w> {
    way: &'w mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl Strict<'_> {
    fn enter<E: Error>(&mut self, step: String) -> Result<(), E> {
        self.way.push(step);
        if self.way.len() > DEPTH_MAX {
            return Err(E::custom(format_args!("it is nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        self.enter(values.len().to_string())?;
        while let Some(value) = elements.next_element_seed(Strict { way: self.way })? {
            values.push(value);
            if let Some(step) = self.way.last_mut() {
                *step = values.len().to_string();
            }
        }
        self.way.pop();
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.enter(name.clone())?;
            if values.contains_key(&name) {
                return Err(A::Error::custom("an object has this name twice; write it once"));
            }
            let value = members.next_value_seed(Strict { way: self.way })?;
            self.way.pop();
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

/// A way as a JSON pointer (RFC 6901), up to the first name that is not to be repeated.
fn pointer(way: &[String]) -> String {
    let shown = way.iter().take_while(|step| step.len() <= NAME_SHOWN_BYTES_MAX);
    shown.fold(String::new(), |out, step| out + "/" + &step.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_one_way_is_read() {
        for text in [r#"{"a":[1,-2,0.5,"x",null,true,{"a":{}}],"b":""}"#, "[]", " 7 ", r#""\u0061""#] {
            assert_eq!(
                read(text.as_bytes()).unwrap(),
                serde_json::from_str::<Value>(text).unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused_at_its_place() {
        for (text, place) in [
            (r#"{"a":1,"a":2}"#, "/a"),
            (r#"{"a":[{},{"b/c":1,"b\u002fc":1}]}"#, "/a/1/b~1c"),
            (r#"{"a":1}{"a":2}"#, ""),
            (r#"{"a":1,}"#, ""),
            (r#"{"a":NaN}"#, "/a"),
            (r#"{"a":"\ud800"}"#, "/a"),
            (r#"{"a":01}"#, "/a"),
            ("\u{feff}{}", ""),
            ("", ""),
            ("{\"a\":\"\u{fe}", "/a"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().pointer, place, "{text}");
        }
        assert!(read(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(read(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err().message.contains("deeper"));
        assert!(read("{\"a\":".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn no_message_repeats_what_was_sent() {
        let key = "sk-live-9f8e7d6c5b4a39281706f5e4d3c2b1a0e9d8c7b6a5";
        for text in [format!("{{\"{key}\":1,\"{key}\":2}}"), format!("{{\"a\":{key}}}"), key.to_owned()] {
            let problem = read(text.as_bytes()).unwrap_err();
            assert!(!format!("{problem:?}").contains("9f8e7d"), "{problem:?}");
        }
    }
}
