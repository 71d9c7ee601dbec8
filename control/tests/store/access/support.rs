//! What the operator sees, and whom an organisation lets in.

use super::{HOUR, House, at, house, permission};
use crate::world::{World, owned};
use palisade_control::access::{
    AccessError, AccountChange, GrantView, Invite, NewGrant, Permission, Principal, Refused, Target, Verb,
};
use palisade_control::store::Owner;
use std::time::Duration;

on_both! {
    the_operator_sees_counts_and_no_content
    support_is_let_in_for_a_while_and_no_further
    support_ends_when_it_is_revoked_or_its_operator_is_another
    who_is_let_in_owns_nothing_there
    support_leaves_nothing_behind
    a_grant_gives_no_more_than_its_giver_has
}

const CONTENT: [&str; 5] = ["audit.read", "api-keys.read", "dlp-rules.read", "settings.read", "exports.read"];

async fn grant(house: &House, role: &str, hours: u64, seconds: u64) -> GrantView {
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", seconds).await;
    let new = NewGrant {
        operator: "operator".to_owned(),
        role: role.to_owned(),
        reason: "rules that match nothing".to_owned(),
        lifetime: Duration::from_hours(hours),
    };
    house.access.grant_support(&ann, &acme, &new, at(seconds)).await.unwrap()
}

/// The operator, in a session, at an organisation.
async fn entered(house: &House, owner: &Owner, seconds: u64) -> Principal {
    let operator = house.principal(&Owner::Platform, "operator", seconds).await;
    house.access.enter(operator, owner, at(seconds)).await.unwrap()
}

fn has(principal: &Principal, owner: &Owner, text: &str) -> bool {
    principal.may(permission(text), &Target::of(owner)).is_ok()
}

async fn the_operator_sees_counts_and_no_content(world: World) {
    let house = house(&world).await;
    house.operator().await;
    let acme = owned("acme");
    let operator = entered(&house, &acme, 0).await;
    for text in
        ["organisations.create", "organisations.update", "organisations.delete", "usage.read", "health.read"]
    {
        assert!(has(&operator, &acme, text), "{text}");
    }
    for text in CONTENT {
        let told = operator.may(permission(text), &Target::of(&acme)).unwrap_err();
        assert_eq!(told.to_string(), format!("the permission `{text}` is missing"));
    }
    let (access, none) = (&house.access, AccountChange::default());
    let invite = Invite { name: "eve".to_owned(), role: "org_admin".to_owned(), groups: Vec::new() };
    for (tried, told) in [
        ("accounts", access.accounts(&operator, &acme, None, 9).await.err()),
        ("change", access.update_account(&operator, &acme, "ann", 1, &none, at(0)).await.err()),
        ("invite", access.invite(&operator, &acme, &invite, at(0)).await.err()),
        ("tokens", access.tokens(&operator, &acme, None, 9).await.err()),
        ("sessions", access.sessions(&operator, &acme, "ann", at(0)).await.err()),
        ("role", access.put_role(&operator, &acme, "a", None, &[], at(0)).await.err()),
        ("grants", access.grants(&operator, &acme, None, 9).await.err()),
    ] {
        assert!(matches!(told, Some(AccessError::Refused(Refused::Missing { .. }))), "{tried}: {told:?}");
    }
    for text in ["providers.update", "floor.update", "accounts.create", "kill-switches.create"] {
        assert!(has(&operator, &Owner::Platform, text), "{text}");
    }
}

async fn support_is_let_in_for_a_while_and_no_further(world: World) {
    let house = house(&world).await;
    house.operator().await;
    let (acme, other) = (owned("acme"), owned("other"));
    assert!(!has(&entered(&house, &acme, 0).await, &acme, "dlp-rules.read"));
    let given = grant(&house, "auditor", 2, 10).await;
    assert_eq!((given.expires - given.created, given.granted_by.as_str()), (2 * HOUR, "account:acme/ann"));
    let operator = entered(&house, &acme, 20).await;
    for text in ["audit.read", "api-keys.read", "dlp-rules.read"] {
        assert!(has(&operator, &acme, text), "{text}");
        assert!(!has(&operator, &other, text), "{text} of another organisation");
        assert!(!has(&entered(&house, &other, 20).await, &other, text));
    }
    assert!(!has(&operator, &acme, "dlp-rules.update"), "an auditor writes nothing");
    assert_eq!(operator.actor(), "support:operator");
    // Its own rights stay what they are, and a program of it is let in nowhere.
    assert!(has(&operator, &acme, "organisations.update"));
    let own = house.principal(&Owner::Platform, "operator", 20).await;
    assert_eq!(own.actor(), "account:operator");
    let token = house.token(&own, None, 20).await;
    let token = house.access.token(token.expose(), at(21)).await.unwrap();
    let token = house.access.enter(token, &acme, at(21)).await.unwrap();
    assert!(has(&token, &acme, "usage.read") && !has(&token, &acme, "dlp-rules.read"));
    let seen = house.access.grants(&house.principal(&acme, "ann", 22).await, &acme, None, 9).await.unwrap();
    assert_eq!(seen.items, [given]);
    assert!(!has(&entered(&house, &acme, 10 + 2 * HOUR).await, &acme, "dlp-rules.read"), "its time is over");
}

async fn support_ends_when_it_is_revoked_or_its_operator_is_another(world: World) {
    let house = house(&world).await;
    house.operator().await;
    let acme = owned("acme");
    let given = grant(&house, "auditor", 100, 0).await;
    assert!(has(&entered(&house, &acme, 1).await, &acme, "audit.read"));
    let ann = house.principal(&acme, "ann", 2).await;
    house.access.revoke_grant(&ann, &acme, &given.id, at(2)).await.unwrap();
    assert!(!has(&entered(&house, &acme, 3).await, &acme, "audit.read"));
    let told = house.access.revoke_grant(&ann, &acme, &given.id, at(3)).await.unwrap_err();
    assert!(matches!(told, AccessError::NotFound { .. }), "{told}");
    grant(&house, "auditor", 100, 4).await;
    // The account is deleted, and another one of that name made.
    let invite =
        |name: &str| Invite { name: name.to_owned(), role: "operator".to_owned(), groups: Vec::new() };
    let operator = house.principal(&Owner::Platform, "operator", 5).await;
    let link = house.access.invite(&operator, &Owner::Platform, &invite("second"), at(5)).await.unwrap();
    house.access.accept(link.text.expose(), super::PASSWORD, at(5)).await.unwrap();
    let second = house.principal(&Owner::Platform, "second", 6).await;
    let version = house.version(&Owner::Platform, "operator").await;
    house.access.delete_account(&second, &Owner::Platform, "operator", version, at(6)).await.unwrap();
    let link = house.access.invite(&second, &Owner::Platform, &invite("operator"), at(7)).await.unwrap();
    house.access.accept(link.text.expose(), super::PASSWORD, at(7)).await.unwrap();
    assert!(!has(&entered(&house, &acme, 8).await, &acme, "audit.read"), "it is another one");
    let told: Vec<&str> = house.actions().into_iter().map(|(_, action)| action).collect();
    assert!(told.contains(&"support_granted") && told.contains(&"support_revoked"));
}

async fn who_is_let_in_owns_nothing_there(world: World) {
    let house = house(&world).await;
    house.operator().await;
    let acme = owned("acme");
    grant(&house, "member", 1, 0).await;
    let operator = entered(&house, &acme, 1).await;
    // A user of the organisation may be called like the operator.
    let theirs = Target { owner: &acme, user: Some("operator"), groups: &[] };
    for text in ["api-keys.read", "api-keys.update", "usage.read"] {
        let counts = text == "usage.read";
        assert_eq!(operator.may(permission(text), &theirs).is_ok(), counts, "{text}");
    }
}

async fn support_leaves_nothing_behind(world: World) {
    let house = house(&world).await;
    house.operator().await;
    let acme = owned("acme");
    grant(&house, "org_admin", 1, 0).await;
    let operator = entered(&house, &acme, 1).await;
    assert!(has(&operator, &acme, "dlp-rules.update") && has(&operator, &acme, "accounts.read"));
    let lasting = ["accounts", "invitations", "api-tokens", "roles", "grants", "sessions"];
    for permission in Permission::all().filter(|permission| lasting.contains(&permission.kind())) {
        let is_read = permission.verb() == Verb::Read;
        assert_eq!(operator.may(permission, &Target::of(&acme)).is_ok(), is_read, "{permission}");
    }
    for kind in ["api-keys", "jwt-issuers"] {
        let may = |verb: &str| has(&operator, &acme, &format!("{kind}.{verb}"));
        assert!(may("read") && may("delete") && !may("create") && !may("update"), "{kind}");
    }
    assert!(!has(&operator, &acme, "exports.read") && !has(&operator, &acme, "exports.create"));
    let invite = Invite { name: "eve".to_owned(), role: "org_admin".to_owned(), groups: Vec::new() };
    let told = house.access.invite(&operator, &acme, &invite, at(1)).await.unwrap_err();
    assert!(told.to_string().contains("`invitations.create` is missing"), "{told}");
}

async fn a_grant_gives_no_more_than_its_giver_has(world: World) {
    let house = house(&world).await;
    house.operator().await;
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", 0).await;
    let may = ["grants.create", "grants.read", "usage.read", "organisations.read"].map(permission);
    house.access.put_role(&ann, &acme, "host", None, &may, at(0)).await.unwrap();
    house.account("host", "host", &[]).await;
    let host = house.principal(&acme, "host", 0).await;
    let new = |operator: &str, role: &str, hours| NewGrant {
        operator: operator.to_owned(),
        role: role.to_owned(),
        reason: "a question".to_owned(),
        lifetime: Duration::from_hours(hours),
    };
    let told =
        house.access.grant_support(&host, &acme, &new("operator", "auditor", 1), at(0)).await.unwrap_err();
    assert!(matches!(told, AccessError::Refused(Refused::Missing { .. })), "{told}");
    house.access.grant_support(&host, &acme, &new("operator", "host", 1), at(0)).await.unwrap();
    let told = house.access.revoke_grant(&host, &acme, "a", at(0)).await.unwrap_err();
    assert!(told.to_string().contains("`grants.delete` is missing"), "{told}");
    let nobody = NewGrant { reason: String::new(), ..new("operator", "host", 1) };
    for (new, pointer) in [
        (new("nobody", "host", 1), "/operator"),
        (new("operator", "operator", 1), "/role"),
        (new("operator", "host", 0), "/expires"),
        (new("operator", "host", 24 * 7 + 1), "/expires"),
        (nobody, "/reason"),
    ] {
        let told = house.access.grant_support(&ann, &acme, &new, at(0)).await.unwrap_err();
        assert!(
            matches!(told, AccessError::Invalid { pointer: at, .. } if at == pointer),
            "{pointer}: {told}"
        );
    }
}
