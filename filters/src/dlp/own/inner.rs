//! What does every match of a pattern hold? The rarest few bytes in a row, by what may stand at each of their places.
//!
//! Needs the syntax of a pattern; proves that each of its matches holds one of a few windows, so far behind its
//! beginning. How rare one is, is told by the same tables on every machine.

use super::super::anchors::WINDOW;
use super::super::bytes::ByteSet;
use super::background;
use regex_syntax::hir::{Class, Hir, HirKind};

/// What it costs to look at a window that a text holds, and to ask a rule at a place: in the time that an automaton
/// takes for a byte.
const LOOK_COST: f32 = 10.0;
const ASK_COST: f32 = 8.0;
/// No byte is taken for rarer.
const SHARE_MIN: f32 = 1e-4;
/// More ways than this to match are not told apart.
const WAYS_MAX: usize = 16;

/// Some bytes in a row that a match holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// What may stand at each place; any byte behind the last one that is known.
    pub(super) classes: [ByteSet; WINDOW],
    /// How far behind the beginning of the match it begins, at least and at most.
    pub(super) least: usize,
    pub(super) most: usize,
}

/// Places in a row, of which it is known what may stand there in every match.
#[derive(Clone, Debug, Default)]
struct Stretch {
    least: usize,
    most: usize,
    classes: Vec<ByteSet>,
}

/// What is known of every match.
struct Known {
    stretches: Vec<Stretch>,
    /// Windows of which it holds one.
    ways: Vec<Vec<Window>>,
}

/// The rarest windows of which every match of a pattern holds one; none if nothing is known of some.
pub(super) fn windows(pattern: &str) -> Option<Vec<Window>> {
    let parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    of(&{ parser }.parse(pattern).ok()?)
}

fn of(hir: &Hir) -> Option<Vec<Window>> {
    match hir.kind() {
        HirKind::Capture(capture) => return of(&capture.sub),
        HirKind::Alternation(ways) if fixed(hir).is_none() => {
            let windows = ways.iter().map(of).collect::<Option<Vec<_>>>()?.concat();
            return (windows.len() <= WAYS_MAX).then_some(windows);
        }
        HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Concat(_)
        | HirKind::Alternation(_) => {}
    }
    let mut known = Known { stretches: vec![Stretch::default()], ways: Vec::new() };
    known.read(hir)?;
    let windows = known.stretches.iter().flat_map(Stretch::windows).map(|window| vec![window]);
    let cost = |windows: &[Window]| windows.iter().map(Window::cost).sum::<f32>();
    windows.chain(known.ways).min_by(|one, other| cost(one).total_cmp(&cost(other)))
}

impl Window {
    /// What it costs to look for it in a text that it is not meant for.
    pub(super) fn cost(&self) -> f32 {
        let share =
            |class: &ByteSet| (0..=255).filter(|byte| class.contains(*byte)).map(background::byte).sum();
        let rate: f32 = self.classes.iter().map(|class| f32::max(share(class), SHARE_MIN)).product();
        rate * (LOOK_COST + ASK_COST * (self.most - self.least + 1) as f32)
    }

    /// Whether it stands at the beginning of a text.
    #[inline]
    pub(super) fn is_at(&self, text: &[u8]) -> bool {
        // Behind the end, anything may stand.
        self.classes.iter().zip(text).all(|(class, byte)| class.contains(*byte))
    }
}

impl Stretch {
    fn windows(&self) -> impl Iterator<Item = Window> {
        let any: ByteSet = (0..=255).collect();
        (0..self.classes.len()).map(move |from| Window {
            classes: std::array::from_fn(|place| self.classes.get(from + place).copied().unwrap_or(any)),
            least: self.least + from,
            most: self.most + from,
        })
    }

    /// The one that begins behind it, and behind so many bytes that are not known.
    fn next(&self, least: usize, most: usize) -> Self {
        let known = self.classes.len();
        Self { least: self.least + known + least, most: self.most + known + most, classes: Vec::new() }
    }
}

impl Known {
    /// Adds the places of `hir`, behind those before it.
    fn read(&mut self, hir: &Hir) -> Option<()> {
        if let Some(classes) = fixed(hir) {
            self.stretches.last_mut()?.classes.extend(classes);
            return Some(());
        }
        match hir.kind() {
            HirKind::Capture(capture) => self.read(&capture.sub)?,
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.read(part))?,
            HirKind::Repetition(repetition) => {
                let (sub, least) = (&repetition.sub, repetition.min as usize);
                (0..least).try_for_each(|_| self.read(sub))?;
                let more = repetition.max? as usize - least;
                let mut next = self.stretches.last()?.next(0, more * sub.properties().maximum_len()?);
                if let Some(classes) = fixed(sub) {
                    // The last ones stand right before what follows.
                    let classes = classes.repeat(least);
                    let last = classes.get(classes.len().saturating_sub(WINDOW - 1)..).unwrap_or_default();
                    next.least -= last.len();
                    next.most -= last.len();
                    next.classes = last.to_vec();
                }
                self.stretches.push(next);
            }
            HirKind::Alternation(_)
            | HirKind::Class(_)
            | HirKind::Look(_)
            | HirKind::Literal(_)
            | HirKind::Empty => {
                let properties = hir.properties();
                let here = self.stretches.last()?.next(0, 0);
                if matches!(hir.kind(), HirKind::Alternation(_)) {
                    self.ways.extend(of(hir).map(|windows| {
                        let behind = |one: Window| Window {
                            least: one.least + here.least,
                            most: one.most + here.most,
                            ..one
                        };
                        windows.into_iter().map(behind).collect()
                    }));
                }
                self.stretches.push(here.next(properties.minimum_len()?, properties.maximum_len()?));
            }
        }
        Some(())
    }
}

/// What may stand at each place, if all matches have the same number of them.
fn fixed(hir: &Hir) -> Option<Vec<ByteSet>> {
    match hir.kind() {
        HirKind::Empty => Some(Vec::new()),
        HirKind::Literal(literal) => Some(literal.0.iter().map(|byte| ByteSet::from_iter([*byte])).collect()),
        HirKind::Class(Class::Bytes(bytes)) => {
            let ranges = bytes.ranges().iter().flat_map(|range| range.start()..=range.end());
            Some(vec![ranges.collect()])
        }
        HirKind::Capture(capture) => fixed(&capture.sub),
        HirKind::Concat(parts) => Some(parts.iter().map(fixed).collect::<Option<Vec<_>>>()?.concat()),
        HirKind::Repetition(repetition) if repetition.max == Some(repetition.min) => {
            Some(fixed(&repetition.sub)?.repeat(repetition.min as usize))
        }
        HirKind::Class(Class::Unicode(_)) | HirKind::Look(_) | HirKind::Repetition(_) => None,
        HirKind::Alternation(ways) => {
            let ways = ways.iter().map(fixed).collect::<Option<Vec<_>>>()?;
            let (first, others) = ways.split_first()?;
            let mut all = first.clone();
            for other in others {
                if other.len() != all.len() {
                    return None;
                }
                all.iter_mut().zip(other).for_each(|(class, more)| *class = class.or(*more));
            }
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows of a pattern, as classes are written, with how far behind its beginning they are.
    fn shown(pattern: &str) -> String {
        let class = |class: &ByteSet| -> String {
            let bytes: Vec<u8> = (0..=255).filter(|byte| class.contains(*byte)).collect();
            match &*bytes {
                [one] => char::from(*one).to_string(),
                all if all.len() == 256 => ".".to_owned(),
                [first, .., last] => format!("[{}{}]", char::from(*first), char::from(*last)),
                [] => "[]".to_owned(),
            }
        };
        let one = |window: &Window| -> String {
            let classes: String = window.classes.iter().map(class).collect();
            format!("{classes} {}-{}", window.least, window.most)
        };
        windows(pattern)
            .map_or_else(|| "none".to_owned(), |all| all.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn what_every_match_holds_is_told_from_the_pattern() {
        for (pattern, expected) in [
            ("[A-Z]{1,3}-[A-Z]{1,2} 46[0-9]{1,4}", " 46[09] 3-6"),
            ("[a-z]{2,8}-46\\.(?:north|south)\\.zz", "h.zz 10-16"),
            ("[A-F][0-9][A-F]46[0-9]{2}", "[09][AF]46 1-1"),
            ("[A-Z]?[0-9]{3,5}", "[09][09][09]. 0-1"),
            ("(?:[0-9]q){2,3}Z", "q[09]qZ 1-3"),
            ("(?P<whole>[a-z]x?7Q)", "7Q.. 1-2"),
            ("(?:[0-9]?Q7|[a-f]{2,3}J9)", "Q7.. 0-1, [af][af]J9 0-1"),
            ("[a-z]{0,3}(?:[0-9]?Q7|[a-f]{2,3}J9)", "Q7.. 0-4, [af][af]J9 0-4"),
            ("[a-z]{0,9}", "none"),
        ] {
            assert_eq!(shown(pattern), expected, "{pattern}");
        }
    }
}
