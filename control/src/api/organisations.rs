//! What is done with organisations as a whole?

use super::Api;
use super::answer::Answer;
use super::bodies::{self, Organisation, Organisations, SignIns, SignInsItem};
use super::guard::Admitted;
use super::problem::{Name, Problem};
use super::resources::page;
use super::routes::OrganisationAction as Do;
use crate::access::{Link, Visit};
use crate::resources::{OrganisationView, Provision};
use crate::store::{OrganisationId, ResourceId};
use crate::usage::Day;
use serde_json::Value;

impl Api {
    /// One of the things that are done.
    pub(super) async fn on_organisation(
        &self,
        call: &Admitted<'_>,
        action: Do,
        body: Value,
    ) -> Result<Answer, Problem> {
        match action {
            Do::Provision => self.provision(call, &body).await,
            Do::InviteAdmin => {
                let asked: bodies::FirstAdmin = bodies::read(&body)?;
                let link = self.first_admin(call, call.organisation()?, &asked.name).await?;
                Ok(Answer::created(&link))
            }
            Do::List => self.organisations(call).await,
            Do::Read => Ok(Answer::of(&shown(self.control.organisation(call.organisation()?).await?))),
            Do::Suspend => {
                self.control.suspend(call.organisation()?, &call.actor()?).await?;
                Ok(Answer::done())
            }
            Do::Resume => {
                self.control.resume(call.organisation()?, &call.actor()?).await?;
                Ok(Answer::done())
            }
            Do::Erase => {
                self.control.erase(call.organisation()?, &call.actor()?).await?;
                Ok(Answer::done())
            }
            Do::Export => Ok(Answer::of(&self.control.export(call.organisation()?, &call.actor()?).await?)),
            Do::Import => {
                let export = bodies::read(&body)?;
                self.control.import(call.organisation()?, export, &call.actor()?).await?;
                Ok(Answer::done())
            }
            Do::Apply => self.apply(call, &body).await,
            Do::Journal => {
                let part = call.head.part()?;
                let views = self.control.journal(&call.owner, part.after.as_ref(), part.most).await?;
                Ok(Answer::of(&page(&views)))
            }
            Do::SignIns => self.sign_ins(call).await,
        }
    }

    async fn provision(&self, call: &Admitted<'_>, body: &Value) -> Result<Answer, Problem> {
        let asked: bodies::Provision = bodies::read(body)?;
        let unfit = |pointer: &'static str| {
            move |unfit: crate::store::NameError| Problem::field(pointer, unfit.to_string())
        };
        let id = OrganisationId::new(&asked.id).map_err(unfit("/id"))?;
        let template =
            asked.template.as_deref().map(ResourceId::new).transpose().map_err(unfit("/template"))?;
        // What cannot be an account's name is said before there is an organisation that waits for it.
        if let Some(name) = &asked.admin {
            ResourceId::new(name).map_err(unfit("/admin"))?;
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Err(Problem::field("/admin", "a name is written in small letters"));
            }
        }
        let provision = Provision { name: asked.name, template };
        self.control.provision(&id, &provision, &call.actor()?).await?;
        let invitation = match &asked.admin {
            Some(name) => Some(self.first_admin(call, &id, name).await?),
            None => None,
        };
        let organisation = shown(self.control.organisation(&id).await?);
        let place = format!("/api/v1/orgs/{id}");
        Ok(Answer::created(&bodies::Provisioned { organisation, invitation }).with("location", place))
    }

    async fn first_admin(
        &self,
        call: &Admitted<'_>,
        id: &OrganisationId,
        name: &str,
    ) -> Result<bodies::Invited, Problem> {
        let link = self.access.invite_first_admin(id, name, &call.actor()?.name, call.head.now).await?;
        Ok(invited(&link))
    }

    async fn sign_ins(&self, call: &Admitted<'_>) -> Result<Answer, Problem> {
        let asked = call.head.queried(&["day"])?.into_iter().next();
        let day = asked.map_or(Ok(Day::of(call.head.now)), |(_, day)| day.parse());
        let day = day.map_err(|_| Problem::new(Name::BadRequest, "`day` is a day such as `2026-11-26`"))?;
        let visits = self.access.visits(call.principal()?, &call.owner, day).await?;
        let items = visits.into_iter().map(SignInsItem::from).collect();
        Ok(Answer::of(&SignIns { day: day.to_string(), items }))
    }

    async fn organisations(&self, call: &Admitted<'_>) -> Result<Answer, Problem> {
        let part = call.head.part()?;
        let after = part.after.as_ref().map(|after| OrganisationId::new(after.as_str())).transpose();
        let after =
            after.map_err(|_| Problem::new(Name::BadRequest, "`after` is the `next` of the page before"))?;
        let found = self.control.organisations(after.as_ref(), part.most).await?;
        let next = if found.len() < part.most { None } else { found.last().map(|last| last.id.clone()) };
        Ok(Answer::of(&Organisations { items: found.into_iter().map(shown).collect(), next }))
    }
}

/// An invitation with its text.
pub(super) fn invited(link: &Link) -> bodies::Invited {
    bodies::Invited { text: bodies::shown(&link.text), invitation: bodies::value(&link.invitation) }
}

fn shown(view: OrganisationView) -> Organisation {
    let OrganisationView { id, name, suspended, unreadable } = view;
    Organisation { id, name, suspended, unreadable }
}

impl From<Visit> for SignInsItem {
    fn from(visit: Visit) -> Self {
        let Visit { account, address, signed_in, signed_out, refused, without_code, first, last } = visit;
        Self { account, address, signed_in, signed_out, refused, without_code, first, last }
    }
}
