//! Did anything change? Asked often, so it must be cheap: facts about files, never their texts.
//!
//! Needs the folder, and the files that its documents referred to when they were last read;
//! proves that equal stamps mean that nothing was written, moved, removed, or made readable in between.
//! (Two writes within one tick of the file system's clock, in place and of the same length, are one write
//! to it.)

use crate::folder::Folder;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the file system says about a folder's documents at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// A folder that cannot be listed differs from an empty one.
    listed: bool,
    files: BTreeMap<PathBuf, Option<Facts>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Also moves when only permissions or the time of modification were set.
    changed: (i64, i64),
}

impl Facts {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Folder {
    /// The facts about all documents and about `files` that they refer to.
    pub fn stamp(&self, files: &[PathBuf]) -> Stamp {
        let look = |path: &Path| (path.to_owned(), std::fs::metadata(path).ok().as_ref().map(Facts::of));
        let mut files: BTreeMap<_, _> = files.iter().map(|path| look(path)).collect();
        files.extend([look(&self.platform_path())]);
        let listed = self.list();
        let is_listed = listed.is_ok();
        let documents = listed.unwrap_or_default();
        files.extend(documents.into_iter().map(|file| (file.path, Some(Facts::of(&file.metadata)))));
        Stamp { listed: is_listed, files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_kind_of_change_shows_and_nothing_else() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        let (platform, acme) = (folder.platform_path(), folder.organisation_path("acme"));
        let secret = room.path().join("openai.key");
        let mut before = folder.stamp(std::slice::from_ref(&secret));
        let mut changes = |what: &str, change: &dyn Fn()| {
            change();
            let after = folder.stamp(std::slice::from_ref(&secret));
            assert_ne!(before, after, "{what}");
            assert_eq!(after, folder.stamp(std::slice::from_ref(&secret)), "{what}");
            before = after;
        };
        changes("the platform appears", &|| fs::write(&platform, "").unwrap());
        changes("an organisation appears", &|| fs::write(&acme, "id = 'acme'").unwrap());
        changes("a secret appears", &|| fs::write(&secret, "one").unwrap());
        changes("the platform grows", &|| fs::write(&platform, "# text").unwrap());
        changes("an organisation grows", &|| fs::write(&acme, "id = 'acme'\n").unwrap());
        changes("a secret is rotated", &|| fs::write(&secret, "three").unwrap());
        changes("a time is set", &|| {
            let file = fs::File::options().write(true).open(&acme).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_000_000_007))
                .unwrap();
        });
        changes("a file of equal size and time takes its place", &|| {
            let other = room.path().join("other");
            fs::write(&other, "id = 'acme'\n").unwrap();
            let time = acme.metadata().unwrap().modified().unwrap();
            fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
            fs::rename(&other, &acme).unwrap();
        });
        changes("a name changes", &|| fs::rename(&acme, folder.organisation_path("acne")).unwrap());
        changes("an organisation goes", &|| fs::remove_file(folder.organisation_path("acne")).unwrap());
        changes("a secret goes", &|| fs::remove_file(&secret).unwrap());
        changes("the platform goes", &|| fs::remove_file(&platform).unwrap());
        changes("the folder goes", &|| fs::remove_dir(room.path().join("orgs")).unwrap());
    }

    #[test]
    fn permissions_show_and_files_that_are_no_documents_do_not() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        let acme = folder.organisation_path("acme");
        fs::write(&acme, "").unwrap();
        let long_ago = fs::File::options().write(true).open(&acme).unwrap();
        long_ago.set_modified(std::time::UNIX_EPOCH).unwrap();
        let before = folder.stamp(&[]);
        fs::write(room.path().join("orgs/.acme.toml.tmp"), "").unwrap();
        fs::write(room.path().join("orgs/notes.md"), "").unwrap();
        assert_eq!(before, folder.stamp(&[]));
        // The file system's clock ticks every few milliseconds; until then a change of permissions cannot
        // show.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while before == folder.stamp(&[]) && std::time::Instant::now() < deadline {
            fs::set_permissions(&acme, fs::Permissions::from_mode(0o400)).unwrap();
        }
        assert_ne!(before, folder.stamp(&[]));
    }
}
