//! The pure core of Palisade: judges, never acts.
//!
//! No I/O, no clock, no async: what it needs to know comes in as arguments, what the network must be asked goes out
//! as a value. The way of a request is [`identify`], [`locate`], [`recognize`],
//! [`gate`], [`read`], [`scan`], [`decide`], [`apply`], [`admit`], and then
//! [`Answer`]. Each step takes the evidence of the one before it, and evidence can be made nowhere else, so the order
//! below is not a habit: another one does not compile.

pub mod api_key;
pub mod dialect;
pub mod documents;
pub mod forwarded;
pub mod json;
pub mod jwt;
pub mod names;
pub mod networks;
pub mod proxy_protocol;
pub mod refusal;
pub mod secret;
pub mod strict_json;

// The stages, in the order of the way. `policy` judges what `dlp` finds.

pub mod tenant;

pub mod ip_allowlist;

pub mod geoip;

pub mod credint;

pub mod prompt;

pub mod dlp;

pub mod policy;

pub mod model_access;

pub mod quota;

pub mod routing;

pub mod answer;

pub use answer::Answer;
pub use dialect::Dialect;
pub use dlp::memory::Memory;
pub use dlp::service::{Question, Told};
pub use dlp::{Cleared, Finding, Scanned};
pub use geoip::Location;
pub use jwt::Trust;
pub use model_access::Grant;
pub use policy::Policy;
pub use prompt::{Prompt, Surface};
pub use refusal::{Refusal, Stage};
pub use routing::{AuthorisedTarget, Candidates, Itinerary, Outlook};
pub use tenant::{Caller, Knock, Located, Visitor};

use bytes::Bytes;
use credint::Intelligence;
use quota::{Ask, Estimate, MeterRefusal, Receipt, Reservation};
use std::sync::Arc;

/// Whose key or JWT is this? Needs the head only; no byte of the body has been read.
pub fn identify(policy: &Policy, trust: &Trust, knock: &Knock<'_>) -> Result<Caller, Refusal> {
    tenant::identify(policy, trust, knock)
}

/// Whether they may come from where they do: the address, the country, the network.
pub fn locate(caller: Caller, knock: &Knock<'_>, location: Location) -> Result<Located, Refusal> {
    tenant::locate(caller, knock, location)
}

/// Who is at the door: someone we know, from where they may come from, with a key that nobody else is known to have.
pub fn recognize(
    located: Located,
    knock: &Knock<'_>,
    intelligence: &Arc<Intelligence>,
) -> Result<Visitor, Refusal> {
    tenant::admit(located, knock, intelligence)
}

/// What to ask the meters before the body is read: refused requests count in rates.
pub fn gate(visitor: &Visitor) -> Ask {
    quota::gate(visitor)
}

/// What it asks, read strictly and once.
pub fn read(_: &Visitor, surface: Surface, body: Bytes) -> Result<Prompt, Refusal> {
    prompt::read(surface, body)
}

/// What it holds, and what services must be asked about it before that is known. What was found in long texts that were
/// sent before is known from `memory`.
pub fn scan(visitor: &Visitor, memory: &Memory, prompt: Prompt) -> Result<Scanned, Refusal> {
    dlp::scan(visitor, memory, prompt)
}

/// What leaves, with what services said: judged and redacted. Before model access and quota on purpose: every attempt
/// to leak is seen, and a blocked prompt consumes no quota.
pub fn decide(visitor: &Visitor, scanned: Scanned, told: Vec<Option<Told>>) -> Result<Cleared, Refusal> {
    dlp::decide(visitor, scanned, told)
}

/// Both at once, where nobody asks services: each of them counts as one that failed.
pub fn clear(visitor: &Visitor, memory: &Memory, prompt: Prompt) -> Result<Cleared, Refusal> {
    decide(visitor, scan(visitor, memory, prompt)?, Vec::new())
}

/// Whether it may use what it asks for, where that could go, and what to ask the meters for it.
pub fn apply(visitor: &Visitor, cleared: &Cleared) -> Result<Application, Refusal> {
    let grant = model_access::grant(visitor, cleared)?; // may it use this model?
    let mut candidates = routing::candidates(visitor, cleared, &grant)?; // who serves it, each authorised by itself?
    let estimate = quota::ask(visitor, cleared, &grant, &mut candidates)?; // what could it cost at most?
    Ok(Application { grant, candidates, estimate })
}

/// With the meters' answer, and with what is known of its targets, where it goes and then where.
pub fn admit(
    application: Application,
    answer: Result<Receipt, MeterRefusal>,
    outlook: &Outlook,
) -> Result<Admission, Refusal> {
    let Application { grant, candidates, estimate } = application;
    let reservation = quota::reserve(estimate, answer)?; // is there budget left?
    let itinerary = routing::choose(&grant, &reservation, candidates, outlook); // in which order is it tried?
    Ok(Admission { reservation, itinerary })
}

/// A request that is granted and awaits its budget.
#[derive(Debug)]
pub struct Application {
    grant: Grant,
    candidates: Candidates,
    estimate: Estimate,
}

impl Application {
    /// The question to the meters.
    pub fn ask(&self) -> &Ask {
        &self.estimate.ask
    }

    /// The question to whoever knows how targets are doing.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }
}

/// A request that may be sent.
#[derive(Debug)]
pub struct Admission {
    /// The budget put aside for it; to be settled once.
    pub reservation: Reservation,
    /// Where it may go.
    pub itinerary: Itinerary,
}
