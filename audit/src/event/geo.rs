//! Where did a request come from? What databases said of its address, and not more.
//!
//! Needs facts as the proxy looked them up; proves that they stay small: codes are two letters, and nothing holds text.
//! Does not: judge, or say who was asked.

use super::is_default;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Disguises of one network: there are four kinds.
pub const DISGUISES_MAX: usize = 4;

/// Where an address is: `{"country":"DE","continent":"EU","asn":3320}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Geo {
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "is_default")]
    pub country: Option<Code>,
    /// `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`.
    #[serde(skip_serializing_if = "is_default")]
    pub continent: Option<Code>,
    /// The autonomous system's number.
    #[serde(skip_serializing_if = "is_default")]
    pub asn: Option<u32>,
    /// How the network hides who uses it.
    #[serde(skip_serializing_if = "is_default")]
    pub anonymous: Vec<Disguise>,
}

/// How a network hides who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disguise {
    /// A virtual private network for the public.
    Vpn,
    /// A proxy.
    Proxy,
    /// An exit of Tor.
    Tor,
    /// Servers for rent.
    Hosting,
}

/// Two capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code([u8; 2]);

impl Code {
    /// Reads what looks like a code.
    pub fn read(text: &str) -> Option<Self> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        // They are ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| serde::de::Error::custom("a code is two capital letters"))
    }
}
