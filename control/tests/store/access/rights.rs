//! Whoever tries to get more than they were given: in an organisation, by a token, in another organisation.

use super::{HOUR, House, PASSWORD, at, ended, house, permission};
use crate::world::{World, owned};
use palisade_control::access::{
    AccessError, AccountChange, Invite, NewToken, Permission, Principal, Reach, Refused, Target, Verb, Who,
};
use palisade_control::store::StoreError;
use std::time::Duration;

on_both! {
    a_token_has_what_its_creator_has_now
    a_token_ends_with_its_creator
    a_token_is_made_by_a_person_and_of_their_own_rights
    tokens_are_their_creators_and_their_admins
    nobody_gives_what_they_do_not_have
    a_role_of_its_own_stays_below_an_admin
    the_last_admin_stays
    of_admins_who_take_each_other_the_role_at_once_one_stays
    what_is_another_organisations_does_not_exist
    everything_is_told_and_no_secret_with_it
}

fn has(principal: &Principal, text: &str) -> bool {
    principal.may(permission(text), &Target::of(principal.home())).is_ok()
}

/// The permission that was missing.
#[track_caller]
fn missing<T>(outcome: Result<T, AccessError>) -> String {
    match outcome.err() {
        Some(AccessError::Refused(Refused::Missing { permission, .. })) => permission.to_string(),
        Some(other) => panic!("it is refused otherwise: {other}"),
        None => panic!("it was done"),
    }
}

async fn change_role(house: &House, name: &str, role: &str, seconds: u64) {
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", seconds).await;
    let version = house.version(&acme, name).await;
    let change = AccountChange { role: Some(role.to_owned()), ..AccountChange::default() };
    house.access.update_account(&ann, &acme, name, version, &change, at(seconds)).await.unwrap();
}

async fn a_token_has_what_its_creator_has_now(world: World) {
    let house = house(&world).await;
    house.account("bob", "org_admin", &[]).await;
    let bob = house.principal(&owned("acme"), "bob", 0).await;
    let all = house.token(&bob, None, 0).await;
    let some = house.token(&bob, Some(&["dlp-rules.update", "dlp-rules.read", "api-keys.delete"]), 0).await;
    let (all_now, some_now) = (
        house.access.token(all.expose(), at(1)).await.unwrap(),
        house.access.token(some.expose(), at(1)).await.unwrap(),
    );
    assert!(has(&all_now, "dlp-rules.update") && has(&some_now, "dlp-rules.update"));
    assert!(has(&all_now, "dlp-rules.create") && !has(&some_now, "dlp-rules.create"));
    assert!(matches!(some_now.who(), Who::Token { creator, .. } if creator.as_str() == "bob"));
    assert!(some_now.actor().starts_with("token:acme/bob/"), "{}", some_now.actor());
    change_role(&house, "bob", "auditor", 10).await;
    let (all_now, some_now) = (
        house.access.token(all.expose(), at(11)).await.unwrap(),
        house.access.token(some.expose(), at(11)).await.unwrap(),
    );
    for gone in ["dlp-rules.update", "api-keys.delete", "dlp-rules.create"] {
        assert!(!has(&all_now, gone) && !has(&some_now, gone), "{gone}");
    }
    assert!(has(&all_now, "audit.read") && has(&some_now, "dlp-rules.read") && !has(&some_now, "audit.read"));
    // And back: what was listed, no more.
    change_role(&house, "bob", "org_admin", 20).await;
    let some_now = house.access.token(some.expose(), at(21)).await.unwrap();
    let listed: Vec<String> = some_now
        .permissions(&owned("acme"))
        .into_iter()
        .map(|(permission, _)| permission.to_string())
        .collect();
    assert_eq!(listed, ["api-keys.delete", "dlp-rules.read", "dlp-rules.update"]);
}

async fn a_token_ends_with_its_creator(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.account("bob", "member", &[]).await;
    let bob = house.principal(&acme, "bob", 0).await;
    let token = house.token(&bob, None, 0).await;
    let text = token.expose();
    assert!(text.starts_with("pal_token_org_acme_"), "{text}");
    ended(house.access.token(text, at(24 * HOUR)).await);
    ended(house.access.token(&text.replace("acme", "other"), at(1)).await);
    ended(house.access.session(text, at(1)).await.map(|_| ()));
    let ann = house.principal(&acme, "ann", 1).await;
    for (enabled, holds) in [(false, false), (true, true)] {
        let change = AccountChange { enabled: Some(enabled), ..AccountChange::default() };
        let version = house.version(&acme, "bob").await;
        house.access.update_account(&ann, &acme, "bob", version, &change, at(2)).await.unwrap();
        assert_eq!(house.access.token(text, at(3)).await.is_ok(), holds);
    }
    let version = house.version(&acme, "bob").await;
    house.access.delete_account(&ann, &acme, "bob", version, at(4)).await.unwrap();
    ended(house.access.token(text, at(5)).await);
    // Another one of that name is another one.
    house.account("bob", "org_admin", &[]).await;
    ended(house.access.token(text, at(6)).await);
    let bob = house.principal(&acme, "bob", 7).await;
    let token = house.token(&bob, None, 7).await;
    let Who::Token { id, .. } = house.access.token(token.expose(), at(8)).await.unwrap().who().clone() else {
        panic!("it is a token")
    };
    house.access.delete_token(&bob, &acme, id.as_str(), at(9)).await.unwrap();
    ended(house.access.token(token.expose(), at(10)).await);
}

async fn a_token_is_made_by_a_person_and_of_their_own_rights(world: World) {
    let house = house(&world).await;
    house.account("bob", "member", &[]).await;
    let bob = house.principal(&owned("acme"), "bob", 0).await;
    let new = |listed: &[&str], name: &str, hours| NewToken {
        name: name.to_owned(),
        permissions: Some(listed.iter().map(|text| permission(text)).collect()),
        lifetime: Duration::from_hours(hours),
    };
    for beyond in ["dlp-rules.update", "accounts.create", "audit.read", "floor.read"] {
        let listed = ["api-keys.read", beyond];
        assert_eq!(missing(house.access.create_token(&bob, &new(&listed, "ci", 1), at(0)).await), beyond);
    }
    for (name, hours, pointer) in
        [("", 1, "/name"), ("a\nb", 1, "/name"), ("ci", 0, "/expires"), ("ci", 9999, "/expires")]
    {
        let told = house.access.create_token(&bob, &new(&[], name, hours), at(0)).await.unwrap_err();
        assert!(matches!(told, AccessError::Invalid { pointer: at, .. } if at == pointer), "{told}");
    }
    let token = house.token(&bob, Some(&["api-tokens.create", "api-keys.read"]), 0).await;
    let token = house.access.token(token.expose(), at(1)).await.unwrap();
    let told =
        house.access.create_token(&token, &new(&["api-keys.read"], "more", 1), at(1)).await.unwrap_err();
    assert!(matches!(told, AccessError::NotByToken), "a token makes no other: {told}");
    // What is one's own reaches no further by a token.
    let bobs = Target { owner: &owned("acme"), user: Some("bob"), groups: &[] };
    let anns = Target { user: Some("ann"), ..bobs };
    assert!(token.may(permission("api-keys.read"), &bobs).is_ok());
    assert!(token.may(permission("api-keys.read"), &anns).is_err());
    assert!(token.may(permission("api-keys.create"), &bobs).is_err());
    // Nor has a token its creator's sessions.
    let told = house.access.sessions(&token, &owned("acme"), "bob", at(1)).await;
    assert_eq!(missing(told), "sessions.read");
}

async fn tokens_are_their_creators_and_their_admins(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    for name in ["bob", "eve"] {
        house.account(name, "member", &[]).await;
    }
    let (bob, eve) = (house.principal(&acme, "bob", 0).await, house.principal(&acme, "eve", 0).await);
    let token = house.token(&bob, None, 0).await;
    house.access.token(token.expose(), at(700)).await.unwrap();
    let own = house.access.tokens(&bob, &acme, None, 10).await.unwrap().items;
    assert_eq!((own.len(), own[0].used), (1, Some(1_800_000_700)));
    assert!(!format!("{own:?}").contains("pal_token"));
    assert!(house.access.tokens(&eve, &acme, None, 10).await.unwrap().items.is_empty());
    let told = house.access.delete_token(&eve, &acme, &own[0].id, at(1)).await.unwrap_err();
    assert!(matches!(told, AccessError::NotFound { .. }), "{told}");
    let ann = house.principal(&acme, "ann", 1).await;
    assert_eq!(house.access.tokens(&ann, &acme, None, 10).await.unwrap().items.len(), 1);
    house.access.delete_token(&ann, &acme, &own[0].id, at(1)).await.unwrap();
    ended(house.access.token(token.expose(), at(701)).await);
}

async fn nobody_gives_what_they_do_not_have(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", 0).await;
    let listed = ["accounts", "invitations", "roles", "grants", "users", "groups"];
    let mut may: Vec<Permission> =
        listed.iter().flat_map(|kind| Verb::ALL.map(|verb| Permission::new(kind, verb).unwrap())).collect();
    may.extend(["organisations.read", "usage.read"].map(permission));
    house.access.put_role(&ann, &acme, "desk", None, &may, at(0)).await.unwrap();
    house.account("desk", "desk", &[]).await;
    house.account("deputy", "org_admin", &[]).await;
    house.account("looked-after", "desk", &["dev"]).await;
    let desk = house.principal(&acme, "desk", 1).await;
    let invite = |role: &str| Invite { name: "friend".to_owned(), role: role.to_owned(), groups: Vec::new() };
    for role in ["org_admin", "auditor", "group_manager", "member"] {
        let told = house.access.invite(&desk, &acme, &invite(role), at(1)).await;
        assert!(missing(told).contains('.'), "{role} may something that the desk may not");
    }
    house.access.invite(&desk, &acme, &invite("desk"), at(1)).await.unwrap();
    // Over an account that may more it has no power, whatever it would change; nor does it make itself more.
    let promoted = AccountChange { role: Some("org_admin".to_owned()), ..AccountChange::default() };
    let without = AccountChange { remove_totp: true, ..AccountChange::default() };
    for (name, change) in [("desk", &promoted), ("looked-after", &promoted), ("deputy", &without)] {
        let version = house.version(&acme, name).await;
        missing(house.access.update_account(&desk, &acme, name, version, change, at(1)).await);
    }
    let version = house.version(&acme, "deputy").await;
    missing(house.access.delete_account(&desk, &acme, "deputy", version, at(1)).await);
    let version = house.version(&acme, "looked-after").await;
    house.access.update_account(&desk, &acme, "looked-after", version, &without, at(1)).await.unwrap();
    // Nor by a role: its own made wider, or another one.
    let wider: Vec<Permission> = may.iter().copied().chain([permission("exports.create")]).collect();
    for (name, expected) in [("desk", Some(1)), ("another", None)] {
        let told = house.access.put_role(&desk, &acme, name, expected, &wider, at(1)).await;
        assert_eq!(missing(told), "exports.create", "{name}");
    }
    house.access.put_role(&desk, &acme, "another", None, &may[..3], at(1)).await.unwrap();
    house.access.put_role(&ann, &acme, "strong", None, &wider, at(1)).await.unwrap();
    missing(house.access.put_role(&desk, &acme, "strong", Some(1), &may, at(1)).await);
    missing(house.access.delete_role(&desk, &acme, "strong", 1, at(1)).await);
    // What it gave is judged by what it has when it is used.
    house.access.put_role(&ann, &acme, "desk", Some(1), &may[..4], at(2)).await.unwrap();
    let desk = house.principal(&acme, "desk", 3).await;
    assert_eq!(
        missing(house.access.invite(&desk, &acme, &invite("desk"), at(3)).await),
        "invitations.create"
    );
}

async fn a_role_of_its_own_stays_below_an_admin(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", 0).await;
    for beyond in
        ["organisations.update", "organisations.delete", "floor.read", "audit.update", "api-tokens.update"]
    {
        let told =
            house.access.put_role(&ann, &acme, "odd", None, &[permission(beyond)], at(0)).await.unwrap_err();
        assert!(
            told.to_string().contains(&format!("`{beyond}` is no permission of an organisation's admin")),
            "{told}"
        );
    }
    for name in ["operator", "org_admin", "member", "Odd", "o/d"] {
        let told = house.access.put_role(&ann, &acme, name, None, &[], at(0)).await.unwrap_err();
        assert!(matches!(told, AccessError::Invalid { pointer: "/name", .. }), "{name}: {told}");
    }
    let permissions = [permission("usage.read"), permission("api-tokens.create"), permission("usage.read")];
    let role = house.access.put_role(&ann, &acme, "counter", None, &permissions, at(0)).await.unwrap();
    assert_eq!((role.permissions.len(), role.version), (2, 1));
    let stale = house.access.put_role(&ann, &acme, "counter", None, &permissions, at(0)).await.unwrap_err();
    assert!(matches!(stale, AccessError::Store(StoreError::Conflict { .. })), "{stale}");
    house.account("bob", "counter", &[]).await;
    let bob = house.sign_in(&acme, "bob", 1).await.cookie;
    let now = house.access.session(bob.expose(), at(1)).await.unwrap().principal;
    let expected =
        vec![(permission("usage.read"), Reach::All), (permission("api-tokens.create"), Reach::Own)];
    assert_eq!(now.permissions(&acme), expected);
    // The session stays, its rights go with the role.
    house.access.delete_role(&ann, &acme, "counter", 1, at(2)).await.unwrap();
    let now = house.access.session(bob.expose(), at(3)).await.unwrap().principal;
    assert!(now.permissions(&acme).is_empty());
    for unknown in ["counter", "operator", "nothing", "o/d"] {
        let invite = Invite { name: "eve".to_owned(), role: unknown.to_owned(), groups: Vec::new() };
        let told = house.access.invite(&ann, &acme, &invite, at(3)).await.unwrap_err();
        assert!(matches!(told, AccessError::Invalid { pointer: "/role", .. }), "{unknown}: {told}");
    }
}

async fn the_last_admin_stays(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", 0).await;
    let version = house.version(&acme, "ann").await;
    let off = AccountChange { enabled: Some(false), ..AccountChange::default() };
    let less = AccountChange { role: Some("member".to_owned()), ..AccountChange::default() };
    for change in [&off, &less] {
        let told = house.access.update_account(&ann, &acme, "ann", version, change, at(0)).await.unwrap_err();
        assert!(told.to_string().contains("the last account with the role `org_admin`"), "{told}");
    }
    assert!(house.access.delete_account(&ann, &acme, "ann", version, at(0)).await.is_err());
    house.account("bob", "org_admin", &[]).await;
    let stale = house.access.update_account(&ann, &acme, "ann", version + 1, &less, at(0)).await.unwrap_err();
    assert!(matches!(stale, AccessError::Store(StoreError::Conflict { .. })), "{stale}");
    house.access.update_account(&ann, &acme, "ann", version, &less, at(0)).await.unwrap();
}

async fn of_admins_who_take_each_other_the_role_at_once_one_stays(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.account("bob", "org_admin", &[]).await;
    let less = AccountChange { role: Some("member".to_owned()), ..AccountChange::default() };
    for round in 0..6 {
        let ann = house.principal(&acme, "ann", 0).await;
        let bob = house.principal(&acme, "bob", 0).await;
        let versions = (house.version(&acme, "ann").await, house.version(&acme, "bob").await);
        let takes = |by, name, version| house.access.update_account(by, &acme, name, version, &less, at(0));
        let (one, other) = tokio::join!(takes(&ann, "bob", versions.1), takes(&bob, "ann", versions.0));
        let (lost, too_late, stays) = match (one, other) {
            (Ok(lost), Err(too_late)) => (lost, too_late, &ann),
            (Err(too_late), Ok(lost)) => (lost, too_late, &bob),
            both => panic!("{round}: {both:?}"),
        };
        assert!(too_late.to_string().contains("the last account with the role `org_admin`"), "{too_late}");
        let back = AccountChange { role: Some("org_admin".to_owned()), ..AccountChange::default() };
        house.access.update_account(stays, &acme, &lost.name, lost.version, &back, at(0)).await.unwrap();
        // And of two who delete each other's account.
        let deletes = |by, name, version| house.access.delete_account(by, &acme, name, version, at(0));
        if round == 5 {
            let (ann, bob) = (house.principal(&acme, "ann", 0).await, house.principal(&acme, "bob", 0).await);
            let versions = (house.version(&acme, "ann").await, house.version(&acme, "bob").await);
            let (one, other) =
                tokio::join!(deletes(&ann, "bob", versions.1), deletes(&bob, "ann", versions.0));
            assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        }
    }
}

async fn what_is_another_organisations_does_not_exist(world: World) {
    let house = house(&world).await;
    let (acme, other) = (owned("acme"), owned("other"));
    let ann = house.principal(&acme, "ann", 0).await;
    let invite = Invite { name: "eve".to_owned(), role: "member".to_owned(), groups: Vec::new() };
    let (access, none) = (&house.access, AccountChange::default());
    for organisation in [&other, &owned("never")] {
        for (tried, told) in [
            ("accounts", access.accounts(&ann, organisation, None, 9).await.err()),
            ("account", access.account(&ann, organisation, "ann").await.err()),
            ("change", access.update_account(&ann, organisation, "ann", 1, &none, at(0)).await.err()),
            ("delete", access.delete_account(&ann, organisation, "ann", 1, at(0)).await.err()),
            ("invite", access.invite(&ann, organisation, &invite, at(0)).await.err()),
            ("invitations", access.invitations(&ann, organisation, None, 9).await.err()),
            ("withdraw", access.withdraw_invitation(&ann, organisation, "a", 1, at(0)).await.err()),
            ("tokens", access.tokens(&ann, organisation, None, 9).await.err()),
            ("delete token", access.delete_token(&ann, organisation, "a", at(0)).await.err()),
            ("roles", access.roles(&ann, organisation, None, 9).await.err()),
            ("role", access.put_role(&ann, organisation, "a", None, &[], at(0)).await.err()),
            ("delete role", access.delete_role(&ann, organisation, "a", 1, at(0)).await.err()),
            ("grants", access.grants(&ann, organisation, None, 9).await.err()),
            ("revoke grant", access.revoke_grant(&ann, organisation, "a", at(0)).await.err()),
            ("sessions", access.sessions(&ann, organisation, "ann", at(0)).await.err()),
            ("end session", access.revoke_session(&ann, organisation, "ann", "a", at(0)).await.err()),
            ("end sessions", access.revoke_sessions(&ann, organisation, "ann", at(0)).await.err()),
        ] {
            assert!(matches!(told, Some(AccessError::Refused(Refused::NotFound))), "{tried}: {told:?}");
        }
        let entered = access.enter(ann.clone(), organisation, at(0)).await.unwrap();
        assert_eq!(entered.may(permission("usage.read"), &Target::of(organisation)), Err(Refused::NotFound));
    }
    house.sign_in(&other, "ann", 0).await;
}

async fn everything_is_told_and_no_secret_with_it(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let cookie = house.sign_in(&acme, "ann", 0).await.cookie;
    let ann = house.access.session(cookie.expose(), at(0)).await.unwrap();
    let token = house.token(&ann.principal, None, 0).await;
    house.access.sign_out(&ann, at(1)).await.unwrap();
    let told = house.actions();
    for expected in [
        ("account:acme/ann", "account_made"),
        ("account:acme/ann", "signed_in"),
        ("account:acme/ann", "token_created"),
        ("account:acme/ann", "signed_out"),
    ] {
        assert!(told.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} is missing: {told:?}");
    }
    let events = format!("{:?}", house.events.lock().unwrap());
    for secret in [PASSWORD, cookie.expose(), token.expose()] {
        assert!(!events.contains(secret));
    }
}
