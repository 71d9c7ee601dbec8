//! What happened to one request? Everything an auditor may know, and nothing the caller said.
//!
//! Needs: a proxy that fills the fields in as the stages answer; everything but id and time has a default,
//! and the default decision is a refusal, so that a request that died on the way does not look allowed.
//! Proves: the shape is versioned (`schema`), bounded ([`Event::bound`]) and free of matched text: a finding
//! has a rule, a place, a length and a keyed hash. Does not: hold keys, prompts or answers; nothing here has
//! a field for them. Requests refused before their tenant is known may be counted instead of recorded, else
//! anyone fills the disk.

mod attempt;
mod bound;
mod detectors;
mod geo;
mod jwt;
mod passed_over;
mod stages;
mod time;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use attempt::{Attempt, Outcome};
pub use bound::{ATTEMPTS_MAX, FINDINGS_MAX, GROUPS_MAX, REASONS_MAX, STAGES_MAX, TEXT_BYTES_MAX};
pub use detectors::{DetectorFailure, OnFailure};
pub use geo::{Code, DISGUISES_MAX, Disguise, Geo};
pub use jwt::{Channel, Jwt};
pub use passed_over::{Passed, PassedOver};
pub use stages::Stages;
pub use time::{NotATime, Time};

/// The version of the event's shape. A field may be added under the same number; a change of meaning takes
/// the next.
pub const SCHEMA: u16 = 1;

/// One request, allowed or refused. Fields that hold their default are not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u16,
    /// A version 7 UUID, the same as the request's `x-request-id`. A request has one id and one or two
    /// records.
    pub id: Uuid,
    /// Which of a request's records this is.
    #[serde(skip_serializing_if = "is_default")]
    pub record: Record,
    /// When the request arrived.
    pub time: Time,
    /// Where it was judged.
    #[serde(skip_serializing_if = "is_default")]
    pub source: Source,

    /// The tenant, once the credential was recognised.
    #[serde(skip_serializing_if = "is_default")]
    pub organisation: Option<Arc<str>>,
    /// The public part of the key, never the secret.
    #[serde(skip_serializing_if = "is_default")]
    pub key_id: Option<Arc<str>>,
    /// What a caller came with who has no key.
    #[serde(skip_serializing_if = "is_default")]
    pub jwt: Option<Jwt>,
    /// Who sits at the other end, as far as the credential says.
    #[serde(skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Groups the caller was judged by.
    #[serde(skip_serializing_if = "is_default")]
    pub groups: Vec<Arc<str>>,
    /// The client, past trusted proxies.
    #[serde(skip_serializing_if = "is_default")]
    pub client_address: Option<IpAddr>,
    /// Where that address is.
    #[serde(skip_serializing_if = "is_default")]
    pub geo: Geo,
    /// The other end of the connection, where that is not the client.
    #[serde(skip_serializing_if = "is_default")]
    pub peer_address: Option<IpAddr>,
    /// The certificate that the connection was made with.
    #[serde(skip_serializing_if = "is_default")]
    pub client_certificate: Option<Certificate>,
    /// The caller's own `x-request-id`, for finding it again in the caller's logs; never a key.
    #[serde(skip_serializing_if = "is_default")]
    pub client_request_id: Option<String>,

    /// Whose API the caller spoke: `openai`, `anthropic`, `gemini`.
    #[serde(skip_serializing_if = "is_default")]
    pub dialect: Cow<'static, str>,
    /// The endpoint's name in the proxy's table, not the caller's path: a path can hold anything.
    #[serde(skip_serializing_if = "is_default")]
    pub endpoint: Cow<'static, str>,
    /// HTTP method.
    #[serde(skip_serializing_if = "is_default")]
    pub method: Cow<'static, str>,
    /// The model as the caller named it.
    #[serde(skip_serializing_if = "is_default")]
    pub model_asked: Option<String>,
    /// The model that answered.
    #[serde(skip_serializing_if = "is_default")]
    pub model_served: Option<Arc<str>>,
    /// The provider that answered.
    #[serde(skip_serializing_if = "is_default")]
    pub provider: Option<Arc<str>>,
    /// The route that said where it goes, if one was written for the model.
    #[serde(skip_serializing_if = "is_default")]
    pub route_name: Option<Arc<str>>,
    /// Every attempt, in the order they were made.
    #[serde(skip_serializing_if = "is_default")]
    pub route: Vec<Attempt>,
    /// Targets that would have done and were not tried, or not in their turn.
    #[serde(skip_serializing_if = "is_default")]
    pub passed_over: Vec<PassedOver>,

    /// What became of it.
    pub decision: Decision,
    /// Which stage said no, and the error code the caller saw.
    #[serde(skip_serializing_if = "is_default")]
    pub refusal: Option<Refusal>,
    /// Every policy rule that matched, upper chains first.
    #[serde(skip_serializing_if = "is_default")]
    pub reasons: Vec<Reason>,
    /// What was found in the prompt and in the answer.
    #[serde(skip_serializing_if = "is_default")]
    pub findings: Vec<Finding>,
    /// Services that were to look at the prompt, and gave no usable answer.
    #[serde(skip_serializing_if = "is_default")]
    pub detector_failures: Vec<DetectorFailure>,
    /// The revision it was judged under.
    #[serde(skip_serializing_if = "is_default")]
    pub policy: Revision,

    /// Tokens, as far as they are known.
    #[serde(skip_serializing_if = "is_default")]
    pub tokens: Option<Tokens>,
    /// What all attempts cost, in billionths of US dollars, as far as the prices are known.
    #[serde(skip_serializing_if = "is_default")]
    pub cost_nanodollars: Option<u64>,
    /// The HTTP status sent to the caller; none if the caller left before one was.
    #[serde(skip_serializing_if = "is_default")]
    pub status: Option<u16>,
    /// The request's body.
    #[serde(skip_serializing_if = "is_default")]
    pub body: Body,
    /// What reached the caller.
    #[serde(skip_serializing_if = "is_default")]
    pub answer: Option<Answer>,
    /// From the first byte of the request to the last of the answer, in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub duration_us: u64,
    /// Time spent in each stage.
    #[serde(skip_serializing_if = "is_default")]
    pub stages: Stages,
    /// List entries cut to keep the event within its limits.
    #[serde(skip_serializing_if = "is_default")]
    pub omitted: Omitted,
}

impl Event {
    /// The event of a request that has just arrived: nothing is known of it, and it is not allowed.
    #[must_use]
    pub fn new(id: Uuid, time: Time) -> Self {
        Self { id, time, ..Self::default() }
    }
}

impl Default for Event {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            id: Uuid::nil(),
            record: Record::default(),
            time: Time::default(),
            source: Source::default(),
            organisation: None,
            key_id: None,
            jwt: None,
            channel: Channel::default(),
            groups: Vec::new(),
            client_address: None,
            geo: Geo::default(),
            peer_address: None,
            client_certificate: None,
            client_request_id: None,
            dialect: Cow::default(),
            endpoint: Cow::default(),
            method: Cow::default(),
            model_asked: None,
            model_served: None,
            provider: None,
            route_name: None,
            route: Vec::new(),
            passed_over: Vec::new(),
            decision: Decision::default(),
            refusal: None,
            reasons: Vec::new(),
            findings: Vec::new(),
            detector_failures: Vec::new(),
            policy: Revision::default(),
            tokens: None,
            cost_nanodollars: None,
            status: None,
            body: Body::default(),
            answer: None,
            duration_us: 0,
            stages: Stages::default(),
            omitted: Omitted::default(),
        }
    }
}

/// A certificate that a client proved to own. It is public, like a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whose it is: the subject's distinguished name.
    pub subject: Arc<str>,
    /// `sha256:` and the hash of its DER form, in hex, as a key's `client_certificate` names it.
    pub fingerprint: Arc<str>,
}

/// Which of a request's records. Ids with a `decided` and no `completed` ended in a crash: what came of them
/// is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Written before the first byte leaves, where the organisation asked for durable audit.
    Decided,
    /// Written when the request is over.
    #[default]
    Completed,
}

/// Where a request was judged: `"cloud"`, or `{"outpost":"<id>"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A proxy that serves every tenant.
    #[default]
    Cloud,
    /// A proxy whose certificate names one organisation.
    Outpost(Arc<str>),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Forwarded as it was.
    Allow,
    /// Forwarded without what was found.
    Redact,
    /// Forwarded to where a rule sent it.
    RouteTo,
    /// Held: the caller may resend with a reason.
    Override,
    /// Held: somebody must approve.
    Prompt,
    /// Ended by a rule while the answer was under way, or before.
    Cancel,
    /// Refused by a rule.
    Block,
    /// Refused by another stage than policy; also what an event says that nobody finished.
    #[default]
    Refuse,
}

/// What a rule does with a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Forward.
    Allow,
    /// Record.
    Log,
    /// Take it out of the text.
    Redact,
    /// Send the request elsewhere.
    RouteTo,
    /// Ask the caller for a reason.
    Override,
    /// Ask an approver.
    Prompt,
    /// Stop.
    Cancel,
    /// Refuse.
    Block,
}

/// Who said no, in the words of the error table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stage's name, as in `stages`.
    pub stage: Cow<'static, str>,
    /// The error code the caller saw.
    pub code: Cow<'static, str>,
}

/// One policy rule that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Whose rule it is.
    pub chain: Chain,
    /// The pack it stands in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pack: Option<Arc<str>>,
    /// The rule's name.
    pub rule: Arc<str>,
    /// Its place in the pack.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sequence: u32,
    /// What it asked for.
    pub action: Action,
    /// It was recorded without effect.
    #[serde(default, skip_serializing_if = "is_default")]
    pub monitored: bool,
    /// The detection rule whose finding it matched, if it was a finding.
    #[serde(default, skip_serializing_if = "is_default")]
    pub finding_rule: Option<Arc<str>>,
}

/// The three chains that judge a request, uppermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// The platform's.
    Floor,
    /// The organisation's.
    Organisation,
    /// The user's own.
    User,
}

/// Something a detection rule found. It says where and how sure, never what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The detection rule.
    pub rule: Arc<str>,
    /// The kind of thing: `PAYMENT_CARD`.
    pub entity: Arc<str>,
    /// The family of kinds: `financial`.
    pub category: Arc<str>,
    /// In what the caller sent, or in what came back.
    pub direction: Direction,
    /// Where: `messages[2].content`. Names from the dialect's table and positions, never a key the caller
    /// chose.
    pub place: Cow<'static, str>,
    /// Bytes of text it covers.
    pub length: u32,
    /// From 0 to 1.
    pub confidence: f32,
    /// A checksum or another proof held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub validated: bool,
    /// It is known from a text that this caller sent before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub repeated: bool,
    /// How often the value was seen in leaks (`1`, `2-9`, `10-99`, `100-999`, `1000+`), or `reported`: a leak report
    /// names it. None: it is no credential, or not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compromised: Option<Cow<'static, str>>,
    /// What was done about it.
    pub action: Action,
    /// What would have been done if no rule of policy were monitored, where that is stricter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub would: Option<Action>,
    /// The organisation wants nothing done about it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suppressed: bool,
    /// What a redaction was to leave of it: `label`, `tag`, `mask`. Where findings overlap, the strictest is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Option<Cow<'static, str>>,
    /// Keyed hash of the value, in hex, so that the same value is recognised within one organisation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hash: Option<String>,
}

/// Which way a text went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the caller to the model.
    Input,
    /// From the model to the caller.
    Output,
}

/// What a request consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Of these, read from the provider's cache.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cached: u64,
    /// Of these, written to the provider's cache.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache_write: u64,
    /// Tokens of the answer, reasoning included.
    pub completion: u64,
    /// How they are known.
    pub source: TokenSource,
}

/// How a number of tokens is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The provider said so.
    Provider,
    /// Counted from the text.
    Counted,
    /// Estimated from its bytes.
    Estimated,
    /// What was put aside for it: nobody waited for the answer that would have said.
    Reserved,
}

/// The request's body, in bytes after content decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Body {
    /// As the caller sent it.
    pub bytes_in: u64,
    /// As it left for the provider; zero if it did not.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_out: u64,
}

/// What reached the caller of a request that was let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Sent as a stream of events.
    #[serde(skip_serializing_if = "is_default")]
    pub streamed: bool,
    /// Events of the stream.
    #[serde(skip_serializing_if = "is_default")]
    pub events: u32,
    /// Bytes of body sent to the caller.
    pub bytes_out: u64,
    /// From the first byte of the request to the first of the answer's body, in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub first_byte_us: u32,
    /// How it ended; none while it has not.
    #[serde(skip_serializing_if = "is_default")]
    pub ended: Option<Ended>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All of it was sent.
    Complete,
    /// The caller left.
    ClientLeft,
    /// The provider broke off.
    UpstreamBroken,
    /// A rule stopped it.
    Cancelled,
    /// The key or the organisation was switched off under it.
    Revoked,
    /// The process was stopped under it.
    Stopped,
}

/// The policy revision that judged, and what it was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Revision {
    /// The revision's number; zero if none was loaded.
    pub number: u64,
    /// Content hash of the platform's document.
    pub platform: Arc<str>,
    /// Content hash of the organisation's document.
    #[serde(skip_serializing_if = "is_default")]
    pub organisation: Arc<str>,
}

/// How many entries were cut from each list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field is named after the list it counts")]
pub struct Omitted {
    pub findings: u32,
    pub detector_failures: u32,
    pub reasons: u32,
    pub attempts: u32,
    pub passed_over: u32,
    pub groups: u32,
    pub stages: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
