//! What does an admin write? Documents: plain data, unknown fields refused, values with units.
//!
//! Nothing here is enforced; `Policy::compile` turns documents into what is.

pub mod access;
pub mod detection;
pub mod detectors;
pub mod issuers;
pub mod policy;
pub mod routes;

use crate::dialect::Dialect;
use crate::geoip::GeoDocument;
use crate::quota::{Dollars, ModelDocument, Unit, Window};
use crate::secret::Secret;
pub use access::{Capability, ModelAccessDocument, ModelRuleDocument};
pub use detection::{CredintDocument, DlpDocument, ExactMatchDocument, KeywordListDocument};
pub use detectors::{DetectorApi, DetectorDocument, DetectorUseDocument, OnFailure};
pub use issuers::{Channel, IssuersDocument, JwtIssuerDocument};
pub use policy::{Direction, FloorDocument, PolicyAction, PolicyRuleDocument, ShippedFloor};
use routes::{BreakerDocument, KillSwitchDocument, RouteDocument};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// What holds for the whole platform: `platform.toml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlatformDocument {
    /// What no organisation can loosen.
    #[serde(default)]
    pub floor: FloorDocument,
    /// Where requests may go.
    #[serde(default)]
    pub providers: Vec<ProviderDocument>,
    /// Services that find in prompts what has no form.
    #[serde(default)]
    pub detectors: Vec<DetectorDocument>,
    /// What is switched off for everyone.
    #[serde(default)]
    pub kill_switches: Vec<KillSwitchDocument>,
    /// Models and prices over those of the shipped catalogue.
    #[serde(default)]
    pub models: Vec<ModelDocument>,
    /// Where issuers of JWTs may keep their keys.
    #[serde(default)]
    pub jwt: IssuersDocument,
}

/// An upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderDocument {
    /// How routes name it.
    pub name: String,
    /// `https://api.openai.com/v1`, `https://api.anthropic.com`: what an SDK would call its base URL.
    pub base_url: String,
    /// Whose API it speaks.
    #[serde(default)]
    pub dialect: Dialect,
    /// The credential that replaces the caller's.
    pub api_key: Option<SecretRef>,
    /// The models it serves; `*` matches any part of a name.
    pub models: Vec<String>,
    /// Whether its address may be loopback, link-local or private.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// The protocol spoken to it.
    #[serde(default)]
    pub http: HttpVersion,
    /// Time for the connection and TLS.
    #[serde(default = "connect_timeout", with = "duration")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Time for the answer's head.
    #[serde(default = "first_byte_timeout", with = "duration")]
    #[schemars(with = "String")]
    pub first_byte_timeout: Duration,
    /// Time between two reads of the answer.
    #[serde(default = "idle_timeout", with = "duration")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Time for the whole exchange.
    #[serde(default = "total_timeout", with = "duration")]
    #[schemars(with = "String")]
    pub total_timeout: Duration,
    /// Tokens an answer is reckoned at when the caller gives no limit; if it is not said, what the model can write.
    pub output_tokens_default: Option<u64>,
    /// When its targets are passed over.
    #[serde(default)]
    pub breaker: BreakerDocument,
}

/// The protocol of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/1.1
    #[default]
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2, by ALPN over TLS or with prior knowledge.
    #[serde(rename = "2")]
    Http2,
}

fn connect_timeout() -> Duration {
    Duration::from_secs(5)
}
fn first_byte_timeout() -> Duration {
    Duration::from_mins(2)
}
fn idle_timeout() -> Duration {
    Duration::from_mins(1)
}
fn total_timeout() -> Duration {
    Duration::from_mins(15)
}

/// Where a secret is kept; never in a document that is a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// In an environment variable.
    Env(String),
    /// In a file; white space at its end is not part of it.
    File(PathBuf),
    /// Sealed in the store, which gives it together with the document.
    #[serde(skip_deserializing)]
    Given(Secret),
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |name: &str, about: &str, is_written_only: bool| {
            json!({
                "type": "object",
                "properties": { name: { "type": "string", "description": about, "writeOnly": is_written_only } },
                "required": [name],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "Where a secret is kept.",
            "oneOf": [
                one("env", "In an environment variable.", false),
                one("file", "In a file; white space at its end is not part of it.", false),
                one("value", "The secret itself. It is sealed, and reads as `***`.", true),
            ],
        })
    }
}

/// One tenant: `orgs/<id>.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationDocument {
    /// Stable; appears in events.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Whether nobody gets in.
    #[serde(default)]
    pub suspended: bool,
    /// What happens to a request that no rule allowed or refused.
    #[serde(default)]
    pub default_action: DefaultAction,
    /// Addresses its callers may come from; none: all.
    #[serde(default)]
    pub ip_allowlist: Vec<String>,
    /// Countries and networks its callers may come from.
    #[serde(default)]
    pub geo: GeoDocument,
    /// What is remembered.
    #[serde(default)]
    pub audit: AuditDocument,
    /// Detection.
    #[serde(default)]
    pub dlp: DlpDocument,
    /// Compromised credentials.
    #[serde(default)]
    pub credint: CredintDocument,
    /// The organisation's chain.
    #[serde(default)]
    pub policy: Vec<PolicyRuleDocument>,
    /// Groups that keys belong to.
    #[serde(default)]
    pub groups: Vec<GroupDocument>,
    /// API keys.
    #[serde(default)]
    pub keys: Vec<KeyDocument>,
    /// Issuers whose JWTs are as good as keys.
    #[serde(default)]
    pub jwt_issuers: Vec<JwtIssuerDocument>,
    /// Who may use which model.
    #[serde(default)]
    pub model_access: ModelAccessDocument,
    /// Budgets.
    #[serde(default)]
    pub quotas: Vec<QuotaDocument>,
    /// Where models are found.
    #[serde(default)]
    pub routes: Vec<RouteDocument>,
    /// What this organisation has switched off for itself.
    #[serde(default)]
    pub kill_switches: Vec<KillSwitchDocument>,
    /// The secret that its hashes are keyed from, if it has one of its own; whoever keeps such secrets puts it here.
    #[serde(skip)]
    pub hash_secret: Option<Secret>,
}

/// What happens when no rule says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAction {
    /// It goes on.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

/// Settings of events.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditDocument {
    /// What happens to requests whose events cannot be kept.
    #[serde(default)]
    pub on_full: OnFull,
}

/// What happens to a request whose event cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// It goes on; that its event is lost is counted.
    #[default]
    Count,
    /// It is refused before anything of it leaves.
    Refuse,
}

/// A group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDocument {
    /// How keys and rules name it.
    pub name: String,
}

/// An API key. Its secret is not here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyDocument {
    /// The public id, the middle of the key.
    pub id: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub sha256: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Who owns it: all keys of one user count together where a quota is a user's.
    pub user: Option<String>,
    /// Groups of its owner.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Models it may use, narrower than the groups'; none: no narrower.
    #[serde(default)]
    pub models: Vec<String>,
    /// Addresses it may be used from, narrower than the organisation's.
    #[serde(default)]
    pub ip_allowlist: Vec<String>,
    /// The client certificate it must be used with: `sha256:` and 64 hexadecimal digits; none: any or none.
    pub client_certificate: Option<String>,
    /// How it is used.
    #[serde(default)]
    pub channel: Channel,
    /// The moment it ends, RFC 3339.
    #[serde(default, with = "timestamp")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<u64>,
    /// Whether it works.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}

/// A budget.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaDocument {
    /// Whose requests count together.
    pub subject: QuotaSubject,
    /// The group, when the subject is one.
    pub group: Option<String>,
    /// Only requests for these models count; `*` matches any part.
    pub model: Option<String>,
    /// What happens when it is passed.
    #[serde(default)]
    pub enforce: Enforcement,
    /// Requests under way at once.
    pub requests_at_once: Option<u64>,
    /// Requests in any minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens in any minute.
    pub tokens_per_minute: Option<u64>,
    /// Requests a day, from midnight UTC.
    pub requests_per_day: Option<u64>,
    /// Tokens a day, from midnight UTC.
    pub tokens_per_day: Option<u64>,
    /// US dollars a day, from midnight UTC.
    pub dollars_per_day: Option<Dollars>,
    /// Requests a month, from its first midnight UTC.
    pub requests_per_month: Option<u64>,
    /// Tokens a month, from its first midnight UTC.
    pub tokens_per_month: Option<u64>,
    /// US dollars a month, from its first midnight UTC.
    pub dollars_per_month: Option<Dollars>,
}

impl QuotaDocument {
    /// Everything that it limits.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (Unit, Window, u64)> {
        let nanos = |dollars: Option<Dollars>| dollars.map(Dollars::nanos);
        let limits = [
            (Unit::Requests, Window::AtOnce, self.requests_at_once),
            (Unit::Requests, Window::Minute, self.requests_per_minute),
            (Unit::Tokens, Window::Minute, self.tokens_per_minute),
            (Unit::Requests, Window::Day, self.requests_per_day),
            (Unit::Tokens, Window::Day, self.tokens_per_day),
            (Unit::Dollars, Window::Day, nanos(self.dollars_per_day)),
            (Unit::Requests, Window::Month, self.requests_per_month),
            (Unit::Tokens, Window::Month, self.tokens_per_month),
            (Unit::Dollars, Window::Month, nanos(self.dollars_per_month)),
        ];
        limits.into_iter().filter_map(|(unit, window, most)| most.map(|most| (unit, window, most)))
    }

    /// Whether both state the same limit in the same way, where their subjects are the same.
    pub(crate) fn states_what(&self, other: &Self) -> bool {
        let is_there =
            |(unit, window)| other.limits().any(|(other, over, _)| (other, over) == (unit, window));
        self.enforce == other.enforce && self.limits().any(|(unit, window, _)| is_there((unit, window)))
    }
}

/// Whose requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaSubject {
    /// All of the organisation's.
    Organisation,
    /// Those of one group.
    Group,
    /// Each user's by itself, over all of its keys.
    User,
    /// Each key's by itself.
    Key,
}

/// What happens when a quota is passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The request is refused.
    #[default]
    Hard,
    /// It is said in a header and counted; nothing is refused.
    Soft,
}

/// A provider's credential, resolved by whoever may read files.
pub type ProviderSecrets = std::collections::HashMap<String, Secret>;

/// How durations are written: `30s`. Serializing shows a field's default in its schema.
mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(input)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a duration such as `30s`: {error}")))
    }

    pub(super) fn serialize<S: Serializer>(duration: &Duration, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(&humantime::format_duration(*duration))
    }
}

/// The same, where there need not be one.
mod optional_duration {
    use serde::{Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(input).map(Some)
    }

    #[expect(clippy::ref_option, reason = "serde gives it so")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        output: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, output),
            None => output.serialize_none(),
        }
    }
}

/// How moments are written, RFC 3339, where there need not be one; in milliseconds since 1970.
mod timestamp {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::{Duration, UNIX_EPOCH};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
        let text = String::deserialize(input)?;
        let moment = humantime::parse_rfc3339(&text).map_err(|error| {
            D::Error::custom(format!("`{text}` is not a moment such as `2030-01-31T00:00:00Z`: {error}"))
        })?;
        let since = moment.duration_since(UNIX_EPOCH).map_err(D::Error::custom)?;
        Ok(Some(since.as_millis() as u64))
    }

    #[expect(clippy::ref_option, reason = "serde gives it so")]
    pub(super) fn serialize<S: Serializer>(moment: &Option<u64>, output: S) -> Result<S::Ok, S::Error> {
        match moment {
            Some(ms) => {
                output.collect_str(&humantime::format_rfc3339(UNIX_EPOCH + Duration::from_millis(*ms)))
            }
            None => output.serialize_none(),
        }
    }
}
