//! How does the demo ask for something? As everybody does: by requests of the API, without the socket between.

use super::error::SeedError;
use super::kept::Account;
use crate::api::{Api, Head};
use bytes::Bytes;
use core::net::{IpAddr, Ipv4Addr};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use palisade_filters::secret::Secret;
use serde_json::{Value, json};
use std::time::SystemTime;

/// Whoever asks, and when.
pub(super) struct Errand<'a> {
    pub(super) api: &'a Api,
    pub(super) now: SystemTime,
}

/// What is shown with a request.
pub(super) enum Badge {
    Nobody,
    Session { cookie: Secret, csrf: Secret },
    Token(Secret),
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Said {
    asked: String,
    status: u16,
    headers: Vec<(&'static str, String)>,
    pub(super) body: Value,
}

impl Said {
    /// A text of the body.
    pub(super) fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The version of what was read.
    pub(super) fn tag(&self) -> Result<&str, SeedError> {
        self.header("etag").ok_or_else(|| SeedError::broken(format!("`{}` has no version", self.asked)))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    /// It was done.
    fn done(self) -> Result<Self, SeedError> {
        if self.status < 400 {
            return Ok(self);
        }
        let detail = self.text("detail").to_owned();
        Err(SeedError::Refused { asked: self.asked, status: self.status, detail })
    }
}

impl Errand<'_> {
    /// What is there, if something is.
    pub(super) async fn find(&self, badge: &Badge, path: &str) -> Result<Option<Said>, SeedError> {
        let said = self.ask(badge, Method::GET, path, &[], None).await?;
        // A token of somebody who is not known is not there either.
        if [401, 404].contains(&said.status) { Ok(None) } else { said.done().map(Some) }
    }

    pub(super) async fn post(&self, badge: &Badge, path: &str, body: &Value) -> Result<Said, SeedError> {
        let kind = ("content-type", "application/json");
        self.ask(badge, Method::POST, path, &[kind], Some(body)).await?.done()
    }

    /// Writes what must have this version, or must not be there.
    pub(super) async fn put(
        &self,
        badge: &Badge,
        path: &str,
        tag: Option<&str>,
        body: &Value,
    ) -> Result<Said, SeedError> {
        let expected = tag.map_or(("if-none-match", "*"), |tag| ("if-match", tag));
        let headers = [("content-type", "application/json"), expected];
        self.ask(badge, Method::PUT, path, &headers, Some(body)).await?.done()
    }

    pub(super) async fn patch(
        &self,
        badge: &Badge,
        path: &str,
        tag: &str,
        body: &Value,
    ) -> Result<Said, SeedError> {
        let headers = [("content-type", "application/merge-patch+json"), ("if-match", tag)];
        self.ask(badge, Method::PATCH, path, &headers, Some(body)).await?.done()
    }

    pub(super) async fn delete(
        &self,
        badge: &Badge,
        path: &str,
        tag: Option<&str>,
    ) -> Result<Said, SeedError> {
        let expected: Vec<_> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
        self.ask(badge, Method::DELETE, path, &expected, None).await?.done()
    }

    /// Makes an account.
    pub(super) async fn accept(&self, invitation: &str, account: &Account) -> Result<(), SeedError> {
        let asked = json!({ "invitation": invitation, "password": account.password });
        self.post(&Badge::Nobody, "/invitations/accept", &asked).await.map(drop)
    }

    /// A session, if the account is there and has no other password and no second factor.
    pub(super) async fn sign_in(
        &self,
        organisation: Option<&str>,
        account: &Account,
    ) -> Result<Option<Badge>, SeedError> {
        let asked =
            json!({ "organisation": organisation, "name": account.name, "password": account.password });
        let kind = ("content-type", "application/json");
        let said = self.ask(&Badge::Nobody, Method::POST, "/session", &[kind], Some(&asked)).await?;
        if said.status == 401 {
            return Ok(None);
        }
        let said = said.done()?;
        let cookie = said.header("set-cookie").and_then(|line| line.split(';').next()).unwrap_or_default();
        let cookie = Secret::new(cookie.to_owned());
        Ok(Some(Badge::Session { cookie, csrf: Secret::new(said.text("csrf").to_owned()) }))
    }

    async fn ask(
        &self,
        badge: &Badge,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Result<Said, SeedError> {
        let asked = format!("{method} {path}");
        let mut all = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).map_err(SeedError::broken)?;
            all.insert(HeaderName::from_static(name), value);
            Ok::<_, SeedError>(())
        };
        for (name, value) in headers {
            add(name, value)?;
        }
        match badge {
            Badge::Nobody => {}
            Badge::Session { cookie, csrf } => {
                add("cookie", cookie.expose())?;
                add("x-csrf-token", csrf.expose())?;
            }
            Badge::Token(token) => add("authorization", &format!("Bearer {}", token.expose()))?,
        }
        let target = format!("/api/v1{path}");
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let head = Head { method, target, headers: all, address, now: self.now };
        let body = Bytes::from(body.map(Value::to_string).unwrap_or_default());
        let reply = match self.api.admit(head).await {
            Ok(admitted) => self.api.perform(admitted, body).await,
            Err(refused) => refused,
        };
        if let Some(cause) = reply.cause {
            return Err(SeedError::broken(format!("`{asked}`: {cause}")));
        }
        let body = if reply.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&reply.body).map_err(SeedError::broken)?
        };
        Ok(Said { asked, status: reply.status, headers: reply.headers, body })
    }
}
