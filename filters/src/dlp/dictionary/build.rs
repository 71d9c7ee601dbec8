//! From lists of terms to a dictionary: what can be looked for, and what is wrong with the rest.

use super::table::Table;
use super::{Dictionary, Owner, Placed, case_of};
use crate::dlp::shadow::fold_text;
use crate::dlp::tokens::{self, ENTRY_BYTES_MAX};
use std::ops::Range;

/// Terms of one list.
pub const TERMS_MAX: usize = 100_000;
/// Terms that read alike and differ in case only.
const CASES_MAX: usize = 16;
/// Bytes of a term as it is written.
const WRITTEN_BYTES_MAX: usize = 512;
/// Words of a term; in scripts without spaces, characters.
const WORDS_MAX: usize = 32;
/// With a random seed the second try is needed less often than once in a million years.
const TRIES: u64 = 8;

/// A term of a list.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// The number of its list.
    pub list: u16,
    /// As it is written.
    pub text: &'a str,
    /// Whether its case counts.
    pub is_cased: bool,
}

/// What is wrong with a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermProblem {
    /// Nothing to look for.
    #[error("has no letter and no digit")]
    Empty,
    /// It would be everywhere.
    #[error("is a single letter or digit, which is everywhere; leave it out")]
    Single,
    /// It is too long.
    #[error("is longer than {ENTRY_BYTES_MAX} bytes or {WORDS_MAX} words; a part of it will do")]
    Long,
    /// It is there twice.
    #[error("says the same as number {0} of its list; leave one out")]
    Twice(usize),
    /// There are too many forms of it.
    #[error("is one of more than {CASES_MAX} that differ only in case; look for it in any case")]
    Cases,
    /// Hashes met, again and again.
    #[error("cannot be told from another one")]
    Unlucky,
}

impl Dictionary {
    /// Puts lists together. `seed` is a secret number. The error names a term by its place.
    pub fn compile(terms: &[Term<'_>], seed: u64) -> Result<Self, (usize, TermProblem)> {
        let mut forms = Forms::default();
        for (number, term) in terms.iter().enumerate() {
            forms.add(number, term).map_err(|problem| (number, problem))?;
        }
        for attempt in 0..TRIES {
            if let Some(dictionary) = forms.put_together(terms, seed.wrapping_add(attempt))? {
                return Ok(dictionary);
            }
        }
        Err((0, TermProblem::Unlucky))
    }
}

/// All terms in all forms that texts may hold them in.
#[derive(Default)]
struct Forms {
    /// As they read, one after the other.
    text: Vec<u8>,
    /// Where in its form each beginning ends.
    ends: Vec<u32>,
    all: Vec<Form>,
}

struct Form {
    /// The place of its term.
    number: usize,
    /// Whether it is the term as it is written, and not as disguises show it.
    is_main: bool,
    text: Range<usize>,
    ends: Range<usize>,
}

/// A list that holds the term which is this form.
struct Holds {
    form: u32,
    owner: Owner,
    /// By which form, of which term.
    by: usize,
}

impl Forms {
    fn add(&mut self, number: usize, term: &Term<'_>) -> Result<(), TermProblem> {
        if term.text.len() > WRITTEN_BYTES_MAX {
            return Err(TermProblem::Long);
        }
        self.add_form(number, term.text, true)?;
        if !term.text.is_ascii() {
            for form in [term.text, &term.text.to_uppercase(), &capitalised(term.text)] {
                // One that is too long is not looked for.
                let _unfit = self.add_form(number, &fold_text(form), false);
            }
        }
        Ok(())
    }

    fn add_form(&mut self, number: usize, form: &str, is_main: bool) -> Result<(), TermProblem> {
        let (text, ends) = (self.text.len(), self.ends.len());
        let fit = self.read(form);
        let (text, ends) = (text..self.text.len(), ends..self.ends.len());
        let reads = self.text.get(text.clone()).unwrap_or_default();
        let alike = self.all.iter().rev().take_while(|known| known.number == number);
        let is_known = alike.into_iter().any(|known| self.reads(known) == reads);
        if fit.is_ok() && !is_known {
            self.all.push(Form { number, is_main, text, ends });
        } else {
            self.text.truncate(text.start);
            self.ends.truncate(ends.start);
        }
        fit
    }

    /// Appends a form as it reads.
    fn read(&mut self, form: &str) -> Result<(), TermProblem> {
        let (text, ends) = (self.text.len(), self.ends.len());
        tokens::entry(form, &mut self.text, &mut self.ends).ok_or(TermProblem::Long)?;
        let reads = self.text.get(text..).unwrap_or_default();
        if self.ends.len() - ends > WORDS_MAX || reads.len() > ENTRY_BYTES_MAX {
            return Err(TermProblem::Long);
        }
        let letters = std::str::from_utf8(reads).unwrap_or_default().chars();
        match letters.filter(|letter| letter.is_alphanumeric()).take(2).count() {
            0 => Err(TermProblem::Empty),
            1 => Err(TermProblem::Single),
            _ => Ok(()),
        }
    }

    fn reads(&self, form: &Form) -> &[u8] {
        self.text.get(form.text.clone()).unwrap_or_default()
    }

    /// None: hashes of this seed meet.
    fn table(&self, seed: u64) -> Option<(Table, Vec<u32>)> {
        let first_words: usize = self.all.iter().map(|form| form.ends.len().min(2)).sum();
        let mut table = Table::new(seed, self.ends.len(), first_words);
        // What stands at each place of the table, so that no two beginnings are taken for one.
        let mut known: Vec<(u32, u32)> = vec![(0, 0); table.places_len()];
        let mut terms = Vec::with_capacity(self.all.len());
        for (number, form) in self.all.iter().enumerate() {
            let (reads, ends) = (self.reads(form), self.ends.get(form.ends.clone()).unwrap_or_default());
            let (mut key, mut from) = (0, 0);
            for (at, end) in ends.iter().enumerate() {
                let end = *end as usize;
                let unit = reads.get(from..end).unwrap_or_default();
                key = if at == 0 {
                    table.word(unit)
                } else {
                    let (between, word) = tokens::unit(unit);
                    table.longer(key, between, table.word(word))
                };
                let (place, is_new) = table.put(key)?;
                let there = known.get_mut(place)?;
                if is_new {
                    *there = (form.text.start as u32, end as u32);
                } else if self.text.get(there.0 as usize..(there.0 + there.1) as usize) != reads.get(..end) {
                    return None;
                }
                if at < 2 {
                    table.begin(key);
                }
                if at == 0 && ends.len() == 1 {
                    table.end_first(key);
                }
                if at + 1 == ends.len() {
                    terms.push(table.end(place, number as u32));
                } else {
                    table.go_on(place);
                }
                from = end;
            }
        }
        Some((table, terms))
    }

    fn put_together(
        &self,
        terms: &[Term<'_>],
        seed: u64,
    ) -> Result<Option<Dictionary>, (usize, TermProblem)> {
        let Some((table, same)) = self.table(seed) else { return Ok(None) };
        let mut cased: Vec<Box<str>> = Vec::new();
        let mut holds: Vec<Holds> = Vec::with_capacity(same.len());
        for (by, (form, same)) in self.all.iter().zip(same).enumerate() {
            let Some(Term { list, text, is_cased }) = terms.get(form.number) else { continue };
            if *is_cased {
                cased.push(case_of(text).into_boxed_str());
            }
            let owner = Owner { list: *list, cased: if *is_cased { cased.len() as u32 } else { 0 } };
            holds.push(Holds { form: same, owner, by });
        }
        // Those of one form together, in their order.
        holds.sort_by_key(|one| (one.form, one.owner.list));
        let mut owners = Vec::with_capacity(holds.len());
        let mut starts: Vec<u32> = Vec::with_capacity(self.all.len() + 1);
        for group in holds.chunk_by(|one, next| (one.form, one.owner.list) == (next.form, next.owner.list)) {
            let form = group.first().map_or(0, |one| one.form as usize);
            if starts.len() <= form {
                starts.resize(form + 1, owners.len() as u32);
            }
            match group {
                [one] => owners.push(one.owner),
                alike => owners.extend(self.alike(alike, &cased, terms)?),
            }
        }
        starts.resize(self.all.len() + 1, owners.len() as u32);
        let texts = self.all.iter().map(|form| form.text.start).chain([self.text.len()]);
        let placed = texts.zip(starts).map(|(text, owners)| Placed { text: text as u32, owners });
        Ok(Some(Dictionary { table, terms: placed.collect(), text: self.text.clone(), owners, cased }))
    }

    /// The owners of terms of one list that read alike: more than one if case counts.
    fn alike(
        &self,
        group: &[Holds],
        cased: &[Box<str>],
        terms: &[Term<'_>],
    ) -> Result<Vec<Owner>, (usize, TermProblem)> {
        let case = |one: &Holds| (one.owner.cased as usize).checked_sub(1).and_then(|at| cased.get(at));
        let mut kept: Vec<&Holds> = Vec::with_capacity(1);
        for one in group {
            let Some(form) = self.all.get(one.by) else { continue };
            let Some(twin) = kept.iter().find(|twin| case(twin) == case(one)) else {
                if kept.len() == CASES_MAX {
                    return Err((form.number, TermProblem::Cases));
                }
                kept.push(one);
                continue;
            };
            let earlier = self.all.get(twin.by).filter(|twin| twin.is_main && form.is_main);
            if let Some(earlier) = earlier {
                let before = terms.iter().take(earlier.number).filter(|term| term.list == one.owner.list);
                return Err((form.number, TermProblem::Twice(before.count() + 1)));
            }
        }
        Ok(kept.into_iter().map(|one| one.owner).collect())
    }
}

/// With a capital at the beginning of each word. A text of Greek or Russian capitals that was escaped shows some
/// of them as Latin ones.
fn capitalised(text: &str) -> String {
    let mut is_inside = false;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_inside {
            out.extend(letter.to_lowercase());
        } else {
            out.extend(letter.to_uppercase());
        }
        is_inside = letter.is_alphanumeric();
    }
    out
}
