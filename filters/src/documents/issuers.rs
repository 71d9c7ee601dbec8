//! Whose JWTs does an organisation believe, and what do their claims mean to it?

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Which hosts inside our own network issuers may keep their keys on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuersDocument {
    /// `login.internal.example`, or with a port, `login.internal.example:8443`.
    #[serde(default)]
    pub private_hosts: Vec<String>,
}

/// An issuer of JWTs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtIssuerDocument {
    /// The `iss` of its JWTs, byte for byte: an `https` URL.
    pub issuer: String,
    /// What stands in their `aud`, alone or among others.
    pub audience: String,
    /// Where its keys are fetched.
    pub jwks_url: Option<String>,
    /// Whether the address of its keys is asked at its `/.well-known/openid-configuration`.
    #[serde(default)]
    pub discovery: bool,
    /// Its keys, as JSON.
    pub jwks: Option<String>,
    /// The file of its keys, in the data folder under `lists/<id of the organisation>/`.
    pub jwks_file: Option<PathBuf>,
    /// What that file says; whoever may read files puts it here.
    #[serde(skip)]
    pub jwks_file_text: Option<String>,
    /// Algorithms of signatures; none: every one that fits a key.
    #[serde(default)]
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    #[serde(default = "leeway", with = "super::duration")]
    #[schemars(with = "String")]
    pub leeway: Duration,
    /// The longest that a JWT is believed after its `iat`, whatever its `exp` says.
    #[serde(default, with = "super::optional_duration")]
    #[schemars(with = "Option<String>")]
    pub max_age: Option<Duration>,
    /// The claim that names the user.
    #[serde(default = "sub")]
    pub user_claim: String,
    /// The claim that holds groups, if there is one.
    pub groups_claim: Option<String>,
    /// From values of that claim to groups.
    #[serde(default)]
    pub group_map: BTreeMap<String, String>,
    /// The groups of whoever is in no group by a claim.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Claims that must have this value.
    #[serde(default)]
    pub claims: BTreeMap<String, ClaimValue>,
    /// How its JWTs are used.
    #[serde(default)]
    pub channel: Channel,
    /// Models that its JWTs may be used for, narrower than the groups'; none: no narrower.
    #[serde(default)]
    pub models: Vec<String>,
    /// Addresses that they may be used from, narrower than the organisation's.
    #[serde(default)]
    pub ip_allowlist: Vec<String>,
}

fn leeway() -> Duration {
    Duration::from_mins(1)
}

fn sub() -> String {
    "sub".to_owned()
}

/// Who sits at the other end, as far as the credential says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A program.
    #[default]
    Api,
    /// A person.
    Interactive,
}

/// What a claim must be, or must hold if it is a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClaimValue {
    /// A text.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
}

/// An algorithm of signatures (RFC 7518, RFC 8037). There is none without a signature and none with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512
    Rs512,
    /// RSASSA-PSS with SHA-256
    Ps256,
    /// RSASSA-PSS with SHA-384
    Ps384,
    /// RSASSA-PSS with SHA-512
    Ps512,
    /// ECDSA on P-256 with SHA-256
    Es256,
    /// ECDSA on P-384 with SHA-384
    Es384,
    /// Ed25519
    EdDsa,
}

impl Algorithm {
    /// All of them, by the names that headers have.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
        // RFC 9864 names the curve.
        ("Ed25519", Self::EdDsa),
    ];

    /// The algorithm of this name, exactly as it is written.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(known, algorithm)| (known == name).then_some(algorithm))
    }
}

impl JsonSchema for Algorithm {
    fn schema_name() -> Cow<'static, str> {
        "Algorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Self::NAMES.map(|(name, _)| name);
        json_schema!({ "description": "An algorithm of signatures.", "type": "string", "enum": names })
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let name = String::deserialize(input)?;
        Self::named(&name).ok_or_else(|| {
            let is_secret = name.eq_ignore_ascii_case("none") || name.to_ascii_uppercase().starts_with("HS");
            let known = Self::NAMES.map(|(known, _)| known).join("`, `");
            D::Error::custom(if is_secret {
                format!("`{name}` proves nothing of an issuer and is never accepted; there are `{known}`")
            } else {
                format!("there is no algorithm `{name}` here; there are `{known}`")
            })
        })
    }
}
