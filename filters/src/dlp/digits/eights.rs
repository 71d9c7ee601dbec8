//! Which of eight bytes are of a kind? All at once, in one word: the highest bit of each byte says so.

/// The highest bit of each byte.
pub(in crate::dlp) const HIGH: u64 = 0x8080_8080_8080_8080;
const LOW: u64 = 0x0101_0101_0101_0101;

/// Bytes from `first` to `last`, both ASCII.
fn between(eight: u64, first: u8, last: u8) -> u64 {
    let seven = eight & !HIGH;
    let from_first = seven + LOW * u64::from(0x80 - first);
    let behind_last = seven + LOW * u64::from(0x7f - last);
    from_first & !behind_last & !eight & HIGH
}

/// Digits.
pub(in crate::dlp) fn digits(eight: u64) -> u64 {
    between(eight, b'0', b'9')
}

/// Letters of ASCII.
pub(in crate::dlp) fn letters(eight: u64) -> u64 {
    between(eight | (LOW * 0x20), b'a', b'z')
}

/// What words consist of: letters, digits and `_`.
pub(super) fn words(eight: u64) -> u64 {
    letters(eight) | digits(eight) | between(eight, b'_', b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_told_by_itself() {
        for byte in 0..=255u8 {
            for place in 0..8 {
                for others in [0, b'0', b'/', b'z', 0xff] {
                    let mut eight = [others; 8];
                    eight[place] = byte;
                    let told = |set: u64| set >> (place * 8 + 7) & 1 == 1;
                    let eight = u64::from_le_bytes(eight);
                    assert_eq!(told(digits(eight)), byte.is_ascii_digit(), "{byte}");
                    assert_eq!(told(letters(eight)), byte.is_ascii_alphabetic(), "{byte}");
                    assert_eq!(told(words(eight)), byte.is_ascii_alphanumeric() || byte == b'_', "{byte}");
                }
            }
        }
    }
}
