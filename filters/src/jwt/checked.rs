//! Which JWTs were verified already? So that the next request with the same one pays a hash instead of a signature.
//!
//! Needs a key, so that nothing of a JWT is kept but a keyed hash; holds at most so many, the ones that were asked for
//! lately. What is in it was verified under one policy and one set of keys, and is for these alone: a change of either
//! makes every JWT be verified anew.

use super::keys::KeySet;
use crate::policy::compile::keyed_hash;
use crate::policy::{KeyEntry, Policy};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tables, so that workers rarely wait for one another.
const SHARDS: usize = 16;
/// JWTs of one half of a table: 16 384 in all.
const HALF: usize = 512;

/// What was verified.
#[derive(Default)]
pub(super) struct Checked {
    key: [u8; 32],
    shards: [Mutex<Shard>; SHARDS],
}

/// Those that were asked for lately and those before, which are forgotten together.
#[derive(Default)]
struct Shard {
    revision: u64,
    young: HashMap<Digest, Verified>,
    old: HashMap<Digest, Verified>,
}

/// A keyed hash of a whole JWT.
pub(super) type Digest = [u8; 32];

/// What a JWT amounts to, and by which keys.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) entry: KeyEntry,
    pub(super) set: Arc<KeySet>,
}

impl Checked {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, ..Self::default() }
    }

    pub(super) fn digest(&self, credential: &str) -> Digest {
        keyed_hash(&self.key, credential.as_bytes())
    }

    fn shard(&self, digest: &Digest) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::from(*digest.first()?) % SHARDS)
    }

    /// What was verified under this policy.
    pub(super) fn find(&self, policy: &Policy, digest: &Digest) -> Option<Verified> {
        let mut shard = self.shard(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.revision != policy.revision() {
            return None;
        }
        let found = if let Some(found) = shard.young.get(digest) {
            found.clone()
        } else {
            let found = shard.old.remove(digest)?;
            shard.put(*digest, found.clone());
            found
        };
        // Revisions are counted by each line of policies for itself.
        let tenant = &found.entry.0;
        let is_same = policy.tenant(&tenant.id).is_some_and(|now| Arc::ptr_eq(now, tenant));
        is_same.then_some(found)
    }

    pub(super) fn remember(&self, policy: &Policy, digest: Digest, verified: Verified) {
        let Some(shard) = self.shard(&digest) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.revision != policy.revision() {
            // Tenants of former policies are held by nothing else.
            *shard = Shard { revision: policy.revision(), ..Shard::default() };
        }
        shard.put(digest, verified);
    }
}

impl Shard {
    fn put(&mut self, digest: Digest, verified: Verified) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}
