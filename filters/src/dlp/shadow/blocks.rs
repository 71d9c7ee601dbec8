//! Which of 64 bytes are so? Asked of all at once, in loops that compilers turn into vectors, and told as bits: no
//! processor guesses where a word of a text ends.

/// Bytes that are looked at together.
pub(super) const BLOCK_BYTES: usize = 64;
/// One of eight bytes that are 0 or 1 each comes to one of the highest eight bits, in their order.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Which of the first bytes of a text are so, the first one as the lowest bit. Behind its end stand zeros.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is compiled for each kind of vectors where it is inlined")]
pub(super) fn first_bits(text: &[u8], is_so: impl Fn(u8) -> bool) -> u64 {
    let block = text.first_chunk().copied().unwrap_or_else(|| padded(text));
    let mut flags = [false; BLOCK_BYTES];
    for (flag, byte) in flags.iter_mut().zip(block) {
        *flag = is_so(byte);
    }
    bits(&flags)
}

/// The bits of a block, the first one lowest.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is done for each block")]
pub(super) fn bits(flags: &[bool; BLOCK_BYTES]) -> u64 {
    let eight =
        |flags: &[bool; 8]| u64::from_le_bytes(flags.map(u8::from)).wrapping_mul(GATHER) >> (u64::BITS - 8);
    flags.as_chunks().0.iter().rev().fold(0, |bits, flags| bits << 8 | eight(flags))
}

fn padded(text: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    if let Some(known) = block.get_mut(..text.len()) {
        known.copy_from_slice(text);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_what_each_byte_is(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let each = text.iter().take(BLOCK_BYTES).enumerate();
            let expected = each.fold(0, |bits, (at, byte)| bits | u64::from(byte.is_ascii_digit()) << at);
            prop_assert_eq!(first_bits(&text, |byte| byte.is_ascii_digit()), expected);
        }
    }
}
