//! What does a secret of the control plane look like? `pal_<what>_<whose>_<public id>_<secret><checksum>`.
//!
//! `pal_token_org_acme_…`, `pal_session_platform_…`, `pal_invite_org_acme_…`: whoever finds one sees what it is and
//! whom to tell, and our own rule for leaked secrets (`secrets.palisade.credential`) finds it, its checksum (CRC-32
//! of the secret, base 62) included. It says in which store it is looked for, and is no API key of the proxy: those
//! begin with `pk_live_`. Of the secret, 256 random bits, only the SHA-256 is kept.

use super::error::AccessError;
use crate::store::{OrganisationId, Owner, ResourceId, StoreError};
use palisade_filters::api_key::{base62, hex};
use palisade_filters::secret::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const MARK: &str = "pal_";
/// Characters of the public id.
const ID_CHARS: usize = 12;
/// Characters that 256 bits take in base 62.
const SECRET_CHARS: usize = 43;
/// Characters that 32 bits take in base 62.
const CHECKSUM_CHARS: usize = 6;

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Token,
    Session,
    Invite,
    /// Lets one proxy in.
    Enroll,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Invite => "invite",
            Self::Enroll => "enroll",
        }
    }
}

/// A new secret, shown once.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) id: ResourceId,
    pub(crate) text: Secret,
    /// What is stored of it, in hexadecimal.
    pub(crate) sha256: String,
}

/// A secret whose form and checksum are right. Whether it exists is another question.
#[derive(Debug)]
pub(crate) struct WellFormed {
    pub(crate) owner: Owner,
    pub(crate) id: ResourceId,
    sha256: String,
}

impl WellFormed {
    /// Whether it is the one whose hash was stored. The time it takes says nothing of the hash.
    pub(crate) fn is_that_of(&self, sha256: &str) -> bool {
        self.sha256.as_bytes().ct_eq(sha256.as_bytes()).into()
    }
}

/// Makes a new one.
pub(crate) fn create(purpose: Purpose, owner: &Owner) -> Result<New, AccessError> {
    let (mut id, mut secret) = ([0; 9], [0; 32]);
    getrandom::fill(&mut id).map_err(StoreError::Random)?;
    getrandom::fill(&mut secret).map_err(StoreError::Random)?;
    Ok(made(purpose, owner, &id, &secret)?)
}

fn made(purpose: Purpose, owner: &Owner, id: &[u8], secret: &[u8]) -> Result<New, StoreError> {
    let whose = match owner {
        Owner::Platform => "platform".to_owned(),
        Owner::Organisation(id) => format!("org_{id}"),
    };
    let (id, secret) = (base62(id, ID_CHARS), base62(secret, SECRET_CHARS));
    let text = format!("{MARK}{}_{whose}_{id}_{secret}{}", purpose.name(), checksum(&secret));
    Ok(New { id: ResourceId::new(&id)?, text: Secret::new(text), sha256: hashed(&secret) })
}

/// Reads one as it is presented.
pub(crate) fn parse(purpose: Purpose, text: &str) -> Option<WellFormed> {
    let rest = text.strip_prefix(MARK)?.strip_prefix(purpose.name())?.strip_prefix('_')?;
    let (rest, end) = rest.rsplit_once('_')?;
    let (whose, id) = rest.rsplit_once('_')?;
    let owner = match whose.strip_prefix("org_") {
        Some(organisation) => Owner::Organisation(OrganisationId::new(organisation).ok()?),
        None if whose == "platform" => Owner::Platform,
        None => return None,
    };
    let (secret, sum) = end.split_at_checked(SECRET_CHARS)?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if id.len() != ID_CHARS || !is_plain(id) || !is_plain(secret) || sum != checksum(secret) {
        return None;
    }
    Some(WellFormed { owner, id: ResourceId::new(id).ok()?, sha256: hashed(secret) })
}

fn checksum(secret: &str) -> String {
    base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), CHECKSUM_CHARS)
}

/// As hashes of secrets are stored.
pub(crate) fn hashed(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners() -> [Owner; 3] {
        let organisation = |id| Owner::Organisation(OrganisationId::new(id).unwrap());
        // An organisation may be called what it likes.
        [Owner::Platform, organisation("acme"), organisation("platform")]
    }

    #[test]
    fn one_is_read_as_what_it_was_made_for_and_as_nothing_else() {
        let purposes = [Purpose::Token, Purpose::Session, Purpose::Invite, Purpose::Enroll];
        for owner in owners() {
            for purpose in purposes {
                let new = create(purpose, &owner).unwrap();
                let read = parse(purpose, new.text.expose()).unwrap();
                assert_eq!((&read.owner, &read.id), (&owner, &new.id));
                assert!(read.is_that_of(&new.sha256) && !read.is_that_of(&hashed("another")));
                for other in purposes.into_iter().filter(|other| *other != purpose) {
                    assert!(parse(other, new.text.expose()).is_none());
                }
                assert!(
                    palisade_filters::api_key::parse(new.text.expose()).is_none(),
                    "it is no key of the proxy"
                );
            }
        }
        let key = palisade_filters::api_key::create([7; 9], [8; 32]);
        assert!(parse(Purpose::Token, key.key.expose()).is_none(), "and a key of the proxy is no token");
    }

    #[test]
    fn a_changed_character_is_noticed_or_names_another() {
        let new = made(Purpose::Token, &owners()[1], &[7; 9], &[0xf3; 32]).unwrap();
        let text = new.text.expose();
        let secret_at = text.rfind('_').unwrap() + 1;
        for at in 0..text.len() {
            let mut other = text.to_owned().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            let other = String::from_utf8(other).unwrap();
            if let Some(read) = parse(Purpose::Token, &other) {
                assert!(at < secret_at, "changed at {at}");
                assert!(read.owner != owners()[1] || read.id != new.id, "changed at {at}");
            }
        }
        for cut in 0..text.len() {
            assert!(parse(Purpose::Token, text.split_at(cut).0).is_none(), "cut at {cut}");
        }
        for odd in [format!("{text}0"), text.replace("org_acme", "org_"), text.replace("org_acme", "acme")] {
            assert!(parse(Purpose::Token, &odd).is_none(), "{odd}");
        }
    }
}
