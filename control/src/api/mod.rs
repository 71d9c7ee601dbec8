//! How is what we believe changed over HTTP? The API of the control plane, without a socket.
//!
//! A request comes in two parts. [`Api::admit`] needs its head, and says who asks, for what, and that it may: before a
//! byte of a body is read. [`Api::perform`] needs what came out, and the body, and does it. Whoever listens passes both
//! on and writes the [`Reply`]; it decides nothing.
//!
//! Needs [`Control`] and [`Access`]. Proves that every route was checked against its permission, that what is another
//! organisation's is answered as what is not there, that nothing is changed that was not read in its current version,
//! and that no answer but the one that is meant to holds a secret. Does not: listen, know TLS, log, or look at a clock.

mod accounts;
mod answer;
mod apply;
mod bodies;
mod call;
mod enrolments;
mod guard;
mod openapi;
mod organisations;
mod problem;
mod resources;
mod rights;
mod routes;
mod sessions;
mod usage;

pub use answer::Reply;
pub use call::Head;
pub use guard::Admitted;

use crate::access::Access;
use crate::feed::Feed;
use crate::resources::{Control, FieldError};
use answer::Answer;
use bytes::Bytes;
use palisade_filters::strict_json;
use problem::{Name, Problem};
use routes::{Action, Route, Takes};
use serde_json::Value;
use std::sync::Arc;

/// The API.
#[derive(Debug)]
pub struct Api {
    control: Arc<Control>,
    access: Arc<Access>,
    /// Who lets proxies in, if they are.
    feed: Option<Arc<Feed>>,
    routes: Vec<Route>,
    openapi: Value,
}

impl Api {
    /// Over what is changed, and who may.
    pub fn new(control: Arc<Control>, access: Arc<Access>) -> Self {
        let routes = routes::routes();
        let openapi = openapi::document(&routes);
        Self { control, access, feed: None, routes, openapi }
    }

    /// And over who lets proxies in.
    #[must_use]
    pub fn with_feed(self, feed: Arc<Feed>) -> Self {
        Self { feed: Some(feed), ..self }
    }

    /// Does what may be done.
    pub async fn perform(&self, admitted: Admitted<'_>, body: Bytes) -> Reply {
        match self.done(&admitted, &body).await {
            Ok(answer) => answer.into(),
            Err(problem) => problem.into(),
        }
    }

    async fn done(&self, call: &Admitted<'_>, body: &Bytes) -> Result<Answer, Problem> {
        let body = read(call, body)?;
        match call.route.action {
            Action::Resource(kind, operation) => self.on_resource(call, kind, operation, body).await,
            Action::Organisation(action) => self.on_organisation(call, action, body).await,
            Action::Session(action) => self.on_session(call, action, body).await,
            Action::Account(action) => self.on_account(call, action, body).await,
            Action::Right(action) => self.on_right(call, action, body).await,
            Action::Usage(action) => self.on_usage(call, action).await,
            Action::Enrolment(action) => self.on_enrolment(call, action, body).await,
            Action::OpenApi => Ok(Answer::of(&self.openapi)),
        }
    }
}

/// The description of all routes, as it is served (`OpenAPI` 3.1).
pub fn openapi() -> Value {
    openapi::document(&routes::routes())
}

/// Reads a body, if there is to be one.
fn read(call: &Admitted<'_>, body: &Bytes) -> Result<Value, Problem> {
    match call.route.takes {
        // These read their query by themselves.
        Takes::Part | Takes::Query(_) => {}
        Takes::Nothing
        | Takes::Version
        | Takes::Document(_)
        | Takes::Patch
        | Takes::Json(_)
        | Takes::Versioned(_)
        | Takes::Changes(_)
        | Takes::Whole(_) => drop(call.head.queried(&[])?),
    }
    let most = call.body_bytes_max();
    if body.len() > most {
        return Err(too_large(most));
    }
    if most == 0 {
        return Ok(Value::Null);
    }
    strict_json::read(body).map_err(|error| {
        let strict_json::Ambiguous { pointer, message } = error;
        Problem::new(Name::BadRequest, message.clone()).naming(vec![FieldError { pointer, message }])
    })
}

/// A body that is larger than what is read.
fn too_large(most: usize) -> Problem {
    match most {
        0 => Problem::new(Name::TooLarge, "nothing is read from a body here; leave it out"),
        most => Problem::new(Name::TooLarge, format!("a body has at most {most} bytes here")),
    }
}

impl Reply {
    /// For a body that has more bytes than [`Admitted::body_bytes_max`].
    pub fn too_large(admitted: &Admitted<'_>) -> Self {
        too_large(admitted.body_bytes_max()).into()
    }

    /// For a head that cannot be read as one of HTTP.
    pub fn malformed() -> Self {
        Problem::new(Name::BadRequest, "this is no request of HTTP that can be understood").into()
    }

    /// For what cannot be taken on at the moment.
    pub fn busy() -> Self {
        let problem = Problem::new(Name::Unavailable, "too much is being done at once; repeat the request");
        problem.with("retry-after", "1").into()
    }
}
