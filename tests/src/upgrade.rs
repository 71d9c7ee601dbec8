//! A new process in the place of an old one, under load: no connection refused, no request lost, no event twice.

use crate::drain::rewrite;
use crate::http::{self, Answer, Connection, Told};
use crate::keys::key;
use crate::process::{PATIENCE, until};
use crate::processes::{ENDLESS, PROMPT, site};
use palisade_audit::event::Ended;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;

const STREAM: &str = r#"{"model":"mock@bytes:300@chunk:8@delay:5ms","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// What the clients saw.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    answered: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn judge(&self, what: &str, is_right: impl FnOnce(&Answer) -> bool, answer: &Answer) {
        if answer.is_whole && answer.status == 200 && is_right(answer) {
            self.answered.fetch_add(1, Ordering::SeqCst);
        } else {
            self.wrong.lock().unwrap().push(format!("{what}: {} {}", answer.status, answer.text()));
        }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Waits until so many more were answered.
    fn more(&self, answers: usize) {
        let before = self.answered.load(Ordering::SeqCst);
        until("more requests are answered", || {
            (self.answered.load(Ordering::SeqCst) >= before + answers).then_some(())
        });
    }
}

fn is_redacted(answer: &Answer) -> bool {
    answer.json()["choices"][0]["message"]["content"] == "one two [CREDIT_CARD]"
}

/// Opens a connection for each request.
fn open_anew(proxy: SocketAddr, seen: &Seen) {
    let request = http::chat(&key("acme").secret, PROMPT);
    while seen.goes_on() {
        match Connection::try_open(proxy) {
            Some(mut connection) => {
                connection.send(&request);
                seen.judge("a new connection", is_redacted, &connection.answer());
            }
            None => seen.wrong.lock().unwrap().push("a connection was refused".to_owned()),
        }
    }
}

/// Keeps its connection for as long as it is told to.
fn keep_open(proxy: SocketAddr, seen: &Seen) {
    let request = http::chat(&key("acme").secret, PROMPT);
    let mut kept = None;
    while seen.goes_on() {
        let mut connection = kept.take().unwrap_or_else(|| Connection::open(proxy));
        connection.send(&request);
        let answer = connection.answer();
        seen.judge("a kept connection", is_redacted, &answer);
        kept = (answer.header("connection") != Some("close")).then_some(connection);
    }
}

fn stream(proxy: SocketAddr, seen: &Seen) {
    let request = http::chat(&key("acme").secret, STREAM);
    while seen.goes_on() {
        let answer = http::ask(proxy, &request);
        let is_right = |answer: &Answer| {
            let told = Told::read(&answer.body);
            told.is_done && told.lane("0.content").len() == 300
        };
        seen.judge("a stream", is_right, &answer);
    }
}

#[test]
fn two_upgrades_under_load_lose_nothing() {
    let mut site = site("drain_grace = \"1s\"\nworkers = 2");
    let (proxy, admin) = (site.house.proxy, site.house.admin);
    let seen = Seen::default();
    std::thread::scope(|scope| {
        let clients: [fn(SocketAddr, &Seen); 5] = [open_anew, open_anew, keep_open, keep_open, stream];
        let seen = &seen;
        for client in clients {
            scope.spawn(move || client(proxy, seen));
        }
        seen.more(20);
        // Another number of workers: sockets are shared out anew, and none is left without one who accepts.
        for workers in [1, 3] {
            rewrite(site.house.folder.path(), &format!("drain_grace = \"1s\"\nworkers = {workers}"));
            let mut old = site.house.upgrade();
            assert_eq!((site.house.proxy, site.house.admin), (proxy, admin));
            let status = old.ended();
            assert!(status.success(), "{status}: {}", old.log());
            seen.more(20);
        }
        seen.is_over.store(true, Ordering::SeqCst);
    });
    let wrong = seen.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {:?}: {}", wrong.len(), seen.answered, wrong.join("\n"));
    site.house.stop();
    let (events, damages) = site.house.events();
    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), events.len(), damages), (seen.answered.load(Ordering::SeqCst), ids.len(), 0));
}

#[test]
fn a_stream_goes_on_where_it_began_while_the_new_process_serves() {
    let mut site = site("drain_grace = \"0s\"\ndrain_timeout = \"30s\"");
    let mut long = Connection::open(site.house.proxy);
    long.send(&http::chat(&key("acme").secret, ENDLESS));
    let mut answer = long.head();
    assert!(long.chunk(&mut answer));
    let mut old = site.house.upgrade();
    // Its own process is asked no more, and yet it goes on.
    assert_eq!(site.house.chat("acme", PROMPT).status, 200);
    for _ in 0..5 {
        assert!(long.chunk(&mut answer));
    }
    old.terminate();
    while long.chunk(&mut answer) {}
    assert!(answer.is_whole && answer.text().contains("\"stopping\""), "{}", answer.text());
    assert!(old.ended().success());
    site.house.stop();
    let (events, _) = site.house.events();
    let mut ended: Vec<_> = events.iter().map(|event| event.answer.unwrap().ended.unwrap()).collect();
    ended.sort_by_key(|ended| *ended == Ended::Stopped);
    assert_eq!(ended, [Ended::Complete, Ended::Stopped]);
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let mut site = site("");
    let broken = [
        "[limits]\nbody_bytes = \"a lot\"",
        "[proxy]\nlisten = \"127.0.0.1:0\"\ntls = { certificate = \"nowhere.pem\", key = \"nowhere.pem\" }",
    ];
    for broken in broken {
        rewrite(site.house.folder.path(), broken);
        let mut new = site.house.successor();
        let status = new.ended();
        assert!(!status.success(), "{status}: {}", new.log());
        assert_eq!(site.house.chat("acme", PROMPT).status, 200);
        assert_eq!(http::get(site.house.admin, "/readyz").status, 200);
    }
    rewrite(site.house.folder.path(), "");
    let mut old = site.house.upgrade();
    assert!(old.ended().success());
    assert_eq!(site.house.chat("acme", PROMPT).status, 200);
    site.house.stop();
    // With nobody there it says what to do.
    let mut new = site.house.successor();
    assert!(!new.ended().success());
    assert!(new.log().contains("leave out `--upgrade`"), "{}", new.log());
    assert_eq!(site.house.events().0.len(), 3);
}

#[test]
fn a_signal_is_enough_to_be_replaced() {
    let mut site = site("");
    let mut old = site.house.process.take().unwrap();
    let ready = site.house.folder.path().join("ready.json");
    let process = || {
        let ready: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&ready).ok()?).unwrap();
        ready["process"].as_i64()
    };
    let first = process().unwrap();
    old.signal(rustix::process::Signal::USR2);
    let second = until("another process serves", || process().filter(|process| *process != first));
    assert!(old.ended().success(), "{}", old.log());
    assert_eq!(site.house.chat("acme", PROMPT).status, 200);
    // It is nobody's child any more, so its end is seen by its door.
    let second = rustix::process::Pid::from_raw(i32::try_from(second).unwrap()).unwrap();
    rustix::process::kill_process(second, rustix::process::Signal::TERM).unwrap();
    until("it is gone", || Connection::try_open(site.house.admin).is_none().then_some(()));
    until("its event is written", || (site.house.events().0.len() == 1).then_some(()));
}

/// What a unix socket answers: everything, to the connection's end.
fn over_unix(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let bearer = format!("Bearer {}", key("acme").secret);
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("connection", "close")];
    stream.write_all(&http::request("POST", "/v1/chat/completions", &headers, PROMPT.as_bytes()))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The configuration with the proxy on a unix socket.
fn on_unix(socket: &Path, more: &str) -> String {
    format!("workers = 2\n{more}\n[proxy]\nlisten = \"unix:{}\"\nmode = \"0600\"\n", socket.display())
}

#[test]
fn a_unix_socket_is_handed_over_without_a_gap() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("proxy.sock");
    let mut site = site(&on_unix(&socket, "drain_grace = \"1s\""));
    let inode = || std::fs::symlink_metadata(&socket).unwrap().ino();
    let first = inode();
    let seen = Seen::default();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while seen.goes_on() {
                    match over_unix(&socket) {
                        Ok(answer)
                            if answer.starts_with("HTTP/1.1 200") && answer.contains("[CREDIT_CARD]") =>
                        {
                            seen.answered.fetch_add(1, Ordering::SeqCst);
                        }
                        other => seen.wrong.lock().unwrap().push(format!("{other:?}")),
                    }
                }
            });
        }
        seen.more(10);
        for _ in 0..2 {
            let mut old = site.house.upgrade();
            assert!(old.ended().success(), "{}", old.log());
            assert_eq!(inode(), first, "the file is the same one throughout");
            seen.more(10);
        }
        seen.is_over.store(true, Ordering::SeqCst);
    });
    let (wrong, answered) = (seen.wrong.into_inner().unwrap(), seen.answered.into_inner());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    site.house.stop();
    assert!(!socket.exists(), "the last one takes it along");
    assert_eq!(site.house.events().0.len(), answered);
}

#[test]
fn a_successor_that_fails_leaves_a_unix_socket_where_it_is() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("proxy.sock");
    let mut site = site(&on_unix(&socket, ""));
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    // By then it has been handed the socket of the proxy.
    let arguments = site.house.arguments.clone();
    let flag = arguments.iter().position(|argument| argument == "--admin-listen").unwrap();
    site.house.arguments[flag + 1] = taken.local_addr().unwrap().to_string();
    let mut new = site.house.successor();
    assert!(!new.ended().success(), "{}", new.log());
    assert!(new.log().contains("is another process there?"), "{}", new.log());
    assert!(over_unix(&socket).unwrap().contains("[CREDIT_CARD]"));
    site.house.arguments = arguments;
    let mut old = site.house.upgrade();
    assert!(old.ended().success());
    assert!(over_unix(&socket).unwrap().contains("[CREDIT_CARD]"));
    site.house.stop();
}

#[test]
fn a_unix_socket_that_is_listened_on_no_more_is_removed() {
    let folder = TempDir::new().unwrap();
    let [before, after] = ["before.sock", "after.sock"].map(|name| folder.path().join(name));
    let mut site = site(&on_unix(&before, ""));
    rewrite(site.house.folder.path(), &on_unix(&after, "drain_grace = \"0s\""));
    let mut old = site.house.upgrade();
    assert!(old.ended().success(), "{}", old.log());
    assert!(over_unix(&after).unwrap().contains("[CREDIT_CARD]"));
    assert!(!before.exists(), "nobody listens there");
    site.house.stop();
    assert!(!after.exists());
}

#[test]
fn sockets_that_systemd_opened_are_used() {
    let mut site = site("");
    site.house.stop();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&listener);
    // The number of the process is known once there is one.
    let moved = if number == 3 { String::new() } else { format!("exec 3<&{number} {number}<&-;") };
    let script = format!("{moved} LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"");
    let mut process = site.house.by_script(&script, address);
    // A client that was there before the process did is served.
    let mut early = TcpStream::connect(address).unwrap();
    drop(listener);
    early.write_all(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut first = [0; 12];
    match early.read_exact(&mut first) {
        Ok(()) => assert_eq!(&first, b"HTTP/1.1 401"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nobody answers: {}", process.log()),
        Err(error) => panic!("{error}: {}", process.log()),
    }
    process.terminate();
    assert!(process.ended().success());
}
