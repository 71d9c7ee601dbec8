//! How is an answer of the API written? JSON, not to be stored by anybody on its way.

use super::problem::Problem;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// All headers but those that say how long the body is.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty where there is none.
    pub body: Bytes,
    /// What is for the log alone, if something went wrong on this side.
    pub cause: Option<String>,
}

/// What was done.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Answer {
    /// It is this.
    pub(super) fn of(body: &impl Serialize) -> Self {
        // What we write is a tree of names and values; there is nothing in it that JSON has not.
        let body = serde_json::to_value(body).unwrap_or_default();
        Self { status: 200, headers: Vec::new(), body: Some(body) }
    }

    /// This is new.
    pub(super) fn created(body: &impl Serialize) -> Self {
        Self { status: 201, ..Self::of(body) }
    }

    /// It was done, and there is nothing to say.
    pub(super) fn done() -> Self {
        Self { status: 204, headers: Vec::new(), body: None }
    }

    /// Whoever asks has it already.
    pub(super) fn unchanged(version: u64) -> Self {
        Self { status: 304, headers: Vec::new(), body: None }.tagged(version)
    }

    /// With the version that the next change has to expect.
    pub(super) fn tagged(self, version: u64) -> Self {
        self.with("etag", format!("\"{version}\""))
    }

    /// With a header besides.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::new(answer.status, answer.headers, "application/json", answer.body.as_ref(), None)
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let (status, body) = (problem.name.row().0, problem.document());
        Self::new(status, problem.more.headers, "application/problem+json", Some(&body), problem.more.cause)
    }
}

impl Reply {
    fn new(
        status: u16,
        mut headers: Vec<(&'static str, String)>,
        media_type: &str,
        body: Option<&Value>,
        cause: Option<String>,
    ) -> Self {
        headers.push(("cache-control", "no-store".to_owned()));
        headers.push(("x-content-type-options", "nosniff".to_owned()));
        if body.is_some() {
            headers.push(("content-type", media_type.to_owned()));
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        Self { status, headers, body, cause }
    }
}
