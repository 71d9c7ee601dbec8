//! Who may do what: does it hold on both engines, whoever tries?

mod history;
mod invitations;
mod journal;
mod rights;
mod sign_in;
mod support;

use crate::world::{World, organisation, owned};
use core::net::IpAddr;
use palisade_control::access::{
    Access, AccessError, AccessEvent, Attempt, Cost, Invite, NewToken, Permission, Principal, Signed,
    SignedIn,
};
use palisade_control::store::{Owner, Store};
use palisade_filters::secret::Secret;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Everybody's password, until they have another.
pub(crate) const PASSWORD: &str = "correct horse battery staples";
/// A hash that costs next to nothing: what it costs is told by a test of its own.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };
pub(crate) const HOUR: u64 = 60 * 60;

/// Access over a store of a test's own, with the organisations `acme` and `other`, each with the admin `ann`.
pub(crate) struct House {
    pub(crate) access: Arc<Access>,
    pub(crate) store: Arc<Store>,
    pub(crate) events: Arc<Mutex<Vec<AccessEvent>>>,
}

/// A moment, some seconds after the one that tests begin at.
pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

pub(crate) fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

pub(crate) fn permission(text: &str) -> Permission {
    Permission::parse(text).unwrap()
}

pub(crate) async fn house(world: &World) -> House {
    let store = Arc::new(world.open().await);
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let witness = Arc::new(move |event: &AccessEvent| told.lock().unwrap().push(event.clone()));
    let leaked = Arc::new(|password: &[u8]| password == b"password password password");
    let access = Arc::new(Access::new(store.clone(), CHEAP, leaked, witness).unwrap());
    let house = House { access, store, events };
    for name in ["acme", "other"] {
        house.store.create_organisation(&organisation(name)).await.unwrap();
        let link =
            house.access.invite_first_admin(&organisation(name), "ann", "palisade", at(0)).await.unwrap();
        house.access.accept(link.text.expose(), PASSWORD, at(0)).await.unwrap();
    }
    house
}

impl House {
    /// Tries to sign in at `acme`.
    pub(crate) async fn try_in(
        &self,
        name: &str,
        password: &str,
        code: Option<&str>,
        from: u8,
        seconds: u64,
    ) -> Result<SignedIn, AccessError> {
        let owner = &owned("acme");
        let attempt = Attempt { owner, name, password, code, address: address(from) };
        self.access.sign_in(&attempt, at(seconds)).await
    }

    /// Signs in, with everybody's password.
    pub(crate) async fn sign_in(&self, owner: &Owner, name: &str, seconds: u64) -> SignedIn {
        let attempt = Attempt { owner, name, password: PASSWORD, code: None, address: address(1) };
        self.access.sign_in(&attempt, at(seconds)).await.unwrap()
    }

    /// Signs in, and comes back with the cookie.
    pub(crate) async fn signed(&self, owner: &Owner, name: &str, seconds: u64) -> Signed {
        let cookie = self.sign_in(owner, name, seconds).await.cookie;
        self.access.session(cookie.expose(), at(seconds)).await.unwrap()
    }

    pub(crate) async fn principal(&self, owner: &Owner, name: &str, seconds: u64) -> Principal {
        self.signed(owner, name, seconds).await.principal
    }

    /// Makes an account at `acme`, on behalf of its admin.
    pub(crate) async fn account(&self, name: &str, role: &str, groups: &[&str]) {
        let acme = owned("acme");
        let ann = self.principal(&acme, "ann", 0).await;
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let invite = Invite { name: name.to_owned(), role: role.to_owned(), groups };
        let link = self.access.invite(&ann, &acme, &invite, at(0)).await.unwrap();
        self.access.accept(link.text.expose(), PASSWORD, at(0)).await.unwrap();
    }

    /// Makes the first operator, called `operator`.
    pub(crate) async fn operator(&self) {
        let link = self.access.bootstrap(at(0)).await.unwrap().unwrap();
        self.access.accept(link.text.expose(), PASSWORD, at(0)).await.unwrap();
    }

    /// A token of somebody's own, for a day.
    pub(crate) async fn token(&self, by: &Principal, permissions: Option<&[&str]>, seconds: u64) -> Secret {
        let listed = permissions.map(|listed| listed.iter().map(|text| permission(text)).collect());
        let new = NewToken { name: "ci".to_owned(), permissions: listed, lifetime: Duration::from_hours(24) };
        self.access.create_token(by, &new, at(seconds)).await.unwrap().0
    }

    pub(crate) async fn version(&self, owner: &Owner, name: &str) -> u64 {
        let kind = palisade_control::store::Kind::new("accounts").unwrap();
        self.store.of(owner).get(&kind, &crate::world::id(name)).await.unwrap().unwrap().version
    }

    pub(crate) fn actions(&self) -> Vec<(String, &'static str)> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| (event.actor.clone(), event.action)).collect()
    }
}

/// That a session or token holds no more.
#[track_caller]
pub(crate) fn ended<T>(outcome: Result<T, AccessError>) {
    match outcome.err() {
        Some(AccessError::Unauthenticated) => {}
        Some(other) => panic!("it is refused otherwise: {other}"),
        None => panic!("it still holds"),
    }
}
