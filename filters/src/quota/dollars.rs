//! How much money? US dollars in whole billionths: written as people write them, counted without rounding.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::fmt;

/// Billionths in one dollar.
const NANOS: u64 = 1_000_000_000;
/// The most that a document may name: a budget above it is a mistake, and sums of it fit.
const DOLLARS_MAX: u64 = 1_000_000_000;

/// An amount of US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dollars {
    nanos: u64,
}

impl Dollars {
    /// This many billionths.
    pub fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// In billionths.
    pub fn nanos(self) -> u64 {
        self.nanos
    }

    /// Reads `12`, `12.5`, `0.000000001`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 9 {
            return None;
        }
        let whole: u64 = whole.parse().ok().filter(|whole| *whole <= DOLLARS_MAX)?;
        let part: u64 = format!("{part:0<9}").parse().ok()?;
        Some(Self { nanos: whole * NANOS + part })
    }
}

impl fmt::Display for Dollars {
    /// At least cents, and no more digits than are needed.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!("{:09}", self.nanos % NANOS);
        let digits = part.trim_end_matches('0').len().max(2);
        write!(out, "{}.{}", self.nanos / NANOS, part.get(..digits).unwrap_or(&part))
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Reader;

        impl de::Visitor<'_> for Reader {
            type Value = Dollars;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    out,
                    "US dollars: `50`, or in quotes `\"12.50\"`, with at most 9 decimals and {DOLLARS_MAX} dollars"
                )
            }

            fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Dollars, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(whole), &self);
                u64::try_from(whole).map_err(wrong).and_then(|whole| self.visit_u64(whole))
            }

            // JSON gives whole numbers without a sign so.
            fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Dollars, E> {
                let amount = Some(whole).filter(|whole| *whole <= DOLLARS_MAX);
                let amount = amount.map(|whole| Dollars { nanos: whole * NANOS });
                amount.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(whole), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Dollars, E> {
                Dollars::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        input.deserialize_any(Reader)
    }
}

impl JsonSchema for Dollars {
    fn schema_name() -> Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "US dollars, whole or as a text with at most 9 decimals: `50`, `\"12.50\"`.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": DOLLARS_MAX },
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Deserialize)]
    struct Document {
        amount: Dollars,
    }

    fn read(value: &str) -> Result<u64, String> {
        let document: Result<Document, _> = toml::from_str(&format!("amount = {value}"));
        document.map(|document| document.amount.nanos()).map_err(|error| error.to_string())
    }

    #[test]
    fn money_is_read_as_it_is_written_and_never_as_a_float() {
        for (value, nanos) in [
            ("50", 50 * NANOS),
            ("\"12.50\"", 12_500_000_000),
            ("\"0.000000001\"", 1),
            ("\"7\"", 7 * NANOS),
            ("0", 0),
        ] {
            assert_eq!(read(value), Ok(nanos), "{value}");
            assert_eq!(
                serde_json::from_str::<Dollars>(value).map(Dollars::nanos).ok(),
                Some(nanos),
                "{value}"
            );
        }
        for value in
            ["12.5", "-1", "\"-1\"", "\"1.0000000001\"", "\"\"", "\".5\"", "\"1.\"", "\"1e3\"", "2000000000"]
        {
            let error = read(value).unwrap_err();
            assert!(error.contains("\"12.50\""), "{value}: {error}");
            assert!(serde_json::from_str::<Dollars>(value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nanos in 0..DOLLARS_MAX * NANOS) {
            let amount = Dollars::from_nanos(nanos);
            prop_assert_eq!(Dollars::parse(&amount.to_string()), Some(amount));
        }
    }
}
