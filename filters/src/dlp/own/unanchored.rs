//! What of an organisation's is found that has no anchor?
//!
//! One automaton of all such rules reads every byte once and says where a match of one of them ends. Only there the
//! rule itself is asked, at each place where that match may have begun. The automaton is built whole, within a limit:
//! its memory and its time do not depend on the text. Between two calls it keeps its state, so a stream and a whole
//! text are the same.

use super::super::bytes::ByteSet;
use super::super::matcher::{Matcher, Verdict, View};
use super::super::rules::RuleDocument;
use super::super::scanner::Found;
use super::super::words::{Around, Lexicon, Nearby};
use super::background;
use super::table::{Patterns, State, Table};
use super::whole::Windows;
use regex_automata::MatchKind;
use regex_automata::dfa::{StartKind, dense};
use regex_automata::util::syntax;
use std::fmt::Write;
use std::ops::Range;

/// Rules without an anchor that an organisation may have.
pub(super) const RULES_MAX: usize = 20;
/// The longest match of one: so much is looked back over, and held in a stream while one may be under way.
pub(super) const WIDTH_BYTES_MAX: usize = 128;
/// Their automaton may take this much memory.
const AUTOMATON_BYTES_MAX: usize = 128 * 1024;
/// Building it may take this much.
const DETERMINIZE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// So many bytes on, how the automaton was begun no longer matters.
const SETTLED_BYTES: usize = 2 * WIDTH_BYTES_MAX;
/// A long text is read in so many places at once: each byte waits for the one before it, and not for other places.
const PLACES: usize = 4;
/// The bytes of a long text that are read so, and the fewest that are.
const LONG_BYTES_MAX: usize = 64 * 1024;
const LONG_BYTES_MIN: usize = PLACES * 2 * SETTLED_BYTES;

const _: () = assert!(RULES_MAX <= Patterns::BITS as usize, "each rule is a pattern of the table");

/// Rules without an anchor, numbered by their order.
#[derive(Debug)]
pub(super) struct Unanchored {
    table: Table,
    rules: Vec<Searched>,
    lexicon: Lexicon,
    /// What is looked for in whole texts instead, if it is rare.
    windows: Option<Windows>,
}

#[derive(Debug)]
struct Searched {
    matcher: Matcher,
    width_bytes_max: usize,
    right: ByteSet,
}

/// The state of reading one text with them.
#[derive(Clone, Debug, Default)]
pub(super) struct UnanchoredReading {
    /// None before the first byte.
    state: Option<State>,
    read: usize,
    /// Before it, no match is under way.
    idle_at: usize,
    /// For each rule, where it was not asked yet.
    asked_until: Box<[usize]>,
    /// Where none is asked any more.
    asked_to: Option<usize>,
    /// Rules that wait for more text, and where.
    open: Vec<(u16, usize)>,
    nearby: Nearby,
}

impl Unanchored {
    /// Puts rules together; none if there are none.
    pub(super) fn compile(rules: Vec<(RuleDocument, Matcher)>) -> Result<Option<Self>, String> {
        if rules.is_empty() {
            return Ok(None);
        }
        let patterns = rules.iter().map(|(rule, _)| with_left(rule)).collect::<Result<Vec<_>, _>>()?;
        let automaton = build(&patterns).map_err(|()| too_large(&rules, &patterns))?;
        let begins = |byte: u8| rules.iter().any(|(_, matcher)| matcher.may_begin_with(byte));
        let needs_free = rules.iter().all(|(rule, _)| !rule.boundary.left.is_empty());
        let table = Table::of(&automaton, needs_free, begins).ok_or_else(|| too_large(&rules, &patterns))?;
        let words =
            (0u16..).zip(&rules).filter_map(|(number, (_, matcher))| Some((number, matcher.context()?)));
        let lexicon =
            Lexicon::new(words.flat_map(|(number, words)| words.forms().map(move |word| (word, number))));
        let windows = Windows::of(rules.iter().map(|(rule, _)| &*rule.pattern));
        let rules = rules.into_iter().map(|(rule, mut matcher)| {
            matcher.shrink();
            let right = ByteSet::parse(&rule.boundary.right)?;
            Ok(Searched { matcher, width_bytes_max: rule.width_bytes_max, right })
        });
        Ok(Some(Self { table, rules: rules.collect::<Result<_, String>>()?, lexicon, windows }))
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let rules: usize =
            self.rules.iter().map(|rule| size_of_val(rule) + rule.matcher.memory_bytes()).sum();
        let windows = self.windows.as_ref().map_or(0, Windows::memory_bytes);
        rules + self.table.memory_bytes() + self.lexicon.memory_bytes() + windows
    }

    pub(super) fn windows(&self) -> Option<&Windows> {
        self.windows.as_ref()
    }

    /// The same, without what is looked for instead.
    #[cfg(test)]
    pub(super) fn without_windows(self) -> Self {
        Self { windows: None, ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// How often in a kibibyte each rule would be asked, in texts that it is not meant for: as if every byte stood by
    /// itself.
    pub(super) fn hits(&self) -> Vec<f32> {
        let classes = self.classes();
        let mut shares = vec![(self.table.start(), 1.0)];
        for _ in 0..SETTLED_BYTES {
            shares = self.step(&shares, &classes);
        }
        let mut hits = vec![0.0; self.rules.len()];
        for (state, share) in &shares {
            for (byte, of_byte) in &classes {
                let next = self.table.next(*state, *byte);
                numbers(self.table.ended(next)).for_each(|rule| {
                    if let (Some(hits), Some(searched)) = (hits.get_mut(rule), self.rules.get(rule)) {
                        let can_end = if searched.right.contains(*byte) { 0.0 } else { 1.0 };
                        *hits += share * of_byte * can_end * 1024.0;
                    }
                });
            }
        }
        hits
    }

    /// Bytes that the automaton tells apart, each with the share of its like.
    fn classes(&self) -> Vec<(u8, f32)> {
        let mut shares: Vec<((u8, bool), (u8, f32))> = Vec::new();
        for byte in 0..=255u8 {
            let (class, right) =
                (self.table.kind(byte), self.rules.iter().any(|rule| rule.right.contains(byte)));
            // Whether a match may end before it must be told, too.
            let key = (class, right);
            match shares.iter_mut().find(|(known, _)| *known == key) {
                Some((_, (_, share))) => *share += background::byte(byte),
                None => shares.push((key, (byte, background::byte(byte)))),
            }
        }
        shares.into_iter().map(|(_, one)| one).filter(|(_, share)| *share > 0.0).collect()
    }

    fn step(&self, shares: &[(State, f32)], classes: &[(u8, f32)]) -> Vec<(State, f32)> {
        let mut next: Vec<(State, f32)> = shares
            .iter()
            .flat_map(|(state, share)| {
                classes.iter().map(move |(byte, of_byte)| (self.table.next(*state, *byte), share * of_byte))
            })
            .collect();
        next.sort_unstable_by_key(|(state, _)| *state);
        next.dedup_by(|(state, share), (kept, sum)| {
            let is_same = state == kept;
            if is_same {
                *sum += *share;
            }
            is_same
        });
        // What is that rare decides nothing, and there is a lot of it.
        next.retain(|(_, share)| *share > 1e-9);
        next
    }
}

impl UnanchoredReading {
    /// Reads a text from `read` on, and asks about matches that begin in a place.
    pub(super) fn of_place(rules: &Unanchored, read: usize, place: Range<usize>) -> Self {
        let asked_until = vec![place.start; rules.len()].into();
        Self { read, asked_until, asked_to: Some(place.end), ..Self::default() }
    }

    /// As [`super::super::scanner::Scan::advance`].
    pub(super) fn advance(&mut self, rules: &Unanchored, view: View<'_>, found: &mut Vec<Found>) -> usize {
        if self.asked_until.is_empty() {
            self.asked_until = vec![0; rules.len()].into();
        }
        self.nearby.clear();
        for (rule, start) in std::mem::take(&mut self.open) {
            self.ask(rules, view, rule, start, found);
        }
        while view.text.len() - self.read >= LONG_BYTES_MIN {
            self.read_places(rules, view, found);
        }
        let state = self.read_on(rules, view, found);
        if view.complete {
            self.ended(rules, view, rules.table.ends(state), self.read, found);
            return self.read;
        }
        self.needed_from()
    }

    /// Reads to the end of what is there, and says in which state that is.
    fn read_on(&mut self, rules: &Unanchored, view: View<'_>, found: &mut Vec<Found>) -> State {
        let mut state = self.state.unwrap_or(rules.table.start());
        for at in self.read..view.text.len() {
            let Some(byte) = view.text.get(at) else { break };
            state = rules.table.next(state, *byte);
            if rules.table.is_idle(state) {
                self.idle_at = at + 1;
            } else {
                self.ended(rules, view, rules.table.ended(state), at, found);
            }
        }
        self.read = view.text.len();
        self.state = Some(state);
        state
    }

    /// Reads on in several places at once, each as long as the others. All but the first begin some bytes earlier,
    /// where it does not matter how: at its place, each is in the state that reading one after the other leads to.
    fn read_places(&mut self, rules: &Unanchored, view: View<'_>, found: &mut Vec<Found>) {
        let table = &rules.table;
        // The last bytes are read one after the other: whether anything is under way behind them is to be known.
        let bytes = (view.text.len() - self.read - SETTLED_BYTES).min(LONG_BYTES_MAX) / PLACES;
        let starts: [usize; PLACES] = std::array::from_fn(|place| self.read + place * bytes);
        let mut states = starts.map(|start| {
            let settling = view.text.get(start.saturating_sub(SETTLED_BYTES)..start).unwrap_or_default();
            settling.iter().fold(table.start(), |state, byte| table.next(state, *byte))
        });
        if let (Some(first), Some(state)) = (states.first_mut(), self.state) {
            *first = state;
        }
        let [one, two, three, four] = starts.map(|start| view.text.get(start..).unwrap_or_default());
        let four_each = one.iter().zip(two).zip(three.iter().zip(four)).take(bytes);
        let mut ends: [Vec<(usize, State)>; PLACES] = Default::default();
        for (at, ((one, two), (three, four))) in four_each.enumerate() {
            let [a, b, c, d] = states;
            states = [table.next(a, *one), table.next(b, *two), table.next(c, *three), table.next(d, *four)];
            if states.into_iter().any(|state| table.is_match(state)) {
                for ((state, ends), start) in states.iter().zip(&mut ends).zip(starts) {
                    if table.is_match(*state) {
                        ends.push((start + at, *state));
                    }
                }
            }
        }
        for (at, state) in ends.iter().flatten() {
            self.ended(rules, view, table.ended(*state), *at, found);
        }
        self.read += bytes * PLACES;
        self.state = states.last().copied();
    }

    /// Asks the rules of which a match ends here, wherever it may have begun.
    fn ended(
        &mut self,
        rules: &Unanchored,
        view: View<'_>,
        patterns: Patterns,
        end: usize,
        found: &mut Vec<Found>,
    ) {
        for rule in numbers(patterns) {
            let Some(searched) = rules.rules.get(rule) else { continue };
            if view.text.get(end).is_some_and(|byte| searched.right.contains(*byte)) {
                continue;
            }
            let Some(asked_until) = self.asked_until.get_mut(rule) else { continue };
            let from = end.saturating_sub(searched.width_bytes_max).max(*asked_until);
            *asked_until = end;
            for start in from..self.asked_to.map_or(end, |to| end.min(to)) {
                self.ask(rules, view, rule as u16, start, found);
            }
        }
    }

    /// Asks a rule about a match that begins there.
    pub(super) fn ask(
        &mut self,
        rules: &Unanchored,
        view: View<'_>,
        rule: u16,
        start: usize,
        found: &mut Vec<Found>,
    ) {
        let Some(searched) = rules.rules.get(usize::from(rule)) else { return };
        let mut around = Around { lexicon: &rules.lexicon, nearby: &mut self.nearby, rule };
        match searched.matcher.at(view, start, start, &mut around) {
            Verdict::No => {}
            Verdict::Open => self.open.push((rule, start)),
            Verdict::Found(of) => found.push(Found::of(rule, &of)),
        }
    }

    /// As [`super::super::scanner::Scan::needed_from`]: a match that is under way, or just ended, began behind it.
    pub(super) fn needed_from(&self) -> usize {
        let under_way = self.idle_at.max(self.read.saturating_sub(WIDTH_BYTES_MAX));
        self.open.iter().map(|(_, start)| *start).fold(under_way, usize::min)
    }

    /// As [`super::super::scanner::Scan::is_idle`].
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.idle_at == self.read
    }

    /// As [`super::super::scanner::Scan::forget`].
    pub(super) fn forget(&mut self, by: usize) {
        self.read -= by;
        self.idle_at = self.idle_at.saturating_sub(by);
        self.asked_until.iter_mut().for_each(|until| *until = until.saturating_sub(by));
        self.open.iter_mut().for_each(|(_, start)| *start -= by);
    }
}

/// The numbers of rules in a set.
fn numbers(mut patterns: Patterns) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = patterns.trailing_zeros();
        patterns &= patterns.wrapping_sub(1);
        (first < Patterns::BITS).then_some(first as usize)
    })
}

/// A rule's pattern with what may stand before it: without that, words that end like a match would all be asked about.
fn with_left(rule: &RuleDocument) -> Result<String, String> {
    let left = ByteSet::parse(&rule.boundary.left)?;
    let mut free = String::new();
    for byte in (0..=255).filter(|byte| !left.contains(*byte)) {
        let _ = write!(free, "\\x{byte:02x}");
    }
    if free.len() == 256 * 4 {
        return Ok(format!("(?:{})", rule.pattern));
    }
    // What `matcher` takes for no part of a word, either.
    Ok(format!("(?:\\A|[{free}]|\\\\[nrtbf])(?:{})", rule.pattern))
}

fn build(patterns: &[String]) -> Result<dense::DFA<Vec<u32>>, ()> {
    dense::Builder::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .match_kind(MatchKind::All)
                .accelerate(false)
                .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                .determinize_size_limit(Some(DETERMINIZE_BYTES_MAX)),
        )
        .build_many(patterns)
        .map_err(|_| ())
}

/// Names the rule that takes most of the automaton.
fn too_large(rules: &[(RuleDocument, Matcher)], patterns: &[String]) -> String {
    let size = |pattern: &String| {
        build(std::slice::from_ref(pattern)).map_or(usize::MAX, |automaton| automaton.memory_usage())
    };
    let sizes = patterns.iter().map(size);
    let largest = rules.iter().zip(sizes).max_by_key(|(_, size)| *size);
    let id = largest.map_or("", |((rule, _), _)| &rule.id);
    format!(
        "rule `{id}`: the rules without an `anchor` need an automaton of more than {AUTOMATON_BYTES_MAX} bytes \
         together, this one most of all; give it an anchor, or shorten the repetitions of its `pattern`"
    )
}
