//! Keys of organisations, made from a name: the same in every run, in memory and over the wire.

use palisade_filters::api_key;
use sha2::{Digest, Sha256};

/// A key as its owner has it, with what a document says of it.
pub(crate) struct Key {
    pub(crate) secret: String,
    /// The `[[keys]]` table, without settings besides id and hash.
    pub(crate) table: String,
}

/// The key of this name.
pub(crate) fn key(name: &str) -> Key {
    let secret: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let id: [u8; 32] = Sha256::digest(secret).into();
    let new = api_key::create(std::array::from_fn(|at| id[at]), secret);
    let table = format!("[[keys]]\nid = \"{}\"\nsha256 = \"{}\"\n", new.id, new.sha256);
    Key { secret: new.key.expose().to_owned(), table }
}
