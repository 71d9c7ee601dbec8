//! The rules of the house, as tests: who may know whom, what the core must not touch, how large things may grow.
//!
//! They read the sources as text, line by line: crude, fast, and enough for rules about absence. An exception stands
//! in a list here, with its reason.

use crate::process::workspace;
use crate::scenario;
use palisade_filters::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file without its tests fits a head.
const FILE_LINES: usize = 500;
/// A function fits a screen.
const FUNCTION_LINES: usize = 70;
/// A line fits a window, doc comments with a link included.
const LINE_COLUMNS: usize = 120;

/// Files that may be longer than [`FILE_LINES`], each with its limit.
const LONG_FILES: &[(&str, usize)] = &[
    // One pass over JSON, with the states that the pass moves between.
    ("filters/src/dlp/projection.rs", 580),
    // One table-driven matcher; its parts share what a candidate is.
    ("filters/src/dlp/matcher.rs", 580),
    // Every way of the sweep: no other file of the scanner may be unsafe.
    ("filters/src/dlp/anchors/paths.rs", 540),
];

/// Functions that may be longer than [`FUNCTION_LINES`].
const LONG_FUNCTIONS: &[&str] = &[
    // One line a validator.
    "filters/src/dlp/validators/mod.rs: proof",
    // One arm a refusal.
    "filters/src/refusal.rs: message",
];

/// Rooms of the house that hold code.
const ROOMS: &[&str] = &["audit", "benches", "control", "filters", "proxy", "tests"];

/// A source file of ours.
struct Source {
    /// From the workspace's folder.
    path: String,
    text: String,
}

impl Source {
    /// Without its tests, which stand at its end.
    fn code(&self) -> &str {
        self.text.split_once("\n#[cfg(test)]\nmod tests {").map_or(&self.text, |(code, _)| code)
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Lines of code: without comments, so that nobody saves on them.
    fn lines_of_code(&self) -> impl Iterator<Item = &str> {
        self.code().lines().filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let mut paths: Vec<PathBuf> =
        ROOMS.iter().map(|room| workspace().join(room)).filter(|p| p.exists()).collect();
    let mut sources = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            // What is built, fetched or fuzzed is not ours to read.
            let name = path.file_name().unwrap().to_str().unwrap();
            if !["target", "fuzz", "clients", "record"].contains(&name) {
                paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned();
            sources.push(Source { path, text });
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(sources.len() > 80, "the sources are not where they were");
    sources
}

fn source<'a>(sources: &'a [Source], path: &str) -> &'a Source {
    sources.iter().find(|source| source.path == path).unwrap_or_else(|| panic!("`{path}` is gone"))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a room depends on, tests aside.
fn dependencies(room: &str) -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(workspace().join(room).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn each_room_knows_only_whom_it_may_know() {
    let network = ["tokio", "hyper", "reqwest", "ureq", "mio", "socket2", "async-trait", "futures"];
    let databases = ["sqlx", "rusqlite", "tokio-postgres", "diesel"];
    let rooms = ["palisade", "palisade-audit", "palisade-control", "palisade-filters"];
    for (room, may_know) in [
        ("filters", &[][..]),
        ("audit", &[]),
        ("control", &["palisade-filters"]),
        ("proxy", &["palisade-audit", "palisade-control", "palisade-filters"]),
    ] {
        let known = dependencies(room);
        let of = |names: &[&str]| -> Vec<String> {
            names.iter().filter(|name| known.contains(**name)).map(|name| (*name).to_owned()).collect()
        };
        assert_eq!(of(&rooms), may_know, "{room} knows other rooms than it may");
        let has_pingora = known.iter().any(|name| name.starts_with("pingora"));
        assert_eq!(has_pingora, room == "proxy", "only the proxy knows Pingora: {room}");
        // The store waits for its database.
        let waits: &[&str] = if room == "control" { &["tokio"] } else { &[] };
        if room != "proxy" {
            assert_eq!(of(&network), waits, "{room} knows the network");
        }
        if room != "control" {
            assert_eq!(of(&databases), [""; 0], "{room} knows SQL");
        }
    }
}

#[test]
fn only_the_store_waits_and_knows_sql() {
    let mut wrong = Vec::new();
    let sources = sources();
    let control = |source: &&Source| source.path.starts_with("control/src/");
    for source in sources.iter().filter(control) {
        let is_in = |room: &str| source.path.starts_with(&format!("control/src/{room}/"));
        let mut words = Vec::new();
        if !is_in("store") {
            words.extend(["sqlx", "SELECT "]);
            // What stands on the store waits for it.
            if !["access", "api", "demo", "feed", "follow", "resources", "usage"]
                .iter()
                .any(|room| is_in(room))
            {
                words.extend(["tokio", "async fn", ".await"]);
            }
        }
        for line in source.lines_of_code() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!(
                    "{}: only the store, or what stands on it, may use `{word}`: {line}",
                    source.path
                ));
            }
        }
    }
    assert_none(&wrong);
    let sockets = ["std::net", "tokio::net", "std::process"];
    for source in sources.iter().filter(|source| source.path.starts_with("control/src/")) {
        let line = source.lines_of_code().find(|line| sockets.iter().any(|word| line.contains(word)));
        assert_eq!(line, None, "{}: control opens no socket but to its database", source.path);
    }
}

#[test]
fn the_core_touches_nothing() {
    let forbidden = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::net::ToSocket",
        "std::process",
        "std::env::",
        "std::thread",
        "SystemTime",
        "Instant",
        "async fn",
        ".await",
        "println!",
        "eprintln!",
        "std::io",
        "thread_local!",
    ];
    let mut wrong = Vec::new();
    for source in
        sources().iter().filter(|source| source.path.starts_with("filters/src") && !source.is_test())
    {
        for line in source.lines_of_code() {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}: the core may not use `{word}`: {line}", source.path));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn one_file_writes_errors_to_clients() {
    let mut wrong = Vec::new();
    for source in sources() {
        // The double is a provider: its errors are its own.
        let is_ours = source.path.starts_with("proxy/src/") && !source.path.starts_with("proxy/src/mock/");
        if !is_ours || source.path == "proxy/src/reply.rs" {
            continue;
        }
        for line in source.lines_of_code() {
            if ["\"error\"", "\\\"error\\\"", "respond_error", "error_body"]
                .iter()
                .any(|word| line.contains(word))
            {
                wrong.push(format!("{}: only `reply` writes errors: {line}", source.path));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_request_is_judged_under_one_policy() {
    let sources = sources();
    let loads: Vec<(&str, usize)> = sources
        .iter()
        .filter(|source| source.path.starts_with("proxy/src/"))
        .map(|source| (source.path.as_str(), source.code().matches(".policy()?").count()))
        .filter(|(_, loads)| *loads > 0)
        .collect();
    assert_eq!(loads, [("proxy/src/serve.rs", 1)]);
}

#[test]
fn the_way_of_a_request_is_told_in_its_order() {
    let sources = sources();
    let lib = source(&sources, "filters/src/lib.rs").code();
    let steps = ["identify", "recognize", "gate", "read", "clear", "apply", "admit"];
    let places: Vec<usize> =
        steps.iter().map(|step| lib.find(&format!("\npub fn {step}(")).expect("a step is gone")).collect();
    assert!(places.is_sorted(), "the steps of `filters` stand in the order of the way");
    let (_, stages) =
        lib.split_once("// The stages, in the order of the way").expect("the stages are announced");
    let told: Vec<&str> =
        stages.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    // Arrival and relay are the proxy's.
    let not_here = [Stage::Arrival, Stage::Relay];
    let stages = Stage::ALL.iter().filter(|stage| !not_here.contains(stage));
    assert_eq!(told, stages.map(|stage| stage.name()).collect::<Vec<_>>());
    let serve = source(&sources, "proxy/src/serve.rs").code();
    let called: Vec<usize> = [
        "filters::identify",
        "filters::recognize",
        "filters::gate",
        "filters::apply",
        "filters::admit",
        "relay::relay(",
    ]
    .iter()
    .map(|step| serve.find(step).unwrap_or_else(|| panic!("`serve` does not call `{step}`")))
    .collect();
    assert!(called.is_sorted(), "`serve` goes the way in its order");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none(
        &silent.map(|source| format!("{} does not begin with `//!`", source.path)).collect::<Vec<_>>(),
    );
}

#[test]
fn files_fit_a_head() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with("/tests.rs")) {
        let lines = source.code().lines().count();
        let limit =
            LONG_FILES.iter().find(|(path, _)| *path == source.path).map_or(FILE_LINES, |(_, limit)| *limit);
        if lines > limit {
            wrong.push(format!("{} has {lines} lines, {limit} is the most", source.path));
        }
    }
    assert_none(&wrong);
}

#[test]
fn lines_fit_a_window() {
    let mut wrong = Vec::new();
    // The formatter does not reach into the macros of property tests.
    for source in sources().iter().filter(|source| !source.path.ends_with("/tests.rs")) {
        for (number, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            let is_data = line.contains('"') || line.contains("http");
            if columns > LINE_COLUMNS && !is_data {
                wrong.push(format!("{}:{} has {columns} columns", source.path, number + 1));
            }
        }
    }
    assert_none(&wrong);
}

/// Names and lengths of the functions of a file. The formatter puts a function's last brace under its first word.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let lines: Vec<&str> = source.code().lines().collect();
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let is_comment = code.starts_with("//");
        let Some((before, after)) = code.split_once("fn ").filter(|_| !is_comment) else { continue };
        let is_function = before.split_whitespace().all(|word| {
            word.starts_with("pub") || ["const", "async", "unsafe", "in", "crate)", "super)"].contains(&word)
        });
        let name = after.split(['(', '<']).next().unwrap();
        if !is_function || name.is_empty() || line.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let body = lines[at..].iter().position(|line| *line == close).unwrap_or(0);
        let comments =
            lines[at..=at + body].iter().filter(|line| line.trim_start().starts_with("//")).count();
        functions.push((name.to_owned(), body + 1 - comments));
    }
    functions
}

#[test]
fn functions_fit_a_screen() {
    let mut wrong = Vec::new();
    let mut counted = 0;
    for source in &sources() {
        for (name, lines) in functions(source) {
            counted += 1;
            let place = format!("{}: {name}", source.path);
            if lines > FUNCTION_LINES && !LONG_FUNCTIONS.contains(&place.as_str()) {
                wrong.push(format!("{place} has {lines} lines"));
            }
        }
    }
    assert_none(&wrong);
    assert!(counted > 500, "only {counted} functions were counted");
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in two, or this file would be found.
    let words =
        [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("unimpl", "emented!("), ("to", "do!("), ("#[ign", "ore")];
    let in_tests = [("thread::sl", "eep"), ("time::sl", "eep("), ("#[ign", "ore")];
    let mut wrong = Vec::new();
    for source in sources() {
        let forbidden: &[(&str, &str)] = if source.path.starts_with("tests/") { &in_tests } else { &[] };
        for (one, two) in words.iter().chain(forbidden) {
            let word = format!("{one}{two}");
            // A compile-fail example may be unfinished on purpose.
            for line in source.text.lines().filter(|line| line.contains(&word) && !line.contains("..todo")) {
                wrong.push(format!("{}: `{word}` in `{}`", source.path, line.trim()));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_is_unsafe() {
    // One maps files, one uses the processor's vectors, one calls the C library that is measured beside us and is no
    // part of what is shipped; all argue at their head why that may be.
    let argued = ["proxy/src/mapped.rs", "filters/src/dlp/anchors/paths.rs", "benches/src/scan/hyperscan.rs"];
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|source| !source.path.ends_with("tidy.rs") && !argued.contains(&source.path.as_str()))
        .filter(|source| {
            source.lines_of_code().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"))
        })
        .map(|source| source.path.clone())
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_metric_of_the_table_is_registered() {
    let sources = sources();
    let metrics = source(&sources, "proxy/src/metrics.rs").code();
    for name in [
        "palisade_requests_total",
        "palisade_refusals_total",
        "palisade_stage_duration_seconds",
        "palisade_request_overhead_seconds",
        "palisade_upstream_duration_seconds",
        "palisade_time_to_first_byte_seconds",
        "palisade_tokens_total",
        "palisade_findings_total",
        "palisade_config_revision",
        "palisade_audit_spool_depth",
        "palisade_audit_dropped_total",
    ] {
        assert_eq!(metrics.matches(&format!("\"{name}\"")).count(), 1, "{name}");
    }
    for label in ["\"tenant\"", "\"organisation\"", "\"user\"", "\"key\"", "\"key_id\"", "\"model\""] {
        assert!(!metrics.contains(label), "a label {label} has no bound");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let mut wrong = Vec::new();
    let root = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let (_, listed) = root.split_once("[workspace.dependencies]\n").unwrap();
    let listed = listed.split("\n[").next().unwrap();
    for line in listed.lines().filter(|line| line.contains(" = ") && !line.starts_with("palisade")) {
        if !line.contains(" # ") {
            wrong.push(format!("no reason is given: {line}"));
        }
    }
    for room in ROOMS {
        let path = workspace().join(room).join("Cargo.toml");
        let manifest: toml::Table = match std::fs::read_to_string(&path) {
            Ok(text) => text.parse().unwrap(),
            Err(_) => continue,
        };
        let package = manifest["package"].as_table().unwrap();
        if package["edition"].get("workspace").is_none() || manifest["lints"].get("workspace").is_none() {
            wrong.push(format!("{} does not keep the workspace's edition and lints", path.display()));
        }
    }
    assert_none(&wrong);
}

#[test]
fn scenarios_have_names_of_their_own() {
    let mut names = BTreeMap::new();
    for case in scenario::all() {
        let is_name = case.name.len() <= 64
            && case
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(is_name, "`{}` is a sentence in dashes of at most 64 characters", case.name);
        *names.entry(case.name).or_insert(0) += 1;
    }
    assert!(names.values().all(|times| *times == 1), "{names:?}");
    assert!(names.len() >= 100);
    assert!(Path::new(&workspace().join("tests/snapshots/errors.txt")).exists());
}
