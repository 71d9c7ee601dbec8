//! Which digits in the midst of a long word are an anchor?
//!
//! Ids, hashes and whatever is encoded are full of digits, and next to no rule finds something there. Needs to be told
//! of each two bytes of a word how many digits must follow them; keeps that by kinds of bytes, of which there are few.

/// So many digits must follow what nothing begins behind.
pub(in crate::dlp) const NEVER: u8 = u8::MAX;

/// Words are ASCII.
const BYTES: usize = 128;

/// How many digits must follow two bytes in the midst of a long word.
#[derive(Clone, Debug)]
pub(in crate::dlp) struct Buried {
    kinds: [u8; BYTES],
    /// For each kind of the first byte, and of the second.
    least: Vec<u8>,
    width: usize,
}

impl Buried {
    /// Learns what must follow each two bytes.
    pub(in crate::dlp) fn of(least: impl Fn([u8; 2]) -> u8) -> Self {
        let table: Vec<[u8; BYTES]> = (0..BYTES as u8)
            .map(|first| std::array::from_fn(|second| least([first, second as u8])))
            .collect();
        let rows = |byte: u8| table.get(usize::from(byte));
        let column = |byte: u8| table.iter().map(move |row| row.get(usize::from(byte)));
        let alike = |byte: u8, known: u8| rows(byte) == rows(known) && column(byte).eq(column(known));
        let (mut kinds, mut known) = ([0; BYTES], Vec::new());
        for (byte, kind) in (0..).zip(&mut kinds) {
            let number = known.iter().position(|known| alike(byte, *known));
            *kind = number.unwrap_or(known.len()) as u8;
            if number.is_none() {
                known.push(byte);
            }
        }
        let each = known.iter().flat_map(|first| known.iter().map(|second| least([*first, *second])));
        Self { kinds, least: each.collect(), width: known.len() }
    }

    /// How many must follow these.
    #[inline]
    pub(super) fn least(&self, before: [u8; 2]) -> usize {
        let [first, second] =
            before.map(|byte| usize::from(self.kinds.get(usize::from(byte)).copied().unwrap_or(0)));
        let least = self.least.get(first * self.width + second).copied();
        usize::from(least.unwrap_or(0))
    }

    /// The memory that it takes besides itself.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.least)
    }
}
