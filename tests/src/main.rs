//! Does the product do what it says, from the outside? One binary for every test that is nobody's own.
//!
//! Scenarios are data, run twice: in memory against the pure core, and over the wire against the real binary. What
//! data cannot say (cuts, signals, crashes, reloads, protocols) is a test here. The rules of the house are tests too.
//! Needs the product's binary, which it builds, and loopback; proves nothing about speed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::format_push_string,
    reason = "a test that cannot go on ends, and says where; its texts are short"
)]

mod attacks;
mod audit;
mod commands;
mod control_plane;
mod credint;
mod detectors;
mod drain;
mod edge;
mod errors;
mod faults;
mod fuzzed;
mod geoip;
mod h2;
mod health;
mod house;
mod http;
mod issuer;
mod jwt;
mod jwt_wire;
mod keys;
mod leaks;
mod limits;
mod lists;
mod memory;
mod message_properties;
mod messages;
mod mmdb;
mod plane;
// The server of the store's own tests.
#[path = "../../control/tests/store/server.rs"]
mod postgres;
mod process;
mod processes;
mod properties;
mod protocols;
mod provider;
mod quotas;
mod reload;
mod remembered;
mod remote;
mod restoring;
mod routing;
mod scenario;
mod seats;
mod streams;
mod texts;
mod tidy;
mod upgrade;
mod wire;
mod world;
