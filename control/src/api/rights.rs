//! What is done with what gives rights: tokens, roles, and help for a time? `access` does it, and never gives more than
//! whoever asks has.

use super::Api;
use super::answer::Answer;
use super::bodies;
use super::guard::Admitted;
use super::problem::Problem;
use super::routes::RightAction as Do;
use crate::access::{NewGrant, NewToken, Permission};
use crate::resources::Expected;
use serde_json::Value;

impl Api {
    /// One of the things that are done.
    pub(super) async fn on_right(
        &self,
        call: &Admitted<'_>,
        action: Do,
        body: Value,
    ) -> Result<Answer, Problem> {
        let (by, owner, now) = (call.principal()?, &call.owner, call.head.now);
        let (id, access) = (call.part("id"), &self.access);
        match action {
            Do::Tokens => {
                let part = call.head.part()?;
                Ok(Answer::of(&access.tokens(by, owner, part.after(), part.most).await?))
            }
            Do::CreateToken => self.create_token(call, &body).await,
            Do::DeleteToken => {
                access.delete_token(by, owner, id, now).await?;
                Ok(Answer::done())
            }
            Do::Roles => {
                let part = call.head.part()?;
                Ok(Answer::of(&access.roles(by, owner, part.after(), part.most).await?))
            }
            Do::PutRole => {
                let asked: bodies::Role = bodies::read(&body)?;
                let expected = match call.expected {
                    Some(Expected::Version(version)) => Some(version),
                    Some(Expected::New | Expected::Any) | None => None,
                };
                let permissions = permissions(&asked.permissions)?;
                let view = access.put_role(by, owner, id, expected, &permissions, now).await?;
                Ok(Answer::of(&view).tagged(view.version))
            }
            Do::DeleteRole => {
                access.delete_role(by, owner, id, call.version()?, now).await?;
                Ok(Answer::done())
            }
            Do::Grant => {
                let asked: bodies::NewGrant = bodies::read(&body)?;
                let lifetime = bodies::duration("/lifetime", &asked.lifetime)?;
                let bodies::NewGrant { operator, role, reason, .. } = asked;
                let grant = NewGrant { operator, role, reason, lifetime };
                Ok(Answer::created(&access.grant_support(by, owner, &grant, now).await?))
            }
            Do::Grants => {
                let part = call.head.part()?;
                Ok(Answer::of(&access.grants(by, owner, part.after(), part.most).await?))
            }
            Do::RevokeGrant => {
                access.revoke_grant(by, owner, id, now).await?;
                Ok(Answer::done())
            }
        }
    }

    /// One's own token: nobody makes one for somebody else.
    async fn create_token(&self, call: &Admitted<'_>, body: &Value) -> Result<Answer, Problem> {
        let by = call.principal()?;
        if by.home() != &call.owner {
            return Err(Problem::not_found());
        }
        let asked: bodies::NewToken = bodies::read(body)?;
        let lifetime = bodies::duration("/lifetime", &asked.lifetime)?;
        let permissions = asked.permissions.as_deref().map(permissions).transpose()?;
        let new = NewToken { name: asked.name, permissions, lifetime };
        let (secret, token) = self.access.create_token(by, &new, call.head.now).await?;
        let made = bodies::MadeToken { secret: bodies::shown(&secret), token: bodies::value(&token) };
        Ok(Answer::created(&made))
    }
}

fn permissions(texts: &[String]) -> Result<Vec<Permission>, Problem> {
    let read = |(at, text): (usize, &String)| {
        Permission::parse(text).ok_or_else(|| {
            let message = "there is no such permission; one is a kind and a verb, such as `api-keys.create`";
            Problem::field(format!("/permissions/{at}"), message)
        })
    };
    texts.iter().enumerate().map(read).collect()
}
