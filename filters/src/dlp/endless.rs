//! Where are findings without an end? What begins within one of them is a part of it.
//!
//! A rule whose findings go on may match again in what it found: each header of a row of tokens begins one more that
//! ends where the first does. Asking about all of them would take as many times as long.

use super::matcher::Verdict;

/// The last finding without an end of each rule, in the text at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Endless(Vec<Run>);

#[derive(Clone, Copy, Debug)]
struct Run {
    rule: u16,
    from: usize,
    /// Behind its last byte; none is known while it goes on.
    until: usize,
}

impl Endless {
    /// Knows nothing.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether what a rule matches from a place on is a part of what it found.
    pub(super) fn holds(&self, rule: u16, start: usize) -> bool {
        self.0.iter().any(|run| run.rule == rule && (run.from..run.until).contains(&start))
    }

    /// Takes what a rule says of a place, or of where it `goes_on_from`, in the order of the text. Only of what nothing
    /// can be surer than all that begins within it is a part.
    pub(super) fn follow(&mut self, rule: u16, goes_on_from: Option<usize>, verdict: &Verdict, surest: f32) {
        let until = match (verdict, goes_on_from) {
            (Verdict::Open, _) | (Verdict::No, None) => return,
            (Verdict::No, Some(from)) => from,
            (Verdict::Found(found), _) => {
                if goes_on_from.is_none() && found.confidence >= surest {
                    self.0.retain(|run| run.rule != rule);
                    self.0.push(Run { rule, from: found.span.start, until: usize::MAX });
                }
                if found.unfinished { usize::MAX } else { found.span.end }
            }
        };
        let open = self.0.iter_mut().filter(|run| run.rule == rule && run.until == usize::MAX);
        open.for_each(|run| run.until = until);
    }

    /// The text now begins `by` bytes later.
    pub(super) fn forget(&mut self, by: usize) {
        self.0.retain(|run| run.until > by);
        for run in &mut self.0 {
            run.from = run.from.saturating_sub(by);
            run.until = if run.until == usize::MAX { run.until } else { run.until - by };
        }
    }
}
