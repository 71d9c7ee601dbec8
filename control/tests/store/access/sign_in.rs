//! Who gets in, for how long, and what whoever guesses gets.

use super::{HOUR, House, PASSWORD, address, at, ended, house};
use crate::world::{World, document, groups, id, organisation, owned};
use hmac::{Hmac, KeyInit, Mac};
use palisade_control::access::{Access, AccessError, AccountChange, Attempt, Invite};
use palisade_control::store::{Kind, Owner};
use palisade_filters::secret::Secret;
use std::sync::atomic::{AtomicU8, Ordering};

on_both! {
    who_signs_in_has_a_session_until_it_ends
    a_session_that_was_revoked_is_gone
    a_session_ends_with_what_it_stood_on
    what_is_wrong_is_not_told
    who_guesses_waits_longer_and_longer
    a_hundred_guesses_at_once_are_a_hundred
    one_address_guesses_at_many_accounts_no_longer_than_at_one
    a_code_is_asked_for_and_taken_once
    a_recovery_code_is_taken_once
    a_suspended_organisation_lets_nobody_in
    an_erased_organisation_lets_nobody_in
}

async fn who_signs_in_has_a_session_until_it_ends(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let signed = house.sign_in(&acme, "ann", 0).await;
    let (cookie, csrf) = (signed.cookie.expose().to_owned(), signed.csrf.expose().to_owned());
    assert!(Access::csrf_is_right(&cookie, &csrf));
    let other = house.sign_in(&acme, "ann", 0).await;
    for wrong in ["", "0", other.csrf.expose(), &csrf[1..]] {
        assert!(!Access::csrf_is_right(&cookie, wrong), "{wrong}");
    }
    for seconds in [0, 59, HOUR - 1, 2 * HOUR - 2] {
        let found = house.access.session(&cookie, at(seconds)).await.unwrap();
        assert_eq!((found.principal.home(), found.principal.user()), (&acme, "ann"));
        assert_eq!(
            (found.principal.actor().as_str(), found.session.id),
            ("account:acme/ann", signed.session.id.clone())
        );
    }
    // Unused for an hour; the other one was never used.
    ended(house.access.session(&cookie, at(3 * HOUR - 1)).await);
    ended(house.access.session(other.cookie.expose(), at(HOUR)).await);
    // However it is used, twelve hours are its end.
    let cookie = house.sign_in(&acme, "ann", 0).await.cookie;
    for half in 0..24 {
        house.access.session(cookie.expose(), at(half * HOUR / 2)).await.unwrap();
    }
    ended(house.access.session(cookie.expose(), at(12 * HOUR)).await);
    for text in ["", "pal_session_org_acme", &cookie.expose()[1..], &cookie.expose().replace("acme", "other")]
    {
        ended(house.access.session(text, at(0)).await);
    }
    ended(house.access.session(&cookie.expose().replace("acme", "never"), at(0)).await);
    ended(house.access.token(cookie.expose(), at(0)).await.map(|_| ()));
}

async fn a_session_that_was_revoked_is_gone(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.account("bob", "member", &[]).await;
    let (one, two) = (house.sign_in(&acme, "bob", 0).await, house.sign_in(&acme, "bob", 0).await);
    let three = house.sign_in(&acme, "bob", 0).await;
    let bob = house.access.session(one.cookie.expose(), at(1)).await.unwrap();
    let listed = house.access.sessions(&bob.principal, &acme, "bob", at(1)).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(!format!("{listed:?}").contains("pal_session"), "nobody learns a session from the list");
    house.access.revoke_session(&bob.principal, &acme, "bob", &two.session.id, at(2)).await.unwrap();
    ended(house.access.session(two.cookie.expose(), at(2)).await);
    // Others' are others', but for who looks after them.
    let told = house.access.sessions(&bob.principal, &acme, "ann", at(2)).await.unwrap_err();
    assert_eq!(told.to_string(), "the permission `sessions.read` is missing");
    let ann = house.signed(&acme, "ann", 2).await;
    let told =
        house.access.revoke_session(&bob.principal, &acme, "bob", &ann.session.id, at(2)).await.unwrap_err();
    assert!(matches!(told, AccessError::NotFound { .. }), "it is not bob's: {told}");
    house.access.sign_out(&bob, at(3)).await.unwrap();
    ended(house.access.session(one.cookie.expose(), at(3)).await);
    house.access.revoke_sessions(&ann.principal, &acme, "bob", at(4)).await.unwrap();
    ended(house.access.session(three.cookie.expose(), at(4)).await);
}

async fn a_session_ends_with_what_it_stood_on(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    house.account("bob", "org_admin", &[]).await;
    let change = |role: Option<&str>, enabled| AccountChange {
        role: role.map(str::to_owned),
        enabled,
        ..AccountChange::default()
    };
    for (seconds, change) in [(10, change(Some("auditor"), None)), (20, change(None, Some(false)))] {
        let bob = house.sign_in(&acme, "bob", seconds).await.cookie;
        let ann = house.principal(&acme, "ann", seconds).await;
        let version = house.version(&acme, "bob").await;
        house.access.update_account(&ann, &acme, "bob", version, &change, at(seconds)).await.unwrap();
        ended(house.access.session(bob.expose(), at(seconds + 1)).await);
    }
    assert!(matches!(house.try_in("bob", PASSWORD, None, 1, 30).await, Err(AccessError::Wrong)));
    // Her own password; and what the account is, behind the back of this room.
    let (here, there) = (house.signed(&acme, "ann", 40).await, house.sign_in(&acme, "ann", 40).await.cookie);
    let new = "another horse, another battery";
    for (current, new, said) in [("wrong", new, "is wrong"), (PASSWORD, "short", "15 characters")] {
        let told = house.access.change_password(&here, current, new, at(41)).await.unwrap_err().to_string();
        assert!(told.contains(said), "{told}");
    }
    house.access.change_password(&here, PASSWORD, new, at(42)).await.unwrap();
    ended(house.access.session(there.expose(), at(43)).await);
    assert!(house.try_in("ann", PASSWORD, None, 1, 44).await.is_err());
    let cookie = house.try_in("ann", new, None, 1, 45).await.unwrap().cookie;
    let (kind, ann) = (Kind::new("accounts").unwrap(), id("ann"));
    let found = house.store.of(&acme).get(&kind, &ann).await.unwrap().unwrap();
    let changed = found.document.get().replace("org_admin", "member");
    house.store.of(&acme).put(&kind, &ann, Some(found.version), document(&changed)).await.unwrap();
    ended(house.access.session(cookie.expose(), at(46)).await);
}

async fn what_is_wrong_is_not_told(world: World) {
    let house = house(&world).await;
    let (acme, never) = (owned("acme"), owned("never"));
    let long = "x".repeat(2000);
    for (at_once, (owner, name, password)) in [
        (&acme, "ann", "wrong"),
        (&acme, "nobody", PASSWORD),
        (&acme, "no name \u{0}", PASSWORD),
        (&acme, "Ann", PASSWORD),
        (&acme, "", ""),
        (&acme, "ann", &long),
        (&never, "ann", PASSWORD),
        (&Owner::Platform, "ann", PASSWORD),
    ]
    .into_iter()
    .enumerate()
    {
        let attempt = Attempt { owner, name, password, code: None, address: address(at_once as u8) };
        let told = house.access.sign_in(&attempt, at(0)).await.unwrap_err();
        assert!(matches!(told, AccessError::Wrong), "{name}: {told:?}");
    }
    let events = format!("{:?}", house.events.lock().unwrap());
    assert!(events.contains("sign_in_refused") && !events.contains(PASSWORD) && !events.contains("nobody"));
}

/// An address that nobody tries again soon.
fn elsewhere() -> u8 {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    10 + NEXT.fetch_add(1, Ordering::Relaxed) % 200
}

/// Wrong attempts, from one place or from everywhere, until one is too early: how many there were, and how long is to
/// be waited.
async fn until_early(house: &House, name: &str, from: Option<u8>, seconds: u64) -> (usize, u64) {
    for tried in 0..100 {
        match house.try_in(name, "wrong", None, from.unwrap_or_else(elsewhere), seconds).await.unwrap_err() {
            AccessError::Wrong => {}
            AccessError::Wait { seconds } => return (tried, seconds),
            other => panic!("{other}"),
        }
    }
    panic!("nobody had to wait");
}

async fn who_guesses_waits_longer_and_longer(world: World) {
    let house = house(&world).await;
    // Ann was here before, from the first address.
    house.sign_in(&owned("acme"), "ann", 0).await;
    for name in ["ann", "nobody"] {
        assert_eq!(until_early(&house, name, None, 0).await, (5, 1), "{name}");
        // The right one is not looked at either, from anywhere she was not before.
        let early = house.try_in(name, PASSWORD, None, 3, 0).await;
        assert!(matches!(early, Err(AccessError::Wait { seconds: 1 })), "{name}");
        let mut seconds = 0;
        for wait in [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            seconds += 1;
            while let Err(AccessError::Wait { seconds: more }) =
                house.try_in(name, "wrong", None, elsewhere(), seconds).await
            {
                seconds += more;
            }
            assert_eq!(until_early(&house, name, None, seconds).await, (0, wait), "{name} at {seconds}");
        }
    }
    // Where she is known, she is not kept out by any of this; and who sits there is counted for themselves.
    house.try_in("ann", PASSWORD, None, 1, 3000).await.unwrap();
    assert_eq!(until_early(&house, "ann", Some(1), 3000).await.0, 5);
    // It is a delay and no lock.
    house.try_in("ann", PASSWORD, None, 9, 100 * HOUR).await.unwrap();
    assert_eq!(until_early(&house, "ann", Some(9), 100 * HOUR).await.0, 5, "what was right begins anew");
}

async fn a_hundred_guesses_at_once_are_a_hundred(world: World) {
    let house = house(&world).await;
    let tasks: Vec<_> = (0..12)
        .map(|from| {
            let access = house.access.clone();
            tokio::spawn(async move {
                let owner = owned("acme");
                let attempt = Attempt {
                    owner: &owner,
                    name: "ann",
                    password: "wrong",
                    code: None,
                    address: address(from),
                };
                access.sign_in(&attempt, at(0)).await.unwrap_err()
            })
        })
        .collect();
    let mut looked_at = 0;
    for task in tasks {
        match task.await.unwrap() {
            AccessError::Wrong => looked_at += 1,
            AccessError::Wait { .. } | AccessError::Busy => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(looked_at, 5);
}

async fn one_address_guesses_at_many_accounts_no_longer_than_at_one(world: World) {
    let house = house(&world).await;
    let mut tried = 0;
    let wait = loop {
        // An own account in between does not begin the count anew.
        if tried % 5 == 4 {
            house.try_in("ann", PASSWORD, None, 7, 0).await.unwrap();
        }
        match house.try_in(&format!("a{tried}"), "wrong", None, 7, 0).await.unwrap_err() {
            AccessError::Wrong => tried += 1,
            AccessError::Wait { seconds } => break seconds,
            other => panic!("{other}"),
        }
    };
    assert_eq!((tried, wait), (20, 1));
    let other = owned("other");
    let attempt = Attempt { owner: &other, name: "ann", password: PASSWORD, code: None, address: address(7) };
    let told = house.access.sign_in(&attempt, at(0)).await.unwrap_err();
    assert!(matches!(told, AccessError::Wait { .. }), "nor does another organisation: {told}");
    house.try_in("ann", PASSWORD, None, 8, 0).await.unwrap();
}

/// The code that an authenticator with this secret shows, by RFC 6238.
pub(super) fn code(secret: &Secret, seconds: u64) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let value = |symbol: u8| alphabet.iter().position(|known| *known == symbol).unwrap();
    let bits =
        secret.expose().bytes().fold(String::new(), |bits, symbol| bits + &format!("{:05b}", value(symbol)));
    let secret: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect();
    let step = (1_800_000_000 + seconds) / 30;
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&secret).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 0xf);
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Gives ann an authenticator; its secret, and her recovery codes.
async fn with_authenticator(house: &House) -> (Secret, Vec<Secret>) {
    let acme = owned("acme");
    let ann = house.signed(&acme, "ann", 0).await;
    let told = house.access.begin_totp(&ann, "wrong", at(0)).await.unwrap_err();
    assert!(matches!(told, AccessError::Wrong), "{told}");
    let offer = house.access.begin_totp(&ann, PASSWORD, at(0)).await.unwrap();
    house.sign_in(&acme, "ann", 0).await;
    assert!(matches!(house.access.confirm_totp(&ann, "000000", at(0)).await, Err(AccessError::Wrong)));
    let codes = house.access.confirm_totp(&ann, &code(&offer.secret, 0), at(0)).await.unwrap();
    let cookie = house.try_in("ann", PASSWORD, Some(&code(&offer.secret, 0)), 1, 0).await;
    assert!(matches!(cookie, Err(AccessError::Wrong)), "the code that confirmed it was taken");
    (offer.secret, codes)
}

async fn a_code_is_asked_for_and_taken_once(world: World) {
    let house = house(&world).await;
    let before = house.sign_in(&owned("acme"), "ann", 0).await.cookie;
    let (secret, _) = with_authenticator(&house).await;
    ended(house.access.session(before.expose(), at(1)).await);
    let told = house.try_in("ann", PASSWORD, None, 1, 100).await.unwrap_err();
    assert!(matches!(told, AccessError::SecondFactor), "{told}");
    let told = house.try_in("ann", "wrong", Some(&code(&secret, 100)), 2, 100).await.unwrap_err();
    assert!(matches!(told, AccessError::Wrong), "a right code is no password: {told}");
    let right = code(&secret, 100);
    let tasks: Vec<_> = (0..4)
        .map(|from| {
            let (access, right) = (house.access.clone(), right.clone());
            tokio::spawn(async move {
                let owner = owned("acme");
                let (name, code) = ("ann", Some(right.as_str()));
                let attempt =
                    Attempt { owner: &owner, name, password: PASSWORD, code, address: address(from) };
                access.sign_in(&attempt, at(100)).await.is_ok()
            })
        })
        .collect();
    let mut signed_in = 0;
    for task in tasks {
        signed_in += usize::from(task.await.unwrap());
    }
    assert_eq!(signed_in, 1, "of those who bring it at once, one is first");
    // Neither again, nor one of before.
    for old in [100, 70] {
        let told = house.try_in("ann", PASSWORD, Some(&code(&secret, old)), 1, 101).await.unwrap_err();
        assert!(matches!(told, AccessError::Wrong), "{old}: {told}");
    }
    house.try_in("ann", PASSWORD, Some(&code(&secret, 700)), 1, 700).await.unwrap();
}

async fn a_recovery_code_is_taken_once(world: World) {
    let house = house(&world).await;
    let (secret, codes) = with_authenticator(&house).await;
    assert_eq!(codes.len(), 10);
    let mut signed_in = 0;
    let tasks: Vec<_> = (0..4)
        .map(|from| {
            let (access, typed) = (house.access.clone(), codes[0].expose().to_lowercase().replace('-', " "));
            tokio::spawn(async move {
                let owner = owned("acme");
                let (name, code) = ("ann", Some(typed.as_str()));
                let attempt =
                    Attempt { owner: &owner, name, password: PASSWORD, code, address: address(from) };
                access.sign_in(&attempt, at(50)).await.is_ok()
            })
        })
        .collect();
    for task in tasks {
        signed_in += usize::from(task.await.unwrap());
    }
    assert_eq!(signed_in, 1);
    let signed = house.try_in("ann", PASSWORD, Some(codes[1].expose()), 1, 60).await.unwrap();
    let ann = house.access.session(signed.cookie.expose(), at(61)).await.unwrap();
    let seen = house.access.account(&ann.principal, &owned("acme"), "ann").await.unwrap();
    assert_eq!((seen.totp, seen.recovery_codes), (true, 8));
    // Taking it off needs both again.
    let told = house.access.remove_totp(&ann, PASSWORD, codes[1].expose(), at(62)).await.unwrap_err();
    assert!(matches!(told, AccessError::Wrong), "{told}");
    house.access.remove_totp(&ann, PASSWORD, &code(&secret, 200), at(200)).await.unwrap();
    ended(house.access.session(signed.cookie.expose(), at(201)).await);
    house.try_in("ann", PASSWORD, None, 1, 202).await.unwrap();
}

async fn a_suspended_organisation_lets_nobody_in(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let cookie = house.sign_in(&acme, "ann", 0).await.cookie;
    let ann = house.access.session(cookie.expose(), at(0)).await.unwrap().principal;
    let token = house.token(&ann, None, 0).await;
    let status = Kind::new("status").unwrap();
    let only = id("default");
    for (version, text) in
        [(None, "{\"suspended\":true}"), (Some(1), "{\"suspended\":\"?\"}"), (Some(2), "[]")]
    {
        house.store.of(&acme).put(&status, &only, version, document(text)).await.unwrap();
        for told in [
            house.access.session(cookie.expose(), at(1)).await.err(),
            house.access.token(token.expose(), at(1)).await.err(),
            house.try_in("ann", PASSWORD, None, 1, 1).await.err(),
        ] {
            assert!(matches!(told, Some(AccessError::Suspended)), "{text}: {told:?}");
        }
        let told = house.try_in("ann", "wrong", None, 1, 1).await.unwrap_err();
        assert!(matches!(told, AccessError::Wrong), "only who would get in is told: {told}");
    }
    house.store.of(&acme).put(&status, &only, Some(3), document("{\"suspended\":false}")).await.unwrap();
    house.access.session(cookie.expose(), at(2)).await.unwrap();
    house.access.token(token.expose(), at(2)).await.unwrap();
}

async fn an_erased_organisation_lets_nobody_in(world: World) {
    let house = house(&world).await;
    let acme = owned("acme");
    let cookie = house.sign_in(&acme, "ann", 0).await.cookie;
    let ann = house.access.session(cookie.expose(), at(0)).await.unwrap().principal;
    let token = house.token(&ann, None, 0).await;
    let link = {
        let invite = Invite { name: "bob".to_owned(), role: "member".to_owned(), groups: Vec::new() };
        house.access.invite(&ann, &acme, &invite, at(0)).await.unwrap()
    };
    for round in 0..2 {
        if round == 0 {
            house.store.delete_organisation(&organisation("acme")).await.unwrap();
        } else {
            // Another one of that name is another one.
            house.store.create_organisation(&organisation("acme")).await.unwrap();
            house.store.of(&acme).put(&groups(), &id("a"), None, document("1")).await.unwrap();
        }
        ended(house.access.session(cookie.expose(), at(1)).await);
        ended(house.access.token(token.expose(), at(1)).await.map(|_| ()));
        let told = house.access.accept(link.text.expose(), PASSWORD, at(1)).await.unwrap_err();
        assert!(matches!(told, AccessError::Invitation), "{told}");
        assert!(matches!(house.try_in("ann", PASSWORD, None, 1, 1).await, Err(AccessError::Wrong)));
    }
}
