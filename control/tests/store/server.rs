//! A PostgreSQL server of the tests' own: made in a folder of its own, reached by a socket in it, gone with its owner.
//!
//! Its programs are found in `PATH` or where Debian puts them; `make test` installs them. The server refuses to run as
//! root, so under root another user runs it. A shell waits at the other end of a pipe: when this process ends, however
//! it ends, the pipe closes, the server is stopped, and its folder removed. Needs nothing but the standard library.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The oldest version that the product works with.
const VERSION_MIN: u32 = 15;
/// Longer than a server takes to start on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at whether it is up.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Whoever may run a server where this process is root: the package makes the first one.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Starts the server, and stops it when the input ends. `$1`: programs, `$2`: folder, `$3`: options.
const KEEPER: &str = r#"
mkdir -p "$2"; chmod 700 "$2"
[ -d "$2/data" ] || "$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c unix_socket_permissions=0777 -c max_connections=200 \
  -c shared_buffers=32MB $3 >>"$2/log" 2>&1 </dev/null &
echo $! >"$2/pid"
chmod 755 "$2"
read -r word
kill -INT %1 2>/dev/null; wait
[ "$word" = keep ] || rm -rf "$2"
"#;

/// Servers of this process, so that each has a folder of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    options: &'static str,
    keeper: Child,
}

impl Server {
    /// Makes and starts one, with options of its command line.
    pub(crate) fn start(options: &'static str) -> Self {
        let programs = programs();
        // Short, as a socket's path must be; in a folder that another user can go into.
        let name = format!("palisade-pg-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let keeper = keeper(&programs, &folder, options);
        let mut server = Self { folder, programs, options, keeper };
        server.wait();
        server
    }

    /// `postgres://…` of a role in a database of this server.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgres://{role}@localhost/{database}?host={folder}&sslmode=disable")
    }

    /// Runs statements as the server's administrator, and gives back what they answer.
    pub(crate) fn administer(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(&self.folder).args(["-c", statements]).current_dir("/");
        let answer = psql.output().unwrap();
        assert!(answer.status.success(), "{statements}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    }

    /// Ends it as a power cut would: all its processes at once, and nothing is tidied up. Then starts it again.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.end_keeper("keep");
        self.restart();
    }

    /// Stops it for a while.
    pub(crate) fn stop(&mut self) {
        self.end_keeper("keep");
    }

    /// Starts what was stopped.
    pub(crate) fn restart(&mut self) {
        self.keeper = keeper(&self.programs, &self.folder, self.options);
        self.wait();
    }

    fn kill(&self) {
        let first = std::fs::read_to_string(self.folder.join("pid")).unwrap().trim().to_owned();
        let mut all = children(&first);
        all.push(first);
        // One that ended by itself meanwhile is no matter.
        let kill = format!("kill -KILL {} 2>/dev/null", all.join(" "));
        Command::new("bash").args(["-c", &kill]).status().unwrap();
        let started = Instant::now();
        // What is dead and not yet waited for is there without memory.
        let is_alive = |id: &String| {
            std::fs::read_to_string(format!("/proc/{id}/statm")).is_ok_and(|pages| !pages.starts_with("0 "))
        };
        while all.iter().any(is_alive) {
            assert!(started.elapsed() < PATIENCE, "the server's processes do not end");
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn end_keeper(&mut self, word: &str) {
        if let Some(mut input) = self.keeper.stdin.take() {
            let _ = writeln!(input, "{word}");
        }
        let _ = self.keeper.wait();
    }

    fn wait(&mut self) {
        let started = Instant::now();
        let ready = self.programs.join("pg_isready");
        loop {
            let mut asked = Command::new(&ready);
            asked.args(["-q", "-U", "postgres", "-h"]).arg(&self.folder).current_dir("/");
            if asked.status().unwrap().success() {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let ended = self.keeper.try_wait().unwrap();
            assert!(ended.is_none(), "the server did not start: {}", log());
            assert!(started.elapsed() < PATIENCE, "the server does not answer: {}", log());
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end_keeper("remove");
    }
}

/// The processes that a process started.
fn children(parent: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let is_child = |id: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: the state, then the parent.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(parent))
    };
    ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).filter(is_child).collect()
}

fn keeper(programs: &Path, folder: &Path, options: &str) -> Child {
    let mut command = match user() {
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--", "bash"]);
            command
        }
        None => Command::new("bash"),
    };
    command.args(["-c", KEEPER, "keeper"]).arg(programs).arg(folder).arg(options).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Who runs the server, if this process may not.
fn user() -> Option<&'static str> {
    let id = |arguments: &[&str]| {
        let answer = Command::new("id").args(arguments).output().unwrap();
        answer.status.success().then(|| String::from_utf8(answer.stdout).unwrap().trim().to_owned())
    };
    if id(&["-u"]).as_deref() != Some("0") {
        return None;
    }
    Some(USERS.into_iter().find(|user| id(&["-u", user]).is_some()).expect("a user that is not root"))
}

/// The folder of the server's programs: of `PATH`, or the newest that Debian has.
fn programs() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> =
            versions.map(|version| version.unwrap().path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    let has_all = |folder: &PathBuf| {
        ["postgres", "initdb", "psql", "pg_isready"].iter().all(|program| folder.join(program).is_file())
    };
    let found = folders.into_iter().find(has_all);
    let found =
        found.expect("PostgreSQL is missing; install it: `make test` does, or apt-get install postgresql");
    let version = Command::new(found.join("postgres")).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let major = version.split_whitespace().nth(2).and_then(|number| number.split('.').next());
    let major: u32 = major.unwrap().parse().unwrap();
    assert!(major >= VERSION_MIN, "PostgreSQL {VERSION_MIN} or later is needed, this is {version}");
    found
}
