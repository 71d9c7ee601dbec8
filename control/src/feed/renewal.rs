//! When does a proxy get another certificate? When the newest one is past half of its life, and no sooner.
//!
//! Each renewal is a change of the platform, which wakes every proxy: so what was signed lately is not signed again,
//! but told again, to whoever did not hear it. The certificate that somebody asks with is never taken from them by
//! that: the one that they are given may not reach them.

use super::authority::LIFETIME;
use super::enrolments::{CertificateDocument, Guest, Next, STRANGER, seconds, unhex};
use super::error::FeedError;
use super::{Feed, wire};
use crate::resources::Actor;
use palisade_filters::api_key::hex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whoever asks with the one before, and for another key, did not hear of the newest: they get another after this.
const LOST_AFTER: Duration = Duration::from_hours(1);

/// What is done about a renewal.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// Another certificate is signed.
    Signed,
    /// The newest is told again.
    Told(String),
}

impl Feed {
    /// Another certificate for somebody who has one.
    pub(super) async fn renew(
        &self,
        guest: &Guest,
        asked: &wire::Renew,
        now: SystemTime,
    ) -> Result<wire::Renewed, FeedError> {
        let by = Actor { name: format!("proxy {}", guest.id), at: now };
        let public_key = unhex(&asked.public_key);
        let mut certificate = None;
        self.change(&guest.id, &by, |found| {
            let mut document = found.ok_or(STRANGER)?;
            if let Done::Told(pem) = done(&document.certificates, &guest.certificate, &public_key, now)? {
                certificate = Some(pem);
                return Ok(None);
            }
            let signed = self.authority.proxy(&guest.id, &document.scope, &public_key, now)?;
            certificate = Some(signed.pem.clone());
            // The one that they came with is in use; so those before it are not, nor is one that was never heard of.
            let (kept, gone) = std::mem::take(&mut document.certificates)
                .into_iter()
                .partition::<Vec<_>, _>(|known| known.sha256 == guest.certificate);
            let kept = kept.into_iter().map(|known| CertificateDocument { pem: None, ..known });
            document.certificates = kept.collect();
            Ok(Some(Next { document: Some(document), signed: Some(signed), gone }))
        })
        .await?;
        certificate.map(|certificate| wire::Renewed { certificate }).ok_or(FeedError::Contended)
    }
}

/// Of certificates of which the last is the newest, for who came with one of them.
fn done(
    certificates: &[CertificateDocument],
    came_with: &str,
    public_key: &[u8],
    now: SystemTime,
) -> Result<Done, FeedError> {
    // It may have been taken away since it was looked at.
    if !certificates.iter().any(|known| known.sha256 == came_with) {
        return Err(STRANGER);
    }
    let newest = certificates.last().ok_or(STRANGER)?;
    let (life, now) = (LIFETIME.as_secs(), seconds(now));
    let signed = newest.expires.saturating_sub(life);
    let is_lost = newest.sha256 != came_with;
    let half = signed + life / 2;
    if now >= half {
        return Ok(Done::Signed);
    }
    if newest.public_key.as_ref().is_some_and(|known| *known == hex(public_key))
        && let Some(pem) = &newest.pem
    {
        return Ok(Done::Told(pem.clone()));
    }
    let after = if is_lost { signed + LOST_AFTER.as_secs() } else { half };
    if now >= after {
        return Ok(Done::Signed);
    }
    let after = UNIX_EPOCH + Duration::from_secs(after);
    Err(FeedError::TooSoon(humantime::format_rfc3339_seconds(after).to_string()))
}
