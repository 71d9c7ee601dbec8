//! What does an organisation know by name? Its keyword lists and its tables of exact data, as detectors.
//!
//! All keyword lists are one [`Dictionary`], so that ten of them cost what one does; each table is asked by itself.
//! Numbers
//! count lists first, then tables. Files were read by others: a document carries what stood in them.

#[cfg(test)]
mod tests;

use super::detector::Detector;
use super::dictionary::{self, Dictionary, TERMS_MAX, Term};
use super::exact::{self, Table};
use super::matcher::View;
use super::parts;
use super::rules::RedactHints;
use super::rules::{Category, Severity};
use super::scanner::{Found, Wanted};
use crate::credint::CredentialForm;
use crate::documents::{ExactMatchDocument, KeywordListDocument};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// Keyword lists of one organisation, and terms in all of them.
const LISTS_MAX: usize = 32;
const TERMS_IN_ALL_MAX: usize = 250_000;
/// Tables of one organisation: each is asked about every word.
const TABLES_MAX: usize = 4;
/// What the ids of an organisation's own detectors begin with.
const NAMESPACE: &str = "own.";
const ID_BYTES_MAX: usize = 64;

/// An organisation's lists and tables, ready to be looked for.
#[derive(Debug)]
pub struct Lists {
    dictionary: Option<Dictionary>,
    tables: Vec<Table>,
    detectors: Vec<Arc<Detector>>,
    /// How sure a finding of each is.
    confidences: Vec<f32>,
    /// How many of the detectors are keyword lists.
    first_table: u16,
}

/// The state of reading one text with them.
#[derive(Clone, Debug, Default)]
pub(super) struct ListsReading {
    /// None until there is a text and a list.
    dictionary: Option<dictionary::Reading>,
    tables: Vec<exact::Reading>,
}

impl Lists {
    /// Puts together what an organisation's document says; none if that is nothing. `seed` is a secret number; `labels`
    /// are what may stand where something was found.
    pub fn compile(
        keywords: &[KeywordListDocument],
        exact: &[ExactMatchDocument],
        seed: u64,
        labels: &str,
    ) -> Result<Option<Self>, String> {
        if keywords.is_empty() && exact.is_empty() {
            return Ok(None);
        }
        if keywords.len() > LISTS_MAX || exact.len() > TABLES_MAX {
            return Err(format!(
                "an organisation has at most {LISTS_MAX} `keyword_lists` and {TABLES_MAX} `exact_match`; \
                 put lists together"
            ));
        }
        let named = || keywords.iter().map(Named::from).chain(exact.iter().map(Named::from));
        let mut ids = HashSet::new();
        for named in named() {
            named.check().map_err(|problem| format!("`{}`: {problem}", named.id))?;
            if !ids.insert(named.id) {
                return Err(format!("two lists have the id `{}`; ids are unique", named.id));
            }
        }
        let lists = Self {
            dictionary: if keywords.is_empty() { None } else { Some(dictionary(keywords, seed)?) },
            tables: exact
                .iter()
                .map(|one| table(one).map_err(|problem| format!("exact match `{}`: {problem}", one.id)))
                .collect::<Result<_, _>>()?,
            detectors: named().map(|named| Arc::new(named.detector())).collect(),
            confidences: keywords
                .iter()
                .map(|list| list.confidence)
                .chain(exact.iter().map(|table| table.confidence))
                .collect(),
            first_table: keywords.len() as u16,
        };
        lists.check_labels(labels)?;
        Ok(Some(lists))
    }

    /// What stands for a finding must be none.
    fn check_labels(&self, labels: &str) -> Result<(), String> {
        let own: Vec<&str> = self.detectors.iter().map(|detector| &*detector.label).collect();
        let text = format!("{labels}\n{}", own.join("\n"));
        let found =
            self.dictionary.as_ref().map(|dictionary| dictionary.scan(text.as_bytes())).unwrap_or_default();
        let Some(found) = found.first() else { return Ok(()) };
        let id = self.detectors.get(usize::from(found.list)).map_or("", |detector| &detector.id);
        let line_start =
            text.get(..found.span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let label = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        Err(format!(
            "keyword list `{id}`: one of its terms stands in `{label}`, which is written where something was redacted; \
             leave that term out"
        ))
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.detectors.iter().map(|detector| &*detector.id)
    }

    /// All of them, in the order of their numbers.
    pub(super) fn detectors(&self) -> &[Arc<Detector>] {
        &self.detectors
    }

    /// As [`super::Scanner::scan_as_written`].
    pub(super) fn scan_as_written(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        places: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let (mut found, mut here) = (Vec::new(), Vec::new());
        for place in places {
            for part in parts::within(parts, place) {
                let view = text.get(part.clone()).unwrap_or_default();
                let inside = place.start.max(part.start) - part.start..place.end.min(part.end) - part.start;
                self.scan_place(view, &inside, &mut here);
                wanted.take((view, part.start), &mut here, &mut found)?;
            }
        }
        found.sort_by_key(Found::order);
        // Places that are close are read over their ends.
        found.dedup_by_key(|one| one.order());
        Some(found)
    }

    fn scan_place(&self, text: &[u8], place: &Range<usize>, found: &mut Vec<Found>) {
        if let Some(dictionary) = &self.dictionary {
            let mut terms = Vec::new();
            dictionary.scan_place(text, place.clone(), &mut terms);
            found.extend(terms.into_iter().map(|term| self.found(term.list, term.span)));
        }
        for (number, table) in (self.first_table..).zip(&self.tables) {
            let mut cells = Vec::new();
            table.scan_place(text, place.clone(), &mut cells);
            found.extend(cells.into_iter().map(|span| self.found(number, span)));
        }
    }

    fn found(&self, number: u16, span: Range<usize>) -> Found {
        Found {
            rule: number,
            span,
            confidence: self.confidences.get(usize::from(number)).copied().unwrap_or(0.0),
            // A record is as sure as a checksum.
            validated: number >= self.first_table,
            known: None,
            revealed: None,
            is_repeated: false,
        }
    }
}

impl ListsReading {
    /// As [`super::scanner::Scan::advance`].
    pub(super) fn advance(&mut self, lists: &Lists, view: View<'_>, found: &mut Vec<Found>) -> usize {
        let mut decided = view.text.len();
        if let Some(dictionary) = &lists.dictionary {
            let mut terms = Vec::new();
            decided = self.dictionary.get_or_insert_default().advance(dictionary, view, &mut terms);
            found.extend(terms.into_iter().map(|term| lists.found(term.list, term.span)));
        }
        self.tables.resize_with(lists.tables.len(), exact::Reading::default);
        for ((number, table), reading) in (lists.first_table..).zip(&lists.tables).zip(&mut self.tables) {
            let mut cells = Vec::new();
            decided = decided.min(reading.advance(table, view, &mut cells));
            found.extend(cells.into_iter().map(|span| lists.found(number, span)));
        }
        decided
    }

    /// As [`super::scanner::Scan::needed_from`]; what reads nothing needs nothing.
    pub(super) fn needed_from(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map(dictionary::Reading::needed_from);
        let tables = self.tables.iter().map(exact::Reading::needed_from);
        dictionary.into_iter().chain(tables).fold(usize::MAX, usize::min)
    }

    /// As [`super::scanner::Scan::is_idle`].
    pub(super) fn is_idle(&self) -> bool {
        self.dictionary.as_ref().is_none_or(dictionary::Reading::is_idle)
            && self.tables.iter().all(exact::Reading::is_idle)
    }

    /// As [`super::scanner::Scan::forget`].
    pub(super) fn forget(&mut self, by: usize) {
        if let Some(reading) = &mut self.dictionary {
            reading.forget(by);
        }
        self.tables.iter_mut().for_each(|reading| reading.forget(by));
    }
}

/// What any list or table is to its findings.
struct Named<'a> {
    id: &'a str,
    entity: &'a str,
    category: Category,
    severity: Severity,
}

impl<'a> From<&'a KeywordListDocument> for Named<'a> {
    fn from(list: &'a KeywordListDocument) -> Self {
        Self { id: &list.id, entity: &list.entity, category: list.category, severity: list.severity }
    }
}

impl<'a> From<&'a ExactMatchDocument> for Named<'a> {
    fn from(table: &'a ExactMatchDocument) -> Self {
        Self { id: &table.id, entity: &table.entity, category: table.category, severity: table.severity }
    }
}

impl Named<'_> {
    fn check(&self) -> Result<(), String> {
        let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
        let name = self.id.strip_prefix(NAMESPACE).unwrap_or_default();
        if name.is_empty() || self.id.len() > ID_BYTES_MAX || !self.id.bytes().all(is_id) {
            return Err(format!(
                "`id` begins with `{NAMESPACE}` and holds `a-z`, `0-9`, `_` and `.`, at most {ID_BYTES_MAX} of them: \
                 `{NAMESPACE}projects`"
            ));
        }
        let is_entity = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if self.entity.is_empty() || self.entity.len() > ID_BYTES_MAX || !self.entity.bytes().all(is_entity) {
            return Err(format!(
                "`entity` is of the form `PROJECT_NAME`: `A-Z`, `0-9` and `_`, at most {ID_BYTES_MAX} of them"
            ));
        }
        Ok(())
    }

    fn detector(&self) -> Detector {
        Detector {
            id: self.id.into(),
            entity: self.entity.into(),
            category: self.category,
            severity: self.severity,
            label: format!("[{}]", self.entity).into(),
            credential: CredentialForm::None,
            mandatory: false,
            redact: RedactHints::default(),
        }
    }
}

/// All keyword lists together. Terms are named by their place, never repeated: a list may be confidential.
fn dictionary(keywords: &[KeywordListDocument], seed: u64) -> Result<Dictionary, String> {
    let mut terms: Vec<Term<'_>> = Vec::new();
    // Where each term stands: its list, and its line or its place there.
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (list, document) in keywords.iter().enumerate() {
        let of = |problem: &str| format!("keyword list `{}`: {problem}", document.id);
        check_confidence(document.confidence).map_err(|problem| of(&problem))?;
        let before = terms.len();
        let mut add = |place: usize, text| {
            terms.push(Term { list: list as u16, text, is_cased: document.case_sensitive });
            places.push((list, place));
        };
        match (&document.file, &document.text) {
            (None, _) => document.terms.iter().zip(1..).for_each(|(term, place)| add(place, term)),
            (Some(_), _) if !document.terms.is_empty() => {
                return Err(of("it has `terms` and a `file`; keep one"));
            }
            (Some(_), None) => return Err(of("its `file` was not read")),
            (Some(_), Some(text)) => {
                let lines = text.0.trim_start_matches('\u{feff}').lines().zip(1..);
                lines.filter(|(line, _)| !line.trim().is_empty()).for_each(|(line, place)| add(place, line));
            }
        }
        let count = terms.len() - before;
        if count == 0 {
            return Err(of("it has no terms; write `terms`, or a `file` with one a line"));
        }
        if count > TERMS_MAX {
            return Err(of(&format!("{count} terms; a list has at most {TERMS_MAX}")));
        }
    }
    if terms.len() > TERMS_IN_ALL_MAX {
        return Err(format!(
            "{} terms in all keyword lists; there are at most {TERMS_IN_ALL_MAX}",
            terms.len()
        ));
    }
    Dictionary::compile(&terms, seed).map_err(|(number, said)| {
        let (list, place) = places.get(number).copied().unwrap_or_default();
        let document = keywords.get(list);
        let id = document.map_or("", |document| document.id.as_str());
        let name = |place: usize| match document.and_then(|document| document.file.as_ref()) {
            Some(file) => format!("line {place} of `{}`", file.display()),
            None => format!("term {place}"),
        };
        let mut problem = said.to_string();
        if let dictionary::TermProblem::Twice(number) = said {
            // Counted from the first term of the list: lines may be empty.
            let first = places.iter().position(|(of, _)| *of == list).unwrap_or(0);
            let earlier = places.get(first + number - 1).map_or(number, |(_, place)| *place);
            problem = format!("says the same as {}; leave one out", name(earlier));
        }
        format!("keyword list `{id}`: {} {problem}", name(place))
    })
}

fn table(document: &ExactMatchDocument) -> Result<Table, String> {
    check_confidence(document.confidence)?;
    let Some(read) = &document.read else { return Err("its `file` was not read".to_owned()) };
    let table = Table::open(read.table.clone(), &read.key)
        .map_err(|problem| format!("`{}`: {problem}", document.file.display()))?;
    table.asked(document.columns_min, document.within_bytes).map_err(|problem| problem.to_string())
}

fn check_confidence(confidence: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&confidence) {
        Ok(())
    } else {
        Err("`confidence` lies between 0 and 1".to_owned())
    }
}
