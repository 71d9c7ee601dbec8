//! What does a stream cost that rests? Thousands at once, over HTTP/1.1 and HTTP/2, and the memory of each.
//!
//! Needs a [`Site`] and root, or a hard limit of descriptors of twice the streams. Proves that each stream has begun
//! and is open when memory is read, that a fresh request is answered beside them, that the process is at rest again
//! after they left, and that no event is lost. The double stops in the middle of every answer, so that both sides wait.

use crate::corpus::{self, Reply};
use crate::process;
use crate::report;
use crate::site::{Side, Site};
use bytes::Bytes;
use std::any::Any;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Streams on one connection of HTTP/2: what servers usually allow.
const STREAMS_A_CONNECTION: usize = 100;
/// Descriptors that are no stream's.
const DESCRIPTORS_BESIDE: usize = 300;
/// Streams that begin at once: a backlog of connections is shorter than all of them.
const BEGIN_AT_ONCE: usize = 64;
/// A stream that has not begun by now will not.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// The process is at rest below this share of what it had before.
const REST: f64 = 1.2;
/// And has so long to get there.
const REST_MAX: Duration = Duration::from_mins(2);

/// What each stream has had before it rests: what it is called, the double's model, and the bytes that are waited for.
const STATES: [(&str, &str, usize); 2] = [
    ("its first event", "mock@bytes:4096@count:64@stall:600", 1),
    ("64 KiB in one burst", "mock@bytes:262144@count:256@stall:70000", 60_000),
];

/// How many.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Streams that are open at once.
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// Only rows whose side and protocol contain this, such as `whole path, HTTP/2`.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The binary to measure; unless given, the `palisade` beside this one.
    #[arg(long, value_name = "FILE")]
    palisade: Option<PathBuf>,
}

/// A stream that is held open: the connection, or its half of one.
type Held = Box<dyn Any>;

/// One row of the record.
struct Row {
    side: &'static str,
    protocol: &'static str,
    state: &'static str,
    open: usize,
    before_kib: u64,
    during_kib: u64,
    beside: Duration,
    rest: Option<Duration>,
}

/// Holds streams, and writes the record.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> io::Result<String> {
    let beside = std::env::current_exe()?.with_file_name("palisade");
    let is_wanted = |side: &Side, protocol: &str| {
        options.only.as_ref().is_none_or(|only| format!("{}, {protocol}", side.name).contains(only))
    };
    // A proxy has two descriptors of a stream, or one beside a share of one.
    let is_2 = options.only.as_ref().is_some_and(|only| only.contains("HTTP/2"));
    let each =
        if is_2 { options.streams + options.streams / STREAMS_A_CONNECTION } else { options.streams * 2 };
    raise_descriptors(std::process::id(), each + DESCRIPTORS_BESIDE)?;
    let site = Site::open(options.palisade.as_ref().unwrap_or(&beside), false).await?;
    let mut rows = Vec::new();
    for (side, protocols) in [(&site.bare, &["HTTP/1.1"][..]), (&site.whole, &["HTTP/1.1", "HTTP/2"][..])] {
        for protocol in protocols.iter().filter(|protocol| is_wanted(side, protocol)) {
            for (state, model, bytes) in STATES {
                rows.push(row(&site, side, protocol, (state, model, bytes), options.streams).await?);
                site.ship_events()?;
            }
        }
    }
    Ok(record(options, &rows, site.events_lost().await?))
}

/// Lets a process, and those it starts, open so many files.
fn raise_descriptors(id: u32, limit: usize) -> io::Result<()> {
    let mut command = Command::new("prlimit");
    let status = command
        .args(["--pid", &id.to_string(), &format!("--nofile={limit}:{limit}")])
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{limit} descriptors are needed; run as root or raise `ulimit -Hn`")))
    }
}

async fn row(
    site: &Site,
    side: &Side,
    protocol: &'static str,
    (state, model, bytes): (&'static str, &str, usize),
    streams: usize,
) -> io::Result<Row> {
    let id = side.process.id();
    let before = process::memory(id)?.resident_kib;
    let body =
        format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#);
    let mut held: Vec<Held> = Vec::with_capacity(streams);
    let mut connection = None;
    while held.len() < streams {
        let first = held.len();
        let many = BEGIN_AT_ONCE.min(streams - first);
        if protocol == "HTTP/2" && first / STREAMS_A_CONNECTION != (first + many) / STREAMS_A_CONNECTION {
            connection = None;
        }
        if protocol == "HTTP/2" && connection.is_none() {
            connection = Some(connect(side).await?);
        }
        let begun = (0..many).map(|_| begin(site, side, connection.clone(), &body, bytes));
        let begun = tokio::time::timeout(BEGIN_MAX, futures::future::try_join_all(begun)).await;
        held.extend(begun.map_err(|_| io::Error::other("streams do not begin"))??);
    }
    let during = process::memory(id)?.resident_kib;
    let asked = Instant::now();
    let fresh = site.shot(side, &corpus::body(2048, 0, Reply::Document), Reply::Document).once().await;
    fresh.map_err(|wrong| io::Error::other(format!("a fresh request beside them: {wrong}")))?;
    let beside = asked.elapsed();
    let open = held.len();
    drop(held);
    drop(connection);
    let rest = rest(id, before).await?;
    Ok(Row { side: side.name, protocol, state, open, before_kib: before, during_kib: during, beside, rest })
}

async fn connect(side: &Side) -> io::Result<h2::client::SendRequest<Bytes>> {
    let stream = TcpStream::connect(side.address).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 28);
    let (client, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(client)
}

async fn begin(
    site: &Site,
    side: &Side,
    connection: Option<h2::client::SendRequest<Bytes>>,
    body: &str,
    bytes: usize,
) -> io::Result<Held> {
    match connection {
        None => begin_1(site, side, body, bytes).await,
        Some(client) => begin_2(site, side, client, body, bytes).await,
    }
}

async fn begin_1(site: &Site, side: &Side, body: &str, bytes: usize) -> io::Result<Held> {
    let mut stream = TcpStream::connect(side.address).await?;
    let key = site.key();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        side.address,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let (mut read, mut part) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let count = stream.read(&mut part).await?;
        read.extend_from_slice(part.get(..count).unwrap_or_default());
        let has_begun = read.starts_with(b"HTTP/1.1 200");
        if count == 0 || (read.len() > 12 && !has_begun) {
            return Err(io::Error::other(String::from_utf8_lossy(&read).into_owned()));
        }
        let head = memchr::memmem::find(&read, b"\r\n\r\n");
        if head.is_some_and(|head| read.len() >= head + 4 + bytes) {
            return Ok(Box::new(stream));
        }
    }
}

async fn begin_2(
    site: &Site,
    side: &Side,
    client: h2::client::SendRequest<Bytes>,
    body: &str,
    bytes: usize,
) -> io::Result<Held> {
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("http://{}/v1/chat/completions", side.address))
        .header("authorization", format!("Bearer {}", site.key()))
        .header("content-type", "application/json")
        .body(())
        .map_err(io::Error::other)?;
    let mut client = client.ready().await.map_err(io::Error::other)?;
    let (answer, mut sending) = client.send_request(request, false).map_err(io::Error::other)?;
    sending.send_data(Bytes::from(body.to_owned()), true).map_err(io::Error::other)?;
    let answer = answer.await.map_err(io::Error::other)?;
    if answer.status() != 200 {
        return Err(io::Error::other(format!("status {}", answer.status())));
    }
    let (mut stream, mut read) = (answer.into_body(), 0);
    while read < bytes {
        let part = stream.data().await.ok_or_else(|| io::Error::other("a stream ended"))?;
        let part = part.map_err(io::Error::other)?;
        read += part.len();
        stream.flow_control().release_capacity(part.len()).map_err(io::Error::other)?;
    }
    Ok(Box::new(stream))
}

/// How long the process takes to get to rest.
async fn rest(id: u32, before_kib: u64) -> io::Result<Option<Duration>> {
    let left = Instant::now();
    while left.elapsed() < REST_MAX {
        if (process::memory(id)?.resident_kib as f64) < before_kib as f64 * REST {
            return Ok(Some(left.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(None)
}

fn record(options: &Options, rows: &[Row], lost: u64) -> String {
    let mut out = report::title("Streams at rest");
    let _ = writeln!(
        out,
        "{} at once, all policies on, one worker. Each stream rests after what the row says; memory is what the process \
         has then, less what it had before, by streams. *Beside*: how long a fresh request of 2 KiB takes meanwhile. \
         *At rest*: when the process has less than {REST} × of what it had before.\n\n\
         | side | protocol | rests after | open | before, MiB | with, MiB | KiB a stream | beside, ms | at rest, s |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|",
        options.streams
    );
    for row in rows {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            row.side,
            row.protocol,
            row.state,
            row.open,
            mib(row.before_kib),
            mib(row.during_kib),
            row.during_kib.saturating_sub(row.before_kib) as f64 / row.open.max(1) as f64,
            row.beside.as_secs_f64() * 1e3,
            row.rest.map_or_else(
                || format!("**not in {} s**", REST_MAX.as_secs()),
                |rest| { format!("{:.1}", rest.as_secs_f64()) }
            ),
        );
    }
    let _ = writeln!(out, "\nEvents lost: {lost}.");
    out
}
