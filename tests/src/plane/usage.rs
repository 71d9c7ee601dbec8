//! Is what applications use counted, over the end of a process, and told to whom it belongs?

use super::{SQLITE, Site, is};
use serde_json::{Value, json};

fn total(site: &Site, badge: &super::Badge, path: &str) -> Value {
    is(site.get(badge, path), 200).json()
}

/// Another process on the same store.
fn restarted(site: &mut Site) {
    site.house.stop();
    site.house.launch();
}

#[test]
fn what_was_used_is_counted_once_and_survives_the_process() {
    let (mut site, operator, ann, (key, id)) = Site::furnished(SQLITE);
    let before = 3;
    for _ in 0..before {
        assert_eq!(site.chat(&key).status, 200);
    }
    restarted(&mut site);
    let usage = total(&site, &ann, "/orgs/acme/usage?by=key");
    let counted = usage["total"]["requests"].as_u64().unwrap();
    // Those that waited for the key to be in force were nobody's.
    assert!(counted >= before, "{usage}");
    assert_eq!(usage["items"][0]["name"], json!(id), "{usage}");
    assert!(usage["total"]["tokens_in"].as_u64().unwrap() > 0, "{usage}");
    let models = total(&site, &ann, "/orgs/acme/usage?by=model");
    assert!(models["items"].as_array().unwrap().iter().any(|item| item["name"] != "none"), "{models}");
    assert_eq!(site.chat(&key).status, 200);
    restarted(&mut site);
    let usage = total(&site, &ann, "/orgs/acme/usage");
    assert_eq!(usage["total"]["requests"], json!(counted + 1));
    // The operator is told how much, and not of what.
    let all = total(&site, &operator, "/platform/usage");
    assert_eq!(all["items"][0]["name"], "acme");
    assert_eq!(all["items"][0]["requests"], json!(counted + 1));
    is(site.get(&operator, "/orgs/acme/usage?by=key"), 403);
}
