//! How far is it? One line on standard error, rewritten in place, and only where a person reads it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The line is written again at most this often.
const EVERY: Duration = Duration::from_millis(100);
/// Cells of the bar.
const CELLS: u64 = 30;

/// A progress line.
pub(crate) struct Progress {
    is_seen: bool,
    last: Instant,
}

impl Progress {
    /// Nothing is written yet.
    pub(crate) fn new() -> Self {
        Self { is_seen: std::io::stderr().is_terminal(), last: Instant::now() }
    }

    /// So much is done, of so much if that is known.
    pub(crate) fn tell(&mut self, what: &str, done: u64, all: Option<u64>) {
        if self.is_seen && self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            // A closed standard error is nobody's loss.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(what, done, all));
        }
    }

    /// The line goes.
    pub(crate) fn end(&self) {
        if self.is_seen {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, all: Option<u64>) -> String {
    let Some(all) = all.filter(|all| *all > 0) else {
        return format!("{what:<9} {:.1} million lines", done as f64 / 1e6);
    };
    let full = (done.min(all) * CELLS / all) as usize;
    let empty = CELLS as usize - full;
    format!("{what:<9} [{}{}] {done}/{all}", "#".repeat(full), " ".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_bar_fills() {
        assert_eq!(line("reading", 12_340_000, None), "reading   12.3 million lines");
        assert_eq!(line("sorting", 0, Some(256)), format!("sorting   [{}] 0/256", " ".repeat(30)));
        assert_eq!(line("building", 64, Some(64)), format!("building  [{}] 64/64", "#".repeat(30)));
    }
}
