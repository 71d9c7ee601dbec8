//! Was this number issued in the Americas? Needs the span; proves the check digits and the ranges that the
//! issuing authority publishes. Numbers without a check digit (SSN, ITIN, EIN) are proven by range only.

use super::symbols::{all_equal, digit, digits, letter, luhn_sum, month_and_day, number, symbols, weighted};

/// US social security number: no area 000, 666 or 900–999, no group 00, no serial 0000 (SSA, POMS RM
/// 10201.035); numbers that the SSA has voided because they were printed in advertisements are not findings.
pub(super) fn us_ssn(span: &[u8]) -> bool {
    const VOIDED: [u64; 3] = [78_051_120, 219_099_999, 457_555_462];
    let Some(values) = digits::<9>(span) else { return false };
    let [a, b, c, d, e, serial @ ..] = values;
    let area = number(&[a, b, c]);
    let issued = !matches!(area, 0 | 666 | 900..) && (d, e) != (0, 0) && number(&serial) != 0;
    issued && !all_equal(&values) && !VOIDED.contains(&number(&values))
}

/// US individual taxpayer number: 9xx with a middle pair of 50–65, 70–88, 90–92 or 94–99 (IRS, IRM 3.21.263).
pub(super) fn us_itin(span: &[u8]) -> bool {
    let Some([first, _, _, d, e, ..]) = digits::<9>(span) else { return false };
    first == 9 && matches!(d * 10 + e, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// US employer number: a campus prefix that the IRS has assigned ("How EINs are assigned and valid EIN
/// prefixes").
pub(super) fn us_ein(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [first, second, ..] = values;
    let assigned = matches!(first * 10 + second,
        1..=6 | 10..=16 | 20..=27 | 30..=48 | 50..=68 | 71..=77 | 80..=88 | 90..=95 | 98 | 99);
    assigned && !all_equal(&values)
}

/// US national provider identifier: Luhn over the number behind the prefix 80840 (45 CFR 162.406), which adds
/// 24.
pub(super) fn us_npi(span: &[u8]) -> bool {
    const PREFIX_80840_SUM: u32 = 24;
    let Some(values) = digits::<10>(span) else { return false };
    matches!(values, [1 | 2, ..]) && (luhn_sum(&values) + PREFIX_80840_SUM).is_multiple_of(10)
}

/// US DEA registration: registrant letter, name letter or 9, six digits and a check digit (21 CFR 1301, DEA
/// manual).
pub(super) fn us_dea(span: &[u8]) -> bool {
    let Some([kind, name, number @ ..]) = symbols::<9>(span) else { return false };
    let registrant = b"ABCDEFGHJKLMPRSTUX".contains(&kind) && (name.is_ascii_uppercase() || name == b'9');
    let mut values = [0_u8; 7];
    for (slot, byte) in values.iter_mut().zip(number) {
        let Some(value) = digit(byte) else { return false };
        *slot = u8::try_from(value).unwrap_or(0);
    }
    let [.., check] = values;
    registrant && weighted(&values, &[1, 2, 1, 2, 1, 2]) % 10 == u32::from(check) && !all_equal(&values)
}

/// Canadian social insurance number: Luhn; a first digit of 0 or 8 is not issued (Service Canada).
pub(super) fn ca_sin(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    !matches!(values, [0 | 8, ..]) && !all_equal(&values) && luhn_sum(&values).is_multiple_of(10)
}

/// Brazilian CPF: two digits modulo 11 (Receita Federal, IN RFB 1548/2015).
pub(super) fn br_cpf(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [.., first, second] = values;
    let one = weighted(&values, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let two = weighted(&values, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    !all_equal(&values) && [first, second] == [eleven_or_zero(one), eleven_or_zero(two)]
}

/// Brazilian CNPJ: two digits modulo 11; letters count as their ASCII code less 48 (IN RFB 2229/2024).
pub(super) fn br_cnpj(span: &[u8]) -> bool {
    let Some(text) = symbols::<14>(span) else { return false };
    let values = text.map(|byte| byte - b'0');
    let [.., first, second] = values;
    let one = weighted(&values, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]);
    let two = weighted(&values, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]);
    !all_equal(&values) && [first, second] == [eleven_or_zero(one), eleven_or_zero(two)]
}

/// 11 less the remainder, where 10 and 11 are written 0.
fn eleven_or_zero(sum: u32) -> u8 {
    u8::try_from((11 - sum % 11) % 11 % 10).unwrap_or(0)
}

/// Chilean RUT: weights 2 to 7 from the right, check symbol 0–9 or `K` (Servicio de Impuestos Internos).
pub(super) fn cl_rut(span: &[u8]) -> bool {
    let text = match symbols::<9>(span) {
        Some(text) => text,
        None => match symbols::<8>(span) {
            Some([a, b, c, d, e, f, g, check]) => [b'0', a, b, c, d, e, f, g, check],
            None => return false,
        },
    };
    let [head @ .., check] = text;
    if !head.iter().all(u8::is_ascii_digit) || all_equal(&head) {
        return false;
    }
    let sum = weighted(&head.map(|byte| byte - b'0'), &[3, 2, 7, 6, 5, 4, 3, 2]);
    match 11 - sum % 11 {
        10 => check == b'K',
        11 => check == b'0',
        value => digit(check) == Some(value),
    }
}

/// Argentine CUIT and CUIL: a known prefix and weights 5, 4, 3, 2, 7, 6, 5, 4, 3, 2 (AFIP, RG 1817/2005).
pub(super) fn ar_cuit(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [first, second, .., check] = values;
    let known = matches!(first * 10 + second, 20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34);
    known && (11 - weighted(&values, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11 == u32::from(check)
}

/// Mexican CURP: birth date, and a check digit over an alphabet with `Ñ` behind `N` (RENAPO, DOF 18/10/2021).
pub(super) fn mx_curp(span: &[u8]) -> bool {
    let Some(text) = symbols::<18>(span) else { return false };
    let value =
        |byte: u8| digit(byte).or_else(|| letter(byte).map(|place| place + 10 + u32::from(place > 13)));
    let [.., check] = text;
    let mut sum = 0;
    for (byte, weight) in text.iter().take(17).zip((2..=18).rev()) {
        let Some(value) = value(*byte) else { return false };
        sum += value * weight;
    }
    let [_, _, _, _, _, _, month_tens, month, day_tens, day, ..] = text;
    let pair = |tens: u8, ones: u8| Some(u64::from(digit(tens)? * 10 + digit(ones)?));
    let dated = pair(month_tens, month)
        .zip(pair(day_tens, day))
        .is_some_and(|(month, day)| month_and_day(month, day));
    dated && digit(check) == Some((10 - sum % 10) % 10)
}

/// US state and ZIP code: the first three digits of a code belong to a state (USPS, Publication 65).
pub(super) fn us_state_zip(span: &[u8]) -> bool {
    let Some((state, rest)) = span.split_first_chunk::<2>() else { return false };
    let Some([a, b, c]) = rest.trim_ascii_start().get(..3).and_then(digits::<3>) else { return false };
    let place = number(&[a, b, c]) as u16;
    let upper = state.map(|byte| byte.to_ascii_uppercase());
    ZIP_PLACES.iter().any(|(known, from, to)| **known == upper && (*from..=*to).contains(&place))
}

/// The first three digits of the ZIP codes of each state.
const ZIP_PLACES: &[(&[u8; 2], u16, u16)] = &[
    (b"AL", 350, 369),
    (b"AK", 995, 999),
    (b"AZ", 850, 865),
    (b"AR", 716, 729),
    (b"CA", 900, 961),
    (b"CO", 800, 816),
    (b"CT", 60, 69),
    (b"DC", 200, 205),
    (b"DE", 197, 199),
    (b"FL", 320, 349),
    (b"GA", 300, 319),
    (b"GA", 398, 399),
    (b"HI", 967, 968),
    (b"IA", 500, 528),
    (b"ID", 832, 838),
    (b"IL", 600, 629),
    (b"IN", 460, 479),
    (b"KS", 660, 679),
    (b"KY", 400, 427),
    (b"LA", 700, 714),
    (b"MA", 10, 27),
    (b"MA", 55, 55),
    (b"MD", 206, 219),
    (b"ME", 39, 49),
    (b"MI", 480, 499),
    (b"MN", 550, 567),
    (b"MO", 630, 658),
    (b"MS", 386, 397),
    (b"MT", 590, 599),
    (b"NC", 270, 289),
    (b"ND", 580, 588),
    (b"NE", 680, 693),
    (b"NH", 30, 38),
    (b"NJ", 70, 89),
    (b"NM", 870, 884),
    (b"NV", 889, 898),
    (b"NY", 5, 5),
    (b"NY", 63, 63),
    (b"NY", 100, 149),
    (b"OH", 430, 459),
    (b"OK", 730, 749),
    (b"OR", 970, 979),
    (b"PA", 150, 196),
    (b"PR", 6, 9),
    (b"RI", 28, 29),
    (b"SC", 290, 299),
    (b"SD", 570, 577),
    (b"TN", 370, 385),
    (b"TX", 733, 733),
    (b"TX", 750, 799),
    (b"TX", 885, 885),
    (b"UT", 840, 847),
    (b"VA", 201, 201),
    (b"VA", 220, 246),
    (b"VT", 50, 59),
    (b"WA", 980, 994),
    (b"WI", 530, 549),
    (b"WV", 247, 268),
    (b"WY", 820, 831),
];
