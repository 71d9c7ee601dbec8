//! Is a conversation that is sent again judged as if it never was? With what is remembered of it, and without.

use crate::house::organisation;
use crate::keys::key;
use crate::memory::{policy, visitor};
use bytes::Bytes;
use palisade_filters::quota::Receipt;
use palisade_filters::{self as filters, Memory, Outlook, Policy, Surface, Visitor};
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

fn policy_of(more: &str) -> Policy {
    let platform = "[[providers]]\nname = \"p\"\nbase_url = \"https://p.example\"\nmodels = [\"*\"]\n";
    let [acme, globex] = [organisation("acme", more).1, organisation("globex", "").1];
    policy(platform, &[&acme, &globex])
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| policy_of(""));

fn memory() -> Memory {
    Memory::new([1; 16], 1 << 20)
}

/// What leaves, and of how many findings how many are known from before.
fn cleared(visitor: &Visitor, memory: &Memory, texts: &[String]) -> (Bytes, usize, usize) {
    let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
    let body = json!({"model": "m", "messages": messages}).to_string();
    let prompt = filters::read(visitor, Surface::ChatCompletions, Bytes::from(body)).unwrap();
    let cleared = filters::clear(visitor, memory, prompt).unwrap();
    let repeated = cleared.findings().iter().filter(|finding| finding.is_repeated).count();
    let application = filters::apply(visitor, &cleared).unwrap();
    let receipt = Receipt { ask: application.ask().clone(), ..Receipt::default() };
    let admission = filters::admit(application, Ok(receipt), &Outlook::default()).unwrap();
    let target = admission.itinerary.targets.first().unwrap();
    (cleared.for_target(target), cleared.findings().len(), repeated)
}

fn long(value: &str) -> String {
    format!("{}{value}{}", "all is well, and ".repeat(60), " and so on".repeat(60))
}

#[test]
fn a_long_text_is_known_to_its_own_caller_under_its_own_rules_only() {
    let acme = visitor(&POLICY, &key("acme").secret);
    let texts = [long("4111 1111 1111 1111"), "5555 5555 5555 4444".into()];
    let memory = memory();
    let first = cleared(&acme, &memory, &texts);
    assert_eq!((first.1, first.2), (2, 0));
    assert_eq!(cleared(&acme, &memory, &texts), (first.0.clone(), 2, 1), "the short one is scanned again");
    assert!(String::from_utf8_lossy(&first.0).contains("[CREDIT_CARD]"));
    let globex = visitor(&POLICY, &key("globex").secret);
    assert_eq!(cleared(&globex, &memory, &texts), (first.0.clone(), 2, 0), "another caller's");
    let stricter = policy_of("dlp = { threshold = 0.9 }");
    let acme = visitor(&stricter, &key("acme").secret);
    assert_eq!(cleared(&acme, &memory, &texts), (first.0, 2, 0), "other rules");
    memory.set_bytes_max(0);
    assert_eq!(cleared(&acme, &memory, &texts).2, 0, "nothing is to be remembered");
}

#[test]
fn a_disguised_value_is_scanned_again() {
    let acme = visitor(&POLICY, &key("acme").secret);
    let (memory, texts) = (memory(), [long("４１１１ １１１１ １１１１ １１１１")]);
    let first = cleared(&acme, &memory, &texts);
    assert_eq!((first.1, first.2), (1, 0));
    assert_eq!(cleared(&acme, &memory, &texts), first);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn with_memory_leaves_what_leaves_without(
        picks in prop::collection::vec((0..8_usize, any::<bool>(), "[ a-z0-9é-]{0,20}"), 1..12),
        turns in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let values = [
            "4111 1111 1111 1111", "a.person@example.com", "-----BEGIN PRIVATE KEY-----\nMIIEow", "my ssn 536-90-4399",
            "password: hunter2hunter2", "aWJhbiBERTg5MzcwNDAwNDQwNTMyMDEzMDAw", "x", "",
        ];
        let texts: Vec<String> = picks.iter().map(|(value, is_long, glue)| {
            let text = format!("{glue}{}{glue}", values[*value]);
            if *is_long { long(&text) } else { text }
        }).collect();
        let acme = visitor(&POLICY, &key("acme").secret);
        let shared = memory();
        for turn in turns {
            let told = &texts[..=turn.index(texts.len())];
            let (sent, found, _) = cleared(&acme, &shared, told);
            let anew = cleared(&acme, &memory(), told);
            prop_assert_eq!((sent, found, 0), anew);
        }
    }
}
