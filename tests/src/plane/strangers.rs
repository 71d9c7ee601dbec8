//! Does a proxy that means it get in, whoever else comes to the feed's door, and does nobody stay there without a word?

use super::elsewhere::{asked, enroll, let_in, token, with_feed};
use super::{Badge, Site, until_answered};
use crate::commands::{err, out, run};
use crate::h2;
use crate::house::House;
use crate::http::{self, Connection};
use crate::process::until;
use palisade_control::feed::Key;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Handshakes that one address may have at the feed's door at once.
const HANDSHAKES_PER_ADDRESS: usize = 128;
/// No proxy shakes hands so often until it is served.
const FOR_THE_PROXY: usize = 8;

/// Who signs for the feed, as a proxy that was let in knows it.
fn authority(site: &Site, operator: &Badge, folder: &House) -> PathBuf {
    let (token, _) = token(site, operator, None);
    let enrolled = enroll(site, folder, &token);
    assert!(enrolled.status.success(), "{}", err(&enrolled));
    folder.data().join("identity/authority.pem")
}

/// A connection to the feed of somebody who shows no certificate.
fn stranger(site: &Site, authority: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let address = site.house.feed();
    let client = ClientConnection::new(config, address.ip().into()).unwrap();
    StreamOwned::new(client, Connection::open(address).stream)
}

/// Everything until the connection is closed.
fn rest(mut stream: StreamOwned<ClientConnection, TcpStream>) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        // Closed without a last word of TLS.
        Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) => {}
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&all)),
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn a_proxy_that_did_not_hear_that_it_was_let_in_asks_again() {
    let (site, operator, _, (key, _)) = Site::furnished(&with_feed());
    let mut proxy = House::prepared_as("proxy", "");
    let (token, _) = token(&site, &operator, None);
    // Nobody is there; the key is made and kept all the same.
    let data = proxy.data();
    let nowhere =
        ["enroll", "--data-dir", data.to_str().unwrap(), "--url", "https://127.0.0.1:1", "--token", &token];
    let told = run(proxy.folder.path(), &nowhere);
    assert!(!told.status.success() && err(&told).contains("nobody answers"), "{}", err(&told));
    // It is let in, and does not hear of it.
    let own = Key::read(&std::fs::read_to_string(data.join(".identity.new/key.pem")).unwrap()).unwrap();
    let friend = House::prepared_as("proxy", "");
    let authority = authority(&site, &operator, &friend);
    let body = json!({ "token": token, "public_key": own.public() });
    let lost = asked(&site, &authority, None, "enroll", Some(&body));
    assert!(out(&lost).ends_with("\n200"), "{} {}", out(&lost), err(&lost));
    let other = enroll(&site, &House::prepared_as("proxy", ""), &token);
    assert!(!other.status.success() && err(&other).contains("ask for another"), "{}", err(&other));
    let again = enroll(&site, &proxy, &token);
    assert!(again.status.success(), "{}", err(&again));
    assert!(!data.join(".identity.new").exists());
    proxy.launch();
    until_answered(&proxy, &key, 200);
}

#[test]
fn handshakes_that_are_not_finished_keep_nobody_out() {
    // Of these, none would end by itself.
    let config = format!("{}[limits]\nhandshake_timeout = \"10m\"\n", with_feed());
    let (site, operator, _, (key, _)) = Site::furnished(&config);
    let mut held: Vec<Connection> = Vec::new();
    for _ in 0..2 * HANDSHAKES_PER_ADDRESS {
        let mut connection = Connection::open(site.house.feed());
        connection.send(b"\x16\x03\x01\x02\x00\x01");
        held.push(connection);
    }
    let (proxy, _) = let_in(&site, &operator, None, "");
    until_answered(&proxy, &key, 200);
    // As many as there is no room for made some, and a few more for the proxy. Who comes at once begins in any order.
    for connection in &held {
        connection.stream.set_nonblocking(true).unwrap();
    }
    let is_open = |connection: &&Connection| {
        let nothing = connection.stream.peek(&mut [0]);
        nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let open = until("half of them made room", || {
        let open = held.iter().filter(is_open).count();
        (open <= HANDSHAKES_PER_ADDRESS).then_some(open)
    });
    assert!(open >= HANDSHAKES_PER_ADDRESS - FOR_THE_PROXY, "{open}");
    assert!(held.last().as_ref().is_some_and(is_open), "whoever came last stays");
    let page = http::get(site.house.metrics, "/metrics").text();
    assert!(
        page.contains("palisade_connections_turned_away_total{reason=\"unfinished_handshake\"} 1"),
        "{page}"
    );
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let config = format!("{}[limits]\nbody_timeout = \"100ms\"\n", with_feed());
    let (site, operator, _, _) = Site::furnished(&config);
    let folder = House::prepared_as("proxy", "");
    let authority = authority(&site, &operator, &folder);
    let mut half = stranger(&site, &authority);
    half.write_all(b"POST /feed/v1/enroll HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").unwrap();
    let told = rest(half);
    assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("too_slow"), "{told}");
    // The admin API closes: whoever is that slow may be nobody.
    let badge = operator.with("content-type", "application/json").with("content-length", "100");
    let mut half = Connection::open(site.house.api());
    half.send(&super::asked(&badge, "POST", "/api/v1/orgs", None));
    half.send(b"{");
    assert_eq!(half.answer().status, 0);
}

#[test]
fn connections_that_say_nothing_are_closed() {
    let config = format!("{}[limits]\nheader_timeout = \"100ms\"\n", with_feed());
    let (site, operator, _, _) = Site::furnished(&config);
    let folder = House::prepared_as("proxy", "");
    let authority = authority(&site, &operator, &folder);
    // Before a request, in the midst of its head, and after an answer.
    for begun in ["", "GET /feed/v1/end HT", "GET /feed/v1/end HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut quiet = stranger(&site, &authority);
        quiet.write_all(begun.as_bytes()).unwrap();
        quiet.flush().unwrap();
        let told = rest(quiet);
        assert_eq!(told.starts_with("HTTP/1.1 401 "), begun.ends_with("\r\n\r\n"), "{told}");
    }
    for begun in ["", "GET /api/v1/me HT"] {
        let mut quiet = Connection::open(site.house.api());
        quiet.send(begun.as_bytes());
        assert_eq!(quiet.answer().status, 0);
    }
    // HTTP/2 that asks nothing is told to go, and closed.
    let mut idle = h2::Client::open(site.house.api());
    while idle.frame() {}
    until("the connections are given back", || {
        let page = http::get(site.house.metrics, "/metrics").text();
        page.contains("palisade_api_connections 0\n").then_some(())
    });
}
