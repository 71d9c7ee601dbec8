//! Whatever happens to accounts, roles, tokens and sessions, in any order: a token never has more than its creator
//! has, and what ended never works again.

use super::{HOUR, House, at, house, permission};
use crate::world::{World, owned};
use palisade_control::access::{AccountChange, NewToken, Permission, Reach};
use palisade_filters::secret::Secret;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::time::Duration;

/// Histories for each engine.
const CASES: u32 = 10;
/// Whose accounts change.
const NAMES: [&str; 2] = ["bob", "eve"];
/// What they become, and tokens are made of.
const ROLES: [&str; 5] = ["member", "auditor", "group_manager", "org_admin", "own"];
const LISTED: [&str; 8] = [
    "api-keys.read",
    "api-keys.create",
    "usage.read",
    "dlp-rules.read",
    "dlp-rules.update",
    "audit.read",
    "api-tokens.create",
    "accounts.update",
];

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Role { name: usize, role: usize },
    OwnRole { listed: u8 },
    Enabled { name: usize, enabled: bool },
    SignIn { name: usize },
    Token { name: usize, listed: Option<u8> },
    EndSessions { name: usize },
    Later { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        3 => (name.clone(), 0..ROLES.len()).prop_map(|(name, role)| Step::Role { name, role }),
        2 => any::<u8>().prop_map(|listed| Step::OwnRole { listed }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, enabled)| Step::Enabled { name, enabled }),
        3 => name.clone().prop_map(|name| Step::SignIn { name }),
        3 => (name.clone(), prop::option::of(any::<u8>())).prop_map(|(name, listed)| Step::Token { name, listed }),
        1 => name.prop_map(|name| Step::EndSessions { name }),
        1 => (0..2 * HOUR).prop_map(|seconds| Step::Later { seconds }),
    ]
}

fn some(listed: u8) -> Vec<Permission> {
    (0..8).filter(|bit| listed >> bit & 1 == 1).map(|bit| permission(LISTED[bit])).collect()
}

/// A house, what is alive in it, and what is not.
struct History {
    house: House,
    now: u64,
    roles: u64,
    /// Cookies that may work, with whose they are; and those that were seen not to.
    sessions: Vec<(usize, Secret)>,
    dead: Vec<Secret>,
    tokens: Vec<(usize, Secret)>,
}

impl History {
    async fn take(&mut self, step: &Step) {
        let acme = owned("acme");
        let access = self.house.access.clone();
        let ann = self.house.principal(&acme, "ann", self.now).await;
        match step {
            Step::Role { name, role } => {
                let change =
                    AccountChange { role: Some(ROLES[*role].to_owned()), ..AccountChange::default() };
                self.change(*name, &change).await;
            }
            Step::Enabled { name, enabled } => {
                let change = AccountChange { enabled: Some(*enabled), ..AccountChange::default() };
                self.change(*name, &change).await;
            }
            Step::OwnRole { listed } => {
                let expected = Some(self.roles);
                self.roles = access
                    .put_role(&ann, &acme, "own", expected, &some(*listed), at(self.now))
                    .await
                    .unwrap()
                    .version;
            }
            Step::SignIn { name } => {
                if let Ok(signed) = self.house.try_in(NAMES[*name], super::PASSWORD, None, 1, self.now).await
                {
                    self.sessions.push((*name, signed.cookie));
                }
            }
            Step::Token { name, listed } => {
                let Some(by) = self.principal(*name).await else { return };
                let lifetime = Duration::from_hours(24);
                let new = NewToken { name: "t".to_owned(), permissions: listed.map(some), lifetime };
                if let Ok((token, _)) = access.create_token(&by, &new, at(self.now)).await {
                    self.tokens.push((*name, token));
                }
            }
            Step::EndSessions { name } => {
                access.revoke_sessions(&ann, &acme, NAMES[*name], at(self.now)).await.unwrap();
                self.ended(*name);
            }
            Step::Later { seconds } => self.now += seconds,
        }
    }

    async fn change(&mut self, name: usize, change: &AccountChange) {
        let acme = owned("acme");
        let ann = self.house.principal(&acme, "ann", self.now).await;
        let before = self.house.access.account(&ann, &acme, NAMES[name]).await.unwrap();
        let update =
            self.house.access.update_account(&ann, &acme, NAMES[name], before.version, change, at(self.now));
        let after = update.await.unwrap();
        if (before.role, before.enabled) != (after.role, after.enabled) {
            self.ended(name);
        }
    }

    /// All sessions of an account ended.
    fn ended(&mut self, name: usize) {
        let (ended, alive) =
            std::mem::take(&mut self.sessions).into_iter().partition(|(whose, _)| *whose == name);
        self.sessions = alive;
        self.dead.extend(Vec::into_iter(ended).map(|(_, cookie)| cookie));
    }

    async fn principal(&self, name: usize) -> Option<palisade_control::access::Principal> {
        let signed = self.house.try_in(NAMES[name], super::PASSWORD, None, 1, self.now).await.ok()?;
        Some(self.house.access.session(signed.cookie.expose(), at(self.now)).await.unwrap().principal)
    }

    async fn holds(&mut self) {
        let acme = owned("acme");
        for (name, token) in &self.tokens {
            let Ok(token) = self.house.access.token(token.expose(), at(self.now)).await else { continue };
            let creator = self.principal(*name).await.expect("a token works, so its creator can sign in");
            let has: BTreeMap<Permission, Reach> = creator.permissions(&acme).into_iter().collect();
            for (permission, reach) in token.permissions(&acme) {
                assert!(has.get(&permission) >= Some(&reach), "{permission} of {}", token.actor());
            }
        }
        for cookie in &self.dead {
            assert!(self.house.access.session(cookie.expose(), at(self.now)).await.is_err(), "it came back");
        }
        // What ends by itself stays so.
        let mut alive = Vec::new();
        for (name, cookie) in std::mem::take(&mut self.sessions) {
            match self.house.access.session(cookie.expose(), at(self.now)).await {
                Ok(signed) => {
                    assert_eq!(signed.session.account, NAMES[name]);
                    alive.push((name, cookie));
                }
                Err(_) => self.dead.push(cookie),
            }
        }
        self.sessions = alive;
    }
}

fn any_history_holds(world: impl Fn() -> std::pin::Pin<Box<dyn Future<Output = World>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..12);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        runtime.block_on(async {
            let world = world().await;
            let house = house(&world).await;
            let ann = house.principal(&owned("acme"), "ann", 0).await;
            house.access.put_role(&ann, &owned("acme"), "own", None, &[], at(0)).await.unwrap();
            for (name, role) in NAMES.iter().zip(["org_admin", "own"]) {
                house.account(name, role, &["dev"]).await;
            }
            let (sessions, dead, tokens) = (Vec::new(), Vec::new(), Vec::new());
            let mut history = History { house, now: 10, roles: 1, sessions, dead, tokens };
            for step in &steps {
                history.take(step).await;
                history.holds().await;
            }
            super::journal::nothing_is_untold(&history.house).await;
        });
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn in_any_history_in_files_nobody_gets_more() {
    any_history_holds(|| Box::pin(World::sqlite()));
}

#[test]
fn in_any_history_in_a_database_nobody_gets_more() {
    any_history_holds(|| Box::pin(World::postgres()));
}
