//! Where the admin API is heard: heads and bodies are read here, within limits, and answers written. What is asked, by
//! whom, and what is answered is `control::api`'s.
//!
//! Strangers come to this door too. What they can hold up is bounded apart from what those who are known do: what is
//! done for nobody in particular (signing in) takes places of its own. Nobody has a place while a body comes,
//! or a few slow ones would keep everybody out; large bodies share memory instead, and small ones need none of it.

use crate::body;
use crate::desk::{Memory, NoBody, place};
use crate::edge::{Connection, Edge};
use crate::front::{Host, Rules};
use crate::house::House;
use crate::listen::Listen;
use crate::server::{finish, h2_options, read_head};
use palisade_control::api::{Api, Head, Reply};
use pingora_core::apps::{HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

/// Open connections, all together, and those of one client's address.
const CONNECTIONS: usize = 512;
const CONNECTIONS_PER_ADDRESS: usize = 64;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 16;
/// From the connection, or the last answer, to the end of the head. `limits.header_timeout` holds if it is shorter.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// For a whole body, which may be an organisation's: twice `limits.body_timeout`, if that is shorter.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);
/// A place is waited for no longer than this.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// Heads for which it is found out who asks, at once: each is a question or two to the store.
const LOOKED_AT: usize = 8;
/// What is done at once for those who are known.
const DONE_FOR_KNOWN: usize = 16;
/// And for those who are not: they sign in.
const DONE_FOR_STRANGERS: usize = 8;
/// Of a body, so much is read without a share of the memory for large ones.
const SMALL_BYTES: usize = 64 * 1024;
/// The memory of large bodies, in pieces of that size: four of the largest.
const LARGE_PIECES: usize = 4096;

/// The API's door.
pub(crate) struct ApiDesk {
    house: Arc<House>,
    api: Arc<Api>,
    edge: Arc<Edge>,
    options: HttpServerOptions,
    looked_at: Semaphore,
    for_known: Semaphore,
    for_strangers: Semaphore,
    memory: Memory,
}

impl ApiDesk {
    pub(crate) fn new(house: Arc<House>, api: Arc<Api>, listen: &Listen) -> Result<Self, String> {
        let edge = Edge::new(listen, CONNECTIONS, house.metrics.api_connections.clone())?;
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(HEAD_TIMEOUT.min(house.limits().header_timeout));
        Ok(Self {
            house,
            api,
            edge: Arc::new(edge),
            options,
            looked_at: Semaphore::new(LOOKED_AT),
            for_known: Semaphore::new(DONE_FOR_KNOWN),
            for_strangers: Semaphore::new(DONE_FOR_STRANGERS),
            memory: Memory::new(SMALL_BYTES, LARGE_PIECES),
        })
    }

    /// What holds for connections here.
    pub(crate) fn rules(&self) -> Rules {
        Rules::Own(self.edge.clone(), CONNECTIONS_PER_ADDRESS, None)
    }

    /// What is answered; nothing, if nobody is there any more. Says whether the body was read to its end.
    async fn exchange(&self, down: &mut ServerSession, from: &Connection) -> Option<(Reply, bool)> {
        let Ok(client) = self.edge.client(from, down.req_header()) else {
            return Some((Reply::malformed(), false));
        };
        let head = head(down, client);
        let admitted = match place(&self.looked_at, PLACE_WITHIN).await {
            None => Err(Reply::busy()),
            Some(_turn) => self.api.admit(head).await,
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return Some((refused, false)),
        };
        let within = BODY_TIMEOUT.min(self.house.limits().body_timeout * 2);
        let body = match self.memory.body(down, admitted.body_bytes_max(), within).await {
            Ok(body) => body,
            Err(NoBody::TooLarge) => return Some((Reply::too_large(&admitted), false)),
            Err(NoBody::NoRoom) => return Some((Reply::busy(), false)),
            Err(NoBody::TooSlow | NoBody::Gone) => return None,
        };
        let places = if admitted.is_of_a_stranger() { &self.for_strangers } else { &self.for_known };
        let Some(_turn) = place(places, PLACE_WITHIN).await else { return Some((Reply::busy(), true)) };
        Some((self.api.perform(admitted, body.bytes.clone()).await, true))
    }
}

impl Host for ApiDesk {
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
        let _in_flight = self.house.attend();
        down.set_write_timeout(Some(self.house.limits().write_timeout));
        let (reply, is_read) = self.exchange(&mut down, from).await?;
        if let Some(cause) = &reply.cause {
            tracing::error!(status = reply.status, %cause, "the admin API could not do what it was asked");
        }
        // Closing on bytes that nobody read would reset the connection, and the answer could be lost.
        if !is_read && !body::drain(&mut down).await {
            down.set_keepalive(None);
        }
        let is_whole = write(&mut down, reply).await.is_ok();
        finish(down, is_whole, shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(h2_options(STREAMS_MAX))
    }
}

fn head(down: &ServerSession, client: Option<IpAddr>) -> Head {
    let head = down.req_header();
    let target = head.uri.path_and_query().map_or_else(|| head.uri.path().to_owned(), ToString::to_string);
    Head {
        method: head.method.clone(),
        target,
        headers: head.headers.clone(),
        // Whose address nobody knows are counted as one: those of a unix socket, and whom a proxy did not name.
        address: client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        now: SystemTime::now(),
    }
}

async fn write(down: &mut ServerSession, reply: Reply) -> pingora_core::Result<()> {
    let is_head = down.req_header().method == http::Method::HEAD;
    let has_body = !matches!(reply.status, 204 | 304);
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 1))?;
    for (name, value) in reply.headers {
        head.append_header(name, value)?;
    }
    if has_body {
        head.insert_header("content-length", reply.body.len())?;
    }
    down.write_response_header(Box::new(head)).await?;
    if is_head || !has_body {
        down.finish_body().await
    } else {
        down.write_response_body(reply.body, true).await
    }
}
