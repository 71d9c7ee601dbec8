//! Was this number issued in western or southern Europe? Needs the span; proves check digits, dates and
//! ranges as each authority publishes them. Whether the person exists is not asked.

use super::asia_pacific_africa::verhoeff;
use super::symbols::{
    all_equal, base36, digit, digits, letter, luhn_sum, mod_11_10, month_and_day, number, symbols, weighted,
};

/// The control letters of the Spanish DNI and NIE, by remainder modulo 23 (Real Decreto 1553/2005, art. 11).
const DNI_LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// UK National Health Service number: weights 10 to 2 modulo 11 (NHS Data Dictionary).
pub(super) fn uk_nhs(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., check] = values;
    let rest = 11 - weighted(&values, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    !all_equal(&values) && rest != 10 && rest % 11 == u32::from(check)
}

/// UK national insurance number: prefixes that are not used, suffix `A` to `D` (HMRC, NIM39110).
pub(super) fn uk_nino(span: &[u8]) -> bool {
    const UNUSED: [[u8; 2]; 7] = [*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"];
    let Some([first, second, number @ .., suffix]) = symbols::<9>(span) else { return false };
    let prefix =
        first.is_ascii_uppercase() && second.is_ascii_uppercase() && !UNUSED.contains(&[first, second]);
    let allowed = !b"DFIQUV".contains(&first) && !b"DFIOQUV".contains(&second);
    prefix && allowed && number.iter().all(u8::is_ascii_digit) && (b'A'..=b'D').contains(&suffix)
}

/// UK unique taxpayer reference: the first digit checks the other nine (HMRC, modulus 11 with weights 6 to
/// 2).
pub(super) fn uk_utr(span: &[u8]) -> bool {
    const CHECKS: &[u8] = b"21987654321";
    let Some([check, rest @ ..]) = digits::<10>(span) else { return false };
    let place = weighted(&rest, &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
    let expected = usize::try_from(place).ok().and_then(|place| CHECKS.get(place));
    expected == Some(&(check + b'0')) && !all_equal(&rest)
}

/// German tax identification number: MOD 11,10, and of the first ten digits exactly one is repeated, two or
/// three times (§ 139b AO; Bundeszentralamt für Steuern).
pub(super) fn de_tax_id(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [head @ .., _check] = values;
    let mut counts = [0_u8; 10];
    for value in head {
        if let Some(count) = counts.get_mut(usize::from(value)) {
            *count += 1;
        }
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    !matches!(head, [0, ..]) && repeated == 1 && most <= 3 && mod_11_10(&values)
}

/// German VAT number: nine digits behind `DE`, MOD 11,10 (Bundeszentralamt für Steuern).
pub(super) fn de_vat(span: &[u8]) -> bool {
    let bare = span.get(2..).unwrap_or_default();
    digits::<9>(bare).is_some_and(|values| !matches!(values, [0, ..]) && mod_11_10(&values))
}

/// German identity card or passport: nine symbols and a check digit with weights 7, 3, 1 (ICAO Doc 9303-3
/// §4.9).
pub(super) fn de_id_card(span: &[u8]) -> bool {
    let Some([serial @ .., check]) = symbols::<10>(span) else { return false };
    let values = serial.iter().map(|byte| base36(*byte).unwrap_or(0));
    let sum: u32 = values.zip([7, 3, 1].into_iter().cycle()).map(|(value, weight)| value * weight).sum();
    serial.iter().filter(|byte| byte.is_ascii_digit()).count() >= 2 && digit(check) == Some(sum % 10)
}

/// German health insurance number: a letter as two digits, then weights 1 and 2 with digit sums (§ 290 SGB
/// V).
pub(super) fn de_health_insurance(span: &[u8]) -> bool {
    let Some([first, rest @ ..]) = symbols::<10>(span) else { return false };
    let Some(place) = letter(first).map(|place| place + 1) else { return false };
    let [.., check] = rest;
    let tail = rest.iter().take(8).map(|byte| digit(*byte));
    let values = [Some(place / 10), Some(place % 10)].into_iter().chain(tail);
    let mut sum = 0;
    for (value, weight) in values.zip([1, 2].into_iter().cycle()) {
        let Some(value) = value else { return false };
        sum += digit_sum(value * weight);
    }
    digit(check) == Some(sum % 10)
}

/// German pension insurance number: a letter as two digits, weights 2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1 with
/// digit sums (§ 2 VKVV).
pub(super) fn de_pension(span: &[u8]) -> bool {
    let Some(text) = symbols::<12>(span) else { return false };
    let [a, b, c, d, e, f, g, h, initial, i, j, check] = text;
    let Some(place) = letter(initial).map(|place| place + 1) else { return false };
    let head = [a, b, c, d, e, f, g, h].into_iter().map(digit);
    let tail = [Some(place / 10), Some(place % 10), digit(i), digit(j)];
    let mut sum = 0;
    for (value, weight) in head.chain(tail).zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]) {
        let Some(value) = value else { return false };
        sum += digit_sum(value * weight);
    }
    digit(check) == Some(sum % 10)
}

/// German physician number: weights 4 and 9 over six digits, two digits of specialty behind (KBV, LANR).
pub(super) fn de_physician(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [_, _, _, _, _, _, check, ..] = values;
    (10 - weighted(&values, &[4, 9, 4, 9, 4, 9]) % 10) % 10 == u32::from(check) && !all_equal(&values)
}

fn digit_sum(value: u32) -> u32 {
    value / 10 + value % 10
}

/// French NIR with its key: 97 less the number modulo 97; Corsica counts 2A as 19 and 2B as 18 (INSEE; CSS
/// R115-1).
pub(super) fn fr_nir(span: &[u8]) -> bool {
    let Some(text) = symbols::<15>(span) else { return false };
    let [sex, y, z, m, n, department, county, rest @ ..] = text;
    let county = match (department, county) {
        (b'2', b'A') => [b'1', b'9'],
        (b'2', b'B') => [b'1', b'8'],
        (department, county) => [department, county],
    };
    let [place @ .., key_tens, key_ones] = rest;
    let head: Vec<u8> = [sex, y, z, m, n].into_iter().chain(county).chain(place).collect();
    if !head.iter().chain([&key_tens, &key_ones]).all(u8::is_ascii_digit) {
        return false;
    }
    let head: Vec<u8> = head.iter().map(|byte| byte - b'0').collect();
    let key = number(&[key_tens - b'0', key_ones - b'0']);
    matches!(sex, b'1'..=b'4' | b'7' | b'8') && 97 - number(&head) % 97 == key
}

/// French company numbers: SIREN has 9 and SIRET 14 digits, both Luhn (INSEE).
pub(super) fn fr_siren(span: &[u8]) -> bool {
    let nine =
        digits::<9>(span).is_some_and(|values| luhn_sum(&values).is_multiple_of(10) && !all_equal(&values));
    nine || digits::<14>(span)
        .is_some_and(|values| luhn_sum(&values).is_multiple_of(10) && !all_equal(&values))
}

/// Spanish DNI and NIE: the letter is the number modulo 23; `X`, `Y`, `Z` stand for 0, 1, 2.
pub(super) fn es_dni(span: &[u8]) -> bool {
    let Some([first, rest @ .., check]) = symbols::<9>(span) else { return false };
    let first = match first {
        b'X' | b'K' | b'L' | b'M' => b'0',
        b'Y' => b'1',
        b'Z' => b'2',
        other => other,
    };
    let head: Vec<u8> = [first].into_iter().chain(rest).collect();
    if !head.iter().all(u8::is_ascii_digit) || all_equal(&head) {
        return false;
    }
    let value = number(&head.iter().map(|byte| byte - b'0').collect::<Vec<u8>>()) % 23;
    usize::try_from(value).ok().and_then(|place| DNI_LETTERS.get(place)) == Some(&check)
}

/// Spanish tax number: a DNI or NIE, or the CIF of a company, whose digits are Luhn and whose last sign may be a
/// letter (Orden EHA/451/2008).
pub(super) fn es_tax(span: &[u8]) -> bool {
    let Some([kind, head @ .., check]) = symbols::<9>(span) else { return false };
    if es_dni(span) {
        return true;
    }
    let check = match check {
        b'J' => b'0',
        b'A'..=b'I' => check - b'A' + b'1',
        other => other,
    };
    let whole: Vec<u8> = head.into_iter().chain([check]).collect();
    b"ABCDEFGHJNPQRSUVW".contains(&kind)
        && digits::<8>(&whole)
            .is_some_and(|values| luhn_sum(&values).is_multiple_of(10) && !all_equal(&values))
}

/// Luxembourg national number: a birth date, Luhn over twelve digits, Verhoeff over eleven and the last (RNPP).
pub(super) fn lu_national(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [a, b, _, _, c, d, e, f, .., check] = values;
    let (twelve, _) = values.split_at(12);
    let (eleven, _) = values.split_at(11);
    let verhoeff_over: Vec<u8> = eleven.iter().copied().chain([check]).collect();
    matches!(number(&[a, b]), 18..=20)
        && month_and_day(number(&[c, d]), number(&[e, f]))
        && luhn_sum(twelve).is_multiple_of(10)
        && verhoeff(&verhoeff_over)
}

/// Spanish social security number: the first ten digits modulo 97 (TGSS).
pub(super) fn es_social(span: &[u8]) -> bool {
    let Some(values) = digits::<12>(span) else { return false };
    let [a, b, middle @ .., tens, ones] = values;
    let (province, serial) = (number(&[a, b]), number(&middle));
    // Below ten millions the serial counts with seven digits.
    let whole =
        if serial < 10_000_000 { province * 10_000_000 + serial } else { province * 100_000_000 + serial };
    matches!(province, 1..=53 | 66) && whole % 97 == number(&[tens, ones])
}

/// Italian codice fiscale: odd places by table, even places by value, modulo 26 (DM 23/12/1976; omocodia
/// allowed).
pub(super) fn it_fiscal_code(span: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some([head @ .., check]) = symbols::<16>(span) else { return false };
    let mut sum = 0;
    for (place, byte) in head.iter().enumerate() {
        let Some(value) = digit(*byte).or_else(|| letter(*byte)) else { return false };
        let odd = usize::try_from(value).ok().and_then(|value| ODD.get(value)).copied().unwrap_or(0);
        sum += if place % 2 == 0 { odd } else { value };
    }
    letter(check) == Some(sum % 26)
}

/// Italian partita IVA: eleven digits, Luhn (DPR 633/1972, art. 35).
pub(super) fn it_vat(span: &[u8]) -> bool {
    digits::<11>(span).is_some_and(|values| luhn_sum(&values).is_multiple_of(10) && !all_equal(&values))
}

/// Dutch citizen service number: the "elfproef", weights 9 to 2 and −1 (Wet algemene bepalingen BSN).
pub(super) fn nl_bsn(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [.., check] = values;
    let sum = weighted(&values, &[9, 8, 7, 6, 5, 4, 3, 2]);
    !all_equal(&values) && sum % 11 == u32::from(check) % 11
}

/// Belgian national register number: 97 less the number modulo 97; births from 2000 on are prefixed with 2.
pub(super) fn be_national(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [head @ .., tens, ones] = values;
    let (before_2000, key) = (number(&head), number(&[tens, ones]));
    let checks = |value: u64| 97 - value % 97 == key;
    !all_equal(&values) && (checks(before_2000) || checks(2_000_000_000 + before_2000))
}

/// Portuguese taxpayer number: weights 9 to 2 modulo 11 (Decreto-Lei 14/2013).
pub(super) fn pt_nif(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [first, .., check] = values;
    let rest = 11 - weighted(&values, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    matches!(first, 1..=3 | 5..=9)
        && !all_equal(&values)
        && if rest > 9 { 0 } else { rest } == u32::from(check)
}

/// Swiss AHV number: 13 digits beginning 756, an EAN-13 check digit (Swiss ordinance AHVV, art. 133).
pub(super) fn ch_ahv(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    matches!(values, [7, 5, 6, ..])
        && weighted(&values, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// Austrian insurance number: the fourth digit checks the other nine (Dachverband der
/// Sozialversicherungsträger).
pub(super) fn at_insurance(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [first, _, _, check, ..] = values;
    first != 0 && weighted(&values, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == u32::from(check)
}

/// Irish PPS number: weights 8 to 2, and 9 for a second letter, modulo 23 (Department of Social Protection).
pub(super) fn ie_pps(span: &[u8]) -> bool {
    let (text, second) = match symbols::<9>(span) {
        Some([head @ .., second]) => {
            (head, if matches!(second, b'T' | b'W' | b'X') { 0 } else { letter(second).map_or(0, |l| l + 1) })
        }
        None => match symbols::<8>(span) {
            Some(text) => (text, 0),
            None => return false,
        },
    };
    let [number @ .., check] = text;
    if !number.iter().all(u8::is_ascii_digit) || all_equal(&number) {
        return false;
    }
    let sum = weighted(&number.map(|byte| byte - b'0'), &[8, 7, 6, 5, 4, 3, 2]) + second * 9;
    letter(check) == Some((sum + 22) % 23)
}

/// French tax number SPI: thirteen digits, the first ten modulo 511 (Direction générale des Finances publiques).
pub(super) fn fr_tax(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let (head, check) = values.split_at(10);
    matches!(values, [0..=3, ..]) && !all_equal(&values) && number(head) % 511 == number(check)
}

/// Portuguese citizen card: twelve signs, every second doubled and cut to one digit, modulo 10 (AMA).
pub(super) fn pt_card(span: &[u8]) -> bool {
    let Some(text) = symbols::<12>(span) else { return false };
    let fold = |(place, byte): (usize, &u8)| {
        let value = base36(*byte).unwrap_or(0);
        match (place % 2 == 0, value * 2) {
            (true, doubled) if doubled > 9 => doubled - 9,
            (true, doubled) => doubled,
            (false, _) => value,
        }
    };
    text.iter().enumerate().map(fold).sum::<u32>().is_multiple_of(10)
        && text.iter().take(9).all(u8::is_ascii_digit)
        && text.iter().skip(9).take(2).all(u8::is_ascii_alphanumeric)
}
