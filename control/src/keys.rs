//! Who gets a key, who has one, and how is one taken away?
//!
//! Needs a folder; proves that what it writes is a document that can be read, that commands at the same
//! time lose nothing of each other, and that a key's secret exists only in the value that [`create`]
//! returns. It does not compile policies: the proxy that follows the folder does, and takes up the change
//! by itself.

use crate::edit::{self, Row};
use crate::folder::{Folder, FolderError, organisation_name, random};
use crate::sources::{DOCUMENT_BYTES_MAX, parse_organisation, read_document};
use crate::write::{self, Lock};
use palisade_filters::api_key::{self, NewKey};
use palisade_filters::documents::{KeyDocument, OrganisationDocument};
use palisade_filters::policy::compile::CompileError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A key's name, in bytes: it fits a line of a list.
pub const NAME_BYTES_MAX: usize = 100;
/// The last moment that RFC 3339 can write, in seconds since 1970: the end of the year 9999.
const MOMENT_MAX_SECONDS: u64 = 253_402_300_799;
/// Names shown in an error: enough for a typing mistake to be seen.
const NAMES_SHOWN_MAX: usize = 20;

/// Why a key was not created, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nobody is called that.
    #[error("there is no organisation `{wanted}`; {}", choice("organisation", .known))]
    UnknownOrganisation {
        /// What was asked for.
        wanted: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The organisation has no such group.
    #[error("the organisation `{organisation}` has no group `{wanted}`; {}", choice("group", .known))]
    UnknownGroup {
        /// Whose.
        organisation: String,
        /// What was asked for.
        wanted: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// No document has such a key.
    #[error("no key has the id `{wanted}`; `palisade keys list` shows the ids{}", not_searched(.unread))]
    UnknownKey {
        /// What was asked for.
        wanted: String,
        /// Documents that could not be searched.
        unread: Vec<CompileError>,
    },
    /// It begins like a key, but is none. It is not repeated, as it may hold a secret.
    #[error(
        "this is neither a key nor its id; the id is the {} characters behind `{}`",
        api_key::ID_CHARS,
        api_key::PREFIX
    )]
    NotAnId,
    /// It cannot be shown in a list.
    #[error("a key's name has 1 to {NAME_BYTES_MAX} bytes and no control characters")]
    Name,
    /// It would never work, or cannot be written.
    #[error("a key's end lies in the future and before the year 10000")]
    Expires,
    /// Its document cannot be used as it is.
    #[error(transparent)]
    Document(#[from] CompileError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A key as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Whose it is.
    pub organisation: String,
    /// Its public id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Groups of its owner.
    pub groups: Vec<String>,
    /// Whether it is switched on; it may have ended all the same.
    pub enabled: bool,
    /// When it ends.
    pub expires: Option<SystemTime>,
}

/// Creates a key. Several may have the same name, so that one can take over from another.
pub fn create(
    folder: &Folder,
    organisation: &str,
    name: &str,
    groups: &[String],
    expires: Option<SystemTime>,
) -> Result<NewKey, KeyError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(KeyError::Name);
    }
    let expires = expires.map(moment).transpose()?;
    let lock = folder.lock()?;
    require(organisation, &folder.organisations()?)?;
    let (text, document) = open(folder, organisation)?;
    for group in groups {
        if !document.groups.iter().any(|known| known.name == *group) {
            return Err(KeyError::UnknownGroup {
                organisation: organisation.to_owned(),
                wanted: group.clone(),
                known: document.groups.into_iter().map(|group| group.name).collect(),
            });
        }
    }
    let new = api_key::create(random()?, random()?);
    let keys = document.keys.len() + 1;
    let row = Row { id: &new.id, sha256: &new.sha256, name, groups, expires };
    let text = edit::add(&text, &row).map_err(|problem| broken(organisation, problem))?;
    let is_right = |written: &[KeyDocument]| {
        written.len() == keys
            && written.iter().filter(|key| key.id == new.id && key.sha256 == new.sha256).count() == 1
    };
    write_checked(folder, &lock, organisation, &text, is_right)?;
    Ok(new)
}

/// The keys of one organisation, or of all, in the order in which they are written.
pub fn list(folder: &Folder, organisation: Option<&str>) -> Result<Vec<KeyRow>, KeyError> {
    let mut ids = folder.organisations()?;
    if let Some(wanted) = organisation {
        require(wanted, &ids)?;
        ids = vec![wanted.to_owned()];
    }
    let mut rows = Vec::new();
    for id in ids {
        let (_, document) = open(folder, &id)?;
        rows.extend(document.keys.iter().map(|key| row(&id, key)));
    }
    Ok(rows)
}

/// Switches a key off, whichever organisation it belongs to; takes its id or the whole key. It stays in its
/// document, so that events that name it can still be understood. To revoke it again changes nothing.
pub fn revoke(folder: &Folder, key: &str) -> Result<KeyRow, KeyError> {
    let id = api_key::parse(key).map_or(key, |key| key.id);
    if id.starts_with(api_key::PREFIX) {
        return Err(KeyError::NotAnId);
    }
    let lock = folder.lock()?;
    let mut unread = Vec::new();
    for organisation in folder.organisations()? {
        let (text, document) = match open(folder, &organisation) {
            Ok(opened) => opened,
            Err(error) => {
                unread.push(error);
                continue;
            }
        };
        let Some(key) = document.keys.iter().find(|key| key.id == id) else { continue };
        if key.enabled {
            let changed = edit::disable(&text, id).map_err(|problem| broken(&organisation, problem))?;
            let is_off = |keys: &[KeyDocument]| keys.iter().all(|key| key.id != id || !key.enabled);
            write_checked(folder, &lock, &organisation, &changed, is_off)?;
        }
        return Ok(KeyRow { enabled: false, ..row(&organisation, key) });
    }
    Err(KeyError::UnknownKey { wanted: id.to_owned(), unread })
}

/// Only a name that is listed becomes a path: no other one can lead elsewhere.
fn require(wanted: &str, known: &[String]) -> Result<(), KeyError> {
    if known.iter().any(|known| known == wanted) {
        return Ok(());
    }
    Err(KeyError::UnknownOrganisation { wanted: wanted.to_owned(), known: known.to_vec() })
}

/// Reads the document of an organisation that is listed.
fn open(folder: &Folder, organisation: &str) -> Result<(String, OrganisationDocument), CompileError> {
    let text = read_document(&folder.organisation_path(organisation));
    let text = text.and_then(|text| text.ok_or_else(|| "it was removed just now".to_owned()));
    let opened =
        text.and_then(|text| parse_organisation(organisation, &text).map(|document| (text, document)));
    opened.map_err(|problem| broken(organisation, problem))
}

/// Writes a document after reading it as a proxy will: what a person wrote may be laid out in a way that
/// an edit does not expect, and then the file must stay as it is.
fn write_checked(
    folder: &Folder,
    lock: &Lock,
    organisation: &str,
    text: &str,
    is_right: impl Fn(&[KeyDocument]) -> bool,
) -> Result<(), KeyError> {
    if text.len() as u64 > DOCUMENT_BYTES_MAX {
        let problem =
            format!("it would be larger than {DOCUMENT_BYTES_MAX} bytes; remove keys that have ended");
        return Err(broken(organisation, problem).into());
    }
    let document = parse_organisation(organisation, text).map_err(|problem| broken(organisation, problem))?;
    if !is_right(&document.keys) {
        let problem =
            "`keys` is written in a way that cannot be edited; write each key as `[[keys]]`".to_owned();
        return Err(broken(organisation, problem).into());
    }
    Ok(write::replace(lock, &folder.organisation_path(organisation), text)?)
}

fn broken(organisation: &str, problem: String) -> CompileError {
    CompileError { document: organisation_name(organisation), problem }
}

fn moment(expires: SystemTime) -> Result<String, KeyError> {
    let seconds = expires.duration_since(UNIX_EPOCH).map_err(|_| KeyError::Expires)?.as_secs();
    if expires <= SystemTime::now() || seconds > MOMENT_MAX_SECONDS {
        return Err(KeyError::Expires);
    }
    Ok(humantime::format_rfc3339_seconds(expires).to_string())
}

fn row(organisation: &str, key: &KeyDocument) -> KeyRow {
    KeyRow {
        organisation: organisation.to_owned(),
        id: key.id.clone(),
        name: key.name.clone(),
        groups: key.groups.clone(),
        enabled: key.enabled,
        expires: key.expires.map(|moment_ms| UNIX_EPOCH + Duration::from_millis(moment_ms)),
    }
}

fn choice(what: &str, names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => format!("there is no {what} yet"),
        count if count > NAMES_SHOWN_MAX => {
            format!("there are {} and {} more", shown.join(", "), count - shown.len())
        }
        _ => format!("there are {}", shown.join(", ")),
    }
}

fn not_searched(errors: &[CompileError]) -> String {
    errors.iter().flat_map(|error| ["; not searched: ".to_owned(), error.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Live;
    use palisade_filters::dlp::Scanner;
    use palisade_filters::{Knock, Trust, identify};
    use std::collections::HashSet;
    use std::fs;
    use std::sync::Arc;

    const ACME: &str = "# Written by a person.\nid = \"acme\" # stays\n\n[[groups]]\nname = \"dev\"\n\n\
        [[groups]]\nname = \"ops\" # at night\n\n[dlp]\n  threshold   =  0.6   # odd layout\n\n# the end\n";

    fn room() -> (tempfile::TempDir, Folder) {
        let room = tempfile::tempdir().unwrap();
        let folder = Folder::open(room.path()).unwrap();
        fs::write(folder.organisation_path("acme"), ACME).unwrap();
        fs::write(folder.organisation_path("beta"), "id = 'beta'\n").unwrap();
        fs::write(folder.platform_path(), "[floor]\nshipped = 'none'\n").unwrap();
        (room, folder)
    }

    fn text(folder: &Folder, id: &str) -> String {
        fs::read_to_string(folder.organisation_path(id)).unwrap()
    }

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_created_key_is_recognised_and_a_revoked_one_is_not() {
        let (_room, folder) = room();
        let (mut live, _) = Live::load(folder.clone(), Arc::new(Scanner::new(Vec::new()))).unwrap();
        let new = create(&folder, "acme", "ci", &groups(&["dev"]), None).unwrap();
        let credentials = [new.key.expose().to_owned()];
        let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 1 };
        let visitor = identify(&live.refresh().unwrap().policy, &Trust::default(), &knock).unwrap();
        assert_eq!((&*visitor.tenant().id, &visitor.key().groups[..]), ("acme", &groups(&["dev"])[..]));

        let row = revoke(&folder, &new.id).unwrap();
        assert_eq!((row.organisation.as_str(), row.name.as_str(), row.enabled), ("acme", "ci", false));
        assert!(identify(&live.refresh().unwrap().policy, &Trust::default(), &knock).is_err());
        let once = text(&folder, "acme");
        assert_eq!(revoke(&folder, new.key.expose()).unwrap(), row, "again, by the whole key");
        assert_eq!(text(&folder, "acme"), once);
        assert_eq!(list(&folder, None).unwrap(), [row]);
    }

    #[test]
    fn comments_and_layout_survive() {
        let (_room, folder) = room();
        let one = create(&folder, "acme", "one \"quoted\"", &groups(&["dev", "ops"]), None).unwrap();
        let two = create(&folder, "acme", "two", &[], None).unwrap();
        revoke(&folder, &one.id).unwrap();
        let expected = ACME.replace(
            "\n# the end\n",
            &format!(
                "\n[[keys]]\nname = 'one \"quoted\"'\nid = \"{}\"\nsha256 = \"{}\"\n\
                 groups = [\"dev\", \"ops\"]\nenabled = false\n\n\
                 [[keys]]\nname = \"two\"\nid = \"{}\"\nsha256 = \"{}\"\n\n# the end\n",
                one.id, one.sha256, two.id, two.sha256
            ),
        );
        assert_eq!(text(&folder, "acme"), expected);
    }

    #[test]
    fn line_ends_stay_what_they_were() {
        let (_room, folder) = room();
        let written = ACME.replace('\n', "\r\n");
        fs::write(folder.organisation_path("acme"), &written).unwrap();
        let new = create(&folder, "acme", "new", &[], None).unwrap();
        revoke(&folder, &new.id).unwrap();
        let table = format!(
            "[[keys]]\r\nname = \"new\"\r\nid = \"{}\"\r\nsha256 = \"{}\"\r\nenabled = false\r\n",
            new.id, new.sha256
        );
        let text = text(&folder, "acme");
        assert!(text.contains(&table), "{text:?}");
        assert_eq!(text.replace(&format!("\r\n{table}"), ""), written);
    }

    #[test]
    fn keys_in_an_inline_list_are_edited_in_place() {
        let (_room, folder) = room();
        let listed =
            format!("id = 'beta'\nkeys = [\n  {{ id = 'old', sha256 = '{}' }}, # first\n]\n", "0".repeat(64));
        fs::write(folder.organisation_path("beta"), listed).unwrap();
        let new = create(&folder, "beta", "new", &[], None).unwrap();
        revoke(&folder, "old").unwrap();
        let rows: Vec<_> =
            list(&folder, Some("beta")).unwrap().into_iter().map(|row| (row.id, row.enabled)).collect();
        assert_eq!(rows, [("old".to_owned(), false), (new.id, true)]);
        assert!(text(&folder, "beta").contains("# first"));
    }

    #[test]
    fn a_comment_behind_enabled_survives_a_revocation() {
        let (_room, folder) = room();
        let key =
            format!("[[keys]]\nid = 'k'\nsha256 = '{}'\nenabled = true # Ann asked for it\n", "0".repeat(64));
        fs::write(folder.organisation_path("beta"), format!("id = 'beta'\n{key}")).unwrap();
        revoke(&folder, "k").unwrap();
        assert!(text(&folder, "beta").ends_with("enabled = false # Ann asked for it\n"));
    }

    #[test]
    fn commands_at_once_lose_nothing_of_each_other() {
        let (_room, folder) = room();
        let ids: HashSet<String> = std::thread::scope(|scope| {
            let ten = |thread: usize| {
                let folder = &folder;
                move || -> Vec<String> {
                    // Each thread opens the folder by itself, as each command does.
                    let folder = Folder::open(folder.path()).unwrap();
                    let name = |at: usize| format!("key {thread}.{at}");
                    (0..10).map(|at| create(&folder, "acme", &name(at), &[], None).unwrap().id).collect()
                }
            };
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(ten(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let listed: HashSet<String> =
            list(&folder, Some("acme")).unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!((ids.len(), &listed), (80, &ids));
        let orgs: HashSet<_> =
            folder.path().join("orgs").read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(
            orgs,
            HashSet::from(["acme.toml".into(), "beta.toml".into()]),
            "no temporary file is left"
        );
    }

    #[test]
    fn a_reader_meanwhile_sees_whole_documents_only() {
        let (_room, folder) = room();
        std::thread::scope(|scope| {
            let writer =
                scope.spawn(|| (0..20).for_each(|_| drop(create(&folder, "acme", "k", &[], None).unwrap())));
            let mut seen = 0;
            while !writer.is_finished() {
                let count = list(&folder, Some("acme")).unwrap().len();
                assert!(count >= seen);
                seen = count;
            }
        });
        assert_eq!(list(&folder, Some("acme")).unwrap().len(), 20);
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_does() {
        let (_room, folder) = room();
        let before = text(&folder, "acme");
        let error = |organisation: &str, name: &str, names: &[&str]| {
            create(&folder, organisation, name, &groups(names), None).unwrap_err().to_string()
        };
        assert_eq!(error("acne", "k", &[]), "there is no organisation `acne`; there are `acme`, `beta`");
        assert!(error("../orgs/acme", "k", &[]).starts_with("there is no organisation"));
        assert_eq!(
            error("acme", "k", &["dev", "boss"]),
            "the organisation `acme` has no group `boss`; there are `dev`, `ops`"
        );
        assert!(error("beta", "k", &["dev"]).ends_with("has no group `dev`; there is no group yet"));
        for name in ["", "two\nlines", &"x".repeat(101)] {
            assert!(error("acme", name, &[]).starts_with("a key's name has 1 to 100 bytes"));
        }
        assert!(matches!(list(&folder, Some("acne")), Err(KeyError::UnknownOrganisation { .. })));
        assert_eq!(text(&folder, "acme"), before);
        let many: Vec<String> = (0..25).map(|at| format!("o{at}")).collect();
        assert!(choice("organisation", &many).ends_with("`o19` and 5 more"));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_repeats_no_secret() {
        let (_room, folder) = room();
        fs::write(folder.organisation_path("beta"), "id = 'beta'\nnonsense = 1\n").unwrap();
        let error = revoke(&folder, "ABCDEFGHIJKL").unwrap_err().to_string();
        assert!(error.starts_with("no key has the id `ABCDEFGHIJKL`; `palisade keys list`"), "{error}");
        assert!(error.contains("; not searched: orgs/beta.toml: line 2, column 1: unknown field"), "{error}");
        let pasted = revoke(&folder, "pk_live_ABCDEFGHIJKL_secret").unwrap_err().to_string();
        assert!(pasted.contains("neither a key nor its id") && !pasted.contains("secret"), "{pasted}");
    }

    #[test]
    fn an_end_is_written_and_must_lie_ahead() {
        let (_room, folder) = room();
        let end = humantime::parse_rfc3339("2100-01-01T00:00:00Z").unwrap();
        create(&folder, "acme", "k", &[], Some(end)).unwrap();
        assert!(text(&folder, "acme").contains("expires = \"2100-01-01T00:00:00Z\""));
        assert_eq!(list(&folder, None).unwrap()[0].expires, Some(end));
        let too_late = UNIX_EPOCH + Duration::from_secs(MOMENT_MAX_SECONDS + 1);
        for wrong in [UNIX_EPOCH, SystemTime::now() - Duration::from_secs(1), too_late] {
            assert!(matches!(create(&folder, "acme", "k", &[], Some(wrong)), Err(KeyError::Expires)));
        }
    }

    #[test]
    fn a_document_that_cannot_be_read_stays_as_it_is() {
        let (_room, folder) = room();
        for broken in ["id = 'beta'\nnonsense = 1\n", "id = 'other'\n", "id = 'beta'\nkeys = 1\n", "id = [\n"]
        {
            fs::write(folder.organisation_path("beta"), broken).unwrap();
            let error = create(&folder, "beta", "k", &[], None).unwrap_err().to_string();
            assert!(error.starts_with("orgs/beta.toml: "), "{error}");
            assert_eq!(text(&folder, "beta"), broken);
        }
    }

    #[test]
    fn the_secret_is_only_where_it_is_asked_for() {
        let (_room, folder) = room();
        let new = create(&folder, "acme", "k", &[], None).unwrap();
        let secret = new.key.expose().rsplit('_').next().unwrap().to_owned();
        for shown in
            [format!("{new:?}"), format!("{:?}", list(&folder, None).unwrap()), text(&folder, "acme")]
        {
            assert!(!shown.contains(&secret), "{shown}");
        }
    }
}
