//! May this be done, by whoever asks? Found out from the head alone, before a byte of the body is read.
//!
//! Every route of the table goes this way. What comes out, [`Admitted`], can be had from nowhere else, and nothing is
//! done without one: so no route is without a check. Of whose resources the permission holds is asked again where a
//! resource belongs to somebody ([`Admitted::may`]).

use super::Api;
use super::answer::Reply;
use super::call::{Credential, Head};
use super::problem::{Name, Problem};
use super::routes::{Guard, Parts, Route, Takes};
use crate::access::{Access, AccessError, Permission, Principal, Reach, Refused, Signed, Target, Verb};
use crate::resources::{Actor, Expected, ONLY};
use crate::store::{OrganisationId, Owner, ResourceId};
use http::Method;
use serde_json::Value;

/// A request that may be done.
#[derive(Debug)]
pub struct Admitted<'a> {
    pub(super) route: &'a Route,
    pub(super) head: Head,
    /// Whose resources it is about.
    pub(super) owner: Owner,
    /// What must hold of the resource.
    pub(super) expected: Option<Expected>,
    /// How far its permission goes.
    pub(super) reach: Reach,
    parts: Parts,
    signed: Option<Signed>,
    principal: Option<Principal>,
}

impl Api {
    /// Who asks, for what, and may it? What may not is answered here.
    pub async fn admit(&self, head: Head) -> Result<Admitted<'_>, Reply> {
        self.admitted(head).await.map_err(Reply::from)
    }

    async fn admitted(&self, head: Head) -> Result<Admitted<'_>, Problem> {
        let (route, parts) = self.route(&head)?;
        let (signed, principal) = match route.guard {
            Guard::Open => (None, None),
            Guard::Signed | Guard::Session | Guard::May(..) | Guard::MayPut(_) => {
                self.recognise(&head).await?
            }
        };
        let owner = owner(route, &parts, principal.as_ref())?;
        let principal = match principal {
            Some(principal) => Some(self.entered(principal, &owner, &head).await?),
            None => None,
        };
        let expected = if is_versioned(route.takes) { head.expected() } else { Ok(None) };
        let reach = permitted(route.guard, expected.as_ref(), signed.as_ref(), principal.as_ref(), &owner)?;
        // Only who may is told what else is wrong.
        let expected = precondition(route, expected?)?;
        media_type(route.takes, &head)?;
        Ok(Admitted { route, head, owner, expected, reach, parts, signed, principal })
    }

    /// With what an organisation lets somebody of the platform do for a while. One that is not there lets nobody.
    async fn entered(&self, principal: Principal, owner: &Owner, head: &Head) -> Result<Principal, Problem> {
        match self.access.enter(principal.clone(), owner, head.now).await {
            Err(AccessError::Refused(Refused::NotFound)) => Ok(principal),
            entered => Ok(entered?),
        }
    }

    /// Which route is it?
    fn route(&self, head: &Head) -> Result<(&Route, Parts), Problem> {
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let mut there: Vec<&str> = Vec::new();
        for route in &self.routes {
            let Some(parts) = route.parts(head.path()) else { continue };
            if route.method == *method {
                return Ok((route, parts));
            }
            there.push(route.method.as_str());
        }
        if there.is_empty() {
            return Err(Problem::not_found());
        }
        if there.contains(&"GET") {
            there.push("HEAD");
        }
        let allowed = there.join(", ");
        let problem = Problem::new(Name::Method, format!("what can be done there: {allowed}"));
        Err(problem.with("allow", allowed))
    }

    /// Who asks?
    async fn recognise(&self, head: &Head) -> Result<(Option<Signed>, Option<Principal>), Problem> {
        match head.credential()? {
            Credential::Nobody => Err(Problem::unauthenticated(
                "this needs a session or an API token; sign in, or send `Authorization: Bearer` and a token",
            )),
            Credential::Bearer(token) => Ok((None, Some(self.access.token(token, head.now).await?))),
            Credential::Cookie(cookie) => {
                let is_safe = [Method::GET, Method::HEAD].contains(&head.method);
                if !is_safe && !Access::csrf_is_right(cookie, head.csrf()) {
                    let detail = "a change by a session needs its `csrf` in the header `X-CSRF-Token`";
                    return Err(Problem::new(Name::Forbidden, detail));
                }
                let signed = self.access.session(cookie, head.now).await?;
                let principal = signed.principal.clone();
                Ok((Some(signed), Some(principal)))
            }
        }
    }
}

/// Whose resources is it about?
fn owner(route: &Route, parts: &Parts, principal: Option<&Principal>) -> Result<Owner, Problem> {
    if route.is_organisations() {
        let id = parts.iter().find(|(name, _)| name == "org").map(|(_, id)| id.as_str());
        let id = id.and_then(|id| OrganisationId::new(id).ok()).ok_or_else(Problem::not_found)?;
        return Ok(Owner::Organisation(id));
    }
    match (route.guard, principal) {
        (Guard::Signed | Guard::Session, Some(principal)) => Ok(principal.home().clone()),
        (Guard::Open | Guard::May(..) | Guard::MayPut(_), _) | (_, None) => Ok(Owner::Platform),
    }
}

/// May it, and how far?
fn permitted(
    guard: Guard,
    expected: Result<&Option<Expected>, &Problem>,
    signed: Option<&Signed>,
    principal: Option<&Principal>,
    owner: &Owner,
) -> Result<Reach, Problem> {
    let (kind, verb) = match guard {
        Guard::Open | Guard::Signed => return Ok(Reach::All),
        Guard::Session if signed.is_some() => return Ok(Reach::All),
        Guard::Session => {
            return Err(Problem::new(
                Name::Forbidden,
                "this is about a session, and a token is none; sign in",
            ));
        }
        Guard::May(kind, verb) => (kind, verb),
        Guard::MayPut(kind) if matches!(expected, Ok(Some(Expected::New))) => (kind, Verb::Create),
        Guard::MayPut(kind) => (kind, Verb::Update),
    };
    let permission = Permission::new(kind, verb).ok_or_else(Problem::not_found)?;
    let principal = principal.ok_or_else(|| Problem::unauthenticated("nobody is signed in"))?;
    Ok(principal.reach(permission, owner)?)
}

fn is_versioned(takes: Takes) -> bool {
    match takes {
        Takes::Version | Takes::Document(_) | Takes::Patch | Takes::Versioned(_) | Takes::Changes(_) => true,
        Takes::Nothing | Takes::Part | Takes::Query(_) | Takes::Json(_) | Takes::Whole(_) => false,
    }
}

/// What is changed must have been read.
fn precondition(route: &Route, expected: Option<Expected>) -> Result<Option<Expected>, Problem> {
    if !is_versioned(route.takes) {
        return Ok(None);
    }
    match (&expected, route.method == Method::PUT) {
        (None, true) => Err(Problem::new(
            Name::PreconditionRequired,
            "send `If-Match` with the `ETag` that was read, or `If-None-Match: *` for what must not be there yet",
        )),
        (None, false) => {
            Err(Problem::new(Name::PreconditionRequired, "send `If-Match` with the `ETag` that was read"))
        }
        (Some(Expected::New), false) => Err(Problem::new(
            Name::BadRequest,
            "what is not there cannot be changed; send `If-Match` with the `ETag` that was read",
        )),
        (Some(_), _) => Ok(expected),
    }
}

/// Is the body what is read here?
fn media_type(takes: Takes, head: &Head) -> Result<(), Problem> {
    let (needed, header) = match takes {
        Takes::Nothing | Takes::Part | Takes::Query(_) | Takes::Version => return Ok(()),
        Takes::Document(_) | Takes::Json(_) | Takes::Versioned(_) | Takes::Whole(_) => {
            ("application/json", "accept")
        }
        Takes::Patch | Takes::Changes(_) => ("application/merge-patch+json", "accept-patch"),
    };
    if head.media_type()?.as_deref() == Some(needed) {
        return Ok(());
    }
    let problem = Problem::new(Name::MediaType, format!("the body is read as `Content-Type: {needed}`"));
    Err(problem.with(header, needed))
}

impl Admitted<'_> {
    /// What the body may weigh. Nothing more of it needs to be read.
    pub fn body_bytes_max(&self) -> usize {
        self.route.body_bytes_max()
    }

    /// Whether nobody in particular asks: to sign in, to make an account.
    pub fn is_of_a_stranger(&self) -> bool {
        self.principal.is_none()
    }

    /// Who asks.
    pub(super) fn principal(&self) -> Result<&Principal, Problem> {
        self.principal.as_ref().ok_or_else(|| Problem::unauthenticated("nobody is signed in"))
    }

    /// By which session.
    pub(super) fn signed(&self) -> Result<&Signed, Problem> {
        self.signed.as_ref().ok_or_else(|| Problem::unauthenticated("this needs a session; sign in"))
    }

    /// As the journal names who asks.
    pub(super) fn actor(&self) -> Result<Actor, Problem> {
        Ok(Actor { name: self.principal()?.actor(), at: self.head.now })
    }

    /// The organisation that it is about.
    pub(super) fn organisation(&self) -> Result<&OrganisationId, Problem> {
        match &self.owner {
            Owner::Organisation(id) => Ok(id),
            Owner::Platform => Err(Problem::not_found()),
        }
    }

    /// What stands in a free part of the path.
    pub(super) fn part(&self, name: &str) -> &str {
        self.parts.iter().find(|(known, _)| known == name).map_or("", |(_, part)| part)
    }

    /// The resource that the path names; of a kind that has one, that one.
    pub(super) fn id(&self) -> Result<ResourceId, Problem> {
        let part = self.part("id");
        let is_put = self.route.method == Method::PUT;
        let id = ResourceId::new(if part.is_empty() { ONLY } else { part });
        id.map_err(|unfit| if is_put { Problem::field("", unfit.to_string()) } else { Problem::not_found() })
    }

    /// The version that is meant, where only an existing one can be.
    pub(super) fn version(&self) -> Result<u64, Problem> {
        match self.expected {
            Some(Expected::Version(version)) => Ok(version),
            Some(Expected::New | Expected::Any) | None => Err(Problem::not_found()),
        }
    }

    /// Whether it may do this with something that belongs to these.
    pub(super) fn may(&self, kind: &str, verb: Verb, whose: &Whose) -> Result<(), Problem> {
        let permission = Permission::new(kind, verb).ok_or_else(Problem::not_found)?;
        let target = Target { owner: &self.owner, user: whose.user.as_deref(), groups: &whose.groups };
        Ok(self.principal()?.may(permission, &target)?)
    }
}

/// Whose something is, within its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) user: Option<String>,
    pub(super) groups: Vec<String>,
}

impl Whose {
    /// As a document of this kind says.
    pub(super) fn of(kind: &str, id: &str, document: &Value) -> Self {
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        let groups = document.get("groups").and_then(Value::as_array);
        let groups = groups.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        match kind {
            "api-keys" => Self { user: text("user"), groups },
            "users" => Self { user: Some(id.to_owned()), groups },
            "groups" => Self { user: None, groups: vec![text("name").unwrap_or_else(|| id.to_owned())] },
            // Everything else is nobody's in particular, and asks for all.
            _ => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_known_whose_a_resource_is() {
        let whose = |user: Option<&str>, groups: &[&str]| Whose {
            user: user.map(str::to_owned),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        let key = json!({ "user": "ann", "groups": ["dev"] });
        assert_eq!(Whose::of("api-keys", "k1", &key), whose(Some("ann"), &["dev"]));
        assert_eq!(Whose::of("users", "bob", &key), whose(Some("bob"), &["dev"]));
        assert_eq!(Whose::of("groups", "data-science", &json!({ "name": "Data" })), whose(None, &["Data"]));
        assert_eq!(Whose::of("groups", "dev", &json!({})), whose(None, &["dev"]));
        assert_eq!(Whose::of("quotas", "q", &key), Whose::default());
    }
}
