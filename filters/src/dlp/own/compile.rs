//! May an organisation publish these rules? Checked, measured against a fixed model of what texts look like, and tried.
//!
//! Nothing here asks a clock or the processor: the same rules are accepted or refused everywhere, and a refusal says
//! what to change.

use super::super::detection::Detection;
use super::super::detector::Detector;
use super::super::proof;
use super::super::replacement::{self, Key, Mode};
use super::super::rules::{Rule, RuleDocument, check_anchor};
use super::super::scanner::{Found, Scanner};
use super::unanchored::{self, Unanchored};
use super::{Own, background, leading};
use crate::credint::Intelligence;
use std::collections::HashSet;
use std::sync::Arc;

/// What the ids of an organisation's rules begin with, so that none passes for the platform's.
pub const NAMESPACE: &str = "own.";
/// Rules that an organisation may have.
const RULES_MAX: usize = 200;
/// A rule may have to look so often in a kibibyte of text that it is not meant for.
const HITS_MAX: f32 = 0.5;
/// And so often, if it finds nothing without a word of its context.
const HITS_IN_CONTEXT_MAX: f32 = 4.0;
/// All rules of an organisation together may look so often.
const HITS_IN_ALL_MAX: f32 = 10.0;
/// One rule's automaton may take this much memory,
const AUTOMATON_BYTES_MAX: usize = 64 * 1024;
/// and those of all this much.
const AUTOMATA_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Entries of a list in a rule, and bytes of one of them.
const ENTRIES_MAX: usize = 64;
const ENTRY_BYTES_MAX: usize = 2048;
/// Examples are found at this confidence.
const THRESHOLD: f32 = 0.5;

impl Own {
    /// Makes an organisation's rules ready to be used beside the platform's, or says which cannot be, and why.
    pub fn compile(documents: &[RuleDocument], platform: &Arc<Scanner>) -> Result<Arc<Self>, String> {
        if documents.len() > RULES_MAX {
            return Err(format!(
                "{} rules; an organisation has at most {RULES_MAX} of its own",
                documents.len()
            ));
        }
        let mut ids = HashSet::new();
        if let Some(twice) = documents.iter().find(|rule| !ids.insert(&rule.id)) {
            return Err(format!("two rules have the id `{}`; ids are unique", twice.id));
        }
        let (mut anchored, mut unanchored) = (Vec::new(), Vec::new());
        let (mut hits, mut automata_bytes) = (0.0, 0);
        for document in documents {
            let (rule, of_anchor) = prepare(document).map_err(|problem| of(document, problem))?;
            automata_bytes += rule.matcher.automaton_bytes();
            match of_anchor {
                Some(of_anchor) => {
                    hits += of_anchor;
                    anchored.push(rule);
                }
                None => unanchored.push(rule),
            }
        }
        if unanchored.len() > unanchored::RULES_MAX {
            return Err(format!(
                "{} rules have no `anchor`; an organisation has at most {} such rules: give others one, as \
                 `palisade rules check` explains",
                unanchored.len(),
                unanchored::RULES_MAX
            ));
        }
        if automata_bytes > AUTOMATA_BYTES_MAX {
            return Err(format!(
                "the patterns need automata of {automata_bytes} bytes together, and may take {AUTOMATA_BYTES_MAX}; \
                 shorten repetitions, or use fewer rules"
            ));
        }
        let documents: Vec<RuleDocument> =
            anchored.iter().chain(&unanchored).map(|rule| rule.document.clone()).collect();
        let own = Arc::new(Self::assemble(anchored, unanchored)?);
        if let Some(unanchored) = &own.unanchored {
            hits += check_unanchored(unanchored, &documents)?;
        }
        if hits > HITS_IN_ALL_MAX {
            return Err(format!(
                "the rules would look {hits:.1} times in a kibibyte of ordinary text, and may look {HITS_IN_ALL_MAX} \
                 times; anchor them by rarer texts"
            ));
        }
        try_out(&own, &documents, platform)?;
        Ok(own)
    }

    pub(super) fn assemble(anchored: Vec<Rule>, unanchored: Vec<Rule>) -> Result<Self, String> {
        let of_unanchored = unanchored.iter().map(|rule| Arc::new(Detector::of(&rule.document)));
        let mut detectors: Vec<_> = of_unanchored.collect();
        let parts = unanchored.into_iter().map(|rule| (rule.document, rule.matcher)).collect();
        let rules = Scanner::new(anchored).shrunk();
        detectors.splice(0..0, rules.detectors().iter().cloned());
        Ok(Self { rules, unanchored: Unanchored::compile(parts)?, detectors: detectors.into() })
    }
}

fn of(document: &RuleDocument, problem: impl std::fmt::Display) -> String {
    format!("rule `{}`: {problem}", document.id)
}

/// Checks a rule and finds out what it is anchored by; with how often that stands in a kibibyte, unless it has none.
fn prepare(document: &RuleDocument) -> Result<(Rule, Option<f32>), String> {
    check(document)?;
    let mut document = document.clone();
    let is_declared = !document.anchor.is_none();
    if is_declared {
        check_anchor(&document.anchor)?;
    } else {
        document.anchor = leading::anchor(&document).unwrap_or_default();
    }
    let most = match &document.context {
        Some(context) if context.required => HITS_IN_CONTEXT_MAX,
        Some(_) | None => HITS_MAX,
    };
    let hits = hits_of_anchor(&document);
    match &hits {
        Some((hits, what)) if *hits > most => {
            if is_declared {
                return Err(format!(
                    "`anchor`: {what} stands {hits:.1} times in a kibibyte of ordinary text, and may stand {most} \
                     times; anchor it by something rarer, leave `anchor` out, or require a word (`context.required`)"
                ));
            }
            document.anchor = super::super::rules::Anchor::default();
        }
        Some(_) | None => {}
    }
    if document.anchor.is_none() {
        check_without_anchor(&document)?;
        return Ok((bounded(Rule::compile_unanchored(document)?)?, None));
    }
    Ok((bounded(Rule::compile(document)?)?, Some(hits.map_or(0.0, |(hits, _)| hits))))
}

fn bounded(rule: Rule) -> Result<Rule, String> {
    let bytes = rule.matcher.automaton_bytes();
    if bytes > AUTOMATON_BYTES_MAX {
        return Err(format!(
            "`pattern` needs an automaton of {bytes} bytes, and may take {AUTOMATON_BYTES_MAX}; shorten its \
             repetitions or its alternatives"
        ));
    }
    Ok(rule)
}

fn check(rule: &RuleDocument) -> Result<(), String> {
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
    let name = rule.id.strip_prefix(NAMESPACE).unwrap_or_default();
    if name.is_empty() || rule.id.len() > ENTRIES_MAX || !rule.id.bytes().all(is_id) {
        return Err(format!(
            "`id` begins with `{NAMESPACE}` and holds `a-z`, `0-9`, `_` and `.`, at most {ENTRIES_MAX} of them: \
             `{NAMESPACE}employee_number`"
        ));
    }
    if let Err(error) =
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(&rule.pattern)
    {
        return Err(format!("`pattern` cannot be read: {error}"));
    }
    if rule.mandatory {
        return Err("`mandatory` is for the platform's rules; leave it out".to_owned());
    }
    if rule.anchor.list.is_some() {
        return Err("`anchor.list` is for files of rules; write `anchor.literals`".to_owned());
    }
    if rule.entity.len() > ENTRIES_MAX {
        return Err(format!("`entity` has at most {ENTRIES_MAX} bytes"));
    }
    if rule.continues.as_ref().is_some_and(|rest| rest.until.is_none()) {
        return Err("`continues` needs an `until`: what ends it".to_owned());
    }
    let words = rule.context.as_ref().map(|context| &context.words);
    for (name, list) in [
        ("anchor.literals", Some(&rule.anchor.literals)),
        ("not_after", Some(&rule.not_after)),
        ("context.words", words),
        ("examples", Some(&rule.examples)),
        ("counterexamples", Some(&rule.counterexamples)),
    ] {
        let list = list.into_iter().flatten();
        if list.clone().count() > ENTRIES_MAX || list.clone().any(|entry| entry.len() > ENTRY_BYTES_MAX) {
            return Err(format!(
                "`{name}` has at most {ENTRIES_MAX} entries, of at most {ENTRY_BYTES_MAX} bytes each"
            ));
        }
        if list.clone().any(String::is_empty) {
            return Err(format!("`{name}` holds an empty text; leave it out"));
        }
    }
    Ok(())
}

/// What can be searched for at every place.
fn check_without_anchor(rule: &RuleDocument) -> Result<(), String> {
    let without = "without an `anchor`, and none can be told from the `pattern`,";
    if rule.continues.is_some() {
        return Err(format!("{without} a rule has no `continues`; anchor it by the text it begins with"));
    }
    if rule.width_bytes_max > unanchored::WIDTH_BYTES_MAX {
        return Err(format!(
            "{without} `width_bytes_max` is at most {}; anchor it by a text of four bytes, by digits or by an `@`, or \
             shorten the pattern",
            unanchored::WIDTH_BYTES_MAX
        ));
    }
    Ok(())
}

/// How often a rule's anchor stands in a kibibyte of ordinary text, and what of it stands there most.
fn hits_of_anchor(rule: &RuleDocument) -> Option<(f32, String)> {
    let anchor = &rule.anchor;
    if let Some(in_all) = anchor.digits {
        let at_once = leading::first_run(rule, anchor.before);
        return Some((background::digits(at_once, in_all), format!("a run of {in_all} digits")));
    }
    if anchor.at_sign {
        return Some((background::AT_SIGNS, "an `@`".to_owned()));
    }
    let each = anchor.literals.iter().map(|literal| (background::literal(literal), literal));
    let all: f32 = each.clone().map(|(hits, _)| hits).sum();
    let most = each.max_by(|(one, _), (other, _)| one.total_cmp(other));
    most.map(|(_, literal)| (all, format!("`{literal}`")))
}

fn check_unanchored(rules: &Unanchored, documents: &[RuleDocument]) -> Result<f32, String> {
    let documents = documents.iter().skip(documents.len() - rules.len());
    let mut in_all = 0.0;
    for (hits, document) in rules.hits().into_iter().zip(documents) {
        in_all += hits;
        if hits > HITS_MAX {
            return Err(of(
                document,
                format!(
                    "`pattern`: something like it would stand {hits:.1} times in a kibibyte of ordinary text, and may \
                     stand {HITS_MAX} times; make it longer, narrow its classes, or anchor it by a text of four bytes"
                ),
            ));
        }
    }
    Ok(in_all)
}

/// What may stand where these found something.
fn stand_ins(detectors: &[Arc<Detector>]) -> String {
    let key = Key::derived_from(NAMESPACE.as_bytes());
    let modes = [Mode::Label, Mode::Mask, Mode::Tag, Mode::Hash];
    let stand_in = |detector, mode| replacement::of(&key, Some(detector), mode, NAMESPACE.as_bytes());
    let all = detectors.iter().flat_map(|detector| modes.map(|mode| stand_in(&**detector, mode)));
    all.collect::<Vec<_>>().join("\n")
}

/// Tries all examples, and that no label reads as a finding: what was redacted is scanned again.
fn try_out(own: &Arc<Own>, documents: &[RuleDocument], platform: &Arc<Scanner>) -> Result<(), String> {
    let detection = Detection::new(platform.clone(), Some(own.clone()));
    let known = Intelligence::default();
    if let Some(wrong) = proof::prove(&detection, documents, &known, THRESHOLD).first() {
        return Err(wrong.to_string());
    }
    let (platforms, ours) = (stand_ins(platform.detectors()), stand_ins(own.detectors()));
    let text = format!("{platforms}\n{ours}");
    let mut found = detection.scan(text.as_bytes()).into_iter();
    let counts = |found: &Found| {
        let concerns_us = detection.is_own(found.rule) || found.span.end > platforms.len();
        concerns_us && found.confidence >= THRESHOLD
    };
    let Some(found) = found.find(counts) else { return Ok(()) };
    let label = text.get(found.span.clone()).unwrap_or_default();
    let id = detection.detector(found.rule).map_or("", |detector| &detector.id);
    Err(format!(
        "rule `{id}` finds `{label}`, which stands for what was redacted; change its `pattern`, or the `entity` that \
         this is made of"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::PLATFORM;
    use super::*;

    /// A rule with one line of it written otherwise.
    fn refusal(line: &str) -> String {
        let mut lines = vec![
            "id = 'own.badge'",
            "entity = 'BADGE'",
            "category = 'identity'",
            "title = 'Badge'",
            "why = 'doors'",
            "severity = 'low'",
            "pattern = 'BADGE-[0-9]{4}'",
            "confidence = { base = 0.9 }",
            "width_bytes_max = 40",
            "examples = ['BADGE-1234']",
            "counterexamples = ['BADGE-12']",
            "references = []",
        ];
        let name = |line: &str| line.split(' ').next().unwrap().to_owned();
        lines.retain(|known| line.lines().all(|line| name(known) != name(line)));
        let document: RuleDocument = toml::from_str(&(lines.join("\n") + "\n" + line)).unwrap();
        match Own::compile(&[document], PLATFORM.platform()) {
            Ok(_) => "accepted".to_owned(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn a_refusal_names_rule_and_field_and_says_what_to_do() {
        let mut wrong = Vec::new();
        for (line, expected) in [
            ("why = 'doors'", "accepted"),
            ("id = 'badge'", "rule `badge`: `id` begins with `own.`"),
            ("id = 'own.Badge'", "`id` begins with `own.`"),
            ("mandatory = true", "rule `own.badge`: `mandatory` is for the platform's rules"),
            ("entity = 'badge'", "entity `badge` is not of the form"),
            ("pattern = 'BADGE-[0-9]{4'", "`pattern` cannot be read"),
            ("pattern = 'BADGE-[0-9]+'", "a match can be endless; bound every repetition"),
            ("pattern = 'BADGE.*'", "a match can be endless"),
            ("pattern = 'BADGE-[0-9]{4}x{60}'", "`width_bytes_max` says 40"),
            ("examples = []", "give at least one example"),
            ("examples = ['BADGE-12']", "does not find its example `BADGE-12`"),
            ("counterexamples = ['BADGE-1234']", "finds its counterexample `BADGE-1234`"),
            ("anchor = { literals = ['BAD'] }", "literal `BAD` has 3 bytes"),
            ("anchor = { literals = ['type'] }", "`anchor`: `type` stands"),
            ("anchor = { digits = 4 }", "`anchor`: a run of 4 digits stands"),
            ("anchor = { list = 'x' }", "write `anchor.literals`"),
            ("continues = { class = 'a-z' }", "`continues` needs an `until`"),
            ("not_after = ['']", "`not_after` holds an empty text"),
            ("pattern = '(?i)[a-z]{3,9}'", "`pattern`: something like it would stand"),
            (
                "pattern = '[A-Z][A-Z0-9]{12}Q'\nboundary = { left = '', right = '' }",
                "need an automaton of more",
            ),
            ("pattern = '[A-Z]{200}'\nwidth_bytes_max = 200", "`width_bytes_max` is at most 128"),
            ("entity = 'AKIAZ3MHW7QXK4RJ2NVT'", "stands for what was redacted"),
            (
                "pattern = '\\[BADGE\\]|BADGE-[0-9]{4}'\nboundary = { left = '', right = '' }",
                "stands for what was redacted",
            ),
        ] {
            let refusal = refusal(line);
            if !refusal.contains(expected) {
                wrong.push(format!("{line}: {refusal}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn limits_hold_for_all_rules_together() {
        let rule = |number: usize, pattern: &str| -> RuleDocument {
            let text = format!(
                "id = 'own.n{number}'\nentity = 'N'\ncategory = 'identity'\ntitle = ''\nwhy = ''\nseverity = 'low'\n\
                 pattern = '{pattern}'\nconfidence = {{ base = 0.1 }}\nwidth_bytes_max = 40\nexamples = ['x']\n\
                 counterexamples = ['x']\nreferences = []\n"
            );
            toml::from_str(&text).unwrap()
        };
        let refusal = |rules: Vec<RuleDocument>| Own::compile(&rules, PLATFORM.platform()).unwrap_err();
        let many = (0..=RULES_MAX).map(|number| rule(number, "BADGE")).collect();
        assert!(refusal(many).contains("an organisation has at most 200"));
        assert!(refusal(vec![rule(1, "BADGE"), rule(1, "BADGE")]).contains("two rules have the id `own.n1`"));
        let free =
            |number: usize| rule(number, &format!("[QXZ]{{2}}[0-9]{{1,2}}[A-Z]{{{}}}", 3 + number % 9));
        assert!(refusal((0..21).map(free).collect()).contains("21 rules have no `anchor`"));
        let digits = |number| rule(number, "[0-9]{6}");
        assert!(refusal((0..60).map(digits).collect()).contains("times in a kibibyte of ordinary text"));
    }
}
