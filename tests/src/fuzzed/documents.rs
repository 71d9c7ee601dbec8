//! What must hold for whatever somebody writes into the documents.

use super::callers::{PLATFORM, SCANNER};
use palisade_control::{Folder, keys};
use palisade_filters::Policy;
use palisade_filters::policy::compile::Grounds;
use std::sync::LazyLock;
use tempfile::TempDir;

/// The folder that is written anew each time.
static HOME: LazyLock<(TempDir, Folder)> = LazyLock::new(|| {
    let home = TempDir::new().unwrap();
    let folder = Folder::open(home.path()).unwrap();
    (home, folder)
});

/// The platform's document and an organisation's, with a zero byte between them: each says something, or has an error;
/// to compile them again changes nothing; and a key that is created stands in a document that still says the rest.
pub(crate) fn documents(data: &[u8]) {
    let (home, folder) = &*HOME;
    let zero = data.iter().position(|byte| *byte == 0);
    let (platform, organisation) = match zero {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (PLATFORM.as_bytes(), data),
    };
    let path = home.path().join("orgs/acme.toml");
    std::fs::write(home.path().join("platform.toml"), platform).unwrap();
    std::fs::write(&path, organisation).unwrap();
    let sources = folder.read().unwrap();
    let grounds =
        Grounds { scanner: SCANNER.clone(), secrets: &sources.secrets, hash_secret: folder.hash_secret() };
    let compile = |before| Policy::compile(before, &sources.platform, &sources.organisations, &grounds);
    let (policy, errors) = compile(None);
    assert!(errors.iter().all(|error| !error.problem.is_empty()));
    assert_eq!(policy.is_none(), errors.iter().any(|error| error.document == "platform.toml"));
    if let Some(policy) = &policy {
        let (next, again) = compile(Some(policy));
        assert!(next.is_some() && again == errors, "the second time, {again:?} instead of {errors:?}");
    }
    let before = sources.organisations[0].document.as_ref().map(|document| document.keys.len());
    let created = keys::create(folder, "acme", "a new key", &[], None);
    let written = std::fs::read(&path).unwrap();
    let Ok(key) = created else { return assert_eq!(written, organisation, "what failed wrote nothing") };
    let (organisation, written) = (plain(organisation), plain(&written));
    let kept = organisation.iter().zip(&written).take_while(|(one, other)| one == other).count();
    let (later, written_later) = (organisation[kept..].iter().rev(), written[kept..].iter().rev());
    let kept_later = later.zip(written_later).take_while(|(one, other)| one == other).count();
    assert_eq!(kept + kept_later, organisation.len(), "the rest stays as it was written");
    let rows = keys::list(folder, Some("acme")).unwrap();
    assert_eq!(Ok(rows.len()), before.map(|keys| keys + 1));
    let off = keys::revoke(folder, &key.id).unwrap();
    assert!(
        !off.enabled
            && keys::list(folder, Some("acme")).unwrap().iter().any(|row| row.id == key.id && !row.enabled)
    );
}

/// A text without its byte order mark, and with one kind of line end where it had several: nobody could say which of
/// them a new line takes.
fn plain(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    String::from_utf8_lossy(text).replace("\r\n", "\n").into_bytes()
}
