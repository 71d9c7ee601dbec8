//! What would change? Found out of all documents before anything is changed.
//!
//! Needs documents, a control plane and tokens; proves that each document was understood, here and there, that whoever
//! asks may make its changes, and, as far as it can be known before the platform's own changes are made, that they
//! would be accepted. Where a folder holds everything, it is compiled here besides: then it is known of all of it
//! together.

use super::client::{Ask, Client};
use super::problem::{Failed, Wrong, plain};
use super::{Documents, Done, Server, Tokens, complain, waiting};
use crate::run;
use anyhow::{Result, bail};
use bytes::Bytes;
use palisade_control::parcel::Parcel;
use palisade_control::resources::Export;
use palisade_control::store::{OrganisationId, Owner};
use palisade_control::{Folder, Live};
use serde::Deserialize;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// What one document comes to.
pub(super) struct Step {
    pub(super) parcel: Parcel,
    pub(super) what: What,
}

/// What would be done with it.
pub(super) enum What {
    /// Its organisation is made, with so many resources.
    New(Box<Export>),
    /// What is there is changed.
    Differs(Applied),
}

/// What a control plane says that it did, or would do.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Applied {
    pub(super) changes: Vec<Change>,
    #[serde(default)]
    pub(super) unnamed: Vec<Change>,
    #[serde(default)]
    pub(super) problems: Vec<Wrong>,
    #[serde(default)]
    pub(super) revision: Option<u64>,
}

/// Who asks.
#[derive(Deserialize)]
struct Me {
    permissions: Vec<Permitted>,
}

/// What it may.
#[derive(Deserialize)]
struct Permitted {
    permission: String,
}

/// One resource of it.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) verb: String,
    kind: String,
    id: String,
    #[serde(default)]
    members: Vec<String>,
}

impl Step {
    /// Whether there is nothing to do.
    pub(super) fn is_done(&self) -> bool {
        matches!(&self.what, What::Differs(applied) if applied.changes.is_empty())
    }

    fn deletes(&self) -> bool {
        matches!(&self.what, What::Differs(applied) if applied.deletes())
    }
}

impl Applied {
    pub(super) fn deletes(&self) -> bool {
        self.changes.iter().any(|change| change.verb == "delete")
    }
}

/// Runs `palisade diff`, and `apply --dry-run`.
pub(super) fn run(documents: &Documents, server: &Server) -> Result<Done> {
    let tokens = Tokens::new(server, documents.org_tokens.as_deref())?;
    let client = server.client()?;
    let parcels = read(documents)?;
    let steps = waiting(steps(&client, &tokens, documents, parcels))?;
    show(&steps)?;
    Ok(if steps.iter().all(Step::is_done) { Done::All } else { Done::Differences })
}

/// The documents, if they are understood.
pub(super) fn read(documents: &Documents) -> Result<Vec<Parcel>> {
    let path = &documents.file;
    let read = if path.is_dir() {
        Parcel::all(path)
    } else {
        Parcel::one(path).map(|parcel| vec![parcel]).map_err(|error| vec![error])
    };
    let mut parcels = read.or_else(|errors| refuse(errors.iter().map(ToString::to_string)))?;
    let holds_everything = path.is_dir() && documents.org.is_none();
    if let Some(id) = &documents.org {
        parcels.retain(|parcel| parcel.owner == Owner::Organisation(id.clone()));
        if parcels.is_empty() {
            bail!("`{}` holds no document of the organisation `{id}`", path.display());
        }
    }
    if holds_everything
        && parcels.iter().any(|parcel| parcel.owner == Owner::Platform)
        && path.join("orgs").is_dir()
    {
        compile(path)?;
    }
    Ok(parcels)
}

/// Whether the documents of a folder make a policy together.
fn compile(path: &Path) -> Result<()> {
    let (_, errors) = Live::load(Folder::look(path)?, run::scanner()?)?;
    if errors.is_empty() { Ok(()) } else { refuse(errors.iter().map(ToString::to_string)) }
}

/// Says all that is wrong.
fn refuse<T>(errors: impl Iterator<Item = String>) -> Result<T> {
    let mut count = 0;
    for error in errors {
        count += 1;
        complain(&error);
    }
    bail!("nothing was changed: {count} to put right")
}

/// What would be done with each document.
pub(super) async fn steps(
    client: &Client,
    tokens: &Tokens,
    documents: &Documents,
    parcels: Vec<Parcel>,
) -> Result<Vec<Step>> {
    let (mut steps, mut errors) = (Vec::<Step>::new(), Vec::new());
    let is_alone = parcels.len() == 1;
    for parcel in parcels {
        // What the platform is going to be, an organisation may need; and what it is going to lack, not need any more.
        let platform_stays =
            steps.first().is_none_or(|first| first.parcel.owner != Owner::Platform || first.is_done());
        let looked = look(client, tokens, documents, &parcel).await?;
        let what = match looked {
            Ok(what) => what,
            Err(failed) => {
                errors.extend(said(&parcel, &failed));
                if matches!(failed, Failed::Refused(_)) {
                    continue;
                }
                break;
            }
        };
        let step = Step { parcel, what };
        if let What::Differs(Applied { problems, .. }) = &step.what {
            let counts = match step.parcel.owner {
                Owner::Platform => is_alone || !step.deletes(),
                Owner::Organisation(_) => platform_stays,
            };
            if counts {
                errors.extend(problems.iter().map(|wrong| placed(&step.parcel, wrong)));
            }
        }
        steps.push(step);
    }
    if errors.is_empty() { Ok(steps) } else { refuse(errors.into_iter()) }
}

async fn look(
    client: &Client,
    tokens: &Tokens,
    documents: &Documents,
    parcel: &Parcel,
) -> Result<Result<What, Failed>> {
    let token = tokens.of(&parcel.owner)?;
    if let Owner::Organisation(id) = &parcel.owner {
        let there: Result<serde_json::Value, Failed> =
            client.json(&Ask::get(format!("/api/v1/orgs/{id}"), &token)).await;
        match there {
            Ok(_) => {}
            Err(failed) if failed.is_not_found() => return new(client, tokens, documents, parcel, id).await,
            Err(failed) => return Ok(Err(failed)),
        }
    }
    Ok(told(client, &token, parcel, documents.prune, true).await.map(What::Differs))
}

/// An organisation that is not there, if it may be made.
async fn new(
    client: &Client,
    tokens: &Tokens,
    documents: &Documents,
    parcel: &Parcel,
    id: &OrganisationId,
) -> Result<Result<What, Failed>> {
    if !documents.create {
        bail!(
            "{}: there is no organisation `{id}`, or this token may not see it; `--create` makes it, with an operator's token",
            parcel.name
        );
    }
    let me: Me = match client.json(&Ask::get("/api/v1/me", &tokens.one)).await {
        Ok(me) => me,
        Err(failed) => return Ok(Err(failed)),
    };
    if !me.permissions.iter().any(|one| one.permission == "organisations.create") {
        bail!("{}: an organisation is made with an operator's token, and this is none", parcel.name);
    }
    match Export::of_document(id, parcel.document.clone()) {
        Ok(export) => Ok(Ok(What::New(Box::new(export)))),
        Err(error) => bail!("{}: {error}", parcel.name),
    }
}

/// What a control plane does with a document, or says that it would.
pub(super) async fn told(
    client: &Client,
    token: &palisade_filters::secret::Secret,
    parcel: &Parcel,
    prune: bool,
    dry_run: bool,
) -> Result<Applied, Failed> {
    let path = match &parcel.owner {
        Owner::Platform => "/api/v1/platform/apply".to_owned(),
        Owner::Organisation(id) => format!("/api/v1/orgs/{id}/apply"),
    };
    let body = json!({ "document": parcel.document, "prune": prune, "dry_run": dry_run });
    client.json(&Ask::post(path, token, Bytes::from(body.to_string()))).await
}

/// What failed, line by line.
pub(super) fn said(parcel: &Parcel, failed: &Failed) -> Vec<String> {
    match failed {
        Failed::Refused(problem) if !problem.errors.is_empty() => {
            problem.errors.iter().map(|wrong| placed(parcel, wrong)).collect()
        }
        Failed::Refused(problem) => {
            let whose = problem.permission.as_ref().map(|permission| {
                format!(" (`{permission}`); an organisation's own token can be given by `--org-tokens`")
            });
            vec![format!("{}: {}{}", parcel.name, problem.detail, whose.unwrap_or_default())]
        }
        Failed::Unreachable(_) | Failed::Lost(_) | Failed::Redirected(_) | Failed::Strange(_) => {
            vec![format!("{}: {failed}", parcel.name)]
        }
    }
}

/// What is wrong, with its line and its place.
fn placed(parcel: &Parcel, wrong: &Wrong) -> String {
    let (pointer, message) = (plain(&wrong.pointer), plain(&wrong.message));
    // What is said of a document as it was sent; what is said of a resource has its place in that one.
    let Some(pointer) = pointer.strip_prefix("/document") else {
        let place = if pointer.is_empty() { String::new() } else { format!("`{pointer}`: ") };
        return format!("{}: {place}{message}", parcel.name);
    };
    let line = parcel.line(pointer).map(|line| format!("line {line}, ")).unwrap_or_default();
    format!("{}: {line}`{pointer}`: {message}", parcel.name)
}

/// Prints what would change.
pub(super) fn show(steps: &[Step]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for Step { parcel, what } in steps {
        let name = &parcel.name;
        match what {
            What::New(export) => {
                writeln!(out, "{name}: make the organisation, with {} resources", export.resources.len())?;
            }
            What::Differs(applied) => {
                for change in &applied.changes {
                    writeln!(out, "{name}: {}", change.line())?;
                }
                for left in &applied.unnamed {
                    writeln!(out, "{name}: {}: not in the document, and left", left.line())?;
                }
                if applied.changes.is_empty() {
                    writeln!(out, "{name}: no differences")?;
                }
            }
        }
    }
    Ok(())
}

impl Change {
    /// `update settings/default (name)`
    fn line(&self) -> String {
        let members = if self.members.is_empty() || self.verb != "update" {
            String::new()
        } else {
            format!(" ({})", self.members.join(", "))
        };
        plain(&format!("{} {}/{}{members}", self.verb, self.kind, self.id))
    }
}
