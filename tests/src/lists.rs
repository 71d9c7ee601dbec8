//! Lists and tables of an organisation from the outside: a table is built by a command that prints no cell.

use crate::process::binary;
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
