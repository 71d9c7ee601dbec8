//! Where do callers come from, as an operator sees it: the shipped files, the command line, the process.

use crate::house::organisation;
use crate::http;
use crate::keys::key;
use crate::mmdb::Mmdb;
use crate::process::{binary, until, workspace};
use crate::processes::{SOON, site};
use crate::wire::BELIEVED;
use crate::world;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;
use tempfile::TempDir;

const ADDRESS: &str = "203.0.113.7";
const PROMPT: &[u8] = br#"{"model":"mock","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn a_replaced_database_decides_within_a_second_and_a_broken_one_does_not() {
    let room = TempDir::new().unwrap();
    world::write(room.path());
    let site = site(&format!("{BELIEVED}{}", world::config(room.path())));
    let geo = "geo = { allow = { countries = [\"DE\"] } }";
    site.house.write("acme", &organisation("acme", geo).1);
    let key = format!("Bearer {}", key("acme").secret);
    let headers = |address| {
        [("authorization", &*key), ("content-type", "application/json"), ("x-forwarded-for", address)]
    };
    let ask = |address| {
        http::ask(site.house.proxy, &http::request("POST", "/v1/chat/completions", &headers(address), PROMPT))
    };
    let status = || ask(ADDRESS).status;
    until("France is refused", || (ask("203.0.113.200").status == 403).then_some(()));
    assert_eq!(status(), 200);
    let replace = |bytes: &[u8]| {
        std::fs::write(room.path().join("country.new"), bytes).unwrap();
        std::fs::rename(room.path().join("country.new"), room.path().join("country.mmdb")).unwrap();
    };
    let all_in = |country: &str| {
        Mmdb::new(28)
            .network("0.0.0.0/1", &json!({}))
            .network("128.0.0.0/1", &json!({"country_code": country}))
            .bytes()
    };
    let changed = Instant::now();
    replace(&all_in("FR"));
    until("the new database holds", || (status() == 403).then_some(()));
    assert!(changed.elapsed() < SOON, "it took {:?}", changed.elapsed());
    let answer = ask(ADDRESS);
    assert_eq!(answer.json()["error"]["code"], "country_not_allowed");
    let event = site.house.event_of(&answer);
    assert_eq!(event.geo.country.map(|country| country.as_str().to_owned()).as_deref(), Some("FR"));
    replace(b"broken, but long enough to be looked at: so a download ends that was cut off");
    let log = || site.house.process.as_ref().unwrap().log();
    until("the broken one is named", || {
        log().contains("no sound database in MaxMind's format").then_some(())
    });
    assert_eq!(status(), 403, "the last good one stays");
    replace(&all_in("DE"));
    until("what is right again holds", || (status() == 200).then_some(()));
}

/// A folder with the databases of the small world and a configuration that names them.
fn room() -> TempDir {
    let room = TempDir::new().unwrap();
    world::write(room.path());
    std::fs::write(room.path().join("palisade.toml"), world::config(Path::new("."))).unwrap();
    room
}

fn run(room: &TempDir, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(room.path()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_shipped_file_is_what_the_page_says() {
    let page = std::fs::read_to_string(workspace().join("data/README.md")).unwrap();
    let mut found = 0;
    for row in page.lines().filter(|row| row.starts_with("| [`") || row.starts_with("| `")) {
        let link = row.split('`').nth(1).unwrap();
        // What is written here, and not fetched, changes with its history.
        if Path::new(link).extension().is_some_and(|kind| kind == "toml") {
            continue;
        }
        found += 1;
        let bytes = std::fs::read(workspace().join("data").join(link)).unwrap();
        let sum = palisade_filters::api_key::hex(&Sha256::digest(&bytes));
        assert!(row.contains(&sum), "{link} has the sum {sum}");
    }
    let files = std::fs::read_dir(workspace().join("data/geoip")).unwrap();
    let databases =
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "mmdb"));
    assert!(found >= databases.count() && found >= 2, "each file has its row");
}

#[test]
fn the_command_says_what_is_known() {
    let room = room();
    let ask = |address: &str, more: &[&str]| -> Value {
        let output = run(&room, &[&["geoip", address], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let small = ["--config", "palisade.toml"];
    let hosting = json!({"address": "198.51.100.7", "country": "US", "continent": "NA", "asn": 64_498,
        "network": null, "anonymous": ["hosting"], "private": false});
    assert_eq!(ask("198.51.100.7", &small), hosting);
    let nobody = json!({"address": "10.0.0.1", "country": null, "continent": null, "asn": null,
        "network": null, "anonymous": null, "private": true});
    assert_eq!(ask("10.0.0.1", &small), nobody);
    // Without any file, the shipped countries.
    let shipped = ask("193.0.6.139", &[]);
    assert_eq!((&shipped["country"], &shipped["asn"]), (&json!("NL"), &Value::Null));
    let wrong = run(&room, &["geoip", "localhost"]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("localhost"));
}

#[test]
fn the_shipped_networks_are_read() {
    let room = TempDir::new().unwrap();
    let asn = workspace().join("data/geoip/asn.mmdb");
    std::fs::write(
        room.path().join("palisade.toml"),
        format!("[geoip]\nasn = {:?}\n", asn.to_str().unwrap()),
    )
    .unwrap();
    for (address, asn, network) in [
        ("193.0.6.139", 3333, "RIPE"),
        ("2001:4860:4860::8888", 15_169, "Google"),
        ("1.1.1.1", 13_335, "Cloudflare"),
    ] {
        let output = run(&room, &["geoip", address, "--config", "palisade.toml"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(facts["asn"], asn, "{facts}");
        assert!(facts["network"].as_str().unwrap().contains(network), "{facts}");
    }
}

#[test]
fn check_names_the_databases_and_their_dates() {
    let room = room();
    let check = || run(&room, &["check", "--config", "palisade.toml", "--data-dir", "data"]);
    let said = text(&check().stdout);
    for kind in ["country", "asn", "anonymous"] {
        assert!(
            said.contains(&format!("geoip.{kind}: `Palisade-Test`, built 2026-06-17T00:00:00Z")),
            "{said}"
        );
    }
    let asn = room.path().join("asn.mmdb");
    std::fs::copy(room.path().join("country.mmdb"), &asn).unwrap();
    let wrong = check();
    assert!(!wrong.status.success());
    assert!(text(&wrong.stderr).contains("is it the right file for `geoip.asn`?"), "{}", text(&wrong.stderr));
    std::fs::remove_file(&asn).unwrap();
    assert!(!check().status.success());
    let default = run(&room, &["check", "--data-dir", "data"]);
    assert!(
        default.status.success() && text(&default.stdout).contains("geoip.country: `"),
        "{}",
        text(&default.stdout)
    );
}
