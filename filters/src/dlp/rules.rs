//! What is looked for? Rules as data, each with its proof, read and checked before anything uses them.
//!
//! Needs the text of rule files; proves that every rule is bounded, anchored and accepts its own examples' shape.
//! The format is described in `rules/README.md`. It does not scan; `scanner` does.

use super::matcher::Matcher;
use super::validators::Validator;
use crate::credint::CredentialForm;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A match, its context and its look-ahead are decided within this many bytes, so a stream is never held longer.
pub const DECIDE_AFTER_BYTES_MAX: usize = 576;
/// The longest bounded match.
pub const WIDTH_BYTES_MAX: usize = 512;
/// How far before a match a context word may stand. A stream keeps this much of what it has released.
pub const CONTEXT_BEFORE_BYTES_MAX: usize = 128;
/// How far after a match a context word may stand: it is waited for.
pub const CONTEXT_AFTER_BYTES_MAX: usize = 96;
/// How far before its anchor a match may begin: the local part of an e-mail address, or two letters of an id.
pub const LEAD_BYTES_MAX: usize = 64;
/// How far before a run of digits a match may begin: the letters of an id.
pub const DIGITS_LEAD_BYTES_MAX: usize = 16;
/// Literals longer than this add nothing to their rarity.
pub const LITERAL_BYTES_MAX: usize = 24;
/// A shorter literal is everywhere.
pub const LITERAL_BYTES_MIN: usize = 4;
/// The rules of one set are numbered in 16 bits.
pub const RULES_MAX: usize = 10_000;

static SHIPPED: include_dir::Dir<'static> =
    include_dir::include_dir!("$CARGO_MANIFEST_DIR/../rules/patterns");

/// What kind of thing a rule finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Cards, accounts, wallets.
    Payment,
    /// Ids of people that a state gives.
    Identity,
    /// Keys, tokens, passwords.
    Secret,
    /// Ways to reach a person.
    Contact,
    /// Addresses of machines.
    Network,
    /// Ids of patients and prescribers.
    Health,
    /// Markings of confidentiality.
    Business,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Payment,
        Self::Identity,
        Self::Secret,
        Self::Contact,
        Self::Network,
        Self::Health,
        Self::Business,
    ];

    /// The name it has in documents, events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Identity => "identity",
            Self::Secret => "secret",
            Self::Contact => "contact",
            Self::Network => "network",
            Self::Health => "health",
            Self::Business => "business",
        }
    }
}

/// How bad it is when it leaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// An inconvenience.
    Low,
    /// Personal data.
    Medium,
    /// Harm to a person or money.
    High,
    /// A key to other people's data.
    Critical,
}

impl Severity {
    /// The name it has in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What must stand in the text before anything costlier runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// At least this many digits, single separators between them allowed.
    pub digits: Option<usize>,
    /// The match begins this many bytes before the digits.
    #[serde(default)]
    pub before: usize,
    /// One of these texts, at the start of the match, in any case.
    #[serde(default)]
    pub literals: Vec<String>,
    /// The name of a list of the file, instead of `literals`: names that several rules share.
    pub list: Option<String>,
    /// The match begins ahead of the literal or the `@`, at the first of the bytes of this class that touch it.
    pub lead: Option<String>,
    /// An `@` with something before it.
    #[serde(default)]
    pub at_sign: bool,
}

/// Words that make a finding likelier.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Any of these, in any case.
    pub words: Vec<String>,
    /// How far before the finding they may begin.
    #[serde(default = "context_before_bytes")]
    pub before_bytes: usize,
    /// How far after it they may end; a stream waits for it.
    #[serde(default)]
    pub after_bytes: usize,
    /// Whether there is no finding without one.
    #[serde(default)]
    pub required: bool,
}

fn context_before_bytes() -> usize {
    64
}

/// How sure a finding is, from 0 to 1.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confidence {
    /// The pattern alone.
    pub base: f32,
    /// The pattern and its checksum.
    #[serde(default)]
    pub validated: f32,
    /// Added when a context word is there.
    #[serde(default)]
    pub context: f32,
}

/// Bytes that must not touch the match.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boundary {
    /// Right before it.
    #[serde(default = "word_bytes")]
    pub left: String,
    /// Right after it.
    #[serde(default = "word_bytes")]
    pub right: String,
}

/// Letters, digits and `_`.
pub(super) fn word_bytes() -> String {
    "A-Za-z0-9_".to_owned()
}

impl Default for Boundary {
    fn default() -> Self {
        Self { left: word_bytes(), right: word_bytes() }
    }
}

/// The rest of a finding of unbounded length.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Continues {
    /// The bytes it consists of.
    pub class: String,
    /// What ends it, and still belongs to it; it begins with five literal bytes.
    pub until: Option<String>,
}

/// Hints for redaction.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactHints {
    /// How many last characters may stay readable under the `keep_last` mode.
    pub keep_last: Option<usize>,
}

/// A rule as it is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// Stable and public; appears in events.
    pub id: String,
    /// The field's common name of the thing.
    pub entity: String,
    /// Its kind.
    pub category: Category,
    /// For people.
    pub title: String,
    /// Why anyone looks for it.
    pub why: String,
    /// How bad a leak is.
    pub severity: Severity,
    /// What gates it; an organisation's rule can do without.
    #[serde(default)]
    pub anchor: Anchor,
    /// The anchored regular expression.
    pub pattern: String,
    /// The group that is the finding.
    pub span: Option<String>,
    /// What must not touch it.
    #[serde(default)]
    pub boundary: Boundary,
    /// Words that end a candidate when they touch its start: `public` before `_key`. Signs may stand between.
    #[serde(default)]
    pub not_after: Vec<String>,
    /// Its unbounded rest.
    pub continues: Option<Continues>,
    /// Its checksum.
    pub validate: Option<Validator>,
    /// The least Shannon entropy of the span, in bits a byte.
    pub entropy_bits_min: Option<f32>,
    /// What of it is a credential that may be known to be compromised; of secrets, all of it.
    pub credential: Option<CredentialForm>,
    /// Words around it.
    pub context: Option<Context>,
    /// How sure it is.
    pub confidence: Confidence,
    /// Declared, and checked against the pattern.
    pub width_bytes_max: usize,
    /// Whether organisations may not suppress it.
    #[serde(default)]
    pub mandatory: bool,
    /// Hints for redaction.
    #[serde(default)]
    pub redact: RedactHints,
    /// Each must be found.
    pub examples: Vec<String>,
    /// None may be found.
    pub counterexamples: Vec<String>,
    /// Where the facts come from.
    pub references: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    /// Literals that several rules of the file share, by name.
    #[serde(default)]
    lists: BTreeMap<String, Vec<String>>,
    rule: Vec<RuleDocument>,
}

/// A rule that can be used.
#[derive(Debug)]
pub struct Rule {
    /// As it was written.
    pub document: RuleDocument,
    pub(super) matcher: Matcher,
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct RuleError {
    /// The file, and the rule where one is known.
    pub place: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// The rules that come with the product.
pub fn shipped() -> Result<Vec<Rule>, RuleError> {
    let mut files = Vec::new();
    collect(&SHIPPED, &mut files);
    files.sort_by_key(|(path, _)| *path);
    load(&files)
}

fn collect<'a>(folder: &'a include_dir::Dir<'a>, files: &mut Vec<(&'a str, &'a str)>) {
    for file in folder.files() {
        if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8())
            && file.path().extension().is_some_and(|extension| extension == "toml")
        {
            files.push((path, text));
        }
    }
    folder.dirs().for_each(|inner| collect(inner, files));
}

/// Reads and checks rule files, given as (name, text).
pub fn load(files: &[(&str, &str)]) -> Result<Vec<Rule>, RuleError> {
    let mut rules: Vec<Rule> = Vec::new();
    for (place, document) in read(files)? {
        let fail = |problem: String| RuleError { place: place.clone(), problem };
        rules.push(Rule::compile(document).map_err(fail)?);
    }
    if rules.len() > RULES_MAX {
        let problem = format!("{} rules; a set has at most {RULES_MAX}", rules.len());
        return Err(RuleError { place: "rules".to_owned(), problem });
    }
    Ok(rules)
}

/// Reads rule files, given as (name, text): each rule with its place.
pub fn read(files: &[(&str, &str)]) -> Result<Vec<(String, RuleDocument)>, RuleError> {
    let mut rules: Vec<(String, RuleDocument)> = Vec::new();
    for (path, text) in files {
        let file: RuleFile = toml::from_str(text)
            .map_err(|error| RuleError { place: (*path).to_owned(), problem: error.to_string() })?;
        for mut document in file.rule {
            let place = format!("{path}: rule `{}`", document.id);
            let fail = |problem: String| RuleError { place: place.clone(), problem };
            if rules.iter().any(|(_, rule)| rule.id == document.id) {
                return Err(fail("another rule has this id; ids are unique".to_owned()));
            }
            if let Some(name) = document.anchor.list.take() {
                let list = file.lists.get(&name);
                let list = list.ok_or_else(|| fail(format!("the file has no list `{name}`")))?;
                document.anchor.literals.extend_from_slice(list);
            }
            rules.push((place, document));
        }
    }
    Ok(rules)
}

impl Rule {
    /// Checks a rule and makes it ready for use.
    pub(super) fn compile(document: RuleDocument) -> Result<Self, String> {
        check(&document)?;
        check_anchor(&document.anchor)?;
        let matcher = Matcher::compile(&document)?;
        Ok(Self { document, matcher })
    }

    /// The same, of a rule that nothing gates.
    pub(super) fn compile_unanchored(document: RuleDocument) -> Result<Self, String> {
        check(&document)?;
        let matcher = Matcher::compile(&document)?;
        Ok(Self { document, matcher })
    }
}

impl Anchor {
    /// Whether nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        let Self { digits, before, literals, list, lead, at_sign } = self;
        let asks = digits.is_some() || list.is_some() || lead.is_some() || *at_sign;
        !asks && *before == 0 && literals.is_empty()
    }
}

fn check(rule: &RuleDocument) -> Result<(), String> {
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if rule.entity.is_empty() || !rule.entity.bytes().all(upper) {
        return Err(format!("entity `{}` is not of the form `CREDIT_CARD`", rule.entity));
    }
    if rule.examples.is_empty() || rule.counterexamples.is_empty() {
        return Err("give at least one example and one counterexample".to_owned());
    }
    if rule.width_bytes_max > WIDTH_BYTES_MAX {
        return Err(format!(
            "`width_bytes_max` is at most {WIDTH_BYTES_MAX}; use `continues` for longer kinds"
        ));
    }
    if let Some(context) = &rule.context {
        if context.before_bytes > CONTEXT_BEFORE_BYTES_MAX || context.after_bytes > CONTEXT_AFTER_BYTES_MAX {
            return Err(format!(
                "context reaches at most {CONTEXT_BEFORE_BYTES_MAX} bytes before and \
                 {CONTEXT_AFTER_BYTES_MAX} after a match"
            ));
        }
        if rule.width_bytes_max + context.after_bytes >= DECIDE_AFTER_BYTES_MAX {
            return Err(format!(
                "width and context after it stay below {DECIDE_AFTER_BYTES_MAX} bytes together"
            ));
        }
    }
    Ok(())
}

pub(super) fn check_anchor(anchor: &Anchor) -> Result<(), String> {
    let kinds = [anchor.digits.is_some(), !anchor.literals.is_empty(), anchor.at_sign];
    if kinds.iter().filter(|given| **given).count() != 1 {
        return Err("an anchor is exactly one of `digits`, `literals`, `at_sign`".to_owned());
    }
    if anchor.before > DIGITS_LEAD_BYTES_MAX || (anchor.before > 0 && anchor.digits.is_none()) {
        return Err(format!("`before` goes with `digits` and is at most {DIGITS_LEAD_BYTES_MAX}"));
    }
    if anchor.lead.is_some() && anchor.literals.is_empty() && !anchor.at_sign {
        return Err("`lead` goes with `literals` or `at_sign`".to_owned());
    }
    for literal in &anchor.literals {
        let length = literal.len();
        if !(LITERAL_BYTES_MIN..=LITERAL_BYTES_MAX).contains(&length) {
            return Err(format!(
                "literal `{literal}` has {length} bytes; {LITERAL_BYTES_MIN} to {LITERAL_BYTES_MAX} can be looked for"
            ));
        }
        if !literal.bytes().all(|byte| byte.is_ascii_graphic() || !byte.is_ascii()) {
            return Err(format!("literal `{literal}` may hold no white space and no control characters"));
        }
    }
    Ok(())
}
