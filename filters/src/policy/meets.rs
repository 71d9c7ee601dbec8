//! Which policy rules do the findings of a detector meet?
//!
//! Hundreds of detectors meet a handful of lists of rules, and each tenant has its own: so a list is kept once.

use std::collections::HashMap;

/// For each detector, the numbers of policy rules.
#[derive(Debug)]
pub(super) struct Meets {
    /// Which of the lists each detector has.
    of_detector: Box<[u16]>,
    lists: Box<[Box<[u16]>]>,
}

impl Meets {
    /// Takes a list for each detector, in the order of their numbers.
    pub(super) fn new(by_detector: Vec<Vec<u16>>) -> Self {
        let mut numbers: HashMap<Vec<u16>, u16> = HashMap::new();
        let mut lists = Vec::new();
        let mut number_of = |list: Vec<u16>| {
            *numbers.entry(list).or_insert_with_key(|list| {
                lists.push(list.as_slice().into());
                // There are no more lists than detectors, which are numbered in 16 bits.
                (lists.len() - 1) as u16
            })
        };
        let of_detector = by_detector.into_iter().map(&mut number_of).collect();
        Self { of_detector, lists: lists.into() }
    }

    /// The rules that findings of this detector meet, in order.
    pub(super) fn of(&self, detector: u16) -> &[u16] {
        let list = self.of_detector.get(usize::from(detector));
        list.and_then(|list| self.lists.get(usize::from(*list))).map(|list| &**list).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_detector_meets_its_own_list_and_strangers_meet_nothing() {
        let meets = Meets::new(vec![vec![1, 2], vec![], vec![1, 2], vec![2]]);
        let of = |detector| meets.of(detector).to_vec();
        assert_eq!([of(0), of(1), of(2), of(3), of(4)], [vec![1, 2], vec![], vec![1, 2], vec![2], vec![]]);
        assert_eq!(meets.lists.len(), 3);
    }
}
