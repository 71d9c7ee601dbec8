//! What holds for all rules: their own proof, and any chunking equal to the whole.

use super::lane::{Action, Flow, Lane, Syntax};
use super::regions;
use super::replacement::{self, Key, Mode};
use super::rules::{self, RuleDocument};
use super::{Detection, Found, Scanner, proof};
use crate::credint::{self, Delta, Intelligence};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

pub(super) static PLATFORM: LazyLock<Detection> =
    LazyLock::new(|| Scanner::new(rules::shipped().unwrap()).into());

/// The rules that come with the product.
pub(super) fn shipped() -> &'static [RuleDocument] {
    PLATFORM.platform().documents()
}

static INTELLIGENCE: LazyLock<Intelligence> =
    LazyLock::new(|| Intelligence::new(Some(credint::shipped().unwrap()), Delta::default()));

const THRESHOLD: f32 = 0.5;

pub(super) const LABEL: Action = Action::Redact(Mode::Label);

pub(super) static KEY: LazyLock<Key> = LazyLock::new(|| Key::derived_from(b"a secret of tests"));

/// As `Judge::weigh`, for an organisation with the default settings.
pub(super) fn counts(detection: &Detection, found: &mut Found, value: &[u8]) -> bool {
    let (known, confidence) =
        credint::weigh(&INTELLIGENCE, value, detection.detector(found.rule).unwrap().credential);
    found.known = known;
    found.confidence = found.confidence.max(confidence);
    found.confidence >= THRESHOLD
}

pub(super) fn scan(text: &str) -> Vec<Found> {
    scan_with(&PLATFORM, text)
}

pub(super) fn scan_with(detection: &Detection, text: &str) -> Vec<Found> {
    let mut found = detection.scan(text.as_bytes());
    found.retain_mut(|found| {
        let value = found.value(text.as_bytes()).to_vec();
        counts(detection, found, &value)
    });
    found
}

pub(super) fn found_by(rule: &RuleDocument, text: &str) -> Vec<Found> {
    let mut found = scan(text);
    found.retain(|found| *PLATFORM.detector(found.rule).unwrap().id == *rule.id);
    found
}

#[test]
fn every_rule_proves_itself() {
    let wrong = proof::prove(&PLATFORM, shipped(), &INTELLIGENCE, THRESHOLD);
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(shipped().len() >= 25);
}

#[test]
fn what_stands_for_a_value_is_no_finding() {
    let values = ["4111 1111 1111 1111", "jane.doe@corp.example.org", "536-90-4399", "t7Gq-x2Lw"];
    let detectors = || PLATFORM.detectors().map(AsRef::as_ref);
    for (mode, detector) in Mode::ALL.iter().flat_map(|mode| detectors().map(move |one| (mode, one))) {
        for value in values {
            let with = replacement::of(&KEY, Some(detector), *mode, value.as_bytes());
            if matches!(mode, Mode::Synthetic) && !with.starts_with('[') {
                // Which is a value, where its kind is looked for.
                continue;
            }
            let text = format!("password: {with} token={with} card {with} \"{with}\" {with}@{with}");
            let sure = scan(&text);
            assert!(sure.is_empty(), "{text}: {sure:?}");
        }
    }
}

#[test]
fn a_redacted_text_scans_clean_in_every_mode() {
    let mut wrong = Vec::new();
    for mode in Mode::ALL {
        for rule in shipped() {
            for example in &rule.examples {
                let once = redacted_in(mode, example);
                let found = scan(&once);
                if !found.is_empty() {
                    let by = found.iter().map(|one| &*PLATFORM.detector(one.rule).unwrap().id);
                    wrong.push(format!(
                        "{} {example:?} -> {once:?}: {:?}",
                        mode.name(),
                        by.collect::<Vec<_>>()
                    ));
                }
                assert_eq!(through(&[example], Syntax::Plain, Action::Redact(mode)).0, once);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn through(chunks: &[&str], syntax: Syntax, action: Action) -> (String, Flow) {
    through_with(&PLATFORM, chunks, syntax, action)
}

pub(super) fn through_with(
    detection: &Detection,
    chunks: &[&str],
    syntax: Syntax,
    action: Action,
) -> (String, Flow) {
    let mut lane = Lane::new(syntax, *KEY);
    let mut out = String::new();
    let mut judge = |found: &mut Found, value: &str| match action {
        _ if !counts(detection, found, value.as_bytes()) => Action::Pass,
        Action::Redact(mode) => Action::Redact(detection.mode(found.rule, mode)),
        Action::Pass | Action::Block => action,
    };
    for chunk in chunks {
        if lane.push(detection, chunk, &mut judge, &mut out) == Flow::Blocked {
            return (out, Flow::Blocked);
        }
    }
    let flow = lane.finish(detection, &mut judge, &mut out);
    (out, flow)
}

/// A whole text with everything replaced that is found in it.
pub(super) fn redacted(text: &str) -> String {
    redacted_in(Mode::Label, text)
}

fn redacted_in(mode: Mode, text: &str) -> String {
    redacted_with(&PLATFORM, mode, text)
}

pub(super) fn redacted_with(detection: &Detection, mode: Mode, text: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    let found = scan_with(detection, text).into_iter();
    let found: Vec<(Found, Mode)> = found
        .map(|found| {
            let mode = detection.mode(found.rule, mode);
            (found, mode)
        })
        .collect();
    for region in regions::all(detection, &found) {
        out.push_str(text.get(at..region.span.start).unwrap());
        let value = text.get(region.span.clone()).unwrap().as_bytes();
        let detector = detection.detector(region.rule).map(AsRef::as_ref);
        out.push_str(&replacement::of(&KEY, detector, region.mode, value));
        at = region.span.end;
    }
    out + text.get(at..).unwrap()
}

/// Cuts a text at these places, moved to the next character.
pub(super) fn cut<'a>(text: &'a str, places: &[usize]) -> Vec<&'a str> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (text.len() + 1)).collect();
    places.sort_unstable();
    let mut chunks = Vec::new();
    let mut from = 0;
    for mut to in places {
        while !text.is_char_boundary(to) {
            to += 1;
        }
        if to >= from {
            chunks.push(text.get(from..to).unwrap());
            from = to;
        }
    }
    chunks.push(text.get(from..).unwrap());
    chunks
}

pub(super) fn examples() -> Vec<String> {
    let all = shipped().iter().flat_map(|rule| &rule.examples);
    let mut all: Vec<String> = all.cloned().collect();
    all.extend(
        [
            "4111 1111 1111 1111",
            "a@b.co",
            "-----BEGIN PRIVATE KEY-----\n",
            "é",
            " ",
            "\n",
            "word ",
            "12",
            "x@",
        ]
        .map(Into::into),
    );
    let run = "-----BEGIN RSA PRIVATE KEY-----\n".to_owned() + &"MIIEow/+ab0\n".repeat(3_000);
    all.push(run.clone() + "-----END RSA PRIVATE KEY-----");
    all.push(run);
    all.extend(super::shadow::disguised());
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_what_the_whole_gives(
        picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-z0-9@é.-]{0,12}"), 1..6),
        places in prop::collection::vec(any::<usize>(), 0..40),
        mode in prop::option::of(prop::sample::select(&Mode::ALL)),
        json in any::<bool>(),
    ) {
        let examples = examples();
        let text: String = picks.iter().map(|(pick, glue)| pick.get(&examples).clone() + glue).collect();
        let syntax = if json { Syntax::Json } else { Syntax::Plain };
        let action = mode.map_or(Action::Block, Action::Redact);
        let whole = through(&[&text], syntax, action);
        prop_assert_eq!(through(&cut(&text, &places), syntax, action), whole);
    }

    #[test]
    fn a_stream_redacts_what_a_whole_body_does(
        picks in prop::collection::vec(
            (any::<prop::sample::Index>(), "[ ,;a-z0-9@é.\\\\%&-]{0,12}", any::<bool>()), 1..5
        ),
        places in prop::collection::vec(any::<usize>(), 0..40),
        mode in prop::sample::select(&Mode::ALL),
    ) {
        let mut disguised = super::shadow::disguised();
        disguised.extend(shipped().iter().flat_map(|rule| rule.examples.clone()));
        // Long enough for everything before it to be let go of.
        let prose = " and then for a long while there was nothing to be said of 13 or any other number".repeat(8);
        let text: String = picks
            .iter()
            .map(|(pick, glue, is_long)| pick.get(&disguised).clone() + glue + if *is_long { &prose } else { "" })
            .collect();
        let streamed = through(&cut(&text, &places), Syntax::Plain, Action::Redact(mode)).0;
        prop_assert_eq!(&streamed, &redacted_in(mode, &text));
    }

    #[test]
    fn noise_of_disguises_survives_any_chunking(
        text in "(\\PC|[0-9 ]{1,4}|[%&\\\\][#xu0-9a-f;]{0,6}|[A-Za-z0-9+/]{1,30}={0,2}|\\u{200b}|[٠-٩]){0,60}",
        places in prop::collection::vec(any::<usize>(), 0..60),
    ) {
        let streamed = through(&cut(&text, &places), Syntax::Plain, LABEL).0;
        prop_assert_eq!(streamed, redacted(&text));
    }

    #[test]
    fn what_begins_again_and_again_survives_any_chunking(
        parts in prop::collection::vec(
            "(eyJhbGciOiJIUzI1NiJ9[.]){1,3}|-----BEGIN PRIVATE KEY-----|-----END [A-Z]{0,3}|[A-Za-z0-9._+/-]{1,40}|[ \\n]", 0..20
        ),
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let text = parts.concat();
        let whole = through(&[&text], Syntax::Plain, LABEL);
        prop_assert_eq!(&whole.0, &redacted(&text));
        prop_assert_eq!(through(&cut(&text, &places), Syntax::Plain, LABEL), whole);
    }

    #[test]
    fn noise_survives_any_chunking(text in "[ 0-9@.:a-zA-Z+/=_-]{0,400}", places in prop::collection::vec(any::<usize>(), 0..40)) {
        prop_assert_eq!(through(&cut(&text, &places), Syntax::Plain, LABEL), through(&[&text], Syntax::Plain, LABEL));
    }
}

#[test]
fn every_cut_of_every_example_gives_what_the_whole_gives() {
    for example in shipped().iter().flat_map(|rule| &rule.examples) {
        let text = format!("before {example} after");
        let whole = through(&[&text], Syntax::Plain, LABEL);
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (one, two) = text.split_at(at);
            assert_eq!(through(&[one, two], Syntax::Plain, LABEL), whole, "{example} cut at {at}");
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(through(&single, Syntax::Plain, LABEL), whole, "{example} by characters");
    }
}

#[test]
fn every_disguise_cut_into_characters_is_redacted_as_a_whole_is() {
    for text in super::shadow::disguised() {
        let text = format!("before {text} after");
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(through(&single, Syntax::Plain, LABEL).0, redacted(&text), "{text}");
    }
}

#[test]
fn what_begins_again_within_a_finding_is_a_part_of_it() {
    let headers = "eyJhbGciOiJIUzI1NiJ9.".repeat(5_000);
    let found = PLATFORM.scan_for(headers.as_bytes(), 0.5);
    assert!(found.len() <= headers.len() / (16 * 1024) + 1, "{}", found.len());
    assert_eq!(redacted(&format!("a {headers} b")).replace("[JWT]", ""), "a  b");
}

#[test]
fn a_key_goes_on_behind_what_nobody_sees() {
    let body = "MIIEow/+ab0\n".repeat(1_500);
    let text = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{body}\u{200b}{body}-----END RSA PRIVATE KEY----- and so on"
    );
    let whole = redacted(&text);
    let chunks: Vec<String> = text.chars().collect::<Vec<_>>().chunks(700).map(String::from_iter).collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    assert_eq!(through(&chunks, Syntax::Plain, LABEL).0, whole);
    assert!(whole.len() < 100, "{whole}");
}

#[test]
fn a_region_that_is_cut_leaves_its_open_candidates_where_they_are() {
    let heads = ("-----BEGIN PRIVATE KEY-----\n".to_owned() + &"a".repeat(6_000)).repeat(5);
    let text = heads + &"b".repeat(30_000) + " 4111 1111 1111 1111.";
    let whole = through(&[&text], Syntax::Plain, LABEL);
    let chunks: Vec<&str> =
        text.as_bytes().chunks(700).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
    assert_eq!(through(&chunks, Syntax::Plain, LABEL), whole);
    assert!(!whole.0.contains("4111"));
}

#[test]
fn clean_prose_waits_for_its_current_word_only() {
    let mut lane = Lane::new(Syntax::Plain, *KEY);
    let mut judge = |_: &mut Found, _: &str| LABEL;
    let prose =
        "The quick brown fox jumps over 13 lazy dogs, said e.g. a spokesperson; nothing else happened. ";
    let (mut pushed, mut out) = (String::new(), String::new());
    for character in prose.chars() {
        pushed.push(character);
        lane.push(&PLATFORM, character.encode_utf8(&mut [0; 4]), &mut judge, &mut out);
        let held = pushed.len() - out.len();
        let word = pushed.len() - pushed.rfind(' ').map_or(0, |space| space + 1);
        // A number waits for the word behind it, which may turn out to encode more of it.
        let number = if pushed.trim_end_matches(|end| end != ' ').ends_with("13 ") { 3 } else { 0 };
        assert!(held <= word + number, "held {held} of {pushed:?}");
    }
}

#[test]
fn tool_arguments_stay_json() {
    let cases = [
        (r#"{"card": 4111111111111111, "n": 1}"#, r#"{"card": "[CREDIT_CARD]", "n": 1}"#),
        (r#"{"card": "4111 1111 1111 1111"}"#, r#"{"card": "[CREDIT_CARD]"}"#),
        (r#"{"note": "a\n4111111111111111\\"}"#, r#"{"note": "a\n[CREDIT_CARD]\\"}"#),
    ];
    for (text, expected) in cases {
        let (out, _) = through(&[text], Syntax::Json, LABEL);
        assert_eq!(out, expected);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
    }
}

/// Numbers, and what is written in tags: with it they are read in two ways at once.
static NUMBERS_AND_TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut all = super::shadow::disguised();
    all.retain(|text| text.chars().any(|character| ('\u{e0020}'..'\u{e007f}').contains(&character)));
    let examples = shipped().iter().flat_map(|rule| rule.examples.clone());
    let is_number = |text: &String| text.len() < 40 && text.bytes().filter(u8::is_ascii_digit).count() > 6;
    all.extend(examples.filter(is_number));
    all
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn numbers_and_tags_survive_any_chunking(
        picks in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                "[ ,;a-z0-9@é.\\\\%&-]{0,12}|[\u{e0030}\u{e0031}\u{e0041}]{1,5}|mobile \u{e0030}",
                prop::bool::weighted(0.1),
            ),
            1..6
        ),
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let prose = " and then for a long while there was nothing to be said of 13 or any other number".repeat(8);
        let text: String = picks
            .iter()
            .map(|(pick, glue, is_long)| {
                pick.get(&NUMBERS_AND_TAGS).clone() + glue + if *is_long { &prose } else { "" }
            })
            .collect();
        let streamed = through(&cut(&text, &places), Syntax::Plain, LABEL).0;
        prop_assert_eq!(&streamed, &redacted(&text));
    }
}

#[test]
fn what_is_under_way_in_a_disguise_is_not_let_go_of() {
    let long = "nothing is to be seen here but words, ".repeat(8);
    let tags = |text: &str| -> String {
        text.bytes().filter_map(|byte| char::from_u32(0xe_0000 + u32::from(byte))).collect()
    };
    let lines = "cGFzc3BvcnQgb2YgdGhlIHRyYXZlbGxlciA0MTEx\nMTExMTExMTExMTEx now";
    for text in [
        format!("{}{long}client ip {} it was", tags("AA0A"), tags("8.8.4.4")),
        format!("{}{long}{lines}", tags("AA0A")),
        r"运 DE 1\bDE 136695976 %".to_owned(),
        r"\bDE 136 695 976 %".to_owned(),
    ] {
        let whole = redacted(&text);
        assert_ne!(whole, text);
        for (at, _) in text.char_indices() {
            let (one, two) = text.split_at(at);
            assert_eq!(through(&[one, two], Syntax::Plain, LABEL).0, whole, "{one:?} | {two:?}");
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(through(&single, Syntax::Plain, LABEL).0, whole);
    }
}

/// A text as a string of JSON, whose writer escapes what must be, and of the rest what `also` says.
fn as_json(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        let mut units = [0; 2];
        match character {
            _ if also(character) => {
                for unit in character.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}").unwrap();
                }
            }
            '\u{8}' => out += r"\b",
            '\u{c}' => out += r"\f",
            '\n' => out += r"\n",
            '\r' => out += r"\r",
            '\t' => out += r"\t",
            '"' | '\\' => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
    out + "\""
}

/// Values, and what stands between them: much of it is an escape in JSON.
const VALUES: &[&str] = &[
    "jane.doe@corp.example.org",
    "nina.u00e9f@corp.example.org",
    "4111 1111 1111 1111",
    "4111111111111111",
    "DE89 3704 0044 0532 0130 00",
    "AKIA0J063O1BW72GHW8G",
    "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",
    "ssn 536-90-4399",
];
const GLUE: &str = "[\n\r\t\u{c}\"\\\\ ,;é🦀]{1,3}|[ ,] ?(un|b|f)";

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_of_redacted_arguments_is_what_was_to_be_read_redacted(
        picks in prop::collection::vec((prop::sample::select(VALUES), GLUE), 1..6),
        first in GLUE,
        places in prop::collection::vec(any::<usize>(), 0..40),
        mode in prop::sample::select(&Mode::ALL),
        escapes in 0..3,
    ) {
        let text = first + &picks.iter().map(|(value, glue)| (*value).to_owned() + glue).collect::<String>();
        let also = |character: char| match escapes {
            0 => false,
            1 => !character.is_ascii() || character.is_ascii_control(),
            _ => !character.is_ascii() || character == '"',
        };
        let arguments = format!("{{\"a\": {}}}", as_json(&text, also));
        // An escape is longer than its character, and a word may be too far away for it; then a number is of one kind less,
        // and there is a synthetic value for it.
        let kinds = |text: &str| -> BTreeSet<(String, String)> {
            let found = PLATFORM.scan_for(text.as_bytes(), 0.5).into_iter();
            let kind = |rule| PLATFORM.detector(rule).unwrap().entity.to_string();
            found.map(|found| (kind(found.rule), text.get(found.span).unwrap().to_owned())).collect()
        };
        prop_assume!(mode != Mode::Synthetic || kinds(&text) == kinds(&arguments));
        let action = Action::Redact(mode);
        let (streamed, _) = through(&cut(&arguments, &places), Syntax::Json, action);
        prop_assert_eq!(&streamed, &through(&[&arguments], Syntax::Json, action).0);
        let read: Result<serde_json::Value, _> = serde_json::from_str(&streamed);
        prop_assert!(read.is_ok(), "{} of {}", streamed, arguments);
        let read = read.unwrap()["a"].as_str().unwrap().to_owned();
        prop_assert_eq!(read, redacted_in(mode, &text), "{}", arguments);
    }
}
