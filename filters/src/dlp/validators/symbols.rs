//! How does a span become numbers? Needs the bytes of a candidate and the separators its standard allows;
//! proves that exactly the promised count of digits or letters is there. It judges no check digit.

/// Separators that people and forms put between the groups of a number.
pub(super) const SEPARATORS: &[u8] = b" -./";

/// Exactly `N` decimal digits, separators skipped. `None` for any other byte or count.
pub(super) fn digits<const N: usize>(span: &[u8]) -> Option<[u8; N]> {
    filled(span.iter().copied(), |byte| byte.is_ascii_digit().then(|| byte - b'0'))
}

/// The same, with another sign skipped, too.
pub(super) fn digits_but<const N: usize>(span: &[u8], sign: u8) -> Option<[u8; N]> {
    let bytes = span.iter().copied().filter(|byte| *byte != sign);
    filled(bytes, |byte| byte.is_ascii_digit().then(|| byte - b'0'))
}

/// Exactly `N` letters or digits in upper case, separators skipped. `None` for any other byte or count.
pub(super) fn symbols<const N: usize>(span: &[u8]) -> Option<[u8; N]> {
    filled(span.iter().copied(), |byte| byte.is_ascii_alphanumeric().then(|| byte.to_ascii_uppercase()))
}

fn filled<const N: usize>(
    bytes: impl Iterator<Item = u8>,
    read: impl Fn(u8) -> Option<u8>,
) -> Option<[u8; N]> {
    let mut out = [0_u8; N];
    let mut slots = out.iter_mut();
    for byte in bytes {
        if SEPARATORS.contains(&byte) {
            continue;
        }
        *slots.next()? = read(byte)?;
    }
    let full = slots.next().is_none();
    full.then_some(out)
}

/// Some bytes of a span, without memory of their own: many candidates are looked at.
pub(super) struct Kept<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Kept<N> {
    /// The first `N` of these.
    pub(super) fn of(bytes: impl Iterator<Item = u8>) -> Self {
        let mut kept = Self { bytes: [0; N], length: 0 };
        for (slot, byte) in kept.bytes.iter_mut().zip(bytes) {
            *slot = byte;
            kept.length += 1;
        }
        kept
    }

    pub(super) fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The value of one ASCII digit.
pub(super) fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

/// Position of an upper-case letter in the alphabet, `A` being 0.
pub(super) fn letter(byte: u8) -> Option<u32> {
    byte.is_ascii_uppercase().then(|| u32::from(byte - b'A'))
}

/// Digits and letters as ISO/IEC 7064 counts them: `0`–`9`, then `A` = 10 to `Z` = 35.
pub(super) fn base36(byte: u8) -> Option<u32> {
    digit(byte).or_else(|| letter(byte).map(|place| place + 10))
}

/// The sum of each digit times its weight; the shorter of the two ends it.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&digit, &weight)| u32::from(digit) * weight).sum()
}

/// The decimal number that the digits spell. At most 19 digits fit.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().take(19).fold(0, |sum, &digit| sum * 10 + u64::from(digit))
}

/// All digits alike: never issued, and the commonest filler in forms.
pub(super) fn all_equal(values: &[u8]) -> bool {
    values.windows(2).all(|pair| pair.first() == pair.last())
}

/// The Luhn sum (ISO/IEC 7812-1, annex B) of the digits, the check digit being the last.
pub(super) fn luhn_sum(digits: &[u8]) -> u32 {
    let fold = |(place, &digit): (usize, &u8)| {
        let value = u32::from(digit);
        match (place % 2 == 1, value > 4) {
            (false, _) => value,
            (true, false) => value * 2,
            (true, true) => value * 2 - 9,
        }
    };
    digits.iter().rev().enumerate().map(fold).sum()
}

/// ISO/IEC 7064 MOD 11,10 over all digits, the check digit being the last.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, head)) = digits.split_last() else { return false };
    let product = head.iter().fold(10_u32, |product, &digit| {
        let sum = (u32::from(digit) + product) % 10;
        let sum = if sum == 0 { 10 } else { sum };
        sum * 2 % 11
    });
    (11 - product) % 10 == u32::from(check)
}

/// A month and a day that can stand together; the year is left open, so 29 February passes.
pub(super) fn month_and_day(month: u64, day: u64) -> bool {
    let last = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}
