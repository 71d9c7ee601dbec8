//! Providers: the product's double as a process, and one that says exactly the bytes a test gives it.

use crate::http;
use crate::process::{Process, until};
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// `palisade mock`.
pub(crate) struct Double {
    _process: Process,
    pub(crate) address: SocketAddr,
}

/// A request as a provider received it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Received {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) done: bool,
    #[serde(default)]
    pub(crate) client_left: bool,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Double {
    /// Starts one; its log and its address come to `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut process = Process::start("mock", &["mock", "--listen", "127.0.0.1:0"], folder);
        let log = folder.join("mock.log");
        let address = process.until("the double says where it listens", || {
            let text = std::fs::read_to_string(&log).ok()?;
            let (line, _) = text.split_once('\n')?;
            Some(line.strip_prefix("http://").unwrap().parse().unwrap())
        });
        Self { _process: process, address }
    }

    /// What it received, oldest first.
    pub(crate) fn received(&self) -> Vec<Received> {
        #[derive(Deserialize)]
        struct Page {
            requests: Vec<Received>,
        }
        let page: Page = serde_json::from_slice(&http::get(self.address, "/__mock/requests").body).unwrap();
        page.requests
    }

    /// Forgets what it received.
    pub(crate) fn forget(&self) {
        let answer = http::ask(self.address, &http::request("DELETE", "/__mock/requests", &[], b""));
        assert_eq!(answer.status, 200);
    }

    /// Waits for a request like this.
    pub(crate) fn until(&self, what: &str, is_it: impl Fn(&Received) -> bool) -> Received {
        until(what, || self.received().into_iter().find(|received| is_it(received)))
    }
}

/// An answer that a provider gives, whatever it is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default = "json")]
    pub(crate) content_type: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// The connection breaks after this many bytes of the body.
    pub(crate) cut: Option<usize>,
}

fn ok() -> u16 {
    200
}

fn json() -> String {
    "application/json".to_owned()
}

impl Said {
    pub(crate) fn new(content_type: &str, body: &str) -> Self {
        let (content_type, body) = (content_type.to_owned(), body.to_owned());
        Self { status: 200, content_type, headers: BTreeMap::new(), body, cut: None }
    }
}

/// A provider that says what it is given, one answer a request.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    says: VecDeque<Said>,
    received: Vec<Received>,
}

impl Scripted {
    /// Listens on a free port until the test process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Mutex::new(Inside::default()));
        let shared = inside.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || attend(stream, &shared));
            }
        });
        Self { address, inside }
    }

    /// Forgets everything and will say these, in this order.
    pub(crate) fn prepare(&self, says: &[Said]) {
        let says = says.iter().cloned().collect();
        *self.inside.lock().unwrap() = Inside { says, received: Vec::new() };
    }

    /// What it received, oldest first.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.inside.lock().unwrap().received.clone()
    }
}

/// A provider that answers one request with a stream of this event, as often and as fast as it is read: whoever reads
/// never waits, for as long as the most bytes last.
pub(crate) fn flood(event: &str, bytes_max: usize) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let events = event.repeat(64 * 1024 / event.len());
    std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        hear(&mut reader);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("{:x}\r\n{events}\r\n", events.len());
        let mut sent = reader.get_mut().write_all(head.as_bytes());
        for _ in 0..bytes_max / chunk.len() {
            // Whoever asked leaves in the end.
            sent = sent.and_then(|()| reader.get_mut().write_all(chunk.as_bytes()));
        }
    });
    address
}

/// One request, one answer, and the connection's end: nothing of it outlives a scenario.
fn attend(stream: TcpStream, inside: &Mutex<Inside>) {
    let mut reader = BufReader::new(stream);
    let received = hear(&mut reader);
    let said = {
        let mut inside = inside.lock().unwrap();
        inside.received.push(received);
        inside.says.pop_front()
    };
    let said =
        said.unwrap_or_else(|| Said { status: 500, ..Said::new("text/plain", "no answer was prepared") });
    let mut out = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", said.status);
    out += &format!("content-type: {}\r\ncontent-length: {}\r\n", said.content_type, said.body.len());
    for (name, value) in &said.headers {
        out += &format!("{name}: {value}\r\n");
    }
    out += "\r\n";
    out += &said.body[..said.cut.unwrap_or(said.body.len())];
    // Whoever asked may have left.
    let _ = reader.get_mut().write_all(out.as_bytes());
}

/// Reads a request.
fn hear(reader: &mut BufReader<TcpStream>) -> Received {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut received = Received { headers, body: String::new(), done: true, client_left: false };
    let length = received.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    received.body = String::from_utf8(body).unwrap();
    received
}
