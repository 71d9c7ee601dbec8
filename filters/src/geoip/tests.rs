//! Which combinations of rules and facts pass: a table, and what must hold for every one.

use super::*;
use proptest::prelude::*;

/// `DE 3320 vpn`: country, network, disguise; `/EU` is a continent alone, `-` is "asked, and hides nobody".
fn location(text: &str) -> Location {
    let mut location = Location::default();
    for word in text.split_whitespace() {
        let disguise = Disguise::ALL.into_iter().find(|one| one.name() == word);
        if let Ok(asn) = word.parse() {
            location.asn = Some(asn);
        } else if word == "-" || disguise.is_some() {
            location.anonymous = Some(disguise.into_iter().collect());
        } else if let Some(continent) = word.strip_prefix('/') {
            location.continent = Continent::read(continent);
        } else {
            location.country = Country::read(word);
            location.continent = location.country.and_then(Country::continent);
        }
    }
    location
}

fn rules(document: &str) -> Option<Arc<GeoRules>> {
    GeoRules::compile(&toml::from_str(document).unwrap()).unwrap()
}

fn judged(document: &str, facts: &str, is_local: bool) -> &'static str {
    match rules(document).expect("it asks something").judge(&location(facts), is_local) {
        Ok(()) => "",
        Err(refusal) => refusal.row().code,
    }
}

#[test]
fn denials_win_and_kinds_add_up() {
    const COUNTRY: &str = "country_not_allowed";
    const NETWORK: &str = "network_not_allowed";
    for (document, facts, expected) in [
        ("allow = { countries = ['DE', 'AT'] }", "DE", ""),
        ("allow = { countries = ['DE', 'AT'] }", "FR", COUNTRY),
        ("allow = { countries = ['DE', 'AT'] }", "AN", COUNTRY),
        ("deny = { countries = ['KP'] }", "DE", ""),
        ("deny = { countries = ['KP'] }", "KP", COUNTRY),
        ("allow = { countries = ['KP'] }\ndeny = { countries = ['KP'] }", "KP", COUNTRY),
        ("allow = { continents = ['EU'] }", "DE", ""),
        ("allow = { continents = ['EU'] }", "US", COUNTRY),
        ("allow = { continents = ['EU'] }\ndeny = { countries = ['RU'] }", "RU", COUNTRY),
        ("allow = { continents = ['EU'], countries = ['US'] }", "US", ""),
        ("allow = { countries = ['DE'], asns = [3320] }", "DE 3320", ""),
        ("allow = { countries = ['DE'], asns = [3320] }", "DE 1", NETWORK),
        ("allow = { countries = ['DE'], asns = [3320] }", "FR 3320", COUNTRY),
        ("allow = { asns = [3320] }", "FR 3320", ""),
        ("deny = { asns = [64496, 1] }", "DE 64496", NETWORK),
        ("deny = { asns = [64496, 1] }", "DE 64497", ""),
        ("allow = { asns = [1] }\ndeny = { asns = [1] }", "DE 1", NETWORK),
        ("deny_anonymous = ['tor', 'vpn']", "DE tor", NETWORK),
        ("deny_anonymous = ['tor', 'vpn']", "DE hosting", ""),
        ("deny_anonymous = ['tor', 'vpn']", "? -", ""),
        // What is not known refuses, each kind only if it is asked for.
        ("allow = { countries = ['DE'] }", "?", COUNTRY),
        ("allow = { countries = ['DE'] }", "? 3320 -", COUNTRY),
        ("deny = { countries = ['KP'] }", "?", COUNTRY),
        ("deny = { countries = ['KP'] }", "/EU", COUNTRY),
        ("deny = { countries = ['KP'] }\nunknown = 'allow'", "/AS", ""),
        ("allow = { continents = ['EU'] }", "/EU", ""),
        ("allow = { continents = ['EU'] }\ndeny = { countries = ['RU'] }", "/EU", COUNTRY),
        ("deny = { asns = [1] }", "DE", NETWORK),
        ("allow = { asns = [1] }", "DE", NETWORK),
        ("deny_anonymous = ['tor']", "DE 1", NETWORK),
        ("allow = { countries = ['DE'] }\nunknown = 'allow'", "?", ""),
        ("allow = { countries = ['DE'] }\nunknown = 'allow'", "FR", COUNTRY),
        ("allow = { asns = [1] }\nunknown = 'allow'", "DE", ""),
        ("allow = { asns = [1] }\nunknown = 'allow'", "DE 2", NETWORK),
        ("deny_anonymous = ['tor']\nunknown = 'allow'", "DE", ""),
        ("unknown = 'refuse'", "DE", ""),
        ("unknown = 'refuse'", "?", COUNTRY),
    ] {
        assert_eq!(judged(document, facts, false), expected, "{document}: {facts}");
    }
}

#[test]
fn private_addresses_pass_unless_refused_in_so_many_words() {
    for document in ["allow = { countries = ['DE'] }", "deny = { asns = [1] }", "deny_anonymous = ['tor']"] {
        assert_eq!(judged(document, "?", true), "");
        assert_ne!(judged(&format!("{document}\nunknown = 'refuse'"), "?", true), "");
        assert_eq!(judged(&format!("{document}\nunknown = 'allow'"), "?", true), "");
    }
    for (address, expected) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:10.1.2.3", true),
        ("172.31.255.255", true),
        ("172.32.0.0", false),
        ("192.168.0.1", true),
        ("169.254.1.1", true),
        ("100.64.0.0", true),
        ("100.127.255.255", true),
        ("100.128.0.0", false),
        ("0.0.0.0", true),
        ("::", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("203.0.113.1", false),
        ("2001:db8::1", false),
        ("8.8.8.8", false),
    ] {
        assert_eq!(is_local(address.parse().unwrap()), expected, "{address}");
    }
}

#[test]
fn what_asks_nothing_is_no_rule_and_what_is_wrong_is_said() {
    assert!(rules("").is_none());
    assert!(rules("unknown = 'allow'").is_none());
    assert!(rules("allow = { countries = [] }").is_none());
    for (document, named) in [
        ("allow = { countries = ['UK'] }", "`UK` is no country"),
        ("allow = { country = ['DE'] }", "unknown field `country`"),
        ("deny = { continents = ['DE'] }", "unknown variant `DE`"),
        ("deny_anonymous = ['relay']", "unknown variant `relay`"),
        ("unknown = 'maybe'", "unknown variant `maybe`"),
        ("deny = { asns = [-1] }", "invalid value"),
        ("deny = { asns = ['AS3320'] }", "invalid type"),
        ("alow = {}", "unknown field `alow`"),
    ] {
        let error = toml::from_str::<GeoDocument>(document).unwrap_err().to_string();
        assert!(error.contains(named), "{document}: {error}");
    }
    let compiled = |document: &str| GeoRules::compile(&toml::from_str(document).unwrap()).map(|_| ());
    assert!(compiled("deny = { asns = [0] }").unwrap_err().contains("`geo.deny.asns`"));
    let many: Vec<String> = (1..=10_001).map(|asn: u32| asn.to_string()).collect();
    assert!(compiled(&format!("deny = {{ asns = [{}] }}", many.join(","))).unwrap_err().contains("10001"));
}

fn any_rules() -> impl Strategy<Value = GeoDocument> {
    let countries = || prop::sample::subsequence(vec!["DE", "FR", "US", "KP"], 0..3);
    let places = move || {
        let continents = prop::sample::subsequence(vec!["EU", "AS"], 0..2);
        let asns = prop::collection::vec(1..4u32, 0..3);
        (countries(), continents, asns).prop_map(|(countries, continents, asns)| PlacesDocument {
            countries: countries.into_iter().filter_map(Country::read).collect(),
            continents: continents.into_iter().filter_map(Continent::read).collect(),
            asns,
        })
    };
    let disguises = prop::sample::subsequence(Disguise::ALL.to_vec(), 0..3);
    let unknown = prop::sample::select(vec![None, Some(Unknown::Refuse), Some(Unknown::Allow)]);
    (places(), places(), disguises, unknown).prop_map(|(allow, deny, deny_anonymous, unknown)| GeoDocument {
        allow,
        deny,
        deny_anonymous,
        unknown,
    })
}

fn any_location() -> impl Strategy<Value = Location> {
    let country = prop::option::of(prop::sample::select(vec!["DE", "FR", "US", "KP", "AN"]));
    let disguises = prop::sample::subsequence(Disguise::ALL.to_vec(), 0..3);
    let anonymous = prop::option::of(disguises.prop_map(|all| all.into_iter().collect()));
    (country, prop::option::of(1..4u32), anonymous).prop_map(|(country, asn, anonymous)| {
        let country = country.and_then(Country::read);
        Location { country, continent: country.and_then(Country::continent), asn, anonymous }
    })
}

proptest! {
    /// More denials never let anyone in, and knowing less never does unless the unknown is let in.
    #[test]
    fn rules_only_tighten(document in any_rules(), more in any_rules(), known in any_location(), is_local: bool) {
        let passes = |document: &GeoDocument, location: &Location| {
            let rules = GeoRules::compile(document).unwrap();
            rules.is_none_or(|rules| rules.judge(location, is_local).is_ok())
        };
        let mut tighter = document.clone();
        tighter.deny.countries.extend(more.deny.countries);
        tighter.deny.continents.extend(more.deny.continents);
        tighter.deny.asns.extend(more.deny.asns);
        tighter.deny_anonymous.extend(more.deny_anonymous);
        prop_assert!(!passes(&tighter, &known) || passes(&document, &known));
        let tolerates = document.unknown == Some(Unknown::Allow) || document.unknown.is_none() && is_local;
        if !tolerates {
            prop_assert!(!passes(&document, &Location::default()) || GeoRules::compile(&document).unwrap().is_none());
        }
    }
}
