//! What holds for an organisation's own detectors: any chunking equal to the whole, and nothing of the platform's lost.

use super::super::lane::{Action, Syntax};
use super::super::replacement::Mode;
use super::super::tests::{
    KEY, LABEL, PLATFORM, cut, examples, redacted_with, scan_with, shipped, through_with,
};
use super::super::{Detection, Own, proof, rules};
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

static OWN: LazyLock<Detection> = LazyLock::new(|| {
    let own = Own::new(rules::load(&[("own.toml", RULES)]).unwrap());
    Detection::new(PLATFORM.platform().clone(), Some(Arc::new(own)))
});

fn texts() -> Vec<String> {
    let mut texts = examples();
    let own = rules::load(&[("own.toml", RULES)]).unwrap();
    texts.extend(own.iter().flat_map(|rule| rule.document.examples.clone()));
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
        ]
        .map(Into::into),
    );
    texts
}

#[test]
fn own_rules_prove_themselves_beside_those_of_the_platform() {
    let own = rules::load(&[("own.toml", RULES)]).unwrap();
    let documents: Vec<_> = own.into_iter().map(|rule| rule.document).collect();
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
            let mut judge = |one: &mut super::super::Found, value: &str| {
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
}
