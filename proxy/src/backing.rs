//! What stands behind the policy of this process? A folder of documents, the control plane in it, or one elsewhere.
//!
//! Needs the configuration, and what the process is for; proves the one thing of the three that it has, which lives as
//! long as the process does. A control plane, here or elsewhere, has threads of its own.

use crate::config::Config;
use crate::feed::FarPlane;
use crate::house::House;
use crate::plane::Plane;
use crate::run::Role;
use crate::source::Source;
use anyhow::Result;
use palisade_filters::dlp::Scanner;
use std::sync::Arc;

/// One of them.
pub(crate) enum Backing {
    /// Documents that somebody edits.
    Folder,
    /// The control plane in this process.
    Plane(Box<Plane>),
    /// The one elsewhere.
    Far(FarPlane),
}

impl Backing {
    pub(crate) fn open(
        config: &Config,
        house: &Arc<House>,
        scanner: &Arc<Scanner>,
        role: Role,
    ) -> Result<Self> {
        if role == Role::Proxy {
            return Ok(Self::Far(FarPlane::open(config, house)?));
        }
        Ok(Plane::open(config, house, scanner)?.map_or(Self::Folder, |plane| Self::Plane(Box::new(plane))))
    }

    /// The control plane in this process, if it has one.
    pub(crate) fn plane(&self) -> Option<&Plane> {
        if let Self::Plane(plane) = self { Some(plane) } else { None }
    }

    /// Where policy comes from, in force as far as it is known.
    pub(crate) fn source(
        &self,
        config: &Config,
        house: &Arc<House>,
        scanner: &Arc<Scanner>,
        is_upgrade: bool,
    ) -> Result<Source> {
        match self {
            Self::Folder => Source::folder(house, &config.data_dir, scanner),
            Self::Plane(plane) => Source::store(house, plane, scanner, config.max_staleness),
            Self::Far(plane) => Source::far(house, plane, config, scanner, is_upgrade),
        }
    }

    /// Ends its threads; not from within a runtime.
    pub(crate) fn end(self) {
        match self {
            Self::Folder => {}
            Self::Plane(plane) => plane.end(),
            Self::Far(plane) => plane.end(),
        }
    }
}
