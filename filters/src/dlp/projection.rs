//! Which parts of a body are text, and where did each come from?
//!
//! One strict pass over JSON: every string value, every object key and every number goes into one buffer that the
//! scanner reads; each part remembers the raw bytes it came from. A key stands before its value (`password: …`),
//! as its context. Nothing is exempt. On the way, the pass notes the members that the stages need, by a table of
//! positions; and refuses keys that two parsers could take for the same.

use super::places::{Places, Step};
use crate::json::{self, JsonError, Literal, Text, Token, Tokens};
use crate::names::folded_hash;
use std::borrow::Cow;
use std::ops::Range;

/// Stands between parts; it occurs in no UTF-8 text, so nothing matches across it.
const SEPARATOR: u8 = 0xff;
/// Members of one object that are compared for equality of their keys; more are refused.
const MEMBERS_MAX: usize = 1_000;
/// Strings and numbers of one body: an array of digits must not become a list a hundred times its size.
const PARTS_MAX: usize = 200_000;
/// A key longer than this is scanned by itself and is no context of its value.
const KEY_CONTEXT_BYTES_MAX: usize = 64;

/// Keys of prose: they say nothing about the value, which then reads the same in a stream.
const PROSE: &[&[u8]] = &[
    b"arguments",
    b"content",
    b"input",
    b"name",
    b"prompt",
    b"reasoning",
    b"reasoning_content",
    b"refusal",
    b"role",
    b"text",
    b"type",
    b"model",
    b"id",
    b"object",
];

/// Keys whose objects are maps with names of the caller's choosing: equal keys are no trick there, all are scanned.
const FREE_FORM: &[&[u8]] = &[
    b"arguments",
    b"logit_bias",
    b"metadata",
    b"parameters",
    b"properties",
    b"schema",
    b"$defs",
    b"definitions",
    b"input_schema",
    b"input",
    b"patternProperties",
    b"enum",
    b"examples",
    b"default",
];

/// What values mean; `Default` is the outermost value.
pub trait Meaning: Copy + Default + PartialEq {
    /// The role of values that no table knows.
    const OTHER: Self;
    /// Whether numbers of this role are no text: those of an embedding, of which there are many.
    fn skips_numbers(self) -> bool;
    /// Whether a string of this role is itself JSON: the arguments of a tool call.
    fn holds_json(self) -> bool;
}

/// One position table: from the role of a parent and a key to the role of the value. Arrays hand their role's
/// element role on, see [`Positions::element`].
pub trait Positions {
    /// What a value means.
    type Role: Meaning;
    /// The role of the member `key` of an object with the role `parent`.
    fn member(parent: Self::Role, key: &[u8]) -> Self::Role;
    /// The role of the elements of an array with the role `parent`.
    fn element(parent: Self::Role) -> Self::Role;
}

/// How a part stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string without escapes: offsets shift.
    Plain,
    /// A string with escapes: offsets are walked.
    Escaped,
    /// A number: replaced, it becomes a string.
    Number,
    /// Only a key: there is nothing that could be replaced.
    Key,
}

/// One part of the text.
#[derive(Clone, Debug)]
pub struct Part<R> {
    /// Key and value in the buffer.
    pub text: Range<usize>,
    /// Where the value begins in the buffer.
    pub value: usize,
    /// The value in the body: inside the quotes, or the number.
    pub raw: Range<usize>,
    /// How it stands there.
    pub form: Form,
    /// What it means.
    pub role: R,
    /// The indices of the two outermost elements that the position table counts (a choice, a tool call).
    pub indices: [u32; 2],
    /// Its place in the tree of places.
    place: u32,
}

/// A scalar or container that a stage asked for by giving it a role.
#[derive(Clone, Debug)]
pub struct Mark<R> {
    /// What it means.
    pub role: R,
    /// The whole value in the body, quotes and brackets included.
    pub raw: Range<usize>,
    /// Its kind, where that matters.
    pub value: Value,
    /// See [`Part::indices`].
    pub indices: [u32; 2],
}

/// What stands at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    String,
    /// A number.
    Number,
    /// A word.
    Literal(Literal),
    /// An object.
    Object,
    /// An array.
    Array,
}

/// A body, read.
#[derive(Clone, Debug)]
pub struct Projection<R> {
    /// All parts' text.
    pub text: Vec<u8>,
    /// The parts, in the order of the body.
    pub parts: Vec<Part<R>>,
    /// The marked values, each after what it contains.
    pub marks: Vec<Mark<R>>,
    places: Places,
}

impl<R> Default for Projection<R> {
    fn default() -> Self {
        Self { text: Vec::new(), parts: Vec::new(), marks: Vec::new(), places: Places::default() }
    }
}

impl<R> Projection<R> {
    /// A hash of the way to a part, with the names of all keys: equal in every event of a stream. The positions in so
    /// many of the outermost arrays do not count.
    pub fn path(&self, body: &[u8], part: &Part<R>, outermost: usize) -> u64 {
        self.places.hash(body, part.place, outermost)
    }

    /// What a part says, without its key.
    pub fn value(&self, part: &Part<R>) -> Cow<'_, str> {
        String::from_utf8_lossy(self.text.get(part.value..part.text.end).unwrap_or_default())
    }

    /// Whether these keys lead to a part from the outermost value.
    pub fn is_at(&self, body: &[u8], part: &Part<R>, keys: &[&str]) -> bool {
        self.places.is(body, part.place, keys)
    }

    /// The list that a reader takes for one text with this part: those of a message, of a prompt of the system, of a
    /// tool's result.
    pub(super) fn list_of_texts(&self, body: &[u8], part: &Part<R>) -> Option<u32> {
        let is_text = matches!(part.form, Form::Plain | Form::Escaped);
        self.places.list_of(body, part.place, "text").filter(|_| is_text)
    }

    /// Names the place of a part as OpenAI's `param` does: `messages[2].content`.
    pub fn place(&self, body: &[u8], part: &Part<R>) -> String {
        self.places.name(body, part.place)
    }
}

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not valid UTF-8.
    #[error("the body is not valid UTF-8 at byte {0}")]
    Utf8(usize),
    /// Not JSON.
    #[error("the body is not valid JSON: {error}, at `{pointer}`")]
    Json {
        /// What the parser found.
        error: JsonError,
        /// Where, as a JSON pointer.
        pointer: String,
    },
    /// Two keys that a parser could take for one.
    #[error("the key at `{0}` differs at most in case from another of its object; give each key once")]
    DuplicateKey(String),
    /// More strings and numbers than are kept apart.
    #[error("the body has more than {PARTS_MAX} strings and numbers; send it in parts")]
    Parts,
    /// Too many members to compare.
    #[error("the object at `{0}` has more than {MEMBERS_MAX} members")]
    Members(String),
}

struct Level<R> {
    role: R,
    start: usize,
    is_object: bool,
    free_form: bool,
    /// Where this object's key hashes begin in the shared stack.
    keys_from: usize,
    index: u32,
    place: u32,
}

/// Reads bodies, one after the other, in the same buffers.
pub struct Projector<P: Positions> {
    out: Projection<P::Role>,
    levels: Vec<Level<P::Role>>,
    keys: Vec<u64>,
    key: Option<Text>,
    next_role: P::Role,
}

struct Reader<'a, P: Positions> {
    body: &'a [u8],
    of: &'a mut Projector<P>,
}

/// Reads one body.
pub fn project<P: Positions>(body: &[u8]) -> Result<Projection<P::Role>, Unreadable> {
    let mut projector = Projector::<P>::default();
    // Keys and separators add a little to what most bodies are: one long text.
    projector.out.text.reserve(body.len() + body.len() / 16 + 64);
    projector.read(body)?;
    Ok(projector.out)
}

impl<P: Positions> Default for Projector<P> {
    fn default() -> Self {
        Self {
            out: Projection::default(),
            levels: Vec::new(),
            keys: Vec::new(),
            key: None,
            next_role: P::Role::default(),
        }
    }
}

impl<P: Positions> Projector<P> {
    /// Reads a body; the projection is valid until the next one.
    pub fn read(&mut self, body: &[u8]) -> Result<&Projection<P::Role>, Unreadable> {
        if let Err(error) = simdutf8::compat::from_utf8(body) {
            return Err(Unreadable::Utf8(error.valid_up_to()));
        }
        self.out.text.clear();
        self.out.parts.clear();
        self.out.marks.clear();
        self.out.places.clear();
        self.levels.clear();
        self.keys.clear();
        self.key = None;
        self.next_role = P::Role::default();
        let mut reader = Reader { body, of: self };
        let mut tokens = Tokens::new(body);
        loop {
            match tokens.next_token() {
                Ok(Some(_)) if reader.of.out.places.len() > PARTS_MAX => return Err(Unreadable::Parts),
                Ok(Some(token)) => reader.take(token, tokens.offset())?,
                Ok(None) => return Ok(&self.out),
                Err(error) => {
                    let pointer = json::pointer(body, error.at);
                    return Err(Unreadable::Json { error, pointer });
                }
            }
        }
    }
}

impl<P: Positions> Reader<'_, P> {
    fn take(&mut self, token: Token, end: usize) -> Result<(), Unreadable> {
        match token {
            Token::Key(key) => return self.take_key(key),
            Token::ObjectOpen => self.open(end - 1, true),
            Token::ArrayOpen => self.open(end - 1, false),
            Token::ObjectClose => self.close(end, Value::Object),
            Token::ArrayClose => self.close(end, Value::Array),
            Token::String(text) => {
                let role = self.role_of_value();
                let raw = text.raw.clone();
                self.mark(role, raw.start - 1..raw.end + 1, Value::String);
                let form = if text.escaped { Form::Escaped } else { Form::Plain };
                self.part(role, raw, form);
            }
            Token::Number(raw) => {
                let role = self.role_of_value();
                if !role.skips_numbers() {
                    self.mark(role, raw.clone(), Value::Number);
                    self.part(role, raw, Form::Number);
                }
            }
            Token::Literal(literal) => {
                let role = self.role_of_value();
                let length = if literal == Literal::False { 5 } else { 4 };
                self.mark(role, end - length..end, Value::Literal(literal));
                self.lone_key(role);
            }
        }
        Ok(())
    }

    fn take_key(&mut self, key: Text) -> Result<(), Unreadable> {
        let raw = self.body.get(key.raw.clone()).unwrap_or_default();
        let decoded;
        let name = if key.escaped {
            let mut buffer = Vec::with_capacity(raw.len());
            json::decode(raw, &mut buffer);
            decoded = buffer;
            decoded.as_slice()
        } else {
            raw
        };
        if let Some(level) = self.of.levels.last() {
            self.of.next_role = P::member(level.role, name);
            if !level.free_form {
                let hash = folded_hash(name);
                let known = self.of.keys.get(level.keys_from..).unwrap_or_default();
                if known.contains(&hash) {
                    return Err(Unreadable::DuplicateKey(json::pointer(self.body, key.raw.start)));
                }
                if known.len() >= MEMBERS_MAX {
                    return Err(Unreadable::Members(json::pointer(self.body, key.raw.start)));
                }
                self.of.keys.push(hash);
            }
        }
        self.of.key = Some(key);
        Ok(())
    }

    fn role_of_value(&mut self) -> P::Role {
        match self.of.levels.last_mut() {
            Some(level) if !level.is_object => {
                level.index = level.index.wrapping_add(1);
                P::element(level.role)
            }
            Some(_) | None => self.of.next_role,
        }
    }

    fn open(&mut self, start: usize, is_object: bool) {
        let role = self.role_of_value();
        let name = self.of.key.as_ref().and_then(|key| self.body.get(key.raw.clone())).unwrap_or_default();
        let inherited = self.of.levels.last().is_some_and(|level| level.free_form);
        let free_form = inherited || FREE_FORM.contains(&name);
        // For an object, and for an array too: it may hold nothing that the key could stand before.
        self.key_alone(role);
        let keys_from = self.of.keys.len();
        let place = self.place();
        self.of.levels.push(Level { role, start, is_object, free_form, keys_from, index: u32::MAX, place });
        if !is_object {
            return;
        }
        self.of.key = None;
    }

    fn close(&mut self, end: usize, value: Value) {
        if let Some(level) = self.of.levels.pop() {
            self.of.keys.truncate(level.keys_from);
            self.mark(level.role, level.start..end, value);
        }
        self.of.key = None;
    }

    fn mark(&mut self, role: P::Role, raw: Range<usize>, value: Value) {
        if role != P::Role::OTHER {
            let indices = self.indices();
            self.of.out.marks.push(Mark { role, raw, value, indices });
        }
    }

    /// The indices of the two outermost arrays whose elements the table knows, below the outermost object.
    fn indices(&self) -> [u32; 2] {
        let mut indices = [0; 2];
        let arrays = self
            .of
            .levels
            .iter()
            .filter(|level| !level.is_object && P::element(level.role) != P::Role::OTHER);
        for (slot, level) in indices.iter_mut().zip(arrays) {
            *slot = level.index;
        }
        indices
    }

    fn part(&mut self, role: P::Role, raw: Range<usize>, form: Form) {
        let start = self.of.out.text.len();
        let is_element = self.of.levels.last().is_some_and(|level| !level.is_object);
        let is_long = self.of.key.as_ref().is_some_and(|key| key.raw.len() > KEY_CONTEXT_BYTES_MAX);
        // A long key over an array was written once; before each element it would multiply.
        if !(is_element && is_long) {
            self.write_key();
        }
        let value = self.of.out.text.len();
        let bytes = self.body.get(raw.clone()).unwrap_or_default();
        if form == Form::Escaped {
            json::decode(bytes, &mut self.of.out.text);
        } else {
            self.of.out.text.extend_from_slice(bytes);
        }
        self.finish_part(start, value, raw, form, role);
    }

    /// A place for the value at the cursor.
    fn place(&mut self) -> u32 {
        let step = match (self.of.levels.last(), &self.of.key) {
            (None, _) => Step::Root,
            (Some(level), Some(key)) if level.is_object => Step::Key(key.raw.clone()),
            (Some(level), _) => Step::Index(level.index),
        };
        let parent = self.of.levels.last().map_or(0, |level| level.place);
        self.of.out.places.add(parent, step)
    }

    /// A key whose value has no text of its own is scanned alone.
    fn lone_key(&mut self, role: P::Role) {
        self.key_alone(role);
        self.of.key = None;
    }

    fn key_alone(&mut self, role: P::Role) {
        let start = self.of.out.text.len();
        self.write_key();
        if self.of.out.text.len() > start {
            let value = self.of.out.text.len();
            let raw = self.of.key.as_ref().map_or(0..0, |key| key.raw.end..key.raw.end);
            self.finish_part(start, value, raw, Form::Key, role);
        }
    }

    fn finish_part(&mut self, start: usize, value: usize, raw: Range<usize>, form: Form, role: P::Role) {
        let text = start..self.of.out.text.len();
        self.of.out.text.push(SEPARATOR);
        let indices = self.indices();
        let place = self.place();
        self.of.out.parts.push(Part { text, value, raw, form, role, indices, place });
        if form != Form::Key && self.of.levels.last().is_none_or(|level| level.is_object) {
            self.of.key = None;
        }
    }

    fn write_key(&mut self) {
        let Some(key) = &self.of.key else { return };
        let raw = self.body.get(key.raw.clone()).unwrap_or_default();
        if PROSE.contains(&raw) {
            return;
        }
        let start = self.of.out.text.len();
        if key.escaped {
            json::decode(raw, &mut self.of.out.text);
        } else {
            self.of.out.text.extend_from_slice(raw);
        }
        let is_context = self.of.out.text.len() - start <= KEY_CONTEXT_BYTES_MAX;
        self.of.out.text.extend_from_slice(if is_context { b": " } else { b" \x00 " });
    }
}

impl<R> Part<R> {
    /// The raw bytes of a span of the buffer that lies in this part's value. Spans come in order; `cursor` goes along.
    pub fn raw_span(&self, body: &[u8], span: &Range<usize>, cursor: &mut json::Cursor) -> Range<usize> {
        let (start, end) = (span.start.saturating_sub(self.value), span.end.saturating_sub(self.value));
        match self.form {
            // A number is replaced whole: half a number and a label would be nothing.
            Form::Number | Form::Key => self.raw.clone(),
            Form::Plain => self.raw.start + start..self.raw.start + end,
            Form::Escaped => {
                let raw = body.get(self.raw.clone()).unwrap_or_default();
                let start = cursor.start_of(raw, start);
                let end = cursor.end_of(raw, end);
                self.raw.start + start..self.raw.start + end
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nowhere;
    impl Meaning for bool {
        const OTHER: Self = true;
        fn skips_numbers(self) -> bool {
            false
        }
        fn holds_json(self) -> bool {
            false
        }
    }
    impl Positions for Nowhere {
        type Role = bool;
        fn member(_: bool, _: &[u8]) -> bool {
            true
        }
        fn element(_: bool) -> bool {
            true
        }
    }

    fn parts(body: &str) -> Vec<String> {
        let projection = project::<Nowhere>(body.as_bytes()).unwrap();
        let text =
            |part: &Part<bool>| String::from_utf8(projection.text[part.text.clone()].to_vec()).unwrap();
        projection.parts.iter().map(text).collect()
    }

    #[test]
    fn keys_values_and_numbers_are_text_and_a_key_is_the_context_of_its_value() {
        let body = r#"{"password":"a\nb","content":"x","4111":{"n":1e400},"l":["p",true],"t":null}"#;
        assert_eq!(parts(body), ["password: a\nb", "x", "4111: ", "n: 1e400", "l: ", "l: p", "l: ", "t: "]);
    }

    #[test]
    fn keys_that_fold_to_the_same_are_refused_at_any_depth_but_in_free_form_maps() {
        let refused =
            |body: &str| matches!(project::<Nowhere>(body.as_bytes()), Err(Unreadable::DuplicateKey(_)));
        assert!(refused(r#"{"a":1,"A":2}"#));
        assert!(refused(r#"{"x":[{"a":1,"\u0061":2}]}"#));
        assert!(refused(r#"{"É":1,"é":2}"#));
        assert!(refused(r#"{"store":1,"ſtore":2,"x":3}"#));
        assert!(!refused(r#"{"metadata":{"a":1,"A":{"b":1,"B":2}}}"#));
        assert!(!refused(r#"{"a":{"b":1},"b":{"a":1}}"#));
    }

    #[test]
    fn an_error_names_its_place() {
        let error = project::<Nowhere>(br#"{"messages":[{"content":"\ud800"}]}"#).unwrap_err();
        assert!(error.to_string().contains("`/messages/0/content`"), "{error}");
    }
}
