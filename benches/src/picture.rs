//! Where does a rung's time go? A flame graph of the process while callers never rest.
//!
//! Needs `perf`, and its permission to look at our own child. Proves nothing: a picture is where to look, not a
//! figure. Stacks are unwound from debug information, which is heavy, so nothing is timed meanwhile.

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options as FoldOptions};
use inferno::flamegraph::{self, Options};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Samples a second: enough to see a stage of a percent, few enough that unwinding keeps up.
const SAMPLES_PER_SECOND: &str = "297";
/// Stacks are cut here: deeper ones are the runtime's own.
const STACK_BYTES: &str = "dwarf,16384";
/// Frames narrower than this share of the picture, in percent, are left out of it.
const WIDTH_MIN_PERCENT: f64 = 0.3;

/// Whether pictures can be taken here.
pub(crate) fn can_take() -> bool {
    Command::new("perf").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// `perf` while it watches.
pub(crate) struct Watch {
    perf: Child,
}

impl Watch {
    /// Begins to watch a process, into `file`.
    pub(crate) fn begin(id: u32, file: &Path) -> io::Result<Self> {
        let mut perf = Command::new("perf");
        perf.args(["record", "-q", "-e", "cpu-clock", "-F", SAMPLES_PER_SECOND, "--call-graph", STACK_BYTES]);
        perf.arg("-p").arg(id.to_string()).arg("-o").arg(file);
        let perf = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { perf })
    }

    /// Ends it; the file is whole then.
    pub(crate) fn end(mut self) -> io::Result<()> {
        // An interrupt is how `perf` is told to write its file to the end.
        Command::new("kill").args(["-INT", &self.perf.id().to_string()]).status()?;
        self.perf.wait().map(drop)
    }
}

/// Draws what was watched.
pub(crate) fn draw(watched: &Path, title: &str, picture: &Path) -> io::Result<()> {
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "-i"]).arg(watched);
    let out = script.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let mut folded = Vec::new();
    Folder::from(FoldOptions::default()).collapse(out.stdout.as_slice(), &mut folded)?;
    let mut options = Options::default();
    title.clone_into(&mut options.title);
    options.min_width = WIDTH_MIN_PERCENT;
    options.deterministic = true;
    let drawn = flamegraph::from_reader(&mut options, folded.as_slice(), File::create(picture)?);
    drawn.map_err(|error| io::Error::other(format!("no picture of `{title}`: {error}")))
}
