//! What does a database know of an address? One file in MaxMind's format, mapped or carried in the binary.
//!
//! Needs a file; proves, when it opens one, that every row can be read and that it holds what it is asked for: a wrong
//! or broken file is an error then, with a reason, and not a wrong answer later. Looking up reads a few dozen places of
//! the file and copies nothing.

use super::row::Row;
use crate::mapped::{MapError, Mapped};
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

/// A tree of one node and its metadata; the whole world by city and network is below 1 GiB.
const FILE_BYTES: std::ops::RangeInclusive<u64> = 64..=1024 * 1024 * 1024;

/// Countries by address, carried in the binary: `data/README.md` says from where.
static SHIPPED: &[u8] = include_bytes!("../../../data/geoip/country.mmdb");

/// What a database is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Countries.
    Country,
    /// Networks.
    Asn,
    /// Networks that hide who uses them.
    Anonymous,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Country, Self::Asn, Self::Anonymous];

    /// The setting that names its file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Asn => "asn",
            Self::Anonymous => "anonymous",
        }
    }
}

/// A database that can be asked.
#[derive(Debug)]
pub(crate) struct Database {
    reader: Reader<Bytes>,
}

/// Why a file is no database to us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// It is not mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is not in MaxMind's format, or broken.
    #[error("it is no sound database in MaxMind's format: {0}")]
    Format(MaxMindDbError),
    /// Its tree leads round in circles.
    #[error("it is no sound database in MaxMind's format: its tree has more ends than nodes")]
    Tree,
    /// It is about something else.
    #[error("it has no row with {what}; is it the right file for `geoip.{setting}`?", setting = .0.name(), what = match .0 {
        Kind::Country => "a country",
        Kind::Asn => "the number of a network",
        Kind::Anonymous => "a flag such as `is_anonymous_vpn`",
    })]
    WrongKind(Kind),
}

impl From<MaxMindDbError> for DatabaseError {
    fn from(error: MaxMindDbError) -> Self {
        Self::Format(error)
    }
}

#[derive(Debug)]
enum Bytes {
    Static(&'static [u8]),
    Mapped(Mapped),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Mapped(mapped) => mapped.as_ref(),
        }
    }
}

impl Database {
    /// The one that comes with the product. Its rows are not read through at each start: a test did, for this file.
    pub(crate) fn shipped() -> Result<Self, DatabaseError> {
        Ok(Self { reader: Reader::from_source(Bytes::Static(SHIPPED))? })
    }

    /// Opens a file for one kind of question, and reads every row once.
    pub(crate) fn open(path: &Path, kind: Kind) -> Result<Self, DatabaseError> {
        Self::check(Bytes::Mapped(Mapped::open(path, FILE_BYTES)?), kind)
    }

    fn check(bytes: Bytes, kind: Kind) -> Result<Self, DatabaseError> {
        let reader = Reader::from_source(bytes)?;
        let mut seen = HashSet::new();
        let mut holds = false;
        // A tree of n nodes has n + 1 ends; one with circles has no end of them.
        let mut ends_left = u64::from(reader.metadata().node_count) + 1;
        for row in reader.networks(WithinOptions::default())? {
            ends_left = ends_left.checked_sub(1).ok_or(DatabaseError::Tree)?;
            let row = row?;
            // Most networks share their row with others.
            if !row.offset().is_some_and(|offset| seen.insert(offset)) {
                continue;
            }
            holds |= row.decode::<Row<'_>>()?.is_some_and(|row| match kind {
                Kind::Country => row.country().is_some() || row.continent().is_some(),
                Kind::Asn => row.asn().is_some(),
                Kind::Anonymous => row.knows_disguises(),
            });
        }
        if holds { Ok(Self { reader }) } else { Err(DatabaseError::WrongKind(kind)) }
    }

    /// Whether it is about addresses of this kind: some files know the old ones only.
    pub(super) fn covers(&self, address: IpAddr) -> bool {
        address.is_ipv4() || self.reader.metadata().ip_version != 4
    }

    /// What it says of an address; none: it says nothing.
    pub(super) fn row(&self, address: IpAddr) -> Result<Option<Row<'_>>, MaxMindDbError> {
        if !self.covers(address) {
            return Ok(None);
        }
        self.reader.lookup(address)?.decode()
    }

    /// When it was made.
    pub(crate) fn built(&self) -> SystemTime {
        self.reader.metadata().build_time().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What it calls itself.
    pub(crate) fn name(&self) -> &str {
        &self.reader.metadata().database_type
    }
}

#[cfg(test)]
mod tests;
