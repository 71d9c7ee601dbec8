//! Is a proxy let in once, told what it may see and nothing else, and told nothing any more once it may not?

use crate::api::{Desk, at};
use crate::resources::SCANNER;
use crate::world::{World, document, id, organisation};
use data_encoding::BASE64;
use palisade_control::feed::{
    Answer, Asked, Feed, FeedError, Key, LIFETIME, NewEnrolment, PATIENCE_MAX, pin_of, wire,
};
use palisade_control::folder::Folder;
use palisade_control::follow::{Follower, News, Origin, OriginError, Reading};
use palisade_control::resources::Actor;
use palisade_control::store::{Kind, OrganisationId, Owner, Resources, Store};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod bounds;

on_both! {
    a_token_lets_one_proxy_in_once
    who_did_not_hear_that_they_were_let_in_asks_again
    a_proxy_sees_what_it_was_let_in_for
    a_proxy_that_is_withdrawn_hears_nothing_more_even_if_it_waits
    a_namesake_is_not_seen_by_the_proxy_of_the_organisation_before
    certificates_end_and_are_renewed
    following_the_feed_is_following_the_store
    the_api_lets_proxies_in_and_shows_no_token_twice
}

/// A feed over a store with two organisations and a provider.
struct Room {
    store: Arc<Store>,
    feed: Arc<Feed>,
    _world: World,
}

/// A proxy, as far as the feed knows it.
#[derive(Clone)]
struct Proxy {
    feed: Arc<Feed>,
    id: String,
    certificate: [u8; 32],
    now: SystemTime,
}

fn by() -> Actor {
    Actor { name: "ann".to_owned(), at: at(0) }
}

async fn put(resources: Resources<'_>, kind: &str, name: &str, value: Value) {
    let (kind, name) = (Kind::new(kind).unwrap(), id(name));
    let expected = resources.get(&kind, &name).await.unwrap().map(|found| found.version);
    resources.put(&kind, &name, expected, document(&value.to_string())).await.unwrap();
}

impl Room {
    async fn new(world: World) -> Self {
        let store = Arc::new(world.open().await);
        for name in ["acme", "beta"] {
            store.create_organisation(&organisation(name)).await.unwrap();
        }
        let provider =
            json!({ "base_url": "https://a.example", "models": ["*"], "api_key": { "value": "sk-stored" } });
        put(store.platform(), "providers", "p", provider).await;
        let feed = Arc::new(Feed::open(store.clone(), at(0)).await.unwrap());
        Self { store, feed, _world: world }
    }

    async fn token(&self, organisations: Option<&[&str]>) -> String {
        let organisations = organisations.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
        let new = NewEnrolment { name: "edge".to_owned(), organisations, lifetime: Duration::from_hours(1) };
        self.feed.invite(&new, &by()).await.unwrap().0.expose().to_owned()
    }

    async fn enroll(&self, token: &str, now: SystemTime) -> Answer {
        self.enroll_for(&public_key(), token, now).await
    }

    async fn enroll_for(&self, public_key: &str, token: &str, now: SystemTime) -> Answer {
        let asked = json!({ "token": token, "public_key": public_key });
        ask(&self.feed, None, "POST", "enroll", &asked, now).await
    }

    async fn proxy(&self, organisations: Option<&[&str]>) -> Proxy {
        let token = self.token(organisations).await;
        let enrolled: wire::Enrolled = answer(&self.enroll(&token, at(0)).await).unwrap();
        let certificate = fingerprint(&enrolled.certificate);
        Proxy { feed: self.feed.clone(), id: enrolled.id, certificate, now: at(0) }
    }
}

fn public_key() -> String {
    Key::generate().unwrap().public().to_owned()
}

/// SHA-256 of what stands in a certificate in PEM.
fn fingerprint(pem: &str) -> [u8; 32] {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Sha256::digest(BASE64.decode(text.as_bytes()).unwrap()).into()
}

async fn ask(
    feed: &Feed,
    certificate: Option<[u8; 32]>,
    method: &str,
    target: &str,
    body: &Value,
    now: SystemTime,
) -> Answer {
    let target = format!("/feed/v1/{target}");
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let body = body.to_string();
    feed.answer(&Asked { method, path, query, certificate, body: body.as_bytes(), now }).await
}

fn answer<T: DeserializeOwned>(answer: &Answer) -> Result<T, (u16, String)> {
    if answer.status == 200 {
        return Ok(serde_json::from_slice(&answer.body).unwrap());
    }
    let problem: wire::Problem = serde_json::from_slice(&answer.body).unwrap();
    assert!(answer.status < 500, "{:?}", answer.cause);
    Err((answer.status, problem.name))
}

impl Proxy {
    async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, (u16, String)> {
        answer(&ask(&self.feed, Some(self.certificate), "GET", target, &Value::Null, self.now).await)
    }

    async fn post<T: DeserializeOwned>(&self, target: &str, body: &Value) -> Result<T, (u16, String)> {
        answer(&ask(&self.feed, Some(self.certificate), "POST", target, body, self.now).await)
    }

    async fn readings(&self, owners: &[&str]) -> Result<Vec<(Owner, Reading)>, (u16, String)> {
        let told: wire::Readings = self.post("read", &json!({ "owners": owners })).await?;
        Ok(told.readings.into_iter().map(|owned| owned.try_into().unwrap()).collect())
    }
}

fn stranger() -> (u16, String) {
    (401, "stranger".to_owned())
}

async fn a_token_lets_one_proxy_in_once(world: World) {
    let room = Room::new(world).await;
    let token = room.token(None).await;
    assert!(token.starts_with("pal_enroll_platform_"), "{token}");
    assert_eq!(pin_of(&token), Some(*room.feed.authority().sha256()));
    assert_eq!(fingerprint(room.feed.authority().certificate()), *room.feed.authority().sha256());
    // Of many who come with it at once, one is let in.
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (feed, token) = (room.feed.clone(), token.clone());
        at_once.spawn(async move {
            let asked = json!({ "token": token, "public_key": public_key() });
            ask(&feed, None, "POST", "enroll", &asked, at(1)).await.status
        });
    }
    let mut statuses = at_once.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401, 401, 401]);
    // It does not let in who changes it, who comes late, or who comes after it was withdrawn.
    let late = room.token(None).await;
    let other = room.token(None).await.replacen(|byte: char| byte.is_ascii_digit(), "x", 1);
    for (token, now) in [(&late, at(3_600)), (&other, at(1)), (&"pal_enroll_platform_x".to_owned(), at(1))] {
        let refused = answer::<wire::Enrolled>(&room.enroll(token, now).await);
        assert_eq!(refused.err(), Some(stranger()), "{token}");
    }
    let withdrawn = room.token(None).await;
    let name = withdrawn.split('_').nth(3).unwrap();
    room.feed.withdraw(&id(name), &by()).await.unwrap();
    assert_eq!(answer::<wire::Enrolled>(&room.enroll(&withdrawn, at(1)).await).err(), Some(stranger()));
    // A key that is none is said to be, and the token is still good.
    let token = room.token(None).await;
    let off_the_curve = format!("04{}", "00".repeat(64));
    for none in ["00ff", "", &off_the_curve] {
        let asked = json!({ "token": token, "public_key": none });
        let refused = ask(&room.feed, None, "POST", "enroll", &asked, at(1)).await;
        assert_eq!(answer::<wire::Enrolled>(&refused).err(), Some((422, "invalid".to_owned())), "{none}");
    }
    assert_eq!(room.enroll(&token, at(1)).await.status, 200);
    // Nothing but that is done without a certificate, or with one that nobody knows.
    for certificate in [None, Some([7; 32])] {
        for target in ["end", "news?after=0", "organisations"] {
            let refused = ask(&room.feed, certificate, "GET", target, &Value::Null, at(1)).await;
            assert_eq!(answer::<Value>(&refused).err(), Some(stranger()), "{target}");
        }
    }
}

async fn who_did_not_hear_that_they_were_let_in_asks_again(world: World) {
    let room = Room::new(world).await;
    let (token, own) = (room.token(None).await, public_key());
    let told: wire::Enrolled = answer(&room.enroll_for(&own, &token, at(1)).await).unwrap();
    let revision = room.store.platform().all(&[]).await.unwrap().revision;
    for key in [&own, &own.to_uppercase()] {
        let again: wire::Enrolled = answer(&room.enroll_for(key, &token, at(3_599)).await).unwrap();
        assert_eq!((&again.id, &again.certificate), (&told.id, &told.certificate));
    }
    assert_eq!(room.store.platform().all(&[]).await.unwrap().revision, revision, "nobody is woken by it");
    let shown = room.feed.enrolment(&id(&told.id)).await.unwrap();
    assert_eq!((shown.token_expires, shown.certificate_expires.is_some()), (None, true));
    // Nobody else is let in by it, nor the same one when its time is over, nor once it was withdrawn.
    let refused = |answered: Answer| answer::<wire::Enrolled>(&answered).err() == Some(stranger());
    assert!(refused(room.enroll(&token, at(1)).await));
    assert!(refused(room.enroll_for("", &token, at(1)).await));
    assert!(refused(room.enroll_for(&own, &token, at(3_600)).await));
    let other = room.token(None).await;
    let name = |token: &str| token.split('_').nth(3).unwrap().to_owned();
    let mixed = other.replace(&name(&other), &name(&token));
    assert!(refused(room.enroll_for(&own, &mixed, at(1)).await), "another secret");
    room.feed.withdraw(&id(&told.id), &by()).await.unwrap();
    assert!(refused(room.enroll_for(&own, &token, at(1)).await));
}

async fn a_proxy_sees_what_it_was_let_in_for(world: World) {
    let room = Room::new(world).await;
    let (one, all) = (room.proxy(Some(&["acme"])).await, room.proxy(None).await);
    let named = |told: wire::Organisations| told.organisations;
    assert_eq!(named(one.get("organisations").await.unwrap()), ["acme"]);
    assert_eq!(named(all.get("organisations").await.unwrap()), ["acme", "beta"]);
    assert_eq!(named(all.get("organisations?after=acme").await.unwrap()), ["beta"]);
    assert_eq!(one.readings(&["beta"]).await.unwrap_err(), (403, "forbidden".to_owned()));
    assert_eq!(one.readings(&["acme", "beta"]).await.unwrap_err().0, 403);
    assert_eq!(one.readings(&["nobody"]).await.unwrap_err().0, 403, "it is not told who is not there");
    assert_eq!(all.readings(&["@platform", "acme", "beta", "nobody"]).await.unwrap().len(), 4);
    // Who runs one organisation's proxy is not who runs the platform.
    let keys = |readings: Vec<(Owner, Reading)>| format!("{readings:?}").matches("sk-stored").count();
    assert_eq!(keys(all.readings(&["@platform"]).await.unwrap()), 1);
    let seen = one.readings(&["@platform"]).await.unwrap();
    assert!(format!("{seen:?}").contains("a.example") && keys(seen) == 0);
    // Others' changes are not heard of, and nobody is woken by them.
    let end: wire::End = one.get("end").await.unwrap();
    for name in ["beta", "acme"] {
        put(room.store.tenant(&organisation(name)), "groups", "red", json!({})).await;
    }
    let news: wire::Changed = one.get(&format!("news?after={}", end.end)).await.unwrap();
    assert_eq!((news.owners, news.position), (vec!["acme".to_owned()], end.end + 2));
    let ahead = one.get::<wire::Changed>("news?after=99999").await.unwrap_err();
    assert_eq!(ahead, (410, "behind".to_owned()));
    let unknown = NewEnrolment {
        name: "edge".to_owned(),
        organisations: Some(vec!["nobody".to_owned()]),
        lifetime: Duration::from_mins(1),
    };
    assert!(matches!(room.feed.invite(&unknown, &by()).await, Err(FeedError::Invalid { .. })));
}

async fn a_proxy_that_is_withdrawn_hears_nothing_more_even_if_it_waits(world: World) {
    let room = Room::new(world).await;
    let proxy = room.proxy(None).await;
    let end: wire::End = proxy.get("end").await.unwrap();
    let (waiting, begun) = (proxy.clone(), Instant::now());
    let target = format!("news?after={}&patience_ms={}", end.end, PATIENCE_MAX.as_millis());
    let waits = tokio::spawn(async move { waiting.get::<wire::Changed>(&target).await });
    room.feed.withdraw(&id(&proxy.id), &by()).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap_err(), stranger());
    assert!(begun.elapsed() < PATIENCE_MAX, "it was woken");
    assert_eq!(proxy.get::<wire::End>("end").await.unwrap_err(), stranger());
    assert!(matches!(room.feed.enrolment(&id(&proxy.id)).await, Err(FeedError::NotFound(_))));
}

async fn a_namesake_is_not_seen_by_the_proxy_of_the_organisation_before(world: World) {
    let room = Room::new(world).await;
    let (one, all) = (room.proxy(Some(&["acme"])).await, room.proxy(None).await);
    let is_there = |readings: Vec<(Owner, Reading)>| matches!(readings[0].1, Reading::There(_));
    assert!(is_there(one.readings(&["acme"]).await.unwrap()));
    room.store.delete_organisation(&organisation("acme")).await.unwrap();
    assert!(!is_there(one.readings(&["acme"]).await.unwrap()));
    room.store.create_organisation(&organisation("acme")).await.unwrap();
    assert!(!is_there(one.readings(&["acme"]).await.unwrap()), "it is another organisation");
    assert!(is_there(all.readings(&["acme"]).await.unwrap()));
}

async fn certificates_end_and_are_renewed(world: World) {
    let room = Room::new(world).await;
    let first = room.proxy(None).await;
    let renewed = |now: SystemTime, with: Proxy| async move {
        let proxy = Proxy { now, ..with };
        let told: wire::Renewed = proxy.post("renew", &json!({ "public_key": public_key() })).await.unwrap();
        Proxy { certificate: fingerprint(&told.certificate), ..proxy }
    };
    let second = renewed(at(0) + LIFETIME * 2 / 3, first.clone()).await;
    assert_ne!(second.certificate, first.certificate);
    // The one before holds until it ends: the new one may not have arrived.
    for proxy in [&second, &Proxy { now: second.now, ..first.clone() }] {
        proxy.get::<wire::End>("end").await.unwrap();
    }
    let end = at(0) + LIFETIME;
    assert_eq!(Proxy { now: end, ..first }.get::<wire::End>("end").await.unwrap_err(), stranger());
    let second = Proxy { now: end, ..second };
    second.get::<wire::End>("end").await.unwrap();
    // Withdrawing ends all of them.
    let last = renewed(end + LIFETIME / 2, second.clone()).await;
    room.feed.withdraw(&id(&last.id), &by()).await.unwrap();
    for proxy in [&second, &last] {
        assert_eq!(proxy.get::<wire::End>("end").await.unwrap_err(), stranger());
        let admitted = room.feed.admit("/feed/v1/usage", Some(&proxy.certificate), proxy.now).await;
        assert_eq!(admitted.unwrap_err().status, 401, "nothing of its body is read");
    }
}

/// The feed as an origin, without a socket.
struct Wire(Proxy);

fn failed((status, name): (u16, String)) -> OriginError {
    if status == 410 { OriginError::Behind } else { OriginError::Away(name) }
}

impl Origin for Wire {
    async fn end(&self) -> Result<u64, OriginError> {
        Ok(self.0.get::<wire::End>("end").await.map_err(failed)?.end)
    }

    async fn news(&self, after: u64, patience: Duration) -> Result<News, OriginError> {
        let target = format!("news?after={after}&patience_ms={}", patience.as_millis());
        Ok(self.0.get::<wire::Changed>(&target).await.map_err(failed)?.try_into().unwrap())
    }

    async fn organisations(
        &self,
        after: Option<&OrganisationId>,
    ) -> Result<Vec<OrganisationId>, OriginError> {
        let after = after.map_or(String::new(), |after| format!("?after={after}"));
        let told: wire::Organisations = self.0.get(&format!("organisations{after}")).await.map_err(failed)?;
        Ok(told.organisations.iter().map(|id| organisation(id)).collect())
    }

    async fn read(&self, owners: &BTreeSet<Owner>) -> Result<Vec<(Owner, Reading)>, OriginError> {
        let names: Vec<String> = owners.iter().map(wire::owner_name).collect();
        let told: wire::Readings = self.0.post("read", &json!({ "owners": names })).await.map_err(failed)?;
        Ok(told.readings.into_iter().map(|owned| owned.try_into().unwrap()).collect())
    }
}

async fn following_the_feed_is_following_the_store(world: World) {
    let room = Room::new(world).await;
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::open(data.path()).unwrap();
    let proxy = Wire(room.proxy(None).await);
    let (mut far, errors) = Follower::start(proxy, folder.clone(), SCANNER.clone()).await.unwrap();
    assert_eq!(errors, []);
    let list = json!({ "entity": "NAME", "category": "business", "terms": ["bl\u{fc}e \"heron\" \\ 1"] });
    put(room.store.tenant(&organisation("acme")), "dictionaries", "own.names", list).await;
    put(room.store.tenant(&organisation("beta")), "dlp-settings", "default", json!({ "threshold": 0.7 }))
        .await;
    room.store.create_organisation(&organisation("later")).await.unwrap();
    loop {
        let heard = far.next(Duration::ZERO).await.unwrap();
        assert_eq!(heard.errors, []);
        if heard.is_whole && heard.behind == 0 {
            break;
        }
    }
    let near = Follower::start(room.store.clone(), folder, SCANNER.clone()).await.unwrap().0;
    let picture = |policy: &palisade_filters::Policy| -> BTreeSet<(String, [u64; 2])> {
        policy.tenants().map(|tenant| (tenant.id.to_string(), tenant.fingerprints())).collect()
    };
    assert_eq!(picture(far.policy()), picture(near.policy()));
    assert_eq!(near.policy().tenant_count(), 3);
}

async fn the_api_lets_proxies_in_and_shows_no_token_twice(world: World) {
    let desk = Desk::new(&world).await.with_feed(at(0)).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let place = "/api/v1/platform/enrolments";
    let new = json!({ "name": "edge", "organisations": ["acme"], "lifetime": "10m" });
    desk.post(&ann, place, &new).await.is(403);
    let made = desk.post(&operator, place, &new).await.is(201).json();
    let token = made["token"].as_str().unwrap().to_owned();
    let one = format!("{place}/{}", made["enrolment"]["id"].as_str().unwrap());
    let secret = token.split('_').next_back().unwrap();
    for target in [place, one.as_str(), "/api/v1/platform/journal?limit=1000"] {
        let told = desk.get(&operator, target).await.is(200);
        assert!(told.text().contains("edge") && !told.text().contains(secret), "{}", told.text());
    }
    for (wrong, pointer) in [
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "x", "organisations": [] }), "/organisations"),
        (json!({ "name": "x", "organisations": ["nobody"] }), "/organisations"),
        (json!({ "name": "x", "lifetime": "30d" }), "/lifetime"),
    ] {
        let told = desk.post(&operator, place, &wrong).await.is(422).json();
        assert_eq!(told["errors"][0]["pointer"], pointer, "{told}");
    }
    desk.send(&operator, "DELETE", &one, b"").await.is(204);
    desk.get(&operator, &one).await.is(404);
    assert_eq!(desk.get(&operator, place).await.is(200).json()["items"], json!([]));
}
