//! Issuers of JWTs that are really asked: a server that publishes keys, takes them back, fails, and lies, and a process
//! that follows it.

use crate::house::{House, Plan, organisation, provider};
use crate::http::{self, Connection, Told};
use crate::issuer::{Published, Signer, key_set};
use crate::process::until;
use crate::processes::{ENDLESS, PROMPT, SOON};
use crate::provider::Double;
use palisade_audit::event::{Channel, Ended};
use serde_json::{Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": "palisade", "sub": "ada@acme.example", "exp": now() + 600, "jti": "7"})
}

/// A process that follows an issuer, with a double behind it.
struct Site {
    house: House,
    double: Double,
    folder: TempDir,
}

/// An organisation that believes an issuer.
fn believing(id: &str, issuer: &str, settings: &str) -> String {
    let text = organisation(id, "").1;
    format!("{text}\n[[jwt_issuers]]\nissuer = \"{issuer}\"\naudience = \"palisade\"\n{settings}\n")
}

fn site(published: &Published, platform: &str, organisations: Vec<(String, String)>) -> Site {
    let folder = TempDir::new().unwrap();
    let double = Double::start(folder.path());
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, &published.authority).unwrap();
    let platform = format!("{platform}\n{}", provider("double", double.address, "mock*", ""));
    // Whoever waits for keys asks again and again.
    let config = "[limits]\nbad_keys_per_minute = 100000\n".to_owned();
    let plan = Plan { platform, organisations, config };
    let house = House::start_trusting(&plan, &authority);
    Site { house, double, folder }
}

/// A site with one organisation, whose issuer is in our own network and may be.
fn of(published: &Published, settings: &str) -> Site {
    let platform = format!("[jwt]\nprivate_hosts = [\"{}\"]\n", published.address);
    let text = believing("acme", &published.issuer(), settings);
    site(published, &platform, vec![("acme".to_owned(), text)])
}

impl Site {
    fn status(&self, token: &str) -> u16 {
        http::ask(self.house.proxy, &http::chat(token, PROMPT)).status
    }

    fn until_status(&self, token: &str, status: u16) {
        until("the issuer's keys are in force", || (self.status(token) == status).then_some(()));
    }

    fn log(&self) -> String {
        self.house.process.as_ref().unwrap().log()
    }

    fn until_keys_are(&self, state: &str) {
        until("the issuer's keys are counted", || {
            let page = http::get(self.house.metrics, "/metrics").text();
            page.contains(&format!("palisade_issuer_keys{{state=\"{state}\"}} 1")).then_some(())
        });
    }
}

fn keys_at(published: &Published) -> String {
    format!("jwks_url = \"https://{}/keys\"", published.address)
}

#[test]
fn a_jwt_is_as_good_as_a_key_from_the_first_request_on() {
    let signer = Signer::rsa("one");
    let published = Published::start("");
    // What an issuer says of itself, and its keys, in one document.
    let mut page: Value = serde_json::from_str(&key_set(&[&signer])).unwrap();
    page["issuer"] = published.issuer().into();
    page["jwks_uri"] = format!("https://{}/keys", published.address).into();
    published.say(200, "cache-control: max-age=300\r\n", &page.to_string());
    let settings = "discovery = true\nchannel = \"interactive\"\ngroups_claim = \"groups\"\n\
                    group_map = { a = \"staff\" }\n[[groups]]\nname = \"staff\"\n";
    let mut site = of(&published, settings);
    assert_eq!(published.asked(), ["/realm/.well-known/openid-configuration", "/keys"]);
    let mut claims = claims(&published.issuer());
    claims["groups"] = json!(["a", "b"]);
    let token = signer.token(&claims);
    for _ in 0..2 {
        let answer = http::ask(site.house.proxy, &http::chat(&token, PROMPT));
        assert_eq!(
            (answer.status, answer.text().contains("[CREDIT_CARD]")),
            (200, true),
            "{}",
            answer.text()
        );
        let event = site.house.event_of(&answer);
        let jwt = event.jwt.as_ref().unwrap();
        assert_eq!((&*jwt.issuer, event.organisation.as_deref()), (&*published.issuer(), Some("acme")));
        assert_eq!(
            (event.key_id.as_deref(), &*event.groups[0], event.channel),
            (None, "staff", Channel::Interactive)
        );
        assert!(jwt.id.is_some() && !serde_json::to_string(&event).unwrap().contains("ada@"));
    }
    let in_header = |name: &str, scheme: &str| {
        let headers = [(name, &*format!("{scheme}{token}")), ("content-type", "application/json")];
        http::ask(
            site.house.proxy,
            &http::request("POST", "/v1/chat/completions", &headers, PROMPT.as_bytes()),
        )
        .status
    };
    for (name, scheme) in [("x-api-key", ""), ("api-key", ""), ("authorization", "bearer ")] {
        assert_eq!(in_header(name, scheme), 200, "{name}");
    }
    assert_eq!(in_header("authorization", "JWT "), 401);
    let received = site.double.received();
    assert!(received.iter().all(|request| request.headers.iter().all(|(_, value)| !value.contains(&token))));
    let forged = Signer::p256("one").token(&claims);
    let refused = http::ask(site.house.proxy, &http::chat(&forged, PROMPT));
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &"invalid_api_key".into()));
    site.until_keys_are("fresh");
    let log = site.log();
    site.house.stop();
    for part in token.split('.') {
        assert!(!log.contains(part), "no part of a JWT is in the log");
    }
}

/// A stream under way with this credential.
fn begun(site: &Site, token: &str) -> (Connection, http::Answer) {
    begin(site, token).unwrap()
}

/// The same, or the status that it was refused with.
fn begin(site: &Site, token: &str) -> Result<(Connection, http::Answer), u16> {
    let mut client = Connection::open(site.house.proxy);
    client.send(&http::chat(token, ENDLESS));
    let mut answer = client.head();
    if answer.status != 200 {
        return Err(answer.status);
    }
    client.chunk(&mut answer);
    Ok((client, answer))
}

/// Reads a stream to its end, which must be that the credential ended.
fn ends(site: &Site, (mut client, mut answer): (Connection, http::Answer)) {
    while client.chunk(&mut answer) {}
    let told = Told::read(&answer.body);
    assert!(answer.is_whole && told.has_error && !told.is_done, "{}", answer.text());
    assert!(answer.text().contains("invalid_api_key"));
    site.double.until("the double is left", |received| received.client_left);
    assert_eq!(site.house.event_of(&answer).answer.unwrap().ended, Some(Ended::Revoked));
}

#[test]
fn a_key_that_an_issuer_takes_back_ends_its_streams() {
    let (old, new) = (Signer::p256("old"), Signer::ed25519("new"));
    let published = Published::start(&key_set(&[&old]));
    let site = of(&published, &keys_at(&published));
    let (before, after) = (old.token(&claims(&published.issuer())), new.token(&claims(&published.issuer())));
    let stream = begun(&site, &before);
    published.say(200, "", &key_set(&[&new]));
    // Somebody with a key that is not known makes the issuer be asked; requests do not wait for it.
    site.until_status(&after, 200);
    let changed = Instant::now();
    ends(&site, stream);
    assert!(changed.elapsed() < SOON, "it took {:?}", changed.elapsed());
    assert_eq!(site.status(&before), 401);
    let asked = published.asked().len();
    for n in 0..50 {
        assert_eq!(
            site.status(&Signer::p256(&format!("unknown {n}")).token(&claims(&published.issuer()))),
            401
        );
    }
    assert_eq!(published.asked().len(), asked, "it is asked once a minute at most");
}

#[test]
fn what_an_admin_takes_back_ends_streams_within_a_second() {
    let signer = Signer::p256("one");
    let published = Published::start(&key_set(&[&signer]));
    let believing = believing("acme", &published.issuer(), &keys_at(&published));
    let site = of(&published, &keys_at(&published));
    let token = signer.token(&claims(&published.issuer()));
    for document in [organisation("acme", "").1, believing.replacen("id =", "suspended = true\nid =", 1)] {
        site.house.write("acme", &believing);
        site.until_status(&token, 200);
        let stream = begun(&site, &token);
        let changed = Instant::now();
        site.house.write("acme", &document);
        ends(&site, stream);
        assert!(changed.elapsed() < SOON, "it took {:?}", changed.elapsed());
        assert_eq!(site.status(&token), 401);
    }
}

#[test]
fn a_jwt_that_is_over_ends_its_streams() {
    let signer = Signer::p256("one");
    let published = Published::start(&key_set(&[&signer]));
    let site = of(&published, &format!("{}\nleeway = \"0s\"", keys_at(&published)));
    // A busy machine may take as long for the beginning alone.
    let (token, stream) = until("a stream begins before its JWT is over", || {
        let mut claims = claims(&published.issuer());
        claims["exp"] = (now() + 3).into();
        let token = signer.token(&claims);
        begin(&site, &token).ok().map(|stream| (token, stream))
    });
    ends(&site, stream);
    assert_eq!(site.status(&token), 401);
}

#[test]
fn an_issuer_that_is_dead_holds_up_nobody_and_keeps_its_last_keys() {
    let (signer, unknown) = (Signer::p256("one"), Signer::p256("two"));
    let published = Published::start("");
    published.say(503, "", "down for maintenance");
    let site = of(&published, &keys_at(&published));
    let token = signer.token(&claims(&published.issuer()));
    assert_eq!(site.house.chat("acme", PROMPT).status, 200, "keys go on");
    assert_eq!(site.status(&token), 401);
    site.until_keys_are("none");
    published.say(200, "", &key_set(&[&signer]));
    site.until_status(&token, 200);
    site.until_keys_are("fresh");
    published.say(200, "", "{\"keys\": \"gone\"}");
    assert_eq!(site.status(&unknown.token(&claims(&published.issuer()))), 401);
    site.until_keys_are("kept");
    assert_eq!(site.status(&token), 200);
    assert!(site.log().contains("it has no list `keys`"), "{}", site.log());
}

#[test]
fn nothing_but_keys_from_where_they_may_be_is_believed() {
    let signer = Signer::p256("one");
    let keys = key_set(&[&signer]);
    let (published, stranger) = (Published::start(&keys), Published::start(&keys));
    let good = format!("https://{}/good", published.address);
    for (path, status, head, body) in [
        ("/redirect", 302, format!("location: {good}\r\n"), keys.clone()),
        ("/large", 200, String::new(), format!("{keys}{}", " ".repeat(600_000))),
        ("/coded", 200, "content-encoding: gzip\r\n".to_owned(), keys.clone()),
        ("/page", 200, "content-type: text/html\r\n".to_owned(), "<html>sign in</html>".to_owned()),
        ("/head", 200, format!("x-padding: {}\r\n", "a".repeat(1 << 20)), keys.clone()),
    ] {
        published.say_at(path, status, &head, &body);
    }
    let at = |path: &str| format!("jwks_url = \"https://{}{path}\"", published.address);
    let places = [
        ("redirect", at("/redirect")),
        ("large", at("/large")),
        ("coded", at("/coded")),
        ("page", at("/page")),
        ("head", at("/head")),
        ("stranger", keys_at(&stranger)),
        ("another", "discovery = true".to_owned()),
        ("good", at("/good")),
    ];
    let named = |id: &str| format!("https://{}/{id}", published.address);
    let organisations =
        places.iter().map(|(id, settings)| ((*id).to_owned(), believing(id, &named(id), settings))).collect();
    published.say_at(
        "/another/.well-known/openid-configuration",
        200,
        "",
        &format!("{{\"issuer\":\"https://{}/good\",\"jwks_uri\":\"{good}\"}}", published.address),
    );
    let platform = format!("[jwt]\nprivate_hosts = [\"{}\", \"{}\"]\n", published.address, stranger.address);
    let site = site(&published, &platform, organisations);
    for (id, _) in places {
        let token = signer.token(&claims(&named(id)));
        assert_eq!(site.status(&token), if id == "good" { 200 } else { 401 }, "{id}: {}", site.log());
    }
    let log = site.log();
    for said in [
        "status 302",
        "larger than",
        "content-encoding",
        "no JSON object",
        "cannot be fetched",
        "another one",
        "in force",
    ] {
        assert!(log.contains(said), "`{said}` is not in the log:\n{log}");
    }
}

#[test]
fn our_own_network_is_not_asked_whatever_it_is_called() {
    let signer = Signer::p256("one");
    let (gate, inside) = (Published::start(""), Published::start(&key_set(&[&signer])));
    let port = inside.address.port();
    let mut places: Vec<String> = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
        "[fe80::1]",
    ]
    .map(|host| format!("https://{host}:{port}/keys"))
    .into();
    let named = |id: &str| format!("https://login.example/{id}");
    let mut organisations: Vec<(String, String)> = places
        .iter()
        .enumerate()
        .map(|(n, place)| (format!("org{n}"), format!("jwks_url = \"{place}\"")))
        .map(|(id, settings)| (id.clone(), believing(&id, &named(&id), &settings)))
        .collect();
    // Who is listed may be asked, but not what it sends us to.
    gate.say(200, "", &json!({"issuer": gate.issuer(), "jwks_uri": places[0]}).to_string());
    organisations.push(("sent".to_owned(), believing("sent", &gate.issuer(), "discovery = true")));
    places.push(format!("{}/.well-known/openid-configuration", gate.issuer()));
    let platform = format!("[jwt]\nprivate_hosts = [\"{}\"]\n", gate.address);
    let site = site(&gate, &platform, organisations);
    for place in places {
        until(&format!("{place} is refused"), || {
            let is_it = |line: &str| line.contains(&place) && line.contains("jwt.private_hosts");
            site.log().lines().any(is_it).then_some(())
        });
    }
    for issuer in [named("org0"), gate.issuer()] {
        assert_eq!(site.status(&signer.token(&claims(&issuer))), 401);
    }
    assert!(inside.asked().is_empty() && !gate.asked().is_empty(), "{:?}", inside.asked());
}

#[test]
fn an_issuer_that_never_answers_is_not_waited_for() {
    let signer = Signer::p256("one");
    let published = Published::start(&key_set(&[&signer]));
    published.be_silent_at("/silent");
    let at = |path: &str| format!("jwks_url = \"https://{}{path}\"", published.address);
    let organisations = [("silent", at("/silent")), ("good", at("/keys"))].map(|(id, settings)| {
        let issuer = format!("https://{}/{id}", published.address);
        (id.to_owned(), believing(id, &issuer, &settings))
    });
    let platform = format!("[jwt]\nprivate_hosts = [\"{}\"]\n", published.address);
    let site = site(&published, &platform, organisations.into());
    let token = |id: &str| signer.token(&claims(&format!("https://{}/{id}", published.address)));
    assert_eq!((site.status(&token("good")), site.status(&token("silent"))), (200, 401));
    let said = |text: &str| until("it is said", || site.log().contains(text).then_some(()));
    said("some issuers of JWTs did not answer yet");
    said("it did not come within 10 s");
    assert_eq!(site.house.chat("silent", PROMPT).status, 200, "its keys go on");
}

#[test]
fn keys_in_a_file_are_the_ones_that_are_there() {
    let (old, new) = (Signer::p256("key"), Signer::p256("key"));
    let published = Published::start("");
    let site = of(&published, "jwks_file = \"lists/acme/keys.json\"");
    let [before, after] = [&old, &new].map(|signer| signer.token(&claims(&published.issuer())));
    assert_eq!(site.status(&before), 401);
    assert!(
        site.log().contains("`jwks_file`: `lists/acme/keys.json`: there is no such file"),
        "{}",
        site.log()
    );
    let put = |signer: &Signer| {
        let beside = site.folder.path().join("beside");
        std::fs::write(&beside, key_set(&[signer])).unwrap();
        std::fs::create_dir_all(site.house.data().join("lists/acme")).unwrap();
        std::fs::rename(&beside, site.house.data().join("lists/acme/keys.json")).unwrap();
    };
    put(&old);
    site.until_status(&before, 200);
    let stream = begun(&site, &before);
    put(&new);
    ends(&site, stream);
    assert_eq!((site.status(&before), site.status(&after)), (401, 200));
    assert!(published.asked().is_empty());
}
