//! How many connections can this process hold? As many as its descriptors are enough for.
//!
//! Past them, nothing opens any more: no document, no segment of the spool. So connections are turned away before
//! that, and what keeps events and counters has what it needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One to the caller and one to the provider.
const FOR_EACH_CONNECTION: usize = 2;
/// Kept for documents, events, counters, listeners and desks.
const KEPT_BACK: usize = 64;

/// Raises this process's limit of descriptors as far as it may itself, and says how many connections that is enough
/// for: what a process may open by default is for small programs.
pub(crate) fn enough_for_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, descriptors = limit.current, "the limit of descriptors cannot be raised");
    }
    let descriptors = getrlimit(Resource::Nofile).current;
    let descriptors = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let enough_for = (descriptors.saturating_sub(KEPT_BACK) / FOR_EACH_CONNECTION).max(1);
    if enough_for < wanted {
        tracing::warn!(
            descriptors,
            connections = enough_for,
            "descriptors are enough for fewer connections than `limits.connections` = {wanted}; give the process \
             {} of them: `LimitNOFILE` of systemd, `--ulimit nofile` of a container, `ulimit -n` of a shell",
            wanted * FOR_EACH_CONNECTION + KEPT_BACK,
        );
    }
    enough_for
}
