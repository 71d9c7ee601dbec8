//! The provider double: what would a provider have answered, and what if it fails?
//!
//! Needs a listening socket and [`MockOptions`]. It speaks OpenAI's and Anthropic's dialects over its own small
//! HTTP/1.1, so that it can also break below HTTP: cut writes, missing ends, resets, silence. By default it
//! echoes the last user message, so that a caller reads exactly what left the proxy. It proves nothing about
//! content and is no gateway: no TLS, no HTTP/2, no authentication but a single optional key.
//!
//! | endpoint | answer |
//! |---|---|
//! | `POST /v1/chat/completions` | JSON or events: echo, filler, tool call, refusal, reasoning |
//! | `POST /v1/completions` | JSON or events |
//! | `POST /v1/embeddings` | floats or base64, the same for the same input |
//! | `POST /v1/messages` | JSON or events: echo, filler, tool use, refusal, signed thinking |
//! | `POST /v1/messages/count_tokens` | a quarter of the body's bytes |
//! | `GET /v1/models`, `GET /v1/models/{id}` | four names; any name that begins with `mock` exists |
//! | `GET /healthz` | `{"status":"ok"}` |
//! | `GET /__mock/requests`, `DELETE …` | the last 1000 requests; `DELETE` also resets `fail_times` |
//! | `GET /__mock/stats` | connections, requests, callers that left early |
//!
//! Paths tell the dialects apart, and `anthropic-version` where paths are the same; without that header,
//! Anthropic's endpoints answer an error, as theirs do.
//!
//! A request is controlled by its model name (`mock+chunk=3+delay=5ms`, or `mock@chunk:3@delay:5ms`), by
//! `x-mock-…` headers, which win, and below both by the options. The settings, from [`settings::SETTINGS`]:
//!
//! | setting | what happens |
//! |---|---|
//! | `status=429` | an error of this status (300 to 599, not 304) in the dialect's shape |
//! | `retry_after=2` | `retry-after` header, in seconds |
//! | `fail_times=2` | the faults strike K times, then all is well |
//! | `name=first` | the counter that `fail_times` counts on |
//! | `reset=connect\|header\|body:N` | RST: before, inside, or N bytes after the head |
//! | `close=100` | clean FIN after N body bytes, before the message's own end |
//! | `stall=header\|100` | send nothing more before the head, or after N body bytes |
//! | `error_event=3` | an error in the dialect's shape after N events, or as a whole document, under status 200 |
//! | `malformed` | broken JSON in the body, or in the middle event |
//! | `empty` | status 200 and no body |
//! | `content_type=text/html` | this content type, whatever the body is |
//! | `encoding=gzip` | this `content-encoding`, unasked; of `gzip` the body really is, of others it is not |
//! | `chunk=3` | characters per delta |
//! | `count=64` | content deltas, sharing the text evenly; wins over `chunk` |
//! | `delay=20ms` | pause between events; `0ms` makes each event its own write |
//! | `cut=17` | writes of exactly N bytes, through lines and characters |
//! | `crlf` | event lines end in CR LF |
//! | `comments` | an SSE comment before each event |
//! | `no_usage` | no `usage`, even when asked for |
//! | `no_done` | no `data: [DONE]`, no `message_stop` |
//! | `lane=content\|refusal\|reasoning\|tool` | which field carries the text |
//! | `bytes=1024` | an answer of N bytes of filler prose |
//! | `answer=hello%20there` | this answer, percent-encoded |
//! | `extra` | members and events that no reference knows, with the text in them |
//! | `stop=max_tokens` | claim this finish reason, or stop reason |
//! | `logprobs` | `logprobs` although the request did not ask |
//! | `usage=12/34` | claim these prompt and completion tokens |
//! | `cached=5/6` | claim these tokens as read from, and written to, a prompt cache |
//! | `slow_header=200` | wait before the head; milliseconds, or with a unit |
//!
//! The faults are `status`, `reset`, `close`, `stall`, `error_event`, `malformed`, `empty`, `content_type`,
//! `encoding` and `slow_header`; of `reset`, `close` and `stall` the last one named counts. With tools in the
//! request, the word `tool` in the last user message, or a `tool_choice` that demands it, makes a tool call.

mod answer;
mod anthropic;
mod ask;
mod chat;
mod chat_shape;
mod completions;
mod conversation;
mod embeddings;
mod failure;
mod faults;
mod http;
mod ledger;
mod messages;
mod messages_shape;
mod models;
mod openai;
mod routes;
mod script;
mod seed;
mod settings;
mod sse;
#[cfg(test)]
mod tests;
mod text;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use palisade_filters::Dialect;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use failure::Failure;
use faults::Ended;
use http::{Arrival, Connection, Request};
use ledger::Ledger;
use script::{ANSWER_BYTES_MAX, Script};

/// Wait after a failed accept. It usually means that file descriptors ran out, which only time mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// How the double answers when a request does not say.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MockOptions {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8089")]
    pub listen: SocketAddr,
    /// Answer with this text instead of echoing the last user message.
    #[arg(long, value_name = "TEXT")]
    pub answer: Option<String>,
    /// Answer with this many bytes of filler prose instead of echoing.
    #[arg(long, value_name = "BYTES", value_parser = answer_bytes)]
    pub answer_bytes: Option<usize>,
    /// Characters per streamed delta.
    #[arg(long, value_name = "CHARACTERS", default_value_t = ask::CHUNK_DEFAULT)]
    pub chunk: NonZeroUsize,
    /// Streamed deltas per answer, sharing the text evenly; wins over the characters.
    #[arg(long, value_name = "DELTAS")]
    pub count: Option<NonZeroUsize>,
    /// Pause between streamed events, such as `20ms` or `1.5s`.
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub delay: Option<Duration>,
    /// Settings for every request, such as `status=503+fail_times=3`; see the table of settings.
    #[arg(long, value_name = "SETTINGS")]
    pub script: Option<Script>,
    /// Seed of the ids in answers.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Refuse requests without this key: a bearer token, or with Anthropic `x-api-key`.
    #[arg(long, value_name = "KEY")]
    pub require_key: Option<String>,
    /// Keep the last 1000 requests for `GET /__mock/requests`; turn off when measuring.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub record: bool,
}

impl Default for MockOptions {
    fn default() -> Self {
        MockOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 8089)),
            answer: None,
            answer_bytes: None,
            chunk: ask::CHUNK_DEFAULT,
            count: None,
            delay: None,
            script: None,
            seed: 0,
            require_key: None,
            record: true,
        }
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    settings::duration(text).ok_or_else(|| format!("`{text}` is no time up to 60m: write `20ms` or `1.5s`"))
}

fn answer_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| *bytes <= ANSWER_BYTES_MAX);
    bytes.ok_or_else(|| format!("`{text}` is no number of bytes up to {ANSWER_BYTES_MAX}"))
}

/// Serves on this runtime until `stop`, then ends every open connection.
pub(crate) async fn serve(
    listener: TcpListener,
    options: MockOptions,
    stop: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    Double::new(options).serve(listener, stop).await
}

/// `palisade mock`: serves until the process is ended.
pub(crate) fn run(options: MockOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        // Scripts read the address from the first line, as the port may be a free one.
        writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
        std::io::stdout().flush()?;
        serve(listener, options, std::future::pending()).await
    })?;
    Ok(())
}

/// A double. Clones share records and counters, so several runtimes can serve as one.
#[derive(Clone)]
pub(crate) struct Double(Arc<Inside>);

struct Inside {
    script: Script,
    seed: u64,
    require_key: Option<String>,
    record: bool,
    ledger: Ledger,
}

impl Double {
    /// A double with nothing recorded.
    #[must_use]
    pub(crate) fn new(options: MockOptions) -> Self {
        let mut script = options.script.unwrap_or_default();
        script.answer = script.answer.or_else(|| options.answer.map(Arc::from));
        script.bytes = script.bytes.or(options.answer_bytes);
        script.chunk = script.chunk.or(Some(options.chunk));
        script.count = script.count.or(options.count);
        script.delay = script.delay.or(options.delay);
        Double(Arc::new(Inside {
            script,
            seed: options.seed,
            require_key: options.require_key,
            record: options.record,
            ledger: Ledger::default(),
        }))
    }

    /// Serves on this runtime until `stop`, then ends every open connection.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        let mut stop = pin!(stop);
        // Dropping the set, at the end, aborts what is still open.
        let mut connections = JoinSet::new();
        loop {
            let accepted = poll_fn(|task| match stop.as_mut().poll(task) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => listener.poll_accept(task).map(Some),
            });
            match accepted.await {
                None => return Ok(()),
                Some(Ok((stream, _))) => {
                    let double = self.clone();
                    connections.spawn(async move { double.attend(stream).await });
                }
                Some(Err(_)) => tokio::time::sleep(ACCEPT_RETRY).await,
            }
            // Finished connections are taken out one by one, or the set would grow for ever.
            while connections.try_join_next().is_some() {}
        }
    }

    async fn attend(&self, stream: TcpStream) {
        let _open = self.0.ledger.open();
        // A socket that refuses this is broken, and the first read will say so.
        let _ = stream.set_nodelay(true);
        let mut connection = Connection::new(stream);
        loop {
            let ended = match connection.next(self.0.record).await {
                Arrival::Request(request) => self.reply(&mut connection, &request).await,
                Arrival::Partial(request) => {
                    self.note_partial(&request);
                    Ended::CallerLeft
                }
                Arrival::Malformed(status, reason) => {
                    let failure = Failure::invalid(status, reason);
                    let answer = failure.answer(Dialect::default(), "req_none", &Script::default());
                    let (_, ended) = connection.deliver(answer, "req_none", false).await;
                    if ended == Ended::Whole { Ended::Cut } else { ended }
                }
                Arrival::Gone => Ended::CallerLeft,
            };
            match ended {
                Ended::Whole => {}
                Ended::Cut => return connection.farewell().await,
                Ended::Reset => return connection.reset(),
                Ended::CallerLeft => return,
            }
        }
    }

    async fn reply(&self, connection: &mut Connection, request: &Request) -> Ended {
        let ledger = &self.0.ledger;
        if let Some(answer) = routes::inspection(self, request) {
            let (_, ended) = connection.deliver(answer, "req_none", request.keep_alive).await;
            return closing(ended, request.keep_alive);
        }
        let stamp = routes::stamp(self, ledger.count());
        let record = self.0.record.then(|| ledger.record(request, true));
        let answer = routes::answer(self, request, stamp);
        let status = answer.status;
        let (bytes_sent, ended) = connection.deliver(answer, &stamp.id("req_"), request.keep_alive).await;
        if ended == Ended::CallerLeft {
            ledger.cancel();
        }
        if let Some(record) = record {
            ledger.conclude(record, Some(status), bytes_sent, ended);
        }
        closing(ended, request.keep_alive)
    }

    fn note_partial(&self, request: &Request) {
        let ledger = &self.0.ledger;
        ledger.count();
        ledger.cancel();
        if self.0.record {
            let record = ledger.record(request, false);
            ledger.conclude(record, None, 0, Ended::CallerLeft);
        }
    }

    fn admits(&self, key: Option<&str>) -> bool {
        self.0.require_key.as_deref().is_none_or(|required| key == Some(required))
    }

    fn script(&self) -> &Script {
        &self.0.script
    }

    fn seed(&self) -> u64 {
        self.0.seed
    }

    fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }
}

/// A whole answer on a connection that goes no further ends with our FIN.
fn closing(ended: Ended, keep_alive: bool) -> Ended {
    if ended == Ended::Whole && !keep_alive { Ended::Cut } else { ended }
}
