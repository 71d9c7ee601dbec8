//! What stands in the files that an organisation's document names? Its lists of terms, its tables of records, the keys
//! of its issuers.
//!
//! Needs a document that was read; proves that what it names is there in full, or says which is not and why.
//! They lie in the organisation's own folder, so that no document reads another one's. A table may have hundreds of
//! megabytes: it is read again only when its file is another one than before.

use crate::folder::Folder;
use crate::sources::{self, Unread};
use crate::stamp::Facts;
use bytes::Bytes;
use palisade_filters::documents::OrganisationDocument;
use palisade_filters::documents::detection::{ExactData, ListText};
use palisade_filters::jwt::SET_BYTES_MAX;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A list of terms: 100 000 of them take some two megabytes.
pub(crate) const LIST_BYTES_MAX: u64 = 16 << 20;
/// A table of records: a million of four columns take 50 MB.
pub(crate) const TABLE_BYTES_MAX: u64 = 1 << 30;
/// The folder in which each organisation has one of its own.
const LISTS: &str = "lists";

/// Tables that were read.
#[derive(Default)]
pub(crate) struct Tables(Mutex<HashMap<PathBuf, Kept>>);

impl std::fmt::Debug for Tables {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tables")
    }
}

#[derive(Clone)]
struct Kept {
    facts: Facts,
    table: Bytes,
    sha256: [u8; 32],
    /// Whether a document named it since the last reading began.
    is_named: bool,
}

/// What a document brought with it.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// All files that it names: they belong into the next stamp.
    pub(crate) files: Vec<PathBuf>,
    /// Hashes of what stands in them, and the keys of tables.
    pub(crate) contents: Vec<Vec<u8>>,
}

impl Tables {
    /// A reading of all documents begins.
    pub(crate) fn begin(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, table| std::mem::take(&mut table.is_named));
    }

    fn read(&self, path: &Path) -> Result<Kept, Unread> {
        let file = File::open(path).map_err(Unread::of)?;
        let metadata = file.metadata().map_err(Unread::of)?;
        if !metadata.is_file() {
            return Err(Unread::Unfit("it is not a regular file".to_owned()));
        }
        let facts = Facts::of(&metadata);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get_mut(path).filter(|known| known.facts == facts) {
            known.is_named = true;
            return Ok(known.clone());
        }
        if metadata.len() > TABLE_BYTES_MAX {
            return Err(Unread::Unfit(format!("it is larger than {TABLE_BYTES_MAX} bytes")));
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        file.take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Unread::of)?;
        if bytes.len() as u64 > TABLE_BYTES_MAX {
            return Err(Unread::Unfit(format!("it is larger than {TABLE_BYTES_MAX} bytes")));
        }
        let sha256 = Sha256::digest(&bytes).into();
        let table = Kept { facts, table: Bytes::from(bytes), sha256, is_named: true };
        kept.insert(path.to_owned(), table.clone());
        Ok(table)
    }
}

impl Folder {
    /// Reads what a document names. `attached` has all files that were asked for, also if one of them cannot be read.
    pub(crate) fn attach(
        &self,
        document: &mut OrganisationDocument,
        attached: &mut Attached,
    ) -> Result<(), Unread> {
        let id = document.id.clone();
        for list in &mut document.dlp.keyword_lists {
            let Some(file) = &list.file else { continue };
            let of =
                |unread: Unread| unread.said_of(&format!("keyword list `{}`: `{}`", list.id, file.display()));
            let path = self.listed(&id, file).map_err(of)?;
            attached.files.push(path.clone());
            let text = sources::read_text(&path, LIST_BYTES_MAX).map_err(of)?;
            attached.contents.push(Sha256::digest(&text).to_vec());
            list.text = Some(ListText(text.into()));
        }
        for table in &mut document.dlp.exact_match {
            let file = &table.file;
            let of =
                |unread: Unread| unread.said_of(&format!("exact match `{}`: `{}`", table.id, file.display()));
            let path = self.listed(&id, file).map_err(of)?;
            attached.files.push(path.clone());
            let kept = self.tables().read(&path).map_err(of)?;
            if let Some(path) = sources::secret_file(&table.key, self.path()) {
                attached.files.push(path);
            }
            let key = sources::secret(&table.key, self.path())
                .map_err(|problem| Unread::Unfit(format!("exact match `{}`: `key`: {problem}", table.id)))?;
            attached.contents.push(kept.sha256.to_vec());
            attached.contents.push(key.expose().as_bytes().to_vec());
            table.read = Some(ExactData { table: kept.table, key });
        }
        for issuer in &mut document.jwt_issuers {
            let Some(file) = &issuer.jwks_file else { continue };
            let of = |unread: Unread| {
                unread.said_of(&format!("issuer `{}`: `jwks_file`: `{}`", issuer.issuer, file.display()))
            };
            let path = self.listed(&id, file).map_err(of)?;
            attached.files.push(path.clone());
            let text = sources::read_text(&path, SET_BYTES_MAX as u64).map_err(of)?;
            attached.contents.push(Sha256::digest(&text).to_vec());
            issuer.jwks_file_text = Some(text);
        }
        Ok(())
    }

    /// Where a list of an organisation is.
    pub(crate) fn listed(&self, id: &str, file: &Path) -> Result<PathBuf, Unread> {
        let own = Path::new(LISTS).join(id);
        let is_plain = file.components().all(|part| matches!(part, Component::Normal(_)));
        if is_plain && file.starts_with(&own) && file != own {
            return Ok(self.path().join(file));
        }
        let own = own.display();
        Err(Unread::Unfit(format!(
            "a `file` lies in the data folder under `{own}/`, such as `{own}/names.txt`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn document(file: &str) -> OrganisationDocument {
        let text = format!(
            "id = 'acme'\n[[dlp.keyword_lists]]\nid = 'own.names'\nentity = 'NAME'\ncategory = 'business'\nfile = '{file}'\n"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_document_reads_its_own_lists_and_nobody_elses() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        fs::create_dir_all(room.path().join("lists/acme")).unwrap();
        fs::write(room.path().join("lists/acme/names.txt"), "one name\n").unwrap();
        fs::write(room.path().join("lists/acme/latin1.txt"), b"caf\xe9\n").unwrap();
        let read = |file: &str| {
            let (mut document, mut attached) = (document(file), Attached::default());
            let read = folder.attach(&mut document, &mut attached).map_err(|unread| unread.to_problem());
            (read.map(|()| document.dlp.keyword_lists[0].text.clone().unwrap().0), attached.files.len())
        };
        assert_eq!(read("lists/acme/names.txt"), (Ok("one name\n".into()), 1));
        for file in
            ["secrets/hash.key", "/etc/passwd", "lists/acme/../other/x", "lists/other/x", "lists/acme", "x"]
        {
            let (refused, files) = read(file);
            assert!(refused.unwrap_err().contains("lies in the data folder under `lists/acme/`"), "{file}");
            assert_eq!(files, 0, "{file} is not even looked at");
        }
        let (missing, files) = read("lists/acme/gone.txt");
        let expected = "keyword list `own.names`: `lists/acme/gone.txt`: there is no such file";
        assert_eq!((missing.unwrap_err().as_str(), files), (expected, 1));
        assert!(read("lists/acme/latin1.txt").0.unwrap_err().ends_with("it is not UTF-8"));
    }

    #[test]
    fn keys_of_an_issuer_come_from_the_organisations_own_folder_and_are_part_of_its_document() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        fs::create_dir_all(room.path().join("lists/acme")).unwrap();
        fs::write(room.path().join("secret"), "not yours").unwrap();
        let read = |file: &str| {
            let issuer =
                format!("[[jwt_issuers]]\nissuer = 'https://a'\naudience = 'a'\njwks_file = '{file}'\n");
            fs::write(folder.organisation_path("acme"), format!("id = 'acme'\n{issuer}")).unwrap();
            folder.read().unwrap()
        };
        let outside = room.path().join("secret").display().to_string();
        for file in [&outside, "secret", "lists/acme/../../secret", "lists/other/keys", "/etc/passwd", ""] {
            let sources = read(file);
            let error = sources.organisations[0].document.as_ref().unwrap_err();
            assert!(error.contains("lies in the data folder under `lists/acme/`"), "{error}");
            assert!(!error.contains("not yours") && sources.attached_files.is_empty(), "{error}");
        }
        let path = room.path().join("lists/acme/keys.json");
        let missing = read("lists/acme/keys.json");
        let error = missing.organisations[0].document.as_ref().unwrap_err();
        assert_eq!(error, "issuer `https://a`: `jwks_file`: `lists/acme/keys.json`: there is no such file");
        assert_eq!(missing.attached_files, [path.as_path()]);
        fs::write(&path, "one").unwrap();
        let first = folder.read().unwrap();
        let issuer = &first.organisations[0].document.as_ref().unwrap().jwt_issuers[0];
        assert_eq!(issuer.jwks_file_text.as_deref(), Some("one"));
        fs::write(&path, "two").unwrap();
        let second = folder.read().unwrap();
        assert_ne!(first.organisations[0].fingerprint, second.organisations[0].fingerprint);
    }

    #[test]
    fn a_table_is_read_once_for_each_change_of_its_file() {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        let path = room.path().join("table");
        fs::write(&path, "one").unwrap();
        let read = || {
            folder.tables().begin();
            folder.tables().read(&path).unwrap().table
        };
        let first = read();
        assert_eq!(first.as_ptr(), read().as_ptr(), "the same bytes");
        fs::write(room.path().join("beside"), "two and more").unwrap();
        fs::rename(room.path().join("beside"), &path).unwrap();
        assert_eq!(read(), "two and more");
        folder.tables().begin();
        folder.tables().begin();
        assert!(folder.tables().0.lock().unwrap().is_empty(), "nobody names it any more");
    }
}
