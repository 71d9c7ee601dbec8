//! What is believed, and who may change it.
//!
//! Here belief is a folder of documents: [`Folder`] finds and reads them, [`Live`] keeps the policy they
//! make, with the last good state of every document, and [`keys`] changes them without disturbing what a
//! person wrote. This room knows files and the clock. It does not know Pingora, sockets, async or SQL,
//! and it judges no request.

pub mod demo;
pub mod folder;
pub mod keys;
pub mod live;
pub mod sources;
pub mod stamp;

mod edit;
mod write;

pub use folder::{Folder, FolderError};
pub use live::{Live, LoadError, Reloaded};
pub use sources::Sources;
pub use stamp::Stamp;
