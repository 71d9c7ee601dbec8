//! Was this number issued in south or south-east Asia? Needs the span; proves dates, places and check digits as each
//! authority publishes them. The numbers of India, China, Japan and their like stand in `asia_pacific_africa`.

use super::symbols::{all_equal, digits, luhn_sum, month_and_day, number, weighted};

/// Malaysian identity card: a birth date and a place (Jabatan Pendaftaran Negara).
pub(super) fn my_identity(span: &[u8]) -> bool {
    let Some([_, _, c, d, e, f, g, h, ..]) = digits::<12>(span) else { return false };
    month_and_day(number(&[c, d]), number(&[e, f]))
        && matches!(number(&[g, h]), 1..=16 | 21..=68 | 71 | 72 | 74..=79 | 82..=93 | 98 | 99)
}

/// Indonesian identity number NIK: a province, a birth date whose day is 40 higher for women (UU 24/2013).
pub(super) fn id_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<16>(span) else { return false };
    let [a, b, _, _, _, _, day_tens, day_ones, c, d, _, _, serial @ ..] = values;
    let day = number(&[day_tens, day_ones]);
    matches!(number(&[a, b]), 11..=19 | 21 | 31..=36 | 51..=53 | 61..=65 | 71..=76 | 81 | 82 | 91..=97)
        && month_and_day(number(&[c, d]), if day > 40 { day - 40 } else { day })
        && number(&serial) > 0
}

/// Indonesian tax number NPWP: Luhn over the first nine digits (DJP).
pub(super) fn id_tax(span: &[u8]) -> bool {
    let Some(values) = digits::<15>(span) else { return false };
    let (head, _) = values.split_at(9);
    !all_equal(head) && luhn_sum(head).is_multiple_of(10)
}

/// Vietnamese tax number: weights 31, 29, 23, 19, 17, 13, 7, 5, 3, subtracted from 10 (Circular 105/2020).
pub(super) fn vn_tax(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., check] = values;
    let rest = weighted(&values, &[31, 29, 23, 19, 17, 13, 7, 5, 3]) % 11;
    !all_equal(&values) && 10 - rest == u32::from(check)
}

/// Pakistani identity number CNIC: a province and a sex that are in use (NADRA).
pub(super) fn pk_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [province, .., sex] = values;
    matches!(province, 1..=7) && sex > 0 && !all_equal(&values)
}

/// Sri Lankan identity number: a day of the year, 500 higher for women (Department for Registration of Persons).
pub(super) fn lk_identity(span: &[u8]) -> bool {
    let day = match (digits::<12>(span), span.get(..9).and_then(digits::<9>)) {
        (Some([a, b, _, _, c, d, e, ..]), _) if matches!(number(&[a, b]), 19 | 20) => number(&[c, d, e]),
        (None, Some([_, _, c, d, e, ..])) => number(&[c, d, e]),
        (Some(_) | None, _) => return false,
    };
    matches!(day, 1..=366 | 501..=866)
}
