//! Which roles does an organisation make of its own?
//!
//! A role of its own is a name for some of its admin's permissions, no more: however it is written, its holders stay
//! below an admin. Whoever writes one has all that it gives. A role that is gone gives nothing.

use super::documents::{Page, RoleDocument, Stored, delete, put};
use super::entries::{Deed, Effect, first_version, shown};
use super::error::AccessError;
use super::permissions::{Permission, Reach, Rights, Role, Verb};
use super::principal::{Principal, Target};
use super::{Access, named, permission};
use crate::store::{Owner, ResourceId};
use serde::Serialize;
use std::time::SystemTime;

/// A role as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleView {
    /// How it is called.
    pub name: String,
    /// What its holders may.
    pub permissions: Vec<Permission>,
    /// For the next change.
    pub version: u64,
}

fn view(found: Stored<RoleDocument>) -> RoleView {
    RoleView { name: found.id.to_string(), permissions: found.document.permissions, version: found.version }
}

impl Access {
    /// The rights that a role of `owner` gives over what is `over`'s. What is no role gives none.
    pub(super) async fn rights(
        &self,
        owner: &Owner,
        role: &str,
        over: &Owner,
    ) -> Result<Rights, AccessError> {
        match (Role::named(role), owner) {
            (Some(Role::Operator), Owner::Platform) => Ok(Rights::of_role(Role::Operator, over)),
            (Some(Role::Operator), Owner::Organisation(_)) | (_, Owner::Platform) => Ok(Rights::none()),
            (Some(role), Owner::Organisation(_)) => Ok(Rights::of_role(role, over)),
            (None, Owner::Organisation(_)) => {
                let Ok(id) = ResourceId::new(role) else { return Ok(Rights::none()) };
                let found: Option<Stored<RoleDocument>> = self.read(owner, &self.kinds.roles, &id).await?;
                let all = Rights::of_role(Role::OrgAdmin, over);
                Ok(found.map_or_else(Rights::none, |found| all.only(&found.document.permissions)))
            }
        }
    }

    /// Whether an account of this owner can have this role.
    pub(super) async fn check_role(&self, owner: &Owner, role: &str) -> Result<(), AccessError> {
        let is_one = match (Role::named(role), owner) {
            (Some(known), Owner::Platform) => known == Role::Operator,
            (Some(known), Owner::Organisation(_)) => known != Role::Operator,
            (None, Owner::Platform) => false,
            (None, Owner::Organisation(_)) => match ResourceId::new(role) {
                Ok(id) => self.store.of(owner).get(&self.kinds.roles, &id).await?.is_some(),
                Err(_) => false,
            },
        };
        if is_one {
            return Ok(());
        }
        let known = match owner {
            Owner::Platform => "`operator`",
            Owner::Organisation(_) => {
                "`org_admin`, `group_manager`, `auditor`, `member` and those among its `roles`"
            }
        };
        Err(AccessError::invalid("/role", format!("there is no such role here; there are {known}")))
    }

    /// The roles that an organisation made.
    pub async fn roles(
        &self,
        by: &Principal,
        owner: &Owner,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<RoleView>, AccessError> {
        by.may(permission("roles", Verb::Read)?, &Target::of(owner))?;
        self.page(owner, &self.kinds.roles, after, most, view).await
    }

    /// Makes a role, or gives it other permissions; its holders have them from their next request on.
    pub async fn put_role(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
        expected: Option<u64>,
        permissions: &[Permission],
        now: SystemTime,
    ) -> Result<RoleView, AccessError> {
        let verb = if expected.is_some() { Verb::Update } else { Verb::Create };
        by.may(permission("roles", verb)?, &Target::of(owner))?;
        let id = named("/name", name)?;
        if Role::named(name).is_some() {
            return Err(AccessError::invalid(
                "/name",
                "a role that comes with the product has this name; choose another",
            ));
        }
        let admins = Rights::of_role(Role::OrgAdmin, owner);
        if let Some(beyond) =
            permissions.iter().find(|permission| admins.reach(**permission) == Reach::Nothing)
        {
            let problem =
                format!("`{beyond}` is no permission of an organisation's admin, so no role here has it");
            return Err(AccessError::invalid("/permissions", problem));
        }
        // Who has the role already: nobody is pushed about who may more.
        by.covers(owner, &self.rights(owner, name, owner).await?, &[])?;
        by.covers(owner, &admins.only(permissions), &[])?;
        let mut permissions = permissions.to_vec();
        permissions.sort_unstable();
        permissions.dedup();
        let document = RoleDocument { permissions };
        let before: Option<Stored<RoleDocument>> = self.read(owner, &self.kinds.roles, &id).await?;
        let write = put(&self.kinds.roles, &id, expected, &document)?;
        let mut made = view(Stored { id: id.clone(), version: 0, document });
        let before = before.map(|before| shown(&view(before)));
        let effect = Effect::default().with(write, before, Some(shown(&made)));
        made.version =
            first_version(&self.done(&Deed::by(by, owner, "role_written", &id, now), &effect).await?);
        Ok(made)
    }

    /// Takes a role away; who had it has nothing, from their next request on.
    pub async fn delete_role(
        &self,
        by: &Principal,
        owner: &Owner,
        name: &str,
        expected: u64,
        now: SystemTime,
    ) -> Result<(), AccessError> {
        by.may(permission("roles", Verb::Delete)?, &Target::of(owner))?;
        let id = named("/name", name)?;
        by.covers(owner, &self.rights(owner, name, owner).await?, &[])?;
        let before: Option<Stored<RoleDocument>> = self.read(owner, &self.kinds.roles, &id).await?;
        let write = delete(&self.kinds.roles, &id, expected);
        let effect = Effect::default().with(write, before.map(|before| shown(&view(before))), None);
        self.done(&Deed::by(by, owner, "role_deleted", &id, now), &effect).await?;
        Ok(())
    }
}
