//! How does somebody get in, and what do they do with their own account?
//!
//! A session's text leaves in one header, `Set-Cookie`, and in no body: scripts never see it. What they need besides to
//! change something is the `csrf` of the answer.

use super::Api;
use super::answer::Answer;
use super::bodies;
use super::call::COOKIE;
use super::guard::Admitted;
use super::problem::{Name, Problem};
use super::routes::SessionAction as Do;
use crate::access::{Attempt, Principal, Reach, Who};
use crate::store::{OrganisationId, Owner};
use serde_json::{Value, json};

/// Read by us alone, over TLS alone, sent by our own pages alone, and gone when the browser goes.
const COOKIE_ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

impl Api {
    /// One of the things that are done.
    pub(super) async fn on_session(
        &self,
        call: &Admitted<'_>,
        action: Do,
        body: Value,
    ) -> Result<Answer, Problem> {
        let now = call.head.now;
        match action {
            Do::SignIn => self.sign_in(call, &body).await,
            Do::Accept => {
                let asked: bodies::Accept = bodies::read(&body)?;
                Ok(Answer::created(&self.access.accept(&asked.invitation, &asked.password, now).await?))
            }
            Do::Read => {
                let signed = call.signed()?;
                let csrf = bodies::shown(&signed.csrf);
                Ok(Answer::of(&bodies::SignedIn { csrf, session: bodies::value(&signed.session) }))
            }
            Do::SignOut => {
                self.access.sign_out(call.signed()?, now).await?;
                Ok(Answer::done().with("set-cookie", format!("{COOKIE}=; Max-Age=0; {COOKIE_ATTRIBUTES}")))
            }
            Do::ChangePassword => {
                let asked: bodies::ChangePassword = bodies::read(&body)?;
                self.access.change_password(call.signed()?, &asked.current, &asked.new, now).await?;
                Ok(Answer::done())
            }
            Do::BeginTotp => {
                let asked: bodies::Password = bodies::read(&body)?;
                let offer = self.access.begin_totp(call.signed()?, &asked.password, now).await?;
                let totp =
                    bodies::Totp { secret: bodies::shown(&offer.secret), uri: bodies::shown(&offer.uri) };
                Ok(Answer::created(&totp))
            }
            Do::ConfirmTotp => {
                let asked: bodies::Code = bodies::read(&body)?;
                let codes = self.access.confirm_totp(call.signed()?, &asked.code, now).await?;
                let recovery_codes = codes.iter().map(bodies::shown).collect();
                Ok(Answer::of(&bodies::RecoveryCodes { recovery_codes }))
            }
            Do::RemoveTotp => {
                let asked: bodies::PasswordAndCode = bodies::read(&body)?;
                self.access.remove_totp(call.signed()?, &asked.password, &asked.code, now).await?;
                Ok(Answer::done())
            }
            Do::Sessions => {
                let who = call.principal()?;
                let sessions = self.access.sessions(who, who.home(), who.account().as_str(), now).await?;
                Ok(Answer::of(&json!({ "items": sessions, "next": null })))
            }
            Do::RevokeSession => {
                let (who, id) = (call.principal()?, call.part("id"));
                self.access.revoke_session(who, who.home(), who.account().as_str(), id, now).await?;
                Ok(Answer::done())
            }
            Do::Me => Ok(Answer::of(&me(call.principal()?))),
        }
    }

    async fn sign_in(&self, call: &Admitted<'_>, body: &Value) -> Result<Answer, Problem> {
        let asked: bodies::SignIn = bodies::read(body)?;
        let owner = match &asked.organisation {
            None => Owner::Platform,
            Some(id) => match OrganisationId::new(id) {
                Ok(id) => Owner::Organisation(id),
                // Nobody is there, whatever the password: said in the words for a wrong one.
                Err(_) => return Err(crate::access::AccessError::Wrong.into()),
            },
        };
        let attempt = Attempt {
            owner: &owner,
            name: &asked.name,
            password: &asked.password,
            code: asked.code.as_deref(),
            address: call.head.address,
        };
        let signed = self.access.sign_in(&attempt, call.head.now).await.map_err(|error| {
            let problem = Problem::from(error);
            // An organisation that is not there is a wrong name like others.
            if problem.name == Name::NotFound { crate::access::AccessError::Wrong.into() } else { problem }
        })?;
        let cookie = format!("{COOKIE}={}; {COOKIE_ATTRIBUTES}", signed.cookie.expose());
        let answer =
            bodies::SignedIn { csrf: bodies::shown(&signed.csrf), session: bodies::value(&signed.session) };
        Ok(Answer::created(&answer).with("set-cookie", cookie))
    }
}

fn me(who: &Principal) -> bodies::Me {
    let permissions = who.permissions(who.home()).into_iter().map(|(permission, reach)| bodies::Permitted {
        permission: permission.to_string(),
        reach: match reach {
            Reach::Nothing => "nothing",
            Reach::Own => "own",
            Reach::Groups => "groups",
            Reach::All => "all",
        },
    });
    bodies::Me {
        actor: who.actor(),
        is_token: matches!(who.who(), Who::Token { .. }),
        organisation: match who.home() {
            Owner::Platform => None,
            Owner::Organisation(id) => Some(id.to_string()),
        },
        user: who.user().to_owned(),
        groups: who.groups().to_vec(),
        permissions: permissions.collect(),
    }
}
