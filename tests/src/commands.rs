//! What does the operator's command line do? Keys, checks, refusals to start, and the demo.

use crate::house::{House, Plan, organisation, provider};
use crate::http;
use crate::keys::key;
use crate::process::{Process, binary, until};
use crate::provider::Double;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Runs the product in this folder.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

/// What it printed.
pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it complained of.
pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_key_is_made_listed_used_and_revoked() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let mut acme = organisation("acme", "groups = [{ name = \"developers\" }]");
    acme.1 = "# kept by hand\n".to_owned() + &acme.1;
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![acme],
        config: String::new(),
    });
    let data = house.data();
    let data = data.to_str().unwrap();
    let keys = |arguments: &[&str]| run(folder.path(), &[&["keys", "--data-dir", data], arguments].concat());
    let created =
        keys(&["create", "--org", "acme", "--name", "ci", "--group", "developers", "--expires", "90d"]);
    assert!(created.status.success(), "{}", err(&created));
    let secret = out(&created).trim().to_owned();
    let id = secret.strip_prefix("pk_live_").unwrap().split('_').next().unwrap().to_owned();
    assert!(err(&created).contains(&id));
    let listed = out(&keys(&["list", "--org", "acme"]));
    let row = listed.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(row.contains("enabled") && row.contains("developers") && row.contains(" ci "), "{listed}");
    let text = std::fs::read_to_string(house.data().join("orgs/acme.toml")).unwrap();
    assert!(text.starts_with("# kept by hand\n") && !text.contains(&secret), "{text}");
    let prompt = r#"{"model":"mock","messages":[{"role":"user","content":"hi"}]}"#;
    let ask = || http::ask(house.proxy, &http::chat(&secret, prompt)).status;
    until("the key works", || (ask() == 200).then_some(()));
    assert!(keys(&["revoke", &id]).status.success());
    until("the key works no more", || (ask() == 401).then_some(()));
    assert_eq!(house.chat("acme", prompt).status, 200, "the other key is untouched");
    let unknown = keys(&["create", "--org", "nobody", "--name", "x"]);
    assert!(!unknown.status.success() && err(&unknown).contains("nobody"), "{}", err(&unknown));
}

#[test]
fn check_names_what_is_wrong() {
    let folder = TempDir::new().unwrap();
    let orgs = folder.path().join("data/orgs");
    std::fs::create_dir_all(&orgs).unwrap();
    let check = || run(folder.path(), &["check", "--data-dir", "data"]);
    std::fs::write(orgs.join("acme.toml"), organisation("acme", "").1).unwrap();
    let good = check();
    assert!(good.status.success() && out(&good).contains("1 organisations, 0 providers"), "{}", out(&good));
    let broken =
        organisation("globex", "routes = [{ name = \"r\", models = [\"m\"], targets = [\"none\"] }]").1;
    std::fs::write(orgs.join("globex.toml"), broken).unwrap();
    let bad = check();
    assert!(!bad.status.success());
    assert!(out(&bad).contains("orgs/globex.toml: ") && out(&bad).contains("`none`"), "{}", out(&bad));
    std::fs::write(folder.path().join("data/platform.toml"), "[flor]").unwrap();
    let worse = check();
    assert!(!worse.status.success() && err(&worse).contains("flor"), "{}", err(&worse));
}

#[test]
fn a_configuration_with_an_unknown_field_is_refused() {
    let folder = TempDir::new().unwrap();
    for (text, named) in [
        ("wrokers = 2", "wrokers"),
        ("[limits]\nbody_bytes = \"2GiB\"", "body_bytes"),
        ("[limits]\nbody_timeout = 30", "body_timeout"),
        ("workers = 0", "workers"),
    ] {
        std::fs::write(folder.path().join("palisade.toml"), text).unwrap();
        let refused = run(folder.path(), &["serve", "--config", "palisade.toml", "--data-dir", "data"]);
        assert!(!refused.status.success());
        assert!(err(&refused).contains(named), "{}", err(&refused));
    }
    let missing = run(folder.path(), &["serve", "--config", "nowhere.toml"]);
    assert!(!missing.status.success() && err(&missing).contains("nowhere.toml"));
}

/// A demo in this folder.
fn demo(folder: &Path, more: &[&str]) -> Process {
    let zero = "127.0.0.1:0";
    let mut arguments = vec!["demo", "--data-dir", "data", "--ready-file", "ready.json"];
    for listen in ["--proxy-listen", "--admin-listen", "--metrics-listen"] {
        arguments.extend([listen, zero]);
    }
    arguments.extend(more);
    Process::start("demo", &arguments, folder)
}

/// What it says to paste.
fn pasted(demo: &mut Process, folder: &Path) -> Vec<String> {
    let printed = demo.until("it says what to paste", || {
        Some(std::fs::read_to_string(folder.join("demo.log")).unwrap()).filter(|log| log.contains("Ctrl-C"))
    });
    printed.split("\n\n").filter(|block| block.starts_with("  curl ")).map(str::to_owned).collect()
}

#[test]
fn the_demo_works_at_once_and_says_where() {
    let folder = TempDir::new().unwrap();
    let ready = folder.path().join("ready.json");
    let mut demo = demo(folder.path(), &[]);
    let text = demo.until("the ready file appears", || std::fs::read_to_string(&ready).ok());
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    let members: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["admin", "demo", "metrics", "process", "proxy"]);
    assert_eq!(said["demo"]["org"], "demo");
    let address = said["proxy"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let secret = said["demo"]["key"].as_str().unwrap();
    let body = r#"{"model":"resilient","messages":[{"role":"user","content":"My card is 4111 1111 1111 1111, thanks"}]}"#;
    let answer = http::ask(address, &http::chat(secret, body));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "My card is [CREDIT_CARD], thanks");
    // And what it says to paste works as it stands there.
    let blocks = pasted(&mut demo, folder.path());
    let pasted = blocks.iter().map(|block| {
        let output = Command::new("bash").args(["-c", block]).env("no_proxy", "*").output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    });
    let [hello, card, message] = pasted.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(hello["choices"][0]["message"]["content"], "Say hello");
    assert_eq!(card["choices"][0]["message"]["content"], "My card is [CREDIT_CARD], thanks");
    assert_eq!(message["content"][0]["text"], "My card is [CREDIT_CARD], thanks");
    demo.terminate();
    assert!(demo.ended().success());
    assert!(!key("demo").secret.contains(secret));
}

#[test]
fn a_demo_of_another_server_promises_no_dialect_that_it_does_not_speak() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let upstream = format!("http://{}/v1", double.address);
    let mut demo = demo(folder.path(), &["--upstream", &upstream]);
    let blocks = pasted(&mut demo, folder.path());
    assert!(
        blocks.len() == 2 && blocks.iter().all(|block| block.contains("/v1/chat/completions")),
        "{blocks:?}"
    );
    demo.terminate();
    assert!(demo.ended().success());
}
