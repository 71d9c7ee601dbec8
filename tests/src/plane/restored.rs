//! Does an organisation that was erased come back with a backup? Its key is gone, so nothing of it can be read, and all
//! others are as they were.

use super::{Badge, PASSWORD, SQLITE, Site, database, is};
use crate::house::House;
use serde_json::{Value, json};
use std::path::Path;

/// A word of the organisation's own, which must be nowhere in clear.
const WORD: &str = "Nightingale";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// All bytes of the files in a folder.
fn bytes(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes(&path) } else { std::fs::read(path).unwrap() });
    }
    all
}

/// What the operator is shown of the organisations.
fn listed(site: &Site, operator: &Badge) -> Vec<(String, bool)> {
    let listed = is(site.get(operator, "/orgs"), 200).json();
    let items = listed["items"].as_array().unwrap().iter();
    let one = |item: &Value| (item["id"].as_str().unwrap().to_owned(), item["unreadable"].as_bool().unwrap());
    items.map(one).collect()
}

/// The whole story, over a process that is to start; a backup is taken and put back while it is stopped.
fn an_erased_organisation_stays_so(house: House, take: impl FnOnce(&House), put_back: impl FnOnce(&House)) {
    let mut site = Site::on(house);
    site.house.launch();
    let (operator, ann, (key, id)) = site.furnish();
    let eve = site.admin_of(&operator, "other");
    let (others, _) = site.key(&eve, "other");
    let list = json!({ "entity": "PROJECT", "category": "secret", "terms": [WORD] });
    is(site.make(&ann, "/orgs/acme/dictionaries/own.projects", &list), 200);
    let token = json!({ "name": "ci", "lifetime": "90d" });
    let token = is(site.post(&ann, "/orgs/acme/api-tokens", &token), 201).json();
    let token = Badge::bearer(token["secret"].as_str().unwrap());
    is(site.get(&token, "/orgs/acme/dictionaries/own.projects"), 200);
    let invite = json!({ "name": "bob", "role": "auditor" });
    let invited = is(site.post(&ann, "/orgs/acme/invitations", &invite), 201).json();
    site.until_answered(&key, 200);
    site.house.stop();
    take(&site.house);
    site.house.launch();
    is(site.call(&operator, "POST", "/orgs/acme/suspend", None), 204);
    is(site.call(&operator, "DELETE", "/orgs/acme", None), 204);
    site.until_answered(&key, 401);
    site.house.stop();
    put_back(&site.house);
    site.house.launch();

    // It is not served, the log says why, and everybody else is as before.
    assert_eq!(site.chat(&key).status, 401);
    assert_eq!(site.chat(&others).status, 200);
    let log = site.house.process.as_ref().unwrap().log();
    assert!(log.contains("is not in the key directory: the organisation was deleted"), "{log}");
    is(site.get(&eve, "/orgs/other/groups"), 200);
    // Nobody of it gets in, and at the door it looks like one that never was.
    for badge in [&ann, &token] {
        is(site.get(badge, "/orgs/acme/dictionaries/own.projects"), 401);
    }
    let nobody = Badge::default();
    let sign_in = |organisation: &str| {
        let asked = json!({ "organisation": organisation, "name": "ann", "password": PASSWORD });
        is(site.post(&nobody, "/session", &asked), 401).json()
    };
    assert_eq!(sign_in("acme"), sign_in("never-was"));
    let accept = json!({ "invitation": invited["text"], "password": PASSWORD });
    is(site.post(&nobody, "/invitations/accept", &accept), 422);
    // The operator sees that it is there, and that nothing of it can be read.
    assert_eq!(listed(&site, &operator), [("acme".to_owned(), true), ("other".to_owned(), false)]);
    assert_eq!(is(site.get(&operator, "/orgs/acme"), 200).json()["name"], "");
    let told = is(site.call(&operator, "POST", "/orgs/acme/resume", None), 409).json();
    assert!(told["detail"].as_str().unwrap().contains("put the keys back as well"), "{told}");
    is(site.get(&operator, "/platform/usage"), 200);
    // It holds nobody up: the platform can lose what no other organisation needs.
    let spare = json!({ "base_url": "https://spare.example/v1", "models": ["spare"] });
    is(site.make(&operator, "/platform/providers/spare", &spare), 200);
    let gone = operator.with("if-match", "\"1\"");
    is(site.call(&gone, "DELETE", "/platform/providers/spare", None), 204);
    // And it can be taken away, and its name given anew: with nothing of what was.
    is(site.call(&operator, "DELETE", "/orgs/acme", None), 204);
    is(site.get(&operator, "/orgs/acme"), 404);
    let ann = site.admin_of(&operator, "acme");
    is(site.get(&ann, "/orgs/acme/dictionaries/own.projects"), 404);
    is(site.get(&ann, &format!("/orgs/acme/api-keys/{id}")), 404);
    let (new, _) = site.key(&ann, "acme");
    site.until_answered(&new, 200);
    assert_eq!(site.chat(&key).status, 401);
}

#[test]
fn an_erased_organisation_stays_so_in_files() {
    let store = |house: &House| house.data().join("store");
    let backup = |house: &House| house.folder.path().join("backup");
    an_erased_organisation_stays_so(
        House::prepared(SQLITE),
        |house| {
            copy(&store(house), &backup(house));
            let all = bytes(&backup(house));
            assert!(!all.windows(WORD.len()).any(|window| window == WORD.as_bytes()));
        },
        |house| {
            std::fs::remove_dir_all(store(house)).unwrap();
            copy(&backup(house), &store(house));
        },
    );
}

#[test]
fn an_erased_organisation_stays_so_in_a_database() {
    let (server, house) = database::prepared("");
    an_erased_organisation_stays_so(
        house,
        |_| {
            let whole = "CREATE DATABASE backup TEMPLATE palisade OWNER palisade_owner";
            server.administer("postgres", whole);
        },
        |_| {
            // The backup takes the place of what there is, but for the keys, which are today's.
            let keys = server.administer(
                "palisade",
                "SELECT string_agg(format('(%L, %L::bytea, %L::bytea)', organisation, key_id, wrapped), ', ') \
                 FROM palisade_keys.keys",
            );
            let today = format!("TRUNCATE palisade_keys.keys; INSERT INTO palisade_keys.keys VALUES {keys}");
            server.administer("backup", &today);
            server.administer("postgres", "DROP DATABASE palisade");
            server.administer("postgres", "ALTER DATABASE backup RENAME TO palisade");
        },
    );
}
