//! Was this number issued in northern or eastern Europe or Turkey? Needs the span; proves check digits and
//! birth dates. The century is taken from the number where it says so, and left open where it does not.

use super::symbols::{
    all_equal, base36, digit, digits, digits_but, luhn_sum, mod_11_10, month_and_day, number, symbols,
    weighted,
};

/// Polish PESEL: weights 1, 3, 7, 9 modulo 10, a month with its century (Ustawa o ewidencji ludności, art.
/// 15).
pub(super) fn pl_pesel(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [_, _, c, d, e, f, ..] = values;
    let dated = month_and_day(number(&[c, d]) % 20, number(&[e, f]));
    dated && weighted(&values, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

/// Polish tax number NIP: weights 6, 5, 7, 2, 3, 4, 5, 6, 7 modulo 11; a remainder of 10 is never issued.
pub(super) fn pl_nip(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., check] = values;
    !all_equal(&values) && weighted(&values, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == u32::from(check)
}

/// Swedish personal or coordination number: Luhn over ten digits; a coordination number adds 60 to the day
/// (Folkbokföringslagen 18 §).
pub(super) fn se_personal(span: &[u8]) -> bool {
    let values = match digits_but::<12>(span, b'+') {
        Some([a, b, tail @ ..]) if matches!(a * 10 + b, 18..=20) => tail,
        Some(_) => return false,
        None => match digits_but::<10>(span, b'+') {
            Some(values) => values,
            None => return false,
        },
    };
    let [_, _, c, d, e, f, ..] = values;
    let day = number(&[e, f]);
    month_and_day(number(&[c, d]), if day > 60 { day - 60 } else { day })
        && luhn_sum(&values).is_multiple_of(10)
}

/// Swedish organisation number: Luhn over ten digits, the third at least 2, so it is no birth date
/// (Skatteverket).
pub(super) fn se_organisation(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    matches!(values, [1..=9, _, 2..=9, ..]) && !all_equal(&values) && luhn_sum(&values).is_multiple_of(10)
}

/// Norwegian birth number: two check digits modulo 11; D-numbers add 40 to the day (Skatteetaten).
pub(super) fn no_birth_number(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [a, b, c, d, ..] = values;
    let (day, month) = (number(&[a, b]), number(&[c, d]));
    let dated =
        month_and_day(if month > 40 { month - 40 } else { month }, if day > 40 { day - 40 } else { day });
    let first = weighted(&values, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]) % 11;
    let second = weighted(&values, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) % 11;
    dated && first == 0 && second == 0
}

/// Danish CPR number: the date only, since numbers without the old check digit are issued from 2007 on
/// (CPR-kontoret).
pub(super) fn dk_cpr(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [a, b, c, d, ..] = values;
    month_and_day(number(&[c, d]), number(&[a, b]))
}

/// Finnish personal identity code: date, century sign, and a check symbol modulo 31 (DVV; VNA 690/2022).
pub(super) fn fi_identity_code(span: &[u8]) -> bool {
    const CHECKS: &[u8] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let &[a, b, c, d, e, f, sign, g, h, i, check] = span else { return false };
    let text = [a, b, c, d, e, f, g, h, i];
    if !text.iter().all(u8::is_ascii_digit) || !b"+-ABCDEFUVWXY".contains(&sign.to_ascii_uppercase()) {
        return false;
    }
    let values = text.map(|byte| byte - b'0');
    let [a, b, c, d, _, _, serial @ ..] = values;
    let dated = month_and_day(number(&[c, d]), number(&[a, b])) && number(&serial) >= 2;
    let place = usize::try_from(number(&values) % 31).unwrap_or(0);
    dated && CHECKS.get(place) == Some(&check.to_ascii_uppercase())
}

/// Czech and Slovak birth number: ten digits divisible by 11; months may carry 50, 20 or 70 (zákon 133/2000
/// Sb.).
pub(super) fn cz_birth_number(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [_, _, c, d, e, f, _, _, _, check] = values;
    let month = number(&[c, d]) % 50;
    let month = if month > 20 { month - 20 } else { month };
    let head = number(&values) / 10 % 11;
    let checks = number(&values).is_multiple_of(11) || (head == 10 && check == 0);
    month_and_day(month, number(&[e, f])) && checks && !all_equal(&values)
}

/// Romanian CNP: weights 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9 modulo 11, where 10 is written 1 (OUG 97/2005).
pub(super) fn ro_cnp(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [sex, _, _, c, d, e, f, .., check] = values;
    let rest = weighted(&values, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    sex != 0
        && month_and_day(number(&[c, d]), number(&[e, f]))
        && if rest == 10 { 1 } else { rest } == u32::from(check)
}

/// Bulgarian EGN: weights 2, 4, 8, 5, 10, 9, 7, 3, 6 modulo 11 modulo 10; months carry 20 or 40 (GRAO).
pub(super) fn bg_egn(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [_, _, c, d, e, f, .., check] = values;
    let month = number(&[c, d]);
    let rest = weighted(&values, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10;
    month < 53 && month_and_day(month % 20, number(&[e, f])) && rest == u32::from(check)
}

/// Croatian OIB: eleven digits, MOD 11,10 (Zakon o osobnom identifikacijskom broju).
pub(super) fn hr_oib(span: &[u8]) -> bool {
    digits::<11>(span).is_some_and(|values| mod_11_10(&values) && !all_equal(&values))
}

/// Estonian and Lithuanian personal code: two rows of weights modulo 11 (EVS 585; LR gyventojų registro
/// įstatymas).
pub(super) fn baltic_personal_code(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [sex, _, _, c, d, e, f, .., check] = values;
    let first = weighted(&values, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(&values, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10;
    let expected = if first == 10 { second } else { first };
    (1..=8).contains(&sex) && month_and_day(number(&[c, d]), number(&[e, f])) && expected == u32::from(check)
}

/// Greek AFM: powers of two modulo 11 modulo 10 (AADE).
pub(super) fn gr_afm(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [.., check] = values;
    let sum = weighted(&values, &[256, 128, 64, 32, 16, 8, 4, 2]);
    !all_equal(&values) && sum % 11 % 10 == u32::from(check)
}

/// Turkish identity number: the tenth and eleventh digits check the rest (NVİ).
pub(super) fn tr_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [first, .., tenth, eleventh] = values;
    let odd = weighted(&values, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(&values, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let sum = weighted(&values, &[1; 10]);
    first != 0 && (odd * 7 + 100 - even) % 10 == u32::from(tenth) && sum % 10 == u32::from(eleventh)
}

/// Hungarian personal identifier (TAJ, social security): weights 3 and 7 modulo 10 (1996. évi XX. törvény).
pub(super) fn hu_taj(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [.., check] = values;
    !all_equal(&values) && weighted(&values, &[3, 7, 3, 7, 3, 7, 3, 7]) % 10 == u32::from(check)
}

/// Ukrainian taxpayer number: weights −1, 5, 7, 9, 4, 6, 10, 5, 7 modulo 11 modulo 10 (RNOKPP).
pub(super) fn ua_taxpayer(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., check] = values;
    let sum = weighted(&values, &[10, 5, 7, 9, 4, 6, 10, 5, 7]);
    !all_equal(&values) && sum % 11 % 10 == u32::from(check)
}

/// Latvian personal code of the old form: weights modulo 11, shifted by one (PMLP); new codes begin with 32.
pub(super) fn lv_personal_code(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [a, b, c, d, .., check] = values;
    let sum = weighted(&values, &[1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let dated = month_and_day(number(&[c, d]), number(&[a, b]));
    (a, b) == (3, 2) || (dated && (1101 - sum) % 11 == u32::from(check))
}

/// Icelandic kennitala: weights 3, 2, 7, 6, 5, 4, 3, 2 modulo 11 on the ninth digit (Þjóðskrá).
pub(super) fn is_kennitala(span: &[u8]) -> bool {
    let Some(text) = symbols::<10>(span) else { return false };
    if !text.iter().all(|byte| digit(*byte).is_some()) {
        return false;
    }
    let values = text.map(|byte| byte - b'0');
    let [a, b, c, d, .., check, century] = values;
    let rest = (11 - weighted(&values, &[3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    matches!(century, 8 | 9 | 0)
        && month_and_day(number(&[c, d]), number(&[a, b]))
        && rest == u32::from(check)
}

/// Polish company number REGON: 9 or 14 digits, modulo 11 (GUS).
pub(super) fn pl_regon(span: &[u8]) -> bool {
    let nine = |values: &[u8]| {
        values.get(8).is_some_and(|check| {
            weighted(values, &[8, 9, 2, 3, 4, 5, 6, 7]) % 11 % 10 == u32::from(*check) && !all_equal(values)
        })
    };
    digits::<9>(span).is_some_and(|values| nine(&values))
        || digits::<14>(span).is_some_and(|values| {
            let [.., check] = values;
            nine(&values)
                && weighted(&values, &[2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8]) % 11 % 10 == u32::from(check)
        })
}

/// Polish identity card: three letters and six digits, weights 7, 3, 1, 9, 7, 3, 1, 7, 3 modulo 10 (ministry).
pub(super) fn pl_id_card(span: &[u8]) -> bool {
    let Some(text) = symbols::<9>(span) else { return false };
    let [a, b, c, ..] = text;
    let values = text.map(|byte| base36(byte).unwrap_or(0) as u8);
    [a, b, c].iter().all(u8::is_ascii_uppercase)
        && text.iter().skip(3).all(u8::is_ascii_digit)
        && weighted(&values, &[7, 3, 1, 9, 7, 3, 1, 7, 3]).is_multiple_of(10)
}

/// Hungarian tax number of a person: ten digits beginning with 8, weights 1 to 9 modulo 11 (NAV).
pub(super) fn hu_tax(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [first, .., check] = values;
    first == 8 && weighted(&values, &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11 == u32::from(check)
}

/// Greek social security number AMKA: a birth date, Luhn over eleven digits (IDIKA).
pub(super) fn gr_social(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [a, b, c, d, ..] = values;
    month_and_day(number(&[c, d]), number(&[a, b])) && luhn_sum(&values).is_multiple_of(10)
}
