//! Is there, at this anchor, what the rule describes?
//!
//! One rule's anchored confirmation: boundary, pattern, span, checksum, entropy, context, in the order of their
//! cost. The answer depends on a bounded window around the anchor and on nothing else. Where the text may go on
//! and what is there does not decide, the answer is `Open`: ask again with more. That one word is what makes a
//! stream and a whole text give the same findings.

use super::automaton::{Automaton, Fast};
use super::bytes::ByteSet;
use super::digits::Shapes;
use super::rules::{LEAD_BYTES_MAX, RuleDocument, WIDTH_BYTES_MAX};
use super::validators::Validator;
use super::words::{Around, Words};
use regex_automata::nfa::thompson::backtrack::BoundedBacktracker;
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use std::ops::Range;

/// An unbounded finding is reported, and held in a stream, in pieces of this many bytes.
pub(super) const RUN_PIECE_BYTES: usize = 16 * 1024;
/// `until` is recognised by this many literal bytes.
const TERMINATOR_LITERAL_BYTES: usize = 5;

/// A text that may not be whole yet.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) text: &'a [u8],
    /// Whether nothing can follow.
    pub(super) complete: bool,
}

/// What a rule says about an anchor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    No,
    /// It depends on text to come.
    Open,
    /// A finding.
    Found(Match),
}

/// A finding within a view.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Match {
    pub(super) span: Range<usize>,
    pub(super) confidence: f32,
    pub(super) validated: bool,
    /// The finding goes on: ask `resume` at its end.
    pub(super) unfinished: bool,
}

/// One compiled rule.
pub(super) struct Matcher {
    automaton: Automaton,
    span: Option<Box<Span>>,
    lead: Option<ByteSet>,
    left: ByteSet,
    not_after: Vec<String>,
    right: ByteSet,
    run: Option<Box<Run>>,
    shapes: Option<Box<Shapes>>,
    validate: Option<Validator>,
    entropy_bits_min: Option<f32>,
    context: Option<Words>,
    base: f32,
    validated: f32,
    in_context: f32,
}

struct Span {
    engine: BoundedBacktracker,
    slot: usize,
}

struct Run {
    class: ByteSet,
    until: Option<Terminator>,
}

struct Terminator {
    literal: [u8; TERMINATOR_LITERAL_BYTES],
    automaton: Automaton,
}

/// How far a pattern goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Walk {
    /// It depends on text to come.
    Open,
    /// To here, if anywhere.
    Ended(Option<usize>),
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Matcher({} bytes)", self.automaton.table_bytes())
    }
}

impl Matcher {
    pub(super) fn compile(rule: &RuleDocument) -> Result<Self, String> {
        let nfa = read(&rule.pattern, rule.width_bytes_max)?;
        let automaton = Automaton::compile(&nfa)?;
        let span = rule.span.as_deref().map(|name| Span::compile(&rule.pattern, name)).transpose()?;
        let run = match &rule.continues {
            None => None,
            Some(continues) => Some(Box::new(Run {
                class: ByteSet::parse(&continues.class)?,
                until: continues.until.as_deref().map(Terminator::compile).transpose()?,
            })),
        };
        let mut matcher = Self {
            automaton,
            span: span.map(Box::new),
            lead: rule.anchor.lead.as_deref().map(ByteSet::parse).transpose()?,
            left: ByteSet::parse(&rule.boundary.left)?,
            not_after: rule.not_after.clone(),
            right: ByteSet::parse(&rule.boundary.right)?,
            run,
            validate: rule.validate,
            entropy_bits_min: rule.entropy_bits_min,
            context: rule.context.as_ref().map(Words::compile),
            base: rule.confidence.base,
            validated: rule.confidence.validated,
            in_context: rule.confidence.context,
            shapes: None,
        };
        if let (Some(_), Automaton::Fast(fast)) = (rule.anchor.digits, &matcher.automaton) {
            let shapes = Shapes::of(fast, &matcher, nfa.byte_classes(), rule.anchor.before);
            matcher.shapes = Some(Box::new(shapes));
        }
        Ok(matcher)
    }

    /// Whether a match may end before this byte.
    pub(super) fn ends_before(&self, byte: u8) -> bool {
        self.run.is_some() || !self.right.contains(byte)
    }

    /// Whether a match may begin behind this byte.
    pub(super) fn begins_after(&self, byte: u8) -> bool {
        !self.left.contains(byte)
    }

    /// Its automaton, as long as it is a table.
    pub(super) fn fast(&self) -> Option<&Fast> {
        match &self.automaton {
            Automaton::Fast(fast) => Some(fast),
            Automaton::Small(_) => None,
        }
    }

    /// Around which digits it can match, if digits anchor it.
    pub(super) fn shapes(&self) -> Option<&Shapes> {
        self.shapes.as_deref()
    }

    /// Its context words, if it has any.
    pub(super) fn context(&self) -> Option<&Words> {
        self.context.as_ref()
    }

    /// How sure a finding is that has no context word near it.
    pub(super) fn sure_alone(&self) -> f32 {
        match &self.context {
            Some(context) if context.required => f32::NEG_INFINITY,
            Some(_) | None => self.sure().min(1.0),
        }
    }

    /// How sure a match can be.
    pub(super) fn surest(&self) -> f32 {
        (self.sure() + self.context.as_ref().map_or(0.0, |_| self.in_context)).min(1.0)
    }

    fn sure(&self) -> f32 {
        if self.validate.is_some() { self.validated } else { self.base }
    }

    /// Whether a match can begin with this byte.
    pub(super) fn may_begin_with(&self, byte: u8) -> bool {
        self.automaton.may_begin_with(byte)
    }

    /// The memory of its automaton's table.
    pub(super) fn automaton_bytes(&self) -> usize {
        self.automaton.table_bytes()
    }

    /// Lets go of what is needed only to put rules together, and keeps the rest in less memory.
    pub(super) fn shrink(&mut self) {
        self.automaton.shrink();
        if let Some(until) = self.run.as_mut().and_then(|run| run.until.as_mut()) {
            until.automaton.shrink();
        }
        self.context.iter_mut().for_each(Words::shrink);
        self.shapes = None;
    }

    /// The memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let until = self.run.as_ref().and_then(|run| run.until.as_ref());
        let run = self.run.as_ref().map_or(0, |_| size_of::<Run>());
        let until = until.map_or(0, |until| until.automaton.memory_bytes());
        let span = self.span.as_ref();
        let span = span.map_or(0, |span| size_of::<Span>() + span.engine.get_nfa().memory_usage());
        let words: usize = self.not_after.iter().map(|word| size_of::<String>() + word.len()).sum();
        size_of::<Self>() + self.automaton.memory_bytes() + run + until + span + words
    }

    /// Whether a finding may go on without end.
    pub(super) fn is_endless(&self) -> bool {
        self.run.is_some()
    }

    /// What may stand between the start of a match and its literal.
    pub(super) fn lead(&self) -> Option<&ByteSet> {
        self.lead.as_ref()
    }

    /// Asks about a match that begins at `start`, with its anchor's first byte at `anchor`.
    pub(super) fn at(&self, view: View<'_>, start: usize, anchor: usize, around: &mut Around<'_>) -> Verdict {
        if !self.may_begin(view.text, start, anchor) {
            return Verdict::No;
        }
        match self.automaton.walk(view, start) {
            Walk::Open => Verdict::Open,
            Walk::Ended(None) => Verdict::No,
            Walk::Ended(Some(end)) => self.judge(view, start..end, around),
        }
    }

    /// The same, where it is known that the pattern goes from its anchor to `end`.
    pub(super) fn of(&self, view: View<'_>, whole: Range<usize>, around: &mut Around<'_>) -> Verdict {
        if !self.may_begin(view.text, whole.start, whole.start) {
            return Verdict::No;
        }
        self.judge(view, whole, around)
    }

    /// Whether a match may begin at `start`, by what stands before it and between it and its anchor.
    fn may_begin(&self, text: &[u8], start: usize, anchor: usize) -> bool {
        let Some(lead) = text.get(start..anchor) else { return false };
        // A stream releases whole words: what begins before a space and is recognised after it came too late, but for
        // the two letters that `held_lead` keeps.
        let is_word = !lead.iter().any(u8::is_ascii_whitespace) || held_lead(lead) == lead.len();
        if lead.len() > LEAD_BYTES_MAX || !is_word {
            return false;
        }
        let (earlier, _) = text.split_at_checked(start).unwrap_or_default();
        if earlier.last().is_some_and(|byte| self.left.contains(*byte)) && !ends_with_escape(earlier) {
            return false;
        }
        !self.not_after.iter().any(|word| ends_with_word(earlier, word))
    }

    /// Asks about what the pattern describes.
    fn judge(&self, view: View<'_>, whole: Range<usize>, around: &mut Around<'_>) -> Verdict {
        if self.run.is_none() {
            match view.text.get(whole.end) {
                Some(byte) if self.right.contains(*byte) => return Verdict::No,
                None if !view.complete => return Verdict::Open,
                Some(_) | None => {}
            }
        }
        self.confirm(view, whole, around)
    }

    /// Goes on with a finding whose last piece ended at `from`.
    pub(super) fn resume(&self, view: View<'_>, from: usize, confidence: f32) -> Verdict {
        let Some(run) = &self.run else { return Verdict::No };
        match run.end(view, from, from) {
            None => Verdict::Open,
            Some((end, _)) if end == from => Verdict::No,
            Some((end, unfinished)) => {
                Verdict::Found(Match { span: from..end, confidence, validated: true, unfinished })
            }
        }
    }

    fn confirm(&self, view: View<'_>, whole: Range<usize>, around: &mut Around<'_>) -> Verdict {
        let mut span = match &self.span {
            None => whole.clone(),
            Some(group) => match group.find(view.text, whole.clone()) {
                Some(span) if !span.is_empty() => span,
                Some(_) | None => return Verdict::No,
            },
        };
        let value = view.text.get(span.clone()).unwrap_or_default();
        if self.validate.is_some_and(|validator| !validator.accepts(value)) {
            return Verdict::No;
        }
        if self.entropy_bits_min.is_some_and(|least| entropy_bits(value) < least) {
            return Verdict::No;
        }
        let mut confidence = self.sure();
        if let Some(context) = &self.context {
            match context.is_near(view, &whole, around) {
                None => return Verdict::Open,
                Some(true) => confidence += self.in_context,
                Some(false) if context.required => return Verdict::No,
                Some(false) => {}
            }
        }
        let mut unfinished = false;
        if let Some(run) = &self.run {
            match run.end(view, whole.start, whole.end) {
                None => return Verdict::Open,
                Some((end, more)) => (span.end, unfinished) = (end, more),
            }
        }
        let span = whole_characters(view.text, span);
        let validated = self.validate.is_some();
        Verdict::Found(Match { span, confidence: confidence.min(1.0), validated, unfinished })
    }
}

/// How much of a text's end is the first group of an id such as `AB 12 34 56 C`, whose number may follow.
pub(super) fn held_lead(text: &[u8]) -> usize {
    match text {
        [.., before, a, b, b' '] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
            let behind = text.get(..text.len() - 3).unwrap_or_default();
            if before.is_ascii_alphanumeric() && !ends_with_escape(behind) { 0 } else { 3 }
        }
        [a, b, b' '] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => 3,
        _ => 0,
    }
}

/// Whether a text ends with an escape such as `\n`, whose letter is no part of a word: JSON inside JSON.
pub(super) fn ends_with_escape(text: &[u8]) -> bool {
    matches!(text, [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'])
}

/// Whether a text ends with a word, in any case, whatever one sign stands behind it.
fn ends_with_word(text: &[u8], word: &str) -> bool {
    let text = text.strip_suffix(b"_").or_else(|| text.strip_suffix(b"-")).unwrap_or(text);
    let from = text.len().checked_sub(word.len());
    from.and_then(|from| text.get(from..)).is_some_and(|last| last.eq_ignore_ascii_case(word.as_bytes()))
}

/// Widens a span to the characters it touches: a byte class may end inside one.
fn whole_characters(text: &[u8], mut span: Range<usize>) -> Range<usize> {
    let continuation = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    while span.start > 0 && continuation(span.start) {
        span.start -= 1;
    }
    while continuation(span.end) {
        span.end += 1;
    }
    span
}

/// A pattern that can be used: bounded, and looking at nothing around it.
pub(super) fn read(pattern: &str, width_bytes_max: usize) -> Result<NFA, String> {
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(pattern)
        .map_err(|error| error.to_string())?;
    let properties = hir.properties();
    if !properties.look_set().is_empty() {
        return Err(
            "the pattern is anchored by itself; use `boundary` instead of `^`, `$` or `\\b`".to_owned()
        );
    }
    match properties.maximum_len() {
        Some(longest) if longest <= width_bytes_max => {}
        Some(longest) => {
            return Err(format!(
                "a match can have {longest} bytes; `width_bytes_max` says {width_bytes_max}"
            ));
        }
        None => return Err("a match can be endless; bound every repetition, or use `continues`".to_owned()),
    }
    if properties.minimum_len().is_none_or(|shortest| shortest < 3) {
        return Err("a match can be shorter than 3 bytes; that would be everywhere".to_owned());
    }
    NFA::compiler()
        .configure(NFA::config().utf8(false).which_captures(WhichCaptures::None))
        .build_from_hir(&hir)
        .map_err(|error| error.to_string())
}

impl Span {
    fn compile(pattern: &str, group: &str) -> Result<Self, String> {
        let engine = BoundedBacktracker::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(regex_automata::nfa::thompson::Config::new().utf8(false))
            .build(pattern)
            .map_err(|error| error.to_string())?;
        let index =
            engine.get_nfa().group_info().to_index(regex_automata::PatternID::ZERO, group).ok_or_else(
                || format!("`span` names the group `{group}`, which the pattern does not have"),
            )?;
        if engine.max_haystack_len() < WIDTH_BYTES_MAX {
            return Err("the pattern is too large to find its `span` in; make it simpler".to_owned());
        }
        Ok(Self { engine, slot: index * 2 })
    }

    fn find(&self, text: &[u8], whole: Range<usize>) -> Option<Range<usize>> {
        let mut cache = self.engine.create_cache();
        let mut slots = vec![None; self.slot + 2];
        let input = Input::new(text).range(whole).anchored(Anchored::Yes);
        self.engine.try_search_slots(&mut cache, &input, &mut slots).ok()??;
        let start = slots.get(self.slot).copied().flatten()?.get();
        let end = slots.get(self.slot + 1).copied().flatten()?.get();
        Some(start..end)
    }
}

impl Run {
    /// Where the run that began at `start` and is known up to `from` ends, and whether it goes on after a full
    /// piece; `None`: the text must go on first.
    fn end(&self, view: View<'_>, start: usize, from: usize) -> Option<(usize, bool)> {
        let mut at = from;
        loop {
            if at - start >= RUN_PIECE_BYTES {
                return Some((at, true));
            }
            if let Some(until) = &self.until {
                match until.end(view, at) {
                    Walk::Open => return None,
                    Walk::Ended(Some(end)) => return Some((end, false)),
                    Walk::Ended(None) => {}
                }
            }
            match view.text.get(at) {
                None if view.complete => return Some((at, false)),
                None => return None,
                Some(byte) if self.class.contains(*byte) => at += 1,
                Some(_) => return Some((at, false)),
            }
        }
    }
}

impl Terminator {
    fn compile(pattern: &str) -> Result<Self, String> {
        let literal = pattern
            .as_bytes()
            .first_chunk::<TERMINATOR_LITERAL_BYTES>()
            .filter(|bytes| {
                bytes.iter().all(|byte| !regex_syntax::is_meta_character(char::from(*byte)) || *byte == b'-')
            })
            .ok_or_else(|| format!("`until` begins with {TERMINATOR_LITERAL_BYTES} literal bytes"))?;
        let automaton = Automaton::compile(&read(pattern, WIDTH_BYTES_MAX / 2)?)?;
        Ok(Self { literal: *literal, automaton })
    }

    fn end(&self, view: View<'_>, at: usize) -> Walk {
        let here = view.text.get(at..).unwrap_or_default();
        let known = here.len().min(TERMINATOR_LITERAL_BYTES);
        if known == 0 || here.get(..known) != self.literal.get(..known) {
            return Walk::Ended(None);
        }
        self.automaton.walk(view, at)
    }
}

/// Shannon entropy of the bytes' frequencies, in bits a byte.
pub(crate) fn entropy_bits(value: &[u8]) -> f32 {
    let mut counts = [0u32; 256];
    for byte in value {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = value.len() as f32;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = *count as f32 / total;
            -share * share.log2()
        })
        .sum()
}
