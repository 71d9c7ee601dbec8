//! A control plane behind a socket of this process: the admin API as the library has it, and just enough HTTP around it
//! that commands can talk to it.

use crate::memory::SCANNER;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use palisade_control::Folder;
use palisade_control::access::{Access, Attempt, Cost, NewToken};
use palisade_control::api::{Api, Head, Reply};
use palisade_control::resources::{Actor, Control};
use palisade_control::store::{MasterKey, OrganisationId, Owner, Place, SqlitePlace, Store};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Everybody's password.
const PASSWORD: &str = "correct horse battery staples";
/// A hash that costs next to nothing.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };

/// A control plane, until the test ends.
pub(crate) struct ControlPlane {
    pub(crate) url: String,
    pub(crate) control: Arc<Control>,
    access: Arc<Access>,
    /// What it was asked, oldest first: method and path.
    asked: Arc<Mutex<Vec<String>>>,
    runtime: Arc<Runtime>,
    _data: TempDir,
}

impl ControlPlane {
    /// An empty one.
    pub(crate) fn start() -> Self {
        let runtime = Arc::new(Runtime::new().unwrap());
        let data = TempDir::new().unwrap();
        let place = SqlitePlace::new(data.path().join("store"), data.path().join("keys"));
        let master = MasterKey::new(&"5e".repeat(32)).unwrap();
        let store = runtime.block_on(async {
            Store::migrate_sqlite(&place).await.unwrap();
            Store::open(Place::Sqlite(place), master).await.unwrap()
        });
        let store = Arc::new(store);
        let folder = Folder::open(data.path()).unwrap();
        let control = Arc::new(Control::new(store.clone(), SCANNER.clone(), folder));
        let access = Access::new(store, CHEAP, Arc::new(|_| false), Arc::new(|_| {})).unwrap();
        let access = Arc::new(access);
        let api = Arc::new(Api::new(control.clone(), access.clone()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = (api, asked.clone(), runtime.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (api, asked, runtime) = shared.clone();
                std::thread::spawn(move || attend(stream, &api, &asked, &runtime));
            }
        });
        Self { url, control, access, asked, runtime, _data: data }
    }

    /// A token of the first operator.
    pub(crate) fn operator(&self) -> String {
        self.runtime.block_on(async {
            let link = self.access.bootstrap(SystemTime::now()).await.unwrap().unwrap();
            self.access.accept(link.text.expose(), PASSWORD, SystemTime::now()).await.unwrap();
            self.token(&Owner::Platform, "operator").await
        })
    }

    /// A token of an organisation's first admin.
    pub(crate) fn admin(&self, id: &str) -> String {
        let organisation = OrganisationId::new(id).unwrap();
        self.runtime.block_on(async {
            let now = SystemTime::now();
            let link = self.access.invite_first_admin(&organisation, "ann", "palisade", now).await.unwrap();
            self.access.accept(link.text.expose(), PASSWORD, now).await.unwrap();
            self.token(&Owner::Organisation(organisation), "ann").await
        })
    }

    async fn token(&self, owner: &Owner, name: &str) -> String {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let attempt = Attempt { owner, name, password: PASSWORD, code: None, address };
        let signed = self.access.sign_in(&attempt, SystemTime::now()).await.unwrap();
        let signed = self.access.session(signed.cookie.expose(), SystemTime::now()).await.unwrap();
        let new = NewToken { name: "ci".to_owned(), permissions: None, lifetime: Duration::from_hours(24) };
        let (secret, _) = self.access.create_token(&signed.principal, &new, SystemTime::now()).await.unwrap();
        secret.expose().to_owned()
    }

    /// Takes an organisation away.
    pub(crate) fn erase(&self, id: &str) {
        let id = OrganisationId::new(id).unwrap();
        let by = Actor { name: "test".to_owned(), at: SystemTime::now() };
        self.runtime.block_on(async {
            self.control.suspend(&id, &by).await.unwrap();
            self.control.erase(&id, &by).await.unwrap();
        });
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// One request, one answer, and the connection's end.
fn attend(stream: TcpStream, api: &Api, asked: &Mutex<Vec<String>>, runtime: &Runtime) {
    let mut stream = BufReader::new(stream);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut text), Ok(1..)) {
            return;
        }
    }
    let mut lines = text.lines();
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    asked.lock().unwrap().push(format!("{} {}", first[0], first[1]));
    let length = headers.get("content-length").map_or(0, |text| text.to_str().unwrap().parse().unwrap());
    let head = Head {
        method: first[0].parse::<Method>().unwrap(),
        target: first[1].to_owned(),
        headers,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        now: SystemTime::now(),
    };
    let reply: Reply = runtime.block_on(async {
        match api.admit(head).await {
            Ok(admitted) => {
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                api.perform(admitted, Bytes::from(body)).await
            }
            Err(refused) => refused,
        }
    });
    assert_eq!(reply.cause, None);
    let mut out = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        out += &format!("{name}: {value}\r\n");
    }
    out += &format!("content-length: {}\r\n\r\n", reply.body.len());
    // Whoever asked may have left.
    let _ = stream.get_mut().write_all(&[out.as_bytes(), &reply.body].concat());
}
