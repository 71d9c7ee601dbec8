//! What can an admin change, how is it written, and what may not be accepted?
//!
//! The store keeps resources and does not know what they mean; the core compiles documents and does not know where they
//! come from. This room stands between: [`KINDS`] is the one table of what there is, [`compose`] makes an owner's
//! document of its resources and takes one apart again, and [`Control`] changes them.
//!
//! Needs a store, the detection rules and the data folder; proves that what was accepted compiles, that nobody's change
//! was written over unseen, and that of each change it is kept who made it, with what was there before, in the same
//! transaction. No secret is in an answer, an error or the journal, but for a new key, once. It knows no HTTP, and does
//! not ask who may: who calls it has asked that.

mod change;
mod check;
mod claims;
mod compose;
mod control;
mod error;
mod fields;
mod journal;
mod keys;
mod kinds;
mod organisations;
mod secrets;
mod shapes;

pub(crate) use change::merge;
pub use change::{Edit, Expected};
pub use compose::{
    ComposeError, Piece, compose_organisation, compose_platform, decompose_organisation, decompose_platform,
};
pub use control::{Actor, Control, Made, View, Views};
pub use error::ControlError;
pub use fields::FieldError;
pub(crate) use fields::read;
pub use journal::{Changed, JOURNAL, entry, entry_of};
pub use keys::{GRACE_MAX, NewApiKey};
pub use kinds::{KINDS, KindRow, Named, ONLY, Shape, Side, kind, policy_kinds};
pub use organisations::{Export, ExportedResource, OrganisationView, Provision};
