//! Is this file still the one that was read? For files that operators replace while they are in use.
//!
//! Needs a path, and a thread that may wait for the disk; proves that a change is noticed at the next look, that a file
//! which cannot be used leaves the last good one in force, and that the reason is logged once for each change. What is
//! no regular file is not opened. What a file says is its reader's to know.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks, at documents and at files: a change is in force within a second.
pub(crate) const LOOKED_AT_EVERY: Duration = Duration::from_millis(300);

/// What the file system says about a file at one moment. Equal facts mean that nothing was written, replaced, or made
/// readable in between. (Two writes in place within one tick of its clock, of the same length, are one to it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    is_file: bool,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Also moves when only permissions or the time of modification were set.
    changed: (i64, i64),
}

impl Facts {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            is_file: metadata.is_file(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Written into, where it should have been replaced.
    fn is_overwritten(self, before: Self) -> bool {
        (self.device, self.inode) == (before.device, before.inode)
            && (self.bytes, self.modified) != (before.bytes, before.modified)
    }
}

/// A file in use.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    seen: Option<Facts>,
    is_new: bool,
}

impl Watched {
    /// A file that nobody has looked at yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: None, is_new: true }
    }

    /// Reads the file if it is another one than at the last look. None: what was read before is still right, or still
    /// the best there is.
    pub(crate) fn look<T, E: Display>(&mut self, read: impl FnOnce(&Path) -> Result<T, E>) -> Option<T> {
        // Facts come before bytes: what changes while they are read is then seen as a change.
        let now = Facts::of(&self.path);
        let before = std::mem::replace(&mut self.seen, now);
        let is_new = std::mem::take(&mut self.is_new);
        if now == before && !is_new {
            return None;
        }
        let file = self.path.display();
        if let (Some(now), Some(before)) = (now, before)
            && now.is_overwritten(before)
        {
            tracing::warn!(%file, "written into while in use; write a new file beside it and rename it over this one");
        }
        // A pipe that nobody writes to would be waited for, for ever.
        if now.is_some_and(|now| !now.is_file) {
            tracing::error!(%file, "file not used: it is no regular file; its last good state stays, if there was one");
            return None;
        }
        match read(&self.path) {
            Ok(value) => {
                tracing::info!(%file, "file in use");
                Some(value)
            }
            Err(problem) => {
                tracing::error!(%file, %problem, "file not used; its last good state stays, if there was one");
                None
            }
        }
    }
}

/// Looks for ever, every [`LOOKED_AT_EVERY`], on a thread that may wait for the disk.
pub(crate) async fn keep_looking<T: Send + 'static>(files: T, look: fn(&mut T)) {
    let mut files = files;
    loop {
        tokio::time::sleep(LOOKED_AT_EVERY).await;
        let looked = tokio::task::spawn_blocking(move || {
            look(&mut files);
            files
        });
        match looked.await {
            Ok(kept) => files = kept,
            Err(error) => {
                tracing::error!(%error, "files are not looked at any more; what was read last stays in force");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn number(path: &Path) -> Result<u32, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }

    #[test]
    fn a_change_is_read_once_and_a_broken_file_keeps_the_last_good_one() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("number");
        let nobody = |_: &Path| -> Result<u32, String> { panic!("nothing changed") };
        let put = |text: &str| {
            let beside = room.path().join("number.new");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &path).unwrap();
        };
        let mut watched = Watched::new(path.clone());
        assert_eq!(
            (watched.look(number), watched.look(nobody)),
            (None, None),
            "what is missing is said once"
        );
        put("1");
        assert_eq!((watched.look(number), watched.look(nobody)), (Some(1), None));
        put("two");
        assert_eq!((watched.look(number), watched.look(nobody)), (None, None));
        put("2");
        assert_eq!((watched.look(number), watched.look(nobody)), (Some(2), None));
        fs::remove_file(&path).unwrap();
        assert_eq!((watched.look(number), watched.look(nobody)), (None, None));
        put("3");
        assert_eq!((watched.look(number), watched.look(nobody)), (Some(3), None));
    }

    #[test]
    fn what_is_no_regular_file_is_not_even_opened() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("number");
        fs::write(&path, "1").unwrap();
        let mut watched = Watched::new(path.clone());
        assert_eq!(watched.look(number), Some(1));
        let nobody = |_: &Path| -> Result<u32, String> { panic!("it was opened") };
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(watched.look(nobody), None);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(watched.look(nobody), None);
        assert_eq!(Watched::new("/dev/null".into()).look(nobody), None);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "2").unwrap();
        assert_eq!(watched.look(number), Some(2));
    }

    #[test]
    fn what_is_written_in_place_is_told_from_what_is_replaced() {
        let room = tempfile::tempdir().unwrap();
        let (path, other) = (room.path().join("a"), room.path().join("b"));
        fs::write(&path, "one").unwrap();
        let before = Facts::of(&path).unwrap();
        fs::write(&path, "three").unwrap();
        assert!(Facts::of(&path).unwrap().is_overwritten(before));
        fs::write(&other, "seven").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!Facts::of(&path).unwrap().is_overwritten(before));
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_looking() {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let looking = tokio::spawn(keep_looking(tell, |tell| tell.send(()).unwrap()));
        for _ in 0..3 {
            told.recv().await.unwrap();
        }
        looking.abort();
    }
}
