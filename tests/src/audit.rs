//! What becomes of requests whose events cannot be kept: a full quota, a folder that is gone.

use crate::house::{House, Plan, organisation, provider};
use crate::http;
use crate::process::until;
use crate::processes::{PROMPT, site};
use crate::provider::Double;
use tempfile::TempDir;

fn dropped(house: &House) -> u64 {
    let page = http::get(house.metrics, "/metrics").text();
    let value = page.lines().find_map(|line| line.strip_prefix("palisade_audit_dropped_total "));
    value.unwrap().trim().parse().unwrap()
}

fn of<'a>(events: &'a [palisade_audit::Event], organisation: &str) -> Vec<&'a palisade_audit::Event> {
    events.iter().filter(|event| event.organisation.as_deref() == Some(organisation)).collect()
}

#[test]
fn a_full_quota_is_its_organisation_s_alone_and_each_says_what_then() {
    const MOST: usize = 5_000;
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let mut house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![
            organisation("strict", "audit = { on_full = \"refuse\" }"),
            organisation("lax", ""),
            organisation("other", "audit = { on_full = \"refuse\" }"),
        ],
        config: "[audit]\nflush = \"1ms\"\norganisation_quota = \"512KiB\"".to_owned(),
    });
    let mut answered = 0;
    let refused = loop {
        let answer = house.chat("strict", PROMPT);
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < MOST, "it is never full");
    };
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("audit_unavailable")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(dropped(&house), 0, "it was refused while there was room for what was under way");
    double.forget();
    assert_eq!(house.chat("strict", PROMPT).status, 503);
    assert!(double.received().is_empty(), "nothing left");
    let mut sent = 0;
    while dropped(&house) == 0 {
        assert_eq!(house.chat("lax", PROMPT).status, 200);
        sent += 1;
        assert!(sent < MOST, "it is never full");
    }
    assert_eq!(house.chat("lax", PROMPT).status, 200);
    let kept = house.chat("other", PROMPT);
    assert_eq!(kept.status, 200);
    house.stop();
    let (events, damages) = house.events();
    assert_eq!((of(&events, "other").len(), damages), (1, 0));
    let strict = of(&events, "strict");
    let recorded = strict.iter().filter(|event| event.status == Some(200)).count();
    assert_eq!(recorded, answered, "none went unrecorded");
    assert!(of(&events, "lax").len() < sent);
}

#[test]
fn a_spool_that_is_removed_is_begun_again_and_the_loss_is_counted() {
    let mut site = site("[audit]\nflush = \"1ms\"");
    site.house.event_of(&site.house.chat("acme", PROMPT));
    std::fs::remove_dir_all(site.house.data().join("spool")).unwrap();
    let answer = site.house.chat("acme", PROMPT);
    until("the spool is there again", || site.house.data().join("spool").is_dir().then_some(()));
    site.house.event_of(&answer);
    assert_eq!(dropped(&site.house), 1);
    let log = site.house.process.as_ref().unwrap().log();
    assert!(log.contains("the segment that was written to is gone"), "{log}");
    site.house.stop();
    assert_eq!(site.house.events().0.len(), 1);
}
