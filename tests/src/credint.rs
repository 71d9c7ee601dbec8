//! Compromised credentials from the outside: lists become filters, filters and reports come into force while requests
//! go on, and no command takes a credential where others could read it.

use crate::http::{self, Answer};
use crate::keys::key;
use crate::process::{binary, until};
use crate::processes::{SOON, Site, site};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const HELLO: &str = r#"{"model":"mock","messages":[{"role":"user","content":"hi"}]}"#;

fn credint(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary())
        .arg("credint")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn done(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = credint(folder, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = credint(folder, arguments, input);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn lists_become_a_filter_that_is_looked_at_and_asked() {
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    let (plain, hashes) = (here.join("plain.txt"), here.join("hashes.txt"));
    std::fs::write(&plain, "opensesame\nhunter2\t40\nhunter2\t70\n").unwrap();
    std::fs::write(&hashes, "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:9545824\r\n").unwrap();
    let build = ["build", "--plain", "plain.txt", "--hashes", "hashes.txt", "--date", "2026-11-25"];
    let built = done(here, &[&build[..], &["--out", "a.credint"]].concat(), "");
    assert!(built.contains("3 credentials from 4 lines"), "{built}");
    done(here, &[&build[..], &["--out", "b.credint"]].concat(), "");
    let [a, b] = ["a.credint", "b.credint"].map(|name| std::fs::read(here.join(name)).unwrap());
    assert_eq!(a, b, "equal lists and dates give equal files");
    let info = done(here, &["info", "a.credint", "--verify"], "");
    for line in
        ["built        2026-11-25", "credentials  3", "100+ times 2", "all agree", "hashes.txt, plain.txt"]
    {
        assert!(info.contains(line), "`{line}` is not in\n{info}");
    }
    let asked = done(here, &["check", "--base", "a.credint"], "hunter2\npassword\nopensesame\nunheard-of\n");
    assert_eq!(asked, "seen 100 to 999 times\nseen 1000 times or more\nseen once\nnot known\n");
    let asked = done(here, &["check", "--data-dir", "data"], "123456\n");
    assert_eq!(asked, "seen 1000 times or more\n", "without a base, the shipped list is asked");

    let mut damaged = a;
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(here.join("damaged.credint"), damaged).unwrap();
    assert!(refused(here, &["info", "damaged.credint"], "").contains("shard 0 is damaged"));
    std::fs::write(&hashes, "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:1\nhunter2\n").unwrap();
    let problem = refused(here, &["build", "--hashes", "hashes.txt", "--out", "c.credint"], "");
    assert!(problem.contains("line 2") && !problem.contains("hunter2"), "{problem}");
    assert!(refused(here, &["build", "--out", "c.credint"], "").contains("--hashes FILE"));
    assert!(refused(here, &["add", "--data-dir", "data"], "\n").contains("nothing was read"));
    let mut left: Vec<_> = std::fs::read_dir(here)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["a.credint", "b.credint", "damaged.credint", "hashes.txt", "plain.txt"],
        "nothing is left over"
    );
}

fn hello(site: &Site) -> u16 {
    site.house.chat("acme", HELLO).status
}

#[test]
fn a_reported_key_is_refused_within_a_second_and_after_a_restart() {
    let mut site = site("");
    let data = site.house.data().to_str().unwrap().to_owned();
    let secret = key("acme").secret;
    assert_eq!(hello(&site), 200);
    let said = done(site.house.folder.path(), &["add", "--data-dir", &data], &format!("{secret}\n"));
    let added = Instant::now();
    assert!(said.contains("1 reported") && !said.contains(&secret), "{said}");
    until("the key is refused", || (hello(&site) == 403).then_some(()));
    assert!(added.elapsed() < SOON, "it took {:?}", added.elapsed());
    let kept = std::fs::read_to_string(site.house.data().join("credint/added.sha1")).unwrap();
    assert!(!kept.contains(&secret) && kept.ends_with(":1\n"), "what is reported is kept as a hash: {kept}");
    let log = site.house.process.as_ref().unwrap().log();
    assert!(!log.contains(&secret) && !log.contains(&kept[..40]), "{log}");
    site.house.stop();
    site.house.launch();
    assert_eq!(hello(&site), 403, "reports survive a restart");
    std::fs::remove_file(site.house.data().join("credint/added.sha1")).unwrap();
    until("a report that is taken back is forgotten", || (hello(&site) == 200).then_some(()));
}

fn password(site: &Site) -> Answer {
    let prompt =
        r#"{"model":"mock","messages":[{"role":"user","content":"PASSWORD=per-environment please"}]}"#;
    http::ask(site.house.proxy, &http::chat(&key("acme").secret, prompt))
}

#[test]
fn a_new_base_is_asked_within_a_second_and_a_broken_one_changes_nothing() {
    let mut site = site("");
    let settings = "policy = [{ name = \"leaked\", compromised_min = 100, action = \"block\" }]";
    site.house.write("acme", &crate::house::organisation("acme", settings).1);
    assert_eq!(password(&site).status, 200);
    let folder = site.house.data().join("credint");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(site.house.folder.path().join("list"), "per-environment\t500\n").unwrap();
    let base = folder.join("base.credint");
    let out = ["build", "--plain", "list", "--out", base.to_str().unwrap()];
    done(site.house.folder.path(), &out, "");
    let built = Instant::now();
    until("the new base is asked", || (password(&site).status == 400).then_some(()));
    assert!(built.elapsed() < SOON, "it took {:?}", built.elapsed());
    let beside = folder.join(".broken");
    std::fs::write(&beside, "x".repeat(500)).unwrap();
    std::fs::rename(&beside, &base).unwrap();
    let log = site.house.folder.path().join("serve.log");
    site.house.process.as_mut().unwrap().until("the problem is named", || {
        std::fs::read_to_string(&log).unwrap().contains("this is no credential filter").then_some(())
    });
    assert_eq!(password(&site).status, 400, "the last good base stays");
}
