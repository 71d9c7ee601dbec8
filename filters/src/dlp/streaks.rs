//! Which rules find nothing without a long streak of letters, digits and signs?
//!
//! Needs the automaton of a rule; proves that each of its matches holds such a streak, and within how many bytes from
//! its beginning the streak is complete. Tokens and keys are streaks, and so is what stands behind most names of
//! services; clean prose has few. So the sweep looks for the literals of such rules only where a streak is near.

use super::automaton::Fast;
use super::rules::Rule;
use regex_automata::util::primitives::StateID;
use std::collections::BTreeMap;

/// So many bytes of the class in a row are a streak.
pub(super) const STREAK_BYTES: usize = 12;

/// From so many literals on, those that mean nothing without a streak are looked for by themselves.
const LITERALS_MANY: usize = 512;

/// Whether a byte goes on a streak.
pub(super) fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+' | b'=' | b'~')
}

/// A state, and how long the streak is that ends with it.
type Place = (StateID, usize);

/// For each literal, within how many bytes from its beginning a streak is whole in every match of its rules; none:
/// there are some without, or so few literals that it is no use to tell them apart.
pub(super) fn of_literals(rules: &[Rule], literal_rules: &[Vec<u16>]) -> Vec<Option<usize>> {
    if literal_rules.len() < LITERALS_MANY {
        return vec![None; literal_rules.len()];
    }
    let of_rule = |rule: &Rule| match &rule.document.anchor {
        anchor if anchor.literals.is_empty() || anchor.lead.is_some() => None,
        _ => rule.matcher.fast().and_then(within),
    };
    let of_rules: Vec<Option<usize>> = rules.iter().map(of_rule).collect();
    let of_literal = |owners: &Vec<u16>| {
        let withins = owners.iter().map(|owner| of_rules.get(usize::from(*owner)).copied().flatten());
        withins.collect::<Option<Vec<usize>>>()?.into_iter().max()
    };
    literal_rules.iter().map(of_literal).collect()
}

/// Within how many bytes every match has a whole streak; `None`: one may have none.
fn within(automaton: &Fast) -> Option<usize> {
    let mut walk = Walk { automaton, steps: BTreeMap::new(), known: BTreeMap::new() };
    walk.left((automaton.start(), 0))
}

struct Walk<'a> {
    automaton: &'a Fast,
    /// Where a state leads to with a byte of the class, and with another; none where a match may end before.
    steps: BTreeMap<StateID, Option<Vec<(StateID, bool)>>>,
    known: BTreeMap<Place, Option<usize>>,
}

impl Walk<'_> {
    /// How many bytes it takes at most until a streak is whole; `None`: a match may end before.
    fn left(&mut self, place: Place) -> Option<usize> {
        if let Some(known) = self.known.get(&place) {
            return *known;
        }
        let (state, streak) = place;
        let left = self.steps(state).and_then(|steps| {
            let mut most = 0;
            for (next, goes_on) in steps {
                let streak = if goes_on { streak + 1 } else { 0 };
                let behind = if streak == STREAK_BYTES { 0 } else { self.left((next, streak))? };
                most = most.max(behind + 1);
            }
            Some(most)
        });
        self.known.insert(place, left);
        left
    }

    fn steps(&mut self, state: StateID) -> Option<Vec<(StateID, bool)>> {
        let automaton = self.automaton;
        let steps = self.steps.entry(state).or_insert_with(|| {
            let mut steps = Vec::new();
            for byte in 0..=u8::MAX {
                let Some(next) = automaton.next(state, byte) else { continue };
                if automaton.is_match(next) {
                    return None;
                }
                if steps.last() != Some(&(next, goes_on(byte))) {
                    steps.push((next, goes_on(byte)));
                }
            }
            steps.sort_unstable();
            steps.dedup();
            Some(steps).filter(|_| !automaton.may_end(state))
        });
        steps.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::Matcher;
    use super::super::rules::RuleDocument;
    use super::*;

    fn of(pattern: &str) -> Option<usize> {
        let rule = format!(
            "id = 'a.b'\nentity = 'A'\ncategory = 'secret'\ntitle = 'a'\nwhy = 'a'\nseverity = 'low'\n\
             anchor.literals = ['abcd']\npattern = '''{pattern}'''\nconfidence.base = 0.5\nwidth_bytes_max = 400\n\
             examples = []\ncounterexamples = []\nreferences = []"
        );
        let rule: RuleDocument = toml::from_str(&rule).unwrap();
        within(Matcher::compile(&rule).unwrap().fast().unwrap())
    }

    #[test]
    fn streaks_are_as_far_away_as_patterns_put_them() {
        for (pattern, expected) in [
            ("abcd[A-Za-z0-9]{8}", Some(12)),
            ("abcd[A-Za-z0-9]{7}", None),
            ("abcd: {0,9}[a-z]{12,40}", Some(4 + 1 + 9 + 12)),
            ("abcd(?: [a-z]{12}|[a-z]{30})", Some(17)),
            ("abcd(?: [a-z]{11}|[a-z]{30})", None),
            ("abcd[ a-z]{60}", None),
        ] {
            assert_eq!(of(pattern), expected, "{pattern}");
        }
    }
}
