//! Do proxies elsewhere do what the control plane says, soon, and for as long as they may when it says nothing?

use super::effects::cut_off;
use super::{Badge, SQLITE, Site, chat, is, stream, until_answered};
use crate::commands::{err, out, run};
use crate::house::House;
use crate::http;
use crate::process::until;
use crate::processes::{PROMPT, SOON};
use palisade_control::feed::{Asked, Feed, Key, LIFETIME, NewEnrolment, TOKEN_LIFETIME, wire};
use palisade_control::resources::Actor;
use palisade_control::store::{MasterKey, Place, SqlitePlace, Store};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A store, and a feed of it.
pub(super) fn with_feed() -> String {
    format!("{SQLITE}[feed]\n")
}

/// A token that lets one proxy in, with the id of its enrolment.
pub(super) fn token(site: &Site, operator: &Badge, organisations: Option<&[&str]>) -> (String, String) {
    let asked = json!({ "name": "a proxy", "organisations": organisations });
    let made = is(site.post(operator, "/platform/enrolments", &asked), 201).json();
    (made["token"].as_str().unwrap().to_owned(), made["enrolment"]["id"].as_str().unwrap().to_owned())
}

/// `palisade enroll` on the folder of a proxy.
pub(super) fn enroll(site: &Site, proxy: &House, token: &str) -> Output {
    let (url, data) = (format!("https://{}", site.house.feed()), proxy.data());
    let arguments = ["enroll", "--data-dir", data.to_str().unwrap(), "--url", &url, "--token", token];
    run(proxy.folder.path(), &arguments)
}

/// A proxy that is let in and serves, with the id of its enrolment.
pub(super) fn let_in(
    site: &Site,
    operator: &Badge,
    organisations: Option<&[&str]>,
    config: &str,
) -> (House, String) {
    let mut proxy = House::prepared_as("proxy", config);
    let (token, id) = token(site, operator, organisations);
    let enrolled = enroll(site, &proxy, &token);
    assert!(enrolled.status.success(), "{}", err(&enrolled));
    proxy.launch();
    (proxy, id)
}

/// Waits until a proxy says of itself whether it is ready.
pub(super) fn until_ready(proxy: &House, status: u16) -> String {
    until(&format!("it is ready or not: {status}"), || {
        let said = http::get(proxy.admin, "/readyz");
        (said.status == status).then(|| said.text())
    })
}

/// Ends the control plane.
fn end(site: &mut Site) {
    site.house.stop();
}

/// Starts it anew where it was.
fn begin_again(site: &mut Site) {
    let feed = site.house.feed().to_string();
    site.house.set_flag("--feed-listen", &feed);
    site.house.launch();
}

/// What the feed answers whoever shows this identity, or no certificate.
pub(super) fn asked(
    site: &Site,
    authority: &Path,
    identity: Option<&Path>,
    path: &str,
    body: Option<&Value>,
) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"]);
    curl.arg("--cacert").arg(authority);
    if let Some(identity) = identity {
        curl.arg("--cert").arg(identity.join("certificate.pem")).arg("--key").arg(identity.join("key.pem"));
    }
    // More than an argument holds.
    let file = tempfile::NamedTempFile::new().unwrap();
    if let Some(body) = body {
        std::fs::write(file.path(), body.to_string()).unwrap();
        curl.args(["--header", "content-type: application/json", "--data-binary"]);
        curl.arg(format!("@{}", file.path().display()));
    }
    curl.arg(format!("https://{}/feed/v1/{path}", site.house.feed())).output().unwrap()
}

#[test]
fn a_change_holds_on_every_proxy_within_a_second() {
    let (site, operator, ann, (key, id)) = Site::furnished(&with_feed());
    let proxies = [(); 2].map(|()| let_in(&site, &operator, None, "").0);
    let (other, _) = site.key(&ann, "acme");
    for proxy in &proxies {
        until_ready(proxy, 200);
        until_answered(proxy, &key, 200);
        until_answered(proxy, &other, 200);
        assert!(!chat(proxy, &key).text().contains("4111"), "rules of the product hold there");
    }
    let mut ended = proxies.each_ref().map(|proxy| stream(proxy, &key));
    let mut going_on = proxies.each_ref().map(|proxy| stream(proxy, &other));
    is(site.patch(&ann, &format!("/orgs/acme/api-keys/{id}"), 1, &json!({ "enabled": false })), 200);
    let since = Instant::now();
    ended.iter_mut().for_each(cut_off);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    for (proxy, going_on) in proxies.iter().zip(&mut going_on) {
        assert_eq!(chat(proxy, &key).status, 401);
        assert!(going_on.0.chunk(&mut going_on.1), "another key's stream goes on");
    }
    is(site.call(&operator, "POST", "/orgs/acme/suspend", None), 204);
    let since = Instant::now();
    going_on.iter_mut().for_each(cut_off);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    is(site.call(&operator, "POST", "/orgs/acme/resume", None), 204);
    for proxy in &proxies {
        until_answered(proxy, &other, 200);
    }
}

#[test]
fn a_proxy_goes_on_and_starts_again_without_the_control_plane() {
    let (mut site, operator, ann, (key, _)) = Site::furnished(&with_feed());
    let (mut proxy, _) = let_in(&site, &operator, None, "");
    until_answered(&proxy, &key, 200);
    let (last, _) = site.key(&ann, "acme");
    until_answered(&proxy, &last, 200);
    // All that is in force is on the disk: a proxy whose process was killed knows it.
    until("what was heard is kept", || {
        let state = std::fs::metadata(proxy.data().join("state/position")).ok()?;
        let newest = std::fs::read_dir(proxy.data().join("state")).ok()?.filter_map(|file| {
            let file = file.ok()?;
            (file.file_name() != "lock").then(|| file.metadata().ok()?.modified().ok()).flatten()
        });
        (newest.max()? <= state.modified().ok()?).then_some(())
    });
    end(&mut site);
    assert_eq!(chat(&proxy, &last).status, 200);
    proxy.process.take().unwrap().crash();
    proxy.launch();
    until_ready(&proxy, 200);
    assert_eq!(chat(&proxy, &key).status, 200);
    until_answered(&proxy, &last, 200);
    // What somebody changed there is not believed.
    proxy.stop();
    let state = proxy.data().join("state/position");
    let mut text = std::fs::read(&state).unwrap();
    *text.last_mut().unwrap() ^= 1;
    std::fs::write(&state, text).unwrap();
    proxy.launch();
    assert!(until_ready(&proxy, 503).contains("no policy is loaded"));
    let refused = chat(&proxy, &key);
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("policy_unavailable")));
    begin_again(&mut site);
    until_ready(&proxy, 200);
    until_answered(&proxy, &key, 200);
    // And a change is heard of again.
    let (newest, _) = site.key(&ann, "acme");
    until_answered(&proxy, &newest, 200);
}

#[test]
fn an_organisation_that_was_deleted_meanwhile_does_not_come_back() {
    let (mut site, operator, _, (key, _)) = Site::furnished(&with_feed());
    let eve = site.admin_of(&operator, "other");
    let (others, _) = site.key(&eve, "other");
    let (mut proxy, _) = let_in(&site, &operator, None, "");
    until_answered(&proxy, &key, 200);
    until_answered(&proxy, &others, 200);
    until("what was heard is kept", || proxy.data().join("state/position").exists().then_some(()));
    proxy.stop();
    is(site.call(&operator, "POST", "/orgs/acme/suspend", None), 204);
    is(site.call(&operator, "DELETE", "/orgs/acme", None), 204);
    // What was kept before is of no use any more without that.
    std::fs::remove_file(proxy.data().join("state/position")).unwrap();
    proxy.launch();
    until_answered(&proxy, &others, 200);
    until("what was heard is kept", || proxy.data().join("state/position").exists().then_some(()));
    proxy.stop();
    end(&mut site);
    proxy.launch();
    until_answered(&proxy, &others, 200);
    assert_eq!(chat(&proxy, &key).status, 401);
}

#[test]
fn a_proxy_is_taken_over_without_a_moment_in_which_it_knows_nothing() {
    let (site, operator, _, (key, _)) = Site::furnished(&with_feed());
    let (mut proxy, _) = let_in(&site, &operator, None, "");
    until_answered(&proxy, &key, 200);
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = proxy.proxy;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                assert_eq!(http::ask(address, &http::chat(&key, PROMPT)).status, 200);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        until("applications are served", || (asked.load(Ordering::Relaxed) > 3).then_some(()));
        let mut before = proxy.upgrade();
        assert!(before.ended().success(), "{}", before.log());
        let so_far = asked.load(Ordering::Relaxed);
        until("they still are", || (asked.load(Ordering::Relaxed) > so_far + 3).then_some(()));
        is_over.store(true, Ordering::Release);
        asking.join().unwrap();
    });
}

#[test]
fn a_proxy_that_is_enrolled_anew_while_it_serves_goes_on_as_whom_it_became() {
    let (mut site, operator, ann, (key, _)) = Site::furnished(&with_feed());
    let (mut proxy, first) = let_in(&site, &operator, None, "max_staleness = \"5s\"\n");
    until_answered(&proxy, &key, 200);
    let (token, second) = token(&site, &operator, None);
    assert!(enroll(&site, &proxy, &token).status.success());
    until("it says so", || proxy.process.as_ref().unwrap().log().contains("enrolled anew").then_some(()));
    is(site.call(&operator, "DELETE", &format!("/platform/enrolments/{first}"), None), 204);
    let (newest, _) = site.key(&ann, "acme");
    until_answered(&proxy, &newest, 200);
    assert_ne!(first, second);
    // What it keeps is its own, and enough to start from.
    until("what was heard is kept", || proxy.data().join("state/position").exists().then_some(()));
    proxy.stop();
    end(&mut site);
    proxy.launch();
    until_answered(&proxy, &key, 200);
    assert!(!proxy.process.as_ref().unwrap().log().contains("what was kept is not used"));
}

#[test]
fn a_policy_of_which_nothing_is_heard_any_more_is_not_in_force_for_ever() {
    let (mut site, operator, _, (key, _)) = Site::furnished(&with_feed());
    let (proxy, _) = let_in(&site, &operator, None, "max_staleness = \"5s\"\n");
    until_answered(&proxy, &key, 200);
    end(&mut site);
    until_answered(&proxy, &key, 503);
    let refused = chat(&proxy, &key);
    assert_eq!(refused.json()["error"]["code"], "policy_unavailable");
    assert!(until_ready(&proxy, 503).contains("max_staleness"));
    let page = http::get(proxy.metrics, "/metrics").text();
    let age = page.lines().find_map(|line| line.strip_prefix("palisade_policy_age_seconds ")).unwrap();
    assert!(age.parse::<f64>().unwrap() > 5.0, "{age}");
    begin_again(&mut site);
    until_answered(&proxy, &key, 200);
    until_ready(&proxy, 200);
}

#[test]
fn a_proxy_that_is_withdrawn_serves_nobody_and_keeps_nothing() {
    let (site, operator, _, (key, _)) = Site::furnished(&with_feed());
    let (gone, id) = let_in(&site, &operator, None, "");
    let (stays, _) = let_in(&site, &operator, None, "");
    for proxy in [&gone, &stays] {
        until_answered(proxy, &key, 200);
    }
    until("it keeps something", || gone.data().join("state/position").exists().then_some(()));
    let mut open = stream(&gone, &key);
    is(site.call(&operator, "DELETE", &format!("/platform/enrolments/{id}"), None), 204);
    let since = Instant::now();
    cut_off(&mut open);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert_eq!(chat(&gone, &key).status, 503);
    assert_eq!(chat(&stays, &key).status, 200);
    until("it keeps nothing", || (!gone.data().join("state").exists()).then_some(()));
    // Its certificate is of no use to whoever took a copy, either.
    let identity = gone.data().join("identity");
    let told = out(&asked(&site, &identity.join("authority.pem"), Some(&identity), "end", None));
    assert!(told.ends_with("\n401") && told.contains("enroll this proxy again"), "{told}");
    // Nor is anything read that is brought with it.
    let much = json!({ "batches": [], "more": "x".repeat(512 << 10) });
    let told = out(&asked(&site, &identity.join("authority.pem"), Some(&identity), "usage", Some(&much)));
    assert!(told.ends_with("\n401"), "{told}");
    // Enrolled anew, it serves without a restart.
    let (token, _) = token(&site, &operator, None);
    assert!(enroll(&site, &gone, &token).status.success());
    until_answered(&gone, &key, 200);
}

#[test]
fn a_proxy_for_some_organisations_hears_of_no_other() {
    let (site, operator, _, (key, _)) = Site::furnished(&with_feed());
    let eve = site.admin_of(&operator, "other");
    let (others, _) = site.key(&eve, "other");
    let (proxy, _) = let_in(&site, &operator, Some(&["acme"]), "");
    until_ready(&proxy, 200);
    // It brings credentials of its own to what the platform provides; here none are asked for.
    until("acme's key is known", || (chat(&proxy, &key).status != 401).then_some(()));
    assert_eq!(chat(&proxy, &others).status, 401);
    let identity = proxy.data().join("identity");
    let authority = identity.join("authority.pem");
    let ask = |path, body: Option<&Value>| out(&asked(&site, &authority, Some(&identity), path, body));
    let owners = |owner: &str| json!({ "owners": [owner] });
    assert!(ask("read", Some(&owners("acme"))).ends_with("\n200"));
    for foreign in ["other", "nobody"] {
        let told = ask("read", Some(&owners(foreign)));
        assert!(told.ends_with("\n403"), "{told}");
    }
    let all = ask("organisations", None);
    assert!(all.contains("acme") && !all.contains("other"), "{all}");
    let platform = ask("read", Some(&owners("@platform")));
    assert!(platform.contains("double") && !platform.contains("sk-of-the-platform"), "{platform}");
    let counted = json!({ "batches": [{ "organisation": "other", "day": "2026-01-01", "writer": "w", "sequence": 1,
        "rows": [] }] });
    assert_eq!(ask("usage", Some(&counted)), "{\"settled\":[],\"refused\":[1]}\n200");
}

#[test]
fn nobody_is_answered_without_a_certificate_of_ours() {
    let (site, operator, _, _) = Site::furnished(&with_feed());
    let (proxy, _) = let_in(&site, &operator, None, "");
    let authority = proxy.data().join("identity/authority.pem");
    for path in ["end", "news?after=0", "organisations"] {
        let told = out(&asked(&site, &authority, None, path, None));
        assert!(told.ends_with("\n401") && told.contains("palisade enroll"), "{told}");
    }
    // What a stranger brings is small, and what a proxy brings is bounded.
    let identity = proxy.data().join("identity");
    let much = |bytes: usize| json!({ "token": "x".repeat(bytes), "public_key": "" });
    for (identity, path, bytes, said) in [
        (None, "enroll", 1 << 10, "\n401"),
        (None, "enroll", 5 << 10, "\n413"),
        (None, "usage", 1 << 10, "\n401"),
        (Some(&*identity), "read", 65 << 10, "\n413"),
        (Some(&*identity), "usage", 1 << 20, "\n413"),
        (Some(&*identity), "usage", 1 << 10, "\n422"),
    ] {
        let told = out(&asked(&site, &authority, identity, path, Some(&much(bytes))));
        assert!(told.ends_with(said), "{path} {bytes} {told}");
    }
    // Somebody else's proxy, of another installation.
    let (foreign, operator_there, _, _) = Site::furnished(&with_feed());
    let (stranger, _) = let_in(&foreign, &operator_there, None, "");
    let told = asked(&site, &authority, Some(&stranger.data().join("identity")), "end", None);
    assert!(!out(&told).ends_with("\n200") && !told.status.success(), "{}", out(&told));
    // And the other way round: a proxy speaks with no other control plane than its own.
    let told = asked(&site, &stranger.data().join("identity/authority.pem"), None, "end", None);
    assert!(!told.status.success());
}

#[test]
fn a_token_lets_one_proxy_in_once() {
    let (site, operator, _, _) = Site::furnished(&with_feed());
    let proxy = House::prepared_as("proxy", "");
    let (status, log) = proxy.fail();
    assert!(!status.success() && log.contains("run `palisade enroll"), "{log}");
    let (token, id) = token(&site, &operator, None);
    // A token of another authority: whoever answers is not believed, and does not see the token.
    let (foreign, operator_there, _, _) = Site::furnished(&with_feed());
    let (theirs, _) = self::token(&foreign, &operator_there, None);
    let told = enroll(&site, &proxy, &theirs);
    assert!(!told.status.success() && err(&told).contains("is not the control plane that the token is of"));
    for wrong in ["nonsense", "pal_enroll_platform_x_y", &token[..token.len() - 44]] {
        let told = enroll(&site, &proxy, wrong);
        assert!(!told.status.success() && err(&told).contains("copy it whole"), "{}", err(&told));
    }
    assert!(enroll(&site, &proxy, &token).status.success());
    let again = enroll(&site, &House::prepared_as("proxy", ""), &token);
    assert!(!again.status.success() && err(&again).contains("ask for another"), "{}", err(&again));
    let shown = is(site.get(&operator, &format!("/platform/enrolments/{id}")), 200).json();
    assert!(shown["certificate_expires"].is_u64() && shown["token_expires"].is_null(), "{shown}");
    // Only its owner reads the key.
    let mode = |path: &str| std::fs::metadata(proxy.data().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("identity"), mode("identity/key.pem")), (0o700, 0o600));
}

#[test]
fn what_a_proxy_elsewhere_served_is_counted_once() {
    let (site, operator, ann, (key, id)) = Site::furnished(&with_feed());
    let (mut proxy, _) = let_in(&site, &operator, None, "");
    until_answered(&proxy, &key, 200);
    let usage = || is(site.get(&ann, "/orgs/acme/usage?by=key"), 200).json();
    proxy.stop();
    let before = usage()["total"]["requests"].as_u64().unwrap();
    assert!(before >= 1);
    proxy.launch();
    until_answered(&proxy, &key, 200);
    assert_eq!(chat(&proxy, &key).status, 200);
    proxy.stop();
    let counted = usage();
    assert!(counted["total"]["requests"].as_u64().unwrap() >= before + 2, "{counted}");
    assert_eq!(counted["items"][0]["name"], json!(id), "{counted}");
}

#[test]
fn a_control_plane_without_a_data_plane_is_followed_too() {
    let house = {
        let mut house = House::prepared_as("control", &with_feed());
        house.launch();
        house
    };
    let site = Site::on(house);
    let operator = site.operator();
    site.provide(&operator);
    let ann = site.admin_of(&operator, "acme");
    let (key, _) = site.key(&ann, "acme");
    let (proxy, _) = let_in(&site, &operator, None, "");
    until_answered(&proxy, &key, 200);
    // What cannot go together is said.
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("palisade.toml");
    std::fs::write(&config, with_feed()).unwrap();
    let told = run(folder.path(), &["proxy", "--config", config.to_str().unwrap()]);
    assert!(!told.status.success() && err(&told).contains("has no `[store]`"), "{}", err(&told));
    std::fs::write(&config, "[feed]\n").unwrap();
    let told = run(folder.path(), &["serve", "--config", config.to_str().unwrap()]);
    assert!(!told.status.success() && err(&told).contains("there is no `[store]`"), "{}", err(&told));
}

/// Lets a proxy in as if that had been so long ago, over a store that nobody else has open.
fn let_in_before(site: &Site, proxy: &House, ago: Duration) -> String {
    let then = SystemTime::now() - ago;
    let data = site.house.data();
    let place = Place::Sqlite(SqlitePlace::new(data.join("store"), data.join("store-keys")));
    let digits = std::fs::read_to_string(data.join("secrets/master.key")).unwrap();
    let url = format!("https://{}", site.house.feed());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (key, enrolled) = runtime.block_on(async {
        let store = Arc::new(Store::open(place, MasterKey::new(digits.trim()).unwrap()).await.unwrap());
        let feed = Feed::open(store.clone(), then).await.unwrap();
        let new = NewEnrolment { name: "of old".to_owned(), organisations: None, lifetime: TOKEN_LIFETIME };
        let by = Actor { name: "operator".to_owned(), at: then };
        let (token, _) = feed.invite(&new, &by).await.unwrap();
        let key = Key::generate().unwrap();
        let body = json!({ "token": token.expose(), "public_key": key.public() }).to_string();
        let (path, body) = ("/feed/v1/enroll", body.as_bytes());
        let asked = Asked { method: "POST", path, query: "", certificate: None, body, now: then };
        let answer = feed.answer(&asked).await;
        drop(feed);
        Arc::into_inner(store).unwrap().close().await;
        (key, serde_json::from_slice::<wire::Enrolled>(&answer.body).unwrap())
    });
    let identity = proxy.data().join("identity");
    std::fs::create_dir_all(&identity).unwrap();
    let home =
        json!({ "url": url, "id": enrolled.id, "public_key": key.public(), "organisations": Value::Null });
    for (name, text) in [
        ("feed.json", home.to_string()),
        ("authority.pem", enrolled.authority),
        ("certificate.pem", enrolled.certificate),
        ("key.pem", key.pem().to_owned()),
    ] {
        std::fs::write(identity.join(name), text).unwrap();
    }
    enrolled.id
}

#[test]
fn a_certificate_is_renewed_past_two_thirds_of_its_life() {
    let (mut site, operator, _, (key, _)) = Site::furnished(&with_feed());
    end(&mut site);
    let mut proxy = House::prepared_as("proxy", "");
    let id = let_in_before(&site, &proxy, LIFETIME / 10 * 7);
    let certificate = proxy.data().join("identity/certificate.pem");
    let before = std::fs::read(&certificate).unwrap();
    begin_again(&mut site);
    proxy.launch();
    until_answered(&proxy, &key, 200);
    until("another certificate is there", || (std::fs::read(&certificate).unwrap() != before).then_some(()));
    let shown = is(site.get(&operator, &format!("/platform/enrolments/{id}")), 200).json();
    let expires = UNIX_EPOCH + Duration::from_secs(shown["certificate_expires"].as_u64().unwrap());
    assert!(expires > SystemTime::now() + LIFETIME * 2 / 3, "{shown}");
    // The new one is what it goes on with, and what it kept is still its own.
    proxy.stop();
    proxy.launch();
    until_answered(&proxy, &key, 200);
    let log = proxy.process.as_ref().unwrap().log();
    assert!(log.contains("is renewed") && !log.contains("what was kept is not used"), "{log}");
}
