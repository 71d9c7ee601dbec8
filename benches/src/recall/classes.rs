//! Why was a line missed, or hit although nothing is in it? Classes of such lines as data, in `classes.toml`.
//!
//! Needs the source and rule of a line and its text; proves nothing: a class is what somebody who read the lines found
//! out about them. A line that no class explains is counted as such. It never looks at what the scanner knows.

use super::Sample;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io;

static SHIPPED: &str = include_str!("classes.toml");

/// What went otherwise than the source expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Something is there and was not found.
    Missed,
    /// Nothing of the kind is there and something was found.
    Hit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: String,
    what: What,
    /// `source rule`, each of which may end in `*`.
    rules: Vec<String>,
    /// Whether the value must be all the text there is.
    alone: Option<bool>,
    why: String,
    /// Whether it is meant to stay so.
    stays: bool,
    #[serde(skip)]
    lines: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    class: Vec<Class>,
}

/// All classes, with how many lines each explains.
pub(super) struct Classes {
    classes: Vec<Class>,
    unexplained: usize,
}

impl Classes {
    pub(super) fn shipped() -> io::Result<Self> {
        let document: Document = toml::from_str(SHIPPED).map_err(io::Error::other)?;
        Ok(Self { classes: document.class, unexplained: 0 })
    }

    /// Counts a line for the first class that explains it; returns its name.
    pub(super) fn count(&mut self, what: What, sample: &Sample) -> &str {
        match self.classes.iter_mut().find(|class| class.explains(what, sample)) {
            None => {
                self.unexplained += 1;
                "not explained"
            }
            Some(class) => {
                class.lines += 1;
                &class.name
            }
        }
    }

    /// The table of those that explain a line, most lines first.
    pub(super) fn table(&mut self, text: &mut String) {
        text.push_str(
            "\n| what is not as its source says | lines | stays | why |\n\
             |---|---:|---|---|\n",
        );
        self.classes.sort_by_key(|class| std::cmp::Reverse(class.lines));
        for class in self.classes.iter().filter(|class| class.lines > 0) {
            let what = match class.what {
                What::Missed => "missed",
                What::Hit => "hit",
            };
            let stays = if class.stays { "yes" } else { "no" };
            let _ = writeln!(text, "| {what}: {} | {} | {stays} | {} |", class.name, class.lines, class.why);
        }
        let _ = writeln!(text, "| not explained | {} | | |", self.unexplained);
    }
}

impl Class {
    fn explains(&self, what: What, sample: &Sample) -> bool {
        let named = |rule: &String| {
            let (source, rule) = rule.split_once(' ').unwrap_or((rule, "*"));
            matches(source, &sample.source) && matches(rule, &sample.rule)
        };
        self.what == what
            && self.alone.is_none_or(|alone| alone == is_alone(sample))
            && self.rules.iter().any(named)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Whether the value is all the text there is: no other word stands beside it.
fn is_alone(sample: &Sample) -> bool {
    let spoken =
        sample.spans.iter().chain(&sample.span).map(|[start, end]| end.saturating_sub(*start)).sum::<usize>();
    let text = sample.text.trim();
    if spoken > 0 { spoken + 2 >= text.len() } else { !text.contains(char::is_whitespace) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(source: &str, rule: &str, text: &str, span: Option<[usize; 2]>) -> Sample {
        let (source, rule, text) = (source.to_owned(), rule.to_owned(), text.to_owned());
        Sample { source, rule, text, expect: true, span, spans: Vec::new() }
    }

    #[test]
    fn every_class_says_why_and_names_rules() {
        let classes = Classes::shipped().unwrap();
        assert!(classes.classes.iter().all(|class| !class.why.is_empty() && !class.rules.is_empty()));
    }

    #[test]
    fn a_line_counts_for_the_first_class_that_explains_it() {
        let class = |name: &str, alone, rule: &str| Class {
            name: name.to_owned(),
            what: What::Missed,
            rules: vec![rule.to_owned()],
            alone,
            why: "because".to_owned(),
            stays: true,
            lines: 0,
        };
        let mut classes = Classes {
            classes: vec![class("bare", Some(true), "s card*"), class("any", None, "s *")],
            unexplained: 0,
        };
        assert_eq!(classes.count(What::Missed, &sample("s", "card.1", "4111", Some([0, 4]))), "bare");
        assert_eq!(classes.count(What::Missed, &sample("s", "card.1", "pay 4111 now", Some([4, 8]))), "any");
        assert_eq!(classes.count(What::Hit, &sample("s", "card.1", "4111", None)), "not explained");
        let mut text = String::new();
        classes.table(&mut text);
        assert!(text.contains("| missed: bare | 1 | yes | because |"), "{text}");
        assert!(text.contains("| not explained | 1 |"), "{text}");
    }
}
