//! Who is at the other end? Clients behind proxies, certificates of both sides, unix sockets, and
//! strangers who guess: over real sockets, against the real process.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Connection};
use crate::keys::key;
use crate::process::{Process, until};
use crate::processes::{PROMPT, SOON, Site, site};
use crate::protocols::{STREAM, asked, curl};
use crate::provider::Double;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sha2::{Digest, Sha256};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;
use tempfile::TempDir;

/// A site whose peers, of this machine, are trusted to name their clients in this way.
fn behind(way: &str, more: &str) -> Site {
    site(&format!(
        "[proxy]\nlisten = \"127.0.0.1:0\"\nclient_address = \"{way}\"\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n{more}"
    ))
}

fn chat() -> Vec<u8> {
    http::chat(&key("acme").secret, PROMPT)
}

/// The address that the event of an answer names.
fn client_of(site: &Site, answer: &http::Answer) -> Option<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let event = site.house.event_of(answer);
    event.client_address.map(|address| address.to_string())
}

/// A number of the metrics page.
pub(crate) fn counted(house: &House, name: &str) -> u64 {
    let page = http::get(house.metrics, "/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

/// Waits until so many were turned away for this reason: a client sees its end before it is counted.
pub(crate) fn until_turned_away(house: &House, reason: &str, number: u64) {
    until("all are counted", || (turned_away(house, reason) == number).then_some(()));
}

/// How many connections were turned away for this reason.
pub(crate) fn turned_away(house: &House, reason: &str) -> u64 {
    counted(house, &format!("palisade_connections_turned_away_total{{reason=\"{reason}\"}}"))
}

#[test]
fn lines_of_a_header_are_one_list_in_their_order() {
    let site = behind("x_forwarded_for", "");
    let bearer = format!("Bearer {}", key("acme").secret);
    let ask = |lines: &[&str]| {
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(lines.iter().map(|line| ("x-forwarded-for", *line)));
        http::ask(
            site.house.proxy,
            &http::request("POST", "/v1/chat/completions", &headers, PROMPT.as_bytes()),
        )
    };
    for (lines, client) in [
        (&["198.51.100.1", "203.0.113.7", "10.1.1.1"][..], "203.0.113.7"),
        (&["127.0.0.1", "nonsense", "203.0.113.7, 10.1.1.1", "10.2.2.2"], "203.0.113.7"),
        (&["10.3.3.3"], "10.3.3.3"),
    ] {
        let answer = ask(lines);
        assert_eq!(client_of(&site, &answer).as_deref(), Some(client), "{lines:?}");
        assert_eq!(site.house.event_of(&answer).peer_address.unwrap().to_string(), "127.0.0.1");
    }
    let answer = ask(&["203.0.113.7", ""]);
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (400, Some("invalid_client_address"))
    );
    // A trusted proxy that names nobody leaves the client unknown: its own address proves nothing.
    let answer = ask(&[]);
    assert_eq!(client_of(&site, &answer), None);
}

/// A header of version 2: this command and family, over this block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend((block.len() as u16).to_be_bytes());
    header.extend(block);
    header
}

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 5 443\r\n";

/// 203.0.113.9 to 192.0.2.1.
fn v4() -> Vec<u8> {
    binary(0x21, 0x11, &[203, 0, 113, 9, 192, 0, 2, 1, 0, 5, 1, 187])
}

#[test]
fn the_proxy_protocol_names_the_client_of_a_connection() {
    let site = behind("proxy_protocol", "");
    for (header, client) in [
        (LINE.to_vec(), Some("203.0.113.7")),
        (b"PROXY TCP6 2001:db8::7 ::1 5 443\r\n".to_vec(), Some("2001:db8::7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (v4(), Some("203.0.113.9")),
        (binary(0x21, 0, b"whatever it is"), None),
        // A health check: the connection is the balancer's own.
        (binary(0x20, 0, &[]), Some("127.0.0.1")),
    ] {
        let mut client_side = Connection::open(site.house.proxy);
        client_side.send(&[header.as_slice(), &chat()].concat());
        for _ in 0..2 {
            let answer = client_side.answer();
            assert_eq!(client_of(&site, &answer).as_deref(), client, "{header:?}");
            client_side.send(&chat());
        }
    }
    // One byte at a time comes to the same.
    let mut client_side = Connection::open(site.house.proxy);
    for byte in v4() {
        client_side.send(&[byte]);
    }
    client_side.send(&chat());
    assert_eq!(client_of(&site, &client_side.answer()).as_deref(), Some("203.0.113.9"));
    let url = format!("http://{}", site.house.proxy);
    let (body, last) = asked(curl(&url, STREAM, &["--haproxy-protocol", "--http2-prior-knowledge"]));
    assert_eq!(last, "2 200", "{body}");
}

#[test]
fn a_connection_without_a_right_header_is_closed() {
    let site = behind("proxy_protocol", "[limits]\nhandshake_timeout = \"300ms\"");
    let said = |bytes: &[u8], is_over: bool| {
        let mut client = Connection::open(site.house.proxy);
        client.send(bytes);
        if is_over {
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        client.answer().status
    };
    for header in [LINE.to_vec(), v4()] {
        for end in 0..header.len() {
            assert_eq!(said(&header[..end], true), 0, "{end} of {header:?}");
        }
        assert_eq!(said(&[header.as_slice(), &chat()].concat(), false), 200, "the header is right");
    }
    let cases = [
        chat(),
        [LINE, LINE, &chat()].concat(),
        [b"PROXY TCP4 203.0.113.7 192.0.2.1 5 443\n".as_slice(), &chat()].concat(),
        [binary(0x21, 0x11, &[0; 600]), chat()].concat(),
        [binary(0x21, 0x11, &[0; 4]), chat()].concat(),
        [binary(0x31, 0x11, &[0; 12]), chat()].concat(),
        vec![b'P'; 600],
    ];
    for case in &cases {
        let status = said(case, false);
        // After a right header, a second one is what no request looks like.
        assert!(matches!(status, 0 | 400), "{status} for {case:?}");
    }
    until_turned_away(&site.house, "proxy_protocol", cases.len() as u64 - 1);
    let started = Instant::now();
    assert_eq!(said(&LINE[..9], false), 0);
    assert!(started.elapsed() < SOON, "a header that does not come is not waited for");
    // It, and every header that ended early.
    until_turned_away(&site.house, "unfinished_handshake", 1 + (LINE.len() + v4().len()) as u64);
}

#[test]
fn only_trusted_peers_speak_the_proxy_protocol() {
    let site = site(
        "[proxy]\nlisten = \"127.0.0.1:0\"\nclient_address = \"proxy_protocol\"\ntrusted_proxies = [\"192.0.2.1\"]",
    );
    for bytes in [[LINE, &chat()].concat(), chat()] {
        let mut client = Connection::open(site.house.proxy);
        client.send(&bytes);
        assert_eq!(client.answer().status, 0);
    }
    until_turned_away(&site.house, "untrusted_peer", 2);
}

/// An authority with the certificates that it made.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a certificate and its key, and gives the certificate's fingerprint.
    fn issue(&self, folder: &Path, file: &str, name: &str, hosts: &[&str]) -> String {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        write(folder, &format!("{file}.key"), &key.serialize_pem());
        write(folder, &format!("{file}.pem"), &made.pem());
        let sha256 = Sha256::digest(made.der());
        sha256.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// Puts a file in the place of the former in one step.
fn write(folder: &Path, name: &str, text: &str) {
    let beside = folder.join(format!(".{name}"));
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, folder.join(name)).unwrap();
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// A site that speaks TLS with a certificate of this authority, in `server.pem`.
fn encrypted(
    folder: &TempDir,
    authority: &Authority,
    tls: &str,
    more: &str,
    settings: &str,
) -> (House, Double) {
    authority.issue(folder.path(), "server", "palisade", &["127.0.0.1"]);
    write(folder.path(), "authority.pem", &authority.pem);
    let double = Double::start(folder.path());
    // What is appended is of the key, whose table is the last.
    let (id, text) = organisation("bound", "");
    let config = format!(
        "[proxy]\nlisten = \"127.0.0.1:0\"\n{more}\ntls = {{ certificate = \"{}\", key = \"{}\"{tls} }}",
        path(folder, "server.pem"),
        path(folder, "server.key"),
    );
    let house = House::start(&Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![organisation("acme", ""), (id, text + settings)],
        config,
    });
    (house, double)
}

/// What `curl` gets with these flags.
fn fetched(house: &House, folder: &TempDir, more: &[&str], who: &str) -> Output {
    let url = format!("https://{}/v1/chat/completions", house.proxy);
    Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--cacert", &path(folder, "authority.pem")])
        .args(["--header", "content-type: application/json"])
        .args(["--header", &format!("authorization: Bearer {}", key(who).secret)])
        .args(["--data-binary", PROMPT])
        .args(more)
        .arg(url)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_client_certificate_is_required_recorded_and_can_be_bound_to_a_key() {
    let folder = TempDir::new().unwrap();
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let one = authority.issue(folder.path(), "one", "team one", &[]);
    authority.issue(folder.path(), "two", "team two", &[]);
    stranger.issue(folder.path(), "three", "team three", &[]);
    let ca = format!(", client_ca = \"{}\"", path(&folder, "authority.pem"));
    let bound = format!("client_certificate = \"{one}\"");
    let (mut house, _double) = encrypted(&folder, &authority, &ca, "", &bound);
    let with = |name: &str| {
        [
            "--cert".to_owned(),
            path(&folder, &format!("{name}.pem")),
            "--key".to_owned(),
            path(&folder, &format!("{name}.key")),
        ]
    };
    let ask = |who: &str, name: &str| {
        let flags = with(name);
        fetched(&house, &folder, &flags.each_ref().map(String::as_str), who)
    };
    assert!(!fetched(&house, &folder, &[], "acme").status.success(), "no certificate, no connection");
    assert!(!ask("acme", "three").status.success(), "another authority's is none");
    until_turned_away(&house, "tls", 2);
    for (who, name) in [("acme", "one"), ("acme", "two"), ("bound", "one")] {
        assert!(
            text(&ask(who, name)).contains("[CREDIT_CARD]"),
            "{who} with {name}: {}",
            text(&ask(who, name))
        );
    }
    let refused = text(&ask("bound", "two"));
    assert!(refused.contains("certificate_required"), "{refused}");
    house.stop();
    let (events, _) = house.events();
    let shown: Vec<String> =
        events.iter().map(|event| event.client_certificate.as_ref().unwrap().subject.to_string()).collect();
    assert_eq!(shown, ["CN=team one", "CN=team two", "CN=team one", "CN=team two"]);
    assert_eq!(*events[0].client_certificate.as_ref().unwrap().fingerprint, *one);
    assert_eq!(events[3].refusal.as_ref().unwrap().code, "certificate_required");
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let folder = TempDir::new().unwrap();
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let one = authority.issue(folder.path(), "one", "team one", &[]);
    stranger.issue(folder.path(), "three", "team three", &[]);
    let ca =
        format!(", client_ca = \"{}\", client_certificates = \"optional\"", path(&folder, "authority.pem"));
    let (house, _double) =
        encrypted(&folder, &authority, &ca, "", &format!("client_certificate = \"{one}\""));
    assert!(text(&fetched(&house, &folder, &[], "acme")).contains("[CREDIT_CARD]"));
    assert!(text(&fetched(&house, &folder, &[], "bound")).contains("certificate_required"));
    let wrong = ["--cert", &path(&folder, "three.pem"), "--key", &path(&folder, "three.key")];
    assert!(!fetched(&house, &folder, &wrong, "acme").status.success());
}

#[test]
fn the_proxy_protocol_comes_before_tls() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("ours");
    let more = "client_address = \"proxy_protocol\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let (house, _double) = encrypted(&folder, &authority, "", more, "");
    for protocol in ["--http1.1", "--http2"] {
        let answer = fetched(&house, &folder, &["--haproxy-protocol", protocol], "acme");
        assert!(text(&answer).contains("[CREDIT_CARD]"), "{}", text(&answer));
    }
    assert!(!fetched(&house, &folder, &[], "acme").status.success());
}

#[test]
fn certificates_are_renewed_without_a_restart() {
    let folder = TempDir::new().unwrap();
    let first = Authority::new("first");
    let (mut house, _double) = encrypted(&folder, &first, "", "", "");
    assert!(fetched(&house, &folder, &[], "acme").status.success());
    // A certificate whose key has not come yet is not used, nor is something that is none.
    write(folder.path(), "server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let process = house.process.as_mut().unwrap();
    let log = process.until("it is said", || {
        Some(std::fs::read_to_string(house.folder.path().join("serve.log")).unwrap())
            .filter(|log| log.contains("are not used"))
    });
    assert_eq!(log.matches("are not used").count(), 1);
    assert!(fetched(&house, &folder, &[], "acme").status.success(), "the last good one stays");
    let second = Authority::new("second");
    second.issue(folder.path(), "server", "palisade", &["127.0.0.1"]);
    write(folder.path(), "authority.pem", &second.pem);
    until("the new one is shown", || fetched(&house, &folder, &[], "acme").status.success().then_some(()));
    write(folder.path(), "authority.pem", &first.pem);
    assert!(!fetched(&house, &folder, &[], "acme").status.success(), "the old one is gone");
    house.stop();
}

/// An installation on a unix socket in a folder.
fn on_unix(folder: &TempDir, double: &Double, proxy: &str) -> Plan {
    Plan {
        platform: provider("double", double.address, "mock*", ""),
        organisations: vec![
            organisation("acme", ""),
            organisation("narrow", "ip_allowlist = [\"203.0.113.0/24\"]"),
        ],
        config: format!("[proxy]\nlisten = \"unix:{}\"\n{proxy}", path(folder, "proxy.sock")),
    }
}

fn over_unix(folder: &TempDir, who: &str, more: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--unix-socket", &path(folder, "proxy.sock")])
        .args(["--header", "content-type: application/json"])
        .args(["--header", &format!("authorization: Bearer {}", key(who).secret)])
        .args(["--data-binary", PROMPT])
        .args(more)
        .arg("http://palisade/v1/chat/completions")
        .output()
        .unwrap();
    text(&output)
}

#[test]
fn a_unix_socket_is_served_kept_and_removed() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let mut house = House::start(&on_unix(&folder, &double, "mode = \"0600\""));
    let socket = folder.path().join("proxy.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        assert!(over_unix(&folder, "acme", &[protocol]).contains("[CREDIT_CARD]"));
    }
    // Nobody knows from where: a list of addresses admits nobody, whatever a header says.
    let refused = over_unix(&folder, "narrow", &["--header", "x-forwarded-for: 203.0.113.7"]);
    assert!(refused.contains("ip_not_allowed") && refused.contains("client_address"), "{refused}");
    // A second process does not take a living one's place.
    let mut second = start_elsewhere(&house, "second");
    assert!(!second.ended().success());
    assert!(second.log().contains("is another process there?"), "{}", second.log());
    assert!(over_unix(&folder, "acme", &[]).contains("[CREDIT_CARD]"));
    // What a crash leaves behind is replaced, and what is stopped leaves nothing.
    house.process.take().unwrap().crash();
    assert!(socket.exists());
    house.launch();
    assert!(over_unix(&folder, "acme", &[]).contains("[CREDIT_CARD]"));
    house.stop();
    assert!(!socket.exists());
    // A file of somebody's is not ours to remove.
    std::fs::write(&socket, "precious").unwrap();
    let mut third = start_elsewhere(&house, "third");
    assert!(!third.ended().success());
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

/// The same process again, with a data folder of its own.
fn start_elsewhere(house: &House, name: &str) -> Process {
    let (data, elsewhere) = (house.data(), house.folder.path().join(name));
    let arguments: Vec<&str> = house
        .arguments
        .iter()
        .map(|argument| if Path::new(argument) == data { elsewhere.to_str().unwrap() } else { argument })
        .collect();
    Process::start(name, &arguments, house.folder.path())
}

#[test]
fn a_trusted_process_of_this_machine_names_its_clients() {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let way = "client_address = \"x_forwarded_for\"\ntrusted_proxies = [\"unix\"]";
    let mut house = House::start(&on_unix(&folder, &double, way));
    let from =
        |address: &str| over_unix(&folder, "narrow", &["--header", &format!("x-forwarded-for: {address}")]);
    assert!(from("203.0.113.7").contains("[CREDIT_CARD]"));
    assert!(from("203.0.113.7, 198.51.100.1").contains("ip_not_allowed"));
    assert!(from("unknown").contains("invalid_client_address"));
    house.stop();
    let (events, _) = house.events();
    assert_eq!(events[0].client_address.unwrap().to_string(), "203.0.113.7");
}

#[test]
fn who_guesses_keys_is_told_to_wait_and_their_neighbour_is_not() {
    let mut site = site("[limits]\nbad_keys_per_minute = 3");
    let guess =
        |n: usize| http::ask(site.house.proxy, &http::chat(&key(&format!("guess {n}")).secret, PROMPT));
    let statuses: Vec<u16> = (0..6).map(|n| guess(n).status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    let refused = guess(9);
    assert_eq!(refused.json()["error"]["code"], "too_many_bad_keys");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    // Behind the same address: a right key passes, and no key at all is no guess.
    assert_eq!(site.house.chat("acme", PROMPT).status, 200);
    let nobody =
        http::request("POST", "/v1/chat/completions", &[("content-type", "application/json")], b"{}");
    assert_eq!(http::ask(site.house.proxy, &nobody).status, 401);
    let refusals = "palisade_refusals_total{code=\"too_many_bad_keys\",stage=\"tenant\"}";
    assert_eq!(counted(&site.house, refusals), 4);
    site.house.stop();
    assert_eq!(site.house.events().0.len(), 1, "strangers leave no events");
}
