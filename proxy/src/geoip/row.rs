//! What does a row of a database say? Every layout that is in use, read into one shape.
//!
//! MaxMind's (GeoIP2 and GeoLite2: `country.iso_code`, `autonomous_system_number`, `is_anonymous_vpn`, for Enterprise
//! files under `traits`), ip-location-db's (`country_code`) and flat ones as IPinfo's (`asn` as `AS3320`). A member
//! of a kind that nobody expects says nothing; texts are borrowed from the file.

use palisade_filters::geoip::{Continent, Country, Disguise, Disguises};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A row.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    country: Word<'a>,
    #[serde(borrow)]
    country_code: Word<'a>,
    #[serde(borrow)]
    registered_country: Word<'a>,
    #[serde(borrow)]
    continent: Word<'a>,
    #[serde(borrow)]
    continent_code: Word<'a>,
    #[serde(borrow)]
    autonomous_system_number: Word<'a>,
    #[serde(borrow)]
    asn: Word<'a>,
    #[serde(borrow)]
    autonomous_system_organization: Word<'a>,
    #[serde(borrow)]
    as_name: Word<'a>,
    is_anonymous: Word<'a>,
    is_anonymous_vpn: Word<'a>,
    is_public_proxy: Word<'a>,
    is_residential_proxy: Word<'a>,
    is_tor_exit_node: Word<'a>,
    is_hosting_provider: Word<'a>,
    #[serde(borrow)]
    traits: Option<Box<Row<'a>>>,
}

impl<'a> Row<'a> {
    /// Where the address is used; where that is not known, where it is registered.
    pub(super) fn country(&self) -> Option<Country> {
        let words = [self.country, self.country_code, self.registered_country];
        words.into_iter().find_map(|word| Country::read(word.text()?))
    }

    /// As it is written; an unwritten one follows from the country.
    pub(super) fn continent(&self) -> Option<Continent> {
        let words = [self.continent, self.continent_code];
        let written = words.into_iter().find_map(|word| Continent::read(word.text()?));
        written.or_else(|| self.country()?.continent())
    }

    pub(super) fn asn(&self) -> Option<u32> {
        let number = |word: Word<'_>| match word {
            Word::Number(number) => u32::try_from(number).ok(),
            Word::Text(text) => text.strip_prefix("AS").unwrap_or(text).parse().ok(),
            Word::Flag(_) | Word::Nothing => None,
        };
        let written = [self.autonomous_system_number, self.asn].into_iter().find_map(number);
        written.or_else(|| self.traits.as_ref()?.asn()).filter(|number| *number != 0)
    }

    /// Who runs the network.
    pub(super) fn network_name(&self) -> Option<&'a str> {
        let written = [self.autonomous_system_organization, self.as_name].into_iter().find_map(Word::text);
        written.or_else(|| self.traits.as_ref()?.network_name())
    }

    /// Whether it has anything to say about disguises.
    pub(super) fn knows_disguises(&self) -> bool {
        self.flags().iter().any(|(word, _)| matches!(word, Word::Flag(_)))
            || matches!(self.is_anonymous, Word::Flag(_))
            || self.traits.as_ref().is_some_and(|traits| traits.knows_disguises())
    }

    pub(super) fn disguises(&self) -> Disguises {
        let own = self.flags().into_iter().filter(|(word, _)| *word == Word::Flag(true)).map(|(_, one)| one);
        let traits = self.traits.iter().flat_map(|traits| traits.disguises().iter());
        let named: Disguises = own.chain(traits).collect();
        // Somebody hides there, and how is not said.
        let is_unnamed = named.is_empty() && self.is_anonymous == Word::Flag(true);
        if is_unnamed { [Disguise::Proxy].into_iter().collect() } else { named }
    }

    fn flags(&self) -> [(Word<'a>, Disguise); 5] {
        [
            (self.is_anonymous_vpn, Disguise::Vpn),
            (self.is_public_proxy, Disguise::Proxy),
            (self.is_residential_proxy, Disguise::Proxy),
            (self.is_tor_exit_node, Disguise::Tor),
            (self.is_hosting_provider, Disguise::Hosting),
        ]
    }
}

/// A member of a row: a plain value, or a map's code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Word<'a> {
    #[default]
    Nothing,
    Text(&'a str),
    Number(u64),
    Flag(bool),
}

impl<'a> Word<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nothing | Self::Number(_) | Self::Flag(_) => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Word<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Word<'de>, E> {
        Ok(Word::Text(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<Word<'de>, E> {
        Ok(Word::Nothing)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Word<'de>, E> {
        Ok(Word::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Word<'de>, E> {
        Ok(Word::Number(number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Word<'de>, E> {
        Ok(Word::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Word<'de>, E> {
        Ok(Word::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Word<'de>, E> {
        Ok(Word::Nothing)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Word<'de>, E> {
        Ok(Word::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word<'de>, A::Error> {
        let mut code = Word::Nothing;
        while let Some(name) = map.next_key::<&str>()? {
            if matches!(name, "iso_code" | "code") {
                code = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(code)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word::Nothing)
    }
}
