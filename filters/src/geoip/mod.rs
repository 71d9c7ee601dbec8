//! May it come from this country, from this network?
//!
//! Needs an admitted address and what databases say of it, which the proxy looks up; proves a [`Location`]. Denials win
//! over permissions, and kinds add up: country and network must both be allowed. What is not known refuses, unless the
//! organisation says otherwise; but for addresses that have no country by nature, such as loopback and private ones,
//! which pass unless it refuses them in so many words. An organisation without rules costs a comparison.
//!
//! It looks nothing up, and judges nothing but the address: who comes through a server in an allowed country is there.

mod country;

pub use country::{Continent, Country};

use crate::ip_allowlist::Origin;
use crate::policy::Tenant;
use crate::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Entries of one list.
pub const ENTRIES_MAX: usize = 10_000;

/// Where an address is, as far as databases know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The country.
    pub country: Option<Country>,
    /// Its continent; some databases know that much and no country.
    pub continent: Option<Continent>,
    /// The autonomous system that announces the address.
    pub asn: Option<u32>,
    /// How it hides who uses it; none: nobody was asked.
    pub anonymous: Option<Disguises>,
}

/// How a network hides who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disguise {
    /// A virtual private network for the public.
    Vpn,
    /// A proxy, also one on other people's machines.
    Proxy,
    /// An exit of Tor.
    Tor,
    /// Servers for rent: data centres and clouds.
    Hosting,
}

impl Disguise {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vpn, Self::Proxy, Self::Tor, Self::Hosting];

    /// The name it has in documents and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vpn => "vpn",
            Self::Proxy => "proxy",
            Self::Tor => "tor",
            Self::Hosting => "hosting",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Vpn => 1,
            Self::Proxy => 2,
            Self::Tor => 4,
            Self::Hosting => 8,
        }
    }
}

/// Some of the disguises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disguises(u8);

impl Disguises {
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether they have one in common.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// In their order.
    pub fn iter(self) -> impl Iterator<Item = Disguise> {
        Disguise::ALL.into_iter().filter(move |one| self.0 & one.bit() != 0)
    }
}

impl FromIterator<Disguise> for Disguises {
    fn from_iter<I: IntoIterator<Item = Disguise>>(disguises: I) -> Self {
        Self(disguises.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

/// What an organisation writes: `[geo]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeoDocument {
    /// From where requests may come; nothing: from everywhere.
    #[serde(default)]
    pub allow: PlacesDocument,
    /// From where they may not, whatever is allowed.
    #[serde(default)]
    pub deny: PlacesDocument,
    /// Networks that hide who uses them, and are denied.
    #[serde(default)]
    pub deny_anonymous: Vec<Disguise>,
    /// What happens to addresses of which nothing is known. Not written: public ones are refused, private ones pass.
    pub unknown: Option<Unknown>,
}

/// Countries and networks.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlacesDocument {
    /// Countries in two letters.
    #[serde(default)]
    pub countries: Vec<Country>,
    /// Continents in two letters; added to the countries.
    #[serde(default)]
    pub continents: Vec<Continent>,
    /// Autonomous systems by number.
    #[serde(default)]
    pub asns: Vec<u32>,
}

/// What happens to the unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// It is refused, private addresses too.
    Refuse,
    /// It passes.
    Allow,
}

/// What is enforced.
#[derive(Debug)]
pub(crate) struct GeoRules {
    allow: Places,
    deny: Places,
    deny_anonymous: Disguises,
    unknown: Option<Unknown>,
}

/// Lists in order, for a binary search.
#[derive(Debug)]
struct Places {
    countries: Vec<Country>,
    continents: Vec<Continent>,
    asns: Vec<u32>,
}

/// Admits a caller from where its address is.
pub(crate) fn locate(tenant: &Tenant, origin: Origin, location: Location) -> Result<Location, Refusal> {
    let is_local = origin.address().is_some_and(is_local);
    // Some databases have rows for them: what they say is true of somebody else.
    let location = if is_local { Location::default() } else { location };
    match &tenant.geo {
        None => Ok(location),
        Some(rules) => rules.judge(&location, is_local).map(|()| location),
    }
}

/// Whether an address has no country by nature: this machine's, a private network's, a link's, a carrier's inside
/// (RFC 1918, 3927, 4193, 4291, 6598). An address that nobody knows is not such a one.
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let is_shared = a == 100 && b & 0xc0 == 64;
            a == 0 || address.is_loopback() || address.is_private() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

impl GeoRules {
    /// None, if nothing is asked of anyone.
    pub(crate) fn compile(document: &GeoDocument) -> Result<Option<Arc<Self>>, String> {
        let rules = Self {
            allow: Places::compile("allow", &document.allow)?,
            deny: Places::compile("deny", &document.deny)?,
            deny_anonymous: document.deny_anonymous.iter().copied().collect(),
            unknown: document.unknown,
        };
        let asks = rules.asks_country() || rules.asks_continent() || rules.asks_network();
        Ok((asks || !rules.deny_anonymous.is_empty()).then(|| Arc::new(rules)))
    }

    fn judge(&self, location: &Location, is_local: bool) -> Result<(), Refusal> {
        let unknown_passes = match self.unknown {
            Some(Unknown::Allow) => true,
            Some(Unknown::Refuse) => false,
            None => is_local,
        };
        let is_country_known = (location.country.is_some() || !self.asks_country())
            && (location.continent.is_some() || !self.asks_continent());
        // What `allow` asks may be known though what `deny` asks is not.
        let is_allow_known = (location.country.is_some() || self.allow.countries.is_empty())
            && (location.continent.is_some() || self.allow.continents.is_empty());
        if self.deny.hold_country(location)
            || !is_country_known && !unknown_passes
            || is_allow_known && self.allow.state_country() && !self.allow.hold_country(location)
        {
            return Err(Refusal::CountryNotAllowed);
        }
        let is_network_known = (location.asn.is_some() || !self.asks_network())
            && (location.anonymous.is_some() || self.deny_anonymous.is_empty());
        let is_allowed = self.allow.asns.is_empty() || self.allow.hold_network(location);
        if self.deny.hold_network(location)
            || location.anonymous.is_some_and(|anonymous| anonymous.meets(self.deny_anonymous))
            || !is_network_known && !unknown_passes
            || location.asn.is_some() && !is_allowed
        {
            return Err(Refusal::NetworkNotAllowed);
        }
        Ok(())
    }

    fn asks_country(&self) -> bool {
        let is_listed = !self.allow.countries.is_empty() || !self.deny.countries.is_empty();
        is_listed || self.unknown == Some(Unknown::Refuse)
    }

    fn asks_continent(&self) -> bool {
        !self.allow.continents.is_empty() || !self.deny.continents.is_empty()
    }

    fn asks_network(&self) -> bool {
        !self.allow.asns.is_empty() || !self.deny.asns.is_empty()
    }
}

impl Places {
    fn compile(name: &str, document: &PlacesDocument) -> Result<Self, String> {
        let sorted = |mut numbers: Vec<u32>| {
            numbers.sort_unstable();
            numbers
        };
        let asns = document.asns.len();
        if asns > ENTRIES_MAX {
            return Err(format!("`geo.{name}.asns` has {asns} entries; at most {ENTRIES_MAX} are read"));
        }
        if document.asns.contains(&0) {
            return Err(format!("`geo.{name}.asns`: no network has the number 0"));
        }
        let mut countries = document.countries.clone();
        countries.sort_unstable();
        Ok(Self { countries, continents: document.continents.clone(), asns: sorted(document.asns.clone()) })
    }

    fn state_country(&self) -> bool {
        !self.countries.is_empty() || !self.continents.is_empty()
    }

    fn hold_country(&self, location: &Location) -> bool {
        location.country.is_some_and(|country| self.countries.binary_search(&country).is_ok())
            || location.continent.is_some_and(|continent| self.continents.contains(&continent))
    }

    fn hold_network(&self, location: &Location) -> bool {
        location.asn.is_some_and(|asn| self.asns.binary_search(&asn).is_ok())
    }
}

#[cfg(test)]
mod tests;
