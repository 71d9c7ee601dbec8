//! What do the doors share that strangers may come to, the admin API's and the feed's? Places that are waited for, and
//! memory that large bodies take up together.
//!
//! Nobody has a place while a body comes, or a few slow ones would keep everybody out: large bodies share memory
//! instead, and small ones need none of it.

use bytes::{Bytes, BytesMut};
use pingora_core::protocols::http::ServerSession;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The memory of large bodies.
pub(crate) struct Memory {
    /// Of a body, so much is read without a share of it. It is shared in pieces of that size.
    small_bytes: usize,
    pieces: Semaphore,
}

/// A body, and the memory that it takes up until it is dropped.
pub(crate) struct Body<'a> {
    pub(crate) bytes: Bytes,
    _memory: Option<SemaphorePermit<'a>>,
}

/// Why there is no body.
pub(crate) enum NoBody {
    TooLarge,
    TooSlow,
    /// Too many others have large ones.
    NoRoom,
    Gone,
}

impl Memory {
    pub(crate) fn new(small_bytes: usize, pieces: usize) -> Self {
        Self { small_bytes, pieces: Semaphore::new(pieces) }
    }

    /// A whole body, within a limit and within time.
    pub(crate) async fn body(
        &self,
        down: &mut ServerSession,
        most: usize,
        within: Duration,
    ) -> Result<Body<'_>, NoBody> {
        let stated = down.get_header("content-length");
        let stated = stated.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if stated.is_some_and(|bytes| bytes > most as u64) {
            return Err(NoBody::TooLarge);
        }
        let read = pingora_timeout::timeout(within, self.read(down, most)).await;
        read.unwrap_or(Err(NoBody::TooSlow))
    }

    async fn read(&self, down: &mut ServerSession, most: usize) -> Result<Body<'_>, NoBody> {
        if down.get_header("expect").is_some() {
            down.write_continue_response().await.map_err(|_| NoBody::Gone)?;
        }
        let (mut whole, mut memory, mut pieces) = (BytesMut::new(), None::<SemaphorePermit<'_>>, 0);
        while let Some(chunk) = down.read_request_body().await.map_err(|_| NoBody::Gone)? {
            if whole.len() + chunk.len() > most {
                return Err(NoBody::TooLarge);
            }
            // The first piece is everybody's.
            let needed = (whole.len() + chunk.len()).saturating_sub(1) / self.small_bytes;
            if needed > pieces {
                let more = u32::try_from(needed - pieces).unwrap_or(u32::MAX);
                let more = self.pieces.try_acquire_many(more).map_err(|_| NoBody::NoRoom)?;
                pieces = needed;
                match &mut memory {
                    None => memory = Some(more),
                    Some(memory) => memory.merge(more),
                }
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Body { bytes: whole.freeze(), _memory: memory })
    }
}

/// A place, once one is free; none if that takes too long.
pub(crate) async fn place(places: &Semaphore, within: Duration) -> Option<SemaphorePermit<'_>> {
    tokio::time::timeout(within, places.acquire()).await.ok()?.ok()
}
