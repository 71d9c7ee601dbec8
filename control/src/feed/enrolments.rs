//! Which proxies were let in, which are about to be, and which no longer?
//!
//! An *enrolment* is one proxy: first a token that lets it in, once and soon; then its certificates. It is a
//! resource of the platform, written under the platform's revision together with its entry of the journal: of two who
//! come with one token one is let in, the one whose key came first, and is told so as often as it asks while the token
//! lives. Withdrawing it ends the token or the certificates, whichever there are, at once: whoever waits for news is
//! woken by the change itself, and asked again.

use super::authority::Signed;
use super::error::FeedError;
use super::scope::Scope;
use super::{Feed, wire};
use crate::access::credential::{self, Purpose};
use crate::resources::{Actor, Changed, entry};
use crate::store::{Owner, ResourceId, StoreError, Write};
use palisade_filters::api_key::{base62, hex};
use palisade_filters::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a token lives if it is not said: as long as it takes to start a machine.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// And at most.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(24 * 7);
/// A proxy's name, in bytes: it fits a line of a list.
const NAME_BYTES_MAX: usize = 100;
/// How often a change is tried while others write there.
const ATTEMPTS_MAX: usize = 32;
/// Of the name that a proxy's writer of usage has.
const WRITER_CHARS: usize = 16;
/// Characters that the hash of the authority takes in base 62.
const PIN_CHARS: usize = 43;

/// A proxy to be let in.
#[derive(Clone, Debug)]
pub struct NewEnrolment {
    /// For people.
    pub name: String,
    /// What it may see; none: all organisations.
    pub organisations: Option<Vec<String>>,
    /// How long its token lives.
    pub lifetime: Duration,
}

/// An enrolment as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnrolmentView {
    /// Its id, which its certificates name.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may see; none: all organisations.
    pub organisations: Option<Vec<String>>,
    /// Who made it.
    pub creator: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Until when its token lets a proxy in; none: it did.
    pub token_expires: Option<u64>,
    /// Until when its last certificate holds; none: it has none.
    pub certificate_expires: Option<u64>,
}

/// Some of them, in the order of ids.
#[derive(Clone, Debug, Serialize)]
pub struct Enrolments {
    /// They.
    pub items: Vec<EnrolmentView>,
    /// Where to go on, if there are more.
    pub next: Option<String>,
}

/// How it stands in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolmentDocument {
    name: String,
    pub(super) scope: Scope,
    creator: String,
    created: u64,
    /// Also once it let somebody in: until it ends, they may not have heard of that.
    token: Option<TokenDocument>,
    /// The one in use, and one that is about to be: the newest is the last.
    pub(super) certificates: Vec<CertificateDocument>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenDocument {
    sha256: String,
    expires: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateDocument {
    pub(super) sha256: String,
    pub(super) expires: u64,
    /// Itself, in PEM, as long as nothing newer was signed: whoever did not hear it is told it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pem: Option<String>,
    /// For which key, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<String>,
}

/// Which enrolment a certificate is of; its id is the certificate's hash.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDocument {
    enrolment: String,
}

/// Somebody who came with a certificate that holds.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) id: ResourceId,
    pub(super) scope: Scope,
    /// The hash of the certificate, in hexadecimal digits.
    pub(super) certificate: String,
}

impl Guest {
    /// What a guest's writer of usage is called in the store: no proxy writes under another one's name.
    pub(super) fn writer(&self, own: &str) -> String {
        let mut name = hex(&Sha256::digest(format!("{} {own}", self.id)));
        name.truncate(WRITER_CHARS);
        name
    }
}

/// What is to become of an enrolment.
pub(super) struct Next {
    pub(super) document: Option<EnrolmentDocument>,
    /// Certificates that come, and those that go.
    pub(super) signed: Option<Signed>,
    pub(super) gone: Vec<CertificateDocument>,
}

impl Feed {
    /// Makes a token with which one proxy is let in; its text is shown once.
    pub async fn invite(&self, new: &NewEnrolment, by: &Actor) -> Result<(Secret, EnrolmentView), FeedError> {
        let is_name =
            |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if !is_name(&new.name) {
            let problem = format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
            return Err(FeedError::Invalid { pointer: "/name", problem });
        }
        if new.lifetime.is_zero() || new.lifetime > TOKEN_LIFETIME_MAX {
            let problem = "a token lets somebody in within 7 days, such as `1h`".to_owned();
            return Err(FeedError::Invalid { pointer: "/lifetime", problem });
        }
        let scope = Scope::named(&self.store, new.organisations.as_deref()).await?;
        let made = credential::create(Purpose::Enroll, &Owner::Platform)?;
        let created = seconds(by.at);
        let document = EnrolmentDocument {
            name: new.name.clone(),
            scope,
            creator: by.name.clone(),
            created,
            token: Some(TokenDocument { sha256: made.sha256, expires: created + new.lifetime.as_secs() }),
            certificates: Vec::new(),
        };
        let view = document.view(&made.id);
        self.change(&made.id, by, |found| match found {
            None => Ok(Some(Next { document: Some(document.clone()), signed: None, gone: Vec::new() })),
            Some(_) => Err(FeedError::Contended),
        })
        .await?;
        // Whoever has it needs no other trust: it names the authority that is to answer.
        let pin = base62(self.authority.sha256(), PIN_CHARS);
        Ok((Secret::new(format!("{}.{pin}", made.text.expose())), view))
    }

    /// The enrolments behind an id.
    pub async fn enrolments(&self, after: Option<&ResourceId>, most: usize) -> Result<Enrolments, FeedError> {
        let page = self.store.platform().list(&self.kinds.enrolments, after, most).await?;
        let mut items = Vec::with_capacity(page.resources.len());
        for found in page.resources {
            items.push(read(found.document.get())?.view(&found.id));
        }
        Ok(Enrolments { items, next: page.next.map(|next| next.to_string()) })
    }

    /// One of them.
    pub async fn enrolment(&self, id: &ResourceId) -> Result<EnrolmentView, FeedError> {
        let found = self.store.platform().get(&self.kinds.enrolments, id).await?;
        let found = found.ok_or(FeedError::NotFound("enrolment"))?;
        Ok(read(found.document.get())?.view(id))
    }

    /// Ends a token or a proxy's certificates, whichever there are.
    pub async fn withdraw(&self, id: &ResourceId, by: &Actor) -> Result<(), FeedError> {
        self.change(id, by, |found| {
            let document = found.ok_or(FeedError::NotFound("enrolment"))?;
            Ok(Some(Next { document: None, signed: None, gone: document.certificates }))
        })
        .await
    }

    /// Lets somebody in who has a token, with a certificate for their key.
    pub(super) async fn enroll(
        &self,
        asked: &wire::Enroll,
        now: SystemTime,
    ) -> Result<wire::Enrolled, FeedError> {
        const REFUSED: FeedError =
            FeedError::Stranger("the token is none, was used, was withdrawn or has ended; ask for another");
        let text = asked.token.split_once('.').map_or(asked.token.as_str(), |(text, _)| text);
        let presented = credential::parse(Purpose::Enroll, text).ok_or(REFUSED)?;
        let by = Actor { name: format!("proxy {}", presented.id), at: now };
        let public_key = unhex(&asked.public_key);
        let mut enrolled = None;
        self.change(&presented.id, &by, |found| {
            let document = found.ok_or(REFUSED)?;
            let is_right = document
                .token
                .as_ref()
                .is_some_and(|token| presented.is_that_of(&token.sha256) && seconds(now) < token.expires);
            if !is_right {
                return Err(REFUSED);
            }
            let mut tell = |certificate: &str| {
                enrolled = Some(wire::Enrolled {
                    id: presented.id.to_string(),
                    organisations: document.scope.organisations(),
                    certificate: certificate.to_owned(),
                    authority: self.authority.certificate().to_owned(),
                });
            };
            if document.is_in() {
                // The answer may have been lost on its way. It is of use to whoever has the key, and to nobody else.
                tell(document.told_for(&public_key).ok_or(REFUSED)?);
                return Ok(None);
            }
            let signed = self.authority.proxy(&presented.id, &document.scope, &public_key, now)?;
            tell(&signed.pem);
            Ok(Some(Next { document: Some(document), signed: Some(signed), gone: Vec::new() }))
        })
        .await?;
        enrolled.ok_or(FeedError::Contended)
    }

    /// Who comes with a certificate, if it is one of those that hold.
    pub(super) async fn guest(
        &self,
        certificate: Option<&[u8; 32]>,
        now: SystemTime,
    ) -> Result<Guest, FeedError> {
        let Some(sha256) = certificate.map(|sha256| hex(sha256)) else {
            return Err(FeedError::Stranger("a certificate is needed; get one with `palisade enroll`"));
        };
        let platform = self.store.platform();
        let id = ResourceId::new(&sha256).map_err(StoreError::from)?;
        let found = platform.get(&self.kinds.certificates, &id).await?.ok_or(STRANGER)?;
        let of: OfDocument = serde_json::from_str(found.document.get()).map_err(FeedError::broken)?;
        let id = ResourceId::new(&of.enrolment).map_err(StoreError::from)?;
        let found = platform.get(&self.kinds.enrolments, &id).await?.ok_or(STRANGER)?;
        let document = read(found.document.get())?;
        let holds = |known: &CertificateDocument| known.sha256 == sha256 && seconds(now) < known.expires;
        if !document.certificates.iter().any(holds) {
            return Err(STRANGER);
        }
        Ok(Guest { id, scope: document.scope, certificate: sha256 })
    }

    /// Makes of one enrolment what is to become of it, if anything is, and nobody else of the platform wrote meanwhile.
    pub(super) async fn change(
        &self,
        id: &ResourceId,
        by: &Actor,
        mut next: impl FnMut(Option<EnrolmentDocument>) -> Result<Option<Next>, FeedError>,
    ) -> Result<(), FeedError> {
        let platform = self.store.platform();
        for _ in 0..ATTEMPTS_MAX {
            let read_at = platform.all(&[]).await?.revision;
            let found = platform.get(&self.kinds.enrolments, id).await?;
            let expected = found.as_ref().map(|found| found.version);
            let before = found.map(|found| read(found.document.get())).transpose()?;
            let mut changed = Changed {
                kind: "enrolments".to_owned(),
                id: id.to_string(),
                before: before.as_ref().map(|document| document.shown(id)),
                after: None,
            };
            let Some(next) = next(before)? else { return Ok(()) };
            let mut writes = Vec::new();
            for certificate in &next.gone {
                writes.extend(self.forget(&certificate.sha256).await?);
            }
            match (next.document, expected) {
                (Some(mut document), expected) => {
                    if let Some(signed) = next.signed {
                        writes.push(self.remember(id, &signed.sha256)?);
                        document.certificates.push(signed.into());
                    }
                    changed.after = Some(document.shown(id));
                    let document = to_raw_value(&document).map_err(FeedError::broken)?;
                    let (kind, id) = (self.kinds.enrolments.clone(), id.clone());
                    writes.push(Write::Put { kind, id, expected, document });
                }
                (None, Some(expected)) => {
                    let (kind, id) = (self.kinds.enrolments.clone(), id.clone());
                    writes.push(Write::Delete { kind, id, expected });
                }
                (None, None) => return Ok(()),
            }
            writes.push(entry(read_at + 1, by, &[changed])?);
            match platform.apply_at(read_at, &writes).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Moved { .. }) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(FeedError::Contended)
    }

    fn remember(&self, enrolment: &ResourceId, sha256: &str) -> Result<Write, FeedError> {
        Ok(Write::Put {
            kind: self.kinds.certificates.clone(),
            id: ResourceId::new(sha256).map_err(StoreError::from)?,
            expected: None,
            document: to_raw_value(&OfDocument { enrolment: enrolment.to_string() })
                .map_err(FeedError::broken)?,
        })
    }

    async fn forget(&self, sha256: &str) -> Result<Option<Write>, FeedError> {
        let (kind, id) =
            (self.kinds.certificates.clone(), ResourceId::new(sha256).map_err(StoreError::from)?);
        let found = self.store.platform().get(&kind, &id).await?;
        Ok(found.map(|found| Write::Delete { kind, id, expected: found.version }))
    }
}

/// What is said to whoever has no certificate that holds, whatever was wrong with theirs.
pub(super) const STRANGER: FeedError =
    FeedError::Stranger("the certificate was withdrawn, replaced or has ended; enroll this proxy again");

impl From<Signed> for CertificateDocument {
    fn from(signed: Signed) -> Self {
        let expires = seconds(signed.expires);
        let (pem, public_key) = (Some(signed.pem), Some(signed.public_key));
        Self { sha256: signed.sha256, expires, pem, public_key }
    }
}

impl EnrolmentDocument {
    /// Whether its token let a proxy in.
    fn is_in(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// The newest certificate, if it is for this key.
    fn told_for(&self, public_key: &[u8]) -> Option<&str> {
        let newest = self.certificates.last()?;
        newest.pem.as_deref().filter(|_| newest.public_key.as_ref() == Some(&hex(public_key)))
    }

    fn view(&self, id: &ResourceId) -> EnrolmentView {
        EnrolmentView {
            id: id.to_string(),
            name: self.name.clone(),
            organisations: self.scope.organisations(),
            creator: self.creator.clone(),
            created: self.created,
            token_expires: self.token.as_ref().filter(|_| !self.is_in()).map(|token| token.expires),
            certificate_expires: self.certificates.iter().map(|certificate| certificate.expires).max(),
        }
    }

    /// As the journal shows it: without anything secret.
    fn shown(&self, id: &ResourceId) -> Value {
        serde_json::to_value(self.view(id)).unwrap_or_else(|_| json!({}))
    }
}

fn read(text: &str) -> Result<EnrolmentDocument, FeedError> {
    serde_json::from_str(text).map_err(FeedError::broken)
}

pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Bytes from hexadecimal digits; nothing, if they are none.
pub(super) fn unhex(digits: &str) -> Vec<u8> {
    let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
    let byte = |pair: &[u8]| pair.iter().fold(0, |byte, half| byte << 4 | digit(half));
    if is_hex { digits.as_bytes().chunks(2).map(byte).collect() } else { Vec::new() }
}
