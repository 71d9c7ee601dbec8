//! What is remembered of a request, and how it survives until somebody has read it.
//!
//! [`Event`] is the record of one request: who asked, what was decided and why, what it cost. [`Spool`] takes
//! events from request tasks without ever blocking them and keeps them in append-only segment files;
//! [`Reader`] gives them back in order and names every damaged byte it meets.
//!
//! Needs: a directory of its own, and a proxy that fills in the event. Proves: what was accepted is written
//! once, in order, or counted as lost; what was damaged on disk is never given back as an event. Does not:
//! judge requests, make ids, know the network or an async runtime, chain events against an insider (the
//! store's appender does), or ship them anywhere.
//!
//! ```
//! use palisade_audit::{Config, Event, Reader, Spool};
//! # let home = tempfile::TempDir::new()?;
//! # let directory = home.path();
//! let spool = Spool::open(Config::new(directory))?;
//! spool.record(Event { status: Some(404), ..Event::default() });
//! let counts = spool.close()?;
//! assert_eq!((counts.written, counts.dropped.total()), (1, 0));
//!
//! let entry = Reader::open(directory)?.next().ok_or("the spool is empty")??;
//! assert_eq!(entry.event()?.status, Some(404));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod event;
pub mod spool;

pub use event::{Event, Time};
pub use spool::{Config, Counts, Damage, Dropped, Entry, Flaw, Reader, Spool, SpoolError};
