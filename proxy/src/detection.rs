//! What an operator asks of the detection rules: are they right, which are there, what does one do?

use crate::run;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use palisade_filters::credint::{self, Delta, Intelligence};
use palisade_filters::dlp::rules::{self, Category, RuleDocument};
use palisade_filters::dlp::{Detection, OWN_NAMESPACE, Own, Scanner, proof};
use palisade_filters::documents::DlpDocument;
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// From here on a finding is enforced.
const THRESHOLD: f32 = 0.5;

/// `palisade rules …`
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum RulesCommand {
    /// Read rules, try all their examples, and say what is wrong; without files, those of this program
    Check {
        /// Files of rules, folders of such files, or documents of organisations (`orgs/acme.toml`)
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the rules: id, entity, severity, title
    List {
        /// Only this category, such as `payment` or `secret`
        #[arg(long, value_name = "NAME")]
        category: Option<String>,
    },
    /// Print what a rule finds, why, and where its facts come from
    Explain {
        /// Its id, such as `payment.card_number`
        id: String,
    },
}

/// Runs `palisade rules`.
pub(crate) fn run(command: &RulesCommand) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        RulesCommand::Check { files } => check(files, &mut out),
        RulesCommand::List { category } => list(category.as_deref(), &mut out),
        RulesCommand::Explain { id } => explain(id, &mut out),
    }
}

fn check(files: &[PathBuf], out: &mut impl Write) -> Result<()> {
    if files.is_empty() {
        return try_out(Scanner::new(rules::shipped()?), out);
    }
    let mut texts = Vec::new();
    files.iter().try_for_each(|file| collect(file, &mut texts))?;
    let (organisations, texts): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|(_, text)| is_organisation(text));
    for (name, text) in organisations {
        let document: Organisation = toml::from_str(&text).with_context(|| name.clone())?;
        check_own(&name, &document.dlp.rules, out)?;
    }
    let named: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let documents = rules::read(&named)?.into_iter().map(|(_, document)| document);
    let own: Vec<RuleDocument> = documents.filter(|rule| rule.id.starts_with(OWN_NAMESPACE)).collect();
    match own.len() {
        0 if named.is_empty() => Ok(()),
        0 => try_out(Scanner::new(rules::load(&named)?), out),
        _ => check_own("rules", &own, out),
    }
}

/// What of an organisation's document is looked at here.
#[derive(Deserialize)]
struct Organisation {
    #[serde(default)]
    dlp: DlpDocument,
}

/// Whether a text is an organisation's document, and no file of rules.
fn is_organisation(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("id") && !table.contains_key("rule"))
}

/// Whether an organisation could publish these rules.
fn check_own(name: &str, rules: &[RuleDocument], out: &mut impl Write) -> Result<()> {
    if let Err(problem) = Own::compile(rules, &run::scanner()?) {
        bail!("{name}: {problem}");
    }
    count(rules, out)
}

/// Tries the examples of rules.
fn try_out(scanner: Scanner, out: &mut impl Write) -> Result<()> {
    let known = Intelligence::new(Some(credint::shipped()?), Delta::default());
    let detection = Detection::from(scanner);
    let rules = detection.platform().documents();
    let wrong = proof::prove(&detection, rules, &known, THRESHOLD);
    for error in &wrong {
        writeln!(out, "error: {error}")?;
    }
    count(rules, out)?;
    if wrong.is_empty() { Ok(()) } else { bail!("{} examples are not as their rules say", wrong.len()) }
}

fn count(rules: &[RuleDocument], out: &mut impl Write) -> Result<()> {
    let examples = |of: fn(&RuleDocument) -> usize| -> usize { rules.iter().map(of).sum() };
    writeln!(
        out,
        "{} rules, {} examples, {} counterexamples",
        rules.len(),
        examples(|rule| rule.examples.len()),
        examples(|rule| rule.counterexamples.len())
    )?;
    Ok(())
}

/// Reads a file of rules, or all of a folder.
fn collect(path: &Path, texts: &mut Vec<(String, String)>) -> Result<()> {
    let cannot = || format!("cannot read `{}`", path.display());
    if path.is_dir() {
        let mut inside = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
            .with_context(cannot)?;
        inside.sort();
        let is_wanted = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|end| end == "toml");
        return inside.iter().filter(|path| is_wanted(path)).try_for_each(|path| collect(path, texts));
    }
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    texts.push((path.display().to_string(), text));
    Ok(())
}

fn list(category: Option<&str>, out: &mut impl Write) -> Result<()> {
    let scanner = run::scanner()?;
    let wanted = |rule: &&RuleDocument| category.is_none_or(|category| rule.category.name() == category);
    let mut rules: Vec<_> = scanner.documents().iter().filter(wanted).collect();
    if let Some(category) = category.filter(|_| rules.is_empty()) {
        let names = Category::ALL.map(Category::name).join(", ");
        bail!("there is no category `{category}`; there are {names}");
    }
    rules.sort_by(|one, other| one.id.cmp(&other.id));
    for rule in rules {
        let severity = rule.severity.name();
        writeln!(out, "{:<42}  {:<28}  {severity:<8}  {}", rule.id, rule.entity, rule.title)?;
    }
    Ok(())
}

fn explain(id: &str, out: &mut impl Write) -> Result<()> {
    let scanner = run::scanner()?;
    let Some(rule) = scanner.documents().iter().find(|rule| rule.id == id) else {
        let last = id.rsplit('.').next().unwrap_or(id);
        let alike: Vec<&str> = scanner
            .documents()
            .iter()
            .map(|rule| rule.id.as_str())
            .filter(|known| known.contains(last))
            .take(5)
            .collect();
        let hint = if alike.is_empty() {
            "`palisade rules list` names all".to_owned()
        } else {
            format!("did you mean {}?", alike.join(", "))
        };
        bail!("there is no rule `{id}`; {hint}");
    };
    writeln!(out, "{}: {}\n\n{}\n", rule.id, rule.title, rule.why)?;
    writeln!(out, "entity      {}, {}, {}", rule.entity, rule.category.name(), rule.severity.name())?;
    writeln!(out, "anchor      {}", anchor(rule))?;
    writeln!(out, "pattern     {}", rule.pattern)?;
    if let Some(validator) = rule.validate {
        let name = serde_json::to_value(validator)?;
        writeln!(out, "validator   {}", name.as_str().unwrap_or_default())?;
    }
    if let Some(context) = &rule.context {
        let need = if context.required { "needs one of" } else { "surer near" };
        writeln!(out, "context     {need} {}", context.words.join(", "))?;
    }
    let confidence = &rule.confidence;
    writeln!(
        out,
        "confidence  {} alone, {} validated, +{} in context; enforced from {THRESHOLD}",
        confidence.base, confidence.validated, confidence.context
    )?;
    for (title, lines) in
        [("finds", &rule.examples), ("leaves", &rule.counterexamples), ("references", &rule.references)]
    {
        writeln!(out, "\n{title}")?;
        lines.iter().try_for_each(|line| writeln!(out, "  {}", line.replace('\n', "\n  ")))?;
    }
    Ok(())
}

fn anchor(rule: &RuleDocument) -> String {
    let anchor = &rule.anchor;
    match anchor.digits {
        Some(digits) => format!("at least {digits} digits, {} bytes into the match", anchor.before),
        None if anchor.at_sign => "an `@` with something before it".to_owned(),
        None => anchor.literals.join(", "),
    }
}
