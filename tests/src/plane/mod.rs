//! Is the control plane what it says, as people and applications meet it? The real binary on a store, over the wire.
//!
//! What the API answers to whom is proven in its own room, without a socket. Here stands what only a whole process has:
//! a first start, a change that reaches an application's next request, an end that comes in the midst of it.

mod clocks;
mod database;
mod door;
mod effects;
mod elsewhere;
mod failures;
mod first_run;
mod restored;
mod strangers;
mod usage;

use crate::house::{House, Plan};
use crate::http::{self, Answer, Connection};
use crate::process::until;
use crate::processes::{ENDLESS, PROMPT};
use crate::provider::Double;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everybody's password.
const PASSWORD: &str = "correct horse battery staples";
/// Files of the process's own.
const SQLITE: &str = "[store]\nkind = \"sqlite\"\n";

/// An installation with a store, and a provider's double beside it.
struct Site {
    house: House,
    double: Double,
    _folder: TempDir,
}

/// What somebody shows with each request.
#[derive(Clone, Debug, Default)]
struct Badge(Vec<(String, String)>);

impl Badge {
    fn bearer(token: &str) -> Self {
        Self(vec![("authorization".to_owned(), format!("Bearer {token}"))])
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let mut all = self.0.clone();
        all.push((name.to_owned(), value.to_owned()));
        Self(all)
    }
}

/// A request to the API, as it is sent.
fn asked(badge: &Badge, method: &str, path: &str, body: Option<&Value>) -> Vec<u8> {
    let mut headers: Vec<(&str, &str)> =
        badge.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    if body.is_some() {
        headers.push(("content-type", kind));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    http::request(method, path, &headers, body.as_bytes())
}

/// The answer is this, or the test ends with what was said.
#[track_caller]
fn is(answer: Answer, status: u16) -> Answer {
    assert_eq!(answer.status, status, "{}", answer.text());
    answer
}

/// What an application with this key is answered.
fn chat(house: &House, key: &str) -> Answer {
    http::ask(house.proxy, &http::chat(key, PROMPT))
}

/// Waits until an application with this key is answered so.
fn until_answered(house: &House, key: &str, status: u16) {
    until(&format!("an application is answered {status}"), || {
        (chat(house, key).status == status).then_some(())
    });
}

/// A stream that goes on until somebody ends it, of which the first words came.
fn stream(house: &House, key: &str) -> (Connection, Answer) {
    let mut stream = Connection::open(house.proxy);
    stream.send(&http::chat(key, ENDLESS));
    let mut answer = is(stream.head(), 200);
    assert!(stream.chunk(&mut answer));
    (stream, answer)
}

impl Site {
    fn start(config: &str) -> Self {
        Self::on(House::start(&Plan { config: config.to_owned(), ..Plan::default() }))
    }

    /// Of a process that serves.
    fn on(house: House) -> Self {
        let folder = TempDir::new().unwrap();
        let double = Double::start(folder.path());
        Self { house, double, _folder: folder }
    }

    /// What the API answers.
    fn call(&self, badge: &Badge, method: &str, path: &str, body: Option<&Value>) -> Answer {
        http::ask(self.house.api(), &asked(badge, method, &format!("/api/v1{path}"), body))
    }

    fn get(&self, badge: &Badge, path: &str) -> Answer {
        self.call(badge, "GET", path, None)
    }

    fn post(&self, badge: &Badge, path: &str, body: &Value) -> Answer {
        self.call(badge, "POST", path, Some(body))
    }

    /// Makes something that must not be there yet.
    fn make(&self, badge: &Badge, path: &str, body: &Value) -> Answer {
        self.call(&badge.with("if-none-match", "*"), "PUT", path, Some(body))
    }

    /// Changes what is there in this version.
    fn patch(&self, badge: &Badge, path: &str, version: u64, body: &Value) -> Answer {
        self.call(&badge.with("if-match", &format!("\"{version}\"")), "PATCH", path, Some(body))
    }

    /// The invitations that the process printed so far.
    fn printed_invitations(&self) -> Vec<String> {
        let log = self.house.process.as_ref().unwrap().log();
        let words = log.split_whitespace().filter(|word| word.starts_with("pal_invite_platform_"));
        words.map(str::to_owned).collect()
    }

    /// Makes an account of an invitation, and signs in.
    fn arrive(&self, organisation: Option<&str>, name: &str, invitation: &str) -> Badge {
        let nobody = Badge::default();
        let accept = json!({ "invitation": invitation, "password": PASSWORD });
        is(self.post(&nobody, "/invitations/accept", &accept), 201);
        let sign_in = json!({ "organisation": organisation, "name": name, "password": PASSWORD });
        let signed = is(self.post(&nobody, "/session", &sign_in), 201);
        let cookie = signed.header("set-cookie").unwrap().split(';').next().unwrap();
        Badge::default().with("cookie", cookie).with("x-csrf-token", signed.json()["csrf"].as_str().unwrap())
    }

    /// The first operator, by what the process printed.
    fn operator(&self) -> Badge {
        let invitations = self.printed_invitations();
        self.arrive(None, "operator", invitations.first().expect("an invitation was printed"))
    }

    /// A new organisation's admin.
    fn admin_of(&self, operator: &Badge, id: &str) -> Badge {
        let made = is(self.post(operator, "/orgs", &json!({ "id": id, "admin": "ann" })), 201);
        self.arrive(Some(id), "ann", made.json()["invitation"]["text"].as_str().unwrap())
    }

    /// Makes the double a provider of everybody's.
    fn provide(&self, operator: &Badge) {
        let provider = json!({
            "base_url": format!("http://{}/v1", self.double.address),
            "models": ["mock*"],
            "allow_private_addresses": true,
            "api_key": { "value": "sk-of-the-platform" },
        });
        is(self.make(operator, "/platform/providers/double", &provider), 200);
    }

    /// A key of an application, with its id.
    fn key(&self, admin: &Badge, organisation: &str) -> (String, String) {
        let made =
            is(self.post(admin, &format!("/orgs/{organisation}/api-keys"), &json!({ "name": "app" })), 201);
        let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        (text("key"), text("id"))
    }

    /// What an application with this key is answered.
    fn chat(&self, key: &str) -> Answer {
        chat(&self.house, key)
    }

    /// Waits until an application with this key is answered so.
    fn until_answered(&self, key: &str, status: u16) {
        until_answered(&self.house, key, status);
    }

    /// A stream that goes on until somebody ends it, of which the first words came.
    fn stream(&self, key: &str) -> (Connection, Answer) {
        stream(&self.house, key)
    }

    /// An operator, an organisation `acme` with an admin, a provider, and a key that works.
    fn furnished(config: &str) -> (Self, Badge, Badge, (String, String)) {
        let site = Self::start(config);
        let (operator, ann, key) = site.furnish();
        site.until_answered(&key.0, 200);
        (site, operator, ann, key)
    }

    /// The same in an installation that serves, applications aside.
    fn furnish(&self) -> (Badge, Badge, (String, String)) {
        let operator = self.operator();
        self.provide(&operator);
        let ann = self.admin_of(&operator, "acme");
        let key = self.key(&ann, "acme");
        (operator, ann, key)
    }
}
