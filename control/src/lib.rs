//! What is believed, and who may change it.
//!
//! Here belief is a folder of documents: [`Folder`] finds and reads them, [`Live`] keeps the policy they make, with
//! the last good state of every document, and [`keys`] changes them without disturbing what a person wrote; a
//! [`parcel`] is one of them on its way to a store. [`store`] is what it is going to be: resources of many
//! organisations in a database; and [`access`] says who may change them; [`follow`] brings what was changed into
//! force, and [`feed`] tells proxies of it that are elsewhere. This room knows files and the clock, in `store` alone
//! SQL, and there and above it waiting. It does not know Pingora, opens no socket but to its database, and judges no
//! request.

pub mod access;
pub mod api;
pub mod demo;
pub mod feed;
pub mod folder;
pub mod follow;
pub mod keys;
pub mod live;
pub mod parcel;
pub mod resources;
pub mod sealing;
pub mod sources;
pub mod stamp;
pub mod store;
pub mod usage;

mod ahead;
mod attachments;
mod edit;
mod write;

pub use folder::{Folder, FolderError};
pub use live::{Live, LoadError, Reloaded};
pub use sources::Sources;
pub use stamp::Stamp;
