//! Where are the addresses of tests? A small world of networks that belong to nobody (RFC 5737, RFC 3849).
//!
//! One table: as facts for cases in memory, and as database files for a process.

use crate::mmdb::Mmdb;
use palisade_filters::Location;
use palisade_filters::geoip::{Country, Disguise, Disguises};
use serde_json::json;
use std::net::IpAddr;
use std::path::Path;

/// Network, length of its prefix, country, autonomous system, disguise. No network lies in another.
const NETWORKS: &[(&str, u32, &str, u32, Option<Disguise>)] = &[
    ("203.0.113.0", 25, "DE", 64_496, None),
    ("203.0.113.128", 25, "FR", 64_497, None),
    ("198.51.100.0", 25, "US", 64_498, Some(Disguise::Hosting)),
    ("198.51.100.128", 25, "KP", 64_499, None),
    ("2001:db8:de::", 48, "DE", 64_496, Some(Disguise::Tor)),
    ("2001:db8:c::", 48, "CH", 64_500, Some(Disguise::Vpn)),
];

/// What is known of an address.
pub(crate) fn location(address: IpAddr) -> Location {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    let found = NETWORKS.iter().find(|(network, prefix, ..)| {
        let network: IpAddr = network.parse().unwrap();
        network.is_ipv4() == address.is_ipv4() && (bits(network) ^ bits(address)) >> (128 - prefix) == 0
    });
    let nowhere = Location { anonymous: Some(Disguises::default()), ..Location::default() };
    found.map_or(nowhere, |(_, _, country, asn, disguise)| {
        let country = Country::read(country);
        Location {
            country,
            continent: country.and_then(Country::continent),
            asn: Some(*asn),
            anonymous: Some(disguise.iter().copied().collect()),
        }
    })
}

/// Writes the databases: `country.mmdb`, `asn.mmdb`, `anonymous.mmdb`.
pub(crate) fn write(folder: &Path) {
    let mut databases = [24, 28, 32].map(Mmdb::new);
    for (network, prefix, country, asn, disguise) in NETWORKS {
        let network = format!("{network}/{prefix}");
        let [countries, asns, anonymous] = databases;
        let flag = disguise.map(|disguise| match disguise {
            Disguise::Vpn => "is_anonymous_vpn",
            Disguise::Proxy => "is_public_proxy",
            Disguise::Tor => "is_tor_exit_node",
            Disguise::Hosting => "is_hosting_provider",
        });
        databases = [
            countries.network(&network, &json!({"country": {"iso_code": country}})),
            asns.network(&network, &json!({"autonomous_system_number": asn})),
            match flag {
                Some(flag) => anonymous.network(&network, &json!({"is_anonymous": true, flag: true})),
                None => anonymous,
            },
        ];
    }
    for (name, database) in ["country", "asn", "anonymous"].into_iter().zip(databases) {
        std::fs::write(folder.join(format!("{name}.mmdb")), database.bytes()).unwrap();
    }
}

/// What `palisade.toml` says of databases in this folder.
pub(crate) fn config(folder: &Path) -> String {
    let file = |name: &str| format!("{name} = {:?}\n", folder.join(format!("{name}.mmdb")).to_str().unwrap());
    format!("[geoip]\n{}{}{}", file("country"), file("asn"), file("anonymous"))
}
