//! How is a list of somebody else's read that may be too long? Up to where it is, and not a member further.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Reads a list, asking with each member whether what there is may be.
pub(crate) fn bounded<'de, D, T, F>(input: D, fits: F) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    F: FnMut(&[T]) -> bool,
{
    input.deserialize_seq(Bounded(fits, PhantomData))
}

struct Bounded<T, F>(F, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(&[T]) -> bool> Visitor<'de> for Bounded<T, F> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list that is not too long")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut members: A) -> Result<Vec<T>, A::Error> {
        let mut read = Vec::new();
        while let Some(member) = members.next_element()? {
            read.push(member);
            if !(self.0)(&read) {
                return Err(A::Error::custom("the list is too long"));
            }
        }
        Ok(read)
    }
}
