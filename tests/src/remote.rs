//! Does a control plane come to believe what a folder says, and is every mistake on the way one that is understood?

use crate::commands::{err, out};
use crate::control_plane::ControlPlane;
use crate::house::organisation;
use crate::issuer::Published;
use crate::process::binary;
use crate::provider::{Said, Scripted, flood};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PLATFORM: &str = "[floor]\n\n[[providers]]\nname = \"double\"\nbase_url = \"https://double.example/v1\"\n\
                        models = [\"*\"]\napi_key = { file = \"secrets/double\" }\n";

/// A repository of documents, and who speaks to where.
struct Desk {
    room: TempDir,
    url: String,
    token: String,
}

impl Desk {
    fn new(url: &str, token: &str) -> Self {
        let room = TempDir::new().unwrap();
        let desk = Self { room, url: url.to_owned(), token: token.to_owned() };
        for folder in ["docs/orgs", "docs/secrets", "docs/lists/acme", "tokens"] {
            std::fs::create_dir_all(desk.path(folder)).unwrap();
        }
        desk.write("docs/secrets/double", "sk-provider-secret-of-tests\n");
        desk.write("docs/platform.toml", PLATFORM);
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.room.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn organisation(&self, id: &str, settings: &str) {
        self.write(&format!("docs/orgs/{id}.toml"), &organisation(id, settings).1);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run_with(self.room.path(), arguments, &[("PALISADE_URL", &self.url), ("PALISADE_TOKEN", &self.token)])
    }
}

fn run_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env_remove("PALISADE_URL").env_remove("PALISADE_TOKEN");
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Its exit status and everything it printed, in which no secret is.
#[track_caller]
fn ended(output: &Output, status: i32) -> String {
    let text = out(output) + &err(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    for secret in ["sk-provider-secret", "pal_token_"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

#[test]
fn what_was_applied_is_there_and_applying_it_again_changes_nothing() {
    let plane = ControlPlane::start();
    let desk = Desk::new(&plane.url, &plane.operator());
    desk.organisation("acme", "groups = [{ name = \"developers\" }]\n[dlp]\nthreshold = 0.6");
    desk.organisation("globex", "");
    let text = ended(&desk.run(&["diff", "-f", "docs"]), 2);
    assert!(text.contains("there is no organisation `acme`") && text.contains("`--create`"), "{text}");
    let create = ["-f", "docs", "--create"];
    let text = ended(&desk.run(&[&["diff"], &create[..]].concat()), 1);
    assert!(text.contains("platform.toml: create providers/double\n"), "{text}");
    assert!(text.contains("orgs/acme.toml: make the organisation, with 3 resources\n"), "{text}");
    ended(&desk.run(&[&["apply", "--dry-run"], &create[..]].concat()), 0);
    assert!(plane.asked().iter().all(|asked| !asked.contains("import")), "nothing was changed");
    let text = ended(&desk.run(&[&["apply"], &create[..]].concat()), 0);
    assert!(
        text.contains("platform.toml: applied, revision ") && text.contains("orgs/acme.toml: made"),
        "{text}"
    );
    // From now on each organisation speaks for itself.
    for id in ["acme", "globex"] {
        desk.write(&format!("tokens/{id}"), &format!("{}\n", plane.admin(id)));
    }
    let all = ["-f", "docs", "--org-tokens", "tokens"];
    let text = ended(&desk.run(&[&["diff"], &all[..]].concat()), 0);
    assert_eq!(text.matches("no differences").count(), 3, "{text}");
    plane.asked();
    let text = ended(&desk.run(&[&["apply"], &all[..]].concat()), 0);
    assert!(!text.contains("revision"), "{text}");
    // The one token of the operator does not see an organisation's rules.
    let text = ended(&desk.run(&["diff", "-f", "docs"]), 2);
    assert!(
        text.contains("orgs/acme.toml: ")
            && text.contains("`settings.update`")
            && text.contains("--org-tokens")
    );

    desk.organisation("acme", "name = \"Acme\"\ngroups = [{ name = \"ops\" }]");
    let text = ended(&desk.run(&[&["diff"], &all[..]].concat()), 1);
    assert!(text.contains("orgs/acme.toml: create groups/ops\n"), "{text}");
    assert!(
        text.contains("orgs/acme.toml: keep groups/developers: not in the document, and left\n"),
        "{text}"
    );
    let text = ended(&desk.run(&[&["apply", "--prune"], &all[..]].concat()), 0);
    assert!(text.contains("orgs/acme.toml: delete groups/developers\n"), "{text}");
    assert!(text.contains("orgs/globex.toml: no differences\n"), "{text}");
    ended(&desk.run(&[&["diff", "--prune"], &all[..]].concat()), 0);
    // Only the documents were read: the repository is as it was.
    assert!(!desk.path("docs/.lock").exists() && !desk.path("docs/secrets/hash.key").exists());
}

#[test]
fn what_the_platform_loses_goes_after_the_last_who_needed_it() {
    let plane = ControlPlane::start();
    let desk = Desk::new(&plane.url, &plane.operator());
    let routed = |name: &str| {
        let routes = format!("routes = [{{ name = \"r\", models = [\"m\"], targets = [\"{name}\"] }}]");
        desk.organisation("acme", &routes);
    };
    routed("double");
    ended(&desk.run(&["apply", "-f", "docs", "--create"]), 0);
    desk.write("tokens/acme", &plane.admin("acme"));
    let renamed = PLATFORM.replace("name = \"double\"", "name = \"other\"");
    desk.write("docs/platform.toml", &renamed);
    routed("other");
    let all = ["-f", "docs", "--org-tokens", "tokens", "--prune"];
    let text = ended(&desk.run(&[&["diff"], &all[..]].concat()), 1);
    assert!(text.contains("delete providers/double") && text.contains("create providers/other"), "{text}");
    let text = ended(&desk.run(&[&["apply"], &all[..]].concat()), 0);
    assert_eq!(text.matches("platform.toml: applied").count(), 2, "{text}");
    ended(&desk.run(&[&["diff"], &all[..]].concat()), 0);
    // Alone, it would take away what is in use: that is said before anything is done.
    desk.write("docs/platform.toml", "");
    let text = ended(&desk.run(&["diff", "-f", "docs/platform.toml", "--prune"]), 2);
    assert!(text.contains("`acme`") && text.contains("nothing was changed"), "{text}");
}

#[test]
fn an_organisation_moves_as_one_file() {
    let plane = ControlPlane::start();
    let desk = Desk::new(&plane.url, &plane.operator());
    desk.write("docs/lists/acme/names.txt", "Aurora\nBorealis\n");
    desk.organisation(
        "acme",
        "groups = [{ name = \"developers\" }]\n[[dlp.keyword_lists]]\nid = \"own.names\"\nentity = \"NAME\"\n\
         category = \"business\"\nfile = \"lists/acme/names.txt\"",
    );
    ended(&desk.run(&["apply", "-f", "docs", "--create"]), 0);
    let admin = plane.admin("acme");
    let export = |id: &str, token: &str, file: &str| {
        let arguments = ["export", "--org", id, "-o", file];
        let variables = [("PALISADE_URL", plane.url.as_str()), ("PALISADE_TOKEN", token)];
        ended(&run_with(desk.room.path(), &arguments, &variables), 0);
        let mode = desk.path(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        serde_json::from_slice::<Value>(&std::fs::read(desk.path(file)).unwrap()).unwrap()
    };
    let first = export("acme", &admin, "acme.json");
    // The operator makes organisations, and does not read them.
    let text = ended(&desk.run(&["export", "--org", "acme"]), 2);
    assert!(text.contains("`exports.read`"), "{text}");
    // A key is one organisation's.
    let text = ended(&desk.run(&["import", "--org", "copy", "-f", "acme.json"]), 2);
    assert!(text.contains("key"), "{text}");
    ended(&desk.run(&["import", "--org", "copy", "-f", "acme.json", "--without-keys"]), 0);
    let copied = export("copy", &plane.admin("copy"), "copy.json");
    let without_keys = |export: &Value| {
        let resources = export["resources"].as_array().unwrap().iter();
        resources.filter(|resource| resource["kind"] != "api-keys").cloned().collect::<Vec<_>>()
    };
    assert_eq!(without_keys(&copied), copied["resources"].as_array().unwrap().clone());
    assert_eq!(without_keys(&copied), without_keys(&first));
    plane.erase("acme");
    ended(&desk.run(&["import", "--org", "moved", "-f", "acme.json"]), 0);
    let moved = export("moved", &plane.admin("moved"), "moved.json");
    assert_eq!(moved["resources"], first["resources"], "keys and all");
    let text = ended(&desk.run(&["import", "--org", "moved", "-f", "acme.json"]), 2);
    assert!(text.contains("moved"), "{text}");
    desk.write("broken.json", "{\"format\":1,\"organisation\":\"x\",\"sk-provider-secret\":[]}");
    let text = ended(&desk.run(&["import", "--org", "x", "-f", "broken.json"]), 2);
    assert!(text.contains("`broken.json` is no export: line 1"), "{text}");
}

#[test]
fn nothing_is_changed_while_something_is_wrong() {
    let plane = ControlPlane::start();
    let desk = Desk::new(&plane.url, &plane.operator());
    desk.organisation("acme", "");
    desk.organisation("globex", "[dlp]\ntreshold = 0.5");
    desk.write("docs/orgs/initech.toml", "id = \"other\"\n");
    let text = ended(&desk.run(&["apply", "-f", "docs", "--create"]), 2);
    assert!(text.contains("orgs/globex.toml: line 3, column 1: unknown field `treshold`"), "{text}");
    assert!(text.contains("orgs/initech.toml: its `id` is `other`"), "{text}");
    assert!(text.contains("nothing was changed: 2 to put right"), "{text}");
    std::fs::remove_file(desk.path("docs/orgs/initech.toml")).unwrap();
    // What each says is right by itself, and they do not go together.
    desk.organisation("globex", "routes = [{ name = \"r\", models = [\"m\"], targets = [\"none\"] }]");
    let text = ended(&desk.run(&["apply", "-f", "docs", "--create"]), 2);
    assert!(text.contains("orgs/globex.toml: ") && text.contains("`none`"), "{text}");
    // The secret of a provider is the caller's to read.
    std::fs::remove_file(desk.path("docs/secrets/double")).unwrap();
    let text = ended(&desk.run(&["apply", "-f", "docs", "--create"]), 2);
    assert!(
        text.contains("provider `double`: `api_key`: ") && text.contains("there is no such file"),
        "{text}"
    );
    assert_eq!(plane.asked(), [""; 0], "nobody was asked anything");
    // What only the other side knows is wrong is said by it, with line and place.
    desk.write("docs/secrets/double", "sk-provider-secret-of-tests");
    desk.organisation("globex", "");
    ended(&desk.run(&["apply", "-f", "docs", "--create"]), 0);
    desk.write("tokens/globex", &plane.admin("globex"));
    desk.write(
        "docs/orgs/globex.toml",
        "id = \"globex\"\n\n[[quotas]]\nsubject = \"group\"\ngroup = \"nobody\"\nrequests_per_day = 1\n",
    );
    let one = ["diff", "-f", "docs/orgs/globex.toml", "--org-tokens", "tokens"];
    let text = ended(&desk.run(&one), 2);
    assert!(text.contains("docs/orgs/globex.toml: a quota") && text.contains("a known `group`"), "{text}");
    let text = ended(&desk.run(&["diff", "-f", "nowhere"]), 2);
    assert!(text.contains("nowhere: there is no such file"), "{text}");
    let text = ended(&desk.run(&["diff", "-f", "docs", "--org", "nobody"]), 2);
    assert!(text.contains("holds no document of the organisation `nobody`"), "{text}");
}

#[test]
fn a_token_goes_to_the_named_server_and_nowhere_else() {
    let other = Scripted::start();
    other.prepare(&[Said::new("application/json", "{}")]);
    let server = Scripted::start();
    let desk = Desk::new(&format!("http://{}", server.address), "pal_token_test");
    let says = |said: Said| {
        server.prepare(&[said]);
        desk.run(&["diff", "-f", "docs/platform.toml"])
    };
    let mut elsewhere = Said { status: 307, ..Said::new("application/json", "{}") };
    elsewhere.headers.insert("location".to_owned(), format!("http://{}/", other.address));
    let text = ended(&says(elsewhere), 2);
    assert!(text.contains("sends elsewhere") && other.received().is_empty(), "{text}");
    let received = server.received();
    assert_eq!(received[0].header("authorization"), Some("Bearer pal_token_test"));
    for (said, told) in [
        (Said { status: 502, ..Said::new("text/html", "<html>") }, "the status 502 and no problem"),
        (Said::new("text/html", "<html>"), "its answer cannot be read"),
        (Said::new("application/json", "{\"changes\":{}}"), "its answer cannot be read"),
        (Said { cut: Some(5), ..Said::new("application/json", "{\"changes\":[]}") }, "the connection broke"),
        (
            Said { status: 401, ..Said::new("application/problem+json", "{\"detail\":\"\\u001b[31mno\"}") },
            "\u{fffd}[31mno",
        ),
    ] {
        let text = ended(&says(said), 2);
        assert!(text.contains(told), "{told}: {text}");
    }
    let endless = flood("data: x\n\n", 64 << 20);
    let with = |url: &str, more: &[&str]| {
        let arguments = [&["diff", "-f", "docs/platform.toml", "--url", url], more].concat();
        desk.run(&arguments)
    };
    let text = ended(&with(&format!("http://{endless}"), &[]), 2);
    assert!(text.contains("its answer is larger than 16777216 bytes"), "{text}");
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let text = ended(&with(&format!("http://{}", silent.local_addr().unwrap()), &["--timeout", "50ms"]), 2);
    assert!(text.contains("did not answer within 50ms"), "{text}");
    let gone = silent.local_addr().unwrap();
    drop(silent);
    let text = ended(&with(&format!("http://{gone}"), &[]), 2);
    assert!(text.contains("nobody listens there"), "{text}");
    for url in ["http://palisade.example.org", "http://192.0.2.1", "https://user:pass@x", "x"] {
        let text = ended(&with(url, &[]), 2);
        assert!(text.contains("`https") || text.contains("over `https`"), "{text}");
    }
    let text = ended(&run_with(desk.room.path(), &["diff", "-f", "docs", "--url", &desk.url], &[]), 2);
    assert!(text.contains("there is no token: set `PALISADE_TOKEN`"), "{text}");
}

#[test]
fn only_the_named_authority_is_believed() {
    let server = Published::start("{\"changes\":[]}");
    let desk = Desk::new(&format!("https://{}", server.address), "pal_token_test");
    let text = ended(&desk.run(&["diff", "-f", "docs/platform.toml"]), 2);
    assert!(text.contains("TLS failed") && text.contains("`--ca`"), "{text}");
    assert_eq!(server.asked(), [""; 0], "no token was sent");
    desk.write("authority.pem", &server.authority);
    let named = ["diff", "-f", "docs/platform.toml", "--ca", "authority.pem"];
    ended(&desk.run(&named), 0);
    assert_eq!(server.asked(), ["/api/v1/platform/apply"]);
    // Of another authority, though one of this machine's.
    desk.write("authority.pem", &Published::start("").authority);
    ended(&desk.run(&named), 2);
    desk.write("authority.pem", "-----BEGIN CERTIFICATE-----\n");
    let text = ended(&desk.run(&named), 2);
    assert!(text.contains("`authority.pem`"), "{text}");
}
