//! What holds for an organisation's own detectors: any chunking equal to the whole, and nothing of the platform's lost.

use super::super::lane::{Action, Syntax};
use super::super::matcher::View;
use super::super::replacement::Mode;
use super::super::rules::{Anchor, Rule};
use super::super::scanner::Wanted;
use super::super::tests::{
    KEY, LABEL, PLATFORM, cut, examples, redacted_with, scan_with, shipped, through_with,
};
use super::super::{Detection, Found, Own, Scanner, proof, rules};
use super::unanchored::{Unanchored, UnanchoredReading};
use crate::credint::Intelligence;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

/// Rules of every kind of anchor, some of which lie over what the platform looks for.
const RULES: &str = r#"
[[rule]]
id = "own.employee_number"
entity = "EMPLOYEE_NUMBER"
category = "identity"
title = "Employee number"
why = "it opens the door"
severity = "medium"
anchor = { literals = ["EMP-"] }
pattern = 'EMP-[0-9]{6}'
confidence = { base = 0.9 }
width_bytes_max = 10
examples = ["ask EMP-204518 about it"]
counterexamples = ["EMP-20451", "XEMP-204518"]
references = []

[[rule]]
id = "own.account"
entity = "ACCOUNT"
category = "payment"
title = "Any long number"
why = "it lies over card numbers"
severity = "high"
anchor = { digits = 8 }
pattern = '[0-9]{4}[0-9 ]{4,60}'
boundary = { left = "", right = "" }
confidence = { base = 1.0 }
width_bytes_max = 64
examples = ["12345678"]
counterexamples = ["1234567"]
references = []

[[rule]]
id = "own.address"
entity = "STAFF_ADDRESS"
category = "contact"
title = "Any address, with what stands behind it"
why = "it lies over e-mail addresses"
severity = "low"
anchor = { at_sign = true }
pattern = '[a-z0-9.]{1,40}@[a-z.]{1,40}( and [a-z]{1,20})?'
confidence = { base = 0.4, context = 0.4 }
context = { words = ["staff"], before_bytes = 40, after_bytes = 20 }
width_bytes_max = 106
examples = ["staff: jo@example.com"]
counterexamples = ["jo@example.com"]
references = []

[[rule]]
id = "own.dump"
entity = "DUMP"
category = "business"
title = "A dump, from its mark to its end"
why = "it has no end of its own"
severity = "high"
anchor = { literals = ["DUMP:"] }
pattern = 'DUMP:[a-z]{1,8}'
continues = { class = "a-z0-9 ", until = "-----END DUMP" }
confidence = { base = 0.9 }
width_bytes_max = 13
examples = ["DUMP:abc def 123"]
counterexamples = ["dump of abc"]
references = []

[[rule]]
id = "own.project"
entity = "PROJECT"
category = "business"
title = "A project's name"
why = "nobody is to know"
severity = "medium"
anchor = { literals = ["lighthouse"] }
pattern = '(?i)lighthouse(-[a-z]{2,12})?'
confidence = { base = 0.6 }
width_bytes_max = 23
examples = ["project Lighthouse-north"]
counterexamples = ["greenhouse"]
references = []
"#;

/// Rules that nothing anchors.
const UNANCHORED: &str = r#"
[[rule]]
id = "own.plate"
entity = "PLATE"
category = "identity"
title = "Number plate"
why = "it tells whose car it is"
severity = "low"
pattern = '[A-Z]{1,3}-[A-Z]{1,2} [0-9]{1,4}'
confidence = { base = 0.6 }
width_bytes_max = 11
examples = ["the car M-AB 1234 was seen"]
counterexamples = ["M-AB", "M-AB 12345", "XM-ab 1234"]
references = []

[[rule]]
id = "own.host"
entity = "HOST"
category = "network"
title = "Machines within"
why = "a map of the network"
severity = "low"
pattern = '(?:[a-z]{2,8}\.){1,3}zz'
not_after = ["mail"]
boundary = { left = "A-Za-z0-9_", right = "A-Za-z0-9_-" }
confidence = { base = 0.4, context = 0.4 }
context = { words = ["host"], before_bytes = 30, after_bytes = 12 }
width_bytes_max = 29
examples = ["host build.north.zz"]
counterexamples = ["build.north.zz", "host build.north.zzz"]
references = []

[[rule]]
id = "own.code"
entity = "CODE"
category = "business"
title = "A code, within a text too"
why = "it opens the safe"
severity = "high"
pattern = '[A-F][0-9][A-F][0-9][A-F]{2}'
boundary = { left = "", right = "" }
confidence = { base = 0.9 }
width_bytes_max = 6
examples = ["xA1B2CDx"]
counterexamples = ["A1B2C3"]
references = []
"#;

fn load(text: &str) -> Vec<rules::RuleDocument> {
    #[derive(serde::Deserialize)]
    struct File {
        rule: Vec<rules::RuleDocument>,
    }
    toml::from_str::<File>(text).unwrap().rule
}

/// Puts rules together as they are, whatever they would look for in ordinary texts.
fn assemble(anchored: Vec<rules::RuleDocument>, unanchored: Vec<rules::RuleDocument>) -> Detection {
    let anchored = anchored.into_iter().map(|rule| Rule::compile(rule).unwrap()).collect();
    let unanchored = unanchored.into_iter().map(|rule| Rule::compile_unanchored(rule).unwrap()).collect();
    let own = Own::assemble(anchored, unanchored).unwrap();
    Detection::new(PLATFORM.platform().clone(), Some(Arc::new(own)))
}

/// Rules that fit both ways: once anchored by what their patterns begin with, once not.
static BOTH: LazyLock<[Detection; 2]> = LazyLock::new(|| {
    let mut anchored: Vec<_> = load(RULES)
        .into_iter()
        .filter(|rule| ["own.employee_number", "own.project"].contains(&&*rule.id))
        .collect();
    for (id, pattern) in [("own.number", "[0-9]{7}(?:-[0-9])?"), ("own.id", "[A-Z]{2}[0-9]{5,9}")] {
        let like = anchored[0].clone();
        let (id, pattern) = (id.to_owned(), pattern.to_owned());
        anchored.push(rules::RuleDocument { id, pattern, width_bytes_max: 12, ..like });
    }
    for rule in &mut anchored {
        rule.anchor = Anchor::default();
        rule.anchor = super::leading::anchor(rule).unwrap();
    }
    let mut without = anchored.clone();
    for rule in &mut without {
        rule.anchor = Anchor::default();
    }
    [assemble(anchored, Vec::new()), assemble(Vec::new(), without)]
});

static OWN: LazyLock<Detection> = LazyLock::new(|| assemble(load(RULES), load(UNANCHORED)));

fn texts() -> Vec<String> {
    let mut texts = examples();
    let own = [load(RULES), load(UNANCHORED)].concat();
    texts.extend(own.iter().flat_map(|rule| rule.examples.clone()));
    texts.extend(own.iter().flat_map(|rule| rule.counterexamples.clone()));
    texts.extend(
        [
            "staff ",
            " and jane",
            "EMP-",
            "DUMP:x -----END DUMP",
            "ＥＭＰ－２０４５１８",
            "EMP%2D204518",
            "RU1QLTIwNDUxOCBpcyBtaW5l",
            "card 4111 1111 1111 1111 EMP-204518",
            "Lighthouse-4111111111111111",
            "Ｍ-AB 1234",
            "\\nM-AB 12",
            "A1B2CDA1B2CDA1B2CD",
            "host: mail.north.zz, a.bb.cc.zz",
        ]
        .map(Into::into),
    );
    texts
}

#[test]
fn own_rules_prove_themselves_beside_those_of_the_platform() {
    let documents = [load(RULES), load(UNANCHORED)].concat();
    let wrong = proof::prove(&OWN, &documents, &Intelligence::default(), 0.5);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(OWN.detectors().count(), shipped().len() + documents.len());
}

#[test]
fn a_value_in_disguise_is_found_by_own_rules_too() {
    for text in ["ＥＭＰ－２０４５１８", "EMP&#45;204518", "EMP-2045\u{200b}18", "RU1QLTIwNDUxOCBpcyBtaW5l"]
    {
        let found = scan_with(&OWN, &format!("ask {text} now"));
        let ids: Vec<_> = found.iter().map(|found| &*OWN.detector(found.rule).unwrap().id).collect();
        assert_eq!(ids, ["own.employee_number"], "{text}");
    }
}

/// Patterns of rules without an anchor, and what may not follow them.
const WITHOUT: [(&str, &str); 7] = [
    ("[A-Z]{1,3}-[A-Z]{1,2} [0-9]{1,4}", "A-Za-z0-9_"),
    ("[A-F][0-9][A-F][0-9][A-F]{2}", ""),
    ("[a-z]{2,8}\\.(?:north|south)\\.zz", "A-Za-z0-9_"),
    ("(?:[A-Z]{2}[0-9]{3}|q[0-9]{1,3}-)x?", "-"),
    ("(?:[0-9]{1,2}[A-C]){2,4}", ""),
    ("[a-z]{0,12}-[0-9]{4,6}", "A-Za-z0-9_"),
    (".{0,3}0[4-9]-[A-Z]", ""),
];

/// What own rules find, by their ids.
fn found_by_own(detection: &Detection, text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    let own = |found: &Found| detection.is_own(found.rule);
    let found = detection.scan(text.as_bytes()).into_iter().filter(own);
    let mut found: Vec<_> =
        found.map(|found| (detection.detector(found.rule).unwrap().id.to_string(), found.span)).collect();
    found.sort_by_key(|(id, span)| (span.start, span.end, id.clone()));
    found
}

#[test]
fn a_rule_without_an_anchor_is_found_behind_an_escape_and_at_either_end() {
    for (text, expected) in [
        ("M-AB 1234", vec!["own.plate"]),
        (r"seen:\nM-AB 1234", vec!["own.plate"]),
        ("seen M-AB 12345 today", vec![]),
        ("xM-AB 1234", vec![]),
        ("A1B2CD3E4FAB", vec!["own.code", "own.code"]),
        ("host build.north.zz", vec!["own.host", "own.host"]),
        ("host mail-north.zz", vec![]),
    ] {
        let found: Vec<_> = found_by_own(&OWN, text).into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn ten_thousand_organisations_with_fifty_rules_each_take_less_than_a_gibibyte() {
    const ANCHORED: [&str; 9] = [
        "EMP7-[0-9]{6}",
        "(?i)project7 ?[a-z]{3,12}",
        "CUST7[A-Z]{2}[0-9]{4,8}",
        "inv7/[0-9]{2}/[0-9]{5}",
        "(?:alpha7|bravo7|charlie7)-[0-9a-f]{8}",
        "[0-9]{7,9}(?:-7)?",
        "[A-Z]{3}[0-9]{8}(?:X7)?",
        "tok7_[A-Za-z0-9]{24,40}",
        "case7#[A-Z0-9]{10}",
    ];
    let like = &load(RULES)[0];
    let rules = |count: usize, patterns: &[&str]| -> Vec<Rule> {
        let patterns = patterns.iter().cycle().take(count).enumerate();
        let rules = patterns.map(|(number, pattern)| {
            let (id, pattern) = (format!("own.rule_{number}"), (*pattern).to_owned());
            let mut rule = rules::RuleDocument { id, pattern, width_bytes_max: 80, ..like.clone() };
            rule.anchor = Anchor::default();
            rule.anchor = super::leading::anchor(&rule).unwrap_or_default();
            Rule::compile_unanchored(rule).unwrap()
        });
        rules.collect()
    };
    let (anchored, free) = (rules(45, &ANCHORED), rules(5, &["[A-Z]{1,3}-[A-Z]{1,2} 7[0-9]{1,4}"]));
    assert!(anchored.iter().all(|rule| !rule.document.anchor.is_none()));
    assert!(free.iter().all(|rule| rule.document.anchor.is_none()));
    let as_compiled = anchored.iter().map(|rule| rule.matcher.memory_bytes()).sum::<usize>() / 45;
    let own = Own::assemble(anchored, free).unwrap();
    let matchers = (0..45).map(|number| own.rules.matcher(number).unwrap().memory_bytes());
    let (of_rule, of_all) = (matchers.sum::<usize>() / 45, own.memory_bytes());
    assert!(of_rule <= 768 && of_rule * 4 < as_compiled, "{of_rule} bytes of a rule, {as_compiled} before");
    assert!(of_all <= 64 * 1024, "{of_all} bytes of an organisation");
    assert!(of_all * 10_000 < 1 << 30);
}

#[test]
fn prose_is_not_held_longer_for_rules_without_an_anchor() {
    let mut lane = super::super::lane::Lane::new(Syntax::Plain, *KEY);
    let mut judge = |_: &mut Found, _: &str| LABEL;
    let prose =
        "The quick brown fox jumps over the lazy dogs, said e.g. a spokesperson; nothing else happened. ";
    let (mut pushed, mut out) = (String::new(), String::new());
    for character in prose.chars() {
        pushed.push(character);
        lane.push(&OWN, character.encode_utf8(&mut [0; 4]), &mut judge, &mut out);
        let held = pushed.len() - out.len();
        let word = pushed.len() - pushed.rfind(' ').map_or(0, |space| space + 1);
        assert!(held <= word, "held {held} of {pushed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_what_the_whole_gives(
        picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-z0-9@é.\\\\%&-]{0,12}"), 1..6),
        places in prop::collection::vec(any::<usize>(), 0..40),
        block in any::<bool>(),
        json in any::<bool>(),
    ) {
        let texts = texts();
        let text: String = picks.iter().map(|(pick, glue)| pick.get(&texts).clone() + glue).collect();
        let syntax = if json { Syntax::Json } else { Syntax::Plain };
        let action = if block { Action::Block } else { LABEL };
        let whole = through_with(&OWN, &[&text], syntax, action);
        let streamed = through_with(&OWN, &cut(&text, &places), syntax, action);
        prop_assert_eq!(&streamed, &whole);
        if !block && !json {
            prop_assert_eq!(streamed.0, redacted_with(&OWN, Mode::Label, &text));
        }
    }

    #[test]
    fn what_the_platform_finds_is_found_whatever_else_is_looked_for(
        picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-z0-9@é.\\\\%&-]{0,12}"), 1..6),
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let texts = texts();
        let text: String = picks.iter().map(|(pick, glue)| pick.get(&texts).clone() + glue).collect();
        let platform = PLATFORM.scan(text.as_bytes());
        let mut with_own = OWN.scan(text.as_bytes());
        with_own.retain(|found| !OWN.is_own(found.rule));
        prop_assert_eq!(&with_own, &platform);
        let streamed = |detection: &Detection| {
            let (mut lane, mut found) = (super::super::lane::Lane::new(Syntax::Plain, *KEY), Vec::new());
            let mut judge = |one: &mut Found, value: &str| {
                if !detection.is_own(one.rule) {
                    found.push((one.rule, value.to_owned()));
                }
                Action::Pass
            };
            let mut out = String::new();
            for chunk in cut(&text, &places) {
                lane.push(detection, chunk, &mut judge, &mut out);
            }
            lane.finish(detection, &mut judge, &mut out);
            found.sort();
            found
        };
        prop_assert_eq!(streamed(&OWN), streamed(&PLATFORM));
    }

    #[test]
    fn a_rule_that_can_be_anchored_finds_the_same_without(
        picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-zA-Z0-9@é.\\\\%&-]{0,12}"), 1..6),
    ) {
        let texts = texts();
        let text: String = picks.iter().map(|(pick, glue)| pick.get(&texts).clone() + glue).collect();
        prop_assert_eq!(found_by_own(&BOTH[0], &text), found_by_own(&BOTH[1], &text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn where_rare_bytes_are_is_found_what_the_automaton_finds(
        picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-zA-Z0-9@é.\\\\%&-]{0,12}"), 1..40),
        patterns in prop::sample::subsequence(WITHOUT.to_vec(), 1..=WITHOUT.len()),
        times in 1..60usize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 6),
    ) {
        let like = load(UNANCHORED).remove(0);
        let rules = || patterns.iter().map(|(pattern, right)| {
            let mut rule = rules::RuleDocument { pattern: (*pattern).to_owned(), width_bytes_max: 40, ..like.clone() };
            rule.boundary.right = (*right).to_owned();
            let rule = Rule::compile_unanchored(rule).unwrap();
            (rule.document, rule.matcher)
        });
        let compile = || Unanchored::compile(rules().collect()).unwrap().unwrap();
        let (by_windows, by_automaton) = (compile(), compile().without_windows());
        prop_assert!(by_windows.windows().is_some() || Scanner::ways().len() == 1);
        let texts = texts();
        let part: String = picks.iter().map(|(pick, glue)| pick.get(&texts).clone() + glue).collect();
        let text = part.repeat(times);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let parts = [0..cuts[0], cuts[0]..cuts[2], cuts[4]..text.len()];
        let places = [cuts[1]..cuts[3], cuts[3]..cuts[5]];
        let wanted = Wanted { threshold: 0.0, counts: &|_, _| true, most: usize::MAX };
        let scan = |rules: &Unanchored, places: &[std::ops::Range<usize>]| {
            let mut found = rules.scan(text.as_bytes(), &parts, places, &wanted).unwrap();
            found.sort_by_key(Found::order);
            found
        };
        prop_assert_eq!(scan(&by_windows, &places), scan(&by_automaton, &places));
        // Places that cover all of a text find what is found in all of it at once, none of it twice.
        let everything = [0..cuts[1], cuts[1]..cuts[3], cuts[3]..text.len()];
        let whole = 0..text.len();
        prop_assert_eq!(scan(&by_windows, &everything), scan(&by_automaton, std::slice::from_ref(&whole)));
    }

    #[test]
    fn a_long_text_is_read_in_several_places_as_in_one(
        picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-zA-Z0-9@é.\\\\%&-]{0,12}"), 1..40),
        bytes in 2_000..30_000usize,
        step in 1..2_000usize,
    ) {
        let rules = load(UNANCHORED).into_iter().map(|rule| Rule::compile_unanchored(rule).unwrap());
        let rules = rules.map(|rule| (rule.document, rule.matcher)).collect();
        let rules = Unanchored::compile(rules).unwrap().unwrap();
        let texts = texts();
        let part: String = picks.iter().map(|(pick, glue)| pick.get(&texts).clone() + glue).collect();
        let text = part.repeat(bytes / part.len().max(1) + 1);
        let view = |end: usize, complete| View { text: &text.as_bytes()[..end], complete };
        let (mut at_once, mut whole) = (UnanchoredReading::default(), Vec::new());
        at_once.advance(&rules, view(text.len(), false), &mut whole);
        let (mut stepwise, mut stepped) = (UnanchoredReading::default(), Vec::new());
        for end in (0..text.len()).step_by(step).chain([text.len()]) {
            stepwise.advance(&rules, view(end, false), &mut stepped);
        }
        prop_assert_eq!(at_once.is_idle(), stepwise.is_idle());
        prop_assert_eq!(at_once.needed_from(), stepwise.needed_from());
        at_once.advance(&rules, view(text.len(), true), &mut whole);
        stepwise.advance(&rules, view(text.len(), true), &mut stepped);
        whole.sort_by_key(Found::order);
        stepped.sort_by_key(Found::order);
        prop_assert_eq!(whole, stepped);
    }
}
