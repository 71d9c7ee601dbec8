//! Who compiles what many organisations look for themselves, which is nearly all of the compiling? Several cores do.
//!
//! Needs a policy and the documents that it is about to take; proves nothing: what is not compiled ahead is compiled by
//! whoever needs it, to the same.

use palisade_filters::dlp::Scanner;
use palisade_filters::policy::{Known, Unknown};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many cores take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// All: nobody is served yet who could wait for one.
    All,
    /// Half of them.
    Half,
}

/// Compiles detectors that nobody was compiled for yet. They are known as long as somebody has them.
pub(crate) fn compile(unknown: &[Unknown<'_>], scanner: &Arc<Scanner>, cores: Cores) -> Vec<Known> {
    let there = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match cores {
        Cores::All => there,
        Cores::Half => there / 2,
    };
    let threads = threads.min(unknown.len());
    if threads < 2 {
        return Vec::new();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let numbers = std::iter::from_fn(|| unknown.get(next.fetch_add(1, Ordering::Relaxed)));
        numbers.filter_map(|unknown| unknown.compile(scanner)).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        // What a thread did not do is done by whoever needs it.
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}
