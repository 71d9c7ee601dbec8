//! Which literals share a bucket? The tables that the vector paths of the sweep look bytes up in.
//!
//! Needs the four-byte windows of all literals; proves that every window is in one of the buckets, in either case. A
//! position passes a bucket if each of its four bytes occurs at that place in one of the bucket's windows, so few
//! windows, alike, make a good bucket. What passes is only a candidate: the table behind decides.

/// Buckets are bits of a byte; so many bytes are looked up.
pub(super) const GROUPS: usize = 8;
/// Bytes of a window.
pub(super) const WINDOW: usize = 4;

const BUCKETS: usize = GROUPS * 8;
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
    pub(super) by_class: Box<[[Table<64>; WINDOW]; GROUPS]>,
    /// For each group and place, the buckets that a byte's low and high half pass.
    pub(super) by_half: Box<[[[Table<16>; 2]; WINDOW]; GROUPS]>,
}

/// A bucket as it is filled.
#[derive(Clone, Default)]
struct Bucket {
    windows: Vec<[u8; WINDOW]>,
    /// For each place, which bytes are in it.
    bytes: [u128; WINDOW],
}

impl Bucket {
    fn with(&self, window: [u8; WINDOW]) -> [u128; WINDOW] {
        let mut bytes = self.bytes;
        for (set, byte) in bytes.iter_mut().zip(window) {
            *set |= 1 << (byte & 0x7f);
        }
        bytes
    }
}

impl Buckets {
    /// Distributes windows, in lower case. `weight` says how common a byte is.
    pub(super) fn new(mut windows: Vec<[u8; WINDOW]>, weight: impl Fn(u8) -> f32) -> Self {
        windows.sort_unstable();
        windows.dedup();
        let weights: Vec<f32> = (0..128).map(weight).collect();
        let passes =
            |bytes: &[u128; WINDOW]| -> f32 { bytes.iter().map(|set| weigh(&weights, *set)).product() };
        let mut buckets = vec![Bucket::default(); BUCKETS];
        for window in windows {
            let dearer = |bucket: &Bucket| passes(&bucket.with(window)) - passes(&bucket.bytes);
            let cheapest = buckets.iter_mut().min_by(|one, other| dearer(one).total_cmp(&dearer(other)));
            if let Some(bucket) = cheapest {
                bucket.bytes = bucket.with(window);
                bucket.windows.push(window);
            }
        }
        Self::lay_out(&buckets)
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.by_class) + size_of_val(&*self.by_half)
    }

    fn lay_out(buckets: &[Bucket]) -> Self {
        let mut tables = Self {
            classes: Table([0; 128]),
            by_class: Box::new(std::array::from_fn(|_| std::array::from_fn(|_| Table([0; 64])))),
            by_half: Box::new(std::array::from_fn(|_| {
                std::array::from_fn(|_| std::array::from_fn(|_| Table([0; 16])))
            })),
        };
        let mut next = 1;
        for (number, bucket) in buckets.iter().enumerate() {
            let (group, bit) = (number / 8, 1u8 << (number % 8));
            for window in &bucket.windows {
                for (place, byte) in window.iter().enumerate() {
                    tables.enter(*byte, &mut next, (group, place), bit);
                }
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
            let halves = self.by_half.get_mut(group).and_then(|group| group.get_mut(place));
            if let Some([low, high]) = halves {
                set(low.0.get_mut(usize::from(byte & 15)), |buckets| *buckets |= bit);
                set(high.0.get_mut(usize::from(byte >> 4)), |buckets| *buckets |= bit);
            }
        }
        let classes = self.by_class.get_mut(group).and_then(|group| group.get_mut(place));
        set(classes.and_then(|table| table.0.get_mut(usize::from(class))), |buckets| *buckets |= bit);
    }
}

fn set(place: Option<&mut u8>, change: impl FnOnce(&mut u8)) {
    if let Some(place) = place {
        change(place);
    }
}

fn weigh(weights: &[f32], mut set: u128) -> f32 {
    let mut sum = 0.0;
    while set != 0 {
        sum += weights.get(set.trailing_zeros() as usize).copied().unwrap_or(0.0);
        set &= set - 1;
    }
    sum
}
