//! How often would a rule have to look, in texts that it is not meant for?
//!
//! Counted over four megabytes of English documentation and four of source code, kept as a few tables: so the answer is
//! the same on every machine and at every time. It is an estimate, and decides only what an organisation may publish.

use super::super::anchors::commonness;

/// For each length of a run of digits, from one on: how often one stands in a mebibyte.
const RUNS: [u32; 24] =
    [16_801, 8_570, 2_324, 1_734, 1_124, 283, 151, 118, 58, 92, 8, 9, 5, 6, 3, 1, 1, 8, 3, 1, 4, 1, 1, 1];
/// How often a run of one to four digits goes on in others, with single separators, to more than ten digits, in a
/// mebibyte; longer ones hardly do.
const RUNS_THAT_GO_ON: [u32; 4] = [3_903, 87, 22, 215];
/// The same of longer ones.
const LONG_RUN_GOES_ON: u32 = 6;
/// An `@`, in a kibibyte.
pub(super) const AT_SIGNS: f32 = 0.3;
/// A text of four letters that is among the commonest, in a kibibyte; each letter more makes it rarer.
const COMMON_WORD: f32 = 0.6;
const MORE_LETTERS: f32 = 0.7;
/// How common a byte is, in ten thousand; others are not in such texts.
const BYTES: [u16; 128] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 254, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1_682,
    12, 47, 41, 3, 1, 8, 16, 82, 82, 42, 2, 105, 75, 111, 154, 142, 66, 77, 63, 42, 35, 45, 33, 34, 29, 150,
    42, 18, 55, 26, 2, 3, 51, 15, 45, 35, 62, 35, 17, 16, 49, 2, 7, 31, 24, 35, 37, 35, 2, 47, 57, 60, 21,
    14, 12, 5, 9, 3, 43, 9, 43, 1, 144, 74, 344, 127, 234, 217, 619, 133, 111, 154, 339, 17, 38, 224, 147,
    360, 369, 184, 10, 339, 363, 499, 223, 47, 58, 60, 70, 11, 21, 6, 21, 0, 0,
];

/// Runs of digits in a kibibyte that have so many digits at once, and with those behind single separators so many in
/// all.
pub(super) fn digits(at_once: (usize, usize), in_all: usize) -> f32 {
    let (least, most) = at_once;
    let runs = (1usize..).zip(RUNS).filter(|(length, _)| (least..=most).contains(length));
    let counts = runs.map(|(length, count)| {
        if length >= in_all {
            count
        } else {
            RUNS_THAT_GO_ON.get(length - 1).copied().unwrap_or(LONG_RUN_GOES_ON)
        }
    });
    counts.sum::<u32>() as f32 / 1024.0
}

/// How often a literal stands in a kibibyte.
pub(super) fn literal(literal: &str) -> f32 {
    let bytes = literal.as_bytes();
    let chained = commonness::of_chain(bytes).exp2() / 1024.0;
    let is_common = bytes.array_windows::<4>().all(|window| commonness::is_common(*window));
    let more = i32::try_from(bytes.len().saturating_sub(4)).unwrap_or(i32::MAX);
    if is_common { chained.max(COMMON_WORD * MORE_LETTERS.powi(more)) } else { chained }
}

/// The share of a byte.
pub(super) fn byte(byte: u8) -> f32 {
    BYTES.get(usize::from(byte)).map_or(0.0, |share| f32::from(*share) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_everywhere_is_common_and_what_is_made_up_is_not() {
        assert!(literal("tion") > 0.5 && literal("type") > 0.5 && literal("    ") > 0.5);
        assert!(literal("emp-") < 0.5 && literal("lighthouse") < 0.1 && literal("password") < 0.5);
        assert!(digits((4, 4), 4) > 0.5 && digits((1, usize::MAX), 1) > 20.0);
        assert!(digits((6, 6), 6) < 0.5 && digits((9, usize::MAX), 9) < 0.5);
        let all: f32 = (0..=255).map(byte).sum();
        assert!((0.98..=1.0).contains(&all), "{all}");
    }
}
