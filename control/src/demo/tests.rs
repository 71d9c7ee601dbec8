//! Does a demo work at once, and go on by what it kept, whatever there is to reach?

use super::*;
use crate::access::Cost;
use crate::folder::Folder;
use crate::follow::Follower;
use crate::resources::Control;
use crate::store::{MasterKey, Place, SqlitePlace, Store};
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::{Knock, Policy, Trust, identify};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::new(rules::shipped().unwrap())));

/// A demo's folder.
struct Room {
    dir: tempfile::TempDir,
    now: SystemTime,
}

/// A process on it.
#[derive(Debug)]
struct Open {
    store: Arc<Store>,
    folder: Folder,
    api: Api,
    access: Arc<Access>,
}

impl Room {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), now: SystemTime::now() }
    }

    fn place(&self) -> SqlitePlace {
        SqlitePlace::new(self.dir.path().join("store"), self.dir.path().join("store-keys"))
    }

    fn kept(&self) -> Result<Kept, SeedError> {
        Kept::open(&Folder::open(self.dir.path()).unwrap(), self.place().is_sealed())
    }

    async fn open(&self) -> Open {
        let (place, folder) = (self.place(), Folder::open(self.dir.path()).unwrap());
        Store::migrate_sqlite(&place).await.unwrap();
        let master = MasterKey::new(&"5e".repeat(32)).unwrap();
        let store = Arc::new(Store::open(Place::Sqlite(place), master).await.unwrap());
        let control = Arc::new(Control::new(store.clone(), SCANNER.clone(), folder.clone()));
        let cheap = Cost { memory_kib: 8, passes: 1 };
        let access =
            Arc::new(Access::new(store.clone(), cheap, Arc::new(|_| false), Arc::new(|_| {})).unwrap());
        let api = Api::new(control, access.clone());
        Open { store, folder, api, access }
    }

    /// One start.
    async fn start(&self, providers: &DemoProviders) -> Result<(Demo, Open), SeedError> {
        let mut kept = self.kept()?;
        let open = self.open().await;
        let demo = seed(&open.api, &open.access, &mut kept, providers, self.now).await?;
        Ok((demo, open))
    }
}

impl Open {
    async fn policy(&self) -> Policy {
        let started = Follower::start(self.store.clone(), self.folder.clone(), SCANNER.clone()).await;
        let (follower, errors) = started.unwrap();
        assert_eq!(errors, []);
        Policy::clone(follower.policy())
    }

    /// What an admin of the organisation asks, who has the demo's token.
    async fn change(
        &self,
        demo: &Demo,
        path: &str,
        tag: Option<&str>,
        body: &Value,
    ) -> Result<(), SeedError> {
        let errand = Errand { api: &self.api, now: SystemTime::now() };
        errand.put(&Badge::Token(demo.token.clone()), path, tag, body).await.map(drop)
    }
}

fn double(port: u16) -> DemoProviders {
    DemoProviders { double: Some(format!("http://127.0.0.1:{port}")), ..DemoProviders::default() }
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.providers().iter().map(|provider| provider.document.name.as_str()).collect()
}

fn is_let_in(policy: &Policy, key: &Secret) -> bool {
    let credentials = [key.expose().to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 1 };
    identify(policy, &Trust::default(), &knock).is_ok_and(|caller| caller.key().groups == [GROUP])
}

#[tokio::test]
async fn what_there_is_to_reach_may_change_from_start_to_start() {
    let room = Room::new();
    let mut key = None;
    // Each kind of demo, behind many another.
    for kinds in [1, 2, 5, 13, 6, 0, 9, 15, 1, 8, 12, 3] {
        let has = |kind: u8| kinds & kind != 0;
        let secret = |kind| has(kind).then(|| Secret::new(format!("sk-{kinds}")));
        let providers = DemoProviders {
            double: has(1).then(|| format!("http://127.0.0.1:40{kinds:02}")),
            upstream: has(2).then(|| "http://localhost:11434/v1".to_owned()),
            openai: secret(4),
            anthropic: secret(8),
        };
        let (demo, open) = room.start(&providers).await.unwrap();
        let policy = open.policy().await;
        assert!(is_let_in(&policy, &demo.key), "{kinds}");
        assert_eq!(*key.get_or_insert(demo.key.clone()), demo.key, "the key that was shown goes on");
        let is_double = has(1) && !has(2);
        let mut expected: Vec<&str> = OWN_PROVIDERS
            .into_iter()
            .zip([has(2), is_double, is_double, has(4), has(8)])
            .filter_map(|(name, is)| is.then_some(name))
            .collect();
        let mut found = names(&policy);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{kinds}");
        for provider in policy.providers().iter().filter(|provider| provider.document.name == "mock") {
            assert_eq!(provider.document.base_url, format!("http://127.0.0.1:40{kinds:02}/v1"));
        }
        let errand = Errand { api: &open.api, now: room.now };
        let routes = errand.find(&Badge::Token(demo.token), "/orgs/demo/routes").await.unwrap();
        let routes = routes.map(|said| said.body["routes"].clone()).unwrap_or_default();
        let mut routes: Vec<&str> = routes.as_array().into_iter().flatten().map(named).collect();
        routes.sort_unstable();
        let own = [(has(8), "anthropic"), (is_double, "fallback"), (has(4), "openai")];
        assert_eq!(routes, own.into_iter().filter_map(|(is, name)| is.then_some(name)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_a_person_changed_stays() {
    let room = Room::new();
    let (demo, open) = room.start(&double(4001)).await.unwrap();
    let chain = json!({ "rules": [{ "name": "mine", "direction": "input", "action": "block" }] });
    open.change(&demo, "/orgs/demo/policy-chain", Some("\"1\""), &chain).await.unwrap();
    let mine = json!({ "name": "mine", "models": ["m"], "targets": ["mock/mock"] });
    open.change(&demo, "/orgs/demo/routes", Some("\"1\""), &json!({ "routes": [mine] })).await.unwrap();
    drop(open);
    let (again, open) = room.start(&double(4002)).await.unwrap();
    assert_eq!((&again.key, &again.token), (&demo.key, &demo.token));
    let errand = Errand { api: &open.api, now: SystemTime::now() };
    let badge = Badge::Token(demo.token);
    let kept = errand.find(&badge, "/orgs/demo/policy-chain").await.unwrap().unwrap();
    assert_eq!(kept.body, chain);
    let routes = errand.find(&badge, "/orgs/demo/routes").await.unwrap().unwrap();
    assert_eq!(routes.body["routes"], json!([mine]), "what was taken out does not come back");
    drop(open);
    // What somebody names is not taken away behind their back.
    let upstream =
        DemoProviders { upstream: Some("http://localhost:1/v1".to_owned()), ..DemoProviders::default() };
    let error = room.start(&upstream).await.unwrap_err().to_string();
    assert!(error.contains("DELETE /platform/providers/mock") && error.contains("`demo`"), "{error}");
    room.start(&double(4003)).await.unwrap();
}

#[tokio::test]
async fn what_works_no_more_is_made_anew() {
    let room = Room::new();
    let (demo, open) = room.start(&double(4001)).await.unwrap();
    let id = demo.key.expose().split('_').nth(2).unwrap().to_owned();
    let errand = Errand { api: &open.api, now: SystemTime::now() };
    let badge = Badge::Token(demo.token.clone());
    let off = json!({ "enabled": false });
    errand.patch(&badge, &format!("/orgs/demo/api-keys/{id}"), "\"1\"", &off).await.unwrap();
    drop(open);
    // And past the token's end.
    let later = Room { dir: room.dir, now: room.now + Duration::from_hours(24 * 91) };
    let (again, open) = later.start(&double(4001)).await.unwrap();
    assert!(again.key != demo.key && again.token != demo.token);
    let policy = open.policy().await;
    assert!(is_let_in(&policy, &again.key) && !is_let_in(&policy, &demo.key));
}

#[tokio::test]
async fn a_start_that_did_not_come_to_its_end_is_made_up_for() {
    let room = Room::new();
    drop(room.kept().unwrap());
    let open = room.open().await;
    // The first invitation was made, and nobody saw it.
    open.access.bootstrap(room.now).await.unwrap().unwrap();
    drop(open);
    let (demo, open) = room.start(&double(4001)).await.unwrap();
    assert!(is_let_in(&open.policy().await, &demo.key));
    drop(open);
    room.start(&double(4001)).await.unwrap();
    let kept = room.kept().unwrap();
    assert!(kept.operator().name.starts_with("operator-"), "{}", kept.operator().name);
}

#[tokio::test]
async fn folders_of_others_are_left_alone() {
    let room = Room::new();
    std::fs::create_dir(room.dir.path().join("orgs")).unwrap();
    std::fs::write(room.dir.path().join("orgs/demo.toml"), "id = 'demo'\n").unwrap();
    let error = room.kept().unwrap_err().to_string();
    assert!(
        error.contains("`palisade serve --data-dir /") && error.contains("another `--data-dir`"),
        "{error}"
    );

    let room = Room::new();
    drop(room.open().await);
    let error = room.kept().unwrap_err().to_string();
    assert!(error.contains("a store that no demo made"), "{error}");
    let file = |room: &Room| room.dir.path().join("demo.json");
    assert!(!file(&room).exists());

    let room = Room::new();
    drop(room.kept().unwrap());
    assert_eq!(file(&room).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(file(&room), "{\"operator\": \"hunter2\"}").unwrap();
    let error = room.kept().unwrap_err().to_string();
    assert!(error.contains("demo.json") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn an_account_that_is_somebody_elses_by_now_is_said_so() {
    let room = Room::new();
    let (_, open) = room.start(&double(4001)).await.unwrap();
    let kept = room.kept().unwrap();
    let errand = Errand { api: &open.api, now: room.now };
    let admin = errand.sign_in(Some(DEMO), kept.admin()).await.unwrap().unwrap();
    let other = json!({ "current": kept.admin().password, "new": "correct horse battery staples" });
    errand.put(&admin, "/session/password", None, &other).await.unwrap();
    drop(open);
    let error = room.start(&double(4001)).await.unwrap_err().to_string();
    assert!(error.contains("`admin` is not let in"), "{error}");
}

#[test]
fn an_upstream_that_is_no_address_is_refused() {
    let upstream = |url: &str| DemoProviders { upstream: Some(url.to_owned()), ..double(4001) }.check();
    let error = upstream("localhost:11434").unwrap_err().to_string();
    assert!(error.contains("`localhost:11434` begins with neither"), "{error}");
    assert!(upstream("https://example.org/v1").is_ok() && double(1).check().is_ok());
}
