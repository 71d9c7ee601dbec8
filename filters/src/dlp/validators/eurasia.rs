//! Was this number issued between the Adriatic and the Gulf? Needs the span; proves check digits and birth dates of
//! the successor states of the Soviet Union and Yugoslavia and of the Arab states, as each authority publishes them.

use super::symbols::{all_equal, digits, luhn_sum, month_and_day, number, weighted};

/// Russian taxpayer number INN: ten digits of a company, twelve of a person, modulo 11 (FNS order MMV-7-6/435).
pub(super) fn ru_inn(span: &[u8]) -> bool {
    const WEIGHTS: [u32; 11] = [3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8];
    let check = |values: &[u8], weights: &[u32], place: usize| {
        values.get(place).is_some_and(|check| weighted(values, weights) % 11 % 10 == u32::from(*check))
    };
    let [_, eleven @ ..] = WEIGHTS;
    let [_, _, ten @ ..] = WEIGHTS;
    digits::<10>(span).is_some_and(|values| !all_equal(&values) && check(&values, &ten, 9))
        || digits::<12>(span)
            .is_some_and(|values| check(&values, &eleven, 10) && check(&values, &WEIGHTS, 11))
}

/// Russian pension number SNILS: weights 9 to 1 modulo 101, 100 being written as 00 (PFR).
pub(super) fn ru_snils(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [.., tens, ones] = values;
    let sum = weighted(&values, &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100;
    !all_equal(&values) && u64::from(sum) == number(&[tens, ones])
}

/// Unique master citizen number JMBG or EMŠO of the states of former Yugoslavia: a date and weights 7 to 2, twice.
pub(super) fn yu_citizen(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [a, b, c, d, .., check] = values;
    let rest = 11 - weighted(&values, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    month_and_day(number(&[c, d]), number(&[a, b])) && u32::from(check) == if rest > 9 { 0 } else { rest }
}

/// Belarusian payer number UNP: weights 29, 23, 19, 17, 13, 7, 5, 3 modulo 11 (Ministry of Taxes).
pub(super) fn by_payer(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [.., check] = values;
    !all_equal(&values) && weighted(&values, &[29, 23, 19, 17, 13, 7, 5, 3]) % 11 == u32::from(check)
}

/// Moldovan personal or state number: weights 7, 3, 1 modulo 10 (Law 1069/2000).
pub(super) fn md_number(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [first, .., check] = values;
    matches!(first, 0..=2)
        && !all_equal(&values)
        && weighted(&values, &[7, 3, 1, 7, 3, 1, 7, 3, 1, 7, 3, 1]) % 10 == u32::from(check)
}

/// Kazakh individual or business number: weights 1 to 11 modulo 11, and 3 to 11, 1, 2 where that leaves 10 (Law
/// 223/2007).
pub(super) fn kz_number(span: &[u8]) -> bool {
    let Some(values) = digits::<12>(span) else { return false };
    let [_, _, c, d, .., check] = values;
    let first = weighted(&values, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) % 11;
    let rest = if first == 10 { weighted(&values, &[3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2]) % 11 } else { first };
    (1..=12).contains(&number(&[c, d])) && rest == u32::from(check)
}

/// Egyptian national number: century 2 or 3, a birth date, a governorate (Civil Status Law 143/1994).
pub(super) fn eg_national(span: &[u8]) -> bool {
    let Some([century, _, _, c, d, e, f, g, h, ..]) = digits::<14>(span) else { return false };
    matches!(century, 2 | 3)
        && month_and_day(number(&[c, d]), number(&[e, f]))
        && matches!(number(&[g, h]), 1..=4 | 11..=19 | 21..=29 | 31..=35 | 88)
}

/// Emirates ID: 784, a year of birth, Luhn over fifteen digits (ICP).
pub(super) fn ae_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<15>(span) else { return false };
    let [a, b, c, year @ ..] = values;
    let [y, z, ..] = year;
    (a, b, c) == (7, 8, 4) && matches!(number(&[y, z]), 19 | 20) && luhn_sum(&values).is_multiple_of(10)
}

/// Saudi national or resident number: 1 or 2, Luhn over ten digits (Absher).
pub(super) fn sa_identity(span: &[u8]) -> bool {
    digits::<10>(span)
        .is_some_and(|values| matches!(values, [1 | 2, ..]) && luhn_sum(&values).is_multiple_of(10))
}

/// Kuwaiti civil number: century, birth date, weights 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2 (PACI).
pub(super) fn kw_civil(span: &[u8]) -> bool {
    let Some(values) = digits::<12>(span) else { return false };
    let [century, _, _, c, d, e, f, .., check] = values;
    matches!(century, 1..=3)
        && month_and_day(number(&[c, d]), number(&[e, f]))
        && 11 - weighted(&values, &[2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11 == u32::from(check)
}

/// Iranian national code: weights 10 to 2 modulo 11 (Sabt-e Ahval).
pub(super) fn ir_national(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., check] = values;
    let rest = weighted(&values, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    !all_equal(&values) && u32::from(check) == if rest < 2 { rest } else { 11 - rest }
}
