//! Where is an address? The databases in use: read from files, replaced while requests go on.
//!
//! Needs the files that `palisade.toml` names, or none: countries come with the product. Proves nothing: it finds
//! facts, and `filters::geoip` judges. A database that cannot be used, or that fails at an address, leaves facts
//! unknown, which an organisation with rules refuses.

mod database;
mod row;

pub(crate) use database::{Database, Kind};

use crate::config::GeoFiles;
use crate::watched::Watched;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use palisade_filters::Location;
use palisade_filters::geoip::{self, Disguises};
use std::net::IpAddr;
use std::sync::Arc;

/// The databases that are asked at this moment.
#[derive(Debug, Default)]
pub(crate) struct Geo {
    databases: ArcSwap<Databases>,
}

#[derive(Clone, Debug, Default)]
struct Databases {
    country: Option<Arc<Database>>,
    asn: Option<Arc<Database>>,
    anonymous: Option<Arc<Database>>,
}

impl Geo {
    /// Opens what is named, and the shipped database of countries where none is. For commands: one that cannot be used
    /// is an error.
    pub(crate) fn open(files: &GeoFiles) -> Result<Self> {
        let geo = Self::shipped(files)?;
        for (kind, path) in files.paths() {
            let database = Database::open(path, kind)
                .with_context(|| format!("`geoip.{}` `{}` cannot be used", kind.name(), path.display()))?;
            geo.put(kind, database);
        }
        Ok(geo)
    }

    /// With what comes with the product, in the place of files that are not named.
    fn shipped(files: &GeoFiles) -> Result<Self> {
        let geo = Self::default();
        if files.country.is_none() {
            let shipped = Database::shipped();
            geo.put(Kind::Country, shipped.context("the shipped database of countries cannot be used")?);
        }
        Ok(geo)
    }

    /// Where an address is, as far as is known. Private addresses are nowhere.
    pub(crate) fn find(&self, address: IpAddr) -> Location {
        let address = address.to_canonical();
        if geoip::is_local(address) { Location::default() } else { self.databases.load().find(address) }
    }

    /// Who runs the network of an address.
    pub(crate) fn network_name(&self, address: IpAddr) -> Option<String> {
        let databases = self.databases.load();
        let row = databases.asn.as_ref()?.row(address.to_canonical()).ok()??;
        row.network_name().map(str::to_owned)
    }

    /// Which are in use.
    pub(crate) fn in_use(&self) -> Vec<(Kind, Arc<Database>)> {
        let databases = self.databases.load();
        let mut databases = Databases::clone(&databases);
        Kind::ALL.into_iter().filter_map(|kind| Some((kind, databases.slot(kind).take()?))).collect()
    }

    fn put(&self, kind: Kind, database: Database) {
        let mut databases = Databases::clone(&self.databases.load());
        *databases.slot(kind) = Some(Arc::new(database));
        // Only one thread puts: the one that looks at the files.
        self.databases.store(Arc::new(databases));
    }
}

impl Databases {
    fn slot(&mut self, kind: Kind) -> &mut Option<Arc<Database>> {
        match kind {
            Kind::Country => &mut self.country,
            Kind::Asn => &mut self.asn,
            Kind::Anonymous => &mut self.anonymous,
        }
    }

    fn find(&self, address: IpAddr) -> Location {
        let mut location = Location::default();
        if let Some(row) = self.country.as_ref().and_then(|database| database.row(address).ok().flatten()) {
            location.country = row.country();
            location.continent = row.continent();
        }
        if let Some(row) = self.asn.as_ref().and_then(|database| database.row(address).ok().flatten()) {
            location.asn = row.asn();
        }
        let anonymous = self.anonymous.as_ref().filter(|database| database.covers(address));
        if let Some(Ok(row)) = anonymous.map(|database| database.row(address)) {
            // Such files list only what hides somebody: an address that is not there hides nobody.
            location.anonymous = Some(row.map_or_else(Disguises::default, |row| row.disguises()));
        }
        location
    }
}

/// The files, watched.
#[derive(Debug)]
pub(crate) struct GeoWatch {
    geo: Arc<Geo>,
    files: Vec<(Kind, Watched)>,
}

impl GeoWatch {
    /// Opens what is named, and the shipped database of countries where none is. For a server: one that cannot be used
    /// is logged, leaves facts unknown, and is taken up as soon as it can be.
    pub(crate) fn open(files: &GeoFiles) -> Result<Self> {
        let geo = Arc::new(Geo::shipped(files)?);
        let files = files.paths().map(|(kind, path)| (kind, Watched::new(path.clone()))).collect();
        let mut watch = Self { geo, files };
        watch.look();
        Ok(watch)
    }

    /// What they say.
    pub(crate) fn geo(&self) -> &Arc<Geo> {
        &self.geo
    }

    /// Reads what was changed.
    pub(crate) fn look(&mut self) {
        for (kind, file) in &mut self.files {
            if let Some(database) = file.look(|path| Database::open(path, *kind)) {
                self.geo.put(*kind, database);
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/src/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests;
