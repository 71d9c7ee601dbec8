//! Is the process well, and what does it count? Health and reload on one address, metrics on another. No tenant's
//! content is reachable here.

use crate::edge::Connection;
use crate::front::Host;
use crate::house::House;
use crate::server::{finish, read_head};
use bytes::Bytes;
use pingora_core::apps::ReusedHttpStream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A scrape or a probe says what it wants at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// One of the two desks.
pub(crate) struct Desk {
    house: Arc<House>,
    is_admin: bool,
}

struct Page {
    status: u16,
    kind: &'static str,
    body: Bytes,
}

impl Desk {
    pub(crate) fn admin(house: Arc<House>) -> Self {
        Self { house, is_admin: true }
    }

    pub(crate) fn metrics(house: Arc<House>) -> Self {
        Self { house, is_admin: false }
    }

    fn page(&self, method: &str, path: &str) -> Page {
        match (self.is_admin, method, path) {
            (_, "GET" | "HEAD", "/livez") => text(200, "ok\n"),
            (_, "GET" | "HEAD", "/readyz") if self.house.is_ready() => text(200, "ready\n"),
            (_, "GET" | "HEAD", "/readyz") => text(503, self.why_not_ready()),
            (true, "GET" | "HEAD", "/targets") => self.targets_page(),
            (true, "POST", "/reload") => {
                self.house.reload.notify_one();
                text(202, "the documents are being read again; the log says what became of it\n")
            }
            (false, "GET" | "HEAD", "/metrics") => self.metrics_page(),
            (true, _, _) => {
                text(404, "there are `GET /livez`, `GET /readyz`, `GET /targets` and `POST /reload` here\n")
            }
            (false, _, _) => text(404, "there are `GET /metrics`, `GET /livez` and `GET /readyz` here\n"),
        }
    }

    fn why_not_ready(&self) -> &'static str {
        if self.house.is_stopping() {
            "not ready: the process is stopping\n"
        } else if self.house.last_policy().is_none() {
            "not ready: no policy is loaded\n"
        } else {
            "not ready: nothing was heard of the policy for longer than `max_staleness`\n"
        }
    }

    /// How the targets are doing, and what is switched off for everyone.
    fn targets_page(&self) -> Page {
        let policy = self.house.last_policy();
        let switches = policy.iter().flat_map(|policy| policy.kill_switches());
        let switches: Vec<_> = switches
            .map(
                |switch| json!({"provider": switch.provider, "model": switch.model, "reason": switch.reason}),
            )
            .collect();
        let page = json!({"targets": self.house.health.rows(), "kill_switches": switches});
        Page { status: 200, kind: "application/json", body: Bytes::from(page.to_string()) }
    }

    fn metrics_page(&self) -> Page {
        let counts = self.house.spool.counts();
        let dropped = counts.dropped.total();
        self.house.metrics.spool_depth.set(i64::try_from(counts.depth).unwrap_or(i64::MAX));
        self.house.metrics.dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
        if let Some(policy) = self.house.last_policy() {
            self.house.metrics.targets(self.house.health.counts(&policy));
        }
        if let Some(age) = self.house.freshness.age() {
            self.house.metrics.policy_age.set(age.as_secs_f64());
        }
        self.house.metrics.issuers(self.house.issuers.counts());
        self.house.metrics.body_bytes.set(i64::try_from(self.house.bodies.bytes()).unwrap_or(i64::MAX));
        let body = Bytes::from(self.house.metrics.page());
        Page { status: 200, kind: "text/plain; version=0.0.4", body }
    }
}

fn text(status: u16, body: &'static str) -> Page {
    Page { status, kind: "text/plain; charset=utf-8", body: Bytes::from_static(body.as_bytes()) }
}

async fn write(down: &mut ServerSession, page: Page) -> pingora_core::Result<()> {
    let is_head = down.req_header().method == http::Method::HEAD;
    let mut head = ResponseHeader::build(page.status, Some(3))?;
    head.insert_header("content-type", page.kind)?;
    head.insert_header("content-length", page.body.len())?;
    head.insert_header("cache-control", "no-store")?;
    down.write_response_header(Box::new(head)).await?;
    if is_head { down.finish_body().await } else { down.write_response_body(page.body, true).await }
}

impl Host for Desk {
    async fn receive(
        &self,
        mut down: ServerSession,
        _: &Connection,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !read_head(&mut down, &self.house.metrics, shutdown, HEAD_TIMEOUT).await {
            return None;
        }
        let page = self.page(down.req_header().method.as_str(), down.req_header().uri.path());
        let is_whole = write(&mut down, page).await.is_ok();
        finish(down, is_whole, shutdown).await
    }
}
