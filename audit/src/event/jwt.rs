//! Who came without a key? A caller whom an issuer vouched for, by hashes: the JWT itself is a credential.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A JWT that was believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwt {
    /// Its `iss`, as the organisation's document names it.
    pub issuer: Arc<str>,
    /// A keyed hash of its user: the same for all JWTs of one user of this issuer, and of one organisation only.
    pub subject: Arc<str>,
    /// A keyed hash of its `jti`, if it has one.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub id: Option<Arc<str>>,
}

/// Who sits at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A program.
    #[default]
    Api,
    /// A person.
    Interactive,
}
