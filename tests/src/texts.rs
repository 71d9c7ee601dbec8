//! What does the product say of a text, and of its rules, on the command line?

use crate::commands::{err, out, run};
use crate::process::{binary, workspace};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Runs the product with this on its standard input.
fn fed(arguments: &[&str], input: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(binary())
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It answers before it has read all.
        scope.spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    })
}

#[test]
fn scan_prints_places_and_never_text() {
    let lines = "{\"note\":\"card 4111 1111 1111 1111\"}\n{\"note\":\"nothing\"}\n";
    let output = fed(&["scan", "--jsonl", "--field", "note"], lines);
    assert!(output.status.success());
    let lines: Vec<serde_json::Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = &lines[0]["findings"][0];
    assert_eq!(
        (found["rule"].as_str(), found["entity"].as_str()),
        (Some("payment.card_number"), Some("CREDIT_CARD"))
    );
    assert_eq!((found["start"].as_u64(), found["end"].as_u64()), (Some(5), Some(24)));
    assert_eq!(lines[1], serde_json::json!({"line": 2, "findings": []}));
    assert!(!out(&output).contains("4111"));
}

#[test]
fn redact_prints_the_text_without_what_was_found() {
    let long = "all is well, and nothing happens. ".repeat(8_000);
    let text = format!("é {long}pay 4111 1111 1111 1111 now\n");
    let redacted = fed(&["redact"], &text);
    assert!(redacted.status.success(), "{}", err(&redacted));
    assert_eq!(out(&redacted), format!("é {long}pay [CREDIT_CARD] now\n"));
    let json = r#"{"card": 4111111111111111, "n": 1}"#;
    assert_eq!(out(&fed(&["redact", "--json"], json)), r#"{"card": "[CREDIT_CARD]", "n": 1}"#);
    let numbers = r#"{"a":-4111111111111111, "b":4111111111111111.0, "c":["-4111111111111111"]}"#;
    let replaced = r#"{"a":"[CREDIT_CARD]", "b":"[CREDIT_CARD]", "c":["-[CREDIT_CARD]"]}"#;
    assert_eq!(out(&fed(&["redact", "--json"], numbers)), replaced);
    let nowhere = run(TempDir::new().unwrap().path(), &["redact", "nowhere.txt"]);
    assert!(!nowhere.status.success() && err(&nowhere).contains("nowhere.txt"));
}

#[test]
fn redact_leaves_of_a_value_what_it_is_told_to() {
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "one of ours\n").unwrap();
    let text = "jane@corp.example.org, 536-90-4399, jane@corp.example.org";
    let left = |mode: &str| {
        let output = fed(&["redact", "--mode", mode, "--secret-file", secret.to_str().unwrap()], text);
        assert!(output.status.success(), "{}", err(&output));
        out(&output)
    };
    assert_eq!(left("label"), "[EMAIL_ADDRESS], [US_SSN], [EMAIL_ADDRESS]");
    assert_eq!(left("keep_last"), "*****************eorg, *********99, *****************eorg");
    let tagged = left("tag");
    let tags: Vec<&str> = tagged.split(", ").collect();
    assert!(tags[0] == tags[2] && tags[0].starts_with("[EMAIL_ADDRESS_"), "{tagged}");
    assert_eq!(left("tag"), tagged, "the same secret gives the same tags");
    assert_ne!(out(&fed(&["redact", "--mode", "tag"], text)), tagged, "and no secret others");
    assert_eq!(out(&fed(&["redact", "--mode", "tag"], &tagged)), tagged, "which are no values");
    let unknown = fed(&["redact", "--mode", "reversible"], text);
    assert!(!unknown.status.success() && err(&unknown).contains("`keep_last`"), "{}", err(&unknown));
}

#[test]
fn rules_are_checked_listed_and_explained() {
    let folder = TempDir::new().unwrap();
    let shipped = run(folder.path(), &["rules", "check"]);
    assert!(shipped.status.success(), "{}", out(&shipped));
    let list = out(&run(folder.path(), &["rules", "list", "--category", "payment"]));
    assert!(list.contains("payment.card_number") && !list.contains("secrets."), "{list}");
    let explained = out(&run(folder.path(), &["rules", "explain", "payment.card_number"]));
    for fact in ["CREDIT_CARD", "payment_card", "PCI DSS", "ISO/IEC 7812-1"] {
        assert!(explained.contains(fact), "{fact}: {explained}");
    }
    let unknown = run(folder.path(), &["rules", "explain", "card_number"]);
    assert!(!unknown.status.success() && err(&unknown).contains("did you mean payment.card_number"));
    let file = folder.path().join("mine.toml");
    let card = std::fs::read_to_string(workspace().join("rules/patterns/contact/email.toml")).unwrap();
    std::fs::write(
        &file,
        card.replacen("counterexamples = [", "counterexamples = [\"a.person@example.com\", ", 1),
    )
    .unwrap();
    let wrong = run(folder.path(), &["rules", "check", "mine.toml"]);
    assert!(!wrong.status.success());
    assert!(out(&wrong).contains("finds its counterexample `a.person@example.com`"), "{}", out(&wrong));
    std::fs::write(&file, "[[rule]]\nid = \"x\"\n").unwrap();
    let broken = run(folder.path(), &["rules", "check", "."]);
    assert!(!broken.status.success() && err(&broken).contains("mine.toml"), "{}", err(&broken));
}

#[test]
fn an_organisations_rules_are_checked_as_they_are_when_it_publishes_them() {
    let folder = TempDir::new().unwrap();
    let rule = |id: &str, pattern: &str| {
        format!(
            "id = \"own.{id}\"\nentity = \"BADGE\"\ncategory = \"identity\"\ntitle = \"Badge\"\nwhy = \"doors\"\n\
             severity = \"low\"\npattern = '{pattern}'\nconfidence = {{ base = 0.9 }}\nwidth_bytes_max = 10\n\
             examples = [\"BADGE-1234\"]\ncounterexamples = [\"BADGE-12\"]\nreferences = []\n"
        )
    };
    let document = |pattern| format!("id = \"acme\"\n[[dlp.rules]]\n{}", rule("badge", pattern));
    let check = |name: &str, text: String| {
        std::fs::write(folder.path().join(name), text).unwrap();
        run(folder.path(), &["rules", "check", name])
    };
    let right = check("acme.toml", document("BADGE-[0-9]{4}"));
    assert!(right.status.success() && out(&right).contains("1 rules, 1 examples"), "{}", err(&right));
    let wrong = check("acme.toml", document("(?i)[a-z]{3,5}(?:-[0-9]{4})?"));
    let expected = "acme.toml: rule `own.badge`: `pattern`: something like it would stand";
    assert!(!wrong.status.success() && err(&wrong).contains(expected), "{}", err(&wrong));
    let file = |pattern| format!("[[rule]]\n{}", rule("badge", pattern));
    assert!(check("mine.toml", file("BADGE-[0-9]{4}")).status.success());
    let wrong = check("mine.toml", file("BADGE-[0-9]{2,4}"));
    assert!(err(&wrong).contains("finds its counterexample `BADGE-12`"), "{}", err(&wrong));
}
