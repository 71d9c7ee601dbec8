//! Where proxies come that are elsewhere: heads and bodies are read here, within limits, and answers written. Who is
//! answered, and with what, is `control::feed`'s.
//!
//! Strangers with a token come to this door too, and take connections and places of their own: however many come, a
//! proxy of ours gets in. Nobody has a place while a body comes; bodies share memory instead. A certificate that was
//! withdrawn is a stranger's, and is told so before anything of the body is read.

use crate::body;
use crate::connections::Connections;
use crate::desk::{Memory, NoBody, place};
use crate::edge::{Connection, Edge};
use crate::front::{Host, Rules};
use crate::handshakes::Handshakes;
use crate::house::House;
use crate::listen::Listen;
use crate::server::{finish, h2_options, read_head};
use palisade_control::feed::{Answer, Asked, Feed, body_bytes_max};
use pingora_core::apps::{HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Open connections, all together, and those of one address: many proxies may stand behind one.
const CONNECTIONS: usize = 4096;
const CONNECTIONS_PER_ADDRESS: usize = 1024;
/// Of those, connections that are at their handshake, all together, and those of one address: a proxy takes a moment.
const HANDSHAKES: usize = 512;
const HANDSHAKES_PER_ADDRESS: usize = 128;
/// And connections of strangers: of whoever showed no certificate of ours.
const STRANGERS: usize = 256;
const STRANGERS_PER_ADDRESS: usize = 32;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 16;
/// A proxy of ours says what it wants at once, and asks again at once. Limits for applications that are shorter hold
/// here, too.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Strangers with a token who are looked at at once: each costs a look into the store.
const STRANGERS_AT_ONCE: usize = 8;
/// Certificates that are looked up at once, before a body is read.
const LOOKED_UP_AT_ONCE: usize = 16;
/// Readings at once: each may hold many MiB, until it is written.
const READINGS_AT_ONCE: usize = 4;
/// And those who bring usage: each is many writes.
const USAGES_AT_ONCE: usize = 2;
/// Of a body, so much is read without a share of the memory for larger ones.
const SMALL_BYTES: usize = 4 << 10;
/// That memory, in pieces of that size: 16 MiB.
const LARGE_PIECES: usize = 4_096;
/// A place is waited for no longer than this.
const PLACE_WITHIN: Duration = Duration::from_secs(30);

/// The feed's door.
pub(crate) struct FeedDesk {
    house: Arc<House>,
    feed: Arc<Feed>,
    edge: Arc<Edge>,
    options: HttpServerOptions,
    without_certificate: Strangers,
    strangers: Semaphore,
    looked_up: Semaphore,
    readings: Semaphore,
    usages: Semaphore,
    memory: Memory,
}

/// Connections of those who showed no certificate.
struct Strangers(Arc<Connections>);

/// What is answered, with the place that it keeps until it is written.
struct Reply<'a> {
    answer: Answer,
    /// Whether the body was read to its end.
    is_read: bool,
    _place: Option<SemaphorePermit<'a>>,
}

impl FeedDesk {
    pub(crate) fn new(house: Arc<House>, feed: Arc<Feed>, listen: &Listen) -> Result<Self, String> {
        let edge = Arc::new(Edge::new(listen, CONNECTIONS, house.metrics.feed_connections.clone())?);
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(HEAD_TIMEOUT.min(house.limits().header_timeout));
        Ok(Self {
            house,
            feed,
            edge,
            options,
            without_certificate: Strangers::new(STRANGERS)?,
            strangers: Semaphore::new(STRANGERS_AT_ONCE),
            looked_up: Semaphore::new(LOOKED_UP_AT_ONCE),
            readings: Semaphore::new(READINGS_AT_ONCE),
            usages: Semaphore::new(USAGES_AT_ONCE),
            memory: Memory::new(SMALL_BYTES, LARGE_PIECES),
        })
    }

    /// What holds for connections here.
    pub(crate) fn rules(&self) -> Rules {
        let handshakes = Handshakes::new(HANDSHAKES, HANDSHAKES_PER_ADDRESS);
        Rules::Own(self.edge.clone(), CONNECTIONS_PER_ADDRESS, Some(Arc::new(handshakes)))
    }

    /// What is answered; nothing, if nobody is there any more, or the process leaves.
    async fn exchange(
        &self,
        down: &mut ServerSession,
        from: &Connection,
        shutdown: &ShutdownWatch,
    ) -> Option<Reply<'_>> {
        let certificate = from.certificate.as_ref().map(|(_, sha256)| *sha256);
        let (method, target) = (down.req_header().method.clone(), down.req_header().uri.clone());
        let now = SystemTime::now();
        if method != http::Method::GET {
            let Some(_place) = place(&self.looked_up, PLACE_WITHIN).await else {
                return Some(Reply::unread(Answer::busy()));
            };
            if let Err(refused) = self.feed.admit(target.path(), certificate.as_ref(), now).await {
                return Some(Reply::unread(refused));
            }
        }
        let within = BODY_TIMEOUT.min(self.house.limits().body_timeout);
        let body = match self.memory.body(down, body_bytes_max(target.path()), within).await {
            Ok(body) => body,
            Err(NoBody::TooLarge) => return Some(Reply::unread(Answer::too_large())),
            Err(NoBody::TooSlow) => return Some(Reply::unread(Answer::too_slow())),
            Err(NoBody::NoRoom) => return Some(Reply::unread(Answer::busy())),
            Err(NoBody::Gone) => return None,
        };
        let asked = Asked {
            method: method.as_str(),
            path: target.path(),
            query: target.query().unwrap_or_default(),
            certificate,
            body: &body.bytes,
            now,
        };
        let places = match (certificate, target.path().rsplit('/').next()) {
            (None, _) => &self.strangers,
            (Some(_), Some("read")) => &self.readings,
            (Some(_), Some("usage")) => &self.usages,
            (Some(_), _) => {
                let answer = self.told(&asked, shutdown).await?;
                return Some(Reply { answer, is_read: true, _place: None });
            }
        };
        let place = place(places, PLACE_WITHIN).await;
        let answer = if place.is_some() { self.feed.answer(&asked).await } else { Answer::busy() };
        Some(Reply { answer, is_read: true, _place: place })
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
        let within = HEAD_TIMEOUT.min(self.house.limits().header_timeout);
        if !read_head(&mut down, &self.house.metrics, shutdown, within).await {
            return None;
        }
        // Who waits for news holds up no end of this process.
        let is_waiting = down.req_header().method == http::Method::GET;
        let _in_flight = (!is_waiting).then(|| self.house.attend());
        down.set_write_timeout(Some(self.house.limits().write_timeout));
        let Reply { answer, is_read, _place } = self.exchange(&mut down, from, shutdown).await?;
        if let Some(cause) = &answer.cause {
            tracing::error!(status = answer.status, %cause, "the feed could not do what it was asked");
        }
        // Closing on bytes that nobody read would reset the connection, and the answer could be lost.
        if !is_read && !body::drain(&mut down).await {
            down.set_keepalive(None);
        }
        let is_whole = write(&mut down, answer).await.is_ok();
        finish(down, is_whole, shutdown).await
    }

    fn welcomes(&self, connection: &mut Connection) -> bool {
        self.without_certificate.welcome(connection)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(h2_options(STREAMS_MAX))
    }
}

impl Strangers {
    fn new(seats: usize) -> Result<Self, String> {
        let open = IntGauge::new("strangers", "Connections without a certificate.");
        Ok(Self(Arc::new(Connections::new(seats, open.map_err(|error| error.to_string())?))))
    }

    /// Whether there is room for a connection, if it needs any here.
    fn welcome(&self, connection: &mut Connection) -> bool {
        if connection.certificate.is_some() {
            return true;
        }
        let Some(mut seat) = self.0.enter(usize::MAX) else { return false };
        let is_one_of_few = connection.client.is_none_or(|client| seat.of(client, STRANGERS_PER_ADDRESS));
        connection.strangers_seat = Some(seat);
        is_one_of_few
    }
}

impl Reply<'_> {
    /// To somebody whose body was not read.
    fn unread(answer: Answer) -> Self {
        Self { answer, is_read: false, _place: None }
    }
}

async fn write(down: &mut ServerSession, answer: Answer) -> pingora_core::Result<()> {
    let mut head = ResponseHeader::build(answer.status, Some(3))?;
    head.insert_header("content-type", "application/json")?;
    head.insert_header("content-length", answer.body.len())?;
    head.insert_header("cache-control", "no-store")?;
    down.write_response_header(Box::new(head)).await?;
    down.write_response_body(answer.body.into(), true).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(client: &str, certificate: Option<&[u8]>) -> Connection {
        let client = client.parse().ok();
        let certificate = certificate.map(crate::tls::read_client);
        Connection { peer: client, client, certificate, seat: None, strangers_seat: None }
    }

    #[test]
    fn strangers_take_few_connections_and_none_of_those_of_proxies() {
        let strangers = Strangers::new(40).unwrap();
        let mut open = Vec::new();
        let mut come = |client: &str, certificate: Option<&[u8]>| {
            let mut connection = connection(client, certificate);
            let is_welcome = strangers.welcome(&mut connection);
            open.push(connection);
            if !is_welcome {
                open.pop();
            }
            is_welcome
        };
        let one = (0..100).filter(|_| come("203.0.113.7", None)).count();
        assert_eq!(one, STRANGERS_PER_ADDRESS);
        let more = (0..100).filter(|at| come(&format!("198.51.100.{at}"), None)).count();
        assert_eq!(one + more, 40);
        assert!((0..100).all(|_| come("203.0.113.7", Some(b"one of ours"))));
        open.clear();
        assert!(strangers.welcome(&mut connection("203.0.113.7", None)), "seats are given back");
    }
}
