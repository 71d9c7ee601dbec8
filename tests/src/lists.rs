//! Lists and tables of an organisation from the outside: a command builds tables and prints no cell; files come into
//! force while requests go on, and a broken one leaves what was there.

use crate::house::organisation;
use crate::process::{binary, until};
use crate::processes::{Site, site};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
const PEOPLE: &str =
    "\u{feff}id,name,card,city\n1,Anna Kowalski,4929 1234 5678,Berlin\n2,\"Hart, Paris\",88112233,Paris\n";

/// Runs `palisade exact build` in a folder.
fn build(folder: &Path, arguments: &[&str]) -> Output {
    let command = [&["exact", "build"], arguments].concat();
    Command::new(binary()).args(command).current_dir(folder).env("PEOPLE_KEY", KEY.trim()).output().unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = build(folder, arguments);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("Kowalski") && !said.contains("0011"), "nothing of a cell or key is told: {said}");
    said
}

#[test]
fn records_become_a_table_that_holds_none_of_them() {
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    std::fs::write(here.join("key"), KEY).unwrap();
    std::fs::write(here.join("people.csv"), PEOPLE).unwrap();
    let built = build(here, &["--key-file", "key", "--columns", "name,card,city", "people.csv"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(built.stdout.starts_with(b"PALEXCT\0"));
    let holds =
        |text: &str| built.stdout.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()));
    assert!(!holds("kowalski") && !holds("4929") && !holds("berlin") && !holds("name"));
    let said = String::from_utf8(built.stderr).unwrap();
    assert!(said.starts_with("2 records (0 more said the same), 6 different cells"), "{said}");
    assert!(said.contains("  card: 2 taken, 0 empty, 0 too short, 0 too long"), "{said}");

    let options =
        ["--key-env", "PEOPLE_KEY", "--columns", "name,card", "--out", "people.exact", "people.csv"];
    let built = build(here, &options);
    assert!(built.status.success() && built.stdout.is_empty(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(here.join("people.exact").exists());
    let left = std::fs::read_dir(here).unwrap().count();
    assert_eq!(left, 3, "nothing is left over");
}

#[test]
fn what_no_table_can_be_built_of_is_said_without_a_cell() {
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    std::fs::write(here.join("key"), KEY).unwrap();
    std::fs::write(here.join("weak"), "0011").unwrap();
    std::fs::write(here.join("people.csv"), PEOPLE).unwrap();
    std::fs::write(here.join("uneven.csv"), "name,card\nAnna Kowalski\n").unwrap();
    std::fs::write(here.join("short.csv"), "name,card\nA,1\n").unwrap();
    let with = |key: &str, columns: &str, file: &str| {
        refused(here, &["--key-file", key, "--columns", columns, file])
    };
    assert!(with("weak", "name", "people.csv").contains("fewer than 32 characters"));
    assert!(with("none", "name", "people.csv").contains("the file `none`: there is no such file"));
    assert!(
        with("key", "name,iban", "people.csv")
            .contains("no column `iban`; it has `id`, `name`, `card`, `city`")
    );
    assert!(with("key", "name,card", "uneven.csv").contains("line: 2"));
    assert!(with("key", "name,card", "short.csv").contains("none of its cells can be looked for"));
    assert!(with("key", "name", "gone.csv").contains("cannot read `gone.csv`"));
    assert!(refused(here, &["--columns", "name", "people.csv"]).contains("--key-file"));
    assert!(
        refused(here, &["--key-env", "NO_KEY", "--columns", "name", "people.csv"]).contains("is not set")
    );
}

/// An organisation that keeps what it knows by name: a list and a table, each in a file.
fn knowing(columns_min: usize) -> String {
    let settings = format!(
        "policy = [{{ name = \"stays here\", rules = [\"own.*\"], action = \"redact\" }}]\n\
         [[dlp.keyword_lists]]\nid = \"own.projects\"\nentity = \"PROJECT_NAME\"\ncategory = \"business\"\n\
         file = \"lists/acme/projects.txt\"\n\
         [[dlp.exact_match]]\nid = \"own.people\"\nentity = \"PERSON_DATA\"\ncategory = \"identity\"\n\
         file = \"lists/acme/people.exact\"\nkey = {{ file = \"secrets/people.key\" }}\ncolumns_min = {columns_min}\n"
    );
    organisation("acme", &settings).1
}

/// What an echo of this prompt says.
fn echoed(site: &Site, prompt: &str) -> String {
    let body = json!({"model": "mock", "messages": [{"role": "user", "content": prompt}]});
    let answer = site.house.chat("acme", &body.to_string());
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Waits until a prompt reads so.
fn until_echoed(site: &Site, prompt: &str, wanted: &str) {
    until(wanted, || echoed(site, prompt).contains(wanted).then_some(()));
}

#[test]
fn lists_and_tables_in_files_come_into_force_and_keep_their_last_good_state() {
    let site = site("");
    let data = site.house.data();
    write(&data, "secrets/people.key", KEY);
    write(&data, "people.csv", PEOPLE);
    let table =
        build(&data, &["--key-file", "secrets/people.key", "--columns", "name,card,city", "people.csv"])
            .stdout;
    write(&data, "lists/acme/people.exact", &table);
    write(&data, "lists/acme/projects.txt", "Blue Heron\n\nGrey Wagtail\n");
    site.house.write("acme", &knowing(2));
    until_echoed(&site, "the grey wagtail", "the [PROJECT_NAME]");
    assert!(
        echoed(&site, "Anna Kowalski pays with 4929-1234-5678")
            .contains("[PERSON_DATA] pays with [PERSON_DATA]")
    );
    assert!(echoed(&site, "Anna Kowalski went home").contains("Anna Kowalski went home"));

    write(&data, "lists/acme/projects.txt", "Blue Heron\nRed Kite\n");
    until_echoed(&site, "the red kite", "the [PROJECT_NAME]");
    let log = || site.house.process.as_ref().unwrap().log();
    let said = |wanted: &str| until(wanted, || log().contains(wanted).then_some(()));
    write(&data, "lists/acme/projects.txt", "Blue Heron\nX\n");
    said("line 2 of `lists/acme/projects.txt` is a single letter or digit");
    write(&data, "lists/acme/projects.txt", "Blue Heron\n\nblue-heron\n");
    said("line 3 of `lists/acme/projects.txt` says the same as line 1 of `lists/acme/projects.txt`");
    std::fs::remove_file(data.join("lists/acme/projects.txt")).unwrap();
    said("`lists/acme/projects.txt`: there is no such file");
    write(&data, "lists/acme/projects.txt", "Blue Heron\nRed Kite\n");
    write(&data, "lists/acme/people.exact", &table[..table.len() - 1]);
    said("copy it again");
    write(&data, "lists/acme/people.exact", &table);
    write(&data, "secrets/people.key", "f".repeat(64));
    said("the key is not the one that the table was built with");
    assert!(!log().contains("Heron"), "no term is told");
    assert!(echoed(&site, "the red kite").contains("the [PROJECT_NAME]"), "the last good state holds");

    write(&data, "secrets/people.key", KEY);
    site.house.write("acme", &knowing(3));
    let three = "Anna Kowalski, 492912345678, Berlin";
    until_echoed(&site, "Anna Kowalski, 492912345678", "Anna Kowalski, 492912345678");
    assert!(echoed(&site, three).contains("[PERSON_DATA], [PERSON_DATA], [PERSON_DATA]"));
}
