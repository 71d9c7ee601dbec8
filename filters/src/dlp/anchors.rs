//! Where could anything be? One sweep that finds every anchor of every rule at once.
//!
//! An anchor is the start of a digit run, an `@`, or a literal. Literals are recognised by their rarest four bytes,
//! case folded, looked up in a small table; what passes is compared in full. Where the processor has vectors, `paths`
//! leaves few positions to look at; the hits are the same on every path. The sweep knows neither rules nor findings,
//! and depends on nothing before the last three bytes, so it can be continued in a stream. In a whole text, literals
//! that mean nothing without a streak of letters, digits and signs are looked for only where one is near.

mod buckets;
mod buried;
pub(super) mod commonness;
mod paths;
mod sieve;
mod windows;

pub(super) use buckets::WINDOW;
pub(super) use buried::{Buried, NEVER};
pub(super) use paths::{Runs, widely};
pub(super) use sieve::Sieve;

use super::rules::{LITERAL_BYTES_MAX, LITERAL_BYTES_MIN};
use super::streaks::{self, STREAK_BYTES};
use paths::{BLOCK, Masks, Path, each_run};
use std::ops::Range;
use windows::Windows;

/// So many bytes of a word stand before what is in the midst of it.
pub(super) const BURIED_BYTES: usize = 17;
/// Runs of digits are told apart by their lengths up to this one.
const SHORT_DIGITS_MAX: usize = 8;
/// The way without vectors.
const PORTABLE: &str = "portable";

/// An anchor in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    /// The offset of its first byte.
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// Literals of two kinds.
#[derive(Debug)]
struct Apart {
    /// Those that are looked for everywhere.
    near: Windows,
    /// Those that mean nothing without a streak, and within how many bytes from their beginning it is whole.
    far: Windows,
    reach: usize,
}

/// What was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The first digit of a run.
    Digits,
    /// One behind at least [`BURIED_BYTES`] bytes of a word, where that was looked at.
    BuriedDigits,
    /// An `@`.
    AtSign,
    /// The literal with this number.
    Literal(u16),
}

/// Everything that is looked for, ready for the sweep.
#[derive(Debug)]
pub(super) struct Anchors {
    literals: Vec<Box<[u8]>>,
    windows: Windows,
    /// The same for whole texts, where some mean nothing without a streak.
    apart: Option<Box<Apart>>,
    /// Fewer digits at once are no anchor.
    digits_least: usize,
    /// How many there must be in the midst of a long word, if that is known.
    buried: Option<Box<Buried>>,
    /// How the sweep goes; none is the portable way.
    path: Option<Path>,
}

impl Anchors {
    /// Prepares literals, which are numbered by their order; each with the bytes from its beginning within which a
    /// streak is whole if it means anything, if it is one of those.
    pub(super) fn new(literals: &[(&str, Option<usize>)]) -> Self {
        let numbered = || (0u16..).zip(literals);
        let of = |is_of: &dyn Fn(Option<usize>) -> bool| {
            let these = numbered().filter(|(_, (_, within))| is_of(*within));
            Windows::new(these.map(|(number, (literal, _))| (number, *literal)))
        };
        let reach = literals.iter().filter_map(|(_, within)| *within).max();
        let apart = |reach| Apart {
            near: of(&|within| within.is_none()),
            far: of(&|within| within.is_some()),
            reach,
        };
        Self {
            literals: literals.iter().map(|(literal, _)| literal.as_bytes().into()).collect(),
            windows: of(&|_| true),
            apart: reach.map(|reach| Box::new(apart(reach))),
            digits_least: 1,
            buried: None,
            path: Path::all().next(),
        }
    }

    /// From now on digits may be left out, unless there are so many of them at once; and behind [`BURIED_BYTES`] bytes
    /// of a word, unless there are so many as the last two of those ask for.
    pub(super) fn skip_short(&mut self, least: usize, buried: Option<Buried>) {
        self.digits_least = least.clamp(1, SHORT_DIGITS_MAX);
        self.buried = buried.map(Box::new);
    }

    /// The ways that this processor can sweep, best first.
    pub(super) fn ways() -> Vec<&'static str> {
        Path::all().map(Path::name).chain([PORTABLE]).collect()
    }

    /// Sweeps in one of those ways from now on.
    pub(super) fn go(&mut self, way: &str) {
        self.path = Path::all().find(|path| path.name() == way);
    }

    /// The memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let literals: usize = self.literals.iter().map(|literal| size_of_val(literal) + literal.len()).sum();
        let apart = self
            .apart
            .as_ref()
            .map_or(0, |apart| size_of_val(&**apart) + apart.near.memory_bytes() + apart.far.memory_bytes());
        let buried = self.buried.as_ref().map_or(0, |buried| size_of_val(&**buried) + buried.memory_bytes());
        literals + self.windows.memory_bytes() + apart + buried
    }

    /// The length of a literal.
    pub(super) fn literal_bytes(&self, number: u16) -> usize {
        self.literals.get(usize::from(number)).map_or(0, |literal| literal.len())
    }

    /// Appends the anchors of `text` in no particular order: literals whose window begins in `windows`, and digit runs
    /// and `@` from `marks_from` on.
    pub(super) fn sweep(&self, text: &[u8], windows: Range<usize>, marks_from: usize, hits: &mut Vec<Hit>) {
        self.sweep_for(&self.windows, text, (windows, marks_from), hits, |_, _| {});
    }

    /// Appends the anchors that begin in a place of a text that does not go on, but for literals that cannot mean
    /// anything there.
    pub(super) fn sweep_whole(&self, text: &[u8], place: Range<usize>, hits: &mut Vec<Hit>) {
        let Some(apart) = &self.apart else { return self.sweep(text, place.clone(), place.start, hits) };
        let mut parts = Parts { place: place.clone(), reach: apart.reach, found: Vec::new() };
        let mut before = streak_before(text, place.start);
        self.sweep_for(&apart.near, text, (place.clone(), place.start), hits, |at, streaks| {
            let ends = streak_ends(streaks, before);
            before = streaks;
            if ends != 0 {
                let (first, last) = (ends.trailing_zeros() as usize, 63 - ends.leading_zeros() as usize);
                parts.add(at + first, at + last);
            }
        });
        // What begins here may have its streak behind the place.
        let mut streak = streak_before(text, place.end).leading_ones() as usize;
        let behind = text.get(place.end..).unwrap_or_default().iter().take(apart.reach);
        for (at, byte) in (place.end..).zip(behind) {
            streak = if streaks::goes_on(*byte) { streak + 1 } else { 0 };
            if streak >= STREAK_BYTES {
                parts.add(at, at);
                break;
            }
        }
        for part in parts.found {
            self.sweep_far(&apart.far, text, part, hits);
        }
    }

    /// Tells of each block which bytes go on a streak.
    fn sweep_for(
        &self,
        of: &Windows,
        text: &[u8],
        (windows, marks_from): (Range<usize>, usize),
        hits: &mut Vec<Hit>,
        mut streaks_in: impl FnMut(usize, u64),
    ) {
        let Some(path) = self.path else {
            mark(text, marks_from..windows.end, hits);
            for at in windows.clone().step_by(BLOCK) {
                let block = text.get(at..windows.end.min(at + BLOCK)).unwrap_or_default();
                streaks_in(at, streak(block));
            }
            return self.sweep_portably(of, text, windows, hits);
        };
        let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        let mut after_digit = u64::from(windows.start.checked_sub(1).is_some_and(is_digit));
        let mut words_before = 0;
        let end = windows.end;
        path.sweep(&of.buckets, text, (windows.start, end), |at, masks| {
            let Masks { windows, digits, ats, words, streaks } = masks;
            let mut starts = digits & !(digits << 1 | after_digit);
            after_digit = digits >> 63;
            if self.digits_least > 1 && starts != 0 {
                starts &= long(digits | behind(end - at), self.digits_least);
            }
            let deep = if starts != 0 { starts & buried(words, words_before) } else { 0 };
            words_before = words;
            // Before `marks_from`, digits and `@` are known.
            let known = u32::try_from(marks_from.saturating_sub(at)).unwrap_or(u32::MAX);
            let marks = u64::MAX.checked_shl(known).unwrap_or(0);
            if deep != 0
                && let Some(buried) = &self.buried
            {
                starts &= !deep;
                let digits = digits | behind(end - at);
                each_bit(deep & marks, |bit| {
                    let before = text.get(at + bit - 2..).and_then(|rest| rest.first_chunk());
                    let run = (digits >> bit).trailing_ones() as usize;
                    // At the end of the block it may be any.
                    let is_long =
                        bit + run >= BLOCK || run >= before.map_or(0, |before| buried.least(*before));
                    if is_long {
                        hits.push(Hit { at: at + bit, kind: Kind::BuriedDigits });
                    }
                });
            }
            each_bit(starts & marks, |bit| hits.push(Hit { at: at + bit, kind: Kind::Digits }));
            each_bit(ats & marks, |bit| hits.push(Hit { at: at + bit, kind: Kind::AtSign }));
            each_bit(windows, |bit| of.verify_at(&self.literals, text, at + bit, hits));
            streaks_in(at, streaks);
        });
    }

    fn sweep_far(&self, far: &Windows, text: &[u8], windows: Range<usize>, hits: &mut Vec<Hit>) {
        let Some(path) = self.path else { return self.sweep_portably(far, text, windows, hits) };
        path.sweep(&far.buckets, text, (windows.start, windows.end), |at, masks| {
            each_bit(masks.windows, |bit| far.verify_at(&self.literals, text, at + bit, hits));
        });
    }

    fn sweep_portably(&self, of: &Windows, text: &[u8], windows: Range<usize>, hits: &mut Vec<Hit>) {
        let end = text.len().min(windows.end + LITERAL_BYTES_MIN - 1);
        let read = text.get(windows.start..end).unwrap_or_default();
        for (at, bytes) in (windows.start..).zip(read.array_windows()) {
            of.verify(&self.literals, text, (at, *bytes), hits);
        }
    }
}

/// Tells of every block of a text, from a place on, what it is to words.
#[inline]
pub(super) fn runs(text: &[u8], from: usize, sink: impl FnMut(usize, Runs)) {
    match Path::all().next() {
        Some(path) => path.runs(text, from, sink),
        None => each_run(text, from, run_portably, sink),
    }
}

fn run_portably(block: &[u8; BLOCK]) -> Runs {
    Runs {
        runs: bits(block, |byte| byte.is_ascii_alphanumeric() || byte >= 0x80),
        high: bits(block, |byte| byte >= 0x80),
    }
}

/// Parts of a place in which windows of far literals may mean something.
struct Parts {
    place: Range<usize>,
    reach: usize,
    /// In order, apart from each other.
    found: Vec<Range<usize>>,
}

impl Parts {
    /// Streaks become whole with the bytes from `first` to `last`, or some of them.
    fn add(&mut self, first: usize, last: usize) {
        let from = (first + 1).saturating_sub(self.reach).max(self.place.start);
        let to = (last + 1 + LITERAL_BYTES_MAX).min(self.place.end);
        match self.found.last_mut() {
            _ if from >= to => {}
            Some(part) if from <= part.end => part.end = part.end.max(to),
            Some(_) | None => self.found.push(from..to),
        }
    }
}

/// Which of up to 64 bytes are of a kind.
#[inline]
fn bits(bytes: &[u8], is: impl Fn(u8) -> bool) -> u64 {
    bytes.iter().rev().fold(0, |bits, byte| bits << 1 | u64::from(is(*byte)))
}

/// Which of up to 64 bytes go on a streak.
fn streak(bytes: &[u8]) -> u64 {
    bits(bytes, streaks::goes_on)
}

/// Which of the 64 bytes before a place go on a streak; the last one is the highest bit.
fn streak_before(text: &[u8], at: usize) -> u64 {
    let bytes = text.get(at.saturating_sub(BLOCK)..at).unwrap_or_default();
    streak(bytes).checked_shl((BLOCK - bytes.len()) as u32).unwrap_or(0)
}

/// Where [`STREAK_BYTES`] bytes of a streak end, in this block behind the one before it.
fn streak_ends(streaks: u64, before: u64) -> u64 {
    let all = u128::from(streaks) << 64 | u128::from(before);
    let two = all & all << 1;
    let four = two & two << 2;
    let eight = four & four << 4;
    ((eight & four << 8) >> 64) as u64
}

const _: () = assert!(STREAK_BYTES == 12, "eight and four");

/// Where [`BURIED_BYTES`] bytes of words stand right before, in this block and the one before it.
fn buried(words: u64, before: u64) -> u64 {
    let all = u128::from(words) << 64 | u128::from(before);
    let two = all & all << 1;
    let four = two & two << 2;
    let eight = four & four << 4;
    let sixteen = eight & eight << 8;
    ((sixteen & all << 16) >> 63) as u64
}

/// What lies behind so many bytes of a block. It may be anything: a text goes on there, or its next part.
fn behind(bytes: usize) -> u64 {
    u32::try_from(bytes).ok().and_then(|bytes| u64::MAX.checked_shl(bytes)).unwrap_or(0)
}

/// Where so many digits may begin, at least one: what is behind the block may be any.
#[inline]
fn long(digits: u64, least: usize) -> u64 {
    let (mut all, mut known) = (digits, 1);
    while known < least {
        let more = known.min(least - known);
        all &= all >> more | !(u64::MAX >> more);
        known += more;
    }
    all
}

/// Appends the starts of digit runs, and `@`.
fn mark(text: &[u8], place: Range<usize>, hits: &mut Vec<Hit>) {
    let mut at = place.start;
    let mut previous = at.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or(0);
    let (eights, rest) = text.get(place).unwrap_or_default().as_chunks::<8>();
    for eight in eights {
        if may_hold_marks(u64::from_le_bytes(*eight)) {
            mark_each(eight, at, previous, hits);
        }
        [.., previous] = *eight;
        at += 8;
    }
    mark_each(rest, at, previous, hits);
}

fn mark_each(bytes: &[u8], mut at: usize, mut previous: u8, hits: &mut Vec<Hit>) {
    for byte in bytes {
        if byte.is_ascii_digit() && !previous.is_ascii_digit() {
            hits.push(Hit { at, kind: Kind::Digits });
        } else if *byte == b'@' {
            hits.push(Hit { at, kind: Kind::AtSign });
        }
        previous = *byte;
        at += 1;
    }
}

/// Whether any of eight bytes could be a digit or an `@`. It may say yes for bytes beyond ASCII, never no wrongly.
fn may_hold_marks(eight: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    // 0x30..=0x3f: the high half equals 3. Colons and their like are sorted out byte by byte.
    let upper_half = (eight >> 4) & (LOW * 0x0f);
    has_zero(upper_half ^ (LOW * 3)) | has_zero(eight ^ (LOW * 0x40)) != 0
}

fn each_bit(mut bits: u64, mut each: impl FnMut(usize)) {
    while bits != 0 {
        each(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlp::rules::LITERAL_BYTES_MAX;
    use proptest::prelude::*;

    /// On every path of this processor: all at once, and cut in two, the second part seeing a little of the first.
    fn swept(literals: &[&str], text: &[u8], cut: usize) -> Vec<Vec<Hit>> {
        let literals: Vec<(&str, Option<usize>)> = literals.iter().map(|literal| (*literal, None)).collect();
        let mut anchors = Anchors::new(&literals);
        let paths: Vec<Option<Path>> = Path::all().map(Some).chain([None]).collect();
        let mut all = Vec::new();
        for path in paths {
            anchors.path = path;
            let mut whole = Vec::new();
            anchors.sweep(text, 0..text.len(), 0, &mut whole);
            let (mut parts, again) = (Vec::new(), cut.saturating_sub(LITERAL_BYTES_MAX - 1));
            anchors.sweep(&text[..cut], 0..cut, 0, &mut parts);
            anchors.sweep(text, again..text.len(), cut, &mut parts);
            for mut hits in [whole, parts] {
                hits.sort_unstable();
                hits.dedup();
                all.push(hits);
            }
        }
        all
    }

    fn naive(literals: &[&str], text: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        for at in 0..text.len() {
            if text[at].is_ascii_digit() && (at == 0 || !text[at - 1].is_ascii_digit()) {
                hits.push(Hit { at, kind: Kind::Digits });
            }
            if text[at] == b'@' {
                hits.push(Hit { at, kind: Kind::AtSign });
            }
            for (number, literal) in literals.iter().enumerate() {
                let here = text.get(at..at + literal.len());
                if here.is_some_and(|here| here.eq_ignore_ascii_case(literal.as_bytes())) {
                    hits.push(Hit { at, kind: Kind::Literal(number as u16) });
                }
            }
        }
        hits.sort_unstable();
        hits
    }

    proptest! {
        #[test]
        fn digits_are_left_out_that_are_few_or_in_the_midst_of_long_words(
            words in prop::collection::vec("[a-zA-Z_]{1,30}|[0-9]{1,10}|[ .é-]", 0..60),
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            is_stream in any::<bool>(),
            least in 1..=10usize,
        ) {
            let text = words.concat();
            let text = text.as_bytes();
            let mut places: Vec<usize> = places.iter().map(|place| place.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let mut anchors = Anchors::new(&[("AKIA", None)]);
            let asked = |[_, last]: [u8; 2]| if last == b'_' { NEVER } else { 1 + last % 5 };
            anchors.skip_short(least, Some(Buried::of(asked)));
            for way in Anchors::ways() {
                anchors.go(way);
                let mut hits = Vec::new();
                for place in places.windows(2) {
                    let known = &text[..if is_stream { place[1] } else { text.len() }];
                    anchors.sweep(known, place[0]..place[1], place[0], &mut hits);
                }
                for hit in naive(&["AKIA"], text) {
                    let before = text[..hit.at].iter().rev();
                    let words = before.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                    let digits = text[hit.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let last = hit.at.checked_sub(1).map_or(0, |last| text[last]);
                    let may_lack = digits < least || words >= BURIED_BYTES && digits < usize::from(asked([0, last]));
                    let buried = Hit { kind: Kind::BuriedDigits, ..hit };
                    prop_assert!(words >= BURIED_BYTES || !hits.contains(&buried), "{way}: {hit:?}");
                    prop_assert!(may_lack || hits.contains(&hit) || hits.contains(&buried), "{way}: {hit:?}");
                }
            }
        }

        #[test]
        fn every_path_finds_what_the_naive_search_finds(
            words in prop::collection::vec("[AKIakisp_@0-9 -]{1,9}|AKIA|sk-proj-|PASSWORD|é|[\\[{_\u{7f}]", 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let literals = ["AKIA", "sk-proj-", "password", "sk-p", "kiak", "[{_@", "éé"];
            let text = words.concat();
            let expected = naive(&literals, text.as_bytes());
            for hits in swept(&literals, text.as_bytes(), cut.index(text.len() + 1)) {
                prop_assert_eq!(&hits, &expected);
            }
        }

        #[test]
        fn every_path_tells_the_same_of_words(bytes in prop::collection::vec(any::<u8>(), 0..300), from in 0..70usize) {
            let from = from.min(bytes.len());
            let mut expected = Vec::new();
            each_run(&bytes, from, run_portably, |at, runs| expected.push((at, runs)));
            prop_assert_eq!(expected.len(), (bytes.len() - from).div_ceil(BLOCK));
            for path in Path::all() {
                let mut told = Vec::new();
                path.runs(&bytes, from, |at, runs| told.push((at, runs)));
                prop_assert_eq!(&told, &expected);
            }
        }

        #[test]
        fn a_whole_text_has_all_that_a_streak_is_near(
            words in prop::collection::vec("AKIA|sk-p|password|[ @]|[a-z0-9/.=~]{1,14}|é|[0-9 ]{9}", 0..60),
            from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
        ) {
            let literals = [("akia", Some(20)), ("sk-p", Some(12)), ("password", None), ("xpasswordy", Some(40))];
            let text = words.concat();
            let text = text.as_bytes();
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            let place = from.min(to)..from.max(to);
            let mut anchors = Anchors::new(&literals);
            let all = naive(&literals.map(|(literal, _)| literal), text);
            for path in Path::all().map(Some).chain([None]) {
                anchors.path = path;
                let mut hits = Vec::new();
                anchors.sweep_whole(text, place.clone(), &mut hits);
                hits.sort_unstable();
                prop_assert!(hits.array_windows().all(|[one, next]| one < next), "{hits:?} twice");
                prop_assert!(hits.iter().all(|hit| all.contains(hit)));
                for hit in all.iter().filter(|hit| place.contains(&hit.at)) {
                    let Kind::Literal(number) = hit.kind else {
                        prop_assert!(hits.contains(hit));
                        continue;
                    };
                    let (literal, within) = literals[usize::from(number)];
                    let behind = &text[hit.at..text.len().min(hit.at + within.unwrap_or(0))];
                    let has_streak = behind.array_windows::<STREAK_BYTES>().any(|part| {
                        part.iter().all(|byte| streaks::goes_on(*byte))
                    });
                    let is_meant = within.is_none() || has_streak;
                    prop_assert!(!is_meant || hit.at + literal.len() > place.end || hits.contains(hit), "{hit:?}");
                }
            }
        }

        #[test]
        fn many_literals_are_found_on_every_path(
            literals in prop::collection::hash_set("[ -~]{4,12}", 1..300),
            noise in "[ -~]{0,200}",
        ) {
            let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
            let text = literals.concat() + &noise;
            let expected = naive(&literals, text.as_bytes());
            for hits in swept(&literals, text.as_bytes(), text.len() / 2) {
                prop_assert_eq!(&hits, &expected);
            }
        }
    }
}
