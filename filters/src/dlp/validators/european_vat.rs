//! Is this a VAT number that a state of Europe could have given? Needs the span with the prefix of its country;
//! proves length and check digits as each state defines them (VIES, "VAT identification number structure"; the
//! algorithms as the states publish them). It does not ask VIES whether the number is registered.

use super::northern_eastern_europe::{gr_afm, hr_oib, pl_nip, se_organisation};
use super::symbols::{digit, digits, letter, luhn_sum, number, symbols, weighted};
use super::western_europe::{de_vat, es_tax, fr_siren, ie_pps, it_vat, nl_bsn, pt_nif};

/// The longest number: two letters and twelve digits, with separators.
const LENGTH_MAX: usize = 24;

/// The number of a member state, of Great Britain, Northern Ireland, Norway or Switzerland.
pub(super) fn european_vat(span: &[u8]) -> bool {
    if span.len() > LENGTH_MAX {
        return false;
    }
    let plain: Vec<u8> =
        span.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
    let Some((country, rest)) = plain.split_at_checked(2) else { return false };
    match country {
        b"AT" => austria(rest),
        b"BE" => digits::<10>(rest).is_some_and(|_| belgium(rest)),
        b"BG" => digits::<9>(rest).is_some_and(|values| bulgaria(&values)),
        b"CY" => cyprus(rest),
        b"CZ" => digits::<8>(rest).is_some_and(|values| eleven_less(&values, &[8, 7, 6, 5, 4, 3, 2])),
        b"DE" => de_vat(&plain),
        b"DK" => remainder::<8>(rest, &[2, 7, 6, 5, 4, 3, 2, 1], 11, 0),
        b"EE" => remainder::<9>(rest, &[3, 7, 1, 3, 7, 1, 3, 7, 1], 10, 0),
        b"EL" | b"GR" => gr_afm(rest),
        b"ES" => es_tax(rest),
        b"FI" => remainder::<8>(rest, &[7, 9, 10, 5, 8, 4, 2, 1], 11, 0),
        b"FR" => france(rest),
        b"GB" | b"XI" => britain(rest),
        b"HR" => hr_oib(rest),
        b"HU" => remainder::<8>(rest, &[9, 7, 3, 1, 9, 7, 3, 1], 10, 0),
        b"IE" => ie_pps(rest),
        b"IT" => it_vat(rest),
        b"LT" => lithuania(rest),
        b"LU" => luxembourg(rest),
        b"LV" => remainder::<11>(rest, &[9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1], 11, 3),
        b"MT" => remainder::<8>(rest, &[3, 4, 6, 7, 8, 9, 10, 1], 37, 0),
        b"NL" => netherlands(rest),
        b"NO" => no_organisation(rest.get(..9).unwrap_or_default()),
        b"PL" => pl_nip(rest),
        b"PT" => pt_nif(rest),
        b"RO" => romania(rest),
        b"SE" => {
            rest.split_last_chunk::<2>().is_some_and(|(head, tail)| tail == b"01" && se_organisation(head))
        }
        b"SI" => si_tax(rest),
        b"SK" => digits::<10>(rest).is_some_and(|values| number(&values).is_multiple_of(11)),
        _ => false,
    }
}

/// Norwegian organisation number: weights 3, 2, 7, 6, 5, 4, 3, 2 modulo 11 (Brønnøysundregistrene).
pub(super) fn no_organisation(span: &[u8]) -> bool {
    remainder::<9>(span, &[3, 2, 7, 6, 5, 4, 3, 2, 1], 11, 0)
        && digits::<9>(span).is_some_and(|[first, ..]| first >= 8)
}

/// Slovenian tax number: weights 8 to 2, subtracted from 11 (Zakon o davčni službi).
pub(super) fn si_tax(span: &[u8]) -> bool {
    digits::<8>(span)
        .is_some_and(|values| values.first() != Some(&0) && eleven_less(&values, &[8, 7, 6, 5, 4, 3, 2]))
}

/// Swiss business number CHE: weights 5, 4, 3, 2, 7, 6, 5, 4 modulo 11 (eCH-0097).
pub(super) fn ch_uid(span: &[u8]) -> bool {
    let plain: Vec<u8> = span.iter().copied().filter(u8::is_ascii_digit).collect();
    remainder::<9>(&plain, &[5, 4, 3, 2, 7, 6, 5, 4, 1], 11, 0)
}

/// Whether `N` digits with their weights leave a remainder.
fn remainder<const N: usize>(span: &[u8], weights: &[u32; N], modulus: u32, left: u32) -> bool {
    digits::<N>(span).is_some_and(|values| weighted(&values, weights) % modulus == left)
}

/// The last digit is 11 less the remainder of the weighted others; 10 is written as 0, and 11 as 1.
fn eleven_less(values: &[u8], weights: &[u32]) -> bool {
    let Some((check, head)) = values.split_last() else { return false };
    (11 - weighted(head, weights) % 11) % 10 == u32::from(*check)
}

fn austria(rest: &[u8]) -> bool {
    let Some((b'U', rest)) = rest.split_first() else { return false };
    let Some([head @ .., check]) = digits::<8>(rest) else { return false };
    // The sum begins with 4.
    (luhn_sum(&head) + 4 + u32::from(check)).is_multiple_of(10)
}

fn belgium(rest: &[u8]) -> bool {
    let Some(values) = digits::<10>(rest) else { return false };
    let (head, check) = values.split_at(8);
    97 - number(head) % 97 == number(check)
}

fn bulgaria(values: &[u8; 9]) -> bool {
    let [.., check] = values;
    let first = weighted(values, &[1, 2, 3, 4, 5, 6, 7, 8]) % 11;
    let rest = if first == 10 { weighted(values, &[3, 4, 5, 6, 7, 8, 9, 10]) % 11 % 10 } else { first };
    rest == u32::from(*check)
}

fn cyprus(rest: &[u8]) -> bool {
    const ODD: [u32; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
    let Some([head @ .., check]) = symbols::<9>(rest) else { return false };
    let mut sum = 0;
    for (place, byte) in head.iter().enumerate() {
        let Some(value) = digit(*byte) else { return false };
        sum += if place % 2 == 0 { ODD.get(value as usize).copied().unwrap_or(0) } else { value };
    }
    letter(check) == Some(sum % 26)
}

fn france(rest: &[u8]) -> bool {
    let Some((key, siren)) = rest.split_at_checked(2) else { return false };
    let Some(values) = digits::<9>(siren) else { return false };
    match digits::<2>(key) {
        Some(key) => number(&key) == (12 + 3 * (number(&values) % 97)) % 97 && fr_siren(siren),
        None => fr_siren(siren),
    }
}

fn britain(rest: &[u8]) -> bool {
    let Some(values) = digits::<9>(rest) else { return false };
    let sum =
        u64::from(weighted(&values, &[8, 7, 6, 5, 4, 3, 2])) + number(values.get(7..).unwrap_or_default());
    matches!(sum % 97, 0 | 42)
}

fn lithuania(rest: &[u8]) -> bool {
    let check = |values: &[u8]| {
        let Some((check, head)) = values.split_last() else { return false };
        let sum = |from: usize| -> u32 {
            (0..).zip(head).map(|(place, digit)| u32::from(*digit) * ((place + from) % 9 + 1) as u32).sum()
        };
        let first = sum(0) % 11;
        let rest = if first == 10 { sum(2) % 11 % 10 } else { first };
        rest == u32::from(*check)
    };
    digits::<9>(rest).is_some_and(|values| check(&values))
        || digits::<12>(rest).is_some_and(|values| check(&values))
}

fn luxembourg(rest: &[u8]) -> bool {
    let Some(values) = digits::<8>(rest) else { return false };
    let (head, check) = values.split_at(6);
    number(head) % 89 == number(check)
}

fn netherlands(rest: &[u8]) -> bool {
    let Some((head, [b'B', a, b])) = rest.split_last_chunk::<3>() else { return false };
    let (Some(values), Some(tail)) = (digits::<9>(head), digits::<2>(&[*a, *b])) else { return false };
    // Since 2020 modulo 97 over `NL` (2321), the digits, `B` (11) and the tail.
    let whole = (2321 * 1_000_000_000 + number(&values)) % 97;
    nl_bsn(head) || ((whole * 10_000 + 1_100) + number(&tail)) % 97 == 1
}

fn romania(rest: &[u8]) -> bool {
    let Some((check, head)) = rest.split_last() else { return false };
    if !(1..=9).contains(&head.len()) || !rest.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let mut values = [0; 9];
    for (slot, byte) in values.iter_mut().rev().zip(head.iter().rev()) {
        *slot = byte - b'0';
    }
    Some(weighted(&values, &[7, 5, 3, 2, 1, 7, 5, 3, 2]) * 10 % 11 % 10) == digit(*check)
}
