//! Where proxies come that are elsewhere: heads and bodies are read here, within limits, and answers written. Who is
//! answered, and with what, is `control::feed`'s.
//!
//! Strangers with a token come to this door too, and take places of their own. Nobody has a place while a body comes.

use crate::body;
use crate::edge::{Connection, Edge};
use crate::front::{Host, Rules};
use crate::house::House;
use crate::listen::Listen;
use crate::server::{finish, h2_options, read_head};
use bytes::BytesMut;
use palisade_control::feed::{Answer, Asked, Feed, body_bytes_max};
use pingora_core::apps::ReusedHttpStream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

/// Open connections, all together, and those of one address: many proxies may stand behind one.
const CONNECTIONS: usize = 4096;
const CONNECTIONS_PER_ADDRESS: usize = 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 16;
/// A proxy of ours says what it wants at once, and asks again at once.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Strangers with a token who are looked at at once: each costs a look into the store.
const STRANGERS_AT_ONCE: usize = 8;
/// Readings at once: each may hold many MiB.
const READINGS_AT_ONCE: usize = 4;
/// A place is waited for no longer than this.
const PLACE_WITHIN: Duration = Duration::from_secs(30);

/// The feed's door.
pub(crate) struct FeedDesk {
    house: Arc<House>,
    feed: Arc<Feed>,
    edge: Arc<Edge>,
    strangers: Semaphore,
    readings: Semaphore,
}

impl FeedDesk {
    pub(crate) fn new(house: Arc<House>, feed: Arc<Feed>, listen: &Listen) -> Result<Self, String> {
        let edge = Arc::new(Edge::new(listen, CONNECTIONS, house.metrics.feed_connections.clone())?);
        let (strangers, readings) = (Semaphore::new(STRANGERS_AT_ONCE), Semaphore::new(READINGS_AT_ONCE));
        Ok(Self { house, feed, edge, strangers, readings })
    }

    /// What holds for connections here.
    pub(crate) fn rules(&self) -> Rules {
        Rules::Own(self.edge.clone(), CONNECTIONS_PER_ADDRESS)
    }

    /// What is answered; nothing, if nobody is there any more, or the process leaves.
    async fn exchange(
        &self,
        down: &mut ServerSession,
        from: &Connection,
        shutdown: &ShutdownWatch,
    ) -> Option<Answer> {
        let certificate = from.certificate.as_ref().map(|(_, sha256)| *sha256);
        let (method, target) = (down.req_header().method.clone(), down.req_header().uri.clone());
        let most = body_bytes_max(target.path(), certificate.is_some());
        let body = pingora_timeout::timeout(BODY_TIMEOUT, body(down, most)).await.ok()??;
        let asked = Asked {
            method: method.as_str(),
            path: target.path(),
            query: target.query().unwrap_or_default(),
            certificate,
            body: &body,
            now: SystemTime::now(),
        };
        let is_reading = target.path().ends_with("/read");
        let places = match certificate {
            None => &self.strangers,
            Some(_) if is_reading => &self.readings,
            Some(_) => return self.told(&asked, shutdown).await,
        };
        let place = tokio::time::timeout(PLACE_WITHIN, places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Some(Answer::busy()) };
        Some(self.feed.answer(&asked).await)
    }

    /// Whoever waits for news when the process leaves asks again, and finds another one.
    async fn told(&self, asked: &Asked<'_>, shutdown: &ShutdownWatch) -> Option<Answer> {
        if asked.method != "GET" {
            return Some(self.feed.answer(asked).await);
        }
        let mut stop = shutdown.clone();
        tokio::select! { biased;
            answer = self.feed.answer(asked) => Some(answer),
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }
}

impl Host for FeedDesk {
    async fn receive(
        &self,
        mut down: ServerSession,
        from: &Connection,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !read_head(&mut down, &self.house.metrics, shutdown, HEAD_TIMEOUT).await {
            return None;
        }
        // Who waits for news holds up no end of this process.
        let is_waiting = down.req_header().method == http::Method::GET;
        let _in_flight = (!is_waiting).then(|| self.house.attend());
        down.set_write_timeout(Some(self.house.limits().write_timeout));
        let answer = self.exchange(&mut down, from, shutdown).await?;
        if let Some(cause) = &answer.cause {
            tracing::error!(status = answer.status, %cause, "the feed could not do what it was asked");
        }
        let is_whole = write(&mut down, answer).await.is_ok();
        finish(down, is_whole, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(h2_options(STREAMS_MAX))
    }
}

/// The whole body; none, if it is larger than anything that is sent here, or breaks off.
async fn body(down: &mut ServerSession, most: usize) -> Option<BytesMut> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = down.read_request_body().await.ok()? {
        if whole.len() + chunk.len() > most {
            body::drain(down).await;
            return None;
        }
        whole.extend_from_slice(&chunk);
    }
    Some(whole)
}

async fn write(down: &mut ServerSession, answer: Answer) -> pingora_core::Result<()> {
    let mut head = ResponseHeader::build(answer.status, Some(3))?;
    head.insert_header("content-type", "application/json")?;
    head.insert_header("content-length", answer.body.len())?;
    head.insert_header("cache-control", "no-store")?;
    down.write_response_header(Box::new(head)).await?;
    down.write_response_body(answer.body.into(), true).await
}
