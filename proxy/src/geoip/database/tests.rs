//! Which files are databases, and what do they say? Every layout, every width of records, and files that are broken.

use super::*;
use crate::geoip::mmdb::Mmdb;
use palisade_filters::geoip::{Continent, Disguise};
use proptest::prelude::*;
use serde_json::{Value, json};

fn bytes(record_bits: u32, rows: &[(&str, Value)]) -> Vec<u8> {
    let database =
        rows.iter().fold(Mmdb::new(record_bits), |database, (network, row)| database.network(network, row));
    database.bytes()
}

fn opened(bytes: Vec<u8>, kind: Kind) -> Result<Database, DatabaseError> {
    Database::check(Bytes::Static(bytes.leak()), kind)
}

fn country(database: &Database, address: &str) -> Option<String> {
    let row = database.row(address.parse().unwrap()).unwrap()?;
    row.country().map(|country| country.as_str().to_owned())
}

#[test]
fn trees_are_walked_whatever_their_width() {
    for record_bits in [24, 28, 32] {
        let rows = [
            ("203.0.113.0/24", json!({"country_code": "DE"})),
            ("203.0.113.128/25", json!({"country_code": "FR"})),
            ("203.0.113.129/32", json!({"country_code": "US"})),
            ("2001:db8::/32", json!({"country_code": "AT"})),
        ];
        let database = opened(bytes(record_bits, &rows), Kind::Country).unwrap();
        for (address, expected) in [
            ("203.0.113.0", Some("DE")),
            ("203.0.113.127", Some("DE")),
            ("203.0.113.128", Some("FR")),
            ("203.0.113.129", Some("US")),
            ("203.0.113.130", Some("FR")),
            ("203.0.114.0", None),
            ("2001:db8:1::1", Some("AT")),
            ("2001:db9::", None),
        ] {
            assert_eq!(country(&database, address).as_deref(), expected, "{record_bits}: {address}");
        }
    }
}

/// Country, continent, network, its name, its disguises.
type Said = (Option<String>, Option<Continent>, Option<u32>, Option<String>, Vec<Disguise>);

#[test]
fn every_layout_is_read() {
    let row = |row: Value| -> Said {
        // A second row makes it a database of every kind.
        let every = json!({"country_code": "XX", "asn": 1, "is_anonymous": false});
        let database =
            opened(bytes(28, &[("203.0.113.0/24", row), ("1.0.0.0/8", every)]), Kind::Country).unwrap();
        let row = database.row("203.0.113.1".parse().unwrap()).unwrap().unwrap();
        let country = row.country().map(|country| country.as_str().to_owned());
        let disguises = row.disguises().iter().collect();
        (country, row.continent(), row.asn(), row.network_name().map(str::to_owned), disguises)
    };
    let nobody = || (None, None, None, None, Vec::new());
    let germany = || (Some("DE".to_owned()), Some(Continent::Europe), None, None, Vec::new());
    let names = json!({"en": "Germany", "de": "Deutschland"});
    // GeoLite2-Country, GeoIP2-City
    let de = json!({"geoname_id": 2_921_044, "iso_code": "DE", "is_in_european_union": true, "names": names});
    let europe = json!({"code": "EU", "geoname_id": 6_255_148, "names": {"en": "Europe"}});
    assert_eq!(row(json!({"continent": europe, "country": de, "registered_country": de})), germany());
    assert_eq!(row(json!({"registered_country": de})), germany());
    assert_eq!(row(json!({"continent": europe})), (None, Some(Continent::Europe), None, None, vec![]));
    // ip-location-db
    assert_eq!(row(json!({"country_code": "DE"})), germany());
    // IPinfo: the name stands where MaxMind's map does.
    let flat = json!({"continent": "Europe", "continent_code": "EU", "country": "Germany", "country_code": "DE",
        "asn": "AS3320", "as_name": "Deutsche Telekom AG", "as_domain": "telekom.de"});
    let telekom = Some("Deutsche Telekom AG".to_owned());
    let (code, continent, ..) = germany();
    assert_eq!(row(flat), (code, continent, Some(3320), telekom.clone(), vec![]));
    // GeoLite2-ASN
    let asn =
        json!({"autonomous_system_number": 3320, "autonomous_system_organization": "Deutsche Telekom AG"});
    assert_eq!(row(asn.clone()), (None, None, Some(3320), telekom.clone(), vec![]));
    // GeoIP2-Enterprise, with GeoIP2-Anonymous-IP's flags
    let traits = json!({"traits": {"autonomous_system_number": 3320,
        "autonomous_system_organization": "Deutsche Telekom AG", "is_tor_exit_node": true}});
    assert_eq!(row(traits), (None, None, Some(3320), telekom, vec![Disguise::Tor]));
    for (flags, expected) in [
        (json!({"is_anonymous": true, "is_anonymous_vpn": true}), vec![Disguise::Vpn]),
        (json!({"is_anonymous": true, "is_hosting_provider": true}), vec![Disguise::Hosting]),
        (
            json!({"is_residential_proxy": true, "is_tor_exit_node": true}),
            vec![Disguise::Proxy, Disguise::Tor],
        ),
        (json!({"is_anonymous": true}), vec![Disguise::Proxy]),
        (json!({"is_anonymous": false, "is_public_proxy": false}), vec![]),
    ] {
        assert_eq!(row(flags.clone()).4, expected, "{flags}");
    }
    // What nobody expects says nothing.
    assert_eq!(row(json!({"country": ["DE"], "asn": {"code": 1}, "as_name": 7})).0, None);
    assert_eq!(row(json!({"country_code": "Germany", "asn": "ASDF", "is_anonymous": "yes"})), nobody());
    assert_eq!(row(json!({"country_code": 49, "asn": 0})), nobody());
}

#[test]
fn a_file_of_another_kind_is_named_as_such() {
    let countries = || bytes(24, &[("203.0.113.0/24", json!({"country_code": "DE"}))]);
    assert!(opened(countries(), Kind::Country).is_ok());
    for (kind, named) in [(Kind::Asn, "`geoip.asn`"), (Kind::Anonymous, "`geoip.anonymous`")] {
        let error = opened(countries(), kind).unwrap_err().to_string();
        assert!(error.starts_with("it has no row with ") && error.contains(named), "{error}");
    }
    for (broken, named) in [
        (
            b"not a database, but of a size that one could have; so it goes, sometimes".to_vec(),
            "could not find",
        ),
        (countries()[..60].to_vec(), "could not find"),
        (countries()[200..].to_vec(), "extends beyond"),
    ] {
        let error = opened(broken, Kind::Country).unwrap_err().to_string();
        assert!(error.contains("no sound database") && error.contains(named), "{error}");
    }
}

#[test]
fn a_tree_that_leads_in_circles_is_refused() {
    let mut bytes = bytes(24, &[("203.0.113.0/24", json!({"country_code": "DE"}))]);
    // Both records of the first three nodes lead to the first.
    bytes[..18].fill(0);
    assert!(matches!(opened(bytes, Kind::Country), Err(DatabaseError::Tree | DatabaseError::Format(_))));
}

#[test]
fn the_shipped_database_is_sound_and_knows_the_world() {
    let checked = Database::check(Bytes::Static(SHIPPED), Kind::Country).unwrap();
    let shipped = Database::shipped().unwrap();
    assert_eq!(checked.built(), shipped.built());
    for (address, expected) in [
        ("8.8.8.8", Some("US")),
        ("193.0.6.139", Some("NL")),
        ("202.12.29.1", Some("AU")),
        ("200.7.84.1", Some("UY")),
        ("2001:67c:2e8:22::c100:68b", Some("NL")),
        ("141.20.1.1", Some("DE")),
        ("240.0.0.1", None),
    ] {
        assert_eq!(country(&shipped, address).as_deref(), expected, "{address}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is done to its bytes, it is refused, or it answers, or it fails; it never panics or goes on for ever.
    #[test]
    fn broken_bytes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        record_bits in prop::sample::select(vec![24, 28, 32]),
        address: [u8; 16],
    ) {
        let mut bytes = bytes(record_bits, &[
            ("203.0.113.0/24", json!({"country": {"iso_code": "DE", "names": {"en": "Germany"}}, "asn": 1})),
            ("2001:db8::/32", json!({"country_code": "FR", "is_anonymous_vpn": true, "list": [1, "two"]})),
        ]);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Opened without reading its rows, as one is that breaks while it is in use.
        if let Ok(reader) = Reader::from_source(Bytes::Static(bytes.clone().leak())) {
            let database = Database { reader };
            for address in [IpAddr::from(address), "203.0.113.7".parse().unwrap(), "2001:db8::1".parse().unwrap()] {
                if let Ok(Some(row)) = database.row(address) {
                    let _ = (row.country(), row.continent(), row.asn(), row.network_name(), row.disguises());
                }
            }
        }
        let _ = opened(bytes, Kind::Country);
    }
}
