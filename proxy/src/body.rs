//! The whole body, within its limits: size, time, and the memory of all bodies together. Its coding is undone.

use crate::bodies::BodyShare;
use crate::coding::{self, Coding};
use crate::config::Limits;
use crate::fault::{Fault, Stop};
use crate::house::House;
use bytes::{Bytes, BytesMut};
use palisade_filters::Refusal;
use pingora_core::ErrorType;
use pingora_core::protocols::http::ServerSession;
use std::sync::Arc;

/// A refused request's body is read up to this size, so that the connection can serve the next one.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;
/// And for this long.
const DRAINED_FOR: std::time::Duration = std::time::Duration::from_secs(1);

/// A body with the memory it takes up.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) share: BodyShare,
}

/// Reads the body of somebody in this organisation.
pub(crate) async fn read(
    down: &mut ServerSession,
    house: &Arc<House>,
    organisation: &str,
    coding: Option<Coding>,
) -> Result<Body, Stop> {
    if down.get_header("expect").is_some() {
        down.write_continue_response().await.map_err(|_| Fault::ClientLeft)?;
    }
    let share = BodyShare::of(house, organisation);
    let limits = house.limits().clone();
    let read = pingora_timeout::timeout(limits.body_timeout, read_all(down, &limits, share)).await;
    let body = read.map_err(|_| Refusal::ReadTimeout)??;
    match coding {
        None => Ok(body),
        Some(coding) => coding::decode(coding, body, &limits).await,
    }
}

async fn read_all(down: &mut ServerSession, limits: &Limits, mut share: BodyShare) -> Result<Body, Stop> {
    let limit = limits.body_bytes.as_u64();
    let too_large = || Stop::from(Refusal::BodyTooLarge(limit));
    let stated = down.get_header("content-length").and_then(|value| value.to_str().ok());
    let stated: Option<u64> = stated.and_then(|value| value.parse().ok());
    if stated.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    // Memory is set aside for what came, not for what was promised.
    let Some(first) = next(down).await? else { return Ok(Body { bytes: Bytes::new(), share }) };
    share.grow(first.len() as u64)?;
    let mut whole = BytesMut::new();
    let mut bytes = first;
    // One read is the common case and stays where it is; more are put together.
    while let Some(more) = next(down).await? {
        if whole.is_empty() {
            let expected = stated.unwrap_or(0).max((bytes.len() + more.len()) as u64);
            whole.reserve(usize::try_from(expected.min(limit)).unwrap_or(0));
            whole.extend_from_slice(&bytes);
            bytes = Bytes::new();
        }
        if (whole.len() + more.len()) as u64 > limit {
            return Err(too_large());
        }
        share.grow(more.len() as u64)?;
        whole.extend_from_slice(&more);
    }
    if !whole.is_empty() {
        bytes = whole.freeze();
    }
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(Body { bytes, share }) }
}

async fn next(down: &mut ServerSession) -> Result<Option<Bytes>, Stop> {
    match down.read_request_body().await {
        Ok(chunk) => Ok(chunk),
        // Pingora's own names for chunks that are none (RFC 9112 §7.1): the client is there, and can be told.
        Err(error) if matches!(error.etype(), ErrorType::Custom(_)) => {
            // Where the next request would begin, nobody can say.
            down.set_keepalive(None);
            let message = "the body's chunked coding is broken; send it with an HTTP library".to_owned();
            Err(Refusal::InvalidRequest { param: None, message }.into())
        }
        Err(_) => Err(Fault::ClientLeft.into()),
    }
}

/// Reads what is left of a refused request's body. Closing a connection with unread bytes would reset it, and the
/// refusal could be lost. Says whether the connection can go on.
pub(crate) async fn drain(down: &mut ServerSession) -> bool {
    let drained = pingora_timeout::timeout(DRAINED_FOR, async {
        let mut bytes = 0;
        loop {
            match down.read_request_body().await {
                Ok(None) => return true,
                Ok(Some(chunk)) if bytes + chunk.len() <= DRAINED_BYTES_MAX => bytes += chunk.len(),
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    });
    drained.await.unwrap_or(false)
}
