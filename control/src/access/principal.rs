//! May this one do that? A [`Principal`] is somebody who proved who they are, with their rights at this moment.
//!
//! It is made by [`Access`](super::Access) alone, for one request, from what stands in the store: so a right that was
//! taken away is gone with the next request, whoever holds a session or a token. What is another organisation's does
//! not exist for it; what it may not do in its own is refused by the permission that is missing.

use super::permissions::{Permission, Reach, Rights, Role, Verb};
use crate::store::{OrganisationId, Owner, ResourceId};

/// How somebody proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person, by a session.
    Account(ResourceId),
    /// A program, by an API token.
    Token {
        /// The token's id.
        id: ResourceId,
        /// Whose rights it has a part of.
        creator: ResourceId,
    },
}

/// Whose resource is it that something is to be done with?
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The organisation's, or the platform's.
    pub owner: &'a Owner,
    /// The user it belongs to, if it belongs to one.
    pub user: Option<&'a str>,
    /// The groups it belongs to.
    pub groups: &'a [String],
}

impl<'a> Target<'a> {
    /// A resource that belongs to no user and no group.
    pub fn of(owner: &'a Owner) -> Self {
        Self { owner, user: None, groups: &[] }
    }
}

/// Why something may not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is another organisation's: for this caller it does not exist.
    #[error("there is no such organisation")]
    NotFound,
    /// A right is missing.
    #[error("the permission `{permission}` is missing{}", match .reach {
        Reach::Nothing | Reach::All => "",
        Reach::Own => ": it is given for what is your own",
        Reach::Groups => ": it is given for what is your own and your groups'",
    })]
    Missing {
        /// Which one.
        permission: Permission,
        /// How far it is given.
        reach: Reach,
    },
}

/// Somebody who proved who they are.
#[derive(Clone, Debug)]
pub struct Principal {
    pub(super) who: Who,
    pub(super) home: Owner,
    /// Where the account was born: another one of the same name is another one.
    pub(super) born: String,
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    /// Over what is of its own owner.
    pub(super) at_home: Rights,
    /// Over organisations, if it is the platform's.
    pub(super) abroad: Rights,
    /// What an organisation lets it do for a while.
    pub(super) support: Option<(OrganisationId, Rights)>,
}

impl Principal {
    /// Whether it may do this with that resource. A change must be asked of the resource as it was, and as it becomes.
    pub fn may(&self, permission: Permission, target: &Target<'_>) -> Result<(), Refused> {
        let reach = self.reach(permission, target.owner)?;
        // Users and groups are of its own home: who is let in elsewhere owns nothing there, whatever they are called.
        let is_home = self.home == *target.owner;
        let is_own = is_home && target.user.is_some_and(|user| user == self.user);
        let is_mine = |group: &String| is_home && self.groups.contains(group);
        let (all_mine, one_mine) = (target.groups.iter().all(is_mine), target.groups.iter().any(is_mine));
        let is_read = permission.verb() == Verb::Read;
        let has = match reach {
            Reach::Nothing => false,
            // What is one's own does not become a way into groups that are not.
            Reach::Own => is_own && (is_read || all_mine),
            Reach::Groups if is_read => is_own || one_mine,
            Reach::Groups => (is_own || one_mine) && all_mine,
            Reach::All => true,
        };
        if has { Ok(()) } else { Err(Refused::Missing { permission, reach }) }
    }

    /// Of whose resources it has a permission, for lists; never of nobody's.
    pub fn reach(&self, permission: Permission, owner: &Owner) -> Result<Reach, Refused> {
        let reach = self.over(owner).ok_or(Refused::NotFound)?.reach(permission);
        if reach == Reach::Nothing { Err(Refused::Missing { permission, reach }) } else { Ok(reach) }
    }

    /// What it may at all, for showing.
    pub fn permissions(&self, owner: &Owner) -> Vec<(Permission, Reach)> {
        self.over(owner).map_or_else(Vec::new, |rights| rights.list())
    }

    /// How it proved who it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Whose account it is.
    pub fn home(&self) -> &Owner {
        &self.home
    }

    /// The user whose keys are its own.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The groups it belongs to, or looks after.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The account whose rights these are.
    pub fn account(&self) -> &ResourceId {
        match &self.who {
            Who::Account(account) | Who::Token { creator: account, .. } => account,
        }
    }

    /// As the audit writes it: `account:acme/ann`, `token:acme/ann/01A…`; `support:ann` for somebody of the platform in
    /// an organisation that let them in.
    pub fn actor(&self) -> String {
        let home = match &self.home {
            Owner::Platform => String::new(),
            Owner::Organisation(id) => format!("{id}/"),
        };
        match &self.who {
            Who::Account(account) if self.support.is_some() => format!("support:{home}{account}"),
            Who::Account(account) => format!("account:{home}{account}"),
            Who::Token { id, creator } => format!("token:{home}{creator}/{id}"),
        }
    }

    /// Its rights over what is this owner's; none: the owner is no business of it, and does not exist for it.
    fn over(&self, owner: &Owner) -> Option<Rights> {
        match (&self.home, owner) {
            (home, owner) if home == owner => Some(self.at_home.clone()),
            (Owner::Platform, Owner::Organisation(id)) => Some(match &self.support {
                Some((supported, rights)) if supported == id => self.abroad.or(rights),
                Some(_) | None => self.abroad.clone(),
            }),
            (Owner::Organisation(_), Owner::Platform) => Some(Rights::none()),
            (Owner::Organisation(_), Owner::Organisation(_)) | (Owner::Platform, Owner::Platform) => None,
        }
    }

    /// Whether it may itself do all that somebody with these rights and groups could: nobody gives what they do not
    /// have, and nobody has power over an account that may more.
    pub(super) fn covers(&self, owner: &Owner, rights: &Rights, groups: &[String]) -> Result<(), Refused> {
        let own = self.over(owner).ok_or(Refused::NotFound)?;
        let most = Rights::of_role(Role::OrgAdmin, owner);
        let has_groups = groups.iter().all(|group| self.groups.contains(group));
        for (permission, reach) in rights.list() {
            let had = own.reach(permission);
            // Who does not reach everything reaches others' by their groups: they must be its own as well.
            if had < reach || (had < most.reach(permission) && !has_groups) {
                return Err(Refused::Missing { permission, reach: had });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner(id: &str) -> Owner {
        Owner::Organisation(OrganisationId::new(id).unwrap())
    }

    fn principal(home: &Owner, role: Role, groups: &[&str]) -> Principal {
        let name = ResourceId::new("ann").unwrap();
        let abroad = match home {
            Owner::Platform => Rights::of_role(role, &owner("any")),
            Owner::Organisation(_) => Rights::none(),
        };
        Principal {
            who: Who::Account(name),
            home: home.clone(),
            born: String::new(),
            user: "ann".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            at_home: Rights::of_role(role, home),
            abroad,
            support: None,
        }
    }

    #[test]
    fn what_is_anothers_does_not_exist_and_what_is_missing_is_named() {
        let (acme, other) = (owner("acme"), owner("other"));
        let read = Permission::parse("api-keys.read").unwrap();
        for role in [Role::OrgAdmin, Role::GroupManager, Role::Auditor, Role::Member] {
            let ann = principal(&acme, role, &[]);
            for permission in Permission::all() {
                assert_eq!(ann.may(permission, &Target::of(&other)), Err(Refused::NotFound));
                let told = ann.may(permission, &Target::of(&Owner::Platform)).unwrap_err();
                assert_eq!(told, Refused::Missing { permission, reach: Reach::Nothing });
            }
        }
        let operator = principal(&Owner::Platform, Role::Operator, &[]);
        let told = operator.may(read, &Target::of(&acme)).unwrap_err().to_string();
        assert_eq!(told, "the permission `api-keys.read` is missing");
        let usage = Permission::parse("usage.read").unwrap();
        assert_eq!(operator.may(usage, &Target::of(&acme)), Ok(()));
        let member = principal(&acme, Role::Member, &[]);
        let bobs = Target { owner: &acme, user: Some("bob"), groups: &[] };
        let told = member.may(read, &bobs).unwrap_err().to_string();
        assert_eq!(told, "the permission `api-keys.read` is missing: it is given for what is your own");
        assert_eq!(member.reach(read, &acme), Ok(Reach::Own));
    }

    #[test]
    fn a_manager_of_groups_reaches_what_is_all_of_their_groups() {
        let acme = owner("acme");
        let ann = principal(&acme, Role::GroupManager, &["dev", "ops"]);
        let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (verb, names, has) in [
            ("create", &["dev"][..], true),
            ("create", &["dev", "ops"], true),
            ("create", &["dev", "boss"], false),
            ("create", &["boss"], false),
            ("create", &[], false),
            ("read", &["dev", "boss"], true),
            ("read", &["boss"], false),
        ] {
            let permission = Permission::parse(&format!("api-keys.{verb}")).unwrap();
            let names = groups(names);
            let target = Target { owner: &acme, user: Some("bob"), groups: &names };
            assert_eq!(ann.may(permission, &target).is_ok(), has, "{verb} {names:?}");
        }
        let create = Permission::parse("api-keys.create").unwrap();
        let boss = groups(&["boss"]);
        let own = Target { owner: &acme, user: Some("ann"), groups: &boss };
        assert!(ann.may(create, &own).is_err(), "an own key is no way into another group");
        let member = principal(&acme, Role::Member, &["dev"]);
        assert!(member.may(create, &own).is_err());
        assert!(member.may(create, &Target { groups: &groups(&["dev"]), ..own }).is_ok());
    }

    fn role() -> impl Strategy<Value = Role> {
        (0..Role::ALL.len()).prop_map(|at| Role::ALL[at])
    }

    fn listed() -> impl Strategy<Value = Vec<Permission>> {
        let all: Vec<Permission> = Permission::all().collect();
        prop::collection::vec((0..all.len()).prop_map(move |at| all[at]), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is listed, nobody gets a permission, or a reach, that they did not have.
        #[test]
        fn a_subset_is_one(role in role(), first in listed(), second in listed()) {
            let all = Rights::of_role(role, &owner("acme"));
            let part = all.only(&first);
            let part_of_part = part.only(&second);
            for permission in Permission::all() {
                prop_assert!(part.reach(permission) <= all.reach(permission));
                prop_assert!(part_of_part.reach(permission) <= part.reach(permission));
                if !first.contains(&permission) {
                    prop_assert_eq!(part_of_part.reach(permission), Reach::Nothing);
                }
            }
        }

        /// Who covers somebody may do whatever that one may, with every target.
        #[test]
        fn who_covers_another_may_all_that_they_may(
            giver in role(), giver_groups in prop::collection::vec("[abc]", 0..3),
            taker in role(), taker_groups in prop::collection::vec("[abc]", 0..3),
            listed in listed(), target_groups in prop::collection::vec("[abc]", 0..3),
        ) {
            let acme = owner("acme");
            let names = |groups: &[String]| -> Vec<String> { groups.to_vec() };
            let mut giver = principal(&acme, giver, &[]);
            giver.groups = names(&giver_groups);
            let mut taker = principal(&acme, taker, &[]);
            taker.at_home = taker.at_home.only(&listed);
            (taker.groups, taker.user) = (names(&taker_groups), "bob".to_owned());
            prop_assume!(giver.covers(&acme, &taker.at_home, &taker.groups).is_ok());
            // What is the taker's own is theirs; everything else the giver reaches as well.
            let target = Target { owner: &acme, user: None, groups: &target_groups };
            for permission in Permission::all() {
                if taker.at_home.reach(permission) > Reach::Own && taker.may(permission, &target).is_ok() {
                    prop_assert!(giver.may(permission, &target).is_ok(), "{} {:?}", permission, target_groups);
                }
            }
        }
    }
}
