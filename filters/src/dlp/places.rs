//! Where in a body does something stand? The tree of its containers, each with its parent, so that a place costs two
//! words while a body is read and is spelled out only when somebody asks.

use crate::json;
use crate::names::{folded_hash, is_same_name};
use std::ops::Range;

/// Longer keys are no names of members.
const NAME_BYTES_MAX: usize = 32;

/// The places of one body.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Vec<(u32, Step)>);

/// A step of the way from the outermost value.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The outermost value.
    Root,
    /// A member, by its raw key.
    Key(Range<usize>),
    /// An element.
    Index(u32),
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a place and returns its number.
    pub(super) fn add(&mut self, parent: u32, step: Step) -> u32 {
        self.0.push((parent, step));
        (self.0.len() - 1) as u32
    }

    /// The steps from a place up to the outermost value.
    fn upwards(&self, place: u32) -> impl Iterator<Item = &Step> {
        let mut at = Some(place);
        std::iter::from_fn(move || {
            let (parent, step) = self.0.get(at? as usize)?;
            at = (!matches!(step, Step::Root)).then_some(*parent);
            Some(step)
        })
    }

    /// A hash of the way to a place, with the names of all keys, and without the positions in so many of the outermost
    /// arrays.
    pub(super) fn hash(&self, body: &[u8], place: u32, outermost: usize) -> u64 {
        let is_index = |step: &&Step| matches!(step, Step::Index(_));
        let mut inner = self.upwards(place).filter(is_index).count().saturating_sub(outermost);
        self.upwards(place).fold(0, |hash: u64, step| {
            let step = match step {
                Step::Root => 0,
                Step::Key(raw) => folded_hash(body.get(raw.clone()).unwrap_or_default()),
                Step::Index(_) if inner == 0 => 0,
                Step::Index(index) => {
                    inner -= 1;
                    u64::from(*index)
                }
            };
            (hash.rotate_left(29) ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    /// Whether these keys lead to a place from the outermost value.
    pub(super) fn is(&self, body: &[u8], place: u32, keys: &[&str]) -> bool {
        let mut steps = self.upwards(place).filter(|step| !matches!(step, Step::Root));
        let is_key = |step: Option<&Step>, key: &str| match step {
            Some(Step::Key(raw)) => body.get(raw.clone()) == Some(key.as_bytes()),
            Some(Step::Root | Step::Index(_)) | None => false,
        };
        keys.iter().rev().all(|key| is_key(steps.next(), key)) && steps.next().is_none()
    }

    /// The list whose elements are objects with a member of this name, however it is escaped, if a place is that
    /// member of one of them.
    pub(super) fn list_of(&self, body: &[u8], place: u32, name: &str) -> Option<u32> {
        let (element, Step::Key(raw)) = self.0.get(place as usize)? else { return None };
        let (list, Step::Index(_)) = self.0.get(*element as usize)? else { return None };
        let mut key = body.get(raw.clone())?;
        let mut decoded = Vec::new();
        if key.contains(&b'\\') {
            json::decode(key, &mut decoded);
            key = &decoded;
        }
        is_same_name(key, name).then_some(*list)
    }

    /// The way to a place in words. A key that does not look like the name of a member is a caller's text and shows as
    /// `*`.
    pub(super) fn name(&self, body: &[u8], place: u32) -> String {
        let mut steps: Vec<&Step> = self.upwards(place).collect();
        steps.reverse();
        let mut out = String::new();
        for step in steps {
            match step {
                Step::Root => {}
                Step::Key(raw) => {
                    let name = body.get(raw.clone()).unwrap_or_default();
                    let is_name = name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
                    let is_name = is_name && name.len() <= NAME_BYTES_MAX;
                    let name = std::str::from_utf8(name).ok().filter(|_| is_name);
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name.unwrap_or("*"));
                }
                Step::Index(index) => out.extend(["[", &index.to_string(), "]"]),
            }
        }
        out
    }
}
