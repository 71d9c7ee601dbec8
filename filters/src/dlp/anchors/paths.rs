//! Which positions could begin something? 64 at a time, on what the processor has.
//!
//! Needs [`Buckets`]; proves that no position is left out that one of their windows matches, and tells digits, `@` and
//! what words consist of exactly. Every path yields the same of them; candidates may differ, because what passes is
//! verified anyway.
//!
//! This is one of the modules of ours with `unsafe` in it, so here is the argument. There are two kinds:
//!
//! - **A path is entered** though the compiler does not know that this processor can. [`Path`] has a private variant
//!   for each, and is only made by [`Path::all`], which asks the processor; [`widely`] asks it itself.
//! - **Bytes are loaded** through a pointer, since that is what the instructions take. It comes from a reference to an
//!   array of the length that is read, and unaligned loads ask no more.

use super::buckets::Buckets;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::buckets::{Table, WINDOW};

/// Positions that are looked at together.
pub(super) const BLOCK: usize = 64;
/// With the rest of the window that begins at the last of them.
const SEEN: usize = BLOCK + 3;

/// What a block of 64 positions holds, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masks {
    /// Where a window may begin.
    pub(super) windows: u64,
    /// Where a digit stands.
    pub(super) digits: u64,
    /// Where an `@` stands.
    pub(super) ats: u64,
    /// Where a letter, a digit or `_` stands.
    pub(super) words: u64,
    /// Where a byte of a streak stands.
    pub(super) streaks: u64,
}

/// What a block of 64 bytes is to words, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dlp) struct Runs {
    /// Where a letter, a digit or a byte outside of ASCII stands.
    pub(in crate::dlp) runs: u64,
    /// Where one of the latter does.
    pub(in crate::dlp) high: u64,
}

/// A way to find masks that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Kind {
    /// Best first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
    ];

    /// Whether this processor has what it takes.
    #[inline]
    fn is_here(self) -> bool {
        #[cfg(target_arch = "aarch64")]
        use std::arch::is_aarch64_feature_detected as has;
        #[cfg(target_arch = "x86_64")]
        use std::arch::is_x86_feature_detected as has;
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => has!("avx512f") && has!("avx512bw") && has!("avx512vbmi"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has!("avx2"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => has!("neon"),
        }
    }
}

impl Path {
    /// The paths of this processor, best first; none where only the portable way is left.
    #[inline]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.iter().copied().filter(|kind| kind.is_here()).map(Self)
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "NEON",
        }
    }

    /// Hands every block of `text` from `from` to `end` to `sink`, with the offset of its first position.
    #[expect(unsafe_code, reason = "argued at the head of this module")]
    pub(super) fn sweep(
        self,
        buckets: &Buckets,
        text: &[u8],
        (from, end): (usize, usize),
        sink: impl FnMut(usize, Masks),
    ) {
        match self.0 {
            // SAFETY: `Path::all` made this path, having asked the processor.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::avx512(buckets, text, (from, end), sink) },
            // SAFETY: `Path::all` made this path, having asked the processor.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::avx2(buckets, text, (from, end), sink) },
            // SAFETY: `Path::all` made this path, having asked the processor.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { arm::neon(buckets, text, (from, end), sink) },
        }
    }

    /// Hands every block of `text` from a place on to `sink`, with the offset of its first byte.
    #[inline]
    #[expect(unsafe_code, reason = "argued at the head of this module")]
    pub(super) fn runs(self, text: &[u8], from: usize, sink: impl FnMut(usize, Runs)) {
        match self.0 {
            // SAFETY: `Path::all` made this path, having asked the processor.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::runs_avx512(text, from, sink) },
            // SAFETY: `Path::all` made this path, having asked the processor.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::runs_avx2(text, from, sink) },
            // SAFETY: `Path::all` made this path, having asked the processor.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { arm::runs_neon(text, from, sink) },
        }
    }
}

/// Does work that the compiler turns into vectors, with wider ones where this processor has them: `work`, and what it
/// calls, must be inlined.
#[inline]
#[expect(unsafe_code, reason = "argued at the head of this module")]
pub(in crate::dlp) fn widely<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f") && has!("avx512bw") {
            // SAFETY: the processor was asked on the line before.
            return unsafe { x86::most_widely(work) };
        }
        if has!("avx2") {
            // SAFETY: the processor was asked on the line before.
            return unsafe { x86::widely(work) };
        }
    }
    work()
}

/// Cuts a text into blocks; the last is filled up with zeros, which begin nothing.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the kernel's instructions are only used where it is inlined")]
fn each_block(
    text: &[u8],
    (from, end): (usize, usize),
    kernel: impl Fn(&[u8; SEEN]) -> Masks,
    mut sink: impl FnMut(usize, Masks),
) {
    let mut at = from;
    while at < end {
        let masks = match text.get(at..).and_then(|rest| rest.first_chunk::<SEEN>()) {
            Some(block) => kernel(block),
            None => kernel(&padded(text.get(at..).unwrap_or_default())),
        };
        let inside = if end - at < BLOCK { (1 << (end - at)) - 1 } else { u64::MAX };
        let Masks { windows, digits, ats, words, streaks } = masks;
        let (windows, digits, ats) = (windows & inside, digits & inside, ats & inside);
        sink(at, Masks { windows, digits, ats, words: words & inside, streaks: streaks & inside });
        at += BLOCK;
    }
}

/// The same of blocks that show no further than their end.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the kernel's instructions are only used where it is inlined")]
pub(super) fn each_run(
    text: &[u8],
    from: usize,
    kernel: impl Fn(&[u8; BLOCK]) -> Runs,
    mut sink: impl FnMut(usize, Runs),
) {
    let (blocks, rest) = text.get(from..).unwrap_or_default().as_chunks();
    let mut at = from;
    for block in blocks {
        sink(at, kernel(block));
        at += BLOCK;
    }
    if !rest.is_empty() {
        sink(at, kernel(&padded(rest)));
    }
}

#[cold]
fn padded<const N: usize>(rest: &[u8]) -> [u8; N] {
    let mut block = [0; N];
    for (byte, known) in block.iter_mut().zip(rest) {
        *byte = *known;
    }
    block
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "argued at the head of the file")]
mod x86 {
    use super::{BLOCK, Buckets, Masks, Runs, SEEN, Table, WINDOW, each_block, each_run};
    use std::arch::x86_64::{
        __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_sub_epi8, _mm512_and_si512,
        _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_loadu_si512, _mm512_movepi8_mask,
        _mm512_or_si512, _mm512_permutex2var_epi8, _mm512_permutexvar_epi8, _mm512_set1_epi8,
        _mm512_setzero_si512, _mm512_sub_epi8, _mm512_ternarylogic_epi32, _mm512_test_epi8_mask,
    };

    /// 64 bytes as a vector.
    #[target_feature(enable = "avx512f")]
    fn load(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the reference is to 64 bytes, which is what is read.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    /// 32 bytes as a vector.
    #[target_feature(enable = "avx2")]
    fn load_half(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: the reference is to 32 bytes, which is what is read.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    /// 16 bytes as a vector, twice.
    #[target_feature(enable = "avx2")]
    fn load_table(table: &Table<16>) -> __m256i {
        // SAFETY: the reference is to 16 bytes, which is what is read.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.0.as_ptr().cast()) })
    }

    /// The bytes of a block from a place of the window on.
    fn shifted<const N: usize>(block: &[u8; SEEN], from: usize) -> &[u8; N] {
        block.get(from..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn avx512(
        buckets: &Buckets,
        text: &[u8],
        range: (usize, usize),
        sink: impl FnMut(usize, Masks),
    ) {
        let (first, second) = buckets.classes.0.split_at(64);
        let [first, second] = [first, second].map(|half| half.first_chunk().unwrap_or(&[0; 64]));
        let (first, second) = (load(first), load(second));
        let (zero, nine, at) =
            (_mm512_set1_epi8(b'0'.cast_signed()), _mm512_set1_epi8(9), _mm512_set1_epi8(b'@'.cast_signed()));
        let [small, first_letter, letters, low_line] =
            [0x20, b'a', 25, b'_'].map(|byte| _mm512_set1_epi8(byte.cast_signed()));
        let [hyphen, two, plus, equals, tilde] =
            [b'-', 2, b'+', b'=', b'~'].map(|byte| _mm512_set1_epi8(byte.cast_signed()));
        let kernel = |block: &[u8; SEEN]| {
            let bytes: [__m512i; WINDOW] = std::array::from_fn(|place| load(shifted(block, place)));
            let classes = bytes.map(|bytes| _mm512_permutex2var_epi8(first, bytes, second));
            let mut any = _mm512_setzero_si512();
            for group in &*buckets.by_class {
                let [a, b, c, d]: [__m512i; WINDOW] = std::array::from_fn(|place| {
                    let (classes, table) = (classes.get(place), group.get(place));
                    let empty = _mm512_setzero_si512();
                    let table = table.map_or(empty, |table| load(&table.0));
                    _mm512_permutexvar_epi8(classes.copied().unwrap_or(empty), table)
                });
                let all = _mm512_and_si512(_mm512_ternarylogic_epi32::<0x80>(a, b, c), d);
                any = _mm512_or_si512(any, all);
            }
            let [here, ..] = bytes;
            let digits = _mm512_cmple_epu8_mask(_mm512_sub_epi8(here, zero), nine);
            let letter = _mm512_sub_epi8(_mm512_or_si512(here, small), first_letter);
            let others = _mm512_cmple_epu8_mask(letter, letters) | _mm512_cmpeq_epi8_mask(here, low_line);
            let words = digits | others;
            // Hyphen, dot and slash stand side by side.
            let signs = _mm512_cmple_epu8_mask(_mm512_sub_epi8(here, hyphen), two)
                | _mm512_cmpeq_epi8_mask(here, plus)
                | _mm512_cmpeq_epi8_mask(here, equals)
                | _mm512_cmpeq_epi8_mask(here, tilde);
            Masks {
                windows: _mm512_test_epi8_mask(any, any),
                digits,
                ats: _mm512_cmpeq_epi8_mask(here, at),
                words,
                streaks: words | signs,
            }
        };
        each_block(text, range, kernel, sink);
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn most_widely<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn runs_avx512(text: &[u8], from: usize, sink: impl FnMut(usize, Runs)) {
        let [zero, nine, small, first, letters] =
            [b'0', 9, 0x20, b'a', 25].map(|byte| _mm512_set1_epi8(byte.cast_signed()));
        let kernel = |block: &[u8; BLOCK]| {
            let here = load(block);
            let digits = _mm512_cmple_epu8_mask(_mm512_sub_epi8(here, zero), nine);
            let letter = _mm512_sub_epi8(_mm512_or_si512(here, small), first);
            let high = _mm512_movepi8_mask(here);
            Runs { runs: digits | _mm512_cmple_epu8_mask(letter, letters) | high, high }
        };
        each_run(text, from, kernel, sink);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn runs_avx2(text: &[u8], from: usize, sink: impl FnMut(usize, Runs)) {
        let [zero, nine, small, first, letters] =
            [b'0', 9, 0x20, b'a', 25].map(|byte| _mm256_set1_epi8(byte.cast_signed()));
        let bits = |vector| u64::from(_mm256_movemask_epi8(vector).cast_unsigned());
        let half = |half: &[u8; BLOCK / 2]| {
            let here = load_half(half);
            let digit = _mm256_sub_epi8(here, zero);
            let digit = _mm256_cmpeq_epi8(_mm256_min_epu8(digit, nine), digit);
            let letter = _mm256_sub_epi8(_mm256_or_si256(here, small), first);
            let letter = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, letters), letter);
            (bits(_mm256_or_si256(digit, letter)), bits(here))
        };
        let kernel = |block: &[u8; BLOCK]| {
            let halves = block.as_chunks().0;
            let [one, other] = [halves.first(), halves.last()].map(|part| part.map_or((0, 0), half));
            let high = one.1 | other.1 << 32;
            Runs { runs: one.0 | other.0 << 32 | high, high }
        };
        each_run(text, from, kernel, sink);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn widely<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(
        buckets: &Buckets,
        text: &[u8],
        range: (usize, usize),
        sink: impl FnMut(usize, Masks),
    ) {
        let (zero, nine, at) =
            (_mm256_set1_epi8(b'0'.cast_signed()), _mm256_set1_epi8(9), _mm256_set1_epi8(b'@'.cast_signed()));
        let (low_half, empty) = (_mm256_set1_epi8(15), _mm256_setzero_si256());
        let [small, first_letter, letters, low_line] =
            [0x20, b'a', 25, b'_'].map(|byte| _mm256_set1_epi8(byte.cast_signed()));
        let [hyphen, two, plus, equals, tilde] =
            [b'-', 2, b'+', b'=', b'~'].map(|byte| _mm256_set1_epi8(byte.cast_signed()));
        let half = |block: &[u8; SEEN], from: usize| {
            let bytes: [__m256i; WINDOW] =
                std::array::from_fn(|place| load_half(shifted(block, from + place)));
            let halves = bytes.map(|bytes| {
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_half);
                (_mm256_and_si256(bytes, low_half), high)
            });
            let mut any = empty;
            for group in &*buckets.by_half {
                let mut all = _mm256_set1_epi8(-1);
                for ((low, high), [low_table, high_table]) in halves.into_iter().zip(group) {
                    let low = _mm256_shuffle_epi8(load_table(low_table), low);
                    let high = _mm256_shuffle_epi8(load_table(high_table), high);
                    all = _mm256_and_si256(all, _mm256_and_si256(low, high));
                }
                any = _mm256_or_si256(any, all);
            }
            let [here, ..] = bytes;
            let digit = _mm256_sub_epi8(here, zero);
            let digit = _mm256_cmpeq_epi8(_mm256_min_epu8(digit, nine), digit);
            let letter = _mm256_sub_epi8(_mm256_or_si256(here, small), first_letter);
            let letter = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, letters), letter);
            let word = _mm256_or_si256(_mm256_or_si256(digit, letter), _mm256_cmpeq_epi8(here, low_line));
            // Hyphen, dot and slash stand side by side.
            let sign = _mm256_sub_epi8(here, hyphen);
            let sign = _mm256_cmpeq_epi8(_mm256_min_epu8(sign, two), sign);
            let [plus, equals, tilde] = [plus, equals, tilde].map(|other| _mm256_cmpeq_epi8(here, other));
            let sign = _mm256_or_si256(_mm256_or_si256(sign, plus), _mm256_or_si256(equals, tilde));
            let bits = |vector| u64::from(_mm256_movemask_epi8(vector).cast_unsigned());
            Masks {
                windows: bits(_mm256_cmpeq_epi8(any, empty)) ^ 0xffff_ffff,
                digits: bits(digit),
                ats: bits(_mm256_cmpeq_epi8(here, at)),
                words: bits(word),
                streaks: bits(_mm256_or_si256(word, sign)),
            }
        };
        let kernel = |block: &[u8; SEEN]| {
            let (one, other) = (half(block, 0), half(block, 32));
            Masks {
                windows: one.windows | other.windows << 32,
                digits: one.digits | other.digits << 32,
                ats: one.ats | other.ats << 32,
                words: one.words | other.words << 32,
                streaks: one.streaks | other.streaks << 32,
            }
        };
        each_block(text, range, kernel, sink);
    }
}

#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "argued at the head of the file")]
mod arm {
    use super::super::buckets::GROUPS;
    use super::{BLOCK, Buckets, Masks, Runs, SEEN, Table, WINDOW, each_block, each_run};
    use std::arch::aarch64::{
        uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcleq_u8, vdupq_n_u8, vget_high_u8, vget_low_u8, vld1q_u8,
        vorrq_u8, vqtbl1q_u8, vshrq_n_u8, vsubq_u8, vtstq_u8,
    };

    const LANES: usize = 16;

    /// 16 bytes as a vector.
    #[target_feature(enable = "neon")]
    fn load(bytes: &[u8; LANES]) -> uint8x16_t {
        // SAFETY: the reference is to 16 bytes, which is what is read.
        unsafe { vld1q_u8(bytes.as_ptr()) }
    }

    /// The highest bit of every byte.
    #[target_feature(enable = "neon")]
    fn bits(vector: uint8x16_t) -> u64 {
        let weights = load(&[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
        let weighed = vandq_u8(vector, weights);
        u64::from(vaddv_u8(vget_low_u8(weighed))) | u64::from(vaddv_u8(vget_high_u8(weighed))) << 8
    }

    #[target_feature(enable = "neon")]
    pub(super) fn neon(
        buckets: &Buckets,
        text: &[u8],
        range: (usize, usize),
        sink: impl FnMut(usize, Masks),
    ) {
        let tables: [[[uint8x16_t; 2]; WINDOW]; GROUPS] = std::array::from_fn(|group| {
            std::array::from_fn(|place| {
                std::array::from_fn(|half| {
                    let table: Option<&Table<LANES>> =
                        buckets.by_half.get(group).and_then(|group| group.get(place)?.get(half));
                    table.map_or(vdupq_n_u8(0), |table| load(&table.0))
                })
            })
        });
        let part = |block: &[u8; SEEN], from: usize| {
            let bytes: [uint8x16_t; WINDOW] = std::array::from_fn(|place| {
                load(block.get(from + place..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; LANES]))
            });
            let halves = bytes.map(|bytes| (vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)));
            let mut any = vdupq_n_u8(0);
            for group in &tables {
                let mut all = vdupq_n_u8(0xff);
                for ((low, high), [low_table, high_table]) in halves.into_iter().zip(*group) {
                    all = vandq_u8(all, vandq_u8(vqtbl1q_u8(low_table, low), vqtbl1q_u8(high_table, high)));
                }
                any = vorrq_u8(any, all);
            }
            let [here, ..] = bytes;
            let digit = vcleq_u8(vsubq_u8(here, vdupq_n_u8(b'0')), vdupq_n_u8(9));
            let letter = vsubq_u8(vorrq_u8(here, vdupq_n_u8(0x20)), vdupq_n_u8(b'a'));
            let letter = vcleq_u8(letter, vdupq_n_u8(25));
            let word = vorrq_u8(vorrq_u8(digit, letter), vceqq_u8(here, vdupq_n_u8(b'_')));
            // Hyphen, dot and slash stand side by side.
            let side = vcleq_u8(vsubq_u8(here, vdupq_n_u8(b'-')), vdupq_n_u8(2));
            let plus = vorrq_u8(side, vceqq_u8(here, vdupq_n_u8(b'+')));
            let others = vorrq_u8(vceqq_u8(here, vdupq_n_u8(b'=')), vceqq_u8(here, vdupq_n_u8(b'~')));
            Masks {
                windows: bits(vtstq_u8(any, any)),
                digits: bits(digit),
                ats: bits(vceqq_u8(here, vdupq_n_u8(b'@'))),
                words: bits(word),
                streaks: bits(vorrq_u8(word, vorrq_u8(plus, others))),
            }
        };
        let kernel = |block: &[u8; SEEN]| {
            let mut masks = Masks { windows: 0, digits: 0, ats: 0, words: 0, streaks: 0 };
            for lane in 0..BLOCK / LANES {
                let one = part(block, lane * LANES);
                masks.windows |= one.windows << (lane * LANES);
                masks.digits |= one.digits << (lane * LANES);
                masks.ats |= one.ats << (lane * LANES);
                masks.words |= one.words << (lane * LANES);
                masks.streaks |= one.streaks << (lane * LANES);
            }
            masks
        };
        each_block(text, range, kernel, sink);
    }

    #[target_feature(enable = "neon")]
    pub(super) fn runs_neon(text: &[u8], from: usize, sink: impl FnMut(usize, Runs)) {
        let kernel = |block: &[u8; BLOCK]| {
            let mut all = Runs { runs: 0, high: 0 };
            for (lane, bytes) in block.as_chunks().0.iter().enumerate() {
                let here = load(bytes);
                let digit = vcleq_u8(vsubq_u8(here, vdupq_n_u8(b'0')), vdupq_n_u8(9));
                let letter = vsubq_u8(vorrq_u8(here, vdupq_n_u8(0x20)), vdupq_n_u8(b'a'));
                let letter = vcleq_u8(letter, vdupq_n_u8(25));
                let high = vtstq_u8(here, vdupq_n_u8(0x80));
                all.runs |= bits(vorrq_u8(vorrq_u8(digit, letter), high)) << (lane * LANES);
                all.high |= bits(high) << (lane * LANES);
            }
            all
        };
        each_run(text, from, kernel, sink);
    }
}
