//! How does one change among a hundred thousand names copy little?
//!
//! A map in small parts, under two levels of pointers. A copy shares all parts; a change copies the part that it is in,
//! and the pointers above it. So a policy that follows another costs what changed, and not what there is.

use std::collections::HashMap;
use std::sync::Arc;

/// Pointers on each level: 4 096 parts. A part has some 25 of 100 000 organisations, some 250 of a million keys.
const FAN: usize = 64;

type Part<V> = HashMap<Arc<str>, V>;

/// A map from names, in parts that copies share.
#[derive(Clone, Debug)]
pub(super) struct Shards<V> {
    branches: Vec<Arc<Vec<Arc<Part<V>>>>>,
    len: usize,
}

impl<V: Clone> Shards<V> {
    pub(super) fn new() -> Self {
        let branch = Arc::new(vec![Arc::default(); FAN]);
        Self { branches: vec![branch; FAN], len: 0 }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        let (branch, part) = place(name);
        self.branches.get(branch)?.get(part)?.get(name)
    }

    /// What stood under the name before.
    pub(super) fn insert(&mut self, name: Arc<str>, value: V) -> Option<V> {
        let before = self.part_mut(&name)?.insert(name, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// What stood under the name.
    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        // A name that is not there copies nothing.
        self.get(name)?;
        let before = self.part_mut(name)?.remove(name);
        self.len -= usize::from(before.is_some());
        before
    }

    /// All of it, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.branches.iter().flat_map(|branch| branch.iter()).flat_map(|part| part.iter())
    }

    fn part_mut(&mut self, name: &str) -> Option<&mut Part<V>> {
        let (branch, part) = place(name);
        let branch = Arc::make_mut(self.branches.get_mut(branch)?);
        Some(Arc::make_mut(branch.get_mut(part)?))
    }

    /// How many parts are not those of another map.
    #[cfg(test)]
    pub(super) fn parts_apart(&self, other: &Self) -> usize {
        let parts = |map: &Self| map.branches.iter().flat_map(|branch| branch.to_vec()).collect::<Vec<_>>();
        parts(self).iter().zip(&parts(other)).filter(|(one, two)| !Arc::ptr_eq(one, two)).count()
    }
}

/// Where a name is: FNV-1a of 64 bits. Whoever makes names that meet in one part makes their own changes slow.
fn place(name: &str) -> (usize, usize) {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ hash >> 32) as usize;
    (hash % FAN, hash / FAN % FAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_copies_are_apart(
            steps in prop::collection::vec((0..40_u32, prop::option::of(0..9_u8)), 0..120),
        ) {
            let (mut shards, mut map) = (Shards::new(), HashMap::new());
            let mut copies = Vec::new();
            for (name, value) in steps {
                let name: Arc<str> = format!("name-{name}").into();
                let (one, two) = match value {
                    Some(value) => (shards.insert(name.clone(), value), map.insert(name, value)),
                    None => (shards.remove(&name), map.remove(&name)),
                };
                prop_assert_eq!(one, two);
                copies.push((shards.clone(), map.clone()));
            }
            for (shards, map) in copies {
                prop_assert_eq!(shards.len(), map.len());
                let found: HashMap<_, _> =
                    shards.iter().map(|(name, value)| (name.clone(), *value)).collect();
                prop_assert_eq!(found, map);
            }
        }
    }

    #[test]
    fn names_in_a_row_spread_over_all_parts() {
        let mut shards = Shards::new();
        for at in 0..100_000 {
            shards.insert(format!("org-{at:05}").into(), ());
        }
        let parts: Vec<usize> =
            shards.branches.iter().flat_map(|branch| branch.iter().map(|part| part.len())).collect();
        let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
        assert!(*least > 5 && *most < 60, "parts of {least} to {most} names");
    }

    #[test]
    fn a_change_copies_one_part_and_what_is_no_change_copies_none() {
        let mut shards = Shards::new();
        for at in 0..10_000 {
            shards.insert(format!("{at}").into(), at);
        }
        let mut next = shards.clone();
        assert_eq!(next.parts_apart(&shards), 0);
        next.remove("nobody");
        assert_eq!(next.parts_apart(&shards), 0);
        next.insert("7".into(), 8);
        assert_eq!((next.parts_apart(&shards), shards.get("7"), next.get("7")), (1, Some(&7), Some(&8)));
    }
}
