//! How is a resource named? By whose it is, its kind, and its id: texts that are checked once, here.
//!
//! A name that exists as one of these types holds no separator of paths, no quote and no control character, whatever
//! an admin wrote: so a file can be named after an organisation, and a cursor is an id.

use std::fmt;

/// Bytes of an organisation's id, as in its document.
pub(super) const ORGANISATION_BYTES_MAX: usize = 64;
/// Bytes of a kind: ours are words.
pub(super) const KIND_BYTES_MAX: usize = 64;
/// Bytes of a resource's id: a name, an address of mail, an id that another system gave.
pub(super) const ID_BYTES_MAX: usize = 128;
/// What stands for the platform where an organisation's id would stand; no organisation can be called that.
const PLATFORM: &str = "@platform";

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// As in an organisation's document.
    #[error("an organisation's id has 1 to {ORGANISATION_BYTES_MAX} of `a-z`, `0-9` and `-`")]
    Organisation,
    /// Kinds are our own words.
    #[error("a kind begins with one of `a-z` and has 1 to {KIND_BYTES_MAX} of `a-z`, `0-9` and `-`")]
    Kind,
    /// It stands in a URL.
    #[error(
        "a resource's id begins with a letter, a digit or `_` and has 1 to {ID_BYTES_MAX} of letters, digits, `_`, \
         `-`, `.`, `:`, `@` and `+`"
    )]
    Id,
}

/// The id of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrganisationId(Box<str>);

impl OrganisationId {
    /// Takes an id, if it is one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_one = (1..=ORGANISATION_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fit);
        if is_one { Ok(Self(text.into())) } else { Err(NameError::Organisation) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A kind of resource: `groups`, `providers`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(Box<str>);

impl Kind {
    /// Takes a kind's name, if it is one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_one = text.len() <= KIND_BYTES_MAX
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(is_fit);
        if is_one { Ok(Self(text.into())) } else { Err(NameError::Kind) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a resource among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(Box<str>);

impl ResourceId {
    /// Takes an id, if it is one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@+".contains(&byte);
        let is_one = text.len() <= ID_BYTES_MAX
            && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && text.bytes().all(is_fit);
        if is_one { Ok(Self(text.into())) } else { Err(NameError::Id) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrganisationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whose a resource is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// What holds for everyone.
    Platform,
    /// An organisation's own.
    Organisation(OrganisationId),
}

impl Owner {
    /// What stands in the column `organisation`.
    pub(super) fn column(&self) -> &str {
        match self {
            Self::Platform => PLATFORM,
            Self::Organisation(id) => id.as_str(),
        }
    }

    /// Reads the column again.
    pub(super) fn from_column(text: &str) -> Result<Self, NameError> {
        if text == PLATFORM { Ok(Self::Platform) } else { OrganisationId::new(text).map(Self::Organisation) }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => out.write_str("the platform"),
            Self::Organisation(id) => write!(out, "the organisation `{id}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_nothing_that_a_path_or_a_url_is_made_of() {
        for bad in ["", ".", "..", "../a", "a/b", "a\\b", "A", "a b", "a\0", "a\n", "@platform", "ä", "a.db"]
        {
            assert_eq!(OrganisationId::new(bad), Err(NameError::Organisation), "{bad:?}");
        }
        for bad in ["", ".", "..", ".a", "a/b", "a%2f", "a b", "a\0", "ä", "-a", "a\"b", "a?b", "a#b"] {
            assert_eq!(ResourceId::new(bad), Err(NameError::Id), "{bad:?}");
        }
        for bad in ["", "Groups", "1a", "-", "a_b", "a.b"] {
            assert_eq!(Kind::new(bad), Err(NameError::Kind), "{bad:?}");
        }
        let longest = "a".repeat(ID_BYTES_MAX);
        assert!(ResourceId::new(&longest).is_ok() && ResourceId::new(&(longest + "a")).is_err());
        assert!(ResourceId::new("ann+x@example.org").is_ok() && OrganisationId::new("acme-2").is_ok());
    }

    #[test]
    fn a_column_is_read_as_it_was_written() {
        let acme = Owner::Organisation(OrganisationId::new("acme").unwrap());
        for owner in [Owner::Platform, acme] {
            assert_eq!(Owner::from_column(owner.column()), Ok(owner));
        }
        assert!(Owner::from_column("@other").is_err());
    }
}
