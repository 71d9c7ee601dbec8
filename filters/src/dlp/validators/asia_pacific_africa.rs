//! Was this number issued in Asia, the Pacific, Africa or Israel? Needs the span; proves the check digits
//! that each authority publishes.

use super::symbols::{
    all_equal, base36, digit, digits, digits_but, letter, luhn_sum, month_and_day, number, symbols, weighted,
};

/// Multiplication in the dihedral group D5, after J. Verhoeff, "Error Detecting Decimal Codes", 1969.
const D5: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];

/// Verhoeff's permutation; its eighth power is the identity.
const PERMUTATION: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];

/// Verhoeff's check over all digits, the last being the check digit.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    let cell = |table: &[u8; 10], place: u8| table.get(usize::from(place)).copied().unwrap_or(0);
    let rows = digits.iter().rev().zip(PERMUTATION.iter().cycle());
    let check = rows.fold(0_u8, |check, (digit, row)| {
        D5.get(usize::from(check)).map_or(0, |line| cell(line, cell(row, *digit)))
    });
    check == 0
}

/// Indian Aadhaar: twelve digits, the first 2 to 9, Verhoeff; palindromes are not issued (UIDAI).
pub(super) fn in_aadhaar(span: &[u8]) -> bool {
    let Some(values) = digits_but::<12>(span, b':') else { return false };
    let palindrome = values.iter().eq(values.iter().rev());
    matches!(values, [2..=9, ..]) && !palindrome && verhoeff(&values)
}

/// Indian GSTIN: check symbol of base 36 with factors 1 and 2 (CGST Rules 2017, rule 10).
pub(super) fn in_gstin(span: &[u8]) -> bool {
    let Some([head @ .., check]) = symbols::<15>(span) else { return false };
    let values = head.iter().map(|byte| base36(*byte).unwrap_or(0));
    let sum: u32 =
        values.zip([1, 2].into_iter().cycle()).map(|(v, factor)| v * factor / 36 + v * factor % 36).sum();
    base36(check) == Some((36 - sum % 36) % 36)
}

/// Singapore NRIC and FIN: weights 2, 7, 6, 5, 4, 3, 2; `T` and `G` add 4, `M` adds 3 (ICA).
pub(super) fn sg_nric(span: &[u8]) -> bool {
    let Some([kind, number @ .., check]) = symbols::<9>(span) else { return false };
    let (offset, letters): (u32, &[u8]) = match kind {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"KLJNPQRTUWX"),
        _ => return false,
    };
    if !number.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let rest = (offset + weighted(&number.map(|byte| byte - b'0'), &[2, 7, 6, 5, 4, 3, 2])) % 11;
    // The letters of `M` are published counted from the other end.
    let place = usize::try_from(if kind == b'M' { 10 - rest } else { rest }).unwrap_or(0);
    letters.get(place) == Some(&check)
}

/// South Korean resident number: weights 2 to 9 and 2 to 5 modulo 11; numbers of October 2020 and later carry
/// no check digit and are a known miss (Ministry of the Interior and Safety).
pub(super) fn kr_resident(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [_, _, c, d, e, f, sex, .., check] = values;
    let sum = weighted(&values, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let dated = month_and_day(number(&[c, d]), number(&[e, f])) && (1..=8).contains(&sex);
    dated && (11 - sum % 11) % 10 == u32::from(check)
}

/// South Korean business registration number: weights 1, 3, 7 and the tens of the last product (National Tax Service).
pub(super) fn kr_business(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., ninth, check] = values;
    let sum = weighted(&values, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + u32::from(ninth) * 5 / 10;
    !all_equal(&values) && (10 - sum % 10) % 10 == u32::from(check)
}

/// Chinese resident identity number: birth date and ISO/IEC 7064 MOD 11-2 (GB 11643-1999).
pub(super) fn cn_resident(span: &[u8]) -> bool {
    let Some([head @ .., check]) = symbols::<18>(span) else { return false };
    if !head.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let values = head.map(|byte| byte - b'0');
    let [region, _, _, _, _, _, y, z, _, _, c, d, e, f, ..] = values;
    let dated = month_and_day(number(&[c, d]), number(&[e, f])) && matches!(number(&[y, z]), 18..=20);
    let sum = weighted(&values, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let expected = (12 - sum % 11) % 11;
    let written = if check == b'X' { Some(10) } else { digit(check) };
    (1..=8).contains(&region) && dated && written == Some(expected)
}

/// Japanese individual number: weights 6 to 2 and 7 to 2 modulo 11 (Ordinance 85/2014, art. 5).
pub(super) fn jp_my_number(span: &[u8]) -> bool {
    let Some(values) = digits::<12>(span) else { return false };
    let [.., check] = values;
    let rest = weighted(&values, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    !all_equal(&values) && if rest <= 1 { 0 } else { 11 - rest } == u32::from(check)
}

/// Taiwanese identity number: the letter as two digits, then weights 8 to 1 and 1 modulo 10 (Ministry of the
/// Interior).
pub(super) fn tw_identity(span: &[u8]) -> bool {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let Some([area, number @ ..]) = symbols::<10>(span) else { return false };
    let Some(code) =
        LETTERS.iter().position(|known| *known == area).and_then(|place| u32::try_from(place + 10).ok())
    else {
        return false;
    };
    if !number.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum = weighted(&number.map(|byte| byte - b'0'), &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    matches!(number, [b'1' | b'2' | b'8' | b'9', ..]) && (code / 10 + code % 10 * 9 + sum).is_multiple_of(10)
}

/// Hong Kong identity card: one or two letters, six digits, and a check symbol modulo 11 (Immigration
/// Department).
pub(super) fn hk_identity(span: &[u8]) -> bool {
    let plain: Vec<u8> = span.iter().copied().filter(|byte| !b"()".contains(byte)).collect();
    let (first, rest) = match symbols::<9>(&plain) {
        Some([first, rest @ ..]) => (letter(first).map(|place| place + 10), rest),
        None => match symbols::<8>(&plain) {
            // A single letter is preceded by a space, which counts 36.
            Some(rest) => (Some(36), rest),
            None => return false,
        },
    };
    let [second, number @ .., check] = rest;
    let Some((first, second)) = first.zip(letter(second).map(|place| place + 10)) else { return false };
    if !number.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum = first * 9 + second * 8 + weighted(&number.map(|byte| byte - b'0'), &[7, 6, 5, 4, 3, 2]);
    let written = if check == b'A' { Some(10) } else { digit(check) };
    written == Some((11 - sum % 11) % 11)
}

/// Thai citizen number: weights 13 to 2 modulo 11 (Department of Provincial Administration).
pub(super) fn th_citizen(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [first, .., check] = values;
    let sum = weighted(&values, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    (1..=8).contains(&first) && !all_equal(&values) && (11 - sum % 11) % 10 == u32::from(check)
}

/// Australian tax file number: weights 1, 4, 3, 7, 5, 8, 6, 9, 10 modulo 11 (ATO).
pub(super) fn au_tfn(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    !all_equal(&values) && weighted(&values, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

/// Australian Medicare card: weights 1, 3, 7, 9 modulo 10 on the ninth digit (Services Australia).
pub(super) fn au_medicare(span: &[u8]) -> bool {
    let values = match digits::<11>(span) {
        Some([head @ .., _person]) => head,
        None => match digits::<10>(span) {
            Some(values) => values,
            None => return false,
        },
    };
    let [first, .., check, _issue] = values;
    (2..=6).contains(&first) && weighted(&values, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(check)
}

/// Australian business number: one less on the first digit, then weights modulo 89 (Australian Business
/// Register).
pub(super) fn au_abn(span: &[u8]) -> bool {
    let Some(mut values) = digits::<11>(span) else { return false };
    let Some(first) = values.first_mut().filter(|first| **first > 0) else { return false };
    *first -= 1;
    weighted(&values, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
}

/// Australian company number: weights 8 to 1 modulo 10 (ASIC).
pub(super) fn au_acn(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [.., check] = values;
    !all_equal(&values) && (10 - weighted(&values, &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == u32::from(check)
}

/// New Zealand IRD number: two rows of weights modulo 11 (Inland Revenue, RWT specification).
pub(super) fn nz_ird(span: &[u8]) -> bool {
    let values = match digits::<9>(span) {
        Some(values) => values,
        None => match digits::<8>(span) {
            Some([a, b, c, d, e, f, g, h]) => [0, a, b, c, d, e, f, g, h],
            None => return false,
        },
    };
    let [.., check] = values;
    let rest = |weights: &[u32]| (11 - weighted(&values, weights) % 11) % 11;
    let first = rest(&[3, 2, 7, 6, 5, 4, 3, 2]);
    let expected = if first == 10 { rest(&[7, 4, 3, 2, 5, 2, 7, 6]) } else { first };
    (10_000_000..150_000_000).contains(&number(&values)) && expected == u32::from(check)
}

/// South African identity number: birth date, citizenship 0 to 2, Luhn (Department of Home Affairs).
pub(super) fn za_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<13>(span) else { return false };
    let [_, _, c, d, e, f, _, _, _, _, citizen, ..] = values;
    month_and_day(number(&[c, d]), number(&[e, f])) && citizen <= 2 && luhn_sum(&values).is_multiple_of(10)
}

/// Israeli identity number: nine digits, Luhn (Population and Immigration Authority).
pub(super) fn il_identity(span: &[u8]) -> bool {
    digits::<9>(span).is_some_and(|values| luhn_sum(&values).is_multiple_of(10) && !all_equal(&values))
}
