//! Child processes of a test: found, started, waited for, ended.
//!
//! The binary is built once by the cargo that runs the tests, into the target directory that they run from, so that
//! a test never meets yesterday's product. A child dies with its guard; what it said is printed if the test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longer than anything takes on a loaded machine; only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at something that cannot tell us when it happens.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The product's binary.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let this = std::env::current_exe().unwrap();
        // <target>/<profile>/deps/palisade-<hash>
        let profile = this.parent().and_then(Path::parent).unwrap();
        let target = profile.parent().unwrap();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let profile_name = match profile.file_name().and_then(|name| name.to_str()).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "palisade", "--profile", profile_name, "--target-dir"]);
        build.arg(target).current_dir(workspace());
        // What cargo says of this package is not for another build: build scripts that look at it would run anew.
        for (name, _) in std::env::vars_os() {
            let is_ours = |prefix: &str| name.to_string_lossy().starts_with(prefix);
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"].into_iter().any(is_ours) {
                build.env_remove(name);
            }
        }
        let built = build.status().unwrap();
        assert!(built.success(), "the product does not build");
        profile.join("palisade")
    })
}

/// The workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Asks until the answer is there, and fails after [`PATIENCE`]. For what happens in another process and reaches us
/// through nothing that could be waited on: a file that appears, a line in a spool.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// A child process.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts the product with these arguments; both outputs go to `<folder>/<name>.log`.
    pub(crate) fn start(name: &str, arguments: &[&str], folder: &Path) -> Self {
        Self::spawn(name, Command::new(binary()).args(arguments), folder)
    }

    /// The same by a script for `bash`, which gets the command as its arguments.
    pub(crate) fn script(name: &str, script: &str, arguments: &[&str], folder: &Path) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", script]).arg(binary());
        Self::spawn(name, command.args(arguments), folder)
    }

    fn spawn(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        // Whoever runs the tests does not pay for them.
        command.env_remove("OPENAI_API_KEY").env_remove("ANTHROPIC_API_KEY");
        command.current_dir(folder).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: command.spawn().unwrap(), log, name: name.to_owned() }
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for something, unless the process ends before.
    pub(crate) fn until<T>(&mut self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let name = self.name.clone();
        let child = &mut self.child;
        until(what, || {
            let answer = ask();
            if answer.is_none() {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "`{name}` ended ({ended:?}) before: {what}");
            }
            answer
        })
    }

    /// Asks it to stop, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Ends it without a chance to say anything.
    pub(crate) fn crash(mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Resident memory, in KiB: now.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// And at its highest.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the process ends", || child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is gone already is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of `{}` ---\n{}", self.name, self.log());
        }
    }
}
