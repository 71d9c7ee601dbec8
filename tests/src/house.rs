//! A whole installation in a folder of its own: documents, configuration, a process, and a provider double.
//!
//! Ports are free ones, found by the process and read from its ready file. What is written here is what an operator
//! would write.

use crate::http::{self, Answer};
use crate::keys::key;
use crate::process::{Process, until};
use palisade_audit::{Event, Reader};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tempfile::TempDir;

/// A running installation.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) process: Option<Process>,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
    api: Option<SocketAddr>,
    feed: Option<SocketAddr>,
    pub(crate) arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Ready {
    proxy: Option<String>,
    admin: String,
    metrics: String,
    api: Option<String>,
    feed: Option<String>,
}

/// What an installation is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) platform: String,
    /// Each with its id.
    pub(crate) organisations: Vec<(String, String)>,
    /// `palisade.toml`.
    pub(crate) config: String,
}

/// A provider's table.
pub(crate) fn provider(name: &str, address: SocketAddr, models: &str, more: &str) -> String {
    format!(
        "\n[[providers]]\nname = \"{name}\"\nbase_url = \"http://{address}/v1\"\nmodels = [\"{models}\"]\n\
         allow_private_addresses = true\n{more}\n"
    )
}

/// An organisation with one key, named after itself, that may do everything.
pub(crate) fn organisation(id: &str, settings: &str) -> (String, String) {
    (id.to_owned(), format!("id = \"{id}\"\n{settings}\n{}", key(id).table))
}

impl House {
    /// Writes the documents and starts a process.
    pub(crate) fn start(plan: &Plan) -> Self {
        Self::start_with_report(plan, &[])
    }

    /// The same, where servers with certificates of this authority are trusted.
    pub(crate) fn start_trusting(plan: &Plan, authority: &Path) -> Self {
        let mut house = Self::prepare(plan, &[]);
        house.launch_by(&format!("SSL_CERT_FILE='{}' exec \"$0\" \"$@\"", authority.display()));
        house
    }

    /// The same, where a leak report names these credentials.
    pub(crate) fn start_with_report(plan: &Plan, reported: &[String]) -> Self {
        let mut house = Self::prepare(plan, reported);
        house.launch();
        house
    }

    /// A folder without documents for a process that is not started yet.
    pub(crate) fn prepared(config: &str) -> Self {
        Self::prepare(&Plan { config: config.to_owned(), ..Plan::default() }, &[])
    }

    /// Where the admin API is.
    pub(crate) fn api(&self) -> SocketAddr {
        self.api.expect("a process with a store")
    }

    /// Where proxies come that are elsewhere.
    pub(crate) fn feed(&self) -> SocketAddr {
        self.feed.expect("a process with a feed")
    }

    /// A folder for another command than `serve`, not started yet.
    pub(crate) fn prepared_as(command: &str, config: &str) -> Self {
        let mut house = Self::prepared(config);
        command.clone_into(&mut house.arguments[0]);
        house
    }

    /// Puts another value in the place of a flag's.
    pub(crate) fn set_flag(&mut self, flag: &str, value: &str) {
        let at = self.arguments.iter().position(|argument| argument == flag).unwrap();
        value.clone_into(&mut self.arguments[at + 1]);
    }

    /// Writes the documents.
    fn prepare(plan: &Plan, reported: &[String]) -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("orgs")).unwrap();
        if !plan.platform.is_empty() {
            std::fs::write(data.join("platform.toml"), &plan.platform).unwrap();
        }
        for (id, text) in &plan.organisations {
            std::fs::write(data.join(format!("orgs/{id}.toml")), text).unwrap();
        }
        if !reported.is_empty() {
            std::fs::create_dir(data.join("credint")).unwrap();
            std::fs::write(data.join("credint/report.txt"), reported.join("\n")).unwrap();
        }
        let config = folder.path().join("palisade.toml");
        // Nobody balances between these processes, so nobody need be waited for.
        let has_grace = plan.config.contains("drain_grace");
        let grace = if has_grace { "" } else { "drain_grace = \"0s\"\n" };
        std::fs::write(&config, format!("{grace}{}", plan.config)).unwrap();
        let mut arguments: Vec<String> =
            vec!["serve".into(), "--config".into(), config.to_str().unwrap().into()];
        for (flag, value) in [
            ("--data-dir", data.to_str().unwrap()),
            ("--proxy-listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--metrics-listen", "127.0.0.1:0"),
            ("--api-listen", "127.0.0.1:0"),
            ("--ready-file", folder.path().join("ready.json").to_str().unwrap()),
        ] {
            // Where a unix socket is, only the configuration says.
            if !(flag == "--proxy-listen" && plan.config.contains("listen = \"unix:")) {
                arguments.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        if plan.config.contains("[feed]") {
            arguments.extend(["--feed-listen".to_owned(), "127.0.0.1:0".to_owned()]);
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, api, feed) = (None, None, None);
        Self { folder, process, proxy: nowhere, admin: nowhere, metrics: nowhere, api, feed, arguments }
    }

    /// Starts a process on the folder as it is.
    pub(crate) fn launch(&mut self) {
        self.launch_by("exec \"$0\" \"$@\"");
    }

    /// The same by a script for `bash`, which gets the command as its arguments.
    pub(crate) fn launch_by(&mut self, script: &str) {
        let file = self.folder.path().join("ready.json");
        // The ready file of a former process would be believed.
        let _ = std::fs::remove_file(&file);
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut process = Process::script("serve", script, &arguments, self.folder.path());
        let text = process.until("the ready file appears", || std::fs::read_to_string(&file).ok());
        self.meet(&text);
        self.process = Some(process);
    }

    /// Starts a process that is to take over, and waits until the former one has heard of it or it has ended.
    pub(crate) fn successor(&self) -> Process {
        let arguments = self.arguments.iter().map(String::as_str).chain(["--upgrade"]).collect::<Vec<_>>();
        Process::start("serve", &arguments, self.folder.path())
    }

    /// Puts a new process in the place of the one there is, which is given back.
    pub(crate) fn upgrade(&mut self) -> Process {
        let file = self.folder.path().join("ready.json");
        std::fs::remove_file(&file).unwrap();
        let mut process = self.successor();
        let text = process.until("the new process serves", || std::fs::read_to_string(&file).ok());
        self.meet(&text);
        self.process.replace(process).unwrap()
    }

    /// Starts a process by a script for `bash`, which gets the command as its arguments.
    pub(crate) fn by_script(&self, script: &str, proxy: SocketAddr) -> Process {
        let mut arguments = self.arguments.clone();
        let flag = arguments.iter().position(|argument| argument == "--proxy-listen").unwrap();
        arguments[flag + 1] = proxy.to_string();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::script("serve", script, &arguments, self.folder.path())
    }

    fn meet(&mut self, ready: &str) {
        let ready: Ready = serde_json::from_str(ready).unwrap();
        let nowhere = self.proxy;
        // A unix socket has no port: who put it there knows where it is.
        let address = |url: &str| url.split_once("://").map_or(nowhere, |(_, there)| there.parse().unwrap());
        self.admin = address(&ready.admin);
        self.proxy = ready.proxy.as_deref().map_or(nowhere, address);
        self.metrics = address(&ready.metrics);
        self.api = ready.api.as_deref().map(address);
        self.feed = ready.feed.as_deref().map(address);
    }

    /// Starts a process that must not come to serve; its end and what it said.
    pub(crate) fn fail(&self) -> (ExitStatus, String) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut process = Process::start("fails", &arguments, self.folder.path());
        let status = process.ended();
        (status, process.log())
    }

    /// The folder of documents and state.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Puts an organisation's document in the place of the former, in one step.
    pub(crate) fn write(&self, id: &str, text: &str) {
        let path = self.data().join(format!("orgs/{id}.toml"));
        let beside = self.data().join(format!("orgs/.{id}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// Sends a prompt with the organisation's own key.
    pub(crate) fn chat(&self, organisation: &str, body: &str) -> Answer {
        http::ask(self.proxy, &http::chat(&key(organisation).secret, body))
    }

    /// Every event in the spool, and what of it cannot be read.
    pub(crate) fn events(&self) -> (Vec<Event>, usize) {
        let (mut events, mut damages) = (Vec::new(), 0);
        for entry in Reader::open(self.data().join("spool")).unwrap() {
            match entry {
                Ok(entry) => events.push(entry.event().unwrap()),
                Err(_) => damages += 1,
            }
        }
        (events, damages)
    }

    /// The event of an answer, by the id that the answer names.
    pub(crate) fn event_of(&self, answer: &Answer) -> Event {
        let id = answer.header("x-request-id").expect("every answer names its request").to_owned();
        until("the event is in the spool", || {
            self.events().0.into_iter().find(|event| event.id.to_string() == id)
        })
    }

    /// Asks the process to stop, and waits for its end.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.terminate();
        let status = process.ended();
        assert!(status.success(), "{status}: {}", process.log());
    }
}
