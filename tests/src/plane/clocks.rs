//! Does a clock that was wrong for a while keep anybody out, or let anybody in, once it is right again?
//!
//! What was written under another clock is written here, with the library, while no process has the store: the product
//! has no clock that can be set.

use super::{Badge, PASSWORD, SQLITE, Site, is};
use palisade_control::access::{Access, AccessError, Attempt, Cost};
use palisade_control::store::{MasterKey, OrganisationId, Owner, Place, SqlitePlace, Store};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const YEAR: Duration = Duration::from_hours(365 * 24);
/// More wrong passwords than are free.
const WRONG: usize = 12;

/// Somebody guesses at an admin's password, and an operator signs in; gives the operator's session.
async fn at_the_door(access: &Access, then: SystemTime) -> Badge {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let acme = Owner::Organisation(OrganisationId::new("acme").unwrap());
    let guess = Attempt { owner: &acme, name: "ann", password: "not her password", code: None, address };
    let mut last = None;
    for _ in 0..WRONG {
        last = access.sign_in(&guess, then).await.err();
    }
    assert!(matches!(last, Some(AccessError::Wait { .. })), "{last:?}");
    let right =
        Attempt { owner: &Owner::Platform, name: "operator", password: PASSWORD, code: None, address };
    let signed = access.sign_in(&right, then).await.unwrap();
    Badge::default().with("cookie", &format!("__Host-palisade={}", signed.cookie.expose()))
}

/// What happens to a store that no process has, under a clock that says this.
fn under_another_clock(site: &Site, then: SystemTime) -> Badge {
    let data = site.house.data();
    let place = Place::Sqlite(SqlitePlace::new(data.join("store"), data.join("store-keys")));
    let digits = std::fs::read_to_string(data.join("secrets/master.key")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Store::open(place, MasterKey::new(digits.trim()).unwrap()).await.unwrap());
        let access = Access::new(store.clone(), Cost::OWASP, Arc::new(|_| false), Arc::new(|_| {})).unwrap();
        let badge = at_the_door(&access, then).await;
        drop(access);
        Arc::into_inner(store).unwrap().close().await;
        badge
    })
}

#[test]
fn a_clock_that_was_wrong_keeps_nobody_out_and_lets_nobody_in() {
    let (mut site, _, ann, (key, _)) = Site::furnished(SQLITE);
    let token = json!({ "name": "ci", "lifetime": "90d" });
    let token = is(site.post(&ann, "/orgs/acme/api-tokens", &token), 201).json();
    let token = Badge::bearer(token["secret"].as_str().unwrap());
    for is_ahead in [true, false] {
        site.house.stop();
        let now = SystemTime::now();
        let session = under_another_clock(&site, if is_ahead { now + YEAR } else { now - YEAR });
        site.house.launch();
        assert_eq!(site.chat(&key).status, 200);
        is(site.get(&token, "/orgs/acme/groups"), 200);
        // Whom guesses of another time held up is not held up by them now.
        let sign_in = json!({ "organisation": "acme", "name": "ann", "password": PASSWORD });
        is(site.post(&Badge::default(), "/session", &sign_in), 201);
        // And what was begun then is over, or never was.
        is(site.get(&session, "/orgs"), 401);
    }
    // What is made now is in force as ever.
    let signed = json!({ "name": "operator", "password": PASSWORD });
    is(site.post(&Badge::default(), "/session", &signed), 201);
    is(site.make(&token, "/orgs/acme/groups/dev", &json!({})), 200);
    let made = is(site.post(&token, "/orgs/acme/api-keys", &json!({ "name": "app" })), 201).json();
    site.until_answered(made["key"].as_str().unwrap(), 200);
}
