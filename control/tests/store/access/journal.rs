//! Is every change of who may what told of, with its change or not at all, and nothing secret with it?

use super::{AccessError, House, PASSWORD, address, at, house, permission};
use crate::world::{World, owned};
use palisade_control::access::{AccountChange, Attempt, Invite, KINDS, NewGrant, Signed, Visit};
use palisade_control::resources::JOURNAL;
use palisade_control::store::{Kind, Owner, ResourceId};
use palisade_control::usage::Day;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

on_both! {
    every_change_is_told_with_who_made_it_and_what_was_before
    nothing_secret_is_told
    a_change_that_is_given_up_on_is_there_with_its_entry_or_not_at_all
    who_came_and_who_was_refused_is_counted
    a_password_without_its_code_is_counted
    who_may_not_read_the_journal_reads_no_visits
}

/// All entries of an owner's journal.
pub(super) async fn entries(house: &House, owner: &Owner) -> Vec<Value> {
    let kind = Kind::new(JOURNAL).unwrap();
    let (mut all, mut after) = (Vec::new(), None::<ResourceId>);
    loop {
        let page = house.store.of(owner).list(&kind, after.as_ref(), 1_000).await.unwrap();
        all.extend(
            page.resources.iter().map(|one| serde_json::from_str::<Value>(one.document.get()).unwrap()),
        );
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// Each revision in which something of this room changed has its entry, which names all of it.
pub(super) async fn nothing_is_untold(house: &House) {
    for owner in [Owner::Platform, owned("acme"), owned("other")] {
        let mut revisions: BTreeMap<u64, BTreeSet<(String, String)>> = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = house.store.of(&owner).changes(after, 1_000).await.unwrap();
            for change in page.changes {
                let named = (change.kind.to_string(), change.id.to_string());
                revisions.entry(change.revision).or_default().insert(named);
                after = change.revision;
            }
            if after >= page.revision {
                break;
            }
        }
        for entry in entries(house, &owner).await {
            let revision = entry["revision"].as_u64().unwrap();
            let written = revisions.remove(&revision).unwrap();
            let written: BTreeSet<_> =
                written.into_iter().filter(|(kind, _)| kind != JOURNAL && kind != "bootstrap").collect();
            let told = entry["changes"].as_array().unwrap().iter();
            let told = told.filter(|one| one["kind"] != "sessions");
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let told: BTreeSet<_> = told.map(|one| (text(&one["kind"]), text(&one["id"]))).collect();
            assert_eq!(told, written, "{owner}, revision {revision}");
            assert!(entry["actor"].as_str().is_some_and(|actor| !actor.is_empty()), "{entry}");
        }
        let untold: Vec<_> = revisions
            .into_iter()
            .filter(|(_, written)| written.iter().any(|(kind, _)| KINDS.contains(&kind.as_str())))
            .collect();
        assert!(untold.is_empty(), "{owner}: {untold:?}");
    }
}

/// Does everything once that this room can do at `acme`; gives what is secret of it.
async fn everything(house: &House) -> Vec<String> {
    let (acme, access) = (owned("acme"), &house.access);
    let mut secrets = vec![PASSWORD.to_owned()];
    let link = access.bootstrap(at(0)).await.unwrap().unwrap();
    access.accept(link.text.expose(), PASSWORD, at(0)).await.unwrap();
    secrets.push(link.text.expose().to_owned());
    let cookie = house.sign_in(&acme, "ann", 1).await.cookie;
    secrets.push(cookie.expose().to_owned());
    let ann = access.session(cookie.expose(), at(1)).await.unwrap().principal;
    access.put_role(&ann, &acme, "keeper", None, &[permission("api-keys.read")], at(2)).await.unwrap();
    access.put_role(&ann, &acme, "keeper", Some(1), &[permission("usage.read")], at(3)).await.unwrap();
    access.delete_role(&ann, &acme, "keeper", 2, at(4)).await.unwrap();
    let invite = |name: &str| Invite { name: name.to_owned(), role: "member".to_owned(), groups: Vec::new() };
    let withdrawn = access.invite(&ann, &acme, &invite("eve"), at(5)).await.unwrap();
    let view = &withdrawn.invitation;
    access.withdraw_invitation(&ann, &acme, &view.id, view.version, at(6)).await.unwrap();
    house.account("bob", "member", &["dev"]).await;
    let token = house.token(&ann, Some(&["usage.read"]), 7).await;
    let tokens = access.tokens(&ann, &acme, None, 10).await.unwrap().items;
    access.delete_token(&ann, &acme, &tokens[0].id, at(8)).await.unwrap();
    let new = NewGrant {
        operator: "operator".to_owned(),
        role: "auditor".to_owned(),
        reason: "a ticket".to_owned(),
        lifetime: Duration::from_hours(1),
    };
    let granted = access.grant_support(&ann, &acme, &new, at(9)).await.unwrap();
    access.revoke_grant(&ann, &acme, &granted.id, at(10)).await.unwrap();
    let (codes, used) = second_factor(house, &mut secrets).await;
    let bob = house.try_in("bob", PASSWORD, Some(&codes), 2, 1_000).await.unwrap();
    secrets.extend([codes, used, bob.cookie.expose().to_owned()]);
    let signed = access.session(bob.cookie.expose(), at(1_001)).await.unwrap();
    access.revoke_session(&ann, &acme, "bob", &signed.session.id, at(1_002)).await.unwrap();
    let change = AccountChange { remove_totp: true, ..AccountChange::default() };
    let version = house.version(&acme, "bob").await;
    access.update_account(&ann, &acme, "bob", version, &change, at(1_003)).await.unwrap();
    access.revoke_sessions(&ann, &acme, "bob", at(1_004)).await.unwrap();
    let bob = house.signed(&acme, "bob", 1_005).await;
    let other = "another password for bob";
    access.change_password(&bob, PASSWORD, other, at(1_006)).await.unwrap();
    let version = house.version(&acme, "bob").await;
    access.delete_account(&ann, &acme, "bob", version, at(1_007)).await.unwrap();
    secrets.extend([withdrawn.text, token].map(|secret| secret.expose().to_owned()));
    secrets.push(other.to_owned());
    secrets
}

/// Gives bob a second factor; two of its recovery codes.
async fn second_factor(house: &House, secrets: &mut Vec<String>) -> (String, String) {
    let signed: Signed = house.signed(&owned("acme"), "bob", 11).await;
    let offer = house.access.begin_totp(&signed, PASSWORD, at(12)).await.unwrap();
    secrets.push(offer.secret.expose().to_owned());
    let code = super::sign_in::code(&offer.secret, 13);
    let codes = house.access.confirm_totp(&signed, &code, at(13)).await.unwrap();
    (codes[0].expose().to_owned(), codes[1].expose().to_owned())
}

async fn every_change_is_told_with_who_made_it_and_what_was_before(world: World) {
    let house = house(&world).await;
    everything(&house).await;
    nothing_is_untold(&house).await;
    let all = entries(&house, &owned("acme")).await;
    let told: Vec<(&str, &str)> = all
        .iter()
        .map(|entry| (entry["actor"].as_str().unwrap(), entry["action"].as_str().unwrap()))
        .collect();
    let (ann, bob) = ("account:acme/ann", "account:acme/bob");
    let expected = [
        ("palisade", "invited"),
        (ann, "account_made"),
        (ann, "role_written"),
        (ann, "role_written"),
        (ann, "role_deleted"),
        (ann, "invited"),
        (ann, "invitation_withdrawn"),
        (ann, "invited"),
        (bob, "account_made"),
        (ann, "token_created"),
        (ann, "token_deleted"),
        (ann, "support_granted"),
        (ann, "support_revoked"),
        (bob, "totp_added"),
        (bob, "recovery_code_used"),
        (ann, "session_revoked"),
        (ann, "account_changed"),
        (ann, "sessions_revoked"),
        (bob, "password_changed"),
        (ann, "account_deleted"),
    ];
    assert_eq!(told, expected);
    let change = |action: &str, at: usize| {
        let entry = all.iter().filter(|entry| entry["action"] == action).nth(at).unwrap();
        entry["changes"][0].clone()
    };
    let permissions =
        |change: &Value| (change["before"]["permissions"].clone(), change["after"]["permissions"].clone());
    assert_eq!(permissions(&change("role_written", 1)), (json!(["api-keys.read"]), json!(["usage.read"])));
    let used = change("recovery_code_used", 0);
    assert_eq!(
        (&used["before"]["recovery_codes"], &used["after"]["recovery_codes"]),
        (&json!(10), &json!(9))
    );
    let removed = change("account_changed", 0);
    assert_eq!((&removed["before"]["totp"], &removed["after"]["totp"]), (&json!(true), &json!(false)));
    let deleted = change("account_deleted", 0);
    assert_eq!((&deleted["before"]["role"], &deleted["after"]), (&json!("member"), &Value::Null));
    assert_eq!(change("session_revoked", 0)["before"]["account"], "bob");
    assert_eq!(change("support_granted", 0)["after"]["reason"], "a ticket");
    let of_platform: Vec<Value> = entries(&house, &Owner::Platform).await;
    assert_eq!(of_platform[0]["action"], "bootstrapped");
    assert!(
        !json!(of_platform).to_string().contains("acme"),
        "the platform's names no organisation's people"
    );
}

async fn nothing_secret_is_told(world: World) {
    let house = house(&world).await;
    let secrets = everything(&house).await;
    let mut told = String::new();
    for owner in [Owner::Platform, owned("acme"), owned("other")] {
        told += &json!(entries(&house, &owner).await).to_string();
    }
    let ann = house.principal(&owned("acme"), "ann", 2_000).await;
    let visits = house.access.visits(&ann, &owned("acme"), Day::of(at(0))).await.unwrap();
    told += &serde_json::to_string(&visits).unwrap();
    let events = format!("{:?}", house.events.lock().unwrap());
    told += &events;
    assert!(told.len() > 5_000 && secrets.len() > 9);
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()), "{secret}");
        // The random half by itself, and its hash.
        let half = secret.rsplit('_').next().unwrap();
        assert!(half.len() < 10 || !told.contains(half), "{half}");
    }
    for word in ["$argon2", "sha256", "\"password\":", "born", "secret"] {
        assert!(!told.contains(word), "{word}");
    }
}

/// Looks at a future so often and gives it up; whether it was done by then.
async fn given_up<F: Future>(future: F, looks: usize) -> bool {
    let mut future = pin!(future);
    let mut looked = 0;
    poll_fn(|context| {
        looked += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if looked > looks => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn a_change_that_is_given_up_on_is_there_with_its_entry_or_not_at_all(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let ann = house.principal(&acme, "ann", 0).await;
    let (mut looks, mut done) = (0, 0);
    while done < 3 {
        let name = format!("r{looks}");
        let listed = [permission("usage.read")];
        let made = house.access.put_role(&ann, &acme, &name, None, &listed, at(1));
        done += usize::from(given_up(made, looks).await);
        nothing_is_untold(&house).await;
        looks += 1;
    }
    assert!(looks > 4, "it was given up {looks} times only");
}

async fn who_came_and_who_was_refused_is_counted(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.operator().await;
    for seconds in [10, 20] {
        let signed = house.signed(&acme, "ann", seconds).await;
        house.access.sign_out(&signed, at(seconds + 1)).await.unwrap();
    }
    for (name, password, from) in [("ann", "wrong", 7), ("my own password", "x", 7), ("nobody", PASSWORD, 8)]
    {
        let told = house.try_in(name, password, None, from, 30).await.unwrap_err();
        assert!(matches!(told, AccessError::Wrong));
    }
    // Where there is no such organisation, it is the platform's to know that somebody tried.
    let never = owned("never");
    let attempt = Attempt { owner: &never, name: "ann", password: PASSWORD, code: None, address: address(9) };
    assert!(matches!(house.access.sign_in(&attempt, at(31)).await, Err(AccessError::Wrong)));
    let ann = house.signed(&acme, "ann", 40).await;
    assert!(house.access.change_password(&ann, "wrong", PASSWORD, at(41)).await.is_err());
    let day = Day::of(at(0));
    let start = at(0).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let visits = house.access.visits(&ann.principal, &acme, day).await.unwrap();
    let row = |account: Option<&str>, from: u8, counts: [u64; 3], times: [u64; 2]| Visit {
        account: account.map(str::to_owned),
        address: address(from).to_string(),
        signed_in: counts[0],
        signed_out: counts[1],
        refused: counts[2],
        without_code: 0,
        first: start + times[0],
        last: start + times[1],
    };
    let expected = [
        row(Some("ann"), 1, [3, 2, 0], [10, 40]),
        row(None, 7, [0, 0, 1], [30, 30]),
        row(None, 8, [0, 0, 1], [30, 30]),
        row(Some("ann"), 7, [0, 0, 1], [30, 30]),
        row(Some("ann"), 1, [0, 0, 1], [41, 41]),
    ];
    assert_eq!(visits, expected);
    assert_eq!(house.access.visits(&ann.principal, &acme, day.before(1)).await.unwrap(), []);
    let operator = house.principal(&Owner::Platform, "operator", 50).await;
    let platform = house.access.visits(&operator, &Owner::Platform, day).await.unwrap();
    assert_eq!(platform[0], row(None, 9, [0, 0, 1], [31, 31]));
    // They are counts of their day, and make neither revisions nor entries.
    assert_eq!(entries(&house, &acme).await.len(), 2);
}

async fn a_password_without_its_code_is_counted(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.account("bob", "member", &[]).await;
    let (code, _) = second_factor(&house, &mut Vec::new()).await;
    for from in [7, 7, 8] {
        let told = house.try_in("bob", PASSWORD, None, from, 100).await.unwrap_err();
        assert!(matches!(told, AccessError::SecondFactor));
    }
    house.try_in("bob", PASSWORD, Some(&code), 8, 101).await.unwrap();
    let ann = house.principal(&acme, "ann", 102).await;
    let visits = house.access.visits(&ann, &acme, Day::of(at(0))).await.unwrap();
    let of = |from: u8| {
        let address = address(from).to_string();
        let rows =
            visits.iter().filter(|row| row.account.as_deref() == Some("bob") && row.address == address);
        rows.fold([0; 3], |[came, refused, without], row| {
            [came + row.signed_in, refused + row.refused, without + row.without_code]
        })
    };
    assert_eq!((of(7), of(8)), ([0, 0, 2], [1, 0, 1]));
}

async fn who_may_not_read_the_journal_reads_no_visits(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.operator().await;
    house.account("bob", "member", &[]).await;
    house.account("eve", "auditor", &[]).await;
    let day = Day::of(at(0));
    let eve = house.principal(&acme, "eve", 1).await;
    assert_eq!(house.access.visits(&eve, &acme, day).await.unwrap().len(), 2);
    let bob = house.principal(&acme, "bob", 1).await;
    let operator = house.principal(&Owner::Platform, "operator", 1).await;
    for (who, whose) in [(&bob, &acme), (&operator, &acme), (&eve, &owned("other")), (&eve, &Owner::Platform)]
    {
        let told = house.access.visits(who, whose, day).await.unwrap_err();
        assert!(matches!(told, AccessError::Refused(_)), "{} of {whose}", who.actor());
    }
}
