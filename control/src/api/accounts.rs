//! What is done with people who administer? `access` does it, and asks for rights of its own besides: nobody has power
//! over an account that may more than they.

use super::Api;
use super::answer::Answer;
use super::bodies;
use super::guard::Admitted;
use super::organisations::invited;
use super::problem::Problem;
use super::routes::AccountAction as Do;
use crate::access::{AccountChange, Invite};
use serde_json::{Value, json};

impl Api {
    /// One of the things that are done.
    pub(super) async fn on_account(
        &self,
        call: &Admitted<'_>,
        action: Do,
        body: Value,
    ) -> Result<Answer, Problem> {
        let (by, owner, now) = (call.principal()?, &call.owner, call.head.now);
        let (account, access) = (call.part("account"), &self.access);
        match action {
            Do::List => {
                let part = call.head.part()?;
                Ok(Answer::of(&access.accounts(by, owner, part.after(), part.most).await?))
            }
            Do::Read => {
                let view = access.account(by, owner, account).await?;
                if call.head.has(view.version) {
                    return Ok(Answer::unchanged(view.version));
                }
                Ok(Answer::of(&view).tagged(view.version))
            }
            Do::Update => {
                let asked: bodies::AccountChange = bodies::read(&body)?;
                let bodies::AccountChange { role, groups, enabled, remove_totp } = asked;
                let change = AccountChange { role, groups, enabled, remove_totp };
                let view = access.update_account(by, owner, account, call.version()?, &change, now).await?;
                Ok(Answer::of(&view).tagged(view.version))
            }
            Do::Delete => {
                access.delete_account(by, owner, account, call.version()?, now).await?;
                Ok(Answer::done())
            }
            Do::Sessions => {
                let sessions = access.sessions(by, owner, account, now).await?;
                Ok(Answer::of(&json!({ "items": sessions, "next": null })))
            }
            Do::RevokeSessions => {
                access.revoke_sessions(by, owner, account, now).await?;
                Ok(Answer::done())
            }
            Do::RevokeSession => {
                access.revoke_session(by, owner, account, call.part("id"), now).await?;
                Ok(Answer::done())
            }
            Do::Invite => {
                let asked: bodies::Invite = bodies::read(&body)?;
                let invite = Invite { name: asked.name, role: asked.role, groups: asked.groups };
                let link = access.invite(by, owner, &invite, now).await?;
                Ok(Answer::created(&invited(&link)))
            }
            Do::Invitations => {
                let part = call.head.part()?;
                Ok(Answer::of(&access.invitations(by, owner, part.after(), part.most).await?))
            }
            Do::Withdraw => {
                access.withdraw_invitation(by, owner, call.part("id"), call.version()?, now).await?;
                Ok(Answer::done())
            }
        }
    }
}
