//! Where does the policy come from, and how does it stay up to date? A folder of documents.
//!
//! Needs the house, which enforces what comes; proves that a change is in force within a second, and that what cannot
//! be used leaves the last good state in force and is said. Reading and compiling happen where nobody waits.

use crate::house::House;
use crate::settings::Settings;
use crate::watched::LOOKED_AT_EVERY;
use palisade_control::{Live, Reloaded};
use palisade_filters::Policy;
use palisade_filters::policy::compile::CompileError;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;

/// Keeps policy and configuration up to date, for ever. Reading and compiling happen on another thread.
pub(crate) async fn keep(house: &Arc<House>, live: Live, settings: &Arc<Mutex<Settings>>) -> Infallible {
    let mut live = Some(live);
    loop {
        let is_ordered = tokio::select! {
            () = house.reload.notified() => true,
            () = tokio::time::sleep(LOOKED_AT_EVERY) => false,
        };
        let Some(mut taken) = live.take() else { return std::future::pending().await };
        let (house_of, settings) = (house.clone(), settings.clone());
        let looked = tokio::task::spawn_blocking(move || {
            settings.lock().refresh(&house_of, is_ordered);
            let reloaded = if is_ordered { Some(taken.reload()) } else { taken.refresh() };
            (taken, reloaded)
        });
        match looked.await {
            Ok((kept, reloaded)) => {
                live = Some(kept);
                if let Some(Reloaded { policy, errors, changed }) = reloaded {
                    put_in_force(house, policy, &errors, changed);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the documents cannot be read any more; the last policy stays in force");
                return std::future::pending().await;
            }
        }
    }
}

/// Enforces what came, if it is new, and says what is wrong with it.
fn put_in_force(house: &House, policy: Arc<Policy>, errors: &[CompileError], is_new: bool) {
    report(house, policy.revision(), errors);
    if is_new {
        tracing::info!(revision = policy.revision(), "policy in force");
        retire(house.enforce(policy));
    }
}

/// Lets a policy go that another one follows: when no request looks anything up in it any more, and on a thread where
/// nobody waits for it, as one of a hundred thousand organisations takes a while.
fn retire(before: Option<Arc<Policy>>) {
    let Some(mut before) = before else { return };
    tokio::spawn(async move {
        loop {
            match Arc::try_unwrap(before) {
                Ok(policy) => return drop(tokio::task::spawn_blocking(move || drop(policy))),
                Err(in_use) => before = in_use,
            }
            tokio::time::sleep(LOOKED_AT_EVERY).await;
        }
    });
}

/// Says which revision is loaded, and what could not be used.
pub(crate) fn report(house: &House, revision: u64, errors: &[CompileError]) {
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    house.metrics.revision.with_label_values(&["loaded"]).set(revision);
    if !errors.is_empty() {
        house.metrics.revision.with_label_values(&["refused"]).set(revision);
    }
    for error in errors {
        tracing::error!(document = %error.document, problem = %error.problem, "document not used; its last good state stays");
    }
}
