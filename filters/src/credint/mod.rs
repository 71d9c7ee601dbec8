//! Is this credential known to be compromised?
//!
//! Two lists are asked: the [`Base`], built offline from hundreds of millions of leaked passwords, with how often each
//! was seen; and the [`Delta`], leak reports that came since, few and exact. The key that a caller presents is asked of
//! the delta alone: one request in 65 000 would be refused by the base for nothing, and a random key is in no list of
//! passwords. Credentials inside prompts and answers are asked of both; the scanner finds them, [`weigh`] says what
//! they are worth. Nothing here reads files, and no credential or hash of one leaves.

mod base;
pub mod build;
mod candidate;
mod delta;
pub mod layout;
#[cfg(test)]
mod tests;

pub use base::{Base, VERIFIED_AT_OPEN_BYTES_MAX};
pub use candidate::CredentialForm;
pub use delta::{DELTA_KEYS_MAX, Delta};
pub use layout::{About, Unusable};

use crate::refusal::Refusal;
use crate::tenant::{Caller, Knock};
use bytes::Bytes;
use sha1::{Digest, Sha1};
use std::sync::Arc;

/// The list that comes with the product; see `data/README.md`.
static SHIPPED: &[u8] = include_bytes!("../../../data/credint/common-passwords.credint");

/// The first 64 bits of the SHA-1 of a credential. Lists of leaked passwords come as SHA-1, which is why it is used;
/// two passwords of a thousand million share these bits less often than once in thirty such lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl Key {
    /// Of a credential.
    pub fn of(credential: &[u8]) -> Self {
        Self::of_sha1(Sha1::digest(credential).into())
    }

    /// Of its SHA-1.
    pub fn of_sha1(sha1: [u8; 20]) -> Self {
        Self(sha1.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }

    /// Its shard: the first bits, so that a sorted list is a list of shards.
    pub fn shard(self, bits: u8) -> usize {
        self.0.checked_shr(64 - u32::from(bits)).unwrap_or(0) as usize
    }
}

/// How often a credential was seen in leaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Once.
    Once,
    /// 2 to 9 times.
    Few,
    /// 10 to 99 times.
    Tens,
    /// 100 to 999 times.
    Hundreds,
    /// 1 000 times or more.
    Thousands,
}

impl Bucket {
    /// All of them, rarest first.
    pub const ALL: [Self; 5] = [Self::Once, Self::Few, Self::Tens, Self::Hundreds, Self::Thousands];

    /// The least number of times.
    pub const fn least(self) -> u64 {
        match self {
            Self::Once => 1,
            Self::Few => 2,
            Self::Tens => 10,
            Self::Hundreds => 100,
            Self::Thousands => 1000,
        }
    }

    /// The bucket that begins with this number, which is how policies name one.
    pub fn beginning_with(least: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.least() == least)
    }
}

/// What is known of a credential; the order is that of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// It is in the list of leaked passwords.
    Listed(Bucket),
    /// A leak report names it.
    Reported,
}

impl Known {
    /// As events say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listed(Bucket::Once) => "1",
            Self::Listed(Bucket::Few) => "2-9",
            Self::Listed(Bucket::Tens) => "10-99",
            Self::Listed(Bucket::Hundreds) => "100-999",
            Self::Listed(Bucket::Thousands) => "1000+",
            Self::Reported => "reported",
        }
    }

    /// How sure a finding is whose value is known like this. A report is as good as proof. What is merely common is
    /// worth recording, and stays below what the shipped floor redacts: `password=123456` is in every manual.
    fn confidence(self) -> f32 {
        match self {
            Self::Reported => 0.95,
            Self::Listed(Bucket::Thousands) => 0.75,
            Self::Listed(Bucket::Hundreds) => 0.7,
            Self::Listed(Bucket::Tens) => 0.65,
            Self::Listed(Bucket::Once | Bucket::Few) => 0.6,
        }
    }
}

/// Everything that is known of credentials at one moment.
#[derive(Debug, Default)]
pub struct Intelligence {
    base: Option<Base>,
    delta: Delta,
}

impl Intelligence {
    /// A list and what was reported since.
    pub fn new(base: Option<Base>, delta: Delta) -> Self {
        Self { base, delta }
    }

    /// The list.
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// What was reported since.
    pub fn delta(&self) -> &Delta {
        &self.delta
    }

    /// What is known of a credential.
    pub fn ask(&self, credential: &[u8]) -> Option<Known> {
        self.ask_key(Key::of(credential))
    }

    /// The same, of its key.
    pub fn ask_key(&self, key: Key) -> Option<Known> {
        if self.delta.holds(key) {
            return Some(Known::Reported);
        }
        self.base.as_ref()?.ask(key).map(Known::Listed)
    }
}

/// The list that comes with the product.
pub fn shipped() -> Result<Base, Unusable> {
    Base::open(Bytes::from_static(SHIPPED))
}

/// A key that no leak report names, and what that was judged by: the same state judges the texts of this exchange.
#[derive(Clone, Debug)]
pub struct Vouched {
    intelligence: Arc<Intelligence>,
}

impl Vouched {
    /// What is known of credentials, as long as this exchange goes on.
    pub fn intelligence(&self) -> &Intelligence {
        &self.intelligence
    }

    pub(crate) fn shared(&self) -> &Arc<Intelligence> {
        &self.intelligence
    }
}

/// Whether the presented key is known to be burned.
pub(crate) fn vouch(
    caller: &Caller,
    knock: &Knock<'_>,
    intelligence: &Arc<Intelligence>,
) -> Result<Vouched, Refusal> {
    let delta = &intelligence.delta;
    let is_asked = caller.tenant().credint.presented_key && !delta.is_empty();
    if is_asked && knock.credentials.iter().any(|credential| delta.holds(Key::of(credential.as_bytes()))) {
        return Err(Refusal::CredentialCompromised);
    }
    Ok(Vouched { intelligence: intelligence.clone() })
}

/// What is known of a credential in a text and how sure that makes its finding, if it makes it count.
///
/// A password seen ten times or more counts; a rarer one only if it does not look like a word, since any word has
/// been somebody's password once.
pub(crate) fn weigh(intelligence: &Intelligence, value: &[u8], form: CredentialForm) -> (Option<Known>, f32) {
    let Some((known, is_no_word)) = candidate::ask(intelligence, value, form) else { return (None, 0.0) };
    let counts = known >= Known::Listed(Bucket::Tens) || is_no_word;
    (Some(known), if counts { known.confidence() } else { 0.0 })
}
