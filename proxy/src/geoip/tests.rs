//! Which database answers, and since when? Files that are replaced, broken, gone and back.

use super::mmdb::Mmdb;
use super::*;
use palisade_filters::geoip::{Country, Disguise};
use serde_json::{Value, json};
use std::path::Path;

const ADDRESS: &str = "203.0.113.7";

fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

fn database(row: &Value) -> Vec<u8> {
    Mmdb::new(28).network("203.0.113.0/24", row).network("10.0.0.0/8", row).bytes()
}

fn at(geo: &Geo, address: &str) -> Location {
    geo.find(address.parse().unwrap())
}

#[test]
fn a_database_is_replaced_while_it_is_asked() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("country.mmdb");
    let files = GeoFiles { country: Some(path.clone()), ..GeoFiles::default() };
    let mut watch = GeoWatch::open(&files).unwrap();
    let geo = watch.geo().clone();
    let country = || at(&geo, ADDRESS).country.map(|country| country.as_str().to_owned());
    let mut becomes = |expected: Option<&str>, what: &str| {
        watch.look();
        assert_eq!(country().as_deref(), expected, "{what}");
    };
    becomes(None, "a file that is missing leaves facts unknown, the shipped one aside");
    replace(&path, &database(&json!({"country_code": "DE"})));
    becomes(Some("DE"), "it is taken up when it comes");
    replace(&path, &database(&json!({"country_code": "FR"})));
    becomes(Some("FR"), "and replaced");
    replace(&path, b"broken");
    becomes(Some("FR"), "a broken one changes nothing");
    replace(&path, &database(&json!({"asn": 1})));
    becomes(Some("FR"), "nor does one about something else");
    std::fs::remove_file(&path).unwrap();
    becomes(Some("FR"), "nor does none");
    replace(&path, &database(&json!({"country_code": "AT"})));
    becomes(Some("AT"), "what is right again is in use");
}

#[test]
fn each_file_gives_its_facts_and_private_addresses_have_none() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str, row: Value| {
        let path = room.path().join(name);
        replace(&path, &database(&row));
        Some(path)
    };
    let files = GeoFiles {
        country: path("country", json!({"country": {"iso_code": "DE"}})),
        asn: path("asn", json!({"asn": 3320, "as_name": "Deutsche Telekom AG"})),
        anonymous: path("anonymous", json!({"is_tor_exit_node": true})),
    };
    let geo = Geo::open(&files).unwrap();
    let tor = Some([Disguise::Tor].into_iter().collect());
    let germany = Country::read("DE");
    let expected = Location {
        country: germany,
        continent: germany.and_then(Country::continent),
        asn: Some(3320),
        anonymous: tor,
    };
    for address in [ADDRESS, "::ffff:203.0.113.7"] {
        assert_eq!(at(&geo, address), expected);
        assert_eq!(geo.network_name(address.parse().unwrap()).as_deref(), Some("Deutsche Telekom AG"));
    }
    let elsewhere = Location { anonymous: Some(Disguises::default()), ..Location::default() };
    assert_eq!(at(&geo, "198.51.100.1"), elsewhere, "an address that is not listed hides nobody");
    assert_eq!(at(&geo, "10.1.2.3"), Location::default(), "whatever a database says of it");
    assert_eq!(geo.in_use().len(), 3);
}

#[test]
fn without_files_countries_are_known_and_networks_are_not() {
    let geo = Geo::open(&GeoFiles::default()).unwrap();
    let location = at(&geo, "141.20.1.1");
    assert_eq!(location.country, Country::read("DE"));
    assert_eq!((location.asn, location.anonymous), (None, None));
}

#[test]
fn a_file_of_old_addresses_says_nothing_of_new_ones() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("anonymous");
    // `203.0.113.0/24`, at the top of a tree that says it is one of IPv4.
    let mut bytes = Mmdb::new(28).network("cb00:7100::/24", &json!({"is_tor_exit_node": true})).bytes();
    let version = b"ip_version\xa2\x00\x06";
    let place = bytes.windows(version.len()).position(|window| window == version).unwrap();
    bytes[place + version.len() - 1] = 4;
    replace(&path, &bytes);
    let geo = Geo::open(&GeoFiles { anonymous: Some(path), ..GeoFiles::default() }).unwrap();
    assert_eq!(at(&geo, ADDRESS).anonymous, Some([Disguise::Tor].into_iter().collect()));
    assert_eq!(at(&geo, "198.51.100.1").anonymous, Some(Disguises::default()));
    assert_eq!(at(&geo, "2001:db8::1").anonymous, None, "whether it hides somebody is not known");
}
