//! What does the operator's command line do? Keys, checks, refusals to start, and the demo.

use crate::house::{House, Plan, organisation, provider};
use crate::http;
use crate::process::{Process, binary, until};
use crate::provider::Double;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
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
    demo_by("exec \"$0\" \"$@\"", folder, more)
}

/// The same by a script for `bash`, which gets the command as its arguments.
fn demo_by(script: &str, folder: &Path, more: &[&str]) -> Process {
    let zero = "127.0.0.1:0";
    let mut arguments = vec!["demo", "--data-dir", "data", "--ready-file", "ready.json"];
    for listen in ["--proxy-listen", "--admin-listen", "--metrics-listen", "--api-listen"] {
        arguments.extend([listen, zero]);
    }
    arguments.extend(more);
    for left in ["demo.log", "ready.json"] {
        let _ = std::fs::remove_file(folder.join(left));
    }
    Process::script("demo", script, &arguments, folder)
}

/// What it says to paste.
fn pasted(demo: &mut Process, folder: &Path) -> Vec<String> {
    let printed = demo.until("it says what to paste", || {
        Some(std::fs::read_to_string(folder.join("demo.log")).unwrap()).filter(|log| log.contains("Ctrl-C"))
    });
    printed.split("\n\n").filter(|block| block.starts_with("  curl ")).map(str::to_owned).collect()
}

/// What somebody reads who pastes it.
fn pasting(block: &str) -> Value {
    let output = Command::new("bash").args(["-c", block]).env("no_proxy", "*").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{block}: {output:?}"))
}

/// What an answer of a model says.
fn words(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_default()
}

/// Ends it as its user does.
fn end(mut demo: Process) {
    demo.terminate();
    assert!(demo.ended().success());
}

#[test]
fn the_demo_works_at_once_and_says_where() {
    let folder = TempDir::new().unwrap();
    let ready = folder.path().join("ready.json");
    let mut first = demo(folder.path(), &[]);
    let text = first.until("the ready file appears", || std::fs::read_to_string(&ready).ok());
    let said: Value = serde_json::from_str(&text).unwrap();
    let members: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["admin", "api", "demo", "metrics", "process", "proxy"]);
    assert_eq!(said["demo"]["org"], "demo");
    let address = said["proxy"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let secret = said["demo"]["key"].as_str().unwrap().to_owned();
    let body = r#"{"model":"resilient","messages":[{"role":"user","content":"My card is 4111 1111 1111 1111, thanks"}]}"#;
    assert_eq!(
        words(&http::ask(address, &http::chat(&secret, body)).json()),
        "My card is [CREDIT_CARD], thanks"
    );
    // And what it says to paste works as it stands there.
    let blocks = pasted(&mut first, folder.path());
    let [hello, card, message, change, obeyed] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(words(&pasting(hello)), "Say hello");
    assert_eq!(words(&pasting(card)), "My card is [CREDIT_CARD], thanks");
    assert_eq!(pasting(message)["content"][0]["text"], "My card is [CREDIT_CARD], thanks");
    assert_eq!(words(&pasting(obeyed)), "Is Nightingale late again?");
    assert_eq!(pasting(change)["changes"][0]["kind"], "dictionaries");
    until("it is obeyed", || (words(&pasting(obeyed)) == "Is [PROJECT] late again?").then_some(()));
    assert_eq!(pasting(change)["changes"], serde_json::json!([]), "and can be pasted again");
    // What is printed goes to its user, not into the log, but for the file's name; the file is theirs alone.
    let kept = folder.path().join("data/demo.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    end(first);

    // Another start finds everything as it was.
    let mut again = demo(folder.path(), &[]);
    let blocks = pasted(&mut again, folder.path());
    assert!(blocks[0].contains(&secret), "the key is the one that was shown");
    assert_eq!(words(&pasting(&blocks[4])), "Is [PROJECT] late again?");
    assert!(folder.path().join("demo.log").metadata().is_ok_and(|log| log.len() > 0));
    assert!(!again.log().contains("An invitation for an operator"));
    end(again);
}

#[test]
fn the_demo_follows_what_there_is_to_reach() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let upstream = format!("http://{}/v1", double.address);
    let models = |process: &mut Process| -> Vec<String> {
        let blocks = pasted(process, folder.path());
        let (url, _) = blocks[0].split_once("/chat/completions").unwrap();
        let listed = pasting(&blocks[0].replace(&blocks[0], &format!("{url}/models {}", header(&blocks[0]))));
        let data = listed["data"].as_array().unwrap().iter();
        data.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let with_keys = "OPENAI_API_KEY=sk-one ANTHROPIC_API_KEY=sk-two exec \"$0\" \"$@\"";
    let mut first = demo_by(with_keys, folder.path(), &[]);
    let found = models(&mut first);
    assert!(found.iter().any(|model| model == "mock-echo"), "{found:?}");
    end(first);
    // A server in the double's place: what is promised is what it speaks.
    let mut second = demo(folder.path(), &["--upstream", &upstream]);
    let blocks = pasted(&mut second, folder.path());
    assert!(blocks.len() == 4 && !blocks.concat().contains("/v1/messages"), "{blocks:?}");
    assert_eq!(words(&pasting(&blocks[1])), "My card is [CREDIT_CARD], thanks");
    double.until("the server heard of it", |received| received.body.contains("[CREDIT_CARD]"));
    assert!(!models(&mut second).iter().any(|model| model == "mock-echo"));
    end(second);
    let mut third = demo(folder.path(), &[]);
    let blocks = pasted(&mut third, folder.path());
    assert_eq!(pasting(&blocks[2])["content"][0]["text"], "My card is [CREDIT_CARD], thanks");
    end(third);
    let stored = std::fs::read_to_string(folder.path().join("data/demo.json")).unwrap();
    assert!(!stored.contains("sk-one") && !stored.contains("sk-two"), "{stored}");
}

/// The header of a command that says whose it is.
fn header(command: &str) -> String {
    let (_, rest) = command.split_once("-H ").unwrap();
    format!("-H \"{}\"", rest.split('"').nth(1).unwrap())
}

#[test]
fn the_demo_touches_nothing_that_is_somebodys() {
    let folder = TempDir::new().unwrap();
    let demo = |more: &[&str]| run(folder.path(), &[&["demo", "--data-dir", "data"], more].concat());
    std::fs::create_dir_all(folder.path().join("data/orgs")).unwrap();
    std::fs::write(folder.path().join("data/orgs/demo.toml"), "id = \"demo\"\n").unwrap();
    let refused = demo(&[]);
    assert!(!refused.status.success());
    assert!(err(&refused).contains("palisade serve --data-dir data"), "{}", err(&refused));
    assert!(!folder.path().join("data/store").exists());
    std::fs::write(folder.path().join("palisade.toml"), "[store]\nkind = \"sqlite\"\n").unwrap();
    let refused = demo(&["--config", "palisade.toml"]);
    assert!(!refused.status.success() && err(&refused).contains("leave out `[store]`"), "{}", err(&refused));
    let refused = demo(&["--upstream", "localhost:11434"]);
    assert!(!refused.status.success() && err(&refused).contains("begins with neither"), "{}", err(&refused));
}
