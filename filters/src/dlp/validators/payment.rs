//! Is this the number of a card, an account or a wallet? Needs the span; proves the check digits that the
//! scheme defines. It does not know issuers: a number that checks may still never have been issued.

use sha2::{Digest, Sha256};

use super::symbols::{Kept, SEPARATORS, all_equal, base36, digits, luhn_sum, weighted};

/// Digits of a payment card number, ISO/IEC 7812-1 §4.
const CARD_DIGITS_MAX: usize = 19;
const CARD_DIGITS_MIN: usize = 12;

/// Characters of the longest IBAN, ISO 13616-1 §5.
const IBAN_LENGTH_MAX: usize = 34;

/// Characters of the longest address: bech32 is bounded by 90 (BIP 173), base58 by 35.
const ADDRESS_LENGTH_MAX: usize = 90;

/// Length of an IBAN per country, from the SWIFT IBAN registry, release 98.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The check digit of ISO/IEC 7812-1, annex B, over any count of digits from 2 on.
pub(super) fn luhn(span: &[u8]) -> bool {
    let bare = bare::<CARD_DIGITS_MAX>(span);
    let bare = bare.get();
    if bare.len() < 2 || !bare.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let values = Kept::<CARD_DIGITS_MAX>::of(bare.iter().map(|byte| byte - b'0'));
    luhn_sum(values.get()).is_multiple_of(10) && !all_equal(values.get())
}

/// A card number: 12 to 19 digits (ISO/IEC 7812-1 §4) that pass the Luhn check and are not one digit
/// repeated.
pub(super) fn payment_card(span: &[u8]) -> bool {
    let length = bare::<{ CARD_DIGITS_MAX + 1 }>(span).get().len();
    (CARD_DIGITS_MIN..=CARD_DIGITS_MAX).contains(&length) && luhn(span)
}

/// ISO 13616-1: the length of its country, and the rearranged number modulo 97 is 1 (ISO/IEC 7064 MOD 97-10).
pub(super) fn iban(span: &[u8]) -> bool {
    let text = bare::<{ IBAN_LENGTH_MAX + 1 }>(span);
    let text = text.get();
    let Some((head, tail)) = text.split_at_checked(4) else { return false };
    let country_fits =
        IBAN_LENGTHS.iter().any(|(code, length)| head.starts_with(&code[..]) && text.len() == *length);
    country_fits && mod_97(tail.iter().chain(head)) == Some(1)
}

/// ISO 17442: the legal entity identifier, 20 characters, modulo 97 is 1. One without any letter is a large number.
pub(super) fn lei(span: &[u8]) -> bool {
    let text = bare::<21>(span);
    let text = text.get();
    text.len() == 20 && text.iter().any(u8::is_ascii_alphabetic) && mod_97(text.iter()) == Some(1)
}

/// ABA routing number: weights 3, 7, 1, and a first pair that the American Bankers Association has assigned.
pub(super) fn aba_routing(span: &[u8]) -> bool {
    let Some(values) = digits::<9>(span) else { return false };
    let [first, second, ..] = values;
    let assigned = matches!(first * 10 + second, 1..=12 | 21..=32 | 61..=72 | 80);
    assigned && weighted(&values, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// A Bitcoin address of either kind: base58check (`1…`, `3…`) or bech32 and bech32m (`bc1…`, BIP 173 and BIP
/// 350).
pub(super) fn bitcoin_address(span: &[u8]) -> bool {
    if span.len() > ADDRESS_LENGTH_MAX {
        return false;
    }
    let lower = span.to_ascii_lowercase();
    match lower.strip_prefix(b"bc1") {
        Some(data) if span == lower || span == span.to_ascii_uppercase() => bech32(data),
        Some(_) | None => base58check(span).is_some_and(|version| matches!(version, 0 | 5)),
    }
}

/// The version byte of 25 bytes whose last four are the double SHA-256 of the rest.
fn base58check(span: &[u8]) -> Option<u8> {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for symbol in span {
        let mut carry = ALPHABET.iter().position(|known| known == symbol)?;
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry & 0xff).ok()?;
            carry >>= 8;
        }
        if carry != 0 {
            return None;
        }
    }
    let (payload, check) = bytes.split_at_checked(21)?;
    let hash = Sha256::digest(Sha256::digest(payload));
    hash.starts_with(check).then(|| payload.first().copied())?
}

/// The checksum of BIP 173 for the human-readable part `bc`; the constant tells bech32 from bech32m.
fn bech32(data: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    const BECH32: u32 = 1;
    const BECH32M: u32 = 0x2bc8_30a3;
    let step = |check: u32, value: u32| {
        let mixed = ((check & 0x1ff_ffff) << 5) ^ value;
        let top = check >> 25;
        GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(mixed, |sum, (_, term)| sum ^ term)
    };
    let expanded = [3, 3, 0, 2, 3].into_iter().fold(1, step);
    let mut check = expanded;
    for symbol in data {
        let Some(value) = ALPHABET.iter().position(|known| known == symbol) else { return false };
        check = step(check, u32::try_from(value).unwrap_or(0));
    }
    check == BECH32 || check == BECH32M
}

/// Upper-case text without separators, cut at `N` bytes, so that the work stays bounded.
fn bare<const N: usize>(span: &[u8]) -> Kept<N> {
    let kept = span.iter().filter(|byte| !SEPARATORS.contains(byte));
    Kept::of(kept.map(u8::to_ascii_uppercase))
}

fn mod_97<'a>(mut text: impl Iterator<Item = &'a u8>) -> Option<u32> {
    text.try_fold(0, |rest, &byte| {
        let value = base36(byte)?;
        Some(if value < 10 { rest * 10 + value } else { rest * 100 + value } % 97)
    })
}
