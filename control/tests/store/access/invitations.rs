//! Who is invited, and what an invitation is worth.

use super::{HOUR, PASSWORD, at, house};
use crate::world::{World, organisation, owned};
use palisade_control::access::{AccessError, AccountChange, Invite};
use palisade_control::store::Owner;

on_both! {
    the_first_operator_is_invited_once
    the_first_admin_of_an_organisation_is_one
    an_invitation_makes_one_account_however_many_use_it
    an_invitation_ends
}

async fn the_first_operator_is_invited_once(world: World) {
    let house = house(&world).await;
    let (one, two) = tokio::join!(house.access.bootstrap(at(0)), house.access.bootstrap(at(0)));
    let link = match (one.unwrap(), two.unwrap()) {
        (Some(link), None) | (None, Some(link)) => link,
        both => panic!("of two at once one is shown: {both:?}"),
    };
    assert!(link.text.expose().starts_with("pal_invite_platform_"));
    assert!(house.access.bootstrap(at(9)).await.unwrap().is_none(), "also before it is used");
    house.access.accept(link.text.expose(), PASSWORD, at(10)).await.unwrap();
    assert!(house.access.bootstrap(at(20)).await.unwrap().is_none());
    let again = house.access.accept(link.text.expose(), PASSWORD, at(20)).await.unwrap_err();
    assert!(matches!(again, AccessError::Invitation), "{again}");
    house.signed(&Owner::Platform, "operator", 30).await;
    // Where all operators are gone, whoever has the master key invites another one.
    let link = house.access.recover_operator(at(40)).await.unwrap();
    let account = house.access.accept(link.text.expose(), PASSWORD, at(50)).await.unwrap();
    assert!(account.name.starts_with("operator-") && account.role == "operator");
    let told =
        house.access.invite_first_admin(&organisation("acme"), "eve", "palisade", at(60)).await.unwrap_err();
    assert!(
        matches!(told, AccessError::Exists { .. }),
        "an organisation with an account invites by itself: {told}"
    );
}

async fn the_first_admin_of_an_organisation_is_one(world: World) {
    let house = house(&world).await;
    let fresh = organisation("fresh");
    house.store.create_organisation(&fresh).await.unwrap();
    let mut links = Vec::new();
    for name in ["eve", "owner", "late"] {
        links.push(house.access.invite_first_admin(&fresh, name, "palisade", at(0)).await.unwrap());
    }
    let (one, two) = tokio::join!(
        house.access.accept(links[0].text.expose(), PASSWORD, at(1)),
        house.access.accept(links[1].text.expose(), PASSWORD, at(1)),
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
    // Nobody comes in later by a link that was made before.
    let told = house.access.accept(links[2].text.expose(), PASSWORD, at(2)).await.unwrap_err();
    assert!(matches!(told, AccessError::Invitation), "{told}");
    let told = house.access.invite_first_admin(&fresh, "again", "palisade", at(3)).await.unwrap_err();
    assert!(matches!(told, AccessError::Exists { .. }), "{told}");
}

async fn an_invitation_makes_one_account_however_many_use_it(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", 0).await;
    let invite = Invite { name: "bob".to_owned(), role: "member".to_owned(), groups: Vec::new() };
    let link = house.access.invite(&ann, &acme, &invite, at(0)).await.unwrap();
    let weak =
        house.access.accept(link.text.expose(), "password password password", at(1)).await.unwrap_err();
    assert!(weak.to_string().contains("lists of leaked ones"), "{weak}");
    let tasks: Vec<_> = (0..5)
        .map(|at_once| {
            let (access, text) = (house.access.clone(), link.text.expose().to_owned());
            let password = format!("{PASSWORD} {at_once}");
            tokio::spawn(async move { access.accept(&text, &password, at(2)).await.map(|_| password) })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(password) => made.push(password),
            Err(told) => {
                assert!(matches!(told, AccessError::Invitation | AccessError::Exists { .. }), "{told}");
            }
        }
    }
    assert_eq!(made.len(), 1, "one of them");
    house.try_in("bob", &made[0], None, 1, 3).await.unwrap();
    // Whose name is taken is not invited, and nobody is called like somebody else.
    for (name, pointer) in [("bob", ""), ("Bob", "/name"), ("b b", "/name")] {
        let invite = Invite { name: name.to_owned(), ..invite.clone() };
        match house.access.invite(&ann, &acme, &invite, at(4)).await.unwrap_err() {
            AccessError::Exists { .. } => assert_eq!(pointer, ""),
            AccessError::Invalid { pointer: told, .. } => assert_eq!(told, pointer),
            other => panic!("{other}"),
        }
    }
}

async fn an_invitation_ends(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.account("deputy", "org_admin", &[]).await;
    let invite =
        |name: &str| Invite { name: name.to_owned(), role: "org_admin".to_owned(), groups: Vec::new() };
    let deputy = house.principal(&acme, "deputy", 0).await;
    let late = house.access.invite(&deputy, &acme, &invite("late"), at(0)).await.unwrap();
    let withdrawn = house.access.invite(&deputy, &acme, &invite("withdrawn"), at(0)).await.unwrap();
    let orphan = house.access.invite(&deputy, &acme, &invite("orphan"), at(0)).await.unwrap();
    let (number, version) = (&withdrawn.invitation.id, withdrawn.invitation.version);
    house.access.withdraw_invitation(&deputy, &acme, number, version, at(1)).await.unwrap();
    // Who invited loses the right: what was given with it goes, too.
    let ann = house.principal(&acme, "ann", 0).await;
    let change = AccountChange { role: Some("auditor".to_owned()), ..AccountChange::default() };
    let version = house.version(&acme, "deputy").await;
    house.access.update_account(&ann, &acme, "deputy", version, &change, at(2)).await.unwrap();
    for (link, seconds) in [(&late, 7 * 24 * HOUR), (&withdrawn, 3), (&orphan, 3)] {
        let told = house.access.accept(link.text.expose(), PASSWORD, at(seconds)).await.unwrap_err();
        assert!(matches!(told, AccessError::Invitation), "{}: {told}", link.invitation.name);
    }
    let cookie = house.sign_in(&acme, "ann", 4).await.cookie;
    let told = house.access.accept(cookie.expose(), PASSWORD, at(4)).await.unwrap_err();
    assert!(matches!(told, AccessError::Invitation), "a session is no invitation: {told}");
}
