//! How does a file change so that nobody ever sees half of it, and no two commands lose each other's change?
//!
//! Needs the folder's [`Lock`]; proves that a reader sees the old text or the new one, and that after a
//! return the new one survives a power cut. Owner and permissions of a file that is replaced stay. It
//! does not follow links: a link's target may lie where nothing here is meant to write.

use crate::folder::FolderError;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Only the owner reads or writes: a document holds hashes of keys, the hash secret is one.
const FILE_MODE: u32 = 0o600;
/// Only the owner lists.
const FOLDER_MODE: u32 = 0o700;
/// The file that is locked. It holds nothing and is never removed, so that all commands lock the same one.
const LOCK_FILE: &str = ".lock";

/// The right to write in a folder; given back when dropped, or by the system when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: File,
}

/// Waits until no other command writes in the folder.
pub(crate) fn lock(folder: &Path) -> Result<Lock, FolderError> {
    let path = folder.join(LOCK_FILE);
    let fail = |cause| FolderError::Io { doing: "lock", path: path.clone(), cause };
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(&path);
    let file = file.map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(Lock { _held: file })
}

/// Makes a folder, and those above it, if they are missing.
pub(crate) fn folder(path: &Path) -> Result<(), FolderError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(|cause| FolderError::Io { doing: "create the folder", path: path.to_owned(), cause })
}

/// Gives a file a new text, at once or not at all.
pub(crate) fn replace(lock: &Lock, path: &Path, text: &str) -> Result<(), FolderError> {
    let fail = |cause| FolderError::Io { doing: "write", path: path.to_owned(), cause };
    let former = match std::fs::symlink_metadata(path) {
        Ok(former) if former.is_file() => Some(former),
        Ok(_) => return Err(FolderError::NotAFile(path.to_owned())),
        Err(cause) if cause.kind() == ErrorKind::NotFound => None,
        Err(cause) => return Err(fail(cause)),
    };
    let temporary = temporary(path).ok_or_else(|| FolderError::NotAFile(path.to_owned()))?;
    let written = write_beside(lock, &temporary, former.as_ref(), text)
        .and_then(|()| std::fs::rename(&temporary, path))
        // The name is in the folder's own blocks: without this a power cut may bring the old file back.
        .and_then(|()| {
            File::open(path.parent().unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all())
        });
    if written.is_err() {
        // What failed is reported; that a leftover could not be removed would add nothing, the next
        // writer does.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(fail)
}

/// One fixed name suffices, as writers take turns; its leading dot keeps readers away.
fn temporary(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(format!(".{name}.tmp")))
}

fn write_beside(
    _: &Lock,
    temporary: &Path,
    former: Option<&std::fs::Metadata>,
    text: &str,
) -> std::io::Result<()> {
    match std::fs::remove_file(temporary) {
        Ok(()) => {}
        Err(cause) if cause.kind() == ErrorKind::NotFound => {}
        Err(cause) => return Err(cause),
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(temporary)?;
    if let Some(former) = former {
        let own = file.metadata()?;
        // Whoever runs the command may not be who runs the proxy, and the proxy must be able to read the
        // result.
        if (own.uid(), own.gid()) != (former.uid(), former.gid()) {
            fchown(&file, Some(former.uid()), Some(former.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(former.mode() & 0o7777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_leaves_nothing_beside_it() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.toml");
        let lock = lock(room.path()).unwrap();
        replace(&lock, &path, "one").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::fs::write(temporary(&path).unwrap(), "left by a crash").unwrap();
        replace(&lock, &path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        assert!(!temporary(&path).unwrap().exists());
    }

    #[test]
    fn a_link_is_not_written_through_nor_replaced() {
        let room = tempfile::tempdir().unwrap();
        let (target, link) = (room.path().join("target"), room.path().join("link.toml"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let lock = lock(room.path()).unwrap();
        assert!(matches!(replace(&lock, &link, "new"), Err(FolderError::NotAFile(_))));
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "kept");
    }

    #[test]
    fn a_failed_write_leaves_the_former_text() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.toml");
        let lock = lock(room.path()).unwrap();
        replace(&lock, &path, "one").unwrap();
        // A folder of that name cannot be removed as a file, so the temporary file cannot be made.
        std::fs::create_dir(temporary(&path).unwrap()).unwrap();
        assert!(replace(&lock, &path, "two").unwrap_err().to_string().contains("a.toml"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    }
}
