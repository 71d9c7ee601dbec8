//! When is a cell of a table the same as a part of a text? When both have the same form.
//!
//! The form of a cell is its words as [`tokens`] reads them, with what stands between. Words that all hold digits
//! are numbers: they are written in groups or not, so their form has none. Nothing else is made alike: a date is
//! found as it is written in the table.

use crate::dlp::tokens;

/// Words of a cell.
const WORDS_MAX: usize = 8;
/// Shorter words are everywhere, and so are shorter numbers.
const WORD_BYTES_MIN: usize = 3;
const NUMBER_BYTES_MIN: usize = 4;
/// The longest number that may be written in groups: its length is one of 64 bits.
pub(super) const NUMBER_BYTES_MAX: usize = 40;

/// How a cell reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) reads: Vec<u8>,
    /// Where each of its beginnings ends; the last one is the whole.
    pub(super) ends: Vec<u32>,
}

/// Why a cell is not looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Empty,
    Short,
    Long,
}

impl Form {
    pub(super) fn of(cell: &str) -> Result<Self, Unfit> {
        if cell.len() > tokens::WORD_BYTES_MAX {
            return Err(Unfit::Long);
        }
        let (mut reads, mut ends) = (Vec::new(), Vec::new());
        tokens::entry(cell, &mut reads, &mut ends).ok_or(Unfit::Long)?;
        if reads.is_empty() {
            return Err(Unfit::Empty);
        }
        let number = number(&reads, &ends);
        let form = match number {
            Some(number) => Self { ends: vec![number.len() as u32], reads: number },
            None => Self { reads, ends },
        };
        let is_number = form.reads.iter().all(u8::is_ascii_digit);
        let least = if is_number { NUMBER_BYTES_MIN } else { WORD_BYTES_MIN };
        if form.reads.len() < least {
            Err(Unfit::Short)
        } else if form.ends.len() > WORDS_MAX || form.reads.len() > tokens::ENTRY_BYTES_MAX {
            Err(Unfit::Long)
        } else {
            Ok(form)
        }
    }

    /// Whether texts may write it in groups.
    pub(super) fn is_number(&self) -> bool {
        self.ends.len() == 1 && self.reads.len() <= NUMBER_BYTES_MAX && is_part_of_number(&self.reads)
    }
}

/// What the words of a number say without what stands between, if these are such words.
fn number(reads: &[u8], ends: &[u32]) -> Option<Vec<u8>> {
    let mut number = Vec::with_capacity(reads.len());
    let mut from = 0;
    for end in ends {
        let unit = reads.get(from..*end as usize)?;
        let word = unit.iter().position(|byte| !may_stand_in_number(*byte))?;
        let word = unit.get(word..).filter(|word| is_part_of_number(word))?;
        number.extend_from_slice(word);
        from = *end as usize;
    }
    (number.len() <= NUMBER_BYTES_MAX).then_some(number)
}

/// Whether this word may be a group of a number: `4929`, `de89`.
pub(super) fn is_part_of_number(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_digit) && word.iter().all(u8::is_ascii_alphanumeric)
}

/// Whether this may stand between the groups of a number.
pub(super) fn may_stand_in_number(byte: u8) -> bool {
    matches!(byte, b' ' | b'/' | b',' | b'(' | b')' | b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_form_that_texts_have() {
        let form = |cell: &str| Form::of(cell).map(|form| String::from_utf8(form.reads).unwrap());
        assert_eq!(form(" Anna  SMITH-Jones "), Ok("anna smith jones".to_owned()));
        assert_eq!(form("4929 1234-5678"), Ok("492912345678".to_owned()));
        assert_eq!(form("+49 (30) 1234/567"), Ok("49301234567".to_owned()));
        assert_eq!(form("1,234.50"), Ok("123450".to_owned()));
        assert_eq!(form("DE89 3704 0044"), Ok("de8937040044".to_owned()));
        assert_eq!(form("1980-05-17"), Ok("19800517".to_owned()));
        assert_eq!(form("John.Smith@example.com"), Ok("john smith@example com".to_owned()));
        assert_eq!(form("12 Elm Street"), Ok("12 elm street".to_owned()));
        assert_eq!(form("王伟"), Ok("王 伟".to_owned()));
        assert_eq!(form(" - "), Err(Unfit::Empty));
        assert_eq!(form("NY"), Err(Unfit::Short));
        assert_eq!(form("123"), Err(Unfit::Short));
        assert_eq!(form(&"word ".repeat(9)), Err(Unfit::Long));
        assert_eq!(form(&"w".repeat(300)), Err(Unfit::Long));
    }
}
