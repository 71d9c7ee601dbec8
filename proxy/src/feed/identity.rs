//! Who is this proxy, for the control plane? Its key, its certificate, and whom it believes.
//!
//! ```text
//! identity/
//!   feed.json         where the feed is, and who this proxy is there
//!   authority.pem     who signs for the feed
//!   certificate.pem   what this proxy shows, and
//!   key.pem           the key of it, which never left this machine
//! ```
//!
//! Needs a folder that only its owner may look into. Proves that key and certificate go together: the folder is renamed
//! into place as a whole, and only the certificate in it is replaced later, by another one for the same key.

use super::kept::write_whole;
use anyhow::{Context, Result, bail};
use palisade_control::feed::Key;
use pingora_core::utils::tls::CertKey;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Files in the folder.
const HOME: &str = "feed.json";
const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
/// The folder's name in the data folder.
const FOLDER: &str = "identity";

/// Where the feed is, and who this proxy is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Home {
    /// `https://control.example:8443`.
    pub(crate) url: String,
    /// The enrolment's id.
    pub(crate) id: String,
    /// The public half of its key, as it is sent.
    pub(crate) public_key: String,
    /// What it may see; none: all organisations.
    pub(crate) organisations: Option<Vec<String>>,
}

/// A key and what was signed for it, in PEM.
#[derive(Clone)]
pub(crate) struct Papers {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Who this proxy is.
pub(crate) struct Identity {
    folder: PathBuf,
    pub(crate) home: Home,
    pub(crate) papers: Papers,
    pub(crate) shown: Arc<CertKey>,
    /// The key's bytes, from which others are derived.
    pub(crate) key: Vec<u8>,
    /// When the certificate is to be renewed: at about two thirds of its life.
    pub(crate) renew_at: SystemTime,
    /// When it ends.
    pub(crate) ends: SystemTime,
}

/// What was read of papers.
struct Opened {
    shown: Arc<CertKey>,
    key: Vec<u8>,
    renew_at: SystemTime,
    ends: SystemTime,
}

impl Identity {
    /// What a proxy was let in with.
    pub(crate) fn load(data_dir: &Path) -> Result<Self> {
        let folder = data_dir.join(FOLDER);
        if !folder.is_dir() {
            bail!(
                "this proxy was not let in yet: there is no `{}`; run `palisade enroll --url … --token …`",
                folder.display()
            );
        }
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let home: Home = serde_json::from_str(&read(HOME)?).context("`feed.json` cannot be read")?;
        let papers = Papers { certificate: read(CERTIFICATE)?, key: read(KEY)? };
        // Before anybody connects with it: whoever cannot be believed has to be known.
        let authority = read(AUTHORITY)?;
        CertificateDer::from_pem_slice(authority.as_bytes())
            .with_context(|| format!("`{}` holds no certificate in PEM", folder.join(AUTHORITY).display()))?;
        let Opened { shown, key, renew_at, ends } = papers.opened().with_context(|| {
            format!("what lies in `{}` cannot be used; enroll this proxy again", folder.display())
        })?;
        Ok(Self { folder, home, papers, shown, key, renew_at, ends })
    }

    /// Whether the folder is another proxy's by now: somebody enrolled this one anew.
    pub(crate) fn is_replaced(&self) -> bool {
        let found = std::fs::read_to_string(self.folder.join(HOME)).ok();
        let found = found.and_then(|text| serde_json::from_str::<Home>(&text).ok());
        // A folder that is just being exchanged is looked at again.
        found.is_some_and(|found| found != self.home)
    }

    /// The key to be let in with, kept before a token is used up: if the answer is lost, the same key asks again.
    pub(crate) fn prepare(data_dir: &Path) -> Result<Key> {
        let (folder, before, path) = (beside(data_dir), before(data_dir), beside(data_dir).join(KEY));
        let made = std::fs::read_to_string(&path).ok().and_then(|pem| Key::read(&Zeroizing::new(pem)));
        for name in [made.is_none().then_some(&folder), Some(&before)].into_iter().flatten() {
            if name.exists() {
                let removed = std::fs::remove_dir_all(name);
                removed
                    .with_context(|| format!("`{}` is left over and cannot be removed", name.display()))?;
            }
        }
        let key = match made {
            Some(key) => key,
            None => Key::generate().map_err(|error| anyhow::anyhow!("no key can be made: {error}"))?,
        };
        let written = write_whole(&folder, &path, &[key.pem().as_bytes()])
            .and_then(|()| std::fs::File::open(&folder)?.sync_all());
        written.with_context(|| format!("cannot write `{}`; the token was not used", path.display()))?;
        Ok(key)
    }

    /// Keeps what a proxy was let in with, in the place of what was there.
    pub(crate) fn keep(data_dir: &Path, home: &Home, authority: &str, papers: &Papers) -> Result<()> {
        let (folder, beside, before) = (data_dir.join(FOLDER), beside(data_dir), before(data_dir));
        let home = serde_json::to_string_pretty(home)?;
        for (name, text) in [
            (HOME, home.as_str()),
            (AUTHORITY, authority),
            (CERTIFICATE, &papers.certificate),
            (KEY, &papers.key),
        ] {
            write_whole(&beside, &beside.join(name), &[text.as_bytes()])?;
        }
        std::fs::File::open(&beside)?.sync_all()?;
        if folder.exists() {
            std::fs::rename(&folder, &before)?;
        }
        std::fs::rename(&beside, &folder)?;
        std::fs::File::open(data_dir)?.sync_all()?;
        if before.exists() {
            std::fs::remove_dir_all(&before)?;
        }
        Ok(())
    }

    /// The certificate of who signs for the feed.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join(AUTHORITY)
    }
}

impl Papers {
    /// Keeps another certificate for the same key.
    pub(crate) fn keep_certificate(&self, data_dir: &Path) -> Result<()> {
        // Not without a look: a proxy whose certificate is not for its key does not start.
        self.opened()?;
        let folder = data_dir.join(FOLDER);
        write_whole(&folder, &folder.join(CERTIFICATE), &[self.certificate.as_bytes()])?;
        Ok(std::fs::File::open(&folder)?.sync_all()?)
    }

    fn opened(&self) -> Result<Opened> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let certificate = certificate.context("`certificate.pem` holds no certificate in PEM")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        let key = key.context("`key.pem` holds no private key in PEM")?;
        let bytes = key.secret_der().to_vec();
        CertifiedKey::from_der(vec![certificate.clone()], key, &ring::default_provider())
            .context("`certificate.pem` and `key.pem` do not go together")?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| anyhow::anyhow!("`certificate.pem` cannot be read: {error}"))?;
        let seconds = |time: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or(0));
        let validity = parsed.validity();
        let (from, ends) =
            (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
        let life = ends.duration_since(from).unwrap_or_default();
        let renew_at = renewal(from, life, parsed.raw_serial());
        let shown = Arc::new(CertKey::new(vec![certificate.to_vec()], bytes.clone()));
        Ok(Opened { shown, key: bytes, renew_at, ends })
    }
}

/// When a certificate with this serial number is renewed: between 60 % and 70 % of its life. Those who were let in
/// together do not all come at the same time, and each comes at the same time after each start.
fn renewal(from: SystemTime, life: Duration, serial: &[u8]) -> SystemTime {
    let own = Sha256::digest(serial).first_chunk().map_or(0, |bytes| u32::from(u16::from_be_bytes(*bytes)));
    from + life / 10 * 6 + life / 10 / u32::from(u16::MAX) * own
}

/// Where a folder is made, and where the one before lies until that is in its place.
fn beside(data_dir: &Path) -> PathBuf {
    data_dir.join(format!(".{FOLDER}.new"))
}

fn before(data_dir: &Path) -> PathBuf {
    data_dir.join(format!(".{FOLDER}.old"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn those_who_were_let_in_together_renew_within_nine_days_and_not_together() {
        let (from, day) = (UNIX_EPOCH, Duration::from_hours(24));
        let renewed = |serial: u32| renewal(from, day * 90, &serial.to_be_bytes());
        let mut days = [0; 90];
        for serial in 0..9_000 {
            let at = renewed(serial);
            assert!(at >= from + day * 54 && at <= from + day * 63, "{at:?}");
            assert_eq!(renewed(serial), at, "each always at the same time");
            days[(at.duration_since(from).unwrap().as_secs() / day.as_secs()) as usize] += 1;
        }
        assert!(days[54..63].iter().all(|on_one_day| (800..1_200).contains(on_one_day)), "{days:?}");
    }

    #[test]
    fn the_key_that_asks_again_is_the_one_that_asked_before() {
        let room = tempfile::tempdir().unwrap();
        let first = Identity::prepare(room.path()).unwrap();
        let mode = std::fs::metadata(beside(room.path()).join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Identity::prepare(room.path()).unwrap().public(), first.public());
        // What is no key is none, and whoever is in has no use for the one before.
        std::fs::write(beside(room.path()).join(KEY), "half of one").unwrap();
        let second = Identity::prepare(room.path()).unwrap();
        assert_ne!(second.public(), first.public());
        let home = Home {
            url: "https://control.example:8443".to_owned(),
            id: "x".to_owned(),
            public_key: second.public().to_owned(),
            organisations: None,
        };
        let papers = Papers { certificate: String::new(), key: second.pem().to_owned() };
        Identity::keep(room.path(), &home, "", &papers).unwrap();
        assert_ne!(Identity::prepare(room.path()).unwrap().public(), second.public());
    }
}
