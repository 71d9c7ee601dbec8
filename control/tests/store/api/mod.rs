//! Is the API what its table says, on both engines, whoever asks for what?

mod changes;
mod routes;
mod story;

use crate::resources::SCANNER;
use crate::world::World;
use bytes::Bytes;
use core::net::IpAddr;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use palisade_control::access::{Access, Cost};
use palisade_control::api::{Api, Head, Reply};
use palisade_control::feed::Feed;
use palisade_control::folder::Folder;
use palisade_control::resources::Control;
use palisade_control::store::Store;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staples";
/// A hash that costs next to nothing.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };

/// An API over a store of a test's own.
pub(crate) struct Desk {
    pub(crate) api: Api,
    pub(crate) access: Arc<Access>,
    store: Arc<Store>,
    _data: TempDir,
}

/// What somebody shows with each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Badge(Vec<(&'static str, String)>);

impl Badge {
    pub(crate) fn nobody() -> Self {
        Self::default()
    }

    pub(crate) fn bearer(token: &str) -> Self {
        Self(vec![("authorization", format!("Bearer {token}"))])
    }

    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut all = self.0.clone();
        all.push((name, value.to_owned()));
        Self(all)
    }

    pub(crate) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| *known != name).cloned().collect())
    }
}

/// What came back.
pub(crate) struct Told {
    pub(crate) status: u16,
    reply: Reply,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.reply.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.reply.body))
    }

    /// It is as expected, or the test ends with what was told.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.text(), self.reply.cause);
        self
    }
}

/// A moment, some seconds after the one that tests begin at.
pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

impl Desk {
    pub(crate) async fn new(world: &World) -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(world.open().await);
        let folder = Folder::open(data.path()).unwrap();
        let control = Arc::new(Control::new(store.clone(), SCANNER.clone(), folder));
        let access = Access::new(store.clone(), CHEAP, Arc::new(|_| false), Arc::new(|_| {})).unwrap();
        let access = Arc::new(access);
        Self { api: Api::new(control, access.clone()), access, store, _data: data }
    }

    /// What it stands on.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The same, where proxies are let in.
    pub(crate) async fn with_feed(self, now: SystemTime) -> Self {
        let feed = Feed::open(self.store.clone(), now).await.unwrap();
        Self { api: self.api.with_feed(Arc::new(feed)), ..self }
    }

    /// Sends a request with a body as it is.
    pub(crate) async fn send(&self, badge: &Badge, method: &str, target: &str, body: &[u8]) -> Told {
        let mut headers = HeaderMap::new();
        for (name, value) in &badge.0 {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let head = Head {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target: target.to_owned(),
            headers,
            address: IpAddr::from([192, 0, 2, 1]),
            now: at(0),
        };
        let reply = match self.api.admit(head).await {
            Ok(admitted) => self.api.perform(admitted, Bytes::copy_from_slice(body)).await,
            Err(refused) => refused,
        };
        let told = Told { status: reply.status, reply };
        assert_eq!(told.header("cache-control"), Some("no-store"), "{method} {target}");
        assert_eq!(told.header("x-content-type-options"), Some("nosniff"), "{method} {target}");
        if told.status >= 400 {
            assert_eq!(told.header("content-type"), Some("application/problem+json"), "{method} {target}");
            assert_eq!(told.json()["status"], told.status, "{}", told.text());
        }
        assert!(told.status < 500, "{method} {target}: {} {:?}", told.text(), told.reply.cause);
        told
    }

    pub(crate) async fn get(&self, badge: &Badge, target: &str) -> Told {
        self.send(badge, "GET", target, b"").await
    }

    pub(crate) async fn post(&self, badge: &Badge, target: &str, body: &Value) -> Told {
        let badge = badge.with("content-type", "application/json");
        self.send(&badge, "POST", target, body.to_string().as_bytes()).await
    }

    /// Makes something that must not be there yet.
    pub(crate) async fn make(&self, badge: &Badge, target: &str, body: &Value) -> Told {
        let badge = badge.with("content-type", "application/json").with("if-none-match", "*");
        self.send(&badge, "PUT", target, body.to_string().as_bytes()).await
    }

    pub(crate) async fn patch(&self, badge: &Badge, target: &str, version: u64, body: &Value) -> Told {
        let badge = badge.with("content-type", "application/merge-patch+json");
        let badge = badge.with("if-match", &format!("\"{version}\""));
        self.send(&badge, "PATCH", target, body.to_string().as_bytes()).await
    }

    pub(crate) async fn delete(&self, badge: &Badge, target: &str, version: u64) -> Told {
        let badge = badge.with("if-match", &format!("\"{version}\""));
        self.send(&badge, "DELETE", target, b"").await
    }

    /// Accepts an invitation, and signs in.
    pub(crate) async fn arrive(&self, organisation: Option<&str>, name: &str, invitation: &str) -> Badge {
        let accept = json!({ "invitation": invitation, "password": PASSWORD });
        self.post(&Badge::nobody(), "/api/v1/invitations/accept", &accept).await.is(201);
        self.signed_in(organisation, name).await
    }

    /// Signs in.
    pub(crate) async fn signed_in(&self, organisation: Option<&str>, name: &str) -> Badge {
        let sign_in = json!({ "organisation": organisation, "name": name, "password": PASSWORD });
        let told = self.post(&Badge::nobody(), "/api/v1/session", &sign_in).await.is(201);
        let cookie = told.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let csrf = told.json()["csrf"].as_str().unwrap().to_owned();
        Badge(vec![("cookie", cookie), ("x-csrf-token", csrf)])
    }

    /// The first operator.
    pub(crate) async fn operator(&self) -> Badge {
        let link = self.access.bootstrap(at(0)).await.unwrap().unwrap();
        self.arrive(None, "operator", link.text.expose()).await
    }

    /// A new organisation's admin.
    pub(crate) async fn provisioned(&self, operator: &Badge, id: &str) -> Badge {
        let told = self.post(operator, "/api/v1/orgs", &json!({ "id": id, "admin": "ann" })).await.is(201);
        let invitation = told.json()["invitation"]["text"].as_str().unwrap().to_owned();
        self.arrive(Some(id), "ann", &invitation).await
    }

    /// Somebody else there.
    pub(crate) async fn joined(
        &self,
        admin: &Badge,
        id: &str,
        name: &str,
        role: &str,
        groups: &[&str],
    ) -> Badge {
        let invite = json!({ "name": name, "role": role, "groups": groups });
        let told = self.post(admin, &format!("/api/v1/orgs/{id}/invitations"), &invite).await.is(201);
        let invitation = told.json()["text"].as_str().unwrap().to_owned();
        self.arrive(Some(id), name, &invitation).await
    }
}
