//! Was this number issued in Latin America? Needs the span; proves the check digits that each authority publishes.
//! The large states (Argentina, Brazil, Chile) stand in `americas`.

use super::symbols::{all_equal, digit, digits, luhn_sum, month_and_day, number, symbols, weighted};

/// Ecuadorian identity card: a province, a third digit below 6, Luhn over ten digits (Registro Civil).
pub(super) fn ec_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [a, b, third, ..] = values;
    matches!(number(&[a, b]), 1..=24 | 30) && third < 6 && luhn_sum(&values).is_multiple_of(10)
}

/// Dominican identity card: Luhn over eleven digits (Junta Central Electoral).
pub(super) fn do_identity(span: &[u8]) -> bool {
    digits::<11>(span).is_some_and(|values| !all_equal(&values) && luhn_sum(&values).is_multiple_of(10))
}

/// Uruguayan identity card: weights 2, 9, 8, 7, 6, 3, 4 modulo 10 (DNIC).
pub(super) fn uy_identity(span: &[u8]) -> bool {
    let Some(values) = digits::<8>(span) else { return false };
    let [.., check] = values;
    !all_equal(&values) && (10 - weighted(&values, &[2, 9, 8, 7, 6, 3, 4]) % 10) % 10 == u32::from(check)
}

/// Colombian tax number NIT: weights 3, 7, 13, 17, 19, 23, 29, 37, 41 from the right, modulo 11 (DIAN).
pub(super) fn co_tax(span: &[u8]) -> bool {
    let Some(values) = digits::<10>(span) else { return false };
    let [.., check] = values;
    let rest = weighted(&values, &[41, 37, 29, 23, 19, 17, 13, 7, 3]) % 11;
    !all_equal(&values) && if rest > 1 { 11 - rest } else { rest } == u32::from(check)
}

/// Venezuelan tax number RIF: a letter that counts as 4, 8, 12, 16 or 20, then weights 3, 2, 7 to 2 (SENIAT).
pub(super) fn ve_tax(span: &[u8]) -> bool {
    let Some([kind, head @ .., check]) = symbols::<10>(span) else { return false };
    let start = match kind {
        b'V' => 4,
        b'E' => 8,
        b'J' | b'C' => 12,
        b'P' => 16,
        b'G' => 20,
        _ => return false,
    };
    let mut values = [0; 8];
    for (slot, byte) in values.iter_mut().zip(head) {
        let Some(value) = digit(byte) else { return false };
        *slot = value as u8;
    }
    let rest = 11 - (start + weighted(&values, &[3, 2, 7, 6, 5, 4, 3, 2])) % 11;
    digit(check) == Some(if rest > 9 { 0 } else { rest })
}

/// Peruvian tax number RUC: a kind of payer, weights 5, 4, 3, 2, 7 to 2 modulo 11 (SUNAT).
pub(super) fn pe_tax(span: &[u8]) -> bool {
    let Some(values) = digits::<11>(span) else { return false };
    let [a, b, .., check] = values;
    matches!(number(&[a, b]), 10 | 15 | 17 | 20)
        && (11 - weighted(&values, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 10 == u32::from(check)
}

/// Mexican tax number RFC of a person or company: its date (SAT, Anexo 19); the last sign may be a placeholder, so it
/// is not judged.
pub(super) fn mx_tax(span: &[u8]) -> bool {
    let Some(from) = span.iter().position(u8::is_ascii_digit) else { return false };
    let Some([_, _, c, d, e, f]) = span.get(from..from + 6).and_then(digits::<6>) else { return false };
    month_and_day(number(&[c, d]), number(&[e, f]))
}

/// Guatemalan tax number NIT: weights from 2 upwards from the right, modulo 11, 10 being `K` (SAT).
pub(super) fn gt_tax(span: &[u8]) -> bool {
    let Some((check, head)) = span.split_last() else { return false };
    let mut values =
        head.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = (2..).zip(values.clone()).map(|(weight, value)| value * weight).sum();
    let first = values.next();
    let rest = (11 - sum % 11) % 11;
    values.any(|value| Some(value) != first)
        && if *check == b'K' { rest == 10 } else { digit(*check) == Some(rest) }
}
