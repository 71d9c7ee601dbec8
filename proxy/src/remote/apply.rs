//! How is what documents say made true? Document by document, after all were looked at.
//!
//! The platform comes first, as organisations may need what it gets; what it loses goes last, when nobody needs it any
//! more. If one is refused all the same, what was done before it stays, and is named: the command can be repeated.

use super::client::{Ask, Client};
use super::plan::{self, Applied, Step, What, read, said, show, steps};
use super::problem::Failed;
use super::{Documents, Done, Server, Tokens, complain, waiting};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use palisade_control::store::{CHANGE_BYTES_MAX, Owner};
use std::io::Write;

/// Runs `palisade apply`.
pub(super) fn run(documents: &Documents, server: &Server) -> Result<Done> {
    let tokens = Tokens::new(server, documents.org_tokens.as_deref())?;
    let client = server.client()?;
    let parcels = read(documents)?;
    waiting(async {
        let steps = steps(&client, &tokens, documents, parcels).await?;
        show(&steps)?;
        make(&client, &tokens, documents.prune, &steps).await
    })
}

async fn make(client: &Client, tokens: &Tokens, prune: bool, steps: &[Step]) -> Result<Done> {
    let mut done = Vec::new();
    let waits = |step: &Step| prune && steps.len() > 1 && step.parcel.owner == Owner::Platform;
    let first = steps.iter().map(|step| (step, prune && !waits(step)));
    let last = steps.iter().filter(|step| waits(step)).map(|step| (step, true));
    for (step, prune) in first.chain(last).filter(|(step, _)| !step.is_done()) {
        match one(client, tokens, step, prune).await? {
            Ok(None) => {}
            Ok(Some(line)) => {
                writeln!(std::io::stdout(), "{}: {line}", step.parcel.name)?;
                done.push(step.parcel.name.as_str());
            }
            Err(failed) => return stopped(step, &failed, &done),
        }
    }
    Ok(Done::All)
}

/// Makes one document true; what was done, if it was something.
async fn one(
    client: &Client,
    tokens: &Tokens,
    step: &Step,
    prune: bool,
) -> Result<Result<Option<String>, Failed>> {
    let parcel = &step.parcel;
    match (&step.what, &parcel.owner) {
        (What::New(export), Owner::Organisation(id)) => {
            let body = serde_json::to_vec(export).context("an export that cannot be written")?;
            if body.len() > CHANGE_BYTES_MAX {
                bail!("{}: it is larger than {CHANGE_BYTES_MAX} bytes", parcel.name);
            }
            let ask = Ask::post(format!("/api/v1/orgs/{id}/import"), &tokens.one, Bytes::from(body));
            let made = "made; nobody administers it yet, `POST …/first-admin` invites somebody";
            Ok(client.ask(&ask).await.map(|_| Some(made.to_owned())))
        }
        (What::New(_) | What::Differs(_), _) => {
            let token = tokens.of(&parcel.owner)?;
            let told = plan::told(client, &token, parcel, prune, false).await;
            Ok(told.map(|Applied { revision, .. }| {
                revision.map(|revision| format!("applied, revision {revision}"))
            }))
        }
    }
}

fn stopped(step: &Step, failed: &Failed, done: &[&str]) -> Result<Done> {
    for line in said(&step.parcel, failed) {
        complain(&line);
    }
    if done.is_empty() && !failed.is_uncertain() {
        bail!("nothing was changed");
    }
    let done = if done.is_empty() { "nothing is known to be".to_owned() } else { done.join(", ") };
    complain(&format!(
        "stopped; applied before: {done}. What was applied stays; the command can be repeated"
    ));
    Ok(Done::Part)
}
