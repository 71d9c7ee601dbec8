//! Where does what is known of compromised credentials come from, and how does it stay up to date?
//!
//! The base is one file that `palisade credint build` made: the configured one, `credint/base.credint` in the data
//! folder, or the one that comes with the product. The delta is every report in the data folder's `credint/`:
//! `*.sha1` and `*.txt`. Both are looked at a few times a second; what changed is read, and what cannot be read leaves
//! its last good state in force. The core judges; this side only brings files.

mod build;
mod command;
mod lists;
mod progress;

pub(crate) use command::{CredintCommand, run};

use crate::house::House;
use crate::mapped::Mapped;
use crate::watched::Watched;
use anyhow::{Context, Result};
use bytes::Bytes;
use lists::Layout;
use palisade_filters::credint::{self, Base, DELTA_KEYS_MAX, Delta, Intelligence, Key};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of reports, in the data folder.
const FOLDER: &str = "credint";
/// The base that an operator puts there.
const BASE: &str = "base.credint";
/// What `palisade credint add` writes to.
const ADDED: &str = "added.sha1";
/// A base has a head of 92 bytes at least; a list of every password there ever was, 64 GiB at most.
const BASE_BYTES: std::ops::RangeInclusive<u64> = 92..=64 << 30;

/// The files of both, and what was read of them last.
pub(crate) struct Files {
    base_path: PathBuf,
    /// Whether the operator named the base: then there must be one.
    is_named: bool,
    base_file: Watched,
    base: Base,
    folder: PathBuf,
    reports: BTreeMap<PathBuf, Report>,
}

struct Report {
    file: Watched,
    keys: Vec<Key>,
}

impl Files {
    /// Reads everything for the first time. A base that is there and cannot be used is an error: whoever put it there
    /// counts on it.
    pub(crate) fn open(data_dir: &Path, named: Option<&Path>) -> Result<Self> {
        let folder = data_dir.join(FOLDER);
        let base_path = named.map_or_else(|| folder.join(BASE), Path::to_owned);
        let shipped = credint::shipped().context("the list of credentials that comes with the product")?;
        let mut files = Self {
            base_file: Watched::new(base_path.clone()),
            is_named: named.is_some(),
            base: shipped,
            reports: BTreeMap::new(),
            base_path,
            folder,
        };
        if files.has_base() {
            let cannot = || format!("the credential filter `{}` cannot be used", files.base_path.display());
            files.base = open_base(&files.base_path).with_context(cannot)?;
        }
        files.look();
        Ok(files)
    }

    fn has_base(&self) -> bool {
        self.is_named || self.base_path.exists()
    }

    /// Reads what is new; whether anything was.
    fn look(&mut self) -> bool {
        let base = if self.has_base() { self.base_file.look(open_base) } else { None };
        let is_new_base = base.is_some();
        self.base = base.unwrap_or_else(|| self.base.clone());
        let before = self.reports.len();
        // A folder that cannot be listed keeps its reports; one that is not there has none.
        if let Some(there) = list(&self.folder) {
            self.reports.retain(|path, _| there.contains(path));
            for path in there {
                let report = || Report { file: Watched::new(path.clone()), keys: Vec::new() };
                self.reports.entry(path.clone()).or_insert_with(report);
            }
        }
        let mut is_new_report = self.reports.len() != before;
        for report in self.reports.values_mut() {
            if let Some(keys) = report.file.look(read_report) {
                report.keys = keys;
                is_new_report = true;
            }
        }
        is_new_base || is_new_report
    }

    /// What is known now.
    pub(crate) fn intelligence(&self) -> Arc<Intelligence> {
        let keys: usize = self.reports.values().map(|report| report.keys.len()).sum();
        if keys > DELTA_KEYS_MAX {
            tracing::error!(keys, "more reports than {DELTA_KEYS_MAX} are kept; build a base of them");
        }
        let mut delta = Delta::with_room_for(keys);
        let reported = self.reports.values().flat_map(|report| &report.keys);
        for key in reported.take(DELTA_KEYS_MAX) {
            delta.insert(*key);
        }
        Arc::new(Intelligence::new(Some(self.base.clone()), delta))
    }
}

/// Looks once more, and puts what is new in force.
pub(crate) fn look(files: &mut (Files, Arc<House>)) {
    let (files, house) = files;
    if files.look() {
        let intelligence = files.intelligence();
        tracing::info!(reported = intelligence.delta().len(), "credential intelligence in force");
        house.intelligence.store(intelligence);
    }
}

/// Maps a filter file and checks it.
pub(crate) fn open_base(path: &Path) -> Result<Base> {
    Ok(Base::open(Bytes::from_owner(Mapped::open(path, BASE_BYTES)?))?)
}

/// The reports that are there, in the order of their names.
fn list(folder: &Path) -> Option<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(Vec::new()),
        Err(_) => return None,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.ok()?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && layout_of(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Some(paths)
}

fn layout_of(path: &Path) -> Option<Layout> {
    match path.extension()?.to_str()? {
        "sha1" => Some(Layout::Hashes),
        "txt" => Some(Layout::Plain),
        _ => None,
    }
}

fn read_report(path: &Path) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    lists::read(path, layout_of(path).unwrap_or(Layout::Plain), &mut |seen| {
        if keys.len() == DELTA_KEYS_MAX {
            return Err(std::io::Error::other("more keys than a report may have; build a base of them"));
        }
        keys.push(seen.key);
        Ok(())
    })?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::credint::Known;

    #[test]
    fn reports_come_change_and_go() {
        let room = tempfile::tempdir().unwrap();
        let mut files = Files::open(room.path(), None).unwrap();
        let known = |files: &Files, text: &str| files.intelligence().ask(text.as_bytes());
        assert_eq!((files.look(), known(&files, "q7Gx2LwPz9")), (false, None));
        let folder = room.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("today.txt"), "q7Gx2LwPz9\nZx81-spectrum\n").unwrap();
        std::fs::write(folder.join(".hidden.txt"), "hidden-one").unwrap();
        std::fs::write(folder.join("notes.md"), "noted-one").unwrap();
        assert!(files.look());
        assert_eq!(known(&files, "q7Gx2LwPz9"), Some(Known::Reported));
        assert_eq!((known(&files, "hidden-one"), known(&files, "noted-one")), (None, None));
        assert!(!files.look(), "nothing changed");
        std::fs::write(folder.join("bad.sha1"), "no hash\n").unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(folder.join("pipe.txt")).status();
        assert!(pipe.unwrap().success());
        files.look();
        assert_eq!(known(&files, "Zx81-spectrum"), Some(Known::Reported), "a bad file spoils no other");
        std::fs::remove_file(folder.join("today.txt")).unwrap();
        assert!(files.look());
        assert_eq!(known(&files, "q7Gx2LwPz9"), None, "a report that is taken back is forgotten");
    }

    #[test]
    fn a_base_that_is_there_must_be_whole_at_the_start_and_is_kept_later() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join(FOLDER).join(BASE);
        std::fs::create_dir(room.path().join(FOLDER)).unwrap();
        std::fs::write(&path, "x".repeat(200)).unwrap();
        let wrong = Files::open(room.path(), None).err().unwrap();
        assert!(format!("{wrong:#}").contains("this is no credential filter"), "{wrong:#}");
        std::fs::remove_file(&path).unwrap();
        assert!(Files::open(room.path(), Some(&path)).is_err(), "one that was named must be there");
        let mut files = Files::open(room.path(), None).unwrap();
        let shipped = files.intelligence().ask(b"123456");
        std::fs::write(&path, "x".repeat(200)).unwrap();
        files.look();
        assert_eq!(files.intelligence().ask(b"123456"), shipped);
    }
}
