//! What is said between a proxy and the control plane: JSON over HTTP, under `/feed/v1/`.
//!
//! Both sides read these types. A member that is not known is passed over, so that either side can be the newer one.

use crate::follow::{News, Pieces, Reading};
use crate::store::{Kind, NameError, OrganisationId, Owner, ResourceId};
use crate::usage::{BATCH_ROWS_MAX, Batch, bounded};
use palisade_filters::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// What all paths begin with.
pub const ROOT: &str = "/feed/v1/";
/// Batches of one request.
pub const BATCHES_MAX: usize = 128;
/// How the platform is called among owners; no organisation can be called that.
const PLATFORM: &str = "@platform";

/// Somebody has a token and wants a certificate for a key.
#[derive(Serialize, Deserialize)]
pub struct Enroll {
    /// As it was shown.
    pub token: String,
    /// An uncompressed point of P-256, in hexadecimal digits.
    pub public_key: String,
}

impl std::fmt::Debug for Enroll {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Enroll({})", self.public_key)
    }
}

/// They are let in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// Who they are from now on.
    pub id: String,
    /// What they may see; none: all organisations.
    pub organisations: Option<Vec<String>>,
    /// In PEM.
    pub certificate: String,
    /// Who signed it, and the listener's, in PEM.
    pub authority: String,
}

/// Another certificate is wanted, for another key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Renew {
    /// An uncompressed point of P-256, in hexadecimal digits.
    pub public_key: String,
}

/// It is this.
#[derive(Debug, Serialize, Deserialize)]
pub struct Renewed {
    /// In PEM.
    pub certificate: String,
}

/// A proxy brings what it counted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Each under a number of its writer's: at most [`BATCHES_MAX`], of [`BATCH_ROWS_MAX`] rows together.
    #[serde(deserialize_with = "batches")]
    pub batches: Vec<Batch>,
}

/// Not to be brought again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    /// Numbers of batches that are kept, or whose organisation is gone.
    pub settled: Vec<u64>,
    /// Of those that can never be kept, or are of an organisation that the proxy is not for.
    pub refused: Vec<u64>,
}

/// How far the feed goes.
#[derive(Debug, Serialize, Deserialize)]
pub struct End {
    /// The last position.
    pub end: u64,
}

/// Who changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    /// Owners.
    pub owners: Vec<String>,
    /// Where to go on.
    pub position: u64,
    /// How far there is anything.
    pub end: u64,
}

/// Organisations there are.
#[derive(Debug, Serialize, Deserialize)]
pub struct Organisations {
    /// Their ids, in order; none: there are no more.
    pub organisations: Vec<String>,
}

/// What these have is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Read {
    /// Owners.
    pub owners: Vec<String>,
}

/// What they have: of some of them, the rest is to be asked for again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Readings {
    /// They.
    pub readings: Vec<Owned>,
}

/// What one has.
#[derive(Debug, Serialize, Deserialize)]
pub struct Owned {
    /// Whose.
    pub owner: String,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

/// What was found of an owner.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Found {
    /// It is there.
    There(There),
    /// It is not.
    Gone,
    /// Its key is destroyed.
    Lost {
        /// What is said of it.
        problem: String,
    },
    /// It cannot be read.
    Unread {
        /// Why.
        problem: String,
    },
}

/// What it has.
#[derive(Clone, Serialize, Deserialize)]
pub struct There {
    /// From which its hashes are keyed.
    pub hash_secret: Option<String>,
    /// Kinds, ids and documents.
    pub resources: Vec<(String, String, Document)>,
}

/// A document as it was written. It is its text, as members of a tagged whole cannot be kept as they were.
pub type Document = String;

impl std::fmt::Debug for There {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "There({} resources)", self.resources.len())
    }
}

/// Why it was not done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The word that programs tell it by.
    pub name: String,
    /// For people.
    pub detail: String,
}

/// What was answered cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was answered makes no sense: {0}")]
pub struct Nonsense(String);

impl From<NameError> for Nonsense {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

/// Reads batches, and no more of them than are looked at: what is read takes many times what is sent.
fn batches<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Batch>, D::Error> {
    let mut rows = 0;
    bounded(input, |batches: &[Batch]| {
        rows += batches.last().map_or(0, |batch| batch.rows.len());
        batches.len() <= BATCHES_MAX && rows <= BATCH_ROWS_MAX
    })
}

/// How an owner is called.
pub fn owner_name(owner: &Owner) -> String {
    match owner {
        Owner::Platform => PLATFORM.to_owned(),
        Owner::Organisation(id) => id.to_string(),
    }
}

/// Who is called that.
pub fn owner(name: &str) -> Result<Owner, NameError> {
    if name == PLATFORM { Ok(Owner::Platform) } else { OrganisationId::new(name).map(Owner::Organisation) }
}

impl From<News> for Changed {
    fn from(news: News) -> Self {
        let owners = news.owners.iter().map(owner_name).collect();
        Self { owners, position: news.position, end: news.end }
    }
}

impl TryFrom<Changed> for News {
    type Error = Nonsense;

    fn try_from(changed: Changed) -> Result<Self, Nonsense> {
        let owners: Result<_, NameError> = changed.owners.iter().map(|name| owner(name)).collect();
        Ok(Self { owners: owners?, position: changed.position, end: changed.end })
    }
}

impl From<(Owner, Reading)> for Owned {
    fn from((owner, reading): (Owner, Reading)) -> Self {
        let found = match reading {
            Reading::There(pieces) => Found::There(There {
                hash_secret: pieces.hash_secret.map(|secret| secret.expose().to_owned()),
                resources: pieces
                    .resources
                    .into_iter()
                    .map(|(kind, id, document)| (kind.to_string(), id.to_string(), document.get().to_owned()))
                    .collect(),
            }),
            Reading::Gone => Found::Gone,
            Reading::Lost(problem) => Found::Lost { problem },
            Reading::Unread(problem) => Found::Unread { problem },
        };
        Self { owner: owner_name(&owner), found }
    }
}

impl TryFrom<Owned> for (Owner, Reading) {
    type Error = Nonsense;

    fn try_from(owned: Owned) -> Result<Self, Nonsense> {
        let reading = match owned.found {
            Found::There(there) => {
                let mut resources = Vec::with_capacity(there.resources.len());
                for (kind, id, document) in there.resources {
                    let document = RawValue::from_string(document);
                    let document = document.map_err(|error| Nonsense(error.to_string()))?;
                    resources.push((Kind::new(&kind)?, ResourceId::new(&id)?, document));
                }
                Reading::There(Pieces { resources, hash_secret: there.hash_secret.map(Secret::new) })
            }
            Found::Gone => Reading::Gone,
            Found::Lost { problem } => Reading::Lost(problem),
            Found::Unread { problem } => Reading::Unread(problem),
        };
        Ok((owner(&owned.owner)?, reading))
    }
}
