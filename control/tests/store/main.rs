//! Does the store keep its promises, on both engines, whoever interferes and however it ends?
//!
//! `conformance` and `history` hold of both engines alike. What only one of them could break stands in `sqlite` and
//! `postgres`; what an attacker with the files or the rows could do in `tampering`; how processes end in `crash`.
//! Who may do what, over a store, is in `access`; how changes reach who follows in `follow`.
//! Needs PostgreSQL's programs, which `make test` installs; its server is a real one, made and ended here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on ends, and says where"
)]

/// The same test on both engines.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() { super::$test(crate::world::World::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $test() { super::$test(crate::world::World::postgres().await).await; })*
        }
    };
}

mod access;
mod api;
mod conformance;
mod crash;
mod feed;
mod follow;
mod history;
mod memos;
mod postgres;
mod resources;
mod server;
mod sqlite;
mod tampering;
mod usage;
mod world;
