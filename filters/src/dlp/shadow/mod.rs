//! What does this text say once its disguises are taken off?
//!
//! A *shadow* is a text as a reader would take it: characters folded to the ASCII they look like, the invisible left
//! out, escapes read; with a map back to the bytes that were sent. Where a run of base64 or hex hides text, a second
//! shadow has that in its place, so that the words around it are still its context. The text and its shadows are all
//! scanned. A shadow is made from front to back, and what it says of a part depends on nothing behind the escape or
//! run that stands there: so a stream has the shadow of the whole, however it was cut.
//!
//! Out of reach: what is encrypted or compressed, what must be understood to be put together, and more than [`DEPTH`]
//! encodings over each other.

mod alignments;
mod blocks;
mod escapes;
mod fold;
mod lines;
mod map;
mod need;
mod runs;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

pub(super) use fold::fold_text;
pub(super) use stream::Shadows;
#[cfg(test)]
pub(super) use tests::disguised;

use escapes::Escape;
use fold::Folded;
use lines::Joint;
use map::Map;
use runs::{PADDING_BYTES_MAX, RUN_BYTES_MAX, RUN_BYTES_MIN};
use std::ops::Range;

/// How many encodings over each other are taken off.
const DEPTH: u8 = 3;
/// Tags in a row that may be a text of their own.
const TAGS_MIN: usize = 4;
/// Bytes that are looked at for what begins an escape.
const NEAR_BYTES: usize = 256;
/// Stands in a shadow for bytes that are no text; it occurs in no UTF-8 text.
const SHADOW_GAP: u8 = 0xff;

/// A text as it reads, as far as it is known. Callers count from where the shadow and its text now begin.
#[derive(Clone, Debug)]
struct Shadow {
    /// As far as it was not let go of.
    text: Vec<u8>,
    map: Map,
    /// Bytes of the shadow that were let go of, and of the text.
    dropped: usize,
    text_dropped: usize,
    /// Bytes of the text that were read, from its beginning.
    read: usize,
    /// Bytes at the end of the shadow that may become an encoded run, and its padding.
    run: usize,
    padding: usize,
    /// Whether the run goes over lines, and the end of a line that it may go on behind.
    is_joined: bool,
    joint: Joint,
    /// Where in the text the last byte of quoted-printable ends, and the last tag that was read as its letter.
    quoted_until: usize,
    tags_until: usize,
    runs: Runs,
    /// The other shadow, in which runs are decoded: it begins where the first of them ends.
    decoded: Option<Box<Shadow>>,
    /// Where in the shadow the last decoded run ends.
    decoded_until: usize,
}

/// What becomes of encoded runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    /// They stay.
    Kept,
    /// They stay; the first one that hides text begins another shadow, in which so many encodings are taken off.
    Watched(u8),
    /// Their text takes their place; so many encodings are taken off.
    Decoded(u8),
}

impl Default for Shadow {
    fn default() -> Self {
        Self::new(Runs::Watched(DEPTH))
    }
}

impl Shadow {
    fn new(runs: Runs) -> Self {
        Self {
            text: Vec::new(),
            map: Map::default(),
            dropped: 0,
            text_dropped: 0,
            read: 0,
            run: 0,
            padding: 0,
            is_joined: false,
            joint: Joint::default(),
            quoted_until: usize::MAX,
            tags_until: usize::MAX,
            runs,
            decoded: None,
            decoded_until: 0,
        }
    }

    /// The shadows of a whole text that say anything else than it.
    fn all_of(text: &[u8]) -> impl Iterator<Item = Self> {
        let mut folded = Self::default();
        folded.text.reserve(text.len());
        folded.read(text, true);
        let decoded = folded.decoded.take().map(|mut decoded| {
            decoded.read(text, true);
            *decoded
        });
        [Some(folded).filter(Self::differs), decoded].into_iter().flatten()
    }

    /// Reads on in a text that was read before up to some point. What could still become an escape waits.
    fn read(&mut self, text: &[u8], complete: bool) {
        while let Some(rest) = text.get(self.read - self.text_dropped..).filter(|rest| !rest.is_empty()) {
            let is_quoted = self.quoted_until == self.read;
            // Not all of the text, lest a sign that is no mark have it looked at once more.
            let near = rest.get(..NEAR_BYTES).unwrap_or(rest);
            let plain = escapes::quoted_from(rest, need::plain_bytes(near), complete, is_quoted);
            if let Some(plain) = rest.get(..plain).filter(|plain| !plain.is_empty()) {
                self.take_plain(plain);
                continue;
            }
            match rest {
                [b'=', ..] => match escapes::quoted(rest, complete, is_quoted) {
                    Escape::Open => break,
                    Escape::No => self.take_same(1, rest),
                    Escape::Of(character, bytes) => {
                        self.take_escaped(character, bytes);
                        self.quoted_until = self.read;
                    }
                },
                [first, ..] if escapes::is_unseen(*first) => self.take_nothing(1),
                [first, ..] if first.is_ascii() => match escapes::read(rest, complete) {
                    Escape::Open => break,
                    Escape::No => self.take_same(1, rest),
                    Escape::Of(character, bytes) => self.take_escaped(character, bytes),
                },
                _ => match character(rest) {
                    None => self.take_same(1, rest),
                    Some(character) => match fold::tag(character) {
                        None => self.take_character(character, rest),
                        Some(letter) if self.take_tag(letter, rest, complete) => {}
                        Some(_) => break,
                    },
                },
            }
        }
        if complete {
            self.settle_joint(None);
            self.end_run();
        }
    }

    /// Whether it says anything else than the text.
    fn differs(&self) -> bool {
        !self.map.is_identity() || self.end() + self.joint.source_bytes() != self.read
    }

    /// How much of the shadow will stay as it is, and of how much of the text that is the shadow.
    fn settled(&self) -> (usize, usize) {
        let run = self.run + self.padding;
        let end = self.text.len() - run;
        let text_end = if run == 0 { self.read } else { self.map.start_of(end + self.dropped) };
        (end, text_end.saturating_sub(self.text_dropped))
    }

    /// The bytes of the text that a part of the shadow comes from.
    fn span_of(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.map.start_of(span.start + self.dropped);
        let end = self.map.end_of(span.end + self.dropped);
        start.saturating_sub(self.text_dropped)..end.saturating_sub(self.text_dropped)
    }

    /// Where the shadow ends, counted from its beginning.
    fn end(&self) -> usize {
        self.text.len() + self.dropped
    }
}

/// How many bytes at the beginning of a text, and at its end, must be known for so many of what they say: a disguise
/// may be many times as long.
pub(super) fn ends(text: &[u8], least: usize) -> [usize; 2] {
    let says_enough =
        |part: &[u8]| !need::is_needed(part) || Shadow::all_of(part).all(|shadow| shadow.text.len() >= least);
    [false, true].map(|is_last| {
        let mut bytes = least;
        while bytes < text.len() {
            let part = if is_last { text.len() - bytes..text.len() } else { 0..bytes };
            if text.get(part).is_none_or(says_enough) {
                break;
            }
            bytes *= 2;
        }
        bytes.min(text.len())
    })
}

/// The first character, if that is what the bytes begin with.
#[inline]
fn character(bytes: &[u8]) -> Option<char> {
    let count = match *bytes {
        [first @ 0xc2..=0xdf, next @ 0x80..=0xbf, ..] => {
            return char::from_u32(u32::from(first & 0x1f) << 6 | u32::from(next & 0x3f));
        }
        [0..=0x7f, ..] => 1,
        [0xe0..=0xef, ..] => 3,
        [0xf0..=0xf4, ..] => 4,
        _ => return None,
    };
    std::str::from_utf8(bytes.get(..count)?).ok()?.chars().next()
}

impl Shadow {
    /// Takes ASCII that stands for itself.
    fn take_plain(&mut self, bytes: &[u8]) {
        let Some(mut at) = self.follow_joint(bytes, 0) else { return };
        let mut copied = at;
        let may_hide = runs::may_be_mixed(bytes);
        loop {
            at = self.follow_run(bytes, at);
            if at == bytes.len() && self.run < RUN_BYTES_MAX {
                break;
            }
            if self.run + self.padding >= RUN_BYTES_MIN {
                self.copy(bytes.get(copied..at).unwrap_or_default());
                copied = at;
                if self.may_join(bytes.get(at).copied()) {
                    let Some(next) = self.follow_joint(bytes, at) else { return };
                    (copied, at) = (next, next);
                    if self.run > 0 {
                        continue;
                    }
                } else {
                    self.end_run_before(bytes.get(at).copied());
                }
            }
            (self.run, self.padding) = (0, 0);
            at = if may_hide {
                runs::next(bytes, at)
            } else {
                bytes.len() - runs::members_at_end(bytes.get(at..).unwrap_or_default())
            };
        }
        self.copy(bytes.get(copied..).unwrap_or_default());
    }

    /// Goes on with the run at hand, or begins one, and returns where it ends.
    fn follow_run(&mut self, bytes: &[u8], mut at: usize) -> usize {
        if self.padding == 0 {
            let rest = bytes.get(at..bytes.len().min(at + RUN_BYTES_MAX - self.run)).unwrap_or_default();
            let members = runs::members(rest);
            (self.run, at) = (self.run + members, at + members);
        }
        while self.may_be_padded() && bytes.get(at) == Some(&b'=') {
            (self.padding, at) = (self.padding + 1, at + 1);
        }
        at
    }

    fn may_be_padded(&self) -> bool {
        (1..RUN_BYTES_MAX).contains(&self.run) && self.padding < PADDING_BYTES_MAX
    }

    /// Appends what is the same in the text.
    fn copy(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.map.same(self.end(), self.read);
            self.text.extend_from_slice(bytes);
            self.read += bytes.len();
        }
    }

    /// Takes bytes that are no ASCII, or no escape, as they are.
    fn take_same(&mut self, count: usize, rest: &[u8]) {
        self.settle_joint(None);
        self.end_run();
        self.copy(rest.get(..count).unwrap_or_default());
    }

    fn take_character(&mut self, character: char, rest: &[u8]) {
        let bytes = character.len_utf8();
        match fold::fold(character) {
            Folded::Same => self.take_same(bytes, rest),
            Folded::Nothing => self.take_nothing(bytes),
            Folded::Ascii(ascii) => self.take_whole(trimmed(&ascii), bytes),
        }
    }

    /// Leaves out what cannot be seen.
    fn take_nothing(&mut self, bytes: usize) {
        if self.joint.is_empty() {
            self.read += bytes;
        } else {
            self.hold(None, bytes);
        }
    }

    /// Takes a tag: a letter that no eye sees. A few of them in a row are noise in the text around them; more may be a
    /// text of their own, which the other shadow has. False: the text must go on first.
    fn take_tag(&mut self, letter: u8, rest: &[u8], complete: bool) -> bool {
        let bytes = fold::TAG_BYTES;
        if self.runs == Runs::Kept {
            self.take_nothing(bytes);
            return true;
        }
        if self.tags_until != self.read {
            let tags = rest.chunks(bytes).take(TAGS_MIN);
            let is_tag = |tag: &&[u8]| character(tag).is_some_and(|tag| fold::tag(tag).is_some());
            let tags = tags.take_while(is_tag).count();
            if tags < TAGS_MIN {
                if rest.len() < TAGS_MIN * bytes && !complete && tags == rest.len() / bytes {
                    return false;
                }
                self.take_nothing(bytes);
                return true;
            }
        }
        match self.runs {
            Runs::Kept => {}
            Runs::Watched(depth) => {
                let mut decoded = Self { runs: Runs::Decoded(depth), ..self.clone() };
                decoded.take_letter(letter, bytes);
                self.decoded = Some(Box::new(decoded));
                self.runs = Runs::Kept;
                self.take_nothing(bytes);
            }
            Runs::Decoded(_) => self.take_letter(letter, bytes),
        }
        true
    }

    fn take_letter(&mut self, letter: u8, bytes: usize) {
        self.take_whole(&[letter], bytes);
        self.tags_until = self.read;
        self.decoded_until = self.end();
    }

    fn take_escaped(&mut self, character: char, bytes: usize) {
        // Escaped control characters are seen no more than others are.
        let is_nothing = character.is_ascii_control() && !character.is_ascii_whitespace();
        match if is_nothing { Folded::Nothing } else { fold::fold(character) } {
            Folded::Nothing => self.take_nothing(bytes),
            Folded::Same => self.take_whole(character.encode_utf8(&mut [0; 4]).as_bytes(), bytes),
            Folded::Ascii(ascii) => self.take_whole(trimmed(&ascii), bytes),
        }
    }

    /// Takes so many bytes of the text for something else.
    fn take_whole(&mut self, meaning: &[u8], bytes: usize) {
        let (first, rest) =
            meaning.split_first().map_or((None, &[][..]), |(first, rest)| (Some(*first), rest));
        if rest.is_empty() && first.is_some_and(|byte| self.may_hold(byte)) {
            self.hold(first, bytes);
            return;
        }
        self.settle_joint(first);
        let goes_on = self.padding == 0 && meaning.iter().all(|byte| runs::is_member(*byte));
        let is_padding = meaning == b"=" && self.may_be_padded();
        if !goes_on && !is_padding {
            self.end_run();
        }
        self.map.whole(self.end(), self.read..self.read + bytes);
        self.text.extend_from_slice(meaning);
        self.read += bytes;
        if is_padding {
            self.padding += 1;
        } else {
            self.run += meaning.iter().rev().take_while(|byte| runs::is_member(**byte)).count();
        }
        if self.run >= RUN_BYTES_MAX {
            self.end_run();
        }
    }

    /// An encoded run ends here, if there is one.
    fn end_run(&mut self) {
        self.end_run_before(None);
    }

    /// The same; what it hides is no word with the letter or digit that stands right behind its padding.
    fn end_run_before(&mut self, next: Option<u8>) {
        let is_glued = self.padding > 0 && next.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let run = self.run + self.padding;
        let is_joined = std::mem::take(&mut self.is_joined);
        (self.run, self.padding) = (0, 0);
        if run < RUN_BYTES_MIN || self.runs == Runs::Kept {
            return;
        }
        let from = self.text.len() - run;
        let decode = if is_joined { lines::decode } else { runs::decode };
        let Some(mut hidden) = self.text.get(from..).and_then(decode) else { return };
        if is_glued {
            hidden.push(SHADOW_GAP);
        }
        match self.runs {
            Runs::Kept => {}
            Runs::Decoded(depth) => self.replace(from, &hidden, depth - 1),
            Runs::Watched(depth) => {
                let mut decoded = Self { runs: Runs::Decoded(depth), ..self.clone() };
                decoded.replace(from, &hidden, depth - 1);
                self.decoded = Some(Box::new(decoded));
                self.runs = Runs::Kept;
            }
        }
    }

    /// What a run hides takes its place; and so does, `depth` encodings deep, what runs in that hide.
    fn replace(&mut self, from: usize, hidden: &[u8], depth: u8) {
        let mut inner = Self::new(if depth > 0 { Runs::Watched(depth) } else { Runs::Kept });
        inner.read(hidden, true);
        let start = self.map.start_of(from + self.dropped);
        let end = self.map.end_of(self.end());
        self.text.truncate(from);
        self.map.truncate(self.end());
        self.map.whole(self.end(), start..end);
        if let Some(mut deeper) = inner.decoded.take() {
            deeper.read(hidden, true);
            let is_run = hidden.iter().all(|byte| runs::is_member(*byte) || *byte == b'=');
            if !is_run || deeper.text.len() * 5 < hidden.len() * 2 {
                // A token has parts that pass for encoded. It is looked for, too.
                self.text.append(&mut inner.text);
                self.text.push(SHADOW_GAP);
            }
            self.text.append(&mut deeper.text);
        } else {
            self.text.append(&mut inner.text);
        }
        self.decoded_until = self.end();
    }
}

fn trimmed(ascii: &[u8]) -> &[u8] {
    let end = ascii.iter().position(|byte| *byte == 0).unwrap_or(ascii.len());
    ascii.get(..end).unwrap_or_default()
}
