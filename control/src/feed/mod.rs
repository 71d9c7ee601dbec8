//! How does a proxy that is not in this process learn what it is to enforce? The feed, without a socket.
//!
//! A proxy is let in once with a token, and then known by its certificate, which one small [`Authority`] of our own
//! signs. What it may see, the record of its enrolment says, which is asked with each request, and again after each
//! wait: a proxy whose enrolment was withdrawn hears nothing more. It asks what every follower asks of its origin.
//!
//! Needs a store, and somebody who listens, verified the certificate, and passes on its hash. Proves that nobody is
//! answered whose certificate does not hold, and nobody about an organisation that is not theirs. Does not: listen,
//! know TLS, log, or look at a clock.

mod authority;
mod enrolments;
mod error;
mod key;
mod renewal;
mod scope;
pub mod wire;

pub use authority::{Authority, Identity, LIFETIME};
pub use enrolments::{EnrolmentView, Enrolments, NewEnrolment, TOKEN_LIFETIME, TOKEN_LIFETIME_MAX};
pub use error::FeedError;
pub use key::{Key, pin_of};
pub use scope::ORGANISATIONS_MAX;

use crate::follow::{News, Origin, READ_MAX};
use crate::store::{Kind, OrganisationId, Owner, Store, StoreError};
use crate::usage::{self, BATCH_ROWS_MAX, Batch, UsageError};
use enrolments::Guest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long somebody waits for news at most. Whoever listens may wait longer than that, and not much.
pub const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// What is read of a request: the names of so many owners.
const BODY_BYTES_MAX: usize = 64 << 10;
/// And of one that brings usage. A row of the longest names, with all findings, takes less than 2 000 bytes, and a
/// proxy brings 513 of them together at most.
const USAGE_BYTES_MAX: usize = 1 << 20;
/// And of whoever has no certificate: a token and a public key.
const STRANGERS_BYTES_MAX: usize = 4 << 10;
/// Who was away for long hears how far it is no later than this, if nothing on the way concerned them.
const PAGES_WITHIN: Duration = Duration::from_secs(5);
/// Kinds of resources of this room.
pub(crate) const KINDS: [&str; 3] = ["feed-authority", "feed-certificates", "enrolments"];

/// The feed.
#[derive(Debug)]
pub struct Feed {
    store: Arc<Store>,
    authority: Authority,
    kinds: Kinds,
}

#[derive(Debug)]
struct Kinds {
    enrolments: Kind,
    certificates: Kind,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, without a query.
    pub path: &'a str,
    /// What stands behind the `?`.
    pub query: &'a str,
    /// SHA-256 of the certificate that it came with, if there was one that the [`Authority`] signed.
    pub certificate: Option<[u8; 32]>,
    /// Its body.
    pub body: &'a [u8],
    /// When it came.
    pub now: SystemTime,
}

/// How much of a request's body is read.
pub fn body_bytes_max(path: &str) -> usize {
    match path.strip_prefix(wire::ROOT) {
        Some("usage") => USAGE_BYTES_MAX,
        Some("read" | "renew") => BODY_BYTES_MAX,
        Some(_) | None => STRANGERS_BYTES_MAX,
    }
}

/// What is answered: a status and JSON.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// What is for the log alone, if something went wrong on this side.
    pub cause: Option<String>,
}

impl Answer {
    /// Too many ask at once.
    pub fn busy() -> Self {
        refused(&FeedError::Contended)
    }

    /// The body has more than [`body_bytes_max`].
    pub fn too_large() -> Self {
        refused(&FeedError::TooLarge)
    }

    /// The body did not come in time.
    pub fn too_slow() -> Self {
        refused(&FeedError::TooSlow)
    }
}

impl Feed {
    /// Over a store. The first time, it gets its authority.
    pub async fn open(store: Arc<Store>, now: SystemTime) -> Result<Self, FeedError> {
        let authority = Authority::open(&store, now).await?;
        let [_, certificates, enrolments] = KINDS;
        let kind = |name| Kind::new(name).map_err(StoreError::from);
        let kinds = Kinds { enrolments: kind(enrolments)?, certificates: kind(certificates)? };
        Ok(Self { store, authority, kinds })
    }

    /// Who signs.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether a body is read at all: of whoever asks to be let in, and of whoever was.
    pub async fn admit(
        &self,
        path: &str,
        certificate: Option<&[u8; 32]>,
        now: SystemTime,
    ) -> Result<(), Answer> {
        if path.strip_prefix(wire::ROOT) == Some("enroll") {
            return Ok(());
        }
        self.guest(certificate, now).await.map(drop).map_err(|error| refused(&error))
    }

    /// Answers a request.
    pub async fn answer(&self, asked: &Asked<'_>) -> Answer {
        match self.answered(asked).await {
            Ok(body) => Answer { status: 200, body, cause: None },
            Err(error) => refused(&error),
        }
    }

    async fn answered(&self, asked: &Asked<'_>) -> Result<Vec<u8>, FeedError> {
        let path = asked.path.strip_prefix(wire::ROOT).ok_or(FeedError::NotFound("path"))?;
        if (asked.method, path) == ("POST", "enroll") {
            return written(&self.enroll(&read(asked.body)?, asked.now).await?);
        }
        let guest = self.guest(asked.certificate.as_ref(), asked.now).await?;
        match (asked.method, path) {
            ("GET", "end") => written(&wire::End { end: self.store.end().await? }),
            ("GET", "news") => written(&self.news(&guest, asked).await?),
            ("GET", "organisations") => written(&self.organisations(&guest, asked).await?),
            ("POST", "read") => written(&self.read(&guest, &read(asked.body)?).await?),
            ("POST", "usage") => written(&self.usage(&guest, brought(asked.body)?, asked.now).await?),
            ("POST", "renew") => written(&self.renew(&guest, &read(asked.body)?, asked.now).await?),
            (_, _) => Err(FeedError::NotFound("path")),
        }
    }

    /// Who changed of those that a guest may know of. Others wake nobody.
    async fn news(&self, guest: &Guest, asked: &Asked<'_>) -> Result<wire::Changed, FeedError> {
        let after = number(asked.query, "after", "/after")?;
        let patience = number(asked.query, "patience_ms", "/patience_ms")?;
        let patience = Duration::from_millis(patience).min(PATIENCE_MAX);
        let begun = Instant::now();
        let mut position = after;
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            let News { mut owners, position: heard, end } = self.store.news(position, left).await?;
            // It may have been withdrawn meanwhile, which is a change that wakes who waits.
            self.guest(asked.certificate.as_ref(), asked.now + begun.elapsed()).await?;
            owners.retain(|owner| guest.scope.has(owner));
            let is_more = heard < end;
            position = heard;
            if !owners.is_empty() || is_over(begun.elapsed(), patience, is_more) {
                return Ok(News { owners, position, end }.into());
            }
        }
    }

    async fn organisations(
        &self,
        guest: &Guest,
        asked: &Asked<'_>,
    ) -> Result<wire::Organisations, FeedError> {
        let after = value(asked.query, "after").map(OrganisationId::new).transpose();
        let after =
            after.map_err(|error| FeedError::Invalid { pointer: "/after", problem: error.to_string() })?;
        let organisations = match guest.scope.organisations() {
            None => {
                let all = Origin::organisations(&self.store, after.as_ref()).await?;
                all.iter().map(ToString::to_string).collect()
            }
            // Also those that are gone: what they have says so.
            Some(named) => {
                let is_behind =
                    |name: &String| after.as_ref().is_none_or(|after| name.as_str() > after.as_str());
                named.into_iter().filter(is_behind).collect()
            }
        };
        Ok(wire::Organisations { organisations })
    }

    async fn read(&self, guest: &Guest, asked: &wire::Read) -> Result<wire::Readings, FeedError> {
        let wrong = |problem: String| FeedError::Invalid { pointer: "/owners", problem };
        if asked.owners.len() > READ_MAX {
            return Err(wrong(format!("at most {READ_MAX} are read at once")));
        }
        let owners: Result<BTreeSet<Owner>, _> = asked.owners.iter().map(|name| wire::owner(name)).collect();
        let owners = owners.map_err(|error| wrong(error.to_string()))?;
        if let Some(other) = owners.iter().find(|owner| !guest.scope.has(owner)) {
            return Err(FeedError::Forbidden(other.to_string()));
        }
        let mut readings = Vec::with_capacity(owners.len());
        for (owner, reading) in Origin::read(&self.store, &owners).await? {
            let seen = guest.scope.seen(&owner, reading)?;
            readings.push((owner, seen).into());
        }
        Ok(wire::Readings { readings })
    }

    /// Keeps what a guest counted, and says of which batches it has not to ask again.
    async fn usage(
        &self,
        guest: &Guest,
        asked: wire::Usage,
        now: SystemTime,
    ) -> Result<wire::Settled, FeedError> {
        let (mut settled, mut refused) = (Vec::with_capacity(asked.batches.len()), Vec::new());
        for batch in asked.batches {
            // What somebody must not bring holds up nothing else that they bring.
            let owner = wire::owner(&batch.organisation).ok().filter(|owner| guest.scope.has(owner));
            let Some(Owner::Organisation(id)) = owner else {
                refused.push(batch.sequence);
                continue;
            };
            match guest.scope.means(&self.store, &id).await {
                Ok(true) => {}
                // It is gone; what stands under its name is another.
                Ok(false) => {
                    settled.push(batch.sequence);
                    continue;
                }
                Err(_) => break,
            }
            let batch = Batch { writer: guest.writer(&batch.writer), ..batch };
            match usage::add(&self.store, &batch, now).await {
                // Of an organisation that is gone, nobody will ask any more.
                Ok(())
                | Err(UsageError::Store(StoreError::NoOrganisation(_) | StoreError::KeyMissing { .. })) => {
                    settled.push(batch.sequence);
                }
                // What can never be kept is not brought again either.
                Err(UsageError::Unfit(_) | UsageError::Damaged(_)) => refused.push(batch.sequence),
                // Whatever it is, it is not about this organisation alone.
                Err(UsageError::Busy | UsageError::Store(_)) => break,
            }
        }
        Ok(wire::Settled { settled, refused })
    }
}

/// What is said when it was not done.
fn refused(error: &FeedError) -> Answer {
    let (status, name) = error.name();
    let problem = wire::Problem { name: name.to_owned(), detail: error.to_string() };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    Answer { status, body, cause: error.cause() }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, FeedError> {
    serde_json::from_slice(body).map_err(|error| FeedError::Invalid {
        pointer: "",
        // Not the error's own words: it may repeat a token.
        problem: format!("this cannot be read, at line {} column {}", error.line(), error.column()),
    })
}

fn brought(body: &[u8]) -> Result<wire::Usage, FeedError> {
    serde_json::from_slice(body).map_err(|error| FeedError::Invalid {
        pointer: "/batches",
        problem: format!(
            "bring at most {} batches, of {BATCH_ROWS_MAX} rows together; this cannot be read behind line {} column {}",
            wire::BATCHES_MAX,
            error.line(),
            error.column()
        ),
    })
}

/// Whether nothing is said any longer: after what was asked for, and on the way through what concerns others, sooner.
fn is_over(waited: Duration, patience: Duration, is_more: bool) -> bool {
    waited >= if is_more { PAGES_WITHIN } else { patience }
}

fn written(answer: &impl Serialize) -> Result<Vec<u8>, FeedError> {
    serde_json::to_vec(answer).map_err(FeedError::broken)
}

fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A number that is 0 if it is not said.
fn number(query: &str, name: &str, pointer: &'static str) -> Result<u64, FeedError> {
    let problem = || "write a whole number, in digits".to_owned();
    let read = |value: &str| value.parse().map_err(|_| FeedError::Invalid { pointer, problem: problem() });
    value(query, name).map_or(Ok(0), read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pages_through_what_concerns_others_past_what_a_client_waits() {
        let seconds = Duration::from_secs;
        for (waited, patience, is_more, over) in [
            (0, 0, false, true),
            (0, 0, true, false),
            (5, 0, true, true),
            (19, 20, false, false),
            (20, 20, false, true),
            (5, 20, true, true),
            (4, 20, true, false),
        ] {
            assert_eq!(is_over(seconds(waited), seconds(patience), is_more), over, "{waited} {is_more}");
        }
    }
}
