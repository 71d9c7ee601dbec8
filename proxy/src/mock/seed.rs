//! Where do ids and vectors get their bits?
//!
//! Needs a number or a text; gives the same bits for the same input on every machine. It is for looks, not
//! for secrets.

/// The step of the sequence: the golden ratio's bits.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The next state of a `SplitMix64` sequence (Steele, Lea and Flood, 2014).
pub(super) fn next(state: u64) -> u64 {
    state.wrapping_add(GAMMA)
}

/// The state that is `index` steps behind `start`.
pub(super) fn nth(start: u64, index: u64) -> u64 {
    start.wrapping_add(index.wrapping_mul(GAMMA))
}

/// The output for a state.
pub(super) fn mixed(state: u64) -> u64 {
    let mut bits = state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A state for a text: its 64-bit FNV-1a hash.
pub(super) fn of_text(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
