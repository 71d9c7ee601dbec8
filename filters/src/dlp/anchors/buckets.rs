//! Which literals share a bucket? The tables that the vector paths of the sweep look bytes up in.
//!
//! Needs the four-byte windows of all literals; proves that every window is in one of the buckets, in either case. A
//! position passes a bucket if each of its four bytes occurs at that place in one of the bucket's windows, so few
//! windows, alike, make a good bucket. What passes is only a candidate: the table behind decides.

use super::super::bytes::ByteSet;

/// Buckets are bits of a byte; so many bytes are looked up at most, and one for so many windows.
pub(super) const GROUPS: usize = 8;
const GROUP_WINDOWS: usize = 64;
/// Bytes of a window.
pub(in crate::dlp) const WINDOW: usize = 4;

/// Classes that a byte can have in the table of 64: class 0 is of bytes that no window has.
const CLASSES: usize = 64;

/// A table of the vector paths, aligned as they load it.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Table<const N: usize>(pub(super) [u8; N]);

/// What the vector paths look up.
#[derive(Debug)]
pub(super) struct Buckets {
    /// The class of a byte, by its low seven bits: both cases have the same.
    pub(super) classes: Table<128>,
    /// For each group and place, the buckets that a class passes.
    pub(super) by_class: Box<[[Table<64>; WINDOW]]>,
    /// For each group and place, the buckets that a byte's low and high half pass.
    pub(super) by_half: Box<[[[Table<16>; 2]; WINDOW]]>,
}

/// How often every window is asked once more whether another bucket would be a better place for it.
const PASSES: usize = 4;

/// A bucket as it is filled.
#[derive(Clone)]
struct Bucket {
    /// For each place, how many of its windows have a byte there.
    counts: [[u16; 128]; WINDOW],
    /// For each place, how likely a byte of a text is one of those.
    likely: [f32; WINDOW],
}

impl Bucket {
    const EMPTY: Self = Self { counts: [[0; 128]; WINDOW], likely: [0.0; WINDOW] };

    /// How much more passes the bucket with this window.
    fn dearer(&self, window: [u8; WINDOW], weights: &[f32; 128]) -> f32 {
        let (mut before, mut behind) = (1.0, 1.0);
        for ((byte, counts), likely) in window.into_iter().zip(&self.counts).zip(self.likely) {
            let known = counts.get(usize::from(byte & 0x7f)).is_some_and(|count| *count > 0);
            before *= likely;
            behind *= if known { likely } else { likely + weight(weights, byte) };
        }
        behind - before
    }

    fn add(&mut self, window: [u8; WINDOW], weights: &[f32; 128]) {
        for ((byte, counts), likely) in window.into_iter().zip(&mut self.counts).zip(&mut self.likely) {
            let Some(count) = counts.get_mut(usize::from(byte & 0x7f)) else { continue };
            *count += 1;
            if *count == 1 {
                *likely += weight(weights, byte);
            }
        }
    }

    fn remove(&mut self, window: [u8; WINDOW], weights: &[f32; 128]) {
        for ((byte, counts), likely) in window.into_iter().zip(&mut self.counts).zip(&mut self.likely) {
            let Some(count) = counts.get_mut(usize::from(byte & 0x7f)) else { continue };
            *count -= 1;
            if *count == 0 {
                *likely -= weight(weights, byte);
            }
        }
    }
}

fn weight(weights: &[f32; 128], byte: u8) -> f32 {
    weights.get(usize::from(byte & 0x7f)).copied().unwrap_or(0.0)
}

impl Buckets {
    /// Distributes windows, in lower case. `weight` says how common a byte is.
    pub(super) fn new(mut windows: Vec<[u8; WINDOW]>, weight: impl Fn(u8) -> f32) -> Self {
        windows.sort_unstable();
        windows.dedup();
        let all: f32 = (0..128).map(&weight).sum();
        let weights: [f32; 128] = std::array::from_fn(|byte| weight(byte as u8) / all);
        let groups = windows.len().div_ceil(GROUP_WINDOWS).min(GROUPS);
        let mut buckets = vec![Bucket::EMPTY; groups * 8];
        let mut places: Vec<Option<usize>> = vec![None; windows.len()];
        for _ in 0..PASSES {
            for (window, place) in windows.iter().zip(&mut places) {
                if let Some(bucket) = place.and_then(|place| buckets.get_mut(place)) {
                    bucket.remove(*window, &weights);
                }
                let costs = buckets.iter().map(|bucket| bucket.dearer(*window, &weights)).enumerate();
                *place = costs.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(place, _)| place);
                if let Some(bucket) = place.and_then(|place| buckets.get_mut(place)) {
                    bucket.add(*window, &weights);
                }
            }
        }
        Self::lay_out(
            groups,
            windows.iter().zip(places).filter_map(|(window, place)| Some((*window, place?))),
        )
    }

    /// One for each window of byte classes, exactly as they are; none if those are too many.
    pub(super) fn of_classes(windows: &[[ByteSet; WINDOW]]) -> Option<Self> {
        let groups = windows.len().div_ceil(8);
        if groups > GROUPS {
            return None;
        }
        let mut tables = Self::empty(groups);
        let mut known: Vec<Vec<u8>> = Vec::new();
        for low in 0..128u8 {
            // What is told apart by seven bits only, is one to the tables.
            let bits = |(number, window): (usize, &[ByteSet; WINDOW])| {
                let has = |class: &ByteSet| class.contains(low) || class.contains(low | 0x80);
                let places = (0..).zip(window).filter(|(_, class)| has(class));
                (number, places.fold(0u8, |bits, (place, _)| bits | 1 << place))
            };
            let windows: Vec<(usize, u8)> = windows.iter().enumerate().map(bits).collect();
            let signature: Vec<u8> = windows.iter().map(|(_, places)| *places).collect();
            let class = known.iter().position(|known| *known == signature).unwrap_or_else(|| {
                known.push(signature);
                known.len() - 1
            });
            // More kinds of bytes than classes: the last one is shared, which lets more through and loses nothing.
            let class = class.min(CLASSES - 1);
            set(tables.classes.0.get_mut(usize::from(low)), |known| *known = class as u8);
            for (number, places) in windows {
                for place in (0..WINDOW).filter(|place| places >> place & 1 == 1) {
                    let table = tables.by_class.get_mut(number / 8).and_then(|group| group.get_mut(place));
                    set(table.and_then(|table| table.0.get_mut(class)), |buckets| {
                        *buckets |= 1 << (number % 8);
                    });
                }
            }
        }
        for (number, window) in windows.iter().enumerate() {
            for (place, class) in window.iter().enumerate() {
                for byte in (0..=255).filter(|byte| class.contains(*byte)) {
                    tables.enter_halves(byte, (number / 8, place), 1 << (number % 8));
                }
            }
        }
        Some(tables)
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.by_class) + size_of_val(&*self.by_half)
    }

    fn empty(groups: usize) -> Self {
        Self {
            classes: Table([0; 128]),
            by_class: vec![std::array::from_fn(|_| Table([0; 64])); groups].into(),
            by_half: vec![std::array::from_fn(|_| std::array::from_fn(|_| Table([0; 16]))); groups].into(),
        }
    }

    fn lay_out(groups: usize, windows: impl Iterator<Item = ([u8; WINDOW], usize)>) -> Self {
        let mut tables = Self::empty(groups);
        let mut next = 1;
        for (window, number) in windows {
            let (group, bit) = (number / 8, 1u8 << (number % 8));
            for (place, byte) in window.into_iter().enumerate() {
                tables.enter(byte, &mut next, (group, place), bit);
            }
        }
        tables
    }

    fn enter(&mut self, byte: u8, next: &mut u8, (group, place): (usize, usize), bit: u8) {
        let mut class = self.classes.0.get(usize::from(byte & 0x7f)).copied().unwrap_or(0);
        if class == 0 {
            // More bytes than classes: the last one is shared, which lets more through and loses nothing.
            class = (*next).min(CLASSES as u8 - 1);
            *next = next.saturating_add(1);
        }
        for byte in [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()] {
            set(self.classes.0.get_mut(usize::from(byte & 0x7f)), |known| *known = class);
            self.enter_halves(byte, (group, place), bit);
        }
        let classes = self.by_class.get_mut(group).and_then(|group| group.get_mut(place));
        set(classes.and_then(|table| table.0.get_mut(usize::from(class))), |buckets| *buckets |= bit);
    }

    fn enter_halves(&mut self, byte: u8, (group, place): (usize, usize), bit: u8) {
        let halves = self.by_half.get_mut(group).and_then(|group| group.get_mut(place));
        if let Some([low, high]) = halves {
            set(low.0.get_mut(usize::from(byte & 15)), |buckets| *buckets |= bit);
            set(high.0.get_mut(usize::from(byte >> 4)), |buckets| *buckets |= bit);
        }
    }
}

fn set(place: Option<&mut u8>, change: impl FnOnce(&mut u8)) {
    if let Some(place) = place {
        change(place);
    }
}
