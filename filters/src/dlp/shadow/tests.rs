//! What holds for disguises of all rules' examples: they are found, at whole characters, and nothing else is.

use super::super::scanner::Wanted;
use super::super::tests::{PLATFORM, found_by, redacted, scan, shipped};
use super::super::{Found, rules};
use super::{SHADOW_GAP, Shadow, need};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::ops::Range;

/// A way to disguise a value; `None`: it would say the same.
type Disguise = fn(&str) -> Option<String>;

/// Each kind with the share of examples that must be found.
const KINDS: &[(&str, f64, Disguise)] = &[
    ("full width", 0.95, |value| each(value, |character| shifted(character, '!'..='~', '！'))),
    ("Arabic-Indic digits", 0.95, |value| each(value, |character| shifted(character, '0'..='9', '٠'))),
    ("Devanagari digits", 0.95, |value| each(value, |character| shifted(character, '0'..='9', '०'))),
    ("mathematical digits", 0.95, |value| each(value, |character| shifted(character, '0'..='9', '𝟎'))),
    ("zero-width space between", 0.95, |value| between(value, '\u{200b}')),
    ("soft hyphen between", 0.95, |value| between(value, '\u{ad}')),
    ("variation selectors between", 0.95, |value| between(value, '\u{fe0f}')),
    ("percent", 0.95, |value| bytes(value, |byte, out| write!(out, "%{byte:02X}"))),
    ("percent, twice", 0.95, |value| bytes(value, |byte, out| write!(out, "%25{byte:02x}"))),
    ("HTML references", 0.95, |value| bytes(value, |byte, out| write!(out, "&#{byte};"))),
    ("HTML references, hex", 0.95, |value| bytes(value, |byte, out| write!(out, "&#x{byte:x};"))),
    (r"\u", 0.95, |value| bytes(value, |byte, out| write!(out, "\\u{byte:04x}"))),
    (r"\x", 0.95, |value| bytes(value, |byte, out| write!(out, "\\x{byte:02x}"))),
    (r"\\u in JSON in JSON", 0.95, |value| bytes(value, |byte, out| write!(out, "\\\\u{byte:04X}"))),
    ("base64", 0.90, |value| long(value).map(|value| STANDARD.encode(value))),
    ("base64url", 0.90, |value| long(value).map(|value| URL_SAFE_NO_PAD.encode(value))),
    ("base64, twice", 0.90, |value| long(value).map(|value| STANDARD.encode(STANDARD.encode(value)))),
    ("hex", 0.90, |value| bytes(long(value)?, |byte, out| write!(out, "{byte:02x}"))),
    ("base64 in lines", 0.90, |value| {
        let text = format!("{value} {value}");
        Some(lines(&STANDARD.encode(long(&text)?), 64, "\n"))
    }),
    ("base64 in indented lines of a mail", 0.90, |value| {
        let text = format!("{value} {value}");
        Some(lines(&STANDARD.encode(long(&text)?), 24, "\r\n  "))
    }),
    ("tags", 0.95, |value| each(value, |character| shifted(character, ' '..='~', '\u{e0020}'))),
    ("tags between", 0.95, |value| between(value, '\u{e0041}')),
    ("control characters between", 0.95, |value| between(value, '\u{1}')),
    ("quoted-printable", 0.95, |value| bytes(value, |byte, out| write!(out, "={byte:02X}"))),
    ("look-alikes", 0.80, |value| each(value, look_alike)),
];

/// A value that is long enough to be hidden in a run: a shorter one would make every word suspect.
fn long(value: &str) -> Option<&str> {
    (value.len() >= 7).then_some(value)
}

fn each(value: &str, change: impl Fn(char) -> char) -> Option<String> {
    let disguised: String = value.chars().map(change).collect();
    (disguised != value).then_some(disguised)
}

fn shifted(character: char, from: std::ops::RangeInclusive<char>, to: char) -> char {
    let offset = u32::from(character).wrapping_sub(u32::from(*from.start()));
    if from.contains(&character) { char::from_u32(u32::from(to) + offset).unwrap() } else { character }
}

fn between(value: &str, mark: char) -> Option<String> {
    let disguised: String = value.chars().flat_map(|character| [mark, character]).skip(1).collect();
    (disguised != value).then_some(disguised)
}

fn bytes(value: &str, write: fn(u8, &mut String) -> std::fmt::Result) -> Option<String> {
    let mut out = String::new();
    value.bytes().for_each(|byte| write(byte, &mut out).unwrap());
    (out != value).then_some(out)
}

/// A text broken into lines.
fn lines(text: &str, width: usize, end: &str) -> String {
    let lines = text.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap());
    lines.collect::<Vec<_>>().join(end)
}

fn look_alike(character: char) -> char {
    const LATIN: &str = "ABCEHIJKMOPSTXYaceijopsxyhdqwvgn";
    const OTHER: &str = "АВСЕНІЈКМОРЅТХҮасеіјорѕхуһԁԛԝѵɡո";
    LATIN
        .chars()
        .zip(OTHER.chars())
        .find(|(latin, _)| *latin == character)
        .map_or(character, |(_, other)| other)
}

/// Each example of each rule, in front of the value, the value, and behind it.
fn examples() -> impl Iterator<Item = (&'static rules::RuleDocument, [&'static str; 3])> {
    let all = shipped().iter().flat_map(|rule| rule.examples.iter().map(move |text| (rule, text)));
    all.filter_map(|(rule, text)| {
        let span = found_by(rule, text).first()?.span.clone();
        let (before, rest) = text.split_at(span.start);
        let (value, after) = rest.split_at(span.len());
        Some((rule, [before, value, after]))
    })
}

/// Examples in all disguises: a different one of the rules' for each.
pub(in crate::dlp) fn disguised() -> Vec<String> {
    let all: Vec<_> = examples().collect();
    let kinds = KINDS.iter().enumerate();
    let some = kinds.flat_map(|(number, (.., disguise))| {
        all.iter().skip(number).step_by(KINDS.len()).filter_map(move |(_, [before, value, after])| {
            Some(format!("{before}{}{after}", disguise(value)?))
        })
    });
    some.collect()
}

#[test]
fn disguised_values_are_found() {
    let mut report = String::new();
    let mut wrong = Vec::new();
    for (kind, least, disguise) in KINDS {
        let (mut found, mut all) = (0, 0);
        for (rule, [before, value, after]) in examples() {
            let Some(disguised) = disguise(value) else { continue };
            let text = format!("{before}{disguised}{after}");
            all += 1;
            found += u32::from(covers(rule, &text, before.len()..before.len() + disguised.len()));
        }
        let share = f64::from(found) / f64::from(all);
        writeln!(report, "{share:.3} of {all:4} {kind}").unwrap();
        if share < *least {
            wrong.push(*kind);
        }
    }
    println!("{report}");
    assert!(wrong.is_empty(), "{wrong:?} of\n{report}");
}

/// Whether a rule finds something in a part of a text; every finding lies on whole characters.
fn covers(rule: &rules::RuleDocument, text: &str, part: Range<usize>) -> bool {
    let found = scan(text);
    for found in &found {
        let is_whole = text.is_char_boundary(found.span.start) && text.is_char_boundary(found.span.end);
        assert!(is_whole && found.span.end <= text.len(), "{:?} of {text}", found.span);
    }
    let id = |found: &Found| &*PLATFORM.detector(found.rule).unwrap().id;
    found
        .iter()
        .any(|found| id(found) == rule.id && found.span.start < part.end && part.start < found.span.end)
}

#[test]
fn prose_and_code_have_no_more_findings_for_their_shadows() {
    let sources = [
        include_str!("mod.rs"),
        include_str!("fold.rs"),
        include_str!("escapes.rs"),
        include_str!("runs.rs"),
        include_str!("../projection.rs"),
        include_str!("../../json.rs"),
        include_str!("../../../../README.md"),
        include_str!("../../../../docs/architecture.md"),
        include_str!("../../../../docs/configuration.md"),
        include_str!("../../../../docs/operations.md"),
        include_str!("../../../../Cargo.lock"),
    ];
    let prose = "Die Größe „des Hauſes“ – ungefähr 1 200 m² – überrascht; ½ l Wasser kostet 3 €…\n\
        Вчора о 17:30 Україна, Київ: ціна 1 250 ₴. الرقم ٤٢ في الصفحة ١٢٣. 数字 １２３、第４版。 ١٢٬٣٤٥\n\
        https://example.com/a%20b?q=caf%C3%A9&lang=fr#x \\frac{1}{2} C:\\new\\table &nbsp;&copy; \\d{3}\n\
        data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\n";
    for text in sources.into_iter().chain([prose]) {
        let whole = std::slice::from_ref(&(0..text.len())).to_vec();
        let wanted = Wanted { threshold: 0.0, counts: &|_, _| true, most: usize::MAX };
        let plain = PLATFORM.scan_as_written(text.as_bytes(), &whole, &whole, &wanted).unwrap();
        let counts = |found: &Found| found.confidence >= 0.5;
        let more: Vec<_> = PLATFORM
            .scan(text.as_bytes())
            .into_iter()
            .filter(|one| counts(one) && !plain.contains(one))
            .collect();
        let more: Vec<_> = more
            .iter()
            .map(|one| {
                (text.get(one.span.clone()).unwrap(), PLATFORM.detector(one.rule).unwrap().label.clone())
            })
            .collect();
        assert_eq!(more, []);
    }
}

#[test]
fn a_redacted_disguise_scans_clean() {
    for (kind, _, disguise) in KINDS {
        for (_, [before, value, after]) in examples() {
            let Some(disguised) = disguise(value) else { continue };
            let once = redacted(&format!("{before}{disguised}{after}"));
            assert_eq!(redacted(&once), once, "{kind} of {before}{value}{after}");
        }
    }
}

/// What shadows are made of, and what only looks like it.
const PIECES: &[&str] = &[
    "card ",
    "4539 5787 6362 1486",
    "NDUzOTU3ODc2MzYyMTQ4Ng==",
    "NDUzOTU3ODc2MzYyMTQ4NiBhbmQgbW9yZSBvZiBpdC4g",
    "\n",
    "\r\n  ",
    r"\n",
    r"\u0034",
    "%34",
    "%2534",
    "&#52;",
    "=34=35=33",
    "=C3=BC=41",
    "=\r\n",
    "=",
    "34353339353738373633",
    "\u{e0034}\u{e0035}",
    "\u{e0061}\u{e0062}\u{e0063}\u{e0064}",
    "\u{200b}",
    "\u{1}",
    "\u{1b}",
    "４",
    "а",
    "é",
    "x",
    "-----",
    "\u{e0001}",
    "🏴",
    r"\\",
];

/// What many texts hold that only begins like a disguise.
const PLAIN: &[&str] = &[
    "words that say nothing ",
    "fn mean(samples: &[f64]) && !done ",
    "100 % of 12,345,678.50 ",
    r"C:\Program Files\x ",
    "R&D &copy ",
    "größe 数字 Їжак ",
    "2026-11-25T09:30:00Z ",
    "12345678901",
    "internationalization",
];

/// The text of a shadow, with the bytes of the text that each of its own comes from.
fn mapped(shadow: &Shadow) -> Vec<(u8, Range<usize>)> {
    let spans = (0..shadow.text.len()).map(|at| shadow.span_of(&(at..at + 1)));
    shadow.text.iter().copied().zip(spans).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_shadow_maps_to_whole_characters_in_their_order(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
    ) {
        let text = pieces.concat();
        for shadow in Shadow::all_of(text.as_bytes()) {
            let mut last = 0..0;
            for (byte, span) in mapped(&shadow) {
                prop_assert!(last.start <= span.start && last.end <= span.end, "{last:?} before {span:?}");
                prop_assert!(span.start < span.end && span.end <= text.len(), "{span:?}");
                if byte.is_ascii() {
                    prop_assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
                }
                last = span;
            }
        }
    }

    #[test]
    fn a_text_that_needs_no_shadow_has_none(
        parts in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![
                    prop::sample::select(PIECES).prop_map(str::to_owned),
                    prop::sample::select(PLAIN).prop_map(str::to_owned),
                    "[ -~]{0,70}",
                    ".{0,3}",
                ],
                0..6,
            ),
            1..4,
        ),
    ) {
        let parts: Vec<Vec<u8>> = parts.iter().map(|pieces| pieces.concat().into_bytes()).collect();
        let has_shadow = parts.iter().any(|part| Shadow::all_of(part).next().is_some());
        let is_needed = need::is_needed(&parts.join(&SHADOW_GAP));
        prop_assert!(is_needed || !has_shadow);
    }

    #[test]
    fn a_shadow_is_the_same_however_its_text_was_cut(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text = pieces.concat();
        let bytes = text.as_bytes();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.retain(|end| text.is_char_boundary(*end));
        ends.sort_unstable();
        let (mut folded, mut decoded) = (Shadow::default(), None);
        for (end, complete) in ends.into_iter().map(|end| (end, false)).chain([(bytes.len(), true)]) {
            folded.read(&bytes[..end], complete);
            decoded = decoded.or_else(|| folded.decoded.take());
            if let Some(decoded) = &mut decoded {
                decoded.read(&bytes[..end], complete);
            }
        }
        let whole: Vec<_> = Shadow::all_of(bytes).map(|shadow| mapped(&shadow)).collect();
        let cut: Vec<_> = [Some(folded).filter(Shadow::differs), decoded.map(|decoded| *decoded)]
            .iter()
            .flatten()
            .map(mapped)
            .collect();
        prop_assert_eq!(cut, whole);
    }
}
