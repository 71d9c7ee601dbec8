//! What is done with proxies that are let in? `feed` does it.

use super::Api;
use super::answer::Answer;
use super::bodies;
use super::guard::Admitted;
use super::problem::{Name, Problem};
use super::routes::EnrolmentAction as Do;
use crate::feed::{FeedError, NewEnrolment, TOKEN_LIFETIME};
use crate::resources::FieldError;
use serde_json::Value;

impl Api {
    /// One of the things that are done.
    pub(super) async fn on_enrolment(
        &self,
        call: &Admitted<'_>,
        action: Do,
        body: Value,
    ) -> Result<Answer, Problem> {
        let Some(feed) = &self.feed else {
            let detail = "proxies are let in by a control plane that has `[feed]` in its configuration";
            return Err(Problem::new(Name::NotFound, detail));
        };
        match action {
            Do::List => {
                let part = call.head.part()?;
                let found = feed.enrolments(part.after.as_ref(), part.most).await?;
                let items = found.items.iter().map(bodies::value).collect();
                Ok(Answer::of(&bodies::Enrolments { items, next: found.next }))
            }
            Do::Read => Ok(Answer::of(&feed.enrolment(&call.id()?).await?)),
            Do::Invite => {
                let asked: bodies::NewEnrolment = bodies::read(&body)?;
                let lifetime = asked.lifetime.as_deref();
                let lifetime = lifetime.map(|text| bodies::duration("/lifetime", text)).transpose()?;
                let new = NewEnrolment {
                    name: asked.name,
                    organisations: asked.organisations,
                    lifetime: lifetime.unwrap_or(TOKEN_LIFETIME),
                };
                let (token, view) = feed.invite(&new, &call.actor()?).await?;
                let made =
                    bodies::MadeEnrolment { token: bodies::shown(&token), enrolment: bodies::value(&view) };
                Ok(Answer::created(&made))
            }
            Do::Withdraw => {
                feed.withdraw(&call.id()?, &call.actor()?).await?;
                Ok(Answer::done())
            }
        }
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Invalid { pointer, problem } => {
                Self::invalid(vec![FieldError { pointer: pointer.to_owned(), message: problem }])
            }
            FeedError::NotFound(_) => Self::not_found(),
            FeedError::Store(failed) => failed.into(),
            FeedError::Contended | FeedError::Away(_) => {
                Self::new(Name::Unavailable, "it cannot be done at the moment; repeat it")
            }
            // Those are for proxies, and nobody here is one.
            FeedError::Stranger(_)
            | FeedError::Forbidden(_)
            | FeedError::TooSoon(_)
            | FeedError::TooLarge
            | FeedError::TooSlow
            | FeedError::Behind
            | FeedError::Broken(_) => Self::new(Name::Internal, "something is broken on this side"),
        }
    }
}
