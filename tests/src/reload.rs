//! A change of what is believed, while requests are under way: in force within a second, never half, never lost.

use crate::house::organisation;
use crate::http::{self, Connection, Told};
use crate::keys::key;
use crate::process::until;
use crate::processes::{ENDLESS, PROMPT, SOON, Site, site};
use palisade_audit::event::Ended;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

const CARD: &str = r#"{"model":"mock","messages":[{"role":"user","content":"4111 1111 1111 1111"}]}"#;

/// An organisation that blocks cards and says which of its versions it is.
fn version(number: usize) -> String {
    let rules = format!(
        "policy = [{{ name = \"no cards\", categories = [\"payment\"], action = \"block\", message = \"{number}\" }}]"
    );
    organisation("acme", &rules).1
}

/// Under which version a card is blocked now.
fn judged_under(site: &Site) -> Option<usize> {
    let answer = site.house.chat("acme", CARD);
    answer.json()["error"]["message"].as_str()?.parse().ok()
}

#[test]
fn under_load_every_answer_is_right_under_the_policy_of_its_moment() {
    let site = site("");
    site.house.write("acme", &version(1));
    until("the first version holds", || (judged_under(&site) == Some(1)).then_some(()));
    let (written, in_force, is_over) = (AtomicUsize::new(1), AtomicUsize::new(1), AtomicBool::new(false));
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let earliest = in_force.load(Ordering::SeqCst);
                    let judged = judged_under(&site).expect("a card is blocked under every version");
                    let latest = written.load(Ordering::SeqCst);
                    assert!(
                        (earliest..=latest).contains(&judged),
                        "{judged} is not in {earliest}..={latest}"
                    );
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 2..=5 {
            written.store(number, Ordering::SeqCst);
            let changed = Instant::now();
            site.house.write("acme", &version(number));
            until("the new version holds", || (judged_under(&site) == Some(number)).then_some(()));
            assert!(changed.elapsed() < SOON, "it took {:?}", changed.elapsed());
            in_force.store(number, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(asked.load(Ordering::SeqCst) > 20);
}

#[test]
fn a_broken_rule_of_an_organisation_leaves_the_last_good_ones_in_force() {
    let mut site = site("");
    let version = |entity: &str, pattern: &str| {
        let rules = format!(
            "policy = [{{ name = \"badges\", rules = [\"own.badge\"], action = \"redact\" }}]\n[[dlp.rules]]\n\
             id = \"own.badge\"\nentity = \"{entity}\"\ncategory = \"identity\"\ntitle = \"Badge\"\nwhy = \"doors\"\n\
             severity = \"low\"\npattern = '{pattern}'\nconfidence = {{ base = 0.9 }}\nwidth_bytes_max = 20\n\
             examples = [\"BADGE-1234\"]\ncounterexamples = [\"BADGE-12\"]\nreferences = []\n"
        );
        organisation("acme", &rules).1
    };
    let body = r#"{"model":"mock","messages":[{"role":"user","content":"BADGE-4711"}]}"#;
    let says = |site: &Site, label: &str| site.house.chat("acme", body).text().contains(label).then_some(());
    site.house.write("acme", &version("FIRST", "BADGE-[0-9]{4}"));
    until("the first version holds", || says(&site, "[FIRST]"));
    site.house.write("acme", &version("SECOND", "BADGE-[0-9]+"));
    site.house.process.as_mut().unwrap().until("the rule is named", || {
        let log = std::fs::read_to_string(site.house.folder.path().join("serve.log")).unwrap();
        (log.contains("rule `own.badge`") && log.contains("bound every repetition")).then_some(())
    });
    says(&site, "[FIRST]").unwrap();
    site.house.write("acme", &version("THIRD", "BADGE-[0-9]{4}"));
    until("the next good version holds", || says(&site, "[THIRD]"));
}

#[test]
fn a_broken_document_changes_nothing_and_is_named() {
    let mut site = site("");
    site.house.write("acme", &version(1));
    until("the first version holds", || (judged_under(&site) == Some(1)).then_some(()));
    for broken in ["id = \"acme\"\nnonsense = 1", "id = ", "id = \"acme\"\nip_allowlist = [\"0.0.0.0/0\"]"] {
        let before = site.house.process.as_ref().unwrap().log().matches("document not used").count();
        site.house.write("acme", broken);
        site.house.process.as_mut().unwrap().until("the problem is named", || {
            let log = std::fs::read_to_string(site.house.folder.path().join("serve.log")).unwrap();
            (log.matches("document not used").count() > before).then_some(())
        });
        assert_eq!(judged_under(&site), Some(1), "{broken}");
    }
    let log = site.house.process.as_ref().unwrap().log();
    assert!(log.contains("orgs/acme.toml") && log.contains("nonsense"), "{log}");
    let page = http::get(site.house.metrics, "/metrics").text();
    assert!(page.contains("palisade_config_revision{state=\"refused\"}"), "{page}");
    site.house.write("acme", &version(2));
    until("what is right again holds", || (judged_under(&site) == Some(2)).then_some(()));
}

#[test]
fn a_reload_can_be_ordered() {
    let site = site("");
    site.house.write("acme", &version(7));
    let answer = http::ask(site.house.admin, &http::request("POST", "/reload", &[], b""));
    assert_eq!(answer.status, 202);
    until("the new version holds", || (judged_under(&site) == Some(7)).then_some(()));
}

#[test]
fn a_credential_that_ends_ends_its_streams() {
    let disabled = organisation("acme", "").1 + "enabled = false\n";
    let suspended = organisation("acme", "suspended = true").1;
    for document in [disabled, suspended] {
        let mut site = site("");
        let mut client = Connection::open(site.house.proxy);
        client.send(&http::chat(&key("acme").secret, ENDLESS));
        let mut answer = client.head();
        client.chunk(&mut answer);
        let changed = Instant::now();
        site.house.write("acme", &document);
        while client.chunk(&mut answer) {}
        assert!(changed.elapsed() < SOON, "it took {:?}", changed.elapsed());
        let told = Told::read(&answer.body);
        assert!(answer.is_whole && told.has_error && !told.is_done, "{}", answer.text());
        assert!(answer.text().contains("invalid_api_key"));
        assert_eq!(site.house.chat("acme", CARD).status, 401);
        site.double.until("the double is left", |received| received.client_left);
        site.house.stop();
        let (events, _) = site.house.events();
        assert_eq!((events.len(), events[0].answer.unwrap().ended), (1, Some(Ended::Revoked)));
    }
}

#[test]
fn a_credential_that_ends_while_its_body_comes_sends_nothing() {
    let mut site = site("");
    let secret = key("acme").secret;
    let body = PROMPT.as_bytes();
    let headers = [
        ("authorization", &*format!("Bearer {secret}")),
        ("content-type", "application/json"),
        ("expect", "100-continue"),
    ];
    let mut request = http::request("POST", "/v1/chat/completions", &headers, body);
    let body = request.split_off(request.len() - body.len());
    let mut client = Connection::open(site.house.proxy);
    client.send(&request);
    assert_eq!(client.head().status, 100, "the caller is known, and the body is waited for");
    site.house.write("acme", &organisation("acme", "suspended = true").1);
    until("nobody gets in", || (site.house.chat("acme", CARD).status == 401).then_some(()));
    site.double.forget();
    client.send(&body);
    let answer = client.answer();
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &"invalid_api_key".into()));
    assert!(site.double.received().is_empty(), "the provider has nothing of it");
    site.house.stop();
}

#[test]
fn a_credential_that_ends_ends_a_stream_that_never_pauses() {
    let mut site = site("");
    let flood = ENDLESS.replace("bytes:60000@chunk:1@delay:20ms", "bytes:60000000@chunk:1000");
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::chat(&key("acme").secret, &flood));
    let mut answer = client.head();
    client.chunk(&mut answer);
    // The client does not read on: there is always something that waits to be written.
    site.house.write("acme", &organisation("acme", "suspended = true").1);
    until("nobody gets in", || (site.house.chat("acme", CARD).status == 401).then_some(()));
    while client.chunk(&mut answer) {}
    assert!(answer.is_whole && answer.body.ends_with(b"}\n\n"), "it is told");
    let tail = answer.body.split_off(answer.body.len().saturating_sub(1_000));
    let tail = String::from_utf8_lossy(&tail);
    assert!(tail.contains("invalid_api_key") && !tail.contains("[DONE]"), "{tail}");
    site.house.stop();
}

/// A moment from now as documents write it; whole seconds.
fn in_seconds(seconds: u64) -> String {
    let moment = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    palisade_audit::event::Time::from_unix_ms(
        moment.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64,
    )
    .to_string()
}

/// Waits until a change of the documents is.
fn in_force(site: &mut Site) {
    let log = site.house.folder.path().join("serve.log");
    site.house.process.as_mut().unwrap().until("the documents are in force", || {
        std::fs::read_to_string(&log).unwrap().contains("policy in force").then_some(())
    });
}

#[test]
fn a_key_that_expires_ends_its_streams() {
    let mut site = site("");
    let until_then = format!("expires = \"{}\"\n", in_seconds(3));
    site.house.write("acme", &(organisation("acme", "").1 + &until_then));
    let answer = http::ask(site.house.admin, &http::request("POST", "/reload", &[], b""));
    assert_eq!(answer.status, 202);
    in_force(&mut site);
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::chat(&key("acme").secret, ENDLESS));
    let mut answer = client.head();
    assert_eq!(answer.status, 200);
    while client.chunk(&mut answer) {}
    let told = Told::read(&answer.body);
    assert!(answer.is_whole && told.has_error && !told.is_done, "{}", answer.text());
    assert!(answer.text().contains("invalid_api_key"));
    site.double.until("the double is left", |received| received.client_left);
    assert_eq!(site.house.chat("acme", CARD).status, 401);
}

#[test]
fn who_takes_anothers_id_of_a_key_locks_nobody_out() {
    let mut site = site("");
    // The id is public: whoever writes it into a document of their own brings a hash of their own.
    let stolen = key("acme").table.lines().find(|line| line.starts_with("id = ")).unwrap().to_owned();
    let own = key("mallory").table;
    let hash = own.lines().find(|line| line.starts_with("sha256 = ")).unwrap();
    let document = format!("id = \"mallory\"\n[[keys]]\n{stolen}\n{hash}\n");
    site.house.write("mallory", &document);
    let answer = http::ask(site.house.admin, &http::request("POST", "/reload", &[], b""));
    assert_eq!(answer.status, 202);
    in_force(&mut site);
    assert_eq!(site.house.chat("acme", CARD).status, 200);
}
