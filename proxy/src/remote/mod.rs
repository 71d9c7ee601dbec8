//! What does an operator, or a pipeline, tell a control plane from somewhere else? `apply`, `diff`, `export`, `import`.
//!
//! All four are clients of the admin API, and know of it what `docs/api.md` says. What is wrong with documents is said
//! before anything is sent; what would change, before anything is changed.

mod address;
mod apply;
mod carry;
mod client;
mod plan;
mod problem;

use address::Address;
use anyhow::{Context, Result, bail};
use clap::Args;
use client::Client;
use palisade_control::store::{OrganisationId, Owner};
use palisade_filters::secret::Secret;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// There are differences.
const DIFFERENT: u8 = 1;
/// Nothing was changed.
const REFUSED: u8 = 2;
/// Something was changed, or may have been, and not all of it.
const STOPPED: u8 = 3;
/// Where a token is, if no flag says it.
const TOKEN_VARIABLE: &str = "PALISADE_TOKEN";
/// A token is shorter.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// Whom to tell, and who says it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// Where the admin API is: `https://palisade.example.org`
    #[arg(long, env = "PALISADE_URL", value_name = "URL")]
    url: Address,
    /// An API token; better in the variable `PALISADE_TOKEN` or in a file, as other users see a command's arguments
    #[arg(long, value_name = "TOKEN", value_parser = |text: &str| token(text, "--token"), conflicts_with = "token_file")]
    token: Option<Secret>,
    /// A file with an API token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates in PEM of the only authorities that are believed; without it, those of this machine
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// For each answer
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Which documents, and whose.
#[derive(Args, Clone, Debug)]
pub(crate) struct Documents {
    /// A folder with `platform.toml` and `orgs/<id>.toml`, or one of these files
    #[arg(short, long, value_name = "DIR|FILE")]
    file: PathBuf,
    /// Only this organisation's document
    #[arg(long, value_name = "ID", value_parser = organisation)]
    org: Option<OrganisationId>,
    /// Delete what the documents do not name
    #[arg(long)]
    prune: bool,
    /// Make organisations that are not there yet
    #[arg(long)]
    create: bool,
    /// A folder with tokens of organisations, each in a file named by its organisation's id; the others get the one
    /// token
    #[arg(long, value_name = "DIR")]
    org_tokens: Option<PathBuf>,
}

/// `palisade apply`
#[derive(Args, Clone, Debug)]
pub(crate) struct ApplyCommand {
    #[command(flatten)]
    documents: Documents,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: Server,
}

/// `palisade diff`
#[derive(Args, Clone, Debug)]
pub(crate) struct DiffCommand {
    #[command(flatten)]
    documents: Documents,
    #[command(flatten)]
    server: Server,
}

/// `palisade export`
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportCommand {
    /// The organisation
    #[arg(long, value_name = "ID", value_parser = organisation)]
    org: OrganisationId,
    /// Where to write it; without it, to standard output. It holds secrets: only its owner can read the file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// `palisade import`
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportCommand {
    /// The organisation that is made
    #[arg(long, value_name = "ID", value_parser = organisation)]
    org: OrganisationId,
    /// What `export` wrote
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Leave out API keys and issuers of JWTs, which only one organisation can have
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    server: Server,
}

fn organisation(text: &str) -> Result<OrganisationId, String> {
    OrganisationId::new(text).map_err(|unfit| unfit.to_string())
}

/// What a command came to.
enum Done {
    /// All of it.
    All,
    /// There is something to do, and it was only asked what.
    Differences,
    /// It stopped on the way.
    Part,
}

/// Runs `palisade apply`.
pub(crate) fn apply(command: &ApplyCommand) -> ExitCode {
    let ApplyCommand { documents, dry_run, server } = command;
    let done = if *dry_run { plan::run(documents, server) } else { apply::run(documents, server) };
    match done {
        // Whoever asks what would be done is told so, whatever that is.
        Ok(Done::Differences) => ExitCode::SUCCESS,
        done => exit(done),
    }
}

/// Runs `palisade diff`.
pub(crate) fn diff(command: &DiffCommand) -> ExitCode {
    exit(plan::run(&command.documents, &command.server))
}

/// Runs `palisade export`.
pub(crate) fn export(command: &ExportCommand) -> ExitCode {
    exit(carry::export(command))
}

/// Runs `palisade import`.
pub(crate) fn import(command: &ImportCommand) -> ExitCode {
    exit(carry::import(command))
}

fn exit(done: Result<Done>) -> ExitCode {
    match done {
        Ok(Done::All) => ExitCode::SUCCESS,
        Ok(Done::Differences) => DIFFERENT.into(),
        Ok(Done::Part) => STOPPED.into(),
        Err(error) => {
            complain(&format!("{error:#}"));
            REFUSED.into()
        }
    }
}

/// A line for whoever typed the command.
fn complain(text: &str) {
    use std::io::Write;
    // A closed standard error is nobody's loss.
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// Runs what waits for answers.
fn waiting<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

impl Server {
    fn client(&self) -> Result<Client> {
        Client::new(self.url.clone(), self.ca.as_deref(), self.timeout)
    }

    fn token(&self) -> Result<Secret> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        if let Some(path) = &self.token_file {
            return token_file(path);
        }
        match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => token(&text, TOKEN_VARIABLE).map_err(anyhow::Error::msg),
            Err(_) => bail!("there is no token: set `{TOKEN_VARIABLE}`, or name a file with `--token-file`"),
        }
    }
}

/// Who speaks for whom.
struct Tokens {
    one: Secret,
    folder: Option<PathBuf>,
}

impl Tokens {
    fn new(server: &Server, folder: Option<&Path>) -> Result<Self> {
        if let Some(folder) = folder
            && !folder.is_dir()
        {
            bail!("`--org-tokens`: `{}` is no folder", folder.display());
        }
        Ok(Self { one: server.token()?, folder: folder.map(Path::to_owned) })
    }

    fn of(&self, owner: &Owner) -> Result<Secret> {
        let (Owner::Organisation(id), Some(folder)) = (owner, &self.folder) else {
            return Ok(self.one.clone());
        };
        let path = folder.join(id.as_str());
        if path.exists() { token_file(&path) } else { Ok(self.one.clone()) }
    }
}

fn token_file(path: &Path) -> Result<Secret> {
    let shown = path.display().to_string();
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read `{shown}`"))?.len();
    if bytes > TOKEN_BYTES_MAX {
        bail!("`{shown}` is larger than {TOKEN_BYTES_MAX} bytes; a file has one token and nothing else");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
    token(&text, &shown).map_err(anyhow::Error::msg)
}

/// A token as a header carries it. It is not repeated.
fn token(text: &str, place: &str) -> Result<Secret, String> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{place}` holds no token such as `POST …/api-tokens` gives"));
    }
    Ok(Secret::new(text.to_owned()))
}
